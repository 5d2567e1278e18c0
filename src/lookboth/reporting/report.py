"""`lookboth report`: tables, plots and pages of all runs below a folder, made from the run folders alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lookboth.errors import DataError
from lookboth.evaluation.predictions import ScoredSentence, predictions_by_split
from lookboth.evaluation.runfile import PREDICTIONS_FILE
from lookboth.reporting import summary, tables
from lookboth.reporting.comparisons import Gain, compare_with_baselines
from lookboth.reporting.markup import Table, to_csv, to_latex, to_markdown
from lookboth.reporting.page import Block, Heading, Items, Paragraph, page_to_html, page_to_markdown
from lookboth.reporting.plan_families import plan_families
from lookboth.reporting.results import Collection, DataResults, Result, read_results

REPORT_FOLDER = "report"
Featured = dict[tuple[str, Result], list[list[ScoredSentence]]]


def write_report(folder: str | Path, out: str | Path | None = None, *, baseline: str | None = None) -> Path:
    """Write tables, plots and pages of every run below `folder` and return the folder they are in.

    Args:
        folder: holds run folders at any depth: a study, or whatever `lookboth train` and `lookboth evaluate` wrote.
        out: folder for the report; default: `report` in `folder`.
        baseline: the method to compare with; default: the causal one.

    Raises:
        DataError: no runs, a broken run folder, or nowhere to write.
        ConfigError: no method is called `baseline`, or the packages of the extra "report" are missing.
    """
    collection = read_results(folder, baseline=baseline)
    out = Path(folder) / REPORT_FOLDER if out is None else Path(out)
    gains = compare_with_baselines(collection.data)
    featured = _featured(collection.data)
    made = _tables(collection, gains, featured)
    for table in made:
        _write_table(out / "tables", table)
    _write_table(out / "tables", tables.run_records(collection.data), readable=False)
    blocks = _blocks(collection, gains, made)
    _write(out / "report.md", page_to_markdown(blocks))
    _write(out / "index.html", page_to_html(blocks))
    return out


def _featured(data: Iterable[DataResults]) -> Featured:
    """Return the test sentences of baselines and dev choices, seed by seed, where predictions are there."""
    found: Featured = {}
    for results in data:
        for result in results.featured():
            runs = [
                run
                for run in result.runs.values()
                if run.folder and (run.folder / PREDICTIONS_FILE).is_file()
            ]
            splits = [predictions_by_split(run) for run in runs]
            sentences = [split[result.test] for split in splits if result.test in split]
            if sentences:
                found[results.name, result] = sentences
    return found


def _tables(collection: Collection, gains: Sequence[Gain], featured: Featured) -> list[Table]:
    families = [(data, family) for data in collection.data for family in plan_families(data)]
    made = [
        *tables.score_tables(collection.data),
        tables.comparison_table(gains) if gains else None,
        tables.nested_table(families),
        tables.error_table(featured),
    ]
    return [table for table in made if table is not None]


def _blocks(collection: Collection, gains: Sequence[Gain], made: Sequence[Table]) -> list[Block]:
    found = list(summary.findings(collection.data, gains))
    return [
        Heading("Report", level=1),
        *map(Paragraph, summary.what_was_compared(collection)),
        Heading("What dev data chose"),
        Items(found) if found else Paragraph("Nothing: no model has two methods with dev scores."),
        Heading("How sure one can be"),
        *map(Paragraph, summary.how_sure(gains)),
        Heading("Tables"),
        *made,
    ]


def _write_table(folder: Path, table: Table, *, readable: bool = True) -> None:
    _write(folder / f"{table.name}.csv", to_csv(table))
    if readable:
        _write(folder / f"{table.name}.md", to_markdown(table))
        _write(folder / f"{table.name}.tex", to_latex(table))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another --out.") from error
