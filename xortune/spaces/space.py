"""From a space file to a `SearchSpace`: read, check, replace search settings, describe."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError, closest, kind_of, nearest, refuse_unknown
from xortune.core.numbers import (
    endings,
    named_statistic,
    quantile_meant,
    statistic_named,
)
from xortune.core.point import Point, Value
from xortune.core.success import is_cost, is_gain, parse_success
from xortune.core.task import Task
from xortune.core.trainer import Trainer
from xortune.spaces.command import EXIT_CODE, check_names, check_values
from xortune.spaces.grid import grid_size, probes
from xortune.spaces.model import (
    EPOCHS_TO_SOLVE,
    MAX_PARAMETERS,
    MEASURED,
    SECONDS,
    SUCCESS_RATE,
    Choice,
    CommandSettings,
    CsvSettings,
    Fixed,
    FunctionSettings,
    Objective,
    ObjectiveSettings,
    Parameter,
    RaceSettings,
    Range,
    Requirement,
    SearchSettings,
    SearchSpace,
    SpaceFile,
    condition_text,
    equal_values,
    extremes,
    file_schema,
    finite_values,
    is_active,
    is_number,
    measured_objective,
    number_to_learn,
    race_rungs,
    read_file,
    rungs_up_to,
    weighs_seeds,
)
from xortune.spaces.samplers import check_sampler, failed_counts, sampler_named, samplers
from xortune.spaces.yaml_reader import (
    NO_FILE,
    Location,
    YamlDocument,
    as_yaml,
    quoted,
    read_text,
    read_yaml,
    unquoted,
)


def load_space(
    path: str | os.PathLike[str] | Mapping[str, Any], *, trials_follow: bool = False
) -> SearchSpace:
    """Read and check a space file.

    Args:
        path: of the file; its relative paths (a CSV file, a trainer) start at its folder. Or the
            contents of a file as a dict; relative paths start at the working directory.
        trials_follow: the number of trials comes from elsewhere, by `with_search`: the file need
            not have it.

    Raises:
        InputError: the file cannot be read, or something in it is not allowed; the message names
            file, line, value, what is allowed and a fix.
    """
    if isinstance(path, Mapping):
        return parse_space(as_yaml(path), searched=not trials_follow)
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            kind_of(path),
            field="space",
            allowed="the path of a space file, what it would hold as a dict, or a SearchSpace",
            fix="give the function as train=, and the space first" if callable(path) else None,
        )
    text, folder = read_text(path), Path(path).parent
    return parse_space(text, os.fspath(path), folder, searched=not trials_follow)


def json_schema() -> str:
    """The JSON Schema of space files, as the text that is shipped."""
    schema = json.loads(json.dumps(file_schema()))
    search = schema["$defs"][SearchSettings.__name__]["properties"]
    search["sampler"] |= {"enum": [one.name for one in samplers()]}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema, indent=2) + "\n"


def parse_space(
    text: str, place: str = NO_FILE, folder: Path = Path(), *, searched: bool = True
) -> SearchSpace:
    """Check the text of a space file.

    Args:
        text: YAML.
        place: the file's name, for messages.
        folder: where relative paths in it start.
        searched: whether its sampler and number of trials are checked. Whoever reads a finished run
            may lack the package of its sampler.

    Raises:
        InputError: as `load_space`.
    """
    document = read_yaml(text, place)
    file = read_file(document)
    space = SearchSpace(
        name=file.name,
        task=None,
        parameters=(),
        search=file.search,
        seeds=file.seeds,
        start=(),
        stop=file.stop,
        folder=folder,
        text=text,
        place=place,
        lines=document.lines,
    )
    if file.seeds.race is not None and ("seeds", "ladder") in document.lines:
        raise space.refusal(
            ("seeds", "race"),
            "both a ladder and a race",
            "one of them: a race has its own rungs, 1, 2, 3, 4, 6, 8, ... up to max",
            "remove the ladder, or the race",
        )
    space = replace(space, parameters=_in_order(space, _parameters(space, file)))
    own = COMMAND if isinstance(file.trainer, CommandSettings) else file.trainer and OWN
    space = with_trainer(space, file)
    space = replace(space, objectives=objectives_of(file, space))
    space = replace(space, bounds=_bounds(space, file.bounds))
    if space.command is not None and space.rule is None:
        try:
            space.command.check_judged()
        except InputError as error:
            raise error.at(space.at("trainer", error.field or "command")) from None
    if space.seeds.race is not None:
        best = weighs_seeds(space.objectives, space.stop) or file.require is not None
        rungs = (race_rungs if best else rungs_up_to)(space.seeds.race.max)
        space = replace(space, seeds=replace(space.seeds, ladder=rungs))
    if own:
        check_own(space, own)
    _check_price(space)
    _check_pruner(space)
    if searched:
        check_search(space)
    start = tuple(start_point(space, i, values) for i, values in enumerate(file.start))
    return replace(space, start=start)


def _bounds(space: SearchSpace, given: tuple[float, float] | None) -> tuple[float, float] | None:
    """The limits of the number that is the objective."""
    if given is None:
        return None
    if not any(objective.number is not None for objective in space.objectives):
        raise space.refusal(
            ("bounds",),
            "bounds of a number, and no objective is one",
            "bounds only where a number is sought",
            "add an objective such as score_mean, or remove this line",
        )
    low, high = map(float, given)
    if not low < high:
        raise space.refusal(
            ("bounds",),
            f"[{low:g}, {high:g}]",
            "the least number that a seed can have, then the greatest: [0, 1]",
            None,
        )
    return low, high


def check_space(space: SearchSpace, trainer: Trainer) -> None:
    """Let the trainer check probes of the space and its start entries.

    Raises:
        InputError: the trainer refuses one; with file and line.
    """
    parts: dict[Location, Iterable[Point]] = {("parameters",): probes(space)}
    parts |= {("start", index): [point] for index, point in enumerate(space.start)}
    for location, points in parts.items():
        for point in points:
            try:
                trained = trainer.check(point)
            except InputError as error:
                name = [error.field] if error.field else []
                is_top_level = name == ["epochs"] and ("epochs",) in space.lines
                at = () if is_top_level and location == ("parameters",) else location
                raise error.at(space.at(*at, *name)) from None
            check_objectives(space, trained)


def with_search(space: SearchSpace, **changes: object) -> SearchSpace:
    """The space with some of its search settings replaced, if they are not None; checked again.

    Its `text` has the new settings, so that a run's copy can be read again; `lines` remain those of
    the user's file.

    Raises:
        InputError: a value is not allowed, in general or for this space.
    """
    values = {name: value for name, value in changes.items() if value is not None}
    skeleton: dict[str, object] = {"name": "search", "parameters": {"x": 0}, "search": values}
    try:
        if "sampler" in values:
            sampler_named(values["sampler"])
        settings = read_file(YamlDocument(skeleton, {}, "search settings")).search
    except InputError as error:
        raise error.at(str(error.field)) from None
    read: dict[str, Any] = {name: getattr(settings, name) for name in values}
    changed = replace(space, search=replace(space.search, **read))
    check_search(changed)
    if changed == space:
        return space
    return replace(changed, text=_rewritten(space, changed.search))


def _rewritten(space: SearchSpace, search: SearchSettings) -> str:
    """The text of a space with other search settings; comments stay if possible."""
    settings = {k: v for k, v in dataclasses.asdict(search).items() if v is not None}
    document = read_yaml(space.text, space.place)
    target = {**document.values, "search": settings}
    lines = space.text.rstrip("\n").split("\n")
    tops = sorted(line - 1 for location, line in document.lines.items() if len(location) == 1)
    first = document.lines.get(("search",), len(lines) + 1) - 1
    last = next((line for line in tops if line > first), len(lines))
    while last - 1 > first and lines[last - 1].lstrip()[:1] in {"", "#"}:
        last -= 1  # comments above the next key belong to that key
    lines[first : max(first, last)] = [f"search: {json.dumps(settings)}"]
    text = "\n".join([*lines, ""])
    try:
        same = read_yaml(text, space.place).values == target
    except InputError:
        same = False
    # YAML's flow style has no lines that could be replaced; JSON is YAML as well.
    return text if same else as_yaml(target)


# -------------------------------------------------------------------------------------------------
# Parameters and their conditions.


def _parameters(space: SearchSpace, file: SpaceFile) -> list[Parameter]:
    parameters = [
        given if isinstance(given, Fixed | Choice | Range) else Fixed(name, given)
        for name, given in file.parameters.items()
    ]
    if file.epochs is None:
        return parameters
    if "epochs" in file.parameters:
        raise space.refusal(
            ("parameters", "epochs"),
            "epochs is given twice, at the top and among the parameters",
            "one of them",
            f"remove the one on line {space.lines['epochs',]}, or this one",
        )
    return [*parameters, Fixed("epochs", file.epochs)]


def _in_order(space: SearchSpace, parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters with parents before children, otherwise in the file's order."""
    by_name = {parameter.name: parameter for parameter in parameters}
    parents = {p.name: [name for name, _ in p.when if name in by_name] for p in parameters}
    done: dict[str, Parameter] = {}
    while len(done) < len(by_name):
        waiting = [name for name in by_name if name not in done]
        ready = next((name for name in waiting if done.keys() >= set(parents[name])), None)
        if ready is None:
            path = waiting[:1]
            while path[-1] not in path[:-1]:
                path.append(next(name for name in parents[path[-1]] if name not in done))
            circle = path[path.index(path[-1]) :]
            raise space.refusal(
                ("parameters", circle[0], "when"),
                "conditions go round in a circle: " + " -> ".join(circle),
                "conditions on parameters that do not depend on this one",
                "remove one of these conditions",
            )
        done[ready] = by_name[ready]
    for parameter in parameters:
        for other, values in parameter.when:
            place = ("parameters", parameter.name, "when", other)
            if (parent := by_name.get(other)) is None:
                names = [name for name in by_name if name != parameter.name]
                problem = f"a condition on {other!r}, which is not a parameter"
                fix = nearest(other, names) if names else "remove the condition"
                raise space.refusal(place, problem, ", ".join(names), fix)
            if isinstance(parent, Range):
                raise space.refusal(
                    place,
                    f"a condition on {other}, which is a range",
                    "conditions on a choice or a fixed value",
                    f"make {other} a choice, or drop the condition",
                )
            for value in values:
                if not equal_values(parent, value):
                    texts = [unquoted(known) for known in extremes(parent)]
                    problem, fix = f"{other} is never {quoted(value)}", nearest(str(value), texts)
                    raise space.refusal(place, problem, ", ".join(texts), fix)
    return tuple(done.values())


def start_point(space: SearchSpace, index: int, given: Mapping[str, Value]) -> Point:
    """A start entry as a complete point, with each value as the space writes it."""
    names = [parameter.name for parameter in space.parameters]
    for name in given:
        place = space.at("start", index, name)
        refuse_unknown(name, names, f"{name!r} is not a parameter", place=place)
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        name = parameter.name
        at = ("start", index, name)
        if not is_active(parameter, values):
            if name in given:
                problem = f"{quoted(given[name])} where {name} is not active"
                allowed = f"{name} only where {condition_text(parameter)}"
                raise space.refusal(at, problem, allowed, "remove it from this entry")
        elif name in given:
            found = equal_values(parameter, given[name])
            if not found:
                fix = "change the value, or widen the parameter"
                if isinstance(parameter, Choice):
                    fix = nearest(str(given[name]), map(unquoted, parameter.values))
                problem = f"{quoted(given[name])} is not in the space"
                raise space.refusal(at, problem, str(parameter), fix)
            values[name] = found[0]
        elif isinstance(parameter, Fixed):
            values[name] = parameter.value
        else:
            fix = f"add {name}: every active parameter needs its value"
            raise space.refusal(at, "is missing from this start entry", str(parameter), fix)
    return Point(values)


def check_search(space: SearchSpace) -> None:
    """Check what the sampler requires of the space, the number of trials and the objectives."""
    _check_empty(space)
    check_sampler(space)
    if len(space.objectives) > 1:
        failed_counts(space)
    walks = sampler_named(space.search.sampler).walks
    if space.search.trials is None and not walks:
        raise space.refusal(
            ("search", "trials"),
            f"sampler {space.search.sampler} needs to know how many trials",
            "a whole number, 1 or more",
            "add `trials: 200` below search, or give --trials",
        )


def _check_empty(space: SearchSpace) -> None:
    """Refuse a space without parameters, unless its one configuration, {}, is asked for."""
    if not space.parameters and not sampler_named(space.search.sampler).walks:
        raise space.refusal(
            ("parameters",),
            f"no parameters with sampler {space.search.sampler}",
            f"1 to {MAX_PARAMETERS} parameters; none with sampler grid, which then trains {{}}",
            "add for instance `lr: {low: 1.0e-4, high: 1.0, log: true}`",
        )


# -------------------------------------------------------------------------------------------------
# The trainer: the built-in network on a task, or a function or a command of the user.

OWN, COMMAND = "a function of your own", "a command"


def with_trainer(space: SearchSpace, file: SpaceFile) -> SearchSpace:
    """The space with its task or trainer and its rule for success. No command is run."""
    if isinstance(file.trainer, CommandSettings):
        return _with_command(space, file.trainer)
    if file.success is not None:
        try:
            space = replace(space, success=parse_success(file.success))
        except InputError as error:
            raise error.at(space.at("success")) from None
    if file.trainer is None:
        return replace(space, task=_task(space, file.task))
    if isinstance(file.trainer, FunctionSettings):
        return replace(space, trainer=file.trainer.function, timeout=file.trainer.timeout)
    return replace(space, trainer=file.trainer)


def _task(space: SearchSpace, given: str | CsvSettings) -> Task:
    try:
        if isinstance(given, CsvSettings):
            options = {"target": given.target, "held_out": given.held_out}
            return Task.from_csv(space.folder / given.csv, accuracy=given.accuracy, **options)
        return Task.named(str(space.folder / given) if given.endswith(".csv") else given)
    except InputError as error:
        inner = "" if error.place in {None, error.field} else f": {error.place}"
        raise InputError(
            error.problem,
            place=space.at("task") + inner,
            allowed=error.allowed,
            fix=error.fix or "look at that file; its path is relative to the space file",
        ) from None


def _with_command(space: SearchSpace, command: CommandSettings) -> SearchSpace:
    if {("success",), ("trainer", "success")} <= space.lines.keys():
        raise space.refusal(
            ("success",), "a second rule beside the trainer's", "one of them", "remove one of them"
        )
    names = [parameter.name for parameter in space.parameters]
    try:
        check_names(command.template, names)
        for parameter in space.parameters:
            check_values(command.template, parameter.name, extremes(parameter))
    except InputError as error:
        mine = ("parameters", error.field) if error.field in names else ("trainer", "command")
        raise error.at(space.at(*map(str, mine))) from None
    return replace(space, trainer=command.command, command=command, success=command.rule)


def with_function(space: SearchSpace) -> SearchSpace:
    """The space for a search with a function that is given from Python.

    Raises:
        InputError: the space names a trainer, or has a key that is for the built-in network only.
    """
    if space.trainer is not None:
        raise InputError(
            f"the space names a trainer, {space.trainer!r}, and train= is given too",
            field="train",
            allowed="one of them",
            fix=f"leave train= out, or remove the line at {space.at('trainer')}",
        )
    check_own(space, OWN)
    return replace(space, task=None)


def check_own(space: SearchSpace, what: str) -> None:
    """Refuse keys that are for the built-in network only, with a user's function or command."""
    for name, fix in (
        ("task", "remove this line: your own trainer decides what is learned"),
        ("epochs", "remove this line, or write epochs below parameters: it is then passed on"),
    ):
        if (name,) in space.lines:
            allowed = f"{name} only for the built-in network"
            raise space.refusal((name,), f"means nothing with {what}", allowed, fix)
    for index, objective in enumerate(space.objectives):
        if objective.measured and objective.measured.needs_epochs:
            raise space.refusal(
                ("objectives", index),
                f"{objective.name} is not known with {what}",
                "success_rate, parameters with numbers, and the function's own numbers",
                "remove it",
            )


def _check_price(space: SearchSpace) -> None:
    """Refuse a price where the race does not weigh seeds."""
    races = len(space.seeds.ladder) > 1 and weighs_seeds(space.objectives, space.stop)
    if space.seeds.price is None or races:
        return
    required = space.objectives[0].required is not None
    other = "`require` with its objective" if required else "any other objective or stop"
    race = "" if space.seeds.race else "write `race: {max: 512}` below seeds, and "
    raise space.refusal(
        ("seeds", "price"),
        "a price of seeds, and no race that weighs them",
        "only in a race for the best success rate, which proves no rate",
        f"remove it, or {race}remove {other}",
    )


def _check_pruner(space: SearchSpace) -> None:
    """Refuse a pruner that knows no number to compare, or whose pruned seeds would lack one."""
    if space.search.pruner is None:
        return
    place = ("search", "pruner")
    if space.pruned_by is None:
        raise space.refusal(
            place,
            "a pruner, and no rule says which of two numbers is better",
            "a rule such as `success: accuracy >= 0.9`",
            "add a rule, or remove the pruner",
        )
    numbers = [one.name for one in space.objectives if one.number is not None]
    if space.seeds.price not in (None, SECONDS):
        numbers.append(str(space.seeds.price))
    if numbers:
        raise space.refusal(
            place,
            f"a pruner with {numbers[0]}, a number that pruned seeds do not have",
            f"{SUCCESS_RATE}, {EPOCHS_TO_SOLVE}, {SECONDS} and parameters",
            "remove the pruner, or use the objective success_rate",
        )


def check_built_in(space: SearchSpace) -> None:
    """Refuse keys that need a user's own trainer, with the built-in network."""
    if space.success is not None:
        raise space.refusal(
            ("success",),
            "a rule for success, but no trainer that returns numbers",
            f"success only with {OWN}",
            "add a line `trainer: ./train.py:run`, give train= in Python, or remove this one",
        )
    if space.seeds.price not in (None, SECONDS):
        raise space.refusal(
            ("seeds", "price"),
            f"{quoted(space.seeds.price)} needs a trainer that returns this number",
            f"{SECONDS}; numbers of seeds only with {OWN}",
            f"write {SECONDS}, or add a line `trainer: ./train.py:run`",
        )
    for index, objective in enumerate(space.objectives):
        if objective.number is not None:
            raise space.refusal(
                ("objectives", index),
                f"{objective.name} needs a trainer that returns this number",
                f"numbers of seeds only with {OWN}",
                "add a line `trainer: ./train.py:run`, or use the objective success_rate",
            )


# -------------------------------------------------------------------------------------------------
# Objectives: measured by the search, a number of a trainer, or a parameter.


def objectives_of(file: SpaceFile, space: SearchSpace) -> tuple[Objective, ...]:
    """The objectives of a file, for a space whose parameters and rule are known."""
    objectives: list[Objective] = []
    for index, form in enumerate(file.objectives):
        objective = _objective(form, index, space)
        if objective.name in [other.name for other in objectives]:
            problem = f"{objective.name} is given twice"
            place = ("objectives", index)
            raise space.refusal(place, problem, "each objective once", "remove one of them")
        objectives.append(objective)
    names = [objective.name for objective in objectives]
    if file.require is not None:
        return (_required(objectives, file.require.rate, space),)
    for index, objective in enumerate(objectives):
        if objective.measured and objective.measured.needs_rate:
            raise space.refusal(
                ("objectives", index),
                f"{objective.name}, and nothing says what a configuration has to reach",
                f"{objective.name} only with a required rate",
                "add a line `require: {rate: 0.95}`, with your own rate",
            )
    if all(objective.is_parameter for objective in objectives):
        raise space.refusal(
            ("objectives",),
            f"{quoted(names)} without anything that is measured",
            f"{SUCCESS_RATE} or {EPOCHS_TO_SOLVE} among them, or a trainer's number",
            f"add {SUCCESS_RATE}: or configs that never solve would be the best",
        )
    if names == [SUCCESS_RATE] and space.success is not None:
        for number in space.success.names:  # the first one with a direction decides
            if (more := space.success.ordering(number)) is not None:
                ties = Objective(f"{number}_median", more, number, "median")
                return (replace(objectives[0], ties=ties),)
    return tuple(objectives)


def _required(objectives: Sequence[Objective], rate: float, space: SearchSpace) -> Objective:
    """The objective among the configurations that reach a rate."""
    [first, *others] = objectives
    if others or first.name == SUCCESS_RATE:
        raise space.refusal(
            ("objectives",) if others else ("require",),
            f"{len(objectives)} objectives with a required rate"
            if others
            else "a required rate, and no other objective",
            "one objective beside the rate: a parameter, a number of your own trainer, "
            f"{EPOCHS_TO_SOLVE} or {SECONDS}",
            "write for instance `objectives: [{minimize: " + SECONDS + "}]`",
        )
    return replace(first, required=Requirement(rate, space.seeds.alpha))


def _objective(form: str | ObjectiveSettings, index: int, space: SearchSpace) -> Objective:
    place: tuple[str | int, ...] = ("objectives", index)
    if isinstance(form, str):
        form = ObjectiveSettings(form)
    name = form.name or ""
    parameter = next((p for p in space.parameters if p.name == name), None)
    measured = measured_objective(name)
    if measured and measured.needs_rate and parameter is not None:
        raise space.refusal(
            place, f"{name} is a parameter and what is measured", "one of them", "rename it"
        )
    statistic = None if measured or parameter is not None else named_statistic(name)
    if statistic is None and form.failed is not None:
        raise space.refusal(
            (*place, "failed"),
            f"{name} is not a number of each seed",
            f"failed only of a number of your own trainer: its name with {endings()}",
            "leave it out",
        )
    if statistic is None and measured is None:
        _check_parameter(name, parameter, place, space)
    natural = None if measured is None else measured.maximize
    if statistic is not None:
        natural = statistic_named(statistic[1]).maximize
        if natural is None and space.success is not None:
            natural = space.success.ordering(statistic[0])
    maximize = natural if form.direction is None else form.direction == "maximize"
    if natural not in (None, maximize):
        why = "" if statistic is None else f", and a success is {space.success}"
        allowed = "maximize" if natural else "minimize"
        problem = f"{form.direction} {name}{why}"
        key = next((one for one in ("minimize", "maximize") if getattr(form, one)), "direction")
        fix = "leave the direction out" if key == "direction" else f"write {allowed}: {name}"
        raise space.refusal((*place, key), problem, allowed, fix)
    if statistic is None:
        return Objective(name, bool(maximize))
    if maximize is None and is_cost(statistic[0]) != is_gain(statistic[0]):
        maximize = is_gain(statistic[0])
    if maximize is None:
        likely = "minimize" if is_cost(name) else "maximize"
        fix = f"write `- {{name: {name}, direction: {likely}}}`"
        raise space.refusal(place, f"{name} without a direction", "maximize, or minimize", fix)
    return Objective(name, maximize, *statistic, failed=form.failed)


def _check_parameter(
    name: str, parameter: Parameter | None, place: tuple[str | int, ...], space: SearchSpace
) -> None:
    """Refuse an unknown name, and a parameter that cannot be an objective."""
    measured = [
        one.name
        for one in MEASURED
        if not (one.needs_rate or (one.needs_epochs and space.trainer is not None))
    ]
    free = [*measured, *(p.name for p in space.parameters if _not_free(p) is None)]
    allowed = ", ".join([*free, f"a number of your own trainer with {endings()}"])
    if parameter is None:
        unknown = f"unknown objective {quoted(name)}"
        meant = quantile_meant(name) or f"{name}_mean"
        ending = f"write for instance {meant}" if space.trainer else "use one of these"
        fix = closest(name, free) or ending
        raise space.refusal(place, unknown, allowed, fix)
    if problem := _not_free(parameter):
        fix = "choose another, or change the parameter"
        raise space.refusal(place, f"{name} {problem}", allowed, fix)


def _not_free(parameter: Parameter) -> str | None:
    """Why a parameter cannot be an objective; None if it can."""
    if parameter.when:
        return "has a condition, and so is not in every config"
    values = finite_values(parameter)
    if values is None:
        return None
    if len(values) == 1:
        return "is fixed, and so the same in every config"
    if not isinstance(parameter, Range) and not all(map(is_number, values)):
        text = next(value for value in values if not is_number(value))
        return f"may be {quoted(text)}, which is not a number"
    return None


def check_objectives(space: SearchSpace, point: Point) -> None:
    """Refuse objectives that are no numbers in a trainer's normal form of a point."""
    for index, objective in enumerate(space.objectives):
        name, value = objective.name, point.get(objective.name)
        if objective.is_parameter and not is_number(value):
            raise space.refusal(
                ("objectives", index),
                f"{name} is not a number in the trained config: {quoted(value)}",
                "parameters that the trainer takes as they are",
                "choose another objective",
            )


def check_numbers(space: SearchSpace, returned: Mapping[str, float], *, diverged: bool) -> None:
    """Refuse objectives on a number that the trainer did not return, and a price that is none.

    Args:
        space: that was asked for.
        returned: the numbers of a seed.
        diverged: whether it diverged: then a number may be none.
    """
    names, price = list(returned), space.seeds.price
    if price not in (None, SECONDS, *names):
        raise space.refusal(
            ("seeds", "price"),
            f"the number {price!r} was not returned",
            ", ".join([SECONDS, *names]),
            nearest(price or "", [SECONDS, *names]),
        )
    paid = returned.get(price or "", 1.0)
    if not (0 < paid < math.inf or diverged):
        raise space.refusal(
            ("seeds", "price"),
            f"the number {price!r} of a seed is {paid:g}, which is no price",
            "a finite number above 0 from each seed",
            f"return what a seed costs, or write {SECONDS}",
        )
    for index, objective in enumerate(space.objectives):
        if objective.number is not None and objective.number not in names:
            raise space.refusal(
                ("objectives", index),
                f"{objective.name} needs the number {objective.number!r}, which was not returned",
                ", ".join(names) or "a training that returns numbers",
                nearest(objective.number, names) if names else None,
            )


def check_reported(space: SearchSpace, reported: Sequence[str] | None) -> None:
    """Refuse a pruner where seeds do not report the number that it compares.

    Args:
        space: with or without a pruner.
        reported: the names of the numbers that a seed reports; None if seeds do not report each by
            itself.
    """
    if (on := space.pruned_by) is None or on in (reported or ()):
        return
    if reported is None:
        raise space.refusal(
            ("search", "pruner"),
            "a pruner, and seeds report nothing on their way, or many of them together",
            "a function of one seed that yields or takes `report`, a TorchTraining with "
            "report_every, or a command with a metric",
            "report numbers, or remove the pruner",
        )
    raise space.refusal(
        ("search", "pruner"),
        f"a pruner, and seeds do not report {quoted(on)} on their way",
        ", ".join(reported),
        nearest(on, reported) or f"report {on}, or judge one of {', '.join(reported)}",
    )


# -------------------------------------------------------------------------------------------------
# A summary of a space and of what a search of it may cost.


def describe(space: SearchSpace, called: str | None = None) -> dict[str, Any]:
    """The output of `xortune space --json`; None for what does not apply."""
    finite = all(finite_values(parameter) is not None for parameter in space.parameters)
    points = grid_size(space) if finite else None
    trials = space.search.trials or points or 0
    # `epochs` of a user's own trainer is a parameter like any other.
    counts = [extremes(one) for one in space.parameters if space.task and one.name == "epochs"]
    epochs = [int(v) for v in itertools.chain(*counts) if isinstance(v, int | float)]
    ladder, race = space.seeds.ladder, len(space.seeds.ladder) > 1
    task, command = space.task, space.command
    judged = space.rule if any(one.number for one in space.objectives) else space.success
    rule = None if judged is None else str(judged)
    first = next(probes(space)).as_dict()
    required = space.objectives[0].required
    learned = number_to_learn(space) if sampler_named(space.search.sampler).instead else None
    return {
        "name": space.name,
        "task": task and task.name,
        "rows": task and int(task.inputs.shape[0]),
        "inputs": task and task.dim,
        "trainer": space.trainer,
        "called": called,
        "run_as": command and shlex.join(command.template.argv(first, 0)),
        "metric": str(command.metric) if command and command.metric else None,
        "timeout": command.timeout if command else space.timeout,
        "success": EXIT_CODE if command is not None and command.by_exit else rule,
        "parameters": tuple(map(_parameter_summary, space.parameters)),
        "sampler": space.search.sampler,
        "learns": learned and learned.number,
        "trials": trials,
        "seed": space.search.seed,
        "time_budget": space.search.time_budget,
        "objectives": tuple(map(_objective_summary, space.objectives)),
        "ladder": ladder,
        "weighs": race and weighs_seeds(space.objectives, space.stop),
        "alpha": space.seeds.alpha if race or space.stop.proven_rate is not None else None,
        "finalists": space.seeds.finalists if race else None,
        "epsilon": (space.seeds.race or RaceSettings()).epsilon,
        "delta": (space.seeds.race or RaceSettings()).delta,
        "certify": space.seeds.certify,
        "grid_points": points,
        # All configurations end at the first rung; and all get the full ladder and most epochs.
        "least_seed_epochs": trials * ladder[0] * min(epochs) if epochs else None,
        "seed_epochs": trials * ladder[-1] * max(epochs) if epochs else None,
        "proven_rate": space.stop.proven_rate,
        "price": space.seeds.price,
        "pruner": space.search.pruner and space.search.pruner.written,
        "required_rate": required and required.rate,
    }


def _parameter_summary(parameter: Parameter) -> dict[str, str]:
    kind, scale = type(parameter).__name__.lower(), ""
    if isinstance(parameter, Range):
        kind, scale = "int" if parameter.integer else "float", "log" if parameter.log else "linear"
    values = str(parameter).removeprefix("whole numbers from ").removesuffix(" (fixed)")
    when = f"when {condition_text(parameter)}" if parameter.when else ""
    return {"name": parameter.name, "kind": kind, "values": values, "scale": scale, "when": when}


def _objective_summary(objective: Objective) -> dict[str, str]:
    direction = "maximize" if objective.maximize else "minimize"
    failed = "worse than any number" if objective.failed is None else unquoted(objective.failed)
    if objective.number is None:
        failed = ""
    return {"name": objective.name, "direction": direction, "failed": failed}


def at_most(what: Mapping[str, Any]) -> str:
    """The cost of a search that stops no configuration, without a certificate."""
    if what["seed_epochs"] is not None:
        return f"{what['seed_epochs']:,} epochs of one seed"
    return f"{what['trials'] * what['ladder'][-1]:,} trainings"
