"""Label Studio's JSON: tasks with annotations, and predictions as pre-annotations.

A task is `{"data": {"text": ...}, "annotations": [{"result": [region, ...]}], "predictions": [...]}`, a region of text
`{"from_name", "to_name", "type": "labels", "value": {"start", "end", "text", "labels": [...]}}`
(https://labelstud.io/guide/task_format, https://labelstud.io/guide/predictions, https://labelstud.io/tags/text).
JSON_MIN, where the regions' values lie beside the data, is read as well. Offsets count code points: so the editor
stores them since https://github.com/HumanSignal/label-studio/issues/1008 was fixed. Before, it stored UTF-16 units
(https://github.com/HumanSignal/label-studio/issues/1347); the region's own text tells which.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookboth.data.conversion.marked import Marked
from lookboth.data.conversion.options import Converted, ConvertOptions
from lookboth.data.conversion.records import open_records, text_sentence
from lookboth.data.conversion.utf16 import Utf16Offsets
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset

_ALLOWED = 'a task is {"data": {"text": "..."}, "annotations": [{"result": [...]}]}'


def read_label_studio(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the labeled regions of each task's text as spans.

    Of several annotations of a task the ground truth is taken, else the first that was not skipped, else a prediction;
    that others differ is a problem. Tasks without any are left out, and named.

    Args:
        path: an export of the kind JSON or JSON_MIN, UTF-8.
        options: none mean anything here.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, records = open_records(path, _ALLOWED, repair=repair)
    sentences = [
        sentence for number, task in records if (sentence := _read_task(task, number, log)) is not None
    ]
    return Converted(build_dataset(sentences, "IOB2", log))


def write_label_studio(texts: Iterable[Marked]) -> Iterator[str]:
    """Yield the pieces of a JSON list of tasks; gold data become annotations, predictions pre-annotations.

    The names `label` and `text` are those of Label Studio's template for named entities. Regions carry their score, a
    prediction the lowest one, by which the tasks can be ordered.
    """
    before = "["
    for marked in texts:
        yield f"{before}{json.dumps(_task(marked))}\n"
        before = ","
    yield "[]\n" if before == "[" else "]\n"


def _task(marked: Marked) -> dict[str, Any]:
    regions = [_region(f"span{number}", marked.text, *span) for number, span in enumerate(marked.spans)]
    if not marked.predicted:
        return {"data": {"text": marked.text}, "annotations": [{"result": regions}]}
    lowest = min((span.score for span in marked.spans if span.score is not None), default=None)
    prediction: dict[str, Any] = {"model_version": "lookboth", "result": regions}
    if lowest is not None:
        prediction["score"] = lowest
    return {"data": {"text": marked.text}, "predictions": [prediction]}


def _region(
    name: str, text: str, start: int, end: int, label: str, _first: int, _stop: int, score: float | None
) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text[start:end], "labels": [label]}
    region = {"id": name, "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    return region if score is None else {**region, "score": score}


def _read_task(task: Mapping[str, Any], number: int, log: ProblemLog) -> Sentence | None:
    data = task.get("data", task)
    text = data.get("text") if isinstance(data, dict) else None
    strings = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    if not isinstance(text, str) and len(strings) == 1:
        text = strings[0]
    if not isinstance(text, str):
        message = f"keys {sorted(task)!r:.100} hold no 'text'; {_ALLOWED}"
        log.add(number, "json", message, "the task is left out")
        return None
    values = _choose(task, number, log) if "data" in task else _minimal(task)
    if values is None:
        log.add(number, "not-annotated", "the task has no annotation; it is left out", fatal=False)
        return None
    return text_sentence(text, list(_spans(values, text, number, log)), number, log)


def _choose(task: Mapping[str, Any], number: int, log: ProblemLog) -> list[Any] | None:
    """Return the regions' values of the annotation that counts, None where there is none."""
    made = [a for a in _dicts(task.get("annotations", task.get("completions"))) if not a.get("was_cancelled")]
    truth = [annotation for annotation in made if annotation.get("ground_truth")]
    chosen = (truth or made or _dicts(task.get("predictions")))[:1]
    if not chosen:
        return None
    values = _values(chosen[0], number, log)
    if not truth and any(_places(_values(other, number, None)) != _places(values) for other in made[1:]):
        log.add(number, "annotations", f"{len(made)} annotations of one text differ", "the first is taken")
    return values


def _places(values: Sequence[Any]) -> list[str]:
    keys = ("start", "end", "labels")
    return sorted(json.dumps([v.get(k) for k in keys]) if isinstance(v, dict) else repr(v) for v in values)


def _values(annotation: Mapping[str, Any], number: int, log: ProblemLog | None) -> list[Any]:
    """Return the values of the labeled regions; relations, choices and others are named."""
    results = _dicts(annotation.get("result"))
    regions = [result for result in results if result.get("type") == "labels"]
    others = sorted({str(result.get("type")) for result in results if result.get("type") != "labels"})
    if others and log is not None:
        message = f"results of the type {', '.join(others)} are not taken over; spans have the type 'labels'"
        log.add(number, "other-results", message, fatal=False)
    return [region.get("value") for region in regions]


def _minimal(task: Mapping[str, Any]) -> list[Any] | None:
    """Return the regions' values of a JSON_MIN task: lists of objects with labels, under any key."""
    lists = [value for value in task.values() if isinstance(value, list)]
    found = [v for values in lists for v in values if isinstance(v, dict) and "labels" in v]
    return found if found or "annotator" in task or "label" in task else None


def _spans(values: Iterable[Any], text: str, number: int, log: ProblemLog) -> Iterator[dict[str, Any]]:
    offsets = Utf16Offsets(text)
    for value in values:
        if not isinstance(value, dict) or not isinstance(value.get("labels"), list):
            log.add(number, "span", f"region {value!r:.80} has no list of 'labels'", "it is left out")
            continue
        place, said = _place(value, text, offsets, number, log)
        for label in value["labels"]:
            yield {**place, "label": label, **said}


def _place(
    value: Mapping[str, Any], text: str, offsets: Utf16Offsets, number: int, log: ProblemLog
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return where a region is, in code points, and the text it says to have if that is not what stands there."""
    start, end = value.get("start"), value.get("end")
    place, said = {"start": start, "end": end}, value.get("text")
    if type(start) is not int or type(end) is not int or not isinstance(said, str):
        return place, {}
    if _same(said, text[start:end]):
        return place, {}
    wide = {"start": offsets.to_code_points(start), "end": offsets.to_code_points(end)}
    if None not in wide.values() and _same(said, text[wide["start"] : wide["end"]]):
        message = f"offsets {start}..{end} of {said!r:.40} count UTF-16 units; they are read so"
        log.add(number, "utf16", message, fatal=False)
        return wide, {}
    return place, {"text": said}


def _same(said: str, stands: str) -> bool:
    r"""Say whether a region's text is what stands there; the editor shows a line end as \n and may trim blanks."""
    return said.replace("\\n", "\n").split() == stands.split()


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
