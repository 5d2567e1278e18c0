"""Training examples of a generative labeler: prompts with answers, with new demonstrations in each epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, overload

from lookboth.config import TrainConfig
from lookboth.data import padding_share, schedule_batches
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.prompt_labels import PromptLabels
from lookboth.generative.prompts import PromptWriter
from lookboth.training import RunBatches
from lookboth.types import Example, TokenizedExample

if TYPE_CHECKING:
    import torch


class TrainingExamples(Sequence[TokenizedExample]):
    """The training examples of all epochs in order, built on access.

    In each example `word_tokens` are the positions whose next token is trained, and `labels` are these
    tokens.

    Args:
        writer: the prompt writer; see `PromptLabels` for the labels of each prompt.
        demonstrations: demonstrations from the training sentences.
        num_epochs: number of epochs.
        loss: see `PromptWriter.training_example`.
    """

    def __init__(
        self, writer: PromptWriter, demonstrations: Demonstrations, *, num_epochs: int, loss: str
    ) -> None:
        self.prompt_labels, self.loss = PromptLabels(writer, demonstrations.seed), loss
        self.queries = demonstrations.pool
        self.shown: list[list[Example]] = []
        for epoch in range(num_epochs):
            self.shown += demonstrations.for_training(epoch)

    def __len__(self) -> int:
        """Return the number of examples over all epochs."""
        return len(self.shown)

    @overload
    def __getitem__(self, index: int) -> TokenizedExample: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenizedExample]: ...
    def __getitem__(self, index: int | slice) -> TokenizedExample | list[TokenizedExample]:
        """Return one tokenized prompt with its answer."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        # Index order is epoch after epoch over the same queries.
        number = index % len(self.queries)
        writer, query, shown = self.prompt_labels.draw(self.queries[number], self.shown[index], index)
        ids, predicting = writer.training_example(query, shown, self.loss)
        return TokenizedExample(
            ids, tuple((p, p + 1) for p in predicting), tuple(ids[p + 1] for p in predicting), number
        )


@dataclass
class TrainingExampleBatches(RunBatches):
    """Batches of training examples; see `RunBatches`.

    Args:
        lengths: number of tokens of each example.
    """

    lengths: Sequence[int] = ()

    @classmethod
    def of(
        cls, examples: TrainingExamples, *, config: TrainConfig, seed: int, pad_id: int
    ) -> "TrainingExampleBatches":
        """Schedule `training.epochs` epochs, each with its own examples and shuffle."""
        lengths = [len(example) for example in examples]
        schedule: list[list[int]] = []
        ends: list[int] = []
        for epoch, share in enumerate(_epoch_shares(config.epochs)):
            first = epoch * len(examples.queries)
            batches = schedule_batches(
                lengths[first : first + len(examples.queries)],
                max_tokens=config.batch_tokens,
                layout=config.layout,
                seed=seed * 10_007 + epoch,
                size=config.batch_sentences,
            )
            # A partial epoch trains on a random part, because batches are shuffled.
            kept = batches if share == 1 else batches[: max(1, round(share * len(batches)))]
            schedule += [[first + index for index in batch] for batch in kept]
            ends.append(len(schedule))
        return cls(examples, schedule, tuple(ends), config.layout, pad_id, lengths)

    def tensors(self, pieces: Sequence[TokenizedExample]) -> dict[str, Any]:
        """Return these examples as the keyword arguments of `LanguageModel.forward`."""
        tensors = super().tensors(pieces)
        tensors["positions"] = tensors.pop("word_first")
        del tensors["word_last"], tensors["num_words"]
        tensors["prompt"] = self._prompt(pieces, tensors["input_ids"])
        return tensors

    def _prompt(self, pieces: Sequence[TokenizedExample], input_ids: "torch.Tensor") -> "torch.Tensor":
        """Return the mask of tokens before the first trained one, shape (b, t)."""
        import torch

        prompt = torch.zeros_like(input_ids, dtype=torch.bool)
        start = 0
        for piece in pieces:
            prompt.view(-1)[start : start + piece.word_tokens[0][0] + 1] = True
            # Texts of a packed row follow each other; otherwise each row has the width of the batch.
            start += len(piece) if self.layout == "packed" else input_ids.shape[1]
        return prompt

    def piece_lengths(self) -> Sequence[int]:
        """Return the number of tokens of each example."""
        return self.lengths

    def padding(self) -> float:
        """Return the share of padding among all computed positions."""
        if self.layout == "packed":
            return 0.0
        # A partial epoch leaves examples out, so the used ones are numbered without gaps.
        rows = sorted(i for batch in self.schedule for i in batch)
        place = {index: number for number, index in enumerate(rows)}
        return padding_share([self.lengths[i] for i in rows], [[place[i] for i in b] for b in self.schedule])


def num_epochs(epochs: float) -> int:
    """Return the number of epochs, including a partial one."""
    return max(1, ceil(epochs - 1e-9))


def _epoch_shares(epochs: float) -> Iterator[float]:
    for epoch in range(num_epochs(epochs)):
        yield min(1.0, epochs - epoch)
