"""The gate: a sequential test of whether a config still solves enough of all seeds."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.certificates.plan import gate_seeds
from xortune.core.config import Config
from xortune.core.errors import (
    InputError,
    check_count,
    check_number,
    check_share,
    refuse_unknown,
)
from xortune.core.formats import as_html, estimated, rounded_down, rounded_up, span
from xortune.core.numbers import (
    Statistic,
    endings,
    named_statistic,
    quantile_meant,
    statistic_named,
)
from xortune.core.outcome import Outcome, SeedCount, Status, crash_text, have_numbers, own_endings
from xortune.core.point import Point
from xortune.core.seeds import MAX_SEED
from xortune.spaces.yaml_reader import read_text, read_yaml
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_interval,
    anytime_lower,
    anytime_upper,
)
from xortune.stats.betting import NEAREST, checked_numbers
from xortune.stats.sequential import MAX_SEEDS_OF_BOUNDARY, Boundary, boundary
from xortune.stats.statistic_bounds import Answer, StatisticTest, decided

if TYPE_CHECKING:
    from xortune.runs.certificate import Certificate, CertifiedResult
    from xortune.runs.evaluation import EncodedOutcome, NumberAsked
    from xortune.runs.results import ConfigResult
    from xortune.runs.run import Run

Made = TypeVar("Made", Config, Point)
Result = TypeVar("Result")

EXAMPLE = "activation, loss, optimizer, lr, hidden_dim and epochs, one `name: value` on each line"


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a config from a YAML or JSON file with the fields of `Config`.

    Raises:
        InputError: the file cannot be read, or names file and line of what is not allowed.
    """
    return _loaded(path, Config.from_point, EXAMPLE)


def load_parameters(path: str | os.PathLike[str]) -> Point:
    """Read the parameters of a user's own training from a YAML or JSON file.

    Raises:
        InputError: as `load_config`.
    """
    return _loaded(path, Point, "the parameters, one `name: value` on each line")


def _loaded(
    path: str | os.PathLike[str], make: Callable[[Mapping[str, object]], Made], allowed: str
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
        return make(document.values)
    except InputError as error:
        raise error.at(document.at((error.field,) if error.field else ())) from None


def _check_seeds(max_seeds: int, first_seed: int, confidence: float) -> None:
    """Raise an InputError for what is out of range."""
    check_share("confidence", confidence)
    check_count("first_seed", first_seed, 0, MAX_SEED)
    check_count("max_seeds", max_seeds, most=MAX_SEED + 1 - first_seed)


def _refuse_few(max_seeds: int, least: int, *, unproven: str, lower: str) -> None:
    """Raise an InputError if so many seeds can prove nothing."""
    if max_seeds < least:
        raise InputError(
            f"{max_seeds} seeds cannot prove {unproven}",
            field="max_seeds",
            allowed=f"{least} or more",
            fix=f"give {least} or more, or ask for a lower {lower}",
        )


class Answered(ABC):
    """What each answer of a gate says of itself."""

    answer: Answer
    twice: str | None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.line})"

    def __str__(self) -> str:
        return self.line

    @property
    @abstractmethod
    def line(self) -> str:
        """The answer and its seeds, in one line."""

    @property
    def deterministic(self) -> bool | None:
        """Whether a seed that was trained twice had one result; None if none was."""
        return None if self.twice is None else not self.twice

    @property
    def passed(self) -> bool:
        """Whether it is proven."""
        return self.answer == "proven"


class SeedLine(Generic[Result]):
    """The seeds of a test that looks after each seed, in the order in which they count.

    A seed counts in its place, whenever its result comes: those that fail may take longer. One that
    could not be tried and waits for longer than the others can is passed over: when it is tried
    again, it gets the place behind all that have begun by then. So places are given before anybody
    knows a result, whatever is void, and the test is as valid as in the order of seeds.

    Args:
        first: the first seed; the others follow it.

    Attributes:
        why: by seed, why it could not be tried; also of those that have a result since.
    """

    def __init__(self, first: int) -> None:
        self._line: deque[int] = deque()  # those before `_next` that do not count yet
        self._next = first
        self._known: dict[int, Result] = {}
        self._left_out: set[int] = set()  # void, or passed over
        self.why: dict[int, str] = {}

    @property
    def next(self) -> int:
        """The first seed that no other one, and no result, has come after."""
        return self._next

    def add(self, seed: int, results: Iterable[Result]) -> None:
        """Add the results of a seed and of those that follow it."""
        self._known.update(enumerate(results, seed))

    def pass_over(self, seed: int, why: str) -> None:
        """A seed could not be tried. The others no longer wait for it."""
        self._left_out.add(seed)
        self.why[seed] = why

    def take_up(self, seed: int, before: int) -> None:
        """A seed that was passed over is tried again: its place is before that of `before`."""
        self._left_out.discard(seed)
        self._line += [*range(self._next, before), seed]
        self._next = max(self._next, before)

    def counting(self) -> Iterator[tuple[int, Result]]:
        """Yield the seeds that count from now on, with their results."""
        while True:
            seed = self._line[0] if self._line else self._next
            if seed in self._known:
                yield seed, self._known.pop(seed)
            elif seed not in self._left_out:
                return
            if self._line:
                self._line.popleft()
            else:
                self._next += 1


@dataclass(frozen=True)
class SequentialTest:
    """A test of a success rate being at least `min_rate`, after each seed (see `stats.sequential`).

    The answer is wrong with a probability of at most 1 - `confidence`, whatever the rate is: a rate
    below `min_rate` is called proven, or a rate of `min_rate` or more refuted, no more often. At
    `min_rate` itself each answer has this probability, and only "refuted" is wrong. Both sides
    spend the whole risk, so no bound beyond `min_rate` goes with an answer at its confidence (see
    `Verdict.bound`). The risk is spread over `max_seeds` seeds, so this number is part of the
    question: asking again with more seeds after `undecided` is another test with its own risk. It
    is `undecided` from the seed after which even successes alone would not prove the rate. The
    answer depends only on the seeds and their order, not on how many are trained at a time.

    Attributes:
        min_rate: the success rate to prove.
        max_seeds: the most seeds. Above 20,000 the bounds are those that hold at any number of
            seeds (`stats.anytime`).
        confidence: 1 minus the greatest probability of a wrong answer.
        first_seed: the others follow it.

    Raises:
        InputError: an argument is out of range, or `max_seeds` is too few for any answer but
            `undecided`.
    """

    min_rate: float
    max_seeds: int
    confidence: float
    first_seed: int

    def __post_init__(self) -> None:
        most = self.max_seeds
        check_share("min_rate", self.min_rate)
        _check_seeds(most, self.first_seed, self.confidence)
        try:
            least = gate_seeds(self.min_rate, most, alpha=1 - self.confidence)
        except InputError as error:  # it takes more seeds than there are
            error.field = error.place = "min_rate"
            raise
        unproven = f"{self.min_rate:g}, even if none of them fails"
        _refuse_few(most, least, unproven=unproven, lower="rate")

    def proves(self, k: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
        """Return, elementwise, whether k successes of n seeds prove the rate."""
        return self._above(self.min_rate, np.asarray(k), np.asarray(n))

    def refutes(self, k: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
        """Return, elementwise, whether k successes of n seeds refute the rate."""
        # The failures are then proven to be more than a rate of `min_rate` allows.
        return self._above(1 - self.min_rate, np.subtract(n, k), np.asarray(n))

    def gives_up(self, k: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
        """Return, elementwise, whether the rate cannot be proven even if all other seeds succeed.

        To stop there costs nothing: it never proves less, and refutes no more often.
        """
        most = self.max_seeds
        return ~self.proves(np.asarray(k) + most - np.asarray(n), most)

    def bound(self, answer: Answer, k: int, n: int) -> float | None:
        """Return the bound on the rate that k of n seeds decided by: lower, upper, or None.

        Each side's bound is wrong with a probability of at most 1 - `confidence`.
        """
        if answer == "proven":
            return self._lower(self.min_rate, k, n)
        return 1 - self._lower(1 - self.min_rate, n - k, n) if answer == "refuted" else None

    def needed(self, failures: int) -> int:
        """Return the fewest seeds, up to `max_seeds`, that prove the rate with so many failures."""
        most, alpha = self.max_seeds, 1 - self.confidence
        return min(gate_seeds(self.min_rate, most, alpha=alpha, failures=failures), most)

    def observed(self, outcome: Outcome | EncodedOutcome) -> NDArray[np.uint8]:
        """Return uint8, shape (S,): how each seed ended."""
        return outcome.status

    def further(self, status: NDArray[np.uint8], n: int) -> int:
        """Return how many more seeds, at least, can prove the rate."""
        return max(self.needed(int(np.sum(status != Status.SOLVED))) - n, 1)

    def decide(self, status: NDArray[np.uint8]) -> tuple[Answer | None, int]:
        """Return the answer by seeds in their order, and how many of them count.

        Those behind the deciding one do not: the answer must not depend on how many are trained at
        a time. The answer is None while more seeds are needed.
        """
        k, n = np.cumsum(status == Status.SOLVED), np.arange(1, len(status) + 1)
        return decided(self.proves(k, n), self.refutes(k, n), self.gives_up(k, n))

    def verdict(
        self,
        point: Point,
        status: NDArray[np.uint8],
        *,
        seeds: NDArray[np.int64] | None = None,
        failed: Mapping[int, str] = MappingProxyType({}),
        void: Mapping[int, str] = MappingProxyType({}),
        own: bool = False,
    ) -> Verdict:
        """Return the verdict on a config by seeds in their order, which must decide.

        Args:
            point: the config.
            status: uint8, shape (S,): of the seeds.
            seeds: int64, shape (S,): the seeds; those from `first_seed` on if not given.
            void: by seed, why seeds could not be tried; those that count nevertheless are left out.
            failed: by seed, why it failed.
            own: whether a training of the user's own made them.
        """
        answer, n = self.decide(status)
        assert answer is not None
        if seeds is None:
            seeds = np.arange(self.first_seed, self.first_seed + n)
        crashed, last = seeds[:n][status[:n] == Status.CRASHED], int(seeds[:n].max())
        passed_over = _passed_over(seeds[:n], void)
        many = "seed that" if len(passed_over) == 1 else "seeds that"
        without = f"{len(passed_over)} {many} could not be tried"
        described = f"seeds {self.first_seed} to {last} without {without}"
        return _verdict(
            answer,
            point,
            status[:n],
            1 - self.confidence,
            bound=self.bound(answer, int(np.sum(status[:n] == Status.SOLVED)), n),
            most=self.max_seeds,
            min_rate=self.min_rate,
            confidence=self.confidence,
            first_seed=self.first_seed,
            seeds=described if passed_over else None,
            void=passed_over,
            first_crash=next(((s, failed.get(s, "")) for s in crashed.tolist()), None),
            own=own,
        )

    def _line(self, rate: float) -> Boundary | None:
        """Return where a rate is proven; None for so many seeds that anytime bounds hold."""
        if self.max_seeds > MAX_SEEDS_OF_BOUNDARY:
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


@dataclass(frozen=True)
class NumberTest:
    """A test of a statistic of a number, after each seed: see `StatisticTest`.

    Attributes:
        rule: what is to be proven of which statistic, with how many seeds.
        number: the name of the number; None: the first that the training returns.
        first_seed: the others follow it.
        option: the name of the argument that has the goal, for messages.

    Raises:
        InputError: an argument is out of range, or there are too few seeds for a proof.
    """

    rule: StatisticTest
    number: str | None
    first_seed: int
    option: str

    def __post_init__(self) -> None:
        rule = self.rule
        check_goal(rule.goal, rule.limits, self.option)
        _check_seeds(rule.most, self.first_seed, 1 - rule.alpha)
        if rule.statistic.share is not None:
            check_count("max_seeds", rule.most, most=MAX_SEEDS_OF_BOUNDARY)
        best = "are as good as can be"
        if rule.limits is not None:
            best = f"have {rule.limits[1 if rule.maximize else 0]:g}"
        unproven = f"a {rule.statistic.heading} of {rule.goal:g}, even if all {best}"
        least = rule.least or MAX_SEEDS_OF_BOUNDARY + 1
        lower = f"{'lower' if rule.maximize else 'higher'} {rule.statistic.heading}"
        _refuse_few(rule.most, least, unproven=unproven, lower=lower)

    @property
    def max_seeds(self) -> int:
        """The most seeds."""
        return self.rule.most

    @property
    def confidence(self) -> float:
        """1 minus the greatest probability of a wrong answer."""
        return round(1 - self.rule.alpha, 12)

    def observed(self, outcome: Outcome | EncodedOutcome) -> NDArray[np.float64]:
        """Return float64, shape (S,): the number of each seed; NaN where it failed.

        Raises:
            InputError: no seed has a number of that name, or one is beyond the limits.
        """
        assert isinstance(outcome, Outcome)  # a user's training encodes none
        names = outcome.number_names
        if not names:
            if have_numbers(outcome.status).any():
                raise InputError(
                    "the training returns no number",
                    field="of",
                    allowed="a training that returns a number, or a dict of them",
                )
            return np.full(outcome.n, np.nan)
        if self.number is not None and self.number not in outcome.details.values:
            refuse_unknown(self.number, names, f"there is no number {self.number!r}", field="of")
        numbers = outcome.numbers(self.number)
        if self.rule.limits is not None:
            checked_numbers(numbers[np.isfinite(numbers)], self.rule.limits)
        return numbers

    def further(self, numbers: NDArray[np.float64], n: int) -> int:
        """Return how many more seeds, at least, can prove it."""
        return min(self.rule.further(numbers), self.rule.most - n)

    def decide(self, numbers: NDArray[np.float64]) -> tuple[Answer | None, int]:
        """As `SequentialTest.decide`, of the numbers of seeds in their order."""
        return self.rule.decide(numbers)

    def verdict(
        self,
        point: Point,
        numbers: NDArray[np.float64],
        *,
        seeds: NDArray[np.int64],
        failed: Mapping[int, str] = MappingProxyType({}),
        void: Mapping[int, str] = MappingProxyType({}),
        own: bool = True,  # noqa: ARG002  # as of `SequentialTest`
    ) -> NumberVerdict:
        """Return the verdict on a config by numbers of seeds in their order, which must decide."""
        rule = self.rule
        answer, n = rule.decide(numbers)
        assert answer is not None
        found = rule.interval(numbers[:n])
        lost = {seed: why for seed, why in sorted(failed.items()) if seed in seeds[:n]}
        return NumberVerdict(
            answer=answer,
            goal=rule.goal,
            maximize=rule.maximize,
            number=self.number,
            statistic=rule.statistic,
            limits=rule.limits,
            confidence=self.confidence,
            key=point.key,
            point=point,
            n=n,
            value=rule.value(numbers[:n]),
            low=found.low,
            high=found.high,
            exact=rule.exact,
            method=rule.method,
            first_seed=self.first_seed,
            most=rule.most,
            failures=int(np.isnan(numbers[:n]).sum()),
            failed=lost,
            void=_passed_over(seeds[:n], void),
        )


def checked_statistic(of: str) -> tuple[str, Statistic]:
    """The number and the statistic of a name such as `return_iqm`.

    Raises:
        InputError: the name has no statistic, or one that no test knows.
    """
    found = named_statistic(of)
    if found is None:
        meant = quantile_meant(of)
        raise InputError(
            f"{of!r} names no statistic of a number",
            field="of",
            allowed=f"the name of a number with one of {endings()}",
            fix=f"write {meant or f'{of}_mean, or {of}_iqm'}",
        )
    statistic = statistic_named(found[1])
    if not statistic.has_test:
        raise InputError(
            f"nothing bounds the {statistic.heading}", field="of", allowed="a mean or a quantile"
        )
    return found[0], statistic


def check_goal(goal: float, limits: tuple[float, float] | None, field: str) -> None:
    """Raise an InputError for what no number, or only a certain one, can reach."""
    if limits is None:
        check_number(field, goal, math.isfinite, "a number")
        return
    low, high = limits
    margin = NEAREST * (high - low)
    allowed = f"above {low:g} and below {high:g}, the bounds"
    check_number(field, goal, lambda m: low + margin < m < high - margin, allowed)


class Judgement:
    """What a test says of the seeds so far, in the order in which they count: see `SeedLine`.

    Attributes:
        test: the test.
        line: which seeds count.
        failed: by seed, why it failed.
        seeds: those that count, in their order.
        answer: by these; None while the test goes on.
        n: how many of them count for the answer.
    """

    def __init__(self, test: SequentialTest | NumberTest) -> None:
        self.test, self.line = test, SeedLine[Any](test.first_seed)
        self.failed: dict[int, str] = {}
        self.seeds: list[int] = []
        self._results: list[Any] = []
        self.answer, self.n = test.decide(self._given)

    @property
    def _given(self) -> NDArray[Any]:
        return np.array(self._results)

    @property
    def solved(self) -> int | None:
        """How many of the n seeds are solved; None of a number."""
        if isinstance(self.test, NumberTest):
            return None
        return self._results[: self.n].count(Status.SOLVED)

    def add(
        self, first: int, results: Iterable[Any], failed: Mapping[int, str] = MappingProxyType({})
    ) -> bool:
        """Add what came of consecutive seeds; return whether any seeds count from now on."""
        self.line.add(first, results)
        self.failed.update(failed)
        return self._advance()

    def pass_over(self, seed: int, why: str) -> bool:
        """As `SeedLine.pass_over`; return whether any seeds count from now on."""
        self.line.pass_over(seed, why)
        return self._advance()

    def _advance(self) -> bool:
        if counting := list(self.line.counting()):
            for seed, result in counting:
                self.seeds.append(seed)
                self._results.append(result)
            self.answer, self.n = self.test.decide(self._given)
        return bool(counting)

    def missing(self) -> range:
        """The seeds that can decide, at least; empty once the answer is known."""
        more = 0 if self.answer else self.test.further(self._given, self.n)
        return range(self.line.next, self.line.next + more)

    def verdict(self, point: Point, *, own: bool, done: str = "solved") -> Verdict | NumberVerdict:
        """The verdict on a config, once the answer is known; see `SequentialTest.verdict`."""
        void, seeds = self.line.why, np.array(self.seeds)
        verdict = self.test.verdict(
            point, self._given, seeds=seeds, failed=self.failed, void=void, own=own
        )
        return replace(verdict, done=done) if isinstance(verdict, Verdict) else verdict


def _passed_over(seeds: NDArray[np.int64], void: Mapping[int, str]) -> dict[int, str]:
    """By seed, why those that are not among the seeds up to the last one could not be tried."""
    counted, last = set(seeds.tolist()), int(seeds.max())
    return {seed: void[seed] for seed in sorted(void) if seed < last and seed not in counted}


@dataclass(frozen=True, repr=False)
class NumberVerdict(Answered):
    """The answer of a gate on a statistic of a number, with its seeds up to the decision.

    Attributes:
        answer: `proven` (the statistic of all seeds is at least `goal`, or at most), `refuted` or
            `undecided`.
        goal, maximize: at least `goal`, or with `maximize` False at most.
        number: the name of the number; None: the first that the training returns.
        statistic: of it.
        limits: what no seed's number can be below or above; None if that is not known.
        confidence: 1 minus the greatest probability of a wrong answer.
        key: key of the config.
        point: the config itself.
        n: seeds, failed ones included.
        value: the statistic of these seeds; infinite where failed ones decide it.
        low, high: the interval of the statistic of all seeds. Both ends together hold with
            `confidence`, whatever made the gate stop; of a certificate each has its own.
        exact: whether the answer holds for any distribution of the number.
        method: how it was found, in words.
        first_seed: the first of the seeds.
        most: the most seeds; None of a certificate.
        failures: how many seeds have no number: each is worse than any number.
        failed: by seed, why it failed; empty of a certificate.
        void: by seed, why it could not be tried; these are no seeds of the answer.
        this_run, twice: as of `Verdict`.
    """

    answer: Answer
    goal: float
    maximize: bool
    number: str | None
    statistic: Statistic
    limits: tuple[float, float] | None
    confidence: float
    key: str
    point: Point
    n: int
    value: float
    low: float
    high: float
    exact: bool
    method: str
    first_seed: int
    most: int | None
    failures: int
    failed: Mapping[int, str] = field(default_factory=dict)
    void: Mapping[int, str] = field(default_factory=dict)
    this_run: bool = False
    twice: str | None = field(default=None, compare=False)

    def _repr_html_(self) -> str:
        cells = {**self.point, "seeds": self.n, self.of: self.value}
        return as_html(self.line, [cells])

    @property
    def text(self) -> str:
        """The value; a dash where failed seeds decide it."""
        return estimated(self.value, self.low, self.high) if math.isfinite(self.value) else "–"

    @property
    def of(self) -> str:
        """`return_iqm`; `mean` without the name of a number."""
        return "_".join(filter(None, (self.number, self.statistic.name)))

    @property
    def line(self) -> str:
        """The answer, the statistic and the seeds, in one line, which holds with `confidence`."""
        heading = self.statistic.heading
        what = f"{heading} of {self.number}" if self.number else heading
        side, beyond = ("at least", "below") if self.maximize else ("at most", "above")
        failed = crash_text(self.failures, next(iter(self.failed.items()), None), "failed")
        failed += "" if math.isfinite(self.value) else ", which is worse than any number"
        last = self.first_seed + self.n + len(self.void) - 1
        without = f" without {len(self.void)} that could not be tried" if self.void else ""
        sure = f"confidence {self.confidence:g}{', this run only' * self.this_run}"
        sure += "" if self.exact else f", {self.method}"
        sure += f", certified config {self.key}" if self.most is None else ""
        sure += f", seeds {self.first_seed} to {last}{without}"
        seen, asked = (
            f"{self.answer}: {what} {self.text} of {self.n} seeds{failed}",
            f"{self.goal:g}",
        )
        if self.answer != "undecided":
            return f"{seen}, {side if self.passed else beyond} {asked} ({sure})"
        lacking = f"so {side} {asked} is not proven"
        if self.most is not None:
            lacking = f"so {asked} cannot be proven any more with {self.most} seeds"
        ends = f", {span(self.low, self.high)}" * math.isfinite(min(abs(self.low), abs(self.high)))
        return f"{seen}{ends}, {lacking} ({sure})"


@dataclass(frozen=True, repr=False)
class Verdict(Answered, SeedCount):
    """The answer of a gate, with its seeds up to the decision.

    A gate on a certificate trains nothing and leaves some fields None.

    Attributes:
        answer: `proven` (the rate is at least `min_rate`), `refuted` (below it) or `undecided`.
        min_rate: the requested rate.
        confidence: 1 minus the greatest probability of a wrong answer.
        key: key of the config.
        point: the config itself.
        low: lower end of the interval of the rate. Both ends together hold with `confidence`,
            whatever made the gate stop. For a certificate its lower bound.
        high: upper end; None for a certificate.
        first_seed: the first of the n consecutive seeds.
        most: the most seeds; None for a certificate.
        counts: how many of the n seeds ended in each status; None for a certificate. A training
            of the user's own lacks the statuses that only the built-in network has.
        seeds: a description of the seeds; None if they follow `first_seed`.
        this_run: whether the confidence of a certificate covers the attempts of its run only, since
            no ledger of the project counts them.
        bound: the lower bound of the rate if it is proven, the upper bound if it is refuted, None
            if it is undecided. It holds with `bound_confidence`, and lies in the interval.
        twice: two results of a seed that was trained a second time, in a sentence, if they differ;
            empty if they do not; None if none was.
        first_crash: the first seed that crashed, and why; None if none did, or if it is unknown.
        void: by seed, why seeds before the deciding one, that are in no count, could not be tried.
        done: what a successful seed is called: `solved`, or of a test `passed`.
    """

    answer: Answer
    min_rate: float
    confidence: float
    key: str
    point: Point
    low: float
    high: float | None
    first_seed: int
    most: int | None
    counts: dict[Status, int] | None
    seeds: str | None = None
    bound: float | None = None
    this_run: bool = False
    first_crash: tuple[int, str] | None = None
    twice: str | None = field(default=None, compare=False)
    void: Mapping[int, str] = field(default_factory=dict)
    done: str = "solved"

    def _repr_html_(self) -> str:
        """Show the line, the config and the statuses of the seeds in a notebook."""
        statuses = {status.label: count for status, count in (self.counts or {}).items() if count}
        cells = {**self.point, "solved": self.text, **statuses}
        return as_html(self.line, [cells])

    @property
    def bound_confidence(self) -> float:
        """The confidence of `bound`.

        Near `min_rate` either answer may be given, and the bound of each has the whole risk. So
        a bound that is shown is wrong with twice the risk. A certificate has lower bounds only.
        """
        sides = 1 if self.most is None else 2
        return round(1 - sides * (1 - self.confidence), 12)  # 0.9, not 0.8999999999999999

    @property
    def asked(self) -> str:
        """The confidence and the seeds."""
        seeds = self.seeds or f"seeds {self.first_seed} to {self.first_seed + self.n - 1}"
        return f"confidence {self.confidence:g}, {seeds}"

    @property
    def line(self) -> str:
        """The answer, the counts and the seeds, in one line, which holds with `confidence`."""
        crashed = crash_text((self.counts or {}).get(Status.CRASHED, 0), self.first_crash)
        solved = f"{self.answer}: {self.text} seeds {self.done}{crashed}"
        if self.most is None:
            relation = "at least" if self.passed else "below"
            return (
                f"{solved}, lower bound {_down(self.low)} is {relation} {self.min_rate:g} "
                f"(confidence {self.confidence:g}{', this run only' * self.this_run}, certified "
                f"config {self.key}, {self.asked.partition(', ')[2]})"
            )
        if self.bound is None:
            assert self.high is not None
            lacking = f"neither at least nor below {self.min_rate:g} for sure after {self.n} seeds"
            if self.n < self.most:
                lacking = f"{self.min_rate:g} cannot be proven any more with {self.most} seeds"
            return (
                f"{solved}, success rate {_down(self.low)} to {_up(self.high)}, so {lacking} "
                f"({self.asked})"
            )
        side = "at least" if self.passed else "below"
        return f"{solved}, success rate {side} {self.min_rate:g} ({self.asked})"


def _down(bound: float) -> str:
    return f"{rounded_down(bound, 4):.4f}"


def _up(bound: float) -> str:
    return f"{rounded_up(bound, 4):.4f}"


def gate_imported(run: Run, result: ConfigResult, *, min_rate: float, confidence: float) -> Verdict:
    """Test the success rate of a config by its imported seeds.

    It is unknown whether their number was planned and whether the config was picked by its count.
    So the bounds hold at any number of seeds and for all configs of the run together: each config
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
        first_crash=outcome.first_crash,
        own=not run.is_network,
    )


def _verdict(
    answer: Answer, point: Point, status: NDArray[np.uint8], alpha: float, *, own: bool, **more: Any
) -> Verdict:
    """Return the verdict on these statuses; `alpha` is the risk that the bounds are wrong."""
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
        counts=own_endings(counts) if own else counts,
        **more,
    )


def gate_certificate(certificate: Certificate, *, min_rate: float, key: str | None) -> Verdict:
    """Compare the lower bound of a finalist, if not given the first, with `min_rate`.

    Raises:
        InputError: an argument is out of range, or there is no such finalist.
    """
    check_share("min_rate", min_rate)
    finalist = certificate.best if key is None else certificate.finalist(key)
    assert finalist.lower_bound is not None  # the attempt is complete
    # The bound of n seeds planned for a rate equals this rate except for rounding.
    proven = finalist.lower_bound >= min_rate - 1e-12
    return Verdict(
        answer="proven" if proven else "undecided",
        min_rate=min_rate,
        confidence=certificate.confidence,
        key=finalist.key,
        point=finalist.point,
        k=finalist.k,
        n=finalist.n,
        low=finalist.lower_bound,
        high=None,
        first_seed=finalist.first,
        most=None,
        counts=None,
        bound=finalist.lower_bound if proven else None,
        this_run=bool(certificate.scope),
    )


def gate_number(
    certificate: Certificate, asked: NumberAsked, finalist: CertifiedResult
) -> NumberVerdict:
    """What the bounds of a finalist say of the claim that is asked."""
    known, goal = finalist.number, asked.goal
    assert known is not None  # the attempt is complete
    assert goal is not None
    sign = 1.0 if asked.maximize else -1.0
    against = known.high if asked.maximize else known.low
    answer: Answer = "proven" if known.worth >= sign * goal else "undecided"
    if answer != "proven" and sign * against < sign * goal:
        answer = "refuted"
    return NumberVerdict(
        answer=answer,
        goal=goal,
        maximize=asked.maximize,
        number=asked.number,
        statistic=asked.statistic,
        limits=asked.limits,
        confidence=certificate.confidence,
        key=finalist.key,
        point=finalist.point,
        n=finalist.n,
        value=known.value,
        low=known.low,
        high=known.high,
        exact=known.exact,
        method=known.method,
        first_seed=finalist.first,
        most=None,
        failures=finalist.failed,
        void=dict.fromkeys(finalist.left_out, ""),
        this_run=bool(certificate.scope),
    )
