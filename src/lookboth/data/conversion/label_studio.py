"""Reader and writer of Label Studio's JSON: tasks with annotations, and predictions as pre-annotations.

A task is `{"data": {"text": ...}, "annotations": [{"result": [region, ...]}], "predictions": [...]}`
(https://labelstud.io/guide/task_format, https://labelstud.io/guide/predictions). A region of text is
`{"from_name", "to_name", "type": "labels", "value": {"start", "end", "text", "labels": [...]}}`
(https://labelstud.io/tags/text), a region of HTML
`{"type": "hypertextlabels", "value": {..., "globalOffsets", "text", "hypertextlabels"}}`.
JSON_MIN and CSV, which have the values of regions next to the data, are read as well. Offsets count code points since
https://github.com/HumanSignal/label-studio/issues/1008 was fixed. Before, they counted UTF-16 units
(https://github.com/HumanSignal/label-studio/issues/1347). The texts of the regions show which.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lookboth.data import (
    ProblemLog,
    Sentence,
    build_dataset,
    read_conll,
    read_lines,
    split_words,
    suffix_of,
    text_sentence,
)
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.label_studio_tasks import Region, Task, find_html_text, read_tasks
from lookboth.data.conversion.marked import Marked
from lookboth.errors import DataError

_USUAL_KEY = "text"
# Text between word and tag in a CONLL export.
_CONLL_MIDDLE = " -X- _ "
_IDEOGRAPHS = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
# Characters; longer than most words of Chinese or Japanese.
_LONG_WORD = 4


def read_label_studio(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the labeled regions of each task's text as spans.

    If a task has several annotations, the ground truth is used, else the first one that was not skipped; it is a
    problem if others differ. Predictions are used if no task of the file is annotated. Tasks without annotations are
    left out and logged. A task that has only other types of results (not labels of text or HTML) is a problem, not a
    text without spans.

    Args:
        path: an export in the format JSON, JSON_MIN, CSV or CONLL, UTF-8.
        options: `several` and `text_field`.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    if suffix_of(path) == ".conll":
        return read_label_studio_conll(path, options, repair=repair)
    log, tasks = read_tasks(path, repair=repair)
    key = options.text_field or _choose_key(tasks, log)
    sentences = [
        sentence
        for task in tasks
        if key is not None and (sentence := _sentence(task, key, options.several, log)) is not None
    ]
    return Converted(build_dataset(sentences, "IOB2", log))


def read_label_studio_conll(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the words and tags of Label Studio's CONLL, whose words are split at blanks.

    Args:
        path: the file, UTF-8.
        options: none apply.
        repair: as in `read_conll`.

    Raises:
        DataError: if the file cannot be read at all, or its words are whole sentences of a language without blanks.
    """
    if has_sentences_as_words(read_lines(path, ProblemLog(str(path), repair=True))):
        found = (
            "Label Studio's CONLL splits words at blanks; here words are whole sentences, and spans are lost"
        )
        advice = "Export the project as JSON and type: lookboth convert label-studio FILE.json OUT.jsonl"
        raise DataError(f"{path}: {found}. {advice}")
    return Converted(read_conll(path, repair=repair))


def has_sentences_as_words(lines: Iterable[str]) -> bool:
    """Return whether lines of Label Studio's CONLL have words with many Han or kana characters.

    >>> has_sentences_as_words(["车在路上碰到石头 -X- _ B-X"])
    True
    """
    words = (line.split(" ")[0] for line in lines if _CONLL_MIDDLE in line)
    return any(
        len(_IDEOGRAPHS.findall(word)) > _LONG_WORD and len(split_words(word)) > _LONG_WORD for word in words
    )


def write_label_studio(texts: Iterable[Marked]) -> Iterator[str]:
    """Yield the pieces of a JSON list of tasks; gold data become annotations, predictions pre-annotations.

    The names `label` and `text` are those of Label Studio's template for named entities. Regions have their score. A
    prediction has the lowest score of its regions, so that tasks can be sorted by it.
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
    """Return the key of the annotated text in the data: "text", or another key that the regions fit better."""
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
    """Return the number of regions of a task that fit the text of a key."""
    if key not in task.strings:
        return 0
    text = task.strings[key]
    shown = find_html_text(text) if task.is_html else ""
    texts = [" ".join(one.split()) for one in (text, shown)]
    return sum(_is_held(region, text, texts) for region in task.regions)


def _is_held(region: Region, text: str, texts: Sequence[str]) -> bool:
    if region.said is None:
        # A region without a text can only be too long.
        return type(region.end) is int and region.end <= len(text)
    said = " ".join(region.said.replace("\\n", "\n").split())
    return any(said in one for one in texts)


def _sentence(task: Task, key: str, several: str | None, log: ProblemLog) -> Sentence | None:
    text = task.strings.get(key)
    if text is None:
        message = f"the data have no text {key!r}; keys with texts are {sorted(task.strings)!r:.100}"
        log.add(task.number, "json", message, "the task is left out")
        return None
    spans = [_record(region, text, label) for region in task.regions for label in region.labels]
    if task.is_html:
        shown = find_html_text(text)
        placed = _html_spans(task, text, shown)
        if placed is None:
            message = "its HTML labels do not match the text at their offsets; export the task as plain text"
            log.add(task.number, "html", message, "the task is left out")
            return None
        text, spans = placed
    return text_sentence(text, spans, task.number, log, several=several)


def _record(region: Region, text: str, label: object) -> dict[str, Any]:
    """Return a region as a span; the editor writes a line end in its text as \\n."""
    place = {"start": region.start, "end": region.end, "label": label}
    if region.said is None:
        return place
    return {**place, "text": region.said if region.said in text else region.said.replace("\\n", "\n")}


def _html_spans(task: Task, source: str, shown: str) -> tuple[str, list[dict[str, Any]]] | None:
    """Return the text that HTML labels refer to (the source, or the text a browser shows) and their spans."""
    # Exports differ in which offsets count which text: the first pair in which all regions cover their text
    # is used.
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
