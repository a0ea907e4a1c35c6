"""A gate: does this config still solve so many of all seeds? As few seeds as the answer needs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.certificates.plan import gate_seeds
from xortune.core.config import Config
from xortune.core.errors import InputError, TrainingError, check_share
from xortune.core.formats import as_html, rounded_down, rounded_up
from xortune.core.outcome import MAX_SEED, Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import GATE
from xortune.core.trainer import Block, Trains
from xortune.spaces.text import read_text, read_yaml
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_interval,
    anytime_lower,
    anytime_upper,
)
from xortune.stats.horizon import LONGEST, Boundary, boundary

if TYPE_CHECKING:
    from xortune.runs.certificate import Certificate
    from xortune.runs.results import ConfigResult
    from xortune.runs.run import Run

Made = TypeVar("Made", Config, Point)

EXAMPLE = "activation, loss, optimizer, lr, hidden_dim and epochs, one `name: value` on each line"


def load_config(path: str | os.PathLike[str]) -> Config:
    """The config that a YAML or JSON file holds: the fields of `Config` by name, and nothing else.

    Raises:
        InputError: a file that cannot be read, or anything in it that is not allowed, with file and
            line.
    """
    return _loaded(path, Config.from_point, EXAMPLE)


def load_parameters(path: str | os.PathLike[str]) -> Point:
    """The parameters that a YAML or JSON file holds, for a training of the user's own.

    Raises:
        InputError: as `load_config`.
    """
    return _loaded(path, Point, "the parameters, one `name: value` on each line")


def _loaded(
    path: str | os.PathLike[str], made: Callable[[Mapping[str, object]], Made], allowed: str
) -> Made:
    place = os.fspath(path)
    try:
        document = read_yaml(read_text(path), place)
    except InputError as error:
        if error.problem == "is empty":
            raise InputError("is empty", place=place, allowed=allowed) from None
        raise
    if "parameters" in document.values:
        raise InputError(
            "is a search space, not one config",
            place=document.at(("parameters",)),
            allowed=allowed,
            fix="write the values of one config; `xortune search` takes the space",
        )
    try:
        return made(document.values)
    except InputError as error:
        raise error.at(document.at((error.field,) if error.field else ())) from None


Answer: TypeAlias = Literal["proven", "refuted", "undecided"]


@dataclass(frozen=True)
class SequentialTest:
    """Whether a success rate is above `min_rate`, looked at after each seed (see `stats.horizon`).

    Whatever the rate is, the answer is wrong with probability 1 - `confidence` at most: a rate of
    `min_rate` or less is called proven with that probability at most, one of `min_rate` or more
    refuted likewise. Both spend it over `max_seeds` seeds, so that this number is part of the
    question: asking again with more, because the answer was `undecided`, is another test with a
    risk of its own. The answer depends on the seeds and their order only, not on how many are
    trained at a time.

    Attributes:
        min_rate: the success rate to prove.
        max_seeds: after so many the answer is `undecided`. Beyond 20,000 the bounds are used that
            hold for ever (`stats.anytime`).
        confidence: 1 minus the probability, at most, of a wrong answer.
        first_seed: the others follow it.

    Raises:
        InputError: an argument out of range, or too few seeds for any answer but `undecided`.
    """

    min_rate: float
    max_seeds: int
    confidence: float
    first_seed: int

    def __post_init__(self) -> None:
        most, first = self.max_seeds, self.first_seed
        check_share("min_rate", self.min_rate)
        check_share("confidence", self.confidence)
        if not 0 <= first <= MAX_SEED:
            raise InputError(f"{first}", field="first_seed", allowed="0 to 2**32 - 1")
        if most < 1 or first + most - 1 > MAX_SEED:
            raise InputError(
                f"{most} seeds from {first}",
                field="max_seeds",
                allowed="at least 1, and none beyond 2**32 - 1",
            )
        try:
            least = gate_seeds(self.min_rate, most, alpha=1 - self.confidence)
        except InputError as error:  # more than there are
            error.field = error.place = "min_rate"
            raise
        if most < least:
            raise InputError(
                f"{most} seeds cannot prove {self.min_rate:g}, even if none of them fails",
                field="max_seeds",
                allowed=f"{least} or more",
                fix=f"give {least} or more, or ask for a lower rate",
            )

    def proves(self, k: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
        """Whether k successes of n seeds prove the rate; for arrays, of each."""
        return self._above(self.min_rate, np.asarray(k), np.asarray(n))

    def refutes(self, k: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
        """Whether k successes of n seeds refute it: failures are proven to be more than allowed."""
        return self._above(1 - self.min_rate, np.subtract(n, k), np.asarray(n))

    def bound(self, answer: Answer, k: int, n: int) -> float | None:
        """The bound that k of n seeds have just decided by: below it lies the rate, or above."""
        if answer == "proven":
            return self._lower(self.min_rate, k, n)
        return 1 - self._lower(1 - self.min_rate, n - k, n) if answer == "refuted" else None

    def needed(self, failures: int) -> int:
        """The fewest seeds that prove the rate if so many fail; `max_seeds` if these do not."""
        line = self._line(self.min_rate)
        if line is None:
            least = gate_seeds(self.min_rate, alpha=1 - self.confidence, failures=failures)
        else:
            least = line.first(failures) or self.max_seeds
        return min(least, self.max_seeds)

    def _line(self, rate: float) -> Boundary | None:
        """Where a rate is proven; None if there are too many seeds to follow each."""
        if self.max_seeds > LONGEST:
            return None
        return boundary(rate, self.max_seeds, 1 - self.confidence)

    def _above(self, rate: float, k: NDArray[Any], n: NDArray[Any]) -> NDArray[np.bool_]:
        line = self._line(rate)
        if line is None:
            enough = -math.log(1 - self.confidence)
            return np.asarray(anytime_evidence_above(k, n, rate) >= enough)
        return np.asarray(n - k <= line.allowed[n])

    def _lower(self, rate: float, k: int, n: int) -> float:
        line = self._line(rate)
        if line is None:
            return float(anytime_lower(k, n, alpha=1 - self.confidence))
        return line.bound(n, n - k)


FIRST_BLOCK, LARGEST_BLOCK = 16, 1024
"""Seeds trained at a time: few at first, since a hopeless config is refuted by two."""


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Attributes:
        answer: `proven` (the rate is above `min_rate`), `refuted` (below it) or `undecided`.
        min_rate: what was asked.
        confidence: 1 minus the greatest probability of a wrong answer.
        key: of the config.
        point: the config itself.
        k: seeds solved up to the decision.
        n: seeds up to the decision.
        low: lower end of the range of the rate, which holds with `confidence`, both ends together
            and whatever made the gate stop; of a certificate its lower bound.
        high: upper end; None where a certificate was read, which has none.
        first_seed: the first of the n seeds, which follow each other.
        most: seeds after which the gate gives up; None where a certificate was read.
        counts: how many of the n seeds ended in each status; None where a certificate was read.
        seeds: which these are, in words; None if they follow `first_seed`.
        bound: what the answer rests on: the lower bound of the rate if it is proven, the upper one
            if it is refuted. This one by itself holds with `confidence`, and so lies within the
            range. None if it is undecided.
    """

    answer: Answer
    min_rate: float
    confidence: float
    key: str
    point: Point
    k: int
    n: int
    low: float
    high: float | None
    first_seed: int
    most: int | None
    counts: dict[Status, int] | None
    seeds: str | None = None
    bound: float | None = None

    def __repr__(self) -> str:
        return f"Verdict({self.line})"

    def __str__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        """What a notebook shows: the line, the config, and what the seeds ended as."""
        found = {status.label: count for status, count in (self.counts or {}).items() if count}
        cells = {**self.point, "solved": f"{self.k:,} of {self.n:,}", **found}
        return as_html(self.line, [cells])

    @property
    def passed(self) -> bool:
        """Whether the rate is proven."""
        return self.answer == "proven"

    @property
    def line(self) -> str:
        """One line for a log: the answer, the counts, what follows, which seeds."""
        seeds = self.seeds or f"seeds {self.first_seed} to {self.first_seed + self.n - 1}"
        sure = f"confidence {self.confidence:g}"
        solved = f"{self.answer}: {self.k}/{self.n} seeds solved"
        if self.most is None:
            relation = "at least" if self.passed else "below"
            return (
                f"{solved}, lower bound {_down(self.low)} is {relation} {self.min_rate:g} "
                f"({sure}, certified config {self.key}, {seeds})"
            )
        if self.bound is None:
            assert self.high is not None
            return (
                f"{solved}, success rate {_down(self.low)} to {_up(self.high)}, so neither above "
                f"nor below {self.min_rate:g} for sure after {self.n} seeds ({sure}, {seeds})"
            )
        bound = (
            f"above {self.min_rate:g} (lower bound {_down(self.bound)}"
            if self.passed
            else f"below {self.min_rate:g} (upper bound {_up(self.bound)}"
        )
        return f"{solved}, success rate {bound}, {sure}, {seeds})"


def _down(bound: float) -> str:
    return f"{rounded_down(bound, 4):.4f}"


def _up(bound: float) -> str:
    return f"{rounded_up(bound, 4):.4f}"


def gate_config(
    point: Point,
    trainer: Trains,
    *,
    min_rate: float,
    max_seeds: int,
    confidence: float = 0.95,
    first_seed: int = GATE.start,
    block: int | Callable[[], int | None] | None = None,
    on_seeds: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Train a config until its rate is proven to be above `min_rate`, or refuted, or seeds run out.

    The question is a `SequentialTest`. `block` is how many seeds are trained at a time, or says it
    each time; if not given they are more and more, never beyond the seed that can prove the rate.
    `on_seeds` is called with (k, n) after each block.

    Raises:
        InputError: an argument out of range, or too few seeds for any answer but `undecided`.
        TrainingError: the training produced no outcome.
    """
    test, alpha = SequentialTest(min_rate, max_seeds, confidence, first_seed), 1 - confidence
    outcome: Outcome | None = None
    while True:
        done, solved = (0, 0) if outcome is None else (outcome.n, outcome.successes)
        needed = test.needed(done - solved) - done
        asked = block() if callable(block) else block
        size = asked or min(LARGEST_BLOCK, max(FIRST_BLOCK, done), max(needed, 1))
        size = min(size, max_seeds - done)
        [result] = trainer.train([Block(point, first_seed + done, size)])
        if isinstance(result, TrainingError):
            raise result
        outcome = result if outcome is None else outcome.merge(result)
        k, n = np.cumsum(outcome.solved), np.arange(1, outcome.n + 1)
        proven = test.proves(k, n)
        # What was trained beyond the seed that decides counts no more than any other.
        decided = np.flatnonzero(proven | test.refutes(k, n))
        last = int(decided[0]) if decided.size else outcome.n - 1
        if on_seeds is not None:
            on_seeds(int(k[last]), last + 1)
        if not decided.size and outcome.n < max_seeds:
            continue
        answer: Answer = "proven" if proven[last] else "refuted" if decided.size else "undecided"
        return _verdict(
            answer,
            point,
            outcome.status[: last + 1],
            alpha,
            bound=test.bound(answer, int(k[last]), last + 1),
            most=max_seeds,
            min_rate=min_rate,
            confidence=confidence,
            first_seed=first_seed,
        )


def gate_imported(
    run: Run, result: ConfigResult, *, min_rate: float, confidence: float = 0.95
) -> Verdict:
    """What the imported seeds of a config say of its success rate.

    Nobody knows whether their number was planned, or which config was picked by its count. So the
    bounds are those that hold at any number of seeds, and for all configs of the run at once: each
    has an equal share of 1 - `confidence`.

    Raises:
        InputError: a rate or a confidence that is not within (0, 1).
    """
    check_share("min_rate", min_rate)
    check_share("confidence", confidence)
    alpha = (1 - confidence) / len(run.results)
    outcome = result.outcome
    k, n = outcome.successes, outcome.n
    answer: Answer = "undecided"
    bound: float | None = None
    low, high = (float(side(k, n, alpha=alpha)) for side in (anytime_lower, anytime_upper))
    if low >= min_rate:
        answer, bound = "proven", low
    elif high < min_rate:
        answer, bound = "refuted", high
    return _verdict(
        answer,
        result.point,
        outcome.status,
        alpha,
        bound=bound,
        min_rate=min_rate,
        confidence=confidence,
        first_seed=int(outcome.seeds[0]),
        most=n,
        seeds=f"imported seeds of config {result.key}",
    )


def _verdict(
    answer: Answer, point: Point, status: NDArray[np.uint8], alpha: float, **more: Any
) -> Verdict:
    """The verdict on seeds that ended so; `alpha` is what may go wrong with the bounds of one."""
    counts = dict(zip(Status, np.bincount(status, minlength=len(Status)).tolist(), strict=True))
    k, n = counts[Status.SOLVED], len(status)
    low, high = map(float, anytime_interval(k, n, confidence=1 - alpha))
    return Verdict(
        answer=answer,
        key=point.key,
        point=point,
        k=k,
        n=n,
        low=low,
        high=high,
        counts=counts,
        **more,
    )


def gate_certificate(
    certificate: Certificate, *, min_rate: float, key: str | None = None
) -> Verdict:
    """Compare a certificate's lower bound with `min_rate`; nothing is trained.

    Raises:
        InputError: an argument out of range, or no such finalist.
    """
    check_share("min_rate", min_rate)
    found = certificate.best if key is None else certificate.finalist(key)
    assert found.lower_bound is not None  # of a complete attempt
    # A plan of n seeds for a rate gives a bound that is this rate but for rounding.
    proven = found.lower_bound >= min_rate - 1e-12
    return Verdict(
        answer="proven" if proven else "undecided",
        min_rate=min_rate,
        confidence=certificate.confidence,
        key=found.key,
        point=found.point,
        k=found.k,
        n=found.n,
        low=found.lower_bound,
        high=None,
        first_seed=found.first,
        most=None,
        counts=None,
        bound=found.lower_bound if proven else None,
    )
