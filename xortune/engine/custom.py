"""A user's own function as a trainer: called for each seed, or once for all seeds of a block."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xortune.engine import custom_call, custom_result
from xortune.engine.custom_call import PLAIN, Calls, Form, GivenUp, TookTooLong, form_of
from xortune.engine.custom_output import bounded_output
from xortune.engine.custom_result import (
    LONGEST,
    MAX_VALUES,
    Judged,
    judged_many,
    judged_one,
    not_finite,
    one_line,
    shortened,
)
from xortune.engine.custom_source import Given, Source
from xortune.engine.time_over import time_is_over
from xortune.errors import InputError, TrainingError, named
from xortune.outcome import Outcome, Status
from xortune.outcome_details import NO_DETAILS, Details
from xortune.point import Point
from xortune.success import Success
from xortune.trainer import Block, OutOfTime, Unfinished

__all__ = ["CustomTrainer", "custom_trainer", "form_asked"]

SECONDS = 0.01
"""Taken for a seed as long as nothing is measured: between a formula and an hour on a GPU. It sets
how far a search that learns runs ahead of its results, and so has to be the same everywhere."""

REPORTS = "reports"
"""The number of intermediate results of a seed, among its numbers."""

TOO_MANY = f"returned or reported other numbers than the seeds before, over {MAX_VALUES} in all"

_DIVERGED, _CRASHED = int(Status.DIVERGED), int(Status.CRASHED)

_OURS = (__file__, custom_call.__file__, custom_result.__file__)


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
            function that does not report, `xortune.search.own_process` does.
        folder: where it is called, on machines that have it: a path such as ``data.csv`` in the
            function is below it. None for wherever the process is.
        threads: that torch has where it is called; see `xortune.engine.threads`.
        users_code: a seed may hang, or kill its process; see `xortune.search.narrow`.
    """

    source: Source | Given
    success: Success | None = None
    form: Form = PLAIN
    limit: float | None = None
    folder: str | None = None
    threads: int = 1
    users_code: ClassVar[bool] = True

    @property
    def reports(self) -> bool:
        """Whether it tells what a seed has come to on its way."""
        return self.form.reports or self.form.yields

    def check(self, point: Point) -> Point:
        """The point as it is: only the function knows what it means."""
        return point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `xortune.trainer.Trainer.cost`."""
        return block.count * SECONDS

    def describe(self) -> dict[str, str]:
        """What it is called, the digest of its source, the rule, the time for a seed, threads."""
        rule = {} if self.success is None else {"success": str(self.success)}
        limit = {} if self.limit is None else {"timeout": f"{self.limit:g} s"}
        threads = {} if self.threads == 1 else {"threads": str(self.threads)}
        told = {"trainer": self.source.label, "source": self.source.digest}
        return {**told, **rule, **limit, **threads}

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        one = _many if self.form.many else _singly
        results = []
        with _as_before(), bounded_output():
            for block in blocks:
                with _called_in(self.folder):  # again for each: a function may have gone elsewhere
                    call = Calls(self.source.function(), self.form, block, self.limit)
                    results.append(_ended(one, call, block, self.success))
        return results


def custom_trainer(
    source: Source | Given,
    success: Success | None,
    *,
    limit: float | None = None,
    form: Form | None = None,
    threads: int = 1,
) -> CustomTrainer:
    """The trainer of a function.

    Args:
        source: of the function.
        success: the rule for numbers.
        limit: as of `CustomTrainer`.
        form: what it takes; the function is loaded here to see it, if it is not given.
        threads: as of `CustomTrainer`.

    Raises:
        InputError: the function cannot be loaded, or cannot be called with a config and seeds.
    """
    form = form_asked(source) if form is None else form
    return CustomTrainer(source, success, form, limit, str(Path.cwd()), threads)


def form_asked(source: Source | Given) -> Form:
    """What a function takes, which is loaded here.

    Raises:
        InputError: it cannot be loaded, or cannot be called with a config and seeds.
    """
    with redirect_stdout(sys.stderr), _called_in(None):
        return form_of(source.function(), source.label)


@contextmanager
def _as_before() -> Iterator[None]:
    """What our own code needs of the interpreter is afterwards as it was."""
    depth = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(depth)


@contextmanager
def _called_in(folder: str | None) -> Iterator[None]:
    """In a folder, if it is there; back to where the process was, wherever its function went."""
    before = Path.cwd()
    try:
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
        yield
    finally:
        with suppress(OSError):
            os.chdir(before)


def _ended(
    one: Callable[[Calls, Block, Success | None], Outcome],
    call: Calls,
    block: Block,
    success: Success | None,
) -> Outcome | TrainingError:
    """The outcome of a block, or what there is of it when it is given up."""
    try:
        return one(call, block, success)
    except Unfinished as told:  # or out of time
        return told
    except GivenUp:
        return Unfinished()


def _singly(call: Calls, block: Block, success: Success | None) -> Outcome:
    """Call for one seed after the other."""
    count = block.count
    status = bytearray(count)
    failed: dict[int, str] = {}
    values: dict[str, list[float]] = {}
    first: tuple[int, str] | None = None
    for place, seed in enumerate(block.seeds):
        told: Mapping[str, float] = {}
        try:
            if time_is_over():
                raise OutOfTime
            returned = call(seed)
        except (GivenUp, OutOfTime) as ended:
            if not place:
                raise
            values = {name: numbers[:place] for name, numbers in values.items()}
            block, status = Block(block.point, block.first, place), status[:place]
            told_of = _arrays(values)
            found = _outcome(block, np.frombuffer(status, np.uint8), told_of, failed, first)
            raise (OutOfTime if isinstance(ended, OutOfTime) else Unfinished)(found) from None
        except (Exception, SystemExit, KeyboardInterrupt, TookTooLong) as error:
            status[place], failed[seed] = _CRASHED, _reason(error)
            first = first or (seed, _shown(error))
        else:
            try:
                status[place], told = judged_one(returned, success)
            except InputError as error:
                status[place], failed[seed] = _CRASHED, one_line(str(error))
            if status[place] == _DIVERGED and success is not None:
                failed[seed] = not_finite(success.name, told[success.name])
        if call.reports.count:
            told = {REPORTS: call.reports.count, **call.reports.numbers, **told}
        if len(values) + len(told) > MAX_VALUES and len({**values, **told}) > MAX_VALUES:
            status[place], failed[seed] = _CRASHED, TOO_MANY
            continue
        for name, number in told.items():
            if name not in values:
                values[name] = [np.nan] * count
            values[name][place] = number
    return _outcome(block, np.frombuffer(status, np.uint8), _arrays(values), failed, first)


def _arrays(values: Mapping[str, list[float]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array(numbers) for name, numbers in values.items()}


def _many(call: Calls, block: Block, success: Success | None) -> Outcome:
    """Call once for all; if that raises, for each seed alone."""
    seeds = np.arange(block.first, block.first + block.count, dtype=np.int64)
    judged, first = _called(call, seeds, success)
    failed = {block.first + place: reason for place, reason in judged.failed.items()}
    return _outcome(block, judged.status, judged.values, failed, first)


def _called(
    call: Calls, seeds: NDArray[np.int64], success: Success | None
) -> tuple[Judged, tuple[int, str] | None]:
    """What came of the seeds, and the first that raised, with its traceback."""
    failure: BaseException | None = None
    try:
        returned = call(seeds.copy())
    except (Exception, SystemExit, KeyboardInterrupt, TookTooLong) as error:
        failure = error
    if isinstance(failure, TookTooLong):  # to ask again for each would take as long
        return _all_crashed(len(seeds), _reason(failure)), (int(seeds[0]), _shown(failure))
    if failure is not None and len(seeds) == 1:
        return _all_crashed(1, _reason(failure)), (int(seeds[0]), _shown(failure))
    if failure is not None:  # not below `except`, or their tracebacks would show both
        found = [_called(call, seeds[i : i + 1], success) for i in range(len(seeds))]
        first = next((shown for _, shown in found if shown is not None), None)
        return _together([judged for judged, _ in found]), first
    reports = call.reports
    if isinstance(reports.last, Mapping) and isinstance(returned, Mapping):
        returned = {**reports.last, **returned}
    try:
        judged = judged_many(returned, len(seeds), success)
        if reports.count and len(judged.values) < MAX_VALUES:
            judged.values.setdefault(REPORTS, np.full(len(seeds), float(reports.count)))
        return judged, None
    except InputError as error:
        return _all_crashed(len(seeds), one_line(str(error))), None


def _all_crashed(n: int, reason: str) -> Judged:
    return Judged(np.full(n, _CRASHED, np.uint8), {}, dict.fromkeys(range(n), reason))


def _together(parts: Sequence[Judged]) -> Judged:
    """What came of single seeds, as of several."""
    names: dict[str, None] = {}
    for part in parts:
        more = {**names, **dict.fromkeys(part.values)}
        if len(more) > MAX_VALUES:
            part.status[:], part.values, part.failed = _CRASHED, {}, {0: TOO_MANY}
        else:
            names = more
    none = np.array([np.nan])
    return Judged(
        np.concatenate([part.status for part in parts]),
        {name: np.concatenate([p.values.get(name, none) for p in parts]) for name in names},
        {place: part.failed[0] for place, part in enumerate(parts) if part.failed},
    )


def _outcome(
    block: Block,
    status: NDArray[np.uint8],
    values: Mapping[str, NDArray[np.float64]],
    failed: Mapping[int, str],
    first: tuple[int, str] | None,
) -> Outcome:
    raised, shown = first or (None, None)
    details = Details(values, failed, shown, raised=raised) if values or failed else NO_DETAILS
    n = block.count
    return Outcome(
        seeds=np.arange(block.first, block.first + n, dtype=np.int64),
        epochs=0,
        status=status,
        solved_epoch=np.zeros(n, np.int32),
        final_loss=np.full(n, np.nan, np.float32),
        predictions=np.zeros((n, 0), np.bool_),
        details=details,
    )


def _reason(error: BaseException) -> str:
    """An exception in one line."""
    return str(error) if isinstance(error, TookTooLong) else one_line(named(error))


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
