"""A test over seeds: the arguments of its mark, the results of its seeds, its messages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from inspect import signature
from typing import Any

from xortune.certificates.gate import (
    Judgement,
    NumberTest,
    NumberVerdict,
    SequentialTest,
    Verdict,
)
from xortune.core.errors import (
    InputError,
    Unavailable,
    broken_setup,
    check_count,
    check_share,
    error_text,
    refuse_given,
)
from xortune.core.numbers import MEAN, statistic_named
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.seeds import MARK, MAX_SEED
from xortune.core.trainer import (
    HELD_AFTER,
    PLACE_SECONDS,
    Exceptions,
    Outages,
    Waits,
    exceeds,
    retry_after,
)
from xortune.stats.betting import checked_limits
from xortune.stats.statistic_bounds import StatisticTest

MAX_LISTED = 5
"""Maximum number of failing seeds that are listed with their messages."""

MAX_LENGTH = 200
"""Maximum number of characters of a message."""

FIX = "write @pytest.mark.seeds(500, min_rate=0.95)"


def parse_mark(*given: Any, **options: Any) -> tuple[SequentialTest | NumberTest, int, Outages]:
    """Check the arguments of a mark, which are those of `_marked`.

    Returns:
        The test, for how many seeds at once it is awaited, and what becomes of seeds that cannot be
        tried.

    Raises:
        InputError: a wrong or missing argument.
    """
    known = signature(_marked)
    try:
        bound = known.bind(*given, **options)
    except TypeError as error:
        allowed = ", ".join(known.parameters)
        raise InputError(str(error), allowed=allowed, fix=FIX) from None
    return _marked(*bound.args, **bound.kwargs)


def _marked(
    n: int,
    *,
    min_rate: float | None = None,
    confidence: float = 0.95,
    first: int = MARK.start,
    workers: int = 1,
    retry: Exceptions = (),
    retry_wait: Waits | None = None,
    max_void: float | None = None,
    min_mean: float | None = None,
    min: float | None = None,  # noqa: A002  # as of the gate
    max: float | None = None,  # noqa: A002
    of: str | None = None,
    bounds: Sequence[float] | None = None,
) -> tuple[SequentialTest | NumberTest, int, Outages]:
    check_count("workers", workers)
    outages = Outages.of(retry, retry_wait, max_void)
    given = {"min_rate": min_rate, "min_mean": min_mean, "min": min, "max": max}
    claims = {name: one for name, one in given.items() if one is not None}
    if len(claims) != 1:
        missing = "missing a required argument: 'min_rate'"
        problem = f"both {' and '.join(claims)}" if claims else missing
        raise InputError(problem, allowed=f"one of {', '.join(given)}", fix=FIX)
    [(option, goal)] = claims.items()
    try:
        if min_rate is not None:
            refuse_given("only with a number to prove", of=of, bounds=bounds)
            return SequentialTest(min_rate, n, confidence, first), workers, outages
        check_share("confidence", confidence)
        if (of is None) == (min_mean is None):
            problem = "is missing" if of is None else f"{of!r}"
            raise InputError(
                problem, field="of", allowed="mean, iqm, median, q10, ... with min or max"
            )
        limits = None if bounds is None else checked_limits(bounds)
        statistic = MEAN if of is None else statistic_named(of)
        rule = StatisticTest(statistic, goal, option != "max", n, 1 - confidence, limits)
        return NumberTest(rule, None, first, option), workers, outages
    except InputError as error:
        name = {"max_seeds": "n", "first_seed": "first"}.get(str(error.field), error.field)
        raise InputError(error.problem, field=name, allowed=error.allowed, fix=error.fix) from None


class Outage(Exception):
    """The test has no answer: too many seeds could not be tried, or a number is beyond bounds."""


class SeedsToCall:
    """Says which seed a test is called for next, and in which order the results count.

    A seed that cannot be tried is tried again after a wait, in which the others are called. The
    order is that of `SeedLine`.

    Args:
        test: its seeds.
        outages: what becomes of seeds that cannot be tried.

    Attributes:
        judged: the seeds in the order in which they count, and the answer by them.
        traceback: of the first seed that failed.
    """

    def __init__(self, test: SequentialTest | NumberTest, outages: Outages) -> None:
        self._test, self._outages = test, outages
        self.judged, self.traceback = Judgement(test), ""
        self._next = test.first_seed  # the first that was never called
        self._waiting: list[tuple[float, int]] = []  # a heap: `time.monotonic`, and the seed
        self._tries: dict[int, int] = {}  # further tries of a seed
        self._waited: dict[int, float] = {}  # seconds before these, in all
        self._void: set[int] = set()
        self._results = self._in_a_row = 0  # seeds with a result; void ones since the last of these

    def next(self) -> int | None:
        """The seed that begins now; None if none does before another ends, or waits no more.

        No more begin than could prove what is asked after those so far.
        """
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            _, seed = heappop(self._waiting)
            if self._waited[seed] > PLACE_SECONDS:
                self.judged.line.take_up(seed, self._next)
            return seed
        passed_over = sum(self._waited[seed] > PLACE_SECONDS for _, seed in self._waiting)
        begun = self._next - self._test.first_seed - len(self._void) - passed_over
        is_down = self._in_a_row >= HELD_AFTER and self._waiting
        needed = self.judged.n + len(self.judged.missing())
        if begun >= needed or is_down or self._next > MAX_SEED:
            return None
        self._next += 1
        return self._next - 1

    @property
    def seconds(self) -> float | None:
        """Seconds until a seed is tried again; None if none waits."""
        return max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None

    def says_nothing(self, error: BaseException | None) -> bool:
        """Whether what a test raised says nothing of its seed."""
        return isinstance(error, (Unavailable, *self._outages.retry))

    @property
    def takes_number(self) -> bool:
        """Whether the test returns a number under each seed."""
        return isinstance(self._test, NumberTest)

    @property
    def k(self) -> int:
        """How many seeds passed, or returned a number, of those that count."""
        if self.takes_number:
            return self.judged.n - len(self._reasons)
        return self.judged.solved or 0

    def add(
        self,
        seed: int,
        error: BaseException | None,
        shown: Callable[[], str],
        number: float = math.nan,
    ) -> None:
        """Add what came of a seed: it passed, or failed with an error, whose traceback is shown.

        Raises:
            Outage: the number is beyond the bounds.
        """
        self._in_a_row, self._results = 0, self._results + 1
        failed = {}
        if error is not None:
            if seed < min(self.judged.failed, default=math.inf):
                self.traceback = shown()
            failed[seed] = " ".join(error_text(error).split())
        ended: float = Status.SOLVED if error is None else Status.WRONG_PATTERN
        try:
            self.judged.add(seed, [number if self.takes_number else ended], failed)
        except InputError as beyond:
            raise Outage(f"seed {seed}: {beyond}") from None

    def put_off(self, seed: int, error: BaseException) -> None:
        """A seed could not be tried: it waits for its next try, or it is void.

        Raises:
            Outage: too many are void.
        """
        tries, why = self._tries.get(seed, 0), _shortened(" ".join(error_text(error).split()))
        wait = self._outages.wait(tries, retry_after(error))
        if wait is not None:
            self._in_a_row += not tries
            self._tries[seed] = tries + 1
            self._waited[seed] = self._waited.get(seed, 0.0) + wait
            if self._waited[seed] > PLACE_SECONDS:
                self.judged.pass_over(seed, why)
            heappush(self._waiting, (time.monotonic() + wait, seed))
            return
        self.judged.pass_over(seed, why)
        self._void.add(seed)
        self._in_a_row = 0
        void, tried = len(self._void), len(self._void) + self._results
        if exceeds(void, tried, self._outages.max_void) or void == self._test.max_seeds:
            raise Outage(
                f"outage: {void} of {tried} seeds could not be tried, which is more than max_void "
                f"({self._outages.max_void:g}) allows; the last one, seed {seed}: {why}. This says "
                "nothing of the test: there is no answer"
            )

    @property
    def _reasons(self) -> list[tuple[int, str]]:
        """The seeds that failed, of those that count, and why."""
        judged = self.judged
        return [
            (one, judged.failed[one]) for one in judged.seeds[: judged.n] if one in judged.failed
        ]

    @property
    def is_broken(self) -> bool:
        """Whether all seeds failed in the same way, before any training: no answer says so."""
        reasons = {why for _, why in self._reasons}
        return self.judged.answer is not None and not self.k and broken_setup(reasons) is not None

    @property
    def _verdict(self) -> Verdict | NumberVerdict:
        return self.judged.verdict(Point({}), own=True, done="passed")

    @property
    def line(self) -> str:
        """The line of the summary: `seeds: 88 of 88, proven 0.95`."""
        verdict = self._verdict
        answer = "no outcome for" if self.is_broken else verdict.answer
        void = f", {len(verdict.void)} void" if verdict.void else ""
        if isinstance(verdict, NumberVerdict):
            side = "at least" if verdict.maximize else "at most"
            seen = f"{verdict.of} {verdict.text} of {verdict.n}"
            return f"seeds: {seen}, {answer} {side} {verdict.goal:g}{void}"
        return f"seeds: {verdict.k} of {verdict.n}, {answer} {verdict.min_rate:g}{void}"

    @property
    def message(self) -> str:
        """Why the test failed: counts, the first seeds that failed, a traceback."""
        verdict, reasons = self._verdict, self._reasons
        lines = [verdict.line]
        if self.is_broken:
            how = f"all {verdict.n} seeds failed in the same way, before any training"
            asked = "" if isinstance(verdict, NumberVerdict) else f" ({verdict.asked})"
            lines = [f"no outcome: {how}{asked}"]
        lines += [f"  seed {seed}: {_shortened(why)}" for seed, why in reasons[:MAX_LISTED]]
        if (more := len(reasons) - MAX_LISTED) > 0:
            lines.append(f"  ... and {more} more")
        if reasons:
            seed = min(seed for seed, _ in reasons)
            lines += ["", f"seed {seed} (alone: --only-seed {seed}):", "", self.traceback]
        return "\n".join(lines)


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 3] + "..."
