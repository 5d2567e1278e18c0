"""Recipe sections for adapter, training and head."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.allowed_names import HeadKind
from lookboth.config.optimizer import OptimizerConfig
from lookboth.config.plan_text import LayersText
from lookboth.config.section import Section


class AdapterConfig(Section):
    """Which weights are trained."""

    kind: Literal["full", "lora", "qlora", "head"] = Field(
        default="lora",
        description="full: all weights; lora: LoRA pairs; qlora: LoRA pairs on a 4-bit backbone; head: only the head.",
    )
    rank: int = Field(default=16, ge=1, description="LoRA rank r.")
    alpha: int = Field(default=32, gt=0, description="LoRA alpha; the update is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of each LoRA pair.")
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        default="all-linear",
        description="Names of the linear layers and experts that get a LoRA pair; all-linear: all that process text.",
    )
    layers: LayersText | None = Field(
        default=None,
        description="Layers that get LoRA pairs, in the notation of a plan: top:15, 15-29, middle, 0011 (1 = these); "
        "default: all. Layers below the lowest one need no backward pass (see training.cache_frozen).",
    )
    rslora: bool = Field(
        default=False, description="Scale the update by alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732)."
    )
    dora: bool = Field(
        default=False, description="Learn magnitude and direction separately (DoRA, arXiv 2402.09353)."
    )
    lora_plus: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Learning rate of the B matrices as a multiple of training.lr (LoRA+, arXiv 2402.12354).",
    )
    init: Literal["default", "gaussian", "orthogonal"] = Field(
        default="default",
        description="Initialization of the A matrices, as in PEFT; default: Kaiming-uniform. orthogonal: also of B, so "
        "that the initial update is not 0.",
    )
    double_quant: bool = Field(
        default=True, description="qlora: quantize the scales of the 4-bit weights as well."
    )
    start_from: str | None = Field(
        default=None,
        description="Folder of a saved adapter to start from instead of a new adapter; with exit_layer, only its "
        "pairs of "
        "the remaining layers.",
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) and value != "all-linear" else value

    @field_validator("rslora", "dora", "lora_plus", "init")
    @classmethod
    def _pairs_are_there(cls, value: object, info: ValidationInfo) -> object:
        kind = info.data.get("kind")
        if value != cls.model_fields[info.field_name or ""].default and kind in ("full", "head"):
            raise ValueError(
                f"applies to LoRA pairs; kind = '{kind}' has none. Remove it, or set kind = 'lora'"
            )
        return value

    @field_validator("double_quant")
    @classmethod
    def _only_of_qlora(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("kind") != "qlora":
            raise ValueError("applies only to 4-bit weights. Remove it, or set kind = 'qlora'")
        return value

    @field_validator("layers", "start_from")
    @classmethod
    def _only_of_lora(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if value is not None and kind in ("full", "head"):
            what = (
                "selects layers for LoRA pairs" if info.field_name == "layers" else "loads saved LoRA pairs"
            )
            raise ValueError(f"{what}; kind = '{kind}' has none. Remove it, or set kind = 'lora'")
        return value


class TrainConfig(OptimizerConfig):
    """Batches, precision, loss, evaluation and checkpoints; see also the optimizer."""

    epochs: float = Field(
        default=3, gt=0, allow_inf_nan=False, description="Number of passes over the training data."
    )
    batch_tokens: int = Field(default=1024, ge=16, description="Number of tokens per batch.")
    batch_sentences: int | None = Field(
        default=None,
        ge=1,
        description="Number of sentences per batch, drawn at random and not sorted by length; default: as many as "
        "fit into batch_tokens.",
    )
    accumulation: int = Field(
        default=1, ge=1, description="Number of batches per optimizer step (gradient accumulation)."
    )
    layout: Literal["bucketed", "packed"] = Field(
        default="bucketed",
        description="bucketed: rows of similar length; packed: many sentences in one row.",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto",
        description="Precision of computation; auto: bf16 if the device supports it natively; fp16: with loss "
        "scaling, for "
        "GPUs without bf16.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Use less memory, for about a third more time."
    )
    cache_frozen: bool | Literal["auto"] = Field(
        default="auto",
        description="Run the frozen layers below the lowest trained layer once per text and train on their cached "
        "states: "
        "same result, less time (adapter.layers, adapter.kind = 'head'). auto: if possible; true: an error if not "
        "possible. Not used in plan searches and adaptation.",
    )
    cache_gb: float = Field(
        default=4.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum memory for cached states of frozen layers, in GB.",
    )
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        default="none",
        description="Weight of each label in the loss: none: equal; balanced: inverse to its frequency; {PER = "
        "2.0}: as "
        "given, 1 for other labels ('O': words without label).",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Fraction of each target that is distributed evenly over all tags.",
    )
    hide_labels: float = Field(
        default=0.25,
        ge=0,
        lt=0.5,
        description="Open head: average fraction of the labels of its data that a text is not asked for. Words with "
        "such a label count as words without label.",
    )
    step_labels: int = Field(
        default=64,
        ge=1,
        description="Open head: maximum number of labels per batch; labels that occur in it come first.",
    )
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout before the head.")
    evals_per_epoch: int = Field(
        default=1, ge=0, description="Number of dev evaluations per epoch; 0: only at the end."
    )
    choose_by: Literal["score", "loss"] = Field(
        default="score",
        description="Criterion on dev data for model selection and early stopping: the highest score or the "
        "lowest loss.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop early after this many dev evaluations without improvement; default: never.",
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        description="Cross-validation instead of dev data: this number of trainings, each scored after every epoch on "
        "the part of the training data that it did not see, chooses the number of epochs of a training on all; "
        "default: 4 without dev data, for fewer than 200 training examples.",
    )
    checkpoint_steps: int = Field(
        default=100,
        ge=1,
        description="Number of optimizer steps between checkpoints, from which a killed run resumes.",
    )
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="Random seeds; one run per seed.")
    track: Literal["none", "tensorboard", "wandb"] = Field(
        default="none", description="Tracker that receives the training curves."
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _known_or_above_zero(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            right = all(
                type(weight) in (int, float) and 0 < weight < float("inf") for weight in value.values()
            )
        else:
            right = value in ("none", "balanced")
        if not right:
            raise ValueError(
                "must be 'none', 'balanced' or a weight above 0 for each label, as in {PER = 2.0}"
            )
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 <= seed < 2**32 for seed in value):
            raise ValueError(f"a seed is a number from 0 to {2**32 - 1}")
        if len(set(value)) < len(value):
            raise ValueError("each seed is allowed only once")
        return value


class HeadConfig(Section):
    """The head, which maps word states to tags; saved with a labeler."""

    kind: HeadKind = Field(
        default="linear",
        description="linear: one score per tag from the state of the word; crf: linear, with learned transition scores "
        "between tags; context_gate: linear, over states mixed with the state of the last word of the text; "
        "multi_label: linear, one independent probability per label, so that a text may have several labels (needs "
        "task = 'classification'); open: scores from the texts of the labels, which are named at prediction time; "
        "nested: one tag sequence per label and depth, for spans that overlap.",
    )
    layers: Literal["last", "mix"] = Field(
        default="last",
        description="last: states of the last layer (see exit_layer); mix: a learned mix of all layers and the "
        "embeddings.",
    )
    bias: bool = Field(
        default=True, description="Add a learned bias to each score; LS-LLaMA's head has none."
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="multi_label: a text gets every label of at least this probability.",
    )
    depth: int = Field(
        default=2,
        ge=1,
        le=8,
        description="nested: number of spans of one label that may lie inside each other, the outermost included. "
        "Each adds 3 outputs per label.",
    )
    label_lead: str = Field(
        default="a kind of:",
        max_length=200,
        description="open: words before the text of a label, which are read with it but are not part of its average "
        "state. In most decoders the state of the first token says little about it; encoders need none ('').",
    )

    def __str__(self) -> str:
        """Return kind and layers as a readable phrase."""
        return f"{self.kind} on {'a mix of all layers' if self.layers == 'mix' else 'the last layer'}"
