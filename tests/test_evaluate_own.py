"""One configuration of the user's own: `evaluate` and `gate` of functions, classes, commands."""

import json
import os
import threading
import time
import traceback

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from drivers import wait_until

import xortune as xt
from xortune.core.outcome import Status
from xortune.driver import evaluate as module
from xortune.trainers.reaper import REAPER

CONFIG = {"lr": 0.1, "name": "a b"}
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
    assert config == CONFIG
    if seed == 5:
        raise ValueError("five")
    return {"accuracy": 1 - config["lr"] * (seed % 3), "process": os.getpid()}


class Each:
    def __init__(self, config):
        self.lr = config["lr"]

    def run(self, seed):
        return 1 - self.lr * (seed % 3) >= 0.9


class Many(Each):
    calls: tuple[int, ...] = ()

    def run(self, seeds):
        Many.calls += (len(seeds),)
        return {"accuracy": 1 - self.lr * (seeds % 3)}


def expected(seeds):
    return [seed % 3 < 2 for seed in seeds]


@pytest.fixture
def train_file(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "config.yaml").write_text("lr: 0.1\n")


def test_a_function_is_called_here_in_this_order():
    threads = threading.active_count()
    seeds = [9, 3, 4, 6, 7, 8, 0]
    told = []
    found = xt.evaluate(
        CONFIG, seeds, train=run, success=RULE, on_seeds=lambda *now: told.append(now)
    )
    assert found.seeds.tolist() == seeds
    assert found.solved.tolist() == expected(seeds)
    assert set(found.details.values["process"]) == {os.getpid()}
    assert told[-1] == (found.successes, 7)
    assert threading.active_count() == threads


@pytest.mark.parametrize(("train", "rule"), [(Each, None), (Many, RULE)])
def test_classes_and_many_seeds_at_once(train, rule):
    found = xt.evaluate(CONFIG, range(100), train=train, success=rule)
    assert found.solved.tolist() == expected(range(100))
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


def test_what_takes_long_is_trained_in_several_processes(monkeypatch):
    monkeypatch.setattr(module, "START_SECONDS", 0.05)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)

    def slow(config, seed):
        time.sleep(0.02)
        return {"accuracy": 1 - config["lr"] * (seed % 3), "process": os.getpid()}

    found = xt.evaluate({"lr": 0.1}, range(30), train=slow, success=RULE)
    assert found.solved.tolist() == expected(range(30))
    assert len(set(found.details.values["process"]) - {os.getpid()}) == 2
    here = xt.evaluate({"lr": 0.1}, range(4), train=slow, success=RULE, workers=0)
    assert set(here.details.values["process"]) == {os.getpid()}


def test_who_interrupts_leaves_no_process_behind(train_file):
    def interrupted(k, n):
        raise KeyboardInterrupt

    before = REAPER.living
    with pytest.raises(KeyboardInterrupt):
        xt.evaluate(
            {"lr": 0.1},
            range(50),
            train="python -c 'import time; time.sleep({lr} * (1 + 100 * bool({seed})))'",
            workers=2,
            on_seeds=interrupted,
        )
    wait_until(lambda: not REAPER.living - before)


def test_a_failed_seed_is_counted_and_shown_and_ends_it_if_that_is_asked_for(capsys):
    found = xt.evaluate(CONFIG, range(4, 7), train=run, success=RULE)
    assert found.status[1] == Status.CRASHED
    assert "the first failure: seed 5 of lr=0.1" in capsys.readouterr().err
    with pytest.raises(xt.TrainingError, match="seed 5") as caught:
        xt.evaluate(CONFIG, range(4, 7), train=run, success=RULE, fail_fast=True)
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "run"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"train": None}, "name is not a parameter of the built-in network.*give train=f"),
        ({"config": {}}, "config: an empty dict"),
        ({"config": {"lr": {1}}}, "lr:"),
        ({"success": None}, "returned numbers.*no rule says what a success is"),
        ({"success": "acc > 1"}, "did you mean 'accuracy'"),
        ({"success": "high"}, "success: 'high' is not a rule"),
        ({"task": "xor"}, "task: 'xor'; allowed: only for the built-in network"),
        ({"checkpoints": [1]}, "checkpoints"),
        ({"engine": "fused"}, "engine"),
        ({"workers": -1}, "workers"),
        ({"train": 3}, "train: a int"),
        ({"train": "no.py:run"}, "there is no file 'no.py'"),
        ({"train": "python t.py {seed}"}, "trainer.command: lr is not in the command"),
        ({"train": {"function": "./train.py:run", "timeout": 9}, "workers": 0}, "timeout: 9 s"),
    ],
)
def test_what_cannot_be_used_is_refused(given, words, train_file):
    asked = {"config": CONFIG, "train": run, "success": RULE} | given
    if asked["train"] is None:
        del asked["success"]
    with pytest.raises(xt.InputError, match=words):
        xt.evaluate(seeds=range(3), **asked)


def test_a_gate_of_a_function_and_its_answer_in_words():
    found = xt.gate(CONFIG, train=run, success=RULE, min_rate=0.5, max_seeds=300)
    assert found.passed
    seeds = range(found.first_seed, found.first_seed + found.n)
    assert found.k == sum(expected(seeds))
    assert str(found) == found.line
    assert str(found.k) in found._repr_html_()
    same = xt.gate(CONFIG, train=run, success=RULE, min_rate=0.5, max_seeds=300, workers=0)
    assert same == found
    hopeless = xt.gate({"lr": 0.5}, train=Each, min_rate=0.9)
    assert (hopeless.answer, hopeless.passed) == ("refuted", False)


def test_a_gate_trains_no_more_slow_seeds_than_are_known_to_be_needed():
    called = []

    def slow(config, seed):
        called.append(seed)
        time.sleep(module.SLOW)
        return False

    found = xt.gate(CONFIG, train=slow, min_rate=0.9, workers=0)
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
