"""Tries whether a stack trains a user's training as the loop does, and how much faster.

    pilot = pilot_of(training, seeds)      # once in a process for each kind of training
    pilot.sentence                         # "the seeds of a block are trained as one", or why not
    pilot.measure(training, 100)           # times stacks of several widths
    pilot.stacks(100)                      # into how many stacks 100 seeds are best put

A pilot trains the first steps of two seeds in the loop, which `_ObservedLoop` watches, and in a
stack. Where losses, buffers or generators differ, or `vmap` refuses, the loop trains the seeds.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.limits import clock, keeping_freed_memory
from xortune.trainers.methods import (
    Made,
    constants_of,
    epochs_of,
    model_of,
    optimizer_of,
    parameters_of,
    refuse_attributes,
    refuse_reused,
    scored,
    untracked,
)
from xortune.trainers.stack import Stack
from xortune.trainers.surroundings import Shares
from xortune.trainers.verdicts import MethodError

WIDTHS = (2, 16, 64, 128, 256)
"""Numbers of seeds in the stacks that a pilot times."""

WIDE_SHARE = 1 / 8
"""A stack of more than this fraction of the seeds is wide. Wide ones are timed first."""

GAP = 1.5
"""A stack of all seeds is timed too if they are more than this multiple of the widest one."""

PAYS = 0.7
"""Maximum seconds that each further seed of a cheap stack adds to a step, as a fraction of what
each seed of the next narrower stack takes."""

CHEAP_STACK_BYTES = 2**28
"""Maximum size of a cheap stack's tensors, in bytes."""

TENSORS_OF_PARAMETER = 4
"""Tensors of a parameter's size in a stack: itself, its gradient and, of Adam, two states."""

COMPARED_STEPS, TIMED_STEPS = 3, 3
"""Number of steps that a pilot compares, and that it times."""


@dataclass
class Pilot:
    """Whether a training gives the same in a stack as in the loop, and how long each takes.

    Attributes:
        kind: what all configurations that may be in one stack with it share.
        read: the parameters that are read outside of the optimizer, with their values.
            Configurations that agree in these differ in their optimizers only.
        reason: why it is not stacked, in a sentence; empty if it is.
        at_once: the batches of an epoch may be made by one call for all seeds.
        loop: seconds of a step of one seed alone.
        stacked: by the width of a stack, seconds of a step of one seed in it.
    """

    kind: tuple[Any, ...]
    read: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    at_once: bool = True
    loop: float = math.inf
    stacked: dict[int, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """For users: that seeds are trained as one, or why they are not."""
        widest = max(self.stacked, default=1)
        if self.stacked and math.isinf(min(self.stacked.values())):
            return "a stack of seeds takes more memory than there is: trained one seed at a time"
        if not self.reason and widest > 1 and self.stacks(widest) == widest:
            return "a stack of seeds is no faster than the loop: trained one seed at a time"
        return self.reason or "the seeds of a block are trained as one"

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
        if self.reason:
            return
        widths = [width for width in WIDTHS if width <= seeds]
        if GAP * max((*widths, *self.stacked), default=0) < min(seeds, WIDTHS[-1]):
            widths.append(seeds)
        wide = [width for width in widths if width > WIDE_SHARE * seeds]
        narrow = [width for width in reversed(widths) if width <= WIDE_SHARE * seeds]
        best = self._time_until_slower(training, wide, math.inf)
        if wide and best != self.stacked[wide[0]]:  # a wider stack gains: no narrower one does
            return
        self._time_until_slower(training, narrow, best)

    def _time_until_slower(self, training: Any, widths: Sequence[int], best: float) -> float:
        """Time stacks of these widths in order, until one is slower than the best one so far.

        Args:
            training: a user's.
            widths: of the stacks.
            best: seconds of a step of one seed in the best stack so far.

        Returns:
            These seconds in the best stack then.
        """
        for width in widths:
            seconds = self._seconds_of_seed(training, width)
            if seconds > best or (math.isinf(seconds) and widths[0] < widths[-1]):
                break  # memory that is too little for this one is too little for a wider one
            best = self.stacked[width]
        return best

    def _seconds_of_seed(self, training: Any, width: int) -> float:
        """Seconds of a step of one seed in a stack: of the fastest of `TIMED_STEPS` steps."""
        if width not in self.stacked:
            self.stacked[width] = math.inf  # stays if memory runs out: a RuntimeError on a CPU
            with suppress(MemoryError, RuntimeError), quiet(), keeping_freed_memory():
                groups = [(training, range(width))]
                try:
                    stack = Stack(groups, at_once=self.at_once, timed=True)
                    steps = zip(range(1 + TIMED_STEPS), _losses_of_steps(stack), strict=False)
                    ends = [clock(), *(clock() for _ in steps)]  # each step trains, then its time
                    step = _fastest(ends) + stack.batches.seconds
                except Shares as refused:
                    self.reason = str(refused)
                    raise
                self.stacked[width] = step / width
                self.at_once = stack.batches.at_once
        return self.stacked[width]

    def cheap(self, training: Any) -> int:
        """The largest width that trains in hardly more time than a few seeds; 1 if none does."""
        torch.manual_seed(0)
        parameters = training.model().parameters()
        size = TENSORS_OF_PARAMETER * sum(parameter.nbytes for parameter in parameters)
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


_pilots: list[Pilot] = []
"""All pilots of this process."""

_NOTHING: Final = object()
"""The value of a parameter that a configuration lacks."""


def pilot_of(training: Any, seeds: Sequence[int]) -> Pilot:
    """The pilot of a user's training; a new one trains some steps of the first two seeds.

    Raises:
        MethodError: a method gives something else than it must for each of the two seeds. If it
            does so for one of them alone, the pilot says that the loop trains the seeds.
        BaseException: what the training of a seed raised.
    """
    config, kind = parameters_of(training), _kind(training)
    with untracked(training):
        for known in _pilots:
            read = {name: config.get(name, _NOTHING) for name in known.read}
            if known.kind == kind and read == known.read:
                return known
    pilot = Pilot(kind)
    if type(training).run is type(training).stacked_run:
        _compare(pilot, training, seeds[:2])
    else:
        pilot.reason = f"{type(training).__name__} has a run of its own: {LOOP}"
        refuse_reused(training, *(Made(model_of(training)) for _ in range(2)))
    pilot.read = {name: config.get(name, _NOTHING) for name in config.names_read}
    _pilots.append(pilot)
    return pilot


def _kind(training: Any) -> tuple[Any, ...]:
    refuse_attributes(training)
    torch.manual_seed(0)
    model = model_of(training)
    with untracked(training):
        optimizer = optimizer_of(training, model)  # its class may not be elementwise
    settings = epochs_of(training), training.clip_norm, training.report_every
    return (type(training), type(optimizer), repr(model), *settings)


def _compare(pilot: Pilot, training: Any, seeds: Sequence[int]) -> None:
    """Note in a pilot whether a stack of two seeds trains like the loop, and the loop's time."""
    observed, wrong = [], []
    for seed in seeds:
        try:
            observed.append(_ObservedLoop(training, seed))
        except MethodError as error:
            wrong.append(error)
    if len(wrong) == len(seeds):
        raise wrong[0]
    if wrong:
        pilot.reason = f"of a seed {wrong[0].place} {wrong[0].problem}: {LOOP}"
        return
    refuse_reused(training, observed[0].made, observed[1].made)
    pilot.loop = min(one.seconds for one in observed)
    for at_once in (True, False):
        pilot.at_once = at_once
        pilot.reason = _difference(training, seeds, observed, at_once=at_once)
        if not pilot.reason:
            break


# -------------------------------------------------------------------------------------------------
# The loop: what a training is seen to do.


class _Enough(Exception):
    """Ends a `run` after the steps that a pilot needs."""


class _ObservedLoop:
    """The first steps of a user's `run`, observed through the methods of the training.

    Args:
        training: a user's. `COMPARED_STEPS` and then `TIMED_STEPS` of its steps are trained.
        seed: that it trains.

    Attributes:
        losses: of the first `COMPARED_STEPS` steps.
        buffers: of the model after the first step.
        generator: the state of torch's generator after these steps; if there are fewer, before
            `score` is called.
        seconds: of the fastest step; infinity if there is none.
        made: the model, the optimizer and the scheduler.
    """

    def __init__(self, training: Any, seed: int) -> None:
        self._training = training
        self.losses: list[float] = []
        self.buffers: dict[str, Tensor] = {}
        self.generator = torch.empty(0)
        self._began = math.inf  # the first step, by the clock
        self._ends: list[float] = []  # of steps
        self._models: list[nn.Module] = []
        self._constants: dict[str, Tensor] = {}
        self._made: list[Any] = []  # the optimizer, the scheduler
        self._run(seed)
        self.losses = self.losses[:COMPARED_STEPS]
        self.seconds = _fastest([self._began, *self._ends])
        self.made = Made(self._models[-1], self._made[0], self._made[1], self._constants)

    def _run(self, seed: int) -> None:
        training = self._training
        self._model, self._optimizer = training.model, training.optimizer
        self._scheduler, self._score = training.scheduler, training.score
        training.model, training.optimizer = self._observed_model, self._observed_optimizer
        training.scheduler, training.score = self._observed_scheduler, self._observed_score
        try:
            with suppress(_Enough):
                training.run(seed)
            if len(self._ends) == COMPARED_STEPS + TIMED_STEPS:
                scored(training, self._models[-1])  # notes what it reads
        finally:
            del training.model, training.optimizer, training.scheduler, training.score

    def _observed_model(self) -> nn.Module:
        self._models.append(self._model())
        if isinstance(self._models[-1], nn.Module):
            self._constants.update(constants_of(self._models[-1]))
        return self._models[-1]

    def _observed_scheduler(self, optimizer: Any) -> Any:
        with untracked(self._training):
            self._made.append(self._scheduler(optimizer))
        self._began = clock()
        return self._made[-1]

    def _observed_score(self, model: Any) -> Any:
        if len(self._ends) < COMPARED_STEPS:
            self.generator = torch.get_rng_state()
        return self._score(model)

    def _observed_optimizer(self, parameters: Any) -> Any:
        with untracked(self._training):
            optimizer = self._optimizer(parameters)
        self._made.append(optimizer)
        if hasattr(optimizer, "step"):
            step = optimizer.step

            def observed_step(_: Any, closure: Callable[[], Tensor]) -> Any:
                return self._observed_step(step, closure)

            optimizer.step = MethodType(observed_step, optimizer)  # schedulers wrap a method
        return optimizer

    def _observed_step(self, step: Callable[..., Any], closure: Callable[[], Tensor]) -> Any:
        losses: list[float] = []  # some optimizers call the closure several times

        def observed_closure() -> Tensor:
            loss = closure()
            losses.append(float(loss.detach()))
            if not self.losses and len(losses) == 1:
                buffers = self._models[-1].named_buffers()
                self.buffers = {name: buffer.clone() for name, buffer in buffers}
            return loss

        result = step(observed_closure)
        self.losses.append(losses[0])
        self._ends.append(clock())
        if len(self._ends) == COMPARED_STEPS + TIMED_STEPS:
            raise _Enough
        if len(self._ends) == COMPARED_STEPS:
            self.generator = torch.get_rng_state()
        return result


def _fastest(ends: Sequence[float]) -> float:
    """Seconds of the fastest step, from the times at which steps ended."""
    return min((after - before for before, after in itertools.pairwise(ends)), default=math.inf)


# -------------------------------------------------------------------------------------------------
# The stack, beside the loop.

CAUSES = (
    "likely causes are random numbers that are not torch's (draw them with torch), a model or a "
    "count that is kept from seed to seed (make it in `model`), and an operation that "
    "torch.func.vmap computes otherwise"
)
"""Why a stack may train differently, and what a user can do."""


def _losses_of_steps(stack: Stack) -> Iterator[Tensor]:
    """The losses of step after step, in all epochs of the training."""
    for _ in range(stack.lead.epochs):
        yield from stack.epoch()


def _difference(
    training: Any, seeds: Sequence[int], observed: Sequence[_ObservedLoop], *, at_once: bool
) -> str:
    """Why a stack does not train like the loop, in a sentence; empty if it does."""
    entered: list[str] = []
    losses: list[Tensor] = []
    buffers: dict[str, Tensor] = {}  # after the first step
    with quiet():
        try:
            stack = Stack([(training, seeds)], at_once=at_once)
            _note_layers(stack.model, entered)
            for _, step in zip(range(COMPARED_STEPS), _losses_of_steps(stack), strict=False):
                losses.append(step.double())
                buffers = buffers or {name: one.clone() for name, one in stack.buffers.items()}
        except CannotStack as refused:
            return str(refused)
        except Exception as error:
            return _refusal(error, entered)
    for row, alone in enumerate(observed):
        found = _difference_of_seed(
            alone,
            [float(step[row]) for step in losses],
            {name: one[row] for name, one in buffers.items()},
            stack.states[row],
        )
        if found:
            return found
    return ""


def _difference_of_seed(
    alone: _ObservedLoop,
    losses: Sequence[float],
    buffers: Mapping[str, Tensor],
    generator: Tensor,
) -> str:
    """Why a seed trains differently in a stack, in a sentence; empty if it does not.

    Args:
        alone: the seed in the loop.
        losses: in the stack, of the first steps.
        buffers: in the stack, after the first step.
        generator: the state of its generator in the stack, after these steps.
    """
    for number, (loop, stacked) in enumerate(zip(alone.losses, losses, strict=False), start=1):
        are_nan = math.isnan(loop) and math.isnan(stacked)
        if not are_nan and not math.isclose(loop, stacked, rel_tol=1e-3, abs_tol=1e-6):
            shown = f"loss {stacked:.6g} against {loop:.6g} in step {number}"
            return f"seeds that are stacked train differently ({shown}); {CAUSES}: {LOOP}"
    for name, buffer in alone.buffers.items():
        if name not in buffers:
            return f"the model makes the buffer {name} in its first step, not in `model()`: {LOOP}"
        if not torch.allclose(buffer.double(), buffers[name].double(), 1e-3, 1e-5, equal_nan=True):
            return f"the buffer {name} differs in seeds that are stacked; {CAUSES}: {LOOP}"
    if not torch.equal(alone.generator, generator):
        return f"seeds that are stacked draw other random numbers: {LOOP}"
    return ""


def _note_layers(model: nn.Module, entered: list[str]) -> None:
    """Keep `entered` a list of the layers whose forward pass has begun and not ended."""
    for layer in model.modules():
        layer.register_forward_pre_hook(lambda one, _: entered.append(type(one).__name__))
        # What a hook returns, other than None, takes the place of the layer's output.
        layer.register_forward_hook(lambda *_: entered.pop() and None)


CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "RNN": "RNNCell"}
"""By a layer that `vmap` refuses, the one that a user can call in a loop."""


def _refusal(error: Exception, entered: Sequence[str]) -> str:
    """Why `vmap` refuses, in a sentence that names the layer and what to do."""
    text, layer = str(error), entered[-1] if entered else ""
    where = f"nn.{layer}" if hasattr(nn, layer) and layer else layer or "the loss"
    if ".item()" in text:
        return f"{where} calls .item(): {LOOP}; a loss that stays a tensor would be stacked"
    if "data-dependent control flow" in text:
        return f"{where} branches on the value of a tensor: {LOOP}; torch.where would be stacked"
    if "random" in text:
        return f"{where} draws random numbers that cannot be drawn for each seed: {LOOP}"
    if layer in CELLS or "atching rule" in text:
        version = torch.__version__.partition("+")[0]
        hint = f"; nn.{CELLS[layer]} in a loop would be stacked" if layer in CELLS else ""
        return f"{where} has no batching rule in torch {version}: {LOOP}{hint}"
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"{where} cannot be stacked ({first[:200]}): {LOOP}"


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore vmap's warnings of operations that it loops over: their cost is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule.*", category=UserWarning)
        yield
