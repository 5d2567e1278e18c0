"""Beam search for the most probable answer, branching at the points of a draft.

One forward pass over a draft scores every branch off the draft, and the draft itself. The most probable
branches are then drafted again. A partial answer is never less probable than its continuations, so the search
knows when no open branch can win.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lookboth.generative.drafts import (
    Budget,
    Draft,
    Hypothesis,
    ScoredDraft,
    draft_answer,
    finish,
    score_drafts,
)
from lookboth.generative.key_values import Prefix


class Branch(NamedTuple):
    """A branch off a draft: `token` at decision `number`; `log_probability` is the sum over all decisions so
    far.
    """

    log_probability: float
    scored_draft: ScoredDraft
    number: int
    token: int

    def take(self) -> Hypothesis:
        """Return the hypothesis of this branch."""
        scored = self.scored_draft.scored[self.number]
        last = scored.log_probabilities[scored.point.position.allowed.index(self.token)]
        return self.scored_draft.branch(self.number, self.token, last)


@dataclass(slots=True)
class BeamSearch:
    """The search for one answer.

    Args:
        best: the most probable finished answer so far.
        lost: highest log-probability of a partial answer that was pruned.
        open: drafts to score next.
        branches: unexplored branches of the last drafts.
    """

    best: Hypothesis | None = None
    lost: float = -math.inf
    open: list[Draft] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Return whether no pruned partial answer could have been more probable."""
        return self.lost <= self.floor

    @property
    def floor(self) -> float:
        """Return the log-probability that a partial answer must exceed to be explored."""
        return self.best.log_probability if self.best else -math.inf

    def begin(self, hypothesis: Hypothesis) -> None:
        """Add a hypothesis to the open drafts; if its rest is forced, it is finished immediately."""
        draft = draft_answer(hypothesis)
        if draft.points:
            self.open.append(draft)
        else:
            self._offer(finish(draft, hypothesis.decisions))

    def learn(self, scored_draft: ScoredDraft) -> None:
        """Record the branches of a scored draft, and the draft itself if it is a complete answer."""
        total = scored_draft.draft.hypothesis.log_probability
        for number, (point, scores) in enumerate(scored_draft.scored):
            guess = scored_draft.draft.guess(point)
            for token, score in zip(point.position.allowed, scores, strict=True):
                if token == guess:
                    followed = total + score
                # A branch below the best finished answer cannot win any more.
                elif total + score > self.floor:
                    self.branches.append(Branch(total + score, scored_draft, number, token))
            if guess is not None:
                total = followed
        if scored_draft.draft.is_whole:
            self._offer(scored_draft.follow())

    def select(self, num_beams: int) -> None:
        """Open the `num_beams` most probable branches that may still win, and prune the others."""
        branches = sorted((b for b in self.branches if b.log_probability > self.floor), key=lambda b: -b[0])
        if len(branches) > num_beams:
            # The best pruned branch bounds everything that was pruned, because continuations are never more
            # probable.
            self.lost = max(self.lost, branches[num_beams].log_probability)
        self.open, self.branches = [], []
        for branch in branches[:num_beams]:
            self.begin(branch.take())

    def _offer(self, hypothesis: Hypothesis) -> None:
        if hypothesis.log_probability > self.floor or self.best is None:
            self.best = hypothesis


def search_answers(
    model: Any, prefix: Prefix, initial: Sequence[Hypothesis], num_beams: int, budget: Budget
) -> Iterator[tuple[Hypothesis, bool]]:
    """Yield the most probable answer found per hypothesis, and whether it is proven to be the best.

    Args:
        model, prefix, budget: as in `decode_constrained`.
        initial: one empty hypothesis per query.
        num_beams: number of partial answers per query that are explored in parallel.
    """
    searches = {hypothesis.query: BeamSearch() for hypothesis in initial}
    for hypothesis in initial:
        searches[hypothesis.query].begin(hypothesis)
    while asked := [draft for search in searches.values() for draft in search.open]:
        for scored_draft in score_drafts(model, prefix, asked, budget):
            searches[scored_draft.draft.hypothesis.query].learn(scored_draft)
        for search in searches.values():
            search.select(num_beams)
    for search in searches.values():
        if search.best:
            yield search.best, search.is_proven
