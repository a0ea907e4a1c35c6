"""A user's own function as a trainer: called for each seed, or once for all seeds of a block."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.engine.custom_result import (
    Judged,
    judged_many,
    judged_one,
    not_finite,
    one_line,
)
from xortune.engine.custom_source import Given, Source, takes_many
from xortune.errors import InputError, TrainingError
from xortune.outcome import Outcome, Status
from xortune.outcome_details import NO_DETAILS, Details
from xortune.point import Point
from xortune.success import Success
from xortune.trainer import Block

__all__ = ["CustomTrainer", "custom_trainer"]

SECONDS = 0.01
"""Taken for a seed as long as nothing is measured: between a formula and an hour on a GPU. It sets
how far a search that learns runs ahead of its results, and so has to be the same everywhere."""

_DIVERGED, _CRASHED = int(Status.DIVERGED), int(Status.CRASHED)


@dataclass(frozen=True)
class CustomTrainer:
    """Trains by a user's function, which gets the config as a plain dict.

    A call that raises, or returns what it may not, is a failed seed: it has crashed, with the
    reason. A judged number that is not finite is a seed that has diverged. A function that takes
    many seeds and raises is asked again for each of them alone, so that one seed fails and not all.

    Attributes:
        source: where the function comes from.
        many: whether it takes all seeds of a block at once.
        success: the rule for numbers; None if the function says so itself.
    """

    source: Source | Given
    many: bool
    success: Success | None = None

    def check(self, point: Point) -> Point:
        """The point as it is: only the function knows what it means."""
        return point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `xortune.trainer.Trainer.cost`."""
        return block.count * SECONDS

    def describe(self) -> dict[str, str]:
        """What it is called, the digest of its source, and the rule."""
        rule = {} if self.success is None else {"success": str(self.success)}
        return {"trainer": self.source.label, "source": self.source.digest, **rule}

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        one = _many if self.many else _singly
        with redirect_stdout(sys.stderr):  # stdout is for our results: somebody may read JSON there
            function = self.source.function()
            return [one(function, block, self.success) for block in blocks]


def custom_trainer(
    source: Source | Given, success: Success | None, *, many: bool | None = None
) -> CustomTrainer:
    """The trainer of a function, which is loaded here to see what it takes.

    Args:
        source: of the function.
        success: the rule for numbers.
        many: whether it takes many seeds; None to see by the name of its parameter.

    Raises:
        InputError: the function cannot be loaded, or cannot be called with a config and seeds.
    """
    if many is None:
        with redirect_stdout(sys.stderr):
            many = takes_many(source.function(), source.label)
    return CustomTrainer(source, many, success)


def _singly(function: Callable[..., Any], block: Block, success: Success | None) -> Outcome:
    """Call for one seed after the other."""
    config, count = block.point.as_dict(), block.count
    status, failed = bytearray(count), {}
    values: dict[str, list[float]] = {}
    first: str | None = None
    for place, seed in enumerate(block.seeds):
        try:
            returned = function(config.copy(), seed)
        except (Exception, SystemExit) as error:
            status[place], failed[seed] = _CRASHED, _reason(error)
            first = first or _shown(error)
            continue
        try:
            status[place], told = judged_one(returned, success)
        except InputError as error:
            status[place], failed[seed] = _CRASHED, one_line(str(error))
            continue
        for name, number in told.items():
            if name not in values:
                values[name] = [np.nan] * count
            values[name][place] = number
        if status[place] == _DIVERGED and success is not None:
            failed[seed] = not_finite(success.name, told[success.name])
    arrays = {name: np.array(numbers) for name, numbers in values.items()}
    return _outcome(block, np.frombuffer(status, np.uint8), arrays, failed, first)


def _many(function: Callable[..., Any], block: Block, success: Success | None) -> Outcome:
    """Call once for all; if that raises, for each seed alone."""
    seeds = np.arange(block.first, block.first + block.count, dtype=np.int64)
    judged, first = _called(function, block.point, seeds, success)
    failed = {block.first + place: reason for place, reason in judged.failed.items()}
    return _outcome(block, judged.status, judged.values, failed, first)


def _called(
    function: Callable[..., Any], point: Point, seeds: NDArray[np.int64], success: Success | None
) -> tuple[Judged, str | None]:
    """What came of the seeds, and the traceback of the first that raised."""
    failure: BaseException | None = None
    try:
        returned = function(point.as_dict(), seeds.copy())
    except (Exception, SystemExit) as error:
        failure = error
    if failure is not None and len(seeds) == 1:
        return _all_crashed(1, _reason(failure)), _shown(failure)
    if failure is not None:  # not below `except`, or their tracebacks would show both
        found = [_called(function, point, seeds[i : i + 1], success) for i in range(len(seeds))]
        first = next((shown for _, shown in found if shown is not None), None)
        return _together([judged for judged, _ in found]), first
    try:
        return judged_many(returned, len(seeds), success), None
    except InputError as error:
        return _all_crashed(len(seeds), one_line(str(error))), None


def _all_crashed(n: int, reason: str) -> Judged:
    return Judged(np.full(n, _CRASHED, np.uint8), {}, dict.fromkeys(range(n), reason))


def _together(parts: Sequence[Judged]) -> Judged:
    """What came of single seeds, as of several."""
    names = {name: None for part in parts for name in part.values}
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
    first: str | None,
) -> Outcome:
    details = Details(values, failed, first) if values or failed else NO_DETAILS
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
    try:
        text = str(error)
    except Exception:  # its own __str__ may fail as well
        text = "(it cannot be shown)"
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _shown(error: BaseException) -> str:
    """Its traceback from where the user's function begins: ours would only be in the way."""
    own = error.__traceback__
    try:
        lines = traceback.format_exception(type(error), error, own.tb_next if own else None)
    except Exception:
        return _reason(error)
    return "".join(lines).rstrip()
