"""Writer of examples as CoNLL columns or JSON lines, with a check that they are read back unchanged."""

import json
from collections.abc import Iterator
from pathlib import Path

from lookboth.data import ReadOptions, encode_spans, read_dataset, split_words
from lookboth.data.conversion.convert_options import Converted
from lookboth.errors import DataError
from lookboth.files import whole_file
from lookboth.types import Dataset, Example

SUFFIXES = (".conll", ".jsonl")


def write_data(data: Converted, out: str | Path) -> None:
    """Write examples to a file, read it back, and replace an older file only if the examples are unchanged.

    Args:
        data: the examples; document borders become -DOCSTART- lines, or "document" numbers in JSON.
        out: `.conll` (word, tab, IOB2 or plain tag) or `.jsonl` (the raw text, if there is one, with its spans).

    Raises:
        DataError: if the suffix is neither, the file cannot be written, or the examples are not read back unchanged
            (a word that contains a tab, say).
    """
    path = Path(out)
    if path.suffix not in SUFFIXES:
        raise DataError(f"{out}: converted data are written as {' or '.join(SUFFIXES)}. Name such a file.")
    scheme = "plain" if data.dataset.scheme == "plain" else "IOB2"
    lines = _columns(data, scheme) if path.suffix == ".conll" else _objects(data, scheme)
    try:
        with whole_file(path) as work:
            content = "".join(f"{line}\n" for line in lines)
            work.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
            # Compared before the file replaces an older one.
            _compare(data.dataset, read_dataset(work, ReadOptions(scheme=scheme)), path)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}. Name another file.") from error


def _columns(data: Converted, scheme: str) -> Iterator[str]:
    for number, example in enumerate(data.dataset.examples):
        if number in data.documents:
            yield from ("-DOCSTART-\tO", "")
        tags = encode_spans(example.spans, len(example.words), scheme)
        yield from (f"{word}\t{tag}" for word, tag in zip(example.words, tags, strict=True))
        yield ""


def _objects(data: Converted, scheme: str) -> Iterator[str]:
    document = 0
    for number, example in enumerate(data.dataset.examples):
        document += number in data.documents
        record = _with_text(example) if example.text is not None else _with_tags(example, scheme)
        yield json.dumps(record | ({"document": document} if data.documents else {}), ensure_ascii=False)


def _with_tags(example: Example, scheme: str) -> dict[str, object]:
    tags = encode_spans(example.spans, len(example.words), scheme)
    return {"tokens": list(example.words), "tags": list(tags)}


def _with_text(example: Example) -> dict[str, object]:
    text, offsets = example.text or "", example.offsets
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
