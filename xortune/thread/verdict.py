"""What the measurements say of the claims; every verdict is computed here and stands nowhere else.

Three families are corrected by Holm, each for itself: the counts that were quoted, beside what the
posted scripts do; the same counts beside other variants; and the comparisons.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from xortune.report.format import number, percent
from xortune.stats import fisher_two_sided, holm, wilson
from xortune.stats_exact import mcnemar_two_sided
from xortune.thread.claims import AS_POSTED, Claims, Comparison, Place, Row, Variant
from xortune.thread.measure import Measured

__all__ = [
    "ALPHA",
    "Compared",
    "CurveTest",
    "Explanation",
    "Judged",
    "Verdict",
    "compare",
    "explain",
    "judge",
    "judge_curve",
]

ALPHA = 0.05


class Verdict(enum.StrEnum):
    """What is to be made of a claim."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    UNDECIDED = "cannot tell"
    NOT_TESTABLE = "not testable"


@dataclass(frozen=True)
class Judged:
    """A row, one way of measuring it, and the verdict.

    Attributes:
        row: the claim.
        variant: the way of measuring.
        k, n: seeds (or cells) that count, of so many.
        low, high: 95 % Wilson interval.
        all_zero: of the n, those with four zeros; None where nobody looked.
        stopped: of the n, those that ended at a small loss; None where nothing stops.
        p: of the two-sample test; None where there is none.
        p_holm: the same after Holm.
        verdict: what the claim comes to.
        why: in one or two sentences.
    """

    row: Row
    variant: Variant
    k: int
    n: int
    low: float
    high: float
    all_zero: int | None
    stopped: int | None
    p: float | None
    p_holm: float | None
    verdict: Verdict
    why: str

    @property
    def rate(self) -> float:
        """K / n."""
        return self.k / self.n


@dataclass(frozen=True)
class Compared:
    """Two systems on the same seeds.

    Attributes:
        place: row of the thread.
        claim: what is said.
        more, than: the two; the first is said to solve more.
        k_more, k_than: solved seeds of each.
        n: seeds.
        only_more: seeds that the first solves and the second does not.
        only_than: the other way round.
        p: exact McNemar, two-sided.
        p_holm: after Holm over all comparisons.
        verdict: consistent if the first solves more beyond chance.
    """

    place: str
    claim: str
    more: Place
    than: Place
    k_more: int
    k_than: int
    n: int
    only_more: int
    only_than: int
    p: float
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class Explanation:
    """Which of two rates a quoted count speaks for.

    Attributes:
        row: with the quoted count.
        names: the two variants.
        likelihoods: of the quoted count under each.
        all_zero: the same for the quoted all-zero count; None if there is none.
    """

    row: Row
    names: tuple[str, str]
    likelihoods: tuple[float, float]
    all_zero: tuple[float, float] | None

    @property
    def ratio(self) -> float:
        """How many times likelier the quoted count is under the first than under the second."""
        return self.likelihoods[0] / self.likelihoods[1]


@dataclass(frozen=True, eq=False)
class CurveTest:
    """The claim that a parameter matters little, tested over a curve.

    Attributes:
        best: the value with the most solved seeds.
        k_best: these.
        k_beside: those of the value that it is compared with.
        n: seeds.
        only_best: seeds that the best solves and the other does not.
        only_beside: the other way round.
        p: exact McNemar of the two.
        p_holm: after Holm over all values of the curve.
        verdict: inconsistent if the best solves more beyond chance.
    """

    best: float
    k_best: int
    k_beside: int
    n: int
    only_best: int
    only_beside: int
    p: float
    p_holm: float
    verdict: Verdict


def judge(
    claims: Claims, measured: Mapping[Place, Measured], compared: Sequence[Compared]
) -> tuple[Judged, ...]:
    """Every row with each of its variants.

    Args:
        claims: what is said.
        measured: by row and variant.
        compared: what became of the comparisons.
    """
    places = [(row, variant) for row, variant in claims.measured]
    p: dict[Place, float] = {}
    for row, variant in places:
        if row.quoted.counted:
            found = measured[row.id, variant.name]
            p[row.id, variant.name] = float(fisher_two_sided(*row.quoted.counted, found.k, found.n))
    p_holm: dict[Place, float] = {}
    for posted in (True, False):
        family = [place for place in p if (place[1] == AS_POSTED) == posted]
        p_holm |= dict(zip(family, holm([p[place] for place in family]).tolist(), strict=True))
    return tuple(
        _judged(row, variant, measured[row.id, variant.name], p=p, p_holm=p_holm, compared=compared)
        for row, variant in places
    )


def compare(claims: Claims, measured: Mapping[Place, Measured]) -> tuple[Compared, ...]:
    """The claims that one system solves more seeds than another, on the seeds that both had."""
    asked = [
        Comparison(
            place=row.number,
            claim=row.quoted.words or row.words,
            more=(row.id, AS_POSTED),
            than=(row.id, row.quoted.more_than),
        )
        for row in claims.rows
        if row.quoted.more_than
    ]
    asked += claims.comparisons
    wins, losses = np.zeros(len(asked), np.int64), np.zeros(len(asked), np.int64)
    for index, comparison in enumerate(asked):
        more, than = measured[comparison.more].solved, measured[comparison.than].solved
        wins[index] = np.count_nonzero(more & ~than)
        losses[index] = np.count_nonzero(than & ~more)
    p = mcnemar_two_sided(wins, losses) if asked else np.zeros(0)
    return tuple(
        Compared(
            comparison.place,
            comparison.claim,
            comparison.more,
            comparison.than,
            measured[comparison.more].k,
            measured[comparison.than].k,
            measured[comparison.more].n,
            int(won),
            int(lost),
            float(one),
            float(adjusted),
            _direction(more=bool(won > lost), sure=bool(adjusted < ALPHA)),
        )
        for comparison, won, lost, one, adjusted in zip(
            asked, wins, losses, p, holm(p), strict=True
        )
    )


def explain(claims: Claims, measured: Mapping[Place, Measured]) -> tuple[Explanation, ...]:
    """How likely quoted counts are under each of two variants.

    The measured rate is not known exactly: with Jeffreys' prior it is Beta(K + 1/2, N - K + 1/2)
    after K of N seeds, and a count of n further ones is beta-binomial.

    Source: Gelman et al., Bayesian Data Analysis (3rd ed., 2013), sections 2.4 and 2.8.
    """
    found = []
    for row in claims.rows:
        if row.rivals is None or row.quoted.counted is None:
            continue
        pair = [measured[row.id, name] for name in row.rivals]
        k, n = row.quoted.counted
        zeros = row.quoted.all_zero
        found.append(
            Explanation(
                row,
                row.rivals,
                (_likelihood(k, n, pair[0].k, pair[0].n), _likelihood(k, n, pair[1].k, pair[1].n)),
                None
                if zeros is None or pair[0].all_zero is None or pair[1].all_zero is None
                else (
                    _likelihood(zeros, n, pair[0].all_zero, pair[0].n),
                    _likelihood(zeros, n, pair[1].all_zero, pair[1].n),
                ),
            )
        )
    return tuple(found)


def judge_curve(
    points: Sequence[float], solved: Sequence[NDArray[np.bool_]], beside: float
) -> CurveTest:
    """Whether any value of a parameter solves more seeds than one of them.

    Args:
        points: the values.
        solved: bool, shape (S,), for each of them.
        beside: the one of `points` that the others are compared with.
    """
    counts = [int(np.count_nonzero(one)) for one in solved]
    at = list(points).index(beside)
    best = int(np.argmax(counts))
    wins = [int(np.count_nonzero(one & ~solved[at])) for one in solved]
    losses = [int(np.count_nonzero(solved[at] & ~one)) for one in solved]
    p = mcnemar_two_sided(wins, losses)
    adjusted = float(holm(p)[best])
    return CurveTest(
        points[best],
        counts[best],
        counts[at],
        len(solved[at]),
        wins[best],
        losses[best],
        float(p[best]),
        adjusted,
        Verdict.INCONSISTENT if adjusted < ALPHA else Verdict.CONSISTENT,
    )


def _likelihood(k: int, n: int, successes: int, of: int) -> float:
    return float(betabinom.pmf(k, n, successes + 0.5, of - successes + 0.5))


def _direction(*, more: bool, sure: bool) -> Verdict:
    if not sure:
        return Verdict.UNDECIDED
    return Verdict.CONSISTENT if more else Verdict.INCONSISTENT


def _judged(
    row: Row,
    variant: Variant,
    found: Measured,
    *,
    p: Mapping[Place, float],
    p_holm: Mapping[Place, float],
    compared: Sequence[Compared],
) -> Judged:
    place = (row.id, variant.name)
    verdict, text = _verdict(row, variant, found, p_holm.get(place), compared)
    low, high = wilson(found.k, found.n)
    return Judged(
        row,
        variant,
        found.k,
        found.n,
        float(low),
        float(high),
        found.all_zero,
        found.stopped,
        p.get(place),
        p_holm.get(place),
        verdict,
        f"{text} {row.because}" if variant.name == AS_POSTED else text,
    )


def _verdict(
    row: Row,
    variant: Variant,
    found: Measured,
    p_holm: float | None,
    compared: Sequence[Compared],
) -> tuple[Verdict, str]:
    """The verdict, and what it rests on in a sentence."""
    quoted = row.quoted
    if quoted.untestable is not None:
        return Verdict.NOT_TESTABLE, f"Nothing to test: {quoted.untestable}."
    if quoted.counted is not None:
        assert p_holm is not None
        verdict = Verdict.INCONSISTENT if p_holm < ALPHA else Verdict.CONSISTENT
        return verdict, (
            f"{quoted.shown} beside {percent(found.k / found.n)}: p (Holm) {number(p_holm)}."
        )
    if quoted.share is not None:
        missing = found.n - found.k if quoted.share else found.k
        if not missing:
            return Verdict.CONSISTENT, f"No exception among {found.n:,}."
        exceptions = f"{missing:,} of {found.n:,} are exceptions"
        return Verdict.INCONSISTENT, f"{exceptions}; one refutes {quoted.shown!r}."
    for one in compared:
        if one.more == (row.id, AS_POSTED) and variant.name in {AS_POSTED, one.than[1]}:
            return one.verdict, (
                f"{one.k_more:,} beside {one.k_than:,} of the same {one.n:,} seeds: McNemar's p "
                f"(Holm) {number(one.p_holm)}."
            )
    return Verdict.NOT_TESTABLE, "Nothing to test: the post compares two others."
