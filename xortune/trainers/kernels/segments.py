"""Several operations of a training step in one call, seed after seed.

torch does one operation for all seeds and then the next, so that hundreds of kilobytes of each seed
leave the processor's cache in between. Here a seed's numbers stay in the cache. Each number is
computed and rounded as torch does on a processor with AVX-512; `trainers.step_graph` compares the
results, and uses torch's own operations where they differ.

Sources:
    Products: MKL adds them in order, each rounded once with its sum, and then the bias.
    Sums: `aten/src/ATen/native/cpu/SumKernel.cpp`. Functions: `ATen/cpu/vec/vec512`, by SLEEF.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from xortune.trainers.kernels.simd import LANES, Floats, has_avx512, indices, repeated
from xortune.trainers.kernels.steps import floats_at

PRODUCT, ROWS, MUL, RELU, RELU_BACK, LEAKY, LEAKY_BACK, TANH_BACK, SILU, SILU_BACK = range(10)
"""Operations: the product of matrices, the sum of rows, and those on each number by itself."""

COPY, LOG_SOFTMAX, LOG_SOFTMAX_BACK, NLL, NLL_BACK, SUM, SHARE, ONES = range(10, 18)
"""Operations of a cross entropy: see `run`."""

WORDS = 16
"""Integers of an operation: kind, places of the result and of up to three operands, sizes."""

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR, _MASK = ir.VectorType(_FLOAT, LANES), ir.VectorType(ir.IntType(1), LANES)
_FOUR = ir.Constant(_INT, 4)

EXP, LOG, BASES = 1, 2, 3
"""Places in the list of addresses: torch's functions of 16 numbers and the first tensor. Place 0 is
unused."""


@functools.cache
def functions() -> tuple[int, ...]:
    """Return the addresses of torch's own exp and log of 16 numbers; 0 where there is none."""
    path = next(Path(torch.__file__).parent.glob("lib/libtorch_cpu.so"), None)
    library = path and ctypes.CDLL(str(path))
    symbols = [getattr(library, f"Sleef_{name}f16_u10", None) for name in ("exp", "log")]
    return tuple(ctypes.cast(one, ctypes.c_void_p).value or 0 if one else 0 for one in symbols)


def can_run() -> bool:
    """Return whether this processor and this build of torch have what a segment needs."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and has_avx512() and all(functions())


# -------------------------------------------------------------------------------------------------
# Vectors at addresses.


def _all(number: float) -> Any:
    return ir.Constant(_VECTOR, [float(np.float32(number))] * LANES)


def _repeated(builder: Any, number: Any) -> Any:
    return repeated(builder, number, ir.VectorType(number.type, LANES))


def _at(builder: Any, address: Any, place: Any, kind: Any = _VECTOR) -> Any:
    pointer = builder.gep(builder.inttoptr(address, _FLOAT.as_pointer()), [place])
    return builder.bitcast(pointer, kind.as_pointer())


def _of_llvm(builder: Any, name: str, *args: Any, result: Any = _VECTOR) -> Any:
    kind = ir.FunctionType(result, [one.type for one in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}"), args)


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return _of_llvm(builder, "fma.v16f32", x, y, z)


def _first(builder: Any, count: Any, start: int = 0) -> Any:
    """Emit a mask of the lanes whose number, counted from `start`, is below `count`."""
    places = ir.Constant(ir.VectorType(_LONG, LANES), list(range(start, start + LANES)))
    return builder.icmp_signed("<", places, _repeated(builder, count))


def _load(builder: Any, place: Any, mask: Any) -> Any:
    return _of_llvm(builder, "masked.load.v16f32.p0v16f32", place, _FOUR, mask, _all(0))


def _store(builder: Any, value: Any, place: Any, mask: Any) -> None:
    name = "masked.store.v16f32.p0v16f32"
    _of_llvm(builder, name, value, place, _FOUR, mask, result=ir.VoidType())


@intrinsic
def _word(typingctx: Any, address: Any, place: Any) -> Any:
    """Return the integer at a place, counted from an address."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(builder.inttoptr(args[0], _LONG.as_pointer()), [args[1]]))

    return types.int64(types.int64, types.int64), lowered


# -------------------------------------------------------------------------------------------------
# Products of matrices.


def _tile(rows: int, vectors: int) -> Any:
    @intrinsic
    def tile(
        typingctx: Any, a: Any, am: Any, ak: Any, b: Any, bk: Any, bias: Any, c: Any, cm: Any,
        columns: Any, k: Any,
    ) -> Any:  # fmt: skip
        """Compute some rows and vectors of a product, with the sums in registers."""

        def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, am, ak, b, bk, bias, c, cm, columns, k = args
            masks = [_first(builder, columns, LANES * v) for v in range(vectors)]
            grid = [(m, v) for m in range(rows) for v in range(vectors)]
            sums = {at: cgutils.alloca_once_value(builder, _all(0)) for at in grid}
            with cgutils.for_range(builder, k) as loop:
                row, column = builder.mul(loop.index, bk), builder.mul(loop.index, ak)
                twos = [
                    _load(builder, _at(builder, b, builder.add(row, _LONG(LANES * v))), mask)
                    for v, mask in enumerate(masks)
                ]
                places = [builder.add(column, builder.mul(am, _LONG(m))) for m in range(rows)]
                ones = [builder.load(_at(builder, a, place, _FLOAT)) for place in places]
                ones = [_repeated(builder, one) for one in ones]
                for m, v in grid:
                    total = _fma(builder, ones[m], twos[v], builder.load(sums[m, v]))
                    builder.store(total, sums[m, v])
            with builder.if_then(builder.icmp_signed("!=", bias, _LONG(0))):
                for m, v in grid:
                    own = _load(builder, _at(builder, bias, _LONG(LANES * v)), masks[v])
                    builder.store(builder.fadd(builder.load(sums[m, v]), own), sums[m, v])
            for m, v in grid:
                place = builder.add(builder.mul(cm, _LONG(m)), _LONG(LANES * v))
                _store(builder, builder.load(sums[m, v]), _at(builder, c, place), masks[v])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), lowered

    return tile


_8x2, _4x2, _2x2, _1x2 = (_tile(rows, 2) for rows in (8, 4, 2, 1))
_8x1, _4x1, _2x1, _1x1 = (_tile(rows, 1) for rows in (8, 4, 2, 1))


@intrinsic
def _transpose(
    typingctx: Any, source: Any, stride: Any, rows: Any, columns: Any, target: Any, to: Any
) -> Any:
    """Write 16 rows of 16 numbers as columns, with zeros in place of missing ones."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, stride, rows, columns, target, to = args
        whole, none = _first(builder, columns), ir.Constant(_MASK, [0] * LANES)
        lines = []
        for m in range(LANES):
            mask = builder.select(builder.icmp_signed("<", _LONG(m), rows), whole, none)
            place = _at(builder, source, builder.mul(stride, _LONG(m)))
            lines.append(_load(builder, place, mask))
        for step in (1, 2, 4, 8):
            low = indices([i if not i & step else LANES + i - step for i in range(LANES)])
            high = indices([i + step if not i & step else LANES + i for i in range(LANES)])
            for m in (m for m in range(LANES) if not m & step):
                two = lines[m], lines[m + step]
                lines[m] = builder.shuffle_vector(*two, low)
                lines[m + step] = builder.shuffle_vector(*two, high)
        for m, line in enumerate(lines):
            builder.store(line, _at(builder, target, builder.mul(to, _LONG(m))), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), lowered


@njit(nogil=True, error_model="numpy", inline="never")
def _product(c, a, b, bias, m, n, k, am, ak, bk, bn, packed):
    """Write the product of matrices a (m, k) and b (k, n), plus a bias (n,); address 0 means none.

    `am`, `ak`, `bk`, `bn` are strides, in numbers; one of `b`'s must be 1. `packed` is the address
    of scratch memory for a transposed `b`.
    """
    if bn != 1:
        wide = (n + 15) // 16 * 16
        for i in range(0, n, 16):
            for j in range(0, k, 16):
                _transpose(
                    b + 4 * (i * bn + j), bn, n - i, k - j, packed + 4 * (j * wide + i), wide
                )
        b, bk = packed, wide
    for j in range(0, n, 32):
        two, own, left = b + 4 * j, bias + 4 * j if bias else 0, n - j
        i = 0
        while i < m:
            one, to = a + 4 * i * am, c + 4 * (i * n + j)
            if left > 16:
                if m - i >= 8:
                    _8x2(one, am, ak, two, bk, own, to, n, left, k)
                    i += 8
                elif m - i >= 4:
                    _4x2(one, am, ak, two, bk, own, to, n, left, k)
                    i += 4
                elif m - i >= 2:
                    _2x2(one, am, ak, two, bk, own, to, n, left, k)
                    i += 2
                else:
                    _1x2(one, am, ak, two, bk, own, to, n, left, k)
                    i += 1
            elif m - i >= 8:
                _8x1(one, am, ak, two, bk, own, to, n, left, k)
                i += 8
            elif m - i >= 4:
                _4x1(one, am, ak, two, bk, own, to, n, left, k)
                i += 4
            elif m - i >= 2:
                _2x1(one, am, ak, two, bk, own, to, n, left, k)
                i += 2
            else:
                _1x1(one, am, ak, two, bk, own, to, n, left, k)
                i += 1


# -------------------------------------------------------------------------------------------------
# Other operations.


def _on_each(form: Callable[..., Any], operands: int) -> Any:
    """Make an operation on each number by itself; `form` emits it for a vector."""

    @intrinsic
    def each(typingctx: Any, c: Any, a: Any, b: Any, n: Any, number: Any, exp: Any) -> Any:
        def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            c, a, b, n, number, exp = args
            number = _repeated(builder, builder.bitcast(builder.trunc(number, _INT), _FLOAT))

            def power(x: Any) -> Any:
                return _called(builder, exp, x)

            step = _LONG(LANES)
            with cgutils.for_range_slice(builder, _LONG(0), n, step, inc=True) as (place, _):
                mask = _first(builder, builder.sub(n, place))
                inputs = [
                    _load(builder, _at(builder, one, place), mask) for one in (a, b)[:operands]
                ]
                _store(builder, form(builder, power, number, *inputs), _at(builder, c, place), mask)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), lowered

    return each


def _relu(b: Any, power: Any, number: Any, x: Any) -> Any:
    return b.select(b.fcmp_ordered(">", _all(0), x), _all(0), x)


def _relu_back(b: Any, power: Any, number: Any, gradient: Any, x: Any) -> Any:
    return b.select(b.fcmp_ordered("<=", x, number), _all(0), gradient)


def _slope(b: Any, number: Any, x: Any) -> Any:
    return b.select(b.fcmp_ordered(">", x, _all(0)), _all(1), number)


def _tanh_back(b: Any, power: Any, number: Any, gradient: Any, y: Any) -> Any:
    return b.fmul(gradient, _fma(b, b.fneg(y), y, _all(1)))


def _logistic(b: Any, power: Any, x: Any) -> Any:
    return b.fadd(_all(1), power(b.fneg(x)))


def _silu_back(b: Any, power: Any, number: Any, gradient: Any, x: Any) -> Any:
    y = b.fdiv(_all(1), _logistic(b, power, x))
    return b.fmul(b.fmul(gradient, y), _fma(b, x, b.fsub(_all(1), y), _all(1)))


_each_mul = _on_each(lambda b, _, __, x, y: b.fmul(x, y), 2)
_each_relu = _on_each(_relu, 1)
_each_relu_back = _on_each(_relu_back, 2)
_each_leaky = _on_each(lambda b, _, number, x: b.fmul(x, _slope(b, number, x)), 1)
_each_leaky_back = _on_each(lambda b, _, number, g, x: b.fmul(g, _slope(b, number, x)), 2)
_each_tanh_back = _on_each(_tanh_back, 2)
_each_silu = _on_each(lambda b, power, _, x: b.fdiv(x, _logistic(b, power, x)), 1)
_each_silu_back = _on_each(_silu_back, 2)


@intrinsic
def _group(typingctx: Any, a: Any, step: Any, count: Any, columns: Any) -> Any:
    """Return the sum of `count` rows of up to 16 numbers, one after another."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, step, count, columns = args
        mask = _first(builder, columns)
        total = cgutils.alloca_once_value(builder, _all(0))
        with cgutils.for_range(builder, count) as loop:
            row = _load(builder, _at(builder, a, builder.mul(loop.index, step)), mask)
            builder.store(builder.fadd(builder.load(total), row), total)
        return builder.load(total)

    return Floats(LANES)(*[types.int64] * 4), lowered


@intrinsic
def _plus(typingctx: Any, x: Any, y: Any) -> Any:
    """Return the sum of two vectors."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return x(x, y), lowered


@intrinsic
def _put(typingctx: Any, c: Any, columns: Any, value: Any) -> Any:
    """Write the first `columns` numbers of a vector."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, mask = _at(builder, args[0], _LONG(0)), _first(builder, args[1])
        _store(builder, args[2], place, mask)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), lowered


@njit(nogil=True, error_model="numpy")
def _cascade(a, step, count, columns):
    total, done = _group(a, step, 0, columns), 0
    while done + 16 <= count:
        total = _plus(total, _group(a + 4 * done * step, step, 16, columns))
        done += 16
    return _plus(_group(a + 4 * done * step, step, count - done, columns), total)


@njit(nogil=True, error_model="numpy")
def _sums(c, a, rows, n):
    """Sum up to 255 rows of n numbers.

    The first columns, in groups of 32, are summed row after row; of the other columns four partial
    sums take every fourth row each.
    """
    for j in range(0, n, 16):
        one, left = a + 4 * j, n - j
        if j < n // 32 * 32:
            total = _cascade(one, n, rows, left)
        else:
            fourth = rows // 4
            total = _cascade(one, 4 * n, fourth, left)
            for row in range(4 * fourth, rows):
                total = _plus(total, _group(one + 4 * row * n, n, 1, left))
            for row in range(1, 4):
                total = _plus(total, _cascade(one + 4 * row * n, 4 * n, fourth, left))
        _put(c + 4 * j, left, total)


@njit(nogil=True, error_model="numpy")
def _sum(c, a, n):
    """Sum n numbers in 4 times 8 partial sums; the numbers that do not fill 8 come first."""
    x, parts = floats_at(a, 0), np.zeros((4, 8), np.float32)
    vectors = n // 8
    for v in range(vectors):
        part = v % 4 if v < vectors // 4 * 4 else 0
        for i in range(8):
            parts[part, i] += x[8 * v + i]
    total = np.float32(0)
    for i in range(8 * vectors, n):
        total += x[i]
    for i in range(8):
        total += ((parts[0, i] + parts[1, i]) + parts[2, i]) + parts[3, i]
    floats_at(c, 0)[0] = total


@njit(nogil=True, error_model="numpy")
def _copy(c, a, rows, n, filled, down, right):
    to, x = floats_at(c, 0), floats_at(a, 0)
    for i in range(rows):
        for j in range(filled):
            to[i * n + j] = x[i * down + j * right]
        for j in range(filled, n):
            to[i * n + j] = 0


def _called(builder: Any, function: Any, x: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR]).as_pointer()
    return builder.call(builder.inttoptr(function, kind), [x])


@intrinsic
def _log_softmax(typingctx: Any, c: Any, a: Any, rows: Any, n: Any, exp: Any, log: Any) -> Any:
    """Compute log(softmax) of each column; the number of columns is a multiple of 16."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c, a, rows, n, exp, log = args
        with cgutils.for_range_slice(builder, _LONG(0), n, _LONG(LANES), inc=True) as (column, _):

            def at(address: Any, row: Any) -> Any:
                return _at(builder, address, builder.add(builder.mul(row, n), column))

            def read(row: Any) -> Any:
                return builder.load(at(a, row), align=4)

            most = cgutils.alloca_once_value(builder, read(_LONG(0)))
            total = cgutils.alloca_once_value(builder, _all(0))
            builder.store(read(_LONG(0)), most)
            builder.store(_all(0), total)
            with cgutils.for_range(builder, rows) as loop:
                x, largest = read(loop.index), builder.load(most)
                more = builder.fcmp_unordered(">", x, largest)
                builder.store(builder.select(more, x, largest), most)
            largest = builder.load(most)
            with cgutils.for_range(builder, rows) as loop:
                power = _called(builder, exp, builder.fsub(read(loop.index), largest))
                builder.store(builder.fadd(builder.load(total), power), total)
            logarithm = _called(builder, log, builder.load(total))
            with cgutils.for_range(builder, rows) as loop:
                result = builder.fsub(builder.fsub(read(loop.index), largest), logarithm)
                builder.store(result, at(c, loop.index), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), lowered


@intrinsic
def _log_softmax_back(typingctx: Any, c: Any, a: Any, b: Any, rows: Any, n: Any, exp: Any) -> Any:
    """Compute the gradient of `_log_softmax` from the gradient and the value of its output."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c, a, b, rows, n, exp = args
        with cgutils.for_range_slice(builder, _LONG(0), n, _LONG(LANES), inc=True) as (column, _):

            def at(address: Any, row: Any) -> Any:
                return _at(builder, address, builder.add(builder.mul(row, n), column))

            total = cgutils.alloca_once_value(builder, _all(0))
            builder.store(_all(0), total)
            with cgutils.for_range(builder, rows) as loop:
                one = builder.load(at(a, loop.index), align=4)
                builder.store(builder.fadd(builder.load(total), one), total)
            with cgutils.for_range(builder, rows) as loop:
                one = builder.load(at(a, loop.index), align=4)
                power = _called(builder, exp, builder.load(at(b, loop.index), align=4))
                result = _fma(builder, builder.fneg(power), builder.load(total), one)
                builder.store(result, at(c, loop.index), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), lowered


@njit(nogil=True, error_model="numpy")
def run(seeds, count, code, bases, steps, room):
    """Do `count` operations for each seed.

    Args:
        seeds: number of seeds.
        count: number of operations.
        code: address of WORDS integers for each operation.
        bases: address of the addresses of all tensors.
        steps: address of their distances in bytes from one seed to the next.
        room: address of scratch memory.

    Returns:
        The number of targets that are not a class; their results are meaningless.
    """
    exp, log, wrong = _word(bases, EXP), _word(bases, LOG), 0
    for seed in range(seeds):
        for at in range(count):
            op = code + 8 * WORDS * at
            kind, n, m = _word(op, 0), _word(op, 5), _word(op, 6)
            c = _word(bases, _word(op, 1)) + seed * _word(steps, _word(op, 1))
            a = _word(bases, _word(op, 2)) + seed * _word(steps, _word(op, 2))
            b = _word(bases, _word(op, 3)) + seed * _word(steps, _word(op, 3))
            d = _word(bases, _word(op, 4)) + seed * _word(steps, _word(op, 4))
            s, t = _word(op, 7), _word(op, 8)
            if kind == PRODUCT:
                _product(c, a, b, d, n, m, s, t, _word(op, 9), _word(op, 10), _word(op, 11), room)
            elif kind == ROWS:
                _sums(c, a, n, m)
            elif kind == MUL:
                _each_mul(c, a, b, n, m, exp)
            elif kind == RELU:
                _each_relu(c, a, b, n, m, exp)
            elif kind == RELU_BACK:
                _each_relu_back(c, a, b, n, m, exp)
            elif kind == LEAKY:
                _each_leaky(c, a, b, n, m, exp)
            elif kind == LEAKY_BACK:
                _each_leaky_back(c, a, b, n, m, exp)
            elif kind == TANH_BACK:
                _each_tanh_back(c, a, b, n, m, exp)
            elif kind == SILU:
                _each_silu(c, a, b, n, m, exp)
            elif kind == SILU_BACK:
                _each_silu_back(c, a, b, n, m, exp)
            elif kind == COPY:
                _copy(c, a, n, m, s, t, _word(op, 9))
            elif kind == LOG_SOFTMAX:
                _log_softmax(c, a, n, m, exp, log)
            elif kind == LOG_SOFTMAX_BACK:
                _log_softmax_back(c, a, b, n, m, exp)
            elif kind == NLL:
                for j in range(n):
                    target = _word(b, j)
                    right = 0 <= target < m
                    wrong += not right and target != _word(op, 9)
                    x = -floats_at(a, target * s + j * t)[0] if right else np.float32(0)
                    floats_at(c, j)[0] = x
            elif kind == NLL_BACK:
                x = floats_at(c, 0)
                for j in range(n * m):
                    x[j] = 0
                for j in range(n):
                    target = _word(b, j)
                    if 0 <= target < m:
                        x[target * n + j] = -floats_at(a, j * s)[0]
            elif kind == SUM:
                _sum(c, a, n)
            elif kind == SHARE:
                floats_at(c, 0)[0] = floats_at(a, 0)[0] / np.float32(_word(b, 0))
            elif kind == ONES:
                floats_at(c, 0)[0] = 1
    return wrong
