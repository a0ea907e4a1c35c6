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
   for what it does not compute well (`batching_rules`); on a CPU only in the first
   step, whose operations later steps repeat (`step_graph`),
3. steps an optimizer, which treats each number by itself (`stack_optimizers`).

Each seed has its own model, whose tensors are views into the stacked ones, and its own copy of the
training's object: `score` is called with these, and `batches` where it is called for one seed after
another. `loss` is called once for all seeds, with those of the first. What seeds share nevertheless
(variables of modules, objects that attributes refer to) the audit finds: see `audit`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from xortune.trainers.audit import copy_of
from xortune.trainers.batching_rules import LOOP, CannotStack, Ruled, image_rules, matrix_rules
from xortune.trainers.epoch_batches import EpochBatches, StackedBatch, in_memory
from xortune.trainers.methods import scored, tensors_of
from xortune.trainers.seed_draws import Draws
from xortune.trainers.stack_optimizers import optimizer_of_stack, refuse_hooks
from xortune.trainers.step_graph import Program, recorded, unrecorded

Group = tuple[Any, Sequence[int]]
"""A user's training of one configuration, and its seeds."""

LossesAndGradients = tuple[Tensor, Sequence[Tensor | None]]
"""The losses of a step, shape (S,), and the gradient of each trained parameter."""


class Stack:
    """The seeds of several trainings as one model; S seeds in all.

    The configurations differ in parameters of their optimizers only.

    Args:
        groups: each configuration with its seeds.
        at_once: make the batches of an epoch by one call for all seeds.
        repeats: on a CPU, record steps and repeat their operations.
        timed: initialise all seeds as the first one: only their time counts.

    Attributes:
        lead: the training's object of the first seed; its `loss` serves all seeds.
        model: of the first seed; its layers compute those of all.
        parameters: by name, shape (S, ...).
        buffers: by name, shape (S, ...).
        states: of the seeds' generators, uint8, shape (S, bytes).
        batches: makes the batches of each epoch.
        losses: of the last step, shape (S,).

    Raises:
        CannotStack: a hook belongs to one model, or an optimizer is none of torch's kind.
        NotAtOnce: the batches cannot be made by one call.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        at_once: bool = True,
        repeats: bool = True,
        timed: bool = False,
    ) -> None:
        expected: list[Any] = []
        for training, seeds in groups if not timed else ():
            # As in the loop; what a training's object loads for it, it loads once for all seeds.
            _seed(seeds[-1])
            training.scheduler(training.optimizer(training.model().parameters()))
            if at_once and training is groups[-1][0]:
                count = sum(len(seeds) for _, seeds in groups)
                expected = list(in_memory(training.batches(), count))
            else:
                next(iter(training.batches()), None)
        self._seeds, states = _new_seeds(groups, timed=timed)
        self.states = torch.stack(states)
        self._origins = [training for training, seeds in groups for _ in seeds]
        self.lead, self.model = self._seeds[0]
        self.model.train()
        self._objective = _Loss(self.lead, self.model)
        parameters, buffers = zip(*(tensors_of(model) for _, model in self._seeds), strict=True)
        self._set_tensors(_stacked(parameters), _stacked(buffers))

        ends = list(itertools.accumulate(len(seeds) for _, seeds in groups))
        starts = [0, *ends[:-1]]
        firsts = [self._seeds[start] for start in starts]
        owns = [dict(model.named_parameters()) for _, model in firsts]
        at_first = [dict(vars(training)) for training, _ in firsts]
        optimizers = [training.optimizer(model.parameters()) for training, model in firsts]
        for (_, model), optimizer in zip(firsts, optimizers, strict=True):
            refuse_hooks(model, optimizer)
        self._optimizer = optimizer_of_stack(optimizers, owns, self.parameters, [0, *ends])
        self._schedulers = [
            training.scheduler(optimizer)
            for (training, _), optimizer in zip(firsts, optimizers, strict=True)
        ]
        for before, (training, _), start, end in zip(at_first, firsts, starts, ends, strict=True):
            for other, _ in self._seeds[start + 1 : end]:  # such as `self.optimizer`
                vars(other).update(_changed(before, vars(training)))
        self._before = self._look()
        self.batches = EpochBatches(at_once=at_once, expected=expected)
        self.losses, self._gradients = torch.empty(0), dict[str, Tensor | None]()
        on_cpu = all(parameter.is_cpu for parameter in self.parameters.values())
        self._steps = _StackSteps(self.lead, self.model, repeats=repeats and on_cpu)
        self._evaluated, self._timed = False, timed
        self._show()

    @property
    def repeats(self) -> bool:
        """Whether steps are recorded and repeated; once False, it stays so."""
        return self._steps.repeats

    def _look(self) -> list[dict[str, Any]]:
        """The attributes of the first seed's objects, which `batches` and `loss` may change."""
        return [dict(vars(one)) for one in (self.lead, *self.model.modules())]

    def _set_tensors(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        """Go on with these stacked parameters and buffers."""
        self.parameters, self.buffers = parameters, buffers
        self._trained = {n: p for n, p in parameters.items() if p.requires_grad}
        self._frozen = {n: p for n, p in parameters.items() if not p.requires_grad}

    def _show(self) -> None:
        """Let the tensors of each seed's model be views into the stacked ones."""
        if not self._timed:
            for row in range(len(self._seeds)):
                for own, stacked in self._tensors(row):
                    own.data = stacked

    def _tensors(self, row: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Each tensor of a seed's model, and its row of the stacked one."""
        own, stacked = tensors_of(self._seeds[row][1]), (self.parameters, self.buffers)
        for ones, wholes in zip(own, stacked, strict=True):
            for name in ones.keys() & wholes.keys():
                yield ones[name], wholes[name].detach()[row]

    def leave(self, rows: Sequence[int]) -> None:
        """Train the seeds in these rows no further; the others go on as before."""
        gone = set(rows)
        kept = [row for row in range(len(self._seeds)) if row not in gone]
        index = torch.tensor(kept, device=next(iter(self.parameters.values())).device)
        self._seeds = [self._seeds[row] for row in kept]
        self._origins = [self._origins[row] for row in kept]
        self.states = self.states[index.cpu()]
        self._set_tensors(
            {
                name: one.detach()[index].requires_grad_(one.requires_grad)
                for name, one in self.parameters.items()
            },
            {name: one[index] for name, one in self.buffers.items()},
        )
        self._gradients.clear()
        self._optimizer.keep(kept, self.parameters)
        self._steps.forget()  # the recorded steps have more rows
        self._show()

    # ---------------------------------------------------------------------------------------------
    # Epochs and steps.

    def epoch(self) -> Iterator[Tensor]:
        """Train on each seed's batches; yield the losses of each step, shape (S,).

        Raises:
            CannotStack: `vmap` does not compute it as the loop does.
        """
        for _, model in self._seeds if self._evaluated else [(self.lead, self.model)]:
            model.train()
        if self._evaluated:
            self._evaluated, self._before = False, self._look()
        batches = self.batches.of_epoch([training for training, _ in self._seeds], self.states)
        if not self.batches.at_once:  # the user's code runs between the steps
            self._steps.repeat_no_more()
        for batch in batches:
            self.losses, gradients = self._steps.compute(
                batch, self.states, self._noted_draws, self._losses_and_gradients
            )
            self._gradients = dict(zip(self._trained, gradients, strict=True))
            self._optimizer.step(self._gradients)
            yield self.losses.clone()  # the next step may overwrite them
        for scheduler in self._schedulers:
            if scheduler is not None:
                scheduler.step()

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
        own = {f"model.{n}": one for of in tensors_of(self.model) for n, one in of.items()}

        def loss(
            trained: dict[str, Tensor],
            other: dict[str, Tensor],
            values: Any,
            drawn: Any,
            row: Tensor,
        ) -> Tensor:
            tensors = {f"model.{name}": one for name, one in {**trained, **other}.items()}
            instead = {id(one): tensors[name] for name, one in own.items() if name in tensors}
            rules = {**draws.taking(drawn), **matrix_rules(row), **image_rules(row)}
            with Ruled(rules, instead):
                value: Tensor = functional_call(self._objective, tensors, values)
            return value

        axes: Any = (0, 0, batch.axes, 0 if drawn else None, 0)
        losses: Tensor = vmap(loss, axes, randomness="error")(
            self._trained,
            {**self._frozen, **self.buffers},
            batch.values,
            drawn,
            torch.arange(len(self._seeds)),
        )
        if losses.dim() != 1:
            shape = tuple(losses.shape[1:])
            raise CannotStack(f"the loss of a batch has shape {shape}, not (): {LOOP}")
        return losses

    def _noted_draws(self, batch: StackedBatch) -> Draws:
        """The draws of the loss, by a call for the first seed with copies of its tensors."""
        tensors = {
            f"model.{name}": one[0].clone()
            for name, one in {**self.parameters, **self.buffers}.items()
        }
        own = tuple(
            one if axis is None else one[0]
            for one, axis in zip(batch.values, batch.axes, strict=True)
        )
        draws, before = Draws(), dict(vars(self.lead))
        with torch.no_grad(), Ruled(draws.noting()):
            functional_call(self._objective, tensors, own)
        vars(self.lead).update(before)  # such as a count of its calls
        return draws

    # ---------------------------------------------------------------------------------------------
    # Scores.

    def scores(self) -> list[Any]:
        """The score of each seed's model, one after the other, as the loop computes it."""
        scores: list[Any] = []
        self._evaluated = True
        changes = list(map(_changed, self._before, self._look()))
        is_shared = self.batches.at_once and any(changes)  # else each has its own
        for row, ((training, model), state) in enumerate(
            zip(self._seeds, self.states, strict=True)
        ):
            for one, changed in zip(
                (training, *model.modules()), changes * is_shared, strict=False
            ):
                vars(one).update(changed)
            for name, parameter in model.named_parameters():
                if (gradient := self._gradients.get(name)) is not None:
                    parameter.grad = gradient[row].clone()
            _lend(vars(self._origins[row]), training)
            before = dict(vars(training))
            torch.set_rng_state(state.clone())
            scores.append(scored(training, model))
            state.copy_(torch.get_rng_state())
            _lend(_changed(before, vars(training)), self._origins[row])  # data that it has loaded
            for own, stacked in self._tensors(row):
                if own.data_ptr() != stacked.data_ptr():  # some scores replace a tensor
                    stacked.copy_(own.detach())
        return scores


class _StackSteps:
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


class _Loss(nn.Module):
    """A user's loss as a module that contains the model, for `functional_call`."""

    def __init__(self, training: Any, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._training = (training,)  # in a tuple: a training may be a module itself

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._training[0].loss(self.model, *batch)
        return loss


def _new_seeds(
    groups: Sequence[Group], *, timed: bool
) -> tuple[list[tuple[Any, nn.Module]], list[Tensor]]:
    """Of each seed a copy of the training's object with its model, and its generator's state.

    Args:
        groups: each configuration's training with its seeds.
        timed: initialise all seeds as the first one.
    """
    seeds: list[tuple[Any, nn.Module]] = []
    states: list[Tensor] = []
    for training, of_group in groups:
        for seed in of_group:
            if not (timed and seeds):
                _seed(seed)
                own = copy_of(training)
                made = own, own.model()
            seeds.append(made)
            states.append(torch.get_rng_state())
    return seeds, states


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an object that have been set since."""
    return {name: one for name, one in now.items() if before.get(name, before) is not one}


def _lend(attributes: Mapping[str, Any], training: Any) -> None:
    """Give a training's object attributes that it lacks, such as data, but no numbers."""
    for name, one in attributes.items():
        if vars(training).get(name) is None and not isinstance(one, int | float | str):
            vars(training)[name] = one


def _seed(seed: int) -> None:
    """Seed torch's generators as `torch.manual_seed`, which takes a millisecond without a GPU."""
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _stacked(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of S models as tensors of shape (S, ...), by name.

    `torch.func.stack_module_state` refuses models whose class `model()` defines each time.
    """
    return {
        name: torch.stack([one[name].detach() for one in each]).requires_grad_(first.requires_grad)
        for name, first in each[0].items()
    }


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
