"""Configs with the same count: where a rule judges a number, the better number comes first."""

import pandas as pd
import pytest

import xortune as xt
from xortune.core.point import Point
from xortune.racing.objectives import SeedSummary, sampler_values, worth
from xortune.spaces.space import load_space

SPACE = {
    "name": "ties",
    "parameters": {"x": {"low": 0, "high": 9}},
    "search": {"sampler": "tpe", "trials": 8},
    "seeds": {"ladder": [2]},
}

POINT = Point({"x": 1})


def seen(k, numbers):
    return SeedSummary(k, len(numbers), numbers=(numbers,))


def rows(numbers):
    """A table with one config for each list of numbers of its seeds."""
    every = [(x, seed, told) for x, of in numbers.items() for seed, told in enumerate(of)]
    return pd.DataFrame(every, columns=["x", "seed", "acc"])


def in_order(tmp_path, numbers, rule):
    run = xt.import_results(rows(numbers), config=["x"], success=rule, output=tmp_path / "run")
    found = [result.point["x"] for result in run.results]
    status = xt.status(run.path)
    assert status.best is not None
    assert status.best.key == run.results[0].key == run.table.key[0]
    xt.write_report(run)
    return found, (run.path / "report.md").read_text(encoding="utf-8").replace("\\", "")


def test_the_best_of_none_solved_is_the_most_accurate(tmp_path):
    numbers = {x: [0.1 * x, 0.1 * x + 0.01] for x in (3, 9, 1, 7, 5)}
    found, report = in_order(tmp_path, numbers, "acc >= 0.99")
    assert found == [9, 7, 5, 3, 1]
    assert "then by acc_median (more is better), then by its key." in " ".join(report.split())


def test_no_number_outweighs_a_seed_and_a_failed_seed_is_worse_than_any(tmp_path):
    numbers = {
        1: [0.5, 0.5, 0.0],  # two of three
        2: [0.99, 0.4, 0.4],  # one
        3: [0.99, 0.45, 0.45],  # one, and the better middle
        4: [0.99, float("nan"), float("nan")],  # one, and two that failed
    }
    assert in_order(tmp_path, numbers, "acc >= 0.5")[0] == [1, 3, 2, 4]


def test_a_rule_without_a_direction_tells_no_ties_apart(tmp_path):
    numbers = {x: [float(x)] * 2 for x in range(1, 8)}
    found, report = in_order(tmp_path, numbers, "acc == 0")
    assert found == sorted(found, key=lambda x: Point({"x": x}).key)
    assert "acc_median" in report, "its number is shown, and orders nothing"


@pytest.mark.parametrize("rule", ["acc >= 0.9", "acc <= 0.9"])
def test_a_sampler_hears_of_it_and_a_seed_is_worth_more(rule):
    goals = load_space(SPACE | {"success": rule, "trainer": "./t.py:run"}).objectives
    scale = [-1e300, -5.0, 0.0, 1e-4, 0.362, 0.966, 30.0, 1e300]
    ordered = scale if ">" in rule else scale[::-1]
    values = [sampler_values(goals, POINT, seen(0, [number] * 2))[0] for number in ordered]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    nan = float("nan")
    assert sampler_values(goals, POINT, seen(0, [nan, nan]))[0] <= values[0]
    assert sampler_values(goals, POINT, seen(1, [nan, ordered[0]]))[0] > values[-1]
    half = 0.5 + 0.499 * ((1 if ">" in rule else -1) / 3)
    assert sampler_values(goals, POINT, seen(0, [0.5] * 2)) == (worth(0, 2, half),)


def accuracy(config, seed):
    return {"acc": 0.05 * config["x"] + 0.001 * seed}


def test_a_search_of_a_function_ends_with_the_most_accurate(tmp_path):
    run = xt.search(SPACE | {"success": "acc >= 0.99"}, train=accuracy, output=tmp_path / "run")
    found = [result.point["x"] for result in run.results]
    assert found == sorted(found, reverse=True)
    assert xt.load_run(run.path).results[0].key == run.results[0].key
