"""How a command ends that is interrupted: by Ctrl-C, and by SIGTERM as job schedulers send it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import _somewhere, xortune
from hand_made import TINY_SPACE

from xortune.cli.searching import resuming
from xortune.driver import search as api
from xortune.runs.run import load_run

__all__ = ["_somewhere"]  # the fixture

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
        ("search a.yaml --trials 9", "search a.yaml --trials 9 --output 'runs/b c' --resume"),
        ("search a.yaml --output x", "search a.yaml --output x --resume"),
        ("search a.yaml --output=x --resume", "search a.yaml --output=x --resume"),
        ("search a.yaml --output x --extend", "search a.yaml --output x --extend"),
        (
            "search a.yaml --output x --study-storage postgresql://me:secret@h/d",
            "search a.yaml --output x --study-storage 'postgresql://me:***@h/d' --resume",
        ),
    ],
)
def test_the_command_that_goes_on(words, again):
    assert resuming(words.split(), "runs/b c") == f"xortune {again}"


def test_a_search_that_had_not_begun_has_no_run(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "search", interrupted)
    ran = xortune("search", "tiny.yaml", "--quiet")
    assert (ran.exit_code, ran.stderr) == (3, "interrupted: nothing had begun\n")


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
        lock, end = tmp_path / "runs" / "slow" / "lock", time.monotonic() + 60
        while not lock.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert stdout == ""
    first, note, *lines = stderr.splitlines()  # and nothing of Ray's
    assert first.startswith("slow: 4 configurations")
    assert note.startswith("note: check of")
    assert lines == [
        "interrupted: what had finished is in runs/slow; this goes on:",
        "  xortune search slow.yaml --output runs/slow --resume",
    ]
    assert not lock.exists()


ENDING = "interrupted: it is ending, and writes what had finished; once more ends it at once"
AT_ONCE = "interrupted: ended at once; what is in the journal is kept"


@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGHUP, signal.SIGTERM], 3), ([signal.SIGINT] * 3, 130)],
)
def test_a_second_signal_tears_nothing_apart_and_a_third_ends_it(tmp_path, signals, code):
    (tmp_path / "train.py").write_text(
        "import time\ndef run(config, seed):\n    time.sleep(0.2)\n    return seed > 3\n"
    )
    (tmp_path / "slow.yaml").write_text(SLOW.replace("trials: 4", "trials: 400"))
    command = [sys.executable, "-m", "xortune", "search", "slow.yaml", "--output", "run"]
    with subprocess.Popen(
        [*command, "--no-check"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    ) as process:
        journal, end = tmp_path / "run" / "evaluations.jsonl", time.monotonic() + 120
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        first, second, *more = signals
        process.send_signal(first)
        time.sleep(0.3)  # two that come at once are one
        process.send_signal(second)
        told = []
        while (line := process.stderr.readline()) != f"{ENDING}\n":
            assert line, told  # its end
            told.append(line)
        for number in more:
            process.send_signal(number)
        stdout, stderr = process.communicate(timeout=90)
        stderr = "".join([*told, f"{ENDING}\n", stderr])
    assert process.returncode == code, stderr
    assert "Traceback" not in stdout + stderr
    lines = stderr.splitlines()
    if code == 130:
        assert lines[-1] == AT_ONCE
    else:
        assert lines[-2:] == [
            "interrupted: what had finished is in run; this goes on:",
            "  xortune search slow.yaml --output run --no-check --resume",
        ]
        assert (tmp_path / "run" / "table.csv").exists()
        assert not (tmp_path / "run" / "lock").exists()
    assert len(load_run(tmp_path / "run").evaluations) >= 2
