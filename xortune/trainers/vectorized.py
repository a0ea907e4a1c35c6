"""Trains many seeds of a user's `TorchTraining` as one model, if that gives what a loop gives.

The parameters and buffers of S models are stacked along a new first axis, `torch.func.vmap` maps
the loss over them, and torch's own optimizer steps the stacked tensors elementwise. Each seed has
its own generator, which goes on after its model's initialisation, so that its permutations and its
dropout masks are those of a plain script.

The first use of a training in a process trains some steps both ways (`Trial`). A loop over seeds
trains it instead where losses, buffers or generators differ, where `vmap` refuses, and where the
loop is faster.
"""

from __future__ import annotations

import ctypes
import itertools
import math
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

from xortune.core.forks import ending_forks
from xortune.trainers.batching_rules import LOOP, CannotStack, Ruled, for_each, matrix_rules
from xortune.trainers.function import Ended
from xortune.trainers.image_rules import image_rules
from xortune.trainers.kernels.steps import StackOptimizer, are_plain
from xortune.trainers.limits import time_is_over
from xortune.trainers.methods import (
    Made,
    constants_of,
    epochs_of,
    model_of,
    optimizer_of,
    refuse_reused,
    scored,
)
from xortune.trainers.seed_draws import Draws, SeedDraw, drawing_rules
from xortune.trainers.step_graph import Program, recorded
from xortune.trainers.surroundings import DRAWN, OUTSIDE, SELF, Place, Surroundings
from xortune.trainers.verdicts import MethodError

WIDTHS = (2, 16, 64, 128, 256)
"""Numbers of seeds in the stacks that a trial times."""

PAYS = 0.7
"""A wider stack is cheap if a further seed takes at most this fraction of a seed's time in it."""

CHEAP_STACK_BYTES = 2**28
"""Maximum size of a cheap stack's parameters and optimizer states, in bytes."""

TRIED, TIMED = 3, 3
"""Number of steps that a trial compares, and that it times."""

ELEMENTWISE = (
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"),
    *("Rprop", "SGD"),
)
"""The elementwise optimizers of torch.optim: the seeds in a tensor do not influence each other."""

CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "RNN": "RNNCell"}


@contextmanager
def untracked(training: Any) -> Iterator[None]:
    """Within this context a training's `TrackedConfig` does not note what is read."""
    before, training.config.noting = training.config.noting, False
    try:
        yield
    finally:
        training.config.noting = before


# -------------------------------------------------------------------------------------------------
# Results.


def arrays_of(results: Sequence[Any]) -> Any:
    """The scores of S seeds as arrays of shape (S,); NaN where a seed has no such number."""
    if not all(isinstance(score, Mapping) for score in results):
        return np.array(results)
    names = dict.fromkeys(name for score in results for name in score)
    return {name: np.array([score.get(name, math.nan) for score in results]) for name in names}


# -------------------------------------------------------------------------------------------------
# The stack.


class _Loss(nn.Module):
    """A user's loss as a module that contains the model, for `functional_call`."""

    def __init__(self, training: Any, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._training = (training,)  # in a tuple: a training may be a module itself

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._training[0].loss(self.model, *batch)
        return loss


Group = tuple[Any, Sequence[int]]
"""A user's training of one configuration, and its seeds."""

Batch = tuple[tuple[Any, ...], tuple[int | None, ...]]
"""A batch of all seeds, and the axis of the seeds in each of its tensors; None: all have the same
tensor."""

RARE = frozenset(4**k for k in range(1, 16))
"""The epochs in which steps are recorded again, and compared; the last one is another."""

BATCHES_BYTES = 2**28
"""Maximum size in bytes of an epoch's batches, for all seeds, that are made at once."""


class Stack:
    """The seeds of several trainings as one model; S seeds in all.

    The configurations differ in parameters of their optimizers only.

    Attributes:
        losses: of the last step, shape (S,).
        gathering: seconds per step to make the batches of the last epoch at once.
        together: `batches` is called once for all seeds, unless that has failed.
        parameters: by name, shape (S, ...); `buffers` too.

    Args:
        groups: each configuration with its seeds.
        timed: initialise all seeds as the first one: only their time counts.

    Raises:
        CannotStack: an optimizer is not elementwise.
    """

    def __init__(
        self, groups: Sequence[Group], *, together: bool = True, timed: bool = False
    ) -> None:
        self._rows = [(training, seed) for training, seeds in groups for seed in seeds]
        self.lead = groups[0][0]
        ends = list(itertools.accumulate(len(seeds) for _, seeds in groups))
        models, states = [], []
        for row, (training, seed) in enumerate(self._rows[:1] if timed else self._rows):
            _seed(seed)
            models.append(training.model())
            states.append(torch.get_rng_state())
            if row == 0:
                self._around = Surroundings(self.lead, models[0])
            elif row in {1, ends[0] - 1} and row < ends[0]:
                self._around.own(models[row])
                self._refuse_shared(self._around.changes(), draws=False)
        if timed:
            models, states = models * len(self._rows), states * len(self._rows)
        self.states = torch.stack(states)
        # The last one of each configuration: its `model` may have kept it.
        self._models: list[nn.Module] = [models[end - 1] for end in ends]
        self.model = self._models[0]
        self.model.train()
        named = [dict(model.named_parameters()) for model in models]
        buffers = [dict(model.named_buffers()) for model in models]
        self.parameters = {
            name: torch.stack([own[name].detach() for own in named]).requires_grad_(
                parameter.requires_grad
            )
            for name, parameter in named[0].items()
        }
        self.buffers = {name: torch.stack([own[name] for own in buffers]) for name in buffers[0]}
        self._trained = {n: p for n, p in self.parameters.items() if p.requires_grad}
        self._frozen = {n: p for n, p in self.parameters.items() if not p.requires_grad}
        starts = [0, *ends]
        optimizers = []
        for (training, _), own_model in zip(groups, self._models, strict=True):
            with untracked(training):
                optimizers.append(training.optimizer(own_model.parameters()))
        owns = [named[end - 1] for end in ends]
        self._optimizer = _as_one(optimizers, owns, self._trained, starts) or _OneEach(
            optimizers, owns, self.parameters, starts
        )
        self._schedulers = []
        for (training, _), optimizer in zip(groups, optimizers, strict=True):
            with untracked(training):
                self._schedulers.append(training.scheduler(optimizer))
        self._around = Surroundings(self.lead, self.model)
        self._around.own(*models[-1:], *optimizers, *self._schedulers)
        self._known_version, self._changed = 0, dict[str, None]()
        self._objective = _Loss(self.lead, self.model)
        self._draws: dict[tuple[Any, ...], Draws] = {}
        self.together = together
        self.losses, self.gathering = torch.empty(0), 0.0
        # Steps are recorded, by the shapes of their tensors, and repeated: see `step_graph`.
        self.repeats = all(parameter.is_cpu for parameter in self.parameters.values())
        self._epochs = 0
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._verifies = False  # record the next step again, and compare
        self._changes_state = False  # each call of the loss changes what it may read

    def epoch(self) -> Iterator[Tensor]:
        """Train on each seed's batches; yield the losses of each step."""
        self.model.train()
        self._refuse_shared(self._around.changes(), kinds=(OUTSIDE,))
        began = _clock()
        at_once = self._epoch_at_once() if self.together else None
        self.gathering = (_clock() - began) / len(at_once) if at_once else 0.0
        self._epochs += 1
        if at_once is None:
            self.repeats = False
        if self.repeats:
            if self._state_has_changed():
                self._programs.clear()
            else:
                self._verifies = self._epochs in {*RARE, self.lead.epochs}
        for batch, axes in at_once or self._batches():
            self._step(batch, axes)
            yield self.losses.clone()  # the next step may overwrite them
        self._refuse_different_configs()
        for scheduler in self._schedulers:
            if scheduler is not None:
                scheduler.step()

    def _state_has_changed(self) -> bool:
        """Whether the loss may read other objects than at the last call of this method."""
        self._note(self._around.changes())
        before, self._known_version = self._known_version, self._around.version
        return before != self._known_version

    def _note(self, changes: Sequence[Place]) -> Sequence[Place]:
        """Note which attributes of the training's object change while it trains."""
        self._changed.update((one.path[1], None) for one in changes if one.kind == SELF)
        return changes

    def _refuse_shared(
        self,
        changes: Sequence[Place],
        *,
        kinds: Sequence[int] = (SELF, OUTSIDE),
        but: Sequence[str] = (),
        draws: bool = True,
    ) -> None:
        """Refuse a training that reads what it has changed where its seeds would share it.

        Args:
            changes: what has changed.
            kinds: of changes that seeds would share.
            but: methods that may read it, beside those that make a seed's model and optimizer.
            draws: whether random generators count.

        Raises:
            Shares: it does.
        """
        if changes:
            left_out = ("__init__", "model", "optimizer", *but)
            found = self._around.shared(changes, but=left_out, kinds=kinds, draws=draws)
            if found is not None:
                raise Shares(f"{_changed_in(found)}: {LOOP}")

    def _refuse_different_configs(self) -> None:
        """Refuse configurations that differ in what the loss has read since the trial.

        All seeds are trained with the loss of the first configuration.
        """
        for training in {id(training): training for training, _ in self._rows}.values():
            with untracked(self.lead), untracked(training):
                for name in self.lead.config.names_read:
                    if training.config.get(name) != self.lead.config.get(name):
                        raise CannotStack(f"{name} is read late, and differs: {LOOP}")

    def _step(self, batch: tuple[Any, ...], axes: tuple[int | None, ...]) -> None:
        """Train on a batch.

        Raises:
            CannotStack: each call of the loss changes what it may read.
        """
        key = (axes, *map(_signature, batch))
        is_rare = key not in self._draws and len(self._draws) > 0  # an epoch's last rows, say
        if key not in self._draws:
            self._draws[key] = self._note_draws(batch, axes)
        draws = self._draws[key]
        drawn = tuple(wanted.make(self.states) for wanted in draws.wanted)
        inputs = [one for one in (*batch, *drawn) if isinstance(one, Tensor)]
        if key in self._programs and not self._verifies:
            self.losses, *gradients = self._programs[key](inputs)
        elif is_rare or not self.repeats or len({id(one) for one in inputs}) < len(inputs):
            self.losses, gradients = self._compute(draws, batch, axes, drawn)
        else:
            if self._state_has_changed():  # by the first call, say
                self._programs.clear()
            with recorded(inputs) as recording:
                self.losses, gradients = self._compute(draws, batch, axes, drawn)
            self._keep(key, recording.program([self.losses, *gradients]))
        if self._changes_state:
            raise CannotStack(f"`loss` or a layer changes something whenever it is called: {LOOP}")
        self._optimizer.step(dict(zip(self._trained, gradients, strict=True)))

    def _keep(self, key: tuple[Any, ...], program: Program | None) -> None:
        """Keep a recorded step for steps of the same shapes."""
        before = self._programs.pop(key, None)
        self._verifies = False
        if program is None or self._state_has_changed():  # the next step may differ
            self.repeats = False
            self._programs.clear()
        elif before is not None and not before.is_same(program):
            raise CannotStack(f"a step is another one than the steps before, unseen: {LOOP}")
        else:
            self._programs[key] = before or program  # the earlier one is compiled already

    def _compute(
        self, draws: Draws, batch: tuple[Any, ...], axes: tuple[int | None, ...], drawn: Any
    ) -> tuple[Tensor, list[Tensor | None]]:
        """The losses of a step, and the gradient of each parameter that has one."""
        losses = self._forward(draws, batch, axes, drawn)
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            losses,
            list(self._trained.values()),
            torch.ones_like(losses),
            allow_unused=True,
        )
        if self.lead.clip_norm is not None:
            gradients = _clipped(gradients, self.lead.clip_norm)
        # Optimizers read a gradient in the memory order of its parameter.
        return losses.detach(), [None if one is None else one.contiguous() for one in gradients]

    def _epoch_at_once(self) -> list[Batch] | None:
        """All batches of an epoch, by one call of `batches` for all seeds.

        None where that fails: the batches are large, `batches` draws random numbers later than at
        its beginning or by other functions than torch's usual ones, or `vmap` refuses it.
        """
        before = self.states.clone()
        rows = row = torch.arange(len(self._rows))
        unseeded = torch.get_rng_state()
        parts: list[tuple[Any, ...]] = []
        size = 0
        watches = self._epochs in {0, *RARE}

        def take(draw: SeedDraw, like: Tensor | None) -> Tensor:
            if parts or not (like is None or like.is_contiguous()):
                raise CannotStack("draws later")
            return for_each(lambda: draw.make(self.states), row)

        def gather(own_row: Tensor) -> list[Tensor]:
            nonlocal row, size
            row = own_row
            for batch in self.lead.batches():
                parts.append(tuple(batch))
                if len(parts) == 1:
                    self._refuse_shared(self._note(self._around.changes()), kinds=(OUTSIDE,))
                elif watches:
                    between.extend(self._around.changes())
                size += sum(one.nbytes for one in parts[-1] if isinstance(one, Tensor))
                if size * len(rows) > BATCHES_BYTES:
                    raise CannotStack("takes too much memory")
            between.extend(self._around.changes())
            return [one for batch in parts for one in batch if isinstance(one, Tensor)]

        between: list[Place] = []
        try:
            with Ruled(drawing_rules(take)):
                tensors = iter(vmap(gather, randomness="error")(rows))
            if not torch.equal(unseeded, torch.get_rng_state()):
                raise CannotStack("draws otherwise")
            # All batches are made before the first loss.
            self._refuse_shared(self._note(between), but=("batches",))
        except Shares:
            if self._epochs:
                raise  # a second call of `batches` would change it again
            self.together = False
            self.states = before
            torch.set_rng_state(unseeded)
            return None
        except Exception:  # an error of the user's code is raised again in `_batches`
            self.together = False
            self.states = before
            torch.set_rng_state(unseeded)
            return None
        batches: list[Batch] = []
        for batch in parts:
            whole = [next(tensors) if isinstance(one, Tensor) else one for one in batch]
            # `vmap` expands tensors that are the same for all seeds.
            shared = [not isinstance(one, Tensor) or one.stride(0) == 0 for one in whole]
            values = (
                one[0] if same and isinstance(one, Tensor) else one
                for one, same in zip(whole, shared, strict=True)
            )
            batches.append((tuple(values), tuple(None if same else 0 for same in shared)))
        return batches

    def _batches(self) -> Iterator[Batch]:
        """The batches of each seed, drawn with its own generator."""
        iterators: list[Iterator[Any]] = []
        while True:
            batches = []
            for row, ((training, _), state) in enumerate(zip(self._rows, self.states, strict=True)):
                torch.set_rng_state(state.clone())
                if row == len(iterators):  # here, because `batches` may draw at once
                    iterators.append(iter(training.batches()))
                batch = next(iterators[row], None)
                state.copy_(torch.get_rng_state())
                if batch is not None:
                    batches.append(tuple(batch))
                if row == 0:
                    self._note(self._around.changes())
            self._refuse_shared(self._note(self._around.changes()))
            if batches and len(batches) < len(iterators):
                raise CannotStack(f"seeds have different numbers of batches: {LOOP}")
            if not batches:
                return
            yield _stacked_batch(batches)

    def _forward(
        self, draws: Draws, batch: tuple[Any, ...], axes: tuple[int | None, ...], drawn: Any
    ) -> Tensor:
        def loss(
            trained: dict[str, Tensor],
            other: dict[str, Tensor],
            batch: Any,
            drawn: Any,
            row: Tensor,
        ) -> Tensor:
            tensors = {f"model.{name}": one for name, one in {**trained, **other}.items()}
            with Ruled({**draws.taking(drawn), **matrix_rules(row), **image_rules(row)}):
                value: Tensor = functional_call(self._objective, tensors, batch)
            return value

        dims: Any = (0, 0, axes, 0 if drawn else None, 0)
        losses: Tensor = vmap(loss, dims, randomness="error")(
            self._trained,
            {**self._frozen, **self.buffers},
            batch,
            drawn,
            torch.arange(len(self._rows)),
        )
        if losses.dim() != 1:
            shape = tuple(losses.shape[1:])
            raise CannotStack(f"the loss of a batch has shape {shape}, not (): {LOOP}")
        return losses

    def _note_draws(self, batch: tuple[Any, ...], axes: tuple[int | None, ...]) -> Draws:
        """The draws of the loss, by a call for the first seed with copies of its tensors."""
        tensors = {
            f"model.{name}": one[0].clone()
            for name, one in {**self.parameters, **self.buffers}.items()
        }
        own = tuple(one if axis is None else one[0] for one, axis in zip(batch, axes, strict=True))
        for _ in range(2):  # the first call may create what all calls use
            draws = Draws()
            self._state_has_changed()
            with torch.no_grad(), Ruled(draws.noting()):
                functional_call(self._objective, tensors, own)
            self._changes_state = self._state_has_changed()
            if not self._changes_state:
                break
        return draws

    def scores(self) -> list[Any]:
        """The score of each seed's model, one after the other, as the loop computes it."""
        scores: list[Any] = []
        model, last = self.model, self.lead
        models = iter(self._models[1:])
        for row, ((training, _), state) in enumerate(zip(self._rows, self.states, strict=True)):
            if training is not last:
                model, last = next(models), training
                # What `batches` and `loss` have changed in the first training holds for all.
                training.__dict__.update({name: getattr(self.lead, name) for name in self._changed})
            for own, stacked in (
                (model.named_parameters(), self.parameters),
                (model.named_buffers(), self.buffers),
            ):
                for name, tensor in own:
                    tensor.data = stacked[name].detach()[row]
            torch.set_rng_state(state.clone())
            scores.append(scored(training, model))
            state.copy_(torch.get_rng_state())
            if row == 0:
                self._around.changes()
        self._refuse_shared(self._around.changes())
        return scores


class Shares(CannotStack):
    """Why seeds in a stack would share what each has to have for itself, in a sentence."""


def _changed_in(place: Place) -> str:
    """That a training changes what is at a place, for users."""
    if place.key == DRAWN:
        return f"random numbers that are not torch's are drawn ({place})"
    return f"the training changes {place}, which the seeds of a stack would share"


def _seed(seed: int) -> None:
    """As `torch.manual_seed`, which without a GPU takes a millisecond for it."""
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
    """One compiled optimizer for all configurations; None where it would not give the same."""
    groups = []
    for optimizer, own in zip(optimizers, owns, strict=True):
        of = {id(p): at for at, group in enumerate(optimizer.param_groups) for p in group["params"]}
        groups.append({name: of.get(id(own[name])) for name in weights})
    known = all(None not in indices.values() for indices in groups)
    # Not contiguous, as in `channels_last`: the gradient has another memory order.
    plain = all(
        w.is_cpu and w.dtype == torch.float32 and w.is_contiguous() for w in weights.values()
    )
    if not known or not plain or torch.get_num_threads() > 1 or not are_plain(optimizers):
        return None
    return StackOptimizer(optimizers, weights, groups, np.diff(starts))


class _OneEach:
    """The optimizers of several configurations; each steps its rows of the stacked parameters.

    Args:
        optimizers: new ones, of one model of each configuration.
        owns: the parameters of these models.
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
        self._parts: list[tuple[slice, dict[str, Tensor], Any]] = []
        for optimizer, own, ends in zip(optimizers, owns, itertools.pairwise(starts), strict=True):
            rows = slice(*ends)
            stacked = {name: whole.detach()[rows] for name, whole in parameters.items()}
            by_id = {id(own[name]): whole for name, whole in stacked.items()}
            self._parts.append((rows, stacked, _moved(optimizer, by_id)))

    def step(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Step each optimizer once."""
        for rows, stacked, optimizer in self._parts:
            for name, gradient in gradients.items():
                stacked[name].grad = gradient if gradient is None else gradient[rows]
            optimizer.step()


def _moved(optimizer: torch.optim.Optimizer, stacked: Mapping[int, Tensor]) -> Any:
    """Give a new optimizer stacked parameters in place of one model's, by the ids of these."""
    name = type(optimizer).__name__
    if type(optimizer) is not getattr(torch.optim, name, None) or name not in ELEMENTWISE:
        raise CannotStack(f"torch.optim.{name} does not step each number by itself: {LOOP}")
    state = dict(optimizer.state)
    optimizer.state.clear()
    for parameter, own in state.items():  # Adagrad has one before its first step
        whole = stacked[id(parameter)]
        optimizer.state[whole] = {
            name: (value.expand_as(whole) if value.dim() else value).clone()
            if isinstance(value, Tensor)
            else value
            for name, value in own.items()
        }
    for group in optimizer.param_groups:
        group["params"] = [stacked[id(parameter)] for parameter in group["params"]]
    return optimizer


def _clipped(gradients: Sequence[Tensor | None], most: float) -> tuple[Tensor | None, ...]:
    """Each seed's gradient, of norm at most `most`: see `torch.nn.utils.clip_grad_norm_`."""
    norms = [one.flatten(1).norm(dim=1) for one in gradients if one is not None]
    factor = (most / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)
    return tuple(
        None if one is None else one * factor.view(-1, *(1 for _ in one.shape[1:]))
        for one in gradients
    )


def _signature(value: Any) -> Any:
    """What a part of a batch must have in common with another for a recorded step to fit both."""
    if not isinstance(value, Tensor):
        return value
    return value.shape, value.stride(), value.dtype, value.requires_grad


def _stacked_batch(batches: Sequence[tuple[Any, ...]]) -> Batch:
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
# Trials: some steps of the loop and of a stack, once in a process for each kind of model.


@dataclass
class Trial:
    """Whether a training gives the same in a stack as in the loop, and how long each takes.

    Attributes:
        kind: what all configurations that may be in one stack with it share.
        read: the parameters that are read outside of the optimizer, with their values.
            Configurations that agree in these differ in their optimizers only.
        reason: why it is not stacked, in a sentence; empty if it is.
        together: `batches` may be called once for all seeds.
        loop: seconds of a step of one seed alone.
        stacked: by the width of a stack, seconds of a step of one seed in it.
    """

    kind: tuple[Any, ...]
    read: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    together: bool = True
    loop: float = math.inf
    stacked: dict[int, float] = field(default_factory=dict)

    def stacks(self, seeds: int) -> int:
        """The best number of stacks for `seeds` seeds; as many as seeds means the loop."""
        if self.reason or not self.stacked:
            return seeds
        widest = max(self.stacked)
        counts = {math.ceil(seeds / width) for width in (*self.stacked, min(seeds, widest))}
        seconds = {count: count * self._step(math.ceil(seeds / count)) for count in counts}
        best = min(seconds, key=lambda count: (seconds[count], count))
        return best if seconds[best] < seeds * self.loop else seeds

    def _step(self, width: int) -> float:
        """Seconds of a step of a stack, interpolated between the widths that were timed."""
        widths = sorted(self.stacked)
        whole = [width * self.stacked[width] for width in widths]
        return float(np.interp(width, widths, whole))

    def measure(self, training: Any, seeds: int) -> None:
        """Time stacks of up to `seeds` seeds: wide ones, and narrower ones as long as they gain."""
        widths = [width for width in WIDTHS if width <= seeds]
        if 1.5 * max((*widths, *self.stacked), default=0) < min(seeds, WIDTHS[-1]):
            widths.append(seeds)
        wide = [width for width in widths if 8 * width > seeds]
        narrow = [width for width in reversed(widths) if 8 * width <= seeds]
        best = math.inf
        for some in (wide, narrow) if not self.reason else ():
            for width in some:
                if self._seconds_of_seed(training, width) > best:
                    break
                best = self.stacked[width]
            if self.stacked.get(wide[0] if wide else 0) != best:
                break

    def _seconds_of_seed(self, training: Any, width: int) -> float:
        """Seconds of a step of one seed in a stack: of the fastest of `TIMED` steps."""
        if width not in self.stacked:
            self.stacked[width] = math.inf  # stays if memory runs out: a RuntimeError on a CPU
            with suppress(MemoryError, RuntimeError), _quiet(), _memory_kept():
                groups = [(training, range(width))]
                try:
                    stack = Stack(groups, together=self.together, timed=True)
                    steps = zip(range(1 + TIMED), _steps(stack), strict=False)
                    step = _fastest([_clock() for _ in steps]) + stack.gathering
                except Shares as refused:
                    self.reason = str(refused)
                    raise
                self.stacked[width] = step / width
                self.together = stack.together
        return self.stacked[width]

    def cheap(self, training: Any) -> int:
        """The largest width that trains in hardly more time than a few seeds; 1 if none does."""
        torch.manual_seed(0)
        size = 4 * sum(parameter.nbytes for parameter in training.model().parameters())
        widths = [
            width for width in WIDTHS if width * size <= CHEAP_STACK_BYTES and not self.reason
        ]
        cheapest, before, each = 1, 0, math.inf
        for width in widths:
            with suppress(Exception):
                self._seconds_of_seed(training, width)
            whole = width * self.stacked[width]
            further = whole - before * each if before else 0.0
            if math.isinf(whole) or further > PAYS * (width - before) * each:
                break
            before, each = width, self.stacked[width]
            cheapest = width if each < self.loop / 2 else cheapest
        return cheapest

    @property
    def sentence(self) -> str:
        """For users: that seeds are trained as one, or why they are not."""
        return self.reason or "the seeds of a block are trained as one"


_trials: list[Trial] = []


def trial_of(training: Any, seeds: Sequence[int]) -> Trial:
    """The trial of a user's training; a new one trains some steps of the first two seeds.

    Raises:
        MethodError: a method gives something else than it must, for both seeds.
        BaseException: what the training of a seed raised.
    """
    config, kind = training.config, _kind(training)
    with untracked(training):
        for trial in _trials:
            read = {name: config.get(name, _NOTHING) for name in trial.read}
            if trial.kind == kind and read == trial.read:
                return trial
    trial = Trial(kind)
    if getattr(type(training).run, "__module__", "") != "xortune.trainers.torch_training":
        trial.reason = f"{type(training).__name__} has a run of its own: {LOOP}"
        refuse_reused(training, *(Made(model_of(training)) for _ in range(2)))
    else:
        plain, wrong = [], []
        for seed in seeds[:2]:
            try:
                plain.append(_plain_steps(training, seed))
            except MethodError as error:
                wrong.append(error)
        if len(wrong) == 2:
            raise wrong[0]
        if wrong:
            trial.reason = f"of a seed {wrong[0].place} {wrong[0].problem}: {LOOP}"
        else:
            refuse_reused(training, plain[0].made, plain[1].made)
            trial.loop = min(steps.seconds for steps in plain)
            for trial.together in (True, False):
                trial.reason = _difference(training, seeds[:2], plain, together=trial.together)
                if not trial.reason:
                    break
    trial.read = {name: config.get(name, _NOTHING) for name in config.names_read}
    _trials.append(trial)
    return trial


_NOTHING = "no such parameter"


def _kind(training: Any) -> tuple[Any, ...]:
    torch.manual_seed(0)
    model = model_of(training)
    with untracked(training):
        optimizer = optimizer_of(training, model)  # its class may not be elementwise
    settings = epochs_of(training), training.clip_norm, training.report_every
    return (type(training), type(optimizer), repr(model), *settings)


def _steps(stack: Stack) -> Iterator[Tensor]:
    """The losses of step after step, epoch after epoch; ends with an empty epoch."""
    has_batches = True
    while has_batches:
        has_batches = False
        for losses in stack.epoch():
            has_batches = True
            yield losses


def _clock() -> float:
    """Seconds. With one thread on a CPU other processes do not count."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return time.process_time() if alone else time.perf_counter()


def _fastest(ends: Sequence[float]) -> float:
    return min((after - before for before, after in itertools.pairwise(ends)), default=math.inf)


def _difference(
    training: Any, seeds: Sequence[int], plain: Sequence[_PlainSteps], *, together: bool
) -> str:
    """Why a stack does not train like the loop, in a sentence; empty if it does."""
    entered: list[str] = []
    with _quiet():
        try:
            stack = Stack([(training, seeds)], together=together)
            _note_layers(stack.model, entered)
            losses, buffers = [], {}
            for number, step in zip(range(TRIED), _steps(stack), strict=False):
                losses.append(step.double())
                if number == 0:
                    buffers = {name: one.clone() for name, one in stack.buffers.items()}
        except CannotStack as refused:
            return str(refused)
        except Exception as error:
            return _refusal(error, entered)
    for row, steps in enumerate(plain):
        for number, (loop, stacked) in enumerate(zip(steps.losses, losses, strict=False)):
            if not math.isclose(loop, stacked[row], rel_tol=1e-3, abs_tol=1e-6) and not (
                math.isnan(loop) and math.isnan(stacked[row])
            ):
                shown = f"loss {stacked[row]:.6g} against {loop:.6g} in step {number + 1}"
                return (
                    f"seeds that are stacked train differently ({shown}), as with random numbers "
                    f"that are not torch's, or with what is kept from seed to seed: {LOOP}"
                )
        for name, buffer in steps.buffers.items():
            if not torch.allclose(
                buffer.double(), buffers[name][row].double(), 1e-3, 1e-5, equal_nan=True
            ):
                return f"the buffer {name} differs in seeds that are stacked: {LOOP}"
        if not torch.equal(steps.generator, stack.states[row]):
            return f"seeds that are stacked draw other random numbers: {LOOP}"
    return ""


@dataclass
class _PlainSteps:
    """The first steps of the loop: their losses, and buffers after the first step."""

    losses: list[float]
    buffers: dict[str, Tensor]
    generator: Tensor
    seconds: float
    made: Made


class _Enough(Exception):
    """Ends a trial."""


def _plain_steps(training: Any, seed: int) -> _PlainSteps:
    """The first steps of the user's `run`, observed through its optimizer."""
    losses: list[float] = []
    buffers: dict[str, Tensor] = {}
    times: list[float] = []
    models: list[nn.Module] = []
    constants: dict[str, Tensor] = {}
    made: list[Any] = []  # the optimizer and the scheduler
    states: list[Tensor] = []
    make_model, make_optimizer = training.model, training.optimizer
    make_scheduler = training.scheduler

    def model() -> nn.Module:
        models.append(make_model())
        if isinstance(models[-1], nn.Module):
            constants.update(constants_of(models[-1]))
        return models[-1]

    def optimizer(parameters: Any) -> Any:
        with untracked(training):
            found = make_optimizer(parameters)
        made.append(found)
        if not hasattr(found, "step"):
            return found
        step = found.step

        def observed_step(_: Any, closure: Callable[[], Tensor]) -> Any:
            first: list[float] = []

            def observed() -> Tensor:
                loss = closure()
                first.append(float(loss.detach()))
                if not losses and len(first) == 1:
                    buffers.update({n: b.clone() for n, b in models[-1].named_buffers()})
                return loss

            result = step(observed)
            losses.append(first[0])
            times.append(_clock())
            if len(losses) == TRIED + TIMED:
                raise _Enough
            if len(losses) == TRIED:
                states.append(torch.get_rng_state())
            return result

        found.step = MethodType(observed_step, found)  # schedulers wrap it as a method
        return found

    def scheduler(optimizer: Any) -> Any:
        with untracked(training):
            made.append(make_scheduler(optimizer))
            return made[-1]

    training.model, training.optimizer, training.scheduler = model, optimizer, scheduler
    try:
        with suppress(_Enough):
            training.run(seed)
            states.append(torch.get_rng_state())
        if len(losses) == TRIED + TIMED:
            scored(training, models[-1])  # notes what it reads
    finally:
        del training.model, training.optimizer, training.scheduler
    own = Made(models[-1], made[0], made[1], constants)
    return _PlainSteps(losses[:TRIED], buffers, states[0], _fastest(times), own)


def _note_layers(model: nn.Module, entered: list[str]) -> None:
    """Keep `entered` a list of the layers whose forward pass has begun and not ended."""
    for layer in model.modules():
        layer.register_forward_pre_hook(lambda one, _: entered.append(type(one).__name__))
        layer.register_forward_hook(lambda *_: entered.pop() and None)


def _refusal(error: Exception, entered: Sequence[str]) -> str:
    """Why `vmap` refuses, in a sentence that names the layer and what to do."""
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
    """Ignore vmap's warnings of operations that it loops over: their cost is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule.*", category=UserWarning)
        yield


# -------------------------------------------------------------------------------------------------
# All seeds of a block.


Report = Callable[[int, Sequence[int], Any], None]
"""Called with the index of a group, some of its seeds, and their intermediate scores."""


def train_stacked(
    groups: Sequence[Group],
    report: Report = lambda *_: None,
    failures: tuple[type[BaseException], ...] = (Exception,),
) -> tuple[list[list[Any]], str]:
    """Train the seeds of some configurations of one class.

    Args:
        groups: each configuration's training with its seeds.
        report: called after every `report_every` epochs but the last; what it raises ends all.
        failures: exceptions of a training that are the failure of its seed; all others end all.

    Returns:
        For each group the score of each seed, or the exception that its training raised; fewer
        seeds if the search's time was over before. And a sentence: whether they train as one.

    Raises:
        MethodError: a method of a training gives something else than it must.
    """
    results: list[dict[int, Any]] = [{} for _ in groups]
    note = ""
    trials: list[Trial | None] = []
    alike = defaultdict[int, list[int]](list)  # groups that may be in one stack
    for index, (training, seeds) in enumerate(groups):
        trial = None
        try:
            with ending_forks():
                trial = trial_of(training, [*seeds, seeds[0] + 1][:2])
            note = trial.sentence
        except MethodError:
            raise
        except failures:  # the training below raises it again
            pass
        alike[id(trial) if trial is not None else -1 - index].append(index)
        trials.append(trial)
    for indices in alike.values():
        rows = [(index, seed) for index in indices for seed in groups[index][1]]
        trial, chunks = trials[indices[0]], len(rows)
        shared: list[str] = []  # why no stack trains them any more
        if trial is not None and len(rows) > 1:
            with suppress(*failures), ending_forks():
                trial.measure(groups[indices[0]][0], len(rows))
            chunks = trial.stacks(len(rows))
        for chunk in range(chunks):
            if time_is_over():
                break
            first, end = (len(rows) * number // chunks for number in (chunk, chunk + 1))
            together = trial is not None and trial.together
            for part in [[row] for row in rows[first:end]] if shared else [rows[first:end]]:
                try:
                    _train_chunk(groups, part, results, report, failures, together=together)
                except Shares as refused:
                    shared.append(str(refused))
                    for row in part:
                        _train_chunk(groups, [row], results, report, failures, together=together)
        if trial is not None:
            trial.reason = trial.reason or next(iter(shared), "")
            note = trial.sentence
    # Seeds are trained in their order: the scores are those of the first seeds of each group.
    return [list(scores.values()) for scores in results], note


def _train_chunk(
    groups: Sequence[Group],
    rows: Sequence[tuple[int, int]],
    results: Sequence[dict[int, Any]],
    report: Report,
    failures: tuple[type[BaseException], ...],
    *,
    together: bool,
) -> None:
    """Train rows (the index of a group, and a seed) as one model; in halves if that fails."""
    if len(rows) == 1:
        [(index, seed)] = rows
        training = groups[index][0]
        try:
            # `run` also reads the parameters of the optimizer
            with ending_forks(), untracked(training):
                score = training.run(seed, lambda told: report(index, [seed], told))
        except Ended:
            raise
        except failures as error:
            score = error
        results[index][seed] = score
        return
    indices = list(dict.fromkeys(index for index, _ in rows))
    parts = [(groups[index][0], [s for i, s in rows if i == index]) for index in indices]
    epochs = parts[0][0].epochs
    scores: list[Any] = []
    steps = trained_as_one(parts, together=together)
    while True:
        try:
            with ending_forks(), _quiet(), _memory_kept():
                epoch, scores = next(steps)
        except Shares:
            raise
        except failures:  # of a seed, or because memory ran out
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                _train_chunk(groups, half, results, report, failures, together=together)
            return
        if epoch == epochs:
            break
        first = 0
        for index, (_, seeds) in zip(indices, parts, strict=True):
            report(index, seeds, arrays_of(scores[first : first + len(seeds)]))
            first += len(seeds)
    for (index, seed), score in zip(rows, scores, strict=True):
        results[index][seed] = score


@contextmanager
def _memory_kept() -> Iterator[None]:
    """Within this context glibc does not return freed memory to the system at once.

    A step allocates and frees tensors of some megabytes. By default glibc maps each anew, and the
    system clears its pages, which takes up to a third of the time. Other allocators keep memory.
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
        # The value that glibc itself sets in a process that has freed large blocks.
        mallopt(trim, 2 * most)


def trained_as_one(
    groups: Sequence[Group], *, together: bool = True
) -> Iterator[tuple[int, list[Any]]]:
    """Train a stack; yield epoch and scores every `report_every` epochs and after the last."""
    stack = Stack(groups, together=together)
    for epoch in range(1, stack.lead.epochs + 1):
        for _ in stack.epoch():
            pass
        if stack.lead.reports_after(epoch) or epoch == stack.lead.epochs:
            yield epoch, stack.scores()
