"""What twice the data is likely to bring, and when it cannot be told."""

import numpy as np
import pytest
from oracle import oracle, true_examples

from lookboth.audit import learning_curve as curves
from lookboth.audit.learning_curve import extrapolate
from lookboth.config.recipe_files import parse_config

SIZES = (100, 200, 400, 800)


def counts(f1: list[float], sentences: int = 2000) -> np.ndarray:
    """Counts of sentences with one gold and one predicted span each, right in the given share of the sentences."""
    right = np.array([np.arange(sentences) < share * sentences for share in f1]).T
    return np.stack([right, np.ones_like(right), np.ones_like(right)], axis=-1).astype(int)


def test_an_error_that_falls_as_a_power_law_is_extrapolated():
    # The error falls by a tenth with each doubling.
    errors = [0.5 * 0.9**i for i in range(4)]
    curve = extrapolate(SIZES, counts([1 - error for error in errors]))
    assert curve.doubt == ""
    assert curve.gain == pytest.approx(errors[-1] * 0.1, abs=2e-3)
    assert curve.interval.low < curve.gain < curve.interval.high
    assert [point.f1 for point in curve.points] == pytest.approx([1 - error for error in errors], abs=1e-3)
    assert all(point.interval.low < point.f1 < point.interval.high for point in curve.points)
    assert "likely to bring +3.6 F1" in curve.describe()


@pytest.mark.parametrize(
    ("f1", "doubt"),
    [
        ([0.70, 0.70, 0.70, 0.70], "contains 0"),
        ([0.75, 0.74, 0.73, 0.72], "contains 0"),
        ([0.20, 0.80, 0.81, 0.82], "deviate by"),
        ([0.0, 0.5, 0.6, 0.7], "nothing was learned"),
    ],
)
def test_what_cannot_be_told_is_said(f1, doubt):
    curve = extrapolate(SIZES, counts(f1))
    assert doubt in curve.doubt
    assert "cannot be told" in curve.describe()
    assert "likely" not in curve.describe()


def test_each_part_is_scored_out_of_fold_and_all_the_data_share_the_folds_of_an_audit(tmp_path, monkeypatch):
    data, true = tmp_path / "data.conll", true_examples()
    data.write_text("\n".join("".join(f"{word}\tB-PER\n" for word in e.words[:1]) for e in true))
    called = []

    def probs(config, examples, out, *, num_folds, denominator):
        called.append((out, num_folds, denominator))
        return oracle(examples)

    monkeypatch.setattr(curves, "probs_of_folds", probs)
    curve = curves.measure_learning_curve(parse_config({"data": {"train": str(data)}}), tmp_path, num_folds=4)
    assert called == [(tmp_path / f"part-{n}", 4, n) for n in (8, 4, 2)] + [(tmp_path, 4, 1)]
    assert [point.sentences for point in curve.points] == [2, 4, 8, 16]
    assert curve.points[0].f1 == 1.0
