"""The sections of a recipe for one method each: writing labels, adaptation to raw text, plan search."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.allowed_names import AnswerFormat, StrategyName
from lookboth.config.plan_text import CandidateText, PlanText
from lookboth.config.section import Section


class GenerativeConfig(Section):
    """How a model that labels by writing is asked, shown examples, and trained."""

    format: AnswerFormat = Field(
        default="markup",
        description="Answer: pairs (span:type;span:type), tags (a tag a word), markup ([text | LABEL] inside the "
        "text) or json.",
    )
    instruction: bool | str = Field(
        default=True,
        description="true: an instruction made from format and labels; false: none; or your own text, in which "
        "{labels} and {format} are filled in.",
    )
    descriptions: dict[str, str] = Field(
        default_factory=dict, description="What each label means, for the instruction."
    )
    question: str = Field(default="Text: {text}", description="How a text is put to the model.")
    reply: str = Field(
        default="Answer:",
        description="What stands between text and answer where there is no chat template.",
    )
    chat: bool | None = Field(
        default=None, description="Use the tokenizer's chat template; default: where it has one."
    )
    k: int = Field(default=5, ge=0, description="Demonstrations in a prompt; 0 in instruction tuning.")
    demonstrations: Literal["random", "fixed", "stratified", "bm25", "embedding", "word_embedding"] = Field(
        default="random",
        description="Training sentences shown: random; fixed: the first k; stratified: every label in turn; bm25, "
        "embedding, word_embedding: those most like the text, as a whole or word by word.",
    )
    embedding_model: str = Field(
        default="minilm-l6",
        description="Encoder whose states compare sentences, for embedding and word_embedding.",
    )
    loss: Literal["vanilla", "single", "multi"] = Field(
        default="multi",
        description="Tokens that sift and instruction_tuning learn: vanilla: of the whole prompt; single: of the last "
        "answer; multi: of every answer, demonstrations included.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Longest prompt with its answer; demonstrations are left out, the first ones first, until it fits; "
        "default: what the model takes, at most 2048.",
    )
    prompt_plan: PlanText | None = Field(
        default=None,
        description="Mask plan of the prompt, where it is not causal: its tokens see each other, the answer is written "
        "from left to right. Needs constrained decoding, and loss = 'single' in training.",
    )
    decoding: Literal["constrained", "free"] = Field(
        default="constrained",
        description="constrained: an answer always parses, copies exactly and uses known labels; free: what the model "
        "writes by itself.",
    )
    num_beams: int = Field(
        default=1, ge=1, description="Beginnings of an answer under way at once, in constrained decoding."
    )
    max_answer_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Longest answer of free decoding; default: four times the text, and 32.",
    )

    @field_validator("num_beams")
    @classmethod
    def _beams_are_constrained(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("decoding") == "free":
            raise ValueError("more than one beam needs generative.decoding = 'constrained'")
        return value

    @field_validator("question")
    @classmethod
    def _holds_the_text(cls, value: str) -> str:
        if value.count("{text}") != 1:
            raise ValueError("must hold {text} once, for example 'Text: {text}'")
        return value


class AdaptationConfig(Section):
    """Training on raw text before labeling; what is not said here is as in [training]."""

    objective: Literal["mntp", "mlm", "clm"] = Field(
        default="mntp",
        description="mntp: a masked token is predicted from the position before it; mlm: from its own position; "
        "clm: every token from the position before it.",
    )
    text: tuple[str, ...] = Field(
        default=(),
        description="Raw text: .txt files, built-in or labeled data, read without labels; 'source:split' picks "
        "a split; default: the train sentences of the recipe.",
    )
    plan: PlanText | None = Field(
        default=None,
        description="Mask plan of this step; default: causal for clm, else the plan labeling is trained with.",
    )
    epochs: float = Field(default=1, gt=0, allow_inf_nan=False, description="Passes over the text.")
    steps: int | None = Field(
        default=None, ge=1, description="Optimizer steps, however many passes they need; goes before epochs."
    )
    lr: float = Field(default=2e-4, gt=0, allow_inf_nan=False, description="Peak learning rate of this step.")
    batch_tokens: int = Field(default=1024, ge=16, description="Tokens in one batch of this step.")
    mask_share: float = Field(
        default=0.2, gt=0, lt=1, description="Share of tokens to be predicted (mntp and mlm)."
    )
    mask_token: str | None = Field(
        default=None,
        description="Token that stands for a hidden one; default: the tokenizer's mask token, else '_'.",
    )

    @field_validator("text", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class SearchConfig(Section):
    """How the best plan is searched."""

    strategy: StrategyName = Field(
        default="halving",
        description="halving: all candidates begin their training, the better half goes on, and so on; shared: one "
        "training over plans drawn at random, then all are scored on dev; layers: as shared, then layer by layer; "
        "gates: how much each layer sees on its right is trained as well; predictor: one short training of every "
        "candidate, smoothed over layers.",
    )
    candidates: tuple[CandidateText, ...] = Field(
        default=(),
        description="Plans to choose from, as causal+sr1 with sequence repetition; without any and without groups: "
        "0011, 0110, 0111, 0101, of which halving takes as many as the budget is large.",
    )
    groups: int | None = Field(
        default=None,
        ge=1,
        le=8,
        description="Choose from every plan of so many layer groups, where no candidates are named.",
    )
    max_look_ahead: int | None = Field(
        default=None,
        ge=1,
        description="Streaming: candidates may depend on at most so many tokens to the right, over all layers.",
    )
    budget: float = Field(
        default=2.0,
        gt=1,
        description="Cost in ordinary trainings, dev passes and the last training included; at least half of what is "
        "left beside the last one goes into training, however large the dev data.",
    )
    tune_best: int = Field(
        default=0,
        ge=0,
        description="shared: so many of the best plans are trained on from the shared weights, each under its own "
        "mask, and compared again; 0: none.",
    )
    tune_share: float = Field(
        default=0.125, gt=0, le=1, description="shared: how long each of them is, in ordinary trainings."
    )
