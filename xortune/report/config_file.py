"""A config as a file that other programs read: YAML with a word on where it is from, or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from xortune.errors import InputError
from xortune.point import Point, Value
from xortune.report.format import plain

__all__ = ["json_config", "yaml_config"]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "none", "y", "n", "nan", "inf")
"""What one reader or another takes for something else than text."""


def yaml_config(point: Point, comments: Sequence[str]) -> str:
    """One line for each parameter; YAML 1.1 and 1.2, Hydra and OmegaConf read the same in it.

    Args:
        point: the config.
        comments: sentences that stand above it.

    Raises:
        InputError: a text that OmegaConf would take for a reference or for a missing value.
    """
    for name, value in point.items():
        for text in (name, value):
            if isinstance(text, str) and ("${" in text or text == "???"):
                raise InputError(
                    f"{text!r} means something else to OmegaConf",
                    field=name,
                    allowed="text without ${ that is not ???",
                    fix="export it as json",
                )
    lines = [f"# {plain(comment)}" for comment in comments]
    lines += [f"{_text(name)}: {_value(value)}" for name, value in point.items()]
    return "\n".join(lines) + "\n"


def json_config(point: Point) -> str:
    """An object; JSON has no comments."""
    return json.dumps(point.as_dict(), indent=2, allow_nan=False) + "\n"


def _value(value: Value) -> str:
    if isinstance(value, str):
        return _text(value)
    text = json.dumps(value)
    # YAML 1.1 has no 1e-05: there a number with an exponent has a point.
    return (
        text.replace("e", ".0e") if isinstance(value, float) and re.match(r"-?\d+e", text) else text
    )


def _text(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if is_plain else json.dumps(text)
