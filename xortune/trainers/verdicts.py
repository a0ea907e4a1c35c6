"""What a user's training returned, as statuses, numbers and reasons: nothing is guessed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest
from xortune.core.outcome import NO_DETAILS, Curves, Details, Outcome, Status
from xortune.core.success import VALUE, Success, rule_for
from xortune.core.trainer import Block

SUCCESS = "success"
"""The entry of a dict that is the user's own verdict."""

MAX_VALUES, MAX_NAME, MAX_REASON = 64, 100, 500

MAX_CURVES = 8
"""Numbers of which a seed's way is kept: the first that it tells."""

TOO_MANY = f"returned or reported other numbers than the seeds before, over {MAX_VALUES} in all"

SOLVED, MISSED = int(Status.SOLVED), int(Status.WRONG_PATTERN)
DIVERGED, CRASHED = int(Status.DIVERGED), int(Status.CRASHED)

LONGEST = 20_000
"""Characters that are kept of a message or a traceback."""

RETURNS = "true or false, a number, or a dict of numbers"


class SeedVerdict(NamedTuple):
    """What a seed, or each of several, ended as.

    Attributes:
        status: a `Status`, or an array of them.
        numbers: by name; of several seeds arrays, NaN where there is none.
        failed: why seeds failed, by their place.
    """

    status: int | NDArray[np.uint8]
    numbers: Mapping[str, float | NDArray[np.float64]] = {}
    failed: Mapping[int, str] = {}


def crashed(reason: str, n: int = 1) -> SeedVerdict:
    """So many seeds that have crashed for one reason."""
    return SeedVerdict(CRASHED, {}, dict.fromkeys(range(n), reason))


MOST_POINTS = 32
"""Reports of a seed that are kept are fewer: its curve, thinned."""


Points: TypeAlias = list[tuple[int, Mapping[str, Any]]]
"""The numbers of reports, by which report each is, from 1."""


class Way:
    """What was told on a way, thinned: every 2**j-th report, so that all seeds have the same."""

    __slots__ = ("_every", "_kept", "_last", "count")

    def __init__(self) -> None:
        self.count, self._every = 0, 1
        self._kept: Points = []
        self._last: Callable[[], Mapping[str, Any]] | None = None

    def add(self, told: Callable[[], Mapping[str, Any]]) -> None:
        """The next report, which is looked at if it is kept; the last one always is."""
        self.count += 1
        self._last = told
        if self.count % self._every == 0:
            self._kept.append((self.count, told()))
            if len(self._kept) == MOST_POINTS:
                self._kept, self._every = self._kept[1::2], 2 * self._every

    @property
    def points(self) -> Points:
        """Those that are kept, and the last one."""
        if self._last is None or (self._kept and self._kept[-1][0] == self.count):
            return self._kept
        return [*self._kept, (self.count, self._last())]


KnownSeeds: TypeAlias = Mapping[tuple[str, int], Outcome]
"""What seeds came to that need not be trained again, by the key of their config and the seed."""


class SeedResults:
    """Collects what comes of the seeds of a block, in their order."""

    def __init__(self, block: Block) -> None:
        self._block, self.n = block, 0
        self._status = np.full(block.count, CRASHED, np.uint8)
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self.failed: dict[int, str] = {}
        self._first: tuple[int, str] | None = None
        self.note = ""
        self._points: list[tuple[int, int, Mapping[str, float]]] = []

    def told(self, points: Iterable[tuple[int, Mapping[str, Any]]], n: int | None = None) -> None:
        """Keep what the next seed told on its way, before it is added.

        Args:
            points: the number of each report, from 1, and what it told.
            n: what was told is arrays of so many seeds, which come next; None: of one seed.
        """
        points = list(points)
        if len(points) < 2:  # which is no curve
            return
        for place in range(1 if n is None else n):
            self._points += (
                (self.n + place, report, {k: v if n is None else v[place] for k, v in one.items()})
                for report, one in points
            )

    def add(self, verdict: SeedVerdict, shown: str | None = None, n: int = 1) -> None:
        """Add the next n seeds.

        Args:
            verdict: what they ended as.
            shown: the failure of the first of them as the user should see it, a traceback say.
            n: how many.
        """
        if n == 1 and shown is None and not verdict.numbers and not verdict.failed:  # usual
            self._status[self.n : self.n + 1] = verdict.status  # an array where many are asked for
            self.n += 1
            return
        known, new = self._numbers, verdict.numbers
        if len(known) + len(new) > MAX_VALUES and len(known.keys() | new.keys()) > MAX_VALUES:
            verdict = crashed(TOO_MANY, n)
        first, these = self._block.first + self.n, slice(self.n, self.n + n)
        self._status[these] = verdict.status
        for name, number in verdict.numbers.items():
            if name not in known:
                known[name] = np.full(self._block.count, np.nan)
            known[name][these] = number
        for place, why in verdict.failed.items():
            self.failed[first + place] = why
        if shown is not None and self._first is None:
            self._first = first, shown
        self.n += n

    def add_known(self, outcome: Outcome) -> None:
        """Add the next seed, which was trained before: the only one of an outcome."""
        details = outcome.details
        for curves in details.curves:
            kept = curves.points()
            self._points += (
                (self.n, int(report), dict(zip(kept.names, row, strict=True)))
                for report, row in zip(kept.report, kept.values.tolist(), strict=True)
            )
        numbers = {name: float(values[0]) for name, values in details.values.items()}
        failed = dict(enumerate(details.failed.values()))
        self.add(SeedVerdict(int(outcome.status[0]), numbers, failed))

    def outcome(self, output: Mapping[int, str] | None = None) -> Outcome:
        """Of the seeds that there are."""
        n, details = self.n, NO_DETAILS
        curves = self._curves()
        if self._numbers or self.failed or self.note or curves:
            raised, shown = self._first or (None, None)
            told = {name: numbers[:n] for name, numbers in self._numbers.items()}
            kept = self.failed, shown, output or {}, raised, self.note
            details = Details(told, *kept, curves=curves)
        arrays: dict[str, NDArray[Any]] = {
            "seeds": np.arange(self._block.first, self._block.first + n, dtype=np.int64),
            "status": self._status[:n],
            "solved_epoch": np.zeros(n, np.int32),
            "final_loss": np.full(n, np.nan, np.float32),
            "predictions": np.zeros((n, 0), np.bool_),
        }
        return Outcome.unchecked(arrays, 0, details=details)

    def _curves(self) -> tuple[Curves, ...]:
        points = [point for point in self._points if point[0] < self.n]
        names = tuple(dict.fromkeys(name for *_, told in points for name in told))[:MAX_CURVES]
        if not names:
            return ()
        places, reports = np.array([point[:2] for point in points], np.int64).T
        with np.errstate(over="ignore"):  # beyond float32
            values = np.array([[t.get(n, np.nan) for n in names] for *_, t in points], np.float32)
        return (Curves(names, places + self._block.first, reports, values),)


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


def judged(returned: object, success: Success | None, n: int | None = None) -> SeedVerdict:
    """What a seed ended as that returned this, or n seeds that were trained in one call.

    They have crashed if it cannot be judged.
    """
    try:
        return _judged(returned, success) if n is None else _judged_many(returned, n, success)
    except InputError as error:
        return crashed(one_line(str(error)), n or 1)


def _judged(returned: object, success: Success | None) -> SeedVerdict:
    if success is None and (returned is True or returned is False):  # the usual case
        return SeedVerdict(SOLVED if returned else MISSED)
    if isinstance(returned, Mapping):
        verdict, values = _entries(returned, "returned")
    else:
        number = _number(returned)
        if number is None:
            raise InputError(f"returned {_kind(returned)}", allowed=RETURNS)
        verdict, values = (number, {}) if isinstance(number, bool) else (None, {VALUE: number})
    if _decides(success, list(values), told=verdict is not None):
        return SeedVerdict(SOLVED if verdict else MISSED, values)
    assert success is not None
    number = values[success.name]
    if not math.isfinite(number):
        return SeedVerdict(DIVERGED, values, {0: f"{success.name} is {number}"})
    return SeedVerdict(SOLVED if success.holds(number) else MISSED, values)


def _judged_many(returned: object, n: int, success: Success | None) -> SeedVerdict:
    entries = returned if isinstance(returned, Mapping) else {None: returned}
    arrays: dict[str, NDArray[np.float64]] = {}
    verdict: NDArray[Any] | None = None
    for name, entry in entries.items():
        if name is not None:
            _check_name(name)
        array = _array(entry, name, n)
        if array.dtype == np.bool_ and name in (None, SUCCESS):
            verdict = array
        else:
            arrays[VALUE if name is None else name] = array.astype(np.float64)
    _check_count(arrays)
    if _decides(success, list(arrays), told=verdict is not None):
        assert verdict is not None
        return SeedVerdict(np.where(verdict, SOLVED, MISSED).astype(np.uint8), arrays)
    assert success is not None
    judges = arrays[success.name]
    finite = np.isfinite(judges)
    held = success.hold(np.where(finite, judges, 0.0))
    status = np.where(finite, np.where(held, SOLVED, MISSED), DIVERGED).astype(np.uint8)
    failed = {i: f"{success.name} is {judges[i]}" for i in np.flatnonzero(~finite).tolist()}
    return SeedVerdict(status, arrays, failed)


def _decides(success: Success | None, names: list[str], *, told: bool) -> bool:
    """Whether the user's own verdict decides, and not the rule.

    Raises:
        InputError: neither can.
    """
    if success is None:
        if not told:
            raise _no_rule(names)
        return True
    if told and (not names or success.name == SUCCESS):
        raise InputError(
            f"returned true or false, but the rule {str(success)!r} judges a number",
            fix="return the number, or drop `success`",
        )
    if success.name not in names:
        raise InputError(
            f"returned no {success.name!r}, which the rule {str(success)!r} judges",
            allowed=", ".join(names) or "a number of that name",
            fix=nearest(success.name, names) if names else None,
        )
    return False


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

    Raises:
        InputError: it is not what a training may return.
    """
    if isinstance(given, Mapping):
        return _entries(given, did)[1]
    number = _number(given)
    if number is None:
        raise InputError(f"{did} {_kind(given)}", allowed=RETURNS)
    return {} if isinstance(number, bool) else {VALUE: number}


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
        f"returned {what if names else 'an empty dict'}, but no rule says what a success is",
        allowed="true or false, numbers with a rule in the space, or a dict with an entry "
        f"{SUCCESS!r} that is true or false",
        fix=f'add `success: "{rule_for(name)}"` to the space, with your own limit',
    )
