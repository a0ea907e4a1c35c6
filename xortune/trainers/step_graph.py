"""A training step as a graph of torch operations, which is replayed without the Python around it.

A step of stacked seeds is a hundred small operations of torch. With few seeds, `vmap`,
`functional_call`, autograd and the layers' own Python take longer than the operations; with many,
the step's tensors do not stay in the processor's cache. So `Recording` records the operations of a
step, and `Program` repeats them for other inputs. Runs of operations become segments: one compiled
call does them all, seed after seed (see `kernels.segments`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from operator import getitem
from types import FunctionType, ModuleType
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
    """What a step computes, while this context lasts.

    Args:
        inputs: the tensors that differ from step to step.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = fx.Graph()
        places = [self._graph.placeholder(f"i{place}") for place in range(1 + len(inputs))]
        self._last = places[-1]
        self._nodes = dict(zip(map(id, inputs), places, strict=False))
        self._alive: list[Any] = list(inputs)  # an id is of one tensor while that lives
        self._wholes: dict[int, Tensor] = {}  # of which tensor others are views
        self._constants: list[Tensor] = []
        self._kept: set[fx.Node] = set()
        self._only_tensors = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute an operation, and note it."""
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        outputs = tree_flatten(found)[0]
        self._alive += [given, outputs]
        if func in _MAYBE_VIEWS:
            whole = self._wholes[id(found)] = self._wholes.get(id(args[0]), args[0])
            same = next((one for one in (args[0], whole) if _is_all_of(found, one)), None)
            if same is not None:
                self._nodes[id(found)] = self._named(same)
                return found
        if func.is_view and not any(map(self._varies, given)):
            return found  # of a parameter, say: a view remains one
        if not all(isinstance(one, Tensor | None) for one in outputs):
            self._only_tensors = False  # what is then done with a number is not seen
        node = self._graph.call_function(func, *tree_map(self._named, (args, kwargs)))
        shares = func is _aten._unsafe_view.default or any(
            one.alias_info is not None for one in func._schema.arguments
        )
        node.meta["lies"] = None if shares else _lies(found)
        if isinstance(found, Tensor):
            self._nodes[id(found)] = node
        else:
            for place, one in enumerate(outputs):
                if isinstance(one, Tensor) and id(one) not in self._nodes:
                    item = self._nodes[id(one)] = self._graph.call_function(getitem, (node, place))
                    item.meta["lies"] = None if shares else _lies(one)
        return found

    def _varies(self, tensor: Tensor) -> bool:
        node = self._nodes.get(id(tensor))
        return node is not None and node not in self._kept

    def _named(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:  # a parameter, or what the user made at another time
            with self._graph.inserting_after(self._last):
                self._last = self._graph.placeholder(f"c{len(self._constants)}")
            self._nodes[id(value)] = self._last
            self._kept.add(self._last)
            self._constants.append(value)
        return self._nodes[id(value)]

    def program(self, found: Sequence[Tensor | None]) -> Program | None:
        """What computes this of other inputs; None if more than operations on tensors was seen."""
        if not self._only_tensors:
            return None
        self._graph.output(tuple(self._named(one) for one in found))
        self._graph.eliminate_dead_code()
        return Program(self._graph, self._constants)


_MAYBE_VIEWS = {
    *(_aten.alias.default, _aten.detach.default, _aten.expand.default, _aten.permute.default),
    *(_aten.transpose.int, _aten.view.default, _aten._unsafe_view.default),
}


def _is_all_of(view: Tensor, whole: Tensor) -> bool:
    """Whether a view shows a tensor as it is."""
    same = view.shape == whole.shape and view.stride() == whole.stride()
    return same and view.data_ptr() == whole.data_ptr()


def _lies(found: Any) -> tuple[Any, ...]:
    """How a tensor lies in memory; nothing of several."""
    return (found.shape, found.stride(), found.dtype) if isinstance(found, Tensor) else ()


def _use_again(graph: fx.Graph) -> None:
    """Have operations on each number by itself write over what nobody reads any more.

    What they read is in the processor's cache, and new memory is not.
    """
    later: set[fx.Node] = set()  # what is read by what follows
    for node in reversed(graph.nodes):
        inputs, its = node.all_input_nodes, node.meta.get("lies")
        into = _into(node.target) if node.op == "call_function" and its else None
        free = [one for one in inputs if one.meta.get("lies") == its and one not in later]
        free = [one for one in free if all(u.meta.get("lies", ()) is not None for u in one.users)]
        if into is not None and free:
            node.target, name = into
            node.kwargs = {**node.kwargs, name: free[0]}
        later.update(inputs)


@cache
def _into(operation: Any) -> tuple[Any, str] | None:
    """The same operation as one that writes into a tensor, and the name of that."""
    if not isinstance(operation, OpOverload) or torch.Tag.pointwise not in operation.tags:
        return None
    asked = [(one.name, str(one.type)) for one in operation._schema.arguments]
    for name in operation.overloadpacket.overloads():
        other = getattr(operation.overloadpacket, name)
        *same, last = other._schema.arguments or [None]
        if last is not None and last.is_out and [(a.name, str(a.type)) for a in same] == asked:
            return other, last.name
    return None


class Program:
    """The operations of a step."""

    def __init__(self, graph: fx.Graph, constants: list[Tensor]) -> None:
        self._graph, self._constants, self._text = graph, constants, str(graph)
        self._call: Callable[..., Any] | None = None

    def _compiled(self, given: Sequence[Tensor | None]) -> Callable[..., Any]:
        self._graph = graph = folded(self._graph, given)
        _use_again(graph)
        code = graph.python_code("")
        # An operation's own Python, between its name and its code, takes as long as a small one.
        called = {one.target for one in graph.nodes if isinstance(one.target, OpOverload)}
        names, source = {f"of_{place}": one._op for place, one in enumerate(called)}, code.src
        for place, one in enumerate(called):
            source = source.replace(f"torch.ops.{one}(", f"of_{place}(")
        names.update(code.globals)
        exec(source, names)  # noqa: S102  # as fx does
        forward: Callable[..., Any] = names["forward"]
        return forward

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Any]:
        """What the step comes to, of these inputs: of the shapes and types that it was made of."""
        with torch.no_grad():
            if self._call is None:
                self._call = self._compiled([*inputs, None, *self._constants])
            found: Sequence[Any] = self._call(None, *inputs, None, *self._constants)
        return found

    def is_as(self, other: Program) -> bool:
        """Whether another one computes the same."""
        return self._text == other._text and all(
            one.data_ptr() == two.data_ptr() or torch.equal(one, two)
            for one, two in zip(self._constants, other._constants, strict=True)
        )


# -------------------------------------------------------------------------------------------------
# Segments.

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


# -------------------------------------------------------------------------------------------------
# What a step may read: a recording holds only as long as none of it changes.

DEEP = 5


def held(*objects: Any) -> list[Any]:
    """What a training's methods may read that is none of their arguments, as far as that is seen.

    These are the attributes of objects and of the user's classes, the variables that the user's
    functions name, and what is in them. Of what goes on by being read, an iterator, each call gives
    something else.
    """
    seen: set[int] = set()
    return [found for one in objects for found in _held(one, seen, DEEP)]


def _held(value: Any, seen: set[int], deep: int) -> Iterator[Any]:
    if id(value) in seen or isinstance(value, _PLAIN):
        return
    seen.add(id(value))
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    inner: list[Any] = []
    if isinstance(value, Iterator):
        yield object()
    elif isinstance(value, dict):
        inner += dict.values(value)  # a configuration notes who reads it
    elif isinstance(value, list | tuple | set):
        inner += value
    elif isinstance(value, type):
        inner += vars(value).values() if _is_users(value) else ()
    elif isinstance(value, FunctionType):
        if _is_users(value):
            inner += (cell.cell_contents for cell in value.__closure__ or ())
            names = value.__code__.co_names
            inner += (value.__globals__[name] for name in names if name in value.__globals__)
    else:
        inner += getattr(value, "__dict__", {}).values()
        inner += type(value).__mro__
    yield from inner
    for one in inner if deep else ():
        yield from _held(one, seen, deep - 1)


_PLAIN = (int, float, str, bytes, Tensor, ModuleType, type(None))


def _is_users(value: Any) -> bool:
    return value.__module__.partition(".")[0] not in {"torch", "xortune", "builtins", "abc"}
