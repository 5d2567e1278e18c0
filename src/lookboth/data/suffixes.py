"""File suffixes: the format of each suffix per task, and advice for suffixes that are not read."""

from collections.abc import Mapping, Sequence
from typing import Literal

from lookboth.types import Task

# Use of data: a task, or raw text without a task.
Kind = Literal["labeling", "classification", "text"]
CONLL_SUFFIXES = (".conll", ".txt", ".tsv", ".csv", ".iob", ".iob2", ".bio", ".bioes", ".bmes", ".conllu")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
JSONL_SUFFIXES = (*JSON_LINES_SUFFIXES, ".json")
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "labeling": CONLL_SUFFIXES + JSONL_SUFFIXES,
    "classification": (".tsv", ".txt", ".csv", *JSONL_SUFFIXES),
    "text": (".txt",),
}
FILE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
KIND_NAMES = {
    "labeling": "labeling words",
    "classification": "classifying texts",
    "text": "adaptation to raw text",
}
_OTHER_TASK: dict[Kind, Task] = {"labeling": "classification", "classification": "labeling"}
_UNPACK = "a compressed file, which is not read. Unpack it first"
UNREAD: Mapping[str, str] = {
    ".gz": f"{_UNPACK}: gunzip FILE",
    ".bz2": f"{_UNPACK}: bunzip2 FILE",
    ".xz": f"{_UNPACK}: unxz FILE",
    ".zip": f"{_UNPACK}: unzip FILE",
    ".spacy": "a DocBin of spaCy, which is not read. Write its docs as JSON lines: "
    'for doc in DocBin().from_disk(FILE).get_docs(spacy.blank("en").vocab): print(json.dumps({"text": doc.text, '
    '"spans": [{"start": e.start_char, "end": e.end_char, "label": e.label_} for e in doc.ents]}))',
    **dict.fromkeys(
        (".parquet", ".arrow", ".feather"),
        "a table of the datasets library. Save it as a folder and name that: "
        'datasets.load_dataset("parquet", data_files=FILE).save_to_disk(FOLDER)',
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
