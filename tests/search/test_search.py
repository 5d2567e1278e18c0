"""Plan search: what is drawn, what is scored, what is chosen, and that test data plays no part."""

import itertools
import json
from collections import Counter

import pytest
import torch
from hypothesis import given, strategies as st

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.masking.attention import get_plan
from lookboth.masking.plan import MaskPlan, group_plans
from lookboth.masking.structure import find_stack
from lookboth.progress import progress_to
from lookboth.search.candidates import Candidate, candidates_of, limit_look_ahead, neighbours, random_plans
from lookboth.search.evidence import Evidence, PlanScore, read_evidence
from lookboth.search.halving import rungs
from lookboth.search.one_shot import DrawnPlans, score_all
from lookboth.search.strategies import find_plan, search_task
from lookboth.training.classifier import prepare_classifier
from lookboth.training.labeler_building import build_labeler
from lookboth.training.splits import read_splits
from lookboth.training.trainer import fit
from lookboth.training.training_runs import train

WORDS = ("Ada", "Lovelace", "lived", "in", "London")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A task that needs the right side: a word is named by the word after it."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number in range(40):
        right = ("x", "y")[number % 2]
        lines += [f"word {'B-X' if right == 'x' else 'B-Y'}", f"{right} O", "end O", ""]
    for split in ("train", "dev", "test"):
        (folder / f"{split}.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def recipe(model, data, **search):
    return parse_config(
        {
            "model": str(model),
            "method": "search",
            "adapter": {"kind": "full"},
            "data": {"train": [str(data)]},
            "training": {
                "epochs": 20,
                "lr": 5e-3,
                "schedule": "constant",
                "head_dropout": 0.0,
                "precision": "fp32",
                "batch_tokens": 64,
            },
            "search": {"groups": 2, **search},
        }
    )


WAYS = {
    "shared": {},
    "shared, tuned": {"strategy": "shared", "tune_best": 3, "tune_share": 0.5},
    "layers": {"strategy": "layers"},
    "gates": {"strategy": "gates"},
    "halving": {"strategy": "halving", "budget": 8},
    "predictor": {"strategy": "predictor", "budget": 4},
}


def test_state_that_a_kill_has_cut_is_made_again(tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data, strategy="halving", budget=4)
    splits = read_splits(config)
    first = find_plan(search_task(config, splits, 0, tmp_path))
    state = [file for file in tmp_path.rglob("*.json") if file.parent.name != "checkpoints"]
    cut = [file for file in state if file.name == "seconds.json" or "scores" in file.parts]
    assert len(cut) > 2
    for file in cut:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 if "scores" in file.parts else 0])
    again = find_plan(search_task(config, splits, 0, tmp_path))
    assert (again.chosen, [s.score for s in again.scores]) == (first.chosen, [s.score for s in first.scores])


@pytest.mark.parametrize("way", WAYS)
def test_the_chosen_plan_looks_right_where_it_must(way, tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data, **WAYS[way])
    run = train(config, tmp_path)[0]
    evidence = json.loads((run.folder / "search.json").read_text())
    assert evidence["chosen"] == run.labeler.config.plan.spelled_out()
    assert not run.labeler.config.plan.is_causal
    assert run.tests[str(data)].scores.headline == 1.0
    scores = {row["name"]: row["score"] for row in evidence["scores"]}
    assert scores["causal"] <= 0.75 < scores[evidence["name"]]
    assert "causal" not in evidence["within_noise"]
    assert evidence["cost_in_trainings"] > 1
    again = read_evidence(run.folder / "search.json")
    assert again.to_dict() == evidence
    assert all(low <= row["score"] <= high for row in evidence["scores"] for low, high in [row["interval"]])
    layers = again.layers()
    # Some layer must look right, the word after decides; that shows where causal was trained as long as the others.
    if layers is not None and "causal" in {score.name for score in again.comparable}:
        assert max(layers) > (0.5 if way == "gates" else 0)


@pytest.mark.parametrize(("strategy", "stage"), [("shared", "shared"), ("halving", "rung0")])
def test_a_search_reads_no_test_data_and_goes_on_where_it_was(
    strategy, stage, tiny_llama_folder, data, tmp_path
):
    config = recipe(tiny_llama_folder, data, strategy=strategy)
    blind = config.model_copy(update={"data": config.data.model_copy(update={"test": ()})})
    splits = read_splits(blind)
    first, again = [], []
    with progress_to(first.append):
        evidence = find_plan(search_task(blind, splits, 0, tmp_path))
    with progress_to(again.append):
        repeated = find_plan(search_task(blind, splits, 0, tmp_path))
    assert [s.score for s in evidence.scores] == [s.score for s in repeated.scores]
    assert evidence.seconds == repeated.seconds
    assert any(line.startswith(f"{stage}: plan") for line in first)
    assert not any(line.startswith(f"{stage}: plan") for line in again)


def test_plans_that_share_lower_layers_score_the_same_for_fewer_layers(tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data)
    splits = read_splits(config)
    splits = splits._replace(dev=[*splits.dev] * 20)  # several batches
    prepared = prepare_classifier(
        config.model_copy(update={"plan": "causal"}), splits, 0, tmp_path / "adaptation"
    )
    plans = [Candidate(plan) for plan in group_plans(4, prepared.labeler.config.plan.num_layers)]
    runs = Counter()
    for layer in find_stack(prepared.labeler.model.backbone).layers:
        layer.input_layernorm.register_forward_hook(lambda *_: runs.update([side]))
    side, scores = "alone", {}
    alone = search_task(config, splits, 0, tmp_path / "alone")
    for plan in plans:
        scores[plan] = alone.score(prepared.labeler, plan)
    side = "shared"
    found = score_all(search_task(config, splits, 0, tmp_path / "shared"), prepared, plans)
    assert [score.spans for score in found.values()] == [score.spans for score in scores.values()]
    assert runs["shared"] < 0.8 * runs["alone"]


def test_every_candidate_is_drawn_in_training_and_none_in_prediction(tiny_llama_folder, data):
    labeler = build_labeler(recipe(tiny_llama_folder, data), labels=["X", "Y"], device="cpu")
    plans = list(group_plans(2, labeler.config.plan.num_layers))
    seen = Counter()
    for number in range(64):
        batch = {
            "input_ids": torch.tensor([[3, 4 + number % 40, 5]]),
            "attention_mask": torch.ones(1, 3, dtype=torch.bool),
            "word_first": torch.tensor([1]),
            "word_last": torch.tensor([1]),
            "num_words": torch.tensor([1]),
        }
        with DrawnPlans(labeler.model.train(), plans, seed=number // 40):
            labeler.model(**batch)
            drawn = get_plan(labeler.model.backbone)
            labeler.model(**batch)
            assert get_plan(labeler.model.backbone) == drawn  # the same batch draws the same plan
            seen[drawn] += 1
            labeler.model.eval()
            labeler.model(**{**batch, "input_ids": batch["input_ids"] + 1})
            assert get_plan(labeler.model.backbone) == drawn
    assert set(seen) == set(plans)


@given(st.integers(2, 40), st.floats(1.01, 9), st.floats(0, 0.2))
def test_rungs_cost_what_is_allowed(num_plans, budget, scoring):
    steps = rungs(num_plans, budget, scoring)
    shares = [0.0, *(share for _, share in steps)]
    counts = [*(count for count, _ in steps), 1]
    assert all(after == -(-before // 2) for before, after in itertools.pairwise(counts))
    cost = sum(
        count * (after - before)
        for count, (before, after) in zip(counts, itertools.pairwise([*shares, 1.0]), strict=True)
    )
    spent = scoring * sum(count for count, _ in steps)
    if spent > (budget - 1) / 2:  # scoring leaves half to training
        spent = (budget - 1) / 2
    assert cost + spent == pytest.approx(budget) or (cost + spent < budget and shares[-1] == 1)


def test_scoring_costs_a_third_of_training_on_the_same_text(tiny_llama_folder, data, tmp_path):
    config = recipe(
        tiny_llama_folder, data
    )  # 20 epochs, dev scored after each, as many words in dev as in train
    task = search_task(config, read_splits(config), 0, tmp_path)
    assert task.scoring_cost == pytest.approx((1 / 3) / (20 + 20 / 3))


def test_layers_are_not_climbed_for_longer_than_the_budget(tiny_llama_folder, data, tmp_path):
    counts = []
    for number, budget in enumerate((1.005, 1.04, 3.0)):
        config = recipe(tiny_llama_folder, data, strategy="layers", budget=budget)
        task = search_task(config, read_splits(config), 0, tmp_path / str(number))
        counts.append(len(find_plan(task).scores))
        assert counts[-1] <= max(4, (budget - 1) / 2 / task.scoring_cost)
    assert counts[0] == 4
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("budget", [1.2, 1.6, 2.0, 4.0])
@pytest.mark.parametrize("strategy", ["shared", "gates", "layers", "predictor"])
def test_every_way_keeps_to_the_budget(strategy, budget, tiny_llama_folder, data, tmp_path, monkeypatch):
    """What is trained is counted in batches, and what is scored in dev passes: by rungs, see above."""
    config = recipe(tiny_llama_folder, data, strategy=strategy, budget=budget)
    task = search_task(config, read_splits(config), 0, tmp_path)
    trained = []

    def counted(model, batches, **rest):
        trained.append(len(batches))
        return fit(model, batches, **rest)

    for module in ("one_shot", "gate_search", "trials"):
        monkeypatch.setattr(f"lookboth.search.{module}.fit", counted)
    found = find_plan(task)
    ordinary = len(prepare_classifier(config, task.splits, 0, tmp_path / "adaptation").batches)
    training, rounding = sum(trained) / ordinary, len(trained) / ordinary
    scoring = task.scoring_cost * len(found.scores)
    assert training <= max(budget - 1 - scoring, (budget - 1) / 2) + task.scoring_cost + rounding
    if strategy != "layers" and budget < 2.5:  # there, half is for climbing; one training is enough
        assert training >= budget - 1 - scoring - rounding


def test_a_candidate_that_diverges_is_the_worst(tiny_llama_folder, data, tmp_path, monkeypatch):
    config = recipe(tiny_llama_folder, data, strategy="predictor", budget=4)

    def broken(model, *args, **kwargs):
        if get_plan(model.backbone).is_causal:
            with torch.no_grad():
                model.head.bias.fill_(float("nan"))
        return fit(model, *args, **kwargs)

    monkeypatch.setattr("lookboth.search.trials.fit", broken)
    scores = {
        score.name: score.score
        for score in find_plan(search_task(config, read_splits(config), 0, tmp_path)).scores
    }
    assert min(scores, key=scores.__getitem__) == "causal"
    assert scores["causal"] < max(scores.values())


def test_halving_hands_over_a_training_that_is_the_ordinary_one(tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data, strategy="halving", budget=2.5)
    searched = train(config, tmp_path / "search")[0]
    evidence = read_evidence(searched.folder / "search.json")
    assert evidence.continued_seconds > 0
    plain = config.model_copy(update={"method": "classifier", "plan": evidence.chosen})
    ordinary = train(plain, tmp_path / "plain")[0]
    assert searched.history == ordinary.history
    ours, theirs = searched.labeler.model.state_dict(), ordinary.labeler.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not list((searched.folder / "training").rglob("begun/*"))


def test_what_was_found_is_written_before_the_run_counts_as_finished(
    tiny_llama_folder, data, tmp_path, monkeypatch
):
    """A study goes by run.json: killed after it was written, the evidence must be there already."""
    config = recipe(tiny_llama_folder, data, strategy="halving", budget=2.5)
    seen = []

    def killed(*args, **kwargs):
        seen.append(read_evidence(tmp_path / "seed-0" / "search.json"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lookboth.training.train_classifier", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    assert seen[0].training_seconds is None
    assert seen[0].cost() is None
    run = train(config, tmp_path)[0]
    after = read_evidence(run.folder / "search.json")
    assert (after.name, after.continued_seconds) == (seen[0].name, seen[0].continued_seconds)
    assert after.cost() > 1


def test_sequence_repetition_is_found_where_it_helps(tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data, strategy="halving", candidates=["causal", "causal+sr1"])
    run = train(config, tmp_path)[0]
    evidence = read_evidence(run.folder / "search.json")
    assert evidence.name == "causal+sr1"
    assert run.labeler.config.plan.is_causal
    assert run.labeler.config.encoding.repetition == evidence.repetition == 1
    assert run.tests[str(data)].scores.headline > 0.9


@pytest.mark.parametrize(("settings", "count"), [({}, 2), ({"budget": 3.2}, 3), ({"strategy": "shared"}, 4)])
def test_a_larger_budget_takes_more_of_the_usual_plans(settings, count, tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data, **{"groups": None, "strategy": "halving", **settings})
    found = search_task(config, read_splits(config), 0, tmp_path).candidates
    assert [str(one) for one in found] == ["0011", "0110", "0111", "0101"][:count]


def test_candidates_that_cannot_share_weights_are_named(tiny_llama_folder, data, tmp_path):
    config = recipe(tiny_llama_folder, data, strategy="shared", candidates=["0011", "causal+sr1"])
    with pytest.raises(ConfigError, match=r"found 0011, causal\+sr1\. .* separately: halving, predictor"):
        search_task(config, read_splits(config), 0, tmp_path)


@given(st.integers(1, 12), st.integers(1, 9))
def test_a_streaming_search_keeps_its_limit(num_layers, limit):
    groups = min(2, num_layers)
    if groups == 1:
        groups = 1
    plans = [one.plan for one in candidates_of(num_layers, groups=groups, max_look_ahead=limit)]
    assert all((plan.total_look_ahead() or 0) <= limit and None not in plan.reach for plan in plans)
    assert max(plan.total_look_ahead() for plan in plans) == limit
    assert len(set(plans)) == len(plans)


def test_plans_within_the_limit_stay_and_others_share_it_out():
    found = candidates_of(4, named=["0,0,4,4", "0,2,0,2", "0,9,9,0", "0,*,0,9", "causal"], max_look_ahead=8)
    assert [one.plan.reach for one in found] == [
        (0, 0, 4, 4), (0, 2, 0, 2), (0, 4, 4, 0), (0, 4, 0, 4), (0, 0, 0, 0),
    ]  # fmt: skip


@given(st.lists(st.booleans(), min_size=2, max_size=9), st.integers(1, 9))
def test_the_neighbours_of_a_streaming_plan_keep_its_limit(looks_right, limit):
    plan = limit_look_ahead(MaskPlan(tuple(None if right else 0 for right in looks_right)), limit)
    near = [one.plan for one in neighbours(Candidate(plan), limit)]
    assert plan not in near
    assert all(0 <= (one.total_look_ahead() or 0) <= limit and None not in one.reach for one in near)
    closed = {layer for one in near for layer, old in enumerate(plan.reach) if old and one.reach[layer] == 0}
    assert closed == {layer for layer, old in enumerate(plan.reach) if old}
    if plan.reach[-1] == 0:  # the layer that looks right first, were there one more
        assert any(one.reach[-1] for one in near)


def test_a_streaming_search_by_layers_meets_no_plan_beyond_its_limit(
    tiny_llama_folder, data, tmp_path, monkeypatch
):
    drawn = []

    class Watched(DrawnPlans):
        def __init__(self, model, plans, seed):
            drawn.extend(plans)
            super().__init__(model, plans, seed)

    monkeypatch.setattr("lookboth.search.one_shot.DrawnPlans", Watched)
    config = recipe(tiny_llama_folder, data, strategy="layers", max_look_ahead=2, budget=3.0)
    found = find_plan(search_task(config, read_splits(config), 0, tmp_path))
    assert len(found.scores) > 4  # neighbours were met
    num_layers = drawn[0].num_layers
    for plan in [*drawn, *(MaskPlan.parse(score.plan, num_layers) for score in found.scores)]:
        assert plan.total_look_ahead() is not None
        assert plan.total_look_ahead() <= 2


def test_candidates():
    assert [str(plan) for plan in candidates_of(8, named=["full", "1111", "causal"])] == ["full", "causal"]
    assert len(candidates_of(8, groups=4)) == 16
    assert [str(plan) for plan in candidates_of(8)] == ["0011", "0110", "0111", "0101"]
    with pytest.raises(ConfigError, match="only one plan"):
        candidates_of(8, named=["full", "11"])
    one = Candidate.parse("0011+sr1", 4)
    assert {
        sum(a != b for a, b in zip(one.plan.reach, near.plan.reach, strict=True)) for near in neighbours(one)
    } == {1}
    assert {near.repetition for near in neighbours(one)} == {1}
    named = candidates_of(8, named=["causal", "causal+sr2", "0011+sr0"], repetition=1)
    assert [(str(one), one.repetition) for one in named] == [
        ("causal+sr1", 1),
        ("causal+sr2", 2),
        ("0011", 0),
    ]
    with pytest.raises(ConfigError, match=r"causal\+sr1 repeats the sequence"):
        candidates_of(8, named=["0011", "causal+sr1"], max_look_ahead=4)
    drawn = random_plans(6, 50, seed=0)
    assert len(set(drawn)) == 50
    assert random_plans(6, 50, seed=0) == drawn
    assert len(random_plans(2, 50, seed=0)) == 4


def test_words_say_when_the_differences_mean_nothing():
    scores = [
        PlanScore("*", name, score, []) for name, score in (("full", 0.8), ("0011", 0.79), ("causal", 0.6))
    ]
    near = Evidence("shared", scores, ["full", "0011"], "*", "full", 10.0, 20.0)
    assert near.summary() == (
        "full, 0011 are within noise of each other; use full. The worst, causal, is 20.0 points behind."
    )
    assert near.cost() == 1.5
    alone = Evidence("shared", scores, ["full"], "*", "full", 10.0)
    assert alone.summary() == "full is significantly better on dev than the others of the 3 plans; use it."
    last = Evidence("halving", scores, ["full"], "*", "full", 10.0, 5.0, continued_seconds=5.0, compared=2)
    assert "the 2 plans that remained of 3" in last.summary()
    assert last.cost() == 1.5  # fifteen seconds for a training of ten
    assert alone.cost() is None
    none = Evidence("shared", scores, ["full", "0011", "causal"], "*", "full", 10.0)
    assert "means little" in none.summary()
