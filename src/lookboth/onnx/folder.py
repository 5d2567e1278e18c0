"""The folder of an exported labeler: its `config.json`, and the check of its files by size and hash."""

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
# Next to the graph if the weights are too large for one file.
WEIGHTS_FILE = "model.onnx.data"
TOKENIZER_FILE = "tokenizer.json"
_NAMES = {MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE}
_WEIGHTS = ("fp32", "int8")
_AGAIN = "Copy the whole folder again, or export the labeler again: lookboth export MODEL FOLDER"


@dataclass(frozen=True, kw_only=True)
class ExportedConfig(LabelingConfig):
    """Configuration of an exported labeler: everything outside its graph, stored as `config.json`.

    Args:
        weights: "fp32" or "int8".
        likelihood: conversion of scores to probabilities.
        threshold: minimum probability of a label in multi-label classification, else None.
        cls_id: id of the tokenizer's classification token; None if it has none.
        source: origin of the labeler: name, base, fingerprint of the base, sha256 of its files.
        parity: comparison with torch at export, as `Parity.to_dict` returns it.
        files: size and sha256 of every other file in the folder.
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
        require_allowed("likelihood", self.likelihood.kind, ("softmax", "sigmoid", "chain", "sequences"))
        steps, size = self.likelihood.transitions, len(self.tags) + 1
        wanted = (size, size) if self.likelihood.kind == "chain" else None
        if (None if steps is None else steps.shape) != wanted:
            raise ModelError(
                f"a likelihood {self.likelihood.kind} of {len(self.tags)} tags needs transitions of shape {wanted}."
            )


def is_exported(folder: Path) -> bool:
    """Return whether the `config.json` of `folder` is that of an exported labeler."""
    return is_labeler(folder) and read_settings(folder).get(KIND_KEY) == KIND


def write_config(folder: Path, config: ExportedConfig) -> None:
    """Write `config.json` with size and hash of the files in `folder`, which must be written before."""
    found = {name: _measure(folder / name) for name in sorted(_NAMES) if (folder / name).is_file()}
    write_json(folder / CONFIG_FILE, config_to_dict(replace(config, files=found)))


def read_config(folder: Path, data: Mapping[str, Any] | None = None) -> ExportedConfig:
    """Read and check the configuration of an exported labeler.

    Args:
        folder: folder of the exported labeler.
        data: content of its `config.json`, if already read.

    Raises:
        ModelError: the folder does not contain an exported labeler, or it is malformed or from a later version.
    """
    data = read_settings(folder) if data is None else data
    if data.get(KIND_KEY) != KIND:
        raise ModelError(
            f"{folder}: this labeler runs with torch and is not exported. "
            f"Type: lookboth export {folder} OUT, or load it with Labeler.from_pretrained."
        )
    return parse_settings(folder, data, config_from_dict)


def describe_exported(folder: Path, data: Mapping[str, Any]) -> str:
    """Return the output of `lookboth inspect` for an exported labeler; `data` is its `config.json`."""
    config = read_config(folder, data)
    return (
        f"{folder}: exported labeler in {config.weights}, from {config.source.get('name')}, "
        f"{config.plan.num_layers} layers\nlabels {', '.join(config.labels)}\n{picture(config.plan)}"
    )


def check_files(folder: Path, config: ExportedConfig) -> None:
    """Check every file against its recorded size and hash.

    Raises:
        ModelError: a file is missing, truncated or changed, or the configuration names an unknown file.
    """
    # `save_pretrained` copies the named files, so a manipulated configuration must not name files elsewhere.
    strange = set(config.files) - _NAMES
    missing = {MODEL_FILE, TOKENIZER_FILE} - set(config.files)
    if strange or missing:
        named = ", ".join(map(repr, sorted(strange or missing)))
        raise ModelError(
            f"{folder / CONFIG_FILE}: {'unknown' if strange else 'there is no entry for the'} file {named}. {_AGAIN}"
        )
    for name, (size, digest) in config.files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: missing. {_AGAIN}")
        if (found := file.stat().st_size) != size:
            raise ModelError(f"{file}: {found} bytes, but {size} were written. {_AGAIN}")
        if _measure(file)[1] != digest:
            raise ModelError(f"{file}: not the file that was written (its sha256 differs). {_AGAIN}")


def config_to_dict(config: ExportedConfig) -> dict[str, Any]:
    """Return the configuration as a JSON object."""
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
    """Return the configuration from the output of `config_to_dict`.

    Raises:
        ModelError: a key is missing, or its value has a wrong type or size.
    """
    steps = optional(data, "transitions", list)
    # ExportedConfig checks that the kind is an allowed one.
    kind: Any = setting(data, "likelihood", str)
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
