"""The settings of a labeler with a head that the pipeline needs: plan, tags, tokenization, windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lookboth.data import NESTED, SEQUENCE_TAGS, Context, Encoding, WindowSizes, nested_tags
from lookboth.errors import ModelError
from lookboth.inference.confidence import Confidence
from lookboth.masking import MaskPlan
from lookboth.types import Task

LabelOn = Literal["first", "last", "mean", "max", "mean_special", "max_score"]


# These poolings include the special tokens before a text, so they apply to whole texts only.
OF_TEXTS = ("mean_special", "max_score")


_ALLOWED = {
    "scheme": ("IOB2", "IOBES", "plain", NESTED),
    "label_on": get_args(LabelOn),
    "task": get_args(Task),
}


@dataclass(frozen=True, kw_only=True)
class LabelingConfig:
    """The tokenization of texts and the decoding of scores.

    Args:
        plan: mask plan of the backbone.
        tags: the tag of each output; scheme: "IOB2", "IOBES", "plain" (tags are labels, as for whole texts) or "nested"
            (tags as in `nested_tags`).
        label_on: the token whose state represents the word or the whole text, or the pooling of all its tokens
            ("mean", "max"). "mean_special" and "max_score", for whole texts, include the special tokens before the
            text.
        encoding: the encoding of words as tokens.
        task: whether words or whole texts are labeled.
        max_tokens, overlap: length and overlap of the windows of long inputs, in tokens.
        context: most tokens of its document that are read with a sentence on each side; "document": as many as fit in
            `max_tokens`.
        confidence: calibration of the probabilities.
        scores: scores of the labeler by data set, for its card.

    Raises:
        ModelError: a value is not allowed.
    """

    plan: MaskPlan
    tags: tuple[str, ...]
    scheme: str
    label_on: LabelOn
    encoding: Encoding
    task: Task = "labeling"
    max_tokens: int = 512
    overlap: int = 64
    context: Context = 0
    confidence: Confidence = field(default_factory=Confidence)
    scores: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            require_allowed(name, getattr(self, name), allowed)
        if self.label_on in OF_TEXTS and (self.task != "classification" or self.encoding.repetition):
            raise ModelError(
                f"label_on is {self.label_on!r}, which needs task = 'classification' and repetition = 0."
            )
        if self.is_nested:
            self._require_sequences()
        # Each window has the special tokens, and must advance by at least one token beyond both overlaps.
        special = self.encoding.special_tokens()
        if not 0 <= 2 * self.overlap < self.max_tokens - special:
            raise ModelError(
                f"max_tokens is {self.max_tokens} and overlap {self.overlap}; max_tokens must exceed two overlaps "
                f"plus {special} special tokens."
            )
        if self.context and self.task == "classification":
            raise ModelError(f"context is {self.context!r}, which needs task = 'labeling'.")

    def _require_sequences(self) -> None:
        depth, rest = divmod(len(self.tags), len(SEQUENCE_TAGS) * max(1, len(self.labels)))
        if rest or self.tags != nested_tags(self.labels, depth):
            raise ModelError(
                f"the tags of a nested labeler are {self.tags!r:.200}; each label X has "
                f"{', '.join(nested_tags(['X'], 1))}, and so on for each depth."
            )

    @property
    def is_nested(self) -> bool:
        """Whether spans may overlap: a word has several tags, or none."""
        return self.scheme == NESTED

    @property
    def threshold(self) -> float | None:
        """Minimum probability of a label in multi-label tasks; None if a text has one label."""
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
    def look_ahead(self) -> int | None:
        """Number of tokens to the right that the state of a word depends on; None: no limit."""
        # With repetition, the labeled copy attends to the whole text in the copies before it.
        return None if self.encoding.repetition else self.plan.total_look_ahead()

    @property
    def window_sizes(self) -> WindowSizes:
        """Sizes of the windows of sentences."""
        return WindowSizes(
            max_tokens=self.max_tokens,
            overlap=self.overlap,
            context=self.context,
            look_ahead=self.look_ahead,
        )

    @property
    def max_word_tokens(self) -> int:
        """Maximum number of tokens per word; the middle of a longer word is removed."""
        # Without a limit, one very long word, such as a URL, could fill a window.
        return min(64, max(1, self.max_tokens // 4))


def require_allowed(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not allowed for a setting.

    Raises:
        ModelError: the setting, its value and the allowed values.
    """
    if value not in allowed:
        raise ModelError(f"{name} is {value!r}; allowed are {', '.join(allowed)}.")
