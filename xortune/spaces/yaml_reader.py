"""Reads YAML as plain values, with the line of each.

Only PyYAML's parser is used, not its constructors: a file cannot name a Python object, and values
follow YAML 1.2 (``1e-4`` is a number, ``yes`` and ``off`` are strings).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

import yaml

from xortune.core.errors import InputError
from xortune.core.point import Nested, Value, as_float

NO_FILE = "<space>"
"""The place in messages about a space that is not a file, and so has no lines."""

Location: TypeAlias = tuple[str | int, ...]
"""The path of a value: keys of mappings and indices of lists, from the top."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 10  # a space file needs five levels
MAX_INTEGER = 2**53  # above it floats, and so the samplers, do not distinguish all integers

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class YamlDocument:
    """The values of a file.

    Attributes:
        lines: for each location the line of its key or list item, from 1.
    """

    values: dict[str, object]
    lines: Mapping[Location, int]
    place: str

    def at(self, location: Location) -> str:
        """As `placed`."""
        return placed(self.place, location, self.lines)


def placed(place: str, location: Location, lines: Mapping[Location, int]) -> str:
    """``file:line: dotted.name`` of a location, with the nearest enclosing line that is known."""
    ends = range(len(location), -1, -1)
    line = next((lines[location[:end]] for end in ends if location[:end] in lines), 1)
    where = place if place == NO_FILE else f"{place}:{line}"
    return ": ".join([where, *([".".join(map(str, location))] if location else [])])


def quoted(value: object) -> str:
    """A value as messages quote it: as in YAML, and shortened to 60 characters."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def unquoted(value: object) -> str:
    """As `quoted`, but a string without quotes: for lists of allowed values."""
    return value if isinstance(value, str) and value else quoted(value)


_BARE = re.compile(
    r"(?!(?:true|false|yes|no|on|off|null|none|y|n|nan|inf)$)[A-Za-z_][\w.+/-]*", re.ASCII | re.I
)


def inline_yaml(value: object) -> str:
    """A value on one line, which YAML 1.1, YAML 1.2 and OmegaConf read alike."""
    if isinstance(value, Nested):
        return str(value)
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{inline_yaml(k)}: {inline_yaml(v)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline_yaml, value)) + "]"
    if isinstance(value, str):
        is_bare = _BARE.fullmatch(value)
        return value if is_bare else json.dumps(value, ensure_ascii=not value.isprintable())
    # In YAML 1.1 a number with an exponent has a point: 1.0e-05.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file.

    Raises:
        InputError: the file does not exist, is a directory, may not be read, is larger than 1 MB,
            or is not UTF-8.
    """
    place = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        folder = Path(path).parent
        near = sorted(p.name for p in folder.glob("*.y*ml"))[:8] if folder.is_dir() else []
        fix = f"one of these in {folder}: {', '.join(near)}" if near else "check the path"
        raise InputError("there is no such file", place=place, fix=fix) from None
    except IsADirectoryError:
        raise InputError(
            "is a directory", place=place, allowed="a YAML file", fix="name a file in it"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot be read ({reason})", place=place, fix="check the path and its permissions"
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError("is larger than 1 MB", place=place, allowed="a space file of up to 1 MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            "is not UTF-8 text", place=f"{place}:{line}", fix="save the file as UTF-8"
        ) from None


def as_yaml(values: Mapping[str, object]) -> str:
    """The text of a file with these values: JSON, which is YAML 1.2 too."""
    try:
        return json.dumps(dict(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be written as a file ({error})",
            place=NO_FILE,
            allowed="dicts with text as keys, lists, text, finite numbers, true, false and None",
            fix="convert NumPy scalars with .item()",
        ) from None


def read_yaml(text: str, place: str) -> YamlDocument:
    """The values of one YAML document whose top is a mapping.

    Raises:
        InputError: the text is no YAML or empty, has several documents, tags, anchors, aliases, a
            repeated key or one that is no string, is nested too deeply, or has a number that is not
            finite or an integer above 2**53.
    """
    reader = _YamlReader(text, place)
    try:
        top = reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(
            f"is not valid YAML ({error.problem or error.context})",
            place=f"{place}:{mark.line + 1}" if mark else place,
            fix="check the indentation, brackets and quotes on and above this line",
        ) from None
    except (yaml.YAMLError, OverflowError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        # ReaderError is of forbidden characters, the others of escapes such as "\UFFFFFFFF".
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise InputError(
            "is not valid YAML (a character or escape that YAML does not have)",
            place=f"{place}:{line}",
            fix="remove it, or quote it differently",
        ) from None
    if top is None:
        raise InputError(
            "is empty", place=place, allowed="a mapping with at least name and parameters"
        )
    if not isinstance(top, dict):
        what = "a list" if isinstance(top, list) else f"the single value {quoted(top)}"
        raise InputError(
            f"is {what}, not a mapping",
            place=f"{place}:{reader.lines[()]}",
            allowed="`key: value` lines at the top",
        )
    return YamlDocument(top, reader.lines, place)


class _YamlReader:
    """Builds values from the parser's events; MAX_DEPTH bounds the recursion."""

    def __init__(self, text: str, place: str) -> None:
        self.events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self.place = place
        self.lines: dict[Location, int] = {}

    def document(self) -> object:
        top: object = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.lines:
                    problem = "a second YAML document"
                    self.refuse(event, (), problem, "one document", "remove this `---`")
                top = self.value(next(self.events), ())
        return top

    def value(self, event: yaml.Event, location: Location) -> object:
        self.lines.setdefault(location, _line(event))
        self.refuse_marks(event, location)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, location)
        if len(location) >= MAX_DEPTH:
            self.refuse(event, location, "nested too deeply", f"{MAX_DEPTH} levels", "flatten it")
        if isinstance(event, yaml.SequenceStartEvent):
            values: list[object] = []
            while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
                values.append(self.value(event, (*location, len(values))))
            return values
        mapping: dict[str, object] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, location)
            mapping[key] = self.value(next(self.events), (*location, key))
        return mapping

    def key(self, event: yaml.Event, location: Location) -> str:
        self.refuse_marks(event, location)
        if not isinstance(event, yaml.ScalarEvent):
            problem = "a list or mapping as key"
            self.refuse(event, location, problem, "a string as key", "check the brackets")
        key = self.scalar(event, location)
        if not isinstance(key, str) or not key:
            problem = f"the key {quoted(key)}"
            self.refuse(event, location, problem, "a string as key", "put it in quotes")
        if first := self.lines.get((*location, key)):
            problem = f"the key {key!r} is given twice, first on line {first}"
            self.refuse(event, location, problem, "each key once", "remove one of them")
        self.lines[*location, key] = _line(event)
        return key

    def scalar(self, event: yaml.ScalarEvent, location: Location) -> Value:
        text = event.value
        odd = next((c for c in text if not c.isprintable() and c not in "\t\n"), None)
        if odd is not None:
            problem = f"the character {odd!a}"
            self.refuse(event, location, problem, "printable text", "remove it")
        if event.style:  # quoted or block text is always a string
            return str(text)
        if text in _WORDS:
            return _WORDS[text]
        value: Value = text
        if _INTEGER.fullmatch(text) and len(text) < 400:
            value = int(text, 0 if text[:2] in ("0o", "0x") else 10)
        elif _FLOAT.fullmatch(text):
            value = float(text)
        if _NOT_FINITE.fullmatch(text) or value in (math.inf, -math.inf):
            self.refuse(
                event,
                location,
                f"{quoted(text)[1:-1]} is not finite",
                "a finite number",
                "write a number, or quote it if you mean the word",
            )
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            problem, fix = f"{quoted(value)} is too large", "write a smaller number"
            if math.isfinite(number := as_float(value)):
                nearest = "" if number == value else ", the nearest float"
                fix = f"write {inline_yaml(number)}{nearest}"
            self.refuse(event, location, problem, "integers up to 2**53", fix)
        return value

    def refuse_marks(self, event: yaml.Event, location: Location) -> None:
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{event.anchor}"
            self.refuse(event, location, problem, "plain values", "write the value out")
        if anchor := getattr(event, "anchor", None):
            problem = f"the anchor &{anchor}"
            self.refuse(event, location, problem, "plain values", "write values out")
        if tag := getattr(event, "tag", None):
            problem = f"the tag {quoted(tag)}"
            self.refuse(event, location, problem, "plain values", "remove the tag")

    def refuse(
        self, event: yaml.Event, location: Location, problem: str, allowed: str, fix: str
    ) -> NoReturn:
        no_file = self.place == NO_FILE
        place = placed(self.place, location, {}) if no_file else f"{self.place}:{_line(event)}"
        raise InputError(problem, place=place, allowed=allowed, fix=fix)


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1
