"""Finds the folders of saved labelers by path, hub id or shipped name, and hashes their files."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from lookboth.errors import ConfigError, ModelError, first_line
from lookboth.labelers.labeler_config import is_labeler

SHIPPED = Path(__file__).parent / "shipped"
SHIPPED_LABELERS = {
    "shipped": SHIPPED,
    "fast": Path(__file__).parent / "shipped_fast",
    "turbo": Path(__file__).parent / "shipped_turbo",
    "open": Path(__file__).parent / "shipped_open",
}
_READ = ("json", "jsonl", "jinja", "safetensors", "onnx", "onnx.data", "md", "txt", "model")


def find_folder(name: str | Path | None) -> Path:
    """Return the local folder of a labeler; a labeler on the Hub is downloaded.

    Args:
        name: a folder, "shipped" (also None), "fast", "turbo", "open", or a hub id. The folder of a saved labeler takes
            precedence over a shipped labeler of the same name.

    Raises:
        ModelError: the name is neither a folder nor a model that can be downloaded.
    """
    if name is None:
        return SHIPPED
    folder = Path(name).expanduser()
    shipped = SHIPPED_LABELERS.get(str(name))
    # A folder may be called "fast" for other reasons.
    if folder.is_dir() and (shipped is None or is_labeler(folder)):
        return folder
    if shipped is not None:
        return shipped
    # A hub id has exactly one slash; other names are mistyped folders.
    if folder.is_absolute() or str(name).startswith(".") or str(name).count("/") != 1:
        raise ModelError(
            f"labeler {str(name)!r}: no such folder. Name a saved labeler, a hub id 'user/model', or a shipped "
            f"labeler: {', '.join(SHIPPED_LABELERS)}."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                str(name),
                # Weights in pickle files are never read, so they are not downloaded.
                allow_patterns=[f"*.{suffix}" for suffix in _READ],
            )
        )
    # huggingface_hub raises errors of several libraries (network, authentication, validation).
    except Exception as error:
        raise ModelError(
            f"labeler {str(name)!r}: no such folder, and the download from the Hub failed: {first_line(error)}"
        ) from error


def require_other_folder(folder: Path, out: str | Path) -> None:
    """Refuse to write a labeler over the one that it is made from.

    Args:
        folder: the folder of a saved labeler.
        out: the folder for the result, which may not exist yet.

    Raises:
        ConfigError: both are the same folder.
    """
    if Path(out).exists() and os.path.samefile(folder, out):
        raise ConfigError(f"{out}: is the folder of the labeler itself. Name another folder for the result.")


def split_name(given: str) -> tuple[str, str]:
    """Return the name, "" if it is not given, and the source of "NAME=FOLDER" or "FOLDER".

    Raises:
        ConfigError: one of the two is empty.

    >>> split_name("ner=runs/a/labeler"), split_name("me/wnut17-tagger")
    (('ner', 'runs/a/labeler'), ('', 'me/wnut17-tagger'))
    """
    name, sign, source = given.partition("=")
    # A folder name may contain an equals sign.
    if given and (not sign or Path(given).exists()):
        return "", given
    if not name or not source:
        raise ConfigError(f"{given!r}: expected NAME=FOLDER, a folder or a hub id.")
    return name, source


def name_labelers(given: Iterable[str]) -> dict[str, str]:
    """Return a dictionary from the name of each labeler to its folder or hub id.

    Args:
        given: `NAME=FOLDER`, or a folder or hub id, whose last part is the name.

    Raises:
        ConfigError: two labelers have the same name, or one is empty.

    >>> name_labelers(["ner=runs/a/labeler", "me/wnut17-tagger"])
    {'ner': 'runs/a/labeler', 'wnut17-tagger': 'me/wnut17-tagger'}
    """
    sources: dict[str, str] = {}
    for text in given:
        name, source = split_name(text)
        # abspath, because Path(".").name is empty.
        name = name or os.path.basename(os.path.abspath(source))
        if name in sources:
            raise ConfigError(
                f"two models have the name {name!r}: {sources[name]} and {source}. "
                f"Name them: one={sources[name]} two={source}"
            )
        sources[name] = source
    return sources


def model_digest(folder: Path) -> str:
    """Return the SHA-256 digest over the names and contents of a labeler's files.

    The base model is not included, because the labeler contains its fingerprint and refuses a different one.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        # A null character separates name and content, because it cannot occur in a file name.
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
