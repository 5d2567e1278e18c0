"""The twins: their recipes parse, nothing but objective and plan differs, the sizes and the power are what is said."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import RobertaForMaskedLM

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FOLDER, COMMITTED = EXPERIMENTS / "twins", EXPERIMENTS / "results" / "twins" / "tiny"
NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def twins():
    sys.path.insert(0, str(FOLDER))
    import twins

    yield twins
    sys.path.remove(str(FOLDER))


@pytest.fixture
def power(twins):
    import power

    return power


@pytest.fixture
def report(twins):
    from twin_report import report

    return report


def settings_of(name):
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["tiny", "small", "night", "paper"])
def test_the_objective_and_its_plan_are_all_that_differs(twins, name):
    settings = settings_of(name)
    total = settings["pretraining"]["adaptation"]["steps"]
    recipes = {}
    for twin, stages in twins.TWINS.items():
        configs = [twins.pretraining_recipe(settings, stage, NOWHERE) for stage in stages]
        assert sum(config.adaptation.steps for config in configs) in (total, 0)
        recipes[twin] = configs
    clm, mlm = recipes["CLM"][0], recipes["MLM"][0]
    assert clm.adapter.kind == "full"
    changed = clm.adaptation.model_copy(update={"objective": "mlm", "plan": "full"})
    assert clm.model_copy(update={"adaptation": changed}) == mlm
    for task in settings["tasks"]:
        causal, full = (twins.labeling_recipe(settings, task, plan, NOWHERE) for plan in twins.PLANS)
        assert causal.model_copy(update={"plan": "full"}) == full
        assert (causal.adaptation, causal.data.train) == (None, (task,))


@pytest.mark.parametrize(("name", "millions"), [("tiny", 0.35), ("small", 2.3), ("night", 9), ("paper", 68)])
def test_the_sizes(twins, name, millions):
    settings = settings_of(name)
    with torch.device("meta"):
        model = RobertaForMaskedLM(twins.shape(settings, settings["vocab_size"]))
    assert model.num_parameters() / 1e6 == pytest.approx(millions, rel=0.01 if millions > 10 else 0.1)


def test_the_tokenizer_marks_masks_and_gives_decoders_a_first_token(twins):
    tokenizer = twins.train_tokenizer(["the quick brown fox", "the lazy dog"] * 5, 300)
    assert tokenizer.mask_token_id == 4
    assert tokenizer("the dog")["input_ids"][0] == tokenizer.bos_token_id == 0
    assert tokenizer.pad_token_id == 1


def test_the_report_has_what_is_finished(twins, report, tmp_path):
    settings = settings_of("tiny")
    whole = report(settings, COMMITTED)
    assert whole == (COMMITTED / "table.md").read_text(encoding="utf-8")
    assert whole.startswith("32 of 32 fine-tunings are finished (2 seeds, 2 tasks).")
    assert "| CLM | 94.9 ± 0.1 | 94.6 ± 0.6 | -0.3 (-5.8 to +5.3) | not measured | 2 |" in whole
    assert report(settings, tmp_path).startswith("0 of 32")
    shutil.copytree(COMMITTED, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "clm" / "mams_absa" / "full" / "seed-1")
    (tmp_path / "mlm" / "mams_absa" / "sentences-seed-0.json").write_text(
        json.dumps({"difference": 1.0, "low": -1.0, "high": 2.92}), encoding="utf-8"
    )
    partial = report(settings, tmp_path)
    assert partial.startswith("31 of 32")
    # The seed that lacks one of both plans does not count.
    assert partial.count(" | 1 |\n") == 1
    assert "| -1.0 to +2.9 | 2 |" in partial
    assert "| 500 | 2.8 |" in partial


def test_a_stage_is_kept_at_once_and_never_trained_twice(twins, tmp_path, monkeypatch):
    settings = settings_of("tiny")
    calls, kept = [], []
    out, results = tmp_path / "out", tmp_path / "results"

    def write(folder, twin):
        calls.append(folder)
        folder.mkdir(parents=True)
        shutil.copy(COMMITTED / twin / "run.json", folder)
        row = {"split": "test:x", "words": ["a"], "gold": [span(0)], "predicted": [span(len(calls) % 2)]}
        (folder / "predictions.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")

    monkeypatch.setattr(twins, "make_start", lambda settings, seed, folder: folder)
    monkeypatch.setattr(twins, "adapt", lambda config, out: write(out, "clm/pretraining-0-clm/seed-0"))
    monkeypatch.setattr(
        twins, "train", lambda config, out: write(out / "seed-0", "clm/mams_absa/causal/seed-0")
    )

    def done():
        twins.write_results(settings, out, results)
        kept.append(sum(1 for _ in results.rglob("run.json")))

    for _ in range(2):
        twins.run_seed(settings, 0, out / "seed-0", done)
    assert len(calls) == 4 + 4 * 2 * 2
    assert kept == [*range(1, 21), *[20] * 20]
    committed = {file.relative_to(COMMITTED) for file in COMMITTED.rglob("seed-0/run.json")}
    assert {file.relative_to(results) for file in results.rglob("run.json")} == committed
    compared = json.loads((results / "none" / "mams_absa" / "sentences-seed-0.json").read_text())
    assert abs(compared["difference"]) == 100
    assert "16 of 32" in (results / "table.md").read_text(encoding="utf-8")


def span(start):
    return {"start": start, "end": start + 1, "label": "x"}


def test_results_of_another_run_are_not_overwritten(twins, tmp_path, monkeypatch, capsys):
    arguments = ["twins.py", str(FOLDER / "tiny.toml"), "--out", str(tmp_path / "new")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        twins.main()
    assert "--results DIR" in capsys.readouterr().err


def test_power_is_that_of_simulated_tests(power):
    """Of the t-tests on drawn differences with the detectable mean, 80 % find it."""
    least = power.detectable_difference(2.0, 3)
    rng = np.random.default_rng(0)
    found = stats.ttest_1samp(rng.normal(least, 2.0, (20_000, 3)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert power.power_of(0.0, 2.0, 3) == pytest.approx(0.05, abs=1e-3)
    # Where scipy's noncentral t distribution returns NaN.
    assert power.power_of(1000.0, 1.0, 2) == pytest.approx(1.0, abs=1e-2)
    assert power.pooled_sd([[1.0], []]) is None
    # Equal differences have no spread, so any effect is found.
    assert power.detectable_difference(0.0, 3) == 0
    assert power.power_of(0.1, 0.0, 3) == 1
