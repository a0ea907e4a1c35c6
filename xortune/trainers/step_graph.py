"""A training step as a graph of torch operations, which is replayed without the Python around it.

A step of stacked seeds is a hundred small operations of torch. With few seeds, `vmap`,
`functional_call`, autograd and the layers' own Python take longer than the operations. So
`Recording` records the operations of a step, and `Program` repeats them for other inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import getitem
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

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
        if isinstance(result, Tensor):
            self._nodes[id(result)] = node
        else:
            for index, output in enumerate(outputs):
                if isinstance(output, Tensor) and id(output) not in self._nodes:
                    self._nodes[id(output)] = self._graph.call_function(getitem, (node, index))
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


class Program:
    """The operations of a recorded step, compiled at the first call."""

    def __init__(self, graph: fx.Graph, constants: list[Tensor]) -> None:
        self._graph, self._constants, self._text = graph, constants, str(graph)
        self._call: Callable[..., Any] | None = None

    def _compiled(self) -> Callable[..., Any]:
        code = self._graph.python_code("")
        # `_op` calls the operation without its Python wrapper, which takes as long as a small one.
        called = {node.target for node in self._graph.nodes if isinstance(node.target, OpOverload)}
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
                self._call = self._compiled()
            results: Sequence[Any] = self._call(None, *inputs, None, *self._constants)
        return results

    def is_same(self, other: Program) -> bool:
        """Whether another program computes the same."""
        return self._text == other._text and all(
            one.data_ptr() == two.data_ptr() or torch.equal(one, two)
            for one, two in zip(self._constants, other._constants, strict=True)
        )


# -------------------------------------------------------------------------------------------------
# What the user's methods may read in a step. A recording is valid as long as none of it changes.

DEPTH = 5
"""Maximum number of references that are followed from an object."""


def readable_values(*objects: Any) -> list[Any]:
    """The objects that a training's methods may read beside their arguments, as far as known.

    These are the attributes of objects and of the user's classes, the variables that the user's
    functions name, and what they refer to. In place of an iterator, which changes when it is read,
    each call gives a new object.
    """
    seen: set[int] = set()
    return [found for value in objects for found in _readable(value, seen, DEPTH)]


def _readable(value: Any, seen: set[int], depth: int) -> Iterator[Any]:
    if id(value) in seen or isinstance(value, _PLAIN):
        return
    seen.add(id(value))
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    inner: list[Any] = []
    if isinstance(value, Iterator):
        yield object()
    elif isinstance(value, dict):
        inner += dict.values(value)  # a `TrackedConfig` would note that it is read
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
    for one in inner if depth else ():
        yield from _readable(one, seen, depth - 1)


_PLAIN = (int, float, str, bytes, Tensor, ModuleType, type(None))


def _is_users(value: Any) -> bool:
    return value.__module__.partition(".")[0] not in {"torch", "xortune", "builtins", "abc"}
