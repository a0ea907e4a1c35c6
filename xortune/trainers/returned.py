"""What a user's function returned, as statuses, numbers and reasons: nothing is guessed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest
from xortune.core.outcome import Status
from xortune.core.success import VALUE, Success, rule_for

SUCCESS = "success"
"""The entry of a dict that is the user's own verdict."""

MAX_VALUES, MAX_NAME, MAX_REASON = 64, 100, 500

_SOLVED, _MISSED = int(Status.SOLVED), int(Status.WRONG_PATTERN)
_DIVERGED, _CRASHED = int(Status.DIVERGED), int(Status.CRASHED)

LONGEST = 20_000
"""Characters that are kept of a message or a traceback."""

RETURNS = "true or false, a number, or a dict of numbers"


@dataclass(slots=True)
class Judged:
    """What came of some seeds.

    Attributes:
        status: a `Status` for each.
        values: numbers by name, one for each seed; NaN where there is none.
        failed: reasons of failures, by place among the seeds.
    """

    status: NDArray[np.uint8]
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: what is left out of its middle is counted."""
    if len(text) <= most:
        return text
    kept = most - len(" ... (999,999,999,999 characters left out) ... ")
    tail = kept // 3
    gap = f" ... ({len(text) - kept:,} characters left out) ... "
    return text[: kept - tail] + gap + text[len(text) - tail :]


def one_line(text: str) -> str:
    """A reason on one line, not too long."""
    return shortened(" ".join(shortened(text, LONGEST).split()), MAX_REASON)


def judged_one(returned: object, success: Success | None) -> tuple[int, Mapping[str, float]]:
    """Status and numbers of one seed.

    Raises:
        InputError: it is not what a training may return, or nothing says what a success is.
    """
    if returned is True or returned is False:
        if success is not None:
            raise _no_number("true or false", success)
        return (_SOLVED if returned else _MISSED), {}
    if isinstance(returned, Mapping):
        return _judged_dict(returned, success)
    number = _number(returned)
    if number is None:
        raise InputError(f"returned {_kind(returned)}", allowed=RETURNS)
    if isinstance(number, bool):
        return judged_one(number, success)
    return _judged_number(number, {VALUE: number}, success)


def _judged_dict(
    returned: Mapping[Any, object], success: Success | None
) -> tuple[int, Mapping[str, float]]:
    verdict, values = _entries(returned, "returned")
    if success is None:
        if verdict is None:
            raise _no_rule(list(values))
        return (_SOLVED if verdict else _MISSED), values
    if success.name == SUCCESS and verdict is not None:
        raise _no_number("true or false", success)
    if success.name not in values:
        raise _unknown(success, list(values))
    return _judged_number(values[success.name], values, success)


def _entries(given: Mapping[Any, object], did: str) -> tuple[bool | None, dict[str, float]]:
    """The user's own verdict, if there is one, and the numbers of a dict."""
    verdict: bool | None = None
    values: dict[str, float] = {}
    for name, entry in given.items():
        _check_name(name)
        number = _number(entry)
        if number is None:
            raise InputError(f"{did} {_kind(entry)} as {name!r}", allowed="numbers, true and false")
        if name == SUCCESS and isinstance(number, bool):
            verdict = number
        else:
            values[name] = float(number)
    _check_count(values)
    return verdict, values


def numbers_told(given: object, did: str) -> Mapping[str, float]:
    """The numbers of what a training has come to so far, which nobody judges.

    Args:
        given: as a seed may return it.
        did: what was done with it, for messages.

    Raises:
        InputError: it is not what a training may return.
    """
    if isinstance(given, Mapping):
        return _entries(given, did)[1]
    number = _number(given)
    if number is None:
        raise InputError(f"{did} {_kind(given)}", allowed=RETURNS)
    return {} if isinstance(number, bool) else {VALUE: number}


def _judged_number(
    number: float, values: Mapping[str, float], success: Success | None
) -> tuple[int, Mapping[str, float]]:
    if success is None:
        raise _no_rule(list(values))
    if success.name not in values:
        raise _unknown(success, list(values))
    if not math.isfinite(number):
        return _DIVERGED, values
    return (_SOLVED if success.holds(number) else _MISSED), values


def judged_many(returned: object, n: int, success: Success | None) -> Judged:
    """What came of n seeds that were trained in one call.

    Raises:
        InputError: it is not what a training of several seeds may return.
    """
    entries = returned if isinstance(returned, Mapping) else {None: returned}
    arrays: dict[str, NDArray[np.float64]] = {}
    verdict: NDArray[np.bool_] | None = None
    for name, entry in entries.items():
        if name is not None:
            _check_name(name)
        array = _array(entry, name, n)
        if array.dtype == np.bool_ and name in (None, SUCCESS):
            verdict = array
        else:
            arrays[VALUE if name is None else name] = array.astype(np.float64)
    _check_count(arrays)
    if success is None:
        if verdict is None:
            raise _no_rule(list(arrays))
        return Judged(np.where(verdict, _SOLVED, _MISSED).astype(np.uint8), arrays)
    if verdict is not None and (not arrays or success.name == SUCCESS):
        raise _no_number("true or false", success)
    if success.name not in arrays:
        raise _unknown(success, list(arrays))
    judged = arrays[success.name]
    finite = np.isfinite(judged)
    held = success.hold(np.where(finite, judged, 0.0))
    status = np.where(finite, np.where(held, _SOLVED, _MISSED), _DIVERGED).astype(np.uint8)
    failed = {
        int(place): not_finite(success.name, float(judged[place]))
        for place in np.flatnonzero(~finite)
    }
    return Judged(status, arrays, failed)


def not_finite(name: str, number: float) -> str:
    """The reason of a seed whose number is none."""
    return f"{name} is {number}"


def _array(entry: object, name: str | None, n: int) -> NDArray[Any]:
    what = "" if name is None else f" as {name!r}"
    try:
        array = np.asarray(entry)
    except (ValueError, TypeError, RuntimeError):  # ragged; a tensor on a GPU
        array = np.empty((), dtype=object)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"returned {_kind(entry)}{what}", allowed="an array of numbers, or of true and false"
        )
    if array.shape != (n,):
        raise InputError(
            f"returned an array of shape {array.shape}{what}",
            allowed=f"shape ({n},): one entry for each seed, in their order",
        )
    return array


def _number(entry: object) -> float | bool | None:
    """A number, or true or false, also of NumPy and of a tensor without dimensions."""
    if isinstance(entry, bool | int | float):
        number: Any = entry
    elif isinstance(entry, np.bool_):
        return bool(entry)
    elif isinstance(entry, numbers.Real):
        number = entry
    elif getattr(entry, "shape", None) == () and callable(item := getattr(entry, "item", None)):
        number = item()
        if not isinstance(number, bool | int | float):
            return None
    else:
        return None
    if isinstance(number, bool):
        return number
    try:
        return float(number)
    except OverflowError:  # a whole number beyond the floats
        return math.inf if number > 0 else -math.inf


def _kind(entry: object) -> str:
    if entry is None:
        return "nothing"
    kind = type(entry).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise InputError(
            f"returned a dict with the key {name!r:.60}",
            allowed=f"names of 1 to {MAX_NAME} letters",
        )


def _check_count(values: Mapping[str, object]) -> None:
    if len(values) > MAX_VALUES:
        raise InputError(f"returned {len(values)} numbers", allowed=f"at most {MAX_VALUES}")


def _no_rule(names: list[str]) -> InputError:
    name = names[0] if names else "accuracy"
    what = "a number" if names == [VALUE] else f"numbers ({', '.join(names[:5])})"
    return InputError(
        f"returned {what if names else 'an empty dict'}, and nothing says what a success is",
        allowed="true or false, numbers with a rule in the space, or a dict with an entry "
        f"{SUCCESS!r} that is true or false",
        fix=f'add `success: "{rule_for(name)}"` to the space, with your own limit',
    )


def _no_number(what: str, success: Success) -> InputError:
    return InputError(
        f"returned {what}, but the rule {str(success)!r} judges a number",
        fix="return the number, or drop `success`",
    )


def _unknown(success: Success, names: list[str]) -> InputError:
    return InputError(
        f"returned no {success.name!r}, which the rule {str(success)!r} judges",
        allowed=", ".join(names) or "a number of that name",
        fix=nearest(success.name, names) if names else None,
    )
