"""The values of a space file as fields of pydantic models: how each is read, its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema

from xortune import space_values as values

__all__ = [
    "INNER_SCHEMA",
    "Flag",
    "Form",
    "Number",
    "OptionalDuration",
    "OptionalNumber",
    "OptionalText",
    "OptionalWhole",
    "Rung",
    "Scalar",
    "Text",
    "When",
]

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


class Form(BaseModel):
    """A mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
