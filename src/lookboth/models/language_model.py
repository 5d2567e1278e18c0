"""A backbone with its vocabulary head, for training on raw text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lookboth.data import BatchFacts
from lookboth.errors import ModelError
from lookboth.masking import first_position, with_known_rows
from lookboth.models.arithmetic import compute_in
from lookboth.models.loading import from_hub, load_config
from lookboth.models.shortening import cut_config
from lookboth.models.text_pass import rows_of
from lookboth.quiet import without_load_report


class LanguageModel(nn.Module):
    """A backbone with its vocabulary head that computes the loss of the target tokens.

    Logits are computed at the predicting positions only, not at all positions of a batch, to save memory.

    Args:
        model: the output of `load_language_model`.
        compute_dtype: dtype of the arithmetic of backbone and head; the loss is always computed in fp32.
    """

    # With it, transformers' Trainer passes num_items_in_batch.
    accepts_loss_kwargs = True

    def __init__(self, model: Any, *, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model
        self.compute_dtype = compute_dtype
        self.first_position = first_position(model.base_model)

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        facts: BatchFacts | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return {"loss": mean over predictions, "logits": (p, vocabulary)}.

        Args:
            input_ids, position_ids, attention_mask: as in PackedBatch.
            positions: flat index into b * t of each predicting position, shape (p,).
            labels: the target token of each of these positions, shape (p,).
            num_items_in_batch: number of predictions in all batches of one optimizer step; it divides the summed loss.
            facts: what the host knows of the batch, so that the device is not asked for it.
        """
        # The model counts the positions of rows padded on the right itself; only packed rows need position ids.
        packed = {}
        if attention_mask is None and position_ids is not None:
            packed["position_ids"] = position_ids + self.first_position
        known, arithmetic = with_known_rows(rows_of(facts)), compute_in(self.compute_dtype, self.model)
        with known, arithmetic, self._states_only_at(positions):
            logits = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                **packed,
                **({"use_cache": False} if hasattr(self.model.config, "use_cache") else {}),
            ).logits[0]
        # The minimum of 1 below: a batch without predictions must not divide by zero.
        count = len(labels) if num_items_in_batch is None else num_items_in_batch
        summed = functional.cross_entropy(logits.float(), labels, reduction="sum")
        return {"loss": summed / torch.as_tensor(count, device=logits.device).clamp(min=1), "logits": logits}

    @contextmanager
    def _states_only_at(self, positions: torch.Tensor) -> Iterator[None]:
        """Make the backbone pass only these states to the vocabulary head; this works for every kind of head."""

        def pick(_module: nn.Module, _args: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state.flatten(0, 1)[positions][None]
            return output

        handle = self.model.base_model.register_forward_hook(pick)
        try:
            yield
        finally:
            handle.remove()


def load_language_model(
    name: str, backbone: Any, *, revision: str | None = None, trust_remote_code: bool = False
) -> Any:
    """Load the vocabulary head of `backbone` and return the language model with both.

    The head is loaded with a single layer, which is then replaced by `backbone`. It is tied to the embeddings of
    `backbone` if the model ties them. Encoders get the head for masked-token prediction.

    Args:
        name: the name `backbone` was loaded with.
        backbone: the output of `load_backbone`; its modules may contain LoRA layers, but PEFT must not wrap it.
        revision, trust_remote_code: as in `load_backbone`.

    Raises:
        ModelError: the weights do not contain a vocabulary head.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM

    config = load_config(name, revision=revision, trust_remote_code=trust_remote_code)
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    table = backbone.get_input_embeddings().weight
    with without_load_report():
        model, found = from_hub(
            AutoModelForMaskedLM if masked else AutoModelForCausalLM,
            name,
            config=cut_config(config, 1),
            dtype=table.dtype,
            use_safetensors=True,
            revision=revision,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    missing = sorted(key for key in found["missing_keys"] if not key.startswith(model.base_model_prefix))
    if missing:
        raise ModelError(
            f"model {name!r} does not contain a vocabulary head ({missing[0]} is missing in its weights), so it "
            "cannot be adapted to raw text. Name a language model, or leave out [adaptation]."
        )
    model.to(table.device)
    # Replace the single loaded layer by the whole backbone; the vocabulary head stays.
    setattr(model, model.base_model_prefix, backbone)
    model.config = backbone.config
    model.tie_weights()
    return model.eval()
