"""Without what only Linux has, a search goes on, its kill leaves nothing, and it is resumed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from drivers import wait_until

import xortune as xt
from xortune.core import system

WITHOUT_LINUX = """
import os, pathlib
from xortune.core import system
system.PROC = system.CGROUP = pathlib.Path("/nowhere")
for name in ("waitid", "sched_getaffinity", "pidfd_open", "O_TMPFILE"):
    if hasattr(os, name):
        delattr(os, name)
"""
"""The driver runs this first, and each Python that it starts: the template and the workers."""

TRAIN = """
import os, subprocess, time
from pathlib import Path

def run(config, seed):
    Path(f"began-{config['x']}-{seed}").write_text(str(os.getpid()))
    if Path("slow").exists():
        child = subprocess.Popen(["sleep", "60"], process_group=0)
        Path(f"child-{config['x']}-{seed}").write_text(str(child.pid))
        time.sleep(60)
    return seed % 3 > 0
"""

SEARCH = """
import xortune as xt
from xortune.runs import lock
lock.HEARTBEAT_SECONDS, lock.LEASE_SECONDS = 0.5, 3.0  # only its beat tells that a driver is gone
xt.search({"name": "s", "trainer": "./train.py:run", "parameters": {"x": {"choice": [1, 2]}},
    "search": {"sampler": "grid"}, "seeds": {"ladder": [4]}}, output="run", workers=1, resume=True,
    check=False)
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, forks):
    """A folder in whose programs Linux is no more, and in this process too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT_LINUX)
    (tmp_path / "train.py").write_text(TRAIN)
    path = os.pathsep.join([str(tmp_path / "site"), *sys.path])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(system, "PROC", Path("/nowhere"))
    monkeypatch.setattr(system, "CGROUP", Path("/nowhere"))
    for name in ("waitid", "sched_getaffinity", "O_TMPFILE", "pidfd_open"):
        monkeypatch.delattr(os, name, raising=False)


def lives(pid):
    stat = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(stat.stdout.strip()) and not stat.stdout.startswith("Z")


def test_a_search_is_killed_and_resumed(elsewhere):
    Path("slow").touch()
    driver = forked.Python(["-c", f"{WITHOUT_LINUX}\n{SEARCH}"])
    wait_until(lambda: [*Path().glob("child-*")])
    driver.kill()
    driver.wait()
    begun = [
        int(path.read_text()) for kind in ("began", "child") for path in Path().glob(f"{kind}-*")
    ]
    wait_until(lambda: not any(map(lives, begun)))
    Path("slow").unlink()
    forked.run(["-c", f"{WITHOUT_LINUX}\n{SEARCH}"])
    assert xt.load_run("run").table.k.tolist() == [2, 2]


def test_the_rest_of_a_session_is_found_and_killed(elsewhere):
    leader = subprocess.Popen(
        ["sh", "-c", "(exec sleep 60) & exec sleep 60"],
        start_new_session=True,
        env={**os.environ, system.MARK_VARIABLE: "mark-x"},
    )
    wait_until(lambda: len(system.members(leader.pid)) == 2)
    assert leader.pid in system.marked(f"{system.MARK_VARIABLE}=mark-x")
    assert not system.has_ended(leader.pid)
    system.kill_group(leader.pid, session=True)
    wait_until(lambda: system.has_ended(leader.pid))
    assert system.members(leader.pid) == []
    assert leader.wait() == -signal.SIGKILL


@pytest.mark.parametrize("place", ["linux", "elsewhere"])
def test_the_end_of_a_child_is_waited_for_up_to_a_time(place, request):
    if place == "elsewhere":
        request.getfixturevalue(place)
    child = subprocess.Popen(["sh", "-c", "read line; exit 3"], stdin=subprocess.PIPE)
    assert system.wait_until_ended(child, 0.01) is None
    child.stdin.close()
    assert system.wait_until_ended(child, 60.0) == 3
    assert system.wait_until_ended(child, 60.0) == 3, "it is known"


def test_what_is_not_known_is_said(elsewhere):
    assert system.cores() == os.cpu_count()
    assert system.free_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert system.threads_besides() is None
    assert system.file_system_of(Path.cwd()) is None
    assert system.open_nameless(Path.cwd()) is None
