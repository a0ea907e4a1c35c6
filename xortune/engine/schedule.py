"""What an optimizer needs to know of each epoch: the same for all seeds, computed once.

torch computes these numbers in float64 at every step and rounds them to float32 where they meet a
tensor; so does this module, for all epochs at once. Hyperparameters other than lr and momentum are
torch's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.config import Config
from xortune.engine.kernels.training import FIRST_STATE, GRADIENT, SECOND_STATE

__all__ = ["Schedule", "schedule_of"]

BETA1, BETA2 = 0.9, 0.999

SETTLED = {
    **dict.fromkeys(("SGD", "Adadelta", "Adagrad", "RMSprop", "Rprop"), 1),
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "RAdam"), 2**15),  # BETA2**step is below 1e-14
    "NAdam": 2**17,  # 0.96 ** (0.004 step) is below 1e-9
}
"""The step from which on an optimizer's numbers no longer change, in float32."""


@dataclass(frozen=True)
class Schedule:
    """How a kernel runs an optimizer.

    Attributes:
        rule: the number of the kernel's step.
        numbers: float32, shape (E, 3): what each of the first E steps takes, and the last row every
            step after them; see `kernels.optimizers`.
        state_start: the second state before the first step.
        quiet: what has to be zero for the weights to stay as they are; 0 if they never do.
    """

    rule: int
    numbers: NDArray[np.float32]
    state_start: float
    quiet: int


def schedule_of(config: Config) -> Schedule:  # noqa: PLR0912  # one case for each optimizer
    """The schedule of a config's optimizer for all its epochs.

    Source: the ``_single_tensor_*`` functions of torch.optim, which are the definition.
    """
    lr, momentum = config.lr, config.momentum
    steps = min(config.epochs, SETTLED.get(config.optimizer, config.epochs))
    step = np.arange(1, steps + 1, dtype=np.float64)
    one, nothing = np.ones_like(step), np.zeros_like(step)
    first, second = 1 - BETA1**step, 1 - BETA2**step  # bias corrections
    start, quiet = 0.0, GRADIENT
    numbers: tuple[NDArray[np.float64], ...]
    match config.optimizer:
        case "SGD" if momentum == 0:
            rule, numbers = 0, (lr * one, nothing, nothing)
        case "SGD":
            rule, numbers, quiet = 1, (lr * one, momentum * one, nothing), FIRST_STATE
        case "Adadelta":
            rule, numbers = 2, (lr * one, nothing, nothing)
        case "Adagrad":
            rule, numbers = 3, (lr * one, nothing, nothing)
        case "Adam":
            rule, numbers, quiet = 4, (lr / first, 1 / np.sqrt(second), one), FIRST_STATE
        case "AdamW":
            rule, numbers, quiet = 4, (lr / first, 1 / np.sqrt(second), (1 - lr * 0.01) * one), 0
        case "Adamax":
            rule, numbers, quiet = 5, (lr / first, nothing, nothing), FIRST_STATE
        case "ASGD":
            eta = np.concatenate([[lr], lr / (1 + 1e-4 * lr * step[:-1]) ** 0.75])
            eta = eta.astype(np.float32).astype(np.float64)  # torch keeps it as a float32 tensor
            rule, numbers, quiet = 6, (eta, 1 - 1e-4 * eta, nothing), 0
        case "NAdam":
            rule, numbers, quiet = 7, _nadam(lr, step, second), FIRST_STATE
        case "RAdam":
            rule, numbers, quiet = 8, _radam(lr, step, first, second), FIRST_STATE
        case "RMSprop" if momentum == 0:
            rule, numbers = 9, (lr * one, nothing, nothing)
        case "RMSprop":
            rule, numbers, quiet = 10, (lr * one, momentum * one, nothing), SECOND_STATE
        case "Rprop":
            rule, numbers, start = 11, (nothing, nothing, nothing), lr
        case other:
            raise AssertionError(other)  # Config knows no other
    table = np.stack(numbers, axis=1).astype(np.float32)
    return Schedule(rule, np.ascontiguousarray(table), start, quiet)


def _nadam(
    lr: float, step: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    mu = BETA1 * (1 - 0.5 * 0.96 ** (step * 0.004))
    after = BETA1 * (1 - 0.5 * 0.96 ** ((step + 1) * 0.004))
    # torch keeps the product as a float32 tensor.
    product = np.multiply.accumulate(mu.astype(np.float32)).astype(np.float64)
    return lr * (1 - mu) / (1 - product), lr * after / (1 - product * after), 1 / second


def _radam(
    lr: float,
    step: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
) -> tuple[NDArray[np.float64], ...]:
    longest = 2 / (1 - BETA2) - 1
    length = longest - 2 * step * BETA2**step / second
    adaptive = length > 5
    with np.errstate(invalid="ignore"):
        rectified = np.sqrt(
            (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        )
    size = lr / first * np.where(adaptive, rectified * np.sqrt(second), 1.0)
    return size, adaptive.astype(np.float64), (~adaptive).astype(np.float64)
