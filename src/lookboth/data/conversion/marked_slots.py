"""Readers of labels inside text with brackets: MASSIVE's `[time : five am]` and Rasa's `[five am](time)`."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data import ProblemLog, Sentence, build_dataset, read_whole, suffix_of, text_sentence
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.errors import DataError

# [text](entity), [text](entity:value), [text]{"entity": "...", ...} and [text][{...}, {...}]
_RASA = re.compile(
    r"\[(?P<text>[^\]\[]+)\](?:\((?P<name>[^():]+)(?::[^()]*)?\)|(?P<object>\{[^{}]*\})|\[(?P<objects>\s*\{[^\[\]]*\}\s*)\])"
)
MARKDOWN_HEAD = re.compile(r"##\s*(intent|synonym|regex|lookup)\s*:\s*(.*)")
YAML_HEAD = re.compile(r"nlu\s*:")
YAML_SUFFIXES = (".yml", ".yaml")
_ROLE = re.compile(r"[\"'](?:role|group)[\"']\s*:")
_BULLET = re.compile(r"\s*[-*+]\s+(.*)")


class _Utterance(NamedTuple):
    number: int
    marked: str


class Slots(NamedTuple):
    """A text without its marks, and the records of its spans."""

    text: str
    spans: list[dict[str, Any]]


def read_rasa_text(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the marked entities of Rasa's training examples in YAML or Markdown.

    Intents, roles and groups are not converted; synonyms, regular expressions and lookup tables are not examples.

    Args:
        path: the file, UTF-8.
        options: `several`.
        repair: leave out or widen spans that do not cover whole words instead of reporting them as fatal.

    Raises:
        DataError: if the file is not such YAML or Markdown.
    """
    log = ProblemLog(str(path), repair=repair)
    content = read_whole(path)
    if suffix_of(path) in YAML_SUFFIXES:
        log.unit = "example "
        utterances = list(_yaml_examples(content, str(path)))
    else:
        utterances = list(_markdown_examples(content))
    sentences = [_sentence(utterance, options, log) for utterance in utterances]
    if not utterances:
        log.add(
            1, "empty-file", "no examples of intents; write '- intent: NAME' with 'examples: |' under 'nlu:'"
        )
    return Converted(build_dataset(sentences, "IOB2", log))


def unmark(
    marked: str, pattern: re.Pattern[str], labels_of: Callable[[re.Match[str]], Sequence[object]]
) -> Slots:
    """Return a text without the marks of a pattern, and a span for each label of a mark.

    Args:
        marked: the text.
        pattern: its group "text" is the marked text.
        labels_of: returns the labels of a match.
    """
    text, spans, position = "", [], 0
    for match in pattern.finditer(marked):
        text += marked[position : match.start()]
        start, text = len(text), text + match["text"]
        spans += [{"start": start, "end": len(text), "label": label} for label in labels_of(match)]
        position = match.end()
    return Slots(text + marked[position:], spans)


def _sentence(utterance: _Utterance, options: ConvertOptions, log: ProblemLog) -> Sentence:
    if any(_ROLE.search(_objects_of(match)) for match in _RASA.finditer(utterance.marked)):
        log.add(
            utterance.number, "other-results", "roles and groups of entities are not converted", fatal=False
        )
    text, spans = unmark(utterance.marked, _RASA, _rasa_labels)
    return text_sentence(text, spans, utterance.number, log, several=options.several)


def _objects_of(match: re.Match[str]) -> str:
    """Return the objects after a marked text, separated by commas; "" if there are none."""
    return match["object"] or match["objects"] or ""


def _rasa_labels(match: re.Match[str]) -> Sequence[Any]:
    if match["name"] is not None:
        return [match["name"].strip()]
    # The check of spans reports a label that is not a name.
    try:
        found = json.loads(f"[{_objects_of(match)}]")
    except ValueError:
        return [None]
    return [item.get("entity") if isinstance(item, Mapping) else None for item in found]


def _yaml_examples(content: str, name: str) -> Iterator[_Utterance]:
    import yaml

    try:
        # The safe loader makes no objects of other types than text, numbers, lists and mappings.
        parsed = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: not YAML: {error}.") from error
    items = parsed.get("nlu") if isinstance(parsed, Mapping) else None
    lists = (i.get("examples") for i in items or () if isinstance(i, Mapping) and "intent" in i)
    marked = (text for examples in lists for text in _examples(examples))
    yield from (_Utterance(number, text) for number, text in enumerate(marked, 1))


def _examples(value: Any) -> Iterator[str]:
    """Yield the examples of an intent: lines with a hyphen, or a list of objects with "text"."""
    if isinstance(value, str):
        yield from (match[1] for line in value.splitlines() if (match := _BULLET.fullmatch(line)))
    for item in value if isinstance(value, list) else ():
        text = item.get("text") if isinstance(item, Mapping) else item
        if isinstance(text, str):
            yield text.strip().removeprefix("- ")


def _markdown_examples(content: str) -> Iterator[_Utterance]:
    of_intent = False
    for number, line in enumerate(content.splitlines(), 1):
        head, bullet = MARKDOWN_HEAD.match(line), _BULLET.fullmatch(line)
        if line.startswith("#"):
            of_intent = head is not None and head[1] == "intent"
        elif of_intent and bullet is not None:
            yield _Utterance(number, bullet[1])
