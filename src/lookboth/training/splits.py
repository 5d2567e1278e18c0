"""The train, dev and test data of a recipe: reading, checking and mapping labels."""

import logging
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from lookboth.config import RunConfig
from lookboth.data import (
    NAME_BORDERS,
    NO_DOCUMENTS,
    ReadOptions,
    find_splits,
    has_documents,
    labels_file,
    map_labels,
    read_source,
    report_no_documents,
    similarity_messages,
    source_path,
    split_name,
)
from lookboth.errors import DataError
from lookboth.training.annotated_labels import add_label_sets, warn_of_unscored
from lookboth.training.continuation import fixes_labels
from lookboth.types import Dataset, Example

LOGGER = logging.getLogger(__name__)
_T = TypeVar("_T")
# Settings that `read_splits` does not look at; of the training it reads the folds.
_NOT_READ = {
    *("model", "revision", "plan", "train_plan", "exit_layer", "repetition", "prefix_each_copy", "label_on"),
    *("search", "study", "adapter", "training", "adaptation"),
}
# Training examples; with fewer, cross-validation costs minutes, and dev data would be much work in comparison.
FEW = 200


class Splits(NamedTuple):
    """The data of a run; test data, by data set, is scored once after training.

    `dev` is empty if cross-validation replaces it. `unscored` is the number of words cut by truncation, by split.
    `pool` has the data of `generative.pool`.
    """

    train: Sequence[Example]
    dev: Sequence[Example]
    tests: dict[str, Sequence[Example]]
    files: dict[str, Path]
    unscored: Mapping[str, int] = MappingProxyType({})
    pool: Sequence[Example] = ()


def data_settings(config: RunConfig) -> RunConfig:
    """Return the recipe without the settings that do not affect its data: recipes with equal ones share their data."""
    # What is left out must be named, so that a new setting is kept: read twice is slow, shared wrongly is wrong.
    own = config.model_dump(mode="json", exclude=_NOT_READ)
    return RunConfig.model_validate({**own, "training": {"folds": config.training.folds}})


def read_splits(config: RunConfig) -> Splits:
    """Read and check the data of a recipe and map its labels.

    A distillation may have no train data, and with texts also no dev data.

    Raises:
        DataError: ill-formed lines without data.repair, or no dev data for more sentences than cross-validation
            takes by itself.
    """
    data, options = config.data, read_options(config)
    files: dict[str, Path] = {}

    def read(sources: Sequence[str], split: str) -> dict[str, Sequence[Example]]:
        result: dict[str, Sequence[Example]] = {}
        for source in sources:
            dataset = read_source(source, split, options)
            _remember_file(files, f"{split}:{source}", dataset)
            result[source] = map_labels(dataset.examples, data.label_map)
        return result

    dev_sources = () if config.training.folds else data.dev or _default(config, "dev")
    old_sources = () if config.start is None else config.start.rehearsal
    parts = [read(data.train, "train"), read(dev_sources, "dev"), read(old_sources, "train")]
    for split, sources, part in (("train", data.train, parts[0]), ("dev", dev_sources, parts[1])):
        if sources and not any(part.values()):
            raise DataError(f"{', '.join(sources)}: no sentences in the {split} split.")
    parts.append(read(_default(config, "test") if data.test is None else data.test, "test"))
    if config.context:
        _require_documents(parts[0], config)
        for source, examples in chain.from_iterable(part.items() for part in parts[1:]):
            report_no_documents(examples, source)
    parts.append(read(config.generative.pool, "train"))
    _report_similar(chain.from_iterable(part.values() for part in parts), config)
    parts = [dict(part) for part in add_label_sets(parts, config)]
    if config.names_labels or fixes_labels(config):
        # Other descriptions train another labeler, so they are recorded like the data.
        described = {source: labels_file(source) for part in parts for source in part}
        files |= {f"labels:{source}": file for source, file in described.items() if file is not None}
    train, dev, old = (list(chain.from_iterable(part.values())) for part in parts[:3])
    if data.annotated and dev_sources:
        warn_of_unscored([*train, *old], dev)
    train = sample(train, data.max_train_sentences, data.sample_seed)
    if not dev_sources:
        _require_choice(config, train)
    if config.start is not None and old:
        train += sample(old, round(config.start.rehearsal_share * len(train)), data.sample_seed)
    return Splits(
        train,
        sample(dev, data.max_dev_sentences, data.sample_seed),
        parts[3],
        files,
        pool=list(chain.from_iterable(parts[4].values())),
    )


def _require_choice(config: RunConfig, train: Sequence[Example]) -> None:
    """Refuse data without dev data, unless cross-validation or the texts of a distillation replace them."""
    if config.training.folds or (config.distill is not None and config.distill.texts):
        return
    if config.method != "classifier" or len(train) >= FEW:
        by_folds = ", or let cross-validation choose: --set training.folds=4"
        raise DataError(
            f"{config.data.train[0]}: has no dev split, and the best epoch is chosen on dev data. Name it: "
            f"--set 'data.dev=\"FILE\"', or data.dev in the recipe{by_folds if config.method == 'classifier' else ''}."
        )


def _report_similar(data: Iterable[Sequence[Example]], config: RunConfig) -> None:
    """Warn of labels, of the data or under [labels], whose names differ only in letter case or blanks."""
    counts = Counter(label for examples in data for example in examples for label in example.labels())
    for _, message in similarity_messages({**dict.fromkeys(config.labels, 0), **counts}):
        LOGGER.warning(message)


def _require_documents(train: Mapping[str, Sequence[Example]], config: RunConfig) -> None:
    """Refuse to train with context on sentences without documents, which would have none."""
    if train and not any(map(has_documents, train.values())):
        raise DataError(
            f"{', '.join(train)}: context = {config.context!r}, but {NO_DOCUMENTS}. {NAME_BORDERS} "
            "Or leave context out."
        )


def read_options(config: RunConfig) -> ReadOptions:
    """Return the read options of a recipe's files."""
    data = config.data
    return ReadOptions(
        task=config.task,
        word_column=data.word_column,
        tag_column=data.tag_column,
        scheme=data.scheme,
        text_field=data.text_field,
        label_field=data.label_field,
        class_names=data.class_names,
        splitter=data.splitter,
        cut_words=data.cut_words,
        documents=data.documents,
        encoding=data.encoding,
        head=config.tag_scheme,
        nested=config.head.kind == "nested",
        repair=data.repair,
    )


def sample(items: list[_T], limit: int | None, seed: int) -> list[_T]:
    """Return `limit` random items; all of them, in order, without a limit."""
    if limit is None:
        return items
    random.Random(seed).shuffle(items)
    return items[:limit]


def _default(config: RunConfig, split: str) -> tuple[str, ...]:
    """Return the default source of a split: the first train source, if it has this split."""
    train = config.data.train
    first = split_name(train[0])[0] if train else ""
    if train and not source_path(first).is_file() and split in find_splits(first, config.task):
        return (first,)
    return ()


def _remember_file(files: dict[str, Path], role: str, dataset: Dataset) -> None:
    if Path(dataset.name).is_file():
        files[role] = Path(dataset.name)
