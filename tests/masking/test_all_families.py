"""Every causal language model of transformers: a plan is proved on it, or refused with a PlanError; nothing else."""

import copy
from typing import Any

import pytest
import torch
import transformers
from all_families import FAMILIES, QUICK, REFUSES, tiny_family
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan
from lookboth.masking.proof import prove

LARGEST = 300_000_000  # weights of a model that is built in memory
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
