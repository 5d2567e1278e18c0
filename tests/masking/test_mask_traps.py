"""The known ways to get masks wrong without noticing, one named test each."""

import itertools
from typing import Any

import pytest
import torch
import transformers
from families import COMMON, GROUPED, SLIDING_AND_FULL, WINDOW, tiny_model, tokens

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan
from lookboth.masking.packed_rows import find_segments
from lookboth.masking.proof import prove

TEXTS = (4, 3, 6)
POSITIONS = torch.cat([torch.arange(size) for size in TEXTS])[None]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}


def states(model: Any, ids: torch.Tensor, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **batch)[0]


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "gpt2", "opt"])
@pytest.mark.parametrize("plan", ["causal", "0011", "2,", "full"])
@pytest.mark.parametrize(
    "batch",
    [{}, {"attention_mask": torch.ones(1, 13)}, {"use_cache": True}],
    ids=["bare", "attention-mask", "cache"],
)
def test_trap_1_packed_texts_are_as_when_alone(family: str, plan: str, batch: dict[str, Any]) -> None:
    """transformers looks for packed rows only without a mask and without a cache, and in OPT never."""
    model = apply_plan(tiny_model(family), plan)
    ids = tokens(1, sum(TEXTS))
    packed = states(model, ids, position_ids=POSITIONS, **batch)
    for first, last in itertools.pairwise(itertools.accumulate(TEXTS, initial=0)):
        assert close(packed[:, first:last], states(model, ids[:, first:last]))


def gemma3_with_images() -> Any:
    text = {**COMMON, **GROUPED, "head_dim": 8, "sliding_window": WINDOW, "num_hidden_layers": 4}
    text["layer_types"] = SLIDING_AND_FULL * 2
    config = transformers.Gemma3Config(text_config=text, vision_config=VISION, mm_tokens_per_image=4)
    return transformers.AutoModel.from_config(config).eval()


def qwen_with_images(name: str) -> Any:
    text = {**COMMON, **GROUPED, "num_hidden_layers": 4, "head_dim": 8}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config={"depth": 1})
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config).language_model
    model = model.to_empty(device="cpu").eval()
    model.init_weights()
    model.rotary_emb = type(model.rotary_emb)(model.config)
    return model


@pytest.mark.parametrize("mask", [None, torch.ones(1, 13, dtype=torch.long)], ids=["bare", "attention-mask"])
def test_trap_1_where_masks_are_made_outside_the_text_model(mask: Any) -> None:
    torch.manual_seed(0)
    model = apply_plan(gemma3_with_images(), "0011")
    ids = tokens(1, sum(TEXTS))
    packed = states(model, ids, position_ids=POSITIONS, attention_mask=mask)
    for first, last in itertools.pairwise(itertools.accumulate(TEXTS, initial=0)):
        assert close(packed[:, first:last], states(model, ids[:, first:last]))


@pytest.mark.parametrize("name", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"])
@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("mask", [None, torch.ones(1, 13, dtype=torch.long)], ids=["bare", "attention-mask"])
def test_trap_1_positions_with_a_row_for_each_axis(name: str, rows: int, mask: Any) -> None:
    torch.manual_seed(0)
    model = apply_plan(qwen_with_images(name), "0011")
    ids, positions = tokens(1, sum(TEXTS)), POSITIONS.expand(rows, 1, -1)
    packed = states(model, ids, position_ids=positions, attention_mask=mask)
    for first, last in itertools.pairwise(itertools.accumulate(TEXTS, initial=0)):
        assert close(packed[:, first:last], states(model, ids[:, first:last]))


def test_trap_1_an_image_is_no_new_text() -> None:
    """Two tokens, an image of 2 x 2, a token; then a text of two tokens."""
    axes = torch.tensor(
        [[0, 1, 2, 2, 2, 2, 4, 0, 1], [0, 1, 2, 2, 3, 3, 4, 0, 1], [0, 1, 2, 3, 2, 3, 4, 0, 1]]
    )
    found = find_segments(axes[:, None], None)
    assert found is not None
    assert found.tolist() == [[0] * 7 + [1, 1]]
    assert find_segments(axes[:, None, :7], None) is None


@pytest.mark.parametrize(
    "positions",
    [
        torch.zeros(5, 1, 4),
        torch.zeros(1, 1, 1, 4),
        torch.zeros(1, 6),
        [0, 1, 0, 1],
        torch.tensor([[[0, 1, 2, 2]], [[0, 1, 2, 2]], [[0, 1, 3, 2]]]),
    ],
    ids=["five-axes", "four-dimensions", "other-length", "no-tensor", "an-image-that-stands-still"],
)
def test_trap_1_positions_that_do_not_tell_are_refused(positions: Any) -> None:
    with pytest.raises(PlanError, match="do not determine"):
        find_segments(positions, None, 4)


def test_trap_1_packed_rows_of_a_batch_differ_and_end_in_padding() -> None:
    model = apply_plan(tiny_model(), "0,2,*,1")
    ids = tokens(2, 8)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 0, 1, 0]])
    mask = torch.tensor([[1] * 8, [1] * 7 + [0]])
    packed = states(model, ids, position_ids=positions, attention_mask=mask)
    assert close(packed[:1, :3], states(model, ids[:1, :3]))
    assert close(packed[:1, 3:], states(model, ids[:1, 3:]))
    assert close(packed[1:, :5], states(model, ids[1:, :5]))
    assert close(packed[1:, 5:7], states(model, ids[1:, 5:7]))


def test_trap_1_left_padding_and_gaps_are_not_taken_for_packing() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 0, 0, 1]])
    by_hand = mask.cumsum(-1) - 1
    for positions in (by_hand, by_hand.masked_fill(mask == 0, 1), torch.arange(5)[None]):
        assert find_segments(positions, mask) is None


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "opt"])
@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_trap_2_padding_stays_masked_when_the_causal_mask_goes(family: str, backend: str) -> None:
    model = apply_plan(tiny_model(family, backend=backend), "full")
    text = tokens(1, 6)
    alone = states(model, text)
    for seed in range(2):
        ids = tokens(2, 9, seed=seed + 1)
        ids[0, 3:] = text
        mask = torch.ones_like(ids)
        mask[0, :3] = 0
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        padded = states(model, ids, attention_mask=mask, position_ids=positions)
        assert close(padded[:1, 3:], alone)
        assert padded.isfinite().all()


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("mask", [None, torch.ones(1, 6, dtype=torch.long)], ids=["no-mask", "all-ones"])
def test_trap_3_one_text_without_padding_really_looks_right(backend: str, mask: Any) -> None:
    """sdpa without a mask falls back to module.is_causal, which stays True in every decoder."""
    model = apply_plan(tiny_model(backend=backend), "full")
    ids = tokens(1, 6)
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % 97
    first, second = states(model, ids, attention_mask=mask), states(model, other, attention_mask=mask)
    assert (first != second).any(-1).all()


@pytest.mark.parametrize("family", ["mistral", "gemma3"])
@pytest.mark.parametrize("plan", ["full", "3,", "0,*"])
def test_trap_10_sliding_layers_keep_their_left_edge(family: str, plan: str) -> None:
    """One layer, a window of 5: token i sees i-4 and not i-5, whatever it sees to its right."""
    num_layers = 1 if family == "mistral" else 2  # Gemma 3: sliding, then full
    model = apply_plan(tiny_model(family, num_layers), plan if num_layers == 2 else plan.replace("0,*", "*,"))
    first_layer: list[torch.Tensor] = []
    model.layers[0].register_forward_hook(
        lambda layer, args, out: first_layer.append(out if isinstance(out, torch.Tensor) else out[0])
    )
    ids = tokens(1, 12)
    other = ids.clone()
    other[0, 2] = (ids[0, 2] + 1) % 97
    states(model, ids)
    states(model, other)
    moved = (first_layer[0] != first_layer[1]).any(-1)[0]
    assert moved[2 : 2 + WINDOW].all()
    assert not moved[2 + WINDOW :].any()


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_trap_10_around_the_window_the_mask_is_not_skipped(size: int) -> None:
    model = tiny_model("mistral", 2, sliding_window=WINDOW)
    proof = prove(model, "full", length=max(size, 4))
    assert proof.ok, proof.describe()


def test_a_window_of_one_token_has_no_right_side() -> None:
    model = apply_plan(tiny_model("mistral", sliding_window=1), "full")
    with pytest.raises(PlanError, match="window of 1"):
        model(tokens(1, 5))


def test_chunks_are_borders_on_the_right_too() -> None:
    config = transformers.Llama4TextConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=16,
        intermediate_size_mlp=48,
        num_local_experts=2,
        attention_chunk_size=4,
    )
    torch.manual_seed(0)
    model = transformers.Llama4TextModel(config).eval()
    proof = prove(model, "full")
    assert proof.ok, proof.describe()
    assert proof.layers[0].measured == "look-ahead 3"  # first token of a chunk of 4
    assert proof.layers[3].measured == "bidirectional"  # every fourth layer is not chunked
