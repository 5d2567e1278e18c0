"""Tables of a report: scores, comparisons with the baseline, nested plans, kinds of mistakes, and all runs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from lookboth.evaluation import (
    ErrorKind,
    Interval,
    MeanAndSd,
    PairedDifference,
    ScoredSentence,
    count_error_kinds,
    holm,
    mean_and_sd,
)
from lookboth.reporting.comparisons import Gain
from lookboth.reporting.formatting import (
    show_interval,
    show_mean,
    show_number,
    show_p,
    show_points,
    show_seeds,
)
from lookboth.reporting.plan_families import PlanFamily
from lookboth.reporting.results import CHOSEN, DEV, TEST, DataResults, Result, Seed
from lookboth.reporting.table_markup import Table

# Data sets side by side in one table.
_WIDE = 4
_COMPARISON_COLUMNS = (
    *("data", "model", "method", "against", "gain"),
    *("seeds: 95 %", "d", "p seeds", "Holm seeds"),
    *("sentences: 95 %", "p sentences", "Holm sentences", "BH sentences", "verdict"),
)


def score_tables(data: Sequence[DataResults]) -> list[Table]:
    """Return tables of mean and sd over seeds of every method, on dev and test data, with the dev choices marked.

    Args:
        data: all data sets; each table has at most four.
    """
    parts = [data[first : first + _WIDE] for first in range(0, len(data), _WIDE)]
    names = ["scores"] if len(parts) == 1 else [f"scores-{number}" for number in range(1, len(parts) + 1)]
    return [_score_table(name, part) for name, part in zip(names, parts, strict=True)]


def comparison_table(gains: Sequence[Gain]) -> Table:
    """Return the table of gains over the baseline on test data, with intervals and corrected p-values."""
    count = len(gains)
    return Table(
        "comparisons",
        "Test score of each method minus that of the baseline, in points. Seeds: paired over seeds, with the 95 % t "
        "interval, Cohen's d of the paired differences and the p-value of the paired t-test. Sentences: 95 % bootstrap "
        "interval and p-value of approximate randomization on the same test sentences. Holm and BH "
        f"(Benjamini-Hochberg) are corrected for all {count} comparisons of this report.",
        _COMPARISON_COLUMNS,
        [_comparison_row(gain) for gain in gains],
        [_comparison_record(gain) for gain in gains],
        num_headers=4,
    )


def nested_table(families: Sequence[tuple[DataResults, PlanFamily]]) -> Table | None:
    """Return the table of tests over plans: unmasking later groups (the paper's test), and each group alone."""
    tests = [row for data, family in families for row in _nested_tests(data, family)]
    p_values = [1.0 if test.p_value is None else test.p_value for *_, test in tests]
    if not tests:
        return None
    records = [
        {
            "data": data.name,
            "model": family.model,
            "split": split,
            "switched on": what,
            **_difference_record(test),
        }
        | {"holm": corrected}
        for (data, family, split, what, test), corrected in zip(tests, holm(p_values), strict=True)
    ]
    rows = [
        [data.name, family.model, split, what, *_nested_cells(test, corrected)]
        for (data, family, split, what, test), corrected in zip(tests, holm(p_values), strict=True)
    ]
    return Table(
        "nested",
        "Effect of unmasking layer groups, in points. Later groups: the paper's one-sided t-test over nested plans. "
        "Its pairs overlap, so the p-value is too small. Group g: two-sided, over all settings of the other groups and "
        "all seeds, with each run in one pair; group 1 is nearest the input. Holm: corrected for all rows.",
        ["data", "model", "split", "switched on", "change", "95 %", "d", "p", "Holm", "pairs"],
        rows,
        records,
        num_headers=4,
    )


def error_table(sentences: Mapping[tuple[str, Result], Sequence[Sequence[ScoredSentence]]]) -> Table | None:
    """Return the table of the number of mistakes of each kind, as the mean over seeds.

    Args:
        sentences: test sentences of each seed, by data set name and result.
    """
    rows, records = [], []
    for (name, result), by_seed in sentences.items():
        counts = [count_error_kinds([s.gold for s in run], [s.predicted for s in run]) for run in by_seed]
        means = {kind: sum(count[kind] for count in counts) / len(counts) for kind in ErrorKind}
        total = sum(means.values())
        rows.append(
            [name, result.model, result.method, *(f"{mean:.0f}" for mean in means.values()), f"{total:.0f}"]
        )
        records.append(
            {"data": name, "model": result.model, "method": result.method, "seeds": len(counts)} | means
        )
    if not rows:
        return None
    caption = "Mistakes on test data by kind, mean over seeds; a wrong span is counted once."
    columns = ["data", "model", "method", *map(str, ErrorKind), "all"]
    return Table(
        "errors", caption, columns, rows, [{str(k): v for k, v in r.items()} for r in records], num_headers=3
    )


def run_records(data: Sequence[DataResults]) -> Table:
    """Return the scores of every run, for the CSV file."""
    records = [
        {
            "data": results.name,
            "model": result.model,
            "method": result.method,
            "plan": run.plan,
            "seed": seed,
            "dev": result.dev.get(seed),
            "test": result.tests.get(seed),
            "metric": results.metric,
            "tuned": (run.config.get("study") or {}).get("tuned"),
            "wall_seconds": run.wall_seconds,
            "commit": run.commit,
        }
        for results in data
        for result in results.results
        for seed, run in result.runs.items()
    ]
    return Table("runs", "Every run.", [], [], records)


def usual_seeds(data: Sequence[DataResults]) -> int:
    """Return the most common number of seeds per result."""
    return Counter(len(r.runs) for d in data for r in d.results).most_common(1)[0][0]


def _score_table(name: str, data: Sequence[DataResults]) -> Table:
    usual = usual_seeds(data)
    methods = dict.fromkeys((r.model, r.method) for d in data for r in d.results)
    found = {(d.name, r.model, r.method): r for d in data for r in d.results}
    columns = [(d, split) for d in data for split in (DEV, TEST) if any(_side(r, split) for r in d.results)]
    rows = [
        [
            model,
            method,
            *(_score_cell(d, found.get((d.name, model, method)), split, usual) for d, split in columns),
        ]
        for model, method in methods
    ]
    metrics = "; ".join(f"{d.name}: {d.metric}" for d in data)
    caption = (
        f"Scores in percent ({metrics}), mean ± sd over {show_seeds(usual)}, or over n seeds where (n) is given. "
        f"{CHOSEN}: the method of each model with the best mean on dev data, chosen without test data."
    )
    titles = ["model", "method", *(f"{d.name} {split}" for d, split in columns)]
    return Table(name, caption, titles, rows, list(_score_records(data)), num_headers=2)


def _score_cell(data: DataResults, result: Result | None, split: str, usual: int) -> str:
    if result is None or not _side(result, split):
        return ""
    scores = _side(result, split)
    text = show_mean(mean_and_sd(list(scores.values())), len(scores), usual)
    return f"{text} {CHOSEN}" if data.is_chosen(result) else text


def _side(result: Result, split: str) -> Mapping[Seed, float]:
    return result.dev if split == DEV else result.tests


def _score_records(data: Sequence[DataResults]) -> Iterator[Mapping[str, object]]:
    for results in data:
        for result in results.results:
            dev, test = (
                mean or MeanAndSd(float("nan"), None) for mean in (result.dev_mean, result.test_mean)
            )
            yield {
                "data": results.name,
                "model": result.model,
                "method": result.method,
                "metric": results.metric,
                "seeds": len(result.runs),
                "dev_mean": dev.mean if result.dev else None,
                "dev_sd": dev.sd,
                "test_mean": test.mean if result.tests else None,
                "test_sd": test.sd,
                "chosen_on_dev": results.is_chosen(result),
            }


def _comparison_row(gain: Gain) -> list[str]:
    seeds, sentences = gain.seeds, gain.sentences
    own = [gain.data.name, gain.result.model, _marked(gain), gain.baseline.method]
    by_seeds = [
        show_interval(seeds.interval),
        show_number(seeds.effect_size),
        show_p(seeds.p_value),
        show_p(gain.holm_seeds),
    ]
    interval = Interval(sentences.low, sentences.high) if sentences else None
    p_value = sentences.p_value if sentences else None
    by_sentences = [
        show_interval(interval),
        show_p(p_value),
        show_p(gain.holm_sentences),
        show_p(gain.bh_sentences),
    ]
    return [*own, show_points(seeds.difference), *by_seeds, *by_sentences, gain.verdict]


def _comparison_record(gain: Gain) -> Mapping[str, object]:
    sentences = gain.sentences
    return {
        "data": gain.data.name,
        "model": gain.result.model,
        "method": gain.result.method,
        "against": gain.baseline.method,
        "chosen_on_dev": gain.data.is_chosen(gain.result),
        **_difference_record(gain.seeds),
        "holm_seeds": gain.holm_seeds,
        "sentences_low": sentences.low if sentences else None,
        "sentences_high": sentences.high if sentences else None,
        "sentences_p": sentences.p_value if sentences else None,
        "holm_sentences": gain.holm_sentences,
        "bh_sentences": gain.bh_sentences,
        "verdict": str(gain.verdict),
    }


def _difference_record(test: PairedDifference) -> dict[str, object]:
    low, high = test.interval or (None, None)
    return {
        "difference": test.difference,
        "low": low,
        "high": high,
        "d": test.effect_size,
        "p": test.p_value,
        "pairs": test.num_pairs,
    }


def _nested_tests(
    data: DataResults, family: PlanFamily
) -> Iterator[tuple[DataResults, PlanFamily, str, str, PairedDifference]]:
    for split in (DEV, TEST):
        nested = family.nested_test(split)
        if nested is not None:
            yield data, family, split, "later groups", nested
        for number, effect in enumerate(family.effects(split), start=1):
            yield data, family, split, f"group {number} of {family.num_groups}", effect


def _nested_cells(test: PairedDifference, corrected: float) -> list[str]:
    size, p_values = show_number(test.effect_size), [show_p(test.p_value), show_p(corrected)]
    return [show_points(test.difference), show_interval(test.interval), size, *p_values, str(test.num_pairs)]


def _marked(gain: Gain) -> str:
    return f"{gain.result.method} {CHOSEN}" if gain.data.is_chosen(gain.result) else gain.result.method
