"""Measures which tokens every layer of a model attends to, and compares the result with the plan."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lookboth.compat import attention_name
from lookboth.errors import PlanError
from lookboth.masking.attention import get_plan, own_plan, under_plan
from lookboth.masking.backends import PREFIX, computes_in_halves
from lookboth.masking.notation import Reach, kind_of
from lookboth.masking.plan import MaskPlan
from lookboth.masking.probe import Probe, ProbeRun, flat_scores, ready_to_probe
from lookboth.masking.proof_checks import Check, batch_checks, equality_checks, far_apart

# Tokens; the probe runs one row per token, so its cost grows with the square.
LONGEST = 48


@dataclass(frozen=True, slots=True)
class LayerResult:
    """The measured mask of one layer.

    Args:
        layer: index, 0 nearest the input.
        expected: kind of mask in the plan.
        measured: kind of mask that explains which states changed.
        ok: whether exactly those states changed that may attend to the changed token.
        message: the first position that contradicts the plan; "" when ok.
    """

    layer: int
    expected: str
    measured: str
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of `prove`: one result per layer and named checks of the whole model.

    Args:
        plan: the plan the model was compared with.
        model: class name of the decoder, backend: its attention implementation, length: tokens of the probe.
        layers: results, nearest the input first.
        checks: named checks on batches, padding, packing and the stock model.
    """

    plan: MaskPlan
    model: str
    backend: str
    length: int
    layers: tuple[LayerResult, ...]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every layer and every check agrees with the plan."""
        return all(layer.ok for layer in self.layers) and all(check.ok for check in self.checks)

    def describe(self) -> str:
        """Return the proof as text: one line per layer, one per check, and the verdict."""
        head = f"plan {self.plan} on {self.model} ({self.backend}), {self.length} random tokens"
        lines = [
            f"  {_mark(layer.ok)}  layer {layer.layer:>2}  {layer.measured}{_after(layer.message)}"
            for layer in self.layers
        ]
        lines += [f"  {_mark(check.ok)}  {check.name}{_after(check.message)}" for check in self.checks]
        wrong = sum(not layer.ok for layer in self.layers) + sum(not check.ok for check in self.checks)
        verdict = "proved" if self.ok else f"NOT proved: {wrong} of {len(lines)} results contradict the plan"
        return "\n".join([head, *lines, verdict])


def prove(model: nn.Module, plan: MaskPlan | str | None = None, *, seed: int = 0, length: int = 12) -> Proof:
    """Change one token at a time, measure which states change in each layer, and compare this with a plan.

    The outermost model is called, as its users call it, and stopped before its head. Every layer is probed twice.
    In the whole stack, only states may change that the composed plan can reach. Alone, a layer gets the states of
    the unchanged text with one position replaced; exactly the positions that may attend to it must change. The masks
    of stock layers (sliding windows) are measured on the stock model, not taken from the configuration. The proof
    costs about 30 forward passes: six with one row per token, the others with one to three rows.

    Args:
        model: a decoder or encoder. An active plan stays active and is compared with `plan`; otherwise `plan` is
            applied during the proof. The model is restored at the end.
        plan: the expected plan; None: the active plan, or for a stock model its own (causal for a decoder, full
            for an encoder).
        seed: seed of the random token ids.
        length: minimum number of tokens. More are used, up to 48, if the plan's look-ahead or a sliding window is
            longer.

    Raises:
        PlanError: the model cannot take a plan, or the plan does not fit it.
    """
    probe = Probe(model, seed)
    active = get_plan(model)
    expected = _expected(plan, active or own_plan(model), probe.num_layers)
    length = _length(probe, expected, length)
    backend = (attention_name(probe.config) or "eager").removeprefix(PREFIX)
    # In float32 rounding is far below the tolerance; some backends support half precision only.
    with ready_to_probe(model, widen=not computes_in_halves(backend)):
        ids = probe.tokens(1, length)
        # The stock masks come first, because a plan extends or limits them.
        with under_plan(model, None):
            stock = _measure(probe, ids).alone
            equalities = equality_checks(probe, length)
        with under_plan(model, active or (None if plan is None else expected)):
            measured = _measure(probe, ids)
            batches = batch_checks(probe, length)
    visible = _narrowed if probe.stack.is_encoder else _widened
    allowed = [visible(matrix, reach) for matrix, reach in zip(stock, expected.reach, strict=True)]
    layers = tuple(
        _layer_result(i, expected.reach[i], allowed[i], measured.alone[i]) for i in range(len(allowed))
    )
    checks = (_composed(allowed, measured.stacked), measured.batch_mates, *batches, *equalities)
    return Proof(expected, type(probe.stack.backbone).__name__, backend, length, layers, checks)


@dataclass(frozen=True, slots=True)
class _Measured:
    """The states that changed: per layer a matrix (T, T), row = the attending position, column = the changed token.

    Args:
        alone: each layer by itself. stacked: after each layer of the whole stack.
        batch_mates: whether a row stayed the same while the other rows of its batch changed.
    """

    alone: list[Tensor]
    stacked: list[Tensor]
    batch_mates: Check


def _measure(probe: Probe, ids: Tensor) -> _Measured:
    """Measure which positions attend to which, with one row per changed token and a last row without change."""
    length = ids.shape[1]
    # One batch measures all positions: row i changes token i, and the last row changes nothing.
    base_ids = ids.expand(length + 1, -1).contiguous()
    each = torch.arange(length, device=ids.device)
    changed_ids = base_ids.clone()
    changed_ids[each, each] = probe.other_tokens(ids)[0]
    with flat_scores(probe.stack):
        base, changed = probe.run(base_ids), probe.run(changed_ids)
        # Each layer alone: in row i, only the state at position i comes from the changed text.
        forced = [states.clone() for states in base.inputs]
        for states, other in zip(forced, changed.inputs, strict=True):
            states[..., each, each, :] = other[..., each, each, :]
        alone = probe.run(base_ids, forced=forced)
    return _Measured(_moved(base, alone), _moved(base, changed), _batch_mates(base, changed))


def _moved(base: ProbeRun, other: ProbeRun) -> list[Tensor]:
    """Return for each layer which positions (rows) changed with which token (columns).

    Both runs have the same shape, so states that depend on the same tokens are equal bit for bit. In mixtures of
    experts the unchanged last row differs too: its difference is the noise, and a change counts above 8 times that.
    """
    matrices = []
    for before, after in zip(base.outputs, other.outputs, strict=True):
        distance = (after - before).abs().amax(-1).float().cpu()
        # "not <=" instead of ">" counts NaN as a change.
        matrices.append(~(distance[:-1] <= 8 * distance[-1].max()).T)
    return matrices


def _batch_mates(base: ProbeRun, changed: ProbeRun) -> Check:
    drift = far_apart(base.outputs[-1][-1], changed.outputs[-1][-1])
    message = f"a row changed by {drift} when only other rows were replaced" if drift else ""
    return Check("other rows of the batch change nothing", not drift, message)


def _narrowed(stock: Tensor, reach: Reach) -> Tensor:
    """Return which positions may attend to which in an encoder: the stock mask, limited to `reach` to the right."""
    places = torch.arange(stock.shape[0])
    return stock if reach is None else stock & (places[None, :] - places[:, None] <= reach)


def _widened(stock: Tensor, reach: Reach) -> Tensor:
    """Return which positions may attend to which in a decoder: the stock mask plus `reach` tokens to the right.

    Where a token does not attend to its left neighbour, a chunk begins; the reach ends at such a border.
    """
    length = stock.shape[0]
    places = torch.arange(length)
    ahead = places[None, :] - places[:, None]
    borders = torch.cat([torch.zeros(1, dtype=torch.bool), ~stock.diagonal(-1)])
    part = borders.cumsum(0)
    right = (ahead > 0) & (part[:, None] == part[None, :])
    return stock.tril() | (right if reach is None else right & (ahead <= reach))


def _layer_result(layer: int, reach: Reach, allowed: Tensor, moved: Tensor) -> LayerResult:
    wrong = (allowed != moved).nonzero()
    message = ""
    if len(wrong):
        query, key = wrong[0].tolist()
        verb = "attends to" if moved[query, key] else "does not attend to"
        message = f"expected {kind_of(reach)}, but position {query} {verb} position {key}"
    return LayerResult(layer, kind_of(reach), _measured_kind(moved), not len(wrong), message)


def _measured_kind(moved: Tensor) -> str:
    """Return the kind of mask that explains the right side of a matrix of changed states."""
    length = moved.shape[0]
    right = moved.triu(1)
    if bool(right.any()) and bool(right[0, 1:].all()):
        return "bidirectional"
    places = torch.arange(length)
    ahead = (places[None, :] - places[:, None])[right]
    return kind_of(int(ahead.max()) if len(ahead) else 0)


def _composed(allowed: list[Tensor], moved: list[Tensor]) -> Check:
    """Check the whole stack: a change reaches only the positions that the layers so far can pass it to."""
    name = "in the whole stack a change reaches exactly the positions it may reach"
    reached = torch.eye(allowed[0].shape[0], dtype=torch.bool)
    # A change may cancel out on a longer path, so a change is required only where a layer attends directly.
    for layer, (may, did) in enumerate(zip(allowed, moved, strict=True)):
        # Boolean matrix product: i reaches k if i attends to some j that reaches k.
        reached = (may.float() @ reached.float()) > 0
        for matrix, what in ((did & ~reached, "changed"), (may & ~did, "did not change")):
            if bool(matrix.any()):
                query, key = matrix.nonzero()[0].tolist()
                return Check(name, False, f"after layer {layer} position {query} {what} with token {key}")
    return Check(name, True)


def _expected(plan: MaskPlan | str | None, otherwise: MaskPlan, num_layers: int) -> MaskPlan:
    if isinstance(plan, str):
        return MaskPlan.parse(plan, num_layers)
    plan = plan or otherwise
    if plan.num_layers != num_layers:
        raise PlanError(
            f"The plan to prove is for {plan.num_layers} layers but the model has {num_layers}. "
            f"Type MaskPlan.parse('{plan}', {num_layers})."
        )
    return plan


def _length(probe: Probe, plan: MaskPlan, length: int) -> int:
    """Return a length in tokens that exceeds the longest look-ahead and the window, up to `LONGEST`."""
    # 4 tokens more, so that the text contains tokens beyond the look-ahead or window.
    wanted = [length, *(reach + 4 for reach in plan.reach if reach)]
    if probe.window:
        wanted.append(probe.window + 4)
    longest = min(LONGEST, (getattr(probe.config, "max_position_embeddings", None) or LONGEST) - 4)
    length = max([value for value in wanted if value <= longest], default=longest)
    if length < 4:
        raise PlanError(f"A proof needs at least 4 tokens; the model or length={length} allows fewer.")
    return length


def _mark(ok: bool) -> str:
    return "ok  " if ok else "FAIL"


def _after(message: str) -> str:
    return f": {message}" if message else ""
