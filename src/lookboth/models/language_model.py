"""A backbone with its vocabulary head: what training on raw text runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lookboth.errors import ModelError
from lookboth.masking import first_position
from lookboth.models.arithmetic import compute_in
from lookboth.models.loading import from_hub, load_config
from lookboth.models.shortening import cut_config
from lookboth.quiet import without_load_report


class LanguageModel(nn.Module):
    """A backbone with its vocabulary head; gives the loss of the tokens that are to be predicted.

    Logits exist at the predicting positions only, never at all positions of a batch.

    Args:
        model: from `load_language_model`.
        compute_dtype: arithmetic of backbone and head; the loss is always taken in fp32.
    """

    accepts_loss_kwargs = True  # tells transformers.Trainer to pass num_items_in_batch

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
    ) -> dict[str, torch.Tensor]:
        """Return {"loss": mean over predictions, "logits": (p, vocabulary)}.

        Args:
            input_ids, position_ids, attention_mask: as in PackedBatch.
            positions: flat index into b * t of each position that predicts, shape (p,).
            labels: the token to be predicted there, shape (p,).
            num_items_in_batch: predictions in all batches of one optimizer step; divides the summed loss then.
        """
        # Rows padded on the right count positions from 0 by themselves; only packed rows need telling.
        packed = {}
        if attention_mask is None and position_ids is not None:
            packed["position_ids"] = position_ids + self.first_position
        with compute_in(self.compute_dtype, self.model), self._states_only_at(positions):
            logits = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                **packed,
                **({"use_cache": False} if hasattr(self.model.config, "use_cache") else {}),
            ).logits[0]
        count = len(labels) if num_items_in_batch is None else num_items_in_batch
        summed = functional.cross_entropy(logits.float(), labels, reduction="sum")
        return {"loss": summed / torch.as_tensor(count, device=logits.device).clamp(min=1), "logits": logits}

    @contextmanager
    def _states_only_at(self, positions: torch.Tensor) -> Iterator[None]:
        """Let the backbone hand only these states to the vocabulary head, whatever that is made of."""

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
    """Return the language model around `backbone`: the same modules with the vocabulary head that fits them.

    The head is read together with one layer, which is put away again, and tied to the embeddings of `backbone`
    where the model ties them. Encoders get the head of masked-token prediction.

    Args:
        name: what `backbone` was loaded from.
        backbone: from `load_backbone`; its modules may hold LoRA layers, but it must not be wrapped.
        revision, trust_remote_code: as in `load_backbone`.

    Raises:
        ModelError: there is no vocabulary head with the weights.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    config = load_config(name, revision=revision, trust_remote_code=trust_remote_code)
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
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
            f"model {name!r}: has no vocabulary head ({missing[0]} is not among its weights), so it cannot be "
            "adapted to raw text. Name a language model, or leave out [adaptation]."
        )
    model.to(table.device)
    setattr(model, model.base_model_prefix, backbone)
    model.config = backbone.config
    model.tie_weights()
    return model.eval()
