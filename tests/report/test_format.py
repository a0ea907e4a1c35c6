from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.report.format import count, interval, number, percent, plain, value
from xortune.report.markdown_document import escaped


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


def test_values():
    shown = [value(v) for v in (None, True, False, 12345678, 0.30000000000000004, "a\nb")]
    assert shown == ["null", "true", "false", "12345678", "0.3", "a\\nb"]


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(1, "100.0 %"), (0.9996, "> 99.9 %"), (0.9994, "99.9 %"), (0, "0.0 %"), (1e-9, "< 0.1 %")],
)
def test_percent_is_all_or_nothing_only_when_it_is(rate, shown):
    assert percent(rate) == shown


@given(st.floats(0, 1), st.floats(0, 1))
def test_interval_is_rounded_outwards(a, b):
    low, high = sorted((a, b))
    ends = [float(end) / 100 for end in re.findall(r"[\d.]+", interval(low, high))]
    assert ends[0] <= low + 1e-9
    assert high - 1e-9 <= ends[1]
    assert interval(0.97, 0.97) == "97.0–97.0 %"


def test_count():
    assert (count(1, "seed"), count(0, "seed"), count(2000, "seed")) == (
        *("1 seed", "0 seeds", "2,000 seeds"),
    )


@given(st.text(st.characters()))
def test_plain_is_one_printable_line(text):
    shown = plain(text)
    assert shown.isprintable()
    shown.encode()


@given(st.text("|`<>&*_[]\\~$\n\r ab"))
def test_escaped_leaves_nothing_for_markdown(text):
    shown = escaped(text)
    assert not set("|`<>*$\n\r") & set(shown)
    assert not re.search(r"(?<!\\)(?:\\\\)*(?<!\\)[\[\]~]", shown)


def test_escaped_keeps_plain_words_readable():
    assert escaped("hidden_dim 5, lr 1e-05") == "hidden_dim 5, lr 1e-05"
    assert escaped("_x_") == "\\_x\\_"
