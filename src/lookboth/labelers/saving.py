"""Saved labelers: writes and loads a folder with adapter, head, plan and tags, and checks it when loading."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from lookboth.errors import ModelError
from lookboth.files import open_to_readers, whole_file, write_json, write_whole
from lookboth.labelers.card import model_card
from lookboth.labelers.labeler_config import (
    CONFIG_FILE,
    LabelerConfig,
    config_from_dict,
    config_to_dict,
    parse_settings,
)
from lookboth.labelers.opening import LoadOptions
from lookboth.models import (
    FastForm,
    LabelerModel,
    Precision,
    SharedBackbone,
    as_model_error,
    default_device,
    fingerprint,
    has_four_bits,
    load_adapter,
    load_backbone,
    load_saved_tokenizer,
    read_weights,
    row_pairs,
    save_adapter,
    torch_dtype,
    use_plan,
)

HEAD_FILE = "head.safetensors"
ADAPTER_FOLDER = "adapter"
BACKBONE_FOLDER = "backbone"


def save_parts(
    config: LabelerConfig,
    model: LabelerModel,
    tokenizer: Any,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write the parts of a labeler to `folder`.

    Args:
        config, model, tokenizer: see `Labeler`.
        folder: target folder, created if missing.
        dtype: dtype of the saved adapter weights; None: as trained. torch.bfloat16 halves their size.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _save_backbone(config, model.backbone, folder, dtype)
    # safetensors stores contiguous tensors only.
    head = {name: value.detach().cpu().contiguous() for name, value in model.head.state_dict().items()}
    with whole_file(folder / HEAD_FILE, follow_links=False) as unfinished:
        save_file(head, unfinished, metadata={"format": "pt"})
    _save_tokenizer(config, tokenizer, folder)
    write_json(folder / CONFIG_FILE, config_to_dict(config))
    write_whole(folder / "README.md", [model_card(config)], follow_links=False)
    open_to_readers(folder)
    return folder


def load_parts(
    folder: Path, data: Mapping[str, Any], options: LoadOptions
) -> tuple[LabelerConfig, LabelerModel, Any]:
    """Load config, model and tokenizer of a saved labeler with a head, and apply the mask plan.

    Args:
        folder: folder of the labeler; data: its `config.json`.
        options: how to load it.

    Raises:
        ModelError: the folder is incomplete or does not fit its base.
    """
    config = parse_settings(folder, data, config_from_dict)
    if options.base is not None:
        config = replace(config, base=options.base, revision=None)
    backbone, tokenizer = load_backbone_and_tokenizer(folder, config, options)
    check_special_tokens(config, backbone, str(folder / CONFIG_FILE))
    use_plan(backbone, config.plan)
    model = LabelerModel(backbone, config, compute_dtype=compute_dtype(options))
    model.head.load_state_dict(_load_head(folder, model))
    # Without merge the labeler is loaded to be trained, and its weights will change.
    model.fast_form = FastForm(backbone, model.compute_dtype) if options.merge else None
    return config, model.eval(), tokenizer


def _save_backbone(config: LabelerConfig, backbone: Any, folder: Path, dtype: torch.dtype | None) -> None:
    # With other kinds (head, none) the base is unchanged and is not saved.
    if config.adapter in {"lora", "qlora"}:
        save_adapter(
            backbone, folder / ADAPTER_FOLDER, base=config.base, revision=config.revision, dtype=dtype
        )
    elif config.adapter in {"full", "merged"}:
        backbone.save_pretrained(folder / BACKBONE_FOLDER)


def _save_tokenizer(config: LabelerConfig, tokenizer: Any, folder: Path) -> None:
    """Save the base tokenizer with the settings for transformers' pipeline, so that it tokenizes like this labeler."""
    # A setting of a tokenizer from an untrusted folder may be text that no file can hold.
    with as_model_error(f"{folder}: the tokenizer cannot be saved"):
        tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if (folder / "tokenizer.json").is_file():
        settings["tokenizer_class"] = "LookbothTokenizer"
        settings["lookboth_encoding"] = config.encoding.to_dict()
        if config.task == "classification":
            settings["lookboth_label_on"] = config.label_on
    # transformers' pipeline needs a padding token to batch; the attention mask hides it, so any token works.
    if "pad_token" not in settings:
        settings["pad_token"] = (
            settings.get("eos_token") or settings.get("bos_token") or settings.get("unk_token")
        )
    # Local paths must not be published with a labeler.
    for key in ("name_or_path", "is_local"):
        settings.pop(key, None)
    write_json(file, settings)


def load_backbone_and_tokenizer(folder: Path, config: Any, options: LoadOptions) -> tuple[Any, Any]:
    """Load the backbone (with its adapter) and the tokenizer of a saved labeler.

    The base of a QLoRA adapter is loaded in 4 bits, as in training, if bitsandbytes is installed and the precision is
    "auto".

    Args:
        folder: folder of the labeler.
        config: settings with base, revision, fingerprint, exit_layer and adapter.
        options: how to load them.

    Raises:
        ModelError: the base is missing or is a different model, or the adapter does not fit.
    """
    device = options.device or default_device()
    precision = cast(Precision, options.precision)
    if config.adapter in {"full", "merged"}:
        backbone = options.backbone or load_backbone(
            str((folder / BACKBONE_FOLDER).absolute()),
            precision=precision,
            device=device,
            trust_remote_code=options.trust_remote_code,
        )
        return backbone, load_saved_tokenizer(folder)
    backbone = options.backbone or load_base(config, options)
    # An adapter on another base would load without an error and predict nonsense.
    found = fingerprint(backbone)
    if found != config.fingerprint:
        raise ModelError(
            f"{folder}: trained on base {config.base!r} with fingerprint {config.fingerprint}, but the loaded base "
            f"has {found}. Load the base it was trained on: Labeler.from_pretrained(..., base='PATH OR HUB ID')."
        )
    if config.adapter in {"lora", "qlora"}:
        backbone = load_adapter(backbone, folder / ADAPTER_FOLDER, merge=options.merge)
    elif row_pairs(backbone) is not None:
        backbone = SharedBackbone(backbone, {})
    return backbone, load_saved_tokenizer(folder, config.base)


def compute_dtype(options: LoadOptions) -> torch.dtype:
    """Return the data type in which a labeler loaded with `options` computes."""
    return torch_dtype(cast(Precision, options.precision), options.device or default_device())


def load_base(config: Any, options: LoadOptions) -> Any:
    """Load the base of a saved labeler without its adapter; `config` as in `load_backbone_and_tokenizer`."""
    return load_backbone(
        config.base,
        precision=cast(Precision, options.precision),
        device=options.device or default_device(),
        four_bit=needs_four_bits(config, options),
        double_quant=config.double_quant,
        num_layers=config.exit_layer,
        revision=config.revision,
        trust_remote_code=options.trust_remote_code,
    )


def needs_four_bits(config: Any, options: LoadOptions) -> bool:
    """Whether the base of a saved labeler is loaded in 4 bits."""
    return bool(config.adapter == "qlora" and options.precision == "auto" and has_four_bits())


def read_head(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of the head of a saved labeler.

    Raises:
        ModelError: the file is missing or damaged.
    """
    return read_weights(folder / HEAD_FILE)


def _load_head(folder: Path, model: LabelerModel) -> dict[str, torch.Tensor]:
    state = read_head(folder)
    wanted = {name: tuple(value.shape) for name, value in model.head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    # Compared here, because the message of load_state_dict is long and does not name the file.
    if wanted != found:
        raise ModelError(
            f"{folder / HEAD_FILE}: contains {found!s:.300}, but base and tags need {wanted!s:.300}."
        )
    return state


def check_special_tokens(config: LabelerConfig, backbone: Any, where: str) -> None:
    """Refuse an encoding with special tokens that are not in the backbone's vocabulary.

    Args:
        config: settings with the encoding.
        backbone: the backbone; the size of its embeddings is compared.
        where: the beginning of the message.

    Raises:
        ModelError: the first such token.
    """
    encoding, size = config.encoding, backbone.get_input_embeddings().weight.shape[0]
    largest = max(*encoding.prefix_ids, *encoding.suffix_ids, encoding.fallback_id, 0)
    if largest >= size:
        raise ModelError(f"{where}: token {largest} in encoding, but the base has {size} tokens.")
