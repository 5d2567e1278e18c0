"""Methods that generate labels as text: supervised in-context fine-tuning, instruction tuning, in-context
learning.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from lookboth.config import RunConfig
from lookboth.data import LabelText
from lookboth.evaluation import evaluate_labeler
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_building import ICL, build_generative
from lookboth.generative.generative_config import GenerativeLabelerConfig
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.training_examples import TrainingExampleBatches, TrainingExamples, num_epochs
from lookboth.labelers import parse_settings, read_settings
from lookboth.run_folder import RunFolder
from lookboth.training import (
    DevScorer,
    History,
    Splits,
    Start,
    TrainedRun,
    find_pad_id,
    finish_run,
    fit,
    label_texts_of,
    labels_of,
    read_config_lines,
    refuse_evaluated,
    score_tests,
    share_labeling,
    start_folder,
)
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


def train_generative(config: RunConfig, splits: Splits, seed: int, folder: Path) -> TrainedRun:
    """Train a language model to generate labels, or only prompt it (method = "icl").

    "sift" is supervised in-context fine-tuning (Dukić, Glavaš, Šnajder 2025, arXiv 2509.00921): every
    training prompt has k demonstrations, drawn again in each epoch. "instruction_tuning" has none and trains
    on the answer. Demonstrations in training are always training sentences.
    """
    from transformers import set_seed

    start = Start.now()
    # Before the adapter is created: its initial weights are random.
    set_seed(seed)
    refuse_evaluated(config, config.generative.pool, "generative.pool")
    labeled = [*splits.train, *splits.dev, *splits.pool]
    labeler = build_generative(
        config,
        labels=sorted({*labels_of(labeled), *_start_labels(config)}),
        pool=[*splits.train, *splits.pool],
        seed=seed,
        descriptions=_descriptions(labeled),
    )
    score_dev = DevScorer(lambda: evaluate_labeler(share_labeling(labeler), splits.dev))
    history = History()
    if config.method != ICL:
        history = _fit(labeler, config, splits.train, seed, folder, score_dev)
    # With "icl" the history is empty, and dev data is scored here for the first time.
    dev = score_dev.at(history.best_score)
    tests = score_tests(labeler, splits.tests)
    return finish_run(TrainedRun(seed, folder, labeler, history, dev, tests), config, splits.files, start)


def _fit(
    labeler: GenerativeLabeler,
    config: RunConfig,
    train: Sequence[Example],
    seed: int,
    folder: Path,
    score_dev: DevScorer,
) -> History:
    settings, language = labeler.config.generative, labeler.model.language
    whole = [part for example in train for _, part in labeler.cut(example)]
    examples = TrainingExamples(
        labeler.writer,
        Demonstrations(whole, settings, seed=seed),
        num_epochs=num_epochs(config.training.epochs),
        loss=settings.loss,
    )
    pad_id = find_pad_id(labeler.tokenizer)
    batches = TrainingExampleBatches.of(examples, config=config.training, seed=seed, pad_id=pad_id)
    for line in read_config_lines(config, batches, language):
        LOGGER.info(line)
    return fit(
        language,
        batches,
        config=config.training,
        seed=seed,
        folder=RunFolder(folder).training.path,
        score_dev=score_dev,
        adapter=config.adapter,
    )


def _descriptions(examples: Sequence[Example]) -> dict[str, str]:
    """Return the descriptions of the labels in the label sets of the examples."""
    labels = map(LabelText.parse, label_texts_of(examples))
    return {label.name: label.description for label in labels if label.description}


def _start_labels(config: RunConfig) -> tuple[str, ...]:
    """Return the labels of the labeler that is trained further; none without one."""
    if config.start is None:
        return ()
    folder = start_folder(config)
    return parse_settings(folder, read_settings(folder), GenerativeLabelerConfig.from_dict).labels
