"""Labels what many requests ask for in one thread, several texts at a time."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass, field

from lookboth.serving.metrics import Metrics
from lookboth.serving.models import Work
from lookboth.serving.refusals import Refusal
from lookboth.serving.settings import ServerSettings
from lookboth.serving.thread import ModelThread
from lookboth.types import Prediction

_CHARS_PER_TOKEN = 4  # about, in English; the pipeline counts the tokens it computes at once exactly
_CHARS_PER_TEXT = 16  # so that empty texts are not for free
_FIRST_GUESS = 2000.0  # characters a second
_SURE_SHARE = 0.75  # of the time of a request that waiting may take: the server may become slower meanwhile

LabelTexts = Callable[[Work, Sequence[str]], Sequence[Prediction]]


@dataclass(eq=False)
class Job:
    """The texts of one request on their way.

    Args:
        work: the model and plan that all texts of a batch share.
        texts: all of them; those before `taken` are being labeled or done.
        future: the predictions, in the order of the texts; cancelled when nobody waits for them.
    """

    work: Work
    texts: Sequence[str]
    future: "Future[list[Prediction]]" = field(default_factory=Future)
    taken: int = 0
    results: dict[int, Prediction] = field(default_factory=dict)

    def weight(self) -> int:
        """Return the room the job takes in the queue, in characters."""
        return sum(map(_weight, self.texts))

    def receive(self, index: int, result: Prediction | Exception) -> None:
        """Take the result of one text; the last one, or the first error, answers the request."""
        with suppress(InvalidStateError):  # nobody waits any more, or an error was told already
            if isinstance(result, Exception):
                self.future.set_exception(result)
                return
            self.results[index] = result
            if len(self.results) == len(self.texts):
                self.future.set_result([self.results[i] for i in range(len(self.texts))])


class Batcher:
    """Labels the texts of all requests in one thread; requests take turns, a text at a time.

    Args:
        label: labels texts with one model and plan, in order.
        settings: room in the queue, time to an answer, and how long a lone request waits for company.
        metrics: where batches are counted.
        batch_tokens: tokens computed at once.
        thread: where it labels until it is closed; one of its own when None.
    """

    def __init__(
        self,
        label: LabelTexts,
        settings: ServerSettings,
        metrics: Metrics,
        *,
        batch_tokens: int,
        thread: ModelThread | None = None,
    ) -> None:
        self._label = label
        self._room = settings.queue_chars
        self._patience = settings.timeout_seconds * _SURE_SHARE
        self._budget = batch_tokens * _CHARS_PER_TOKEN
        self._wait = settings.wait_ms / 1000
        self._metrics = metrics
        self._jobs: OrderedDict[Job, None] = OrderedDict()  # those with texts not yet taken
        self._accepted = 0  # characters of requests that wait for their answer
        self._speed = _FIRST_GUESS  # characters a second, lately
        self._closing = False
        self._changed = threading.Condition(threading.RLock())
        self._working = (thread or ModelThread()).submit(self._work)

    @property
    def alive(self) -> bool:
        """Whether the worker works."""
        return not self._working.done()

    @property
    def accepts(self) -> bool:
        """Whether new requests are taken."""
        return self.alive and not self._closing

    def submit(self, work: Work, texts: Sequence[str]) -> "Future[list[Prediction]]":
        """Return the predictions to come; cancel them and what is not yet computed never will be.

        Raises:
            Refusal: 413 more than the queue ever holds; 429 it is full, or what waits already takes as long as a
                request may; 503 the server is stopping.
        """
        job = Job(work, texts)
        weight = job.weight()
        with self._changed:
            self._admit(weight)
            if not texts:
                job.future.set_result([])
                return job.future
            self._accepted += weight
            self._metrics.queue_chars.set(self._accepted)
            self._jobs[job] = None
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._leave(job, weight))
        return job.future

    def close(self) -> None:
        """Finish what was accepted, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        wait([self._working])

    def _admit(self, weight: int) -> None:
        if not self.accepts:
            raise Refusal(
                503, "stopping", "the server is stopping", "requests before it stops",
                "Ask another server, or this one after its restart.", 5,
            )  # fmt: skip
        if weight > self._room:
            raise Refusal(
                413, "too_large", f"the texts take {weight} characters together",
                f"at most {self._room} in one request", "Send the texts in several requests.",
            )  # fmt: skip
        room = min(
            self._room, int(self._speed * self._patience)
        )  # what waits in vain is better told so at once
        if self._accepted and self._accepted + weight > room:
            seconds = min(60, max(1, math.ceil(self._accepted / self._speed)))
            raise Refusal(
                429, "queue_full", f"{self._accepted} characters are waiting already",
                f"at most {room} waiting at once", f"Ask again in about {seconds} seconds.", seconds,
            )  # fmt: skip

    def _leave(self, job: Job, weight: int) -> None:
        with self._changed:
            self._jobs.pop(job, None)
            self._accepted -= weight
            self._metrics.queue_chars.set(self._accepted)

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                results = self._label_batch(batch)
            except Exception as error:  # the worker outlives whatever it is
                results = [error] * len(batch)
            for (job, index), result in zip(batch, results, strict=True):
                job.receive(index, result)

    def _label_batch(self, batch: list[tuple[Job, int]]) -> Sequence[Prediction | Exception]:
        texts = [job.texts[index] for job, index in batch]
        start = time.monotonic()
        results = self._results(batch[0][0].work, texts)
        seconds = time.monotonic() - start
        self._note_speed(sum(map(_weight, texts)), seconds)
        self._metrics.count_batch(len(texts), seconds)
        return results

    def _note_speed(self, chars: int, seconds: float) -> None:
        """Learn from a batch; one that is half empty only says how fast the server is at least."""
        speed = chars / max(seconds, 1e-6)
        if 2 * chars >= self._budget or speed > self._speed:
            self._speed += 0.3 * (speed - self._speed)

    def _next_batch(self) -> list[tuple[Job, int]]:
        """Return texts to label together, as (job, index); none when the server stops and all is done."""
        with self._changed:
            while True:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                self._wait_for_company()
                batch = self._take()  # nothing, if all hung up during the wait
                if batch or self._closing:
                    return batch

    def _wait_for_company(self) -> None:
        deadline = time.monotonic() + self._wait
        while not self._closing and self._waiting() < self._budget:
            if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                return

    def _waiting(self) -> int:
        """Return the characters of the texts not yet taken, counted up to the budget."""
        total = 0
        for job in self._jobs:
            for text in job.texts[job.taken :]:
                total += _weight(text)
                if total >= self._budget:
                    return total
        return total

    def _take(self) -> list[tuple[Job, int]]:
        """Take a text of each job in turn until the budget is spent; jobs for another model keep their place."""
        batch: list[tuple[Job, int]] = []
        room, turn = self._budget, list(self._jobs)
        while turn and room > 0:
            for job in turn:
                if room <= 0 or job.work != turn[0].work:
                    continue
                batch.append((job, job.taken))
                room -= _weight(job.texts[job.taken])
                job.taken += 1
                if job.taken == len(job.texts):
                    del self._jobs[job]
                else:
                    self._jobs.move_to_end(job)
            turn = [job for job in turn if job in self._jobs and job.work == batch[0][0].work]
        return batch

    def _results(self, work: Work, texts: Sequence[str]) -> Sequence[Prediction | Exception]:
        """Label texts; where that fails, each alone, so that only those that cannot be labeled fail."""
        try:
            return [found for _, found in zip(texts, self._label(work, texts), strict=True)]
        except Exception as error:
            if len(texts) == 1:
                return [error]
            return [self._results(work, [text])[0] for text in texts]


def _weight(text: str) -> int:
    return len(text) + _CHARS_PER_TEXT
