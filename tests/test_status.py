"""`xortune status`: what is seen of a run from outside, at little cost, and without touching it."""

import json
import os
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hand_made import CONFIG, TINY_SPACE, done, failed, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from locks import claim_of
from statuses import point, run, shown, xortune

import xortune as xt
from xortune.core.outcome import Details
from xortune.reports.progress import status_line
from xortune.runs import lock as run_lock
from xortune.runs.lock import LOCK, held
from xortune.runs.manifest import update_manifest
from xortune.runs.run import JOURNAL, load_run
from xortune.runs.status import DriverWatch, Watcher, driver_of

__all__ = ["run"]  # the fixture


def files(path):
    return {
        file.relative_to(path): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in path.rglob("*")
        if file.is_file()
    }


def owner(path, **changes):
    """A lock that somebody else has left."""
    claim_of(path, owner="f" * 32, **changes)


def test_counts_rate_and_best(run):
    os.utime(run.path / JOURNAL, (0, Watcher(run.path).look().started + 100))
    found = xt.status(run.path)
    assert isinstance(found, xt.RunStatus)
    assert (found.name, found.state, found.done, found.total) == ("a run", "stopped", 4, 10)
    assert (found.evaluations, found.seeds, found.configs) == (4, 32, 4)
    assert (found.crashed, found.crashed_seeds, found.retried) == (1, 8, 1)
    assert found.last_error == "still too hot"
    assert found.best.key == run.results[0].key
    assert found.best.point == run.results[0].point
    assert (found.best.k, found.best.n) == (8, 8)
    assert (found.best.low, found.best.high) == run.results[0].outcome.interval()
    assert found.overall_rate == pytest.approx(4 / 100)
    assert (found.rate, found.seconds_left, found.torn) == (None, None, False)
    assert xt.status(run).done == 4


BLOCKS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([100, 300]), st.booleans()),
    min_size=1,
    max_size=14,
)


STEPS = {"name": "steps_q50", "number": "steps", "statistic": "q50"}


def told(outcome, number):
    """With a number of each seed; one block in three has none."""
    if number % 3 == 0:
        return outcome
    steps = (outcome.seeds * 7 + number * 5) % 11
    return replace(outcome, details=Details(values={"steps": steps.astype(float)}))


@settings(max_examples=30)
@given(
    blocks=BLOCKS,
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
        line = (
            failed(number, point(config), first, 4)
            if crashed
            else done(number, point(config), told(solved(first, k, 4, epoch=epoch), number))
        )
        lines.append(replace(line, made=made[number]))
    path = tmp_path_factory.mktemp("runs") / "run"
    sessions = [{"number": 1, "made": "b" * 8}]
    if late:  # blocks of a config may be finished in any order
        lines.reverse()
    more = {"objectives": [STEPS | {"direction": goal}]} if goal else {}
    run = write_run(
        path, lines, sessions=sessions, made={"a" * 8: {}, "b" * 8: {}}, ladder=ladder, **more
    )
    found, first = xt.status(path), run.results[0]
    assert found.best.key == first.key
    assert (found.best.k, found.best.n) == (first.outcome.successes, first.outcome.n)
    assert found.seeds == 4 * len(blocks)
    assert found.configs == len(run.results)
    assert found.crashed_seeds == run.table["crashed"].sum() + 4 * sum(
        line.outcome is None for line in run.set_aside
    )
    assert found.done == sum(result.trials for result in run.results)
    if ladder != [4, 8, 16]:
        assert found.done == len(blocks)


def test_a_look_reads_only_what_is_new(run):
    watcher = Watcher(run.path)
    before = watcher.look()
    journal = run.path / JOURNAL
    with open(journal, "r+b") as file:  # what was read already may be anything now
        file.write(b"#" * 50)
    with open(journal, "ab") as file:
        file.write(encoded(run, 4, k=8, n=16))
    found = watcher.look()
    assert (found.done, found.seeds) == (before.done + 1, before.seeds + 16)
    with pytest.raises(xt.InputError, match=r"evaluations\.jsonl:1: is not JSON"):
        xt.status(run.path)


def encoded(run, number, *, k, n):
    """A line of the journal."""
    other = write_run(
        run.path.parent / f"o{number}", [done(number, point(number), solved(0, k, n))]
    )
    return (other.path / JOURNAL).read_bytes()


def test_a_line_that_is_being_written_is_taken_when_it_is_whole(run):
    watcher, line = Watcher(run.path), encoded(run, 7, k=2, n=4)
    parts = [line[:1], line[1:50], line[50:-1], line[-1:]]
    assert not watcher.look().torn
    for number, part in enumerate(parts, 1):
        with open(run.path / JOURNAL, "ab") as file:
            file.write(part)
        whole = number == len(parts)
        for found in (watcher.look(), xt.status(run.path)):
            assert found.torn == (not whole)
            assert (found.seeds, found.done) == ((36, 5) if whole else (32, 4))


def test_a_journal_that_was_cut_or_replaced_is_read_again(run):
    watcher, journal = Watcher(run.path), run.path / JOURNAL
    watcher.look()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))
    assert watcher.look().seeds == 16
    # As large as before, but other lines: found out at the first that does not fit.
    journal.write_bytes(
        b"".join(lines[:2]) + encoded(run, 8, k=1, n=32) + encoded(run, 9, k=1, n=4)
    )
    assert watcher.look().seeds == 16 + 36
    (run.path / "other").write_bytes(lines[0])
    (run.path / "other").replace(journal)
    assert watcher.look().seeds == 8


def test_nothing_is_written(run):
    before = files(run.path)
    xt.status(run.path)
    assert xortune(run.path).exit_code == 0
    assert xortune(run.path, "--json").exit_code == 0
    assert xortune(run.path, "--watch").exit_code == 0
    assert files(run.path) == before


def test_the_driver(tmp_path, run):
    path, now = run.path, time.time()
    assert driver_of(path, now).life == "gone"
    assert driver_of(path, now).pid is None
    with held(path):
        mine = driver_of(path, now)
        assert (mine.life, mine.pid, mine.host) == ("alive", os.getpid(), socket.gethostname())
        assert mine.since == pytest.approx(now, abs=5)
        assert f"process {os.getpid()} on {socket.gethostname()}" in shown(xt.status(path))
    owner(path, pid=4711)
    assert driver_of(path, now).life == "gone"
    assert xt.status(path).state == "stopped"
    assert f"its process 4711 on {socket.gethostname()} is gone" in shown(xt.status(path))
    [claim] = (path / LOCK).iterdir()
    claim.write_text("{}")
    result = xortune(path)
    assert result.exit_code == 2
    assert "is not the lock of a run" in result.stderr


def test_a_driver_elsewhere_lives_while_its_heart_beats(run, monkeypatch):
    monkeypatch.setattr(run_lock, "_is_local", lambda _: False)
    path, watch = run.path, DriverWatch()
    owner(path, host="far", heartbeat=1000.0)
    assert driver_of(path, 1010.0).life == "alive"
    assert driver_of(path, 1100.0).life == "gone"  # at first, clocks are all there is
    assert driver_of(path, 5000.0, watch).life == "gone"
    owner(path, host="far", heartbeat=1010.0, beats=1)
    assert driver_of(path, 5010.0, watch).life == "alive"  # clocks differ, but it moves
    assert driver_of(path, 5039.0, watch).life == "alive"
    assert driver_of(path, 5040.0, watch).life == "gone"
    assert driver_of(path, 1010.0).elsewhere
    found = Watcher(path).look(1013.0)
    assert "on far" in shown(found)
    assert "heartbeat 3 s ago" in shown(found)


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
    assert xt.status(run.path).overall_rate == pytest.approx(4 / 100)


GRID = """
name: grid
task: {csv: /nowhere/secret.csv, target: y}
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: Adam
  lr: {choice: [0.1, 0.2, 0.3]}
  hidden_dim: 3
  epochs: 10
search: {sampler: grid}
"""


@pytest.mark.parametrize(
    ("text", "total"),
    [
        (GRID, 6),
        (GRID + "start: [{activation: Tanh, lr: 0.1}]\n", 6),
        ("name: [", None),
    ],
)
def test_a_grid_says_itself_how_many_there_are(tmp_path, text, total):
    write_run(tmp_path / "run", [done(0, point(0), solved(0, 1, 4))], space_text=text, trials=None)
    found = xt.status(tmp_path / "run")
    assert found.total == total
    assert ("not known" in shown(found)) == (total is None)


def test_a_search_that_has_just_begun(tmp_path):
    path = tmp_path / "run"
    write_run(path, [], trials=3, name="new")
    (path / JOURNAL).unlink()
    found = xt.status(path)
    assert (found.done, found.total, found.best, found.written) == (0, 3, None, None)
    assert "none yet" in shown(found)


@pytest.mark.parametrize("kind", ["absent", "empty", "file", "nul"])
def test_no_run_is_told(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("x")
    elif kind == "nul":
        with pytest.raises(xt.InputError, match="is not a directory"):
            xt.status("a\0b")
        return
    for more in ([], ["--watch"], ["--json"], ["--watch", "--json"]):
        result = xortune(path, *more)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
        what = "holds no run" if kind == "empty" else "is not a directory"
        assert what in result.stderr
        assert "xortune search" in result.stderr


@pytest.mark.parametrize("other", [{"made": "c" * 8}, {"proposal": 0}])
def test_a_line_of_another_run_is_not_counted_in_silence(run, other):
    journal = run.path / JOURNAL
    lines = journal.read_text().splitlines()
    update_manifest(run.path, made={"a" * 8: {}}, sessions=[{"number": 1, "made": "a" * 8}])
    line = {**json.loads(lines[1]), "first": 4000, "made": "a" * 8, **other}
    journal.write_text("".join(line + "\n" for line in [*lines, json.dumps(line)]))
    for read in (xt.status, xt.load_run):
        with pytest.raises(xt.InputError, match=rf":{len(lines) + 1}: .*another run"):
            read(run.path)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A search of three configs, of which two are certified."""
    from xortune.trainers.network import NetworkTrainer

    path = tmp_path_factory.mktemp("certified") / "run"
    space = xt.load_space(write(path.parent / "tiny.yaml", TINY_SPACE))
    trainer = NetworkTrainer(space.task)
    lines = []
    for number, lr in enumerate((0.02, 0.03, 0.04)):
        config = trainer.check(xt.Point(CONFIG | {"lr": lr, "hidden_dim": 3, "epochs": 30}))
        lines.append(done(number, config, solved(0, 2 + number, 8, epochs=30, epoch=9)))
    write_run(path, lines, space_text=TINY_SPACE, trainer="network", task="xor", trials=3)
    xt.certify(path, top=2, seeds=30)
    return load_run(path)


def write(path, text):
    path.write_text(text)
    return path


def test_the_certificate(certified):
    found, best = xt.status(certified).certificate, certified.certificate.best
    assert (found.state, found.attempt, found.done, found.planned) == ("complete", 1, 60, 60)
    assert (found.key, found.k, found.n) == (best.key, best.k, best.n)
    assert (found.lower_bound, found.confidence) == (best.lower_bound, 0.95)
    assert f"{best.k}/{best.n} fresh seeds, at least" in shown(xt.status(certified))
    # What certificates are made of is none of the search's.
    assert (xt.status(certified).seeds, xt.status(certified).done) == (24, 3)


def test_a_certificate_that_is_being_made(certified, tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    lines = (certified.path / JOURNAL).read_text().splitlines(keepends=True)
    fresh = [line for line in lines if '"purpose"' in line]
    (path / JOURNAL).write_text("".join(line for line in lines if line != fresh[-1]))
    found = xt.status(path).certificate
    assert (found.state, found.attempt, found.planned) == ("begun", 1, 60)
    assert 0 < found.done < 60
    assert found.lower_bound is None
    assert f"attempt 1: {found.done} of 60 fresh seeds" in shown(xt.status(path))
    assert f"{found.done}/60 fresh seeds" in status_line(xt.status(path))
    (path / "certificate.json").write_text("[]")
    assert "is not a certificate" in xortune(path).stderr
