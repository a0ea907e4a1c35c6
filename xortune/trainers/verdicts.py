"""Judges what a user's training returned or raised: statuses, numbers, and reasons of failures."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import compress
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.audit import Audit
from xortune.core.errors import InputError, kind_of, nearest
from xortune.core.outcome import (
    NO_DETAILS,
    NO_NUMBER,
    Curves,
    Details,
    Outcome,
    Status,
    has_number,
)
from xortune.core.point import as_float
from xortune.core.pruning import is_look
from xortune.core.success import VALUE, Rule, rule_for
from xortune.core.trainer import Block, Trainer

SUCCESS = "success"
"""The entry of a returned dict with which the user says whether the seed is solved."""

MAX_VALUES, MAX_NAME, MAX_REASON = 64, 100, 500

MAX_CURVES = 8
"""Maximum number of reported numbers of which a seed's curve is kept: the first ones."""

TOO_MANY = f"returned or reported other numbers than the seeds before, over {MAX_VALUES} in all"

SOLVED, MISSED = int(Status.SOLVED), int(Status.WRONG_PATTERN)
DIVERGED, CRASHED = int(Status.DIVERGED), int(Status.CRASHED)
PRUNED = int(Status.PRUNED)

MAX_TEXT = 20_000
"""Maximum length of a stored message or traceback, in characters."""

RETURNS = "true or false, a number, or a dict of numbers"


class MethodError(InputError):
    """A method or attribute of a `TorchTraining` gives something else than it must."""


class SeedVerdict(NamedTuple):
    """The result of a seed, or of n seeds that were trained in one call.

    Attributes:
        status: a `Status`, or an array of n.
        numbers: by name: a number, or an array of n, NaN where a seed has none.
        failed: why seeds failed, by their index.
        ruled: False if no rule asked which numbers are a success.
    """

    status: int | NDArray[np.uint8]
    numbers: Mapping[str, float | NDArray[np.float64]] = {}
    failed: Mapping[int, str] = {}
    ruled: bool = True


def crashed(reason: str, n: int = 1) -> SeedVerdict:
    """The verdict of n seeds that crashed for one reason."""
    return SeedVerdict(CRASHED, {}, dict.fromkeys(range(n), reason))


MOST_POINTS = 32
"""`SampledReports` keeps fewer reports of a seed than this."""


Points: TypeAlias = list[tuple[int, Mapping[str, Any]]]
"""Reports: the index of each, from 1, and its numbers."""


class SampledReports:
    """A sample of a seed's reports: every 2**j-th, so that all seeds keep the same, and the last.

    `add` takes a function, because most reports are never looked at.

    Args:
        on: a number that is also kept where a pruner is asked after a report.
    """

    __slots__ = ("_every", "_kept", "_last", "_looks", "_on", "count")

    def __init__(self, on: str | None = None) -> None:
        self.count, self._every, self._on = 0, 1, on
        self._kept: Points = []
        self._looks: Points = []
        self._last: Callable[[], Mapping[str, Any]] | None = None

    def add(self, numbers: Callable[[], Mapping[str, Any]]) -> None:
        """Add the next report."""
        self.count += 1
        self._last = numbers
        if self._on is not None and is_look(self.count) and self._on in (seen := numbers()):
            self._looks.append((self.count, {self._on: seen[self._on]}))
        if self.count % self._every == 0:
            self._kept.append((self.count, numbers()))
            if len(self._kept) == MOST_POINTS:
                self._kept, self._every = self._kept[1::2], 2 * self._every

    @property
    def points(self) -> Points:
        """The sample, with the last report and those that a pruner is asked after, ascending."""
        points = {**dict(self._looks), **dict(self._kept)}
        if self._last is not None and self.count % self._every:
            points[self.count] = self._last()
        return sorted(points.items())


def judged_names(trainer: Trainer, returned: Iterable[str] = ()) -> set[str]:
    """The names of the numbers that a trainer's own rule judges; empty if it judges none.

    If all finite numbers are as good, these are all that it has `returned`.
    """
    rule = trainer.traits.rule
    return set() if rule is None else set(rule.names or returned)


KnownSeeds: TypeAlias = Mapping[tuple[str, int], Outcome]
"""Outcomes of single seeds that were trained before, by the key of their config and the seed."""


class SeedResults:
    """Collects the results of a block's seeds, in their order, and makes an `Outcome` of them.

    Args:
        block: the seeds.

    Attributes:
        n: how many seeds have been added.
        failed: why seeds failed, by seed.
        note: a sentence about the training of the block, for users.
        audit: of seeds that trained as one model; None where seeds never do.
    """

    def __init__(self, block: Block, on: str | None = None) -> None:
        self._block, self.n, self._on = block, 0, on
        self._pruned: dict[int, int] = {}
        self.audit: Audit | None = None
        self._status = np.full(block.count, CRASHED, np.uint8)
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self.failed: dict[int, str] = {}
        self._first: tuple[int, str] | None = None  # the first failure to show, and its seed
        self.note, self._ruled = "", True
        self._points: list[tuple[int, int, Mapping[str, float]]] = []  # index of seed, of report

    def add_reports(self, points: Points, n: int | None = None) -> None:
        """Add the reports of the next seed, before `add`.

        Args:
            points: its reports.
            n: the reports are arrays for the next n seeds; None: numbers of one seed.
        """
        if len(points) < 2 and self._on is None:  # one point is no curve
            return
        for index in range(1 if n is None else n):
            self._points += (
                (
                    self.n + index,
                    report,
                    {k: v if n is None else v[index] for k, v in numbers.items()},
                )
                for report, numbers in points
            )

    def add(self, verdict: SeedVerdict, shown: str | None = None, n: int = 1) -> None:
        """Add the next n seeds.

        Args:
            verdict: of these seeds.
            shown: the failure of the first of them for the user, such as a traceback.
            n: how many.
        """
        if n == 1 and shown is None and not verdict.numbers and not verdict.failed:  # usual
            self._status[self.n : self.n + 1] = verdict.status
            self.n += 1
            return
        known, new = self._numbers, verdict.numbers
        if len(known) + len(new) > MAX_VALUES and len(known.keys() | new.keys()) > MAX_VALUES:
            verdict = crashed(TOO_MANY, n)
        self._ruled = self._ruled and verdict.ruled
        first, these = self._block.first + self.n, slice(self.n, self.n + n)
        self._status[these] = verdict.status
        for name, number in verdict.numbers.items():
            if name not in known:
                known[name] = np.full(self._block.count, np.nan)
            known[name][these] = number
        self.failed |= {first + index: reason for index, reason in verdict.failed.items()}
        if shown is not None and self._first is None:
            self._first = first, shown
        self.n += n

    def add_pruned(self, report: int) -> None:
        """Add the next seed, which was pruned at a report."""
        self._pruned[self._block.first + self.n] = report
        self.add(SeedVerdict(PRUNED))

    def add_known(self, outcome: Outcome) -> None:
        """Add the next seed from an outcome of this seed alone."""
        details = outcome.details
        for curves in details.curves:
            kept = curves.points()
            self._points += (
                (self.n, int(report), dict(compress(zip(kept.names, row, strict=True), told)))
                for report, row, told in zip(
                    kept.report, kept.values.tolist(), has_number(kept.values), strict=True
                )
            )
        numbers = {name: float(values[0]) for name, values in details.values.items()}
        failed = dict(enumerate(details.failed.values()))
        self.add(SeedVerdict(int(outcome.status[0]), numbers, failed, details.ruled))

    def so_far(self) -> Outcome | None:
        """The outcome of the seeds added so far; None if there are none."""
        return self.outcome() if self.n else None

    def outcome(self, output: Mapping[int, str] | None = None) -> Outcome:
        """The outcome of the seeds added so far.

        Args:
            output: what failed seeds printed.
        """
        n, details = self.n, NO_DETAILS
        curves = self._curves()
        if self._numbers or self.failed or self.note or curves or self._pruned or self.audit:
            seed, shown = self._first or (None, None)
            numbers = {name: values[:n] for name, values in self._numbers.items()}
            details = Details(
                *(numbers, self.failed, shown, output or {}, seed, self.note),
                curves=curves,
                ruled=self._ruled,
                audit=self.audit,
                pruned=self._pruned,
            )
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
        found = dict.fromkeys(name for *_, numbers in points for name in numbers)
        first = [self._on] if self._on in found else []
        names = tuple(dict.fromkeys([*first, *found]))[:MAX_CURVES]
        if not names:
            return ()
        indices, reports = np.array([point[:2] for point in points], np.int64).T
        with np.errstate(over="ignore"):  # beyond float32
            values = np.array([[t.get(n, np.nan) for n in names] for *_, t in points], np.float32)
        values[[[name not in told for name in names] for *_, told in points]] = NO_NUMBER
        return (Curves(names, indices + self._block.first, reports, values),)


def shortened(text: str, most: int) -> str:
    """Shorten a text to `most` characters; a note says how many its middle lacks."""
    if len(text) <= most:
        return text
    kept = most - len(" ... (999,999,999,999 characters left out) ... ")
    tail = kept // 3
    gap = f" ... ({len(text) - kept:,} characters left out) ... "
    return text[: kept - tail] + gap + text[len(text) - tail :]


def one_line(text: str) -> str:
    """A reason as one line of limited length."""
    return shortened(" ".join(shortened(text, MAX_TEXT).split()), MAX_REASON)


def judged(returned: object, rule: Rule | None, n: int | None = None) -> SeedVerdict:
    """Judge what the training of a seed returned, or, given n, the training of n seeds in one call.

    Seeds count as crashed if `returned` cannot be judged.
    """
    try:
        return _judged(returned, rule, n)
    except InputError as error:
        return crashed(one_line(str(error)), n or 1)


def _judged(returned: object, rule: Rule | None, n: int | None) -> SeedVerdict:
    verdict, given = _split(returned, _returned if n is None else partial(_array, n))
    names = _asked(rule, list(given), has_verdict=verdict is not None)
    values = {k: float(v) if n is None else v.astype(np.float64) for k, v in given.items()}
    if n is None:  # in their own precision
        given = dict(returned) if isinstance(returned, Mapping) else {VALUE: returned}
    status, failed = np.full(n or 1, MISSED, np.uint8), dict[int, str]()
    if names is None:
        status[verdict] = SOLVED
        return SeedVerdict(status if n else int(status[0]), values)
    assert rule is not None
    for name in reversed(names):
        numbers = np.atleast_1d(values[name])
        lost = np.flatnonzero(~np.isfinite(numbers)).tolist()
        failed |= {index: f"{name} is {numbers[index]}" for index in lost}
    status[rule.judge(given)] = SOLVED
    status[list(failed)] = DIVERGED
    failed = dict(sorted(failed.items()))
    return SeedVerdict(status if n else int(status[0]), values, failed, rule.asks)


def _split(result: object, read: Callable[[Any, str | None], Any]) -> tuple[Any, dict[str, Any]]:
    """The user's own verdict in a result, None if there is none, and its numbers by name.

    Args:
        result: what a training returned or reported.
        read: makes a number, a bool, or an array of these of an entry and its name, which is None
            for what is no dict.
    """
    verdict, values = None, dict[str, Any]()
    for name, entry in (result if isinstance(result, Mapping) else {None: result}).items():
        if name is not None and (not isinstance(name, str) or not 0 < len(name) <= MAX_NAME):
            raise InputError(
                f"returned a dict with the key {name!r:.60}",
                allowed=f"names of 1 to {MAX_NAME} letters",
            )
        value = read(entry, name)
        is_truth = isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_
        if name in (None, SUCCESS) and is_truth:
            verdict = value
        else:
            values[VALUE if name is None else name] = value
    if len(values) > MAX_VALUES:
        raise InputError(f"returned {len(values)} numbers", allowed=f"at most {MAX_VALUES}")
    return verdict, values


def _asked(rule: Rule | None, names: list[str], *, has_verdict: bool) -> tuple[str, ...] | None:
    """The names of the numbers that decide; None where the user's own verdict does."""
    if rule is None or not rule.asks:
        if has_verdict:
            return None
        if rule is None:
            raise _no_rule(names)
        if not names:
            raise InputError("returned an empty dict", allowed=RETURNS)
    elif has_verdict and (not names or SUCCESS in rule.names):
        raise InputError(
            f"returned true or false, but the rule {str(rule)!r} judges a number",
            fix="return the number, or drop `success`",
        )
    for name in rule.names:
        if name not in names:
            asks = f"the rule {str(rule)!r} judges" if rule.asks else "is asked for"
            raise InputError(
                f"returned no {name!r}, which {asks}",
                allowed=", ".join(names) or "a number of that name",
                fix=nearest(name, names, listed=True) if names else None,
            )
    return rule.names or tuple(names)


def reported_numbers(result: object) -> Mapping[str, float]:
    """The numbers of an intermediate result.

    Raises:
        InputError: a training may not report this.
    """
    _, values = _split(result, partial(_returned, verb="reported"))
    return {name: float(value) for name, value in values.items()}


def _returned(entry: object, name: str | None, verb: str = "returned") -> float | bool:
    if (number := _number(entry)) is None:
        allowed = RETURNS if name is None else "numbers, true and false"
        raise InputError(f"{verb} {_kind(entry)}{_as(name)}", allowed=allowed)
    return number


def _as(name: str | None) -> str:
    return "" if name is None else f" as {name!r}"


def _array(n: int, entry: object, name: str | None) -> NDArray[Any]:
    try:
        array = np.asarray(entry)
    except (ValueError, TypeError, RuntimeError):  # ragged; a tensor on a GPU
        array = np.empty((), dtype=object)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"returned {_kind(entry)}{_as(name)}",
            allowed="an array of numbers, or of true and false",
        )
    if array.shape != (n,):
        raise InputError(
            f"returned an array of shape {array.shape}{_as(name)}",
            allowed=f"shape ({n},): one entry for each seed, in their order",
        )
    return array


def _number(entry: Any) -> float | bool | None:
    """A number or a bool, also of NumPy or a tensor without dimensions; None for all else."""
    if isinstance(entry, np.bool_):
        return bool(entry)
    if not isinstance(entry, numbers.Real):
        if getattr(entry, "shape", None) != () or not callable(
            item := getattr(entry, "item", None)
        ):
            return None
        entry = item()
        if not isinstance(entry, bool | int | float):
            return None
    return entry if isinstance(entry, bool) else as_float(entry)


def _kind(entry: object) -> str:
    return "nothing" if entry is None else kind_of(entry)


def _no_rule(names: list[str]) -> InputError:
    name = names[0] if names else "accuracy"
    what = "a number" if names == [VALUE] else f"numbers ({', '.join(names[:5])})"
    return InputError(
        f"returned {what if names else 'an empty dict'}, but no rule says what a success is",
        allowed="true or false, numbers with a rule, or a dict with an entry "
        f"{SUCCESS!r} that is true or false",
        fix=f'add `success: "{rule_for(name)}"` to the space, or without a space give the rule as '
        "success, with your own limit",
    )
