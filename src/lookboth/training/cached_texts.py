"""The texts of a batch with their keys in the cache of frozen states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lookboth.masking import Reach, find_segments

# Reach of the frozen layers, and the tokens of a text.
Key = tuple[tuple[Reach, ...], bytes]


@dataclass(frozen=True, slots=True)
class CachedTexts:
    """The texts of one batch.

    Args:
        attended: shape (b, t), True at tokens; on the CPU, like the whole cache.
        lengths: number of tokens of each text, row by row.
        keys: cache key of each text.
    """

    attended: Tensor
    lengths: list[int]
    keys: Sequence[Key]

    @classmethod
    def of(cls, inputs: Mapping[str, Any], reach: tuple[Reach, ...]) -> "CachedTexts":
        """Return the texts in the keyword arguments of a backbone: padded rows, or packed rows without a mask."""
        ids, mask = inputs["input_ids"].cpu(), inputs.get("attention_mask")
        attended = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool().cpu()
        numbers = torch.arange(len(ids))[:, None].expand_as(ids)
        segments = find_segments(inputs.get("position_ids"), None) if mask is None else None
        if segments is not None:
            numbers = numbers * ids.shape[1] + segments.cpu()
        lengths = torch.unique_consecutive(numbers[attended], return_counts=True)[1].tolist()
        # Bytes of the token ids are smaller and hash faster than tuples of integers.
        keys = [(reach, part.numpy().tobytes()) for part in ids[attended].split(lengths)]
        return cls(attended, lengths, keys)

    def lay_out(self, states: Sequence[Tensor]) -> Tensor:
        """Arrange the states of each text, (length, hidden), as in the batch, (b, t, hidden)."""
        flat = torch.cat(list(states))
        given = flat.new_zeros(*self.attended.shape, flat.shape[-1])
        given[self.attended] = flat
        return given
