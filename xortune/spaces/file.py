"""The form of a space file: pydantic models, their errors in our words, and their JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeAlias, TypeVar

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

from xortune.core.errors import InputError, nearest
from xortune.spaces import values
from xortune.spaces.text import Location, YamlDocument, shown

# -------------------------------------------------------------------------------------------------
# The values of a space file as fields of pydantic models: how each is read, its JSON Schema.

SCALAR_SCHEMA = {"type": ["number", "string", "boolean", "null"]}
INNER_SCHEMA = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_WHOLE_SCHEMA = {"type": "integer", "minimum": 1, "maximum": values.MAX_SEEDS}

Scalar: TypeAlias = Annotated[Any, PlainValidator(values.scalar), WithJsonSchema(SCALAR_SCHEMA)]
Number: TypeAlias = Annotated[
    Any, PlainValidator(values.number), WithJsonSchema({"type": "number"})
]
Flag: TypeAlias = Annotated[bool, PlainValidator(values.flag), WithJsonSchema({"type": "boolean"})]
Text: TypeAlias = Annotated[
    str, PlainValidator(values.text), WithJsonSchema({"type": "string", "minLength": 1})
]
Rung: TypeAlias = Annotated[
    int,
    PlainValidator(values.rung),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": values.MAX_RUNG}),
]
When: TypeAlias = dict[
    str,
    Annotated[
        Any,
        PlainValidator(values.one_or_more),
        WithJsonSchema(
            {"anyOf": [SCALAR_SCHEMA, {"type": "array", "items": SCALAR_SCHEMA, "minItems": 1}]}
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


OptionalNumber: TypeAlias = _nullable(values.number, {"type": "number"})  # type: ignore[valid-type]
OptionalWhole: TypeAlias = _nullable(values.positive, _WHOLE_SCHEMA)  # type: ignore[valid-type]
OptionalText: TypeAlias = _nullable(values.text, {"type": "string"})  # type: ignore[valid-type]
OptionalDuration: TypeAlias = _nullable(  # type: ignore[valid-type]
    values.parse_duration,
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]},
)


class StrictForm(BaseModel):
    """A mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# -------------------------------------------------------------------------------------------------
# The form of a space file: pydantic models, their errors in our words, and their JSON Schema.
#
# What one value may look like is said here. What values must be to each other (conditions, grids,
# start entries) is checked in `spaces.space`.

PARAMETER_FORMS = "a fixed value, {choice: [..]} or {low: .., high: ..}"
MAX_PARAMETERS = 256  # more than any sampler makes sense of


class FixedForm(StrictForm):
    """One value, always the same."""

    value: Scalar
    when: When = Field(default={}, description="Only where other parameters have these values.")


class ChoiceForm(StrictForm):
    """One of a list of values."""

    choice: Annotated[
        list[Scalar], AfterValidator(values.distinct), Field(json_schema_extra={"minItems": 1})
    ]
    when: When = Field(default={}, description="Only where other parameters have these values.")


class RangeForm(StrictForm):
    """A number from a range, both ends included; whole if low, high and step are written whole."""

    low: Number
    high: Number
    log: Flag = Field(default=False, description="Spread evenly over orders of magnitude.")
    step: OptionalNumber = Field(default=None, description="Only low, low + step, ... up to high.")
    when: When = Field(default={}, description="Only where other parameters have these values.")


class CsvForm(StrictForm):
    """A task from a CSV file with a header."""

    csv: Text = Field(description="Path, relative to the space file.")
    target: OptionalText = Field(default=None, description="The 0/1 column to learn.")
    held_out: OptionalText = Field(default=None, description="A 0/1 column: rows to judge on.")
    accuracy: Annotated[
        float,
        PlainValidator(values.share),
        WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    ] = Field(default=1.0, description="Share of held-out rows that must be right.")


class FunctionForm(StrictForm):
    """A function or a class of your own; see docs/own-trainer.md."""

    function: Text = Field(
        description="module:function, or ./file.py:function relative to the space file."
    )
    timeout: OptionalDuration = Field(
        default=None,
        description="For one seed, looked at whenever the function reports or yields: seconds, or "
        '"10m".',
    )


class CommandForm(StrictForm):
    """A command that trains under one seed; see docs/command.md."""

    command: Text = Field(
        description="A program and its arguments, with {seed} and each parameter in braces; no "
        "shell reads it."
    )
    success: OptionalText = Field(
        default=None, description='"exit code 0", or a rule for its numbers: "accuracy >= 0.9".'
    )
    metric: OptionalText = Field(
        default=None, description='Its numbers: "last line json", or "last line number".'
    )
    timeout: OptionalDuration = Field(
        default=None, description='For one seed, after which it has failed: seconds, or "10m".'
    )
    files: list[Text] | None = Field(
        default=None,
        description="Files and folders that it needs, relative to the space file; if not given, "
        "the words of the command that are files.",
    )


class SearchForm(StrictForm):
    """How configurations are proposed, and how many."""

    sampler: Annotated[
        str,
        PlainValidator(values.sampler_name),
        WithJsonSchema({"type": "string", "enum": list(values.SAMPLERS)}),
    ] = Field(default="tpe", description="Who proposes configurations.")
    trials: OptionalWhole = Field(default=None, description="Proposals; none with sampler grid.")
    seed: Annotated[
        int,
        PlainValidator(values.seed),
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
    ] = Field(default=0, description="Of the sampler, so that a search can be repeated.")
    time_budget: OptionalDuration = Field(default=None, description='Seconds, or "10m", "2h".')


class RaceForm(StrictForm):
    """A race with a rung at 2, 4, 8, ... seeds."""

    alpha: Annotated[float, PlainValidator(values.inner_share), WithJsonSchema(INNER_SCHEMA)] = (
        Field(default=0.05, description="How probable any wrong stop is, at most.")
    )
    max: Rung = Field(default=512, description="Seeds at the last rung.")


class SeedsForm(StrictForm):
    """How many seeds a configuration is trained under."""

    ladder: Annotated[list[Rung], AfterValidator(values.ascending)] = Field(
        default=[8, 32, 128],
        description="Total seeds at each rung; promising ones climb.",
        json_schema_extra={"minItems": 1},
    )
    race: RaceForm | None = Field(default=None, description="Instead of a ladder.")
    finalists: OptionalWhole = Field(
        default=5, description="While so many do as well and as soon, others climb no further."
    )
    certify: OptionalWhole = Field(default=None, description="Fresh seeds for the finalists.")


class StopForm(StrictForm):
    """What ends a search before all its trials."""

    proven_rate: Annotated[
        Any,
        PlainValidator(lambda value: None if value is None else values.inner_share(value)),
        WithJsonSchema({"anyOf": [INNER_SCHEMA, {"type": "null"}]}),
    ] = Field(default=None, description="A success rate that one configuration is proven to have.")


class ObjectiveForm(StrictForm):
    """What is looked for, and in which direction."""

    name: Text
    direction: Annotated[
        Any,
        PlainValidator(lambda value: None if value is None else values.direction(value)),
        WithJsonSchema({"enum": [*values.DIRECTIONS, None]}),
    ] = Field(default=None, description="Of a parameter (minimize if not given), or a number.")
    failed: OptionalNumber = Field(
        default=None, description="Of a number: what a failed seed counts as."
    )


def _objective_form(value: object) -> str:
    return "objective" if isinstance(value, dict) else "measure"


Objective: TypeAlias = Annotated[
    Annotated[Text, Tag("measure")] | Annotated[ObjectiveForm, Tag("objective")],
    Discriminator(_objective_form),
]


def _parameter_form(value: object) -> str:
    if not isinstance(value, dict):
        return "scalar"
    return next((form for form in ("choice", "value") if form in value), "range")


def _trainer_form(value: object) -> str:
    if not isinstance(value, dict):
        return "name"
    return "function" if "function" in value else "command"


def _task_form(value: object) -> str:
    return "file" if isinstance(value, dict) else "name"


Parameter: TypeAlias = Annotated[
    Annotated[Scalar, Tag("scalar")]
    | Annotated[FixedForm, Tag("value")]
    | Annotated[ChoiceForm, Tag("choice")]
    | Annotated[RangeForm, Tag("range")],
    Discriminator(_parameter_form),
]


class SpaceForm(StrictForm):
    """A search space of xortune: what to train, what to vary, how to search."""

    name: Annotated[
        str,
        PlainValidator(values.space_name),
        WithJsonSchema({"type": "string", "pattern": f"^{values.NAME.pattern}$", "maxLength": 100}),
    ] = Field(description="Names the run directory.")
    task: Annotated[
        Annotated[Text, Tag("name")] | Annotated[CsvForm, Tag("file")], Discriminator(_task_form)
    ] = Field(default="xor", description="xor, parity-N, a CSV file or a mapping with csv.")
    trainer: Annotated[
        Annotated[OptionalText, Tag("name")]
        | Annotated[FunctionForm, Tag("function")]
        | Annotated[CommandForm, Tag("command")],
        Discriminator(_trainer_form),
    ] = Field(
        default=None,
        description="A function of your own instead of task and epochs: module:function, or "
        "./file.py:function relative to the space file; or a mapping with a function or a command.",
    )
    success: OptionalText = Field(
        default=None, description='With numbers of a trainer of your own: "accuracy >= 0.9".'
    )
    epochs: OptionalWhole = Field(default=None, description="A fixed parameter named epochs.")
    parameters: dict[str, Parameter] = Field(
        description=f"Each {PARAMETER_FORMS}.",
        json_schema_extra={"minProperties": 1, "maxProperties": MAX_PARAMETERS},
    )
    search: SearchForm = SearchForm()
    seeds: SeedsForm = SeedsForm()
    stop: StopForm = StopForm()
    objectives: list[Objective] = Field(
        default=["success_rate"],
        description="success_rate, epochs_to_solve, numeric parameters: several are a front. With "
        "a trainer of your own its numbers too: accuracy_q10, accuracy_mean.",
        json_schema_extra={"minItems": 1},
    )
    start: list[dict[str, Scalar]] = Field(
        default=[], description="Complete configurations to evaluate first."
    )


FormT = TypeVar("FormT", bound=BaseModel)


def validated(document: YamlDocument) -> SpaceForm:
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
            values.parameter_name(name)
        except InputError as error:
            raise error.at(document.at(("parameters", name))) from None
    if not 0 < len(form.parameters) <= MAX_PARAMETERS:
        raise InputError(
            f"{len(form.parameters) or 'no'} parameters",
            field="parameters",
            place=document.at(("parameters",)),
            allowed=f"1 to {MAX_PARAMETERS} parameters",
            fix="add for instance `lr: {low: 1.0e-4, high: 1.0, log: true}`",
        )
    return form


_FORMS: dict[str, type[BaseModel]] = {
    "search": SearchForm,
    "seeds": SeedsForm,
    "stop": StopForm,
    "objective": ObjectiveForm,
    "function": FunctionForm,
    "command": CommandForm,
    "file": CsvForm,
    "choice": ChoiceForm,
    "value": FixedForm,
    "range": RangeForm,
}
_TAGGED = {
    "parameters": 2,
    "objectives": 2,
    "trainer": 1,
    "task": 1,
}  # where pydantic puts the tag of a union into a location


def _translated(detail: ErrorDetails, document: YamlDocument) -> InputError:
    """A pydantic error in our words, with its line."""
    raw = detail["loc"]
    cut = _TAGGED.get(str(raw[0]), len(raw)) if raw else 0
    tag = raw[cut] if cut < len(raw) else (raw[0] if raw else "")
    location: Location = (*raw[:cut], *raw[cut + 1 :])
    place, name = document.at(location), str(location[-1])
    form = _FORMS.get(str(tag), SpaceForm) if len(location) > 1 else SpaceForm
    if location[:2] == ("seeds", "race") and len(location) > 2:
        form = RaceForm
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        found = cause
    elif detail["type"] == "extra_forbidden":
        known = list(form.model_fields)
        found = InputError("unknown key", allowed=", ".join(known), fix=nearest(name, known))
    elif detail["type"] == "missing":
        about = form.model_fields[name].description or PARAMETER_FORMS
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
