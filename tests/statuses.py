"""What the tests of a terminal share: what is drawn on one."""

import io

import pytest
from rich.console import Console


@pytest.fixture
def terminal(monkeypatch):
    """What is drawn on a terminal of 80 columns."""
    drawn = io.StringIO()
    monkeypatch.setattr(
        "xortune.reports.progress.Console",
        lambda **_: Console(file=drawn, force_terminal=True, width=80, color_system=None),
    )
    return drawn
