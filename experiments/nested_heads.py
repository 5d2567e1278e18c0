"""Heads for overlapping spans, on made nested data: python experiments/nested_heads.py DATA --out runs/nested_heads

DATA is a folder of flat annotation such as BioNLP 2013 CG. Nesting is made by a rule: inside each annotated span, the
longest parts that are spans elsewhere in the training data, at least twice and at least 4 of 5 times with one label,
become spans. Three heads are trained on the same sentences with the same adapter, epochs and seeds:

- linear: the product's flat head, trained on the outermost spans.
- nested: the product's head for overlapping spans, a tag sequence per label and depth.
- biaffine: scores of all pairs of first and last word, after Yu, Bohnet and Poesio 2020, "Named Entity Recognition as
  Dependency Parsing" (2020.acl-main.577), in this file only.

The learning rates of the two heads for overlapping spans are chosen on dev data with the first seed. Each training
writes a run.json; an interrupted experiment resumes.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import set_seed

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import parse_config
from lookboth.data import depths_of, read_source
from lookboth.evaluation import mean_and_sd, read_run, score_spans, write_run
from lookboth.inference import piece_scores, tokenize_for
from lookboth.labelers import Labeler
from lookboth.models.heads import Head
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.run_folder import RunFolder
from lookboth.training import Splits, fit, prepare_classifier, share_frozen_states
from lookboth.training.frozen_states import keep_frozen_states
from lookboth.types import Example, Span

LR = 1e-3
# Learning rates of each head, as multiples of LR.
FACTORS = {"nested": (3, 10), "biaffine": (1, 3, 10), "linear": (10,)}
WIDTH = 150  # of the states of first and last words, as in the paper
DROPOUT = 0.2  # of these states, as in the paper
LOG_ODDS = (
    4.6  # of "no span" at the start: 0.99 of a pair's probability with one label, about its share in the data
)


class BiaffineHead(Head):
    """Scores every pair of first and last word for every label, and for no span.

    Its outputs per word are the states of the word as first and as last word, (w, 2 * WIDTH). It learns from the tags
    of a nested head, which hold the same spans.
    """

    can_weigh = False

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        # The label of each tag sequence, and its number from 1; 0 is no span.
        self.sequences = [tag.partition("-")[2] for tag in tags[::3]]
        self.labels = sorted(set(self.sequences))
        self.first, self.last = (
            nn.Sequential(nn.Linear(hidden_size, WIDTH), nn.GELU(), nn.Dropout(DROPOUT)) for _ in range(2)
        )
        self.pairs = nn.Parameter(torch.empty(len(self.labels) + 1, WIDTH + 1, WIDTH + 1))
        nn.init.normal_(self.pairs, std=1 / WIDTH)
        with torch.no_grad():
            self.pairs[:, -1, -1] = 0
            self.pairs[0, -1, -1] = LOG_ODDS

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the states of each word as first and as last word, (w, 2 * WIDTH)."""
        return torch.cat([self.first(states), self.last(states)], dim=-1)

    def score_pairs(self, words: torch.Tensor) -> torch.Tensor:
        """Return the scores of no span and of each label for first and last words, (n, n, labels + 1)."""
        first, last = (nn.functional.pad(part, (0, 1), value=1.0) for part in words.split(WIDTH, dim=-1))
        return torch.einsum("if,cfg,jg->ijc", first, self.pairs, last)

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy summed over pairs, times the tag sequences, by whose number the model divides."""
        total, lengths = scores.new_zeros(()), num_words.tolist()
        for words, tags in zip(scores.split(lengths), labels.split(lengths), strict=True):
            gold = torch.zeros(len(words), len(words), dtype=torch.long)
            for span in self.spans_of(tags.numpy()):
                gold[span.start, span.end - 1] = self.labels.index(span.label) + 1
            upper = torch.ones_like(gold, dtype=torch.bool).triu()
            total = total + nn.functional.cross_entropy(
                self.score_pairs(words)[upper], gold[upper], reduction="sum"
            )
        return total * len(self.sequences)

    def spans_of(self, tags: np.ndarray) -> Iterator[Span]:
        """Yield the spans of the tags of a nested head, (w, sequences): 1 begins a span, 2 continues it."""
        for column, label in zip(tags.T, self.sequences, strict=True):
            for start in (column == 1).nonzero()[0]:
                inside = column[start + 1 :] == 2
                yield Span(
                    int(start), int(start + 1 + (inside.argmin() if not inside.all() else len(inside))), label
                )

    def decode(self, words: np.ndarray) -> list[Span]:
        """Return the best spans of a sentence: by score, without any that cross a better one, as in the paper."""
        scores = self.score_pairs(torch.from_numpy(words)).numpy()
        best = scores.argmax(axis=-1)
        found: list[Span] = []
        candidates = [(int(i), int(j)) for i, j in zip(*best.nonzero(), strict=True) if i <= j]
        for i, j in sorted(candidates, key=lambda pair: -scores[pair][best[pair]]):
            span = Span(i, j + 1, self.labels[best[i, j] - 1])
            if not any(crosses(span, other) for other in found):
                found.append(span)
        return found


def crosses(span: Span, other: Span) -> bool:
    """Return whether two spans overlap and neither contains the other."""
    return span.start < other.start < span.end < other.end or other.start < span.start < other.end < span.end


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        head: a key of `FACTORS`.
        factor: learning rate of the head, as a multiple of `LR`.
        seed: of the initial weights and the order of the batches.
    """

    head: str
    factor: int
    seed: int

    def folder(self, out: Path) -> Path:
        """Return its folder below `out`."""
        return out / f"{self.head}-lr{self.factor}" / f"seed-{self.seed}"


def main() -> None:
    """Train all heads, and print the scores of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, help="folder with train, dev and test data whose spans do not overlap"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=400, help="of the training")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    quiet_libraries()
    splits = read_nested(options)
    with progress_to(print), share_frozen_states():
        for head, factors in FACTORS.items():
            trials = [Trial(head, factor, 0) for factor in factors]
            chosen = max(trials, key=lambda trial: f1_of(trial, "dev", splits, options)).factor
            runs = [Trial(head, chosen, seed) for seed in range(options.seeds)]
            scores = [f1_of(run, "test", splits, options) for run in runs]
            print(f"{head}, {chosen} x lr: {mean_and_sd(scores)} {scores}", flush=True)


def read_nested(options: argparse.Namespace) -> Splits:
    """Return a sample of the data with made nesting."""
    whole = {split: read_source(str(options.data), split) for split in ("train", "dev", "test")}
    names = part_labels(whole["train"].examples)
    sizes = {"train": options.sentences, "dev": options.sentences // 4, "test": options.sentences // 2}
    train, dev, test = (
        [with_parts(example, names) for example in Random(0).sample(whole[split].examples, size)]
        for split, size in sizes.items()
    )
    spans = [span for example in (*train, *dev, *test) for span in example.spans]
    inner = sum(len(e.spans) - len(outermost(e).spans) for e in (*train, *dev, *test))
    print(f"{len(spans):,} spans, {inner:,} of them inside others")
    files = {split: options.data / f"{split}.conll" for split in sizes}
    return Splits(train, dev, {"test": test}, files)


def part_labels(examples: Sequence[Example]) -> dict[tuple[str, ...], str]:
    """Return the label of each sequence of words that is annotated at least twice, 4 of 5 times with this label."""
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for example in examples:
        for span in example.spans:
            counts[example.words[span.start : span.end]][span.label] += 1
    best = {words: found.most_common(1)[0] for words, found in counts.items() if found.total() >= 2}
    return {words: label for words, (label, count) in best.items() if count >= 0.8 * counts[words].total()}


def with_parts(example: Example, names: dict[tuple[str, ...], str]) -> Example:
    """Return the example with the longest known parts of each span as spans."""
    added: set[Span] = set()
    for span in example.spans:
        taken: set[int] = set()
        places = [(i, j) for i in range(span.start, span.end) for j in range(i + 1, span.end + 1)]
        for i, j in sorted(places, key=lambda place: place[0] - place[1]):
            label = names.get(example.words[i:j])
            if label is not None and (i, j) != span[:2] and taken.isdisjoint(range(i, j)):
                taken.update(range(i, j))
                added.add(Span(i, j, label))
    return replace(example, spans=tuple(sorted(added.union(example.spans))))


def outermost(example: Example) -> Example:
    """Return the example without spans inside others."""
    spans = example.spans
    outer = [s for s in spans if not any(o != s and o.start <= s.start and s.end <= o.end for o in spans)]
    return replace(example, spans=tuple(outer))


def f1_of(trial: Trial, split: str, splits: Splits, options: argparse.Namespace) -> float:
    """Return F1 over all spans; the training runs unless its run.json exists."""
    folder = trial.folder(options.out)
    if not RunFolder(folder).run.is_file():
        train(trial, splits, options)
    return float(read_run(folder).scores[split]["micro"]["f1"])


def train(trial: Trial, splits: Splits, options: argparse.Namespace) -> None:
    """Train, and write run.json with scores over all spans of dev and test data."""
    started, clock, folder = datetime.now(UTC), time.monotonic(), trial.folder(options.out)
    config, own = recipe(trial, splits, options), splits
    if trial.head == "linear":
        own = splits._replace(
            train=[outermost(e) for e in splits.train], dev=[outermost(e) for e in splits.dev]
        )
    prepared = prepare_classifier(config, own, trial.seed, folder / "adaptation")
    labeler = prepared.labeler
    if trial.head == "biaffine":
        set_seed(trial.seed)
        old = labeler.model.head
        labeler.model.head = BiaffineHead(old.hidden_size, old.tags, old.scheme)
    with keep_frozen_states(labeler.model, prepared.batches, config.training):
        fit(
            labeler.model,
            prepared.batches,
            config=config.training,
            seed=trial.seed,
            folder=RunFolder(folder).training.path,
            score_dev=lambda: score(labeler, splits.dev)["micro"]["f1"],
        )
        scores = {"dev": score(labeler, splits.dev), "test": score(labeler, splits.tests["test"])}
    settings = {
        "experiment": {"head": trial.head, "sentences": options.sentences},
        **config.model_dump(mode="json"),
    }
    seconds = time.monotonic() - clock
    write_run(
        folder, config=settings, scores=scores, plan=config.plan, seed=trial.seed, started=started,
        wall_seconds=seconds, data_files=splits.files,
    )  # fmt: skip
    print(json.dumps({**vars(trial), "seconds": round(seconds), "test": scores["test"]["micro"]}), flush=True)


def recipe(trial: Trial, splits: Splits, options: argparse.Namespace) -> RunConfig:
    """Return the recipe of a training; that of the biaffine head is the recipe of the nested head."""
    nested = trial.head != "linear"
    examples = [*splits.train, *splits.dev]
    depth = max(depth for example in examples for _, depth in depths_of(example.spans))
    return parse_config(
        {
            "model": "smollm2-135m",
            # Both directions in the layers that are trained.
            "plan": "0,0,0,0,0,0,0,0,0,0,0,0,0,0,1",
            "data": {"train": str(options.data)},
            "head": {"kind": "nested", "depth": depth} if nested else {"kind": "linear"},
            "adapter": {"layers": "top:2"},
            "training": {
                "lr": LR,
                "head_lr": LR * trial.factor,
                "epochs": options.epochs,
                "batch_tokens": 512,
            },
        }
    )


def score(labeler: Labeler, examples: Sequence[Example]) -> dict[str, Any]:
    """Return the strict scores over all spans."""
    head = labeler.model.head
    if isinstance(head, BiaffineHead):
        # Each sentence fits in one window.
        pieces = tokenize_for(labeler, examples)
        with torch.no_grad():
            rows = {piece.example: head.decode(words) for piece, words in piece_scores(labeler, pieces)}
        found = [rows[number] for number in range(len(examples))]
    else:
        predictions = labeler.predict_words([example.words for example in examples])
        found = [[Span(s.start, s.end, s.label) for s in prediction.spans] for prediction in predictions]
    words = sum(len(example.words) for example in examples)
    return score_spans([example.spans for example in examples], found, num_words=words).to_dict()


if __name__ == "__main__":
    main()
