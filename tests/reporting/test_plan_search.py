"""The part of a report about plan searches, over made-up evidence of two seeds."""

import json

import pytest
from fake_study import sentences, write_one
from numpy.random import default_rng
from wellformed import Wellformed

from lookboth.errors import DataError
from lookboth.masking.plan import group_plans
from lookboth.reporting.plan_search import read_searches, search_table, search_words
from lookboth.reporting.report import write_report
from lookboth.reporting.results import read_results
from lookboth.search.evidence import EVIDENCE_FILE, Evidence, PlanScore

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
PLANS = list(group_plans(2, 4))  # causal, 0011, 1100, full
POINTS = {"causal": 0.5, "0011": 0.7, "1100": 0.4, "full": 0.6}


def evidence(shift, chosen):
    scores = [
        PlanScore(
            plan.spelled_out(),
            str(plan),
            POINTS[str(plan)] + shift,
            [],
            (0.3, 0.8),
            2.0 if plan.is_causal else 4.0,
        )
        for plan in PLANS
    ]
    ranked = sorted(scores, key=lambda score: -score.score)
    (plan,) = [score.plan for score in scores if score.name == chosen]
    return Evidence("shared", ranked, ["0011", "full"], plan, chosen, 30.0, 20.0)


@pytest.fixture
def runs(tmp_path):
    rng = default_rng(0)
    splits = {"dev": sentences(6, rng), "test:made": sentences(6, rng)}
    for seed, (shift, chosen) in enumerate([(0.0, "0011"), (0.1, "full")]):
        folder = tmp_path / "runs" / f"seed-{seed}"
        keys = {"method": "search", "plan": "0011", "data": {"train": "made"}}
        write_one(folder, keys, 0.8, seed, splits=splits)
        text = json.dumps(evidence(shift, chosen).to_dict())
        (folder / EVIDENCE_FILE).write_text(text, encoding="utf-8")
    return tmp_path / "runs"


def test_seeds_are_read_together(runs):
    (search,) = read_searches(read_results(runs).data)
    assert search.plans() == ["0011", "full", "causal", "1100"]
    assert search.mean("0011").mean == pytest.approx(0.75)
    assert [search.speed(plan) for plan in ("causal", "full")] == [1, 0.5]
    assert search.layers() == pytest.approx([-0.1, -0.1, 0.2, 0.2])
    table = search_table(search)
    assert table.rows[0] == ["0011", "75.0 ± 7.1", "0.0", "2", "1", "0.50"]
    assert table.rows[-1][:4] == ["1100", "45.0 ± 7.1", "−30.0", "0"]
    words = search_words(search)
    assert "take 0011" in words[0]
    assert "cost 2.5 trainings" in words[0]
    assert "different plans (0011, full)" in words[-1]


def test_the_report_has_a_section(runs):
    report = write_report(runs)
    page = (report / "index.html").read_text(encoding="utf-8")
    Wellformed(page)
    assert "Plan search: made" in page
    assert "take 0011" in (report / "report.md").read_text(encoding="utf-8")
    assert len(list((report / "plots").glob("search-*.svg"))) == 1
    assert len(list((report / "tables").glob("search-*.csv"))) == 1


def test_damaged_evidence_is_named(runs):
    (runs / "seed-1" / EVIDENCE_FILE).write_text('{"scores": [{}]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"seed-1.*search\.json: not what a search writes"):
        read_searches(read_results(runs).data)
