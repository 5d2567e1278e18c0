"""The labeler: a backbone under a mask plan, a head over word states, and what is needed to read text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lookboth.data.alignment import WordEncoder
from lookboth.errors import ModelError
from lookboth.masking.plan import MaskPlan
from lookboth.masking.positions import first_position
from lookboth.models.arithmetic import compute_in
from lookboth.models.base import TextLabeler
from lookboth.models.heads import build_head
from lookboth.models.labeler_config import LabelerConfig, LabelOn
from lookboth.types import Example, Prediction


class LabelerModel(nn.Module):
    """Backbone and head; gives every word its tag scores.

    Args:
        backbone: a Hugging Face model without vocabulary head, the mask plan applied, with or without adapter.
        config: gives the head, its tags and the sub-token of a word that is labeled.
        dropout: before the head, in training.
        compute_dtype: arithmetic of the backbone; the head always works in fp32.
    """

    accepts_loss_kwargs = True  # tells transformers.Trainer to pass num_items_in_batch

    def __init__(
        self,
        backbone: Any,
        config: LabelerConfig,
        *,
        dropout: float = 0.0,
        compute_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.label_on: LabelOn = config.label_on
        self.compute_dtype = compute_dtype
        self.first_position = first_position(backbone)
        self.dropout = nn.Dropout(dropout)
        text = backbone.config.get_text_config()
        head = build_head(
            config.head,
            hidden_size=text.hidden_size,
            num_layers=text.num_hidden_layers,
            tags=config.tags,
            scheme=config.scheme,
        )
        self.head = head.to(device=next(backbone.parameters()).device, dtype=torch.float32)

    def forward(
        self,
        input_ids: torch.Tensor,
        word_first: torch.Tensor,
        word_last: torch.Tensor,
        num_words: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return {"logits": (w, num_tags)} and, with labels, {"loss": scalar}; shapes as in PackedBatch.

        Logits are what the head gives: log probabilities come from `head.log_probs`.

        `num_items_in_batch` is the number of labels in all batches of one optimizer step: the loss is then the
        sum over words divided by it, so that accumulation weighs every word alike.
        """
        # Rows padded on the right count positions from 0 by themselves; only packed rows need telling.
        packed = {}
        if attention_mask is None and position_ids is not None:
            packed["position_ids"] = position_ids + self.first_position
        with compute_in(self.compute_dtype, self.backbone):
            states = self.backbone(
                input_ids=input_ids,
                attention_mask=attention_mask,
                **packed,
                **({"use_cache": False} if hasattr(self.backbone.config, "use_cache") else {}),
                **({} if self.head.mix is None else {"output_hidden_states": True}),
            )
        words = self._read_states(states, word_first, word_last)
        logits = self.head(self.dropout(words), num_words)
        output = {"logits": logits}
        if labels is not None:
            count = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
            summed = self.head.loss(logits, labels, num_words)
            output["loss"] = summed / torch.as_tensor(count, device=logits.device).clamp(min=1)
        return output

    def _read_states(self, output: Any, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return what the head reads of each word, (w, hidden) in fp32: the last layer, or all layers mixed."""
        if self.head.mix is None:
            return self._word_states(output.last_hidden_state.flatten(0, 1), first, last).float()
        # Words are picked before the mix: only their states, not those of all tokens, are kept for its gradient.
        states = (*output.hidden_states[:-1], output.last_hidden_state)
        return self.head.mix(self._word_states(state.flatten(0, 1), first, last) for state in states)

    def _word_states(self, states: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Pick or pool token states, (tokens, hidden) -> (w, hidden)."""
        if self.label_on == "first":
            return states[first]
        if self.label_on == "last":
            return states[last]
        lengths = last - first + 1
        word = torch.repeat_interleave(torch.arange(len(first), device=states.device), lengths)
        offset = torch.arange(len(word), device=states.device) - (lengths.cumsum(0) - lengths)[word]
        tokens = states[first[word] + offset].float()
        pooled = torch.zeros(len(first), states.shape[1], device=states.device)
        if self.label_on == "max":
            rows = word[:, None].expand_as(tokens)
            return pooled.scatter_reduce(0, rows, tokens, "amax", include_self=False)
        return pooled.index_add(0, word, tokens) / lengths[:, None]


class Labeler(TextLabeler):
    """A trained sequence labeler.

    Args:
        config: everything but the weights.
        model: backbone and head.
        tokenizer: of the backbone.

    >>> labeler = Labeler.from_pretrained("path/to/labeler")  # doctest: +SKIP
    >>> labeler.predict("Ada Lovelace lived in London.")  # doctest: +SKIP
    """

    def __init__(self, config: LabelerConfig, model: LabelerModel, tokenizer: Any) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.encoder = WordEncoder(
            tokenizer, config.encoding, max_word_tokens=min(64, max(1, config.max_tokens // 4))
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | None = None,
        precision: str = "auto",
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> TextLabeler:
        """Load a labeler from a folder or the Hub; the one that ships with lookboth when `name` is None.

        A folder that a generative labeler was saved into gives a GenerativeLabeler.

        Args:
            name: folder or hub id.
            device: "cpu", "cuda", ...; a GPU where there is one when None.
            precision: "auto", "bf16" or "fp32".
            base: where the base model is on this machine, if not where the labeler says; it must be the same one.
            trust_remote_code: let the base model's own code run.

        Raises:
            ModelError: the folder is missing, incomplete, from a newer version, or does not fit its base.
        """
        from lookboth.models.saving import load_labeler

        return load_labeler(
            name, device=device, precision=precision, base=base, trust_remote_code=trust_remote_code
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write adapter, head, plan, tags and model card into one small folder."""
        from lookboth.models.saving import save_labeler

        save_labeler(self, folder)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.head.parameters()).device

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`."""
        from lookboth.inference.pipeline import label_chunk

        return label_chunk(self, examples, batch_tokens=batch_tokens)

    def with_plan(self, plan: str | MaskPlan) -> "Labeler":
        """Return this labeler under another plan, sharing (and changing the mask of) the same weights."""
        from lookboth.masking.attention import apply_plan

        if isinstance(plan, str):
            plan = MaskPlan.parse(plan, self.config.plan.num_layers)
        apply_plan(self.model.backbone, plan)
        return Labeler(replace(self.config, plan=plan), self.model, self.tokenizer)


def require_head(labeler: TextLabeler, what: str) -> Labeler:
    """Return `labeler` as one with a head.

    Args:
        labeler: as loaded.
        what: what only such a labeler can be, for the message.

    Raises:
        ModelError: it writes its answers.
    """
    if not isinstance(labeler, Labeler):
        raise ModelError(f"a generative labeler has no head and cannot be {what}; use it as it is.")
    return labeler
