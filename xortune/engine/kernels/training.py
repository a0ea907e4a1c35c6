"""The whole training of a block of seeds in one call."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from xortune.engine.kernels import choices, losses
from xortune.engine.kernels.block import block_of
from xortune.engine.kernels.functions import sigmoid
from xortune.engine.kernels.passes import PASS, backward
from xortune.engine.kernels.simd import (
    FLUSH_SUBNORMALS,
    LANES,
    any_lane,
    control_word,
    lane_of,
    load,
    set_control_word,
    splat,
    store,
)

__all__ = ["FIRST_STATE", "GRADIENT", "SECOND_STATE", "train"]

CHECK_EVERY = 16
"""Epochs between two looks at whether anything can still change."""

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
def _all_zero(work, start, size):
    zero = True
    for i in range(start, start + size, LANES):
        zero = zero and not any_lane(load(work, i) != 0.0)
        if not zero:
            break
    return zero


@njit(**PASS)
def _all_nan(work, start, size):
    nan = True
    for i in range(start, start + size, LANES):
        v = load(work, i)
        nan = nan and not any_lane(v <= 0.0) and not any_lane(v > 0.0)
        if not nan:
            break
    return nan


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)
def _record(block, loss, rows, trained, judged, lane, outputs, final, last, finite):
    """What a checkpoint keeps of every seed of the block; `train` says what it fills."""
    work, width = block.work, block.width
    for i in range(min(width, final.shape[0] - lane)):
        total = np.float32(0.0)
        fine = True
        for n in range(judged + outputs.shape[0]):
            at = 4 * (n // 4 * width + i // LANES * LANES) + n % 4 * LANES + i % LANES
            p = lane_of(sigmoid(splat(work[block.sums + at])))
            if n >= judged:
                outputs[n - judged, lane + i] = p
                fine = fine and math.isfinite(p)
            if n < trained:
                total += np.float32(losses.value(loss, p, rows[n // 4 * 16 + n % 4]))
        for j in range(i, block.size, width):
            fine = fine and math.isfinite(work[j])
        total = total / np.float32(trained)
        final[lane + i] = np.float32(math.nan) if math.isnan(total) else total  # of one sign
        finite[lane + i] = fine
        last[lane + i] = np.int32(work[block.unsolved + i])


@njit(nogil=True, error_model="numpy")
def train(
    work,
    start,
    first,
    width,
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
    state_start,
    quiet,
    stops,
    stop_early,
    flush,
    outputs,
    final,
    last,
    finite,
):
    """Train the seeds in lanes first to first + width of `start`.

    Args:
        work: float32, of `block.work_size` numbers: scratch.
        start: float32, shape (P, S), S a multiple of 16: initial weights.
        first: lane of the first seed.
        width: how many seeds, a multiple of 16.
        hidden: H.
        inputs: float32, flat: for each four rows and each input dimension the four values.
        rows: float32, flat: for each four rows their targets, the factors of their gradient (1 / N,
            0 where not trained), and a and b of each: it is right where a * output + b is above 0.
        trained: rows trained on, the first ones.
        judged: the first judged row; `outputs` says how many follow.
        needed: judged rows that must be right.
        activation: its number; see `kernels.choices`.
        loss: its number.
        optimizer: its number.
        zero_grad: False adds up the gradients of all steps.
        schedule: float32, shape (E, 3): the optimizer's numbers of the first E epochs; the last
            ones hold for all that follow.
        state_start: the second state before the first step.
        quiet: what must be zero for the weights to stay; 0 if they never do.
        stops: int64, shape (C,), ascending: the epochs to record, the last one included.
        stop_early: leave when nothing that is recorded can change any more.
        flush: compute with 0 in place of subnormal numbers (below 1.2e-38 in size); the calling
            thread's own arithmetic is as before afterwards.
        outputs: float32, shape (C, M, S), to fill: outputs of the judged rows.
        final: float32, shape (C, S), to fill: losses.
        last: int32, shape (C, S), to fill: the last epoch at which the seed was not solved.
        finite: bool, shape (C, S), to fill: whether all weights and outputs are finite.
    """
    before = control_word()
    if flush:
        set_control_word(before | FLUSH_SUBNORMALS)
    quads = rows.shape[0] // 16
    dim = inputs.shape[0] // (4 * quads)
    block = block_of(work, width, hidden, dim, quads)
    size, state = block.size, block.state
    used = block.gradient if zero_grad else block.summed
    for j in range(start.shape[0]):
        for i in range(width):
            work[j * width + i] = start[j, first + i]
    for i in range(size):
        work[block.summed + i] = 0.0
        work[state + i] = 0.0
        work[state + size + i] = state_start
    for i in range(width):
        work[block.unsolved + i] = 0.0
    stop, over = 0, False
    for epoch in range(stops[-1] + 1):
        choices.forward(block, inputs, activation)
        choices.loss_pass(block, rows, needed, np.float32(epoch), loss)
        look = stop_early and epoch % CHECK_EVERY == 0
        if look:
            # An output that is NaN makes every gradient NaN, and so every later output.
            over = _all_nan(work, block.sums, 4 * quads * width)
        if epoch < stops[-1] and not over:
            backward(block, inputs)
            if not zero_grad:
                _accumulate(block)
            still = look and quiet > 0 and _all_zero(work, block.gradient, size)
            if still and _all_zero(work, used, size):  # a sum may be 0 by chance
                over = quiet == GRADIENT or _all_zero(work, state + (quiet - 2) * size, size)
        while epoch == stops[stop] or over:
            _record(
                block,
                loss,
                rows,
                trained,
                judged,
                first,
                outputs[stop],
                final[stop],
                last[stop],
                finite[stop],
            )
            stop += 1
            if stop == stops.shape[0]:
                set_control_word(before)
                return
        row = min(epoch, schedule.shape[0] - 1)
        choices.step(block, used, schedule[row, 0], schedule[row, 1], schedule[row, 2], optimizer)
