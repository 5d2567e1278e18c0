"""The twins: their recipes parse, nothing but objective and plan differs, and the sizes are what is said."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import RobertaForMaskedLM

FOLDER = Path(__file__).parents[2] / "experiments" / "twins"
NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def twins():
    spec = importlib.util.spec_from_file_location("twins", FOLDER / "twins.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of(name):
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_the_objective_and_its_plan_are_all_that_differs(twins, name):
    settings = settings_of(name)
    total = settings["pretraining"]["adaptation"]["steps"]
    recipes = {}
    for twin, stages in twins.TWINS.items():
        configs = [twins.pretraining_recipe(settings, stage, NOWHERE) for stage in stages]
        assert sum(config.adaptation.steps for config in configs) in (total, 0)
        recipes[twin] = configs
    clm, mlm = recipes["CLM"][0], recipes["MLM"][0]
    assert clm.adapter.kind == "full"
    changed = clm.adaptation.model_copy(update={"objective": "mlm", "plan": "full"})
    assert clm.model_copy(update={"adaptation": changed}) == mlm
    for task in settings["tasks"]:
        causal, full = (twins.labeling_recipe(settings, task, plan, NOWHERE) for plan in twins.PLANS)
        assert causal.model_copy(update={"plan": "full"}) == full
        assert (causal.adaptation, causal.data.train) == (None, (task,))


@pytest.mark.parametrize(("name", "millions"), [("tiny", 0.35), ("paper", 68)])
def test_the_sizes(twins, name, millions):
    settings = settings_of(name)
    with torch.device("meta"):
        model = RobertaForMaskedLM(twins.shape(settings, settings["vocab_size"]))
    assert model.num_parameters() / 1e6 == pytest.approx(millions, rel=0.01 if millions > 10 else 0.1)


def test_the_tokenizer_marks_masks_and_gives_decoders_a_first_token(twins):
    tokenizer = twins.train_tokenizer(["the quick brown fox", "the lazy dog"] * 5, 300)
    assert tokenizer.mask_token_id == 4
    assert tokenizer("the dog")["input_ids"][0] == tokenizer.bos_token_id == 0
    assert tokenizer.pad_token_id == 1
