"""The fused engine: all epochs of a block of seeds in one compiled call, on the CPU.

It computes what the reference engine computes, seed by seed, in float32: the same initial weights
bit for bit, the same loss, the same step. What differs is the last bit of an exponential or of a
sum, and so, after many epochs of a chaotic training, now and then a verdict. A seed's outcome
depends, to the last bit, neither on the seeds beside it nor on how many cores share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.config import Config
from xortune.engine.initial import start_of
from xortune.engine.kernels import training
from xortune.engine.kernels.block import work_size
from xortune.engine.kernels.cache import compiled
from xortune.engine.kernels.simd import LANES
from xortune.engine.schedule import schedule_of
from xortune.outcome import Outcome, Status, status_of
from xortune.task import Task

__all__ = [
    "final_weights",
    "flushes",
    "outputs_of",
    "train",
    "uncovered",
]

MAX_ROWS, MAX_DIM, MAX_HIDDEN = 64, 8, 64
MAX_EPOCHS = 2**24  # an epoch's number is kept as a float32
MAX_NUMBER = 1e30  # of lr and momentum, which are rounded to float32

CACHED_BYTES = 32_000
"""What a block of seeds may take of a core's first-level cache."""

MAX_GROUPS = 4

WORTH_THREADS = 2**20
"""Epochs of single seeds, about 10 ms of work, from which on several cores share it."""

ACTIVATIONS = {
    None: 0,
    "CELU": 1,  # with torch's default alpha it is ELU
    "ELU": 1,
    "GELU": 2,
    "Hardshrink": 3,
    "Hardsigmoid": 4,
    "Hardswish": 5,
    "Hardtanh": 6,
    "LeakyReLU": 7,
    "LogSigmoid": 8,
    "Mish": 9,
    "ReLU": 10,
    "ReLU6": 11,
    "SELU": 12,
    "SiLU": 13,
    "Sigmoid": 14,
    "Softplus": 15,
    "Softshrink": 16,
    "Softsign": 17,
    "Tanh": 18,
    "Tanhshrink": 19,
    "Softmax": 20,
    "Softmin": 21,
    "LogSoftmax": 22,
}
"""The kernel's number of each activation."""

LOSSES = {
    "BCELoss": 0,
    "BCEWithLogitsLoss": 1,
    "HingeEmbeddingLoss": 2,
    "KLDivLoss": 3,
    "L1Loss": 4,
    "MSELoss": 5,
    "MultiLabelSoftMarginLoss": 1,  # of one output it is the same
    "PoissonNLLLoss": 6,
    "SmoothL1Loss": 7,
    "SoftMarginLoss": 8,
}
"""The kernel's number of each loss."""


def uncovered(config: Config, task: Task) -> str | None:
    """Why this engine does not train the config; None if it does."""
    limits = (
        ("rows", max(task.inputs.shape[0], task.judged_inputs.shape[0]), MAX_ROWS),
        ("inputs", task.dim, MAX_DIM),
        ("hidden_dim", config.hidden_dim, MAX_HIDDEN),
        ("epochs", config.epochs, MAX_EPOCHS),
        ("lr", config.lr, MAX_NUMBER),
        ("momentum", config.momentum, MAX_NUMBER),
    )
    for name, value, most in limits:
        if value > most:
            return f"{name} {value:,} is above {most:,}"
    return None


def flushes(config: Config) -> bool:
    """Whether subnormal numbers are flushed to zero while the config trains.

    The averages of Adam and its like decay into subnormals once a gradient has vanished, and each
    operation on one takes some 150 cycles on an Intel processor. Rprop alone needs them: it steps
    by the sign of the smallest gradient.
    """
    return config.optimizer != "Rprop"


def train(
    config: Config,
    task: Task,
    seeds: NDArray[np.int64],
    checkpoints: Sequence[int] = (),
    *,
    threads: int = 1,
    stop_early: bool = True,
) -> Outcome:
    """Train every seed for `config.epochs` epochs.

    Args:
        config: what to train; `uncovered` says None of it.
        task: what to learn.
        seeds: int64, shape (S,), each in [0, 2**32) and once.
        checkpoints: earlier epochs at which to record an outcome too, ascending.
        threads: how many cores may share the seeds.
        stop_early: leave a block of seeds when nothing that is recorded can change any more; the
            outcome is the same either way.
    """
    stops = sorted({*checkpoints, config.epochs})
    record = _recorded(config, task, seeds, stops, threads=threads, stop_early=stop_early)
    return record.outcome(stops, task, seeds)


def final_weights(config: Config, task: Task, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """The weights after the last epoch.

    Args:
        config: what to train; `uncovered` says None of it.
        task: what to learn.
        seeds: int64, shape (S,), each in [0, 2**32) and once.

    Returns:
        float32, shape (P, S), P = H * D + 2 * H + 1: as `initial.initial_weights` orders them.
    """
    start = start_of(task.dim, config.hidden_dim, _padded(seeds))
    weights = np.empty_like(start)
    # What cannot change any more is all outputs, not yet all weights.
    _run(config, task, start, len(seeds), [config.epochs], stop_early=False, weights=weights)
    return weights[:, : len(seeds)]


def outputs_of(
    config: Config, weights: NDArray[np.float32], inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What networks make of any inputs.

    Args:
        config: whose structure they have.
        weights: float32, shape (P, S), as from `final_weights`.
        inputs: float32, shape (N, D).

    Returns:
        float32, shape (S, N): outputs in [0, 1].
    """
    count = weights.shape[1]
    start = np.concatenate([weights, np.repeat(weights[:, -1:], -count % LANES, axis=1)], axis=1)
    start, unused = np.ascontiguousarray(start), np.zeros((2, inputs.shape[1]), np.float32)
    parts = []
    for first in range(0, len(inputs), MAX_ROWS):
        rows = inputs[first : first + MAX_ROWS]
        # The training's own forward pass, before its first step, with the rows as judged ones.
        task = Task("rows", unused, unused[:, :1], rows, np.zeros((len(rows), 1), np.float32))
        parts.append(_run(config, task, start, count, [0], stop_early=False).outputs[0])
    return np.concatenate(parts).T


def _recorded(
    config: Config,
    task: Task,
    seeds: NDArray[np.int64],
    epochs: list[int],
    *,
    threads: int,
    stop_early: bool,
) -> _Record:
    start = start_of(task.dim, config.hidden_dim, _padded(seeds))
    return _run(config, task, start, len(seeds), epochs, threads=threads, stop_early=stop_early)


def _run(
    config: Config,
    task: Task,
    start: NDArray[np.float32],
    count: int,
    epochs: list[int],
    *,
    threads: int = 1,
    stop_early: bool,
    weights: NDArray[np.float32] | None = None,
) -> _Record:
    """Train the networks that begin with `start`, of which the first `count` are recorded.

    Args:
        config: what to train.
        task: what to learn.
        start: float32, shape (P, S), S a multiple of 16.
        count: seeds, at most S.
        epochs: the ones to record, ascending.
        threads: see `train`.
        stop_early: see `train`.
        weights: float32, shape (P, S), to fill with those after the last epoch.
    """
    stops = np.array(epochs, dtype=np.int64)
    rows = _rows_of(task)
    schedule = schedule_of(config)
    record = _Record.empty(len(stops), task.judged_targets.shape[0], count)
    kernel = compiled(training.train)

    def train_block(first: int, width: int) -> None:
        work = _scratch(config.hidden_dim, task.dim, rows.quads, width)
        kernel(
            work,
            start,
            first,
            width,
            config.hidden_dim,
            rows.inputs,
            rows.counts,
            task.inputs.shape[0],
            rows.judged,
            float(task.rows_needed),
            ACTIVATIONS[config.activation],
            LOSSES[config.loss],
            schedule.rule,
            config.zero_grad,
            schedule.numbers,
            schedule.state_start,
            schedule.quiet,
            stops,
            stop_early,
            flushes(config),
            record.outputs,
            record.final,
            record.last,
            record.finite,
        )
        if weights is not None:  # they lie first in the block
            own = work[: len(weights) * width].reshape(-1, width)
            weights[:, first : first + width] = own

    blocks = _blocks(start.shape[1] // LANES, _groups(config.hidden_dim, task.dim, rows.quads))
    # A thread costs a tenth of a millisecond: little work is done sooner by one.
    if threads > 1 and len(blocks) > 1 and count * config.epochs >= WORTH_THREADS:
        with ThreadPoolExecutor(min(threads, len(blocks))) as pool:
            list(pool.map(train_block, *zip(*blocks, strict=True)))
    else:
        for first, width in blocks:
            train_block(first, width)
    return record


@dataclass(frozen=True)
class _Record:
    """What the kernel fills; C checkpoints, M judged rows, S seeds.

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

    @classmethod
    def empty(cls, checkpoints: int, rows: int, seeds: int) -> _Record:
        return cls(
            np.empty((checkpoints, rows, seeds), np.float32),
            np.empty((checkpoints, seeds), np.float32),
            np.empty((checkpoints, seeds), np.int32),
            np.empty((checkpoints, seeds), np.bool_),
        )

    def outcome(self, stops: list[int], task: Task, seeds: NDArray[np.int64]) -> Outcome:
        """The last checkpoint's outcome, with the others in it."""
        predictions = np.ascontiguousarray((self.outputs > 0.5).transpose(0, 2, 1))
        status = status_of(task, predictions, self.finite)
        solved_epoch = np.where(status == Status.SOLVED, self.last + np.int32(1), np.int32(0))
        outcomes: tuple[Outcome, ...] = ()
        for index, epochs in enumerate(stops):
            outcome = Outcome(
                seeds,
                epochs,
                status[index],
                solved_epoch[index],
                self.final[index],
                predictions[index],
                outcomes if index == len(stops) - 1 else (),
            )
            outcomes = (*outcomes, outcome)
        return outcomes[-1]


@dataclass(frozen=True)
class _Rows:
    """The task as the kernel wants it: rows by fours; see `kernels.training.train`."""

    quads: int
    judged: int
    inputs: NDArray[np.float32]
    counts: NDArray[np.float32]


def _rows_of(task: Task) -> _Rows:
    trained, inputs, targets = task.inputs.shape[0], task.inputs, task.targets[:, 0]
    judged = 0
    if task.held_out_inputs is not None:
        judged = trained
        inputs = np.concatenate([inputs, task.held_out_inputs])
        targets = np.concatenate([targets, task.judged_targets[:, 0]])
    count = inputs.shape[0]
    quads = -(-count // 4)
    # Rows that fill up the last four are the first one again: they count nowhere, and turn into NaN
    # only when that one does (0 times NaN is no 0).
    values = np.repeat(inputs[:1], 4 * quads, axis=0)
    values[:count] = inputs
    counts = np.zeros((4 * quads, 4), np.float32)
    counts[:count, 0] = targets
    counts[:trained, 1] = np.float32(1) / np.float32(trained)
    # Above 0.5 for a 1, else not above it: what follows 0.5 is the least that is.
    ones = targets[judged:] > 0.5
    counts[judged:count, 2] = np.where(ones, 1, -1)
    counts[judged:count, 3] = np.where(ones, np.float32(-0.5), np.nextafter(np.float32(0.5), 1))
    return _Rows(
        quads,
        judged,
        np.ascontiguousarray(values.reshape(quads, 4, -1).transpose(0, 2, 1)).ravel(),
        np.ascontiguousarray(counts.reshape(quads, 4, 4).transpose(0, 2, 1)).ravel(),
    )


def _padded(seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([seeds, np.full(-len(seeds) % LANES, seeds[-1])])


def _scratch(hidden: int, dim: int, quads: int, width: int) -> NDArray[np.float32]:
    size = work_size(width, hidden, dim, quads)
    memory = np.empty(size + LANES, np.float32)
    # A vector that lies across two cache lines costs two accesses.
    aligned = -memory.ctypes.data % 64 // 4
    return memory[aligned : aligned + size]


def _groups(hidden: int, dim: int, quads: int) -> int:
    """How many times 16 seeds a block takes, for all that an epoch touches to stay in L1."""
    return max(1, min(MAX_GROUPS, CACHED_BYTES // (4 * work_size(LANES, hidden, dim, quads))))


def _blocks(groups: int, most: int) -> list[tuple[int, int]]:
    """(first lane, width) of each block; their sizes differ by 16 seeds at most."""
    count = -(-groups // most)
    ends = [groups * (i + 1) // count * LANES for i in range(count)]
    return [(first, end - first) for first, end in zip([0, *ends], ends, strict=False)]
