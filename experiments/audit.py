"""Planted label errors found by an audit: python experiments/audit.py DATA OUT.json --sentences 600

Errors are planted in a share of the spans, in equal numbers of each kind: label changed, border moved, span removed,
span added. The ranking of the audit is compared with the given spans in random order and with plain loss order: the
words by the probability of their given tag, lowest first. A place is a hit if it shares a word with a planted error.
Errors that the data had before count as misses.

With --review N a labeler is also trained, with each of --seeds, on four versions of the sentences: with the errors,
after a person has put right what was planted at the first N findings, with all suggestions of these findings, and
without errors. The epoch is chosen on the dev data as given, and all are scored on the test data as given.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from lookboth.audit.auditing import predicted_spans
from lookboth.audit.confident import tag_ids
from lookboth.audit.findings import Finding, find_errors
from lookboth.audit.out_of_fold import TagProbs, probs_of_folds
from lookboth.config.recipe_files import parse_config
from lookboth.data.schemes import encode_spans
from lookboth.data.sources import read_source
from lookboth.evaluation.metrics import count_per_sentence
from lookboth.evaluation.scores import Counts
from lookboth.files import write_json
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.training import train
from lookboth.types import Example, Span

CUTS = (50, 100, 200)
# Shuffles over which random order is averaged.
SHUFFLES = 200


@dataclass(frozen=True)
class Place:
    """Words `start` to `end` (exclusive) of a sentence."""

    sentence: int
    start: int
    end: int

    def meets(self, other: "Place") -> bool:
        """Whether two places share a word."""
        return self.sentence == other.sentence and self.start < other.end and other.start < self.end


def plant(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], dict[Place, str]]:
    """Return the examples with errors in `share` of their spans, at most one per sentence, and the kind of each."""
    rng = Random(seed)
    labels = sorted({label for example in examples for label in example.labels()})
    total = round(share * sum(len(example.spans) for example in examples))
    changed, planted = list(examples), dict[Place, str]()
    makers = {"label": _relabel, "border": _move_border, "removed": _remove, "added": _add}
    order = [index for index, example in enumerate(examples) if example.spans]
    rng.shuffle(order)
    for index in order:
        if len(planted) == total:
            break
        kind = list(makers)[len(planted) % len(makers)]
        found = makers[kind](examples[index], labels, rng)
        if found is not None:
            spans, (start, end) = found
            changed[index] = replace(examples[index], spans=tuple(sorted(spans)))
            planted[Place(index, start, end)] = kind
    return changed, planted


Changed = tuple[list[Span], tuple[int, int]] | None


def _relabel(example: Example, labels: Sequence[str], rng: Random) -> Changed:
    span = rng.choice(example.spans)
    others = [label for label in labels if label != span.label]
    return [*_without(example, span), span._replace(label=rng.choice(others))], (span.start, span.end)


def _move_border(example: Example, labels: Sequence[str], rng: Random) -> Changed:
    span = rng.choice(example.spans)
    moved = [
        span._replace(start=span.start + before, end=span.end + after)
        for before, after in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    others = _without(example, span)
    fitting = [m for m in moved if m.start < m.end and _is_free(m, others, len(example.words))]
    if not fitting:
        return None
    new = rng.choice(fitting)
    return [*others, new], (min(span.start, new.start), max(span.end, new.end))


def _remove(example: Example, labels: Sequence[str], rng: Random) -> Changed:
    span = rng.choice(example.spans)
    return _without(example, span), (span.start, span.end)


def _add(example: Example, labels: Sequence[str], rng: Random) -> Changed:
    length = rng.choice((1, 1, 2))
    starts = range(len(example.words) - length + 1)
    new = [Span(start, start + length, rng.choice(labels)) for start in starts]
    fitting = [span for span in new if _is_free(span, example.spans, len(example.words))]
    if not fitting:
        return None
    span = rng.choice(fitting)
    return [*example.spans, span], (span.start, span.end)


def _without(example: Example, span: Span) -> list[Span]:
    return [other for other in example.spans if other != span]


def _is_free(span: Span, others: Sequence[Span], num_words: int) -> bool:
    inside = span.start >= 0 and span.end <= num_words
    return inside and all(span.end <= other.start or other.end <= span.start for other in others)


def by_audit(examples: Sequence[Example], probs: TagProbs) -> list[Place]:
    """Return the places of the findings, in the order of the audit."""
    return [Place(found.sentence, *found.words_range) for found in find_errors(examples, probs)]


def by_loss(examples: Sequence[Example], probs: TagProbs) -> Iterator[Place]:
    """Yield the words by the probability of their given tag, lowest first, without neighbors of earlier words."""
    losses = []
    for number, (example, rows) in enumerate(zip(examples, probs.log_probs, strict=True)):
        given = rows[np.arange(len(rows)), tag_ids(example.spans, len(rows), probs)]
        losses += [(float(value), number, word) for word, value in enumerate(given)]
    taken: set[tuple[int, int]] = set()
    for _, number, word in sorted(losses):
        if (number, word) not in taken:
            taken |= {(number, word - 1), (number, word), (number, word + 1)}
            yield Place(number, word, word + 1)


def scored(places: Sequence[Place], planted: dict[Place, str]) -> dict[str, float]:
    """Return precision and recall, in %, of the first places at each cut."""
    result = {}
    for cut in CUTS:
        first = places[:cut]
        hits = [[error for error in planted if place.meets(error)] for place in first]
        result[f"precision at {cut}"] = 100 * sum(map(bool, hits)) / max(1, len(first))
        result[f"recall at {cut}"] = 100 * len({e for errors in hits for e in errors}) / len(planted)
    return {name: round(value, 1) for name, value in result.items()}


def compare(examples: Sequence[Example], probs: TagProbs, planted: dict[Place, str]) -> dict[str, Any]:
    """Return the scores of each order, and for the audit the recall of each kind among all findings."""
    spans = [
        Place(number, span.start, span.end)
        for number, example in enumerate(examples)
        for span in example.spans
    ]
    rng = Random(0)
    shuffles = [scored(rng.sample(spans, len(spans)), planted) for _ in range(SHUFFLES)]
    audited = by_audit(examples, probs)
    orders: dict[str, Any] = {
        "audit": scored(audited, planted),
        "loss": scored(list(islice(by_loss(examples, probs), max(CUTS))), planted),
        "random": {key: round(sum(one[key] for one in shuffles) / SHUFFLES, 1) for key in shuffles[0]},
    }
    kinds = sorted(set(planted.values()))
    recall = {
        kind: scored_kind([error for error, own in planted.items() if own == kind], audited) for kind in kinds
    }
    return {"orders": orders, "findings": len(audited), "recall by kind, all findings": recall}


def scored_kind(errors: Sequence[Place], places: Sequence[Place]) -> float:
    """Return the share of errors that any place meets, in %."""
    return round(100 * sum(any(place.meets(error) for place in places) for error in errors) / len(errors), 1)


def reviewed(
    examples: Sequence[Example],
    originals: Sequence[Example],
    planted: dict[Place, str],
    first: Sequence[Finding],
) -> list[Example]:
    """Return the examples without the planted errors that one of the findings shows."""
    places = [Place(found.sentence, *found.words_range) for found in first]
    # No sentence has two planted errors.
    mended = {error.sentence for error in planted if any(place.meets(error) for place in places)}
    return [originals[number] if number in mended else example for number, example in enumerate(examples)]


def accepted(examples: Sequence[Example], first: Sequence[Finding]) -> list[Example]:
    """Return the examples with the suggestion of every finding."""
    spans = [set(example.spans) for example in examples]
    for found in first:
        spans[found.sentence] = (spans[found.sentence] - set(found.given)) | set(found.suggested)
    return [replace(example, spans=tuple(sorted(own))) for example, own in zip(examples, spans, strict=True)]


def retrained(
    data: str, versions: dict[str, list[Example]], folder: Path, seeds: Sequence[int]
) -> dict[str, list[float]]:
    """Return the test F1, in %, of one training per seed on each version of the sentences."""
    found = {}
    for name, examples in versions.items():
        own = folder / name.replace(" ", "_")
        own.mkdir(parents=True, exist_ok=True)
        tags = (encode_spans(example.spans, len(example.words), "IOB2") for example in examples)
        texts = (
            "".join(f"{word}\t{tag}\n" for word, tag in zip(example.words, row, strict=True))
            for example, row in zip(examples, tags, strict=True)
        )
        (own / "train.conll").write_text("\n".join(texts), encoding="utf-8")
        sources = {"train": str(own / "train.conll"), "dev": f"{data}:dev", "test": [f"{data}:test"]}
        training = {"seeds": list(seeds)}
        config = parse_config(
            {"model": "smollm2-135m", "plan": "0011", "data": sources, "training": training}
        )
        scores = [next(iter(run.tests.values())).scores for run in train(config, own / "run")]
        found[name] = [round(100 * score.micro.f1, 1) for score in scores]
    return found


def main() -> None:
    """Plant errors, audit, compare the orders and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=int, default=600)
    parser.add_argument("--share", type=float, default=0.05, help="share of the spans that get an error")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/audit_planted"))
    parser.add_argument(
        "--review", type=int, default=0, help="number of findings to review before a training"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of these trainings")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    quiet_libraries()
    config = parse_config({"data": {"train": options.data}}, options.settings)
    examples = list(read_source(options.data, "train").examples)
    Random(options.seed).shuffle(examples)
    originals = examples[: options.sentences]
    examples, planted = plant(originals, options.share, options.seed)
    with progress_to(print):
        probs = probs_of_folds(config, examples, options.runs, num_folds=options.folds)
    counts = count_per_sentence([example.spans for example in examples], predicted_spans(probs))
    result: dict[str, Any] = {
        "data": options.data,
        "sentences": len(examples),
        "spans": sum(len(example.spans) for example in examples),
        "planted": len(planted),
        "folds": options.folds,
        "settings": options.settings,
        "out-of-fold F1 against the planted labels": round(100 * sum(counts, Counts()).f1, 1),
        **compare(examples, probs, planted),
    }
    if options.review:
        first = find_errors(examples, probs)[: options.review]
        versions = {
            "errors": examples,
            "reviewed": reviewed(examples, originals, planted, first),
            "all accepted": accepted(examples, first),
            "without errors": originals,
        }
        folder = options.runs / "retraining"
        result["reviewed findings"] = len(first)
        result["test F1 after training"] = retrained(options.data, versions, folder, options.seeds)
    print(result)
    write_json(options.out, result)


if __name__ == "__main__":
    main()
