"""MLM/CLM twins: the same architecture, text, tokenizer and number of steps; only the objective differs.

    python experiments/twins/twins.py experiments/twins/tiny.toml

After Dukić & Šnajder (2024), who train an encoder and a decoder of four RoBERTa-base layers from scratch and fine-tune
both with and without the causal mask. With mask plans, both have exactly the same architecture: RoBERTa's, trained with
CLM and plan `causal`, or with MLM and plan `full`. This script adds two variants: CLM for half of the steps and then
MLM, and no pretraining. After an interruption, the same command resumes.
"""

import argparse
import shutil
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM, set_seed

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import overlay, parse_config
from lookboth.evaluation.runfile import read_run
from lookboth.evaluation.seeds import mean_and_sd, paired_difference
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.training.adaptation_texts import read_texts
from lookboth.training.training_runs import adapt, train

RESULTS = Path(__file__).resolve().parent.parent / "results" / "twins"
PLANS = ("causal", "full")
# Ids 0 to 4; those of <s>, <pad> and </s> are the same as in RoBERTa.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


class Stage(NamedTuple):
    """A stage of pretraining: objective, plan and share of the steps."""

    objective: str
    plan: str
    share: float


TWINS = {
    "CLM": [Stage("clm", "causal", 1)],
    "MLM": [Stage("mlm", "full", 1)],
    "CLM then MLM": [Stage("clm", "causal", 0.5), Stage("mlm", "full", 0.5)],
    "none": [],
}


def main() -> None:
    """Train and fine-tune all twins of a recipe with all seeds, and write their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, help="a TOML file in the folder of this script")
    parser.add_argument("--out", type=Path, help="folder for models and runs; default: runs/twins/NAME")
    args = parser.parse_args()
    quiet_libraries()
    settings, name = tomllib.loads(args.recipe.read_text(encoding="utf-8")), args.recipe.stem
    out, results = args.out or Path("runs/twins") / name, RESULTS / name
    for seed in settings["seeds"]:
        with progress_to(print):
            run_seed(settings, seed, out / f"seed-{seed}", results)
    (results / "table.md").write_text(table(settings, results), encoding="utf-8")
    print((results / "table.md").read_text(encoding="utf-8"))


def run_seed(settings: dict[str, Any], seed: int, folder: Path, results: Path) -> None:
    """Pretrain and fine-tune every twin from the same random weights; copy each run.json to `results`."""
    start = make_start(settings, seed, folder / "start")
    for twin, stages in TWINS.items():
        model = pretrain(settings, stages, start, seed, folder / slug(twin), results / slug(twin))
        for task in settings["tasks"]:
            for plan in PLANS:
                config = recipe(
                    settings["labeling"], {"data": {"train": task}}, settings["tasks"][task], model
                )
                config = config.model_copy(update={"plan": plan})
                place = Path(task, plan)
                (run,) = train(with_seed(config, seed), folder / slug(twin) / place)
                keep(run.folder, results / slug(twin) / place / f"seed-{seed}")


def make_start(settings: dict[str, Any], seed: int, folder: Path) -> Path:
    """Write a randomly initialized model with a tokenizer trained on the text."""
    if not (folder / "config.json").is_file():
        config = recipe(settings["pretraining"], {"model": "none"})
        texts = (" ".join(example.words) for example in read_texts(config))
        tokenizer = train_tokenizer(texts, settings["vocab_size"])
        set_seed(seed)
        tokenizer.save_pretrained(folder)
        RobertaForMaskedLM(shape(settings, len(tokenizer))).save_pretrained(folder)
    return folder


def shape(settings: dict[str, Any], vocab_size: int) -> RobertaConfig:
    """Return the architecture of all twins."""
    return RobertaConfig(
        vocab_size=vocab_size, bos_token_id=0, pad_token_id=1, eos_token_id=2, **settings["model"]
    )


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `texts`, with RoBERTa's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Every text of both twins starts with <s>, as a decoder needs a first position before the first word.
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    names = dict(
        zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def pretrain(
    settings: dict[str, Any], stages: Sequence[Stage], model: Path, seed: int, folder: Path, results: Path
) -> Path:
    """Train all weights stage by stage; return the folder of the model."""
    for number, stage in enumerate(stages):
        config = pretraining_recipe(settings, stage, model)
        place = f"pretraining-{number}-{stage.objective}"
        # A later stage has another seed and so another order of batches; otherwise it would train on the first half
        # of the text again.
        adapt(with_seed(config, seed + 1000 * number), folder / place)
        keep(folder / place, results / place / f"seed-{seed}")
        model = folder / place / "backbone"
    return model


def pretraining_recipe(settings: dict[str, Any], stage: Stage, model: Path) -> RunConfig:
    """Return the recipe of one stage."""
    steps = round(stage.share * settings["pretraining"]["adaptation"]["steps"])
    section = {"objective": stage.objective, "plan": stage.plan, "steps": steps}
    return recipe(settings["pretraining"], {"adaptation": section}, model)


def labeling_recipe(settings: dict[str, Any], task: str, plan: str, model: Path) -> RunConfig:
    """Return the recipe of one fine-tuning."""
    own = {"data": {"train": task}, "plan": plan}
    return recipe(settings["labeling"], own, settings["tasks"][task], model)


def recipe(*layers: dict[str, Any] | Path) -> RunConfig:
    """Return the recipe of overlaid settings; a path is the model."""
    settings = [{"model": str(layer)} if isinstance(layer, Path) else layer for layer in layers]
    return parse_config(overlay({"adapter": {"kind": "full"}}, *settings), where="twins")


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """Return the recipe for one seed."""
    return config.model_copy(update={"training": config.training.model_copy(update={"seeds": (seed,)})})


def keep(run: Path, target: Path) -> None:
    """Copy the run.json of a run to the results folder."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "run.json", target / "run.json")


def slug(name: str) -> str:
    """Return the folder name of a twin."""
    return name.lower().replace(" ", "-")


def table(settings: dict[str, Any], results: Path) -> str:
    """Return test scores by pretraining and plan, and the effect of removing the mask, as Markdown."""
    blocks = []
    for task in settings["tasks"]:
        rows = ["| pretraining | causal | full | full - causal (95 % t interval) |", "|---|---|---|---|"]
        for twin in TWINS:
            scores = {plan: _test_scores(settings, results / slug(twin) / task / plan) for plan in PLANS}
            cells = []
            for values in scores.values():
                mean, sd = mean_and_sd(values)
                cells.append(f"{mean:.1f} ± {sd or 0:.1f}")
            change = paired_difference(scores["full"], scores["causal"])
            interval = (
                f" ({change.interval.low:+.1f} to {change.interval.high:+.1f})" if change.interval else ""
            )
            rows.append(f"| {twin} | {' | '.join(cells)} | {change.difference:+.1f}{interval} |")
        seeds = len(settings["seeds"])
        blocks.append(f"**{task}**, test F1, mean ± sd over {seeds} seeds\n\n" + "\n".join(rows) + "\n")
    return "\n".join([*blocks, _losses(settings, results)])


def _losses(settings: dict[str, Any], results: Path) -> str:
    rows = [
        "| pretraining | objective | steps | tokens | held-out loss before | after |",
        "|---|---|---|---|---|---|",
    ]
    for twin, stages in TWINS.items():
        for number, stage in enumerate(stages):
            place = results / slug(twin) / f"pretraining-{number}-{stage.objective}"
            runs = [read_run(place / f"seed-{seed}").scores["adaptation"] for seed in settings["seeds"]]
            before, after = (
                mean_and_sd([run[f"loss_{when}"] for run in runs]).mean for when in ("before", "after")
            )
            tokens = f"{runs[0]['tokens']:,}"
            rows.append(
                f"| {twin} | {stage.objective} | {runs[0]['steps']} | {tokens} | {before:.2f} | {after:.2f} |"
            )
    return "Pretraining, first seed's tokens, mean losses in nats per prediction\n\n" + "\n".join(rows) + "\n"


def _test_scores(settings: dict[str, Any], folder: Path) -> list[float]:
    runs = [read_run(folder / f"seed-{seed}") for seed in settings["seeds"]]
    return [
        100 * next(score for name, score in run.scores.items() if name.startswith("test:"))["micro"]["f1"]
        for run in runs
    ]


if __name__ == "__main__":
    main()
