"""Vectors in Numba: sixteen float32 numbers, or four rows of sixteen, as one value.

LLVM's vectoriser gives up on loops that touch many rows, and its results change with its version.
So the kernels spell the vectors out: `load` sixteen neighbours, compute with ``+ - *`` and the
functions below, `store`. LLVM splits a vector where the processor's registers are narrower. It
splits a `quad` (64 numbers) everywhere, which is the purpose: four independent chains of operations
keep a core busy where one chain waits for itself.

A number that meets a vector is rounded to float32 and repeated in every lane; a vector that meets a
quad is repeated in its four rows. LLVM may fuse a product and a sum into one rounding. It reorders
nothing else, and NaN and infinity behave as in IEEE 754.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features, get_process_triple
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16
"""Numbers in a vector."""

QUAD = 4 * LANES
"""Numbers in a quad."""

FLAGS = ("contract", "nsz")
"""What LLVM may do with an operation: fuse it with another one, ignore the sign of a zero."""

FLUSH_SUBNORMALS = 0x8040
"""Bits of `control_word`: subnormal results become 0 (FTZ), subnormal operands count as 0 (DAZ)."""


class _Vector(types.Type):  # type: ignore[misc]  # numba ships no types
    """`count` numbers of one kind: float, int (32 bits) or bool."""

    kind: str

    def __init__(self, count: int) -> None:
        self.count = count
        element = {"float": ir.FloatType(), "int": ir.IntType(32), "bool": ir.IntType(1)}[self.kind]
        self.lanes = ir.VectorType(element, count)
        super().__init__(name=f"{self.kind}x{count}")


class Floats(_Vector):
    """float32 numbers."""

    kind = "float"


class Ints(_Vector):
    """int32 numbers."""

    kind = "int"


class Mask(_Vector):
    """Truth values."""

    kind = "bool"


@register_model(Floats)
@register_model(Ints)
@register_model(Mask)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]  # numba ships no types
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, fe_type.lanes)


def indices(numbers: Any) -> Any:
    """Return the lane numbers in the form that `shuffle_vector` takes."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def repeated(builder: Any, scalar: Any, kind: Any) -> Any:
    """Emit a vector of an LLVM type with the scalar in every lane."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, indices([0] * kind.count))


def _widened(context: Any, builder: Any, kind: Any, value: Any, target: Any) -> Any:
    """Emit the value as a vector of the target type; repeat a number or a shorter vector."""
    if not isinstance(kind, _Vector):
        scalar = types.float32 if target.kind == "float" else types.int32
        return repeated(builder, context.cast(builder, value, kind, scalar), target.lanes)
    if kind.count == target.count:
        return value
    nothing = ir.Constant(kind.lanes, ir.Undefined)
    return builder.shuffle_vector(
        value, nothing, indices([i % kind.count for i in range(target.count)])
    )


def _common(*kinds: Any, of: type = Floats) -> Any:
    """Return the type of an operation on these types; None if one of them is not ours."""
    vectors = [kind for kind in kinds if isinstance(kind, _Vector)]
    if not vectors or not all(isinstance(kind, of | types.Number) for kind in kinds):
        return None
    return max(vectors, key=lambda kind: kind.count)


def _binary(function: Any, of: type, emit: Any, result: Any) -> None:
    @type_callable(function)
    def typed(context: Any) -> Any:
        def result_of(a: Any, b: Any) -> Any:
            common = _common(a, b, of=of)
            return None if common is None else result(common)

        return result_of

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        common = _common(*signature.args, of=of)
        a, b = (
            _widened(context, builder, kind, value, common)
            for kind, value in zip(signature.args, args, strict=True)
        )
        return emit(builder, a, b)

    for kinds in ((of, of), (of, types.Number), (types.Number, of)):
        lower_builtin(function, *kinds)(lowered)


def _emitter(method: str, *first: Any, **flags: Any) -> Any:
    return lambda builder, a, b: getattr(builder, method)(*first, a, b, **flags)


for _function, _method in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
):
    _binary(_function, Floats, _emitter(_method, flags=FLAGS), lambda common: common)
for _function, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
):
    _binary(_function, Floats, _emitter("fcmp_ordered", _sign), lambda common: Mask(common.count))
for _function, _method in (
    (operator.add, "add"),
    (operator.sub, "sub"),
    (operator.lshift, "shl"),
    (operator.rshift, "ashr"),
):
    _binary(_function, Ints, _emitter(_method), lambda common: common)


@type_callable(operator.neg)
def _typed_neg(context: Any) -> Any:
    return lambda a: a if isinstance(a, Floats) else None


@lower_builtin(operator.neg, Floats)
def _lowered_neg(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.fneg(args[0])


@intrinsic
def splat(typingctx: Any, number: Any) -> Any:
    """Return a vector with the number in all lanes."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _widened(context, builder, signature.args[0], args[0], signature.return_type)

    return Floats(LANES)(number), lowered


@intrinsic
def quad(typingctx: Any, value: Any) -> Any:
    """Return a quad of a number, or with a vector in each of its rows."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _widened(context, builder, signature.args[0], args[0], signature.return_type)

    return Floats(QUAD)(value), lowered


@intrinsic
def fold(typingctx: Any, value: Any) -> Any:
    """Return the sum of a quad's four rows: (first + second) + (third + fourth)."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(args[0].type, ir.Undefined)
        rows = [
            builder.shuffle_vector(args[0], nothing, indices(range(at, at + LANES)))
            for at in range(0, QUAD, LANES)
        ]
        first = builder.fadd(rows[0], rows[1], flags=("nsz",))
        return builder.fadd(first, builder.fadd(rows[2], rows[3], flags=("nsz",)), flags=("nsz",))

    return Floats(LANES)(value), lowered


def _address(context: Any, builder: Any, signature: Any, args: Any, kind: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), kind.as_pointer())


def _loader(count: int) -> Any:
    def typed(typingctx: Any, array: Any, start: Any) -> Any:
        """Load neighbours of a contiguous float32 array; bounds are not checked."""

        def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = signature.return_type.lanes
            return builder.load(_address(context, builder, signature, args, lanes), align=4)

        return Floats(count)(array, types.intp), lowered

    return typed


load = intrinsic(_loader(LANES))
load_quad = intrinsic(_loader(QUAD))


@intrinsic
def repeat(typingctx: Any, array: Any, place: Any) -> Any:
    """Return a vector with one number of an array in all lanes; bounds are not checked."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = builder.load(_address(context, builder, signature, args, ir.FloatType()), align=4)
        return repeated(builder, number, signature.return_type.lanes)

    return Floats(LANES)(array, types.intp), lowered


@intrinsic
def spread(typingctx: Any, array: Any, start: Any) -> Any:
    """Return a quad of four neighbours of an array, each in all lanes of one row."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), 4)
        four = builder.load(_address(context, builder, signature, args, kind), align=4)
        lanes = indices([i // LANES for i in range(QUAD)])
        return builder.shuffle_vector(four, ir.Constant(kind, ir.Undefined), lanes)

    return Floats(QUAD)(array, types.intp), lowered


@intrinsic
def store(typingctx: Any, array: Any, start: Any, value: Any) -> Any:
    """Write a vector or a quad to an array from `start` on; bounds are not checked."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _address(context, builder, signature, args, signature.args[2].lanes)
        builder.store(args[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), lowered


@intrinsic
def select(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """Return, lane by lane, `yes` where the condition holds, else `no`."""
    target = Floats(condition.count)

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = (
            _widened(context, builder, kind, value, target)
            for kind, value in zip(signature.args[1:], args[1:], strict=True)
        )
        return builder.select(args[0], a, b)

    return target(condition, yes, no), lowered


@intrinsic
def product(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the product, rounded before it is added to anything: infinite if it overflows."""
    target = _common(a, b)

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factors = (
            _widened(context, builder, kind, value, target)
            for kind, value in zip(signature.args, args, strict=True)
        )
        return builder.fmul(*factors)

    return target(a, b), lowered


@intrinsic
def any_lane(typingctx: Any, condition: Any) -> Any:
    """Return whether the condition holds in at least one lane."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = ir.IntType(signature.args[0].count)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), ir.Constant(bits, 0))

    return types.boolean(condition), lowered


@intrinsic
def lane_of(typingctx: Any, value: Any) -> Any:
    """Return the number in the first lane."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], ir.Constant(ir.IntType(32), 0))

    return types.float32(value), lowered


def _of_llvm(name: str) -> Any:
    def typed(typingctx: Any, value: Any) -> Any:
        def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = signature.args[0].lanes
            kind, symbol = ir.FunctionType(lanes, [lanes]), f"llvm.{name}.v{lanes.count}f32"
            function = cgutils.get_or_insert_function(builder.module, kind, symbol)
            return builder.call(function, args)

        return value(value), lowered

    return typed


sqrt = intrinsic(_of_llvm("sqrt"))
absolute = intrinsic(_of_llvm("fabs"))


def _converted(method: str, result: Any) -> Any:
    def typed(typingctx: Any, value: Any) -> Any:
        def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, method)(args[0], signature.return_type.lanes)

        return result(value.count)(value), lowered

    return typed


bits_of = intrinsic(_converted("bitcast", Ints))
floats_of = intrinsic(_converted("bitcast", Floats))
as_floats = intrinsic(_converted("sitofp", Floats))


# Only x86 has a control word; elsewhere it reads as 0, and setting it does nothing.
_HAS_CONTROL_WORD = get_process_triple().startswith(("x86_64", "i386", "i686"))


def _of_sse(builder: Any, name: str, place: Any) -> None:
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(place, pointer)])


@intrinsic
def control_word(typingctx: Any) -> Any:
    """Read the calling thread's MXCSR register: rounding mode and flushing of subnormals."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(32), 0))
        if _HAS_CONTROL_WORD:
            _of_sse(builder, "stmxcsr", place)
        return builder.load(place)

    return types.int32(), lowered


@intrinsic
def set_control_word(typingctx: Any, word: Any) -> Any:
    """Set the register that `control_word` reads."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _HAS_CONTROL_WORD:
            _of_sse(builder, "ldmxcsr", cgutils.alloca_once_value(builder, args[0]))
        return context.get_dummy_value()

    return types.void(types.int32), lowered


# -------------------------------------------------------------------------------------------------
# The reciprocal of a vector, from the estimate of a processor with AVX-512.


def has_avx512() -> bool:
    """Return whether Numba compiles for AVX-512."""
    features = config.CPU_FEATURES  # None: those of the host
    if features is None:
        return config.CPU_NAME is None and get_host_cpu_features().get("avx512f", False)
    return "+avx512f" in features


def _estimate(builder: Any, value: Any) -> Any:
    """Emit the processor's estimate (14 bits) of 1 / x, sixteen lanes at a time."""
    lanes, whole = ir.VectorType(ir.FloatType(), LANES), ir.IntType(LANES)
    kind = ir.FunctionType(lanes, [lanes, lanes, whole])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.rcp14.ps.512")
    nothing, unused = ir.Constant(value.type, ir.Undefined), ir.Constant(lanes, ir.Undefined)
    rows = [
        builder.shuffle_vector(value, nothing, indices(range(at, at + LANES)))
        for at in range(0, value.type.count, LANES)
    ]
    parts = [builder.call(function, [row, unused, ir.Constant(whole, -1)]) for row in rows]
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        parts = [
            builder.shuffle_vector(a, b, indices(range(count)))
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


@intrinsic
def reciprocal(typingctx: Any, value: Any) -> Any:
    """Return 1 / x for finite x, within an ulp, in a third of a division's time; 0 may give NaN."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, kind = args[0], signature.args[0].lanes
        one = ir.Constant(kind, [1.0] * kind.count)
        if not has_avx512():
            return builder.fdiv(one, x, flags=FLAGS)
        r = _estimate(builder, x)
        # Newton's step: r + r (1 - x r).
        rest = builder.fsub(one, builder.fmul(x, r, flags=FLAGS), flags=FLAGS)
        return builder.fadd(r, builder.fmul(r, rest, flags=FLAGS), flags=FLAGS)

    return value(value), lowered
