"""The course of a test over seeds: what came of each, what that proves, and how it is told."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

from xortune.certificates.plan import gate_seeds
from xortune.core.errors import InputError, named
from xortune.core.outcome import MAX_SEED
from xortune.core.seeds import MARK
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_interval,
    anytime_upper,
)

SHOWN = 5
"""Failing seeds that are listed with their messages."""

LINE = 200
"""Letters of a message."""

EXAMPLE = "@pytest.mark.seeds(500, min_rate=0.95)"

Answer: TypeAlias = Literal["proven", "refuted", "undecided"]


class SeedsMark(NamedTuple):
    """What a mark asks for.

    Attributes:
        most: seeds, at most.
        min_rate: the success rate to prove.
        confidence: 1 minus the probability, at most, of a wrong answer.
        first: the first seed; the others follow it.
    """

    most: int
    min_rate: float
    confidence: float
    first: int

    def course(self) -> Course:
        """Its course, before the first seed."""
        return Course(self)


class SeedFailure(NamedTuple):
    """A seed that failed, and with what message."""

    seed: int
    message: str


def wanted(*given: object, **options: object) -> SeedsMark:
    """What is written in the brackets of a mark, checked.

    Raises:
        InputError: an argument too many, missing, of a wrong type or out of range; too few seeds
            to prove anything.
    """
    known = ("n", "min_rate", "confidence", "first")
    for name in options:
        if name not in known:
            raise InputError(
                f"unknown argument {name!r}", allowed=", ".join(known), fix=f"write {EXAMPLE}"
            )
    if len(given) > 1 or (given and "n" in options):
        raise InputError(
            f"{len(given) + ('n' in options)} values where the number of seeds is",
            allowed="the number of seeds, at most, and all else by its name",
            fix=f"write {EXAMPLE}",
        )
    most = given[0] if given else options.get("n")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InputError(
            "no number of seeds" if most is None else f"{most!r}",
            field="n",
            allowed="a whole number of seeds, at most, 1 or more",
            fix=f"write {EXAMPLE}",
        )
    if "min_rate" not in options:
        raise InputError(
            "nothing says what success rate is to be proven",
            field="min_rate",
            allowed="above 0 and below 1",
            fix=f"write {EXAMPLE}",
        )
    rate, confidence = _share("min_rate", options["min_rate"]), 0.95
    if "confidence" in options:
        confidence = _share("confidence", options["confidence"])
    first = options.get("first", MARK.start)
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= MAX_SEED:
        raise InputError(f"{first!r}", field="first", allowed="a seed from 0 to 2**32 - 1")
    if first + most - 1 > MAX_SEED:
        raise InputError(f"{most} seeds from {first}", field="n", allowed="none beyond 2**32 - 1")
    least = gate_seeds(rate, alpha=1 - confidence)
    if most < least:
        raise InputError(
            f"{most} seeds cannot prove {rate:g}, even if all of them pass",
            field="n",
            allowed=f"{least} or more",
            fix=f"give {least} or more, or ask for a lower rate",
        )
    return SeedsMark(most, rate, confidence, first)


class Course:
    """What came of the seeds so far, one after the other.

    Attributes:
        k: seeds that passed.
        n: seeds.
        failures: the first that failed.
        shown: the traceback of the very first.
        answer: None as long as it goes on.
    """

    def __init__(self, asked: SeedsMark) -> None:
        self.asked = asked
        self.k = self.n = 0
        self.failures: list[SeedFailure] = []
        self.shown = ""
        self.answer: Answer | None = None

    @property
    def next(self) -> int:
        """The seed that is not yet counted."""
        return self.asked.first + self.n

    @property
    def over(self) -> bool:
        """Whether the answer is known."""
        return self.answer is not None

    @property
    def passed(self) -> bool:
        """Whether the rate is proven."""
        return self.answer == "proven"

    def succeeded(self) -> None:
        """The next seed passed."""
        self.k += 1
        self._count()

    def failed(self, error: BaseException, shown: str) -> None:
        """The next seed failed.

        Args:
            error: what it raised.
            shown: its traceback; kept of the first.
        """
        if len(self.failures) < SHOWN:
            self.failures.append(SeedFailure(self.next, _one_line(error)))
        self.shown = self.shown or shown
        self._count()

    def _count(self) -> None:
        self.n += 1
        rate, enough = self.asked.min_rate, -math.log(1 - self.asked.confidence)
        left = self.asked.most - self.n
        if anytime_evidence_above(self.k, self.n, rate) >= enough:
            self.answer = "proven"
        elif anytime_evidence_below(self.k, self.n, rate) >= enough:
            self.answer = "refuted"
        elif not left or self._hopeless(left, enough):
            self.answer = "undecided"

    def _hopeless(self, left: int, enough: float) -> bool:
        """Whether nothing would be proven even if all seeds that are left passed.

        It can become so by a failure only.
        """
        if self.k == self.n:
            return False
        most = self.asked.most
        return bool(anytime_evidence_above(self.k + left, most, self.asked.min_rate) < enough)

    @property
    def line(self) -> str:
        """For the summary: `seeds: 88 of 88, proven 0.95`."""
        return f"seeds: {self.k} of {self.n}, {self.answer} {self.asked.min_rate:g}"

    @property
    def message(self) -> str:
        """Why the test failed: counts, bounds, the first seeds that failed, a traceback."""
        asked, alpha = self.asked, 1 - self.asked.confidence
        last = asked.first + self.n - 1
        told = f"{self.answer}: {self.k} of {self.n} seeds passed, "
        if self.answer == "refuted":
            bound = float(anytime_upper(self.k, self.n, alpha=alpha))
            told += f"so the success rate is below {asked.min_rate:g} (upper bound {bound:.4f}"
        else:
            low, high = map(float, anytime_interval(self.k, self.n, confidence=asked.confidence))
            told += (
                f"so {asked.min_rate:g} is not proven with {asked.most} seeds "
                f"(success rate {low:.4f} to {high:.4f}"
            )
        lines = [f"{told}, confidence {asked.confidence:g}, seeds {asked.first} to {last})"]
        lines += [f"  seed {failure.seed}: {failure.message}" for failure in self.failures]
        if (more := self.n - self.k - len(self.failures)) > 0:
            lines.append(f"  ... and {more} more")
        if self.shown:
            seed = self.failures[0].seed
            lines += ["", f"seed {seed} (alone: --only-seed {seed}):", "", self.shown]
        return "\n".join(lines)


def _share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(
            f"{value!r}",
            field=name,
            allowed="above 0 and below 1",
            fix="no number of seeds proves a rate of 1; 0.99 takes 377" if value == 1 else None,
        )
    return float(value)


def _one_line(error: BaseException) -> str:
    """What it says, in one line."""
    line = " ".join(named(error).split())
    return line if len(line) <= LINE else line[: LINE - 3] + "..."
