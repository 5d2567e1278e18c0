"""The masks of one forward pass: the stock mask of the model, changed to the reach of each layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.utils.import_utils import is_tracing

from lookboth.errors import PlanError
from lookboth.masking.notation import Reach, kind_of
from lookboth.masking.packed_rows import known_rows, no_skip, stock_segments
from lookboth.masking.varlen import VARLEN, Texts, window

IndexFunction = Callable[[Any, Any, Any, Any], Any]
# Lower bound of a gate, so that its logarithm is finite.
LEAST_STRENGTH = 1e-6
# Not None, because None is a valid value: no packed texts.
_UNBOUND = object()


class LayerMasks:
    """The masks of one forward pass: one per distinct reach, built when a layer first needs it.

    The model passes this object on in place of the mask tensor. The attention function takes the mask of its layer.

    Args:
        backend: name of the stock backend, for example "sdpa".
        arguments: the keyword arguments with which transformers calls the backend's mask function.
    """

    def __init__(self, backend: str, arguments: dict[str, Any]) -> None:
        self.backend = backend
        # Read here: checkpointed layers run again after the forward pass has ended.
        self._known = known_rows()
        # Without padding the mask of it is not needed, and nothing has to look for padding.
        unpadded = self._known is not None and not self._known.is_padded
        self.arguments = arguments | ({"attention_mask": None} if unpadded else {})
        self._segments: Any = _UNBOUND
        self._is_encoder = False
        self._prompt: Tensor | None = None
        # A plan has few distinct reaches, so layers of the same reach share one mask.
        self._built: dict[Reach, Any] = {}
        self._texts: Texts | None = None
        # Masks of some rows only, by first row and end, for incremental passes.
        self.of_rows: dict[tuple[int, int], LayerMasks] = {}

    def bind(
        self, segments: Tensor | None, *, is_encoder: bool = False, prompt: Tensor | None = None
    ) -> None:
        """Set the packed texts and the prompt of this forward pass; later calls change nothing.

        Gradient checkpointing runs layers again after the pass has ended and must use the same segments.

        Args:
            segments: number of the text of each token, shape (B, T); None when no row holds two texts.
            is_encoder: whether the stock layers are bidirectional.
            prompt: tokens that may attend to the right, to each other only, shape (B, T); None when all may.

        Raises:
            PlanError: the stock mask is causal in an encoder, or bidirectional in a decoder.
        """
        if self._segments is _UNBOUND:
            self._segments = segments
            self._is_encoder = is_encoder
            self._prompt = prompt
            self._check_kind()

    @property
    def is_packed(self) -> bool:
        """Whether a row may hold several texts, or the stock model adds its own mask pattern."""
        return self._segments is not None or self._is_special

    @property
    def _is_special(self) -> bool:
        """Whether the stock model adds its own mask pattern, so that transformers requires an explicit mask."""
        skip = "allow_is_bidirectional_skip" if self._is_encoder else "allow_is_causal_skip"
        return not self.arguments.get(skip, True)

    def for_reach(self, reach: Reach) -> Any:
        """Return the backend's mask for layers of this reach; None when no mask is needed."""
        if reach not in self._built:
            self._built[reach] = self._build(reach)
        return self._built[reach]

    def with_strength(self, reach: Reach, strength: Tensor) -> Tensor:
        """Return eager attention's mask for this reach, with log `strength` added to the right of each token.

        Args:
            reach: reach of the layer.
            strength: a scalar in [0, 1]; it receives gradients.
        """
        # Where the wide mask exceeds the causal one, the layer attends to the right.
        narrow = self.for_reach(0)
        wide = self.for_reach(reach)
        wide = torch.zeros_like(narrow) if wide is None else wide
        return torch.where(wide > narrow, strength.clamp(min=LEAST_STRENGTH).log().to(wide), wide)

    def _build(self, reach: Reach) -> Any:
        if self.backend == VARLEN:
            return self._build_window(reach)
        stock_mask: Any = ALL_MASK_ATTENTION_FUNCTIONS[self.backend]
        # The stock mask itself, so that a plan of zeros computes exactly what the stock model computes.
        if reach == (None if self._is_encoder else 0) and self._segments is None:
            return stock_mask(**self.arguments | no_skip(self._known, self.arguments))
        self._check_no_past(reach)
        # Flash attention gets the reach through `is_causal` and packed texts through position ids, not by a mask.
        if "flash" in self.backend:
            self._check_flash(reach)
            return stock_mask(**self.arguments)
        if reach is None and self._is_unmasked():
            return None
        changed = {
            "mask_function": self._allowed(reach),
            # Padding is part of the index function, which lets each token attend to itself: no row is empty.
            "attention_mask": None,
            # Otherwise transformers may drop the mask because it assumes that it is causal or empty.
            "allow_is_causal_skip": False,
            "allow_is_bidirectional_skip": False,
        }
        return stock_mask(**{**self.arguments, **changed})

    def _build_window(self, reach: Reach) -> Any:
        self._check_no_past(reach)
        if (self._segments is None and self._is_special) or self._prompt is not None:
            what = "a plan of the prompt alone" if self._prompt is not None else "this model's own mask"
            raise PlanError(f"varlen cannot express {what}. Load the model with attn_implementation='sdpa'.")
        # Texts.find waits for the GPU, so it runs once per forward pass for all reaches.
        if self._texts is None:
            given = self.arguments
            size, length, padding = given["batch_size"], given["q_length"], given.get("attention_mask")
            self._texts = Texts.find(size, length, padding, self._segments, given["device"])
        return window(self.arguments, self._texts, reach, is_encoder=self._is_encoder)

    def _allowed(self, reach: Reach) -> IndexFunction:
        """Return the index function of a layer of this reach, packing and padding included.

        Each token may attend to itself. Otherwise the softmax of a padding token is NaN in some backends.
        """
        bordered = self._narrowed(reach) if self._is_encoder else self._widened(reach)
        padding, packed = self.arguments.get("attention_mask"), self._segments

        def may_attend(b: Any, h: Any, q: Any, kv: Any) -> Any:
            allowed = bordered(b, h, q, kv)
            if packed is not None:
                allowed = allowed & (packed[b, q] == packed[b, kv])
            if padding is not None:
                allowed = allowed & padding[b, kv]
            return allowed | (q == kv)

        return may_attend

    def _narrowed(self, reach: Reach) -> IndexFunction:
        """Return an encoder's stock index function, limited to `reach` tokens to the right."""
        stock: IndexFunction = self.arguments["mask_function"]
        if reach is None:
            return stock
        return lambda b, h, q, kv: stock(b, h, q, kv) & (kv - q <= reach)

    def _widened(self, reach: Reach) -> IndexFunction:
        """Return a decoder's stock index function, extended by `reach` tokens to the right.

        All pairs that the stock function allows stay allowed, so windows, chunks and packing keep their left border.
        """
        stock: IndexFunction = self.arguments["mask_function"]
        if reach == 0:
            return stock
        # All keys have a segment, also where the queries are only the last rows of a text (`incremental.RowMasks`).
        every_key = {**self.arguments, "q_length": self.arguments["kv_length"]}
        segments, prompt = stock_segments(every_key), self._prompt

        def widened(b: Any, h: Any, q: Any, kv: Any) -> Any:
            right = (kv > q) & (segments[b, q] == segments[b, kv])
            if prompt is not None:
                right = right & prompt[b, q] & prompt[b, kv]
            return stock(b, h, q, kv) | (right if reach is None else right & (kv - q <= reach))

        return widened

    def _check_kind(self) -> None:
        """Refuse a stock mask that became causal or bidirectional after the plan was applied."""
        if not self._is_encoder and "allow_is_bidirectional_skip" in self.arguments:
            raise PlanError(
                "This model requested a bidirectional mask (config.is_causal=False), but a plan changes a causal mask. "
                "Set model.config.is_causal = True or call remove_plan(model)."
            )
        # For a text of one token the two kinds of mask are equal.
        if not self._is_encoder or self.arguments["q_length"] == 1:
            return
        # On the CPU: reading the answer from a GPU would wait for it.
        zero = torch.zeros((), dtype=torch.long)
        attends_right = self.arguments["mask_function"](zero, zero, zero, zero + 1)
        if not is_tracing(attends_right) and not bool(attends_right):
            raise PlanError(
                "The layers of this model are bidirectional but it requested a causal mask. Either its configuration "
                "was changed after loading: set it back (is_decoder, is_causal) and call apply_plan(model, ...). Or "
                "the model masks each batch differently (PaliGemma), and a plan cannot be applied to it."
            )

    def _is_unmasked(self) -> bool:
        """Whether an unlimited layer needs no mask: no padding, no packing, a window wider than the text.

        Eager attention of a decoder always gets a mask, because some models add it without a check
        (ModernBERT-decoder).
        """
        if self.backend == "eager" and not self._is_encoder:
            return False
        padding, local = self.arguments.get("attention_mask"), self.arguments.get("local_size")
        if (
            self.is_packed
            or self._prompt is not None
            or (local is not None and self.arguments["kv_length"] >= local)
        ):
            return False
        if self._known is not None:
            return not self._known.is_padded
        # While tracing, the values of the mask are unknown, and the graph must be valid for any padding.
        return padding is None or (not is_tracing(padding) and bool(padding.all()))

    def _check_no_past(self, reach: Reach) -> None:
        offset = self.arguments.get("q_offset", 0)
        if (
            isinstance(offset, int)
            and offset == 0
            and self.arguments["q_length"] == self.arguments["kv_length"]
        ):
            return
        raise PlanError(
            f"A {kind_of(reach)} layer got {self.arguments['q_length']} new tokens and "
            f"{self.arguments['kv_length']} keys: a plan that attends to the right cannot use a key-value cache, "
            "and the mask must be as long as the text. Pass use_cache=False and the whole text, or "
            "call remove_plan(model) to generate."
        )

    def _check_flash(self, reach: Reach) -> None:
        """Refuse masks that flash attention cannot express; it supports causal, full, and one packed row."""
        local, padding = self.arguments.get("local_size"), self.arguments.get("attention_mask")
        if reach is not None and reach > 0:
            what = f"look-ahead of {reach} tokens"
        elif (
            reach is None
            and not self._is_encoder
            and local is not None
            and self.arguments["kv_length"] > local
        ):
            what = f"unlimited reach past a sliding window of {local} tokens"
        elif self._segments is not None and (self.arguments["batch_size"] > 1 or padding is not None):
            what = "packed rows in a batch or with an attention_mask"
        elif self._prompt is not None and reach != 0:
            what = "a plan of the prompt alone"
        else:
            return
        raise PlanError(
            f"{self.backend} cannot express {what}. Load the model with attn_implementation='sdpa' or "
            "'flex_attention'."
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the mask tensor that this object replaces: (batch, 1, queries, keys)."""
        given = self.arguments
        return given["batch_size"], 1, given["q_length"], given["kv_length"]

    @property
    def ndim(self) -> int:
        """Number of dimensions of that tensor."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> "LayerMasks":
        """Return these masks for a slice that keeps everything (Gemma 4 takes `[-0:]`, which is all queries)."""
        parts = key if isinstance(key, tuple) else (key,)
        whole = len(parts) <= self.ndim and all(
            isinstance(part, slice) and part.indices(size) == (0, size, 1)
            for part, size in zip(parts, self.shape, strict=False)
        )
        if whole:
            return self
        raise _used("slices its attention mask")

    # A model that uses the mask as a tensor must fail with a PlanError instead of computing with a wrong mask.
    def __getattr__(self, name: str) -> Any:
        if hasattr(torch.Tensor, name) and not name.startswith("__"):
            raise _used(f"reads its attention mask (.{name})")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __invert__(self) -> Any:
        raise _used("reads its attention mask (~)")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise _used(f"computes with its attention mask ({getattr(function, '__name__', function)})")


def _used(what: str) -> PlanError:
    return PlanError(
        f"This model {what} itself instead of passing it to transformers' AttentionInterface unchanged, so a mask "
        "plan cannot be applied to every layer. Call remove_plan(model), or use another model."
    )
