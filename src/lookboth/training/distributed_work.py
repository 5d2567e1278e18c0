"""Distributing work over processes: equal parts of optimizer steps, and shares of texts to label."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lookboth.data import split_evenly
from lookboth.evaluation import Evaluation, evaluate_labeler
from lookboth.inference import TextLabeler
from lookboth.labelers import Labeler
from lookboth.training.batches import RunBatches
from lookboth.training.checkpoints import is_sharded
from lookboth.training.process_group import ProcessGroup, gather_from_ranks
from lookboth.types import Example, Prediction, TokenizedExample

# Index of a batch, and index of a piece in it.
BatchItem = tuple[int, int]


@dataclass
class SharedBatches:
    """The batches of a run in parts for several processes, as a map-style dataset; item i goes to rank i %
    processes.

    In one optimizer step all processes together train on the `accumulation` batches that a single process
    would train on. So steps, learning rates, dev scores and checkpoints are the same for any number of
    processes. Every process gets the same number of parts, because a process with fewer would block the
    others. A part is never larger than the largest batch of its step. A step with fewer sentences than parts
    is filled with unlabeled sentences, which do not change the weights.

    Args:
        batches: batches of the run.
        accumulation: number of batches per optimizer step.
        processes: number of processes.
    """

    batches: RunBatches
    accumulation: int
    processes: int
    _lengths: list[int] = field(init=False, repr=False)
    _last: tuple[int, list[list[BatchItem]]] = field(init=False, repr=False, default=(-1, []))

    def __post_init__(self) -> None:
        self._lengths = list(self.batches.piece_lengths())

    @property
    def parts_of_each(self) -> int:
        """Return the number of parts per process and optimizer step; their gradients are accumulated."""
        return -(-self.accumulation // self.processes)

    def __len__(self) -> int:
        """Return the number of parts over all processes."""
        steps, rest = divmod(len(self.batches), self.accumulation)
        return self.processes * (steps * self.parts_of_each + -(-rest // self.processes))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the tensors of one part."""
        step, part = divmod(index, self.processes * self.parts_of_each)
        parts = self.parts(step)
        if parts[part]:
            return self.batches.tensors(self._pieces(parts[part]))
        # Every process must run a forward and backward pass in each part, or the others would wait for it.
        shortest = min((place for places in parts for place in places), key=self._length)
        return self.batches.tensors([_without_labels(self._pieces([shortest])[0])])

    def parts(self, step: int) -> list[list[BatchItem]]:
        """Return the items of each part of an optimizer step."""
        if self._last[0] != step:
            self._last = (step, self._share_out(step))
        return self._last[1]

    def _share_out(self, step: int) -> list[list[BatchItem]]:
        numbers = range(len(self.batches))[step * self.accumulation : (step + 1) * self.accumulation]
        places = [
            (number, place) for number in numbers for place in range(len(self.batches.schedule[number]))
        ]
        rounds = -(-len(numbers) // self.processes)
        lengths = [self._length(place) for place in places]
        parts = split_evenly(lengths, rounds * self.processes, layout=self.batches.layout)
        dealt: list[list[BatchItem]] = []
        for number in range(rounds):
            turn = parts[number * self.processes : (number + 1) * self.processes]
            # Alternate the direction, so that rank 0 does not get the largest part of every round.
            dealt += [[places[i] for i in part] for part in (turn[::-1] if number % 2 else turn)]
        return dealt

    def _pieces(self, places: list[BatchItem]) -> list[TokenizedExample]:
        whole = {number: self.batches.pieces_of(number) for number in {number for number, _ in places}}
        return [whole[number][place] for number, place in places]

    def _length(self, place: BatchItem) -> int:
        return self._lengths[self.batches.schedule[place[0]][place[1]]]


class SharedLabeler(TextLabeler):
    """Labels a share of the texts in each process and returns all predictions in every process.

    All processes must call it with the same texts.

    Args:
        labeler: the labeler, identical in every process.
    """

    def __init__(self, labeler: TextLabeler) -> None:
        self.labeler, self.group = labeler, ProcessGroup.current()
        self.config, self.model, self.tokenizer = labeler.config, labeler.model, labeler.tokenizer

    @property
    def device(self) -> torch.device:
        """Return the device of this process's weights."""
        return self.labeler.device

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`."""
        # Sorted by length, each process gets texts of all lengths and about the same amount of work.
        by_length = sorted(range(len(examples)), key=lambda index: len(examples[index].words))
        mine = by_length[self.group.rank :: self.group.size]
        chosen = [examples[index] for index in mine]
        shares = gather_from_ranks((mine, list(self.labeler.label_chunk(chosen, batch_tokens=batch_tokens))))
        place = {index: prediction for share in shares for index, prediction in zip(*share, strict=True)}
        return (place[index] for index in range(len(examples)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the wrapped labeler."""
        self.labeler.save_pretrained(folder)

    def summarize(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Return the additional results of the labeler, next to its scores."""
        return self.labeler.summarize(predictions)


def share_labeling(labeler: TextLabeler) -> TextLabeler:
    """Return a labeler that shares its work among all processes; `labeler` itself in a single process.

    Sharded weights must run in lockstep, so then each process labels every text.
    """
    in_step = isinstance(labeler, Labeler) and is_sharded(labeler.model)
    return labeler if ProcessGroup.current().size == 1 or in_step else SharedLabeler(labeler)


def score_tests(labeler: TextLabeler, tests: Mapping[str, Sequence[Example]]) -> dict[str, Evaluation]:
    """Return the scores of each test data set, by name; all processes share the labeling."""
    return {name: evaluate_labeler(share_labeling(labeler), examples) for name, examples in tests.items()}


def _without_labels(piece: TokenizedExample) -> TokenizedExample:
    labels = tuple(-100 if isinstance(label, int) else (-100,) * len(label) for label in piece.labels or ())
    return replace(piece, labels=labels)
