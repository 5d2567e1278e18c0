"""Files of a training: the best weights, and checkpoints from which an interrupted run resumes."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.trainer_utils import get_last_checkpoint

from lookboth.errors import DataError
from lookboth.files import write_whole
from lookboth.training.process_group import ProcessGroup, on_rank_zero, shards_weights


def write_weights(model: nn.Module, file: Path) -> None:
    """Write the trained weights; every process must call it and rank 0 writes."""
    from safetensors.torch import save

    _reshard(model)
    state = {}
    for name, parameter in _trained(model).items():
        weights = parameter.detach()
        # A shard has to be gathered by all processes together, also by those that do not write.
        if hasattr(weights, "full_tensor"):
            weights = weights.full_tensor()
        if ProcessGroup.current().is_rank_zero:
            state[name] = weights.cpu().contiguous()
    on_rank_zero(lambda: write_whole(file, [save(state)], follow_links=False))


@torch.no_grad()
def load_weights(model: nn.Module, file: Path) -> None:
    """Load saved trained weights; all other weights keep their values."""
    from safetensors.torch import load_file

    # Not strict: the file has the trained weights only.
    if not is_sharded(model):
        model.load_state_dict(load_file(file), strict=False)
        return
    from torch.distributed.tensor import DTensor, distribute_tensor

    _reshard(model)
    stored = load_file(file)
    for name, parameter in _trained(model).items():
        assert isinstance(parameter, DTensor)
        whole = stored[name].to(parameter.device)
        parameter.copy_(distribute_tensor(whole, parameter.device_mesh, parameter.placements))


def is_sharded(model: nn.Module) -> bool:
    """Return whether FSDP shards the weights; all processes must run such a model in lockstep."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())


@contextmanager
def without_frozen(model: nn.Module) -> Iterator[None]:
    """Exclude frozen weights from state dicts inside the context; the base model provides them."""
    # A checkpoint of a LoRA run would otherwise be as large as the base model.
    hooks = (
        model.register_state_dict_post_hook(_drop_frozen),
        model.register_load_state_dict_post_hook(_excuse_frozen),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest complete checkpoint, after deleting incomplete ones.

    Raises:
        DataError: the checkpoint has sharded weights and this run does not, or vice versa.
    """
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))):
        try:
            # The Trainer writes this file last, so a checkpoint that has it is complete.
            json.loads((Path(last) / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(last)
        else:
            _check_layout(Path(last))
            return str(last)
    return None


def _check_layout(checkpoint: Path) -> None:
    was_sharded = any(checkpoint.glob("pytorch_model_fsdp*"))
    if was_sharded != shards_weights():
        was, now = ("with", "without") if was_sharded else ("without", "with")
        raise DataError(
            f"{checkpoint}: was written {was} FSDP, and this run is {now} it. Resume {was} FSDP, with any number of "
            "processes, or give another --out."
        )


def _reshard(model: nn.Module) -> None:
    """Free the full weights that FSDP holds after a forward pass, so that parameters show the shards again."""
    if is_sharded(model):
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable weights by name; tied weights appear once."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _drop_frozen(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    kept = _trained(module)
    for name, _parameter in module.named_parameters(remove_duplicate=False):
        if name not in kept:
            state.pop(prefix + name, None)


def _excuse_frozen(module: nn.Module, keys: Any) -> None:
    """Remove frozen and tied weights from the keys that a checkpoint is expected to contain."""
    kept = _trained(module)
    excused = {name for name, _ in module.named_parameters(remove_duplicate=False) if name not in kept}
    keys.missing_keys[:] = [key for key in keys.missing_keys if key not in excused]
