"""Searches without Ray, in this process or as drivers of their own; who holds a run's lock."""

import json
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest
from forked import Python
from hand_made import TINY_SPACE

from xortune.core.errors import TrainingError
from xortune.runs import lock as run_lock
from xortune.runs.lock import LOCK, this_process
from xortune.runs.store import JOURNAL
from xortune.training import executors as executors_module
from xortune.training.jobs import Done

SPACE = TINY_SPACE.replace("trials: 3", "trials: 12")

DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import drivers
from xortune.runs import store
store.LEAST_SECONDS = 0.1
drivers.without_ray(setattr, float(sys.argv[2]), int(sys.argv[3]))
exec(sys.argv[4])
sys.argv = ["xortune", *sys.argv[5:]]
from xortune.cli import main
main()
"""


QUICK = """
from xortune.runs import lock
lock.HEARTBEAT_SECONDS, lock.LEASE_SECONDS, lock.LOOK_SECONDS = 0.05, 1.0, 0.05
"""
"""For drivers: leases of a moment."""

CLONE = f"""
{QUICK}
import fcntl
fcntl.flock = lambda *_: None
lock._is_local = lambda _: False
"""
"""For drivers on machines that agree in all they know of themselves, on a share without flock."""


class OneByOne:
    """Trains in this process, one block after the other, in place of Ray."""

    slots, pause, bytes_left = 1, 0.0, 0

    def __init__(self, trainer, *_, **__):
        self.trainer, self.jobs, self.done = trainer, (), deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def take(self, batches):
        batches._most = 1
        self.jobs = self.jobs or batches.next()

    def wait(self):
        if self.bytes_left:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (self.bytes_left, resource.RLIM_INFINITY))
        results = self.trainer.train([job.block for job in self.jobs])
        assert not any(isinstance(result, TrainingError) for result in results)
        self.done.append(Done(self.jobs, results, 0.1, "here:1"))
        self.jobs = ()
        time.sleep(self.pause)

    def stop(self):
        pass


def without_ray(put, pause=0.0, bytes_left=0):
    """Train in this process, one block after the other; on a disk that is full some time."""
    how = {"pause": pause, "bytes_left": bytes_left}
    one = type("OneByOneSo", (OneByOne,), how)
    kinds = executors_module.EXECUTORS
    kind = replace(kinds[0], matches=lambda _: True, make=lambda asked: one(asked.trainer))
    put(executors_module, "EXECUTORS", (*kinds, kind))


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def drivers():
    """`start(*words)`: a process of the command line, of which none is left at the end."""
    started = []

    def start(*words, pause=0.0, bytes_left=0, patch=""):
        here = Path(__file__).parent
        command = ["-c", DRIVER, here, pause, bytes_left, patch, *words]
        process = Python(list(map(str, command)), stdout=PIPE, stderr=PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(is_true, process=None):
    """Before the process, if there is one, ends."""
    deadline = time.monotonic() + 120
    while not is_true():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for_lines(process, folder, count, *, read=None):
    """Until the search has so many lines in its journal, which `read` reads."""
    journal = Path(folder) / JOURNAL
    read = read or (lambda: journal.read_bytes() if journal.exists() else b"")
    wait_until(lambda: read().count(b"\n") >= count, process)


def trained(run):
    return sorted((e.proposal, e.block.point.key, e.block.first) for e in run.evaluations)


# -------------------------------------------------------------------------------------------------
# A run's lock: a process that holds one, a claim that was left.

HOLD = """
import sys, time
from pathlib import Path
from xortune.runs.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def program(text, *args, **more):
    return Python(["-c", text, *map(str, args)], stdout=PIPE, text=True, **more)


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


@pytest.fixture
def share(fast, monkeypatch):
    """File systems that several machines write to, where flock sees one machine alone."""
    monkeypatch.setattr(run_lock, "_is_local", lambda _: False)
    monkeypatch.setattr(run_lock, "flock", lambda *_, **__: True)


def claim_of(folder, **changes):
    """Write a claim as a driver would have left it that is gone."""
    owner = replace(this_process(), **{"owner": "f" * 32, **changes})
    (folder / LOCK).mkdir(parents=True, exist_ok=True)
    (folder / LOCK / f"0001-{owner.owner}.json").write_bytes(owner.as_bytes())
    return owner


def beat_of(folder, owner):
    (folder / LOCK / f"0001-{owner.owner}.beat").write_bytes(owner.as_bytes())


def owners(folder):
    """Who claims a run, by what the files say."""
    return [json.loads(file.read_bytes()) for file in Path(folder, LOCK).glob("*.json")]


def state(folder):
    """All that is in a directory: bytes, times, and those of the directories."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }
