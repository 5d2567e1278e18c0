"""Frozen layers: nothing is computed backward in them, and what they compute forward is computed once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from test_trainer import right_word_decides, trained_weights
from transformers import AutoModel

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.masking.attention import apply_plan, under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.masking.structure import find_stack
from lookboth.progress import progress_to
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.frozen_states import FrozenStates, count_frozen, keep_frozen_states
from lookboth.training.labeler_building import build_labeler
from lookboth.training.trainer import fit
from lookboth.training.training_runs import train

TRAIN, DEV = right_word_decides(20), right_word_decides(8, seed=1)
FAMILIES = ("llama", "gpt2", "gemma")


@pytest.fixture(scope="module")
def folders(tiny_llama_folder, tiny_gpt2_folder, tiny_gemma_folder):
    return dict(zip(FAMILIES, (tiny_llama_folder, tiny_gpt2_folder, tiny_gemma_folder), strict=True))


def recipe(folder, *, adapter=None, training=None, **settings):
    """A recipe for the upper half of a tiny model."""
    base = {"epochs": 2, "lr": 5e-3, "batch_tokens": 96, "precision": "fp32", "head_dropout": 0.0}
    return parse_config(
        {
            "model": str(folder),
            "data": {"train": "x"},
            "max_tokens": 64,
            "overlap": 8,
            "adapter": {"layers": "top:2", "rank": 4, **({} if adapter is None else adapter)},
            "training": {**base, **(training or {})},
            **settings,
        }
    )


def build(config):
    torch.manual_seed(0)
    return build_labeler(config, labels=["LOC", "PER"], device="cpu")


def schedule_batches(labeler, config, examples=TRAIN):
    pieces = tokenize_examples(examples, labeler.encoder, tags=labeler.config.tags, config=config)
    return RunBatches.build(pieces, config=config, seed=0, pad_id=0)


def trained(config, folder, *, dev=DEV):
    """A labeler trained by a recipe as `train_classifier` does it, its history, and the states it kept, if any."""
    labeler = build(config)
    batches = schedule_batches(labeler, config)

    def score_dev():
        with under_plan(labeler.model.backbone, labeler.config.plan):
            return evaluate_labeler(labeler, dev, interval=False).scores.headline

    with keep_frozen_states(labeler.model, batches, config.training) as states:
        history = fit(
            labeler.model, batches, config=config.training, seed=0, folder=Path(folder), score_dev=score_dev,
        )  # fmt: skip
    return labeler, history, states


def assert_same_training(config, tmp_path):
    """Train with and without kept states; return how many passes were cut."""
    runs = {}
    for kept in (False, True):
        own = config.model_copy(
            update={"training": config.training.model_copy(update={"cache_frozen": kept})}
        )
        runs[kept] = trained(own, tmp_path / str(kept))
    (plain, before, _), (kept, after, states) = runs[False], runs[True]
    assert after == before
    expected = trained_weights(plain)
    for name, weights in trained_weights(kept).items():
        torch.testing.assert_close(weights, expected[name], atol=2e-5, rtol=1e-4, msg=name)
    assert isinstance(states, FrozenStates)
    return states.num_cut


PLANS = ("causal", "0011", "full", "0,2,1,*")


@pytest.mark.parametrize(
    ("family", "plan", "layout"),
    [
        (family, plan, ("bucketed", "packed")[(number + place) % 2])
        for number, family in enumerate(FAMILIES)
        for place, plan in enumerate(PLANS)
    ],
)
def test_kept_states_change_nothing(folders, tmp_path, family, plan, layout):
    config = recipe(folders[family], plan=plan, training={"layout": layout})
    cut = assert_same_training(config, tmp_path)
    batches = schedule_batches(build(config), config)
    assert cut >= len(batches) - batches.epoch_ends[0] + 1  # the whole second epoch, and dev after it


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter": {"dropout": 0.2}, "training": {"head_dropout": 0.2, "accumulation": 2}},
        {"adapter": {"kind": "head", "layers": None}, "plan": "full", "head": {"kind": "crf"}},
        {"training": {"gradient_checkpointing": True}, "plan": "0011"},
        {"plan": "full", "train_plan": "causal"},
        {"repetition": 1, "exit_layer": 3, "label_on": "mean", "adapter": {"layers": "2-2"}},
    ],
    ids=["dropout above", "head only", "gradient checkpointing", "train_plan", "repetition"],
)
def test_kept_states_change_nothing_with(tiny_llama_folder, tmp_path, settings):
    assert assert_same_training(recipe(tiny_llama_folder, **settings), tmp_path) > 1


def test_dev_texts_met_first_are_trained_on(tiny_llama_folder, tmp_path):
    """What was kept in inference mode is no hindrance to a gradient."""
    config = recipe(tiny_llama_folder, training={"evals_per_epoch": 2})
    _, _, states = trained(config, tmp_path, dev=TRAIN)
    assert states.num_cut > 0


def test_a_killed_run_goes_on(tiny_llama_folder, tmp_path):
    config = recipe(tiny_llama_folder, plan="0011", training={"epochs": 3, "checkpoint_steps": 2})
    whole, history, _ = trained(config, tmp_path / "whole")

    class Killed(BaseException):
        pass

    class Dev(list):
        def __iter__(self):
            if (tmp_path / "killed" / "checkpoints").is_dir():
                raise Killed
            return super().__iter__()

    with pytest.raises(Killed):
        trained(config, tmp_path / "killed", dev=Dev(DEV))
    again, resumed, _ = trained(config, tmp_path / "killed")
    assert resumed == history
    expected = trained_weights(whole)
    for name, weights in trained_weights(again).items():
        torch.testing.assert_close(weights, expected[name], atol=2e-5, rtol=1e-4, msg=name)


def write_data(folder, *, classes=False):
    folder.mkdir()
    for split, examples in (("train", TRAIN), ("dev", DEV), ("test", DEV)):
        if classes:
            rows = [f"{e.spans[0].label}\t{' '.join(e.words)}" for e in examples]
            (folder / f"{split}.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", encoding="utf-8")
            continue
        rows = [
            "\n".join(
                f"{w} {'B-' + e.spans[0].label if i == e.spans[0].start else 'O'}"
                for i, w in enumerate(e.words)
            )
            for e in examples
        ]
        (folder / f"{split}.conll").write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("task", "seeds"), [("labeling", [0, 1]), ("classification", [0])])
def test_seeds_of_a_recipe(tiny_llama_folder, tmp_path, progress, task, seeds):
    data = write_data(tmp_path / "data", classes=task == "classification")
    config = recipe(tiny_llama_folder, task=task, data={"train": str(data)}, training={"seeds": seeds})
    scores = {}
    for kept in (False, "auto"):
        training = config.training.model_copy(update={"cache_frozen": kept})
        runs = train(config.model_copy(update={"training": training}), tmp_path / str(kept))
        scores[kept] = [(run.history, run.tests) for run in runs]
    assert [history for history, _ in scores[False]] == [history for history, _ in scores["auto"]]
    assert sum("computed once per text" in line for line in progress()) == len(seeds)


def inputs_of_lowest(labeler, batch):
    """Whether a gradient is wanted of what goes into the lowest trained layer, seen in a training pass."""
    seen = []
    number = count_frozen(labeler.model.backbone)
    layer = find_stack(labeler.model.backbone).layers[number]
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].requires_grad))
    labeler.model.train()
    labeler.model(**batch)["loss"].backward()
    return number, seen


@pytest.mark.parametrize("checkpointing", [False, True])
def test_nothing_goes_backward_below_the_lowest_trained_layer(tiny_llama_folder, checkpointing):
    config = recipe(tiny_llama_folder, plan="0011", training={"gradient_checkpointing": checkpointing})
    labeler = build(config)
    number, wanted = inputs_of_lowest(labeler, schedule_batches(labeler, config)[0])
    assert number == 2
    assert wanted
    assert not any(wanted)
    graded = {name for name, weight in labeler.model.backbone.named_parameters() if weight.grad is not None}
    assert {name.split("layers.")[1].split(".")[0] for name in graded} == {"2", "3"}


@pytest.mark.parametrize(
    ("layers", "found"),
    [("top:1", [3]), ("1-1,3-3", [1, 3]), ("middle", [1, 2]), (1100, [0, 1]), (None, [0, 1, 2, 3])],
)
@pytest.mark.parametrize("target_modules", ["all-linear", ["q_proj", "v_proj"]])
def test_only_the_named_layers_get_pairs(tiny_llama_folder, layers, found, target_modules):
    config = recipe(tiny_llama_folder, adapter={"layers": layers, "target_modules": target_modules})
    backbone = build(config).model.backbone
    paired = [
        name for name, weight in backbone.named_parameters() if "lora_A" in name and weight.requires_grad
    ]
    assert {int(name.split("layers.")[1].split(".")[0]) for name in paired} == set(found)
    assert len(paired) == len(found) * (7 if target_modules == "all-linear" else 2)
    assert count_frozen(backbone) == found[0]


def test_a_saved_labeler_comes_back(tiny_llama_folder, tmp_path):
    labeler = build(
        recipe(tiny_llama_folder, adapter={"layers": "top:3"})
    )  # 21 names, which PEFT writes shorter
    with torch.no_grad():
        for name, weight in labeler.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    labeler.model.eval()
    labeler.save_pretrained(tmp_path)
    words = [example.words for example in DEV]
    again = Labeler.from_pretrained(tmp_path, precision="fp32", merge=False)
    for mine, theirs in zip(word_log_probs(again, words), word_log_probs(labeler, words), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    stock = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_llama_folder), tmp_path / "adapter")
    ids = torch.tensor([[3, 5, 7, 9]])
    expected = apply_plan(labeler.model.backbone, "causal")(ids).last_hidden_state
    torch.testing.assert_close(stock(ids).last_hidden_state, expected, atol=1e-5, rtol=1e-4)


def test_an_adapter_to_start_from_has_the_same_layers(tiny_llama_folder, tmp_path):
    build(recipe(tiny_llama_folder)).save_pretrained(tmp_path)
    build(recipe(tiny_llama_folder, adapter={"start_from": str(tmp_path)}))
    with pytest.raises(Exception, match="layers it was trained with"):
        build(recipe(tiny_llama_folder, adapter={"start_from": str(tmp_path), "layers": "top:1"}))


@pytest.mark.parametrize("layers", [None, "top:1"])
@pytest.mark.parametrize("names", [["q_proj", "v_porj"], ["proj"], ["v_porj"]])
def test_every_target_module_is_there(tiny_llama_folder, names, layers):
    config = recipe(tiny_llama_folder, adapter={"layers": layers, "target_modules": names})
    with pytest.raises(
        ConfigError, match=rf"target_modules = \['{names[-1]}'\]: not in .* q_proj, up_proj, v_proj"
    ):
        build(config)


@pytest.mark.parametrize("layers", ["top:9", "causal", "0,0,4,*", "2-7", "upper"])
def test_layers_that_are_not_there(tiny_llama_folder, layers):
    with pytest.raises(ConfigError, match=r"adapter.layers = .*Type for example|adapter.layers = .*Allowed"):
        build(recipe(tiny_llama_folder, adapter={"layers": layers}))


@pytest.mark.parametrize("kind", ["full", "head"])
def test_layers_are_of_lora(kind):
    with pytest.raises(ConfigError, match="selects layers for LoRA pairs"):
        recipe("x", adapter={"kind": kind})


def refusal(config, monkeypatch=None, change=lambda labeler: None):
    """What cache_frozen = true says to a recipe, and what auto says, which goes on."""
    said = []
    labeler = build(config)
    change(labeler)
    batches = schedule_batches(labeler, config)
    with progress_to(said.append):
        auto = keep_frozen_states(labeler.model, batches, config.training)
    assert not isinstance(auto, FrozenStates)
    required = config.training.model_copy(update={"cache_frozen": True})
    with pytest.raises(ConfigError) as caught:
        keep_frozen_states(labeler.model, batches, required)
    return str(caught.value), said


def test_what_cannot_be_kept_is_refused(tiny_llama_folder, monkeypatch):
    error, said = refusal(recipe(tiny_llama_folder, adapter={"layers": None}))
    assert "adapter.layers = 'top:N'" in error
    assert said == []
    assert "head.layers = 'last'" in refusal(recipe(tiny_llama_folder, head={"layers": "mix"}))[0]
    error, said = refusal(recipe(tiny_llama_folder, training={"cache_gb": 1e-6}))
    assert "Set training.cache_gb = " in error
    assert "not cached" in said[0]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "Start one process" in refusal(recipe(tiny_llama_folder))[0]


def test_dropout_in_frozen_layers_is_noticed(tiny_gpt2_folder):
    def drop(labeler):
        find_stack(labeler.model.backbone).layers[0].mlp.dropout.p = 0.1

    error, said = refusal(recipe(tiny_gpt2_folder), change=drop)
    assert "random numbers" in error
    assert "random numbers" in said[0]


def leave_behind(labeler):
    """Make the top layer read what the lowest one left on it, as no cut pass would have it."""
    layers = find_stack(labeler.model.backbone).layers
    left = []
    layers[0].input_layernorm.register_forward_hook(lambda module, args, output: left.append(output))
    layers[3].register_forward_pre_hook(lambda module, args: (args[0] + left[-1].mean(), *args[1:]))


def hand_over(labeler):
    """Make the lowest layer hand the top layer something that is there in this pass only."""
    layers = find_stack(labeler.model.backbone).layers
    left = {}
    layers[0].input_layernorm.register_forward_hook(lambda module, args, output: left.update(x=output))
    layers[3].register_forward_pre_hook(lambda module, args: (args[0] + left.pop("x"), *args[1:]))


@pytest.mark.parametrize("change", [leave_behind, hand_over])
def test_a_model_that_cannot_be_cut_is_noticed(tiny_llama_folder, change):
    error, _ = refusal(recipe(tiny_llama_folder), change=change)
    assert "LlamaModel computes different results from cached states" in error


def test_methods_without_a_head_keep_nothing(tiny_llama_folder, tmp_path):
    data = write_data(tmp_path / "data")
    settings = {"method": "sift", "data": {"train": str(data)}, "training": {"cache_frozen": True}}
    with pytest.raises(ConfigError, match="labelers with a head"):
        train(recipe(tiny_llama_folder, **settings), tmp_path / "out")


def test_states_are_kept_by_text_and_reach_within_their_room(tiny_llama_folder):
    config = recipe(tiny_llama_folder, plan="full")
    labeler = build(config)
    batches = schedule_batches(labeler, config)
    states = FrozenStates(labeler.model, 2)
    first, again = batches[0], replace(batches, schedule=[batches.schedule[0][::-1]], layout="packed")[0]
    one, other = schedule_batches(labeler, config, DEV[:1])[0], schedule_batches(labeler, config, DEV[1:2])[0]
    with states, torch.no_grad():
        labeler.model.train()
        labeler.model(**first)
        labeler.model(**again)
        assert states.num_cut == 1  # the same texts, laid out another way
        with under_plan(labeler.model.backbone, MaskPlan.parse("causal", 4)):
            labeler.model(**first)  # confirms the plan
            labeler.model(**first)
            assert states.num_cut == 2
        labeler.model.eval()
        states.spare = states.token_bytes * one["input_ids"].numel()
        for batch in (one, other, other, one):
            labeler.model(**batch)
        assert (states.num_cut, states.spare) == (3, 0)  # there was room for one
    assert not any("forward" in vars(module) for module in labeler.model.modules())
