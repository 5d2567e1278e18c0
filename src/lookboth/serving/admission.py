"""Which requests a server takes on: those it can answer in time, by how fast it has been lately."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from lookboth.data import START_TOKENS
from lookboth.serving.jobs import Job
from lookboth.serving.refusals import Refusal, too_large
from lookboth.serving.served_models import Work
from lookboth.serving.settings import ServerSettings

_FIRST_GUESS = 500.0  # tokens per second, of a model that was not measured
_SURE_SHARE = (
    0.75  # of the time of a request that may be planned for it: the server may become slower meanwhile
)
_LEARNED = 0.3  # share of a full batch in the speed that is remembered


class Pace:
    """How many tokens of each model are computed in a second, learned from batch to batch.

    Args:
        batch_tokens: tokens of a full batch; a smaller one tells less.
        measured: tokens per second at the start, by model.
    """

    def __init__(self, batch_tokens: int, measured: Mapping[str, float] | None = None) -> None:
        self._batch_tokens = batch_tokens
        # A pass takes as long as some tokens before its first one; without these, small batches look slow.
        self._padded = (batch_tokens + START_TOKENS) / batch_tokens
        self._costs = {name: 1 / (self._padded * speed) for name, speed in (measured or {}).items()}
        self._first_guess = 1 / (self._padded * _FIRST_GUESS)

    def seconds(self, work: Work, tokens: int) -> float:
        """Return how long that many tokens take in full batches."""
        return tokens * self._padded * self._costs.get(work.model, self._first_guess)

    def learn(self, work: Work, tokens: int, seconds: float) -> None:
        """Learn from a batch."""
        computed = tokens + START_TOKENS
        share = _LEARNED * min(1.0, computed / (self._batch_tokens + START_TOKENS))
        known = self._costs.get(work.model, self._first_guess)
        self._costs[work.model] = known + share * (seconds / computed - known)


class Admission:
    """Decides whether a request can be answered in time, without making others late.

    Args:
        settings: tokens in the queue, and time to an answer.
        pace: how fast the server is.
        batch_tokens: a request of up to so many tokens is never too slow, or the pace would never be learned.
    """

    def __init__(self, settings: ServerSettings, pace: Pace, batch_tokens: int) -> None:
        self._most_tokens = settings.queue_tokens
        self._patience = settings.timeout_seconds * _SURE_SHARE
        self._batch_tokens = batch_tokens
        self._pace = pace

    def check(self, work: Work, tokens: int, deadline: float, accepted: Iterable[Job]) -> None:
        """Return if a request can be taken on.

        Args:
            work, tokens: what it asks for.
            deadline: when its client stops waiting, on the monotonic clock.
            accepted: the jobs that are not answered, in the order they came.

        Raises:
            Refusal: 413 it is too large at any time; 429 at this time.
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
        """Return whether a request, and all jobs it would pass, are answered in time; see `WaitingJobs` for the order.

        Args:
            jobs: those accepted; the eldest is first.
            left: seconds of work left of each.
            tokens, own, deadline: of the request, `own` in seconds.
        """
        now, everything = time.monotonic(), sum(left) + own
        by_size = sorted(zip(jobs, left, strict=True), key=lambda pair: pair[0].left)
        before = own + sum(seconds for job, seconds in by_size if job.left <= tokens)
        # Half of the time at least goes to the shortest job, and half to the eldest.
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
        if tokens > self._batch_tokens and seconds > self._patience:
            raise too_large(
                "the request",
                f"{tokens} tokens, which take about {math.ceil(seconds)} seconds here",
                f"what takes {self._patience:g} seconds",
                "Send several requests, one after the other.",
            )

    def _queue_full(self, tokens: int, seconds: float) -> Refusal:
        again = min(60, max(1, math.ceil(seconds)))
        return Refusal(
            429, "queue_full", f"{tokens} tokens are waiting already",
            f"{self._most_tokens} tokens waiting at once, and what can be answered in time",
            f"Ask again in about {again} seconds.", again,
        )  # fmt: skip
