"""What to annotate first: measures against their definitions, choices against brute force."""

import json
import time
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny import CORPUS, tiny_labeler
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.data.readers import example_from_text, read_dataset
from lookboth.errors import ConfigError
from lookboth.inference.suggestions import MEASURES, _as_choices, spread_out, suggest

TEXTS = [*CORPUS, "x", "  ", "", CORPUS[0]]


@pytest.fixture(scope="module")
def labeler(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    torch.manual_seed(7)
    with torch.no_grad():
        labeler.model.head.weight.normal_(0, 2.0)
    return labeler


def random_log_probs(seed, words=5, tags=4, sharpness=1.0):
    scores = sharpness * np.random.default_rng(seed).normal(size=(words, tags))
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", list(MEASURES))
def test_measures_are_0_when_sure_largest_when_uniform_and_blind_to_the_order_of_tags(name):
    measure = MEASURES[name]
    sure = np.log(np.clip(np.eye(4)[[0, 2, 1]], 1e-300, 1))
    uniform = np.full((3, 4), -np.log(4))
    assert measure(sure) == pytest.approx(0, abs=1e-9)
    for seed in range(20):
        log_probs = random_log_probs(seed)
        assert 0 < measure(log_probs) < measure(uniform)
        assert measure(log_probs[:, ::-1]) == pytest.approx(measure(log_probs))
        assert measure(np.concatenate([log_probs, log_probs])) == pytest.approx(measure(log_probs))
        assert measure(random_log_probs(seed, sharpness=4)) < measure(log_probs)


def test_labels_decided_one_by_one_are_as_many_choices_between_two():
    choices = _as_choices(np.log([[0.25, 0.999, 1.0]]))
    np.testing.assert_allclose(np.exp(choices).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(choices[0]), [0.25, 0.75])
    assert np.isfinite(choices).all()


words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4)


def distance(a, b):
    return 1 - len(set(a) & set(b)) / len(set(a) | set(b))


@settings(max_examples=60, deadline=None)
@given(st.lists(words, min_size=1, max_size=7), st.integers(1, 4))
def test_greedy_centers_are_within_twice_the_best_radius(texts, k):
    """Gonzalez 1985: the largest distance to a center is at most twice that of the best k centers."""
    chosen = spread_out(texts, k)
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen) == min(k, len(texts))

    def radius(centers):
        return max(min(distance(text, texts[c]) for c in centers) for text in texts)

    best = min(radius(centers) for centers in combinations(range(len(texts)), len(chosen)))
    assert radius(chosen) <= 2 * best + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefABC"), max_size=5), max_size=12), st.integers(1, 13))
def test_each_next_text_is_the_farthest_and_of_equals_the_first(texts, k):
    bags = [{word.lower() for word in text} for text in texts]
    chosen: list[int] = []
    while len(chosen) < min(k, len(texts)):
        rest = [index for index in range(len(texts)) if index not in chosen]
        chosen.append(max(rest, key=lambda i: min((jaccard(bags[i], bags[c]) for c in chosen), default=2)))
    assert spread_out(texts, k) == chosen


def jaccard(a, b):
    return 1 - len(a & b) / (len(a | b) or 1)


def test_thousands_of_texts_are_spread_out_in_seconds():
    rng = np.random.default_rng(0)
    texts = [[f"w{number}" for number in rng.zipf(1.3, size=20)] for _ in range(15_000)]
    start = time.process_time()
    assert len(spread_out(texts, 3_000)) == 3_000
    assert time.process_time() - start < 20


@pytest.mark.parametrize("name", list(MEASURES))
def test_without_a_pool_texts_come_by_uncertainty_each_once(labeler, name):
    found = suggest(labeler, map(example_from_text, TEXTS), num_texts=10, measure=name, pool=1)
    values = [s.uncertainty for s in found]
    assert values == sorted(values, reverse=True)
    assert sorted(s.prediction.text for s in found) == sorted({*CORPUS, "x"})
    assert [
        s.prediction
        for s in suggest(labeler, map(example_from_text, TEXTS), num_texts=2, measure=name, pool=1)
    ] == [s.prediction for s in found[:2]]


def test_a_pool_starts_with_the_most_uncertain_and_goes_on_with_other_words(labeler):
    like = [f"{CORPUS[1]} {end}" for end in "abc"]
    examples = [example_from_text(text) for text in (*like, CORPUS[3])]
    first = suggest(labeler, examples, num_texts=1, pool=4)[0]
    two = suggest(labeler, examples, num_texts=2, pool=4)
    assert two[0] == first
    assert {s.prediction.text for s in two} > {CORPUS[3]}


def test_labelers_of_whole_texts_are_asked_too(tiny_llama_folder):
    from dataclasses import replace

    from lookboth.labelers.labeler import Labeler

    made = tiny_labeler(tiny_llama_folder, scheme="plain", labels=("bad", "good"))
    of_texts = Labeler(replace(made.config, task="classification"), made.model, made.tokenizer)
    found = suggest(of_texts, map(example_from_text, CORPUS), num_texts=2)
    assert all(s.prediction.labels and 0 < s.uncertainty < np.log(4) for s in found)


@pytest.mark.parametrize("wrong", [{"measure": "taste"}, {"num_texts": 0}, {"pool": 0}])
def test_wrong_wishes_are_refused(labeler, wrong):
    with pytest.raises(ConfigError, match="allowed are the measures entropy"):
        suggest(labeler, [], **{"num_texts": 1, **wrong})


def test_the_command_prints_lines_that_can_be_trained_on_after_correction(labeler, tmp_path):
    labeler.save_pretrained(tmp_path / "labeler")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    arguments = ["suggest", str(tmp_path / "texts.txt"), "-m", str(tmp_path / "labeler"), "-n", "3"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 3
    assert all(record["uncertainty"] > 0 for record in records)
    again = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out.jsonl")])
    assert again.exit_code == 0, again.output
    dataset = read_dataset(tmp_path / "out.jsonl")
    assert not dataset.problems
    assert [e.text for e in dataset.examples] == [record["text"] for record in records]
    tasks = CliRunner().invoke(app, [*arguments, "-f", "prodigy"])
    assert [json.loads(line)["text"] for line in tasks.stdout.splitlines()] == [
        e.text for e in dataset.examples
    ]
