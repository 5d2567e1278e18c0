"""Records of several splits in one file, as in MASSIVE: only those of the split that is read are kept."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from lookboth.data.problems import ProblemLog

SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}
# Keys or columns of a record that name its split.
SPLIT_FIELDS = ("partition", "split")
_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_Value = TypeVar("_Value")
_wanted: ContextVar[str | None] = ContextVar("wanted_split", default=None)


@contextmanager
def only_split(split: str) -> Iterator[None]:
    """Keep the records of one split of files that are read inside a `with` block and hold several."""
    token = _wanted.set(split)
    try:
        yield
    finally:
        _wanted.reset(token)


def named_split(name: str) -> str | None:
    """Return the split that a name stands for, None for other names.

    >>> named_split("Validation"), named_split("x")
    ('dev', None)
    """
    return _SPLITS.get(name.strip().lower())


def split_of_record(value: object) -> str | None:
    """Return the split that a record names under one of `SPLIT_FIELDS`, else None."""
    if not isinstance(value, Mapping):
        return None
    named = (value[key] for key in SPLIT_FIELDS if isinstance(value.get(key), str))
    return next((split for name in named if (split := named_split(name))), None)


def of_wanted_split(
    values: Iterable[tuple[int, _Value]],
    log: ProblemLog,
    split_of: Callable[[_Value], str | None] = split_of_record,
) -> Iterator[tuple[int, _Value]]:
    """Yield the numbered values of the split that `only_split` names, or all if they do not name several splits.

    Args:
        values: (number, value) of a file.
        log: receives a note on what is not read, or an error if nothing is left.
        split_of: returns the split of a value, None if it names none.
    """
    numbered = iter(values)
    first = next(numbered, None)
    if first is None:
        return
    if split_of(first[1]) is None:
        yield first
        yield from numbered
        return
    found = [(number, value, split_of(value)) for number, value in (first, *numbered)]
    counts = Counter(split for _, _, split in found if split is not None)
    wanted = _wanted.get()
    if len(counts) > 1:
        _log_splits(counts, wanted, log)
    for number, value, split in found:
        if len(counts) < 2 or wanted is None or split in (None, wanted):
            yield number, value


def _log_splits(counts: Counter[str], wanted: str | None, log: ProblemLog) -> None:
    listed = ", ".join(f"{split} {count:,}" for split, count in sorted(counts.items()))
    if wanted is None:
        log.add(1, "splits", f"the records of all splits are read: {listed}", fatal=False)
    elif wanted in counts:
        others = f"those of {wanted} are read; type FILE:SPLIT for others"
        log.add(1, "splits", f"the file has records of several splits, {listed}; {others}", fatal=False)
    else:
        log.add(1, "splits", f"no record is of the split {wanted!r}; there are {listed}; type FILE:SPLIT")
