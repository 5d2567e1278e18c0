"""Configurations shortened to the first layers of a model, for an early exit."""

import copy
import math
from typing import Any

from lookboth.errors import ConfigError
from lookboth.models.quick_building import build_empty
from lookboth.models.untrusted import as_model_error


def first_layers(config: Any, num_layers: int, *, trust_remote_code: bool = False) -> Any:
    """Return `config` shortened to its first `num_layers` layers, which compute as in the whole model.

    Raises:
        ConfigError: the model has fewer layers, or the layers would compute something else.
    """
    cut = cut_config(config, num_layers)
    if num_layers < config.get_text_config().num_hidden_layers:
        _check_same_layers(config, cut, trust_remote_code)
    return cut


def cut_config(config: Any, num_layers: int) -> Any:
    """Return a copy of `config` with `num_layers` layers; lists with one entry per layer are shortened as well.

    Some families compute with the number of layers: MiniCPM3 scales the output of each layer by it, Gemma 3n and 4
    share the keys of the last layers. Their settings are changed so that the remaining layers compute as before.

    Raises:
        ConfigError: the model has fewer layers.
    """
    depth = config.get_text_config().num_hidden_layers
    if not 1 <= num_layers <= depth:
        raise ConfigError(
            f"exit_layer = {num_layers}: this model has {depth} layers; allowed are 1 to {depth}."
        )
    cut = copy.deepcopy(config)
    inner = cut.get_text_config()
    for key, value in list(vars(inner).items()):
        # Lists such as layer_types have one entry per layer; a list of architectures may have that length by chance.
        if isinstance(value, list | tuple) and len(value) == depth and key != "architectures":
            setattr(inner, key, value[:num_layers])
    inner.num_hidden_layers = num_layers
    _keep_arithmetic(inner, depth, num_layers)
    return cut


def _keep_arithmetic(config: Any, depth: int, num_layers: int) -> None:
    """Adjust settings that the model combines with the number of layers, so that its layers compute the same."""
    # MiniCPM3 computes scale_depth / sqrt(num_hidden_layers).
    if getattr(config, "scale_depth", None):
        config.scale_depth *= math.sqrt(num_layers / depth)
    # Gemma 3n and Gemma 4 count the layers with shared keys from the output.
    if getattr(config, "num_kv_shared_layers", None):
        config.num_kv_shared_layers = max(0, config.num_kv_shared_layers - (depth - num_layers))


def _check_same_layers(config: Any, cut: Any, trust_remote_code: bool) -> None:
    """Build both models on the meta device and compare the weight shapes and numbers of their layers.

    The short configuration is converted to JSON and back, as on disk, because families may change settings in this
    step. For example, the last layer of Gemma 4 always attends to the whole text.
    """
    saved = type(cut).from_dict(cut.to_dict())
    whole, short = _facts(config, trust_remote_code), _facts(saved, trust_remote_code)
    for module, found in short.items():
        before = whole.get(module, {})
        for name in before.keys() | found.keys():
            if not _same(before.get(name), found.get(name)):
                raise ConfigError(
                    f"exit_layer: in {config.model_type} models the computation of a layer depends on the number of "
                    f"layers: {module}.{name} is {found.get(name)} in the shortened model and {before.get(name)} in "
                    "the whole one. Choose another exit_layer, or leave it out."
                )


def _facts(config: Any, trust_remote_code: bool) -> dict[str, dict[str, Any]]:
    """Return the shapes of all weights, and the numeric attributes of the modules inside the stack of layers.

    Booleans are excluded: some only say that a layer keeps states for later layers, which may have been removed.
    """
    from torch import nn

    with as_model_error("a model shortened to its first layers cannot be built"):
        model = build_empty(config, trust_remote_code=trust_remote_code)
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
    # Settings that were rescaled above may differ by rounding.
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-9)
    return bool(first == second)
