"""torch's own variable-length attention as the backend "varlen": no padding is computed, a reach is a window.

`torch.nn.attention.varlen` takes texts end to end, with their borders, and how far each token sees to the left and to
the right. That is what a packed row and a layer's reach are, so that any plan of causal, bidirectional and look-ahead
layers runs at the speed of flash attention, without a package that has to be compiled. It needs a CUDA GPU.
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
    """Where the texts of a batch lie once padding is left out.

    Args:
        borders: shape (n + 1,), int32; text i is borders[i] to borders[i + 1].
        longest: tokens of the longest text.
        places: index into the flattened (B * T) rows of each token; None where every place holds one.
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
        """Return the texts of rows of shape (B, T).

        Args:
            size, length: B and T.
            padding: shape (B, T), True where a token is; None when all are.
            segments: number of the text each token belongs to, shape (B, T) or (1, T); None for one a row.
            device: of all of these, and of what is returned.

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
class Window:
    """The mask of a layer.

    Args:
        texts: of the batch, shared by all layers.
        left, right: how many tokens it sees on either side; -1 for all.
    """

    texts: Texts
    left: int
    right: int


def window(arguments: dict[str, Any], texts: Texts, reach: Reach, *, is_encoder: bool) -> Window:
    """Return the mask of layers of this reach.

    Args:
        arguments: what transformers gives a mask function.
        texts: of the batch.
        reach: how far right the layer may look.
        is_encoder: whether the stock layer looks both ways.

    Raises:
        PlanError: a stock mask that is neither causal nor a sliding window.
    """
    local, left = arguments.get("local_size"), -1
    if local is not None and arguments["kv_length"] > local:
        zero = torch.zeros((), dtype=torch.long, device=arguments["device"])
        slides = not is_encoder and bool(
            arguments["mask_function"](zero, zero, zero + local, zero + local - 1)
        )
        if not slides:
            raise PlanError(
                f"varlen cannot express chunks, or an encoder's window, of {local} tokens. {_INSTEAD}"
            )
        left = local - 1
    return Window(texts, left, -1 if reach is None else reach)


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
    """Return what the heads see, (B, T, H, D), from query (B, H, T, D), key and value (B, G, T, D) and a Window.

    Raises:
        PlanError: no plan is in force, or the model wants what torch's kernel does not have.
    """
    if not isinstance(attention_mask, Window):
        raise PlanError(
            "attn_implementation='varlen' works under a plan only. Call apply_plan(model, 'causal')."
        )
    asked = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    asked += ["attention dropout"] if dropout else []
    if asked:
        raise PlanError(
            f"{type(module).__name__} wants {', '.join(asked)}, which varlen does not have. {_INSTEAD}"
        )
    texts, (size, heads, length, _) = attention_mask.texts, query.shape
    flat = [
        states.transpose(1, 2).reshape(size * length, -1, states.shape[-1])
        for states in _as_autocast(query, key, value)
    ]
    if texts.places is not None:
        flat = [states[texts.places] for states in flat]
    borders = texts.borders.to(query.device)
    seen = _kernel(flat[0])(
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
        whole = seen.new_zeros(size * length, heads, seen.shape[-1])
        seen = whole.index_copy(0, texts.places, seen)
    return seen.reshape(size, length, heads, -1), None


def _as_autocast(*states: Tensor) -> list[Tensor]:
    """Return states in the width of autocast where it is on: it does not know this kernel and may leave them mixed."""
    kind = states[0].device.type
    if not torch.is_autocast_enabled(kind):
        return list(states)
    return [tensor.to(torch.get_autocast_dtype(kind)) for tensor in states]


def _kernel(query: Tensor) -> Any:
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        raise PlanError(
            f"varlen attention runs on CUDA GPUs in bf16 or fp16; here are {query.dtype} states on "
            f"{query.device.type}. {_INSTEAD}"
        )
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


def _stock_mask(**arguments: Any) -> Window:
    """Return the mask of all layers of a model without a plan."""
    size, length, padding = arguments["batch_size"], arguments["q_length"], arguments.get("attention_mask")
    zero = torch.zeros((), dtype=torch.long, device=arguments["device"])
    sees_right = length > 1 and bool(arguments["mask_function"](zero, zero, zero, zero + 1))
    texts = Texts.find(size, length, padding, stock_segments(arguments), arguments["device"])
    return window(arguments, texts, None if sees_right else 0, is_encoder=sees_right)


AttentionInterface.register(VARLEN, varlen_attention)
AttentionMaskInterface.register(VARLEN, _stock_mask)
