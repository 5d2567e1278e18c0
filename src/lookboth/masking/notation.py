"""Mask plans as text: parses every notation into one reach per layer, and writes plans back as text."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lookboth.errors import PlanError, did_you_mean

Reach = int | None
"""Number of tokens to the right a layer may attend to (`None`: no limit)."""
# More layers than any model has; bounds the memory that a mistyped number takes.
MAX_LAYERS = 10_000

NOTATIONS = (
    "'0011' (groups of layers, leftmost nearest the input, 1 = mask removed), 'causal', 'full', 'middle', "
    "'top:8' (the 8 layers nearest the output), '8-31' or '0-3,8-11' (layers, inclusive), "
    "'0,0,4,*' (one reach per group: 0 causal, k look-ahead, * unlimited)"
)


def read_reach(text: str, num_layers: int) -> tuple[Reach, ...]:
    """Parse `text` into the reach of each layer; see `MaskPlan.parse` for the notations.

    >>> read_reach("0,2,*", num_layers=6)
    (0, 0, 2, 2, None, None)
    """
    if num_layers < 1:
        raise PlanError(f"A plan is for a decoder with at least 1 layer; found num_layers={num_layers}.")
    name = text.strip().lower()
    if name in ("causal", "full"):
        return (0 if name == "causal" else None,) * num_layers
    if name == "middle":
        return _unlimited(middle_layers(num_layers), num_layers)
    if re.fullmatch(r"[01]+", name):
        return _spread([None if bit == "1" else 0 for bit in name], num_layers, text)
    # Numbers with 19 digits may exceed int64, and Python refuses to parse very long ones.
    if re.search(r"\d{19}", name):
        raise PlanError(
            f"'{name:.40}...' contains a number too large for a layer or a look-ahead. Allowed: {NOTATIONS}."
        )
    if name.startswith("top:"):
        return _unlimited(_top_layers(name, num_layers), num_layers)
    items = [item.strip() for item in name.removesuffix(",").split(",")]
    if all("-" in item for item in items):
        return _unlimited(_ranges(items, num_layers), num_layers)
    if "," in name:
        return _spread([_list_item(item, text) for item in items], num_layers, text)
    raise PlanError(_not_a_plan(name))


def read_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Return the layers that `text` selects in the notation of a plan: the layers it would unmask.

    Args:
        text: `top:8`, `8-31`, `0-3,8-11`, `middle`, or `0011` (one bit per group of layers, leftmost nearest the
            input).
        num_layers: layers of the model.

    Raises:
        PlanError: invalid notation, layers the model does not have, or no layers at all.

    >>> read_layers("top:2", 6), read_layers("0-1,4-4", 6), read_layers("01", 6)
    ((4, 5), (0, 1, 4), (3, 4, 5))
    """
    reach = read_reach(text, num_layers)
    layers = tuple(layer for layer, value in enumerate(reach) if value is None)
    if not layers or any(reach):
        raise PlanError(
            f"'{text}' does not select layers. Type for example 'top:8' (the 8 nearest the output), '8-15' (a range, "
            "inclusive), 'middle' or '0011' (1 = these groups of layers)."
        )
    return layers


def fewest_layers(text: str) -> int:
    """Return the minimum number of layers of a model for the plan `text`.

    Text that is not a plan gets a number as well; `read_reach` refuses it for every number of layers.

    Raises:
        PlanError: it names more layers than any model has.

    >>> fewest_layers("0011"), fewest_layers("top:8"), fewest_layers("0-3,8-11"), fewest_layers("0,4,*")
    (4, 8, 12, 3)
    """
    name = text.strip().lower()
    if name.startswith("top:"):
        needed = max([int(number) for number in re.findall(r"\d+", name[:40])], default=1)
    elif "-" in name:
        needed = max([int(number) + 1 for number in re.findall(r"\d{1,18}", name)], default=1)
    else:
        needed = name.count(",") + 1 if "," in name else len(name)
    if needed > MAX_LAYERS and ("-" in name or name.startswith("top:")):
        raise PlanError(
            f"'{name:.40}' needs a model with more layers than allowed; the limit is {MAX_LAYERS:,}."
        )
    return max(needed, 1)


def check_layers(text: str) -> None:
    """Check that `text` selects layers in the notation of a plan, for a model with enough layers.

    Raises:
        PlanError: unreadable text, or text that names no layers.
    """
    read_layers(text, fewest_layers(text))


def write_reach(reach: Sequence[Reach]) -> str:
    """Return the shortest usual notation that parses to `reach` for the same number of layers.

    >>> write_reach([0, 0, None, None]), write_reach([0, None, 0, 0, 0]), write_reach([0, 0, 3, 3])
    ('0011', '1-1', '0,3')
    """
    wanted = tuple(reach)
    # Parsing each candidate back guarantees that the notation means exactly this plan.
    for text in _candidates(wanted):
        if read_reach(text, len(wanted)) == wanted:
            return text
    return write_list(wanted)


def write_list(reach: Sequence[Reach]) -> str:
    """Return the comma-separated list with one item per layer; a trailing comma marks a list of one.

    >>> write_list([0, 4, None]), write_list([7])
    ('0,4,*', '7,')
    """
    text = ",".join("*" if value is None else str(value) for value in reach)
    return text if len(reach) > 1 else text + ","


def kind_of(value: Reach) -> str:
    """Return the kind of a layer's mask: causal, bidirectional or look-ahead k."""
    if value is None:
        return "bidirectional"
    return "causal" if value == 0 else f"look-ahead {value}"


def layer_groups(m: int, num_layers: int) -> tuple[range, ...]:
    """Return the layers of each of `m` groups in order; sizes differ by at most one.

    >>> layer_groups(4, 30)
    (range(0, 8), range(8, 15), range(15, 23), range(23, 30))
    """
    if not 1 <= m <= num_layers:
        raise PlanError(
            f"{m} groups do not fit {num_layers} layers; allowed are 1 to {num_layers} groups "
            "(as many bits or comma-separated values)."
        )
    # Division rounded up, so that the larger groups are nearest the input.
    borders = [-(-group * num_layers // m) for group in range(m + 1)]
    return tuple(range(first, last) for first, last in pairwise(borders))


def middle_layers(num_layers: int) -> range:
    """Return the middle half of the layers, rounded up.

    >>> middle_layers(32), middle_layers(30)
    (range(8, 24), range(7, 22))
    """
    size = (num_layers + 1) // 2
    first = (num_layers - size) // 2
    return range(first, first + size)


def _candidates(reach: tuple[Reach, ...]) -> Iterator[str]:
    """Yield short notations that may parse to `reach`, the most usual first."""
    num_layers = len(reach)
    yield from ("causal", "full")
    if any(value not in (0, None) for value in reach):
        yield from (write_list(_of_groups(reach, m)) for m in range(1, num_layers))
        return
    removed = [layer for layer, value in enumerate(reach) if value is None] or [0]
    yield from (_bits(_of_groups(reach, m)) for m in (4, 2, 3) if m <= num_layers)
    yield from ("middle", f"top:{len(removed)}", f"{removed[0]}-{removed[-1]}")
    yield from (_bits(_of_groups(reach, m)) for m in range(5, min(8, num_layers) + 1))
    yield _bits(reach)


def _of_groups(reach: Sequence[Reach], m: int) -> list[Reach]:
    """Return the reach of the first layer of each of `m` groups."""
    return [reach[layers[0]] for layers in layer_groups(m, len(reach))]


def _bits(values: Sequence[Reach]) -> str:
    return "".join("0" if value == 0 else "1" for value in values)


def _unlimited(layers: Sequence[int] | set[int], num_layers: int) -> tuple[Reach, ...]:
    return tuple(None if layer in layers else 0 for layer in range(num_layers))


def _spread(values: Sequence[Reach], num_layers: int, text: str) -> tuple[Reach, ...]:
    if len(values) > num_layers:
        raise PlanError(
            f"Plan '{text}' has {len(values)} groups but the model has {num_layers} layers; "
            f"allowed are 1 to {num_layers} groups. Type fewer bits or values."
        )
    groups = layer_groups(len(values), num_layers)
    return tuple(value for value, layers in zip(values, groups, strict=True) for _ in layers)


def _top_layers(name: str, num_layers: int) -> range:
    count = name.removeprefix("top:").strip()
    if not count.isdecimal() or int(count) < 1:
        raise PlanError(
            f"Plan '{name}' selects '{count}' layers nearest the output; allowed is a whole number from 1. "
            "Type for example 'top:8'."
        )
    if int(count) > num_layers:
        raise PlanError(
            f"Plan '{name}' selects '{count}' layers nearest the output; allowed is a whole number from 1 "
            f"to {num_layers}, the layers of the model. Type for example 'top:{(num_layers + 1) // 2}'."
        )
    return range(num_layers - int(count), num_layers)


def _ranges(items: Sequence[str], num_layers: int) -> set[int]:
    layers: set[int] = set()
    for item in items:
        match = re.fullmatch(r"(\d+)\s*-\s*(\d+)", item)
        if not match:
            raise PlanError(f"'{item}' is not a range of layers; type for example '8-15'.")
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise PlanError(f"Layers '{item}': the smaller number comes first. Type '{last}-{first}'.")
        if last >= num_layers:
            raise PlanError(
                f"Layers '{item}' do not fit: the model has layers 0 to {num_layers - 1}. "
                f"Type for example '0-{num_layers - 1}'."
            )
        layers.update(range(first, last + 1))
    return layers


def _list_item(item: str, text: str) -> Reach:
    if item == "*":
        return None
    if item.isdecimal():
        return int(item)
    hint = (
        f" Write every range with a dash (layer 7 alone is '7-7'), or one reach per group, not both: '{text}'."
        if "-" in item
        else ""
    )
    raise PlanError(
        f"'{item}' in plan '{text}' is not a reach; allowed are 0 (causal), a whole number of tokens of "
        f"look-ahead, or * (unlimited), as in '0,0,4,*'.{hint}"
    )


def _not_a_plan(name: str) -> str:
    hint = ""
    if name.isdecimal() and set(name) - {"0", "1"}:
        hint = f" For {name} tokens of look-ahead in every layer type '{name},'."
    elif name == "*":
        hint = " To remove every mask type 'full'."
    hint = hint or did_you_mean(name, ("causal", "full", "middle"))
    return f"'{name}' is not a mask plan.{hint} Allowed: {NOTATIONS}."
