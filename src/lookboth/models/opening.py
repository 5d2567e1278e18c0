"""Opens a labeler of any kind by name, loading no more than it needs."""

from pathlib import Path

from lookboth.errors import ModelError
from lookboth.models.base import TextLabeler


def open_labeler(
    name: str | Path | None = None, *, device: str | None = None, precision: str = "auto"
) -> TextLabeler:
    """Return a labeler with its adapter folded in, for labeling; one that was exported does without torch.

    Args:
        name: folder or hub id; the shipped labeler when None.
        device: "cpu", "cuda", ...; a GPU where there is one when None, for an exported labeler the CPU.
        precision: "auto", "bf16", "fp16" or "fp32"; an exported labeler has its own.

    Raises:
        ModelError: see `Labeler.from_pretrained`; or it needs torch, which is not installed.
    """
    from lookboth.onnx.folder import is_exported

    if name is not None and is_exported(Path(name).expanduser()):
        from lookboth.onnx.labeler import load

        return load(name, device=device)
    try:
        from lookboth.models.labeler import Labeler
    except ModuleNotFoundError as error:
        raise ModelError(
            f"a labeler that was not exported needs {error.name}, which is not installed. Type: pip install lookboth"
        ) from error
    return Labeler.from_pretrained(name, device=device, precision=precision, merge=True)
