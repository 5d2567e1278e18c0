"""The whole recipe: model, mask plan, tag scheme, windows, and the sections."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lookboth.config.allowed_names import MethodName
from lookboth.config.data_section import DataConfig
from lookboth.config.generative_section import GenerativeConfig
from lookboth.config.method_sections import (
    AdaptationConfig,
    DistillConfig,
    SearchConfig,
    StartConfig,
)
from lookboth.config.plan_text import MOST_REPETITIONS, PlanText
from lookboth.config.section import Section
from lookboth.config.training_sections import AdapterConfig, HeadConfig, TrainConfig


class RunConfig(Section):
    """Settings of one training run: model, mask plan, data, adapter and training."""

    task: Literal["labeling", "classification"] = Field(
        default="labeling", description="What is labeled: words (labeling) or whole texts (classification)."
    )
    model: str = Field(default="smollm2-135m", description="Hub id, folder, or a built-in name.")
    revision: str | None = Field(default=None, description="Hub revision of the model.")
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with the model.")
    attn_implementation: str | None = Field(
        default=None, description="Attention backend: sdpa, eager, flex_attention, flash_attention_2, varlen."
    )
    plan: PlanText | None = Field(
        default=None,
        description="Mask plan: causal, full, middle, 0011, top:8, 8-31 or one reach per group; default: the "
        "upper half of the layers of a decoder that labels words (0011), else the mask the model was trained with.",
    )
    train_plan: PlanText | None = Field(
        default=None,
        description="Mask plan during training, if it differs from the plan of prediction; default: plan.",
    )
    exit_layer: int | None = Field(
        default=None,
        ge=1,
        description="Use the states after this many layers. The layers above are neither loaded nor run, and plans "
        "apply to the remaining layers.",
    )
    repetition: int = Field(
        default=0,
        ge=0,
        le=MOST_REPETITIONS,
        description="Sequence repetition: number of additional copies of the words in the input; the last copy is "
        "labeled.",
    )
    leading_space: bool = Field(
        default=True,
        description="Tokenize each word with the space before it, as inside a sentence; false: without it, as "
        "is_split_into_words does for tokenizers like those of Qwen3 and Gemma.",
    )
    scheme: Literal["IOB2", "IOBES", "plain"] = Field(
        default="IOB2",
        description="Tag scheme of the head; plain: one label per word (POS). Not used for whole texts.",
    )
    label_on: Literal["first", "last", "mean", "max", "mean_special", "max_score"] = Field(
        default="last",
        description="Token whose state represents a word (a whole text); mean: the average over its tokens; max: the "
        "maximum in each dimension. For whole texts only, including the special tokens before the text as in "
        "LS-LLaMA's "
        "code: mean_special; max_score: the maximum score of each label.",
    )
    max_tokens: int = Field(
        default=512,
        ge=32,
        description="Longer inputs are split into windows. Every word is labeled once, a whole text by the average "
        "over its windows.",
    )
    truncate: bool = Field(
        default=False,
        description="Truncate texts at max_tokens in training and scoring instead of splitting them into windows, as "
        "several papers do. The words beyond are counted, but neither trained on nor scored.",
    )
    overlap: int = Field(
        default=64,
        ge=0,
        validate_default=True,
        description="Number of context tokens on each inner side of a window; less than half of max_tokens.",
    )
    context: Annotated[int, Field(ge=0)] | Literal["document"] = Field(
        default=0,
        description='Tokens of its document that are read with a sentence, most on each side (FLERT); "document": as '
        "many as fit in max_tokens. Only the words of the sentence are labeled.",
    )
    method: MethodName = Field(
        default="classifier",
        description="classifier: a head over the states of words, or of the whole text; search: a classifier under the "
        "plan that [search] finds; distill: a classifier that learns from saved labelers, see [distill]; sift, "
        "instruction_tuning, icl (no training): the model generates the labels, see [generative].",
    )
    search: SearchConfig = Field(
        default_factory=SearchConfig,
        description='How `lookboth search` (method = "search") finds the plan.',
    )
    prefix_each_copy: bool = Field(
        default=False,
        description="Sequence repetition: put the special tokens before the text before every copy, as in "
        "repetition-sl, not before the first copy only.",
    )
    study: dict[str, str] | None = Field(
        default=None,
        description="Model, data set and method of this run in a study; written by `lookboth study`.",
    )
    start: StartConfig | None = Field(
        default=None,
        description="A saved labeler that is trained further (`lookboth train --start FOLDER`); only if the section is "
        "present.",
    )
    data: DataConfig = Field(description="Where the data is and how it is read.")
    head: HeadConfig = Field(
        default_factory=HeadConfig,
        validate_default=True,
        description="The head, which maps word states to tags.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description='Descriptions of labels that are named in prediction (head.kind = "open", '
        'generative.open_labels), as in PER = "a human being". They replace those of labels.toml in the folder of the '
        "data. An open labeler that is trained further with head.kind = 'linear' also gets the labels that are named "
        "here and occur in no sentence.",
    )
    generative: GenerativeConfig = Field(
        default_factory=GenerativeConfig, description="How a model generates labels."
    )
    adapter: AdapterConfig = Field(default_factory=AdapterConfig, description="Which weights are trained.")
    training: TrainConfig = Field(default_factory=TrainConfig, description="How the weights are trained.")
    adaptation: AdaptationConfig | None = Field(
        default=None,
        description="Training on raw text before the labeling task; only if the section is present.",
    )
    distill: DistillConfig | None = Field(
        default=None,
        description='Teachers of a smaller labeler; if the section is present, the method is "distill" and data.train '
        "may be left out.",
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_distillation(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("distill") is None:
            return values
        data = values.get("data", {})
        return {
            "method": "distill",
            **values,
            "data": {"train": (), **data} if isinstance(data, Mapping) else data,
        }

    @field_validator("data")
    @classmethod
    def _has_sources(cls, value: DataConfig, info: ValidationInfo) -> DataConfig:
        if not value.train and info.data.get("method") != "distill":
            raise PydanticCustomError(
                "too_short", "at least one", {"key": "train", "found": list(value.train)}
            )
        return value

    @field_validator("prefix_each_copy")
    @classmethod
    def _there_are_copies(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("repetition") == 0 and info.data.get("method") != "search":
            raise ValueError("applies to sequence repetition. Remove it, or set repetition = 1")
        return value

    @field_validator("leading_space")
    @classmethod
    def _labels_words(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("task") == "classification":
            raise ValueError("applies to words; a whole text is tokenized with its own spaces. Remove it")
        return value

    @field_validator("context")
    @classmethod
    def _has_sentences(cls, value: int | str, info: ValidationInfo) -> int | str:
        if value and info.data.get("task") == "classification":
            raise ValueError("applies to labels of words; a whole text is read whole. Remove it")
        return value

    @field_validator("overlap")
    @classmethod
    def _leaves_words_to_label(cls, value: int, info: ValidationInfo) -> int:
        max_tokens = info.data.get("max_tokens", 2 * value + 1)
        if 2 * value >= max_tokens:
            raise ValueError(
                f"must be less than half of max_tokens ({max_tokens}); set overlap = {max_tokens // 8}"
            )
        return value

    @field_validator("head")
    @classmethod
    def _head_fits_what_is_labeled(cls, value: HeadConfig, info: ValidationInfo) -> HeadConfig:
        if value.kind == "multi_label" and info.data.get("task") != "classification":
            raise ValueError("a word has one tag; head.kind = 'multi_label' needs task = 'classification'")
        if value.kind in {"open", "nested"} and info.data.get("task") != "labeling":
            raise ValueError(f"kind = {value.kind!r} labels words; set task = 'labeling', or another kind")
        if value.kind == "nested" and info.data.get("scheme") != "IOB2":
            raise ValueError("kind = 'nested' has its own tags: O, B and I for each label. Remove scheme")
        label_on = info.data.get("label_on")
        if label_on in {"mean_special", "max_score"} and (
            info.data.get("task") != "classification" or info.data.get("repetition")
        ):
            raise ValueError(
                f"label_on = {label_on!r} is for whole texts (task = 'classification') without repetition; "
                "set label_on = 'mean'"
            )
        if label_on == "max_score" and value.kind not in {"linear", "multi_label"}:
            raise ValueError(
                f"kind = {value.kind!r} does not score single tokens; label_on = 'max_score' needs 'linear' or "
                f"'multi_label'"
            )
        return value

    @field_validator("training")
    @classmethod
    def _head_has_this_loss(cls, value: TrainConfig, info: ValidationInfo) -> TrainConfig:
        if value.choose_by == "loss" and "head" in info.data and info.data["head"].kind == "open":
            raise ValueError(
                "choose_by = 'loss': the loss of an open head depends on the labels. Set 'score'"
            )
        return value

    @field_validator("training")
    @classmethod
    def _one_choice_of_the_epoch(cls, value: TrainConfig, info: ValidationInfo) -> TrainConfig:
        if value.folds is not None and "data" in info.data and info.data["data"].dev:
            raise ValueError("folds: cross-validation replaces dev data. Remove folds, or data.dev")
        return value

    @field_validator("adaptation")
    @classmethod
    def _something_can_be_adapted(
        cls, value: AdaptationConfig | None, info: ValidationInfo
    ) -> AdaptationConfig | None:
        if value is not None and "adapter" in info.data and info.data["adapter"].kind == "head":
            raise ValueError(
                "adapter.kind = 'head' leaves no weights to adapt; set 'lora', 'qlora' or 'full'"
            )
        return value

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.head.kind == "multi_label"

    @property
    def tag_scheme(self) -> str:
        """The scheme of the tags of the head: that of the recipe, or "nested" for a nested head."""
        return "nested" if self.head.kind == "nested" else self.scheme

    @property
    def names_labels(self) -> bool:
        """Whether labels are named in prediction, so that each text is asked for the labels of its own data."""
        return self.head.kind == "open" or self.generative.open_labels

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as values that JSON can represent."""
        return self.model_dump(mode="json")
