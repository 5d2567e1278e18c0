"""Errors a user can act on: what was found, where, what is allowed, what to type."""

from collections.abc import Iterable


class LookbothError(Exception):
    """Base of every error lookboth raises on purpose; the command line prints it without a traceback."""


class PlanError(LookbothError):
    """A mask plan that cannot be read, does not fit the model, or cannot be applied to it."""


class DataError(LookbothError):
    """A data file that cannot be read; the message names file and line."""


class ConfigError(LookbothError):
    """A recipe or an option with an unknown key or a value outside its range."""


class ModelError(LookbothError):
    """A model, adapter or labeler folder that is missing, incomplete or does not fit."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is spelled most like `word`, in upper or lower case; None where none is alike.

    >>> closest("Causl", ["full", "causal"]), closest("zzzz", ["full", "causal"])
    ('causal', None)
    """
    # Deferred: only a mistake needs it, and the command line starts with this module.
    from difflib import get_close_matches

    names = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), list(names), n=1, cutoff=0.6)
    return names[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'X'?" for the known word spelled most like `word`, or "" where none is alike."""
    match = closest(word, known)
    return "" if match is None else f" Did you mean {match!r}?"
