"""A dry run checks all that the command is given, says what would be done, and starts nothing."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from hand_made import TINY_SPACE, done, solved, write_run

import xortune as xt

OWN = {
    "name": "own",
    "trainer": "./own.py:run",
    "parameters": {"x": {"choice": [1, 2]}},
    "search": {"sampler": "random", "trials": 2},
    "seeds": {"ladder": [4]},
}


def calls():
    return len(Path("calls").read_text()) if Path("calls").exists() else 0


def started():
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


@pytest.fixture
def space():
    Path("tiny.yaml").write_text(TINY_SPACE)
    return "tiny.yaml"


@pytest.mark.parametrize("output", [None, "there/run"])
def test_nothing_is_started_and_it_says_what_would_be(space, output, tmp_path):
    before, running = sorted(tmp_path.rglob("*")), started()
    options = [] if output is None else ["--output", output]
    result = xortune("search", space, "--dry-run", "--trials", 7, *options)
    assert result.exit_code == 0, result.output
    assert f"the search would make {output or 'runs/tiny'}; nothing was started" in result.stdout
    assert "7 configurations" in result.stderr
    found = json.loads(xortune("search", space, "--dry-run", *options, "--json").stdout)
    assert (found["dry_run"], found["run"], found["continues"]) == (
        *(True, output or "runs/tiny", 0),
    )
    assert found["space"]["name"] == "tiny"
    assert sorted(tmp_path.rglob("*")) == before
    assert started() == running


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--sampler", "bayes"], "unknown sampler 'bayes'"),
        *((["--cpus-per-trial", 0], "cpus_per_trial"), (["--study-name", "s"], "--study-name")),
        *((["--engine", "fast"], "unknown engine"), (["--output", "held"], "already holds a run")),
        (["--output", "held", "--resume"], "space"),
    ],
)
def test_what_a_search_refuses_is_refused(space, options, word):
    write_run(Path("held"), [done(0, {"x": 1}, solved(0, 1, 4))])
    refused(xortune("search", space, "--dry-run", "--quiet", *options), word)


def test_a_function_is_called_once_and_no_more():
    own = Path("own.yaml")
    own.write_text(yaml.safe_dump(OWN))
    Path("own.py").write_text("def run(*_):\n    return bool(open('calls', 'a').write('x'))\n")
    result = xortune("search", own, "--dry-run")
    assert result.exit_code == 0, result.output
    assert calls() == 1
    assert "of seed 0 with x=1" in result.stderr
    assert "would make runs/own" in result.stdout
    assert xortune("search", own, "--dry-run", "--no-check").exit_code == 0
    assert calls() == 1
    Path("own.py").write_text("def run(config, seed):\n    return 'text'\n")
    assert "returned a str" in xortune("search", own, "--dry-run").stderr
    assert xortune("search", own, "--dry-run", "--no-check").exit_code == 0
    assert not Path("runs").exists()


def test_going_on_is_checked_too(space):
    run = xt.search(space, output="run", trials=2)
    files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    result = xortune("search", space, "--output", "run", "--resume", "--trials", 4, "--dry-run")
    assert result.exit_code == 0, result.output
    assert f"would continue run, which has {len(run.evaluations)} evaluations" in result.stdout
    Path("other.yaml").write_text(TINY_SPACE.replace("hidden_dim: 3", "hidden_dim: 4"))
    refused(
        xortune("search", "other.yaml", "--output", "run", "--resume", "--dry-run", "--quiet"),
        "hidden_dim: 3 -> 4",
        lines=3,
    )
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == files
    # Without an output the next free name is told.
    Path("runs/tiny").mkdir(parents=True)
    assert "would make runs/tiny-2;" in xortune("search", space, "--dry-run").stdout
