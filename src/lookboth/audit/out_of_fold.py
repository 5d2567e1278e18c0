"""Tag probabilities of every word from a labeler that was not trained on its sentence: k-fold training."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lookboth.audit.folds import Fold, make_folds, take_share
from lookboth.config import RunConfig
from lookboth.data import tags_for_labels
from lookboth.files import whole_file
from lookboth.inference import HeadLabeler, label_with_probs
from lookboth.run_folder import RunFolder
from lookboth.training import (
    Splits,
    claim_folder,
    labels_of,
    leave_gpu,
    share_frozen_states,
    train_one,
)
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)
# Smallest probability: a tag that a fold never saw in training is improbable, not impossible.
LEAST = 1e-6


@dataclass(frozen=True)
class TagProbs:
    """Probabilities of tags for each word of each sentence.

    Args:
        tags: the tags.
        scheme: scheme of the tags: "IOB2", "IOBES" or "plain".
        log_probs: one (w, num_tags) array per sentence, at least log(LEAST).
    """

    tags: tuple[str, ...]
    scheme: str
    log_probs: Sequence[np.ndarray]


def probs_of_folds(
    config: RunConfig, examples: Sequence[Example], out: Path, *, num_folds: int, denominator: int = 1
) -> TagProbs:
    """Train one labeler per fold and seed, and return the probabilities for the sentences it was not trained on.

    Finished folds are read from `out`, and an interrupted one resumes. All trainings share the states of frozen layers,
    so that each sentence passes these layers once. The probabilities of several seeds are averaged.

    Args:
        config: a recipe of the method "classifier".
        examples: the data.
        out: folder with one folder per fold.
        num_folds: number of folds.
        denominator: train on one part in `denominator` of the data, for as many steps.

    Raises:
        LookbothError: as in `train`; or the folder belongs to another recipe, other data or other folds.
    """
    seed = config.training.seeds[0]
    folds = make_folds(examples, num_folds, seed, whole_documents=bool(config.context))
    tags = tags_for_labels(labels_of(examples), config.scheme)
    log_probs = [np.zeros((0, len(tags)))] * len(examples)
    training = config.training.model_copy(update={"epochs": config.training.epochs * denominator})
    config = config.model_copy(update={"training": training})
    with share_frozen_states():
        for number, fold in enumerate(folds):
            fold = fold._replace(train=take_share(fold.train, denominator, seed))
            LOGGER.info(
                f"fold {number + 1} of {num_folds}: trained on {len(fold.train)} sentences, judges {len(fold.held)}"
            )
            found = _fold_probs(config, examples, fold, RunFolder.of_fold(out, number).path, tags)
            for index, own in zip(fold.held, found, strict=True):
                log_probs[index] = own
    return TagProbs(tags, config.scheme, log_probs)


def probs_of_labeler(labeler: HeadLabeler, examples: Sequence[Example]) -> TagProbs:
    """Return the probabilities of a saved labeler, which must not have been trained on these sentences."""
    found = [probs for _, probs in label_with_probs(labeler, examples)]
    config = labeler.config
    return TagProbs(config.tags, config.scheme, [np.maximum(probs, np.log(LEAST)) for probs in found])


def _fold_probs(
    config: RunConfig, examples: Sequence[Example], fold: Fold, folder: Path, tags: Sequence[str]
) -> list[np.ndarray]:
    """Return the log probabilities of the held-out sentences of a fold, (w, num_tags) each."""
    parts = {name: [examples[index] for index in indices] for name, indices in fold._asdict().items()}
    claim_folder(folder, config, parts)
    splits = Splits(parts["train"], parts["dev"], {}, {})
    per_seed = []
    for seed in config.training.seeds:
        run = RunFolder.of_seed(folder, seed)
        found = _read(run.out_of_fold, [len(example.words) for example in parts["held"]])
        if found is None:
            found = _train(config, splits, seed, run, parts["held"])
        per_seed.append(_in_order(found, tags))
    return [np.log(np.mean(np.exp(probs), axis=0)) for probs in zip(*per_seed, strict=True)]


def _train(
    config: RunConfig, splits: Splits, seed: int, folder: RunFolder, held: Sequence[Example]
) -> TagProbs:
    """Train a labeler, store its probabilities for the held-out sentences, and delete it."""
    run = train_one(config, splits, seed, folder.path)
    found = probs_of_labeler(run.labeler, held)
    leave_gpu(run)
    _write(found, folder.out_of_fold)
    for path in (folder.training.path, folder.labeler):
        shutil.rmtree(path, ignore_errors=True)
    return found


def _in_order(found: TagProbs, tags: Sequence[str]) -> list[np.ndarray]:
    """Return the log probabilities with the columns of `tags`; a fold may lack a label."""
    places: Mapping[str, int] = {tag: column for column, tag in enumerate(found.tags)}
    ordered = []
    for probs in found.log_probs:
        rows = np.full((len(probs), len(tags)), np.log(LEAST))
        for column, tag in enumerate(tags):
            if tag in places:
                rows[:, column] = probs[:, places[tag]]
        ordered.append(rows)
    return ordered


def _write(found: TagProbs, path: Path) -> None:
    with whole_file(path, follow_links=False) as work, work.open("wb") as file:
        np.savez(
            file,
            tags=np.array(found.tags),
            scheme=np.array(found.scheme),
            log_probs=np.concatenate(found.log_probs).astype(np.float32),
        )


def _read(path: Path, num_words: Sequence[int]) -> TagProbs | None:
    """Return stored probabilities; None if the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            tags, scheme, rows = stored["tags"], stored["scheme"], stored["log_probs"]
    except (FileNotFoundError, BadZipFile, ValueError, KeyError, EOFError):
        return None
    if rows.ndim != 2 or len(rows) != sum(num_words):
        return None
    ends = np.cumsum(num_words)[:-1]
    return TagProbs(tuple(map(str, tags)), str(scheme), np.split(rows.astype(float), ends))
