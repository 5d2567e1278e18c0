"""The training sentences of a run, read again from the sources in its recipe."""

from collections.abc import Sequence

from lookboth.config import parse_config
from lookboth.errors import DataError, LookbothError
from lookboth.evaluation import Run, fingerprint
from lookboth.training import read_splits
from lookboth.types import Example


def read_train_data(run: Run) -> Sequence[Example]:
    """Return the training sentences of a run.

    Raises:
        DataError: the sources cannot be read, or have changed since the run.
    """
    try:
        splits = read_splits(parse_config(run.config))
    except LookbothError as error:
        raise DataError(f"training data cannot be read: {error}") from error
    for role, path in splits.files.items():
        trained_on = run.data.get(role, {}).get("sha256")
        if role.startswith("train:") and trained_on not in (None, fingerprint(path)["sha256"]):
            raise DataError(f"training data: {path} is not the file the run was trained on.")
    return splits.train
