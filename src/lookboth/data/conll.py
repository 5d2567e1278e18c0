"""Reader of CoNLL columns: one word per line with its tag, a blank line after each sentence."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from lookboth.data.column_layout import (
    Columns,
    Places,
    begins_document,
    carries_tags,
    find_other_layers,
    find_standard_tags,
    find_words,
    is_border,
    is_inner_comment,
    take_header,
)
from lookboth.data.documents import Documents
from lookboth.data.lines import read_lines
from lookboth.data.nesting import overlaps_kept
from lookboth.data.packed_files import suffix_of
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset
from lookboth.data.separators import Splitter
from lookboth.data.tag_layers import cells_of, note_layers
from lookboth.data.tag_styles import is_standard
from lookboth.errors import ConfigError
from lookboth.types import Dataset

_NO_TAGS_IN_CSV = (
    "the first line does not name the columns of words and tags (word,tag), and the last column has no tags such as "
    "B-PER. If the labels belong to whole texts, pass --task classification to check-data or train"
)
# Words; real corpora have no sentence of this length, so blank lines must be missing.
_LONG_SENTENCE = 1000
_EMPTY_WORD = "the word column is empty; a blank line ends a sentence"
_INNER_COMMENT = (
    "looks like markup or a comment inside a sentence; comments are allowed only before a sentence"
)
# en:Oslo, as in WikiANN.
_LANGUAGE = re.compile(r"([a-z]{2,3}(?:-[a-z]+)*:)(?=.)")
# 科0 技1: position of a character in its word, as in WeiboNER.
_PLACE = re.compile(r"(?<=^[\u3000-\uffef])([0-9])$")
# Lines from which the layout of a streamed file is detected.
_LINES_LOOKED_AT = 10_000


def read_conll(
    path: str | Path,
    *,
    word_column: int = 0,
    tag_column: int = -1,
    scheme: str | None = None,
    separator: str | None = None,
    repair: bool = False,
    head: str | None = None,
    documents: Documents | None = None,
) -> Dataset:
    """Read a file of columns; the result lists every problem, and none stops the reading.

    `-DOCSTART-` lines end a sentence and a document and are not words. `# ...` lines before the first word of a
    sentence are comments unless they have the columns of a word. Only .csv files have quoting.

    Args:
        path: the file, decoded as in `lines.read_lines`.
        word_column, tag_column: column indices from 0; negative ones count from the right.
        scheme: one of `schemes.SCHEMES`, or None to detect it from the tags.
        separator: column separator; None: tabs on lines that have one, else blanks.
        repair: apply the repair of each invalid line instead of reporting the line as fatal.
        head: scheme of the head that will use the data; see `tag_reading.choose_reading`.
        documents: "blank_lines": several blank lines end a document; otherwise -DOCSTART- and `# newdoc` do. Without
            any border, each sentence is a document of its own.

    Raises:
        DataError: if the file cannot be read at all.
        ConfigError: if the scheme is unknown or the separator empty.
    """
    if separator == "":
        raise ConfigError("the column separator is empty; pass one, or leave it out for tabs and blanks.")
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    splitter = Splitter.of(lines, separator, quoted=suffix_of(path) == ".csv")
    rows = list(map(splitter.split, lines))
    given = Places(word_column, tag_column)
    places = take_header(rows, log, given)
    columns = Columns.of(rows, places, blanks=splitter.blanks)
    # A CSV file may hold whole texts with labels: without any sign of tags it is not read as words.
    has_tags = scheme is not None or head == "plain" or places is not given
    if splitter.quoted and not has_tags and lines and not any(map(is_standard, columns.tags)):
        log.add(1, "columns", _NO_TAGS_IN_CSV)
        return Dataset((), problems=log.problems(), name=log.name)
    if not _has_words(rows, columns, log):
        return Dataset((), problems=log.problems(), name=log.name)
    layers = find_other_layers(rows, columns)
    assembler = _Assembler(
        columns, log, ends_at_blanks=documents == "blank_lines", layers=layers if overlaps_kept() else ()
    )
    sentences = _drop_marks(assembler.in_documents(assembler.assemble(rows)), log)
    note_layers(rows, columns, layers, log)
    _note_long_sentence(rows, columns, sentences, log)
    dataset = build_dataset(sentences, scheme, log, head=head)
    other = find_standard_tags(rows, columns)
    if any(problem.kind == "tag-style" for problem in dataset.problems) and other is not None:
        log.add(
            columns.first_line(rows),
            "tag-style",
            f"column {other} has tags such as B-PER; see --tag-column {other}",
        )
    return replace(dataset, problems=log.problems())


def stream_words(
    lines: Iterable[str], log: ProblemLog, *, ends_at_blanks: bool = False
) -> Iterator[Sentence]:
    """Yield sentences while their lines are read, with the tag "O" for every word; tag columns are optional.

    The column layout is detected from the first lines. If the first column numbers the words, the words are in the
    second one.

    Args:
        lines: lines of columns.
        log: receives the problems.
        ends_at_blanks: whether several blank lines end a document. Documents are numbered from 0, so all numbers are 0
            if there are no borders.
    """
    lines = iter(lines)
    first = list(islice(lines, _LINES_LOOKED_AT))
    splitter = Splitter.of(first)
    rows = list(map(splitter.split, first))
    places = take_header(rows, ProblemLog(log.name), Places(0, -1))
    columns = Columns.of(rows, places, blanks=splitter.blanks)
    columns = replace(columns, word=find_words(rows, columns)[1])
    assembler = _WordAssembler(columns, log, ends_at_blanks=ends_at_blanks)
    sentences = assembler.assemble(chain(rows, map(splitter.split, lines)))
    return (sentence for sentence in sentences if sentence.words)


def _note_long_sentence(
    rows: list[list[str]], columns: Columns, sentences: list[Sentence], log: ProblemLog
) -> None:
    """Log a file without blank lines between sentences."""
    if len(sentences) == 1 and len(sentences[0].words) > _LONG_SENTENCE:
        message = f"no blank lines: all {len(sentences[0].words)} words are one sentence"
        log.add(columns.first_line(rows), "one-sentence", message, fatal=False)


def _drop_marks(sentences: list[Sentence], log: ProblemLog) -> list[Sentence]:
    """Remove a mark that a data set adds to all its words, and log it."""
    words = [word for sentence in sentences for word in sentence.words]
    for mark in (_LANGUAGE, _PLACE):
        found = [mark.search(word) for word in words[:_LINES_LOOKED_AT]] if len(words) > 2 else [None]
        if (
            all(found)
            and all(map(mark.search, words))
            and (mark is _PLACE or len({m and m[1] for m in found}) == 1)
        ):
            message = f"all words have a mark, as in {words[0]!r:.40}; it is removed: {mark.sub('', words[0])!r:.40}"
            log.add(sentences[0].line(0), "marked-words", message, fatal=False)
            return [replace(s, words=tuple(mark.sub("", word) for word in s.words)) for s in sentences]
    return sentences


def _has_words(rows: list[list[str]], columns: Columns, log: ProblemLog) -> bool:
    """Return whether the word column holds words; log the reason if not."""
    if columns.usual and columns.usual < columns.needed:
        log.add(columns.first_line(rows), "columns", columns.too_few(columns.usual))
        return False
    if carries_tags(rows, columns):
        message = "each word carries its tag (word/tag in the text); write one word and its tag per line"
        log.add(columns.first_line(rows), "columns", message)
        return False
    line, other = find_words(rows, columns)
    if line:
        advice = (
            f"pass --word-column {other} and --tag-column (in a recipe: data.word_column, data.tag_column)"
        )
        log.add(line, "columns", f"column {columns.word} numbers the words; {advice}")
    return not line


@dataclass
class _Assembler:
    """Builds sentences from rows and logs invalid rows.

    Args:
        columns: the layout.
        log: receives the problems.
        ends_at_blanks: whether several blank lines end a document.
        layers: further columns of tags.
    """

    columns: Columns
    log: ProblemLog
    ends_at_blanks: bool = False
    layers: Sequence[int] = ()
    ended: list[Sentence] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    more: list[tuple[str, ...]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    comment_line: int = 0
    sentence: str = ""
    blanks: int = 0
    document: int = 0

    def in_documents(self, sentences: Iterable[Sentence]) -> list[Sentence]:
        """Return the sentences; without a border between documents, each is a document of its own."""
        found = list(sentences)
        return found if self.document else [replace(sentence, document=None) for sentence in found]

    def assemble(self, rows: Iterable[list[str]]) -> Iterator[Sentence]:
        """Yield each sentence when it ends."""
        for number, row in enumerate(rows, 1):
            self.blanks = 0 if row else self.blanks + 1
            if not row:
                self._end_sentence()
                self.document += self.ends_at_blanks and self.blanks == 2
            elif is_border(row):
                self.comment_line = 0
                self._end_sentence()
                self.document += 1
            elif not self.words and self.columns.is_comment(row):
                self.comment_line = number
                self.document += begins_document(row)
            elif is_inner_comment(row, self.columns):
                self.log.add(number, "columns", _INNER_COMMENT, "the line is left out")
            elif not self.columns.is_range(row):
                self._follow_sentence(row)
                self._take(number, row)
            if self.ended:
                yield self.ended.pop()
        self._end_sentence()
        yield from self.ended

    def _follow_sentence(self, row: list[str]) -> None:
        """End the sentence if the sentence column changes; an empty cell repeats the value above."""
        at = self.columns.sentence
        name = row[at] if 0 <= at < len(row) else ""
        if name and name != self.sentence:
            self._end_sentence()
            self.sentence = name

    def _take(self, number: int, row: list[str]) -> None:
        columns, count = self.columns, len(row)
        # Lines of the usual length have all columns (`_has_words`).
        if count != columns.usual and count < columns.needed:
            self.log.add(number, "columns", columns.too_few(count), "read as a word with the tag 'O'")
            self._append(number, row[min(max(columns.word, 0), count - 1)], "O")
            return
        if count != columns.usual:
            # With another number of columns, columns counted from the right are other columns.
            moved = columns.word < 0 or columns.tag < 0
            known = row[columns.tag] in columns.tags
            read = f"read as word {row[columns.word]!r} with tag {row[columns.tag]!r}"
            repaired = read if known else "the line is left out"
            self.log.add(number, "columns", columns.unusual(count), repaired, fatal=moved or not known)
            if not known:
                return
        if row[columns.word]:
            self._append(number, row[columns.word], row[columns.tag], row)
        else:
            self.log.add(number, "empty-word", _EMPTY_WORD, "read as the end of a sentence")
            self._end_sentence()

    def _append(self, number: int, word: str, tag: str, row: Sequence[str] = ()) -> None:
        self.words.append(word)
        self.tags.append(tag)
        self.more.append(cells_of(row, self.layers))
        self.lines.append(number)

    def _end_sentence(self) -> None:
        if self.words:
            words, lines, tags = tuple(self.words), tuple(self.lines), tuple(self.tags)
            more = tuple(zip(*self.more, strict=True))
            self.ended.append(Sentence(words, lines, tags, document=self.document, more_tags=more))
        elif self.comment_line:
            self.ended.append(Sentence((), (self.comment_line,), ()))
        self.words, self.tags, self.lines, self.comment_line = [], [], [], 0
        self.more = []


class _WordAssembler(_Assembler):
    """Builds sentences from words alone; lines need no tag column."""

    def _take(self, number: int, row: list[str]) -> None:
        columns, count = self.columns, len(row)
        if count != columns.usual and (count > 1 or columns.word > 0):
            self.log.add(number, "columns", columns.unusual(count))
        elif row[columns.word]:
            self._append(number, row[columns.word], "O")
        else:
            self.log.add(number, "empty-word", _EMPTY_WORD)
