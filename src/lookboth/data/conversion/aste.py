"""Reader of aspect sentiment data with `####` in each line: triplets (ASTE) or `word=tag` pairs (TBSA)."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lookboth.data import ProblemLog, Sentence, build_dataset, read_lines
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.wordspans import WordSpan, word_spans

MARK = "####"
# T-POS, and TT-POS for the second term of a sentence; T alone where terms have no polarity; S is an opinion term.
_TARGET = re.compile(r"T+(?:-(\S+))?|S+")
_NO_POLARITY = "aspect"
_ALLOWED = "write text####[([2], [5], 'NEG')] or text####word=O word=T-POS"
_LEFT_OUT = "the line is left out"


def read_aste(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read aspect terms labeled with their polarity (without one: "aspect").

    Opinion terms are not converted, and their number is logged. A term with two polarities is a problem.

    Args:
        path: the file, UTF-8, one sentence per line.
        options: `several`.
        repair: leave out lines and terms that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path), repair=repair)
    sentences = []
    opinions: Counter[int] = Counter()
    for number, line in enumerate(read_lines(path, log), 1):
        if not line.strip():
            continue
        sentence = _parse(line, options.several, number, log, opinions)
        if isinstance(sentence, str):
            log.add(number, "columns", f"{sentence}; {_ALLOWED}", _LEFT_OUT)
        else:
            sentences.append(sentence)
    if opinions.total():
        message = f"{opinions.total()} opinion terms are not converted; spans are the aspect terms"
        log.add(1, "other-results", message, fatal=False)
    return Converted(build_dataset(sentences, None, log))


def _parse(
    line: str, several: str | None, number: int, log: ProblemLog, opinions: Counter[int]
) -> Sentence | str:
    text, *parts = line.split(MARK)
    parts = [part.strip() for part in parts if part.strip()]
    if not parts:
        return f"{line!r:.60} has nothing after {MARK}"
    if not parts[-1].startswith("["):
        return _tagged(parts, number, opinions)
    triplets = _triplets(parts[-1])
    if triplets is None:
        return f"{parts[-1]!r:.60} is not a list of triplets"
    words = tuple(text.split())
    opinions[number] += len({tuple(opinion) for _, opinion, _ in triplets})
    spans = [span for words_of, _, label in triplets for span in _runs(words_of, label, number, log)]
    return Sentence(words, (number,), None, word_spans(spans, words, number, log, several=several))


def _triplets(content: str) -> list[tuple[list[int], list[int], str]] | None:
    try:
        found = ast.literal_eval(content)
    # `literal_eval` raises the last two for deeply nested text.
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, list) and all(map(_is_triplet, found)) else None


def _is_triplet(value: Any) -> bool:
    match value:
        case [[int(), *_] as aspect, [int(), *_] as opinion, str()]:
            return all(type(place) is int for place in (*aspect, *opinion))
        case _:
            return False


def _runs(places: Sequence[int], label: str, number: int, log: ProblemLog) -> Iterator[WordSpan]:
    """Yield the span of an aspect term; log a term with gaps."""
    first, last = min(places), max(places)
    if len(set(places)) != last - first + 1:
        message = f"the aspect term at words {sorted(places)} is discontinuous; a span has no gaps"
        log.add(number, "discontinuous", message, "it is left out")
    else:
        yield WordSpan(first, last + 1, label)


def _tagged(parts: Sequence[str], number: int, opinions: Counter[int]) -> Sentence | str:
    pairs = [item.rpartition("=")[::2] for item in parts[0].split()]
    if not all(word and tag for word, tag in pairs):
        return f"{parts[0]!r:.60} is not word=tag word=tag"
    words, tags = zip(*pairs, strict=True)
    for part in parts[1:]:
        found = groupby(item.rpartition("=")[2] for item in part.split())
        opinions[number] += sum(tag != "O" for tag, _ in found)
    if not all(tag == "O" or _TARGET.fullmatch(tag) for tag in tags):
        return Sentence(words, (number,), tags)
    return Sentence(words, (number,), tuple(_targets(tags)))


def _targets(tags: Sequence[str]) -> Iterator[str]:
    """Yield IOB2 tags; adjacent words with one tag are one term."""
    for tag, same in groupby(tags):
        match = _TARGET.fullmatch(tag)
        label = (match[1] if match else None) or _NO_POLARITY
        for place, _ in enumerate(same):
            yield "O" if tag == "O" else f"{'I' if place else 'B'}-{label}"
