"""LoRA adapters on disk: written without local paths, and read only if their settings are known to be safe."""

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from lookboth.errors import ModelError
from lookboth.models.adapter_settings import AdapterSettings
from lookboth.models.folding import fold_adapter, fold_pairs, keep_pairs, plain_places, with_pairs_apart
from lookboth.models.lora import attach_pairs, fill_pairs
from lookboth.models.shared_backbone import row_pairs
from lookboth.models.untrusted import as_model_error, read_object, read_weights

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


def save_adapter(
    backbone: Any, folder: Path, *, base: str, revision: str | None, dtype: torch.dtype | None = None
) -> None:
    """Write the LoRA adapter of `backbone` into `folder`, with `base` as the name of its base model."""
    from peft import get_peft_model_state_dict

    backbone = with_pairs_apart(backbone)
    # With save_embedding_layers="auto" PEFT would look up the base model on the Hub.
    state = get_peft_model_state_dict(backbone, save_embedding_layers=False)
    if dtype is not None:
        state = {name: value.to(dtype) for name, value in state.items()}
    # PEFT would otherwise write the local path from which the base model was loaded.
    adapter = backbone.peft_config["default"]
    adapter.base_model_name_or_path, adapter.revision = base, revision
    backbone.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
    # PEFT writes its own model card; the card of the labeler replaces it.
    (folder / "README.md").unlink(missing_ok=True)


def read_adapter(folder: Path) -> tuple[AdapterSettings, dict[str, torch.Tensor]]:
    """Read the settings and the weights of the adapter in `folder`.

    Raises:
        ModelError: the adapter is incomplete or damaged, or has settings that are not allowed.
    """
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise ModelError(f"{folder}: {file.name} is missing (only safetensors files are read).")
    weights = read_weights(file)
    return _read_settings(folder / CONFIG_FILE, weights), weights


def load_adapter(backbone: Any, folder: Path, *, merge: bool = False) -> Any:
    """Load the adapter in `folder` into `backbone` and check that every weight was loaded.

    Args:
        backbone: a Hugging Face model without adapter; changed in place, unless it is shared (`share_backbone`).
        folder: folder of the adapter.
        merge: add the adapter to the weights; weights in 4 bits and shared ones keep it apart.

    Raises:
        ModelError: the adapter is incomplete or damaged, has settings that are not allowed, or does not fit the
            backbone.
    """
    settings, weights = read_adapter(folder)
    dtype = next(backbone.parameters()).dtype
    shared = row_pairs(backbone) is not None
    places = plain_places(backbone, settings) if merge or shared else {}
    if shared and not places:
        raise ModelError(f"{folder}: this adapter is not plain, so it needs a backbone of its own.")
    with as_model_error(f"{folder}: the adapter does not fit or is damaged"):
        # On the meta device: the settings are untrusted and could ask for any amount of memory.
        model = backbone if places else attach_pairs(backbone, settings.to_lora(), empty=True)
    try:
        if shared:
            model = keep_pairs(backbone, places, settings, weights, dtype=dtype)
        elif places:
            fold_pairs(model, places, settings, weights, dtype=dtype)
        else:
            fill_pairs(model, weights, dtype=dtype)
    except ModelError as error:
        raise ModelError(f"{folder / WEIGHTS_FILE}: {error}") from error
    if merge:
        fold_adapter(model)
    return model.eval()


def _read_settings(file: Path, weights: dict[str, torch.Tensor]) -> AdapterSettings:
    try:
        settings = AdapterSettings.model_validate(read_object(file))
        settings.check_rest()
        settings.check_ranks(weights)
    except FileNotFoundError as error:
        raise ModelError(f"{file.parent}: {file.name} is missing, so this is not an adapter.") from error
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise ModelError(f"{file}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from error
    return settings
