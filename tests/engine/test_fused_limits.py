"""What the fused engine does not train, and who does."""

import numpy as np
import pytest

from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import limits, reference
from xortune.trainers.network import NetworkTrainer, evaluate_config

XOR = Task.xor()
FIELDS = {
    "activation": "Tanh",
    "loss": "MSELoss",
    "optimizer": "SGD",
    "lr": 0.1,
    "hidden_dim": 3,
    "epochs": 4,
}


def table(rows: int, dim: int, held_out: int = 0) -> Task:
    x = np.random.default_rng(0).normal(size=(rows + held_out, dim))
    y = (x[:, :1] > 0).astype(float)
    held = {"held_out_inputs": x[rows:], "held_out_targets": y[rows:]} if held_out else {}
    return Task("table", x[:rows], y[:rows], **held)


LIMITS = {
    "rows": (table(65, 2), {}, r"rows 65 is above 64"),
    "held-out rows": (table(5, 2, 65), {}, r"rows 65 is above 64"),
    "inputs": (table(5, 9), {}, r"inputs 9 is above 8"),
    "hidden_dim": (XOR, {"hidden_dim": 65}, r"hidden_dim 65 is above 64"),
    "lr": (XOR, {"lr": 1.1e30}, r"lr 1.1e\+30 is above 1e\+30"),
    "momentum": (XOR, {"momentum": 2e30}, r"momentum 2e\+30 is above 1e\+30"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_beyond_a_limit_the_reference_engine_trains(name):
    task, changes, reason = LIMITS[name]
    config = Config(**FIELDS | changes)
    with pytest.raises(InputError, match=f"engine: 'fused', but {reason}.*use engine 'auto'"):
        evaluate_config(config, task, range(4), (), "fused")
    outcome = evaluate_config(config, task, range(4), (), "auto")
    expected = reference.train(config, task, np.arange(4))
    for field in ("seeds", "status", "solved_epoch", "final_loss", "predictions"):
        assert getattr(outcome, field).tobytes() == getattr(expected, field).tobytes(), field
    (trained,) = NetworkTrainer(task).train([Block(config.point, 0, 4)])
    assert isinstance(trained, Outcome)
    assert trained.final_loss.tobytes() == expected.final_loss.tobytes()


def test_more_epochs_than_a_float32_counts():
    config = Config(**FIELDS | {"epochs": 2**24})
    assert limits.uncovered(config, XOR) is None
    reason = limits.uncovered(Config(**FIELDS | {"epochs": 2**24 + 1}), XOR)
    assert reason is not None
    assert reason.startswith("epochs 16,777,217 is above 16,777,216")


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        (table(64, 8, 64), {"hidden_dim": 64}),
        (XOR, {"lr": 1e30}),
        (XOR, {"momentum": 1e30}),
    ],
)
def test_up_to_a_limit_the_fused_engine_trains(task, changes):
    config = Config(**FIELDS | changes)
    assert limits.uncovered(config, task) is None
    outcome = evaluate_config(config, task, range(4), (), "fused")
    expected = reference.train(config, task, np.arange(4))
    np.testing.assert_array_equal(outcome.status, expected.status)
