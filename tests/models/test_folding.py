"""Plain adapters are added to the weights without PEFT: same weights, same checks, and saving still works."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from masking.families import FAMILIES, tiny_model
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from tiny import tiny_labeler
from torch import nn
from transformers.pytorch_utils import Conv1D

from lookboth.errors import ModelError
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.merging import merge_labeler
from lookboth.models.adapter_files import WEIGHTS_FILE, load_adapter, save_adapter
from lookboth.models.adapter_settings import USUAL
from lookboth.models.folding import fold_adapter, has_adapter
from lookboth.models.lora import attach_pairs

PAIRS = ("base_model.model.", ".base_layer")


def linear_names(model: nn.Module) -> list[str]:
    return sorted(name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D))


def save_pairs(folder: Path, family: str, **settings) -> nn.Module:
    """Save an adapter with random pairs for a family; return a model without it."""
    model = tiny_model(family, num_layers=2, backend="eager")
    names = linear_names(model)
    endings = sorted({name.rpartition(".")[2] for name in names})
    usual = {
        "r": 4,
        "target_modules": [*endings[1:], *(name for name in names if name.endswith("." + endings[0]))],
        "rank_pattern": {rf".*\.{endings[1]}": 2},
        "alpha_pattern": {rf".*\.{endings[0]}": 3, rf".*\.{endings[-1]}": 7.5},
    }
    paired = attach_pairs(copy.deepcopy(model), LoraConfig(**(usual | settings)))
    for name, weight in paired.named_parameters():
        if ".lora_" in name:
            nn.init.normal_(weight, 0, 0.3)
    save_adapter(paired, folder, base="base", revision=None)
    return model


def by_peft(backbone: nn.Module, folder: Path) -> dict[str, torch.Tensor]:
    model = load_adapter(copy.deepcopy(backbone), folder)
    fold_adapter(model)
    state = {name: value for name, value in model.state_dict().items() if ".lora_" not in name}
    return {name.replace(PAIRS[0], "").replace(PAIRS[1], ""): value for name, value in state.items()}


def is_plain(model: nn.Module) -> bool:
    return has_adapter(model) and not hasattr(model, "peft_config")


def assert_same_weights(backbone: nn.Module, folder: Path) -> None:
    expected = by_peft(backbone, folder)
    folded = load_adapter(copy.deepcopy(backbone), folder, merge=True)
    assert is_plain(folded)
    found = folded.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    changed = [name for name, value in backbone.state_dict().items() if not torch.equal(value, found[name])]
    assert changed
    assert not any(weight.requires_grad for weight in folded.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_a_merge_by_peft(family, tmp_path):
    backbone = save_pairs(tmp_path, family, use_rslora=family in {"gemma3", "gpt2"})
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert_same_weights(copy.deepcopy(backbone).to(dtype), tmp_path)
    mixed = copy.deepcopy(backbone).half()
    mixed.get_input_embeddings().float()
    assert_same_weights(mixed, tmp_path)


def test_excluded_modules_keep_their_weights(tmp_path):
    names = {
        "target_modules": ["q_proj", "up_proj"],
        "exclude_modules": ["0.self_attn.q_proj", "layers.1.mlp.up_proj"],
    }
    assert_same_weights(save_pairs(tmp_path, "llama", **names), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"target_modules": ["q_proj", "embed_tokens"], "rank_pattern": {}, "alpha_pattern": {}},
        {"target_modules": ["q_proj"], "target_parameters": ["layers.1.mlp.up_proj.weight"]},
    ],
)
def test_other_adapters_are_merged_by_peft(settings, tmp_path):
    backbone = save_pairs(tmp_path, "llama", **settings)
    merged = load_adapter(copy.deepcopy(backbone), tmp_path, merge=True)
    assert merged.peft_config
    pairs = [module for module in merged.modules() if hasattr(module, "lora_A")]
    assert pairs
    assert all(pair.merged for pair in pairs)


def test_layers_with_other_weights_are_merged_by_peft(tmp_path):
    backbone = save_pairs(tmp_path, "llama")

    class Quantized(nn.Linear):
        pass

    layer = backbone.layers[0].mlp.up_proj
    layer.__class__ = Quantized
    assert load_adapter(copy.deepcopy(backbone), tmp_path, merge=True).peft_config
    layer.__class__ = nn.Linear
    backbone.is_quantized = True
    assert load_adapter(copy.deepcopy(backbone), tmp_path, merge=True).peft_config


def _renamed(weights):
    weights["base_model.model.layers.9.x.lora_A.weight"] = weights.pop(min(weights))


def _cut(weights):
    name = min(name for name in weights if "lora_B" in name)
    weights[name] = weights[name][:-1].clone()


def _dropped(weights):
    weights.pop(max(weights))


def _added(weights):
    weights["base_model.model.layers.0.mlp.other.lora_A.weight"] = torch.ones(4, 32)


@pytest.mark.parametrize("change", [_renamed, _cut, _dropped, _added])
def test_weights_that_do_not_fit_are_refused_as_by_peft_and_change_nothing(change, tmp_path):
    backbone = save_pairs(tmp_path, "llama")
    weights = load_file(tmp_path / WEIGHTS_FILE)
    change(weights)
    save_file(weights, tmp_path / WEIGHTS_FILE)
    before = copy.deepcopy(backbone.state_dict())
    messages = []
    for merge in (True, False):
        with pytest.raises(ModelError) as error:
            load_adapter(copy.deepcopy(backbone) if not merge else backbone, tmp_path, merge=merge)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("names", [[], ["nothing"], ["layers"], ["self_attn"]])
def test_names_of_no_linear_layer_are_refused(names, tmp_path):
    backbone = save_pairs(tmp_path, "llama")
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "target_modules": names}))
    with pytest.raises(ModelError, match="does not fit or is damaged"):
        load_adapter(backbone, tmp_path, merge=True)


def test_usual_values_are_the_ones_of_peft():
    settings = LoraConfig().to_dict()
    assert {key: settings[key] for key in USUAL} == USUAL


@pytest.fixture
def saved(tiny_llama_folder, tmp_path) -> Path:
    tiny_labeler(tiny_llama_folder, plan="0011").save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def as_json(content: bytes) -> dict:
    settings = json.loads(content)
    return settings | {"target_modules": sorted(settings["target_modules"])}  # PEFT writes a set


def test_a_folded_labeler_saves_its_adapter_apart(saved, tmp_path):
    folded = Labeler.from_pretrained(saved, device="cpu", precision="fp32")
    assert is_plain(folded.model.backbone)
    apart = Labeler.from_pretrained(saved, device="cpu", precision="fp32", merge=False)
    before = copy.deepcopy(folded.model.state_dict())
    for name, labeler in (("folded", folded), ("apart", apart)):
        labeler.save_pretrained(tmp_path / name)
    ours, theirs, first = files_of(tmp_path / "folded"), files_of(tmp_path / "apart"), files_of(saved)
    settings = "adapter/adapter_config.json"
    assert as_json(ours.pop(settings)) == as_json(theirs.pop(settings)) == as_json(first.pop(settings))
    assert ours == theirs
    weights = f"adapter/{WEIGHTS_FILE}"
    assert ours[weights] == first[weights]
    assert all(torch.equal(value, before[name]) for name, value in folded.model.state_dict().items())
    folded.save_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    halved = load_file(tmp_path / "half" / weights)
    assert {value.dtype for value in halved.values()} == {torch.bfloat16}


def test_a_folded_labeler_is_merged_for_good(saved, tmp_path):
    folded = Labeler.from_pretrained(saved, device="cpu", precision="fp32")
    expected = folded.predict("Ada met Charles in London.")[0].to_dict()
    merged = merge_labeler(folded)
    assert not has_adapter(merged.model.backbone)
    merged.save_pretrained(tmp_path / "merged")
    shutil.rmtree(saved)
    again = Labeler.from_pretrained(tmp_path / "merged", device="cpu", precision="fp32")
    assert again.config.adapter == "merged"
    assert again.predict("Ada met Charles in London.")[0].to_dict() == expected
