"""The journal: read whole or torn, by one process or two; settled lines are on the disk.

The file ends with a whole line, whatever happens.
"""

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drivers import wait_until
from hand_made import CONFIG, done, failed, outcome, solved

from xortune.core.errors import InputError
from xortune.core.outcome import Details
from xortune.runs import journal
from xortune.runs.evaluation import Purpose, encode
from xortune.runs.journal import Journal, JournalReader, read, torn

THREE = [
    done(0, CONFIG, solved(0, 1, 2)),
    failed(1, CONFIG, 2, 3),
    done(2, CONFIG | {"lr": 1.0}, solved(0, 2, 2)),
]


def line(number):
    return done(number, CONFIG | {"lr": 1.0 + number}, solved(0, 1, 4))


def write(path, found):
    with Journal(path) as opened:
        for evaluation in found:
            opened.append(evaluation)
        return opened.sync()


def test_torn_at_every_byte(tmp_path):
    write(tmp_path / "whole", THREE)
    data = (tmp_path / "whole").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    assert len(ends) == 3
    path = tmp_path / "torn"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        reader = JournalReader(path)
        assert len(reader.read_on()) == sum(end <= size for end in ends)
        assert reader.size == max([0, *(end for end in ends if end <= size)])
    for size in (0, 1, ends[0] - 1, ends[0], ends[1] + 5, ends[2] - 1):
        path.write_bytes(data[:size])
        kept = len(read(path))
        write(path, THREE[kept:])
        assert path.read_bytes() == data


@pytest.mark.parametrize("tail", [b"x" * 200_000, bytes(5000)], ids=["long", "a power cut"])
def test_a_torn_tail_longer_than_a_read(tmp_path, tail):
    write(tmp_path / "j", THREE)
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data + tail)
    assert torn(tmp_path / "j") == len(tail)
    write(tmp_path / "j", [])
    assert (tmp_path / "j").read_bytes() == data


def test_a_malformed_line_in_the_middle_names_its_line(tmp_path):
    write(tmp_path / "j", THREE)
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    for bad in (b"\n", b"{}\n", lines[1][:50] + b"\n", b"\xff\n", lines[1].replace(b":2", b":-2")):
        (tmp_path / "j").write_bytes(lines[0] + bad + lines[2])
        with pytest.raises(InputError, match=r"/j:2"):
            read(tmp_path / "j")


def test_lines_of_each_kind_are_read_as_they_were_written(tmp_path):
    purpose = ("certify", 1, "0123456789abcdef", 1, 1, 9, 0.95, True, 2, 3, None, "own", 0, None)
    told = Details({"a": np.array([0.5, np.nan])}, {31: "no"}, output={31: "text"})
    kinds = [
        lambda i: done(i, CONFIG, solved(9 * i, 1, 2)),
        lambda i: done(i, {"x": "ü", "y": None}, outcome(9 * i, [[1] * 4, [0] * 4])),
        lambda i: replace(failed(i, {"x": True, "z": i}, 6, 1), worker=f"else:{i}"),
        lambda i: replace(done(i, {"x": 1}, solved(4 + i, 1, 1)), purpose=Purpose(*purpose)),
        lambda i: replace(done(i, CONFIG, solved(9 * i, 1, 2)), fingerprint="0123abcd", at=i),
    ]
    lines = [encode(kinds[i % 5](i)) for i in range(80)]
    lines[30] = encode(done(30, CONFIG, replace(solved(30, 0, 2), details=told)))
    path = tmp_path / "j"
    path.write_text("\n".join(lines[:40]) + "\n{torn")
    reader = JournalReader(path)
    assert [encode(line) for line in reader.read_on()] == lines[:40]
    assert reader.torn
    path.write_text("\n".join(lines) + "\n")
    assert [encode(line) for line in reader.read_on()] == lines[40:]
    assert not reader.torn


def test_a_seed_twice_is_refused(tmp_path):
    write(tmp_path / "j", [*THREE, done(3, CONFIG, solved(4, 1, 2))])
    with pytest.raises(InputError, match=r"/j:4: seed 4 of config \w+ is also in line 2"):
        read(tmp_path / "j")


@pytest.fixture
def disk(monkeypatch):
    """Stands for fsync: notes how long the file was, waits where it is told to, and may fail."""
    disk, real = SimpleNamespace(sizes=[], error=None, free=threading.Event()), os.fsync
    disk.free.set()

    def fsync(fd):
        size = os.fstat(fd).st_size
        assert disk.free.wait(5)
        if disk.error is not None:
            error, disk.error = disk.error, None  # the kernel tells it once
            raise OSError(error, os.strerror(error))
        real(fd)
        disk.sizes.append(size)

    monkeypatch.setattr(journal.os, "fsync", fsync)
    return disk


@pytest.fixture
def path(tmp_path):
    """A journal that is there already, so that its directory is on the disk."""
    (tmp_path / "j").touch()
    return tmp_path / "j"


def test_a_line_is_settled_when_it_is_on_the_disk_and_not_before(path, disk):
    disk.free.clear()
    with Journal(path) as opened:
        assert opened.append(line(0)) == 1  # and does not wait
        time.sleep(0.05)  # the thread is at it
        assert len(read(path)) == 1
        begun = path.stat().st_size
        opened.append(line(1))  # this one waits for the next time
        assert opened.settled == 0
        disk.free.set()
        wait_until(lambda: opened.settled >= 1)
        assert (opened.settled, disk.sizes) == (1, [begun])
        wait_until(lambda: opened.settled == 2)
        assert disk.sizes == [begun, path.stat().st_size]


def test_many_lines_share_one_fsync(path, disk):
    began = time.monotonic()
    with Journal(path) as opened:
        for number in range(200):
            opened.append(line(number))
            time.sleep(0.001)
    assert len(disk.sizes) <= 2 + (time.monotonic() - began) / journal.FSYNC_SECONDS
    assert disk.sizes[-1] == path.stat().st_size


def test_the_name_of_a_new_file_is_brought_to_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        journal.os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    folder = tmp_path / "runs" / "new"
    folder.mkdir(parents=True)
    Journal(folder / "j").close()
    assert synced == [str(folder), str(folder.parent), str(tmp_path)]
    synced.clear()
    Journal(folder / "j").close()
    assert synced == []


def test_a_directory_that_cannot_be_brought_to_the_disk(tmp_path, disk):
    disk.error = 5
    with pytest.raises(InputError, match="Input/output error"):
        Journal(tmp_path / "j")
    disk.error = 22  # this file system knows no such thing
    Journal(tmp_path / "k").close()


def test_after_a_failure_of_the_disk_nothing_is_settled_any_more(path, disk):
    opened = Journal(path)
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
    assert write(path, [line(2)]) == 1  # what is there is read, and goes on
    assert [e.proposal for e in read(path)] == [0, 1, 2]


def half_written(monkeypatch, opened, number):
    """Append a line of which half comes to the disk."""
    real = os.write

    def half(fd, data):
        real(fd, data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(journal.os, "write", half)
    with pytest.raises(InputError, match=r"cannot be written") as caught:
        opened.append(line(1))
    monkeypatch.undo()
    return str(caught.value)


def test_a_full_disk_takes_no_half_line(path, monkeypatch):
    with Journal(path) as opened:
        opened.append(line(0))
        told = half_written(monkeypatch, opened, errno.ENOSPC)
        assert "free space there, then continue with resume=True" in told
        assert opened.append(line(2)) == 2
        assert opened.sync() == 2
    assert [e.proposal for e in read(path)] == [0, 2]


def test_half_a_line_that_cannot_be_removed_is_never_continued(path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    opened = Journal(path)
    opened.append(line(0))
    opened.sync()
    whole = path.read_bytes()
    monkeypatch.setattr(journal.os, "ftruncate", broken)
    half_written(monkeypatch, opened, 5)
    for attempt in (lambda: opened.append(line(1)), opened.close):
        with pytest.raises(InputError, match="half a line could not be removed"):
            attempt()
    assert path.stat().st_size > len(whole)
    Journal(path).close()
    assert path.read_bytes() == whole


def test_half_a_line_is_not_forgotten_by_a_sync_that_began_before_it(path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    begun, written = threading.Event(), threading.Event()

    def slow(_):
        begun.set()
        assert written.wait(10)

    opened = Journal(path)
    monkeypatch.setattr(journal.os, "fsync", slow)
    opened.append(line(0))
    assert begun.wait(10)
    monkeypatch.setattr(journal.os, "ftruncate", broken)
    half_written(monkeypatch, opened, 5)
    written.set()
    with pytest.raises(InputError, match="half a line could not be removed"):
        opened.close()


def test_an_interruption_between_two_halves_leaves_whole_lines(path, monkeypatch):
    real = os.write

    def interrupted(fd, data):
        if len(data) > 100:
            return real(fd, data[:100])
        raise KeyboardInterrupt

    with Journal(path) as opened:
        monkeypatch.setattr(journal.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened.append(line(0))
        monkeypatch.setattr(journal.os, "write", real)
        assert path.stat().st_size == 0
        assert opened.append(line(1)) == 1


def test_an_interruption_while_it_closes_leaves_no_file_open(path, monkeypatch):
    real, interrupted = os.fsync, []

    def once(fd):
        if threading.current_thread() is threading.main_thread() and not interrupted:
            interrupted.append(fd)
            raise KeyboardInterrupt
        real(fd)

    monkeypatch.setattr(journal.os, "fsync", once)
    opened = Journal(path)
    opened.append(line(0))
    wait_until(lambda: opened.settled == 1)
    opened.append(line(1))  # its thread would wait for more lines; closing syncs it
    with pytest.raises(KeyboardInterrupt):
        opened.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(interrupted[0])
    assert (opened.settled, len(read(path))) == (2, 2)
