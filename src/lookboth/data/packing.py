"""The arrays and tensors of one batch: padded rows, or one packed row."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lookboth.data.batch_facts import BatchFacts
from lookboth.data.batch_scheduling import Layout
from lookboth.types import TokenizedExample

if TYPE_CHECKING:
    import numpy as np
    import torch


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
        # Examples that share a row have its tokens once.
        lengths = [len(self.examples[row[0]]) for row in group_rows(self.examples)]
        is_packed = self.attention_mask is None and len(lengths) > 1
        num_words = tuple(len(example.word_tokens) for example in self.examples)
        return BatchFacts(is_packed, sum(lengths) < self.input_ids.numel(), num_words)

    def inputs(self) -> dict[str, Any]:
        """Return the model's keyword arguments with the facts of the batch."""
        return {**self.tensors(), "facts": self.facts}


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
    # Not strict: `accumulate` returns one border more, the end of the packed row.
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
        # Ends are exclusive in `word_tokens`, and `word_last` is the last token itself.
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
        # Examples that share a row share the tuple of its tokens; keys of other rows are negative.
        rows.setdefault(id(example.input_ids) if example.shares_row else -1 - index, []).append(index)
    return list(rows.values())
