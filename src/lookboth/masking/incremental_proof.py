"""Compares incremental passes of a model with one pass over the whole text."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lookboth.errors import PlanError, first_line
from lookboth.masking.incremental import IncrementalPass, not_incremental
from lookboth.masking.probe import Probe

LONGEST = 48  # tokens of a proof
# Largest difference of a state from that of one pass, relative to its norm. Sums in another order differ by 1e-5 in
# fp32 and 1e-2 in bf16; a wrong mask or position changes some states by more than a tenth.
TOLERANCE = {torch.float32: 1e-3}
TOLERANCE_IN_HALVES = 0.05


def prove_incremental(
    backbone: nn.Module, *, dtype: torch.dtype = torch.float32, seed: int = 0, length: int = 24
) -> None:
    """Compare incremental passes over random tokens with one pass over all of them.

    Args:
        backbone: a decoder under a plan, in evaluation mode.
        dtype: dtype of the arithmetic, which decides the tolerance.
        seed: seed of the token ids.
        length: minimum number of tokens; more are used, up to 48, if a sliding window is longer.

    Raises:
        PlanError: this model cannot be run incrementally, or its states differ.
    """
    probe = Probe(backbone, seed)
    ids = probe.tokens(1, max(length, min(LONGEST, (probe.window or 0) + 4)))
    name = type(probe.stack.backbone).__name__
    with torch.inference_mode():
        whole = backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
    try:
        found = torch.cat(list(_in_pieces(IncrementalPass(backbone), ids[0].tolist())))
        far = float(((found - whole).norm(dim=-1) / whole.norm(dim=-1)).max())
    except PlanError:
        raise
    # Model code raises anything when it gets other rows than it expects.
    except Exception as error:
        raise not_incremental(name, f"{type(error).__name__}: {first_line(error)}") from error
    if not far <= TOLERANCE.get(dtype, TOLERANCE_IN_HALVES):
        raise not_incremental(
            name, f"its states differ by {far:.2g} of their size from those of the whole text"
        )


def _in_pieces(text: IncrementalPass, ids: Sequence[int]) -> Iterator[Tensor]:
    """Yield the states of a text whose tokens arrive alone, in small groups and in one large group."""
    start = 0
    for end in (1, 2, 5, 6, 9, len(ids)):
        yield text.push(ids[start:end])
        start = end
    yield text.close()
