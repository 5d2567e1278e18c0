"""What the pipeline needs to know of a labeler with a head, whatever computes its scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lookboth.data import Encoding
from lookboth.errors import ModelError
from lookboth.inference.confidence import Confidence
from lookboth.masking import MaskPlan
from lookboth.types import Task

LabelOn = Literal["first", "last", "mean", "max", "mean_special", "max_score"]


OF_TEXTS = ("mean_special", "max_score")  # they take in the special tokens before a text; words have none


_ALLOWED = {
    "scheme": ("IOB2", "IOBES", "plain"),
    "label_on": get_args(LabelOn),
    "task": get_args(Task),
}


@dataclass(frozen=True, kw_only=True)
class LabelingConfig:
    """How texts become tokens and scores become labels.

    Args:
        plan: which layer may look how far right.
        tags: the tag of each output; scheme: "IOB2", "IOBES" or "plain" (tags are labels, as for whole texts).
        label_on: the token whose state stands for the word or the whole text, or "mean" or "max" of all;
            for whole texts also "mean_special" and "max_score", with the special tokens before the text.
        encoding: how words become tokens.
        task: whether words or whole texts are labeled.
        max_tokens, overlap: windows of long inputs, in tokens.
        confidence: how far its probabilities can be trusted, where that was measured.
        scores: what the labeler reached, by data set, for its card.

    Raises:
        ModelError: a value that is not allowed.
    """

    plan: MaskPlan
    tags: tuple[str, ...]
    scheme: str
    label_on: LabelOn
    encoding: Encoding
    task: Task = "labeling"
    max_tokens: int = 512
    overlap: int = 64
    confidence: Confidence = field(default_factory=Confidence)
    scores: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            require_allowed(name, getattr(self, name), allowed)
        if self.label_on in OF_TEXTS and (self.task != "classification" or self.encoding.repetition):
            raise ModelError(
                f"label_on is {self.label_on!r}, which is for whole texts that stand once in the input."
            )
        special = len(self.encoding.prefix_ids) + len(self.encoding.suffix_ids)
        if not 0 <= 2 * self.overlap < self.max_tokens - special:
            raise ModelError(
                f"max_tokens is {self.max_tokens} and overlap {self.overlap}; a window needs room for more "
                f"than two overlaps and {special} special tokens."
            )

    @property
    def threshold(self) -> float | None:
        """How probable a label must be; None where a text has one label."""
        return None

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.threshold is not None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels without scheme prefixes, in order."""
        if self.task == "classification":
            return self.tags
        if self.scheme == "plain":
            return tuple(tag for tag in self.tags if tag != "O")
        return tuple(dict.fromkeys(tag.partition("-")[2] for tag in self.tags if tag != "O"))

    @property
    def max_word_tokens(self) -> int:
        """The most tokens of one word that are looked at."""
        return min(64, max(1, self.max_tokens // 4))


def require_allowed(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of a setting's.

    Raises:
        ModelError: names the setting, what was found and what is allowed.
    """
    if value not in allowed:
        raise ModelError(f"{name} is {value!r}; allowed are {', '.join(allowed)}.")
