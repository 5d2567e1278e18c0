"""Runs become results: named, sorted, with their baseline and what dev chose; tuning runs stay out."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fake_study import PLANS, write_study

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.runfile import write_run
from lookboth.reporting.plan_families import plan_families
from lookboth.reporting.results import read_results


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study") / "runs", num_sentences=6, num_seeds=2)


def write(folder, dev=0.5, test=0.5, seed=0, plan="causal", data="wnut17", data_files=None, **keys):
    scores = {"dev": {"micro": {"f1": dev}}, f"test:{data}": {"micro": {"f1": test}}}
    return write_run(
        folder,
        config={"model": "m", "plan": plan, "data": {"train": [data], **keys.pop("more_data", {})}, **keys},
        scores={name: value for name, value in scores.items() if value["micro"]["f1"] is not None},
        plan=plan,
        seed=seed,
        started=datetime(2025, 3, 1, tzinfo=UTC),
        wall_seconds=1.0,
        data_files=data_files or {},
    )


def names(folder, **options):
    return {d.name: [r.method for r in d.results] for d in read_results(folder, **options).data}


def test_a_study_is_read_without_its_tuning_runs(study):
    collection = read_results(study)
    assert (collection.num_runs, collection.num_tuning) == (2 * 18 * 2, 2)
    ner = collection.data[1]
    assert [r.method for r in ner.results] == [*PLANS, "first", "sr1"]
    assert [r.method for r in ner.baselines.values()] == ["0000"]
    assert all(sorted(r.dev) == sorted(r.tests) == [0, 1] for r in ner.results)


def test_the_choice_follows_dev_whatever_test_says(tmp_path):
    write(tmp_path / "a", dev=0.5, test=0.9)
    write(tmp_path / "b", plan="0011", dev=0.6, test=0.1)
    write(tmp_path / "c", plan="1100", dev=0.4, test=1.0)
    (data,) = read_results(tmp_path).data
    assert [r.method for r in data.chosen.values()] == ["0011"]
    assert data.featured(2) == [data.results[0], data.results[1]]


def test_runs_outside_a_study_are_named_by_what_tells_them_apart(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", label_on="first")
    write(tmp_path / "c", plan="0011", training={"lr": 0.5, "seeds": [0]})
    write(tmp_path / "d", more_data={"max_train_sentences": 9})
    assert names(tmp_path) == {
        "wnut17": ["causal", "0011", "causal, label_on=first"],
        "wnut17 (max_train_sentences=9)": ["causal"],
    }


def test_each_test_set_is_a_data_set_of_its_own(tmp_path):
    run = write(tmp_path / "a")
    write(tmp_path / "a", test=0.5)
    scores = {**run.scores, "test:pud": {"micro": {"f1": 0.25}}, "history": {"steps": [1]}}
    write_run(
        tmp_path / "a",
        config=run.config,
        scores=scores,
        plan="causal",
        seed=0,
        started=datetime(2025, 3, 1, tzinfo=UTC),
        wall_seconds=1.0,
        data_files={},
    )
    data = read_results(tmp_path).data
    assert [(d.name, d.results[0].tests) for d in data] == [
        ("wnut17 → wnut17", {0: 0.5}),
        ("wnut17 → pud", {0: 0.25}),
    ]


def test_a_baseline_may_be_named_and_must_be_there(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", plan="0011")
    (data,) = read_results(tmp_path, baseline="0011").data
    assert data.baseline_of(data.results[1]).method == "0011"
    with pytest.raises(ConfigError, match="there is no method '1111'; the methods are 0011, causal"):
        read_results(tmp_path, baseline="1111")


def test_another_model_is_compared_with_the_only_baseline(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", model="encoder", plan="none")
    (data,) = read_results(tmp_path).data
    causal, encoder = data.results
    assert (encoder.model, data.baseline_of(encoder), data.baseline_of(causal)) == ("encoder", causal, None)
    assert data.chosen == {}
    assert [data.label(result) for result in data.results] == ["causal", "none"]
    write(tmp_path / "c", model="encoder", plan="causal", dev=0.9)
    (data,) = read_results(tmp_path).data
    assert [data.label(r) for r in data.results] == ["encoder causal †", "none", "m causal"]


def test_the_weaker_of_two_causal_methods_is_not_the_baseline(tmp_path):
    for method, dev in (("causal_first", 0.4), ("causal_last", 0.6)):
        write(tmp_path / method, dev=dev, study={"name": "s", "data": "ner", "method": method})
    (data,) = read_results(tmp_path).data
    assert data.baselines["m"].method == "causal_last"


def test_nothing_to_report_and_settings_on_different_files_say_so(tmp_path):
    with pytest.raises(DataError, match="no finished runs"):
        read_results(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.conll").write_text(name)
        write(tmp_path / name, data_files={"train": tmp_path / f"{name}.conll"})
    with pytest.raises(DataError, match="but different data files"):
        read_results(tmp_path)


def test_a_family_holds_what_differs_in_its_plan_only(study):
    data = read_results(study).data[0]
    (family,) = plan_families(data)
    assert (family.num_groups, list(family.results)) == (4, PLANS)  # 0011 was tuned to another learning rate
    assert family.nested_test("test").num_pairs == 17
    later = family.effects("test")[3]
    assert later.num_pairs == 16
    assert later.difference > 0.05
    bare = replace(data, results=data.results[:1])
    assert list(plan_families(bare)) == []


def test_plans_in_other_words_are_put_into_bits(tmp_path):
    for plan in ("causal", "01", "0001", "full", "middle", "top:3"):
        write(tmp_path / plan, plan=plan)
    (family,) = plan_families(read_results(tmp_path).data[0])
    assert list(family.results) == ["0000", "0001", "0011", "0110", "1111", "top:3"]
    assert family.nested_test("dev") is None
    assert family.effects("dev") == []


def test_plans_trained_differently_are_no_family(tmp_path):
    write(tmp_path / "a", training={"epochs": 3, "seeds": [0]})
    write(tmp_path / "b", plan="0011", training={"epochs": 6, "seeds": [0]})
    data = read_results(tmp_path).data[0]
    assert list(plan_families(data)) == []
    write(tmp_path / "c", plan="0011", training={"epochs": 3, "lr": 0.5, "seeds": [1]}, seed=1)
    (family,) = plan_families(read_results(tmp_path).data[0])
    assert {r.group.config["training"]["epochs"] for r in family.results.values()} == {3}
    assert list(family.results) == ["0000", "0011"]


def test_of_one_plan_with_several_learning_rates_dev_takes_one(tmp_path):
    for number, (plan, dev) in enumerate([("0011", 0.5), ("01", 0.7), ("0011", 0.6), ("0011", 0.4)]):
        write(tmp_path / str(number), plan=plan, dev=dev, training={"lr": 10.0**-number})
    write(tmp_path / "causal", training={"lr": 1.0})
    write(tmp_path / "longer", plan="full", training={"epochs": 9})
    data = read_results(tmp_path).data[0]
    (family,) = plan_families(data)
    assert {plan: r.group.config["training"]["lr"] for plan, r in family.results.items()} == {
        "0000": 1.0, "0011": 0.1,
    }  # fmt: skip
    one_plan = replace(data, results=tuple(r for r in data.results if r.plan in ("01", "0011")))
    assert list(plan_families(one_plan)) == []
