"""What `objectives` of a space file may be: measured, told by a trainer, or a parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from xortune.core.errors import InputError, nearest
from xortune.core.point import Point
from xortune.core.success import is_cost, parse_success
from xortune.spaces.file import ObjectiveForm
from xortune.spaces.grid import finite_values
from xortune.spaces.model import (
    EPOCHS_TO_SOLVE,
    SUCCESS_RATE,
    Choice,
    Fixed,
    Objective,
    Parameter,
    Range,
    SearchSpace,
)
from xortune.spaces.text import YamlDocument, shown
from xortune.stats.numbers import ENDINGS, named_statistic

MEASURED = {SUCCESS_RATE: True, EPOCHS_TO_SOLVE: False}
"""What training tells, and whether more of it is better."""

SEVERAL = ("tpe", "nsgaii", "gp", "random", "grid")
"""Samplers that look for a front, or learn from nothing anyway."""


def objectives_of(
    forms: Sequence[str | ObjectiveForm],
    parameters: Sequence[Parameter],
    document: YamlDocument,
    success: str | None = None,
) -> tuple[Objective, ...]:
    """The objectives that the forms mean.

    Args:
        forms: as the file has them.
        parameters: of the space.
        document: the file.
        success: its rule for a trainer's numbers, which tells a direction.

    Raises:
        InputError: none, one twice, nothing that is measured, an unknown one, the wrong direction
            or none, or a parameter whose values are not all numbers, not free or not in every
            config.
    """
    if not forms:
        raise InputError(
            "no objective",
            field="objectives",
            place=document.at(("objectives",)),
            allowed=_allowed(parameters),
            fix=f"write [{SUCCESS_RATE}], or leave objectives out",
        )
    found: list[Objective] = []
    for index, form in enumerate(forms):
        objective = _objective(form, index, parameters, document, success)
        if objective.name in [other.name for other in found]:
            raise InputError(
                f"{objective.name} is given twice",
                field="objectives",
                place=document.at(("objectives", index)),
                allowed="each objective once",
                fix="remove one of them",
            )
        found.append(objective)
    if not any(o.name in MEASURED or o.number is not None for o in found):
        raise InputError(
            f"{shown([objective.name for objective in found])} without anything that is measured",
            field="objectives",
            place=document.at(("objectives",)),
            allowed=f"{SUCCESS_RATE} or {EPOCHS_TO_SOLVE} among them, or a trainer's number",
            fix=f"add {SUCCESS_RATE}: or configs that never solve would be the best",
        )
    if [objective.name for objective in found] == [SUCCESS_RATE]:
        return (replace(found[0], ties=_ties(success)),)
    return tuple(found)


def _ties(success: str | None) -> Objective | None:
    """What tells configs of the same count apart: the number that a rule judges, in the middle."""
    try:
        rule = None if success is None else parse_success(success)
    except InputError:  # which is told with its line, later
        return None
    if rule is None or (more := _direction(rule.name, success)) is None:
        return None
    return Objective(f"{rule.name}_median", more, rule.name, "median")


def _objective(
    form: str | ObjectiveForm,
    index: int,
    parameters: Sequence[Parameter],
    document: YamlDocument,
    success: str | None,
) -> Objective:
    name, direction, failed = (
        (form, None, None) if isinstance(form, str) else (form.name, form.direction, form.failed)
    )
    place = ("objectives", index)
    given = name in MEASURED or any(p.name == name for p in parameters)
    told = None if given else named_statistic(name)
    where = document.at(place if isinstance(form, str) else (*place, "name"))
    if told is None and failed is not None:
        raise InputError(
            f"{name} is not told of each seed",
            field="objectives",
            place=document.at((*place, "failed")),
            allowed=f"failed only of a number of your own trainer: its name with {ENDINGS}",
            fix="leave it out",
        )
    natural = MEASURED.get(name) if told is None else _direction(told[0], success)
    if told is None and natural is None:
        _check_parameter(name, parameters, where)
    maximize = natural if direction is None else direction == "maximize"
    if natural not in (None, maximize):
        raise InputError(
            f"{direction} {name}" + ("" if told is None else f", and a success is {success}"),
            field="objectives",
            place=document.at((*place, "direction")),
            allowed="maximize" if natural else "minimize",
            fix="leave the direction out",
        )
    if told is None:
        return Objective(name, bool(maximize))
    if maximize is None:
        likely = "minimize" if is_cost(name) else "maximize"
        raise InputError(
            f"{name} without a direction",
            field="objectives",
            place=where,
            allowed="maximize, or minimize",
            fix=f"write `- {{name: {name}, direction: {likely}}}`",
        )
    return Objective(name, maximize, *told, failed=failed)


def _check_parameter(name: str, parameters: Sequence[Parameter], place: str) -> None:
    """Refuse what is no parameter, or one that cannot be an objective."""
    parameter = next((p for p in parameters if p.name == name), None)
    if parameter is None:
        names = [*MEASURED, *(p.name for p in parameters if _problem(p) is None)]
        raise InputError(
            f"unknown objective {shown(name)}",
            field="objectives",
            place=place,
            allowed=_allowed(parameters),
            fix=nearest(name, names),
        )
    problem = _problem(parameter)
    if problem is not None:
        raise InputError(
            f"{name} {problem}",
            field="objectives",
            place=place,
            allowed=_allowed(parameters),
            fix="choose another, or change the parameter",
        )


def _direction(number: str, success: str | None) -> bool | None:
    """Whether the rule for a success wants more of a number; None if it does not say."""
    try:
        rule = None if success is None else parse_success(success)
    except InputError:  # which is told with its line, later
        return None
    if rule is None or rule.name != number or rule.sign in ("==", "!="):
        return None
    return rule.sign in (">", ">=")


def _problem(parameter: Parameter) -> str | None:
    """Why a parameter is no objective; None if it can be one."""
    if parameter.when:
        return "has a condition, and so is not in every config"
    if isinstance(parameter, Fixed) or (isinstance(parameter, Range) and _is_fixed(parameter)):
        return "is fixed, and so the same in every config"
    if isinstance(parameter, Choice):
        if len(parameter.values) == 1:
            return "is fixed, and so the same in every config"
        other = next((v for v in parameter.values if not is_number(v)), None)
        if other is not None or None in parameter.values:
            return f"may be {shown(other)}, which is no number"
    return None


def _is_fixed(parameter: Range) -> bool:
    values = finite_values(parameter)
    return parameter.low == parameter.high or (values is not None and len(values) == 1)


def is_number(value: object) -> bool:
    """A finite number, and not true or false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _allowed(parameters: Sequence[Parameter]) -> str:
    free = [p.name for p in parameters if _problem(p) is None]
    return ", ".join([*MEASURED, *free, f"a number of your own trainer with {ENDINGS}"])


def check_sampler(space: SearchSpace) -> None:
    """Refuse a sampler that knows one objective only, where there are several.

    And one that sees distances where nothing says how far off a failed seed is.

    Raises:
        InputError: that.
    """
    sampler = space.search.sampler
    far = sampler == "gp" or len(space.objectives) > 1
    for index, objective in enumerate(space.objectives):
        if far and objective.number is not None and objective.failed is None:
            raise InputError(
                f"{objective.name} with "
                + ("sampler gp" if sampler == "gp" else "other objectives")
                + ", and nothing says what a failed seed counts as",
                field="objectives",
                place=space.at("objectives", index),
                allowed="a number `failed`: here distances count, and not the order alone",
                fix=f"write `- {{name: {objective.name}, failed: 0.0}}`, with your own number",
            )
    if len(space.objectives) > 1 and sampler not in SEVERAL:
        raise InputError(
            f"sampler {sampler} with {len(space.objectives)} objectives",
            field="sampler",
            place=space.at("search", "sampler"),
            allowed="with several objectives: " + ", ".join(SEVERAL),
            fix="use sampler nsgaii or tpe, or one objective",
        )


def check_objectives(space: SearchSpace, point: Point) -> None:
    """Refuse objectives that a trainer's normal form of a point does not have as numbers.

    Raises:
        InputError: that.
    """
    for index, objective in enumerate(space.objectives):
        name = objective.name
        if objective.number is not None or name in MEASURED:
            continue
        if not is_number(point.get(name)):
            raise InputError(
                f"{name} is no number in the config that is trained: {shown(point.get(name))}",
                field="objectives",
                place=space.at("objectives", index),
                allowed="parameters that the trainer takes as they are",
                fix="choose another objective",
            )


def check_numbers(space: SearchSpace, told: Iterable[str]) -> None:
    """Refuse objectives that sum up a number which a trainer does not tell.

    Args:
        space: what is searched.
        told: the numbers of a seed that did not fail.

    Raises:
        InputError: that.
    """
    names = list(told)
    for index, objective in enumerate(space.objectives):
        if objective.number is not None and objective.number not in names:
            raise InputError(
                f"{objective.name} is to be looked for, and no {objective.number!r} was returned",
                field="objectives",
                place=space.at("objectives", index),
                allowed=", ".join(names) or "a training that returns numbers",
                fix=nearest(objective.number, names) if names else None,
            )
