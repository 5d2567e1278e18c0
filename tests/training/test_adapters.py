"""Which weights get LoRA pairs: those that were asked for, and all of them come back from disk."""

import json

import pytest
import torch
import transformers
from causal_families import causal_config
from safetensors.torch import load_file, save_file
from tiny import tiny_tokenizer

from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import AdapterConfig
from lookboth.errors import ConfigError, ModelError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.masking.attention import apply_plan
from lookboth.models.lora import paired_weights
from lookboth.training.adapters import add_adapter, num_trainable
from lookboth.training.labeler_building import build_labeler
from lookboth.training.lora_places import describe_pairs

SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "initializer_range": 0.2,
}  # fmt: skip
EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}
GLM = {**SMALL, **EXPERTS, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
# family: arguments of its configuration
MIXTURES = {
    "Mixtral": {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "Glm4Moe": GLM,
    "Laguna": {
        **SMALL, **EXPERTS, "shared_expert_intermediate_size": 16, "num_experts": 4,
        "num_attention_heads_per_layer": None, "layer_types": ["full_attention"] * 3,
        "mlp_layer_types": ["dense", "sparse", "sparse"],
    },
    "Phimoe": {**{k: v for k, v in SMALL.items() if k != "head_dim"}, "num_local_experts": 4},
    "GptOss": {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
}  # fmt: skip
WORDS = [("the", "fox", "said"), ("a", "house", "near", "London")]


def mixture(family):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**MIXTURES[family], "vocab_size": 400})
    return apply_plan(transformers.AutoModel.from_config(config), "0,0,*")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("mixtures"), {}

    def make(family):
        if family not in made:
            tokenizer = tiny_tokenizer("byte-bos")
            torch.manual_seed(0)
            config = getattr(transformers, f"{family}Config")(
                **{**MIXTURES[family], "vocab_size": len(tokenizer)}
            )
            made[family] = root / family
            transformers.AutoModel.from_config(config).save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return make


def untrained(folder, **adapter):
    config = parse_config(
        {
            "model": str(folder), "data": {"train": "x"}, "plan": "0,0,*", "max_tokens": 64, "overlap": 8,
            "training": {"precision": "fp32"}, "adapter": {"rank": 2, **adapter},
        }
    )  # fmt: skip
    torch.manual_seed(1)
    labeler = build_labeler(config, labels=["LOC", "PER"], device="cpu")
    for name, parameter in labeler.model.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    labeler.model.eval()
    return labeler


@pytest.mark.parametrize("family", MIXTURES)
def test_layers_of_a_mixture_get_pairs_and_no_others(family):
    chosen = paired_weights(add_adapter(mixture(family), AdapterConfig(rank=2, layers="top:1")))
    everything = paired_weights(add_adapter(mixture(family), AdapterConfig(rank=2)))
    assert chosen == {name for name in everything if name.startswith("layers.2.")}
    assert {"layers.2.mlp.experts.gate_up_proj", "layers.2.mlp.experts.down_proj"} <= chosen


def test_dense_layers_shared_experts_and_experts_get_pairs():
    model = add_adapter(mixture("Glm4Moe"), AdapterConfig(rank=2))
    names = paired_weights(model)
    for place in ("layers.0.mlp", "layers.1.mlp.shared_experts"):
        assert {f"{place}.{key}_proj" for key in ("gate", "up", "down")} <= names
    assert "layers.1.mlp.experts.down_proj" in names
    assert describe_pairs(model) == (
        f"LoRA pairs on {len(names)} weights of layers 0-2: experts.down_proj, experts.gate_up_proj, mlp.down_proj, "
        "mlp.gate_proj, mlp.up_proj, self_attn.k_proj, self_attn.o_proj, self_attn.q_proj, self_attn.v_proj, "
        "shared_experts.down_proj, shared_experts.gate_proj, shared_experts.up_proj; none on mlp.gate"
    )


def test_names_mean_the_weights_that_have_them():
    named = AdapterConfig(rank=2, target_modules=("shared_experts.up_proj", "experts.down_proj"))
    found = paired_weights(add_adapter(mixture("Glm4Moe"), named))
    assert found == {
        f"layers.{n}.mlp.{key}" for n in (1, 2) for key in ("shared_experts.up_proj", "experts.down_proj")
    }
    with pytest.raises(ConfigError, match=r"'mlp.gate'.*not in this model.*gate_up_proj"):
        add_adapter(mixture("Glm4Moe"), AdapterConfig(target_modules=("mlp.gate", "q_proj")))


def test_dropout_of_experts_is_refused_by_its_own_name():
    with pytest.raises(ConfigError, match=r"adapter.dropout = 0.1: .*experts.*Set adapter.dropout = 0"):
        add_adapter(mixture("Mixtral"), AdapterConfig(dropout=0.1))
    attention = AdapterConfig(dropout=0.1, target_modules=("q_proj",))
    assert len(paired_weights(add_adapter(mixture("Mixtral"), attention))) == 3


@pytest.mark.parametrize("family", MIXTURES)
def test_a_labeler_on_a_mixture_comes_back_as_it_was_saved(family, folders, tmp_path):
    labeler = untrained(folders(family))
    labeler.save_pretrained(tmp_path)
    loaded = Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    ours, theirs = labeler.model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "lora_" in name)
    expected = word_log_probs(labeler, WORDS)
    for left, right in zip(expected, word_log_probs(loaded, WORDS), strict=True):
        assert abs(left - right).max() == 0
    folded = Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=True)
    for left, right in zip(expected, word_log_probs(folded, WORDS), strict=True):
        assert abs(left - right).max() < 1e-3


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")
def test_an_adapter_with_the_names_peft_gives_to_experts_is_loaded(folders, tmp_path):
    from peft import LoraConfig, get_peft_model

    labeler = untrained(folders("Mixtral"), target_modules=["q_proj"])
    backbone = labeler.model.backbone.unload()
    lora = LoraConfig(r=2, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
    labeler.model.backbone = get_peft_model(backbone, lora).eval()
    labeler.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert settings["rank_pattern"] == {r".*\.gate_up_proj": 4}
    loaded = Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    for left, right in zip(word_log_probs(labeler, WORDS), word_log_probs(loaded, WORDS), strict=True):
        assert abs(left - right).max() == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target_parameters": ["(a+)+$"]}, "target_parameters"),
        ({"target_parameters": "experts"}, "target_parameters"),
        ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern"),
        ({"rank_pattern": {r".*\.down_proj": 10**12}}, "rank of 1000000000000"),
        ({"r": 10**12}, "rank"),
        ({"alpha_pattern": {r".*\.down_proj": "__import__('os')"}}, "alpha_pattern"),
        ({"exclude_modules": ["(a+)+$"]}, "exclude_modules"),
        ({"exclude_modules": "(a+)+$"}, "exclude_modules"),
        ({"target_modules": ["layers..x"]}, "target_modules"),
    ],
)
def test_settings_of_an_adapter_that_say_more_than_names_are_refused(changed, said, folders, tmp_path):
    untrained(folders("Mixtral")).save_pretrained(tmp_path)
    file = tmp_path / "adapter/adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises(ModelError, match=said):
        Labeler.from_pretrained(tmp_path, device="cpu")


def test_a_weight_that_is_missing_or_too_many_is_named(folders, tmp_path):
    untrained(folders("Laguna")).save_pretrained(tmp_path)
    file = tmp_path / "adapter/adapter_model.safetensors"
    weights = load_file(file)
    lost = next(name for name in weights if "shared_expert" in name)
    save_file({name: value for name, value in weights.items() if name != lost}, file)
    with pytest.raises(ModelError, match=r"1 LoRA weights are missing and 0 unknown.*shared_expert"):
        Labeler.from_pretrained(tmp_path, device="cpu")


def test_towers_that_text_never_enters_get_no_pairs():
    text = {**SMALL, "vocab_size": 400, "layer_types": ["full_attention"] * 3}
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    for adapter in ({}, {"target_modules": ("q_proj", "v_proj")}, {"layers": "top:1"}):
        model = add_adapter(transformers.AutoModel.from_config(config), AdapterConfig(rank=2, **adapter))
        names = paired_weights(model)
        assert names
        assert all("language_model" in name for name in names)
        assert num_trainable(model) == sum(p.numel() for n, p in model.named_parameters() if ".lora_" in n)


def test_layers_that_share_a_module_are_chosen_together():
    config = causal_config("longcat_flash")
    with pytest.raises(ConfigError, match=r"layers 2-3 of this model share .*adapter.layers = '2-2,3-3'"):
        add_adapter(transformers.AutoModel.from_config(config), AdapterConfig(rank=2, layers="top:1"))
    names = paired_weights(
        add_adapter(transformers.AutoModel.from_config(config), AdapterConfig(rank=2, layers="2-2,3-3"))
    )
    assert {name.split(".")[1] for name in names} == {"1"}
    # Its router multiplies by the weight of a linear layer that it never calls.
    assert not any("router" in name for name in names)
