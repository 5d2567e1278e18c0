"""Word splitters: every character is kept, libraries are named, and a labeler keeps the one it was trained with."""

import json
import sys
from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import example, given, strategies as st
from tiny import tiny_labeler
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.config import parse_config
from lookboth.data import splitters
from lookboth.data.checks import check_data
from lookboth.data.conversion.converting import convert
from lookboth.data.readers import ReadOptions, read_dataset
from lookboth.data.splitters import named_splitter
from lookboth.data.words import split_words
from lookboth.errors import ConfigError
from lookboth.inference import reading_for
from lookboth.labelers import Labeler
from lookboth.serving.steps import stepper_of
from lookboth.training.continuation import continued

THAI = "ฉันรักกรุงเทพ มาก"


def words_of(name, text):
    return [text[start:end] for start, end in named_splitter(name)(text)]


@pytest.fixture
def fake_jieba(monkeypatch):
    """A module with jieba's functions that cuts into pieces of two characters."""
    module = ModuleType("jieba")
    module.setLogLevel = lambda level: None
    module.lcut = lambda text: [text[i : i + 2] for i in range(0, len(text), 2)]
    monkeypatch.setitem(sys.modules, "jieba", module)
    splitters._pieces_function.cache_clear()
    yield
    splitters._pieces_function.cache_clear()


def test_characters_keep_their_marks():
    assert words_of("char", "ก็ดี é") == ["ก็", "ดี", "é"]
    assert named_splitter("") is split_words


@example("0 0", ["0 0"])
@given(st.text(max_size=40), st.lists(st.text(max_size=5), max_size=12))
def test_no_character_is_lost_whatever_a_library_returns(text, pieces):
    places = list(splitters._places(text, pieces))
    assert "".join(text[a:b] for a, b in places) == "".join(text.split())
    assert all(a < b for a, b in places)
    assert all(left[1] <= right[0] for left, right in pairwise(places))


def test_a_spacy_language_splits_words():
    pytest.importorskip("spacy")
    assert words_of("spacy:xx", "in Oslo") == ["in", "Oslo"]
    with pytest.raises(ConfigError, match="spaCy has no such language"):
        named_splitter("spacy:nope")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("jieba", "jieba", "chinese"), ("pythainlp", "pythainlp", "thai"), ("fugashi", "fugashi", "japanese")],
)
def test_a_missing_library_and_an_unknown_name_are_errors(name, module, extra, monkeypatch):
    for each in (module, f"{module}.tokenize"):
        monkeypatch.setitem(sys.modules, each, None)
    splitters._pieces_function.cache_clear()
    with pytest.raises(ConfigError, match=rf"pip install 'lookboth\[{extra}\]'"):
        named_splitter(name)
    with pytest.raises(ConfigError, match="allowed are char, jieba, pythainlp, fugashi, spacy:LANGUAGE"):
        named_splitter("mecab")


def test_texts_are_read_with_the_splitter_and_own_tokens_stay(fake_jieba, tmp_path):
    path, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    records = [
        {"text": "我们北京", "spans": [[2, 4, "LOC"]]},
        {"text": "北京好", "tokens": ["北京", "好"], "spans": [[0, 2, "LOC"]]},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    dataset = read_dataset(path, ReadOptions(splitter="jieba"))
    assert [example.words for example in dataset.examples] == [("我们", "北京"), ("北京", "好")]
    assert read_dataset(path).examples[0].words == ("我", "们", "北", "京")
    convert("json", path, out, splitter="jieba")
    assert [example.words for example in read_dataset(out).examples] == [("我们", "北京"), ("北京", "好")]
    result = CliRunner().invoke(app, ["check-data", str(path), "--splitter", "jieba"])
    assert "4 words" in result.output


def test_words_are_cut_at_the_borders_of_spans_on_request(tmp_path):
    path, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    spans = [[5, 9, "GENE"], [16, 17, "X"]]
    path.write_text(json.dumps({"text": "anti-IL10 and abcd", "spans": spans}))
    assert "see --cut-words" in read_dataset(path).problems[0].message
    dataset = read_dataset(path, ReadOptions(cut_words=True))
    assert dataset.examples[0].words == ("anti-", "IL10", "and", "ab", "c", "d")
    assert [(s.start, s.label) for s in dataset.examples[0].spans] == [(1, "GENE"), (4, "X")]
    assert [problem.fatal for problem in dataset.problems] == [False, False]
    assert CliRunner().invoke(app, ["convert", "json", str(path), str(out), "--cut-words"]).exit_code == 0
    assert read_dataset(out).examples[0].words == dataset.examples[0].words


def test_a_script_without_blanks_is_named_once(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": THAI + str(n), "spans": []}) + "\n" for n in range(3)))
    assert [p.kind for p in check_data([path]).problems].count("splitter") == 1
    assert "--splitter" in next(p.message for p in read_dataset(path).problems)
    assert not read_dataset(path, ReadOptions(splitter="char")).problems


def test_a_labeler_keeps_its_splitter(tiny_llama_folder, fake_jieba, tmp_path, monkeypatch):
    labeler = tiny_labeler(tiny_llama_folder)
    labeler.config = replace(labeler.config, encoding=replace(labeler.config.encoding, splitter="jieba"))
    labeler.save_pretrained(tmp_path / "labeler")
    loaded = Labeler.from_pretrained(tmp_path / "labeler", device="cpu")
    words = ("我们", "北京")
    assert loaded.predict("我们北京")[0].words == words
    stepper = stepper_of(loaded)
    assert stepper.cut("我们北京").example.words == words
    assert reading_for(loaded, None).splitter == "jieba"
    recipe = {"start": {"labeler": str(tmp_path / "labeler")}, "data": {"train": "x.jsonl"}}
    assert continued(parse_config(recipe)).data.splitter == "jieba"
    (tmp_path / "in.txt").write_text("我们北京\n", encoding="utf-8")
    arguments = [
        "predict",
        str(tmp_path / "in.txt"),
        "--model",
        str(tmp_path / "labeler"),
        "--format",
        "conll",
    ]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert [line.split("\t")[0] for line in result.stdout.split("\n") if line] == list(words), (
        result.exception
    )
    monkeypatch.setitem(sys.modules, "jieba", None)
    splitters._pieces_function.cache_clear()
    with pytest.raises(ConfigError, match="'jieba' needs jieba"):
        Labeler.from_pretrained(tmp_path / "labeler", device="cpu")
