"""One driver for each run: who holds it, who does no longer, and that of many one gets it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace

import pytest
from locks import a_dead_pid, fast, lock_of, other, program, state

from xortune.core.errors import InputError
from xortune.runs import lock as run_lock
from xortune.runs import owner as run_lock_owner
from xortune.runs.lock import LOCK, held, holder, refuse_held
from xortune.runs.owner import life_of, read_owner, this_process

__all__ = ["fast", "other"]  # the fixtures

RACE = """
import sys, time
from pathlib import Path
from xortune.core.errors import InputError
from xortune.runs.lock import held

def take(folder):
    with held(folder):
        won.append(folder.name)
        take_next()

def take_next():
    while folders:
        at, folder = folders.pop(0)
        while time.time() < at:
            pass
        try:
            take(folder)  # and keep it while the others are tried
            return
        except InputError as error:
            assert "another search holds this run: pid" in str(error), error
    print(*won, flush=True)
    sys.stdin.read()  # until all have tried all

start, pause, won = float(sys.argv[1]), float(sys.argv[2]), []
folders = [(start + i * pause, Path(name)) for i, name in enumerate(sys.argv[3:])]
take_next()
"""


# Taken and released.


def test_the_file_says_who(tmp_path):
    with held(tmp_path / "run") as lock:
        fields = json.loads((tmp_path / "run" / LOCK).read_text())
        assert fields["pid"] == os.getpid()
        assert fields["host"] == os.uname().nodename
        assert fields["owner"] == lock.owner.owner
        assert abs(fields["heartbeat"] - time.time()) < 5
        assert holder(tmp_path / "run") == (lock.owner, "alive")
        lock.check()
    assert holder(tmp_path) is None


def test_it_holds_no_password(tmp_path, monkeypatch):
    words = ["/bin/xortune", "search", "s.yaml", "--study-storage", "postgresql://me:secret@h/d"]
    monkeypatch.setattr("sys.argv", words)
    with held(tmp_path / "run") as lock:
        text = (tmp_path / "run" / LOCK).read_text()
        assert lock.owner.command.startswith("xortune search s.yaml --study-storage ")
    assert "me:***@h/d" in text
    assert "secret" not in text


def test_nothing_is_left(tmp_path):
    with held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_it_is_released_whatever_happens(tmp_path, error):
    with pytest.raises(error), held(tmp_path):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_which_nothing_came_to_be_is_not_left(tmp_path):
    with held(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a" / "b").exists()
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_one_thread_may_take_it_twice_and_another_may_not(tmp_path):
    refused = []

    def second():
        try:
            with held(tmp_path):
                pass
        except InputError as error:
            refused.append(str(error))

    with held(tmp_path) as lock:
        with held(tmp_path / ".") as again:
            assert again is lock
        assert (tmp_path / LOCK).exists()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert f"pid {os.getpid()}" in refused[0]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "a\0b"):
        with (
            pytest.raises(InputError, match=r"cannot be .*another directory with output"),
            held(place),
        ):
            pass


# Held by another process.


def test_a_second_driver_is_refused_and_changes_nothing(other):
    process, folder = other
    before = state(folder)
    for _ in range(2):
        with pytest.raises(InputError) as caught, held(folder):
            pass
        with pytest.raises(InputError, match="another search holds this run"):
            refuse_held(folder)
    clock = time.strftime("%H:%M")
    assert f"another search holds this run: pid {process.pid} on {os.uname().nodename} since" in (
        str(caught.value)
    )
    assert clock[:3] in str(caught.value)
    assert str(folder) in str(caught.value)
    assert state(folder) == before


def test_after_kill_9_the_next_one_says_so_and_goes_on(other):
    process, folder = other
    process.kill()
    # Not waited for: a zombie is dead, too.
    deadline = time.monotonic() + 5
    while life_of(read_owner(folder / LOCK)) != "gone":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refuse_held(folder)
    said = []
    with held(folder, say=said.append) as lock:
        assert holder(folder) == (lock.owner, "alive")
    assert len(said) == 1
    assert f"taken over from pid {process.pid}" in said[0]
    assert "gone" in said[0]
    assert list(folder.iterdir()) == []


def test_ctrl_c_releases(other):
    process, folder = other
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0] == "interrupted\n"
    assert not folder.exists()


def races(tmp_path, prepare, rounds=8, processes=6):
    folders = [tmp_path / f"run{i}" for i in range(rounds)]
    for folder in folders:
        prepare(folder)
    start = time.time() + 0.5
    racing = [program(RACE, start, 0.08, *folders, stdin=subprocess.PIPE) for _ in range(processes)]
    won = [name for process in racing for name in process.stdout.readline().split()]
    for process in racing:
        process.communicate(timeout=30)
    assert [process.returncode for process in racing] == [0] * processes
    assert sorted(won) == sorted(folder.name for folder in folders)


def test_of_many_at_once_one_has_it(tmp_path):
    races(tmp_path, lambda folder: folder.mkdir())


def test_of_many_at_once_one_takes_over_from_a_dead_one(tmp_path):
    dead = a_dead_pid()
    races(tmp_path, lambda folder: lock_of(folder, pid=dead))


def test_of_many_at_once_one_takes_over_from_one_that_died_taking_over(tmp_path):
    dead = a_dead_pid()

    def prepare(folder):
        lock_of(folder, pid=dead)
        heir = replace(this_process(), pid=dead, owner="e" * 32)
        (folder / f".{LOCK}.{'f' * 32}").write_bytes(heir.as_bytes())

    races(tmp_path, prepare)


def test_who_sees_a_dead_lock_that_was_taken_over_meanwhile_is_refused(tmp_path, monkeypatch):
    dead = lock_of(tmp_path, pid=a_dead_pid())
    alive = replace(this_process(), owner="a" * 32)
    seen, files = iter([dead]), []
    real = run_lock.read_owner

    def slow(place):
        if place.name != LOCK:
            return real(place)
        old = next(seen, None)
        if old is not None:
            place.write_bytes(alive.as_bytes())
            files.append(place.open("rb"))  # as who holds it has it
        return old or real(place)

    monkeypatch.setattr(run_lock, "read_owner", slow)
    with pytest.raises(InputError, match="another search holds"), held(tmp_path):
        pass
    files[0].close()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert read_owner(tmp_path / LOCK) == alive


# Who is alive.


def test_a_process_is_known_by_its_start_and_its_machine():
    mine = this_process()
    assert life_of(mine) == "alive"
    assert life_of(replace(mine, pid=a_dead_pid())) == "gone"
    assert life_of(replace(mine, process_start=mine.process_start - 1)) == "gone"  # id used again
    assert life_of(replace(mine, pid=2**40)) == "gone"
    assert life_of(replace(mine, boot_id="another")) == "elsewhere"  # a clone, or started again
    assert life_of(replace(mine, host="another")) == "elsewhere"
    assert life_of(replace(mine, machine="another")) == "elsewhere"  # two that are called localhost
    assert life_of(replace(mine, pid_namespace="pid:[1]")) == "elsewhere"  # a container's
    assert life_of(replace(mine, pid=a_dead_pid(), pid_namespace="pid:[1]")) == "elsewhere"
    assert life_of(replace(mine, boot_id="")) == "elsewhere"


def test_somebody_elses_process_is_alive():
    init = replace(this_process(), pid=1, process_start=run_lock_owner._started(1))
    assert life_of(init) == "alive"


def test_without_proc_the_id_decides(monkeypatch):
    def none(path):
        return ""

    monkeypatch.setattr(run_lock_owner, "_first_line", none)
    monkeypatch.setattr(run_lock_owner, "_started", {}.get)
    monkeypatch.setattr(run_lock_owner.sys, "platform", "darwin")
    mine = this_process()
    assert life_of(mine) == "alive"
    assert life_of(replace(mine, pid=a_dead_pid())) == "gone"


def test_a_machine_that_was_started_again_may_be_its_clone(tmp_path, fast):
    """Two hosts of one name and machine-id: the second waits for the first one's heartbeat."""
    owner = lock_of(tmp_path, boot_id="an earlier one")
    timer = threading.Timer(
        0.05, lambda: (tmp_path / LOCK).write_bytes(replace(owner, beats=1).as_bytes())
    )
    timer.start()
    with pytest.raises(InputError, match="another search holds this run"), held(tmp_path):
        pass
    timer.join()
    said = []
    with held(tmp_path, say=said.append):
        pass
    assert "was not renewed" in said[1]


def test_a_sandbox_without_an_id_of_its_start_may_be_another(monkeypatch):
    real = run_lock_owner._first_line
    monkeypatch.setattr(
        run_lock_owner, "_first_line", lambda path: "" if path.endswith("boot_id") else real(path)
    )
    assert life_of(this_process()) == "elsewhere"


# A copy of the directory.


def test_a_copy_of_a_run_that_is_held_can_be_taken(other, tmp_path):
    process, folder = other
    shutil.copytree(folder, tmp_path / "copy")
    assert holder(folder)[1] == "alive"
    assert holder(tmp_path / "copy")[1] == "copied"
    said = []
    with held(tmp_path / "copy", say=said.append):
        assert holder(folder)[0].pid == process.pid
    assert "of which this is a copy" in said[0]
    assert not (tmp_path / "copy" / LOCK).exists()
    with pytest.raises(InputError, match="another search holds this run"), held(folder):
        pass


def test_a_tool_that_writes_the_lock_anew_takes_it_from_nobody(tmp_path, fast):
    with held(tmp_path) as lock:
        (tmp_path / "copy").write_bytes((tmp_path / LOCK).read_bytes())
        (tmp_path / "copy").replace(tmp_path / LOCK)
        lock.check()
        assert holder(tmp_path)[1] == "alive"
        beats = read_owner(tmp_path / LOCK).beats
        deadline = time.monotonic() + 5
        while read_owner(tmp_path / LOCK).beats <= beats:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not (tmp_path / LOCK).exists()


# Who has lost it.


@pytest.mark.parametrize("act", ["takes it over", "removes it"])
def test_who_lost_it_notices_before_the_next_line(tmp_path, act):
    with held(tmp_path) as lock:
        lock.check()
        if act == "removes it":
            (tmp_path / LOCK).unlink()
        else:
            (tmp_path / "new").write_bytes(replace(this_process(), owner="a" * 32).as_bytes())
            (tmp_path / "new").replace(tmp_path / LOCK)
        with pytest.raises(InputError, match="this search has lost its run"):
            lock.check()
