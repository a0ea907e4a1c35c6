"""The pytest plugin apart: as it is installed, its answer beside the gate's, what it imports."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from xortune.certificates.gate import gate_config
from xortune.certificates.seeds_mark import Course, wanted
from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
ENTRY = {"xortune": "xortune.certificates.pytest_plugin"}


def test_the_entry_point_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == ENTRY


def outcomes(pattern):
    class Trainer:
        def train(self, blocks):
            [block] = blocks
            solved = [pattern(seed) for seed in block.seeds]
            crashed = Outcome.crashed(block.seeds, 0)
            status = [Status.SOLVED if one else Status.WRONG_PATTERN for one in solved]
            object.__setattr__(crashed, "status", __import__("numpy").array(status, "uint8"))
            return [crashed]

    return Trainer()


@pytest.mark.parametrize("every", [0, 2, 3, 7, 20, 30, 150])
@pytest.mark.parametrize(("rate", "most"), [(0.95, 300), (0.5, 60), (0.99, 800)])
def test_the_answer_is_the_gate_s(every, rate, most):
    def passes(seed):
        return not every or seed % every != every - 1

    course = Course(wanted(most, min_rate=rate, first=0))
    while course.answer is None:
        course.count(None if passes(course.next) else ValueError("no"))
    verdict = gate_config(
        Point({"a": 1}), outcomes(passes), min_rate=rate, max_seeds=most, first_seed=0
    )
    assert course.answer in (verdict.answer, "undecided")
    assert (course.answer == "proven") == verdict.passed
    if course.answer != "undecided":
        assert (course.k, course.n) == (verdict.k, verdict.n)
    elif course.n < most:  # nothing that could have come would have proven it
        for _ in range(most - course.n):
            course.count()
            assert course.answer != "proven"


def apart(pytester, *words):
    """In a Python of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=pytester.path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_workers_of_xdist_send_their_results(pytester):
    pytester.makepyfile("""
        import pytest
        @pytest.mark.parametrize("lr", [1, 2])
        @pytest.mark.seeds(100, min_rate=0.9)
        def test_x(seed, lr): pass
    """)
    ran = apart(pytester, "-m", "pytest", "-p", "xdist", "-n", "2", *named_apart(), "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall(r"test_x\[[12]\]: seeds: (\d+) of \1, proven 0.9", ran.stdout)) == 2


def named_apart():
    from importlib.metadata import entry_points

    there = {e.name for e in entry_points(group="pytest11")}
    return [] if "xortune" in there else ["-p", "xortune.certificates.pytest_plugin"]


def test_unused_it_is_silent_and_imports_nothing_of_ours(pytester):
    pytester.makepyfile("""
        import sys
        def test_x():
            heavy = {"numpy", "scipy", "torch", "ray", "optuna", "pandas", "numba", "pydantic"}
            assert not heavy & set(sys.modules)
            ours = {name for name in sys.modules if name.split(".")[0] == "xortune"}
            room = {"xortune", "xortune.certificates"}  # which only list what they have
            assert ours == room | {"xortune.certificates.pytest_plugin"}
    """)
    ran = apart(
        pytester, "-m", "pytest", *named_apart(), "-W", "error", "-p", "no:hypothesispytest"
    )
    assert ran.returncode == 0, ran.stdout
    assert "seeds" not in ran.stdout
    shown = apart(pytester, "-m", "pytest", *named_apart(), "--markers").stdout
    assert "@pytest.mark.seeds(n, *, min_rate, confidence=0.95, first=1207959552)" in shown
