"""The folder of an exported labeler: what it says of itself, and whether its files are the ones that were written."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookboth.errors import ModelError
from lookboth.files import write_json
from lookboth.inference import LabelingConfig, Likelihood, require_allowed
from lookboth.labelers import (
    CONFIG_FILE,
    FORMAT_VERSION,
    KIND_KEY,
    card_scores,
    is_labeler,
    labeling_from_dict,
    labeling_to_dict,
    optional,
    parse_settings,
    read_settings,
    setting,
)
from lookboth.masking import picture

KIND = "onnx"
MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"  # beside it where the weights are too large for one file
TOKENIZER_FILE = "tokenizer.json"
_NAMES = {MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE}
_WEIGHTS = ("fp32", "int8")
_AGAIN = "Copy the whole folder again, or export the labeler anew: lookboth export MODEL FOLDER"


@dataclass(frozen=True, kw_only=True)
class ExportedConfig(LabelingConfig):
    """Everything about an exported labeler that is not in its graph; `config.json` of its folder.

    Args:
        weights: "fp32" or "int8".
        likelihood: how scores become probabilities.
        threshold: how probable a label must be where a text may have several; None where it has one.
        cls_id: the tokenizer's classification token; None where there is none.
        source: what it was exported from: name, base, fingerprint of the base, sha256 of the labeler's files.
        parity: how it compared with torch when it was exported, as `Parity.to_dict` gives it.
        files: size and sha256 of every file beside this one.
    """

    weights: str
    likelihood: Likelihood = field(default_factory=Likelihood)
    threshold: float | None = None
    cls_id: int | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_allowed("weights", self.weights, _WEIGHTS)
        require_allowed("likelihood", self.likelihood.kind, ("softmax", "sigmoid", "chain"))
        steps, size = self.likelihood.transitions, len(self.tags) + 1
        wanted = (size, size) if self.likelihood.kind == "chain" else None
        if (None if steps is None else steps.shape) != wanted:
            raise ModelError(
                f"a likelihood {self.likelihood.kind} of {len(self.tags)} tags needs transitions {wanted}."
            )


def is_exported(folder: Path) -> bool:
    """Say whether `folder` says of itself that it holds an exported labeler."""
    return is_labeler(folder) and read_settings(folder).get(KIND_KEY) == KIND


def write_config(folder: Path, config: ExportedConfig) -> None:
    """Write `config.json` with size and hash of the files that lie in `folder` already."""
    found = {name: _measure(folder / name) for name in sorted(_NAMES) if (folder / name).is_file()}
    write_json(folder / CONFIG_FILE, config_to_dict(replace(config, files=found)))


def read_config(folder: Path, data: Mapping[str, Any] | None = None) -> ExportedConfig:
    """Read and check what an exported folder says of itself.

    Args:
        folder: of the exported labeler.
        data: its `config.json`, if that was read already.

    Raises:
        ModelError: it holds no exported labeler, or one that is malformed or of a later version.
    """
    data = read_settings(folder) if data is None else data
    if data.get(KIND_KEY) != KIND:
        raise ModelError(
            f"{folder}: a labeler that torch runs, not an exported one. "
            f"Type: lookboth export {folder} OUT, or load it with Labeler.from_pretrained."
        )
    return parse_settings(folder, data, config_from_dict)


def describe_exported(folder: Path, data: Mapping[str, Any]) -> str:
    """Return what `lookboth inspect` prints of an exported labeler; `data` is its `config.json`."""
    config = read_config(folder, data)
    return (
        f"{folder}: exported labeler in {config.weights}, from {config.source.get('name')}, "
        f"{config.plan.num_layers} layers\nlabels {', '.join(config.labels)}\n{picture(config.plan)}"
    )


def check_files(folder: Path, config: ExportedConfig) -> None:
    """Hold every file against its size and hash.

    Raises:
        ModelError: one is missing, cut off or another; or a name that is no exported labeler's.
    """
    strange = set(config.files) - _NAMES
    missing = {MODEL_FILE, TOKENIZER_FILE} - set(config.files)
    if strange or missing:
        named = ", ".join(map(repr, sorted(strange or missing)))
        raise ModelError(
            f"{folder / CONFIG_FILE}: {'unknown' if strange else 'nothing is said of the'} file {named}. {_AGAIN}"
        )
    for name, (size, digest) in config.files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: missing. {_AGAIN}")
        if (found := file.stat().st_size) != size:
            raise ModelError(f"{file}: {found} bytes, {size} were written. {_AGAIN}")
        if _measure(file)[1] != digest:
            raise ModelError(f"{file}: not the file that was written (its sha256 is another). {_AGAIN}")


def config_to_dict(config: ExportedConfig) -> dict[str, Any]:
    """Return the JSON form."""
    kind, steps = config.likelihood
    return {
        "model_type": "lookboth",
        KIND_KEY: KIND,
        "format_version": FORMAT_VERSION,
        "weights": config.weights,
        **labeling_to_dict(config),
        "likelihood": kind,
        "transitions": None if steps is None else steps.tolist(),
        "threshold": config.threshold,
        "cls_id": config.cls_id,
        "source": dict(config.source),
        "parity": dict(config.parity),
        "scores": dict(config.scores),
        "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in config.files.items()},
    }


def config_from_dict(data: Mapping[str, Any]) -> ExportedConfig:
    """Read what `config_to_dict` wrote.

    Raises:
        ModelError: a key is missing, or has another type or size.
    """
    steps = optional(data, "transitions", list)
    kind: Any = setting(data, "likelihood", str)  # held against the allowed ones by ExportedConfig
    return ExportedConfig(
        **labeling_from_dict(data),
        weights=setting(data, "weights", str),
        likelihood=Likelihood(kind, None if steps is None else np.array(steps, dtype=np.float32)),
        threshold=optional(data, "threshold", float, most=1),
        cls_id=optional(data, "cls_id", int),
        source=setting(data, "source", dict),
        parity=setting(data, "parity", dict),
        scores=card_scores(data),
        files={name: _size_and_hash(entry) for name, entry in setting(data, "files", dict).items()},
    )


def _size_and_hash(entry: Any) -> tuple[int, str]:
    data = setting({"files": entry}, "files", dict)
    return setting(data, "size", int), setting(data, "sha256", str, least=64, most=64)


def _measure(file: Path) -> tuple[int, str]:
    """Return size and sha256 of a file."""
    with file.open("rb") as opened:
        return file.stat().st_size, hashlib.file_digest(opened, "sha256").hexdigest()
