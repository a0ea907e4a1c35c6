"""Certificates: bounds for a search's finalists from fresh seeds, and certificate.json."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, refuse_unknown
from xortune.core.files import writing
from xortune.core.formats import (
    as_html,
    config_text,
    count,
    estimated,
    lower_percent,
    number,
    span,
)
from xortune.core.outcome import SeedCount, Status
from xortune.core.point import Point, Value
from xortune.core.success import has_rule
from xortune.core.trainer import is_void
from xortune.runs.evaluation import Criterion, Evaluation, NumberAsked, Purpose
from xortune.runs.manifest import as_json, provenance
from xortune.runs.store import replace_file
from xortune.stats.anytime import anytime_lower, anytime_upper
from xortune.stats.proportions import clopper_pearson_lower, clopper_pearson_upper
from xortune.stats.sequential import boundary
from xortune.stats.statistic_bounds import StatisticTest, statistic_bounds

# -------------------------------------------------------------------------------------------------
# A certificate follows from the journal alone.
#
# **The promise.** With a probability of at least `confidence`, *all* lower bounds of *all* attempts
# of an account hold together. So the bounds may choose the best finalist, and repeated attempts do
# not inflate the error: attempt a may be wrong with a share of alpha = 1 - confidence. After a
# attempts 1 / (5 a**2) of alpha is left: the first has 80 %, the second 15 %, the third 2.8 %, and
# all together less than alpha. An attempt splits its share equally over its finalists (Bonferroni).
# The shares fall slowly: the bound of 1,000 seeds without a failure is 99.68 % in attempt 1,
# 98.94 % in attempt 10, 98.60 % in attempt 30.
#
# **The account** is one of the project's ledger (`certificates.ledger`): the attempts of all runs
# of the same training and number, deleted ones included, whatever the space and the rule's limit.
# Each line of an attempt has its number there, and the project's other accounts of the same
# training, which hold by themselves. Where there is no ledger, the attempts of the run are counted,
# and the certificate says "this run only".
#
# **The bound** of a finalist is Clopper and Pearson's for the planned n. In an extendable attempt
# seeds may be added once the counts are known, so it is the anytime lower bound.
#
# **A sequence** proves one rate, finalist after finalist, in the search's order. It looks after
# every seed (`stats.sequential`), tests each finalist at the whole alpha, and goes on to the
# next only if the one before is proven. So a claim can be wrong only if the first finalist below
# the rate is "proven", which has the attempt's probability (a fixed sequence; Maurer, Hothorn and
# Lehmacher, 1995). The bound of a proven finalist is the rate. The first unproven one ends the
# sequence; its own bound, below the rate, holds too: only the first finalist below the rate can
# have a wrong bound (Hsu and Berger, 1999, JASA 94, 468-482).
#
# **Neighbours**, if measured, give each finalist a second bound: for the lowest success rate among
# the finalist and its neighbours. It is the least of their bounds, each at the finalist's own
# alpha. That alpha needs no further split: the least bound exceeds the lowest rate only if the
# bound of the configuration with this rate does (an intersection-union test; Berger, 1982,
# Technometrics 24). The second bounds hold together with the same confidence, a separate promise.
#
# **A required rate** puts finalists that are proven to reach it first, in the search's order: the
# answer is the first of them. Upper bounds, each at the finalist's own alpha, say which finalist
# does not reach it. They hold together with the same confidence, a separate promise too.
#
# **A number** without a rule is certified by its statistic: its bound on the worse side is what a
# lower bound of a rate is above, for the planned n or at every look, with the same alpha
# (`stats.statistic_bounds`, which says what holds for any distribution). The bound on the other
# side is a separate promise, too.

Bound: TypeAlias = Literal["clopper-pearson", "planned", "anytime", "sequence"]
"""`planned`: of a number, by what its `method` says."""

LEDGER = "certificates.jsonl"
"""The file of a project in which all attempts to certify are counted."""

FIRST_SHARE = 0.8
"""The share of the risk that the first attempt takes: most projects need no second one."""


@dataclass(frozen=True)
class NumberResult:
    """A statistic of a number over the fresh seeds of a configuration, and its bounds.

    Attributes:
        asked: the statistic.
        value: of it; infinite where failed seeds decide it.
        low, high: its bounds, each wrong with the same probability at most; infinite where nothing
            bounds that side.
        exact: whether they hold for any distribution.
        method: what they are, in words; of a sequence what it proves.
    """

    asked: NumberAsked
    value: float
    low: float
    high: float
    exact: bool
    method: str

    @property
    def bound(self) -> float:
        """The bound on the worse side, which is what is certified."""
        return self.low if self.asked.maximize else self.high

    @property
    def worth(self) -> float:
        """The larger the better is the bound."""
        return self.bound if self.asked.maximize else -self.bound

    @property
    def text(self) -> str:
        """The value; a dash where failed seeds decide it."""
        return estimated(self.value, self.low, self.high) if math.isfinite(self.value) else "–"

    @property
    def bound_text(self) -> str:
        """The bound, rounded to the worse side; a dash where there is none."""
        if not math.isfinite(self.bound):
            return "–"
        if self.asked.maximize:
            return span(self.bound, math.inf).partition(" to ")[0]
        return span(-math.inf, self.bound).rpartition(" to ")[2]

    def claim(self, sure: str) -> str:
        """What is proven over all seeds, with what confidence, and by which method."""
        how = f"{'exact' if self.exact else 'approximate'}: {self.method}"
        if math.isfinite(self.bound):
            return f"{sure} {self.asked.side} {self.bound_text} over all seeds ({how})"
        if (goal := self.asked.goal) is None:
            return f"nothing bounds it over all seeds ({self.method})"
        sure = f"{sure} " if math.isfinite(self.high if self.asked.maximize else self.low) else ""
        return f"{sure}{self.against} {number(goal)} over all seeds ({how})"

    @property
    def against(self) -> str:
        """Where a claim is not proven: `below`, if that is, else `not proven to be at least`."""
        if math.isfinite(self.high if self.asked.maximize else self.low):
            return "below" if self.asked.maximize else "above"
        return f"not proven to be {self.asked.side}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is infinite is None."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        known = {name: _finite(one) for name, one in ends.items()}
        return {**known, "exact": self.exact, "method": self.method}


@dataclass(frozen=True)
class Neighbour(SeedCount):
    """A finalist with one setting moved, on fresh seeds.

    Attributes:
        parameter: the one that is moved.
        value: its new value.
        key: of the configuration.
        first: its first seed; the others follow.
        number: its statistic of a number, where that is certified.
    """

    parameter: str
    value: Value
    key: str
    first: int
    number: NumberResult | None = None


@dataclass(frozen=True)
class CertifiedResult(SeedCount):
    """One finalist on fresh seeds; where a number is certified, k of n seeds have one.

    Attributes:
        key: of the configuration.
        point: the configuration.
        rank: its place in the search's order, from 1.
        search: its seeds in the search.
        first: its first fresh seed; the others follow.
        lower_bound: of the success rate; None while planned seeds are missing, and of a number.
        confidence: of this bound alone; the certificate has that of all bounds together.
        neighbours: the finalist with one setting moved; another attempt may have trained them.
        neighbourhood_bound: lower bound of the lowest success rate among it and its neighbours;
            None without neighbours, or while seeds of one are missing.
        attempt: the number of the attempt that trained its own seeds.
        upper_bound: of the success rate; None where `lower_bound` is, and of a sequence.
        left_out: of a sequence, void seeds between its first and its last one.
        number: the statistic that is certified in place of the rate; None while planned seeds are
            missing.
        search_value: the statistic in the search; None if it is infinite, and of a rate.
    """

    key: str
    point: Point
    rank: int
    search: SeedCount
    first: int
    lower_bound: float | None
    confidence: float
    neighbours: tuple[Neighbour, ...] = field(default=(), repr=False)
    neighbourhood_bound: float | None = None
    attempt: int = 1
    upper_bound: float | None = None
    left_out: tuple[int, ...] = ()
    number: NumberResult | None = None
    search_value: float | None = None

    @property
    def gap(self) -> float:
        """The search's rate minus the fresh one: the winner's curse, and chance."""
        return self.search.rate - self.rate

    @property
    def optimism(self) -> float | None:
        """By how much the statistic was better in the search; None if either is infinite."""
        if self.number is None or self.search_value is None or not math.isfinite(self.number.value):
            return None
        better = self.search_value - self.number.value
        return better if self.number.asked.maximize else -better

    @property
    def cells(self) -> tuple[str, ...]:
        """What tables show: the bound, the search, the fresh seeds; of a number also the gap."""
        if (known := self.number) is None:
            rates = (f"{one.text} {one.rate_text}" for one in (self.search, self))
            return lower_percent(self.lower_bound), *rates
        return (
            known.bound_text,
            f"{self.search_text} of {self.search.n:,}",
            f"{known.text} of {self.n:,}",
            self.optimism_text,
            f"{self.failed:,}",
        )

    @property
    def failed(self) -> int:
        """How many seeds have no number."""
        return self.n - self.k

    @property
    def seen(self) -> str:
        """`59 of 60 fresh seeds`, or `return_iqm 198 over 60 fresh seeds, 2 of them failed`."""
        seeds = count(self.n, "fresh seed")
        if self.number is None:
            return f"{self.k:,} of {seeds}"
        failed = f", {self.failed:,} of them failed" if self.failed else ""
        return f"{self.number.asked.name} {self.number.text} over {seeds}{failed}"

    @property
    def at_least(self) -> str:
        """`at least 97.12 %`, or `at least 190`; of a number to minimize `at most 3.1`."""
        if self.number is None:
            return f"at least {lower_percent(self.lower_bound)}"
        known = self.number
        if math.isfinite(known.bound) or known.asked.goal is None:
            return f"{known.asked.side} {known.bound_text}"
        return f"{known.against} {number(known.asked.goal)}"

    @property
    def is_bounded(self) -> bool:
        """Whether it has a bound, which may be an open one."""
        return self.number is not None or self.lower_bound is not None

    @property
    def said(self) -> str:
        """How a number of the search compares, in a sentence; empty where it is not known."""
        if self.number is None or self.optimism is None:
            return ""
        how = "optimism" if self.optimism >= 0 else "pessimism"
        gap = self.optimism_text.removeprefix("-")
        return f"The search said {self.search_text}, fresh seeds {self.number.text}: {how} {gap}."

    @property
    def search_text(self) -> str:
        """The search's value of a number; a dash where failed seeds decided it."""
        if self.number is None or self.search_value is None:
            return "–"
        return estimated(self.search_value, self.number.low, self.number.high)

    @property
    def optimism_text(self) -> str:
        """The difference of both values as they are shown; a dash if it is not known."""
        if self.number is None or self.optimism is None:
            return "–"
        apart = float(self.search_text) - float(self.number.text)
        better = apart if self.number.asked.maximize else -apart
        if "e" in self.number.text:
            return number(better)
        return f"{better + 0.0:.{len(self.number.text.partition('.')[2])}f}"

    @property
    def worst_neighbour(self) -> Neighbour | None:
        """The neighbour with the lowest rate, or the worst number."""

        def place(near: Neighbour) -> tuple[float, str]:
            found = near.number
            sign = 1.0 if found is None or found.asked.maximize else -1.0
            return (near.rate if found is None else sign * found.value, near.key)

        return min(self.neighbours, key=place, default=None)


@dataclass(frozen=True)
class Attempt:
    """One attempt to certify finalists.

    Attributes:
        number: from 1.
        seeds: planned for each finalist.
        bound: the kind of its lower bounds.
        confidence: of all its bounds together: 1 minus its share of alpha.
        complete: whether every finalist has all its seeds, and so has every neighbour if the
            bounds of neighbourhoods order the finalists.
        finalists: ordered by the bound of `by`, highest first, then in the search's order. Where a
            rate is required, those that are proven to reach it are first, in the search's order.
        by: the bound that orders them: each finalist's own, or that of its neighbourhood.
        fingerprints: of what trained its blocks; the run's manifest has the details.
        min_rate: the rate that a sequence proves; None for other attempts.
        required: the rate that the search requires; None where none is.
        spent: its number among the attempts whose risks are added up; see `share_of`.
        account: in the project's ledger; None if only the run's own attempts are counted.
        beside: the project's other accounts of the same training, when it began.
        asked: the statistic that is certified; None of a success rate.
    """

    number: int
    seeds: int
    bound: Bound
    confidence: float
    complete: bool
    finalists: tuple[CertifiedResult, ...] = field(repr=False)
    by: Criterion = "own"
    fingerprints: tuple[str, ...] = ()
    min_rate: float | None = None
    required: float | None = None
    spent: int = 1
    account: str | None = field(default=None, compare=False)
    beside: tuple[str, ...] = field(default=(), compare=False)
    asked: NumberAsked | None = None

    @property
    def is_sequence(self) -> bool:
        """Whether it proves one claim, finalist after finalist."""
        return self.bound == "sequence"

    @property
    def goal(self) -> float | None:
        """What a sequence proves: a rate, or a bound of a number."""
        return self.min_rate if self.asked is None else self.asked.goal

    @property
    def share(self) -> float:
        """The share of alpha that it may be wrong with."""
        return share_of(self.spent)


@dataclass(frozen=True)
class Certificate:
    """All attempts to certify finalists of one run.

    Attributes:
        confidence: with which all bounds of all attempts hold together, those of other runs in the
            same account included.
        attempts: in their order, at least one.
    """

    confidence: float
    attempts: tuple[Attempt, ...]

    def __repr__(self) -> str:
        return f"Certificate({self})"

    def __str__(self) -> str:
        return f"{self.sentence} {self.beside}".rstrip()

    @property
    def sentence(self) -> str:
        """What is proven of the best, or that nothing is."""
        if not self.finalists:
            return (
                f"Attempt {self.attempts[-1].number} to certify is not complete: the same call "
                "continues it."
            )
        best = self.best
        first = f", the first of {len(self.finalists)} finalists" * (len(self.finalists) > 1)
        named = f"{config_text(best.point, best.point) or '{}'} ({best.key}{first})"
        if (known := best.number) is not None:
            sure = f"with confidence {self.confidence:g}{self.scope}"
            return f"{named}: {best.seen}; {known.claim(sure)}. {best.said}".rstrip()
        counted = f"{best.k:,} of {best.n:,} fresh seeds."
        if best.lower_bound is None:  # a sequence that proved no rate
            return f"Nothing is proven of {named}: {counted}"
        return (
            f"{named} succeeds under at least {lower_percent(best.lower_bound)} of all seeds, with "
            f"confidence {self.confidence:g}{self.scope}: {counted}"
        )

    def about(self, asked: NumberAsked | None) -> Certificate | None:
        """The attempts that certify this statistic, or rates; None if there are none."""
        same = [one for one in self.attempts if _statistic_of(one.asked) == _statistic_of(asked)]
        return replace(self, attempts=tuple(same)) if same else None

    @property
    def scope(self) -> str:
        """What follows the confidence in a sentence: where only this run's attempts are counted."""
        return "" if all(one.account for one in self.attempts) else " (this run only)"

    @property
    def beside(self) -> str:
        """A sentence that names the account and others of the same training; empty if none are."""
        last = self.attempts[-1]
        if not last.beside:
            return ""
        others = ", ".join(f'"{name}"' for name in last.beside)
        return (
            f'The account "{last.account}" stands beside {others} of the same training: each has '
            "this confidence by itself, and all of them together have less."
        )

    def _repr_html_(self) -> str:
        """For notebooks: the sentence, and the finalists."""
        rows = [
            {**one.point, **dict(zip(self.heads, one.cells, strict=True)), "key": one.key}
            for one in self.finalists
        ]
        return as_html(str(self), rows)

    @property
    def asked(self) -> NumberAsked | None:
        """The statistic of `finalists`; None of success rates, and without finalists."""
        return None if self.latest is None else self.latest.asked

    @property
    def heads(self) -> tuple[str, ...]:
        """The headings of `CertifiedResult.cells`."""
        if (asked := self.asked) is None:
            return "rate at least", "search", "fresh seeds"
        return f"{asked.name} {asked.side}", "search", "fresh seeds", "optimism", "failed"

    @cached_property
    def latest(self) -> Attempt | None:
        """The last complete attempt; a sequence about another statistic than bounds leads none."""
        done = [attempt for attempt in self.attempts if attempt.complete]
        bounds = [attempt for attempt in done if not attempt.is_sequence]
        if not bounds or _statistic_of(done[-1].asked) == _statistic_of(bounds[-1].asked):
            return done[-1] if done else None
        return bounds[-1]

    @cached_property
    def finalists(self) -> tuple[CertifiedResult, ...]:
        """Every certified configuration with its largest bounds, in the order of `latest`.

        The bounds of all attempts hold together, so a later one takes nothing back: neither a
        configuration's own nor that of its neighbourhood, which another attempt may have measured.
        Attempts count if they are complete and the same trainer and versions as in `latest` made
        them; of equal bounds the later one is shown. None if no attempt is complete.
        """
        if (latest := self.latest) is None:
            return ()
        largest: dict[str, CertifiedResult] = {}
        around: dict[str, CertifiedResult] = {}
        for attempt in self.attempts:
            if not attempt.complete or attempt.fingerprints != latest.fingerprints:
                continue
            if _statistic_of(attempt.asked) != _statistic_of(latest.asked):
                continue
            for found in attempt.finalists:
                before = largest.get(found.key, found)
                if _worth(found) >= _worth(before):
                    largest[found.key] = found
                before = around.get(found.key, found)
                if _worth_around(found) >= _worth_around(before):
                    around[found.key] = found if found.neighbours else before
        results = [
            replace(
                found,
                neighbours=around[key].neighbours,
                neighbourhood_bound=around[key].neighbourhood_bound,
            )
            for key, found in largest.items()
        ]
        return _ordered(results, latest.by, latest.required)

    @property
    def best(self) -> CertifiedResult:
        """The first of `finalists`.

        Raises:
            InputError: no attempt is complete.
        """
        if not self.finalists:
            raise InputError(
                "no attempt to certify is finished",
                field="certificate",
                fix="run the same `xortune certify` again; it continues",
            )
        return self.finalists[0]

    def finalist(self, key: str) -> CertifiedResult:
        """The finalist with this key.

        Raises:
            InputError: there is none, or no attempt is complete.
        """
        assert self.best
        keys = [found.key for found in self.finalists]
        refuse_unknown(key, keys, f"{key!r} is not a finalist", field="key")
        return self.finalists[keys.index(key)]


def _statistic_of(asked: NumberAsked | None) -> NumberAsked | None:
    """What attempts must have in common if their bounds are of one thing."""
    return None if asked is None else replace(asked, goal=None)


def _worth(found: CertifiedResult) -> float:
    """The larger the better is what is proven."""
    return found.lower_bound or 0.0 if found.number is None else found.number.worth


def _worth_around(found: CertifiedResult) -> float:
    """As `_worth`, of a finalist and its neighbours."""
    bound, known = found.neighbourhood_bound, found.number
    if bound is None:
        return 0.0 if known is None else -math.inf
    return bound if known is None or known.asked.maximize else -bound


def share_of(attempt: int) -> float:
    """The share of alpha of attempt number a = 1, 2, ...: together all take less than 1."""
    if attempt == 1:
        return FIRST_SHARE
    before = attempt - 1  # what is left falls from 1 / before**2 to 1 / attempt**2 of the rest
    return (1 - FIRST_SHARE) * (before + attempt) / (before * attempt) ** 2


def risk_of(attempt: int, confidence: float, finalists: int) -> float:
    """The alpha of one finalist's bound: the attempt's share, split over the finalists."""
    return (1 - confidence) * share_of(attempt) / finalists


def lower_bound(k: int, n: int, *, alpha: float, bound: Bound) -> float:
    """A lower bound of the success rate for k of n seeds, wrong with probability at most alpha.

    See `clopper_pearson_lower` and `anytime_lower`.
    """
    if bound == "anytime":
        return float(anytime_lower(k, n, alpha=alpha))
    return float(clopper_pearson_lower(k, n, confidence=1 - alpha))


def upper_bound(k: int, n: int, *, alpha: float, bound: Bound) -> float:
    """An upper bound of the success rate; as `lower_bound`."""
    if bound == "anytime":
        return float(anytime_upper(k, n, alpha=alpha))
    return float(clopper_pearson_upper(k, n, confidence=1 - alpha))


def purpose_of(line: Evaluation) -> Purpose:
    """The purpose of a line of a certificate."""
    assert line.purpose is not None
    return line.purpose


def certificate_of(checks: Iterable[Evaluation]) -> Certificate | None:
    """Compute the certificate from a journal's lines; None without one.

    Args:
        checks: lines with a purpose, in the journal's order. Seeds of a block that finally produced
            no outcome count as not solved.
    """
    attempts: dict[int, list[Evaluation]] = {}
    void: list[Evaluation] = []
    for line in checks:
        if line.final:
            attempts.setdefault(purpose_of(line).attempt, []).append(line)
        elif is_void(line.error):
            void.append(line)
    if not attempts:
        return None
    confidence = min(purpose_of(line).confidence for lines in attempts.values() for line in lines)
    made = [_attempt(place, lines, void) for place, lines in sorted(attempts.items())]
    return Certificate(confidence, tuple(made))


@dataclass(frozen=True)
class SequenceStep(SeedCount):
    """The state of a sequence at one finalist: its seeds in order, up to the decision.

    Attributes:
        proven: None before the decision; False if even solving all other seeds would not prove it.
        needed: how many seeds from the first one on can prove it, at least; n after the decision.
        bound: lower bound of the rate; None before the decision.
        left_out: void seeds between the first and the last one that count.
        number: what is proven of a number, once it is decided; its `bound` is infinite if nothing
            is.
    """

    proven: bool | None
    needed: int
    bound: float | None
    left_out: tuple[int, ...] = ()
    number: NumberResult | None = None


def sequence_step(lines: Iterable[Evaluation], purpose: Purpose) -> SequenceStep:
    """The state of a sequence at a finalist, from its lines in any order.

    The seeds count in their order, those that could not be tried behind all others: whatever a seed
    gives once it is tried again, its place was known before. There one without a result is taken to
    fail where a proof is asked for, and to succeed where the sequence is given up.
    """
    assert purpose.first is not None
    if purpose.asked is not None:
        return _step_of_number(lines, purpose, purpose.asked)
    assert purpose.min_rate is not None
    rule = boundary(purpose.min_rate, purpose.seeds, risk_of(purpose.number, purpose.confidence, 1))
    most, first = int(rule.allowed[-1]), purpose.first
    order, ended, void = _in_order(lines, purpose)
    failed = {seed: not ok for seed, (ok, _) in ended.items()}
    failures = unknown = n = 0
    lost = None  # the seeds after which it is given up if all without a result fail
    proven = bound = None
    for seed in order:
        if seed not in failed and seed not in void:  # still in training
            break
        n, unknown = n + 1, unknown + (seed not in failed)
        failures += failed.get(seed, False)
        if failures + unknown <= rule.allowed[n]:
            proven, bound = True, purpose.min_rate
            break
        if lost is None and failures + unknown > most:
            lost = n
        if lost is not None and failures > most:
            proven, bound = False, rule.bound_given_up(lost)
            break
    counted = [seed for seed in order[:n] if seed in failed]
    needed = len(counted)
    if proven is None:
        least = rule.first(failures + unknown) or purpose.seeds
        needed = max(order[:least]) + 1 - first
    k, n = len(counted) - failures, len(counted)
    return SequenceStep(k, n, proven, needed, bound, _between(void, counted))


def _in_order(
    lines: Iterable[Evaluation], purpose: Purpose
) -> tuple[list[int], dict[int, tuple[bool, float]], set[int]]:
    """The seeds in the order in which they count, what is known of them, and the void ones.

    Known is whether a seed did not fail, and its number, which is 0 where none is asked.
    """
    ended, void = dict[int, tuple[bool, float]](), set[int]()
    for line in lines:
        if line.final:
            counted, numbers = _counted(line).tolist(), [0.0] * line.block.count
            if purpose.asked is not None:
                numbers = _numbers(purpose.asked, [line]).tolist()
            ended |= zip(line.block.seeds, zip(counted, numbers, strict=True), strict=True)
        elif is_void(line.error):
            void.update(line.block.seeds)
    assert purpose.first is not None
    span = range(purpose.first, purpose.first + purpose.seeds)
    return [*(seed for seed in span if seed not in void), *sorted(void)], ended, void


def _between(void: set[int], counted: Sequence[int]) -> tuple[int, ...]:
    """The void seeds between the first and the last of those that count."""
    between = range(min(counted, default=0), max(counted, default=0))
    return tuple(sorted(void.intersection(between).difference(counted)))


def _step_of_number(
    lines: Iterable[Evaluation], purpose: Purpose, asked: NumberAsked
) -> SequenceStep:
    """As `sequence_step`, of a claim about a number: see `StatisticTest`.

    Nothing is proven where a seed is beyond limits that are said to hold.
    """
    order, ended, void = _in_order(lines, purpose)
    known = list(takewhile(lambda seed: seed in ended or seed in void, order))
    numbers = {seed: amount for seed, (_, amount) in ended.items()}
    seen = np.array([numbers[seed] for seed in known if seed in numbers])
    alpha = risk_of(purpose.number, purpose.confidence, 1)
    test = test_of(asked, most=purpose.seeds, alpha=alpha)
    broken = asked.limits is not None and limits_of(asked, seen) is None
    proven, n, goal, needed = None, len(known), test.goal, purpose.seeds
    low, high = -math.inf, math.inf
    if broken:
        proven = False
    else:
        # A seed without a result fails where a proof is asked for, else it has the best number.
        best = math.inf if asked.maximize else -math.inf
        sure, last = test.decide([numbers.get(seed, asked.worst) for seed in known])
        may, given_up = test.decide([numbers.get(seed, best) for seed in known])
        if sure == "proven":
            proven, n = True, last
        elif may in ("refuted", "undecided"):
            proven, n = False, given_up
        elif len(known) < purpose.seeds:
            least = len(known) + test.further([numbers.get(seed, asked.worst) for seed in known])
            needed = max(order[: min(least, purpose.seeds)]) + 1 - order[0]
        worse = math.nextafter(goal, -best)
        if proven:
            low, high = (goal, high) if asked.maximize else (low, goal)
        elif may == "refuted":
            low, high = (low, worse) if asked.maximize else (worse, high)
    counted = [seed for seed in known[:n] if seed in numbers]
    k = sum(ended[seed][0] for seed in counted)
    found = None
    if proven is not None:
        needed, method = len(counted), f"a seed is beyond {asked.limits}" * broken or test.method
        value = value_of(asked, np.array([numbers[seed] for seed in counted]))
        found = NumberResult(asked, value, low, high, test.exact, method)
    left_out = _between(void, counted)
    return SequenceStep(k, len(counted), proven, needed, None, left_out, found)


def _attempt(place: int, lines: Sequence[Evaluation], void: Sequence[Evaluation]) -> Attempt:
    last = purpose_of(lines[-1])
    seeds = max(purpose_of(line).seeds for line in lines)
    own: dict[str, list[Evaluation]] = {}
    near: dict[str, list[Evaluation]] = {}
    for line in lines:
        by_finalist = own if purpose_of(line).kind == "certify" else near
        by_finalist.setdefault(purpose_of(line).finalist, []).append(line)
    bound: Bound = "clopper-pearson" if last.asked is None else "planned"
    bound = "anytime" if last.extendable else bound
    alpha = risk_of(last.number, last.confidence, last.finalists)
    if not last.is_sequence:
        # The lines show which neighbours have begun; the purpose has how many there will be.
        planned = max(
            (purpose_of(line).seeds for lines in near.values() for line in lines), default=0
        )
        around = {key: _neighbours(near.get(key, ()), alpha) for key in own}
        finished = sum(near.n == planned for near in chain.from_iterable(around.values()))
        measured = finished == last.neighbours > 0
        results = [
            _certified(found, seeds, alpha, bound, around=around[key], measured=measured)
            for key, found in own.items()
        ]
        complete = len(results) == last.finalists and all(found.n == seeds for found in results)
        complete = complete and (measured or last.by == "own")
    else:
        bound, alpha = "sequence", risk_of(last.number, last.confidence, 1)
        untried: dict[str, list[Evaluation]] = {}
        for line in void:
            if purpose_of(line).attempt == place:
                untried.setdefault(purpose_of(line).finalist, []).append(line)
        steps = [
            sequence_step([*found, *untried.get(key, ())], purpose_of(found[0]))
            for key, found in own.items()
        ]
        results = [
            _certified(found, seeds, alpha, bound, step=step)
            for found, step in zip(own.values(), steps, strict=True)
        ]
        proven = [step.proven for step in steps]
        complete = False in proven or (len(proven) == last.finalists and all(proven))
    return Attempt(
        number=place,
        seeds=seeds,
        bound=bound,
        confidence=1 - risk_of(last.number, last.confidence, 1),
        complete=complete,
        finalists=_ordered(results, last.by, last.required),
        by=last.by,
        fingerprints=tuple(
            sorted({line.fingerprint for line in lines if line.fingerprint is not None})
        ),
        min_rate=last.min_rate,
        required=last.required,
        spent=last.number,
        account=last.account,
        beside=last.beside or (),
        asked=last.asked,
    )


def _ordered(
    finalists: Iterable[CertifiedResult], by: Criterion, required: float | None
) -> tuple[CertifiedResult, ...]:
    """The finalists by their bounds; see `Attempt.finalists`."""

    def place(one: CertifiedResult) -> tuple[float, ...]:
        own = _worth(one)
        reaches = required is not None and own >= required
        first = own if by == "own" else _worth_around(one)
        return (not reaches, one.rank if reaches else 0, -first, -own, one.rank)

    return tuple(sorted(finalists, key=place))


def _certified(
    lines: Sequence[Evaluation],
    seeds: int,
    alpha: float,
    bound: Bound,
    *,
    step: SequenceStep | None = None,
    around: tuple[Neighbour, ...] = (),
    measured: bool = False,
) -> CertifiedResult:
    purpose = purpose_of(lines[0])
    k = sum(int(_counted(line).sum()) for line in lines)
    n = sum(line.block.count for line in lines)
    lower = least = upper = found = None
    if step is not None:
        lower, found = step.bound, step.number
        if step.n:  # otherwise only later blocks are finished so far
            k, n = step.k, step.n
    elif purpose.asked is not None:
        if n == seeds or bound == "anytime":
            found = number_result(purpose.asked, lines, alpha, anytime=bound == "anytime")
    elif n == seeds or bound == "anytime":
        lower = lower_bound(k, n, alpha=alpha, bound=bound)
        upper = upper_bound(k, n, alpha=alpha, bound=bound)
    if measured and lower is not None:
        bounds = (clopper_pearson_lower(o.k, o.n, confidence=1 - alpha) for o in around)
        least = min([lower, *map(float, bounds)])
    if measured and found is not None:
        near = [found, *(one.number for one in around if one.number is not None)]
        least = min(near, key=lambda one: one.worth).bound
    return CertifiedResult(
        key=purpose.finalist,
        point=lines[0].block.point,
        rank=purpose.rank,
        search=SeedCount(purpose.search_k, purpose.search_n),
        first=min(line.block.first for line in lines),
        attempt=purpose.attempt,
        k=k,
        n=n,
        lower_bound=lower,
        upper_bound=upper,
        confidence=1 - alpha,
        neighbours=around,
        neighbourhood_bound=least,
        left_out=() if step is None else step.left_out,
        number=found,
        search_value=purpose.search_value,
    )


def number_result(
    asked: NumberAsked, lines: Iterable[Evaluation], alpha: float, *, anytime: bool
) -> NumberResult:
    """The statistic of the seeds of these lines, and its bounds, each with this alpha.

    Limits that a seed's number contradicts bound nothing.
    """
    numbers = _numbers(asked, lines)
    found = statistic_bounds(
        numbers,
        asked.statistic,
        alpha=alpha,
        anytime=anytime,
        maximize=asked.maximize,
        limits=limits_of(asked, numbers),
    )
    value = value_of(asked, numbers)
    return NumberResult(asked, value, found.low, found.high, found.exact, found.method)


def value_of(asked: NumberAsked, numbers: NDArray[np.float64]) -> float:
    """The statistic of numbers, shape (S,); where limits are known, a failed seed is the worse."""
    limits = limits_of(asked, numbers)
    return asked.statistic.estimate(np.sort(numbers if limits is None else numbers.clip(*limits)))


def _finite(amount: float | None) -> float | None:
    return amount if amount is not None and math.isfinite(amount) else None


def test_of(asked: NumberAsked, *, most: int, alpha: float) -> StatisticTest:
    """The test of the claim that is asked, with up to so many seeds."""
    assert asked.goal is not None
    limits = limits_of(asked, np.empty(0))
    return StatisticTest(asked.statistic, asked.goal, asked.maximize, most, alpha, limits)


def limits_of(asked: NumberAsked, numbers: NDArray[np.float64]) -> tuple[float, float] | None:
    """The limits of what seeds count as; None if they are not known, or a seed is beyond them."""
    if asked.limits is None:
        return None
    low, high = asked.limits
    if asked.failed is not None:
        low, high = min(low, asked.failed), max(high, asked.failed)
    known = numbers[np.isfinite(numbers)]
    return (low, high) if ((known >= low) & (known <= high)).all() else None


def _numbers(asked: NumberAsked, lines: Iterable[Evaluation]) -> NDArray[np.float64]:
    """What each seed counts as, shape (S,), in the order of the seeds."""
    parts = [np.empty(0)]
    for line in sorted(lines, key=lambda line: line.block.first):
        failed = np.full(line.block.count, asked.worst)
        parts.append(failed if line.outcome is None else asked.numbers(line.outcome))
    return np.concatenate(parts)


def _neighbours(lines: Iterable[Evaluation], alpha: float) -> tuple[Neighbour, ...]:
    by_key: dict[str, list[Evaluation]] = {}
    for line in lines:
        by_key.setdefault(line.block.point.key, []).append(line)
    neighbours = []
    for key, own in by_key.items():
        name, point = purpose_of(own[0]).moved or "", own[0].block.point
        first, n = min(line.block.first for line in own), sum(line.block.count for line in own)
        k, asked = sum(int(_counted(line).sum()) for line in own), purpose_of(own[0]).asked
        known = None if asked is None else number_result(asked, own, alpha, anytime=False)
        neighbours.append(Neighbour(k, n, name, point.get(name), key, first, known))
    # The order must not depend on which worker finished first.
    return tuple(sorted(neighbours, key=_move))


def _move(neighbour: Neighbour) -> tuple[str, float, str]:
    value = neighbour.value if isinstance(neighbour.value, int | float) else 0.0
    return (neighbour.parameter, value, neighbour.key)


def _counted(line: Evaluation) -> NDArray[np.bool_]:
    """Shape (S,): which seeds succeeded, or where a number is certified, have one."""
    if line.outcome is None:
        return np.zeros(line.block.count, np.bool_)
    if (asked := purpose_of(line).asked) is not None:
        return np.isfinite(asked.known(line.outcome))
    return np.asarray(line.outcome.status == Status.SOLVED)


# -------------------------------------------------------------------------------------------------
# certificate.json: a certificate with all that is needed to check it.

CERTIFICATE = "certificate.json"

THIS_RUN = (
    f"The attempts that this run's journal has, and no other, because no {LEDGER} could be written "
    "in its project: whoever searches anew, or deletes a run and begins again, has the same "
    "probability to be wrong once more."
)

SEQUENCE = (
    " or, where it proves {}, wholly on each that is reached, the next only if the one "
    "before is proven"
)


def certificate_json(certificate: Certificate, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate as JSON values.

    `finalists` are all certified configurations, each with its largest bound, the attempt that has
    it, and the `earlier_attempts` before that; `attempts` are all attempts, incomplete ones
    included. `run` has the versions that made the blocks of `finalists`: the search may have had
    others.
    """
    latest = certificate.latest
    shown = latest or certificate.attempts[-1]
    has_sequence = any(one.is_sequence for one in certificate.attempts)
    sort, claim = ("lower ", "min_rate") if shown.asked is None else ("", "one claim")
    run = provenance(manifest, shown.fingerprints, shown.number)
    if not has_rule(run.get("success")):  # every seed with a number is as good
        del run["success"]
    return {
        "confidence": certificate.confidence,
        "promise": (
            f"With a probability of at least {certificate.confidence:g} all {sort}bounds of all "
            f"attempts of this {'run' if certificate.scope else 'account'} hold together. After a "
            "attempts 1 / (5 a**2) of alpha = 1 - confidence is left; an attempt spends its share "
            "equally on its finalists"
            f"{SEQUENCE.format(claim) if has_sequence else ''}; the "
            "confidence beside a bound is that of this bound by itself."
        ),
        "covers": (
            THIS_RUN
            if certificate.scope
            else f'All attempts of the account "{shown.account}" in {LEDGER} of the project, those '
            "of other and of deleted runs included, with this confidence or more. An account is "
            "what a project certifies of one training: a number, whatever the space and the limit."
            f"{certificate.beside and ' '}{certificate.beside}"
        )
        + " The seeds are drawn from the run (space, search's seed, trainer) and from what is "
        "asked (finalists, number of seeds, attempt): another run or question has other seeds, the "
        "same one the same seeds.",
        "attempt": latest.number if latest else None,
        "bound": latest.bound if latest else None,
        "by": latest.by if latest else None,
        "finalists": [
            _finalist_json(found)
            | {"earlier_attempts": _earlier(certificate, found.key, found.attempt)}
            for found in certificate.finalists
        ],
        "attempts": [
            {
                "attempt": attempt.number,
                "account": attempt.account,
                "beside": list(attempt.beside),
                "number_in_account": attempt.spent,
                "share": attempt.share,
                "seeds": attempt.seeds,
                "bound": attempt.bound,
                "confidence": attempt.confidence,
                "complete": attempt.complete,
                "by": attempt.by,
                **({} if attempt.min_rate is None else {"min_rate": attempt.min_rate}),
                **({} if attempt.asked is None else {"of": asked_json(attempt.asked)}),
                **({} if attempt.required is None else {"required": attempt.required}),
                "made": list(attempt.fingerprints),
                "finalists": [_finalist_json(found) for found in attempt.finalists],
            }
            for attempt in certificate.attempts
        ],
        "run": {
            **{name: manifest[name] for name in ("name", "task") if name in manifest},
            **run,
        },
    }


def write_certificate(
    directory: Path, certificate: Certificate, manifest: Mapping[str, Any]
) -> None:
    """Write certificate.json into a run's directory.

    Raises:
        InputError: the directory cannot be written.
    """
    content = as_json(certificate_json(certificate, manifest))
    with writing(directory / CERTIFICATE, fix=None):
        replace_file(directory / CERTIFICATE, content)


def asked_json(asked: NumberAsked) -> dict[str, Any]:
    """The statistic as JSON values."""
    values = asdict(asked)
    goal = values.pop("goal")
    return values if goal is None else values | {"min" if asked.maximize else "max": goal}


def _fresh(found: CertifiedResult | Neighbour) -> dict[str, Any]:
    """The fresh seeds of a finalist, or of a neighbour."""
    seeds = {"seeds": {"first": found.first, "count": found.n}}
    if (known := found.number) is None:
        return {**seeds, "k": found.k, "n": found.n}
    counted = {"n": found.n, "failed": found.n - found.k}
    return {known.asked.name: known.as_dict(), **seeds, **counted}


def _finalist_json(found: CertifiedResult) -> dict[str, Any]:
    return {
        "key": found.key,
        "config": found.point.as_dict(),
        "attempt": found.attempt,
        **_fresh(found),
        **({"void": list(found.left_out)} if found.left_out else {}),
        **_results_json(found),
        "neighbourhood": [
            {"parameter": near.parameter, "value": near.value, "key": near.key}
            | _fresh(near)
            | ({"rate": near.rate} if near.number is None else {})
            for near in found.neighbours
        ],
    }


def _results_json(found: CertifiedResult) -> dict[str, Any]:
    """What is proven, and how the search compares."""
    worst = found.worst_neighbour
    if found.number is not None:
        return {
            "confidence": found.confidence,
            "search_rank": found.rank,
            "search_value": found.search_value,
            "search_n": found.search.n,
            "optimism": found.optimism,
            "neighbourhood_bound": _finite(found.neighbourhood_bound),
        }
    return {
        "rate": found.rate,
        "lower_bound": found.lower_bound,
        "upper_bound": found.upper_bound,
        "confidence": found.confidence,
        "search_rank": found.rank,
        "search_k": found.search.k,
        "search_n": found.search.n,
        "search_rate": found.search.rate,
        "gap": found.gap,
        "worst_neighbour_rate": None if worst is None else worst.rate,
        "neighbourhood_lower_bound": found.neighbourhood_bound,
    }


def _earlier(certificate: Certificate, key: str, before: int) -> list[dict[str, Any]]:
    return [
        {
            "attempt": attempt.number,
            **_fresh(found),
            **({} if found.number else {"lower_bound": found.lower_bound}),
            "confidence": found.confidence,
        }
        for attempt in certificate.attempts
        if attempt.number < before
        for found in attempt.finalists
        if found.key == key
    ]
