"""The labelers of a server by name, run with their own mask plan or with the plan of a request, added and removed."""

import time
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from lookboth.data import LabelText, parse_labels
from lookboth.inference import HeadLabeler
from lookboth.masking import MaskPlan
from lookboth.memory import LARGE_BATCH
from lookboth.serving.refusals import invalid
from lookboth.serving.steps import CutText, Step, Stepper, WindowStepper, stepper_of
from lookboth.serving.thread import ModelThread

if TYPE_CHECKING:
    from lookboth.inference import TextLabeler
    from lookboth.labelers import LabelerPool

# Labelers under other plans or with named labels that are kept; each costs little, as the backbone is shared.
_MOST_VIEWS = 16


class Work(NamedTuple):
    """Model, mask plan and labels of a request.

    Args:
        model: name of the model.
        plan: mask plan; None: the model's own.
        labels: labels named for an open labeler, each as "name" or "name: description"; None: the model's own.
        stream: id of the stream that the steps belong to; None: they label whole texts.
        shared: what the texts of other models that share its backbone need in common to share a batch; None: only
            texts with equal `Work` share a batch.
    """

    model: str
    plan: MaskPlan | None = None
    labels: tuple[str, ...] | None = None
    stream: str | None = None
    shared: Hashable | None = None

    @property
    def batch(self) -> Hashable:
        """What the texts of a batch have in common."""
        return self.shared if self.shared is not None and self.stream is None else self


class ServedModels:
    """Labelers by name; the first is the default of requests.

    Args:
        labelers: in the order of the command line.
        batch_tokens: tokens computed at once.
        thread: where the labelers were loaded and must run.
        pool: the pool of these labelers, which can then be added and removed.
    """

    def __init__(
        self,
        labelers: "Mapping[str, TextLabeler]",
        *,
        batch_tokens: int = LARGE_BATCH,
        thread: ModelThread | None = None,
        pool: "LabelerPool | None" = None,
    ) -> None:
        # Measured tokens per second; models without a head are not measured.
        self.speeds: dict[str, float] = {}
        self.thread = thread or ModelThread()
        self.batch_tokens = batch_tokens
        self.pool = pool
        self._retired: set[str] = set()
        self._use(labelers)

    def _use(self, labelers: "Mapping[str, TextLabeler]") -> None:
        self.labelers = dict(labelers)
        self._steppers = {name: stepper_of(labeler) for name, labeler in self.labelers.items()}
        self._views: OrderedDict[Work, Stepper] = OrderedDict()

    def prepare(self, name: str, source: str) -> "LabelerPool":
        """Load a labeler from a folder or the Hub for `add`; call it from any other thread than the models'.

        Raises:
            ConfigError: the name is taken.
            ModelError: the labeler cannot be loaded; the others are unchanged.
        """
        assert self.pool is not None
        return self.pool.prepare({name: source})

    def add(self, larger: "LabelerPool") -> None:
        """Take over a prepared pool; call it from the models' thread only.

        Raises:
            ModelError: the labeler cannot be loaded; the others are unchanged.
        """
        assert self.pool is not None
        self.pool.install(larger)
        self._use(self.pool.labelers)

    def remove(self, name: str) -> None:
        """Remove a retired labeler; call it from the models' thread only, when none of its requests is waiting."""
        assert self.pool is not None
        self.pool.remove(name)
        self.speeds.pop(name, None)
        self._retired.discard(name)
        self._use(self.pool.labelers)

    @contextmanager
    def retiring(self, name: str) -> Iterator[None]:
        """Accept no more requests for a model inside the context, in which it is removed.

        Raises:
            Refusal: 422, there is no such model, or no other one.
        """
        self._require(name, self._open_names())
        self._retired.add(name)
        try:
            if not self._open_names():
                raise invalid(f"{name!r} is the only model", "a server with at least one model")
            yield
        finally:
            self._retired.discard(name)

    @property
    def default(self) -> str:
        """Name of the model of requests that name none: the first one."""
        return self._open_names()[0]

    def _open_names(self) -> list[str]:
        """Return the names of the models that accept requests."""
        return [name for name in self.labelers if name not in self._retired]

    def _require(self, name: str, known: Collection[str]) -> None:
        if name not in known:
            raise invalid(f"there is no model {name[:100]!r}", f"model: {', '.join(self._open_names())}")

    def find(self, model: str | None, plan: str | None, labels: Sequence[str] | None = None) -> Work:
        """Return the model, plan and named labels of a request; only open labelers take labels.

        Raises:
            Refusal: 422, the model is unknown or its plan cannot be changed.
            PlanError: the plan is invalid or does not fit the model.
            ConfigError: the labels of an open labeler are not valid.
        """
        name = self.default if model is None else model
        self._require(name, self._open_names())
        labeler = self.labelers[name]
        named = None
        if labels is not None and labeler.takes_labels:
            named = tuple(map(str, parse_labels(labels)))
        if plan is None:
            return Work(name, labels=named, shared=labeler.batch_key)
        own = labeler.config.plan
        if own is None or not labeler.takes_plans:
            raise invalid(f"the plan of the model {name!r} cannot be changed", "this model without a plan")
        wanted = MaskPlan.parse(plan, own.num_layers)
        if wanted == own:
            return self.find(model, None, labels)
        return Work(name, wanted, named)

    def labels_of(self, work: Work) -> Sequence[str]:
        """Return the names of the labels of a request."""
        if work.labels is None:
            return self.labelers[work.model].config.labels
        return [LabelText.parse(text).name for text in work.labels]

    def cut(self, work: Work, texts: Sequence[str]) -> list[CutText]:
        """Cut texts into steps; call it from one thread at a time, which may differ from the models' thread."""
        self._require(work.model, self._steppers)
        stepper = self._steppers[work.model]
        return [stepper.cut(text) for text in texts]

    def cut_document(self, work: Work, texts: Sequence[str]) -> list[CutText]:
        """Cut the texts of one document into steps, for a model that reads documents; threads as for `cut`."""
        stepper = self._steppers[work.model]
        assert isinstance(stepper, WindowStepper)
        return stepper.cut_document(texts)

    def require_context(self, work: Work) -> None:
        """Refuse a document for a model that reads each text alone.

        Raises:
            Refusal: 422, the model was trained without context.
        """
        if not self.labelers[work.model].reads_documents:
            raise invalid(f"the model {work.model!r} reads each text alone", "document: false")

    def compute(self, works: Sequence[Work], steps: Sequence[Step]) -> list[Any]:
        """Return the result of each step; call it from the models' thread only, as all plans share the weights.

        Args:
            works: model, plan and labels of each step; all have the same `Work.batch`.
            steps: the steps.
        """
        if works[0].stream is not None:
            return [step.piece() for step in steps]
        # Padding counts as tokens. With half as many again as budget, the steps of a batch stay one padded batch
        # and are not split into a full and a small one.
        budget = self.batch_tokens * 3 // 2
        if len(set(works)) == 1:
            return self._stepper(works[0]).compute(steps, batch_tokens=budget)
        from lookboth.labelers import mixed_scores

        owned = [(self.labeler(work), step.piece) for work, step in zip(works, steps, strict=True)]
        return list(mixed_scores(owned, budget))

    def labeler(self, work: Work) -> Any:
        """Return the labeler under the plan and with the labels of a request; call it from the models' thread only."""
        labeler: Any = self.labelers[work.model]
        labeler = labeler if work.plan is None else labeler.with_plan(work.plan)
        return labeler if work.labels is None else labeler.with_labels(work.labels)

    def join(self, work: Work, text: CutText, results: Sequence[Any]) -> Any:
        """Return the prediction of a text from the results of its steps; for a stream, the result of its one step.

        Call it from the models' thread only.
        """
        return results[0] if work.stream is not None else self._stepper(work).join(text, results)

    def _stepper(self, work: Work) -> Stepper:
        """Return the stepper of the labeler under the plan and with the labels of a request."""
        # It may have been removed since the request was accepted.
        self._require(work.model, self._steppers)
        if work.plan is None and work.labels is None:
            return self._steppers[work.model]
        if work not in self._views:
            self._views[work] = stepper_of(self.labeler(work))
        self._views.move_to_end(work)
        if len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)
        return self._views[work]

    def warm_up(self, name: str) -> None:
        """Label a short text, so that the first request is not slower, and measure the speed of a model with a head.

        Models that share batches have the speed of the first of them.
        """
        work = Work(name)
        (text,) = self.cut(work, ["Hello."])
        self.join(work, text, self.compute([work] * len(text.steps), text.steps))
        labeler = self.labelers[name]
        if isinstance(labeler, HeadLabeler):
            key = labeler.batch_key
            alike = [other for other in self.speeds if key and self.labelers[other].batch_key == key]
            self.speeds[name] = self.speeds[alike[0]] if alike else self._measure(work)

    def _measure(self, work: Work) -> float:
        """Return the tokens per second of a full batch."""
        (text,) = self.cut(work, ["Hello. " * self.batch_tokens])
        steps = text.steps[: max(1, self.batch_tokens // text.steps[0].tokens)]
        # The first run of a shape is slower because libraries compile kernels for it.
        works = [work] * len(steps)
        self.compute(works, steps)
        start = time.monotonic()
        self.compute(works, steps)
        return sum(step.tokens for step in steps) / (time.monotonic() - start)

    def describe(self) -> list[dict[str, Any]]:
        """Return the public description of each model."""
        return [
            {
                "name": name,
                "labels": list(labeler.config.labels),
                "open": labeler.takes_labels,
                "task": labeler.config.task,
                "plan": str(labeler.config.plan) if labeler.takes_plans else None,
                "default": name == self.default,
            }
            for name, labeler in self.labelers.items()
            if name not in self._retired
        ]
