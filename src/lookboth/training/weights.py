"""How much the words of each label count in the loss."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lookboth.config import TrainConfig
from lookboth.errors import ConfigError
from lookboth.models.heads import Head
from lookboth.types import TokenizedExample


def shape_loss(head: Head, config: TrainConfig, pieces: Iterable[TokenizedExample]) -> None:
    """Give a head the class weights and the label smoothing of a recipe.

    Args:
        head: of the labeler that is trained.
        config: the training section of a recipe.
        pieces: the training data, for class_weights = "balanced".

    Raises:
        ConfigError: a weight for a label that is not in the data, or a head that has no such loss.
    """
    labels = [_label(tag, head.scheme) for tag in head.tags]
    if config.class_weights == "none":
        weights = None
    elif config.class_weights == "balanced":
        tag_ids = (tag for piece in pieces for tag in piece.labels or () if isinstance(tag, int))
        weights = balanced_weights(labels, tag_ids)
    else:
        weights = named_weights(labels, config.class_weights)
    head.shape_loss(tag_weights=weights, label_smoothing=config.label_smoothing)


def balanced_weights(labels: Sequence[str], tag_ids: Iterable[int]) -> list[float]:
    """Return a weight for each tag with which the words of every label count alike in sum, and a word 1 on average.

    A label that does not occur weighs 1.

    Args:
        labels: the label of each tag, "O" for none.
        tag_ids: the tag of every word of the training data; those below 0 are not counted.

    >>> balanced_weights(["O", "PER", "PER"], [0, 0, 0, 0, 1, 2])
    [0.75, 1.5, 1.5]
    """
    counts = Counter(labels[tag] for tag in tag_ids if tag >= 0)
    fair = sum(counts.values()) / max(1, len(counts))
    return [fair / counts[label] if counts[label] else 1.0 for label in labels]


def named_weights(labels: Sequence[str], weights: Mapping[str, float]) -> list[float]:
    """Return a weight for each tag from a weight for some labels; the others weigh 1.

    Args:
        labels: the label of each tag, "O" for none.
        weights: by label.

    Raises:
        ConfigError: a label that no tag has.
    """
    unknown = sorted(set(weights) - set(labels))
    if unknown:
        raise ConfigError(
            f"training.class_weights: no label {unknown[0]!r} in the data; "
            f"allowed are {', '.join(dict.fromkeys(labels))}."
        )
    return [weights.get(label, 1.0) for label in labels]


def _label(tag: str, scheme: str) -> str:
    return tag if scheme == "plain" or tag == "O" else tag.partition("-")[2]
