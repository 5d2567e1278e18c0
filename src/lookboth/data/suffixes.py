"""File suffixes: the format of each suffix per task, and advice for suffixes that are not read."""

from collections.abc import Mapping, Sequence
from typing import Literal

from lookboth.types import Task

# Use of data: a task, or raw text without a task.
Kind = Literal["labeling", "classification", "text"]
CONLL_SUFFIXES = (".conll", ".txt", ".tsv", ".csv", ".iob", ".iob2", ".bio", ".bioes", ".bmes", ".conllu")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
JSONL_SUFFIXES = (*JSON_LINES_SUFFIXES, ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "labeling": CONLL_SUFFIXES + JSONL_SUFFIXES + PARQUET_SUFFIXES,
    "classification": (".tsv", ".txt", ".csv", *JSONL_SUFFIXES, *PARQUET_SUFFIXES),
    "text": (".txt",),
}
# Files of recognized kinds only (see `conversion.kinds`).
KIND_SUFFIXES = (".spacy", ".xml", ".yml", ".yaml")
FILE_SUFFIXES = frozenset(KIND_SUFFIXES).union(*SUFFIXES.values())
KIND_NAMES = {
    "labeling": "labeling words",
    "classification": "classifying texts",
    "text": "adaptation to raw text",
}
_OTHER_TASK: dict[Kind, Task] = {"labeling": "classification", "classification": "labeling"}
UNREAD: Mapping[str, str] = {
    ".zip": "an archive, which is not read. Unpack it first: unzip FILE",
    ".tar": "an archive, which is not read. Unpack it first: tar xf FILE",
    ".tgz": "an archive, which is not read. Unpack it first: tar xf FILE",
    **dict.fromkeys(
        (".arrow", ".feather"),
        "a table of the datasets library. Save it as a folder and name that: "
        "datasets.Dataset.from_file(FILE).save_to_disk(FOLDER)",
    ),
    ".xlsx": "a table of Excel, which is not read. Save it as CSV with the columns word and tag",
    ".xml": "XML, which is not read. Convert published data sets: lookboth convert KIND IN OUT",
}


def unknown_suffix(suffix: str, task: Task) -> str:
    """Return the message for a file whose suffix is not read for the task: the reason and what to do."""
    if suffix in UNREAD:
        return f"is {UNREAD[suffix]}."
    message = f"the suffix {suffix!r} is not a format of {task} data; allowed are {', '.join(SUFFIXES[task])}"
    return f"{message}. {try_other_task(task, [suffix]) or 'Name the file after its format.'}"


def try_other_task(kind: Kind, suffixes: Sequence[str]) -> str:
    """Return what to type if a suffix is a format of the other task only, else ""."""
    other = _OTHER_TASK.get(kind)
    if other is None or not any(s in SUFFIXES[other] and s not in SUFFIXES[kind] for s in suffixes):
        return ""
    return f"If it is data for {KIND_NAMES[other]}, pass --task {other} to check-data or train."
