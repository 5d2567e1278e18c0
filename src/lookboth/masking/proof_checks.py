"""The checks of a proof on whole batches: padding, packing, and equality with the stock model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lookboth.errors import PlanError
from lookboth.masking.attention import get_plan, own_plan, under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.masking.probe import Probe, ProbeRun

PADS = 3  # tokens of padding
# Relative to the largest state; half precision: 5e-2.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}


@dataclass(frozen=True, slots=True)
class Check:
    """One named check: whether it holds, and the finding if it does not (or the reason it was skipped)."""

    name: str
    ok: bool
    message: str = ""


def far_apart(first: Tensor, second: Tensor) -> str:
    """Return the largest difference as text if it exceeds the tolerance (or is NaN), else ""."""
    allowed = TOLERANCE.get(first.dtype, 5e-2) * first.abs().max()
    distance = (first - second).abs().max()
    return "" if bool(distance <= allowed) else f"{float(distance):.2g}"


def batch_checks(probe: Probe, length: int) -> list[Check]:
    """Check padding on either side and packed rows under the active plan; texts have `length` tokens."""
    checks = [_padding(probe, length, "right"), _padding(probe, length, "left"), _packing(probe, length)]
    if get_plan(probe.model) is not None and probe.accepts("position_ids"):
        checks.append(_packing(probe, length, masked=True))
    return checks


def equality_checks(probe: Probe, length: int) -> list[Check]:
    """Compare the causal and the full plan with the stock model; call it without an active plan."""
    checks = [_own_plan_is_stock(probe, length)]
    return checks if probe.stack.is_encoder else [*checks, _full_is_unmasked(probe, length)]


def _padding(probe: Probe, length: int, side: str) -> Check:
    """Replace the padding and the other row; the states of the text must stay those of the text alone."""
    name = f"padding on the {side} changes nothing"
    place = slice(0, length) if side == "right" else slice(PADS, PADS + length)
    ids = probe.tokens(2, length + PADS)
    mask = torch.ones_like(ids)
    mask[0] = 0
    mask[0, place] = 1
    batch: dict[str, Any] = {"attention_mask": mask}
    if probe.accepts("position_ids"):
        batch["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0) + probe.first_position
    other = probe.other_tokens(ids)
    other[0, place] = ids[0, place]
    first, second = _final(probe.run(ids, **batch)), _final(probe.run(other, **batch))
    if not bool(first.isfinite().all()):
        return Check(name, False, "states of padded rows are not finite")
    if drift := far_apart(first[0, place], second[0, place]):
        return Check(name, False, f"the text changed by {drift} when only its padding was replaced")
    # With other position ids the states differ for a reason that is not the mask.
    if side == "left" and "position_ids" not in batch:
        return Check(
            name, True, "not compared with the text alone: this family counts positions from the padding"
        )
    alone = _final(probe.run(ids[:1, place]))[0]
    drift = far_apart(alone, first[0, place])
    return Check(name, not drift, f"the padded text differs by {drift} from the text alone" if drift else "")


def _packing(probe: Probe, length: int, *, masked: bool = False) -> Check:
    """Replace two of three packed texts; the states of the third must stay those of the text alone."""
    name = "packed texts do not attend to each other" + (", attention mask given" if masked else "")
    if not probe.accepts("position_ids"):
        return Check(name, True, "skipped: the model does not take position ids")
    borders = [0, length // 3, length // 3 + max(length // 3, 2), length]
    places = [slice(first, last) for first, last in pairwise(borders)]
    ids = probe.tokens(1, length)
    positions = torch.cat([torch.arange(place.stop - place.start) for place in places])[None].to(ids.device)
    batch: dict[str, Any] = {
        "position_ids": positions + probe.first_position,
        "attention_mask": torch.ones_like(ids) if masked else None,
    }
    try:
        packed = _final(probe.run(ids, **batch))[0]
        for number, place in enumerate(places):
            other = probe.other_tokens(ids)
            other[:, place] = ids[:, place]
            if drift := far_apart(packed[place], _final(probe.run(other, **batch))[0, place]):
                return Check(
                    name, False, f"text {number} changed by {drift} when its neighbours were replaced"
                )
            if drift := far_apart(_final(probe.run(ids[:, place]))[0], packed[place]):
                return Check(name, False, f"text {number} differs by {drift} from the same text alone")
    except PlanError as refusal:
        return Check(name, True, f"packed rows are refused: {refusal}")
    return Check(name, True)


def _own_plan_is_stock(probe: Probe, length: int) -> Check:
    plan = own_plan(probe.model)
    bit = "0" if plan.is_causal else "1"
    ids = probe.tokens(2, length)
    mask = torch.ones_like(ids)
    # Padding in one row, so that masks with padding are compared as well.
    mask[0, :2] = 0
    stock = _final(probe.run(ids, attention_mask=mask))
    with under_plan(probe.model, plan):
        planned = _final(probe.run(ids, attention_mask=mask))
    drift = far_apart(stock, planned)
    name = f"plan {bit}...{bit} is the stock model"
    return Check(name, not drift, f"states differ by {drift}" if drift else "")


def _full_is_unmasked(probe: Probe, length: int) -> Check:
    """Compare the full plan with config.is_causal=False on one text that fits the sliding window.

    On longer texts they may differ: the reach of the plan is not limited by the window.
    """
    name = "plan 1...1 is the stock model with is_causal=False"
    if getattr(probe.config, "attention_chunk_size", None):
        return Check(name, True, "skipped: with chunked attention the stock model has no such setting")
    ids = probe.tokens(1, min(length, probe.window or length))
    try:
        with _not_causal(probe):
            stock = _final(probe.run(ids))
    # Without a plan this is a failure of the stock model itself (ModernBERT-decoder on eager attention).
    except PlanError as refusal:
        return Check(name, True, f"skipped: the stock model does not run without its causal mask: {refusal}")
    with under_plan(probe.model, MaskPlan((None,) * probe.num_layers)):
        planned = _final(probe.run(ids))
    drift = far_apart(stock, planned)
    return Check(name, not drift, f"states differ by {drift}" if drift else "")


@contextmanager
def _not_causal(probe: Probe) -> Iterator[None]:
    """Set is_causal to False in the configuration and, because sdpa reads it there, in the attention modules."""
    holders: list[Any] = [probe.config, *probe.stack.ruled]
    before = [vars(holder).get("is_causal") for holder in holders]
    try:
        for holder in holders:
            holder.is_causal = False
        yield
    finally:
        for holder, value in zip(holders, before, strict=True):
            del holder.is_causal
            if value is not None:
                holder.is_causal = value


def _final(run: ProbeRun) -> Tensor:
    return run.outputs[-1]
