"""Which of two numbers is better: one method of the rule decides, in every table and figure."""

import numpy as np
import pandas as pd
import pytest

import xortune as xt
from xortune.core.success import larger_is_better, parse_success
from xortune.reports.comparison import contestants_table
from xortune.reports.figures.comparisons import samples_of
from xortune.reports.figures.distributions import scores
from xortune.spaces.space import load_space

SPACE = {
    "name": "direction",
    "trainer": "./train.py:run",
    "parameters": {"x": {"low": 0, "high": 9}},
    "search": {"trials": 2},
    "seeds": {"ladder": [2]},
}


@pytest.mark.parametrize(
    ("rule", "larger", "orders"),
    [
        ("failures == 0", False, True),
        ("bugs == 0", False, False),
        ("accuracy == 1", True, True),
        ("passed == 10", True, False),
        ("steps == 500", True, False),  # less of it is better by its name alone
        ("return == 0", True, False),
        ("x != 0", True, False),
        ("loss != 0", False, False),
        ("loss < 1", False, True),
        ("acc >= .9", True, True),
        ("loss > 1", True, True),
        ("acc <= .9", False, True),
    ],
)
def test_the_direction_of_a_rule_whose_numbers_are_not_known_yet(rule, larger, orders):
    success = parse_success(rule)
    [name] = success.names
    assert success.ordering(name) is (larger if orders else None)
    assert larger_is_better(name, [None, success]) == larger
    [objective] = load_space(SPACE | {"success": rule}).objectives
    assert (objective.ties and objective.ties.maximize) == (larger if orders else None)


RULES = {
    "failures == 0": ([0, 0, 1, 2], False),
    "bugs == 0": ([0, 0, 1, 2], False),
    "passed == 10": ([10, 10, 9, 8], True),
    "retries == 1": ([1, 1, 2, 3], False),
    "return == 0": ([0, 0, -1, -2], True),
    "balance == 1": ([1, 1, 4, -1], False),
    "x != 0": ([3, 2, 1, 0], True),
    "loss < 1": ([0.1, 0.2, 1.5, 2], False),
    "acc >= 0.9": ([1, 0.95, 0.5, 0.4], True),
}
"""Numbers of four seeds, the best first, and whether more is better."""


@pytest.mark.parametrize("rule", RULES)
def test_all_that_shows_a_number_agrees_which_is_better(rule, tmp_path):
    numbers, larger = RULES[rule]
    name, worst = rule.partition(" ")[0], "q10" if larger else "q90"
    rows = [(x, seed, numbers[(seed + x) % 4]) for x in (0, 1) for seed in range(12)]
    table = pd.DataFrame(rows, columns=["config", "seed", name])
    run = xt.import_results(table, config=["config"], success=rule, output=tmp_path / "run")
    xt.write_report(run)
    report = (run.path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert f"{name}_{worst}" in report
    assert run.score.maximize == larger
    assert f"{name}_{worst}" in run._repr_html_()
    assert f"{name}_{worst}" in xt.status(run.path).best.scores
    axis = scores(run).panels[0].y.label
    assert ("at least" if larger else "at most") in axis

    def train(config, seed):
        return {name: float(numbers[0 if config["good"] else seed % 2 + 2])}

    def compared(**more):
        return xt.compare(
            [{"good": 1}, {"good": 0}],
            train=train,
            success=rule,
            labels=["good", "bad"],
            output=tmp_path / "compared",
            workers=0,
            verbose=0,
            seeds=12,
            **more,
        )

    found, by = compared(), compared(by=f"{name}_mean")
    better = "larger" if larger else "smaller"
    assert by.measure.better == samples_of(found).better == samples_of(by).better == better
    assert found.pairs[0].k_a == 12
    assert f"{name}_{worst}" in [one.text for one in contestants_table(found).headings]
    [told] = found.numbers
    if parse_success(rule).ordering(name, np.array(numbers)) is not None:
        assert (told.better, told.wins[0].value) == (better, 1)
    else:
        assert told.better == ""
    if len({number > numbers[0] for number in numbers[2:]}) == 1:  # all lie on one side
        assert str(by).startswith(f"good has a better {name}_mean than bad")


def test_beyond_the_limit_of_equality_neither_more_nor_less_is_better(tmp_path):
    """-3 is no better than 0, though it is smaller than that."""

    def train(config, seed):
        return {"balance": config["at"] * (1 if seed % 2 else 2)}

    found = xt.compare(
        [{"at": -3}, {"at": 3}],
        train=train,
        success="balance == 0",
        output=tmp_path,
        workers=0,
        verbose=0,
        seeds=8,
    )
    assert found.numbers[0].better == ""


def test_the_nearest_to_a_rule_of_equality_is_nearest_on_either_side(tmp_path):
    space = {"name": "nearest", "parameters": {"x": {"choice": [-9, 2, 6]}}}
    space |= {"search": {"sampler": "grid"}, "seeds": {"ladder": [4]}}

    def train(config, seed):
        return {"balance": config["x"] + seed % 2}

    run = xt.search(space | {"success": "balance == 1"}, train=train, output=tmp_path, workers=0)
    report = (run.path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert "The best median of balance is **2.5**" in report


def test_a_number_with_the_name_of_a_column_is_in_the_table_of_a_notebook(tmp_path):
    rows = [(x, seed, seed / 9) for x in (0, 1) for seed in range(9)]
    table = pd.DataFrame(rows, columns=["acc_mean", "seed", "acc"])
    run = xt.import_results(table, config=["acc_mean"], success="acc >= 0.5", output=tmp_path / "a")
    assert "value_acc_median" in run.table
    assert "value_acc_median" in run._repr_html_()
