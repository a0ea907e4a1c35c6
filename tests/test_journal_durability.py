"""What is told as settled is on the disk, and the file ends with a whole line whatever happens."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hand_made import CONFIG, done, solved
from locks import claim_of, wait_until

from xortune.core.errors import InputError
from xortune.runs import journal
from xortune.runs.journal import Journal, read, torn
from xortune.runs.lock import LOCK, held

APPEND = """
import sys
sys.path.insert(0, sys.argv[2])
from hand_made import CONFIG, done, solved
from xortune.runs.journal import Journal
with Journal.open(sys.argv[1]) as journal:
    number = 0
    while True:
        journal.append(done(number, CONFIG | {"lr": 1.0 + number}, solved(0, 50, 100)))
        number += 1
        print(number, journal.settled, flush=True)
"""


def line(number):
    return done(number, CONFIG | {"lr": 1.0 + number}, solved(0, 1, 4))


class Disk:
    """Stands for fsync: notes how long the file was, waits where it is told to, and may fail."""

    def __init__(self, monkeypatch):
        self.sizes, self.error, self.free = [], None, threading.Event()
        self.free.set()
        self.real = os.fsync
        monkeypatch.setattr(journal.os, "fsync", self)

    def __call__(self, fd):
        size = os.fstat(fd).st_size
        assert self.free.wait(5)
        if self.error is not None:
            error, self.error = self.error, None  # the kernel tells it once
            raise OSError(error, os.strerror(error))
        self.real(fd)
        self.sizes.append(size)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path):
    """A journal that is there already, so that its directory is on the disk."""
    (tmp_path / "j").touch()
    return tmp_path / "j"


def test_a_line_is_settled_when_it_is_on_the_disk_and_not_before(path, disk):
    disk.free.clear()
    with Journal.open(path) as opened:
        assert opened.append(line(0)) == 1  # and does not wait
        time.sleep(0.05)
        assert len(read(path)) == 1
        assert opened.settled == 0
        disk.free.set()
        wait_until(lambda: opened.settled == 1)
        assert disk.sizes == [path.stat().st_size]


def test_lines_that_come_while_the_disk_works_wait_for_the_next_time(path, disk):
    disk.free.clear()
    with Journal.open(path) as opened:
        opened.append(line(0))
        time.sleep(0.05)  # the thread is at it
        begun = path.stat().st_size
        opened.append(line(1))
        disk.free.set()
        wait_until(lambda: opened.settled >= 1)
        assert opened.settled == 1
        assert disk.sizes == [begun]
        wait_until(lambda: opened.settled == 2)
        assert opened.appended == 2


def test_many_lines_share_one_fsync(path, disk):
    began = time.monotonic()
    with Journal.open(path) as opened:
        for number in range(200):
            opened.append(line(number))
            time.sleep(0.001)
    assert len(disk.sizes) <= 2 + (time.monotonic() - began) / journal.FSYNC_SECONDS
    assert disk.sizes[-1] == path.stat().st_size


def test_sync_waits_and_says_how_many(path, disk):
    with Journal.open(path) as opened:
        assert opened.sync() == 0
        assert disk.sizes == []
        for number in range(3):
            opened.append(line(number))
        assert opened.sync() == 3 == opened.settled
        assert disk.sizes[-1] == path.stat().st_size


def test_the_name_of_a_new_file_is_brought_to_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        journal.os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    folder = tmp_path / "runs" / "new"
    folder.mkdir(parents=True)
    Journal.open(folder / "j").close()
    assert synced == [str(folder), str(folder.parent), str(tmp_path)]
    synced.clear()
    Journal.open(folder / "j").close()
    assert synced == []


def test_a_directory_that_cannot_be_brought_to_the_disk(tmp_path, disk):
    disk.error = 5
    with pytest.raises(InputError, match="Input/output error"):
        Journal.open(tmp_path / "j")
    disk.error = 22  # this file system knows no such thing
    Journal.open(tmp_path / "k").close()


def test_after_a_failure_of_the_disk_nothing_is_settled_any_more(path, disk):
    opened = Journal.open(path)
    opened.append(line(0))
    wait_until(lambda: opened.settled == 1)
    disk.error = 5
    opened.append(line(1))
    wait_until(lambda: disk.error is None)  # told once: the next fsync would succeed
    wait_until(lambda: opened._failure is not None)
    assert opened.settled == 1
    for attempt in (lambda: opened.append(line(2)), opened.sync, opened.close):
        with pytest.raises(
            InputError, match=r"/j: lines could not .*Input/output error.*resume=True"
        ):
            attempt()
    assert opened.settled == 1
    opened.close()
    with Journal.open(path) as again:  # what is there is read, and goes on
        again.append(line(2))
        assert again.sync() == 1
    assert [e.proposal for e in read(path)] == [0, 1, 2]


# Killed.


def test_kill_9_in_the_middle_of_appends(tmp_path):
    command = [sys.executable, "-c", APPEND, tmp_path / "j", Path(__file__).parent]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    said = process.communicate(timeout=10)[0].splitlines()
    whole = [tuple(map(int, text.split())) for text in said if text.count(" ") == 1][:-1]
    assert whole, "it was killed before it had begun"
    appended, settled = whole[-1]
    assert settled <= appended
    Journal.open(tmp_path / "j").close()
    found = [e.proposal for e in read(tmp_path / "j")]
    assert len(found) >= appended
    assert found == list(range(len(found)))


# Torn last lines.


def test_a_torn_line_is_dropped_with_a_word(tmp_path):
    said = []
    with Journal.open(tmp_path / "j", on_message=said.append) as opened:
        opened.append(line(0))
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data + data[:37])
    assert torn(tmp_path / "j") == 37
    assert said == []
    Journal.open(tmp_path / "j", on_message=said.append).close()
    assert said == [
        f"the last line of {tmp_path / 'j'} was torn (37 bytes) and is dropped: what it held is"
        " trained again"
    ]
    assert (tmp_path / "j").read_bytes() == data
    assert torn(tmp_path / "j") == 0
    Journal.open(tmp_path / "j", on_message=said.append).close()
    assert len(said) == 1


# Full disks.


def test_a_full_disk_takes_no_half_line(path, monkeypatch):
    real = os.write

    def half(fd, data):
        real(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal.open(path) as opened:
        opened.append(line(0))
        monkeypatch.setattr(journal.os, "write", half)
        with pytest.raises(InputError, match=r"cannot be written .*free space there.*resume=True"):
            opened.append(line(1))
        monkeypatch.setattr(journal.os, "write", real)
        assert opened.append(line(2)) == 2
        assert opened.sync() == 2
    assert [e.proposal for e in read(path)] == [0, 2]


def test_an_interruption_between_two_halves_leaves_whole_lines(path, monkeypatch):
    real = os.write

    def interrupted(fd, data):
        if len(data) > 100:
            return real(fd, data[:100])
        raise KeyboardInterrupt

    with Journal.open(path) as opened:
        monkeypatch.setattr(journal.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened.append(line(0))
        monkeypatch.setattr(journal.os, "write", real)
        assert path.stat().st_size == 0
        assert opened.append(line(1)) == 1


def test_half_a_line_that_cannot_be_removed_is_never_continued(path, monkeypatch):
    real = os.write

    def half(fd, data):
        real(fd, data[: len(data) // 2])
        raise OSError(5, "Input/output error")

    def broken(*_):
        raise OSError(5, "Input/output error")

    opened = Journal.open(path)
    opened.append(line(0))
    opened.sync()
    whole = path.read_bytes()
    monkeypatch.setattr(journal.os, "write", half)
    monkeypatch.setattr(journal.os, "ftruncate", broken)
    with pytest.raises(InputError, match="cannot be written"):
        opened.append(line(1))
    monkeypatch.undo()
    with pytest.raises(InputError, match="half a line could not be removed"):
        opened.append(line(1))
    with pytest.raises(InputError, match="half a line"):
        opened.close()
    assert path.stat().st_size > len(whole)
    Journal.open(path).close()
    assert path.read_bytes() == whole


# One driver.


def test_who_has_lost_the_run_appends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "HELD_SECONDS", 0)  # each line looks
    with held(tmp_path) as lock, Journal.open(tmp_path / "j", lock=lock) as opened:
        opened.append(line(0))
        before = (tmp_path / "j").read_bytes()
        shutil.rmtree(tmp_path / LOCK)
        claim_of(tmp_path, host="elsewhere")
        with pytest.raises(
            InputError, match=r"no longer holds its run.*taken over by pid \d+ on elsewhere"
        ):
            opened.append(line(1))
        assert (tmp_path / "j").read_bytes() == before
        assert opened.appended == 1
