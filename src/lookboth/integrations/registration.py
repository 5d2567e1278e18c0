"""Makes saved labelers known to transformers' Auto classes, at no cost until transformers is there."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_AUTO = "transformers.models.auto.modeling_auto"
_NEEDED = (_AUTO, "transformers.modeling_utils", "transformers.models.auto.tokenization_auto")


def register_with_transformers() -> None:
    """Register the model type "lookboth" now, or as soon as transformers' Auto classes have been imported.

    So `import lookboth` loads neither transformers nor torch, in whichever order the two are imported.
    """
    waiting = any(isinstance(finder, _AfterImport) for finder in sys.meta_path)
    if not _register_if_ready() and not waiting:
        sys.meta_path.insert(0, _AfterImport())


class _AfterImport(importlib.abc.MetaPathFinder):
    """Watches transformers being imported and registers once its Auto classes are complete."""

    busy = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find nothing; at an import of transformers' parts, see whether it is time to register."""
        if not name.startswith("transformers.") or self.busy:
            return None
        self._try()
        if name not in _NEEDED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                self._try(just_run=module.__name__)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _try(self, just_run: str = "") -> None:
        if self.busy:
            return
        self.busy = True
        try:
            if _register_if_ready(just_run) and self in sys.meta_path:
                sys.meta_path.remove(self)
        finally:
            self.busy = False


def _register_if_ready(just_run: str = "") -> bool:
    """Register unless transformers is absent or still in the middle of its own circular imports."""
    if not all(name in sys.modules for name in _NEEDED):
        return False
    for name in _NEEDED:
        spec = sys.modules[name].__spec__
        if name != just_run and spec is not None and getattr(spec, "_initializing", False):
            return False
    ours = sys.modules.get("lookboth.integrations.transformers")
    if ours is not None and not hasattr(ours, "register"):
        return False  # it was imported first, is just importing transformers, and registers at its end
    from lookboth.integrations.transformers import register

    register()
    return True
