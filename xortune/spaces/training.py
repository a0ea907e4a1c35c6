"""What a space file says of a user's trainer: a function or a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xortune.core.errors import InputError, nearest
from xortune.core.point import Value
from xortune.core.success import VALUE, Success, parse_success
from xortune.spaces.command import (
    EXIT_CODE,
    JSON,
    METRICS,
    NUMBER,
    Command,
    check_names,
    check_values,
    parse_template,
)
from xortune.spaces.file import CommandForm
from xortune.spaces.model import EPOCHS_TO_SOLVE, Choice, Parameter, Range, SearchSpace
from xortune.spaces.text import shown

# -------------------------------------------------------------------------------------------------
# What a space file says of a trainer of the user's own, and what it must not say beside it.

OWN, COMMAND = "a function of your own", "a command"


def checked_success(space: SearchSpace, rule: str | None) -> SearchSpace:
    """The space with its rule for success.

    Raises:
        InputError: the rule cannot be read.
    """
    if rule is None:
        return space
    try:
        return replace(space, success=parse_success(rule))
    except InputError as error:
        raise error.at(space.at("success")) from None


def with_own(space: SearchSpace) -> SearchSpace:
    """The space as it is searched with a function that is given from Python.

    Raises:
        InputError: it names a trainer itself, or says what means nothing beside one.
    """
    if space.trainer is not None:
        raise InputError(
            f"the space names a trainer, {space.trainer!r}, and train= is given too",
            field="train",
            allowed="one of them",
            fix=f"leave train= out, or remove the line at {space.at('trainer')}",
        )
    check_own(space)
    return replace(space, task=None)


def check_own(space: SearchSpace, what: str = OWN) -> None:
    """Refuse what means nothing where a function, or a command, of the user's own trains.

    Raises:
        InputError: a task, epochs at the top, or epochs to solve as an objective.
    """
    for name, fix in (
        ("task", "remove this line: your own trainer decides what is learned"),
        ("epochs", "remove this line, or write epochs below parameters: it is then passed on"),
    ):
        if name in space.lines:
            raise InputError(
                f"means nothing with {what}",
                field=name,
                place=space.at(name),
                allowed=f"{name} only for the built-in network",
                fix=fix,
            )
    for index, objective in enumerate(space.objectives):
        if objective.name == EPOCHS_TO_SOLVE:
            raise InputError(
                f"{EPOCHS_TO_SOLVE} is not known with {what}",
                field="objectives",
                place=space.at("objectives", index),
                allowed="success_rate, parameters with numbers, and the function's own numbers",
                fix="remove it",
            )


def check_built_in(space: SearchSpace) -> None:
    """Refuse what means nothing for the built-in network.

    Raises:
        InputError: a rule for success, or an objective on numbers of a function.
    """
    if space.success is not None:
        raise InputError(
            "a rule for success without a trainer whose numbers it could judge",
            field="success",
            place=space.at("success"),
            allowed=f"success only with {OWN}",
            fix="add a line `trainer: ./train.py:run`, give train= in Python, or remove this one",
        )
    for index, objective in enumerate(space.objectives):
        if objective.number is not None:
            raise InputError(
                f"{objective.name} without a trainer that could tell it",
                field="objectives",
                place=space.at("objectives", index),
                allowed=f"numbers of seeds only with {OWN}",
                fix="add a line `trainer: ./train.py:run`, or look for the success_rate",
            )


# -------------------------------------------------------------------------------------------------
# What a space file says of a command that trains, checked against its parameters.


def with_command(space: SearchSpace, form: CommandForm) -> SearchSpace:
    """The space with the command that the form means. Nothing is run, and no file is looked at.

    Raises:
        InputError: a command that is none, that lacks a parameter or the seed, or has a placeholder
            that is neither; values that it would not take for values; a rule or a metric that is
            none, or that do not go together.
    """
    if "success" in space.lines:
        raise InputError(
            "a rule beside the trainer",
            field="success",
            place=space.at("success"),
            allowed="of a command, success within `trainer`",
            fix='write trainer: {command: "...", success: "..."}',
        )
    try:
        template = parse_template(form.command)
        check_names(template, [parameter.name for parameter in space.parameters])
        for parameter in space.parameters:
            check_values(template, parameter.name, _extremes(parameter))
    except InputError as error:
        names = [parameter.name for parameter in space.parameters]
        mine = ("parameters", error.field) if error.field in names else ("trainer", "command")
        raise error.at(space.at(*map(str, mine))) from None
    rule = _rule(space, form)
    metric = _metric(space, form, rule)
    files = None if form.files is None else tuple(form.files)
    by_exit = rule is None and (form.success is not None or metric is None)
    command = Command(template, by_exit, metric, form.timeout, files)
    return replace(space, trainer=template.text, command=command, success=rule)


def _extremes(parameter: Parameter) -> Sequence[Value]:
    """Its values, of a range the ends."""
    if isinstance(parameter, Range):
        return (parameter.low, parameter.high)
    return parameter.values if isinstance(parameter, Choice) else (parameter.value,)


def _rule(space: SearchSpace, form: CommandForm) -> Success | None:
    """The rule for its numbers; None if its exit code decides, or it says so itself."""
    if form.success is None or _same(form.success, EXIT_CODE):
        return None
    try:
        return parse_success(form.success)
    except InputError as error:
        raise InputError(
            error.problem,
            field="success",
            place=space.at("trainer", "success"),
            allowed=f"{EXIT_CODE!r}, or {error.allowed}",
            fix=error.fix,
        ) from None


def _metric(space: SearchSpace, form: CommandForm, rule: Success | None) -> str | None:
    """Where its numbers are."""
    if form.metric is None:
        return None if rule is None else JSON
    metric = next((known for known in METRICS if _same(form.metric, known)), None)
    place = space.at("trainer", "metric")
    if metric is None:
        raise InputError(
            f"{shown(form.metric)} is no metric",
            field="metric",
            place=place,
            allowed=", ".join(map(repr, METRICS)),
            fix=nearest(form.metric, METRICS),
        )
    named = None if rule is None else rule.name
    judged = rule is not None or form.success is not None
    if metric == NUMBER and (named not in (None, VALUE) or not judged):
        raise InputError(
            f"a number without a name, and the rule {str(rule)!r} judges {named!r}"
            if judged
            else "a number, and nothing says what a success is",
            field="metric",
            place=place,
            allowed=f"with {NUMBER!r} a rule for {VALUE!r}, or {EXIT_CODE!r}",
            fix=f'write success: "{VALUE} >= 0.9" with your own limit, or metric: {JSON!r}',
        )
    return metric


def _same(text: str, known: str) -> bool:
    """Whether it is that, whatever the blanks and capitals."""
    return " ".join(text.split()).lower() == known
