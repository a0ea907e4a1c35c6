import pytest

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


def test_rate_and_time_left():
    assert moment().rate == 2.0
    assert moment().seconds_left == 75.0
    assert moment(seconds=0.0).rate == 0.0
    assert moment(fresh=0).seconds_left is None
    assert moment(done=200).seconds_left == 0.0
    # A resumed search: what an earlier session did says nothing of this one's speed.
    assert moment(done=150, fresh=5, seconds=10.0).seconds_left == 100.0


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


def test_on_a_terminal_one_line_that_goes_away(monkeypatch, terminal):
    clock = [0.0]
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: clock[0])
    with display() as shown:
        show = shown.search()
        for done, moment_of_it in ((50, 1.0), (51, 1.05), (52, 1.2)):
            clock[0] = moment_of_it
            show(moment(done=done))
    text = terminal.getvalue()
    assert "52/200" in text
    assert "51/200" not in text, "so soon after what was shown nothing is drawn"
    assert "\x1b[2K" in text, "the line is wiped at the end"
