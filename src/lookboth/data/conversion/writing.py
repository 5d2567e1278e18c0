"""Writer of examples as CoNLL columns or JSON lines, with a check that they are read back unchanged."""

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from lookboth.data import (
    ReadOptions,
    do_overlap,
    document_numbers,
    encode_spans,
    read_dataset,
    split_words,
    text_and_offsets,
)
from lookboth.errors import DataError
from lookboth.files import whole_file
from lookboth.types import Dataset, Example

SUFFIXES = (".conll", ".jsonl")


def write_data(data: Dataset, out: str | Path, *, documents: bool = False) -> None:
    """Write examples to a file, read it back, and replace an older file only if the examples are unchanged.

    Args:
        data: the examples.
        documents: write the borders of documents as -DOCSTART- lines, or as "document" numbers in JSON.
        out: `.conll` (word, tab, IOB2 or plain tag) or `.jsonl` (the raw text, if there is one, with its spans).

    Raises:
        DataError: if the suffix is neither, the file cannot be written, or the examples are not read back unchanged
            (a word that contains a tab, say); for columns also if spans overlap, or the texts of a document are not
            next to each other.
    """
    path = Path(out)
    if path.suffix not in SUFFIXES:
        raise DataError(f"{out}: converted data are written as {' or '.join(SUFFIXES)}. Name such a file.")
    scheme = "plain" if data.scheme == "plain" else "IOB2"
    numbers = document_numbers(data.examples) if documents else []
    if path.suffix == ".conll" and numbers != sorted(numbers):
        raise DataError(
            f"{out}: the texts of a document are not next to each other in the source. Write .jsonl."
        )
    overlaps = next((e for e in data.examples if do_overlap(e.spans)), None)
    if path.suffix == ".conll" and overlaps is not None:
        raise DataError(f"{out}: spans overlap at {overlaps.source}, and a word has one tag. Write .jsonl.")
    lines = _columns(data, scheme, numbers) if path.suffix == ".conll" else _objects(data, scheme, numbers)
    try:
        with whole_file(path) as work:
            content = "".join(f"{line}\n" for line in lines)
            work.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
            # Compared before the file replaces an older one.
            options = ReadOptions(scheme=scheme, nested=overlaps is not None)
            _compare(data, read_dataset(work, options), path)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}. Name another file.") from error


def _columns(data: Dataset, scheme: str, documents: Sequence[int]) -> Iterator[str]:
    for example, before, number in zip_longest(
        data.examples, (None, *documents)[: len(documents)], documents
    ):
        if before != number:
            yield from ("-DOCSTART-\tO", "")
        tags = encode_spans(example.spans, len(example.words), scheme)
        yield from (f"{word}\t{tag}" for word, tag in zip(example.words, tags, strict=True))
        yield ""


def _objects(data: Dataset, scheme: str, documents: Sequence[int]) -> Iterator[str]:
    for example, number in zip_longest(data.examples, documents):
        has_text = example.text is not None or do_overlap(example.spans)
        record = _with_text(example) if has_text else _with_tags(example, scheme)
        yield json.dumps(record | ({"document": number} if documents else {}), ensure_ascii=False)


def _with_tags(example: Example, scheme: str) -> dict[str, object]:
    tags = encode_spans(example.spans, len(example.words), scheme)
    return {"tokens": list(example.words), "tags": list(tags)}


def _with_text(example: Example) -> dict[str, object]:
    text, _, offsets = text_and_offsets(example)
    places = [(offsets[s.start][0], offsets[s.end - 1][1], s.label) for s in example.spans]
    spans = [{"start": a, "end": b, "label": label, "text": text[a:b]} for a, b, label in places]
    # Words that a reader finds again in the text need not be written.
    if tuple(split_words(text)) == offsets:
        return {"text": text, "spans": spans}
    tokens = [{"text": text[start:end], "start": start, "end": end} for start, end in offsets]
    return {"text": text, "tokens": tokens, "spans": spans}


def _compare(wanted: Dataset, found: Dataset, out: Path) -> None:
    # Not strict: the first difference is more helpful than the numbers, which are compared below.
    for before, after in zip(wanted.examples, found.examples, strict=False):
        if (before.words, before.spans) != (after.words, after.spans):
            where = f"{before.source}: {' '.join(before.words)[:60]!r}"
            place = after.source.replace(found.name, str(out))
            raise DataError(
                f"{where} is not read back unchanged ({place}). Write .jsonl, or change the words."
            )
    if len(wanted.examples) != len(found.examples):
        counts = f"{len(wanted.examples)} sentences were written, {len(found.examples)} are read back"
        raise DataError(f"{out}: {counts}.")
