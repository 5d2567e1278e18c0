"""Position numbers of a model: where a text starts to count, and how many positions there are."""

from typing import Any

from torch import nn

_TABLES = ("position_embeddings", "embed_positions", "wpe")


def first_position(model: nn.Module) -> int:
    """Return the position of a text's first token: 0, but padding index + 1 in the RoBERTa family and MPNet."""
    table = _table(model)
    padding_idx = getattr(table, "padding_idx", None)
    return 0 if padding_idx is None else padding_idx + 1


def max_positions(model: nn.Module) -> int | None:
    """Return the most tokens a text may have, None for a model without a learned table of positions."""
    table = _table(model)
    if table is None:
        return None
    return int(table.num_embeddings - first_position(model) - getattr(table, "offset", 0))


def steady_positions(config: Any) -> int | None:
    """Return the most tokens a text may have before its labels depend on the texts beside it; None: any number.

    Dynamic NTK and LongRoPE turn positions by frequencies that depend on the longest text of a batch, once that is
    longer than the texts the model was first trained on.

    Args:
        config: of a text model.
    """
    found = getattr(config, "rope_parameters", None) or {}
    limits = []
    for rope in [found, *(part for part in found.values() if isinstance(part, dict))]:
        if "dynamic" in str(rope.get("rope_type")):
            limits.append(config.max_position_embeddings)
        elif rope.get("rope_type") == "longrope":
            limits.append(rope.get("original_max_position_embeddings") or config.max_position_embeddings)
    return min(limits, default=None)


def _table(model: nn.Module) -> Any:
    """Return the embedding of absolute positions, None where positions are rotary or relative."""
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in _TABLES and isinstance(module, nn.Embedding):
            return module
    return None
