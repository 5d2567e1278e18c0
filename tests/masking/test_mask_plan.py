"""Every notation of a plan: what it means, that it survives being written, and what is refused."""

import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from lookboth.errors import PlanError
from lookboth.masking.notation import layer_groups
from lookboth.masking.plan import MaskPlan, group_plans
from lookboth.masking.plan_picture import picture

depths = st.integers(1, 80)
reaches = st.one_of(st.none(), st.just(0), st.integers(0, 300))


@st.composite
def notations(draw: st.DrawFn) -> tuple[str, int]:
    """A text in any notation with a depth it fits."""
    depth = draw(depths)
    layers = st.integers(0, depth - 1)
    span = st.tuples(layers, layers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    values = st.lists(st.sampled_from(["0", "1", "2", "17", "*"]), min_size=1, max_size=depth)
    text = draw(
        st.one_of(
            st.sampled_from(["causal", "full", "middle"]),
            st.integers(1, depth).map("top:{}".format),
            st.text("01", min_size=1, max_size=depth),
            st.lists(span, min_size=1, max_size=4).map(",".join),
            values.map(lambda items: ",".join(items) + "," * (len(items) == 1)),
        )
    )
    return text, depth


@given(notations())
def test_any_notation_round_trips_at_any_depth(case: tuple[str, int]) -> None:
    text, depth = case
    plan = MaskPlan.parse(text, depth)
    assert plan.num_layers == depth
    assert MaskPlan.parse(str(plan), depth) == plan
    assert MaskPlan.parse(plan.spelled_out(), depth) == plan
    assert hash(MaskPlan.parse(str(plan), depth)) == hash(plan)


@given(st.lists(reaches, min_size=1, max_size=80))
def test_any_plan_round_trips(reach: list[int | None]) -> None:
    plan = MaskPlan(tuple(reach))
    assert MaskPlan.parse(str(plan), len(reach)) == plan
    assert len(str(plan)) <= len(plan.spelled_out()) or str(plan) in ("causal", "full", "middle")


@given(depths.flatmap(lambda depth: st.tuples(st.integers(1, depth), st.just(depth))))
def test_groups_cover_the_layers_in_order_and_differ_by_at_most_one(case: tuple[int, int]) -> None:
    m, depth = case
    groups = layer_groups(m, depth)
    assert [layer for group in groups for layer in group] == list(range(depth))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


@given(st.integers(1, 5), st.integers(5, 40))
def test_there_are_two_to_the_m_group_plans(m: int, depth: int) -> None:
    plans = list(group_plans(m, depth))
    assert len(set(plans)) == len(plans) == 2**m
    assert plans[0].is_causal
    assert set(plans[-1].reach) == {None}


@pytest.mark.parametrize(
    ("text", "depth", "reach"),
    [
        ("0011", 4, (0, 0, None, None)),
        ("0001", 6, (0, 0, 0, 0, 0, None)),
        ("0,1", 4, (0, 0, 1, 1)),  # in a comma list 1 is one token of look-ahead, not a bit
        ("5,", 2, (5, 5)),
        ("middle", 1, (None,)),
        ("top:2", 3, (0, None, None)),
        (" 1-2 , 0-0 ", 4, (None, None, None, 0)),
        ("CAUSAL", 2, (0, 0)),
    ],
)
def test_what_a_notation_means(text: str, depth: int, reach: tuple[int | None, ...]) -> None:
    assert MaskPlan.parse(text, depth).reach == reach


def test_bits_name_the_layers_nearest_the_input_first() -> None:
    plan = MaskPlan.parse("1000", 30)
    assert plan.kinds()[0] == "bidirectional"
    assert plan.kinds()[-1] == "causal"


@pytest.mark.parametrize(
    ("text", "depth", "said"),
    [
        ("4", 8, "'4,'"),
        ("*", 8, "'full'"),
        ("0-3,7", 8, "7-7"),
        ("3-1", 8, "Type '1-3'"),
        ("0-8", 8, "0 to 7"),
        ("top:9", 8, "from 1 to 8"),
        ("top:0", 8, "whole number from 1"),
        ("01010", 4, "5 groups but the model has 4"),
        ("0,0,0", 2, "3 groups but the model has 2"),
        ("0,-1", 4, "not a reach"),
        ("0,x", 4, "'x'"),
        ("0,,1", 4, "not a reach"),
        ("", 4, "Allowed"),
        ("upper", 4, "Allowed"),
        ("0011", 0, "at least 1 layer"),
    ],
)
def test_refusals_say_what_to_type(text: str, depth: int, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        MaskPlan.parse(text, depth)


@pytest.mark.parametrize("reach", [(), (-1,), (True,), (1.5,), ("0",)])
def test_a_plan_holds_whole_numbers_or_none(reach: tuple[object, ...]) -> None:
    with pytest.raises(PlanError):
        MaskPlan(reach)  # type: ignore[arg-type]


@given(notations())
def test_look_ahead_adds_up(case: tuple[str, int]) -> None:
    plan = MaskPlan.parse(*case)
    total = plan.total_look_ahead()
    assert (total is None) == (None in plan.reach)
    assert total is None or total == sum(value for value in plan.reach if value is not None)
    assert plan.is_causal == (total == 0)


@given(notations())
def test_the_picture_names_every_layer(case: tuple[str, int]) -> None:
    plan = MaskPlan.parse(*case)
    text = picture(plan)
    assert all(kind in text for kind in plan.kinds())
    assert text.index("output") < text.index("input")
    assert max(map(len, text.splitlines())) < 240


def test_plans_need_no_torch() -> None:
    code = "import lookboth.masking.plan, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("text", ["0,{}", "{},", "top:{}", "0-{}", "{}-3", "{}"])
@pytest.mark.parametrize("number", ["9" * 5000, "9" * 400, str(2**64), str(2**63 - 1), "1000000001"])
def test_numbers_too_large_for_arithmetic_are_refused(text, number):
    with pytest.raises(PlanError) as caught:
        MaskPlan.parse(text.format(number), 4)
    assert len(str(caught.value)) < 6000
