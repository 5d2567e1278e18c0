"""The pipeline from texts to predictions, used by predict, evaluate, bulk labeling and the server."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lookboth.data import text_and_offsets, text_of
from lookboth.inference.decoding import choose_labels, decode_tags_constrained, span_scores, tag_sets
from lookboth.inference.nested_decoding import decode_nested
from lookboth.inference.pieces import cut_texts, cut_words, join_texts, join_words, piece_scores
from lookboth.types import Example, PredictedSpan, Prediction, Span

if TYPE_CHECKING:
    import numpy as np

    from lookboth.inference.protocols import ChunkLabeler, TextReader, WordScorer

# A chunk fits in memory and is large enough to sort texts into batches of similar length.
_CHUNK_WORDS = 100_000
_CHUNK_TEXTS = 4096


def label_texts(
    labeler: "TextReader", texts: Iterable[str], *, batch_tokens: int | None = None
) -> Iterator[Prediction]:
    """Yield the prediction for each raw text, in order; texts may be empty or of any length."""
    examples = map(labeler.read_text, texts)
    return label_examples(labeler, examples, batch_tokens=batch_tokens)


def label_words(
    labeler: "ChunkLabeler", sentences: Iterable[Sequence[str]], *, batch_tokens: int | None = None
) -> Iterator[Prediction]:
    """Yield the prediction for each sentence given as words, in order."""
    examples = (Example(words=tuple(words)) for words in sentences)
    return label_examples(labeler, examples, batch_tokens=batch_tokens)


def label_examples(
    labeler: "ChunkLabeler", examples: Iterable[Example], *, batch_tokens: int | None = None
) -> Iterator[Prediction]:
    """Yield the prediction for each example, in order, in constant memory.

    Args:
        labeler: a labeler.
        examples: words, with or without their text; gold spans are ignored.
        batch_tokens: tokens per batch; None: a default for the device.
    """
    for chunk in chunks(examples):
        yield from labeler.label_chunk(chunk, batch_tokens=batch_tokens)


def label_chunk(
    labeler: "WordScorer", examples: Sequence[Example], *, batch_tokens: int | None
) -> Iterator[Prediction]:
    """Yield the prediction of a labeler with a head for each example, in order."""
    return (prediction for prediction, _ in label_with_probs(labeler, examples, batch_tokens=batch_tokens))


def label_by_label_set(
    examples: Sequence[Example],
    named: "Callable[[tuple[str, ...]], ChunkLabeler]",
    *,
    batch_tokens: int | None,
) -> Iterator[Prediction]:
    """Yield the prediction for each example, in order, by the labeler for its label set.

    Args:
        examples: the examples; those of each label set are labeled together.
        named: returns the labeler for a label set, which is empty for examples without one.
        batch_tokens: tokens per batch; None: a default for the device.
    """
    found: dict[int, Prediction] = {}
    for label_set in dict.fromkeys(example.label_set for example in examples):
        places = [i for i, example in enumerate(examples) if example.label_set == label_set]
        chosen = [examples[i] for i in places]
        predictions = named(label_set).label_chunk(chosen, batch_tokens=batch_tokens)
        found.update(zip(places, predictions, strict=True))
    return (found[i] for i in range(len(examples)))


def label_with_probs(
    labeler: "WordScorer", examples: Sequence[Example], *, batch_tokens: int | None = None
) -> "Iterator[tuple[Prediction, np.ndarray]]":
    """Yield each example's prediction with its log probabilities: (w, num_tags), for a text (1, num_labels).

    Args:
        labeler: a labeler with a head.
        examples: up to as many examples as fit in memory.
        batch_tokens: tokens per batch; None: a default for the device.
    """
    return predict_from_scores(
        labeler, examples, example_scores(labeler, examples, batch_tokens=batch_tokens)
    )


def predict_from_scores(
    labeler: "WordScorer", examples: Sequence[Example], scores: "Sequence[np.ndarray]"
) -> "Iterator[tuple[Prediction, np.ndarray]]":
    """Yield each example's prediction with its log probabilities, as `label_with_probs` does.

    Args:
        labeler: a labeler with a head.
        examples: the scored examples.
        scores: the output of `example_scores`.
    """
    if labeler.config.task == "classification":
        return _predict_texts(labeler, examples, scores)
    predict = _predict_nested if labeler.config.is_nested else _predict_words
    return predict(labeler, examples, scores)


def example_scores(
    labeler: "WordScorer", examples: Sequence[Example], *, batch_tokens: int | None = None
) -> "list[np.ndarray]":
    """Return the head's scores of each example: (w, num_tags), for a whole text (1, num_labels).

    Sentences of similar length share a batch; long ones are cut into overlapping windows. A labeler with `context`
    reads each sentence with the words around it in its document.
    """
    if labeler.config.task == "classification":
        return text_scores(labeler, [text_of(example) for example in examples], batch_tokens=batch_tokens)
    pieces = cut_words(labeler, examples)
    num_words = [len(example.words) for example in examples]
    return join_words(labeler, num_words, piece_scores(labeler, pieces, batch_tokens))


def word_log_probs(
    labeler: "WordScorer", sentences: Sequence[Sequence[str]], *, batch_tokens: int | None = None
) -> "list[np.ndarray]":
    """Return the log probability of every tag for every word, one (w, num_tags) array per sentence."""
    return log_probs_of(labeler, word_scores(labeler, sentences, batch_tokens=batch_tokens))


def word_scores(
    labeler: "WordScorer", sentences: Sequence[Sequence[str]], *, batch_tokens: int | None = None
) -> "list[np.ndarray]":
    """Return the head's scores of every word, one (w, num_tags) array per sentence."""
    examples = [Example(tuple(words)) for words in sentences]
    return example_scores(labeler, examples, batch_tokens=batch_tokens)


def text_log_probs(
    labeler: "WordScorer", texts: Sequence[str], *, batch_tokens: int | None = None
) -> "list[np.ndarray]":
    """Return the log probability of every label for every whole text, one (num_labels,) array per text."""
    scores = text_scores(labeler, texts, batch_tokens=batch_tokens)
    return [rows[0] for rows in log_probs_of(labeler, scores)]


def text_scores(
    labeler: "WordScorer", texts: Sequence[str], *, batch_tokens: int | None = None
) -> "list[np.ndarray]":
    """Return the head's scores of every whole text, one (1, num_labels) array per text.

    Texts of similar length share a batch. The scores of a text in several windows are averaged, weighted by tokens.
    For a linear head on averaged states this equals the average over all tokens of the text.
    """
    pieces = cut_texts(labeler, texts)
    return join_texts(labeler, len(texts), piece_scores(labeler, pieces, batch_tokens))


def log_probs_of(labeler: "WordScorer", scores: "Sequence[np.ndarray]") -> "list[np.ndarray]":
    """Convert the scores of whole sentences, with all windows joined, to log probabilities."""
    import numpy as np

    if not scores:
        return []
    config, num_words = labeler.config, np.array([len(rows) for rows in scores])
    log_probs = labeler.likelihood().log_probs(
        np.concatenate(scores),
        num_words,
        tags=config.tags,
        scheme=config.scheme,
        temperature=config.confidence.temperature,
    )
    return np.split(log_probs, np.cumsum(num_words)[:-1])


def _predict_texts(
    labeler: "WordScorer", examples: Sequence[Example], scores: "Sequence[np.ndarray]"
) -> "Iterator[tuple[Prediction, np.ndarray]]":
    config = labeler.config
    for example, rows in zip(examples, log_probs_of(labeler, scores), strict=True):
        labels = choose_labels(rows[0], config.tags, threshold=config.threshold)
        sets = _tag_sets(labeler, rows, [int(rows[0].argmax())])
        yield Prediction(*text_and_offsets(example), tags=(), labels=labels, tag_sets=sets), rows


def _predict_words(
    labeler: "WordScorer", examples: Sequence[Example], scores: "Sequence[np.ndarray]"
) -> "Iterator[tuple[Prediction, np.ndarray]]":
    log_probs = log_probs_of(labeler, scores)
    # Decoding uses the raw scores: the best sequence does not depend on temperature or normalization.
    transitions = labeler.likelihood().transitions
    for example, own, probs in zip(examples, scores, log_probs, strict=True):
        ids = decode_tags_constrained(own, labeler.config.tags, labeler.config.scheme, transitions)
        yield _predict(labeler, example, ids, probs), probs


def _predict_nested(
    labeler: "WordScorer", examples: Sequence[Example], scores: "Sequence[np.ndarray]"
) -> "Iterator[tuple[Prediction, np.ndarray]]":
    log_probs = log_probs_of(labeler, scores)
    for example, own, probs in zip(examples, scores, log_probs, strict=True):
        text, words, offsets = text_and_offsets(example)
        found = decode_nested(own, labeler.config.tags)
        spans = tuple(_predicted(item.span, item.score(probs), text, offsets) for item in found)
        # A word has a tag in each sequence, so no single tag.
        yield Prediction(text, words, offsets, tags=(), spans=spans), probs


def _predict(
    labeler: "WordScorer", example: Example, ids: Sequence[int], log_probs: "np.ndarray"
) -> Prediction:
    """Return the prediction for tag ids (w,), with span scores from `log_probs` (w, num_tags)."""
    from lookboth.data import decode_tags

    config = labeler.config
    tags = tuple(config.tags[i] for i in ids)
    text, words, offsets = text_and_offsets(example)
    found = decode_tags(tags, config.scheme)
    scored = zip(found, span_scores(log_probs, ids, found), strict=True)
    spans = tuple(_predicted(span, score, text, offsets) for span, score in scored)
    sets = _tag_sets(labeler, log_probs, ids)
    return Prediction(text, words, offsets, tags, spans, tag_sets=sets)


def _predicted(span: Span, score: float, text: str, offsets: Sequence[tuple[int, int]]) -> PredictedSpan:
    start, end = offsets[span.start][0], offsets[span.end - 1][1]
    return PredictedSpan(span.start, span.end, span.label, text[start:end], start, end, score)


def _tag_sets(
    labeler: "WordScorer", log_probs: "np.ndarray", ids: Sequence[int]
) -> tuple[tuple[str, ...], ...] | None:
    confidence = labeler.config.confidence
    if confidence.coverage is None:
        return None
    return tag_sets(log_probs, labeler.config.tags, confidence.quantiles, ids)


def chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Group examples into chunks that fit in memory; each chunk can be sorted by length."""
    chunk: list[Example] = []
    num_words = 0
    for example in examples:
        chunk.append(example)
        num_words += len(example.words)
        if num_words >= _CHUNK_WORDS or len(chunk) >= _CHUNK_TEXTS:
            yield chunk
            chunk, num_words = [], 0
    if chunk:
        yield chunk
