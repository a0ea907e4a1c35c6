"""The points of a space: every one of a grid, and a covering set that finds its mistakes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from xortune.core.point import Point, Value
from xortune.spaces.model import (
    Choice,
    Fixed,
    Parameter,
    Range,
    SearchSpace,
    Steps,
    contains,
    is_active,
)

MAX_PROBES = 2_048
MAX_PAIRS = 200_000
MAX_TRIED = 16  # values of a parameter that are compared to complete a point

Item: TypeAlias = tuple[str, int]
"""The name of a parameter, and which of its probed values."""


def finite_values(parameter: Parameter) -> Sequence[Value] | None:
    """All values of a parameter in order; None for a range of floats without a step."""
    if isinstance(parameter, Fixed):
        return (parameter.value,)
    if isinstance(parameter, Choice):
        return parameter.values
    return Steps(parameter) if parameter.integer or parameter.step is not None else None


def grid(space: SearchSpace) -> Iterator[Point]:
    """Every point once, the last parameter fastest; inactive parameters are absent.

    Only for a space whose every parameter has finitely many values.
    """
    parameters, values = space.parameters, [finite_values(p) for p in space.parameters]
    # An odometer with its own stack: a recursion would be as deep as there are parameters.
    chosen: dict[str, Value] = {}
    stack: list[Iterator[Value] | None] = []
    while True:
        while len(stack) < len(parameters):
            parameter, options = parameters[len(stack)], values[len(stack)]
            assert options is not None, f"{parameter.name} has no step"
            if not is_active(parameter, chosen):
                stack.append(None)
                continue
            iterator = iter(options)
            chosen[parameter.name] = next(iterator)
            stack.append(iterator)
        yield Point(chosen)
        while stack:
            name, top = parameters[len(stack) - 1].name, stack[-1]
            if top is not None:
                try:
                    chosen[name] = next(top)
                    break
                except StopIteration:
                    del chosen[name]
            stack.pop()
        if not stack:
            return


def grid_size(space: SearchSpace) -> int:
    """How many points `grid` yields, without making them.

    Parameters that no condition links multiply; only the values of parents are walked through.
    """
    return math.prod(_size(group) for group in _linked(space.parameters))


def _linked(parameters: Sequence[Parameter]) -> list[list[Parameter]]:
    """Groups of parameters that conditions connect, each in the space's order."""
    groups: list[list[Parameter]] = []
    for parameter in parameters:
        parents = {name for name, _ in parameter.when}
        joined = [group for group in groups if parents & {p.name for p in group}]
        groups = [group for group in groups if group not in joined]
        names = {p.name for group in joined for p in group} | {parameter.name}
        groups.append([p for p in parameters if p.name in names])
    return groups


def _size(group: Sequence[Parameter]) -> int:
    parents = {name for parameter in group for name, _ in parameter.when}

    def count(index: int, chosen: Mapping[str, Value]) -> int:
        if index == len(group):
            return 1
        parameter = group[index]
        if not is_active(parameter, chosen):
            return count(index + 1, chosen)
        values = finite_values(parameter)
        assert values is not None, f"{parameter.name} has no step"
        if parameter.name not in parents:
            return len(values) * count(index + 1, chosen)
        return sum(count(index + 1, {**chosen, parameter.name: value}) for value in values)

    return count(0, {})


def probes(space: SearchSpace) -> Iterator[Point]:
    """Points that together hold every pair of extreme or listed values of two parameters.

    A range stands for its two ends. Conditions are honoured, pairs that they exclude are left out.
    Every single value comes first, then pairs, up to some thousands of points.
    """
    domains = {parameter.name: _probed(parameter) for parameter in space.parameters}
    by_name = {parameter.name: parameter for parameter in space.parameters}
    met: dict[Item, set[Item]] = {
        (name, index): set() for name, values in domains.items() for index in range(len(values))
    }
    emitted = 0
    singles = [{name: index} for name, index in met]
    pairs = (
        {a: i, b: j}
        for a, b in itertools.combinations(domains, 2)
        for i in range(len(domains[a]))
        for j in range(len(domains[b]))
    )
    for wanted in itertools.chain(singles, itertools.islice(pairs, MAX_PAIRS)):
        first, *rest = wanted.items()
        # An item meets itself in its first point.
        if (rest[0] if rest else first) in met[first]:
            continue
        if rest and emitted >= MAX_PROBES:
            return
        forced = _forced(wanted, domains, by_name)
        if forced is None:
            continue
        indices = _completed(forced, domains, space.parameters, met)
        for item in indices.items():
            met[item].update(indices.items())
        emitted += 1
        yield Point({name: domains[name][index] for name, index in indices.items()})


def _probed(parameter: Parameter) -> tuple[Value, ...]:
    if isinstance(parameter, Range):
        same = parameter.low == parameter.high
        return (parameter.low,) if same else (parameter.low, parameter.high)
    return tuple(finite_values(parameter) or ())


def _forced(
    wanted: Mapping[str, int],
    domains: Mapping[str, tuple[Value, ...]],
    by_name: Mapping[str, Parameter],
) -> dict[str, list[int]] | None:
    """What the wanted values and all conditions above them leave; None where they contradict.

    Conditions are conjunctions of sets, so intersecting them is exact: no search is needed.
    """
    left = {name: [index] for name, index in wanted.items()}
    waiting = list(wanted)
    while waiting:
        for name, allowed in by_name[waiting.pop()].when:
            if name not in left:
                left[name] = list(range(len(domains[name])))
                waiting.append(name)
            left[name] = [i for i in left[name] if contains(allowed, domains[name][i])]
            if not left[name]:
                return None
    return left


def _completed(
    forced: Mapping[str, list[int]],
    domains: Mapping[str, tuple[Value, ...]],
    parameters: Sequence[Parameter],
    met: Mapping[Item, set[Item]],
) -> dict[str, int]:
    """A value for every active parameter, each the one that meets the most items anew."""
    indices: dict[str, int] = {}
    values: dict[str, Value] = {}
    # Forced values further down the order are part of this point too.
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
