from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from xortune import terminal_progress
from xortune.progress import Progress
from xortune.terminal_progress import progress_line, shown_progress


def moment(**changes):
    fields = {
        "done": 50,
        "total": 200,
        "fresh": 50,
        "seconds": 25.0,
        "best": (99, 128),
        "failed": 0,
    }
    return Progress(**(fields | changes))


def test_a_line_says_how_far_how_fast_how_long_and_how_well():
    assert progress_line(moment()) == "50/200  2.0/s  1:15 min left  best 99/128 (69–84 %)"


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"fresh": 0, "seconds": 0.0}, "best", "left"),
        ({"fresh": 0}, "50/200", "/s"),
        ({"done": 200, "fresh": 200}, "200/200", "left"),
        ({"failed": 3}, "3 without outcome", "crash"),
        ({"fresh": 10, "seconds": 10.0}, "2:30 min left", "h left"),
        ({"fresh": 100, "seconds": 1.0}, "2 s left", "min"),
        ({"fresh": 1, "seconds": 60.0}, "2:30 h left", "min"),
        ({"best": (0, 8)}, "best 0/8 (0–33 %)", "without"),
    ],
)
def test_what_a_line_says(changes, said, unsaid):
    line = progress_line(moment(**changes))
    assert said in line
    assert unsaid not in line


@given(
    total=st.integers(1, 10_000_000),
    done=st.floats(0, 1),
    fresh=st.floats(0, 1),
    seconds=st.floats(0, 1e8),
    n=st.integers(1, 100_000),
    k=st.floats(0, 1),
    failed=st.floats(0, 1),
)
def test_a_line_is_never_wider_than_80_columns(*, total, done, fresh, seconds, n, k, failed):
    finished = int(done * total)
    line = progress_line(
        Progress(
            done=finished,
            total=total,
            fresh=int(fresh * finished),
            seconds=seconds,
            best=(int(k * n), n),
            failed=int(failed * finished),
        )
    )
    assert len(line) <= 80
    assert f"best {int(k * n)}/{n}" in line
    assert line.isprintable()
    assert f"{finished}/{total}" in line


def test_rate_and_time_left():
    assert moment().rate == 2.0
    assert moment().seconds_left == 75.0
    assert moment(seconds=0.0).rate == 0.0
    assert moment(fresh=0).seconds_left is None
    assert moment(done=200).seconds_left == 0.0
    # A resumed search: what an earlier session did says nothing of this one's speed.
    assert moment(done=150, fresh=5, seconds=10.0).seconds_left == 100.0


def test_quiet_shows_nothing(capsys):
    with shown_progress(quiet=True) as show:
        assert show is None
    assert capsys.readouterr() == ("", "")


def test_off_a_terminal_a_few_plain_lines_on_stderr(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    with shown_progress(quiet=False) as show:
        for done in range(1, 201):
            show(moment(done=done, fresh=done, seconds=float(done)))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == [
        *("50/200", "100/200", "150/200", "200/200")
    ]


def test_off_a_terminal_slow_work_is_heard_of_too(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    with shown_progress(quiet=False) as show:
        for done in (1, 2, 3, 4, 5):
            clock[0] += 15.0
            show(moment(done=done, fresh=done))
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["2/200", "4/200"]


def test_on_a_terminal_one_line_that_goes_away(monkeypatch):
    drawn = io.StringIO()

    def terminal(**_):
        return Console(file=drawn, force_terminal=True, width=80, color_system=None)

    monkeypatch.setattr(terminal_progress, "Console", terminal)
    with shown_progress(quiet=False) as show:
        show(moment())
        show(moment(done=51))
    text = drawn.getvalue()
    assert "51/200" in text
    assert "\x1b[2K" in text, "the line is wiped at the end"
