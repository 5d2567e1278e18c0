"""The data types of lookboth, in the order of the flow from text to prediction (see ARCHITECTURE.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

Task = Literal["labeling", "classification"]  # labels of words, or labels of whole texts
# The tag of a word; several for multi-label and nested heads.
TagId: TypeAlias = int | tuple[int, ...]


class Span(NamedTuple):
    """A labeled range of words, end exclusive.

    >>> Span(0, 2, "PER")
    Span(start=0, end=2, label='PER')
    """

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Example:
    """One text of the data: its words, its spans, and its place in the source.

    Args:
        words: the words, in order; tags and spans refer to words.
        spans: labeled spans over `words`, sorted by start. They overlap only in data that are read for a nested head.
            In a task that labels every word (POS), each span is one word long.
        text: the raw text of the words, or None if the data contains words only.
        offsets: (start, end) of each word in `text`, end exclusive; empty if `text` is None.
        source: "file:line" of the first word, for messages.
        text_labels: labels of the whole text, in text classification; several in a multi-label task.
        label_set: the labels that are annotated in its data, each as "name" or, for open labelers, "name: description";
            empty: all. Only these are scored, and words without label may have any other one.
        document: words of all texts of its document, in order, the same object for each of them; empty if it is a
            document of its own. Labelers with `context` read them with the text.
        place: index of the text in `document`.
    """

    words: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()
    source: str = ""
    text_labels: tuple[str, ...] = ()
    label_set: tuple[str, ...] = ()
    # Neither compared nor shown: they are the content of other texts.
    document: tuple[tuple[str, ...], ...] = field(default=(), compare=False, repr=False)
    place: int = field(default=0, compare=False, repr=False)

    def labels(self) -> tuple[str, ...]:
        """Return the labels of all spans and of the whole text, in order, with repetitions."""
        return (*(span.label for span in self.spans), *self.text_labels)

    def labeled_spans(self) -> tuple[Span, ...]:
        """Return the spans, with each label of the whole text as a span over all words.

        >>> Example(("so", "it", "is"), text_labels=("joy",)).labeled_spans()
        (Span(start=0, end=3, label='joy'),)
        """
        return (*self.spans, *(Span(0, len(self.words), label) for label in self.text_labels))


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """One example, or one window of a long example, as token ids with the tokens of each word.

    Args:
        input_ids: token ids, shape (t,), special tokens included.
        word_tokens: half-open token range [first, end) of each word in `input_ids`, shape (w, 2).
        labels: the tag id of each word, shape (w,), or -100 for words that are context only. In multi-label tasks,
            0 or 1 for each tag, shape (w, num_tags). For a nested head, the tag in each sequence, shape
            (w, num_sequences). None for prediction.
        example: index of its Example.
        first_word: index in the Example of the first word of the window (0 in the first window).
        asked: numbers of the label texts that an open labeler in training is asked for; None for other labelers.
        shares_row: whether examples with this same object as `input_ids` are one row of a batch: the sentences of a
            document that is read in one window.
    """

    input_ids: tuple[int, ...]
    word_tokens: tuple[tuple[int, int], ...]
    labels: tuple[TagId, ...] | None = None
    example: int = 0
    first_word: int = 0
    # Not shown: only training of open labelers sets it.
    asked: tuple[int, ...] | None = field(default=None, repr=False)
    shares_row: bool = field(default=False, repr=False)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)


class PredictedSpan(NamedTuple):
    """A span found in a text.

    Args:
        start: index of the first word, end: index after the last word.
        label: for example "PER".
        text: the exact substring of the caller's text.
        start_char, end_char: half-open character range in the caller's text.
        score: probability of the span under the model, in [0, 1].
    """

    start: int
    end: int
    label: str
    text: str
    start_char: int
    end_char: int
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: character offsets, label, text and score."""
        return {
            "start": self.start_char,
            "end": self.end_char,
            "label": self.label,
            "text": self.text,
            "score": round(self.score, 4),
        }


class TextLabel(NamedTuple):
    """A label of a whole text with its probability under the model, in [0, 1]."""

    label: str
    score: float


def is_above(score: float | Mapping[str, float | None], label: str, found: float) -> bool:
    """Whether the score `found` of a span or label reaches a minimum, as in `Prediction.above`."""
    least = score.get(label, 0.0) if isinstance(score, Mapping) else score
    return least is not None and found >= least


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of a labeler for one text.

    Args:
        text: the caller's text; for input as words, the words joined by one space.
        words: the labeled words; offsets: their character ranges in `text`.
        tags: the tag of each word in the labeler's scheme; empty if whole texts are labeled, or if spans may overlap.
        spans: the labeled spans, in order; those of a nested head may overlap.
        labels: the labels of the whole text, best first: one, or any number in a multi-label task; None if words
            are labeled.
        problems: the kind of each part of a generative labeler's answer that could not be parsed; see
            `generative.answer_parsing.AnswerProblem`.
        tag_sets: the prediction set of each word, most probable tag first. It contains the gold tag with the coverage
            of the calibration. For a whole text one set of labels; None without such a calibration.
    """

    text: str
    words: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    spans: tuple[PredictedSpan, ...] = ()
    labels: tuple[TextLabel, ...] | None = None
    problems: tuple[str, ...] = ()
    tag_sets: tuple[tuple[str, ...], ...] | None = None

    def above(self, score: float | Mapping[str, float | None]) -> "Prediction":
        """Return the prediction without spans and labels that score below `score`; tags do not change.

        Args:
            score: minimum score of all labels, or of each label. None as the score of a label removes all its spans;
                a label without an entry is kept.
        """
        spans = tuple(span for span in self.spans if is_above(score, span.label, span.score))
        if self.labels is None:
            return replace(self, spans=spans)
        labels = tuple(item for item in self.labels if is_above(score, *item))
        return replace(self, spans=spans, labels=labels)

    def labeled_spans(self) -> tuple[PredictedSpan, ...]:
        """Return the spans, with each label of the whole text as a span over all words."""
        # Spans are the common form in which evaluation counts both tasks.
        words, chars = len(self.words), len(self.text)
        whole = (PredictedSpan(0, words, n, self.text, 0, chars, score) for n, score in self.labels or ())
        return (*self.spans, *whole)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: the text, and its spans with character offsets and scores or its labels."""
        if self.labels is not None:
            labels = [{"label": label, "score": round(score, 4)} for label, score in self.labels]
            sets = {} if self.tag_sets is None else {"label_set": list(self.tag_sets[0])}
            return {"text": self.text, "labels": labels, **sets}
        return {
            "text": self.text,
            "spans": [span.to_dict() for span in self.spans],
            **self._sets_to_dict(),
        }

    def _sets_to_dict(self) -> dict[str, Any]:
        if self.tag_sets is None:
            return {}
        pairs = zip(self.offsets, self.tag_sets, strict=True)
        return {
            "tag_sets": [{"start": start, "end": end, "tags": list(tags)} for (start, end), tags in pairs]
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem found in data by a reader or a check, with its place.

    Args:
        where: "file:line".
        message: the finding, and the allowed values.
        repaired: the effect of the automatic repair, or "" if there is none.
        kind: short machine-readable name, for example "ill-formed-tag".
        fatal: whether training refuses the data.
    """

    where: str
    message: str
    kind: str
    repaired: str = ""
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of one split, with the problems found while reading them.

    Args:
        examples: the examples, in file order.
        scheme: tag scheme of the data ("IOB2", "plain", ...); "text" if labels belong to whole texts.
        problems: problems found by the reader, in file order; empty for clean data.
        name: file or data set id of the data.
    """

    examples: Sequence[Example]
    scheme: str = "IOB2"
    problems: Sequence[Problem] = field(default_factory=tuple)
    name: str = ""

    def labels(self) -> tuple[str, ...]:
        """Return all labels that occur, sorted."""
        return tuple(sorted({label for example in self.examples for label in example.labels()}))
