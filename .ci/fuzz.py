"""Feeds what reads other people's bytes with bytes that reach ever more of its code (atheris, coverage-guided).

    pip install atheris
    python .ci/fuzz.py TARGET [options of libFuzzer, such as -max_total_time=600]

A finding is an error that is no LookbothError, or a string that is no text. No part of the tests: these draw their
input by hypothesis (tests/*/test_hostile_*.py), which knows what records look like and is quick enough for every run.
Readers of lines and of plans gain by coverage; what goes through a JSON parser first does not.
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lookboth"]):
    from lookboth.data.conversion.convert_options import ConvertOptions
    from lookboth.data.conversion.converting import KINDS
    from lookboth.data.readers import ReadOptions, read_dataset
    from lookboth.errors import LookbothError
    from lookboth.masking.plan import MaskPlan

FOLDER = Path(tempfile.mkdtemp())


def read_file(data: bytes, suffix: str, task: str = "labeling") -> None:
    """Read bytes as a data file."""
    file = FOLDER / f"data{suffix}"
    file.write_bytes(data)
    for repair in (False, True):
        for one in read_dataset(file, ReadOptions(task=task), repair=repair).examples:  # type: ignore[arg-type]
            "".join([*one.words, *one.labels()]).encode()


def convert(data: bytes, kind: str) -> None:
    """Read bytes as the file of an annotation tool."""
    file = FOLDER / "data.json"
    if kind == "brat":
        file = FOLDER
        (FOLDER / "a.txt").write_bytes(b"Ada was here.")
        (FOLDER / "a.ann").write_bytes(data)
    else:
        file.write_bytes(data)
    KINDS[kind].read(file, ConvertOptions(), repair=True)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "conll": lambda data: read_file(data, ".conll"),
    "jsonl": lambda data: read_file(data, ".jsonl"),
    "csv": lambda data: read_file(data, ".csv", "classification"),
    "brat": lambda data: convert(data, "brat"),
    "label-studio": lambda data: convert(data, "label-studio"),
    "plan": lambda data: str(MaskPlan.parse(data.decode("utf-8", "replace"), 8)) and None,
}


def main() -> None:
    """Fuzz one target until something is found or the time is over."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name a target: {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]

    def one(data: bytes) -> None:
        with suppress(LookbothError):
            target(data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
