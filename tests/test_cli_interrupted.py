"""How a command ends that is interrupted: by Ctrl-C, and by SIGTERM as job schedulers send it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import _somewhere, xortune
from drivers import drivers, wait_for_lines, wait_until
from hand_made import TINY_SPACE

from xortune.cli.searching import resume_command
from xortune.driver import search as api
from xortune.runs.run import load_run

__all__ = ["_somewhere", "drivers"]  # the fixtures

SLOW = """
name: slow
trainer: ./train.py:run
parameters: {lr: {low: 0.5, high: 1.0}}
search: {sampler: random, trials: 4}
seeds: {ladder: [8]}
"""


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("search a.yaml", "search a.yaml --output 'runs/b c' --resume"),
        ("search a.yaml --output=x --resume", "search a.yaml --output=x --resume"),
        ("search a.yaml --output x --extend", "search a.yaml --output x --extend"),
        (
            "search a.yaml --output x --study-storage postgresql://me:secret@h/d",
            "search a.yaml --output x --study-storage 'postgresql://me:***@h/d' --resume",
        ),
    ],
)
def test_the_command_that_goes_on(words, again):
    assert resume_command(words.split(), "runs/b c") == f"xortune {again}"


def test_a_search_that_had_not_begun_has_no_run(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "search", interrupted)
    ran = xortune("search", "tiny.yaml", "--quiet")
    assert (ran.exit_code, ran.stderr) == (3, "interrupted: nothing had begun\n")


@pytest.mark.long
def test_sigterm_while_ray_starts_is_what_ctrl_c_is(tmp_path):
    (tmp_path / "train.py").write_text(
        "import time\ndef run(config, seed):\n    time.sleep(0.5)\n    return seed > 3\n"
    )
    (tmp_path / "slow.yaml").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "-m", "xortune", "search", "slow.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    ) as process:
        lock = tmp_path / "runs" / "slow" / "lock"
        wait_until(lock.exists, process)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert stdout == ""
    first, note, cost, *lines = stderr.splitlines()  # and nothing of Ray's
    assert first.startswith("slow: 4 configurations")
    assert note.startswith("note: check of")
    assert cost.startswith("note: search: 4 configurations x 8 seeds, about ")
    assert lines == [
        "interrupted: what had finished is in runs/slow; to continue, run:",
        "  xortune search slow.yaml --output runs/slow --resume",
    ]
    assert not lock.exists()


ENDING = "interrupted: ending, after finished results are written; interrupt again to end at once"
AT_ONCE = "interrupted: ended at once; what is in the journal is kept"


@pytest.fixture
def ending(tmp_path, drivers):
    """`ending(seconds, *two)`: a search with two lines that takes so long to end, and hears two."""

    def start(seconds, first, second):
        (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("trials: 3", "trials: 400"))
        patch = f"drivers.OneByOne.__exit__ = lambda *_: __import__('time').sleep({seconds})"
        words = ("search", tmp_path / "tiny.yaml", "--output", tmp_path / "run")
        process = drivers(*words, pause=0.1, patch=patch)
        wait_for_lines(process, tmp_path / "run", 2)
        process.send_signal(first)
        time.sleep(0.3)  # two that come at once are one
        process.send_signal(second)
        while line := process.stderr.readline():
            if line == f"{ENDING}\n":
                return process
        raise AssertionError("it ended")

    return start


def test_a_second_signal_tears_nothing_apart(tmp_path, ending):
    process, run = ending(3, signal.SIGHUP, signal.SIGTERM), tmp_path / "run"
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert "Traceback" not in stdout + stderr
    assert stderr.splitlines()[-2:] == [
        f"interrupted: what had finished is in {run}; to continue, run:",
        f"  xortune search {tmp_path}/tiny.yaml --output {run} --resume",
    ]
    assert (run / "table.csv").exists()
    assert not (run / "lock").exists()
    assert len(load_run(run).evaluations) >= 2


def test_a_third_signal_ends_it_at_once(tmp_path, ending):
    process = ending(60, signal.SIGINT, signal.SIGINT)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (130, "", f"{AT_ONCE}\n")
    assert len(load_run(tmp_path / "run").evaluations) >= 2
