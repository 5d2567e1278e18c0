"""The functions behind `lookboth inspect` and `lookboth prove`: describe and check the plan of a named model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.errors import ModelError, PlanError
from lookboth.labelers.labeler_config import KIND_KEY, is_labeler, read_config, read_settings
from lookboth.labelers.opening import kind_of, open_labeler, resolve
from lookboth.masking import MaskPlan, picture
from lookboth.models import (
    Precision,
    as_model_error,
    build_empty,
    default_device,
    load_backbone,
    load_config,
    torch_dtype,
)

if TYPE_CHECKING:
    import torch

    from lookboth.labelers.labeler_config import LabelerConfig
    from lookboth.masking import Proof


def inspect_model(name: str, plan: str | None = None, *, trust_remote_code: bool = False) -> str:
    """Describe the layers of a model and their masks under `plan`, as text; no weights are loaded.

    Args:
        name: hub id, folder, or built-in name of a model, or the folder of a saved labeler.
        plan: any notation of MaskPlan.parse; None: the plan of the stock model, or of the labeler.

    Raises:
        PlanError: the plan does not fit, or the model or labeler cannot take a plan.
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
    """Load a model, apply `plan`, and prove the mask of every layer in fp32 on the CPU.

    Backends that need half precision (varlen, flash attention) are proved in bf16 on the GPU.

    Args:
        name: hub id, folder, or built-in name of a model, or the folder of a saved labeler.
        plan: any notation of MaskPlan.parse; None: the plan of the stock model, or of the labeler.
        attn_implementation: backend to prove; None: transformers' choice.
        length: minimum number of tokens of the probe.
        random_weights: build the model from its configuration, without loading weights.

    Raises:
        PlanError: the plan does not fit, or the model cannot take a plan.
        ModelError: the model cannot be loaded, or the labeler was exported.
    """
    from lookboth.masking import apply_plan, computes_in_halves, own_plan, prove

    half_precision = computes_in_halves(attn_implementation or "")
    precision: Precision = "bf16" if half_precision else "fp32"
    device = default_device() if half_precision else "cpu"
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
    if describe := kind_of(folder, data).describe:
        if plan is not None:
            raise PlanError(
                f"{name}: the plan of a labeler of the kind {data[KIND_KEY]!r} cannot be changed. "
                f"Leave out the plan {plan!r}."
            )
        return str(resolve(describe)(folder, data))
    config = read_config(folder)
    mask_plan = config.plan if plan is None else MaskPlan.parse(plan, config.plan.num_layers)
    return (
        f"{name}: labeler on {config.base}, {config.plan.num_layers} layers\n"
        f"head {config.head}, adapter {config.adapter}, {_labels_of(config)}{_context_of(config)}\n{picture(mask_plan)}"
    )


def _context_of(config: "LabelerConfig") -> str:
    if not config.context:
        return ""
    side = "as far as max_tokens allows" if config.context == "document" else f"up to {config.context} tokens"
    return f"\ncontext: words of the document on each side of a sentence, {side}"


def _labels_of(config: "LabelerConfig") -> str:
    if config.is_open:
        return f"labels are named at prediction time; trained on {', '.join(config.known_labels)}"
    return f"labels {', '.join(config.labels)}"


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
    """Load the backbone of a saved labeler, with its adapter and plan, on the backend to prove."""
    from lookboth.masking import change_backend

    if random_weights:
        raise ModelError(
            f"{name}: a saved labeler is proved with its own weights. Leave out --random-weights."
        )
    model = open_labeler(name, device=device, precision=precision, merge=False).planned_model
    if attn_implementation:
        change_backend(model, attn_implementation)
    return model


def _plan_taken(config: Any, name: str, plan: str | None, trust_remote_code: bool) -> MaskPlan:
    """Return the plan fitted to a model, which is built on the meta device, without memory for weights."""
    from lookboth.masking import fit_plan

    # Only the modules matter here, so a model of any size can be inspected.
    with as_model_error(f"model {name!r} cannot be built from its configuration"):
        model = build_empty(config, trust_remote_code=trust_remote_code)
    return fit_plan(model, plan)


def _sliding_note(config: Any) -> str:
    window = getattr(config, "sliding_window", None)
    return f"\nSliding-window layers keep their left window of {window} tokens.\n" if window else ""
