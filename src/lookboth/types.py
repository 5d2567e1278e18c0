"""The values that travel through lookboth, in the order they appear in the flow (see ARCHITECTURE.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Task = Literal["labeling", "classification"]  # what has labels: the words of a text, or the whole text


class Span(NamedTuple):
    """A labeled run of words, end exclusive.

    >>> Span(0, 2, "PER")
    Span(start=0, end=2, label='PER')
    """

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Example:
    """One text of the data: its words, the spans over them, and where they stand in the source.

    Args:
        words: the words, in order; tags and spans belong to words.
        spans: labeled spans over `words`, sorted by start, not overlapping. In a task that labels
            every word (POS), each span is one word long.
        text: the raw text the words were cut from, or None when the data came as words.
        offsets: (start, end) of each word in `text`, end exclusive; empty when `text` is None.
        source: "file:line" of the first word, for messages.
        text_labels: labels of the whole text, in text classification; several in a multi-label task.
    """

    words: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()
    source: str = ""
    text_labels: tuple[str, ...] = ()

    def labels(self) -> tuple[str, ...]:
        """Return the label of each span and those of the whole text, in order, as often as they occur."""
        return (*(span.label for span in self.spans), *self.text_labels)

    def labeled_spans(self) -> tuple[Span, ...]:
        """Return the spans, a label of the whole text as a span over all words.

        >>> Example(("so", "it", "is"), text_labels=("joy",)).labeled_spans()
        (Span(start=0, end=3, label='joy'),)
        """
        return (*self.spans, *(Span(0, len(self.words), label) for label in self.text_labels))


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """One example (or one window of a long one) as token ids, with the tokens of each word.

    Args:
        input_ids: token ids, shape (t,), special tokens included.
        word_tokens: for each word its half-open token range [first, end) in `input_ids`, shape (w, 2).
        labels: the tag id of each word, shape (w,), -100 where a word is context only; 0 or 1 for each tag,
            shape (w, num_tags), where a text may have several labels; None for prediction.
        example: index of the Example this comes from.
        first_word: index in the Example of the first word here (not 0 only in later windows).
    """

    input_ids: tuple[int, ...]
    word_tokens: tuple[tuple[int, int], ...]
    labels: tuple[int | tuple[int, ...], ...] | None = None
    example: int = 0
    first_word: int = 0

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)


class PredictedSpan(NamedTuple):
    """A span found in a text.

    Args:
        start: first word, end: one past the last word.
        label: for example "PER".
        text: the exact substring of the caller's text.
        start_char, end_char: half-open character range in the caller's text.
        score: probability the model gives the span, in [0, 1].
    """

    start: int
    end: int
    label: str
    text: str
    start_char: int
    end_char: int
    score: float


class TextLabel(NamedTuple):
    """A label of a whole text with the probability the model gives it, in [0, 1]."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a labeler found in one text.

    Args:
        text: the caller's text; for given words, the words joined by one space.
        words: the words that were labeled; offsets: their character ranges in `text`.
        tags: the tag of each word in the labeler's scheme; none where whole texts are labeled.
        spans: the labeled spans, in order.
        labels: the labels of the whole text, best first: one, or any number in a multi-label task; None where
            words are labeled.
        problems: the kind of each thing a generative labeler wrote that could not be read; see
            `generative.reading.AnswerProblem`.
        tag_sets: for each word the tags among which the right one is with the coverage that the labeler was calibrated
            to, most probable first; of a whole text one set of labels; None without such a calibration.
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
        """Return the prediction without what scores below `score`; the tags stay as they are.

        Args:
            score: for all labels, or for each; None leaves out all of a label, and one without an entry stays.
        """

        def kept(label: str, found: float) -> bool:
            least = score.get(label, 0.0) if isinstance(score, Mapping) else score
            return least is not None and found >= least

        spans = tuple(span for span in self.spans if kept(span.label, span.score))
        if self.labels is None:
            return replace(self, spans=spans)
        return replace(self, spans=spans, labels=tuple(item for item in self.labels if kept(*item)))

    def labeled_spans(self) -> tuple[PredictedSpan, ...]:
        """Return the spans, a label of the whole text as a span over all words."""
        words, chars = len(self.words), len(self.text)
        whole = (PredictedSpan(0, words, n, self.text, 0, chars, score) for n, score in self.labels or ())
        return (*self.spans, *whole)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: the text and its spans with character offsets and scores, or its labels."""
        if self.labels is not None:
            labels = [{"label": label, "score": round(score, 4)} for label, score in self.labels]
            sets = {} if self.tag_sets is None else {"label_set": list(self.tag_sets[0])}
            return {"text": self.text, "labels": labels, **sets}
        return {
            "text": self.text,
            "spans": [
                {
                    "start": s.start_char,
                    "end": s.end_char,
                    "label": s.label,
                    "text": s.text,
                    "score": round(s.score, 4),
                }
                for s in self.spans
            ],
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
    """Something a reader or a check found in data, with its place.

    Args:
        where: "file:line".
        message: what was found and what is allowed.
        repaired: what a repair does, or "" where nothing can be done automatically.
        kind: short machine-readable name, for example "ill-formed-tag".
        fatal: whether training refuses the data as it stands.
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
    """Examples of one split with everything that was noticed while they were read.

    Args:
        examples: in file order.
        scheme: the tag scheme the data is written in ("IOB2", "plain", ...); "text" where labels belong to
            whole texts.
        problems: what the reader found, in file order; empty for clean data.
        name: the file or data set id it came from.
    """

    examples: Sequence[Example]
    scheme: str = "IOB2"
    problems: Sequence[Problem] = field(default_factory=tuple)
    name: str = ""

    def labels(self) -> tuple[str, ...]:
        """Return the labels that occur, sorted."""
        return tuple(sorted({label for example in self.examples for label in example.labels()}))
