"""A rule of two comparisons, in all that reads a rule."""

import html
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import xortune as xt
from xortune.core.success import parse_success
from xortune.reports.figures.distributions import scores
from xortune.spaces.model import number_to_learn
from xortune.spaces.space import load_space

RULE = "acc >= 0.9 and loss < 0.2"


def numbers(x, seed):
    """Of 4 seeds one fails by each comparison, one by none, and one by both; with x = 2 none."""
    acc = 0.95 if seed % 4 < 2 or x == 2 else 0.5
    loss = 0.1 if seed % 4 in (0, 2) or x == 2 else 0.3
    return {"acc": acc, "loss": loss}


def train(config, seed):
    return numbers(config["x"], seed)


SPACE = {
    "name": "both",
    "success": RULE,
    "parameters": {"x": {"choice": [0, 1, 2]}},
    "search": {"sampler": "grid"},
    "seeds": {"ladder": [8], "certify": 40},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("both") / "run"
    return xt.search(SPACE, train=train, output=path, workers=0, verbose=0)


def test_a_search_counts_seeds_for_which_all_comparisons_hold(run):
    assert run.table.k.tolist() == [8, 2, 2]
    assert run.manifest["success"] == RULE
    assert run.rule == parse_success(RULE)
    assert run.best["x"] == 2
    assert (run.score.name, run.score.maximize) == ("acc", True)
    assert [one.k for one in run.certificate.finalists if one.point["x"] == 2] == [40]


def test_a_run_goes_on_with_the_same_comparisons_only(run):
    same = xt.search(SPACE, train=train, output=run.path, resume=True, workers=0, verbose=0)
    assert same.table.k.tolist() == [8, 2, 2]
    other = SPACE | {"success": "acc >= 0.9 and loss < 0.3"}
    with pytest.raises(xt.InputError, match=r"loss < 0\.2"):
        xt.search(other, train=train, output=run.path, resume=True, workers=0, verbose=0)


def test_a_report_and_its_figures_have_the_rule(run):
    xt.write_report(run)
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert "acc_q10" in report.replace("\\", "")
    plot = scores(run)
    assert [one.label for one in plot.panels[0].layers if hasattr(one, "at")] == ["acc >= 0.9"]
    assert "the share is k / n" not in plot.note  # loss has a say, too


def test_where_no_seed_is_solved_the_nearest_is_told_with_the_rule(tmp_path):
    space = SPACE | {"success": "acc >= 0.99 and loss < 0.01", "seeds": {"ladder": [8]}}
    run = xt.search(space, train=train, output=tmp_path / "run", workers=0, verbose=0)
    xt.write_report(run)
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert "the rule asks acc >= 0.99 and loss < 0.01" in html.unescape(report)


def test_a_gate_judges_by_all_comparisons():
    def gate(x):
        return xt.gate({"x": x}, train=train, success=RULE, min_rate=0.6, max_seeds=60, workers=0)

    assert gate(2).passed
    assert not gate(0).passed


def test_each_number_of_a_comparison_has_its_direction(tmp_path):
    found = xt.compare(
        [{"x": 2}, {"x": 0}],
        train=train,
        success=RULE,
        labels=["both", "few"],
        output=tmp_path,
        workers=0,
        verbose=0,
        seeds=16,
    )
    assert [(one.k_a, one.k_b) for one in found.pairs] == [(16, 4)]
    assert {one.name: one.better for one in found.numbers} == {"acc": "larger", "loss": "smaller"}


@pytest.mark.parametrize(("rule", "learned"), [("acc >= 0.9", "acc"), (RULE, None)])
def test_a_process_learns_a_number_that_alone_decides(rule, learned):
    space = load_space(SPACE | {"trainer": "./train.py:run", "success": rule})
    ties = space.objectives[0].ties
    assert (ties.number, ties.maximize) == ("acc", True)
    number = number_to_learn(space)
    assert (number and number.number) == learned


def test_a_range_asks_both_ends_of_one_number():
    def balance(config, seed):
        return float(seed % 5)

    found = xt.evaluate({}, train=balance, seeds=range(10), success="value > 0.5 and value < 3.5")
    assert found.successes == 6
    rule = parse_success("value > 0.5 and value < 3.5")
    assert [rule.distance("value", number) for number in (0, 2, 4)] == [0.5, 0, 0.5]
    assert [limit.at for limit in rule.limits("value")] == [0.5, 3.5]
    assert rule.direction("value") is None


def test_a_seed_without_one_of_the_numbers_has_not_succeeded():
    def lost(config, seed):
        return [{"acc": 1.0, "loss": np.nan}, {"acc": 1.0}, {"acc": 1.0, "loss": 0.0}][seed]

    found = xt.evaluate({}, train=lost, seeds=range(3), success=RULE, workers=0)
    assert found.solved.tolist() == [False, False, True]
    assert "loss is nan" in found.details.failed[0]
    assert f"returned no 'loss', which the rule {RULE!r} judges" in found.details.failed[1]


def test_seeds_of_one_call_are_judged_like_single_ones():
    def together(config, seeds):
        found = [numbers(config["x"], seed) for seed in seeds]
        return {name: np.array([one[name] for one in found]) for name in ("acc", "loss")}

    many = xt.evaluate({"x": 0}, train=together, seeds=range(8), success=RULE, workers=0)
    alone = xt.evaluate({"x": 0}, train=train, seeds=range(8), success=RULE, workers=0)
    assert many.solved.tolist() == alone.solved.tolist() == [True, False, False, False] * 2


def test_an_imported_table_is_judged_by_all_its_columns(tmp_path):
    rows = [(x, seed, *numbers(x, seed).values()) for x in (0, 2) for seed in range(8)]
    rows[9] = (2, 1, np.inf, 0.1)
    table = pd.DataFrame(rows, columns=["x", "seed", "acc", "loss"])
    run = xt.import_results(table, config=["x"], success=RULE, output=tmp_path / "run")
    assert run.table.k.tolist() == [7, 2]
    assert {*run.seeds.columns} >= {"acc", "loss"}
    with pytest.raises(xt.InputError, match="no column 'loss'"):
        xt.import_results(
            table.drop(columns="loss"), config=["x"], success=RULE, output=tmp_path / "other"
        )


def test_a_command_is_judged_by_all_comparisons(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys; s = int(sys.argv[1]); print(json.dumps("
        "{'acc': .95 if s % 4 < 2 else .5, 'loss': .1 if s % 2 == 0 else .3}))"
    )
    command = {"command": f"{sys.executable} {program} {{seed}}"}
    found = xt.evaluate({}, train=command, seeds=range(4), success=RULE, workers=0)
    assert found.solved.tolist() == [True, False, False, False]
    with pytest.raises(xt.InputError, match="judges 'loss', and the regex finds 'acc'"):
        xt.evaluate(
            {},
            train=command | {"metric": {"regex": "acc: (.*)", "name": "acc"}},
            seeds=range(1),
            success=RULE,
        )


class Line(xt.TorchTraining):
    """Learns a line; the seed decides how far it gets."""

    epochs = 3

    def model(self):
        return nn.Linear(1, 1)

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def batches(self):
        x = torch.linspace(0, 1, 8)[:, None]
        yield x, 2 * x

    def loss(self, model, x, y):
        return ((model(x) - y) ** 2).mean()

    def score(self, model):
        return {"first": model(torch.zeros(1, 1)).sum(), "last": model(torch.ones(1, 1)).sum()}


def test_stacked_seeds_of_a_torch_training_are_judged_by_all_comparisons(tmp_path):
    found = xt.evaluate({}, train=Line, seeds=range(40), success="first > 0 and last < 1.0")
    values = found.details.values
    wanted = (values["first"] > 0) & (values["last"] < 1)
    assert found.solved.tolist() == wanted.tolist()
    assert 0 < found.successes < 40
