"""The generative labeler: a language model that generates labels, with prompts and demonstrations."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lookboth.data import WordEncoder, encode_spans, text_and_offsets
from lookboth.errors import ModelError
from lookboth.generative.answer_parsing import PROBLEM_KINDS
from lookboth.generative.answering import Answerer, ScoredAnswer
from lookboth.generative.codecs import build_codec
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_config import GENERATIVE, GenerativeLabelerConfig
from lookboth.generative.generative_model import GenerativeModel
from lookboth.generative.generative_saving import load_parts, save_parts
from lookboth.generative.prompts import Prompt, PromptWriter
from lookboth.inference import TextLabeler
from lookboth.labelers import KIND_KEY, LoadOptions, find_folder, read_settings
from lookboth.memory import LARGE_BATCH
from lookboth.types import Example, PredictedSpan, Prediction, Span

_SENTENCE_ENDS = frozenset(".!?。")


class GenerativeLabeler(TextLabeler):
    """A labeler that generates answers; parts that do not parse or are not in the text are counted, never
    labeled.

    Args:
        config: everything except weights and demonstrations.
        model: the weights.
        tokenizer: tokenizer of the model.
        pool: training sentences for demonstrations.
        seed: seed of random demonstrations.

    Raises:
        ConfigError: prompts cannot be written with this tokenizer.
    """

    config: GenerativeLabelerConfig
    model: GenerativeModel

    def __init__(
        self,
        config: GenerativeLabelerConfig,
        model: GenerativeModel,
        tokenizer: Any,
        pool: Sequence[Example] = (),
        *,
        seed: int = 0,
    ) -> None:
        self.config, self.model, self.tokenizer = config, model, tokenizer
        settings = config.generative
        codec = build_codec(settings.format, config.labels, config.scheme)
        self.writer = PromptWriter(tokenizer, codec, settings)
        self.demonstrations = Demonstrations(pool, settings, seed=seed)
        self.encoder = WordEncoder(tokenizer)
        self.answerer = Answerer(model.language, self.writer)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.model.language.parameters()).device

    @property
    def planned_model(self) -> Any:
        """Return the language model, which has the mask plan."""
        return self.model.language

    def save_pretrained(self, folder: str | Path) -> None:
        """Write adapter, labels, template, demonstrations and card into one folder."""
        save_parts(self.config, self.model, self.tokenizer, self.demonstrations.kept(), folder)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | None = None,
        precision: str = "auto",
        base: str | None = None,
        merge: bool = True,
        trust_remote_code: bool = False,
    ) -> "GenerativeLabeler":
        """Load a generative labeler from a folder or the Hub.

        Args: see `Labeler.from_pretrained`.

        Raises:
            ModelError: the folder is incomplete, holds a labeler of another kind, or does not fit its base.
        """
        folder = find_folder(name)
        data = read_settings(folder)
        if data.get(KIND_KEY) != GENERATIVE:
            raise ModelError(
                f"{folder}: not a generative labeler. Type: lookboth.open_labeler({str(folder)!r})"
            )
        options = LoadOptions(
            device=device,
            precision=precision,
            base=base,
            merge=merge,
            trust_remote_code=trust_remote_code,
        )
        return load_generative(folder, data, options)

    def prompts(self, examples: Sequence[Example]) -> list[Prompt]:
        """Return the prompt for each example; no example may exceed the prompt limit.

        Raises:
            ConfigError: a text does not fit into generative.max_tokens.
        """
        texts = [example.words for example in examples]
        shown = self.demonstrations.for_texts(texts)
        return [self.writer.prompt(*pair) for pair in zip(texts, shown, strict=True)]

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`."""
        parts = [(i, first, part) for i, e in enumerate(examples) for first, part in self.cut(e)]
        scored_answers = self.answer([part for _, _, part in parts], batch_tokens=batch_tokens)
        of_example: list[list[tuple[int, ScoredAnswer]]] = [[] for _ in examples]
        for (index, first, _), scored_answer in zip(parts, scored_answers, strict=True):
            of_example[index].append((first, scored_answer))
        for example, answers in zip(examples, of_example, strict=True):
            yield self.join(example, answers)

    def answer(self, parts: Sequence[Example], *, batch_tokens: int | None) -> list[ScoredAnswer]:
        """Return the answer for each part of a text, in order.

        Args:
            parts: parts from `cut`.
            batch_tokens: token budget of a batch; `LARGE_BATCH` if None.
        """
        return self.answerer.answer(self.prompts(parts), batch_tokens=batch_tokens or LARGE_BATCH)

    def summarize(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Return statistics of the answers: the number of each kind of problem and the rate of invented spans."""
        return {"answers": count_problems(predictions)}

    def cut(self, example: Example) -> list[tuple[int, Example]]:
        """Return (first word, part) of an example: one part unless it is longer than config.max_tokens.

        Long examples are split at sentence ends if possible; spans across a split are lost.
        """
        lengths = [len(ids) for ids in self.encoder.encode_words(example.words)]
        if sum(lengths) <= self.config.max_tokens:
            return [(0, example)] if lengths else []
        borders = cut_words(example.words, lengths, self.config.max_tokens)
        return [(start, _part(example, start, end)) for start, end in borders]

    def join(self, example: Example, answers: Sequence[tuple[int, ScoredAnswer]]) -> Prediction:
        """Return the prediction of an example, merged from the answers for its parts.

        Args:
            example: the original example.
            answers: first word of each part and the answer about it, in order.
        """
        text, words, offsets = text_and_offsets(example)
        problems = [problem for _, scored_answer in answers for problem in scored_answer.problems]
        spans, found = [], []
        for first, scored_answer in answers:
            for (start, end, label), score in scored_answer.spans:
                if self.config.scheme == "plain" and end - start > 1:
                    # The scheme "plain" cannot represent a span of several words.
                    problems.append("unparseable")
                    continue
                spans.append(Span(first + start, first + end, label))
                place = (offsets[first + start][0], offsets[first + end - 1][1])
                found.append(PredictedSpan(*spans[-1], text[slice(*place)], *place, score))
        tags = encode_spans(spans, len(words), self.config.scheme)
        return Prediction(text, words, offsets, tags, tuple(found), problems=tuple(problems))


def load_generative(folder: Path, data: Mapping[str, Any], options: LoadOptions) -> GenerativeLabeler:
    """Load the generative labeler in `folder`; `data` is its `config.json`.

    Raises:
        ModelError: the folder is incomplete or does not fit its base.
    """
    config, model, tokenizer, pool = load_parts(folder, data, options)
    labeler = GenerativeLabeler(config, model, tokenizer, pool)
    # The saved pool is already the draw; drawing from it again would change the demonstrations.
    labeler.demonstrations.as_saved()
    # The weights of a loaded labeler do not change, so the prefix stays valid.
    labeler.answerer.keeps_prefix = True
    return labeler


def cut_words(words: Sequence[str], lengths: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Return the (start, end) words of parts of at most `limit` tokens, split after a sentence in their second
    half.

    >>> cut_words(["a", ".", "b", "c"], [1, 1, 1, 1], 3)
    [(0, 2), (2, 4)]
    """
    parts, start = [], 0
    while start < len(words):
        end, budget = start, limit
        while end < len(words) and (lengths[end] <= budget or end == start):
            budget -= lengths[end]
            end += 1
        if end < len(words):
            # Only the second half: a cut near the start would make many short parts.
            ends = (i + 1 for i in range(end - 1, (start + end) // 2 - 1, -1) if words[i] in _SENTENCE_ENDS)
            end = next(ends, end)
        parts.append((start, end))
        start = end
    return parts


def count_problems(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return statistics of answer problems.

    "unparseable_rate" is the share of texts whose answer is malformed or unfinished; "invented_rate" is the
    share of invented spans among all named spans. The rest are counts.
    """
    counts = Counter(kind for prediction in predictions for kind in prediction.problems)
    broken = sum(bool({"unparseable", "unfinished"} & set(p.problems)) for p in predictions)
    # Spans that were invented or have an unknown label are not among the spans of a prediction.
    named = sum(len(p.spans) for p in predictions) + counts["invented"] + counts["unknown_label"]
    return {
        "num_texts": len(predictions),
        **{kind: counts[kind] for kind in PROBLEM_KINDS},
        "unparseable_rate": round(broken / max(1, len(predictions)), 5),
        "invented_rate": round(counts["invented"] / max(1, named), 5),
    }


def _part(example: Example, start: int, end: int) -> Example:
    # Spans across the border of a part would have wrong lengths.
    inside = (span for span in example.spans if start <= span.start and span.end <= end)
    spans = tuple(Span(s.start - start, s.end - start, s.label) for s in inside)
    return Example(example.words[start:end], spans, source=example.source)
