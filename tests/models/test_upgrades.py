"""Labelers saved by every format version so far load, and label as they did when they were saved."""

import json
import shutil
from pathlib import Path

import pytest

from lookboth.errors import ModelError
from lookboth.labelers import open_labeler, upgrades
from lookboth.labelers.labeler_config import read_settings
from lookboth.labelers.upgrades import FORMAT_VERSION, UPGRADES

FORMATS = Path(__file__).parent / "formats"
VERSIONS = sorted(folder.name for folder in FORMATS.iterdir() if folder.name.isdigit())
KINDS = ("lora", "crf", "full", "texts", "generative")


def assert_labels_as_saved(folder: Path, base: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    labeler = open_labeler(folder, device="cpu", precision="fp32", base=str(base))
    found = [prediction.to_dict() for prediction in labeler.predict([one["text"] for one in expected])]
    for one, other in zip(found, expected, strict=True):
        for key in ("spans", "labels"):
            scores = [[item.pop("score") for item in side.get(key, ())] for side in (one, other)]
            assert scores[0] == pytest.approx(scores[1], abs=2e-3)
        assert one == other


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_labelers_of_every_version_label_as_they_did(version, kind):
    assert_labels_as_saved(FORMATS / version / kind, FORMATS / version / "base")


def test_there_is_a_fixture_of_every_version_and_a_step_from_each():
    assert [str(version) for version in range(1, FORMAT_VERSION + 1)] == VERSIONS
    assert UPGRADES.keys() == set(range(1, FORMAT_VERSION))


def test_steps_are_taken_one_after_the_other(tmp_path, monkeypatch):
    """The way of an upgrade, on versions that are made up: 2 renames a key, 3 adds one and keeps the rest."""
    monkeypatch.setattr(upgrades, "FORMAT_VERSION", 3)
    monkeypatch.setitem(UPGRADES, 1, lambda data: {"seen" if k == "scores" else k: data[k] for k in data})
    monkeypatch.setitem(UPGRADES, 2, lambda data: data | {"scores": data["seen"], "added": True})
    folder = shutil.copytree(FORMATS / "1" / "lora", tmp_path / "lora")
    old = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = read_settings(folder)
    assert settings == old | {"seen": old["scores"], "added": True, "format_version": 3}
    assert_labels_as_saved(folder, FORMATS / "1" / "base")


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (FORMAT_VERSION + 1, "pip install --upgrade lookboth"),
        (10**400, "pip install --upgrade lookboth"),
        (0, "from 1"),
        (-1, "from 1"),
        (True, "from 1"),
        ("1", "from 1"),
        (None, "from 1"),
    ],
)
def test_other_versions_are_refused_with_what_to_do(version, told, tmp_path):
    settings = {"model_type": "lookboth", "format_version": version}
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json: format.version") as caught:
        read_settings(tmp_path)
    assert told in str(caught.value)
