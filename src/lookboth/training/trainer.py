"""The training loop: the stock transformers.Trainer over scheduled batches, keeping the best dev score."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lookboth.compat import shard_by_layers, use_one_gpu
from lookboth.config import AdapterConfig, RunConfig, TrainConfig
from lookboth.errors import ConfigError
from lookboth.masking import find_stack, get_plan
from lookboth.run_folder import TrainingFolder
from lookboth.training.adapters import num_trainable
from lookboth.training.averaging import Averager
from lookboth.training.batches import RunBatches, num_steps, only_batch, step_tokens
from lookboth.training.best_weights import History, KeepBest
from lookboth.training.checkpoints import last_checkpoint, without_frozen
from lookboth.training.distributed_work import SharedBatches
from lookboth.training.footprint import memory_lines
from lookboth.training.lora_places import describe_pairs
from lookboth.training.loss_callbacks import Diverged, DivergenceCheck, ProgressReporter, SectionLog
from lookboth.training.optimizing import GroupedTrainer, lr_factors, optimizer_arguments
from lookboth.training.process_group import (
    ProcessGroup,
    join_process_group,
    on_rank_zero,
    shards_weights,
)


def fit(
    model: nn.Module,
    batches: RunBatches,
    *,
    config: TrainConfig,
    seed: int,
    folder: Path,
    score_dev: Callable[[], float],
    until: float = 1.0,
    section: str = "training",
    adapter: AdapterConfig | None = None,
) -> History:
    """Train `model` in place and leave it with the weights of the best dev score.

    An interrupted run resumes from its last checkpoint in `folder`, with any number of processes. Several
    processes share each optimizer step (`SharedBatches`) and sum their losses over all words of the step.

    Args:
        model: a LabelerModel or LanguageModel.
        batches: all batches of the run.
        config: the training section of a recipe.
        seed: seed of dropout (the batches have their own).
        folder: folder for checkpoints, history and the best weights.
        score_dev: returns the dev score of the current weights, higher is better.
        until: share of the steps after which to pause with the current weights; a later call with the same
            folder resumes.
        section: section of the recipe that `config` is from, for messages.
        adapter: the adapter section of a recipe, for its own learning rates.

    Raises:
        Diverged: the loss or a weight became infinite or NaN before any dev score above 0.
    """
    _check_tracker(config.track)
    group = join_process_group()
    shared = SharedBatches(batches, config.accumulation, group.size)
    folder.mkdir(parents=True, exist_ok=True)
    steps = num_steps(batches, config)
    pause = _Pause(max(1, round(until * steps)), steps)
    scored = _evaluation_steps(batches, config)
    averager = Averager(model, config, folder)
    log = SectionLog(section)
    keeper = KeepBest(model, folder, score_dev, scored, config.patience, log, averager)
    watch = DivergenceCheck(model, {*scored, pause.step}, lr_key=f"{section}.lr", lr=config.lr)
    if keeper.finished():
        keeper.restore_best()
        return keeper.history
    if shards_weights():
        shard_by_layers(model, {type(layer).__name__ for layer in find_stack(model).layers})
    with without_frozen(model):
        trainer = _build_trainer(
            model,
            batches if group.size == 1 else shared,
            config,
            adapter or AdapterConfig(),
            args=_arguments(config, folder, seed, group, accumulation=shared.parts_of_each),
            # In this order: the averager updates the average that the keeper then scores.
            callbacks=[watch, averager, keeper, ProgressReporter(log, step_tokens(batches, config)), pause],
        )
        _run(trainer, keeper)
    # A paused training keeps its current weights, because its score is that of this moment.
    if not pause.reached:
        keeper.restore_best()
    return keeper.history


def _build_trainer(
    model: nn.Module,
    dataset: RunBatches | SharedBatches,
    config: TrainConfig,
    adapter: AdapterConfig,
    *,
    args: TrainingArguments,
    callbacks: list[TrainerCallback],
) -> GroupedTrainer:
    trainer = GroupedTrainer(
        lr_factors=lr_factors(config, adapter),
        scale_losses=config.precision == "fp16",
        model=model,
        args=args,
        train_dataset=dataset,
        data_collator=only_batch,
        callbacks=callbacks,
    )
    # `ProgressReporter` logs what this callback would print.
    trainer.remove_callback(PrinterCallback)
    if shards_weights() and not trainer.is_fsdp_enabled:
        raise ConfigError(
            "FSDP: accelerate supports it on GPUs only, and this machine has none. Start without FSDP."
        )
    return trainer


def _run(trainer: GroupedTrainer, keeper: KeepBest) -> None:
    """Train from the last checkpoint to the end; a divergence ends the training if there are weights to keep."""
    checkpoint = on_rank_zero(lambda: last_checkpoint(keeper.folder.checkpoints))
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except Diverged as error:
        if keeper.history.best_score <= 0:
            raise
        keeper.log.warning(f"{error} The weights of step {keeper.history.best_step} are kept.")


def read_config_lines(config: RunConfig, batches: RunBatches, model: nn.Module) -> Sequence[str]:
    """Describe the training that is about to start, for the user to check."""
    training = config.training
    steps = num_steps(batches, training)
    total = sum(parameter.numel() for parameter in model.parameters())
    pairs = describe_pairs(model)
    return (
        f"model {config.model}, plan {get_plan(model) or 'as the model was made'}, adapter {config.adapter.kind}: "
        f"{num_trainable(model):,} of {total:,} weights are trained",
        *([] if pairs is None else [pairs]),
        f"{len(batches.pieces):,} sentences, {batches.num_tokens():,} tokens over "
        f"{len(batches.epoch_ends)} epochs, {steps:,} steps, {100 * batches.padding():.1f} % padding",
        *memory_lines(model, config, batches),
    )


class _Pause(TrainerCallback):
    """Stops a training early so that it can be resumed; used by successive halving. `reached` is True if it did."""

    def __init__(self, step: int, last: int) -> None:
        self.step, self.last, self.reached = step, last, False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self.step <= state.global_step < self.last:
            self.reached = control.should_save = control.should_training_stop = True
        return control


def _arguments(
    config: TrainConfig, folder: Path, seed: int, group: ProcessGroup, *, accumulation: int
) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(TrainingFolder(folder).checkpoints),
        # The dataset is the schedule of batches of all epochs, and one item is one ready-made batch.
        num_train_epochs=1,
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        gradient_accumulation_steps=accumulation,
        **optimizer_arguments(config),
        save_strategy="steps",
        save_steps=config.checkpoint_steps,
        save_total_limit=1,
        logging_steps=25,
        # The filter would hide NaN losses from the divergence check and synchronize with the device every step.
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[] if config.track == "none" else [config.track],
        # Each process draws its own dropout masks.
        seed=seed + 10_007 * group.rank,
        data_seed=seed,
        # Sum losses over the words of all processes before dividing, as a single process would.
        average_tokens_across_devices=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        label_names=["labels"],
    )
    # DataParallel would split a batch between GPUs in the middle of sentences.
    use_one_gpu(arguments)
    return arguments


def _check_tracker(track: str) -> None:
    if track != "none" and find_spec(track) is None:
        raise ConfigError(
            f"training.track = {track!r}: the package is not installed. Type: pip install 'lookboth[track]'"
        )


def _evaluation_steps(batches: RunBatches, config: TrainConfig) -> set[int]:
    """Return the optimizer steps after which to score dev data; always includes the last step."""
    steps, start = {num_steps(batches, config)}, 0
    for end in batches.epoch_ends:
        for part in range(1, config.evals_per_epoch + 1):
            batch = start + (end - start) * part // config.evals_per_epoch
            steps.add(max(1, -(-batch // config.accumulation)))
        start = end
    return steps
