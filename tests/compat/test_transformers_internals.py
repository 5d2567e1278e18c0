"""Contracts with transformers: each fails when something that transformers_internals.py relies on changes."""

import importlib
import inspect
import operator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForTokenClassification,
    DynamicCache,
    FalconConfig,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedConfig,
    TokenClassificationPipeline,
    pipeline,
)
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention
from transformers.models.llama import modeling_llama
from transformers.pipelines import PIPELINE_REGISTRY

from lookboth.compat import (
    LayerParts,
    asks_for_more,
    attention_function,
    attention_name,
    cache_argument,
    checkpoints_in_old_format,
    chooses_by_name,
    find_attention,
    interface_call,
    is_usual_attention,
    keep_first_keys,
    layer_parts,
    make_cache,
    read_gguf_weights,
    read_pipeline_call,
    replace_pipeline,
    set_attention_name,
    under_attention_name,
)
from lookboth.masking.backends import NEEDED, OPTIONAL

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def tiny_config(**changes: Any) -> PreTrainedConfig:
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16}
    return LlamaConfig(**{**shape, **sizes, **changes})


def tiny_llama(backend: str = "sdpa") -> LlamaModel:
    torch.manual_seed(0)
    return LlamaModel(tiny_config(attn_implementation=backend)).eval()


def tiny_gpt2(**changes: Any) -> GPT2Model:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=16, **changes)
    return GPT2Model._from_config(config, attn_implementation="eager").eval()


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Register a pair of functions under the name "probe", and record what the mask function is given."""
    seen: list[dict[str, Any]] = []
    sdpa, mask = AttentionInterface()["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]

    class Carried:
        """Stands in for a mask, as `LayerMasks` does."""

        def __init__(self, arguments: dict[str, Any]) -> None:
            self.arguments = arguments

    def make(**arguments: Any) -> Carried:
        seen.append(arguments)
        return Carried(arguments)

    def attend(module: Any, query: Any, key: Any, value: Any, given: Any, **kwargs: Any) -> Any:
        assert isinstance(given, Carried)
        return sdpa(module, query, key, value, mask(**given.arguments), **kwargs)

    AttentionInterface.register("probe", attend)
    AttentionMaskInterface.register("probe", make)
    return seen


def test_the_name_in_a_configuration_is_the_backend_its_model_was_loaded_with() -> None:
    assert [attention_name(tiny_llama(name).config) for name in ("sdpa", "eager")] == ["sdpa", "eager"]
    assert attention_name(tiny_config()) is None


def test_a_name_set_in_a_configuration_decides_which_functions_run(probe: list[dict[str, Any]]) -> None:
    model = tiny_llama()
    stock = model(IDS).last_hidden_state
    set_attention_name(model.config, "probe")
    assert attention_name(model.config) == "probe"
    assert torch.equal(model(IDS).last_hidden_state, stock)
    assert len(probe) == 1


def test_a_name_set_in_the_configuration_of_a_text_model_leaves_its_parent_alone() -> None:
    from transformers import LlavaConfig

    whole = LlavaConfig(text_config=tiny_config(), attn_implementation="sdpa")
    set_attention_name(whole.get_text_config(decoder=True), "probe")
    assert [attention_name(config) for config in (whole, whole.vision_config)] == ["sdpa", "sdpa"]


def test_a_mask_function_is_given_the_arguments_a_plan_knows(probe: list[dict[str, Any]]) -> None:
    model = tiny_llama("probe")
    padding = torch.tensor([[0, 1, 1, 1, 1]])
    model(IDS, attention_mask=padding)
    given = probe[0]
    assert set(given) - OPTIONAL == NEEDED
    assert (given["batch_size"], given["q_length"], given["kv_length"]) == (1, 5, 5)
    assert (given["q_offset"], given["kv_offset"]) == (0, 0)
    assert torch.equal(given["attention_mask"], padding.bool())
    sees = given["mask_function"]
    places = [torch.tensor(place) for place in range(3)]
    assert bool(sees(places[0], places[0], places[2], places[1]))
    assert not bool(sees(places[0], places[0], places[1], places[2]))


def test_a_registered_mask_function_is_found_by_its_name(probe: list[dict[str, Any]]) -> None:
    assert ALL_MASK_ATTENTION_FUNCTIONS["probe"](a=1).arguments == {"a": 1}
    assert "probe" in list(ALL_MASK_ATTENTION_FUNCTIONS)


def test_attention_that_asks_the_interface_is_told_from_attention_that_does_not() -> None:
    falcon = AutoModel.from_config(
        FalconConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    forward = inspect.unwrap(modeling_llama.LlamaAttention.forward)
    assert interface_call(tiny_llama().layers[0].self_attn) is forward
    assert not any(interface_call(module) for layer in falcon.h for module in layer.modules())


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_the_attention_found_is_that_of_the_modeling_file(backend: str) -> None:
    module = tiny_llama(backend).layers[0].self_attn
    found = find_attention(module, backend)
    expected = AttentionInterface()["sdpa"] if backend == "sdpa" else modeling_llama.eager_attention_forward
    assert found is expected
    assert not chooses_by_name(module)


def test_no_attention_is_found_for_a_backend_that_does_not_exist() -> None:
    assert find_attention(tiny_llama().layers[0].self_attn, "missing") is None


def test_attention_that_compares_names_is_recognized() -> None:
    names: dict[str, Any] = {"ALL_ATTENTION_FUNCTIONS": None}
    source = """
def forward(self):
    return ALL_ATTENTION_FUNCTIONS if self.config._attn_implementation != "eager" else None
"""
    exec(source, names)
    choosing = type("Choosing", (modeling_llama.LlamaAttention,), {"forward": names["forward"]})
    assert chooses_by_name(choosing(tiny_config(), 0))
    assert not chooses_by_name(tiny_gpt2().h[0].attn)


def test_gpt2_upcasts_in_eager_attention_if_its_configuration_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_gpt2(reorder_and_upcast_attn=True)
    stock, calls = GPT2Attention._upcast_and_reordered_attn, []

    def record(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(stock(self, *args, **kwargs))
        return calls[-1]

    monkeypatch.setattr(GPT2Attention, "_upcast_and_reordered_attn", record)
    model(IDS)
    assert len(calls) == 2
    states = torch.randn(1, 2, 5, 8)
    output, _ = find_attention(model.h[0].attn, "eager")(model.h[0].attn, states, states, states, None)
    assert torch.equal(output, calls[-1][0])
    assert output.shape == (1, 5, 2, 8)


def test_a_view_shows_another_name_and_is_the_module_in_all_else() -> None:
    module = tiny_llama().layers[1].self_attn
    view = under_attention_name(module, "flash_attention_2")
    assert attention_name(view.config) == "flash_attention_2"
    assert attention_name(module.config) == "sdpa"
    assert (view.layer_idx, view.config.hidden_size, view.q_proj) == (1, 16, module.q_proj)


def test_flash_attention_takes_its_kernel_from_the_name_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers.integrations import flash_attention

    given: dict[str, Any] = {}
    monkeypatch.setattr(
        flash_attention, "_flash_attention_forward", lambda *_, **kwargs: given.update(kwargs)
    )
    view = under_attention_name(tiny_llama().layers[0].self_attn, "flash_attention_2")
    states = torch.zeros(1, 2, 5, 8, dtype=torch.bfloat16)
    flash_attention.flash_attention_forward(view, states, states, states, None, is_causal=False)
    assert (given["attn_implementation"], given["is_causal"]) == ("flash_attention_2", False)


def test_activation_checkpointing_of_the_old_format_ignores_use_reentrant() -> None:
    from torch.utils import checkpoint

    class Old(LlamaModel):
        def _set_gradient_checkpointing(self, module: Any, value: bool = False) -> None:
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = value

    old, new = Old(tiny_config()), LlamaModel(tiny_config())
    assert [checkpoints_in_old_format(model) for model in (old, new)] == [True, False]
    for model in (old, new):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    assert all(layer.gradient_checkpointing for layer in (*old.layers, *new.layers))
    assert new.layers[0]._gradient_checkpointing_func.keywords == {"use_reentrant": False}
    assert not hasattr(old.layers[0], "_gradient_checkpointing_func")
    assert checkpoint.checkpoint is new.layers[0]._gradient_checkpointing_func.func


def test_a_cache_made_of_layers_is_the_cache_that_update_fills() -> None:
    model, made = tiny_llama(), DynamicCache()
    name = cache_argument(model)
    model(IDS[:, :3], use_cache=True, **{name: made})
    pairs = [(layer.keys, layer.values) for layer in made.layers]
    cache = make_cache(pairs)
    assert cache.layers[0].keys is pairs[0][0]  # not copied
    assert cache.get_seq_length() == 3
    following = [model(IDS[:, 3:], use_cache=True, **{name: past}) for past in (made, cache)]
    assert torch.equal(following[0].last_hidden_state, following[1].last_hidden_state)
    assert cache.layers[1].keys.shape[-2] == 5


def test_weights_of_a_gguf_file_have_the_names_and_values_of_the_model(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny_config(hidden_size=32, num_attention_heads=2, num_key_value_heads=2))
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_block_count(2)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    weights = dict(model.state_dict())
    names = {
        "token_embd": "model.embed_tokens",
        "output": "lm_head",
        "blk.1.ffn_up": "model.layers.1.mlp.up_proj",
    }
    for name, ours in names.items():
        writer.add_tensor(f"{name}.weight", weights[f"{ours}.weight"].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with torch.device("meta"):
        shape = LlamaForCausalLM(model.config)
    found = read_gguf_weights(tmp_path / "model.gguf", shape, torch.float32)
    assert found.keys() == {
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.layers.1.mlp.up_proj.weight",
    }
    assert all(torch.equal(value, weights[name]) for name, value in found.items())
    assert not torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])


class OwnPipeline(TokenClassificationPipeline):
    """A pipeline of another class."""


@pytest.fixture
def token_pipeline(tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from transformers import AutoTokenizer

    monkeypatch.setitem(
        PIPELINE_REGISTRY.supported_tasks,
        "token-classification",
        dict(PIPELINE_REGISTRY.supported_tasks["token-classification"]),
    )
    replace_pipeline("token-classification", OwnPipeline)
    model = AutoModelForTokenClassification.from_pretrained(tiny_llama_folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_folder)
    return pipeline("ner", model=model, tokenizer=tokenizer, aggregation_strategy="first")


def test_a_replaced_pipeline_is_made_for_the_task_and_saved_without_code(
    token_pipeline: Any, tmp_path: Path
) -> None:
    assert type(token_pipeline) is OwnPipeline
    token_pipeline.save_pretrained(tmp_path)
    assert list(tmp_path.glob("*.py")) == []


def test_a_pipeline_call_is_read_as_the_stock_pipeline_reads_it(token_pipeline: Any) -> None:
    call = read_pipeline_call(token_pipeline, "a b", {})
    assert (call.inputs, call.is_split, bool(call.offsets)) == (["a b"], False, False)
    assert call.options["aggregation_strategy"] == "first"
    words = read_pipeline_call(
        token_pipeline, ["a", "b"], {"is_split_into_words": True, "ignore_labels": ["X"], "delimiter": "_"}
    )
    assert (words.is_split, words.delimiter) == (True, "_")
    assert words.options["ignore_labels"] == ["X"]
    given = read_pipeline_call(
        token_pipeline, "a b", {"offset_mapping": [(0, 1)], "aggregation_strategy": "max"}
    )
    assert given.offsets
    assert given.options["aggregation_strategy"] == "max"
    assert read_pipeline_call(token_pipeline, "a", {}).delimiter == " "
    assert read_pipeline_call(token_pipeline, (text for text in ("a", "b")), {}).inputs is not None


def test_each_layer_of_a_cache_keeps_its_own_number_of_keys() -> None:
    cache = DynamicCache()
    for layer in range(2):
        cache.update(torch.arange(4.0).reshape(1, 1, 4, 1), torch.arange(4.0).reshape(1, 1, 4, 1), layer)
    keep_first_keys(cache, 0, 3)
    keep_first_keys(cache, 1, 4)
    keep_first_keys(cache, 2, 1)
    assert [cache.get_seq_length(layer) for layer in range(2)] == [3, 4]
    keys, values = cache.update(torch.full((1, 1, 1, 1), 9.0), torch.full((1, 1, 1, 1), 8.0), 0)
    assert keys.flatten().tolist() == [0, 1, 2, 9]
    assert values.flatten().tolist() == [0, 1, 2, 8]


def test_copies_of_llamas_eager_attention_are_found() -> None:
    from transformers.models.gemma2 import modeling_gemma2
    from transformers.models.mistral import modeling_mistral

    copy, other = modeling_mistral.eager_attention_forward, modeling_gemma2.eager_attention_forward
    assert copy is not modeling_llama.eager_attention_forward
    assert is_usual_attention(copy)
    assert not is_usual_attention(other)
    assert not is_usual_attention(torch.matmul)


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_layers_of_three_families_have_the_same_code(family: str) -> None:
    """Their attention differs in an argument for flash attention."""
    other = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    for name in ("DecoderLayer.forward", "MLP.forward", "RMSNorm.forward"):
        codes = []
        for module, prefix in ((modeling_llama, "Llama"), (other, family.capitalize())):
            codes.append(operator.attrgetter(prefix + name)(module).__code__)
        assert codes[0].co_code == codes[1].co_code, name
    for name in ("apply_rotary_pos_emb", "rotate_half"):
        one, two = (inspect.unwrap(getattr(module, name)).__code__ for module in (modeling_llama, other))
        assert one.co_code == two.co_code, name


def test_the_parts_of_a_layer_of_llamas_form_are_found() -> None:
    model = tiny_llama()
    found = [parts for module in model.modules() if (parts := layer_parts(module)) is not None]
    assert all(isinstance(parts, LayerParts) for parts in found)
    assert [parts.layer for parts in found] == list(model.layers)
    assert {layer for group in found[0].linear for layer in group} == {
        module for module in model.layers[0].modules() if isinstance(module, torch.nn.Linear)
    }


def test_the_attention_function_of_a_layer_is_the_one_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    model, called = tiny_llama("eager"), []
    own = modeling_llama.eager_attention_forward
    monkeypatch.setattr(
        modeling_llama,
        "eager_attention_forward",
        lambda *given, **more: called.append(own) or own(*given, **more),
    )
    attention = model.layers[0].self_attn
    assert attention_function(attention) is modeling_llama.eager_attention_forward
    model(IDS)
    assert len(called) == 2
    set_attention_name(model.config, "flash_attention_2")
    assert attention_function(attention) is None


def test_a_decoder_layer_gets_the_cache_and_the_wish_for_weights_by_known_names() -> None:
    model, given = tiny_llama("eager"), []
    model.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs), with_kwargs=True
    )
    for arguments in ({}, {"use_cache": True}, {"output_attentions": True}):
        model(IDS, **{"use_cache": False, **arguments})
    assert [asks_for_more(kwargs) for kwargs in given] == [False, True, True]
