"""Numbers as people read them: digits of an estimate, percentages, plain text, notebooks."""

from __future__ import annotations

import html
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from xortune.core.point import Point, Value

if TYPE_CHECKING:
    import pandas as pd

# -------------------------------------------------------------------------------------------------
# Decimals of an estimate: the same in reports, notebooks and the terminal.
#
# A rate has as many decimals of a percent as its interval supports, by the Particle Data Group's
# rule for errors (Review of Particle Physics, Introduction, "Rounding"): two digits of the
# interval's half width count if its first three digits are 100 to 354, one digit if they are 355 to
# 949, and 950 to 999 count as 1000. There are no more than two decimals, and no rounding to tens of
# a percent. So 97.1 % within +-1.5 has one decimal, 100 % within 83 to 100 % none, 99.99 % within
# +-0.02 two. Both ends of the interval have as many, rounded outwards. k/n stands beside the rate.

MAX_DECIMALS = 2


def decimals(low: float, high: float) -> int:
    """How many decimals of a percent an interval of a rate supports, by the rule above.

    One for an interval without width, as of a bootstrap over equal rates.
    """
    half = 50 * (high - low)
    return min(max(places_of(half), 0), MAX_DECIMALS) if half > 0 else 1


def places_of(half: float) -> int:
    """The last digit that a half width supports, in powers of a tenth, by the rule above."""
    power = math.floor(math.log10(half))
    first_three = round(100 * half / 10.0**power)
    return (1 if first_three <= 354 else 0) - power


def rounded_down(amount: float, places: int) -> float:
    """The amount with so many digits after the point, rounded down."""
    scale = 10.0**places
    # The inner round() removes binary noise such as 970.0000000001.
    return math.floor(round(amount * scale, 6)) / scale


def rounded_up(amount: float, places: int) -> float:
    """The amount with so many digits after the point, rounded up."""
    scale = 10.0**places
    return math.ceil(round(amount * scale, 6)) / scale


def lower_percent(bound: float | None) -> str:
    """A lower bound in percent, rounded down; `–` if there is none."""
    return "–" if bound is None else f"{100 * rounded_down(bound, 4):.2f} %"


def upper_percent(bound: float) -> str:
    """An upper bound in percent, rounded up."""
    return f"{100 * rounded_up(bound, 3):.1f} %"


def hundredths(rate: float, digits: int) -> str:
    """A rate in percent, without the sign; `100` and `0` only if it is exactly that."""
    shown, unit = f"{round(100 * rate, digits) + 0.0:.{digits}f}", 10.0**-digits  # no -0.0
    if rate < 1 and float(shown) >= 100:
        return f"> {100 - unit:.{digits}f}"
    if rate > 0 and float(shown) == 0:
        return f"< {unit:.{digits}f}"
    return shown


# -------------------------------------------------------------------------------------------------
# Numbers and values, the same in every report.

LONGEST_FRACTION, LARGE = 6, 1e6
"""Digits after the point, and the amount, above which a power of ten is written."""


def number(amount: float) -> str:
    """Three significant digits; whole numbers below a million in full."""
    if float(amount).is_integer() and abs(amount) < 1e6:
        return str(int(amount))
    return f"{amount:.3g}"


def value(given: Value) -> str:
    """A parameter's value: as in a space file, a string on one line, an int with all digits."""
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    if isinstance(given, str):
        return plain(given)
    return str(given) if isinstance(given, int) else number(given)


def percent(rate: float) -> str:
    """A share that is no estimate, with one decimal; 100 % and 0 % only if it is exactly that."""
    return f"{hundredths(rate, 1)} %"


def measured(rate: float, low: float, high: float) -> str:
    """An estimated rate with the decimals that its interval supports; see `hundredths`."""
    return f"{hundredths(rate, decimals(low, high))} %"


def interval(low: float, high: float) -> str:
    """An interval of a rate with the decimals that it supports, rounded outwards."""
    digits = decimals(low, high)
    down, up = rounded_down(low, 2 + digits), rounded_up(high, 2 + digits)
    return f"{100 * down:.{digits}f}–{100 * up:.{digits}f} %"


def estimated(amount: float, low: float | None, high: float | None) -> str:
    """An estimated number with the digits that its interval supports, in the notation of `span`.

    `number` without an interval. What lies in the interval lies in it as shown, too.
    """
    digits = _digits_of(low, high)
    if digits is not None:
        return _fixed(amount, *digits)
    if low is not None and high is not None and low <= amount <= high and math.isfinite(high - low):
        return number(low)
    end = _finite_end(low, high)
    if end is None or not math.isfinite(amount):
        return number(amount)
    return _fixed(amount, max(_places_of_one(end), _places_of_one(amount)), None)


def span(low: float | None, high: float | None) -> str:
    """An interval of a number with the digits that it supports, rounded outwards: `87 to 93`.

    Both ends have one notation, with as many decimals. A missing end is `unknown`, an infinite one
    `open`.
    """
    digits = _digits_of(low, high)
    end = _finite_end(low, high)
    if digits is None and end is not None:
        digits = _places_of_one(end), None
    elif digits is None and low is not None and high is not None and math.isfinite(high - low):
        return f"{number(low)} to {number(low)}"  # no digit tells them apart
    ends = []
    for one, outwards in ((low, rounded_down), (high, rounded_up)):
        if one is None:
            ends.append("unknown")
        elif math.isinf(one) or digits is None:
            ends.append("open" if math.isinf(one) else number(one))
        else:
            ends.append(_fixed(outwards(one, digits[0]), *digits))
    return f"{ends[0]} to {ends[1]}"


def _finite_end(low: float | None, high: float | None) -> float | None:
    """The finite end of an interval whose other end is open or missing."""
    known = [end for end in (low, high) if end is not None and math.isfinite(end)]
    return known[0] if len(known) == 1 else None


def _places_of_one(amount: float) -> int:
    """Digits after the point for three that count; of a whole part below a million all."""
    power = math.floor(math.log10(abs(amount))) if amount else 0
    return max(2 - power, 0) if abs(amount) < LARGE else 2 - power


def _digits_of(low: float | None, high: float | None) -> tuple[int, int | None] | None:
    """Digits after the point, and the power of ten that is written, or None for none.

    None without a finite interval, or if a float has fewer digits.
    """
    if low is None or high is None or not 0 < high - low < math.inf:
        return None
    places, largest = places_of((high - low) / 2), max(abs(low), abs(high))
    if places + math.log10(largest) >= 15 or abs(places) >= 300:
        return None  # beyond, digits are noise
    plain_ = places <= LONGEST_FRACTION and largest < LARGE
    return places, None if plain_ else math.floor(math.log10(largest))


def _fixed(amount: float, places: int, power: int | None) -> str:
    """The amount down to a digit: `0.034`, `12`, `340`, with a power of ten `1.2e+06`."""
    rounded = round(amount, places) + 0.0  # no -0.0
    if power is None and places <= LONGEST_FRACTION and abs(rounded) < LARGE:
        return f"{rounded:.{max(places, 0)}f}"
    if power is None:
        power = math.floor(math.log10(abs(rounded))) if rounded else -places
    return f"{Decimal(repr(rounded)).scaleb(-power):.{max(power + places, 0)}f}e{power:+03d}"


def count(amount: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def roughly(amount: float) -> str:
    """An estimated count, with two digits that count: 48,155 is `48,000`."""
    return f"{float(f'{amount:.2g}'):,.0f}"


def duration(seconds: float) -> str:
    """A time with two digits and a unit."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            amount = seconds / size
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def date(at: float) -> str:
    """Format seconds since 1970: `2026-12-01 09:30:00 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S UTC}"


def capitalized(sentence: str) -> str:
    """The sentence with a capital at its beginning."""
    return sentence[:1].upper() + sentence[1:]


def plain(text: str) -> str:
    """The text on one line, without control characters, as legal UTF-8."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def config_text(point: Point, names: Iterable[str]) -> str:
    """The named parameters that the point has: `activation Tanh, lr 0.03`."""
    return ", ".join(f"{plain(name)} {value(point[name])}" for name in names if name in point)


# -------------------------------------------------------------------------------------------------
# What a notebook shows: a sentence and a small table, as escaped HTML.


def in_notebook() -> bool:
    """Whether output goes to a Jupyter notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


FIRST_ROWS = 10
"""Maximum number of rows shown; a note counts the others."""

WIDEST = 60  # characters of a cell

_NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
"""CSS classes: MathJax 2 and 3 then leave text between $ alone."""

ENDS = {
    "rate": ("low", "high"),
    "difference": ("difference_low", "difference_high"),
}
"""Columns of estimated rates, with the columns of their intervals."""


def as_html(
    sentence: str, rows: pd.DataFrame | Sequence[Mapping[str, object]] | None = None
) -> str:
    """The sentence, and the first rows below it.

    Args:
        sentence: plain text.
        rows: columns of rates and intervals, known by their names, are shown in percent with the
            decimals that the interval supports, rounded outwards; a missing value is empty.
    """
    import pandas as pd

    parts = [f'<p class="{_NO_FORMULAS}">{html.escape(sentence)}</p>']
    if rows is not None and len(rows):
        first = pd.DataFrame(rows[:FIRST_ROWS])
        shown = first.assign(**_in_percent(first))
        with pd.option_context("display.max_colwidth", WIDEST):
            parts.append(
                shown.to_html(
                    classes=_NO_FORMULAS,
                    index=False,
                    border=0,
                    na_rep="",
                    float_format="{:.4g}".format,
                )
            )
        if len(rows) > FIRST_ROWS:
            parts.append(f"<p>The first {FIRST_ROWS} of {len(rows):,} rows.</p>")
    # A lone surrogate, as in a file's name, is not valid UTF-8.
    return "\n".join(parts).encode("utf-8", "backslashreplace").decode()


def _in_percent(rows: pd.DataFrame) -> Mapping[Any, list[str]]:
    """The columns of rates, their intervals, and shares that are no estimates, as text."""
    shown = {name: [_percent(share, 1) for share in rows[name]] for name in rows if name == "share"}
    for name, (low, high) in ENDS.items():
        if not {name, low, high} <= set(rows):
            continue
        digits = [decimals(*pair) for pair in zip(rows[low], rows[high], strict=True)]
        for column, rounded in ((name, None), (low, rounded_down), (high, rounded_up)):
            pairs = zip(rows[column], digits, strict=True)
            shown[column] = [_percent(share, places, rounded) for share, places in pairs]
    return shown


def _percent(
    share: float, digits: int, outwards: Callable[[float, int], float] | None = None
) -> str:
    if math.isnan(share):
        return ""
    shown = hundredths(share, digits)
    if outwards:
        shown = f"{outwards(100 * share, digits) + 0.0:.{digits}f}"
    return f"{shown}\N{NO-BREAK SPACE}%"
