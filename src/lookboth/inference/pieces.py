"""Cuts texts into pieces (windows) for the model, and joins the scores of pieces to scores of texts."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lookboth.data import cheapest_batches, group_rows, text_of, tokenize_texts, tokenize_words
from lookboth.types import Example, TokenizedExample

if TYPE_CHECKING:
    import numpy as np

    from lookboth.inference.protocols import BatchScorer, WordScorer


def tokenize_for(labeler: "WordScorer", examples: Sequence[Example]) -> list[TokenizedExample]:
    """Tokenize examples into pieces: one per example, or several windows for a long one."""
    if labeler.config.task == "classification":
        return cut_texts(labeler, [text_of(example) for example in examples])
    return cut_words(labeler, examples)


def cut_texts(labeler: "WordScorer", texts: Sequence[str]) -> list[TokenizedExample]:
    """Tokenize whole texts into pieces, in order; `TokenizedExample.example` is the index of the text."""
    config = labeler.config
    return tokenize_texts(
        texts,
        labeler.encoder,
        label_on=config.label_on,
        max_tokens=config.max_tokens,
        overlap=config.overlap,
    )


def cut_words(labeler: "WordScorer", examples: Sequence[Example]) -> list[TokenizedExample]:
    """Tokenize sentences into pieces, in order; sentences without words are skipped."""
    return tokenize_words(examples, labeler.encoder, labeler.config.window_sizes)


def piece_scores(
    labeler: "BatchScorer", pieces: Sequence[TokenizedExample], batch_tokens: int | None = None
) -> "Iterator[tuple[TokenizedExample, np.ndarray]]":
    """Yield each piece with the head's scores for its words, (w, num_tags), batch by batch.

    Args:
        labeler: a labeler with a head, or several as one.
        pieces: texts or windows, the output of `tokenize_for`.
        batch_tokens: tokens per batch; None: a default for the device.
    """
    budget = batch_tokens or labeler.batch_tokens
    rows = [[pieces[index] for index in row] for row in group_rows(pieces)]
    for indices in cheapest_batches([len(row[0]) for row in rows], max_tokens=budget):
        batch = [piece for index in indices for piece in rows[index]]
        scores, start = labeler.score(batch), 0
        for piece in batch:
            yield piece, scores[start : start + len(piece.word_tokens)]
            start += len(piece.word_tokens)


def join_scores(
    labeler: "WordScorer",
    examples: Sequence[Example],
    scored: "Iterable[tuple[TokenizedExample, np.ndarray]]",
) -> "list[np.ndarray]":
    """Join the scores of pieces to the scores of whole examples.

    Args:
        labeler: the labeler that scored the pieces.
        examples: the examples that `tokenize_for` cut into the pieces.
        scored: all pieces with their scores, in any order.
    """
    if labeler.config.task == "classification":
        return join_texts(labeler, len(examples), scored)
    return join_words(labeler, [len(example.words) for example in examples], scored)


def join_words(
    labeler: "WordScorer",
    num_words: Sequence[int],
    scored: "Iterable[tuple[TokenizedExample, np.ndarray]]",
) -> "list[np.ndarray]":
    """Join the scores of pieces to the scores of each sentence, (w, num_tags), with `num_words` words each."""
    import numpy as np

    result = [np.zeros((words, len(labeler.config.tags)), dtype=np.float32) for words in num_words]
    for piece, scores in scored:
        # Windows share context tokens, but each word is scored in exactly one window.
        result[piece.example][piece.first_word : piece.first_word + len(scores)] = scores
    return result


def join_texts(
    labeler: "WordScorer", num_texts: int, scored: "Iterable[tuple[TokenizedExample, np.ndarray]]"
) -> "list[np.ndarray]":
    """Join the scores of pieces to the scores of each text, (1, num_labels): the mean weighted by tokens."""
    import numpy as np

    summed = np.zeros((num_texts, len(labeler.config.tags)))
    num_tokens = np.zeros(num_texts)
    for piece, scores in scored:
        first, end = piece.word_tokens[0]
        summed[piece.example] += (end - first) * scores[0]
        num_tokens[piece.example] += end - first
    return list((summed / num_tokens[:, None]).astype(np.float32)[:, None])
