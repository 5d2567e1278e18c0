"""Dynamic int8 quantization of a graph's matrix products: weights per column, activations per token.

Scaling each token by its largest absolute value is from Yao et al. 2022 (ZeroQuant, arXiv 2206.01861, section 4.1).
Moving the scale of large channels from the activations to the weights is from Xiao et al. 2023 (SmoothQuant, arXiv
2211.10438, section 4). Here the size of a channel is its root mean square relative to the token's largest value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookboth.onnx.folder import WEIGHTS_FILE

# A product stays in fp32 if integers change its result by more than this share of the result's norm.
COARSE = 0.025
# Candidate shares of a channel's size to move to the weights; the one with the smallest error is used.
_TO_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Tokens of the sample on which the candidates are compared.
_TOKENS = 256
# Integer steps on either side of zero.
_STEPS = 127
_LEAST = 1e-12
_TINY, _LAST, _STEP, _MIDDLE = "int8_tiny", "int8_last", "int8_step", "int8_middle"


@dataclass(frozen=True)
class Smoothed:
    """Smoothing of an activation before it is rounded.

    Args:
        divisor: divisor of each channel, shape (channels,); the weights are multiplied by it.
        error: relative error of the products' norm per token; root mean square over tokens.
    """

    divisor: np.ndarray
    error: float


def quantize_graph(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> None:
    """Quantize embeddings and weight matrices to int8, except products whose error would exceed `COARSE`.

    Activations are scaled per token, so the scores of a text do not depend on the other texts of its batch.

    Args:
        source: fp32 graph.
        target: output file; if `source` has a separate weights file, so has `target`.
        inputs: batch of real texts, for the values of the activations.
    """
    import onnx

    beside = source.with_name(WEIGHTS_FILE).exists()
    values = record(source, inputs)
    model = onnx.load(str(source))
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    smoothed = {name: smooth(value, _matrices(model, weights, name)) for name, value in values.items()}
    fine = {name: how for name, how in smoothed.items() if how.error <= COARSE}
    _rewrite(model.graph, weights, fine)
    # The domain of onnxruntime's own operators, such as the integer product.
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(target), save_as_external_data=beside, location=WEIGHTS_FILE if beside else None)


def record(file: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the input of every product with a weight matrix, by its name, shape (tokens, channels).

    Args:
        file: fp32 graph.
        inputs: batch to run it on.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(file), load_external_data=False)
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    names = list(dict.fromkeys(node.input[0] for node in model.graph.node if _is_product(node, weights)))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    # In the same folder, because a graph refers to its weights file by a relative path.
    probe = file.with_name("probe.onnx")
    probe.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(str(probe), providers=["CPUExecutionProvider"])
    feeds = {item.name: inputs[item.name] for item in session.get_inputs()}
    found = dict(zip(names, session.run(names, feeds), strict=True)) if names else {}
    probe.unlink()
    return {name: value.reshape(-1, value.shape[-1]) for name, value in found.items()}


def smooth(value: np.ndarray, matrices: list[np.ndarray]) -> Smoothed:
    """Return the smoothing of an activation that gives the smallest error of its products.

    Decoders have a few very large activations: at the first token in some layers, in a few channels in others. With one
    scale for all tokens and channels, 255 steps would round the other values to zero.

    Args:
        value: activation, shape (tokens, channels).
        matrices: the weight matrices that it is multiplied by, each of shape (channels, columns).

    >>> value = np.array([[1.0, 100.0], [-1.0, 100.0]], np.float32)
    >>> how = smooth(value, [np.array([[1.0], [0.01]], np.float32)])
    >>> round(float(how.divisor[1] / how.divisor[0])), how.error < 0.01
    (100, True)
    """
    value = value[np.linspace(0, len(value) - 1, min(len(value), _TOKENS)).astype(int)]
    matrix = np.concatenate(matrices, axis=1)
    wanted = value @ matrix
    sizes = np.abs(value)
    sizes = sizes / np.maximum(sizes.max(axis=1, keepdims=True), _LEAST)
    channels = np.maximum(np.sqrt(np.mean(sizes**2, axis=0)), 1e-5)
    rows = np.maximum(np.abs(matrix).max(axis=1), 1e-5)
    tried = []
    for share in _TO_WEIGHTS:
        divisor = channels**share / rows ** (1 - share) if share else np.ones_like(channels)
        # A geometric mean of 1 keeps the overall scale of the weights.
        divisor = (divisor / np.exp(np.log(divisor).mean())).astype(np.float32)
        tried.append(Smoothed(divisor, _error(value / divisor, matrix * divisor[:, None], wanted)))
    return min(tried, key=lambda how: how.error)


def _error(value: np.ndarray, matrix: np.ndarray, wanted: np.ndarray) -> float:
    """Return the relative error of the integer product, as a root mean square over tokens."""
    integers, scale = _round_weight(matrix, axis=0)
    most = np.maximum(np.abs(value).max(axis=1, keepdims=True), _LEAST) / _STEPS
    found = (np.round(value / most) * most) @ (integers * scale)
    length = np.maximum(np.linalg.norm(wanted, axis=1), _LEAST)
    return float(np.sqrt(np.mean((np.linalg.norm(found - wanted, axis=1) / length) ** 2)))


def _is_product(node: Any, weights: Mapping[str, Any]) -> bool:
    """Return whether a node multiplies by a weight matrix; a head with a bias (Gemm) is small and stays in fp32."""
    return node.op_type == "MatMul" and node.input[1] in weights and len(_shape(weights[node.input[1]])) == 2


def _shape(weight: Any) -> tuple[int, ...]:
    return tuple(weight.shape if isinstance(weight, np.ndarray) else weight)


def _matrices(model: Any, weights: Mapping[str, np.ndarray], value: str) -> list[np.ndarray]:
    nodes = (node for node in model.graph.node if _is_product(node, weights) and node.input[0] == value)
    return [weights[node.input[1]] for node in nodes]


def _rewrite(graph: Any, weights: Mapping[str, np.ndarray], fine: Mapping[str, Smoothed]) -> None:
    """Replace fp32 products and embeddings by integer ones."""
    constants: dict[str, np.ndarray] = {
        _TINY: np.array(_LEAST, np.float32),
        _LAST: np.array([-1], np.int64),
        _STEP: np.array(1 / _STEPS, np.float32),
        # onnxruntime's integer product takes unsigned activations, so zero is at 128.
        _MIDDLE: np.array(_STEPS + 1, np.uint8),
    }
    nodes: list[Any] = []
    rounded: set[str] = set()
    for node in graph.node:
        if _is_product(node, weights) and (how := fine.get(node.input[0])) is not None:
            if node.input[0] not in rounded:
                rounded.add(node.input[0])
                nodes += _round_value(node.input[0], how, constants)
            nodes += _integer_product(node, weights[node.input[1]], how, constants)
        elif node.op_type == "Gather" and len(_shape(weights.get(node.input[0], ()))) == 2:
            nodes += _integer_embedding(node, weights[node.input[0]], constants)
        else:
            nodes.append(node)
    _replace(graph, nodes, constants)


def _round_value(name: str, how: Smoothed, constants: dict[str, np.ndarray]) -> Iterator[Any]:
    """Yield the nodes that quantize an activation: `{name}_int8`, and one `{name}_scale` per token."""
    from onnx.helper import make_node

    constants[f"{name}_even"] = 1 / how.divisor
    yield make_node("Mul", [name, f"{name}_even"], [f"{name}_smooth"])
    yield make_node("Abs", [f"{name}_smooth"], [f"{name}_size"])
    yield make_node("ReduceMax", [f"{name}_size", _LAST], [f"{name}_most"], keepdims=1)
    yield make_node("Max", [f"{name}_most", _TINY], [f"{name}_scale"])
    yield make_node("Div", [f"{name}_smooth", f"{name}_scale"], [f"{name}_one"])
    yield make_node("QuantizeLinear", [f"{name}_one", _STEP, _MIDDLE], [f"{name}_int8"])


def _integer_product(
    node: Any, weight: np.ndarray, how: Smoothed, constants: dict[str, np.ndarray]
) -> Iterator[Any]:
    from onnx.helper import make_node

    value, name = node.input[0], node.output[0]
    integers, scale = _round_weight(weight * how.divisor[:, None], axis=0)
    constants |= {f"{name}_weight": integers, f"{name}_weight_scale": scale}
    yield make_node(
        "MatMulIntegerToFloat",
        [f"{value}_int8", f"{name}_weight", _STEP, f"{name}_weight_scale", _MIDDLE],
        [f"{name}_one"],
        domain="com.microsoft",
    )
    yield make_node("Mul", [f"{name}_one", f"{value}_scale"], [name])


def _integer_embedding(node: Any, table: np.ndarray, constants: dict[str, np.ndarray]) -> Iterator[Any]:
    from onnx import TensorProto
    from onnx.helper import make_node

    rows, name = node.input[1], node.output[0]
    # One scale per row, as each row is the embedding of one token.
    integers, scale = _round_weight(table, axis=1)
    constants |= {f"{name}_table": integers, f"{name}_table_scale": scale[:, None]}
    yield make_node("Gather", [f"{name}_table", rows], [f"{name}_row"])
    yield make_node("Gather", [f"{name}_table_scale", rows], [f"{name}_row_scale"])
    yield make_node("Cast", [f"{name}_row"], [f"{name}_row_float"], to=TensorProto.FLOAT)
    yield make_node("Mul", [f"{name}_row_float", f"{name}_row_scale"], [name])


def _round_weight(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers of a weight and their scales, one scale per slice along `axis`."""
    scale = np.maximum(np.abs(weight).max(axis=axis), _LEAST) / _STEPS
    return np.round(weight / np.expand_dims(scale, axis)).astype(np.int8), scale.astype(np.float32)


def _replace(graph: Any, nodes: list[Any], constants: Mapping[str, np.ndarray]) -> None:
    """Set the nodes of a graph, add the new constants and remove unused weights."""
    from onnx.numpy_helper import from_array

    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(
        from_array(np.ascontiguousarray(value), name) for name, value in constants.items()
    )
