"""Audits of a data set: read the data of a recipe, judge every sentence out of fold, and rank the findings."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookboth.audit.findings import Finding, find_errors
from lookboth.audit.out_of_fold import TagProbs, probs_of_folds, probs_of_labeler
from lookboth.config import RunConfig, require_supported
from lookboth.data import (
    LabelText,
    decode_tags,
    describe_labels,
    map_labels,
    read_source,
    similar_to,
    similarity_messages,
    source_path,
    split_of,
)
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation import Counts, count_per_sentence
from lookboth.inference import HeadLabeler, decode_tags_constrained, require_scores
from lookboth.labelers import open_labeler
from lookboth.training import hash_examples, read_options, sample
from lookboth.types import Dataset, Example, Span

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Args:
        source: recipe keys with which the data were read: `data`, `scheme`.
        digest: hash of the data.
        dataset: the data, after data.label_map.
        chosen: indices of the judged sentences.
        findings: the probable errors, the most probable first.
        f1: micro F1 of the models on the sentences that they judged, against the given labels.
    """

    source: dict[str, Any]
    digest: str
    dataset: Dataset
    chosen: Sequence[int]
    findings: Sequence[Finding]
    f1: float

    def describe(self) -> str:
        """Return the size of the audit and the quality of its models as text."""
        spans = sum(len(self.dataset.examples[index].spans) for index in self.chosen)
        return (
            f"{len(self.findings)} findings in {len(self.chosen)} sentences with {spans} spans. F1 of the models "
            f"on sentences they were not trained on: {100 * self.f1:.1f}. The higher it is, the more the findings tell."
        )


def audit_data(
    config: RunConfig, out: str | Path, *, num_folds: int = 5, labeler: str | None = None
) -> Audit:
    """Find the probable errors in the labels of the training data of a recipe.

    An interrupted audit resumes when called again with the same `out`. Progress is logged at level INFO.

    Args:
        config: a recipe with one source of training data; its other data are not used.
        out: folder of the folds.
        num_folds: number of trainings; each judges the sentences that it was not trained on.
        labeler: a saved labeler that judges instead; it must not have been trained on these data.

    Raises:
        LookbothError: the recipe cannot be audited, bad data, or as in `train`.
    """
    judge = None if labeler is None else _open_judge(labeler, config)
    if judge is not None:
        config = _reading_of(judge, config)
    dataset, chosen = choose_sentences(config)
    examples = [dataset.examples[index] for index in chosen]
    if judge is None:
        probs = probs_of_folds(config, examples, Path(out), num_folds=num_folds)
    else:
        probs = probs_of_labeler(_knowing_labels(judge, examples, config), examples)
    findings = [
        replace(finding, sentence=chosen[finding.sentence]) for finding in find_errors(examples, probs)
    ]
    f1 = sum(count_per_sentence([e.spans for e in examples], predicted_spans(probs)), Counts()).f1
    return Audit(source_of(config), hash_examples(dataset.examples), dataset, chosen, findings, f1)


def choose_sentences(config: RunConfig) -> tuple[Dataset, list[int]]:
    """Return the data of a recipe and the indices of its training sentences.

    Raises:
        ConfigError: the labels of such a recipe cannot be judged out of fold.
        DataError: bad data, or data without labels.
    """
    _require_auditable(config)
    dataset = read_audited(config)
    numbers = list(range(len(dataset.examples)))
    chosen = sorted(sample(numbers, config.data.max_train_sentences, config.data.sample_seed))
    for _, message in similarity_messages(Counter(label for e in dataset.examples for label in e.labels())):
        LOGGER.warning(message)
    if not any(dataset.examples[index].spans for index in chosen):
        raise DataError(f"{dataset.name}: has no labels, so none can be wrong. Name labeled data.")
    return dataset, chosen


def read_audited(config: RunConfig) -> Dataset:
    """Return the training data of a recipe, with its label map applied; all sentences, in file order.

    A file whose name contains another split (dev.conll) is read as that split.

    Raises:
        DataError: bad data.
    """
    source = config.data.train[0]
    path = source_path(source)
    split = split_of(path) if path.is_file() else None
    dataset = read_source(source, split or "train", read_options(config))
    return replace(dataset, examples=map_labels(dataset.examples, config.data.label_map))


def source_of(config: RunConfig) -> dict[str, Any]:
    """Return the recipe keys that determine how the data are read, as JSON values."""
    recipe = config.to_dict()
    return {"data": recipe["data"], "scheme": recipe["scheme"]}


def predicted_spans(probs: TagProbs) -> list[tuple[Span, ...]]:
    """Return the spans of the most probable well-formed tagging of each sentence."""

    def spans(rows: np.ndarray) -> tuple[Span, ...]:
        ids = decode_tags_constrained(rows, probs.tags, probs.scheme)
        return decode_tags([probs.tags[i] for i in ids], probs.scheme)

    return [spans(rows) if len(rows) else () for rows in probs.log_probs]


def _require_auditable(config: RunConfig) -> None:
    """Refuse recipes whose labels cannot be judged out of fold."""
    require_supported(config)
    refused = {
        f"method = {config.method!r}": (config.method != "classifier", 'method = "classifier"'),
        f"task = {config.task!r}": (config.task != "labeling", 'task = "labeling"'),
        f"head.kind = {config.head.kind!r}": (config.head.kind in {"open", "nested"}, 'head.kind = "linear"'),
        "training.folds": (config.training.folds is not None, "the folds of an audit with --folds"),
        # The labeler may have been trained on the sentences that it would judge.
        "start.labeler": (config.start is not None, "no [start]; a saved labeler judges with --labeler"),
        f"{len(config.data.train)} sources in data.train": (
            len(config.data.train) != 1,
            "one source; audit each alone",
        ),
    }
    for found, (is_there, allowed) in refused.items():
        if is_there:
            raise ConfigError(
                f"an audit finds errors in labels of words, and not with {found}. Set {allowed}."
            )


def _open_judge(name: str, config: RunConfig) -> HeadLabeler:
    """Return a saved labeler that was not trained on the data of the recipe, as far as its card tells."""
    judge = require_scores(open_labeler(name), "used for an audit")
    if judge.config.task != config.task:
        raise ConfigError(f"{name}: labels whole texts, and an audit needs labels of words.")
    if judge.config.is_nested:
        raise ConfigError(f"{name}: its spans may overlap, and an audit needs one label per word.")
    recipe = judge.config.scores.get("recipe") or {}
    if set(recipe.get("data", {}).get("train", ())) & set(config.data.train):
        raise ConfigError(
            f"{name}: was trained on {config.data.train[0]}, so it would repeat its errors. Leave out --labeler, or "
            "name one that was trained on other data."
        )
    LOGGER.warning(f"{name} must not have been trained on these data: it would repeat their errors.")
    return judge


def _reading_of(judge: HeadLabeler, config: RunConfig) -> RunConfig:
    """Return the recipe with the scheme and the splitter of a saved labeler."""
    data = config.data.model_copy(update={"splitter": config.data.splitter or judge.splitter or None})
    return config.model_copy(update={"scheme": judge.config.scheme, "data": data})


def _knowing_labels(judge: HeadLabeler, examples: Sequence[Example], config: RunConfig) -> HeadLabeler:
    """Return the labeler with the labels of the data, described as in training; refuse labels it does not know."""
    labels = sorted({label for example in examples for label in example.labels()})
    if judge.takes_labels:
        described = describe_labels(config.data.train[0], labels, config.labels)
        return require_scores(judge.with_labels([*map(LabelText.parse, described)]), "used for an audit")
    unknown = [label for label in labels if label not in judge.config.labels]
    if unknown:
        known = similar_to(unknown[0], judge.config.labels) or judge.config.labels[0]
        raise ConfigError(
            f"the labeler does not know {', '.join(unknown)}; its labels are {', '.join(judge.config.labels)}. Rename "
            f"them: --set 'data.label_map.{unknown[0]}=\"{known}\"', or drop them: --set "
            f"'data.label_map.{unknown[0]}=\"\"'"
        )
    return judge
