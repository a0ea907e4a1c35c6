"""The neighbours of a config: each of its numeric settings moved a little, inside the space.

A config on a cliff's edge solves every seed as well as one on a plateau, until a setting moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from xortune.errors import InputError
from xortune.point import Point, Value
from xortune.space import Choice, Range, SearchSpace, is_active
from xortune.trainer import Trainer

__all__ = ["neighbours"]


def neighbours(
    point: Point, space: SearchSpace, trainer: Trainer, fraction: float
) -> tuple[tuple[str, Point], ...]:
    """The name of the moved parameter and the point, for each move that leads elsewhere.

    A range on a log scale is moved by the factors 1 / (1 + fraction) and 1 + fraction, any other by
    a quarter of `fraction` of its width down and up (0.2: 5 %); whole numbers by 1 at least, ranges
    with a step by one step at least. What would leave the range ends at its end. A list of numbers
    is moved to the next smaller and the next larger one, whatever the fraction, unless that would
    turn another parameter on or off: that is another kind of config. Parameters with a fixed value
    or other lists are not moved, nor those that are not active in the point.

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
        if not _is_number(value):
            continue
        if isinstance(parameter, Range):
            moves = _moves(parameter, value, fraction)
        elif isinstance(parameter, Choice) and all(map(_is_number, parameter.values)):
            moves = _next_to(parameter.values, value)
        else:
            continue
        for moved in moves:
            values = point.as_dict() | {parameter.name: moved}
            # A condition may hang on a list of numbers, never on a range.
            if _active(space, values) != _active(space, point):
                continue
            other = trainer.check(Point(values))
            if other.key != point.key:
                found.setdefault(other.key, (parameter.name, other))
    return tuple(found.values())


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _next_to(values: Sequence[Value], value: float) -> list[float]:
    """The next smaller and the next larger of some numbers, as far as there are any."""
    numbers = [one for one in values if _is_number(one)]
    smaller = max((one for one in numbers if one < value), default=None)
    larger = min((one for one in numbers if one > value), default=None)
    return [one for one in (smaller, larger) if one is not None]


def _active(space: SearchSpace, values: Mapping[str, Value]) -> list[str]:
    """The names of the parameters whose conditions these values meet."""
    chosen: dict[str, Value] = {}
    names = []
    for parameter in space.parameters:
        if is_active(parameter, chosen):
            names.append(parameter.name)
            if parameter.name in values:  # a normal form may leave some out
                chosen[parameter.name] = values[parameter.name]
    return names


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
