"""The labelers of a server by name, under their own mask plans or those that requests name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lookboth.errors import ConfigError
from lookboth.masking.plan import MaskPlan
from lookboth.serving.refusals import invalid
from lookboth.serving.thread import ModelThread
from lookboth.types import Prediction

if TYPE_CHECKING:
    from lookboth.models.base import TextLabeler

SHIPPED = "shipped"
_ON_CPU = 512  # tokens computed at once; more would be faster, but a request waits for the batch before it


class Work(NamedTuple):
    """What texts must share to be labeled together: the model, and its plan if it is not its own."""

    model: str
    plan: MaskPlan | None = None


class ServedModels:
    """Labelers by name; the first is meant where a request names none.

    Args:
        labelers: in the order they were named.
        batch_tokens: tokens computed at once.
        thread: where they were loaded, and are to be used.
    """

    def __init__(
        self,
        labelers: "Mapping[str, TextLabeler]",
        *,
        batch_tokens: int = 2048,
        thread: ModelThread | None = None,
    ) -> None:
        self.labelers = dict(labelers)
        self.thread = thread or ModelThread()
        self.default = next(iter(self.labelers))
        self.batch_tokens = batch_tokens

    def find(self, model: str | None, plan: str | None) -> Work:
        """Return what a request asks for.

        Raises:
            Refusal: 422, no such model, or one whose plan cannot be changed.
            PlanError: the plan cannot be read or does not fit.
        """
        name = self.default if model is None else model
        if name not in self.labelers:
            raise invalid(f"there is no model {name[:100]!r}", f"model: {', '.join(self.labelers)}")
        if plan is None:
            return Work(name)
        labeler = self.labelers[name]
        if not hasattr(labeler, "with_plan"):
            raise invalid(f"the plan of the model {name!r} cannot be changed", "this model without plan")
        wanted = MaskPlan.parse(plan, labeler.config.plan.num_layers)
        return Work(name, None if wanted == labeler.config.plan else wanted)

    def label(self, work: Work, texts: Sequence[str]) -> list[Prediction]:
        """Label texts; only one thread may do so, because labelers under several plans share weights."""
        labeler: Any = self.labelers[work.model]
        if work.plan is not None:
            labeler = labeler.with_plan(work.plan)
        # What was taken together by its characters is rather one large batch than a full one and a small one.
        return list(labeler.stream(texts, batch_tokens=self.batch_tokens * 3 // 2))

    def describe(self) -> list[dict[str, Any]]:
        """Return what clients may know of each model."""
        return [
            {
                "name": name,
                "labels": list(labeler.config.labels),
                "task": getattr(labeler.config, "task", "labeling"),
                "plan": str(labeler.config.plan) if hasattr(labeler, "with_plan") else None,
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
    """Load labelers in a thread of their own and label a word with each, so that no request meets a surprise.

    Args:
        names: `NAME=FOLDER`, or a folder or hub id, named by its last part; none: the shipped labeler.
        batch_tokens: tokens computed at once; by device when None.
        device, precision: as for `Labeler.from_pretrained`; code of models is never run.

    Raises:
        ConfigError: two models of one name.
        ModelError: one that cannot be loaded.
    """
    from lookboth.models.labeler import Labeler

    sources = name_models(names)
    thread = ModelThread()
    labelers = {
        name: thread.submit(
            Labeler.from_pretrained, source, device=device, precision=precision, merge=True
        ).result()
        for name, source in sources.items()
    }
    on_cpu = all(str(labeler.device) == "cpu" for labeler in labelers.values())
    models = ServedModels(labelers, batch_tokens=batch_tokens or (_ON_CPU if on_cpu else 2048), thread=thread)
    for name in sources:
        thread.submit(models.label, Work(name), ["Hello."]).result()
    return models


def name_models(names: Sequence[str]) -> dict[str, str]:
    """Return the source of each model by its name.

    >>> name_models(["ner=runs/a/labeler", "me/wnut17-tagger"])
    {'ner': 'runs/a/labeler', 'wnut17-tagger': 'me/wnut17-tagger'}
    >>> name_models([])
    {'shipped': 'shipped'}
    """
    sources: dict[str, str] = {}
    for given in names:
        name, sign, source = given.partition("=")
        if not sign or Path(given).exists():
            name, source = os.path.basename(os.path.abspath(given)), given  # Path(".") has no name
        if not name or not source:
            raise ConfigError(f"{given!r}: expected NAME=FOLDER, a folder or a hub id.")
        if name in sources:
            raise ConfigError(
                f"two models are called {name!r}: {sources[name]} and {source}. "
                f"Name them: lookboth serve one={sources[name]} two={source}"
            )
        sources[name] = source
    return sources or {SHIPPED: SHIPPED}
