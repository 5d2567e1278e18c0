"""An automaton walked token by token: which tokens may come next, which are forced, where an answer ends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lookboth.generative.constrained import END, Automaton, Choice, State

PieceEncoder = Callable[[str], Sequence[int]]


class Grammar(NamedTuple):
    """An automaton in tokens.

    Args:
        automaton: says which pieces may come.
        encode: returns the tokens of a piece, at least one; the same as in training.
        end_ids: tokens that end every answer.
    """

    automaton: Automaton
    encode: PieceEncoder
    end_ids: tuple[int, ...] = ()

    def begin(self) -> "Walk":
        """Return the walk that has not begun."""
        return Walk(self, tuple(_expand(self, Thread(self.automaton.start))))


@dataclass(frozen=True, slots=True)
class Thread:
    """One reading of the tokens so far.

    Args:
        state: where the piece in progress leads.
        rest: its tokens that are still to come.
        path: the choices so far as a linked list, the piece in progress last; None at the start.
        drafted: whether the piece in progress is what the automaton guesses.
    """

    state: State
    rest: tuple[int, ...] = ()
    path: "Link | None" = None
    drafted: bool = True


class Link(NamedTuple):
    """A choice, the number of tokens it is written in, and all choices before it."""

    before: "Link | None"
    choice: Choice
    num_tokens: int


@dataclass(frozen=True)
class Walk:
    """A place in a grammar: every reading of the tokens so far.

    Pieces are tokenized alone, so the tokens of one choice may begin like those of another ("/B-LOC" and
    "/B-LOCATION"); both readings are followed until a token tells.

    Args:
        grammar: what is walked.
        threads: its readings; the first is preferred where the tokens never tell.
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
        """Return the tokens that may come next, ascending: one where the next token is forced, none at the end."""
        return tuple(sorted(self._by_token))

    @property
    def draft(self) -> int | None:
        """Return the token the automaton guesses next, None where it does not tell."""
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
        """Return the choices of a finished answer and the number of tokens each is written in."""
        link = next(thread.path for thread in self.threads if not thread.rest)
        choices, lengths = [], []
        while link:
            choices.append(link.choice)
            lengths.append(link.num_tokens)
            link = link.before
        return choices[::-1], lengths[::-1]


def _expand(grammar: Grammar, thread: Thread) -> Iterator[Thread]:
    """Yield a thread that has tokens to come, else those that follow it; at the end itself."""
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
