"""Answers drafted ahead and put to the model at once: what it would decide at every place of a draft."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lookboth.generative.key_values import Fed, Feed, KeyValues, Prefix, run_feeds, split_for_padding
from lookboth.generative.walk import Walk

_PASS_COST = 32  # tokens whose work takes about as long as what every forward pass costs besides


class Decision(NamedTuple):
    """A choice among several tokens: the index of the chosen one in the answer and its log-probability."""

    place: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An answer begun.

    Args:
        query: index of its prompt.
        walk: where it stands.
        past: what the model keeps of it, without prefix and pending tokens.
        pending: tokens the model has not seen yet: of the prompt at first, then the last one decided.
        tokens: of the answer so far.
        decisions: so far.
        log_probability: their sum.
    """

    query: int
    walk: Walk
    past: KeyValues | None
    pending: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    decisions: tuple[Decision, ...] = ()
    log_probability: float = 0.0


class Point(NamedTuple):
    """A decision on the way of a draft.

    Args:
        fed: index of the fed token after which it is taken.
        walk: where it is taken.
        num_tail: how many tokens were drafted before it; the next one is the guess.
    """

    fed: int
    walk: Walk
    num_tail: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A hypothesis continued without asking the model.

    Args:
        hypothesis: what is continued.
        fed: tokens to feed: those pending, and the draft up to its last decision.
        points: the decisions on its way; none when the rest of the answer is forced.
        tail: the drafted tokens, to the end of the answer or the last point.
        walk: where the draft leads.
    """

    hypothesis: Hypothesis
    fed: tuple[int, ...]
    points: tuple[Point, ...]
    tail: tuple[int, ...]
    walk: Walk

    @property
    def feed(self) -> Feed:
        """What the model is asked."""
        return Feed(self.hypothesis.past, self.fed, [point.fed for point in self.points])

    @property
    def is_whole(self) -> bool:
        """Whether the draft reaches the end of the answer."""
        return not self.walk.allowed

    def guess(self, point: Point) -> int | None:
        """Return the token drafted at a point, None at the last one of a draft that stops there."""
        return self.tail[point.num_tail] if point.num_tail < len(self.tail) else None


class Scored(NamedTuple):
    """A point with the log-probability of each allowed token, in the order of `Walk.allowed`."""

    point: Point
    log_probabilities: list[float]

    def best(self) -> tuple[int, float]:
        """Return the most probable token, the smallest of equals, and its log-probability."""
        best = max(self.log_probabilities)
        return self.point.walk.allowed[self.log_probabilities.index(best)], best


def draft_answer(hypothesis: Hypothesis) -> Draft:
    """Continue a hypothesis by what is forced and what its automaton guesses."""
    walk, fed = hypothesis.walk, list(hypothesis.pending)
    points: list[Point] = []
    tail: list[int] = []
    while walk.allowed:
        token: int | None = walk.allowed[0]
        if len(walk.allowed) > 1:
            points.append(Point(len(fed) - 1, walk, len(tail)))
            token = walk.draft
        if token is None:
            break
        fed.append(token)
        tail.append(token)
        walk = walk.advance(token)
    num_fed = points[-1].fed + 1 if points else 0
    return Draft(hypothesis, tuple(fed[:num_fed]), tuple(points), tuple(tail), walk)


class Verdict(NamedTuple):
    """What the model says about a draft.

    Args:
        draft: what was fed.
        scored: its points with their scores.
        fed, row: where its keys and values are.
    """

    draft: Draft
    scored: list[Scored]
    fed: Fed
    row: int

    def decisions(self, until: int) -> tuple[Decision, ...]:
        """Return the decisions of the draft as it stands, before point number `until`."""
        before = len(self.draft.hypothesis.tokens)
        taken = []
        for point, scores in self.scored[:until]:
            index = point.walk.allowed.index(self.draft.tail[point.num_tail])
            taken.append(Decision(before + point.num_tail, scores[index]))
        return tuple(taken)

    def depart(self, number: int, token: int, log_probability: float) -> Hypothesis:
        """Return the hypothesis that follows the draft to a point and takes `token` there."""
        point, old = self.scored[number].point, self.draft.hypothesis
        tokens = (*old.tokens, *self.draft.tail[: point.num_tail])
        decisions = (*old.decisions, *self.decisions(number), Decision(len(tokens), log_probability))
        return Hypothesis(
            old.query,
            point.walk.advance(token),
            self.fed.past_of(self.row, self.draft.feed, point.fed + 1),
            (token,),
            (*tokens, token),
            decisions,
            math.fsum(decision.log_probability for decision in decisions),
        )

    def follow(self) -> Hypothesis:
        """Return the hypothesis that follows a whole draft to its end."""
        old = self.draft.hypothesis
        return finish(self.draft, (*old.decisions, *self.decisions(len(self.scored))))

    def greedy(self) -> Hypothesis:
        """Return the hypothesis that takes the most probable token at every point."""
        for number, scored in enumerate(self.scored):
            token, log_probability = scored.best()
            if token != self.draft.guess(scored.point):
                return self.depart(number, token, log_probability)
        return self.follow()


def finish(draft: Draft, decisions: tuple[Decision, ...]) -> Hypothesis:
    """Return the finished hypothesis at the end of a whole draft."""
    old = draft.hypothesis
    total = math.fsum(decision.log_probability for decision in decisions)
    return Hypothesis(old.query, draft.walk, None, (), (*old.tokens, *draft.tail), decisions, total)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is computed and kept at once.

    Args:
        new_tokens: of one forward pass, padding included.
        kept_tokens: whose keys and values are in one forward pass, and kept between passes.
    """

    new_tokens: int = 512
    kept_tokens: int = 16_384

    @classmethod
    def for_model(cls, model: Any) -> "Budget":
        """Return a budget that keeps a CPU, or a GPU, busy."""
        return cls() if model.device.type == "cpu" else cls(4096, 65_536)


def ask(model: Any, prefix: Prefix, drafts: Sequence[Draft], budget: Budget) -> Iterator[Verdict]:
    """Yield what the model says about each draft, in batches within the budget."""
    for batch in _plan(drafts, len(prefix.ids), budget):
        for rows in split_for_padding(model, prefix, [draft.feed for draft in batch]):
            yield from _ask(model, prefix, [batch[row] for row in rows])


def _ask(model: Any, prefix: Prefix, drafts: Sequence[Draft]) -> Iterator[Verdict]:
    """Yield what the model says about drafts that are fed together."""
    walks = [point.walk for draft in drafts for point in draft.points]
    vocabulary = sorted({token for walk in walks for token in walk.allowed})
    fed = run_feeds(model, prefix, [draft.feed for draft in drafts], vocabulary)
    scores = iter(_score(fed.logits, walks, vocabulary))
    for row, draft in enumerate(drafts):
        yield Verdict(draft, [Scored(point, next(scores)) for point in draft.points], fed, row)


def _plan(drafts: Sequence[Draft], num_prefix: int, budget: Budget) -> Iterator[list[Draft]]:
    """Yield batches, longest first: one more row as long as its padding is cheaper than a pass."""
    batch: list[Draft] = []
    padding = room = 0
    for draft in sorted(drafts, key=lambda draft: -len(draft.fed)):
        if batch:
            width, rows = len(batch[0].fed), len(batch) + 1
            padding += width - len(draft.fed)
            slots = num_prefix + max(room, draft.feed.num_past) + width
            if padding > _PASS_COST or rows * width > budget.new_tokens or rows * slots > budget.kept_tokens:
                yield batch
                batch, padding, room = [], 0, 0
        batch.append(draft)
        room = max(room, draft.feed.num_past)
    if batch:
        yield batch


@torch.inference_mode()
def _score(logits: Tensor, walks: Sequence[Walk], vocabulary: Sequence[int]) -> list[list[float]]:
    """Return the log-probability of each allowed token of each walk, renormalized over them.

    Args:
        logits: shape (m, v).
        walks: the m places they belong to.
        vocabulary: the v tokens.
    """
    column = {token: index for index, token in enumerate(vocabulary)}
    width = max(len(walk.allowed) for walk in walks)
    padded = torch.full((len(walks), width), -1)
    for row, walk in zip(padded, walks, strict=True):
        row[: len(walk.allowed)] = torch.tensor([column[token] for token in walk.allowed])
    allowed = padded.to(logits.device)
    chosen = logits.gather(1, allowed.clamp(min=0)).float().masked_fill(allowed < 0, -torch.inf)
    rows = chosen.log_softmax(-1).tolist()
    return [row[: len(walk.allowed)] for row, walk in zip(rows, walks, strict=True)]
