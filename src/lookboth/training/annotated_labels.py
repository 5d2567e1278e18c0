"""Data sets that annotate different labels: the label set of each text, and the tags that its other words may have.

A word that a source leaves without label has either no label or one that the source does not annotate.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lookboth.config import RunConfig
from lookboth.data import OUTSIDE, describe_labels, label_of, split_name
from lookboth.errors import ConfigError, DataError
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)

BySource = Mapping[str, Sequence[Example]]


def add_label_sets(parts: Sequence[BySource], config: RunConfig) -> Sequence[BySource]:
    """Return the data with the labels that each source annotates as the label set of its examples.

    Without data.annotated only labels named in prediction have label sets: the labels that occur in the data of each
    source.

    Args:
        parts: examples by source, of each split.
        config: the recipe.

    Raises:
        ConfigError: data.annotated does not name each source.
        DataError: a source has a label that it does not annotate according to data.annotated.
    """
    if not config.data.annotated and not config.names_labels:
        return parts
    # All splits of a source have the same label set.
    found: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        for source, examples in part.items():
            found[split_name(source)[0]].update(label for example in examples for label in example.labels())
    _require_named(list(found), config)
    sets = {name: _label_set(name, labels, config) for name, labels in found.items()}
    return [
        {
            source: [replace(example, label_set=sets[split_name(source)[0]]) for example in examples]
            for source, examples in part.items()
        }
        for part in parts
    ]


def open_tag_ids(config: RunConfig, num_tags: int) -> dict[tuple[str, ...], int]:
    """Return, by label set, the tag id of words without label in the texts of this set.

    These ids follow the ids of the tags. `possible_tags` has the tags that each of them stands for.

    Args:
        config: the recipe.
        num_tags: number of tags of the head.
    """
    # An open head scores only the label set of a text, and multi-label and nested heads score each label alone.
    if config.head.kind in {"open", "multi_label", "nested"}:
        return {}
    sets = [_sorted(labels) for labels in config.data.annotated.values() if labels != "all"]
    return {labels: num_tags + number for number, labels in enumerate(dict.fromkeys(sets))}


def possible_tags(config: RunConfig, tags: Sequence[str]) -> list[list[bool]]:
    """Return which tags each id of `open_tag_ids` stands for: O, and the tags of labels outside its label set.

    Args:
        config: the recipe.
        tags: the tag of each output of the head.
    """
    labels = [label_of(tag, config.scheme) for tag in tags]
    return [
        [label == OUTSIDE or label not in known for label in labels]
        for known in open_tag_ids(config, len(tags))
    ]


def warn_of_unscored(train: Sequence[Example], dev: Sequence[Example]) -> None:
    """Warn of labels that are trained and that no dev data annotate, so that they do not count in the dev score."""
    if not train or not all(example.label_set for example in dev):
        return
    scored = {label for example in dev for label in example.label_set}
    trained = {label for example in train for label in (*example.label_set, *example.labels())}
    if unscored := sorted(trained - scored):
        LOGGER.warning(
            f"No dev data annotate {', '.join(unscored)}: the dev score, which chooses the epoch, ignores them. Name "
            "more sources in data.dev."
        )


def _require_named(names: Sequence[str], config: RunConfig) -> None:
    """Refuse a recipe with data.annotated that does not name every source, or names another one."""
    annotated = [split_name(source)[0] for source in config.data.annotated]
    # A source that is forgotten would count as annotated with all labels, in training and in scores.
    if annotated and (missing := [name for name in names if name not in annotated]):
        raise ConfigError(
            f"data.annotated does not name the source {missing[0]!r}. Set data.annotated.{missing[0]!r} to the list of "
            "the labels that it annotates, or to 'all'."
        )
    if unknown := [name for name in annotated if name not in names]:
        raise ConfigError(
            f"data.annotated names {unknown[0]!r}, which is not a source of this recipe ({', '.join(names)})."
        )


def _label_set(name: str, found: set[str], config: RunConfig) -> tuple[str, ...]:
    """Return the label set of a source: with descriptions for labels named in prediction, else empty for all labels."""
    by_name = {split_name(source)[0]: labels for source, labels in config.data.annotated.items()}
    annotated, is_open = by_name.get(name, "all"), config.names_labels
    if annotated == "all":
        return describe_labels(name, sorted(found), config.labels) if is_open else ()
    if others := sorted(found - set(annotated)):
        raise DataError(
            f"{name}: has the label {others[0]!r}, but data.annotated names only {', '.join(annotated)} for it. Add it "
            f"there, or drop it everywhere: data.label_map = {{ {others[0]!r} = '' }}."
        )
    return describe_labels(name, _sorted(annotated), config.labels) if is_open else _sorted(annotated)


def _sorted(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(labels)))
