"""The neighbours of a config: each of its numeric settings moved a little, inside the space.

A config on a cliff's edge solves every seed as well as one on a plateau, until a setting moves.
"""

from __future__ import annotations

import math

from xortune.errors import InputError
from xortune.point import Point
from xortune.space import Range, SearchSpace
from xortune.trainer import Trainer

__all__ = ["neighbours"]


def neighbours(
    point: Point, space: SearchSpace, trainer: Trainer, fraction: float
) -> tuple[tuple[str, Point], ...]:
    """The name of the moved parameter and the point, for each move that leads elsewhere.

    A range on a log scale is moved by the factors 1 / (1 + fraction) and 1 + fraction, any other by
    a quarter of `fraction` of its width down and up (0.2: 5 %); whole numbers by 1 at least, ranges
    with a step by one step at least. What would leave the range ends at its end. Parameters with a
    fixed value or a list of values are not moved, nor those that are not active in the point.

    Args:
        point: in its trainer's normal form.
        space: whose ranges are meant.
        trainer: brings the moved points into its normal form.
        fraction: above 0.

    Raises:
        InputError: a fraction that is not above 0 and finite, or a point that the trainer refuses.
    """
    if not 0 < fraction < math.inf:
        raise InputError(
            f"{fraction} is out of range", field="neighbourhood", allowed="above 0, such as 0.2"
        )
    found: dict[str, tuple[str, Point]] = {}
    for parameter in space.parameters:
        value = point.get(parameter.name)
        if not isinstance(parameter, Range) or value is None:
            continue
        assert isinstance(value, int | float)
        for moved in _moves(parameter, value, fraction):
            # No condition hangs on a range: a move turns no other parameter on or off.
            other = trainer.check(Point(point.as_dict() | {parameter.name: moved}))
            if other.key != point.key:
                found.setdefault(other.key, (parameter.name, other))
    return tuple(found.values())


def _moves(parameter: Range, value: float, fraction: float) -> list[float]:
    if parameter.log:
        targets = (value / (1 + fraction), value * (1 + fraction))
    else:
        width = (parameter.high - parameter.low) * fraction / 4
        targets = (value - width, value + width)
    least = 1 if parameter.integer and parameter.step is None else parameter.step
    moves = []
    for target, sign in zip(targets, (-1, 1), strict=True):
        moved = target
        if least is not None:
            steps = max(1, round(abs(target - value) / least))
            moved = value + sign * steps * least
            if not parameter.integer:  # steps of 0.1 from 0.2 reach 0.3, not 0.30000000000000004
                moved = float(f"{moved:.12g}")
        moved = min(max(moved, parameter.low), parameter.high)
        moves.append(int(moved) if parameter.integer else moved)
    return [moved for moved in moves if moved != value]
