"""The memory a training is said to take: against what autograd keeps, and for shapes too large for most machines."""

from types import SimpleNamespace

import pytest
import torch
from encoders import save_encoder
from tiny import save_tiny_model
from torch.autograd.graph import saved_tensors_hooks
from transformers import GPT2Config, LlamaConfig, LlamaModel, Qwen2Config

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.masking import apply_plan, query_blocks
from lookboth.models.arithmetic import compute_in
from lookboth.models.loading import load_backbone
from lookboth.training import footprint as module
from lookboth.training.adapters import add_adapter
from lookboth.training.footprint import batch_shapes, estimate, footprint, require_memory
from lookboth.training.loss_callbacks import ProgressReporter, SectionLog

ROWS, LENGTH = 2, 48
LLAMA_7B = LlamaConfig(
    hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
)
LLAMA_13B = LlamaConfig(
    hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40
)


def recipe(model, adapter=None, **training):
    training = {"precision": "fp32", **training}
    return parse_config(
        {"model": str(model), "data": {"train": "x"}, "adapter": adapter or {}, "training": training}
    )


def bytes_kept(model, dtype):
    """The bytes of all tensors that a forward pass keeps for the backward pass, weights not counted."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = tensor
        return tensor

    ids = torch.randint(0, 100, (ROWS, LENGTH))
    with saved_tensors_hooks(pack, lambda tensor: tensor), compute_in(dtype, model):
        model(input_ids=ids, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


NO_DROPOUT = {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0}
SHAPE = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from transformers import AutoModel

    made = {}
    for name, config in {
        "llama": LlamaConfig(vocab_size=100, intermediate_size=160, **SHAPE),
        "qwen2": Qwen2Config(vocab_size=100, intermediate_size=160, **SHAPE),
        "gpt2": GPT2Config(vocab_size=100, n_embd=64, n_layer=4, n_head=4, **NO_DROPOUT),
    }.items():
        made[name] = tmp_path_factory.mktemp(name)
        AutoModel.from_config(config).save_pretrained(made[name])
    return made


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("adapter", ["lora", "full"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_activations_are_what_autograd_keeps(folders, family, precision, adapter, attention):
    config = recipe(folders[family], {"kind": adapter}, precision=precision)
    loaded = "fp32" if adapter == "full" else precision
    backbone = load_backbone(str(folders[family]), precision=loaded, attn_implementation=attention)
    model = add_adapter(backbone, config.adapter).train()
    found = footprint(model, config, (ROWS, LENGTH))
    measured = bytes_kept(model, torch.bfloat16 if precision == "bf16" else torch.float32)
    assert found.activations == pytest.approx(measured, rel=0.3)
    assert found.activations_other < found.activations


@pytest.mark.parametrize(
    ("adapter", "training", "weights", "rest"),
    [
        ({"kind": "full"}, {}, 4, 12),
        ({"kind": "full"}, {"optimizer": "adamw_8bit"}, 4, 6),
        ({"kind": "full"}, {"ema": 0.9}, 4, 16),
    ],
)
def test_trained_weights_have_gradients_and_moments(folders, adapter, training, weights, rest):
    found = estimate(recipe(folders["llama"], adapter, **training))
    number = sum(p.numel() for p in load_backbone(str(folders["llama"])).parameters())
    assert found.weights == weights * number
    assert found.gradients + found.optimizer == rest * number


@pytest.mark.parametrize(
    ("config", "kind", "low", "high"),
    [
        (LLAMA_7B, "lora", 13.2, 13.8),
        (LLAMA_7B, "full", 26.4, 26.9),
        (LLAMA_7B, "qlora", 3.7, 4.3),
        (LLAMA_13B, "lora", 25.7, 26.4),
        (LLAMA_13B, "qlora", 7.0, 7.7),
    ],
)
def test_large_shapes_are_estimated_without_their_weights(tmp_path, config, kind, low, high):
    """13.5 GB in bf16 is what Llama-2-7B is known to take."""
    config.save_pretrained(tmp_path)
    rank = {"kind": kind, "rank": 16} if kind != "full" else {"kind": kind}
    found = estimate(recipe(tmp_path, rank, precision="bf16"))
    assert low < found.weights / 1e9 < high
    assert found.activations > 5 * found.activations_other
    checkpointed = estimate(recipe(tmp_path, rank, precision="bf16", gradient_checkpointing=True))
    assert (checkpointed.activations, checkpointed.activations_other) == (
        found.activations_other,
        found.activations,
    )
    assert "with gradient checkpointing" in found.describe()
    assert "without gradient checkpointing" in checkpointed.describe()


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_the_estimate_is_what_the_built_model_takes(tmp_path, kind):
    folder = (
        save_tiny_model(tmp_path, "gemma3") if kind == "decoder" else save_encoder(tmp_path, "ModernBert")
    )
    config = recipe(folder, {"rank": 4})
    built = footprint(
        add_adapter(load_backbone(str(folder), precision="fp32"), config.adapter), config, (2, 512)
    )
    assert estimate(config) == built


def test_what_cannot_fit_is_refused_before_anything_is_loaded(tmp_path, monkeypatch):
    LLAMA_7B.save_pretrained(tmp_path)
    monkeypatch.setattr(module, "free_memory", lambda device: 16e9)
    require_memory(recipe(tmp_path, {"kind": "lora"}, precision="bf16"))
    with pytest.raises(ConfigError) as caught:
        require_memory(recipe(tmp_path, {"kind": "full"}))
    assert "does not fit: 16 GB are free on cpu. memory: about" in str(caught.value)
    assert "Set adapter.kind = 'lora', adapter.kind = 'qlora', training.gradient_checkpointing" in str(
        caught.value
    )


def test_a_model_that_cannot_be_estimated_is_let_through(tmp_path):
    require_memory(recipe(tmp_path / "nothing"))


def test_the_shapes_are_those_of_all_batches():
    from lookboth.training.batches import RunBatches
    from lookboth.types import TokenizedExample

    pieces = [TokenizedExample(tuple(range(n)), ()) for n in (3, 9, 2, 4)]
    plan = [[0, 2], [1], [2, 3, 0]]
    assert batch_shapes(RunBatches(pieces, plan, (3,), "bucketed", 0)) == {(2, 3), (1, 9), (3, 4)}
    assert batch_shapes(RunBatches(pieces, plan, (3,), "packed", 0)) == {(1, 5), (1, 9)}


def test_the_batch_that_takes_most_memory_counts_not_the_one_with_most_tokens():
    settings = LlamaConfig(**SHAPE, intermediate_size=96, vocab_size=100, attn_implementation="eager")
    model = LlamaModel(settings)
    few_long, many_short = (2, 480), (250, 4)
    alone = footprint(model, recipe("x"), few_long).activations
    assert alone > footprint(model, recipe("x"), many_short).activations
    assert footprint(model, recipe("x"), many_short, few_long).activations == alone


def test_long_rows_of_eager_attention_under_a_plan_take_memory_by_their_tokens(folders, monkeypatch):
    """Their scores are computed in blocks, and again in the backward pass."""
    monkeypatch.setattr(query_blocks, "LONG_WITH_GRADIENTS", LENGTH)
    monkeypatch.setattr(query_blocks, "BLOCK_WITH_GRADIENTS", LENGTH // 4)
    config = recipe(folders["llama"], {"kind": "lora"}, precision="bf16")
    backbone = load_backbone(str(folders["llama"]), precision="bf16", attn_implementation="eager")
    model = add_adapter(apply_plan(backbone, "0011"), config.adapter).train()
    found = footprint(model, config, (ROWS, LENGTH)).activations
    assert found == pytest.approx(bytes_kept(model, torch.bfloat16), rel=0.3)
    doubled = footprint(model, config, (ROWS, 2 * LENGTH)).activations
    assert doubled == 2 * found


def test_the_first_steps_tell_how_long_it_will_take(monkeypatch, progress):
    clock = iter([0.0, 100.0, 106.0])
    monkeypatch.setattr("lookboth.training.loss_callbacks.time.monotonic", lambda: next(clock))
    reporter = ProgressReporter(SectionLog("adaptation"), [50, 10, 20, 30] + [40] * 100)

    class State:
        global_step, max_steps = 0, 104

    reporter.on_train_begin(None, State, None)
    for State.global_step in range(1, 12):
        reporter.on_step_end(None, State, None)
    assert progress() == ["adaptation: about 7 minutes for the 100 steps left, without dev scoring"]


@pytest.mark.parametrize("sizes", [{"intermediate_size": [48, 96, 48, 48]}, {"num_attention_heads": None}])
def test_configurations_of_other_kinds_are_estimated_too(sizes):
    model = module_with_config(**sizes)
    found = footprint(model, recipe("x"), (ROWS, LENGTH))
    assert 0 < found.activations < 1e9


def test_sizes_that_differ_by_layer_count_as_the_largest():
    """As in Gemma 4, whose training ended here."""
    settings = LlamaConfig(hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=48)
    if not hasattr(settings, "per_layer_config"):
        pytest.skip("a transformers without configurations of single layers")
    settings.per_layer_config = {1: {"intermediate_size": 96}}
    found = [module._size(settings, name, 7) for name in ("intermediate_size", "num_attention_heads", "x")]
    assert found == [96, 4, 7]


def module_with_config(**sizes):
    """A module without layers that has the configuration of a small decoder but for `sizes`."""
    usual = {"num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 4, "vocab_size": 100}
    settings = SimpleNamespace(**usual | sizes, _attn_implementation="sdpa")
    settings.get_text_config = lambda: settings
    model = torch.nn.Linear(2, 2)
    model.config = settings
    return model


def test_a_mask_plan_does_not_change_the_estimate():
    settings = LlamaConfig(**SHAPE, intermediate_size=96, vocab_size=100, attn_implementation="eager")
    model = LlamaModel(settings)
    before = footprint(model, recipe("x"), (ROWS, LENGTH))
    assert footprint(apply_plan(model, "0011"), recipe("x"), (ROWS, LENGTH)) == before
