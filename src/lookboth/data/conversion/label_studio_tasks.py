"""Tasks of Label Studio's exports (JSON, JSON_MIN, CSV) with the regions of one annotation per task."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data import ProblemLog, open_records, parse_json, read_lines, suffix_of, without_repeated_keys

_ALLOWED = 'a task is {"data": {"text": "..."}, "annotations": [{"result": [...]}]}'
# Type of a result -> key of its labels.
_LABELS = {"labels": "labels", "hypertextlabels": "hypertextlabels"}
_OTHER_KEYS = ("choices", "paragraphlabels", "rectanglelabels", "polygonlabels", "keypointlabels", "brushlabels",
               "ellipselabels", "timeserieslabels", "taxonomy", "ranker", "pairwise")  # fmt: skip
_TABLES = {".csv": ",", ".tsv": "\t"}
_LEFT_OUT = "the task is left out"


class Region(NamedTuple):
    """A labeled region as written in the file, not yet checked.

    Args:
        start, end: offsets into the text.
        labels: one or several.
        said: the text that the file states for the region, if any.
        shown_place: for HTML, offsets into the text that a browser shows.
    """

    start: Any
    end: Any
    labels: tuple[Any, ...]
    said: str | None
    shown_place: tuple[Any, Any]

    @property
    def place(self) -> tuple[Any, Any]:
        """The offsets into the text."""
        return self.start, self.end


class Task(NamedTuple):
    """An annotated task.

    Args:
        number: number of its record.
        strings: the strings in its data, by key.
        regions: regions of the chosen annotation.
        is_html: whether the file has labels of HTML.
    """

    number: int
    strings: Mapping[str, str]
    regions: tuple[Region, ...]
    is_html: bool = False


def read_tasks(path: str | Path, *, repair: bool) -> tuple[ProblemLog, list[Task]]:
    """Return a log for the file and its tasks that are annotated with labels of text, or without labels.

    Args:
        path: an export, UTF-8: JSON, JSON_MIN, or a table (.csv, .tsv).
        repair: as in `ProblemLog`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, found = _open(path, repair=repair)
    records = list(found)
    annotated = any(_annotations(record) for _, record in records)
    tasks = [
        task for number, record in records if (task := _read_task(record, number, annotated, log)) is not None
    ]
    if records and not annotated and any("predictions" in record for _, record in records):
        log.add(records[0][0], "predictions", "no task is annotated; predictions are read", fatal=False)
    if tasks and not any(task.regions for task in tasks) and not any("data" in r for _, r in records):
        log.add(tasks[0].number, "no-labels", f"no task has a labeled region of text; {_ALLOWED}")
    # An HTML project may have tasks without regions; their text is HTML as well.
    if any(task.is_html for task in tasks):
        tasks = [task._replace(is_html=True) for task in tasks]
    return log, tasks


def find_html_text(source: str) -> str:
    """Return the text that a browser shows for HTML; `globalOffsets` count its characters.

    >>> find_html_text("<p>Ada &amp; <b>Bo</b></p>")
    'Ada & Bo'
    """
    reader = _TextOfHtml()
    reader.feed(source)
    reader.close()
    return "".join(reader.pieces)


class _TextOfHtml(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def _open(path: str | Path, *, repair: bool) -> tuple[ProblemLog, Iterator[tuple[int, dict[str, Any]]]]:
    separator = _TABLES.get(suffix_of(path))
    if separator is None:
        return open_records(path, _ALLOWED, repair=repair)
    log = ProblemLog(str(path), repair=repair, unit="record ")
    content = "\n".join(read_lines(path, log))
    rows = map(_row, csv.DictReader(io.StringIO(content), delimiter=separator))
    return log, without_repeated_keys(enumerate(rows, 1), log)


def _row(cells: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a row of a table as a JSON_MIN task; cells with regions hold JSON."""
    task: dict[str, Any] = {}
    for key, cell in cells.items():
        try:
            task[key] = parse_json(cell) if cell is not None and cell.startswith(("[", "{")) else cell
        # A text may begin with a bracket, too.
        except ValueError:
            task[key] = cell
    return task


def _read_task(task: Mapping[str, Any], number: int, annotated: bool, log: ProblemLog) -> Task | None:
    data = task.get("data", task)
    strings = {k: v for k, v in data.items() if isinstance(v, str)} if isinstance(data, Mapping) else {}
    if not strings:
        message = f"keys {sorted(task)!r:.100}: no text among them; {_ALLOWED}"
        log.add(number, "json", message, _LEFT_OUT)
        return None
    results = _choose(task, annotated, number, log) if "data" in task else _minimal(task)
    if results is None:
        log.add(number, "not-annotated", "the task has no annotation; it is left out", fatal=False)
        return None
    others = sorted({kind for kind, _ in results if kind not in _LABELS})
    regions = [(kind, value) for kind, value in results if kind in _LABELS]
    if others and not regions:
        message = f"its results have the type {', '.join(others)}; labels of text have the type 'labels'"
        log.add(number, "other-results", message, _LEFT_OUT)
        return None
    if others:
        message = f"results of the type {', '.join(others)} are not converted; spans have the type 'labels'"
        log.add(number, "other-results", message, fatal=False)
    read = (_region(kind, value, number, log) for kind, value in regions)
    html = any(kind == "hypertextlabels" for kind, _ in regions)
    return Task(number, strings, tuple(region for region in read if region is not None), html)


def _region(kind: str, value: Any, number: int, log: ProblemLog) -> Region | None:
    labels = value.get(_LABELS[kind]) if isinstance(value, Mapping) else None
    if not isinstance(labels, list) or not labels:
        log.add(number, "span", f"region {value!r:.80} has no list {_LABELS[kind]!r}", "it is left out")
        return None
    said = value.get("text")
    shown = value.get("globalOffsets")
    place = (shown.get("start"), shown.get("end")) if isinstance(shown, Mapping) else (None, None)
    return Region(
        value.get("start"), value.get("end"), tuple(labels), said if isinstance(said, str) else None, place
    )


def _made(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations that were not skipped."""
    return [annotation for annotation in _annotations(task) if not annotation.get("was_cancelled")]


def _annotations(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Versions before 1.0 write "completions".
    return _dicts(task.get("annotations", task.get("completions")))


def _choose(
    task: Mapping[str, Any], annotated: bool, number: int, log: ProblemLog
) -> list[tuple[str, Any]] | None:
    """Return (type, value) of the results of the chosen annotation, None if there is none.

    Predictions are used only if no task of the file is annotated, not even a skipped one.
    """
    made = _made(task)
    truth = [annotation for annotation in made if annotation.get("ground_truth")]
    predictions = [] if annotated else _dicts(task.get("predictions"))
    # Ground truth first: the reviewers of the project chose it.
    chosen = (truth or made or predictions)[:1]
    if not chosen:
        return None
    results = _results(chosen[0])
    same = truth or made
    if any(_places(_results(other)) != _places(results) for other in same[1:]):
        log.add(number, "annotations", f"{len(same)} annotations of one text differ", "the first is used")
    return results


def _places(results: Sequence[tuple[str, Any]]) -> list[str]:
    keys = ("start", "end", *_LABELS)
    return sorted(
        json.dumps([value.get(key) for key in keys]) if isinstance(value, dict) else repr(value)
        for kind, value in results
        if kind in _LABELS
    )


def _results(annotation: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (str(result.get("type")).lower(), result.get("value")) for result in _dicts(annotation.get("result"))
    ]


def _minimal(task: Mapping[str, Any]) -> list[tuple[str, Any]] | None:
    """Return (type, value) of the results of a JSON_MIN task: objects with labels, under any key."""
    found = []
    for value in task.values():
        for item in value if isinstance(value, list) else [value]:
            keys = (*_LABELS.values(), *_OTHER_KEYS)
            kind = next((key for key in keys if isinstance(item, dict) and key in item), None)
            if kind is not None:
                found.append((kind, item))
    return found if found or "annotator" in task or "label" in task else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
