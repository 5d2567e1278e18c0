"""Score a labeler on data: every word of every sentence counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lookboth.data import encode_spans, require_one_label
from lookboth.evaluation.calibration import Coverage, Reliability, decisions, measure_coverage, reliability
from lookboth.evaluation.metrics import score_spans
from lookboth.evaluation.scores import Scores
from lookboth.evaluation.significance import Interval, bootstrap_interval
from lookboth.evaluation.text_scores import score_texts
from lookboth.inference import keep_above
from lookboth.types import Example, Prediction, Span

if TYPE_CHECKING:
    from lookboth.inference import TextLabeler


@dataclass(frozen=True)
class Evaluation:
    """What a labeler predicted on a data set and how it scored.

    Args:
        scores: strict entity-level scores, token accuracy for plain tags, or the scores of whole texts.
        interval: bootstrap interval of the headline score over sentences; None for plain tags.
        examples: what was scored; predictions: one for each.
        reliability: how well the scores of what was found tell whether it is right.
        coverage: how often sets of tags hold the right one; None without such sets.
        extra: what the labeler tells beside the scores: a generative one, how often its answers went wrong.
    """

    scores: Scores
    interval: Interval | None
    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    extra: Mapping[str, Any] = field(default_factory=dict)
    reliability: Reliability | None = None
    coverage: Coverage | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return scores and interval for run.json."""
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
        """Return the table a person reads."""
        text = self.scores.describe()
        if self.interval is not None:
            low, high = (100 * bound for bound in self.interval)
            text += f"\n95 % bootstrap interval of {self.scores.headline_name}: {low:.1f} to {high:.1f}"
        for name, counts in self.extra.items():
            text += f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in counts.items())
        return text

    def describe_confidence(self) -> str:
        """Return what a person reads about scores and sets of tags: whether they keep what they promise."""
        return "\n".join(part.describe() for part in (self.reliability, self.coverage) if part is not None)


def evaluate_labeler(
    labeler: "TextLabeler",
    examples: Sequence[Example],
    *,
    batch_tokens: int | None = None,
    interval: bool = True,
    min_score: Mapping[str, float | None] | None = None,
) -> Evaluation:
    """Label `examples` and score the result strictly.

    For whole texts, micro F1 of a single-label task is its accuracy, and so is its interval.

    Args:
        labeler: a labeler; labels of the data it does not know count as missed.
        examples: with gold spans, or labels of whole texts.
        batch_tokens: tokens computed at once; as many as suit the device when None.
        interval: also resample sentences for a 95 % interval.
        min_score: the least score of each label, as of `Prediction.above`; what is below is not counted as found.

    Raises:
        DataError: a text without exactly one label, where the labeler gives one.
    """
    require_gold(examples, labeler.config)
    of_texts = labeler.config.task == "classification"
    predictions = list(_predict(labeler, examples, batch_tokens))
    if min_score is not None:
        predictions = [keep_above(prediction, min_score, labeler.config.scheme) for prediction in predictions]
    gold = [example.labeled_spans() for example in examples]
    found = [prediction.labeled_spans() for prediction in predictions]
    if of_texts:
        scores: Scores = score_texts(
            [example.text_labels for example in examples],
            [[span.label for span in spans] for spans in found],
            multi_label=labeler.config.multi_label,
        )
    else:
        scores = _score_words(gold, predictions, labeler.config.scheme)
    wanted = interval and (of_texts or labeler.config.scheme != "plain") and bool(examples)
    bounds = bootstrap_interval(gold, found) if wanted else None
    return Evaluation(
        scores,
        bounds,
        examples,
        predictions,
        labeler.summarize(predictions),
        reliability(*decisions(gold, found)),
        _coverage(examples, predictions, labeler.config),
    )


def require_gold(examples: Sequence[Example], config: Any) -> None:
    """Refuse texts without exactly one label, where a labeler of this configuration gives one.

    Raises:
        DataError: there is such a text; the message names its line.
    """
    if config.task == "classification" and not config.multi_label:
        for example in examples:
            require_one_label(example)


def gold_tags(example: Example, config: Any) -> Sequence[str]:
    """Return the tag of each word that a labeler of this configuration should give, or the label of a whole text."""
    if config.task == "classification":
        return example.text_labels
    return encode_spans(example.spans, len(example.words), config.scheme)


def _coverage(examples: Sequence[Example], predictions: Sequence[Prediction], config: Any) -> Coverage | None:
    sets = [prediction.tag_sets for prediction in predictions if prediction.tag_sets is not None]
    if len(sets) < len(predictions) or not sets:
        return None
    return measure_coverage([gold_tags(example, config) for example in examples], sets)


def _score_words(gold: Sequence[Sequence[Span]], predictions: Sequence[Prediction], scheme: str) -> Scores:
    return score_spans(
        gold,
        [prediction.spans for prediction in predictions],
        gold_tags=[encode_spans(s, len(p.words), scheme) for s, p in zip(gold, predictions, strict=True)],
        predicted_tags=[prediction.tags for prediction in predictions],
        scheme=scheme,
    )


def _predict(
    labeler: "TextLabeler", examples: Sequence[Example], batch_tokens: int | None
) -> Sequence[Prediction]:
    from lookboth.inference import label_examples

    return list(label_examples(labeler, examples, batch_tokens=batch_tokens))
