"""No other file spells the name of a file of a run."""

import ast
from pathlib import Path

import lookboth
from lookboth.run_folder import RunFolder, TrainingFolder

PACKAGE = Path(lookboth.__file__).parent
ROOMS = ("training", "evaluation", "search", "study", "reporting", "generative")


def names() -> set[str]:
    """Return the names of all files, and those of folders that nothing else is called by."""
    found = set()
    for kind in (RunFolder, TrainingFolder):
        for name, value in vars(kind).items():
            if isinstance(value, property):
                path = getattr(kind(Path("run")), name)
                found.add((path if isinstance(path, Path) else path.path).name)
    return {name for name in found if "." in name} | {"checkpoints"}


def test_the_names_of_a_run_are_written_in_one_place():
    assert len(names()) > 10
    spelled = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for room in ROOMS
        for file in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names()
    ]
    assert not spelled


def test_seeds_and_finished_runs_are_found(tmp_path):
    runs = [RunFolder.of_seed(tmp_path / "deep", seed) for seed in (1, 2)]
    for run in runs:
        run.path.mkdir(parents=True)
    runs[1].run.write_text("{}")
    assert RunFolder.of_seeds(tmp_path / "deep") == runs
    assert RunFolder.below(tmp_path) == [runs[1]]
