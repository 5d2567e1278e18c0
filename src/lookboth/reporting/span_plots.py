"""Plots of errors by span: confusion between labels, F1 by span length and by frequency in training data."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lookboth.evaluation import Counts, ScoredSentence, confusion, count_by_bucket, mean_and_sd
from lookboth.reporting.results import DataResults, Result
from lookboth.reporting.style import COLORS, LINES, MARKERS, Plot, panels, plot_style
from lookboth.types import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BySeed = Sequence[Sequence[ScoredSentence]]
Bucket = Callable[[Sequence[str], Span], str]
_MOST_LABELS = 12
_OTHER, _MISSED, _INVENTED = "other", "missed", "invented"


def plot_confusion(name: str, data: DataResults, sentences: Mapping[Result, BySeed]) -> Plot | None:
    """Draw the confusion matrices of the baseline and of the dev choice side by side.

    Args:
        name: name of the file.
        data: the data set.
        sentences: test sentences by result and seed; the first two results are drawn.
    """
    counts = {result: confusion(s for seed in by_seed for s in seed) for result, by_seed in sentences.items()}
    shown = list(counts.items())[:2]
    labels = _labels(Counter(label for _, found in shown for pair in found.elements() for label in pair))
    if len(labels) < 2:
        return None
    size = 1.6 + 0.34 * (len(labels) + 1)
    with plot_style():
        titles = [f"{data.name}: {data.label(result)}" for result, _ in shown]
        figure, axes = panels(titles, height=size, width=size + 0.2)
        for axis, (_, found) in zip(axes, shown, strict=True):
            _draw_confusion(axis, found, labels)
    return Plot(
        figure,
        name,
        f"Confusion between the labels of {data.name} on test data: {' and '.join(titles)}. The most frequent "
        f"mistakes: {_worst(shown[-1][1])}.",
        "Percentage of the gold spans of each row that are predicted as each column, over all seeds. A predicted span "
        "is matched with the gold span it overlaps most. Last row: predicted spans without a matching gold span. "
        f"† chosen on dev.{_rare(labels)}",
    )


def plot_buckets(
    name: str,
    what: str,
    order: Sequence[str],
    shown: Sequence[tuple[DataResults, Mapping[Result, BySeed], Bucket]],
) -> Plot | None:
    """Draw F1 by a property of spans, such as their length.

    Args:
        name: name of the file.
        what: name of the property on the axis.
        order: the buckets, in order.
        shown: data set, test sentences by result and seed, and bucket function of each panel.
    """
    counted = [(data, _count(sentences, bucket)) for data, sentences, bucket in shown]
    counted = [(data, counts) for data, counts in counted if _num_buckets(counts) > 1]
    if not counted:
        return None
    with plot_style():
        figure, axes = panels([data.name for data, _ in counted], height=2.9)
        for axis, (data, counts) in zip(axes, counted, strict=True):
            support = next(iter(counts.values()))[0]
            golds = {bucket: support.get(bucket, Counts()).support for bucket in order}
            buckets = order[: 1 + max(order.index(bucket) for bucket in order if golds[bucket])]
            for place, (result, by_seed) in enumerate(counts.items()):
                _draw_buckets(axis, buckets, by_seed, place, data.label(result))
            axis.set_xticks(range(len(buckets)), [f"{bucket}\nn={golds[bucket]}" for bucket in buckets])
            axis.set(xlabel=what, ylabel="F1 (%)", ylim=(0, 103))
            axis.legend(fontsize=8)
    return Plot(
        figure,
        name,
        f"F1 by {what}, one panel per data set: {_in_words(counted[0], order)}.",
        f"F1 on test data by {what}: mean and sd over seeds. Each gold and each predicted span counts in its own "
        "group; n: gold spans. † chosen on dev.",
    )


def _labels(counts: Counter[str | None]) -> list[str]:
    """Return the most frequent labels in alphabetical order, and "other" for the rest."""
    known = [label for label, _ in counts.most_common() if label is not None]
    return sorted(known[:_MOST_LABELS]) + ([_OTHER] if len(known) > _MOST_LABELS else [])


def _draw_confusion(
    axis: "Axes", counts: Counter[tuple[str | None, str | None]], labels: Sequence[str]
) -> None:
    rows = [*labels, _INVENTED] if any(gold is None for gold, _ in counts) else labels
    columns = [*labels, _MISSED] if any(predicted is None for _, predicted in counts) else labels
    table = np.zeros((len(rows), len(columns)))
    for (gold, predicted), number in counts.items():
        row, column = _place(gold or _INVENTED, rows), _place(predicted or _MISSED, columns)
        table[row, column] += number
    shares = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    for (place, under), share in np.ndenumerate(shares):
        if table[place, under]:
            # White text is readable on the dark cells only.
            color = "white" if share > 55 else "black"
            axis.text(under, place, f"{share:.0f}", ha="center", va="center", color=color, fontsize=7)
    axis.set_xticks(range(len(columns)), columns, rotation=90)
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel="predicted", ylabel="gold")
    axis.grid(visible=False)


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(name if name in names else _OTHER)


def _worst(counts: Counter[tuple[str | None, str | None]]) -> str:
    wrong = Counter({pair: number for pair, number in counts.items() if pair[0] != pair[1]})
    return (
        ", ".join(f"{gold or _INVENTED} as {found or _MISSED}" for (gold, found), _ in wrong.most_common(3))
        or "none"
    )


def _rare(labels: Sequence[str]) -> str:
    return (
        f" Labels beyond the {_MOST_LABELS} most frequent are together in {_OTHER!r}."
        if _OTHER in labels
        else ""
    )


def _count(sentences: Mapping[Result, BySeed], bucket: Bucket) -> dict[Result, list[dict[str, Counts]]]:
    return {
        result: [count_by_bucket(seed, bucket) for seed in by_seed] for result, by_seed in sentences.items()
    }


def _num_buckets(counts: Mapping[Result, Sequence[Mapping[str, Counts]]]) -> int:
    return max(
        (sum(c.support > 0 for c in seed.values()) for by_seed in counts.values() for seed in by_seed),
        default=0,
    )


def _draw_buckets(
    axis: "Axes", order: Sequence[str], by_seed: Sequence[Mapping[str, Counts]], place: int, label: str
) -> None:
    at, means, spreads = [], [], []
    for position, bucket in enumerate(order):
        scores = [100 * seed[bucket].f1 for seed in by_seed if bucket in seed and seed[bucket].support]
        if scores:
            mean, sd = mean_and_sd(scores)
            # Shifted sideways, so that the error bars do not overlap.
            at.append(position + 0.08 * (place - 1))
            means.append(mean)
            spreads.append(sd or 0.0)
    color, marker, line = (choices[place % len(choices)] for choices in (COLORS, MARKERS, LINES))
    axis.errorbar(
        at, means, spreads, color=color, marker=marker, linestyle=line, ms=4, lw=1.3, capsize=2, label=label
    )


def _in_words(
    panel: tuple[DataResults, Mapping[Result, Sequence[Mapping[str, Counts]]]], order: Sequence[str]
) -> str:
    data, counts = panel
    parts = []
    for result, by_seed in list(counts.items())[:2]:
        means = [(b, [seed[b].f1 for seed in by_seed if b in seed and seed[b].support]) for b in order]
        values = ", ".join(f"{b}: {100 * sum(scores) / len(scores):.0f}" for b, scores in means if scores)
        parts.append(f"{data.name} with {data.label(result)} {values}")
    return "; ".join(parts)
