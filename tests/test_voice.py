"""What verbs say in Python, and how progress is shown: nothing silent, nothing twice."""

import importlib
import logging
import sys
import types
import warnings

import pytest

import xortune as xt
import xortune.driver
from xortune.core.outcome import Failure, SeedCount
from xortune.driver import voice as module
from xortune.driver.voice import Voice
from xortune.reports import progress
from xortune.reports.progress import display, progress_line
from xortune.runs.status import Progress

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


def test_with_logging_sentences_are_records_and_the_callers_own_function_is_told_all(
    capsys, caplog
):
    caplog.set_level(logging.INFO, logger="xortune")
    assert "note" not in said(Voice(1), capsys)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "careful"),
        ("INFO", "by the way"),
        ("WARNING", "seed 3 failed: why"),
    ]
    told = []
    said(Voice(1, told.append), capsys)
    assert told == ["careful", "by the way"]


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
    with Voice(0).certifying(None) as show:
        for count in range(0, 101, 10):
            show(count, 100)
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
    importlib.reload(xortune.driver)
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
            show(len(lines) + 1, 30)
    left = [int(line.split()[-3]) for line in lines if line.endswith("s left")]
    assert len(left) > 4
    assert left == sorted(left, reverse=True)


# -------------------------------------------------------------------------------------------------
# The line of a search.


def moment(**changes):
    fields = {"done": 50, "total": 200, "fresh": 50, "seconds": 25.0, "best": SeedCount(99, 128)}
    return Progress(**{"failed": 0, **fields, **changes})


def line_of(now, *, raced=False):
    return progress_line(now, seconds_left=now.seconds_left or None, raced=raced)


def test_a_line_says_how_far_how_fast_how_long_and_how_well():
    assert line_of(moment()) == "50/200  2.0/s  1:15 min left  best 99/128 (69–84 %)"
    last = moment(done=200, seeds=6543, fresh=0)  # all is proposed
    shown = line_of(last, raced=True)
    assert shown == "200/200  6,543 seeds  best 99/128 (69–84 %)  more for the best, report"
    assert line_of(last).endswith("best 99/128 (69–84 %)  now the report")


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"fresh": 0, "seconds": 0.0}, "best", "/s"),
        ({"fresh": 0}, "50/200", "/s"),
        ({"done": 200, "fresh": 200}, "200/200", "left"),
        ({"fresh": 1, "seconds": 100.0}, "36/h", "/s"),
        ({"failed": 3}, "3 without outcome", "crash"),
        ({"best": SeedCount(0, 8)}, "best 0/8 (0–33 %)", "without"),
    ],
)
def test_what_a_line_says(changes, said, unsaid):
    line = line_of(moment(**changes))
    assert said in line
    assert unsaid not in line


@pytest.mark.parametrize(
    ("changes", "rate", "left"),
    [
        ({}, 2.0, 75.0),
        ({"seconds": 0.0}, 0.0, None),
        ({"fresh": 0}, 0.0, None),
        ({"done": 200}, 2.0, 0.0),
        # A resumed search: what an earlier session did says nothing of this one's speed.
        ({"done": 150, "fresh": 5, "seconds": 10.0}, 0.5, 100.0),
    ],
)
def test_rate_and_time_left(changes, rate, left):
    assert (moment(**changes).rate, moment(**changes).seconds_left) == (rate, left)


@pytest.mark.usefixtures("clock")
def test_off_a_terminal_a_few_plain_lines_on_stderr(capsys):
    with display() as shown:
        show = shown.search()
        for done in range(1, 201):
            show(moment(done=done, fresh=done, seconds=float(done)))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == [
        *("50/200", "100/200", "150/200", "200/200")
    ]


def test_on_a_terminal_one_line_that_goes_away(clock, terminal):
    with display() as shown:
        show = shown.search()
        for done, seconds in ((50, 1.0), (51, 1.05), (52, 1.2)):
            clock[0] = seconds
            show(moment(done=done))
    text = terminal.getvalue()
    assert "52/200" in text
    assert "51/200" not in text, "so soon after what was shown nothing is drawn"
    assert "\x1b[2K" in text, "the line is wiped at the end"
