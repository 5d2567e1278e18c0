"""Exported folders that somebody else made, hashes and all: what is in the graph is refused in one line, or labels."""

import json
import math
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from lookboth.errors import LookbothError, ModelError
from lookboth.onnx import OnnxLabeler
from lookboth.onnx.folder import MODEL_FILE, TOKENIZER_FILE, read_config, write_config


@pytest.fixture
def folder(exported_folder, tmp_path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(exported_folder, tmp_path / "copy"))


def refused(folder: Path) -> str:
    """Return the one line with which a folder is refused whose hashes are those of its files."""
    write_config(folder, read_config(folder))
    with pytest.raises(LookbothError) as caught:
        OnnxLabeler.from_pretrained(folder).predict("Ada Lovelace was born in London.")
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


def write_graph(folder: Path, *, takes: str, gives: str, shape: tuple[int, ...], kind: int) -> None:
    """Write a graph that gives zeros, whatever it takes."""
    zeros = helper.make_tensor("zeros", kind, shape, [0] * math.prod(shape))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["zeros"], [gives])],
        "g",
        [helper.make_tensor_value_info(takes, TensorProto.INT64, [None, None])],
        [helper.make_tensor_value_info(gives, kind, list(shape))],
        initializer=[zeros],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / MODEL_FILE)


@pytest.mark.parametrize(
    "graph",
    [
        {"takes": "nothing_known", "gives": "scores", "shape": (7, 5), "kind": TensorProto.FLOAT},
        {"takes": "input_ids", "gives": "other", "shape": (7, 5), "kind": TensorProto.FLOAT},
        {"takes": "input_ids", "gives": "scores", "shape": (7, 4), "kind": TensorProto.FLOAT},
        {"takes": "input_ids", "gives": "scores", "shape": (1000, 5), "kind": TensorProto.FLOAT},
        {"takes": "input_ids", "gives": "scores", "shape": (7, 5), "kind": TensorProto.INT64},
    ],
)
def test_another_graph_is_refused(folder, graph):
    write_graph(folder, **graph)
    assert MODEL_FILE in refused(folder)


def test_weights_outside_the_folder_are_not_read(folder, tmp_path):
    for place in (secret := tmp_path / "secret.bin", folder / "inside.bin"):
        place.write_bytes(bytes(4 * 35))
    for place in ("inside.bin", "../secret.bin", str(secret)):
        zeros = TensorProto(name="zeros", data_type=TensorProto.FLOAT, dims=[7, 5])
        zeros.data_location = TensorProto.EXTERNAL
        for key, value in {"location": place, "offset": "0", "length": str(4 * 35)}.items():
            zeros.external_data.add(key=key, value=value)
        graph = helper.make_graph(
            [helper.make_node("Identity", ["zeros"], ["scores"])],
            "g",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [None, None])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [7, 5])],
            initializer=[zeros],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        (folder / MODEL_FILE).write_bytes(model.SerializeToString())
        if place == "inside.bin":  # so that nothing but the place is wrong with the others
            write_config(folder, read_config(folder))
            OnnxLabeler.from_pretrained(folder).predict("Ada Lovelace was born in London.")
        else:
            assert MODEL_FILE in refused(folder)


def test_tokens_that_the_graph_does_not_have_are_told(folder):
    file = folder / TOKENIZER_FILE
    data = json.loads(file.read_text(encoding="utf-8"))
    data["added_tokens"].append(
        {"id": 10**6, "content": "Ada", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
    )  # fmt: skip
    data["model"]["vocab"]["Ada"] = 10**6
    file.write_text(json.dumps(data), encoding="utf-8")
    write_config(folder, read_config(folder))
    labeler = OnnxLabeler.from_pretrained(folder)
    with pytest.raises(ModelError, match="onnxruntime cannot run it"):
        labeler.predict("Ada")
    assert labeler.predict("was")[0].text == "was"
