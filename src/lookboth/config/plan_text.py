"""Mask plans and layers in a recipe: checked as text, because the number of layers is known only with the model."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from lookboth.errors import LookbothError
from lookboth.masking import check_layers, check_plan

MOST_REPETITIONS = 16
_REPEATED = re.compile(r"(.+)\+sr(\d{1,9})")


def split_repetition(text: str) -> tuple[str, int | None]:
    """Return the plan and the repetition of a candidate; None where the text names no repetition.

    >>> split_repetition("causal+sr1"), split_repetition("0110")
    (('causal', 1), ('0110', None))
    """
    found = _REPEATED.fullmatch(text)
    return (text, None) if found is None else (found[1], int(found[2]))


def accepted_by(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that returns its text unchanged; an error of `check` becomes an error of the key."""

    def validate(text: str) -> str:
        try:
            check(text)
        except LookbothError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return text

    return AfterValidator(validate)


def _check_candidate(text: str) -> None:
    plan, repetition = split_repetition(text)
    if (repetition or 0) > MOST_REPETITIONS:
        raise ValueError(f"+sr{repetition}: allowed are +sr0 to +sr{MOST_REPETITIONS}")
    check_plan(plan)


def _as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


# TOML and --set read 1100 as a number.
_AS_TEXT = BeforeValidator(_as_text)
PlanText = Annotated[str, _AS_TEXT, accepted_by(check_plan)]
LayersText = Annotated[str, _AS_TEXT, accepted_by(check_layers)]
CandidateText = Annotated[str, _AS_TEXT, accepted_by(_check_candidate)]
