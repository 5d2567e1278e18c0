"""Evaluation of a labeler on labeled examples: scores, bootstrap interval, reliability, coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from lookboth.data import NESTED, LabelText, do_overlap, encode_spans, require_one_label
from lookboth.evaluation.calibration import Coverage, Reliability, decisions, measure_coverage, reliability
from lookboth.evaluation.metrics import score_spans
from lookboth.evaluation.scores import Scores
from lookboth.evaluation.significance import Interval, bootstrap_interval
from lookboth.evaluation.text_scores import score_texts
from lookboth.inference import keep_above
from lookboth.types import Example, Prediction, Span, Task

if TYPE_CHECKING:
    from lookboth.inference import TextLabeler


class LabeledAs(Protocol):
    """The settings of a labeler, or of a recipe, that its scores depend on."""

    @property
    def task(self) -> Task:
        """Whether words or whole texts are labeled."""

    @property
    def scheme(self) -> str:
        """Tag scheme of predictions; not used for whole texts."""

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a labeler on a data set and their scores.

    Args:
        scores: strict entity-level scores, token accuracy for plain tags, or the scores of whole texts.
        interval: bootstrap interval of the headline score over sentences; None for plain tags.
        examples: the scored examples.
        predictions: one prediction per example.
        reliability: reliability of the scores of predicted spans.
        coverage: how often sets of tags contain the gold tag; None if the labeler predicts no sets.
        extra: further counts of the labeler, such as the unreadable answers of a generative one.
    """

    scores: Scores
    interval: Interval | None
    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    extra: Mapping[str, Any] = field(default_factory=dict)
    reliability: Reliability | None = None
    coverage: Coverage | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return scores and interval as JSON for run.json."""
        interval = None if self.interval is None else list(self.interval)
        found = {"reliability": self.reliability and self.reliability.to_dict()}
        found["coverage"] = self.coverage and self.coverage._asdict()
        return {
            **self.scores.to_dict(),
            "interval": interval,
            **self.extra,
            **{k: v for k, v in found.items() if v},
        }

    def describe(self) -> str:
        """Return the score table as text."""
        text = self.scores.describe()
        if self.interval is not None:
            low, high = (100 * bound for bound in self.interval)
            text += f"\n95 % bootstrap interval of {self.scores.headline_name}: {low:.1f} to {high:.1f}"
        for name, counts in self.extra.items():
            text += f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in counts.items())
        return text

    def describe_confidence(self) -> str:
        """Return reliability and coverage as text."""
        return "\n".join(part.describe() for part in (self.reliability, self.coverage) if part is not None)


def evaluate_labeler(
    labeler: "TextLabeler",
    examples: Sequence[Example],
    *,
    batch_tokens: int | None = None,
    interval: bool = True,
    min_score: Mapping[str, float | None] | None = None,
) -> Evaluation:
    """Label `examples` and score the predictions strictly.

    For whole texts with one label each, micro F1 equals accuracy, and so does its interval.

    Args:
        labeler: any labeler; gold labels that it does not know count as missed.
        examples: with gold spans, or labels of whole texts. Labels outside the label set of an example are not counted.
        batch_tokens: tokens computed at once; None: a number that suits the device.
        interval: also resample sentences for a 95 % interval.
        min_score: lowest accepted score of each label, as in `Prediction.above`; predictions below it are dropped.

    Raises:
        DataError: a text does not have exactly one label, but the labeler predicts exactly one.
    """
    require_gold(examples, labeler.config)
    predictions = [
        _only_annotated(prediction, example, labeler.config)
        for prediction, example in zip(_predict(labeler, examples, batch_tokens), examples, strict=True)
    ]
    if min_score is not None:
        # Applied to predictions as a user would, so that the scores are those after the thresholds.
        predictions = [keep_above(prediction, min_score, labeler.config.scheme) for prediction in predictions]
    found = score_predictions(predictions, examples, labeler.config, interval=interval)
    return replace(found, extra=labeler.summarize(predictions))


def score_predictions(
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    config: LabeledAs,
    *,
    interval: bool = True,
) -> Evaluation:
    """Score the predictions for `examples` strictly.

    Args:
        predictions: one prediction per example.
        examples: with gold spans, or labels of whole texts.
        config: what is labeled.
        interval: as in `evaluate_labeler`.
    """
    of_texts = config.task == "classification"
    gold = [example.labeled_spans() for example in examples]
    found = [prediction.labeled_spans() for prediction in predictions]
    if of_texts:
        scores: Scores = score_texts(
            [example.text_labels for example in examples],
            [[span.label for span in spans] for spans in found],
            multi_label=config.multi_label,
        )
    else:
        scores = _score_words(gold, predictions, config.scheme)
    # Plain tags have no spans to resample: their headline is token accuracy.
    wanted = interval and (of_texts or config.scheme != "plain") and bool(examples)
    bounds = bootstrap_interval(gold, found) if wanted else None
    return Evaluation(
        scores,
        bounds,
        examples,
        predictions,
        reliability=reliability(*decisions(gold, found)),
        coverage=_coverage(examples, predictions, config),
    )


def require_gold(examples: Sequence[Example], config: Any) -> None:
    """Check that every text has exactly one label if a labeler of this configuration predicts exactly one.

    Raises:
        DataError: a text has none or several; the message names its line.
    """
    if config.task == "classification" and not config.multi_label:
        for example in examples:
            require_one_label(example)


def gold_tags(example: Example, config: Any) -> Sequence[str]:
    """Return the gold tag of each word in the labeler's scheme, or the labels of a whole text."""
    if config.task == "classification":
        return example.text_labels
    return encode_spans(example.spans, len(example.words), config.scheme)


def _only_annotated(prediction: Prediction, example: Example, config: Any) -> Prediction:
    """Return a prediction without the labels that the data of its example do not annotate."""
    if not example.label_set:
        return prediction
    annotated = {LabelText.parse(text).name for text in example.label_set}
    others = dict.fromkeys(label for label in config.labels if label not in annotated)
    return keep_above(prediction, others, config.scheme) if others else prediction


def _coverage(examples: Sequence[Example], predictions: Sequence[Prediction], config: Any) -> Coverage | None:
    sets = [prediction.tag_sets for prediction in predictions if prediction.tag_sets is not None]
    if len(sets) < len(predictions) or not sets:
        return None
    return measure_coverage([gold_tags(example, config) for example in examples], sets)


def _score_words(gold: Sequence[Sequence[Span]], predictions: Sequence[Prediction], scheme: str) -> Scores:
    found = [prediction.spans for prediction in predictions]
    # Sets of spans are compared; where spans may overlap, a word has no single tag.
    if scheme == NESTED or any(map(do_overlap, gold)):
        num_words = sum(len(prediction.words) for prediction in predictions)
        return score_spans(gold, found, num_words=num_words, scheme=scheme)
    return score_spans(
        gold,
        found,
        gold_tags=[encode_spans(s, len(p.words), scheme) for s, p in zip(gold, predictions, strict=True)],
        predicted_tags=[prediction.tags for prediction in predictions],
        scheme=scheme,
    )


def _predict(
    labeler: "TextLabeler", examples: Sequence[Example], batch_tokens: int | None
) -> Sequence[Prediction]:
    from lookboth.inference import label_examples

    return list(label_examples(labeler, examples, batch_tokens=batch_tokens))
