"""LoRA adapters on disk: written without local paths, and read only if their settings are known to be safe."""

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
# A module name, and the only pattern PEFT writes itself: all modules whose name ends with this name.
Name = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\z", max_length=400)]
Ending = Annotated[str, Field(pattern=r"\A\.\*\\\.[A-Za-z0-9_]+\z", max_length=400)]
Rank = Annotated[int, Field(ge=1)]


class AdapterSettings(BaseModel):
    """The allowed settings of `adapter_config.json`; any other key must have PEFT's default value.

    Other values could import modules, match patterns in exponential time, or allocate too much memory.
    """

    # Extra keys pass here; `check_rest` compares them with PEFT's defaults.
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
    init_lora_weights: bool | Literal["gaussian", "orthogonal"] = True  # has no effect after training
    fan_in_fan_out: bool = False
    inference_mode: bool = True
    base_model_name_or_path: str | None = None
    revision: str | None = None
    auto_mapping: Any = None  # read by PEFT's Auto classes only, which are not used here
    megatron_core: Any = None  # has no effect without megatron_config
    peft_version: Any = None
    task_type: Any = None

    def check_rest(self) -> None:
        """Refuse extra keys whose value is not PEFT's default.

        Raises:
            ModelError: the first such key, by name.
        """
        from peft import LoraConfig

        usual = LoraConfig().to_dict()
        for key, value in (self.model_extra or {}).items():
            if value and value != usual.get(key):
                raise ModelError(
                    f"{key} is {value!r:.100}, a setting that lookboth does not read in an adapter"
                )

    def check_ranks(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Refuse ranks that differ from the weights; a weight of several experts contains the rank once per expert.

        Raises:
            ModelError: the rank, or the first weight that does not fit, by name.
        """
        ranks = {self.r, *self.rank_pattern.values()}
        largest = max((value.shape[0] for name, value in weights.items() if "lora_A" in name), default=0)
        if max(ranks) > max(largest, self.r):
            raise ModelError(
                f"rank_pattern has a rank of {max(ranks)}, but the largest rank of a weight is {largest}."
            )
        for name, value in weights.items():
            if "lora_A" in name and not any(self._fits(value, rank) for rank in ranks):
                raise ModelError(f"r is {self.r}, but {name} has rank {value.shape[0]}.")

    def _fits(self, value: torch.Tensor, rank: int) -> bool:
        return value.shape[0] == rank or (bool(self.target_parameters) and value.shape[0] % rank == 0)

    def to_lora(self) -> "LoraConfig":
        """Return the PEFT configuration of these settings, for inference."""
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
    """Write the LoRA adapter of `backbone` into `folder`, with `base` as the name of its base model."""
    from peft import get_peft_model_state_dict

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


def load_adapter(backbone: Any, folder: Path) -> Any:
    """Load the adapter in `folder` into `backbone` and check that every weight was loaded.

    Raises:
        ModelError: the adapter is incomplete or damaged, has settings that are not allowed, or does not fit the
            backbone.
    """
    settings, weights = read_adapter(folder)
    dtype = next(backbone.parameters()).dtype
    with as_model_error(f"{folder}: the adapter does not fit or is damaged"):
        # On the meta device: the settings are untrusted and could ask for any amount of memory.
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
        raise ModelError(f"{file.parent}: {file.name} is missing, so this is not an adapter.") from error
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise ModelError(f"{file}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from error
    return settings


def fold_adapter(backbone: Any) -> None:
    """Merge the adapter into the weights in memory, if there is one and the weights are not in 4 bits.

    Inference is a fifth faster and equal within rounding. Saving still writes the adapter separately. The model cannot
    be trained afterwards, see `require_trainable`.
    """
    if hasattr(backbone, "merge_adapter") and not getattr(backbone, "is_quantized", False):
        backbone.merge_adapter()


def is_folded(backbone: Any) -> bool:
    """Return whether `fold_adapter` merged the adapter into the weights in memory."""
    return any(getattr(module, "merged", False) is True for module in backbone.modules())


def require_trainable(backbone: Any) -> None:
    """Check that the adapter was not merged into the weights, where it would not get gradients.

    Raises:
        ModelError: the adapter was merged.
    """
    if is_folded(backbone):
        raise ModelError(
            "the adapter is merged into the weights of this labeler, so training would not change it. "
            "Load it with merge=False: Labeler.from_pretrained(FOLDER, merge=False)"
        )
