"""Reader of CoNLL-U with entities in MISC: tags (`NE=B-PER`), or brackets of CorefUD and GUM (`Entity=(e1-person`).

https://ufal.mff.cuni.cz/~popel/papers/2022-corefud-1.0-format.pdf
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lookboth.data import ProblemLog, Sentence, begins_document, build_dataset, read_conll, read_lines
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.wordspans import WordSpan, word_spans

NUM_COLUMNS = 10
ENTITY = re.compile(r"(?:^|\|)Entity=([^|]+)")
TAG = re.compile(r"(?:^|\|)\w+=[BIESLU]-[^|]+")
_GLOBAL = re.compile(r"#\s*global\.Entity\s*=\s*(\S+)")
_BRACKET = re.compile(r"\((?P<open>[^()]+)(?P<whole>\))?|(?P<close>[^()]+)\)")
# Identity of an entity: e3 or 3.
_ID = re.compile(r"e?\d+(-|$)")
_WORD_ID = re.compile(r"\d+")
# Label of an entity without a type.
_NO_TYPE = "entity"


class _Word(NamedTuple):
    line: int
    form: str
    brackets: str
    document: int | None


def read_conllu(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the entities in the column MISC.

    Entities in several places and nested ones are problems; a repair leaves out the former and keeps the longer of
    the latter.

    Args:
        path: the file, UTF-8.
        options: `several`.
        repair: leave out spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    if not any(ENTITY.search(line.rpartition("\t")[2]) for line in lines):
        # Without brackets the tags are features in MISC, which the reader of columns knows.
        return Converted(read_conll(path, word_column=1, tag_column=NUM_COLUMNS - 1, repair=repair))
    declared = _declared(lines)
    sentences = [_sentence(words, declared, options.several, log) for words in _sentences(lines, log)]
    return Converted(build_dataset(sentences, "IOB2", log))


def _declared(lines: Sequence[str]) -> Sequence[str]:
    """Return the order of the fields of an entity: as the file declares it, else by whether identities come first."""
    for line in lines:
        if match := _GLOBAL.match(line):
            return match[1].split("-")
    brackets = (match[1] for line in lines if (match := ENTITY.search(line.rpartition("\t")[2])))
    opened = [match["open"] for text in brackets for match in _BRACKET.finditer(text) if match["open"]]
    # Early versions of GUM begin with the type, and close an entity with all of its fields.
    by_type = not all(_ID.match(content) for content in opened)
    return ("etype", "eid") if by_type else ("eid", "etype")


def _sentences(lines: Sequence[str], log: ProblemLog) -> Iterator[list[_Word]]:
    words: list[_Word] = []
    marked = any(begins_document([line]) for line in lines)
    document = 0 if marked else None
    # The empty line ends the last sentence.
    for number, line in enumerate([*lines, ""], 1):
        cells = line.split("\t")
        if document is not None and begins_document([line]):
            document += 1
        if not line.strip():
            if words:
                yield words
            words = []
        elif len(cells) == NUM_COLUMNS and _WORD_ID.fullmatch(cells[0]):
            found = ENTITY.search(cells[-1])
            words.append(_Word(number, cells[1], found[1] if found else "", document))
        elif len(cells) != NUM_COLUMNS and not line.startswith("#"):
            message = f"{len(cells)} columns; CoNLL-U has {NUM_COLUMNS}"
            log.add(number, "columns", message, "the line is left out")


def _sentence(
    words: Sequence[_Word], declared: Sequence[str], several: str | None, log: ProblemLog
) -> Sentence:
    spans: list[WordSpan] = []
    # Identity of an entity -> first words of its open mentions.
    opened: dict[str, list[tuple[int, str]]] = {}
    for place, word in enumerate(words):
        for match in _BRACKET.finditer(word.brackets):
            if match["open"] is None:
                start, label = (opened.get(match["close"]) or [(-1, "")]).pop()
                _close(spans, WordSpan(start, place + 1, label), match["close"], word, log)
                continue
            name, label = _identity(match["open"], declared)
            if match["whole"]:
                _close(spans, WordSpan(place, place + 1, label), name, word, log)
            else:
                opened.setdefault(name, []).append((place, label))
    for name in (name for name, mentions in opened.items() if mentions):
        message = f"the entity {name!r:.40} is not closed in its sentence"
        log.add(words[0].line, "span", message, "it is left out")
    forms = tuple(word.form for word in words)
    found = word_spans(spans, forms, words[0].line, log, several=several)
    lines = tuple(word.line for word in words)
    return Sentence(forms, lines, None, found, document=words[0].document)


def _close(spans: list[WordSpan], span: WordSpan, name: str, word: _Word, log: ProblemLog) -> None:
    if "[" in name:
        message = f"the entity {name!r:.40} is discontinuous; a span has no gaps"
        log.add(word.line, "discontinuous", message, "this part is left out")
    elif span.start < 0:
        log.add(word.line, "span", f"{name!r:.40} is closed, but was not opened", "it is left out")
    else:
        spans.append(span)


def _identity(content: str, declared: Sequence[str]) -> tuple[str, str]:
    """Return the identity that closes an entity, and its label.

    >>> _identity("e3-person-1-x", ["eid", "etype", "head"]), _identity("person-7", ["etype", "eid"])
    (('e3', 'person'), ('person-7', 'person'))
    """
    fields = dict(zip(declared, content.split("-"), strict=False))
    label = fields.get("etype") or fields.get("entity") or _NO_TYPE
    first = declared[0] in ("eid", "GRP")
    return (fields[declared[0]] if first else content), label
