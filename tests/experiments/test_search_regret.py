"""Regret of searches against a made-up truth: the arithmetic, and what is left out."""

import importlib.util
import json
import sys
from pathlib import Path
from statistics import fmean

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def regret(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "reporting"))
    spec = importlib.util.spec_from_file_location("search_regret", ROOT / "experiments" / "search_regret.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "search_regret", module)
    spec.loader.exec_module(module)
    return module


def test_regret_is_what_the_best_plan_had_more(regret, tmp_path, monkeypatch, capsys):
    from fake_study import sentences, write_one, write_study
    from numpy.random import default_rng

    from lookboth.masking.plan import group_plans
    from lookboth.reporting.results import read_results
    from lookboth.run_folder import RunFolder
    from lookboth.search.evidence import Evidence, PlanScore

    truth = write_study(tmp_path / "truth", datasets=("ner",), num_seeds=2)
    rng = default_rng(1)
    splits = {"dev": sentences(30, rng), "test:ner": sentences(60, rng)}
    reached = []
    for seed in (0, 1):
        folder = tmp_path / "searches" / "ner" / "shared" / f"seed-{seed}"
        keys = {
            "method": "search",
            "data": {"train": "made"},
            "study": {"name": "s", "data": "ner", "method": "shared"},
        }
        write_one(folder, keys, 0.5, seed, splits=splits)
        reached.append(json.loads((folder / "run.json").read_text())["scores"]["test:ner"]["headline"])
        means = {r.method: r.test_mean.mean for r in read_results(truth).data[0].results}
        scores = [
            PlanScore(plan.spelled_out(), bits, means[bits] - 0.2, [])
            for plan, bits in zip(group_plans(4, 8), sorted(m for m in means if m.isdigit()), strict=True)
        ]
        ranked = sorted(scores, key=lambda score: -score.score)
        repeated = PlanScore(next(group_plans(4, 8)).spelled_out(), "causal+sr1", 0.99, [], repetition=1)
        evidence = Evidence(
            "shared", [*ranked, repeated], [ranked[0].name], ranked[0].plan, ranked[0].name, 10.0, 20.0
        )
        RunFolder(folder).evidence.write_text(json.dumps(evidence.to_dict()))
    best = max(score for method, score in means.items() if method.isdigit())
    argv = [
        "x",
        "--truth",
        str(truth),
        "--searches",
        str(tmp_path / "searches"),
        "--out",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr(sys, "argv", argv)
    regret.main()
    rows = {
        line.split("|")[2].strip(): [cell.strip() for cell in line.split("|")[3:-1]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| ner")
    }
    assert rows["shared"][0] == "1.50"
    assert rows["shared"][2] == f"{100 * (best - fmean(reached)):.1f}"
    assert rows["shared"][4] == "1.00"  # the search ranked the plans as the truth does
    assert rows["always causal"][2] == f"{100 * (best - means['0000']):.1f}"
    assert rows["all trained, one seed, best on dev"][0] == "16.00"
    assert rows["all trained, 2 seeds, best on dev"][0] == "32.00"
    assert rows["upper half and middle trained, best on dev"][0] == "2.00"
    assert len(rows) == 10
    assert (tmp_path / "out" / "regret.csv").read_text().count("\n") == 11
