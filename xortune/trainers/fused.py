"""The fused engine: all epochs of a block of seeds in one compiled call, on the CPU.

It computes what the reference engine computes, seed by seed, in float32: the same initial weights
bit for bit, the same loss, the same step. Only the last bit of an exponential or of a sum differs,
and so, after many epochs of a chaotic training, now and then a verdict. The outcome of a seed
depends, to the last bit, neither on the seeds beside it nor on how many cores share the work.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config
from xortune.core.outcome import Outcome, Status, status_of
from xortune.core.seeds import checked_seeds
from xortune.core.task import Task
from xortune.trainers.kernels import training
from xortune.trainers.kernels.cache import compiled
from xortune.trainers.kernels.draws import start_of
from xortune.trainers.kernels.simd import LANES
from xortune.trainers.kernels.training import (
    ACTIVATIONS,
    FIRST_STATE,
    GRADIENT,
    LOSSES,
    SECOND_STATE,
    work_size,
)
from xortune.trainers.limits import MAX_ROWS, Training

# -------------------------------------------------------------------------------------------------
# The numbers that an optimizer takes in each epoch: the same for all seeds, computed once.
#
# torch computes them in float64 at every step and rounds them to float32 where they meet a tensor;
# so does this module, for all epochs at once. Hyperparameters other than lr and momentum are
# torch's defaults.

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
        numbers: float32, shape (E, 3): a row for each of the first E steps; later steps take the
            last row. See `kernels.formulas`.
        state_start: the second state before the first step.
        quiet: the tensor that is zero when the weights no longer change (`GRADIENT`, `FIRST_STATE`
            or `SECOND_STATE` of `kernels.training`); 0 if they always change.
        scale: factor of the gradients in the kernel.
        tiny: a scaled gradient up to this size counts as zero.
    """

    rule: int
    numbers: NDArray[np.float32]
    state_start: float
    quiet: int
    scale: float = 1.0
    tiny: float = 0.0


SCALE, UNDERFLOW = 2.0**64, 2.0**-150
"""The factor of Rprop's gradients; a product up to the second number rounds to zero in float32."""


def schedule_of(config: Config, *, flush: bool = True) -> Schedule:  # noqa: PLR0912  # by optimizer
    """The schedule of a config's optimizer for all its epochs.

    Where subnormal numbers are flushed to zero, Rprop alone would train differently: it steps by
    the sign of the smallest gradient. Its gradients are therefore multiplied by 2**64, which
    changes no digit, and count as zero where they are zero in torch: below half of the smallest
    subnormal number. So does the product of two of them.

    Source: the ``_single_tensor_*`` functions of torch.optim, which are the definition.
    """
    lr, momentum = config.lr, config.momentum
    steps = min(config.epochs, SETTLED.get(config.optimizer, config.epochs))
    step, first, second = _corrections(1 if config.optimizer == "ASGD" else steps)
    start, quiet, scale, tiny = 0.0, GRADIENT, 1.0, 0.0
    numbers: tuple[NDArray[np.float64] | float, ...]
    match config.optimizer:
        case "SGD" if momentum == 0:
            rule, numbers = 0, (lr, 0.0, 0.0)
        case "SGD":
            rule, numbers, quiet = 1, (lr, momentum, 0.0), FIRST_STATE
        case "Adadelta":
            rule, numbers = 2, (lr, 0.0, 0.0)
        case "Adagrad":
            rule, numbers = 3, (lr, 0.0, 0.0)
        case "Adam":
            rule, numbers, quiet = 4, (lr / first, 1 / np.sqrt(second), 1.0), FIRST_STATE
        case "AdamW":
            rule, numbers, quiet = 4, (lr / first, 1 / np.sqrt(second), 1 - lr * 0.01), 0
        case "Adamax":
            rule, numbers, quiet = 5, (lr / first, 0.0, 0.0), FIRST_STATE
        case "ASGD":
            eta = lr / (1 + 1e-4 * lr * np.arange(steps, dtype=np.float64)) ** 0.75
            eta = eta.astype(np.float32).astype(np.float64)  # torch keeps it as a float32 tensor
            rule, numbers, quiet = 6, (eta, 1 - 1e-4 * eta, 0.0), 0
        case "NAdam":
            rule, numbers, quiet = 7, _nadam(lr, step, second), FIRST_STATE
        case "RAdam":
            rule, numbers, quiet = 8, _radam(lr, step, first, second), FIRST_STATE
        case "RMSprop" if momentum == 0:
            rule, numbers = 9, (lr, 0.0, 0.0)
        case "RMSprop":
            rule, numbers, quiet = 10, (lr, momentum, 0.0), SECOND_STATE
        case "Rprop":
            rule, start = 11, lr
            scale, tiny = (SCALE, SCALE * UNDERFLOW) if flush else (1.0, 0.0)
            numbers = (tiny, scale * tiny, 0.0)
        case other:
            raise AssertionError(other)  # Config knows no other
    table = np.empty((steps, 3), np.float32)
    table[:, 0], table[:, 1], table[:, 2] = numbers
    return Schedule(rule, table, start, quiet, scale, tiny)


@functools.lru_cache(maxsize=4)  # most trainings of a search have the same length
def _corrections(steps: int) -> tuple[NDArray[np.float64], ...]:
    """float64, each of shape (steps,): the steps, from 1, and Adam's corrections of both biases."""
    step = np.arange(1, steps + 1, dtype=np.float64)
    return step, 1 - BETA1**step, 1 - BETA2**step


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


# -------------------------------------------------------------------------------------------------
# Training.

CACHED_BYTES = 32_000
"""Memory of a block of seeds during an epoch: what fits into a core's first-level cache."""

MAX_GROUPS = 4

CACHED_SEEDS = 2**11
"""Maximum number of seeds in one call: their weights and states fit the second-level cache."""

WORTH_THREADS = 2**20
"""Epochs times seeds from which on several cores share the work: about 10 ms of it."""


def train(
    config: Config,
    task: Task,
    seeds: NDArray[np.int64],
    checkpoints: Sequence[int] = (),
    **options: Any,
) -> Outcome:
    """Train one config, as `train_pool` does."""
    return train_pool([Training(config, seeds, tuple(checkpoints))], task, **options)[0]


def train_pool(
    trainings: Sequence[Training],
    task: Task,
    *,
    threads: int = 1,
    stop_early: bool = True,
    flush: bool = True,
) -> list[Outcome]:
    """Train configs that differ in lr and momentum only under the same seeds.

    Their seeds lie one after the other in the lanes of the processor's vectors, so that fewer lanes
    are idle.

    Args:
        trainings: of configs that the engine covers (see `limits.uncovered`).
        task: what to learn.
        threads: how many cores may share the seeds.
        stop_early: a seed leaves the training when nothing that is recorded can change any more;
            the outcome is the same either way.
        flush: compute with 0 in place of subnormal numbers. The averages of Adam and its like
            decay into them once a gradient has vanished, and each operation on one takes some 150
            cycles on an Intel processor.
    """
    config, seeds = trainings[0].config, trainings[0].seeds
    stops = sorted({*trainings[0].checkpoints, config.epochs})
    record = _run(
        [training.config for training in trainings],
        task,
        start_of(task.dim, config.hidden_dim, _padded(seeds)),
        len(seeds),
        stops,
        threads=threads,
        stop_early=stop_early,
        flush=flush,
    )
    return record.outcomes(stops, task, seeds)


def final_weights(config: Config, task: Task, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """The weights after the last epoch.

    Args:
        config: what to train; the engine covers it (see `limits.uncovered`).
        task: what to learn.
        seeds: int64, shape (S,), each in [0, 2**32) and once.

    Returns:
        float32, shape (P, S), P = H * D + 2 * H + 1: in the order of `draws.initial_weights`.
    """
    start = start_of(task.dim, config.hidden_dim, _padded(seeds))
    weights = np.empty_like(start)
    # No early stop: the weights may still change when the outputs no longer do.
    _run([config], task, start, len(seeds), [config.epochs], stop_early=False, weights=weights)
    return weights[:, : len(seeds)]


def outputs_of(
    config: Config, weights: NDArray[np.float32], inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The outputs of trained networks for any inputs.

    Args:
        config: of the networks.
        weights: float32, shape (P, S), as from `final_weights`.
        inputs: float32, shape (N, D).

    Returns:
        float32, shape (S, N): outputs in [0, 1].
    """
    count = weights.shape[1]
    start = np.ascontiguousarray(np.pad(weights, ((0, 0), (0, -count % LANES)), mode="edge"))
    unused = np.zeros((2, inputs.shape[1]), np.float32)
    parts = []
    for first in range(0, len(inputs), MAX_ROWS):
        rows = inputs[first : first + MAX_ROWS]
        # The rows are held-out ones of a training that ends before its first step.
        task = Task("rows", unused, unused[:, :1], rows, np.zeros((len(rows), 1), np.float32))
        parts.append(_run([config], task, start, count, [0], stop_early=False).outputs[0])
    return np.concatenate(parts).T


def _run(
    configs: Sequence[Config],
    task: Task,
    start: NDArray[np.float32],
    count: int,
    epochs: list[int],
    *,
    threads: int = 1,
    stop_early: bool,
    flush: bool = True,
    weights: NDArray[np.float32] | None = None,
) -> _KernelRecord:
    """Train the networks that begin with the first `count` columns of `start`, under each config.

    Args:
        configs: what to train; they differ in lr and momentum only.
        task: what to learn.
        start: float32, shape (P, S), S a multiple of 16.
        count: seeds, at most S.
        epochs: those to record, ascending.
        threads: see `train_pool`, also for `stop_early` and `flush`.
        stop_early: see `train_pool`.
        flush: see `train_pool`.
        weights: float32, shape (P, S): receives the weights after the last epoch.
    """
    stops = np.array(epochs, dtype=np.int64)
    rows = _rows_of(task)
    config, schedules = configs[0], [schedule_of(config, flush=flush) for config in configs]
    numbers = np.stack([schedule.numbers for schedule in schedules])
    changes = np.flatnonzero((numbers != numbers[:, :1]).any(axis=(0, 1)))
    state_start = np.array([schedule.state_start for schedule in schedules], np.float32)
    schedule = schedules[0]
    each = len(stops), len(configs) * count
    record = _KernelRecord(
        outputs=np.empty((each[0], task.judged_targets.shape[0], each[1]), np.float32),
        final=np.empty(each, np.float32),
        last=np.empty(each, np.int32),
        finite=np.empty(each, np.bool_),
    )
    kernel = compiled(training.train)

    groups = _groups(config.hidden_dim, task.dim, rows.quads)

    def train_share(first: int, width: int) -> None:
        most = min(groups * LANES, width)
        work = _scratch(config.hidden_dim, task.dim, rows.quads, most)
        state = np.empty((4 * len(start) + 1, width), np.float32)
        kernel(
            *(work, state, start, count, first, most, config.hidden_dim),
            *(rows.inputs, rows.counts, task.inputs.shape[0], rows.judged, float(task.rows_needed)),
            *(ACTIVATIONS[config.activation], LOSSES[config.loss], schedule.rule, config.zero_grad),
            *(numbers, 1 + int(changes.max(initial=-1)), state_start, schedule.quiet),
            *(stops, stop_early, flush, np.float32(schedule.scale), np.float32(schedule.tiny)),
            *(record.outputs, record.final, record.last, record.finite),
        )
        if weights is not None:
            weights[:, first : first + width] = state[: len(weights)]

    lanes = -(-len(configs) * count // LANES)
    # A thread costs a tenth of a millisecond: little work is done sooner by one.
    threads = threads if lanes * LANES * config.epochs >= WORTH_THREADS else 1
    shares = _blocks(lanes, max(groups, min(CACHED_SEEDS // LANES, -(-lanes // threads))))
    if threads > 1 and len(shares) > 1:
        with ThreadPoolExecutor(min(threads, len(shares))) as pool:
            list(pool.map(train_share, *zip(*shares, strict=True)))
    else:
        for first, width in shares:
            train_share(first, width)
    return record


@dataclass(frozen=True)
class _KernelRecord:
    """What the kernel records: C checkpoints, M judged rows, S seeds of all trainings.

    Attributes:
        outputs: float32, shape (C, M, S).
        final: float32, shape (C, S): loss of the rows trained on.
        last: int32, shape (C, S): the last epoch at which the seed was not solved.
        finite: bool, shape (C, S): every weight and judged output is finite.
    """

    outputs: NDArray[np.float32]
    final: NDArray[np.float32]
    last: NDArray[np.int32]
    finite: NDArray[np.bool_]

    def outcomes(self, stops: list[int], task: Task, seeds: NDArray[np.int64]) -> list[Outcome]:
        """The outcome of each training, with the earlier checkpoints in it."""
        predictions = (self.outputs > 0.5).transpose(0, 2, 1)
        status = status_of(task, predictions, self.finite)
        arrays = {
            "status": status,
            "solved_epoch": np.where(status == Status.SOLVED, self.last + np.int32(1), np.int32(0)),
            "final_loss": self.final,
            "predictions": np.ascontiguousarray(predictions),
        }
        own, count, last = {"seeds": checked_seeds(seeds)}, len(seeds), []
        for first in range(0, status.shape[1], count):
            outcomes: tuple[Outcome, ...] = ()
            for index, epochs in enumerate(stops):
                own |= {name: whole[index, first : first + count] for name, whole in arrays.items()}
                checkpoints = outcomes if index == len(stops) - 1 else ()
                outcomes = (*outcomes, Outcome.unchecked(own, epochs, checkpoints))
            last.append(outcomes[-1])
        return last


@dataclass(frozen=True)
class _TaskRows:
    """The rows of a task in the kernel's form, by fours: see `kernels.training.train`."""

    quads: int
    judged: int
    inputs: NDArray[np.float32]
    counts: NDArray[np.float32]


@functools.lru_cache(maxsize=4)  # a search has one task
def _rows_of(task: Task) -> _TaskRows:
    trained, inputs, targets = task.inputs.shape[0], task.inputs, task.targets[:, 0]
    judged = 0
    if task.held_out_inputs is not None:
        judged = trained
        inputs = np.concatenate([inputs, task.held_out_inputs])
        targets = np.concatenate([targets, task.judged_targets[:, 0]])
    count = inputs.shape[0]
    quads = -(-count // 4)
    # The last four are filled up with the first row: such rows count nowhere, and become NaN only
    # when the first one does (0 times NaN is not 0).
    values = np.repeat(inputs[:1], 4 * quads, axis=0)
    values[:count] = inputs
    counts = np.zeros((4 * quads, 4), np.float32)
    counts[:count, 0] = targets
    counts[:trained, 1] = np.float32(1) / np.float32(trained)
    # An output is right above 0.5 for a 1, else up to 0.5: below the next float after it.
    ones = targets[judged:] > 0.5
    counts[judged:count, 2] = np.where(ones, 1, -1)
    counts[judged:count, 3] = np.where(ones, np.float32(-0.5), np.nextafter(np.float32(0.5), 1))
    return _TaskRows(
        quads,
        judged,
        np.ascontiguousarray(values.reshape(quads, 4, -1).transpose(0, 2, 1)).ravel(),
        np.ascontiguousarray(counts.reshape(quads, 4, 4).transpose(0, 2, 1)).ravel(),
    )


def _padded(seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.pad(seeds, (0, -len(seeds) % LANES), mode="edge")


def _scratch(hidden: int, dim: int, quads: int, width: int) -> NDArray[np.float32]:
    size = work_size(width, hidden, dim, quads)
    memory = np.empty(size + LANES, np.float32)
    # A vector that lies across two cache lines costs two accesses.
    aligned = -memory.ctypes.data % 64 // 4
    return memory[aligned : aligned + size]


def _groups(hidden: int, dim: int, quads: int) -> int:
    """The size of a block in groups of 16 seeds, so that the memory of an epoch fits into L1."""
    return max(1, min(MAX_GROUPS, CACHED_BYTES // (4 * work_size(LANES, hidden, dim, quads))))


def _blocks(groups: int, most: int) -> list[tuple[int, int]]:
    """(first lane, width) of each block; their sizes differ by 16 seeds at most."""
    count = -(-groups // most)
    ends = [groups * (i + 1) // count * LANES for i in range(count)]
    return [(first, end - first) for first, end in zip([0, *ends], ends, strict=False)]
