"""Building an untrained generative labeler from a recipe."""

from collections.abc import Sequence
from typing import Any

from lookboth.config import AdapterConfig, GenerativeConfig, RunConfig
from lookboth.errors import ConfigError
from lookboth.generative.generative_config import GenerativeLabelerConfig
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.generative_model import GenerativeModel, bare_backbone
from lookboth.generative.prompt_plan import PromptedLanguageModel, parse_prompt_plan
from lookboth.generative.prompts import MAX_TOKENS
from lookboth.masking import apply_plan
from lookboth.models import default_device, load_language_model, torch_dtype
from lookboth.training import Base, build_base
from lookboth.types import Example

ICL, TUNING = "icl", "instruction_tuning"


def build_generative(
    config: RunConfig, *, labels: Sequence[str], pool: Sequence[Example], seed: int, device: str | None = None
) -> GenerativeLabeler:
    """Return the language model of a recipe with its prompts, and an adapter if it will be trained.

    Args:
        config: a recipe with a generative method.
        labels: labels that may be generated.
        pool: training sentences for demonstrations.
        seed: seed for random demonstrations.
        device: device of the weights; None for a GPU if there is one.

    Raises:
        ConfigError: settings that a generative labeler does not support.
    """
    check_settings(config)
    device = device or default_device()
    if config.method == ICL:
        # The adapter kind "head" freezes all weights of the backbone.
        config = config.model_copy(update={"adapter": AdapterConfig(kind="head")})
    base = build_base(config, device=device)
    if not base.plan.is_causal:
        raise ConfigError(f"model = {config.model!r}: an encoder cannot generate text. Name a decoder.")
    settings = _settings(config, base)
    if settings.prompt_plan is not None:
        loss = None if config.method == ICL else settings.loss
        plan = parse_prompt_plan(
            settings.prompt_plan, base.plan.num_layers, loss=loss, decoding=settings.decoding
        )
        apply_plan(base.backbone, plan)
    language = PromptedLanguageModel(
        load_language_model(
            config.model,
            bare_backbone(base.backbone),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
        ),
        compute_dtype=torch_dtype(config.training.precision, device),
    )
    for module in language.model.children():
        if module is not bare_backbone(base.backbone):  # the vocabulary head
            module.requires_grad_(config.adapter.kind == "full")
    labeler_config = GenerativeLabelerConfig(
        base=config.model,
        revision=config.revision,
        fingerprint=base.fingerprint,
        labels=tuple(labels),
        scheme=config.scheme,
        generative=settings,
        adapter="none" if config.method == ICL else config.adapter.kind,
        double_quant=config.adapter.double_quant,
        exit_layer=config.exit_layer,
        max_tokens=config.max_tokens,
    )
    model = GenerativeModel(base.backbone, language)
    return GenerativeLabeler(labeler_config, model, base.tokenizer, pool, seed=seed)


def check_settings(config: RunConfig) -> None:
    """Refuse settings that only a labeler with a head supports.

    Raises:
        ConfigError: with the setting to change.
    """
    refused = {
        "task": (config.task != "labeling", "generative methods do not label whole texts"),
        "repetition": (
            config.repetition > 0,
            "a decoder generates after it has read the whole text; leave it out",
        ),
        "truncate": (config.truncate, "long texts are split into parts; leave it out"),
        "training.choose_by": (
            config.training.choose_by == "loss",
            "dev data is scored by the generated answers; leave it out",
        ),
        "training.head_lr": (
            config.training.head_lr is not None,
            "there is no head over hidden states; leave it out",
        ),
        "plan": (
            config.plan not in {None, "causal"} or config.train_plan not in {None, "causal"},
            "a generating model is causal; leave it out",
        ),
        "adaptation": (config.adaptation is not None, "adapt first (lookboth adapt) and name the result"),
        "adapter.start_from": (
            config.adapter.start_from is not None and config.method == ICL,
            "nothing is trained and no adapter is used; leave it out",
        ),
        "adapter.kind": (
            config.adapter.kind == "head" and config.method != ICL,
            "there is no head to train; set lora, qlora or full, or method = 'icl'",
        ),
    }
    for key, (is_set, why) in refused.items():
        if is_set:
            raise ConfigError(f"{key} cannot be used with method = {config.method!r}: {why}.")


def _settings(config: RunConfig, base: Base) -> GenerativeConfig:
    """Return the section [generative] adjusted to the method, with the maximum prompt length of the model."""
    settings = config.generative
    limit = getattr(base.backbone.config.get_text_config(), "max_position_embeddings", None)
    if settings.max_tokens and limit and settings.max_tokens > limit:
        raise ConfigError(
            f"generative.max_tokens = {settings.max_tokens}: {config.model} takes {limit} tokens. "
            f"Set generative.max_tokens = {limit}, or leave it out."
        )
    longest = settings.max_tokens or min(MAX_TOKENS, limit or MAX_TOKENS)
    chat = bool(base.tokenizer.chat_template) if settings.chat is None else settings.chat
    update: dict[str, Any] = {"max_tokens": longest, "chat": chat}
    if config.method == TUNING:
        update["k"] = 0
        # Without demonstrations "multi", the default, and "single" train on the same tokens.
        if settings.loss == "multi":
            update["loss"] = "single"
    return settings.model_copy(update=update)
