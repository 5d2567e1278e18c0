"""A saved labeler written as a folder that onnxruntime runs, held against torch before it is kept."""

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
from lookboth.inference import tokenize_for
from lookboth.labelers import Labeler, find_folder, merge_labeler, model_digest, open_labeler, require_head
from lookboth.onnx.folder import MODEL_FILE, TOKENIZER_FILE, ExportedConfig, is_exported, write_config
from lookboth.onnx.graph import graph_inputs, require_exporter, write_graph
from lookboth.onnx.int8 import quantize_graph
from lookboth.onnx.onnx_labeler import OnnxLabeler
from lookboth.onnx.parity import Parity, compare, find, race
from lookboth.types import Example, TokenizedExample

TOLERANCE = {"fp32": 0.001, "int8": 0.05}
DATA = {"labeling": "uner_en_pud:test[:100]", "classification": "sentence_polarity_cls:test[:100]"}
_SAMPLE = 16  # texts on which int8 sees what goes into each product
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
    """Write `model` as a folder that onnxruntime runs, if it finds there what it finds in torch.

    Args:
        model: folder or hub id of a saved labeler, or one that ships ("shipped", "fast").
        out: folder to write; one that holds an exported labeler is replaced.
        weights: "fp32", or "int8" for a quarter of the size and more speed.
        data: what both are run on, named as in a recipe, best with gold labels; a part of a built-in set when None.
        tolerance: the largest loss, one minus the F1 of its spans against torch's; `TOLERANCE` when None.
        accept_loss: write it whatever it lost.
        options: how `data` is read, as in `read_source`.

    Raises:
        ConfigError: an option that is none, or an `out` that holds something else.
        ModelError: it cannot be exported, or lost more than `tolerance`; nothing is written then.
        DataError: `data` cannot be read.
    """
    if weights not in TOLERANCE:
        raise ConfigError(f"weights {weights!r}: allowed are {', '.join(TOLERANCE)}.")
    out = Path(out).resolve()  # "." has neither a name nor a parent
    _check_place(out)
    require_exporter()
    source = find_folder(model)
    labeler = require_head(open_labeler(source, device="cpu", precision="fp32", merge=False), "exported")
    data = data or DATA[labeler.config.task]
    how = replace(options or ReadOptions(), task=labeler.config.task, head=labeler.config.scheme)
    examples = read_source(data, options=how).examples
    before = find(labeler, examples)
    merged = merge_labeler(labeler) if hasattr(labeler.model.backbone, "merge_and_unload") else labeler
    threads = torch.get_num_threads()
    with _work_folder(out) as work:
        write_files(
            merged, work, weights=weights, examples=examples, source=_describe(model, source, labeler)
        )
        exported = OnnxLabeler.from_pretrained(work, threads=threads)
        after = find(exported, examples)
        speed = race([merged, exported], examples)
        parity = compare(
            before,
            after,
            examples,
            data=_without_folders(data),
            words_per_second=(speed[0], speed[1]),
            threads=threads,
        )
        _check_loss(parity, TOLERANCE[weights] if tolerance is None else tolerance, weights, accept_loss)
        write_config(work, replace(exported.config, parity=parity.to_dict()))
        _move_into_place(work, out)
    return parity


def write_files(
    labeler: Labeler, folder: Path, *, weights: str, examples: Sequence[Example], source: dict[str, str]
) -> None:
    """Write graph, tokenizer and `config.json` of a labeler, unchecked.

    Args:
        labeler: in fp32 on the CPU, without adapter.
        folder: an existing one.
        weights: "fp32" or "int8".
        examples: texts such as it will see; int8 looks at the first few of them.
        source: what it is exported from.

    Raises:
        ModelError: the graph or the tokenizer cannot be written.
    """
    tokenizer = getattr(labeler.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise ModelError(
            f"{type(labeler.tokenizer).__name__} runs in Python and has no tokenizer.json, so nothing but transformers "
            "can read text with it. Train on a base model that has one."
        )
    write_whole(folder / TOKENIZER_FILE, [tokenizer.to_str()], follow_links=False)
    probe = tokenize_for(labeler, [example_from_text(text) for text in _PROBE])
    write_graph(labeler.model, probe, folder / MODEL_FILE)
    if weights == "int8":
        quantize_files(folder, tokenize_for(labeler, examples[:_SAMPLE]) or probe)
    config = labeler.config
    fields = ("plan", "tags", "scheme", "label_on", "encoding", "task", "max_tokens", "overlap", "confidence")
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
    """Turn the fp32 graph in `folder` into an int8 one, but for the products that 8 bits are too coarse for."""
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
        f"{parity.describe()}\nlost {parity.loss:.4f} of the span F1 against torch, allowed are {tolerance:g}; nothing "
        f"was written. Type {instead}--tolerance with a larger number, or --accept-loss"
    )


def _describe(model: str, folder: Path, labeler: Labeler) -> dict[str, str]:
    """Return what an exported labeler says of its origin, without this machine's paths."""
    config = labeler.config
    return {
        "name": _without_folders(model),
        "sha256": model_digest(folder),
        "base": _without_folders(config.base),
        "fingerprint": config.fingerprint,
    }


def _without_folders(name: str) -> str:
    """Return a name as it is, of something on this machine the last part of its path."""
    return Path(name).resolve().name if Path(name).exists() else name


def _check_place(out: Path) -> None:
    """Refuse a place that holds anything but an exported labeler, which is replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_exported(out):
        raise ConfigError(
            f"{out}: holds something that is no exported labeler. Name a folder that is not there."
        )


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out`, on the same disk, that is gone afterwards."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        folder = Path(name) / "labeler"  # the outer one is for its owner alone, the labeler need not be
        folder.mkdir()
        yield folder


def _move_into_place(work: Path, out: Path) -> None:
    """Put what is in `work` into `out`; what was there goes, and comes back where that fails."""
    if not out.exists():
        os.replace(work, out)
        return
    before = work.with_name("before")
    before.mkdir()
    with ExitStack() as undo:  # file by file: `out` itself may be the current folder
        for source, target in ((out, before), (work, out)):
            for file in list(source.iterdir()):
                os.replace(file, target / file.name)
                undo.callback(os.replace, target / file.name, file)
        undo.pop_all()
