"""Files that are no locks, and file systems without links."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locks import a_dead_pid, lock_of

from xortune.core.errors import InputError
from xortune.runs import lock as run_lock
from xortune.runs import owner as run_lock_owner
from xortune.runs.lock import LOCK, held
from xortune.runs.owner import read_owner, this_process


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
