"""Summaries of numbers of seeds, such as accuracies: means, quantiles, bands, with intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, ndtr, stdtrit

from xortune.core.errors import InputError
from xortune.core.formats import as_html, count, estimated, plain, span

if TYPE_CHECKING:
    import pandas as pd

# `summary` is of the seeds that have a finite number; a crashed seed has none, so reports show how
# many seeds these are. The objective of a search covers all seeds: in `of_all` a failed seed is
# infinitely bad.

CONFIDENCE = 0.95  # of all intervals here

FEWEST_FOR_MEANS = 5
"""Means of fewer numbers have no interval: so few say little about their scatter."""


def _interquartile_mean(numbers: NDArray[np.float64]) -> Any:
    """The mean of the middle half; `trim_mean` cuts a whole number of seeds at each end."""
    from scipy.stats import trim_mean  # half a second to import

    return trim_mean(numbers, 0.25)


STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "iqm": _interquartile_mean,
    "q10": partial(np.quantile, q=0.1),
    "median": np.median,
    "q90": partial(np.quantile, q=0.9),
}
"""Statistic functions, keyed by column suffix."""

ENDINGS = "_mean, _iqm, _median, _q01 to _q99"
"""Endings that make an objective of a number's name."""

_QUANTILE = re.compile(r"q(0[1-9]|[1-9][0-9])")


def named_statistic(text: str) -> tuple[str, str] | None:
    """("accuracy", "q10") for `accuracy_q10`; None without one of `ENDINGS`."""
    name, _, ending = text.rpartition("_")
    known = ending in STATISTICS or _QUANTILE.fullmatch(ending) is not None
    return (name, ending) if name and known else None


def quantile_meant(text: str) -> str | None:
    """`accuracy_q05` for `accuracy_q5` and `accuracy_p5`; None where no quantile is meant."""
    found = re.fullmatch(r"(.+)_[qp]([0-9]{1,3})", text)
    return f"{found[1]}_q{min(max(int(found[2]), 1), 99):02}" if found else None


def finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The finite numbers."""
    return numbers[np.isfinite(numbers)]


# A sum near the largest float overflows: the statistic is NaN, without a warning.
@np.errstate(over="ignore", invalid="ignore")
def summary(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Each of `STATISTICS` of the finite numbers; NaN without any, or if their sum overflows."""
    known = finite(numbers)
    if not known.size:
        return dict.fromkeys(STATISTICS, math.nan)
    values = {name: float(statistic(known)) for name, statistic in STATISTICS.items()}
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


@np.errstate(over="ignore", invalid="ignore")
def of_all(numbers: NDArray[np.float64], statistic: str) -> float:
    """A statistic of all seeds, where a failed seed has an infinite number: infinitely bad.

    A mean is infinite as soon as one seed failed, the interquartile mean if more than a quarter
    failed, a quantile if it falls on a failed seed or next to one. If none failed it is that of
    `STATISTICS`.

    Args:
        numbers: float64, shape (S,), at least one: finite, or infinite with one sign; no NaN.
        statistic: mean, iqm, median, or q01 to q99.
    """
    if (share := quantile_share(statistic)) is None:
        return float(STATISTICS[statistic](numbers))
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


def quantile_interval(numbers: NDArray[np.float64], share: float) -> tuple[float, float]:
    """The 95 % interval of a quantile between two order statistics, for any distribution.

    The number of seeds below the true quantile is binomial. So each end misses the truth with a
    probability of at most 2.5 %, for any distribution and any number of seeds.

    Args:
        numbers: shape (S,), at least one; may be infinite, no NaN.
        share: of the quantile, in (0, 1).

    Returns:
        (low, high). An end is infinite where no order statistic is far enough out: the 10 %
        quantile has a lower end from 36 seeds on, and an upper end from 2 on.

    Source:
        David and Nagaraja (2003), Order Statistics, section 7.1.
    """
    ordered, tail = np.sort(numbers), (1 - CONFIDENCE) / 2
    below = np.arange(ordered.size)
    low = int((bdtr(below, ordered.size, share) <= tail).sum()) - 1
    high = ordered.size - int((bdtrc(below, ordered.size, share) <= tail).sum())
    return (
        float(ordered[low]) if low >= 0 else -np.inf,
        float(ordered[high]) if high < ordered.size else np.inf,
    )


def interval_of_all(numbers: NDArray[np.float64], statistic: str) -> tuple[float, float] | None:
    """The 95 % interval of `of_all`: exact for a quantile, approximate for a mean.

    No end lies beyond the smallest or the largest number. A quantile has `quantile_interval`, a
    mean Student's interval, cut off there, and the interquartile mean `_resampled`. The last two
    are approximate; docs/statistics.md says how often they cover with few seeds, and what a mean
    needs.

    Args:
        numbers: shape (S,), as of `of_all`.
        statistic: as of `of_all`.

    Returns:
        (low, high); None for a mean of fewer than `FEWEST_FOR_MEANS` seeds, for no seeds, and if
        squares of the numbers overflow. An end is infinite where failed seeds decide it: both ends
        of a mean as soon as one failed; the worse end of the interquartile mean unless a failure
        rate above a quarter is ruled out; an end of a quantile with too few seeds.
    """
    if (share := quantile_share(statistic)) is not None:
        return quantile_interval(numbers, share) if numbers.size else None
    if numbers.size < FEWEST_FOR_MEANS:
        return None
    ordered = np.sort(numbers)
    cut = ordered.size // 4 if statistic == "iqm" else 0
    middle = ordered[cut : ordered.size - cut]
    if not np.isfinite(middle).all():
        bad = float(ordered[~np.isfinite(ordered)][0])
        return (bad, bad) if statistic == "mean" else None
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = _resampled(ordered) if cut else _students(ordered)
        mean = float(middle.mean())
    if not math.isfinite(mean) or not (cut or math.isfinite(high - low)):
        return None
    # The mean of equal numbers may be beyond them by a rounding.
    low, high = max(low, min(ordered[0], mean)), min(high, max(ordered[-1], mean))
    if ordered[0] == -np.inf and np.isneginf(quantile_interval(ordered, 0.25)[0]):
        low = -np.inf
    if ordered[-1] == np.inf and np.isposinf(quantile_interval(ordered, 0.75)[1]):
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


class Estimate(NamedTuple):
    """A statistic of the seeds, and its 95 % interval.

    Attributes:
        value: of the statistic.
        low, high: the ends of `interval_of_all`; infinite where too few seeds leave them open.
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


SHOWN = ("mean", "iqm", "median", "q10", "q90")
"""The statistics of a `Summary` that are shown."""


@dataclass(frozen=True, eq=False)
class Summary:
    """A number of the seeds, summed up over those that have a finite one.

    `summary.mean`, `.iqm`, `.median` and `.quantiles` are estimates with their intervals, and
    `summary["q05"]` is any other statistic: mean, iqm, median, q01 to q99.

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

    def __getitem__(self, statistic: str) -> Estimate:
        if statistic not in STATISTICS and _QUANTILE.fullmatch(statistic) is None:
            known = ENDINGS.replace("_", "")
            raise InputError(f"{statistic!r} is no statistic", field="statistic", allowed=known)
        if not self.values.size:
            return Estimate(math.nan, -math.inf, math.inf)
        low, high = interval_of_all(self.values, statistic) or (-math.inf, math.inf)
        return Estimate(of_all(self.values, statistic), low, high)

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
    def table(self) -> pd.DataFrame:
        """A row for each statistic: its value and both ends of its interval."""
        import pandas as pd  # slow to import

        rows = {name: self[name] for name in ("mean", "iqm", *self.quantiles)}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])

    def as_dict(self) -> dict[str, Any]:
        """For JSON: open ends are None."""
        rows = {name: self[name] for name in ("mean", "iqm", *self.quantiles)}
        return {
            "name": self.name,
            "n": self.n,
            "crashed": self.crashed,
            **{
                statistic: [end if math.isfinite(end) else None for end in estimate]
                for statistic, estimate in rows.items()
            },
        }

    def __repr__(self) -> str:
        return f"Summary({self})"

    def __str__(self) -> str:
        shown = ", ".join(f"{TITLES.get(name, name)} {self[name]}" for name in SHOWN)
        return f"{plain(self.name)}: {shown}"

    def _repr_html_(self) -> str:
        table = self.table.reset_index(names=self.name)
        return as_html(f"{count(self.n, 'seed')}, {self.crashed:,} without a number", table)


TITLES = {"iqm": "IQM", "q10": "10 % quantile", "q90": "90 % quantile"}
"""How the statistics of a `Summary` are called where people read."""


def summed(name: str, values: NDArray[np.float64]) -> Summary:
    """The summary of numbers, shape (S,), which are NaN or infinite where a seed has none."""
    known = finite(values)
    return Summary(name, values.size, values.size - known.size, known)


def quantile_share(statistic: str) -> float | None:
    """The share of numbers up to a quantile; None for a mean."""
    if statistic in ("mean", "iqm"):
        return None
    return 0.5 if statistic == "median" else int(statistic[1:]) / 100
