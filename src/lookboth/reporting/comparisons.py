"""Comparison of each method with the baseline, over seeds and sentences, corrected for multiple comparisons."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from lookboth.evaluation import (
    Comparison,
    PairedDifference,
    Run,
    ScoredSentence,
    benjamini_hochberg,
    bootstrap_seeds,
    has_predictions,
    holm,
    paired_difference,
    predictions_by_split,
    randomize_seeds,
    sentence_counts,
)
from lookboth.reporting.results import DataResults, Result, Seed

ALPHA = 0.05


class Verdict(StrEnum):
    """The conclusion of a comparison."""

    better = "better"
    worse = "worse"
    unsure = "not significant over seeds"
    noise = "within noise"
    unknown = "not testable"


@dataclass(frozen=True)
class Gain:
    """Comparison of a method with the baseline on test data.

    Args:
        data: the data set.
        result: result of the method.
        baseline: result of the baseline.
        seeds: paired difference over the seeds of both.
        sentences: bootstrap interval and randomization p-value of the mean over these seeds on the same test sentences;
            None if predictions are missing or the sentences differ.
        holm_seeds, holm_sentences, bh_sentences: p-values corrected (Holm, Benjamini-Hochberg) over all comparisons of
            the report.
    """

    data: DataResults
    result: Result
    baseline: Result
    seeds: PairedDifference
    sentences: Comparison | None = None
    holm_seeds: float | None = None
    holm_sentences: float | None = None
    bh_sentences: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Return the verdict: significant over sentences (Holm) and a 95 % interval over seeds that excludes 0.

        Without predictions, the Holm-corrected p-value over seeds is used in place of the one over sentences.
        """
        interval = self.seeds.interval
        seeds_agree = interval is not None and not interval.low <= 0 <= interval.high
        p_value = self.holm_seeds if self.holm_sentences is None else self.holm_sentences
        if p_value is None:
            return Verdict.unknown
        if p_value >= ALPHA:
            return Verdict.noise
        if not seeds_agree:
            return Verdict.unsure
        return Verdict.better if self.seeds.difference > 0 else Verdict.worse


class TestSentences:
    """Cache of the span counts of runs on their test sentences."""

    # pytest would otherwise collect the class because of its name.
    __test__ = False

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, tuple[str, np.ndarray]]] = {}

    def counts(self, run: Run, test: str) -> tuple[str, np.ndarray] | None:
        """Return a fingerprint of words and gold spans, and the `sentence_counts`; None without predictions."""
        folder = run.folder
        if folder is None or not has_predictions(folder):
            return None
        if folder not in self._read:
            splits = predictions_by_split(run)
            self._read[folder] = {name: _counted(sentences) for name, sentences in splits.items()}
        return self._read[folder].get(test)


def compare_with_baselines(data: Sequence[DataResults]) -> list[Gain]:
    """Compare every result with the baseline of its data set and correct the p-values over all comparisons.

    Args:
        data: all data sets of a report.

    Raises:
        DataError: predictions cannot be read.
    """
    sentences = TestSentences()
    gains = []
    for results in data:
        for result in results.results:
            baseline = results.baseline_of(result)
            seeds = [seed for seed in result.tests if baseline is not None and seed in baseline.tests]
            if baseline is not None and seeds:
                gains.append(_gain(results, result, baseline, seeds, sentences))
    return _corrected(gains)


def _gain(
    data: DataResults, result: Result, baseline: Result, seeds: Sequence[Seed], sentences: TestSentences
) -> Gain:
    pairs = paired_difference([result.tests[s] for s in seeds], [baseline.tests[s] for s in seeds])
    return Gain(data, result, baseline, pairs, _on_sentences(result, baseline, seeds, sentences))


def _on_sentences(
    result: Result, baseline: Result, seeds: Sequence[Seed], sentences: TestSentences
) -> Comparison | None:
    """Compare on the same sentences; return None if predictions are missing or the sentences differ."""
    sides = []
    for side in (result, baseline):
        found = [sentences.counts(side.runs[seed], side.test or "") for seed in seeds]
        sides.append([counts for counts in found if counts is not None])
    texts = {fingerprint for side in sides for fingerprint, _ in side}
    # The tests are paired, so both sides must have the same words and gold spans.
    if len(texts) != 1 or any(len(side) < len(seeds) for side in sides):
        return None
    first, second = (np.stack([counts for _, counts in side]) for side in sides)
    p_value = randomize_seeds(first, second).p_value
    return bootstrap_seeds(first, second)._replace(p_value=p_value)


def _corrected(gains: list[Gain]) -> list[Gain]:
    by_seeds = [gain.seeds.p_value for gain in gains]
    by_sentences = [gain.sentences.p_value if gain.sentences else None for gain in gains]
    columns = (
        _correct(holm, by_seeds),
        _correct(holm, by_sentences),
        _correct(benjamini_hochberg, by_sentences),
    )
    return [
        replace(gain, holm_seeds=seeds, holm_sentences=family, bh_sentences=rate)
        for gain, seeds, family, rate in zip(gains, *columns, strict=True)
    ]


def _correct(
    method: Callable[[Sequence[float]], list[float]], p_values: Sequence[float | None]
) -> list[float | None]:
    """Correct the p-values; None stays None and does not count as a comparison."""
    corrected = iter(method([p for p in p_values if p is not None]))
    return [None if p is None else next(corrected) for p in p_values]


def _counted(sentences: Sequence[ScoredSentence]) -> tuple[str, np.ndarray]:
    text = repr([(sentence.words, sentence.gold) for sentence in sentences])
    counts = sentence_counts([s.gold for s in sentences], [s.predicted for s in sentences])
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest(), counts
