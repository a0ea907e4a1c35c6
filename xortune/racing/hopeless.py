"""Hopeless seeds end early: the band is learned from the seeds of the search, and it is audited.

A seed leaves the band if its reports are, at any look, lower than those of nearly all seeds that
succeeded. How low is decided for the whole curve, so that many looks are no more risk than one:

- The *depth* of a curve is its worst rank over all looks, as a share of the curves of seeds that
  succeeded, without itself. Below all of them a rank goes on falling, by the distance.
- A seed leaves if its depth is below a threshold: the greatest one at which (1) by a conformal
  p-value at most `false_stops` of the seeds that succeed leave, and (2) at most that share of the
  seeds that leave would have succeeded, by an upper bound for their counts so far. Looks before the
  one that saves the most are left out.
- The bounds add the next seed that succeeds: it may leave, though none has. It counts as its rank
  there, which falls with the distance, where seeds are compared with their own configuration, most
  failed ones leave, and the band lies below all that succeeded. So a dozen failed seeds are enough
  where they are a group of their own, far away; above a hundred are needed elsewhere.
- Configurations differ in pace. So a curve is compared by its distance to the median of those seeds
  of its configuration that succeeded, where there are more than `OWN_SOLVED`; the distances of all
  such configurations are one sample. Seeds of the others are compared as they are, with all seeds.
- *Audit*: a share of the seeds that leave, drawn by a hash, is trained on. What becomes of them
  stands for those that were stopped: each counts as often as the share says. So a kind of seed that
  is stopped wrongly, one that succeeds late, say, is seen, and the band widens.

Everything here follows from the results in the order in which decisions use them.

Sources: Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World, section 2.2
(conformal p-values). Myllymäki, Mrkvička, Grabarnik, Seijo and Hahn (2017), Global envelope tests
for spatial processes, J. R. Stat. Soc. B 79, 381-404 (the extreme rank of a curve). Mrkvička,
Myllymäki, Kuronen and Narisetty (2022), New methods for multiple testing in permutation inference
for the general linear model, Stat. Med. 41, 276-297 (continuous ranks). Jin and Candès (2023),
Selection by prediction with conformal p-values, J. Mach. Learn. Res. 24(244) (condition 2). Horvitz
and Thompson (1952), J. Am. Stat. Assoc. 47, 663-685 (the weights).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import btdtria

from xortune.core.band import LOOKS, Band, reports_of, upward
from xortune.core.outcome import Details, Status, has_number
from xortune.core.success import Rule, larger_is_better
from xortune.spaces.model import StopHopeless
from xortune.stats.proportions import clopper_pearson_upper, most_of_rest

MAX_CURVES = 4096
"""Maximum number of curves that a band is learned from: the last ones."""

LEARNS_AFTER = 1.05
"""A band is learned again when the seeds it may be learned from are this many times those it was
learned from, and at once when an audited seed succeeds."""


OWN_SOLVED = 3
"""A configuration in which more seeds than this succeeded is compared with itself."""

CONFIDENCE = 0.9
"""With which condition 2 holds: of all looks and thresholds the one that seems best is chosen."""

FURTHEST = 0.1
"""The next seed that succeeds counts as at least so much of one, however far below all others."""

APART = 0.5
"""And it counts as one unless at least this share of the failed seeds leaves: then they are a group
of their own, and not the end of one that goes on where seeds succeed."""


class Curve(NamedTuple):
    """A seed that was trained to the end.

    Attributes:
        key: of its configuration.
        values: float32, shape (looks,): `band.upward` at each of `LOOKS`; NaN without a report.
        length: number of its reports.
        solved: whether it succeeded.
        weight: how many seeds it stands for: itself, and if it is audited those that were stopped.
    """

    key: str
    values: NDArray[np.float32]
    length: int
    solved: bool
    weight: float = 1.0


def fewest_solved(false_stops: float) -> int:
    """How many seeds must have succeeded before any is stopped: with fewer, none is so unlike."""
    return math.ceil(1 / false_stops - 1e-9) - 1


def curves_of(
    key: str, seeds: Iterable[int], status: NDArray[np.uint8], details: Details, band: Band
) -> list[Curve]:
    """The curves of a block that were trained to the end and have a report.

    Args:
        key: of the configuration.
        seeds: of the block.
        status: of each, a `Status`.
        details: of its outcome.
        band: any of the search, for what is looked at.
    """
    reports, found = reports_of(details, band.on), []
    left = {} if details.watched is None else details.watched.left
    for seed, ended in zip(seeds, status.tolist(), strict=True):
        if ended == Status.STOPPED or seed not in reports:
            continue
        at, numbers = reports[seed]
        values = np.full(len(LOOKS), np.nan, np.float32)
        places = np.searchsorted(LOOKS, at)
        looked = np.flatnonzero((np.take(LOOKS, places, mode="clip") == at) & has_number(numbers))
        values[places[looked]] = upward(numbers[looked], higher=band.higher)
        weight = 1 / band.audit if seed in left else 1.0
        found.append(Curve(key, values, at[-1], ended == Status.SOLVED, weight))
    return found


# -------------------------------------------------------------------------------------------------
# Depths, thresholds, limits.


@dataclass(frozen=True)
class _DepthsBelow:
    """How deep curves lie below those of the seeds that succeeded; M curves, N of these, L looks.

    Attributes:
        ordered: shape (N, L): the curves of seeds that succeeded, ascending at each look.
        gaps: shape (L,): from the lowest to the median of them.
        shares: shape (M, L): the rank of each curve among the N, without itself, as a share; below
            all of them it falls on from 1/N, and is 0 at least. Infinite without a report.
    """

    ordered: NDArray[np.float64]
    gaps: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], solved: NDArray[np.bool_]) -> _DepthsBelow:
        """The depths of these curves, shape (M, L); `solved` has shape (M,)."""
        ordered = np.sort(values[solved], axis=0)
        n, looks = ordered.shape
        with np.errstate(invalid="ignore"):
            gaps = np.nan_to_num(ordered[(n - 1) // 2] - ordered[0], nan=0.0, posinf=0.0)
        shares = np.full(values.shape, np.inf)
        others = np.maximum(n - solved, 1)
        for look in range(looks):
            column, numbers = ordered[:, look], values[:, look]
            rank = np.searchsorted(column, numbers, side="right") - solved.astype(np.float64)
            for is_own in (False, True):  # below all others
                rows = np.flatnonzero((rank < 1) & (solved == is_own))
                if rows.size and n > is_own:
                    lowest = float(column[int(is_own)])
                    rank[rows] = _beyond(lowest - numbers[rows], float(gaps[look]))
            shares[:, look] = np.where(np.isnan(numbers), np.inf, rank / others)
        return cls(ordered, gaps, shares)

    def limits(self, threshold: float, first: int) -> NDArray[np.float64]:
        """Shape (L,): a share is below the threshold where a curve is below this.

        No curve is before the look `first`.
        """
        place = threshold * len(self.ordered)
        if place > 1:
            limits = self.ordered[math.ceil(place - 1e-9) - 1].copy()
        else:
            limits = self.ordered[0] + self.gaps * math.log(place)
        limits[:first] = -np.inf
        return np.asarray(limits, np.float64)


def _beyond(below: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """The rank of numbers that are so far below all others: from 1 down to 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        steps = below / gap if gap > 0 else np.full(below.shape, np.inf)
    return np.exp(-np.nan_to_num(steps, nan=np.inf, posinf=np.inf))


@lru_cache(maxsize=MAX_CURVES)  # each look and each band asks for the same counts
def _most_wrong(failed: float, share: float) -> float:
    """Of condition 2: how many seeds that succeed may leave beside so many that fail."""
    return float(btdtria(CONFIDENCE, failed, share))


def _threshold(
    depths: NDArray[np.float64],
    solved: NDArray[np.bool_],
    weights: NDArray[np.float64],
    share: float,
    *,
    own: bool,
) -> float | None:
    """The greatest threshold that keeps both conditions of the module; None if there is none.

    Args:
        depths: shape (M,): of each seed.
        solved: which succeeded.
        weights: how many seeds each stands for.
        share: `false_stops`.
        own: whether seeds are compared with those of their own configuration.
    """
    order = np.argsort(depths, kind="stable")
    depths, solved, weights = depths[order], solved[order], weights[order]
    wrong, leaving = np.cumsum(weights * solved), np.cumsum(weights)
    # With a threshold between the depths of two seeds those up to the first one leave.
    ends = np.flatnonzero(np.append(depths[1:], np.inf) > depths)
    ends = ends[np.isfinite(depths[ends])]
    failed = np.maximum(leaving[ends] - wrong[ends], 1e-9)
    bounds = np.array([_most_wrong(one, share) for one in failed.tolist()])
    most = np.minimum(share * (1 + wrong[-1]), bounds)
    left = most - wrong[ends]  # for the next seed that succeeds
    highest = np.append(depths, 1.0)[ends + 1].clip(max=1.0)
    # Below the rank of 1 the next one counts as its rank there.
    thresholds = np.where(left >= 1, highest, np.minimum(highest, left / solved.sum()))
    is_apart = failed >= APART * (leaving[-1] - wrong[-1])
    trusted = (left >= 1) | (own & is_apart & (left >= FURTHEST))
    allowed = (thresholds > depths[ends]) & trusted
    return float(thresholds[allowed][-1]) if allowed.any() else None


@dataclass(frozen=True)
class _SeedsSeen:
    """Curves of M seeds at L looks.

    Attributes:
        reports: int64, shape (L,): of the looks.
        values: shape (M, L): a seed that succeeded before keeps its last number.
        solved, weights, lengths: shape (M,): as of a `Curve`.
    """

    reports: NDArray[np.int64]
    values: NDArray[np.float64]
    solved: NDArray[np.bool_]
    weights: NDArray[np.float64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, curves: Collection[Curve]) -> _SeedsSeen:
        lengths = np.array([curve.length for curve in curves])
        reports = np.array(LOOKS)[np.array(LOOKS) < lengths.max()]  # at the last nothing is saved
        values = np.stack([curve.values[: len(reports)] for curve in curves]).astype(np.float64)
        solved = np.array([curve.solved for curve in curves])
        for look in range(1, len(reports)):
            ended = solved & np.isnan(values[:, look])
            values[ended, look] = values[ended, look - 1]
        return cls(reports, values, solved, np.array([c.weight for c in curves]), lengths)

    def rows(self, chosen: NDArray[np.int64], values: NDArray[np.float64]) -> _SeedsSeen:
        """Some of the seeds, with other values."""
        rest = self.solved[chosen], self.weights[chosen], self.lengths[chosen]
        return _SeedsSeen(self.reports, values, *rest)

    def limits(self, share: float, *, own: bool) -> dict[int, float]:
        """The limits of a band, by report; empty if too few seeds succeeded or failed.

        The first look from which on seeds may be stopped is the one that saves the most reports.
        """
        solved, weights = self.solved, self.weights
        if weights[solved].sum() < fewest_solved(share) or solved.sum() < 2:
            return {}
        depths = _DepthsBelow.of(self.values, solved)
        most, best = 0.0, dict[int, float]()
        for first in range(len(self.reports)):
            shares = depths.shares[:, first:]
            threshold = _threshold(shares.min(axis=1), solved, weights, share, own=own)
            if threshold is None:
                continue
            leaves = (shares < threshold).any(axis=1) & ~solved
            at = self.reports[first + (shares[leaves] < threshold).argmax(axis=1)]
            if (saved := float((weights[leaves] * (self.lengths[leaves] - at)).sum())) > most:
                limits = depths.limits(threshold, first).tolist()
                pairs = zip(self.reports.tolist(), limits, strict=True)
                most, best = saved, {report: limit for report, limit in pairs if limit > -math.inf}
        return best


def _medians(solved: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The median of N curves at each look, shape (L,); and for each that of the others, (N, L)."""
    n, looks = solved.shape
    ordered = np.sort(solved, axis=0)
    place = np.argsort(np.argsort(solved, axis=0, kind="stable"), axis=0)
    middle = (n - 2) // 2
    others = np.where(place <= middle, ordered[middle + 1], ordered[middle])
    return ordered[(n - 1) // 2], others.reshape(n, looks)


class HopelessSeeds:
    """Learns bands from the seeds of a search, in the order in which decisions use their results.

    Args:
        settings: of the space.
        rule: for success, if there is one.
        draw: the search's seed.
    """

    def __init__(self, settings: StopHopeless, rule: Rule | None, draw: int) -> None:
        self._share = settings.false_stops
        higher = larger_is_better(settings.on, [rule])
        self._none = Band(settings.on, higher, settings.audit, draw)
        self._curves: deque[Curve] = deque(maxlen=MAX_CURVES)
        self._seen = self._learned = 0
        self._surprise = False  # an audited seed has succeeded since the band was learned
        self._bands: dict[str, Band] = {}  # of configurations that have their own
        self._band = self._none

    def curves_of(
        self, key: str, seeds: Iterable[int], status: NDArray[np.uint8], details: Details
    ) -> list[Curve]:
        """See `curves_of`."""
        return curves_of(key, seeds, status, details, self._none)

    def see(self, curves: Sequence[Curve]) -> None:
        """Use the results of seeds."""
        self._curves.extend(curves)
        self._seen += len(curves)
        self._surprise |= any(curve.solved and curve.weight > 1 for curve in curves)

    def band(self, key: str) -> Band:
        """The band for the next seeds of a configuration."""
        if self._surprise or self._seen > self._learned * LEARNS_AFTER:
            self._learned, self._surprise = self._seen, False
            self._learn()
        return self._bands.get(key, self._band)

    def _learn(self) -> None:
        self._band, self._bands = self._none, {}
        if not self._curves:
            return
        curves = _SeedsSeen.of(self._curves)
        self._band = replace(self._none, limits=_in_single(curves.limits(self._share, own=False)))
        rows_of: dict[str, list[int]] = {}
        for row, curve in enumerate(self._curves):
            rows_of.setdefault(curve.key, []).append(row)
        medians: dict[str, NDArray[np.float64]] = {}
        centred, chosen = np.zeros_like(curves.values), list[int]()
        for key, rows in rows_of.items():
            solved = [row for row in rows if curves.solved[row]]
            if len(solved) <= OWN_SOLVED:
                continue
            medians[key], others = _medians(curves.values[solved])
            chosen += rows
            with np.errstate(invalid="ignore"):
                centred[rows] = curves.values[rows] - medians[key]
                centred[solved] = curves.values[solved] - others
        if not chosen:
            return
        index = np.array(sorted(chosen))
        limits = curves.rows(index, centred[index]).limits(self._share, own=True)
        places = np.searchsorted(curves.reports, list(limits))
        for key, median in medians.items():
            pairs = zip(limits.items(), median[places].tolist(), strict=True)
            own = {report: limit + middle for (report, limit), middle in pairs}
            self._bands[key] = replace(self._none, limits=_in_single(own), own=True)


def _in_single(limits: Mapping[int, float]) -> dict[int, float]:
    """The limits in single precision, as numbers are compared with them."""
    return {report: float(np.float32(limit)) for report, limit in limits.items()}


# -------------------------------------------------------------------------------------------------
# The audit.


@dataclass(frozen=True)
class HopelessAudit:
    """What became of hopeless seeds that were trained on, and what stopping the others saved.

    Attributes:
        audited: hopeless seeds that were trained on.
        succeeded: those of them that succeeded.
        stopped: seeds that were stopped.
        own: those of them that left a band of their own configuration, in place of that of all.
        saved: epochs that these were not trained, or reports where epochs are not known.
        total: epochs of all seeds of the search if none had been stopped.
        asked: `false_stops`.
        unit: `epochs` or `reports`.
    """

    audited: int
    succeeded: int
    stopped: int
    own: int
    saved: int
    total: int
    asked: float
    unit: str = "epochs"

    @property
    def bound(self) -> float:
        """The share of the hopeless seeds that would have succeeded is at most this, with 95 %."""
        if not self.audited:
            return 1.0
        return float(clopper_pearson_upper(self.succeeded, self.audited))

    @property
    def most_missed(self) -> int:
        """At most so many of the stopped seeds would have succeeded, with 95 %."""
        return most_of_rest(self.succeeded, self.audited, self.stopped)

    @property
    def has_widened(self) -> bool:
        """Whether the bound passes what was asked because audited seeds succeeded.

        The band widens with each of these. Without one the bound is high if few are audited.
        """
        return self.succeeded > 0 and self.bound > self.asked

    @property
    def begins_after(self) -> int:
        """The seeds that must have succeeded before any is stopped."""
        return fewest_solved(self.asked)

    @property
    def proves_after(self) -> int:
        """The audited seeds, none of which succeeds, whose bound is what was asked."""
        return math.ceil(math.log(0.05) / math.log1p(-self.asked))
