"""docs/command.md and examples/shell-command are true: run as printed, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.spaces.command import EXIT_CODE, METRICS
from xortune.trainers.command import MOST_OUTPUTS
from xortune.trainers.process import KEPT
from xortune.trainers.source import MOST

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "shell-command"


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def entered(commands, folder):
    with contextlib.chdir(folder):
        for command in commands.splitlines():
            result = CliRunner().invoke(app, shlex.split(command)[1:])
            assert result.exit_code == 0, result.output
            assert "Traceback" not in result.output


@pytest.fixture
def _python(monkeypatch):
    """`python` is the one that runs the tests."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


@pytest.mark.long
@pytest.mark.usefixtures("_python")
def test_the_page_works_as_printed(tmp_path):
    [program], [space], [commands] = (blocks(PAGE, name) for name in ("python", "yaml", "sh"))
    (tmp_path / "train.py").write_text(program)
    (tmp_path / "space.yaml").write_text(space)
    entered(commands, tmp_path)
    run = xt.load_run(tmp_path / "runs" / "heaps")
    assert run.certificate.best.n == 50
    assert len({found.outcome.rate for found in run.results}) > 2  # the example tells something
    for found in run.results[:2]:
        point = dict(found.point)
        words = [sys.executable, "train.py", *["--plus"] * point.pop("plus")]
        words += [f"--{name}={value}" for name, value in point.items()]
        for seed in range(5):
            done = subprocess.run(
                [*words, f"--seed={seed}"], cwd=tmp_path, capture_output=True, check=True
            )
            assert found.outcome.solved[seed] == (json.loads(done.stdout)["found"] >= 5)


def test_what_the_page_says_of_limits_and_names():
    assert f"The last {KEPT:,} bytes" in PAGE
    assert f"up to {MOST_OUTPUTS} failed seeds" in PAGE
    assert f"{MOST // 2**20} MB at most" in PAGE
    for name in (EXIT_CODE, *METRICS):
        assert f"| `{name}`" in PAGE


def small(folder):
    """A copy of the example with few configs and seeds."""
    copy = Path(shutil.copytree(EXAMPLE, folder / "copy"))
    space = yaml.safe_load((copy / "space.yaml").read_text())
    space |= {"search": {"sampler": "random", "trials": 4}, "seeds": {"ladder": [6]}}
    (copy / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    return copy


@pytest.mark.usefixtures("one_ray")
def test_the_example_works_as_printed(tmp_path):
    copy, readme = small(tmp_path), (EXAMPLE / "README.md").read_text()
    assert len([line for line in readme.splitlines() if line.strip()]) <= 16
    [commands] = blocks(readme, "sh")
    entered(commands.replace("--seeds 1000", "--seeds 20"), copy)
    run = xt.load_run(copy / "runs" / "shell")
    assert run.certificate.best.n == 20
    for found in run.results:
        for seed, solved in enumerate(found.outcome.solved):
            words = [f"--{name}={value}" for name, value in found.point.items()]
            done = subprocess.run(
                ["./train.sh", *words, f"--seed={seed}"], cwd=copy, capture_output=True, check=True
            )
            loss = json.loads(done.stdout.decode().splitlines()[-1].replace("nan", "NaN"))["loss"]
            assert solved == (loss < 0.01)


def test_the_example_learns_from_the_seed_alone():
    words = ["./train.sh", "--lr=0.3", "--momentum=0.9", "--hidden=3", "--epochs=100"]

    def last(seed):
        done = subprocess.run(
            [*words, f"--seed={seed}"], cwd=EXAMPLE, capture_output=True, check=True
        )
        return json.loads(done.stdout)

    found = [last(seed) for seed in (0, 1, 2**32 - 1)]
    assert found == [last(seed) for seed in (0, 1, 2**32 - 1)]
    assert len({one["loss"] for one in found}) == 3
    wrong = subprocess.run(["./train.sh", "--lt=3"], cwd=EXAMPLE, capture_output=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, b"unknown option --lt=3\n")
