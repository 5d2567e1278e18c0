"""Significance tests of the question whether unmasking more layer groups raises the score.

A plan is written as one bit per layer group, leftmost nearest the input, 1 = mask removed. The paper's test (Dukić &
Šnajder 2024, arXiv 2401.14556; pairs as in the notebook of its code, dd1497/llm-unmasking) compares pairs of nested
plans a and b: b equals a up to a's last 1 and has at least one more 1 after it. Four groups give 17 pairs; 0000 has no
last 1, so it is in none of them. One plan is in several pairs, so the pairs are not independent and the p-value is too
small. The test is here to reproduce the paper. `group_effects` tests each group separately, with every run in exactly
one pair.
"""

from collections.abc import Collection, Mapping
from itertools import product

from lookboth.errors import DataError
from lookboth.evaluation.seeds import PairedDifference, mean_and_sd, paired_difference

ScoresByPlan = Mapping[str, Mapping[int | None, float]]


def nested_pairs(num_groups: int, *, from_causal: bool = False) -> list[tuple[str, str]]:
    """Return the pairs (fewer, more) of the paper's test: `more` is `fewer` with later groups unmasked as well.

    Args:
        num_groups: number of bits in a plan.
        from_causal: also pair 0...0 with every other plan; the paper's test does not.

    >>> nested_pairs(2), nested_pairs(2, from_causal=True)
    ([('10', '11')], [('00', '01'), ('00', '10'), ('00', '11'), ('10', '11')])
    >>> len(nested_pairs(4))
    17
    """
    return nested_among(["".join(bits) for bits in product("01", repeat=num_groups)], from_causal=from_causal)


def nested_among(plans: Collection[str], *, from_causal: bool = False) -> list[tuple[str, str]]:
    """Return the pairs of `nested_pairs` that consist of the given plans.

    Args:
        plans: bit strings of one length.
        from_causal: as in `nested_pairs`.
    """
    fewer = [plan for plan in plans if from_causal or "1" in plan]
    # Without a 1, rfind returns -1 and the prefix is empty: 0...0 is nested in every plan.
    return [(a, b) for a in fewer for b in plans if a != b and b.startswith(a[: a.rfind("1") + 1])]


def nested_plan_test(scores: ScoresByPlan, *, from_causal: bool = False) -> PairedDifference:
    """Test whether unmasking later groups raises the score, with the paper's paired one-sided t-test.

    As in the paper, the two values of a pair are means over seeds. Pairs with a missing plan are left out.

    Args:
        scores: for each plan (a bit string) the score of each seed.
        from_causal: also pair 0...0 with every other plan.

    Returns:
        The mean of more minus fewer; the p-value is small if more unmasked groups score higher.

    Raises:
        DataError: plans of different lengths, or no pair at all.
    """
    means = {plan: mean_and_sd(list(by_seed.values())).mean for plan, by_seed in scores.items()}
    # Called for its check: plans of different lengths would pair up wrongly.
    _num_groups(scores)
    pairs = [(means[a], means[b]) for a, b in nested_among(means, from_causal=from_causal)]
    if not pairs:
        raise DataError(
            f"no pair among the plans {', '.join(scores)}; a pair is a plan and the same plan with later groups "
            "unmasked as well."
        )
    return paired_difference([b for _, b in pairs], [a for a, _ in pairs], alternative="greater")


def group_effects(scores: ScoresByPlan) -> list[PairedDifference]:
    """Return the effect of unmasking each group, averaged over the settings of the other groups and all seeds.

    Args:
        scores: for each plan (a bit string) the score of each seed; runs without a partner are left out.

    Returns:
        One difference per group (unmasked minus causal), nearest the input first, with two-sided p-values (not
        corrected).

    Raises:
        DataError: plans of different lengths, or a group in which no two plans differ.

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
        raise DataError(
            f"plans {', '.join(scores)}: no two of them differ in group {group} alone; add runs of such a pair."
        )
    return paired_difference(on, off)


def _num_groups(scores: ScoresByPlan) -> int:
    lengths = {len(plan) for plan in scores}
    if len(lengths) != 1 or any(set(plan) - {"0", "1"} for plan in scores):
        raise DataError(
            f"plans {', '.join(scores)}; write each plan as bits, one per group, with the same number of groups."
        )
    return lengths.pop()
