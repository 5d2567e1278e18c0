"""The plans a search chooses from."""

import random
from collections.abc import Iterable, Sequence

from lookboth.errors import ConfigError
from lookboth.masking.plan import MaskPlan, group_plans

MOST = 256
USUAL = ("0110", "0011", "0101", "0111")  # the best by rank where all 16 were tried (docs/search.md)


def candidate_plans(
    num_layers: int,
    *,
    groups: int | None = None,
    named: Sequence[str] = (),
    max_look_ahead: int | None = None,
) -> list[MaskPlan]:
    """Return the candidates, each once: the named plans, or every plan of so many layer groups, or the usual ones.

    Args:
        num_layers: of the model.
        groups: layer groups that keep or drop the causal mask; None for the usual plans.
        named: plans in any notation; when there are some, `groups` is not used.
        max_look_ahead: keep only plans whose states depend on at most so many tokens to the right (streaming); the
            look-ahead is then shared out over the groups that are switched on.

    Raises:
        ConfigError: no plan is left, or there are more than can be scored.
    """
    plans: Iterable[MaskPlan]
    if named or groups is None:
        plans = [MaskPlan.parse(text, num_layers) for text in named or USUAL]
    elif 2**groups > MOST:
        raise ConfigError(f"search.groups = {groups}: {2**groups} plans; at most {MOST} can be scored.")
    else:
        plans = group_plans(groups, num_layers)
    if max_look_ahead is not None:
        plans = [limit_look_ahead(plan, max_look_ahead) for plan in plans]
    unique = list(dict.fromkeys(plans))
    if len(unique) < 2:
        raise ConfigError("search: only one plan to choose from; name more in search.candidates.")
    return unique


def neighbours(plan: MaskPlan) -> list[MaskPlan]:
    """Return the plans that differ in one layer, for a search layer by layer."""
    flipped = []
    for layer, reach in enumerate(plan.reach):
        new = None if reach == 0 else 0
        flipped.append(MaskPlan((*plan.reach[:layer], new, *plan.reach[layer + 1 :])))
    return flipped


def random_plans(num_layers: int, count: int, seed: int) -> list[MaskPlan]:
    """Return so many different plans, each layer causal or bidirectional at even chances of any number of them.

    The number of bidirectional layers is drawn first, so that nearly causal and nearly full plans occur as well.
    """
    rng = random.Random(seed)
    plans: dict[MaskPlan, None] = {}
    while len(plans) < min(count, 2**num_layers):
        chosen = set(rng.sample(range(num_layers), rng.randint(0, num_layers)))
        plans[MaskPlan(tuple(None if layer in chosen else 0 for layer in range(num_layers)))] = None
    return list(plans)


def limit_look_ahead(plan: MaskPlan, total: int) -> MaskPlan:
    """Share a look-ahead of `total` tokens out over the layers that look right, most to those nearest the output."""
    open_layers = [layer for layer, reach in enumerate(plan.reach) if reach is None]
    reach = [0] * plan.num_layers
    for turn in range(total if open_layers else 0):
        reach[open_layers[-1 - turn % len(open_layers)]] += 1
    return MaskPlan(tuple(reach))
