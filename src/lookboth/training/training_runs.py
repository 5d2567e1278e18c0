"""Entry points of training: read the data, train one labeler per seed, write one folder per seed."""

import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import torch

from lookboth.config import RunConfig, require_supported
from lookboth.errors import ConfigError
from lookboth.evaluation import mean_and_sd, write_run
from lookboth.run_folder import RunFolder
from lookboth.training.adaptation import AdaptationReport, adapt_backbone
from lookboth.training.adaptation_texts import read_texts
from lookboth.training.continuation import continued
from lookboth.training.cross_validation import train_cross_validated
from lookboth.training.default_settings import complete_settings
from lookboth.training.distillation import read_distill_texts
from lookboth.training.folder_claim import claim_folder
from lookboth.training.footprint import require_memory
from lookboth.training.labeler_building import build_base
from lookboth.training.process_group import join_process_group, on_rank_zero, require_shared, shards_weights
from lookboth.training.run_finishing import Start, TrainedRun
from lookboth.training.splits import Splits, read_splits
from lookboth.training.teachers import find_teachers
from lookboth.training.training_methods import find_method
from lookboth.training.truncation import truncate_splits
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


def train(config: RunConfig, out: str | Path) -> list[TrainedRun]:
    """Train one labeler per seed and write each into its own folder below `out`.

    An interrupted run resumes from its last checkpoint when called again with the same `out`. Progress is logged
    to the loggers below "lookboth" at level INFO.

    Args:
        config: a recipe (`load_recipe`).
        out: output folder; `out/seed-N/` gets run.json, predictions.jsonl and labeler/.

    Returns:
        One run per seed. After training on a GPU, all labelers but the last are on the CPU.

    Raises:
        LookbothError: bad data, a plan or adapter that does not fit, or a model that cannot be loaded; raised
            before training wherever possible.
    """
    config = continued(config)
    require_supported(config)
    out = Path(out)
    splits = read_splits(config)
    config = complete_settings(config, splits)
    data = {"train": splits.train, "dev": splits.dev}
    if config.adaptation is not None and config.adaptation.text:
        data["text"] = read_texts(config)
    teachers = {}
    if config.distill is not None:
        found = find_teachers(config, [RunFolder.of_seed(out, seed).path for seed in config.training.seeds])
        teachers = {teacher.name: teacher.digest for teacher in found}
        # Read here as well, so that faulty texts are reported before the folder is claimed.
        data["distill texts"] = read_distill_texts(config)
    _gather(out, config, data, teachers)
    runs: list[TrainedRun] = []
    for seed in config.training.seeds:
        if runs:
            leave_gpu(runs[-1])
        runs.append(train_one(config, splits, seed, RunFolder.of_seed(out, seed).path))
    if len(runs) > 1:
        for name in runs[0].tests:
            mean, sd = mean_and_sd([run.tests[name].scores.headline for run in runs])
            LOGGER.info(
                f"{name}: {100 * mean:.2f} ± {100 * (sd or 0):.2f} (mean and sd over {len(runs)} seeds)"
            )
    return runs


def adapt(config: RunConfig, out: str | Path) -> AdaptationReport:
    """Run only the adaptation of a recipe, with its first seed, and write the trained weights into `out`.

    Another recipe can use `out/adapter` as adapter.start_from; with adapter.kind = "full" it can use
    `out/backbone` as its model. An interrupted call resumes when repeated.

    Args:
        config: a recipe with the section [adaptation].
        out: output folder; also gets run.json.

    Raises:
        LookbothError: as in `train`.
    """
    from transformers import set_seed

    out, seed, start = Path(out), config.training.seeds[0], Start.now()
    texts = read_texts(config)
    _gather(out, config, {"text": texts})
    set_seed(seed)
    base = build_base(config)
    report = adapt_backbone(config, base.backbone, base.tokenizer, seed=seed, folder=out, texts=texts)
    on_rank_zero(
        lambda: write_run(
            out,
            config=config.to_dict(),
            scores={"adaptation": asdict(report)},
            plan=report.plan,
            seed=seed,
            started=start.time,
            wall_seconds=start.seconds(),
            data_files={},
        )
    )
    return report


def train_one(config: RunConfig, splits: Splits, seed: int, folder: Path) -> TrainedRun:
    """Train one labeler by the recipe's method; see `train`."""
    splits = truncate_splits(splits, config)
    # Before any weights are loaded.
    require_memory(config)
    if config.method == "classifier" and not splits.dev:
        return train_cross_validated(config, splits, seed, folder)
    return find_method(config.method)(config, splits, seed, folder)


def leave_gpu(run: TrainedRun) -> None:
    """Move a finished labeler to the CPU and free its GPU memory for the next seed."""
    run.labeler.model.to("cpu")
    # The Trainer and its optimizer form a reference cycle, which only the collector frees.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _gather(
    out: Path,
    config: RunConfig,
    data: Mapping[str, Sequence[Example]],
    teachers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Connect the processes and claim the folder for them."""
    if shards_weights():
        _check_sharding(config)
    group = join_process_group()
    on_rank_zero(lambda: claim_folder(out, config, data, teachers))
    require_shared(RunFolder(out).recipe)
    if group.size > 1:
        LOGGER.info(f"{group.size} processes share each optimizer step")
    gpus = torch.cuda.device_count()
    # A search runs in a single process.
    if group.size == 1 and gpus > 1 and config.method != "search":
        command = f"torchrun --nproc-per-node {gpus} -m lookboth ..."
        LOGGER.info(f"{gpus} GPUs found, one is used. To use all: {command} (docs/distributed.md)")


def _check_sharding(config: RunConfig) -> None:
    """Refuse settings that are not supported with FSDP."""
    refused = {
        f"method = {config.method!r}": config.method != "classifier",
        # FSDP cannot shard 4-bit weights.
        "adapter.kind = 'qlora'": config.adapter.kind == "qlora",
        "[adaptation]": config.adaptation is not None,
        "training.precision = 'fp16'": config.training.precision == "fp16",
        "training.ema": config.training.ema is not None,
        "training.average_evals": config.training.average_evals > 1,
        f"training.optimizer = {config.training.optimizer!r}": "adamw_torch" not in config.training.optimizer,
    }
    for key, is_there in refused.items():
        if is_there:
            raise ConfigError(
                f"{key}: not supported with FSDP. Start it without: torchrun --nproc-per-node N -m lookboth train."
            )
