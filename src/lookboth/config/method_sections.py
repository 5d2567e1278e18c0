"""Recipe sections of single methods: generative labeling, adaptation to raw text, distillation, plan search."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from lookboth.config.allowed_names import AnswerFormat, StrategyName
from lookboth.config.plan_text import CandidateText, PlanText
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


class AdaptationConfig(Section):
    """Training on raw text before the labeling task; other settings are those of [training]."""

    objective: Literal["mntp", "mlm", "clm", "clm_under_plan"] = Field(
        default="mntp",
        description="mntp: predict masked tokens from the position before; mlm: from their own position; clm: predict "
        "every token from the position before, under a causal plan; clm_under_plan: the same under the plan of "
        "labeling, where positions may attend to the token they predict (tapt clm in the code of llm-unmasking).",
    )
    text: tuple[str, ...] = Field(
        default=(),
        description="Raw text: .txt files, built-in or labeled data, read without labels; 'source:split' selects "
        "a split; default: the train sentences of the recipe.",
    )
    plan: PlanText | None = Field(
        default=None,
        description="Mask plan of this step; default: causal for clm, else the plan used to train the labeling task.",
    )
    epochs: float = Field(default=1, gt=0, allow_inf_nan=False, description="Number of passes over the text.")
    steps: int | None = Field(default=None, ge=1, description="Number of optimizer steps; replaces epochs.")
    lr: float = Field(default=2e-4, gt=0, allow_inf_nan=False, description="Peak learning rate of this step.")
    batch_tokens: int = Field(default=1024, ge=16, description="Number of tokens per batch of this step.")
    blocks: int | None = Field(
        default=None,
        ge=16,
        description="Join all texts, in order, and cut them into blocks of this number of tokens. Texts in a block "
        "attend to each other, and the tokens after the last block are not used; default: one text per example.",
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="best: hold out 5 % of the texts and keep the weights with the lowest loss on them; last: train "
        "on all texts and keep the last weights.",
    )
    mask_share: float = Field(
        default=0.2, gt=0, lt=1, description="Fraction of tokens to predict (mntp and mlm)."
    )
    masking: Literal["bert", "all"] = Field(
        default="bert",
        description="bert: 80 % of the tokens to predict are masked, 10 % replaced by a random token and 10 % "
        "unchanged; all: all are masked (LLM2Vec for Mistral, with mask_share = 0.8).",
    )
    mask_token: str | None = Field(
        default=None,
        description="Token that replaces masked tokens; default: the mask token of the tokenizer, else '_'.",
    )

    @field_validator("text", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class StartConfig(Section):
    """A saved labeler that is trained further."""

    labeler: str = Field(
        min_length=1,
        description="Folder, hub id or shipped name of the labeler to train further. Its model, plan, tags, adapter "
        "and head are continued; new labels are added to the head. With head.kind = 'linear' an open labeler "
        "becomes an ordinary labeler of the labels of the data, which begins at their vectors.",
    )
    rehearsal: tuple[str, ...] = Field(
        default=(),
        description="Earlier training data (or any labeled data with the old labels), of which a random part is added "
        "to the new data, so that less is forgotten.",
    )
    rehearsal_share: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Number of sentences from rehearsal, as a multiple of the number of new sentences.",
    )

    @field_validator("rehearsal", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class DistillConfig(Section):
    """Teachers of a student labeler, texts without labels, and the loss on the tag distributions of the teachers."""

    teachers: tuple[str, ...] = Field(
        min_length=1,
        description="Saved labelers that teach: folder, hub id, 'shipped' or 'fast'. Several must have the same tags; "
        "their probabilities are averaged.",
    )
    texts: tuple[str, ...] = Field(
        default=(),
        description="Text to learn from in addition to data.train: .txt files, JSON lines, built-in or labeled data, "
        "read without labels; 'source:split' selects a split.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides the scores of teacher and student in the soft loss; above 1, tags with a low probability "
        "count more, which needs a longer training.",
    )
    weight: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Weight of the soft loss. The loss on the labels of data.train has the weight 1 - weight.",
    )
    cache: str | None = Field(
        default=None,
        description="Folder of the stored outputs of the teachers, which several runs may share; default: "
        "teacher_outputs in the folder of the run.",
    )
    cache_gb: float = Field(
        default=4.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum size of the outputs of each teacher on disk, in GB.",
    )

    @field_validator("teachers", "texts", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("teachers")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each teacher is allowed only once")
        return value


class SearchConfig(Section):
    """Strategy, candidates and budget of a plan search."""

    strategy: StrategyName = Field(
        default="halving",
        description="halving: successive halving, in which the better half of the candidates resumes training; shared: "
        "one training over randomly drawn plans, then all are scored on dev; layers: as shared, then layer by layer; "
        "gates: how much each layer attends to the right is trained as well; predictor: one short training of every "
        "candidate, smoothed over layers.",
    )
    candidates: tuple[CandidateText, ...] = Field(
        default=(),
        description="Plans to choose from; causal+sr1: with sequence repetition; default without groups: 0011, 0110, "
        "0111, 0101, of which halving uses as many as the budget allows.",
    )
    groups: int | None = Field(
        default=None,
        ge=1,
        le=8,
        description="Choose from all plans of this number of layer groups, if no candidates are named.",
    )
    max_look_ahead: int | None = Field(
        default=None,
        ge=1,
        description="Streaming: maximum number of tokens to the right that a state may depend on, summed over layers.",
    )
    budget: float = Field(
        default=2.0,
        gt=1,
        description="Cost in units of one ordinary training, including dev passes and the final training. At "
        "least half "
        "of the cost before the final training is spent on training, regardless of the size of the dev data.",
    )
    tune_best: int = Field(
        default=0,
        ge=0,
        description="shared: number of best plans that are fine-tuned from the shared weights, each under its own "
        "mask, and compared again; 0: none.",
    )
    tune_share: float = Field(
        default=0.125,
        gt=0,
        le=1,
        description="shared: length of each fine-tuning, as a fraction of an ordinary training.",
    )
