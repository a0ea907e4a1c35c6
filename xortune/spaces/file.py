"""The form of a space file: its keys, errors in our words, and the JSON Schema.

What one value may be is said here and in `spaces.model`. What values must be to each other
(conditions, grids, start entries) is checked in `spaces.space`.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictFloat,
    StrictStr,
    Tag,
    TypeAdapter,
    ValidationError,
    with_config,
)
from pydantic_core import ErrorDetails

from xortune.core.errors import InputError, nearest
from xortune.spaces.model import (
    SUCCESS_RATE,
    Choice,
    Count,
    Duration,
    Fixed,
    Number,
    Range,
    Scalar,
    SearchSettings,
    SeedSettings,
    StopSettings,
    Text,
    about,
    checked_range,
    raced,
)
from xortune.spaces.text import Location, YamlDocument, shown

PARAMETER_FORMS = "a fixed value, {choice: [..]} or {low: .., high: ..}"
MAX_PARAMETERS = 256  # more than any sampler makes sense of


@dataclass(frozen=True)
class CsvSettings:
    """A task from a CSV file with a header."""

    csv: Annotated[Text, about("Path, relative to the space file.")]
    target: Annotated[Text | None, about("The 0/1 column to learn.")] = None
    held_out: Annotated[Text | None, about("A 0/1 column: rows to judge on.")] = None
    accuracy: Annotated[
        StrictFloat, Field(gt=0, le=1, description="Share of held-out rows that must be right.")
    ] = 1.0


@dataclass(frozen=True)
class FunctionSettings:
    """A function or a class of your own; see docs/own-trainer.md."""

    function: Annotated[
        Text, about("module:function, or ./file.py:function relative to the space file.")
    ]
    timeout: Annotated[
        Duration | None,
        about(
            'For one seed, looked at whenever the function reports or yields: seconds, or "10m".'
        ),
    ] = None


@dataclass(frozen=True)
class CommandSettings:
    """A command that trains under one seed; see docs/command.md."""

    command: Annotated[
        Text,
        about(
            "A program and its arguments, with {seed} and each parameter in braces; no "
            "shell reads it."
        ),
    ]
    success: Annotated[
        Text | None, about('"exit code 0", or a rule for its numbers: "accuracy >= 0.9".')
    ] = None
    metric: Annotated[
        Text | None, about('Its numbers: "last line json", or "last line number".')
    ] = None
    timeout: Annotated[
        Duration | None, about('For one seed, after which it has failed: seconds, or "10m".')
    ] = None
    files: Annotated[
        tuple[Text, ...] | None,
        about(
            "Files and folders that it needs, relative to the space file; if not "
            "given, the words of the command that are files."
        ),
    ] = None


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is looked for, and in which direction."""

    name: Annotated[
        Text, about("success_rate, epochs_to_solve, a parameter or a trainer's number.")
    ]
    direction: Annotated[
        Literal["maximize", "minimize"] | None,
        about("Of a parameter (minimize if not given), or a number."),
    ] = None
    failed: Annotated[Number | None, about("Of a number: what a failed seed counts as.")] = None


def _form_of(*keyed: tuple[str, type], otherwise: type) -> Discriminator:
    """Which class a mapping is read into: the first whose key it has; what is none is a value."""

    def form(value: object) -> str:
        if not isinstance(value, dict):
            return "value"
        return next((kind for key, kind in keyed if key in value), otherwise).__name__

    return Discriminator(form)


def _parameter_name(name: str) -> str:
    if not re.fullmatch(r"[^\W\d][\w.-]*", name):  # letters of any language, as Python has them
        raise InputError(
            f"{shown(name)} is no parameter name",
            allowed="letters, digits, _, - and dots, with a letter or _ first",
        )
    return name


FileParameter: TypeAlias = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[Fixed, Tag("Fixed")]
    | Annotated[Choice, Tag("Choice")]
    | Annotated[Range, AfterValidator(checked_range), Tag("Range")],
    _form_of(("choice", Choice), ("value", Fixed), otherwise=Range),
]
FileObjective: TypeAlias = Annotated[
    Annotated[Text, Tag("value")] | Annotated[ObjectiveSettings, Tag("ObjectiveSettings")],
    _form_of(otherwise=ObjectiveSettings),
]


@with_config(ConfigDict(extra="forbid"))  # pydantic hands this on to the classes of the fields
@dataclass(frozen=True, kw_only=True)
class SpaceFile:
    """A search space of xortune: what to train, what to vary, how to search."""

    name: Annotated[
        StrictStr,
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$",
            max_length=100,
            description="Names the run directory.",
        ),
    ]
    task: Annotated[
        Annotated[Text, Tag("value")] | Annotated[CsvSettings, Tag("CsvSettings")],
        _form_of(otherwise=CsvSettings),
        about("xor, parity-N, a CSV file or a mapping with csv."),
    ] = "xor"
    trainer: Annotated[
        Annotated[Text | None, Tag("value")]
        | Annotated[FunctionSettings, Tag("FunctionSettings")]
        | Annotated[CommandSettings, Tag("CommandSettings")],
        _form_of(("function", FunctionSettings), otherwise=CommandSettings),
        about(
            "A function of your own instead of task and epochs: module:function, or "
            "./file.py:function relative to the space file; or a mapping with a function or a "
            "command."
        ),
    ] = None
    success: Annotated[
        Text | None, about('With numbers of a trainer of your own: "accuracy >= 0.9".')
    ] = None
    epochs: Annotated[Count | None, about("A fixed parameter named epochs.")] = None
    parameters: Annotated[
        dict[Annotated[StrictStr, AfterValidator(_parameter_name)], FileParameter],
        Field(min_length=1, max_length=MAX_PARAMETERS, description=f"Each {PARAMETER_FORMS}."),
    ]
    search: SearchSettings = SearchSettings()  # noqa: RUF009  # frozen
    seeds: Annotated[SeedSettings, AfterValidator(raced)] = SeedSettings()  # noqa: RUF009  # frozen
    stop: StopSettings = StopSettings()  # noqa: RUF009  # frozen
    objectives: Annotated[
        tuple[FileObjective, ...],
        Field(
            min_length=1,
            description="success_rate, epochs_to_solve, numeric parameters: several are a front. "
            "With a trainer of your own its numbers too: accuracy_q10, accuracy_mean.",
        ),
    ] = (SUCCESS_RATE,)
    start: Annotated[
        tuple[dict[str, Scalar], ...], about("Complete configurations to evaluate first.")
    ] = ()


_FILE = TypeAdapter(SpaceFile)


def validated(document: YamlDocument) -> SpaceFile:
    """What the document says.

    Raises:
        InputError: the first thing in the file that has not the form it must have.
    """
    values = dict(document.values)
    if isinstance(given := values.get("parameters"), dict):
        values["parameters"] = {
            name: {"": name, **form} if isinstance(form, dict) else form
            for name, form in given.items()
        }
    try:
        return _FILE.validate_python(values)
    except ValidationError as error:
        # An unknown key comes first: where a key is misspelt, the right one is also missing.
        details = error.errors(include_url=False)
        first = min(details, key=lambda detail: detail["type"] != _UNKNOWN)
        raise _translated(first, document) from None


# -------------------------------------------------------------------------------------------------
# Errors of pydantic in our words. What is allowed at a place is what the schema says of it.

_UNKNOWN, _MISSING = "unexpected_keyword_argument", "missing"
_KINDS: dict[type, str] = {
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    str: "a string",
}


def json_schema() -> str:
    """The JSON Schema of space files as the shipped text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema()}
    return json.dumps(schema, indent=2) + "\n"


@functools.cache
def _schema() -> dict[str, Any]:
    return _FILE.json_schema()


def _translated(detail: ErrorDetails, document: YamlDocument) -> InputError:
    """An error of pydantic in our words, with its line."""
    key, node = detail["loc"][-1], _node(detail["loc"])
    location = _location(detail["loc"], document)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        found = cause
        if cause.field is not None and cause.field in node.get("properties", ()):
            location = (*location, cause.field)
    elif detail["type"] == _UNKNOWN:
        known = list(node["properties"])
        found = InputError("unknown key", allowed=", ".join(known), fix=nearest(str(key), known))
    elif detail["type"] == _MISSING:
        location = (*location, key)
        about = node.get("description", PARAMETER_FORMS)
        found = InputError("is missing", allowed=about, fix=f"add a line `{key}: ...`")
    else:
        found = _refusal(detail["input"], str(location[-1]), node)
    place, name = document.at(location), str(location[-1])
    return InputError(found.problem, field=name, place=place, allowed=found.allowed, fix=found.fix)


def _location(loc: Location, document: YamlDocument) -> Location:
    """Where in the document: what pydantic says without the classes that it tried."""
    location: Location = ()
    value: Any = document.values
    for part in loc:
        known = range(len(value)) if isinstance(value, list) else value
        if isinstance(known, dict | range) and part in known:
            location, value = (*location, part), value[part]
    return location


def _node(loc: Location) -> dict[str, Any]:
    """What the schema says there; of an unknown key, what it says of the mapping."""
    node = _schema()
    for part in loc:
        if "oneOf" in node:
            options = (o for o in node["oneOf"] if o.get("$ref", "value").endswith(str(part)))
            inner = next(options, None)
        else:
            inner = node.get("properties", {}).get(part)
            inner = inner or node.get("items" if isinstance(part, int) else "additionalProperties")
        if not inner:
            break
        node = _resolved(inner)
    return node


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A node without references, and without the null that a key may have as well."""
    if "$ref" in node:
        node = _schema()["$defs"][node["$ref"].rpartition("/")[2]]
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    return _resolved(options[-1]) if options else node


def _refusal(value: object, key: str, node: dict[str, Any]) -> InputError:
    """What is wrong with a value, by what the schema says of its key."""
    kind = f", {_KINDS[type(value)]}," if type(value) in _KINDS else ""
    problem, fix = f"{shown(value)}{kind} is not allowed", None
    least, most = node.get("minimum", 0), node.get("maximum", 0)
    match node["type"]:
        case "array" | "object" as wanted:
            return _no_container(value, key, node, list if wanted == "array" else dict)
        case list():
            allowed = "one value: a number, a string, true, false or null"
            fix = "write alternatives as {choice: [..]}" if isinstance(value, list) else None
        case "integer":
            allowed = f"a whole number from {least:,} to {most:,}"
            above = isinstance(value, int | float) and value > most
            fix = f"write {most} or less" if above else f"write {least} or more"
        case "number" if "exclusiveMinimum" in node:
            upper = f"at most {node['maximum']}" if "maximum" in node else "below 1"
            allowed = f"a number above 0, {upper}"
        case "number":
            allowed, fix = "a number", "write a number without quotes"
        case "boolean":
            allowed, fix = "true or false", "write true or false without quotes"
        case _ if "enum" in node:
            problem, allowed = f"unknown {key} {shown(value)}", ", ".join(node["enum"])
            fix = nearest(value, node["enum"]) if isinstance(value, str) else f"name a {key}"
        case _ if "pattern" in node:
            allowed = "letters, digits, dots, - and _, starting with a letter or digit"
            is_number = isinstance(value, int | float)
            fix = "put it in quotes" if is_number else "choose a shorter, plainer name"
        case _:
            allowed, fix = "a string that is not empty", "put it in quotes"
    return InputError(problem, allowed=allowed, fix=fix)


def _no_container(
    value: object, key: str, node: dict[str, Any], wanted: type[list[object] | dict[str, object]]
) -> InputError:
    """What is no list or no mapping, or has too few or too many members."""
    example = "[a, b]" if wanted is list else "{key: value}"
    if not isinstance(value, wanted):
        return InputError(
            f"{shown(value)} is not {_KINDS[wanted]}",
            allowed=_KINDS[wanted],
            fix=f"write it as {example}, or as indented lines below",
        )
    if wanted is list:
        return InputError("is empty", allowed="at least one", fix="list at least one")
    return InputError(
        f"{len(value) or 'no'} {key}",
        allowed=f"{node['minProperties']} to {node['maxProperties']} {key}",
        fix="add for instance `lr: {low: 1.0e-4, high: 1.0, log: true}`",
    )
