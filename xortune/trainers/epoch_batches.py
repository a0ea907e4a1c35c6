"""Makes the batches of an epoch for all seeds of a stack.

    batches = EpochBatches(at_once=True, expected=of_the_last_seed)
    for batch in batches.of_epoch(trainings, states):
        ...                                # batch.values: tensors of shape (S, ...), or shared ones

Made *at once*, `batches` is called once for all seeds: within `vmap`, where each seed draws with
its own generator (`seed_draws`). Where `vmap` cannot do that, they are made *in turn*: for each
batch of the stack, the next batch of one seed after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from xortune.trainers.batching_rules import LOOP, CannotStack, Ruled, for_each
from xortune.trainers.limits import clock
from xortune.trainers.seed_draws import SeedDraw, drawing_rules

BATCHES_BYTES = 2**28
"""Maximum size in bytes of an epoch's batches, for all seeds, that are made at once."""


class NotAtOnce(CannotStack):
    """The batches of all seeds cannot be made by one call: they are to be made in turn."""


class StackedBatch(NamedTuple):
    """A batch of all seeds: what `loss` gets after the model.

    Attributes:
        values: its tensors, and what is no tensor.
        axes: of each value: 0 if its first axis is the seed, None if all seeds have the same.
    """

    values: tuple[Any, ...]
    axes: tuple[int | None, ...]


class EpochBatches:
    """Makes the batches of all seeds, epoch after epoch.

    Attributes:
        at_once: whether they are made at once.
        seconds: that it took to make the last epoch's at once, for each of its steps.

    Args:
        at_once: make them at once.
        expected: the batches of the last seed in the first epoch, as the loop makes them; empty:
            they are not compared.
    """

    def __init__(self, *, at_once: bool = True, expected: Sequence[Any] = ()) -> None:
        self.at_once, self.seconds, self._expected = at_once, 0.0, expected

    def of_epoch(self, trainings: Sequence[Any], states: Tensor) -> Iterable[StackedBatch]:
        """The batches of an epoch.

        Args:
            trainings: the object of each of the S seeds.
            states: of their generators, uint8, shape (S, bytes); they are advanced.

        Raises:
            NotAtOnce: they were to be made at once.
        """
        if not self.at_once:
            return self._made_in_turn(trainings, states)
        began = clock()
        batches = self._made_at_once(trainings[0], states)
        self.seconds = (clock() - began) / max(1, len(batches))
        return batches

    def _made_at_once(self, training: Any, states: Tensor) -> list[StackedBatch]:
        """All batches by one call.

        It fails where the batches are large, where `batches` draws random numbers later than at its
        beginning or by other functions than torch's usual ones, and where `vmap` refuses it.
        """
        unseeded, made, rows = states[0].clone(), list[tuple[Any, ...]](), list[Tensor]()
        torch.set_rng_state(unseeded)

        def draw(wanted: SeedDraw, like: Tensor | None) -> Tensor:
            """What each seed draws."""
            if made or not (like is None or like.is_contiguous()):
                raise CannotStack("draws later")
            return for_each(lambda: wanted.make(states), rows[0])

        def tensors(row: Tensor) -> list[Tensor]:
            """Make the batches; the tensors in them, for `vmap` to stack."""
            rows.append(row)
            for batch in in_memory(training.batches(), len(states)):
                made.append(batch)  # `draw` looks at it
            return [one for batch in made for one in batch if isinstance(one, Tensor)]

        try:
            with Ruled(drawing_rules(draw)):
                found = vmap(tensors, randomness="error")(torch.arange(len(states)))
        except Exception as refused:  # an error of the user's code is raised again in turn
            raise NotAtOnce(f"{refused}: {LOOP}") from refused
        batches = _stacked_by_vmap(made, found)
        is_same = len(self._expected) in {0, len(batches)} and all(
            map(_ends_with, batches, self._expected)
        )
        self._expected = ()
        if not is_same or not torch.equal(unseeded, torch.get_rng_state()):
            raise NotAtOnce(f"draws otherwise: {LOOP}")
        return batches

    def _made_in_turn(self, trainings: Sequence[Any], states: Tensor) -> Iterator[StackedBatch]:
        """Batch after batch, each of one seed after the other."""
        iterators: list[Iterator[Any]] = []
        while True:
            batches = []
            for row, (training, state) in enumerate(zip(trainings, states, strict=True)):
                torch.set_rng_state(state.clone())
                if row == len(iterators):  # here, because `batches` may draw at once
                    iterators.append(iter(training.batches()))
                batch = next(iterators[row], None)
                state.copy_(torch.get_rng_state())
                if batch is not None:
                    batches.append(tuple(batch))
            if batches and len(batches) < len(iterators):
                raise CannotStack(f"seeds have different numbers of batches: {LOOP}")
            if not batches:
                return
            yield _stacked(batches)


def _ends_with(batch: StackedBatch, own: Sequence[Any]) -> bool:
    """Whether a batch of all seeds has these values for the last one."""
    for one, axis, other in zip(batch.values, batch.axes, own, strict=True):
        last = one if axis is None else one[-1]
        is_same = torch.equal(last, other) if isinstance(one, Tensor) else last == other
        if not is_same:
            return False
    return True


def in_memory(batches: Iterable[Any], seeds: int) -> Iterator[tuple[Any, ...]]:
    """The batches of an epoch, as long as those of so many seeds are not too large.

    Raises:
        NotAtOnce: they are.
    """
    size = 0
    for batch in batches:
        size += sum(one.nbytes for one in batch if isinstance(one, Tensor))
        if size * seeds > BATCHES_BYTES:
            raise NotAtOnce("the batches of an epoch take too much memory")
        yield tuple(batch)


def _stacked_by_vmap(
    batches: Sequence[tuple[Any, ...]], tensors: Iterable[Tensor]
) -> list[StackedBatch]:
    """Batches of all seeds, from those of one seed and their tensors as `vmap` has stacked them."""
    left = iter(tensors)
    found: list[StackedBatch] = []
    for batch in batches:
        wholes = [next(left) if isinstance(one, Tensor) else one for one in batch]
        # `vmap` expands tensors that are the same for all seeds
        shared = [isinstance(one, Tensor) and one.stride(0) == 0 for one in wholes]
        values = [one[0] if same else one for one, same in zip(wholes, shared, strict=True)]
        axes = [0 if isinstance(one, Tensor) and one.stride(0) else None for one in wholes]
        found.append(StackedBatch(tuple(values), tuple(axes)))
    return found


def _stacked(batches: Sequence[tuple[Any, ...]]) -> StackedBatch:
    """A batch of all seeds, from that of each."""
    values: list[Any] = []
    axes: list[int | None] = []
    for parts in zip(*batches, strict=True):
        first = parts[0]
        if isinstance(first, Tensor) and any(one is not first for one in parts):
            if any(one.shape != first.shape for one in parts):
                raise CannotStack(f"seeds have batches of different shapes: {LOOP}")
            values.append(torch.stack(parts))
            axes.append(0)
        else:
            if not isinstance(first, Tensor) and any(one != first for one in parts):
                raise CannotStack(f"seeds have batches that differ and are not tensors: {LOOP}")
            values.append(first)
            axes.append(None)
    return StackedBatch(tuple(values), tuple(axes))
