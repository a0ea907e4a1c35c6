"""No seed may notice which others train beside it, and no checkpoint that others were taken."""

from __future__ import annotations

import warnings

import numpy as np
import oracle
import pytest
import torch

from xortune.core.config import LOSSES, Config
from xortune.core.outcome import Outcome, Status
from xortune.core.task import Task
from xortune.trainers import reference

XOR = Task.xor()
CONFIGS = [
    Config(
        activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=60
    ),
    Config(
        activation="GELU", loss="BCELoss", optimizer="RMSprop", lr=0.03, momentum=0.5,
        hidden_dim=7, epochs=60,
    ),
    Config(
        activation="Softmax", loss="L1Loss", optimizer="Rprop", lr=0.1, hidden_dim=3, epochs=60
    ),
    Config(
        activation=None, loss="SoftMarginLoss", optimizer="Adagrad", lr=1, hidden_dim=1, epochs=60
    ),
]  # fmt: skip


def assert_same(part: Outcome, whole: Outcome) -> None:
    """To the last bit, for the seeds of the part."""
    at = [whole.seeds.tolist().index(seed) for seed in part.seeds.tolist()]
    for name in ("status", "solved_epoch", "final_loss", "predictions"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[at], err_msg=name)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.optimizer)
def test_together_alone_and_in_blocks(config):
    whole = reference.train(config, XOR, np.arange(100))
    assert whole.seeds.tolist() == list(range(100))
    for seed in (0, 1, 13, 63, 64, 99):
        assert_same(reference.train(config, XOR, np.array([seed])), whole)
    for first in range(0, 100, 7):
        block = np.arange(first, min(first + 7, 100))
        assert_same(reference.train(config, XOR, block), whole)
    backwards = reference.train(config, XOR, np.arange(100)[::-1].copy())
    assert backwards.seeds[0] == 99
    assert_same(backwards, whole)


def test_more_seeds_than_one_stack_holds(monkeypatch):
    config = CONFIGS[0]
    whole = reference.train(config, XOR, np.arange(200), [5])
    monkeypatch.setattr(reference, "MAX_STACK", 1)
    parts = reference.train(config, XOR, np.arange(200), [5])
    assert parts.seeds.tolist() == list(range(200))
    assert_same(parts, whole)
    assert_same(parts.at(5), whole.at(5))


def test_wide_networks_and_more_rows():
    config = Config(
        activation="SiLU", loss="MSELoss", optimizer="NAdam", lr=0.05, hidden_dim=33, epochs=20
    )
    task = Task.parity(4)
    whole = reference.train(config, task, np.arange(70))
    for block in (np.arange(1), np.arange(3, 10), np.arange(65, 70)):
        assert_same(reference.train(config, task, block), whole)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.optimizer)
def test_a_checkpoint_is_a_training_of_that_length(config):
    fields = dict(config.point) | {"epochs": 200}
    long = reference.train(Config(**fields), XOR, np.arange(20), [10, 50, 200])
    assert [outcome.epochs for outcome in (*long.checkpoints, long)] == [10, 50, 200]
    for epochs in (10, 50, 200):
        short = reference.train(Config(**fields | {"epochs": epochs}), XOR, np.arange(20))
        assert short.checkpoints == ()
        assert_same(short, long.at(epochs))


def test_a_checkpoint_after_one_epoch():
    config = CONFIGS[0]
    early = reference.train(config, XOR, np.arange(64), [1]).at(1)
    assert set(early.solved_epoch.tolist()) <= {0, 1}
    assert_same(
        reference.train(Config(**dict(config.point) | {"epochs": 1}), XOR, np.arange(64)), early
    )


# --- divergence ----------------------------------------------------------------------------------


HALF_WAY = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "L1Loss",
    "MSELoss",
    "MultiLabelSoftMarginLoss",
    "SmoothL1Loss",
]  # at epoch 85 some seeds have overflowed and some have not yet


def _exploding(loss: str, epochs: int) -> Config:
    """Momentum 3 triples the step at every epoch, up to the end of float32."""
    return Config(
        activation="ReLU", loss=loss, optimizer="SGD", lr=0.05, momentum=3.0, hidden_dim=2,
        epochs=epochs,
    )  # fmt: skip


@pytest.mark.parametrize("loss", HALF_WAY)
def test_a_diverging_seed_disturbs_no_other(loss):
    config = _exploding(loss, 85)
    whole = reference.train(config, XOR, np.arange(40))
    diverged = whole.status == Status.DIVERGED
    assert diverged.any()
    assert not diverged.all()
    assert (whole.solved_epoch[diverged] == 0).all()
    for seed in (*np.flatnonzero(diverged)[:2], *np.flatnonzero(~diverged)[:4]):
        assert_same(reference.train(config, XOR, np.array([seed])), whole)


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_is_what_the_plain_loop_comes_to(loss):
    config = _exploding(loss, 110)
    outcome = reference.train(config, XOR, np.arange(6))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "reduction. 'mean'")  # the oracle's KLDivLoss
        records = oracle.plain_loops(config, XOR, range(6))
    diverged = [record.status == Status.DIVERGED for record in records]
    assert any(diverged)
    assert (outcome.status == Status.DIVERGED).tolist() == diverged


def test_nan_outputs_under_bce_are_diverged_and_no_exception():
    config = Config(
        activation="ReLU", loss="BCELoss", optimizer="SGD", lr=1e38, hidden_dim=5, epochs=20
    )
    outcome = reference.train(config, XOR, np.arange(30))
    assert outcome.counts[Status.DIVERGED] > 0
    assert np.isnan(outcome.final_loss[outcome.status == Status.DIVERGED]).any()
    assert outcome.n == 30


def test_training_leaves_torch_as_it_was(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        reference.train(CONFIGS[0], XOR, np.arange(3))
        assert torch.equal(torch.rand(3), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
