"""Search-space file to `SearchSpace`: read, check, override, describe."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError
from xortune.core.task import Task
from xortune.core.trainer import Trainer
from xortune.spaces.check import check_conditions, check_search, checked_range, ordered, start_point
from xortune.spaces.file import (
    ChoiceForm,
    CommandForm,
    CsvForm,
    FixedForm,
    FunctionForm,
    RangeForm,
    SeedsForm,
    SpaceForm,
    validated,
)
from xortune.spaces.grid import probes
from xortune.spaces.model import (
    Choice,
    Fixed,
    Parameter,
    SearchSettings,
    SearchSpace,
    SeedSettings,
    StopSettings,
    When,
    rungs_up_to,
)
from xortune.spaces.objectives import check_objectives, check_sampler, objectives_of
from xortune.spaces.text import UNWRITTEN, YamlDocument, read_text, read_yaml, written
from xortune.spaces.training import COMMAND, OWN, check_own, checked_success, with_command


def load_space(path: str | os.PathLike[str] | Mapping[str, Any]) -> SearchSpace:
    """Read and check a space file.

    Args:
        path: of the file; what it names (a CSV file, a trainer) is looked for beside it. Or what a
            file would hold, as a dict; then that is looked for in the working directory.

    Raises:
        InputError: a file that cannot be read, or anything in it that is not allowed; the message
            names file, line, value, what is allowed and how to put it right.
    """
    if isinstance(path, Mapping):
        return parse_space(written(path))
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"a {type(path).__name__}",
            field="space",
            allowed="the path of a space file, what it would hold as a dict, or a SearchSpace",
        )
    return parse_space(read_text(path), os.fspath(path), Path(path).parent)


def parse_space(text: str, place: str = UNWRITTEN, folder: Path = Path()) -> SearchSpace:
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
    parameters = ordered(_parameters(form, document), document)
    check_conditions(parameters, document)
    command = form.trainer if isinstance(form.trainer, CommandForm) else None
    rule = form.success if command is None else command.success
    space = SearchSpace(
        name=form.name,
        task=None if form.trainer is not None else _task(form.task, document, folder),
        parameters=parameters,
        search=SearchSettings(**dict(form.search)),
        seeds=_seeds(form.seeds, document),
        start=(),
        stop=StopSettings(form.stop.proven_rate),
        objectives=objectives_of(form.objectives, parameters, document, rule),
        trainer=_named(form.trainer),
        timeout=form.trainer.timeout if isinstance(form.trainer, FunctionForm) else None,
        folder=folder,
        text=text,
        place=place,
        lines={".".join(map(str, location)): line for location, line in document.lines.items()},
    )
    if command is None:
        space = checked_success(space, form.success)
    if space.trainer is not None:
        check_own(space, OWN if command is None else COMMAND)
    if command is not None:
        space = with_command(space, command)
    check_search(space)
    check_sampler(space)
    start = tuple(start_point(space, i, values) for i, values in enumerate(form.start))
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

    Its `text` says the same as the space, so that what a run writes down can be read again; `lines`
    stay those of the file that the user has.

    Raises:
        InputError: a value that is not allowed, or that the space does not allow.
    """
    given = {"trials": trials, "sampler": sampler, "seed": seed, "time_budget": time_budget}
    values = {name: value for name, value in given.items() if value is not None}
    document = YamlDocument({**_SKELETON, "search": values}, {}, "search settings")
    try:
        form = validated(document).search
    except InputError as error:
        raise error.at(str(error.field)) from None
    changes: dict[str, Any] = {name: getattr(form, name) for name in values}
    changed = dataclasses.replace(space, search=dataclasses.replace(space.search, **changes))
    check_search(changed)
    check_sampler(changed)
    if changed == space:
        return space
    return dataclasses.replace(changed, text=_rewritten(space, changed.search))


def _rewritten(space: SearchSpace, search: SearchSettings) -> str:
    """The text of a space with other search settings; comments stay where that is possible."""
    settings = {k: v for k, v in dataclasses.asdict(search).items() if v is not None}
    document = read_yaml(space.text, space.place)
    wanted = {**document.values, "search": settings}
    line = f"search: {json.dumps(settings)}"
    lines = space.text.split("\n")
    found = document.lines
    tops = sorted(number for way, number in found.items() if len(way) == 1)
    if ("search",) in found:
        first = found["search",] - 1
        last = next((number - 1 for number in tops if number - 1 > first), len(lines))
        while last - 1 > first and lines[last - 1].lstrip()[:1] in {"", "#"}:
            last -= 1  # what stands above the next key belongs to that
        lines[first:last] = [line]
    else:
        lines = [*space.text.rstrip("\n").split("\n"), line, ""]
    text = "\n".join(lines)
    try:
        same = read_yaml(text, space.place).values == wanted
    except InputError:
        same = False
    # Files in YAML's flow style have no lines to replace; JSON is YAML as well.
    return text if same else json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"


_SKELETON: dict[str, object] = {"name": "search", "parameters": {"x": 0}}


def check_space(space: SearchSpace, trainer: Trainer) -> None:
    """Let the trainer look at probes of the space and at its start entries, before anything starts.

    Raises:
        InputError: what the trainer refuses, with file and line.
    """
    for point in probes(space):
        try:
            trained = trainer.check(point)
        except InputError as error:
            name = error.field
            if name == "epochs" and "epochs" in space.lines:
                raise error.at(space.at("epochs")) from None
            raise error.at(space.at("parameters", *([name] if name else []))) from None
        check_objectives(space, trained)
    for index, point in enumerate(space.start):
        try:
            trainer.check(point)
        except InputError as error:
            raise error.at(
                space.at("start", index, *([error.field] if error.field else []))
            ) from None


def _named(trainer: str | FunctionForm | CommandForm | None) -> str | None:
    """What trains, if it is not the built-in network."""
    if isinstance(trainer, FunctionForm):
        return trainer.function
    return trainer.command if isinstance(trainer, CommandForm) else trainer


def _task(form: str | CsvForm, document: YamlDocument, folder: Path) -> Task:
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
        raise InputError(
            error.problem,
            field="task",
            place=document.at(("task",)) + inner,
            allowed=error.allowed,
            fix=error.fix or "look at that file; its path is relative to the space file",
        ) from None


def _seeds(form: SeedsForm, document: YamlDocument) -> SeedSettings:
    if form.race is None:
        return SeedSettings(tuple(form.ladder), form.certify, finalists=form.finalists)
    if "ladder" in form.model_fields_set:
        raise InputError(
            "both a ladder and a race",
            field="seeds",
            place=document.at(("seeds", "race")),
            allowed="one of them: a race has its own rungs, 2, 4, 8, ... up to max",
            fix="remove the ladder, or the race",
        )
    rungs = rungs_up_to(form.race.max)
    return SeedSettings(rungs, form.certify, form.race.alpha, form.finalists)


def _parameters(form: SpaceForm, document: YamlDocument) -> list[Parameter]:
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


def _parameter(name: str, form: object, document: YamlDocument) -> Parameter:
    when: When = ()
    if isinstance(form, FixedForm | ChoiceForm | RangeForm):
        when = tuple((other, tuple(values)) for other, values in form.when.items())
    if isinstance(form, FixedForm):
        return Fixed(name, form.value, when)
    if isinstance(form, ChoiceForm):
        return Choice(name, tuple(form.choice), when)
    if isinstance(form, RangeForm):
        return checked_range(name, form, when, document)
    assert form is None or isinstance(form, bool | int | float | str)
    return Fixed(name, form)
