"""action.yml: the gate as a GitHub Action."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from xortune.cli.shared import app

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
CONFIG = "{activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.05, hidden_dim: 2, epochs: 2}"
OWN = {"working-directory", "install"}
[INSTALL, GATE] = ACTION["runs"]["steps"]


def test_its_inputs_are_options_of_the_gate():
    gate = typer.main.get_command(app).commands["gate"]
    options = {name for parameter in gate.params for name in parameter.opts}
    assert {f"--{name}" for name in ACTION["inputs"] if name not in OWN | {"run"}} <= options
    assert "run" in options
    required = {p.opts[0] for p in gate.params if p.required}
    assert required == {f"--{n}" for n, one in ACTION["inputs"].items() if one.get("required")}


def gated(tmp_path, **inputs):
    """What the action's last step does with inputs, where all others are empty."""
    summary = tmp_path / "summary.md"
    given = dict.fromkeys(ACTION["inputs"], "") | inputs
    env = {
        **os.environ,
        "INPUTS": json.dumps(given),
        "GITHUB_STEP_SUMMARY": str(summary),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "-c", GATE["run"]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, summary.read_text()


def test_a_config_is_gated_and_the_verdict_is_in_the_summary(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    done, summary = gated(
        tmp_path, **{"min-rate": "0.9", "config": "config.yaml", "max-seeds": "50"}
    )
    assert done.returncode == 1, done.stderr
    assert summary == done.stdout
    assert summary.startswith("refuted: ")


@pytest.mark.parametrize("run", ["--help"])
def test_a_run_is_a_word_and_never_an_option(tmp_path, run):
    done, summary = gated(tmp_path, **{"min-rate": "0.9", "run": run})
    assert (done.returncode, summary) == (2, "")
    assert f"{run}: there is no such run" in done.stderr
