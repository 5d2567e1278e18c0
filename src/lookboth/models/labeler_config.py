"""What a labeler is but its weights, and the `config.json` that says so."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from lookboth.config import HeadConfig
from lookboth.data.alignment import Encoding
from lookboth.errors import LookbothError, ModelError
from lookboth.masking.plan import MaskPlan
from lookboth.models.confidence import Confidence
from lookboth.models.upgrades import FORMAT_VERSION, upgrade_settings
from lookboth.types import Task

CONFIG_FILE = "config.json"
KIND_KEY = "kind"  # of a saved labeler that is not backbone and head
ARCHITECTURES = {
    "labeling": "LookbothForTokenClassification",
    "classification": "LookbothForSequenceClassification",
}
Config = TypeVar("Config")
LabelOn = Literal["first", "last", "mean", "max"]
_ALLOWED = {
    "scheme": ("IOB2", "IOBES", "plain"),
    "label_on": get_args(LabelOn),
    "task": get_args(Task),
    "adapter": ("full", "lora", "qlora", "head", "merged"),
}


@dataclass(frozen=True)
class LabelerConfig:
    """Everything about a labeler that is not weights; `config.json` of a saved labeler.

    Args:
        base: hub id, folder or built-in name of the backbone; revision: its hub revision.
        fingerprint: of the backbone (see `loading.fingerprint`).
        plan: which layer may look how far right.
        tags: the tag of each output; scheme: "IOB2", "IOBES" or "plain" (tags are labels, as for whole texts).
        label_on: the token whose state stands for the word or the whole text, or "mean" or "max" of all.
        encoding: how words become tokens.
        adapter: "full", "lora", "qlora", "head", or "merged".
        head: what turns word states into tags.
        task: whether words or whole texts are labeled.
        exit_layer: how many layers of the base are used; all when None. The plan is for these.
        max_tokens, overlap: windows of long inputs, in tokens.
        scores: what the labeler reached, by data set, for its card.
        confidence: how far its probabilities can be trusted, where that was measured.
    """

    base: str
    fingerprint: str
    plan: MaskPlan
    tags: tuple[str, ...]
    scheme: str
    label_on: LabelOn
    encoding: Encoding
    adapter: str = "lora"
    revision: str | None = None
    head: HeadConfig = field(default_factory=HeadConfig)
    task: Task = "labeling"
    exit_layer: int | None = None
    max_tokens: int = 512
    overlap: int = 64
    scores: dict[str, Any] = field(default_factory=dict)
    confidence: Confidence = field(default_factory=Confidence)

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ModelError(f"{name} is {getattr(self, name)!r}; allowed are {', '.join(allowed)}.")
        special = len(self.encoding.prefix_ids) + len(self.encoding.suffix_ids)
        if not 0 <= 2 * self.overlap < self.max_tokens - special:
            raise ModelError(
                f"max_tokens is {self.max_tokens} and overlap {self.overlap}; a window needs room for more "
                f"than two overlaps and {special} special tokens."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels without scheme prefixes, in order."""
        if self.task == "classification":
            return self.tags
        if self.scheme == "plain":
            return tuple(tag for tag in self.tags if tag != "O")
        return tuple(dict.fromkeys(tag.partition("-")[2] for tag in self.tags if tag != "O"))

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.head.kind == "multi_label"


def is_labeler(folder: Path) -> bool:
    """Say whether `folder` holds a saved labeler."""
    try:
        data = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(_get(data, "model_type") == "lookboth")


def read_config(folder: Path) -> LabelerConfig:
    """Read and check `config.json` of a saved labeler with a head."""
    return parse_settings(folder, read_settings(folder), config_from_dict)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a saved labeler of any kind and of any format version up to this one.

    Raises:
        ModelError: there is none, or it is none that this lookboth reads.
    """
    file = folder / CONFIG_FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: no {CONFIG_FILE}, so this is no saved labeler.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not valid JSON: {first_line(error)}") from error
    if not isinstance(data, dict) or data.get("model_type") != "lookboth":
        raise ModelError(
            f"{file}: not a lookboth labeler (model_type is {_get(data, 'model_type')!r}). "
            "To train one on this model, type: lookboth train --model FOLDER ..."
        )
    return upgrade_settings(data, file)


def parse_settings(
    folder: Path, data: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], Config]
) -> Config:
    """Return `parse(data)`; whatever is missing or malformed is a ModelError that names the file."""
    file = folder / CONFIG_FILE
    try:
        return parse(data)
    except (KeyError, TypeError, ValueError, AttributeError, LookbothError) as error:
        raise ModelError(
            f"{file}: incomplete or malformed ({type(error).__name__}: {first_line(error)})."
        ) from error


def config_to_dict(config: LabelerConfig) -> dict[str, Any]:
    """Return the JSON form, which is also what transformers expects of a `config.json`."""
    return {
        "model_type": "lookboth",
        "architectures": [ARCHITECTURES[config.task]],
        "format_version": FORMAT_VERSION,
        "base": config.base,
        "base_revision": config.revision,
        "base_fingerprint": config.fingerprint,
        "plan": str(config.plan),
        "num_hidden_layers": config.plan.num_layers,
        "task": config.task,
        "scheme": config.scheme,
        "label_on": config.label_on,
        "id2label": {str(index): tag for index, tag in enumerate(config.tags)},
        "label2id": {tag: index for index, tag in enumerate(config.tags)},
        "adapter": config.adapter,
        "head": config.head.model_dump(mode="json"),
        "exit_layer": config.exit_layer,
        "encoding": config.encoding.to_dict(),
        "max_tokens": config.max_tokens,
        "overlap": config.overlap,
        "scores": config.scores,
        "confidence": config.confidence.to_dict(),
    }


def config_from_dict(data: Mapping[str, Any]) -> LabelerConfig:
    """Read what `config_to_dict` wrote."""
    tags = tuple(data["id2label"][str(index)] for index in range(len(data["id2label"])))
    return LabelerConfig(
        base=data["base"],
        revision=data.get("base_revision"),
        fingerprint=data["base_fingerprint"],
        plan=MaskPlan.parse(data["plan"], data["num_hidden_layers"]),
        tags=tags,
        scheme=data["scheme"],
        label_on=data["label_on"],
        encoding=Encoding.from_dict(data["encoding"]),
        adapter=data["adapter"],
        head=HeadConfig.model_validate(data.get("head", {})),
        task=data.get("task", "labeling"),
        exit_layer=data.get("exit_layer"),
        max_tokens=data["max_tokens"],
        overlap=data["overlap"],
        scores=data.get("scores", {}),
        confidence=Confidence(**data.get("confidence", {})),
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _get(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None
