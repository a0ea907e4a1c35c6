"""The README tells the truth: its code runs, its commands parse, its counts are what one gets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from shapes import unprinted
from typer.testing import CliRunner

from xortune.cli.shared import app
from xortune.core.counts import wilson
from xortune.core.formats import interval
from xortune.runs.results import CONFIG_COLUMNS
from xortune.spaces.space import parse_space

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLOSE = 5  # Another CPU may round another bit, and a seed on the edge end on its other side.
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/certify.md",
    "docs/racing.md",
    "docs/report.md",
    "docs/security.md",
    "reports/README.md",
)


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What follows `xortune` in each command of the shell blocks and of the prose."""
    shell = [line for block in blocks("sh", text) for line in block.splitlines()]
    prose = re.findall(r"`(xortune [^`]+)`", text)
    found = [
        re.search(r"(?:^|\s|/)xortune (.+)$", part)
        for line in [*shell, *prose]
        for part in re.split(r"&&|,? then ", line)
        if not part.lstrip().startswith("#")
    ]
    return [match[1] for match in found if match and ".." not in match[1]]


COMMANDS = sorted({command for page in PAGES for command in commands((ROOT / page).read_text())})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command):
    group = typer.main.get_command(app)
    context = group.context_class(group, info_name="xortune")
    name, verb, rest = group.resolve_command(context, shlex.split(command))
    with verb.make_context(name, rest, parent=context) as parsed:
        space = parsed.params.get("space")
    # A word in capitals stands for a file of the reader's own.
    assert space is None or str(space).isupper() or (ROOT / space).is_file()


def test_the_commands_are_found_and_a_wrong_one_is_noticed():
    assert {command.split()[0] for command in COMMANDS} == {
        "search",
        "evaluate",
        "report",
        "log",
        "space",
        "compare",
        "certify",
        "export",
        "import",
        "plan",
        "gate",
        "status",
        "submit",
    }
    with pytest.raises(Exception, match="No such option"):
        test_every_command_parses("search search_spaces/xor.yaml --sedes 3")


def test_the_table_of_commands_lists_them_all():
    told = re.findall(r"^\| `xortune (\w+)", README, flags=re.MULTILINE)
    assert sorted(told) == sorted(typer.main.get_command(app).commands)


def run_here(program, folder):
    """With the Ray that is there; what it prints."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(program, "README.md", "exec"), {})
    return printed.getvalue()


def run_apart(program, folder):
    """As a reader runs it; what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("run", [run_here, pytest.param(run_apart, marks=pytest.mark.long)])
def test_the_python_blocks_run(tmp_path, run):
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    program = "\n".join(blocks("python"))
    assert program.count("xt.search(") == 1
    told = run(program, tmp_path)
    [promised] = re.findall(r"print\(outcome\)  # Outcome\((\d+)/100 ", program)
    [printed] = re.findall(r"^Outcome\((\d+)/100 ", told, flags=re.MULTILINE)
    assert abs(int(printed) - int(promised)) <= CLOSE
    files = {path.name for path in (tmp_path / "runs" / "small").iterdir()}
    table = README.partition("## A run's files")[2].partition("All tables")[0]
    first_cells = re.findall(r"^\| (`.+?) \|", table, flags=re.MULTILINE)
    named = {name.rstrip("/") for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    # Ray Tune's files are there if Ray was: so small a search is over before it would have started.
    assert named == files | {"ray"}
    assert ("ray" in files) == (run is run_here)


def test_the_columns_are_told():
    told = README.partition("| column | meaning |")[2].partition("`seeds.parquet` has")[0]
    names = [n for cell in re.findall(r"^\| (`.+?) \|", told, re.MULTILINE) for n in _quoted(cell)]
    assert names == list(CONFIG_COLUMNS)


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


ROWS = re.findall(r"^\| (?:before|after), .*? \| (\d+)/(\d+) \| (.*?) \|$", README, re.MULTILINE)
MEASURED = [line for block in blocks("sh") for line in block.splitlines() if " --seeds " in line]


def test_before_and_after_are_there():
    assert len(ROWS) == 4


def test_what_is_told_of_the_thread_is_what_its_report_says():
    report = (ROOT / "reports" / "thread.md").read_text(encoding="utf-8")
    told = " ".join(README.partition("## Quick start")[0].split())
    [bound] = re.findall(r"at least (\d\d\.\d+ %) of all seeds", report)
    [epochs] = re.findall(r"Half of them needed fewer than (\d+) epochs", report)
    [counts] = re.findall(r"Of (\d+) quoted counts, \1 agree", report)
    [slow, fast, best] = re.findall(
        r"\(T10\) is inconsistent with what is measured: (\d+) of 10,000 seeds at 0.03, "
        r"([\d,]+) at ([\d.]+) ",
        report,
    )[0]
    assert f"at least {bound} of all seeds" in told
    assert f"took less than {epochs} epochs" in told
    assert f"All {counts} counts" in told
    assert f"{slow} of 10,000 at 0.03 are {fast} at {best}" in told
    for k, n, _ in ROWS:
        assert f"{int(k):,}/{int(n):,}" in report or f"{int(k):,} of {int(n):,}" in report


@pytest.mark.parametrize("row", ROWS)
def test_the_intervals_beside_the_counts_are_theirs(row):
    k, n, shown = row
    low, high = wilson(int(k), int(n))
    assert interval(float(low), float(high)) == shown


@pytest.mark.parametrize(("row", "line"), list(zip(ROWS, MEASURED, strict=True)))
def test_the_measured_counts_are_what_the_commands_print(row, line):
    ran = CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"])
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.output)
    assert result["n"] == int(row[1])
    assert abs(result["k"] - int(row[0])) <= CLOSE * result["n"] // 1000


def test_the_winner_shown_does_on_fresh_seeds_what_is_told():
    [shown] = [block for block in blocks("text") if block.startswith("xor_small")]
    [command] = re.findall(r"^ +xortune (.+)$", shown, flags=re.MULTILINE)
    [told] = re.findall(r"`(\d+)/1000 seeds solved", README)
    ran = CliRunner().invoke(app, [*shlex.split(command), "--json"])
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.output)
    assert result["first_seed"] == 2**30
    assert abs(result["k"] - int(told)) <= CLOSE


@pytest.mark.usefixtures("one_ray")
def test_what_one_sees_is_what_is_printed(tmp_path, monkeypatch):
    [shown] = [block for block in blocks("text") if block.startswith("xor_small")]
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    [command] = re.findall(r"`xortune (search [^`]+xor_small.yaml)`, here", README)
    ran = CliRunner().invoke(app, shlex.split(command))
    assert ran.exit_code == 0, ran.output
    assert unprinted(shown, ran.stderr + ran.stdout) == []
    assert unprinted("All is solved.\n", ran.stdout) == ["All is solved."]


def test_the_space_file_shown_is_the_one_shipped():
    [shown] = blocks("yaml")
    asked = parse_space(shown, "README.md", ROOT)
    shipped = yaml.safe_load((ROOT / "search_spaces" / "xor.yaml").read_text(encoding="utf-8"))
    mine = yaml.safe_load(shown)
    assert mine == shipped
    assert asked.seeds.ladder[-1] == 512


def test_ci_runs_the_test_command_of_the_readme():
    ran = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run"), "--test-command"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    after = README.partition("<!-- test command -->\n")[2]
    assert ran.stdout == blocks("sh", after)[0]
    assert ran.stdout.count("\n") == 1
    assert ran.stdout.endswith("-m pytest -q -n 2 --dist loadfile\n")


def test_links_lead_somewhere():
    links = [
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
        if "://" not in link
    ]
    assert len(links) > 5
    assert [pair for pair in links if not ((ROOT / pair[0]).parent / pair[1]).exists()] == []


def test_what_is_told_of_the_xor_search_is_what_its_report_says():
    """The committed report is of the shipped space, and raced as the README tells."""
    report = (ROOT / "reports" / "xor" / "report.md").read_text(encoding="utf-8")
    shipped = (ROOT / "search_spaces" / "xor.yaml").read_text(encoding="utf-8")
    [asked, *_] = blocks("yaml", report)
    assert asked.strip() == shipped.strip()
    space = parse_space(shipped, "xor.yaml", ROOT)
    assert f"| seeds: rungs | {', '.join(map(str, space.seeds.ladder))} |" in report
    [done] = [line for line in report.splitlines() if line.startswith("| done |")]
    proposals, _, seeds = re.findall(r"\d[\d,]*(?= )", done)
    assert int(proposals) == space.search.trials
    text = " ".join(README.split())
    [(some, of)] = re.findall(r"that is some ([\d,]+) seeds instead of ([\d,]+)", text)
    spent = int(seeds.replace(",", ""))
    assert abs(int(some.replace(",", "")) - spent) <= 50
    assert int(of.replace(",", "")) == space.search.trials * space.seeds.ladder[-1]
    assert f"for the {space.seeds.certify:,} seeds planned" in report


def test_the_two_figures_say_in_words_what_they_show():
    shown = re.findall(r"^!\[(.+)\]\(reports/xor/(\S+)\)$", README, re.MULTILINE)
    assert [name for _, name in shown] == ["figures/ranking.svg", "figures/decision-surface.svg"]
    report = (ROOT / "reports" / "xor" / "report.md").read_text(encoding="utf-8")
    for alt, name in shown:
        assert f"![{alt}]({name})" in report
    [(tied, of, n)] = re.findall(r"Of (\d+) .* with all (\d+) seeds, (\d+) others", shown[0][0])
    assert (tied, of, n) == ("10", "512", "9")  # what is said below it: nothing tells ten apart


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_every_page_is_linked_where_a_reader_looks(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert len(pages) >= 7
    assert [page for page in pages if f"](docs/{page}" not in text] == []
    links = re.findall(r"\]\((docs/[^)#]+)\)", text)
    assert [link for link in links if not (ROOT / link).is_file()] == []
    assert "--trial-timeout" in text
    assert "xortune submit" in text


def test_what_a_cluster_needs_is_an_extra_and_in_the_sdist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [tune] = [d for d in project["project"]["dependencies"] if d.startswith("ray[")]
    extra = project["project"]["optional-dependencies"]["cluster"]
    assert extra == [tune.replace("[tune]", "[default]")]
    assert "'.[cluster]'" in (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"cluster", "docs", "search_spaces", "tests", "xortune"} <= set(included)
    assert [name for name in included if not (ROOT / name).exists()] == []


def test_every_dependency_is_explained():
    told = README.partition("## Dependencies")[2]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.partition("\ndependencies = [")[2].partition("\n]")[0]
    names = re.findall(r'^ +"([a-z0-9\[\]-]+)', listed, flags=re.MULTILINE)
    assert len(names) > 5
    cells = re.findall(r"^\| ([a-z].*?) \|", told, flags=re.MULTILINE)
    assert sorted(", ".join(cells[1:]).split(", ")) == sorted(names)
