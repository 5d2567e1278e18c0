"""Column layout of CoNLL-like files: header, word and tag columns, word numbers, comments."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lookboth.data.problems import ProblemLog
from lookboth.data.separators import looks_like_tag
from lookboth.data.tag_styles import is_standard

_COMMENT = re.compile(r"#(\s|$|[\w:.]+\s*=)")
_DOCUMENT = re.compile(r"-DOCSTART-|#begin document|#end document|###MEDLINE:")
_NEW_DOCUMENT = re.compile(r"#\s*newdoc\b")
_MARKUP = re.compile(r"</?[A-Za-z][\w:.-]*(\s[^<>]*)?>")
_WORD_WITH_TAG = re.compile(r".+[/_][A-Za-z][\w-]*")
_RULER = re.compile(r"(#{2,}|={3,}|-{3,}|\*{3,}|_{3,}).*")
# First characters of borders, and of comments and markup: tested first, they settle almost every line.
_BORDER_STARTS = ("-", "#")
_COMMENT_STARTS = ("#", "<", "=", "-", "*", "_")
_DIGITS = re.compile(r"([0-9]{1,18})")
# In CoNLL-U, 3-4 is a multiword token and 8.1 an empty node: both repeat or add to the words.
NOT_A_WORD = re.compile(r"\d+[-.]\d+")
_WORD_NAMES = frozenset(("word", "words", "token", "tokens", "form"))
_TAG_STARTS = ("ne-", "ne_", "ner", "tag", "label", "iob", "bio")
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
class Columns:
    """Columns that are read, and the usual shape of lines in a file.

    Args:
        word, tag: indices of the word and the tag column.
        usual: the most frequent number of columns.
        tags: the tags on lines with this number of columns.
        blanks: whether blanks separate columns.
        conllu: whether the first column numbers the words of each sentence from 1.
        sentence: column whose value changes where a sentence begins; -1: blank lines end sentences.
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
        """Return the layout of these rows."""
        word, tag = places.word, places.tag
        plain = [row for row in rows if row and not row[0].startswith("#") and not is_border(row)]
        # Lines with "#" may be comments; they only count if there are no others.
        counts = Counter(map(len, plain or [row for row in rows if row]))
        usual = counts.most_common(1)[0][0] if counts else 0
        tags = frozenset(row[tag] for row in plain if len(row) == usual and -usual <= tag < usual)
        ids = [[row[0] for row in sentence] for sentence in _sentences(rows, usual)]
        # "O" is a tag even in a file that happens to lack it.
        return cls(word, tag, usual, tags | {"O"}, blanks, _most(ids, _counts_from_one), places.sentence)

    @property
    def needed(self) -> int:
        """The smallest number of columns with which a line has a word and a tag."""
        return max(2, *(i + 1 if i >= 0 else -i for i in (self.word, self.tag)))

    def first_line(self, rows: Sequence[list[str]]) -> int:
        """Return the number of the first line with the usual number of columns."""
        return next(number for number, row in enumerate(rows, 1) if len(row) == self.usual)

    def too_few(self, count: int) -> str:
        """Return the message for a line without a word or a tag."""
        wanted = f"word column {self.word} and tag column {self.tag} need {self.needed}"
        return f"{num_columns(count)}; {wanted}, separated by a tab or blanks, in a .csv file by commas"

    def unusual(self, count: int) -> str:
        """Return the message for a line with an unusual number of columns."""
        return f"{num_columns(count)}; the lines of this file usually have {self.usual}"

    def is_comment(self, row: list[str]) -> bool:
        """Return whether a '#' line at the start of a sentence is a comment, not the word '#' with its tag."""
        if (
            not row[0].startswith("#")
            or not _COMMENT.match(" ".join(row))
            or (row == ["#"] and self.usual == 1)
        ):
            return False
        if len(row) != self.usual or re.match(r"#\s", row[0]):
            return True
        tag = row[self.tag]
        return self.blanks and tag not in self.tags and not looks_like_tag(tag)

    def is_range(self, row: list[str]) -> bool:
        """Return whether a line of CoNLL-U is a multiword token or an empty node instead of a word."""
        return self.conllu and self.word > 0 and bool(NOT_A_WORD.fullmatch(row[0]))


def is_border(row: Sequence[str]) -> bool:
    """Return whether a row separates documents: -DOCSTART-, #begin document (CoNLL-2012), ###MEDLINE: (JNLPBA)."""
    return bool(row) and row[0].startswith(_BORDER_STARTS) and bool(_DOCUMENT.match(" ".join(row[:2])))


def begins_document(row: Sequence[str]) -> bool:
    """Return whether a comment begins a document: `# newdoc` (CoNLL-U)."""
    return bool(_NEW_DOCUMENT.match(" ".join(row[:2])))


def is_inner_comment(row: Sequence[str], columns: Columns) -> bool:
    """Return whether a row can only be a comment inside a sentence or markup such as `<s>`."""
    if not row[0].startswith(_COMMENT_STARTS):
        return False
    line = " ".join(row)
    if _MARKUP.fullmatch(line):
        return True
    return len(row) != columns.usual and bool(_COMMENT.match(line) or _RULER.fullmatch(line))


def num_columns(count: int) -> str:
    """Return "1 column", "2 columns"."""
    return "1 column" if count == 1 else f"{count} columns"


@dataclass(frozen=True, slots=True)
class Places:
    """Indices of the word column, the tag column and the column with sentence names (-1: none)."""

    word: int
    tag: int
    sentence: int = -1


def take_header(rows: list[list[str]], log: ProblemLog, places: Places) -> Places:
    """Return the columns that a header names; empty the row of the header and log it.

    Args:
        rows: rows of the file; the header is emptied in place.
        log: receives the note about the header.
        places: requested columns. Only the defaults (first column for words, last for tags) are replaced.
    """
    number, row = next(((n, row) for n, row in enumerate(rows, 1) if row and not is_border(row)), (0, []))
    names = [cell.strip("#").strip().lower() for cell in row]
    words = [i for i, name in enumerate(names) if name in _WORD_NAMES]
    tags = [i for i, name in enumerate(names) if name in _TAG_NAMES or name.startswith(_TAG_STARTS)]
    sentences = [i for i, name in enumerate(names) if name in _SENTENCE_NAMES]
    if len(row) < 2 or not words or not tags:
        return places
    rows[number - 1] = []
    word = words[0] if places.word == 0 else places.word
    tag = places.tag
    if tag == -1 and len(row) - 1 not in tags:
        tag = tags[0]
    message = f"the line names the columns; words are read from {row[word]!r:.40}, tags from {row[tag]!r:.40}"
    log.add(number, "header", message, fatal=False)
    return Places(word, tag, sentences[0] if sentences else -1)


def find_words(rows: Sequence[list[str]], columns: Columns) -> tuple[int, int]:
    """Return (first line, likely word column) if the word column holds numbers, else (0, word column).

    Numbers never decrease from word to word (1, 2; T1, T2; 1.1, 1.2; offsets; sentence numbers). A column with the same
    cell for all words of a sentence does not hold words either, if another column varies.
    """
    if columns.usual < 3 or columns.sentence >= 0 or not -columns.usual <= columns.word < columns.usual:
        return 0, columns.word
    sentences = list(_sentences(rows, columns.usual))
    cells = [[[row[i] for row in sentence] for sentence in sentences] for i in range(columns.usual)]
    beside_tags = [i for i in range(columns.usual) if i != columns.tag % columns.usual]
    # Where every column repeats its cell, the text itself does: "no no no".
    some_vary = any(not _repeats(cells[i]) for i in beside_tags)
    numbered = [
        i for i, column in enumerate(cells) if _most(column, _grows) or (some_vary and _repeats(column))
    ]
    if columns.word % columns.usual not in numbered:
        return 0, columns.word
    others = [i for i in beside_tags if i not in numbered]
    return columns.first_line(rows), others[0] if others else 1


def find_other_layers(rows: Sequence[list[str]], columns: Columns) -> list[int]:
    """Return the other columns with tags of the same labels (layers of nested spans), also by way of another layer."""
    plain = [row for row in rows if row and len(row) == columns.usual and not is_border(row)]
    cells = [{row[i] for row in plain} for i in range(columns.usual)]
    labels = [{cell[2:] for cell in column if is_standard(cell)} for column in cells]
    read = columns.tag % columns.usual if plain else 0
    layers, known = [read], labels[read] if plain else set()
    while more := [i for i in range(columns.usual) if plain and i not in layers and labels[i] & known]:
        layers += more
        known = known.union(*(labels[i] for i in more))
    return sorted(set(layers) - {read})


def find_standard_tags(rows: Sequence[list[str]], columns: Columns) -> int | None:
    """Return the first other column in which every cell is "O" or a tag such as `B-PER`, or None."""
    plain = [row for row in rows if row and len(row) == columns.usual and not is_border(row)]
    for i in range(columns.usual if plain else 0):
        cells = {row[i] for row in plain}
        if (
            i != columns.tag % columns.usual
            and cells != {"O"}
            and all(c == "O" or is_standard(c) for c in cells)
        ):
            return i
    return None


def carries_tags(rows: Sequence[list[str]], columns: Columns) -> bool:
    """Return whether every cell of the file is a word with its tag, such as `Oslo/NNP`."""
    cells = [cell for row in rows if row and not is_border(row) for cell in row]
    return len(cells) > 1 and all(map(_WORD_WITH_TAG.fullmatch, cells))


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
    """Return whether most sentences pass the test, at least one of them with several words."""
    passed = [cells for cells in sentences if test(cells)]
    return len(passed) * 2 > len(sentences) and any(len(cells) > 1 for cells in passed)


def _repeats(sentences: Sequence[Sequence[str]]) -> bool:
    """Return whether most sentences of several words have one cell for all of them."""
    several = [cells for cells in sentences if len(cells) > 1]
    same = [cells for cells in several if len(set(cells)) == 1]
    return len(same) * 2 > len(several) and any(len(cells) > 2 for cells in same)


def _grows(cells: Sequence[str]) -> bool:
    """Return whether the cells of a sentence differ only in numbers that never decrease."""
    words = [cell for cell in cells if not NOT_A_WORD.fullmatch(cell)]
    parts = [_DIGITS.split(cell) for cell in words or cells]
    numbers = [tuple(map(int, part[1::2])) for part in parts]
    alike = len(parts[0]) > 1 and all(part[::2] == parts[0][::2] for part in parts)
    return alike and all(before <= after for before, after in pairwise(numbers))


def _counts_from_one(cells: Sequence[str]) -> bool:
    numbers = [cell for cell in cells if not NOT_A_WORD.fullmatch(cell)]
    return bool(numbers) and numbers == [str(i + 1) for i in range(len(numbers))]
