"""torch's own variable-length attention as the backend "varlen": no padding is computed, a reach is a window.

`torch.nn.attention.varlen` takes concatenated texts, their borders, and a window to the left and to the right. A
packed row and a layer's reach map onto this directly. Any plan of causal, bidirectional and look-ahead layers thus
runs at the speed of flash attention, without a package that has to be compiled. It needs a CUDA GPU.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from lookboth.errors import PlanError
from lookboth.masking.notation import Reach
from lookboth.masking.packed_rows import stock_segments

VARLEN = "varlen"
_INSTEAD = "Load the model with attn_implementation='sdpa' or 'flex_attention'."


@dataclass(frozen=True, slots=True)
class Texts:
    """The borders of the texts of a batch after padding is removed.

    Args:
        borders: shape (n + 1,), int32; text i is borders[i] to borders[i + 1].
        longest: tokens of the longest text.
        places: index of each token in the flattened (B * T) rows; None without padding.
    """

    borders: Tensor
    longest: int
    places: Tensor | None

    @classmethod
    def find(
        cls,
        size: int,
        length: int,
        padding: Tensor | None,
        segments: Tensor | None,
        device: torch.device | str,
    ) -> "Texts":
        """Find the texts of rows of shape (B, T).

        Args:
            size, length: B and T.
            padding: shape (B, T), True for tokens; None without padding.
            segments: number of the text each token belongs to, shape (B, T) or (1, T); None: one text per row.
            device: device of the inputs and of the result.

        >>> texts = Texts.find(2, 3, torch.tensor([[1, 1, 0], [1, 1, 1]]).bool(), None, "cpu")
        >>> texts.borders.tolist(), texts.longest, texts.places.tolist()
        ([0, 2, 5], 3, [0, 1, 3, 4, 5])
        """
        if padding is None and segments is None:
            borders = torch.arange(size + 1, dtype=torch.int32, device=device) * length
            return cls(borders, length, None)
        rows = torch.arange(size, device=device)[:, None] * length
        numbers = (rows if segments is None else rows + segments).expand(size, length).reshape(-1)
        places = None
        if padding is not None and not bool(padding.all()):
            places = padding.reshape(-1).nonzero().squeeze(1)
            numbers = numbers[places]
        counts = torch.unique_consecutive(numbers, return_counts=True)[1]
        borders = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
        return cls(borders, int(counts.max()) if len(counts) else 0, places)


@dataclass(frozen=True, slots=True)
class LayerWindow:
    """The mask of a layer as a window per text.

    Args:
        texts: the texts of the batch, shared by all layers.
        left, right: tokens it may attend to on either side; -1 for all.
    """

    texts: Texts
    left: int
    right: int


def window(arguments: dict[str, Any], texts: Texts, reach: Reach, *, is_encoder: bool) -> LayerWindow:
    """Return the mask of layers of this reach.

    Args:
        arguments: the keyword arguments transformers passes to a mask function.
        texts: the texts of the batch.
        reach: tokens to the right the layer may attend to.
        is_encoder: whether the stock layer is bidirectional.

    Raises:
        PlanError: a stock mask that is neither causal nor a sliding window.
    """
    local, left = arguments.get("local_size"), -1
    if local is not None and arguments["kv_length"] > local:
        zero = torch.zeros((), dtype=torch.long, device=arguments["device"])
        # Token number `local` attends to its left neighbour in a sliding window, but not in chunks of that length.
        slides = not is_encoder and bool(
            arguments["mask_function"](zero, zero, zero + local, zero + local - 1)
        )
        if not slides:
            raise PlanError(
                f"varlen cannot express chunks, or an encoder's window, of {local} tokens. {_INSTEAD}"
            )
        left = local - 1
    return LayerWindow(texts, left, -1 if reach is None else reach)


def varlen_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention output (B, T, H, D) of query (B, H, T, D), key and value (B, G, T, D) under a LayerWindow.

    Raises:
        PlanError: no plan is active, or the model needs a feature that torch's kernel does not have.
    """
    if not isinstance(attention_mask, LayerWindow):
        raise PlanError(
            "attn_implementation='varlen' works under a plan only. Call apply_plan(model, 'causal')."
        )
    _require_supported(module, dropout, kwargs)
    texts, (size, heads, length, _) = attention_mask.texts, query.shape
    # The kernel takes all tokens of the batch in one dimension: (tokens, heads, head size).
    flat = [
        states.transpose(1, 2).reshape(size * length, -1, states.shape[-1])
        for states in _as_autocast(query, key, value)
    ]
    if texts.places is not None:
        flat = [states[texts.places] for states in flat]
    borders = texts.borders.to(query.device)
    output = _kernel(flat[0])(
        *flat,
        borders,
        borders,
        texts.longest,
        texts.longest,
        scale=scaling,
        window_size=(attention_mask.left, attention_mask.right),
        enable_gqa=key.shape[1] != heads,
    )
    if texts.places is not None:
        padded = output.new_zeros(size * length, heads, output.shape[-1])
        output = padded.index_copy(0, texts.places, output)
    return output.reshape(size, length, heads, -1), None


def _require_supported(module: Any, dropout: float, arguments: dict[str, Any]) -> None:
    """Raise PlanError if the model needs a feature that torch's kernel does not have."""
    # Caps on scores (Gemma 2), attention sinks (GPT-OSS) and biases by position.
    asked = [name for name in ("softcap", "s_aux", "position_bias") if arguments.get(name) is not None]
    asked += ["attention dropout"] if dropout else []
    if asked:
        raise PlanError(
            f"{type(module).__name__} needs {', '.join(asked)}, which varlen does not support. {_INSTEAD}"
        )


def _as_autocast(*states: Tensor) -> list[Tensor]:
    """Return states in the dtype of autocast where it is on.

    Autocast does not know this kernel, so query, key and value may arrive in different dtypes.
    """
    kind = states[0].device.type
    if not torch.is_autocast_enabled(kind):
        return list(states)
    return [tensor.to(torch.get_autocast_dtype(kind)) for tensor in states]


def _kernel(query: Tensor) -> Any:
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        raise PlanError(
            f"varlen attention runs on CUDA GPUs in bf16 or fp16; found {query.dtype} states on "
            f"{query.device.type}. {_INSTEAD}"
        )
    # Imported late, because only this backend needs it.
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


def _stock_mask(**arguments: Any) -> LayerWindow:
    """Return the mask of all layers of a model without a plan."""
    size, length, padding = arguments["batch_size"], arguments["q_length"], arguments.get("attention_mask")
    zero = torch.zeros((), dtype=torch.long, device=arguments["device"])
    attends_right = length > 1 and bool(arguments["mask_function"](zero, zero, zero, zero + 1))
    texts = Texts.find(size, length, padding, stock_segments(arguments), arguments["device"])
    return window(arguments, texts, None if attends_right else 0, is_encoder=attends_right)


AttentionInterface.register(VARLEN, varlen_attention)
AttentionMaskInterface.register(VARLEN, _stock_mask)
