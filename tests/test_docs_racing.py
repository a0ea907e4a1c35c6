"""docs/racing.md tells the truth: its programs run as they stand, its keys are a space file's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from xortune.spaces.space import parse_space

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "racing.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[KEYS] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(tmp_path):
    def run(program):
        (tmp_path / "program.py").write_text(program, encoding="utf-8")
        ran = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        return ran.stdout

    return run


@pytest.mark.long
def test_the_ray_program_stops_the_worse_ones(run):
    [program] = [text for text in PROGRAMS if "ray import" in text]
    found = re.findall(r"^([\d.]+) (\d+) of (\d+)$", run(program), re.MULTILINE)
    seeds = {float(lr): int(n) for lr, _, n in found}
    assert set(seeds) == {0.01, 0.1, 0.3, 0.9}
    assert seeds[0.3] == 100
    assert seeds[0.9] < 100


def test_the_optuna_program_spends_fewer_seeds(run):
    [program] = [text for text in PROGRAMS if "import optuna" in text]
    [shown] = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    numbers = r"^(\d+) seeds instead of (\d+)$"
    printed = run(program)
    [(spent, flat)] = re.findall(numbers, printed, re.MULTILINE)
    [(told, _)] = re.findall(numbers, shown, re.MULTILINE)
    assert int(spent) < int(flat) == 3000
    assert int(spent) == pytest.approx(int(told), rel=0.3)  # another Optuna draws others
    assert shown.splitlines()[0].startswith("{'lr': ")
    assert printed.splitlines()[0].startswith("{'lr': ")


@pytest.mark.parametrize("line", KEYS.splitlines())
def test_the_keys_are_those_of_a_space_file(line):
    space = {"name": "x", "task": "xor", "epochs": 10}
    space["parameters"] = {
        "activation": "Tanh",
        "loss": "MSELoss",
        "optimizer": "Adam",
        "lr": {"low": 0.1, "high": 1.0},
        "hidden_dim": 5,
    }
    space["search"] = {"trials": 3, "sampler": "random"}
    parse_space(yaml.safe_dump(space | yaml.safe_load(line)))


def test_the_numbers_are_those_of_the_code():
    from xortune.racing.grants import VERIFY, worth
    from xortune.spaces.model import FIRST, SeedSettings, rungs_up_to

    assert rungs_up_to(512)[:4] == (2, 4, 8, 16)
    assert "looks at 2, 4, 8, 16, ... up to 512 seeds" in PAGE
    assert f"goes on to {FIRST} seeds as long as none of them fails" in PAGE
    assert VERIFY == 0.5
    assert "half of all seeds go to climbs" in PAGE
    assert "(k + 1 + s) / (n + 2)" in PAGE
    assert worth(3, 4, 0.5) == (3 + 1 + 0.5) / (4 + 2)
    assert f"`finalists: {SeedSettings((1,)).finalists}`" in PAGE
