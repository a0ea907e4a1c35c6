"""Whole trainings against the plain loop: verdicts, losses, epochs."""

import numpy as np
import oracle
import pytest

from xortune.core.config import Config
from xortune.core.outcome import Outcome, Status
from xortune.core.task import Task
from xortune.trainers import fused, reference

XOR = Task.xor()


def same_as_the_loop(outcome: Outcome, records: list[oracle.Record]) -> None:
    """Equal verdicts, patterns and epochs; losses to 1e-4."""
    assert [Status(s) for s in outcome.status] == [record.status for record in records]
    assert outcome.solved_epoch.tolist() == [record.solved_epoch for record in records]
    for index, record in enumerate(records):
        if record.finite:
            assert outcome.patterns[index] == record.patterns[-1]
            assert outcome.final_loss[index] == pytest.approx(record.losses[-1], abs=1e-4)


# --- single configs, longer ----------------------------------------------------------------------

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
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_long_trainings_are_those_of_the_loop(name):
    config = LONG[name]
    same_as_the_loop(
        reference.train(config, XOR, np.arange(6)), oracle.plain_loops(config, XOR, range(6))
    )


def test_solved_epoch_is_the_loops_own_record():
    """With seeds that are solved, lose it again and find it back."""
    config = Config(
        activation="Tanh",
        loss="MSELoss",
        optimizer="RMSprop",
        lr=0.1,
        hidden_dim=4,
        epochs=80,
    )
    seeds = range(24)
    records = oracle.plain_loops(config, XOR, seeds)
    assert any(True in record.right[1 : record.solved_epoch] for record in records)
    assert any(record.solved_epoch == 0 for record in records)
    outcome = reference.train(config, XOR, np.array(seeds))
    assert outcome.solved_epoch.tolist() == [record.solved_epoch for record in records]
    assert outcome.epochs_spent == sum(record.solved_epoch or 80 for record in records)


@pytest.fixture
def moons(tmp_path) -> Task:
    """Two classes, 40 rows to train on and 20 to judge."""
    rng = np.random.default_rng(5)
    angle = rng.uniform(0, np.pi, 60)
    label = np.arange(60) % 2
    x = np.where(label, 1 - np.cos(angle), np.cos(angle)) + rng.normal(0, 0.15, 60)
    y = np.where(label, 0.5 - np.sin(angle), np.sin(angle)) + rng.normal(0, 0.15, 60)
    lines = [
        f"{a},{b},{c},{int(i >= 40)}" for i, (a, b, c) in enumerate(zip(x, y, label, strict=True))
    ]
    path = tmp_path / "moons.csv"
    path.write_text("\n".join(["x,y,label,test", *lines]))
    return Task.from_csv(path, target="label", held_out="test", accuracy=0.9)


def test_held_out_rows_are_judged_and_never_trained_on(moons):
    config = Config(
        activation="ReLU", loss="BCELoss", optimizer="Adam", lr=0.05, hidden_dim=6, epochs=80
    )
    records = oracle.plain_loops(config, moons, range(10))
    solved = [record.status == Status.SOLVED for record in records]
    assert any(solved)
    assert not all(solved)
    outcome = reference.train(config, moons, np.arange(10))
    assert outcome.predictions.shape == (10, 20)
    same_as_the_loop(outcome, records)


# --- the right side of 0.5 -----------------------------------------------------------------------


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
