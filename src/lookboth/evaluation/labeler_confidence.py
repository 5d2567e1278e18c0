"""Makes a labeler's scores mean something: temperature, thresholds and sets of tags, measured on data."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lookboth.data import ReadOptions, map_labels, read_source
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
from lookboth.inference import Confidence, example_scores, label_examples, label_with_probs, log_probs_of
from lookboth.labelers import CONFIG_FILE, Labeler, open_labeler, read_settings, require_head
from lookboth.types import Example, Prediction

MIN_DECISIONS = 20


@dataclass(frozen=True)
class Calibration:
    """What calibrating measured.

    Args:
        confidence: what is saved with the labeler.
        before, after: reliability of the scores without and with the temperature, on the same data.
        sentences: those the temperature and thresholds, and those the sets of tags were measured on.
    """

    confidence: Confidence
    before: Reliability
    after: Reliability
    sentences: tuple[int, int]

    def describe(self) -> str:
        """Return what a person reads."""
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
    """Measure what makes a labeler's scores mean something; the labeler itself is not changed (`with_confidence`).

    With `coverage`, every second text is kept for the sets of tags: their guarantee asks for data that the
    probabilities were not fitted to.

    Args:
        labeler: with a head.
        examples: labeled, neither trained on nor used to choose between labelers.
        precision: wanted of the spans of each label that reach its threshold; None: no thresholds.
        coverage: wanted of the sets of tags; None: no sets.
        data: what the examples are, for the record.

    Raises:
        ConfigError: a share outside 0 to 1, or sets for texts with several labels.
        DataError: too few spans are found to fit anything, or a text without exactly one label, where the
            labeler gives one.
    """
    _check_wishes(labeler, precision, coverage)
    require_gold(examples, labeler.config)
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
    repair: bool = False,
    options: ReadOptions | None = None,
    device: str | None = None,
) -> Calibration:
    """Calibrate a saved labeler and write the result into its `config.json`.

    Args:
        model: its folder.
        source: data named as in a recipe; its dev split unless "name:split" says otherwise.
        precision, coverage: as of `calibrate`.
        label_map: renames gold labels (see `map_labels`).
        repair, options: as of `read_source`.
        device: "cpu", "cuda", ...; a GPU where there is one when None.

    Raises:
        ModelError: no folder that can be written.
        ConfigError, DataError: as of `calibrate`, or the data cannot be read.
    """
    file = Path(model) / CONFIG_FILE
    if not file.is_file():
        raise ModelError(f"{model}: no such folder of a labeler; what is measured is written into it.")
    labeler = require_head(open_labeler(model, device=device), "calibrated")
    task, head = labeler.config.task, labeler.config.scheme
    dataset = read_source(source, "dev", repair=repair, task=task, options=options, head=head)
    examples = map_labels(dataset.examples, label_map or {})
    result = calibrate(labeler, examples, precision=precision, coverage=coverage, data=source)
    settings = read_settings(Path(model))
    settings["confidence"] = result.confidence.to_dict()
    try:
        write_json(file, settings)
    except OSError as error:
        raise ModelError(f"{file}: cannot be written: {error.strerror}. Copy the folder first.") from error
    return result


def with_confidence(labeler: Labeler, confidence: Confidence) -> Labeler:
    """Return the labeler with other figures of confidence, sharing its weights."""
    return Labeler(replace(labeler.config, confidence=confidence), labeler.model, labeler.tokenizer)


def _check_wishes(labeler: Labeler, precision: float | None, coverage: float | None) -> None:
    if any(share is not None and not 0 < share < 1 for share in (precision, coverage)):
        raise ConfigError(f"precision {precision}, coverage {coverage}: both lie between 0 and 1.")
    if coverage is not None and labeler.config.multi_label:
        raise ConfigError(
            "sets of labels are for texts with one label; here they have several. Leave it out."
        )


def _fit(
    labeler: Labeler, examples: Sequence[Example], precision: float | None
) -> tuple[Confidence, Reliability, Reliability]:
    """Return temperature and thresholds, and how reliable scores are without and with the temperature."""
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
            # Rounded down: in another batch, arithmetic may give the span it stands on a little less.
            thresholds[label] = None if least is None else math.floor(least * 1e5) / 1e5
    confidence = replace(confidence, temperature=temperature, precision=precision, thresholds=thresholds)
    return confidence, reliability(before, right), reliability(after, right)


def _decisions_of(
    labeler: Labeler, examples: Sequence[Example]
) -> tuple[Callable[[float], np.ndarray], np.ndarray, np.ndarray]:
    """Return how everything the labeler finds scores under a temperature, whether it is right, and its label."""
    scores = example_scores(labeler, examples)
    predictions = list(label_examples(labeler, examples))
    found = [prediction.labeled_spans() for prediction in predictions]
    _, right = decisions([example.labeled_spans() for example in examples], found)
    rows, tag_ids, starts = _places(labeler, predictions)

    def scores_at(temperature: float) -> np.ndarray:
        log_probs = np.concatenate(log_probs_of(with_confidence(labeler, Confidence(temperature)), scores))
        picked = log_probs[rows, tag_ids].astype(float)
        return np.exp(np.add.reduceat(picked, starts) / np.diff(np.append(starts, len(picked))))

    return scores_at, right, np.array([span.label for spans in found for span in spans])


def _places(labeler: Labeler, predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the row and the tag of each word of each thing found, (n,), and where each thing begins among them."""
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


def _quantiles(labeler: Labeler, examples: Sequence[Example], coverage: float) -> dict[str, float | None]:
    """Return for each tag how improbable it may be to be in a set.

    One for each tag, so that the guarantee holds for the rare ones too: Sadinle, Lei and Wasserman 2019, "Least
    Ambiguous Set-Valued Classifiers With Bounded Error Levels" (arXiv 1609.00451), section 3.
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
