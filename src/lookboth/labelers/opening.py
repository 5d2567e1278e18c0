"""Opens saved labelers of any kind, and imports only the modules that this kind needs."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lookboth.compat import import_modeling
from lookboth.errors import ModelError
from lookboth.inference import TextLabeler
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler_config import KIND_KEY, read_settings
from lookboth.memory import without_collection

if TYPE_CHECKING:
    from lookboth.data import DemonstrationPool, Labels


@dataclass(frozen=True)
class LoadOptions:
    """How to load a saved labeler; an exported labeler uses only the device.

    Args:
        device, precision, base, merge, trust_remote_code: see `open_labeler`.
        backbone: a backbone in memory, without adapter and plan; None: load it.
    """

    device: str | None = None
    precision: str = "auto"
    base: str | None = None
    merge: bool = True
    trust_remote_code: bool = False
    backbone: Any = None


class LabelerKind(NamedTuple):
    """The functions of a kind of saved labeler, as "module:function".

    Args:
        load: (folder, config.json, LoadOptions) -> TextLabeler.
        describe: (name, config.json) -> output of `lookboth inspect`; None for the kind whose plan can be changed.
        merge: (TextLabeler, sentences) -> Merged; None for a kind without an adapter.
        needs_torch: whether it is a model of torch and transformers.
    """

    load: str
    describe: str | None = None
    merge: str | None = None
    needs_torch: bool = True


# By the value of "kind" in `config.json`; a torch labeler with a head does not have this key.
KINDS = {
    None: LabelerKind(
        "lookboth.labelers.labeler:load_labeler", merge="lookboth.labelers.merging:merge_and_compare"
    ),
    "generative": LabelerKind(
        "lookboth.generative.generative_labeler:load_generative",
        "lookboth.generative.generative_config:describe_generative",
        "lookboth.generative.generative_merging:merge_generative",
    ),
    "onnx": LabelerKind(
        "lookboth.onnx.onnx_labeler:load_exported",
        "lookboth.onnx.folder:describe_exported",
        needs_torch=False,
    ),
}


def open_labeler(
    name: str | Path | None = None,
    *,
    device: str | None = None,
    precision: str = "auto",
    base: str | None = None,
    merge: bool = True,
    trust_remote_code: bool = False,
    labels: "Labels | None" = None,
    demonstrations: "DemonstrationPool | None" = None,
) -> TextLabeler:
    """Open a saved labeler of any kind; an exported labeler does not need torch.

    Args:
        name: folder or hub id; None: the shipped labeler; "fast", "turbo", "open": the other shipped labelers.
        device: "cpu", "cuda", ...; None: a GPU if available, for an exported labeler the CPU.
        precision: "auto", "bf16", "fp16" or "fp32"; the precision of an exported labeler is fixed.
        base: path or hub id of the base model, if it is not where the labeler says; it must be the same model.
        merge: merge an adapter into the weights in memory: faster, and equal within rounding. False: keep it
            apart, to train it further.
        trust_remote_code: run the base model's own code.
        labels: labels named in prediction, as in `Labeler.with_labels`; None: those of its training.
        demonstrations: sentences with these labels for a generative labeler, as in `GenerativeLabeler.with_labels`.

    Raises:
        ModelError: the folder is missing, incomplete, from a newer version, or does not fit its base; or a package that
            its kind needs is not installed; or labels are named and those of the labeler are fixed; or there are
            demonstrations, which it does not read.
        ConfigError, DataError: the labels or demonstrations are not valid.
    """
    options = LoadOptions(
        device=device,
        precision=precision,
        base=base,
        merge=merge,
        trust_remote_code=trust_remote_code,
    )
    labeler = load_folder(find_folder(name), options)
    if labels is None and demonstrations is None:
        return labeler
    return labeler.with_labels(labels, demonstrations=demonstrations)


@without_collection()
def load_folder(folder: Path, options: LoadOptions) -> TextLabeler:
    """Load the labeler in a folder with the function of its kind.

    The imports of torch and transformers create a million objects that stay alive; nothing is collected meanwhile.

    Args:
        folder: folder of the labeler.
        options: how to load it.
    """
    data = read_settings(folder)
    kind = kind_of(folder, data)
    if kind.needs_torch:
        import_modeling()
    labeler: TextLabeler = resolve(kind.load)(folder, data, options)
    return labeler


def kind_of(folder: Path, data: Any) -> LabelerKind:
    """Return the kind named in the `config.json` of a saved labeler.

    Raises:
        ModelError: this version of lookboth does not know the kind.
    """
    kind = data.get(KIND_KEY)
    if not isinstance(kind, str | None) or kind not in KINDS:
        known = ", ".join(name for name in KINDS if name)
        raise ModelError(
            f"{folder}: a labeler of the kind {kind!r:.100}; this version of lookboth knows {known}."
        )
    return KINDS[kind]


def resolve(place: str) -> Any:
    """Import the function named by "module:function".

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
