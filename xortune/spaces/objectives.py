"""What `objectives` of a space file may be: measured, told by a trainer, or a parameter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xortune.core.errors import nearest
from xortune.core.point import Point
from xortune.core.success import is_cost
from xortune.spaces.model import (
    EPOCHS_TO_SOLVE,
    MEASURED,
    SUCCESS_RATE,
    Objective,
    ObjectiveSettings,
    Parameter,
    Range,
    SearchSpace,
    finite_values,
    is_number,
)
from xortune.spaces.text import shown
from xortune.stats.numbers import ENDINGS, named_statistic

SEVERAL = ("tpe", "nsgaii", "gp", "random", "grid")
"""Samplers that look for a front, or learn from nothing anyway."""


def objectives_of(
    given: Iterable[str | ObjectiveSettings], space: SearchSpace
) -> tuple[Objective, ...]:
    """The objectives that a file means, for a space whose parameters and rule are known.

    Raises:
        InputError: one twice, nothing that is measured, an unknown one, the wrong direction or
            none, or a parameter whose values are not all numbers, not free or not in every config.
    """
    found: list[Objective] = []
    for index, form in enumerate(given):
        objective = _objective(form, index, space)
        if objective.name in [other.name for other in found]:
            problem = f"{objective.name} is given twice"
            place = ("objectives", index)
            raise space.refusal(place, problem, "each objective once", "remove one of them")
        found.append(objective)
    names = [objective.name for objective in found]
    if not any(o.name in MEASURED or o.number is not None for o in found):
        raise space.refusal(
            ("objectives",),
            f"{shown(names)} without anything that is measured",
            f"{SUCCESS_RATE} or {EPOCHS_TO_SOLVE} among them, or a trainer's number",
            f"add {SUCCESS_RATE}: or configs that never solve would be the best",
        )
    if names == [SUCCESS_RATE] and space.success is not None:
        number = space.success.name
        if (more := _rule_wants_more(number, space)) is not None:
            ties = Objective(f"{number}_median", more, number, "median")
            return (replace(found[0], ties=ties),)
    return tuple(found)


def _objective(form: str | ObjectiveSettings, index: int, space: SearchSpace) -> Objective:
    place: tuple[str | int, ...] = ("objectives", index)
    if isinstance(form, str):
        name, form = form, ObjectiveSettings(form)
    else:
        name = form.name
    parameter = next((p for p in space.parameters if p.name == name), None)
    told = None if name in MEASURED or parameter is not None else named_statistic(name)
    if told is None and form.failed is not None:
        raise space.refusal(
            (*place, "failed"),
            f"{name} is not told of each seed",
            f"failed only of a number of your own trainer: its name with {ENDINGS}",
            "leave it out",
        )
    if told is None and name not in MEASURED:
        _check_parameter(name, parameter, place, space)
    natural = MEASURED.get(name) if told is None else _rule_wants_more(told[0], space)
    maximize = natural if form.direction is None else form.direction == "maximize"
    if natural not in (None, maximize):
        why = "" if told is None else f", and a success is {space.success}"
        allowed = "maximize" if natural else "minimize"
        problem = f"{form.direction} {name}{why}"
        raise space.refusal((*place, "direction"), problem, allowed, "leave the direction out")
    if told is None:
        return Objective(name, bool(maximize))
    if maximize is None:
        likely = "minimize" if is_cost(name) else "maximize"
        fix = f"write `- {{name: {name}, direction: {likely}}}`"
        raise space.refusal(place, f"{name} without a direction", "maximize, or minimize", fix)
    return Objective(name, maximize, *told, failed=form.failed)


def _check_parameter(
    name: str, parameter: Parameter | None, place: tuple[str | int, ...], space: SearchSpace
) -> None:
    """Refuse what is no parameter, or one that cannot be an objective."""
    free = [*MEASURED, *(p.name for p in space.parameters if _not_free(p) is None)]
    allowed = ", ".join([*free, f"a number of your own trainer with {ENDINGS}"])
    if parameter is None:
        raise space.refusal(place, f"unknown objective {shown(name)}", allowed, nearest(name, free))
    if problem := _not_free(parameter):
        fix = "choose another, or change the parameter"
        raise space.refusal(place, f"{name} {problem}", allowed, fix)


def _not_free(parameter: Parameter) -> str | None:
    """Why a parameter is no objective; None if it can be one."""
    if parameter.when:
        return "has a condition, and so is not in every config"
    values = finite_values(parameter)
    if values is None:
        return None
    if len(values) == 1:
        return "is fixed, and so the same in every config"
    if not isinstance(parameter, Range) and not all(map(is_number, values)):
        other = next(value for value in values if not is_number(value))
        return f"may be {shown(other)}, which is no number"
    return None


def _rule_wants_more(number: str, space: SearchSpace) -> bool | None:
    """Whether the rule for a success wants more of a number; None if it does not say."""
    rule = space.success
    if rule is None or rule.name != number or rule.sign in ("==", "!="):
        return None
    return rule.sign in (">", ">=")


def check_sampler(space: SearchSpace) -> None:
    """Refuse a sampler that looks for one objective where there are several.

    And one that sees distances where nothing says how far off a failed seed is.
    """
    sampler, several = space.search.sampler, len(space.objectives) > 1
    for index, objective in enumerate(space.objectives):
        if (
            (sampler == "gp" or several)
            and objective.number is not None
            and objective.failed is None
        ):
            beside = "sampler gp" if sampler == "gp" else "other objectives"
            raise space.refusal(
                ("objectives", index),
                f"{objective.name} with {beside}, and nothing says what a failed seed counts as",
                "a number `failed`: here distances count, and not the order alone",
                f"write `- {{name: {objective.name}, failed: 0.0}}`, with your own number",
            )
    if several and sampler not in SEVERAL:
        raise space.refusal(
            ("search", "sampler"),
            f"sampler {sampler} with {len(space.objectives)} objectives",
            "with several objectives: " + ", ".join(SEVERAL),
            "use sampler nsgaii or tpe, or one objective",
        )


def check_objectives(space: SearchSpace, point: Point) -> None:
    """Refuse objectives that a trainer's normal form of a point does not have as numbers."""
    for index, objective in enumerate(space.objectives):
        name, value = objective.name, point.get(objective.name)
        if objective.number is None and name not in MEASURED and not is_number(value):
            raise space.refusal(
                ("objectives", index),
                f"{name} is no number in the config that is trained: {shown(value)}",
                "parameters that the trainer takes as they are",
                "choose another objective",
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
            raise space.refusal(
                ("objectives", index),
                f"{objective.name} is to be looked for, and no {objective.number!r} was returned",
                ", ".join(names) or "a training that returns numbers",
                nearest(objective.number, names) if names else None,
            )
