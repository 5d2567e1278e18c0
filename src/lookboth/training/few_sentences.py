"""Default settings for few training sentences without dev data."""

import logging

from lookboth.config import RunConfig, overlay
from lookboth.training.splits import FEW, Splits

LOGGER = logging.getLogger(__name__)
# Parts; each training sees three quarters of the sentences, and all of them cost three times the passes of one.
FOLDS = 4
# Bounds of the number of epochs, and the number of passes of sentences between them: a few hundred steps.
_LEAST_EPOCHS, _MOST_EPOCHS, _PASSES = 8, 20, 1000
# Sentences; larger batches would leave too few steps.
_BATCH = 4
# Peak learning rates by adapter.kind, for small batches.
_RATES = {"lora": 5e-4, "qlora": 5e-4, "full": 5e-5, "head": 5e-3}


def complete_for_few(config: RunConfig, splits: Splits) -> RunConfig:
    """Return the recipe with settings for few training sentences in place of those that are not set.

    A recipe with dev data, or with many sentences, is returned unchanged.

    Args:
        config: a recipe.
        splits: its data.
    """
    if splits.dev or config.method != "classifier" or len(splits.train) >= FEW:
        return config
    own = {key: value for key, value in _defaults(config, len(splits.train)).items() if _is_free(key, config)}
    completed = overlay(config.model_dump(mode="json", exclude_unset=True), {"training": own})
    found = RunConfig.model_validate(completed)
    training = found.training
    LOGGER.info(
        f"{len(splits.train)} training sentences and no dev data: cross-validation with {training.folds} folds chooses "
        f"the number of epochs, at most {training.epochs:g}; learning rate {training.lr:g}, {training.schedule}. To "
        "change this, set training.folds, training.epochs, training.lr or training.batch_sentences, or name dev data: "
        "--set 'data.dev=\"FILE\"'"
    )
    return found


def _defaults(config: RunConfig, num_sentences: int) -> dict[str, object]:
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


def _is_free(key: str, config: RunConfig) -> bool:
    """Return whether neither a setting nor one that decides the same is in the recipe."""
    same = {"lr": {"lr_end"}, "schedule": {"lr_end"}, "batch_sentences": {"batch_tokens"}}
    return not config.training.model_fields_set & ({key} | same.get(key, set()))
