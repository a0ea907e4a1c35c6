"""What is called in another process comes back, or is None; it never outlives who asked."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from drivers import wait_until

from xortune.core.background import background_process


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def _gone(pid):
    with suppress(psutil.NoSuchProcess):  # or a zombie: nobody waits for an orphan
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def test_what_a_function_returns():
    with background_process(os.getpid) as pid, background_process(divmod, "math") as parts:
        assert parts(7, 2)() == (3, 1)
        assert (other := pid()()) != os.getpid()
    assert _gone(other)


@pytest.mark.parametrize(
    ("call", "given"),
    [
        *((divmod, (7, 0)), (os._exit, (0,)), (os.kill, (0, signal.SIGKILL))),
        (os.write, (1, b"no pickle")),
    ],
)
def test_what_fails_is_none(call, given, capfd):
    with background_process(call) as begin:
        assert begin(*given)() is None
    assert capfd.readouterr() == ("", "")


def test_one_core_starts_nothing(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(subprocess, "Popen", None)
    with background_process(divmod) as begin:
        assert begin(7, 2)() is None


def test_nobody_waits_for_it():
    with background_process(time.sleep) as begin:
        begin(60)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5


KILLED = """
import os, time
os.sched_getaffinity = lambda _: {0, 1}
from xortune.core.background import background_process
with background_process(time.sleep) as begin:
    begin(60)
    print(flush=True)
    time.sleep(60)
"""


def test_it_ends_with_a_process_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        [other] = psutil.Process(process.pid).children()
        process.kill()
    assert _gone(other.pid)
