"""Records of several splits in one JSON file, as in MASSIVE: only those of the split that is read are kept."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lookboth.data.problems import ProblemLog

SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}
# Keys of a record that name its split.
_KEYS = ("partition", "split")
_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_wanted: ContextVar[str | None] = ContextVar("wanted_split", default=None)


@contextmanager
def only_split(split: str) -> Iterator[None]:
    """Keep the records of one split of files that are read inside a `with` block and hold several."""
    token = _wanted.set(split)
    try:
        yield
    finally:
        _wanted.reset(token)


def of_wanted_split(values: Iterable[tuple[int, Any]], log: ProblemLog) -> Iterator[tuple[int, Any]]:
    """Yield the numbered values of the split that `only_split` names, or all if they do not name several splits.

    Args:
        values: (number, value) of a file.
        log: receives a note on what is not read, or an error if nothing is left.
    """
    numbered = iter(values)
    first = next(numbered, None)
    if first is None:
        return
    if _split_of(first[1]) is None:
        yield first
        yield from numbered
        return
    found = [(number, value, _split_of(value)) for number, value in (first, *numbered)]
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


def _split_of(value: Any) -> str | None:
    """Return the split that a record names, else None."""
    if not isinstance(value, Mapping):
        return None
    named = (value[key] for key in _KEYS if isinstance(value.get(key), str))
    return next((_SPLITS[name.lower()] for name in named if name.lower() in _SPLITS), None)
