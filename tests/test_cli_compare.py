"""`xortune compare`, of runs: what it says, writes and refuses."""

import csv
import functools
import json

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from compared import certified_run
from hand_made import CONFIG, done, solved, tiny_run

import xortune as xt
from xortune.comparisons.comparison import PAIR_COLUMNS
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.runs.manifest import NOBODY

compare = functools.partial(xortune, "compare")


@pytest.fixture(autouse=True)
def _files(tmp_path, _somewhere):  # noqa: F811
    certified_run(tmp_path / "good", [97, 99])
    certified_run(tmp_path / "bad", [80])


def test_a_program_is_told_the_same():
    result = compare("bad", "good", "--json", "--output", "out", "--format", "csv, tex")
    shown = json.loads(result.stdout)
    files = ["out/comparison.csv", "out/comparison.tex"]
    assert shown == shown | {"first_is_worse": True, "alpha": 0.05, "files": files}
    assert [(one["label"], one["k"]) for one in shown["contestants"]] == [("bad", 80), ("good", 97)]
    [pair] = shown["pairs"]
    assert tuple(pair) == PAIR_COLUMNS
    assert (pair["only_a"], pair["only_b"], pair["more_seeds"]) == (0, 17, None)
    with open("out/comparison.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert float(row["p"]) == pytest.approx(pair["p"])
    assert shown["answer"][0].startswith("good solves more seeds than bad")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["bad", "good", "--fail-if-worse"], 1),
        (["good", "bad", "--fail-if-worse"], 0),
        (["bad", "good", "--fail-if-worse", "--quiet"], 1),
        (["bad", "good", "--fail-if-worse", "--alpha", "1e-9"], 0),
    ],
)
def test_a_gate_for_ci(words, code):
    result = compare(*words, code=code)
    assert (result.output == "") == ("--quiet" in words)


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["good", "bad", "--seeds", "9", "--no-train"], ["--seeds: 9 seeds are asked for"]),
        (["good", "bad", "--format", "pdf"], ["--format: unknown format 'pdf'", "md, html"]),
        (["good", "bad", "--output", "file"], ["file", "cannot be written"]),
        (["good"], ["one run, and nothing to compare it with", "two runs or more"]),
    ],
)
def test_what_it_refuses(tmp_path, words, about):
    (tmp_path / "file").write_text("")
    refused(compare(*words), *about)


def trained_by(path, k, **identity):
    """A certified run of one config that this trained."""
    session = {"number": 1, "made": NOBODY, "space": "space.yaml"}
    given = {"trainer": identity["trainer"], "task": None, "task_fingerprint": None}
    return certified_run(path, [k], sessions=[session], made={NOBODY: identity}, **given)


OWN = {"trainer": "./train.py:run", "source": "0123abcd" * 8, "success": "accuracy >= 0.9"}


@pytest.mark.parametrize(
    ("identity", "about"),
    [
        ({**OWN, "trainer": "./other.py:f"}, "a was trained by ./train.py:run and b by ./other"),
        ({"trainer": "network"}, "a was trained by ./train.py:run and b by the built-in network"),
        ({**OWN, "source": "f" * 64}, "trained by ./train.py:run of different source: 0123abcd012"),
        ({**OWN, "success": "loss <= 1"}, "a counts 'accuracy >= 0.9' as solved and b 'loss <= 1'"),
    ],
)
def test_runs_of_different_trainers_are_refused(tmp_path, identity, about):
    trained_by(tmp_path / "a", 97, **OWN)
    trained_by(tmp_path / "b", 60, **identity)
    refused(compare("a", "b"), about, "--different-tasks")
    assert "a solves more seeds than b" in compare("a", "b", "--different-tasks").stdout
    trained_by(tmp_path / "c", 60, **OWN)
    assert "a solves more seeds than c" in compare("a", "c").stdout


def test_seeds_are_really_trained(tmp_path):
    """Both configs under the same fresh seeds, as `xt.evaluate` trains them."""
    points = [Point(CONFIG | {"lr": lr, "hidden_dim": 3, "epochs": 30}) for lr in (0.1, 0.02)]
    for name, point in zip(("fast", "slow"), points, strict=True):
        lines = [done(0, point, solved(0, 3, 4, epochs=30))]
        tiny_run(tmp_path / name, lines=lines, engine="fused")
    result = compare("fast", "slow", "--seeds", "300", "--json", "--output", "out", code=0)
    shown = json.loads(result.stdout)
    seeds = range(COMPARE.start, COMPARE.start + 300)
    for point, one in zip(points, shown["contestants"], strict=True):
        expected = xt.evaluate(xt.Config.from_point(point), seeds, engine="fused")
        assert (one["k"], one["n"]) == (expected.successes, 300)
        assert (one["seeds_from"], one["first_seed"]) == ("trained", COMPARE.start)
        assert one["facts"]["fresh seeds trained by"].startswith("fused, cpu, torch ")
    assert shown["pairs"][0]["differs"] is True
    again = compare("fast", "slow", "--seeds", "300", "--output", "out", "--reuse")
    assert "training:" not in again.stderr, "nothing is left to train"
