"""What a release needs: citation, tested versions, CI, the measured counts, the GitHub Action."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

import xortune
from xortune.cli.shared import app
from xortune.core.formats import interval
from xortune.core.outcome import wilson

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]


def test_a_citation_names_this_version():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["version"] == xortune.__version__
    assert str(Version(xortune.__version__)) == xortune.__version__
    assert {"cff-version", "message", "title", "authors", "type"} <= set(cited)
    assert cited["license"] == PROJECT["license"]
    assert cited["authors"][0]["name"] in read("LICENSE")
    assert PROJECT["dynamic"] == ["version"]


def bounds(lines):
    """The lower bounds of requirements, by the package."""
    requirements = [one for one in map(Requirement, lines) if one.name != "xortune"]
    found = {}
    for requirement in requirements:
        [bound] = [one for one in requirement.specifier if one.operator == ">="]
        found[requirement.name.lower()] = Version(bound.version)
    return found


def test_the_lowest_versions_are_those_that_are_tested():
    pinned = dict(re.findall(r"^([^#\s]+)==(\S+)", read(".ci/minimums.txt"), re.MULTILINE))
    wanted = bounds(PROJECT["dependencies"])
    for extra, required in PROJECT["optional-dependencies"].items():
        if extra not in ("bench", "dev"):
            more = bounds(required)
            assert all(wanted.get(name, more[name]) == more[name] for name in more), extra
            wanted |= more
    assert {name: Version(text) for name, text in pinned.items()} == wanted
    assert "-c .ci/minimums.txt" in read(".ci/run")


def test_ci_runs_the_test_command_of_the_readme():
    command = ["bash", str(ROOT / ".ci" / "run"), "--test-command"]
    ran = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    blocks = re.findall(r"^```sh\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)
    assert [block for block in blocks if "-m pytest" in block] == [ran.stdout]
    assert ran.stdout.endswith("-m pytest -q -n 2 --dist loadfile\n")


def test_ci_knows_each_python_of_the_classifiers(tmp_path):
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    shim = tmp_path / f"python{named[0]}"  # as pyenv has them: it names a version and has none
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    own = tmp_path / ".pyenv" / "versions" / f"{here}.0" / "bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(sys.executable)
    env = os.environ | {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["bash", str(ROOT / ".ci" / "run"), "--list-pythons"]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found = dict(line.split(" ", 1) for line in ran.stdout.splitlines())
    assert list(found) == named
    assert Path(found[here]).exists()
    assert found[named[0]] != str(shim)


THREAD = read("docs/thread.md")
CLOSE = 5  # Another CPU may round another bit, and a seed on the edge end on its other side.
SHOWN = r"^\| (?:before|after), .*? \| (\d+)/(\d+) \| (.*?) \|$"
ROWS = re.findall(SHOWN, THREAD, re.MULTILINE)
LINES = re.findall(r"^xortune .* --seeds .*$", THREAD, re.MULTILINE)


@pytest.mark.parametrize(("row", "line"), list(zip(ROWS, LINES, strict=True)))
def test_the_measured_counts_are_what_the_commands_print(row, line):
    k, n, shown = row
    assert interval(*map(float, wilson(int(k), int(n)))) == shown
    report = read("reports/thread.md")
    assert f"{int(k):,}/{int(n):,}" in report or f"{int(k):,} of {int(n):,}" in report
    result = json.loads(CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"]).output)
    assert result["n"] == int(n)
    assert abs(result["k"] - int(k)) <= CLOSE * int(n) // 1000


@pytest.mark.parametrize("page", ["docs/ci-gate.md", "docs/certify.md"])
def test_the_workflows_of_the_documents_install_xortune_and_not_the_reader_s_project(page):
    workflows = re.findall(r"^```yaml\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)
    calling = [one for one in workflows if re.search(r"^ *- (?:run: )?xortune ", one, re.MULTILINE)]
    assert calling
    for workflow in calling:
        before, *_ = re.split(r"xortune gate", workflow)
        assert re.search(r"pip install .*xortune", before), workflow


# action.yml: the gate as a GitHub Action

ACTION = yaml.safe_load(read("action.yml"))
CONFIG = "{activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.05, hidden_dim: 2, epochs: 2}"


def test_the_inputs_of_the_action_are_options_of_the_gate():
    gate = typer.main.get_command(app).commands["gate"]
    options = {name for parameter in gate.params for name in parameter.opts}
    own = {"working-directory", "install", "run"}
    assert {f"--{name}" for name in ACTION["inputs"] if name not in own} <= options
    assert "run" in options
    # Both prove a rate, or a statistic of a number.
    assert {p.opts[0] for p in gate.params if p.required} == set()
    assert not any(one.get("required") for one in ACTION["inputs"].values())
    claims = {"min-rate", "min-mean", "min", "max", "of", "bounds"}
    assert claims <= ACTION["inputs"].keys()


def gated(tmp_path, **inputs):
    """What the action's last step does with inputs, where all others are empty."""
    summary = tmp_path / "summary.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"GITHUB_STEP_SUMMARY": str(summary), "PATH": path}
    env["GITHUB_OUTPUT"] = str(tmp_path / "outputs")
    env["INPUTS"] = json.dumps(dict.fromkeys(ACTION["inputs"], "") | inputs)
    [_, gate] = ACTION["runs"]["steps"]
    line = [sys.executable, "-c", gate["run"]]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    return done, summary.read_text() if summary.exists() else ""


def test_the_action_gates_a_config_and_its_summary_has_the_verdict(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    asked = {"min-rate": "0.9", "config": "config.yaml", "max-seeds": "500"}
    done, summary = gated(tmp_path, **asked)
    assert (done.returncode, done.stdout) == (1, summary), done.stderr
    assert summary.startswith("refuted: ")
    lines = (tmp_path / "outputs").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert found.keys() == ACTION["outputs"].keys()
    assert (found["verdict"], found["line"]) == ("refuted", summary.strip())
    assert summary.startswith(f"refuted: {found['k']}/{found['n']} seeds solved")
    assert 0 < float(found["bound"]) < 0.9
    [_, gate] = ACTION["runs"]["steps"]
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.{gate['id']}.outputs.{name} }}}}"


def test_the_action_gates_a_number(tmp_path):
    (tmp_path / "config.yaml").write_text("{a: 1}")
    (tmp_path / "train.py").write_text("def run(config, seed):\n    return {'r': seed % 3}\n")
    asked = {"min": "2.5", "of": "r_mean", "bounds": "0 3", "config": "config.yaml"}
    done, summary = gated(tmp_path, **asked, trainer="./train.py:run")
    assert (done.returncode, done.stdout) == (1, summary), done.stderr
    lines = (tmp_path / "outputs").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert (found["verdict"], found["k"], found["bound"]) == ("refuted", "", "")
    assert 0.5 < float(found["value"]) < 1.5


def test_the_run_of_the_action_is_a_word_and_never_an_option(tmp_path):
    done, summary = gated(tmp_path, **{"min-rate": "0.9", "run": "--help"})
    assert (done.returncode, summary) == (2, "")
    assert "--help: there is no such run" in done.stderr
