"""What the posted scripts do, against those scripts: stopping at a loss, gradients that add up."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from torch import nn

import xortune as xt
from xortune.config import Config
from xortune.engine import posted, reference
from xortune.outcome import Status
from xortune.task import Task
from xortune.thread.claims import read_claims

XOR = Task.xor()
STOP = 1e-8
CLAIMS = read_claims()
pytestmark = pytest.mark.usefixtures("one_thread")


def script(config: Config, seed: int) -> tuple[Status, int]:
    """Post 13's script for one trial, written out; the status, and the steps that were taken."""
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(2, config.hidden_dim),
        getattr(nn, config.activation)(),
        nn.Linear(config.hidden_dim, 1),
        nn.Sigmoid(),
    )
    criterion = getattr(nn, config.loss)()
    optimizer = getattr(torch.optim, config.optimizer)(model.parameters(), lr=config.lr)
    steps = 0
    for _ in range(config.epochs):
        if config.zero_grad:
            optimizer.zero_grad()
        loss = criterion(model(x), y)
        if loss < STOP:
            break
        loss.backward()
        optimizer.step()
        steps += 1
    with torch.no_grad():
        said = [int(one > 0.5) for one in model(x)]
    named = {(0, 1, 1, 0): Status.SOLVED, (0,) * 4: Status.ALL_ZERO, (1,) * 4: Status.ALL_ONE}
    return named.get(tuple(said), Status.WRONG_PATTERN), steps


def config_of(activation: str, loss: str, optimizer: str, **changes: object) -> Config:
    fields = {"lr": 0.03, "hidden_dim": 5, "epochs": 200, "zero_grad": False}
    return Config(activation=activation, loss=loss, optimizer=optimizer, **(fields | changes))


# --- stopping at a loss --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "named",
    list(itertools.product(("ReLU", "ELU"), ("L1Loss", "MSELoss"), ("SGD", "Adam"))),
    ids=" ".join,
)
def test_train_until_is_the_script(named):
    config, seeds = config_of(*named), [0, 2, 5, 9, 36]
    expected = [script(config, seed) for seed in seeds]
    ended = posted.train_until(config, XOR, np.array(seeds), STOP)
    assert [(Status(s), n) for s, n in zip(ended.status, ended.steps, strict=True)] == expected
    assert ended.status.dtype == np.uint8
    assert ended.steps.dtype == np.int32
    stopped = sum(steps < config.epochs for _, steps in expected)
    assert stopped > 0, "nothing is seen where no seed stops"


ADAM = config_of("ELU", "MSELoss", "Adam", epochs=250)
UNDONE = [35, 36]
"""Seeds that get to a loss below 1e-8 and would be lost again by the steps after it."""
NEVER = 2
"""One that trains to the end beside them."""


def test_stopping_changes_the_verdict():
    expected = [script(ADAM, seed) for seed in [*UNDONE, NEVER]]
    assert all(status == Status.SOLVED and steps < 200 for status, steps in expected[:-1])
    assert expected[-1][1] == ADAM.epochs
    assert not reference.train(ADAM, XOR, np.array(UNDONE)).solved.any()
    ended = posted.train_until(ADAM, XOR, np.array([*UNDONE, NEVER]), STOP)
    assert [(Status(s), n) for s, n in zip(ended.status, ended.steps, strict=True)] == expected


def test_where_no_seed_gets_there_every_epoch_is_trained():
    config = config_of("Tanh", "MSELoss", "SGD", epochs=60)
    seeds = np.arange(70)
    ended = posted.train_until(config, XOR, seeds, STOP)
    outcome = reference.train(config, XOR, seeds)
    assert (ended.steps == 60).all()
    assert ended.status.tolist() == outcome.status.tolist()
    assert len(set(ended.status.tolist())) > 1


def test_a_loss_that_is_small_enough_at_once_needs_no_step():
    config = config_of("ReLU", "MSELoss", "SGD", epochs=5)
    start = [oracle.plain_loop(replace(config, epochs=1), XOR, seed) for seed in range(6)]
    ended = posted.train_until(config, XOR, np.arange(6), 1e9)
    assert ended.steps.tolist() == [0] * 6
    patterns = [record.patterns[0] for record in start]
    assert [s == Status.ALL_ZERO for s in ended.status] == [p == "0000" for p in patterns]
    assert [s == Status.ALL_ONE for s in ended.status] == [p == "1111" for p in patterns]
    assert len(set(patterns)) > 1


def test_below_is_strict():
    """A seed whose loss is the very number goes on; the next number above it ends it."""
    config = config_of("ELU", "MSELoss", "SGD", epochs=3)
    loss = reference.train(replace(config, epochs=2), XOR, np.array([5])).final_loss[0]
    same = posted.train_until(config, XOR, np.array([5]), float(loss))
    above = posted.train_until(config, XOR, np.array([5]), float(np.nextafter(loss, np.float32(9))))
    assert same.steps[0] == 3
    assert above.steps[0] <= 2


def test_a_seed_that_diverged_never_stops():
    config = config_of("ELU", "MSELoss", "SGD", lr=1e30, epochs=40)
    ended = posted.train_until(config, XOR, np.arange(16), STOP)
    lost = reference.train(config, XOR, np.arange(16)).status == Status.DIVERGED
    assert lost.any()
    assert (ended.status[lost] == Status.DIVERGED).all()
    assert (ended.steps[lost] == 40).all()


def test_no_seed_depends_on_those_beside_it(monkeypatch):
    seeds = np.arange(70)
    together = posted.train_until(ADAM, XOR, seeds, STOP)
    assert 5 < np.count_nonzero(together.steps < 250) < 65
    for alone in (1, 3, 69):
        one = posted.train_until(ADAM, XOR, seeds[alone : alone + 1], STOP)
        assert (one.status[0], one.steps[0]) == (together.status[alone], together.steps[alone])
    monkeypatch.setattr(posted, "STACK", 64)
    parts = posted.train_until(ADAM, XOR, seeds[::-1].copy(), STOP)
    assert parts.status[::-1].tolist() == together.status.tolist()
    assert parts.steps[::-1].tolist() == together.steps.tolist()


NEVER_STOP = ("T9a", "T9b", "T9c", "T10a", "T10b")


@pytest.mark.parametrize("row_id", NEVER_STOP)
def test_the_later_scripts_never_reach_the_stop(row_id):
    """So claims.yaml leaves it out of these rows."""
    row = next(row for row in CLAIMS.rows if row.id == row_id)
    variant = row.variants[0]
    assert variant.stop_loss is None
    config = Config.from_point(variant.config)
    assert config.epochs == 1000
    ended = posted.train_until(config, XOR, np.arange(64), STOP)
    assert (ended.steps == config.epochs).all()
    assert (
        np.count_nonzero(ended.status == Status.SOLVED) == xt.evaluate(config, range(64)).successes
    )


# --- two rules side by side ----------------------------------------------------------------------

ADDING = config_of("ELU", "MSELoss", "SGD", epochs=200)
HEAVY = replace(ADDING, zero_grad=True, momentum=1.0)


def test_gradients_that_add_up_are_momentum_one_to_the_last_bit():
    same = posted.same_weights(ADDING, HEAVY, XOR, np.arange(70))
    assert same.tolist() == [True] * 70
    assert same.dtype == np.bool_


def test_so_they_are_in_plain_pytorch():
    x, y = torch.tensor(XOR.inputs), torch.tensor(XOR.targets)
    for seed in range(3):
        pair = [oracle.network(config, 2, seed) for config in (ADDING, HEAVY)]
        adding = torch.optim.SGD(pair[0].parameters(), lr=0.03)
        heavy = torch.optim.SGD(pair[1].parameters(), lr=0.03, momentum=1.0)
        start = [w.detach().clone() for w in pair[0].parameters()]
        for _ in range(120):
            nn.functional.mse_loss(pair[0](x), y).backward()
            adding.step()
            heavy.zero_grad()
            nn.functional.mse_loss(pair[1](x), y).backward()
            heavy.step()
            for mine, theirs in zip(*(model.parameters() for model in pair), strict=True):
                assert torch.equal(mine, theirs)
        moved = zip(start, pair[0].parameters(), strict=True)
        assert all(not torch.equal(before, after) for before, after in moved)


@pytest.mark.parametrize(
    "other",
    [
        replace(HEAVY, momentum=0.9),
        replace(HEAVY, momentum=0.0),
        replace(HEAVY, lr=0.0300001),
        replace(HEAVY, loss="L1Loss"),
        replace(HEAVY, activation="ReLU"),
    ],
    ids=["momentum 0.9", "no momentum", "lr", "loss", "activation"],
)
def test_what_is_not_the_same_is_told(other):
    assert not posted.same_weights(ADDING, other, XOR, np.arange(10)).any()


def test_one_weight_that_differs_after_one_step_is_told(monkeypatch):
    """It is put back before the next step, which therefore knows nothing of it."""
    look, step = posted._Training.look, posted.step
    looks, steps, kept = itertools.count(), itertools.count(), []

    def nudged(network, optimizer, losses, *, zero_grad):
        step(network, optimizer, losses, zero_grad=zero_grad)
        if next(steps) == 4:  # the first of the two trainings, its third step
            kept.append(network.weights[0, 2].clone())
            network.weights[0, 2] += 1

    def restored(training):
        if next(looks) == 6:
            training.network.weights[0, 2] = kept[0]
        return look(training)

    monkeypatch.setattr(posted, "step", nudged)
    monkeypatch.setattr(posted._Training, "look", restored)
    same = posted.same_weights(ADDING, HEAVY, XOR, np.arange(5))
    assert same.tolist() == [True, True, False, True, True]
    assert next(looks) == 400


def test_same_weights_takes_more_seeds_than_a_stack(monkeypatch):
    other = replace(HEAVY, momentum=0.9, epochs=1)  # the first step has nothing to remember
    one_step = replace(ADDING, epochs=1)
    monkeypatch.setattr(posted, "STACK", 64)
    assert posted.same_weights(one_step, other, XOR, np.arange(150)).tolist() == [True] * 150
    two_steps = [replace(config, epochs=2) for config in (one_step, other)]
    assert not posted.same_weights(*two_steps, XOR, np.arange(150)).any()
