"""`lookboth report`: write tables, plots and pages of all runs below a folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from lookboth.errors import DataError
from lookboth.evaluation import (
    FREQUENCIES,
    LENGTHS,
    Run,
    ScoredSentence,
    frequency_bucket,
    has_predictions,
    length_bucket,
    predictions_by_split,
)
from lookboth.files import write_whole
from lookboth.reporting import plan_search, score_plots, span_plots, summary, tables
from lookboth.reporting.comparisons import Gain, compare_with_baselines
from lookboth.reporting.errors_page import render_errors_page
from lookboth.reporting.naming import slug
from lookboth.reporting.page import Block, Heading, Items, Paragraph, page_to_html, page_to_markdown
from lookboth.reporting.plan_families import PlanFamily, plan_families
from lookboth.reporting.plan_search import PlanSearch, read_searches
from lookboth.reporting.results import Collection, DataResults, Result, read_results
from lookboth.reporting.style import Plot
from lookboth.reporting.table_markup import Table, to_csv, to_latex, to_markdown
from lookboth.reporting.train_data import read_train_data
from lookboth.run_folder import PREDICTIONS_FILE

REPORT_FOLDER = "report"
# Methods per panel of a breakdown plot.
_IN_BREAKDOWNS = 3
# Error pages per data set: the baseline and the method chosen on dev.
_ERROR_PAGES = 2


@dataclass(frozen=True)
class Findings:
    """The content of a report.

    Args:
        collection: all results.
        gains: comparisons with the baselines.
        families: plan families with their data sets.
        searches: plan searches.
        sentences: test sentences of the featured results, by data set, result and seed.
        notes: parts that could not be made, with reasons; extended while plots are drawn.
    """

    collection: Collection
    gains: Sequence[Gain]
    families: Sequence[tuple[DataResults, PlanFamily]]
    searches: Sequence[PlanSearch]
    sentences: dict[DataResults, dict[Result, list[list[ScoredSentence]]]]
    notes: list[str] = field(default_factory=list)


def write_report(folder: str | Path, out: str | Path | None = None, *, baseline: str | None = None) -> Path:
    """Write the report of every run below `folder` and return its folder.

    Args:
        folder: folder with run folders at any depth: a study, or the output of `lookboth train` and `lookboth
            evaluate`.
        out: folder for the report; default: `report` in `folder`.
        baseline: method to compare with; default: the causal one.

    Raises:
        DataError: there are no runs, a run folder is broken, or `out` cannot be written.
        ConfigError: there is no method `baseline`, or the packages of the extra "report" are not installed.
    """
    found = _find(read_results(folder, baseline=baseline))
    out = Path(folder) / REPORT_FOLDER if out is None else Path(out)
    try:
        _write(found, out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}); give another --out.") from error
    return out


def _write(found: Findings, out: Path) -> None:
    made = _tables(found)
    for table in made:
        _write_table(out / "tables", table)
    write_whole(out / "tables" / "runs.csv", [to_csv(tables.run_records(found.collection.data))])
    pictures = [plot.save(out / "plots", relative_to=out) for plot in _plots(found)]
    plots: list[Block] = [Heading("Plots"), *pictures] if pictures else []
    searches = _write_searches(found, out)
    pages = _write_error_pages(found, out)
    blocks = _blocks(found, [*searches, *plots, *pages, Heading("Tables"), *made])
    write_whole(out / "report.md", [page_to_markdown(blocks)])
    write_whole(out / "index.html", [page_to_html(blocks)])


def _find(collection: Collection) -> Findings:
    data = collection.data
    families = [(results, family) for results in data for family in plan_families(results)]
    sentences = {results: dict(_featured_sentences(results)) for results in data}
    found = Findings(collection, compare_with_baselines(data), families, read_searches(data), sentences)
    without = [results.name for results, featured in sentences.items() if not featured]
    if without:
        found.notes.append(
            f"No test sentences in {PREDICTIONS_FILE}, so these data sets have no breakdowns and no error pages: "
            f"{'; '.join(without)}."
        )
    return found


def _featured_sentences(results: DataResults) -> Iterator[tuple[Result, list[list[ScoredSentence]]]]:
    """Yield the featured results that have predictions, each with its test sentences by seed."""
    for result in results.featured():
        runs = [run for run in result.runs.values() if _readable(run)]
        splits = [predictions_by_split(run) for run in runs]
        sentences = [split[result.test] for split in splits if result.test in split]
        if sentences:
            yield result, sentences


def _readable(run: Run) -> bool:
    return run.folder is not None and has_predictions(run.folder)


def _tables(found: Findings) -> list[Table]:
    data = found.collection.data
    by_name = {(d.name, r): s for d, featured in found.sentences.items() for r, s in featured.items()}
    made = [
        *tables.score_tables(data),
        tables.comparison_table(found.gains) if found.gains else None,
        tables.nested_table(found.families),
        tables.error_table(by_name),
    ]
    return [table for table in made if table is not None]


def _plots(found: Findings) -> list[Plot]:
    data = found.collection.data
    some = {
        d: dict(islice(featured.items(), _IN_BREAKDOWNS))
        for d, featured in found.sentences.items()
        if featured
    }
    by_length = [(d, sentences, length_bucket) for d, sentences in some.items()]
    by_frequency = []
    for d, sentences in some.items():
        try:
            train = read_train_data(next(iter(d.results[0].runs.values())))
        except DataError as error:
            found.notes.append(f"{d.name}: the plot by frequency in training data is missing; {error}")
        else:
            by_frequency.append((d, sentences, frequency_bucket(train)))
    made = [
        score_plots.plot_plans(found.families),
        score_plots.plot_gains(found.gains),
        score_plots.plot_learning(data),
        *(
            span_plots.plot_confusion(f"confusion-{slug(d.name)}", d, sentences)
            for d, sentences in some.items()
        ),
        span_plots.plot_buckets("length", "number of words of a span", LENGTHS, by_length),
        span_plots.plot_buckets(
            "frequency", "frequency of the span in training data", FREQUENCIES, by_frequency
        ),
    ]
    return [plot for plot in made if plot is not None]


def _write_searches(found: Findings, out: Path) -> list[Block]:
    """Write table and plot of each plan search; return their sections of the report."""
    blocks: list[Block] = []
    for search in found.searches:
        table = plan_search.search_table(search)
        _write_table(out / "tables", table)
        picture = plan_search.plot_search(search).save(out / "plots", relative_to=out)
        blocks += [Heading(search.title), Items(plan_search.search_words(search)), picture, table]
    return blocks


def _write_error_pages(found: Findings, out: Path) -> list[Block]:
    """Write error pages, each of one seed, for baselines and dev choices; return the list of links."""
    texts, links = [], []
    for data, sentences in found.sentences.items():
        for result, by_seed in islice(sentences.items(), _ERROR_PAGES):
            seed, run = next((seed, run) for seed, run in result.runs.items() if _readable(run))
            title = f"Mistakes: {data.name}, {result.method}" + ("" if seed is None else f", seed {seed}")
            facts = {
                "model": result.model,
                "test set": result.test or "",
                "run": "/".join((run.folder or Path()).parts[-3:]),
            }
            score = result.tests.get(seed)
            facts |= {} if score is None else {data.metric: f"{100 * score:.1f}"}
            links.append(f"errors/{slug(f'{data.name}-{result.model}-{result.method}-seed-{seed}')}.html")
            texts.append(title)
            write_whole(out / links[-1], [render_errors_page(title, facts, by_seed[0])])
    return [Heading("Pages of mistakes"), Items(texts, links)] if texts else []


def _blocks(found: Findings, body: Sequence[Block]) -> list[Block]:
    lines = list(summary.findings(found.collection.data, found.gains))
    notes: list[Block] = [Heading("Missing parts"), Items(found.notes)] if found.notes else []
    return [
        Heading("Report", level=1),
        *map(Paragraph, summary.what_was_compared(found.collection)),
        Heading("Methods chosen on dev data"),
        Items(lines) if lines else Paragraph("Nothing: no model has two methods with dev scores."),
        Heading("Statistical significance"),
        *map(Paragraph, summary.how_sure(found.gains)),
        *notes,
        *body,
    ]


def _write_table(folder: Path, table: Table) -> None:
    for suffix, write in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
        write_whole(folder / f"{table.name}.{suffix}", [write(table)])
