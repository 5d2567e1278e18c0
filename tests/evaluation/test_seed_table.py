"""Seed tables: grouped by everything but the seed, each seed once."""

import statistics
from datetime import UTC, datetime

import pytest

from lookboth.errors import DataError
from lookboth.evaluation.runfile import write_run
from lookboth.evaluation.seed_groups import collect_runs, seed_table


def write(folder, seed, f1, plan="0011", rank=8, data=None, **scores):
    return write_run(
        folder,
        config={
            "adapter": {"rank": rank},
            "seed": seed,
            "training": {"output_dir": str(folder), "seed": seed},
        },
        scores={"test": {"micro": {"f1": f1}, "scorer": "strict entity-level, IOB2"}, **scores},
        plan=plan,
        seed=seed,
        started=datetime(2025, 3, 1, tzinfo=UTC),
        wall_seconds=1.0,
        data_files={} if data is None else {"train": data},
    )


def test_runs_are_found_at_any_depth_in_order_of_path(tmp_path):
    for name in ("b", "a/deep"):
        write(tmp_path / name, 0, 0.5)
    assert [run.folder for run in collect_runs(tmp_path)] == [tmp_path / "a/deep", tmp_path / "b"]
    with pytest.raises(DataError, match="no such folder"):
        collect_runs(tmp_path / "nowhere")


def test_seeds_of_one_setting_are_averaged(tmp_path):
    values = {0: 0.5, 2: 0.75, 1: 0.625}
    for seed, f1 in values.items():
        write(tmp_path / str(seed), seed, f1)
    (group,) = seed_table(collect_runs(tmp_path))
    assert group.seeds == (0, 1, 2)
    assert group.config == {"adapter": {"rank": 8}, "training": {}}
    assert group.scores["test.micro.f1"].mean == pytest.approx(0.625)
    assert group.scores["test.micro.f1"].sd == pytest.approx(statistics.stdev(values.values()))
    assert set(group.scores) == {"test.micro.f1"}


def test_plan_configuration_and_data_keep_runs_apart(tmp_path):
    old, new = tmp_path / "old.conll", tmp_path / "new.conll"
    old.write_text("a O\n")
    new.write_text("b O\n")
    write(tmp_path / "a", 0, 0.1, data=old)
    write(tmp_path / "b", 1, 0.2, data=new)
    write(tmp_path / "c", 1, 0.3, data=old, plan=None)
    write(tmp_path / "d", 1, 0.4, data=old, rank=16)
    write(tmp_path / "e", 1, 0.5, data=old)
    groups = seed_table(collect_runs(tmp_path))
    assert [group.seeds for group in groups] == [(0, 1), (1,), (1,), (1,)]
    assert groups[1].scores["test.micro.f1"] == (0.2, None)


def test_the_same_file_elsewhere_is_the_same_data(tmp_path):
    for seed in (0, 1):
        (tmp_path / f"{seed}.conll").write_text("a O\n")
        write(tmp_path / str(seed), seed, 0.5, data=tmp_path / f"{seed}.conll")
    assert len(seed_table(collect_runs(tmp_path))) == 1


def test_scores_that_only_some_runs_have_are_left_out(tmp_path):
    write(tmp_path / "a", 0, 0.5, dev={"f1": 0.4})
    write(tmp_path / "b", 1, 0.5)
    (group,) = seed_table(collect_runs(tmp_path))
    assert set(group.scores) == {"test.micro.f1"}


def test_one_seed_twice_is_refused(tmp_path):
    write(tmp_path / "a", 0, 0.5)
    write(tmp_path / "b", 0, 0.6)
    with pytest.raises(DataError, match="same seed 0"):
        seed_table(collect_runs(tmp_path))
