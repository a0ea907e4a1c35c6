"""A lock of another machine: a lease, and who loses it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import pytest
from locks import fast, lock_of

from xortune.core.errors import InputError
from xortune.runs import lock as run_lock
from xortune.runs.lock import LOCK, held, refuse_held
from xortune.runs.owner import read_owner, this_process

__all__ = ["fast"]  # the fixture

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
