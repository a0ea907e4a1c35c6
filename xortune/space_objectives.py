"""What `objectives` of a space file may be: measured, or a parameter that every config has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xortune.errors import InputError, nearest
from xortune.point import Point
from xortune.space_file import ObjectiveForm
from xortune.space_model import (
    EPOCHS_TO_SOLVE,
    SUCCESS_RATE,
    Choice,
    Fixed,
    Objective,
    Parameter,
    Range,
    SearchSpace,
)
from xortune.space_points import finite_values
from xortune.space_yaml import Document, shown

__all__ = ["check_objectives", "check_sampler", "is_number", "objectives_of"]

MEASURED = {SUCCESS_RATE: True, EPOCHS_TO_SOLVE: False}
"""What training tells, and whether more of it is better."""

SEVERAL = ("tpe", "nsgaii", "gp", "random", "grid")
"""Samplers that look for a front, or learn from nothing anyway."""


def objectives_of(
    forms: Sequence[str | ObjectiveForm], parameters: Sequence[Parameter], document: Document
) -> tuple[Objective, ...]:
    """The objectives that the forms mean.

    Raises:
        InputError: none, one twice, nothing that is measured, an unknown one, the wrong direction,
            or a parameter whose values are not all numbers, not free or not in every config.
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
        objective = _objective(form, index, parameters, document)
        if objective.name in [other.name for other in found]:
            raise InputError(
                f"{objective.name} is given twice",
                field="objectives",
                place=document.at(("objectives", index)),
                allowed="each objective once",
                fix="remove one of them",
            )
        found.append(objective)
    if not any(objective.name in MEASURED for objective in found):
        raise InputError(
            f"{shown([objective.name for objective in found])} without anything that is measured",
            field="objectives",
            place=document.at(("objectives",)),
            allowed=f"{SUCCESS_RATE} or {EPOCHS_TO_SOLVE} among them",
            fix=f"add {SUCCESS_RATE}: or configs that never solve would be the best",
        )
    return tuple(found)


def _objective(
    form: str | ObjectiveForm, index: int, parameters: Sequence[Parameter], document: Document
) -> Objective:
    name, direction = (form, None) if isinstance(form, str) else (form.name, form.direction)
    where = ("objectives", index) if isinstance(form, str) else ("objectives", index, "name")
    natural = MEASURED.get(name)
    if natural is not None:
        if direction is not None and (direction == "maximize") != natural:
            kept = "maximize" if natural else "minimize"
            raise InputError(
                f"{direction} {name}",
                field="objectives",
                place=document.at(("objectives", index, "direction")),
                allowed=kept,
                fix="leave the direction out",
            )
        return Objective(name, natural)
    parameter = next((p for p in parameters if p.name == name), None)
    names = [*MEASURED, *(p.name for p in parameters if _problem(p) is None)]
    if parameter is None:
        raise InputError(
            f"unknown objective {shown(name)}",
            field="objectives",
            place=document.at(where),
            allowed=_allowed(parameters),
            fix=nearest(name, names),
        )
    problem = _problem(parameter)
    if problem is not None:
        raise InputError(
            f"{name} {problem}",
            field="objectives",
            place=document.at(where),
            allowed=_allowed(parameters),
            fix="choose another, or change the parameter",
        )
    return Objective(name, direction == "maximize")


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
    return ", ".join([*MEASURED, *free])


def check_sampler(space: SearchSpace) -> None:
    """Refuse a sampler that knows one objective only, where there are several.

    Raises:
        InputError: that.
    """
    sampler = space.search.sampler
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
        if name not in MEASURED and not is_number(point.get(name)):
            raise InputError(
                f"{name} is no number in the config that is trained: {shown(point.get(name))}",
                field="objectives",
                place=space.at("objectives", index),
                allowed="parameters that the trainer takes as they are",
                fix="choose another objective",
            )
