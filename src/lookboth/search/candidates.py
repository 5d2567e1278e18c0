"""What a search chooses from: plans, and how many times the words are put in."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookboth.errors import ConfigError
from lookboth.masking.plan import MaskPlan, group_plans

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
        max_look_ahead: keep only plans whose states depend on at most so many tokens to the right (streaming); the
            look-ahead is then shared out over the groups that are switched on.
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


def neighbours(candidate: Candidate) -> list[Candidate]:
    """Return the candidates whose plans differ in one layer, for a search layer by layer."""
    flipped = []
    reach = candidate.plan.reach
    for layer, old in enumerate(reach):
        new = None if old == 0 else 0
        flipped.append(replace(candidate, plan=MaskPlan((*reach[:layer], new, *reach[layer + 1 :]))))
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
