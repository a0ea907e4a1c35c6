"""The reciprocal of a vector, from the processor's estimate where it has one."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config
from numba.core import cgutils
from numba.extending import intrinsic

from xortune.engine.kernels.simd import FLAGS, LANES, indices

__all__ = ["reciprocal"]


def _has_estimates() -> bool:
    # Numba compiles for the host's features unless it is told otherwise.
    features = config.CPU_FEATURES
    if features is None:
        return config.CPU_NAME is None and get_host_cpu_features().get("avx512f", False)
    return "+avx512f" in features


def _estimate(builder: Any, value: Any) -> Any:
    """The processor's estimate (14 bits) of 1 / x, sixteen lanes at a time."""
    row, whole = ir.VectorType(ir.FloatType(), LANES), ir.IntType(LANES)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(row, [row, row, whole]),
        "llvm.x86.avx512.rcp14.ps.512",
    )
    nothing, unused = ir.Constant(value.type, ir.Undefined), ir.Constant(row, ir.Undefined)
    parts = [
        builder.call(
            function,
            [
                builder.shuffle_vector(value, nothing, indices(range(at, at + LANES))),
                unused,
                ir.Constant(whole, -1),
            ],
        )
        for at in range(0, value.type.count, LANES)
    ]
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        parts = [
            builder.shuffle_vector(a, b, indices(range(count)))
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


@intrinsic
def reciprocal(typingctx: Any, value: Any) -> Any:
    """1 / x for finite x (0 gives NaN, infinity too): within an ulp, in a third of a division."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, kind = args[0], signature.args[0].lanes
        one = ir.Constant(kind, [1.0] * kind.count)
        if not _has_estimates():
            return builder.fdiv(one, x, flags=FLAGS)
        r = _estimate(builder, x)
        # Newton's step: r + r (1 - x r).
        rest = builder.fsub(one, builder.fmul(x, r, flags=FLAGS), flags=FLAGS)
        return builder.fadd(r, builder.fmul(r, rest, flags=FLAGS), flags=FLAGS)

    return value(value), lowered
