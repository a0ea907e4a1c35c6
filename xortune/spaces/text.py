"""YAML text to plain values, with the line of every one of them; strings, numbers and no surprises.

Only PyYAML's parser is used, not its constructors: nothing in a file can name a Python object, and
values follow YAML 1.2 (``1e-4`` is a number, ``yes`` and ``off`` are strings).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from xortune.core.errors import InputError
from xortune.core.point import Value

UNWRITTEN = "<space>"
"""What messages call a space that is no file; nobody has seen its lines, so none is named."""

Location: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys of mappings and positions in lists, from the top."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 10  # a space file needs five levels
MAX_INTEGER = 2**53  # beyond it, floats (and so the samplers) cannot tell integers apart

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class YamlDocument:
    """What a file says.

    Attributes:
        values: the top mapping, of plain values, lists and mappings with string keys.
        lines: for each location the line of its key or list item, from 1.
        place: the name of the file, for messages.
    """

    values: dict[str, object]
    lines: dict[Location, int]
    place: str

    def at(self, location: Location) -> str:
        """``file:line: dotted.name``, with the line of what encloses it if it is not there."""
        return told(self.place, location, self.lines)


def told(place: str, location: Location, lines: dict[Location, int]) -> str:
    """``file:line: dotted.name`` for a location, or the nearest line that encloses it."""
    known = next(
        (location[:end] for end in range(len(location), -1, -1) if location[:end] in lines), ()
    )
    name = ".".join(map(str, location))
    where = place if place == UNWRITTEN else f"{place}:{lines.get(known, 1)}"
    return f"{where}: {name}" if name else where


def shown(value: object) -> str:
    """A value as a message quotes it: as YAML writes it, and not longer than a line."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def word(value: object) -> str:
    """A value as `shown`, but a string without quotes: for lists of allowed values."""
    return value if isinstance(value, str) and value else shown(value)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file.

    Raises:
        InputError: no such file, a directory, no permission, over 1 MB, or not UTF-8.
    """
    place = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        folder = Path(path).parent
        near = sorted(p.name for p in folder.glob("*.y*ml"))[:8] if folder.is_dir() else []
        raise InputError(
            "there is no such file",
            place=place,
            fix=f"one of these in {folder}: {', '.join(near)}" if near else "check the path",
        ) from None
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


def written(values: Mapping[str, object]) -> str:
    """What a file would have to say for these values: JSON, which is YAML 1.2 too.

    Raises:
        InputError: something that no file could hold.
    """
    try:
        return json.dumps(dict(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be written as a file ({error})",
            place=UNWRITTEN,
            allowed="dicts with text as keys, lists, text, finite numbers, true, false and None",
            fix="of a NumPy scalar take .item()",
        ) from None


def read_yaml(text: str, place: str) -> YamlDocument:
    """The values of one YAML document whose top is a mapping.

    Raises:
        InputError: text that is no YAML, is empty, holds several documents, tags, anchors or
            aliases, a key given twice or that is no string, too deep a nesting, a number that is
            not finite or an integer beyond 2**53.
    """
    builder = _Builder(place)
    try:
        for event in _events(text):
            builder.take(event)
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}" if mark else place
        raise InputError(
            f"is not valid YAML ({error.problem or error.context})",
            place=where,
            fix="check the indentation, brackets and quotes on and above this line",
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ReaderError for characters that YAML forbids; the rest from escapes such as "\UFFFFFFFF".
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        raise InputError(
            "is not valid YAML (a character or escape that YAML does not have)",
            place=f"{place}:{line}",
            fix="remove it, or quote it differently",
        ) from None
    if builder.root is None:
        raise InputError(
            "is empty", place=place, allowed="a mapping with at least name and parameters"
        )
    if not isinstance(builder.root, dict):
        raise InputError(
            f"is {_kind(builder.root)}, not a mapping",
            place=f"{place}:{builder.lines.get((), 1)}",
            allowed="`key: value` lines at the top",
        )
    return YamlDocument(builder.root, builder.lines, place)


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"the single value {shown(value)}"


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=yaml.SafeLoader)


@dataclass
class _Frame:
    """A mapping or list that is still being filled."""

    container: dict[str, object] | list[object]
    location: Location
    key: str | None = None


@dataclass
class _Builder:
    """Puts parser events together without recursion, so that no nesting can exhaust the stack."""

    place: str
    root: object = None
    lines: dict[Location, int] = field(default_factory=dict)
    frames: list[_Frame] = field(default_factory=list)
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.refuse(line, "a second YAML document", "one document", "remove this `---`")
        elif isinstance(event, yaml.AliasEvent):
            self.refuse(line, f"the alias *{event.anchor}", "plain values", "write the value out")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.frames.pop()
        elif isinstance(event, yaml.ScalarEvent):
            self.refuse_marks(event, line)
            value = self.scalar(event, line)
            frame = self.frames[-1] if self.frames else None
            if frame and isinstance(frame.container, dict) and frame.key is None:
                self.open_key(frame, value, line)
            else:
                self.put(value, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self.refuse_marks(event, line)
            container: dict[str, object] | list[object] = (
                {} if isinstance(event, yaml.MappingStartEvent) else []
            )
            location = self.put(container, line)
            self.frames.append(_Frame(container, location))
            if len(self.frames) > MAX_DEPTH:
                self.refuse(line, "nested too deeply", f"{MAX_DEPTH} levels", "flatten it")

    def refuse(self, line: int, problem: str, allowed: str, fix: str) -> None:
        place = f"{self.place}:{line}"
        if self.place == UNWRITTEN:
            frame = self.frames[-1] if self.frames else _Frame({}, ())
            place = told(self.place, (*frame.location, *([frame.key] if frame.key else [])), {})
        raise InputError(problem, place=place, allowed=allowed, fix=fix)

    def refuse_marks(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            self.refuse(line, f"the anchor &{event.anchor}", "plain values", "write values out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.refuse(line, f"the tag {shown(tag)}", "plain values", "remove the tag")

    def open_key(self, frame: _Frame, key: object, line: int) -> None:
        if not isinstance(key, str) or not key:
            self.refuse(line, f"the key {shown(key)}", "a string as key", "put it in quotes")
        assert isinstance(key, str)
        location = (*frame.location, key)
        if location in self.lines:
            self.refuse(
                line,
                f"the key {key!r} is given twice, first on line {self.lines[location]}",
                "each key once",
                "remove one of them",
            )
        frame.key = key
        self.lines[location] = line

    def put(self, value: object, line: int) -> Location:
        if not self.frames:
            self.root, self.lines[()] = value, line
            return ()
        frame = self.frames[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
            location = (*frame.location, len(frame.container) - 1)
            self.lines[location] = line
            return location
        if frame.key is None:
            self.refuse(line, "a list or mapping as key", "a string as key", "check the brackets")
        assert frame.key is not None
        frame.container[frame.key] = value
        location, frame.key = (*frame.location, frame.key), None
        return location

    def scalar(self, event: yaml.ScalarEvent, line: int) -> Value:
        text: str = event.value
        odd = next((c for c in text if not c.isprintable() and c not in "\t\n"), None)
        if odd is not None:
            self.refuse(line, f"the character {odd!a}", "printable text", "remove it")
        if event.style:  # quoted or block text is always a string
            return text
        if _NULL.fullmatch(text):
            return None
        if match := _BOOLEAN.fullmatch(text):
            return match[1] is not None
        value: Value = text
        if _INTEGER.fullmatch(text) and len(text) < 400:
            value = int(text)
        elif _BASED.fullmatch(text) and len(text) < 400:
            value = int(text, 0)
        elif _FLOAT.fullmatch(text):
            value = float(text)
        if _NOT_FINITE.fullmatch(text) or (isinstance(value, float) and abs(value) == float("inf")):
            self.refuse(
                line,
                f"{shown(text)[1:-1]} is not finite",
                "a finite number",
                "write a number, or quote it if you mean the word",
            )
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            self.refuse(
                line, f"{shown(value)} is too large", "integers up to 2**53", "write it as 1.0e+20"
            )
        return value
