"""Which columns a file of columns has: what separates them, a header, numbers of words, comments."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lookboth.data.problems import ProblemLog
from lookboth.data.tag_styles import is_standard

_BLANKS = re.compile(r"[ \t]+")
_COMMENT = re.compile(r"#(\s|$|[\w:.]+\s*=)")
_DOCUMENT = re.compile(r"-DOCSTART-|#begin document|#end document|###MEDLINE:")
_RULER = re.compile(r"(#{2,}|={3,}|-{3,}|\*{3,}|_{3,}).*")
_SCHEME_TAG = re.compile(r"[BIESLU]-.")
_LINES_LOOKED_AT = 1000  # enough to see a delimiter
_DIGITS = re.compile(r"([0-9]{1,18})")
NOT_A_WORD = re.compile(r"\d+[-.]\d+")  # 3-4 is a multiword token of CoNLL-U, 8.1 an empty node
_WORD_NAMES = frozenset(("word", "words", "token", "tokens", "form"))
_SENTENCE_NAMES = frozenset(
    ("sentence #", "sentence", "sentence_id", "sentence id", "sent_id", "sentence_idx")
)
_TAG_NAMES = frozenset(
    (
        "tag",
        "tags",
        "label",
        "labels",
        "ner",
        "ner_tag",
        "ner_tags",
        "ner-tag",
        "iob",
        "bio",
        "entity",
        "pos",
        "upos",
    )
)


@dataclass(frozen=True, slots=True)
class Splitter:
    """Cuts lines into columns.

    Args:
        separator: what separates columns; None: tabs on lines that have one, else blanks.
        tabbed: whether any line has a tab.
        any_blank: whether no-break and other wide spaces separate as well, where nothing else does.
        quoted: whether cells may be quoted as in CSV.
    """

    separator: str | None = None
    tabbed: bool = False
    any_blank: bool = False
    quoted: bool = False

    @classmethod
    def of(cls, lines: Sequence[str], separator: str | None = None, *, quoted: bool = False) -> "Splitter":
        """Return what separates the columns of these lines; of CSV (`quoted`), a comma, semicolon or tab."""
        if separator is not None or quoted:
            return cls(separator or _delimiter(lines), quoted=quoted)
        tabbed = any("\t" in line for line in lines)
        shown = [line for line in lines if line.strip()]
        wide = sum(len(_BLANKS.split(line.strip(" \t"))) == 1 < len(line.split()) for line in shown)
        return cls(None, tabbed, any_blank=not tabbed and wide * 2 > len(shown))

    @property
    def blanks(self) -> bool:
        """Whether blanks separate."""
        return self.separator in (None, " ") and not self.tabbed

    def split(self, line: str) -> list[str]:
        """Return the columns of a line without blanks around them; none for a blank line.

        In a file with tabs a '#' line without one is a comment in one piece, unless it ends in a tag.
        """
        if not line.strip():
            return []
        if self.quoted:
            cells = _strip(_csv_cells(line, str(self.separator)))
            return cells if any(cells) else []
        if self.separator is not None:
            return _strip(line.split(self.separator))
        if "\t" in line:
            return _strip(line.rstrip(" \t").split("\t"))
        if self.any_blank:
            return line.split()
        columns = _BLANKS.split(line.strip(" "))
        if self.tabbed and line.startswith("#") and columns[-1] != "O" and not _SCHEME_TAG.match(columns[-1]):
            return [line]
        return columns


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are read, and what is usual in a file.

    Args:
        word, tag: the columns of the word and its tag.
        usual: how many columns lines usually have; tags: those that occur on such lines.
        blanks: whether blanks separate columns.
        conllu: whether the first column numbers the words of each sentence from 1.
        sentence: the column whose cell changes where a sentence begins; -1: blank lines end sentences.
    """

    word: int
    tag: int
    usual: int
    tags: frozenset[str]
    blanks: bool
    conllu: bool = False
    sentence: int = -1

    @classmethod
    def of(cls, rows: Sequence[list[str]], places: "Places", *, blanks: bool) -> "Columns":
        """Return what is usual in these rows."""
        word, tag = places.word, places.tag
        plain = [row for row in rows if row and not row[0].startswith("#") and not is_border(row)]
        counts = Counter(map(len, plain or [row for row in rows if row]))
        usual = counts.most_common(1)[0][0] if counts else 0
        tags = frozenset(row[tag] for row in plain if len(row) == usual and -usual <= tag < usual)
        ids = [[row[0] for row in sentence] for sentence in _sentences(rows, usual)]
        return cls(word, tag, usual, tags | {"O"}, blanks, _most(ids, _counts_from_one), places.sentence)

    @property
    def needed(self) -> int:
        """The number of columns without which a line has no word or no tag."""
        return max(2, *(i + 1 if i >= 0 else -i for i in (self.word, self.tag)))

    def first_line(self, rows: Sequence[list[str]]) -> int:
        """Return the number of the first line with the usual number of columns."""
        return next(number for number, row in enumerate(rows, 1) if len(row) == self.usual)

    def too_few(self, count: int) -> str:
        """Return what to say of a line that lacks the word or the tag."""
        wanted = f"word column {self.word} and tag column {self.tag} need {self.needed}"
        return f"{num_columns(count)}; {wanted}, separated by a tab or blanks"

    def unusual(self, count: int) -> str:
        """Return what to say of a line with another number of columns."""
        return f"{num_columns(count)}; the lines of this file usually have {self.usual}"

    def is_comment(self, row: list[str]) -> bool:
        """Whether a '#' line at the start of a sentence is a comment and not the word '#' with its tag."""
        if not _COMMENT.match(" ".join(row)) or (row == ["#"] and self.usual == 1):
            return False
        if len(row) != self.usual or re.match(r"#\s", row[0]):
            return True
        tag = row[self.tag]
        return self.blanks and tag not in self.tags and not _SCHEME_TAG.match(tag)

    def is_range(self, row: list[str]) -> bool:
        """Whether a line of CoNLL-U is no word: a multiword token or an empty node."""
        return self.conllu and self.word > 0 and bool(NOT_A_WORD.fullmatch(row[0]))


def is_border(row: Sequence[str]) -> bool:
    """Whether a row is a border of documents: -DOCSTART-, #begin document (CoNLL-2012), ###MEDLINE: (JNLPBA)."""
    return bool(_DOCUMENT.match(" ".join(row[:2])))


def is_inner_comment(row: Sequence[str], columns: Columns) -> bool:
    """Whether a row inside a sentence can only be a comment."""
    line = " ".join(row)
    return len(row) != columns.usual and bool(_COMMENT.match(line) or _RULER.fullmatch(line))


def num_columns(count: int) -> str:
    """Return "1 column", "2 columns"."""
    return "1 column" if count == 1 else f"{count} columns"


@dataclass(frozen=True, slots=True)
class Places:
    """Where words, tags and, if there is such a column, the names of sentences are."""

    word: int
    tag: int
    sentence: int = -1


def take_header(rows: list[list[str]], log: ProblemLog, places: Places) -> Places:
    """Empty the first row if it names the columns, say so, and return the places that it names.

    Args:
        rows: of a file.
        log: takes what was found.
        places: of words and tags; a place that is not the first and the last column was named and stays.
    """
    number, row = next(((n, row) for n, row in enumerate(rows, 1) if row and not is_border(row)), (0, []))
    names = [cell.strip("#").strip().lower() for cell in row]
    words, tags, sentences = (
        [i for i, name in enumerate(names) if name in known]
        for known in (_WORD_NAMES, _TAG_NAMES, _SENTENCE_NAMES)
    )
    if len(row) < 2 or not words or not tags:
        return places
    rows[number - 1] = []
    word = words[0] if places.word == 0 else places.word
    tag = tags[-1] if places.tag == -1 else places.tag
    message = f"the line names the columns; words are read from {row[word]!r:.40}, tags from {row[tag]!r:.40}"
    log.add(number, "header", message, fatal=False)
    return Places(word, tag, sentences[0] if sentences else -1)


def find_words(rows: Sequence[list[str]], columns: Columns) -> tuple[int, int]:
    """Return (first line, column of the words) where the word column holds numbers instead, else (0, its column).

    Numbers never fall from word to word (1, 2; T1, T2; 1.1, 1.2; offsets; numbers of sentences). A cell that is the
    same for all words of a sentence is no word either.
    """
    if columns.usual < 3 or columns.sentence >= 0 or not -columns.usual <= columns.word < columns.usual:
        return 0, columns.word
    sentences = list(_sentences(rows, columns.usual))
    numbered = [i for i in range(columns.usual) if _are_numbers([[r[i] for r in s] for s in sentences])]
    if columns.word % columns.usual not in numbered:
        return 0, columns.word
    others = [i for i in range(columns.usual) if i not in numbered and i != columns.tag % columns.usual]
    return columns.first_line(rows), others[0] if others else 1


def find_other_layer(rows: Sequence[list[str]], columns: Columns) -> int | None:
    """Return another column with tags of the same labels, as of nested spans, or None."""
    plain = [row for row in rows if row and len(row) == columns.usual and not is_border(row)]
    labels = [{row[i][2:] for row in plain if is_standard(row[i])} for i in range(columns.usual)]
    read = columns.tag % columns.usual if plain else 0
    return next((i for i in range(columns.usual) if plain and i != read and labels[i] & labels[read]), None)


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that cuts most lines into the same number of columns, of several the one with most."""
    shown = [line for line in lines[:_LINES_LOOKED_AT] if line.strip()]

    def regularity(delimiter: str) -> tuple[int, int]:
        counts = Counter(len(_csv_cells(line, delimiter)) for line in shown)
        usual, lines_of_it = max(counts.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        return (lines_of_it, usual) if usual > 1 else (0, 1)

    return max(",;\t", key=regularity)


def _csv_cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line of CSV; a line whose quotes are not closed is one cell."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return [line]


def _strip(cells: Iterable[str]) -> list[str]:
    return [cell.strip() or cell for cell in cells]


def _sentences(rows: Sequence[list[str]], usual: int) -> Iterator[list[list[str]]]:
    """Yield the rows of each sentence that have the usual number of columns."""
    sentence: list[list[str]] = []
    for row in [*rows, []]:
        if row and len(row) == usual and not is_border(row):
            sentence.append(row)
        elif not row and sentence:
            yield sentence
            sentence = []


def _most(sentences: Sequence[Sequence[str]], test: Callable[[Sequence[str]], bool]) -> bool:
    """Whether most sentences pass, and one of them has several words."""
    passed = [cells for cells in sentences if test(cells)]
    return len(passed) * 2 > len(sentences) and any(len(cells) > 1 for cells in passed)


def _are_numbers(sentences: Sequence[Sequence[str]]) -> bool:
    several = [cells for cells in sentences if len(cells) > 1]
    same = [cells for cells in several if len(set(cells)) == 1]
    repeats = len(same) * 2 > len(several) and any(len(cells) > 2 for cells in same)
    return repeats or _most(sentences, _grows)


def _grows(cells: Sequence[str]) -> bool:
    """Whether the cells of a sentence are numbers that never fall, alike in all but the digits."""
    words = [cell for cell in cells if not NOT_A_WORD.fullmatch(cell)]
    parts = [_DIGITS.split(cell) for cell in words or cells]
    numbers = [tuple(map(int, part[1::2])) for part in parts]
    alike = len(parts[0]) > 1 and all(part[::2] == parts[0][::2] for part in parts)
    return alike and all(before <= after for before, after in pairwise(numbers))


def _counts_from_one(cells: Sequence[str]) -> bool:
    numbers = [cell for cell in cells if not NOT_A_WORD.fullmatch(cell)]
    return bool(numbers) and numbers == [str(i + 1) for i in range(len(numbers))]
