"""The model card says what is known of a labeler, and nothing that is not."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny import tiny_labeler

from lookboth.inference.confidence import Confidence
from lookboth.labelers.card import model_card
from lookboth.models.builtin_models import BUILTIN

SCORES = {
    "metric": "micro F1",
    "dev": 0.7,
    "test": {"wnut17": 0.6},
    "seed": 3,
    "recipe": {
        "data": {"train": ["wnut17", "my_data/"]},
        "adaptation": {"text": ["wikitext2_text"]},
        "training": {"seeds": [3]},
    },
}


@pytest.fixture
def config(tiny_llama_folder, monkeypatch):
    builtin = SimpleNamespace(folder=lambda name: tiny_llama_folder, licence="Apache-2.0")
    monkeypatch.setitem(BUILTIN, "tiny-llama", builtin)
    return tiny_labeler("tiny-llama", plan="0011").config


def sections(card: str) -> dict[str, str]:
    parts = card.partition("---\n")[2].partition("\n---\n")[2].split("\n## ")
    return {part.partition("\n")[0]: part for part in parts[1:]}


def test_a_card_says_data_scores_plan_licence_use_and_limits(config):
    card = model_card(replace(config, scores=SCORES))
    found = sections(card)
    assert list(found) == ["Use", "Scores", "Data", "Licence", "Limits", "Training"]
    assert "Mask plan: `0011` over 4 layers" in card
    assert "`LOC`, `PER`" in card
    assert "Labeler.from_pretrained" in found["Use"]
    assert "| wnut17 | 60.0 |" in found["Scores"]
    assert "dev 70.0" in found["Scores"]
    assert "| wnut17 | CC BY 4.0 |" in found["Data"]
    assert "| wikitext2_text | CC BY-SA 3.0 |" in found["Data"]
    assert "| my_data/ | see its source |" in found["Data"]
    assert "tiny-llama (licence: Apache-2.0)" in found["Licence"]
    assert "128 tokens" in found["Limits"]
    assert "one seed" in found["Limits"]
    assert "not calibrated" in found["Limits"]


def test_a_card_says_that_the_base_was_in_4_bits(config):
    assert "4 bits" in sections(model_card(replace(config, adapter="qlora")))["Limits"]
    assert "4 bits" not in model_card(config)


def test_what_was_not_done_is_not_told(config):
    found = sections(model_card(config))
    assert list(found) == ["Use", "Licence", "Limits"]
    assert "one seed" not in found["Limits"]
    calibrated = model_card(replace(config, confidence=Confidence(data="wnut17:dev"), base="me/model"))
    assert "calibrated on wnut17:dev" in calibrated
    assert "licence: see its card" in calibrated


def test_labels_with_line_breaks_do_not_break_the_card(config):
    tags = ("O", "B-a\n---\n# b", "I-a\n---\n# b")
    assert "`a --- # b`" in model_card(replace(config, tags=tags))
