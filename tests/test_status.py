"""`xortune status`: what is seen of a run from outside, printed, watched, and shown as a page."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from subprocess import PIPE
from types import ModuleType

import commands
import pytest
from compared import purpose
from drivers import claim_of, state
from forked import Python
from hand_made import CONFIG, TINY_SPACE, append, done, failed, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from listening import progress
from pages import Parsed, runs_only_its_own
from rich.console import Console

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.outcome import Details
from xortune.reports.document import markdown_text
from xortune.reports.live import LiveServer
from xortune.reports.progress import render_status, status_json, status_line
from xortune.reports.run import run_document
from xortune.runs import lock as run_lock
from xortune.runs.evaluation import encode
from xortune.runs.lock import LOCK, held
from xortune.runs.manifest import checked_labels, label_run, update_manifest
from xortune.runs.status import DriverWatch, Watcher, watched
from xortune.runs.store import JOURNAL


def point(number):
    return CONFIG | {"lr": 0.01 + number / 1000}


def xortune(*words):
    return commands.xortune("status", *words)


def shown(status):
    console = Console(width=400, color_system=None)
    with console.capture() as captured:
        console.print(render_status(status))
    return captured.get()


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
        ladder=[8],
        started="2026-01-02T03:04:05+00:00",
        complete=False,
    )


BLOCKS = st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([100, 300]), st.booleans())
STEPS = {"name": "steps_q50", "number": "steps", "statistic": "q50"}


def told(outcome, number):
    """With a number of each seed; one block in three has none."""
    if number % 3 == 0:
        return outcome
    steps = (outcome.seeds * 7 + number * 5) % 11
    return replace(outcome, details=Details(values={"steps": steps.astype(float)}))


@given(
    blocks=st.lists(BLOCKS, min_size=1, max_size=14),
    made=st.lists(st.sampled_from([None, "a" * 8, "b" * 8]), min_size=14),
    ladder=st.sampled_from([None, [4], [4, 8, 16]]),
    late_and_goal=st.tuples(st.booleans(), st.sampled_from([None, "minimize", "maximize"])),
)
def test_the_best_and_what_is_done_are_those_of_the_table(
    tmp_path_factory, blocks, made, ladder, late_and_goal
):
    """Also among ties, of configs with several blocks, crashed ones, and other engines' blocks."""
    late, goal = late_and_goal
    lines, seeds = [], {}
    for number, (config, k, epoch, crashed) in enumerate(blocks):
        first = seeds[config] = seeds.get(config, -4) + 4
        line = failed(number, point(config), first, 4)
        if not crashed:
            line = done(number, point(config), told(solved(first, k, 4, epoch=epoch), number))
        lines.append(replace(line, fingerprint=made[number]))
    if late:  # blocks of a config may be finished in any order
        lines.reverse()
    noted = {"sessions": [{"number": 1, "made": "b" * 8}], "made": {"a" * 8: {}, "b" * 8: {}}}
    if goal:
        noted["objectives"] = [STEPS | {"direction": goal}]
    run = write_run(tmp_path_factory.mktemp("runs") / "run", lines, ladder=ladder, **noted)
    found, first = xt.status(run.path), run.results[0]
    best = (found.best.key, found.best.k, found.best.n)
    assert best == (first.key, first.outcome.successes, first.outcome.n)
    assert (found.seeds_done, found.configs) == (4 * len(blocks), len(run.results))
    aside = 4 * sum(line.outcome is None for line in run.set_aside)
    assert found.crashed_seeds == run.table["crashed"].sum() + aside
    assert found.done == sum(result.trials for result in run.results)
    if ladder != [4, 8, 16]:
        assert found.done == len(blocks)


def line_of(number, *, k, n):
    """A line of the journal."""
    return f"{encode(done(number, point(number), solved(0, k, n)))}\n".encode()


def test_a_look_reads_only_what_is_new(run):
    watcher = Watcher(run.path)
    before = watcher.look()
    journal = run.path / JOURNAL
    with open(journal, "r+b") as file:  # what was read already may be anything now
        file.write(b"#" * 50)
    with open(journal, "ab") as file:
        file.write(line_of(4, k=8, n=16))
    found = watcher.look()
    assert (found.done, found.seeds_done) == (before.done + 1, before.seeds_done + 16)
    with pytest.raises(InputError, match=r"evaluations\.jsonl:1: is not JSON"):
        xt.status(run.path)


def test_a_line_that_is_being_written_is_taken_when_it_is_whole(run):
    watcher, line = Watcher(run.path), line_of(7, k=2, n=4)
    parts = [line[:1], line[1:50], line[50:-1], line[-1:]]
    assert not watcher.look().torn
    for number, part in enumerate(parts, 1):
        with open(run.path / JOURNAL, "ab") as file:
            file.write(part)
        whole = number == len(parts)
        for found in (watcher.look(), xt.status(run.path)):
            assert found.torn == (not whole)
            assert (found.seeds_done, found.done) == ((36, 5) if whole else (32, 4))


def test_a_journal_that_was_cut_or_replaced_is_read_again(run):
    watcher, journal = Watcher(run.path), run.path / JOURNAL
    watcher.look()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))
    assert watcher.look().seeds_done == 16
    # As large as before, but other lines: found out at the first that does not fit.
    journal.write_bytes(b"".join(lines[:2]) + line_of(8, k=1, n=32) + line_of(9, k=1, n=4))
    assert watcher.look().seeds_done == 16 + 36
    (run.path / "other").write_bytes(lines[0])
    (run.path / "other").replace(journal)
    assert watcher.look().seeds_done == 8


def test_the_driver(run):
    path, now = run.path, time.time()
    none = DriverWatch().look(path, now)
    assert (none.life, none.pid) == ("gone", None)
    with held(path):
        mine = DriverWatch().look(path, now)
        assert (mine.life, mine.pid, mine.host) == ("alive", os.getpid(), socket.gethostname())
        assert mine.since == pytest.approx(now, abs=5)
        assert f"process {os.getpid()} on {socket.gethostname()}" in shown(xt.status(path))
    claim_of(path, pid=4711)
    assert DriverWatch().look(path, now).life == "gone"
    assert xt.status(path).state == "stopped"
    assert f"its process 4711 on {socket.gethostname()} is gone" in shown(xt.status(path))
    [claim] = (path / LOCK).iterdir()
    claim.write_text("{}")
    commands.refused(xortune(path), "is not the lock of a run")


def test_a_driver_elsewhere_lives_while_its_heart_beats(run, monkeypatch):
    monkeypatch.setattr(run_lock, "_is_local", lambda _: False)
    path, watch = run.path, DriverWatch()
    claim_of(path, host="far", heartbeat=1000.0)
    # At first, clocks are all there is.
    assert [DriverWatch().look(path, now).life for now in (1010.0, 1100.0)] == ["alive", "gone"]
    assert watch.look(path, 5000.0).life == "gone"
    claim_of(path, host="far", heartbeat=1010.0, beats=1)  # clocks differ, but it moves
    lives = [watch.look(path, now).life for now in (5010.0, 5039.0, 5040.0)]
    assert lives == ["alive", "alive", "gone"]
    assert DriverWatch().look(path, 1010.0).elsewhere
    assert re.search("on far.*heartbeat 3 s ago", shown(Watcher(path).look(1013.0)))


def test_a_finished_run(run):
    update_manifest(run.path, complete=True)
    assert xt.status(run.path).state == "finished"
    assert "finished" in shown(xt.status(run.path))
    with held(run.path):  # it is certified, or goes on with more trials
        assert xt.status(run.path).state == "running"
    # It was certified later, which took no time of the search.
    started = Watcher(run.path).look().started
    os.utime(run.path / JOURNAL, (0, started + 1000))
    update_manifest(run.path, finished=datetime.fromtimestamp(started + 100, UTC).isoformat())
    assert xt.status(run.path).overall_rate == pytest.approx(32 / 100)


GRID = TINY_SPACE.replace("{low: 0.01, high: 0.1, log: true}", "{choice: [0.1, 0.2, 0.3]}")
GRID = GRID.replace("random, trials: 3", "grid") + "task: {csv: /nowhere/secret.csv, target: y}\n"


@pytest.mark.parametrize(
    ("text", "total"),
    [(GRID, 6), (GRID + "start: [{activation: Tanh, lr: 0.1}]\n", 6), ("name: [", None)],
)
def test_a_grid_says_itself_how_many_there_are(tmp_path, text, total):
    write_run(tmp_path / "run", [done(0, point(0), solved(0, 1, 4))], space_text=text, trials=None)
    found = xt.status(tmp_path / "run")
    assert found.total == total
    assert ("not known" in shown(found)) == (total is None)


def test_no_run_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    none, what = "holds no run", "is not a directory"
    for name, told in (("absent", what), ("empty", none), ("file", what)):
        for more in ([], ["--watch"], ["--json"], ["--watch", "--json"]):
            commands.refused(xortune(tmp_path / name, *more), told, "xortune search")
    with pytest.raises(InputError, match=what):
        xt.status("a\0b")


@pytest.mark.parametrize("other", [{"made": "c" * 8}, {"proposal": 0}])
def test_a_line_of_another_run_is_not_counted_in_silence(run, other):
    journal = run.path / JOURNAL
    lines = journal.read_text().splitlines()
    update_manifest(run.path, made={"a" * 8: {}}, sessions=[{"number": 1, "made": "a" * 8}])
    line = {**json.loads(lines[1]), "first": 4000, "made": "a" * 8, **other}
    journal.write_text("".join(line + "\n" for line in [*lines, json.dumps(line)]))
    for read in (xt.status, xt.load_run):
        with pytest.raises(InputError, match=rf":{len(lines) + 1}: .*another run"):
            read(run.path)


def test_what_is_printed_and_nothing_is_written(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    before = state(run.path)
    text = xortune(run.path).stdout
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "32 of 80 seeds, 40.0 %; 4 of 10 proposals",
        "32 in 4 evaluations",
        "8/8 (67–100 %)",
    ):
        assert words in text
    failures = "8 seeds crashed in 1 evaluation (1 without outcome); 1 try repeated; the last: "
    assert f"{failures}still too hot" in shown(xt.status(run.path))
    for words in ("--json", "--watch"):
        assert xortune(run.path, words).exit_code == 0
    assert state(run.path) == before


def test_json(run):
    result = xortune(run.path, "--json")
    found = json.loads(result.stdout)
    assert found == json.loads(json.dumps(status_json(xt.status(run.path)))) | {"now": found["now"]}
    best = {"key": run.results[0].key, "config": run.results[0].point.as_dict()}
    assert found["best"] | best == found["best"]
    known = {"state": "stopped", "done": 4, "total": 10, "seeds_done": 32}
    known |= {"seeds_expected": [32 + 6 * 8] * 2, "workers": None, "busy": None}
    assert found | known | {"started": "2026-01-02T03:04:05.000+00:00"} == found
    assert set(asdict(xt.status(run.path))) - set(found) == {"path", "rate", "overall_rate"}


def test_watching_ends_with_the_run(run):
    ready = threading.Event()

    def work():
        with held(run.path):
            ready.set()
            time.sleep(0.2)
            append(run.path, done(4, point(4), solved(0, 3, 8)))
            update_manifest(run.path, complete=True)
            time.sleep(0.1)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    first, *more, last = watched(run.path, interval=0.02)
    thread.join()
    assert {one.state for one in (first, *more)} == {"running"}
    assert (first.done, len(more) > 1) == (4, True)
    assert (last.done, last.state) == (5, "finished")


def started(path, *words):
    words = ["-m", "xortune", "status", str(path), *words]
    return Python(words, stdout=PIPE, stderr=PIPE, text=True)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_ctrl_c_ends_the_watching_well(run, more):
    with held(run.path):
        process = started(run.path, "--watch", "--interval", "0.05", *more)
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert "running" in first
    if more:
        assert all(json.loads(line)["done"] == 4 for line in [first, *rest.splitlines()])


class Interrupting(ModuleType):
    def __getattr__(self, name):
        raise KeyboardInterrupt


@pytest.mark.parametrize("more", [[], ["--html"]])
def test_ctrl_c_before_anything_is_shown(run, monkeypatch, more):
    name = "xortune.reports.progress"
    monkeypatch.setitem(sys.modules, name, Interrupting(name))
    result = xortune(run.path, *more)
    assert result.exit_code == 3
    assert result.stderr == "interrupted: nothing was shown yet; the run is untouched\n"


def test_a_certificate_that_the_search_makes_at_its_end_is_told(tmp_path):
    text = TINY_SPACE.replace("[4]}", "[4], certify: 20}")
    path = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))], space_text=text).path
    told = "none yet: made at the end of the search, 20 fresh seeds for each finalist"
    assert (told in shown(xt.status(path)), xt.status(path).certificate.asked) == (True, 20)
    update_manifest(path, complete=True)
    assert (told in shown(xt.status(path)), xt.status(path).certificate.asked) == (False, None)


def test_labels_and_times_are_shown(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    for note, tags in (("first", ["a", "b"]), ("a <b>note", []), (None, "c"), (None, ["a"])):
        label_run(run.path, checked_labels(note, tags))
    found = xt.status(run.path)
    assert (found.note, found.tags) == ("a <b>note", ("a", "b", "c"))
    assert found.seed_seconds == 0.25
    text, report = shown(found), markdown_text(run_document(xt.load_run(run.path)))
    rows = ("note | a &lt;b&gt;note", "tags | a, b, c", "time of a seed | 250 ms, the mean of 2")
    assert [words for words in ("a <b>note", "a, b, c", "a seed 250 ms") if words not in text] == []
    assert [row for row in rows if f"| {row} |" not in report] == []


def test_labels_that_are_none_are_refused():
    for note in ("", 3, "x" * 2000):
        with pytest.raises(InputError, match="note"):
            checked_labels(note, None)
    for tag in ("a,b", ""):
        with pytest.raises(InputError, match="tags"):
            checked_labels(None, [tag])


def finished(moment, number, k, n, first=0):
    """The block of a configuration that finishes at a time."""
    return replace(done(number, point(number), solved(first, k, n)), at=moment)


def utc(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


def test_rate_and_time_left_of_a_running_search(tmp_path):
    lines = [done(number, point(number), solved(0, 8, 8)) for number in range(4)]
    given = {"trials": 10, "ladder": [8], "started": "2026-01-02T03:04:05+00:00"}
    run = write_run(tmp_path / "run", lines, **given)
    began = int(Watcher(run.path).look().started)
    with held(run.path):
        watcher = Watcher(run.path)
        first = watcher.look(began + 1000)  # of lines without a time
        assert (first.state, first.rate) == ("running", None)
        assert first.overall_rate == pytest.approx(0.032)
        assert first.seconds_left == pytest.approx((48 / 0.032, 48 / 0.032))
        for number in (4, 5):
            append(run.path, finished(began + 1000, number, 3, 8))
        for found in (watcher.look(began + 1010), Watcher(run.path).look(began + 1010)):
            assert found.rate == pytest.approx(16 / 300)
            assert found.seconds_left == pytest.approx((600, 600))
        line = status_line(found)
        assert line.startswith("48 of 80 seeds  192/h  10:00 min left  best 8/8")
        assert "192 an hour over the last minutes" in shown(found)
        # After five minutes the pace of before no longer counts; but the time left does not rise,
        # and has fallen by the time that has passed.
        assert watcher.look(began + 1301).rate is None
        append(run.path, finished(began + 1290, 6, 3, 8))
        assert watcher.look(began + 1301).rate == pytest.approx(8 / 300)
        assert watcher.look(began + 1301).seconds_left == pytest.approx((309, 309))
        assert Watcher(run.path).look(began + 1301).seconds_left == pytest.approx((900, 900))
        # A search that has just gone on has not gone on for five minutes.
        sessions = [{"made": "b" * 8}, {"made": "b" * 8, "started": utc(began + 1281)}]
        update_manifest(run.path, sessions=sessions, made={"b" * 8: {}})
        found = watcher.look(began + 1301)
        assert (found.rate, found.seconds_left) == (pytest.approx(8 / 20), pytest.approx((60, 60)))
    assert Watcher(run.path).look().state == "stopped"
    assert Watcher(run.path).look(began + 1301).rate is None


def watched_search(path, blocks, **session):
    """A search of 100 seeds with blocks of (moment, seconds), that began at 1_800_000_000."""
    began = 1_800_000_000
    lines = [
        replace(finished(began + at, number, 1, 1), seconds=seconds)
        for number, (at, seconds) in enumerate(blocks)
    ]
    sessions = [{"number": 1, "made": "b" * 8, "started": utc(began), "workers": 1, **session}]
    noted = {"trials": 100, "ladder": [1], "made": {"b" * 8: {}}, "started": utc(began)}
    return write_run(path, lines, **noted, sessions=sessions), began


def test_the_time_left_falls_while_no_result_comes_and_is_never_none(tmp_path):
    """Seeds of minutes: at each look it is less than at the one before, and it is no promise."""
    run, began = watched_search(tmp_path / "run", [(240 * n, 240.0) for n in range(1, 6)])
    with held(run.path):
        watcher = Watcher(run.path)
        left = [watcher.look(began + 1200 + 30 * at).seconds_left for at in range(40)]
        assert all(b[0] < a[0] and b[1] < a[1] for a, b in itertools.pairwise(left))
        assert min(left[-1]) > 0
        # One look after the other by new processes: it falls, too, once its speed is not known.
        alone = [Watcher(run.path).look(began + 1600 + 60 * at).seconds_left[0] for at in range(5)]
        assert all(b < a for a, b in itertools.pairwise(alone))


def test_the_time_budget_ends_the_time_left(tmp_path):
    """No training begins after it; what has begun still ends."""
    blocks = [(60 * n, 50.0) for n in range(1, 4)]
    run, began = watched_search(tmp_path / "run", blocks, time_budget=300.0)
    with held(run.path):
        found = Watcher(run.path).look(began + 190)
        # It began at 10: 120 s are left, and a seed takes 50 s.
        assert found.seconds_left == pytest.approx((170, 170))
        assert "2:50 min left" in status_line(found)
        assert Watcher(run.path).look(began + 400).seconds_left == pytest.approx((50, 50))
    update_manifest(run.path, sessions=[{**run.manifest["sessions"][0], "time_budget": 9e9}])
    with held(run.path):
        assert Watcher(run.path).look(began + 190).seconds_left[1] > 1000


def solves(config, seed):
    return True


def test_a_search_notes_its_time_budget_and_tells_what_is_left_of_it(tmp_path):
    told = []
    given = {"train": solves, "workers": 0, "verbose": 0, "check": False}
    space = {"name": "a", "parameters": {"x": {"low": 0.0, "high": 1.0}}, "search": {"trials": 3}}
    space["seeds"] = {"ladder": [2]}
    search = {"output": tmp_path / "run", "time_budget": "2m", "listener": progress(told.append)}
    run = xt.search(space, **search, **given)
    assert run.manifest["sessions"][0]["time_budget"] == 120
    assert all(0 < now.budget_left <= 120 for now in told)
    unlimited = xt.search(space, output=tmp_path / "more", **given)
    assert "time_budget" not in unlimited.manifest["sessions"][0]


RACE = TINY_SPACE.replace("trials: 3", "trials: 9").replace("[4]", "[2, 4, 8, 16]")


def test_a_race_expects_a_range_of_seeds(tmp_path):
    path, began = tmp_path / "run", 1_800_000_000
    # The third and the fifth climb, which is no proposal.
    blocks = [(10, 0, 2, 2), (20, 1, 0, 2), (700, 0, 1, 2, 2), (710, 2, 2, 2), (720, 1, 2, 6, 2)]
    lines = [finished(began + moment, *block) for moment, *block in blocks]
    given = {"trials": 9, "ladder": [2, 4, 8, 16], "space_text": RACE}
    write_run(path, lines, started=utc(began), **given)
    with held(path):
        found = Watcher(path).look(began + 800)
        assert (found.done, found.seeds_done) == (3, 14)
        # Six proposals to come; the three so far have 4, 8 and 2 of 16 seeds.
        assert found.seeds_expected == (14 + 6 * 2, 9 * 16)
        assert found.rate == pytest.approx(10 / 300)
        assert Watcher(path).look(began + 60).rate == pytest.approx(14 / 60)
        assert found.seconds_left == pytest.approx((12 / found.rate, 130 / found.rate))
        said = shown(found)
        assert "14 of 26 to 144 seeds, 9.7 % to 53.8 %; 3 of 9 proposals" in said
        assert re.search("time left +6:00 min to 1:05 h", said)
        assert "14 of 26 to 144 seeds  120/h  6:00 min to 1:05 h left" in status_line(found)
        append(path, *(finished(began + 800, number, 0, 2) for number in range(3, 9)))
        found = Watcher(path).look(began + 900)
        assert found.seeds_expected == (26, 9 * 16)
        assert "26 of 26 to 144 seeds, 18.1 % to 99.9 %; 9 of 9 proposals; the race goes on" in (
            shown(found)
        ), "never all before the end"
        assert "9 of 9 proposals; at work on what follows" not in shown(found)
        # 400 of 400 seeds prove 0 of 14 and 2 of 8 worse: they get no more.
        append(path, replace(finished(began + 900, 9, 0, 14), at=began + 900))
        append(path, finished(began + 900, 10, 400, 400))
        update_manifest(path, trials=11)
        assert Watcher(path).look(began + 901).seeds_expected == (440, 440 + 9 * 16 - 26 - 8)
    update_manifest(path, complete=True)
    assert "all 440 seeds, 11 of 11 proposals" in shown(xt.status(path))


def test_no_more_seeds_of_the_search_are_expected_while_fresh_seeds_train(tmp_path):
    path, began = tmp_path / "run", 1_800_000_000
    lines = [finished(began + 10 * number, number, 2, 2) for number in range(9)]
    given = {"trials": 9, "ladder": [2, 4, 8, 16], "space_text": RACE}
    write_run(path, lines, started=utc(began), **given)
    fresh = purpose(lines[0].block.point, 1, 1, 20)
    check = replace(finished(began + 100, 0, 2, 2, first=2000), purpose=fresh)
    with held(path):
        assert Watcher(path).look(began + 99).seeds_expected == (18, 9 * 16)
        append(path, check)
        found = Watcher(path).look(began + 101)
        assert (found.seeds_expected, found.seconds_left) == ((18, 18), (0, 0))
        assert "18 seeds  2/20 fresh seeds  best 2/2  running" in status_line(found)
        assert "all 18 seeds, 9 of 9 proposals; at work on what follows: a cert" in shown(found)
    # A later session searches on.
    with held(path):
        update_manifest(path, trials=10)
        (path / JOURNAL).write_text(
            (path / JOURNAL).read_text().replace(f'"at":{began + 100}', '"at":1700000000')
        )
        assert Watcher(path).look(began + 101).seeds_expected == (20, 10 * 16)


def test_a_run_whose_workers_start_says_so(tmp_path):
    sessions = [{"number": 1, "made": "b" * 8, "started": utc(1_800_000_000), "workers": 2}]
    given = {"trials": 8, "ladder": [4], "made": {"b" * 8: {}}, "sessions": sessions}
    run = write_run(tmp_path / "run", [], **given)
    with held(run.path):
        found = xt.status(run.path)
        assert (found.state, found.workers, found.seeds_expected) == ("running", 2, (32, 32))
        assert "starting: process" in shown(found)
        assert "no seed has a result yet; 32 are expected" in shown(found)
        assert "0 of 8" not in shown(found)
        assert status_line(found) == "0 of 32 seeds  starting"
        assert str(found) == f"Run {run.path}: starting, no seed has a result yet."
        with served(run.path) as server:
            assert data(server)[1]["sentence"].startswith("Starting.")
    assert xt.status(run.path).state == "stopped"


def test_how_busy_workers_are_by_the_lines_and_at_the_end_by_the_manifest(tmp_path):
    began = 1_800_000_000
    lines = [replace(finished(began + 10 + 8 * n, n, 1, 1), seconds=7.0) for n in range(8)]
    sessions = [{"number": 1, "made": "b" * 8, "started": utc(began), "workers": 2}]
    given = {"trials": 100, "ladder": [1], "made": {"b" * 8: {}}, "sessions": sessions}
    run = write_run(tmp_path / "run", lines, **given)
    found = xt.status(run.path)
    # Both trained from second 3 to 66: 56 of 126.
    assert (found.workers, found.busy) == (2, pytest.approx(56 / 126))
    assert re.search("workers +2, busy 44.4 % of the time", shown(found))
    sessions[0] |= {"busy_seconds": 93.0, "worker_seconds": 100.0}
    update_manifest(run.path, sessions=sessions)
    assert xt.status(run.path).busy == 0.93
    report = markdown_text(run_document(xt.load_run(run.path)))
    assert "2 workers were busy 93.0 % of the time" in report


def test_pauses_between_sessions_are_no_time_of_the_search(tmp_path):
    began = 1_800_000_000
    times = [*range(began + 1, began + 5), *range(began + 1001, began + 5 + 1000)]
    lines = [finished(at, number, 1, 1) for number, at in enumerate(times)]
    first, second, third = (
        {"number": n, "made": "b" * 8, "started": utc(began + 1000 * (n - 1))} for n in (1, 2, 3)
    )
    first |= {"workers": 2, "busy_seconds": 4.0, "worker_seconds": 8.0}
    second |= {"workers": 3, "busy_seconds": 9.0, "worker_seconds": 10.0}
    certified = {**third, "what": "certify", "started": utc(began + 1500)}
    given = {"trials": 100, "ladder": [1], "made": {"b" * 8: {}}, "started": utc(began)}
    run = write_run(tmp_path / "run", lines, **given, sessions=[first, second])
    found = xt.status(run.path)
    assert (found.seconds, found.overall_rate) == (4 + 4, 8 / 8)
    assert "1.0 a second overall" in shown(found)
    # The third trains nothing, so the workers are those of the second.
    for nothing in ({}, {"workers": 5, "busy_seconds": 0.0, "worker_seconds": 0.0}):
        sessions = [first, second, certified, {**third, **nothing}]
        update_manifest(run.path, sessions=sessions)
        found = xt.status(run.path)
        assert (found.seconds, found.workers, found.busy) == (4 + 4, 3, None)
    with held(run.path):
        assert Watcher(run.path).look(began + 2007).seconds == 4 + 4 + 7


@pytest.mark.parametrize("seeds", [{"ladder": [3]}, {"race": {"max": 8}}])
def test_a_search_tells_each_result_and_only_the_last_one_is_the_end(tmp_path, seeds):
    space = {"name": "told", "parameters": {"x": {"choice": [1, 2, 3]}}, "seeds": seeds}
    space["search"] = {"sampler": "grid"}
    told = []

    def train(config, seed):
        time.sleep(0.001)
        return seed % 4 < config["x"]

    hears = {"listener": progress(told.append), "workers": 0}
    run = xt.search(space, train=train, output=tmp_path / "run", **hears)
    *before, last = told
    seeds = int(run.table["n"].sum())
    assert (last.seeds_done, last.seeds_expected, last.ended) == (seeds, (seeds, seeds), True)
    assert not any(progress.ended for progress in before)
    done = [progress.seeds_done for progress in told]
    assert done == sorted(done)
    assert len(set(done)) >= 3, "each configuration is news, at least"
    assert last.pace.workers == 1
    [session] = run.manifest["sessions"]
    assert session["workers"] == 1
    assert 0 < session["busy_seconds"] <= session["worker_seconds"]
    assert xt.status(run).seeds_expected == (seeds, seeds)


def test_a_resumed_search_expects_the_seeds_that_it_has(tmp_path):
    space = {"name": "told", "parameters": {"x": {"low": 0.0, "high": 1.0}}}
    space |= {"search": {"sampler": "random", "trials": 4}, "seeds": {"race": {"max": 8}}}
    told = []

    def train(config, seed):
        return seed % 4 < 4 * config["x"]

    given = {"train": train, "output": tmp_path / "run", "workers": 0}
    xt.search(space, **given)
    run = xt.search(space, trials=6, resume=True, listener=progress(told.append), **given)
    for one in told:
        least, most = one.seeds_expected
        assert one.seeds_done <= least <= most
    assert told[-1].seeds_done == told[-1].seeds_expected[1] == run.table["n"].sum()
    assert not any(one.ended for one in told[:-1])


def test_when_all_seeds_are_done_it_says_what_a_search_still_does(tmp_path):
    began = 1_800_000_000
    lines = [finished(began + 5, 0, 2, 8)]
    run = write_run(tmp_path / "run", lines, trials=1, ladder=[8], started=utc(began))
    os.utime(run.path / JOURNAL, (0, began + 5))
    with held(run.path):
        found = Watcher(run.path).look(began + 100)
        assert found.overall_rate == pytest.approx(8 / 5), "nothing is to come: it stays as it is"
        assert "all 8 seeds, 1 of 1 proposals; at work on what follows: a cert" in shown(found)
        assert "time left" not in shown(found)
    assert "at work" not in shown(Watcher(run.path).look(began + 100))


# -------------------------------------------------------------------------------------------------
# The page: who is let in, what the server says, and how the command ends.


@contextmanager
def served(path, **more):
    with LiveServer(path, **more) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield server
        finally:
            server.shutdown()


def get(server, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def data(server):
    answer, body = get(server, f"/{server.token}/data")
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.status, json.loads(body)


def next_look(server, now=None):
    """What the server says at its first look after that of a time, or its error."""
    for _ in range(600):  # the machine may be busy, and looks are rarer then
        code, found = data(server)
        if code != 200 or found["status"]["now"] != now:
            return code, found
        time.sleep(0.05)
    raise AssertionError("no look in 30 s")


def test_only_who_has_the_token_sees_anything(run):
    with served(run.path) as server, served(run.path) as other:
        assert len(server.token) == 32
        assert server.token != other.token
        theirs = f"/{other.token}/"
        for path in ("/", "/data", theirs, f"{theirs}data", "//", "/%00/", "/%C3%A9/"):
            answer, body = get(server, path)
            assert answer.status == 403
            assert server.token.encode() not in body
        assert get(server, f"/{server.token}/other")[0].status == 404
        assert get(server, f"/{server.token}/", "POST")[0].status == 501
        answer, _ = get(server, f"/{server.token}")
        assert (answer.status, answer.headers["Location"]) == (308, f"/{server.token}/")


def test_a_page_whose_name_was_changed_to_this_machine_s_address_is_refused(run):
    """Its scripts could read the page: a browser takes both for one origin (DNS rebinding)."""

    def status(server, *hosts):
        with socket.create_connection(("127.0.0.1", server.server_port), 20) as connection:
            lines = "".join(f"Host: {host}\r\n" for host in hosts)
            connection.sendall(f"GET /{server.token}/ HTTP/1.1\r\n{lines}\r\n".encode())
            return int(connection.makefile("rb").readline().split()[1])

    here = ("127.0.0.1", "localhost", "LocalHost:80", "localhost.:9", "[::1]:9000")
    there = (
        "evil.example",
        "127.0.0.1.evil.example:80",
        "localhost@evil.example",
        "[",
        "",
        "10.0.0.9",
    )
    with served(run.path) as server:
        assert {status(server, host) for host in here} == {200}
        assert {status(server, host) for host in there} == {421}
        assert (status(server), status(server, "localhost", "evil.example")) == (421, 421)
    with served(run.path, host="0.0.0.0") as server:
        assert {status(server, host) for host in (*here, "10.0.0.9", socket.gethostname())} == {200}
        assert {status(server, host) for host in there[:-1]} == {421}


def test_it_listens_on_this_machine_alone_unless_asked(run):
    with LiveServer(run.path) as server:
        assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
        assert server.server_address[0] == "127.0.0.1"
        assert server.loopback
        with pytest.raises(InputError, match="cannot listen at port"):
            LiveServer(run.path, port=server.server_port)
    with LiveServer(run.path, host="0.0.0.0") as server:
        assert not server.loopback
        assert f"//{socket.gethostname()}:" in server.url


def test_the_policy_lets_the_page_run_its_own_scripts_and_ask_its_own_server(run):
    with served(run.path, interval=0.5) as server:
        answer, body = get(server, f"/{server.token}/")
    parsed, said = Parsed(body.decode()), answer.headers
    rules = runs_only_its_own(parsed, said["Content-Security-Policy"])
    assert (rules["frame-ancestors"], rules["connect-src"]) == ("'none'", "'self'")
    assert {a.get("href", "#")[0] for a in parsed.all("a")} == {"#"}
    assert (said["Cache-Control"], said["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert [tag for tag, _ in parsed.elements if tag in {"h1", "h2", "h3"}] == ["h1", *["h2"] * 5]
    own = parsed.raw[-1][2]
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|outerHTML", own)


def test_the_data_is_what_status_says_and_what_tables_and_figures_need(run):
    before = state(run.path)
    with served(run.path) as server:
        code, found = data(server)
        assert code == 200
        expected, ours = json.loads(json.dumps(status_json(xt.status(run.path)))), found["status"]
        assert ours == expected | {name: ours[name] for name in ("now", "driver")}
        count = "8 of 8 seeds solved (100 %, 95 % interval 67–100 %)"
        best = f"{count}, configuration {run.results[0].key}."
        assert f"Best so far: {best}" in found["sentence"]
        parts = {id_: Parsed(html) for id_, html in found["sections"].items()}
        assert "8/8" in parts["leading-configurations"].text
        assert "32 of 80 seeds, 40.0 %; 4 of 10 proposals" in Parsed(found["rows"]).text
        assert "The best so far over the seeds spent" in parts["curves"].text
        assert "figure-failures" in parts["failures"].ids
        spent = parts["where-the-seeds-go"]
        assert "Of 32 seeds 100.0 % went to the 4 of 4" in spent.text
        bars = {trace["name"]: trace["y"] for trace in spent.data[0]["data"]}
        assert bars == {"solved": [22 / 32], "not solved": [10 / 32]}
    assert state(run.path) == before


def test_it_grows_with_the_journal_and_tells_what_is_wrong(run, tmp_path):
    with served(run.path) as server:
        _, before = data(server)
        append(run.path, done(4, point(4), solved(0, 16, 16)))
        _, after = next_look(server, before["status"]["now"])
        assert (before["status"]["done"], after["status"]["done"]) == (4, 5)
        assert after["version"] == before["version"] + 1
        assert "16 of 16 seeds solved" in after["sentence"]
        _, same = next_look(server, after["status"]["now"])
        assert same["version"] == after["version"]  # nothing is drawn again
        run.path.rename(tmp_path / "moved")
        code, found = next_look(server, same["status"]["now"])
        assert (code, "is not a directory" in found["error"]) == (503, True)
        (tmp_path / "moved").rename(run.path)
        assert data(server)[0] == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--html", "--json"], "--html: cannot be given with --json"),
        (["--html", "--watch"], "--html: cannot be given with --watch"),
        (["--port", "80"], "add --html"),
        (["--html", "--port", "70000"], "0 to 65535"),
        (["--html", "--interval", "0"], "--interval"),
        (["--html", "--host", "no such host"], "--host"),
    ],
)
def test_what_cannot_be_is_refused(run, words, told):
    result = xortune(run.path, *words)
    assert (result.exit_code, told in result.output) == (2, True), result.output


def test_ctrl_c_ends_the_page_and_that_is_no_failure(run):
    process = started(run.path, "--html")
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    open_it = "Open this address in a browser. Ctrl-C ends the page; the run goes on.\n"
    assert (process.returncode, said) == (0, open_it)
