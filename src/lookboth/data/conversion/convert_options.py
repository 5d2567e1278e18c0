"""Options of the converters, and their result type."""

from dataclasses import dataclass
from typing import NamedTuple

from lookboth.data import COUNTINGS, Counting
from lookboth.errors import ConfigError
from lookboth.types import Dataset

COLUMNS = {"pos": 1, "chunk": 2, "ner": 3}
LABELS = ("full", "type", "subtype")
SEVERAL = ("first", "joined")


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Options of the converters; each belongs to some kinds of data, and None means its default.

    Args:
        column: for conll2003: "ner" (default), "chunk" or "pos".
        documents: for kinds with documents: keep their borders, as -DOCSTART- lines or as "document" numbers in JSON
            (default: no).
        polarities: for semeval-absa: 3 (default) leaves terms of conflicting polarity unlabeled, 4 keeps them, 0
            labels all terms "aspect".
        label: for ace05: "full" (default: Conflict:Attack), "type" (Conflict) or "subtype" (Attack).
        offsets: for texts with spans: the unit of offsets, "utf16" or "codepoints" (default: detected from the spans).
        several: for texts with spans: keep the "first" of several labels of one range, or all of them "joined"
            (`PER+VIP`; default: a problem).
        text_field: for label-studio: the key of the text in a task's data (default: the one that its regions fit); for
            json as in `read_jsonl`.
        label_field, scheme, class_names: for json: as in `read_jsonl`. label_field is also the layer, group or infon of
            webanno, spacy and bioc.

    Raises:
        ConfigError: a value that is not allowed.
    """

    column: str | None = None
    documents: bool | None = None
    polarities: int | None = None
    label: str | None = None
    offsets: str | None = None
    several: str | None = None
    text_field: str | None = None
    label_field: str | None = None
    scheme: str | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def counting(self) -> Counting | None:
        """The offset unit, or None if it was not given."""
        return None if self.offsets is None else COUNTINGS[self.offsets]

    def __post_init__(self) -> None:
        choices = {
            "column": tuple(COLUMNS),
            "polarities": (0, 3, 4),
            "label": LABELS,
            "offsets": tuple(COUNTINGS),
            "several": SEVERAL,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ConfigError(f"--{name} {value}: allowed are {', '.join(map(str, allowed))}.")


class Converted(NamedTuple):
    """Published data as examples, with the problems found."""

    dataset: Dataset
