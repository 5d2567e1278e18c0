"""The whole report on a made-up study: every file is there, well-formed, and says the same."""

import csv
import re
from html.parser import HTMLParser

import pytest
from fake_study import write_study
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.errors import DataError
from lookboth.reporting.markup import Table, to_csv, to_html, to_latex, to_markdown
from lookboth.reporting.report import write_report

pytest.importorskip("scipy")

VOID = {"meta", "img", "input", "br", "link"}


class Wellformed(HTMLParser):
    """Checks that tags close in order, ids are unique, and collects what a test asks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study") / "runs", num_sentences=10)


@pytest.fixture(scope="module")
def report(study):
    return write_report(study)


def test_the_report_lies_in_the_folder_and_is_not_taken_for_runs(study, report):
    assert report == study / "report"
    before = (report / "report.md").read_text(encoding="utf-8")
    write_report(study)
    assert (report / "report.md").read_text(encoding="utf-8") == before


def test_tables_come_in_three_forms_and_agree(report):
    for name in ("scores", "comparisons", "nested", "errors"):
        rows = list(csv.DictReader((report / "tables" / f"{name}.csv").open(encoding="utf-8")))
        markdown = (report / "tables" / f"{name}.md").read_text(encoding="utf-8")
        latex = (report / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        num_rows = sum(line.startswith("| ") for line in markdown.splitlines()) - 1
        assert sum(line.endswith(r"\\") for line in latex.splitlines()) - 1 == num_rows
        assert len(rows) == (2 * num_rows if name == "scores" else num_rows)
    runs = list(csv.DictReader((report / "tables" / "runs.csv").open(encoding="utf-8")))
    assert len(runs) == 2 * 18 * 3


def test_means_in_the_table_are_those_of_the_runs(report):
    runs = list(csv.DictReader((report / "tables" / "runs.csv").open(encoding="utf-8")))
    mine = [float(run["test"]) for run in runs if (run["data"], run["method"]) == ("ner", "0111")]
    row = next(
        line
        for line in (report / "tables" / "scores.md").read_text(encoding="utf-8").splitlines()
        if "| 0111 |" in line
    )
    assert f"{100 * sum(mine) / 3:.1f} ±" in row.split("|")[6]


def test_the_mark_is_where_dev_is_best(report):
    rows = list(csv.DictReader((report / "tables" / "scores.csv").open(encoding="utf-8")))
    for data in ("ner", "events"):
        mine = [row for row in rows if row["data"] == data]
        best = max(mine, key=lambda row: float(row["dev_mean"]))
        assert [row for row in mine if row["chosen_on_dev"] == "True"] == [best]


def test_the_page_says_what_was_compared_and_is_well_formed(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    assert (
        "108 runs: 18 methods on 2 data sets (events; ner), 1 model (smollm2-135m), mostly 3 seeds each."
        in text
    )
    assert "Every choice was made on dev data" in text
    assert "in 2 further runs" in text
    page = Wellformed((report / "index.html").read_text(encoding="utf-8"))
    assert {"lang": "en"} in [attributes for tag, attributes in page.attributes if tag == "html"]
    assert all(attributes.get("alt") for tag, attributes in page.attributes if tag == "img")
    # Both pages say the same words, whatever marks them up.
    words = lambda page_text: re.sub(r"[\W_]+", "", page_text)  # noqa: E731
    assert words("Of 34 comparisons") in words(page.text)
    assert words("Of 34 comparisons") in words(text)


def test_the_command_names_the_page_and_errors_are_one_message(study, tmp_path):
    done = CliRunner().invoke(app, ["report", str(study), "--out", str(tmp_path / "r")])
    assert done.output.strip() == f"report: {tmp_path / 'r' / 'index.html'}"
    assert (tmp_path / "r" / "index.html").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="give another --out"):
        write_report(study, tmp_path / "file")


def test_odd_names_survive_every_form():
    name = "a|b_c & <d> $1 \\ #"
    table = Table("t", "50 % *of* it", ["method", "F1"], [[name, "±1"]], [{"method": name, "F1": 1.0}])
    assert next(csv.DictReader(to_csv(table).splitlines()))["method"] == name
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", to_markdown(table).splitlines()[-1])]
    assert re.sub(r"\\(.)", r"\1", cells[1]) == name
    assert name in Wellformed(to_html(table)).text
    assert r"a|b\_c \& $<$d$>$ \$1 \textbackslash{} \# & $\pm$1" in to_latex(table)
