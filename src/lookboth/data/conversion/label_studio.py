"""Label Studio's JSON: tasks with annotations, and predictions as pre-annotations.

A task is `{"data": {"text": ...}, "annotations": [{"result": [region, ...]}], "predictions": [...]}`, a region
of text `{"from_name", "to_name", "type": "labels", "value": {"start", "end", "text", "labels": [...]}}`
(https://labelstud.io/guide/task_format, https://labelstud.io/guide/predictions, https://labelstud.io/tags/text), of
HTML `{"type": "hypertextlabels", "value": {..., "globalOffsets", "text", "hypertextlabels"}}`.
JSON_MIN and CSV, where the regions' values lie beside the data, are read as well. Offsets count code points: so the
editor stores them since https://github.com/HumanSignal/label-studio/issues/1008 was fixed. Before, it stored UTF-16
units (https://github.com/HumanSignal/label-studio/issues/1347); the region's own text tells which.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lookboth.data import ProblemLog, Sentence, build_dataset, text_sentence
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.label_studio_conll import read_label_studio_conll
from lookboth.data.conversion.label_studio_tasks import Region, Task, find_html_text, read_tasks
from lookboth.data.conversion.marked import Marked

_USUAL_KEY = "text"


def read_label_studio(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the labeled regions of each task's text as spans.

    Of several annotations of a task the ground truth is taken, else the first that was not skipped; that others
    differ is a problem. Predictions are taken where no task of the file is annotated. Tasks without any are left out,
    and named. A task whose results are of another type than labels of text or HTML is a problem, never a text
    without spans.

    Args:
        path: an export of the kind JSON, JSON_MIN, CSV or CONLL, UTF-8.
        options: `several` and `text_field`.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    if Path(path).suffix.lower() == ".conll":
        return read_label_studio_conll(path, options, repair=repair)
    log, tasks = read_tasks(path, repair=repair)
    key = options.text_field or _choose_key(tasks, log)
    sentences = [
        sentence
        for task in tasks
        if key is not None and (sentence := _sentence(task, key, options.several, log)) is not None
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


def _choose_key(tasks: Sequence[Task], log: ProblemLog) -> str | None:
    """Return the key of the data that holds the annotated texts: "text", or another that the regions fit better."""
    keys = list(dict.fromkeys(key for task in tasks for key in task.strings))
    hits = Counter({key: sum(_num_held(task, key) for task in tasks) for key in keys})
    best = [key for key in keys if hits[key] == max(hits.values())]
    if _USUAL_KEY in best:
        return _USUAL_KEY
    if len(best) == 1:
        return best[0]
    if tasks:
        message = f"the annotated text may be {' or '.join(best)}; name it: --text-field {best[0] if best else 'KEY'}"
        log.add(tasks[0].number, "fields", message)
    return None


def _num_held(task: Task, key: str) -> int:
    """Return how many regions of a task the text under a key can hold."""
    if key not in task.strings:
        return 0
    text = task.strings[key]
    shown = find_html_text(text) if task.is_html else ""
    texts = [" ".join(one.split()) for one in (text, shown)]
    return sum(_is_held(region, text, texts) for region in task.regions)


def _is_held(region: Region, text: str, texts: Sequence[str]) -> bool:
    if region.said is None:
        return type(region.end) is int and region.end <= len(text)
    said = " ".join(region.said.replace("\\n", "\n").split())
    return any(said in one for one in texts)


def _sentence(task: Task, key: str, several: str | None, log: ProblemLog) -> Sentence | None:
    text = task.strings.get(key)
    if text is None:
        message = f"the data have no string {key!r}; keys are {sorted(task.strings)!r:.100}"
        log.add(task.number, "json", message, "the task is left out")
        return None
    spans = [_record(region, text, label) for region in task.regions for label in region.labels]
    if task.is_html:
        shown = find_html_text(text)
        placed = _html_spans(task, text, shown)
        if placed is None:
            message = "the text of its HTML labels is not where they say; export the task as plain text"
            log.add(task.number, "html", message, "the task is left out")
            return None
        text, spans = placed
    return text_sentence(text, spans, task.number, log, several=several)


def _record(region: Region, text: str, label: object) -> dict[str, Any]:
    """Return a span of a region; the editor shows a line end in its text as \\n."""
    place = {"start": region.start, "end": region.end, "label": label}
    if region.said is None:
        return place
    return {**place, "text": region.said if region.said in text else region.said.replace("\\n", "\n")}


def _html_spans(task: Task, source: str, shown: str) -> tuple[str, list[dict[str, Any]]] | None:
    """Return the text that HTML labels speak of, and their spans: the source, or what a browser shows of it."""
    for text, places in ((source, "place"), (shown, "shown_place"), (shown, "place")):
        found = [(getattr(region, places), region) for region in task.regions]
        if all(_covers(text, place, region) for place, region in found):
            return text if found else shown, [
                {"start": place[0], "end": place[1], "label": label}
                for place, r in found
                for label in r.labels
            ]
    return None


def _covers(text: str, place: tuple[Any, Any], region: Region) -> bool:
    whole = type(place[0]) is int and type(place[1]) is int and 0 <= place[0] < place[1] <= len(text)
    said = (region.said or "").replace("\\n", "\n").split()
    return whole and bool(said) and text[place[0] : place[1]].split() == said
