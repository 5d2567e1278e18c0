"""The whole recipe: model, mask plan, how words become tags, and the sections."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.allowed_names import MethodName
from lookboth.config.method_sections import AdaptationConfig, GenerativeConfig, SearchConfig
from lookboth.config.plan_text import MOST_REPETITIONS, PlanText
from lookboth.config.section import Section
from lookboth.config.training_sections import AdapterConfig, DataConfig, HeadConfig, TrainConfig


class RunConfig(Section):
    """One training setting: model, mask plan, data, adapter and training."""

    task: Literal["labeling", "classification"] = Field(
        default="labeling", description="What has labels: words (labeling) or whole texts (classification)."
    )
    model: str = Field(default="smollm2-135m", description="Hub id, folder, or a built-in name.")
    revision: str | None = Field(default=None, description="Hub revision of the model.")
    trust_remote_code: bool = Field(default=False, description="Allow the model's own code to run.")
    attn_implementation: str | None = Field(
        default=None, description="Attention backend: sdpa, eager, flex_attention, flash_attention_2, varlen."
    )
    plan: PlanText | None = Field(
        default=None,
        description="Mask plan: causal, full, middle, 0011, top:8, 8-31 or one reach a group; default: as the "
        "model was made, causal for a decoder, full for an encoder.",
    )
    train_plan: PlanText | None = Field(
        default=None,
        description="Mask plan while training, where it differs from the plan of prediction; default: plan.",
    )
    exit_layer: int | None = Field(
        default=None,
        ge=1,
        description="Take states after this many layers; those above are neither loaded nor run, and plans "
        "speak of the layers that are left.",
    )
    repetition: int = Field(
        default=0,
        ge=0,
        le=MOST_REPETITIONS,
        description="Sequence repetition: the words are put in this many times more; the last copy is labeled.",
    )
    scheme: Literal["IOB2", "IOBES", "plain"] = Field(
        default="IOB2",
        description="Tag scheme the head learns; plain: one label a word (POS). Whole texts have none.",
    )
    label_on: Literal["first", "last", "mean", "max", "mean_special", "max_score"] = Field(
        default="last",
        description="Token of a word (of a whole text) whose state is labeled; mean: the average of all; max: the "
        "largest value in each dimension. Of whole texts as LS-LLaMA's code does, special tokens before the text "
        "included: mean_special; max_score: the largest score of each label.",
    )
    max_tokens: int = Field(
        default=512,
        ge=32,
        description="Longer inputs are cut into windows; every word is labeled once, a whole text by the average "
        "of its windows.",
    )
    truncate: bool = Field(
        default=False,
        description="Cut texts at max_tokens in training and scoring instead of reading them in windows, as several "
        "papers do; words beyond are neither learned nor scored, and counted.",
    )
    overlap: int = Field(
        default=64,
        ge=0,
        validate_default=True,
        description="Context tokens on each inner side of a window; less than half of max_tokens.",
    )
    method: MethodName = Field(
        default="classifier",
        description="classifier: a head over the states of words, or of the whole text; sift, instruction_tuning, "
        "icl (no training): the model writes the labels, see [generative].",
    )
    search: SearchConfig = Field(
        default_factory=SearchConfig,
        description='How `lookboth search`, or method = "search", finds the plan.',
    )
    study: dict[str, str] | None = Field(
        default=None, description="The run's place in a study; written by `lookboth study`."
    )
    data: DataConfig = Field(description="Where the data is.")
    head: HeadConfig = Field(
        default_factory=HeadConfig, validate_default=True, description="What turns word states into tags."
    )
    generative: GenerativeConfig = Field(
        default_factory=GenerativeConfig, description="How labels are written."
    )
    adapter: AdapterConfig = Field(default_factory=AdapterConfig, description="Which weights are trained.")
    training: TrainConfig = Field(default_factory=TrainConfig, description="How they are trained.")
    adaptation: AdaptationConfig | None = Field(
        default=None, description="Training on raw text before labeling; no such step without the section."
    )

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
            raise ValueError("a word has one tag; multi_label needs task = 'classification'")
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
                f"kind = {value.kind!r} scores no single tokens; max_score needs 'linear' or 'multi_label'"
            )
        return value

    @field_validator("adaptation")
    @classmethod
    def _something_can_be_adapted(
        cls, value: AdaptationConfig | None, info: ValidationInfo
    ) -> AdaptationConfig | None:
        if value is not None and "adapter" in info.data and info.data["adapter"].kind == "head":
            raise ValueError("adapter.kind = 'head' leaves nothing to adapt; set lora, qlora or full")
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.model_dump(mode="json")
