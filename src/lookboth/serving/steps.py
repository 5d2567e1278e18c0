"""Steppers: they cut the work on a text into steps, so that steps of several requests can share the model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from lookboth.data import as_one_document
from lookboth.inference import (
    HeadLabeler,
    TextLabeler,
    join_scores,
    piece_scores,
    predict_from_scores,
    tokenize_for,
)
from lookboth.types import Example, Prediction

if TYPE_CHECKING:
    from lookboth.generative import GenerativeLabeler

# Approximate bytes per token of English text; used only for labelers whose tokens cannot be counted.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Step:
    """The part of a text that is computed at once.

    Args:
        tokens: number of tokens.
        piece: input of the `Stepper` that made the step; opaque to other code.
    """

    tokens: int
    piece: Any


@dataclass(frozen=True)
class CutText:
    """A text and the steps that label it; a text without words has no steps.

    Args:
        example: the text with its words.
        steps: the steps in text order.
    """

    example: Example
    steps: tuple[Step, ...]

    @property
    def tokens(self) -> int:
        """Return the number of tokens to compute."""
        return sum(step.tokens for step in self.steps)


class Stepper(Protocol):
    """Cuts texts into steps, computes steps of several texts together, and joins their results."""

    def cut(self, text: str) -> CutText:
        """Return the text with its steps; it may run in parallel with `compute`, in one thread at a time."""

    def compute(self, steps: Sequence[Step], *, batch_tokens: int) -> list[Any]:
        """Return the result of each step; at most about `batch_tokens` tokens are computed at once."""

    def join(self, text: CutText, results: Sequence[Any]) -> Prediction:
        """Return the prediction of a text from the results of its steps, in order."""


def stepper_of(labeler: TextLabeler) -> Stepper:
    """Return the stepper for this kind of labeler."""
    from lookboth.generative import GenerativeLabeler

    if isinstance(labeler, HeadLabeler):
        return WindowStepper(labeler)
    return PartStepper(labeler) if isinstance(labeler, GenerativeLabeler) else TextStepper(labeler)


class WindowStepper:
    """Stepper of a labeler with a head: one step per window of a text."""

    def __init__(self, labeler: HeadLabeler) -> None:
        self._labeler = labeler

    def cut(self, text: str) -> CutText:
        """Return the text with one step per window."""
        return self._cut([self._labeler.read_text(text)])[0]

    def cut_document(self, texts: Sequence[str]) -> list[CutText]:
        """Return the texts of one document, each with one step per window."""
        return self._cut(as_one_document([self._labeler.read_text(text) for text in texts]))

    def _cut(self, examples: Sequence[Example]) -> list[CutText]:
        steps: list[list[Step]] = [[] for _ in examples]
        for piece in tokenize_for(self._labeler, examples):
            # `join` gets the windows of one text.
            steps[piece.example].append(Step(len(piece), replace(piece, example=0)))
        return [CutText(example, tuple(own)) for example, own in zip(examples, steps, strict=True)]

    def compute(self, steps: Sequence[Step], *, batch_tokens: int) -> list[Any]:
        """Return the scores of each window, (w, num_tags)."""
        # All pieces have the example 0. The batch needs distinct numbers.
        pieces = [replace(step.piece, example=number) for number, step in enumerate(steps)]
        scores = {piece.example: found for piece, found in piece_scores(self._labeler, pieces, batch_tokens)}
        return [scores[number] for number in range(len(steps))]

    def join(self, text: CutText, results: Sequence[Any]) -> Prediction:
        """Return the prediction of a text from the scores of its windows."""
        scored = ((step.piece, found) for step, found in zip(text.steps, results, strict=True))
        scores = join_scores(self._labeler, [text.example], scored)
        return next(predict_from_scores(self._labeler, [text.example], scores))[0]


class PartStepper:
    """Stepper of a generative labeler: one step per part of a text, each with its own prompt."""

    def __init__(self, labeler: "GenerativeLabeler") -> None:
        self._labeler = labeler

    def cut(self, text: str) -> CutText:
        """Return the text with one step per part."""
        example = self._labeler.read_text(text)
        parts = self._labeler.cut(example)
        return CutText(example, tuple(Step(self._tokens(part), (first, part)) for first, part in parts))

    def compute(self, steps: Sequence[Step], *, batch_tokens: int) -> list[Any]:
        """Return the generated answer for each part."""
        return list(self._labeler.answer([step.piece[1] for step in steps], batch_tokens=batch_tokens))

    def join(self, text: CutText, results: Sequence[Any]) -> Prediction:
        """Return the prediction of a text from the answers for its parts."""
        firsts = [step.piece[0] for step in text.steps]
        return self._labeler.join(text.example, list(zip(firsts, results, strict=True)))

    def _tokens(self, part: Example) -> int:
        return sum(map(len, self._labeler.encoder.encode_words(part.words)))


class TextStepper:
    """Stepper of any other labeler: the whole text is one step."""

    def __init__(self, labeler: TextLabeler) -> None:
        self._labeler = labeler

    def cut(self, text: str) -> CutText:
        """Return the text as one step; its number of tokens is estimated from its bytes."""
        # JSON strings may have lone surrogates, which must not raise an error here.
        size = len(text.encode("utf-8", "surrogatepass"))
        return CutText(Example((), text=text), (Step(1 + size // _BYTES_PER_TOKEN, text),))

    def compute(self, steps: Sequence[Step], *, batch_tokens: int) -> list[Any]:
        """Return the prediction of each text."""
        return list(self._labeler.stream([step.piece for step in steps], batch_tokens=batch_tokens))

    def join(self, text: CutText, results: Sequence[Any]) -> Prediction:
        """Return the one result of the text."""
        prediction: Prediction = results[0]
        return prediction
