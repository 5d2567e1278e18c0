"""Labelers that run an exported graph with onnxruntime, tokenizers and numpy, without torch or transformers."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookboth.data import WordEncoder, build_arrays
from lookboth.errors import ConfigError, ModelError
from lookboth.inference import HeadLabeler, Likelihood
from lookboth.labelers import CONFIG_FILE, LoadOptions, read_settings
from lookboth.models import as_model_error
from lookboth.onnx.folder import MODEL_FILE, TOKENIZER_FILE, ExportedConfig, check_files, read_config
from lookboth.types import TokenizedExample

# Name of the graph's only output.
SCORES = "scores"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class PlainTokenizer:
    """Adapts a `tokenizers.Tokenizer` to the part of the Hugging Face interface that `WordEncoder` uses.

    Args:
        tokenizer: a `tokenizers.Tokenizer`; padding and truncation are turned off.
        cls_token_id: id of its classification token; None if it has none.
    """

    def __init__(self, tokenizer: Any, cls_token_id: int | None) -> None:
        # tokenizer.json may have padding and truncation of the base model; lookboth makes its own windows.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.backend, self.cls_token_id = tokenizer, cls_token_id

    def __call__(
        self, texts: list[str], *, add_special_tokens: bool, verbose: bool = False
    ) -> dict[str, list[list[int]]]:
        """Return the token ids of each text."""
        encodings = self.backend.encode_batch(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [encoding.ids for encoding in encodings]}


@dataclass(frozen=True)
class OnnxModel:
    """A loaded graph.

    Args:
        session: onnxruntime session.
        inputs: names of the graph's inputs.
        compute_dtype: data type of its weights, for reports.
    """

    session: Any
    inputs: tuple[str, ...]
    compute_dtype: str


class OnnxLabeler(HeadLabeler):
    """An exported labeler, with the same predictions as the labeler it was exported from.

    Args:
        config: configuration.
        model: the graph.
        tokenizer: the labeler's tokenizer.
        folder: folder it was loaded from.
        device: "cpu" or "cuda".
    """

    config: ExportedConfig
    model: OnnxModel

    def __init__(
        self,
        config: ExportedConfig,
        model: OnnxModel,
        tokenizer: PlainTokenizer,
        *,
        folder: Path,
        device: str = "cpu",
    ) -> None:
        self.config, self.model, self.tokenizer, self.folder = config, model, tokenizer, folder
        self.encoder = WordEncoder(tokenizer, config.encoding, max_word_tokens=config.max_word_tokens)
        self._device = device

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | None = None, threads: int | None = None
    ) -> "OnnxLabeler":
        """Load an exported labeler; it needs only onnxruntime, tokenizers and numpy.

        Args:
            folder: output folder of `lookboth export`.
            device: "cpu", or "cuda" if this build of onnxruntime supports it; None: the CPU.
            threads: threads per batch; None: onnxruntime's default, all cores.

        Raises:
            ModelError: the folder is incomplete, damaged or from a later version, or onnxruntime is not installed.
            ConfigError: this build of onnxruntime does not support the device.
        """
        folder = Path(folder).expanduser()
        return load_exported(folder, read_settings(folder), LoadOptions(device=device), threads=threads)

    @property
    def device(self) -> str:
        """Return the device that computes, "cpu" or "cuda"."""
        return self._device

    def score(self, pieces: Sequence[TokenizedExample]) -> np.ndarray:
        """Return the head's scores of every word of one batch, (w, num_tags).

        Raises:
            ModelError: the inputs or the output of the graph are not those of an exported labeler.
        """
        arrays, file = build_arrays(pieces), self.folder / MODEL_FILE
        with as_model_error(f"{file}: onnxruntime cannot run it"):
            feeds = {name: arrays[name] for name in self.model.inputs}
            scores: np.ndarray = self.model.session.run([SCORES], feeds)[0]
        wanted = (sum(len(piece.word_tokens) for piece in pieces), len(self.config.tags))
        if scores.shape != wanted or scores.dtype != np.float32:
            raise ModelError(f"{file}: the output is {scores.dtype} {scores.shape}, not float32 {wanted}.")
        return scores

    def likelihood(self) -> Likelihood:
        """Return the conversion of scores to probabilities that was exported."""
        return self.config.likelihood

    def save_pretrained(self, folder: str | Path) -> None:
        """Copy the exported folder."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name in (CONFIG_FILE, *self.config.files):
            shutil.copyfile(self.folder / name, Path(folder) / name)


def load_exported(
    folder: Path, data: Mapping[str, Any], options: LoadOptions, *, threads: int | None = None
) -> OnnxLabeler:
    """Return the exported labeler in `folder`; `data` is its `config.json`.

    Args:
        folder, threads: see `OnnxLabeler.from_pretrained`.
        options: how to load it; only the device counts.
    """
    config = read_config(folder, data)
    check_files(folder, config)
    # Only the kind of device counts; the number in "cuda:0" is ignored.
    device = "cpu" if options.device is None else options.device.partition(":")[0]
    model = _open_graph(folder / MODEL_FILE, config.weights, device, threads)
    return OnnxLabeler(config, model, _open_tokenizer(folder, config), folder=folder, device=device)


def _open_graph(file: Path, weights: str, device: str, threads: int | None) -> OnnxModel:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"{file}: running it needs onnxruntime. Type: pip install onnxruntime") from error
    here = [
        name for name, provider in _PROVIDERS.items() if provider in onnxruntime.get_available_providers()
    ]
    if device not in here:
        raise ConfigError(f"device {device!r}: this build of onnxruntime runs on {', '.join(here)}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    with as_model_error(f"{file}: onnxruntime cannot run it"):
        session = onnxruntime.InferenceSession(str(file), options, providers=[_PROVIDERS[device]])
    return OnnxModel(session, tuple(item.name for item in session.get_inputs()), f"onnx {weights}")


def _open_tokenizer(folder: Path, config: ExportedConfig) -> PlainTokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ModelError(f"{folder}: reading text needs tokenizers. Type: pip install tokenizers") from error
    with as_model_error(f"{folder / TOKENIZER_FILE}: cannot be read"):
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    return PlainTokenizer(tokenizer, config.cls_id)
