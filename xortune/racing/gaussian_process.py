"""A Gaussian process of the number that a rule judges: it proposes, and knows the neighbours.

A count says whether a seed passed the limit, the number also by how much. The process learns the
mean number of each configuration, in units of its noise from the limit, and proposes where that may
be high. It only proposes: who gets seeds, and who is the best, is decided by counts.

The kernel is Matern 5/2 with a scale for each parameter (Rasmussen and Williams 2006, Gaussian
Processes for Machine Learning, eq. 4.17), fitted by its largest posterior density; the acquisition
is Thompson's sample or the expected improvement (Jones, Schonlau and Welch 1998, eq. 15).
benchmarks/README.md compares it with random proposals and TPE.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from xortune.core.numbers import statistic_named
from xortune.core.point import Value
from xortune.racing.objectives import SeedSummary, numbers_named
from xortune.spaces.model import (
    Choice,
    Fixed,
    Objective,
    Parameter,
    Range,
    SearchSpace,
    contains,
    is_number,
    number_to_learn,
)

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Floats: TypeAlias = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# Coordinates: each searched parameter is one, in [0, 1] where its values have an order, else the
# index of the value.


@dataclass(frozen=True)
class Coordinate:
    """A parameter with two values or more, as a coordinate.

    Attributes:
        parameter: which.
        levels: its values in ascending order, or the categories; None for a range.
        ordered: whether values that are close are alike.
    """

    parameter: Choice | Range
    levels: tuple[Value, ...] | None = None
    ordered: bool = True

    @cached_property
    def _ends(self) -> tuple[float, float]:
        assert isinstance(self.parameter, Range)
        ends = self.parameter.low, self.parameter.high
        low, high = np.log(ends) if self.parameter.log else ends
        return float(low), float(high)

    def has(self, point: Mapping[str, Value]) -> bool:
        """Whether a point has one of its values."""
        value = point.get(self.parameter.name)
        if self.levels is not None:
            return value is not None and contains(self.levels, value)
        assert isinstance(self.parameter, Range)
        return is_number(value) and self.parameter.low <= value <= self.parameter.high

    def coordinate(self, value: Value) -> float:
        """Of a value of the parameter."""
        if self.levels is not None:
            index = next(i for i, one in enumerate(self.levels) if contains((one,), value))
            return index / (len(self.levels) - 1) if self.ordered else index
        assert isinstance(self.parameter, Range)
        assert isinstance(value, int | float)
        low, high = self._ends
        return float(((np.log(value) if self.parameter.log else value) - low) / (high - low))

    def value(self, coordinate: float) -> Value:
        """Of a coordinate that `snapped` returned."""
        if self.levels is not None:
            return self.levels[round(coordinate * (len(self.levels) - 1 if self.ordered else 1))]
        value = float(self._number(np.array([coordinate]))[0])
        assert isinstance(self.parameter, Range)
        return round(value) if self.parameter.integer else value

    def one_hot(self, coordinates: Floats) -> Floats:
        """float64, shape (count, categories): 1 for the category of each coordinate."""
        assert self.levels is not None
        return np.asarray(coordinates[:, None] == np.arange(len(self.levels)), np.float64)

    def drawn(self, count: int, rng: np.random.Generator) -> Floats:
        """float64, shape (count,): coordinates of values that are all equally likely."""
        if self.levels is not None:
            index = rng.integers(len(self.levels), size=count).astype(np.float64)
            return index / (len(self.levels) - 1) if self.ordered else index
        assert isinstance(self.parameter, Range)
        low, high = self._ends
        margin = 0.0 if (step := self._step) is None else step / 2
        if not margin:
            return rng.random(count)
        first, last = self.parameter.low - margin, self.parameter.high + margin
        if self.parameter.log:
            first, last = np.log(first), np.log(last)
        return self.snapped((rng.uniform(first, last, count) - low) / (high - low))

    def moved(self, at: Floats, rng: np.random.Generator) -> Floats:
        """float64, shape (count,): other coordinates near these; any other category."""
        count = len(at)
        if not self.ordered:
            assert self.levels is not None
            return (at + rng.integers(1, len(self.levels), size=count)) % len(self.levels)
        near = np.clip(at + MUTATION * rng.standard_normal(count), 0, 1)
        if self.levels is not None:  # at least to the next one
            steps = len(self.levels) - 1
            there, here = np.round(near * steps), np.round(at * steps)
            aside = np.where(here == 0, 1, np.where(here == steps, -1, rng.choice([-1, 1], count)))
            return np.where(there == here, here + aside, there) / steps
        return self.snapped(near)

    def snapped(self, coordinates: Floats) -> Floats:
        """float64: the nearest coordinates of values."""
        if self._step is None:
            return np.clip(coordinates, 0.0, 1.0)
        assert isinstance(self.parameter, Range)
        low, high = self._ends
        values = self._number(coordinates)
        return ((np.log(values) if self.parameter.log else values) - low) / (high - low)

    @property
    def _step(self) -> float | None:
        assert isinstance(self.parameter, Range)
        return self.parameter.step or (1 if self.parameter.integer else None)

    def _number(self, coordinates: Floats) -> Floats:
        assert isinstance(self.parameter, Range)
        low, high = self._ends
        scaled = low + coordinates * (high - low)
        values = np.exp(scaled) if self.parameter.log else scaled
        if (step := self._step) is not None:
            values = self.parameter.low + step * np.round((values - self.parameter.low) / step)
        return np.clip(values, self.parameter.low, self.parameter.high)


MUTATION = 0.1
"""Standard deviation of a mutation, as a share of the range."""


def axes_of(parameters: Sequence[Parameter]) -> tuple[Coordinate, ...]:
    """The coordinates of a space without conditions."""
    axes: list[Coordinate] = []
    for parameter in parameters:
        if isinstance(parameter, Fixed):
            continue
        if isinstance(parameter, Range):
            if parameter.low < parameter.high:
                axes.append(Coordinate(parameter))
        elif len(parameter.values) > 1:
            numbers = sorted(filter(is_number, parameter.values))
            ordered = len(numbers) == len(parameter.values)
            axes.append(
                Coordinate(parameter, tuple(numbers) if ordered else parameter.values, ordered)
            )
    return tuple(axes)


def coordinates_of(axes: Sequence[Coordinate], point: Mapping[str, Value]) -> Floats:
    """float64, shape (axes,): of a point."""
    return np.array([axis.coordinate(point[axis.parameter.name]) for axis in axes])


# -------------------------------------------------------------------------------------------------
# What is learned: the distance of a configuration's number from the limit.

PSEUDO = 4
"""Weight of the common variance in that of a configuration, in seeds."""

BEND = 3.0
"""Distances up to so many units of noise are nearly linear, larger ones logarithmic: how far
hopeless configurations are from the limit says little about the best."""

FAILED = -BEND
"""The distance of a seed without a number."""

FEWEST_UNITS = 1e-3
"""The noise is at least this share of the spread of configurations: numbers may have none."""

FARTHEST = 1e9
"""Larger distances count as this: their logarithms are as good as equal, and squares are finite."""

UNKNOWN_NOISE = 0.3
"""The noise, as such a share, while no configuration has two seeds."""


LARGEST = 1e100
"""Larger numbers count as this: the square of a number must be one."""


@dataclass(frozen=True)
class NumberSums:
    """What is known of the numbers of C configurations; more is better.

    Attributes:
        finite: shape (C,): seeds with a number.
        value: their mean, or another statistic; anything where there is none.
        squares: the sum of squared deviations from their mean.
        failed: seeds without a number.
    """

    finite: Floats
    value: Floats
    squares: Floats
    failed: Floats


@dataclass(frozen=True)
class LearnedNumber:
    """The number that a search learns from: of each seed, and judged.

    Attributes:
        index: among `numbers_named` of the space's objectives.
        maximize: whether more is better.
        limit: that the rule compares with; None where the number is the objective.
        objective: that objective; None where a rule judges the number.
    """

    index: int
    maximize: bool
    limit: float | None = None
    objective: Objective | None = None

    @property
    def bar(self) -> float | None:
        """The limit, where more is better."""
        return None if self.limit is None else self._upward(self.limit)

    def summary(self, seen: SeedSummary) -> tuple[float, float, float, float]:
        """The attributes of `NumberSums` for one configuration."""
        numbers = np.asarray(seen.numbers[self.index], np.float64)
        if self.objective is not None and self.objective.failed is not None:
            numbers = np.where(np.isfinite(numbers), numbers, self.objective.failed)
        there = np.clip(numbers[np.isfinite(numbers)], -LARGEST, LARGEST)
        if not len(there):
            return 0.0, 0.0, 0.0, float(len(numbers))
        statistic = "mean" if self.objective is None else self.objective.statistic or "mean"
        value = self._upward(statistic_named(statistic).estimate(np.sort(there)))
        squares = float(((there - there.mean()) ** 2).sum())
        return float(len(there)), value, squares, float(len(numbers) - len(there))

    def _upward(self, number: float) -> float:
        return number if self.maximize else -number


def learned_number(space: SearchSpace) -> LearnedNumber | None:
    """What a process learns from; None where seeds are only solved or not."""
    number = number_to_learn(space)
    if number is None or number.number is None or not axes_of(space.parameters):
        return None
    index = numbers_named(space.objectives).index(number.number)
    if number is space.objectives[0]:
        return LearnedNumber(index, number.maximize, objective=number)
    assert space.success is not None  # a rule judges it
    [limit] = space.success.limits(number.number)
    return LearnedNumber(index, number.maximize, limit.at)


def distances(numbers: NumberSums, limit: float | None) -> tuple[Floats, Floats]:
    """The warped distances from the limit in units of noise, and the variances of their errors.

    A configuration's noise is its own and, as `PSEUDO` more seeds, the common one: the weighted
    median of the variances, since some configurations may be wild. A distance u becomes
    3 asinh(u / 3), and its variance 1 / n is divided by 1 + (u / 3)^2.

    Args:
        numbers: of C configurations.
        limit: that the rule compares with; None: the largest value.

    Returns:
        Two float64 of shape (C,).
    """
    finite, failed = numbers.finite, numbers.failed
    some = finite > 0
    limit = limit if limit is not None else max(numbers.value[some], default=0.0)
    away = np.where(some, numbers.value - limit, 0.0)
    free = np.maximum(finite - 1, 0)
    spread = _spread(away[some])
    common = (UNKNOWN_NOISE * spread) ** 2
    if (repeated := free > 0).any():
        # The median of chi^2 with f degrees of freedom is about f (1 - 2 / (9 f))^3.
        f = free[repeated]
        common = _weighted_median(numbers.squares[repeated] / (f * (1 - 2 / (9 * f)) ** 3), f)
    common = max(common, (FEWEST_UNITS * spread) ** 2, np.finfo(np.float64).tiny)
    noise = np.sqrt((PSEUDO * common + np.where(some, numbers.squares, 0.0)) / (PSEUDO + free))
    units, n = np.clip(away / noise, -FARTHEST, FARTHEST), finite + failed
    mean = (finite * units + failed * FAILED) / n
    lost = (failed + PSEUDO * failed.sum() / n.sum()) / (n + PSEUDO)
    variance = (1 + lost * (1 - lost) * (units - FAILED) ** 2) / n
    return BEND * np.arcsinh(mean / BEND), variance / (1 + (mean / BEND) ** 2)


def _spread(values: Floats) -> float:
    """The interquartile range, or else the whole one; 1 if all values are equal."""
    if not len(values):
        return 1.0
    quarters = float(np.subtract(*np.quantile(values, (0.75, 0.25))))
    return quarters or float(np.ptp(values)) or float(np.abs(values).max()) or 1.0


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


# -------------------------------------------------------------------------------------------------
# The process.

LENGTH = 0.3
"""The most likely scale of a parameter, times the root of their number: then distances between
points, which grow with that root, mean the same in spaces of many parameters (Hvarfner, Hellsten
and Nardi 2024, Vanilla Bayesian Optimization Performs Great in High Dimensions)."""

LENGTH_SPREAD = 1.0
"""Standard deviation of the logarithm of a scale."""

NUGGET = 0.05
"""The most likely variance of what no smooth function explains, as a share of all variance."""

FITTED_CONFIGS = 48
"""Maximum configurations from which scales are fitted; more find no better ones, and take long."""

KNOWN_CONFIGS = 500
"""Maximum configurations that a proposal uses."""

FIT_STEPS = 8
"""Maximum steps of the fit; 25 find no better proposals."""


@dataclass(frozen=True)
class Observed:
    """Values of a function with A coordinates at C configurations.

    Attributes:
        at: float64, shape (C, A): coordinates.
        y: float64, shape (C,): values.
        errors: float64, shape (C,): variances of their errors.
    """

    at: Floats
    y: Floats
    errors: Floats

    def part(self, most: int, rng: np.random.Generator) -> Observed:
        """All, or half of `most` with the highest values and others at random."""
        if len(self.y) <= most:
            return self
        order = np.argsort(-self.y, kind="stable")
        best, rest = np.split(order, [most // 2])
        rows = np.concatenate([best, rng.permutation(rest)[: most - len(best)]])
        return Observed(self.at[rows], self.y[rows], self.errors[rows])


@dataclass(frozen=True)
class Kernel:
    """Scales of the process.

    Attributes:
        scales: float64, shape (axes,): of each coordinate.
        variance: of the function.
        nugget: the variance of what is no function of the coordinates.
    """

    scales: Floats
    variance: float
    nugget: float

    def scaled(self, axes: Sequence[Coordinate], at: Floats) -> Floats:
        """Coordinates for `between`, shape (C, features): scaled, categories as one-hot vectors."""
        columns = [
            column / scale if axis.ordered else axis.one_hot(column) / (scale * math.sqrt(2))
            for axis, column, scale in zip(axes, at.T, self.scales, strict=True)
        ]
        return np.column_stack(columns)

    def between(self, a: Floats, b: Floats) -> Floats:
        """Covariances, shape (A, B), of the function at `scaled` coordinates."""
        root = np.sqrt(5 * cdist(a, b, "sqeuclidean"))
        covariances = root * root
        covariances /= 3
        covariances += root
        covariances += 1
        covariances *= np.exp(-root)
        covariances *= self.variance
        return np.asarray(covariances)


def _gaps(axes: Sequence[Coordinate], at: Floats) -> Floats:
    """Squared differences, shape (axes, C, C); 1 between categories that differ."""
    gaps = at.T[:, :, None] - at.T[:, None, :]
    for i, axis in enumerate(axes):
        if not axis.ordered:
            gaps[i] = gaps[i] != 0
    return np.asarray(gaps**2)


@cache
def _threads() -> ThreadpoolController:
    before = dict(os.environ)
    from threadpoolctl import ThreadpoolController  # sets KMP_DUPLICATE_LIB_OK

    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    return ThreadpoolController()  # looks at all loaded libraries


def one_thread() -> AbstractContextManager[object]:
    """Compute with one thread: several, beside trainings, take many times as long for this.

    And the same seed gives the same proposals on any number of cores.
    """
    limited: AbstractContextManager[object] = _threads().limit(limits=1, user_api="blas")
    return limited


def fitted(axes: Sequence[Coordinate], known: Observed) -> Kernel:
    """The kernel of the largest posterior density, found from the most likely one a priori."""
    at, y, errors = known.at, known.y, known.errors
    n, count = at.shape
    gaps = _gaps(axes, at).reshape(count, -1)
    total = max(float(y.var()), float(errors.mean()), 1e-6)
    center = np.log([*[LENGTH * math.sqrt(count)] * count, total, NUGGET * total])
    ones = np.ones(n)

    def density(logs: Floats) -> tuple[float, Floats]:
        weights = np.exp(-2 * logs[:count])
        variance, nugget = np.exp(logs[count:])
        root = np.sqrt(5 * (weights @ gaps)).reshape(n, n)
        decay = variance * np.exp(-root)
        smooth = decay * (1 + root + root * root / 3)
        lower = cholesky(smooth + np.diag(errors + nugget), lower=True, check_finite=False)
        inverse = dpotri(lower, lower=1)[0]
        inverse += np.tril(inverse, -1).T
        sums = inverse @ ones
        rest = y - (sums @ y) / sums.sum()  # its mean is the most likely one
        pull = inverse @ rest
        off = (logs - center) / LENGTH_SPREAD
        value = rest @ pull / 2 + np.log(np.diag(lower)).sum() + off @ off / 2
        spare = inverse - np.outer(pull, pull)
        slope = (spare * decay * (1 + root)).ravel()
        gradient = np.empty(count + 2)
        gradient[:count] = (gaps @ slope) * weights * 5 / 6
        gradient[count] = (spare * smooth).sum() / 2
        gradient[count + 1] = nugget * np.trace(spare) / 2
        return float(value), gradient + off / LENGTH_SPREAD

    bounds = [(c - 5, c + 5) for c in center]
    found = minimize(
        density, center, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": FIT_STEPS}
    ).x
    return Kernel(np.exp(found[:count]), *map(float, np.exp(found[count:])))


@dataclass(frozen=True)
class LearnedProcess:
    """The process given what is known (Rasmussen and Williams 2006, eq. 2.25, 2.26, 2.38).

    Attributes:
        kernel: of the process.
        here: float64, shape (C, features): scaled coordinates of the C known configurations.
        lower: float64, shape (C, C): Cholesky factor of the covariance of what was observed.
        mean: of the process.
        pull: float64, shape (C,): the weights of covariances in an expectation.
        means: float64, shape (C,): the expected values of the known configurations.
    """

    kernel: Kernel
    here: Floats
    lower: Floats
    mean: float
    pull: Floats
    means: Floats

    @classmethod
    def of(cls, axes: Sequence[Coordinate], kernel: Kernel, known: Observed) -> LearnedProcess:
        """Of a kernel and what is known."""
        y, here = known.y, kernel.scaled(axes, known.at)
        diagonal = known.errors + kernel.nugget
        cover = kernel.between(here, here) + np.diag(diagonal)
        lower = cholesky(cover, lower=True, check_finite=False)
        solved = cho_solve((lower, True), np.column_stack([np.ones(len(y)), y]), check_finite=False)
        mean = float(solved[:, 1].sum() / solved[:, 0].sum())
        pull = solved[:, 1] - mean * solved[:, 0]
        return cls(kernel, here, lower, mean, pull, y - diagonal * pull)

    def expected(self, there: Floats) -> tuple[Floats, Floats]:
        """At N `scaled` coordinates: expected values, shape (N,), and what lowers covariances.

        The covariance of two of them is that of the kernel less the product of their columns in the
        second array, of shape (C, N).
        """
        across = self.kernel.between(self.here, there)
        half = solve_triangular(self.lower, across, lower=True, check_finite=False)
        return self.mean + self.pull @ across, np.asarray(half)


def success_rates(axes: Sequence[Coordinate], known: Observed, at: Floats) -> Floats:
    """The expected shares of seeds above the limit, shape (N,), at N coordinates.

    A seed's number is the configuration's with normal noise of one unit, so the share is Phi(u) of
    a distance u. Of one that is not known exactly, with standard error s, it is
    Phi(u / sqrt(1 + s^2)) (Rasmussen and Williams 2006, eq. 3.82). A configuration that was never
    trained differs from the smooth function by the nugget, too.
    """
    rng = np.random.default_rng(0)
    with one_thread():
        kernel = fitted(axes, known.part(FITTED_CONFIGS, rng))
        learned = LearnedProcess.of(axes, kernel, known.part(KNOWN_CONFIGS, rng))
        warped, half = learned.expected(kernel.scaled(axes, at))
    variance = np.maximum(kernel.variance - (half**2).sum(axis=0), 0.0) + kernel.nugget
    units, slope = BEND * np.sinh(warped / BEND), np.cosh(warped / BEND)
    return np.asarray(ndtr(units / np.sqrt(1 + variance * slope**2)))


# -------------------------------------------------------------------------------------------------
# Proposals.

DRAWN, MUTATED = 200, 100
"""Candidates from the whole space, and mutations of good configurations."""

MUTATED_CONFIGS = 10
"""Configurations that are mutated, the ones of the highest mean."""

NEGLIGIBLE_IMPROVEMENT = 0.1
"""An expected improvement, in units of noise, that no proposal is made for."""

SAMPLED = 128
"""Candidates of which a sample is drawn: the others are hardly ever the highest of all."""

JITTER = 1e-6
"""Share of the variance added to a sample's covariance, which rounding may leave indefinite."""


def proposed(
    axes: Sequence[Coordinate],
    kernel: Kernel,
    known: Observed,
    taken: set[bytes],
    rng: np.random.Generator,
) -> Floats | None:
    """The coordinates to try next, shape (axes,); None if all candidates are taken.

    Args:
        axes: of the space.
        kernel: of the process.
        known: what it knows.
        taken: `places` of configurations that were proposed.
        rng: draws the candidates, and Thompson's sample.
    """
    learned = LearnedProcess.of(axes, kernel, known)
    means = learned.means
    candidates = _candidates(
        axes, known.at[np.argsort(-means, kind="stable")[:MUTATED_CONFIGS]], rng
    )
    candidates = candidates[[one not in taken for one in places(candidates)]]
    if not len(candidates):
        return None
    there = kernel.scaled(axes, candidates)
    expected, half = learned.expected(there)
    spread = np.sqrt(np.maximum(kernel.variance - (half**2).sum(axis=0), JITTER))
    ahead = (expected - means.max()) / spread
    score = spread * (ahead * ndtr(ahead) + np.exp(-(ahead**2) / 2) / math.sqrt(2 * math.pi))
    if score.max() < NEGLIGIBLE_IMPROVEMENT:
        return None
    if rng.random() < 0.5:
        likely = np.argsort(-(expected + 2 * spread), kind="stable")[:SAMPLED]
        candidates, there, half = candidates[likely], there[likely], half[:, likely]
        joint = kernel.between(there, there) - half.T @ half
        joint[np.diag_indices_from(joint)] += JITTER * kernel.variance
        root = cholesky(joint, lower=True, check_finite=False)
        score = expected[likely] + root @ rng.standard_normal(len(likely))
    return np.asarray(candidates[int(np.argmax(score))])


def places(coordinates: Floats) -> list[bytes]:
    """For each row the same bytes if it is equal up to rounding."""
    return [row.tobytes() for row in np.round(coordinates, 9) + 0.0]  # -0.0 becomes 0.0


def _candidates(axes: Sequence[Coordinate], good: Floats, rng: np.random.Generator) -> Floats:
    drawn = np.column_stack([axis.drawn(DRAWN, rng) for axis in axes])
    parents = good[rng.integers(len(good), size=MUTATED)]
    moves = rng.random((MUTATED, len(axes))) < max(1 / len(axes), 0.3)
    moves[np.arange(MUTATED), rng.integers(len(axes), size=MUTATED)] = True
    others = np.column_stack([axis.moved(parents[:, i], rng) for i, axis in enumerate(axes)])
    return np.vstack([drawn, np.where(moves, others, parents)])
