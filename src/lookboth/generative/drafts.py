"""Speculative drafts of answers: one forward pass scores every decision of a draft."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lookboth.generative.key_values import Fed, Feed, KeyValues, Prefix, run_feeds, split_for_padding
from lookboth.generative.token_grammar import GrammarPosition
from lookboth.memory import SMALL_BATCH

# Tokens; computing this many costs about as much as the fixed overhead of a forward pass.
_PASS_COST = 32


class Decision(NamedTuple):
    """A choice between several tokens: index of the chosen token in the answer, and its log-probability."""

    place: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A partial answer.

    Args:
        query: index of its prompt.
        position: its position in the grammar.
        past: keys and values of its tokens, without prefix and pending tokens.
        pending: tokens not yet fed to the model: initially those of the prompt, then the last decided one.
        tokens: tokens of the answer so far.
        decisions: decisions so far.
        log_probability: sum of their log-probabilities.
    """

    query: int
    position: GrammarPosition
    past: KeyValues | None
    pending: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    decisions: tuple[Decision, ...] = ()
    log_probability: float = 0.0


class DecisionPoint(NamedTuple):
    """A decision point of a draft.

    Args:
        fed: index of the fed token before the decision.
        position: grammar position of the decision.
        num_tail: number of drafted tokens before it; the next drafted token is the guess.
    """

    fed: int
    position: GrammarPosition
    num_tail: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A hypothesis extended without running the model.

    Args:
        hypothesis: the extended hypothesis.
        fed: tokens to feed: the pending ones and the draft up to its last decision.
        points: decision points of the draft; empty if the rest of the answer is forced.
        tail: drafted tokens up to the end of the answer or the last point.
        position: grammar position at the end of the draft.
    """

    hypothesis: Hypothesis
    fed: tuple[int, ...]
    points: tuple[DecisionPoint, ...]
    tail: tuple[int, ...]
    position: GrammarPosition

    @property
    def feed(self) -> Feed:
        """Return the input for the model."""
        return Feed(self.hypothesis.past, self.fed, [point.fed for point in self.points])

    @property
    def is_whole(self) -> bool:
        """Return whether the draft reaches the end of the answer."""
        return not self.position.allowed

    def guess(self, point: DecisionPoint) -> int | None:
        """Return the drafted token at a point; None at the last point of an incomplete draft."""
        return self.tail[point.num_tail] if point.num_tail < len(self.tail) else None


class ScoredPoint(NamedTuple):
    """A decision point with the log-probability of each allowed token, in the order of `GrammarPosition.allowed`."""

    point: DecisionPoint
    log_probabilities: list[float]

    def best(self) -> tuple[int, float]:
        """Return the most probable token and its log-probability; ties go to the smallest id."""
        best = max(self.log_probabilities)
        return self.point.position.allowed[self.log_probabilities.index(best)], best


def draft_answer(hypothesis: Hypothesis) -> Draft:
    """Extend a hypothesis by forced tokens and guesses of its automaton."""
    position, fed = hypothesis.position, list(hypothesis.pending)
    points: list[DecisionPoint] = []
    tail: list[int] = []
    while position.allowed:
        token: int | None = position.allowed[0]
        if len(position.allowed) > 1:
            # The scores of a token are the output of the model at the token before it.
            points.append(DecisionPoint(len(fed) - 1, position, len(tail)))
            token = position.draft
        # Without a guess the model has to decide before the draft can be extended.
        if token is None:
            break
        fed.append(token)
        tail.append(token)
        position = position.advance(token)
    # Tokens after the last decision need no scores, so they are not fed.
    num_fed = points[-1].fed + 1 if points else 0
    return Draft(hypothesis, tuple(fed[:num_fed]), tuple(points), tuple(tail), position)


class ScoredDraft(NamedTuple):
    """A draft scored by the model.

    Args:
        draft: the draft that was fed.
        scored: its decision points with scores.
        fed, row: location of its keys and values.
    """

    draft: Draft
    scored: list[ScoredPoint]
    fed: Fed
    row: int

    def decisions(self, until: int) -> tuple[Decision, ...]:
        """Return the decisions of the draft before point number `until`."""
        before = len(self.draft.hypothesis.tokens)
        taken = []
        for point, scores in self.scored[:until]:
            index = point.position.allowed.index(self.draft.tail[point.num_tail])
            taken.append(Decision(before + point.num_tail, scores[index]))
        return tuple(taken)

    def branch(self, number: int, token: int, log_probability: float) -> Hypothesis:
        """Return the hypothesis that follows the draft up to a point and takes `token` there."""
        point, old = self.scored[number].point, self.draft.hypothesis
        tokens = (*old.tokens, *self.draft.tail[: point.num_tail])
        decisions = (*old.decisions, *self.decisions(number), Decision(len(tokens), log_probability))
        return Hypothesis(
            old.query,
            point.position.advance(token),
            self.fed.past_of(self.row, self.draft.feed, point.fed + 1),
            (token,),
            (*tokens, token),
            decisions,
            math.fsum(decision.log_probability for decision in decisions),
        )

    def follow(self) -> Hypothesis:
        """Return the hypothesis that follows a complete draft to its end."""
        old = self.draft.hypothesis
        return finish(self.draft, (*old.decisions, *self.decisions(len(self.scored))))

    def greedy(self) -> Hypothesis:
        """Return the hypothesis that takes the most probable token at every point."""
        for number, scored in enumerate(self.scored):
            token, log_probability = scored.best()
            # After the first token that differs the draft follows another answer and its scores are void.
            if token != self.draft.guess(scored.point):
                return self.branch(number, token, log_probability)
        return self.follow()


def finish(draft: Draft, decisions: tuple[Decision, ...]) -> Hypothesis:
    """Return the finished hypothesis of a complete draft."""
    old = draft.hypothesis
    total = math.fsum(decision.log_probability for decision in decisions)
    # A finished answer is not extended, so it needs no keys and values.
    return Hypothesis(old.query, draft.position, None, (), (*old.tokens, *draft.tail), decisions, total)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on tokens computed and cached at once.

    Args:
        new_tokens: new tokens per forward pass, including padding.
        kept_tokens: tokens whose keys and values are in a forward pass, and kept between passes.
    """

    new_tokens: int = SMALL_BATCH
    kept_tokens: int = 16_384

    @classmethod
    def for_model(cls, model: Any) -> "Budget":
        """Return a budget that keeps the device of a model busy."""
        return cls() if model.device.type == "cpu" else cls(4096, 65_536)


def score_drafts(
    model: Any, prefix: Prefix, drafts: Sequence[Draft], budget: Budget
) -> Iterator[ScoredDraft]:
    """Yield the scored drafts, in batches within the budget."""
    for batch in _plan(drafts, len(prefix.ids), budget):
        for rows in split_for_padding(model, prefix, [draft.feed for draft in batch]):
            yield from _score_batch(model, prefix, [batch[row] for row in rows])


def _score_batch(model: Any, prefix: Prefix, drafts: Sequence[Draft]) -> Iterator[ScoredDraft]:
    """Yield the scored drafts of one batch."""
    positions = [point.position for draft in drafts for point in draft.points]
    # Only tokens that are allowed somewhere in the batch get scores.
    vocabulary = sorted({token for position in positions for token in position.allowed})
    fed = run_feeds(model, prefix, [draft.feed for draft in drafts], vocabulary)
    scores = iter(_score(fed.logits, positions, vocabulary))
    for row, draft in enumerate(drafts):
        yield ScoredDraft(draft, [ScoredPoint(point, next(scores)) for point in draft.points], fed, row)


def _plan(drafts: Sequence[Draft], num_prefix: int, budget: Budget) -> Iterator[list[Draft]]:
    """Yield batches, longest drafts first; a batch grows while its padding costs less than another pass."""
    batch: list[Draft] = []
    padding = past_slots = 0
    for draft in sorted(drafts, key=lambda draft: -len(draft.fed)):
        if batch:
            # Drafts come longest first, so the first one sets the width of the batch.
            width, rows = len(batch[0].fed), len(batch) + 1
            padding += width - len(draft.fed)
            slots = num_prefix + max(past_slots, draft.feed.num_past) + width
            if padding > _PASS_COST or rows * width > budget.new_tokens or rows * slots > budget.kept_tokens:
                yield batch
                batch, padding, past_slots = [], 0, 0
        batch.append(draft)
        past_slots = max(past_slots, draft.feed.num_past)
    if batch:
        yield batch


@torch.inference_mode()
def _score(
    logits: Tensor, positions: Sequence[GrammarPosition], vocabulary: Sequence[int]
) -> list[list[float]]:
    """Return the log-probability of each allowed token of each position, renormalized over the allowed ones.

    Args:
        logits: shape (m, v).
        positions: the m grammar positions.
        vocabulary: the v tokens.
    """
    column = {token: index for index, token in enumerate(vocabulary)}
    width = max(len(position.allowed) for position in positions)
    padded = torch.full((len(positions), width), -1)
    for row, position in zip(padded, positions, strict=True):
        row[: len(position.allowed)] = torch.tensor([column[token] for token in position.allowed])
    allowed = padded.to(logits.device)
    # Only the allowed tokens compete: their probabilities are renormalized.
    chosen = logits.gather(1, allowed.clamp(min=0)).float().masked_fill(allowed < 0, -torch.inf)
    rows = chosen.log_softmax(-1).tolist()
    return [row[: len(position.allowed)] for row, position in zip(rows, positions, strict=True)]
