"""No seed may notice which others train beside it, in blocks of what size, on how many cores."""

import warnings
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from oracle import assert_equal, exploding

from xortune.core.config import LOSSES, Config
from xortune.core.outcome import Status
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import fused, limits, reference
from xortune.trainers.limits import Training
from xortune.trainers.network import NetworkTrainer

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
    exploding("MSELoss", 85),  # some seeds have overflowed then and some have not
]  # fmt: skip


@pytest.fixture(params=[reference, fused], ids=["reference", "fused"])
def engine(request):
    return request.param


@pytest.fixture(params=CONFIGS, ids=lambda config: config.optimizer)
def config(request) -> Config:
    return request.param


def test_together_alone_and_in_any_company(engine, config):
    whole = engine.train(config, XOR, np.arange(70), [30])
    assert whole.seeds.tolist() == list(range(70))
    for seed in (0, 15, 16, 64, 69):
        assert_equal(engine.train(config, XOR, np.array([seed]), [30]), whole, part=True)
    for first in range(0, 70, 33):
        block = np.arange(first, min(first + 33, 70))
        assert_equal(engine.train(config, XOR, block, [30]), whole, part=True)
    mixed = np.random.default_rng(0).permutation(70)
    shuffled = engine.train(config, XOR, mixed, [30])
    assert shuffled.seeds.tolist() == mixed.tolist()
    assert_equal(shuffled, whole, part=True)


@pytest.mark.parametrize("groups", [1, 99])
def test_in_blocks_of_any_size(monkeypatch, config, groups):
    whole = fused.train(config, XOR, np.arange(150), [30])
    monkeypatch.setattr(fused, "MAX_GROUPS", groups)
    for size in (10**6, 1):
        monkeypatch.setattr(fused, "CACHED_BYTES", size)
        assert_equal(fused.train(config, XOR, np.arange(150), [30]), whole, part=True)


@pytest.mark.parametrize("epochs", [60, 400])
def test_in_a_pool_with_other_rates(config, epochs):
    """Some of them rest early, of some all seeds; those that do leave their lanes to the others."""
    rates = [config.lr * factor for factor in (1.0, 0.3, 30.0)]
    configs = [replace(config, lr=lr, epochs=epochs) for lr in rates]
    alone = [fused.train(one, XOR, np.arange(21), [30], stop_early=False) for one in configs]
    pool = [Training(one, np.arange(21), (30,)) for one in configs]
    assert limits.pools(pool) == [[0, 1, 2]]
    for one, other in zip(fused.train_pool(pool, XOR), alone, strict=True):
        assert_equal(one, other, part=True)


def test_pools_are_of_trainings_that_leave_lanes_idle_and_differ_in_rates_alone(monkeypatch):
    monkeypatch.setattr(limits, "POOLED", 70)
    base, seeds = CONFIGS[1], np.arange(20)
    alike = [Training(replace(base, lr=0.1 * n, momentum=0.2), seeds) for n in range(1, 6)]
    others = [
        Training(replace(base, momentum=0.0), seeds),
        Training(base, seeds + 1),
        Training(base, seeds, (30,)),
        Training(base, np.arange(32)),
        Training(replace(base, lr=1.0), np.arange(32)),
    ]
    assert limits.pools([*alike, *others]) == [[0, 1, 2], [3, 4], [5], [6], [7], [8], [9]]


def test_a_trainer_pools_what_it_is_given_at_once(monkeypatch):
    pooled, train = [], fused.train_pool
    monkeypatch.setattr(
        fused, "train_pool", lambda pool, *a, **k: pooled.append(len(pool)) or train(pool, *a, **k)
    )
    trainer = NetworkTrainer(XOR)
    points = [replace(CONFIGS[0], lr=lr, epochs=e).point for lr in (0.1, 1.0) for e in (9, 60)]
    blocks = [Block(point, 7, 20) for point in points]
    together = trainer.train(blocks)
    assert pooled == [2]
    for block, outcome in zip(blocks, together, strict=True):
        assert_equal(outcome, trainer.train([block])[0], part=True)


def test_on_any_number_of_cores(monkeypatch, config):
    whole = fused.train(config, XOR, np.arange(300), [30])
    monkeypatch.setattr(fused, "WORTH_THREADS", 1)
    pools = []
    pool = fused.ThreadPoolExecutor
    monkeypatch.setattr(fused, "ThreadPoolExecutor", lambda n: pools.append(n) or pool(n))
    assert_equal(fused.train(config, XOR, np.arange(300), [30], threads=3), whole, part=True)
    assert pools == [3]


def test_wide_networks_and_more_rows(engine):
    config = Config(
        activation="SiLU", loss="MSELoss", optimizer="NAdam", lr=0.05, hidden_dim=33, epochs=20
    )
    task = Task.parity(4)
    whole = engine.train(config, task, np.arange(70))
    for block in (np.arange(1), np.arange(3, 10), np.arange(65, 70)):
        assert_equal(engine.train(config, task, block), whole, part=True)


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


# -------------------------------------------------------------------------------------------------
# Whole trainings against the plain loop: verdicts, losses, epochs.

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
