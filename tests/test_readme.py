"""The README's commands, and the tables and figures that docs/ has of what the program does."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from xortune.cli.shared import app
from xortune.core.counts import wilson
from xortune.core.formats import interval
from xortune.runs.results import CONFIG_COLUMNS

ROOT = Path(__file__).parent.parent
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


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_table_of_commands_lists_them_all():
    told = re.findall(r"^\| `xortune (\w+)", COMMANDS, flags=re.MULTILINE)
    assert sorted(told) == sorted(typer.main.get_command(app).commands)


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


def test_the_space_file_shown_is_the_one_shipped():
    [shown] = blocks(NETWORK, "yaml")
    shipped = (ROOT / "search_spaces" / "xor.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shown) == yaml.safe_load(shipped)


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


def test_the_two_figures_say_in_words_what_they_show():
    shown = re.findall(r"^!\[(.+)\]\(../reports/xor/(\S+)\)$", NETWORK, re.MULTILINE)
    report = (ROOT / "reports" / "xor" / "report.md").read_text(encoding="utf-8")
    assert shown
    for alt, name in shown:
        assert f"![{alt}]({name})" in report


def test_what_a_cluster_needs_is_an_extra_and_in_the_sdist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [tune] = [d for d in project["project"]["dependencies"] if d.startswith("ray[")]
    extra = project["project"]["optional-dependencies"]["cluster"]
    assert extra == [tune.replace("[tune]", "[default]")]
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"cluster", "docs", "search_spaces", "tests", "xortune"} <= set(included)
    assert [name for name in included if not (ROOT / name).exists()] == []


def test_every_dependency_is_explained():
    told = INSTALL.partition("## What it needs")[2].partition("\n## ")[0]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.partition("\ndependencies = [")[2].partition("\n]")[0]
    names = re.findall(r'^ +"([a-z0-9\[\]-]+)', listed, flags=re.MULTILINE)
    assert len(names) > 5
    cells = re.findall(r"^\| ([a-z].*?) \|", told, flags=re.MULTILINE)
    assert sorted(", ".join(cells[1:]).split(", ")) == sorted(names)
