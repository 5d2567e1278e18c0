"""Opens a saved labeler of any kind, loading no more than that kind needs."""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.errors import ModelError
from lookboth.inference import TextLabeler
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler_config import KIND_KEY, read_settings


class LabelerKind(NamedTuple):
    """Where a kind of saved labeler is read, as "module:function".

    Args:
        load: (folder, config.json, *, device, precision, base, merge, trust_remote_code,
            backbone) -> TextLabeler.
        describe: (name, config.json) -> what `lookboth inspect` prints; None where a plan can be given.
    """

    load: str
    describe: str | None = None


# By the value of "kind" in `config.json`; a labeler with a head that torch runs has none.
KINDS = {
    None: LabelerKind("lookboth.labelers.labeler:load_labeler"),
    "generative": LabelerKind(
        "lookboth.generative.generative_labeler:load_generative",
        "lookboth.generative.generative_config:describe_generative",
    ),
    "onnx": LabelerKind("lookboth.onnx.onnx_labeler:load_exported", "lookboth.onnx.folder:describe_exported"),
}


def open_labeler(
    name: str | Path | None = None,
    *,
    device: str | None = None,
    precision: str = "auto",
    base: str | None = None,
    merge: bool = True,
    trust_remote_code: bool = False,
) -> TextLabeler:
    """Open a saved labeler of any kind; one that was exported does without torch.

    Args:
        name: folder or hub id; the shipped labeler when None, "fast" for the faster one that ships.
        device: "cpu", "cuda", ...; a GPU where there is one when None, for an exported labeler the CPU.
        precision: "auto", "bf16", "fp16" or "fp32"; an exported labeler has its own.
        base: where the base model is on this machine, if not where the labeler says; it must be the same one.
        merge: add the adapter to the weights in memory, if there is one: faster, the same within rounding.
        trust_remote_code: let the base model's own code run.

    Raises:
        ModelError: the folder is missing, incomplete, from a newer version, or does not fit its base; or a package that
            its kind needs is not installed.
    """
    return load_folder(
        find_folder(name),
        device=device,
        precision=precision,
        base=base,
        merge=merge,
        trust_remote_code=trust_remote_code,
    )


def load_folder(folder: Path, **options: Any) -> TextLabeler:
    """Return the labeler in a folder, loaded by the function of its kind.

    Args:
        folder: of the labeler.
        options: of `open_labeler`, and `backbone`: without adapter and plan, where it is in memory already.
    """
    data = read_settings(folder)
    labeler: TextLabeler = resolve(kind_of(folder, data).load)(folder, data, **options)
    return labeler


def kind_of(folder: Path, data: Any) -> LabelerKind:
    """Return the kind that a saved labeler's `config.json` names.

    Raises:
        ModelError: a kind that this version of lookboth does not know.
    """
    kind = data.get(KIND_KEY)
    if not isinstance(kind, str | None) or kind not in KINDS:
        known = ", ".join(name for name in KINDS if name)
        raise ModelError(f"{folder}: a labeler of the kind {kind!r:.100}; this lookboth knows {known}.")
    return KINDS[kind]


def resolve(place: str) -> Any:
    """Return the function at "module:function".

    Raises:
        ModelError: its module needs a package that is not installed.
    """
    module, _, function = place.partition(":")
    try:
        return getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"this labeler needs {error.name}, which is not installed. Type: pip install lookboth"
        ) from error
