"""One driver for each run: who holds it, who does no longer, and that of many one gets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune import run_lock, run_lock_owner
from xortune.errors import InputError
from xortune.run_lock import LOCK, held, holder, refuse_held
from xortune.run_lock_owner import life_of, read_owner, this_process

HOLD = """
import sys, time
from pathlib import Path
from xortune.run_lock import held
try:
    with held(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

RACE = """
import sys, time
from pathlib import Path
from xortune.errors import InputError
from xortune.run_lock import held

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


def program(text, *args, **more):
    command = [sys.executable, "-c", text, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)


@pytest.fixture
def other(tmp_path):
    """Another process that holds tmp_path/run, and that directory."""
    process = program(HOLD, tmp_path / "run")
    assert process.stdout.readline() == "held\n"
    yield process, tmp_path / "run"
    process.kill()
    process.communicate()


@pytest.fixture
def fast(monkeypatch):
    """Leases of less than a second."""
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(run_lock, "LOOK_SECONDS", 0.02)


def lock_of(folder, **changes):
    """Write a lock as another process would have left it."""
    folder.mkdir(exist_ok=True)
    owner = replace(this_process(), **{"owner": "f" * 32, **changes})
    (folder / LOCK).write_bytes(owner.as_bytes())
    return owner


def a_dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def state(folder):
    """All that is in a directory: bytes, times, and those of the directory."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


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
        with pytest.raises(InputError, match=r"cannot be .*--output"), held(place):
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
    seen = iter([dead])
    real = run_lock.read_owner

    def slow(place):
        if place.name != LOCK:
            return real(place)
        old = next(seen, None)
        if old is not None:
            place.write_bytes(alive.as_bytes())
        return old or real(place)

    monkeypatch.setattr(run_lock, "read_owner", slow)
    with pytest.raises(InputError, match="another search holds"), held(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert read_owner(tmp_path / LOCK) == alive


# Who is alive.


def test_a_process_is_known_by_its_start_and_its_machine():
    mine = this_process()
    assert life_of(mine) == "alive"
    assert life_of(replace(mine, pid=a_dead_pid())) == "gone"
    assert life_of(replace(mine, process_start=mine.process_start - 1)) == "gone"  # id used again
    assert life_of(replace(mine, pid=2**40)) == "gone"
    assert life_of(replace(mine, boot_id="another")) == "rebooted"
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
    mine = this_process()
    assert life_of(mine) == "alive"
    assert life_of(replace(mine, pid=a_dead_pid())) == "gone"


def test_a_machine_that_was_started_again(tmp_path):
    lock_of(tmp_path, boot_id="an earlier one")
    said = []
    with held(tmp_path, say=said.append):
        pass
    assert "started again" in said[0]


# On another machine: a lease.


@pytest.mark.parametrize("clock", [1.0, 4e9])
def test_a_lock_elsewhere_that_stands_still_is_taken(tmp_path, fast, clock):
    lock_of(tmp_path, host="elsewhere", heartbeat=clock)
    said, began = [], time.monotonic()
    with held(tmp_path, say=said.append) as lock:
        assert time.monotonic() - began >= 0.5
        assert read_owner(tmp_path / LOCK).owner == lock.owner.owner
    assert len(said) == 2
    assert "waiting" in said[0]
    assert "taken over from pid" in said[1]
    assert "elsewhere" in said[1]


@pytest.mark.parametrize("clock", [1.0, 4e9])
def test_a_lock_elsewhere_that_is_renewed_is_held(tmp_path, fast, clock):
    owner = lock_of(tmp_path, host="elsewhere", heartbeat=clock)

    def renew():
        (tmp_path / LOCK).write_bytes(replace(owner, beats=1).as_bytes())

    timer = threading.Timer(0.05, renew)
    timer.start()
    refused = f"another search holds this run: pid {os.getpid()} on elsewhere"
    with pytest.raises(InputError, match=refused), held(tmp_path):
        pass
    timer.join()
    assert read_owner(tmp_path / LOCK).beats == 1
    with pytest.raises(InputError, match="another search holds"):
        refuse_held(tmp_path)


def test_a_lock_elsewhere_that_is_released_while_it_is_watched(tmp_path, fast):
    lock_of(tmp_path, host="elsewhere")
    timer = threading.Timer(0.1, (tmp_path / LOCK).unlink)
    timer.start()
    said = []
    with held(tmp_path, say=said.append):
        pass
    timer.join()
    assert len(said) == 1, "it is waited for, not taken over"


def test_the_heartbeat(tmp_path, fast):
    with held(tmp_path) as lock:
        size, first = (tmp_path / LOCK).stat().st_size, read_owner(tmp_path / LOCK)
        deadline = time.monotonic() + 5
        while read_owner(tmp_path / LOCK).beats < 12:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        now = read_owner(tmp_path / LOCK)
        assert now.heartbeat > first.heartbeat
        assert (tmp_path / LOCK).stat().st_size == size
        assert now.owner == lock.owner.owner


# Who loses it.


def test_who_was_succeeded_stops_and_leaves_the_others_lock(tmp_path, fast):
    with held(tmp_path) as lock:
        lock.check()
        other = replace(this_process(), owner="a" * 32, host="elsewhere")
        (tmp_path / "new").write_bytes(other.as_bytes())
        (tmp_path / "new").replace(tmp_path / LOCK)
        time.sleep(0.3)  # heartbeats
        with pytest.raises(InputError, match=r"taken over by pid .* on elsewhere"):
            lock.check()
        assert (tmp_path / LOCK).read_bytes() == other.as_bytes()
    assert (tmp_path / LOCK).read_bytes() == other.as_bytes()


def test_a_heartbeat_in_the_moment_of_the_change_is_nobodys(tmp_path, monkeypatch):
    other = replace(this_process(), owner="a" * 32)
    with held(tmp_path) as lock:
        (tmp_path / "new").write_bytes(other.as_bytes())
        real = run_lock.os.lseek

        def late(*args):  # after the look at the file, before the write
            (tmp_path / "new").replace(tmp_path / LOCK)
            return real(*args)

        monkeypatch.setattr(run_lock.os, "lseek", late)
        lock.renew()
        monkeypatch.undo()
        assert (tmp_path / LOCK).read_bytes() == other.as_bytes()
    assert (tmp_path / LOCK).read_bytes() == other.as_bytes()


def test_a_lock_that_somebody_removed_is_lost(tmp_path):
    with held(tmp_path) as lock:
        (tmp_path / LOCK).unlink()
        lock.renew()
        with pytest.raises(InputError, match="removed"):
            lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_stopped_looks_before_it_writes(tmp_path, monkeypatch):
    """SIGSTOP, or a lid that was closed: its thread had no chance yet."""
    with held(tmp_path) as lock:
        real = run_lock._now
        monkeypatch.setattr(run_lock, "_now", lambda: real() + 100)
        lock.check()  # nobody took it
        lock.check()
        (tmp_path / LOCK).write_bytes(replace(this_process(), owner="a" * 32).as_bytes())
        lock.check()  # renewed a moment ago
        monkeypatch.setattr(run_lock, "_now", lambda: real() + 200)
        with pytest.raises(InputError, match="taken over"):
            lock.check()


def test_a_lease_that_cannot_be_renewed_ends(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    with held(tmp_path) as lock:
        monkeypatch.setattr(run_lock.os, "write", broken)
        lock.renew()
        lock.check()  # another attempt may succeed
        real = run_lock._now
        monkeypatch.setattr(run_lock, "_now", lambda: real() + 51)
        with pytest.raises(InputError, match="could not be renewed"):
            lock.check()
        monkeypatch.undo()
        with pytest.raises(InputError, match="could not be renewed"):
            lock.check()


# Files that are no locks, and file systems without links.


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(run_lock_owner.time, "sleep", {}.get)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[" * 5000, "null", "x" * 100_000, '{"pid": 1}'],
)
def test_what_is_no_lock_is_told_with_what_to_do(tmp_path, impatient, text):
    (tmp_path / LOCK).write_text(text)
    told = r"lock\.json: is no lock.*remove the file"
    with pytest.raises(InputError, match=told), held(tmp_path):
        pass
    assert (tmp_path / LOCK).read_text() == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("owner", "../../x"),
        ("owner", "F" * 32),
        ("pid", 0),
        ("pid", -1),
        ("pid", "1"),
        ("pid", True),
        ("beats", None),
        ("command", 3),
        ("since", []),
        ("heartbeat", "now"),
    ],
)
def test_every_entry_is_checked(tmp_path, impatient, name, value):
    fields = json.loads(this_process().as_bytes())
    (tmp_path / LOCK).write_text(json.dumps({**fields, name: value}))
    with pytest.raises(InputError, match="is no lock"):
        read_owner(tmp_path / LOCK)


def test_a_lock_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(InputError, match="regular file"), held(tmp_path):
        pass


def test_a_half_written_heartbeat_is_read_again(tmp_path):
    owner = lock_of(tmp_path)
    whole = owner.as_bytes()
    (tmp_path / LOCK).write_bytes(whole[:50])
    timer = threading.Timer(0.05, lambda: (tmp_path / LOCK).write_bytes(whole))
    timer.start()
    assert read_owner(tmp_path / LOCK) == owner
    timer.join()


def test_nothing_in_it_reaches_the_terminal(tmp_path):
    owner = replace(this_process(), command="a\x1b[2Jb\n\u202ec", host="h\x07", since="\x1b[1m")
    assert "pid" in str(owner)
    assert str(owner).isprintable()


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0))
def test_a_lock_is_read_as_it_was_written(tmp_path_factory, command, host, heartbeat, beats):
    place = tmp_path_factory.getbasetemp() / "round.json"
    owner = replace(
        this_process(), command=command, host=host[:99], heartbeat=heartbeat, beats=beats
    )
    place.write_bytes(owner.as_bytes())
    if len(owner.as_bytes()) < run_lock_owner.MOST_BYTES:
        assert read_owner(place) == owner


def no_links(*_):
    raise OSError(1, "Operation not permitted")


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock.os, "link", no_links)
    lock_of(tmp_path, pid=a_dead_pid())
    with held(tmp_path) as lock:
        assert read_owner(tmp_path / LOCK) == lock.owner
        lock.renew()
        assert read_owner(tmp_path / LOCK).beats == 1
        assert run_lock._created(tmp_path / LOCK, this_process()) is None
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_what_it_has_done(tmp_path, monkeypatch):
    real = os.link

    def twice(*args):
        real(*args)
        real(*args)

    monkeypatch.setattr(run_lock.os, "link", twice)
    with held(tmp_path) as lock:
        lock.renew()
        assert read_owner(tmp_path / LOCK).owner == lock.owner.owner
    assert list(tmp_path.iterdir()) == []
