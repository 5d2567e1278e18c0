"""Plans under training: checkpointing, compilation, threads, a stock training loop."""

import copy
import threading
from typing import Any

import pytest
import torch
from families import tiny_model, tokens

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan
from lookboth.masking.proof import prove

PLAN = "0,2,*,1"


def gradients(model: Any, ids: torch.Tensor, **batch: Any) -> list[torch.Tensor]:
    model.train()
    model.zero_grad()
    model(input_ids=ids, labels=ids % 2, **batch).loss.backward()
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


def classifier(family: str = "llama", backend: str = "sdpa") -> Any:
    model = tiny_model(family, backend=backend, head="ModelForTokenClassification")
    return apply_plan(model, PLAN)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("packed", [True, False])
def test_gradient_checkpointing_changes_no_gradient(reentrant: bool, backend: str, packed: bool) -> None:
    model = classifier(backend=backend)
    model.dropout = torch.nn.Identity()
    ids = tokens(2, 8)
    mask = torch.ones_like(ids)
    mask[0, :2] = 0
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]]).expand(2, -1)
    batch = {"position_ids": positions} if packed else {"attention_mask": mask}
    wanted = gradients(model, ids, **batch)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    found = gradients(model, ids, **batch)
    assert len(wanted) == len(found)
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(wanted, found, strict=True))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_compiled_in_one_graph_it_is_the_same(packed: bool, masked: bool) -> None:
    model = classifier().eval()
    ids = tokens(2, 8)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    batch: dict[str, Any] = {"attention_mask": mask} if masked else {}
    if packed:
        batch["position_ids"] = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]]).expand(2, -1)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for seed in range(2):
            ids = tokens(2, 8, seed=seed)
            first, second = model(input_ids=ids, **batch).logits, compiled(input_ids=ids, **batch).logits
            assert torch.allclose(first, second, atol=1e-5)


def test_every_weight_that_may_matter_gets_a_gradient() -> None:
    model = classifier()
    gradients(model, tokens(2, 8))
    assert all(weight.grad is not None and weight.grad.any() for weight in model.model.layers.parameters())


def test_threads_that_share_a_model_do_not_share_their_packed_rows() -> None:
    """DataParallel runs copies of the modules in threads; the texts of one row must not cut another."""
    model = apply_plan(tiny_model(), "full")
    ids = tokens(1, 8)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])
    inside, release = threading.Event(), threading.Event()

    def wait(layer: Any, args: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert release.wait(300)

    with torch.no_grad():
        plain = model(ids)[0]
    model.layers[0].register_forward_pre_hook(wait)

    def packed_forward() -> None:
        with torch.no_grad():
            model(ids, position_ids=positions)

    thread = threading.Thread(target=packed_forward)
    thread.start()
    assert inside.wait(300)
    with torch.no_grad():
        found = model(ids)[0]
    release.set()
    thread.join()
    assert torch.equal(plain, found)


def test_a_stock_trainer_trains_and_saves_the_plan(tmp_path: Any) -> None:
    from transformers import Trainer, TrainingArguments

    model = classifier()
    before = copy.deepcopy(model.state_dict())
    data = [{"input_ids": tokens(8, seed=i), "labels": tokens(8, seed=i) % 2} for i in range(4)]
    arguments = TrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = Trainer(model, arguments, train_dataset=data)
    trainer.train()
    trainer.save_model(tmp_path / "final")
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert prove(model, PLAN).ok
    assert '"lookboth_plan": "0,2,*,1"' in (tmp_path / "final" / "config.json").read_text()


def test_flex_attention_cannot_be_trained_on_a_cpu() -> None:
    model = apply_plan(tiny_model(backend="flex_attention"), "0011").train()
    with pytest.raises(PlanError, match="cannot be trained on a CPU"):
        model(tokens(1, 5))
