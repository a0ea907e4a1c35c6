"""Summaries of numbers of seeds, such as accuracies: means, quantiles, bands, with intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, ndtr, stdtrit

from xortune.core.errors import InputError
from xortune.core.formats import as_html, count, estimated, plain, span
from xortune.core.plugins import installed

if TYPE_CHECKING:
    import pandas as pd

# `summary` is of the seeds that have a finite number; a crashed seed has none, so reports show how
# many seeds these are. The objective of a search covers all seeds: a failed seed is infinitely bad.

CONFIDENCE = 0.95  # of all intervals here

FEWEST_FOR_MEANS = 5
"""Means of fewer numbers have no interval: so few say little about their scatter."""

_QUANTILE = re.compile(r"q(0[1-9]|[1-9][0-9])")

Ends: TypeAlias = tuple[float, float]
"""Both ends of an interval; infinite where too few seeds leave them open."""


@dataclass(frozen=True)
class Statistic:
    """One way to sum up the numbers of seeds: tables, objectives, comparisons and gates ask it.

    Every seed counts: `estimate` and `interval` take numbers, float64 of shape (S,), that are
    finite, or infinite with one sign where seeds failed: infinitely bad. There is no NaN.

    Attributes:
        name: the ending that makes an objective of a number's name: `accuracy_q10`.
        heading: what people read.
        about: what it is, in a line.
        estimate: its value for at least one number; infinite if failed seeds decide it.
        interval: its 95 % interval; None if it has none for these numbers, which may be none.
        share: of the numbers up to a quantile, in (0, 1); None for others.
        trim: the share of numbers that a mean leaves out at each end; None for others. Without
            `share` and `trim` no test compares the statistic.
        maximize: whether more is better whatever the number is; None: as of the number.
    """

    name: str
    heading: str
    about: str
    estimate: Callable[[NDArray[np.float64]], float]
    interval: Callable[[NDArray[np.float64]], Ends | None]
    share: float | None = None
    trim: float | None = None
    maximize: bool | None = None

    @property
    def has_test(self) -> bool:
        """Whether a test compares two samples by it."""
        return self.share is not None or self.trim is not None


def known_statistics() -> tuple[Statistic, ...]:
    """The statistics that tables show of every number; those of installed packages last."""
    return installed("xortune.statistics", Statistic, STATISTICS)


def endings() -> str:
    """The endings that make an objective of a number's name, as text."""
    own = [f"_{one.name}" for one in known_statistics() if one.share in (None, 0.5)]
    return ", ".join([*own, "_q01 to _q99"])


def find_statistic(name: str) -> Statistic | None:
    """The statistic of a name: one of `known_statistics`, or q01 to q99; None without one."""
    for one in known_statistics():
        if one.name == name:
            return one
    return quantile(int(name[1:])) if _QUANTILE.fullmatch(name) else None


def statistic_named(name: str) -> Statistic:
    """As `find_statistic`.

    Raises:
        InputError: there is none.
    """
    if (found := find_statistic(name)) is None:
        known = endings().replace("_", "")
        raise InputError(f"{name!r} is no statistic", field="statistic", allowed=known)
    return found


def named_statistic(text: str) -> tuple[str, str] | None:
    """("accuracy", "q10") for `accuracy_q10`; None without one of `endings`."""
    name, _, ending = text.rpartition("_")
    return (name, ending) if name and find_statistic(ending) else None


def quantile_meant(text: str) -> str | None:
    """`accuracy_q05` for `accuracy_q5` and `accuracy_p5`; None where no quantile is meant."""
    found = re.fullmatch(r"(.+)_[qp]([0-9]{1,3})", text)
    return f"{found[1]}_q{min(max(int(found[2]), 1), 99):02}" if found else None


def finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The finite numbers."""
    return numbers[np.isfinite(numbers)]


@np.errstate(over="ignore", invalid="ignore")
def _quantile(numbers: NDArray[np.float64], share: float) -> float:
    """A quantile of all seeds; it is infinite if it falls on a failed seed or next to one."""
    known = np.isfinite(numbers)
    if known.all():
        return float(np.quantile(numbers, share))
    bad = numbers[~known].flat[0]
    sides = [np.quantile(numbers, share, method=m) for m in ("lower", "higher")]
    if not np.isfinite(sides).all():
        return float(bad)
    # Failed seeds keep their end of the order, with a finite number that can be interpolated.
    worst = numbers[known].min() if bad < 0 else numbers[known].max()
    return float(np.quantile(np.where(known, numbers, worst), share))


@np.errstate(over="ignore", invalid="ignore")  # a sum near the largest float: NaN
def _mean(numbers: NDArray[np.float64], trim: float) -> float:
    """A mean of all seeds, without a share of the numbers at each end, rounded down."""
    if not trim:
        return float(np.mean(numbers))
    from scipy.stats import trim_mean  # half a second to import

    return float(trim_mean(numbers, trim))


def quantile_interval(
    numbers: NDArray[np.float64], share: float, *, alpha: float = (1 - CONFIDENCE) / 2
) -> tuple[float, float]:
    """The interval of a quantile between two order statistics, for any distribution.

    The number of seeds below the true quantile is binomial. So each end misses the truth with a
    probability of at most `alpha`, for any distribution and any number of seeds.

    Args:
        numbers: shape (S,); may be infinite, no NaN.
        share: of the quantile, in (0, 1).
        alpha: the risk of each end; of the 95 % interval 2.5 %.

    Returns:
        (low, high). An end is infinite where no order statistic is far enough out: the 10 %
        quantile has a lower end from 36 seeds on, and an upper end from 2 on.

    Source:
        David and Nagaraja (2003), Order Statistics, section 7.1.
    """
    ordered = np.sort(numbers)
    below = np.arange(ordered.size)
    low = int((bdtr(below, ordered.size, share) <= alpha).sum()) - 1
    high = ordered.size - int((bdtrc(below, ordered.size, share) <= alpha).sum())
    return (
        float(ordered[low]) if low >= 0 else -np.inf,
        float(ordered[high]) if high < ordered.size else np.inf,
    )


def _mean_interval(
    numbers: NDArray[np.float64], trim: float, ends: Callable[[NDArray[np.float64]], Ends]
) -> Ends | None:
    """The approximate 95 % interval of a mean, whose ends a function finds among all numbers.

    No end lies beyond the smallest or the largest number. docs/statistics.md says how often it
    covers with few seeds, and what a mean needs.

    Returns:
        (low, high); None for fewer than `FEWEST_FOR_MEANS` seeds, and if squares of the numbers
        overflow. An end is infinite where failed seeds decide it: both ends of a mean as soon as
        one failed; the worse end of an interquartile mean unless a failure rate above a quarter is
        ruled out.
    """
    if numbers.size < FEWEST_FOR_MEANS:
        return None
    ordered = np.sort(numbers)
    cut = int(ordered.size * trim)
    middle = ordered[cut : ordered.size - cut]
    if not np.isfinite(middle).all():
        bad = float(ordered[~np.isfinite(ordered)][0])
        return None if trim else (bad, bad)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = ends(ordered)
        mean = float(middle.mean())
    if not math.isfinite(mean) or not (trim or math.isfinite(high - low)):
        return None
    # The mean of equal numbers may be beyond them by a rounding.
    low, high = max(low, min(ordered[0], mean)), min(high, max(ordered[-1], mean))
    if ordered[0] == -np.inf and np.isneginf(quantile_interval(ordered, trim)[0]):
        low = -np.inf
    if ordered[-1] == np.inf and np.isposinf(quantile_interval(ordered, 1 - trim)[1]):
        high = np.inf
    return float(low), float(high)


def _students(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Student's interval of a mean."""
    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    half = float(stdtrit(numbers.size - 1, (1 + CONFIDENCE) / 2)) * error
    return mean - half, mean + half


RESAMPLES, BLOCKS = 2_000, 128
"""Resamples of an interquartile mean, drawn and mirrored; of more numbers than `BLOCKS`, which is
enough for its interval, means of neighbours are drawn."""


def _resampled(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """The expanded percentile interval of an interquartile mean, by resampling the numbers.

    An end is a quantile of the interquartile means of resamples. A resample scatters less than the
    numbers do, and its quantiles are as narrow as the normal distribution's: so the level is the
    normal tail beyond sqrt(n / (n - 1)) times Student's quantile. Unlike an interval of a standard
    error, it covers where the numbers have a gap at a quartile (70 % of seeds near 1, 30 % near 0).
    The same numbers always have the same interval, and negated ones the negated interval.

    Source:
        Hesterberg (2015), What Teachers Should Know About the Bootstrap, Am. Stat. 69, 371-386,
        section 4.2. `benchmarks/interval_coverage.py resampled` compares it with others.
    """
    size = ordered.size
    starts = np.arange(min(size, BLOCKS)) * size // min(size, BLOCKS)
    drawn = _resamples(size)

    def means(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        blocks = np.add.reduceat(numbers, starts) / np.diff(starts, append=size)
        known = np.isfinite(blocks)
        found = drawn[:, known] @ blocks[known] / (size - 2 * (size // 4))
        if not known.all():  # failed seeds, all at one end
            found[drawn[:, ~known].any(axis=1)] = blocks[~known][0]
        return np.asarray(found, np.float64)

    all_means = np.sort(np.concatenate([means(ordered), -means(-ordered[::-1])]))
    wider = math.sqrt(size / (size - 1)) * stdtrit(size - 1, (1 + CONFIDENCE) / 2)
    outside = int(all_means.size * ndtr(-wider))
    return float(all_means[outside]), float(all_means[-1 - outside])


@lru_cache(maxsize=16)
def _resamples(size: int) -> NDArray[np.int32]:
    """Shape (RESAMPLES, blocks): how often each block of numbers is in the middle of a resample."""
    starts = np.arange(min(size, BLOCKS)) * size // min(size, BLOCKS)
    shares, cut = np.diff(starts, append=size) / size, size // 4
    drawn = np.random.default_rng(0).multinomial(size, shares, RESAMPLES).cumsum(axis=1)
    return np.diff(drawn.clip(cut, size - cut), axis=1, prepend=cut).astype(np.int32)


@lru_cache(maxsize=256)
def quantile(percent: int, name: str = "") -> Statistic:
    """The quantile of a share of numbers, in percent; its interval is exact."""
    share, called = percent / 100, name or f"q{percent:02}"
    return Statistic(
        called,
        name or f"{percent} % quantile",
        f"the number that {percent} % of the seeds do not exceed",
        partial(_quantile, share=share),
        lambda numbers: quantile_interval(numbers, share) if numbers.size else None,
        share=share,
    )


MEAN = Statistic(
    name="mean",
    heading="mean",
    about="the mean, with Student's interval from 5 seeds on, cut off at the extreme numbers",
    estimate=partial(_mean, trim=0.0),
    interval=partial(_mean_interval, trim=0.0, ends=_students),
    trim=0.0,
)
IQM = Statistic(
    name="iqm",
    heading="IQM",
    about="the mean of the middle half, with an interval of resamples from 5 seeds on",
    estimate=partial(_mean, trim=0.25),
    interval=partial(_mean_interval, trim=0.25, ends=_resampled),
    trim=0.25,
)

STATISTICS: tuple[Statistic, ...] = (MEAN, IQM, quantile(10), quantile(50, "median"), quantile(90))
"""xortune's own statistics, in the order of the columns of table.csv; see `known_statistics`."""


def summary(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Each known statistic of the finite numbers, by its name; NaN without any, or where infinite.

    A sum of finite numbers is infinite if it overflows.
    """
    known = finite(numbers)
    if not known.size:
        return {one.name: math.nan for one in known_statistics()}
    values = {one.name: one.estimate(known) for one in known_statistics()}
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


class Estimate(NamedTuple):
    """A statistic of the seeds, and its 95 % interval.

    Attributes:
        value: of the statistic.
        low, high: the ends of its interval; infinite where too few seeds leave them open.
    """

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        if not math.isfinite(self.high - self.low):
            open_ends = math.isinf(self.low) and math.isinf(self.high)
            value = estimated(self.value, self.low, self.high)
            return value + ("" if open_ends else f" ({span(self.low, self.high)})")
        return f"{estimated(self.value, self.low, self.high)} ({span(self.low, self.high)})"


@dataclass(frozen=True, eq=False)
class Summary:
    """A number of the seeds, summed up over those that have a finite one.

    `summary.mean`, `.iqm`, `.median` and `.quantiles` are estimates with their intervals, and
    `summary["q05"]` is any other statistic: mean, iqm, median, q01 to q99, or a package's.

    Attributes:
        name: of the number.
        n: seeds, failed ones included.
        crashed: seeds without a finite number, which are in no statistic.
        values: float64, shape (n - crashed,): the finite numbers, in the order of the seeds.
    """

    name: str
    n: int
    crashed: int
    values: NDArray[np.float64]

    def __getitem__(self, name: str) -> Estimate:
        found = statistic_named(name)
        if not self.values.size:
            return Estimate(math.nan, -math.inf, math.inf)
        low, high = found.interval(self.values) or (-math.inf, math.inf)
        return Estimate(found.estimate(self.values), low, high)

    @property
    def mean(self) -> Estimate:
        """The mean, with Student's interval from 5 seeds on, cut off at the extreme numbers."""
        return self["mean"]

    @property
    def iqm(self) -> Estimate:
        """The interquartile mean, with an interval of resamples from 5 seeds on."""
        return self["iqm"]

    @property
    def median(self) -> Estimate:
        """The median, with an interval between two of the numbers, exact for any distribution."""
        return self["median"]

    @property
    def quantiles(self) -> dict[str, Estimate]:
        """Quantiles by their names, each with an interval between two of the numbers."""
        return {name: self[name] for name in ("q10", "q25", "median", "q75", "q90")}

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The means and what else is known of numbers, then `quantiles`, by their names."""
        others = (one.name for one in known_statistics() if one.share is None)
        return {**{name: self[name] for name in others}, **self.quantiles}

    @property
    def table(self) -> pd.DataFrame:
        """A row for each statistic: its value and both ends of its interval."""
        import pandas as pd  # slow to import

        return pd.DataFrame.from_dict(
            self.estimates, orient="index", columns=["value", "low", "high"]
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON: open ends are None."""
        return {
            "name": self.name,
            "n": self.n,
            "crashed": self.crashed,
            **{
                name: [end if math.isfinite(end) else None for end in estimate]
                for name, estimate in self.estimates.items()
            },
        }

    def __repr__(self) -> str:
        return f"Summary({self})"

    def __str__(self) -> str:
        shown = ", ".join(f"{one.heading} {self[one.name]}" for one in known_statistics())
        return f"{plain(self.name)}: {shown}"

    def _repr_html_(self) -> str:
        table = self.table.reset_index(names=self.name)
        return as_html(f"{count(self.n, 'seed')}, {self.crashed:,} without a number", table)


def summed(name: str, values: NDArray[np.float64]) -> Summary:
    """The summary of numbers, shape (S,), which are NaN or infinite where a seed has none."""
    known = finite(values)
    return Summary(name, values.size, values.size - known.size, known)
