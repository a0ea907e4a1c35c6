import io
import re

import pytest
from rich.console import Console

from xortune.reports import progress as terminal_progress
from xortune.reports.progress import display, progress_line
from xortune.runs.status import Progress


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


def line_of(progress, *, seconds_left=75.0, raced=False):
    return progress_line(progress, seconds_left=seconds_left, raced=raced)


def test_a_line_says_how_far_how_fast_how_long_and_how_well():
    assert line_of(moment()) == "50/200  2.0/s  1:15 min left  best 99/128 (69–84 %)"


def test_where_all_is_proposed_it_says_what_goes_on():
    last = moment(done=200, seeds=6543)
    shown = line_of(last, seconds_left=None, raced=True)
    assert shown == "200/200  6,543 seeds  best 99/128 (69–84 %)  more for the best, report"
    assert line_of(last, seconds_left=None).endswith("best 99/128 (69–84 %)  now the report")


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"fresh": 0, "seconds": 0.0}, "best", "/s"),
        ({"fresh": 0}, "50/200", "/s"),
        ({"done": 200, "fresh": 200}, "200/200", "left"),
        ({"fresh": 1, "seconds": 100.0}, "36/h", "/s"),
        ({"failed": 3}, "3 without outcome", "crash"),
        ({"best": (0, 8)}, "best 0/8 (0–33 %)", "without"),
    ],
)
def test_what_a_line_says(changes, said, unsaid):
    changed = moment(**changes)
    line = line_of(changed, seconds_left=changed.seconds_left or None)
    assert said in line
    assert unsaid not in line


def test_a_line_of_large_numbers_is_cut_at_the_end_of_the_terminal(monkeypatch):
    drawn = io.StringIO()

    def terminal(**_):
        return Console(file=drawn, force_terminal=True, width=60, color_system=None)

    monkeypatch.setattr(terminal_progress, "Console", terminal)
    with display() as shown:
        show = shown.search()
        show(moment(done=1_234_567, total=9_999_999, best=(99_999, 100_000), failed=654_321))
    lines = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]|\r", "\n", drawn.getvalue()).split("\n")
    assert max(map(len, lines)) <= 60
    assert any(line.startswith("1234567/9999999  2.0/s") for line in lines)


def test_rate_and_time_left():
    assert moment().rate == 2.0
    assert moment().seconds_left == 75.0
    assert moment(seconds=0.0).rate == 0.0
    assert moment(fresh=0).seconds_left is None
    assert moment(done=200).seconds_left == 0.0
    # A resumed search: what an earlier session did says nothing of this one's speed.
    assert moment(done=150, fresh=5, seconds=10.0).seconds_left == 100.0


def test_quiet_shows_nothing(capsys):
    with display(quiet=True) as shown:
        assert shown.search() is shown.seeds() is shown.counts(9, "a") is None
    assert capsys.readouterr() == ("", "")


def test_off_a_terminal_a_few_plain_lines_on_stderr(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    with display() as shown:
        show = shown.search()
        for done in range(1, 201):
            show(moment(done=done, fresh=done, seconds=float(done)))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == [
        *("50/200", "100/200", "150/200", "200/200")
    ]


def test_on_a_terminal_one_line_that_goes_away(monkeypatch):
    drawn = io.StringIO()

    def terminal(**_):
        return Console(file=drawn, force_terminal=True, width=80, color_system=None)

    clock = [0.0]
    monkeypatch.setattr(terminal_progress, "Console", terminal)
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    with display() as shown:
        show = shown.search()
        for done, moment_of_it in ((50, 1.0), (51, 1.05), (52, 1.2)):
            clock[0] = moment_of_it
            show(moment(done=done))
    text = drawn.getvalue()
    assert "52/200" in text
    assert "51/200" not in text, "so soon after what was shown nothing is drawn"
    assert "\x1b[2K" in text, "the line is wiped at the end"


def told_by(show, capsys, clock, *steps):
    """The lines after each step: seconds that pass, and what is told then."""
    lines = []
    for seconds, *news in steps:
        clock[0] += seconds
        show(*news)
        lines.append(capsys.readouterr().err)
    return lines


def test_the_time_left_is_told_once_there_is_enough_to_say(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(terminal_progress, "PLAIN_SECONDS", 0.0)  # every line
    with display() as shown:
        show = shown.seeds()
        # Ray starts for a minute; two workers bring their first blocks; then one block a second.
        first = told_by(show, capsys, clock, (0, 0, 100), (60, 5, 100), (0.1, 10, 100))
        later = [(1, done, 100) for done in range(15, 100, 5)]
        lines = told_by(show, capsys, clock, *later)
        last = told_by(show, capsys, clock, (1, 100, 100))
    assert not any("left" in line for line in (*first, *lines[:3], *last))
    assert lines[3] == "certifying: 30/100 fresh seeds  14 s left\n"  # 70 seeds, 5 a second
    assert lines[-1] == "certifying: 95/100 fresh seeds  1 s left\n"
    assert last == ["certifying: 100/100 fresh seeds  now the report\n"]


def test_the_time_left_of_a_search_does_not_count_its_start(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(terminal_progress, "PLAIN_SECONDS", 0.0)
    with display() as shown:
        show = shown.search()
        clock[0] += 20  # it is compiled
        steps = [(1, moment(done=n, fresh=n, seconds=20.0 + n)) for n in range(1, 101)]
        lines = told_by(show, capsys, clock, *steps)
    assert [line for line in lines[:4] if "left" in line] == []
    assert all(f"  {200 - n} s left  " in line for n, line in enumerate(lines, 1) if 140 < n < 200)
    assert "  1:40 min left  " in lines[-1]
