"""Two processes train what one would have trained, and go on with what the other began."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from test_trainer import assert_equal_weights, right_word_decides
from tiny import tiny_config, tiny_tokenizer
from together import (
    FSDP,
    OTHER,
    PLAIN,
    PLANS,
    STOPPED_AT,
    command,
    make_labeler,
    probabilities,
    run,
    shard_on_cpus,
)
from transformers import AutoModelForCausalLM

from lookboth.data.schemes import encode_spans
from lookboth.labelers.labeler import Labeler
from lookboth.training.checkpoints import is_sharded, load_weights

RECIPE = """
model = {model}
plan = "0011"
data.train = {data}
adapter.rank = 4
training = {{ epochs = 2, lr = 5e-3, batch_tokens = 128, precision = "fp32", head_dropout = 0.0, seeds = [0] }}
"""


WORKER = Path(__file__).with_name("together.py")


def environment() -> dict[str, str]:
    """What the processes need to find these tests."""
    path = os.pathsep.join([str(WORKER.parent), str(WORKER.parent.parent), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def save_language_model(folder: Path) -> None:
    tokenizer = tiny_tokenizer("byte-bos")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(tiny_config("llama", len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_data(folder: Path) -> None:
    folder.mkdir()
    for seed, (split, number) in enumerate({"train": 40, "dev": 15, "test": 15}.items()):
        sentences = [
            "\n".join(map("\t".join, zip(e.words, encode_spans(e.spans, len(e.words), "IOB2"), strict=True)))
            for e in right_word_decides(number, seed)
        ]
        (folder / f"{split}.conll").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def launched(tiny_llama_folder, tmp_path_factory):
    """What two processes wrote and said; one process has begun a run for them."""
    folder = tmp_path_factory.mktemp("together")
    write_data(folder / "data")
    save_language_model(folder / "model")
    recipe = RECIPE.format(model=json.dumps(str(folder / "model")), data=json.dumps(str(folder / "data")))
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    assert run("begun by one", folder, tiny_llama_folder, stop_at=STOPPED_AT) is None
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    torchrun += [str(WORKER), str(folder), str(tiny_llama_folder)]
    done = subprocess.run(torchrun, env=environment(), capture_output=True, text=True, timeout=600)
    return SimpleNamespace(folder=folder, out=done.stdout, err=done.stderr, status=done.returncode)


def best_weights(folder: Path, name: str) -> dict:
    return load_file(folder / name / "best.safetensors")


@pytest.fixture
def alone_with_shards(monkeypatch):
    """Make this process the only one of a group that trains sharded weights; it then has the only shard."""
    alone = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    for name, value in (alone | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"} | FSDP).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(AcceleratorState, "__init__", AcceleratorState.__init__)
    shard_on_cpus()
    yield
    dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)


def test_sharded_weights_of_two_processes_go_on_in_one(
    alone_with_shards, launched, tiny_llama_folder, tmp_path, monkeypatch
):
    name = "sharded by two"
    labeler = run(name, launched.folder, tiny_llama_folder)
    assert is_sharded(labeler.model)
    assert scores_of(launched, name) == [1, 2, 11, 12]
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    run(name, tmp_path, tiny_llama_folder)
    assert_equal_weights(best_weights(launched.folder, name), best_weights(tmp_path, name), atol=2e-5)


@pytest.mark.parametrize("name", [*PLAIN, "sharded"])
def test_the_same_weights_as_from_one_process(name, launched, tiny_llama_folder, tmp_path):
    if name == "begun by two":
        run(name, launched.folder, tiny_llama_folder)
    assert (launched.folder / name / "best.safetensors").is_file(), launched.err
    run(name, tmp_path, tiny_llama_folder)
    assert_equal_weights(best_weights(launched.folder, name), best_weights(tmp_path, name), atol=2e-5)


@pytest.mark.parametrize("plan", PLANS)
def test_each_layer_of_sharded_weights_looks_as_far_as_its_plan_says(plan, launched, tiny_llama_folder):
    labeler = make_labeler("sharded", tiny_llama_folder)
    load_weights(labeler.model, launched.folder / "sharded" / "best.safetensors")
    expected = probabilities(labeler, plan)
    for rank in (0, 1):
        with np.load(launched.folder / f"sharded {rank}.npz") as found:
            np.testing.assert_allclose(found[plan], expected, atol=1e-5)
            assert all(np.abs(found[other] - expected).max() > 1e-3 for other in PLANS if other != plan)


@pytest.mark.parametrize("name", ["begun by one", "begun by two"])
def test_a_run_went_on_where_it_was(name, launched):
    assert scores_of(launched, name) == [1, 2, 11, 12]


def scores_of(launched, name: str) -> list[int]:
    history = json.loads((launched.folder / name / "history.json").read_text())
    assert sorted(set(history["steps"])) == history["steps"]
    return [round(100 * score) for score in history["scores"]]


def test_the_command_writes_one_run_and_says_it_once(launched):
    folder = launched.folder / "by command" / "seed-0"
    assert json.loads((folder / "run.json").read_text())["machine"]["processes"] == 2
    assert len((folder / "predictions.jsonl").read_text().splitlines()) == 30
    assert launched.out.count(f"labeler: {folder}") == 1
    assert launched.out.count("token accuracy") == 5  # dev and test with and without shards, dev of "sift"
    labeler = Labeler.from_pretrained(folder / "labeler", device="cpu", precision="fp32", merge=False)
    assert len(labeler.predict("the quick near house")) == 1


@pytest.mark.parametrize("name", OTHER)
def test_other_trainings_are_shared_as_well(name, launched, tmp_path, monkeypatch):
    (tmp_path / "recipe.toml").write_text((launched.folder / "recipe.toml").read_text())
    verb, settings = OTHER[name]
    monkeypatch.setattr("sys.argv", [])
    command(tmp_path, name, verb=verb, settings=settings)
    (expected,), (found,) = (
        sorted((f / name).rglob("best.safetensors")) for f in (tmp_path, launched.folder)
    )
    assert_equal_weights(load_file(found), load_file(expected), atol=2e-5)


def test_the_command_with_shards_predicts_the_same(launched):
    def spans(name):
        lines = (launched.folder / name / "seed-0" / "predictions.jsonl").read_text().splitlines()
        return [[(s["start"], s["end"], s["label"]) for s in json.loads(line)["predicted"]] for line in lines]

    assert spans("by command sharded") == spans("by command")


def test_an_error_of_the_first_process_reaches_all(launched):
    for rank in (0, 1):
        assert f"process {rank} heard: only the first process knows" in launched.out


def test_a_killed_process_ends_the_run_with_its_name(launched):
    assert launched.status != 0
    assert "local_rank: 1" in launched.err
    assert "SIGKILL" in launched.err or "exitcode: -9" in launched.err
