"""A user's own function as a trainer: its counts are those of a plain loop, however it works."""

import functools
import json
import math
import os
import pickle
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import forked
import numpy as np
import pytest
import seedy
import torch
from hand_made import done
from hypothesis import given
from hypothesis import strategies as st

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.outcome import NO_DETAILS, Details, Failure, Status
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block, OutOfTime, Unfinished
from xortune.runs.evaluation import decode, encode
from xortune.trainers.call_form import form_of
from xortune.trainers.function import custom_trainer
from xortune.trainers.limits import current_deadline, end_at_once, ending_at, time_is_over
from xortune.trainers.reports import cancelling_if
from xortune.trainers.source import FunctionObject, FunctionSource, given_source, named_source

CONFIG = {"n_layers": 3, "k": 5, "name": "a", "momentum": None}
RULE, ACC = "accuracy >= 0.6", "acc >= 2"


def unread():
    """A stream whose reader has gone away."""
    reads, writes = os.pipe()
    os.close(reads)
    return open(writes, "w", buffering=1)


def trainer_of(function, rule=None, limit=None):
    success = None if rule is None else parse_success(rule)
    return custom_trainer(given_source(function), success, limit=limit)


def one(function, rule=None, *, first=0, count=40, config=CONFIG, limit=None):
    trainer = trainer_of(function, rule, limit)
    return trainer.train([Block(Point(config), first, count)])[0]


def reported(function, rule=ACC, *, count=5, x=1, limit=None):
    return one(function, rule, count=count, config={"x": x, "lr": 0.1}, limit=limit)


def numbers(outcome, name):
    return outcome.details.values[name].tolist()


def names(outcome):
    return " ".join(Status(status).name for status in outcome.status)


def always(value):
    return lambda config, seed: value  # noqa: ARG005


def loop(count, first=0):
    """What a plain loop over the seeds finds."""
    found = []
    for seed in range(first, first + count):
        try:
            accuracy = seedy.luck(dict(CONFIG), seed)["accuracy"]
        except RuntimeError:
            found.append(Status.CRASHED)
            continue
        good = Status.SOLVED if accuracy >= 0.6 else Status.WRONG_PATTERN
        found.append(Status.DIVERGED if math.isnan(accuracy) else good)
    return found


@pytest.mark.parametrize("function", [seedy.luck, seedy.many])
def test_counts_are_those_of_a_plain_loop(function):
    outcome = one(function, RULE, first=7, count=120)
    wanted = loop(120, first=7)
    assert set(wanted) == {Status.SOLVED, Status.WRONG_PATTERN, Status.DIVERGED, Status.CRASHED}
    assert outcome.status.tolist() == wanted
    why = {
        Status.CRASHED: "RuntimeError: bad luck with 3 layers",
        Status.DIVERGED: "accuracy is nan",
    }
    assert outcome.details.failed == {s: why[w] for s, w in enumerate(wanted, 7) if w in why}
    steps = [math.nan if w == Status.CRASHED else s for s, w in enumerate(wanted, 8)]
    np.testing.assert_array_equal(numbers(outcome, "steps"), steps)


def later(config, seed):
    if seed >= 2:
        raise RuntimeError(f"the second that failed: {seed}")
    return None if seed == 1 else True


def later_of_many(config, seeds):
    if seeds[-1] >= 2:
        raise RuntimeError(f"the second that failed: {seeds[-1]}")
    return np.where(seeds == 1, np.nan, 1.0)


@pytest.mark.parametrize(("function", "rule"), [(later, None), (later_of_many, "value > 0")])
def test_it_is_known_which_seed_the_traceback_is_of(function, rule):
    def shown(first, count):
        details = one(function, rule, first=first, count=count).details
        seed = min(details.failed)
        failure = Failure({"x": 1}, seed, details.failed[seed], details.traceback, details.raised)
        return str(failure).splitlines()

    lines = shown(0, 4)
    assert lines[0] == "the first failure: seed 1 of x=1"
    assert lines[2:4] == ["and of seed 2", "Traceback (most recent call last):"]
    assert "the second that failed: 2" in lines[-1]
    assert shown(2, 2)[1].startswith("Traceback")


@pytest.mark.parametrize("function", [seedy.luck, seedy.many])
def test_the_traceback_is_the_users_own(function):
    shown = one(function, RULE).details.traceback
    assert shown.startswith("Traceback (most recent call last):\n")
    has = {words for words in ("bad luck", "seedy.py", "custom", "During h") if words in shown}
    assert has == {"bad luck", "seedy.py"}


@pytest.mark.parametrize(
    ("value", "rule", "status", "words"),
    [
        (True, None, Status.SOLVED, None),
        (False, None, Status.WRONG_PATTERN, None),
        (np.array(0.5), "value > 0", Status.SOLVED, None),
        (Fraction(1, 2), "value > 0", Status.SOLVED, None),
        (10**400, "value > 0", Status.DIVERGED, "value is inf"),
        (-math.inf, "value > 0", Status.DIVERGED, "value is -inf"),
        ({"success": True, "loss": 0.1}, None, Status.SOLVED, None),
        ({"success": False, "loss": math.nan}, None, Status.WRONG_PATTERN, None),
        ({"acc": 0.9, "loss": math.nan}, "acc > 0", Status.SOLVED, None),
        ({"done": True}, "done == 1", Status.SOLVED, None),
        ({"acc": np.float32(0.95)}, "acc >= 0.95", Status.SOLVED, None),  # 0.94999999
        ({"acc": torch.tensor(0.95)}, "acc >= 0.95", Status.SOLVED, None),
        (np.array(0.8, np.float32), "value > 0.8", Status.WRONG_PATTERN, None),  # 0.80000001
        (torch.tensor(0.95).item(), "value >= 0.95", Status.WRONG_PATTERN, None),
        (torch.tensor(1), "value >= 1.5", Status.WRONG_PATTERN, None),
        (0.9, None, Status.CRASHED, 'fix: add `success: "value >= 0.9"`'),
        ({"acc": 0.9}, None, Status.CRASHED, 'fix: add `success: "acc >= 0.9"`'),
        ({}, None, Status.CRASHED, "an empty dict"),
        (True, "value > 0", Status.CRASHED, "the rule 'value > 0' judges a number"),
        ({"accuracy": 1}, "acuracy > 0", Status.CRASHED, "did you mean 'accuracy'?"),
        ({"acc": "high"}, "acc > 0", Status.CRASHED, "returned a str as 'acc'"),
        ({1: 2.0}, "acc > 0", Status.CRASHED, "a dict with the key 1"),
        (None, None, Status.CRASHED, "returned nothing"),
        (np.zeros(3), "value > 0", Status.CRASHED, "returned a ndarray"),
        ({str(i): 1.0 for i in range(65)}, "a > 0", Status.CRASHED, "65 numbers"),
    ],
)
def test_what_a_seed_may_return(value, rule, status, words):
    outcome = one(always(value), rule, count=1)
    reason = outcome.details.failed.get(0)
    assert outcome.status.tolist() == [status]
    assert (reason is None) if words is None else (words in reason)


@pytest.mark.parametrize(
    ("returned", "rule", "words"),
    [
        (lambda seeds: seeds[:-1] > 0, None, "shape (3,)"),
        (lambda seeds: np.stack([seeds, seeds]) > 0, None, "shape (2, 4)"),
        (lambda seeds: [[1], [1, 2]], "value > 0", "returned a list"),  # noqa: ARG005
        (lambda seeds: seeds / 2, None, "no rule says what a success is"),
        (lambda seeds: {"acc": seeds}, "act > 0", "did you mean 'acc'?"),
        (lambda seeds: seeds > 0, "acc > 0", "judges a number"),
    ],
)
def test_what_a_block_may_not_return_fails_all_its_seeds(returned, rule, words):
    def function(config, seeds):
        return returned(seeds)

    outcome = one(function, rule, count=4)
    assert names(outcome) == "CRASHED CRASHED CRASHED CRASHED"
    assert [words in outcome.details.failed[seed] for seed in range(4)] == [True] * 4


def test_each_seed_of_many_is_judged_in_its_own_precision():
    values = np.array([0.95, 0.9, np.nan, 1], np.float32)
    for many in (values, torch.from_numpy(values)):
        outcome = one(lambda config, seeds, many=many: many, "value >= 0.95", count=4)  # noqa: ARG005
        assert names(outcome) == "SOLVED WRONG_PATTERN DIVERGED SOLVED"
        assert numbers(outcome, "value")[:2] == values[:2].astype(float).tolist()


def test_a_function_gets_its_own_copy_of_config_and_plain_seeds():
    seen = []

    def function(config, seed):
        seen.append((dict(config), type(config), type(seed)))
        config.clear()
        return True

    assert one(function, count=3).successes == 3
    assert seen == [(CONFIG, dict, int)] * 3


class Odd(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        *((SystemExit(3), "SystemExit: 3"), (KeyboardInterrupt(), "KeyboardInterrupt")),
        *((GeneratorExit("left"), "GeneratorExit: left"), (BaseException(), "BaseException")),
        (Odd(), "Odd"),
    ],
)
def test_whatever_is_raised_is_the_failure_of_a_seed(error, words):
    """A Ctrl-C does not reach the process in which a function is called."""

    def leaves(config, seed):
        raise error

    def many(config, seeds):
        raise error

    def yields(config, seed):
        raise error
        yield

    for function in (leaves, many, yields):
        outcome = one(function, count=2)
        assert names(outcome) == "CRASHED CRASHED"
        assert words in outcome.details.failed[1]


def test_a_generator_exit_is_a_crashed_seed_in_the_process_of_the_user_too():
    def leaves(config, seed):
        if seed == 1:
            raise GeneratorExit("left")
        return True

    found = xt.evaluate({"lr": 0.1}, range(3), train=leaves)
    assert names(found) == "SOLVED CRASHED SOLVED"
    assert found.details.failed == {1: "GeneratorExit: left"}


def test_a_function_may_evaluate_and_gate_another_one():
    def inner(config, seed):
        return seed % 2 == 0

    def outer(config, seed):
        gate = xt.gate(config, train=inner, min_rate=0.9)
        return not gate.passed and xt.evaluate(config, range(4), train=inner).successes == 2

    assert xt.evaluate({"lr": 0.1}, range(1), train=outer).successes == 1


def test_a_thread_that_is_ended_at_once_ends_the_training_around_a_nested_one():
    thread = threading.get_ident()
    with ending_at(None):
        with ending_at(None):
            assert not time_is_over()
            end_at_once(thread)
            assert time_is_over()
        assert time_is_over()
    with ending_at(time.time() - 1):
        with ending_at(None):
            assert not time_is_over()
        assert time_is_over()
    assert current_deadline() is None


def test_a_function_in_a_file_is_sent_with_what_it_imports_from_beside_it(tmp_path):
    source = named_source("./seedy.py:luck", Path(__file__).parent)
    assert [path for path, _ in source.sent.files] == ["seedy.py", "seedy_parts.py"]
    away = tmp_path / "away"
    away.mkdir()
    for path, content in source.sent.files:
        (away / path).write_bytes(content)
    moved = named_source("seedy.py:luck", away)
    assert moved.digest == source.digest  # wherever it lies
    (away / "seedy_parts.py").write_text("def score(config, draw):\n    return 0.0\n")
    assert named_source("seedy.py:luck", away).digest != source.digest
    # A machine on which the files have changed, or are not there, trains what was sent.
    (tmp_path / "trainer").write_bytes(pickle.dumps(custom_trainer(moved, parse_success(RULE))))
    program = (
        "import pickle\n"
        "from xortune.core.trainer import Block\nfrom xortune.core.point import Point\n"
        f"trainer = pickle.load(open('trainer', 'rb'))\n"
        f"print(trainer.train([Block(Point({CONFIG!r}), 0, 40)])[0].status.tolist())"
    )
    ran = forked.run(["-c", program], cwd=tmp_path)
    assert ran.stdout.strip() == str([int(status) for status in loop(40)])


def test_functions_from_python_have_their_source_too():
    source = given_source(seedy.luck)
    assert (type(source), source.label) == (FunctionSource, "seedy:luck")
    assert [path for path, _ in source.sent.files] == ["seedy.py", "seedy_parts.py"]
    inner = given_source(always(True))
    assert isinstance(inner, FunctionObject)
    assert inner.digest != given_source(lambda config, seed: False).digest  # noqa: ARG005
    with pytest.raises(InputError, match="a function of config and seed"):
        given_source("seedy:luck")


def test_files_are_found_where_the_trainer_was_made_wherever_a_function_goes(tmp_path, monkeypatch):
    (tmp_path / "limit.txt").write_text("2")
    monkeypatch.chdir(tmp_path)

    def reads(config, seed):
        found = seed < int(Path("limit.txt").read_text())
        folder = tmp_path / f"scratch-{seed}"
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()
        return found

    trainer = trainer_of(reads)
    monkeypatch.chdir(tmp_path.parent)
    outcomes = trainer.train([Block(Point(CONFIG), first, 1) for first in range(3)])
    assert [outcome.successes for outcome in outcomes] == [1, 1, 0]
    assert Path.cwd() == tmp_path.parent


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seedy", "does not name a function"),
        ("seedy:luck()", "does not name a function"),
        ("./nowhere.py:luck", "there is no file"),
        ("nowhere_at_all:luck", "there is no module 'nowhere_at_all'"),
        ("nowhere_at_all.deep:luck", "cannot be found"),
        ("./h8_broken.py:run", "No module named 'nowhere_at_all'"),
        ("./h8_other.py:lock", r"has no function 'lock'; allowed: .*luck"),
        ("./h8_syntax.py:run", "SyntaxError"),
    ],
)
def test_a_source_that_is_not_there_or_cannot_be_imported_is_refused(tmp_path, text, words):
    (tmp_path / "h8_broken.py").write_text("import nowhere_at_all\n\ndef run(config, seed): ...\n")
    (tmp_path / "h8_other.py").write_text("def luck(config, seed): ...\n")
    (tmp_path / "h8_syntax.py").write_text("def run(config, seed:\n")
    with pytest.raises(InputError, match=words):
        named_source(text, tmp_path).function()


DETAILS = st.dictionaries(
    st.text(min_size=1, max_size=10),
    st.lists(st.floats(allow_nan=True), min_size=5, max_size=5),
    max_size=3,
)


@functools.cache
def five_solved():
    return one(always(True), first=10, count=5)


@given(DETAILS, st.dictionaries(st.integers(10, 14), st.text(max_size=20), max_size=5))
def test_a_journal_keeps_numbers_and_reasons(values, failed):
    arrays = {name: np.array(numbers) for name, numbers in values.items()}
    outcome = replace(five_solved(), details=Details(arrays, failed))
    line = encode(done(0, CONFIG, outcome))
    read = decode(line)
    assert encode(read) == line
    details = read.outcome.details
    assert details.failed == failed
    assert list(details.values) == list(values)
    for name, array in arrays.items():
        np.testing.assert_array_equal(details.values[name], array)
    assert (details is NO_DETAILS) == (not values and not failed)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("values", {"names": [], "data": ""}, r"values\.names"),
        ("values", {"names": ["a", "a"], "data": ""}, "has a name twice"),
        ("values", {"names": ["a"], "data": "eJwDAAAAAAE="}, "does not hold 3 seeds"),
        ("failed", {}, "failed: is not an evaluation"),
        ("failed", {"why": []}, r"failed\.why"),
        ("failed", {"why": [1], "also": [1]}, "failed"),
        ("failed", {"why": [True]}, r"failed\.why"),
    ],
)
def test_damaged_details_are_refused(field, value, words):
    outcome = one(lambda config, seed: {"success": True, "a": seed}, count=3)  # noqa: ARG005
    line = json.loads(encode(done(0, CONFIG, outcome)))
    line.pop("values")
    with pytest.raises(InputError, match=words):
        decode(json.dumps(line | {field: value}))


# -------------------------------------------------------------------------------------------------
# Functions that report on the way, yield, or are classes.


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


class NoRun:
    def __init__(self, config): ...


class All(NoRun):
    def run(self, seeds, report):
        report({"loss": seeds / 2})
        yield {"acc": seeds}


class Static(NoRun):
    @staticmethod
    def run(seed):
        return {"acc": seed}


def steps(config, seed):
    for step in range(seed):
        yield {"acc": step, "loss": 1 / (1 + step)}
        if seed == 4 and step == 1:
            raise ValueError("four")


def reports(config, seed, report):
    report({"acc": 0.0, "loss": 0.5})
    report({"acc": float(seed)})
    return {"acc": 9} if seed == 1 else None


def by_keyword(config, seed, *, report):
    report(seed)


@pytest.mark.parametrize(
    ("function", "description"),
    [
        (steps, "config, seed: a generator"),
        (reports, "config, seed, report"),
        (by_keyword, "config, seed, report"),
        (Plain, "config: a class, whose run is called with seed"),
        (Static, "config: a class, whose run is called with seed"),
        (
            All,
            "config: a class, whose run is called with seeds, report; all of a block at once, "
            "a generator",
        ),
        (lambda config, seeds: seeds, "config, seeds: all of a block at once"),  # noqa: ARG005
    ],
)
def test_what_a_function_takes_is_seen_by_names(function, description):
    assert form_of(function, "f").description == description


class TwoSeeds(NoRun):
    def run(self, seed, other): ...


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (NoRun, r"without a method run.*add `def run\(self, seed\)`"),
        (TwoSeeds, r"missing a required argument: 'other'.*__init__\(self, config\)"),
        (type("NoConfig", (), {"run": Plain.run}), "cannot be called with a config and a seed"),
        (lambda a, b, c: None, "cannot be called with a config and a seed"),  # noqa: ARG005
        (lambda a, *, seed: None, "cannot be called with a config and a seed"),  # noqa: ARG005
    ],
)
def test_classes_that_do_not_fit_are_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        form_of(wrong, "f")


def test_the_last_of_a_generator_is_its_outcome():
    outcome = reported(steps)
    assert names(outcome) == "CRASHED WRONG_PATTERN WRONG_PATTERN SOLVED CRASHED"
    assert outcome.details.failed[0].startswith("returned nothing")
    assert outcome.details.failed[4] == "ValueError: four"
    # What came before a failure is kept: how far it got.
    np.testing.assert_array_equal(numbers(outcome, "reports"), [math.nan, 1, 2, 3, 2])
    np.testing.assert_array_equal(numbers(outcome, "acc"), [math.nan, 0, 1, 2, 1])
    assert outcome.details.traceback.count("File ") == 1
    assert "in steps" in outcome.details.traceback


def test_reports_are_kept_and_the_last_is_the_outcome_where_nothing_is_returned():
    outcome = reported(reports)
    assert numbers(outcome, "acc") == [0, 9, 2, 3, 4]
    assert numbers(outcome, "reports") == [2] * 5
    assert "loss" not in outcome.details.values  # not in the last
    assert numbers(reported(by_keyword, "value > 1"), "value") == [0, 1, 2, 3, 4]
    at_once = reported(All)
    assert numbers(at_once, "acc") == [0, 1, 2, 3, 4]
    assert numbers(at_once, "reports") == [2] * 5


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

    outcome = reported(bad, count=2)
    assert names(outcome) == "SOLVED CRASHED"
    assert words in outcome.details.failed[1]
    assert outcome.details.traceback.count("File ") == 1  # the user's line


def test_a_seed_that_takes_too_long_is_ended_when_it_reports():
    def slow(config, seed, report):
        for step in range(6000 if seed == 1 else 3):
            time.sleep(0.01)
            try:
                report({"acc": step})
            except BaseException:  # which is no way to go on
                if step % 2:
                    return {"acc": 5}
        return {"acc": 5}

    began = time.monotonic()
    outcome = reported(slow, count=3, limit=0.5)
    assert time.monotonic() - began < 30  # it sleeps for 60
    assert names(outcome) == "SOLVED CRASHED SOLVED"
    assert outcome.details.failed == {1: "took longer than 0.5 s"}
    assert 5 <= outcome.details.values["reports"][1] <= 60
    trainer = trainer_of(slow, ACC, 0.5)
    assert (trainer.describe()["timeout"], trainer.traits.killed_after) == ("0.5 s", None)


def test_many_seeds_have_the_time_of_each_and_then_each_its_own():
    calls = []

    def slow(config, seeds, report):
        calls.append(seeds.tolist())
        while 1 in seeds:
            time.sleep(0.01)
            report({"loss": seeds / 2})
        return seeds > 1

    outcome = reported(slow, None, count=3, limit=0.5)
    assert outcome.details.failed == {1: "took longer than 0.5 s"}
    assert outcome.details.traceback == outcome.details.failed[1]
    assert calls == [[0, 1, 2], [0], [1], [2]]
    assert outcome.successes == 1


@pytest.mark.parametrize("many", [False, True])
def test_a_line_of_the_journal_never_has_more_numbers_than_it_can_be_read_with(many):
    def other(config, seed, report):
        report({f"{seed}-{i}": 1.0 for i in range(40)})
        return seed != 2

    def others(config, seeds):
        if len(seeds) > 1:
            raise ValueError
        return {"success": seeds != 2, **{f"{seeds[0]}-{i}": seeds for i in range(40)}}

    outcome = reported(others if many else other, None, count=3)
    assert names(outcome) == "SOLVED CRASHED CRASHED"
    assert "over 64 in all" in outcome.details.failed[2]
    assert decode(encode(done(0, {"x": 1}, outcome))).outcome.successes == 1


@pytest.mark.parametrize("many", [False, True])
def test_the_number_of_reports_takes_the_place_of_no_result(many):
    def full(config, seed, report):
        report({"n0": 0.1})
        return {f"n{i}": 1.0 for i in range(64)}

    def full_of_many(config, seeds, report):
        report({"n0": np.ones(len(seeds))})
        return {f"n{i}": np.ones(len(seeds)) for i in range(64)}

    outcome = reported(full_of_many if many else full, "n63 > 0", count=3)
    assert outcome.successes == 3
    assert list(outcome.details.values) == [f"n{i}" for i in range(64)]


class NoArray:
    """No array can be made of it."""

    def __array__(self, *_, **__):
        raise KeyError("gone")


def test_what_judging_the_results_of_many_raises_is_the_failure_of_these_seeds():
    def odd(config, seeds):
        return NoArray() if 2 in seeds else np.ones(len(seeds), bool)

    outcome = reported(odd, None)
    assert outcome.details.failed == {2: "KeyError: 'gone'"}
    assert outcome.successes == 4


def test_seeds_of_a_call_that_are_tried_alone_end_in_time_and_what_has_ended_is_kept():
    def fails(config, seeds, report):
        if len(seeds) > 1:
            raise ValueError
        report(np.ones(1))
        if seeds[0] == slow:
            time.sleep(0.3)
        return np.ones(1, bool)

    trainer, block = trainer_of(fails), Block(Point(CONFIG), 0, 5)
    slow = 1
    with ending_at(time.time() + 0.2):
        [late] = trainer.train([block])
    assert isinstance(late, OutOfTime)
    assert late.outcome.n == 2
    slow, asked = None, iter(range(9))
    with cancelling_if(lambda _: next(asked) == 3):
        [cancelled] = trainer.train([block])
    assert isinstance(cancelled, Unfinished)
    assert cancelled.outcome.n == 3


def test_an_object_is_made_once_for_a_config_and_again_after_a_failure():
    Plain.made = 0
    outcome = reported(Plain)
    assert outcome.status.tolist() == [1, 1, 0, Status.CRASHED, 0]
    np.testing.assert_array_equal(numbers(outcome, "before"), [1, 2, 3, math.nan, 1])
    assert Plain.made == 2
    for count, x, made in (
        (2, 1, 2),  # the next block of the config
        (1, 2, 3),
        (1, 1, 3),
        *((1, 10 + i, 4 + i) for i in range(10)),
        (1, 19, 13),
        (1, 10, 14),  # only the last ones are kept
    ):
        reported(Plain, count=count, x=x)
        assert Plain.made == made


BINDINGS = [always, lambda n: functools.partial(always, n), lambda n: lambda *_, n=n: n]


@pytest.mark.parametrize("bind", BINDINGS)
def test_functions_of_one_text_that_are_bound_to_other_numbers_are_different(bind):
    digests = [given_source(bind(n)).digest for n in (1, 2, 2)]
    assert digests[0] != digests[1] == digests[2]


def test_no_seed_fails_because_nobody_reads_what_it_prints(monkeypatch):
    def prints(config, seed):
        print("epoch 1", flush=True)
        print("epoch 2", file=sys.stderr)
        return True

    stream = unread()
    monkeypatch.setattr(sys, "stderr", stream)
    [outcome] = trainer_of(prints).train([Block(Point({"x": 1}), 0, 3)])
    assert (outcome.successes, outcome.n) == (3, 3)
    with pytest.raises(BrokenPipeError):
        stream.close()
