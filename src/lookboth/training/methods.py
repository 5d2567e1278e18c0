"""The methods of training by name; a new one is a function in a file of its own and a line here."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from lookboth.config import RunConfig
from lookboth.errors import ConfigError
from lookboth.training.outcome import Say, TrainedRun
from lookboth.training.splits import Splits

Method = Callable[[RunConfig, Splits, int, Path, Say], TrainedRun]

# "module:function", imported when it is asked for: methods stand on training, not under it.
METHODS = {
    "classifier": "lookboth.training.classifier:train_classifier",
    "search": "lookboth.search.strategies:train_searched",
    "sift": "lookboth.generative.train_generative:train_generative",
    "instruction_tuning": "lookboth.generative.train_generative:train_generative",
    "icl": "lookboth.generative.train_generative:train_generative",
}


def find_method(name: str) -> Method:
    """Return the function that trains by the method of this name.

    Raises:
        ConfigError: there is no such method.
    """
    if name not in METHODS:
        raise ConfigError(f"method = {name!r}: allowed are {', '.join(sorted(METHODS))}.")
    module, _, function = METHODS[name].partition(":")
    method: Method = getattr(import_module(module), function)
    return method
