"""Constrained decoding: the model's own choice among what an automaton allows, in few forward passes.

Copying a text is nearly all there is to an answer, so the rest of the answer is drafted as if nothing more were to
be decided, and one forward pass says at every place what the model would have chosen. The draft is kept up to the
first place where the model departs from it; from there the next one is drafted. The answer is the one that token by
token decoding gives, in about two passes a span instead of one a token (speculative decoding against a draft that
costs nothing; Leviathan et al. 2023, arXiv 2211.17192, section 2, greedy case).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lookboth.generative.drafts import Budget, Hypothesis, ask, draft_answer, finish
from lookboth.generative.key_values import KeyValues, Prefix, common_prefix, encode_prefix
from lookboth.generative.search import search_answers
from lookboth.generative.walk import Grammar
from lookboth.types import Span


class ScoredSpan(NamedTuple):
    """A span and the probability of the decisions for it: where it begins, how far it goes, its label.

    The product of their probabilities given the answer so far, each renormalized over what was allowed.
    """

    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote under constraints.

    Args:
        pieces: the answer as `Codec.pieces` cuts it.
        tokens: with those that end it.
        spans: in order of the answer.
        log_probability: of the whole answer, renormalized over what was allowed at every decision.
        is_best: whether the search proved that no answer is more probable.
    """

    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    spans: tuple[ScoredSpan, ...]
    log_probability: float
    is_best: bool = False

    @property
    def text(self) -> str:
        """Return the answer as text, without what ends it."""
        return "".join(self.pieces)


def decode_constrained(
    model: Any,
    prompts: Sequence[Sequence[int]],
    grammars: Sequence[Grammar],
    *,
    num_beams: int = 1,
    prefix: Prefix | None = None,
    pasts: Sequence[KeyValues] | None = None,
    budget: Budget | None = None,
) -> list[Answer]:
    """Return the answer of each prompt.

    Args:
        model: a causal language model of transformers in evaluation mode, stock or under a causal plan.
        prompts: token ids of each prompt.
        grammars: what each answer may be.
        num_beams: 1 takes the most probable token at every decision; more look for the most probable answer, with so
            many beginnings of it at once.
        prefix: what all prompts begin with, from `encode_prefix`; found and encoded when None.
        pasts: what the model keeps of each prompt but its last token, where that is not what this model gives by
            itself (a plan of the prompt); there is no prefix then.
        budget: how much is computed and kept at once; suited to the device when None.
    """
    budget = budget or Budget.for_model(model)
    if pasts is not None:
        prefix = Prefix((), None)
    elif prefix is None:
        prefix = encode_prefix(model, common_prefix(prompts))
    answers: list[Answer | None] = [None] * len(prompts)
    for wave in _waves(prompts, len(prefix.ids), budget.kept_tokens // num_beams):
        begun = [
            Hypothesis(i, grammars[i].begin(), None, tuple(prompts[i][len(prefix.ids) :]))
            if pasts is None
            else Hypothesis(i, grammars[i].begin(), pasts[i], tuple(prompts[i][-1:]))
            for i in wave
        ]
        found: Iterable[tuple[Hypothesis, bool]]
        if num_beams == 1:
            found = ((h, False) for h in _decode_greedily(model, prefix, begun, budget))
        else:
            found = search_answers(model, prefix, begun, num_beams, budget)
        for hypothesis, is_best in found:
            answers[hypothesis.query] = read_answer(hypothesis, is_best=is_best)
    return [answer for answer in answers if answer is not None]


def _decode_greedily(
    model: Any, prefix: Prefix, begun: Sequence[Hypothesis], budget: Budget
) -> Iterator[Hypothesis]:
    """Yield the finished hypotheses, first done first."""
    open_drafts = [draft_answer(hypothesis) for hypothesis in begun]
    while open_drafts:
        yield from (finish(d, d.hypothesis.decisions) for d in open_drafts if not d.points)
        asked = [draft for draft in open_drafts if draft.points]
        open_drafts = []
        for verdict in ask(model, prefix, asked, budget):
            hypothesis = verdict.greedy()
            if hypothesis.walk.allowed:
                open_drafts.append(draft_answer(hypothesis))
            else:
                yield hypothesis


def _waves(prompts: Sequence[Sequence[int]], num_prefix: int, kept_tokens: int) -> Iterator[list[int]]:
    """Yield indices of prompts of nearly one length that are decoded together."""
    wave: list[int] = []
    kept = 0
    for index in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        needed = 3 * (
            len(prompts[index]) - num_prefix
        )  # the question and an answer that may be twice as long
        if wave and kept + needed > kept_tokens:
            yield wave
            wave, kept = [], 0
        wave.append(index)
        kept += needed
    if wave:
        yield wave


def read_answer(hypothesis: Hypothesis, *, is_best: bool = False) -> Answer:
    """Return a finished hypothesis as an answer with scored spans."""
    path, lengths = hypothesis.walk.path()
    borders = [0]
    for length in lengths:
        borders.append(borders[-1] + length)
    spans = []
    for span, first, end in hypothesis.walk.grammar.automaton.read(path):
        deciding = [d for place, d in hypothesis.decisions if borders[first] <= place < borders[end]]
        spans.append(ScoredSpan(span, math.exp(math.fsum(deciding))))
    pieces = tuple(choice.piece for choice in path if choice.piece)
    return Answer(pieces, hypothesis.tokens, tuple(spans), hypothesis.log_probability, is_best)
