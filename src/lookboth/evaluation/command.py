"""Evaluate a saved labeler on a named data set and write the run folder."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lookboth.data import (
    Labels,
    LabelText,
    ReadOptions,
    describe_labels,
    map_labels,
    read_demonstrations,
    read_source,
    report_no_documents,
    similar_to,
    similarity_messages,
    split_name,
)
from lookboth.errors import DataError
from lookboth.evaluation.evaluate import Evaluation, evaluate_labeler
from lookboth.evaluation.runfile import write_predictions, write_run
from lookboth.inference import reading_for, saved_thresholds
from lookboth.labelers import open_labeler
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


def evaluate_on(
    source: str,
    model: str | None = None,
    *,
    out: Path | None = None,
    label_map: Mapping[str, str] | None = None,
    options: ReadOptions | None = None,
    thresholds: bool = False,
    device: str | None = None,
    precision: str = "auto",
    labels: Labels | None = None,
    demonstrations: str | None = None,
    annotated: Sequence[str] | None = None,
) -> Evaluation:
    """Score a labeler on data named as in a recipe.

    Args:
        source: a file, folder, built-in name or hub id; the test split unless "name:split" names another.
        model: folder or hub id of a saved labeler; None: the shipped one.
        out: folder for run.json and predictions.jsonl; None: nothing is written.
        label_map: renames gold labels (see `map_labels`).
        options: how files are read; task and scheme of the head always come from the labeler.
        thresholds: drop predictions below the labeler's thresholds (measured by `lookboth calibrate`).
        labels: labels named in prediction, as in `Labeler.with_labels`. None: those of the demonstrations; without them
            an open labeler is asked for the labels of the data, with the descriptions in the folder of the data.
        demonstrations: labeled sentences for a generative labeler, named like `source`; their default split is train.
        annotated: the labels that the data annotate, named as after `label_map`; other labels that the labeler finds
            are not counted. None: all.

    Raises:
        DataError, ModelError: the data or the labeler cannot be read.
        ConfigError: the labeler has no thresholds, or the labels or demonstrations are not valid.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    split = split_name(source)[1]
    labeler = open_labeler(model, device=device, precision=precision)
    how = reading_for(labeler, options)
    pool = None
    if demonstrations is not None:
        pool = map_labels(read_demonstrations(demonstrations, how), label_map or {})
    if labels is not None or pool is not None:
        labeler = labeler.with_labels(labels, demonstrations=pool)
    dataset = read_source(source, options=how)
    examples = _only_annotated(map_labels(dataset.examples, label_map or {}), source, annotated)
    _report_leaks(examples, pool or ())
    if labeler.reads_documents:
        report_no_documents(examples, source)
    if labeler.is_open:
        labeler = labeler.with_labels([*map(LabelText.parse, _labels_of(examples, source))])
    _report_similar(examples, source)
    _report_unknown(examples, source, labeler.config.labels)
    least = saved_thresholds(labeler.config) if thresholds else None
    evaluation = evaluate_labeler(labeler, examples, min_score=least)
    if out is not None:
        config = {
            "command": "evaluate",
            "labeler": model or "shipped",
            "data": source,
            "label_map": dict(label_map or {}),
            "thresholds": thresholds,
            "labels": list(labeler.config.labels),
            "demonstrations": demonstrations,
            **({} if annotated is None else {"annotated": list(annotated)}),
            "precision": str(labeler.model.compute_dtype),
        }
        # Data sets of the hub have no file to hash.
        files = {split: dataset.name} if Path(dataset.name).is_file() else {}
        write_run(
            out,
            config=config,
            scores={split: evaluation},
            plan=labeler.config.plan,
            seed=labeler.config.scores.get("seed"),
            started=started,
            wall_seconds=time.monotonic() - clock,
            data_files=files,
        )
        _write_predictions(out, evaluation, split)
    return evaluation


def _only_annotated(examples: list[Example], source: str, annotated: Sequence[str] | None) -> list[Example]:
    """Return examples with the annotated labels as their label set; None: they annotate all labels.

    Raises:
        DataError: an example has another label.
    """
    if annotated is None:
        return examples
    others = {label for example in examples for label in example.labels()} - set(annotated)
    if others:
        raise DataError(
            f"{source}: has the label {min(others)!r}, which is not one of the annotated labels "
            f"({', '.join(annotated)}). Add it, or drop it: --map {min(others)}="
        )
    return [replace(example, label_set=tuple(sorted(set(annotated)))) for example in examples]


def _write_predictions(out: Path, evaluation: Evaluation, split: str) -> None:
    write_predictions(
        out,
        evaluation.examples,
        [prediction.labeled_spans() for prediction in evaluation.predictions],
        splits=[split] * len(evaluation.examples),
    )


def _labels_of(examples: Sequence[Example], source: str) -> tuple[str, ...]:
    """Return the labels of the data, described as in its folder.

    Raises:
        DataError: the data has no labels.
    """
    found = sorted({label for example in examples for label in example.labels()})
    if not found:
        raise DataError(
            f"{source}: has no labels, so an open labeler has nothing to find. Name them: --labels"
        )
    return describe_labels(source, found)


def _report_similar(examples: Sequence[Example], source: str) -> None:
    """Warn of labels of the data whose names differ only in letter case or blanks."""
    for label, message in similarity_messages(
        Counter(label for example in examples for label in example.labels())
    ):
        LOGGER.warning(f"{source}: {message}; here: --map '{label}=LABEL'")


def _report_unknown(examples: Sequence[Example], source: str, known: Sequence[str]) -> None:
    """Warn if the data have labels that the labeler does not have: their spans count as missed."""
    unknown = {label for example in examples for label in example.labels()} - set(known)
    if unknown:
        first, names = min(unknown), ", ".join(sorted(unknown))
        alike = similar_to(first, known) or "LABEL"
        LOGGER.warning(
            f"{source}: the labeler does not have the labels {names:.200}, so their spans count as missed. It has "
            f"{', '.join(known):.200}. To rename a label of the data: --map {first}={alike}; to drop it: --map {first}="
        )


def _report_leaks(examples: Sequence[Example], pool: Sequence[Example]) -> None:
    """Warn if texts that are scored are demonstrations too: their answers are in the prompts."""
    shown = {example.words for example in pool}
    leaks = sum(example.words in shown for example in examples)
    if leaks:
        LOGGER.warning(
            f"{leaks} of {len(examples)} texts are also demonstrations, with their labels. Name other sentences to get "
            "a score for unseen texts: --demonstrations DATA:train"
        )
