"""The form of a space file: pydantic models, their errors in our words, and their JSON Schema.

What one value may look like is said here. What values must be to each other (conditions, grids,
start entries) is checked in `xortune.space`.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from xortune.errors import InputError, nearest
from xortune.point import Value
from xortune.space_yaml import Document, Location, shown

__all__ = [
    "SAMPLERS",
    "ChoiceForm",
    "CsvForm",
    "FixedForm",
    "RangeForm",
    "SearchForm",
    "SeedsForm",
    "SpaceForm",
    "json_schema",
    "parse_duration",
    "validated",
]

SAMPLERS = ("tpe", "gp", "nsgaii", "random", "grid", "cmaes")

RESERVED = ("key", "k", "n", "rate", "low", "high", "epochs_to_solve", "trials")
"""Columns of a run's table; a parameter of that name would be a second one."""

MAX_SEEDS = 2**30
"""The search draws its seeds below this."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_DURATION = re.compile(
    r"(?=.)(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m)?(?:(\d+(?:\.\d*)?)s?)?", re.ASCII
)


def parse_duration(text: str | float) -> float:
    """Seconds: ``90`` or ``"90s"``, ``"10m"``, ``"2h"``, ``"1h30m"``.

    Raises:
        InputError: anything else, zero, and what is not finite.
    """
    allowed = "seconds above 0, or hours, minutes, seconds as in 2h, 10m, 90s, 1h30m"
    seconds = 0.0
    if isinstance(text, str):
        match = _DURATION.fullmatch(text.strip())
        if match:
            hours, minutes, rest = (float(part or 0) for part in match.groups())
            seconds = hours * 3600 + minutes * 60 + rest
    elif isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise InputError(
            f"{shown(text)} is no duration",
            field="time_budget",
            allowed=allowed,
            fix='write for instance "10m"',
        )
    return seconds


def _refuse(value: object, allowed: str, fix: str | None = None) -> NoReturn:
    kinds = {bool: "true or false", list: "a list", dict: "a mapping", str: "a string"}
    kind = f", {kinds[type(value)]}," if type(value) in kinds else ""
    raise InputError(f"{shown(value)}{kind} is not allowed", allowed=allowed, fix=fix)


def _scalar(value: object) -> Value:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    _refuse(
        value,
        "one value: a number, a string, true, false or null",
        "write alternatives as {choice: [..]}" if isinstance(value, list) else None,
    )


def _number(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    _refuse(value, "a number", "write a number without quotes")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    _refuse(value, "true or false", "write true or false without quotes")


def _text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    _refuse(value, "a string that is not empty", "put it in quotes")


def _space_name(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value) and len(value) <= 100:
        return value
    fix = "put it in quotes" if isinstance(value, int | float) else "choose a shorter, plainer name"
    _refuse(value, "letters, digits, dots, - and _, starting with a letter or digit", fix)


def _whole(value: object, low: int, high: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    _refuse(value, f"a whole number from {low} to {high}", f"write {low} or more")


def _positive(value: object) -> int:
    return _whole(value, 1, MAX_SEEDS)


def _seed(value: object) -> int:
    return _whole(value, 0, 2**32 - 1)  # what the samplers' generators take


def _share(value: object) -> float:
    number = float(_number(value))
    if 0 < number <= 1:
        return number
    _refuse(value, "above 0, at most 1")


def _sampler(value: object) -> str:
    if isinstance(value, str) and value in SAMPLERS:
        return value
    fix = nearest(value, SAMPLERS) if isinstance(value, str) else "name a sampler"
    raise InputError(f"unknown sampler {shown(value)}", allowed=", ".join(SAMPLERS), fix=fix)


def _choices(values: list[Value]) -> list[Value]:
    if not values:
        raise InputError(
            "an empty choice", allowed="at least one value", fix="list values, or drop it"
        )
    seen: dict[tuple[bool, Value], Value] = {}
    for value in values:
        same = (isinstance(value, bool), value)
        if same in seen:
            raise InputError(
                f"the choice {shown(value)} is given twice",
                allowed="each value once (1 and 1.0 are the same value)",
                fix="remove one of them",
            )
        seen[same] = value
    return values


def _ladder(values: list[int]) -> list[int]:
    if values and all(a < b for a, b in itertools.pairwise(values)):
        return values
    raise InputError(
        f"{shown(values)} does not ascend",
        allowed="at least one count of seeds, each larger than the one before",
        fix=f"write {sorted(set(values)) or [8, 32, 128]}",
    )


def _wanted(value: object) -> list[Value]:
    values = value if isinstance(value, list) else [value]
    return _choices([_scalar(item) for item in values])


def _parameter_name(name: str) -> str:
    if not _PARAMETER.fullmatch(name):
        raise InputError(
            f"{shown(name)} is no parameter name", allowed="letters, digits, _, - and dots"
        )
    if name in RESERVED:
        raise InputError(
            f"{name!r} is a column of every result table",
            allowed="any name but " + ", ".join(RESERVED),
            fix=f"rename it, for instance to {name}_value",
        )
    return name


_SCALAR_SCHEMA = {"type": ["number", "string", "boolean", "null"]}
_WHOLE_SCHEMA = {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS}

Scalar: TypeAlias = Annotated[Any, PlainValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
Number: TypeAlias = Annotated[Any, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Flag: TypeAlias = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
Text: TypeAlias = Annotated[
    str, PlainValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})
]
Positive: TypeAlias = Annotated[int, PlainValidator(_positive), WithJsonSchema(_WHOLE_SCHEMA)]
When: TypeAlias = dict[
    str,
    Annotated[
        Any,
        PlainValidator(_wanted),
        WithJsonSchema(
            {"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}]}
        ),
    ],
]


def _nullable(validate: Any, schema: dict[str, Any]) -> Any:
    """An optional value that may also be written as null."""
    return Annotated[
        Any,
        PlainValidator(lambda value: None if value is None else validate(value)),
        WithJsonSchema({"anyOf": [schema, {"type": "null"}]}),
    ]


OptionalNumber: TypeAlias = _nullable(_number, {"type": "number"})  # type: ignore[valid-type]
OptionalWhole: TypeAlias = _nullable(_positive, _WHOLE_SCHEMA)  # type: ignore[valid-type]
OptionalText: TypeAlias = _nullable(_text, {"type": "string"})  # type: ignore[valid-type]
OptionalDuration: TypeAlias = _nullable(  # type: ignore[valid-type]
    parse_duration,
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]},
)


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FixedForm(_Form):
    """One value, always the same."""

    value: Scalar
    when: When = Field(default={}, description="Only where other parameters have these values.")


class ChoiceForm(_Form):
    """One of a list of values."""

    choice: Annotated[
        list[Scalar], AfterValidator(_choices), Field(json_schema_extra={"minItems": 1})
    ]
    when: When = Field(default={}, description="Only where other parameters have these values.")


class RangeForm(_Form):
    """A number from a range, both ends included; whole if low, high and step are written whole."""

    low: Number
    high: Number
    log: Flag = Field(default=False, description="Spread evenly over orders of magnitude.")
    step: OptionalNumber = Field(default=None, description="Only low, low + step, ... up to high.")
    when: When = Field(default={}, description="Only where other parameters have these values.")


class CsvForm(_Form):
    """A task from a CSV file with a header."""

    csv: Text = Field(description="Path, relative to the space file.")
    target: OptionalText = Field(default=None, description="The 0/1 column to learn.")
    held_out: OptionalText = Field(default=None, description="A 0/1 column: rows to judge on.")
    accuracy: Annotated[
        float,
        PlainValidator(_share),
        WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    ] = Field(default=1.0, description="Share of held-out rows that must be right.")


class SearchForm(_Form):
    """How configurations are proposed, and how many."""

    sampler: Annotated[
        str, PlainValidator(_sampler), WithJsonSchema({"type": "string", "enum": list(SAMPLERS)})
    ] = Field(default="tpe", description="Who proposes configurations.")
    trials: OptionalWhole = Field(default=None, description="Proposals; none with sampler grid.")
    seed: Annotated[
        int,
        PlainValidator(_seed),
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
    ] = Field(default=0, description="Of the sampler, so that a search can be repeated.")
    time_budget: OptionalDuration = Field(default=None, description='Seconds, or "10m", "2h".')


class SeedsForm(_Form):
    """How many seeds a configuration is trained under."""

    ladder: Annotated[list[Positive], AfterValidator(_ladder)] = Field(
        default=[8, 32, 128], description="Total seeds at each rung; promising ones climb."
    )
    certify: OptionalWhole = Field(default=None, description="Fresh seeds for the finalists.")


def _parameter_form(value: object) -> str:
    if not isinstance(value, dict):
        return "scalar"
    return next((form for form in ("choice", "value") if form in value), "range")


def _task_form(value: object) -> str:
    return "file" if isinstance(value, dict) else "name"


Parameter: TypeAlias = Annotated[
    Annotated[Scalar, Tag("scalar")]
    | Annotated[FixedForm, Tag("value")]
    | Annotated[ChoiceForm, Tag("choice")]
    | Annotated[RangeForm, Tag("range")],
    Discriminator(_parameter_form),
]


class SpaceForm(_Form):
    """A search space of xortune: what to train, what to vary, how to search."""

    name: Annotated[
        str,
        PlainValidator(_space_name),
        WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": 100}),
    ] = Field(description="Names the run directory.")
    task: Annotated[
        Annotated[Text, Tag("name")] | Annotated[CsvForm, Tag("file")], Discriminator(_task_form)
    ] = Field(default="xor", description="xor, parity-N, a CSV file or a mapping with csv.")
    epochs: OptionalWhole = Field(default=None, description="A fixed parameter named epochs.")
    parameters: dict[str, Parameter] = Field(
        description="Each a fixed value, {choice: [..]} or {low: .., high: ..}.",
        json_schema_extra={"minProperties": 1},
    )
    search: SearchForm = SearchForm()
    seeds: SeedsForm = SeedsForm()
    start: list[dict[str, Scalar]] = Field(
        default=[], description="Complete configurations to evaluate first."
    )


FormT = TypeVar("FormT", bound=BaseModel)


def validated(document: Document) -> SpaceForm:
    """The document as forms.

    Raises:
        InputError: the first thing in the file that has not the form it must have.
    """
    try:
        form = SpaceForm.model_validate(document.values)
    except ValidationError as error:
        # An unknown key comes first: where a key is misspelt, the right one is also missing.
        details = sorted(
            error.errors(include_url=False),
            key=lambda detail: detail["type"] != "extra_forbidden",
        )
        raise _translated(details[0], document) from None
    for name in form.parameters:
        try:
            _parameter_name(name)
        except InputError as error:
            raise error.at(document.at(("parameters", name))) from None
    if not form.parameters:
        raise InputError(
            "no parameters",
            place=document.at(("parameters",)),
            allowed="at least one parameter",
            fix="add for instance `lr: {low: 1.0e-4, high: 1.0, log: true}`",
        )
    return form


_FORMS: dict[str, type[BaseModel]] = {
    "search": SearchForm,
    "seeds": SeedsForm,
    "task": CsvForm,
    "choice": ChoiceForm,
    "value": FixedForm,
    "range": RangeForm,
}
_TAGGED = {"parameters": 2, "task": 1}  # where pydantic puts the tag of a union into a location


def _translated(detail: ErrorDetails, document: Document) -> InputError:
    """A pydantic error in our words, with its line."""
    raw = detail["loc"]
    cut = _TAGGED.get(str(raw[0]), len(raw)) if raw else 0
    tag = raw[cut] if cut < len(raw) else (raw[0] if raw else "")
    location: Location = (*raw[:cut], *raw[cut + 1 :])
    place, name = document.at(location), str(location[-1])
    form = _FORMS.get(str(tag), SpaceForm) if len(location) > 1 else SpaceForm
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        found = cause
    elif detail["type"] == "extra_forbidden":
        known = list(form.model_fields)
        found = InputError("unknown key", allowed=", ".join(known), fix=nearest(name, known))
    elif detail["type"] == "missing":
        about = form.model_fields[name].description
        found = InputError("is missing", allowed=about, fix=f"add a line `{name}: ...`")
    else:  # the only other thing the forms ask for is a list or a mapping
        wanted = "a list" if detail["type"] == "list_type" else "a mapping"
        example = "[a, b]" if wanted == "a list" else "{key: value}"
        found = InputError(
            f"{shown(detail['input'])} is not {wanted}",
            allowed=wanted,
            fix=f"write it as {example}, or as indented lines below",
        )
    return InputError(found.problem, field=name, place=place, allowed=found.allowed, fix=found.fix)


def json_schema() -> str:
    """The JSON Schema of space files as the shipped text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= SpaceForm.model_json_schema()
    return json.dumps(schema, indent=2) + "\n"
