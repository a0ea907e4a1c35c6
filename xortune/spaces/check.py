"""What the parts of a space must be to each other: ranges, conditions, sampler, start entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from xortune.core.errors import InputError, nearest
from xortune.core.point import Point, Value
from xortune.spaces.file import RangeForm
from xortune.spaces.grid import finite_values
from xortune.spaces.model import (
    Choice,
    Fixed,
    Parameter,
    Range,
    SearchSpace,
    Steps,
    When,
    contains,
    is_active,
)
from xortune.spaces.text import YamlDocument, shown, word


def checked_range(name: str, form: RangeForm, when: When, document: YamlDocument) -> Range:
    """The range that a form means.

    Raises:
        InputError: ends or a step that do not fit each other.
    """
    low, high, step, log = form.low, form.high, form.step, form.log

    def refuse(key: str, problem: str, allowed: str, fix: str) -> InputError:
        place = document.at(("parameters", name, key))
        return InputError(problem, field=name, place=place, allowed=allowed, fix=fix)

    if low > high:
        fix = f"swap them: low: {high}, high: {low}"
        raise refuse("low", f"low {low} is above high {high}", "low at most high", fix)
    if log and low <= 0:
        fix = "raise low, for instance to 1.0e-4, or drop log"
        raise refuse("low", f"{low} has no logarithm", "low above 0 with log: true", fix)
    if step is not None and log:
        raise refuse("step", "a step with log: true", "one of step and log", "drop one of them")
    integer = all(isinstance(number, int) for number in (low, high, step) if number is not None)
    if step is not None:
        if step <= 0:
            raise refuse("step", f"{step} is no step", "a number above 0", "write a larger step")
        span, size = Decimal(repr(high)) - Decimal(repr(low)), Decimal(repr(step))
        if span / size > 2**53 or (low + step == low or high - step == high):
            raise refuse("step", f"{step} is lost in rounding", "a larger step", "enlarge step")
        if span % size:
            last = float(Decimal(repr(low)) + span // size * size)
            raise refuse(
                "step",
                f"steps of {step} from {low} do not reach {high}",
                "a step that divides high - low",
                f"set high to {int(last) if integer else last}, or change step",
            )
    if integer:
        return Range(name, low, high, log, step, True, when)
    return Range(
        name, float(low), float(high), log, None if step is None else float(step), False, when
    )


def ordered(parameters: list[Parameter], document: YamlDocument) -> tuple[Parameter, ...]:
    """Parents before children, otherwise as in the file."""
    names = [parameter.name for parameter in parameters]
    for parameter in parameters:
        for other, _ in parameter.when:
            if other not in names:
                raise InputError(
                    f"a condition on {other!r}, which is no parameter",
                    field=parameter.name,
                    place=document.at(("parameters", parameter.name, "when", other)),
                    allowed=", ".join(name for name in names if name != parameter.name),
                    fix=nearest(other, names),
                )
    done: dict[str, Parameter] = {}
    waiting = parameters
    while waiting:
        ready = next((p for p in waiting if all(other in done for other, _ in p.when)), None)
        if ready is None:
            circle = _circle(waiting)
            raise InputError(
                "conditions go round in a circle: " + " -> ".join(circle),
                field=circle[0],
                place=document.at(("parameters", circle[0], "when")),
                allowed="conditions on parameters that do not depend on this one",
                fix="remove one of these conditions",
            )
        done[ready.name] = ready
        waiting = [p for p in waiting if p is not ready]
    return tuple(done.values())


def _circle(stuck: Sequence[Parameter]) -> list[str]:
    """One circle among parameters that each wait for another of them."""
    parents = {p.name: [other for other, _ in p.when] for p in stuck}
    path = [stuck[0].name]
    while path[-1] not in path[:-1]:
        path.append(next(other for other in parents[path[-1]] if other in parents))
    return path[path.index(path[-1]) :]


def check_conditions(parameters: Sequence[Parameter], document: YamlDocument) -> None:
    """Refuse conditions that no point can meet, or that hang on a range."""
    by_name = {parameter.name: parameter for parameter in parameters}
    for parameter in parameters:
        for other, values in parameter.when:
            parent, place = by_name[other], ("parameters", parameter.name, "when", other)
            if isinstance(parent, Range):
                raise InputError(
                    f"a condition on {other}, which is a range",
                    field=parameter.name,
                    place=document.at(place),
                    allowed="conditions on a choice or a fixed value",
                    fix=f"make {other} a choice, or drop the condition",
                )
            known = finite_values(parent) or ()
            for value in values:
                if not contains(known, value):
                    texts = [word(item) for item in known]
                    raise InputError(
                        f"{other} is never {shown(value)}",
                        field=parameter.name,
                        place=document.at(place),
                        allowed=", ".join(texts),
                        fix=nearest(str(value), texts),
                    )


def check_search(space: SearchSpace) -> None:
    """What the sampler asks of the space and of the number of trials."""
    search = space.search
    where = space.at("search", "trials")
    if search.sampler == "grid":
        for parameter in space.parameters:
            if finite_values(parameter) is None:
                raise InputError(
                    "a range of floats without a step, which no grid can walk through",
                    field=parameter.name,
                    place=space.at("parameters", parameter.name),
                    allowed="with sampler grid: fixed values, choices, integers, ranges with step",
                    fix="give it a step or a choice, or use another sampler",
                )
        if search.trials is not None:
            raise InputError(
                f"{search.trials} trials with sampler grid",
                field="trials",
                place=where,
                allowed="no trials: a grid runs each of its points once",
                fix="remove trials, or use sampler random for a part of the points",
            )
        return
    if search.trials is None:
        raise InputError(
            f"sampler {search.sampler} needs to know how many trials",
            field="trials",
            place=where,
            allowed="a whole number, 1 or more",
            fix="add `trials: 200` below search, or give --trials",
        )
    if search.sampler == "cmaes":
        _check_cmaes(space)


def _check_cmaes(space: SearchSpace) -> None:
    for parameter in space.parameters:
        if isinstance(parameter, Choice) or parameter.when:
            what = "a condition" if parameter.when else "a choice"
            raise InputError(
                f"{what}, which sampler cmaes would only draw at random",
                field=parameter.name,
                place=space.at("parameters", parameter.name),
                allowed="with sampler cmaes: fixed values and ranges without conditions",
                fix="fix it, or use sampler tpe",
            )
    free = [p for p in space.parameters if isinstance(p, Range) and p.low < p.high]
    if len(free) < 2:
        raise InputError(
            f"{len(free)} range{'s'[: len(free) != 1]} with sampler cmaes",
            field="sampler",
            place=space.at("search", "sampler"),
            allowed="at least two: it learns how they go together",
            fix="search over more parameters, or use sampler tpe",
        )


def start_point(space: SearchSpace, index: int, given: Mapping[str, Value]) -> Point:
    """A start entry as a complete point."""
    names = [parameter.name for parameter in space.parameters]
    for name in given:
        if name not in names:
            raise InputError(
                f"{name!r} is no parameter",
                field=name,
                place=space.at("start", index, name),
                allowed=", ".join(names),
                fix=nearest(name, names),
            )
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not is_active(parameter, values):
            if name in given:
                needed = " and ".join(
                    f"{other} is {' or '.join(map(word, allowed))}"
                    for other, allowed in parameter.when
                )
                raise InputError(
                    f"{shown(given[name])} where {name} is not active",
                    field=name,
                    place=space.at("start", index, name),
                    allowed=f"{name} only where {needed}",
                    fix="remove it from this entry",
                )
            continue
        if isinstance(parameter, Fixed):
            values[name] = given.get(name, parameter.value)
        elif name in given:
            values[name] = given[name]
        else:
            raise InputError(
                "is missing from this start entry",
                field=name,
                place=space.at("start", index, name),
                allowed=allowed_values(parameter),
                fix=f"add {name}: every active parameter needs its value",
            )
        values[name] = _member(space, index, parameter, values[name])
    return Point(values)


def _member(space: SearchSpace, index: int, parameter: Parameter, value: Value) -> Value:
    """The value as the space writes it, if it is in the space."""
    known = finite_values(parameter)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(parameter, Range):
        assert value is None or isinstance(value, bool | int | float | str)
        if isinstance(value, int | float) and number and parameter.low <= value <= parameter.high:
            if known is None:
                return float(value)
            step = parameter.step or 1
            near = round((value - parameter.low) / step)
            steps = Steps(parameter)
            if near < len(steps) and steps[near] == value:
                return steps[near]
    elif contains(known or (), value):
        return next(item for item in known or () if contains((item,), value))
    allowed = allowed_values(parameter)
    texts = [word(item) for item in known] if isinstance(parameter, Choice) and known else []
    raise InputError(
        f"{shown(value)} is not in the space",
        field=parameter.name,
        place=space.at("start", index, parameter.name),
        allowed=allowed,
        fix=nearest(str(value), texts) if texts else "change the value, or widen the parameter",
    )


def allowed_values(parameter: Parameter) -> str:
    """What a parameter's value may be, as one phrase."""
    if isinstance(parameter, Fixed):
        return f"{word(parameter.value)} (fixed)"
    if isinstance(parameter, Choice):
        return ", ".join(word(value) for value in parameter.values)
    step = f" in steps of {parameter.step}" if parameter.step is not None else ""
    kind = "whole numbers from " if parameter.integer else ""
    return f"{kind}{parameter.low} to {parameter.high}{step}"
