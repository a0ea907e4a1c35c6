"""The neighbours of a config: each of its numeric settings moved a little, inside the space.

A config at the edge of a cliff may solve every seed, but fails when a setting moves a little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xortune.core.point import Point, Value
from xortune.spaces.model import Choice, Range, SearchSpace, is_active, is_number


def neighbours(
    point: Point,
    space: SearchSpace,
    fraction: float,
    normal: Callable[[Point], Point] = lambda point: point,
) -> tuple[tuple[str, Point], ...]:
    """Return (name of the moved parameter, point) for each move that gives another config.

    A range on a log scale is moved by the factors 1 / (1 + fraction) and 1 + fraction, any other
    range by a quarter of `fraction` of its width down and up (0.2: 5 %), whole numbers by at least
    1, ranges with a step by at least one step; a move stops at the end of the range. A list of
    numbers is moved to the next smaller and the next larger number, whatever the fraction, unless
    that turns another parameter on or off. Other parameters are not moved, nor are inactive ones.

    Args:
        point: the config.
        space: it is of.
        fraction: how far its settings are moved.
        normal: the trainer's normal form of a point.
    """
    moves_by_key: dict[str, tuple[str, Point]] = {}
    for parameter in space.parameters:
        value = point.get(parameter.name)
        if not is_number(value):
            continue
        if isinstance(parameter, Range):
            moves = _moves(parameter, value, fraction)
        elif isinstance(parameter, Choice) and all(map(is_number, parameter.values)):
            numbers = sorted(number for number in parameter.values if is_number(number))
            smaller = [number for number in numbers if number < value]
            moves = smaller[-1:] + [number for number in numbers if number > value][:1]
        else:
            continue
        for moved in moves:
            values = dict(point) | {parameter.name: moved}
            # A condition may depend on a list of numbers, never on a range.
            if _active(space, values) != _active(space, point):
                continue
            other = normal(Point(values))
            if other.key != point.key:
                moves_by_key.setdefault(other.key, (parameter.name, other))
    return tuple(moves_by_key.values())


def _active(space: SearchSpace, values: Mapping[str, Value]) -> list[str]:
    """Return the names of the parameters whose conditions these values meet."""
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
