"""Configuration of a generative labeler: everything except weights and demonstrations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lookboth.config import GenerativeConfig, parse_section
from lookboth.data import SCHEMES, Context, tags_for_labels
from lookboth.errors import ModelError
from lookboth.inference import Confidence
from lookboth.labelers import (
    FORMAT_VERSION,
    KIND_KEY,
    MAX_LAYERS,
    card_scores,
    optional,
    parse_settings,
    setting,
    strings,
    texts,
)
from lookboth.types import Task

GENERATIVE = "generative"


@dataclass(frozen=True)
class GenerativeLabelerConfig:
    """Everything about a generative labeler except weights; the `config.json` of a saved one.

    Args:
        base: hub id, folder or built-in name of the language model; revision: its hub revision.
        fingerprint: fingerprint of its weights (`lookboth.models.fingerprint`).
        labels: the known labels; scheme: tag scheme of the labels.
        generative: prompt and decoding settings.
        adapter: "full", "lora", "qlora", "merged", or "none" without training.
        double_quant: whether the scales of a 4-bit base were quantized as well.
        exit_layer: number of layers of the base to use; None for all.
        max_tokens: longer texts are split into parts without overlap.
        scores: scores of the labeler by data set, for its model card.
    """

    base: str
    fingerprint: str
    labels: tuple[str, ...]
    scheme: str
    generative: GenerativeConfig
    adapter: str = "lora"
    double_quant: bool = True
    revision: str | None = None
    exit_layer: int | None = None
    max_tokens: int = 512
    scores: dict[str, Any] = field(default_factory=dict)

    # The settings that `LabelerSettings` requires of every labeler and that all generative labelers share.
    task: ClassVar[Task] = "labeling"
    plan: ClassVar[None] = None
    multi_label: ClassVar[bool] = False
    confidence: ClassVar[Confidence] = Confidence()
    context: ClassVar[Context] = 0

    def __post_init__(self) -> None:
        if not self.labels:
            raise ModelError("a generative labeler needs at least one label.")
        if self.scheme not in SCHEMES:
            raise ModelError(f"scheme is {self.scheme!r:.100}; allowed are {', '.join(SCHEMES)}.")

    @property
    def tags(self) -> tuple[str, ...]:
        """Return all tags that a word can have."""
        return tuple(tags_for_labels(self.labels, self.scheme))

    @property
    def known_labels(self) -> dict[str, str]:
        """Return the labels of the training with their descriptions, "" if there is none."""
        return {label: self.generative.descriptions.get(label, "") for label in self.labels}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "model_type": "lookboth",
            KIND_KEY: GENERATIVE,
            "format_version": FORMAT_VERSION,
            "base": self.base,
            "base_revision": self.revision,
            "base_fingerprint": self.fingerprint,
            "labels": list(self.labels),
            "scheme": self.scheme,
            "generative": self.generative.model_dump(mode="json"),
            "adapter": self.adapter,
            # Written only if it differs from the default.
            **({} if self.double_quant else {"double_quant": False}),
            "exit_layer": self.exit_layer,
            "max_tokens": self.max_tokens,
            "scores": self.scores,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GenerativeLabelerConfig":
        """Parse the output of `to_dict`."""
        return cls(
            base=setting(data, "base", str, least=1, most=4096),
            revision=optional(data, "base_revision", str),
            fingerprint=setting(data, "base_fingerprint", str),
            labels=tuple(strings(data, "labels")),
            scheme=setting(data, "scheme", str),
            generative=parse_section(GenerativeConfig, texts(data, "generative"), "generative"),
            adapter=setting(data, "adapter", str),
            double_quant=optional(data, "double_quant", bool, True),
            exit_layer=optional(data, "exit_layer", int, least=1, most=MAX_LAYERS),
            max_tokens=setting(data, "max_tokens", int, least=1),
            scores=card_scores(data),
        )


def describe_generative(folder: Path, data: Mapping[str, Any]) -> str:
    """Return the output of `lookboth inspect` for a generative labeler; `data` is its `config.json`."""
    config = parse_settings(folder, data, GenerativeLabelerConfig.from_dict)
    settings = config.generative
    lines = [
        f"{folder}: generative labeler on {config.base}",
        f"answers in the format {settings.format}, {settings.k} demonstrations, adapter {config.adapter}, "
        f"labels {', '.join(config.labels)}",
    ]
    if settings.open_labels:
        lines.append("trained for labels that are named in prediction: --labels, --demonstrations")
    if settings.prompt_plan is not None:
        lines.append(f"plan of the prompt {settings.prompt_plan}")
    return "\n".join(lines)
