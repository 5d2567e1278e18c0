"""Training texts in another letter case: a share of them in capitals, another in lower case."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from lookboth.config import DataConfig
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)
_Change = Callable[[str], str]


def change_case(examples: Sequence[Example], data: DataConfig, seed: int) -> Sequence[Example]:
    """Return training examples, a share of them in capitals or lower case; words, offsets and labels keep their places.

    A labeler that reads headlines or chat needs examples without the usual letter case (Mayhew, Tsygankova, Roth 2019,
    "ner and pos when nothing is capitalized", arXiv 1903.11222). The changed texts replace the original ones, so the
    number of steps stays the same. All texts of a document get the same letter case.

    Args:
        examples: the training examples.
        data: the section of a recipe with the shares, `upper_case` and `lower_case`.
        seed: seed of the choice.
    """
    if not data.upper_case + data.lower_case:
        return examples
    chooser = _Chooser(data, seed)
    changes = [chooser.choose(example) for example in examples]
    LOGGER.info(
        f"letter case: of {len(examples):,} training texts {changes.count(_upper):,} are in capitals and "
        f"{changes.count(_lower):,} in lower case"
    )
    return [chooser.apply(change, example) for change, example in zip(changes, examples, strict=True)]


class _Chooser:
    """Draws a letter case for each document."""

    def __init__(self, data: DataConfig, seed: int) -> None:
        self.data, self.rng = data, random.Random(seed)
        # By the identity of a document, which its texts share: the drawn case, and the changed words of all its texts.
        self.drawn: dict[int, _Change | None] = {}
        self.changed: dict[int, tuple[tuple[str, ...], ...]] = {}

    def choose(self, example: Example) -> _Change | None:
        """Return the change of a text; None: it stays as it is."""
        if not example.document:
            return self._draw()
        key = id(example.document)
        if key not in self.drawn:
            self.drawn[key] = self._draw()
        return self.drawn[key]

    def apply(self, change: _Change | None, example: Example) -> Example:
        """Return a text with the drawn change."""
        if change is None:
            return example
        return replace(
            example,
            words=tuple(map(change, example.words)),
            text=None if example.text is None else change(example.text),
            document=self._document(example, change),
        )

    def _document(self, example: Example, change: _Change) -> tuple[tuple[str, ...], ...]:
        if id(example.document) not in self.changed:
            self.changed[id(example.document)] = tuple(
                tuple(map(change, words)) for words in example.document
            )
        return self.changed[id(example.document)]

    def _draw(self) -> _Change | None:
        drawn = self.rng.random()
        if drawn < self.data.upper_case:
            return _upper
        return _lower if drawn < self.data.upper_case + self.data.lower_case else None


def _upper(text: str) -> str:
    return _by_character(text, str.upper)


def _lower(text: str) -> str:
    return _by_character(text, str.lower)


def _by_character(text: str, change: _Change) -> str:
    """Change every character; one with several others as its counterpart stays, so that offsets keep their places.

    >>> _by_character("Straße", str.upper)
    'STRAßE'
    """
    return "".join(new if len(new := change(character)) == 1 else character for character in text)
