"""Searches without Ray: in this process, or as drivers of their own, to be stopped and killed."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from hand_made import TINY_SPACE

from xortune.core.errors import TrainingError
from xortune.driver import session as session_module

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
lock.HEARTBEAT_SECONDS, lock.LEASE_SECONDS, lock.LOOK_SECONDS = 0.1, 1.5, 0.1
"""
"""For drivers: leases of a moment."""

CLONE = f"""
{QUICK}
import fcntl
fcntl.flock = lambda *_: None
lock._is_local = lambda _: False
"""
"""For drivers on machines that agree in all they know of themselves, on a share without flock."""


def without_ray(put, pause=0.0, bytes_left=0):
    """Train in this process, one block after the other; on a disk that is full some time."""

    def run_trials(queue, trainer, **_):
        if bytes_left:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, resource.RLIM_INFINITY))
        while (job := queue.next_job()) is not None:
            [result] = trainer.train([job.block])
            assert not isinstance(result, TrainingError)
            queue.receive(job, result, seconds=0.1, worker="here:1")
            time.sleep(pause)
        return queue.finished

    put(session_module, "connected", lambda *_: nullcontext())
    put(session_module, "slots", lambda *_: 1)
    put(session_module, "slots_to_come", lambda *_: 0)  # nothing is trained meanwhile
    put(session_module, "run_trials", run_trials)


@pytest.fixture
def drivers():
    """`start(*words)`: a process of the command line, of which none is left at the end."""
    started = []

    def start(*words, pause=0.0, bytes_left=0, patch=""):
        here = Path(__file__).parent
        command = [sys.executable, "-c", DRIVER, here, pause, bytes_left, patch, *words]
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def trained(run):
    return sorted((e.proposal, e.block.point.key, e.block.first) for e in run.evaluations)
