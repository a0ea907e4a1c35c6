"""What a space file says of a command that trains, checked against its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xortune.engine.command_settings import EXIT_CODE, JSON, METRICS, NUMBER, Command
from xortune.engine.command_template import check_names, check_values, parse_template
from xortune.errors import InputError, nearest
from xortune.point import Value
from xortune.space_file import CommandForm
from xortune.space_model import Choice, Parameter, Range, SearchSpace
from xortune.space_yaml import shown
from xortune.success import VALUE, Success, parse_success

__all__ = ["with_command"]


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
