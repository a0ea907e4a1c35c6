"""A step of torch as the list of its operations, which is then repeated without the way to them.

A step of a stack is a hundred small operations of torch. `vmap`, `functional_call`, autograd and
the layers' own Python take longer to come to them than a stack of few seeds takes to compute them,
and a stack of many seeds does not stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import getitem
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from xortune.trainers.segments import folded

DEEP = 5
"""So many steps from an object to what it holds are gone."""


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


_aten = torch.ops.aten
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
