import pytest

from xortune.reports.terminal import interval_bar


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
