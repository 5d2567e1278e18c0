"""The queue of requests, and the choice of the steps to compute next."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lookboth.serving.served_models import Work
from lookboth.serving.steps import CutText, Step
from lookboth.types import Prediction

Join = Callable[[CutText, Sequence[Any]], Prediction]


@dataclass(eq=False)
class Job:
    """The texts of one request.

    Args:
        work: model and mask plan.
        texts: the texts with their steps.
        deadline: when its client stops waiting, on the monotonic clock.
        join: joins the results of a text's steps to its prediction.
        future: the predictions, in the order of the texts; cancelled when the client leaves.
    """

    work: Work
    texts: Sequence[CutText]
    deadline: float
    join: Join
    future: "Future[list[Prediction]]" = field(default_factory=Future)

    def __post_init__(self) -> None:
        self._steps = [step for text in self.texts for step in text.steps]
        self._results: dict[int, Any] = {}
        self._next = 0
        self.tokens = sum(step.tokens for step in self._steps)
        # Tokens not yet computed. Admission estimates the remaining time from them.
        self.left = self.tokens
        # Tokens whose computation has not started. The batcher fills its batches from them.
        self.untaken = self.tokens
        if not self._steps:
            self._finish()

    @property
    def waits(self) -> bool:
        """Return whether there are steps that are neither computed nor being computed."""
        return self._next < len(self._steps)

    @property
    def next_tokens(self) -> int:
        """Return the tokens of the next step; only valid if `waits`."""
        return self._steps[self._next].tokens

    def take(self) -> "TakenStep":
        """Return the next step and mark it as being computed."""
        step = self._steps[self._next]
        self._next += 1
        self.untaken -= step.tokens
        return TakenStep(self, self._next - 1, step)

    def receive(self, number: int, result: Any) -> None:
        """Store the result of a step; the last result or the first error answers the request."""
        self.left -= self._steps[number].tokens
        # The client left, or an earlier error has already answered the request.
        if self.future.done():
            return
        if isinstance(result, Exception):
            self._answer_with(result)
            return
        self._results[number] = result
        if len(self._results) == len(self._steps):
            self._finish()

    def _finish(self) -> None:
        try:
            predictions = list(self._joined())
        # An error in joining concerns this request only; the batch's other requests are still answered.
        except Exception as error:
            self._answer_with(error)
            return
        with suppress(InvalidStateError):
            self.future.set_result(predictions)

    def _joined(self) -> Iterator[Prediction]:
        start = 0
        for text in self.texts:
            end = start + len(text.steps)
            yield self.join(text, [self._results[number] for number in range(start, end)])
            start = end

    def _answer_with(self, error: Exception) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class TakenStep(NamedTuple):
    """A step that is being computed, with its job and its index in the job."""

    job: Job
    number: int
    step: Step


class WaitingJobs:
    """The unanswered jobs, oldest first.

    Batches are filled alternately from the job with the fewest remaining tokens and from the oldest job. So small
    requests overtake large ones. Requests of equal size are answered one after the other, not all at the end. The
    oldest request gets at least half of the computing time, so that none starves.
    """

    def __init__(self) -> None:
        self._jobs: dict[Job, None] = {}
        self._eldest_next = False

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """Append a job."""
        self._jobs[job] = None

    def remove(self, job: Job) -> None:
        """Remove a job that is answered or cancelled."""
        self._jobs.pop(job, None)

    def waiting(self, most: int) -> int:
        """Return the number of tokens whose computation has not started; counting stops at `most`."""
        total = 0
        for job in self._jobs:
            total += job.untaken
            if total >= most:
                break
        return total

    def take(self, tokens: int) -> list[TakenStep]:
        """Return a batch of steps with one `Work.batch`: about `tokens` tokens, at least one step."""
        order = sorted((job for job in self._jobs if job.waits), key=lambda job: job.left)
        if not order:
            return []
        first = next(job for job in self._jobs if job.waits) if self._eldest_next else order[0]
        self._eldest_next = not self._eldest_next
        taken: list[TakenStep] = []
        for job in (first, *order):
            # A step is added if at least half of it fits; otherwise batches of unequal steps would often be half empty.
            while (
                job.waits
                and job.work.batch == first.work.batch
                and (not taken or 2 * tokens >= job.next_tokens)
            ):
                taken.append(job.take())
                tokens -= taken[-1].step.tokens
        return taken
