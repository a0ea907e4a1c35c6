"""Functions that report on the way, yield, or are classes: what is called, kept and ended."""

import math
import sys
import time

import numpy as np
import pytest

from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation, encode
from xortune.runs.lines import decode
from xortune.trainers import function as custom_call
from xortune.trainers.function import CallForm as Form
from xortune.trainers.function import custom_trainer, form_of
from xortune.trainers.source import given_source, named_source

RULE = parse_success("acc >= 2")
POINT = Point({"x": 1, "lr": 0.1})


def one(function, rule=RULE, *, count=5, limit=None, point=POINT):
    trainer = custom_trainer(given_source(function), rule, limit=limit)
    return trainer.train([Block(point, 0, count)])[0]


def numbers(outcome, name):
    return outcome.details.values[name].tolist()


class Plain:
    """Counts how often it was made and trained."""

    made = 0

    def __init__(self, config):
        type(self).made += 1
        self.config, self.trained = config, []
        config["x"] = "changed"  # its own

    def run(self, seed):
        self.trained.append(seed)
        if seed == 3:
            raise ValueError("three")
        return {"acc": seed, "before": len(self.trained)}


class All:
    def __init__(self, config): ...

    def run(self, seeds, report):
        report({"loss": seeds / 2})
        yield {"acc": seeds}


class Static:
    def __init__(self, config): ...

    @staticmethod
    def run(seed):
        return {"acc": seed}


def steps(config, seed):
    for step in range(seed):
        yield {"acc": step, "loss": 1 / (1 + step)}
        if seed == 4 and step == 1:
            raise ValueError("four")


def returns(config, seed):
    yield {"loss": 3.0, "acc": -1}
    return {"acc": seed}


def reports(config, seed, report):
    report({"acc": 0.0, "loss": 0.5})
    report({"acc": float(seed)})
    return {"acc": 9} if seed == 1 else None


def by_keyword(config, seed, *, report):
    report(seed)


@pytest.mark.parametrize(
    ("function", "form", "words"),
    [
        (steps, Form(yields=True), "config, seed: a generator"),
        (reports, Form(reports=True), "config, seed, report"),
        (by_keyword, Form(reports=True), "config, seed, report"),
        (Plain, Form(state=True), "config: a class, whose run is called with seed"),
        (Static, Form(state=True), "config: a class, whose run is called with seed"),
        (
            All,
            Form(many=True, reports=True, state=True, yields=True),
            "config: a class, whose run is called with seeds, report; all of a block at once, "
            "a generator",
        ),
        (lambda config, seeds: seeds, Form(many=True), "config, seeds: all of a block at once"),  # noqa: ARG005
    ],
)
def test_what_a_function_takes_is_seen_by_names(function, form, words):
    assert form_of(function, "f") == form
    assert form.words == words


class NoRun:
    def __init__(self, config): ...


class TwoSeeds:
    def __init__(self, config): ...

    def run(self, seed, other): ...


class NoConfig:
    def run(self, seed): ...


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (NoRun, r"without a method run.*add `def run\(self, seed\)`"),
        (TwoSeeds, r"missing a required argument: 'other'.*__init__\(self, config\)"),
        (NoConfig, "cannot be called with a config and a seed"),
    ],
)
def test_classes_that_do_not_fit_are_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        form_of(wrong, "f")


def test_the_last_of_a_generator_is_its_outcome():
    outcome = one(steps)
    assert [Status(s).name for s in outcome.status] == [
        *("CRASHED", "WRONG_PATTERN", "WRONG_PATTERN", "SOLVED", "CRASHED")
    ]
    assert outcome.details.failed[0].startswith("returned nothing")
    assert outcome.details.failed[4] == "ValueError: four"
    # What came before a failure is kept: how far it got.
    np.testing.assert_array_equal(numbers(outcome, "reports"), [math.nan, 1, 2, 3, 2])
    np.testing.assert_array_equal(numbers(outcome, "acc"), [math.nan, 0, 1, 2, 1])
    assert outcome.details.traceback.count("File ") == 1
    assert "in steps" in outcome.details.traceback


def test_what_it_returns_outranks_what_it_said_last():
    outcome = one(returns)
    assert numbers(outcome, "acc") == [0, 1, 2, 3, 4]
    assert numbers(outcome, "loss") == [3.0] * 5
    assert outcome.solved.tolist() == [False, False, True, True, True]


def test_reports_are_kept_and_the_last_is_the_outcome_where_nothing_is_returned():
    outcome = one(reports)
    assert numbers(outcome, "acc") == [0, 9, 2, 3, 4]
    assert numbers(outcome, "reports") == [2] * 5
    assert "loss" not in outcome.details.values  # not in the last
    assert numbers(one(by_keyword, parse_success("value > 1")), "value") == [0, 1, 2, 3, 4]


def test_verdicts_may_be_reported_too():
    def verdict(config, seed, report):
        report(False)
        report({"success": seed > 2, "loss": 1.0})

    outcome = one(verdict, None)
    assert outcome.solved.tolist() == [False, False, False, True, True]
    assert set(outcome.details.values) == {"loss", "reports"}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("high", "reported a str; allowed: true or false, a number, or a dict of numbers"),
        ({"acc": [1]}, "reported a list as 'acc'"),
        (None, "reported nothing"),
    ],
)
def test_what_is_no_result_cannot_be_reported(told, words):
    def bad(config, seed, report):
        report({"acc": 3})
        if seed == 1:
            report(told)

    outcome = one(bad, count=2)
    assert outcome.status.tolist() == [Status.SOLVED, Status.CRASHED]
    assert words in outcome.details.failed[1]
    assert outcome.details.traceback.count("File ") == 1  # the user's line


def test_a_seed_that_takes_too_long_is_ended_when_it_reports():
    def slow(config, seed, report):
        for step in range(1000 if seed == 1 else 3):
            time.sleep(0.01)
            try:
                report({"acc": step})
            except BaseException:  # which is no way to go on
                if step % 2:
                    return {"acc": 5}
        return {"acc": 5}

    began = time.monotonic()
    outcome = one(slow, count=3, limit=0.1)
    assert time.monotonic() - began < 5
    assert outcome.status.tolist() == [Status.SOLVED, Status.CRASHED, Status.SOLVED]
    assert outcome.details.failed == {1: "took longer than 0.1 s"}
    assert 5 <= outcome.details.values["reports"][1] <= 12
    trainer = custom_trainer(given_source(slow), RULE, limit=0.1)
    assert trainer.describe()["timeout"] == "0.1 s"


def test_all_seeds_at_once_may_report_too():
    outcome = one(All)
    assert numbers(outcome, "acc") == [0, 1, 2, 3, 4]
    assert numbers(outcome, "reports") == [2] * 5


def test_many_seeds_have_the_time_of_each_and_are_not_tried_again():
    calls = []

    def slow(config, seeds, report):
        calls.append(len(seeds))
        for _ in range(50):
            time.sleep(0.01)
            report({"loss": seeds / 2})
        return seeds > 1

    outcome = one(slow, None, count=3, limit=0.05)
    assert set(outcome.details.failed.values()) == {"took longer than 0.05 s for each of 3 seeds"}
    assert outcome.details.traceback == outcome.details.failed[0]
    assert calls == [3]
    assert one(slow, None, count=3, limit=5).successes == 1


def test_what_is_reported_may_be_filled_again():
    def same(config, seed, report):
        numbers = {"acc": 3}
        report(numbers)
        numbers["acc"] = "spoilt"

    assert one(same, count=2).successes == 2


@pytest.mark.parametrize("many", [False, True])
def test_a_line_of_the_journal_never_has_more_numbers_than_it_can_be_read_with(many):
    def other(config, seed, report):
        report({f"{seed}-{i}": 1.0 for i in range(40)})
        return seed != 2

    def others(config, seeds):
        if len(seeds) > 1:
            raise ValueError
        return {"success": seeds != 2, **{f"{seeds[0]}-{i}": seeds for i in range(40)}}

    outcome = one(others if many else other, None, count=3)
    assert [Status(s).name for s in outcome.status] == ["SOLVED", "CRASHED", "CRASHED"]
    assert "over 64 in all" in outcome.details.failed[2]
    line = encode(Evaluation(0, Block(POINT, 0, 3), outcome, None, True, 1.0, "h:1"))
    assert decode(line).outcome.successes == 1


def test_an_object_is_made_once_for_a_config_and_again_after_a_failure():
    Plain.made = 0
    outcome = one(Plain)
    assert outcome.status.tolist() == [1, 1, 0, Status.CRASHED, 0]
    np.testing.assert_array_equal(numbers(outcome, "before"), [1, 2, 3, math.nan, 1])
    assert Plain.made == 2
    one(Plain, count=2)  # the next block of the config
    assert Plain.made == 2
    one(Plain, count=1, point=Point({"x": 2}))
    assert Plain.made == 3
    one(Plain, count=1)
    assert Plain.made == 3


def test_of_many_configs_the_last_are_kept():
    Plain.made = 0
    for x in range(10, 20):
        one(Plain, count=1, point=Point({"x": x}))
    assert len(custom_call._states) == custom_call.KEPT
    one(Plain, count=1, point=Point({"x": 19}))
    assert Plain.made == 10
    one(Plain, count=1, point=Point({"x": 10}))
    assert Plain.made == 11


def test_a_class_that_cannot_be_made_fails_each_seed():
    class Broken:
        def __init__(self, config):  # noqa: ARG002
            raise RuntimeError("no data")

        def run(self, seed): ...

    outcome = one(Broken, count=3)
    assert set(outcome.details.failed.values()) == {"RuntimeError: no data"}
    assert list(outcome.details.failed) == [0, 1, 2]


def test_a_class_in_a_file(tmp_path):
    (tmp_path / "with_class.py").write_text(
        "class Trainer:\n    def __init__(self, config):\n        self.x = config['x']\n"
        "    def run(self, seed):\n        return {'acc': seed + self.x}\n"
    )
    source = named_source("./with_class.py:Trainer", tmp_path)
    outcome = custom_trainer(source, RULE).train([Block(POINT, 0, 3)])[0]
    assert numbers(outcome, "acc") == [1, 2, 3]
    with pytest.raises(InputError, match="has no function 'Trainr'; allowed: Trainer"):
        named_source("./with_class.py:Trainr", tmp_path).function()
    sys.modules.pop("with_class", None)
