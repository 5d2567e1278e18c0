"""Runs an exported labeler: onnxruntime, tokenizers and numpy, neither torch nor transformers."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookboth.data import WordEncoder, build_arrays
from lookboth.errors import ConfigError, ModelError
from lookboth.inference import HeadLabeler, Likelihood
from lookboth.labelers import CONFIG_FILE, read_settings
from lookboth.models import as_model_error
from lookboth.onnx.folder import MODEL_FILE, TOKENIZER_FILE, ExportedConfig, check_files, read_config
from lookboth.types import TokenizedExample

SCORES = "scores"  # the graph's one output
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class PlainTokenizer:
    """A `tokenizer.json` behind the few calls that `WordEncoder` makes of a Hugging Face tokenizer.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, which neither pads nor cuts texts.
        cls_token_id: of its classification token, None where there is none.
    """

    def __init__(self, tokenizer: Any, cls_token_id: int | None) -> None:
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
        session: onnxruntime's; inputs: names of what it takes.
        compute_dtype: of its weights, for reports.
    """

    session: Any
    inputs: tuple[str, ...]
    compute_dtype: str


class OnnxLabeler(HeadLabeler):
    """An exported labeler; it predicts as the labeler it was made from.

    Args:
        config: everything but the graph.
        model: the graph.
        tokenizer: of the labeler.
        folder: where it was loaded from.
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
        """Load an exported labeler; onnxruntime, tokenizers and numpy are all it needs.

        Args:
            folder: what `lookboth export` wrote.
            device: "cpu", or "cuda" with a build of onnxruntime that has it; the CPU when None.
            threads: that compute one batch; onnxruntime's choice, all cores, when None.

        Raises:
            ModelError: the folder is incomplete, damaged or of a later version, or onnxruntime is not installed.
            ConfigError: this build of onnxruntime has no such device.
        """
        folder = Path(folder).expanduser()
        return load_exported(folder, read_settings(folder), device=device, threads=threads)

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._device

    def score(self, pieces: Sequence[TokenizedExample]) -> np.ndarray:
        """Return what the head gives for every word of one batch, (w, num_tags).

        Raises:
            ModelError: the graph takes or gives something else than that of an exported labeler.
        """
        arrays, file = build_arrays(pieces), self.folder / MODEL_FILE
        with as_model_error(f"{file}: onnxruntime cannot run it"):
            feeds = {name: arrays[name] for name in self.model.inputs}
            scores: np.ndarray = self.model.session.run([SCORES], feeds)[0]
        wanted = (sum(len(piece.word_tokens) for piece in pieces), len(self.config.tags))
        if scores.shape != wanted or scores.dtype != np.float32:
            raise ModelError(f"{file}: gives {scores.dtype} {scores.shape}, not float32 {wanted}.")
        return scores

    def likelihood(self) -> Likelihood:
        """Return how scores become probabilities, as it was exported."""
        return self.config.likelihood

    def save_pretrained(self, folder: str | Path) -> None:
        """Copy the exported folder."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name in (CONFIG_FILE, *self.config.files):
            shutil.copyfile(self.folder / name, Path(folder) / name)


def load_exported(
    folder: Path,
    data: Mapping[str, Any],
    *,
    device: str | None = None,
    threads: int | None = None,
    **_: object,
) -> OnnxLabeler:
    """Return the exported labeler in `folder`; `data` is its `config.json`.

    Args:
        folder, device, threads: see `OnnxLabeler.from_pretrained`. Options of labelers that torch runs are passed over.
    """
    config = read_config(folder, data)
    check_files(folder, config)
    device = "cpu" if device is None else device.partition(":")[0]
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
