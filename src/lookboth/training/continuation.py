"""Training a saved labeler further: its settings go into the recipe, its weights into the new labeler."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.config import GENERATIVE_METHODS, RunConfig, overlay
from lookboth.data import DIFFERENCE, describe_labels, join_label_texts, similar_to
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.labelers import (
    ADAPTER_FOLDER,
    BACKBONE_FOLDER,
    KIND_KEY,
    LabelerConfig,
    find_folder,
    is_labeler,
    optional,
    read_config,
    read_head,
    read_settings,
    setting,
    texts,
)
from lookboth.models import read_adapter

LOGGER = logging.getLogger(__name__)
# The kind of head whose weights the label vectors of an open labeler are.
FIXED_KIND = "linear"


class _Saved(NamedTuple):
    """The recipe keys of a saved labeler.

    Args:
        fixed: the weights depend on them, so the recipe must not name other values.
        defaults: values of keys that the recipe does not name.
    """

    fixed: dict[str, Any]
    defaults: dict[str, Any]


def continued(config: RunConfig) -> RunConfig:
    """Return the recipe with the settings of the labeler in the section [start]; unchanged without it.

    Raises:
        ConfigError: the recipe names another value for a setting that the weights depend on.
        ModelError: the labeler is missing, damaged, or of a kind that cannot be trained further; or the model is a
            labeler.
    """
    if config.start is None:
        if is_labeler(Path(config.model)):
            raise ModelError(
                f"model = {config.model!r}: a saved labeler. To train it further, name it as start.labeler (on the "
                f"command line: --start {config.model}) and leave model out."
            )
        return config
    saved = _settings(start_folder(config), config)
    given = config.model_dump(mode="json", exclude_unset=True)
    fixed = saved.fixed
    if "head" in fixed:
        fixed["head"] = _extended(fixed["head"], given.get("head", {}))
    if wrong := _conflicts(given, fixed):
        key, found, wanted = wrong[0]
        fixing = f", or set it to {FIXED_KIND!r}, for an ordinary labeler that begins at the label vectors"
        raise ConfigError(
            f"{key} = {found!r}: the labeler {config.start.labeler} was trained with {wanted!r}. Leave the key out"
            f"{fixing if wanted == 'open' else ''}, or train a new labeler, without start.labeler."
        )
    return RunConfig.model_validate(overlay(saved.defaults, given, fixed))


def _extended(head: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a saved head with the changes that its weights allow, as given in the recipe."""
    changes: dict[str, Any] = {}
    if head.get("kind") == "open" and given.get("kind") == FIXED_KIND:
        changes["kind"] = FIXED_KIND
    # Spans of further depths have tag sequences of their own, which are added as those of new labels are.
    if head.get("kind") == "nested" and given.get("depth", 0) > head["depth"]:
        changes["depth"] = given["depth"]
    return {**head, **changes}


def log_labels(old: Sequence[str], found: Sequence[str]) -> None:
    """Log which labels of the data a continued labeler does not know, and which of its own the data do not have.

    Args:
        old: labels of the labeler.
        found: labels of the data.
    """
    new = sorted({*found} - {*old})
    absent = sorted({*old} - {*found})
    parts = [f"new: {', '.join(new)}"] if new else []
    parts += [f"kept, but not in the data: {', '.join(absent)}"] if absent else []
    if parts:
        LOGGER.info(f"labels {'; '.join(parts)}")
    for label in new:
        if (other := similar_to(label, old)) is not None:
            LOGGER.warning(
                f"label {label!r} and {other!r} of the labeler {DIFFERENCE}; {label!r} is a new label. To train "
                f"{other!r} further, rename it: --set data.label_map.{label}={other}"
            )


def fixes_labels(config: RunConfig) -> bool:
    """Return whether an open labeler becomes an ordinary one: its vectors of the labels of the data begin the head."""
    start = start_config(config)
    return start is not None and start.is_open and config.head.kind == FIXED_KIND


def fixed_labels(config: RunConfig, labels: Sequence[str]) -> tuple[str, ...]:
    """Return and log the labels of an ordinary labeler that begins at label vectors.

    Args:
        config: the recipe; labels that it names exist even if no sentence has them.
        labels: the labels of the data, described in the folders of the data or in the recipe.

    Returns:
        Each label as "name" or "name: description".

    Raises:
        DataError: there is no label.
    """
    old = () if config.start is None else config.start.rehearsal
    names = sorted({*labels, *config.labels})
    if not names:
        raise DataError(
            f"{', '.join(config.data.train)}: no sentence has a label, so the labeler has nothing to find. Annotate "
            "some, or name the labels in the recipe, under [labels]."
        )
    described = (
        describe_labels(source, names, config.labels)
        for source in (*config.data.train, *config.data.dev, *old)
    )
    found = join_label_texts(chain.from_iterable(described))
    LOGGER.info(f"labels, which begin at their vectors: {'; '.join(found)}")
    return found


def start_folder(config: RunConfig) -> Path:
    """Return the folder of the labeler in the section [start]."""
    assert config.start is not None
    return find_folder(config.start.labeler)


def start_config(config: RunConfig) -> LabelerConfig | None:
    """Return the settings of the labeler in the section [start]; None without it, or if it is generative."""
    if config.start is None or config.method in GENERATIVE_METHODS:
        return None
    return read_config(start_folder(config))


def start_backbone(config: RunConfig) -> str:
    """Return the model to load: the labeler's own weights if all of them were trained, else the base of the recipe."""
    if config.start is None or config.adapter.kind != "full":
        return config.model
    return str((start_folder(config) / BACKBONE_FOLDER).absolute())


def start_adapter(config: RunConfig) -> Path | None:
    """Return the folder of the LoRA adapter to train further; None for a new one."""
    if config.start is None or config.adapter.kind not in {"lora", "qlora"}:
        return None
    return start_folder(config) / ADAPTER_FOLDER


def start_head(head: Any, config: RunConfig) -> None:
    """Copy the labeler's head into `head`, a fresh head with at least its tags; nothing without a section [start]."""
    saved = start_config(config)
    if saved is not None:
        head.start_from(read_head(start_folder(config)), saved.tags)


def require_own_base(config: RunConfig, found: str) -> None:
    """Refuse to continue an adapter on another base model than its own.

    Args:
        config: a recipe.
        found: fingerprint of the loaded base.

    Raises:
        ModelError: the labeler in the section [start] was trained on another base.
    """
    if config.start is None or config.adapter.kind == "full":
        return
    wanted = setting(read_settings(start_folder(config)), "base_fingerprint", str)
    if found != wanted:
        raise ModelError(
            f"start.labeler: trained on a base with fingerprint {wanted}, but {config.model} has {found}; it is "
            "another model."
        )


def _settings(folder: Path, config: RunConfig) -> _Saved:
    """Return the recipe keys of a saved labeler."""
    data = read_settings(folder)
    kind = data.get(KIND_KEY)
    if kind == "generative":
        return _generative_settings(folder, data, config)
    if kind is not None:
        raise ModelError(
            f"start.labeler = {str(folder)!r}: a labeler of the kind {kind!r:.100}; only torch labelers can be "
            "trained further."
        )
    if config.method not in {"classifier", "distill"}:
        raise ConfigError(
            f"start.labeler cannot be used with method = {config.method!r}; set method = 'classifier' or 'distill'."
        )
    saved = read_config(folder)
    fixed = {
        "model": saved.base,
        "revision": saved.revision,
        "task": saved.task,
        **({} if saved.task == "classification" or saved.is_nested else {"scheme": saved.scheme}),
        "label_on": saved.label_on,
        "repetition": saved.encoding.repetition,
        "prefix_each_copy": saved.encoding.prefix_each_copy,
        "exit_layer": saved.exit_layer,
        "head": saved.head.model_dump(mode="json"),
        "adapter": _adapter(folder, saved.adapter, double_quant=saved.double_quant),
    }
    defaults = {
        "plan": str(saved.plan),
        "max_tokens": saved.max_tokens,
        "overlap": saved.overlap,
        "context": saved.context,
        "data": {"splitter": saved.encoding.splitter or None},
    }
    return _Saved(fixed, defaults)


def _generative_settings(folder: Path, data: Mapping[str, Any], config: RunConfig) -> _Saved:
    """Return the recipe keys of a saved generative labeler; `data` is its `config.json`."""
    if "method" in config.model_fields_set and config.method not in GENERATIVE_METHODS - {"icl"}:
        raise ConfigError(
            f"start.labeler cannot be used with method = {config.method!r}: it generates its labels. Leave the method "
            "out, or set method = 'sift'."
        )
    kind = setting(data, "adapter", str)
    if kind == "none":
        raise ModelError(
            f"start.labeler = {str(folder)!r}: nothing was trained (method = 'icl'), so nothing can be trained "
            "further. Leave out [start]."
        )
    fixed = {
        "model": setting(data, "base", str),
        "revision": optional(data, "base_revision", str),
        "scheme": setting(data, "scheme", str),
        "exit_layer": optional(data, "exit_layer", int),
        "adapter": _adapter(folder, kind, double_quant=optional(data, "double_quant", bool, True)),
    }
    # The prompts of the first training are the default; its labels are kept as well.
    section = dict(texts(data, "generative"))
    # A recipe has the descriptions of labels that are named in prediction in another section.
    described = section.pop("descriptions", {}) if section.get("open_labels") else {}
    defaults = {
        "method": "sift" if section.get("k") else "instruction_tuning",
        "max_tokens": setting(data, "max_tokens", int),
        "generative": section,
        "labels": described,
    }
    return _Saved(fixed, defaults)


def _adapter(folder: Path, kind: str, *, double_quant: bool) -> dict[str, Any]:
    # The weights of a merged labeler contain its adapter, so only all of them can be trained further.
    if kind in {"full", "merged", "head"}:
        return {"kind": "full" if kind == "merged" else kind}
    settings, _ = read_adapter(folder / ADAPTER_FOLDER)
    # The pairs are where the labeler has them, so the recipe must not place them.
    placed = {"layers": None, "target_modules": "all-linear", "start_from": None, "init": "default"}
    own = {"kind": kind, "rank": settings.r, "alpha": settings.lora_alpha, **placed}
    own |= {"rslora": settings.use_rslora, "dora": settings.use_dora}
    return own | ({"double_quant": double_quant} if kind == "qlora" else {})


def _conflicts(
    given: Mapping[str, Any], fixed: Mapping[str, Any], prefix: str = ""
) -> Sequence[tuple[str, Any, Any]]:
    """Return the keys that the recipe sets to another value than the labeler's: (key, found, wanted)."""
    found: list[tuple[str, Any, Any]] = []
    for key, wanted in fixed.items():
        if key not in given:
            continue
        if isinstance(wanted, Mapping):
            found += _conflicts(given[key], wanted, f"{prefix}{key}.")
        elif given[key] != wanted:
            found.append((prefix + key, given[key], wanted))
    return found
