"""What only another process can show: Ray started and stopped by xortune, in silence."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import pytest
from drivers import wait_for_lines, wait_until

from xortune.runs.run import load_run

MARK = "XORTUNE_TEST_FOLDER"


def processes_of(folder):
    """What still runs of all that was started with this MARK."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # another user's, or ended meanwhile
            if process.environ().get(MARK) == str(folder):
                found.append(process)
    return found


SLOW = """
name: slow
trainer: ./train.py:run
parameters: {x: {low: 0.0, high: 1.0}}
search: {sampler: random, trials: 1000}
seeds: {ladder: [4]}
"""
TRAIN = """
import time

def run(config, seed):
    time.sleep(0.1)
    return seed != 3
"""


@pytest.mark.long
@pytest.mark.parametrize(("program", "called"), [("raylet", "raylet"), ("gcs_server", "GCS")])
def test_a_killed_part_of_ray_interrupts_the_search_and_nothing_outlives_it(
    tmp_path, program, called
):
    (tmp_path / "space.yaml").write_text(SLOW)
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, "-m", "xortune", "search", "space.yaml", "--output", "run", "--ray"]
    given = {"cwd": tmp_path, "env": {**os.environ, "NO_COLOR": "1", MARK: str(tmp_path)}}
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, **given) as process:
        wait_for_lines(process, tmp_path / "run", 3)
        [victim] = [p for p in processes_of(tmp_path) if Path(p.exe()).name == program]
        victim.kill()
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert f"interrupted: Ray's {called} has ended" in stderr
    assert "--resume" in stderr
    assert "Traceback" not in stdout + stderr
    wait_until(lambda: not processes_of(tmp_path))  # those that were told to end need a moment
    run = load_run(tmp_path / "run")
    assert all(e.outcome is not None for e in run.evaluations)
    command += ["--resume", "--trials", "4", "--quiet"]
    assert subprocess.run(command, timeout=120, check=False, **given).returncode == 0
