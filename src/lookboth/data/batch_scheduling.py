"""Grouping of examples into batches by length: packed rows, rows of similar length, or the fastest batches."""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import Literal

Layout = Literal["bucketed", "packed"]
# Share of all positions in bucketed batches.
MAX_PADDING = 0.05
# Tokens; the fixed cost of a forward pass of SmolLM2-135M on a CPU equals that of about this many tokens.
START_TOKENS = 128


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
