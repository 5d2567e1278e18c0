"""An untrained labeler from a recipe: backbone under the plan, adapter, fresh head."""

from collections.abc import Sequence

from lookboth.config import RunConfig
from lookboth.data.alignment import WordEncoder
from lookboth.data.schemes import tags_for_labels
from lookboth.masking.attention import apply_plan
from lookboth.masking.plan import MaskPlan
from lookboth.models.labeler import Labeler, LabelerModel
from lookboth.models.labeler_config import LabelerConfig
from lookboth.models.loading import default_device, fingerprint, load_backbone, load_tokenizer, torch_dtype
from lookboth.training.adapters import add_adapter


def build_labeler(config: RunConfig, *, labels: Sequence[str], device: str | None = None) -> Labeler:
    """Return an untrained labeler: backbone under the plan, adapter, fresh head.

    Args:
        config: a recipe.
        labels: what the head can say.
        device: where; a GPU where there is one when None.
    """
    device = device or default_device()
    compute_dtype = torch_dtype(config.training.precision, device)
    kind = config.adapter.kind
    backbone = load_backbone(
        config.model,
        # Weights that are trained themselves are kept in fp32; small updates would vanish in bf16.
        precision="fp32" if kind == "full" else config.training.precision,
        device=device,
        attn_implementation=config.attn_implementation,
        four_bit=kind == "qlora",
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )
    tokenizer = load_tokenizer(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code
    )
    num_layers = backbone.config.get_text_config().num_hidden_layers
    plan = MaskPlan.parse(config.plan, num_layers)
    base_fingerprint = fingerprint(backbone)
    apply_plan(backbone, plan)
    backbone = add_adapter(backbone, config.adapter)
    if config.training.gradient_checkpointing:
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    tags = tags_for_labels(labels, config.scheme)
    model = LabelerModel(
        backbone,
        len(tags),
        label_on=config.label_on,
        dropout=config.training.head_dropout,
        compute_dtype=compute_dtype,
    )
    encoder = WordEncoder(tokenizer)
    labeler_config = LabelerConfig(
        base=config.model,
        revision=config.revision,
        fingerprint=base_fingerprint,
        plan=plan,
        tags=tuple(tags),
        scheme=config.scheme,
        label_on=config.label_on,
        encoding=encoder.encoding,
        adapter=kind,
        max_tokens=config.max_tokens,
        overlap=config.overlap,
    )
    return Labeler(labeler_config, model, tokenizer)
