"""The whole report on a made-up study: every file is there, well-formed, and says the same."""

import csv
import gzip
import re
from xml.etree import ElementTree

import pytest
from fake_study import sentences, write_one, write_study
from numpy.random import default_rng
from typer.testing import CliRunner
from wellformed import Wellformed

from lookboth.cli import app
from lookboth.errors import DataError
from lookboth.reporting.report import write_report
from lookboth.reporting.table_markup import Table, to_csv, to_html, to_latex, to_markdown

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study") / "runs", num_sentences=10)


@pytest.fixture(scope="module")
def report(study):
    return write_report(study)


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


def test_plots_are_well_formed(report):
    files = {path.stem: path for path in (report / "plots").iterdir()}
    assert set(files) == {
        "plans",
        "gains",
        "learning",
        "confusion-ner",
        "confusion-events",
        "length",
        "frequency",
    }
    for path in files.values():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_what_cannot_be_drawn_is_said(tmp_path):
    root = write_study(
        tmp_path / "runs", datasets=("ner",), methods=("0000", "0011"), num_seeds=1, num_sentences=6
    )
    (tmp_path / "ner.conll").unlink()
    text = (write_report(root) / "report.md").read_text(encoding="utf-8")
    assert "ner: the plot by frequency in training data is missing; training data cannot be read" in text
    for file in root.rglob("predictions.jsonl"):
        file.unlink()
    text = (write_report(root, tmp_path / "r") / "report.md").read_text(encoding="utf-8")
    assert (
        "No test sentences in predictions.jsonl, so these data sets have no breakdowns and no error pages: ner."
        in text
    )
    assert {path.stem for path in (tmp_path / "r" / "plots").iterdir()} == {"gains", "learning"}


def test_runs_without_test_scores_give_a_report_of_dev_alone(tmp_path):
    examples = sentences(6, default_rng(0))
    for plan in ("causal", "full"):
        write_one(
            tmp_path / plan / "seed-0",
            {"plan": plan, "data": {"train": "x"}},
            0.7,
            0,
            splits={"dev": examples},
        )
    out = write_report(tmp_path, tmp_path / "r")
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "Test data was not scored." in text
    assert "Nothing was compared" in text
    header = (out / "tables" / "scores.md").read_text(encoding="utf-8").splitlines()[2]
    assert header == "| model | method | x dev |"


def test_the_command_writes_the_same_again_and_names_the_page(study, report, tmp_path):
    assert report == study / "report"
    done = CliRunner().invoke(app, ["report", str(study), "--out", str(tmp_path / "r")])
    assert done.output.strip() == f"report: {tmp_path / 'r' / 'index.html'}"
    for path in report.rglob("*.*"):
        assert (tmp_path / "r" / path.relative_to(report)).read_bytes() == path.read_bytes()


def test_nowhere_to_write_is_one_message(tmp_path):
    root = write_study(tmp_path / "runs", datasets=("ner",), methods=("0000",), num_seeds=1, num_sentences=6)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="give another --out"):
        write_report(root, tmp_path / "file")


def test_odd_names_survive_every_form():
    name = "a|b_c & <d> $1 \\ #"
    table = Table("t", "50 % *of* it", ["method", "F1"], [[name, "±1"]], [{"method": name, "F1": 1.0}])
    assert next(csv.DictReader(to_csv(table).splitlines()))["method"] == name
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", to_markdown(table).splitlines()[-1])]
    assert re.sub(r"\\(.)", r"\1", cells[1]) == name
    assert name in Wellformed(to_html(table)).text
    assert r"a|b\_c \& $<$d$>$ \$1 \textbackslash{} \# & $\pm$1" in to_latex(table)


def test_compressed_predictions_make_the_same_report(tmp_path):
    study = write_study(tmp_path / "runs", num_sentences=4)
    plain = write_report(study, tmp_path / "plain")
    for file in study.rglob("predictions.jsonl"):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    packed = write_report(study, tmp_path / "packed")
    assert (plain / "report.md").read_text() == (packed / "report.md").read_text()
    assert sorted(f.name for f in (plain / "errors").iterdir()) == sorted(
        f.name for f in (packed / "errors").iterdir()
    )


@pytest.mark.parametrize("panels_drawn", [1, 2])
def test_legends_fit_into_their_figures(panels_drawn):
    from lookboth.reporting.style import panels, plot_style, share_legend

    with plot_style():
        figure, axes = panels([str(number) for number in range(panels_drawn)])
        for number in range(5):
            axes[0].plot([0, 1], label=f"a rather long name of a method {number}")
        share_legend(figure, axes, columns=5)
        figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figure.bbox.width
    assert len(legend.get_texts()) == 5


def test_the_header_of_a_column_is_aligned_as_its_cells():
    text = to_html(Table("t", "", ["model", "method", "F1"], [["a", "b", "1"]], [], num_headers=2))
    assert re.findall('<th scope="col"( class=name)?>', text) == [" class=name", " class=name", ""]
    assert '<td class="name">b</td><td>1</td>' in text
