"""Values inside a page, for its scripts."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["as_json", "finite", "literal"]


def as_json(values: Any) -> str:
    """The values as JSON that no HTML parser takes for the end of its script.

    Raises:
        ValueError: a number that is not finite, which JSON does not have.
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, escape in (("<", r"\u003c"), ("\u2028", r"\u2028"), ("\u2029", r"\u2029")):
        text = text.replace(sign, escape)
    return "".join(map(_visible, text)) if not text.isprintable() else text


def finite(number: float | None) -> float | None:
    """The number, or None where JSON has none for it."""
    return number if number is not None and math.isfinite(number) else None


def literal(value: float | str | None) -> str:
    """A parameter's value as JSON, which Python (but for null and booleans) and YAML read too.

    What is no finite number is a string: JSON has no other place for it.
    """
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(sign: str) -> str:
    """A sign within JSON's strings, escaped where it is none to see; so are lone surrogates."""
    return sign if sign.isprintable() else json.dumps(sign)[1:-1]
