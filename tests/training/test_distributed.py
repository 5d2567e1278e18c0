"""Two processes train what one would have trained, and go on with what the other began."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file
from test_trainer import assert_equal_weights, right_word_decides
from together import RUNS, STOPPED_AT, run

from lookboth.data.schemes import encode_spans
from lookboth.models.labeler import Labeler

RECIPE = """
model = {model}
plan = "0011"
data.train = {data}
adapter.rank = 4
training = {{ epochs = 2, lr = 5e-3, batch_tokens = 128, precision = "fp32", head_dropout = 0.0, seeds = [0, 1] }}
"""


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
    recipe = RECIPE.format(model=json.dumps(str(tiny_llama_folder)), data=json.dumps(str(folder / "data")))
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    assert run("begun by one", folder, tiny_llama_folder, stop_at=STOPPED_AT) is None
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(here / "together.py"), str(folder), str(tiny_llama_folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    return SimpleNamespace(folder=folder, out=done.stdout, err=done.stderr, status=done.returncode)


@pytest.mark.parametrize("name", RUNS)
def test_the_same_weights_as_from_one_process(name, launched, tiny_llama_folder, tmp_path):
    if name == "begun by two":
        found = run(name, launched.folder, tiny_llama_folder)
    else:
        assert (launched.folder / f"{name}.safetensors").is_file(), launched.err
        found = load_file(launched.folder / f"{name}.safetensors")
    assert_equal_weights(found, run(name, tmp_path, tiny_llama_folder), atol=2e-5)


@pytest.mark.parametrize("name", ["begun by one", "begun by two"])
def test_a_run_went_on_where_it_was(name, launched):
    history = json.loads((launched.folder / name / "history.json").read_text())
    assert [round(100 * score) for score in history["scores"]] == [1, 2, 11, 12]
    assert len(set(history["steps"])) == 4


def test_the_command_writes_one_run_and_says_it_once(launched):
    for seed in (0, 1):
        folder = launched.folder / "by command" / f"seed-{seed}"
        stored = json.loads((folder / "run.json").read_text())
        assert stored["seed"] == seed
        assert len((folder / "predictions.jsonl").read_text().splitlines()) == 30
        assert launched.out.count(f"labeler: {folder}") == 1
        labeler = Labeler.from_pretrained(folder / "labeler", device="cpu", precision="fp32")
        assert len(labeler.predict("the quick near house")) == 1
    assert launched.out.count("2 processes share each optimizer step") == 1


def test_an_error_of_the_first_process_reaches_all(launched):
    for rank in (0, 1):
        assert f"process {rank} heard: only the first process knows" in launched.out


def test_a_killed_process_ends_the_run_with_its_name(launched):
    assert launched.status != 0
    assert "local_rank: 1" in launched.err
    assert "SIGKILL" in launched.err or "exitcode: -9" in launched.err
