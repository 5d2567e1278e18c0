"""A learned mix of the states of all layers."""

from collections.abc import Iterable

import torch
from torch import nn


class LayerMix(nn.Module):
    """A weighted mean of the states of all layers, times a learned scale; the softmax weights start equal.

    Each state is first layer-normalized without a learned gain, an option of the paper. In the residual stream of a
    decoder the last layers are about a hundred times larger than the first ones. A few dimensions and tokens also
    exceed the others by that factor. Without normalization one layer and a few dimensions would dominate the mean.

    Peters et al. 2018, "Deep contextualized word representations" (arXiv 1802.05365), section 3.2, equation 1.

    Args:
        num_states: number of layers, plus one for the embeddings.
    """

    def __init__(self, num_states: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_states))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, states: Iterable[torch.Tensor]) -> torch.Tensor:
        """Return the mix in fp32, (w, hidden).

        Args:
            states: word states after each layer, embeddings first, each of shape (w, hidden); taken one at a time.
        """
        mixed = sum(
            weight * _normalized(state) for weight, state in zip(self.weights.softmax(0), states, strict=True)
        )
        return self.scale * torch.as_tensor(mixed)


def _normalized(state: torch.Tensor) -> torch.Tensor:
    return nn.functional.layer_norm(state.float(), state.shape[-1:])
