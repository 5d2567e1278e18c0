"""The generative labeler: a language model that generates labels, with prompts and demonstrations."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch

from lookboth.data import (
    DemonstrationPool,
    Labels,
    LabelText,
    WordEncoder,
    encode_spans,
    parse_labels,
    read_demonstrations,
    text_and_offsets,
)
from lookboth.errors import ModelError
from lookboth.generative.answer_parsing import count_problems
from lookboth.generative.answering import Answerer, ScoredAnswer
from lookboth.generative.codecs import build_codec
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_config import GENERATIVE, GenerativeLabelerConfig
from lookboth.generative.generative_model import GenerativeModel
from lookboth.generative.generative_saving import load_parts, save_parts
from lookboth.generative.named_labels import (
    known_labels,
    labels_of_pool,
    named_config,
    own_demonstrations,
    require_readable,
    require_shown,
    with_only,
)
from lookboth.generative.prompt_labels import naming
from lookboth.generative.prompts import Prompt, PromptWriter
from lookboth.generative.text_parts import cut_words, part_of
from lookboth.inference import TextLabeler, label_by_label_set, reading_for
from lookboth.labelers import KIND_KEY, LoadOptions, find_folder, read_settings
from lookboth.memory import LARGE_BATCH
from lookboth.types import Example, PredictedSpan, Prediction, Span


class GenerativeLabeler(TextLabeler):
    """A labeler that generates answers; parts that do not parse or are not in the text are counted, never
    labeled.

    Args:
        config: everything except weights and demonstrations.
        model: the weights.
        tokenizer: tokenizer of the model.
        pool: training sentences for demonstrations.
        seed: seed of random demonstrations.
        is_draw: whether the pool was saved by a labeler, see `Demonstrations`.

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
        is_draw: bool = False,
    ) -> None:
        self.config, self.model, self.tokenizer = config, model, tokenizer
        settings = config.generative
        codec = build_codec(settings.format, config.labels, config.scheme)
        self.writer = PromptWriter(tokenizer, codec, settings)
        self.demonstrations = Demonstrations(pool, settings, seed=seed, is_draw=is_draw)
        self.encoder = WordEncoder(tokenizer)
        self.answerer = Answerer(model.language, self.writer)
        self._views: dict[tuple[str, ...], GenerativeLabeler] = {}

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.model.language.parameters()).device

    @property
    def planned_model(self) -> Any:
        """Return the language model, which has the mask plan."""
        return self.model.language

    @property
    def takes_labels(self) -> bool:
        """Whether `with_labels` names labels at prediction time."""
        return True

    @property
    def is_open(self) -> bool:
        """Whether it was trained for labels that are named in prediction."""
        return self.config.generative.open_labels

    def with_labels(
        self, labels: Labels | None = None, *, demonstrations: DemonstrationPool | None = None
    ) -> "GenerativeLabeler":
        """Return a labeler for labels named now; it shares the weights.

        Args:
            labels: as in `Labeler.with_labels`; None: those of the demonstrations, else those of the training.
            demonstrations: sentences with these labels: examples, or the name of labeled data (its train split unless
                another is named). None: the labeler's own, if their data were annotated with all the labels.

        Raises:
            ConfigError: the labels are not valid, the prompts do not show them, or none is in the demonstrations.
            DataError: the demonstrations cannot be read, or have no spans.

        >>> labeler.with_labels(["company", "product"], demonstrations="cars.conll")  # doctest: +SKIP
        """
        pool = None
        if demonstrations is not None:
            require_shown(self.config)
            pool = read_demonstrations(demonstrations, reading_for(self, None))
        if labels is None:
            labels = known_labels(self.config) if pool is None else labels_of_pool(pool)
        return self._with_labels(parse_labels(labels), pool)

    def _with_labels(
        self, labels: Sequence[LabelText], pool: Sequence[Example] | None
    ) -> "GenerativeLabeler":
        names, config = [label.name for label in labels], named_config(self.config, labels)
        kept = own_demonstrations(self.demonstrations.kept(), names, self.config.labels)
        shown = kept if pool is None else with_only(pool, names)
        require_readable(self.config, labels, len(shown))
        named = copy(self)
        named.config, named.writer, named._views = config, naming(self.writer, labels), {}
        named.demonstrations = Demonstrations(
            shown, config.generative, seed=self.demonstrations.seed, is_draw=pool is None
        )
        named.answerer = Answerer(self.model.language, named.writer, keeps_prefix=self.answerer.keeps_prefix)
        return named

    def _view(self, label_set: tuple[str, ...] = ()) -> "GenerativeLabeler":
        """Return the labeler for the labels of a data set; for those of its training without one."""
        # Kept, because a retriever encodes its whole pool.
        if label_set not in self._views:
            self._views[label_set] = self.with_labels([*map(LabelText.parse, label_set)] or None)
        return self._views[label_set]

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
        if self.is_open:
            return self._view().prompts(examples)
        texts = [example.words for example in examples]
        shown = self.demonstrations.for_texts(texts)
        return [self.writer.prompt(*pair) for pair in zip(texts, shown, strict=True)]

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`.

        A labeler that was trained with `open_labels` finds in each example the labels of its `label_set`.
        """
        if self.is_open:
            return label_by_label_set(examples, self._view, batch_tokens=batch_tokens)
        return self._label(examples, batch_tokens)

    def _label(self, examples: Sequence[Example], batch_tokens: int | None) -> Iterator[Prediction]:
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
        return [(start, part_of(example, start, end)) for start, end in borders]

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
    # The saved pool is already the draw; drawing from it again would change the demonstrations.
    labeler = GenerativeLabeler(config, model, tokenizer, pool, is_draw=True)
    # The weights of a loaded labeler do not change, so the prefix stays valid.
    labeler.answerer.keeps_prefix = True
    return labeler
