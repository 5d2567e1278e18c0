"""A short start of commands: transformers' modeling files without the libraries they need for other uses.

`transformers.modeling_utils` imports the compiler of torch, sympy, torch's distributed tensors and scipy, which takes a
second and which labeling on one device does not use. Here these imports are replaced by stand-ins that import the real
thing at the first use. Seen to work with transformers 5.23 and 5.24 and torch 2.13.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
# Modules of which modeling files take names that only some models, losses or devices use.
_LATE = (_COMPILER, f"{_COMPILER}._trace_wrapped_higher_order_op", "scipy.optimize")
# Decorators for functions that torch's compiler meets.
_MARKS = ("allow_in_graph", "assume_constant_result", "disable")
# Functions of optimizers that the compiler leaves out.
_OPTIMIZER = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
# Attribute with which torch remembers how to run a function that the compiler leaves out.
_LEFT_OUT = "__dynamo_disable"
# First letters of variables that torchrun and accelerate set in the processes they start.
_LAUNCHERS = ("WORLD_SIZE", "ACCELERATE_")
# What the modeling files of all families import.
_MODELING = ("transformers.modeling_utils", "transformers.masking_utils", "transformers.generation.utils")
# Set in a process that runs one command of lookboth.
_own_process = False


def own_process() -> None:
    """Allow `import_modeling` and `import_training` to shorten imports.

    This process runs one command of lookboth and nothing else. Has no effect in a process that torchrun or accelerate
    started: it may need distributed tensors or the compiler.
    """
    global _own_process
    _own_process = not any(name.startswith(_LAUNCHERS) for name in os.environ)


def is_own_process() -> bool:
    """Whether this process runs one command of lookboth, and no launcher started it."""
    return _own_process


def import_modeling() -> None:
    """Import `transformers.modeling_utils`: in one second less in a process of one command, else as usual.

    Relies on the modules from which modeling files take the names, on the decorators of `torch.compiler` and
    `torch._dynamo` only marking functions, and on `is_torch_distributed_available` guarding every use of distributed
    tensors. Where this is not so, the modules are imported as usual.
    """
    if _own_process:
        import_light()


def import_light(more: Sequence[str] = (), late: Sequence[str] = ()) -> None:
    """Import the modeling files, or leave them to be imported as usual where the imports cannot be shortened.

    Args:
        more: further modules of transformers to import.
        late: modules that get stand-ins, besides those of modeling files.
    """
    before = set(sys.modules)
    if before & {*_MODELING, *more, _COMPILER}:
        return
    try:
        _import_tensors_late()
        with _stand_ins((*_LATE, *late)), _one_scan(), _no_distributed_tensors():
            for name in (*_MODELING, *more):
                import_module(name)
    except Exception:
        # Another version of transformers or torch, which uses the names while it is imported, or none of them.
        for name in set(sys.modules) - before:
            if name.startswith("transformers."):
                del sys.modules[name]


class _Late(type):
    """A class that stands in for a function, class or object of a module that is not imported yet."""

    place: tuple[str, str]

    def __new__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> "_Late":
        if bases:
            raise ImportError(f"class {name} is derived from a stand-in")
        return super().__new__(cls, name, bases, names)

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        return cls._real()(*arguments, **named)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._real(), name)

    def _real(cls) -> Any:
        module, name = cls.place
        found = import_module(module)
        if isinstance(found, _LateModule):
            raise ImportError(f"{module}.{name} is used while transformers is imported")
        return getattr(found, name)


class _LateModule(ModuleType):
    """A module whose names are stand-ins."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Read by functions that test whether a package is installed.
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        late = _Late(name, (), {"place": (self.__name__, name)})
        setattr(self, name, late)
        return late


@contextmanager
def _stand_ins(names: Sequence[str]) -> Iterator[None]:
    """Put stand-ins in the place of modules and of the compiler's decorators inside the context."""
    import torch.compiler

    marks, late = _Marks(), [name for name in names if name not in sys.modules]
    sys.modules.update({name: _LateModule(name) for name in late})
    marks.run_plainly(*(getattr(torch.optim.Optimizer, name) for name in _OPTIMIZER))
    real = {name: getattr(torch.compiler, name) for name in _MARKS}
    for place in (torch.compiler, sys.modules[_COMPILER]):
        for name in _MARKS:
            setattr(place, name, functools.partial(marks.add, name))
    try:
        yield
    finally:
        for name in late:
            del sys.modules[name]
        for name, mark in real.items():
            setattr(torch.compiler, name, mark)
        sys.meta_path.insert(0, marks)


class _Marks(MetaPathFinder, Loader):
    """The functions marked for torch's compiler; they are marked when it is imported."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[ModuleType], None]] = []

    def add(self, mark: str, function: Any = None, **options: Any) -> Any:
        """Return a function that the compiler's decorator `mark` is applied to as soon as the compiler is there."""
        if function is None:
            return functools.partial(self.add, mark, **options)
        chosen = [function]

        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            return chosen[0](*arguments, **named)

        self._waiting.append(
            lambda compiler: chosen.__setitem__(0, getattr(compiler, mark)(function, **options))
        )
        return run

    def run_plainly(self, *functions: Any) -> None:
        """Let functions that the compiler leaves out run without importing it.

        torch would import it at their first call. Relies on `torch._disable_dynamo`, which keeps the function to run as
        an attribute of the one it wraps.
        """
        for function in functions:
            plain = vars(function.__wrapped__)
            if plain.setdefault(_LEFT_OUT, function.__wrapped__) is function.__wrapped__:
                self._waiting.append(functools.partial(_forget, plain))

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the compiler's own spec with this loader around its loader; None for other modules."""
        if name != _COMPILER:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        self._loader.exec_module(module)
        for mark in self._waiting:
            mark(module)
        _replace_stand_ins()


def _forget(names: dict[str, Any], _: ModuleType) -> None:
    del names[_LEFT_OUT]


def _replace_stand_ins() -> None:
    """Put the names of the compiler into the modules that took stand-ins, which its tracing would not recognize."""
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            # isinstance() would also ask for the class that an object pretends to have, which warns for some of torch.
            if type(value) is _Late and value.place[0].startswith(_COMPILER):
                setattr(module, name, value._real())


def _import_tensors_late() -> None:
    """Import torch's distributed tensors when `torch.distributed.tensor` is first read: PEFT does not import them."""
    import torch.distributed

    def find(name: str) -> ModuleType:
        if name != "tensor":
            raise AttributeError(f"module 'torch.distributed' has no attribute {name!r}")
        return import_module(f"torch.distributed.{name}")

    vars(torch.distributed).setdefault("__getattr__", find)


@contextmanager
def _one_scan() -> Iterator[None]:
    """Let transformers scan the files of its models once instead of twice inside the context.

    Relies on `define_import_structure`, whose result for the prefix "models" is kept from `import transformers`.
    """
    import transformers
    from transformers.utils import import_utils

    real, models = import_utils.define_import_structure, Path(transformers.__file__).parent / "models"

    def structure(path: Any, prefix: str | None = None) -> dict[frozenset[str], dict[str, set[str]]]:
        if prefix is not None or Path(path) != models / "__init__.py":
            return real(path, prefix)
        scanned = real(models, prefix="models").items()
        return {
            needs: {name[7:]: names for name, names in found.items() if name.startswith("models.")}
            for needs, found in scanned
        }

    import_utils.define_import_structure = structure  # type: ignore[assignment]
    try:
        yield
    finally:
        import_utils.define_import_structure = real


@contextmanager
def _no_distributed_tensors() -> Iterator[None]:
    """Let transformers find a torch without distributed tensors inside the context."""
    from transformers.utils import import_utils

    places: list[Any] = [sys.modules["transformers.utils"], import_utils]
    name, real = "is_torch_distributed_available", import_utils.is_torch_distributed_available
    for place in places:
        setattr(place, name, lambda: False)
    try:
        yield
    finally:
        for place in places:
            setattr(place, name, real)
