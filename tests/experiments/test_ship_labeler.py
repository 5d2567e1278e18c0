"""The model cards of the shipped labelers say what the committed runs measured."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("ship_labeler", ROOT / "experiments" / "ship_labeler.py")
ship_labeler = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ship_labeler)


@pytest.mark.parametrize("name", ship_labeler.FOLDERS)
def test_the_card_is_written_from_the_committed_runs(name):
    committed = (ship_labeler.LABELERS / ship_labeler.FOLDERS[name] / "README.md").read_text(encoding="utf-8")
    assert committed == ship_labeler.card(name, "")


# The open labeler was not trained on text in capitals, which its card says, and was not measured on it.
@pytest.mark.parametrize("name", sorted(set(ship_labeler.FOLDERS) - {"open"}))
def test_the_card_says_how_many_points_text_in_capitals_loses(name):
    file = ROOT / "experiments" / "results" / "letter_case" / f"{name}.json"
    scores = json.loads(file.read_text(encoding="utf-8"))
    lost = [100 * (by_case["as it is"] - by_case["capitals"]) for by_case in scores.values()]
    limits = ship_labeler.card(name, "").rpartition("English only")[2]
    assert f"In capitals the test sets above lose {min(lost):.1f} to {max(lost):.1f} points of F1" in limits
