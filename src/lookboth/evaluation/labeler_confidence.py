"""Calibration of a labeler on held-out data: temperature, score thresholds and sets of tags."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lookboth.data import ReadOptions, map_labels, read_source, report_no_documents
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.evaluation.calibration import (
    Reliability,
    conformal_quantile,
    decisions,
    fit_temperature,
    reliability,
    threshold_for,
)
from lookboth.evaluation.evaluate import gold_tags, require_gold
from lookboth.files import write_json
from lookboth.inference import (
    Confidence,
    decode_nested,
    example_scores,
    label_examples,
    label_with_probs,
    log_probs_of,
    reading_for,
)
from lookboth.labelers import (
    CONFIG_FILE,
    Labeler,
    open_labeler,
    read_settings,
    require_fixed_labels,
    require_head,
)
from lookboth.types import Example, Prediction

# Fewer spans fit their own noise: with 20 a measured precision has a standard error of about 10 points.
MIN_DECISIONS = 20


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration.

    Args:
        confidence: the part that is saved with the labeler.
        before, after: reliability of the scores without and with the temperature, on the same data.
        sentences: number of texts used for temperature and thresholds, and for the sets of tags.
    """

    confidence: Confidence
    before: Reliability
    after: Reliability
    sentences: tuple[int, int]

    def describe(self) -> str:
        """Return the result as text."""
        found, (fitted, for_sets) = self.confidence, self.sentences
        errors = f"{100 * self.before.error:.1f} % before, {100 * self.after.error:.1f} % after"
        lines = [
            f"temperature {found.temperature:.3f}, from {self.before.count} scores in {fitted} texts",
            f"expected calibration error: {errors}; log loss {self.before.log_loss:.4f}, {self.after.log_loss:.4f}",
        ]
        if found.precision is not None:
            lines.append(f"thresholds for a precision of {found.precision:g}:")
            lines += [
                f"  {label}: {'none reaches it' if least is None else format(least, '.4f')}"
                for label, least in found.thresholds.items()
            ]
        if found.coverage is not None:
            lines.append(f"sets of tags with a coverage of {found.coverage:g}, from {for_sets} texts:")
            lines += [
                f"  {tag}: {'in every set' if most is None else f'from probability {1 - most:.4f}'}"
                for tag, most in found.quantiles.items()
            ]
        return "\n".join(lines)


def calibrate(
    labeler: Labeler,
    examples: Sequence[Example],
    *,
    precision: float | None = None,
    coverage: float | None = None,
    data: str = "",
) -> Calibration:
    """Measure temperature, thresholds and sets of tags of a labeler; `with_confidence` applies them.

    With `coverage`, every second text is kept for the sets of tags: their guarantee needs data that the
    temperature was not fitted to.

    Args:
        labeler: a labeler with a head; it is not changed.
        examples: labeled, used neither for training nor for choosing between labelers.
        precision: required precision of the spans at or above each label's threshold; None: no thresholds.
        coverage: required coverage of the sets of tags; None: no sets.
        data: name of the data, saved with the result.

    Raises:
        ConfigError: a share outside 0 to 1, or sets for texts with several labels.
        DataError: too few spans are predicted for a fit, or a text does not have exactly one label but the labeler
            predicts exactly one.
    """
    _check_targets(labeler, precision, coverage)
    require_gold(examples, labeler.config)
    # Interleaved, because files are often sorted by source.
    fitted, kept = (examples[::2], examples[1::2]) if coverage is not None else (examples, [])
    confidence, before, after = _fit(with_confidence(labeler, Confidence(data=data)), fitted, precision)
    if coverage is not None:
        quantiles = _quantiles(with_confidence(labeler, confidence), kept, coverage)
        confidence = replace(confidence, coverage=coverage, quantiles=quantiles)
    return Calibration(confidence, before, after, (len(fitted), len(kept)))


def calibrate_folder(
    model: str | Path,
    source: str,
    *,
    precision: float | None = None,
    coverage: float | None = None,
    label_map: Mapping[str, str] | None = None,
    options: ReadOptions | None = None,
    device: str | None = None,
) -> Calibration:
    """Calibrate a saved labeler and write the result into its `config.json`.

    Args:
        model: folder of the labeler.
        source: data named as in a recipe; the dev split unless "name:split" names another.
        precision, coverage: as in `calibrate`.
        label_map: renames gold labels (see `map_labels`).
        options: as in `read_source`.
        device: "cpu", "cuda", ...; None: a GPU if there is one.

    Raises:
        ModelError: the folder does not exist or cannot be written.
        ConfigError, DataError: as in `calibrate`, or the data cannot be read.
    """
    file = Path(model) / CONFIG_FILE
    if not file.is_file():
        raise ModelError(f"{model}: not the folder of a saved labeler; the calibration is written into it.")
    labeler = require_head(open_labeler(model, device=device), "calibrated")
    require_fixed_labels(labeler, "calibrated")
    how = reading_for(labeler, options)
    dataset = read_source(source, "dev", how)
    examples = map_labels(dataset.examples, label_map or {})
    if labeler.reads_documents:
        report_no_documents(examples, source)
    result = calibrate(labeler, examples, precision=precision, coverage=coverage, data=source)
    settings = read_settings(Path(model))
    settings["confidence"] = result.confidence.to_dict()
    try:
        write_json(file, settings)
    except OSError as error:
        raise ModelError(f"{file}: cannot be written: {error.strerror}. Copy the folder first.") from error
    return result


def with_confidence(labeler: Labeler, confidence: Confidence) -> Labeler:
    """Return a labeler with another calibration that shares the weights of this one."""
    return Labeler(replace(labeler.config, confidence=confidence), labeler.model, labeler.tokenizer)


def _check_targets(labeler: Labeler, precision: float | None, coverage: float | None) -> None:
    if any(share is not None and not 0 < share < 1 for share in (precision, coverage)):
        raise ConfigError(f"precision {precision}, coverage {coverage}: both must lie between 0 and 1.")
    if coverage is not None and (labeler.config.multi_label or labeler.config.is_nested):
        found = "texts have several labels" if labeler.config.multi_label else "words have several tags"
        raise ConfigError(f"coverage: sets need one label each; here {found}. Leave coverage out.")


def _fit(
    labeler: Labeler, examples: Sequence[Example], precision: float | None
) -> tuple[Confidence, Reliability, Reliability]:
    """Return temperature and thresholds, and the reliability without and with the temperature."""
    scores_at, right, labels = _decisions_of(labeler, examples)
    confidence = labeler.config.confidence
    if len(right) < MIN_DECISIONS:
        raise DataError(
            f"{confidence.data or 'the data'}: the labeler finds {len(right)} spans in {len(examples)} texts; "
            f"at least {MIN_DECISIONS} are needed. Give more labeled data."
        )
    temperature = fit_temperature(scores_at, right)
    before, after = scores_at(1.0), scores_at(temperature)
    thresholds: dict[str, float | None] = {}
    if precision is not None:
        for label in labeler.config.labels:
            least = threshold_for(after[labels == label], right[labels == label], precision)
            # Rounded down: in another batch, rounding may lower the score of the span that sets the threshold.
            thresholds[label] = None if least is None else math.floor(least * 1e5) / 1e5
    confidence = replace(confidence, temperature=temperature, precision=precision, thresholds=thresholds)
    return confidence, reliability(before, right), reliability(after, right)


def _decisions_of(
    labeler: Labeler, examples: Sequence[Example]
) -> tuple[Callable[[float], np.ndarray], np.ndarray, np.ndarray]:
    """Return the predicted spans as a function from temperature to scores, whether each is correct, and its label."""
    scores = example_scores(labeler, examples)
    predictions = list(label_examples(labeler, examples))
    found = [prediction.labeled_spans() for prediction in predictions]
    _, right = decisions([example.labeled_spans() for example in examples], found)
    places = _nested_places(labeler, scores) if labeler.config.is_nested else _places(labeler, predictions)
    rows, tag_ids, starts = places

    def scores_at(temperature: float) -> np.ndarray:
        log_probs = np.concatenate(log_probs_of(with_confidence(labeler, Confidence(temperature)), scores))
        picked = log_probs[rows, tag_ids].astype(float)
        # The score of a span is the geometric mean of its tag probabilities.
        return np.exp(np.add.reduceat(picked, starts) / np.diff(np.append(starts, len(picked))))

    return scores_at, right, np.array([span.label for spans in found for span in spans])


def _places(labeler: Labeler, predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the row and the tag id of each word of each predicted span, (n,), and each span's first index, (m,)."""
    ids = {tag: number for number, tag in enumerate(labeler.config.tags)}
    of_texts = labeler.config.task == "classification"
    rows: list[int] = []
    tag_ids: list[int] = []
    starts: list[int] = []
    first = 0
    for prediction in predictions:
        for span in prediction.labeled_spans():
            starts.append(len(rows))
            words = [0] if of_texts else range(span.start, span.end)
            rows += [first + word for word in words]
            tag_ids += [ids[span.label if of_texts else prediction.tags[word]] for word in words]
        first += 1 if of_texts else len(prediction.words)
    return np.array(rows, dtype=int), np.array(tag_ids, dtype=int), np.array(starts, dtype=int)


def _nested_places(
    labeler: Labeler, scores: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same as `_places`; the tags of a span depend on the sequence in which it was decoded.

    Args:
        labeler: a labeler with a nested head.
        scores: the scores of each sentence, (w, num_tags).
    """
    rows: list[int] = []
    tag_ids: list[int] = []
    starts: list[int] = []
    first = 0
    for own in scores:
        for item in decode_nested(own, labeler.config.tags):
            starts.append(len(rows))
            rows += range(first + item.span.start, first + item.span.end)
            tag_ids += item.tag_ids
        first += len(own)
    return np.array(rows, dtype=int), np.array(tag_ids, dtype=int), np.array(starts, dtype=int)


def _quantiles(labeler: Labeler, examples: Sequence[Example], coverage: float) -> dict[str, float | None]:
    """Return for each tag the highest 1 - probability at which a set includes it; None: every set does.

    Each tag has its own quantile so that the guarantee also holds for rare tags: Sadinle, Lei and Wasserman 2019,
    "Least Ambiguous Set-Valued Classifiers With Bounded Error Levels" (arXiv 1609.00451), section 3.
    """
    ids = {tag: number for number, tag in enumerate(labeler.config.tags)}
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for example, (_, log_probs) in zip(examples, label_with_probs(labeler, examples), strict=True):
        improbable: dict[str, list[float]] = defaultdict(list)
        for word, tag in enumerate(gold_tags(example, labeler.config)):
            if tag in ids:
                improbable[tag].append(1 - float(np.exp(log_probs[word, ids[tag]])))
        for tag, values in improbable.items():
            groups[tag].append(np.array(values))
    found = {tag: conformal_quantile(groups[tag], coverage) for tag in labeler.config.tags}
    return {tag: None if np.isinf(value) else max(value, 0.0) for tag, value in found.items()}
