"""Generative labelers of every adapter: merged, trained from an adapter, trained whole."""

import pytest
import torch

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, ModelError
from lookboth.generative.generative_building import build_generative
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.labelers.merging import merge_to_folder
from lookboth.training.continuation import continued
from lookboth.training.training_runs import adapt, train
from lookboth.types import Example, Span

POOL = [Example(("Ada", "in", "York"), (Span(0, 1, "PER"), Span(2, 3, "LOC"))), Example(("the", "fox"))]
TEXTS = ["Ada went to York", "the fox", "nobody"]


def recipe(folder, *overrides, train="x"):
    return parse_config(
        {
            "model": str(folder), "method": "sift", "data": {"train": str(train), "test": []},
            "training": {"precision": "fp32", "epochs": 1, "batch_tokens": 512},
            "generative": {"k": 1}, "adapter": {"rank": 2},
        },
        overrides,
    )  # fmt: skip


def with_trained_pairs(folder):
    labeler = build_generative(recipe(folder), labels=["LOC", "PER"], pool=POOL, seed=0, device="cpu")
    torch.manual_seed(0)
    for name, parameter in labeler.model.language.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return labeler


def test_a_merged_labeler_answers_as_before(tiny_writer_folder, tmp_path):
    labeler = with_trained_pairs(tiny_writer_folder)
    before = labeler.predict(TEXTS)
    labeler.save_pretrained(tmp_path / "lora")
    modes = {file.stat().st_mode for file in (tmp_path / "lora").rglob("*") if file.is_file()}
    assert len(modes) == 1  # safetensors makes its files for their owner alone
    said = merge_to_folder(str(tmp_path / "lora"), tmp_path / "merged")
    assert "largest change of a token probability" in said
    assert not (tmp_path / "merged" / "adapter").exists()
    merged = GenerativeLabeler.from_pretrained(tmp_path / "merged", device="cpu", precision="fp32")
    assert merged.config.adapter == "merged"
    assert [[s[:3] for s in p.spans] for p in merged.predict(TEXTS)] == [
        [s[:3] for s in p.spans] for p in before
    ]
    with pytest.raises(
        ModelError, match="nothing to merge: this labeler was trained with adapter = 'merged'"
    ):
        merge_to_folder(str(tmp_path / "merged"), tmp_path / "again")


def test_a_merge_that_changes_too_much_writes_nothing(tiny_writer_folder, tmp_path):
    with_trained_pairs(tiny_writer_folder).save_pretrained(tmp_path / "lora")
    with pytest.raises(ModelError, match="changes a token probability by"):
        merge_to_folder(str(tmp_path / "lora"), tmp_path / "merged", tolerance=-1.0)
    assert not (tmp_path / "merged").exists()


@pytest.fixture
def data(tmp_path):
    for split in ("train", "dev"):
        rows = [f"Ada B-PER\nin O\n{place} B-LOC\n" for place in ("York", "Rome")]
        (tmp_path / f"{split}.conll").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_training_starts_from_a_saved_adapter(tiny_writer_folder, data, tmp_path):
    """Of a generative labeler, or of an adaptation."""
    labeler = with_trained_pairs(tiny_writer_folder)
    labeler.save_pretrained(tmp_path / "first")
    started = build_generative(
        recipe(tiny_writer_folder, f"adapter.start_from={tmp_path / 'first'}"),
        labels=["LOC", "PER"], pool=POOL, seed=0, device="cpu",
    )  # fmt: skip
    assert started.predict(TEXTS) == labeler.predict(TEXTS)
    raw = recipe(tiny_writer_folder, "adaptation.objective=clm", "adaptation.steps=1", train=data)
    adapt(raw, tmp_path / "adapted")
    (run,) = train(
        recipe(tiny_writer_folder, f"adapter.start_from={tmp_path / 'adapted'}", train=data), tmp_path / "run"
    )
    assert (run.folder / "run.json").is_file()


def test_full_weights_are_adapted_then_trained_then_saved(tiny_writer_folder, data, tmp_path):
    full = "adapter={kind = 'full'}"
    raw = recipe(tiny_writer_folder, full, "adaptation.objective=clm", "adaptation.steps=1", train=data)
    adapt(raw, tmp_path / "adapted")
    (run,) = train(recipe(tmp_path / "adapted" / "backbone", full, train=data), tmp_path / "run")
    loaded = GenerativeLabeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32")
    assert loaded.predict(TEXTS) == run.labeler.predict(TEXTS)
    with pytest.raises(ModelError, match="adapter = 'full'"):
        merge_to_folder(str(run.folder / "labeler"), tmp_path / "merged")


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_labeler_is_trained_further(tiny_writer_folder, data, tmp_path, kind):
    adapter = "adapter={kind = 'full'}" if kind == "full" else "adapter.rank=2"
    (first,) = train(recipe(tiny_writer_folder, adapter, "training.lr=0.01", train=data), tmp_path / "first")
    start = {"start": {"labeler": str(first.folder / "labeler")}, "data": {"train": str(data), "test": []}}
    config = continued(parse_config(start | {"training": {"precision": "fp32", "epochs": 1, "lr": 1e-9}}))
    assert (config.method, config.generative.k, config.adapter.kind) == ("sift", 1, kind)
    more = tmp_path / "more"
    more.mkdir()
    for split in ("train", "dev"):
        (more / f"{split}.conll").write_text("Toyota B-ORG\nin O\nYork O\n", encoding="utf-8")
    further = config.model_copy(update={"data": config.data.model_copy(update={"train": (str(more),)})})
    (run,) = train(further, tmp_path / "second")
    assert run.labeler.config.labels == ("LOC", "ORG", "PER")
    old, new = (dict(one.labeler.model.language.named_parameters()) for one in (first, run))
    assert old.keys() == new.keys()
    # The rate is too small to change a weight.
    assert all(torch.allclose(old[name], new[name], atol=1e-5) for name in old)
    with pytest.raises(ConfigError, match="it generates its labels"):
        continued(parse_config(start | {"method": "classifier"}))


def test_an_untrained_labeler_is_not_trained_further(tiny_writer_folder, tmp_path):
    config = recipe(tiny_writer_folder, "method=icl")
    build_generative(config, labels=["PER"], pool=POOL, seed=0, device="cpu").save_pretrained(tmp_path)
    start = {"start": {"labeler": str(tmp_path)}, "data": {"train": "x"}}
    with pytest.raises(ModelError, match="nothing was trained"):
        continued(parse_config(start))
