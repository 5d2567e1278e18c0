"""What the host knows of a batch, next to the tensors that go to the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What the host knows of a batch: asking the device for it would wait for all work queued there.

    Args:
        is_packed: whether a row holds several texts.
        is_padded: whether a row has padding.
        num_words: number of words of each text.
    """

    is_packed: bool
    is_padded: bool
    num_words: tuple[int, ...]


def place_inputs(inputs: Mapping[str, Any], device: "torch.device | str") -> dict[str, Any]:
    """Return the keyword arguments of a model with their tensors on `device`."""
    return {
        name: value if isinstance(value, BatchFacts) else value.to(device) for name, value in inputs.items()
    }
