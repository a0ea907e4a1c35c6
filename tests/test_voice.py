"""What verbs say in Python, and how progress is shown: nothing silent, nothing twice."""

import importlib
import itertools
import logging
import re
import sys
import types
import warnings

import pytest

import xortune as xt
import xortune.deciding
import xortune.training
from xortune.core.outcome import Failure, SeedCount
from xortune.core.point import Point
from xortune.core.trainer import Block, Reported
from xortune.driver import voice as module
from xortune.driver.voice import Voice
from xortune.reports import progress
from xortune.reports.progress import display, progress_line
from xortune.runs.status import Pace, Progress

FAILURE = Failure({"lr": 1}, 3, "why", "Traceback ...")


def coin(config, seed):
    return seed % 7 > 0


@pytest.fixture
def clock(monkeypatch):
    """The seconds that progress is shown at."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def said(voice, capsys):
    voice.warn("careful")
    voice.inform("by the way")
    voice.fail(FAILURE)
    return capsys.readouterr().err


def test_without_logging_warnings_are_printed_and_the_rest_where_somebody_watches(
    capsys, monkeypatch
):
    # As in a program that has not set up logging; pytest has.
    monkeypatch.setattr(module.LOGGER, "hasHandlers", lambda: False)
    shown = "the first failure: seed 3 of lr=1\nTraceback ...\n"
    assert said(Voice(0), capsys) == ""
    assert said(Voice(1), capsys) == f"note: careful\n{shown}"
    assert said(Voice(2), capsys) == f"note: careful\nnote: by the way\n{shown}"
    monkeypatch.setattr(module, "is_watched", lambda: True)
    assert said(Voice(1), capsys) == f"note: careful\nnote: by the way\n{shown}"
    assert said(Voice(0), capsys) == ""


def test_with_logging_sentences_are_records_and_a_listener_is_told_all(capsys, caplog):
    caplog.set_level(logging.INFO, logger="xortune")
    assert "note" not in said(Voice(1), capsys)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "careful"),
        ("INFO", "by the way"),
        ("WARNING", "seed 3 failed: why"),
    ]
    told = []
    said(Voice(0, told.append), capsys)
    assert told == [xt.Message("careful"), xt.Message("by the way", "info"), FAILURE]


def test_a_level_that_there_is_not_is_refused():
    with pytest.raises(xt.InputError, match="verbose: 3; allowed: 0"):
        xt.evaluate({"lr": 1}, range(3), train=coin, verbose=3)


def test_progress_is_drawn_on_a_terminal_by_default(terminal, monkeypatch):
    monkeypatch.setattr(module, "is_watched", lambda: True)
    xt.evaluate({"lr": 1}, range(9), train=coin)
    assert "evaluating: 7/9 seeds solved" in terminal.getvalue()
    terminal.truncate(0)
    xt.evaluate({"lr": 1}, range(9), train=coin, verbose=0)
    assert terminal.getvalue() == ""
    xt.gate({"lr": 1}, train=coin, min_rate=0.5, max_seeds=100)
    assert "gate at 0.5: " in terminal.getvalue()


def test_progress_is_logged_where_nobody_watches(caplog):
    caplog.set_level(logging.INFO, logger="xortune")
    with Voice(0).drawing("certifying") as shown:
        for count in range(0, 101, 10):
            shown.seeds((count, 100))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[1] for line in lines] == ["30/100", "50/100", "80/100", "100/100"]


def test_a_notebook_has_one_cell_that_changes_and_goes(monkeypatch):
    shown = []

    class Cell:
        update = staticmethod(shown.append)

    ipython, drawing = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=1)
    drawing.HTML, drawing.display = str, lambda *_, **__: Cell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", drawing)
    xt.evaluate({"lr": 1}, range(9), train=coin)
    *during, last = shown
    assert 'value="1.0000" max="1"></progress> evaluating: 7/9 seeds solved' in during[-1]
    assert last == ""


def test_in_a_notebook_libraries_do_not_ask_for_widgets(monkeypatch):
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=1)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(logging.getLogger("ray.widgets.util"), "level", logging.INFO)
    importlib.reload(xortune.training)
    importlib.reload(xortune.deciding)
    warnings.warn("IProgress not found. Please update jupyter and ipywidgets", stacklevel=1)
    assert not logging.getLogger("ray.widgets.util").isEnabledFor(logging.INFO)


def test_an_input_error_in_a_notebook_is_its_message():
    with pytest.raises(xt.InputError) as caught:
        xt.evaluate({"lr": 1}, [0, 0], train=coin)
    # IPython shows these lines in place of a traceback.
    assert caught.value._render_traceback_() == [f"InputError: {caught.value}"]


def test_the_time_left_does_not_rise(monkeypatch, clock):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    lines = []
    with display(line=lines.append) as shown:
        show = shown.seeds()
        for seconds in (1, 2, 3, 4, 5, 6, 20, 40, 60, 61, 62):  # it gets slower, then faster
            clock[0] = seconds
            show(xt.SeedsDone(len(lines) + 1, 30))
    left = [int(line.split()[-3]) for line in lines if line.endswith("s left")]
    assert len(left) > 4
    assert left == sorted(left, reverse=True)


# -------------------------------------------------------------------------------------------------
# The line of a search.


SEEDS = {"seeds_done": 400, "seeds_expected": (1600, 1600)}
PACE = Pace(seeds=400, workers=4, busy_seconds=80.0, worker_seconds=100.0)


def moment(**changes):
    fields = {"done": 50, "total": 200, "fresh": 50, "best": SeedCount(99, 128)}
    return Progress(**{"failed": 0, "pace": PACE, **fields, **SEEDS, **changes})


def line_of(now):
    return progress_line(now, seconds_left=now.seconds_left)


def test_a_line_says_how_far_how_fast_how_long_and_how_well():
    said = "400 of 1,600 seeds  16.0/s  1:15 min left  best 99/128 (69–84 %)"
    assert line_of(moment()) == said
    raced = moment(seeds_expected=(1600, 24_400))
    said = "400 of 1,600 to 24,400 seeds  16.0/s  1:15 min to 25:00 min left  best 99/128 (69–84 %)"
    assert line_of(raced) == said
    wide = moment(seeds_expected=(440, 24_400))
    assert "24,400 seeds  16.0/s  at most 25:00 min left  best" in line_of(wide)
    proposed = moment(done=200, seeds_done=11, seeds_expected=(40, 1024), pace=Pace())
    said = "the race goes on: 11 seeds of 40 to 1,024  best 99/128 (69–84 %)"
    assert line_of(proposed) == said
    ended = moment(done=200, seeds_expected=(400, 400))
    assert line_of(ended) == "400 seeds  16.0/s  best 99/128 (69–84 %)  now the report"


@pytest.mark.parametrize(
    ("first", "count", "numbers", "said"),
    [
        (0, 32, {"accuracy": 0.71344, "loss": 1e-5, "f1": 1.0}, "report 12 of seeds 0 to 31 of "),
        (4096, 1, {}, "report 12 of seed 4096 of "),
    ],
)
def test_a_line_says_what_a_training_reported_last(first, count, numbers, said):
    block = Block(Point({"lr": 0.1}), first, count)
    line = line_of(moment(reported=Reported(block, 12, numbers)))
    shown = ": accuracy 0.7134, loss 1e-05" if numbers else ""
    assert line == line_of(moment()) + f"  {said}{block.point.key}{shown}"


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"pace": Pace()}, "best", "/s"),
        ({"pace": Pace()}, "400 of 1,600 seeds", "left"),
        ({"seeds_done": 1600}, "1,600 seeds", "left"),
        ({"pace": Pace(1, 1, 100.0, 100.0)}, "36/h", "/s"),
        ({"failed": 3}, "3 without outcome", "crash"),
        ({"best": SeedCount(0, 8)}, "best 0/8 (0–33 %)", "without"),
    ],
)
def test_what_a_line_says(changes, said, unsaid):
    line = line_of(moment(**changes))
    assert said in line
    assert unsaid not in line


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, (75.0, 75.0)),
        ({"seeds_expected": (400, 2000)}, (0.0, 100.0)),
        ({"pace": Pace()}, None),
        ({"seeds_done": 1600}, (0.0, 0.0)),
        # A time budget: 20 s are left of it, and a seed takes 0.2 s.
        ({"budget_left": 20.0}, (20.2, 20.2)),
        ({"budget_left": 20.0, "seeds_expected": (560, 24_400)}, (10.0, 20.2)),
        ({"budget_left": -3.0}, (0.2, 0.2)),
        ({"budget_left": 1e6}, (75.0, 75.0)),
        # Before each worker has trained some seeds, what is under way would be too much of it.
        ({"pace": Pace(2, 4, 20.0, 80.0)}, (3000.0, 3000.0)),
        # A resumed search: what an earlier session did says nothing of this one's speed.
        ({"fresh": 5, "pace": Pace(40, 1, 80.0, 80.0)}, (2400.0, 2400.0)),
    ],
)
def test_time_left(changes, left):
    assert moment(**changes).seconds_left == left


def test_neither_end_of_the_time_left_of_a_race_rises(monkeypatch, clock):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    lines = []
    with display(line=lines.append) as shown:
        show = shown.search()
        for done in range(1, 12):
            clock[0] = 10.0 * done
            slow = 5.0 if done > 6 else 10.0  # seconds of a seed
            pace = Pace(done, 1, slow * done, slow * done)
            show(moment(seeds_done=done, seeds_expected=(20 + done, 100), pace=pace))
    left = [line.split("  ")[2] for line in lines if "left" in line]
    assert left[0] == "3:20 min to 15:50 min left"
    assert left[-1] == "1:40 min to 7:25 min left"
    assert len(set(left)) > 3
    seconds = [[int(m) * 60 + int(s) for m, s in re.findall(r"(\d+):(\d+)", one)] for one in left]
    for ends in zip(*seconds, strict=True):
        assert list(ends) == sorted(ends, reverse=True)


def slow(done, **changes):
    """A search of 20 seeds of 60 s each, one after the other."""
    pace = Pace(done, 1, 60.0 * done, 60.0 * done)
    return moment(seeds_done=done, seeds_expected=(20, 20), pace=pace, **changes)


def left_in(line):
    """The seconds left that a line shows."""
    minutes, seconds = re.search(r"(?:(\d+):)?(\d+) (?:s|min) left", line).groups()
    return 60 * int(minutes or 0) + int(seconds)


def test_on_a_terminal_the_time_left_falls_while_nothing_is_told(clock, terminal):
    with display() as shown:
        show = shown.search()
        for done in range(1, 8):
            clock[0] = 60.0 * done
            show(slow(done))
        [task] = [task for task in shown.bar.tasks if task.visible]
        [column, _] = shown.bar.columns
        left = []
        for at in range(0, 3600, 10):
            clock[0] = 420.0 + at
            left.append(left_in(column.render(task).plain))
        assert left[:7] == [780, 770, 760, 750, 740, 730, 720]
        assert left[30] > left[60] > left[90] > left[-1] >= 0
        clock[0] = 420.0 + 70
        before = left[7]
        show(slow(8))  # a little later than expected
        assert left_in(column.render(task).plain) <= before
    assert "11:50 min left" in terminal.getvalue()


def test_reports_on_the_way_do_not_hold_the_time_left(clock, monkeypatch):
    """Off a terminal, too: a line each half minute, of a seed that reports and takes long."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 30.0)
    lines = []
    news = Reported(Block(Point({"lr": 0.1}), 8, 1), 12, {})
    with display(line=lines.append) as shown:
        show = shown.search()
        for done in range(1, 8):
            clock[0] = 60.0 * done
            show(slow(done))
        for at in range(1, 481):
            clock[0] = 420.0 + at
            show(slow(7, reported=news))
    left = [left_in(line) for line in lines if line.endswith(news.block.point.key)]
    assert len(left) == 16
    assert all(b < a for a, b in itertools.pairwise(left))


def test_a_time_left_above_what_was_shown_does_not_hold_it(clock, monkeypatch):
    """Seeds get five times as slow: what is shown falls with the estimate, to the end."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    lines = []
    with display(line=lines.append) as shown:
        show, busy = shown.search(), 0.0
        for done in range(1, 21):
            busy += 60.0 if done < 10 else 300.0
            clock[0] = busy
            pace = Pace(done, 1, busy, busy)
            show(moment(seeds_done=done, seeds_expected=(21, 21), pace=pace))
    left = [left_in(line) for line in lines if " left" in line]
    assert all(b < a for a, b in itertools.pairwise(left))
    assert left[-1] > 5


@pytest.mark.usefixtures("clock")
def test_off_a_terminal_a_few_plain_lines_on_stderr(capsys):
    with display() as shown:
        show = shown.search()
        for done in range(1, 201):
            show(moment(seeds_done=done, seeds_expected=(200, 200)))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == [*("50", "100", "150", "200")]


def test_on_a_terminal_one_line_that_goes_away(clock, terminal):
    with display() as shown:
        show = shown.search()
        for done, seconds in ((50, 1.0), (51, 1.05), (52, 1.2)):
            clock[0] = seconds
            show(moment(seeds_done=done))
    text = terminal.getvalue()
    assert "52 of 1,600 seeds" in text
    assert "51 of" not in text, "so soon after what was shown nothing is drawn"
    assert "\x1b[2K" in text, "the line is wiped at the end"
