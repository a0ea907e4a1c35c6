"""What the tests of `xortune status` share: a run to look at, and what is shown of it."""

import io

import commands
import pytest
from hand_made import CONFIG, done, failed, solved, write_run
from rich.console import Console

from xortune.reports.progress import render_status

START = "2026-01-02T03:04:05+00:00"


def point(number):
    return CONFIG | {"lr": 0.01 + number / 1000}


def xortune(*words):
    return commands.xortune("status", *words)


@pytest.fixture
def run(tmp_path):
    return write_run(
        tmp_path / "run",
        [
            done(0, point(0), solved(0, 6, 8)),
            done(1, point(1), solved(0, 8, 8, epoch=200)),
            failed(2, point(2), 0, 8, error="too hot", final=False),
            failed(2, point(2), 0, 8, error="still too hot"),
            done(3, point(3), solved(0, 8, 8, epoch=100)),
        ],
        name="a run",
        trials=10,
        started=START,
        complete=False,
    )


@pytest.fixture
def terminal(monkeypatch):
    """What is drawn on a terminal of 80 columns."""
    drawn = io.StringIO()
    monkeypatch.setattr(
        "xortune.reports.progress.Console",
        lambda **_: Console(file=drawn, force_terminal=True, width=80, color_system=None),
    )
    return drawn


def shown(status):
    console = Console(width=400, color_system=None)
    with console.capture() as captured:
        console.print(render_status(status))
    return captured.get()
