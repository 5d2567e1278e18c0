"""Training of an open head: the labels each text is asked for, drawn at random, and their texts as part of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch

from lookboth.config import TrainConfig
from lookboth.data import LabelText, Layout, WordEncoder, build_batch, encode_label, tags_for_labels
from lookboth.types import Example, TokenizedExample


@dataclass(frozen=True)
class OpenLabels:
    """The label sets of the training texts, from which the labels of each batch are drawn.

    A text is asked for labels of its own data only, so data sets with different labels can be trained together: a
    label that was not annotated in the data of a text does not occur in its loss. Labels are hidden from each text at
    random; words with a hidden label count as words without label. So the model learns to leave out what it is not
    asked for. A label is written as name and description, as its name, or as its description, at random.

    Args:
        prefixes: number of tags per label.
        sets: the label set of each training example; a set contains the numbers of the forms of each of its labels,
            by the number of the label in `tags`.
        texts: the encoded form of each number.
        hide: average fraction of hidden labels.
        most: maximum number of labels per batch.
        seed: seed of the run.
    """

    prefixes: int
    sets: Sequence[Mapping[int, tuple[int, ...]]]
    texts: Sequence[TokenizedExample]
    hide: float
    most: int
    seed: int

    @classmethod
    def build(
        cls,
        examples: Sequence[Example],
        encoder: WordEncoder,
        *,
        labels: Sequence[str],
        scheme: str,
        lead: str,
        config: TrainConfig,
        seed: int,
    ) -> "OpenLabels":
        """Collect the label sets of the examples and encode the texts of their labels.

        Args:
            examples: the training data; an example without a label set has all `labels`.
            encoder: encoder of the labeler.
            labels: all labels, in the order of the tags.
            scheme: tag scheme of the head.
            lead: words before the text of each label.
            config: training section of the recipe.
            seed: seed of the run.
        """
        numbers: dict[str, int] = {}
        known: dict[tuple[str, ...], Mapping[int, tuple[int, ...]]] = {}
        for label_set in dict.fromkeys(example.label_set for example in examples):
            parsed = [LabelText.parse(text) for text in label_set] or [LabelText(label) for label in labels]
            known[label_set] = {
                labels.index(label.name): tuple(
                    numbers.setdefault(form, len(numbers)) for form in label.forms()
                )
                for label in parsed
            }
        return cls(
            prefixes=len(tags_for_labels(["label"], scheme)) - 1,
            sets=[known[example.label_set] for example in examples],
            texts=[encode_label(encoder, text, lead) for text in numbers],
            hide=config.hide_labels,
            most=config.step_labels,
            seed=seed,
        )

    def draw(self, pieces: Sequence[TokenizedExample], number: int) -> list[TokenizedExample]:
        """Return the pieces of a batch with the labels they are asked for; deterministic in the arguments.

        The tag ids of the result count from the first label asked: 0 is "O", then all tags of that label, and so on.

        Args:
            pieces: the pieces of a batch, with tag ids of the head.
            number: number of the batch, which changes the draw.
        """
        rng = Random(f"{self.seed} {number}")
        forms = self._draw_forms(pieces, rng)
        return [self._ask(piece, forms[id(self.sets[piece.example])], rng) for piece in pieces]

    def tensors(self, pieces: Sequence[TokenizedExample], *, layout: Layout, pad_id: int) -> dict[str, Any]:
        """Return pieces of `draw` as the arguments of the model's `forward`, with the texts of their labels.

        The texts are one more batch: label_input_ids, label_first, ... as in PackedBatch. `asked`, shape (s, L), has
        the labels that each piece is asked for.
        """
        # A part of a batch may have no label; its model then reads one that no piece is asked for.
        texts = sorted({text for piece in pieces for text in piece.asked or ()}) or [0]
        column = {text: place for place, text in enumerate(texts)}
        asked = torch.zeros(len(pieces), len(texts), dtype=torch.bool)
        for row, piece in enumerate(pieces):
            asked[row, [column[text] for text in piece.asked or ()]] = True
        joined = [replace(piece, labels=self._joint_labels(piece, column)) for piece in pieces]
        label_batch = build_batch(
            [self.texts[text] for text in texts], layout=layout, pad_id=pad_id
        ).tensors()
        return {
            **build_batch(joined, layout=layout, pad_id=pad_id).inputs(),
            **{
                f"label_{name.removeprefix('word_')}": label_batch[name]
                for name in label_batch.keys() - {"num_words"}
            },
            "asked": asked,
        }

    def _draw_forms(self, pieces: Sequence[TokenizedExample], rng: Random) -> dict[int, dict[int, int]]:
        """Return the form of each label of each label set of the batch; up to `most` forms in all."""
        sets = {id(self.sets[piece.example]): self.sets[piece.example] for piece in pieces}
        gold = {
            (id(self.sets[piece.example]), (tag - 1) // self.prefixes)
            for piece in pieces
            for tag in piece.labels or ()
            if isinstance(tag, int) and tag > 0
        }
        labels = [(key, label) for key, forms in sets.items() for label in forms]
        rng.shuffle(labels)
        # Stable: labels that occur in the batch first, each group in random order.
        labels.sort(key=lambda label: label not in gold)
        drawn: dict[int, dict[int, int]] = {key: {} for key in sets}
        for key, label in labels[: self.most]:
            drawn[key][label] = rng.choice(sets[key][label])
        return drawn

    def _ask(self, piece: TokenizedExample, forms: Mapping[int, int], rng: Random) -> TokenizedExample:
        """Return a piece that is asked for a random part of these labels."""
        # The fraction varies, so that the model learns from few labels as well as from many.
        hidden = 2 * self.hide * rng.random()
        shown = [label for label in forms if rng.random() >= hidden] or list(forms)[:1]
        place = {label: number for number, label in enumerate(shown)}
        asked = tuple(forms[label] for label in shown)
        return replace(
            piece, asked=asked, labels=tuple(self._own_tag(tag, place) for tag in piece.labels or ())
        )

    def _own_tag(self, tag: Any, place: Mapping[int, int]) -> int:
        if tag <= 0:
            return int(tag)
        label, prefix = divmod(tag - 1, self.prefixes)
        return 1 + place[label] * self.prefixes + prefix if label in place else 0

    def _joint_labels(self, piece: TokenizedExample, column: Mapping[int, int]) -> tuple[int, ...]:
        """Return the tag ids of a piece, counted in the labels of the whole batch."""
        columns = {number: column[text] for number, text in enumerate(piece.asked or ())}
        return tuple(self._own_tag(tag, columns) for tag in piece.labels or ())
