"""CoNLL columns: one word a line with its tag, a blank line after each sentence."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from lookboth.data.lines import read_lines
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset
from lookboth.errors import ConfigError
from lookboth.types import Dataset

_BLANKS = re.compile(r"[ \t]+")
_COMMENT = re.compile(r"#(\s|$|[\w:.]+\s*=)")
_SCHEME_TAG = re.compile(r"[BIESLU]-.")
_EMPTY_WORD = "the word column is empty; a blank line ends a sentence"
_LINES_LOOKED_AT = 10_000  # where a file is not read whole
_NOT_A_WORD = re.compile(r"\d+[-.]\d+")  # 3-4 is a multiword token of CoNLL-U, 8.1 an empty node


def read_conll(
    path: str | Path,
    *,
    word_column: int = 0,
    tag_column: int = -1,
    scheme: str | None = None,
    separator: str | None = None,
    repair: bool = False,
    head: str | None = None,
) -> Dataset:
    """Read a file of columns; every problem is listed in the result, none stops the reading.

    `-DOCSTART-` lines end a sentence and are no words. `# ...` lines before the first word of a sentence
    are comments unless they have the columns of a word. There is no quoting.

    Args:
        path: the file, UTF-8.
        word_column, tag_column: counted from 0; negative from the right.
        scheme: one of `schemes.SCHEMES`, or None to detect it from the tags.
        separator: what separates columns; None: tabs on lines that have one, else blanks.
        repair: read ill-formed lines as each problem says instead of calling them fatal.
        head: the scheme of the head that the data are read for; see `tag_styles.choose_reading`.

    Raises:
        DataError: if the file cannot be read at all.
        ConfigError: if the scheme is unknown or the separator empty.
    """
    if separator == "":
        raise ConfigError("the column separator is empty; name one, or none for tabs and blanks.")
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    tabbed = separator is None and any("\t" in line for line in lines)
    rows = [_split_columns(line, separator, tabbed=tabbed) for line in lines]
    blanks = separator in (None, " ") and not tabbed
    columns = _Columns.of(rows, word_column, tag_column, blanks=blanks)
    if columns.usual and columns.usual < columns.needed:
        log.add(columns.first_line(rows), "columns", columns.too_few(columns.usual))
        return Dataset((), problems=log.problems(), name=log.name)
    sentences = list(_Assembler(columns, log).assemble(rows))
    counting = _find_counting_column(sentences) if columns.usual > 2 else 0
    if counting:
        other = "pass --word-column 1 and --tag-column (in a recipe: data.word_column, data.tag_column)"
        message = f"column {word_column} counts the words; {other}"
        log.add(counting, "columns", message)
        return Dataset((), problems=log.problems(), name=log.name)
    return build_dataset(sentences, scheme, log, head=head)


def stream_words(lines: Iterable[str], log: ProblemLog) -> Iterator[Sentence]:
    """Yield sentences as their lines are read: words, with "O" in place of tags, which need not be there.

    What the columns are is seen in the first lines. Where they count the words, the words are in the second column.

    Args:
        lines: of columns.
        log: takes the problems.
    """
    lines = iter(lines)
    first = list(islice(lines, _LINES_LOOKED_AT))
    tabbed = any("\t" in line for line in first)
    split = partial(_split_columns, separator=None, tabbed=tabbed)
    rows = list(map(split, first))
    columns = _Columns.of(rows, 0, -1, blanks=not tabbed)
    seen = list(_WordAssembler(columns, ProblemLog(log.name)).assemble(rows))
    if columns.usual > 2 and _find_counting_column(seen):
        columns = replace(columns, word=1)
    sentences = _WordAssembler(columns, log).assemble(chain(rows, map(split, lines)))
    return (sentence for sentence in sentences if sentence.words)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns are read, how many lines usually have, which tags occur, and if blanks separate."""

    word: int
    tag: int
    usual: int
    tags: frozenset[str]
    blanks: bool

    @classmethod
    def of(cls, rows: Sequence[list[str]], word: int, tag: int, *, blanks: bool) -> "_Columns":
        plain = [row for row in rows if row and not row[0].startswith(("#", "-DOCSTART-"))]
        counts = Counter(map(len, plain or [row for row in rows if row]))
        usual = counts.most_common(1)[0][0] if counts else 0
        tags = frozenset(row[tag] for row in plain if len(row) == usual and -usual <= tag < usual)
        return cls(word, tag, usual, tags | {"O"}, blanks)

    @property
    def needed(self) -> int:
        """The number of columns without which a line has no word or no tag."""
        return max(2, *(i + 1 if i >= 0 else -i for i in (self.word, self.tag)))

    def first_line(self, rows: Sequence[list[str]]) -> int:
        return next(number for number, row in enumerate(rows, 1) if len(row) == self.usual)

    def too_few(self, count: int) -> str:
        wanted = f"word column {self.word} and tag column {self.tag} need {self.needed}"
        return f"{_columns(count)}; {wanted}, separated by a tab or blanks"

    def unusual(self, count: int) -> str:
        return f"{_columns(count)}; the lines of this file usually have {self.usual}"

    def is_comment(self, row: list[str]) -> bool:
        """Whether a '#' line at the start of a sentence is a comment and not the word '#' with its tag."""
        if not _COMMENT.match(" ".join(row)) or (row == ["#"] and self.usual == 1):
            return False
        if len(row) != self.usual or re.match(r"#\s", row[0]):
            return True
        tag = row[self.tag]
        return self.blanks and tag not in self.tags and not _SCHEME_TAG.match(tag)


@dataclass
class _Assembler:
    """Turns rows into sentences and notes the rows that do not fit."""

    columns: _Columns
    log: ProblemLog
    ended: list[Sentence] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    comment_line: int = 0

    def assemble(self, rows: Iterable[list[str]]) -> Iterator[Sentence]:
        """Yield the sentences, each once it has ended."""
        for number, row in enumerate(rows, 1):
            if not row:
                self._end_sentence()
            elif row[0].startswith("-DOCSTART-"):
                self.comment_line = 0
                self._end_sentence()
            elif not self.words and self.columns.is_comment(row):
                self.comment_line = number
            elif not (self.columns.word == 1 and _NOT_A_WORD.fullmatch(row[0])):
                self._take(number, row)
            if self.ended:
                yield self.ended.pop()
        self._end_sentence()
        yield from self.ended

    def _take(self, number: int, row: list[str]) -> None:
        columns, count = self.columns, len(row)
        if count < columns.needed:
            self.log.add(number, "columns", columns.too_few(count), "read as a word with the tag 'O'")
            self._append(number, row[min(max(columns.word, 0), count - 1)], "O")
            return
        if count != columns.usual:
            moved = columns.word < 0 or columns.tag < 0
            message = columns.unusual(count)
            repaired = f"read as word {row[columns.word]!r} with tag {row[columns.tag]!r}"
            self.log.add(number, "columns", message, repaired, fatal=moved)
        if row[columns.word]:
            self._append(number, row[columns.word], row[columns.tag])
        else:
            self.log.add(number, "empty-word", _EMPTY_WORD, "read as the end of a sentence")
            self._end_sentence()

    def _append(self, number: int, word: str, tag: str) -> None:
        self.words.append(word)
        self.tags.append(tag)
        self.lines.append(number)

    def _end_sentence(self) -> None:
        if self.words:
            self.ended.append(Sentence(tuple(self.words), tuple(self.lines), tuple(self.tags)))
        elif self.comment_line:
            self.ended.append(Sentence((), (self.comment_line,), ()))
        self.words, self.tags, self.lines, self.comment_line = [], [], [], 0


class _WordAssembler(_Assembler):
    """Takes words alone: a line need have no tag."""

    def _take(self, number: int, row: list[str]) -> None:
        columns, count = self.columns, len(row)
        if count != columns.usual and (count > 1 or columns.word > 0):
            self.log.add(number, "columns", columns.unusual(count))
        elif row[columns.word]:
            self._append(number, row[columns.word], "O")
        else:
            self.log.add(number, "empty-word", _EMPTY_WORD)


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _split_columns(line: str, separator: str | None, *, tabbed: bool) -> list[str]:
    """Return the columns of a line; none for a blank line.

    In a file with tabs a '#' line without one is a comment in one piece, unless it ends in a tag.
    """
    if not line.strip():
        return []
    if separator is not None:
        return line.split(separator)
    if "\t" in line:
        return line.rstrip(" \t").split("\t")
    columns = _BLANKS.split(line.strip(" "))
    if tabbed and line.startswith("#") and columns[-1] != "O" and not _SCHEME_TAG.match(columns[-1]):
        return [line]
    return columns


def _find_counting_column(sentences: Sequence[Sentence]) -> int:
    """Return the first line of a file whose words are the word numbers of CoNLL-U, 0 for any other."""
    numbered = [sentence for sentence in sentences if _counts_up(sentence.words)]
    if not any(len(sentence.words) > 1 for sentence in numbered) or len(numbered) * 2 <= len(sentences):
        return 0
    return numbered[0].line(0)


def _counts_up(words: Sequence[str]) -> bool:
    numbers = [word for word in words if not _NOT_A_WORD.fullmatch(word)]
    return numbers == [str(i + 1) for i in range(len(numbers))]
