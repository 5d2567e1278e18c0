"""Entity-level scores equal to seqeval's strict mode, with conlleval's F1 next to them.

Spans match only if start, end and label are the same. Every score names its scorer, because strict scoring and
conlleval (which repairs ill-formed tags) differ by up to half a point on the same output.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from lookboth.data import decode_tags, resolve_scheme
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.scores import Counts, Scores, divide
from lookboth.types import PredictedSpan, Span

AnySpan: TypeAlias = Span | PredictedSpan
SpanSequences: TypeAlias = Sequence[Sequence[AnySpan]]
TagSequences: TypeAlias = Sequence[Sequence[str]]
Mode: TypeAlias = Literal["strict", "conlleval"]


def count_spans(gold: SpanSequences, predicted: SpanSequences) -> dict[str, Counts]:
    """Count exact matches, false positives and false negatives per label.

    Duplicate spans in a sentence count once, as in seqeval.

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.

    Raises:
        DataError: when the two differ in their number of sentences.

    >>> count_spans([[Span(0, 2, "PER")]], [[Span(0, 2, "PER"), Span(3, 4, "LOC")]])
    {'LOC': Counts(tp=0, fp=1, fn=0), 'PER': Counts(tp=1, fp=0, fn=0)}
    """
    _check_same_length(gold, predicted)
    totals: dict[str, list[int]] = {}
    for wanted, found in zip(gold, predicted, strict=True):
        a, b = _as_set(wanted), _as_set(found)
        for column, spans in enumerate((a & b, b - a, a - b)):
            for span in spans:
                totals.setdefault(span.label, [0, 0, 0])[column] += 1
    return {label: Counts(*totals[label]) for label in sorted(totals)}


def count_per_sentence(gold: SpanSequences, predicted: SpanSequences) -> list[Counts]:
    """Count exact matches, false positives and false negatives per sentence, all labels together.

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.

    Raises:
        DataError: when the two differ in their number of sentences.

    >>> count_per_sentence([[Span(0, 2, "PER")], []], [[Span(0, 1, "PER")], []])
    [Counts(tp=0, fp=1, fn=1), Counts(tp=0, fp=0, fn=0)]
    """
    _check_same_length(gold, predicted)
    pairs = [(_as_set(a), _as_set(b)) for a, b in zip(gold, predicted, strict=True)]
    return [Counts(len(a & b), len(b - a), len(a - b)) for a, b in pairs]


def score_spans(
    gold: SpanSequences,
    predicted: SpanSequences,
    *,
    num_words: int | None = None,
    gold_tags: TagSequences | None = None,
    predicted_tags: TagSequences | None = None,
    scheme: str = "IOB2",
    mode: Mode = "strict",
) -> Scores:
    """Score predicted spans against gold spans.

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.
        num_words: number of words in all sentences; counted from the tags if they are given.
        gold_tags: the gold tag of each word, for token accuracy and conlleval's F1.
        predicted_tags: the predicted tag of each word; required with `gold_tags`.
        scheme: the scheme of the tags; part of the scorer's name.
        mode: how the spans were decoded from tags; part of the scorer's name.

    Raises:
        DataError: when sentences or words do not pair up.

    >>> scores = score_spans([[Span(0, 1, "PER")]], [[Span(0, 1, "PER")]], num_words=3)
    >>> scores.scorer, scores.micro.f1
    ('strict entity-level, IOB2', 1.0)
    """
    accuracy = conlleval = None
    if (gold_tags is None) != (predicted_tags is None):
        raise DataError("only one of gold_tags and predicted_tags was given; give both, or neither.")
    if gold_tags is not None and predicted_tags is not None:
        _check_same_length(gold, gold_tags)
        accuracy = token_accuracy(gold_tags, predicted_tags)
        num_words = sum(map(len, gold_tags))
        conlleval = None if scheme == "plain" else conlleval_f1(gold_tags, predicted_tags, scheme)
    return Scores(
        scorer=_scorer_name(scheme, mode),
        scheme=scheme,
        per_label=count_spans(gold, predicted),
        num_sentences=len(gold),
        num_words=num_words,
        token_accuracy=accuracy,
        conlleval_f1=conlleval,
    )


def score_tags(
    gold_tags: TagSequences, predicted_tags: TagSequences, scheme: str = "IOB2", mode: Mode = "strict"
) -> Scores:
    """Score predicted tags against gold tags.

    Args:
        gold_tags: the tag of each word of each sentence.
        predicted_tags: the same shape.
        scheme: "IOB2", "IOBES", "BILOU", "IOB1", or "plain" where every tag is a label (POS).
        mode: "strict" ignores ill-formed spans in gold and predicted tags (seqeval's strict mode);
            "conlleval" repairs them first.

    Raises:
        ConfigError: when `mode` or `scheme` has another value.
        DataError: when sentences or words do not pair up.

    >>> gold, predicted = [["B-PER", "I-PER", "O"]], [["I-PER", "I-PER", "O"]]
    >>> score_tags(gold, predicted).micro.f1, score_tags(gold, predicted, mode="conlleval").micro.f1
    (0.0, 1.0)
    """
    if mode not in ("strict", "conlleval"):
        raise ConfigError(f"unknown scoring mode {mode!r}; it must be 'strict' or 'conlleval'.")
    scheme, repair = resolve_scheme(scheme), mode == "conlleval"
    return score_spans(
        [decode_tags(tags, scheme, repair=repair) for tags in gold_tags],
        [decode_tags(tags, scheme, repair=repair) for tags in predicted_tags],
        gold_tags=gold_tags,
        predicted_tags=predicted_tags,
        scheme=scheme,
        mode=mode,
    )


def conlleval_f1(gold_tags: TagSequences, predicted_tags: TagSequences, scheme: str = "IOB2") -> float:
    """Return micro F1 as the CoNLL script conlleval computes it: ill-formed tags are repaired.

    Args:
        gold_tags: the tag of each word of each sentence.
        predicted_tags: the same shape.
        scheme: the scheme of both.

    Raises:
        DataError: when sentences do not pair up.

    >>> conlleval_f1([["B-PER", "I-PER"]], [["I-PER", "I-PER"]])
    1.0
    """
    gold = [decode_tags(tags, scheme, repair=True) for tags in gold_tags]
    predicted = [decode_tags(tags, scheme, repair=True) for tags in predicted_tags]
    return sum(count_per_sentence(gold, predicted), Counts()).f1


def token_accuracy(gold_tags: TagSequences, predicted_tags: TagSequences) -> float:
    """Return the share of words with the right tag; 0.0 when there are no words.

    Args:
        gold_tags: the tag of each word of each sentence.
        predicted_tags: the same shape.

    Raises:
        DataError: when sentences or words do not pair up.

    >>> token_accuracy([["DET", "NOUN"], ["VERB"]], [["DET", "VERB"], ["VERB"]])
    0.6666666666666666
    """
    _check_same_length(gold_tags, predicted_tags)
    for index, (wanted, found) in enumerate(zip(gold_tags, predicted_tags, strict=True)):
        if len(wanted) != len(found):
            raise DataError(
                f"sentence {index}: {len(wanted)} words but {len(found)} predicted tags; "
                "scoring needs one tag per word, so split long inputs into windows instead of truncating them."
            )
    num_right = sum(
        a == b for x, y in zip(gold_tags, predicted_tags, strict=True) for a, b in zip(x, y, strict=True)
    )
    return divide(num_right, sum(map(len, gold_tags)))


def _scorer_name(scheme: str, mode: Mode) -> str:
    if scheme == "plain":
        return "every word, plain tags"
    return f"{'strict' if mode == 'strict' else 'conlleval (repaired)'} entity-level, {scheme}"


def _as_set(spans: Sequence[AnySpan]) -> set[Span]:
    # Predicted spans have a score, which must not take part in the comparison.
    return {Span(span.start, span.end, span.label) for span in spans}


def _check_same_length(gold: Sequence[Any], predicted: Sequence[Any]) -> None:
    if len(gold) != len(predicted):
        raise DataError(
            f"{len(gold)} gold sentences but {len(predicted)} predicted ones; "
            "scoring needs one prediction per sentence, in the same order."
        )
