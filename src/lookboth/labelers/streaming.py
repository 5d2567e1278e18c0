"""Which labelers can label a stream, and the check of their incremental passes."""

from typing import Any
from weakref import WeakKeyDictionary

from lookboth.errors import ConfigError, ModelError
from lookboth.labelers.labeler_config import LabelerConfig
from lookboth.masking import MaskPlan, prove_incremental, require_finite, steady_positions
from lookboth.models import LabelerModel, compute_in

# The plans under which the incremental passes of a model were checked.
_proved: WeakKeyDictionary[LabelerModel, set[MaskPlan]] = WeakKeyDictionary()


def require_streamable(config: LabelerConfig, backbone: Any, lag: int | None) -> None:
    """Refuse labelers whose tags depend on the whole text.

    Raises:
        PlanError: a layer of the plan has unlimited look-ahead.
        ModelError: another setting of the labeler needs the whole text; the message names it.
        ConfigError: the lag is negative.
    """
    if lag is not None and lag < 0:
        raise ConfigError(f"lag is {lag}; it is a number of words from 0, or None for no limit.")
    require_finite(config.plan)
    for setting, found, needed in _needing_whole_texts(config, backbone):
        raise ModelError(
            f"{setting} is {found}, which needs the whole text, so this labeler cannot label a stream. "
            f"Train a labeler with {needed}."
        )


def _needing_whole_texts(config: LabelerConfig, backbone: Any) -> list[tuple[str, Any, str]]:
    """Return name, value and streamable value of each setting that needs the whole text."""
    steady = steady_positions(backbone.config.get_text_config(decoder=True))
    cases = [
        (config.task != "labeling", "task", repr(config.task), "task = 'labeling'"),
        (config.encoding.repetition > 0, "repetition", config.encoding.repetition, "repetition = 0"),
        (config.is_nested, "head.kind", "'nested'", "head.kind = 'linear'"),
        (config.head.kind == "context_gate", "head.kind", "'context_gate'", "head.kind = 'linear'"),
        (config.head.layers == "mix", "head.layers", "'mix'", "head.layers = 'last'"),
        # Beyond this length the rotary frequencies of all tokens depend on the number of tokens.
        (
            steady is not None and steady < config.max_tokens,
            "max_tokens",
            config.max_tokens,
            f"max_tokens = {steady}",
        ),
    ]
    return [(setting, found, needed) for applies, setting, found, needed in cases if applies]


def prove_once(model: LabelerModel, plan: MaskPlan) -> None:
    """Check the incremental passes of a model under a plan, unless they were checked before.

    Raises:
        PlanError: see `prove_incremental`.
    """
    proved = _proved.setdefault(model, set())
    if plan in proved:
        return
    with model.predicting(plan), compute_in(model.compute_dtype, model.backbone):
        prove_incremental(model.backbone, dtype=model.compute_dtype)
    proved.add(plan)
