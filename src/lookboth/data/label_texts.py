"""Labels named at prediction time: a name with an optional description, as text that a model reads."""

import csv
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lookboth.data.alignment import join_words
from lookboth.data.schemes import OUTSIDE
from lookboth.data.separators import looks_like_tag
from lookboth.data.similar_labels import DIFFERENCE, similar_labels, similar_to
from lookboth.data.sources import split_name
from lookboth.data.split_finding import source_path
from lookboth.data.splitters import named_splitter
from lookboth.data.words import split_words
from lookboth.errors import ConfigError
from lookboth.files import read_config_text, read_toml
from lookboth.types import TokenizedExample

if TYPE_CHECKING:
    from lookboth.data.alignment import WordEncoder

LOGGER = logging.getLogger(__name__)
# Descriptions of the labels of the data in its folder.
LABELS_FILE = "labels.toml"
# Many times the labels of any data set; each label is a text that the model reads.
MOST_LABELS = 1000
# Tokens of a name with its description: about five lines.
_MOST_TOKENS = 256
# A colon inside a name ("a:b") is not followed by a space; the full-width colon never is.
_COLON = re.compile(r":\s+|\uff1a\s*")
# The full-width comma of Chinese and Japanese, and the comma of Arabic.
_COMMAS = str.maketrans({"\uff0c": ",", "\u060c": ","})
# A list or a name in quotation marks of another kind, and signs that separate labels elsewhere.
_NOT_A_NAME = re.compile(r"^[\[{'\u2018\u201c\u201e\u00ab]|[;|\uff1b\u061b\u3001]")
# A file has one; most names of labels do not.
_SUFFIX = re.compile(r"\.\w{2,6}$")
_FILE_FORMS = 'A .toml file has one NAME = "DESCRIPTION" per line, a .txt file one NAME or NAME: DESCRIPTION.'
# TOML's bare keys have ASCII letters, digits, - and _ only, which its parser does not say.
_QUOTE = 'A name with other signs than a-z, digits, - and _ is in quotes: "creative work" = "DESCRIPTION"'


class LabelText(NamedTuple):
    """A label and its description, "" if there is none."""

    name: str
    description: str = ""

    @classmethod
    def parse(cls, text: str) -> "LabelText":
        """Return the label of "name" or "name: description".

        >>> LabelText.parse("product: something that is sold"), LabelText.parse("a:b")
        (LabelText(name='product', description='something that is sold'), LabelText(name='a:b', description=''))
        """
        name, *rest = _COLON.split(" ".join(text.split()), maxsplit=1)
        return cls(name.strip(), "".join(rest).strip())

    def __str__(self) -> str:
        return f"{self.name}: {self.description}" if self.description else self.name

    def forms(self) -> tuple[str, ...]:
        """Return the texts that can stand for the label, the whole one first.

        >>> LabelText("literary_genre", "a kind of books").forms()
        ('literary genre: a kind of books', 'literary genre', 'a kind of books')
        """
        name = self.name.replace("_", " ")
        if not self.description:
            return (name,)
        return f"{name}: {self.description}", name, self.description


# The argument of `parse_labels`.
Labels = str | Sequence[str] | Sequence[LabelText] | Mapping[str, str]


def parse_labels(labels: Labels) -> tuple[LabelText, ...]:
    """Return the labels, sorted by name.

    Args:
        labels: a list of "name" or "name: description"; a mapping from name to description ("": none); a text, as
            in `split_labels`; or labels of data, whose names may resemble each other.

    Raises:
        ConfigError: no label, too many, a name that is empty or not valid text, two labels with one name, a label
            that is not a text, or two names that differ only in letter case or blanks without descriptions that differ.
    """
    if isinstance(labels, str):
        labels = split_labels(labels)
    if isinstance(labels, Mapping):
        found = [LabelText(*(" ".join(_text(part).split()) for part in item)) for item in labels.items()]
    else:
        found = [text if isinstance(text, LabelText) else LabelText.parse(_text(text)) for text in labels]
    if not 0 < len(found) <= MOST_LABELS:
        raise ConfigError(f"{len(found)} labels are named; allowed are 1 to {MOST_LABELS:,}.")
    for place, label in enumerate(found, 1):
        _require_name(label, place)
    names = [label.name for label in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"the label {twice!r} is named twice. Name each label once.")
    _refuse_tags(names)
    if not all(isinstance(label, LabelText) for label in labels):
        _refuse_similar(found)
    return tuple(sorted(found))


def split_labels(text: str) -> list[str]:
    r"""Split labels of the command line: separated by commas or lines, quoted if they contain a comma.

    A path stands for the labels in its file: .toml has one NAME = "DESCRIPTION" per line, .txt one label per line.

    >>> split_labels('company, "part: a piece, or a spare part"')
    ['company', 'part: a piece, or a spare part']

    Raises:
        ConfigError: a file cannot be read, or another sign than a comma seems to separate the labels.
    """
    text = text.strip()
    if text.lower().endswith(".toml"):
        return [str(label) for label in read_label_texts(Path(text)).values()]
    if text.lower().endswith(".txt"):
        return _read_label_lines(Path(text))
    if _SUFFIX.search(text) and os.path.isfile(text):
        raise ConfigError(f"{text}: is not a file of labels. {_FILE_FORMS}")
    # Quoted parts have odd numbers.
    parts = [part if place % 2 else part.translate(_COMMAS) for place, part in enumerate(text.split('"'))]
    found = [item for row in csv.reader('"'.join(parts).splitlines(), skipinitialspace=True) for item in row]
    # A quote after the name does not protect a comma, which has cut the description in two.
    cut = next((item for item in found if item.count('"') % 2), None)
    if cut is not None:
        raise ConfigError(
            f"the label {cut!r:.60} has a quotation mark without its partner. Put the marks around the whole label: "
            '"NAME: DESCRIPTION, with a comma".'
        )
    for item in found:
        _require_plain_name(item)
    return found


def _read_label_lines(file: Path) -> list[str]:
    """Read a text file with one label per line; empty lines are skipped."""
    lines = [line.strip() for line in read_config_text(file, f"no such file. {_FILE_FORMS}").splitlines()]
    for number, line in enumerate(lines, 1):
        if "," in LabelText.parse(line.translate(_COMMAS)).name:
            raise ConfigError(f"{file}, line {number}: {line!r:.60} has a comma. Write one label per line.")
        _require_plain_name(line)
    return list(filter(None, lines))


def read_label_texts(file: Path) -> dict[str, LabelText]:
    """Read descriptions of labels: a TOML file with one NAME = "DESCRIPTION" per label.

    Raises:
        ConfigError: the file is missing, is not TOML, a description is not a text, or a name contains a description.
    """
    found = read_toml(file, 'no such file. Write one NAME = "DESCRIPTION" per line.', hint=f" {_QUOTE}")
    for name, description in found.items():
        if isinstance(description, dict):
            raise ConfigError(
                f"{file}: {name} is a section, or a name with a dot. Write labels without sections. {_QUOTE}"
            )
        if not isinstance(description, str):
            raise ConfigError(
                f'{file}: {name} is {description!r:.60}, not a text. Type: {name} = "DESCRIPTION"'
            )
    read = {name: LabelText(name, " ".join(text.split())) for name, text in found.items()}
    for label in read.values():
        _require_one_name(label.name, str(file))
    return read


def labels_file(source: str) -> Path | None:
    """Return the file with the descriptions of the labels of a data source, if it has one."""
    file = source_path(split_name(source)[0]) / LABELS_FILE
    return file if file.is_file() else None


def describe_labels(
    source: str, labels: Sequence[str], descriptions: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the labels of a data source as "name: description", or "name" without a description.

    Args:
        source: a file, folder, built-in name or hub id; a folder may contain descriptions in labels.toml.
        labels: names of labels.
        descriptions: descriptions by name, which replace those of the folder.

    Raises:
        ConfigError: labels.toml is not valid, or a name would be read as a name and a description.
    """
    file = labels_file(source)
    known = {} if file is None else read_label_texts(file)
    known = known | {name: LabelText(name, text) for name, text in (descriptions or {}).items()}
    for label in labels:
        _require_one_name(label, source)
    for name in sorted({*known} - {*labels}):
        alike = similar_to(name, (label for label in labels if label not in known))
        if alike is not None:
            LOGGER.warning(
                f"{source}: the description of {name!r} is not used: the label of the data is {alike!r}. Describe "
                f"{alike!r} instead."
            )
    return tuple(str(known.get(label, LabelText(label))) for label in labels)


def join_label_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the labels of several sets, sorted, each with one of its descriptions.

    >>> join_label_texts(["PER", "LOC: a place", "PER: a human being"])
    ('LOC: a place', 'PER: a human being')
    """
    # A description replaces none, because "" sorts first.
    return tuple(map(str, {label.name: label for label in sorted(map(LabelText.parse, set(texts)))}.values()))


def encode_label(encoder: "WordEncoder", text: str, lead: str = "") -> TokenizedExample:
    """Return a text of a label, after `lead`, with all its own tokens as one word; with repetition, the last copy.

    Raises:
        ConfigError: the text is too long.
    """
    split = named_splitter(encoder.encoding.splitter)
    before, words = ([part[start:end] for start, end in split(part)] for part in (lead, text))
    whole = join_words(encoder.encode_words([*before, *words]), encoder.encoding)
    first, end = whole.word_tokens[len(before)][0], whole.word_tokens[-1][1]
    if end - first > _MOST_TOKENS:
        raise ConfigError(
            f"the label {text!r:.60} has {end - first} tokens; allowed are {_MOST_TOKENS}. Shorten its description."
        )
    return TokenizedExample(input_ids=whole.input_ids, word_tokens=((first, end),))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f'{value!r:.60} is not a text. Name each label as "NAME" or "NAME: DESCRIPTION".')
    return value


def _require_name(label: LabelText, place: int) -> None:
    """Refuse a name that is empty, means "no label", or is not valid text."""
    try:
        str(label).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"label {place} contains half of a surrogate pair, which is not valid text."
        ) from None
    if not split_words(label.name):
        raise ConfigError(
            f"label {place} has an empty name. Type a name: 'company', or 'company: DESCRIPTION'."
        )
    _require_one_name(label.name, f"label {place}")
    if label.name == OUTSIDE:
        raise ConfigError(
            f"label {place} is {OUTSIDE!r}, which is the tag of words without label. Rename it."
        )


def _refuse_tags(names: Sequence[str]) -> None:
    """Refuse two tags of one label, such as B-PER and I-PER; one alone may be a name (E-mail)."""
    tags: dict[str, str] = {}
    for name in filter(looks_like_tag, names):
        label = name.partition("-")[2]
        first = tags.setdefault(label, name)
        if first != name:
            raise ConfigError(f"{first!r} and {name!r} are tags of one label. Name the label: {label!r}.")


def _refuse_similar(labels: Sequence[LabelText]) -> None:
    """Refuse labels that a user would not name both, unless each is described in other words."""
    described = {label.name: label.description for label in labels}
    for group in similar_labels(described):
        if len({described[name] for name in group} - {""}) < len(group):
            names = " and ".join(map(repr, group))
            raise ConfigError(
                f"the labels {names} {DIFFERENCE}, so one is probably a slip. Leave one out. To find both, describe "
                f"each in other words: '{group[0]}: DESCRIPTION'."
            )


def _require_plain_name(text: str) -> None:
    """Refuse a label of the command line that seems to be several, or a list of a programming language."""
    name = LabelText.parse(text).name
    if (sign := _NOT_A_NAME.search(name)) is not None:
        raise ConfigError(
            f"the label {name!r:.60} contains {sign[0]!r}. Labels are separated by commas, without brackets: 'company, "
            "product: something that is sold'. A name with this sign is written in a .toml file."
        )


def _require_one_name(name: str, place: str) -> None:
    """Refuse a name that would be read as a name and a description."""
    if LabelText.parse(name).description:
        raise ConfigError(
            f"{place}: the name {name!r:.60} has a colon before a space, where its description would begin. Rename the "
            "label, for example without the space."
        )
