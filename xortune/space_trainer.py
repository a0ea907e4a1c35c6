"""What a space file says of a trainer of the user's own, and what it must not say beside it."""

from __future__ import annotations

from dataclasses import replace

from xortune.errors import InputError
from xortune.space_model import EPOCHS_TO_SOLVE, SearchSpace
from xortune.success import parse_success

__all__ = ["COMMAND", "OWN", "check_built_in", "check_own", "checked_success", "with_own"]

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
