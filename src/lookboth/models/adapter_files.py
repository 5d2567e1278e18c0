"""LoRA adapters on disk: written without paths of this machine, and read only where they say nothing unusual."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookboth.errors import ModelError
from lookboth.models.untrusted import as_model_error, read_object, read_weights
from lookboth.quiet import without_peft_warnings

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


class AdapterSettings(BaseModel):
    """What `adapter_config.json` may say; any other key must have the value that PEFT gives it by itself.

    Others can name modules to import, patterns that take forever to match, or weights too large to hold.
    """

    model_config = ConfigDict(strict=True, extra="allow")

    peft_type: Literal["LORA"]
    r: int = Field(ge=1)
    lora_alpha: float
    lora_dropout: float
    target_modules: list[str] | Literal["all-linear"]
    fan_in_fan_out: bool = False
    inference_mode: bool = True
    base_model_name_or_path: str | None = None
    revision: str | None = None
    auto_mapping: Any = None  # only PEFT's Auto classes, which are not used here, read it
    megatron_core: Any = None  # means nothing without megatron_config
    peft_version: Any = None
    task_type: Any = None

    def check_rest(self) -> None:
        """Refuse what is not the usual value.

        Raises:
            ModelError: names the key.
        """
        from peft import LoraConfig

        usual = LoraConfig().to_dict()
        for key, value in (self.model_extra or {}).items():
            if value and value != usual.get(key):
                raise ModelError(f"{key} is {value!r:.100}, which no adapter of lookboth has")


def save_adapter(
    backbone: Any, folder: Path, *, base: str, revision: str | None, dtype: torch.dtype | None = None
) -> None:
    """Write the LoRA adapter of `backbone` into `folder`, naming `base` as what it belongs to."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(backbone)
    if dtype is not None:
        state = {name: value.to(dtype) for name, value in state.items()}
    # PEFT would write the path the base was loaded from on this machine.
    adapter = backbone.peft_config["default"]
    adapter.base_model_name_or_path, adapter.revision = base, revision
    backbone.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def read_adapter(folder: Path) -> tuple[AdapterSettings, dict[str, torch.Tensor]]:
    """Return what the adapter in `folder` says of itself, and its weights.

    Raises:
        ModelError: it is incomplete, damaged or unusual.
    """
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise ModelError(f"{folder}: no {file.name} (only safetensors are read).")
    weights = read_weights(file)
    return _read_settings(folder / CONFIG_FILE, weights), weights


def load_adapter(backbone: Any, folder: Path) -> Any:
    """Return `backbone` with the adapter that `folder` holds.

    Raises:
        ModelError: it is incomplete or damaged, unusual, or does not fit the backbone.
    """
    from peft import PeftModel, get_peft_model_state_dict

    _, weights = read_adapter(folder)
    dtype = next(backbone.parameters()).dtype
    with without_peft_warnings(), as_model_error(f"{folder}: the adapter does not fit or is damaged"):
        model = PeftModel.from_pretrained(backbone, folder, autocast_adapter_dtype=False)
    # PEFT leaves a weight that it does not find as it was made, with no more than a warning.
    wrong = weights.keys() ^ set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if wrong:
        file = folder / WEIGHTS_FILE
        raise ModelError(f"{file}: {len(wrong)} weights are missing or unknown, for example {min(wrong)!r}.")
    return model.to(dtype)


def _read_settings(file: Path, weights: dict[str, torch.Tensor]) -> AdapterSettings:
    try:
        settings = AdapterSettings.model_validate(read_object(file))
        settings.check_rest()
    except FileNotFoundError as error:
        raise ModelError(f"{file.parent}: no {file.name}, so this is no adapter.") from error
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise ModelError(f"{file}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from error
    for name, value in weights.items():
        if "lora_A" in name and value.shape[0] != settings.r:
            raise ModelError(f"{file}: r is {settings.r}, but {name} has rank {value.shape[0]}.")
    return settings
