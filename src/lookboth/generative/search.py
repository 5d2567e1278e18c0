"""The most probable answer rather than the greedy one: beam search over where an answer leaves its draft.

One forward pass over a draft gives the probability of every way to leave it, and of staying. What is left is begun
again from there, the most probable first. A begun answer is never more probable than what it begins with, so the
search knows when nothing that is still open can win.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lookboth.generative.drafts import Budget, Draft, Hypothesis, Verdict, ask, draft_answer, finish
from lookboth.generative.key_values import Prefix


class Branch(NamedTuple):
    """A way to leave a draft: at point `number`, by `token`; `log_probability` is that of all decisions so far."""

    log_probability: float
    verdict: Verdict
    number: int
    token: int

    def take(self) -> Hypothesis:
        """Return the hypothesis that goes this way."""
        scored = self.verdict.scored[self.number]
        last = scored.log_probabilities[scored.point.walk.allowed.index(self.token)]
        return self.verdict.depart(self.number, self.token, last)


@dataclass(slots=True)
class Search:
    """The search for one answer.

    Args:
        best: the most probable finished answer so far.
        lost: log-probability of the most probable beginning that was given up for want of room.
        open: drafts to ask about next.
        branches: what the last ones left open.
    """

    best: Hypothesis | None = None
    lost: float = -math.inf
    open: list[Draft] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Whether nothing that was given up could have been more probable."""
        return self.lost <= self.floor

    @property
    def floor(self) -> float:
        """Log-probability that a beginning must exceed to be worth going on."""
        return self.best.log_probability if self.best else -math.inf

    def begin(self, hypothesis: Hypothesis) -> None:
        """Open a hypothesis; one that is forced to its end is finished at once."""
        draft = draft_answer(hypothesis)
        if draft.points:
            self.open.append(draft)
        else:
            self._offer(finish(draft, hypothesis.decisions))

    def learn(self, verdict: Verdict) -> None:
        """Note every way to leave a draft, and the draft itself where it is a whole answer."""
        total = verdict.draft.hypothesis.log_probability
        for number, (point, scores) in enumerate(verdict.scored):
            guess = verdict.draft.guess(point)
            for token, score in zip(point.walk.allowed, scores, strict=True):
                if token == guess:
                    followed = total + score
                elif total + score > self.floor:
                    self.branches.append(Branch(total + score, verdict, number, token))
            if guess is not None:
                total = followed
        if verdict.draft.is_whole:
            self._offer(verdict.follow())

    def select(self, num_beams: int) -> None:
        """Open the `num_beams` most probable branches that may still win, and give up the others."""
        branches = sorted((b for b in self.branches if b.log_probability > self.floor), key=lambda b: -b[0])
        if len(branches) > num_beams:
            self.lost = max(self.lost, branches[num_beams].log_probability)
        self.open, self.branches = [], []
        for branch in branches[:num_beams]:
            self.begin(branch.take())

    def _offer(self, hypothesis: Hypothesis) -> None:
        if hypothesis.log_probability > self.floor or self.best is None:
            self.best = hypothesis


def search_answers(
    model: Any, prefix: Prefix, begun: Sequence[Hypothesis], num_beams: int, budget: Budget
) -> Iterator[tuple[Hypothesis, bool]]:
    """Yield the most probable answer found for each hypothesis, and whether it is proven to be the best.

    Args:
        model, prefix, budget: as in `decode_constrained`.
        begun: one hypothesis a query, nothing decided.
        num_beams: how many beginnings of one answer are gone on with at once.
    """
    searches = {hypothesis.query: Search() for hypothesis in begun}
    for hypothesis in begun:
        searches[hypothesis.query].begin(hypothesis)
    while asked := [draft for search in searches.values() for draft in search.open]:
        for verdict in ask(model, prefix, asked, budget):
            searches[verdict.draft.hypothesis.query].learn(verdict)
        for search in searches.values():
            search.select(num_beams)
    for search in searches.values():
        if search.best:
            yield search.best, search.is_proven
