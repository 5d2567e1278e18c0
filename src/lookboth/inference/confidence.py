"""What was learned from data about how far a labeler can be trusted; part of its `config.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lookboth.errors import ConfigError, ModelError


@dataclass(frozen=True)
class Confidence:
    """Figures that `lookboth calibrate` measures; without it, those that change nothing.

    Args:
        temperature: what the head's scores are divided by before they become probabilities.
        precision: what is wanted of the spans that reach their label's threshold; None: no thresholds.
        thresholds: the least score of each label; None for one that no score makes precise enough.
        coverage: how often a word's set of tags is to hold the right one; None: no sets.
        quantiles: a tag is in a word's set if one minus its probability is no more than this; None: always.
        data: what it was measured on.

    Raises:
        ModelError: a value out of range.
    """

    temperature: float = 1.0
    precision: float | None = None
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    coverage: float | None = None
    quantiles: Mapping[str, float | None] = field(default_factory=dict)
    data: str = ""

    def __post_init__(self) -> None:
        shares = [self.precision, self.coverage, *self.thresholds.values(), *self.quantiles.values()]
        if not 0 < self.temperature < float("inf") or not all(0 <= s <= 1 for s in shares if s is not None):
            raise ModelError(
                f"confidence: temperature {self.temperature}, precision {self.precision}, coverage {self.coverage}: "
                "the first is positive, all others lie between 0 and 1. Type: lookboth calibrate MODEL DATA"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    def require_thresholds(self) -> Mapping[str, float | None]:
        """Return the thresholds.

        Raises:
            ConfigError: there are none.
        """
        if self.precision is None:
            raise ConfigError(
                "the labeler has no thresholds. Type: lookboth calibrate MODEL DATA --precision 0.9"
            )
        return self.thresholds


def saved_thresholds(config: Any) -> Mapping[str, float | None]:
    """Return the thresholds of a labeler's configuration.

    Raises:
        ConfigError: there are none.
    """
    confidence: Confidence = config.confidence
    return confidence.require_thresholds()
