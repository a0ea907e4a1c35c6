"""The seeds of a user's `TorchTraining` as one model, which is trained step by step.

    stack = Stack([(Digits({"lr": 0.01}), range(128))])
    for _ in range(stack.lead.epochs):
        for losses in stack.epoch():       # shape (128,), of a step
            ...
    scores = stack.scores()                # what `score` returns for each seed

The parameters and buffers of S models are stacked along a new first axis. `epoch_batches` makes the
batches of all seeds. For each of them a step

1. draws what the loss of each seed draws, with the seed's own generator (`seed_draws`),
2. computes losses and gradients: `torch.func.vmap` maps the user's loss over the seeds, with rules
   for what it does not compute well (`batching_rules`, `image_rules`); on a CPU only in the first
   step, whose operations later steps repeat (`step_graph`),
3. steps an optimizer, which treats each number by itself (`stack_optimizers`).

In a stack seeds take turns. What a training changes outside of its model, they would share: so
`SharedState` watches it, and `Shares` is raised.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from xortune.trainers.batching_rules import LOOP, CannotStack, Ruled, matrix_rules
from xortune.trainers.epoch_batches import CHECKED_EPOCHS, EpochBatches, StackedBatch
from xortune.trainers.image_rules import image_rules
from xortune.trainers.methods import parameters_of, scored, untracked
from xortune.trainers.seed_draws import Draws
from xortune.trainers.stack_optimizers import optimizer_of_stack, refuse_hooks
from xortune.trainers.step_graph import Program, recorded, unrecorded
from xortune.trainers.surroundings import SharedState

Group = tuple[Any, Sequence[int]]
"""A user's training of one configuration, and its seeds."""

LossesAndGradients = tuple[Tensor, Sequence[Tensor | None]]
"""The losses of a step, shape (S,), and the gradient of each trained parameter."""


class Stack:
    """The seeds of several trainings as one model; S seeds in all.

    The configurations differ in parameters of their optimizers only.

    Args:
        groups: each configuration with its seeds.
        at_once: try to make the batches of an epoch by one call for all seeds.
        repeats: on a CPU, record steps and repeat their operations.
        timed: initialise all seeds as the first one: only their time counts.

    Attributes:
        lead: the first training; its `batches` and `loss` serve all seeds.
        model: of one seed; its layers compute those of all.
        parameters: by name, shape (S, ...).
        buffers: by name, shape (S, ...).
        states: of the seeds' generators, uint8, shape (S, bytes).
        batches: makes the batches of each epoch.
        losses: of the last step, shape (S,).

    Raises:
        CannotStack: an optimizer is not elementwise.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        at_once: bool = True,
        repeats: bool = True,
        timed: bool = False,
    ) -> None:
        self._rows = [(training, seed) for training, seeds in groups for seed in seeds]
        trainings = [training for training, _ in groups]
        ends = list(itertools.accumulate(len(seeds) for _, seeds in groups))
        self.lead = trainings[0]
        models, self.states = _new_models(self._rows, ends[0], timed=timed)
        # The model of each configuration's last seed. A training may keep the model that it makes
        # in an attribute, which its other methods read: this model is there now.
        lasts: list[nn.Module] = [models[end - 1] for end in ends]
        self._model_of = {id(one): own for one, own in zip(trainings, lasts, strict=True)}
        self.model = lasts[0]
        self.model.train()
        self._objective = _Loss(self.lead, self.model)
        self._set_tensors(*_stacked(models))

        optimizers = [
            _untracked(training, training.optimizer, model.parameters())
            for training, model in zip(trainings, lasts, strict=True)
        ]
        for model, optimizer in zip(lasts, optimizers, strict=True):
            refuse_hooks(model, optimizer)
        self._optimizers = optimizers
        owns = [dict(model.named_parameters()) for model in lasts]
        self._optimizer = optimizer_of_stack(optimizers, owns, self.parameters, [0, *ends])
        self._schedulers = [
            _untracked(training, training.scheduler, optimizer)
            for training, optimizer in zip(trainings, optimizers, strict=True)
        ]

        self._shared = SharedState(self.lead, self.model, *lasts, *optimizers, *self._schedulers)
        self.batches = EpochBatches(self.lead, self._shared, at_once=at_once)
        self.losses = torch.empty(0)
        self._epochs = 0
        on_cpu = all(parameter.is_cpu for parameter in self.parameters.values())
        self._steps = _StackSteps(self._shared, repeats=repeats and on_cpu)

    @property
    def repeats(self) -> bool:
        """Whether steps are recorded and repeated; once False, it stays so."""
        return self._steps.repeats

    def _set_tensors(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        """Go on with these stacked parameters and buffers."""
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
        self._set_tensors(
            {
                name: one.detach()[index].requires_grad_(one.requires_grad)
                for name, one in self.parameters.items()
            },
            {name: one[index] for name, one in self.buffers.items()},
        )
        self._optimizer.keep(kept, self.parameters)
        self._steps.forget()  # the recorded steps have more rows

    # ---------------------------------------------------------------------------------------------
    # Epochs and steps.

    def epoch(self) -> Iterator[Tensor]:
        """Train on each seed's batches; yield the losses of each step, shape (S,).

        Raises:
            CannotStack: seeds would share something (`Shares`), or steps cannot be trusted.
        """
        self._epochs += 1
        self.model.train()
        self._shared.refuse_outside(self._shared.changes())
        trainings = [training for training, _ in self._rows]
        batches = self.batches.of_epoch(self._epochs, trainings, self.states)
        self._steps.begin_epoch(
            checks=self._epochs in {*CHECKED_EPOCHS, self.lead.epochs},
            may_repeat=self.batches.at_once,  # else the user's code runs between the steps
        )
        for batch in batches:
            self._step(batch)
            yield self.losses.clone()  # the next step may overwrite them
        self._refuse_different_configs()
        stepped = [p for one in self._optimizers for g in one.param_groups for p in g["params"]]
        with self._shared.untouched(*stepped):
            for scheduler in self._schedulers:
                if scheduler is not None:
                    scheduler.step()

    def _step(self, batch: StackedBatch) -> None:
        """Train on a batch."""
        self.losses, gradients = self._steps.compute(
            batch, self.states, self._noted_draws, self._losses_and_gradients
        )
        self._optimizer.step(dict(zip(self._trained, gradients, strict=True)))

    def _refuse_different_configs(self) -> None:
        """Refuse configurations that differ in what the loss has read since the pilot.

        All seeds are trained with the loss of the first configuration.
        """
        for training in {id(training): training for training, _ in self._rows}.values():
            with untracked(self.lead), untracked(training):
                lead, other = parameters_of(self.lead), parameters_of(training)
                for name in lead.names_read:
                    if other.get(name) != lead.get(name):
                        raise CannotStack(f"{name} is read late, and differs: {LOOP}")

    # ---------------------------------------------------------------------------------------------
    # Losses and gradients.

    def _losses_and_gradients(
        self, batch: StackedBatch, draws: Draws, drawn: Sequence[Tensor]
    ) -> LossesAndGradients:
        """The losses of a step, shape (S,), and the gradient of each trained parameter.

        Args:
            batch: of all seeds.
            draws: what the loss draws.
            drawn: these draws, shape (S, ...).
        """
        losses = self._losses(batch, draws, drawn)
        with unrecorded():  # the same in each step
            ones = torch.ones_like(losses)
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            losses, list(self._trained.values()), ones, allow_unused=True
        )
        if self.lead.clip_norm is not None:
            gradients = _clipped(gradients, self.lead.clip_norm)
        # Optimizers read a gradient in the memory order of its parameter.
        return losses.detach(), [None if one is None else one.contiguous() for one in gradients]

    def _losses(self, batch: StackedBatch, draws: Draws, drawn: Sequence[Tensor]) -> Tensor:
        """The losses of a step, shape (S,): the user's loss, mapped over the seeds."""

        def loss(
            trained: dict[str, Tensor],
            other: dict[str, Tensor],
            values: Any,
            drawn: Any,
            row: Tensor,
        ) -> Tensor:
            tensors = {f"model.{name}": one for name, one in {**trained, **other}.items()}
            with Ruled({**draws.taking(drawn), **matrix_rules(row), **image_rules(row)}):
                value: Tensor = functional_call(self._objective, tensors, values)
            return value

        axes: Any = (0, 0, batch.axes, 0 if drawn else None, 0)
        losses: Tensor = vmap(loss, axes, randomness="error")(
            self._trained,
            {**self._frozen, **self.buffers},
            batch.values,
            drawn,
            torch.arange(len(self._rows)),
        )
        if losses.dim() != 1:
            shape = tuple(losses.shape[1:])
            raise CannotStack(f"the loss of a batch has shape {shape}, not (): {LOOP}")
        return losses

    def _noted_draws(self, batch: StackedBatch) -> Draws:
        """The draws of the loss, by a call for the first seed with copies of its tensors.

        Raises:
            CannotStack: each call changes what the next one may read.
        """
        tensors = {
            f"model.{name}": one[0].clone()
            for name, one in {**self.parameters, **self.buffers}.items()
        }
        own = tuple(
            one if axis is None else one[0]
            for one, axis in zip(batch.values, batch.axes, strict=True)
        )
        for _ in range(2):  # the first call may create what all calls use
            draws = Draws()
            self._shared.has_changed()
            with torch.no_grad(), Ruled(draws.noting()):
                functional_call(self._objective, tensors, own)
            if not self._shared.has_changed():
                return draws
        raise CannotStack(f"`loss` or a layer changes something whenever it is called: {LOOP}")

    # ---------------------------------------------------------------------------------------------
    # Scores.

    def scores(self) -> list[Any]:
        """The score of each seed's model, one after the other, as the loop computes it."""
        scores: list[Any] = []
        model, last = self.model, self.lead
        for row, ((training, _), state) in enumerate(zip(self._rows, self.states, strict=True)):
            if training is not last:
                model, last = self._model_of[id(training)], training
                # What `batches` and `loss` have changed in the first training holds for all.
                changed = {name: getattr(self.lead, name) for name in self._shared.changed}
                training.__dict__.update(changed)
            for own, stacked in (
                (model.named_parameters(), self.parameters),
                (model.named_buffers(), self.buffers),
            ):
                for name, tensor in own:
                    tensor.data = stacked[name].detach()[row]
            torch.set_rng_state(state.clone())
            scores.append(scored(training, model))
            state.copy_(torch.get_rng_state())
            if row == 0:  # what one seed changes is not shared yet
                self._shared.changes()
        self._shared.refuse(self._shared.changes())
        return scores


class _StackSteps:
    """Computes each step of a stack: by the user's loss, or by repeating a recorded step.

    A step is repeated if one with a batch of the same shapes was recorded, nothing that the user's
    code reads has changed since, and it need not be checked: in a checked epoch the first step of
    each shape is computed anew, recorded, and compared with the one that was recorded before.

    Args:
        shared: what the user's code reads beside its arguments.
        repeats: record steps and repeat them.

    Attributes:
        repeats: whether steps are recorded and repeated; once False, it stays so.
    """

    def __init__(self, shared: SharedState, *, repeats: bool) -> None:
        self._shared, self.repeats = shared, repeats
        # By the shapes of a batch: the recorded step, and what the loss draws.
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._draws: dict[tuple[Any, ...], Draws] = {}
        self._unchecked: set[tuple[Any, ...]] = set()  # shapes that this epoch has to check

    def begin_epoch(self, *, checks: bool, may_repeat: bool) -> None:
        """Begin an epoch.

        Args:
            checks: check a step of each shape.
            may_repeat: False if the user's code runs between the steps of the epoch: what it
                changes there would be missing in a repeated step.
        """
        if not may_repeat:
            self._repeat_no_more()
        if self.repeats:
            self._forget_if_changed()
        self._unchecked = set(self._programs) if checks else set()

    def forget(self) -> None:
        """Forget all recorded steps: the next ones are recorded again."""
        self._programs.clear()

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

        Raises:
            CannotStack: a step is not the one that was recorded.
        """
        shapes = (batch.axes, *map(_signature, batch.values))
        # New shapes after others are an epoch's last rows, say: they are not recorded at once.
        is_another = bool(self._draws) and shapes not in self._draws
        if shapes not in self._draws:
            self._draws[shapes] = note(batch)
        draws = self._draws[shapes]
        drawn = tuple(wanted.make(states) for wanted in draws.wanted)
        inputs = [one for one in (*batch.values, *drawn) if isinstance(one, Tensor)]
        if shapes in self._programs and shapes not in self._unchecked:
            losses, *repeated = self._programs[shapes](inputs)
            return losses, repeated
        # A recording knows its inputs by their ids. A tensor that is given twice would be one
        # input in it, and two different tensors in a later step would be taken for one.
        are_distinct = len({id(one) for one in inputs}) == len(inputs)
        may_record = self.repeats and not is_another and are_distinct
        if not may_record:
            return by_loss(batch, draws, drawn)
        self._forget_if_changed()  # by the first call, say
        with recorded(inputs) as recording:
            losses, gradients = by_loss(batch, draws, drawn)
        self._keep(shapes, recording.program([losses, *gradients]))
        return losses, gradients

    def _keep(self, shapes: tuple[Any, ...], program: Program | None) -> None:
        """Keep a step that was recorded for steps of the same shapes.

        Args:
            shapes: of its batch.
            program: what repeats it; None if nothing can.
        """
        before = self._programs.get(shapes)
        if program is None or self._shared.has_changed():  # the next step may differ
            self._repeat_no_more()
        elif before is not None and not before.is_same(program):
            raise CannotStack(f"a step is another one than the steps before, unseen: {LOOP}")
        else:
            self._programs[shapes] = before or program  # the earlier one is compiled already
            self._unchecked.discard(shapes)

    def _forget_if_changed(self) -> None:
        """Forget all recorded steps if what the loss reads has changed since."""
        if self._shared.has_changed():
            self.forget()

    def _repeat_no_more(self) -> None:
        self.repeats = False
        self.forget()


class _Loss(nn.Module):
    """A user's loss as a module that contains the model, for `functional_call`."""

    def __init__(self, training: Any, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._training = (training,)  # in a tuple: a training may be a module itself

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._training[0].loss(self.model, *batch)
        return loss


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
            shared = SharedState(training, models[0])
        elif row in {1, of_lead - 1} and row < of_lead:
            shared.own(models[row])
            shared.refuse(shared.changes(), draws=False)
    if timed:
        models, states = models * len(rows), states * len(rows)
    return models, torch.stack(states)


def _seed(seed: int) -> None:
    """Seed torch's generators as `torch.manual_seed`, which takes a millisecond without a GPU."""
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _stacked(models: Sequence[nn.Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of S models, by name, shape (S, ...).

    `torch.func.stack_module_state` refuses models whose class `model()` defines each time.
    """

    def whole(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {
            name: torch.stack([one[name].detach() for one in each]).requires_grad_(
                first.requires_grad
            )
            for name, first in each[0].items()
        }

    parameters = [dict(model.named_parameters()) for model in models]
    return whole(parameters), whole([dict(model.named_buffers()) for model in models])


def _clipped(gradients: Sequence[Tensor | None], most: float) -> tuple[Tensor | None, ...]:
    """Each seed's gradient, scaled to a norm of at most `most`.

    The same as `torch.nn.utils.clip_grad_norm_`, which adds 1e-6 too.
    """
    norms = [one.reshape(len(one), -1).norm(dim=1) for one in gradients if one is not None]
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
