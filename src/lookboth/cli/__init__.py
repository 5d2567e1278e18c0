"""The command line: each command parses, calls one function of the library, and prints."""

# isort: off
# The order of these imports is the order of the commands in --help.
from lookboth.cli import model_commands, data_commands, training_commands  # noqa: F401
from lookboth.cli import scoring_commands, labeling_commands  # noqa: F401
from lookboth.cli import audit_commands, service_commands  # noqa: F401

# isort: on
from lookboth.cli.app import Format, TaskName, app, main

__all__ = ["Format", "TaskName", "app", "main"]
