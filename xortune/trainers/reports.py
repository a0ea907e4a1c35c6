"""What a training reports on its way, and what ends it there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from xortune.core.pruning import IsPruned
from xortune.core.success import VALUE
from xortune.core.trainer import Block
from xortune.trainers.verdicts import SUCCESS, Points, SampledReports, reported_numbers


def reported_arrays(result: Any, n: int) -> dict[str, Any]:
    """The numbers in a report of n seeds, copied, since the user may overwrite the arrays."""
    arrays: dict[str, Any] = {}
    for name, entry in (result if isinstance(result, Mapping) else {VALUE: result}).items():
        with suppress(TypeError, ValueError, RuntimeError):
            array = np.array(entry, np.float64)
            if array.shape == (n,) and isinstance(name, str) and name != SUCCESS:
                arrays[name] = array
    return arrays


class Ended(BaseException):
    """Ends a call from a report; an `except Exception` in the function does not catch it."""


class SeedTimeout(Ended):
    """The seed exceeded its time limit."""


class BlockCancelled(Ended):
    """The block is cancelled; see `cancelling_if`."""


class Pruned(Ended):
    """The seed is pruned at this report, the first one being 1."""

    def __init__(self, report: int = 0) -> None:
        super().__init__()
        self.report = report


class Reports:
    """The intermediate results of one call; it is the `report` that a function may take.

    Attributes:
        last: the last one as the function gave it; None before the first.
        numbers: its numbers; empty where the call trains many seeds.

    Args:
        limit: seconds for a seed; None for no limit.
        many: how many seeds the call trains; None for a call with a single seed.
        block: what is trained; each report checks whether it is cancelled.
        on: see `CustomTrainer`.
        is_pruned: judges the number `on`; None: the seed is not pruned.
    """

    __slots__ = (
        *("_began", "_block", "_ended", "_is_pruned", "_limit", "_many", "_on", "_sampled"),
        *("last", "numbers"),
    )

    def __init__(
        self,
        limit: float | None = None,
        *,
        many: int | None = None,
        block: Block | None = None,
        on: str | None = None,
        is_pruned: IsPruned | None = None,
    ) -> None:
        self._limit, self._many, self._block = limit, many, block
        self._sampled, self._on, self._is_pruned = SampledReports(on), on, is_pruned
        self.last: Any = None
        self.numbers: Mapping[str, float] = {}
        self._began = 0.0 if limit is None else time.monotonic()
        self._ended: BaseException | None = None

    def __call__(self, result: Any) -> None:
        """Note an intermediate result: what the training would return if it ended now.

        Args:
            result: true or false, a number, a dict of numbers; for many seeds arrays of these.

        Raises:
            InputError: a training may not report this.
            SeedTimeout: the seed exceeded its time limit.
            BlockCancelled: the block is cancelled.
            Pruned: the seed is pruned.
        """
        if self._many is None:
            self.numbers = reported_numbers(result)
        # A copy: the user may fill the same dict again.
        self.last = dict(result) if isinstance(result, Mapping) else result
        n = self._many
        self._sampled.add(lambda: self.numbers if n is None else reported_arrays(self.last, n))
        if self._is_late():
            self._ended = SeedTimeout(f"took longer than {self._limit:g} s")
            self.check()
        self._ask_pruner()
        if _hear is not None and self._block is not None:
            _hear(self._block, self)
        if _is_cancelled is not None and self._block is not None and _is_cancelled(self._block):
            self._ended = BlockCancelled()
        self.check()

    @property
    def count(self) -> int:
        """How many reports there are."""
        return self._sampled.count

    @property
    def medians(self) -> dict[str, float]:
        """The numbers of the last report; where many seeds train together, the median of each."""
        if self._many is None:
            return dict(self.numbers)
        first = next(iter(self.last.values()), ()) if isinstance(self.last, dict) else self.last
        arrays = reported_arrays(self.last, np.size(first))
        finite = {name: array[np.isfinite(array)] for name, array in arrays.items()}
        return {name: float(np.median(array)) for name, array in finite.items() if array.size}

    @property
    def curve(self) -> Points:
        """A sample of the reports, and the last one."""
        return self._sampled.points

    def _ask_pruner(self) -> None:
        if self._is_pruned is None or (number := self.numbers.get(self._on or "")) is None:
            return
        if self._is_pruned(self.count, number):
            self._ended, self._is_pruned = Pruned(self.count), None

    def _is_late(self) -> bool:
        if self._limit is None:
            return False
        return time.monotonic() - self._began > self._limit * (self._many or 1)

    def check(self) -> None:
        """Raise again what ended the seed, in case its function caught it."""
        if self._ended is not None:
            raise self._ended


_is_cancelled: Callable[[Block], bool] | None = None


@contextmanager
def cancelling_if(is_cancelled: Callable[[Block], bool] | None) -> Iterator[None]:
    """In this context each report in this process ends its block if that is cancelled."""
    global _is_cancelled  # noqa: PLW0603  # the user's code lies between the caller and reports
    before, _is_cancelled = _is_cancelled, is_cancelled
    try:
        yield
    finally:
        _is_cancelled = before


_hear: Callable[[Block, Reports], None] | None = None


@contextmanager
def hearing_reports(hear: Callable[[Block, Reports], None]) -> Iterator[None]:
    """In this context `hear` is called at each report in this process, with what trains."""
    global _hear  # noqa: PLW0603  # as in `cancelling_if`
    before, _hear = _hear, hear
    try:
        yield
    finally:
        _hear = before
