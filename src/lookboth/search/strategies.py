"""`lookboth search`: find the best plan on dev data, report the evidence and train a labeler under it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lookboth.config import RunConfig, StrategyName
from lookboth.errors import ConfigError
from lookboth.files import read_state, write_json
from lookboth.masking import MaskPlan
from lookboth.models import load_config
from lookboth.run_folder import RunFolder, TrainingFolder
from lookboth.search.candidates import USUAL_PLANS, Candidate, candidates_of
from lookboth.search.evidence import Evidence
from lookboth.search.gate_search import search_gates
from lookboth.search.halving import affordable, search_halving
from lookboth.search.one_shot import search_layers, search_shared
from lookboth.search.predictor import search_predictor
from lookboth.search.search_task import SearchResult, SearchTask, build_evidence
from lookboth.search.trials import hand_over_training, settings_of
from lookboth.training import Splits, Start, TrainedRun, require_single_process

LOGGER = logging.getLogger(__name__)
Strategy = Callable[[SearchTask], SearchResult]
STRATEGIES: dict[StrategyName, Strategy] = {
    "shared": search_shared,
    "layers": search_layers,
    "gates": search_gates,
    "halving": search_halving,
    "predictor": search_predictor,
}

# Strategies that train separate weights for every candidate.
_ALONE = ("halving", "predictor")


def search_task(config: RunConfig, splits: Splits, seed: int, folder: Path) -> SearchTask:
    """Return the search described by a recipe.

    Args:
        config: a recipe; its section [search] has the settings.
        splits: the data; test data is not read.
        seed: seed of trainings and draws.
        folder: folder for checkpoints and scores.

    Raises:
        ConfigError: fewer than two candidates.
    """
    search = config.search
    candidates = candidates_of(
        num_layers(config),
        groups=search.groups,
        named=search.candidates,
        max_look_ahead=search.max_look_ahead,
        repetition=config.repetition,
        usual=affordable(search.budget) if search.strategy == "halving" else len(USUAL_PLANS),
    )
    repetitions = {candidate.repetition for candidate in candidates}
    if search.strategy not in _ALONE and repetitions != {config.repetition}:
        raise ConfigError(
            f"search.strategy = {search.strategy!r} trains one labeler for all candidates, which must all have "
            f"repetition = {config.repetition}; found {', '.join(map(str, candidates))}. "
            f"Strategies that train each candidate separately: {', '.join(_ALONE)}."
        )
    return SearchTask(config, splits, candidates, seed, folder)


def find_plan(task: SearchTask) -> Evidence:
    """Return the evidence for the best plan on dev data; test data is not read.

    An interrupted search resumes when called again with the same folder.
    """
    require_single_process("lookboth search")
    start = Start.now()
    strategy = task.config.search.strategy
    LOGGER.info(f"{len(task.candidates)} candidates, strategy {strategy}")
    found = STRATEGIES[strategy](task)
    evidence = build_evidence(
        task, found, seconds=_whole_seconds(TrainingFolder(task.folder).seconds, start.seconds())
    )
    LOGGER.info(evidence.summary())
    return evidence


def train_searched(config: RunConfig, splits: Splits, seed: int, folder: Path) -> TrainedRun:
    """Search for a plan, train a labeler under it and write the evidence into the run folder."""
    from lookboth.training import train_classifier

    task = search_task(config, splits, seed, RunFolder(folder).training.search.path)
    evidence = find_plan(task)
    num = task.candidates[0].plan.num_layers
    chosen = Candidate(MaskPlan.parse(evidence.chosen, num), evidence.repetition)
    evidence = replace(
        evidence, continued_seconds=hand_over_training(task, chosen, RunFolder(folder).training.path)
    )
    # Write it before run.json, whose presence marks the run as finished.
    _write(evidence, folder)
    run = train_classifier(config.model_copy(update=settings_of(chosen)), splits, seed, folder)
    evidence = replace(evidence, training_seconds=run.training_seconds)
    _write(evidence, folder)
    if (cost := evidence.cost()) is not None:
        LOGGER.info(f"cost: {cost:.2f} trainings, the last one included")
    return run


def _write(evidence: Evidence, folder: Path) -> None:
    write_json(RunFolder(folder).evidence, evidence.to_dict())


def _whole_seconds(file: Path, seconds: float) -> float:
    """Return the duration of the search when it first finished; repeating a finished one takes almost no time."""
    if (first := read_state(file, float)) is not None:
        return first
    write_json(file, seconds)
    return seconds


def num_layers(config: RunConfig) -> int:
    """Return how many layers of the recipe's model run."""
    model = load_config(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code
    ).get_text_config()
    return int(config.exit_layer or model.num_hidden_layers)
