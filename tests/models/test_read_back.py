"""What was saved is read back before a run says that it is done."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_labeler

from lookboth.errors import ModelError
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.merging import merge_to_folder
from lookboth.labelers.reading_back import read_back, without_adapter


@pytest.fixture
def change(monkeypatch):
    """Damages a file of weights after it was written: one weight of it is set to ones."""

    def damage(file, part):
        weights = load_file(file)
        name = next(name for name in weights if part in name)
        weights[name] = torch.ones_like(weights[name])
        save_file(weights, file, metadata={"format": "pt"})
        return name

    return damage


@pytest.mark.parametrize("kind", ["lora", "head", "full"])
@pytest.mark.parametrize("head", ["linear", "crf"])
def test_a_saved_labeler_comes_back(kind, head, tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011", adapter=kind, head={"kind": head})
    before = {name: value.clone() for name, value in labeler.model.state_dict().items()}
    labeler.save_pretrained(tmp_path)
    read_back(labeler, tmp_path)
    after = labeler.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("kind", "file", "part"),
    [
        ("lora", "adapter/adapter_model.safetensors", "layers.2.mlp.up_proj.lora_B"),
        ("lora", "head.safetensors", "weight"),
        ("full", "backbone/model.safetensors", "layers.1.mlp.up_proj"),
    ],
)
def test_a_weight_that_was_not_saved_ends_with_an_error(
    kind, file, part, tiny_llama_folder, tmp_path, change
):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011", adapter=kind)
    labeler.save_pretrained(tmp_path)
    change(tmp_path / file, part)
    with pytest.raises(ModelError, match=rf"differs from the labeler in memory: 1 of \d+ weights .*{part}"):
        read_back(labeler, tmp_path)


def test_a_folder_that_cannot_be_loaded_ends_with_an_error(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder)
    labeler.save_pretrained(tmp_path)
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"differs from the labeler in memory: .*adapter_config"):
        read_back(labeler, tmp_path)


def test_the_base_is_shared_and_not_read_again(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    twin = without_adapter(labeler.model.backbone)
    own = {value.data_ptr() for value in labeler.model.backbone.parameters()}
    assert {value.data_ptr() for value in twin.parameters()} < own
    assert not any("lora_" in name for name, _ in twin.named_modules())
    assert any("lora_" in name for name, _ in labeler.model.backbone.named_modules())


def test_a_merge_reads_its_folder_back(tiny_llama_folder, tmp_path, change, monkeypatch):
    tiny_labeler(tiny_llama_folder).save_pretrained(tmp_path / "lora")
    assert "merged into" in merge_to_folder(str(tmp_path / "lora"), tmp_path / "merged")
    save = Labeler.save_pretrained

    def save_badly(labeler, folder):
        save(labeler, folder)
        change(folder / "backbone/model.safetensors", "layers.1.mlp.up_proj")

    monkeypatch.setattr(Labeler, "save_pretrained", save_badly)
    with pytest.raises(ModelError, match=r"differs from the labeler in memory: 1 of [0-9]+ weights differ"):
        merge_to_folder(str(tmp_path / "lora"), tmp_path / "other")
