"""A training step as a graph of torch operations, which is replayed without the Python around it.

A step of stacked seeds is a hundred small operations of torch. With few seeds, `vmap`,
`functional_call`, autograd and the layers' own Python take longer than the operations; with many,
the step's tensors do not stay in the processor's cache. So `Recording` records the operations of a
step, and `Program` repeats them for other inputs. Runs of operations become segments: one compiled
call does them all, seed after seed (see `kernels.segments`).
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import getitem
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from xortune.trainers.kernels import segments as kernels
from xortune.trainers.kernels.cache import compiled
from xortune.trainers.kernels.simd import LANES

_aten = torch.ops.aten


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, records the operations of a step.

    Args:
        inputs: the tensors that differ from step to step.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = fx.Graph()
        places = [self._graph.placeholder(f"i{place}") for place in range(1 + len(inputs))]
        self._last = places[-1]
        self._nodes = dict(zip(map(id, inputs), places, strict=False))
        self._alive: list[Any] = list(inputs)  # keeps tensors alive, so that no id is used twice
        self._wholes: dict[int, Tensor] = {}  # the tensor of a view, by the view's id
        self._constants: list[Tensor] = []
        self._constant_nodes: set[fx.Node] = set()
        self._only_tensors = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and record it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        outputs = tree_flatten(result)[0]
        self._alive += [given, outputs]
        if func in _MAYBE_VIEWS:
            whole = self._wholes[id(result)] = self._wholes.get(id(args[0]), args[0])
            same = next((tensor for tensor in (args[0], whole) if _is_all_of(result, tensor)), None)
            if same is not None:
                self._nodes[id(result)] = self._node_of(same)
                return result
        if func.is_view and not any(map(self._varies, given)):
            return result  # a view of a parameter, say, remains one
        if not all(isinstance(output, Tensor | None) for output in outputs):
            self._only_tensors = False  # what Python does with a number is not recorded
        node = self._graph.call_function(func, *tree_map(self._node_of, (args, kwargs)))
        shares = func is _aten._unsafe_view.default or any(
            argument.alias_info is not None for argument in func._schema.arguments
        )
        node.meta["layout"] = None if shares else _layout(result)
        if isinstance(result, Tensor):
            self._nodes[id(result)] = node
        else:
            for index, output in enumerate(outputs):
                if isinstance(output, Tensor) and id(output) not in self._nodes:
                    item = self._graph.call_function(getitem, (node, index))
                    item.meta["layout"] = None if shares else _layout(output)
                    self._nodes[id(output)] = item
        return result

    def _varies(self, tensor: Tensor) -> bool:
        node = self._nodes.get(id(tensor))
        return node is not None and node not in self._constant_nodes

    def _node_of(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:  # a parameter, or a tensor made before the step
            with self._graph.inserting_after(self._last):
                self._last = self._graph.placeholder(f"c{len(self._constants)}")
            self._nodes[id(value)] = self._last
            self._constant_nodes.add(self._last)
            self._constants.append(value)
        return self._nodes[id(value)]

    def program(self, results: Sequence[Tensor | None]) -> Program | None:
        """The program that computes these results; None if the step is not all tensor operations.

        Numbers that leave a tensor, as by `item`, may decide what the step does next.
        """
        if not self._only_tensors:
            return None
        self._graph.output(tuple(self._node_of(result) for result in results))
        self._graph.eliminate_dead_code()
        return Program(self._graph, self._constants)


_MAYBE_VIEWS = {
    *(_aten.alias.default, _aten.detach.default, _aten.expand.default, _aten.permute.default),
    *(_aten.transpose.int, _aten.view.default, _aten._unsafe_view.default),
}


def _is_all_of(view: Tensor, whole: Tensor) -> bool:
    """Whether a view shows the whole tensor unchanged."""
    same = view.shape == whole.shape and view.stride() == whole.stride()
    return same and view.data_ptr() == whole.data_ptr()


def _layout(result: Any) -> tuple[Any, ...]:
    """Shape, strides and type of a tensor; empty for several tensors."""
    return (result.shape, result.stride(), result.dtype) if isinstance(result, Tensor) else ()


def _reuse_memory(graph: fx.Graph) -> None:
    """Let elementwise operations write over inputs that no later operation reads.

    The input is in the processor's cache, and new memory is not.
    """
    read_later: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        inputs, layout = node.all_input_nodes, node.meta.get("layout")
        variant = _out_variant(node.target) if node.op == "call_function" and layout else None
        free = [
            one
            for one in inputs
            if one.meta.get("layout") == layout
            and one not in read_later
            and all(user.meta.get("layout", ()) is not None for user in one.users)
        ]
        if variant is not None and free:
            node.target, name = variant
            node.kwargs = {**node.kwargs, name: free[0]}
        read_later.update(inputs)


@cache
def _out_variant(operation: Any) -> tuple[Any, str] | None:
    """The variant of an elementwise operation with an output argument, and that one's name."""
    if not isinstance(operation, OpOverload) or torch.Tag.pointwise not in operation.tags:
        return None
    wanted = [(argument.name, str(argument.type)) for argument in operation._schema.arguments]
    for name in operation.overloadpacket.overloads():
        other = getattr(operation.overloadpacket, name)
        *same, last = other._schema.arguments or [None]
        if last is not None and last.is_out and [(a.name, str(a.type)) for a in same] == wanted:
            return other, last.name
    return None


class Program:
    """The operations of a recorded step, compiled at the first call."""

    def __init__(self, graph: fx.Graph, constants: list[Tensor]) -> None:
        self._graph, self._constants, self._text = graph, constants, str(graph)
        self._call: Callable[..., Any] | None = None

    def _compiled(self, given: Sequence[Tensor | None]) -> Callable[..., Any]:
        self._graph = graph = with_segments(self._graph, given)
        _reuse_memory(graph)
        code = graph.python_code("")
        # `_op` calls the operation without its Python wrapper, which takes as long as a small one.
        called = {node.target for node in graph.nodes if isinstance(node.target, OpOverload)}
        names, source = {f"op_{number}": op._op for number, op in enumerate(called)}, code.src
        for number, op in enumerate(called):
            source = source.replace(f"torch.ops.{op}(", f"op_{number}(")
        names.update(code.globals)
        exec(source, names)  # noqa: S102  # as fx does
        forward: Callable[..., Any] = names["forward"]
        return forward

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Any]:
        """The results for inputs of the recorded shapes and types."""
        with torch.no_grad():
            if self._call is None:
                self._call = self._compiled([*inputs, None, *self._constants])
            results: Sequence[Any] = self._call(None, *inputs, None, *self._constants)
        return results

    def is_same(self, other: Program) -> bool:
        """Whether another program computes the same."""
        return self._text == other._text and all(
            one.data_ptr() == two.data_ptr() or torch.equal(one, two)
            for one, two in zip(self._constants, other._constants, strict=True)
        )


# -------------------------------------------------------------------------------------------------
# Segments: which operations of a step one compiled call does.

_ON_EACH: Mapping[Any, tuple[int, int, float]] = {
    _aten.mul.Tensor: (kernels.MUL, 2, 0.0),
    _aten.relu.default: (kernels.RELU, 1, 0.0),
    _aten.threshold_backward.default: (kernels.RELU_BACK, 2, 0.0),
    _aten.leaky_relu.default: (kernels.LEAKY, 1, 0.01),
    _aten.leaky_relu_backward.default: (kernels.LEAKY_BACK, 2, 0.01),
    _aten.tanh_backward.default: (kernels.TANH_BACK, 2, 0.0),
    _aten.silu.default: (kernels.SILU, 1, 0.0),
    _aten.silu_backward.default: (kernels.SILU_BACK, 2, 0.0),
}
"""Elementwise operations: the kernel's number, the count of tensors, the default of a parameter."""

_BY_VECTORS = {kernels.TANH_BACK, kernels.SILU, kernels.SILU_BACK}
"""Operations that torch rounds differently for vectors than for single numbers."""

Code = tuple[int, Sequence[Any], Sequence[Any]]
"""The kernel's number of an operation, the nodes of its operands, and its sizes."""

Values = Mapping[Any, Any]
"""The tensor, or the tuple of tensors, of each node of a graph."""


def with_segments(graph: fx.Graph, given: Sequence[Tensor | None]) -> fx.Graph:
    """Put operations into segments where that gives the same numbers and is no slower.

    Args:
        graph: a step of S seeds, which are the first axis of each tensor.
        given: examples for its placeholders; they are not changed.
    """
    new, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    values = _values(graph, given) if kernels.can_run() and torch.get_num_threads() == 1 else {}
    pending: dict[fx.Node, Code | None] = {}
    for node in graph.nodes:
        code = _code(node, values) if values and node.op == "call_function" else None
        if code is not None and not _joins(node, code, pending, values):
            _flush(pending, new, copies, values)
            pending = {}
        if code is not None or _is_part(node, pending, values):
            pending[node] = code
            continue
        if pending.keys() & set(node.all_input_nodes) or _overwrites(node):
            _flush(pending, new, copies, values)
            pending = {}
        copies[node] = new.node_copy(node, copies.__getitem__)
    new.eliminate_dead_code()
    return new


def _joins(node: fx.Node, code: Code, pending: Any, values: Values) -> bool:
    """Whether an operation on a seed needs only the same seed's part of the pending tensors."""
    seeds = len(_first(values[node]))
    for operand in code[1]:
        root, shown = _first(values[_root(operand, values, pending)]), _first(values[operand])
        last = sum(
            (n - 1) * step for n, step in zip(shown.shape[1:], shown.stride()[1:], strict=True)
        )
        if operand in pending and (shown.stride(0) != root.stride(0) or last >= root[0].numel()):
            return False
    return all(
        len(_first(values[other])) == seeds
        for other, its_code in pending.items()
        if its_code is not None
    )


def _overwrites(node: fx.Node) -> bool:
    """Whether an operation changes an input. The schema of batch_norm does not say that it does."""
    kind = node.target
    return isinstance(kind, OpOverload) and (kind._schema.is_mutable or "batch_norm" in str(kind))


def _values(graph: fx.Graph, given: Sequence[Tensor | None]) -> Values:
    """Run a graph with copies of inputs; empty if a copy would have other strides."""
    own = [one if one is None or 0 in one.stride() else one.clone() for one in given]
    for one, copy in zip(given, own, strict=True):
        if one is not None and copy is not None and one.stride() != copy.stride():
            return {}
    values: dict[Any, Any] = {}
    left = iter(own)
    for node in graph.nodes:
        args, options = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        if node.op == "call_function":
            values[node] = node.target(*args, **options)
        elif node.op == "placeholder":
            values[node] = next(left)
    return values


def _is_part(node: fx.Node, pending: Any, values: Values) -> bool:
    """Whether a node is a view of a pending tensor, or one of several results."""
    inner = node.args and node.args[0] in pending
    return bool(inner and (_is_view(node, values) or node.target is getitem))


def _is_view(node: Any, values: Values) -> bool:
    if not isinstance(node.target, OpOverload) or not node.target.is_view:
        return False
    whole = values[node.args[0]]
    return isinstance(values[node], Tensor) and values[node].data_ptr() == whole.data_ptr()


def _root(node: Any, values: Values, codes: Values) -> Any:
    """The node of which a node is a view, or of which it is the first result."""
    while _is_view(node, values) or (node.target is getitem and node.args[0] in codes):
        node = node.args[0]
    return node


def _flush(
    pending: Mapping[fx.Node, Code | None],
    new: fx.Graph,
    copies: dict[fx.Node, fx.Node],
    values: Values,
) -> None:
    """Add the pending operations to the new graph, as one segment."""
    codes = {node: code for node, code in pending.items() if code is not None}
    if not codes:
        return
    read = {_root(node, values, codes) for node in pending if node.users.keys() - pending.keys()}
    segment = _CompiledCall(codes, [node for node in codes if node in read], values)
    call = new.call_function(segment, tuple(copies[node] for node in segment.inputs))
    for index, node in enumerate(segment.outputs):
        copies[node] = new.call_function(getitem, (call, index))
    for node in pending:
        root = _root(node, values, codes)
        if node.target is getitem:
            copies[node] = copies.get(root, node)
        elif node not in codes and root in copies:
            copies[node] = new.node_copy(node, copies.__getitem__)


class _CompiledCall:
    """Operations that one compiled call does, seed after seed.

    Attributes:
        inputs: the nodes of its arguments.
        outputs: the nodes of its results; each call overwrites the tensors of the last one.
    """

    def __init__(
        self,
        codes: Mapping[fx.Node, Code],
        outputs: Sequence[fx.Node],
        values: Values,
    ) -> None:
        self.outputs = outputs
        roots = [_root(one, values, codes) for _, operands, _ in codes.values() for one in operands]
        self.inputs = [one for one in dict.fromkeys(roots) if one not in codes]
        self._seeds = len(_first(values[next(iter(codes))]))
        # A tensor that only the segment reads has the memory of one seed.
        self._made = {
            node: torch.empty_like(_first(values[node])[: None if node in outputs else 1])
            for node in codes
        }
        self._results = tuple(self._made[node] for node in outputs)
        slots: dict[tuple[fx.Node, int], int] = {}  # by a tensor and its step from seed to seed
        words: list[list[int]] = []
        room = 1
        for node, (kind, operands, sizes) in codes.items():
            own: list[int] = []
            for operand in (node, *operands):
                root = _root(operand, values, codes)
                inner = root in codes and root not in outputs
                shown = _first(values[operand])
                step = 0 if inner else shown.element_size() * shown.stride(0)
                own.append(slots.setdefault((root, step), kernels.BASES + len(slots)))
            line = [kind, *own, *[0] * (4 - len(own)), *sizes]
            words.append(line + [0] * (kernels.WORDS - len(line)))
            if kind == kernels.PRODUCT:
                room = max(room, -(-sizes[1] // 16) * -(-sizes[2] // 16) * 256)
        self._room = torch.empty(room)
        self._code = np.array(words, np.int64)
        self._bases, self._steps = np.zeros((2, kernels.BASES + len(slots)), np.int64)
        of = {node: index for index, node in enumerate(self.inputs)}
        self._input_slots = [(slot, of[root]) for (root, _), slot in slots.items() if root in of]
        for (root, step), slot in slots.items():
            self._steps[slot] = step
            self._bases[slot] = self._made[root].data_ptr() if root in codes else 0
        self._args = (
            *(self._seeds, len(words), self._code.ctypes.data, self._bases.ctypes.data),
            *(self._steps.ctypes.data, self._room.data_ptr()),
        )
        self._bases[1 : kernels.BASES] = kernels.functions()
        self.__name__ = f"segment_{id(self)}"

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Compute the outputs of these inputs."""
        for slot, index in self._input_slots:
            self._bases[slot] = inputs[index].data_ptr()
        if compiled(kernels.run)(*self._args):
            raise IndexError("a target is out of bounds")
        return self._results


_tried: dict[tuple[Any, ...], bool] = {}
"""Whether an operation on such tensors gives the same in a segment, and is no slower."""

SLOWER, CALL = 1.5, 3e-5
"""A segment of a single operation may take this factor of torch's time, and these seconds more: as
a part of a longer segment it takes less."""


def _code(node: Any, values: Values) -> Code | None:
    """The code of an operation in a segment; None if it must stay torch's."""
    form, result = _FORMS.get(node.target), _first(values[node])
    code = form(node, values) if form is not None and _is_whole(result) else None
    if code is None:
        return None
    given = [_first(values[operand]) for operand in code[1]]
    if not all(isinstance(one, Tensor) and one.dim() and len(one) == len(result) for one in given):
        return None
    key = (code[0], code[2], *((one.shape, one.stride(), one.dtype) for one in (result, *given)))
    if key not in _tried:
        segment = _CompiledCall({node: code}, [node], values)
        inputs = [values[one] for one in segment.inputs]
        [ours] = segment(*inputs)
        same = bool(((ours == result) | (ours.isnan() & result.isnan())).all())
        args = tree_map(lambda arg: values[arg] if isinstance(arg, fx.Node) else arg, node.args)
        seconds = _fastest(lambda: segment(*inputs))
        torchs = _fastest(lambda: node.target(*args, **node.kwargs))
        _tried[key] = same and seconds < SLOWER * torchs + CALL
    return code if _tried[key] else None


def _fastest(call: Callable[[], Any]) -> float:
    return min(timeit.repeat(call, number=1, repeat=3))


def _first(result: Any) -> Any:
    """The first tensor of a result."""
    return result[0] if isinstance(result, tuple) else result


def _is_whole(result: Any) -> bool:
    return (
        isinstance(result, Tensor)
        and result.is_cpu
        and result.dtype == torch.float32
        and result.dim() > 0
        and result.is_contiguous()
    )


def _product(node: Any, values: Values) -> Code | None:
    *bias, left, right = node.args
    a, b = values[left], values[right]
    if bias:
        vector = values[bias[0]]
        if vector.shape != (len(a), 1, b.shape[2]) or vector.stride(2) != 1:
            return None
    if 1 not in b.stride()[1:]:
        return None
    sizes = (a.shape[1], *b.shape[:0:-1], *a.stride()[1:], *b.stride()[1:])
    return kernels.PRODUCT, (left, right, *bias), sizes


def _sum(node: Any, values: Values) -> Code | None:
    whole, *more = node.args
    found = values[whole]
    if more != [[1]] or not _is_whole(found) or found.dim() > 3 or found.shape[1] > 255:
        return None
    return kernels.ROWS if found.dim() == 3 else kernels.SUM, (whole,), found.shape[1:]


def _on_each(node: Any, values: Values) -> Code | None:
    kind, count, number = _ON_EACH[node.target]
    operands, more = node.args[:count], node.args[count:]
    result = values[node]
    for operand in operands:
        own = values.get(operand)
        if not isinstance(own, Tensor) or own.shape != result.shape or own.dtype != result.dtype:
            return None
        if not own[0].is_contiguous():
            return None
    if kind in _BY_VECTORS and result[0].numel() % (2 * LANES):
        return None  # torch computes the last numbers by other functions
    word = int(np.float32(more[0] if more else number).view(np.int32))
    return kind, operands, (result[0].numel(), word)


def _copy(node: Any, values: Values) -> Code | None:
    """A copy with other strides, and with zero columns added or columns left out at the end."""
    whole, found = values[node.args[0]], values[node]
    if whole.dim() != 3 or found.shape[:2] != whole.shape[:2]:
        return None
    filled = min(found.shape[2], whole.shape[2])
    return kernels.COPY, node.args[:1], (*found.shape[1:], filled, *whole.stride()[1:])


def _log_softmax(node: Any, values: Values) -> Code | None:
    found = values[node]
    back = node.target is _aten._log_softmax_backward_data.default
    operands = node.args[: 1 + back]
    wholes = all(_is_whole(values[one]) for one in operands)
    if not wholes or found.dim() != 3 or node.args[1 + back] != 1 or found.shape[2] % LANES:
        return None
    return kernels.LOG_SOFTMAX_BACK if back else kernels.LOG_SOFTMAX, operands, found.shape[1:]


def _nll(node: Any, values: Values) -> Code | None:
    *gradient, x, targets, weight, reduction, ignored = node.args[:6]
    whole, classes_of = values[x], values[targets]
    if weight is not None or reduction or classes_of.dtype != torch.int64:
        return None
    if classes_of.stride(2) != 1:
        return None
    if whole.dtype != torch.float32 or whole.shape[2] != 1:
        return None
    classes, count = whole.shape[1], whole.shape[3]
    if gradient:
        step = values[gradient[0]].stride(2)
        return kernels.NLL_BACK, (gradient[0], targets), (count, classes, step)
    backs = (one for part in node.users if part.args[1] for one in part.users)
    if not all(_code(one, values) for one in backs):  # torch's own needs the sum of weights
        return None
    return kernels.NLL, (x, targets), (count, classes, whole.stride(1), whole.stride(3), ignored)


def _share(node: Any, values: Values) -> Code | None:
    """A number of each seed, divided by a count."""
    given = [values.get(arg) for arg in node.args]
    kinds = [one.dtype for one in given if isinstance(one, Tensor) and one.dim() == 1]
    return (kernels.SHARE, node.args, ()) if kinds == [torch.float32, torch.int64] else None


def _ones(node: Any, values: Values) -> Code | None:
    return (kernels.ONES, node.args[:1], ()) if values[node].dim() == 1 else None


_FORMS: Mapping[Any, Callable[[Any, Values], Code | None]] = {
    _aten.baddbmm.default: _product,
    _aten.bmm.default: _product,
    _aten.sum.dim_IntList: _sum,
    **dict.fromkeys(_ON_EACH, _on_each),
    _aten.clone.default: _copy,
    _aten.constant_pad_nd.default: _copy,
    _aten.slice_backward.default: _copy,
    _aten._log_softmax.default: _log_softmax,
    _aten._log_softmax_backward_data.default: _log_softmax,
    _aten.nll_loss2d_forward.default: _nll,
    _aten.nll_loss2d_backward.default: _nll,
    _aten.div.Tensor: _share,
    _aten.ones_like.default: _ones,
}
