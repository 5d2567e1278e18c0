"""An untrained generative labeler from a recipe."""

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
    """Return the language model of a recipe with its prompts, and an adapter where it is to be trained.

    Args:
        config: a recipe whose method writes labels.
        labels: what may be written.
        pool: training sentences, for demonstrations.
        seed: of those that are drawn.
        device: where; a GPU where there is one when None.

    Raises:
        ConfigError: settings that a generative labeler cannot have.
    """
    check_settings(config)
    device = device or default_device()
    if config.method == ICL:
        config = config.model_copy(update={"adapter": AdapterConfig(kind="head")})  # freezes everything
    base = build_base(config, device=device)
    if not base.plan.is_causal:
        raise ConfigError(f"model = {config.model!r}: an encoder cannot write. Name a decoder.")
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
    """Refuse what only a labeler with a head can have.

    Raises:
        ConfigError: with what to change.
    """
    refused = {
        "task": (config.task != "labeling", "whole texts are not labeled by writing"),
        "repetition": (
            config.repetition > 0,
            "a decoder that writes has read the text already; leave it out",
        ),
        "truncate": (config.truncate, "long texts are asked for in parts; leave it out"),
        "training.choose_by": (
            config.training.choose_by == "loss",
            "dev data is scored by what is written; leave it out",
        ),
        "training.head_lr": (
            config.training.head_lr is not None,
            "there is no head over states; leave it out",
        ),
        "plan": (
            config.plan not in {None, "causal"} or config.train_plan not in {None, "causal"},
            "a model that writes is causal; leave it out",
        ),
        "adaptation": (config.adaptation is not None, "adapt first (lookboth adapt) and name the result"),
        "adapter.start_from": (
            config.adapter.start_from is not None and config.method == ICL,
            "nothing is trained, and no adapter is put on; leave it out",
        ),
        "adapter.kind": (
            config.adapter.kind == "head" and config.method != ICL,
            "there is no head to train; set lora, qlora or full, or method = 'icl'",
        ),
    }
    for key, (wrong, why) in refused.items():
        if wrong:
            raise ConfigError(f"{key} does not go with method = {config.method!r}: {why}.")


def _settings(config: RunConfig, base: Base) -> GenerativeConfig:
    """Return the section [generative] as the method means it, with the longest prompt the model takes."""
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
        if settings.loss == "multi":  # the default; one answer is the last and every answer
            update["loss"] = "single"
    return settings.model_copy(update=update)
