"""The variants of the twins: what each is pretrained on, and the plans under which it is fine-tuned."""

from collections.abc import Sequence
from typing import NamedTuple

PLANS = ("causal", "full")


class Stage(NamedTuple):
    """A stage of pretraining: objective, plan and share of the steps."""

    objective: str
    plan: str
    share: float


TWINS: dict[str, Sequence[Stage]] = {
    "CLM": [Stage("clm", "causal", 1)],
    "MLM": [Stage("mlm", "full", 1)],
    "CLM then MLM": [Stage("clm", "causal", 0.5), Stage("mlm", "full", 0.5)],
    "none": [],
}


def slug(twin: str) -> str:
    """Return the folder name of a twin."""
    return twin.lower().replace(" ", "-")


def stage_folder(number: int, stage: Stage) -> str:
    """Return the folder name of a stage of pretraining."""
    return f"pretraining-{number}-{stage.objective}"
