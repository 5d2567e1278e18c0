"""Saved labelers in plain transformers: `pipeline("token-classification", model=FOLDER)`.

transformers labels tokens, lookboth labels words. Every token of a word gets the scores of the word, so each
aggregation strategy of the pipeline gives whole words, and the saved tokenizer cuts raw text into words as
lookboth does.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForTokenClassification
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.modeling_utils import PreTrainedModel

from lookboth.models.labeler import Labeler


class LookbothConfig(PreTrainedConfig):
    """`config.json` of a saved labeler, as transformers reads it."""

    model_type = "lookboth"


class LookbothForTokenClassification(PreTrainedModel):
    """A saved labeler behind the interface of a transformers token classifier.

    Args:
        config: of the saved labeler.
        labeler: what does the work.
    """

    config_class = LookbothConfig
    main_input_name = "input_ids"

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
        super().__init__(config)
        self.labeler_model = labeler.model
        starts = word_starts(labeler.tokenizer, labeler.encoder.encoding.word_prefix)
        self.register_buffer("word_starts", starts, persistent=False)
        self.prefix_length = len(labeler.encoder.encoding.prefix_ids)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *_: Any, config: Any = None, **kwargs: Any
    ) -> "LookbothForTokenClassification":
        """Load a labeler folder or hub id; dtype and device are the labeler's own defaults."""
        labeler = Labeler.from_pretrained(pretrained_model_name_or_path)
        config = config or LookbothConfig.from_pretrained(pretrained_model_name_or_path)
        return cls(config, labeler).eval()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> TokenClassifierOutput:
        """Return logits (b, t, num_tags), the same for all tokens of a word."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        word = self._word_of_token(input_ids, mask.bool())
        first, last = _word_bounds(word)
        output = self.labeler_model(
            input_ids=input_ids, attention_mask=mask.bool(), word_first=first, word_last=last
        )
        logits = output["logits"]
        none = torch.full((1, logits.shape[1]), -30.0, device=logits.device)
        none[0, 0] = 30.0  # special tokens and padding are outside every span
        return TokenClassifierOutput(logits=torch.cat([logits, none])[word])

    def _word_of_token(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Number the words through the batch, shape (b, t); -1 for padding and special tokens."""
        special = torch.zeros_like(mask)
        special[:, : self.prefix_length] = True
        inside = mask & ~special
        starts = self.word_starts[input_ids] & inside  # type: ignore[index]
        starts[:, self.prefix_length] |= inside[:, self.prefix_length]
        number = starts.flatten().cumsum(0).view_as(input_ids) - 1
        return torch.where(inside, number, -1)


def word_starts(tokenizer: Any, word_prefix: str) -> torch.Tensor:
    """Return for each token id whether it begins a word, shape (vocabulary,), from how tokens are written."""
    marks = ("Ġ", "▁") if word_prefix else ("▁",)
    vocabulary = tokenizer.get_vocab()
    starts = torch.zeros(max(vocabulary.values()) + 1, dtype=torch.bool)
    wordpiece = any(token.startswith("##") for token in vocabulary)
    for token, index in vocabulary.items():
        starts[index] = not token.startswith("##") if wordpiece else token.startswith(marks)
    return starts


def register() -> None:
    """Tell the Auto classes about saved labelers."""
    AutoConfig.register("lookboth", LookbothConfig, exist_ok=True)
    AutoModelForTokenClassification.register(LookbothConfig, LookbothForTokenClassification, exist_ok=True)


def _word_bounds(word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the flat index of each word's first and last token, shape (w,) each."""
    flat = word.flatten()
    positions = torch.arange(len(flat), device=flat.device)
    num_words = int(flat.max()) + 1 if len(flat) else 0
    known = flat >= 0
    first = torch.full((num_words,), len(flat), device=flat.device)
    first = first.scatter_reduce(0, flat[known], positions[known], "amin")
    last = torch.zeros(num_words, dtype=torch.long, device=flat.device)
    last = last.scatter_reduce(0, flat[known], positions[known], "amax")
    return first, last


register()
