"""An automaton over tokens: allowed and forced next tokens, and the end of the answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lookboth.generative.answer_automata import END, Automaton, Choice, State

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

    def begin(self) -> "GrammarPosition":
        """Return the initial position."""
        return GrammarPosition(self, tuple(_expand(self, Interpretation(self.automaton.start))))


@dataclass(frozen=True, slots=True)
class Interpretation:
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
class GrammarPosition:
    """A position in a grammar: all interpretations of the tokens so far.

    Each piece is tokenized alone, so the tokens of two choices may share a prefix ("/B-LOC" and
    "/B-LOCATION"). Both interpretations are followed until a token separates them.

    Args:
        grammar: the grammar.
        interpretations: the interpretations; the first one wins if the tokens never separate them.
    """

    grammar: Grammar
    interpretations: tuple[Interpretation, ...]

    @cached_property
    def _by_token(self) -> dict[int, list[Interpretation]]:
        following: dict[int, list[Interpretation]] = {}
        for interpretation in self.interpretations:
            if interpretation.rest:
                following.setdefault(interpretation.rest[0], []).append(interpretation)
        return following

    @cached_property
    def allowed(self) -> tuple[int, ...]:
        """Return the allowed next tokens in ascending order: one if the next token is forced, none at the end."""
        return tuple(sorted(self._by_token))

    @property
    def draft(self) -> int | None:
        """Return the automaton's guess of the next token; None without a guess."""
        guesses = {
            interpretation.rest[0]
            for interpretation in self.interpretations
            if interpretation.drafted and interpretation.rest
        }
        # Guesses that start with different tokens are not a guess.
        return guesses.pop() if len(guesses) == 1 else None

    def advance(self, token: int) -> "GrammarPosition":
        """Return the position after one of the allowed tokens."""
        interpretations: dict[tuple[State, tuple[int, ...]], Interpretation] = {}
        for interpretation in self._by_token[token]:
            moved = Interpretation(
                interpretation.state, interpretation.rest[1:], interpretation.path, interpretation.drafted
            )
            for reading in _expand(self.grammar, moved):
                # Interpretations with the same state and the same rest continue in the same way; the first
                # one is kept.
                interpretations.setdefault((reading.state, reading.rest), reading)
        return GrammarPosition(self.grammar, tuple(interpretations.values()))

    def path(self) -> tuple[list[Choice], list[int]]:
        """Return the transitions of a finished answer and the number of tokens of each."""
        link = next(interpretation.path for interpretation in self.interpretations if not interpretation.rest)
        choices, lengths = [], []
        while link:
            choices.append(link.choice)
            lengths.append(link.num_tokens)
            link = link.before
        return choices[::-1], lengths[::-1]


def _expand(grammar: Grammar, interpretation: Interpretation) -> Iterator[Interpretation]:
    """Yield the interpretation itself if it has tokens left or is at the end, else its successors that have."""
    if interpretation.rest or interpretation.state == END:
        yield interpretation
        return
    wrote = interpretation.path is None or interpretation.path.num_tokens > 0
    guesses = set(grammar.automaton.draft(interpretation.state))
    for choice in grammar.automaton.choices(interpretation.state):
        tokens = tuple(grammar.encode(choice.piece)) if choice.piece else ()
        # The end tokens belong to the last choice, so that stopping competes with continuing.
        if choice.state == END:
            tokens += grammar.end_ids
        drafted = choice in guesses and (wrote or interpretation.drafted)
        yield from _expand(
            grammar,
            Interpretation(choice.state, tokens, Link(interpretation.path, choice, len(tokens)), drafted),
        )
