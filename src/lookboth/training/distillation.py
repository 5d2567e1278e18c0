"""The method "distill": saved labelers teach a classifier on labeled data and on text without labels."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookboth.config import RunConfig
from lookboth.data import read_unlabeled
from lookboth.errors import ConfigError, DataError
from lookboth.models import SoftLoss
from lookboth.training.adaptation_texts import HeldOut, hold_out, refuse_evaluated
from lookboth.training.classifier import train_classifier, with_epochs
from lookboth.training.continuation import start_config
from lookboth.training.ensemble import Ensemble
from lookboth.training.labeler_building import build_base
from lookboth.training.run_finishing import DistillationReport, TrainedRun, labels_of
from lookboth.training.soft_targets import SoftTargets
from lookboth.training.splits import Splits, read_options
from lookboth.training.teachers import require_section
from lookboth.training.truncation import truncate_examples
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)
# Texts scored against the teachers without dev data: F1 needs more of them than a mean loss.
_OF_AGREEMENT = HeldOut(50, 500)


def train_distilled(config: RunConfig, splits: Splits, seed: int, folder: Path) -> TrainedRun:
    """Train a classifier on the tag distributions of the teachers and, where there are any, on gold labels.

    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531). The student has the
    tags of the teachers; one that is trained further may have more labels, which are O for the teachers. Without dev
    data some of the texts are held out and scored against the teachers' labels; few of them do not choose the epoch.

    Raises:
        LookbothError: see `_without_choice`, `find_teachers`, `read_distill_texts` and `teacher_outputs`; or the data
            have labels that the teachers do not have.
    """
    ensemble = Ensemble.of(config, folder, _new_labels(config, splits))
    _require_known([*splits.train, *splits.dev], ensemble.labels)
    read = truncate_examples(read_distill_texts(config), config, "distill.texts")
    texts, aside = _divide(read, hold_out_dev=not splits.dev)
    if not splits.dev and len(aside) < _OF_AGREEMENT.least:
        config = _without_choice(config, len(aside))
    # Refuses what the student does not support before the teachers have read all texts.
    build_base(config)
    # One pass of each teacher for all: the outputs of gold sentences come first, then texts, then held-out
    # texts.
    number = len(splits.train) + len(texts)
    outputs = ensemble.log_probs([*splits.train, *texts, *aside], folder)
    # The labels of texts are placeholders, which `SoftTargets.without_gold` replaces.
    of_texts = zip(texts, outputs[len(splits.train) : number], strict=True)
    labeled = [ensemble.label(example, rows) for example, rows in of_texts]
    section = require_section(config)
    loss = SoftLoss(section.temperature, section.weight)
    return train_classifier(
        config,
        splits._replace(
            train=[*splits.train, *labeled],
            dev=splits.dev or _agreement(ensemble, aside, outputs[number:]),
        ),
        seed,
        folder,
        soft=SoftTargets(ensemble.labels, outputs[:number], len(splits.train), loss),
        distillation=_report(ensemble, splits, texts),
    )


def _without_choice(config: RunConfig, num_held_out: int) -> RunConfig:
    """Return the recipe with one score at the end; few held-out texts cannot tell which epoch is the best.

    Raises:
        ConfigError: the weights at several scores are averaged.
    """
    least = _OF_AGREEMENT.least
    if config.training.average_evals > 1:
        raise ConfigError(
            f"training.average_evals: needs scores during training, and without dev data {num_held_out} texts can be "
            f"held out, which are too few (at least {least}). Leave it out, or name dev data: --set 'data.dev=\"FILE\"'"
        )
    LOGGER.info(
        f"no dev data: {num_held_out} texts are held out, too few to choose the best epoch (at least {least}): the "
        "last one is kept"
    )
    return with_epochs(config, config.training.epochs)


def _new_labels(config: RunConfig, splits: Splits) -> Sequence[str]:
    """Return the labels of a student that is trained further; of another student, none but those of its teachers."""
    start = start_config(config)
    # A label of a whole text cannot be the absence of another one.
    if start is None or config.task == "classification":
        return ()
    return [*start.labels, *labels_of([*splits.train, *splits.dev])]


def _report(ensemble: Ensemble, splits: Splits, texts: Sequence[Example]) -> DistillationReport:
    return DistillationReport(
        {teacher.name: teacher.digest for teacher in ensemble.teachers},
        labeled=len(splits.train),
        texts=len(texts),
        words=sum(len(example.words) for example in (*splits.train, *texts)),
        dev="gold" if splits.dev else "agreement",
    )


def read_distill_texts(config: RunConfig) -> list[Example]:
    """Return the texts without labels of a recipe with the section [distill]; empty texts are left out.

    Raises:
        ConfigError: distill.texts names dev or test data of the recipe.
        DataError: a source cannot be read or has no text, or there is too little text to hold out dev texts.
    """
    sources, options = require_section(config).texts, read_options(config)
    refuse_evaluated(config, sources, "distill.texts")
    texts: list[Example] = []
    for source in sources:
        found = [example for example in read_unlabeled(source, options=options) if example.words]
        if not found:
            raise DataError(f"distill.texts = {source!r}: no text in it.")
        texts += found
    if len(texts) == 1:
        raise DataError(f"distill.texts = {sources[0]!r}: 1 text; two or more are needed.")
    return texts


def _divide(texts: Sequence[Example], *, hold_out_dev: bool) -> tuple[list[Example], list[Example]]:
    """Return (training texts, texts held out as dev data); none is in both, even if it occurs several times.

    Raises:
        DataError: all texts are equal.
    """
    if not hold_out_dev:
        return list(texts), []
    different = _different(texts)
    if len(different) < 2:
        raise DataError(
            "distill.texts: all texts are equal, so none can be held out. Add others, or name dev data: "
            "--set 'data.dev=\"FILE\"'"
        )
    aside = hold_out([*different.values()], _OF_AGREEMENT)[1]
    held_out = _different(aside)
    return [example for example in texts if example.words not in held_out], aside


def _different(texts: Sequence[Example]) -> dict[tuple[str, ...], Example]:
    """Return one example of each text, by its words."""
    return {example.words: example for example in reversed(texts)}


def _agreement(
    ensemble: Ensemble, aside: Sequence[Example], log_probs: Sequence[np.ndarray]
) -> list[Example]:
    """Return the held-out texts with the labels of the teachers, without those that have no readable answer.

    Raises:
        DataError: no text is left.
    """
    pairs = zip(aside, log_probs, strict=True)
    dev = [ensemble.label(example, rows) for example, rows in pairs if not np.isnan(rows).all(axis=-1).any()]
    if not dev:
        raise DataError(
            f"no dev data, and the teachers have no readable answer to the {len(aside)} held-out texts. Name labeled "
            "dev data: data.dev."
        )
    LOGGER.info(
        f"no dev data: {len(dev):,} held-out texts with the labels of the teachers are scored, so dev below is the "
        "agreement with the teachers"
    )
    return dev


def _require_known(examples: Sequence[Example], labels: Sequence[str]) -> None:
    unknown = [label for label in labels_of(examples) if label not in labels]
    if unknown:
        raise DataError(
            f"label {unknown[0]!r} of the train or dev data is not a label of the teachers ({', '.join(labels)}). "
            f"Rename it with data.label_map, or drop it: data.label_map = {{ {unknown[0]!r} = '' }}."
        )
