"""The settings in `config.json` that labelers with a head share, with or without torch."""

from collections.abc import Mapping
from typing import Any

from lookboth.data import Context, Encoding
from lookboth.inference import Confidence, LabelingConfig
from lookboth.labelers.saved_settings import MAX_LAYERS, numbered, optional, setting, token_ids
from lookboth.masking import MaskPlan


def labeling_to_dict(config: LabelingConfig) -> dict[str, Any]:
    """Return the settings that every labeler with a head has, as JSON values."""
    return {
        "plan": str(config.plan),
        "num_hidden_layers": config.plan.num_layers,
        "task": config.task,
        "scheme": config.scheme,
        "label_on": config.label_on,
        "id2label": {str(index): tag for index, tag in enumerate(config.tags)},
        "label2id": {tag: index for index, tag in enumerate(config.tags)},
        "encoding": config.encoding.to_dict(),
        "max_tokens": config.max_tokens,
        "overlap": config.overlap,
        # Written only if it differs from the default, for labelers saved before this key existed.
        **({"context": config.context} if config.context else {}),
        "confidence": config.confidence.to_dict(),
    }


def labeling_from_dict(data: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the output of `labeling_to_dict` into keyword arguments of `LabelingConfig`.

    Raises:
        ModelError: a key is missing, or its value has another type or is out of range.
    """
    num_layers = setting(data, "num_hidden_layers", int, least=1, most=MAX_LAYERS)
    return {
        "plan": MaskPlan.parse(setting(data, "plan", str), num_layers),
        "tags": numbered(data, "id2label"),
        "scheme": setting(data, "scheme", str),
        "label_on": setting(data, "label_on", str),
        "encoding": _encoding_from_dict(setting(data, "encoding", dict)),
        "task": optional(data, "task", str, "labeling"),
        "max_tokens": setting(data, "max_tokens", int, least=1),
        "overlap": setting(data, "overlap", int),
        "context": _context_from_dict(data),
        "confidence": confidence_from_dict(data),
    }


def _context_from_dict(data: Mapping[str, Any]) -> Context:
    return "document" if data.get("context") == "document" else optional(data, "context", int, 0)


def confidence_from_dict(data: Mapping[str, Any]) -> Confidence:
    """Parse the calibration of a labeler; without one, return the default, which changes nothing."""
    return Confidence(**optional(data, "confidence", dict, {}))


def _encoding_from_dict(data: Mapping[str, Any]) -> Encoding:
    return Encoding(
        word_prefix=setting(data, "word_prefix", str, most=100),
        prefix_ids=token_ids(data, "prefix_ids"),
        suffix_ids=token_ids(data, "suffix_ids"),
        fallback_id=setting(data, "fallback_id", int),
        repetition=optional(data, "repetition", int, 0, most=100),
        prefix_each_copy=optional(data, "prefix_each_copy", bool, False),
        splitter=optional(data, "splitter", str, "", most=100),
    )
