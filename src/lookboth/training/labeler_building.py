"""Building an untrained labeler from a recipe: backbone under the plan, adapter, fresh head."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from lookboth.compat import checkpoints_in_old_format
from lookboth.config import WITH_HEAD, RunConfig
from lookboth.data import LabelText, join_label_texts, nested_tags, tags_for_labels
from lookboth.errors import ConfigError
from lookboth.labelers import Labeler, LabelerConfig, LabelVectors, check_special_tokens
from lookboth.masking import MaskPlan, is_stock, max_positions, steady_positions
from lookboth.models import (
    LabelerModel,
    default_device,
    fingerprint,
    load_backbone,
    load_saved_tokenizer,
    load_tokenizer,
    plan_as_made,
    takes_plans,
    torch_dtype,
    use_plan,
)
from lookboth.models.heads import OpenHead
from lookboth.training.adapters import add_adapter
from lookboth.training.batches import word_encoding
from lookboth.training.continuation import (
    fixed_labels,
    fixes_labels,
    log_labels,
    require_own_base,
    start_adapter,
    start_backbone,
    start_config,
    start_folder,
    start_head,
)


class Base(NamedTuple):
    """The base model of a labeler.

    Args:
        backbone: the backbone under the plan of training, with its adapter.
        tokenizer: tokenizer of the backbone.
        plan: plan of prediction.
        fingerprint: fingerprint of the stock weights.
    """

    backbone: Any
    tokenizer: Any
    plan: MaskPlan
    fingerprint: str


def build_base(config: RunConfig, *, device: str | None = None) -> Base:
    """Return backbone and tokenizer of a recipe, under the plan of training and with a fresh adapter.

    Args:
        config: a recipe.
        device: device of the weights; None for a GPU if there is one.
    """
    device = device or default_device()
    kind = config.adapter.kind
    backbone = load_backbone(
        start_backbone(config),
        # Weights that are trained directly are kept in fp32, because small updates would be lost in bf16.
        precision="fp32" if kind == "full" else config.training.precision,
        device=device,
        attn_implementation=config.attn_implementation,
        four_bit=kind == "qlora",
        double_quant=config.adapter.double_quant,
        num_layers=config.exit_layer,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )
    tokenizer = _tokenizer(config)
    check_backbone(backbone, tokenizer, config)
    plan = _plan(backbone, config)
    # Before the adapter is added, so that the fingerprint is that of the stock weights.
    base_fingerprint = fingerprint(backbone)
    use_plan(backbone, plan)
    if config.train_plan is not None:
        use_plan(backbone, config.train_plan)
    _check_layout(backbone, config)
    require_own_base(config, base_fingerprint)
    backbone = add_adapter(backbone, config.adapter, trained=start_adapter(config))
    if config.training.gradient_checkpointing:
        _checkpoint_gradients(backbone)
    return Base(backbone, tokenizer, plan, base_fingerprint)


def _plan(backbone: Any, config: RunConfig) -> MaskPlan:
    """Return the plan of a recipe.

    Without one, a decoder that is trained to label words attends to both sides in the upper half of its layers. Others
    keep their mask: encoders, models of whole or repeated texts, and frozen decoders, whose states unmasking alone
    would spoil.
    """
    made = plan_as_made(backbone)
    if config.plan is not None:
        return MaskPlan.parse(config.plan, made.num_layers)
    learns = config.method in WITH_HEAD and config.adapter.kind != "head"
    if not learns or config.task != "labeling" or config.repetition or not made.is_causal:
        return made
    if made.num_layers < 2 or not takes_plans(backbone):
        return made
    return MaskPlan.parse(f"top:{made.num_layers // 2}", made.num_layers)


def build_labeler(
    config: RunConfig, *, labels: Sequence[str], label_texts: Sequence[str] = (), device: str | None = None
) -> Labeler:
    """Return an untrained labeler: backbone under the plan of training, adapter, fresh head.

    Its configuration has the plan of prediction; use `under_plan` to apply it temporarily.

    Args:
        config: a recipe.
        labels: labels of the head.
        label_texts: the same as "name" or "name: description", for an open head.
        device: device of the weights; None for a GPU if there is one.
    """
    device = device or default_device()
    start = start_config(config)
    if start is not None and fixes_labels(config):
        opened = config.model_copy(update={"head": config.head.model_copy(update={"kind": "open"})})
        fixed = fixed_labels(config, labels)
        return build_labeler(opened, labels=start.labels, device=device).with_labels(
            [*map(LabelText.parse, fixed)]
        )
    base = build_base(config, device=device)
    # A continued labeler keeps its labels and the way its words are tokenized.
    if start is not None:
        log_labels(start.labels, labels)
        labels = sorted({*labels, *start.labels})
        label_texts = join_label_texts([*(start.known_labels if start.is_open else ()), *label_texts])
    of_texts = config.task == "classification"
    labeler_config = LabelerConfig(
        base=config.model,
        revision=config.revision,
        fingerprint=base.fingerprint,
        plan=base.plan,
        task=config.task,
        tags=_tags(labels, config),
        scheme="plain" if of_texts else config.tag_scheme,
        label_on=config.label_on,
        encoding=word_encoding(config, base.tokenizer),
        adapter=config.adapter.kind,
        double_quant=config.adapter.double_quant,
        head=config.head,
        exit_layer=config.exit_layer,
        label_texts=tuple(label_texts),
        max_tokens=config.max_tokens,
        overlap=config.overlap,
        context=config.context,
    )
    check_special_tokens(labeler_config, base.backbone, f"model {config.model!r}: its tokenizer")
    model = LabelerModel(
        base.backbone,
        labeler_config,
        dropout=config.training.head_dropout,
        compute_dtype=torch_dtype(config.training.precision, device),
    )
    labeler = Labeler(labeler_config, model, base.tokenizer)
    _begin_head(labeler, config)
    return labeler


def _begin_head(labeler: Labeler, config: RunConfig) -> None:
    """Set the initial weights of the head: those of [start], or similarities with the labels of an open labeler."""
    head = labeler.model.head
    start_head(head, config)
    if config.start is None and isinstance(head, OpenHead):
        forms = [form for label in labeler.config.known_labels for form in LabelText.parse(label).forms()]
        head.begin_as_similarity(LabelVectors(labeler.model, labeler.encoder, labeler.config).of(forms))


def _tags(labels: Sequence[str], config: RunConfig) -> tuple[str, ...]:
    """Return the tag of each output of the head."""
    if config.task == "classification":
        return tuple(labels)
    if config.head.kind == "nested":
        return nested_tags(labels, config.head.depth)
    return tags_for_labels(labels, config.scheme)


def _tokenizer(config: RunConfig) -> Any:
    """Return the tokenizer of the model, or of the labeler that is trained further."""
    if config.start is not None:
        return load_saved_tokenizer(start_folder(config), config.model)
    return load_tokenizer(config.model, revision=config.revision, trust_remote_code=config.trust_remote_code)


def check_backbone(backbone: Any, tokenizer: Any, config: RunConfig) -> None:
    """Refuse settings that this backbone does not support.

    Raises:
        ConfigError: `max_tokens` exceeds the model's positions, packed rows without position ids, or gradient
            checkpointing in a model without it.
    """
    _check_positions(backbone, tokenizer, config)
    if config.training.gradient_checkpointing and not backbone.supports_gradient_checkpointing:
        raise ConfigError(
            f"training.gradient_checkpointing = true: {type(backbone).__name__} does not support it in transformers. "
            "Set it to false."
        )
    takes = inspect.signature(type(backbone).forward).parameters
    if config.training.layout == "packed" and "position_ids" not in takes:
        raise ConfigError(
            f"training.layout = 'packed': {type(backbone).__name__} takes no position ids, so it could not "
            "separate the texts. Set training.layout = 'bucketed'."
        )


def _check_layout(backbone: Any, config: RunConfig) -> None:
    if config.training.layout == "packed" and is_stock(backbone):
        raise ConfigError(
            f"training.layout = 'packed': {type(backbone).__name__} takes no mask plan, and without one packed "
            "texts would attend to each other. Set training.layout = 'bucketed'."
        )


def _check_positions(backbone: Any, tokenizer: Any, config: RunConfig) -> None:
    """Refuse inputs longer than the positions of the model; with sequence repetition every copy counts."""
    table, steady = max_positions(backbone), steady_positions(backbone.config.get_text_config())
    longest = min((limit for limit in (table, steady) if limit is not None), default=None)
    if longest is None:
        return
    why = f"{config.model} has positions for {longest} tokens"
    if longest == steady:
        why = f"the RoPE of {config.model} changes with the longest text of a batch beyond {longest} tokens"
    blocks = config.adaptation.blocks if config.adaptation is not None else None
    if blocks is not None and blocks > longest:
        raise ConfigError(f"adaptation.blocks = {blocks}: {why}. Set adaptation.blocks = {longest}.")
    # Every copy of the words takes its own positions.
    most = word_encoding(config, tokenizer).longest_text(longest)
    if config.max_tokens > most:
        repeated, other = "", ""
        if config.repetition:
            repeated, other = f" with repetition = {config.repetition}", ", or a lower repetition"
        raise ConfigError(
            f"max_tokens = {config.max_tokens}{repeated}: {why}. "
            f"Set max_tokens = {most}{other}; longer texts are cut into windows and every word is labeled."
        )


def _checkpoint_gradients(backbone: Any) -> None:
    """Enable gradient checkpointing in the layers that support it."""
    backbone.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    # transformers makes the embeddings require a gradient so that reentrant checkpointing reaches frozen layers. The
    # other kind does not need that and would waste a backward pass through frozen layers. Modeling files of the old
    # format always use the reentrant kind.
    if not checkpoints_in_old_format(backbone):
        backbone.disable_input_require_grads()
