"""Constrained decoding: the most probable answer that an automaton allows, in few forward passes.

An answer is nearly a copy of the text. So the rest of the answer is drafted as if nothing more had to be
decided, and one forward pass scores every decision of the draft. The draft is kept up to the first decision
at which the model prefers another token; the next draft starts there. The result equals that of
token-by-token decoding, in about two passes per span instead of one per token. This is speculative decoding
with a free draft model (Leviathan et al. 2023, arXiv 2211.17192, section 2, greedy case).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lookboth.generative.beam_search import search_answers
from lookboth.generative.drafts import Budget, Hypothesis, draft_answer, finish, score_drafts
from lookboth.generative.key_values import KeyValues, Prefix, common_prefix, encode_prefix
from lookboth.generative.token_grammar import Grammar
from lookboth.types import Span


class ScoredSpan(NamedTuple):
    """A span and the probability of its decisions: start, end and label.

    It is the product of their conditional probabilities, each renormalized over the allowed tokens.
    """

    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A constrained answer.

    Args:
        pieces: the answer split as in `Codec.pieces`.
        tokens: all tokens, including the end tokens.
        spans: scored spans in order of the answer.
        log_probability: log-probability of the answer, renormalized over the allowed tokens at every
            decision.
        is_best: whether the search proved that no other answer is more probable.
    """

    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    spans: tuple[ScoredSpan, ...]
    log_probability: float
    is_best: bool = False

    @property
    def text(self) -> str:
        """Return the answer as text, without its end tokens."""
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
    """Return the answer to each prompt.

    Args:
        model: a causal language model of transformers in evaluation mode, stock or under a causal plan.
        prompts: token ids of each prompt.
        grammars: the valid answers of each prompt.
        num_beams: 1 is greedy decoding; more is beam search with `num_beams` partial answers per prompt.
        prefix: common prefix of all prompts, from `encode_prefix`; found and encoded if None.
        pasts: keys and values of each prompt without its last token, if computed under another plan (plan of
            the prompt); excludes `prefix`.
        budget: limits on tokens at once; chosen for the device if None.
    """
    budget = budget or Budget.for_model(model)
    if pasts is not None:
        prefix = Prefix((), None)
    elif prefix is None:
        prefix = encode_prefix(model, common_prefix(prompts))
    answers: list[Answer | None] = [None] * len(prompts)
    # Each beam keeps its own keys and values.
    for wave in _waves(prompts, len(prefix.ids), budget.kept_tokens // num_beams):
        initial = [
            Hypothesis(i, grammars[i].begin(), None, tuple(prompts[i][len(prefix.ids) :]))
            if pasts is None
            else Hypothesis(i, grammars[i].begin(), pasts[i], tuple(prompts[i][-1:]))
            for i in wave
        ]
        found: Iterable[tuple[Hypothesis, bool]]
        if num_beams == 1:
            found = ((h, False) for h in _decode_greedily(model, prefix, initial, budget))
        else:
            found = search_answers(model, prefix, initial, num_beams, budget)
        for hypothesis, is_best in found:
            answers[hypothesis.query] = read_answer(hypothesis, is_best=is_best)
    return [answer for answer in answers if answer is not None]


def _decode_greedily(
    model: Any, prefix: Prefix, initial: Sequence[Hypothesis], budget: Budget
) -> Iterator[Hypothesis]:
    """Yield the finished hypotheses in order of completion."""
    open_drafts = [draft_answer(hypothesis) for hypothesis in initial]
    while open_drafts:
        yield from (finish(d, d.hypothesis.decisions) for d in open_drafts if not d.points)
        asked = [draft for draft in open_drafts if draft.points]
        open_drafts = []
        for scored_draft in score_drafts(model, prefix, asked, budget):
            hypothesis = scored_draft.greedy()
            if hypothesis.position.allowed:
                open_drafts.append(draft_answer(hypothesis))
            else:
                yield hypothesis


def _waves(prompts: Sequence[Sequence[int]], num_prefix: int, kept_tokens: int) -> Iterator[list[int]]:
    """Yield groups of prompt indices of similar length to decode together."""
    wave: list[int] = []
    kept = 0
    for index in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        # The question, and an answer that may be twice as long.
        needed = 3 * (len(prompts[index]) - num_prefix)
        if wave and kept + needed > kept_tokens:
            yield wave
            wave, kept = [], 0
        wave.append(index)
        kept += needed
    if wave:
        yield wave


def read_answer(hypothesis: Hypothesis, *, is_best: bool = False) -> Answer:
    """Return a finished hypothesis as an answer with scored spans."""
    path, lengths = hypothesis.position.path()
    borders = [0]
    for length in lengths:
        borders.append(borders[-1] + length)
    spans = []
    for span, first, end in hypothesis.position.grammar.automaton.read(path):
        # Forced tokens have probability 1, so only decisions count.
        deciding = [d for place, d in hypothesis.decisions if borders[first] <= place < borders[end]]
        spans.append(ScoredSpan(span, math.exp(math.fsum(deciding))))
    pieces = tuple(choice.piece for choice in path if choice.piece)
    return Answer(pieces, hypothesis.tokens, tuple(spans), hypothesis.log_probability, is_best)
