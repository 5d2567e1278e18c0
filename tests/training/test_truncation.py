"""truncate = true: what lies beyond max_tokens is neither learned nor scored, and counted."""

import json

import pytest
from tiny import tiny_tokenizer

from lookboth.config.recipe_files import parse_config
from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.training import truncation
from lookboth.training.splits import Splits
from lookboth.training.training_runs import train
from lookboth.training.truncation import keep_words, truncate_splits
from lookboth.types import Example, Span

LONG = Example(tuple(["the", "word"] * 40), (Span(0, 1, "PER"), Span(20, 60, "LOC"), Span(70, 71, "PER")))
SHORT = Example(("Ada", "is"), (Span(0, 1, "PER"),))


@pytest.fixture
def config(monkeypatch):
    tokenizer = tiny_tokenizer("byte-bos")
    monkeypatch.setattr(truncation, "load_tokenizer", lambda *_, **__: tokenizer)
    return parse_config({"data": {"train": "x"}, "max_tokens": 41, "overlap": 0, "truncate": True})


def test_words_and_spans_end_where_the_tokens_end_and_are_counted(config, progress):
    splits = truncate_splits(Splits([LONG, SHORT], [SHORT], {"far": [SHORT, LONG]}, {}), config)
    cut = splits.train[0]
    encoding = Encoding.detect(tiny_tokenizer("byte-bos"))
    lengths = [len(ids) for ids in WordEncoder(tiny_tokenizer("byte-bos"), encoding).encode_words(LONG.words)]
    room, kept = 41 - len(encoding.prefix_ids) - len(encoding.suffix_ids), len(cut.words)
    assert sum(lengths[:kept]) <= room < sum(lengths[: kept + 1])
    assert cut.spans == (Span(0, 1, "PER"), Span(20, kept, "LOC"))
    assert splits.train[1] == splits.dev[0] == SHORT
    lost = 80 - kept
    assert splits.unscored == {"train": lost, "dev": 0, "test:far": lost}
    assert progress() == [
        f"truncate = true: {lost} of 82 words of train are beyond 41 tokens and are not trained on.",
        f"truncate = true: {lost} of 82 words of test:far are beyond 41 tokens and are not scored.",
    ]


def test_without_the_key_nothing_is_cut(config):
    splits = Splits([LONG], [LONG], {}, {})
    assert truncate_splits(splits, config.model_copy(update={"truncate": False})) is splits


def test_a_raw_text_is_cut_with_its_words():
    text = "Ada  is in London"
    example = Example(("Ada", "is", "in", "London"), (), text, ((0, 3), (5, 7), (8, 10), (11, 17)))
    assert keep_words(example, 2) == Example(("Ada", "is"), (), "Ada  is", ((0, 3), (5, 7)))
    assert keep_words(example, 0).text == ""


def test_whole_texts_keep_their_first_tokens_and_their_label(config):
    words = ("good",) * 60
    text = " ".join(words)
    config = config.model_copy(update={"task": "classification"})
    example = Example(
        words, (), f" {text} ", tuple((1 + 5 * i, 5 + 5 * i) for i in range(60)), text_labels=("a",)
    )
    cut = truncate_splits(Splits([example], [example], {}, {}), config).dev[0]
    tokens = tiny_tokenizer("byte-bos")(cut.text.strip(), add_special_tokens=False)["input_ids"]
    whole = tiny_tokenizer("byte-bos")(text, add_special_tokens=False)["input_ids"]
    assert tokens in (whole[:40], whole[:39])  # a space at the end is no part of a text
    assert cut.text_labels == ("a",)
    assert [cut.text[start:end] for start, end in cut.offsets] == list(cut.words)


def test_a_run_says_how_much_it_did_not_score(tiny_llama_folder, tmp_path, progress):
    file = tmp_path / "data.conll"
    file.write_text("".join(f"{word} O\n" for word in LONG.words) + "\nAda B-PER\nis O\n")
    config = parse_config(
        {
            "model": str(tiny_llama_folder),
            "data": {"train": str(file), "dev": str(file), "test": str(file)},
            "max_tokens": 41,
            "overlap": 0,
            "truncate": True,
            "training": {"epochs": 1, "precision": "fp32"},
        }
    )
    (run,) = train(config, tmp_path / "run")
    lost = json.loads((run.folder / "run.json").read_text())["scores"]["unscored_words"]
    assert lost["dev"] == lost[f"test:{file}"] == 82 - sum(len(e.words) for e in run.dev.examples) > 0
    assert sum("truncate = true" in line for line in progress()) == 3
