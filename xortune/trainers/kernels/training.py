"""The training of a block of seeds: its memory, the passes of an epoch, and all epochs in one call.

An epoch has four passes: forward, loss, backward, step. Numba compiles each pass once for every
activation, loss or optimizer, so that the choice lies outside the loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xortune.trainers.kernels.formulas import (
    ACTIVATION_FORMULAS,
    INLINE,
    LOSS_FORMULAS,
    STEP_FORMULAS,
    at_least,
    exp_and_expm1,
    log,
    loss_value,
    sigmoid,
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
    product,
    quad,
    reciprocal,
    select,
    set_control_word,
    splat,
    spread,
    store,
)

PASS = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "forceinline": True}

SOFTMAX = len(ACTIVATION_FORMULAS)
SOFTMIN, LOG_SOFTMAX = SOFTMAX + 1, SOFTMAX + 2
ACTIVATIONS = {
    **{name: number for number, name in enumerate(ACTIVATION_FORMULAS)},
    "CELU": 1,  # with torch's default alpha it is ELU
    "Softmax": SOFTMAX,
    "Softmin": SOFTMIN,
    "LogSoftmax": LOG_SOFTMAX,
}
"""The number of each activation."""

LOSSES = {
    **{name: number for number, name in enumerate(LOSS_FORMULAS)},
    "MultiLabelSoftMarginLoss": 1,  # for one output it is BCEWithLogitsLoss
}
"""The number of each loss."""

# -------------------------------------------------------------------------------------------------
# The memory of a block.


class BlockMemory(NamedTuple):
    """Seeds that train side by side, a multiple of 16.

    A row holds one float32 of each seed. All rows lie one after another in `work`, which fits the
    first-level cache; the attributes from `gradient` on are places in it.

    Attributes:
        work: float32, flat.
        width: number of seeds, the length of a row.
        hidden: H, units of the hidden layer.
        dim: D, inputs of a sample.
        quads: number of groups of four samples.
        size: numbers in all weights, P * width with P = H * D + 2 * H + 1; the weights lie at the
            start of `work`, in torch's order.
        gradient: the gradient, of the size of the weights.
        summed: the sum of all gradients, for a training that never sets them to zero.
        state: the optimizer's two states, each of the size of the weights.
        ys: outputs of the hidden units, for each four samples and each unit: 16 seeds by 16 seeds,
            the values of the four samples one after another.
        slopes: dz/da, the derivative of z (the sum before the sigmoid) by a hidden unit's input a;
            ordered as `ys`.
        sums: z, for each four samples in the same order.
        deltas: dL/dz, ordered as `sums`.
        unsolved: a row: the last epoch at which the seed was not solved.
        numbers: three rows: the schedule's numbers for this epoch.
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
    """Lay out a block in `work`, which holds `work_size` numbers."""
    size = (hidden * (dim + 2) + 1) * width
    ys = 5 * size
    slopes = ys + 4 * quads * hidden * width
    sums = slopes + 4 * quads * hidden * width
    deltas = sums + 4 * quads * width
    unsolved = deltas + 4 * quads * width
    return BlockMemory(
        work, width, hidden, dim, quads, size, size, 2 * size, 3 * size,
        ys, slopes, sums, deltas, unsolved, unsolved + width,
    )  # fmt: skip


def work_size(width: int, hidden: int, dim: int, quads: int) -> int:
    """Return how many float32 numbers a block takes."""
    return (5 * (hidden * (dim + 2) + 1) + 8 * quads * (hidden + 1) + 4) * width


# -------------------------------------------------------------------------------------------------
# The passes.


def _forward_of(activation: Any) -> Any:
    """Make the forward pass for an activation that acts on each hidden unit alone."""

    @njit(**PASS)
    def forward(block, inputs):
        work, hidden, dim, width = block.work, block.hidden, block.dim, block.width
        across = hidden * width
        b1 = dim * across
        w2 = b1 + across
        b2 = w2 + across
        for n in range(block.quads):
            x = n * dim * 4
            for g in range(0, width, LANES):
                z = quad(load(work, b2 + g))
                place = 4 * (n * across + g)
                for row in range(g, across, width):
                    a = quad(load(work, b1 + row))
                    w1 = (row - g) * dim + g
                    if dim == 2:  # the usual case, without a loop
                        a = a + spread(inputs, x) * load(work, w1)
                        a = a + spread(inputs, x + 4) * load(work, w1 + width)
                    else:
                        for d in range(dim):
                            a = a + spread(inputs, x + 4 * d) * load(work, w1 + d * width)
                    y, slope = activation(a)
                    w = load(work, w2 + row)
                    store(work, block.ys + place, y)
                    store(work, block.slopes + place, slope * w)
                    # Round the product first, as torch does: two infinite products can give NaN.
                    z = z + product(y, w)
                    place += 4 * width
                store(work, block.sums + 4 * (n * width + g), z)

    return forward


@njit(**PASS)
def _forward_softmax(block, inputs, activation):
    """Run the forward pass with Softmax, Softmin or LogSoftmax over the hidden units."""
    work, hidden, dim, width = block.work, block.hidden, block.dim, block.width
    ys, slopes, across = block.ys, block.slopes, hidden * width
    b1 = dim * across
    w2 = b1 + across
    b2 = w2 + across
    sign = np.float32(-1.0) if activation == SOFTMIN else np.float32(1.0)
    for n in range(block.quads):
        for g in range(0, width, LANES):
            first = 4 * (n * across + g)
            largest = quad(-math.inf)
            for h in range(hidden):
                a = quad(load(work, b1 + h * width + g))
                for d in range(dim):
                    x = spread(inputs, (n * dim + d) * 4)
                    a = a + x * load(work, (h * dim + d) * width + g)
                a = a * sign
                largest = select(a > largest, a, largest)
                store(work, ys + first + 4 * h * width, a)
            total, weighted, weights = quad(0.0), quad(0.0), splat(0.0)
            for h in range(hidden):
                place = first + 4 * h * width
                a = load_quad(work, ys + place) - largest
                e = exp_and_expm1(at_least(a, -88.0))[0]
                w = load(work, w2 + h * width + g)
                store(work, ys + place, a)
                store(work, slopes + place, e)
                total = total + e
                weights = weights + w
                weighted = weighted + e * w
            inverse = reciprocal(total)
            mean = weighted * inverse
            log_total = log(total)
            z = quad(load(work, b2 + g))
            for h in range(hidden):
                place = first + 4 * h * width
                w = load(work, w2 + h * width + g)
                share = load_quad(work, slopes + place) * inverse
                if activation == LOG_SOFTMAX:
                    y = load_quad(work, ys + place) - log_total
                    slope = w - share * weights
                else:
                    y = share
                    slope = (share * sign) * (w - mean)
                store(work, ys + place, y)
                store(work, slopes + place, slope)
                z = z + product(y, w)
            store(work, block.sums + 4 * (n * width + g), z)


def _loss_of(formula: Any) -> Any:
    """Make the loss pass: dL/dz of every sample, its sum, and which seeds are not solved now."""

    @njit(**PASS)
    def loss_pass(block, rows, needed, epoch, scale):
        work, width = block.work, block.width
        d_b2 = block.gradient + block.size - width
        for g in range(0, width, LANES):
            right, total = quad(0.0), quad(0.0)
            for n in range(block.quads):
                place = 4 * (n * width + g)
                p = sigmoid(load_quad(work, block.sums + place))
                q = p * (1.0 - p) * scale
                delta = formula(p, q, spread(rows, n * 16), scale) * spread(rows, n * 16 + 4)
                store(work, block.deltas + place, delta)
                total = total + delta
                # Above 0 where p is on the right side of 0.5; NaN is on neither.
                side = p * spread(rows, n * 16 + 8) + spread(rows, n * 16 + 12)
                right = right + select(side > 0.0, 1.0, 0.0)
            store(work, d_b2 + g, fold(total))
            last = block.unsolved + g
            store(work, last, select(fold(right) >= needed, load(work, last), epoch))

    return loss_pass


@njit(**PASS)
def _backward(block, inputs):
    """Compute the gradient by every weight except the last bias, which the loss pass has summed."""
    work, hidden, dim, width = block.work, block.hidden, block.dim, block.width
    across = hidden * width
    b1 = block.gradient + dim * across
    w2 = b1 + across
    for g in range(0, width, LANES):
        for row in range(g, across, width):
            d_b1, d_w2 = quad(0.0), quad(0.0)
            w1 = block.gradient + (row - g) * dim + g
            if dim == 2:  # the usual case, in one loop over the samples
                d_first, d_second = quad(0.0), quad(0.0)
                for n in range(block.quads):
                    place = 4 * (n * across + row)
                    delta = load_quad(work, block.deltas + 4 * (n * width + g))
                    d_a = delta * load_quad(work, block.slopes + place)
                    d_w2 = d_w2 + delta * load_quad(work, block.ys + place)
                    d_b1 = d_b1 + d_a
                    d_first = d_first + d_a * spread(inputs, n * 8)
                    d_second = d_second + d_a * spread(inputs, n * 8 + 4)
                store(work, w1, fold(d_first))
                store(work, w1 + width, fold(d_second))
            else:
                for n in range(block.quads):
                    place = 4 * (n * across + row)
                    delta = load_quad(work, block.deltas + 4 * (n * width + g))
                    d_w2 = d_w2 + delta * load_quad(work, block.ys + place)
                    d_b1 = d_b1 + delta * load_quad(work, block.slopes + place)
                for d in range(dim):
                    total = quad(0.0)
                    for n in range(block.quads):
                        delta = load_quad(work, block.deltas + 4 * (n * width + g))
                        d_a = delta * load_quad(work, block.slopes + 4 * (n * across + row))
                        total = total + d_a * spread(inputs, (n * dim + d) * 4)
                    store(work, w1 + d * width, fold(total))
            store(work, b1 + row, fold(d_b1))
            store(work, w2 + row, fold(d_w2))


def _step_of(formula: Any, states: int) -> Any:
    """Make the step of an optimizer with so many states; its gradient starts at `used`."""

    @njit(**PASS)
    def step(block, used):
        work, size, state, width = block.work, block.size, block.state, block.width
        for g in range(0, width, LANES):
            a = load(work, block.numbers + g)
            b = load(work, block.numbers + width + g)
            c = load(work, block.numbers + 2 * width + g)
            for i in range(g, size, width):
                w, grad = load(work, i), load(work, used + i)
                s, t = w, w
                if states > 0:
                    s = load(work, state + i)
                if states > 1:
                    t = load(work, state + size + i)
                w, s, t = formula(w, grad, s, t, a, b, c)
                store(work, i, w)
                if states > 0:
                    store(work, state + i, s)
                if states > 1:
                    store(work, state + size + i, t)

    return step


@njit(**PASS)
def _nothing(*_):
    pass


def _choice(passes: Sequence[Any], first: int = 0) -> Any:
    """Make a function that runs the pass of a number, its first argument.

    Numba has no sequence of different functions, so that each number has a branch; with four in a
    function Numba compiles fewer of them.
    """
    one, two, three, four = (*passes, *[_nothing] * 4)[:4]
    rest = _choice(passes[4:], first + 4) if len(passes) > 4 else _nothing

    @njit(**PASS)
    def choose(number, *arguments):
        if number == first:
            one(*arguments)
        elif number == first + 1:
            two(*arguments)
        elif number == first + 2:
            three(*arguments)
        elif number == first + 3:
            four(*arguments)
        else:
            rest(number, *arguments)

    return choose


_forward = _choice(list(map(_forward_of, ACTIVATION_FORMULAS.values())))
_loss_pass = _choice(list(map(_loss_of, LOSS_FORMULAS.values())))
_step = _choice([_step_of(formula, states) for formula, states in STEP_FORMULAS])


# -------------------------------------------------------------------------------------------------
# All epochs of a block. A seed is settled once nothing that is recorded of it can change any more.

CHECK_EVERY = 16
"""Epochs between two checks of which seeds are settled."""

FIRST_ROUND, LONGEST_ROUND = 64, 1024
"""Epochs of the first round and of the longest, multiples of `CHECK_EVERY`.

Each round is twice as long as the one before it. Settled seeds leave at its end.
"""

GRADIENT, FIRST_STATE, SECOND_STATE = 1, 2, 3
"""What has to be zero for an optimizer to leave the weights alone from then on: the gradient, or
the gradient and one of the states."""


@njit(**PASS)
def _accumulate(block):
    work = block.work
    for i in range(0, block.size, LANES):
        total = load(work, block.summed + i) + load(work, block.gradient + i)
        store(work, block.summed + i, total)


@njit(**PASS)
def _set_numbers(block, schedule, row, owners, count):
    """Load the first `count` numbers of this epoch; each lane takes those of its training."""
    work, width = block.work, block.width
    for part in range(count):
        for g in range(0, width, LANES):
            place, owner = block.numbers + part * width + g, owners[g]
            store(work, place, splat(schedule[owner, row, part]))
            if owner != owners[g + LANES - 1]:
                for i in range(LANES):
                    work[place + i] = schedule[owners[g + i], row, part]


@njit(**PASS)
def _moving(work, start, width, rows, tiny, moves):
    """Set lanes of `moves` to 1 where one of the rows is not zero."""
    for i in range(start, start + rows * width, width):
        if not any_lane(moves <= 0.0):
            break
        moves = select(absolute(load(work, i)) <= tiny, moves, 1.0)
    return moves


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)
def _settle(block, used, quiet, tiny, lanes, count, settled):
    """Mark the lanes that are settled or hold no seed; return how many others there are."""
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
        store(settled, g, select(numeric > 0.0, 1.0 - moves, 1.0))
    others = 0
    for i in range(width):
        if lanes[i] >= count:
            settled[i] = 1.0
        others += settled[i] == 0.0
    return others


@njit(**PASS)
def _exchange(block, state, column, i, loads):
    """Copy a seed's numbers from its column of `state` to lane i of the block, or back."""
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
    block, loss, rows, trained, judged, lanes, settled, every, outputs, final, last, finite
):
    """Write what a checkpoint records of every seed of the block, or of the settled ones only."""
    work, width = block.work, block.width
    for i in range(width):
        seed = lanes[i]
        if seed >= final.shape[0] or not (every or settled[i] != 0.0):
            continue
        total = np.float32(0.0)
        is_finite = True
        for n in range(judged + outputs.shape[0]):
            at = 4 * (n // 4 * width + i // LANES * LANES) + n % 4 * LANES + i % LANES
            p = lane_of(sigmoid(splat(work[block.sums + at])))
            if n >= judged:
                outputs[n - judged, seed] = p
                is_finite = is_finite and math.isfinite(p)
            if n < trained:
                total += np.float32(loss_value(loss, p, rows[n // 4 * 16 + n % 4]))
        for j in range(i, block.size, width):
            is_finite = is_finite and math.isfinite(work[j])
        total = total / np.float32(trained)
        final[seed] = (
            np.float32(math.nan) if math.isnan(total) else total
        )  # the same NaN bits always
        finite[seed] = is_finite
        last[seed] = np.int32(work[block.unsolved + i])


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)
def _epochs(
    block, inputs, rows, trained, judged, needed, activation, loss, optimizer, zero_grad,
    schedule, changing, quiet, stops, stop_early, scale, tiny, lanes, owners, settled,
    epoch, round_end, stop, outputs, final, last, finite,
):  # fmt: skip
    """Train a block from `epoch` on, until all is recorded or the last epoch of the round is over.

    A seed that is then settled is recorded at all later checkpoints too.
    """
    width, first = block.width, epoch
    used = block.gradient if zero_grad else block.summed
    while True:
        if activation < SOFTMAX:
            _forward(activation, block, inputs)
        else:
            _forward_softmax(block, inputs, activation)
        _loss_pass(loss, block, rows, needed, np.float32(epoch), scale)
        moving = width
        if epoch < stops[-1]:
            _backward(block, inputs)
            if not zero_grad:
                _accumulate(block)
            if stop_early and epoch % CHECK_EVERY == 0:
                moving = _settle(block, used, quiet, tiny, lanes, final.shape[1], settled)
        reached = stop + (epoch == stops[stop])
        leaves = moving == 0 or (epoch == round_end and moving < width)
        for at in range(stop, stops.shape[0] if leaves else reached):
            _record(
                block, loss, rows, trained, judged, lanes, settled, at < reached,
                outputs[at], final[at], last[at], finite[at],
            )  # fmt: skip
        stop = reached
        if moving == 0 or stop == stops.shape[0]:
            break
        if epoch == first or epoch < schedule.shape[1]:
            row = min(epoch, schedule.shape[1] - 1)
            _set_numbers(block, schedule, row, owners, 3 if epoch == first else changing)
        _step(optimizer, block, used)
        epoch += 1
        if epoch > round_end:
            break


@njit(nogil=True, error_model="numpy")
def train(
    work, state, start, seeds, first, most, hidden, inputs, rows, trained, judged, needed,
    activation, loss, optimizer, zero_grad, schedule, changing, state_start, quiet, stops,
    stop_early, flush, scale, tiny, outputs, final, last, finite,
):  # fmt: skip
    """Train W seeds, from `first` on, of T trainings of S seeds each that lie one after another.

    Training goes in rounds. In each round every block trains some epochs; the seeds that are
    settled at its end are in no block of the next.

    Args:
        work: float32, of `work_size(most, ...)` numbers: scratch.
        state: float32, shape (4 P + 1, W): scratch; its first P rows are the weights in the end.
        start: float32, shape (P, S or more): initial weights.
        seeds: S.
        first: the first of the T * S seeds; beyond their end nothing is trained.
        most: seeds in a block, a multiple of 16.
        hidden: H.
        inputs: float32, flat: for each four rows and each input dimension the four values.
        rows: float32, flat: for each four rows their targets, the factors of their gradient (1 / N,
            0 where not trained), and their a and b: an output is right if a * output + b > 0.
        trained: number of rows trained on, the first ones.
        judged: the first judged row; `outputs` says how many follow.
        needed: judged rows that must be right.
        activation: its number in `ACTIVATIONS`.
        loss: its number in `LOSSES`.
        optimizer: its place in `formulas.STEP_FORMULAS`.
        zero_grad: False adds up the gradients of all steps.
        schedule: float32, shape (T, E, 3): the optimizers' numbers of the first E epochs; the last
            ones hold for all epochs that follow.
        changing: how many of these three change from epoch to epoch, the first ones.
        state_start: float32, shape (T,): the second state before the first step.
        quiet: what must be zero for the weights to stay (see `GRADIENT`); 0 if they never do.
        stops: int64, shape (C,), ascending: the epochs to record, the last one included.
        stop_early: leave out settled seeds.
        flush: compute with 0 in place of subnormal numbers (below 1.2e-38 in size); the calling
            thread's own arithmetic is restored afterwards.
        scale: factor of the gradients; 1 except for Rprop (`fused.schedule_of`).
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
    settled = np.empty(most, np.float32)
    remaining = np.arange(min(count, total - first))  # columns of the seeds that are not settled
    epoch, stop, round_end = 0, 0, FIRST_ROUND if stop_early else stops[-1]
    while stop < stops.shape[0] and remaining.shape[0] > 0:
        kept = 0
        for begin in range(0, remaining.shape[0], most):
            columns = remaining[begin : begin + most]
            width = -(-columns.shape[0] // LANES) * LANES
            block = block_of(work, width, hidden, dim, quads)
            settled[:] = 0.0
            for i in range(width):
                column = columns[min(i, columns.shape[0] - 1)]
                lanes[i] = first + column if i < columns.shape[0] else total
                owners[i] = owner_of[column]
                _exchange(block, state, column, i, True)
            _epochs(
                block, inputs, rows, trained, judged, needed, activation, loss, optimizer,
                zero_grad, schedule, changing, quiet, stops, stop_early, scale, tiny, lanes, owners,
                settled, epoch, round_end, stop, outputs, final, last, finite,
            )  # fmt: skip
            for i in range(columns.shape[0]):
                column = columns[i]
                _exchange(block, state, column, i, False)
                if settled[i] == 0.0:
                    remaining[kept] = column
                    kept += 1
        remaining = remaining[:kept]
        while stop < stops.shape[0] and stops[stop] <= round_end:
            stop += 1
        epoch, round_end = round_end + 1, min(2 * round_end, round_end + LONGEST_ROUND)
    set_control_word(before)
