"""The run configuration: what a recipe file may say, checked before anything is loaded."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lookboth.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
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

    @field_validator("train", "dev", "test", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class AdapterConfig(_Section):
    """Which weights are trained."""

    kind: Literal["full", "lora", "qlora", "head"] = Field(
        default="lora",
        description="full: all weights; lora; qlora: lora over a 4-bit backbone; head: only the head.",
    )
    rank: int = Field(default=16, ge=1, description="LoRA rank r.")
    alpha: int = Field(default=32, gt=0, description="LoRA alpha; the update is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of each LoRA pair.")
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        default="all-linear", description="Names of the linear layers that get a LoRA pair."
    )
    start_from: str | None = Field(
        default=None, description="A saved adapter folder to start from instead of a fresh adapter."
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) and value != "all-linear" else value


class TrainConfig(_Section):
    """How the weights are trained."""

    epochs: float = Field(default=3, gt=0, allow_inf_nan=False, description="Passes over the training data.")
    lr: float = Field(
        default=1e-3,
        gt=0,
        allow_inf_nan=False,
        description="Peak learning rate of adapter (or backbone) and head.",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Learning rate after warm-up."
    )
    warmup: float = Field(default=0.06, ge=0, lt=1, description="Share of all steps spent warming up.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay.")
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    batch_tokens: int = Field(default=1024, ge=16, description="Tokens in one batch.")
    accumulation: int = Field(default=1, ge=1, description="Batches summed into one optimizer step.")
    layout: Literal["bucketed", "packed"] = Field(
        default="bucketed",
        description="bucketed: rows of nearly one length; packed: many sentences in one row.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="Arithmetic; auto: bf16 where the device computes in it natively."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Less memory for about a third more time."
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
        if len(set(value)) < len(value):
            raise ValueError("each seed may be named once")
        return value


class HeadConfig(_Section):
    """What turns word states into tags; saved with a labeler."""

    kind: str = Field(
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
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="multi_label: a text gets the labels at least this probable."
    )

    def __str__(self) -> str:
        """Return one readable phrase."""
        return f"{self.kind} on {'a mix of all layers' if self.layers == 'mix' else 'the last layer'}"


class GenerativeConfig(_Section):
    """How a model that labels by writing is asked, shown examples, and trained."""

    format: Literal["pairs", "tags", "markup", "json"] = Field(
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
    demonstrations: Literal["random", "fixed", "stratified", "bm25", "embedding"] = Field(
        default="random",
        description="Training sentences shown: random; fixed: the first k; stratified: every label in turn; bm25, "
        "embedding: those most like the text.",
    )
    embedding_model: str = Field(
        default="minilm-l6", description="Encoder whose mean state compares sentences for embedding."
    )
    loss: Literal["vanilla", "single", "multi"] = Field(
        default="multi",
        description="Tokens SIFT learns: vanilla: of the whole prompt; single: of the last answer; multi: of every "
        "answer, demonstrations included.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Longest prompt with its answer; demonstrations are left out, the first ones first, until it fits; "
        "default: what the model takes, at most 2048.",
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


class AdaptationConfig(_Section):
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
    plan: str | None = Field(
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

    @field_validator("plan", mode="before")
    @classmethod
    def _plan_is_text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value


class RunConfig(_Section):
    """One training setting: model, mask plan, data, adapter and training."""

    task: Literal["labeling", "classification"] = Field(
        default="labeling", description="What has labels: words (labeling) or whole texts (classification)."
    )
    model: str = Field(default="smollm2-135m", description="Hub id, folder, or a built-in name.")
    revision: str | None = Field(default=None, description="Hub revision of the model.")
    trust_remote_code: bool = Field(default=False, description="Allow the model's own code to run.")
    attn_implementation: str | None = Field(
        default=None, description="Attention backend: sdpa, eager, flex_attention, flash_attention_2."
    )
    plan: str | None = Field(
        default=None,
        description="Mask plan: causal, full, middle, 0011, top:8, 8-31 or one reach a group; default: as the "
        "model was made, causal for a decoder, full for an encoder.",
    )
    train_plan: str | None = Field(
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
        le=16,
        description="Sequence repetition: the words are put in this many times more; the last copy is labeled.",
    )
    scheme: Literal["IOB2", "IOBES", "plain"] = Field(
        default="IOB2",
        description="Tag scheme the head learns; plain: one label a word (POS). Whole texts have none.",
    )
    label_on: Literal["first", "last", "mean", "max"] = Field(
        default="last",
        description="Token of a word (of a whole text) whose state is labeled; mean: the average of all; max: the "
        "largest value in each dimension.",
    )
    max_tokens: int = Field(
        default=512,
        ge=32,
        description="Longer inputs are cut into windows; every word is labeled once, a whole text by the average "
        "of its windows.",
    )
    overlap: int = Field(
        default=64,
        ge=0,
        validate_default=True,
        description="Context tokens on each inner side of a window; less than half of max_tokens.",
    )
    method: str = Field(
        default="classifier",
        description="classifier: a head over the states of words, or of the whole text; sift, instruction_tuning, "
        "icl (no training): the model writes the labels, see [generative].",
    )
    study: dict[str, str] | None = Field(
        default=None, description="The run's place in a study; written by `lookboth study`."
    )
    data: DataConfig = Field(description="Where the data is.")
    head: HeadConfig = Field(default_factory=HeadConfig, description="What turns word states into tags.")
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
    def _several_labels_are_of_texts(cls, value: HeadConfig, info: ValidationInfo) -> HeadConfig:
        if value.kind == "multi_label" and info.data.get("task") != "classification":
            raise ValueError("a word has one tag; multi_label needs task = 'classification'")
        return value

    @field_validator("adaptation")
    @classmethod
    def _something_can_be_adapted(
        cls, value: AdaptationConfig | None, info: ValidationInfo
    ) -> AdaptationConfig | None:
        if value is not None and "adapter" in info.data and info.data["adapter"].kind == "head":
            raise ValueError("adapter.kind = 'head' leaves nothing to adapt; set lora, qlora or full")
        return value

    @field_validator("plan", "train_plan", mode="before")
    @classmethod
    def _plan_is_text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value  # TOML and --set read 1100 as a number

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.model_dump(mode="json")


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe (TOML) and the `key=value` overrides laid over it.

    Raises:
        ConfigError: not TOML, an unknown key, or a value outside its range; all of them in one message.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such recipe. The shipped ones are in the folder recipes/.") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}.") from error
    return parse_config(values, overrides, where=str(path))


def parse_config(
    values: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "configuration"
) -> RunConfig:
    """Check a nested mapping of settings.

    >>> parse_config({"data": {"train": "wnut17"}}, ["training.lr=2e-4"]).training.lr
    0.0002
    """
    merged = overlay(values)
    for override in overrides:
        _set(merged, override)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        raise ConfigError(f"{where}: " + "\n  ".join(lines)) from None


def overlay(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings laid over each other, the last one on top.

    >>> overlay({"plan": "causal", "training": {"lr": 1, "epochs": 2}}, {"training": {"lr": 3}})
    {'plan': 'causal', 'training': {'lr': 3, 'epochs': 2}}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping):
                value = overlay(below, value) if isinstance(below, Mapping) else overlay(value)
            result[key] = value
    return result


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with dotted keys as nested ones.

    >>> nest({"training.lr": 1, "plan": "full"})
    {'training': {'lr': 1}, 'plan': 'full'}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        result = overlay(result, value)
    return result


def document_keys() -> list[tuple[str, str, str]]:
    """Return (key, default, description) for every key a recipe may hold, in order."""
    return list(_walk(RunConfig, ""))


def _walk(section: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, field in section.model_fields.items():
        inner = next((t for t in (field.annotation, *get_args(field.annotation)) if _is_section(t)), None)
        if inner is not None:
            rows += _walk(inner, f"{prefix}{name}.")
        else:
            default = (
                "(required)" if field.is_required() else repr(field.get_default(call_default_factory=True))
            )
            rows.append((prefix + name, default, field.description or ""))
    return rows


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _set(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {override!r}: expected key=value, for example --set training.epochs=2")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word needs no quotes
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is a single value, not a section.")
    values[last] = value


def _explain(detail: Any) -> str:
    # Besides keys, places hold list positions and, for a key of several types, the type that was tried.
    key = ".".join(part for part in detail["loc"] if isinstance(part, str) and "[" not in part)
    if detail["type"] == "extra_forbidden":
        known = [name for name, _, _ in document_keys()]
        close = _closest(key, known)
        return (
            f"unknown key {key!r}."
            + (f" Did you mean {close!r}?" if close else "")
            + " Keys: docs/recipes.md."
        )
    if detail["type"] == "missing":
        return f"{key!r} is missing; for example train = 'wnut17' in the section [data]."
    if detail["type"] == "model_type":
        return f"{key} = {detail.get('input')!r}: expected a section [{key}] of keys. Keys: docs/recipes.md."
    if detail["type"] == "too_short":
        return f"{key} = {detail.get('input')!r}: at least one is needed."
    message = detail["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{key} = {detail.get('input')!r}: {message[0].lower()}{message[1:]}."


def _closest(key: str, known: Sequence[str]) -> str | None:
    """Return the known key or section whose last part is spelled most alike."""
    from difflib import get_close_matches

    sections = {name.partition(".")[0]: name.partition(".")[0] for name in known}
    section = key.rpartition(".")[0]
    # Of keys of one name that in the section at hand is meant, else the first.
    here = [name for name in known if name.rpartition(".")[0] == section]
    leaves = sections | {name.rpartition(".")[2]: name for name in [*known[::-1], *here]}
    matches = get_close_matches(key.rpartition(".")[2], list(leaves), n=1, cutoff=0.6)
    return leaves[matches[0]] if matches else None
