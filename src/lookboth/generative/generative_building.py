"""Building an untrained generative labeler from a recipe."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lookboth.config import AdapterConfig, GenerativeConfig, RunConfig
from lookboth.errors import ConfigError
from lookboth.generative.generative_config import GenerativeLabelerConfig
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.generative_model import GenerativeModel, bare_backbone
from lookboth.generative.prompt_plan import PromptedLanguageModel
from lookboth.generative.prompts import MAX_TOKENS
from lookboth.masking import MaskPlan, apply_plan
from lookboth.models import default_device, load_language_model, torch_dtype
from lookboth.training import Base, build_base, start_backbone
from lookboth.types import Example

ICL, TUNING = "icl", "instruction_tuning"


def build_generative(
    config: RunConfig,
    *,
    labels: Sequence[str],
    pool: Sequence[Example],
    seed: int,
    device: str | None = None,
    descriptions: Mapping[str, str] = MappingProxyType({}),
) -> GenerativeLabeler:
    """Return the language model of a recipe with its prompts, and an adapter if it will be trained.

    Args:
        config: a recipe with a generative method.
        labels: labels that may be generated.
        pool: sentences for demonstrations.
        seed: seed for random demonstrations.
        device: device of the weights; None for a GPU if there is one.
        descriptions: descriptions of labels by name; those of the recipe come first.

    Raises:
        ConfigError: the model is an encoder, or its context is too short for generative.max_tokens.
    """
    device = device or default_device()
    if config.method == ICL:
        # The adapter kind "head" freezes all weights of the backbone.
        config = config.model_copy(update={"adapter": AdapterConfig(kind="head")})
    base = build_base(config, device=device)
    # Generation needs a causal model; encoders have other plans.
    if not base.plan.is_causal:
        raise ConfigError(f"model = {config.model!r}: an encoder cannot generate text. Name a decoder.")
    settings = _settings(config, base, descriptions)
    if settings.prompt_plan is not None:
        plan = MaskPlan.parse(settings.prompt_plan, base.plan.num_layers)
        apply_plan(base.backbone, plan)
    model = GenerativeModel(base.backbone, _language_model(config, base, device))
    return GenerativeLabeler(
        _labeler_config(config, base, labels, settings), model, base.tokenizer, pool, seed=seed
    )


def _language_model(config: RunConfig, base: Base, device: str) -> PromptedLanguageModel:
    """Return the backbone with its vocabulary head, which is trainable only in full fine-tuning."""
    backbone = bare_backbone(base.backbone)
    model = load_language_model(
        # Full fine-tuning also trains the vocabulary head, so that of a labeler to train further is its own.
        start_backbone(config),
        backbone,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )
    # The children of a language model are its backbone and its vocabulary head.
    for module in model.children():
        if module is not backbone:
            module.requires_grad_(config.adapter.kind == "full")
    return PromptedLanguageModel(model, compute_dtype=torch_dtype(config.training.precision, device))


def _labeler_config(
    config: RunConfig, base: Base, labels: Sequence[str], settings: GenerativeConfig
) -> GenerativeLabelerConfig:
    return GenerativeLabelerConfig(
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


def _settings(config: RunConfig, base: Base, descriptions: Mapping[str, str]) -> GenerativeConfig:
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
    described = {**descriptions, **settings.descriptions}
    # The demonstrations are saved, not the names of their files.
    update: dict[str, Any] = {"max_tokens": longest, "chat": chat, "descriptions": described, "pool": ()}
    if config.method == TUNING:
        update["k"] = 0
        # Without demonstrations "multi", the default, and "single" train on the same tokens.
        if settings.loss == "multi":
            update["loss"] = "single"
    return settings.model_copy(update=update)
