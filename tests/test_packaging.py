"""What the package says of itself: extras, what needs them, files that travel, versions."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lookboth.labelers.folders import SHIPPED_LABELERS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "lookboth"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
NOT_FOR_USERS = {"all", "dev", "docs"}  # the union of the others, and tools for work on the project
# What can be imported once an extra is installed, and is not there without it.
MODULES = {
    "bulk": ("pyarrow", "ray"),
    "chinese": ("jieba",),
    "data": ("datasets",),
    "demo": ("gguf",),
    "generative": ("bm25s",),
    "japanese": ("fugashi",),
    "onnx": ("onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    "quant": ("bitsandbytes",),
    "report": ("matplotlib", "scipy"),
    "serve": ("fastapi", "fastapi_offline", "prometheus_client", "starlette", "uvicorn"),
    "spacy": ("spacy",),
    "thai": ("pythainlp",),
    "track": ("tensorboard", "wandb"),
}
# What may import an extra as soon as it is imported itself.
HOMES = {
    "bulk": ("lookboth.bulk.",),
    "serve": ("lookboth.serving.", "lookboth.compat.uvicorn_internals"),
    "spacy": ("lookboth.integrations.spacy",),
}
# Something that needs the extra, as a user comes to it. Quant is asked for on a GPU, demo with the weights installed.
NEEDS = {
    "bulk": "import lookboth.cli as c; c.app(['bulk', 'in', 'out'], standalone_mode=False)",
    "data": "from lookboth import read_split; read_split('nobody/nothing', 'train')",
    "generative": "from lookboth.generative.retrieval import Bm25Retriever; Bm25Retriever([['a']])",
    "onnx": "import lookboth.cli as c; c.app(['export', 'in', 'out'], standalone_mode=False)",
    "quant": "from lookboth.models import loading; loading._four_bit('cuda', None, True)",
    "report": "from lookboth.evaluation.seeds import import_scipy_stats; import_scipy_stats()",
    "serve": "import lookboth.cli as c; c.app(['serve', '--port', '0'], standalone_mode=False)",
    "track": "from lookboth.training.trainer import _check_tracker; _check_tracker('wandb')",
}
_NOT_THERE = (
    f"import sys; sys.modules |= dict.fromkeys({[m for names in MODULES.values() for m in names]!r})\n"
)


def run_without_extras(code: str) -> str:
    """Return what `code` prints in a Python where no extra is installed."""
    run = subprocess.run([sys.executable, "-c", _NOT_THERE + code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def texts() -> dict[str, str]:
    """Return what users read and run: code, pages, build files."""
    files = [*PACKAGE.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Makefile"]
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def test_all_is_every_extra_for_users():
    named = re.findall(r"\w+", EXTRAS["all"][0].removeprefix("lookboth"))
    assert named == sorted(EXTRAS.keys() - NOT_FOR_USERS)
    assert list(EXTRAS) == sorted(EXTRAS)


def test_extras_that_are_named_exist():
    named = {
        extra: place
        for place, text in texts().items()
        for extras in re.findall(r"(?:lookboth|'\.)\[([\w,]+)\]'", text)
        for extra in extras.split(",")
    }
    assert {"serve", "spacy", "data", "dev", "docs"} <= named.keys()
    assert {extra: place for extra, place in named.items() if extra not in EXTRAS} == {}


def test_the_page_on_installing_lists_every_extra():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == sorted(EXTRAS.keys() - NOT_FOR_USERS)


def test_the_long_description_has_no_relative_links():
    command = [sys.executable, "setup.py", "--quiet", "--long-description"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert re.findall(r"\]\((?!https?:|#)", text) == []
    assert "installing, guide: ten minutes" in text


def test_every_import_is_declared():
    declared = {re.split(r"[\W]", name.replace("-", "_"), maxsplit=1)[0] for name in PROJECT["dependencies"]}
    known = declared | {module for names in MODULES.values() for module in names} | {"lookboth", "yaml"}
    unknown = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in (name.partition(".")[0] for name in names):
                if name not in known and name not in sys.stdlib_module_names:
                    unknown[name] = str(file.relative_to(ROOT))
    assert unknown == {}
    assert MODULES.keys() == EXTRAS.keys() - NOT_FOR_USERS


def test_without_extras_everything_else_can_be_imported():
    code = """
import json, importlib, pkgutil, lookboth
failed = {}
for module in pkgutil.walk_packages(lookboth.__path__, "lookboth.", onerror=lambda _: None):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        failed[module.name] = error.name
print(json.dumps(failed))
"""
    failed = json.loads(run_without_extras(code))
    places = tuple(place for places in HOMES.values() for place in places)
    homes = {name for name in failed if name.startswith(places)}
    assert failed.keys() == homes
    for name, module in failed.items():
        (extra,) = (extra for extra, home in HOMES.items() if name.startswith(home))
        assert module.partition(".")[0] in MODULES[extra], name


def test_what_needs_an_extra_says_which():
    code = f"""
import json
from lookboth.errors import LookbothError
said = {{}}
for extra, action in {NEEDS!r}.items():
    try:
        exec(action)
    except LookbothError as error:
        said[extra] = str(error)
print(json.dumps(said))
"""
    said = json.loads(run_without_extras(code))
    assert said.keys() == NEEDS.keys()
    for extra, message in said.items():
        assert f"pip install 'lookboth[{extra}]'" in message


def test_built_in_data_travel_with_their_licence():
    folders = [folder for folder in (PACKAGE / "data" / "builtin").iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        page = (folder / "README.md").read_text(encoding="utf-8")
        assert re.search(r"licence", page, re.IGNORECASE), folder.name
    assert (PACKAGE / "py.typed").is_file()
    assert "licence" in (PACKAGE / "labelers" / "shipped" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", PROJECT["license-files"])
def test_licences_of_the_package_are_there(pattern):
    assert list(ROOT.glob(pattern))


def test_every_shipped_labeler_travels():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["lookboth"]
    for folder in SHIPPED_LABELERS.values():
        assert f"{folder.relative_to(PACKAGE).as_posix()}/**/*" in patterns
        assert (folder / "README.md").is_file()


def test_the_repository_stays_small():
    # Weights and results are committed: a limit shows when one of them begins to weigh.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 64 * 2**20


def test_one_version_everywhere():
    version = re.escape(PROJECT["version"])
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert heading is not None
    assert re.fullmatch(version, heading[1])


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    """Return the steps of all jobs of a workflow."""
    data = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert data.keys() >= {"name", "permissions", "jobs", True}  # YAML reads the key `on` as true
    return [step for job in data["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_is_there(workflow):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step)
        program, *arguments = shlex.split(step.get("run", "true"))
        if program == "make":
            targets = [argument for argument in arguments if "=" not in argument and "$" not in argument]
            assert targets
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
        elif program == "python" and arguments[0] == "-m":
            assert arguments[1] in {"pip", "pytest"}
            folders = [argument for argument in arguments if argument.startswith("tests/")]
            assert all((ROOT / folder).is_dir() for folder in folders)
        elif program == "python":
            assert (ROOT / arguments[0]).is_file()
        else:
            assert "uses" in step, f"{program} is neither make nor python"
        assert "${{ github" not in step.get("run", ""), "a tag or branch name must not become shell"


def test_the_workflow_of_packages_tries_every_extra_and_there_is_something_to_try():
    data = yaml.safe_load((ROOT / ".github" / "workflows" / "packages.yml").read_text(encoding="utf-8"))
    users = sorted(EXTRAS.keys() - NOT_FOR_USERS)
    assert data["jobs"]["extras"]["strategy"]["matrix"]["extra"] == users
    tried = {file.stem.removeprefix("try_") for file in (ROOT / ".ci" / "extras").glob("try_*.py")}
    assert tried == {"bare", *users}


def test_the_workflow_of_tests_runs_the_versions_of_python_that_are_named():
    data = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert data["jobs"]["tests"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_only_the_job_that_publishes_may_speak_for_the_project():
    for workflow in WORKFLOWS:
        data = yaml.safe_load(workflow.read_text(encoding="utf-8"))
        assert data["permissions"] == {"contents": "read"}
        given = {name: job["permissions"] for name, job in data["jobs"].items() if "permissions" in job}
        assert given == ({"publish": {"id-token": "write"}} if workflow.stem == "release" else {})


def test_the_container_is_built_from_what_is_there_and_runs_without_rights():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = [
        name
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    ]
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)
    assert "LICENSE" in copied
    for pin in re.findall(r"[\w-]+==[\w.]+", "\n".join(lines)):
        assert pin in makefile, pin
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert any("HEALTHCHECK" in line and "/healthz" in line for line in lines)
    assert not any(re.search(r"(KEY|TOKEN|PASSWORD|SECRET)\s*=", line) for line in lines)
    assert '"lookboth", "serve"' in lines[-1]
