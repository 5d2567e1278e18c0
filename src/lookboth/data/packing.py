"""Batches of tokenized examples: packed rows, rows of similar length, or the fastest batches for prediction."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Literal

from lookboth.data.batch_facts import BatchFacts
from lookboth.types import TokenizedExample

if TYPE_CHECKING:
    import numpy as np
    import torch

Layout = Literal["bucketed", "packed"]
# Share of all positions in bucketed batches.
MAX_PADDING = 0.05
# Tokens; the fixed cost of a forward pass of SmolLM2-135M on a CPU equals that of about this many tokens.
START_TOKENS = 128


@dataclass(frozen=True)
class PackedBatch:
    """Tensors of one forward pass; words are numbered through the whole batch.

    Args:
        input_ids: shape (b, t).
        position_ids: shape (b, t); in a packed row they restart at each segment.
        attention_mask: shape (b, t), True for tokens, False for padding; None without padding (packed rows).
        word_first, word_last: flat index into b * t of each word's first and last token, shape (w,).
        num_words: number of words of each example, shape (s,).
        labels: tag ids, shape (w,), -100 ignored; None for prediction.
        examples: the examples of the batch, in the order of its words.
    """

    input_ids: "torch.Tensor"
    position_ids: "torch.Tensor"
    attention_mask: "torch.Tensor | None"
    word_first: "torch.Tensor"
    word_last: "torch.Tensor"
    num_words: "torch.Tensor"
    labels: "torch.Tensor | None"
    examples: tuple[TokenizedExample, ...]

    def tensors(self) -> dict[str, "torch.Tensor"]:
        """Return the model's keyword arguments."""
        fields = (
            "input_ids",
            "position_ids",
            "attention_mask",
            "word_first",
            "word_last",
            "num_words",
            "labels",
        )
        return {name: getattr(self, name) for name in fields if getattr(self, name) is not None}

    @property
    def facts(self) -> BatchFacts:
        """What the host knows of this batch."""
        is_packed = self.attention_mask is None and len(self.examples) > 1
        num_tokens = sum(map(len, self.examples))
        num_words = tuple(len(example.word_tokens) for example in self.examples)
        return BatchFacts(is_packed, num_tokens < self.input_ids.numel(), num_words)

    def inputs(self) -> dict[str, Any]:
        """Return the model's keyword arguments with the facts of the batch."""
        return {**self.tensors(), "facts": self.facts}


def schedule_batches(
    lengths: Sequence[int],
    *,
    max_tokens: int,
    layout: Layout = "bucketed",
    seed: int | None = None,
    size: int | None = None,
) -> list[list[int]]:
    """Group examples into batches of at most `max_tokens` tokens (one longer example is a batch of its own).

    Args:
        lengths: number of tokens of each example.
        max_tokens: maximum number of tokens per batch, padding included.
        layout: "bucketed" groups examples of similar length into few batches with less than 5 % padding in total;
            "packed" fills rows with whole examples in the given order.
        seed: shuffles examples and batches for training; None keeps a fixed order.
        size: fixed number of examples per batch, in shuffled order; None: batches are limited by `max_tokens`.

    Returns:
        Lists of indices into `lengths`; every index occurs once.
    """
    order = list(range(len(lengths)))
    rng = random.Random(seed)
    if seed is not None:
        rng.shuffle(order)
    if size is not None:
        return [order[start : start + size] for start in range(0, len(order), size)]
    if layout == "bucketed":
        order.sort(key=lambda index: lengths[index])
        sizes = iter(_bucket_sizes(tuple(lengths[index] for index in order), max_tokens))
        ordered = iter(order)
        batches = [list(islice(ordered, size)) for size in sizes]
    else:
        batches = list(_fill(order, lengths, lambda _, tokens, length: tokens + length <= max_tokens))
    if seed is not None:
        rng.shuffle(batches)
    return batches


def cheapest_batches(
    lengths: Sequence[int], *, max_tokens: int, start_tokens: int = START_TOKENS
) -> list[list[int]]:
    """Group examples of similar length into the batches with the least total prediction time.

    The cost of a batch is its number of tokens, padding included, plus `start_tokens`: a few examples of different
    lengths are faster in one batch than alone. The result is optimal among all ways to cut the sorted examples.

    Args:
        lengths: number of tokens of each example.
        max_tokens: maximum number of tokens per batch, padding included; a longer example is a batch of its own.
        start_tokens: fixed cost of a batch, in tokens.

    Returns:
        Lists of indices into `lengths`, short examples first; every index occurs once.

    >>> cheapest_batches([9, 30, 8, 400], max_tokens=512)
    [[2, 0, 1], [3]]
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ordered = iter(order)
    sizes = _cheapest_cut([lengths[index] for index in order], max_tokens, start_tokens)
    return [list(islice(ordered, size)) for size in sizes]


@lru_cache(maxsize=8)
def _bucket_sizes(lengths: tuple[int, ...], max_tokens: int) -> list[int]:
    """Return the sizes of batches of sorted examples: as few as the padding limit allows."""
    # A higher cost per batch gives fewer batches and more padding: lower it until the padding limit holds.
    start_tokens = max_tokens
    while True:
        start_tokens = start_tokens * 3 // 4
        sizes = _cheapest_cut(lengths, max_tokens, start_tokens)
        ends = list(accumulate(sizes))
        computed = sum(size * lengths[end - 1] for size, end in zip(sizes, ends, strict=True))
        if start_tokens == 0 or computed - sum(lengths) <= MAX_PADDING * computed:
            return sizes


def _cheapest_cut(lengths: Sequence[int], max_tokens: int, start_tokens: int) -> list[int]:
    """Return the batch sizes with the least total cost for sorted examples (see `cheapest_batches`)."""
    # Dynamic programming: for the first n examples, the least cost and the start of their last batch.
    costs, starts = [0], [0]
    for end in range(1, len(lengths) + 1):
        longest, best = lengths[end - 1], (costs[end - 1] + lengths[end - 1], end - 1)
        most = max_tokens // longest if longest else end
        for start in range(end - 2, max(end - most, 0) - 1, -1):
            best = min(best, (costs[start] + (end - start) * longest, start))
        costs.append(best[0] + start_tokens)
        starts.append(best[1])
    sizes, end = [], len(lengths)
    while end:
        sizes.append(end - starts[end])
        end = starts[end]
    return sizes[::-1]


def split_evenly(lengths: Sequence[int], count: int, *, layout: Layout = "bucketed") -> list[list[int]]:
    """Group examples into exactly `count` batches so that the largest batch is as small as possible.

    The batches that the examples came from are a possible result (for packed rows: if the order is the same), so no
    batch becomes larger than the largest of those. With fewer examples than `count`, some batches are empty.

    Args:
        lengths: number of tokens of each example.
        count: number of batches.
        layout: "bucketed" counts padding and groups examples of similar length; "packed" keeps the order.

    Returns:
        Lists of indices into `lengths`, the largest batch first; every index occurs once.

    >>> split_evenly([9, 2, 2, 9, 2, 2, 2], 2)
    [[0, 3], [1, 2, 4, 5, 6]]
    """
    order = list(range(len(lengths)))
    if layout == "bucketed":
        order.sort(key=lambda index: lengths[index])

    def size(batch: Sequence[int]) -> int:
        tokens = [lengths[index] for index in batch]
        return sum(tokens) if layout == "packed" else len(tokens) * max(tokens, default=0)

    def filled(budget: int) -> list[list[int]]:
        def fits(examples: int, tokens: int, length: int) -> bool:
            return (tokens + length if layout == "packed" else (examples + 1) * length) <= budget

        return list(_fill(order, lengths, fits))

    # Binary search for the smallest token budget with which `count` batches suffice.
    low, high = max(lengths, default=0), size(order)
    while low < high:
        budget = (low + high) // 2
        low, high = (low, budget) if len(filled(budget)) <= count else (budget + 1, high)
    batches = filled(high)
    # Filling may need fewer batches than `count`: the largest ones are split.
    while len(batches) < min(count, len(lengths)):
        largest = max((batch for batch in batches if len(batch) > 1), key=size)
        batches.remove(largest)
        batches += [largest[: len(largest) // 2], largest[len(largest) // 2 :]]
    return sorted(batches, key=size, reverse=True) + [[] for _ in range(count - len(batches))]


def build_batch(
    examples: Sequence[TokenizedExample], *, layout: Layout = "bucketed", pad_id: int = 0
) -> PackedBatch:
    """Return the tensors of the examples, as one packed row or as rows padded on the right."""
    import torch

    arrays = build_arrays(examples, layout=layout, pad_id=pad_id)
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    labeled = all(example.labels is not None for example in examples)
    labels = [tag for example in examples for tag in example.labels or ()]
    return PackedBatch(
        **{"attention_mask": None} | tensors,
        labels=torch.tensor(labels, dtype=torch.long) if labeled else None,
        examples=tuple(examples),
    )


def build_arrays(
    examples: Sequence[TokenizedExample], *, layout: Layout = "bucketed", pad_id: int = 0
) -> "dict[str, np.ndarray]":
    """Return the model inputs of a batch as numpy arrays, named as in PackedBatch, without labels.

    Args:
        examples: the examples, one per row or all in one packed row; those that share a row occur in it once.
        layout: "bucketed", or "packed" (without `attention_mask`).
        pad_id: token id of the padding.
    """
    import numpy as np

    rows = group_rows(examples)
    lengths = [len(examples[row[0]]) for row in rows]
    longest, packed = max(lengths), layout == "packed"
    begins = [*accumulate(lengths, initial=0)] if packed else range(0, longest * len(rows), longest)
    starts = {index: begin for row, begin in zip(rows, begins, strict=False) for index in row}
    shape = (1, sum(lengths)) if packed else (len(rows), longest)
    ids = np.full(shape, pad_id, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=bool)
    for index, start in sorted(starts.items()):
        example = examples[index]
        place = slice(start, start + len(example))
        ids.reshape(-1)[place] = example.input_ids
        positions.reshape(-1)[place] = np.arange(len(example))
        mask.reshape(-1)[place] = True
    words = [
        (start + first, start + end - 1)
        for index, start in sorted(starts.items())
        for first, end in examples[index].word_tokens
    ]
    word_first, word_last = np.array(words, dtype=np.int64).reshape(-1, 2).T.copy()
    return {
        "input_ids": ids,
        "position_ids": positions,
        **({} if packed else {"attention_mask": mask}),
        "word_first": word_first,
        "word_last": word_last,
        "num_words": np.array([len(example.word_tokens) for example in examples], dtype=np.int64),
    }


def group_rows(examples: Sequence[TokenizedExample]) -> list[list[int]]:
    """Return the indices of the examples of each row: those that share a row, or a single one."""
    rows: dict[int, list[int]] = {}
    for index, example in enumerate(examples):
        rows.setdefault(id(example.input_ids) if example.shares_row else -1 - index, []).append(index)
    return list(rows.values())


def padding_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Return the share of padding if the examples of each batch are padded to one length.

    >>> padding_share([4, 4, 2], [[0, 1], [2]])
    0.0
    """
    total = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1.0 - sum(lengths) / total if total else 0.0


def _fill(
    order: Sequence[int], lengths: Sequence[int], fits: Callable[[int, int, int], bool]
) -> Iterator[list[int]]:
    """Fill batches in order; `fits(examples, tokens, length)` returns whether one more example fits."""
    batch: list[int] = []
    used = 0
    for index in order:
        if batch and not fits(len(batch), used, lengths[index]):
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += lengths[index]
    if batch:
        yield batch
