from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.reports.terminal import EIGHTHS, interval_bar, shows_blocks


@pytest.mark.parametrize(
    ("low", "high", "bar", "plain"),
    [
        (0.0, 1.0, "░░░░░░░░░░", "----------"),
        (1.0, 1.0, "██████████", "##########"),
        (0.0, 0.0, "          ", "          "),
        (0.3, 0.7, "███░░░░   ", "###----   "),
        (0.9926, 1.0, "█████████▉", "#########-"),
        (0.639, 0.948, "██████▍░░░", "######----"),
        (0.0, 0.325, "░░░░      ", "----      "),
    ],
)
def test_bars(low, high, bar, plain):
    assert interval_bar(low, high) == bar
    assert interval_bar(low, high, blocks=False) == plain


def length(bar):
    """How far the full part reaches, in signs."""
    return sum(EIGHTHS.index(sign) / 8 for sign in bar if sign in EIGHTHS and sign != " ")


@given(st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), st.integers(1, 30))
def test_the_full_part_never_says_too_much_and_the_shade_never_too_little(ends, width):
    low, high = ends
    bar = interval_bar(low, high, width=width)
    assert len(bar) == width
    assert low * width - 1 / 8 <= length(bar) <= low * width + 1e-6
    assert high * width - 1e-6 <= len(bar.rstrip(" ")) < high * width + 1
    plain = interval_bar(low, high, width=width, blocks=False)
    assert (len(plain), plain.isascii()) == (width, True)
    assert plain.count("#") <= low * width + 1e-6
    assert len(plain.rstrip()) == len(bar.rstrip(" "))


@pytest.mark.parametrize(
    ("encoding", "can"),
    [("utf-8", True), ("cp437", False), ("ascii", False), ("latin-1", False), ("none", False)],
)
def test_where_blocks_can_be_shown(encoding, can):
    assert shows_blocks(encoding) == can
