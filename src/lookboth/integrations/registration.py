"""Makes saved labelers known to transformers' Auto classes, at no cost until transformers is there."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_TRIGGER = "transformers.models.auto.modeling_auto"


def register_with_transformers() -> None:
    """Register the model type "lookboth" now, or as soon as transformers' Auto classes are imported.

    So `import lookboth` loads neither transformers nor torch, in whichever order the two are imported.
    """
    if _TRIGGER in sys.modules:
        _register()
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


class _AfterImport(importlib.abc.MetaPathFinder):
    """Waits for one module to be imported and registers after it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's own spec with a loader that calls us afterwards."""
        if name != _TRIGGER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                _register()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _register() -> None:
    # It registers as it is imported; if it is being imported just now, it goes on to do so.
    importlib.import_module("lookboth.integrations.transformers")
