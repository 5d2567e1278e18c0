"""Search candidates: mask plans with a number of sequence repetitions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookboth.config import split_repetition
from lookboth.errors import ConfigError
from lookboth.masking import MaskPlan, group_plans

# Candidates; scoring more on dev data would cost more than the trainings.
MAX_CANDIDATES = 256
# Recipe keys that a search sets.
SEARCHED_KEYS = ("plan", "repetition")
# The four best by mean rank in experiments with all 16 plans (docs/search.md).
USUAL_PLANS = ("0011", "0110", "0111", "0101")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One option of a search.

    Args:
        plan: mask plan.
        repetition: number of extra copies of the words in the input (sequence repetition).
    """

    plan: MaskPlan
    repetition: int = 0

    @classmethod
    def parse(cls, text: str, num_layers: int, repetition: int = 0) -> "Candidate":
        """Parse a plan in any notation, optionally followed by `+sr` and a number of sequence repetitions.

        Args:
            text: for example `0011` or `causal+sr1`.
            num_layers: number of layers of the model.
            repetition: value for a text without `+sr`.

        Raises:
            PlanError: the plan cannot be parsed.

        >>> str(Candidate.parse("causal+sr1", 30)), str(Candidate.parse("0110", 30))
        ('causal+sr1', '0110')
        """
        plan, own = split_repetition(text)
        return cls(MaskPlan.parse(plan, num_layers), repetition if own is None else own)

    def __str__(self) -> str:
        return f"{self.plan}+sr{self.repetition}" if self.repetition else str(self.plan)


def candidates_of(
    num_layers: int,
    *,
    groups: int | None = None,
    named: Sequence[str] = (),
    max_look_ahead: int | None = None,
    repetition: int = 0,
    usual: int = len(USUAL_PLANS),
) -> list[Candidate]:
    """Return the distinct candidates: the named ones, or all plans over the layer groups, or the usual plans.

    Args:
        num_layers: number of layers of the model.
        groups: number of layer groups that keep or drop the causal mask; None for the usual plans.
        named: candidates in the notation of `Candidate.parse`; if given, `groups` is ignored.
        max_look_ahead: maximum number of tokens to the right that a state may depend on (streaming). A plan
            that exceeds it gets this look-ahead distributed over its layers that attend to the right.
        repetition: sequence repetitions of candidates that do not name a number.
        usual: number of usual plans to use.

    Raises:
        ConfigError: fewer than two candidates, more than can be scored, or sequence repetition together with
            `max_look_ahead`.
    """
    if named or groups is None:
        found = [Candidate.parse(text, num_layers, repetition) for text in named or USUAL_PLANS[:usual]]
    elif 2**groups > MAX_CANDIDATES:
        raise ConfigError(
            f"search.groups = {groups}: {2**groups} plans; at most {MAX_CANDIDATES} can be scored."
        )
    else:
        found = [Candidate(plan, repetition) for plan in group_plans(groups, num_layers)]
    if max_look_ahead is not None:
        if repeated := next((candidate for candidate in found if candidate.repetition), None):
            raise ConfigError(
                f"search: {repeated} repeats the sequence, so every state of the last copy depends on the whole text; "
                "with search.max_look_ahead only candidates without repetition are allowed."
            )
        found = [Candidate(limit_look_ahead(candidate.plan, max_look_ahead)) for candidate in found]
    # Limits and notations can make candidates equal.
    unique = list(dict.fromkeys(found))
    if len(unique) < 2:
        raise ConfigError("search: only one plan to choose from; name more in search.candidates.")
    return unique


def neighbours(candidate: Candidate, max_look_ahead: int | None = None) -> list[Candidate]:
    """Return the candidates that differ from `candidate` in one layer: it becomes bidirectional or causal.

    Args:
        candidate: the candidate whose neighbours to return.
        max_look_ahead: limit on the total look-ahead, distributed over the open layers. Neighbours that do
            not differ from `candidate` under the limit are left out.
    """
    reach = candidate.plan.reach
    flipped = [
        MaskPlan((*reach[:layer], None if old == 0 else 0, *reach[layer + 1 :]))
        for layer, old in enumerate(reach)
    ]
    if max_look_ahead is not None:
        flipped = [limit_look_ahead(plan, max_look_ahead) for plan in flipped]
    return [replace(candidate, plan=plan) for plan in flipped if plan != candidate.plan]


def random_plans(num_layers: int, count: int, seed: int) -> list[MaskPlan]:
    """Return `count` distinct random plans whose layers are causal or bidirectional.

    The number of bidirectional layers is drawn first, uniformly. Independent draws per layer would hardly
    ever yield nearly causal or nearly full plans.
    """
    rng = random.Random(seed)
    plans: dict[MaskPlan, None] = {}
    while len(plans) < min(count, 2**num_layers):
        chosen = set(rng.sample(range(num_layers), rng.randint(0, num_layers)))
        plans[MaskPlan(tuple(None if layer in chosen else 0 for layer in range(num_layers)))] = None
    return list(plans)


def limit_look_ahead(plan: MaskPlan, total: int) -> MaskPlan:
    """Distribute a look-ahead of `total` tokens over the layers that attend to the right, last layers first.

    A plan within the limit is returned unchanged.

    >>> str(limit_look_ahead(MaskPlan.parse("0,*,9", 3), 5)), str(limit_look_ahead(MaskPlan.parse("0,1,3", 3), 5))
    ('0,2,3', '0,1,3')
    """
    ahead = plan.total_look_ahead()
    if ahead is not None and ahead <= total:
        return plan
    open_layers = [layer for layer, reach in enumerate(plan.reach) if reach != 0]
    reach = [0] * plan.num_layers
    for turn in range(total):
        reach[open_layers[-1 - turn % len(open_layers)]] += 1
    return MaskPlan(tuple(reach))
