"""What the tests of a run's lock share: a process that holds one, a claim that was left."""

import json
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest
from forked import Python

from xortune.runs import lock as run_lock
from xortune.runs.lock import LOCK, this_process

HOLD = """
import sys, time
from pathlib import Path
from subprocess import PIPE
from xortune.runs.lock import held
try:
    with held(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
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


def wait_until(is_true):
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
