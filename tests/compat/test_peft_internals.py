"""Contracts with PEFT."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaModel, MixtralConfig, MixtralModel

from lookboth.compat import (
    adapter_configs,
    cast_lora_inputs,
    forget_written,
    wrap_as_named,
    write_with_adapter,
)

SHAPE = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
IDS = torch.tensor([[5, 6, 7, 8, 9]])


def llama() -> LlamaModel:
    torch.manual_seed(0)
    return LlamaModel(LlamaConfig(**SHAPE, **HEADS)).eval()


def paired(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if getattr(module, "lora_A", None)}


def test_pairs_are_put_on_what_is_named_and_on_nothing_else() -> None:
    model = wrap_as_named(llama(), LoraConfig(r=2, target_modules=["layers.1.mlp.gate_proj"]), "default")
    assert isinstance(model, PeftModel)
    assert paired(model) == {"base_model.model.layers.1.mlp.gate_proj"}
    assert model.active_adapter == "default"
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(trained) == 2


@pytest.mark.filterwarnings("ignore:The following")
def test_the_router_of_a_mixture_keeps_its_name() -> None:
    """With its configuration PEFT would turn some names of a mixture into others."""
    config = MixtralConfig(**SHAPE, **HEADS, num_local_experts=2, num_experts_per_tok=1)
    lora = LoraConfig(r=2, target_modules=[], target_parameters=["layers.0.mlp.experts.down_proj"])
    model = wrap_as_named(MixtralModel(config), lora, "default")
    names = {
        module.parameter_name for _, module in model.named_modules() if hasattr(module, "parameter_name")
    }
    assert names == {"down_proj"}
    assert all(".layers.0.mlp.experts" in name for name in paired(model))


def test_pairs_without_memory_are_made_on_meta() -> None:
    lora = LoraConfig(r=2, target_modules=["layers.0.mlp.up_proj"])
    model = wrap_as_named(llama(), lora, "default", empty=True)
    assert {w.device.type for name, w in model.named_parameters() if ".lora_" in name} == {"meta"}


def test_pairs_change_what_the_wrapped_model_and_the_backbone_compute() -> None:
    backbone = llama()
    stock = backbone(IDS).last_hidden_state
    lora = LoraConfig(r=2, target_modules=["layers.0.mlp.up_proj"], init_lora_weights=False)
    model = wrap_as_named(backbone, lora, "default").eval()
    assert not torch.allclose(model(IDS).last_hidden_state, stock)
    with model.disable_adapter():
        assert torch.equal(model(IDS).last_hidden_state, stock)
    assert not torch.allclose(backbone(IDS).last_hidden_state, stock)


class Switch:
    """A condition that can be turned on and off."""

    on = True

    def __bool__(self) -> bool:
        return self.on


def test_inputs_of_pairs_are_cast_only_while_the_condition_is_true() -> None:
    model = wrap_as_named(llama(), LoraConfig(r=2, target_modules=["layers.0.mlp.up_proj"]), "default")
    seen: list[torch.dtype] = []
    pair = model.base_model.model.layers[0].mlp.up_proj
    pair.lora_A["default"].register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    switch = Switch()
    cast_lora_inputs(model, switch)
    for on in (True, False):
        switch.on = on
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pair(torch.ones(1, 16, dtype=torch.bfloat16))
    assert seen == [torch.float32, torch.bfloat16]


def add_to_transformers_model(model: Any, lora: LoraConfig) -> None:
    try:
        model.add_adapter(lora)
    except ValueError as error:
        if "version of PEFT" not in str(error):
            raise
        pytest.skip("this version of transformers needs a later PEFT")


def test_layers_without_pairs_get_no_condition() -> None:
    model = llama()
    cast_lora_inputs(model, Switch())
    assert not any(isinstance(value, Switch) for module in model.modules() for value in vars(module).values())


def test_settings_are_found_in_wrapped_models_and_in_models_with_adapters() -> None:
    lora = LoraConfig(r=2, target_modules=["up_proj"])
    added, wrapped = llama(), get_peft_model(llama(), lora)
    assert adapter_configs(added) == []
    add_to_transformers_model(added, lora)
    for model in (added, wrapped.get_base_model()):
        (config,) = adapter_configs(model)
        assert config.r == 2


@pytest.mark.parametrize("how", ["wrapped", "added"])
def test_a_key_is_written_with_an_adapter_and_read_again(how: str, tmp_path: Path) -> None:
    lora = LoraConfig(r=2, target_modules=["up_proj"])
    model: Any = llama()
    if how == "wrapped":
        model = get_peft_model(model, lora)
    else:
        add_to_transformers_model(model, lora)
    (config,) = adapter_configs(model.get_base_model() if how == "wrapped" else model)
    write_with_adapter(config, "lookboth_plan", "0,*")
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["auto_mapping"]["lookboth_plan"] == "0,*"
    loaded = PeftModel.from_pretrained(llama(), tmp_path)
    (again,) = adapter_configs(loaded.get_base_model())
    assert again.auto_mapping["lookboth_plan"] == "0,*"
    forget_written(again, "lookboth_plan")
    assert "lookboth_plan" not in again.auto_mapping
    forget_written(config, "lookboth_plan")
    assert "save_pretrained" not in vars(config)


def test_a_state_dict_is_asked_for_before_the_settings_are_written(tmp_path: Path) -> None:
    """`masking.adapter_plan` notes the plan in a hook before the state dict."""
    model = get_peft_model(llama(), LoraConfig(r=2, target_modules=["up_proj"]))
    inner: Any = model.get_base_model()
    inner.register_state_dict_pre_hook(
        lambda *_: write_with_adapter(model.peft_config["default"], "lookboth_plan", "1,")
    )
    model.save_pretrained(tmp_path)
    assert "lookboth_plan" in (tmp_path / "adapter_config.json").read_text()


def test_casts_are_looked_for_only_where_peft_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrap_as_named(llama(), LoraConfig(r=2, target_modules=["layers.1.mlp.gate_proj"]), "default")

    def flags() -> set[Any]:
        return {
            module.cast_input_dtype_enabled for module in model.modules() if getattr(module, "lora_A", None)
        }

    with monkeypatch.context() as without:
        without.delitem(sys.modules, "peft")
        cast_lora_inputs(model, when=False)
    assert flags() == {True}
    cast_lora_inputs(model, when=False)
    assert flags() == {False}
