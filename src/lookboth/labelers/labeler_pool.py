"""Labelers by name that keep one backbone in memory for all that have the same base."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.errors import ConfigError
from lookboth.inference import TextLabeler
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler_config import (
    KIND_KEY,
    LabelerConfig,
    config_from_dict,
    parse_settings,
    read_settings,
)
from lookboth.labelers.mixed_scoring import predict_mixed
from lookboth.labelers.opening import LoadOptions, load_folder
from lookboth.labelers.saving import ADAPTER_FOLDER, load_base, needs_four_bits
from lookboth.models import (
    plain_places,
    read_adapter,
    release_backbone,
    resolve_model,
    share_backbone,
)
from lookboth.types import Prediction


class BaseKey(NamedTuple):
    """What labelers on the same backbone have in common.

    Args:
        base: path or hub id of the base; revision: its hub revision.
        fingerprint, exit_layer: see `LabelerConfig`.
    """

    base: str
    revision: str | None
    fingerprint: str
    exit_layer: int | None


class LabelerPool:
    """Labelers by name; those with the same base share one backbone.

    A labeler that is alone on its base has its adapter merged into the weights, which is the fastest form. Adapters of
    several labelers on one base are kept apart from it, and texts of all of them are labeled in the same batches.
    Labelers without plain LoRA pairs (all weights trained, DoRA, experts, 4 bits, other kinds) have a backbone of their
    own. When labelers are added or removed, the objects of others on their base may be replaced: look them up by name.

    Args:
        device, precision: as for `open_labeler`; code of models is never run.

    >>> pool = LabelerPool()  # doctest: +SKIP
    >>> pool.add({"names": "runs/names/labeler", "drugs": "runs/drugs/labeler"})  # doctest: +SKIP
    >>> pool.predict([("names", "Ada lived in London."), ("drugs", "Aspirin helps.")])  # doctest: +SKIP
    """

    def __init__(self, *, device: str | None = None, precision: str = "auto") -> None:
        self._options = LoadOptions(device=device, precision=precision)
        self._folders: dict[str, Path] = {}
        self._keys: dict[str, BaseKey | None] = {}
        self._labelers: dict[str, TextLabeler] = {}
        # Bases with several labelers; the names of those that use them.
        self._bases: dict[BaseKey, Any] = {}
        self._sharing: set[str] = set()
        # Folders of the pool that this one was prepared from; see `prepare`.
        self._prepared_from: dict[str, Path] = {}

    @property
    def labelers(self) -> Mapping[str, TextLabeler]:
        """The labelers by name, in the order in which they were added."""
        return {name: self._labelers[name] for name in self._folders}

    def __getitem__(self, name: str) -> TextLabeler:
        """Return a labeler.

        Raises:
            ConfigError: there is no labeler of this name.
        """
        if name not in self._labelers:
            raise ConfigError(f"there is no labeler {name!r:.100}. Allowed are {', '.join(self._folders)}.")
        return self._labelers[name]

    def add(self, sources: Mapping[str, str | Path | None]) -> None:
        """Load labelers; if one of them cannot be loaded, the pool does not change.

        Args:
            sources: folder, hub id or shipped name by the name in this pool; None: the shipped one.

        Raises:
            ConfigError: a name is taken.
            ModelError: a labeler cannot be loaded.
        """
        self.install(self.prepare(sources))

    def prepare(self, sources: Mapping[str, str | Path | None]) -> "LabelerPool":
        """Return a pool with more labelers for `install`, loaded here as far as no labeler in use is touched.

        This may run in another thread while the labelers of this pool label. Labelers for a backbone that several use
        already are found, and loaded by `install`.

        Args:
            sources: as in `add`, also for the errors.
        """
        if taken := [name for name in sources if name in self._folders]:
            raise ConfigError(
                f"the name {taken[0]!r} is taken. Remove that labeler first, or choose another name."
            )
        found = {name: find_folder(source) for name, source in sources.items()}
        keys = {name: self._key(folder) for name, folder in found.items()}
        larger = self._copy()
        larger._prepared_from = dict(self._folders)
        larger._folders |= found
        larger._keys |= keys
        larger._arrange(keys.values(), except_for=self._bases)
        return larger

    def install(self, larger: "LabelerPool") -> None:
        """Take over the labelers of a prepared pool; if one of them cannot be loaded, this pool does not change.

        Args:
            larger: output of `prepare` of this pool.

        Raises:
            ConfigError: labelers were added or removed since it was prepared.
            ModelError: a labeler does not fit the backbone that it shares.
        """
        if larger._prepared_from != self._folders:
            raise ConfigError(
                "the labelers of the pool have changed since this one was prepared. Prepare it again."
            )
        before = vars(self._copy())
        vars(self).update(vars(larger))
        try:
            self._arrange(self._keys[name] for name in self._folders.keys() - before["_folders"].keys())
        except BaseException:
            vars(self).update(before)
            raise

    def _copy(self) -> "LabelerPool":
        """Return a pool of the same labelers that can be changed by itself."""
        other = copy(self)
        vars(other).update({name: copy(value) for name, value in vars(self).items()})
        return other

    def remove(self, name: str) -> None:
        """Remove a labeler and free its weights; a labeler that is left alone on its base is merged into it.

        Raises:
            ConfigError: there is no labeler of this name.
        """
        # The message for an unknown name.
        _ = self[name]
        key = self._keys[name]
        self._forget([name])
        self._arrange([key])

    def predict(
        self, texts: Iterable[tuple[str, str]], *, batch_tokens: int | None = None
    ) -> list[Prediction]:
        """Label raw texts, each with its own labeler; labelers on one base share batches.

        Args:
            texts: pairs of the name of a labeler and a text.
            batch_tokens: tokens per batch; None: a default for the device.

        Raises:
            ConfigError: there is no labeler of a name.
        """
        return predict_mixed([(self[name], text) for name, text in texts], batch_tokens)

    def _key(self, folder: Path) -> BaseKey | None:
        """Return the base that a labeler may share; None if it needs a backbone of its own."""
        data = read_settings(folder)
        if KIND_KEY in data:
            return None
        config: LabelerConfig = parse_settings(folder, data, config_from_dict)
        if config.adapter in {"full", "merged"} or needs_four_bits(config, self._options):
            return None
        return BaseKey(resolve_model(config.base), config.revision, config.fingerprint, config.exit_layer)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._folders.pop(name, None)
            self._keys.pop(name, None)
            self._labelers.pop(name, None)
            self._sharing.discard(name)

    def _arrange(self, keys: Iterable[BaseKey | None], except_for: Collection[BaseKey] = ()) -> None:
        """Load the labelers of these bases in the form that their number asks for."""
        for key in set(keys) - {None, *except_for}:
            assert key is not None
            names = [name for name, own in self._keys.items() if own == key]
            if len(names) > 1:
                names = self._share(names, key)
            if len(names) == 1:
                self._load_alone(names[0], key)
            elif not names:
                self._bases.pop(key, None)
        for name in [name for name, key in self._keys.items() if key is None and name not in self._labelers]:
            self._labelers[name] = self._load(name, None)

    def _share(self, names: Sequence[str], key: BaseKey) -> list[str]:
        """Load labelers onto one backbone; return them, or the only one that can share it."""
        base = self._bases.get(key) or self._load_base(names[0])
        plain = [name for name in names if name in self._sharing or self._is_plain(base, name)]
        for name in set(names) - set(plain):
            self._keys[name] = None
        if len(plain) < 2:
            return plain
        self._bases[key] = base
        for name in plain:
            if name not in self._sharing:
                self._labelers[name] = self._load(name, base)
                self._sharing.add(name)
        return plain

    def _load_base(self, name: str) -> Any:
        config = parse_settings(self._folders[name], read_settings(self._folders[name]), config_from_dict)
        base = load_base(config, self._options)
        share_backbone(base)
        return base

    def _is_plain(self, base: Any, name: str) -> bool:
        adapter = self._folders[name] / ADAPTER_FOLDER
        return not adapter.is_dir() or bool(plain_places(base, read_adapter(adapter)[0]))

    def _load_alone(self, name: str, key: BaseKey) -> None:
        """Load a labeler with a backbone of its own: the one that it shared until now, if there is one."""
        base = self._bases.pop(key, None)
        if base is not None:
            release_backbone(base)
        if base is not None or name not in self._labelers:
            self._labelers[name] = self._load(name, base)
        self._sharing.discard(name)

    def _load(self, name: str, base: Any) -> TextLabeler:
        return load_folder(self._folders[name], replace(self._options, backbone=base))
