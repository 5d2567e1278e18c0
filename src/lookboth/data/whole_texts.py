"""Tokenization of whole texts: each text, or each window of a long text, is one long word that is labeled."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lookboth.data.alignment import WordEncoder
from lookboth.data.windows import window_example
from lookboth.errors import DataError
from lookboth.types import Example, TagId, TokenizedExample


def text_of(example: Example) -> str:
    """Return the text of an example; its words joined by one space if it has no text."""
    return " ".join(example.words) if example.text is None else example.text


def text_and_offsets(example: Example) -> tuple[str, tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the text of an example, its words and their offsets; words without a text are joined by one space."""
    if example.text is not None:
        return example.text, example.words, example.offsets
    offsets, position = [], 0
    for word in example.words:
        offsets.append((position, position + len(word)))
        position += len(word) + 1
    return text_of(example), example.words, tuple(offsets)


def tokenize_texts(
    texts: Sequence[str],
    encoder: WordEncoder,
    *,
    label_on: str,
    labels: Sequence[TagId] | None = None,
    max_tokens: int = 512,
    overlap: int = 64,
) -> list[TokenizedExample]:
    """Tokenize each text as one word over all its tokens, or as several windows with one word each.

    The word covers the tokens of the text; in a window, the tokens that no other window covers. Special tokens are not
    part of it, except the classification token of an encoder if the first token is labeled.

    Args:
        texts: one string per text; surrounding white space is removed.
        encoder: encoder of the labeler.
        label_on: which token is labeled, as in a recipe.
        labels: tag id of each text, or 0 or 1 for each tag, as in `TokenizedExample.labels`; shared by its windows.
        max_tokens, overlap: as in `window_example`.
    """
    return window_texts(
        encoder.encode_texts(texts),
        encoder,
        label_on=label_on,
        labels=labels,
        max_tokens=max_tokens,
        overlap=overlap,
    )


def window_texts(
    texts: Sequence[Sequence[int]],
    encoder: WordEncoder,
    *,
    label_on: str,
    labels: Sequence[TagId] | None = None,
    max_tokens: int = 512,
    overlap: int = 64,
) -> list[TokenizedExample]:
    """Split tokenized texts into windows with one word each (see `tokenize_texts`).

    Args:
        texts: token ids of each text, without special tokens.
        encoder, label_on, labels, max_tokens, overlap: as in `tokenize_texts`.
    """
    pieces: list[TokenizedExample] = []
    from_start = labels_prefix(encoder, label_on)
    for index, ids in enumerate(texts):
        windows = window_example(
            # Each token is a word of its own here, so that a window may end anywhere.
            [(token,) for token in ids],
            encoder.encoding,
            example=index,
            max_tokens=max_tokens,
            overlap=overlap,
        )
        label = None if labels is None else (labels[index],)
        words = _one_word_each(windows, from_start, every=label_on == "first")
        pieces += (replace(piece, labels=label) for piece in words)
    return pieces


def labels_prefix(encoder: WordEncoder, label_on: str) -> bool:
    """Return whether the labeled word of a text includes the special tokens before it, such as an encoder's [CLS]."""
    if label_on in {"mean_special", "max_score"}:
        return True
    return label_on == "first" and encoder.tokenizer.cls_token_id in encoder.encoding.prefix_ids


def _one_word_each(
    windows: Sequence[TokenizedExample], from_start: bool, *, every: bool
) -> Iterator[TokenizedExample]:
    """Yield each window as one word; `from_start` includes the prefix tokens in the first (`every`) window."""
    for number, window in enumerate(windows):
        first, end = window.word_tokens[0][0], window.word_tokens[-1][1]
        # Each window has special tokens, but a mean over the text counts them once.
        begin = 0 if from_start and (every or number == 0) else first
        yield replace(window, word_tokens=((begin, end),), first_word=number)


def require_one_label(example: Example) -> None:
    """Check that a text has exactly one label.

    Raises:
        DataError: it has none or several; the message names its line.
    """
    if len(example.text_labels) != 1:
        found = ", ".join(example.text_labels) or "none"
        raise DataError(
            f"{example.source or 'example'}: labels {found}; in a single-label task each text has exactly one. "
            "For several labels, or none, train with head.kind = 'multi_label'."
        )
