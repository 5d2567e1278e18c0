"""The labeler: a backbone under a mask plan, a head over word states, and what is needed to read text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lookboth.data.alignment import WordEncoder
from lookboth.data.packing import build_batch
from lookboth.errors import ConfigError, ModelError
from lookboth.masking.attention import under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.masking.positions import first_position
from lookboth.models.arithmetic import compute_in
from lookboth.models.base import HeadLabeler, TextLabeler, require_scores
from lookboth.models.heads import build_head
from lookboth.models.labeler_config import LabelerConfig
from lookboth.models.labeling_config import LabelOn
from lookboth.models.likelihoods import Likelihood
from lookboth.models.text_pass import layer_states, pass_over_text
from lookboth.types import TokenizedExample


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
        mixed = config.head.layers == "mix"
        width, num_states = _states_of(backbone, compute_dtype, mixed=mixed)
        head = build_head(
            config.head,
            hidden_size=width,
            num_layers=num_states - 1,
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
        if self.label_on == "max_score":  # "words" are all tokens there
            logits = _largest(logits, _words_of_tokens(word_first, word_last, len(logits)), len(word_first))
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
        states = layer_states(output)
        return self.head.mix(self._word_states(state.flatten(0, 1), first, last) for state in states)

    def _word_states(self, states: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Pick or pool token states, (tokens, hidden) -> (w, hidden); for max_score they stay as they are."""
        if self.label_on == "max_score":
            return states
        if self.label_on == "first":
            return states[first]
        if self.label_on == "last":
            return states[last]
        # Shapes depend on shapes alone, not on values, so that the graph can be exported.
        rows = _words_of_tokens(first, last, len(states))
        tokens = states.float()
        if self.label_on == "max":
            return _largest(tokens, rows, len(first))
        summed = tokens.new_zeros(len(first) + 1, states.shape[1]).index_add(0, rows, tokens)[:-1]
        return summed / (last - first + 1)[:, None]


def _states_of(backbone: Any, dtype: torch.dtype, *, mixed: bool) -> tuple[int, int]:
    """Return the width of the states a head reads, and how many states of a token are mixed; asked of the model itself.

    Raises:
        ConfigError: states of several widths, which cannot be mixed.
    """
    output = pass_over_text(backbone, dtype=dtype, **({"output_hidden_states": True} if mixed else {}))
    width = output.last_hidden_state.shape[-1]
    if not mixed:
        return width, 1
    widths = [state.shape[-1] for state in layer_states(output)]
    if set(widths) != {width}:
        raise ConfigError(
            f"head.layers = 'mix': states of this model are {' and '.join(map(str, sorted(set(widths))))} wide. "
            "Set head.layers = 'last'."
        )
    return width, len(widths)


def _largest(values: torch.Tensor, rows: torch.Tensor, num_words: int) -> torch.Tensor:
    """Return the largest value of each column over the tokens of each word, (tokens, n) -> (w, n).

    Args:
        values: of tokens, shape (tokens, n).
        rows: as `_words_of_tokens` gives them.
        num_words: number of words, w.
    """
    least = values.new_full((num_words + 1, values.shape[1]), float("-inf"))
    return least.scatter_reduce(0, rows[:, None].expand_as(values), values, "amax")[:-1]


def _words_of_tokens(first: torch.Tensor, last: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """Return the number of each token's word, (tokens,); for a token of no word, one past the last number.

    Args:
        first, last: the tokens each word begins and ends with, shape (w,), in the order of the text.
        num_tokens: how many there are.
    """
    none, one = first.new_zeros(num_tokens + 1), torch.ones_like(first)
    begun = none.scatter_add(0, first, one).cumsum(0)[:-1]
    ended = none.scatter_add(0, last + 1, one).cumsum(0)[:-1]
    return torch.where(begun > ended, begun - 1, len(first))


class Labeler(HeadLabeler):
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
            tokenizer,
            config.encoding,
            max_word_tokens=config.max_word_tokens,
            num_tokens=model.backbone.get_input_embeddings().weight.shape[0],
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | None = None,
        precision: str = "auto",
        base: str | None = None,
        merge: bool = False,
        trust_remote_code: bool = False,
    ) -> TextLabeler:
        """Load a labeler from a folder or the Hub; the one that ships with lookboth when `name` is None.

        A folder that a generative labeler was saved into gives a GenerativeLabeler.

        Args:
            name: folder or hub id; "fast" is the faster one that ships.
            device: "cpu", "cuda", ...; a GPU where there is one when None.
            precision: "auto", "bf16", "fp16" or "fp32"; "auto" takes 4 bits for a QLoRA labeler where that is possible.
            base: where the base model is on this machine, if not where the labeler says; it must be the same one.
            merge: fold the adapter into the weights, if there is one: a fifth faster, the same within rounding.
            trust_remote_code: let the base model's own code run.

        Raises:
            ModelError: the folder is missing, incomplete, from a newer version, or does not fit its base.
        """
        from lookboth.models.merging import fold_for_speed
        from lookboth.models.saving import load_labeler

        labeler = load_labeler(
            name, device=device, precision=precision, base=base, trust_remote_code=trust_remote_code
        )
        if merge:
            fold_for_speed(labeler)
        return labeler

    def save_pretrained(self, folder: str | Path) -> None:
        """Write adapter, head, plan, tags and model card into one small folder."""
        from lookboth.models.saving import save_labeler

        save_labeler(self, folder)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.head.parameters()).device

    @property
    def batch_tokens(self) -> int:
        """Tokens computed at once where the caller names no number.

        In bf16 a CPU's products are so fast that reading the weights, once a batch, is what counts.
        """
        return 2048 if self.model.compute_dtype == torch.bfloat16 else super().batch_tokens

    def score(self, pieces: Sequence[TokenizedExample]) -> np.ndarray:
        """Return what the head gives for every word of one batch under the plan of `config`, (w, num_tags)."""
        inputs = {key: value.to(self.device) for key, value in build_batch(pieces).tensors().items()}
        if was_training := self.model.training:  # setting it walks over all modules
            self.model.eval()
        with torch.inference_mode(), under_plan(self.model.backbone, self.config.plan):
            scores: np.ndarray = self.model(**inputs)["logits"].cpu().numpy()
        if was_training:
            self.model.train()
        return scores

    def likelihood(self) -> Likelihood:
        """Return how scores become probabilities, as the head has it."""
        return self.model.head.likelihood()

    def with_plan(self, plan: str | MaskPlan) -> "Labeler":
        """Return a view of this labeler under another plan; the two share weights and leave each other's plan alone.

        A labeler applies the plan of its `config` whenever it labels, and restores the one it found afterwards. A
        view costs no memory and, per batch, twice the time of `apply_plan`. Views of one labeler do not run in
        parallel threads.

        Raises:
            PlanError: the plan cannot be read, does not fit, or the model cannot take it.
        """
        if isinstance(plan, str):
            plan = MaskPlan.parse(plan, self.config.plan.num_layers)
        with under_plan(self.model.backbone, plan):
            return Labeler(replace(self.config, plan=plan), self.model, self.tokenizer)


def require_head(labeler: TextLabeler, what: str) -> Labeler:
    """Return `labeler` as one with a head that torch runs.

    Args:
        labeler: as loaded.
        what: what only such a labeler can be, for the message.

    Raises:
        ModelError: it writes its answers, or was exported.
    """
    scoring = require_scores(labeler, what)
    if not isinstance(scoring, Labeler):
        raise ModelError(f"an exported labeler cannot be {what}; take the labeler it was exported from.")
    return scoring
