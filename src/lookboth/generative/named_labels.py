"""Labels and demonstrations named in prediction, as a generative labeler reads them."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from lookboth.data import LabelText
from lookboth.errors import ConfigError
from lookboth.generative.generative_config import GenerativeLabelerConfig
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


def known_labels(config: GenerativeLabelerConfig) -> list[LabelText]:
    """Return the labels of the training with their descriptions."""
    return [LabelText(*item) for item in config.known_labels.items()]


def labels_of_pool(pool: Sequence[Example]) -> list[LabelText]:
    """Return the labels of demonstrations with their descriptions."""
    parsed = (LabelText.parse(text) for example in pool for text in example.label_set)
    described = {label.name: label for label in parsed}
    found = {label for example in pool for label in example.labels()}
    return [described.get(label, LabelText(label)) for label in sorted(found)]


def with_only(pool: Sequence[Example], labels: Collection[str]) -> list[Example]:
    """Return the examples without spans of other labels.

    Args:
        pool: labeled examples.
        labels: names of the labels to keep.

    Raises:
        ConfigError: none of the labels occurs in the pool.
    """
    found = {label for example in pool for label in example.labels()}
    others = sorted(found.difference(labels))
    if others and not found.intersection(labels):
        raise ConfigError(
            f"demonstrations: no span has one of the labels {', '.join(sorted(labels))}; found: {', '.join(others)}. "
            "Name the labels as in the demonstrations, or leave out --labels to take those of the demonstrations."
        )
    if others:
        LOGGER.warning(
            f"demonstrations: spans of {', '.join(others)} are left out, because these labels are not named"
        )
    return _only(pool, labels)


def own_demonstrations(
    pool: Sequence[Example], labels: Collection[str], known: Sequence[str]
) -> list[Example]:
    """Return a labeler's own demonstrations for named labels: those whose data were annotated with all of them.

    Args:
        pool: the demonstrations of the labeler.
        labels: names of the labels.
        known: labels of examples without a label set.
    """
    wanted = set(labels)
    names_of = {
        label_set: {LabelText.parse(text).name for text in label_set} or set(known)
        for label_set in {example.label_set for example in pool}
    }
    # Data annotated with exactly these labels are the best example of them.
    exact = [example for example in pool if names_of[example.label_set] == wanted]
    fitting = exact or [example for example in pool if names_of[example.label_set] > wanted]
    if not fitting and wanted == set(known):
        # All labels of several data sets: no data was annotated with all of them.
        fitting = list(pool)
    return _only(fitting, wanted)


def named_config(config: GenerativeLabelerConfig, labels: Sequence[LabelText]) -> GenerativeLabelerConfig:
    """Return the settings of a labeler for these labels; of its scores only the recipe of the training is kept."""
    descriptions = {label.name: label.description for label in labels if label.description}
    settings = config.generative.model_copy(update={"descriptions": descriptions, "open_labels": False})
    recipe = {key: config.scores[key] for key in ("recipe",) if key in config.scores}
    return replace(config, labels=tuple(label.name for label in labels), generative=settings, scores=recipe)


def require_readable(
    config: GenerativeLabelerConfig, labels: Sequence[LabelText], num_demonstrations: int
) -> None:
    """Refuse labels that prompts do not show; warn about new labels without demonstrations.

    Args:
        config: settings of the labeler before the labels were named.
        labels: the named labels.
        num_demonstrations: number of demonstrations to choose from.

    Raises:
        ConfigError: the prompts list no labels, and there are no demonstrations.
    """
    if num_demonstrations:
        return
    names = ", ".join(label.name for label in labels)
    shown = config.generative.instruction
    if not shown or (isinstance(shown, str) and "{labels}" not in shown):
        raise ConfigError(
            f"labels {names}: the prompts of this labeler do not list labels, but show them in demonstrations. "
            "Name some: --demonstrations FILE"
        )
    if config.generative.k:
        LOGGER.warning(f"no demonstrations for the labels {names}: name some with --demonstrations FILE")


def require_shown(config: GenerativeLabelerConfig) -> None:
    """Refuse demonstrations for a labeler whose prompts show none.

    Raises:
        ConfigError: k is 0.
    """
    if config.generative.k == 0:
        raise ConfigError(
            "demonstrations: this labeler was trained with generative.k = 0, so its prompts show none. Leave them out, "
            "or train with method = 'sift'."
        )


def _only(examples: Sequence[Example], labels: Collection[str]) -> list[Example]:
    """Return examples of data with these labels, without spans of others."""
    return [
        replace(example, spans=tuple(span for span in example.spans if span.label in labels), label_set=())
        for example in examples
    ]
