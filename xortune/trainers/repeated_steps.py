"""The steps of a stack: by the user's loss, or by repeating the operations of a recorded one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from torch import Tensor, nn

from xortune.trainers.epoch_batches import StackedBatch
from xortune.trainers.seed_draws import Draws
from xortune.trainers.step_graph import Program, recorded

LossesAndGradients = tuple[Tensor, Sequence[Tensor | None]]
"""The losses of a step, shape (S,), and the gradient of each trained parameter."""


class StackSteps:
    """Computes each step of a stack: by the user's loss, or by repeating a recorded step.

    A step is repeated if one with a batch of the same shapes was recorded, and no attribute of the
    training's object or of a layer has changed since.

    Args:
        lead: the training's object whose `loss` is called.
        model: whose layers it calls.
        repeats: record steps and repeat them.

    Attributes:
        repeats: whether steps are recorded and repeated; once False, it stays so.
    """

    def __init__(self, lead: Any, model: nn.Module, *, repeats: bool) -> None:
        self._read, self.repeats = [lead, *model.modules()], repeats
        # By the shapes of a batch: the recorded step, and what the loss draws.
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._draws: dict[tuple[Any, ...], Draws] = {}
        self._attributes = self._look()

    def _look(self) -> list[Any]:
        """All attributes that a step may read."""
        return [value for one in self._read for value in vars(one).values()]

    def _has_changed(self) -> bool:
        """Whether an attribute is another one than at the last call."""
        before, self._attributes = self._attributes, self._look()
        return len(before) != len(self._attributes) or not all(map(is_, before, self._attributes))

    def forget(self) -> None:
        """Forget all recorded steps: the next ones are recorded again."""
        self._programs.clear()

    def repeat_no_more(self) -> None:
        """Record no more steps, and repeat none."""
        self.repeats = False
        self.forget()

    def compute(
        self,
        batch: StackedBatch,
        states: Tensor,
        note: Callable[[StackedBatch], Draws],
        by_loss: Callable[[StackedBatch, Draws, Sequence[Tensor]], LossesAndGradients],
    ) -> LossesAndGradients:
        """The losses and gradients of a step.

        Args:
            batch: of all seeds.
            states: of the seeds' generators, uint8, shape (S, bytes); they are advanced.
            note: finds out what the loss of a batch draws.
            by_loss: computes the step of a batch from what its loss draws, and these draws.
        """
        if self.repeats and self._has_changed():
            self.forget()
        shapes = (batch.axes, *map(_signature, batch.values))
        # New shapes after others are an epoch's last rows, say: they are not recorded at once.
        is_another = bool(self._draws) and shapes not in self._draws
        if shapes not in self._draws:
            self._draws[shapes] = note(batch)
        draws = self._draws[shapes]
        drawn = tuple(wanted.make(states) for wanted in draws.wanted)
        inputs = [one for one in (*batch.values, *drawn) if isinstance(one, Tensor)]
        if shapes in self._programs:
            losses, *repeated = self._programs[shapes](inputs)
            return losses, repeated
        # A recording knows its inputs by their ids. A tensor that is given twice would be one
        # input in it, and two different tensors in a later step would be taken for one.
        are_distinct = len({id(one) for one in inputs}) == len(inputs)
        may_record = self.repeats and not is_another and are_distinct
        if not may_record:
            return by_loss(batch, draws, drawn)
        self._has_changed()  # by `note`, say
        with recorded(inputs) as recording:
            losses, gradients = by_loss(batch, draws, drawn)
        program = recording.program([losses, *gradients])
        if program is None or self._has_changed():  # the next step may differ
            self.repeat_no_more()
        else:
            self._programs[shapes] = program
        return losses, gradients


def _signature(value: Any) -> Any:
    """What a part of a batch must have in common with another for a recorded step to fit both."""
    if not isinstance(value, Tensor):
        return value
    return value.shape, value.stride(), value.dtype, value.requires_grad
