"""One configuration: a gate's answers by exact enumeration, its file; `evaluate` of one's own."""

import json
import math
import os
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from drivers import wait_until
from hand_made import CONFIG, RIGHT, WRONG, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.certificates.gate import SequentialTest, load_config
from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.seeds import GATE
from xortune.core.trainer import Block, Trainer
from xortune.driver import gate as gating
from xortune.driver.gate import gate_config
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_interval,
    anytime_lower,
    anytime_upper,
)
from xortune.trainers.reaper import REAPER

POINT = Point(CONFIG)


@dataclass
class Scripted(Trainer):
    """A trainer whose seed `first + i` is solved as `solved[i]` says; notes what it was asked."""

    solved: list[bool]
    first: int = GATE.start
    asked: list[range] = field(default_factory=list)

    def train(self, blocks):
        [block] = blocks
        self.asked.append(block.seeds)
        rows = [RIGHT if self.solved[seed - self.first] else WRONG for seed in block.seeds]
        return [outcome(block.first, rows)]

    def describe(self):
        return {}

    def cost(self, block):
        return 0.01 * block.count


def sequential(min_rate=0.95, max_seeds=500, confidence=0.95, first_seed=GATE.start):
    return SequentialTest(min_rate, max_seeds, confidence, first_seed)


def test_what_always_works_is_proven_by_74_seeds_what_never_works_refuted_by_2():
    trainer = Scripted([True] * 500)
    found = gate_config(POINT, trainer, sequential())
    assert (found.answer, found.k, found.n, found.passed) == ("proven", 74, 74, True)
    assert sum(map(len, trainer.asked)) == 74
    assert trainer.asked[0].start == GATE.start == found.first_seed
    assert found.high == 1
    assert found.line == (
        "proven: 74/74 seeds solved, success rate at least 0.95 (confidence 0.95, seeds 3221225472 "
        "to 3221225545)"
    )
    assert found.bound == pytest.approx(0.9603, abs=1e-4)
    assert found.bound_confidence == 0.9
    trainer = Scripted([False] * 500)
    found = gate_config(POINT, trainer, sequential())
    assert (found.answer, found.k, found.n, found.passed) == ("refuted", 0, 2, False)
    assert sum(map(len, trainer.asked)) == 16
    assert found.line.startswith("refuted: 0/2 seeds solved, success rate below 0.95 (confidence")
    assert {status: n for status, n in found.counts.items() if n} == {xt.Status.WRONG_PATTERN: 2}


SEQUENCES = st.tuples(st.floats(0.6, 1), st.integers(0, 2**32 - 1)).map(
    lambda drawn: (np.random.default_rng(drawn[1]).random(150) < drawn[0]).tolist()
)


@settings(max_examples=30)
@given(SEQUENCES, st.integers(1, 150), st.randoms(), st.sampled_from([0.7, 0.9, 0.95]))
def test_the_answer_depends_on_the_order_of_seeds_only(solved, size, random, min_rate):
    def in_any_order(missing, trainer, add, further, **_):
        tasks = missing()
        while tasks:
            [seeds] = tasks[0].seeds
            blocks = [seeds[at : at + size] for at in range(0, len(seeds), size)]
            for block in random.sample(blocks, len(blocks)):
                add(*trainer.train([Block(POINT, block.start, len(block))]), block.start)
            tasks = further()
        return None, None

    test, k = sequential(min_rate, 150), 0
    found = gate_config(POINT, Scripted(solved), test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gating, "train_seeds", in_any_order)
        assert gate_config(POINT, Scripted(solved), test) == found
    # After each seed, in words: the first at which either side is sure, or nothing is left to win.
    for n, one in enumerate(solved, 1):
        k += one
        if test.proves(k, n) or test.refutes(k, n) or test.gives_up(k, n):
            break
    answer = "proven" if test.proves(k, n) else "refuted" if test.refutes(k, n) else "undecided"
    assert (found.answer, found.k, found.n) == (answer, k, n)
    assert found.low == pytest.approx(float(anytime_lower(found.k, found.n, alpha=0.025)))


def ends(test, rates):
    """All (answer, k, n) with which a gate can end, and its exact probability at each rate.

    By enumeration of (n, k), seed by seed, from what the test answers of each count alone.
    """
    rates = np.asarray(rates)
    going = np.ones((1, len(rates)))  # by k
    for n in range(1, test.max_seeds + 1):
        more = np.zeros((n + 1, len(rates)))
        more[1:] += going * rates
        more[:-1] += going * (1 - rates)
        k = np.arange(n + 1)
        above, below, lost = test.proves(k, n), test.refutes(k, n), test.gives_up(k, n)
        assert not (above & (below | lost)).any()
        over = above | below | lost
        assert n < test.max_seeds or over.all()
        for one in np.flatnonzero(over & (more > 0).any(axis=1)):
            answer = "proven" if above[one] else "refuted" if below[one] else "undecided"
            yield answer, int(one), n, more[one].copy()
        more[over] = 0
        going = more


@pytest.mark.parametrize(
    ("rate", "most", "confidence"),
    [
        *((0.5, 5, 0.95), (0.5, 100, 0.95), (0.8, 60, 0.99), (0.9, 29, 0.95), (0.95, 200, 0.95)),
        *((0.95, 500, 0.95), (0.99, 700, 0.9), (0.3, 90, 0.95), (0.9, 100, 0.95)),
    ],
)
def test_an_answer_and_what_is_shown_are_wrong_as_rarely_as_promised(rate, most, confidence):
    test, alpha = SequentialTest(rate, most, confidence, 0), 1 - confidence
    rates = np.array([rate, rate - 1e-6, rate + 1e-6, *np.linspace(0.15, 0.999, 101)])
    chances = {name: np.zeros_like(rates) for name in ("proven", "refuted", "undecided")}
    beyond = {name: np.zeros_like(rates) for name in chances}
    missed, untrue = np.zeros_like(rates), np.zeros_like(rates)
    for answer, k, n, found in ends(test, rates):
        chances[answer] += found
        low, high = anytime_interval(k, n, confidence=confidence)
        missed += found * ((rates < low) | (rates > high))
        bound = test.bound(answer, k, n)
        if answer == "proven":
            assert max(low, rate) <= bound
            beyond[answer] += found * (rates < bound)
            untrue += found * (rates < rate)
        elif answer == "refuted":
            assert bound <= min(high, rate)
            beyond[answer] += found * (rates > bound)
            untrue += found * (rates >= rate)
        else:
            assert low < rate < high
            untrue += found * ((rates < low) | (rates > high))
    assert sum(chances.values()) == pytest.approx(np.ones_like(rates))
    assert chances["proven"][rates <= rate].max() <= alpha * (1 + 1e-6)
    assert chances["refuted"][rates >= rate].max() <= alpha * (1 + 1e-6)
    assert chances["proven"][0] > alpha / 2  # what it may spend is spent
    assert missed.max() <= alpha  # both ends together
    assert untrue.max() <= alpha * (1 + 1e-6)  # the line, whichever it is
    # A bound, whichever side is shown: near the rate both may be.
    assert max(beyond["proven"] + beyond["refuted"]) <= 2 * alpha * (1 + 1e-6)
    for wrong in (beyond["proven"], beyond["refuted"]):  # each answer's own bound
        assert wrong.max() <= alpha * (1 + 1e-6)
        assert most != 100 or wrong.max() > alpha / 2


@pytest.mark.parametrize(
    ("options", "field", "word"),
    [
        ({"min_rate": 1}, "min_rate", "no number of seeds proves a rate of 1"),
        ({"min_rate": 1 - 1e-12}, "min_rate", "takes more seeds than there are"),
        ({"min_rate": 0}, "min_rate", "above 0"),
        ({"min_rate": float("nan")}, "min_rate", "nan"),
        ({"max_seeds": 58}, "max_seeds", "59 or more"),
        ({"max_seeds": 0}, "max_seeds", "1 to"),
        ({"max_seeds": 1e3}, "max_seeds", "1000.0 is no whole number"),
        ({"first_seed": 2**32 - 100}, "max_seeds", "500 is out of range; allowed: 1 to 100"),
        ({"first_seed": -1}, "first_seed", "0 to"),
        ({"confidence": 1}, "confidence", "1 is out of range; allowed: above 0 and below 1"),
        ({"confidence": 95}, "confidence", "below 1"),
    ],
)
def test_what_is_out_of_range_is_refused_before_training(options, field, word):
    with pytest.raises(xt.InputError) as caught:
        sequential(**options)
    assert caught.value.field == field
    assert word in str(caught.value)


# The verb and the command.


@pytest.fixture
def config_file(tmp_path, make_config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config().point.as_dict()))
    return path


def test_the_verb_trains_the_gates_own_seeds(make_config, config_file):
    found = xt.gate(make_config(), min_rate=0.9, max_seeds=300)
    assert found == xt.gate(str(config_file), min_rate=0.9, max_seeds=300)
    assert (found.answer, found.first_seed, found.most) == ("proven", GATE.start, 300)
    same = xt.evaluate(make_config(), seeds=range(GATE.start, GATE.start + found.n))
    assert same.successes == found.k
    usual = xt.gate(make_config(), min_rate=0.9)
    assert (usual.most, usual.confidence) == (500, 0.95)
    other = xt.gate(make_config(epochs=3), min_rate=0.9, task="parity-3", first_seed=7)
    assert (other.answer, other.first_seed) == ("refuted", 7)


def test_the_exit_code_says_the_answer(config_file, make_config):
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9)
    assert (result.exit_code, result.stderr) == (0, "")
    verdict = xt.gate(make_config(), min_rate=0.9)
    assert result.stdout == f"{verdict.line}\n"
    assert verdict.answer == "proven"
    found = json.loads(xortune("gate", "--config", config_file, "--min-rate", 0.9, "--json").stdout)
    wanted = {"answer": "proven", "k": verdict.k, "n": verdict.n, "low": verdict.low}
    assert found.items() >= (wanted | {"key": make_config().key, "max_seeds": 500}).items()
    assert found["statuses"]["solved"] == verdict.k
    result = xortune("gate", "--config", config_file, "--min-rate", 0.99, "--max-seeds", 299)
    assert result.exit_code == 1
    assert result.stdout.startswith("undecided: ")
    config_file.write_text(json.dumps(make_config(epochs=2).point.as_dict()))
    words = ("gate", "--config", config_file, "--min-rate", 0.9)
    assert xortune(*words).stdout.startswith("refuted: ")
    result = xortune(*words, "--quiet")
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *(((), "neither a run nor --config"), (("RUN", "--config", "FILE"), "a run and --config")),
        (("--config", "no.yaml"), "no.yaml: there is no such file"),
        *((("no-run",), "no-run: there is no such run"), (("FILE",), "--config FILE")),
        *((("--config", "RUN"), "xortune gate RUN"), (("RUN",), "holds no run")),
        (("--config", "FILE", "--max-seeds", "20"), "--max-seeds: 20 seeds cannot prove 0.95"),
        (("--config", "FILE", "--key", "a"), "--key: 'a'"),
    ],
)
def test_bad_input_exits_2(words, message, tmp_path, config_file):
    real = {"RUN": str(tmp_path), "FILE": str(config_file)}
    words = [real.get(word, word) for word in words]
    for name, path in real.items():
        message = message.replace(name, path)
    refused(xortune("gate", *words, "--min-rate", 0.95), message)


def test_no_outcome_exits_4(config_file, monkeypatch):
    def broken(*args, **more):
        raise MemoryError("no room")

    monkeypatch.setattr("xortune.trainers.network.evaluate_config", broken)
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9)
    assert result.exit_code == 4
    assert "no room" in result.stderr


TEXT = """\
# What is released.
activation: Tanh
loss: MSELoss
optimizer: Adam
lr: 3e-2
hidden_dim: 5
epochs: 1000
"""


def test_yaml_and_json_are_read(tmp_path, make_config):
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    assert load_config(path) == make_config()
    path.write_text(json.dumps(make_config(activation=None).point.as_dict(), indent=2))
    assert load_config(str(path)) == make_config(activation=None)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr:", "learning_rate:", ["f.yaml:5: learning_rate", "is not a parameter", "lr"]),
        ("hidden_dim", "hiden_dim", ["f.yaml:6: hiden_dim", "did you mean 'hidden_dim'?"]),
        ("Tanh", "Than", ["f.yaml:2: activation", "'Than'", "did you mean 'Tanh'?"]),
        ("3e-2", "fast", ["f.yaml:5: lr", "'fast'", "a number above 0"]),
        ("3e-2", "-1", ["f.yaml:5: lr", "out of range"]),
        ("epochs: 1000\n", "", ["f.yaml", "epochs", "is missing"]),
        ("epochs: 1000", "epochs: [1, 2]", ["f.yaml:7: epochs", "[1, 2]"]),
        ("epochs: 1000", "epochs: 1000\nmomentum: 0.9", ["f.yaml:8: momentum", "Adam"]),
        ("epochs: 1000", "parameters: {lr: 1}", ["f.yaml:7: parameters", "search space"]),
        ("loss: MSELoss", "loss: MSELoss\nloss: L1Loss", ["f.yaml:4", "twice"]),
        (TEXT, "# nothing\n", ["f.yaml", "is empty", "hidden_dim"]),
        (TEXT, "{", ["f.yaml:1", "YAML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, words):
    path = tmp_path / "f.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "a mapping with at least name" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_gate_ends_undecided_once_no_seed_that_is_left_can_change_it():
    trainer = Scripted([True] * 30 + [False] * 16 + [True] * 454)
    test = sequential(0.9, 100)
    for n in range(1, 60):  # what no row of successes can prove any more, and nothing else
        k = np.arange(n + 1)
        lost = ~np.any([test.proves(k + more, n + more) for more in range(101 - n)], axis=0)
        np.testing.assert_array_equal(test.gives_up(k, n), lost)
    found = gate_config(POINT, trainer, sequential())
    assert (found.answer, found.passed) == ("refuted", False)  # a proof against it goes first
    solved = np.arange(500) % 25 != 24
    found = gate_config(POINT, Scripted(solved.tolist()), sequential())
    assert (found.answer, found.k, found.n, found.most) == ("undecided", 384, 400, 500)
    assert found.line == (
        "undecided: 384/400 seeds solved, success rate 0.9201 to 0.9864, so 0.95 cannot be proven "
        "any more with 500 seeds (confidence 0.95, seeds 3221225472 to 3221225871)"
    )


@pytest.mark.parametrize(("rate", "most", "seeds"), [(0.95, 500, 303), (0.99, 1000, 383)])
def test_a_training_at_the_rate_takes_as_few_seeds_as_it_may(rate, most, seeds):
    spent = sum(n * chance[0] for _, _, n, chance in ends(sequential(rate, most), [rate]))
    assert spent == pytest.approx(seeds, abs=0.5)


def test_a_gate_of_very_many_seeds_uses_bounds_that_hold_for_ever():
    test = SequentialTest(0.95, 20_001, 0.95, 0)
    n = np.arange(1, 2000)
    for lost in (0, 3, 40):
        k = np.maximum(n - lost, 0)
        above, below = anytime_evidence_above(k, n, 0.95), anytime_evidence_below(k, n, 0.95)
        np.testing.assert_array_equal(test.proves(k, n), above >= math.log(20))
        np.testing.assert_array_equal(test.refutes(k, n), below >= math.log(20))
    assert test.bound("proven", 74, 74) == pytest.approx(anytime_lower(74, 74, alpha=0.05))
    assert test.bound("refuted", 0, 2) == pytest.approx(anytime_upper(0, 2, alpha=0.05))
    assert test.needed(0) == 74


# Functions, classes and commands of the user's own.

OWN = {"lr": 0.1, "name": "a b"}
RULE = "accuracy >= 0.9"

TRAIN = """
import os, sys
def run(config, seed):
    if seed == 11:
        os._exit(3)
    return {"accuracy": 1 - config["lr"] * (seed % 3)}
if __name__ == "__main__":
    print(1 - float(sys.argv[1]) * (int(sys.argv[2]) % 3))
"""


def run(config, seed):
    assert config == OWN
    if seed == 5:
        raise ValueError("five")
    return {"accuracy": 1 - config["lr"] * (seed % 3), "process": os.getpid()}


@dataclass
class Each:
    config: dict

    def run(self, seed):
        return 1 - self.config["lr"] * (seed % 3) >= 0.9


class Many(Each):
    calls: tuple[int, ...] = ()

    def run(self, seeds):
        Many.calls += (len(seeds),)
        return {"accuracy": 1 - self.config["lr"] * (seeds % 3)}


def expected(seeds):
    return [seed % 3 < 2 for seed in seeds]


@pytest.fixture
def train_file(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "config.yaml").write_text("lr: 0.1\n")


def test_a_function_is_called_here_in_this_order():
    threads = threading.active_count()
    seeds, told = [9, 3, 4, 6, 7, 8, 0], []
    hear = {"listener": told.append}
    found = xt.evaluate(OWN, seeds, train=run, success=RULE, workers=0, **hear)
    assert found.seeds.tolist() == seeds
    assert found.solved.tolist() == expected(seeds)
    assert set(found.details.values["process"]) == {os.getpid()}
    assert told[-1] == xt.SeedsDone(7, 7, found.successes)
    assert threading.active_count() == threads


@pytest.mark.parametrize(("train", "rule"), [(Each, None), (Many, RULE)])
def test_classes_and_many_seeds_at_once(train, rule):
    told = []
    found = xt.evaluate(OWN, range(100), train=train, success=rule, workers=0, listener=told.append)
    assert found.solved.tolist() == expected(range(100))
    assert 1 < len(told) < 20  # blocks grow
    if train is Many:
        assert 1 < len(Many.calls) < 10


BY_COMMAND = {"command": "python train.py {lr} {seed}", "metric": "last line number"}


@pytest.mark.parametrize(
    ("train", "rule"),
    [
        *(("./train.py:run", RULE), ({"function": "./train.py:run", "timeout": 20}, RULE)),
        (BY_COMMAND, "value >= 0.9"),
    ],
)
def test_what_a_space_file_names_is_trained_apart(train, rule, train_file):
    found = xt.evaluate({"lr": 0.1}, range(12), train=train, success=rule, workers=2)
    assert found.solved.tolist()[:11] == expected(range(11))
    if train != BY_COMMAND:
        assert found.status[11] == Status.CRASHED
        assert "exit code 3" in found.details.failed[11]


def test_seeds_are_trained_in_processes_or_in_this_one():
    def slow(config, seed):
        time.sleep(0.02)
        return {"accuracy": 1 - config["lr"] * (seed % 3), "process": os.getpid()}

    found = xt.evaluate({"lr": 0.1}, range(30), train=slow, success=RULE, workers=2)
    assert found.solved.tolist() == expected(range(30))
    assert len(set(found.details.values["process"]) - {os.getpid()}) == 2
    here = xt.evaluate({"lr": 0.1}, range(4), train=slow, success=RULE, workers=0)
    assert set(here.details.values["process"]) == {os.getpid()}


def test_who_interrupts_leaves_no_process_behind(train_file):
    def interrupted(event):
        raise KeyboardInterrupt

    before, began = REAPER.living, time.monotonic()
    train = "python -c 'import time; time.sleep({lr} * (1 + 300 * bool({seed})))'"
    with pytest.raises(KeyboardInterrupt):
        xt.evaluate({"lr": 0.1}, range(50), train=train, workers=2, listener=interrupted)
    wait_until(lambda: not REAPER.living - before)
    assert time.monotonic() - began < 20


def test_a_failed_seed_is_counted_and_shown_and_ends_it_if_that_is_asked_for(capsys):
    found = xt.evaluate(OWN, range(4, 7), train=run, success=RULE)
    assert found.status[1] == Status.CRASHED
    assert "the first failure: seed 5 of lr=0.1" in capsys.readouterr().err
    with pytest.raises(xt.TrainingError, match="seed 5") as caught:
        xt.evaluate(OWN, range(4, 7), train=run, success=RULE, fail_fast=True, workers=0)
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "run"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"train": None}, "name is not a parameter of the built-in network.*give train=f"),
        ({"config": [0.1]}, "config: a list; allowed: parameters by their names.* or {}"),
        ({"config": {"lr": {1}}}, "lr:"),
        ({"success": "acc > 1"}, "did you mean 'accuracy'"),
        ({"success": "high"}, "success: 'high' is not a rule"),
        ({"task": "xor"}, "task: 'xor'; allowed: only for the built-in network"),
        *(({"checkpoints": [1]}, "checkpoints"), ({"engine": "fused"}, "engine")),
        *(({"workers": -1}, "workers"), ({"train": 3}, "train: an int")),
        ({"train": "no.py:run"}, "there is no file 'no.py'"),
        ({"train": "python t.py {seed}"}, "trainer.command: lr is not in the command"),
        ({"train": {"function": "./train.py:run", "timeout": 9}, "workers": 0}, "timeout: 9 s"),
    ],
)
def test_what_cannot_be_used_is_refused(given, words, train_file):
    asked = {"config": OWN, "train": run, "success": RULE} | given
    if asked["train"] is None:
        del asked["success"]
    with pytest.raises(xt.InputError, match=words):
        xt.evaluate(seeds=range(3), **asked)


def test_a_gate_of_a_function_and_its_answer_in_words():
    found = xt.gate(OWN, train=run, success=RULE, min_rate=0.5, max_seeds=300)
    assert found.passed
    seeds = range(found.first_seed, found.first_seed + found.n)
    assert found.k == sum(expected(seeds))
    assert str(found) == found.line
    assert str(found.k) in found._repr_html_()
    same = xt.gate(OWN, train=run, success=RULE, min_rate=0.5, max_seeds=300, workers=0)
    assert same == found

    def uneven(config, seed):
        time.sleep(0.02 * (seed % 3))
        return seed % 5 > 0

    same = [xt.gate(OWN, train=uneven, min_rate=0.6, workers=workers) for workers in (0, 3)]
    assert same[0] == same[1]
    hopeless = xt.gate({"lr": 0.5}, train=Each, min_rate=0.9)
    assert (hopeless.answer, hopeless.passed) == ("refuted", False)


def no_data(config, seed):
    raise RuntimeError(f"data of {seed}")


def test_a_verdict_says_how_many_seeds_crashed_and_why_the_first_one_did(train_file):
    found = xt.gate(OWN, train=no_data, min_rate=0.5, max_seeds=50, first_seed=0, verbose=0)
    assert "0/6 seeds solved, 6 crashed (seed 0: RuntimeError: data of 0)" in found.line
    assert found.first_crash == (0, "RuntimeError: data of 0")
    outcome = xt.evaluate(OWN, [8, 4], train=no_data, verbose=0)
    assert "2 failed (seed 4: RuntimeError: data of 4)" in repr(outcome)
    program = "def run(config, seed):\n    return 1 / (seed % 2) > 0"
    Path("train.py").write_text(program)
    words = ("--config", "config.yaml", "--trainer", "./train.py:run", "--first-seed", 1)
    here = ("--workers", 0, "--json")  # one seed after the other
    judged = xortune("gate", *words, "--min-rate", 0.9, *here, traceback=True)
    counted = xortune("evaluate", *words, "--seeds", 7, "--json", "--quiet")
    assert "the first failure: seed 2 of lr=0.1" in judged.stderr
    assert counted.stderr == ""
    for answer in map(json.loads, (judged.stdout, counted.stdout)):
        assert answer["first_crash"] == {
            "seed": 2,
            "reason": "ZeroDivisionError: division by zero",
        }
        # A training of one's own has no pattern of zeros and ones.
        assert [*answer["statuses"]] == ["solved", "wrong_pattern", "diverged", "crashed"]
        assert answer["statuses"]["crashed"] == answer["n"] // 2
    said = xortune("evaluate", *words, "--seeds", 7, traceback=True).stdout
    assert "the first that crashed, seed 2: ZeroDivisionError" in said


def lacks(config, seed):
    return {"accuracy": 1.0} if seed % 2 else 1 / 0


def no_file(config, seed):
    return Path(f"{seed}.csv").read_text() == ""


def no_key(config, seed):
    return config["learning_rate"]


def no_package(config, seed):
    import nothing_of_this_name

    return nothing_of_this_name.train(config, seed)


BROKEN = [
    ({"train": no_package}, xt.InputError, "ModuleNotFoundError: No module named 'nothing_of"),
    ({"train": lacks, "success": "acc >= 0.5"}, xt.InputError, "allowed: accuracy; fix: did you"),
    ({"train": no_file}, xt.TrainingError, "FileNotFoundError: .* No such file or directory"),
    ({"train": no_key}, xt.TrainingError, r"return config\[.learning_rate.\]"),
    ({"train": "no-such-program {lr} {seed}"}, xt.InputError, "cannot be started: 'no-such-pro"),
    ({"train": "python gone.py {lr} {seed}"}, xt.InputError, "can't open file .*gone.py"),
    (
        {"train": "python no.py {lr} {seed}"},
        xt.InputError,
        "(?s)def run.*SyntaxError: expected ':'",
    ),
    ({"train": "python name.py {lr} {seed}"}, xt.TrainingError, "NameError: name 'x' is not def"),
    ({"train": "python args.py {lr} {seed}"}, xt.InputError, "error: unrecognized arguments: "),
    ({"train": "sh -c 'exit 127' {lr} {seed}"}, xt.InputError, "exit code 127"),
    ({"train": "./data.txt {lr} {seed}"}, xt.InputError, "Permission denied"),
    (
        {
            "train": {
                "command": "echo {lr} {seed}",
                "metric": {"regex": "b", "name": "b"},
                "success": "b > 0",
            }
        },
        xt.TrainingError,
        "the regex 'b' matches nothing",
    ),
    (
        {"train": {"command": "python one.py {lr} {seed}", "success": "acc >= 0.5"}},
        xt.InputError,
        "returned no 'acc'.*allowed: accuracy",
    ),
]


@pytest.fixture
def broken_files(tmp_path):
    (tmp_path / "no.py").write_text("def run(config, seed)\n    return True\n")
    (tmp_path / "name.py").write_text("print(x)\n")
    (tmp_path / "args.py").write_text("import argparse\nargparse.ArgumentParser().parse_args()\n")
    (tmp_path / "one.py").write_text("print('{\"accuracy\": 1}')\n")
    (tmp_path / "data.txt").write_text("1\n")


@pytest.mark.usefixtures("broken_files")
@pytest.mark.parametrize(("given", "error", "words"), BROKEN)
def test_a_broken_setup_is_not_a_worse_model(given, error, words):
    """Neither refuted, nor three failed seeds of three; and the whole cause is in the error."""
    asked = {"workers": 0 if callable(given["train"]) else 1, "verbose": 0, **given}
    for call in (
        lambda: xt.gate({"lr": 0.1}, min_rate=0.9, **asked),
        lambda: xt.evaluate({"lr": 0.1}, range(4), **asked),
    ):
        with pytest.raises(error, match=words):
            call()


def grows_too_large(config, seed):
    raise MemoryError


def diverges(config, seed):
    raise RuntimeError(f"the loss is nan at step {seed % 10}")


def breaks_at_last(config, seed, report):
    report({"loss": 1.0})
    return config["learning_rate"]


def breaks_otherwise(config, seed):
    return config[("a", "b")[seed % 2]]


@pytest.mark.parametrize(
    "train",
    [
        *(grows_too_large, diverges, breaks_at_last, breaks_otherwise),
        *("python -c 'raise ValueError' {lr} {seed}", "sh -c 'kill -9 $$' {lr} {seed}"),
    ],
)
def test_a_configuration_that_crashes_with_every_seed_is_refuted(train):
    asked = {"train": train, "workers": 0 if callable(train) else 1, "verbose": 0}
    found = xt.gate({"lr": 0.1}, min_rate=0.9, **asked)
    assert (found.answer, found.k) == ("refuted", 0)
    assert xt.evaluate({"lr": 0.1}, range(3), **asked).successes == 0


@pytest.mark.usefixtures("broken_files", "train_file")
def test_the_exit_code_of_a_broken_setup_is_no_answer():
    given = ("--config", "config.yaml", "--trainer")
    for verb in (("gate", "--min-rate", 0.9), ("evaluate", "--seeds", 3)):
        for script, code in (("gone", 2), ("name", 4)):
            result = xortune(*verb, *given, f"python {script}.py {{lr}} {{seed}}", traceback=True)
            assert (result.exit_code, result.stdout) == (code, "")
            assert f"{script}.py" in result.stderr


def test_an_empty_config_is_a_config(train_file):
    def even(config, seed):
        return config == {} and seed % 2 == 0

    assert xt.evaluate({}, range(6), train=even).successes == 3
    assert xt.gate({}, train=even, min_rate=0.2).passed
    assert xt.evaluate({}, range(3), train="test {seed} -gt 0").successes == 2
    Path("train.py").write_text("def run(config, seed):\n    return config == {}")
    Path("config.yaml").write_text("{}")
    words = ("--config", "config.yaml", "--trainer", "./train.py:run")
    assert xortune("gate", *words, "--min-rate", 0.9).stdout.startswith("proven: ")


def test_a_gate_trains_no_more_slow_seeds_than_are_known_to_be_needed(monkeypatch):
    monkeypatch.setattr("xortune.training.batches.BATCH_SECONDS", 0.01)
    called = []

    def slow(config, seed):
        called.append(seed)
        time.sleep(0.02)
        return False

    found = xt.gate(OWN, train=slow, min_rate=0.9, workers=0)
    assert (found.answer, found.n) == ("refuted", len(called))


def test_the_commands(train_file):
    words = ("--trainer", "./train.py:run", "--config", "config.yaml", "--success", RULE)
    result = xortune("evaluate", *words, "--seeds", 9, "--json")
    shown = json.loads(result.stdout)
    assert (shown["k"], shown["n"], shown["config"]) == (6, 9, {"lr": 0.1})
    result = xortune("gate", *words, "--min-rate", 0.5, "--workers", 1)
    assert result.exit_code == 0
    assert result.stdout.startswith("proven: ")
    command = ("--trainer", "python train.py {lr} {seed}", "--metric", "last line number")
    words = (*command, "--config", "config.yaml", "--success", "value >= 0.9")
    assert "2/3 seeds solved" in xortune("evaluate", *words, "--seeds", 3).stdout
    words = (*command[:3], r"{regex: '([\d.]+)', name: value}", *words[4:])
    assert "2/3 seeds solved" in xortune("evaluate", *words, "--seeds", 3).stdout


FUNCTION = ("--config", "config.yaml", "--trainer", "./train.py:run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (FUNCTION[2:], "--config: is missing"),
        (("--config", "config.yaml"), "config.yaml:1: activation: is missing"),
        (("--config", "config.yaml", "--lr", 1), "--lr: '1.0'"),
        (("--config", "config.yaml", "--metric", "last line json"), "--metric"),
        ((*FUNCTION, "--metric", "last line json"), "allowed: only with a command"),
        (("--config", "config.yaml", "--trainer", "a {b}", "--metric", "{a"), "--metric:1"),
        (("--config", "train.py", *FUNCTION[2:]), "train.py"),
        ((), "--activation: is missing"),
    ],
)
def test_bad_input_of_the_command(words, message, train_file):
    refused(xortune("evaluate", *words), message)


def shared_draws(config, seeds):
    return {"accuracy": np.random.default_rng(0).random(len(seeds))}


def shared_verdicts(config, seeds):
    return shared_draws(config, seeds)["accuracy"] > 0.5


def test_seeds_that_depend_on_those_beside_them_are_refused(tmp_path):
    given = {"train": shared_draws, "success": "accuracy >= 0.3", "verbose": 0}
    for call in (
        lambda: xt.evaluate({"a": 1}, range(40), train=shared_verdicts, workers=0),
        lambda: xt.evaluate({"a": 1}, range(40), **given),
        lambda: xt.gate({"a": 1}, min_rate=0.5, **given),
        lambda: xt.gate({"a": 1}, min_rate=0.5, workers=0, **given),
        lambda: xt.compare([{"a": 1}, {"a": 2}], output=tmp_path / "c", seeds=20, **given),
    ):
        with pytest.raises(InputError, match=r"at once, seed \d+ gave .* alone .* f\(config"):
            call()
