"""docs/pytest.md tells the truth: its tests are run, and say what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from xortune.certificates.plan import gate_seeds

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[COMMAND] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(tmp_path):
    """The command of the page, of a program of it."""

    def run(program, *more):
        (tmp_path / "test_training.py").write_text(program, encoding="utf-8")
        there = {entry.name for entry in entry_points(group="pytest11")}
        named = [] if "xortune" in there else ["-p", "xortune.certificates.pytest_plugin"]
        words = [sys.executable, *COMMAND.split()[1:], *named, *more]
        ran = subprocess.run(
            words,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.returncode, ran.stdout

    return run


def test_the_first_test_is_proven_as_shown(run):
    code, text = run(PROGRAMS[0])
    assert code == 0
    assert SHOWN[0] in text


def test_the_second_fails_as_shown_and_one_of_its_seeds_alone(run):
    code, text = run(PROGRAMS[1])
    assert code == 1
    assert SHOWN[1] in text
    [seed] = re.findall(r"--only-seed (\d+)` calls", PAGE)
    assert f"seed {seed}: " in text
    code, text = run(PROGRAMS[1], "--only-seed", seed)
    assert code == 1
    assert "assert 0.6 > 0.9" in text


def test_the_numbers_of_the_prose():
    assert gate_seeds(0.95) == 74
    assert gate_seeds(0.99) == 377
    assert "74 seeds without a failure" in PAGE
    assert "377 for 0.99" in PAGE


def test_the_signature_is_the_marker_s():
    from xortune.certificates import pytest_plugin

    lines = []
    config = type("Config", (), {"addinivalue_line": lambda _, __, line: lines.append(line)})()
    pytest_plugin.pytest_configure(config)
    assert SHOWN[2].strip().removeprefix("@pytest.mark.") == lines[0].partition(": ")[0]
