"""Every causal language model of transformers: a plan is proved on it, or refused with a PlanError; nothing else."""

import copy
from typing import Any

import pytest
import torch
import transformers
from all_families import FAMILIES, QUICK, REFUSES, tiny_family
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan, own_plan
from lookboth.masking.incremental import IncrementalPass
from lookboth.masking.incremental_proof import prove_incremental
from lookboth.masking.plan import MaskPlan
from lookboth.masking.proof import prove

LARGEST = 300_000_000  # weights of a model that is built in memory
_LARGEST_STREAM = 3_000_000  # weights; a stream takes many passes
CASES = [
    pytest.param(name, marks=() if name in QUICK else (pytest.mark.slow, pytest.mark.sweep), id=name)
    for name in FAMILIES
]


def without_memory(config: Any) -> Any:
    with torch.device("meta"):
        return transformers.AutoModel.from_config(copy.deepcopy(config))


def smallest(name: str, backend: str) -> tuple[Any, Any]:
    """Return a configuration and its model without memory, of the default size where no tiny one can be made."""
    failed: list[Exception] = []
    for make in (lambda: tiny_family(name, backend), CONFIG_MAPPING[name]):
        try:
            config = make()
            return config, without_memory(config)
        except Exception as error:
            failed.append(error)
    pytest.skip(f"transformers does not build it from sizes alone: {failed[-1]}")


@pytest.mark.parametrize(("backend", "plan"), [("sdpa", "0011"), ("eager", "0,3,*,1")])
@pytest.mark.parametrize("name", CASES)
def test_a_plan_is_proved_or_refused(name: str, backend: str, plan: str) -> None:
    config, model = smallest(name, backend)
    refused = refusal(model, config, plan)
    assert (refused is None) == (name not in REFUSES), refused


def refusal(model: Any, config: Any, plan: str) -> PlanError | None:
    """Return why a plan is refused, or prove it on a model with weights; one without has none to spare."""
    try:
        apply_plan(model, plan)
        if sum(weight.numel() for weight in model.parameters()) > LARGEST:
            pytest.skip("too large to be run here")
        torch.manual_seed(0)
        proof = prove(transformers.AutoModel.from_config(config).eval(), plan)
    except PlanError as error:
        return error
    assert proof.ok, proof.describe()
    return None


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - REFUSES))
def test_a_stream_is_right_or_refused(name: str) -> None:
    """The check at the opening of a stream refuses every family whose incremental passes would be wrong."""
    config, model = smallest(name, "eager")
    if sum(weight.numel() for weight in model.parameters()) > _LARGEST_STREAM:
        pytest.skip("too large for this test")
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    num_layers = own_plan(model).num_layers
    apply_plan(model, MaskPlan((1,) * num_layers))
    try:
        prove_incremental(model)
    except PlanError:
        return
    ids = torch.randint(5, 90, (1, 40))
    text = IncrementalPass(model)
    found = [text.push(ids[0, start : start + 3].tolist()) for start in range(0, 40, 3)]
    with torch.inference_mode():
        whole = model(input_ids=ids, use_cache=False).last_hidden_state[0]
    assert torch.allclose(torch.cat([*found, text.close()]), whole, atol=1e-4 * float(whole.abs().max()))
