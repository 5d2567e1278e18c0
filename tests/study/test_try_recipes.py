"""Every recipe and study file parses into runs that its method supports; one of each kind runs on a tiny model."""

import json
from fnmatch import fnmatch

import pytest
from tiny_runs import RECIPES, all_runs, tiny_run

from lookboth.config import require_supported
from lookboth.training import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return dict(all_runs(tmp_path_factory.mktemp("out")))


def test_every_file_has_runs_that_its_methods_support(runs):
    files = {file.stem for file in RECIPES.rglob("*.toml")}
    assert {name.split("/")[0] for name in runs} == files
    for config in runs.values():
        require_supported(config)


@pytest.mark.parametrize(
    "name",
    [
        "wnut17_encoder",
        "icl",
        "llm_unmasking/*/roberta-base-locked-predict-only",
        "sift",
        "ls_llama_texts/llama-2-7b/*/ls-unllama-max",
        "open_ner_turbo",
    ],
)
def test_one_run_of_each_kind(runs, tmp_path, name):
    chosen = next(found for found in runs if fnmatch(found, name))
    # In fp32, because half precision is slow on many CPUs; `make try-recipes` keeps the precision of the recipe.
    tiny = tiny_run(runs[chosen], tmp_path)
    training = tiny.training.model_copy(update={"precision": "fp32"})
    (run,) = train(tiny.model_copy(update={"training": training}), tmp_path / "run")
    scores = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["scores"]
    assert {"dev", "test"} <= {key.partition(":")[0] for key in scores}
