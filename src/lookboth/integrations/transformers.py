"""Saved labelers in plain transformers: `pipeline("token-classification" or "text-classification", model=FOLDER)`.

transformers labels tokens, lookboth labels words. The saved tokenizer cuts text into words as lookboth does and
says which token belongs to which word; the model gives every token of a word the decision of its word. For a labeler
of whole texts the text is one long word.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

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
from transformers.tokenization_utils_base import BatchEncoding
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.data.whole_texts import tokenize_texts
from lookboth.data.words import split_words
from lookboth.errors import ModelError
from lookboth.models.labeler import Labeler, require_head

ENCODING_KEY = "lookboth_encoding"  # keys of tokenizer_config.json
TEXT_KEY = "lookboth_label_on"  # there only where whole texts are labeled
_SURE = 30.0  # a logit that makes a tag certain
_OTHER = {  # by what a class labels: what it was given instead, and the pipeline for that
    "labeling": ("labels whole texts, not tokens", "text-classification"),
    "classification": ("labels words, not whole texts", "token-classification"),
}


class _Words(NamedTuple):
    """Words of a batch: each token's, (b, t), -1 for none; flat first and last token, (w,); how many per row, (b,)."""

    number: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    per_row: torch.Tensor


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
        if TEXT_KEY in self.init_kwargs:
            return self._encode_whole(text if isinstance(text, str) else " ".join(text), encoder)
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

    def _encode_whole(self, text: str, encoder: WordEncoder) -> BatchEncoding:
        label_on = self.init_kwargs[TEXT_KEY]
        (piece,) = tokenize_texts([text], encoder, label_on=label_on, max_tokens=sys.maxsize)
        index = torch.zeros(1, len(piece), dtype=torch.long)
        first, end = piece.word_tokens[0]
        index[0, first:end] = 1
        return BatchEncoding(
            {
                "input_ids": torch.tensor([piece.input_ids]),
                "attention_mask": torch.ones_like(index),
                "word_index": index,
            }
        )


class _SavedLabeler(PreTrainedModel):
    """A saved labeler behind the interface of a transformers model.

    Args:
        config: of the saved labeler.
        labeler: what does the work.
    """

    config_class = LookbothConfig
    main_input_name = "input_ids"
    task = "labeling"

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
        super().__init__(config)
        self.labeler_model = labeler.model
        self.temperature = labeler.config.confidence.temperature

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *_: Any, config: Any = None, **kwargs: Any
    ) -> Self:
        """Load a labeler folder or hub id onto the CPU; `dtype` may be torch.float32 or torch.bfloat16.

        Raises:
            ModelError: it labels words where this class labels texts, or the other way round.
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
        loaded = Labeler.from_pretrained(
            pretrained_model_name_or_path, device="cpu", precision=precision, merge=True
        )
        return cls(config, require_head(loaded, "loaded by transformers")).eval()

    def _scores(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, words: "_Words"
    ) -> torch.Tensor:
        """Return what the head gives for every word of the batch, (w, num_tags)."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        output = self.labeler_model(
            input_ids=input_ids,
            attention_mask=mask.bool(),
            word_first=words.first,
            word_last=words.last,
            num_words=words.per_row,
        )
        scores: torch.Tensor = output["logits"]
        return scores


class LookbothForSequenceClassification(_SavedLabeler):
    """A saved labeler of whole texts behind the interface of a transformers sequence classifier."""

    task = "classification"

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
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
        """Return logits (b, num_labels), of which softmax (sigmoid, of several labels) gives our probabilities.

        A text is run as it is, without windows.

        Raises:
            ModelError: no `word_index`, or one of words; it comes from the labeler's own tokenizer.
        """
        words = _find_words(word_index)
        if words.per_row.tolist() != [1] * len(input_ids):
            raise ModelError(
                "word_index tells words apart, not texts: the tokenizer is not this labeler's, or an earlier "
                "version saved it. Save again: Labeler.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        scores = self._scores(input_ids, attention_mask, words)
        return SequenceClassifierOutput(logits=scores / self.temperature)  # type: ignore[arg-type]


class LookbothForTokenClassification(_SavedLabeler):
    """A saved labeler of words behind the interface of a transformers token classifier."""

    def __init__(self, config: LookbothConfig, labeler: Labeler) -> None:
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
        """Return logits (b, t, num_tags): the word's for its first token, "goes on" for the others.

        Logits are log probabilities: transformers takes the best tag of each token alone, so that of a CRF head, whose
        best sequence is not its best tags, they are the marginals'.

        Raises:
            ModelError: no `word_index`; it comes from the labeler's own tokenizer.
        """
        words = _find_words(word_index)
        scores = self._scores(input_ids, attention_mask, words)
        logits = self.labeler_model.head.log_probs(scores, words.per_row, temperature=self.temperature)
        inner = self._inside(logits)
        none = (
            torch.full_like(logits[:1], -_SURE)
            if len(logits)
            else logits.new_full((1, logits.shape[1]), -_SURE)
        )
        none[0, self.outside] = _SURE
        is_first = torch.zeros_like(words.number, dtype=torch.bool)
        is_first.view(-1)[words.first] = True
        # Word -1 (special tokens, padding) picks the last row of each table.
        begin, goes_on = torch.cat([logits, none])[words.number], torch.cat([inner, none])[words.number]
        table = torch.where(is_first[..., None], begin, goes_on)
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
    AutoModelForSequenceClassification.register(
        LookbothConfig, LookbothForSequenceClassification, exist_ok=True
    )


def _joined_ranges(words: Sequence[str]) -> list[tuple[int, int]]:
    ranges, position = [], 0
    for word in words:
        ranges.append((position, position + len(word)))
        position += len(word) + 1
    return ranges


def _find_words(word_index: torch.Tensor | None) -> "_Words":
    """Number words through the batch.

    Args:
        word_index: (b, t), the number of each token's word in its row from 1, 0 for none.

    Raises:
        ModelError: it is None.
    """
    if word_index is None:
        raise ModelError(
            "word_index is missing: which token belongs to which word? Encode with the tokenizer saved in the "
            "labeler's folder (AutoTokenizer.from_pretrained after `import lookboth`)."
        )
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
    count = torch.zeros(len(word_index), dtype=torch.long, device=flat.device)
    count.index_add_(0, row[first], torch.ones_like(first))
    return _Words(word.view_as(word_index), first, last, count)


register()
