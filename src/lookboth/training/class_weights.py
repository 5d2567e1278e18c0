"""Class weights in the loss."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lookboth.config import TrainConfig
from lookboth.data import label_of
from lookboth.errors import ConfigError
from lookboth.models.heads import Head
from lookboth.types import TokenizedExample


def shape_loss(head: Head, config: TrainConfig, pieces: Iterable[TokenizedExample]) -> None:
    """Set the class weights and the label smoothing of a recipe in a head.

    Args:
        head: head of the labeler in training.
        config: the training section of a recipe.
        pieces: the training data, for class_weights = "balanced".

    Raises:
        ConfigError: a weight for a label that is not in the data, or a head that does not support it.
    """
    labels = [label_of(tag, head.scheme) for tag in head.tags]
    if config.class_weights == "none":
        weights = None
    elif config.class_weights == "balanced":
        tag_ids = (tag for piece in pieces for tag in piece.labels or () if isinstance(tag, int))
        weights = balanced_weights(labels, tag_ids)
    else:
        weights = named_weights(labels, config.class_weights)
    head.shape_loss(tag_weights=weights, label_smoothing=config.label_smoothing)


def balanced_weights(labels: Sequence[str], tag_ids: Iterable[int]) -> list[float]:
    """Return a weight per tag such that every label has the same total weight and a word weighs 1 on average.

    Labels that do not occur weigh 1.

    Args:
        labels: the label of each tag, "O" for none.
        tag_ids: tag of every word of the training data; negative ids are ignored.

    >>> balanced_weights(["O", "PER", "PER"], [0, 0, 0, 0, 1, 2])
    [0.75, 1.5, 1.5]
    """
    counts = Counter(labels[tag] for tag in tag_ids if tag >= 0)
    # Total weight of each label if all labels share the words equally.
    fair = sum(counts.values()) / max(1, len(counts))
    return [fair / counts[label] if counts[label] else 1.0 for label in labels]


def named_weights(labels: Sequence[str], weights: Mapping[str, float]) -> list[float]:
    """Return a weight per tag from weights of some labels; the others weigh 1.

    Args:
        labels: the label of each tag, "O" for none.
        weights: weight by label.

    Raises:
        ConfigError: no tag has this label.
    """
    unknown = sorted(set(weights) - set(labels))
    if unknown:
        raise ConfigError(
            f"training.class_weights: no label {unknown[0]!r} in the data; "
            f"allowed are {', '.join(dict.fromkeys(labels))}."
        )
    return [weights.get(label, 1.0) for label in labels]
