"""docs/resume.md tells the truth: its commands run as they stand, its refusal is the real one."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from xortune.cli.shared import app
from xortune.runs.run import load_run

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "resume.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def did(tmp_path_factory, one_ray):
    """Everything that the page does, in its order: what each command and the program said."""
    folder = tmp_path_factory.mktemp("docs")
    [space], [program], [first, extend] = blocks("yaml"), blocks("python"), blocks("sh")
    search, resume = first.splitlines()
    journal = folder / "runs" / "a" / "evaluations.jsonl"
    said = {}

    def run(name, line):
        assert line.startswith("xortune ")
        said[name] = CliRunner().invoke(app, [*shlex.split(line)[1:], "--quiet"])

    with contextlib.chdir(folder):
        Path("space.yaml").write_text(space)
        run("search", search)
        before = journal.read_bytes()
        wider = space.replace("high: 0.1", "high: 0.5").replace("ReLU]", "ReLU, ELU]")
        Path("space.yaml").write_text(wider)
        run("refused", resume)
        assert journal.read_bytes() == before
        run("extend", extend)
        Path("program.py").write_text(program)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path("program.py")
    return folder / "runs" / "a", said, printed.getvalue(), before, space


def test_its_commands_do_what_they_say(did):
    path, said, printed, before, space = did
    codes = {name: ran.exit_code for name, ran in said.items()}
    assert codes == {"search": 0, "refused": 2, "extend": 0}, said
    [text] = blocks("text")
    assert said["refused"].stderr == text
    assert printed.splitlines()[:2] == [
        "1 space-1.yaml []",
        "2 space.yaml ['parameters.activation.choice: [Tanh, ReLU] -> [Tanh, ReLU, ELU]', "
        "'parameters.lr.high: 0.1 -> 0.5', 'search.trials: 4 -> 12']",
    ]
    assert (path / "space-1.yaml").read_text() == space
    after = (path / "evaluations.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 12


def test_what_is_new_is_searched_and_what_was_counts(did):
    path, _, _, before, _ = did
    run = load_run(path)
    assert run.table["trials"].sum() == 12
    assert run.manifest["trials"] == 12
    assert run.manifest["complete"] is True
    new = [e.block.point for e in run.evaluations[len(before.splitlines()) :]]
    assert any(point["lr"] > 0.1 for point in new)
    assert any(point["activation"] == "ELU" for point in new)
    lines = (path / "evaluations.jsonl").read_text().splitlines()
    made = {json.loads(line)["made"] for line in lines}
    assert made == set(run.manifest["made"])


def test_its_options_are_those_of_the_command_line():
    commands = typer.main.get_command(app).commands
    for name in ("--resume", "--extend", "--accept-versions", "--trials", "--output"):
        assert name in PAGE
        known = {option for one in commands["search"].params for option in one.opts}
        assert name in known
    assert "--accept-versions" in {o for one in commands["certify"].params for o in one.opts}
