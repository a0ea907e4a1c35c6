"""What the verbs say in Python: nothing silent, nothing twice, all in the logger `xortune`."""

import logging
import sys
import types

import pytest

import xortune as xt
from xortune.core.outcome import Failure
from xortune.driver import voice as module
from xortune.driver.voice import Voice
from xortune.reports import progress

FAILURE = Failure({"lr": 1}, 3, "why", "Traceback ...")


def coin(config, seed):
    return seed % 7 > 0


@pytest.fixture
def bare(monkeypatch):
    """As in a program that has not set up logging; pytest has."""
    monkeypatch.setattr(module.LOGGER, "hasHandlers", lambda: False)


def said(voice, capsys):
    voice.warn("careful")
    voice.inform("by the way")
    voice.fail(FAILURE)
    return capsys.readouterr().err


@pytest.mark.usefixtures("bare")
def test_without_logging_warnings_are_printed_and_the_rest_where_somebody_watches(
    capsys, monkeypatch
):
    shown = "the first failure: seed 3 of lr=1\nTraceback ...\n"
    assert said(Voice(0), capsys) == ""
    assert said(Voice(1), capsys) == f"note: careful\n{shown}"
    assert said(Voice(2), capsys) == f"note: careful\nnote: by the way\n{shown}"
    monkeypatch.setattr(module, "is_watched", lambda: True)
    assert said(Voice(1), capsys) == f"note: careful\nnote: by the way\n{shown}"
    assert said(Voice(0), capsys) == ""


def test_with_logging_sentences_are_records(capsys, caplog):
    caplog.set_level(logging.INFO, logger="xortune")
    assert "note" not in said(Voice(1), capsys)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "careful"),
        ("INFO", "by the way"),
        ("WARNING", "seed 3 failed: why"),
    ]


def test_the_callers_own_function_is_told_all(capsys):
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

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=1)
    display = types.ModuleType("IPython.display")
    display.HTML, display.display = str, lambda *_, **__: Cell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    xt.evaluate({"lr": 1}, range(9), train=coin)
    *during, last = shown
    assert 'value="1.0000" max="1"></progress> evaluating: 7/9 seeds solved' in during[-1]
    assert last == ""


def test_the_time_left_does_not_rise(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    lines = []
    with progress.display(line=lines.append) as shown:
        show = shown.seeds()
        for seconds in (1, 2, 3, 4, 5, 6, 20, 40, 60, 61, 62):  # it gets slower, then faster
            clock[0] = seconds
            show(len(lines) + 1, 30)
    left = [int(line.split()[-3]) for line in lines if line.endswith("s left")]
    assert len(left) > 4
    assert left == sorted(left, reverse=True)
