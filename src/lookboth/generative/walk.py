"""An automaton over tokens: allowed and forced next tokens, and the end of the answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lookboth.generative.constrained import END, Automaton, Choice, State

PieceEncoder = Callable[[str], Sequence[int]]


class Grammar(NamedTuple):
    """An automaton with a tokenizer for its pieces.

    Args:
        automaton: defines the valid sequences of pieces.
        encode: returns the tokens of a piece, at least one; must be the same as in training.
        end_ids: tokens that end every answer.
    """

    automaton: Automaton
    encode: PieceEncoder
    end_ids: tuple[int, ...] = ()

    def begin(self) -> "Walk":
        """Return the initial walk."""
        return Walk(self, tuple(_expand(self, Thread(self.automaton.start))))


@dataclass(frozen=True, slots=True)
class Thread:
    """One interpretation of the tokens so far.

    Args:
        state: state after the current piece.
        rest: remaining tokens of the current piece.
        path: linked list of the transitions so far, including the current one; None at the start.
        drafted: whether the current piece is a guess of the automaton.
    """

    state: State
    rest: tuple[int, ...] = ()
    path: "Link | None" = None
    drafted: bool = True


class Link(NamedTuple):
    """A transition, the number of its tokens, and all transitions before it."""

    before: "Link | None"
    choice: Choice
    num_tokens: int


@dataclass(frozen=True)
class Walk:
    """A position in a grammar: all interpretations of the tokens so far.

    Each piece is tokenized alone, so the tokens of two choices may share a prefix ("/B-LOC" and
    "/B-LOCATION"). Both interpretations are followed until a token separates them.

    Args:
        grammar: the grammar.
        threads: the interpretations; the first one wins if the tokens never separate them.
    """

    grammar: Grammar
    threads: tuple[Thread, ...]

    @cached_property
    def _by_token(self) -> dict[int, list[Thread]]:
        following: dict[int, list[Thread]] = {}
        for thread in self.threads:
            if thread.rest:
                following.setdefault(thread.rest[0], []).append(thread)
        return following

    @cached_property
    def allowed(self) -> tuple[int, ...]:
        """Return the allowed next tokens in ascending order: one if the next token is forced, none at the end."""
        return tuple(sorted(self._by_token))

    @property
    def draft(self) -> int | None:
        """Return the automaton's guess of the next token; None without a guess."""
        guesses = {thread.rest[0] for thread in self.threads if thread.drafted and thread.rest}
        return guesses.pop() if len(guesses) == 1 else None

    def advance(self, token: int) -> "Walk":
        """Return the walk after one of the allowed tokens."""
        threads: dict[tuple[State, tuple[int, ...]], Thread] = {}
        for thread in self._by_token[token]:
            moved = Thread(thread.state, thread.rest[1:], thread.path, thread.drafted)
            for reading in _expand(self.grammar, moved):
                threads.setdefault((reading.state, reading.rest), reading)
        return Walk(self.grammar, tuple(threads.values()))

    def path(self) -> tuple[list[Choice], list[int]]:
        """Return the transitions of a finished answer and the number of tokens of each."""
        link = next(thread.path for thread in self.threads if not thread.rest)
        choices, lengths = [], []
        while link:
            choices.append(link.choice)
            lengths.append(link.num_tokens)
            link = link.before
        return choices[::-1], lengths[::-1]


def _expand(grammar: Grammar, thread: Thread) -> Iterator[Thread]:
    """Yield the thread itself if it has tokens left or is at the end, else its successors that have."""
    if thread.rest or thread.state == END:
        yield thread
        return
    wrote = thread.path is None or thread.path.num_tokens > 0
    guesses = set(grammar.automaton.draft(thread.state))
    for choice in grammar.automaton.choices(thread.state):
        tokens = tuple(grammar.encode(choice.piece)) if choice.piece else ()
        if choice.state == END:
            tokens += grammar.end_ids
        drafted = choice in guesses and (wrote or thread.drafted)
        yield from _expand(
            grammar, Thread(choice.state, tokens, Link(thread.path, choice, len(tokens)), drafted)
        )
