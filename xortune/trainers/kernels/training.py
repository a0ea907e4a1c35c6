"""The whole training of a block of seeds in one call: memory, choices of functions, epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xortune.trainers.kernels import activations, losses, optimizers
from xortune.trainers.kernels.functions import INLINE, sigmoid
from xortune.trainers.kernels.passes import (
    PASS,
    backward,
    forward_of,
    forward_softmax,
    loss_of,
    step_of,
)
from xortune.trainers.kernels.simd import (
    FLUSH_SUBNORMALS,
    LANES,
    absolute,
    any_lane,
    control_word,
    fold,
    lane_of,
    load,
    load_quad,
    select,
    set_control_word,
    splat,
    store,
)

# -------------------------------------------------------------------------------------------------
# A block of seeds in memory: what a pass of the training reads and writes, and where it lies.


class BlockMemory(NamedTuple):
    """Some seeds that train side by side, a multiple of 16.

    A row holds one float32 of each seed. All rows lie one after another in `work`, which is small
    enough for the first-level cache; the other attributes say where.

    Attributes:
        work: float32, flat.
        width: seeds, and so the length of a row.
        hidden: H, units of the hidden layer.
        dim: D, inputs of a sample.
        quads: samples, by fours.
        size: numbers in all weights, P x width with P = H * D + 2 * H + 1; the weights themselves
            are the first ones in `work`, in torch's order.
        gradient: start of the gradient, as large as the weights.
        summed: start of the sum of all gradients, for a training that never sets them to zero.
        state: start of the optimizer's two states, each as large as the weights.
        ys: start of the outputs of the hidden units: for each four samples and each unit, 16 seeds
            by 16 seeds, the four samples' values one after another.
        slopes: start of dz/da, how the sum z before the sigmoid follows a hidden unit's input a;
            ordered as `ys`.
        sums: start of z, for each four samples in the same order.
        deltas: start of dL/dz, ordered as `sums`.
        unsolved: start of a row: the last epoch at which the seed was not solved.
        numbers: start of three rows: what the optimizer takes this epoch.
    """

    work: NDArray[np.float32]
    width: int
    hidden: int
    dim: int
    quads: int
    size: int
    gradient: int
    summed: int
    state: int
    ys: int
    slopes: int
    sums: int
    deltas: int
    unsolved: int
    numbers: int


@njit(**INLINE)
def block_of(work, width, hidden, dim, quads):
    """The layout of a block in `work`, which has room for `work_size` numbers."""
    size = (hidden * (dim + 2) + 1) * width
    ys = 5 * size
    slopes = ys + 4 * quads * hidden * width
    sums = slopes + 4 * quads * hidden * width
    deltas = sums + 4 * quads * width
    unsolved = deltas + 4 * quads * width
    return BlockMemory(
        work,
        width,
        hidden,
        dim,
        quads,
        size,
        size,
        2 * size,
        3 * size,
        ys,
        slopes,
        sums,
        deltas,
        unsolved,
        unsolved + width,
    )


def work_size(width: int, hidden: int, dim: int, quads: int) -> int:
    """How many numbers a block takes."""
    return (5 * (hidden * (dim + 2) + 1) + 8 * quads * (hidden + 1) + 4) * width


# -------------------------------------------------------------------------------------------------
# Which activation, loss and optimizer a pass computes with: by number, outside its loops.

_ACTIVATIONS = {
    None: activations.identity,
    "ELU": activations.elu,
    "GELU": activations.gelu,
    "Hardshrink": activations.hardshrink,
    "Hardsigmoid": activations.hardsigmoid,
    "Hardswish": activations.hardswish,
    "Hardtanh": activations.hardtanh,
    "LeakyReLU": activations.leaky_relu,
    "LogSigmoid": activations.log_sigmoid,
    "Mish": activations.mish,
    "ReLU": activations.relu,
    "ReLU6": activations.relu6,
    "SELU": activations.selu,
    "SiLU": activations.silu,
    "Sigmoid": activations.logistic,
    "Softplus": activations.softplus_20,
    "Softshrink": activations.softshrink,
    "Softsign": activations.softsign,
    "Tanh": activations.hyperbolic,
    "Tanhshrink": activations.tanhshrink,
}
SOFTMAX = len(_ACTIVATIONS)
ACTIVATIONS = {
    **{name: number for number, name in enumerate(_ACTIVATIONS)},
    "CELU": 1,  # with torch's default alpha it is ELU
    "Softmax": SOFTMAX,
    "Softmin": SOFTMAX + 1,
    "LogSoftmax": SOFTMAX + 2,
}
"""The number of each activation."""

_LOSSES = {
    "BCELoss": losses.bce,
    "BCEWithLogitsLoss": losses.bce_with_logits,
    "HingeEmbeddingLoss": losses.hinge_embedding,
    "KLDivLoss": losses.kl_div,
    "L1Loss": losses.l1,
    "MSELoss": losses.mse,
    "PoissonNLLLoss": losses.poisson_nll,
    "SmoothL1Loss": losses.smooth_l1,
    "SoftMarginLoss": losses.soft_margin,
}
LOSSES = {
    **{name: number for number, name in enumerate(_LOSSES)},
    "MultiLabelSoftMarginLoss": 1,  # of one output it is BCEWithLogitsLoss
}
"""The number of each loss; `losses.value` knows them too."""

_STEPS = (
    step_of(optimizers.sgd, states=0),
    step_of(optimizers.sgd_momentum, states=1),
    step_of(optimizers.adadelta, states=2),
    step_of(optimizers.adagrad, states=1),
    step_of(optimizers.adam, states=2),
    step_of(optimizers.adamax, states=2),
    step_of(optimizers.asgd, states=0),
    step_of(optimizers.nadam, states=2),
    step_of(optimizers.radam, states=2),
    step_of(optimizers.rmsprop, states=1),
    step_of(optimizers.rmsprop_momentum, states=2),
    step_of(optimizers.rprop, states=2),
)
"""By the rule of `fused.Schedule`."""


def _one_of(passes: Sequence[Any], arguments: str) -> Any:
    """A pass that is the one of a number, its first argument: written out, as Numba needs it."""
    lines = [f"def choose(number, {arguments}):"]
    for number in range(len(passes)):
        lines += [
            f"    {'elif' if number else 'if'} number == {number}:",
            f"        pass_{number}({arguments})",
        ]
    names = {f"pass_{number}": one for number, one in enumerate(passes)}
    exec("\n".join(lines), names)  # noqa: S102  # nothing in it is anybody's but ours
    return njit(**INLINE)(names["choose"])


forward = _one_of([forward_of(one) for one in _ACTIVATIONS.values()], "block, inputs")
loss_pass = _one_of([loss_of(one) for one in _LOSSES.values()], "block, rows, needed, epoch, scale")
step = _one_of(_STEPS, "block, used")


# -------------------------------------------------------------------------------------------------
# The whole training of a block of seeds in one call.

CHECK_EVERY = 16
"""Epochs between two looks at which seeds can still change."""

FIRST_ROUND, LONGEST_ROUND = 64, 1024
"""Epochs, multiples of `CHECK_EVERY`: the first round, each of the next twice as long up to the
other. What rests leaves at its end."""

GRADIENT, FIRST_STATE, SECOND_STATE = 1, 2, 3
"""What has to be zero for an optimizer to leave the weights alone from then on: the gradient, or
that and one of the states."""


@njit(**PASS)
def _accumulate(block):
    work = block.work
    for i in range(0, block.size, LANES):
        total = load(work, block.summed + i) + load(work, block.gradient + i)
        store(work, block.summed + i, total)


@njit(**PASS)
def _set_numbers(block, schedule, row, owners, parts):
    """The first numbers that the optimizer takes this epoch, for each lane of its training."""
    work, width = block.work, block.width
    for part in range(parts):
        for g in range(0, width, LANES):
            place, owner = block.numbers + part * width + g, owners[g]
            store(work, place, splat(schedule[owner, row, part]))
            if owner != owners[g + LANES - 1]:
                for i in range(LANES):
                    work[place + i] = schedule[owners[g + i], row, part]


@njit(**PASS)
def _moving(work, start, width, rows, tiny, moves):
    """1 where some of the rows is not zero in a lane, else what `moves` says of it."""
    for i in range(start, start + rows * width, width):
        if not any_lane(moves <= 0.0):
            break
        moves = select(absolute(load(work, i)) <= tiny, moves, 1.0)
    return moves


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)
def _rest(block, used, quiet, tiny, lanes, count, resting):
    """Which lanes cannot change any more, or are no seed's; how many others there are."""
    work, width, rows = block.work, block.width, block.size // block.width
    for g in range(0, width, LANES):
        moves = splat(1.0)
        if quiet > 0:
            moves = _moving(work, block.gradient + g, width, rows, tiny, splat(0.0))
            moves = _moving(work, used + g, width, rows, tiny, moves)  # a sum may be 0 by chance
            if quiet > GRADIENT:
                state = block.state + (quiet - 2) * block.size
                moves = _moving(work, state + g, width, rows, tiny, moves)
        # An output that is NaN makes every gradient NaN, and so every later output.
        numeric = splat(0.0)
        for n in range(block.quads):
            z = load_quad(work, block.sums + 4 * (n * width + g))
            numeric = numeric + fold(select(z <= 0.0, 1.0, select(z > 0.0, 1.0, 0.0)))
        store(resting, g, select(numeric > 0.0, 1.0 - moves, 1.0))
    others = 0
    for i in range(width):
        if lanes[i] >= count:
            resting[i] = 1.0
        others += resting[i] == 0.0
    return others


@njit(**PASS)
def _exchange(block, state, column, i, loads):
    """Copy what is kept of a seed to a lane of the block, or from there."""
    work, width, rows = block.work, block.width, block.size // block.width
    for row in range(4 * rows + 1):
        at = (row if row < rows else row + rows) * width + i  # without the gradient
        if row == 4 * rows:
            at = block.unsolved + i
        if loads:
            work[at] = state[row, column]
        else:
            state[row, column] = work[at]


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)
def _record(
    block, loss, rows, trained, judged, lanes, resting, every, outputs, final, last, finite
):
    """What a checkpoint keeps of every seed of the block, or of those that rest."""
    work, width = block.work, block.width
    for i in range(width):
        seed = lanes[i]
        if seed >= final.shape[0] or not (every or resting[i] != 0.0):
            continue
        total = np.float32(0.0)
        fine = True
        for n in range(judged + outputs.shape[0]):
            at = 4 * (n // 4 * width + i // LANES * LANES) + n % 4 * LANES + i % LANES
            p = lane_of(sigmoid(splat(work[block.sums + at])))
            if n >= judged:
                outputs[n - judged, seed] = p
                fine = fine and math.isfinite(p)
            if n < trained:
                total += np.float32(losses.value(loss, p, rows[n // 4 * 16 + n % 4]))
        for j in range(i, block.size, width):
            fine = fine and math.isfinite(work[j])
        total = total / np.float32(trained)
        final[seed] = np.float32(math.nan) if math.isnan(total) else total  # of one sign
        finite[seed] = fine
        last[seed] = np.int32(work[block.unsolved + i])


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)
def _epochs(
    block,
    inputs,
    rows,
    trained,
    judged,
    needed,
    activation,
    loss,
    optimizer,
    zero_grad,
    schedule,
    changing,
    quiet,
    stops,
    stop_early,
    scale,
    tiny,
    lanes,
    owners,
    resting,
    epoch,
    until,
    stop,
    outputs,
    final,
    last,
    finite,
):
    """Train a block from an epoch on, until all is recorded or the last epoch of a round is over.

    What rests then, by `resting`, is recorded at all checkpoints to come.
    """
    width, first = block.width, epoch
    used = block.gradient if zero_grad else block.summed
    while True:
        if activation < SOFTMAX:
            forward(activation, block, inputs)
        else:
            forward_softmax(block, inputs, activation - SOFTMAX)
        loss_pass(loss, block, rows, needed, np.float32(epoch), scale)
        moving = width
        if epoch < stops[-1]:
            backward(block, inputs)
            if not zero_grad:
                _accumulate(block)
            if stop_early and epoch % CHECK_EVERY == 0:
                moving = _rest(block, used, quiet, tiny, lanes, final.shape[1], resting)
        reached = stop + (epoch == stops[stop])
        # What rests is as it will be at every later checkpoint.
        leaves = moving == 0 or (epoch == until and moving < width)
        for at in range(stop, stops.shape[0] if leaves else reached):
            _record(
                block,
                loss,
                rows,
                trained,
                judged,
                lanes,
                resting,
                at < reached,
                outputs[at],
                final[at],
                last[at],
                finite[at],
            )
        stop = reached
        if moving == 0 or stop == stops.shape[0]:
            break
        if epoch == first or epoch < schedule.shape[1]:
            row = min(epoch, schedule.shape[1] - 1)
            _set_numbers(block, schedule, row, owners, 3 if epoch == first else changing)
        step(optimizer, block, used)
        epoch += 1
        if epoch > until:
            break


@njit(nogil=True, error_model="numpy")
def train(
    work,
    state,
    start,
    seeds,
    first,
    most,
    hidden,
    inputs,
    rows,
    trained,
    judged,
    needed,
    activation,
    loss,
    optimizer,
    zero_grad,
    schedule,
    changing,
    state_start,
    quiet,
    stops,
    stop_early,
    flush,
    scale,
    tiny,
    outputs,
    final,
    last,
    finite,
):
    """Train W seeds, of T trainings of S seeds one after the other, from the seed `first` on.

    It goes round by round: in each all blocks train some epochs, and what rests then is no more in
    those of the next.

    Args:
        work: float32, of `work_size(most, ...)` numbers: scratch.
        state: float32, shape (4 P + 1, W): scratch; in the end its first P rows are the weights.
        start: float32, shape (P, S or more): initial weights.
        seeds: S.
        first: which of T * S is the first; beyond their end nothing is trained.
        most: how many seeds are a block, a multiple of 16.
        hidden: H.
        inputs: float32, flat: for each four rows and each input dimension the four values.
        rows: float32, flat: for each four rows their targets, the factors of their gradient (1 / N,
            0 where not trained), and a and b of each: it is right where a * output + b is above 0.
        trained: rows trained on, the first ones.
        judged: the first judged row; `outputs` says how many follow.
        needed: judged rows that must be right.
        activation: its number in `ACTIVATIONS`.
        loss: its number in `LOSSES`.
        optimizer: its number in `_STEPS`.
        zero_grad: False adds up the gradients of all steps.
        schedule: float32, shape (T, E, 3): the optimizers' numbers of the first E epochs; the last
            ones hold for all that follow.
        changing: how many of these numbers change from epoch to epoch, the first ones.
        state_start: float32, shape (T,): the second state before the first step.
        quiet: what must be zero for the weights to stay; 0 if they never do.
        stops: int64, shape (C,), ascending: the epochs to record, the last one included.
        stop_early: leave when nothing that is recorded can change any more.
        flush: compute with 0 in place of subnormal numbers (below 1.2e-38 in size); the calling
            thread's own arithmetic is as before afterwards.
        scale: what gradients are multiplied by; 1 but for Rprop (`fused.schedule_of`).
        tiny: the size up to which a scaled gradient counts as zero.
        outputs: float32, shape (C, M, T * S), to fill: outputs of the judged rows.
        final: float32, shape (C, T * S), to fill: losses.
        last: int32, shape (C, T * S), to fill: the last epoch at which the seed was not solved.
        finite: bool, shape (C, T * S), to fill: whether all weights and outputs are finite.
    """
    before = control_word()
    if flush:
        set_control_word(before | FLUSH_SUBNORMALS)
    quads = rows.shape[0] // 16
    dim = inputs.shape[0] // (4 * quads)
    count, total = state.shape[1], schedule.shape[0] * seeds
    size = start.shape[0]
    owner_of = np.minimum(np.arange(first, first + count), total - 1) // seeds
    for i in range(count):
        seed = min(first + i - owner_of[i] * seeds, seeds - 1)
        for j in range(size):
            state[j, i] = start[j, seed]
            state[size + j, i] = 0.0
            state[2 * size + j, i] = 0.0
            state[3 * size + j, i] = state_start[owner_of[i]]
        state[4 * size, i] = 0.0
    lanes, owners = np.empty(most, np.int64), np.empty(most, np.int64)
    resting = np.empty(most, np.float32)
    left = np.arange(min(count, total - first))  # seeds that do not rest, by their column
    epoch, stop, until = 0, 0, FIRST_ROUND if stop_early else stops[-1]
    while stop < stops.shape[0] and left.shape[0] > 0:
        kept = 0
        for begin in range(0, left.shape[0], most):
            own = left[begin : begin + most]
            width = -(-own.shape[0] // LANES) * LANES
            block = block_of(work, width, hidden, dim, quads)
            resting[:] = 0.0
            for i in range(width):
                column = own[min(i, own.shape[0] - 1)]
                lanes[i] = first + column if i < own.shape[0] else total
                owners[i] = owner_of[column]
                _exchange(block, state, column, i, True)
            _epochs(
                block,
                inputs,
                rows,
                trained,
                judged,
                needed,
                activation,
                loss,
                optimizer,
                zero_grad,
                schedule,
                changing,
                quiet,
                stops,
                stop_early,
                scale,
                tiny,
                lanes,
                owners,
                resting,
                epoch,
                until,
                stop,
                outputs,
                final,
                last,
                finite,
            )
            for i in range(own.shape[0]):
                column = own[i]
                _exchange(block, state, column, i, False)
                if resting[i] == 0.0:
                    left[kept] = column
                    kept += 1
        left = left[:kept]
        while stop < stops.shape[0] and stops[stop] <= until:
            stop += 1
        epoch, until = until + 1, min(2 * until, until + LONGEST_ROUND)
    set_control_word(before)
