"""Recipe sections of single methods: adaptation to raw text, training further, distillation, plan search."""

from typing import Any, Literal

from pydantic import Field, field_validator

from lookboth.config.allowed_names import StrategyName
from lookboth.config.plan_text import CandidateText, PlanText
from lookboth.config.section import Section


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
        description="best: hold out 5 % of the texts, at least 20, and keep the weights with the lowest loss on them; "
        "with fewer than 80 texts as last. last: train on all texts and keep the last weights.",
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
        description="Saved labelers that teach: folder, hub id, 'shipped', 'fast' or 'turbo'. Several must have the "
        "same tags; their probabilities are averaged.",
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
