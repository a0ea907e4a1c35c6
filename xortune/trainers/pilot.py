"""Tries whether the seeds of a training can be stacked, and how many at once are fastest.

    pilot = pilot_of(training, seeds)      # once in a process for each kind of training
    pilot.sentence                         # "the seeds of a block are trained as one", or why not
    pilot.measure(training, 100)           # times stacks of several widths
    pilot.stacks(100)                      # into how many stacks 100 seeds are best put

A pilot trains the first steps of two seeds in the loop and in a stack. It times both and notes what
torch refuses. Whether a stack gives the same is not its matter: see `audit`.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.limits import clock, keeping_freed_memory
from xortune.trainers.methods import (
    batches_of,
    epochs_of,
    given_to,
    model_of,
    optimizer_of,
    refuse_attributes,
    scored,
    step,
)
from xortune.trainers.stack import Stack
from xortune.trainers.verdicts import MethodError

WIDTHS = (2, 16, 64, 128, 256)
"""Numbers of seeds in the stacks that a pilot times."""

GAP = 1.5
"""A stack of all seeds is timed too if they are more than this multiple of the widest one."""

PAYS = 0.7
"""Maximum seconds that each further seed of a cheap stack adds to a step, as a fraction of what
each seed of the next narrower stack takes."""

CHEAP_STACK_BYTES = 2**28
"""Maximum size of a cheap stack's tensors, in bytes."""

TENSORS_OF_PARAMETER = 4
"""Tensors of a parameter's size in a stack: itself, its gradient and, of Adam, two states."""

TIMED_STEPS = 3
"""Number of steps that a pilot times, after a first one."""

Place = tuple[Any, str, int]
"""Where an optimizer or its scheduler has a number: its group, the name, and its index there."""


@dataclass
class Pilot:
    """Whether the seeds of a training can be stacked, and how long a step takes.

    Attributes:
        kind: what all configurations that may be in one stack with it share.
        held: the parameters in which these may differ, as the optimizer holds each as a number.
        reason: why it is not stacked, in a sentence; empty if it is.
        at_once: the batches of an epoch may be made by one call for all seeds.
        loop: seconds of a step of one seed alone.
        stacked: by the width of a stack, seconds of a step of one seed in it.
    """

    kind: tuple[Any, ...]
    held: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    reason: str = ""
    at_once: bool = True
    loop: float = math.inf
    stacked: dict[int, float] = field(default_factory=dict)

    @property
    def structure(self) -> tuple[Any, ...]:
        """What its kind says of classes and layers, without the numbers that are searched."""
        *classes, layers = self.kind[:4]
        return (*classes, re.sub(r"\d*\.\d+(e-?\d+)?|\d+e-\d+", "", layers))

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
        """Time stacks of up to `seeds` seeds, wider and wider ones, as long as that gains."""
        widths = [width for width in WIDTHS if width <= seeds and not self.reason]
        if widths and GAP * widths[-1] < min(seeds, WIDTHS[-1]):
            widths.append(seeds)
        best = math.inf
        for width in widths:
            before, best = best, self._seconds_of_seed(training, width)
            if best > before or math.isinf(best):
                break  # memory that is too little for this one is too little for a wider one

    def try_stack(self, training: Any) -> None:
        """Train the first steps of a stack of two seeds, and note why there is none."""
        for self.at_once in (True, False):
            try:
                self._seconds_of_stack(training, 2, timed=False)
            except CannotStack as refused:
                self.reason = str(refused)
            except Exception as error:
                said = str(error).strip().partition("\n")[0] or type(error).__name__
                self.reason = f"seeds cannot be stacked ({said[:200]}): {LOOP}"
            else:
                self.reason = ""
                return

    def _seconds_of_seed(self, training: Any, width: int) -> float:
        """Seconds of a step of one seed in a stack; infinity if it takes too much memory."""
        if width not in self.stacked:
            self.stacked[width] = math.inf  # stays if memory runs out: a RuntimeError on a CPU
            with suppress(MemoryError, RuntimeError):
                self.stacked[width] = self._seconds_of_stack(training, width) / width
        return self.stacked[width]

    def _seconds_of_stack(self, training: Any, width: int, *, timed: bool = True) -> float:
        """Seconds of the fastest of the first steps of a stack; `timed` as of `Stack`."""
        with quiet(), keeping_freed_memory():
            stack = Stack([(training, range(width))], at_once=self.at_once, timed=timed)
            steps = (None for _ in range(stack.lead.epochs) for _ in stack.epoch())
            ends = [clock(), *(clock() for _ in itertools.islice(steps, TIMED_STEPS + timed))]
        return _fastest(ends) + stack.batches.seconds

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


_pilots: dict[tuple[Any, ...], Pilot] = {}
"""All pilots of this process, by their kinds."""


def pilot_of(training: Any, seeds: Sequence[int]) -> Pilot:
    """The pilot of a user's training; a new one trains some steps of the first two seeds.

    Raises:
        MethodError: a method gives something else than it must for each of the two seeds, or the
            same for both.
        BaseException: what the training of a seed raised.
    """
    refuse_attributes(training)
    given = given_to(training)
    made = _made(training)
    found = _kind_of(training, given, *made)
    if found.kind not in _pilots:
        _refuse_kept(training, made, _made(training))
        if type(training).run is not type(training).stacked_run:
            found.reason = f"{type(training).__name__} has a run of its own: {LOOP}"
        elif made[2] is not None and not isinstance(made[2], LRScheduler):
            # It may act on few seeds, as one that lowers a rate where the loss stands still.
            found.reason = f"only schedulers of torch step all seeds alike: {LOOP}"
        else:
            _try(found, training, seeds[:2])
        _pilots[found.kind] = found
    return _pilots[found.kind]


def _made(training: Any) -> tuple[Any, Any, Any]:
    """A model, its optimizer and their scheduler."""
    torch.manual_seed(0)
    model = model_of(training)
    optimizer = optimizer_of(training, model)
    return model, optimizer, training.scheduler(optimizer)


def _refuse_kept(training: Any, first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    """Refuse a training whose seeds go on with what the seed before has trained."""
    trained = (
        {id(one) for one in of[0].parameters() if one.requires_grad} for of in (first, second)
    )
    same = [bool(set.intersection(*trained))]
    same += [one is other is not None for one, other in zip(first[1:], second[1:], strict=True)]
    for method, is_kept in zip(("model", "optimizer", "scheduler"), same, strict=True):
        if is_kept:
            raise MethodError(
                f"{method}() must build a new {method}: two calls returned the same",
                place=type(training).__name__,
                fix=f"build it in `{method}`, not in __init__: otherwise a seed goes on where the "
                "seed before it has ended",
            )


def _kind_of(
    training: Any, given: Mapping[str, Any], model: Any, optimizer: Any, scheduler: Any
) -> Pilot:
    """A pilot that knows its kind, and nothing else yet."""
    held = _held(given, optimizer, scheduler)
    other = sorted((name, repr(value)) for name, value in given.items() if name not in held)
    settings = epochs_of(training), training.clip_norm, training.report_every
    classes = type(training), type(optimizer), type(scheduler), repr(model)
    return Pilot((*classes, *settings, *sorted(held.items()), *other), held)


def _held(given: Mapping[str, Any], optimizer: Any, scheduler: Any) -> dict[str, tuple[Place, ...]]:
    """The parameters of a configuration that an optimizer or its scheduler holds, and where.

    They are numbers of which no other parameter has the same value. Two configurations that differ
    in these alone, and have them at the same places, differ in how their optimizers step. Should a
    method use such a parameter for something else too, the first stack of both shows it: some of
    its seeds are trained alone.
    """
    groups = enumerate(getattr(optimizer, "param_groups", ()))
    parts = [*groups, ("scheduler", getattr(scheduler, "__dict__", {}))]
    numbers = [
        ((group, name, index), one)
        for group, part in parts
        for name, value in part.items()
        for index, one in enumerate(value if isinstance(value, tuple | list) else [value])
        if type(one) is float
    ]
    values = [repr(value) for value in given.values()]
    places = {
        name: tuple(place for place, one in numbers if one == value)
        for name, value in given.items()
        if type(value) is float and values.count(repr(value)) == 1
    }
    return {name: of for name, of in places.items() if of}


def _try(pilot: Pilot, training: Any, seeds: Sequence[int]) -> None:
    """Note in a pilot whether two seeds can be stacked, and the loop's time."""
    wrong: list[MethodError] = []
    for seed in seeds:
        try:
            pilot.loop = min(pilot.loop, _tried(training, seed))
        except MethodError as error:
            wrong.append(error)
    if len(wrong) == len(seeds):
        raise wrong[0]
    if math.isinf(pilot.loop):
        pilot.reason = f"a training without a step is not stacked: {LOOP}"
    else:
        pilot.try_stack(training)


def _tried(training: Any, seed: int) -> float:
    """Train the first steps of a seed in the loop, and score its model once.

    Returns:
        The seconds of the fastest step; infinity if there is none.
    """
    torch.manual_seed(seed)
    model = model_of(training)
    optimizer = optimizer_of(training, model)
    epochs = (batches_of(training) for _ in range(epochs_of(training)))
    model.train()
    times = [clock()]
    for batch in itertools.islice(itertools.chain.from_iterable(epochs), 1 + TIMED_STEPS):
        step(training, model, optimizer, batch)
        times.append(clock())
    scored(training, model)
    return _fastest(times)


def _fastest(ends: Sequence[float]) -> float:
    """Seconds of the fastest step, from the times at which steps ended."""
    return min((after - before for before, after in itertools.pairwise(ends)), default=math.inf)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore vmap's warnings of operations that it loops over: their cost is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule.*", category=UserWarning)
        yield
