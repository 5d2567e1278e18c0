"""Errors a user can act on: what was found, where, what is allowed, what to type."""


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
