"""The table of training methods; to add one, write a function in its own file and add a line here."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from lookboth.config import MethodName, RunConfig
from lookboth.training.run_finishing import TrainedRun
from lookboth.training.splits import Splits

Method = Callable[[RunConfig, Splits, int, Path], TrainedRun]

# "module:function", imported on use: the method modules import this package, so it must not import them.
METHODS: dict[MethodName, str] = {
    "classifier": "lookboth.training.classifier:train_classifier",
    "distill": "lookboth.training.distillation:train_distilled",
    "search": "lookboth.search.strategies:train_searched",
    "sift": "lookboth.generative.train_generative:train_generative",
    "instruction_tuning": "lookboth.generative.train_generative:train_generative",
    "icl": "lookboth.generative.train_generative:train_generative",
}


def find_method(name: MethodName) -> Method:
    """Return the training function of a method; a recipe allows no other names."""
    module, _, function = METHODS[name].partition(":")
    method: Method = getattr(import_module(module), function)
    return method
