"""What a release needs, and what the README and docs/ say of the program."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

import xortune
from xortune.cli.shared import app
from xortune.core.formats import interval
from xortune.core.outcome import wilson
from xortune.runs.results import CONFIG_COLUMNS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_a_citation_names_this_version():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["version"] == xortune.__version__
    assert str(Version(xortune.__version__)) == xortune.__version__
    assert {"cff-version", "message", "title", "authors", "type"} <= set(cited)
    assert cited["license"] == PROJECT["project"]["license"]
    assert cited["authors"][0]["name"] in read("LICENSE")
    assert PROJECT["project"]["dynamic"] == ["version"]


def bounds(name):
    """The lower bounds of a list in pyproject.toml, by the package."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    found = {}
    for line in project["dependencies"] if name is None else extras[name]:
        requirement = Requirement(line)
        if requirement.name != "xortune":
            [bound] = [one for one in requirement.specifier if one.operator == ">="]
            found[requirement.name.lower()] = bound.version
    return found


def test_the_lowest_versions_are_those_that_are_tested():
    lines = [line.partition("#")[0].strip() for line in read(".ci/minimums.txt").splitlines()]
    pinned = dict(line.split("==") for line in lines if line)
    wanted = bounds(None)
    for extra in set(PROJECT["project"]["optional-dependencies"]) - {"bench", "dev"}:
        more = bounds(extra)
        assert all(wanted.get(name, more[name]) == more[name] for name in more), extra
        wanted |= more
    assert {name: Version(text) for name, text in pinned.items()} == {
        name: Version(text) for name, text in wanted.items()
    }
    assert "-c .ci/minimums.txt" in read(".ci/run")


README, COMMANDS, COLUMNS, NETWORK, THREAD, INSTALL = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "docs/commands.md",
        "docs/run-directory.md",
        "docs/network.md",
        "docs/thread.md",
        "docs/install.md",
    )
)
CLOSE = 5  # Another CPU may round another bit, and a seed on the edge end on its other side.


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def test_the_columns_are_told():
    told = COLUMNS.partition("| column | meaning |")[2].partition("## Columns of `seeds")[0]
    cells = re.findall(r"^\| (`.+?) \|", told, re.MULTILINE)
    assert re.findall(r"`([^`]+)`", " ".join(cells)) == list(CONFIG_COLUMNS)


ROWS = re.findall(r"^\| (?:before|after), .*? \| (\d+)/(\d+) \| (.*?) \|$", THREAD, re.MULTILINE)
LINES = [line for block in blocks(THREAD, "sh") for line in block.splitlines()]
MEASURED = [line for line in LINES if " --seeds " in line]


@pytest.mark.parametrize(("row", "line"), list(zip(ROWS, MEASURED, strict=True)))
def test_the_measured_counts_are_what_the_commands_print(row, line):
    k, n, shown = row
    assert interval(*map(float, wilson(int(k), int(n)))) == shown
    report = (ROOT / "reports" / "thread.md").read_text(encoding="utf-8")
    assert f"{int(k):,}/{int(n):,}" in report or f"{int(k):,} of {int(n):,}" in report
    ran = CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"])
    result = json.loads(ran.output)
    assert result["n"] == int(n)
    assert abs(result["k"] - int(k)) <= CLOSE * int(n) // 1000


def test_ci_runs_the_test_command_of_the_readme():
    ran = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run"), "--test-command"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    [shown] = [block for block in blocks(README, "sh") if "-m pytest" in block]
    assert ran.stdout == shown
    assert ran.stdout.endswith("-m pytest -q -n 2 --dist loadfile\n")


def test_every_dependency_is_explained():
    told = INSTALL.partition("## What it needs")[2].partition("\n## ")[0]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.partition("\ndependencies = [")[2].partition("\n]")[0]
    names = re.findall(r'^ +"([a-z0-9\[\]-]+)', listed, flags=re.MULTILINE)
    assert len(names) > 5
    cells = re.findall(r"^\| ([a-z].*?) \|", told, flags=re.MULTILINE)
    assert sorted(", ".join(cells[1:]).split(", ")) == sorted(names)
