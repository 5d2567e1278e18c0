"""The sections of a recipe that say what is trained, on what, and how."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.allowed_names import HeadKind
from lookboth.config.optimizer import OptimizerConfig
from lookboth.config.plan_text import LayersText, accepted_by
from lookboth.config.section import Section
from lookboth.data import require_encoding, resolve_scheme


class DataConfig(Section):
    """Where the data is and how it is read."""

    train: tuple[str, ...] = Field(
        min_length=1,
        description="Sources to train on: a file, a folder, a built-in name or a hub id; "
        "'source:split' picks a split.",
    )
    dev: tuple[str, ...] = Field(
        default=(),
        description="Sources that choose the epoch; default: the dev split of the first train source.",
    )
    test: tuple[str, ...] | None = Field(
        default=None,
        description="Sources scored once, after training; default: the test split of the first train source; "
        "[]: none.",
    )
    label_map: dict[str, str] = Field(
        default_factory=dict,
        description="Renames labels; an empty new name drops the label. '*' stands for all not named.",
    )
    max_train_sentences: int | None = Field(
        default=None, ge=1, description="Train on the first N sentences after a shuffle by data.sample_seed."
    )
    max_dev_sentences: int | None = Field(
        default=None,
        ge=1,
        description="Score dev on the first N sentences after a shuffle by data.sample_seed.",
    )
    sample_seed: int = Field(
        default=0, description="Which sentences data.max_train_sentences and data.max_dev_sentences keep."
    )
    repair: bool = Field(
        default=False, description="Repair ill-formed tags as conlleval does instead of stopping."
    )
    scheme: Annotated[str, accepted_by(resolve_scheme)] | None = Field(
        default=None,
        description="Tag scheme that the files are written in: IOB1, IOB2, IOBES, BILOU, IO (adjacent words of "
        "one label are one span) or plain (one label per word); default: detected, but for the last two.",
    )
    encoding: Annotated[str, accepted_by(require_encoding)] | None = Field(
        default=None,
        description="Encoding of the files, such as cp1252 or gb18030; default: as their byte order mark says, else "
        "UTF-8.",
    )
    word_column: int = Field(
        default=0,
        description="Column of the word in CoNLL files, counted from 0, negative from the right; CoNLL-U: 1.",
    )
    tag_column: int = Field(default=-1, description="Column of the tag in CoNLL files.")
    text_field: str | None = Field(
        default=None,
        description="Column (JSON lines: key) of the texts, where whole texts have labels, and of the words in hub "
        "data sets; default: the usual names.",
    )
    label_field: str | None = Field(
        default=None, description="The same of the labels, and of the tags in hub data sets."
    )

    @field_validator("train", "dev", "test", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class AdapterConfig(Section):
    """Which weights are trained."""

    kind: Literal["full", "lora", "qlora", "head"] = Field(
        default="lora",
        description="full: all weights; lora; qlora: lora over a 4-bit backbone; head: only the head.",
    )
    rank: int = Field(default=16, ge=1, description="LoRA rank r.")
    alpha: int = Field(default=32, gt=0, description="LoRA alpha; the update is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of each LoRA pair.")
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        default="all-linear",
        description="Names of the linear layers and experts that get a LoRA pair; all-linear: all that read text.",
    )
    layers: LayersText | None = Field(
        default=None,
        description="Layers that get LoRA pairs, in the words of a plan: top:15, 15-29, middle, 0011 (1 = these); "
        "default: all. Those below the lowest one cost nothing in the backward pass (see training.cache_frozen).",
    )
    rslora: bool = Field(
        default=False, description="Scale the update by alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732)."
    )
    dora: bool = Field(
        default=False, description="Learn magnitudes apart from directions (DoRA, arXiv 2402.09353)."
    )
    lora_plus: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Learning rate of the B matrices as a multiple of training.lr (LoRA+, arXiv 2402.12354).",
    )
    init: Literal["default", "gaussian", "orthogonal"] = Field(
        default="default",
        description="How the A matrices begin, as in PEFT; default: Kaiming-uniform. orthogonal: B as well, and "
        "the update is not 0 at first.",
    )
    double_quant: bool = Field(
        default=True, description="qlora: quantize the scales of the 4-bit weights as well."
    )
    start_from: str | None = Field(
        default=None,
        description="A saved adapter folder to start from instead of a fresh adapter; with exit_layer, its pairs of "
        "the layers that are left.",
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
                f"is of LoRA pairs; kind = '{kind}' has none. Leave it out, or set kind = 'lora'"
            )
        return value

    @field_validator("double_quant")
    @classmethod
    def _only_of_qlora(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("kind") != "qlora":
            raise ValueError("only weights in 4 bits are quantized. Leave it out, or set kind = 'qlora'")
        return value

    @field_validator("layers", "start_from")
    @classmethod
    def _only_of_lora(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if value is not None and kind in ("full", "head"):
            what = "says where LoRA pairs go" if info.field_name == "layers" else "names saved LoRA pairs"
            raise ValueError(f"{what}; kind = '{kind}' has none. Leave it out, or set kind = 'lora'")
        return value


class TrainConfig(OptimizerConfig):
    """How the weights are trained."""

    epochs: float = Field(default=3, gt=0, allow_inf_nan=False, description="Passes over the training data.")
    batch_tokens: int = Field(default=1024, ge=16, description="Tokens in one batch.")
    batch_sentences: int | None = Field(
        default=None,
        ge=1,
        description="Sentences in one batch, drawn at random and not sorted by length; default: as many as "
        "batch_tokens holds.",
    )
    accumulation: int = Field(default=1, ge=1, description="Batches summed into one optimizer step.")
    layout: Literal["bucketed", "packed"] = Field(
        default="bucketed",
        description="bucketed: rows of nearly one length; packed: many sentences in one row.",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto",
        description="Arithmetic; auto: bf16 where the device computes in it natively; fp16: with loss scaling, for "
        "GPUs without bf16.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Less memory for about a third more time."
    )
    cache_frozen: bool | Literal["auto"] = Field(
        default="auto",
        description="Run the frozen layers below the lowest trained one once a text and train from their states "
        "afterwards: same result, less time (adapter.layers, adapter.kind = 'head'). auto: where it can be done; "
        "true: an error where it cannot. Not in plan searches and adaptation.",
    )
    cache_gb: float = Field(
        default=4.0, gt=0, allow_inf_nan=False, description="Most memory for states of frozen layers, in GB."
    )
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        default="none",
        description="How much the words of a label count in the loss: none: all alike; balanced: the fewer there "
        "are the more; {PER = 2.0}: as said, 1 where nothing is said ('O': words without label).",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each target that is spread evenly over all tags."
    )
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout before the head.")
    evals_per_epoch: int = Field(default=1, ge=0, description="Dev scores per epoch; 0: only at the end.")
    choose_by: Literal["score", "loss"] = Field(
        default="score",
        description="What on dev data chooses the epoch, and ends it by patience: the best score or the lowest loss.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this many dev scores without a better one; default: never.",
    )
    checkpoint_steps: int = Field(
        default=100, ge=1, description="Optimizer steps between checkpoints a killed run resumes from."
    )
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="One run for each seed.")
    track: Literal["none", "tensorboard", "wandb"] = Field(
        default="none", description="Where curves are sent."
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
            raise ValueError("each seed may be named once")
        return value


class HeadConfig(Section):
    """What turns word states into tags; saved with a labeler."""

    kind: HeadKind = Field(
        default="linear",
        description="linear: one score a tag from the state of the word; crf: linear, and learned scores of each tag "
        "after each other; context_gate: linear, over states mixed with that of the text's last word; "
        "multi_label: linear, each label by itself, so that a text may have several (needs "
        "task = 'classification').",
    )
    layers: Literal["last", "mix"] = Field(
        default="last",
        description="last: states of the last layer (exit_layer says which that is); mix: a learned mix of all "
        "layers and the embeddings.",
    )
    bias: bool = Field(
        default=True, description="Add a learned number to each score; LS-LLaMA's head has none."
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="multi_label: a text gets the labels at least this probable."
    )

    def __str__(self) -> str:
        """Return one readable phrase."""
        return f"{self.kind} on {'a mix of all layers' if self.layers == 'mix' else 'the last layer'}"
