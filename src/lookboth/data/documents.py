"""Documents: the texts around a text, which labelers with `context` read with it."""

import logging
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import chain, count, islice
from typing import Literal

from lookboth.errors import ConfigError
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)
NO_DOCUMENTS = "the data have no borders of documents (-DOCSTART-, # newdoc, document numbers)"
NAME_BORDERS = (
    "If sentences that follow each other in a file belong together, set documents to file, or to blank_lines where "
    "several blank lines end a document: --documents (in a recipe: data.documents)."
)
# How the borders of documents are found if not by the marks of the format.
Documents = Literal["file", "blank_lines"]


def join_documents(examples: Sequence[Example], names: Sequence[Hashable]) -> list[Example]:
    """Return the examples with the words of their documents.

    Args:
        examples: the texts, in order.
        names: the document of each text; equal names are one document, and None is a document of its own.

    >>> texts = [Example(("so",)), Example(("what",)), Example(("Oslo",))]
    >>> [example.document for example in join_documents(texts, [1, 1, None])]
    [(('so',), ('what',)), (('so',), ('what',)), ()]
    """
    words: dict[Hashable, list[tuple[str, ...]]] = {}
    for example, name in zip(examples, names, strict=True):
        words.setdefault(name, []).append(example.words)
    documents = {name: tuple(texts) for name, texts in words.items() if name is not None}
    places = {name: count() for name in documents}
    return [
        replace(example, document=documents[name], place=next(places[name])) if name is not None else example
        for example, name in zip(examples, names, strict=True)
    ]


def as_one_document(examples: Sequence[Example]) -> list[Example]:
    """Return consecutive texts as one document."""
    return join_documents(examples, [0] * len(examples))


def within_part(examples: Sequence[Example]) -> list[Example]:
    """Return a part of a data set whose documents have no texts outside the part."""
    return join_documents(
        examples, [id(example.document) if example.document else None for example in examples]
    )


def require_columns(name: str, documents: str | None) -> None:
    """Refuse blank lines as borders of documents in data that are not columns.

    Raises:
        ConfigError: `documents` is "blank_lines".
    """
    if documents == "blank_lines":
        raise ConfigError(
            f"{name}: documents = 'blank_lines' is for columns (.conll), in which blank lines end sentences. "
            "Set 'file', or leave it out."
        )


def has_documents(examples: Sequence[Example]) -> bool:
    """Return whether a text has other texts in its document."""
    return any(len(example.document) > 1 for example in examples)


def report_no_documents(examples: Sequence[Example], source: str) -> None:
    """Log a warning if no text has other texts in its document, so that a labeler with `context` reads none."""
    if examples and not has_documents(examples):
        LOGGER.warning(f"{source}: {NO_DOCUMENTS}, so each sentence is read alone. {NAME_BORDERS}")


def words_around(example: Example, limit: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of its document before and after a text, at most the `limit` nearest on each side.

    >>> texts = as_one_document([Example(("so", "it")), Example(("is",)), Example(("what", "?"))])
    >>> words_around(texts[1], 1)
    (('it',), ('what',))
    """
    document, place = example.document, example.place
    before = chain.from_iterable(reversed(document[i]) for i in range(place - 1, -1, -1))
    after = chain.from_iterable(document[i] for i in range(place + 1, len(document)))
    return tuple(islice(before, limit))[::-1], tuple(islice(after, limit))


def document_numbers(examples: Sequence[Example]) -> list[int]:
    """Return the number of the document of each text, from 1; none if no borders are known.

    >>> texts = [Example((word,)) for word in ("so", "what", "Oslo")]
    >>> document_numbers(join_documents(texts, ["a", "a", None])), document_numbers(texts)
    ([1, 1, 2], [])
    """
    if not any(example.document for example in examples):
        return []
    keys = [id(example.document) if example.document else ~place for place, example in enumerate(examples)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys), 1)}
    return [numbers[key] for key in keys]
