"""Many seeds of a user's torch model as one training, where that gives what a loop gives.

The parameters and buffers of S models are stacked along a new first axis, `torch.func.vmap` maps
the loss over them, and torch's own optimizer steps the stacked tensors: each number by itself. Each
seed has a generator of its own, which goes on after its model's initialisation, so that its
permutations and its dropout masks are those of a plain script.

At its first use in a process a training is tried both ways for some steps. It is trained by the
loop, one seed after the other, where losses, buffers or generators come out differently, where
`vmap` refuses, and where the loop is faster.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import operator
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from xortune.trainers.batching_rules import (
    LOOP,
    CannotStack,
    Draws,
    RowsByIndex,
    SeedDraw,
    draws_by,
    for_each,
    replaced,
    seeds_as_channels,
)
from xortune.trainers.kernels.steps import StackOptimizer, are_plain
from xortune.trainers.limits import time_is_over
from xortune.trainers.step_graph import Program, Recording, readable_values

WIDTHS = (2, 16, 64, 128, 256)
"""Seeds in the stacks that are timed."""

PAYS = 0.7
"""Of what a seed takes in a stack, a further one takes so much at most for a wider stack to be
cheap: one that a race waits for is no wider."""

SMALL = 2**28
"""Bytes that the parameters of a cheap stack take at most, with what an optimizer keeps of them."""

TRIED, TIMED = 3, 3
"""Steps that are compared, and timed."""

ELEMENTWISE = (
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"),
    *("Rprop", "SGD"),
)
"""The optimizers of torch.optim that step each number by itself: seeds in a tensor do not meet."""

CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "RNN": "RNNCell"}


@contextmanager
def untracked(training: Any) -> Iterator[None]:
    """Within this context it is not noted what is read of a training's configuration."""
    before, training.config.noting = training.config.noting, False
    try:
        yield
    finally:
        training.config.noting = before


# -------------------------------------------------------------------------------------------------
# Results.


def scored(training: Any, model: nn.Module) -> Any:
    """What `score` returns of a model, as Python's own numbers."""
    model.eval()
    with torch.no_grad():
        score = training.score(model)
    if isinstance(score, Mapping):
        return {name: _plain(value) for name, value in score.items()}
    return _plain(score)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def arrays_of(results: Sequence[Any]) -> Any:
    """The scores of S seeds as arrays of shape (S,); NaN where a seed has no such number."""
    if not all(isinstance(one, Mapping) for one in results):
        return np.array(results)
    names = dict.fromkeys(name for one in results for name in one)
    return {name: np.array([one.get(name, math.nan) for one in results]) for name in names}


# -------------------------------------------------------------------------------------------------
# The stack.


class _Loss(nn.Module):
    """A user's loss as a module of which the model is a part: its tensors can be swapped."""

    def __init__(self, training: Any, model: nn.Module) -> None:
        super().__init__()
        self.model, self._of = model, (training,)

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._of[0].loss(self.model, *batch)
        return loss


Group = tuple[Any, Sequence[int]]
"""A user's training of one configuration, and its seeds."""

Batch = tuple[tuple[Any, ...], tuple[int | None, ...]]
"""A batch of all seeds, and the axis of the seeds in each part; None where all have the same."""

Piece = tuple[slice, Tensor]
"""Rows of a stacked parameter, and their numbers."""

PIECE = 2**17
"""Numbers of a piece, which with its gradient and an optimizer's states stays in the cache."""

AT_ONCE = 2**28
"""Bytes that the batches of an epoch may take to be made at once."""


class Stack:
    """The seeds of some trainings as one; S seeds in all.

    The configurations differ in what their optimizers take, and in nothing else.

    Attributes:
        losses: of the last step, shape (S,).
        gathering: seconds a step that making an epoch's batches at once has taken.
        together: whether `batches` is called once for all seeds, as long as that can be.
        parameters: by name, shape (S, ...); `buffers` too.

    Args:
        groups: each configuration with its seeds.
        timed: all seeds may be trained as the first, for only the time that they take is wanted.

    Raises:
        CannotStack: an optimizer is none that steps each number by itself.
    """

    def __init__(
        self, groups: Sequence[Group], *, together: bool = True, timed: bool = False
    ) -> None:
        self._rows = [(training, seed) for training, seeds in groups for seed in seeds]
        self.lead = groups[0][0]
        models, states = [], []
        for training, seed in self._rows[:1] if timed else self._rows:
            _seed(seed)
            models.append(training.model())
            states.append(torch.get_rng_state())
        if timed:
            models, states = models * len(self._rows), states * len(self._rows)
        self.states = torch.stack(states)
        self.model: nn.Module = models[0]
        self.model.train()
        named = [dict(model.named_parameters()) for model in models]
        held = [dict(model.named_buffers()) for model in models]
        self.parameters = {
            name: torch.stack([one[name].detach() for one in named]).requires_grad_(
                parameter.requires_grad
            )
            for name, parameter in named[0].items()
        }
        self.buffers = {name: torch.stack([one[name] for one in held]) for name in held[0]}
        self._trained = {n: p for n, p in self.parameters.items() if p.requires_grad}
        self._kept = {n: p for n, p in self.parameters.items() if not p.requires_grad}
        starts = list(itertools.accumulate((len(seeds) for _, seeds in groups), initial=0))
        optimizers = []
        for (training, _), first in zip(groups, starts, strict=False):
            with untracked(training):
                optimizers.append(training.optimizer(models[first].parameters()))
        owns = [named[first] for first in starts[:-1]]
        self._optimizer = _as_one(optimizers, owns, self._trained, starts) or _InPieces(
            optimizers, owns, self.parameters, starts
        )
        self._schedulers = []
        for (training, _), optimizer in zip(groups, optimizers, strict=True):
            with untracked(training):
                self._schedulers.append(training.scheduler(optimizer))
        self._objective = _Loss(self.lead, self.model)
        self._draws: dict[tuple[Any, ...], Draws] = {}
        self.together = together
        self.losses, self.gathering = torch.empty(0), 0.0
        # Steps of which shapes have been computed, and their operations; see `step_graph`.
        self.repeats = all(one.is_cpu for one in self.parameters.values())
        self._epochs = 0
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._unsure = False
        self._state: list[Any] = []
        self._counts = False

    def epoch(self) -> Iterator[Tensor]:
        """Train on each seed's batches; gives the losses of each step."""
        self.model.train()
        began = _clock()
        at_once = self._epoch_at_once() if self.together else None
        self.gathering = (_clock() - began) / len(at_once) if at_once else 0.0
        self._epochs += 1
        if at_once is None:
            self.repeats = False
        if self.repeats:
            self._look_at_state()
        for batch, axes in at_once or self._batches():
            self._step(batch, axes)
            yield self.losses.clone()  # the next step may write over them
        self._refuse_unlike()
        for scheduler in self._schedulers:
            if scheduler is not None:
                scheduler.step()

    def _look_at_state(self) -> None:
        """Forget the operations of steps if the loss may read other things now."""
        if self._state_has_changed():
            self._programs.clear()
        else:
            self._unsure = self._epochs in {*(4**k for k in range(1, 16)), self.lead.epochs}

    def _state_has_changed(self) -> bool:
        """Whether the training and its layers hold other things than when this was last asked."""
        before, self._state = self._state, readable_values(self.lead, *self._objective.modules())
        return len(before) != len(self._state) or not all(map(operator.is_, before, self._state))

    def _refuse_unlike(self) -> None:
        """Refuse configurations that differ in what the loss has read since the trial.

        It is the first configuration's loss that all have.
        """
        for training in {id(training): training for training, _ in self._rows}.values():
            with untracked(self.lead), untracked(training):
                for name in self.lead.config.names_read:
                    if training.config.get(name) != self.lead.config.get(name):
                        raise CannotStack(f"{name} is read late, and differs: {LOOP}")

    def _step(self, batch: tuple[Any, ...], axes: tuple[int | None, ...]) -> None:
        """Train on a batch.

        Raises:
            CannotStack: each call of the loss changes what the training or its layers hold.
        """
        key = (axes, *(_likeness(one) for one in batch))
        once = key not in self._draws and len(self._draws) > 0  # the last rows of an epoch, say
        if key not in self._draws:
            self._draws[key] = self._noted(batch, axes)
        draws = self._draws[key]
        drawn = tuple(wanted.make(self.states) for wanted in draws.wanted)
        inputs = [one for one in (*batch, *drawn) if isinstance(one, Tensor)]
        if key in self._programs and not self._unsure:
            self.losses, *gradients = self._programs[key](inputs)
        elif once or not self.repeats or len({id(one) for one in inputs}) < len(inputs):
            self.losses, gradients = self._computed(draws, batch, axes, drawn)
        else:
            if self._state_has_changed():  # by the first call, say
                self._programs.clear()
            with Recording(inputs) as recording:
                self.losses, gradients = self._computed(draws, batch, axes, drawn)
            self._keep(key, recording.program([self.losses, *gradients]))
        if self._counts:
            raise CannotStack(f"`loss` or a layer changes something whenever it is called: {LOOP}")
        self._optimizer.step(dict(zip(self._trained, gradients, strict=True)))

    def _keep(self, key: tuple[Any, ...], program: Program | None) -> None:
        """Keep the operations of a step for steps like it."""
        before = self._programs.pop(key, None)
        self._unsure = False
        if program is None or self._state_has_changed():  # the next step may be another
            self.repeats = False
            self._programs.clear()
        elif before is not None and not before.is_same(program):
            raise CannotStack(f"a step is another one than the steps before, unseen: {LOOP}")
        else:
            self._programs[key] = before or program  # one that has been called is compiled

    def _computed(
        self, draws: Draws, batch: tuple[Any, ...], axes: tuple[int | None, ...], drawn: Any
    ) -> tuple[Tensor, list[Tensor | None]]:
        """The losses of a step, and each parameter's gradient if it has one."""
        losses = self._forward(draws, batch, axes, drawn)
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            losses,
            list(self._trained.values()),
            torch.ones_like(losses),
            allow_unused=True,
        )
        if self.lead.clip_norm is not None:
            gradients = _clipped(gradients, self.lead.clip_norm)
        # An optimizer's passes read memory in the parameter's order.
        return losses.detach(), [None if one is None else one.contiguous() for one in gradients]

    def _epoch_at_once(self) -> list[Batch] | None:
        """All batches of an epoch, by one call of `batches` for all seeds.

        None where that cannot be: they are large, what is drawn is not drawn at the beginning or
        not by functions that are known, or `vmap` refuses what is done with it.
        """
        before = self.states.clone()
        rows = row = torch.arange(len(self._rows))
        unseeded = torch.get_rng_state()
        parts: list[tuple[Any, ...]] = []
        size = 0

        def take(draw: SeedDraw, like: Tensor | None) -> Tensor:
            if parts or not (like is None or like.is_contiguous()):
                raise CannotStack("draws later")
            return for_each(lambda *_: (draw.make(self.states), 0), row)

        def gathered(its: Tensor) -> list[Tensor]:
            nonlocal row, size
            row = its
            for batch in self.lead.batches():
                parts.append(tuple(batch))
                size += sum(one.nbytes for one in parts[-1] if isinstance(one, Tensor))
                if size * len(rows) > AT_ONCE:
                    raise CannotStack("takes too much memory")
            return [one for batch in parts for one in batch if isinstance(one, Tensor)]

        try:
            with replaced(draws_by(take)), RowsByIndex():
                tensors = iter(vmap(gathered, randomness="error")(rows))
            if not torch.equal(unseeded, torch.get_rng_state()):
                raise CannotStack("draws otherwise")
        except Exception:  # the user's own code comes to the same error in `_batches`
            self.together = False
            self.states = before
            torch.set_rng_state(unseeded)
            return None
        found = []
        for batch in parts:
            whole = [next(tensors) if isinstance(one, Tensor) else one for one in batch]
            # What is the same for all seeds has been expanded.
            shared = [not isinstance(one, Tensor) or one.stride(0) == 0 for one in whole]
            values = (
                one[0] if same and isinstance(one, Tensor) else one
                for one, same in zip(whole, shared, strict=True)
            )
            found.append((tuple(values), tuple(None if same else 0 for same in shared)))
        return found

    def _batches(self) -> Iterator[Batch]:
        """The batches of each seed, drawn with its own generator."""
        iterators: list[Iterator[Any]] = []
        while True:
            found = []
            for row, ((training, _), state) in enumerate(zip(self._rows, self.states, strict=True)):
                torch.set_rng_state(state.clone())
                if row == len(iterators):  # to begin may draw, too
                    iterators.append(iter(training.batches()))
                batch = next(iterators[row], None)
                state.copy_(torch.get_rng_state())
                if batch is not None:
                    found.append(tuple(batch))
            if found and len(found) < len(iterators):
                raise CannotStack(f"seeds have different numbers of batches: {LOOP}")
            if not found:
                return
            yield _stacked_batch(found)

    def _forward(
        self, draws: Draws, batch: tuple[Any, ...], axes: tuple[int | None, ...], drawn: Any
    ) -> Tensor:
        row = torch.empty(0)

        def loss(
            parameters: dict[str, Tensor], kept: dict[str, Tensor], batch: Any, drawn: Any, its: Any
        ) -> Tensor:
            nonlocal row
            row = its
            draws.begin(drawn)
            tensors = {f"model.{name}": one for name, one in {**parameters, **kept}.items()}
            found: Tensor = functional_call(self._objective, tensors, batch)
            return found

        dims: Any = (0, 0, axes, 0 if drawn else None, 0)
        with replaced([*draws.taking(), *seeds_as_channels(lambda: row)]):
            losses: Tensor = vmap(loss, dims, randomness="error")(
                self._trained,
                {**self._kept, **self.buffers},
                batch,
                drawn,
                torch.arange(len(self._rows)),
            )
        if losses.dim() != 1:
            shape = tuple(losses.shape[1:])
            raise CannotStack(f"the loss of a batch has shape {shape}, not (): {LOOP}")
        return losses

    def _noted(self, batch: tuple[Any, ...], axes: tuple[int | None, ...]) -> Draws:
        """What the loss of the first seed draws; it changes nothing that a step reads."""
        tensors = {
            f"model.{name}": one[0].clone()
            for name, one in {**self.parameters, **self.buffers}.items()
        }
        own = tuple(one if axis is None else one[0] for one, axis in zip(batch, axes, strict=True))
        for _ in range(2):  # the first call may make what all calls use
            draws = Draws()
            self._state_has_changed()
            with torch.no_grad(), replaced(draws.noting()):
                functional_call(self._objective, tensors, own)
            self._counts = self._state_has_changed()
            if not self._counts:
                break
        return draws

    def scores(self) -> list[Any]:
        """The score of each seed's model, one after the other, as the loop computes it."""
        parameters, buffers = dict(self.model.named_parameters()), dict(self.model.named_buffers())
        found = []
        for row, ((training, _), state) in enumerate(zip(self._rows, self.states, strict=True)):
            for own, stacked in ((parameters, self.parameters), (buffers, self.buffers)):
                for name, tensor in own.items():
                    tensor.data = stacked[name].detach()[row]
            torch.set_rng_state(state.clone())
            found.append(scored(training, self.model))
            state.copy_(torch.get_rng_state())
        return found


def _seed(seed: int) -> None:
    """`torch.manual_seed`, which takes a millisecond for a GPU that is not there."""
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _as_one(
    optimizers: Sequence[torch.optim.Optimizer],
    owns: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
    starts: Sequence[int],
) -> StackOptimizer | None:
    """What steps all configurations' models in one call; None where that is not the same."""
    groups = []
    for optimizer, own in zip(optimizers, owns, strict=True):
        of = {id(p): at for at, group in enumerate(optimizer.param_groups) for p in group["params"]}
        groups.append({name: of.get(id(own[name])) for name in weights})
    known = all(None not in one.values() for one in groups)
    # One in another order, as of `channels_last`, has its numbers elsewhere than its gradient.
    plain = all(
        w.is_cpu and w.dtype == torch.float32 and w.is_contiguous() for w in weights.values()
    )
    if not known or not plain or torch.get_num_threads() > 1 or not are_plain(optimizers):
        return None
    return StackOptimizer(optimizers, weights, groups, np.diff(starts))


class _InPieces:
    """The optimizers of some configurations, each of which steps its models' parameters in pieces.

    torch's optimizers go over their numbers some ten times: a piece stays in the cache meanwhile.

    Args:
        optimizers: new ones.
        owns: the parameters of one model of each configuration, which its optimizer has.
        parameters: the stacked ones.
        starts: the first row of each configuration, and the end.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        owns: Sequence[Mapping[str, Tensor]],
        parameters: Mapping[str, Tensor],
        starts: Sequence[int],
    ) -> None:
        self._parts: list[tuple[dict[str, list[Piece]], Any]] = []
        for optimizer, own, rows in zip(optimizers, owns, itertools.pairwise(starts), strict=True):
            pieces = {name: _pieces(whole, *rows) for name, whole in parameters.items()}
            stacked = {id(own[name]): its for name, its in pieces.items()}
            self._parts.append((pieces, _stepping(optimizer, stacked)))

    def step(self, gradients: Mapping[str, Tensor | None]) -> None:
        """One step of each."""
        for pieces, optimizer in self._parts:
            for name, gradient in gradients.items():
                for rows, piece in pieces[name]:
                    piece.grad = gradient if gradient is None else gradient[rows]
            optimizer.step()


def _pieces(whole: Tensor, first: int, last: int) -> list[Piece]:
    """The parameter of some seeds, in pieces that an optimizer steps one after the other."""
    whole = whole.detach()  # a piece shares its memory
    size = max(1, PIECE // max(1, whole[0].numel())) if whole.is_cpu else last - first
    starts = range(first, last, size)
    return [(rows, whole[rows]) for rows in (slice(at, min(at + size, last)) for at in starts)]


def _stepping(optimizer: torch.optim.Optimizer, stacked: Mapping[int, Sequence[Piece]]) -> Any:
    """A new optimizer of one model, made that of stacked parameters."""
    name = type(optimizer).__name__
    if type(optimizer) is not getattr(torch.optim, name, None) or name not in ELEMENTWISE:
        raise CannotStack(f"torch.optim.{name} does not step each number by itself: {LOOP}")
    state = dict(optimizer.state)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        pieces = []
        for parameter in group["params"]:
            for _, piece in stacked[id(parameter)]:
                pieces.append(piece)
                if parameter in state:  # Adagrad has one before its first step
                    optimizer.state[piece] = {
                        name: (value.expand_as(piece) if value.dim() else value).clone()
                        if isinstance(value, Tensor)
                        else value
                        for name, value in state[parameter].items()
                    }
        group["params"] = pieces
    return optimizer


def _clipped(gradients: Sequence[Tensor | None], most: float) -> tuple[Tensor | None, ...]:
    """Each seed's gradient, of norm at most `most`: see `torch.nn.utils.clip_grad_norm_`."""
    norms = [one.flatten(1).norm(dim=1) for one in gradients if one is not None]
    factor = (most / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)
    return tuple(
        None if one is None else one * factor.view(-1, *(1 for _ in one.shape[1:]))
        for one in gradients
    )


def _likeness(value: Any) -> Any:
    """What must be equal for the same operations to do."""
    if not isinstance(value, Tensor):
        return value
    return value.shape, value.stride(), value.dtype, value.requires_grad


def _stacked_batch(batches: Sequence[tuple[Any, ...]]) -> Batch:
    """The batches of S seeds as one, and the axis of the seeds; None where all have the same."""
    batch: list[Any] = []
    axes: list[int | None] = []
    for parts in zip(*batches, strict=True):
        if isinstance(parts[0], Tensor) and any(one is not parts[0] for one in parts):
            if any(one.shape != parts[0].shape for one in parts):
                raise CannotStack(f"seeds have batches of different shapes: {LOOP}")
            batch.append(torch.stack(parts))
            axes.append(0)
        else:
            if not isinstance(parts[0], Tensor) and any(one != parts[0] for one in parts):
                raise CannotStack(f"seeds have batches that differ and are not tensors: {LOOP}")
            batch.append(parts[0])
            axes.append(None)
    return tuple(batch), tuple(axes)


# -------------------------------------------------------------------------------------------------
# Tried both ways, once in a process for each kind of model.


@dataclass
class Trial:
    """What came of trying a training both ways.

    Attributes:
        kind: what it shares with all configurations that may be in one stack with it.
        read: what the configuration says where it was read outside of the optimizer: others that
            say the same are trained alike, but for their optimizers.
        reason: why it is not stacked, in a sentence; empty if it is.
        together: whether `batches` may be called once for all seeds.
        loop: seconds of a step of one seed alone.
        stacked: seconds of a step of one seed in a stack of so many.
    """

    kind: tuple[Any, ...]
    read: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    together: bool = True
    loop: float = math.inf
    stacked: dict[int, float] = field(default_factory=dict)

    def stacks(self, seeds: int) -> int:
        """Into how many stacks so many seeds are best put; as many as there are: the loop."""
        if self.reason or not self.stacked:
            return seeds
        widest = max(self.stacked)
        counts = {math.ceil(seeds / width) for width in (*self.stacked, min(seeds, widest))}
        seconds = {count: count * self._step(math.ceil(seeds / count)) for count in counts}
        best = min(seconds, key=lambda count: (seconds[count], count))
        return best if seconds[best] < seeds * self.loop else seeds

    def _step(self, width: int) -> float:
        """Seconds of a step of a stack: between widths that were timed as on a straight line."""
        widths = sorted(self.stacked)
        whole = [width * self.stacked[width] for width in widths]
        return float(np.interp(width, widths, whole))

    def measure(self, training: Any, seeds: int) -> None:
        """Time stacks of widths that so many seeds fill: wide ones, others as long as they gain."""
        widths = [width for width in WIDTHS if width <= seeds]
        if 1.5 * max((*widths, *self.stacked), default=0) < min(seeds, WIDTHS[-1]):
            widths.append(seeds)
        wide = [width for width in widths if 8 * width > seeds]
        narrow = [width for width in reversed(widths) if 8 * width <= seeds]
        best = math.inf
        for some in (wide, narrow) if not self.reason else ():
            for width in some:
                if self._each(training, width) > best:
                    break
                best = self.stacked[width]
            if self.stacked.get(wide[0] if wide else 0) != best:
                break

    def _each(self, training: Any, width: int) -> float:
        """Seconds of a step of one seed in a stack of so many, the fastest of some."""
        if width not in self.stacked:
            self.stacked[width] = math.inf  # too large: torch has no other error on a CPU
            with suppress(MemoryError, RuntimeError), _quiet(), _memory_kept():
                groups = [(training, range(width))]
                stack = Stack(groups, together=self.together, timed=True)
                steps = zip(range(1 + TIMED), _steps(stack), strict=False)
                step = _fastest([_clock() for _ in steps]) + stack.gathering
                self.stacked[width] = step / width
                self.together = stack.together
        return self.stacked[width]

    def cheap(self, training: Any) -> int:
        """How many seeds train as one in hardly more time than a few; 1 if each takes its own."""
        torch.manual_seed(0)
        one = 4 * sum(parameter.nbytes for parameter in training.model().parameters())
        widths = [width for width in WIDTHS if width * one <= SMALL and not self.reason]
        found, before, each = 1, 0, math.inf
        for width in widths:
            with suppress(Exception):
                self._each(training, width)
            whole = width * self.stacked[width]
            further = whole - before * each if before else 0.0
            if math.isinf(whole) or further > PAYS * (width - before) * each:
                break
            before, each = width, self.stacked[width]
            found = width if each < self.loop / 2 else found
        return found

    @property
    def sentence(self) -> str:
        """For users: whether seeds are trained as one, or why they are not."""
        return self.reason or "the seeds of a block are trained as one"


_trials: list[Trial] = []


def trial_of(training: Any, seeds: Sequence[int]) -> Trial:
    """The trial of a training, made now if need be: it takes some steps.

    Args:
        training: the user's.
        seeds: at least two.
    """
    config, kind = training.config, _kind(training)
    with untracked(training):
        for trial in _trials:
            read = {name: config.get(name, _NOTHING) for name in trial.read}
            if trial.kind == kind and read == trial.read:
                return trial
    trial = Trial(kind)
    trial.reason = _refused_before(training)
    if not trial.reason:
        plain = [_plain_steps(training, seed) for seed in seeds[:2]]
        trial.loop = min(one.seconds for one in plain)
        for trial.together in (True, False):
            trial.reason = _difference(training, seeds[:2], plain, together=trial.together)
            if not trial.reason:
                break
    trial.read = {name: config.get(name, _NOTHING) for name in config.names_read}
    _trials.append(trial)
    return trial


_NOTHING = "no such parameter"


def _kind(training: Any) -> tuple[Any, ...]:
    """Also the optimizer's class: whether it can be stacked depends on it."""
    torch.manual_seed(0)
    model = training.model()
    with untracked(training):
        optimizer = training.optimizer(model.parameters())
    settings = training.epochs, training.clip_norm, training.report_every
    return (type(training), type(optimizer), repr(model), *settings)


def _steps(stack: Stack) -> Iterator[Tensor]:
    """The losses of step after step, over the ends of epochs."""
    begun = True
    while begun:
        begun = False
        for losses in stack.epoch():
            begun = True
            yield losses


def _clock() -> float:
    """Seconds: of one thread on a CPU those that it computes, whoever else is at work there."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return time.process_time() if alone else time.perf_counter()


def _fastest(ends: Sequence[float]) -> float:
    return min((after - before for before, after in itertools.pairwise(ends)), default=math.inf)


def _refused_before(training: Any) -> str:
    if getattr(type(training).run, "__module__", "") != "xortune.trainers.torch_training":
        return f"{type(training).__name__} has a run of its own: {LOOP}"
    return ""


def _difference(
    training: Any, seeds: Sequence[int], plain: Sequence[_PlainSteps], *, together: bool
) -> str:
    """How a stack of some seeds trains otherwise than the loop; empty if it does not."""
    entered: list[str] = []
    with _quiet():
        try:
            stack = Stack([(training, seeds)], together=together)
            _note_layers(stack.model, entered)
            losses, buffers = [], {}
            for number, found in zip(range(TRIED), _steps(stack), strict=False):
                losses.append(found.double())
                if number == 0:
                    buffers = {name: one.clone() for name, one in stack.buffers.items()}
        except CannotStack as refused:
            return str(refused)
        except Exception as error:
            return _refusal(error, entered)
    for row, one in enumerate(plain):
        for number, (loop, stacked) in enumerate(zip(one.losses, losses, strict=False)):
            if not math.isclose(loop, stacked[row], rel_tol=1e-3, abs_tol=1e-6) and not (
                math.isnan(loop) and math.isnan(stacked[row])
            ):
                shown = f"loss {stacked[row]:.6g} against {loop:.6g} in step {number + 1}"
                return f"seeds that are stacked train differently ({shown}): {LOOP}"
        for name, buffer in one.buffers.items():
            if not torch.allclose(
                buffer.double(), buffers[name][row].double(), 1e-3, 1e-5, equal_nan=True
            ):
                return f"the buffer {name} differs in seeds that are stacked: {LOOP}"
        if not torch.equal(one.generator, stack.states[row]):
            return f"seeds that are stacked draw other random numbers: {LOOP}"
    return ""


@dataclass
class _PlainSteps:
    """Some steps of the loop."""

    losses: list[float]
    buffers: dict[str, Tensor]
    generator: Tensor
    seconds: float


class _Enough(Exception):
    """Ends a trial."""


def _plain_steps(training: Any, seed: int) -> _PlainSteps:
    """The first steps of `run` itself, looked at through its optimizer."""
    losses: list[float] = []
    buffers: dict[str, Tensor] = {}
    times: list[float] = []
    models: list[nn.Module] = []
    make_model, make_optimizer, make_scheduler = (
        training.model,
        training.optimizer,
        training.scheduler,
    )

    def model() -> nn.Module:
        models.append(make_model())
        return models[-1]

    def optimizer(parameters: Any) -> Any:
        with untracked(training):
            made = make_optimizer(parameters)
        step = made.step

        def looked_at(_: Any, closure: Callable[[], Tensor]) -> Any:
            first: list[float] = []

            def once() -> Tensor:
                loss = closure()
                first.append(float(loss.detach()))
                if not losses and len(first) == 1:
                    buffers.update({n: b.clone() for n, b in models[-1].named_buffers()})
                return loss

            done = step(once)
            losses.append(first[0])
            times.append(_clock())
            if len(losses) == TRIED + TIMED:
                raise _Enough
            if len(losses) == TRIED:
                states.append(torch.get_rng_state())
            return done

        made.step = MethodType(looked_at, made)  # schedulers wrap it as a method
        return made

    def scheduler(optimizer: Any) -> Any:
        with untracked(training):
            return make_scheduler(optimizer)

    states: list[Tensor] = []
    training.model, training.optimizer, training.scheduler = model, optimizer, scheduler
    try:
        with suppress(_Enough):
            training.run(seed)
            return _PlainSteps(losses[:TRIED], buffers, torch.get_rng_state(), _fastest(times))
        scored(training, models[-1])  # to see what it reads
    finally:
        del training.model, training.optimizer, training.scheduler
    return _PlainSteps(losses[:TRIED], buffers, states[0], _fastest(times))


def _note_layers(model: nn.Module, entered: list[str]) -> None:
    """Keep the names of the layers that have begun and not ended."""
    for layer in model.modules():
        layer.register_forward_pre_hook(lambda one, _: entered.append(type(one).__name__))
        layer.register_forward_hook(lambda *_: entered.pop() and None)


def _refusal(error: Exception, entered: Sequence[str]) -> str:
    """Why vmap refuses, in a sentence that names the layer and what to do."""
    text, layer = str(error), entered[-1] if entered else ""
    where = f"nn.{layer}" if hasattr(nn, layer) and layer else layer or "the loss"
    if ".item()" in text:
        return f"{where} calls .item(): {LOOP}; a loss that stays a tensor would be stacked"
    if "data-dependent control flow" in text:
        return f"{where} branches on the value of a tensor: {LOOP}; torch.where would be stacked"
    if "randomness" in text or "random" in text:
        return f"{where} draws random numbers that cannot be drawn for each seed: {LOOP}"
    if layer in CELLS or "atching rule" in text:
        version = torch.__version__.partition("+")[0]
        hint = f"; nn.{CELLS[layer]} in a loop would be stacked" if layer in CELLS else ""
        return f"{where} has no batching rule in torch {version}: {LOOP}{hint}"
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"{where} cannot be stacked ({first[:200]}): {LOOP}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without vmap's warnings of operations that it loops over: what it costs is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule.*", category=UserWarning)
        yield


# -------------------------------------------------------------------------------------------------
# All seeds of a block.


Report = Callable[[int, Sequence[int], Any], None]
"""Called with the place of a group and the scores of its seeds, on their way."""


def train_stacked(
    groups: Sequence[Group],
    report: Report = lambda *_: None,
    failures: tuple[type[BaseException], ...] = (Exception,),
) -> tuple[list[list[Any]], str]:
    """Train the seeds of some configurations of one class.

    Args:
        groups: each configuration's training with its seeds.
        report: called after every `report_every` epochs but the last, for groups that are trained
            whole; what it raises ends all.
        failures: what a training may raise that is its seed's failure; all else ends all.

    Returns:
        For each group and seed its score, or the exception that its training raised; fewer seeds
        where the search's time was over before. And in a sentence whether they are trained as one.
    """
    results: list[dict[int, Any]] = [{} for _ in groups]
    note, alike = "", defaultdict[int, list[int]](list)
    trials: dict[int, Trial | None] = {}
    for place, (training, seeds) in enumerate(groups):
        trial = None
        with suppress(*failures):  # what a seed raises, it raises in the loop below
            trial = trial_of(training, [*seeds, seeds[0] + 1][:2])
            note = trial.sentence
        alike[id(trial) if trial is not None else -1 - place].append(place)
        trials[place] = trial
    for places in alike.values():
        rows = [(place, seed) for place in places for seed in groups[place][1]]
        trial, chunks = trials[places[0]], len(rows)
        if trial is not None and len(rows) > 1:
            with suppress(*failures):
                trial.measure(groups[places[0]][0], len(rows))
            chunks = trial.stacks(len(rows))
        for chunk in range(chunks):
            if time_is_over():
                break
            first, end = (len(rows) * number // chunks for number in (chunk, chunk + 1))
            together = trial is not None and trial.together
            _train_chunk(groups, rows[first:end], results, report, failures, together=together)
    # Seeds were trained in their order, and so are the first ones of each group.
    return [list(found.values()) for found in results], note


def _train_chunk(
    groups: Sequence[Group],
    rows: Sequence[tuple[int, int]],
    results: Sequence[dict[int, Any]],
    report: Report,
    failures: tuple[type[BaseException], ...],
    *,
    together: bool,
) -> None:
    """Train some rows, each the place of its group and a seed, as one; in halves if that fails."""
    if len(rows) == 1:
        [(place, seed)] = rows
        try:
            with untracked(groups[place][0]):  # the loop reads what the optimizer takes, too
                results[place][seed] = groups[place][0].run(
                    seed, lambda told: report(place, [seed], told)
                )
        except failures as error:
            results[place][seed] = error
        return
    places = list(dict.fromkeys(place for place, _ in rows))
    parts = [(groups[place][0], [s for p, s in rows if p == place]) for place in places]
    epochs = parts[0][0].epochs
    scores: list[Any] = []
    steps = trained_as_one(parts, together=together)
    while True:
        try:
            with _quiet(), _memory_kept():
                epoch, scores = next(steps)
        except failures:  # a seed raised, or memory is short
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                _train_chunk(groups, half, results, report, failures, together=together)
            return
        if epoch == epochs:
            break
        first = 0
        for place, (_, seeds) in zip(places, parts, strict=True):
            report(place, seeds, arrays_of(scores[first : first + len(seeds)]))
            first += len(seeds)
    for (place, seed), score in zip(rows, scores, strict=True):
        results[place][seed] = score


@contextmanager
def _memory_kept() -> Iterator[None]:
    """Within this context freed memory is not given back at once.

    A step makes and frees tensors of some megabytes. glibc maps each anew, and the system clears
    its pages: up to a third of the time. Other systems' allocators keep it by themselves.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    trim, mapped, most = -1, -3, 2**25  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and its largest value
    mallopt(mapped, most)
    mallopt(trim, 2**31 - 1)
    try:
        yield
    finally:
        # What glibc comes to by itself in a process that has freed large blocks.
        mallopt(trim, 2 * most)


def trained_as_one(
    groups: Sequence[Group], *, together: bool = True
) -> Iterator[tuple[int, list[Any]]]:
    """Epochs and the scores of S seeds then: every `report_every` epochs, and after the last."""
    stack = Stack(groups, together=together)
    for epoch in range(1, stack.lead.epochs + 1):
        for _ in stack.epoch():
            pass
        if stack.lead.reports_after(epoch) or epoch == stack.lead.epochs:
            yield epoch, stack.scores()
