"""Score a labeler on data: every word of every sentence counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lookboth.data.schemes import encode_spans
from lookboth.evaluation.metrics import score_spans
from lookboth.evaluation.scores import Scores
from lookboth.evaluation.significance import Interval, bootstrap_interval
from lookboth.types import Example, Prediction, Span

if TYPE_CHECKING:
    from lookboth.models.labeler import Labeler


@dataclass(frozen=True)
class Evaluation:
    """What a labeler predicted on a data set and how it scored.

    Args:
        scores: strict entity-level scores, or token accuracy for plain tags.
        interval: bootstrap interval of the headline score over sentences; None for plain tags.
        examples: what was scored; predictions: one for each.
    """

    scores: Scores
    interval: Interval | None
    examples: Sequence[Example]
    predictions: Sequence[Prediction]

    def to_dict(self) -> dict[str, Any]:
        """Return scores and interval for run.json."""
        interval = None if self.interval is None else list(self.interval)
        return {**self.scores.to_dict(), "interval": interval}

    def describe(self) -> str:
        """Return the table a person reads."""
        text = self.scores.describe()
        if self.interval is not None:
            low, high = (100 * bound for bound in self.interval)
            text += f"\n95 % bootstrap interval of micro F1: {low:.1f} to {high:.1f}"
        return text


def evaluate_labeler(
    labeler: "Labeler", examples: Sequence[Example], *, batch_tokens: int = 2048, interval: bool = True
) -> Evaluation:
    """Label `examples` and score the result strictly.

    Args:
        labeler: a labeler; labels of the data it does not know count as missed.
        examples: with gold spans.
        batch_tokens: tokens computed at once.
        interval: also resample sentences for a 95 % interval.
    """
    predictions = list(_predict(labeler, examples, batch_tokens))
    scheme = labeler.config.scheme
    gold = [example.spans for example in examples]
    found = [[Span(s.start, s.end, s.label) for s in prediction.spans] for prediction in predictions]
    scores = score_spans(
        gold,
        found,
        gold_tags=[encode_spans(example.spans, len(example.words), scheme) for example in examples],
        predicted_tags=[prediction.tags for prediction in predictions],
        scheme=scheme,
    )
    wanted = interval and scheme != "plain" and bool(examples)
    return Evaluation(scores, bootstrap_interval(gold, found) if wanted else None, examples, predictions)


def _predict(labeler: "Labeler", examples: Sequence[Example], batch_tokens: int) -> Sequence[Prediction]:
    from lookboth.inference.pipeline import label_examples

    return list(label_examples(labeler, examples, batch_tokens=batch_tokens))
