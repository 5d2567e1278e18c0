"""LoRA adapters on disk: written without paths of this machine, and read only where they say nothing unusual."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookboth.errors import ModelError
from lookboth.models.lora import attach_pairs, fill_pairs
from lookboth.models.untrusted import as_model_error, read_object, read_weights

if TYPE_CHECKING:
    from peft import LoraConfig

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
# A name inside a model, and "whatever ends with this name" in the one form of a pattern that PEFT writes by itself.
Name = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\z", max_length=400)]
Ending = Annotated[str, Field(pattern=r"\A\.\*\\\.[A-Za-z0-9_]+\z", max_length=400)]
Rank = Annotated[int, Field(ge=1)]


class AdapterSettings(BaseModel):
    """What `adapter_config.json` may say; any other key must have the value that PEFT gives it by itself.

    Others can name modules to import, patterns that take forever to match, or weights too large to hold.
    """

    model_config = ConfigDict(strict=True, extra="allow")

    peft_type: Literal["LORA"]
    r: Rank
    lora_alpha: float
    lora_dropout: float
    target_modules: list[Name]
    exclude_modules: list[Name] | None = None
    target_parameters: list[Name] | None = None  # the experts of a mixture
    rank_pattern: dict[Ending, Rank] = {}
    alpha_pattern: dict[Ending, float] = {}
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: bool | Literal["gaussian", "orthogonal"] = True  # means nothing once trained
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

    def check_ranks(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Refuse ranks that the weights do not have; a weight of several experts holds the rank once for each.

        Raises:
            ModelError: names a weight.
        """
        ranks = {self.r, *self.rank_pattern.values()}
        largest = max((value.shape[0] for name, value in weights.items() if "lora_A" in name), default=0)
        if max(ranks) > max(largest, self.r):
            raise ModelError(
                f"rank_pattern has a rank of {max(ranks)}, but no weight has more than {largest}."
            )
        for name, value in weights.items():
            if "lora_A" in name and not any(self._fits(value, rank) for rank in ranks):
                raise ModelError(f"r is {self.r}, but {name} has rank {value.shape[0]}.")

    def _fits(self, value: torch.Tensor, rank: int) -> bool:
        return value.shape[0] == rank or (bool(self.target_parameters) and value.shape[0] % rank == 0)

    def to_lora(self) -> "LoraConfig":
        """Return what PEFT builds the pairs from; for labeling, not for training."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.r,
            lora_alpha=self.lora_alpha,  # type: ignore[arg-type]
            lora_dropout=self.lora_dropout,
            target_modules=self.target_modules,
            exclude_modules=self.exclude_modules,
            target_parameters=self.target_parameters,
            rank_pattern=dict(self.rank_pattern),
            alpha_pattern=dict(self.alpha_pattern),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            fan_in_fan_out=self.fan_in_fan_out,
            base_model_name_or_path=self.base_model_name_or_path,
            revision=self.revision,
            inference_mode=True,
        )


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
    """Return `backbone` with the adapter that `folder` holds; every weight is known to have been taken over.

    Raises:
        ModelError: it is incomplete or damaged, unusual, or does not fit the backbone.
    """
    settings, weights = read_adapter(folder)
    dtype = next(backbone.parameters()).dtype
    with as_model_error(f"{folder}: the adapter does not fit or is damaged"):
        # Without memory for the pairs: sizes in the settings are somebody else's.
        model = attach_pairs(backbone, settings.to_lora(), empty=True)
    try:
        fill_pairs(model, weights, dtype=dtype)
    except ModelError as error:
        raise ModelError(f"{folder / WEIGHTS_FILE}: {error}") from error
    return model.eval()


def _read_settings(file: Path, weights: dict[str, torch.Tensor]) -> AdapterSettings:
    try:
        settings = AdapterSettings.model_validate(read_object(file))
        settings.check_rest()
        settings.check_ranks(weights)
    except FileNotFoundError as error:
        raise ModelError(f"{file.parent}: no {file.name}, so this is no adapter.") from error
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise ModelError(f"{file}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from error
    return settings


def fold_adapter(backbone: Any) -> None:
    """Add the adapter to the weights in memory, where there is one and the weights are not in 4 bits.

    It computes a fifth faster, the same within rounding. Saved, it is as before: adapter beside base. It is not to be
    trained.
    """
    if hasattr(backbone, "merge_adapter") and not getattr(backbone, "is_quantized", False):
        backbone.merge_adapter()
