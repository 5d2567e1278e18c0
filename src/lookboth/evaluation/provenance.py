"""Provenance of a run: package versions, commit, data hashes, memory, machine."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from lookboth.errors import DataError

PACKAGES = ("lookboth", "torch", "transformers", "peft", "numpy")
PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


def installed_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages a result depends on; None for a package not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


@functools.cache
def git_commit(package: Path = PACKAGE_FOLDER) -> str | None:
    """Return the git commit of a package's checkout, with "+changes" if files were changed since.

    Args:
        package: a package folder; lookboth's own by default.

    Returns:
        None if git is missing or the folder is not tracked by git.
    """
    # A package in a virtual environment inside another repository must not report that repository's commit.
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    commit = _git(package, "rev-parse", "HEAD") if tracked else None
    if not commit:
        return None
    return f"{commit}+changes" if _git(package, "status", "--porcelain", "--", ".") else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """Run a git command and return its output, or None if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def fingerprint(path: str | Path) -> dict[str, Any]:
    """Return the path, the size in bytes and the sha256 of a data file.

    The path is kept as given. Files shipped with lookboth are named relative to the package, so that a run does not
    depend on where lookboth is installed.

    Args:
        path: the file.

    Raises:
        DataError: when it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be hashed ({error.strerror}); name an existing data file."
        ) from error
    return {"path": portable(path), "bytes": size, "sha256": digest}


def portable(path: str | Path) -> str:
    """Return a path as given, or relative to the package's parent if the file is part of the package.

    >>> portable(PACKAGE_FOLDER / "data" / "x.conll:12"), portable("mine/x.conll:12")
    ('lookboth/data/x.conll:12', 'mine/x.conll:12')
    """
    path = Path(path)
    if path.is_relative_to(PACKAGE_FOLDER):
        path = path.relative_to(PACKAGE_FOLDER.parent)
    return path.as_posix()


def peak_memory() -> dict[str, int | None]:
    """Return the peak memory so far in bytes, of this process ("cpu") and of the GPU ("cuda")."""
    return {"cpu": _peak_process_memory(), "cuda": _peak_cuda_memory()}


def _peak_process_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS reports bytes, Linux KiB.
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_cuda_memory() -> int | None:
    # Not imported here: a run that never imported torch did not use the GPU, and the import costs seconds.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(max(torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count())))


def machine_facts() -> dict[str, Any]:
    """Return the number of CPUs, device, platform and number of training processes; no host or user name."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available()
    return {
        "num_cpus": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch is not None and on_gpu else _processor_name(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processes": int(os.environ.get("WORLD_SIZE") or 1),
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
