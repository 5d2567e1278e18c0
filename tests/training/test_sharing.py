"""Shared batches: every sentence once an epoch, equal numbers of parts, near-equal sizes, the same optimizer steps."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import HeadConfig
from lookboth.data.alignment import Encoding
from lookboth.errors import ConfigError, DataError
from lookboth.models.heads.head_registry import build_head
from lookboth.training.adaptation_texts import TextBatches
from lookboth.training.batches import RunBatches
from lookboth.training.checkpoints import last_checkpoint
from lookboth.training.distributed_work import SharedBatches
from lookboth.training.objectives import Objective
from lookboth.training.process_group import (
    ProcessGroup,
    check_launch,
    gather_from_ranks,
    on_rank_zero,
    require_single_process,
    shards_weights,
)
from lookboth.training.training_runs import train as run_training
from lookboth.types import TokenizedExample

LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=60)


def batches_of(lengths, *, layout="packed", epochs=1.0, batch_tokens=64):
    """The batches of made-up sentences; the i-th one is made of tokens i + 1 and has one labeled word."""
    pieces = [
        TokenizedExample((i + 1,) * length, ((0, 1), (1, 2)), (1, 0)) for i, length in enumerate(lengths)
    ]
    training = {"epochs": epochs, "batch_tokens": batch_tokens, "layout": layout}
    config = parse_config({"data": {"train": "x"}, "training": training})
    return RunBatches.build(pieces, config=config, seed=0, pad_id=0)


def size(batches, part):
    """What a part takes to compute: its tokens, with padding where there is any."""
    lengths = [len(batches.pieces[batches.schedule[number][place]]) for number, place in part]
    return sum(lengths) if batches.layout == "packed" else len(lengths) * max(lengths, default=0)


@given(LENGTHS, st.sampled_from(["packed", "bucketed"]), st.integers(1, 5), st.integers(2, 5))
def test_steps_hold_what_they_held_and_no_process_waits(lengths, layout, accumulation, processes):
    batches = batches_of(lengths, layout=layout, epochs=2)
    shared = SharedBatches(batches, accumulation, processes)
    num_steps = -(-len(batches) // accumulation)
    trained = Counter()
    num_parts = 0
    for step in range(num_steps):
        parts = shared.parts(step)
        numbers = range(len(batches))[step * accumulation : (step + 1) * accumulation]
        places = [(number, place) for number in numbers for place in range(len(batches.schedule[number]))]
        assert sorted(place for part in parts for place in part) == places
        assert len(parts) % processes == 0
        assert step == num_steps - 1 or len(parts) == processes * shared.parts_of_each
        assert len(parts) - len(numbers) < processes
        whole = [size(batches, [p for p in places if p[0] == number]) for number in numbers]
        assert max(size(batches, part) for part in parts) <= max(whole)
        trained.update(batches.schedule[number][place] for number, place in places)
        num_parts += len(parts)
    assert trained == Counter(dict.fromkeys(range(len(lengths)), 2))
    assert len(shared) == num_parts


@given(LENGTHS, st.integers(1, 4), st.integers(2, 4))
def test_packed_rows_of_a_step_are_of_near_equal_length(lengths, accumulation, processes):
    batches = batches_of(lengths)
    shared = SharedBatches(batches, accumulation, processes)
    for step in range(-(-len(batches) // accumulation)):
        parts = shared.parts(step)
        sizes = [size(batches, part) for part in parts]
        longest = max(len(batches.pieces[batches.schedule[b][i]]) for part in parts for b, i in part)
        assert max(sizes) <= sum(sizes) / len(sizes) + longest


def test_items_are_the_tensors_of_the_parts():
    batches = batches_of([9, 3, 4, 5, 8, 2, 2])
    shared = SharedBatches(batches, 2, 2)
    tokens = Counter()
    for index in range(len(shared)):
        item = shared[index]
        assert (item["labels"] != -100).sum() == item["num_words"].sum() == 2 * len(item["num_words"])
        tokens.update(item["input_ids"].flatten().tolist())
    assert tokens == Counter({i + 1: n for i, n in enumerate([9, 3, 4, 5, 8, 2, 2])})


@pytest.mark.parametrize("labels", [(1, 0), ((1, 0), (0, 1))])
def test_a_process_without_a_sentence_gets_one_without_labels(labels):
    batches = batches_of([5])
    batches.pieces = [TokenizedExample((1, 1), ((0, 1), (1, 2)), labels)]
    shared = SharedBatches(batches, 1, 3)
    assert len(shared) == 3
    assert [bool((shared[i]["labels"] != -100).any()) for i in range(3)] == [True, False, False]


@pytest.mark.parametrize("kind", ["linear", "crf", "context_gate", "multi_label"])
def test_what_has_no_label_teaches_nothing(kind):
    head = build_head(
        HeadConfig(kind=kind), hidden_size=4, num_layers=1, tags=("O", "B-X", "I-X"), scheme="IOB2"
    )
    labels = torch.full((5, 3) if kind == "multi_label" else (5,), -100)
    num_words = torch.tensor([3, 2])
    loss = head.loss(head(torch.randn(5, 4), num_words), labels, num_words)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert all(float(p.grad.abs().max()) < 1e-5 for p in head.parameters() if p.grad is not None)


def test_the_same_tokens_are_hidden_however_many_processes_there_are():
    objective = Objective("mntp", Encoding("", (), (), 0), mask_share=0.5, mask_id=99, vocab_size=50)
    batches = TextBatches(**vars(batches_of([9, 12, 7, 20, 5, 6])), objective=objective, seed=3)
    whole = Counter(piece for index in range(len(batches)) for piece in batches.pieces_of(index))
    shared = SharedBatches(batches, 1, 3)
    parts = [part for step in range(len(batches)) for part in shared.parts(step)]
    assert Counter(piece for part in parts for piece in shared._pieces(part)) == whole


def test_a_process_that_is_alone_asks_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ProcessGroup.current() == ProcessGroup(0, 1)
    assert on_rank_zero(lambda: 3) == 3
    assert gather_from_ranks("x") == ["x"]
    require_single_process("anything")
    monkeypatch.setenv("WORLD_SIZE", "1")
    require_single_process("anything")


def test_what_cannot_be_shared_says_so(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert ProcessGroup.current() == ProcessGroup(2, 4)
    with pytest.raises(ConfigError, match="lookboth study: started as 4 processes"):
        require_single_process("lookboth study")


PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"


@pytest.fixture
def launched_by_page(tmp_path, monkeypatch):
    """The environment that `accelerate launch` makes of the settings in the page."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    file = tmp_path / "fsdp.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1])
    given = launch_command_parser().parse_args(["--config_file", str(file), "-m", "lookboth", "train"])
    arguments, *_ = _validate_launch_command(given)
    assert arguments.use_fsdp
    for name, value in prepare_multi_gpu_env(arguments).items():
        if name.startswith(("ACCELERATE", "FSDP")):
            monkeypatch.setenv(name, value)


def test_the_settings_in_the_page_are_accepted(launched_by_page, monkeypatch):
    assert shards_weights()
    check_launch(8)
    for name, value, message in (
        ("FSDP_VERSION", "1", "fsdp_version: 2"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "true", "fsdp_cpu_ram_efficient_loading: false"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "training.precision"),
        ("LOCAL_WORLD_SIZE", "9", "--nproc-per-node 8"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            with pytest.raises(ConfigError, match=message):
                check_launch(8)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"method": "sift"}, "method = 'sift'"),
        ({"adapter": {"kind": "qlora"}}, "qlora"),
        ({"adaptation": {"objective": "mntp"}}, r"\[adaptation\]"),
    ],
)
def test_what_fsdp_does_not_train_is_refused_first(settings, named, launched_by_page, tmp_path):
    config = parse_config({"data": {"train": "wnut17"}, **settings})
    with pytest.raises(ConfigError, match=f"{named}.*FSDP"):
        run_training(config, tmp_path)
    assert not list(tmp_path.glob("seed-*"))


def test_a_checkpoint_of_another_layout_is_refused(tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint-3"
    (checkpoint / "pytorch_model_fsdp_0").mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    with pytest.raises(DataError, match="was written with FSDP, and this run is without it"):
        last_checkpoint(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert last_checkpoint(tmp_path) == str(checkpoint)
