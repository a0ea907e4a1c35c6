"""Whole trainings against the plain loop: verdicts, losses, epochs."""

import warnings

import numpy as np
import oracle
import pytest

from xortune.core.config import LOSSES, Config
from xortune.core.outcome import Status
from xortune.core.task import Task
from xortune.trainers import fused, reference

XOR = Task.xor()

LONG = {
    "xor": Config(
        activation="ELU", loss="MSELoss", optimizer="SGD", lr=0.5, momentum=0.9, hidden_dim=5,
        epochs=200,
    ),
    "no activation": Config(
        activation=None, loss="BCELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=60
    ),
    "RMSprop, momentum": Config(
        activation="Sigmoid", loss="BCELoss", optimizer="RMSprop", lr=0.01, momentum=0.8,
        hidden_dim=4, epochs=100,
    ),
    "momentum above 1": Config(
        activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.01, momentum=1.05, hidden_dim=3,
        epochs=60,
    ),
    "gradients add up": Config(
        activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.02, hidden_dim=5, epochs=100,
        zero_grad=False,
    ),
    "solved and lost again": Config(
        activation="Tanh", loss="MSELoss", optimizer="RMSprop", lr=0.1, hidden_dim=4, epochs=80
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_long_trainings_are_those_of_the_loop(name):
    config = LONG[name]
    seeds = range(24) if name == "solved and lost again" else range(6)
    records = oracle.plain_loops(config, XOR, seeds)
    outcome = reference.train(config, XOR, np.array(seeds))
    assert [Status(s) for s in outcome.status] == [record.status for record in records]
    assert outcome.solved_epoch.tolist() == [record.solved_epoch for record in records]
    for index, record in enumerate(records):
        if record.finite:
            assert outcome.patterns[index] == record.patterns[-1]
            assert outcome.final_loss[index] == pytest.approx(record.losses[-1], abs=1e-4)
    if len(seeds) == 24:
        assert any(True in record.right[1 : record.solved_epoch] for record in records)
        assert any(record.solved_epoch == 0 for record in records)
        assert outcome.epochs_spent == sum(record.solved_epoch or 80 for record in records)


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_is_what_the_plain_loop_comes_to(loss):
    config = oracle.exploding(loss, 110)
    outcome = reference.train(config, XOR, np.arange(2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "reduction. 'mean'")  # the oracle's KLDivLoss
        records = oracle.plain_loops(config, XOR, range(2))
    diverged = [record.status == Status.DIVERGED for record in records]
    assert any(diverged)
    assert (outcome.status == Status.DIVERGED).tolist() == diverged


@pytest.mark.parametrize("engine", [reference, fused])
def test_an_output_of_exactly_one_half_is_no_one(engine):
    """A hidden unit that is shrunk to 0 on every row leaves sigmoid(b2), and b2 goes to 0."""
    config = Config(
        activation="Hardshrink", loss="MSELoss", optimizer="SGD", lr=4, hidden_dim=1, epochs=200
    )
    outcome = engine.train(config, XOR, np.arange(20))
    half = outcome.final_loss == 0.25
    assert np.count_nonzero(outcome.status[half] == Status.ALL_ZERO) >= 5
    assert outcome.counts[Status.ALL_ONE] == 0
