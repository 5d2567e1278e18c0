"""The set of valid answers: one automaton per query and answer format, over pieces of text (pure Python).

A path from `start` to `END` is a valid answer: it follows the format, copies the words of the query and uses
known labels only. Its spans are known by construction and need no parsing.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from lookboth.data import OUTSIDE, allowed_transitions, decode_tags, tags_for_labels
from lookboth.errors import ConfigError
from lookboth.generative.codecs import Codec, JsonCodec, MarkupCodec, PairsCodec, TagsCodec
from lookboth.generative.escaping import normalize
from lookboth.types import Span

END = ("end",)
State = Any  # a tuple; each automaton defines its meaning


class Choice(NamedTuple):
    """One transition of an automaton.

    Args:
        piece: the text to write, split as in `Codec.pieces`; "" if none.
        state: the next state.
        begins: whether the decision about a span starts with this transition.
        span: the span that is complete after this transition.
        tag: the tag that is written, in the format "tags".
    """

    piece: str
    state: State
    begins: bool = False
    span: Span | None = None
    tag: str | None = None


class Trace(NamedTuple):
    """A span of an answer and the range [first, end) of the transitions that decide it."""

    span: Span
    first: int
    end: int


class Automaton(ABC):
    """All valid answers about one query.

    Args:
        words: words of the query.
        codec: answer format with the known labels.
    """

    start: State

    def __init__(self, words: Sequence[str], codec: Codec) -> None:
        self.words = tuple(words)
        self.labels = codec.labels
        # Tags of the scheme "plain" cannot represent longer spans.
        self._one_word = codec.scheme == "plain"
        self._choices: dict[State, tuple[Choice, ...]] = {}
        # Capitalization is a cheap guess of where names start and end. It only affects speed.
        self._capital = [word[:1].isupper() for word in self.words]

    def choices(self, state: State) -> tuple[Choice, ...]:
        """Return the transitions from `state`, in a fixed order; none at `END`."""
        if state not in self._choices:
            self._choices[state] = () if state == END else tuple(self._from(state))
        return self._choices[state]

    @abstractmethod
    def _from(self, state: State) -> list[Choice]:
        """Return the transitions from a state other than the end."""

    @abstractmethod
    def draft(self, state: State) -> Sequence[Choice]:
        """Return the likely transitions at `state`, for speculation only; empty if none is likely."""

    def read(self, path: Sequence[Choice]) -> list[Trace]:
        """Return the spans of an answer in order, each with the transitions that decide it."""
        traces, first = [], 0
        for index, choice in enumerate(path):
            if choice.begins:
                first = index
            if choice.span is not None:
                traces.append(Trace(choice.span, first, index + 1))
        return traces

    def _goes_on(self, start: int, word: int) -> bool:
        """Guess whether a span that starts at `start` includes `word`: both are capitalized.

        After an incorrect guess the end is guessed again at each power of two, so that few guesses are incorrect.
        """
        if word >= len(self.words):
            return False
        length = word - start
        ends_here = self._capital[word - 1] and not self._capital[word]
        return (self._capital[start] and self._capital[word]) or not (ends_here or length & (length - 1) == 0)


class MarkupAutomaton(Automaton):
    """Answers that copy the query with its spans in brackets; a state is (next word, start of the open span).

    >>> automaton = MarkupAutomaton(["in", "York"], MarkupCodec(["LOC"]))
    >>> [choice.piece for choice in automaton.choices((1, None))]
    [' York', ' [']
    >>> [choice.span for choice in automaton.choices((2, 1))]
    [Span(start=1, end=2, label='LOC')]
    """

    start = (0, None)

    def __init__(self, words: Sequence[str], codec: MarkupCodec) -> None:
        super().__init__(words, codec)
        self._codec = codec

    def _from(self, state: State) -> list[Choice]:
        word, start = state
        if start is None:
            return self._outside(word)
        goes_on = word < len(self.words) and not (self._one_word and word > start)
        inside = [self._word(word, start)] if goes_on else []
        if word == start:
            return inside
        return inside + [
            Choice(self._codec.close_piece(label), (word, None), span=Span(start, word, label))
            for label in self.labels
        ]

    def _outside(self, word: int) -> list[Choice]:
        if word == len(self.words):
            return [Choice("", END)]
        opened = Choice(self._codec.open_piece(first=word == 0), (word, word), begins=True)
        return [self._word(word, None), *([opened] if self.labels else [])]

    def _word(self, word: int, start: int | None) -> Choice:
        first = word in (0, start)
        return Choice(self._codec.word_piece(self.words[word], first=first), (word + 1, start))

    def draft(self, state: State) -> Sequence[Choice]:
        """Guess that no span opens, and that a span includes capitalized words."""
        word, start = state
        choices = self.choices(state)
        if start is None or word == start or (not choices[0].span and self._goes_on(start, word)):
            return choices[:1]
        return [choice for choice in choices if choice.span]


class TagsAutomaton(Automaton):
    """Answers with a tag per word; a state is (word, whether it is written, index of the previous tag).

    >>> automaton = TagsAutomaton(["in", "York"], TagsCodec(["LOC"]))
    >>> [choice.piece for choice in automaton.choices((1, True, 0))]
    ['/O', '/B-LOC']
    """

    def __init__(self, words: Sequence[str], codec: TagsCodec) -> None:
        super().__init__(words, codec)
        if codec.scheme not in ("IOB2", "IOBES", "plain"):
            raise ConfigError(
                f"constrained decoding of tags supports the schemes IOB2, IOBES and plain, not {codec.scheme!r}. "
                "Set scheme = 'IOB2'."
            )
        self._codec = codec
        self._tags = tags_for_labels(codec.labels, codec.scheme)
        self._allowed = allowed_transitions(self._tags, codec.scheme)
        # The index after the last tag stands for the start of the sentence in `allowed_transitions`.
        self.start = (0, False, len(self._tags))

    def _from(self, state: State) -> list[Choice]:
        word, written, before = state
        if word == len(self.words):
            return [Choice("", END)]
        if not written:
            return [Choice(self._codec.word_piece(self.words[word], first=word == 0), (word, True, before))]
        # IOBES must close its span before the end of the sentence.
        last = word + 1 == len(self.words)
        return [
            Choice(self._codec.tag_piece(tag), (word + 1, False, number), tag=tag)
            for number, tag in enumerate(self._tags)
            if self._allowed[before, number] and (not last or self._allowed[number, -1])
        ]

    def draft(self, state: State) -> Sequence[Choice]:
        """Guess "O", and that a span continues over capitalized words."""
        word, written, before = state
        choices = self.choices(state)
        if not written or not choices:
            return choices
        open_label = self._tags[before].partition("-") if before < len(self._tags) else ("O", "", "")
        if open_label[0] in {"B", "I"} and self._goes_on(word - 1, word):
            return [choice for choice in choices if choice.tag == f"I-{open_label[2]}"]
        return [choice for choice in choices if choice.tag == OUTSIDE]

    def read(self, path: Sequence[Choice]) -> list[Trace]:
        """Return the spans encoded by the tags; a span is decided by the tags of its words."""
        places = [index for index, choice in enumerate(path) if choice.tag is not None]
        tags = [path[index].tag or "" for index in places]
        return [
            Trace(span, places[span.start], places[span.end - 1] + 1)
            for span in decode_tags(tags, self._codec.scheme)
        ]


class MentionsAutomaton(Automaton):
    """Answers that list spans by their words, in text order: the formats pairs and JSON.

    A state is ("head",), ("list", end of the previous span, whether there is none), ("words", possible
    starts, number of words so far), or ("nth", starts, number of words, label).

    >>> automaton = MentionsAutomaton(["York", "or", "York"], JsonCodec(["LOC"]))
    >>> [choice.piece for choice in automaton.choices(("nth", (0, 2), 1, "LOC"))]
    ['}', ', "nth": 2}']
    """

    def __init__(self, words: Sequence[str], codec: PairsCodec | JsonCodec) -> None:
        super().__init__(words, codec)
        self._codec = codec
        self._normal = normalize(self.words)
        self.start = ("head",)

    def _from(self, state: State) -> list[Choice]:
        kind, *rest = state
        if kind == "head":
            return [Choice("[" if isinstance(self._codec, JsonCodec) else "", ("list", 0, True))]
        if kind == "list":
            return self._list(*rest)
        return self._inside(*rest) if kind == "words" else self._nth(*rest)

    def _list(self, end: int, first: bool) -> list[Choice]:
        stop = Choice("]" if isinstance(self._codec, JsonCodec) else "", END)
        if end == len(self.words) or not self.labels:
            return [stop]
        starts = tuple(range(end, len(self.words)))
        return [stop, Choice(self._codec.open_piece(first=first), ("words", starts, 0), begins=True)]

    def _inside(self, starts: tuple[int, ...], length: int) -> list[Choice]:
        following = [start for start in starts if start + length < len(self.words)]
        if self._one_word and length:
            following = []
        # Several starts can continue with the same word; they stay one choice until their words differ.
        pieces: dict[str, str] = {}
        for start in following:
            word = self.words[start + length]
            pieces.setdefault(self._codec.word_piece(word, first=length == 0), self._normal[start + length])
        choices = [
            Choice(
                piece, ("words", tuple(s for s in following if self._normal[s + length] == word), length + 1)
            )
            for piece, word in pieces.items()
        ]
        return choices + (self._labels(starts, length) if length else [])

    def _labels(self, starts: tuple[int, ...], length: int) -> list[Choice]:
        return [
            Choice(self._codec.label_piece(label), ("nth", starts, length, label)) for label in self.labels
        ]

    def _nth(self, starts: tuple[int, ...], length: int, label: str) -> list[Choice]:
        # The format pairs has no field for the occurrence, so it always means the first one.
        spans = [Span(start, start + length, label) for start in starts]
        if isinstance(self._codec, PairsCodec):
            return [Choice("", ("list", spans[0].end, False), span=spans[0])]
        return [
            Choice(self._codec.nth_piece(nth), ("list", span.end, False), span=span)
            for nth, span in enumerate(spans, 1)
        ]

    def draft(self, state: State) -> Sequence[Choice]:
        """Guess that a span includes capitalized words, and that the next occurrence is meant."""
        kind, *rest = state
        choices = self.choices(state)
        if kind != "words":
            return choices[:1] if kind == "nth" or len(choices) == 1 else ()
        starts, length = rest
        if length == 0:
            return ()
        if choices[0].state[0] == "words" and self._goes_on(starts[0], starts[0] + length):
            return choices[:1]
        return [choice for choice in choices if choice.state[0] == "nth"]


def build_automaton(codec: Codec, words: Sequence[str]) -> Automaton:
    """Return the automaton of all valid answers about `words` in the format of `codec`.

    Raises:
        ConfigError: constrained decoding does not support the format or its tag scheme.
    """
    if isinstance(codec, MarkupCodec):
        return MarkupAutomaton(words, codec)
    if isinstance(codec, TagsCodec):
        return TagsAutomaton(words, codec)
    if isinstance(codec, PairsCodec | JsonCodec):
        return MentionsAutomaton(words, codec)
    raise ConfigError(
        f"{type(codec).__name__} cannot be decoded under constraints. Set generative.decoding = 'free'."
    )
