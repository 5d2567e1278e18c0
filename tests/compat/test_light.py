"""Importing a module that imports torch only when it is used must not import it through compat."""

import subprocess
import sys
from pathlib import Path

import pytest

from lookboth.compat import import_modeling, light_start, only_predicts, own_process

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
    "scipy",
    "sympy",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
)
PREDICT = """
import sys
import lookboth.cli
from lookboth import open_labeler
from lookboth.compat import own_process
own_process()
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
# The parts that are left out at first arrive when something needs them.
LATER = """
import sys
from lookboth.compat import import_modeling, own_process
own_process()
import_modeling()
assert not {{"torch._dynamo", "sympy", "scipy"}} & set(sys.modules)
import torch, transformers
from transformers import masking_utils, modeling_utils
from transformers.loss.loss_for_object_detection import linear_sum_assignment
assert len(linear_sum_assignment([[1.0, 2.0], [2.0, 1.0]])[0]) == 2
from transformers.utils.import_utils import define_import_structure, is_torch_distributed_available
assert is_torch_distributed_available() == torch.distributed.is_available()
scanned = define_import_structure(transformers.models.__file__)
names = {{name for modules in scanned.values() for found in modules.values() for name in found}}
assert names <= set(transformers.models._class_to_module)
mark = modeling_utils.PreTrainedModel.can_record_outputs.fget
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2, 2]
from torch._dynamo import _trace_wrapped_higher_order_op, trace_rules
assert id(mark.__wrapped__) in trace_rules._allowed_callable_ids
assert masking_utils.TransformGetItemToIndex is _trace_wrapped_higher_order_op.TransformGetItemToIndex
"""
# A version of transformers that needs a name at once.
AT_ONCE = """
import sys
from lookboth.compat import light_start
light_start._LATE += ("transformers.generation.continuous_batching",)
light_start.own_process()
light_start.import_modeling()
from transformers import LlamaConfig, LlamaModel
shape = dict(num_hidden_layers=1, hidden_size=8, intermediate_size=8, num_attention_heads=2, vocab_size=8)
assert LlamaModel(LlamaConfig(**shape)).dummy_inputs
from transformers.generation import GenerationMixin
assert type(GenerationMixin) is type
"""


def test_modules_that_import_heavy_libraries_late_stay_light() -> None:
    code = CODE.format(light=LIGHT, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_prediction_imports_one_family_and_no_library_of_training() -> None:
    code = PREDICT.format(folder=str(SAVED / "lora"), base=str(SAVED / "base"), unused=UNUSED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_left_out_at_the_start_arrives_when_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", LATER.format()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_imports_that_cannot_be_shortened_end_in_modules_that_work() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_imports_are_shortened_only_in_a_process_that_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in light_start._MODELING:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(light_start, "_own_process", False)
    import_modeling()
    assert not set(light_start._MODELING) & set(sys.modules)
    assert not only_predicts()
    own_process()
    assert only_predicts()
