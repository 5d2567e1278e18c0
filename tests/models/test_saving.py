"""Labelers on disk: what is saved gives the same predictions elsewhere, what is broken is refused by name."""

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_tiny_model, tiny_labeler

import lookboth
from lookboth.errors import LookbothError, ModelError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers import saving
from lookboth.labelers.folders import SHIPPED_LABELERS, find_folder
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_config import read_config
from lookboth.labelers.merging import merge_labeler, merge_to_folder
from lookboth.labelers.opening import LoadOptions
from lookboth.labelers.saving import load_backbone_and_tokenizer
from lookboth.models.builtin_models import BUILTIN
from lookboth.models.folding import fold_adapter, has_adapter

KINDS = ("lora", "full", "head")
SENTENCES = (
    ("Ada", "Lovelace", "was", "born", "in", "London", "."),
    ("Toyota",),
    ("unquestionably", "burns"),
)


@pytest.fixture
def base(tiny_llama_folder, monkeypatch):
    """The tiny Llama under a built-in name, so that its labelers need no path to find it."""
    monkeypatch.setitem(
        BUILTIN, "tiny-llama", SimpleNamespace(folder=lambda name: tiny_llama_folder, licence="MIT")
    )
    return "tiny-llama"


@pytest.fixture
def saved(base, tmp_path) -> Path:
    """A saved LoRA labeler to be spoiled."""
    tiny_labeler(base, plan="0011").save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def edit(file: Path, **changes) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, **changes}), encoding="utf-8")


def assert_same(left, right, atol=1e-5):
    for a, b in zip(word_log_probs(left, SENTENCES), word_log_probs(right, SENTENCES), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def test_a_labeler_is_loaded_without_warnings(saved):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Labeler.from_pretrained(saved)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plan", ["0011", "0,0,2,*", "causal"])
def test_saved_and_loaded_labelers_agree(base, kind, plan, tmp_path, monkeypatch):
    labeler = tiny_labeler(base, plan=plan, adapter=kind, label_on="mean", scheme="IOBES")
    if kind == "full":
        with torch.no_grad():
            for parameter in labeler.model.backbone.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
    labeler.save_pretrained(tmp_path / "saved")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "saved", tmp_path / "elsewhere" / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = Labeler.from_pretrained("./moved", device="cpu", precision="fp32", merge=False)
    assert loaded.config == labeler.config
    assert_same(labeler, loaded)
    assert loaded.predict("Ada was in London") == labeler.predict("Ada was in London")


def test_another_process_in_another_folder_agrees(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    labeler.save_pretrained(tmp_path / "saved")
    code = (
        "import sys, json; from lookboth import Labeler\n"
        "labeler = Labeler.from_pretrained(sys.argv[1], device='cpu', precision='fp32')\n"
        "print(json.dumps(labeler.predict('Ada was in  London')[0].to_dict()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved")], cwd="/", capture_output=True, check=True
    )
    assert json.loads(run.stdout) == json.loads(
        json.dumps(labeler.predict("Ada was in  London")[0].to_dict())
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_names_no_path_of_this_machine(base, tiny_llama_folder, kind, tmp_path):
    tiny_labeler(base, adapter=kind).save_pretrained(tmp_path / "saved")
    for file in (tmp_path / "saved").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for path in (tiny_llama_folder, tmp_path, Path.home(), Path(lookboth.__file__).parents[3]):
                assert str(path).encode() not in content or len(path.parts) < 3, (file.name, path)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_other_users_can_read_a_saved_labeler(base, kind, tmp_path):
    """A labeler trained by one user is often served by another."""
    before = os.umask(0o027)
    try:
        tiny_labeler(base, adapter=kind).save_pretrained(tmp_path / "saved")
    finally:
        os.umask(before)
    files = [file for file in (tmp_path / "saved").rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}


def test_a_saved_adapter_is_small_and_complete(base, saved):
    names = {str(file.relative_to(saved)) for file in saved.rglob("*") if file.is_file()}
    assert {"config.json", "head.safetensors", "README.md", "tokenizer.json"} <= names
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= names
    assert all("lora_" in name for name in load_file(saved / "adapter" / "adapter_model.safetensors"))
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert "`LOC`, `PER`" in card
    assert "0011" in card


def test_a_labeler_that_was_merged_as_it_was_loaded_can_be_merged_for_good(base, tmp_path):
    labeler = tiny_labeler(base, plan="0011")
    labeler.save_pretrained(tmp_path)
    merged = merge_labeler(Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32"))
    assert_same(merged, labeler, atol=1e-4)
    assert not any("lora_" in name for name, _ in merged.model.named_parameters())


@pytest.mark.parametrize("plan", ["0011", "full"])
def test_merged_predictions_agree(base, plan, tmp_path):
    labeler = tiny_labeler(base, plan=plan)
    labeler.save_pretrained(tmp_path / "lora")
    before = word_log_probs(labeler, SENTENCES)
    said = merge_to_folder(str(tmp_path / "lora"), tmp_path / "merged")
    assert "largest change" in said
    merged = Labeler.from_pretrained(tmp_path / "merged", device="cpu", precision="fp32", merge=False)
    assert merged.config.adapter == "merged"
    assert merged.config.plan == labeler.config.plan
    for left, right in zip(before, word_log_probs(merged, SENTENCES), strict=True):
        np.testing.assert_allclose(np.exp(left), np.exp(right), atol=1e-3)
    shutil.rmtree(tmp_path / "lora")


@pytest.mark.parametrize("load", [Labeler.from_pretrained, lookboth.open_labeler])
def test_python_labels_with_the_weights_of_the_command_line(base, load, tmp_path):
    tiny_labeler(base, plan="0011", adapter="lora").save_pretrained(tmp_path)
    merged = load(tmp_path, device="cpu", precision="fp32")
    assert not any(hasattr(module, "lora_A") for module in merged.model.modules())
    with pytest.raises(ModelError, match=r"merged into its weights.*merge=False"):
        merged.model.train()
    load(tmp_path, device="cpu", precision="fp32", merge=False).model.train()


@pytest.mark.parametrize("kind", KINDS)
def test_a_labeler_can_be_merged_as_it_is_loaded(base, kind, tmp_path):
    labeler = tiny_labeler(base, plan="0011", adapter=kind)
    labeler.save_pretrained(tmp_path)
    merged = Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=True)
    assert_same(merged, labeler, atol=1e-4)
    merged.save_pretrained(tmp_path / "again")
    for file in tmp_path.rglob("adapter_model.safetensors"):
        assert load_file(file).keys() == load_file(tmp_path / "adapter" / file.name).keys()
    assert_same(
        Labeler.from_pretrained(tmp_path / "again", device="cpu", precision="fp32", merge=False), labeler
    )
    for name, module in merged.model.named_modules():  # the pairs are passed by
        if name.endswith("lora_A"):
            module.register_forward_hook(lambda *_: pytest.fail("a LoRA pair was computed"))
    assert_same(merged.with_plan("causal"), labeler.with_plan("causal"), atol=1e-4)


@pytest.fixture
def saved_qlora(base, tmp_path) -> Path:
    """A saved labeler that says its adapter was trained over 4 bits."""
    labeler = tiny_labeler(base, plan="0011")
    labeler.config = replace(labeler.config, adapter="qlora")
    labeler.save_pretrained(tmp_path / "qlora")
    return tmp_path / "qlora"


@pytest.fixture
def asked_for(monkeypatch) -> list[dict]:
    """What the base of a labeler is asked for, whatever the device; it is loaded unquantised on the CPU."""
    asked, load = [], saving.load_backbone

    def record(name, **kwargs):
        asked.append(kwargs)
        return load(name, **{**kwargs, "four_bit": False, "device": "cpu"})

    monkeypatch.setattr(saving, "load_backbone", record)
    return asked


def installed(monkeypatch, there: bool) -> None:
    module = ModuleType("bitsandbytes")
    module.__spec__ = ModuleSpec("bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", module if there else None)


@pytest.mark.parametrize(
    ("adapter", "device", "precision", "there", "four_bit"),
    [
        ("qlora", "cuda", "auto", True, True),
        ("qlora", "cuda:1", "auto", True, True),
        ("qlora", "cuda", "auto", False, False),
        ("qlora", "cuda", "bf16", True, False),
        ("qlora", "cpu", "auto", True, True),
        ("qlora", "cpu", "auto", False, False),
        ("lora", "cuda", "auto", True, False),
    ],
)
def test_a_qlora_labeler_is_loaded_in_4_bits_where_that_can_be(
    saved_qlora, asked_for, monkeypatch, adapter, device, precision, there, four_bit
):
    installed(monkeypatch, there)
    config = replace(read_config(saved_qlora), adapter=adapter)
    load_backbone_and_tokenizer(
        saved_qlora, config, LoadOptions(device=device, precision=precision, merge=False)
    )
    assert [kwargs["four_bit"] for kwargs in asked_for] == [four_bit]


def test_over_the_unquantised_base_a_qlora_adapter_is_folded(saved_qlora):
    expected = Labeler.from_pretrained(saved_qlora, device="cpu", precision="fp32", merge=False)
    folded = Labeler.from_pretrained(saved_qlora, device="cpu", precision="fp32", merge=True)
    assert_same(folded, expected, atol=1e-4)
    assert has_adapter(folded.model.backbone)
    assert not any(hasattr(module, "lora_A") for module in folded.model.backbone.modules())


def test_weights_in_4_bits_are_not_folded(base):
    labeler = tiny_labeler(base)
    labeler.config = replace(labeler.config, adapter="qlora")
    labeler.model.backbone.get_base_model().is_quantized = True
    fold_adapter(labeler.model.backbone)
    assert not any(getattr(module, "merged", False) for module in labeler.model.backbone.modules())
    with pytest.raises(ModelError, match="4 bits cannot be merged"):
        merge_labeler(labeler)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_merging_takes_the_unquantised_base(saved_qlora, asked_for, monkeypatch, tmp_path, precision):
    monkeypatch.setattr(saving, "has_four_bits", lambda: True)
    merge_to_folder(str(saved_qlora), tmp_path / "merged", precision=precision, tolerance=1.0)
    assert [kwargs["four_bit"] for kwargs in asked_for] == [False]


def test_a_merge_that_changes_too_much_writes_nothing(saved, tmp_path):
    with pytest.raises(ModelError, match="merging in fp32 changes"):
        merge_to_folder(str(saved), tmp_path / "merged", tolerance=0.0)
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("kind", ["full", "head"])
def test_nothing_to_merge(base, kind):
    with pytest.raises(ModelError, match="nothing to merge"):
        merge_labeler(tiny_labeler(base, adapter=kind))


# How a folder can be broken, and what the message must name.


def _missing(name):
    return lambda folder: (folder / name).unlink()


def _truncated(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


def _garbage(name):
    return lambda folder: (folder / name).write_text("{ not json", encoding="utf-8")


def _config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def _wrong_head(folder):
    save_file({"weight": torch.zeros(3, 32), "bias": torch.zeros(3)}, folder / "head.safetensors")


def _pickle_only(folder):
    (folder / "adapter" / "adapter_model.safetensors").unlink()
    (folder / "adapter" / "adapter_model.bin").write_bytes(pickle.dumps({"lora": 1}))


def _adapter_of_another_shape(folder):
    file = folder / "adapter" / "adapter_model.safetensors"
    save_file({name: torch.zeros(2, 2) for name in load_file(file)}, file)


def _adapter_of_other_names(folder):
    file = folder / "adapter" / "adapter_model.safetensors"
    save_file({name.replace("q_proj", "no_proj"): value for name, value in load_file(file).items()}, file)


BROKEN = {
    "missing config": (_missing("config.json"), "config.json"),
    "garbage config": (_garbage("config.json"), "config.json"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "config.json"),
    "config is not UTF-8": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe{}"), "config.json"),
    "deep config": (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json"),
    "another model's config": (_config(model_type="llama"), "config.json"),
    "newer format": (_config(format_version=2), "format version 2"),
    "no format": (_config(format_version=None), "format_version is None"),
    "no plan": (_config(plan=None), "config.json"),
    "impossible plan": (_config(plan="0123"), "config.json"),
    "plan of another depth": (_config(plan="0,0,0,0,0,0", num_hidden_layers=6), "6 layers"),
    "no tags": (_config(id2label=None), "config.json"),
    "unknown scheme": (_config(scheme="BILOU2"), "config.json"),
    "unknown label_on": (_config(label_on="middle"), "config.json"),
    "unknown adapter": (_config(adapter="ia3"), "config.json"),
    "no room": (_config(max_tokens=0), "config.json"),
    "wrong base": (_config(base_fingerprint="0" * 16), "fingerprint"),
    "base not there": (_config(base="./no/such/model"), "no/such/model"),
    "missing head": (_missing("head.safetensors"), "head.safetensors"),
    "truncated head": (_truncated("head.safetensors"), "head.safetensors"),
    "wrong head": (_wrong_head, "head.safetensors"),
    "more tags than the head": (_config(id2label={str(i): f"B-{i}" for i in range(9)}), "head.safetensors"),
    "missing adapter": (_missing("adapter/adapter_model.safetensors"), "adapter"),
    "truncated adapter": (_truncated("adapter/adapter_model.safetensors"), "adapter"),
    "pickled adapter only": (_pickle_only, "adapter_model.safetensors"),
    "adapter of another shape": (_adapter_of_another_shape, "adapter"),
    "adapter of other names": (_adapter_of_other_names, "adapter"),
    "missing adapter config": (_missing("adapter/adapter_config.json"), "adapter"),
    "garbage adapter config": (_garbage("adapter/adapter_config.json"), "adapter"),
    "garbage tokenizer": (_garbage("tokenizer.json"), "/saved'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_refused_by_name(case, saved):
    spoil, named = BROKEN[case]
    spoil(saved)
    with pytest.raises(LookbothError) as caught:
        Labeler.from_pretrained(saved, device="cpu", precision="fp32", merge=False)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_no_pickle_is_ever_opened(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    _pickle_only(saved)
    for name in ("adapter/adapter_model.bin", "head.bin", "pytorch_model.bin"):
        (saved / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError):
        Labeler.from_pretrained(saved)
    assert not (tmp_path / "sprung").exists()


def test_another_base_of_the_same_shape_is_refused(base, tmp_path, monkeypatch):
    tiny_labeler(base).save_pretrained(tmp_path / "saved")
    other = save_tiny_model(tmp_path / "other", "llama", seed=1)
    monkeypatch.setitem(BUILTIN, "tiny-llama", SimpleNamespace(folder=lambda name: other, licence="MIT"))
    with pytest.raises(ModelError, match="fingerprint"):
        Labeler.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("name", ["./nothing-here", "/nothing/here", "nobody-here/no-model", "nothing"])
def test_names_of_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        Labeler.from_pretrained(name)


def test_half_size_adapters_stay_close(base, tmp_path):
    labeler = tiny_labeler(base)
    labeler.save_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    loaded = Labeler.from_pretrained(tmp_path / "half", device="cpu", precision="fp32", merge=False)
    assert_same(labeler, loaded, atol=0.2)


def test_a_base_that_has_moved_can_be_named(tiny_llama_folder, tmp_path, monkeypatch):
    moved = shutil.copytree(tiny_llama_folder, tmp_path / "moved")
    monkeypatch.setitem(
        BUILTIN, "gone", SimpleNamespace(folder=lambda name: tiny_llama_folder, licence="MIT")
    )
    labeler = tiny_labeler("gone", plan="0011")
    labeler.save_pretrained(tmp_path / "saved")
    monkeypatch.delitem(BUILTIN, "gone")
    assert_same(labeler, Labeler.from_pretrained(tmp_path / "saved", precision="fp32", base=str(moved)))
    other = save_tiny_model(tmp_path / "other", "llama", seed=1)
    with pytest.raises(ModelError, match="fingerprint"):
        Labeler.from_pretrained(tmp_path / "saved", base=str(other))


def test_what_is_pushed_to_the_hub_loads_from_it_by_name(base, tmp_path, monkeypatch):
    """The Hub is played by a folder: what is uploaded under a name is what a download of that name gives."""
    import huggingface_hub

    hub = tmp_path / "hub"

    class FakeApi:
        def create_repo(self, name, *, private, exist_ok):
            (hub / name).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(self, *, repo_id, folder_path):
            shutil.copytree(folder_path, hub / repo_id, dirs_exist_ok=True)
            return f"https://hub/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(hub / name))
    labeler = tiny_labeler(base, plan="0011")
    assert labeler.push_to_hub("me/tagger") == "https://hub/me/tagger"
    assert_same(labeler, Labeler.from_pretrained("me/tagger", precision="fp32", merge=False))


def test_a_shipped_name_means_a_folder_only_if_that_is_a_labeler(tmp_path, tiny_llama_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast").mkdir()
    assert find_folder("fast") == SHIPPED_LABELERS["fast"]
    tiny_labeler(tiny_llama_folder).save_pretrained(tmp_path / "fast")
    assert find_folder("fast") == Path("fast")
