"""Seeds that cannot be tried, at the command line: --retry, --retry-wait and --max-void."""

import json
from pathlib import Path

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401

import xortune as xt

TRAIN = """
from pathlib import Path

class Busy(Exception):
    pass

def run(config, seed):
    if (seed == 3 or (seed > 2**30 and seed % 20 == 3)) and not Path("up").exists():
        raise Busy("429: too many requests")
    return {"accuracy": 0.5 + 0.4 * (seed % 7 > config["x"])}
"""

SPACE = """
name: limited
trainer: ./limited_train.py:run
success: accuracy >= 0.8
parameters: {x: {choice: [0, 1]}}
search: {sampler: grid}
seeds: {ladder: [20]}
"""

TRIED = ("--retry", "./limited_train.py:Busy", "--retry-wait", "0,0.01", "--workers", 0)
OWN = ("--trainer", "./limited_train.py:run", "--success", "accuracy >= 0.8")
VOID = "could not be tried"


@pytest.fixture(autouse=True)
def _files(_somewhere):  # noqa: F811
    Path("limited_train.py").write_text(TRAIN)
    Path("space.yaml").write_text(SPACE)
    for x in (0, 1):
        Path(f"{x}.yaml").write_text(f"x: {x}\n")


def test_evaluate_says_which_seeds_were_void():
    words = ("evaluate", *OWN, "--config", "0.yaml", "--seeds", 21, *TRIED)
    shown = xortune(*words, code=0).stdout
    assert "17 of 20 seeds solved" in shown
    said = " ".join(shown.split())
    assert f"1 seed {VOID}, the first was 3: Busy: 429: too many requests" in said
    found = json.loads(xortune(*words, "--json", code=0).stdout)
    assert found["void"] == [{"seed": 3, "reason": "Busy: 429: too many requests"}]
    assert f"1 of 21 seeds {VOID}" in xortune(*words, "--max-void", 0.01, code=4).stderr
    without = ("evaluate", *OWN, "--config", "0.yaml", "--seeds", 21, "--workers", 0)
    assert "1 crashed" in xortune(*without, code=0, traceback=True).stdout


def test_a_gate_leaves_void_seeds_out():
    words = ("gate", *OWN, "--config", "0.yaml", "--min-rate", 0.5, "--first-seed", 1, *TRIED)
    assert "without 1 seed that could not be tried" in xortune(*words, code=0).stdout
    assert VOID in xortune(*words, "--max-void", 0, code=4).stderr


def test_a_search_and_its_certificate_try_seeds_again():
    words = ("search", "space.yaml", "--output", "run", "--no-check", *TRIED)
    assert VOID in xortune(*words, "--max-void", 0, code=4).stderr
    xortune(*words, "--resume", "--max-void", 0.9, code=0)
    assert [one.outcome.n for one in xt.load_run("run").results] == [19, 19]
    words = ("certify", "run", "--top", 1, "--seeds", 20, *TRIED)
    assert VOID in xortune(*words, "--max-void", 0, code=4).stderr
    Path("up").touch()
    xortune(*words, code=0)
    assert xt.load_run("run").certificate.best.n == 20


def test_a_comparison_tries_seeds_again():
    words = ("compare", "0.yaml", "1.yaml", *OWN, "--seeds", 20, "--output", "both", *TRIED)
    assert VOID in xortune(*words, "--max-void", 0, code=4).stderr
    found = json.loads(xortune(*words, "--max-void", 0.1, "--json", code=0).stdout)
    assert found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--retry", "Busy"), "--retry: 'Busy' names no exception; allowed: one of Python's own"),
        (("--retry", "int"), "--retry: 'int' names no exception"),
        (("--retry", "./limited_train.py:run"), "names no exception"),
        (("--retry", "./limited_train.py:Busi"), "--retry: limited_train has no"),
        (("--retry", "no_such_module.Busy"), "--retry: there is no module 'no_such_module'"),
        (("--retry-wait", "soon"), "--retry-wait: 'soon' is no number of seconds; allowed: 5, or"),
        (("--retry-wait", "1,-1"), "--retry-wait: -1.0 is out of range"),
        (("--max-void", 7), "--max-void: 7.0 is out of range"),
    ],
)
def test_what_means_nothing_is_refused_by_each_command(words, message):
    xt.search("space.yaml", output="run", workers=0, verbose=0, check=False)
    for command in (
        ("evaluate", *OWN, "--config", "0.yaml"),
        ("gate", *OWN, "--config", "0.yaml", "--min-rate", 0.5),
        ("search", "space.yaml", "--quiet"),
        ("certify", "run"),
        ("compare", "0.yaml", "1.yaml", *OWN),
    ):
        refused(xortune(*command, *words), message)


def test_exceptions_may_be_python_s_or_a_package_s():
    for name in ("OSError", "json.JSONDecodeError", "json:JSONDecodeError"):
        tried = ("--retry", name, "--workers", 0)
        xortune("evaluate", *OWN, "--config", "0.yaml", "--seeds", 3, *tried, code=0)
