"""The recipe section [generative]: prompt, demonstrations, labels, decoding and loss of a generative labeler."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.allowed_names import AnswerFormat
from lookboth.config.plan_text import PlanText
from lookboth.config.section import Section


class GenerativeConfig(Section):
    """Prompt, demonstrations, decoding and loss of a generative labeler."""

    format: AnswerFormat = Field(
        default="markup",
        description="Format of the answer: pairs (span:type;span:type), tags (one tag per word), markup ([text | "
        "LABEL] "
        "inside the text) or json.",
    )
    instruction: bool | str = Field(
        default=True,
        description="true: an instruction built from format and labels; false: no instruction; or your own text, in "
        "which {labels} and {format} are replaced.",
    )
    descriptions: dict[str, str] = Field(
        default_factory=dict, description="Meaning of each label, for the instruction."
    )
    open_labels: bool = Field(
        default=False,
        description="Train for labels that are named in prediction: each prompt names the labels of the data set of "
        "its text, with the descriptions of labels.toml and [labels], and shows demonstrations from that data set.",
    )
    shuffle_labels: bool = Field(
        default=False,
        description="List the labels of the instruction in another random order in each training prompt.",
    )
    rename_labels: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of the training prompts in which labels with a description or a demonstration have "
        "other names (TYPE_1), so that the model reads what the prompt says about a label.",
    )
    question: str = Field(default="Text: {text}", description="Template of the question; {text} is replaced.")
    reply: str = Field(
        default="Answer:",
        description="Text between question and answer if no chat template is used.",
    )
    chat: bool | None = Field(
        default=None, description="Use the chat template of the tokenizer; default: if it has one."
    )
    k: int = Field(
        default=5, ge=0, description="Number of demonstrations per prompt; 0 in instruction tuning."
    )
    demonstrations: Literal["random", "fixed", "stratified", "bm25", "embedding", "word_embedding"] = Field(
        default="random",
        description="Choice of demonstrations among the training sentences: random; fixed: the first k; stratified: "
        "every label in turn; bm25, embedding, word_embedding: the most similar to the text, as a whole or by word.",
    )
    pool: tuple[str, ...] = Field(
        default=(),
        description="More demonstrations for prediction: labeled data that is not trained on, for example a few "
        "sentences of a domain that is left out of training. Named as in data.train.",
    )
    embedding_model: str = Field(
        default="minilm-l6",
        description="Encoder whose states are compared, for embedding and word_embedding.",
    )
    loss: Literal["vanilla", "single", "multi"] = Field(
        default="multi",
        description="Target tokens of sift and instruction_tuning: vanilla: the whole prompt; single: the last answer; "
        "multi: every answer, including those of the demonstrations.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Maximum number of tokens of a prompt with its answer. Demonstrations are dropped, the first ones "
        "first, until it fits; default: the limit of the model, at most 2048.",
    )
    prompt_plan: PlanText | None = Field(
        default=None,
        description="Mask plan of the prompt, if it is not causal; the answer is always generated under the "
        "causal mask. "
        "Needs constrained decoding, and loss = 'single' in training.",
    )
    decoding: Literal["constrained", "free"] = Field(
        default="constrained",
        description="constrained: an answer always parses, copies the text exactly and uses known labels; free: "
        "unconstrained decoding.",
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Sampling temperature in free decoding; 0: greedy, each token is the most probable one.",
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Sample from the most probable tokens whose probabilities sum to this value (nucleus sampling).",
    )
    sample_seed: int = Field(
        default=0, ge=0, description="Seed of sampling. The same prompt always gets the same answer."
    )
    num_beams: int = Field(default=1, ge=1, description="Number of beams in constrained decoding.")
    max_answer_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of tokens of an answer in free decoding; default: four times the text plus 32.",
    )

    @field_validator("num_beams")
    @classmethod
    def _beams_are_constrained(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("decoding") == "free":
            raise ValueError("more than one beam needs generative.decoding = 'constrained'")
        return value

    @field_validator("temperature")
    @classmethod
    def _samples_freely(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("decoding") == "constrained":
            raise ValueError("sampling needs generative.decoding = 'free'")
        return value

    @field_validator("top_p", "sample_seed")
    @classmethod
    def _samples(cls, value: float, info: ValidationInfo) -> float:
        if value != cls.model_fields[info.field_name or ""].default and not info.data.get("temperature"):
            raise ValueError("greedy decoding does not sample; set generative.temperature above 0")
        return value

    @field_validator("question")
    @classmethod
    def _holds_the_text(cls, value: str) -> str:
        if value.count("{text}") != 1:
            raise ValueError("must contain {text} exactly once, for example 'Text: {text}'")
        return value

    @field_validator("pool", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("shuffle_labels")
    @classmethod
    def _is_listed(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("instruction"):
            raise ValueError("without an instruction there is no list of labels. Remove it")
        return value
