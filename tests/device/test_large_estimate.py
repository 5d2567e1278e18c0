"""The estimated memory of 7B and 13B runs, compared with what autograd keeps at full size on the meta device."""

import pytest
import torch
from synchronizing import no_synchronization
from torch.autograd.graph import saved_tensors_hooks
from transformers import LlamaConfig, LlamaModel

from lookboth.config import parse_config
from lookboth.masking import apply_plan
from lookboth.training.adapters import add_adapter
from lookboth.training.footprint import estimate

SIZES = {"7B": (4096, 11008, 32), "13B": (5120, 13824, 40)}
# Short rows: on the meta device torch keeps the attention weights, which GPU kernels do not.
ROWS, LENGTH = 16, 32


def bytes_kept(model):
    """The bytes of all tensors that a forward pass keeps for the backward pass, weights not counted."""
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def pack(tensor):
        base = tensor if tensor._base is None else tensor._base
        if id(base) not in own:
            kept[id(base)] = base
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=torch.zeros(ROWS, LENGTH, dtype=torch.long, device="meta"), use_cache=False)
    return sum(tensor.nbytes for tensor in kept.values())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_estimate_is_what_a_full_size_run_needs(tmp_path, monkeypatch, size, kind):
    width, inner, layers = SIZES[size]
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=layers,
        max_position_embeddings=4096,
    )
    config.save_pretrained(tmp_path)
    recipe = parse_config(
        {
            "model": str(tmp_path), "data": {"train": "x"}, "max_tokens": LENGTH, "overlap": 0,
            "adapter": {"kind": kind},
            "training": {"precision": "fp32", "batch_sentences": ROWS},
        }
    )  # fmt: skip
    with torch.device("meta"), no_synchronization(monkeypatch):
        model = add_adapter(apply_plan(LlamaModel(config), "full"), recipe.adapter)
        measured = bytes_kept(model)
    found = estimate(recipe)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert found.weights == sum(weight.nbytes for weight in model.parameters())
    assert found.gradients == sum(weight.nbytes for weight in trained)
    assert found.optimizer == 2 * found.gradients
    assert found.activations == pytest.approx(measured, rel=0.3)
