import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.formats import decimals, interval, measured, number, percent, plain
from xortune.core.outcome import wilson


@pytest.mark.parametrize(
    ("given_number", "shown"),
    [
        (0.0123456, "0.0123"),
        (1000, "1000"),
        (1000.0, "1000"),
        (1234567.0, "1.23e+06"),
        (1e-05, "1e-05"),
        (983.7, "984"),
        (0, "0"),
        (float("inf"), "inf"),
    ],
)
def test_number(given_number, shown):
    assert number(given_number) == shown


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(1, "100.0 %"), (0.9996, "> 99.9 %"), (0.9994, "99.9 %"), (0, "0.0 %"), (1e-9, "< 0.1 %")],
)
def test_percent_is_all_or_nothing_only_when_it_is(rate, shown):
    assert percent(rate) == shown


INTERVALS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@given(INTERVALS)
def test_interval_is_rounded_outwards_and_by_less_than_a_unit(given_ends):
    low, high = given_ends
    ends = [float(end) / 100 for end in re.findall(r"[\d.]+", interval(low, high))]
    unit = 10.0 ** -(2 + decimals(low, high))
    assert low - unit - 1e-9 <= ends[0] <= low + 1e-9
    assert high - 1e-9 <= ends[1] <= high + unit + 1e-9
    assert interval(0.97, 0.97) == "97.0–97.0 %"


@pytest.mark.parametrize(
    ("k", "n", "shown", "ends"),
    [
        (20, 20, "100 %", "83–100 %"),
        (17, 20, "85 %", "63–95 %"),
        (39, 40, "98 %", "87–100 %"),
        (493, 508, "97.0 %", "95.1–98.3 %"),  # +-1.6
        (993, 1000, "99.3 %", "98.5–99.7 %"),
        (9991, 10_000, "99.91 %", "99.82–99.96 %"),
        (999_999, 1_000_000, "> 99.99 %", "99.99–100.00 %"),
        (1, 1_000_000, "< 0.01 %", "0.00–0.01 %"),
        (0, 8, "0 %", "0–33 %"),
        (1, 2, "50 %", "9–91 %"),
    ],
)
def test_a_rate_is_shown_as_its_interval_supports(k, n, shown, ends):
    low, high = map(float, wilson(k, n))
    assert measured(k / n, low, high) == shown
    assert interval(low, high) == ends


def shown_number(text):
    """What a reader takes `text` for: `> 99 %` lies between 99 and 100."""
    number = float(re.search(r"[\d.]+", text)[0])
    return number + {">": 1e-9, "<": -1e-9}.get(text[0], 0)


@given(INTERVALS)
def test_no_digit_is_finer_than_the_second_of_the_half_width(ends):
    low, high = ends
    half = 50 * (high - low)
    digits = decimals(low, high)
    assert 0 <= digits <= 2
    if half > 1e-12:
        # The last digit shown is worth at least the half width's second one, or is no decimal.
        assert digits == 0 or 10.0**-digits >= 10.0 ** (math.floor(math.log10(half)) - 1) * 0.99
        # And it is not so coarse that it hides the half width; two decimals are the most.
        assert digits == 2 or 10.0**-digits <= max(1, 10 ** math.floor(math.log10(half)) * 1.001)


@given(INTERVALS, INTERVALS)
def test_a_higher_rate_never_looks_lower_and_only_all_and_nothing_look_so(ends, rates):
    found = [shown_number(measured(rate, *ends)) for rate in rates]
    assert found[0] <= found[1]
    for shown, rate in zip(found, rates, strict=True):
        assert (shown >= 100) == (rate == 1)
        assert (shown <= 0) == (rate == 0)
        assert abs(shown - 100 * rate) <= 10.0 ** -decimals(*ends)


@given(st.integers(1, 20_000), st.floats(0, 1))
def test_the_shown_rate_of_counts_lies_within_the_shown_interval(n, share):
    k = round(share * n)
    low, high = map(float, wilson(k, n))
    ends = [float(end) for end in re.findall(r"[\d.]+", interval(low, high))]
    assert ends[0] - 1e-6 <= shown_number(measured(k / n, low, high)) <= ends[1] + 1e-6


@given(st.text(st.characters()))
def test_plain_is_one_printable_line(text):
    shown = plain(text)
    assert shown.isprintable()
    shown.encode()
