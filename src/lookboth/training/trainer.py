"""The training run: the stock transformers.Trainer over planned batches, the best dev score kept."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from lookboth.config import AdapterConfig, RunConfig, TrainConfig
from lookboth.errors import ConfigError, DataError
from lookboth.files import read_state, write_json
from lookboth.masking import find_stack
from lookboth.run_folder import TrainingFolder
from lookboth.training.adapters import num_trainable
from lookboth.training.averaging import Averager
from lookboth.training.batches import RunBatches, only_batch
from lookboth.training.checkpoints import last_checkpoint, load_weights, without_frozen, write_weights
from lookboth.training.footprint import memory_lines
from lookboth.training.lora_places import describe_pairs
from lookboth.training.optimizing import GroupedTrainer, lr_factors, optimizer_arguments
from lookboth.training.sharing import SharedBatches
from lookboth.training.team import Team, from_all, join, on_first, shards_weights
from lookboth.training.watching import Diverged, Progress, Watch


@dataclass
class History:
    """Dev scores along a run.

    Args:
        steps, scores: optimizer step and dev score of each evaluation, in order.
        best_step, best_score: the weights that are kept; ties go to the earlier one.
        stopped_early: whether patience ended the run.
    """

    steps: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_step: int = 0
    best_score: float = -1.0
    stopped_early: bool = False

    def since_best(self) -> int:
        """Return how many evaluations have passed since the best one."""
        return sum(step > self.best_step for step in self.steps)


def fit(
    model: nn.Module,
    batches: RunBatches,
    *,
    config: TrainConfig,
    seed: int,
    folder: Path,
    score_dev: Callable[[], float],
    say: Callable[[str], None] = print,
    until: float = 1.0,
    lr_key: str = "training.lr",
    adapter: AdapterConfig | None = None,
) -> History:
    """Train `model` in place and leave it with the weights of the best dev score.

    A run that was killed goes on from its last checkpoint in `folder` when called again, by any number of processes:
    several share each optimizer step (`SharedBatches`) and sum their losses over all words of the step.

    Args:
        model: a LabelerModel or LanguageModel.
        batches: all batches of the run.
        config: the training section of a recipe.
        seed: of dropout (the batches have theirs already).
        folder: for checkpoints, history and the best weights.
        score_dev: scores the model as it stands on dev data, higher is better.
        say: told of progress and dev scores, a line at a time.
        until: share of the steps after which to pause, with the weights of that moment; called again with the same
            folder, the training goes on.
        lr_key: the key of the recipe that says config.lr.
        adapter: the adapter section of a recipe, for learning rates of its own.

    Raises:
        Diverged: loss or weights are no finite numbers, and no dev score above 0 came before.
    """
    _check_tracker(config.track)
    team = join()
    shared = SharedBatches(batches, config.accumulation, team.size)
    folder.mkdir(parents=True, exist_ok=True)
    steps = num_steps(batches, config)
    pause = _Pause(max(1, round(until * steps)), steps)
    scored = _evaluation_steps(batches, config)
    averager = Averager(model, config, folder)
    keeper = _KeepBest(model, folder, score_dev, scored, config.patience, say, averager)
    watch = Watch(model, {*scored, pause.step}, lr_key=lr_key, lr=config.lr)
    if keeper.finished():
        keeper.restore_best()
        return keeper.history
    if shards_weights():
        layers = {type(layer).__name__ for layer in find_stack(model).layers}
        model._no_split_modules = sorted(layers)  # type: ignore[assignment]  # where accelerate looks for what to shard
    with without_frozen(model):
        trainer = GroupedTrainer(
            lr_factors=lr_factors(config, adapter or AdapterConfig()),
            scale_losses=config.precision == "fp16",
            model=model,
            args=_arguments(config, folder, seed, team, accumulation=shared.parts_of_each),
            train_dataset=batches if team.size == 1 else shared,  # type: ignore[arg-type]
            data_collator=only_batch,
            callbacks=[watch, averager, keeper, Progress(say, step_tokens(batches, config)), pause],
        )
        trainer.remove_callback(PrinterCallback)
        if shards_weights() and not trainer.is_fsdp_enabled:
            raise ConfigError("FSDP: accelerate has it for GPUs only, and here is none. Start without FSDP.")
        checkpoint = on_first(lambda: last_checkpoint(TrainingFolder(folder).checkpoints))
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
        except Diverged as error:
            if keeper.history.best_score <= 0:
                raise
            say(f"{error} The weights of step {keeper.history.best_step} are kept.")
    if not pause.reached:
        keeper.restore_best()
    return keeper.history


def num_steps(batches: RunBatches, config: TrainConfig) -> int:
    """Return how many optimizer steps a run takes."""
    return max(1, -(-len(batches) // config.accumulation))


def step_tokens(batches: RunBatches, config: TrainConfig) -> list[int]:
    """Return the tokens of each optimizer step, padding not counted."""
    lengths = batches.piece_lengths()
    tokens = [sum(lengths[i] for i in batch) for batch in batches.plan]
    size = config.accumulation
    return [sum(tokens[start : start + size]) for start in range(0, len(tokens), size)]


def read_config_lines(config: RunConfig, batches: RunBatches, model: nn.Module) -> Sequence[str]:
    """Return what a run is about to do with `model`, for the user to read before it starts."""
    training = config.training
    steps = num_steps(batches, training)
    total = sum(parameter.numel() for parameter in model.parameters())
    pairs = describe_pairs(model)
    return (
        f"model {config.model}, plan {config.plan or 'as the model was made'}, adapter {config.adapter.kind}: "
        f"{num_trainable(model):,} of {total:,} weights are trained",
        *([] if pairs is None else [pairs]),
        f"{len(batches.pieces):,} sentences, {batches.num_tokens():,} tokens over "
        f"{len(batches.epoch_ends)} epochs, {steps:,} steps, {100 * batches.padding():.1f} % padding",
        *memory_lines(model, config, batches),
    )


class _KeepBest(TrainerCallback):
    """Scores dev data at the planned steps, keeps the best weights, stops when patience is out."""

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        score_dev: Callable[[], float],
        at_steps: set[int],
        patience: int | None,
        say: Callable[[str], None],
        averager: Averager,
    ) -> None:
        self.model, self.folder, self.score_dev, self.say = model, TrainingFolder(folder), score_dev, say
        self.averager = averager
        self.at_steps, self.patience = at_steps, patience
        self.history = History()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.history = self._saved_history() if state.global_step else History()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        history, step = self.history, state.global_step
        if step in self.at_steps and step not in history.steps:
            with self.averager.averaged(step):
                self._score(step)
            if self.patience is not None and history.since_best() >= self.patience:
                history.stopped_early = control.should_training_stop = True
            on_first(lambda: write_json(self.folder.history, asdict(history)))
            control.should_save = True
            self.say(f"step {step}: dev {100 * history.scores[-1]:.2f} (best {100 * history.best_score:.2f})")
        return control

    def _score(self, step: int) -> None:
        """Score the model as it stands and keep its weights where they are the best so far."""
        history = self.history
        score = from_all(self.score_dev())[0]  # all go on, or stop, by the same number
        history.steps.append(step)
        history.scores.append(score)
        if score > history.best_score:
            history.best_step, history.best_score = step, score
            write_weights(self.model, self.folder.best)

    def finished(self) -> bool:
        """Whether an earlier run in this folder has already run out of patience; its history is then ours."""
        self.history = self._saved_history()
        return self.history.stopped_early

    def _saved_history(self) -> History:
        file = self.folder.history
        stored = read_state(file, lambda content: History(**content))
        if stored is None and file.exists():  # without it the best weights could be overwritten by worse ones
            raise DataError(
                f"{file}: damaged, so this training cannot be resumed. Remove the folder {self.folder.path} and start "
                "again."
            )
        return stored or History()

    def restore_best(self) -> None:
        """Load the weights of the best dev score, if any were kept."""
        file = self.folder.best
        if self.history.steps and file.is_file():
            load_weights(self.model, file)


class _Pause(TrainerCallback):
    """Ends a training before its last step, to be gone on with; `reached` says whether it did."""

    def __init__(self, step: int, last: int) -> None:
        self.step, self.last, self.reached = step, last, False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self.step <= state.global_step < self.last:
            self.reached = control.should_save = control.should_training_stop = True
        return control


def _arguments(
    config: TrainConfig, folder: Path, seed: int, team: Team, *, accumulation: int
) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(TrainingFolder(folder).checkpoints),
        num_train_epochs=1,  # the batches of all epochs are one planned sequence
        per_device_train_batch_size=1,  # one item is one ready-made batch
        train_sampling_strategy="sequential",
        gradient_accumulation_steps=accumulation,
        **optimizer_arguments(config),
        save_strategy="steps",
        save_steps=config.checkpoint_steps,
        save_total_limit=1,
        logging_steps=25,
        logging_nan_inf_filter=False,  # it would hide them, and wait for the device at every step
        disable_tqdm=True,
        report_to=[] if config.track == "none" else [config.track],
        seed=seed + 10_007 * team.rank,  # of dropout: each process draws its own
        data_seed=seed,
        average_tokens_across_devices=True,  # losses are summed over the words of all processes, then divided
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        label_names=["labels"],
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # else each GPU gets a part of a batch, cut without regard to sentences
    return arguments


def _check_tracker(track: str) -> None:
    if track != "none" and find_spec(track) is None:
        raise ConfigError(
            f"training.track = {track!r}: the package is not installed. Type: pip install 'lookboth[track]'"
        )


def _evaluation_steps(batches: RunBatches, config: TrainConfig) -> set[int]:
    """Return the optimizer steps after which dev data is scored; the last step is always one."""
    steps, start = {num_steps(batches, config)}, 0
    for end in batches.epoch_ends:
        for part in range(1, config.evals_per_epoch + 1):
            batch = start + (end - start) * part // config.evals_per_epoch
            steps.add(max(1, -(-batch // config.accumulation)))
        start = end
    return steps
