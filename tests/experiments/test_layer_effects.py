"""What plans drawn at random say about layers: told where there is something to tell, and only there."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import layer_effects

from lookboth.masking.plan import MaskPlan

LAYERS = 8
BITS = np.random.default_rng(0).integers(0, 2, (60, LAYERS))


def trained(test: np.ndarray) -> layer_effects.Trained:
    plans = [MaskPlan(tuple(None if bit else 0 for bit in bits)) for bits in BITS]
    return layer_effects.Trained(plans, test, test)


def test_scores_made_of_layers_are_told_by_layers() -> None:
    worth = np.array([3.0, 0, 0, -2, 0, 0, 1, 0])
    made = trained(90 + BITS @ worth)
    rows = {row[0]: row[1:] for row in layer_effects.table(made).rows}
    assert float(rows["every layer"][0]) > 0.9
    assert float(rows["every layer"][1]) > 0.95
    assert float(rows["number of unmasked layers, and its square"][0]) < 0.5
    found, bounds = layer_effects.effects(made)
    np.testing.assert_allclose(found, worth, atol=0.1)
    assert (bounds[0] <= found + 1e-9).all()
    assert (found <= bounds[1] + 1e-9).all()


def test_chance_is_not_told_and_has_no_rank_correlation() -> None:
    chance = trained(np.random.default_rng(1).normal(90, 1, len(BITS)))
    for _, explained, agrees in layer_effects.table(chance).rows[:-1]:
        assert float(explained) < 0.2
        assert agrees == "" or float(explained) > 0


def test_one_failed_training_does_not_decide() -> None:
    worth = 90 + BITS @ np.linspace(-1, 1, LAYERS)
    failed = worth.copy()
    failed[7] = 20
    said = [layer_effects.table(trained(scores)).rows[-2][1] for scores in (worth, failed)]
    assert float(said[1]) == pytest.approx(float(said[0]), abs=0.2)
