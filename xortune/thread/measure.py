"""One variant of a row, or one point of a curve, trained under S seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.config import Config
from xortune.engine.network import evaluate_config
from xortune.outcome import Status, status_of
from xortune.task import Task
from xortune.thread import numpy_network
from xortune.thread.claims import Variant

__all__ = ["Measured", "measure", "measure_config"]

XOR = Task.named("xor")


@dataclass(frozen=True, eq=False)
class Measured:
    """S seeds of one system.

    Attributes:
        solved: bool, shape (S,): which seeds count, by the variant's own judgement.
        all_zero: how many seeds gave four zeros; None where nobody looked.
        stopped: how many seeds ended before the last epoch, their loss being small enough; None
            where nothing stops.
    """

    solved: NDArray[np.bool_]
    all_zero: int | None = None
    stopped: int | None = None

    @property
    def k(self) -> int:
        """How many seeds count."""
        return int(np.count_nonzero(self.solved))

    @property
    def n(self) -> int:
        """How many seeds there are."""
        return len(self.solved)

    def merge(self, other: Measured) -> Measured:
        """Both blocks of seeds of one system, as one."""
        solved = np.concatenate([self.solved, other.solved])
        return Measured(
            solved, _sum(self.all_zero, other.all_zero), _sum(self.stopped, other.stopped)
        )


def measure(variant: Variant, seeds: range) -> Measured:
    """Train what a variant says, on one core.

    Args:
        variant: of a row; not one that counts a sweep.
        seeds: contiguous.
    """
    array = np.arange(seeds.start, seeds.stop, dtype=np.int64)
    if variant.numpy is not None:
        predictions = numpy_network.train(XOR, array, **variant.numpy.model_dump())
        return _judged(status_of(XOR, predictions, np.ones(len(array), np.bool_)))
    assert variant.config is not None
    config = Config.from_point(variant.config)
    if variant.same_weights_as is not None:
        from xortune.engine.posted import same_weights

        other = Config.from_point(variant.same_weights_as)
        return Measured(same_weights(config, other, XOR, array))
    if variant.stop_loss is not None:
        from xortune.engine.posted import train_until

        ended = train_until(config, XOR, array, variant.stop_loss)
        return _judged(ended.status, int(np.count_nonzero(ended.steps < config.epochs)))
    if variant.judge == "truncating":
        return Measured(_truncated(config, array))
    return measure_config(variant.config, seeds)


def measure_config(config: dict[str, Any], seeds: range) -> Measured:
    """Train a config of the built-in network as it stands, on one core."""
    return _judged(evaluate_config(Config.from_point(config), XOR, seeds).status)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _judged(status: NDArray[np.uint8], stopped: int | None = None) -> Measured:
    zeros = int(np.count_nonzero(status == Status.ALL_ZERO))
    return Measured(np.equal(status, Status.SOLVED), zeros, stopped)


def _truncated(config: Config, seeds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool, shape (S,): ``int(output) == target`` for every row.

    An output is in [0, 1], so that its whole part is 1 for 1.0 only; NaN has none.
    """
    from xortune.engine.fused import final_outputs

    outputs = final_outputs(config, XOR, seeds)
    ones = XOR.judged_targets[:, 0] > 0.5
    return np.asarray(np.where(ones, outputs == 1, outputs < 1).all(axis=1), np.bool_)
