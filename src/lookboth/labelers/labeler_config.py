"""The settings of a labeler with a head, and their form in `config.json`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lookboth.errors import LookbothError, ModelError, first_line
from lookboth.inference import Confidence, LabelingConfig, require_allowed
from lookboth.labelers.labeling_settings import confidence_from_dict, labeling_from_dict, labeling_to_dict
from lookboth.labelers.saved_settings import MAX_LAYERS, card_scores, optional, setting, strings
from lookboth.labelers.upgrades import FORMAT_VERSION, upgrade_settings
from lookboth.models import check_folder, read_object
from lookboth.run_folder import RunFolder

if TYPE_CHECKING:
    from lookboth.config import HeadConfig

CONFIG_FILE = "config.json"
KIND_KEY = "kind"  # key of a saved labeler that is exported or generative
ARCHITECTURES = {
    "labeling": "LookbothForTokenClassification",
    "classification": "LookbothForSequenceClassification",
}
Config = TypeVar("Config")
_ADAPTERS = ("full", "lora", "qlora", "head", "merged")


def _default_head() -> "HeadConfig":
    # Imported late: an exported labeler loads this module and must not need pydantic.
    from lookboth.config import HeadConfig

    return HeadConfig()


@dataclass(frozen=True, kw_only=True)
class LabelerConfig(LabelingConfig):
    """All settings of a labeler with a head; the content of its `config.json`.

    Args:
        base: hub id, folder or built-in name of the backbone; revision: its hub revision.
        fingerprint: fingerprint of the backbone (see `loading.fingerprint`).
        adapter: "full", "lora", "qlora", "head", or "merged".
        double_quant: whether the scales of a base in 4 bits were quantized as well.
        head: settings of the head.
        exit_layer: number of layers of the base that are used, and that the plan is for; None: all.
        label_texts: labels of the training of an open head, each as "name" or "name: description".
    """

    base: str
    fingerprint: str
    adapter: str = "lora"
    double_quant: bool = True
    revision: str | None = None
    head: "HeadConfig" = field(default_factory=_default_head)
    exit_layer: int | None = None
    label_texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_allowed("adapter", self.adapter, _ADAPTERS)
        if self.label_on == "max_score":
            require_allowed(
                "head.kind with label_on = 'max_score'", self.head.kind, ("linear", "multi_label")
            )

        if (self.head.kind == "nested") != self.is_nested:
            raise ModelError(
                f"head.kind is {self.head.kind!r}, which does not fit the scheme {self.scheme!r}."
            )

    @property
    def is_open(self) -> bool:
        """Whether labels are named at prediction time."""
        return self.head.kind == "open"

    @property
    def known_labels(self) -> tuple[str, ...]:
        """The labels of the training, each as "name" or "name: description" for an open head."""
        return self.label_texts or self.labels

    @property
    def threshold(self) -> float | None:
        """Minimum probability of a label in multi-label tasks; None if a text has one label."""
        return self.head.threshold if self.head.kind == "multi_label" else None


def is_labeler(folder: Path) -> bool:
    """Whether `folder` contains a saved labeler."""
    try:
        check_folder(folder)
        return bool(read_object(folder / CONFIG_FILE).get("model_type") == "lookboth")
    except (OSError, ModelError):
        return False


def read_config(folder: Path) -> LabelerConfig:
    """Read and check `config.json` of a saved labeler with a head."""
    return parse_settings(folder, read_settings(folder), config_from_dict)


def read_confidence(folder: Path) -> Confidence:
    """Read the calibration in `config.json` of a saved labeler of any kind."""
    return parse_settings(folder, read_settings(folder), confidence_from_dict)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a saved labeler of any kind and of any format version up to this one.

    Raises:
        ModelError: the file is missing, or is not the config of a labeler that this version can read.
    """
    file = folder / CONFIG_FILE
    check_folder(folder)
    try:
        data = read_object(file)
    except FileNotFoundError as error:
        hint = _labeler_inside(folder)
        raise ModelError(
            f"{folder}: {CONFIG_FILE} is missing, so this is not a saved labeler.{hint}"
        ) from error
    if data.get("model_type") != "lookboth":
        raise ModelError(
            f"{file}: not a lookboth labeler (model_type is {data.get('model_type')!r:.100}). "
            "To train one on this model, type: lookboth train --model FOLDER ..."
        )
    return upgrade_settings(data, file)


def _labeler_inside(folder: Path) -> str:
    """Return " Name its labeler: ..." for the folder of a run or of its seeds, "" for any other folder."""
    found = (run.labeler for run in (RunFolder(folder), *RunFolder.of_seeds(folder)))
    return next((f" Name its labeler: {labeler}" for labeler in found if labeler.is_dir()), "")


def parse_settings(
    folder: Path, data: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], Config]
) -> Config:
    """Return `parse(data)`; a missing or malformed value raises a ModelError with the file name."""
    file = folder / CONFIG_FILE
    try:
        return parse(data)
    except (KeyError, TypeError, ValueError, AttributeError, LookbothError) as error:
        raise ModelError(
            f"{file}: incomplete or malformed ({type(error).__name__}: {first_line(error)})."
        ) from error


def config_to_dict(config: LabelerConfig) -> dict[str, Any]:
    """Return the settings as JSON values, with the keys that transformers expects in a `config.json`."""
    return {
        "model_type": "lookboth",
        "architectures": [ARCHITECTURES[config.task]],
        "format_version": FORMAT_VERSION,
        "base": config.base,
        "base_revision": config.revision,
        "base_fingerprint": config.fingerprint,
        **labeling_to_dict(config),
        "adapter": config.adapter,
        # Written only if it differs from the default, for labelers saved before this key existed.
        **({} if config.double_quant else {"double_quant": False}),
        "head": _head_to_dict(config),
        "exit_layer": config.exit_layer,
        **({"label_texts": list(config.label_texts)} if config.label_texts else {}),
        "scores": config.scores,
    }


def _head_to_dict(config: LabelerConfig) -> dict[str, Any]:
    """Return the settings of the head; those of one kind are written for this kind only."""
    other = {key for key, used in (("depth", config.is_nested), ("label_lead", config.is_open)) if not used}
    return config.head.model_dump(mode="json", exclude=other)


def config_from_dict(data: Mapping[str, Any]) -> LabelerConfig:
    """Parse the output of `config_to_dict`.

    Raises:
        ModelError: a key is missing, or its value has another type or is out of range.
    """
    from lookboth.config import HeadConfig, parse_section

    head = optional(data, "head", dict, {})
    # Open labelers that were saved before this key existed read their labels without a lead.
    no_lead = {"label_lead": ""} if head.get("kind") == "open" else {}
    return LabelerConfig(
        **labeling_from_dict(data),
        base=setting(data, "base", str, least=1, most=4096),
        revision=optional(data, "base_revision", str),
        fingerprint=setting(data, "base_fingerprint", str),
        adapter=setting(data, "adapter", str),
        double_quant=optional(data, "double_quant", bool, True),
        head=parse_section(HeadConfig, {**no_lead, **head}, "head"),
        exit_layer=optional(data, "exit_layer", int, least=1, most=MAX_LAYERS),
        label_texts=tuple(strings(data, "label_texts")) if data.get("label_texts") else (),
        scores=card_scores(data),
    )
