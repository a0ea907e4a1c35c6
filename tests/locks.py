"""What the tests of a run's lock share: a process that holds one, one that is dead."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from xortune.runs import lock as run_lock
from xortune.runs.lock import LOCK
from xortune.runs.owner import this_process

HOLD = """
import sys, time
from pathlib import Path
from xortune.runs.lock import held
try:
    with held(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
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
