"""Evaluate a saved labeler on a named data set and write the run folder."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lookboth.data import (
    Labels,
    ReadOptions,
    describe_labels,
    map_labels,
    read_source,
    report_no_documents,
    split_name,
)
from lookboth.errors import DataError
from lookboth.evaluation.evaluate import Evaluation, evaluate_labeler
from lookboth.evaluation.runfile import write_predictions, write_run
from lookboth.inference import reading_for, saved_thresholds
from lookboth.labelers import open_labeler
from lookboth.types import Example


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
) -> Evaluation:
    """Score a labeler on data named as in a recipe.

    Args:
        source: a file, folder, built-in name or hub id; the test split unless "name:split" names another.
        model: folder or hub id of a saved labeler; None: the shipped one.
        out: folder for run.json and predictions.jsonl; None: nothing is written.
        label_map: renames gold labels (see `map_labels`).
        options: how files are read; task and scheme of the head always come from the labeler.
        thresholds: drop predictions below the labeler's thresholds (measured by `lookboth calibrate`).
        labels: labels of an open labeler, as in `Labeler.with_labels`; None: those of the data, with the descriptions
            in the folder of the data.

    Raises:
        DataError, ModelError: the data or the labeler cannot be read.
        ConfigError: the labeler has no thresholds, or the labels are not valid.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    split = split_name(source)[1]
    labeler = open_labeler(model, device=device, precision=precision, labels=labels)
    how = reading_for(labeler, options)
    dataset = read_source(source, options=how)
    examples = map_labels(dataset.examples, label_map or {})
    if labeler.reads_documents:
        report_no_documents(examples, source)
    if labeler.takes_labels:
        labeler = labeler.with_labels(_labels_of(examples, source))
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
