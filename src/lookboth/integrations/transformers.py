"""Saved labelers in plain transformers: `pipeline("token-classification" or "text-classification", model=FOLDER)`.

`import lookboth.integrations.transformers` registers them with transformers' Auto classes and pipelines.

transformers labels tokens, lookboth labels words. The saved tokenizer splits text into words as lookboth does and
returns the word number of each token. The model gives every token the prediction of its word. For a labeler of whole
texts, the text is one long word. The model itself splits long texts into windows.
"""

from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput
from transformers.modeling_utils import PreTrainedModel

from lookboth.compat import replace_pipeline
from lookboth.data import labels_prefix, window_example, window_texts
from lookboth.errors import ModelError
from lookboth.inference import join_texts, join_words, log_probs_of, piece_scores
from lookboth.integrations.token_pipeline import LookbothTokenPipeline
from lookboth.integrations.tokenizer import LookbothTokenizer
from lookboth.labelers import Labeler, require_head

# A logit so large that softmax gives a tag a probability of almost 1.
_SURE = 30.0
# By task of the class: description of a labeler of the other task, and its pipeline.
_OTHER = {
    "labeling": ("labels whole texts, not tokens", "text-classification"),
    "classification": ("labels words, not whole texts", "token-classification"),
}


class LookbothConfig(PreTrainedConfig):
    """Configuration of a saved labeler (`config.json`) for transformers."""

    model_type = "lookboth"


class _SavedLabeler(PreTrainedModel):
    """A saved labeler with the interface of a transformers model.

    Args:
        config: configuration of the saved labeler.
        labeler: the labeler, which computes everything.
    """

    config_class = LookbothConfig
    main_input_name = "input_ids"
    task = "labeling"

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
        super().__init__(config)
        # A submodule, so that `to` moves the labeler's weights.
        self.labeler_model = labeler.model
        self.lookboth_labeler = labeler

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *_: Any, config: Any = None, **kwargs: Any
    ) -> Self:
        """Load a labeler from a folder or hub id on the CPU; `dtype` may be torch.float32 or torch.bfloat16.

        Raises:
            ModelError: the labeler labels words and this class texts, or the reverse.
        """
        precision = {"float32": "fp32", "bfloat16": "bf16"}.get(
            str(kwargs.get("dtype")).split(".")[-1], "auto"
        )
        config = config or LookbothConfig.from_pretrained(pretrained_model_name_or_path)
        if getattr(config, "task", "labeling") != cls.task:
            found, pipeline = _OTHER[cls.task]
            raise ModelError(
                f"{pretrained_model_name_or_path}: {found}. Type: pipeline({pipeline!r}, model=FOLDER)"
            )
        loaded = Labeler.from_pretrained(pretrained_model_name_or_path, device="cpu", precision=precision)
        return cls(config, require_head(loaded, "loaded by transformers")).eval()

    def save_pretrained(self, save_directory: str | Path, *_: Any, **__: Any) -> None:  # type: ignore[override]
        """Save the labeler in a folder that both lookboth and transformers can load."""
        self.lookboth_labeler.save_pretrained(save_directory)


class LookbothForSequenceClassification(_SavedLabeler):
    """A saved labeler of whole texts with the interface of a transformers sequence classifier."""

    task = "classification"

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
        # The pipeline then applies a sigmoid to each label instead of a softmax.
        if labeler.config.multi_label:
            config.problem_type = "multi_label_classification"
        super().__init__(config, labeler)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        word_index: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Return logits (b, num_labels); their softmax (sigmoid if multi-label) is the labeler's probability.

        A text longer than a window is labeled window by window, as in `Labeler.predict`.

        Raises:
            ModelError: `word_index` is missing or numbers words; the labeler's own tokenizer provides it.
        """
        labeler, config = self.lookboth_labeler, self.lookboth_labeler.config
        rows = [_words_of_row(ids, index) for ids, index in _rows(input_ids, word_index)]
        if any(len(words) != 1 for words in rows):
            raise ModelError(
                "word_index numbers words, but this labeler labels whole texts: the tokenizer belongs to another "
                "labeler, or was saved by an earlier version. Type: "
                "Labeler.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        skipped = len(config.encoding.prefix_ids) if labels_prefix(labeler.encoder, config.label_on) else 0
        pieces = window_texts(
            [words[0][skipped:] for words in rows],
            labeler.encoder,
            label_on=config.label_on,
            max_tokens=config.max_tokens,
            overlap=config.overlap,
        )
        scores = torch.from_numpy(
            np.concatenate(join_texts(labeler, len(rows), piece_scores(labeler, pieces)))
        )
        logits = scores.to(input_ids.device) / config.confidence.temperature
        return SequenceClassifierOutput(logits=logits)


class LookbothForTokenClassification(_SavedLabeler):
    """A saved labeler of words with the interface of a transformers token classifier."""

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
        if labeler.config.is_nested:
            raise ModelError(
                "spans of this labeler may overlap, and a pipeline of transformers has one tag per token. Type: "
                "Labeler.from_pretrained(FOLDER).predict(TEXT)"
            )
        super().__init__(config, labeler)
        tags = labeler.config.tags
        pairs = [(tags.index(tag), tags.index("I" + tag[1:])) for tag in tags if "I" + tag[1:] in tags]
        self.begin_inside = [(begin, inside) for begin, inside in pairs if begin != inside]
        self.outside = tags.index("O") if "O" in tags else 0

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        word_index: torch.Tensor | None = None,
        **_: Any,
    ) -> TokenClassifierOutput:
        """Return logits (b, t, num_tags): those of the word for its first token, with B- moved to I- for the others.

        Logits are log probabilities of single tags, with a CRF head the marginals. Only the pipeline decodes whole
        sequences. A text longer than a window is labeled window by window, as in `Labeler.predict`.

        Raises:
            ModelError: `word_index` is missing; the labeler's own tokenizer provides it.
        """
        labeler, config = self.lookboth_labeler, self.lookboth_labeler.config
        rows = [
            [labeler.encoder.fit(word) for word in _words_of_row(ids, index)]
            for ids, index in _rows(input_ids, word_index)
        ]
        pieces = [
            piece
            for number, words in enumerate(rows)
            if words
            for piece in window_example(
                words,
                config.encoding,
                example=number,
                max_tokens=config.max_tokens,
                overlap=config.overlap,
                look_ahead=config.look_ahead,
            )
        ]
        log_probs = log_probs_of(
            labeler, join_words(labeler, list(map(len, rows)), piece_scores(labeler, pieces))
        )
        tables = [torch.from_numpy(row).to(input_ids.device) for row in log_probs]
        assert word_index is not None
        logits = [self._token_logits(index, table) for index, table in zip(word_index, tables, strict=True)]
        return TokenClassifierOutput(logits=torch.stack(logits))

    def _token_logits(self, word_index: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
        """Return the logits of the tokens of one row, (t, num_tags).

        Args:
            word_index: (t,), the 1-based word number of each token, 0 for special tokens and padding.
            log_probs: (w, num_tags), the words' log probabilities.
        """
        none = log_probs.new_full((1, log_probs.shape[1]), -_SURE)
        none[0, self.outside] = _SURE
        before = torch.nn.functional.pad(word_index, (1, 0))[:-1]
        begin = torch.cat([none, log_probs])[word_index]
        inside = torch.cat([none, self._inside(log_probs)])[word_index]
        return torch.where((word_index != before)[:, None], begin, inside)

    def _inside(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits with the probability mass of each B- tag moved to its I- tag."""
        inner = logits.clone()
        for begin, inside in self.begin_inside:
            inner[:, inside] = torch.logaddexp(logits[:, begin], logits[:, inside])
            inner[:, begin] = -_SURE
        return inner


def register() -> None:
    """Register saved labelers with transformers' Auto classes and its token classification pipeline."""
    AutoConfig.register("lookboth", LookbothConfig, exist_ok=True)
    AutoTokenizer.register(LookbothConfig, fast_tokenizer_class=LookbothTokenizer, exist_ok=True)
    AutoModelForTokenClassification.register(LookbothConfig, LookbothForTokenClassification, exist_ok=True)
    AutoModelForSequenceClassification.register(
        LookbothConfig, LookbothForSequenceClassification, exist_ok=True
    )
    replace_pipeline("token-classification", LookbothTokenPipeline)


def _rows(input_ids: torch.Tensor, word_index: torch.Tensor | None) -> list[tuple[list[int], list[int]]]:
    """Return the token ids and word numbers of each row.

    Raises:
        ModelError: `word_index` is None.
    """
    if word_index is None:
        raise ModelError(
            "word_index, the word number of each token, is missing. Encode with the tokenizer in the labeler's "
            "folder (AutoTokenizer.from_pretrained after `import lookboth.integrations.transformers`)."
        )
    return list(zip(input_ids.tolist(), word_index.tolist(), strict=True))


def _words_of_row(input_ids: list[int], word_index: list[int]) -> list[tuple[int, ...]]:
    """Return the token ids of each word of one row, without special tokens and padding."""
    pairs = groupby(zip(word_index, input_ids, strict=True), key=lambda pair: pair[0])
    return [tuple(token for _, token in group) for number, group in pairs if number]


register()
