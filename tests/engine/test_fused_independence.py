"""No seed may notice which others train beside it, in blocks of what size, on how many cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xortune.core.config import Config
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.trainers import fused

XOR = Task.xor()
CONFIGS = [
    Config(activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=60),
    Config(
        activation="GELU", loss="BCELoss", optimizer="RMSprop", lr=0.03, momentum=0.5,
        hidden_dim=7, epochs=60,
    ),
    Config(activation="Softmax", loss="L1Loss", optimizer="Rprop", lr=0.1, hidden_dim=3, epochs=60),
    Config(
        activation=None, loss="SoftMarginLoss", optimizer="Adagrad", lr=1, hidden_dim=1, epochs=60
    ),
    Config(
        activation="ReLU", loss="MSELoss", optimizer="SGD", lr=0.05, momentum=3.0, hidden_dim=2,
        epochs=85,
    ),
]  # fmt: skip


def assert_same(part: Outcome, whole: Outcome) -> None:
    """To the last bit, for the seeds of the part, at every checkpoint."""
    at = [whole.seeds.tolist().index(seed) for seed in part.seeds.tolist()]
    for one, other in zip((*part.checkpoints, part), (*whole.checkpoints, whole), strict=True):
        for name in ("status", "solved_epoch", "final_loss", "predictions"):
            assert getattr(one, name).tobytes() == getattr(other, name)[at].tobytes(), name


@pytest.fixture(params=CONFIGS, ids=lambda config: config.optimizer)
def config(request) -> Config:
    return request.param


def test_together_alone_and_in_any_company(config):
    whole = fused.train(config, XOR, np.arange(100), [30])
    assert whole.seeds.tolist() == list(range(100))
    for seed in (0, 1, 13, 15, 16, 63, 64, 99):
        assert_same(fused.train(config, XOR, np.array([seed]), [30]), whole)
    for size in (7, 16, 33):
        for first in range(0, 100, size):
            block = np.arange(first, min(first + size, 100))
            assert_same(fused.train(config, XOR, block, [30]), whole)
    mixed = np.random.default_rng(0).permutation(100)
    shuffled = fused.train(config, XOR, mixed, [30])
    assert shuffled.seeds.tolist() == mixed.tolist()
    assert_same(shuffled, whole)


@pytest.mark.parametrize(("name", "value"), [("MAX_GROUPS", 1), ("MAX_GROUPS", 99)])
def test_in_blocks_of_any_size(monkeypatch, config, name, value):
    whole = fused.train(config, XOR, np.arange(150), [30])
    monkeypatch.setattr(fused, name, value)
    monkeypatch.setattr(fused, "CACHED_BYTES", 10**6)
    assert_same(fused.train(config, XOR, np.arange(150), [30]), whole)
    monkeypatch.setattr(fused, "CACHED_BYTES", 1)
    assert_same(fused.train(config, XOR, np.arange(150), [30]), whole)


@pytest.mark.parametrize("threads", [2, 5])
def test_on_any_number_of_cores(monkeypatch, config, threads):
    whole = fused.train(config, XOR, np.arange(300), [30])
    monkeypatch.setattr(fused, "WORTH_THREADS", 1)
    pools = []
    pool = fused.ThreadPoolExecutor
    monkeypatch.setattr(fused, "ThreadPoolExecutor", lambda n: pools.append(n) or pool(n))
    assert_same(fused.train(config, XOR, np.arange(300), [30], threads=threads), whole)
    assert pools == [threads]


def test_little_work_is_not_shared(monkeypatch):
    monkeypatch.setattr(fused, "ThreadPoolExecutor", None)
    fused.train(CONFIGS[0], XOR, np.arange(300), threads=2)
    monkeypatch.setattr(fused, "WORTH_THREADS", 1)
    fused.train(CONFIGS[0], XOR, np.arange(16), threads=2)  # one block


def test_blocks_hold_every_seed_once_and_differ_by_one_group():
    for groups in range(1, 40):
        for most in (1, 2, 3, 4, 7):
            blocks = fused._blocks(groups, most)
            lanes = [lane for first, width in blocks for lane in range(first, first + width)]
            assert lanes == list(range(16 * groups))
            widths = {width for _, width in blocks}
            assert max(widths) <= 16 * most
            assert max(widths) - min(widths) in (0, 16)
            assert all(width % 16 == 0 for width in widths)


def test_wide_networks_and_more_rows():
    config = replace(CONFIGS[0], activation="SiLU", optimizer="NAdam", hidden_dim=33, epochs=20)
    task = Task.parity(4)
    whole = fused.train(config, task, np.arange(70))
    for block in (np.arange(1), np.arange(3, 10), np.arange(65, 70)):
        assert_same(fused.train(config, task, block), whole)


def test_a_training_leaves_its_start_as_it_was():
    """The initial weights are kept for the next training of the same seeds."""
    first = fused.train(CONFIGS[0], XOR, np.arange(20))
    fused.train(CONFIGS[4], XOR, np.arange(20))
    assert_same(fused.train(CONFIGS[0], XOR, np.arange(20)), first)
