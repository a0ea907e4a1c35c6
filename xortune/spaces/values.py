"""What single values of a space file may be; each function returns the value or refuses it."""

from __future__ import annotations

import itertools
import re
from typing import NoReturn

from xortune.core.errors import InputError, nearest
from xortune.core.point import Value
from xortune.core.seeds import SEARCH
from xortune.spaces.text import shown

SAMPLERS = ("tpe", "gp", "nsgaii", "random", "grid", "cmaes")

DIRECTIONS = ("maximize", "minimize")

MAX_SEEDS = SEARCH.stop
"""The search draws its seeds below this."""

MAX_RUNG = 2**26
"""Seeds of a rung: one line of the journal holds no more."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PARAMETER = re.compile(r"[^\W\d][\w.-]*")  # letters of any language, as Python has them
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


def refuse(value: object, allowed: str, fix: str | None = None) -> NoReturn:
    """Raise: the value, what is allowed, and the fix."""
    kinds = {bool: "true or false", list: "a list", dict: "a mapping", str: "a string"}
    kind = f", {kinds[type(value)]}," if type(value) in kinds else ""
    raise InputError(f"{shown(value)}{kind} is not allowed", allowed=allowed, fix=fix)


def scalar(value: object) -> Value:
    """One value that a parameter may have."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    refuse(
        value,
        "one value: a number, a string, true, false or null",
        "write alternatives as {choice: [..]}" if isinstance(value, list) else None,
    )


def number(value: object) -> int | float:
    """A number, whole or not."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    refuse(value, "a number", "write a number without quotes")


def flag(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    refuse(value, "true or false", "write true or false without quotes")


def text(value: object) -> str:
    """A string that is not empty."""
    if isinstance(value, str) and value:
        return value
    refuse(value, "a string that is not empty", "put it in quotes")


def space_name(value: object) -> str:
    """The name of a space, which also names a directory."""
    if isinstance(value, str) and NAME.fullmatch(value) and len(value) <= 100:
        return value
    fix = "put it in quotes" if isinstance(value, int | float) else "choose a shorter, plainer name"
    refuse(value, "letters, digits, dots, - and _, starting with a letter or digit", fix)


def whole(value: object, low: int, high: int) -> int:
    """A whole number from low to high."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    above = isinstance(value, int | float) and value > high
    fix = f"write {high} or less" if above else f"write {low} or more"
    refuse(value, f"a whole number from {low} to {high}", fix)


def positive(value: object) -> int:
    """A count, 1 or more."""
    return whole(value, 1, MAX_SEEDS)


def rung(value: object) -> int:
    """Seeds that a configuration has at a rung."""
    if isinstance(value, int) and not isinstance(value, bool) and value > MAX_RUNG:
        refuse(
            value,
            f"at most {MAX_RUNG:,} seeds for a configuration: one line of the journal has no more",
            f"write {MAX_RUNG} or less",
        )
    return whole(value, 1, MAX_RUNG)


def seed(value: object) -> int:
    """A seed of a sampler's generator, in [0, 2**32)."""
    return whole(value, 0, 2**32 - 1)  # what the samplers' generators take


def share(value: object) -> float:
    """A share of something, in (0, 1]."""
    share = float(number(value))
    if 0 < share <= 1:
        return share
    refuse(value, "above 0, at most 1")


def inner_share(value: object) -> float:
    """A share of something, in (0, 1)."""
    share = float(number(value))
    if 0 < share < 1:
        return share
    refuse(value, "above 0, below 1")


def sampler_name(value: object) -> str:
    """One of SAMPLERS."""
    if isinstance(value, str) and value in SAMPLERS:
        return value
    fix = nearest(value, SAMPLERS) if isinstance(value, str) else "name a sampler"
    raise InputError(f"unknown sampler {shown(value)}", allowed=", ".join(SAMPLERS), fix=fix)


def direction(value: object) -> str:
    """One of DIRECTIONS."""
    if isinstance(value, str) and value in DIRECTIONS:
        return value
    fix = nearest(value, DIRECTIONS) if isinstance(value, str) else "name a direction"
    raise InputError(f"unknown direction {shown(value)}", allowed=", ".join(DIRECTIONS), fix=fix)


def distinct(values: list[Value]) -> list[Value]:
    """Values, at least one and each once."""
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


def ascending(values: list[int]) -> list[int]:
    """Counts, at least one, strictly ascending."""
    if values and all(a < b for a, b in itertools.pairwise(values)):
        return values
    raise InputError(
        f"{shown(values)} does not ascend",
        allowed="at least one count of seeds, each larger than the one before",
        fix=f"write {sorted(set(values)) or [8, 32, 128]}",
    )


def one_or_more(value: object) -> list[Value]:
    """One value or a list of values, as a list."""
    values = value if isinstance(value, list) else [value]
    return distinct([scalar(item) for item in values])


def parameter_name(name: str) -> str:
    """The name of a parameter, which also names a column; see `runs.results.column_names`."""
    if not _PARAMETER.fullmatch(name):
        raise InputError(
            f"{shown(name)} is no parameter name",
            allowed="letters, digits, _, - and dots, with a letter or _ first",
        )
    return name
