"""Subnormal numbers are flushed to zero inside the fused engine, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from xortune.core.config import ACTIVATIONS, LOSSES, OPTIMIZERS, Config
from xortune.core.task import Task
from xortune.trainers import fused

SMALL = np.float32(1e-39)  # subnormal: float32's smallest normal number is 1.2e-38


def _config(**changes):
    given = {"activation": "LogSigmoid", "loss": "MSELoss", "optimizer": "Adam", "lr": 1.0}
    return Config(**{**given, "hidden_dim": 5, "epochs": 3_000, **changes})


def test_the_callers_arithmetic_keeps_subnormals():
    fused.train(_config(epochs=10), Task.named("xor"), np.arange(16))
    assert SMALL * np.float32(0.5) > 0


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o != "Rprop"])
def test_outcomes_are_those_of_the_engine_without_flushing(optimizer, monkeypatch):
    """A mix of 12 combinations of each; benchmarks/subnormals.py compares all of them."""
    cells = [(a, loss) for i, a in enumerate(ACTIVATIONS) for loss in LOSSES[i % 3 :: 9]][:12]
    for activation, loss in cells:
        config = _config(activation=activation, loss=loss, optimizer=optimizer, epochs=1_000)
        flushed = fused.train(config, Task.named("xor"), np.arange(32))
        with monkeypatch.context() as patch:
            patch.setattr(fused, "flushes", lambda _: False)
            exact = fused.train(config, Task.named("xor"), np.arange(32))
        np.testing.assert_array_equal(flushed.status, exact.status)
        np.testing.assert_array_equal(flushed.solved_epoch, exact.solved_epoch)
        np.testing.assert_array_equal(flushed.predictions, exact.predictions)


def test_rprop_keeps_subnormals_because_it_steps_by_their_sign():
    assert not fused.flushes(_config(optimizer="Rprop"))
    assert fused.flushes(_config(optimizer="Adam"))
