"""What of published data is taken over, and what a converter hands over."""

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
    """What is taken over; each belongs to one kind of data, and None is its default there.

    Args:
        column: of conll2003: "ner" (default), "chunk" or "pos".
        documents: of conll2003: whether the borders of documents are kept, as -DOCSTART- lines (default: no).
        polarities: of semeval-absa: 3 (default) leaves terms of conflicting polarity unlabeled, 4 keeps them, 0
            labels all terms "aspect".
        label: of ace05: "full" (default: Conflict:Attack), "type" (Conflict) or "subtype" (Attack).
        offsets: of texts with spans: what they count, "utf16" or "codepoints" (default: what the spans support).
        several: of texts with spans: of several labels of one range the "first" is kept, or all are "joined"
            (`PER+VIP`; default: a problem).
        text_field: of label-studio: the key of the text in a task's data (default: the one its regions fit); of json
            as of `read_jsonl`.
        label_field, scheme: of json: as of `read_jsonl`.

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

    @property
    def counting(self) -> Counting | None:
        """What offsets count, where that is given."""
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
                raise ConfigError(f"--{name} {value}: it is one of {', '.join(map(str, allowed))}.")


class Converted(NamedTuple):
    """Published data as examples.

    Args:
        dataset: the examples with what was noticed.
        documents: indices of the examples that begin a document, where the borders are kept.
    """

    dataset: Dataset
    documents: tuple[int, ...] = ()
