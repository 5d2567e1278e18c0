"""The command line: each command parses, calls one function of the library, and prints."""

from lookboth.cli import model_commands, data_commands, training_commands, audit_commands, labeling_commands  # noqa: F401, I001  (imports define the order in --help)
from lookboth.cli.app import Format, TaskName, app, main

__all__ = ["Format", "TaskName", "app", "main"]
