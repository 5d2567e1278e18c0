"""The order of the folders: imports point downwards, through the face of a folder, and never in a circle."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import lookboth

SOURCE = Path(lookboth.__file__).parent
# From the bottom up. A folder may import from every folder before its own group.
ORDER = (
    {"errors", "types"},
    {"files", "html_pages", "memory", "progress", "quiet", "run_folder"},
    {"compat"},
    {"masking"},
    {"data"},
    {"config"},
    {"inference"},
    {"models"},
    {"labelers"},
    {"evaluation", "integrations", "bulk"},
    {"training", "onnx"},
    {"generative", "search"},
    {"study", "audit"},
    {"serving", "reporting"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
# (module, folder): imports against the order, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def _modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name without "lookboth."; a folder is its `__init__`."""
    paths = (path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
    return {_name(path): path for path in paths}


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = _modules()
FOLDERS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def _face(folder: str) -> dict[str, str]:
    """Return the names of a folder's face, each with the module it comes from."""
    stub = MODULES[folder].with_suffix(".pyi")
    if not stub.is_file():
        return {}
    nodes = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{folder}.{node.module}" for node in nodes for alias in node.names}


FACES = {folder: _face(folder) for folder in FOLDERS}


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module without "lookboth.", name) of every import of lookboth, deferred and typing ones included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lookboth":
            module = (node.module or "").removeprefix("lookboth").removeprefix(".")
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names if alias.name.startswith("lookboth."))
            yield from ((name.removeprefix("lookboth."), "") for name in names)


def _folder(module: str) -> str:
    return module if module in FOLDERS else module.rpartition(".")[0]


def _target(module: str, name: str) -> str:
    """Return the module an import really loads: through a face the one behind the name."""
    inside = f"{module}.{name}" if module else name
    return FACES.get(module, {}).get(name) or (inside if inside in MODULES else module)


EDGES = [
    (name, module, imported, _target(module, imported))
    for name, path in MODULES.items()
    for module, imported in _imports(path)
]


def test_every_folder_has_a_place_in_the_order() -> None:
    assert {name.partition(".")[0] for name in MODULES} <= set(LEVEL)


def test_imports_point_downwards() -> None:
    upwards = [
        (source, target)
        for source, _, _, target in EDGES
        if source.partition(".")[0] != target.partition(".")[0]
        and LEVEL[target.partition(".")[0]] >= LEVEL[source.partition(".")[0]]
        and (source, target.partition(".")[0]) not in EXCEPTIONS
    ]
    assert not upwards


def test_exceptions_are_few_and_needed() -> None:
    assert len(EXCEPTIONS) <= 2
    assert {(source, target.partition(".")[0]) for source, _, _, target in EDGES} >= set(EXCEPTIONS)


def test_imports_between_folders_go_through_the_face() -> None:
    past = [
        f"{source}: {module}.{name}"
        for source, module, name, target in EDGES
        if _folder(target) not in ("", _folder(source)) and module not in FOLDERS
    ]
    assert not past


def test_no_circle_of_modules() -> None:
    graph = {name: {t for source, _, _, t in EDGES if source == name and t in MODULES} for name in MODULES}
    assert not list(_circles(graph))


def _circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield circles found by walking the graph depth first."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> Iterator[list[str]]:
        if name in trail:
            yield trail[trail.index(name) :]
            return
        if name not in done:
            for other in sorted(graph[name]):
                yield from walk(other, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        yield from walk(name, [])


@pytest.mark.parametrize("folder", sorted(folder for folder in FOLDERS if FACES[folder]))
def test_names_of_a_face_are_no_names_of_modules(folder: str) -> None:
    inside = {name.removeprefix(f"{folder}.") for name in MODULES if name.startswith(f"{folder}.")}
    assert not inside & set(FACES[folder])


def test_file_names_are_telling() -> None:
    names = sorted(path.name for path in MODULES.values() if path.name not in ("__init__.py", "__main__.py"))
    assert [a for a, b in pairwise(names) if a == b] == []
