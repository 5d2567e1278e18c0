"""The settings of a saved LoRA adapter that lookboth reads, and what they say about a layer."""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field

from lookboth.errors import ModelError

if TYPE_CHECKING:
    from peft import LoraConfig

T = TypeVar("T")
# Keys that PEFT writes with these values; comparing other values needs PEFT itself, which takes seconds to import.
USUAL = {"bias": "none", "qalora_group_size": 16}
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
    lora_dropout: Annotated[float, Field(le=1)]
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
        extra = {k: v for k, v in (self.model_extra or {}).items() if v and USUAL.get(k) != v}
        if not extra:
            return
        from peft import LoraConfig

        usual = LoraConfig().to_dict()
        for key, value in extra.items():
            if value != usual.get(key):
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

    def names_module(self, name: str) -> bool:
        """Whether a module gets a pair: its name is, or ends with, one of `target_modules` and none is excluded."""
        return _ends(name, self.target_modules) and not _ends(name, self.exclude_modules or ())

    def rank_of(self, name: str) -> int:
        """Return the rank of the pair of a module."""
        return _by_ending(self.rank_pattern, name, self.r)

    def scaling_of(self, name: str) -> float:
        """Return the factor of the pair's product in a module: alpha / r, with rsLoRA alpha / sqrt(r).

        Source: Kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA".
        """
        alpha, rank = _by_ending(self.alpha_pattern, name, self.lora_alpha), self.rank_of(name)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

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


def _ends(name: str, endings: Collection[str]) -> bool:
    return any(name == ending or name.endswith(f".{ending}") for ending in endings)


def _by_ending(pattern: Mapping[str, T], name: str, otherwise: T) -> T:
    """Return the value of the first pattern, of the form `Ending`, that fits the end of a name."""
    fits = (value for key, value in pattern.items() if name.endswith("." + key.removeprefix(r".*\.")))
    return next(fits, otherwise)
