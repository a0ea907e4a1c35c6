"""The seeds of a user's `TorchTraining` as one model, which is trained step by step.

    stack = Stack([(Digits({"lr": 0.01}), range(128))])
    for _ in range(stack.lead.epochs):
        for losses in stack.epoch():       # shape (128,), of a step
            ...
    scores = stack.scores()                # what `score` returns for each seed

The parameters and buffers of S models are stacked along a new first axis. A step

1. draws what the loss of each seed draws, with the seed's own generator (`seed_draws`),
2. computes losses and gradients: `torch.func.vmap` maps the user's loss over the seeds, with rules
   for what it does not compute well (`batching_rules`, `image_rules`); on a CPU only in the first
   step, whose operations later steps repeat (`step_graph`),
3. steps an optimizer, which treats each number by itself.

In a stack seeds take turns. What a training changes outside of its model, they would share: so
`Surroundings` watches it, and `Shares` is raised.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from xortune.trainers.batching_rules import LOOP, CannotStack, Ruled, for_each, matrix_rules
from xortune.trainers.image_rules import image_rules
from xortune.trainers.kernels.steps import StackOptimizer
from xortune.trainers.methods import scored
from xortune.trainers.seed_draws import Draws, SeedDraw, drawing_rules
from xortune.trainers.stack_optimizers import optimizer_of_stack
from xortune.trainers.step_graph import Program, recorded
from xortune.trainers.surroundings import DRAWN, OUTSIDE, OWN, SELF, Place, Surroundings


@contextmanager
def untracked(training: Any) -> Iterator[None]:
    """Within this context a training's `TrackedConfig` does not note what is read."""
    before, training.config.noting = training.config.noting, False
    try:
        yield
    finally:
        training.config.noting = before


def clock() -> float:
    """Seconds. With one thread on a CPU other processes do not count."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return time.process_time() if alone else time.perf_counter()


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
        states: of the seeds' generators, uint8, shape (S, bytes).
        repeats: steps are recorded and repeated, see `step_graph`.

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
        models, self.states = _new_models(self._rows, ends[0], timed=timed)
        # The last one of each configuration: its `model` may have kept it.
        self._models: list[nn.Module] = [models[end - 1] for end in ends]
        self.model = self._models[0]
        self._model_of = {id(one): own for (one, _), own in zip(groups, self._models, strict=True)}
        self.model.train()
        self._objective = _Loss(self.lead, self.model)

        named = [dict(model.named_parameters()) for model in models]
        buffers = [dict(model.named_buffers()) for model in models]
        self._take(
            {
                name: torch.stack([own[name].detach() for own in named]).requires_grad_(
                    parameter.requires_grad
                )
                for name, parameter in named[0].items()
            },
            {name: torch.stack([own[name] for own in buffers]) for name in buffers[0]},
        )

        trainings, starts = [training for training, _ in groups], [0, *ends]
        optimizers = [
            _untracked(training, training.optimizer, model.parameters())
            for training, model in zip(trainings, self._models, strict=True)
        ]
        owns = [named[end - 1] for end in ends]
        self._optimizer = optimizer_of_stack(optimizers, owns, self.parameters, starts)
        self._schedulers = [
            _untracked(training, training.scheduler, optimizer)
            for training, optimizer in zip(trainings, optimizers, strict=True)
        ]

        self._around = Surroundings(self.lead, self.model)
        self._around.own(*models[-1:], *optimizers, *self._schedulers)
        self._known_version, self._changed = 0, dict[str, None]()
        self._changes_state = False  # each call of the loss changes what it may read

        self.together = together
        self.losses, self.gathering = torch.empty(0), 0.0
        self._epochs = 0
        # By the shapes of a batch: what the loss draws, and the recorded step.
        self._draws: dict[tuple[Any, ...], Draws] = {}
        self._programs: dict[tuple[Any, ...], Program] = {}
        self.repeats = all(parameter.is_cpu for parameter in self.parameters.values())
        self._verifies = False  # record the next step again, and compare

    def _take(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        """Go on with these stacked tensors."""
        self.parameters, self.buffers = parameters, buffers
        self._trained = {n: p for n, p in parameters.items() if p.requires_grad}
        self._frozen = {n: p for n, p in parameters.items() if not p.requires_grad}

    def leave(self, rows: Sequence[int]) -> None:
        """Train the seeds in these rows no further; the others go on as before."""
        gone = set(rows)
        kept = [row for row in range(len(self._rows)) if row not in gone]
        index = torch.tensor(kept, device=next(iter(self.parameters.values())).device)
        self._rows = [self._rows[row] for row in kept]
        self.states = self.states[index.cpu()]
        self._take(
            {
                name: one.detach()[index].requires_grad_(one.requires_grad)
                for name, one in self.parameters.items()
            },
            {name: one[index] for name, one in self.buffers.items()},
        )
        if isinstance(self._optimizer, StackOptimizer):
            self._optimizer.keep(kept, self._trained)
        else:
            self._optimizer.keep(kept, self.parameters)
        self._programs.clear()  # of steps with more rows

    def epoch(self) -> Iterator[Tensor]:
        """Train on each seed's batches; yield the losses of each step."""
        self.model.train()
        _refuse_shared(self._around, self._around.changes(), kinds=(OUTSIDE,))
        began = clock()
        at_once = self._epoch_at_once() if self.together else None
        self.gathering = (clock() - began) / len(at_once) if at_once else 0.0
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
        between: list[Place] = []
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
                    _refuse_shared(
                        self._around, self._note(self._around.changes()), kinds=(OUTSIDE,)
                    )
                elif watches:
                    between.extend(self._around.changes())
                size += sum(one.nbytes for one in parts[-1] if isinstance(one, Tensor))
                if size * len(rows) > BATCHES_BYTES:
                    raise CannotStack("takes too much memory")
            between.extend(self._around.changes())
            return [one for batch in parts for one in batch if isinstance(one, Tensor)]

        try:
            with Ruled(drawing_rules(take)):
                tensors = vmap(gather, randomness="error")(rows)
            if not torch.equal(unseeded, torch.get_rng_state()):
                raise CannotStack("draws otherwise")
            # All batches are made before the first loss.
            for place in between:
                if place.kind == OWN:
                    raise Shares(f"{_changed_in(place)}: {LOOP}")
            _refuse_shared(self._around, self._note(between), but=("batches",))
        except Exception as refused:  # an error of the user's code is raised again in `_batches`
            if isinstance(refused, Shares) and self._epochs:
                raise  # a second call of `batches` would change it again
            self.together = False
            self.states = before
            torch.set_rng_state(unseeded)
            return None
        return _batches_of(parts, tensors)

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
            _refuse_shared(self._around, self._note(self._around.changes()))
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
        for row, ((training, _), state) in enumerate(zip(self._rows, self.states, strict=True)):
            if training is not last:
                model, last = self._model_of[id(training)], training
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
        _refuse_shared(self._around, self._around.changes())
        return scores


class Shares(CannotStack):
    """Why seeds in a stack would share what each has to have for itself, in a sentence."""


def _refuse_shared(
    around: Surroundings,
    changes: Sequence[Place],
    *,
    kinds: Sequence[int] = (SELF, OUTSIDE),
    but: Sequence[str] = (),
    draws: bool = True,
) -> None:
    """Refuse a training that reads what it has changed where its seeds would share it.

    Args:
        around: what the training reads and changes.
        changes: what has changed.
        kinds: of changes that seeds would share.
        but: methods that may read it, beside those that make a seed's model and optimizer.
        draws: whether random generators count.

    Raises:
        Shares: it does.
    """
    if changes:
        left_out = ("__init__", "model", "optimizer", *but)
        found = around.shared(changes, but=left_out, kinds=kinds, draws=draws)
        if found is not None:
            raise Shares(f"{_changed_in(found)}: {LOOP}")


def _changed_in(place: Place) -> str:
    """That a training changes what is at a place, for users."""
    if place.key == DRAWN:
        return f"random numbers that are not torch's are drawn ({place})"
    return f"the training changes {place}, which the seeds of a stack would share"


def _untracked(training: Any, method: Any, argument: Any) -> Any:
    """Call a method that may read parameters in which the configurations of a stack differ."""
    with untracked(training):
        return method(argument)


def _new_models(
    rows: Sequence[tuple[Any, int]], of_lead: int, *, timed: bool
) -> tuple[list[nn.Module], Tensor]:
    """A new model for each seed, and the states of their generators, uint8, shape (S, bytes).

    Args:
        rows: each seed with its configuration's training.
        of_lead: the number of seeds of the first configuration.
        timed: initialise all seeds as the first one.
    """
    models, states = [], []
    for row, (training, seed) in enumerate(rows[:1] if timed else rows):
        _seed(seed)
        models.append(training.model())
        states.append(torch.get_rng_state())
        if row == 0:
            around = Surroundings(training, models[0])
        elif row in {1, of_lead - 1} and row < of_lead:
            around.own(models[row])
            _refuse_shared(around, around.changes(), draws=False)
    if timed:
        models, states = models * len(rows), states * len(rows)
    return models, torch.stack(states)


def _seed(seed: int) -> None:
    """As `torch.manual_seed`, which without a GPU takes a millisecond for it."""
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


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


def _batches_of(parts: Sequence[tuple[Any, ...]], tensors: Iterable[Tensor]) -> list[Batch]:
    """Batches of all seeds, from those of one seed and their tensors as `vmap` has stacked them."""
    stacked = iter(tensors)
    batches: list[Batch] = []
    for batch in parts:
        whole = [next(stacked) if isinstance(one, Tensor) else one for one in batch]
        # `vmap` expands tensors that are the same for all seeds.
        shared = [not isinstance(one, Tensor) or one.stride(0) == 0 for one in whole]
        values = (
            one[0] if same and isinstance(one, Tensor) else one
            for one, same in zip(whole, shared, strict=True)
        )
        batches.append((tuple(values), tuple(None if same else 0 for same in shared)))
    return batches


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
