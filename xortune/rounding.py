"""In how many decimals an estimate is shown: the same in reports, notebooks and the terminal.

A rate is shown in as many decimals of a percent as its interval supports, by the Particle Data
Group's rule for errors (Review of Particle Physics, Introduction, "Rounding"): of the interval's
half width two digits count if the first three are 100 to 354, one if they are 355 to 949, and 950
to 999 are taken for 1000. Nothing is rounded to tens of a percent, and two decimals are the most.
So 97.1 % within +-1.5 has one decimal, 100 % within 83 to 100 % none, 99.99 % within +-0.02 two.
Both ends of the interval have as many, rounded outwards. Beside a rate stands k/n, exactly.
"""

from __future__ import annotations

import math

__all__ = ["decimals", "hundredths", "places_of", "rounded_down", "rounded_up"]

MAX_DECIMALS = 2


def decimals(low: float, high: float) -> int:
    """How many decimals of a percent an interval of a rate supports; see the module's rule.

    An interval without width, of a bootstrap over equal rates, says nothing: one.
    """
    half = 50 * (high - low)
    return min(max(places_of(half), 0), MAX_DECIMALS) if half > 0 else 1


def places_of(half: float) -> int:
    """The last digit that a half width supports, in powers of a tenth; see the module's rule."""
    power = math.floor(math.log10(half))
    first_three = round(100 * half / 10.0**power)
    return (1 if first_three <= 354 else 0) - power


def rounded_down(amount: float, places: int) -> float:
    """To so many digits behind the point, and not up."""
    scale = 10.0**places
    # The inner round() undoes binary dust such as 970.0000000001.
    return math.floor(round(amount * scale, 6)) / scale


def rounded_up(amount: float, places: int) -> float:
    """To so many digits behind the point, and not down."""
    scale = 10.0**places
    return math.ceil(round(amount * scale, 6)) / scale


def hundredths(rate: float, digits: int) -> str:
    """A rate in percent, without the sign; only what is all or nothing is `100` or `0`."""
    shown, unit = f"{round(100 * rate, digits) + 0.0:.{digits}f}", 10.0**-digits  # no -0.0
    if rate < 1 and float(shown) >= 100:
        return f"> {100 - unit:.{digits}f}"
    if rate > 0 and float(shown) == 0:
        return f"< {unit:.{digits}f}"
    return shown
