"""Mask plans of named models: what they mean layer by layer, and whether the model obeys them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.errors import ModelError, PlanError
from lookboth.labelers.labeler_config import KIND_KEY, is_labeler, parse_settings, read_config, read_settings
from lookboth.masking import MaskPlan, picture
from lookboth.models import Precision, as_model_error, default_device, load_backbone, load_config, torch_dtype
from lookboth.onnx import is_exported, read_config as read_exported

if TYPE_CHECKING:
    import torch

    from lookboth.masking import Proof


def inspect_model(name: str, plan: str | None = None, *, trust_remote_code: bool = False) -> str:
    """Return a model's layers and their kinds under `plan` as text; no weights are loaded.

    Args:
        name: hub id, folder, or built-in name of a model, or the folder of a saved labeler.
        plan: any notation of MaskPlan.parse; None: the plan the model was made with.

    Raises:
        PlanError: a plan that does not fit, or a model or labeler that cannot take any.
        ModelError: transformers cannot build the model.
    """
    if is_labeler(Path(name)):
        return _inspect_labeler(name, plan)
    config = load_config(name, trust_remote_code=trust_remote_code)
    text = config.get_text_config()
    mask_plan = _plan_taken(config, name, plan, trust_remote_code)
    head = f"{name}: {text.model_type}, {text.num_hidden_layers} layers, {text.hidden_size} wide\n"
    return head + picture(mask_plan) + _sliding_note(text)


def prove_model(
    name: str,
    plan: str | None = None,
    *,
    attn_implementation: str | None = None,
    length: int = 12,
    random_weights: bool = False,
    trust_remote_code: bool = False,
) -> "Proof":
    """Load a model, apply `plan` and prove what every layer sees: in fp32 on the CPU, where the backend has that.

    Backends that compute in halves only (varlen, flash attention) are proved in bf16 on the GPU.

    Args:
        name: hub id, folder, or built-in name of a model, or the folder of a saved labeler.
        plan: any notation of MaskPlan.parse; None: the plan the model was made with, or that of the labeler.
        attn_implementation: backend to prove; transformers' choice when None.
        length: tokens of the probe.
        random_weights: build the model from its configuration alone.

    Raises:
        PlanError: a plan that does not fit, or a model that cannot take any.
        ModelError: the model cannot be loaded, or the labeler was exported.
    """
    from lookboth.masking import apply_plan, computes_in_halves, own_plan, prove

    halves = computes_in_halves(attn_implementation or "")
    precision: Precision = "bf16" if halves else "fp32"
    device = default_device() if halves else "cpu"
    if is_labeler(Path(name)):
        model = _labeler_backbone(name, attn_implementation, precision, device, random_weights)
        return prove(model if plan is None else apply_plan(model, plan), length=length)
    if random_weights:
        model = _random_model(name, attn_implementation, trust_remote_code, dtype=torch_dtype(precision))
        model.to(device)
    else:
        model = load_backbone(
            name,
            precision=precision,
            device=device,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
        )
    return prove(model, own_plan(model) if plan is None else plan, length=length)


def _inspect_labeler(name: str, plan: str | None) -> str:
    folder = Path(name)
    data = read_settings(folder)
    if data.get(KIND_KEY) == "generative":
        _refuse(plan, f"{name}: a generative labeler takes no other plan.")
        return _inspect_generative(name, data)
    if is_exported(folder):
        _refuse(plan, f"{name}: an exported labeler keeps the plan it was exported with.")
        exported = read_exported(folder)
        return (
            f"{name}: exported labeler in {exported.weights}, from {exported.source.get('name')}, "
            f"{exported.plan.num_layers} layers\nlabels {', '.join(exported.labels)}\n{picture(exported.plan)}"
        )
    config = read_config(folder)
    mask_plan = config.plan if plan is None else MaskPlan.parse(plan, config.plan.num_layers)
    return (
        f"{name}: labeler on {config.base}, {config.plan.num_layers} layers\n"
        f"head {config.head}, adapter {config.adapter}, labels {', '.join(config.labels)}\n{picture(mask_plan)}"
    )


def _inspect_generative(name: str, data: Mapping[str, Any]) -> str:
    from lookboth.generative import GenerativeLabelerConfig

    config = parse_settings(Path(name), data, GenerativeLabelerConfig.from_dict)
    settings = config.generative
    lines = [
        f"{name}: generative labeler on {config.base}",
        f"answers in the format {settings.format}, {settings.k} demonstrations, adapter {config.adapter}, "
        f"labels {', '.join(config.labels)}",
    ]
    if settings.prompt_plan is not None:
        lines.append(f"plan of the prompt {settings.prompt_plan}")
    return "\n".join(lines)


def _refuse(plan: str | None, why: str) -> None:
    if plan is not None:
        raise PlanError(f"{why} Leave out the plan {plan!r}.")


def _random_model(
    name: str, attn_implementation: str | None, trust_remote_code: bool, *, dtype: "torch.dtype"
) -> Any:
    from transformers import AutoModel

    config = load_config(name, trust_remote_code=trust_remote_code)
    extra: dict[str, Any] = {"attn_implementation": attn_implementation} if attn_implementation else {}
    return AutoModel.from_config(config, trust_remote_code=trust_remote_code, dtype=dtype, **extra).eval()


def _labeler_backbone(
    name: str, attn_implementation: str | None, precision: Precision, device: str, random_weights: bool
) -> Any:
    """Return the backbone of a saved labeler, its adapter and plan in place, on the backend to be proved."""
    from lookboth.generative import GenerativeLabeler
    from lookboth.labelers.labeler import Labeler, require_head
    from lookboth.masking import change_backend

    if random_weights:
        raise ModelError(f"{name}: a saved labeler has weights of its own. Leave out --random-weights.")
    if is_exported(Path(name)):
        raise ModelError(
            f"{name}: an exported labeler has no layers to look into. Prove the labeler it was exported from."
        )
    labeler = Labeler.from_pretrained(name, device=device, precision=precision)
    generative = isinstance(labeler, GenerativeLabeler)
    model = labeler.model.language if generative else require_head(labeler, "proved").model.backbone
    if attn_implementation:
        change_backend(model, attn_implementation)
    return model


def _plan_taken(config: Any, name: str, plan: str | None, trust_remote_code: bool) -> MaskPlan:
    """Return the plan a model takes, asked of the model built without memory for its weights."""
    import torch
    from transformers import AutoModel

    from lookboth.masking import fit_plan

    with torch.device("meta"), as_model_error(f"model {name!r} cannot be built from its configuration"):
        model = AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    return fit_plan(model, plan)


def _sliding_note(config: Any) -> str:
    window = getattr(config, "sliding_window", None)
    return f"\nSliding-window layers keep their left window of {window} tokens.\n" if window else ""
