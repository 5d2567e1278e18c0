"""Text of a report: the compared runs, the significance of the differences, and the methods chosen on dev."""

from collections import Counter
from collections.abc import Iterator, Sequence

from lookboth.reporting.comparisons import ALPHA, Gain, Verdict
from lookboth.reporting.formatting import show_interval, show_mean, show_points, show_seeds
from lookboth.reporting.results import Collection, DataResults, Result, best_on_dev
from lookboth.reporting.tables import usual_seeds


def what_was_compared(collection: Collection) -> list[str]:
    """Return sentences about the runs, the seeds and the use of dev data."""
    data = collection.data
    models = dict.fromkeys(r.model for d in data for r in d.results)
    methods = dict.fromkeys(r.method for d in data for r in d.results)
    usual = usual_seeds(data)
    tested = any(r.tests for d in data for r in d.results)
    lines = [
        f"{_count(collection.num_runs, 'run')}: {_count(len(methods), 'method')} on "
        f"{_count(len(data), 'data set')} ({'; '.join(d.name for d in data)}), {_count(len(models), 'model')} "
        f"({', '.join(models)}), mostly {show_seeds(usual)} each.",
        "Every choice was made on dev data: the training step that is kept, and the method marked †. "
        + (
            "Test data was scored once per run and was not used for any choice."
            if tested
            else "Test data was not scored."
        ),
    ]
    if collection.num_tuning:
        lines.append(
            f"Values such as the learning rate were also tuned on dev data, in {collection.num_tuning} further runs. "
            "These did not score test data and are not in the tables."
        )
    if usual == 1:
        lines.append(
            "With one seed, the variation over seeds is unknown: another seed may reverse any order in these tables."
        )
    return lines


def how_sure(gains: Sequence[Gain]) -> list[str]:
    """Return sentences about the criteria of the verdicts and the number of comparisons with each verdict."""
    if not gains:
        return [
            "Nothing was compared: no data set has test scores of both a causal baseline and another method. To "
            "choose another baseline, type: --baseline METHOD"
        ]
    verdicts = Counter(gain.verdict for gain in gains)
    counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict if verdicts[verdict])
    lines = [
        "A method counts as better or worse than the baseline if two tests agree. On the same test sentences, the "
        f"difference is significant (approximate randomization, p < {ALPHA} after Holm's correction for all "
        f"{len(gains)} comparisons). Over seeds, the 95 % interval of the mean difference excludes zero. If only the "
        f'test on sentences is significant, the verdict is "{Verdict.unsure}"; otherwise it is "{Verdict.noise}".',
        f"Of {_count(len(gains), 'comparison')}: {counted}.",
    ]
    missing = sum(gain.sentences is None for gain in gains)
    if missing:
        lines.append(
            f"For {_count(missing, 'comparison')} predictions.jsonl is missing or has other sentences. There the "
            f'verdict is based on the seeds only, and with one seed it is "{Verdict.unknown}".'
        )
    return lines


def findings(data: Sequence[DataResults], gains: Sequence[Gain]) -> Iterator[str]:
    """Yield a sentence per data set and model: the method chosen on dev data and its result on test data."""
    for results in data:
        for result in results.chosen.values():
            yield _finding(
                results, result, next((g for g in gains if g.data is results and g.result is result), None)
            )
        best = best_on_dev(results.results)
        if best is not None and len(results.by_model()) > 1 and not results.is_chosen(best):
            yield f"{results.name}: of all models, {best.model} with {best.method} is best on dev ({_scores(best)})."


def _finding(data: DataResults, chosen: Result, gain: Gain | None) -> str:
    text = f"{data.name}, {chosen.model}: chosen on dev is {chosen.method} ({_scores(chosen)})"
    if gain is None:
        same = chosen in data.baselines.values()
        return f"{text}, which is the baseline." if same else f"{text}; there is no baseline to compare with."
    interval = show_interval(gain.seeds.interval)
    points = show_points(gain.seeds.difference) + (
        f" points (95 % over seeds {interval})" if interval else " points"
    )
    return f"{text}; on test {points} compared with {gain.baseline.method}: {gain.verdict}."


def _scores(result: Result) -> str:
    parts = (("dev", result.dev_mean, result.dev), ("test", result.test_mean, result.tests))
    return ", ".join(
        f"{name} {show_mean(mean, len(scores), len(scores))}" for name, mean, scores in parts if mean
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
