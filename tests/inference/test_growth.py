"""Time grows with the length of a text, not with its square."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_tokenizer

from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.data.contexts import WindowSizes
from lookboth.data.words import example_from_text
from lookboth.generative.codecs.codec_registry import CODECS
from lookboth.inference.confidence import Confidence
from lookboth.inference.decoding import span_scores
from lookboth.inference.formats import FORMATS, render
from lookboth.inference.likelihoods import Likelihood
from lookboth.inference.pipeline import label_chunk
from lookboth.types import Span

TAGS = ("O", "B-PER", "I-PER")
SENTENCE = "Ada Lovelace was born in London and worked with Charles Babbage . "
TEXTS = {"words": SENTENCE, "one word": "abcdefg", "no spaces": "北京", "marks": "-.'", "blank": " \n"}


class Drawn:
    """A labeler whose scores are drawn, so that nothing but the way around the model takes time."""

    batch_tokens = 2048

    def __init__(self, task: str) -> None:
        tokenizer = tiny_tokenizer("byte-bos")
        self.encoder = WordEncoder(tokenizer, Encoding.detect(tokenizer))
        self.config = SimpleNamespace(
            task=task,
            tags=TAGS,
            scheme="IOB2",
            is_nested=False,
            encoding=self.encoder.encoding,
            max_tokens=512,
            overlap=64,
            window_sizes=WindowSizes(max_tokens=512, overlap=64),
            label_on="last",
            threshold=None,
            confidence=Confidence(coverage=0.9, quantiles=dict.fromkeys(TAGS, 0.5)),
        )
        self.random = np.random.default_rng(0)

    def likelihood(self) -> Likelihood:
        return Likelihood()

    def score(self, batch):
        rows = sum(len(piece.word_tokens) for piece in batch)
        return self.random.normal(size=(rows, len(TAGS))).astype(np.float32)


def label(text: str, task: str = "labeling"):
    (prediction,) = label_chunk(Drawn(task), [example_from_text(text)], batch_tokens=None)
    return prediction


def require_linear(make, size: int) -> None:
    """Fail if four times as much takes more than eight times as long (its square: sixteen times)."""
    small, large = make(size), make(4 * size)
    for _attempt in range(5):  # the work of other processes may fall on either
        seconds = [min(_seconds(run) for _ in range(2)) for run in (small, large)]
        if seconds[1] < 8 * seconds[0] + 0.01:
            return
    pytest.fail(f"{seconds[0]:.3f} s become {seconds[1]:.3f} s")


def _seconds(run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@pytest.mark.parametrize("task", ["labeling", "classification"])
@pytest.mark.parametrize("kind", TEXTS)
def test_from_text_to_prediction(kind, task):
    def make(size):
        text = TEXTS[kind] * (size // len(TEXTS[kind]))
        return lambda: label(text, task)

    require_linear(make, 20_000)


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "brat"])
def test_formats(format):
    def make(size):
        prediction = label(SENTENCE * (size // len(SENTENCE)))
        return lambda: list(render([prediction], format))

    require_linear(make, 20_000)


@pytest.mark.parametrize("name", CODECS)
def test_answers_are_written_and_read(name):
    codec = CODECS[name](["PER"])

    def make(size):
        words = SENTENCE.split() * (size // 12)
        spans = [Span(start, start + 1, "PER") for start in range(0, len(words), 2)]
        return lambda: codec.parse(codec.encode(words, spans), words)

    require_linear(make, 2_000)


class Counted(list):
    """Tag ids that count how often they are read as a whole."""

    read = 0

    def __iter__(self):
        self.read += 1
        return super().__iter__()

    def __array__(self, dtype=None, copy=None):
        self.read += 1
        return np.array(list(super().__iter__()), dtype=dtype)


def test_tags_are_converted_once_however_many_spans_there_are():
    ids = Counted([1] * 50)
    log_probs = np.log(np.full((50, len(TAGS)), 0.5))
    scores = span_scores(log_probs, ids, [Span(word, word + 1, "PER") for word in range(50)])
    assert scores == pytest.approx([0.5] * 50)
    assert ids.read <= 2
