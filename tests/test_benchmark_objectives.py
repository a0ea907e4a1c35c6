"""The benchmark of what Optuna is told: it searches as the search does, and counts right."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from xortune.core.point import Point
from xortune.racing.objectives import Seen, speed, worth

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = [sys.executable, str(BENCHMARKS / "objectives.py")]
SMALL = ["--spaces", "narrow", "--repetitions", "2", "--trials", "12"]


@pytest.fixture
def objectives(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import objectives

    return objectives


@pytest.mark.long
def test_it_prints_a_table_and_goes_on_where_it_was(tmp_path):
    file = tmp_path / "o.jsonl"
    command = [*SCRIPT, *SMALL, "--candidates", "pooled", "logarithm", "--output", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 4
    assert all(0 <= row["rate"] <= 1 and row["spent"] >= 12 * 8 * 60 for row in rows)
    assert "| narrow" in done.stdout
    assert "logarithm" in done.stdout
    before = file.read_text()
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0
    assert file.read_text() == before
    assert again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]


def test_what_is_built_in_is_one_of_the_candidates(objectives):
    _, chosen = objectives.CANDIDATES["shrunken + speed"]
    for k, n, spent in ((8, 8, 80), (3, 8, 6000), (128, 128, 9000), (0, 32, 32000)):
        seen = Seen(Point({"a": 1}), k, n, spent)
        assert worth(k, n, speed(seen)) == pytest.approx(chosen(seen))


def test_the_target_is_where_it_is_held_to_the_end(objectives, monkeypatch):
    """Its rate over the answers is 1, 0.5, 1, 0.995: held from the third on."""

    class Known:
        def rate(self, _, point, seeds):
            assert seeds == objectives.FEWER
            return point["rate"]

    def search(space, tracer, told):
        for i, rate in enumerate((1.0, 0.5, 1.0, 0.995)):
            tracer.spend(10)
            tracer.answer({"rate": rate, "i": i}, 8, 8)

    monkeypatch.setattr(objectives, "search", search)
    bench = type(objectives.SPACES["narrow"])
    monkeypatch.setattr(bench, "train", lambda *_: SimpleNamespace(rate=0.995, epochs_to_solve=7.0))
    row = objectives.measured(("narrow", "pooled", 0, 5, "tpe"), Known())
    assert row["target"] == 30 * 60
    assert row["spent"] == 40 * 60
