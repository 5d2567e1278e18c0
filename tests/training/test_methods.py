"""Methods that are values in a recipe: sequence repetition, an early exit, a plan for training only."""

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import tiny_tokenizer
from transformers import AutoModel

from lookboth.compat import light_start
from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, ModelError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.masking.attention import get_plan
from lookboth.models.loading import load_backbone
from lookboth.training.batches import word_encoding
from lookboth.training.labeler_building import build_labeler
from lookboth.training.training_runs import train

WORDS = ("Ada", "Lovelace", "lived", "in", "London")


def recipe(folder, **settings):
    base = {"model": str(folder), "data": {"train": "x"}, "max_tokens": 64, "overlap": 8}
    return parse_config({**base, "training": {"precision": "fp32"}, **settings})


def build(folder, **settings):
    torch.manual_seed(0)
    labeler = build_labeler(recipe(folder, **settings), labels=["LOC", "PER"], device="cpu")
    labeler.model.eval()
    return labeler


def test_repetition_is_the_last_copy_of_the_repeated_sentence(tiny_llama_folder):
    repeated = build(tiny_llama_folder, repetition=2)
    once = build(tiny_llama_folder, plan="causal")
    got = word_log_probs(repeated, [WORDS])[0]
    by_hand = word_log_probs(once, [WORDS * 3])[0][2 * len(WORDS) :]
    np.testing.assert_allclose(got, by_hand, atol=1e-5)


def test_each_copy_begins_with_the_special_tokens_when_asked_for(tiny_llama_folder, tmp_path):
    labeler = build(tiny_llama_folder, repetition=2, prefix_each_copy=True)
    (begin,), words = labeler.config.encoding.prefix_ids, labeler.encoder.encode_words(WORDS)
    copy = [begin, *(token for ids in words for token in ids)]
    piece = labeler.encoder.encode(WORDS)
    assert list(piece.input_ids) == copy * 3
    assert piece.word_tokens[0][0] == 2 * len(copy) + 1
    labeler.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, precision="fp32", merge=False)
    assert again.config.encoding == labeler.config.encoding
    np.testing.assert_allclose(
        word_log_probs(again, [WORDS])[0], word_log_probs(labeler, [WORDS])[0], atol=1e-5
    )


def test_words_without_a_leading_space_are_those_of_is_split_into_words(tiny_llama_folder, tmp_path):
    """As a tokenizer reads a list of words that is not told to add spaces (Qwen3, Gemma in repetition-sl)."""
    labeler = build(tiny_llama_folder, leading_space=False)
    wanted = labeler.tokenizer(list(WORDS), is_split_into_words=True)["input_ids"]
    assert list(labeler.encoder.encode(WORDS).input_ids) == wanted
    assert wanted != list(build(tiny_llama_folder).encoder.encode(WORDS).input_ids)
    labeler.save_pretrained(tmp_path)
    assert Labeler.from_pretrained(tmp_path).config.encoding.word_prefix == ""


def test_a_tokenizer_that_marks_words_itself_has_no_space_to_leave_out(tmp_path):
    config = recipe(tmp_path, leading_space=False)
    with pytest.raises(ConfigError, match=r"leading_space = false: .* marks the start of a word itself"):
        word_encoding(config, tiny_tokenizer("metaspace"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prefix_each_copy": True}, "prefix_each_copy = True: applies to sequence repetition"),
        ({"leading_space": False, "task": "classification"}, "leading_space = False: applies to words"),
    ],
)
def test_settings_of_words_without_effect_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        recipe(tmp_path, **settings)


@pytest.mark.parametrize("repetition", [0, 1])
def test_only_repetition_lets_a_causal_model_see_what_follows(tiny_llama_folder, repetition):
    labeler = build(tiny_llama_folder, plan="causal", repetition=repetition)
    one, other = word_log_probs(labeler, [WORDS, (*WORDS[:-1], "Paris")])
    moved = np.abs(one - other)[: len(WORDS) - 1].max() > 1e-6
    assert moved == (repetition > 0)


def test_repetition_comes_back_with_a_saved_labeler(tiny_llama_folder, tmp_path):
    labeler = build(tiny_llama_folder, repetition=1, exit_layer=2, plan="01,")
    labeler.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, precision="fp32", merge=False)
    assert again.config.encoding.repetition == 1
    assert again.config.plan.num_layers == again.config.exit_layer == 2
    long = WORDS * 30  # several windows
    np.testing.assert_allclose(
        word_log_probs(again, [WORDS, long])[1], word_log_probs(labeler, [WORDS, long])[1], atol=1e-5
    )


def test_repeated_windows_label_every_word_once(tiny_llama_folder):
    labeler = build(tiny_llama_folder, repetition=1)
    prediction = labeler.predict_words([WORDS * 40])[0]
    assert len(prediction.tags) == 40 * len(WORDS)


def test_exit_layer_gives_the_normed_state_of_that_layer(tiny_llama_folder):
    whole = AutoModel.from_pretrained(tiny_llama_folder)
    ids = torch.tensor([[3, 5, 7, 9]])
    for exit_layer in range(1, whole.config.num_hidden_layers):
        cut = load_backbone(str(tiny_llama_folder), precision="fp32", num_layers=exit_layer)
        assert len(cut.layers) == exit_layer
        with torch.no_grad():
            state = whole(ids, output_hidden_states=True).hidden_states[exit_layer]
            assert torch.allclose(cut(ids).last_hidden_state, whole.norm(state), atol=1e-5)


def saved_family(folder, name, **changes):
    small = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.2}
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**small, **changes)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return str(folder)


SHARED = {"head_dim": 8, "global_head_dim": 8, "num_kv_shared_layers": 2, "vocab_size_per_layer_input": 97}
SHARED |= {"layer_types": ["sliding_attention", "full_attention"] * 2}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("MiniCPM3", {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8}),
        ("Gemma4Text", {**SHARED, "hidden_size_per_layer_input": 0}),
    ],
)
def test_exit_layer_where_depth_is_part_of_the_arithmetic(tmp_path, name, changes):
    folder = saved_family(tmp_path / "base", name, **changes)
    whole, ids = load_backbone(folder, precision="fp32"), torch.arange(5, 12)[None]
    for exit_layer in (1, 2, 3) if name == "MiniCPM3" else (2,):
        cut = load_backbone(folder, precision="fp32", num_layers=exit_layer)
        cut.save_pretrained(tmp_path / f"cut{exit_layer}")  # as a labeler trained in full is
        again = load_backbone(str(tmp_path / f"cut{exit_layer}"), precision="fp32")
        with torch.no_grad():
            state = whole.norm(whole(ids, output_hidden_states=True).hidden_states[exit_layer])
            for model in (cut, again):
                torch.testing.assert_close(model(ids).last_hidden_state, state)


def test_a_family_that_cannot_be_loaded_without_values_is_loaded_as_usual(tmp_path, monkeypatch):
    folder = saved_family(tmp_path / "base", "Gemma4Text", **SHARED, hidden_size_per_layer_input=0)
    usual, ids = load_backbone(folder, precision="fp32"), torch.arange(5, 12)[None]
    monkeypatch.setattr(light_start, "_own_process", True)
    quick = load_backbone(folder, precision="fp32")
    with torch.no_grad():
        mine, theirs = (model(ids, output_hidden_states=True).hidden_states[-1] for model in (quick, usual))
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("per_layer", "exit_layer"), [(8, 2), (0, 1), (0, 3)])
def test_exit_layer_that_would_change_the_layers_is_refused(tmp_path, per_layer, exit_layer):
    """Inputs of each layer in one table; a last layer that would not be sliding any longer."""
    folder = saved_family(tmp_path, "Gemma4Text", **SHARED, hidden_size_per_layer_input=per_layer)
    with pytest.raises(ConfigError, match="depends on the number of layers"):
        load_backbone(folder, precision="fp32", num_layers=exit_layer)


LONG = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64}
LONG |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}


@pytest.mark.parametrize("rope", [{"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}, LONG])
def test_windows_in_which_labels_would_depend_on_the_rest_of_the_batch_are_refused(
    tmp_path, tiny_llama_folder, rope
):
    places = 64 if rope["rope_type"] == "dynamic" else 256
    config = transformers.AutoConfig.from_pretrained(
        tiny_llama_folder, rope_parameters=rope, max_position_embeddings=places
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_llama_folder).save_pretrained(tmp_path)
    assert build(tmp_path, max_tokens=64).config.max_tokens == 64
    with pytest.raises(ConfigError, match="longest text of a batch beyond 64 tokens"):
        build(tmp_path, max_tokens=65)


def test_exit_layer_must_exist(tiny_llama_folder):
    with pytest.raises(ConfigError, match="this model has"):
        build(tiny_llama_folder, exit_layer=99)


def lora_weights(labeler):
    return {name: tensor for name, tensor in labeler.model.backbone.state_dict().items() if "lora_" in name}


def test_an_adapter_of_all_layers_starts_one_of_the_first(tiny_llama_folder, tmp_path):
    whole = build(tiny_llama_folder, adapter={"kind": "lora", "rank": 2})
    for tensor in lora_weights(whole).values():
        torch.nn.init.normal_(tensor)
    whole.save_pretrained(tmp_path)
    start = {"kind": "lora", "rank": 2, "start_from": str(tmp_path)}
    cut = lora_weights(build(tiny_llama_folder, exit_layer=2, adapter=start))
    layers = {name.split(".layers.")[1][0] for name in cut}
    assert layers == {"0", "1"}
    assert all(torch.equal(tensor, lora_weights(whole)[name]) for name, tensor in cut.items())
    other = {**start, "target_modules": ["q_proj"]}
    with pytest.raises(ModelError, match="unknown"):
        build(tiny_llama_folder, exit_layer=2, adapter=other)


@pytest.fixture
def saved(tiny_llama_folder, tmp_path):
    """A labeler with a LoRA adapter of rank 4 and alpha 32."""
    build(tiny_llama_folder, adapter={"rank": 4}).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rank": 8}, "trained with rank 4, and adapter.rank = 8"),
        ({"alpha": 8}, "trained with alpha 32, and adapter.alpha = 8"),
    ],
)
def test_an_adapter_to_start_from_has_rank_and_alpha_of_the_recipe(tiny_llama_folder, saved, changed, said):
    with pytest.raises(ModelError, match=f"adapter.start_from = .*{said}"):
        build(tiny_llama_folder, adapter={"rank": 4, "start_from": str(saved), **changed})


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_to_start_from_is_named(tiny_llama_folder, saved, name):
    (saved / "adapter" / name).write_text("[")
    with pytest.raises(ModelError, match=name):
        build(tiny_llama_folder, adapter={"rank": 4, "start_from": str(saved)})


def test_an_adapter_of_a_wider_model_does_not_fit(tiny_llama_folder, saved):
    file = saved / "adapter" / "adapter_model.safetensors"
    weights = {n: torch.cat([w, w]) if "lora_B" in n else w for n, w in load_file(file).items()}
    save_file(weights, file)
    with pytest.raises(ModelError, match=r"adapter.start_from = .*does not fit the model"):
        build(tiny_llama_folder, adapter={"rank": 4, "start_from": str(saved)})


@pytest.mark.parametrize("kind", ["full", "head"])
def test_an_adapter_to_start_from_is_of_lora(kind):
    with pytest.raises(ConfigError, match=f"adapter.start_from = 'x': .*kind = '{kind}' has none"):
        recipe("y", adapter={"kind": kind, "start_from": "x"})


def test_a_training_plan_is_in_force_in_training_only(tiny_llama_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = "\n".join(f"{word} {'B-LOC' if word == 'London' else 'O'}" for word in WORDS)
    for split in ("train", "dev", "test"):
        (data / f"{split}.conll").write_text((rows + "\n\n") * 20, encoding="utf-8")
    settings = {"data": {"train": [str(data)]}, "adapter": {"rank": 2}}
    runs = {}
    for name, plans in {
        "both": {"plan": "causal"},
        "only": {"plan": "full", "train_plan": "causal"},
    }.items():
        config = recipe(tiny_llama_folder, **settings, **plans)
        config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 1})})
        runs[name] = train(config, tmp_path / name)[0]
    both, only = (runs[name].labeler for name in ("both", "only"))
    trained = [dict(labeler.model.named_parameters()) for labeler in (both, only)]
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
    assert str(get_plan(only.model.backbone)) == str(only.config.plan) == "full"
    assert np.abs(word_log_probs(both, [WORDS])[0] - word_log_probs(only, [WORDS])[0]).max() > 1e-6
    assert not (only.config.plan.is_causal)
