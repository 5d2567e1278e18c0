"""Export of a saved labeler to a folder for onnxruntime, checked against torch before it is kept."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from lookboth.data import ReadOptions, example_from_text, read_source
from lookboth.errors import ConfigError, ModelError
from lookboth.files import write_whole
from lookboth.inference import reading_for, tokenize_for
from lookboth.labelers import (
    Labeler,
    find_folder,
    merge_labeler,
    model_digest,
    open_labeler,
    require_fixed_labels,
    require_head,
)
from lookboth.onnx.folder import MODEL_FILE, TOKENIZER_FILE, ExportedConfig, is_exported, write_config
from lookboth.onnx.graph import graph_inputs, require_exporter, write_graph
from lookboth.onnx.int8 import quantize_graph
from lookboth.onnx.onnx_labeler import OnnxLabeler
from lookboth.onnx.parity import Parity, compare, find, race
from lookboth.types import Example, TokenizedExample

TOLERANCE = {"fp32": 0.001, "int8": 0.05}
DATA = {"labeling": "uner_en_pud:test[:100]", "classification": "sentence_polarity_cls:test[:100]"}
# Texts on which int8 quantization records the inputs of each matrix product.
_SAMPLE = 16
_PROBE = ("Ada Lovelace met Charles Babbage in London.", "Toyota opened a plant.", "so it is , they say")


def export_labeler(
    model: str,
    out: str | Path,
    *,
    weights: str = "fp32",
    data: str | None = None,
    tolerance: float | None = None,
    accept_loss: bool = False,
    options: ReadOptions | None = None,
) -> Parity:
    """Export a labeler for onnxruntime and keep it only if its predictions match those of torch.

    Args:
        model: folder or hub id of a saved labeler, or a shipped one ("shipped", "fast", "turbo").
        out: output folder; an exported labeler in it is replaced.
        weights: "fp32", or "int8" for a quarter of the size and higher speed.
        data: texts for the comparison, named as in a recipe, preferably with gold labels; None: part of a built-in
            data set.
        tolerance: largest allowed loss, which is 1 minus the F1 of the exported labeler's spans with those of torch
            as gold; None: `TOLERANCE`.
        accept_loss: write the export even if the loss is larger.
        options: how to read `data`, as for `read_source`.

    Raises:
        ConfigError: an option is not allowed, or `out` contains something else.
        ModelError: the labeler cannot be exported, or the loss exceeds `tolerance`; then nothing is written.
        DataError: `data` cannot be read.
    """
    if weights not in TOLERANCE:
        raise ConfigError(f"weights {weights!r}: allowed are {', '.join(TOLERANCE)}.")
    # Path(".") has neither a name nor a parent.
    out = Path(out).resolve()
    _check_place(out)
    require_exporter()
    source = find_folder(model)
    labeler = _open_reference(source)
    data = data or DATA[labeler.config.task]
    how = reading_for(labeler, options)
    examples = read_source(data, options=how).examples
    before = find(labeler, examples)
    merged = merge_labeler(labeler) if hasattr(labeler.model.backbone, "merge_and_unload") else labeler
    # Both sides compute with the same number of threads, so that their speeds are comparable.
    threads = torch.get_num_threads()
    with _work_folder(out) as work:
        write_files(
            merged, work, weights=weights, examples=examples, source=_describe(model, source, labeler)
        )
        exported = OnnxLabeler.from_pretrained(work, threads=threads)
        speed = race([merged, exported], examples)
        parity = compare(
            before,
            find(exported, examples),
            examples,
            data=_without_folders(data),
            words_per_second=(speed[0], speed[1]),
            threads=threads,
        )
        _check_loss(parity, TOLERANCE[weights] if tolerance is None else tolerance, weights, accept_loss)
        write_config(work, replace(exported.config, parity=parity.to_dict()))
        _move_into_place(work, out)
    return parity


def _open_reference(folder: Path) -> Labeler:
    """Return the labeler as it was trained, in fp32 and with a separate adapter, to compare the export with."""
    labeler = require_head(open_labeler(folder, device="cpu", precision="fp32", merge=False), "exported")
    require_fixed_labels(labeler, "exported")
    return labeler


def write_files(
    labeler: Labeler, folder: Path, *, weights: str, examples: Sequence[Example], source: dict[str, str]
) -> None:
    """Write graph, tokenizer and `config.json` of a labeler, without comparing it with torch.

    Args:
        labeler: labeler in fp32 on the CPU, without adapter.
        folder: existing folder.
        weights: "fp32" or "int8".
        examples: typical texts; int8 quantization uses the first 16.
        source: origin of the labeler, for `ExportedConfig`.

    Raises:
        ModelError: the graph or the tokenizer cannot be written.
    """
    tokenizer = getattr(labeler.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise ModelError(
            f"{type(labeler.tokenizer).__name__} is written in Python and has no tokenizer.json, so only transformers "
            "can run it. Train on a base model with a tokenizer.json."
        )
    write_whole(folder / TOKENIZER_FILE, [tokenizer.to_str()], follow_links=False)
    probe = tokenize_for(labeler, [example_from_text(text) for text in _PROBE])
    write_graph(labeler.model, probe, folder / MODEL_FILE)
    if weights == "int8":
        quantize_files(folder, tokenize_for(labeler, examples[:_SAMPLE]) or probe)
    config = labeler.config
    fields = (
        "plan", "tags", "scheme", "label_on", "encoding", "task", "max_tokens", "overlap", "context", "confidence",
    )  # fmt: skip
    exported = ExportedConfig(
        **{name: getattr(config, name) for name in fields},
        weights=weights,
        likelihood=labeler.likelihood(),
        threshold=config.threshold,
        cls_id=labeler.tokenizer.cls_token_id,
        source=source,
        scores=config.scores,
    )
    write_config(folder, exported)


def quantize_files(folder: Path, sample: Sequence[TokenizedExample]) -> None:
    """Quantize the fp32 graph in `folder` to int8, except matrix products where the error would be too large."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        fine = Path(name)
        for file in folder.glob(f"{MODEL_FILE}*"):
            os.replace(file, fine / file.name)
        quantize_graph(fine / MODEL_FILE, folder / MODEL_FILE, graph_inputs(sample))


def _check_loss(parity: Parity, tolerance: float, weights: str, accepted: bool) -> None:
    if parity.loss <= tolerance or accepted:
        return
    instead = "--weights fp32, " if weights == "int8" else ""
    raise ModelError(
        f"{parity.describe()}\nlost {parity.loss:.4f} of the span F1 against torch; allowed is {tolerance:g}. Nothing "
        f"was written. Type {instead}--tolerance with a larger number, or --accept-loss"
    )


def _describe(model: str, folder: Path, labeler: Labeler) -> dict[str, str]:
    """Return the origin of an exported labeler, without paths of this machine."""
    config = labeler.config
    return {
        "name": _without_folders(model),
        "sha256": model_digest(folder),
        "base": _without_folders(config.base),
        "fingerprint": config.fingerprint,
    }


def _without_folders(name: str) -> str:
    """Return the last part of a path that exists on this machine, any other name unchanged."""
    return Path(name).resolve().name if Path(name).exists() else name


def _check_place(out: Path) -> None:
    """Raise ConfigError unless `out` is new, empty or an exported labeler, which may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_exported(out):
        raise ConfigError(
            f"{out}: contains something that is not an exported labeler. Name a folder that does not exist."
        )


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `out`, so that it can be renamed on the same disk."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        # A temporary folder is readable by its owner only; a subfolder has the usual permissions.
        folder = Path(name) / "labeler"
        folder.mkdir()
        yield folder


def _move_into_place(work: Path, out: Path) -> None:
    """Move the files of `work` to `out`; the earlier files of `out` are restored if that fails."""
    if not out.exists():
        os.replace(work, out)
        return
    before = work.with_name("before")
    before.mkdir()
    # Files are moved one by one, as `out` itself may be the current folder of a process.
    with ExitStack() as undo:
        for source, target in ((out, before), (work, out)):
            for file in list(source.iterdir()):
                os.replace(file, target / file.name)
                undo.callback(os.replace, target / file.name, file)
        undo.pop_all()
