"""The model of a labeler, backbone and head: computes the tag scores of each word from token ids."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, Self

import torch
from torch import nn

from lookboth.config import HeadConfig
from lookboth.data import BatchFacts
from lookboth.errors import ConfigError
from lookboth.inference import LabelOn
from lookboth.masking import MaskPlan, first_position, under_plan, with_known_rows
from lookboth.models.arithmetic import compute_in
from lookboth.models.fast_form import FastForm
from lookboth.models.folding import require_trainable
from lookboth.models.heads import Head, build_head
from lookboth.models.soft_loss import NO_LABEL, SoftLoss
from lookboth.models.text_pass import layer_states, pass_over_text, rows_of
from lookboth.models.word_pooling import largest_per_word, pool_words, words_of_tokens

# Pooling of the tokens of a label. Under a bidirectional plan each of them attends to the whole text of the label;
# under a causal one the mean still contains the last, and depends less on how the label ends.
LABEL_POOLING: LabelOn = "mean"


class ModelSettings(Protocol):
    """The settings of a labeler's config that determine its model."""

    @property
    def label_on(self) -> LabelOn:
        """The token of a word that is labeled, or how all its tokens are pooled."""

    @property
    def head(self) -> HeadConfig:
        """The kind of head, and the layers it reads."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each output."""

    @property
    def scheme(self) -> str:
        """Tag scheme: "IOB2", "IOBES" or "plain"."""


class LabelerModel(nn.Module):
    """A backbone with a head that scores the tags of every word.

    Args:
        backbone: a Hugging Face model without vocabulary head, the mask plan applied, with or without adapter.
        config: the head, its tags and the token of a word that is labeled.
        dropout: dropout rate before the head, in training.
        compute_dtype: dtype of the backbone's arithmetic; the head always computes in fp32.
        head: the head; None: a new one with initial weights.
    """

    # With it, transformers' Trainer passes num_items_in_batch.
    accepts_loss_kwargs = True

    def __init__(
        self,
        backbone: Any,
        config: ModelSettings,
        *,
        dropout: float = 0.0,
        compute_dtype: torch.dtype = torch.float32,
        head: Head | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.label_on: LabelOn = config.label_on
        # Set in distillation only; a setting of the training, not of the labeler.
        self.soft_loss: SoftLoss | None = None
        self.compute_dtype = compute_dtype
        # Set for models that are loaded to predict; a setting of this process, not of the labeler.
        self.fast_form: FastForm | None = None
        self.first_position = first_position(backbone)
        self.dropout = nn.Dropout(dropout)
        head = head or _new_head(backbone, config, compute_dtype)
        # The head is small, so fp32 costs little, and its updates are not rounded.
        self.head = head.to(device=next(backbone.parameters()).device, dtype=torch.float32)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode.

        Raises:
            ModelError: training mode, and the adapter was merged into the weights.
        """
        if mode:
            require_trainable(self.backbone)
        return super().train(mode)

    @contextmanager
    def predicting(self, plan: MaskPlan) -> Iterator[None]:
        """Run under a plan, without dropout and gradients, and in the fast form if there is one, inside the context."""
        # eval() visits all modules, so it is called only if needed.
        if was_training := self.training:
            self.eval()
        fast = nullcontext() if self.fast_form is None else self.fast_form.active()
        with torch.inference_mode(), under_plan(self.backbone, plan), fast:
            yield
        if was_training:
            self.train()

    @property
    def module(self) -> nn.Module:
        """The module with all weights, which is the model itself."""
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        word_first: torch.Tensor,
        word_last: torch.Tensor,
        num_words: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        soft_targets: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        facts: BatchFacts | None = None,
        **label_batch: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return {"logits": (w, num_tags)} and, with labels, {"loss": scalar}; shapes as in PackedBatch.

        Logits are the output of the head; `head.log_probs` converts them to log probabilities.

        `num_items_in_batch` is the number of labels in all batches of one optimizer step. It divides the summed loss,
        so that gradient accumulation gives every word the same weight. `soft_targets` are the log probabilities of a
        teacher, (w, num_tags); `soft_loss` must then be set, and words with the label `NO_LABEL` have no gold tag.
        With `facts` the device is not asked for what the host knows.

        `label_batch`, for an open head: the texts of its labels (see `OpenLabels.tensors`).
        """
        words = self.encode(input_ids, word_first, word_last, position_ids, attention_mask, facts=facts)
        # Before the dropout: whether the frozen layers draw random numbers is seen from the generator.
        vectors = self._label_vectors(**label_batch)
        logits = self._score(words, word_first, word_last, num_words, **vectors)
        output = {"logits": logits}
        if labels is not None:
            count = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
            # A CRF plans its passes on the host.
            on_host = num_words if facts is None else torch.tensor(facts.num_words)
            summed = self._summed_loss(logits, labels, on_host, soft_targets)
            # At least 1, because a batch without labels must not divide by zero.
            output["loss"] = summed / torch.as_tensor(count, device=logits.device).clamp(min=1)
        return output

    def encode(
        self,
        input_ids: torch.Tensor,
        first: torch.Tensor,
        last: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *,
        pooling: LabelOn | None = None,
        facts: BatchFacts | None = None,
    ) -> torch.Tensor:
        """Return the head's input for each word, (w, hidden) in fp32; shapes as in PackedBatch.

        Args:
            input_ids, position_ids, attention_mask: the tokens.
            first, last: the first and last token of each word, `word_first` and `word_last` of PackedBatch.
            pooling: the token that represents a word, or the pooling of its tokens; None: `label_on`.
            facts: what the host knows of the batch.
        """
        output = self.run(self.backbone, input_ids, position_ids, attention_mask, facts)
        return self._read_states(output, first, last, pooling or self.label_on)

    def run(
        self,
        backbone: Any,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        facts: BatchFacts | None,
    ) -> Any:
        """Return the output of a backbone, `self.backbone` or the one below it, for the tokens of a batch."""
        # The model counts the positions of rows padded on the right itself; only packed rows need position ids.
        packed = {}
        if attention_mask is None and position_ids is not None:
            packed["position_ids"] = position_ids + self.first_position
        with compute_in(self.compute_dtype, backbone), with_known_rows(rows_of(facts)):
            return backbone(
                input_ids=input_ids,
                attention_mask=attention_mask,
                **packed,
                **({"use_cache": False} if hasattr(backbone.config, "use_cache") else {}),
                **({} if self.head.mix is None else {"output_hidden_states": True}),
            )

    def score_output(
        self, output: Any, first: torch.Tensor, last: torch.Tensor, num_words: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits of some words of a batch, (w, num_tags), from the output of `run`."""
        words = self._read_states(output, first, last, self.label_on)
        return self._score(words, first, last, num_words)

    def _score(
        self,
        words: torch.Tensor,
        first: torch.Tensor,
        last: torch.Tensor,
        num_words: torch.Tensor,
        **vectors: torch.Tensor,
    ) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.dropout(words), num_words, **vectors)
        # For max_score the rows of `words` are tokens, which are pooled here.
        if self.label_on == "max_score":
            return largest_per_word(logits, words_of_tokens(first, last, len(logits)), len(first))
        return logits

    def _summed_loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        num_words: torch.Tensor,
        soft_targets: torch.Tensor | None,
    ) -> torch.Tensor:
        if soft_targets is None or self.soft_loss is None:
            return self.head.loss(logits, labels, num_words)
        hard = self.head.loss(logits, labels.masked_fill(labels == NO_LABEL, -100), num_words)
        return self.soft_loss.mix(hard, logits, soft_targets)

    def score_words(self, states: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return the logits of the words of one text, (w, num_tags), from states of the last layer.

        Args:
            states: states of tokens, shape (t, hidden).
            first, last: the first and last token of each word, shape (w,).
        """
        words = pool_words(states, first, last, self.label_on).float()
        logits: torch.Tensor = self.head(self.dropout(words), first.new_tensor([len(first)]))
        return logits

    def _label_vectors(
        self,
        label_input_ids: torch.Tensor | None = None,
        label_first: torch.Tensor | None = None,
        label_last: torch.Tensor | None = None,
        label_position_ids: torch.Tensor | None = None,
        label_attention_mask: torch.Tensor | None = None,
        asked: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the additional arguments of an open head; none for other heads."""
        if label_input_ids is None or label_first is None or label_last is None or asked is None:
            return {}
        vectors = self.encode(
            label_input_ids,
            label_first,
            label_last,
            label_position_ids,
            label_attention_mask,
            pooling=LABEL_POOLING,
        )
        return {"vectors": vectors, "asked": asked}

    def _read_states(
        self, output: Any, first: torch.Tensor, last: torch.Tensor, pooling: LabelOn
    ) -> torch.Tensor:
        """Return the head's input for each word, (w, hidden) in fp32: the last layer, or a mix of all layers."""
        if self.head.mix is None:
            return pool_words(output.last_hidden_state.flatten(0, 1), first, last, pooling).float()
        # Select words before the mix: autograd then keeps the states of words only, not those of all tokens.
        states = layer_states(output)
        return self.head.mix(pool_words(state.flatten(0, 1), first, last, pooling) for state in states)


def _new_head(backbone: Any, config: ModelSettings, dtype: torch.dtype) -> Head:
    """Return a head with initial weights for the states of `backbone`."""
    width, num_states = _states_of(backbone, dtype, mixed=config.head.layers == "mix")
    return build_head(
        config.head, hidden_size=width, num_layers=num_states - 1, tags=config.tags, scheme=config.scheme
    )


def _states_of(backbone: Any, dtype: torch.dtype, *, mixed: bool) -> tuple[int, int]:
    """Return the width of the states a head reads, and the number of states per token that are mixed.

    Both are measured with a forward pass, because configurations name them in different ways.

    Raises:
        ConfigError: the layers have states of different widths, which cannot be mixed.
    """
    output = pass_over_text(backbone, dtype=dtype, **({"output_hidden_states": True} if mixed else {}))
    width = output.last_hidden_state.shape[-1]
    if not mixed:
        return width, 1
    widths = [state.shape[-1] for state in layer_states(output)]
    if set(widths) != {width}:
        raise ConfigError(
            f"head.layers = 'mix' needs layers of one width; this model has states of widths "
            f"{' and '.join(map(str, sorted(set(widths))))}. Set head.layers = 'last'."
        )
    return width, len(widths)
