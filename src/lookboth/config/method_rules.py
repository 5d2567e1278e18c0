"""Combinations of settings that a method does not support; checked before data or a model are read."""

from lookboth.config.allowed_names import MethodName
from lookboth.config.recipe import RunConfig
from lookboth.errors import ConfigError

# Methods that train a head. Only these adapt to raw text first and cache the states of frozen layers.
WITH_HEAD: frozenset[MethodName] = frozenset({"classifier", "search", "distill"})
# Methods whose labelers write their labels as text.
GENERATIVE_METHODS: frozenset[MethodName] = frozenset({"sift", "instruction_tuning", "icl"})

# Heads that can learn from tag distributions of single words.
_TEACHABLE = ("linear", "context_gate")


def require_supported(config: RunConfig) -> None:
    """Check that the method of a recipe supports its other settings.

    These rules are not part of parsing: `lookboth adapt` takes any recipe with a section [adaptation], with
    any method.

    Raises:
        ConfigError: with the setting to change.
    """
    _check_distillation(config)
    _check_annotated(config)
    _check_folds(config)
    if config.method in WITH_HEAD:
        return
    refused = (
        _of_words_only(config) | _of_heads_only(config) | _of_training_only(config) | _of_prompts(config)
    )
    for key, (is_set, why) in refused.items():
        if is_set:
            raise ConfigError(f"{key} cannot be used with method = {config.method!r}: {why}.")
    if config.generative.prompt_plan is not None:
        _check_prompt_plan(config)


def _of_words_only(config: RunConfig) -> dict[str, tuple[bool, str]]:
    plans = {config.plan, config.train_plan}
    return {
        "task": (config.task != "labeling", "generative methods do not label whole texts"),
        "repetition": (
            config.repetition > 0,
            "a decoder generates after it has read the whole text; leave it out",
        ),
        "context": (bool(config.context), "a prompt has one text; leave it out"),
        "leading_space": (not config.leading_space, "prompts are tokenized as text; leave it out"),
        "data.splitter": (config.data.splitter is not None, "it is saved with labelers that have a head"),
        "data.upper_case": (config.data.upper_case > 0, "answers repeat the text as it is; leave it out"),
        "data.lower_case": (config.data.lower_case > 0, "answers repeat the text as it is; leave it out"),
        "truncate": (config.truncate, "long texts are split into parts; leave it out"),
        "plan": (not plans <= {None, "causal"}, "a generating model is causal; leave it out"),
    }


def _of_heads_only(config: RunConfig) -> dict[str, tuple[bool, str]]:
    return {
        "data.annotated": (
            bool(config.data.annotated) and not config.generative.open_labels,
            "an answer has all labels or none; leave it out, or set generative.open_labels = true",
        ),
        "training.choose_by": (
            config.training.choose_by == "loss",
            "dev data is scored by the generated answers; leave it out",
        ),
        "training.head_lr": (
            config.training.head_lr is not None,
            "there is no head over hidden states; leave it out",
        ),
        "head.kind": (
            config.head.kind == "nested",
            "answers have spans that do not overlap; set method = 'classifier'",
        ),
        "training.cache_frozen": (
            config.training.cache_frozen is True,
            "only labelers with a head cache states; leave it out",
        ),
    }


def _of_training_only(config: RunConfig) -> dict[str, tuple[bool, str]]:
    trains = config.method != "icl"
    return {
        "adaptation": (
            config.adaptation is not None,
            "type lookboth adapt RECIPE --out DIR, and set adapter.start_from = DIR here",
        ),
        "adapter.start_from": (
            config.adapter.start_from is not None and not trains,
            "nothing is trained and no adapter is used; leave it out",
        ),
        "adapter.kind": (
            config.adapter.kind == "head" and trains,
            "there is no head to train; set lora, qlora or full, or method = 'icl'",
        ),
    }


def _of_prompts(config: RunConfig) -> dict[str, tuple[bool, str]]:
    section, is_icl = config.generative, config.method == "icl"
    shows = section.k > 0 and config.method != "instruction_tuning"
    return {
        "generative.pool": (
            bool(section.pool) and not shows,
            "its prompts have no demonstrations; leave it out",
        ),
        "generative.descriptions": (
            bool(section.descriptions) and section.open_labels,
            "with generative.open_labels the descriptions are in [labels]; move them there",
        ),
        "generative.shuffle_labels": (section.shuffle_labels and is_icl, "nothing is trained; leave it out"),
        "generative.rename_labels": (
            section.rename_labels > 0 and is_icl,
            "nothing is trained; leave it out",
        ),
        "labels": (
            bool(config.labels) and not section.open_labels,
            "its prompts have the descriptions of generative.descriptions; set generative.open_labels = true, or "
            "move them there",
        ),
    }


def _check_distillation(config: RunConfig) -> None:
    section, head = config.distill, config.head.kind
    if section is None:
        if config.method == "distill":
            raise ConfigError(
                "method = 'distill' needs teachers. Set for example distill.teachers = ['FOLDER']."
            )
        return
    if config.method != "distill":
        raise ConfigError(
            f"method = {config.method!r} with the section [distill]: its method is 'distill'. Remove one of both."
        )
    if not section.texts and not config.data.train:
        raise ConfigError("no text to distill on. Set distill.texts, data.train or both.")
    if head not in _TEACHABLE:
        raise ConfigError(
            f"head.kind = {head!r}: the soft loss needs a head that predicts one tag per word independently. "
            f"Allowed are {', '.join(_TEACHABLE)}. A teacher may have any head with one label per word or text."
        )


def _check_annotated(config: RunConfig) -> None:
    """Check that the loss can leave open which label a word or text has."""
    training, head = config.training, config.head.kind
    if not config.data.annotated:
        return
    if config.task == "classification" and head != "multi_label":
        raise ConfigError(
            "data.annotated: a text has exactly one label, so each source annotates all of them. Leave it out, or set "
            "head.kind = 'multi_label'."
        )
    if head in {"open", "multi_label", "nested"}:
        return
    if training.class_weights != "none" or training.label_smoothing:
        raise ConfigError(
            "data.annotated cannot be used with training.class_weights or training.label_smoothing: both need the one "
            "right tag of each word. Leave them out."
        )


def _check_folds(config: RunConfig) -> None:
    if config.training.folds is not None and config.method != "classifier":
        raise ConfigError(
            f"training.folds cannot be used with method = {config.method!r}. Name dev data: data.dev."
        )


def _check_prompt_plan(config: RunConfig) -> None:
    section = config.generative
    # Without demonstrations (instruction_tuning) "multi" and "single" train on the same tokens.
    allowed = {"sift": {"single"}, "instruction_tuning": {"single", "multi"}}
    if section.loss not in allowed.get(config.method, {section.loss}):
        raise ConfigError(
            f"generative.prompt_plan with generative.loss = {section.loss!r}: tokens of the prompt would attend to the "
            "tokens that they predict. Set generative.loss = 'single'."
        )
    if section.decoding != "constrained":
        raise ConfigError("generative.prompt_plan needs generative.decoding = 'constrained'.")
