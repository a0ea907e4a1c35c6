"""Points of a space: all points of a grid, and a covering set that finds mistakes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from xortune.core.point import Point, Value
from xortune.spaces.model import (
    Parameter,
    SearchSpace,
    contains,
    extremes,
    finite_values,
    is_active,
)

MAX_PROBES = 2_048
MAX_PAIRS = 200_000
MAX_TRIED = 16  # values of a parameter that are compared when a point is completed

Item: TypeAlias = tuple[str, int]
"""The name of a parameter, and the index of one of its extremes."""


def grid(space: SearchSpace) -> Iterator[Point]:
    """Every point once, without inactive parameters; the last parameter varies fastest.

    All parameters must have finitely many values.
    """
    chosen: dict[str, Value] = {}

    def walk(left: Sequence[Parameter]) -> Iterator[Point]:
        if not left:
            yield Point.unchecked(chosen.copy())  # the space has checked the values
            return
        parameter, *others = left
        if not is_active(parameter, chosen):
            yield from walk(others)
            return
        for value in finite_values(parameter) or ():
            chosen[parameter.name] = value
            yield from walk(others)
        del chosen[parameter.name]

    yield from walk(space.parameters)


def grid_size(space: SearchSpace) -> int:
    """The number of points of `grid`, without making them.

    The sizes of groups of parameters that no condition links are multiplied. Within a group only
    the values of parents are enumerated.
    """
    groups: list[list[Parameter]] = []  # parameters linked by conditions, in the space's order
    for parameter in space.parameters:
        parents = {name for name, _ in parameter.when}
        linked = [group for group in groups if parents & {p.name for p in group}]
        groups = [group for group in groups if group not in linked]
        names = {parameter.name, *(p.name for group in linked for p in group)}
        groups.append([p for p in space.parameters if p.name in names])
    return math.prod(map(_size, groups))


def budget(space: SearchSpace) -> int:
    """How many proposals a search of the space makes."""
    if space.search.trials is not None:
        return space.search.trials
    size = grid_size(space)
    if not space.start:
        return size
    return size + len({point.key for point in space.start} - {point.key for point in grid(space)})


def _size(group: Sequence[Parameter]) -> int:
    parents = {name for parameter in group for name, _ in parameter.when}

    def count(left: Sequence[Parameter], chosen: Mapping[str, Value]) -> int:
        if not left:
            return 1
        parameter, *others = left
        if not is_active(parameter, chosen):
            return count(others, chosen)
        values = finite_values(parameter) or ()
        if parameter.name not in parents:
            return len(values) * count(others, chosen)
        return sum(count(others, {**chosen, parameter.name: value}) for value in values)

    return count(group, {})


def probes(space: SearchSpace) -> Iterator[Point]:
    """Points that together contain every pair of values of two parameters; of a range its ends.

    Pairs that conditions exclude are left out. Every single value comes first, then pairs, up to
    some thousands of points.
    """
    if not space.parameters:
        yield Point({})
        return
    domains = {parameter.name: extremes(parameter) for parameter in space.parameters}
    items = {name: [(name, index) for index in range(len(domains[name]))] for name in domains}
    met: dict[Item, set[Item]] = {item: set() for some in items.values() for item in some}
    emitted = 0
    singles = ((item,) for item in met)
    pairs = itertools.chain.from_iterable(
        itertools.product(items[a], items[b]) for a, b in itertools.combinations(domains, 2)
    )
    for items_needed in itertools.chain(singles, itertools.islice(pairs, MAX_PAIRS)):
        if items_needed[-1] in met[items_needed[0]]:  # an item meets itself in its first point
            continue
        if len(items_needed) > 1 and emitted >= MAX_PROBES:
            return
        forced = _forced(dict(items_needed), domains, space.parameters)
        if forced is None:
            continue
        indices = _completed(forced, domains, space.parameters, met)
        for item in indices.items():
            met[item].update(indices.items())
        emitted += 1
        yield Point({name: domains[name][index] for name, index in indices.items()})


def _forced(
    needed: Mapping[str, int],
    domains: Mapping[str, Sequence[Value]],
    parameters: Sequence[Parameter],
) -> dict[str, list[int]] | None:
    """The indices that the needed values and the conditions above them allow; None for none.

    Conditions are conjunctions of sets, so that intersecting them is exact, without a search.
    """
    left = {name: [index] for name, index in needed.items()}
    for parameter in reversed(parameters):  # children before their parents
        if parameter.name not in left:
            continue
        for name, allowed in parameter.when:
            indices = left.get(name) or range(len(domains[name]))
            left[name] = [i for i in indices if contains(allowed, domains[name][i])]
            if not left[name]:
                return None
    return left


def _completed(
    forced: Mapping[str, list[int]],
    domains: Mapping[str, Sequence[Value]],
    parameters: Sequence[Parameter],
    met: Mapping[Item, set[Item]],
) -> dict[str, int]:
    """For every active parameter the value that meets the most items for the first time."""
    indices: dict[str, int] = {}
    values: dict[str, Value] = {}
    # Forced values of later parameters are part of this point too.
    others: set[Item] = {(name, left[0]) for name, left in forced.items() if len(left) == 1}
    for parameter in parameters:
        name = parameter.name
        if name not in forced and not is_active(parameter, values):
            continue
        options = [(name, i) for i in forced.get(name) or range(min(len(domains[name]), MAX_TRIED))]
        best = max(options, key=lambda item: len(others - met[item]))
        others.add(best)
        indices[name] = best[1]
        values[name] = domains[name][best[1]]
    return indices
