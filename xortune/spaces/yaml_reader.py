"""Reads YAML as plain values, with the line of each.

Only PyYAML's composer is used, not its constructors: a file cannot name a Python object, and values
follow YAML 1.2 (``1e-4`` is a number, ``yes`` and ``off`` are strings).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

import yaml

from xortune.core.errors import InputError
from xortune.core.files import reading
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
    place, at = os.fspath(path), Path(path)
    if at.is_dir() or not at.exists():
        folder = at if at.is_dir() else at.parent
        near = sorted(p.name for p in folder.glob("*.y*ml"))[:8]
        raise InputError(
            "is a directory" if at.is_dir() else "there is no such file",
            place=place,
            allowed="a YAML file",
            fix=f"one of these in {folder}: {', '.join(near)}" if near else "check the path",
        )
    with reading(at), open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
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
    reader = _Reader(place)
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
                kind = type(token).__name__.removesuffix("Token").lower()
                problem = f"the {kind} {text[token.start_mark.index : token.end_mark.index]}"
                reader.refuse(token, (), problem, "plain values", "write the value out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        top = None if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(
            f"is not valid YAML ({', '.join(filter(None, (error.context, error.problem)))})",
            place=f"{place}:{mark.line + 1}" if mark else place,
            fix="check the indentation, brackets and quotes on and above this line",
        ) from None
    except RecursionError:
        raise InputError(
            "nested too deeply", place=place, allowed=f"{MAX_DEPTH} levels", fix="flatten it"
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


class _Reader:
    """Builds values from PyYAML's nodes, and notes the line of each."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.lines: dict[Location, int] = {}

    def value(self, node: yaml.Node, location: Location) -> object:
        self.lines.setdefault(location, _line(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, location)
        if len(location) >= MAX_DEPTH:
            self.refuse(node, location, "nested too deeply", f"{MAX_DEPTH} levels", "flatten it")
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*location, i)) for i, item in enumerate(node.value)]
        pairs = ((self.key(key, location), value) for key, value in node.value)
        return {key: self.value(value, (*location, key)) for key, value in pairs}

    def key(self, node: yaml.Node, location: Location) -> str:
        key = self.scalar(node, location) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str) or not key:
            problem = f"the key {quoted(key)}" if key else "a list or mapping as key"
            self.refuse(node, location, problem, "a string as key", "put it in quotes")
        if first := self.lines.get((*location, key)):
            problem = f"the key {key!r} is given twice, first on line {first}"
            self.refuse(node, location, problem, "each key once", "remove one of them")
        self.lines[*location, key] = _line(node)
        return key

    def scalar(self, node: yaml.ScalarNode, location: Location) -> Value:
        text = node.value
        odd = next((c for c in text if not c.isprintable() and c not in "\t\n"), None)
        if odd is not None:
            problem = f"the character {odd!a}"
            self.refuse(node, location, problem, "printable text", "remove it")
        if node.style:  # quoted or block text is always a string
            return str(text)
        if text in _WORDS:
            return _WORDS[text]
        value: Value = text
        if _INTEGER.fullmatch(text) and len(text) < 400:
            value = int(text, 0 if text[:2] in ("0o", "0x") else 10)
        elif _FLOAT.fullmatch(text):
            value = float(text)
        if _NOT_FINITE.fullmatch(text) or value in (math.inf, -math.inf):
            problem, fix = (
                f"{quoted(text)[1:-1]} is not finite",
                "write a number, or quote the word",
            )
            self.refuse(node, location, problem, "a finite number", fix)
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            fix = "write a smaller number"
            if math.isfinite(number := as_float(value)):
                nearest = "" if number == value else ", the nearest float"
                fix = f"write {inline_yaml(number)}{nearest}"
            problem = f"{quoted(value)} is too large"
            self.refuse(node, location, problem, "integers up to 2**53", fix)
        return value

    def refuse(
        self, at: yaml.Node | yaml.Token, location: Location, problem: str, allowed: str, fix: str
    ) -> NoReturn:
        no_file = self.place == NO_FILE
        place = placed(self.place, location, {}) if no_file else f"{self.place}:{_line(at)}"
        raise InputError(problem, place=place, allowed=allowed, fix=fix)


def _line(at: yaml.Node | yaml.Token) -> int:
    return int(at.start_mark.line) + 1
