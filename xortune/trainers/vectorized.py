"""Trains the seeds of a user's `TorchTraining` as stacks, if these give what a loop gives, faster.

`train_stacked` does it. The first use of a training in a process trains some steps both ways
(`trial_of`) and times stacks of several widths (`Trial.measure`). A loop over seeds trains it where
losses, buffers or generators of a stack differ from the loop's, where `vmap` refuses, and where the
loop is faster; `Trial.sentence` says why.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
import warnings
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xortune.core.forks import ending_forks
from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.function import Ended, Hopeless
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
from xortune.trainers.stack import Group, Shares, Stack, clock, untracked
from xortune.trainers.verdicts import MethodError

WIDTHS = (2, 16, 64, 128, 256)
"""Numbers of seeds in the stacks that a trial times."""

PAYS = 0.7
"""A wider stack is cheap if a further seed takes at most this fraction of a seed's time in it."""

CHEAP_STACK_BYTES = 2**28
"""Maximum size of a cheap stack's parameters and optimizer states, in bytes."""

TRIED, TIMED = 3, 3
"""Number of steps that a trial compares, and that it times."""

CAUSES = (
    "likely causes are random numbers that are not torch's (draw them with torch), a model or a "
    "count that is kept from seed to seed (make it in `model`), and an operation that "
    "torch.func.vmap computes otherwise"
)
"""Why a stack may train differently, and what a user can do."""

CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "RNN": "RNNCell"}


# -------------------------------------------------------------------------------------------------
# Results.


def arrays_of(results: Sequence[Any]) -> Any:
    """The scores of S seeds as arrays of shape (S,); NaN where a seed has no such number."""
    if not all(isinstance(score, Mapping) for score in results):
        return np.array(results)
    names = dict.fromkeys(name for score in results for name in score)
    return {name: np.array([score.get(name, math.nan) for score in results]) for name in names}


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
                    step = _fastest([clock() for _ in steps]) + stack.gathering
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
    # The module of `TorchTraining`, which imports this one: another one means a run of its own.
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
            for together in (True, False):
                trial.together = together
                trial.reason = _difference(training, seeds[:2], plain, together=together)
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
                return f"seeds that are stacked train differently ({shown}); {CAUSES}: {LOOP}"
        for name, buffer in steps.buffers.items():
            if not torch.allclose(
                buffer.double(), buffers[name][row].double(), 1e-3, 1e-5, equal_nan=True
            ):
                return f"the buffer {name} differs in seeds that are stacked; {CAUSES}: {LOOP}"
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
            times.append(clock())
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


Report = Callable[[int, Sequence[int], Any], Collection[int]]
"""Called with the index of a group, some of its seeds, and their intermediate scores."""


def train_stacked(
    groups: Sequence[Group],
    report: Report = lambda *_: (),
    failures: tuple[type[BaseException], ...] = (Exception,),
) -> tuple[list[list[Any]], str]:
    """Train the seeds of some configurations of one class.

    Args:
        groups: each configuration's training with its seeds.
        report: called after every `report_every` epochs but the last; the seeds that it returns
            leave, with `Hopeless` in place of a score. What it raises ends all.
        failures: exceptions of a training that are the failure of its seed; all others end all.

    Returns:
        For each group the score of each seed, or the exception that its training raised; fewer
        seeds if the search's time was over before. And a sentence: whether they train as one.

    Raises:
        MethodError: a method of a training gives something else than it must.
    """
    results: list[dict[int, Any]] = [{} for _ in groups]
    note = ""
    for alike in _alike(groups, failures):
        note = _train_alike(groups, alike, results, report, failures) or note
    # Seeds are trained in their order: the scores are those of the first seeds of each group.
    in_order = zip(groups, results, strict=True)
    return [[of[seed] for seed in seeds if seed in of] for (_, seeds), of in in_order], note


@dataclass(frozen=True)
class _Alike:
    """Groups that may be in one stack.

    Attributes:
        trial: the one of all of them; None of a single group whose training failed in it.
        indices: of the groups.
    """

    trial: Trial | None
    indices: Sequence[int]


def _alike(groups: Sequence[Group], failures: tuple[type[BaseException], ...]) -> list[_Alike]:
    """All groups by their trials, in the order of the first group of each.

    Raises:
        MethodError: a method of a training gives something else than it must.
    """
    found: list[tuple[Trial | None, list[int]]] = []
    for index, (training, seeds) in enumerate(groups):
        trial = None
        try:
            with ending_forks():
                trial = trial_of(training, [*seeds, seeds[0] + 1][:2])
        except MethodError:
            raise
        except failures:  # the training of the seeds raises it again
            pass
        same = [indices for one, indices in found if one is not None and one is trial]
        if same:
            same[0].append(index)
        else:
            found.append((trial, [index]))
    return [_Alike(trial, indices) for trial, indices in found]


def _train_alike(
    groups: Sequence[Group],
    alike: _Alike,
    results: Sequence[dict[int, Any]],
    report: Report,
    failures: tuple[type[BaseException], ...],
) -> str:
    """Train the seeds of some of the groups; return whether they train as one, if it is known."""
    trial = alike.trial
    rows = [(index, seed) for index in alike.indices for seed in groups[index][1]]
    chunks = len(rows)
    shared: list[str] = []  # why no stack trains them any more
    if trial is not None and len(rows) > 1:
        with suppress(*failures), ending_forks():
            trial.measure(groups[alike.indices[0]][0], len(rows))
        chunks = trial.stacks(len(rows))
    for number in range(chunks):
        if time_is_over():
            break
        chunk = rows[len(rows) * number // chunks : len(rows) * (number + 1) // chunks]
        together = trial is not None and trial.together
        parts = [[row] for row in chunk] if shared else [chunk]
        for part in parts:
            try:
                _train_chunk(groups, part, results, report, failures, together=together)
            except Shares as refused:
                shared.append(str(refused))
                for row in _left_over(part, results):
                    _train_chunk(groups, [row], results, report, failures, together=together)
    if trial is None:
        return ""
    trial.reason = trial.reason or next(iter(shared), "")
    return trial.sentence


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
                score = training.run(seed, partial(_report_alone, report, index, seed))
        except Hopeless as ended:
            score = ended
        except Ended:
            raise
        except failures as error:
            score = error
        results[index][seed] = score
        return
    indices = list(dict.fromkeys(index for index, _ in rows))
    parts = [(groups[index][0], [s for i, s in rows if i == index]) for index in indices]
    epochs = parts[0][0].epochs
    trained = [(index, list(seeds)) for index, (_, seeds) in zip(indices, parts, strict=True)]
    scores: list[Any] = []
    steps = trained_as_one(parts, together=together)
    gone: list[int] | None = None  # rows that leave the stack
    while True:
        try:
            with ending_forks(), _quiet(), _memory_kept():
                epoch, scores = steps.send(gone)
        except Shares:
            raise
        except failures:  # of a seed, or because memory ran out
            rows = _left_over(rows, results)
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                _train_chunk(groups, half, results, report, failures, together=together)
            return
        if epoch == epochs:
            break
        first, gone, left = 0, [], list[tuple[int, list[int]]]()
        for index, seeds in trained:
            told = arrays_of(scores[first : first + len(seeds)])
            hopeless = set(report(index, seeds, told)) if seeds else set()
            gone += [first + at for at, seed in enumerate(seeds) if seed in hopeless]
            first += len(seeds)
            results[index].update({seed: Hopeless() for seed in hopeless})
            left.append((index, [seed for seed in seeds if seed not in hopeless]))
        trained = left
        if len(gone) == first:
            return
    going = [(index, seed) for index, seeds in trained for seed in seeds]
    for (index, seed), score in zip(going, scores, strict=True):
        results[index][seed] = score


def _report_alone(report: Report, index: int, seed: int, told: Any) -> None:
    """Report of a seed that trains alone.

    Raises:
        Hopeless: it leaves its band.
    """
    if report(index, [seed], told):
        raise Hopeless


def _left_over(
    rows: Sequence[tuple[int, int]], results: Sequence[dict[int, Any]]
) -> list[tuple[int, int]]:
    """The rows that have no result yet."""
    return [(index, seed) for index, seed in rows if seed not in results[index]]


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
) -> Generator[tuple[int, list[Any]], list[int] | None, None]:
    """Train a stack; yield epoch and scores every `report_every` epochs and after the last.

    What is sent are the rows that leave the stack.
    """
    stack = Stack(groups, together=together)
    for epoch in range(1, stack.lead.epochs + 1):
        for _ in stack.epoch():
            pass
        is_told = stack.lead.reports_after(epoch) or epoch == stack.lead.epochs
        if is_told and (gone := (yield epoch, stack.scores())):
            stack.leave(gone)
