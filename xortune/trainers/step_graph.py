"""A training step as a list of torch operations, which is repeated without the Python around it.

A step of stacked seeds is a hundred small operations of torch. With few seeds, `vmap`,
`functional_call`, autograd and the layers' own Python take four times as long as the operations. So
the first step is recorded, and the next ones only repeat its operations with other batches:

    with recorded([x]) as recording:
        loss = (model(x) ** 2).mean()          # computed as ever, by whatever Python it takes
    program = recording.program([loss])
    program([other])                           # the loss of another x of the same shape

A recording has three kinds of tensors. The *inputs* are other ones in each step. *Constants* were
made before the recording: parameters, say. A program reads their numbers anew in each step, so that
it sees what an optimizer has changed in place. All others are results of operations.

What Python decides in the recorded step it decides for all steps. So the caller records again when
an attribute has changed (`Stack`), and `Recording.program` refuses a step of which Python sees a
number, as by `item`, `tolist` or `numpy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode

from xortune.core.private import each_operation_by

# -------------------------------------------------------------------------------------------------
# Recording.


@contextmanager
def recorded(inputs: Sequence[Tensor]) -> Iterator[Recording]:
    """Within this context the operations of a step are recorded.

    Args:
        inputs: the tensors that differ from step to step.
    """
    recording = Recording(inputs)
    with each_operation_by(recording.run), _Reading(recording):
        yield recording


class _Reading(TorchFunctionMode):
    """Tells a recording of functions that give Python numbers and are no operations."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute a function of torch."""
        if func in _READ:
            self._recording.only_tensors = False
        return func(*args, **(kwargs or {}))


_READ = {Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__}


_is_aside: ContextVar[bool] = ContextVar("_is_aside", default=False)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Within this context no operation becomes part of a step that is being recorded."""
    before = _is_aside.set(True)
    try:
        yield
    finally:
        _is_aside.reset(before)


class Recording:
    """The operations of a step, as nodes of an `fx.Graph`.

    Attributes:
        only_tensors: whether no number has left a tensor.

    Args:
        inputs: the tensors that differ from step to step.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._graph = fx.Graph()
        places = [self._graph.placeholder(f"i{place}") for place in range(len(inputs))]
        self._last_place = places[-1] if places else self._graph.placeholder("none")
        self._nodes = dict(zip(map(id, inputs), places, strict=True))  # by a tensor's id
        self._varying = set(places)  # nodes with other numbers in each step
        self._constants: list[Tensor] = []
        self._wholes: dict[int, Tensor] = {}  # the tensor of a view, by the view's id
        self._alive: list[Any] = list(inputs)  # so that no id is used twice
        self.only_tensors = True

    def run(self, operation: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run an operation, and record it."""
        result = operation(*args, **options)
        if _is_aside.get():
            return result
        given, outputs = _leaves((args, options)), _leaves(result)
        tensors = [one for one in given if isinstance(one, Tensor)]
        self._alive += [tensors, outputs]
        if self._is_known_view(result, tensors):
            return result
        if not all(isinstance(output, Tensor | None) for output in outputs):
            self.only_tensors = False  # what Python does with a number is not recorded
        node = self._add(operation, *map_aggregate((args, options), self._node_of))
        if isinstance(result, Tensor):
            self._nodes[id(result)] = node
            return result
        for index, output in enumerate(outputs):
            if isinstance(output, Tensor) and id(output) not in self._nodes:
                self._nodes[id(output)] = self._add(getitem, (node, index), {})
        return result

    def _is_known_view(self, result: Any, tensors: Sequence[Tensor]) -> bool:
        """Whether an operation gives a view for which no step needs to run it.

        It shows the same numbers as the tensor that is given, or as the tensor of which the given
        one is a view: then its node is known. Or all that is given are constants, and it is one
        too, such as a transposed parameter.
        """
        shown = next((one for one in tensors if _share_memory(result, one)), None)
        if shown is None or any(result is one for one in tensors):
            return False  # no view, or a tensor that is changed in place
        whole = self._wholes[id(result)] = self._wholes.get(id(shown), shown)
        for same in (shown, whole):
            if _shows(result) == _shows(same):
                self._nodes[id(result)] = self._node_of(same)
                return True
        return self._varying.isdisjoint(self._nodes.get(id(one)) for one in tensors)

    def _add(self, function: Any, args: Any, options: Any) -> fx.Node:
        node = self._graph.call_function(function, args, options)
        self._varying.add(node)
        return node

    def _node_of(self, value: Any) -> Any:
        """The node of a tensor; what is no tensor stands for itself."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:  # made before the step: a constant
            with self._graph.inserting_after(self._last_place):
                self._last_place = self._graph.placeholder(f"c{len(self._constants)}")
            self._nodes[id(value)] = self._last_place
            self._constants.append(value)
        return self._nodes[id(value)]

    def program(self, results: Sequence[Tensor | None]) -> Program | None:
        """The program that computes these results; None if the step is not all tensor operations.

        Numbers that leave a tensor, as by `item`, may decide what the step does next.
        """
        if not self.only_tensors:
            return None
        self._graph.output(tuple(self._node_of(result) for result in results))
        self._graph.eliminate_dead_code()
        return Program(self._graph, self._constants)


def _leaves(nested: Any) -> list[Any]:
    """What is in nested tuples, lists and dicts."""
    found: list[Any] = []
    map_aggregate(nested, found.append)
    return found


def _share_memory(one: Any, other: Tensor) -> bool:
    return isinstance(one, Tensor) and (
        one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )


def _shows(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor's numbers lie and how they are read."""
    place = tensor.data_ptr(), tensor.shape, tensor.stride()
    return *place, tensor.dtype, tensor.is_conj(), tensor.is_neg()


# -------------------------------------------------------------------------------------------------
# Repeating.


class Program:
    """The operations of a recorded step; `torch.fx` makes them a function at the first call."""

    def __init__(self, graph: fx.Graph, constants: list[Tensor]) -> None:
        self._graph, self._constants = graph, constants
        self._function: Callable[..., Any] | None = None

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Any]:
        """The results for inputs of the recorded shapes and types."""
        if self._function is None:
            self._function = fx.GraphModule({}, self._graph).forward
        with torch.inference_mode():  # a tenth less than `no_grad` for few seeds
            results: Sequence[Any] = self._function(*inputs, *self._constants)
        return results
