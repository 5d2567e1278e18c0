"""Importing a module that imports torch only when it is used must not import it through compat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lookboth.compat import (
    import_modeling,
    import_training,
    is_own_process,
    light_start,
    light_training,
    own_process,
)

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
# The trainer knows data sets by their class only once they are there; functions are compiled at their first call.
TRAIN = """
import sys
from lookboth.compat import import_training, own_process
own_process()
import_training()
import peft, torch
from transformers import Trainer
from transformers.trainer import datasets
assert not isinstance([], datasets.Dataset)
loaded = {{"datasets", "pandas", "scipy", "sympy", "torch._dynamo", "torch._inductor"}} & set(sys.modules)
assert not loaded, loaded
assert torch.compile.__module__ == "torch"
# Neither pairs nor the optimizer import the compiler or distributed tensors, which work once they are there.
layers = torch.nn.Sequential(torch.nn.Linear(2, 2))
model = peft.get_peft_model(layers, peft.LoraConfig(target_modules=["0"]))
optimizer = torch.optim.AdamW(model.parameters())
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
import accelerate
assert accelerate.utils.extract_model_from_parallel(model) is model
from transformers import trainer
assert not trainer.has_mixed_dtensor(model.parameters())
assert not accelerate.accelerator.model_has_dtensor(model)
loaded = {{"sympy", "torch._dynamo", "torch.distributed.tensor", "torch.distributed.fsdp"}} & set(sys.modules)
assert not loaded, loaded
assert torch.distributed.tensor.DTensor
from peft.tuners import tuners_utils
assert tuners_utils._torch_supports_distributed
compiled = torch.compile(layers, backend="eager")
assert accelerate.utils.extract_model_from_parallel(compiled, keep_torch_compile=False) is layers
assert not [key for key in vars(torch.optim.Optimizer.zero_grad.__wrapped__) if "dynamo" in key]
from datasets import Dataset
assert Dataset.from_dict({{"a": [1]}}).num_rows == 1
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


@pytest.mark.parametrize("code", [LATER, TRAIN], ids=["modeling files", "trainer"])
def test_what_is_left_out_at_the_start_arrives_when_it_is_needed(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code.format()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_imports_that_cannot_be_shortened_end_in_modules_that_work() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_functions_are_compiled_at_their_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled.append(options) or function)
    with light_training._late_compilation():
        double = torch.compile(dynamic=False)(lambda x: 2 * x)
    assert not compiled
    assert [double(2), double(3)] == [4, 6]
    assert compiled == [{"dynamic": False}]


@pytest.mark.parametrize("launcher", [None, "WORLD_SIZE", "ACCELERATE_USE_FSDP"])
def test_imports_are_shortened_only_in_a_process_of_one_command(
    launcher: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*light_start._MODELING, light_training._TRAINER):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [name for name in os.environ if name.startswith(light_start._LAUNCHERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(light_start, "_own_process", False)
    if launcher:
        monkeypatch.setenv(launcher, "1")
        own_process()
    import_modeling()
    import_training()
    assert not {*light_start._MODELING, light_training._TRAINER} & set(sys.modules)
    assert not is_own_process()
    if not launcher:
        own_process()
        assert is_own_process()
