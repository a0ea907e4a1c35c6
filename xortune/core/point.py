"""Point: a frozen mapping of parameter values with a stable key.

The search, the race, the run directory and the reports know no more of a configuration.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Iterator, Mapping, ValuesView
from functools import cached_property, lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias

from xortune.core.errors import InputError, kind_of

Value: TypeAlias = bool | int | float | str | None
"""A parameter's value; lists and mappings are `Nested`."""

MAX_NESTED = 10_000
"""Maximum length of the JSON of a list or a mapping."""


class Nested(str):
    """A list or a mapping as one value: its JSON, which can be compared and put into tables.

    A trainer gets the list or the mapping itself, from `Point.as_dict`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, given: object) -> Nested:
        """The value of a list, a tuple or a mapping with text as keys.

        Raises:
            InputError: JSON cannot hold it, or its JSON is too long.
        """
        try:
            text = json.dumps(given, sort_keys=True, allow_nan=False, ensure_ascii=False)
            if json.loads(text) != _as_lists(given):
                raise TypeError
        except (TypeError, ValueError, RecursionError):
            text = ""
        if not 0 < len(text) <= MAX_NESTED:
            raise InputError(
                f"{given!r:.60} cannot be a value",
                allowed="a list or a mapping with text as keys, of finite numbers, text, true, "
                f"false and null, of at most {MAX_NESTED:,} letters",
            )
        return cls(text)

    @property
    def value(self) -> Any:
        """A new copy of the list or the mapping."""
        return json.loads(self)

    def __repr__(self) -> str:
        return str.__str__(self)


def _as_lists(given: object) -> object:
    """With lists for tuples, which JSON does not have."""
    if isinstance(given, list | tuple):
        return [_as_lists(item) for item in given]
    if isinstance(given, dict):
        return {name: _as_lists(item) for name, item in given.items()}
    return given


def _canonical_json(value: Value) -> str:
    """JSON in which whole floats are ints: 1.0 and 1 train the same network. int(-0.0) is 0."""
    if type(value) is str:  # common types without the encoder: five times as fast
        return encode_basestring_ascii(value)
    if type(value) is float:
        return repr(int(value)) if value.is_integer() else repr(value)
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is Nested:
        return _JSON.encode(json.loads(value, parse_float=_whole))
    return repr(value) if type(value) is int else _JSON.encode(value)


def _whole(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


@lru_cache(maxsize=256)  # a million points have the same names
def _starts(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each name and the JSON before its value, sorted by name."""
    return [(name, f"{encode_basestring_ascii(name)}:") for name in sorted(names)]


class Point(Mapping[str, Value]):
    """Parameter names and their values, frozen.

    Two points are equal, and have one key, when their names agree and their values agree as
    numbers: ``1`` and ``1.0`` are the same value, ``-0.0`` and ``0.0`` too, ``True`` and ``1`` are
    not. The key ignores the order of the names, which is kept for display.

    ``point.lr`` is ``point["lr"]``; a parameter with the name of a method (``key``, ``items``) is
    found by ``[]`` only.

    Raises:
        InputError: a name is not a non-empty string, a value has another type than `Value`, or a
            number is not finite.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Value] = {
            name if type(name) is str and name and name.isascii() else _checked_name(name): value
            if type(value) in _PLAIN or (type(value) is str and value.isascii())
            else _checked_value(name, value)
            for name, value in values.items()
        }

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __getattr__(self, name: str) -> Value:
        values: dict[str, Value] = self.__dict__.get("_values", {})  # {} while unpickling
        if name in values:
            return values[name]
        raise AttributeError(f"no parameter {name!r}; there are: {', '.join(values)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> ValuesView[Value]:
        """The values. `Mapping.values` is slower, and a run may have a million points."""
        return self._values.values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Point({self._values!r})"

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits, the same in every process, machine and Python version.

        The start of the SHA-256 of the point as JSON with sorted names, whole numbers written
        without a fraction and all other floats by their shortest decimal that reads back the same
        (IEEE 754 double, Python's `repr`).
        """
        values = self._values
        fields = [start + _canonical_json(values[name]) for name, start in _starts(tuple(values))]
        return hashlib.sha256(f"{{{','.join(fields)}}}".encode()).hexdigest()[:16]

    @classmethod
    def unchecked(cls, values: dict[str, Value], key: str | None = None) -> Point:
        """A point of values that are checked already; a missing key is computed on demand."""
        point = cls.__new__(cls)
        point.__dict__["_values"] = values
        if key is not None:
            point.__dict__["key"] = key
        return point

    def __reduce__(self) -> tuple[Any, ...]:
        return Point.unchecked, (self._values, self.__dict__.get("key"))

    def as_dict(self) -> dict[str, Any]:
        """A copy as a plain dictionary, in the order of display, with lists and mappings."""
        if Nested not in map(type, self._values.values()):
            return self._values.copy()
        return {
            name: value.value if isinstance(value, Nested) else value
            for name, value in self._values.items()
        }


_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))

_PLAIN = frozenset((int, bool, type(None)))
"""Types whose values need no check."""


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{text!r} has a lone surrogate, as a file's name may have", allowed="text"
        ) from None
    return text


def _checked_name(name: object) -> str:
    if isinstance(name, str) and name:
        return _checked_text(name)
    raise InputError(
        f"{name!r} is not a parameter name", allowed="a non-empty string", fix="quote the name"
    )


def as_float(value: Any) -> float:
    """A real number as a float; infinite if it is an int or fraction above the largest float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _checked_value(name: str, value: object) -> Value:
    # A plain float first: a check against an abstract class takes long.
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        return _checked_text(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = as_float(value)
        if math.isfinite(number):
            return number
        raise InputError(f"{value} is not finite", field=name, allowed="a finite number")
    if isinstance(value, list | tuple | dict):
        try:
            return Nested.of(value)
        except InputError as error:
            raise InputError(error.problem, field=name, allowed=error.allowed) from None
    raise InputError(
        f"{value!r} is {kind_of(value)}",
        field=name,
        allowed="a number, a string, true, false, null, or a list or mapping of these",
    )
