"""Optimizer keys of the section [training]."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.section import Section


class OptimizerConfig(Section):
    """Optimizer, learning rates, schedule and weight averages."""

    lr: float = Field(
        default=1e-3,
        gt=0,
        allow_inf_nan=False,
        description="Peak learning rate of adapter (or backbone) and head.",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Learning rate after warm-up."
    )
    lr_end: float = Field(
        default=0.0,
        ge=0,
        validate_default=True,
        description="Learning rate of the last step, below lr (linear, cosine).",
    )
    head_lr: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Peak learning rate of the head, under the same schedule; default: lr.",
    )
    optimizer: Literal[
        "adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"
    ] = Field(
        default="adamw_torch_fused",
        description="Optimizer, by its name in transformers; 8bit (less memory) and paged (moved to the CPU if "
        "the GPU is "
        "full) need bitsandbytes.",
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW betas.")
    eps: float = Field(default=1e-8, gt=0, allow_inf_nan=False, description="AdamW epsilon.")
    warmup: float = Field(default=0.06, ge=0, lt=1, description="Fraction of all steps used for warm-up.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay.")
    clip: float = Field(default=1.0, gt=0, description="Maximum gradient norm.")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, which is scored and saved; for "
        "example 0.999.",
    )
    average_evals: int = Field(
        default=1,
        ge=1,
        description="Score and save the mean of the weights at the last N dev scores; 1: no averaging.",
    )

    @field_validator("lr_end")
    @classmethod
    def _below_peak(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("schedule") == "constant":
            raise ValueError(
                "schedule = 'constant' does not change the rate. Remove lr_end, or set schedule = 'cosine'"
            )
        if value >= info.data.get("lr", float("inf")):
            raise ValueError(f"must be below lr ({info.data['lr']:g})")
        return value

    @field_validator("betas")
    @classmethod
    def _below_one(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("must be two numbers from 0 to below 1, for example [0.9, 0.999]")
        return value

    @field_validator("average_evals")
    @classmethod
    def _one_average(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("ema") is not None:
            raise ValueError("cannot be combined with ema, which averages as well. Remove one of them")
        return value
