"""What ends the process in a dry run is told, though nothing of the process is left to tell it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xortune.engine.last_words import last_words

SPACE = """
name: deadly
trainer: ./train.py:run
parameters: {x: {choice: ["é☃", b]}}
search: {sampler: grid}
seeds: {ladder: [2]}
"""

TRAIN = "import os\ndef run(config, seed):\n    os._exit(0)\n"


def test_a_function_that_ends_the_process_does_not_end_it_without_a_word(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "space.yaml").write_text(SPACE)
    ended = subprocess.run(
        [sys.executable, "-m", "xortune.cli", "search", "space.yaml", "--output", "run"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert "the dry run of seed 0 with x='é☃' ended this process" in ended.stderr
    assert "--no-dry-run" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_nothing_is_said_of_a_process_that_lives(capfd):
    with last_words("gone"):
        pass
    with pytest.raises(KeyboardInterrupt), last_words("gone"):
        raise KeyboardInterrupt
    assert capfd.readouterr().err == ""


FORKS = """
import os, signal, time
from xortune.engine.last_words import last_words
with last_words("gone"):
    child = os.fork()
    if not child:
        time.sleep(100)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


def test_a_process_that_was_forked_meanwhile_is_not_waited_for():
    """It has the pipe's end too, for as long as it lives."""
    ended = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, timeout=60, check=True
    )
    assert ended.stderr == b""


def test_nor_does_one_in_a_certificate_that_is_trained_here(tmp_path):
    fresh = "import os\ndef run(config, seed):\n    if seed > 2**30: os._exit(0)\n    return True\n"
    (tmp_path / "train.py").write_text(fresh)
    (tmp_path / "rows.csv").write_text("x,seed,success\nb,0,1\nb,1,1\n")
    ended = [
        subprocess.run(
            [sys.executable, "-m", "xortune.cli", *words, "--quiet"],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        for words in (
            [
                "import",
                "rows.csv",
                "--config",
                "x",
                "--trainer",
                "./train.py:run",
                "--output",
                "run",
            ],
            ["certify", "run", "--top", "1", "--seeds", "5"],
        )
    ]
    assert [end.returncode for end in ended] == [0, 0]
    assert ended[0].stderr == ""
    assert ended[1].stderr.startswith("error: a seed ended this process")
    assert "--trial-timeout 1h" in ended[1].stderr
