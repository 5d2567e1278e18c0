"""Products in 8-bit integers: huge values beside small ones, weights that two products share, what stays in fp32."""

import numpy as np
import pytest

from lookboth.onnx.folder import WEIGHTS_FILE
from lookboth.onnx.int8 import quantize_graph, smooth

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
TOKENS, CHANNELS, COLUMNS = 12, 64, 48


def write(file, nodes, weights, **save):
    """Write a graph from `a` and `b`, (tokens, channels), and `rows`, (tokens), to `out`."""
    helper, kinds = onnx.helper, onnx.TensorProto
    inputs = [helper.make_tensor_value_info(name, kinds.FLOAT, ("n", CHANNELS)) for name in "ab"]
    inputs.append(helper.make_tensor_value_info("rows", kinds.INT64, ("n",)))
    outputs = [helper.make_tensor_value_info("out", kinds.FLOAT, None)]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), file, **save)


def run(file, inputs):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def operators(file):
    return [node.op_type for node in onnx.load(str(file)).graph.node]


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(TOKENS, CHANNELS)).astype(np.float32) for name in "ab"}
    return values | {"rows": np.arange(TOKENS)}


@pytest.fixture
def weight():
    return np.random.default_rng(1).normal(size=(CHANNELS, COLUMNS)).astype(np.float32)


@pytest.mark.parametrize("spoiled", ["nothing", "token", "channel"])
def test_a_huge_token_or_channel_does_not_spoil_the_others(spoiled, inputs, weight, tmp_path):
    if spoiled == "token":
        inputs["a"][0] *= 1000
    elif spoiled == "channel":
        inputs["a"][:, 0] *= 100
        weight[0] /= 100
    write(tmp_path / "g.onnx", [("MatMul", ["a", "w"], ["out"])], {"w": weight})
    quantize_graph(tmp_path / "g.onnx", tmp_path / "q.onnx", inputs)
    assert "MatMulIntegerToFloat" in operators(tmp_path / "q.onnx")
    found, wanted = run(tmp_path / "q.onnx", inputs), inputs["a"] @ weight
    rest = slice(1, None)
    assert np.abs(found[rest] - wanted[rest]).max() < 0.03 * np.abs(wanted[rest]).max()
    assert {file.name for file in tmp_path.iterdir()} == {"g.onnx", "q.onnx"}


def test_a_text_does_not_depend_on_what_stands_beside_it(inputs, weight, tmp_path):
    write(tmp_path / "g.onnx", [("MatMul", ["a", "w"], ["out"])], {"w": weight})
    quantize_graph(tmp_path / "g.onnx", tmp_path / "q.onnx", inputs)
    together = run(tmp_path / "q.onnx", inputs)
    two = {name: value[:2] for name, value in inputs.items()}
    two["a"] = two["a"] * np.array([[1], [1000]], np.float32)
    np.testing.assert_array_equal(run(tmp_path / "q.onnx", two)[0], together[0])


def test_what_eight_bits_cannot_hold_stays_as_it_was(inputs, weight, tmp_path):
    for token in range(TOKENS):  # each has two huge channels of its own, which cancel out
        inputs["a"][token, 2 * token : 2 * token + 2] += 1000
    weight[1::2] = -weight[::2]
    nodes = [
        ("MatMul", ["a", "w"], ["of_a"]),
        ("MatMul", ["b", "w"], ["of_b"]),
        ("Add", ["of_a", "of_b"], ["out"]),
    ]
    write(tmp_path / "g.onnx", nodes, {"w": weight})
    quantize_graph(tmp_path / "g.onnx", tmp_path / "q.onnx", inputs)
    found = onnx.load(str(tmp_path / "q.onnx")).graph
    assert [node.input[0] for node in found.node if node.op_type == "MatMul"] == ["a"]
    assert [node.op_type for node in found.node].count("MatMulIntegerToFloat") == 1
    assert {tensor.name for tensor in found.initializer} >= {"w", "of_b_weight"}  # each has its own


def test_embeddings_have_a_scale_a_row(inputs, tmp_path):
    table = np.random.default_rng(1).normal(size=(TOKENS, CHANNELS)).astype(np.float32)
    table *= 10.0 ** np.arange(-6, TOKENS - 6)[:, None].astype(np.float32)
    write(tmp_path / "g.onnx", [("Gather", ["table", "rows"], ["out"])], {"table": table})
    quantize_graph(tmp_path / "g.onnx", tmp_path / "q.onnx", inputs)
    found = run(tmp_path / "q.onnx", inputs)
    assert (np.abs(found - table).max(axis=1) <= np.abs(table).max(axis=1) / 254 * 1.001).all()
    assert "table" not in {tensor.name for tensor in onnx.load(str(tmp_path / "q.onnx")).graph.initializer}


def test_weights_that_lie_beside_the_graph_do_so_again(inputs, weight, tmp_path):
    (tmp_path / "fine").mkdir()
    file = tmp_path / "fine" / "g.onnx"
    write(
        file,
        [("MatMul", ["a", "w"], ["out"])],
        {"w": weight},
        save_as_external_data=True,
        location=WEIGHTS_FILE,
        size_threshold=0,
    )
    quantize_graph(file, tmp_path / "q.onnx", inputs)
    assert (tmp_path / WEIGHTS_FILE).exists()
    assert np.abs(run(tmp_path / "q.onnx", inputs) - inputs["a"] @ weight).max() < 0.5


def test_a_large_channel_is_moved_to_the_weights_where_that_helps():
    rng = np.random.default_rng(0)
    value, matrix = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(8, 5)).astype(np.float32)
    matrix /= np.abs(matrix).max(axis=1, keepdims=True)
    larger = np.array([100] + [1] * 7, np.float32)
    as_it_is, spoiled = smooth(value, [matrix]), smooth(value * larger, [matrix / larger[:, None]])
    moved = spoiled.divisor / as_it_is.divisor
    assert moved[0] / moved[1] > 10
    assert spoiled.error < 0.02
