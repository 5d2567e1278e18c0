"""bf16 arithmetic: what is left out changes nothing, and nothing of it stays behind."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel

from lookboth.config.recipe_files import parse_config
from lookboth.models.arithmetic import compute_in
from lookboth.models.loading import load_backbone, torch_dtype
from lookboth.training.labeler_building import build_labeler


def lora(folder):
    torch.manual_seed(0)
    backbone = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    model = get_peft_model(backbone, LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def states_and_gradient(model):
    model.zero_grad()
    states = model(input_ids=torch.tensor([[3, 5, 7, 9, 11]])).last_hidden_state
    states.float().square().mean().backward()
    return states.detach(), next(p.grad for n, p in model.named_parameters() if "lora_A" in n).clone()


def test_leaving_out_casts_changes_no_bit(tiny_llama_folder):
    model = lora(tiny_llama_folder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = states_and_gradient(model)
    with compute_in(torch.bfloat16, model):
        got = states_and_gradient(model)
    assert torch.equal(expected[0], got[0])
    assert torch.equal(expected[1], got[1])


def test_afterwards_the_model_runs_alone_again(tiny_llama_folder):
    model = lora(tiny_llama_folder)
    before = model(input_ids=torch.tensor([[3, 5]])).last_hidden_state
    with compute_in(torch.bfloat16, model):
        model(input_ids=torch.tensor([[3, 5]]))
    assert torch.equal(before, model(input_ids=torch.tensor([[3, 5]])).last_hidden_state)
    assert not torch.is_autocast_enabled("cpu")


def test_dropout_of_an_adapter_is_the_same_when_states_are_computed_anew(tiny_llama_folder):
    gradients = []
    for checkpointing in (False, True):
        recipe = {
            "model": str(tiny_llama_folder),
            "data": {"train": "x"},
            "adapter": {"dropout": 0.3},
            "training": {"precision": "bf16", "gradient_checkpointing": checkpointing},
        }
        torch.manual_seed(0)
        model = build_labeler(parse_config(recipe), labels=["PER"], device="cpu").model
        for name, parameter in model.named_parameters():
            if "lora_B" in name or name == "head.weight":
                torch.nn.init.normal_(parameter, std=0.1)
        words, ids = torch.arange(5), torch.tensor([[3, 5, 7, 9, 11]])
        model.train()
        labels = torch.tensor([0, 1, 2, 0, 1])
        model(ids, words, words, torch.tensor([5]), labels=labels)["loss"].backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert any("lora_A" in name and bool(grad.any()) for name, grad in gradients[0].items())
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_attention_of_bf16_on_a_cpu_is_eager_unless_asked(tiny_llama_folder):
    def backend(**kwargs):
        return load_backbone(str(tiny_llama_folder), **kwargs).config._attn_implementation

    assert backend(precision="bf16") == "eager"
    assert backend(precision="bf16", attn_implementation="sdpa") == "sdpa"
    assert backend(precision="fp32") == "sdpa"


def test_more_is_computed_at_once_where_products_are_fast(tiny_llama_folder):
    recipe = {"model": str(tiny_llama_folder), "data": {"train": "x"}}
    sizes = [
        build_labeler(
            parse_config({**recipe, "training": {"precision": precision}}), labels=["PER"], device="cpu"
        ).batch_tokens
        for precision in ("fp32", "bf16")
    ]
    assert sizes == [512, 2048]


def test_bf16_that_a_gpu_only_emulates_is_not_taken_by_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert torch_dtype("auto", "cuda") == torch.float32
    assert torch_dtype("bf16", "cuda") == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert torch_dtype("auto", "cuda:1") == torch.bfloat16
