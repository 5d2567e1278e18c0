"""Importing a module that imports torch only when it is used must not import it through compat."""

import subprocess
import sys
from pathlib import Path

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


SAVED = Path(__file__).parents[1] / "models" / "formats" / "1"
# Not used for a prediction; PEFT imports bitsandbytes, and that the compiler of torch.
UNUSED = (
    "peft",
    "bitsandbytes",
    "sklearn",
    "pandas",
    "datasets",
    "ray",
    "onnx",
    "torchvision",
    "torch._inductor.compile_fx",
)
PREDICT = """
import sys
import lookboth.cli
from lookboth import open_labeler
open_labeler({folder!r}, device="cpu", precision="fp32", base={base!r}).predict("Ada met Charles in London.")
loaded = set({unused!r}) & set(sys.modules)
assert not loaded, loaded
models = [name for name in sys.modules if name.startswith("transformers.models.")]
families = {{name.split(".")[2] for name in models if ".modeling_" in name}}
assert families == {{"auto", "llama"}}, families
# Training, which needs PEFT, works afterwards.
labeler = open_labeler({folder!r}, device="cpu", precision="fp32", base={base!r}, merge=False)
assert type(labeler.model.train().backbone).__module__.startswith("peft")
"""


def test_modules_that_import_heavy_libraries_late_stay_light() -> None:
    code = CODE.format(light=LIGHT, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_prediction_imports_one_family_and_no_library_of_training() -> None:
    code = PREDICT.format(folder=str(SAVED / "lora"), base=str(SAVED / "base"), unused=UNUSED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
