"""Search-space file to `SearchSpace`: read, check, override, describe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from xortune.errors import InputError, nearest
from xortune.point import Point, Value
from xortune.space_file import (
    ChoiceForm,
    CsvForm,
    FixedForm,
    RangeForm,
    SpaceForm,
    parse_duration,
    validated,
)
from xortune.space_model import (
    Choice,
    Fixed,
    Parameter,
    Range,
    SearchSettings,
    SearchSpace,
    SeedSettings,
    Steps,
    When,
    contains,
    is_active,
)
from xortune.space_points import finite_values, grid, grid_size, probes
from xortune.space_yaml import Document, read_text, read_yaml, shown, word
from xortune.task import Task
from xortune.trainer import Trainer

__all__ = [
    "Choice",
    "Description",
    "Fixed",
    "Parameter",
    "ParameterDescription",
    "Range",
    "SearchSettings",
    "SearchSpace",
    "SeedSettings",
    "check_space",
    "describe",
    "grid",
    "grid_size",
    "is_active",
    "load_space",
    "parse_duration",
    "parse_space",
    "probes",
    "with_search",
]


def load_space(path: str | os.PathLike[str]) -> SearchSpace:
    """Read and check a space file.

    Raises:
        InputError: a file that cannot be read, or anything in it that is not allowed; the message
            names file, line, value, what is allowed and how to put it right.
    """
    return parse_space(read_text(path), os.fspath(path), Path(path).parent)


def parse_space(text: str, place: str = "<space>", folder: Path = Path()) -> SearchSpace:
    """Check the text of a space file.

    Args:
        text: YAML.
        place: what messages call the file.
        folder: where a relative path of a CSV task starts.

    Raises:
        InputError: as `load_space`.
    """
    document = read_yaml(text, place)
    form = validated(document)
    parameters = _ordered(_parameters(form, document), document)
    _check_conditions(parameters, document)
    space = SearchSpace(
        name=form.name,
        task=_task(form.task, document, folder),
        parameters=parameters,
        search=SearchSettings(**dict(form.search)),
        seeds=SeedSettings(tuple(form.seeds.ladder), form.seeds.certify),
        start=(),
        text=text,
        place=place,
        lines={".".join(map(str, location)): line for location, line in document.lines.items()},
    )
    _check_search(space)
    start = tuple(_start(space, i, values) for i, values in enumerate(form.start))
    return dataclasses.replace(space, start=start)


def with_search(
    space: SearchSpace,
    *,
    trials: int | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    time_budget: float | str | None = None,
) -> SearchSpace:
    """The space with some of its search settings replaced, and checked again.

    Raises:
        InputError: a value that is not allowed, or that the space does not allow.
    """
    given = {"trials": trials, "sampler": sampler, "seed": seed, "time_budget": time_budget}
    values = {name: value for name, value in given.items() if value is not None}
    document = Document({**_SKELETON, "search": values}, {}, "search settings")
    try:
        form = validated(document).search
    except InputError as error:
        raise error.at(str(error.field)) from None
    changes: dict[str, Any] = {name: getattr(form, name) for name in values}
    changed = dataclasses.replace(space, search=dataclasses.replace(space.search, **changes))
    _check_search(changed)
    return changed


_SKELETON: dict[str, object] = {"name": "search", "parameters": {"x": 0}}


def check_space(space: SearchSpace, trainer: Trainer) -> None:
    """Let the trainer look at probes of the space and at its start entries, before anything starts.

    Raises:
        InputError: what the trainer refuses, with file and line.
    """
    for point in probes(space):
        try:
            trainer.check(point)
        except InputError as error:
            name = error.field
            if name == "epochs" and "epochs" in space.lines:
                raise error.at(space.at("epochs")) from None
            raise error.at(space.at("parameters", *([name] if name else []))) from None
    for index, point in enumerate(space.start):
        try:
            trainer.check(point)
        except InputError as error:
            raise error.at(
                space.at("start", index, *([error.field] if error.field else []))
            ) from None


def _task(form: str | CsvForm, document: Document, folder: Path) -> Task:
    try:
        if isinstance(form, CsvForm):
            return Task.from_csv(
                folder / form.csv,
                target=form.target,
                held_out=form.held_out,
                accuracy=form.accuracy,
            )
        return Task.named(str(folder / form) if form.endswith(".csv") else form)
    except InputError as error:
        inner = "" if error.place in {None, error.field} else f": {error.place}"
        raise error.at(document.at(("task",)) + inner) from None


def _parameters(form: SpaceForm, document: Document) -> list[Parameter]:
    parameters = [_parameter(name, value, document) for name, value in form.parameters.items()]
    if form.epochs is None:
        return parameters
    if "epochs" in form.parameters:
        raise InputError(
            "epochs is given twice, at the top and among the parameters",
            field="epochs",
            place=document.at(("parameters", "epochs")),
            allowed="one of them",
            fix=f"remove the one on line {document.lines['epochs',]}, or this one",
        )
    return [*parameters, Fixed("epochs", form.epochs)]


def _parameter(name: str, form: object, document: Document) -> Parameter:
    when: When = ()
    if isinstance(form, FixedForm | ChoiceForm | RangeForm):
        when = tuple((other, tuple(values)) for other, values in form.when.items())
    if isinstance(form, FixedForm):
        return Fixed(name, form.value, when)
    if isinstance(form, ChoiceForm):
        return Choice(name, tuple(form.choice), when)
    if isinstance(form, RangeForm):
        return _range(name, form, when, document)
    assert form is None or isinstance(form, bool | int | float | str)
    return Fixed(name, form)


def _range(name: str, form: RangeForm, when: When, document: Document) -> Range:
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


def _ordered(parameters: list[Parameter], document: Document) -> tuple[Parameter, ...]:
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


def _check_conditions(parameters: Sequence[Parameter], document: Document) -> None:
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


def _check_search(space: SearchSpace) -> None:
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


def _start(space: SearchSpace, index: int, given: Mapping[str, Value]) -> Point:
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
                allowed=_allowed(parameter),
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
    allowed = _allowed(parameter)
    texts = [word(item) for item in known] if isinstance(parameter, Choice) and known else []
    raise InputError(
        f"{shown(value)} is not in the space",
        field=parameter.name,
        place=space.at("start", index, parameter.name),
        allowed=allowed,
        fix=nearest(str(value), texts) if texts else "change the value, or widen the parameter",
    )


def _allowed(parameter: Parameter) -> str:
    """What a parameter's value may be, as one phrase."""
    if isinstance(parameter, Fixed):
        return f"{word(parameter.value)} (fixed)"
    if isinstance(parameter, Choice):
        return ", ".join(word(value) for value in parameter.values)
    step = f" in steps of {parameter.step}" if parameter.step is not None else ""
    kind = "whole numbers from " if parameter.integer else ""
    return f"{kind}{parameter.low} to {parameter.high}{step}"


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter as `xortune space` shows it: all text.

    Attributes:
        name: of the parameter.
        kind: int, float, choice or fixed.
        values: its range, its choices or its value.
        scale: log, linear or empty.
        when: its condition, or empty.
    """

    name: str
    kind: str
    values: str
    scale: str
    when: str


@dataclass(frozen=True)
class Description:
    """What `xortune space` says of a space.

    Attributes:
        name: of the space.
        task: of the task.
        rows: training rows of the task.
        inputs: inputs per row.
        parameters: in the space's order.
        sampler: who proposes.
        trials: proposals; for a grid its points.
        seed: of the sampler.
        time_budget: seconds, or None.
        ladder: total seeds at each rung.
        certify: fresh seeds for each finalist, or None.
        grid_points: points if every parameter has finitely many values, else None.
        seed_epochs: epochs summed over seeds and trials if every trial gets the full ladder and
            the most epochs; None where no parameter is called epochs.
    """

    name: str
    task: str
    rows: int
    inputs: int
    parameters: tuple[ParameterDescription, ...]
    sampler: str
    trials: int
    seed: int
    time_budget: float | None
    ladder: tuple[int, ...]
    certify: int | None
    grid_points: int | None
    seed_epochs: int | None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Label and text, line by line, as the terminal shows it."""
        yield "name", self.name
        yield "task", f"{self.task}: {self.rows} rows, {self.inputs} inputs"
        for p in self.parameters:
            notes = "".join(f", {note}" for note in (p.scale, p.when) if note)
            yield p.name, f"{p.kind}: {p.values}{notes}"
        yield "sampler", f"{self.sampler}, seed {self.seed}"
        yield "trials", f"{self.trials:,}"
        if self.time_budget is not None:
            yield "time budget", f"{self.time_budget:g} s"
        yield "seeds", " -> ".join(map(str, self.ladder)) + " for each configuration"
        if self.certify is not None:
            yield "certify", f"{self.certify:,} fresh seeds for each finalist"
        if self.grid_points is not None:
            yield "grid points", f"{self.grid_points:,}"
        if self.seed_epochs is not None:
            yield "at most", f"{self.seed_epochs:,} epochs of one seed (trials x seeds x epochs)"


def describe(space: SearchSpace) -> Description:
    """What a space holds and what searching it may cost at most."""
    finite = all(finite_values(parameter) is not None for parameter in space.parameters)
    points = grid_size(space) if finite else None
    trials = space.search.trials or points or 0
    epochs = [_largest(p) for p in space.parameters if p.name == "epochs"]
    most = epochs[0] if epochs else None
    return Description(
        name=space.name,
        task=space.task.name,
        rows=int(space.task.inputs.shape[0]),
        inputs=space.task.dim,
        parameters=tuple(map(_described, space.parameters)),
        sampler=space.search.sampler,
        trials=trials,
        seed=space.search.seed,
        time_budget=space.search.time_budget,
        ladder=space.seeds.ladder,
        certify=space.seeds.certify,
        grid_points=points,
        seed_epochs=None if most is None else trials * space.seeds.ladder[-1] * most,
    )


def _largest(parameter: Parameter) -> int | None:
    values = (
        [parameter.high] if isinstance(parameter, Range) else list(finite_values(parameter) or ())
    )
    numbers = [int(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return max(numbers, default=None)


def _described(parameter: Parameter) -> ParameterDescription:
    when = " and ".join(
        f"{other} is {' or '.join(word(value) for value in values)}"
        for other, values in parameter.when
    )
    kind, scale = type(parameter).__name__.lower(), ""
    if isinstance(parameter, Range):
        kind, scale = "int" if parameter.integer else "float", "log" if parameter.log else "linear"
    values = _allowed(parameter).removeprefix("whole numbers from ").removesuffix(" (fixed)")
    return ParameterDescription(parameter.name, kind, values, scale, f"when {when}" if when else "")
