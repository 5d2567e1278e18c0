"""Reader of WebAnno TSV 3 (WebAnno, INCEpTION): one token per line, one column per feature of each layer.

`#T_SP=webanno.custom.NamedEntity|identifier|value` declares a span layer. A cell holds `_` (nothing), a value with the
number of its annotation (`PER[2]`; all tokens of one annotation have its number), or several of them separated by `|`.
Other characters of a value are escaped with a backslash (https://webanno.github.io/webanno/releases/3.6.6/docs/user-guide.html).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lookboth.data import ProblemLog, Sentence, as_one_document, build_dataset, read_lines
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.wordspans import WordSpan, word_spans
from lookboth.errors import DataError

FORMAT = "#FORMAT=WebAnno TSV 3"
_LAYER = re.compile(r"#T_(SP|CH|RL)=([^|]*)\|?(.*)")
_SEVERAL = re.compile(r"(?<!\\)(?:\\\\)*\|")
_NUMBERED = re.compile(r"(.*?)(?<!\\)\[(\d{1,9})\]", re.DOTALL)
_ESCAPED = re.compile(r"\\(->|.)")
_PLACE = re.compile(r"\d+-(\d+)(\.\d+)?")
_USUAL = "NamedEntity.value"
# Columns: place, offsets, token; then the features.
_NUM_FIXED = 3


class _Feature(NamedTuple):
    """A feature of a span layer; the name is `Layer.feature`, `Layer` for a layer without features."""

    name: str
    column: int


@dataclass(frozen=True, slots=True)
class _Row:
    """A token, or a part of the token before it, with its cells."""

    line: int
    token: str
    is_part: bool
    cells: Sequence[str]


class _Mark(NamedTuple):
    label: str
    number: str


def read_webanno(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of one feature of one layer.

    Of several features with values, `value` of the layer NamedEntity is read; without it the feature must be named.
    Features that are not read are logged with the number of their values.

    Args:
        path: the file, UTF-8.
        options: `several`, and `label_field`: a layer or a feature (`NamedEntity`, `NamedEntity.value`).
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all, or has no such layer.
    """
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    features = _features(lines)
    sentences = [rows for rows in _sentences(lines, log) if rows]
    feature = _choose(features, sentences, options.label_field, log)
    if feature is None:
        return Converted(build_dataset([], "IOB2", log))
    seen: set[str] = set()
    read = [_sentence(rows, feature, options.several, seen, log) for rows in sentences]
    dataset = build_dataset(read, "IOB2", log)
    # WebAnno exports one document per file.
    return Converted(replace(dataset, examples=as_one_document(dataset.examples)))


def _features(lines: Sequence[str]) -> list[_Feature]:
    """Return the features of the span layers, with their columns."""
    found, column = [], _NUM_FIXED
    for line in lines:
        match = _LAYER.fullmatch(line.rstrip())
        if match is None:
            continue
        layer = match[2].rpartition(".")[2]
        names = match[3].split("|")
        for name in names:
            # Roles of a slot feature are links between annotations, not labels.
            if match[1] == "SP" and not name.startswith("ROLE_"):
                found.append(_Feature(f"{layer}.{name}" if name else layer, column))
            column += 1
    return found


def _choose(
    features: Sequence[_Feature], sentences: Sequence[Sequence[_Row]], named: str | None, log: ProblemLog
) -> _Feature | None:
    """Return the feature to read; log the others, or that the user must choose, and then return None."""
    marks = {f: sum(_has_value(row, f) for rows in sentences for row in rows) for f in features}
    wanted = [f for f in features if named in (f.name, f.name.partition(".")[0], f.name.rpartition(".")[2])]
    if named is not None and not wanted:
        there = ", ".join(f.name for f in features) or "none"
        raise DataError(f"{log.name}: no span layer or feature {named!r}; there are {there}.")
    filled = [f for f in wanted or features if marks[f]] or list(wanted or features)[:1]
    if named is None and len(filled) > 1:
        filled = [f for f in filled if f.name == _USUAL] or filled
    counted = ", ".join(f"{f.name} ({marks[f]:,} tokens)" for f in filled)
    if len(filled) > 1:
        log.add(
            1, "fields", f"several features have values: {counted}; name one: --label-field {filled[0].name}"
        )
        return None
    others = ", ".join(f"{f.name} ({marks[f]:,})" for f in features if marks[f] and f not in filled)
    if others:
        message = f"{counted} is read; not converted are the values of {others} tokens; see --label-field"
        log.add(1, "other-results", message, fatal=False)
    if not filled:
        log.add(1, "other-results", "the file declares no span layer (#T_SP=), so no text is labeled")
    return filled[0] if filled else None


def _has_value(row: _Row, feature: _Feature) -> bool:
    # "*" is an annotation without a value of this feature; it counts only in layers without features.
    empty = ("_", "") if "." not in feature.name else ("_", "", "*")
    return any(mark.label not in empty for mark in _marks(row, feature))


def _sentences(lines: Sequence[str], log: ProblemLog) -> Iterator[list[_Row]]:
    rows: list[_Row] = []
    # The empty line ends the last sentence.
    for number, line in enumerate([*lines, ""], 1):
        cells = line.split("\t")
        place = _PLACE.fullmatch(cells[0])
        if not line.strip() or line.startswith("#"):
            yield rows
            rows = []
        elif place is None or len(cells) < _NUM_FIXED or (place[2] and not rows):
            message = f"{line[:60]!r} is not a token; write 1-1<TAB>0-4<TAB>Anna<TAB>PER"
            log.add(number, "columns", message, "the line is left out")
        else:
            rows.append(_Row(number, cells[2], bool(place[2]), cells))


def _sentence(
    rows: Sequence[_Row], feature: _Feature, several: str | None, seen: set[str], log: ProblemLog
) -> Sentence:
    """Return a sentence; `seen` holds the annotations of the sentences before, by their numbers."""
    words = tuple(row.token for row in rows if not row.is_part)
    # Label and number of an annotation -> its words; without a number it has one word.
    places: dict[tuple[str, str], list[int]] = {}
    word = -1
    for row in rows:
        word += not row.is_part
        for mark in _marks(row, feature):
            label = _label(mark, feature, row, log)
            if label is not None:
                places.setdefault((label, mark.number or f"at {row.line}"), []).append(word)
                _note_part(row, label, words[word], log)
    line = rows[0].line
    spans = [span for key, found in places.items() if (span := _span(key, found, line, log)) is not None]
    _note_continued({number for _, number in places if number.isdigit()}, seen, line, log)
    found = word_spans(spans, words, line, log, several=several)
    return Sentence(words, tuple(row.line for row in rows if not row.is_part), None, found)


def _marks(row: _Row, feature: _Feature) -> Iterator[_Mark]:
    """Yield the annotations in a cell, unescaped."""
    cell = row.cells[feature.column] if feature.column < len(row.cells) else "_"
    for value in _split(cell):
        match = _NUMBERED.fullmatch(value)
        label, number = (match[1], match[2]) if match else (value, "")
        if label not in ("_", ""):
            yield _Mark(label, number)


def _split(cell: str) -> list[str]:
    """Split a cell at `|`, unless it is escaped."""
    parts, start = [], 0
    for match in _SEVERAL.finditer(cell):
        parts.append(cell[start : match.end() - 1])
        start = match.end()
    return [*parts, cell[start:]]


def _label(mark: _Mark, feature: _Feature, row: _Row, log: ProblemLog) -> str | None:
    if mark.label != "*":
        return _ESCAPED.sub(
            lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), mark.label
        )
    layer, _, name = feature.name.partition(".")
    if name:
        message = f"the annotation of {row.token!r:.40} has no {name}"
        log.add(row.line, "no-label", message, "the annotation is left out")
        return None
    return layer


def _note_part(row: _Row, label: str, word: str, log: ProblemLog) -> None:
    if row.is_part:
        message = f"{label} covers {row.token!r:.40}, a part of the word {word!r:.40}"
        log.add(row.line, "cut-word", message, f"widened to {word!r:.40}")


def _span(key: tuple[str, str], places: Sequence[int], line: int, log: ProblemLog) -> WordSpan | None:
    first, last = min(places), max(places)
    if len(set(places)) == last - first + 1:
        return WordSpan(first, last + 1, key[0])
    message = f"{key[0]}[{key[1]}] covers the words {sorted(set(places))}; a span has no gaps"
    log.add(line, "discontinuous", message, "it is left out")
    return None


def _note_continued(numbers: set[str], seen: set[str], line: int, log: ProblemLog) -> None:
    continued = sorted(numbers & seen, key=int)
    if continued:
        message = f"annotations {', '.join(continued)} began in a sentence before; they are read as one span in each"
        log.add(line, "discontinuous", message, fatal=False)
    seen |= numbers
