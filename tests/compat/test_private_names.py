"""Only compat/ may touch private names of other libraries."""

import ast
from collections.abc import Iterator
from pathlib import Path

import lookboth

SOURCE = Path(lookboth.__file__).parent
# Names with an underscore that are documented: two methods of named tuples, and the way to end a forked process.
PUBLIC = {"_replace", "_asdict", "_exit"}
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}
FILES = [path for path in SOURCE.rglob("*.py") if "compat" not in path.relative_to(SOURCE).parts]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != "" and name not in PUBLIC


def own_names(tree: ast.AST) -> set[str]:
    """Return the private names that a file defines: functions, classes, variables, and attributes set on self."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            found.add(node.attr)
    return found


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


EVERYWHERE = set().union(*map(own_names, TREES.values()))


def foreign_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each private name of another library that a file touches.

    Attributes of self may be defined by any class of lookboth (a base class in another file), others in the same file.
    """
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            known = EVERYWHERE | own if is_self(node.value) else own
            if node.attr not in known or is_super(node.value):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, name) for name in names_of_call(node) if name not in own)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, name) for name in imported(node) if is_private(name))


def names_of_call(node: ast.Call) -> Iterator[str]:
    """Yield private names given as keyword, or as text to getattr and its like."""
    yield from (keyword.arg for keyword in node.keywords if keyword.arg and is_private(keyword.arg))
    if isinstance(node.func, ast.Name) and node.func.id in BY_NAME and len(node.args) > 1:
        name = node.args[1]
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and is_private(name.value):
            yield name.value


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    if not module.startswith("lookboth"):
        yield from module.split(".")
        yield from (part for alias in node.names for part in alias.name.split("."))


def test_no_module_outside_compat_touches_private_names_of_another_library() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path, tree in TREES.items()
        for line, name in foreign_names(tree)
    ]
    assert found == []


def test_the_check_sees_every_way_to_touch_a_private_name() -> None:
    code = """
import torch._dynamo
from torch.ops import _private
class Own(Base):
    def __init__(self):
        self._mine = self._theirs_on_self
    def _override(self):
        return super()._override(model._attribute, getattr(model, "_by_name"), f(_keyword=1))
copy = pair._replace(x=1)
"""
    found = [name for _, name in sorted(foreign_names(ast.parse(code)))]
    assert found == [
        "_dynamo",
        "_private",
        "_theirs_on_self",
        "_attribute",
        "_by_name",
        "_keyword",
        "_override",
    ]


def test_every_use_has_a_contract_test() -> None:
    stub = ast.parse((SOURCE / "compat" / "__init__.pyi").read_text(encoding="utf-8"))
    uses = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    tests = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    named = {
        node.id
        for path in tests
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name)
    }
    assert uses - named == {"PipelineCall"}  # the type that read_pipeline_call returns


def test_every_use_says_what_it_relies_on() -> None:
    """Each function of a face, or the module or class around it, says so, and each module with which version."""
    for path in (SOURCE / "compat").glob("*_internals.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert "Seen to work with" in path.read_text(encoding="utf-8"), path
        public = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
        silent = {node.name for node in public if "elies on" not in (ast.get_docstring(node) or "")}
        # What undoes or prepares another function of the same file, which says it.
        assert silent <= {"forget_written", "has_onednn_product", "is_patched", "punctual"}
