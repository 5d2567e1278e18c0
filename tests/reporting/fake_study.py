"""Run folders as a study writes them, with predictions drawn at random: some methods better, some alike."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np

from lookboth.config.recipe_files import parse_config
from lookboth.evaluation.metrics import score_spans
from lookboth.evaluation.runfile import write_predictions, write_run
from lookboth.types import Example, Span

LABELS = ("PER", "LOC", "ORG")
NAMES = {"PER": "Ada Alan Grace Emmy", "LOC": "Rome Oslo Lima", "ORG": "Acme Initech Umbrella Hooli"}
PLANS = ["".join(bits) for bits in product("01", repeat=4)]


def sentences(count: int, rng: np.random.Generator, source: str = "x.conll") -> list[Example]:
    """Sentences with two or three spans, one to three words long."""
    found = []
    for number in range(count):
        words, spans = ["So"], []
        for label in rng.choice(LABELS, size=rng.integers(1, 4)):
            length = int(rng.integers(1, 4))
            spans.append(Span(len(words), len(words) + length, str(label)))
            words += [str(w) for w in rng.choice(NAMES[label].split(), size=length)] + ["met"]
        found.append(Example((*words, "<b>&"), tuple(spans), source=f"{source}:{number}"))
    return found


def predict(examples: list[Example], accuracy: float, rng: np.random.Generator) -> list[list[Span]]:
    """Each gold span with that probability, else one of the kinds of mistakes."""
    return [[s for span in e.spans for s in _find(span, accuracy, rng)] for e in examples]


def _find(span: Span, accuracy: float, rng: np.random.Generator) -> list[Span]:
    if rng.random() < accuracy:
        return [span]
    other = str(rng.choice([label for label in LABELS if label != span.label]))
    wider = Span(span.start, span.end + 1, span.label)
    choices = [[], [span._replace(label=other)], [wider], [wider._replace(label=other)]]
    return choices[rng.integers(len(choices))]


def write_one(
    folder: Path, keys: dict, accuracy: float, seed: int, *, splits: dict[str, list[Example]]
) -> None:
    """Write one run folder; `splits` are scored by name."""
    rng = np.random.default_rng(list("/".join(folder.parts[-3:]).encode()))
    config = parse_config(keys)
    found = {name: predict(examples, accuracy, rng) for name, examples in splits.items()}
    scores: dict = {
        name: score_spans([e.spans for e in examples], found[name], num_words=99).to_dict()
        for name, examples in splits.items()
    }
    best = scores["dev"]["headline"]
    scores["history"] = {"steps": [10, 20, 30], "dev_f1": [best / 2, best * 0.9, best], "best": 30}
    write_run(
        folder,
        config=config.to_dict(),
        scores=scores,
        plan=config.plan,
        seed=seed,
        started=datetime(2025, 3, 1, tzinfo=UTC),
        wall_seconds=60.0,
        data_files={},
    )
    write_predictions(
        folder,
        [example for examples in splits.values() for example in examples],
        [spans for name in splits for spans in found[name]],
        splits=[name for name, examples in splits.items() for _ in examples],
    )


def write_study(
    root: Path,
    *,
    datasets: Sequence[str] = ("ner", "events"),
    methods: Sequence[str] = (*PLANS, "sr1", "first"),
    num_seeds: int = 3,
    num_sentences: int = 60,
) -> Path:
    """Write a study: plans of four groups, of which later groups help; `sr1` as good as full; `first` worse."""
    rng = np.random.default_rng(0)
    for dataset in datasets:
        splits = {
            "dev": sentences(num_sentences // 2, rng),
            f"test:{dataset}": sentences(num_sentences, rng),
        }
        train = root.parent / f"{dataset}.conll"
        train.write_text("Ada\tB-PER\nmet\tO\nRome\tB-LOC\n\n" * 3, encoding="utf-8")
        worth = {plan: 0.6 + 0.03 * int(plan[2]) + 0.17 * int(plan[3]) for plan in PLANS} | {
            "sr1": 0.8,
            "first": 0.35,
        }
        for method, seed in product(methods, range(num_seeds)):
            accuracy = worth[method]
            keys = {
                "plan": method if method in PLANS else "causal",
                "repetition": int(method == "sr1"),
                "label_on": "first" if method == "first" else "last",
                "data": {"train": str(train), "dev": str(train), "test": str(train)},
                "training": {"seeds": [seed], "lr": 1e-3 if method == "0011" else 5e-4},
                "study": {"name": "fake", "data": dataset, "method": method},
            }
            write_one(root / dataset / method / f"seed-{seed}", keys, accuracy, seed, splits=splits)
            if seed == 0 and method == "sr1":
                keys["study"] = keys["study"] | {"stage": "tuning"}
                folder = root / "tuning" / dataset / method / "lr=1" / "seed-0"
                write_one(folder, keys, 0.99, 0, splits={"dev": splits["dev"]})
    return root
