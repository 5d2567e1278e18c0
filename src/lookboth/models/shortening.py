"""Configurations cut to the first layers of a model, for an early exit."""

import copy
import math
from typing import Any

from lookboth.errors import ConfigError
from lookboth.models.untrusted import as_model_error


def first_layers(config: Any, num_layers: int, *, trust_remote_code: bool = False) -> Any:
    """Return `config` cut to its first `num_layers` layers, which compute as they do in the whole model.

    Raises:
        ConfigError: there are fewer layers, or they would compute something else.
    """
    cut = cut_config(config, num_layers)
    if num_layers < config.get_text_config().num_hidden_layers:
        _check_same_layers(config, cut, trust_remote_code)
    return cut


def cut_config(config: Any, num_layers: int) -> Any:
    """Return a copy of `config` with `num_layers` layers, and so many entries in every list with one per layer.

    Some families compute with the number of layers: MiniCPM3 scales what each layer adds by it, Gemma 3n and 4 share
    the keys of the last layers. Their settings are changed so that the layers that are left compute as before.

    Raises:
        ConfigError: there are fewer layers.
    """
    depth = config.get_text_config().num_hidden_layers
    if not 1 <= num_layers <= depth:
        raise ConfigError(
            f"exit_layer = {num_layers}: this model has {depth} layers; allowed are 1 to {depth}."
        )
    cut = copy.deepcopy(config)
    inner = cut.get_text_config()
    for key, value in list(vars(inner).items()):
        if isinstance(value, list | tuple) and len(value) == depth and key != "architectures":
            setattr(inner, key, value[:num_layers])
    inner.num_hidden_layers = num_layers
    _keep_arithmetic(inner, depth, num_layers)
    return cut


def _keep_arithmetic(config: Any, depth: int, num_layers: int) -> None:
    """Change settings that are combined with the number of layers, so that the outcome stays."""
    if getattr(config, "scale_depth", None):  # MiniCPM3: scale_depth / sqrt(num_hidden_layers)
        config.scale_depth *= math.sqrt(num_layers / depth)
    if getattr(config, "num_kv_shared_layers", None):  # Gemma 3n, Gemma 4: the last layers
        config.num_kv_shared_layers = max(0, config.num_kv_shared_layers - (depth - num_layers))


def _check_same_layers(config: Any, cut: Any, trust_remote_code: bool) -> None:
    """Build both models without memory for weights and compare what their layers are made of.

    The shorter one is built as from disk, where a family may change settings again (the last layer of Gemma 4 always
    attends to the whole text).
    """
    saved = type(cut).from_dict(cut.to_dict())
    whole, short = _facts(config, trust_remote_code), _facts(saved, trust_remote_code)
    for module, found in short.items():
        before = whole.get(module, {})
        for name in before.keys() | found.keys():
            if not _same(before.get(name), found.get(name)):
                raise ConfigError(
                    f"exit_layer: in {config.model_type} models what a layer computes depends on the number of layers: "
                    f"{module}.{name} is {found.get(name)} in the shorter model and {before.get(name)} in the whole "
                    "one. Choose another exit_layer, or leave it out."
                )


def _facts(config: Any, trust_remote_code: bool) -> dict[str, dict[str, Any]]:
    """Return the shapes of the weights and the numbers of each module, those inside the stack of layers.

    Switches are left out: some say only what a layer keeps for layers that are no longer there.
    """
    import torch
    from torch import nn
    from transformers import AutoModel

    with torch.device("meta"), as_model_error("a model cut to its first layers cannot be built"):
        model = AutoModel.from_config(copy.deepcopy(config), trust_remote_code=trust_remote_code)
    stacks = [f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    facts = {}
    for name, module in model.named_modules():
        found: dict[str, Any] = {
            key: tuple(weight.shape) for key, weight in module.named_parameters(recurse=False)
        }
        if name.startswith(tuple(stacks)):
            found |= {key: value for key, value in vars(module).items() if type(value) in (int, float)}
        facts[name] = found
    return facts


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-9)
    return bool(first == second)
