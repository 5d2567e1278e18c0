"""Continuous batching: compute the steps of many requests together in one thread."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol

from lookboth.serving.admission import Admission, Pace
from lookboth.serving.jobs import Job, TakenStep, WaitingJobs
from lookboth.serving.refusals import stopping
from lookboth.serving.served_models import Work
from lookboth.serving.server_memory import FreeMemory
from lookboth.serving.server_metrics import Metrics
from lookboth.serving.settings import ServerSettings
from lookboth.serving.steps import CutText, Step
from lookboth.serving.thread import ModelThread
from lookboth.types import Prediction


class Computing(Protocol):
    """The part of `ServedModels` that the batcher uses."""

    def compute(self, works: Sequence[Work], steps: Sequence[Step]) -> Sequence[Any]:
        """Return the result of each step, which belong to these models."""

    def join(self, work: Work, text: CutText, results: Sequence[Any]) -> Prediction:
        """Return the prediction of a text from the results of its steps."""


class Batcher:
    """Labels the texts of all requests in one thread, about `batch_tokens` tokens per batch.

    Between two batches, new requests join the queue and cancelled ones are dropped.

    Args:
        models: computes steps and joins their results.
        settings: limits on the queue, time to an answer, and how long a single request waits for others.
        metrics: where batches are counted.
        batch_tokens: tokens computed at once.
        thread: where batches are computed until `close`; a new thread when None.
        speeds: measured tokens per second, by model.
    """

    def __init__(
        self,
        models: Computing,
        settings: ServerSettings,
        metrics: Metrics,
        *,
        batch_tokens: int,
        thread: ModelThread | None = None,
        speeds: Mapping[str, float] | None = None,
    ) -> None:
        self._models = models
        self._pace = Pace(batch_tokens, speeds)
        self._admission = Admission(settings, self._pace, batch_tokens)
        self._budget = batch_tokens
        self._wait = settings.wait_ms / 1000
        self._metrics = metrics
        self._jobs = WaitingJobs()
        self._free_memory = FreeMemory()
        self._closing = False
        # Whether the last wait of a request brought others; a client that asks alone then does not wait.
        self._wait_pays = True
        # Reentrant, as `submit` calls `check` while it has the lock.
        self._changed = threading.Condition(threading.RLock())
        self._working = (thread or ModelThread()).submit(self._work)

    @property
    def alive(self) -> bool:
        """Return whether the worker is running."""
        return not self._working.done()

    @property
    def accepts(self) -> bool:
        """Return whether new requests are accepted."""
        return self.alive and not self._closing

    def check(self, work: Work, tokens: int, deadline: float) -> None:
        """Raise the refusal of a request that cannot be accepted; see `submit`."""
        if not self.accepts:
            raise stopping()
        with self._changed:
            self._admission.check(work, tokens, deadline, self._jobs)

    def submit(self, work: Work, texts: Sequence[CutText], deadline: float) -> "Future[list[Prediction]]":
        """Queue texts and return the future of their predictions; cancelling it drops the remaining steps.

        Args:
            work: model and mask plan.
            texts: texts that this model cut into steps.
            deadline: when the client stops waiting, on the monotonic clock.

        Raises:
            Refusal: 413 the request is too large for this server; 429 the queue is too full now; 503 the server is
                stopping.
        """
        job = Job(work, texts, deadline, self._joiner(work))
        with self._changed:
            self.check(work, job.tokens, deadline)
            if job.future.done():
                return job.future
            self._jobs.add(job)
            self._metrics.queue_tokens.inc(job.tokens)
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._leave(job))
        return job.future

    def has_work(self, model: str) -> bool:
        """Whether a request for a model is not answered yet."""
        with self._changed:
            return any(job.work.model == model for job in self._jobs)

    def close(self) -> None:
        """Finish the accepted requests, then stop the worker."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        wait([self._working])

    def _joiner(self, work: Work) -> Callable[[CutText, Sequence[Any]], Prediction]:
        return lambda text, results: self._models.join(work, text, results)

    def _leave(self, job: Job) -> None:
        with self._changed:
            self._jobs.remove(job)
            self._metrics.queue_tokens.dec(job.tokens)

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                results = self._compute_batch(batch)
            # Any error is the answer to its requests only: the worker must keep running for the others.
            except Exception as error:
                results = [error] * len(batch)
            for (job, number, _), result in zip(batch, results, strict=True):
                job.receive(number, result)
            self._free_memory.give_back()

    def _compute_batch(self, batch: Sequence[TakenStep]) -> Sequence[Any]:
        works, steps = [taken.job.work for taken in batch], [taken.step for taken in batch]
        start = time.monotonic()
        results = self._results(works, steps)
        seconds = time.monotonic() - start
        # Models that share a batch have the same backbone, and nearly the same speed.
        for work in set(works):
            self._pace.learn(work, sum(step.tokens for step in steps), seconds)
        self._metrics.count_batch(len(steps), seconds)
        return results

    def _next_batch(self) -> list[TakenStep]:
        """Return the steps of the next batch; an empty list when the server stops and no job is left."""
        with self._changed:
            while True:
                while not self._jobs.waiting(1) and not self._closing:
                    self._changed.wait()
                self._wait_for_more()
                # The batch is empty if all clients hung up during the wait.
                batch = self._jobs.take(self._budget)
                self._wait_pays = len({taken.job for taken in batch}) > 1
                if batch or self._closing:
                    return batch

    def _wait_for_more(self) -> None:
        if not self._wait_pays:
            return
        deadline = time.monotonic() + self._wait
        while not self._closing and self._jobs.waiting(self._budget) < self._budget:
            if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                return

    def _results(self, works: Sequence[Work], steps: Sequence[Step]) -> Sequence[Any]:
        """Return the result or the error of each step.

        If a batch fails, its steps are computed one by one, so that only the steps that cannot be computed fail.
        """
        try:
            # `strict` turns a wrong number of results into an error of the batch.
            return [found for _, found in zip(steps, self._models.compute(works, steps), strict=True)]
        except Exception as error:
            if len(steps) == 1:
                return [error]
            return [self._results([work], [step])[0] for work, step in zip(works, steps, strict=True)]
