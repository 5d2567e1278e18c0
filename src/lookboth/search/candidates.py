"""What a search chooses from: plans, and how many times the words are put in."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookboth.errors import ConfigError
from lookboth.masking import MaskPlan, group_plans

MOST = 256
_REPEATED = re.compile(r"(.+)\+sr(\d{1,2})")
FOUND = ("plan", "repetition")  # keys of a recipe that say which candidate was taken
USUAL = ("0011", "0110", "0111", "0101")  # the best by rank where all 16 were tried (docs/search.md)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing to choose.

    Args:
        plan: of the mask.
        repetition: how many more times the words are put in (sequence repetition).
    """

    plan: MaskPlan
    repetition: int = 0

    @classmethod
    def parse(cls, text: str, num_layers: int, repetition: int = 0) -> "Candidate":
        """Read a plan in any notation, alone or followed by `+sr` and a number: the words so many times more.

        Args:
            text: `0011`, `causal+sr1`.
            num_layers: of the model.
            repetition: where the text names none.

        Raises:
            PlanError: unreadable plan.

        >>> str(Candidate.parse("causal+sr1", 30)), str(Candidate.parse("0110", 30))
        ('causal+sr1', '0110')
        """
        found = _REPEATED.fullmatch(text)
        if found is None:
            return cls(MaskPlan.parse(text, num_layers), repetition)
        return cls(MaskPlan.parse(found[1], num_layers), int(found[2]))

    def __str__(self) -> str:
        return f"{self.plan}+sr{self.repetition}" if self.repetition else str(self.plan)


def candidates_of(
    num_layers: int,
    *,
    groups: int | None = None,
    named: Sequence[str] = (),
    max_look_ahead: int | None = None,
    repetition: int = 0,
    usual: int = len(USUAL),
) -> list[Candidate]:
    """Return the candidates, each once: the named plans, or every plan of so many layer groups, or the usual ones.

    Args:
        num_layers: of the model.
        groups: layer groups that keep or drop the causal mask; None for the usual plans.
        named: as `Candidate.parse` reads them; when there are some, `groups` is not used.
        max_look_ahead: states may depend on at most so many tokens to the right (streaming); a plan that goes beyond
            has them shared out over its layers that look right.
        repetition: of candidates that name none.
        usual: how many of the usual plans are taken.

    Raises:
        ConfigError: no plan is left, there are more than can be scored, or words put in twice are to be streamed.
    """
    if named or groups is None:
        found = [Candidate.parse(text, num_layers, repetition) for text in named or USUAL[:usual]]
    elif 2**groups > MOST:
        raise ConfigError(f"search.groups = {groups}: {2**groups} plans; at most {MOST} can be scored.")
    else:
        found = [Candidate(plan, repetition) for plan in group_plans(groups, num_layers)]
    if max_look_ahead is not None:
        if repeated := next((candidate for candidate in found if candidate.repetition), None):
            raise ConfigError(
                f"search: {repeated} puts the words in more than once, so every state has seen the whole text; "
                "with search.max_look_ahead only candidates without repetition are allowed."
            )
        found = [Candidate(limit_look_ahead(candidate.plan, max_look_ahead)) for candidate in found]
    unique = list(dict.fromkeys(found))
    if len(unique) < 2:
        raise ConfigError("search: only one plan to choose from; name more in search.candidates.")
    return unique


def neighbours(candidate: Candidate, max_look_ahead: int | None = None) -> list[Candidate]:
    """Return the candidates whose plans have one layer opened or closed, for a search layer by layer.

    Args:
        candidate: whose neighbours are wanted.
        max_look_ahead: where plans go beyond it, it is shared out over the layers that are then open; a layer that
            gets none of it makes no neighbour.
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
    """Share a look-ahead of `total` tokens out over the layers that look right, most to those nearest the output.

    A plan that looks no further ahead than that stays as it is.

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
