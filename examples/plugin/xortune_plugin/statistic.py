"""A statistic: the mean without a tenth of the seeds at each end."""

import numpy as np
from scipy.stats import t, trim_mean

from xortune.core.numbers import Statistic

TRIM = 0.1


def estimate(numbers):
    """The trimmed mean of numbers of shape (S,), which are infinite where seeds failed."""
    return float(trim_mean(numbers, TRIM))


def interval(numbers):
    """Its 95 % interval by Yuen (1974); None where seeds are few or failed ones are left in it."""
    size, cut = len(numbers), int(len(numbers) * TRIM)
    ordered = np.sort(numbers)
    kept = ordered[cut : size - cut]
    if size < 5 or not np.isfinite(kept).all():
        return None
    winsorized = np.clip(ordered, kept[0], kept[-1])
    error = winsorized.std(ddof=1) * np.sqrt(size - 1) / np.sqrt(len(kept) * (len(kept) - 1))
    half = float(t.ppf(0.975, len(kept) - 1) * error)
    return estimate(numbers) - half, estimate(numbers) + half


TRIMMED = Statistic(
    name="trimmed",
    heading="trimmed mean",
    about="the mean without a tenth of the seeds at each end",
    estimate=estimate,
    interval=interval,
)
