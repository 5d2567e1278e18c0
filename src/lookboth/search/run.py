"""`lookboth search`: the best plan on dev data, the evidence for it, and a labeler trained under it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lookboth.config import RunConfig
from lookboth.errors import ConfigError
from lookboth.models.loading import load_config
from lookboth.search.candidates import candidate_plans
from lookboth.search.evidence import EVIDENCE_FILE, Evidence
from lookboth.search.gates import search_gates
from lookboth.search.halving import search_halving
from lookboth.search.shared import search_layers, search_shared
from lookboth.search.task import Found, SearchTask, judge
from lookboth.training.outcome import Say, Start, TrainedRun
from lookboth.training.splits import Splits
from lookboth.training.team import require_alone

Strategy = Callable[[SearchTask], Found]
STRATEGIES: dict[str, Strategy] = {
    "shared": search_shared,
    "layers": search_layers,
    "gates": search_gates,
    "halving": search_halving,
}


def find_plan(config: RunConfig, splits: Splits, seed: int, folder: Path, say: Say) -> Evidence:
    """Return the evidence for the best plan on dev; test data is not read.

    Killed and called again with the same folder, it goes on where it was.

    Args:
        config: a recipe; its section [search] says how.
        splits: the data.
        seed: of trainings and draws.
        folder: for checkpoints and scores.
        say: told of progress.

    Raises:
        ConfigError: no such strategy, or nothing to choose from.
    """
    require_alone("lookboth search")
    search = config.search
    if search.strategy not in STRATEGIES:
        raise ConfigError(
            f"search.strategy = {search.strategy!r}: allowed are {', '.join(sorted(STRATEGIES))}."
        )
    start = Start.now()
    plans = candidate_plans(
        num_layers(config),
        groups=search.groups,
        named=search.candidates,
        max_look_ahead=search.max_look_ahead,
    )
    say(f"{len(plans)} plans, strategy {search.strategy}")
    task = SearchTask(config, splits, plans, seed, folder, say)
    found = STRATEGIES[search.strategy](task)
    evidence = judge(task, found, seconds=_whole_seconds(folder / "seconds.json", start.seconds()))
    say(evidence.in_words())
    return evidence


def train_searched(config: RunConfig, splits: Splits, seed: int, folder: Path, say: Say) -> TrainedRun:
    """Search a plan, train a labeler under it as any recipe would, and write the evidence beside it."""
    from lookboth.training.classifier import train_classifier

    evidence = find_plan(config, splits, seed, folder / "training" / "search", say)
    start = Start.now()
    chosen = config.model_copy(update={"plan": evidence.chosen})
    run = train_classifier(chosen, splits, seed, folder, say)
    evidence = replace(evidence, training_seconds=start.seconds())
    text = json.dumps(evidence.to_dict(), indent=2) + "\n"
    (folder / EVIDENCE_FILE).write_text(text, encoding="utf-8")
    if (cost := evidence.cost()) is not None:
        say(f"cost: {cost:.2f} trainings, the last one included")
    return run


def _whole_seconds(file: Path, seconds: float) -> float:
    """Return how long the search took when it was first finished; going over it again costs next to nothing."""
    if file.is_file():
        return float(json.loads(file.read_text(encoding="utf-8")))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(seconds), encoding="utf-8")
    return seconds


def num_layers(config: RunConfig) -> int:
    """Return how many layers of the recipe's model are run."""
    model = load_config(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code
    ).get_text_config()
    return int(config.exit_layer or model.num_hidden_layers)
