"""Saved labelers in plain transformers: `pipeline("token-classification", model=FOLDER)`.

transformers labels tokens, lookboth labels words. The saved tokenizer cuts text into words as lookboth does and
says which token belongs to which word; the model gives every token of a word the decision of its word.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_base import BatchEncoding
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.data.words import split_words
from lookboth.errors import ModelError
from lookboth.models.labeler import Labeler, require_head

ENCODING_KEY = "lookboth_encoding"  # key of tokenizer_config.json
_SURE = 30.0  # a logit that makes a tag certain


class LookbothConfig(PreTrainedConfig):
    """`config.json` of a saved labeler, as transformers reads it."""

    model_type = "lookboth"


class LookbothTokenizer(PreTrainedTokenizerFast):
    """The tokenizer of a saved labeler: with special tokens it reads text as the labeler was trained to.

    Called with `add_special_tokens=False` it is the base model's tokenizer.
    """

    padding_side = "right"

    def __call__(  # type: ignore[override]
        self, text: Any = None, *args: Any, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """Return token ids with `word_index` (b, t), the number of each token's word from 1, 0 for none.

        Args:
            text: one text, or a list of words with `is_split_into_words=True`; anything else, and anything
                without special tokens, goes to the base tokenizer.
        """
        words_given = bool(kwargs.get("is_split_into_words"))
        one_text = isinstance(text, str) or (words_given and isinstance(text, list | tuple))
        if not add_special_tokens or not one_text or ENCODING_KEY not in self.init_kwargs:
            return super().__call__(text, *args, add_special_tokens=add_special_tokens, **kwargs)
        return self._encode_text(text)

    def _encode_text(self, text: str | Sequence[str]) -> BatchEncoding:
        encoder = WordEncoder(self, Encoding.from_dict(self.init_kwargs[ENCODING_KEY]))
        ranges = split_words(text) if isinstance(text, str) else _joined_ranges(text)
        words = [text[start:end] for start, end in ranges] if isinstance(text, str) else list(text)
        tokens = encoder.encode(words)
        index = torch.zeros(1, len(tokens), dtype=torch.long)
        offsets = torch.zeros(1, len(tokens), 2, dtype=torch.long)
        for number, ((first, end), range_) in enumerate(
            zip(tokens.word_tokens, ranges, strict=True), start=1
        ):
            index[0, first:end] = number
            offsets[0, first:end] = torch.tensor(range_)
        return BatchEncoding(
            {
                "input_ids": torch.tensor([tokens.input_ids]),
                "attention_mask": torch.ones_like(index),
                "word_index": index,
                "special_tokens_mask": (index == 0).long(),
                "offset_mapping": offsets,
            }
        )


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
        self.temperature = labeler.config.confidence.temperature
        tags = labeler.config.tags
        pairs = [(tags.index(tag), tags.index("I" + tag[1:])) for tag in tags if "I" + tag[1:] in tags]
        self.begin_inside = [(begin, inside) for begin, inside in pairs if begin != inside]
        self.outside = tags.index("O") if "O" in tags else 0

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *_: Any, config: Any = None, **kwargs: Any
    ) -> "LookbothForTokenClassification":
        """Load a labeler folder or hub id onto the CPU; `dtype` may be torch.float32 or torch.bfloat16."""
        precision = {"float32": "fp32", "bfloat16": "bf16"}.get(
            str(kwargs.get("dtype")).split(".")[-1], "auto"
        )
        config = config or LookbothConfig.from_pretrained(pretrained_model_name_or_path)
        if getattr(config, "task", "labeling") == "classification":
            raise ModelError(
                f"{pretrained_model_name_or_path}: labels whole texts, not tokens. "
                "Type: Labeler.from_pretrained(FOLDER).predict(TEXT), or lookboth predict TEXT --model FOLDER"
            )
        loaded = Labeler.from_pretrained(pretrained_model_name_or_path, device="cpu", precision=precision)
        labeler = require_head(loaded, "loaded by transformers")
        return cls(config, labeler).eval()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        word_index: torch.Tensor | None = None,
        **_: Any,
    ) -> TokenClassifierOutput:
        """Return logits (b, t, num_tags): the word's for its first token, "goes on" for the others.

        Logits are log probabilities: transformers takes the best tag of each token alone, so that of a CRF head, whose
        best sequence is not its best tags, they are the marginals'.

        Raises:
            ModelError: no `word_index`; it comes from the labeler's own tokenizer.
        """
        if word_index is None:
            raise ModelError(
                "word_index is missing: which token belongs to which word? Encode with the tokenizer saved in the "
                "labeler's folder (AutoTokenizer.from_pretrained after `import lookboth`)."
            )
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        word, first, last = _number_words(word_index)
        num_words = torch.zeros(len(word), dtype=torch.long, device=word.device)
        num_words.index_add_(0, first // word.shape[1], torch.ones_like(first))
        output = self.labeler_model(
            input_ids=input_ids,
            attention_mask=mask.bool(),
            word_first=first,
            word_last=last,
            num_words=num_words,
        )
        logits = self.labeler_model.head.log_probs(output["logits"], num_words, temperature=self.temperature)
        inner = self._inside(logits)
        none = (
            torch.full_like(logits[:1], -_SURE)
            if len(logits)
            else logits.new_full((1, logits.shape[1]), -_SURE)
        )
        none[0, self.outside] = _SURE
        is_first = torch.zeros_like(word, dtype=torch.bool)
        is_first.view(-1)[first] = True
        # Word -1 (special tokens, padding) picks the last row of each table.
        table = torch.where(
            is_first[..., None], torch.cat([logits, none])[word], torch.cat([inner, none])[word]
        )
        return TokenClassifierOutput(logits=table)

    def _inside(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits with each B- tag's mass moved to its I- tag."""
        inner = logits.clone()
        for begin, inside in self.begin_inside:
            inner[:, inside] = torch.logaddexp(logits[:, begin], logits[:, inside])
            inner[:, begin] = -_SURE
        return inner


def register() -> None:
    """Tell the Auto classes about saved labelers."""
    AutoConfig.register("lookboth", LookbothConfig, exist_ok=True)
    AutoTokenizer.register(LookbothConfig, fast_tokenizer_class=LookbothTokenizer, exist_ok=True)
    AutoModelForTokenClassification.register(LookbothConfig, LookbothForTokenClassification, exist_ok=True)


def _joined_ranges(words: Sequence[str]) -> list[tuple[int, int]]:
    ranges, position = [], 0
    for word in words:
        ranges.append((position, position + len(word)))
        position += len(word) + 1
    return ranges


def _number_words(word_index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Number words through the batch: (b, t) with -1 for none, and the flat first and last token of each, (w,)."""
    flat = word_index.flatten()
    row = torch.arange(word_index.shape[0], device=flat.device).repeat_interleave(word_index.shape[1])
    before = torch.nn.functional.pad(flat, (1, 0))[:-1]
    row_before = torch.nn.functional.pad(row, (1, 0), value=-1)[:-1]
    starts = (flat > 0) & ((flat != before) | (row != row_before))
    word = torch.where(flat > 0, starts.cumsum(0) - 1, -1)
    first = starts.nonzero().flatten()
    last = torch.zeros_like(first)
    known = (flat > 0).nonzero().flatten()
    last = last.scatter_reduce(0, word[known], known, "amax")
    return word.view_as(word_index), first, last


register()
