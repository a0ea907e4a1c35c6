"""One driver for each run: who holds it, who does no longer, and that of many one gets it."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from drivers import beat_of, claim_of, fast, other, owners, program, share, wait_until
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.runs import lock as run_lock
from xortune.runs.journal import held_journal
from xortune.runs.lock import LOCK, held, holder, refuse_held, this_process

__all__ = ["fast", "other", "share"]  # the fixtures

RACE = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from xortune.core.errors import InputError
from xortune.runs import lock
from xortune.runs.lock import held

if sys.argv[3] == "share":
    lock._is_local, lock.flock = lambda _: False, lambda *_, **__: True
    lock.LEASE_SECONDS, lock.LOOK_SECONDS, lock.HEARTBEAT_SECONDS = 0.6, 0.05, 0.1

start, pause, won = float(sys.argv[1]), float(sys.argv[2]), []
with ExitStack() as stack:
    for number, name in enumerate(sys.argv[4:]):
        while time.time() < start + number * pause:
            pass
        try:
            stack.enter_context(held(Path(name)))  # and keep it while the others are tried
            won.append(Path(name).name)
        except InputError as error:
            assert "another search holds this run: pid" in str(error), error
    print(*won, flush=True)
    sys.stdin.read()  # until all have tried all
"""

FORK = """
import os, sys, time
from pathlib import Path
from xortune.runs.journal import held_journal
from xortune.runs.lock import held
with held_journal(Path(sys.argv[1]) / "j", "0" * 8), held(Path(sys.argv[1])) as lock:
    if not os.fork() and os.fork():
        sys.exit()  # it holds nothing, and takes nothing away
    if lock.owner.pid == os.getpid():
        os.wait()
        lock.check()
        print("held", flush=True)
    time.sleep(60)
"""


def is_refused(folder, words="another search holds this run", take=None):
    """To take a run, or what else is to be tried."""
    with pytest.raises(InputError, match=words):
        (take or held(folder).__enter__)()


def is_refused_to_a_thread(folder):
    with ThreadPoolExecutor() as pool:
        is_refused(folder, take=pool.submit(held(folder).__enter__).result)


# Taken and released.


def test_the_claim_says_who_and_no_password(tmp_path, monkeypatch):
    words = ["/bin/xortune", "search", "s.yaml", "--mlflow", "http://me:secret@h/d"]
    monkeypatch.setattr("sys.argv", words)
    with held(tmp_path / "run") as lock:
        [found] = owners(tmp_path / "run")
        assert (found["pid"], found["host"]) == (os.getpid(), os.uname().nodename)
        told = "xortune search s.yaml --mlflow http://me:***@h/d"
        assert found["command"].replace("'", "") == told
        assert abs(found["heartbeat"] - time.time()) < 5
        assert holder(tmp_path / "run") == (lock.owner, "alive")
        lock.check()
    assert holder(tmp_path) is None


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError, SystemExit])
def test_nothing_is_left_whatever_happens(tmp_path, error):
    (tmp_path / "a").mkdir()
    for place in (tmp_path / "a", tmp_path / "b" / "c"):  # made for it, or there before
        with suppress(KeyboardInterrupt, ValueError, SystemExit), held(place):
            if error is not None:
                raise error
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "b"]


def test_one_thread_may_take_it_twice_and_another_may_not(tmp_path):
    with held(tmp_path) as lock:
        with held(tmp_path / ".") as again:
            assert again is lock
        assert owners(tmp_path)
        is_refused_to_a_thread(tmp_path)


# Held by another process.


def test_a_child_that_was_forked_does_not_keep_a_killed_driver_alive(tmp_path):
    driver = program(FORK, tmp_path, start_new_session=True)
    try:
        assert driver.stdout.readline() == "held\n"
        assert holder(tmp_path)[1] == "alive"
        driver.kill()
        driver.wait()
        wait_until(lambda: holder(tmp_path)[1] == "gone")  # the child has begun
        with held_journal(tmp_path / "j", "0" * 8):
            assert holder(tmp_path)[0].pid == os.getpid()
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()


@pytest.mark.parametrize(("where", "left"), [("disk", 0), ("disk", 2), ("share", 1)])
def test_of_many_at_once_one_has_it(tmp_path, left, where):
    """The run is free, or was left by one or by two that were killed."""
    folders = [tmp_path / f"run{i}" for i in range(4 if where == "disk" else 2)]
    for folder in folders:
        folder.mkdir()
        for number in range(left):
            claim_of(folder, owner=f"{number:032x}")
    start = time.time() + 1.0
    pause = 0.1 if where == "disk" or not left else 1.5
    words = (start, pause, where, *folders)
    racing = [program(RACE, *words, stdin=subprocess.PIPE) for _ in range(4)]
    won = [name for process in racing for name in process.stdout.readline().split()]
    for process in racing:
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert sorted(won) == sorted(folder.name for folder in folders)


def test_who_claims_too_late_is_refused_at_once(tmp_path, monkeypatch):
    """It saw nobody; when its claim is there another one has the run, whose name comes later."""
    real, has_it, over = run_lock._Directory.claim, threading.Event(), threading.Event()

    def second():
        with held(tmp_path):
            has_it.set()
            over.wait(30)

    thread = threading.Thread(target=second)

    def slow(self, name, data):
        if not has_it.is_set() and threading.current_thread() is not thread:
            thread.start()
            assert has_it.wait(20)
        real(self, name, data)

    first = replace(this_process(), owner="a" * 32)
    names = iter([first, replace(first, owner="b" * 32)])
    monkeypatch.setattr(run_lock, "this_process", lambda: next(names))
    monkeypatch.setattr(run_lock._Directory, "claim", slow)
    began = time.monotonic()
    is_refused(tmp_path)
    assert time.monotonic() - began < 15  # the other has it for 30
    assert [one["owner"] for one in owners(tmp_path)] == ["b" * 32]
    over.set()
    thread.join()
    assert not (tmp_path / LOCK).exists()


# A copy of the directory, and tools that touch it.


def test_a_copy_of_a_run_that_is_held_can_be_taken(other, tmp_path):
    (process, folder), copy, said = other, tmp_path / "copy", []
    shutil.copytree(folder, copy)
    assert [holder(one)[1] for one in (folder, copy)] == ["alive", "gone"]
    with held(copy, on_message=said.append):
        assert holder(folder)[0].pid == process.pid
    assert "does not hold it any more" in said[0]
    assert not (copy / LOCK).exists()
    is_refused(folder)


# On a share, where other machines may be clones of this one: a lease.


def test_a_claim_that_stands_still_is_taken(tmp_path, share):
    claim_of(tmp_path, host="elsewhere", heartbeat=4e9)  # no clocks are compared
    assert holder(tmp_path)[1] == "elsewhere"
    said, began = [], time.monotonic()
    with held(tmp_path, on_message=said.append) as lock:
        assert time.monotonic() - began >= 0.5
        assert [one["owner"] for one in owners(tmp_path)] == [lock.owner.owner]
    waiting, taken = said
    assert "waiting for it" in waiting
    assert re.search("taken over from pid .*elsewhere.*not renewed", taken)


@pytest.mark.parametrize("host", ["elsewhere", os.uname().nodename])
def test_a_claim_that_is_renewed_is_held(tmp_path, share, host):
    """Also by a clone of this machine, which calls itself the same in all respects."""
    owner = claim_of(tmp_path, host=host)
    timer = threading.Timer(0.05, beat_of, (tmp_path, replace(owner, beats=1)))
    timer.start()
    is_refused(tmp_path, f"another search holds this run: pid {os.getpid()} on {host}")
    timer.join()
    is_refused(tmp_path, take=lambda: refuse_held(tmp_path))


def test_the_heart_beats_while_it_is_held(tmp_path, share):
    with held(tmp_path) as lock:
        first = holder(tmp_path)[0]
        wait_until(lambda: holder(tmp_path)[0].beats > first.beats + 5)
        now = holder(tmp_path)[0]
        assert now.heartbeat > first.heartbeat
        assert now.owner == lock.owner.owner
        is_refused_to_a_thread(tmp_path)


# Who has lost it.


def test_who_was_succeeded_stops_before_the_next_line_and_leaves_the_others_lock(tmp_path):
    with held(tmp_path) as lock:
        lock.check()
        [mine] = (tmp_path / LOCK).glob("*.json")
        mine.unlink()
        other = claim_of(tmp_path, host="elsewhere")
        for _ in range(2):
            is_refused(tmp_path, "taken over by pid .* on elsewhere", lock.check)
    assert [one["owner"] for one in owners(tmp_path)] == [other.owner]


def test_a_claim_that_somebody_removed_is_lost(tmp_path):
    with held(tmp_path) as lock:
        shutil.rmtree(tmp_path / LOCK)
        is_refused(tmp_path, "no longer holds its run.*removed", lock.check)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_stopped_lets_its_heart_beat_before_it_writes(tmp_path, monkeypatch):
    """SIGSTOP, or a lid that was closed: who waits for its lease to end sees it in time."""
    with held(tmp_path) as lock:
        real, beats = run_lock._now, holder(tmp_path)[0].beats
        lock.check()
        assert holder(tmp_path)[0].beats == beats
        monkeypatch.setattr(run_lock, "_now", lambda: real() + 100)
        lock.check()
        assert holder(tmp_path)[0].beats == beats + 1


# Claims that are none.


@pytest.mark.parametrize("text", ["", "{}", "[" * 5000, "null", "x" * 100_000, '{"pid": 1}'])
def test_what_is_no_lock_is_told_with_what_to_do(tmp_path, text):
    claim_of(tmp_path)
    [place] = (tmp_path / LOCK).iterdir()
    place.write_text(text)
    is_refused(tmp_path, r"f\.json: is not the lock.*remove it")
    assert place.read_text() == text


def test_a_half_written_beat_counts_as_none(tmp_path, share):
    owner = claim_of(tmp_path)
    (tmp_path / LOCK / f"0001-{owner.owner}.beat").write_bytes(owner.as_bytes()[:50])
    assert holder(tmp_path) == (owner, "elsewhere")


def test_nothing_in_it_reaches_the_terminal(tmp_path):
    owner = replace(this_process(), command="a\x1b[2Jb\n\u202ec", host="h\x07", since="\x1b[1m")
    assert "pid" in str(owner)
    assert str(owner).isprintable()


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0))
def test_a_claim_is_read_as_it_was_written(tmp_path_factory, command, host, heartbeat, beats):
    told, folder = {"command": command[:99], "host": host[:99]}, tmp_path_factory.getbasetemp()
    owner = claim_of(folder, heartbeat=heartbeat, beats=beats, **told)
    assert holder(folder)[0] == owner


def test_what_is_local_is_known_by_its_mount(monkeypatch):
    mounts = (
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "28 27 0:25 / /home rw shared:1 - nfs4 server:/home rw\n"
        "29 28 0:26 / /home/a\\040b rw - xfs /dev/vdb rw\n"
        "30 27 0:27 / /mnt rw - fuse.sshfs host:/ rw\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    wanted = {"/tmp/x": True, "/homes": True, "/home/x": False, "/home/a b/c": True, "/mnt": False}
    assert {place: run_lock._is_local(Path(place)) for place in wanted} == wanted


def test_a_link_in_a_run_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "mine")
    is_refused(tmp_path / "run", "symbolic link")
    assert list((tmp_path / "mine").iterdir()) == []
