"""One forward pass over three tokens, to find the width and number of a model's states and its text modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lookboth.data import BatchFacts
from lookboth.errors import ModelError
from lookboth.masking import KnownRows
from lookboth.models.arithmetic import compute_in
from lookboth.models.untrusted import as_model_error

# Tokens of the text.
TEXT_TOKENS = 3


@torch.no_grad()
def pass_over_text(
    backbone: Any, *, dtype: torch.dtype | None = None, last: int = 0, rows: int = 1, **wanted: bool
) -> Any:
    """Run `backbone` on `TEXT_TOKENS` tokens and return its output.

    Args:
        backbone: a Hugging Face model without vocabulary head.
        dtype: dtype of the arithmetic, as in training; None: the dtype of the weights.
        last: 0 or 1, which of two tokens ends the text.
        rows: number of rows, all with the same tokens.
        wanted: further arguments of its forward pass, such as output_hidden_states=True.

    Raises:
        ModelError: the model does not run on token ids alone, or does not return the states of its last layer.
    """
    table = backbone.get_input_embeddings().weight
    # Encoders do not have this argument.
    cache = {"use_cache": False} if hasattr(backbone.config, "use_cache") else {}
    was_training = backbone.training
    backbone.eval()
    name = type(backbone).__name__
    with as_model_error(f"{name} cannot be run on text"), compute_in(dtype or table.dtype, backbone):
        output = backbone(
            input_ids=_plain_tokens(backbone.config, table, last).repeat(rows, 1), **cache, **wanted
        )
    backbone.train(was_training)
    if getattr(output, "last_hidden_state", None) is None:
        raise ModelError(
            f"{name} does not return the states of its last layer (last_hidden_state), which a labeler needs. "
            "Name the text model inside it, or another model."
        )
    return output


def modules_that_read_text(backbone: nn.Module) -> set[str]:
    """Return the full names of the modules that a forward pass over text calls; image towers are not called."""
    with _calls(backbone) as called:
        pass_over_text(backbone)
    return called


def rows_of(facts: BatchFacts | None) -> KnownRows | None:
    """Return the facts of a batch about its rows, for the masks; None without facts."""
    return None if facts is None else KnownRows(facts.is_packed, facts.is_padded)


def layer_states(output: Any) -> list[Tensor]:
    """Return the states after each layer, embeddings first, each of shape (b, t, hidden).

    A layer with several residual streams (Gemma 3n, hyper-connections) contributes one state per stream.

    Args:
        output: output of a backbone that was called with output_hidden_states=True.
    """
    last = output.last_hidden_state
    return [
        stream for state in (*output.hidden_states[:-1], last) for stream in _streams(state, last.shape[:2])
    ]


def _streams(state: Tensor, rows_and_tokens: torch.Size) -> tuple[Tensor, ...]:
    if state.dim() == 3:
        return (state,)
    # Families stack their streams either before the batch or before the hidden dimension.
    return state.unbind(0) if state.shape[1:3] == rows_and_tokens else state.unbind(2)


@contextmanager
def _calls(backbone: nn.Module) -> Iterator[set[str]]:
    called: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: called.add(name))
        for name, module in backbone.named_modules()
    ]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def _plain_tokens(config: Any, table: Tensor, last: int) -> Tensor:
    """Return three ids, shape (1, 3), that are not special tokens, padding or image placeholders."""
    known = {**vars(config), **vars(config.get_text_config())}
    special = {value for key, value in known.items() if key.endswith(("token_id", "token_index"))}
    plain = [token for token in range(min(len(table), 1000)) if token not in special]
    return torch.tensor([[*plain[-4:-2], plain[-1 - last]]], device=table.device)
