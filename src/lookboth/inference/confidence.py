"""The calibration of a labeler: temperature, thresholds and prediction sets; part of its `config.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lookboth.errors import ConfigError, ModelError


@dataclass(frozen=True)
class Confidence:
    """Calibration measured by `lookboth calibrate`; the defaults change nothing.

    Args:
        temperature: divides the head's scores before they are converted to probabilities.
        precision: target precision of the spans that reach their label's threshold; None: no thresholds.
        thresholds: minimum score of each label; None for a label that does not reach the precision at any score.
        coverage: target share of words whose prediction set contains the gold tag; None: no sets.
        quantiles: a tag is in a word's set if one minus its probability is at most this value; None: always.
        data: the data it was measured on.

    Raises:
        ModelError: a value is out of range.
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
                "allowed are a positive temperature, and values from 0 to 1 for all others. "
                "Type: lookboth calibrate MODEL DATA"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    def require_thresholds(self) -> Mapping[str, float | None]:
        """Return the thresholds.

        Raises:
            ConfigError: the labeler was not calibrated with a precision.
        """
        if self.precision is None:
            raise ConfigError(
                "the labeler does not have thresholds yet. Type: lookboth calibrate MODEL DATA --precision 0.9"
            )
        return self.thresholds


def saved_thresholds(config: Any) -> Mapping[str, float | None]:
    """Return the thresholds in a labeler's configuration.

    Raises:
        ConfigError: the labeler was not calibrated with a precision.
    """
    confidence: Confidence = config.confidence
    return confidence.require_thresholds()
