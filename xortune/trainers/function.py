"""A user's own function as a trainer: called for each seed, or once for all seeds of a block."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
import traceback
from bdb import BdbQuit
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import (
    closing,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import GeneratorType
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.success import VALUE, Success
from xortune.core.trainer import Block, OutOfTime, Stacking, Unfinished
from xortune.trainers import verdicts
from xortune.trainers.limits import threads_meanwhile, time_is_over
from xortune.trainers.source import FunctionSource, Given
from xortune.trainers.verdicts import (
    LONGEST,
    MAX_VALUES,
    SUCCESS,
    KnownSeeds,
    Points,
    SeedResults,
    Way,
    crashed,
    judged,
    numbers_told,
    one_line,
    shortened,
)

# -------------------------------------------------------------------------------------------------
# What a user's function prints: to stderr, and of very much only the beginning and the end.
#
# What a worker of Ray's prints is written to a file, and kept: a function that prints a line for
# each of its steps would fill the disk.

HEAD, TAIL = 20_000, 5_000
"""Characters of a batch that are printed at once, and those that are printed when it is trained."""


class _Bounded:
    """A stream that passes on the first characters, and at the end the last ones."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, HEAD
        self._tail, self._out = "", 0

    def write(self, text: str) -> int:
        """Print it, or keep its end."""
        now, later = text[: self._left], text[self._left :]
        if now:
            self._left -= len(now)
            self._stream.write(now)
        if later:
            self._out += len(later)
            self._tail = (self._tail + later[-TAIL:])[-TAIL:]
        return len(text)

    def finish(self) -> None:
        """Print the end, after the number of characters before it that are left out."""
        if self._out:
            gap = self._out - len(self._tail)
            note = f"\n... ({gap:,} characters left out) ...\n" if gap else ""
            self._stream.write(note + self._tail)
            self._tail, self._out = "", 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def bounded_output() -> Iterator[None]:
    """What is printed meanwhile goes to stderr: stdout is for our results, which may be JSON."""
    stream = _Bounded(sys.stderr) if sys.stderr is not None else None
    with redirect_stdout(stream), redirect_stderr(stream):
        try:
            yield
        finally:
            if stream is not None:
                with suppress(OSError, ValueError):  # it is closed: nobody reads
                    stream.finish()


# -------------------------------------------------------------------------------------------------
# How a user's function is called: what it takes, what it reports on the way, what it keeps.

MANY, REPORT, RUN = "seeds", "report", "run"
"""Names that say how a function is called: of its second parameter, of a parameter of its own, and
of a class's method."""

STACKED = "run_all"
"""The method of a `TorchTraining` that trains many seeds, by which it is known without torch."""

KEPT = 8
"""How many objects of a user's class a process keeps: those used last."""


def arrays_told(told: Any, n: int) -> dict[str, Any]:
    """The numbers in what was told of n seeds, copied, since they may be filled again."""
    found: dict[str, Any] = {}
    for name, entry in (told if isinstance(told, Mapping) else {VALUE: told}).items():
        with suppress(TypeError, ValueError, RuntimeError):
            array = np.array(entry, np.float64)
            if array.shape == (n,) and isinstance(name, str) and name != SUCCESS:
                found[name] = array
    return found


class TookTooLong(BaseException):
    """The seed exceeded its time limit; an `except Exception` in the function does not catch it."""


class GivenUp(BaseException):
    """The block is cancelled; see `driver.ray_executor`."""


@dataclass(frozen=True)
class CallForm:
    """What a user's function takes.

    Attributes:
        many: all seeds of a block at once.
        reports: a `report`, to be called with intermediate results.
        state: it is a class, of which an object is made for a config; its `run` trains.
        yields: it is a generator function, which yields intermediate results.
        stacked: it is a `TorchTraining`, which trains many seeds as one.
    """

    many: bool = False
    reports: bool = False
    state: bool = False
    yields: bool = False
    stacked: bool = False

    @property
    def words(self) -> str:
        """What it is called with."""
        if self.stacked:
            return "config: a TorchTraining, which trains many seeds as one where it can"
        seeds = MANY if self.many else "seed"
        taken = f"{seeds}, {REPORT}" if self.reports else seeds
        notes = ["all of a block at once"] * self.many + ["a generator"] * self.yields
        if self.state:
            about = f"; {', '.join(notes)}" if notes else ""
            return f"config: a class, whose {RUN} is called with {taken}{about}"
        return f"config, {taken}" + (f": {', '.join(notes)}" if notes else "")


PLAIN = CallForm()


def form_of(function: Callable[..., Any], label: str) -> CallForm:
    """What a function takes, by the names of its parameters.

    Raises:
        InputError: it cannot be called with a config and a seed.
    """
    state = inspect.isclass(function)
    if state and hasattr(function, STACKED):
        return _form_of_torch(function, label)
    called = getattr(function, RUN, None) if state else function
    if not callable(called):
        raise InputError(
            f"{label} is a class without a method {RUN}",
            field="trainer",
            allowed=f"a class that is made with a config, and whose {RUN} trains a seed",
            fix=f"add `def {RUN}(self, seed)`, or name a function",
        )
    first: Any = {}
    try:
        if state:
            inspect.signature(function).bind({})
            bound = inspect.getattr_static(function, RUN)
            first = None if inspect.isfunction(bound) else inspect.Parameter.empty
        signature = inspect.signature(called)
        reports = REPORT in signature.parameters
        given = () if first is inspect.Parameter.empty else (first,)
        signature.bind(*given, 0, **({REPORT: None} if reports else {}))
    except (TypeError, ValueError) as error:
        what = f"{label} cannot be called with a config and a seed ({error})"
        fix = f"write it as f(config, seed), or f(config, {MANY}) for all seeds of a block at once"
        if state:
            fix = (
                f"write it as __init__(self, config), and {RUN}(self, seed) or {RUN}(self, {MANY})"
            )
        raise InputError(what, field="trainer", fix=fix) from None
    names = [p.name for p in signature.parameters.values() if p.kind != p.KEYWORD_ONLY]
    many = len(names) > len(given) and names[len(given)] == MANY
    return CallForm(many, reports, state, inspect.isgeneratorfunction(called))


def _form_of_torch(training: Callable[..., Any], label: str) -> CallForm:
    """What a `TorchTraining` takes.

    Raises:
        InputError: it lacks a method, or is not made with a config.
    """
    if missing := sorted(getattr(training, "__abstractmethods__", ())):
        raise InputError(
            f"{label} is a TorchTraining without {', '.join(missing)}",
            field="trainer",
            allowed="a class with the methods model, optimizer, batches, loss and score",
            fix="add what is missing",
        )
    try:
        inspect.signature(training).bind({})
    except TypeError as error:
        raise InputError(
            f"{label} cannot be made with a config ({error})",
            field="trainer",
            fix="write it as __init__(self, config), and call super().__init__(config) there",
        ) from None
    reports = getattr(training, "report_every", None) is not None
    return CallForm(reports=reports, state=True, stacked=True)


class Reports:
    """The intermediate results of one call; it is the `report` that a function may take.

    Attributes:
        count: how many there are.
        last: the last one as it was told; None as long as there is none.
        numbers: its numbers; none where many seeds are trained at once.

    Args:
        limit: seconds for a seed; None for any time.
        many: how many seeds are trained at once; None if it is called for one alone.
        block: what is trained; each report asks whether it is cancelled.
        keeps: whether to keep what is told of many seeds, as their curve.
    """

    __slots__ = (
        *("_began", "_block", "_ended", "_keeps", "_limit", "_many", "_way"),
        *("count", "last", "numbers"),
    )

    def __init__(
        self,
        limit: float | None = None,
        *,
        many: int | None = None,
        block: Block | None = None,
        keeps: bool = True,
    ) -> None:
        self.count, self._block = 0, block
        self.last: Any = None
        self.numbers: Mapping[str, float] = {}
        self._way, self._keeps = Way(), keeps
        self._limit, self._many = limit, many
        self._began = 0.0 if limit is None else time.monotonic()
        self._ended: BaseException | None = None

    def __call__(self, told: Any) -> None:
        """Note an intermediate result: what the training would return if it ended now.

        Args:
            told: true or false, a number, a dict of numbers; of many seeds arrays of these.

        Raises:
            InputError: it is nothing of that.
            TookTooLong: the seed has taken longer than it may.
            GivenUp: the block is cancelled.
        """
        if self._many is None:
            self.numbers = numbers_told(told, "reported")
        self.last = dict(told) if isinstance(told, Mapping) else told  # it may be filled again
        self.count += 1
        if self._many is None:
            self._way.add(lambda: self.numbers)
        elif self._keeps:
            n = self._many
            self._way.add(lambda: arrays_told(self.last, n))
        if self._late():
            each = f" for each of {self._many} seeds" if self._many else ""
            self._ended = TookTooLong(f"took longer than {self._limit:g} s{each}")
        elif _asked is not None and self._block is not None and _asked(self._block):
            self._ended = GivenUp()
        self.check()

    @property
    def curve(self) -> Points:
        """Some reports by their number, evenly spaced, and the last one."""
        return self._way.points

    def _late(self) -> bool:
        if self._limit is None:
            return False
        return time.monotonic() - self._began > self._limit * (self._many or 1)

    def check(self) -> None:
        """Raise again what ended the seed, in case its function caught it."""
        if self._ended is not None:
            raise self._ended


_NONE = Reports()
"""Of a function that reports nothing."""

_asked: Callable[[Block], bool] | None = None


@contextmanager
def asked_of_reports(given_up: Callable[[Block], bool] | None) -> Iterator[None]:
    """Each report in this process asks whether the block that is trained has been given up."""
    global _asked  # noqa: PLW0603  # a function of the user's stands between us and its reports
    before, _asked = _asked, given_up
    try:
        yield
    finally:
        _asked = before


class ReadConfig(dict[str, Any]):
    """A configuration that notes which of its parameters are read, outside of the optimizer.

    Attributes:
        names_read: those that were read while `noting`.
        noting: whether to note it.
    """

    def __init__(self, config: Mapping[str, Any], names_read: Iterable[str] = ()) -> None:
        super().__init__(config)
        self.names_read = set(names_read)
        self.noting = True

    def _note(self, *names: str) -> None:
        if self.noting:
            self.names_read.update(names)

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """See `dict.get`."""
        self._note(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._note(str(name))
        return super().__contains__(name)


def _reads_all(name: str) -> Callable[..., Any]:
    """A method of dict that reads every parameter, and notes it."""
    method = getattr(dict, name)

    @functools.wraps(method)
    def noted(config: ReadConfig, *args: Any, **more: Any) -> Any:
        config._note(*dict.keys(config))
        return method(config, *args, **more)

    return noted


for _name in (
    *("__iter__", "__reversed__", "__len__", "__repr__", "__eq__", "__ne__", "__or__", "__ror__"),
    *("keys", "values", "items", "copy", "pop", "popitem", "setdefault"),
):
    setattr(ReadConfig, _name, _reads_all(_name))


_states: OrderedDict[tuple[Callable[..., Any], str], Any] = OrderedDict()


class Calls:
    """The calls of a user's function for one config, one after the other."""

    def __init__(
        self,
        function: Callable[..., Any],
        form: CallForm,
        block: Block,
        limit: float | None,
        on_raise: OnRaise | None = None,
    ) -> None:
        self._function, self._form, self._block, self._limit = function, form, block, limit
        self.on_raise = on_raise
        self._config = block.point
        self._plain = not (form.reports or form.state)
        self.reports = _NONE

    def __call__(self, seeds: Any) -> Any:
        """What the function returns for a seed, or for many; `reports` has what it reported.

        Raises:
            Exception: what the function raises.
        """
        if self._plain:
            self.reports = _NONE
            returned = self._function(self._config.as_dict(), seeds)
            if type(returned) is not GeneratorType:
                return returned
            return self._drained(returned, self._begun(seeds))
        self.reports = self._begun(seeds)
        try:
            given = {REPORT: self.reports} if self._form.reports else {}
            if self._form.state:
                returned = self.state().run(seeds, **given)
            else:
                returned = self._function(self._config.as_dict(), seeds, **given)
            if type(returned) is GeneratorType:
                return self._drained(returned, self.reports)
        except BaseException:
            _states.pop((self._function, self._block.point.key), None)  # whatever state it is in
            raise
        return self._ended(returned)

    def _drained(self, steps: GeneratorType[Any, Any, Any], reports: Reports) -> Any:
        """The result of a generator, each step of which is a report."""
        self.reports = reports
        with closing(steps):
            while True:
                try:
                    told = next(steps)
                except StopIteration as end:
                    return self._ended(end.value)
                reports(told)

    def _begun(self, seeds: Any) -> Reports:
        many = len(seeds) if self._form.many else None
        return Reports(self._limit, many=many, block=self._block)

    def _ended(self, returned: Any) -> Any:
        self.reports.check()
        return self.reports.last if returned is None else returned

    def state(self) -> Any:
        """The object for the config, made anew if it is not there."""
        name = self._function, self._block.point.key
        if name not in _states:
            config = self._config.as_dict()
            config = ReadConfig(config) if self._form.stacked else config
            _states[name] = self._function(config)
            while len(_states) > KEPT:
                _states.popitem(last=False)
        _states.move_to_end(name)
        return _states[name]


OnRaise: TypeAlias = Callable[[BaseException], None]

SECONDS = 0.01
"""Assumed for a seed until seeds are measured. It sets how many proposals a learning sampler makes
ahead of results, and so has to be the same everywhere."""

REPORTS = "reports"
"""The number of intermediate results of a seed, among its numbers."""

_OURS = (__file__, verdicts.__file__)


@dataclass(frozen=True)
class CustomTrainer:
    """Trains by a user's function, which gets the config as a plain dict.

    A call that raises, or returns what it may not, is a failed seed: it has crashed, with the
    reason. A judged number that is not finite is a seed that has diverged. A function that takes
    many seeds and raises is asked again for each of them alone, so that one seed fails and not all.

    Attributes:
        source: where the function comes from.
        success: the rule for numbers; None if the function says so itself.
        form: what it takes.
        limit: seconds for a seed; None for any time. `train` looks at it with each report; of a
            function that does not report, `driver.subprocesses` does.
        folder: where it is called, on machines that have it: a path such as ``data.csv`` in the
            function is below it. None for wherever the process is.
        threads: that torch has where it is called; see `trainers.limits`.
        on_raise: given where the function is called in the process of the user, who may debug it:
            then what it prints is printed as it is, Ctrl-C and the end of a debugger are no failure
            of a seed, and this is called with whatever else a seed raises.
        known: seeds that were trained before the search began, and are not trained again.
        users_code: a seed may hang, or kill its process; see `driver.batches`.
    """

    source: FunctionSource | Given
    success: Success | None = None
    form: CallForm = PLAIN
    limit: float | None = None
    folder: str | None = None
    threads: int = 1
    on_raise: OnRaise | None = field(default=None, compare=False, repr=False)
    known: KnownSeeds = field(default_factory=dict, compare=False, repr=False)
    users_code: ClassVar[bool] = True

    @property
    def reports(self) -> bool:
        """Whether it tells what a seed has come to on its way."""
        return self.form.reports or self.form.yields

    def check(self, point: Point) -> Point:
        """The point as it is: only the function knows what it means."""
        return point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `core.trainer.Trainer.cost`."""
        return block.count * SECONDS

    def describe(self) -> dict[str, str]:
        """What it is called, the digest of its source, the rule, the time for a seed, threads."""
        rule = {} if self.success is None else {"success": str(self.success)}
        limit = {} if self.limit is None else {"timeout": f"{self.limit:g} s"}
        threads = {} if self.threads == 1 else {"threads": str(self.threads)}
        told = {"trainer": self.source.label, "source": self.source.digest}
        return {**told, **rule, **limit, **threads}

    def stacking(self, block: Block) -> Stacking | None:
        """What this process knows of stacks: of a `TorchTraining` that no debugger looks at."""
        late = self.limit is not None and not self.reports  # each block in a process of its own
        if not self.form.stacked or self.on_raise is not None or late:
            return None
        try:
            with _called_in(self.folder), bounded_output():
                training = Calls(self.source.function(), self.form, block, self.limit).state()
                found: Stacking = training.stacking()
                return found
        except _FAILURES:  # then its seeds have failed, too
            return None

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        one: Callable[[Calls, Block, Success | None], Outcome | TrainingError]
        one = _trained_at_once if self.form.many else partial(_trained_singly, known=self.known)
        results: list[Outcome | TrainingError] = []
        depth = sys.getrecursionlimit()
        try:
            here = self.on_raise is not None
            with threads_meanwhile(self.threads) if here else bounded_output():
                if self.form.stacked:
                    with _called_in(self.folder):
                        return _trained_as_one(self, blocks)
                for block in blocks:
                    # Again for each: a function may have gone elsewhere.
                    with _called_in(self.folder):
                        function = self.source.function()
                        call = Calls(function, self.form, block, self.limit, self.on_raise)
                        results.append(one(call, block, self.success))
        finally:
            sys.setrecursionlimit(depth)
        return results


def custom_trainer(
    source: FunctionSource | Given,
    success: Success | None,
    *,
    limit: float | None = None,
    form: CallForm | None = None,
    threads: int = 1,
) -> CustomTrainer:
    """The trainer of a function.

    Raises:
        InputError: the function cannot be loaded, or cannot be called with a config and seeds.
    """
    form = form_asked(source) if form is None else form
    return CustomTrainer(source, success, form, limit, str(Path.cwd()), threads)


def form_asked(source: FunctionSource | Given) -> CallForm:
    """What a function takes, which is loaded here.

    Raises:
        InputError: it cannot be loaded, or cannot be called with a config and seeds.
    """
    with redirect_stdout(sys.stderr), _called_in(None):
        return form_of(source.function(), source.label)


@contextmanager
def _called_in(folder: str | None) -> Iterator[None]:
    """In a folder, if it is there; back to where the process was, wherever its function went."""
    before = os.getcwd()  # noqa: PTH109  # a path takes four times as long
    try:
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
        yield
    finally:
        with suppress(OSError):
            os.chdir(before)


_FAILURES = (Exception, SystemExit, KeyboardInterrupt)
_RAISED = (*_FAILURES, TookTooLong)
"""What a function raises is its seed's failure; `GivenUp` ends the block."""


def _noted(error: BaseException, on_raise: OnRaise | None) -> None:
    """Tell whoever debugs the function of what it raised; raise again what is no seed's failure."""
    if on_raise is None:
        return
    if isinstance(error, KeyboardInterrupt | BdbQuit):
        raise KeyboardInterrupt from error
    on_raise(error)


def _trained_singly(
    call: Calls, block: Block, success: Success | None, *, known: KnownSeeds
) -> Outcome | TrainingError:
    """Call for one seed after the other."""
    results = SeedResults(block)
    for seed in block.seeds:
        if known and (had := known.get((block.point.key, seed))) is not None:
            results.add_known(had)
            continue
        if time_is_over():
            return OutOfTime(results.outcome() if results.n else None)
        shown = None
        try:
            verdict = judged(call(seed), success)
        except GivenUp:
            return Unfinished(results.outcome() if results.n else None)
        except _RAISED as error:
            _noted(error, call.on_raise)
            verdict, shown = crashed(_reason(error)), _shown(error)
        if call.reports.count:
            results.told(call.reports.curve)
            numbers = {REPORTS: call.reports.count, **call.reports.numbers, **verdict.numbers}
            verdict = verdict._replace(numbers=numbers)
        results.add(verdict, shown)
    return results.outcome()


def _trained_at_once(call: Calls, block: Block, success: Success | None) -> Outcome | TrainingError:
    """Call once for all seeds; if that raises, for each alone."""
    results = SeedResults(block)
    seeds = np.arange(block.first, block.first + block.count, dtype=np.int64)
    try:
        if not _called(call, seeds, success, results):
            for place in range(block.count):
                _called(call, seeds[place : place + 1], success, results)
    except GivenUp:
        return Unfinished()
    return results.outcome()


class _AllEnded(BaseException):
    """Each of the blocks that are trained as one has been cancelled, or took too long."""


def _trained_as_one(
    trainer: CustomTrainer, blocks: Sequence[Block]
) -> list[Outcome | TrainingError]:
    """Train the seeds of all blocks by a `TorchTraining`; a seed that raises fails alone."""
    function, seeds = trainer.source.function(), sum(block.count for block in blocks)
    ended: dict[int, BaseException] = {}
    groups: dict[int, Any] = {}
    for place, block in enumerate(blocks):
        try:
            groups[place] = Calls(function, trainer.form, block, trainer.limit).state()
        except _RAISED as error:
            _noted(error, trainer.on_raise)
            ended[place] = error
    reports = {
        place: Reports(trainer.limit, many=seeds, block=blocks[place], keeps=False)
        for place in groups
    }
    places = list(groups)
    ways: dict[tuple[int, int], tuple[list[int], Way]] = {}

    def report(group: int, of: Sequence[int], told: Any) -> None:
        place, numbers = places[group], _each_told(told, len(of))
        for seed, one in zip(of, numbers, strict=True):
            # Seeds that are told together with others now are trained once more.
            known = ways.get((place, seed))
            if known is None or known[0] != list(of):
                known = ways[place, seed] = list(of), Way()
            known[1].add(partial(dict, one))
        if place not in ended:
            try:
                reports[place](told)
            except (GivenUp, TookTooLong) as error:
                ended[place] = error
        if len(ended) == len(blocks):
            raise _AllEnded

    found: list[list[Any]] = [[] for _ in places]
    note = ""
    with suppress(_AllEnded):
        if places:
            trained = [(groups[place], list(blocks[place].seeds)) for place in places]
            run_all: Any = getattr(function, STACKED)
            failures = _FAILURES if trainer.on_raise is None else _FAILURES[:2]
            found, note = run_all(trained, report, failures=failures)
    each = dict(zip(places, found, strict=True))
    return [
        _outcome_of(
            *(trainer, block, each.get(place, []), ended.get(place), note),
            ways={seed: way.points for (at, seed), (_, way) in ways.items() if at == place},
        )
        for place, block in enumerate(blocks)
    ]


def _each_told(told: Any, n: int) -> list[dict[str, float]]:
    """What each of n seeds told, of arrays; of one seed also without."""
    if n == 1:
        with suppress(InputError):
            return [dict(numbers_told(told, "reported"))]
    arrays = arrays_told(told, n)
    return [{name: float(array[at]) for name, array in arrays.items()} for at in range(n)]


def _outcome_of(
    trainer: CustomTrainer,
    block: Block,
    found: Sequence[Any],
    ended: BaseException | None,
    note: str,
    *,
    ways: Mapping[int, Points],
) -> Outcome | TrainingError:
    """What comes of a block: of what its seeds scored or raised, or of what ended all of them."""
    if isinstance(ended, GivenUp):
        return Unfinished()
    results = SeedResults(block)
    results.note = note
    if ended is not None:
        results.add(crashed(_reason(ended), block.count), _shown(ended), block.count)
        return results.outcome()
    for seed, one in zip(block.seeds, found, strict=False):
        results.told(ways.get(seed, ()))
        if isinstance(one, BaseException):
            # Whatever state it is in.
            _states.pop((trainer.source.function(), block.point.key), None)
            _noted(one, trainer.on_raise)
            results.add(crashed(_reason(one)), _shown(one))
        else:
            results.add(judged(one, trainer.success))
    if results.n < block.count:
        return OutOfTime(results.outcome() if results.n else None)
    return results.outcome()


def _called(
    call: Calls, seeds: NDArray[np.int64], success: Success | None, results: SeedResults
) -> bool:
    """Add what comes of the seeds; False if that raised, and each of them is to be called alone."""
    n, shown = len(seeds), None
    try:
        returned = call(seeds.copy())
    except _RAISED as error:
        _noted(error, call.on_raise)
        if n > 1 and not isinstance(error, TookTooLong):  # which would take as long again
            return False
        verdict, shown = crashed(_reason(error), n), _shown(error)
    else:
        reports = call.reports
        results.told(reports.curve, n)
        if isinstance(reports.last, Mapping) and isinstance(returned, Mapping):
            returned = {**reports.last, **returned}
        verdict = judged(returned, success, n)
        if reports.count and REPORTS not in verdict.numbers and len(verdict.numbers) < MAX_VALUES:
            verdict = verdict._replace(numbers={**verdict.numbers, REPORTS: reports.count})
    results.add(verdict, shown, n)
    return True


def _reason(error: BaseException) -> str:
    """An exception in one line."""
    return str(error) if isinstance(error, TookTooLong) else one_line(error_text(error))


def _shown(error: BaseException) -> str:
    """Its traceback without our own lines, which would only be in the way."""
    if isinstance(error, TookTooLong):  # where it was by then is of no interest
        return _reason(error)
    try:
        told = traceback.TracebackException.from_exception(error)
        each: traceback.TracebackException | None = told
        while each is not None:
            own = [frame for frame in each.stack if frame.filename not in _OURS]
            each.stack = traceback.StackSummary.from_list(own)
            each = each.__cause__ or each.__context__
        return shortened("".join(told.format()).rstrip(), LONGEST)
    except Exception:
        return _reason(error)
