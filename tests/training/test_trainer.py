"""Training: it learns what its plan lets it see, accumulates rightly, and survives a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_labeler
from transformers import TrainingArguments

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.trainer import fit
from lookboth.types import Example, Span

WORDS = ("the", "word", "is", "read", "in", "a", "house")
NAMES = ("quick", "brown", "fox", "lazy", "dog", "north", "plant")


def right_word_decides(number: int, seed: int = 0) -> list[Example]:
    """Sentences in which a name is a PER when the next word is "said" and a LOC when it is "near"."""
    rng = random.Random(seed)
    examples = []
    for _ in range(number):
        before = [rng.choice(WORDS) for _ in range(rng.randint(0, 4))]
        label, cue = rng.choice((("PER", "said"), ("LOC", "near")))
        place = len(before)
        words = (*before, rng.choice(NAMES), cue, rng.choice(WORDS))
        examples.append(Example(words, (Span(place, place + 1, label),)))
    return examples


def make_config(**training):
    return parse_config(
        {
            "data": {"train": "x"},
            "training": {
                "epochs": 15,
                "lr": 5e-3,
                "batch_tokens": 128,
                "precision": "fp32",
                "head_dropout": 0.0,
                "schedule": "constant",
                "warmup": 0.0,
                **training,
            },
        }
    )


def make_batches(labeler, examples, config, seed=0):
    pieces = tokenize_examples(examples, labeler.encoder, tags=labeler.config.tags, config=config)
    return RunBatches.build(pieces, config=config, seed=seed, pad_id=0)


def accuracy(labeler, examples) -> float:
    """The share of names that got the right label."""
    predictions = labeler.predict_words(example.words for example in examples)
    found = [{(span.start, span.end, span.label) for span in prediction.spans} for prediction in predictions]
    return sum(tuple(e.spans[0]) in spans for e, spans in zip(examples, found, strict=True)) / len(examples)


def train(labeler, folder, config=None, examples=None, score=None):
    """Fit a labeler on the made-up data; return its history."""
    examples = examples or right_word_decides(60)
    config = config or make_config()
    batches = make_batches(labeler, examples, config)
    return fit(
        labeler.model,
        batches,
        config=config.training,
        seed=0,
        folder=Path(folder),
        score_dev=score or (lambda: accuracy(labeler, examples)),
    )


def trained_weights(labeler) -> dict[str, torch.Tensor]:
    """The trained weights by name, copied."""
    return {n: p.detach().clone() for n, p in labeler.model.named_parameters() if p.requires_grad}


def assert_equal_weights(left, right, atol=1e-6):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], atol=atol, rtol=1e-5, msg=name)


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_rule_on_the_right_is_learned_looking_both_ways(tiny_llama_folder, tmp_path, layout, adapter):
    labeler = tiny_labeler(tiny_llama_folder, plan="full", adapter=adapter)
    history = train(labeler, tmp_path, make_config(layout=layout))
    assert history.best_score == 1
    assert accuracy(labeler, right_word_decides(40, seed=1)) > 0.9


def test_a_causal_model_cannot_learn_it(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="causal", adapter="full")
    train(labeler, tmp_path)
    assert accuracy(labeler, right_word_decides(100, seed=1)) < 0.7


def test_head_only_training_moves_the_head_only(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="full", adapter="head")
    before = {n: p.detach().clone() for n, p in labeler.model.named_parameters()}
    train(labeler, tmp_path, make_config(epochs=1))
    moved = {n for n, p in labeler.model.named_parameters() if not torch.equal(before[n], p)}
    assert moved == {"head.weight", "head.bias"}


def test_lora_leaves_the_backbone_as_it_was(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="full")
    before = {n: p.detach().clone() for n, p in labeler.model.named_parameters()}
    train(labeler, tmp_path, make_config(epochs=1))
    moved = {n for n, p in labeler.model.named_parameters() if not torch.equal(before[n], p)}
    assert moved
    assert all("lora_" in name or name.startswith("head.") for name in moved)


def test_gradient_checkpointing_changes_nothing(tiny_llama_folder, tmp_path):
    weights = []
    for checkpointing in (False, True):
        labeler = tiny_labeler(tiny_llama_folder, plan="0011")
        if checkpointing:
            labeler.model.backbone.activation_checkpointing_enable({"use_reentrant": False})
        train(labeler, tmp_path / str(checkpointing), make_config(epochs=2))
        weights.append(trained_weights(labeler))
    assert_equal_weights(*weights, atol=1e-4)


def test_accumulation_equals_big_batches(tiny_llama_folder, tmp_path):
    """Batches of very different size, summed two by two, take the steps of their unions."""
    examples = right_word_decides(40)
    halves = [[0], list(range(1, 15)), list(range(15, 38)), [38, 39]]
    unions = [halves[0] + halves[1], halves[2] + halves[3]]
    weights = []
    for plan, accumulation in ((halves, 2), (unions, 1)):
        labeler = tiny_labeler(tiny_llama_folder, plan="full")
        config = make_config(accumulation=accumulation, epochs=1)
        batches = make_batches(labeler, examples, config)
        batches = RunBatches(batches.pieces, plan, (len(plan),), "bucketed", 0)
        fit(
            labeler.model, batches, config=config.training, seed=0, folder=tmp_path / str(accumulation),
            score_dev=lambda: 0.0,
        )  # fmt: skip
        weights.append(trained_weights(labeler))
    assert_equal_weights(*weights, atol=2e-4)


@pytest.fixture
def two_gpus(monkeypatch):
    """Let transformers count two GPUs; without any, its DataParallel hands whole batches to the model as it is."""
    finish = TrainingArguments.__post_init__

    def count_two(arguments):
        finish(arguments)
        assert arguments.device.type == "cpu"  # counts what there is, once
        arguments._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", count_two)


def test_one_process_trains_on_one_gpu_of_several(tiny_llama_folder, tmp_path, request):
    """transformers would take two batches a step and cut each in two, sentences and words alike."""
    config, weights = make_config(epochs=2), []
    for name in ("one", "two_gpus"):
        if name == "two_gpus":
            request.getfixturevalue(name)
        labeler = tiny_labeler(tiny_llama_folder, plan="0011")
        history = train(labeler, tmp_path / name, config, score=lambda: 0.0)
        assert history.steps[-1] == len(make_batches(labeler, right_word_decides(60), config))
        weights.append(trained_weights(labeler))
    assert_equal_weights(*weights)


def test_the_best_weights_are_kept(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder)
    scores, seen = iter([0.1, 0.6, 0.6, 0.2]), []

    def score():
        seen.append(trained_weights(labeler))
        return next(scores)

    history = train(labeler, tmp_path, make_config(epochs=4), score=score)
    assert history.scores == [0.1, 0.6, 0.6, 0.2]
    assert (history.best_score, history.best_step) == (0.6, history.steps[1])
    assert_equal_weights(trained_weights(labeler), seen[1])
    assert load_file(tmp_path / "best.safetensors").keys() == seen[1].keys()


def test_patience_ends_a_run_and_a_second_call_does_not_go_on(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder)
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    config = make_config(epochs=5, patience=2)
    history = train(labeler, tmp_path, config, score=lambda: next(scores))
    assert history.stopped_early
    assert history.scores == [0.5, 0.4, 0.3]
    again = tiny_labeler(tiny_llama_folder)
    assert train(again, tmp_path, config, score=lambda: next(scores)) == history
    assert_equal_weights(trained_weights(again), trained_weights(labeler))


def test_a_diverged_training_says_so_and_what_to_lower(tiny_llama_folder, tmp_path, progress):
    """At the first dev score, or at the first loss that is told, whichever comes first."""
    for name, settings, found in (
        ("weights", {"epochs": 4}, r"a weight is infinite or NaN at step 5"),
        ("loss", {"epochs": 10, "evals_per_epoch": 0}, r"loss nan at step 25"),
    ):
        labeler = tiny_labeler(tiny_llama_folder)
        with pytest.raises(ConfigError, match=rf"diverged \({found}\). Lower training.lr \(1e\+30 here\)"):
            train(labeler, tmp_path / name, make_config(lr=1e30, **settings), score=lambda: 1.0)
        assert not progress()


def test_what_was_learned_before_a_training_diverged_is_kept(tiny_llama_folder, tmp_path, progress):
    labeler, seen = tiny_labeler(tiny_llama_folder), []

    def score():
        seen.append(trained_weights(labeler))
        if len(seen) == 2:
            with torch.no_grad():
                labeler.model.head.bias.fill_(float("inf"))
        return 0.5 / len(seen)

    config = make_config(epochs=4, checkpoint_steps=3)
    history = train(labeler, tmp_path, config, score=score)
    assert (history.scores, history.best_step) == ([0.5, 0.25], 5)
    assert "diverged (a weight is infinite or NaN at step 15)" in progress()[-1]
    assert "The weights of step 5 are kept" in progress()[-1]
    assert_equal_weights(trained_weights(labeler), seen[0])
    again = tiny_labeler(tiny_llama_folder)
    assert train(again, tmp_path, config, score=lambda: 1.0).scores == [0.5, 0.25]
    assert_equal_weights(trained_weights(again), seen[0])


def test_several_evaluations_an_epoch(tiny_llama_folder, tmp_path):
    history = train(
        tiny_labeler(tiny_llama_folder), tmp_path, make_config(epochs=2, evals_per_epoch=2), score=lambda: 0.0
    )
    assert len(history.steps) == 4
    assert history.steps == sorted(set(history.steps))


def resumable():
    """A setting with everything a resumed run must bring back: dropout, schedule, several epochs."""
    return make_config(epochs=4, batch_tokens=128, checkpoint_steps=3, head_dropout=0.3, schedule="linear")


@pytest.fixture(scope="module")
def uninterrupted(tiny_llama_folder, tmp_path_factory):
    """Weights and history of a run that was left alone, and its number of steps."""
    labeler = tiny_labeler(tiny_llama_folder, plan="0011", dropout=0.3)
    torch.manual_seed(0)
    history = train(labeler, tmp_path_factory.mktemp("whole"), resumable())
    return trained_weights(labeler), history


def resumed(folder, base):
    """Weights and history of the run in `folder` brought to its end, and how often it was scored for that."""
    labeler = tiny_labeler(base, plan="0011", dropout=0.3)
    scored = []

    def score():
        scored.append(accuracy(labeler, right_word_decides(60)))
        return scored[-1]

    history = train(labeler, folder, resumable(), score=score)
    return trained_weights(labeler), history, len(scored)


KILLED = """
import sys, threading
from test_trainer import accuracy, resumable, right_word_decides, tiny_labeler, train

labeler = tiny_labeler(sys.argv[1], plan="0011", dropout=0.3)
calls = []

def score():
    calls.append(1)
    if len(calls) == 3:
        threading.Event().wait()  # for the kill
    return accuracy(labeler, right_word_decides(60))

train(labeler, sys.argv[2], resumable(), score=score)
"""


def test_a_killed_run_ends_as_if_it_had_not_been(tiny_llama_folder, tmp_path, uninterrupted):
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), *sys.path])}
    command = [sys.executable, "-c", KILLED, str(tiny_llama_folder), str(tmp_path)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 900  # seconds; it takes ten alone
        history = tmp_path / "history.json"
        while not (history.is_file() and len(json.loads(history.read_text())["steps"]) == 2):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))
    weights, history, num_scored = resumed(tmp_path, tiny_llama_folder)
    assert history == uninterrupted[1]
    assert num_scored == len(history.steps) - 2  # it went on; it did not begin again
    assert_equal_weights(weights, uninterrupted[0], atol=1e-5)


@pytest.mark.parametrize("left", ["nothing", "half a file", "no state", "half a state"])
def test_a_kill_while_a_checkpoint_is_written(tiny_llama_folder, tmp_path, uninterrupted, left):
    class Killed(BaseException):
        pass

    calls = []

    def score():
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return accuracy(labeler, right_word_decides(60))

    labeler = tiny_labeler(tiny_llama_folder, plan="0011", dropout=0.3)
    with pytest.raises(Killed):
        train(labeler, tmp_path, resumable(), score=score)
    last = max((tmp_path / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = last.with_name(f"checkpoint-{int(last.name.split('-')[1]) + 1}")
    if left == "nothing":
        torn.mkdir()
    else:
        shutil.copytree(last, torn)
        state = torn / "trainer_state.json"
        if left == "half a state":
            state.write_bytes(state.read_bytes()[:100])
        else:
            state.unlink()
        if left == "half a file":
            weights = torn / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:200])
    found, history, num_scored = resumed(tmp_path, tiny_llama_folder)
    assert history == uninterrupted[1]
    assert num_scored == len(history.steps) - 2  # it went on; it did not begin again
    assert_equal_weights(found, uninterrupted[0], atol=1e-5)


def test_a_finished_run_is_not_trained_again(tiny_llama_folder, tmp_path, uninterrupted):
    first = resumed(tmp_path, tiny_llama_folder)
    labeler = tiny_labeler(tiny_llama_folder, plan="0011", dropout=0.3)

    def score():
        raise AssertionError("scored again")

    assert train(labeler, tmp_path, resumable(), score=score) == first[1]
    assert_equal_weights(trained_weights(labeler), first[0])


def test_checkpoints_hold_trained_weights_only(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    train(labeler, tmp_path, make_config(epochs=1))
    (checkpoint,) = (tmp_path / "checkpoints").glob("checkpoint-*")
    assert load_file(checkpoint / "model.safetensors").keys() == trained_weights(labeler).keys()
    assert len(labeler.model.state_dict()) > len(trained_weights(labeler))  # the hook is gone
