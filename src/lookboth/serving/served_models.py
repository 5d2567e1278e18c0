"""The labelers of a server by name, run with their own mask plan or with the plan of a request."""

import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lookboth.data import LabelText, parse_labels
from lookboth.errors import ConfigError
from lookboth.inference import HeadLabeler
from lookboth.masking import MaskPlan
from lookboth.memory import LARGE_BATCH, SMALL_BATCH
from lookboth.serving.refusals import invalid
from lookboth.serving.steps import CutText, Step, Stepper, WindowStepper, stepper_of
from lookboth.serving.thread import ModelThread

if TYPE_CHECKING:
    from lookboth.inference import TextLabeler

SHIPPED = "shipped"
# Labelers under other plans or with named labels that are kept; each costs little, as the backbone is shared.
_MOST_VIEWS = 16


class Work(NamedTuple):
    """Model, mask plan and labels of a request; only texts with equal `Work` share a batch.

    Args:
        model: name of the model.
        plan: mask plan; None: the model's own.
        labels: labels named for an open labeler, each as "name" or "name: description"; None: the model's own.
        stream: id of the stream that the steps belong to; None: they label whole texts.
    """

    model: str
    plan: MaskPlan | None = None
    labels: tuple[str, ...] | None = None
    stream: str | None = None


class ServedModels:
    """Labelers by name; the first is the default of requests.

    Args:
        labelers: in the order of the command line.
        batch_tokens: tokens computed at once.
        thread: where the labelers were loaded and must run.
    """

    def __init__(
        self,
        labelers: "Mapping[str, TextLabeler]",
        *,
        batch_tokens: int = LARGE_BATCH,
        thread: ModelThread | None = None,
    ) -> None:
        self.labelers = dict(labelers)
        # Measured tokens per second; models without a head are not measured.
        self.speeds: dict[str, float] = {}
        self.thread = thread or ModelThread()
        self.default = next(iter(self.labelers))
        self.batch_tokens = batch_tokens
        self._steppers = {name: stepper_of(labeler) for name, labeler in self.labelers.items()}
        self._views: OrderedDict[Work, Stepper] = OrderedDict()

    def find(self, model: str | None, plan: str | None, labels: Sequence[str] | None = None) -> Work:
        """Return the model, plan and named labels of a request; only open labelers take labels.

        Raises:
            Refusal: 422, the model is unknown or its plan cannot be changed.
            PlanError: the plan is invalid or does not fit the model.
            ConfigError: the labels of an open labeler are not valid.
        """
        name = self.default if model is None else model
        if name not in self.labelers:
            raise invalid(f"there is no model {name[:100]!r}", f"model: {', '.join(self.labelers)}")
        labeler = self.labelers[name]
        named = None
        if labels is not None and labeler.takes_labels:
            named = tuple(map(str, parse_labels(labels)))
        if plan is None:
            return Work(name, labels=named)
        own = labeler.config.plan
        if own is None or not labeler.takes_plans:
            raise invalid(f"the plan of the model {name!r} cannot be changed", "this model without a plan")
        wanted = MaskPlan.parse(plan, own.num_layers)
        return Work(name, None if wanted == own else wanted, named)

    def labels_of(self, work: Work) -> Sequence[str]:
        """Return the names of the labels of a request."""
        if work.labels is None:
            return self.labelers[work.model].config.labels
        return [LabelText.parse(text).name for text in work.labels]

    def cut(self, work: Work, texts: Sequence[str]) -> list[CutText]:
        """Cut texts into steps; call it from one thread at a time, which may differ from the models' thread."""
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

    def compute(self, work: Work, steps: Sequence[Step]) -> list[Any]:
        """Return the result of each step; call it from the models' thread only, as all plans share the weights."""
        if work.stream is not None:
            return [step.piece() for step in steps]
        stepper = self._stepper(work)
        # Padding counts as tokens. With half as many again as budget, the steps of a batch stay one padded batch
        # and are not split into a full and a small one.
        return stepper.compute(steps, batch_tokens=self.batch_tokens * 3 // 2)

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
        if work.plan is None and work.labels is None:
            return self._steppers[work.model]
        if work not in self._views:
            self._views[work] = stepper_of(self.labeler(work))
        self._views.move_to_end(work)
        if len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)
        return self._views[work]

    def warm_up(self, name: str) -> None:
        """Label a short text, so that the first request is not slower, and measure the speed of a model with a head."""
        work = Work(name)
        (text,) = self.cut(work, ["Hello."])
        self.join(work, text, self.compute(work, text.steps))
        if isinstance(self.labelers[name], HeadLabeler):
            self.speeds[name] = self._measure(work)

    def _measure(self, work: Work) -> float:
        """Return the tokens per second of a full batch."""
        (text,) = self.cut(work, ["Hello. " * self.batch_tokens])
        steps = text.steps[: max(1, self.batch_tokens // text.steps[0].tokens)]
        # The first run of a shape is slower because libraries compile kernels for it.
        self.compute(work, steps)
        start = time.monotonic()
        self.compute(work, steps)
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
        ]


def load_models(
    names: Sequence[str],
    *,
    batch_tokens: int | None = None,
    device: str | None = None,
    precision: str = "auto",
) -> ServedModels:
    """Load labelers in their own thread, warm them up and measure their speed.

    Args:
        names: `NAME=FOLDER`, or a folder or hub id (its last part is the name); empty: the shipped labeler.
        batch_tokens: tokens computed at once; None: `SMALL_BATCH` on a CPU, else `LARGE_BATCH`.
        device, precision: as for `Labeler.from_pretrained`; code of models is never run.

    Raises:
        ConfigError: two models have the same name.
        ModelError: a model cannot be loaded.
    """
    from lookboth.labelers import Labeler

    sources = name_models(names)
    thread = ModelThread()
    labelers = {
        name: thread.submit(Labeler.from_pretrained, source, device=device, precision=precision).result()
        for name, source in sources.items()
    }
    on_cpu = all(str(labeler.device) == "cpu" for labeler in labelers.values())
    models = ServedModels(
        labelers, batch_tokens=batch_tokens or (SMALL_BATCH if on_cpu else LARGE_BATCH), thread=thread
    )
    for name in sources:
        thread.submit(models.warm_up, name).result()
    return models


def name_models(names: Sequence[str]) -> dict[str, str]:
    """Return a dictionary from model name to folder or hub id.

    >>> name_models(["ner=runs/a/labeler", "me/wnut17-tagger"])
    {'ner': 'runs/a/labeler', 'wnut17-tagger': 'me/wnut17-tagger'}
    >>> name_models([])
    {'shipped': 'shipped'}
    """
    sources: dict[str, str] = {}
    for given in names:
        name, sign, source = given.partition("=")
        # A folder name may contain an equals sign.
        if not sign or Path(given).exists():
            # abspath, because Path(".").name is empty.
            name, source = os.path.basename(os.path.abspath(given)), given
        if not name or not source:
            raise ConfigError(f"{given!r}: expected NAME=FOLDER, a folder or a hub id.")
        if name in sources:
            raise ConfigError(
                f"two models have the name {name!r}: {sources[name]} and {source}. "
                f"Name them: lookboth serve one={sources[name]} two={source}"
            )
        sources[name] = source
    return sources or {SHIPPED: SHIPPED}
