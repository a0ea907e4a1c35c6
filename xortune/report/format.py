"""How numbers and values look to a person, the same in every report."""

from __future__ import annotations

import math
from collections.abc import Iterable

from xortune.point import Point, Value

__all__ = ["config_text", "count", "duration", "interval", "number", "percent", "plain", "value"]


def number(amount: float) -> str:
    """Three significant digits; whole numbers below a million in full."""
    if float(amount).is_integer() and abs(amount) < 1e6:
        return str(int(amount))
    return f"{amount:.3g}"


def value(given: Value) -> str:
    """A parameter's value; null and the booleans as in a space file, a string on one line."""
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    return plain(given) if isinstance(given, str) else number_or_digits(given)


def number_or_digits(given: float) -> str:
    """`number`, but a whole number given as such keeps all its digits."""
    return str(given) if isinstance(given, int) else number(given)


def percent(rate: float) -> str:
    """One decimal; only what is all or nothing shows 100 % or 0 %."""
    if 0.9995 <= rate < 1:
        return "> 99.9 %"
    if 0 < rate < 0.0005:
        return "< 0.1 %"
    return f"{100 * rate:.1f} %"


def interval(low: float, high: float) -> str:
    """Rounded outwards, so that it covers what it covers."""
    # The inner round() undoes binary dust such as 970.0000000001.
    down, up = math.floor(round(low * 1000, 6)) / 10, math.ceil(round(high * 1000, 6)) / 10
    return f"{down:.1f}–{up:.1f} %"


def count(amount: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time for a person: two digits and a unit."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            amount = seconds / size
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def plain(text: str) -> str:
    """The text on one line, without control characters, as legal UTF-8."""
    shown = (sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return "".join(shown)


def config_text(point: Point, names: Iterable[str]) -> str:
    """The named parameters that the point has: `activation Tanh, lr 0.03`."""
    return ", ".join(f"{plain(name)} {value(point[name])}" for name in names if name in point)
