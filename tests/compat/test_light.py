"""Importing a module that imports torch only when it is used must not import it through compat."""

import subprocess
import sys

LIGHT = (
    "lookboth.compat",
    "lookboth.bulk.cluster",
    "lookboth.cli.app",
    "lookboth.models.gguf_conversion",
    "lookboth.models.loading",
    "lookboth.training.process_group",
)
HEAVY = ("torch", "transformers", "peft", "accelerate", "ray", "datasets", "bitsandbytes", "uvicorn")
CODE = """
import importlib, sys
for name in {light!r}:
    importlib.import_module(name)
    loaded = set({heavy!r}) & set(sys.modules)
    assert not loaded, (name, loaded)
"""


def test_modules_that_import_heavy_libraries_late_stay_light() -> None:
    code = CODE.format(light=LIGHT, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
