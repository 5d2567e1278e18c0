"""Do more unmasked layer groups help? Tests over plans written in groups, such as the sixteen of four groups.

Plans are their bits, leftmost nearest the input, 1 = mask removed. The paper's test (Dukić & Šnajder 2024, arXiv
2401.14556; the pairs as in the notebook of its code, dd1497/llm-unmasking) pairs plan a with plan b when b is a with
later groups switched on: up to its last 1 b equals a, and behind it b has at least one more 1. For four groups these
are 17 pairs; 0000 has no last 1 and stands in none of them. One plan stands in several pairs, so they are not
independent and the p-value is smaller than it should be; it is there to redo the paper. `group_effects` asks the same
of each group by itself, with every run in exactly one pair.
"""

from collections.abc import Collection, Mapping
from itertools import product

from lookboth.errors import DataError
from lookboth.evaluation.seeds import PairedDifference, mean_and_sd, paired_difference

ScoresByPlan = Mapping[str, Mapping[int | None, float]]


def nested_pairs(num_groups: int, *, from_causal: bool = False) -> list[tuple[str, str]]:
    """Return the pairs (fewer, more) of the paper's test: `more` is `fewer` with later groups switched on.

    Args:
        num_groups: bits of a plan.
        from_causal: also pair 0...0 with every other plan, which the paper's test leaves out.

    >>> nested_pairs(2), nested_pairs(2, from_causal=True)
    ([('10', '11')], [('00', '01'), ('00', '10'), ('00', '11'), ('10', '11')])
    >>> len(nested_pairs(4))
    17
    """
    return nested_among(["".join(bits) for bits in product("01", repeat=num_groups)], from_causal=from_causal)


def nested_among(plans: Collection[str], *, from_causal: bool = False) -> list[tuple[str, str]]:
    """Return the pairs of `nested_pairs` of which both plans are there.

    Args:
        plans: in bits, of one length.
        from_causal: as of `nested_pairs`.
    """
    fewer = [plan for plan in plans if from_causal or "1" in plan]
    return [(a, b) for a in fewer for b in plans if a != b and b.startswith(a[: a.rfind("1") + 1])]


def nested_plan_test(scores: ScoresByPlan, *, from_causal: bool = False) -> PairedDifference:
    """Test whether switching on later groups raises the score: the paper's paired one-sided t-test.

    As in the paper a pair holds two means over seeds. Pairs of which a plan is missing are left out.

    Args:
        scores: for each plan, in bits, the score of each seed.
        from_causal: also pair 0...0 with every other plan.

    Returns:
        The mean of more minus fewer; its p-value is small when more is better.

    Raises:
        DataError: plans of different lengths, or no pair at all.
    """
    means = {plan: mean_and_sd(list(by_seed.values())).mean for plan, by_seed in scores.items()}
    _num_groups(scores)  # refuses plans of different lengths
    there = [(means[a], means[b]) for a, b in nested_among(means, from_causal=from_causal)]
    if not there:
        raise DataError(
            f"no pair among the plans {', '.join(scores)}; a pair needs a plan and the same with later groups on."
        )
    return paired_difference([b for _, b in there], [a for a, _ in there], alternative="greater")


def group_effects(scores: ScoresByPlan) -> list[PairedDifference]:
    """Return, for each group, what switching it on changes, over all settings of the other groups and all seeds.

    Args:
        scores: for each plan, in bits, the score of each seed; runs without their partner are left out.

    Returns:
        One difference (on minus off) a group, nearest the input first, with two-sided p-values (not corrected).

    Raises:
        DataError: plans of different lengths, or a group that was never switched.

    >>> runs = {"00": {0: 0.5, 1: 0.6}, "01": {0: 0.7, 1: 0.7}, "10": {0: 0.5, 1: 0.6}, "11": {0: 0.7, 1: 0.7}}
    >>> [round(effect.difference, 3) for effect in group_effects(runs)]
    [0.0, 0.15]
    """
    return [_group_effect(scores, group) for group in range(_num_groups(scores))]


def _group_effect(scores: ScoresByPlan, group: int) -> PairedDifference:
    on, off = [], []
    for plan, by_seed in scores.items():
        partner = scores.get(plan[:group] + "0" + plan[group + 1 :], {})
        for seed in by_seed if plan[group] == "1" else ():
            if seed in partner:
                on.append(by_seed[seed])
                off.append(partner[seed])
    if not on:
        raise DataError(f"no two plans differ in group {group} alone, of {', '.join(scores)}.")
    return paired_difference(on, off)


def _num_groups(scores: ScoresByPlan) -> int:
    lengths = {len(plan) for plan in scores}
    if len(lengths) != 1 or any(set(plan) - {"0", "1"} for plan in scores):
        raise DataError(f"plans {', '.join(scores)}; give bits, one a group, all plans with as many groups.")
    return lengths.pop()
