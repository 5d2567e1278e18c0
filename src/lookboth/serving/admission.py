"""Admission control: accept a request only if it can be answered before its deadline at the recent speed."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from lookboth.data import START_TOKENS
from lookboth.serving.jobs import Job
from lookboth.serving.refusals import Refusal, too_large
from lookboth.serving.served_models import Work
from lookboth.serving.settings import ServerSettings

# Tokens per second assumed for a model whose speed was not measured.
_FIRST_GUESS = 500.0
# Share of a request's time limit that its estimate may fill. The rest is a reserve, as the server may become slower.
_SURE_SHARE = 0.75
# Weight of one full batch in the moving average of the speed.
_LEARNED = 0.3


class Pace:
    """Estimate of the speed of each model: a moving average over its batches.

    Args:
        batch_tokens: tokens of a full batch; smaller batches have less weight.
        measured: tokens per second measured when a model was loaded, by model; read again for each new model.
    """

    def __init__(self, batch_tokens: int, measured: Mapping[str, float] | None = None) -> None:
        self._batch_tokens = batch_tokens
        # Each forward pass has a fixed cost, counted here as START_TOKENS more tokens. Without it a small batch
        # would make the model look slow.
        self._padded = (batch_tokens + START_TOKENS) / batch_tokens
        self._measured = {} if measured is None else measured
        self._costs: dict[str, float] = {}

    def seconds(self, work: Work, tokens: int) -> float:
        """Return the seconds that `tokens` tokens take in full batches."""
        return tokens * self._padded * self._cost(work.model)

    def learn(self, work: Work, tokens: int, seconds: float) -> None:
        """Update the estimate of a model from one of its batches."""
        computed = tokens + START_TOKENS
        share = _LEARNED * min(1.0, computed / (self._batch_tokens + START_TOKENS))
        known = self._cost(work.model)
        self._costs[work.model] = known + share * (seconds / computed - known)

    def _cost(self, model: str) -> float:
        """Return the seconds per computed token of a model."""
        found = self._costs.get(model)
        return 1 / (self._padded * self._measured.get(model, _FIRST_GUESS)) if found is None else found


class Admission:
    """Decides whether a request can be answered in time without delaying accepted ones past their deadlines.

    Args:
        settings: limits on the queue (tokens) and on the time to an answer.
        pace: estimate of the server's speed.
        batch_tokens: tokens of a full batch; a request of up to this size is never refused as too slow.
    """

    def __init__(self, settings: ServerSettings, pace: Pace, batch_tokens: int) -> None:
        self._most_tokens = settings.queue_tokens
        self._patience = settings.timeout_seconds * _SURE_SHARE
        self._batch_tokens = batch_tokens
        self._pace = pace

    def check(self, work: Work, tokens: int, deadline: float, accepted: Iterable[Job]) -> None:
        """Check that a request can be accepted now.

        Args:
            work: model and mask plan of the request.
            tokens: tokens to compute for it.
            deadline: when its client stops waiting, on the monotonic clock.
            accepted: the unanswered jobs, oldest first.

        Raises:
            Refusal: 413 the request is too large for this server; 429 the queue is too full now.
        """
        own = self._pace.seconds(work, tokens)
        self._check_alone(tokens, own)
        jobs = list(accepted)
        waiting = sum(job.left for job in jobs)
        if not waiting:
            return
        left = [self._pace.seconds(job.work, job.left) for job in jobs]
        everything = sum(left) + own
        too_many = waiting + tokens > self._most_tokens
        if too_many or not self._all_in_time(jobs, left, tokens, own, deadline):
            raise self._queue_full(waiting, everything - own)

    def _all_in_time(
        self, jobs: Sequence[Job], left: Sequence[float], tokens: int, own: float, deadline: float
    ) -> bool:
        """Return whether the request and every job it would overtake meet their deadlines.

        `WaitingJobs` defines the order in which jobs are computed.

        Args:
            jobs: accepted jobs, oldest first.
            left: remaining seconds of work of each job.
            tokens: tokens of the request.
            own: seconds of work of the request.
            deadline: deadline of the request, on the monotonic clock.
        """
        now, everything = time.monotonic(), sum(left) + own
        by_size = sorted(zip(jobs, left, strict=True), key=lambda pair: pair[0].left)
        before = own + sum(seconds for job, seconds in by_size if job.left <= tokens)
        # The shortest job gets at least half of the computing time and the oldest at least half. So a job that
        # is first by size needs at most twice the time of the work up to and including it.
        if min(everything, 2 * before) > _SURE_SHARE * (deadline - now):
            return False
        passed = [(job, seconds) for job, seconds in by_size if job.left > tokens]
        ends = accumulate((seconds for _, seconds in passed), initial=before)
        next(ends)
        return all(
            now + min(everything, 2 * (seconds if job is jobs[0] else end)) <= job.deadline
            for (job, seconds), end in zip(passed, ends, strict=True)
        )

    def _check_alone(self, tokens: int, seconds: float) -> None:
        if tokens > self._most_tokens:
            raise too_large(
                "the request", f"{tokens} tokens", f"{self._most_tokens} tokens", "Send several requests."
            )
        # A request that fits in one batch is always tried: the estimate of the speed could otherwise stay too
        # low for ever, because no batch would correct it.
        if tokens > self._batch_tokens and seconds > self._patience:
            raise too_large(
                "the request",
                f"{tokens} tokens, which take about {math.ceil(seconds)} seconds here",
                f"{self._patience:g} seconds of work",
                "Send several requests, one after the other.",
            )

    def _queue_full(self, tokens: int, seconds: float) -> Refusal:
        again = min(60, max(1, math.ceil(seconds)))
        return Refusal(
            429, "queue_full", f"{tokens} tokens are already waiting",
            f"{self._most_tokens} waiting tokens, and only requests that can be answered in time",
            f"Ask again in about {again} seconds.", again,
        )  # fmt: skip
