"""The tables of the scale ladder, from the committed run folders."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import scale_effects

from lookboth.reporting.results import read_results

RUNS = Path(__file__).parents[2] / "experiments" / "results" / "scale"


def test_a_gain_is_the_difference_of_the_means_of_one_size() -> None:
    (data,) = read_results(RUNS).data
    means = {(result.model, result.method): result.test_mean for result in data.results}
    for baseline in scale_effects.BASELINES:
        gains = scale_effects.gains_over(RUNS, data.name, baseline)
        assert {gain.result.model for gain in gains} == {"135m", "270m", "500m"}
        for gain in gains:
            model, method = gain.result.model, gain.result.method
            difference = means[model, method].mean - means[model, baseline].mean
            assert gain.seeds.difference == pytest.approx(difference)


def test_the_committed_table_has_the_scores_of_the_committed_runs() -> None:
    (data,) = read_results(RUNS).data
    rows = scale_effects.scores(data).rows
    page = (RUNS / f"{data.name}.md").read_text(encoding="utf-8")
    assert len(rows) == 5
    for row in rows:
        assert f"| {' | '.join(row)} |" in page
