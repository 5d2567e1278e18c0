"""The mask plan: how far to the right each decoder layer may attend. Pure Python, no torch.

Layer-wise removal of the causal mask is from Dukić & Šnajder 2024 (arXiv 2401.14556, section 3). Limited
look-ahead, which adds up over the layers, is used by wtpsplit ("Segment any Text").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from lookboth.errors import PlanError
from lookboth.masking import notation
from lookboth.masking.notation import Reach

MAX_LOOK_AHEAD = 1_000_000_000
"""Largest look-ahead in tokens: more than any text has, and small enough that its sum with a position fits int64."""


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """The reach of each decoder layer, the layer nearest the input first.

    The reach of a layer is the number of tokens to the right it may attend to (`None`: no limit).

    Args:
        reach: one value per layer: 0 causal, k > 0 tokens of look-ahead, None unlimited (bidirectional).

    Raises:
        PlanError: no layers, or a value that is not None or a whole number from 0 to `MAX_LOOK_AHEAD`.

    >>> plan = MaskPlan.parse("0011", num_layers=8)
    >>> plan.reach
    (0, 0, 0, 0, None, None, None, None)
    >>> str(plan)
    '0011'
    >>> MaskPlan((0, 4, None)).kinds()
    ('causal', 'look-ahead 4', 'bidirectional')
    """

    reach: tuple[Reach, ...]

    def __post_init__(self) -> None:
        # Callers may pass a list; a tuple makes the plan hashable.
        object.__setattr__(self, "reach", tuple(self.reach))
        if not self.reach:
            raise PlanError("A mask plan needs at least one layer; found none. Type MaskPlan((0, None)).")
        for layer, value in enumerate(self.reach):
            # Not isinstance, because True and False are ints.
            if value is not None and (type(value) is not int or not 0 <= value <= MAX_LOOK_AHEAD):
                raise PlanError(
                    f"Layer {layer} has reach {value!r}; allowed are 0 (causal), a whole number of tokens of "
                    f"look-ahead up to {MAX_LOOK_AHEAD:,}, or None (unlimited). "
                    "Type for example MaskPlan((0, 4, None))."
                )

    @classmethod
    def parse(cls, text: str, num_layers: int) -> "MaskPlan":
        """Parse a plan in any notation for a decoder of `num_layers` layers.

        Args:
            text: `0011` (one bit per group of layers, leftmost nearest the input, 1 = mask removed), `causal`,
                `full`, `middle` (the middle half), `top:8` (the 8 layers nearest the output), `8-31` or
                `0-3,8-11` (layers with the mask removed, 0-based, inclusive), `0,0,4,*` (one reach per group
                of layers: 0 causal, k look-ahead, * unlimited).
            num_layers: decoder layers of the model; groups differ by at most one layer if they do not divide it.

        Raises:
            PlanError: invalid notation, more groups than layers, or layers the model does not have.

        >>> MaskPlan.parse("middle", 8) == MaskPlan.parse("2-5", 8) == MaskPlan.parse("0110", 8)
        True
        >>> [len(layers) for layers in MaskPlan.parse("causal", 30).groups(4)]
        [8, 7, 8, 7]
        """
        return cls(notation.read_reach(text, num_layers))

    def __str__(self) -> str:
        return notation.write_reach(self.reach)

    def spelled_out(self) -> str:
        """Return the comma-separated list with one reach per layer, as saved with a model.

        >>> MaskPlan.parse("top:1", 3).spelled_out()
        '0,0,*'
        """
        return notation.write_list(self.reach)

    @property
    def num_layers(self) -> int:
        """Number of decoder layers the plan is for."""
        return len(self.reach)

    @property
    def is_causal(self) -> bool:
        """Whether every layer keeps its causal mask, as in a stock decoder."""
        return all(value == 0 for value in self.reach)

    def kinds(self) -> tuple[str, ...]:
        """Return the kind of each layer's mask, nearest the input first."""
        return tuple(notation.kind_of(value) for value in self.reach)

    def total_look_ahead(self) -> int | None:
        """Return how many tokens to the right the final state of a token depends on; None when unlimited.

        >>> MaskPlan((0, 4, 2)).total_look_ahead()
        6
        """
        total = 0
        for value in self.reach:
            if value is None:
                return None
            total += value
        return total

    def groups(self, m: int) -> tuple[range, ...]:
        """Return the layers of each of `m` groups, nearest the input first; sizes differ by at most one.

        >>> MaskPlan.parse("causal", 5).groups(2)
        (range(0, 3), range(3, 5))
        """
        return notation.layer_groups(m, self.num_layers)


def check_plan(text: str) -> None:
    """Check that `text` is a mask plan for some number of layers; whether it fits a model is known only with the model.

    Raises:
        PlanError: unreadable text, or a look-ahead that no text needs.
    """
    MaskPlan.parse(text, notation.fewest_layers(text))


def group_plans(m: int, num_layers: int) -> Iterator[MaskPlan]:
    """Yield the 2^m plans that keep or remove the causal mask of each of `m` layer groups, `0...0` first.

    >>> [str(plan) for plan in group_plans(2, num_layers=4)]
    ['causal', '0011', '1100', 'full']
    """
    for bits in product("01", repeat=m):
        yield MaskPlan.parse("".join(bits), num_layers)
