"""Default settings that depend on the model and on the amount of training data; the evidence is in docs/recipes.md."""

import logging
from collections.abc import Mapping, Sequence

from lookboth.config import WITH_HEAD, RunConfig, overlay
from lookboth.models import load_config
from lookboth.training.splits import FEW, Splits
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)
# Parts; each training sees three quarters of the sentences, and all of them cost three times the passes of one.
FOLDS = 4
# Bounds of the number of epochs, and the number of passes of sentences between them: a few hundred steps.
_LEAST_EPOCHS, _MOST_EPOCHS, _PASSES = 8, 20, 1000
# Sentences; larger batches would leave too few steps.
_BATCH = 4
# Peak learning rates by adapter.kind, for small batches.
_RATES = {"lora": 5e-4, "qlora": 5e-4, "full": 5e-5, "head": 5e-3}

# By adapter.kind: peak learning rate times the width of the model, and the highest rate. For LoRA 1e-3 was the best
# rate at a width of 896, and Dukić and Šnajder (2024) have 2e-4 at 4,096.
_RATE_TIMES_WIDTH = {"lora": (0.9, 2e-3), "qlora": (0.9, 2e-3), "full": (0.06, 2e-4)}
# A new head on a backbone that changes slowly.
_HEAD_RATES = {"full": 1e-2}
# Optimizer steps of a training, and of one epoch, below which batches get smaller and epochs more.
_STEPS, _STEPS_PER_EPOCH = 300, 100
_TOKENS_PER_WORD = 1.4
_SMALLEST_BATCH, _EPOCHS = 256, (3, 10)


def complete_settings(config: RunConfig, splits: Splits) -> RunConfig:
    """Return the recipe with settings for its model and its amount of data in place of those that are not set.

    Few training sentences without dev data get cross-validation. Generative methods, searches and labelers that are
    trained further are returned unchanged.

    Args:
        config: a recipe.
        splits: its data.

    Raises:
        LookbothError: the model configuration cannot be loaded.
    """
    if config.method == "classifier" and not splits.dev and len(splits.train) < FEW:
        return _complete_for_few(config, len(splits.train))
    if config.method not in WITH_HEAD or config.method == "search" or config.start is not None:
        return config
    own = {**_lengths(config, splits.train), **_rates(config)}
    own = {key: value for key, value in own.items() if _is_free(key, config)}
    if not own:
        return config
    found = _with_training(config, own)
    settings = ", ".join(f"{key} = {value:g}" for key, value in own.items())
    LOGGER.info(f"settings that the recipe does not have, in [training]: {settings}")
    return found


def _rates(config: RunConfig) -> dict[str, float]:
    """Return the learning rates for a model of this width."""
    kind = config.adapter.kind
    if kind == "head":
        return {"lr": _RATES[kind]}
    settings = load_config(config.model, revision=config.revision, trust_remote_code=config.trust_remote_code)
    width = getattr(settings.get_text_config(), "hidden_size", None)
    if not isinstance(width, int):
        return {}
    factor, highest = _RATE_TIMES_WIDTH[kind]
    rates = {"lr": float(f"{min(highest, factor / width):.2g}")}
    return rates | ({"head_lr": _HEAD_RATES[kind]} if kind in _HEAD_RATES else {})


def _lengths(config: RunConfig, examples: Sequence[Example]) -> dict[str, float]:
    """Return batches and epochs that make a few hundred steps."""
    if not examples:
        return {}
    words = sum(len(example.words) for example in examples)
    tokens = _TOKENS_PER_WORD * (config.repetition + 1) * words
    batch = config.training.batch_tokens
    while batch > _SMALLEST_BATCH and tokens / batch < _STEPS_PER_EPOCH:
        batch //= 2
    least, most = _EPOCHS
    return {"batch_tokens": batch, "epochs": max(least, min(most, round(_STEPS * batch / max(1, tokens))))}


def _complete_for_few(config: RunConfig, num_sentences: int) -> RunConfig:
    """Return the recipe with settings for few training sentences without dev data."""
    own = {
        key: value for key, value in _defaults_for_few(config, num_sentences).items() if _is_free(key, config)
    }
    found = _with_training(config, own)
    training = found.training
    LOGGER.info(
        f"{num_sentences} training sentences and no dev data: cross-validation with {training.folds} folds chooses "
        f"the number of epochs, at most {training.epochs:g}; learning rate {training.lr:g}, {training.schedule}. To "
        "change this, set training.folds, training.epochs, training.lr or training.batch_sentences, or name dev data: "
        "--set 'data.dev=\"FILE\"'"
    )
    return found


def _defaults_for_few(config: RunConfig, num_sentences: int) -> dict[str, object]:
    """Return the settings of [training] for a number of training sentences."""
    epochs = max(_LEAST_EPOCHS, min(_MOST_EPOCHS, _PASSES // max(1, num_sentences)))
    return {
        "folds": max(2, min(FOLDS, num_sentences)),
        "epochs": epochs,
        "lr": _RATES[config.adapter.kind],
        # The rate after some epochs must not depend on how many follow.
        "schedule": "constant",
        "batch_sentences": _BATCH,
    }


def _with_training(config: RunConfig, own: Mapping[str, object]) -> RunConfig:
    completed = overlay(config.model_dump(mode="json", exclude_unset=True), {"training": own})
    return RunConfig.model_validate(completed)


def _is_free(key: str, config: RunConfig) -> bool:
    """Return whether neither a setting nor one that decides the same is in the recipe."""
    same = {
        "lr": {"lr_end"},
        "head_lr": {"lr"},
        "schedule": {"lr_end"},
        "batch_sentences": {"batch_tokens"},
        "batch_tokens": {"batch_sentences", "accumulation", "layout"},
    }
    return not config.training.model_fields_set & ({key} | same.get(key, set()))
