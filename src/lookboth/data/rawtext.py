"""Reader of text for training without labels: raw text, or labeled data without their labels."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lookboth.data.encodings import encoded_as
from lookboth.data.hub import is_saved_folder, open_hub
from lookboth.data.labeled_rows import read_raw_rows
from lookboth.data.lines import read_lines
from lookboth.data.packed_files import suffix_of
from lookboth.data.problems import ProblemLog, require_clean
from lookboth.data.readers import ReadOptions
from lookboth.data.record_splits import only_split
from lookboth.data.separators import looks_like_tag
from lookboth.data.sources import read_source, split_name, take_part, whole_split
from lookboth.data.split_finding import BUILTIN, find_file, source_path, split_files
from lookboth.data.splitters import DEFAULT, example_of_words
from lookboth.data.suffixes import Kind
from lookboth.data.unlabeled_files import Item, read_unlabeled_file
from lookboth.errors import DataError
from lookboth.types import Dataset, Example, Task

# Words of a piece of WikiText between two lost words.
MIN_PIECE = 8
# WikiText writes `1 @,@ 000` for 1,000, `<unk>` for a rare word and `= Title =` for a heading.
_MARK = re.compile(r" @([-,.])@(?: |$)")
_LOST = re.compile(r"\S*<unk>\S*")
_HEADING = re.compile(r"\s*=.*=\s*")
# Lines from which columns of words and tags are recognized.
_NUM_LOOKED_AT = 200


def read_raw_text(
    source: str,
    default_split: str = "train",
    *,
    kind: Kind | None = None,
    options: ReadOptions | None = None,
) -> list[str]:
    """Return the texts of a source, without labels and without blank ones.

    Each line of a .txt file is one text, and each text of a table or of JSON records without spans. In labeled data,
    the words of an example joined by spaces are one text, as a labeler reads them. WikiText's marks are undone (see
    `undo_wikitext`).

    Args:
        source: a file, folder, built-in name or hub id, with or without ":split" or a part of it.
        default_split: the split to read if the source names none.
        kind: task of the data. None: built-in data by their own task; .txt files, folders with a .txt file for the
            split and hub data sets as text; files without labels as in `read_unlabeled_file`; other data by the task
            of `options`.
        options: how labeled data are read, the encoding of files, and the text column of hub data sets.

    Raises:
        DataError: the data do not exist or have errors, or a .txt file holds columns of words and tags.

    >>> read_raw_text("ud_en_atis_pos:dev[2:3]")
    ['show me round trip flights from chicago to detroit leaving next tuesday and returning the day after']
    """
    items = _read(source, default_split, kind, options or ReadOptions())
    return [item if isinstance(item, str) else " ".join(item.words) for item in items]


def read_unlabeled(
    source: str, default_split: str = "train", *, options: ReadOptions | None = None
) -> list[Example]:
    """Return the examples of a source without their labels; labeled data keep their own words.

    Args:
        source, default_split, options: as in `read_raw_text`.

    Raises:
        DataError: as in `read_raw_text`.

    >>> read_unlabeled("wnut17:dev[:1]")[0].words[:3]
    ('Stabilized', 'approach', 'or')
    """
    options = options or ReadOptions()
    splitter = options.splitter or DEFAULT
    return [
        example_of_words(item, splitter) if isinstance(item, str) else replace(item, spans=(), text_labels=())
        for item in _read(source, default_split, None, options)
    ]


def _read(source: str, default_split: str, kind: Kind | None, options: ReadOptions) -> list[Item]:
    """Return the texts of raw text, or the examples of labeled data."""
    name, split = split_name(source, default_split)
    items: Sequence[Item] | None = None
    with encoded_as(options.encoding), only_split(whole_split(split)):
        if kind is None and name not in BUILTIN:
            kind = _guess_kind(name, whole_split(split), options.kind)
            file = None if kind == "text" else find_file(name, whole_split(split), kind)
            items = None if file is None else read_unlabeled_file(file, options)
        if items is None:
            items = _read_kind(name, whole_split(split), kind or BUILTIN[name], options)
    return list(take_part(items, split))


def _read_kind(name: str, split: str, kind: Kind, options: ReadOptions) -> Sequence[Item]:
    if kind == "text":
        return _read_texts(name, split, options.text_field)
    # Tags are not used: "plain" accepts any of them.
    words = replace(options, task=kind, scheme="plain", head=None)
    return read_source(f"{name}:{split}", options=words).examples


def undo_wikitext(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts of WikiText without its preprocessing marks; other texts are unchanged.

    Headings are left out, ` @-@ ` becomes `-`, and a text is split at each `<unk>` (alone or in a compound), which
    replaces a rare word. Pieces with fewer than `MIN_PIECE` words are left out.

    >>> list(undo_wikitext([" = Title = ", "Born in <unk> , she had a part @-@ time job at 1 @,@ 000 a year ."]))
    [', she had a part-time job at 1,000 a year .']
    """
    for text in texts:
        if _HEADING.fullmatch(text):
            continue
        pieces = _LOST.split(_MARK.sub(r"\1", text))
        yield from (piece.strip() for piece in pieces if len(pieces) == 1 or len(piece.split()) >= MIN_PIECE)


def _guess_kind(name: str, split: str, task: Task) -> Kind:
    path = source_path(name)
    if path.is_file():
        return "text" if suffix_of(path) == ".txt" else task
    if path.is_dir() and not is_saved_folder(path):
        return "text" if split_files(path, split, "text") else task
    return "text"


def _read_texts(name: str, split: str, field: str | None) -> list[str]:
    file = find_file(name, split, "text")
    texts = read_raw_rows(open_hub(name, split), field) if file is None else _file_texts(file)
    # Only WikiText has these marks; headings and <unk> alone also occur in other texts.
    if any(_MARK.search(text) for text in texts):
        texts = list(undo_wikitext(texts))
    return [text for text in texts if text.strip()]


def _file_texts(file: Path) -> list[str]:
    log = ProblemLog(str(file))
    lines = read_lines(file, log)
    require_clean(Dataset((), problems=log.problems(), name=log.name))
    shown = [line for line in lines[:_NUM_LOOKED_AT] if line.strip()]
    if shown and all(_is_tagged_word(line) for line in shown):
        message = f"holds words and tags ({shown[0]!r:.40}), not raw text"
        raise DataError(f"{file}: {message}; to read its words, rename it so that it ends in .conll.")
    return [line.strip() for line in lines]


def _is_tagged_word(line: str) -> bool:
    columns = line.split()
    return len(columns) > 1 and looks_like_tag(columns[-1])
