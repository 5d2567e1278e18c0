"""transformers' token classification pipeline for saved labelers; its spans are those of `Labeler.predict`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from transformers import TokenClassificationPipeline
from transformers.pipelines import AggregationStrategy

from lookboth.compat import read_pipeline_call
from lookboth.errors import ModelError
from lookboth.inference import chunks, label_with_probs, span_scores
from lookboth.types import Example, Prediction, Span

if TYPE_CHECKING:
    from lookboth.inference import HeadLabeler

Entity = dict[str, str | int | float]
# Arguments that are ignored because the labeler makes its own batches and windows.
_SKIPPED = ("batch_size", "num_workers", "stride")


class LookbothTokenPipeline(TokenClassificationPipeline):
    """Token classification pipeline of a saved labeler; for other models, the class returns transformers' own.

    The labeler splits texts into words and windows and decodes whole tag sequences. Therefore all aggregation
    strategies except "none" return the spans of `Labeler.predict`, with its scores.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a pipeline of the class that fits the model."""
        # transformers uses the registered class for every model, so others must get its own pipeline.
        if getattr(kwargs.get("model"), "lookboth_labeler", None) is None:
            return TokenClassificationPipeline(*args, **kwargs)
        return super().__new__(cls)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return the entities of one text; lists of entities for several texts, as a list or an iterator.

        Args:
            inputs: a text or a list of texts; with `is_split_into_words=True`, a list of words or of such lists. A
                generator or dataset is read lazily.
            kwargs: arguments of transformers' pipeline: aggregation_strategy, ignore_labels, is_split_into_words,
                delimiter.

        Raises:
            ModelError: `offset_mapping` is given, which the labeler cannot use as it splits words itself.
        """
        for key in _SKIPPED:
            kwargs.pop(key, None)
        call = read_pipeline_call(self, inputs, kwargs)
        if call.offsets:
            raise ModelError(
                "offset_mapping: not supported, as the labeler splits texts into its own words. "
                "To pass words, type: pipe(WORDS, is_split_into_words=True)"
            )
        sentences, split = call.inputs, call.is_split
        if split and isinstance(sentences, list) and not all(isinstance(one, list) for one in sentences):
            sentences = [sentences]
        labeler = cast("HeadLabeler", self.model.lookboth_labeler)
        read = (_read(labeler, sentence, split, call.delimiter) for sentence in _items(sentences))
        found = self._label(read, **call.options)
        if isinstance(inputs, str):
            return next(found)
        return list(found) if isinstance(sentences, list) else found

    def _label(
        self,
        examples: Iterable[Example],
        aggregation_strategy: AggregationStrategy = AggregationStrategy.NONE,
        ignore_labels: Sequence[str] | None = None,
    ) -> Iterator[list[Entity]]:
        labeler = cast("HeadLabeler", self.model.lookboth_labeler)
        entities = _tokens if aggregation_strategy == AggregationStrategy.NONE else _groups
        ignored = {"O"} if ignore_labels is None else set(ignore_labels)
        for chunk in chunks(examples):
            for prediction, log_probs in label_with_probs(labeler, chunk):
                yield [
                    entity
                    for entity in entities(labeler, prediction, log_probs)
                    if entity.get("entity", entity.get("entity_group")) not in ignored
                ]


def _items(sentences: Any) -> Iterator[Any]:
    """Yield the items of a list, a generator or a dataset that only has `__getitem__` and `__len__`."""
    if hasattr(sentences, "__iter__"):
        yield from sentences
    else:
        yield from (sentences[index] for index in range(len(sentences)))


def _read(labeler: "HeadLabeler", sentence: str | Sequence[str], split: bool, delimiter: str) -> Example:
    if isinstance(sentence, str) and not split:
        return labeler.read_text(sentence)
    if isinstance(sentence, str) or not split or not all(isinstance(word, str) for word in sentence):
        wanted = "a list of words" if split else "a string; for words, type: is_split_into_words=True"
        raise ModelError(f"{sentence!r:.60}: each input must be {wanted}.")
    starts = np.cumsum([0, *(len(word) + len(delimiter) for word in sentence)])
    offsets = tuple(
        (int(start), int(start) + len(word)) for word, start in zip(sentence, starts, strict=False)
    )
    return Example(words=tuple(sentence), text=delimiter.join(sentence), offsets=offsets)


def _tokens(labeler: "HeadLabeler", prediction: Prediction, log_probs: np.ndarray) -> Iterator[Entity]:
    """Yield every token with the tag of its word; B- becomes I- from the word's second token."""
    tags, encoded = labeler.config.tags, labeler.encoder.encode(prediction.words)
    names = labeler.tokenizer.convert_ids_to_tokens(list(encoded.input_ids))
    for number, (first, end) in enumerate(encoded.word_tokens):
        tag = prediction.tags[number]
        inside = "I" + tag[1:] if "I" + tag[1:] in tags else tag
        start_char, end_char = prediction.offsets[number]
        for index in range(first, end):
            yield {
                "entity": tag if index == first else inside,
                "score": float(np.exp(log_probs[number, tags.index(tag)])),
                "index": index,
                "word": names[index],
                "start": start_char,
                "end": end_char,
            }


def _groups(labeler: "HeadLabeler", prediction: Prediction, log_probs: np.ndarray) -> Iterator[Entity]:
    """Yield the spans, and the words between them labeled O, in text order."""
    ids = [labeler.config.tags.index(tag) for tag in prediction.tags]
    ends = [0, *(span.end for span in prediction.spans)]
    starts = [*(span.start for span in prediction.spans), len(ids)]
    gaps = [Span(end, start, "O") for end, start in zip(ends, starts, strict=True) if end < start]
    scored = list(zip(gaps, span_scores(log_probs, ids, gaps), strict=True))
    scored += ((Span(span.start, span.end, span.label), span.score) for span in prediction.spans)
    for span, score in sorted(scored):
        yield _group(prediction, span, score)


def _group(prediction: Prediction, span: Span, score: float) -> Entity:
    start, end = prediction.offsets[span.start][0], prediction.offsets[span.end - 1][1]
    return {
        "entity_group": span.label,
        "score": score,
        "word": prediction.text[start:end],
        "start": start,
        "end": end,
    }
