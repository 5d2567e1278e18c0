"""Studies: what is run, what dev data chooses, and that a killed study comes to the same table."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree
from unittest.mock import Mock

import psutil
import pytest
import torch

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, DataError
from lookboth.progress import progress_to
from lookboth.study import worker_pool
from lookboth.study.cell_run import run_cell
from lookboth.study.cells import Cell, study_settings
from lookboth.study.config import StudyConfig, load_study
from lookboth.study.runner import run_study, threads_per_worker
from lookboth.study.study_progress import Board, estimate_seconds, method_rows
from lookboth.study.study_state import StudyState
from lookboth.training.splits import data_settings, read_splits

ROOT = Path(__file__).parent.parent.parent
WORDS = ("Ada", "Lovelace", "lived", "in", "London")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = "\n".join(f"{word} {'B-LOC' if word == 'London' else 'O'}" for word in WORDS)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.conll").write_text((rows + "\n\n") * 8, encoding="utf-8")
    return folder


def values(model, data, **more):
    return {
        "name": "small",
        "seeds": [0, 1],
        "recipe": {
            "model": str(model),
            "adapter": {"rank": 2},
            "training": {"epochs": 1, "precision": "fp32", "batch_tokens": 32},
        },
        "datasets": {"towns": {"data": {"train": [str(data)]}}},
        "methods": {"causal": {"plan": "causal"}, "full": {"plan": "full"}},
        **more,
    }


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=sift", "generative.open_labels=true", "labels.LOC='a town'"],
        ["method=sift", "generative.open_labels=true", "generative.pool='{data}'"],
        ["method=sift", "generative.pool='{data}'"],
        ["head.kind=open", "labels.LOC='a town'"],
        ["data.annotated={{'{data}' = ['LOC', 'PER']}}"],
        ["training.folds=2"],
        ["data.max_train_sentences=3", "data.sample_seed=1"],
        ["data.label_map.LOC='GPE'"],
    ],
)
def test_cells_read_the_data_that_a_training_reads(data, overrides):
    one = parse_config({"data": {"train": str(data)}})
    other = parse_config({"data": {"train": str(data)}}, [text.format(data=data) for text in overrides])
    assert read_splits(data_settings(other)) == read_splits(other) != read_splits(one)
    assert data_settings(other) != data_settings(one)


def test_cells_with_the_same_data_share_them(data):
    ways = ["plan=full", "training.lr=1e-4", "adapter.rank=2", "model=gemma3-270m", "training.seeds=[3]"]
    recipes = [parse_config({"data": {"train": str(data)}}, [way]) for way in ways]
    recipes.append(parse_config({"data": {"train": str(data)}}, ["repetition=1", "prefix_each_copy=true"]))
    assert len({data_settings(recipe).model_dump_json() for recipe in recipes}) == 1


def run(study, out):
    lines = []
    with progress_to(lines.append):
        state = run_study(StudyConfig.model_validate(study), out, workers=1)
    assert not state.failed, state.failed
    return state, lines


def scores(out):
    files = [file for file in sorted(Path(out).rglob("run.json")) if "tuning" not in file.parts]
    return {str(file.parent.relative_to(out)): json.loads(file.read_text())["scores"] for file in files}


def test_a_study_runs_once_and_adds_what_is_new(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data)
    state, lines = run(study, tmp_path)
    assert len(state.scores) == 4
    assert sum("dev" in line for line in lines) == 4
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("run.json")}
    study["methods"]["0011"] = {"plan": "top:1"}
    state, lines = run(study, tmp_path)
    assert sum("dev" in line for line in lines) == 2
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    stored = json.loads((tmp_path / "towns" / "0011" / "seed-1" / "run.json").read_text())
    assert stored["config"]["study"] == {"name": "small", "data": "towns", "method": "0011"}
    assert parse_config(stored["config"]).to_dict() == stored["config"]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_changed_recipe_or_data_file_does_not_mix_with_old_runs(tiny_llama_folder, data, tmp_path):
    own, out = copytree(data, tmp_path / "data"), tmp_path / "out"
    study = values(tiny_llama_folder, own, seeds=[0])
    run(study, out)
    study["recipe"]["training"]["lr"] = 0.5
    with pytest.raises(DataError, match=r"differs in training\.lr"):
        run(study, out)
    del study["recipe"]["training"]["lr"]
    with (own / "train.conll").open("a", encoding="utf-8") as file:
        file.write("Rome B-LOC\n")
    with pytest.raises(DataError, match=r"run on other data \(train:.*train\.conll has changed since"):
        run(study, out)


def test_a_cut_run_file_is_named(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data, seeds=[0], methods={"full": {"plan": "full"}})
    run(study, tmp_path)
    (file,) = tmp_path.rglob("run.json")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"run\.json: not JSON .* the file was truncated"):
        run(study, tmp_path)


@pytest.fixture
def stopped(tiny_llama_folder, data, tmp_path):
    """A study whose only run was stopped after step 4 was scored and saved."""
    study = values(tiny_llama_folder, data, seeds=[0], methods={"full": {"plan": "full"}})
    study["recipe"]["training"] |= {"epochs": 3, "checkpoint_steps": 1}
    (setting,) = study_settings(StudyConfig.model_validate(study), tmp_path)
    cell = setting.final_cell(0, {})

    def stop(_):
        if "step 4:" in (cell.folder / "log.txt").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress_to(stop):
        run_cell(cell)
    return study, cell.folder


def test_an_unfinished_run_does_not_go_on_under_another_recipe(stopped, tmp_path):
    study, folder = stopped
    changed = copy.deepcopy(study)
    changed["recipe"]["training"]["lr"] = 0.5
    with pytest.raises(DataError, match=r"towns/full/seed-0: holds .* differs in training\.lr\)"):
        run(changed, tmp_path)
    assert not (folder / "run.json").exists()
    run(study, tmp_path)
    assert (folder / "log.txt").read_text().count("step 4:") == 1  # before it was stopped


def test_an_unfinished_run_of_an_unknown_recipe_goes_on(stopped, tmp_path):
    study, folder = stopped
    (folder / "recipe.json").unlink()
    run(study, tmp_path)
    assert (folder / "log.txt").read_text().count("step 4:") == 1  # before it was stopped


def test_a_run_that_trained_nothing_may_be_corrected(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data, seeds=[0], methods={"deep": {"exit_layer": 99}})
    state = run_study(StudyConfig.model_validate(study), tmp_path, workers=1)
    assert state.failed
    study["methods"]["deep"]["exit_layer"] = 2
    run(study, tmp_path)


@pytest.mark.parametrize(
    "search",
    [{"strategy": "shared", "groups": 2}, {"strategy": "halving", "candidates": ["causal+sr1", "0011+sr1"]}],
    ids=["plan", "repetition"],
)
def test_searches_stand_in_a_study_and_are_not_done_again(tiny_llama_folder, data, tmp_path, search):
    methods = {"searched": {"method": "search", "search": search}}
    study = values(tiny_llama_folder, data, seeds=[0], methods=methods)
    state, _ = run(study, tmp_path)
    (file,) = [file for file in tmp_path.rglob("run.json") if file.parent.name == "seed-0"]
    assert json.loads(file.read_text())["config"]["plan"] is not None  # the plan that was found
    before = file.stat().st_mtime_ns
    again, lines = run(study, tmp_path)
    assert again.scores == state.scores
    assert file.stat().st_mtime_ns == before
    assert not any("dev" in line for line in lines)


def test_a_run_from_before_a_key_was_invented_still_counts(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data, seeds=[0])
    run(study, tmp_path)
    for file in tmp_path.rglob("run.json"):
        stored = json.loads(file.read_text())
        del stored["config"]["repetition"], stored["config"]["training"]["clip"]
        file.write_text(json.dumps(stored))
    _, lines = run(study, tmp_path)
    assert lines == []


def test_values_are_chosen_by_dev_and_no_test_data_is_read_for_it(tiny_llama_folder, data, tmp_path):
    grid = {"training.lr": [1e-9, 0.05]}
    study = values(tiny_llama_folder, data, tune={"grid": grid, "seeds": [0]}, keep_labelers=True)
    study["methods"] = {"full": {"plan": "full"}}
    study["recipe"]["training"]["epochs"] = 6
    hidden = data.parent / "hidden.conll"
    shutil.move(data / "test.conll", hidden)
    try:
        only_tuning = {**study, "seeds": [0]}
        settings = study_settings(StudyConfig.model_validate(only_tuning), tmp_path)
        for cell in settings[0].tuning_cells:  # without test data there is nothing to leak
            run_cell(cell)
    finally:
        shutil.move(hidden, data / "test.conll")
    state, _ = run(study, tmp_path)
    stored = json.loads((tmp_path / "towns" / "full" / "seed-0" / "run.json").read_text())
    assert stored["config"]["training"]["lr"] == 0.05
    assert stored["config"]["study"]["tuned"] == "lr=0.05"
    trials = {name: score for name, score in state.scores.items() if name.startswith("tuning")}
    assert trials["tuning/towns/full/lr=0.05/seed-0"] > trials["tuning/towns/full/lr=1e-09/seed-0"]
    # The chosen tuning run is the reported run of its seed: same scores, not trained again.
    assert stored["scores"]["dev"]["headline"] == trials["tuning/towns/full/lr=0.05/seed-0"]
    log = (tmp_path / "towns" / "full" / "seed-0" / "log.txt").read_text()
    assert "step 1:" not in log
    assert any("test:" in name for name in stored["scores"])
    assert (tmp_path / "towns" / "full" / "seed-1" / "labeler" / "config.json").is_file()


def test_values_that_nobody_can_train_with_are_not_chosen(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data, seeds=[0], tune={"grid": {"training.lr": [1e30, 0.05]}})
    study["methods"] = {"full": {"plan": "full"}}
    state, lines = run(study, tmp_path)
    assert state.scores["tuning/towns/full/lr=1e+30/seed-0"] == -1
    assert any("diverged" in line for line in lines)
    assert any("diverged" in line and "It counts as the worst choice." in line for line in _logs(tmp_path))
    stored = json.loads((tmp_path / "towns" / "full" / "seed-0" / "run.json").read_text())
    assert stored["config"]["training"]["lr"] == 0.05
    _, lines = run(study, tmp_path)
    assert lines == []


def _logs(out):
    return [line for file in out.rglob("log.txt") for line in file.read_text().splitlines()]


def test_a_cell_that_fails_does_not_stop_the_others(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data, seeds=[0])
    study["methods"]["deep"] = {"exit_layer": 99}
    state = run_study(StudyConfig.model_validate(study), tmp_path, workers=1)
    assert list(state.failed) == ["towns/deep/seed-0"]
    assert "this model has" in state.failed["towns/deep/seed-0"]
    assert len(state.scores) == 2


def test_memory_that_runs_out_in_a_cell_is_one_message(monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
    monkeypatch.setattr("lookboth.study.cell_run.run_cell", Mock(side_effect=error))
    kind, text = worker_pool._run(Mock(), Mock(), threads=torch.get_num_threads())
    assert kind == "failed"
    assert text.startswith("CUDA out of memory. Tried to allocate 2.00 GiB. In training, halve")


def test_a_killed_study_resumes_to_the_same_scores(tiny_llama_folder, data, tmp_path):
    study = values(tiny_llama_folder, data, tune={"grid": {"training.lr": [1e-3, 1e-2]}})
    study["recipe"]["training"] |= {"epochs": 3, "checkpoint_steps": 1}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(study, whole)
    file = tmp_path / "study.json"
    file.write_text(json.dumps(study))
    code = (
        "import json, sys; from lookboth.study.config import StudyConfig; "
        "from lookboth.study.runner import run_study; "
        "run_study(StudyConfig.model_validate(json.load(open(sys.argv[1]))), sys.argv[2], workers=1)"
    )
    for wanted in ("tuning/towns/causal/*/seed-0/training/history.json", "towns/causal/seed-1/log.txt"):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(file), str(killed)], start_new_session=True
        )
        deadline = time.monotonic() + 900  # seconds; it takes ten alone
        while not list(killed.glob(wanted)):
            assert process.poll() is None, "the study ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()  # the workers are not asked; they end because it is gone
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=300)
        assert not alive
    assert len(list(killed.rglob("run.json"))) < len(list(whole.rglob("run.json")))
    run(study, killed)
    assert scores(killed) == scores(whole)


def test_a_worker_that_dies_is_replaced(tiny_llama_folder, data, tmp_path, progress):
    study = StudyConfig.model_validate(values(tiny_llama_folder, data, seeds=[0]))
    import multiprocessing
    import threading

    def killer():
        while not list(tmp_path.rglob("log.txt")):
            time.sleep(0.02)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    state = run_study(study, tmp_path, workers=1)
    thread.join()
    assert any("died" in line for line in progress())
    assert not state.failed
    assert len(state.scores) == 2


@pytest.mark.parametrize(
    ("wanted", "done", "pool"),
    [
        (None, [], (6, 2)),  # two of the six wait for what is tuned
        (4, [], (4, 4)),
        (None, ["tuning/towns/full/lr=0.001/seed-0", "tuning/towns/full/lr=0.01/seed-0"], (4, 4)),
    ],
    ids=["all", "asked for", "some done"],
)
def test_workers_and_threads_are_for_all_runs_to_be_done(data, tmp_path, monkeypatch, wanted, done, pool):
    grid = {"training.lr": [1e-3, 1e-2]}
    study = StudyConfig.model_validate(
        values("m", data, seeds=[0, 1, 2, 3], tune={"grid": grid}, methods={"full": {"plan": "full"}})
    )
    seen, shown = [], []

    class Counted:
        def __init__(self, count, *, threads):
            seen.append((count, threads))

        __enter__ = __exit__ = lambda self, *_: None

    class Shown(Board):
        def __init__(self, name, state, workers):
            shown.append(workers)
            super().__init__(name, state, workers)

    monkeypatch.setattr("lookboth.study.runner.WorkerPool", Counted)
    monkeypatch.setattr("lookboth.study.runner.Board", Shown)
    monkeypatch.setattr("lookboth.study.runner._run_all", lambda *_: None)
    monkeypatch.setattr("lookboth.study.runner.default_workers", lambda: 16)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(Cell, "outcome", lambda cell: (0.5, 1.0) if str(cell) in done else None)
    run_study(study, tmp_path, workers=wanted)
    assert seen == [pool]
    assert shown == [pool[0]]


@pytest.mark.parametrize(("asked", "threads"), [(None, 4), ("1", 1), ("8", 4), ("0", 4), ("2,1", 4)])
def test_workers_share_the_cores_that_may_be_used(asked, threads, monkeypatch):
    """A container or a batch system may allow fewer cores than the machine has."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_per_worker(2) == threads


def test_the_grid(tmp_path):
    study = StudyConfig.model_validate(
        {
            "name": "s",
            "recipe": {"training": {"epochs": 1}},
            "models": {"a": {"model": "x/a"}, "b": {"model": "x/b"}},
            "datasets": {"ner": {"data": {"train": "wnut17"}}, "absa": {"data": {"train": "mams_absa"}}},
            "methods": {"first": {"plan": "causal", "label_on": "first"}, "encoder": {"model": "x/enc"}},
            "plans": 2,
        }
    )
    settings = study_settings(study, tmp_path)
    names = {setting.name for setting in settings}
    assert len(settings) == len(names) == 2 * 2 * 5 + 2
    assert {"a/ner/01", "b/absa/first", "ner/encoder"} <= names
    assert not any(name.endswith("/encoder") and name.count("/") == 2 for name in names)
    cell = next(s for s in settings if s.name == "b/absa/first").final_cell(7, {})
    assert (cell.config.model, cell.config.label_on, cell.config.training.seeds) == ("x/b", "first", (7,))
    assert cell.config.training.epochs == 1
    assert len(study_settings(study, tmp_path, only="a/ner/*")) == 5
    assert len(study_settings(study, tmp_path, only="a/ner/*, b/absa/00")) == 6
    for only in ("none/*", "a/ner/*, none/*", "A/NER/*", ""):
        with pytest.raises(ConfigError, match=r"matches none of the settings: a/ner/first, .* and 12 more"):
            study_settings(study, tmp_path, only=only)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metods": {}}, "unknown key 'metods'"),
        ({"datasets": {}}, "no data sets"),
        ({"methods": {}}, "nothing to compare"),
        ({"methods": {"a/b": {}}}, "cannot name a folder"),
        ({"tune": {"grid": {"training.lr": [1e-3]}}}, "fewer than two values"),
        (
            {"methods": {"m": {"tune": {"training.lr": [1e-3, 1e-4]}}}},
            "methods.m.tune has 2 combinations, .tune. has 1",
        ),
        (
            {"models": {"m": {"tune": {"training.lr": [1e-3, 1e-4]}}}},
            "models.m.tune has 2 combinations, .tune. has 1",
        ),
    ],
)
def test_a_wrong_study_file_says_what_is_wrong(change, message, tmp_path):
    lines = {"datasets": {"d": {"data": {"train": "wnut17"}}}, "methods": {"causal": {}}, **change}
    file = tmp_path / "study.toml"
    file.write_text("\n".join(f"{key} = {toml(value)}" for key, value in lines.items()))
    with pytest.raises(ConfigError, match=message):
        load_study(file)


def test_a_wrong_recipe_key_is_known_before_anything_runs(tmp_path):
    study = StudyConfig.model_validate(
        {"name": "s", "datasets": {"d": {"data": {"train": "wnut17"}}}, "methods": {"m": {"plann": "full"}}}
    )
    with pytest.raises(ConfigError, match=r"d/m: unknown key 'plann'. Did you mean 'plan'"):
        run_study(study, tmp_path)


def test_time_left_and_rows(tmp_path):
    study = StudyConfig.model_validate(
        {
            "name": "s",
            "seeds": [0, 1],
            "datasets": {"x": {"data": {"train": "wnut17"}}, "y": {"data": {"train": "wnut17"}}},
            "methods": {"slow": {"plan": "full"}, "quick": {"plan": "causal"}},
        }
    )
    state = StudyState(study_settings(study, tmp_path), study.seeds)
    assert estimate_seconds(state) == 0
    state.scores = {"x/slow/seed-0": 0.5, "x/quick/seed-0": 0.25, "x/quick/seed-1": 0.75}
    state.seconds = {"x/slow/seed-0": 100, "x/quick/seed-0": 10, "x/quick/seed-1": 30}
    # x/slow: one more at 100; y/slow: two as the method's 100; y/quick: two as the method's mean 20
    assert estimate_seconds(state) == 100 + 200 + 40
    state.failed = {"x/slow/seed-1": "no"}  # will not be run again
    assert estimate_seconds(state) == 200 + 40
    assert method_rows(state)["quick"] == {"x": "50.0 (2/2)", "y": ""}


def test_a_method_may_have_its_own_values_to_choose_from(tmp_path):
    study = StudyConfig.model_validate(
        {
            "name": "s",
            "tune": {"grid": {"training.lr": [1e-3, 2e-3]}},
            "datasets": {"x": {"data": {"train": "wnut17"}}},
            "methods": {"decoder": {}, "encoder": {"model": "m", "tune": {"training.lr": [1e-4, 3e-4]}}},
        }
    )
    rates = [
        [cell.config.training.lr for cell in setting.tuning_cells]
        for setting in study_settings(study, tmp_path)
    ]
    assert rates == [[1e-3, 2e-3], [1e-4, 3e-4]]


def test_a_model_may_have_its_own_values_to_choose_from(tmp_path):
    study = StudyConfig.model_validate(
        {
            "name": "s",
            "tune": {"grid": {"training.lr": [1e-3, 2e-3]}},
            "models": {
                "small": {"model": "a"},
                "large": {"model": "b", "tune": {"training.lr": [1e-4, 3e-4]}},
            },
            "datasets": {"x": {"data": {"train": "wnut17"}}},
            "methods": {"causal": {}, "bitfit": {"tune": {"training.lr": [5e-3, 7e-3]}}},
        }
    )
    rates = {
        setting.name: [cell.config.training.lr for cell in setting.tuning_cells]
        for setting in study_settings(study, tmp_path)
    }
    assert rates == {
        "small/x/causal": [1e-3, 2e-3],
        "small/x/bitfit": [5e-3, 7e-3],
        "large/x/causal": [1e-4, 3e-4],
        "large/x/bitfit": [5e-3, 7e-3],
    }


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(inner)}' for key, inner in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "recipes" / "studies").glob("*.toml")), ids=lambda file: file.stem
)
def test_every_shipped_study_is_a_grid_of_valid_recipes(file, tmp_path):
    study = load_study(file)
    settings = study_settings(study, tmp_path)
    assert len(settings) == len(study.combinations())
