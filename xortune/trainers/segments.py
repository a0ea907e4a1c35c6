"""Operations of a recorded step that are done in one call: see `kernels.segments`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from operator import getitem
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._pytree import tree_map

from xortune.trainers.kernels import segments as kernels
from xortune.trainers.kernels.cache import compiled
from xortune.trainers.kernels.simd import LANES

_aten = torch.ops.aten

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
"""Operations on each number by itself: the kernel's, how many tensors, and the default number."""

_BY_VECTORS = {kernels.TANH_BACK, kernels.SILU, kernels.SILU_BACK}
"""What torch computes otherwise for vectors than for single numbers."""

Code = tuple[int, Sequence[Any], Sequence[Any]]
"""A kind of operation, its operands, and sizes."""

Values = Mapping[Any, Any]
"""What the nodes of a graph come to."""


def folded(graph: fx.Graph, given: Sequence[Tensor | None]) -> fx.Graph:
    """The same operations, in segments where that gives the same numbers and is no slower.

    Args:
        graph: of a step of S seeds, on which each tensor's first axis is.
        given: what its placeholders may be. None of it is changed.
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
        if pending.keys() & set(node.all_input_nodes) or _changes(node):
            _flush(pending, new, copies, values)
            pending = {}
        copies[node] = new.node_copy(node, copies.__getitem__)
    new.eliminate_dead_code()
    return new


def _joins(node: fx.Node, code: Code, pending: Any, values: Values) -> bool:
    """Whether a seed's part of an operation needs only that seed's part of what is pending."""
    seeds = len(_first(values[node]))
    for one in code[1]:
        root, shown = _first(values[_root(one, values, pending)]), _first(values[one])
        last = sum(
            (n - 1) * step for n, step in zip(shown.shape[1:], shown.stride()[1:], strict=True)
        )
        if one in pending and (shown.stride(0) != root.stride(0) or last >= root[0].numel()):
            return False
    inner = (other for other, its in pending.items() if its is not None)
    return all(len(_first(values[other])) == seeds for other in inner)


def _changes(node: fx.Node) -> bool:
    """Whether it writes over what it is given; not all schemas say so."""
    kind = node.target
    return isinstance(kind, OpOverload) and (kind._schema.is_mutable or "batch_norm" in str(kind))


def _values(graph: fx.Graph, given: Sequence[Tensor | None]) -> Values:
    """What each node comes to; nothing where copies of what is given lie otherwise in memory."""
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
    """Whether it shows a tensor of what is pending."""
    inner = node.args and node.args[0] in pending
    return bool(inner and (_is_view(node, values) or node.target is getitem))


def _is_view(node: Any, values: Values) -> bool:
    if not isinstance(node.target, OpOverload) or not node.target.is_view:
        return False
    whole = values[node.args[0]]
    return isinstance(values[node], Tensor) and values[node].data_ptr() == whole.data_ptr()


def _root(node: Any, values: Values, codes: Values) -> Any:
    """The tensor of which a node is a view, or the operation that it is the first result of."""
    while _is_view(node, values) or (node.target is getitem and node.args[0] in codes):
        node = node.args[0]
    return node


def _flush(
    pending: Mapping[fx.Node, Code | None],
    new: fx.Graph,
    copies: dict[fx.Node, fx.Node],
    values: Values,
) -> None:
    """Add what is pending to the new graph, as one segment."""
    codes = {node: code for node, code in pending.items() if code is not None}
    if not codes:
        return
    kept = {_root(node, values, codes) for node in pending if node.users.keys() - pending.keys()}
    segment = _Segment(codes, [node for node in codes if node in kept], values)
    call = new.call_function(segment, tuple(copies[node] for node in segment.inputs))
    for place, node in enumerate(segment.outputs):
        copies[node] = new.call_function(getitem, (call, place))
    for node in pending:
        root = _root(node, values, codes)
        if node.target is getitem:
            copies[node] = copies.get(root, node)
        elif node not in codes and root in copies:
            copies[node] = new.node_copy(node, copies.__getitem__)


class _Segment:
    """Some operations, seed after seed.

    Attributes:
        inputs: nodes whose tensors it is called with.
        outputs: nodes whose tensors it returns; each call writes over those of the last one.
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
        # A tensor that only the segment reads is there for one seed at a time.
        self._made = {
            node: torch.empty_like(_first(values[node])[: None if node in outputs else 1])
            for node in codes
        }
        self._found = tuple(self._made[node] for node in outputs)
        places: dict[tuple[fx.Node, int], int] = {}
        words: list[list[int]] = []
        room = 1
        for node, (kind, operands, sizes) in codes.items():
            its: list[int] = []
            for one in (node, *operands):
                root = _root(one, values, codes)
                inner = root in codes and root not in outputs
                shown = _first(values[one])
                step = 0 if inner else shown.element_size() * shown.stride(0)
                its.append(places.setdefault((root, step), kernels.BASES + len(places)))
            line = [kind, *its, *[0] * (4 - len(its)), *sizes]
            words.append(line + [0] * (kernels.WORDS - len(line)))
            if kind == kernels.PRODUCT:
                room = max(room, -(-sizes[1] // 16) * -(-sizes[2] // 16) * 256)
        self._room = torch.empty(room)
        self._code = np.array(words, np.int64)
        self._bases, self._steps = np.zeros((2, kernels.BASES + len(places)), np.int64)
        of = {node: place for place, node in enumerate(self.inputs)}
        self._own = [(at, of[root]) for (root, _), at in places.items() if root in of]
        for (root, step), at in places.items():
            self._steps[at] = step
            self._bases[at] = self._made[root].data_ptr() if root in codes else 0
        self._args = (
            *(self._seeds, len(words), self._code.ctypes.data, self._bases.ctypes.data),
            *(self._steps.ctypes.data, self._room.data_ptr()),
        )
        self._bases[1 : kernels.BASES] = kernels.functions()
        self.__name__ = f"segment_{id(self)}"

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Compute the outputs of these inputs."""
        for at, place in self._own:
            self._bases[at] = inputs[place].data_ptr()
        if compiled(kernels.run)(*self._args):
            raise IndexError("a target is out of bounds")
        return self._found


# -------------------------------------------------------------------------------------------------
# Which operations.


_tried: dict[tuple[Any, ...], bool] = {}
"""Whether an operation of such tensors is the same in a segment, and no slower."""

SLOWER, CALL = 1.5, 3e-5
"""So many times what torch takes, and seconds more, an operation may take by itself: in a segment
it takes less."""


def _code(node: Any, values: Values) -> Code | None:
    """What a segment does for an operation; None where that is not the same, or slower."""
    form, found = _FORMS.get(node.target), _first(values[node])
    code = form(node, values) if form is not None and _is_whole(found) else None
    if code is None:
        return None
    given = [_first(values[one]) for one in code[1]]
    if not all(isinstance(one, Tensor) and one.dim() and len(one) == len(found) for one in given):
        return None
    key = (code[0], code[2], *((one.shape, one.stride(), one.dtype) for one in (found, *given)))
    if key not in _tried:
        segment = _Segment({node: code}, [node], values)
        own = [values[one] for one in segment.inputs]
        [ours] = segment(*own)
        same = bool(((ours == found) | (ours.isnan() & found.isnan())).all())
        args = tree_map(lambda one: values[one] if isinstance(one, fx.Node) else one, node.args)
        took = _fastest(lambda: segment(*own)), _fastest(lambda: node.target(*args, **node.kwargs))
        _tried[key] = same and took[0] < SLOWER * took[1] + CALL
    return code if _tried[key] else None


def _fastest(call: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _first(found: Any) -> Any:
    """What an operation returns, the first of several."""
    return found[0] if isinstance(found, tuple) else found


def _is_whole(found: Any) -> bool:
    return (
        isinstance(found, Tensor)
        and found.is_cpu
        and found.dtype == torch.float32
        and found.dim() > 0
        and found.is_contiguous()
    )


def _product(node: Any, values: Values) -> Code | None:
    *bias, a, b = node.args
    one, two = values[a], values[b]
    if bias:
        own = values[bias[0]]
        if own.shape != (len(one), 1, two.shape[2]) or own.stride(2) != 1:
            return None
    if 1 not in two.stride()[1:]:
        return None
    sizes = (one.shape[1], *two.shape[:0:-1], *one.stride()[1:], *two.stride()[1:])
    return kernels.PRODUCT, (a, b, *bias), sizes


def _sum(node: Any, values: Values) -> Code | None:
    whole, *more = node.args
    found = values[whole]
    if more != [[1]] or not _is_whole(found) or found.dim() > 3 or found.shape[1] > 255:
        return None
    return kernels.ROWS if found.dim() == 3 else kernels.SUM, (whole,), found.shape[1:]


def _on_each(node: Any, values: Values) -> Code | None:
    kind, count, number = _ON_EACH[node.target]
    operands, more = node.args[:count], node.args[count:]
    found = values[node]
    for one in operands:
        its = values.get(one)
        if not isinstance(its, Tensor) or its.shape != found.shape or its.dtype != found.dtype:
            return None
        if not its[0].is_contiguous():
            return None
    if kind in _BY_VECTORS and found[0].numel() % (2 * LANES):
        return None  # torch computes the last numbers by other functions
    word = int(np.float32(more[0] if more else number).view(np.int32))
    return kind, operands, (found[0].numel(), word)


def _copy(node: Any, values: Values) -> Code | None:
    """A copy with other strides, with zeros behind or without the last columns."""
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
    whole, its = values[x], values[targets]
    if weight is not None or reduction or its.dtype != torch.int64 or its.stride(2) != 1:
        return None
    if whole.dtype != torch.float32 or whole.shape[2] != 1:
        return None
    classes, count = whole.shape[1], whole.shape[3]
    if gradient:
        step = values[gradient[0]].stride(2)
        return kernels.NLL_BACK, (gradient[0], targets), (count, classes, step)
    backs = (one for part in node.users if part.args[1] for one in part.users)
    if not all(_code(one, values) for one in backs):  # one of torch's needs the sum of weights
        return None
    return kernels.NLL, (x, targets), (count, classes, whole.stride(1), whole.stride(3), ignored)


def _share(node: Any, values: Values) -> Code | None:
    """The quotient of a seed's number and a count."""
    of = [values.get(one) for one in node.args]
    kinds = [one.dtype for one in of if isinstance(one, Tensor) and one.dim() == 1]
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
