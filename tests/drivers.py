"""Searches without Ray: in this process, or as drivers of their own, to be stopped and killed."""

import time
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from subprocess import PIPE

import pytest
from forked import Python
from hand_made import TINY_SPACE

from xortune.core.errors import TrainingError
from xortune.driver import session as session_module
from xortune.driver.batches import Done
from xortune.runs.run import JOURNAL

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

    slots, brief, pause, bytes_left = 1, False, 0.0, 0

    def __init__(self, trainer, *_, **__):
        self.trainer, self.jobs, self.done = trainer, (), deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def takes(self, batches):
        batches._most = 1
        return not self.jobs

    def submit(self, jobs, seconds_left):  # noqa: ARG002
        self.jobs = jobs

    def wait(self, batches):  # noqa: ARG002
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
    put(session_module, "connected", lambda *_: nullcontext())
    put(session_module, "slots", lambda *_: 1)
    put(session_module, "slots_to_come", lambda *_: 0)  # nothing is trained meanwhile
    how = {"pause": pause, "bytes_left": bytes_left}
    put(session_module, "on_ray", type("OneByOneSo", (OneByOne,), how))


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


def wait_for_lines(process, folder, count, *, read=None):
    """Until the search has so many lines in its journal, which `read` reads."""
    journal, end = Path(folder) / JOURNAL, time.monotonic() + 120
    read = read or (lambda: journal.read_bytes() if journal.exists() else b"")
    while read().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def trained(run):
    return sorted((e.proposal, e.block.point.key, e.block.first) for e in run.evaluations)
