"""Sequence labeling with decoder language models that look both ways.

The public API. Names are loaded when they are first used, so that `import lookboth` does not load torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookboth.config import RunConfig, load_recipe, parse_config
    from lookboth.data import check_data, read_split
    from lookboth.errors import ConfigError, DataError, LookbothError, ModelError, PlanError
    from lookboth.evaluation import evaluate_labeler
    from lookboth.generative import GenerativeLabeler
    from lookboth.labelers import Labeler
    from lookboth.masking import MaskPlan, apply_plan, get_plan, prove, remove_plan
    from lookboth.training import train
    from lookboth.types import Example, Prediction, Span

_HOME = {
    "RunConfig": "lookboth.config",
    "load_recipe": "lookboth.config",
    "parse_config": "lookboth.config",
    "check_data": "lookboth.data.checks",
    "read_split": "lookboth.data.readers",
    "ConfigError": "lookboth.errors",
    "DataError": "lookboth.errors",
    "LookbothError": "lookboth.errors",
    "ModelError": "lookboth.errors",
    "PlanError": "lookboth.errors",
    "evaluate_labeler": "lookboth.evaluation.evaluate",
    "GenerativeLabeler": "lookboth.generative.generative_labeler",
    "apply_plan": "lookboth.masking.attention",
    "get_plan": "lookboth.masking.attention",
    "remove_plan": "lookboth.masking.attention",
    "MaskPlan": "lookboth.masking.plan",
    "prove": "lookboth.masking.proof",
    "Labeler": "lookboth.labelers.labeler",
    "train": "lookboth.training.training_runs",
    "Example": "lookboth.types",
    "Prediction": "lookboth.types",
    "Span": "lookboth.types",
}

__all__ = [
    "ConfigError",
    "DataError",
    "Example",
    "GenerativeLabeler",
    "Labeler",
    "LookbothError",
    "MaskPlan",
    "ModelError",
    "PlanError",
    "Prediction",
    "RunConfig",
    "Span",
    "__version__",
    "apply_plan",
    "check_data",
    "evaluate_labeler",
    "get_plan",
    "load_recipe",
    "parse_config",
    "prove",
    "read_split",
    "remove_plan",
    "train",
]

try:
    __version__ = version("lookboth")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lookboth' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
