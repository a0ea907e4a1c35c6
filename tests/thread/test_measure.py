"""What a variant's seeds come to: each way of judging against plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import xortune as xt
from xortune.config import Config
from xortune.engine import posted
from xortune.outcome import Status
from xortune.task import Task
from xortune.thread import measure as module
from xortune.thread.claims import Variant, read_claims
from xortune.thread.measure import Measured, measure, measure_config

XOR = Task.xor()
CLAIMS = read_claims()
FAST = {
    "activation": "Tanh",
    "loss": "MSELoss",
    "optimizer": "Adam",
    "lr": 0.1,
    "hidden_dim": 3,
    "epochs": 60,
}
pytestmark = pytest.mark.usefixtures("one_thread")


def shipped(row_id, name="as_posted"):
    return next(v for row, v in CLAIMS.measured if (row.id, v.name) == (row_id, name))


def truncated(settings, seed):
    """Post 7's script for one seed: no zero_grad, and int() of each output."""
    x, y = torch.tensor(XOR.inputs), torch.tensor(XOR.targets)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(2, settings["hidden_dim"]),
        nn.Sigmoid(),
        nn.Linear(settings["hidden_dim"], 1),
        nn.Sigmoid(),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["lr"])
    for _ in range(settings["epochs"]):
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return [int(model(row)) for row in x] == [int(row[0]) for row in y]


def test_truncating_is_what_the_script_says():
    """T3's network; longer steps get seeds to 1.0 in fewer epochs."""
    settings = {**shipped("T3").config, "lr": 3.0, "epochs": 200}
    variant = Variant(name="x", config=settings, judge="truncating")
    found = measure(variant, range(6, 12))
    expected = [truncated(settings, seed) for seed in range(6, 12)]
    assert found.solved.tolist() == expected
    assert 0 < found.k < 6
    half = measure_config(settings, range(6, 12))
    assert not (found.solved & ~half.solved).any(), "what int() passes is on the right side"
    assert half.k > found.k


def test_the_two_judgements_of_t3():
    posted_way, half = shipped("T3"), shipped("T3", "half")
    strict, loose = measure(posted_way, range(32)), measure(half, range(32))
    assert 0 < strict.k < loose.k < 32
    assert loose.solved.tolist() == xt.evaluate(Config(**half.config), range(32)).solved.tolist()


@pytest.mark.parametrize(
    ("outputs", "right"),
    [
        ([0, 1, 1, 0], True),
        ([0.999, 1, 1, 0.6], True),  # int() of both is 0
        ([0, np.nextafter(np.float32(1), np.float32(0)), 1, 0], False),
        ([0, 1, 1, 1], False),
        ([0, 0, 1, 0], False),
        ([np.nan, 1, 1, 0], False),
        ([0, np.nan, 1, 0], False),
        ([0, 1, 1, np.nan], False),
        ([np.nan] * 4, False),
    ],
)
def test_truncated_outputs(outputs, right, monkeypatch):
    rows = np.array([outputs, [0, 1, 1, 0]], np.float32)
    monkeypatch.setattr("xortune.engine.fused.final_outputs", lambda *_: rows)
    found = measure(Variant(name="x", config=FAST, judge="truncating"), range(2))
    assert found.solved.tolist() == [right, True]


def test_a_config_as_it_stands():
    outcome = xt.evaluate(Config(**FAST), range(5, 45))
    for found in (measure_config(FAST, range(5, 45)), measure(_variant(), range(5, 45))):
        assert found.solved.tolist() == outcome.solved.tolist()
        assert (found.k, found.n) == (outcome.successes, 40)
        assert found.all_zero == outcome.counts[Status.ALL_ZERO]
        assert found.stopped is None
    assert 0 < outcome.successes < 40


def _variant(**more):
    return Variant(name="x", config=FAST, **more)


def test_four_zeros_are_counted():
    settings = {**FAST, "activation": "ReLU", "optimizer": "SGD", "lr": 0.01, "epochs": 3}
    outcome = xt.evaluate(Config(**settings), range(60))
    found = measure_config(settings, range(60))
    zeros = sum(pattern == "0000" for pattern in outcome.patterns)
    assert found.all_zero == zeros
    assert 0 < zeros < 60
    until = measure(Variant(name="x", config=settings, stop_loss=1e-8), range(60))
    assert (until.all_zero, until.stopped) == (zeros, 0)


def test_a_stop_is_obeyed_and_counted():
    settings = {**shipped("T8d").config, "epochs": 250}
    variant = Variant(name="x", config=settings, stop_loss=1e-8)
    found = measure(variant, range(3, 67))
    ended = posted.train_until(Config(**settings), XOR, np.arange(3, 67), 1e-8)
    assert found.solved.tolist() == (ended.status == Status.SOLVED).tolist()
    assert found.stopped == np.count_nonzero(ended.steps < 250)
    assert 0 < found.stopped < 64
    looser = measure(Variant(name="x", config=settings, stop_loss=1e-2), range(3, 67))
    assert looser.stopped > found.stopped


def test_the_network_by_hand_is_judged_at_one_half(monkeypatch):
    rows = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]], bool)
    asked = []

    def train(task, seeds, **settings):
        asked.append((seeds.tolist(), settings))
        return rows

    monkeypatch.setattr(module.numpy_network, "train", train)
    found = measure(shipped("T13"), range(7, 11))
    assert asked == [([7, 8, 9, 10], {"hidden_dim": 5, "lr": 1.0, "epochs": 10_000})]
    assert found.solved.tolist() == [True, False, False, True]
    assert found.all_zero == 1


def test_the_same_weights_are_asked_of_both_configs():
    assert measure(shipped("T11"), range(8)).solved.tolist() == [True] * 8
    assert measure(shipped("T11", "momentum_0.9"), range(8)).solved.tolist() == [False] * 8


def test_k_and_n_are_counts():
    found = Measured(np.array([True, False, True]))
    assert (found.k, found.n, found.all_zero, found.stopped) == (2, 3, None, None)


def test_parts_are_put_together_in_their_order():
    first = Measured(np.array([True, False]), all_zero=1, stopped=0)
    second = Measured(np.array([False, True, True]), all_zero=2, stopped=3)
    both = first.merge(second)
    assert both.solved.tolist() == [True, False, False, True, True]
    assert (both.all_zero, both.stopped) == (3, 3)
    never = Measured(np.array([True])).merge(Measured(np.array([False])))
    assert never.stopped is None


def test_of_truncated_outputs_nobody_counts_the_zeros():
    assert measure(shipped("T5"), range(4)).all_zero is None
    assert measure(shipped("T5", "half"), range(4)).all_zero is not None
