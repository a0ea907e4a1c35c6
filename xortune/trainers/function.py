"""A user's own function as a trainer: called for each seed, or once for all seeds of a block."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import traceback
from bdb import BdbQuit
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import GeneratorType
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from xortune.core.audit import Audit
from xortune.core.errors import InputError, TrainingError, Unavailable, error_text
from xortune.core.forks import end_fork_of, ending_forks
from xortune.core.outcome import Outcome
from xortune.core.pruning import IsPruned
from xortune.core.success import Finite, Rule
from xortune.core.trainer import (
    Block,
    OutOfTime,
    Stacking,
    Trainer,
    Traits,
    Unfinished,
    Void,
    retry_after,
)
from xortune.trainers.awaited import finished
from xortune.trainers.call_form import PLAIN, REPORT, STACKED, CallForm, form_of
from xortune.trainers.limits import (
    bounded_output,
    keeping_descriptors,
    restore_descriptors,
    time_is_over,
    using_threads,
)
from xortune.trainers.reports import (
    BlockCancelled,
    Ended,
    Pruned,
    Reports,
    SeedTimeout,
)
from xortune.trainers.source import AnySource
from xortune.trainers.verdicts import (
    MAX_TEXT,
    MAX_VALUES,
    KnownSeeds,
    MethodError,
    SampledReports,
    SeedResults,
    SeedVerdict,
    crashed,
    judged,
    one_line,
    reported_numbers,
    shortened,
)

KEPT_OBJECTS = 8
"""Maximum number of objects of a user's class in a process: those used last."""

_states: OrderedDict[tuple[Callable[..., Any], str], Any] = OrderedDict()


class Calls:
    """Calls a user's function for the seeds of one block.

    Attributes:
        trainer: what trains the block.
        block: the seeds.
        reports: what the last call reported.
    """

    def __init__(self, trainer: CustomTrainer, block: Block) -> None:
        self.trainer, self.block, self.reports = trainer, block, Reports()
        self._function, self._form = trainer.source.function(), trainer.form
        self._key = self._function, block.point.key

    def __call__(self, seeds: Any) -> Any:
        """What the function returns for a seed, or for an array of seeds.

        Raises:
            Exception: what the function raises.
        """
        process = os.getpid()
        try:
            if self._form.awaits:
                return finished(self.awaited(seeds))
            return self._result(self._returned(seeds))
        except BaseException:
            self.forget()
            raise
        finally:
            end_fork_of(process)
            restore_descriptors()

    async def awaited(self, seed: int) -> Any:
        """What an async function comes to for a seed.

        Raises:
            SeedTimeout: the seed exceeded its time limit.
            Exception: what the function raises.
        """
        given = self._new_reports(seed)
        restore_descriptors()
        try:
            async with asyncio.timeout(self.trainer.limit) as limit:
                returned = await self._function(self.block.point.as_dict(), seed, **given)
        except TimeoutError:
            if not limit.expired():
                raise
            raise SeedTimeout(f"took longer than {self.trainer.limit:g} s") from None
        return self._result(returned)

    def _returned(self, seeds: Any) -> Any:
        given = self._new_reports(seeds)
        if self._form.state:
            returned = self.state().run(seeds, **given)
        else:
            returned = self._function(self.block.point.as_dict(), seeds, **given)
        return self._drained(returned) if type(returned) is GeneratorType else returned

    def _drained(self, steps: GeneratorType[Any, Any, Any]) -> Any:
        """The result of a generator, whose values are reports."""
        process = os.getpid()
        with closing(steps):
            while True:
                try:
                    result = next(steps)
                except StopIteration as end:
                    return end.value
                end_fork_of(process)
                self.reports(result)

    def _new_reports(self, seeds: Any) -> dict[str, Reports]:
        """Begin to note reports; return what the function is given to report."""
        many = len(seeds) if self._form.many else None
        limit, on, is_pruned = self.trainer.limit, self.trainer.on, None
        if self.block.pruning is not None and many is None:
            is_pruned = self.block.pruning.of_trained(self.block.point.key, int(seeds))
        self.reports = Reports(limit, many=many, block=self.block, on=on, is_pruned=is_pruned)
        return {REPORT: self.reports} if self._form.reports else {}

    def _result(self, returned: Any) -> Any:
        self.reports.check()
        return self.reports.last if returned is None else returned

    def state(self) -> Any:
        """The object of the user's class for the config; a new one if none is kept."""
        if self._key not in _states:
            _states[self._key] = self._function(self.block.point.as_dict())
            while len(_states) > KEPT_OBJECTS:
                _states.popitem(last=False)
        _states.move_to_end(self._key)
        return _states[self._key]

    def forget(self) -> None:
        """Keep the object no longer, since it may be half-changed."""
        _states.pop(self._key, None)


OnRaise: TypeAlias = Callable[[BaseException], None]

REPORTS = "reports"
"""The name of the number of reports, among the numbers of a seed."""

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
"""Where the frames are that a user's traceback is shown without."""


@dataclass(frozen=True)
class CustomTrainer(Trainer):
    """Trains by calling a user's function, which gets the config as a plain dict.

    A seed has crashed if the call raises or its result cannot be judged. It has diverged if the
    judged number is not finite. If a call with many seeds raises, each seed is called alone, so
    that one seed fails and not all.

    Attributes:
        source: where the function comes from.
        success: the rule for numbers; None if the function returns a verdict.
        form: how the function is called.
        limit: seconds for a seed; None for no limit. `train` checks it with each report. For a
            function that does not report, `training.executors` checks it.
        folder: the working folder of calls, on machines that have it; None for the process's own.
        threads: of torch during calls; see `trainers.limits`.
        on_raise: given where the function is called in the process of the user, who may debug it.
            Then its output is not cut, Ctrl-C and the end of a debugger are no failure of a seed,
            and this is called with whatever else a seed raises.
        known: outcomes of seeds that are not trained again.
        retry: exceptions that say nothing of the training, beside `Unavailable`; see `Void`.
        on: the reported number that a search's pruner compares; None: it has no pruner.
    """

    source: AnySource
    success: Rule | None = None
    form: CallForm = PLAIN
    limit: float | None = None
    folder: str | None = None
    threads: int = 1
    on_raise: OnRaise | None = field(default=None, compare=False, repr=False)
    known: KnownSeeds = field(default_factory=dict, compare=False, repr=False)
    retry: tuple[type[BaseException], ...] = field(default=(), compare=False)
    on: str | None = field(default=None, compare=False)

    def says_nothing(self, error: BaseException | None) -> TypeGuard[BaseException]:
        """Whether an exception says nothing of the training.

        Classes are compared by their full names: a worker may have imported their module anew.
        """
        if isinstance(error, Unavailable):
            return True
        named = {(one.__module__, one.__qualname__) for one in self.retry}
        return any((one.__module__, one.__qualname__) in named for one in type(error).__mro__)

    @property
    def traits(self) -> Traits:
        """What follows from how it is called; under a debugger no other process trains."""
        form = self.form
        gives_reports = form.reports or form.yields
        return Traits(
            users_code=True,
            own_process=self.on_raise is None,
            takes_many_seeds=form.many or form.stacked,
            takes_many_blocks=form.stacked,
            stacks_seeds=form.stacked,
            gives_reports=gives_reports,
            is_watchable=gives_reports and not form.many,
            awaits=form.awaits,
            killed_after=None if gives_reports or form.awaits else self.limit,
            threads=self.threads,
            seconds=0.01,
            rule=self.success,
            source=self.source,
        )

    def knowing(self, known: KnownSeeds) -> CustomTrainer:
        """The one that does not train these seeds."""
        return replace(self, known=known)

    def retrying(self, retry: tuple[type[BaseException], ...]) -> Trainer:
        """The one to which these exceptions say nothing; seeds of a stack raise none."""
        stacked = self.form.stacked
        return super().retrying(retry) if stacked or not retry else replace(self, retry=retry)

    def debugged(self, on_raise: OnRaise) -> CustomTrainer:
        """The one for the process of the user."""
        return replace(self, on_raise=on_raise)

    def judging_finite(self) -> CustomTrainer:
        """The one whose finite numbers all are successes."""
        return replace(self, success=Finite())

    @property
    def called_with(self) -> str:
        """The function's arguments, in words."""
        return self.form.description

    def describe(self) -> dict[str, str]:
        """The label and digest of the source, the rule, the time limit and the threads."""
        described = {"trainer": self.source.label, "source": self.source.digest}
        if self.success is not None:
            described["success"] = str(self.success)
        if self.limit is not None:
            described["timeout"] = f"{self.limit:g} s"
        if self.threads != 1:
            described["threads"] = str(self.threads)
        return described

    def stacking(self, block: Block) -> Stacking | None:
        """How a `TorchTraining` stacks seeds; None for others, those alone and under a debugger."""
        traits = self.traits
        is_stacked = traits.stacks_seeds and traits.own_process and block.agreed is not None
        if not is_stacked or traits.killed_after is not None:
            return None
        try:
            with ending_forks(), _called_in(self.folder), bounded_output():
                found: Stacking = Calls(self, block).state().stacking()
                return found
        except BaseException:  # training the block reports it
            return None

    def prepare(self, blocks: Sequence[Block]) -> None:
        """Import the function, and try how blocks of a `TorchTraining` train."""
        with suppress(Exception), ending_forks():  # the first call raises it again
            self.source.function()
        for block in blocks:
            self.stacking(block)

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        results: list[Outcome | TrainingError] = []
        depth = sys.getrecursionlimit()  # the user's code may change it
        try:
            in_users_process = self.on_raise is not None
            limited = using_threads(self.threads) if in_users_process else bounded_output()
            with keeping_descriptors(), limited, ending_forks():
                if self.form.stacked:
                    with _called_in(self.folder):
                        return _train_stacked(self, blocks)
                for block in blocks:
                    with _called_in(self.folder):  # each time: the function may change the folder
                        train = _train_at_once if self.form.many else _train_singly
                        results.append(train(Calls(self, block), SeedResults(block, self.on)))
        finally:
            sys.setrecursionlimit(depth)
        return results

    async def attempt(self, block: Block) -> Outcome | TrainingError:
        """The outcome of a block of one seed, by an async function."""
        call, results = Calls(self, block), SeedResults(block, self.on)
        if (known := self.known.get((block.point.key, block.first))) is not None:
            results.add_known(known)
            return results.outcome()
        returned, on_raise = None, self.on_raise
        error: BaseException | None = None
        try:
            returned = await call.awaited(block.first)
        except asyncio.CancelledError as raised:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # the search ends
            error = raised  # what the function awaits was cancelled
        except KeyboardInterrupt as raised:
            error, on_raise = raised, None  # its own: Ctrl-C comes to the main thread
        except BaseException as raised:
            error = raised
        return _add_seed(call, returned, error, results, on_raise) or results.outcome()


def custom_trainer(
    source: AnySource,
    success: Rule | None,
    *,
    limit: float | None = None,
    form: CallForm | None = None,
    threads: int = 1,
) -> CustomTrainer:
    """The trainer of a function.

    Raises:
        InputError: the function cannot be loaded, or cannot be called with a config and seeds.
    """
    form = form_of_source(source) if form is None else form
    return CustomTrainer(source, success, form, limit, str(Path.cwd()), threads)


def form_of_source(source: AnySource) -> CallForm:
    """Load a function; return how it is called.

    Raises:
        InputError: it cannot be loaded, or cannot be called with a config and seeds.
    """
    with ending_forks(), redirect_stdout(sys.stderr), _called_in(None):
        return form_of(source.function(), source.label)


@contextmanager
def _called_in(folder: str | None) -> Iterator[None]:
    """Change to a folder, if it exists; restore the process's folder afterwards."""
    before = os.getcwd()  # noqa: PTH109  # a Path takes four times as long
    try:
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
        yield
    finally:
        with suppress(OSError):
            os.chdir(before)


_FAILURES_HERE = (Exception, SystemExit, GeneratorExit)
"""Exceptions that are the failure of a seed in the process of the user, whose Ctrl-C is none."""


def _pass_on(error: BaseException, on_raise: OnRaise | None) -> None:
    """Under a debugger, call `on_raise`; an interrupt is no failure of a seed and is raised."""
    if on_raise is None:
        return
    if isinstance(error, KeyboardInterrupt | BdbQuit):
        raise KeyboardInterrupt from error
    on_raise(error)


def _train_singly(call: Calls, results: SeedResults) -> Outcome | TrainingError:
    """Call the function for one seed after the other."""
    trainer, block = call.trainer, call.block
    for seed in block.seeds:
        if (known := trainer.known.get((block.point.key, seed))) is not None:
            results.add_known(known)
            continue
        if time_is_over():
            return OutOfTime(results.so_far())
        returned, error = None, None
        try:
            returned = call(seed)
        except BaseException as raised:
            error = raised
        if (ended := _add_seed(call, returned, error, results, trainer.on_raise)) is not None:
            return ended
    return results.outcome()


def _add_seed(
    call: Calls,
    returned: Any,
    error: BaseException | None,
    results: SeedResults,
    on_raise: OnRaise | None,
) -> TrainingError | None:
    """Judge and add the next seed: what its call returned, or raised; or return what ends all."""
    if isinstance(error, BlockCancelled):
        return Unfinished(results.so_far())
    if call.trainer.says_nothing(error):
        return _void(error, results.so_far())
    results.add_reports(call.reports.curve)
    if isinstance(error, Pruned):
        results.add_pruned(error.report)
        return None
    shown = None
    try:
        if error is not None:
            raise error
        verdict = judged(returned, call.trainer.success)
    except BaseException as raised:
        _pass_on(raised, on_raise)
        verdict, shown = crashed(_reason(raised)), _shown(raised)
    results.add(_with_reports(verdict, call.reports), shown)
    return None


def _with_reports(verdict: SeedVerdict, reports: Reports) -> SeedVerdict:
    """The verdict with the reported numbers, and how many reports there were if it has a place."""
    if not reports.count:
        return verdict
    numbers = {**reports.numbers, **verdict.numbers}
    if REPORTS not in numbers and len(numbers) < MAX_VALUES:
        numbers = {REPORTS: reports.count, **numbers}
    return verdict._replace(numbers=numbers)


def _train_at_once(call: Calls, results: SeedResults) -> Outcome | TrainingError:
    """Call the function once with all seeds; if that raises, with each alone."""
    seeds = np.array(call.block.seeds, np.int64)
    try:
        if _add_results(call, seeds, results):
            return results.outcome()
        for seed in seeds:
            if time_is_over():
                return OutOfTime(results.so_far())
            _add_results(call, seed[None], results)
    except BlockCancelled:
        return Unfinished(results.so_far())
    except BaseException as raised:
        if not call.trainer.says_nothing(raised):
            raise
        return _void(raised, results.so_far())
    return results.outcome()


class _AllEnded(Ended):
    """Each of the blocks in a stack is cancelled."""


def _train_stacked(
    trainer: CustomTrainer, blocks: Sequence[Block]
) -> list[Outcome | TrainingError]:
    """Train the seeds of all blocks by a `TorchTraining`; a seed that raises fails alone."""
    stacked = [_StackedBlock(trainer, block) for block in blocks]
    going = [one for one in stacked if one.ended is None]

    def report(group: int, of: Sequence[int], scores: Sequence[Any], count: int) -> Collection[int]:
        pruned = going[group].hear(of, scores, count)
        if all(one.ended is not None for one in stacked):
            raise _AllEnded
        return pruned

    def judge(score: Any) -> Any:
        return judged(score, trainer.success).status

    known, here = [block.agreed for block in blocks], trainer.on_raise is not None
    audited = [one.block.audited for one in going]
    options = {
        "report": report,
        "failures": _FAILURES_HERE if here else (BaseException,),
        "limit": trainer.limit,
        "agreed": None if None in known else max(one for one in known if one is not None),
        "judge": judge,
        "audited": None
        if None in audited
        else [(group, seed) for group, of in enumerate(audited) for seed in of or ()],
    }
    note = ""
    with suppress(_AllEnded):
        if going:
            groups = [(one.training, list(one.block.seeds)) for one in going]
            found = getattr(trainer.source.function(), STACKED)(groups, **options)
            note = found.sentence
            for one, results, audit in zip(going, found.results, found.audits, strict=True):
                one.trained, one.audit = results, audit
    return [one.outcome(note) for one in stacked]


class _StackedBlock:
    """A block of a stack: what its seeds report, and what becomes of them.

    Attributes:
        training: the user's object; None if making it raised.
        ended: what ended all seeds of the block; None while they train.
        trained: the result of each seed; fewer if time was over.
        audit: what is known of its seeds in stacks.
    """

    def __init__(self, trainer: CustomTrainer, block: Block) -> None:
        self.block, self._trainer, self._calls = block, trainer, Calls(trainer, block)
        self.training: Any = None
        self.ended: BaseException | None = None
        self.trained: Sequence[Any] = ()
        self.audit = Audit()
        self._pruners: dict[int, IsPruned | None] = {}
        self._reports = Reports(block=block, many=block.count)
        try:
            self.training = self._calls.state()
        except BaseException as error:
            _pass_on(error, trainer.on_raise)
            self.ended = error

    def hear(self, of: Sequence[int], scores: Sequence[Any], count: int) -> set[int]:
        """Note the report of a number, the first being 1, of some seeds; return those pruned."""
        of_each, pruned = list(map(_numbers_in, scores)), set[int]()
        pruning = self.block.pruning
        for seed, numbers in zip(of, of_each, strict=True) if pruning else ():
            if pruning and count == 1:
                self._pruners[seed] = pruning.of_trained(self.block.point.key, seed)
            is_pruned, number = self._pruners[seed], numbers.get(self._trainer.on or "")
            if is_pruned and number is not None and is_pruned(count, number):
                pruned.add(seed)
        if self.ended is None:
            names = dict.fromkeys(itertools.chain.from_iterable(of_each))
            try:
                self._reports({name: [one.get(name) for one in of_each] for name in names})
            except BlockCancelled as error:
                self.ended = error
        return pruned

    def outcome(self, note: str) -> Outcome | TrainingError:
        """The outcome of the block; `note` says how the stack was trained."""
        block, trainer = self.block, self._trainer
        if isinstance(self.ended, BlockCancelled):
            return Unfinished()
        results = SeedResults(block, trainer.on)
        results.note, results.audit = note, self.audit
        if self.ended is not None and trainer.says_nothing(self.ended):
            return _void(self.ended)
        if self.ended is not None:
            results.add(crashed(_reason(self.ended), block.count), _shown(self.ended), block.count)
            return results.outcome()
        for score, reports in self.trained:
            sampled = SampledReports(trainer.on)
            for report in reports:
                sampled.add(partial(_numbers_in, report))
            results.add_reports(sampled.points)
            if isinstance(score, Pruned):
                results.add_pruned(score.report)
            elif isinstance(score, BaseException):
                self._calls.forget()
                if trainer.says_nothing(score):
                    return _void(score, results.so_far())
                _pass_on(score, trainer.on_raise)
                results.add(crashed(_reason(score)), _shown(score))
            else:
                results.add(judged(score, trainer.success))
        if results.n < block.count:
            return OutOfTime(results.so_far())
        return results.outcome()


def _numbers_in(score: Any) -> Mapping[str, float]:
    """The numbers of a report; none if it is judged to be something else at the end."""
    try:
        return reported_numbers(score)
    except InputError:
        return {}


def _add_results(call: Calls, seeds: NDArray[np.int64], results: SeedResults) -> bool:
    """Call the function with the seeds and add their results.

    Returns:
        False if the call raised and each seed is to be called alone.
    """
    n, trainer, shown = len(seeds), call.trainer, None
    try:
        returned = call(seeds.copy())
        last = call.reports.last
        if isinstance(last, Mapping) and isinstance(returned, Mapping):
            returned = {**last, **returned}
        verdict = judged(returned, trainer.success, n)
    except BaseException as error:
        if isinstance(error, BlockCancelled):
            raise
        if trainer.says_nothing(error):
            if n > 1:
                return False
            raise
        _pass_on(error, trainer.on_raise)
        if n > 1:
            return False
        verdict, shown = crashed(_reason(error)), _shown(error)
    results.add_reports(call.reports.curve, n)
    results.add(_with_reports(verdict, call.reports), shown, n)
    return True


def _void(error: BaseException, outcome: Outcome | None = None) -> Void:
    """The next seed could not be tried; `outcome` is that of the seeds before it."""
    return Void(_reason(error), outcome, retry_after(error))


def _reason(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, SeedTimeout):
        return str(error)
    return one_line(str(error) if isinstance(error, MethodError) else error_text(error))


def _shown(error: BaseException) -> str:
    """The traceback of an exception, without the frames of xortune."""
    if isinstance(error, SeedTimeout):
        return _reason(error)
    try:
        shown = traceback.TracebackException.from_exception(error)
        cause: traceback.TracebackException | None = shown
        while cause is not None:
            users = [frame for frame in cause.stack if not frame.filename.startswith(_PACKAGE)]
            cause.stack = traceback.StackSummary.from_list(users)
            cause = cause.__cause__ or cause.__context__
        return shortened("".join(shown.format()).rstrip(), MAX_TEXT)
    except Exception:
        return _reason(error)
