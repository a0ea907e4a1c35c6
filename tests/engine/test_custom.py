"""A user's own function as a trainer: the counts are those of a plain loop."""

import math
import pickle
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import seedy
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import NO_DETAILS, Details, Failure, Status
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation, encode
from xortune.runs.lines import decode
from xortune.trainers.function import CustomTrainer, custom_trainer, form_of
from xortune.trainers.source import FunctionSource as Source
from xortune.trainers.source import Given, given_source, named_source

HERE = Path(__file__).parent
CONFIG = {"n_layers": 3, "k": 5, "name": "a", "momentum": None}
RULE = parse_success("accuracy >= 0.6")


def one(function, success=None, *, first=0, count=40, config=CONFIG):
    trainer = custom_trainer(given_source(function), success)
    return trainer.train([Block(Point(config), first, count)])[0]


def returning(value):
    def function(config, seed):
        return value

    return function


def ended(value, success=None):
    """Status and reason of a seed whose training returned that."""
    outcome = one(returning(value), success, count=1)
    return Status(outcome.status[0]), outcome.details.failed.get(0)


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
    reasons = outcome.details.failed
    assert {seed - 7 for seed in reasons} == {
        place for place, status in enumerate(wanted) if status >= Status.DIVERGED
    }
    assert set(reasons.values()) == {"RuntimeError: bad luck with 3 layers", "accuracy is nan"}
    steps = outcome.details.values["steps"]
    crashed = np.array(wanted) == Status.CRASHED
    assert np.isnan(steps[crashed]).all()
    assert steps[~crashed].tolist() == (np.arange(8, 128)[~crashed]).tolist()


def test_the_functions_own_verdict_counts():
    outcome = one(seedy.lucky)
    wanted = [s == Status.SOLVED for s in loop(40)]
    assert outcome.solved.tolist() == wanted
    assert outcome.details.values == {}
    assert outcome.epochs_to_solve is None  # nobody counts epochs


def test_a_number_is_called_value():
    outcome = one(seedy.plain, parse_success("value >= 0.6"))
    assert outcome.status.tolist() == loop(40)
    assert list(outcome.details.values) == ["value"]


def later(config, seed):
    if seed == 2:
        raise RuntimeError("the second that failed")
    return None if seed == 1 else True


def later_of_many(config, seeds):
    if 2 in seeds.tolist():
        raise RuntimeError("the second that failed")
    return np.where(seeds == 1, np.nan, 1.0)


@pytest.mark.parametrize(
    ("function", "rule"), [(later, None), (later_of_many, parse_success("value > 0"))]
)
def test_it_is_known_which_seed_the_traceback_is_of(function, rule):
    details = one(function, rule, count=4).details
    assert min(details.failed) == 1
    assert details.raised == 2
    assert "the second that failed" in details.traceback
    failure = Failure({"x": 1}, 1, details.failed[1], details.traceback, details.raised)
    lines = str(failure).splitlines()
    assert lines[0] == "the first failure: seed 1 of x=1"
    assert lines[1] == details.failed[1]
    assert lines[2] == "and of seed 2"
    assert lines[3].startswith("Traceback")
    alone = one(function, rule, first=2, count=2).details
    failure = Failure({"x": 1}, 2, alone.failed[2], alone.traceback, alone.raised)
    assert str(failure).splitlines()[1].startswith("Traceback")


def test_the_traceback_is_the_users_own():
    for function in (seedy.luck, seedy.many):
        shown = one(function, RULE).details.traceback
        assert shown.splitlines()[0] == "Traceback (most recent call last):"
        assert "bad luck" in shown
        assert "seedy.py" in shown
        assert "custom" not in shown
        assert "During handling" not in shown


@pytest.mark.parametrize(
    ("value", "rule", "status", "words"),
    [
        (True, None, Status.SOLVED, None),
        (np.True_, None, Status.SOLVED, None),
        (False, None, Status.WRONG_PATTERN, None),
        (1, "value > 0", Status.SOLVED, None),
        (np.float32(0.5), "value > 0", Status.SOLVED, None),
        (np.array(0.5), "value > 0", Status.SOLVED, None),
        (Fraction(1, 2), "value > 0", Status.SOLVED, None),
        (10**400, "value > 0", Status.DIVERGED, "value is inf"),
        (-math.inf, "value > 0", Status.DIVERGED, "value is -inf"),
        ({"success": True, "loss": 0.1}, None, Status.SOLVED, None),
        ({"success": False, "loss": math.nan}, None, Status.WRONG_PATTERN, None),
        ({"acc": 0.9, "loss": math.nan}, "acc > 0", Status.SOLVED, None),
        ({"done": True}, "done == 1", Status.SOLVED, None),
        (0.9, None, Status.CRASHED, 'fix: add `success: "value >= 0.9"`'),
        ({"acc": 0.9}, None, Status.CRASHED, 'fix: add `success: "acc >= 0.9"`'),
        ({}, None, Status.CRASHED, "an empty dict"),
        (True, "value > 0", Status.CRASHED, "the rule 'value > 0' judges a number"),
        ({"accuracy": 1}, "acuracy > 0", Status.CRASHED, "did you mean 'accuracy'?"),
        ({"acc": "high"}, "acc > 0", Status.CRASHED, "returned a str as 'acc'"),
        ({1: 2.0}, "acc > 0", Status.CRASHED, "a dict with the key 1"),
        (None, None, Status.CRASHED, "returned nothing"),
        ("0.9", "value > 0", Status.CRASHED, "returned a str"),
        ([True], None, Status.CRASHED, "returned a list"),
        (1j, "value > 0", Status.CRASHED, "returned a complex"),
        (np.zeros(3), "value > 0", Status.CRASHED, "returned a ndarray"),
        ({str(i): 1.0 for i in range(65)}, "1 > 0".replace("1", "a"), Status.CRASHED, "65 numbers"),
    ],
)
def test_what_a_seed_may_return(value, rule, status, words):
    found, reason = ended(value, None if rule is None else parse_success(rule))
    assert found == status
    assert (reason is None) if words is None else (words in reason)


@pytest.mark.parametrize(
    ("returned", "rule", "words"),
    [
        (lambda seeds: seeds[:-1] > 0, None, "shape (3,)"),
        (lambda seeds: True, None, "shape ()"),  # noqa: ARG005
        (lambda seeds: np.stack([seeds, seeds]) > 0, None, "shape (2, 4)"),
        (lambda seeds: [str(seed) for seed in seeds], None, "returned a list"),
        (lambda seeds: [[1], [1, 2]], "value > 0", "returned a list"),  # noqa: ARG005
        (lambda seeds: seeds / 2, None, "no rule says what a success is"),
        (lambda seeds: {"acc": seeds}, "act > 0", "did you mean 'acc'?"),
        (lambda seeds: None, None, "returned nothing"),  # noqa: ARG005
        (lambda seeds: seeds > 0, "acc > 0", "judges a number"),
    ],
)
def test_what_a_block_may_not_return_fails_all_its_seeds(returned, rule, words):
    def function(config, seeds):
        return returned(seeds)

    outcome = one(function, None if rule is None else parse_success(rule), count=4)
    assert outcome.status.tolist() == [Status.CRASHED] * 4
    assert list(outcome.details.failed) == [0, 1, 2, 3]
    assert all(words in reason for reason in outcome.details.failed.values())


def test_a_function_gets_its_own_copy_of_config_and_plain_seeds():
    seen = []

    def function(config, seed):
        seen.append((dict(config), type(config), type(seed)))
        config.clear()
        return True

    assert one(function, count=3).successes == 3
    assert seen == [(CONFIG, dict, int)] * 3


def test_what_a_function_prints_does_not_get_between_our_results(capsys):
    def talks(config, seed):
        print("seed", seed)
        return True

    assert one(talks, count=2).successes == 2
    assert capsys.readouterr() == ("", "seed 0\nseed 1\n")


def test_sys_exit_and_what_looks_like_ctrl_c_are_failed_seeds():
    # Functions are called in processes of their own, which no Ctrl-C reaches.
    def leaves(config, seed):
        raise SystemExit(3)

    def interrupted(config, seed):
        raise KeyboardInterrupt

    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def odd(config, seed):
        raise Odd

    assert set(one(leaves, count=2).details.failed.values()) == {"SystemExit: 3"}
    assert "Odd" in one(odd, count=1).details.failed[0]
    assert set(one(interrupted, count=2).details.failed.values()) == {"KeyboardInterrupt"}
    assert "raise KeyboardInterrupt" in one(interrupted, count=2).details.traceback


def test_the_second_parameters_name_says_how_a_function_is_called():
    assert form_of(lambda config, seeds: None, "f").many  # noqa: ARG005
    assert not form_of(lambda config, seed: None, "f").many  # noqa: ARG005
    assert not form_of(lambda a, b, extra=1: None, "f").many  # noqa: ARG005
    for function in (lambda config: None, lambda a, b, c: None, lambda a, *, seed: None):  # noqa: ARG005
        with pytest.raises(InputError, match="cannot be called with a config and a seed"):
            form_of(function, "f")


def test_a_function_in_a_file_is_sent_with_what_it_imports_from_beside_it(tmp_path):
    source = named_source("./seedy.py:luck", HERE)
    assert [path for path, _ in source.files] == ["seedy.py", "seedy_parts.py"]
    away = tmp_path / "away"
    away.mkdir()
    for path, content in source.files:
        (away / path).write_bytes(content)
    moved = named_source("seedy.py:luck", away)
    assert moved.digest == source.digest  # wherever it lies
    (away / "seedy_parts.py").write_text("def score(config, draw):\n    return 0.0\n")
    assert named_source("seedy.py:luck", away).digest != source.digest
    # A machine on which the files have changed, or are not there, trains what was sent.
    sent = pickle.dumps(CustomTrainer(moved, RULE))
    (tmp_path / "trainer").write_bytes(sent)
    program = (
        "import pickle, sys\n"
        "from xortune.core.trainer import Block\nfrom xortune.core.point import Point\n"
        f"trainer = pickle.load(open({str(tmp_path / 'trainer')!r}, 'rb'))\n"
        f"print(trainer.train([Block(Point({CONFIG!r}), 0, 40)])[0].status.tolist())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stdout.strip() == str([int(status) for status in loop(40)])


def test_functions_from_python_have_their_source_too():
    source = given_source(seedy.luck)
    assert isinstance(source, Source)
    assert source.label == "seedy:luck"
    assert [path for path, _ in source.files] == ["seedy.py", "seedy_parts.py"]
    inner = given_source(returning(True))
    assert isinstance(inner, Given)
    assert inner.digest != given_source(lambda config, seed: False).digest  # noqa: ARG005
    with pytest.raises(InputError, match="a function of config and seed"):
        given_source("seedy:luck")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seedy", "does not name a function"),
        (":luck", "does not name a function"),
        ("seedy:luck()", "does not name a function"),
        ("a b:luck", "does not name a function"),
        ("./nowhere.py:luck", "there is no file"),
        ("nowhere_at_all:luck", "there is no module 'nowhere_at_all'"),
        ("nowhere_at_all.deep:luck", "cannot be found"),
    ],
)
def test_a_source_that_is_not_there_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        named_source(text, HERE)


def test_what_cannot_be_imported_is_told(tmp_path):
    (tmp_path / "h8_broken.py").write_text("import nowhere_at_all\n\ndef run(config, seed): ...\n")
    with pytest.raises(InputError, match="No module named 'nowhere_at_all'"):
        named_source("./h8_broken.py:run", tmp_path).function()
    with pytest.raises(InputError, match=r"has no function 'lock'; allowed: .*luck"):
        named_source("./seedy.py:lock", HERE).function()
    (tmp_path / "h8_syntax.py").write_text("def run(config, seed:\n")
    with pytest.raises(InputError, match="SyntaxError"):
        named_source("./h8_syntax.py:run", tmp_path)


DETAILS = st.dictionaries(
    st.text(min_size=1, max_size=10),
    st.lists(st.floats(allow_nan=True), min_size=5, max_size=5),
    max_size=3,
)


@given(DETAILS, st.dictionaries(st.integers(10, 14), st.text(max_size=20), max_size=5))
def test_a_journal_keeps_numbers_and_reasons(values, failed):
    arrays = {name: np.array(numbers) for name, numbers in values.items()}
    outcome = replace(one(returning(True), first=10, count=5), details=Details(arrays, failed))
    line = encode(Evaluation(0, Block(Point(CONFIG), 10, 5), outcome, None, True, 1.0, "host:1"))
    read = decode(line)
    assert encode(read) == line
    assert read.outcome.details.failed == failed
    assert list(read.outcome.details.values) == list(values)
    for name, numbers in values.items():
        np.testing.assert_array_equal(read.outcome.details.values[name], np.array(numbers))
    assert (read.outcome.details is NO_DETAILS) == (not values and not failed)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("values", {"names": [], "data": ""}, r"values\.names"),
        ("values", {"names": ["a", "a"], "data": ""}, "has a name twice"),
        ("values", {"names": ["a"], "data": "????"}, "is damaged"),
        ("values", {"names": ["a"], "data": "eJwDAAAAAAE="}, "does not hold 3 seeds"),
        ("values", [1], "values: is not an evaluation"),
        ("failed", {}, "failed: is not an evaluation"),
        ("failed", {"why": []}, r"failed\.why"),
        ("failed", {"why": [3]}, "failed"),
        ("failed", {"why": [1], "also": [1]}, "failed"),
        ("failed", {"why": [True]}, r"failed\.why"),
    ],
)
def test_damaged_details_are_refused(field, value, words):
    import json

    outcome = one(lambda config, seed: {"success": True, "a": seed}, count=3)  # noqa: ARG005
    line = json.loads(
        encode(Evaluation(0, Block(Point(CONFIG), 0, 3), outcome, None, True, 1.0, "host:1"))
    )
    line.pop("values")
    with pytest.raises(InputError, match=words):
        decode(json.dumps(line | {field: value}))


def test_blocks_of_different_names_are_joined():
    first = one(lambda config, seed: {"success": True, "a": seed}, count=2)  # noqa: ARG005
    second = one(seedy.luck, RULE, first=2, count=3)
    joined = first.merge(second)
    np.testing.assert_array_equal(joined.details.values["a"], [0, 1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(
        joined.details.values["steps"], [np.nan, np.nan, *second.details.values["steps"]]
    )
    assert joined.details.failed == second.details.failed
