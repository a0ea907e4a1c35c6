"""No seed may notice which others train beside it, in blocks of what size, on how many cores."""

import warnings
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch

from xortune.core.config import LOSSES, Config
from xortune.core.outcome import Outcome, Status
from xortune.core.task import Task
from xortune.trainers import fused, reference

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
            mine, theirs = getattr(one, name), getattr(other, name)[at]
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


@pytest.fixture(params=[reference, fused], ids=["reference", "fused"])
def engine(request):
    return request.param


@pytest.fixture(params=CONFIGS, ids=lambda config: config.optimizer)
def config(request) -> Config:
    return request.param


def test_together_alone_and_in_any_company(engine, config):
    whole = engine.train(config, XOR, np.arange(100), [30])
    assert whole.seeds.tolist() == list(range(100))
    for seed in (0, 15, 16, 64, 99):
        assert_same(engine.train(config, XOR, np.array([seed]), [30]), whole)
    for first in range(0, 100, 33):
        block = np.arange(first, min(first + 33, 100))
        assert_same(engine.train(config, XOR, block, [30]), whole)
    mixed = np.random.default_rng(0).permutation(100)
    shuffled = engine.train(config, XOR, mixed, [30])
    assert shuffled.seeds.tolist() == mixed.tolist()
    assert_same(shuffled, whole)


@pytest.mark.parametrize("groups", [1, 99])
def test_in_blocks_of_any_size(monkeypatch, config, groups):
    whole = fused.train(config, XOR, np.arange(150), [30])
    monkeypatch.setattr(fused, "MAX_GROUPS", groups)
    for size in (10**6, 1):
        monkeypatch.setattr(fused, "CACHED_BYTES", size)
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


def test_a_training_leaves_its_start_as_it_was():
    """The initial weights are kept for the next training of the same seeds."""
    first = fused.train(CONFIGS[0], XOR, np.arange(20))
    fused.train(CONFIGS[4], XOR, np.arange(20))
    assert_same(fused.train(CONFIGS[0], XOR, np.arange(20)), first)


def test_more_seeds_than_one_stack_holds(monkeypatch):
    config = CONFIGS[0]
    whole = reference.train(config, XOR, np.arange(200), [5])
    monkeypatch.setattr(reference, "MAX_STACK", 1)
    parts = reference.train(config, XOR, np.arange(200), [5])
    assert parts.seeds.tolist() == list(range(200))
    assert_same(parts, whole)
    assert_same(parts.at(5), whole.at(5))


def test_wide_networks_and_more_rows(engine):
    config = Config(
        activation="SiLU", loss="MSELoss", optimizer="NAdam", lr=0.05, hidden_dim=33, epochs=20
    )
    task = Task.parity(4)
    whole = engine.train(config, task, np.arange(70))
    for block in (np.arange(1), np.arange(3, 10), np.arange(65, 70)):
        assert_same(engine.train(config, task, block), whole)


def test_a_checkpoint_is_a_training_of_that_length(config):
    fields = dict(config.point) | {"epochs": 200}
    long = reference.train(Config(**fields), XOR, np.arange(20), [1, 50, 200])
    assert [outcome.epochs for outcome in (*long.checkpoints, long)] == [1, 50, 200]
    for epochs in (1, 50, 200):
        short = reference.train(Config(**fields | {"epochs": epochs}), XOR, np.arange(20))
        assert short.checkpoints == ()
        assert_same(short, replace(long.at(epochs), checkpoints=()))


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
def test_a_diverging_seed_disturbs_no_other(engine, loss):
    config = _exploding(loss, 85)
    whole = engine.train(config, XOR, np.arange(40))
    diverged = whole.status == Status.DIVERGED
    assert diverged.any()
    assert not diverged.all()
    assert (whole.solved_epoch[diverged] == 0).all()
    for seed in (*np.flatnonzero(diverged)[:2], *np.flatnonzero(~diverged)[:4]):
        assert_same(engine.train(config, XOR, np.array([seed])), whole)


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
