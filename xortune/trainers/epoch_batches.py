"""Makes the batches of an epoch for all seeds of a stack.

    batches = EpochBatches(training, shared)
    for batch in batches.of_epoch(1, trainings, states):
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
from xortune.trainers.surroundings import Place, SharedState, Shares

BATCHES_BYTES = 2**28
"""Maximum size in bytes of an epoch's batches, for all seeds, that are made at once."""

CHECKED_EPOCHS = frozenset(4**k for k in range(1, 16))
"""The epochs in which a stack checks what it relies on in the others: that the first step with a
batch of each shape still is what was recorded, and that nothing changes between two batches. Steps
are checked in the last epoch too."""


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
        at_once: whether they are made at once. It becomes False for good when that fails.
        seconds: that it took to make the last epoch's at once, for each of its steps.

    Args:
        training: whose `batches` makes those of all seeds at once.
        shared: what its seeds share.
        at_once: try to make them at once.
    """

    def __init__(self, training: Any, shared: SharedState, *, at_once: bool = True) -> None:
        self._training, self._shared = training, shared
        self.at_once, self.seconds = at_once, 0.0

    def of_epoch(
        self, epoch: int, trainings: Sequence[Any], states: Tensor
    ) -> Iterable[StackedBatch]:
        """The batches of an epoch.

        Args:
            epoch: its number; the first one is 1.
            trainings: that of each of the S seeds.
            states: of their generators, uint8, shape (S, bytes); they are advanced.

        Raises:
            Shares: seeds would share what `batches` changes.
        """
        self.seconds = 0.0
        if self.at_once:
            began = clock()
            batches = self._made_at_once(epoch, states)
            if batches is not None:
                self.seconds = (clock() - began) / max(1, len(batches))
                return batches
            self.at_once = False
        return self._made_in_turn(trainings, states)

    def _made_at_once(self, epoch: int, states: Tensor) -> list[StackedBatch] | None:
        """All batches by one call; None where that fails, and then no generator has advanced.

        It fails where the batches are large, where `batches` draws random numbers later than at its
        beginning or by other functions than torch's usual ones, and where `vmap` refuses it.
        """
        before, unseeded = states.clone(), torch.get_rng_state()
        call = _OneCall(self._training, self._shared, states, watches=epoch in {1, *CHECKED_EPOCHS})
        try:
            with self._shared.untouched(), Ruled(drawing_rules(call.draw)):
                tensors = vmap(call.tensors, randomness="error")(torch.arange(len(states)))
            if not torch.equal(unseeded, torch.get_rng_state()):
                raise CannotStack("draws otherwise")
            self._shared.refuse_own(call.changes)
            self._shared.refuse(call.changes, but=("batches",))
        except Exception as refused:  # an error of the user's code is raised again in turn
            if isinstance(refused, Shares) and epoch > 1:
                raise  # a second call of `batches` would change it again
            states.copy_(before)
            torch.set_rng_state(unseeded)
            return None
        return _stacked_by_vmap(call.batches, tensors)

    def _made_in_turn(self, trainings: Sequence[Any], states: Tensor) -> Iterator[StackedBatch]:
        """Batch after batch, each of one seed after the other."""
        iterators: list[Iterator[Any]] = []
        while True:
            batches = []
            for row, (training, state) in enumerate(zip(trainings, states, strict=True)):
                torch.set_rng_state(state.clone())
                with self._shared.untouched():
                    if row == len(iterators):  # here, because `batches` may draw at once
                        iterators.append(iter(training.batches()))
                    batch = next(iterators[row], None)
                state.copy_(torch.get_rng_state())
                if batch is not None:
                    batches.append(tuple(batch))
                if row == 0:  # what one seed changes is not shared yet
                    self._shared.changes_by_user()
            self._shared.refuse(self._shared.changes_by_user())
            if batches and len(batches) < len(iterators):
                raise CannotStack(f"seeds have different numbers of batches: {LOOP}")
            if not batches:
                return
            yield _stacked(batches)


class _OneCall:
    """A call of `batches` for all seeds, within `vmap`.

    Attributes:
        batches: those of one seed.
        changes: places that have changed after the first batch.

    Args:
        training: a user's.
        shared: what its seeds share.
        states: of the seeds' generators, which are advanced.
        watches: look for changes after each batch, not only at the end.
    """

    def __init__(
        self, training: Any, shared: SharedState, states: Tensor, *, watches: bool
    ) -> None:
        self._training, self._shared = training, shared
        self._states, self._watches = states, watches
        self._row: Tensor  # the number of the seed
        self.batches: list[tuple[Any, ...]] = []
        self.changes: list[Place] = []

    def tensors(self, row: Tensor) -> list[Tensor]:
        """Make the batches; the tensors in them, for `vmap` to stack."""
        self._row, size = row, 0
        for batch in self._training.batches():
            self.batches.append(tuple(batch))
            if len(self.batches) == 1:
                self._shared.refuse_outside(self._shared.changes_by_user())
            elif self._watches:
                self.changes += self._shared.changes_by_user()
            size += sum(one.nbytes for one in batch if isinstance(one, Tensor))
            if size * len(self._states) > BATCHES_BYTES:
                raise CannotStack("takes too much memory")
        self.changes += self._shared.changes_by_user()
        return [one for batch in self.batches for one in batch if isinstance(one, Tensor)]

    def draw(self, draw: SeedDraw, like: Tensor | None) -> Tensor:
        """What each seed draws: the function that `drawing_rules` takes."""
        if self.batches or not (like is None or like.is_contiguous()):
            raise CannotStack("draws later")
        return for_each(lambda: draw.make(self._states), self._row)


def _stacked_by_vmap(
    batches: Sequence[tuple[Any, ...]], tensors: Iterable[Tensor]
) -> list[StackedBatch]:
    """Batches of all seeds, from those of one seed and their tensors as `vmap` has stacked them."""
    left = iter(tensors)
    found: list[StackedBatch] = []
    for batch in batches:
        values: list[Any] = []
        axes: list[int | None] = []
        for one in batch:
            whole = next(left) if isinstance(one, Tensor) else None
            if whole is None:
                values.append(one)
            else:  # `vmap` expands tensors that are the same for all seeds
                values.append(whole[0] if whole.stride(0) == 0 else whole)
            axes.append(None if whole is None or whole.stride(0) == 0 else 0)
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
