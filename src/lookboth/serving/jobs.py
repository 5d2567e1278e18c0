"""The requests that wait for their labels, and which of their steps are computed next."""

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
        work: the model and plan that all texts of a batch share.
        texts: cut into steps.
        deadline: when its client stops waiting, on the monotonic clock.
        join: makes a prediction from the results of the steps of a text.
        future: the predictions, in the order of the texts; cancelled when nobody waits for them.
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
        self.left = self.tokens  # tokens not yet computed
        self.untaken = self.tokens  # tokens neither computed nor being computed
        if not self._steps:
            self._finish()

    @property
    def waits(self) -> bool:
        """Whether there are steps that are neither computed nor being computed."""
        return self._next < len(self._steps)

    @property
    def next_tokens(self) -> int:
        """Return the tokens of the next step; there must be one that waits."""
        return self._steps[self._next].tokens

    def take(self) -> "TakenStep":
        """Return the next step, which from now on is being computed."""
        step = self._steps[self._next]
        self._next += 1
        self.untaken -= step.tokens
        return TakenStep(self, self._next - 1, step)

    def receive(self, number: int, result: Any) -> None:
        """Take the result of a step; the last one, or the first error, answers the request."""
        self.left -= self._steps[number].tokens
        if self.future.done():  # nobody waits any more, or an error was told already
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
        except Exception as error:  # of one request alone
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
    """A step that is being computed: of which job, its number there, and the step."""

    job: Job
    number: int
    step: Step


class WaitingJobs:
    """The jobs that are not answered, in the order they came.

    Batches are filled in turn from the job with the fewest tokens left and from the eldest. Small requests pass
    large ones, requests of one size are answered one after the other instead of all at the end, and every request
    gets at least half of the time once it is the eldest.
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
        """Take out a job that is answered, or that nobody waits for."""
        self._jobs.pop(job, None)

    def waiting(self, most: int) -> int:
        """Return the tokens of the steps that nobody computes yet, counted up to `most`."""
        total = 0
        for job in self._jobs:
            total += job.untaken
            if total >= most:
                break
        return total

    def take(self, tokens: int) -> list[TakenStep]:
        """Return steps of one model and plan to compute together: about `tokens` tokens, at least one step."""
        order = sorted((job for job in self._jobs if job.waits), key=lambda job: job.left)
        if not order:
            return []
        first = next(job for job in self._jobs if job.waits) if self._eldest_next else order[0]
        self._eldest_next = not self._eldest_next
        taken: list[TakenStep] = []
        for job in (first, *order):
            # A step that fits by half still comes along, or batches of unequal steps would often be half empty.
            while job.waits and job.work == first.work and (not taken or 2 * tokens >= job.next_tokens):
                taken.append(job.take())
                tokens -= taken[-1].step.tokens
        return taken
