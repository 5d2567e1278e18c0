"""The labels that a training prompt names: those of the data of its text, in random order or with other names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from lookboth.data import LabelText
from lookboth.generative.codecs import build_codec
from lookboth.generative.prompts import PromptWriter
from lookboth.types import Example

# A renamed label gets one of this many names per label, so that a name says nothing about the order of labels.
_NAMES_PER_LABEL = 10


def labels_in(label_set: Sequence[str], writer: PromptWriter) -> list[LabelText]:
    """Return the labels of a label set; those of the writer for an empty one."""
    if label_set:
        return [LabelText.parse(text) for text in label_set]
    descriptions = writer.config.descriptions
    return [LabelText(label, descriptions.get(label, "")) for label in writer.codec.labels]


def naming(writer: PromptWriter, labels: Sequence[LabelText]) -> PromptWriter:
    """Return a writer whose prompts name these labels, in this order, with their descriptions."""
    codec = build_codec(writer.config.format, [label.name for label in labels], writer.codec.scheme)
    return writer.for_labels(codec, {label.name: label.description for label in labels if label.description})


@dataclass(frozen=True)
class PromptLabels:
    """Draws the labels of training prompts, so that a model learns to read them instead of remembering them.

    The order of the labels is drawn again for each prompt (`shuffle_labels`), and in a part of the prompts labels
    have names without meaning (`rename_labels`), in the instruction and in all answers. Both are the regularization
    of GoLLIE (Sainz et al. 2024, arXiv 2310.03668); IF-WRANER (Nandi & Agrawal 2024, arXiv 2411.00451) regularizes
    its training for new domains as well.

    Args:
        writer: writer of prompts with all labels.
        seed: seed of the draws.
    """

    writer: PromptWriter
    seed: int = 0

    def draw(
        self, query: Example, shown: Sequence[Example], number: int
    ) -> tuple[PromptWriter, Example, Sequence[Example]]:
        """Return writer, query and demonstrations of a training prompt; deterministic in the arguments.

        Args:
            query: the text, with the label set of its data.
            shown: its demonstrations.
            number: number of the prompt, which changes the draw.
        """
        config = self.writer.config
        if not (config.open_labels or config.shuffle_labels or config.rename_labels):
            return self.writer, query, shown
        rng = Random(f"{self.seed} {number}")
        labels = labels_in(query.label_set if config.open_labels else (), self.writer)
        if config.shuffle_labels:
            rng.shuffle(labels)
        names = _other_names(labels, shown, rng) if rng.random() < config.rename_labels else {}
        renamed = [label._replace(name=names.get(label.name, label.name)) for label in labels]
        others = [_rename(example, names) for example in shown]
        return naming(self.writer, renamed), _rename(query, names), others


def _other_names(labels: Sequence[LabelText], shown: Sequence[Example], rng: Random) -> dict[str, str]:
    """Return names without meaning for the labels that a prompt explains by a description or a demonstration."""
    explained = {label for example in shown for label in example.labels()}
    taken = {label.name for label in labels}
    names = [f"TYPE_{number}" for number in range(1, 1 + _NAMES_PER_LABEL * len(labels))]
    free = rng.sample([name for name in names if name not in taken], len(labels))
    return {
        label.name: name
        for label, name in zip(labels, free, strict=True)
        if label.description or label.name in explained
    }


def _rename(example: Example, names: Mapping[str, str]) -> Example:
    """Return an example whose spans have other labels."""
    if not names:
        return example
    spans = tuple(span._replace(label=names.get(span.label, span.label)) for span in example.spans)
    return replace(example, spans=spans)
