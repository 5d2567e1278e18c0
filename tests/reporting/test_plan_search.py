"""The part of a report about plan searches, over made-up evidence of two seeds."""

import json

import pytest
from fake_study import sentences, write_one
from numpy.random import default_rng
from wellformed import Wellformed

from lookboth.errors import DataError
from lookboth.masking.plan import group_plans
from lookboth.reporting.plan_search import plot_search, read_searches, search_table, search_words
from lookboth.reporting.report import write_report
from lookboth.reporting.results import read_results
from lookboth.run_folder import RunFolder
from lookboth.search.evidence import Evidence, PlanScore

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
        RunFolder(folder).evidence.write_text(text, encoding="utf-8")
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
    assert "use 0011" in words[0]
    assert "cost 2.5 trainings" in words[0]
    assert "different plans (0011, full)" in words[-1]


@pytest.fixture
def halved(runs):
    """Two plans reached the last round of seed 0, two others that of seed 1; the rest were dropped before."""
    for seed, last in enumerate((["0011", "full"], ["causal", "0011"])):
        file = RunFolder.of_seed(runs, seed).evidence
        found = json.loads(file.read_text(encoding="utf-8"))
        found["scores"].sort(key=lambda row: (row["name"] not in last, -row["score"]))
        found |= {"strategy": "halving", "compared": 2, "within_noise": ["0011"], "name": "0011"}
        file.write_text(json.dumps(found), encoding="utf-8")
    return runs


def test_plans_dropped_after_less_training_are_kept_apart(halved):
    (search,) = read_searches(read_results(halved).data)
    assert search.plans() == ["0011", "full", "causal", "1100"]
    assert [search.mean(plan) and round(search.mean(plan).mean, 2) for plan in search.plans()] == [
        0.75, 0.6, 0.6, None,
    ]  # fmt: skip
    assert (
        search.layers() is None
    )  # no layer is open in one of the last two plans of each seed and shut in the other
    table = search_table(search)
    assert [row[:3] + row[-1:] for row in table.rows] == [
        ["0011", "75.0 ± 7.1", "0.0", ""],
        ["full", "60.0 (1)", "−15.0", "70.0"],
        ["causal", "60.0 (1)", "−15.0", "50.0"],
        ["1100", "", "", "40.0, 50.0"],
    ]
    assert "less trained" in table.caption.lower()
    plot = plot_search(search)
    assert "less training" in plot.caption
    (axis,) = plot.figure.axes
    assert "after less training" in axis.get_legend_handles_labels()[1]
    marks = [line for line in axis.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    drawn = sorted(round(float(y)) for line in marks for y in line.get_ydata())
    assert drawn == [40, 50, 50, 70]


def test_what_a_layer_is_worth_comes_from_equal_trainings():
    """Of four plans the last two were trained for longer, and better for that alone."""
    scores = [
        PlanScore("0,0", "causal", 0.8, []), PlanScore("*,*", "full", 0.7, []),
        PlanScore("0,*", "01", 0.2, []), PlanScore("*,0", "10", 0.2, []),
    ]  # fmt: skip
    found = Evidence("halving", scores, [], "0,0", "causal", 1.0, compared=2)
    assert found.layers() == pytest.approx([-0.1, -0.1])
    three = Evidence("halving", scores, [], "0,0", "causal", 1.0, compared=1)
    assert three.layers() is None


def test_the_report_has_a_section(runs):
    report = write_report(runs)
    page = (report / "index.html").read_text(encoding="utf-8")
    Wellformed(page)
    assert "Plan search: made" in page
    assert "use 0011" in (report / "report.md").read_text(encoding="utf-8")
    assert len(list((report / "plots").glob("search-*.svg"))) == 1
    assert len(list((report / "tables").glob("search-*.csv"))) == 1


def test_damaged_evidence_is_named(runs):
    RunFolder.of_seed(runs, 1).evidence.write_text('{"scores": [{}]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"seed-1.*search\.json: not a valid search result"):
        read_searches(read_results(runs).data)
