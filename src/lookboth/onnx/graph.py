"""The ONNX graph of a labeler, from token ids to scores: backbone with its mask plan, and head; any batch size."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lookboth.data import build_arrays
from lookboth.errors import ModelError, first_line
from lookboth.models import LabelerModel
from lookboth.onnx.folder import WEIGHTS_FILE
from lookboth.onnx.onnx_labeler import SCORES
from lookboth.types import TokenizedExample

# Bytes of weights above which they are stored next to the graph: a protobuf file is limited to 2 GB.
ONE_FILE = 1_500_000_000
_NEEDED = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")
AXES = {
    "input_ids": ("texts", "tokens"),
    "attention_mask": ("texts", "tokens"),
    "word_first": ("words",),
    "word_last": ("words",),
    "num_words": ("texts",),
}


class _Scores(nn.Module):
    """Wraps a labeler's model as a function of tensors only; `LabelerModel.forward` documents them."""

    def __init__(self, model: LabelerModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        word_first: torch.Tensor,
        word_last: torch.Tensor,
        num_words: torch.Tensor,
    ) -> torch.Tensor:
        scores: torch.Tensor = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            word_first=word_first,
            word_last=word_last,
            num_words=num_words,
        )["logits"]
        return scores


def graph_inputs(pieces: Sequence[TokenizedExample]) -> dict[str, np.ndarray]:
    """Return one batch as the inputs of the graph."""
    arrays = build_arrays(pieces)
    return {name: arrays[name] for name in AXES}


def require_exporter() -> None:
    """Check that the libraries for writing, quantizing and running graphs are installed.

    Raises:
        ModelError: a library is missing; the message has the command that installs it.
    """
    lacking = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        raise ModelError(
            f"exporting needs {', '.join(lacking)}, which is not installed. Type: pip install 'lookboth[onnx]'"
        )


def write_graph(model: LabelerModel, pieces: Sequence[TokenizedExample], file: Path) -> None:
    """Trace a model and write its graph, which computes the attention masks from the padding mask.

    Args:
        model: model in fp32 on the CPU, with its adapter merged.
        pieces: batch to trace with: several texts of different lengths.
        file: output file; weights of more than `ONE_FILE` bytes go to `WEIGHTS_FILE` next to it.

    Raises:
        ModelError: torch's exporter cannot express the model.
    """
    import onnx_ir

    inputs = {name: torch.from_numpy(array) for name, array in graph_inputs(pieces).items()}
    # Every axis is dynamic: the graph takes any number of texts, tokens and words.
    shapes = {name: dict.fromkeys(range(len(axes)), torch.export.Dim.DYNAMIC) for name, axes in AXES.items()}
    try:
        with _quiet():
            program = torch.onnx.export(
                _Scores(model).eval(),
                (),
                kwargs=inputs,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(AXES),
                output_names=[SCORES],
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"torch cannot export {type(model.backbone).__name__} with this plan: {first_line(error)}"
        ) from error
    assert program is not None
    _strip_tracing(program.model)
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    onnx_ir.save(program.model, file, external_data=WEIGHTS_FILE if size > ONE_FILE else None)


def _strip_tracing(model: Any) -> None:
    """Remove source locations, which have paths of this machine, and intermediate shapes.

    Quantization changes types but not the recorded shapes and types of intermediate values, so these would be wrong.
    """
    kept = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    model.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
        value.type = value.shape = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if id(value) not in kept:
                value.type = value.shape = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings about optional libraries and future versions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
