"""MLM/CLM twins: the same architecture, text, tokenizer and number of steps; only the objective differs.

    python experiments/twins/twins.py experiments/twins/tiny.toml

After Dukić & Šnajder (2024), who train an encoder and a decoder of four RoBERTa-base layers from scratch and fine-tune
both with and without the causal mask. With mask plans, both have exactly the same architecture: RoBERTa's, trained with
CLM and plan `causal`, or with MLM and plan `full`. This script adds two variants: CLM for half of the steps and then
MLM, and no pretraining. After an interruption, the same command resumes. The results are written after each stage.
"""

import argparse
import shutil
import tomllib
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM, set_seed
from twin_results import write_results
from variants import PLANS, TWINS, Stage, slug, stage_folder

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import overlay, parse_config
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.run_folder import RunFolder
from lookboth.training.adaptation_texts import read_texts
from lookboth.training.training_runs import adapt, train

RESULTS = Path(__file__).resolve().parent.parent / "results" / "twins"
# Ids 0 to 4; those of <s>, <pad> and </s> are the same as in RoBERTa.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def main() -> None:
    """Train and fine-tune all twins of a recipe, seed by seed, and write their report after each stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, help="a TOML file in the folder of this script")
    parser.add_argument("--out", type=Path, help="folder for models and runs; default: runs/twins/NAME")
    parser.add_argument(
        "--results", type=Path, help="folder for the results; default: experiments/results/twins/NAME"
    )
    parser.add_argument(
        "--report", action="store_true", help="only write the results of what is finished; do not train"
    )
    parser.add_argument(
        "--text",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="more text for pretraining: .txt files or data sets, of which the train sentences are read without labels",
    )
    args = parser.parse_args()
    quiet_libraries()
    settings, name = tomllib.loads(args.recipe.read_text(encoding="utf-8")), args.recipe.stem
    section = settings["pretraining"]["adaptation"]
    section["text"] = [*section["text"], *args.text]
    out, results = args.out or Path("runs/twins") / name, args.results or RESULTS / name
    if not out.exists() and results.exists():
        parser.error(
            f"{results} has the results of another run. Remove them, or name another folder: --results DIR"
        )

    def done() -> None:
        write_results(settings, out, results)

    for seed in () if args.report else settings["seeds"]:
        with progress_to(print):
            run_seed(settings, seed, out / f"seed-{seed}", done)
    done()
    print((results / "table.md").read_text(encoding="utf-8"))


def run_seed(settings: dict[str, Any], seed: int, folder: Path, done: Callable[[], None]) -> None:
    """Pretrain and fine-tune every twin from the same random weights.

    Args:
        settings: the recipe.
        seed: seed of the weights, the batches and the masking.
        folder: folder for models and runs.
        done: called after each stage.
    """
    start = make_start(settings, seed, folder / "start")
    for twin in TWINS:
        model = pretrain(settings, twin, start, seed, folder / slug(twin), done)
        for task, plan in product(settings["tasks"], PLANS):
            fine_tune(labeling_recipe(settings, task, plan, model), seed, folder / slug(twin) / task / plan)
            done()


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
    settings: dict[str, Any],
    twin: str,
    model: Path,
    seed: int,
    folder: Path,
    done: Callable[[], None],
) -> Path:
    """Train all weights stage by stage; return the folder of the model."""
    for number, stage in enumerate(TWINS[twin]):
        config = pretraining_recipe(settings, stage, model)
        run = RunFolder(folder / stage_folder(number, stage))
        # A later stage has another seed and so another order of batches; otherwise it would train on the first half
        # of the text again.
        if not run.run.is_file():
            adapt(with_seed(config, seed + 1000 * number), run.path)
        done()
        model = run.path / "backbone"
    return model


def fine_tune(config: RunConfig, seed: int, folder: Path) -> None:
    """Train and score one labeler, and remove its weights."""
    run = RunFolder.of_seed(folder, seed)
    if not run.run.is_file():
        train(with_seed(config, seed), folder)
    # Only the scores are needed; the weights of all runs would fill a disk.
    for weights in (run.labeler, run.training.path):
        shutil.rmtree(weights, ignore_errors=True)


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


if __name__ == "__main__":
    main()
