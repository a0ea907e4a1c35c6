"""A test over seeds: the arguments of its mark, the results of its seeds, its messages."""

from __future__ import annotations

import time
from functools import cache
from heapq import heappop, heappush
from typing import Any

from xortune.certificates.gate import Answer, SeedLine, SequentialTest
from xortune.core.errors import InputError, Unavailable, broken_setup, check_count, error_text
from xortune.core.outcome import NO_SEEDS, SeedCount
from xortune.core.seeds import MARK, MAX_SEED
from xortune.core.trainer import HELD_AFTER, PLACE_SECONDS, Outages, exceeds, retry_after
from xortune.stats.anytime import anytime_interval

MAX_LISTED = 5
"""Maximum number of failing seeds that are listed with their messages."""

MAX_LENGTH = 200
"""Maximum number of characters of a message."""

FIX = "write @pytest.mark.seeds(500, min_rate=0.95)"

NAMES = {
    "n": "max_seeds",
    "min_rate": "min_rate",
    "confidence": "confidence",
    "first": "first_seed",
}
"""The arguments of a mark and their names in `SequentialTest`."""


WORKERS = "workers"
"""The argument that says for how many seeds at once an async test is awaited."""


OUTAGES = ("retry", "retry_wait", "max_void")
"""The arguments that say what becomes of seeds that cannot be tried, as those of `xt.gate`."""


def parse_mark(*positional: object, **options: object) -> tuple[SequentialTest, int, Outages]:
    """Check the arguments of a mark.

    Returns:
        The test, for how many seeds at once it is awaited, and what becomes of seeds that cannot be
        tried.

    Raises:
        InputError: a wrong or missing argument.
    """
    workers: Any = options.pop(WORKERS, 1)
    check_count(WORKERS, workers)
    untried: dict[str, Any] = {name: options.pop(name) for name in OUTAGES if name in options}
    outages = Outages.of(**untried)
    for name in options.keys() - NAMES.keys():
        allowed = ", ".join((*NAMES, WORKERS, *OUTAGES))
        raise InputError(f"unknown argument {name!r}", allowed=allowed, fix=FIX)
    if len(positional) > 1 or (positional and "n" in options):
        raise InputError(
            f"{len(positional) + ('n' in options)} values where the number of seeds is",
            allowed="the number of seeds, at most, and all else by its name",
            fix=FIX,
        )
    values = {"confidence": 0.95, "first": MARK.start, **options}
    if positional:
        values["n"] = positional[0]
    for name, problem in (
        ("n", "no number of seeds"),
        ("min_rate", "nothing says what success rate is to be proven"),
    ):
        if name not in values:
            raise InputError(problem, field=name, fix=FIX)
    try:
        test = SequentialTest(**{NAMES[name]: value for name, value in values.items()})  # type: ignore[arg-type]
    except InputError as error:
        name = next(name for name, field in NAMES.items() if field == error.field)
        raise InputError(error.problem, field=name, allowed=error.allowed, fix=error.fix) from None
    return test, workers, outages


class Outage(Exception):
    """Too many seeds could not be tried: the test has no answer, and its model is not to blame."""


class SeedsToCall:
    """Says which seed a test is called for next, and in which order the results count.

    A seed that cannot be tried is tried again after a wait, in which the others are called. The
    order is that of `SeedLine`.

    Args:
        test: its seeds.
        outages: what becomes of seeds that cannot be tried.

    Attributes:
        line: the seeds in the order in which they count, with what came of each.
    """

    def __init__(self, test: SequentialTest, outages: Outages) -> None:
        self._test, self._outages = test, outages
        self.line = SeedLine[Any](test.first_seed)
        self._next = test.first_seed  # the first that was never called
        self._waiting: list[tuple[float, int]] = []  # a heap: `time.monotonic`, and the seed
        self._tries: dict[int, int] = {}  # further tries of a seed
        self._waited: dict[int, float] = {}  # seconds before these, in all
        self._void: set[int] = set()
        self._needed = cache(test.needed)
        self._results = self._in_a_row = 0  # seeds with a result; void ones since the last of these

    def next(self, failures: int) -> int | None:
        """The seed that begins now; None if none does before another ends, or waits no more.

        Args:
            failures: how many seeds have failed: no more begin than could prove the rate.
        """
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            _, seed = heappop(self._waiting)
            if self._waited[seed] > PLACE_SECONDS:
                self.line.take_up(seed, self._next)
            return seed
        passed_over = sum(self._waited[seed] > PLACE_SECONDS for _, seed in self._waiting)
        begun = self._next - self._test.first_seed - len(self._void) - passed_over
        is_down = self._in_a_row >= HELD_AFTER and self._waiting
        if begun >= self._needed(failures) or is_down or self._next > MAX_SEED:
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

    def add(self, seed: int, result: Any) -> None:
        """Add what came of a seed."""
        self._in_a_row, self._results = 0, self._results + 1
        self.line.add(seed, [result])

    def put_off(self, seed: int, error: BaseException) -> None:
        """A seed could not be tried: it waits for its next try, or it is void.

        Raises:
            Outage: too many are void.
        """
        tries, why = self._tries.get(seed, 0), shortened(error)
        wait = self._outages.wait(tries, retry_after(error))
        if wait is not None:
            self._in_a_row += not tries
            self._tries[seed] = tries + 1
            self._waited[seed] = self._waited.get(seed, 0.0) + wait
            if self._waited[seed] > PLACE_SECONDS:
                self.line.pass_over(seed, why)
            heappush(self._waiting, (time.monotonic() + wait, seed))
            return
        self.line.pass_over(seed, why)
        self._void.add(seed)
        self._in_a_row = 0
        void, tried = len(self._void), len(self._void) + self._results
        if exceeds(void, tried, self._outages.max_void) or void == self._test.max_seeds:
            raise Outage(
                f"outage: {void} of {tried} seeds could not be tried, which is more than max_void "
                f"({self._outages.max_void:g}) allows; the last one, seed {seed}: {why}. This says "
                "nothing of the test: there is no answer"
            )


def shortened(error: BaseException) -> str:
    """An error in one line of at most `MAX_LENGTH` characters."""
    line = " ".join(error_text(error).split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 3] + "..."


class SeedTally:
    """The results of the seeds so far, in the order in which they count.

    Attributes:
        seen: how many passed, of how many.
        failures: the first seeds that failed, each with its message.
        traceback: that of the first failure.
        answer: None while the test goes on.
        next: the seed after the greatest one that counts.
        is_broken: whether all seeds failed in the same way, before any training: the answer says
            nothing then.
    """

    def __init__(self, test: SequentialTest) -> None:
        self._test = test
        self.seen = NO_SEEDS
        self.failures: list[tuple[int, str]] = []
        self.traceback = ""
        self.answer: Answer | None = None
        self.next = test.first_seed
        self.is_broken = False
        self._reasons: set[str] = set()

    @property
    def without(self) -> int:
        """How many seeds before `next` could not be tried."""
        return self.next - self._test.first_seed - self.seen.n

    def count(
        self, error: BaseException | None = None, traceback: str = "", *, seed: int | None = None
    ) -> None:
        """Count a seed, `next` if not given, which passed or failed with an error."""
        seed = self.next if seed is None else seed
        self.next = max(self.next, seed + 1)
        if error is not None and len(self.failures) < MAX_LISTED:
            self.failures.append((seed, shortened(error)))
        if error is not None:
            self._reasons.add(" ".join(error_text(error).split()))
        self.traceback = self.traceback or traceback
        k, n = self.seen.k + (error is None), self.seen.n + 1
        self.seen = SeedCount(k, n)
        test = self._test
        if test.proves(k, n):
            self.answer = "proven"
        elif test.refutes(k, n):
            self.answer = "refuted"
        elif error is not None and test.gives_up(k, n):  # only a failure can cause this
            self.answer = "undecided"
        if self.answer is not None and not k:
            self.is_broken = broken_setup(self._reasons) is not None

    @property
    def line(self) -> str:
        """The line of the summary: `seeds: 88 of 88, proven 0.95`."""
        void = f", {self.without} void" if self.without else ""
        rate, seen = self._test.min_rate, f"seeds: {self.seen.k} of {self.seen.n}"
        if self.is_broken:
            return f"{seen}, no outcome for {rate:g}{void}"
        return f"{seen}, {self.answer} {rate:g}{void}"

    @property
    def message(self) -> str:
        """Why the test failed: counts, the first seeds that failed, a traceback."""
        test, k, n = self._test, self.seen.k, self.seen.n
        text = f"{self.answer}: {k} of {n} seeds passed, "
        if self.is_broken:
            text = f"no outcome: all {n} seeds failed in the same way, before any training ("
        elif self.answer == "refuted":
            text += f"so the success rate is below {test.min_rate:g} ("
        else:
            low, high = map(float, anytime_interval(k, n, confidence=test.confidence))
            proven = "cannot be proven any more" if n < test.max_seeds else "is not proven"
            text += (
                f"so {test.min_rate:g} {proven} with {test.max_seeds} seeds "
                f"(success rate {low:.4f} to {high:.4f}, "
            )
        seeds = f"seeds {test.first_seed} to {self.next - 1}"
        seeds += f" without {self.without} that could not be tried" if self.without else ""
        lines = [f"{text}confidence {test.confidence:g}, {seeds})"]
        lines += [f"  seed {seed}: {message}" for seed, message in self.failures]
        if (more := n - k - len(self.failures)) > 0:
            lines.append(f"  ... and {more} more")
        if self.traceback:
            seed, _ = self.failures[0]
            lines += ["", f"seed {seed} (alone: --only-seed {seed}):", "", self.traceback]
        return "\n".join(lines)
