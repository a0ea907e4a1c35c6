"""One config under some seeds, and which of them could be one stack; without torch."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config

MAX_NUMBER = 1e30
"""Of lr and momentum in a stack: torch.optim refuses what does not fit into a float32, of one
config and not of its neighbours."""


@dataclass(frozen=True, eq=False)
class Training:
    """One config under S seeds.

    Attributes:
        config: what to train.
        seeds: int64, shape (S,), each in [0, 2**32) and once.
        checkpoints: earlier epochs at which to record an outcome too, ascending.
    """

    config: Config
    seeds: NDArray[np.int64]
    checkpoints: tuple[int, ...] = ()


def structure_of(config: Config) -> Hashable | None:
    """What configs of one stack have in common: all but lr and momentum; None if it fits in none.

    With momentum 0 an optimizer has one state less: those are another structure.
    """
    if max(config.lr, config.momentum) > MAX_NUMBER:
        return None
    return (
        config.activation,
        config.loss,
        config.optimizer,
        config.hidden_dim,
        config.epochs,
        config.zero_grad,
        config.momentum > 0,
    )
