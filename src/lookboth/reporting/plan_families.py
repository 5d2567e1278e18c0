"""Families of results that differ only in their mask plan, for the paper's figure and tests."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lookboth.config import as_compared
from lookboth.errors import DataError
from lookboth.evaluation import SEED_KEYS, PairedDifference, group_effects, nested_among, nested_plan_test
from lookboth.reporting.naming import is_bits
from lookboth.reporting.results import DataResults, Result, Seed, best_on_dev

# The learning rate may have been tuned for each plan separately; everything else must be the same.
_MAY_DIFFER = SEED_KEYS | {"plan", "study"}
_MAY_DIFFER_IN_TRAINING = SEED_KEYS | {"lr"}


@dataclass(frozen=True)
class PlanFamily:
    """The results of one model on one data set that differ only in their plan.

    Args:
        model: name of the model.
        num_groups: number of bits of the plans.
        results: results by plan: first the plans with `num_groups` bits, 0...0 first, then all other plans.
    """

    model: str
    num_groups: int
    results: Mapping[str, Result]

    @property
    def chosen(self) -> str | None:
        """Return the plan with the best mean dev score."""
        best = best_on_dev(self.results.values())
        return next((plan for plan, result in self.results.items() if result is best), None)

    def scores(self, split: str) -> dict[str, dict[Seed, float]]:
        """Return dev or test scores by plan and seed, for the plans in bits."""
        found = {
            plan: r.dev if split == "dev" else r.tests for plan, r in self.results.items() if is_bits(plan)
        }
        return {plan: scores for plan, scores in found.items() if scores}

    def nested_test(self, split: str) -> PairedDifference | None:
        """Return the paper's test (see `nested_plan_test`); None if no two plans are nested."""
        scores = self.scores(split)
        return nested_plan_test(scores) if nested_among(scores) else None

    def effects(self, split: str) -> list[PairedDifference]:
        """Return the effect of each group (see `group_effects`); empty if a group was never switched alone."""
        try:
            return group_effects(self.scores(split))
        except DataError:
            return []


def plan_families(data: DataResults) -> Iterator[PlanFamily]:
    """Yield the largest family of each model, if it has at least two plans.

    Of results that differ only in their learning rate, the family contains the best on dev.

    Args:
        data: all results on one data set.
    """
    for model, results in data.by_model().items():
        members: dict[str, list[Result]] = {}
        for result in results:
            if result.plan:
                members.setdefault(_all_but_plan(result.group.config), []).append(result)
        families = [_family(model, alike) for alike in members.values()]
        largest = max(families, key=lambda family: len(family.results), default=None)
        if largest is not None and len(largest.results) > 1:
            yield largest


def _family(model: str, results: list[Result]) -> PlanFamily:
    num_groups = max((len(plan) for r in results if is_bits(plan := r.plan or "")), default=1)
    by_plan: dict[str, list[Result]] = {}
    for result in results:
        by_plan.setdefault(_in_bits(result.plan or "", num_groups), []).append(result)
    order = sorted(by_plan, key=lambda plan: (not is_bits(plan), plan))
    return PlanFamily(
        model, num_groups, {plan: best_on_dev(by_plan[plan]) or by_plan[plan][0] for plan in order}
    )


def _in_bits(plan: str, num_groups: int) -> str:
    """Return a plan as `num_groups` bits; a plan that cannot be written so is returned unchanged.

    >>> _in_bits("causal", 4), _in_bits("01", 4), _in_bits("middle", 4), _in_bits("middle", 2)
    ('0000', '0011', '0110', 'middle')
    """
    bits = {"causal": "0", "full": "1", "middle": "0110"}.get(plan, plan)
    if is_bits(bits) and num_groups % len(bits) == 0:
        return "".join(bit * (num_groups // len(bits)) for bit in bits)
    return plan


def _all_but_plan(config: Mapping[str, Any]) -> str:
    compared = as_compared(config)
    training = compared.pop("training", None) or {}
    kept = [_without(compared, _MAY_DIFFER), _without(training, _MAY_DIFFER_IN_TRAINING)]
    return json.dumps(kept, sort_keys=True)


def _without(settings: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}
