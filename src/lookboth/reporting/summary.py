"""What a report says in words: what was compared, how sure one can be, and what is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence

from lookboth.reporting.comparisons import ALPHA, Gain, Verdict
from lookboth.reporting.formatting import show_interval, show_mean, show_points, show_seeds
from lookboth.reporting.results import Collection, DataResults, Result, best_on_dev
from lookboth.reporting.tables import usual_seeds


def what_was_compared(collection: Collection) -> list[str]:
    """Return sentences on the runs, the seeds, and what dev data was used for."""
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
        + ("Test data was scored once a run and chose nothing." if tested else "No test data was scored."),
    ]
    if collection.num_tuning:
        lines.append(
            f"Values such as the learning rate were tuned on dev data as well, in {collection.num_tuning} further runs "
            "that scored no test data and are not in the tables."
        )
    if usual == 1:
        lines.append(
            "With one seed there is no spread over seeds: another seed may turn any order in these tables."
        )
    return lines


def how_sure(gains: Sequence[Gain]) -> list[str]:
    """Return sentences on how verdicts come about and how many comparisons got each."""
    if not gains:
        return [
            "Nothing was compared: there are no test scores of a causal baseline and of another method on one data "
            "set. --baseline METHOD names another baseline."
        ]
    verdicts = Counter(gain.verdict for gain in gains)
    counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict if verdicts[verdict])
    lines = [
        "A method counts as better or worse than the baseline when both agree: on the same test sentences the "
        f"difference is not chance (approximate randomization, p < {ALPHA} after Holm's correction for all "
        f"{len(gains)} comparisons), and over seeds the 95 % interval of the mean difference leaves out zero. If only "
        f'the sentences agree it is "{Verdict.unsure}"; all else is "{Verdict.noise}".',
        f"Of {_count(len(gains), 'comparison')}: {counted}.",
    ]
    missing = sum(gain.sentences is None for gain in gains)
    if missing:
        lines.append(
            f"For {_count(missing, 'comparison')} predictions.jsonl is missing or holds other sentences; there only "
            f'the seeds were asked, and of one seed alone nothing can be said ("{Verdict.unknown}").'
        )
    return lines


def findings(data: Sequence[DataResults], gains: Sequence[Gain]) -> Iterator[str]:
    """Yield, for each data set and model, what dev data chose and how it does on test data."""
    for results in data:
        for result in results.chosen.values():
            yield _finding(
                results, result, next((g for g in gains if g.data is results and g.result is result), None)
            )
        best = best_on_dev(results.results)
        if best is not None and len(results.by_model()) > 1 and not results.is_chosen(best):
            yield f"{results.name}: of all models, {best.model} with {best.method} is best on dev ({_scores(best)})."


def _finding(data: DataResults, chosen: Result, gain: Gain | None) -> str:
    text = f"{data.name}, {chosen.model}: dev chooses {chosen.method} ({_scores(chosen)})"
    if gain is None:
        same = chosen in data.baselines.values()
        return f"{text}, which is the baseline." if same else f"{text}; there is no baseline to compare with."
    interval = show_interval(gain.seeds.interval)
    points = show_points(gain.seeds.difference) + (
        f" points (95 % over seeds {interval})" if interval else " points"
    )
    return f"{text}; on test {points} against {gain.baseline.method}: {gain.verdict}."


def _scores(result: Result) -> str:
    parts = (("dev", result.dev_mean, result.dev), ("test", result.test_mean, result.tests))
    return ", ".join(
        f"{name} {show_mean(mean, len(scores), len(scores))}" for name, mean, scores in parts if mean
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
