"""`xortune status`: which proposals are done, how many lately, and how long the rest will take."""

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hand_made import done, solved, write_run
from statuses import append, point, shown, update

from xortune.reports.progress import status_line
from xortune.runs import status as run_status
from xortune.runs.lock import held
from xortune.runs.run import JOURNAL
from xortune.runs.status import Watcher


def at(time, evaluation):
    return replace(evaluation, at=int(time))


def test_rate_and_time_left_of_a_running_search(tmp_path):
    lines = [done(number, point(number), solved(0, 8, 8)) for number in range(4)]
    run = write_run(tmp_path / "run", lines, trials=10, started="2026-01-02T03:04:05+00:00")
    began = int(Watcher(run.path).look().started)
    with held(run.path):
        watcher = Watcher(run.path)
        first = watcher.look(began + 1000)  # of lines without a time
        assert (first.state, first.rate) == ("running", None)
        assert first.overall_rate == pytest.approx(4 / 1000)
        assert first.seconds_left == pytest.approx(6 / (4 / 1000))
        for number in (4, 5):
            append(run, at(began + 1000, done(number, point(number), solved(0, 3, 8))))
        for found in (watcher.look(began + 1010), Watcher(run.path).look(began + 1010)):
            assert found.rate == pytest.approx(2 / 300)
            assert found.seconds_left == pytest.approx(4 / (2 / 300))
        line = status_line(found)
        assert line.startswith("6/10  24/h  10:00 min left  best 8/8")
        assert "24 an hour over the last minutes" in shown(found)
        # After five minutes the pace of before no longer counts.
        assert watcher.look(began + 1301).rate is None
        append(run, at(began + 1290, done(6, point(6), solved(0, 3, 8))))
        assert watcher.look(began + 1301).rate == pytest.approx(1 / 300)
        # A search that has just gone on has not gone on for five minutes.
        sessions = [{"made": "b" * 8}, {"made": "b" * 8, "started": utc(began + 1281)}]
        update(run.path, sessions=sessions)
        assert watcher.look(began + 1301).rate == pytest.approx(1 / 20)
    assert Watcher(run.path).look().state == "stopped"
    assert Watcher(run.path).look(began + 1301).rate is None


def utc(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


def test_the_rate_of_a_race_is_that_of_proposals(tmp_path):
    path, began = tmp_path / "run", 1_800_000_000
    lines = [
        at(began + 10, done(0, point(0), solved(0, 2, 2))),
        at(began + 20, done(1, point(1), solved(0, 0, 2))),
        at(began + 700, done(0, point(0), solved(2, 1, 2))),
        at(began + 710, done(2, point(2), solved(0, 2, 2))),
        at(began + 720, done(1, point(1), solved(2, 2, 6))),  # a climb is no proposal
    ]
    write_run(path, lines, trials=9, ladder=[2, 4, 8, 16], started=utc(began))
    with held(path):
        found = Watcher(path).look(began + 800)
        assert (found.done, found.rate) == (3, pytest.approx(1 / 300))
        assert Watcher(path).look(began + 60).rate == pytest.approx(3 / 60)


def test_of_very_many_lines_the_last_ones_tell_the_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(run_status, "RECENT_LINES", 5)
    lines = [at(100 + n // 2, done(n, point(n), solved(0, 1, 1))) for n in range(40)]
    run = write_run(tmp_path / "run", lines)
    with held(run.path):
        found = Watcher(run.path).look(120.0)
    assert found.done == 40
    assert found.rate == pytest.approx(4 / 3)  # those after 117


def test_when_all_proposals_are_done_it_says_what_a_search_still_does(tmp_path):
    began = 1_800_000_000
    lines = [at(began + 5, done(0, point(0), solved(0, 2, 8)))]
    run = write_run(tmp_path / "run", lines, trials=1, started=utc(began))
    os.utime(run.path / JOURNAL, (0, began + 5))
    with held(run.path):
        found = Watcher(run.path).look(began + 100)
        assert found.overall_rate == pytest.approx(1 / 5), "nothing is to come: it stays as it is"
        assert "1 of 1 proposal, 100.0 %; at work on what follows: more seeds" in shown(found)
        assert "time left" not in shown(found)
    assert "at work" not in shown(Watcher(run.path).look(began + 100))
