"""Builds wheel and sdist, looks into them, and installs the wheel with each extra alone: `make check-packages`.

What is shown: the wheel holds what it must and nothing else; the sdist builds the same wheel; the bare wheel installs
into an empty environment and works there; with each extra alone, pip finds a consistent set of packages, and the thing
the extra is for works on a tiny saved labeler. torch and the other requirements are installed once, in the bare
environment; that of an extra starts as a copy of it (its packages are put on the path). Network model hubs are not
asked, and nothing needs a GPU: of `quant` it is shown that 4-bit arithmetic runs.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LABELER = "tests/models/formats/1/full"
ACTIONS = ".ci/extras"
TORCH = "torch==2.13.0"
MAX_WHEEL_MB = 20


def main() -> None:
    """Build, look, install and try; the first thing that is wrong ends it."""
    options = parse_options()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    require(options.tag in (None, f"v{version}"), f"the tag {options.tag} is not that of version {version}")
    chosen = options.extras or sorted(project["optional-dependencies"].keys() - {"all", "dev", "docs"})
    with tempfile.TemporaryDirectory(prefix="lookboth-packages-") as folder:
        work = options.work or Path(folder)
        wheel = build(work, options.out)
        if not options.build_only:
            try_extras(wheel, work, chosen)


def try_extras(wheel: Path, work: Path, extras: list[str]) -> None:
    """Install the wheel bare and with each extra alone, and try what is there then."""
    bare = Environment(work / "bare")
    bare.pip(TORCH)
    bare.pip(str(wheel))
    bare.pip(
        "--no-deps", "--force-reinstall", str(wheel)
    )  # of an environment that was kept, it is another one
    bare.try_out("bare", work / "source")
    for extra in extras:
        one = Environment(work / extra, over=bare)
        one.pip("--no-deps", "--ignore-installed", str(wheel))
        one.pip(f"{wheel}[{extra}]")
        one.pip("check", command="")
        one.try_out(extra, work / "source")
        shutil.rmtree(one.folder)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("extras", nargs="*", help="extras to try; all when none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where wheel and sdist are put")
    parser.add_argument("--build-only", action="store_true", help="build and look, install nothing")
    parser.add_argument("--work", type=Path, help="keep the bare environment here, and take it from here")
    parser.add_argument("--tag", help="the tag of a release; it must be that of the version")
    return parser.parse_args()


class Environment:
    """A virtual environment, empty or over the packages of another.

    Args:
        folder: where it is made.
        over: the environment whose packages it has besides its own.
    """

    def __init__(self, folder: Path, over: "Environment | None" = None) -> None:
        self.folder = folder
        if not folder.exists():
            venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        self.packages = next((folder / "lib").glob("python*/site-packages"))
        if over is not None:
            line = f"import site; site.addsitedir({str(over.packages)!r})\n"
            (self.packages / "zz_over.pth").write_text(line, encoding="utf-8")

    def pip(self, *arguments: str, command: str = "install") -> None:
        """Run pip."""
        run([self.python, "-m", "pip", "--quiet", *filter(None, [command]), *arguments])

    def try_out(self, name: str, source: Path) -> None:
        """Run what the extra is for, away from the package's source, and print what it took."""
        start = time.monotonic()
        place = self.folder / "elsewhere"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        run([self.folder / "bin" / "lookboth", "--help"], cwd=place)
        run([self.python, "-I", source / ACTIONS / f"try_{name}.py", source / LABELER], cwd=place)
        megabytes = sum(f.stat().st_size for f in self.packages.rglob("*") if f.is_file()) / 1e6
        print(
            f"{name}: works; {megabytes:,.0f} MB installed, tried in {time.monotonic() - start:.0f} s",
            flush=True,
        )


def build(work: Path, out: Path) -> Path:
    """Build both packages from the files under version control, look into them, and return the wheel."""
    for left in ("source", "direct"):
        shutil.rmtree(work / left, ignore_errors=True)
    source = checkout(work / "source")
    tools = Environment(work / "tools")
    tools.pip("build", "twine")
    shutil.rmtree(out, ignore_errors=True)
    run([tools.python, "-m", "build", "--outdir", out, source])
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    run([tools.python, "-m", "twine", "check", "--strict", wheel, sdist])
    run([tools.python, "-m", "build", "--wheel", "--outdir", work / "direct", source])
    (direct,) = (work / "direct").glob("*.whl")
    require(
        contents(wheel) == contents(direct), "the sdist does not build the wheel that the checkout builds"
    )
    check_wheel(wheel)
    check_sdist(sdist)
    for file in (wheel, sdist):
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, as it should be", flush=True)
    return wheel


def checkout(folder: Path) -> Path:
    """Copy the files under version control, so that nothing else can get into a package."""
    listed = run(["git", "-C", ROOT, "ls-files", "-z"], capture=True).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def contents(wheel: Path) -> dict[str, str]:
    """Return the hash of each file of a wheel."""
    with zipfile.ZipFile(wheel) as files:
        return {name: hashlib.sha256(files.read(name)).hexdigest() for name in files.namelist()}


def check_wheel(wheel: Path) -> None:
    """See that every file of the package is in the wheel, and no other but its metadata."""
    package = run(["git", "-C", ROOT, "ls-files", "-z", "src/lookboth"], capture=True).split("\0")
    wanted = {name.removeprefix("src/") for name in package if name}
    found = {name for name in contents(wheel) if ".dist-info/" not in name}
    require(found == wanted, f"the wheel differs from src/lookboth in {sorted(found ^ wanted)[:5]}")
    metadata = {name.partition(".dist-info/")[2] for name in contents(wheel)} - {""}
    require("licenses/LICENSE" in metadata, "the wheel has no licence")
    require(wheel.stat().st_size < MAX_WHEEL_MB * 1e6, f"the wheel has more than {MAX_WHEEL_MB} MB")
    for folder in {name.rpartition("/")[0] for name in wanted if name.startswith("lookboth/data/builtin/")}:
        alone = folder == "lookboth/data/builtin"
        require(alone or f"{folder}/README.md" in wanted, f"{folder} has no README with its licence")


def check_sdist(sdist: Path) -> None:
    """See that the sdist holds what it takes to build the wheel, and no tests and experiments."""
    with tarfile.open(sdist) as files:
        names = {name.partition("/")[2].partition("/")[0] for name in files.getnames()} - {""}
    metadata = {"PKG-INFO", "setup.cfg"}
    wanted = {
        "src",
        "pyproject.toml",
        "setup.py",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "constraints.txt",
    }
    require(names - metadata == wanted | {"MANIFEST.in"}, f"the sdist holds {sorted(names)}")


def run(command: list[str | Path], *, cwd: Path | None = None, capture: bool = False) -> str:
    """Run a command without what this environment would add to it; its failure ends everything.

    Args:
        command: program and arguments.
        cwd: where it runs; this is its home as well, so that it finds no models that were converted before.
        capture: whether what it prints is wanted.
    """
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "LOOKBOTH", "HF_"))
    }
    home = (
        {} if cwd is None else {"HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache"), "HF_HUB_OFFLINE": "1"}
    )
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=kept | home)
    shown = " ".join(map(str, command))
    require(done.returncode == 0, f"{shown}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout if capture else ""


def require(holds: bool, otherwise: str) -> None:
    """End with a message unless something holds."""
    if not holds:
        sys.exit(f"error: {otherwise}")


if __name__ == "__main__":
    main()
