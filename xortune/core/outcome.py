"""Outcome: what a block of seeds came to, one entry per seed; nothing is averaged away."""

from __future__ import annotations

import enum
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.errors import InputError
from xortune.core.formats import as_html, measured
from xortune.core.seeds import checked_seeds
from xortune.core.task import Task


@dataclass(frozen=True)
class Failure:
    """A seed that failed, or a block that produced nothing.

    Attributes:
        config: of the block.
        seed: which failed; of a block that produced nothing the first.
        reason: on one line.
        traceback: where it was raised, in the words of what failed; None if nothing was.
        raised: the seed that the traceback is of, if that is another, as where the first told no
            number and a later one raised.
    """

    config: Mapping[str, object]
    seed: int
    reason: str
    traceback: str | None = None
    raised: int | None = None

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        where = f"the first failure: seed {self.seed} of {values}"
        if self.raised is None or self.raised == self.seed:
            return f"{where}\n{self.traceback or self.reason}"
        return f"{where}\n{self.reason}\nand of seed {self.raised}\n{self.traceback}"


@dataclass(frozen=True, eq=False)
class Curves:
    """What seeds told on their way, thinned: P points of M numbers.

    Attributes:
        names: of the numbers.
        seed: int64, shape (P,): whose point it is.
        report: int64, shape (P,): which of the seed's reports it is, from 1.
        values: float32, shape (P, M): NaN where a report did not have the number.
    """

    names: tuple[str, ...]
    seed: NDArray[np.int64]
    report: NDArray[np.int64]
    values: NDArray[np.float32]

    def points(self) -> Curves:
        """Itself: of a journal they are unpacked when they are asked for."""
        return self


class KeptCurves(Protocol):
    """Curves, maybe packed."""

    def points(self) -> Curves:
        """The curves."""


@dataclass(frozen=True, eq=False)
class Details:
    """What is known of the seeds of an outcome beside their status.

    Attributes:
        values: by name, float64 of shape (S,): NaN where a seed has no such number.
        failed: why a seed failed, by its number; a seed that was trained to the end and only was
            no success is not among them.
        traceback: of the first failure that raised, in the words of what failed; not kept in a run.
        output: the end of what some of the failed seeds printed, by their number.
        raised: the seed that the traceback is of; None: the first of `failed`.
        note: how they were trained, in a sentence; empty where there is nothing to say. Not kept in
            a run's journal.
        curves: what seeds told on their way, in parts: each seed is in one of them.
    """

    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    traceback: str | None = None
    output: Mapping[int, str] = field(default_factory=dict)
    raised: int | None = None
    note: str = ""
    curves: tuple[KeptCurves, ...] = ()

    def first_failure(self, config: Mapping[str, object]) -> Failure | None:
        """The first seed of a config that failed; None if none did."""
        if not self.failed:
            return None
        seed, reason = min(self.failed.items())
        return Failure(config, seed, reason, self.traceback, self.raised)


NO_DETAILS = Details()


def joined(one: Details, n: int, other: Details, m: int) -> Details:
    """Those of n seeds and then those of m others."""
    if one is NO_DETAILS and other is NO_DETAILS:
        return NO_DETAILS
    none = {size: np.full(size, np.nan) for size in (n, m)}
    values = {
        name: np.concatenate([one.values.get(name, none[n]), other.values.get(name, none[m])])
        for name in {**one.values, **other.values}
    }
    # Not a dict of both: what was read from a journal is unpacked when it is asked for.
    output: Mapping[int, str] = {}
    if one.output or other.output:
        output = ChainMap(other.output, one.output)  # type: ignore[arg-type]  # nobody writes to it
    told = one if one.traceback else other
    failed = {**one.failed, **other.failed}
    curves = one.curves + other.curves
    return Details(values, failed, told.traceback, output, told.raised, curves=curves)


class Status(enum.IntEnum):
    """What one seed ended as; DIVERGED outranks all that training can end in."""

    SOLVED = 0
    WRONG_PATTERN = 1
    ALL_ZERO = 2
    ALL_ONE = 3
    DIVERGED = 4
    CRASHED = 5

    @property
    def label(self) -> str:
        """The word in files and tables: `solved`, `wrong_pattern`, ..."""
        return self.name.lower()


@dataclass(frozen=True, eq=False)
class Outcome:
    """One configuration, trained under S seeds.

    Attributes:
        seeds: int64, shape (S,): the seeds, each once.
        epochs: the budget: epochs that every seed was trained for; 0 where nobody counts them.
        status: uint8, shape (S,): a `Status` for each seed.
        solved_epoch: int32, shape (S,): the first epoch (1 is the state after the first step) from
            which the seed stays solved to the end; 0 where it is not solved at the end.
        final_loss: float32, shape (S,): the training loss of the final weights; NaN if crashed.
        predictions: bool, shape (S, M): whether each judged row's output is above 0.5.
        checkpoints: the same seeds after fewer epochs, in ascending order.
        details: numbers of each seed and reasons of failures, of a user's own trainer.

    Raises:
        InputError: a seed given twice, or outside [0, 2**32).
    """

    seeds: NDArray[np.int64]
    epochs: int
    status: NDArray[np.uint8]
    solved_epoch: NDArray[np.int32]
    final_loss: NDArray[np.float32]
    predictions: NDArray[np.bool_]
    checkpoints: tuple[Outcome, ...] = ()
    details: Details = NO_DETAILS

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", checked_seeds(self.seeds))
        for name in ("seeds", "status", "solved_epoch", "final_loss", "predictions"):
            array = getattr(self, name)
            assert array.shape[0] == self.n, (name, array.shape, self.n)
            array.flags.writeable = False

    @cached_property
    def solved(self) -> NDArray[np.bool_]:
        """bool, shape (S,): which seeds are solved after the last epoch."""
        return np.equal(self.status, _SOLVED)

    @cached_property
    def successes(self) -> int:
        """k: how many seeds are solved."""
        return int(np.count_nonzero(self.solved))

    @property
    def n(self) -> int:
        """How many seeds there are, failed ones included."""
        return int(self.seeds.shape[0])

    @property
    def rate(self) -> float:
        """K / n."""
        return self.successes / self.n

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's (low, high) for the success probability; see `wilson`."""
        low, high = wilson(self.successes, self.n, confidence=confidence)
        return float(low), float(high)

    @property
    def epochs_spent(self) -> int:
        """Epochs until each seed was solved for good, unsolved ones at the full budget, summed."""
        solved = self.solved
        return int(self.solved_epoch[solved].sum(dtype=np.int64)) + self.epochs * int(
            np.count_nonzero(~solved)
        )

    @property
    def epochs_to_solve(self) -> float | None:
        """Expected running time (ERT): `epochs_spent` over successes; None without a success.

        None too where nobody counted epochs.

        Source: Hansen et al. (2021), COCO, Optimization Methods and Software 36(1), section 5.
        """
        return self.epochs_spent / self.successes if self.successes and self.epochs else None

    @property
    def counts(self) -> dict[Status, int]:
        """How many seeds ended in each status, zeros included; the sum is n."""
        found = np.bincount(self.status, minlength=len(Status)).tolist()
        return dict(zip(Status, found, strict=True))

    @property
    def patterns(self) -> list[str]:
        """For each seed its predictions as text, one 0 or 1 for each judged row; "" if crashed."""
        rows = self.predictions.astype(np.uint8) + np.uint8(ord("0"))
        return [
            "" if status == Status.CRASHED else row.tobytes().decode()
            for status, row in zip(self.status, rows, strict=True)
        ]

    def at(self, epochs: int) -> Outcome:
        """The outcome at an earlier checkpoint of the same training.

        Raises:
            InputError: no checkpoint was taken there.
        """
        for outcome in (*self.checkpoints, self):
            if outcome.epochs == epochs:
                return outcome
        taken = [str(outcome.epochs) for outcome in (*self.checkpoints, self)]
        raise InputError(
            f"no checkpoint at epoch {epochs}",
            allowed=", ".join(taken),
            fix=f"evaluate with checkpoints=[{epochs}]",
        )

    def merge(self, other: Outcome) -> Outcome:
        """Both blocks of seeds of one configuration, as one outcome.

        Raises:
            InputError: a seed is in both, or the budgets, checkpoints or judged rows differ.
        """
        mine, theirs = ([c.epochs for c in (*o.checkpoints, o)] for o in (self, other))
        if mine != theirs:
            raise InputError(f"blocks of different epochs cannot be merged: {mine} and {theirs}")
        return Outcome(
            seeds=np.concatenate([self.seeds, other.seeds]),
            epochs=self.epochs,
            status=np.concatenate([self.status, other.status]),
            solved_epoch=np.concatenate([self.solved_epoch, other.solved_epoch]),
            final_loss=np.concatenate([self.final_loss, other.final_loss]),
            predictions=np.concatenate(_equal_width(self, other)),
            checkpoints=tuple(
                a.merge(b) for a, b in zip(self.checkpoints, other.checkpoints, strict=True)
            ),
            details=joined(self.details, self.n, other.details, other.n),
        )

    def __repr__(self) -> str:
        low, high = self.interval()
        epochs = f", {self.epochs} epochs" if self.epochs else ""
        return (
            f"Outcome({self.successes}/{self.n} solved, 95 % interval {low:.4f} to "
            f"{high:.4f}{epochs})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the counts, and what the seeds ended as."""
        own = {} if self.epochs else {Status.WRONG_PATTERN: "no success"}
        found = [(own.get(s, s.label), count) for s, count in self.counts.items() if count]
        rows = [{"seeds ended as": s, "seeds": n, "share": n / self.n} for s, n in found]
        return as_html(f"{self!r}", rows)

    @classmethod
    def judge(
        cls,
        task: Task,
        *,
        seeds: NDArray[np.int64],
        epochs: int,
        predictions: NDArray[np.bool_],
        finite: NDArray[np.bool_],
        solved_epoch: NDArray[np.int32],
        final_loss: NDArray[np.float32],
        checkpoints: tuple[Outcome, ...] = (),
    ) -> Outcome:
        """Give each seed its status by the task's rule.

        Args as the attributes, but `finite`: bool, shape (S,), whether every weight and every
        output is finite; and of `solved_epoch` any value where the seed is not solved at the end.
        """
        status = status_of(task, predictions, finite)
        start = np.where(status == _SOLVED, solved_epoch, 0).astype(np.int32)
        return cls(seeds, epochs, status, start, final_loss, predictions, checkpoints)

    @classmethod
    def known(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        epochs: int,
        checkpoints: tuple[Outcome, ...] = (),
        details: Details = NO_DETAILS,
    ) -> Outcome:
        """One of all five arrays, by name, that fit: nobody can write to them from now on."""
        for array in arrays.values():
            array.flags.writeable = False
        outcome = cls.__new__(cls)
        outcome.__dict__.update(arrays, epochs=epochs, checkpoints=checkpoints, details=details)
        return outcome

    @classmethod
    def crashed(cls, seeds: Iterable[int], epochs: int, reason: str | None = None) -> Outcome:
        """Seeds whose training produced nothing: they count as not solved, and say why."""
        array = np.fromiter(seeds, np.int64)
        return cls(
            seeds=array,
            epochs=epochs,
            status=np.full(array.shape, Status.CRASHED, dtype=np.uint8),
            solved_epoch=np.zeros(array.shape, dtype=np.int32),
            final_loss=np.full(array.shape, np.nan, dtype=np.float32),
            predictions=np.zeros((*array.shape, 0), dtype=np.bool_),
            details=Details(failed=dict.fromkeys(array.tolist(), reason)) if reason else NO_DETAILS,
        )


_SOLVED = int(Status.SOLVED)


def status_of(
    task: Task, predictions: NDArray[np.bool_], finite: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """uint8, shape (..., S): the `Status` of each seed by the task's rule.

    Args:
        task: has M judged rows.
        predictions: bool, shape (..., S, M): output above 0.5.
        finite: bool, shape (..., S): every weight and every output is finite.
    """
    right = (predictions == (task.judged_targets[:, 0] > 0.5)).sum(axis=-1)
    status = np.full(finite.shape, Status.WRONG_PATTERN, dtype=np.uint8)
    status[predictions.all(axis=-1)] = Status.ALL_ONE
    status[~predictions.any(axis=-1)] = Status.ALL_ZERO
    status[right >= task.rows_needed] = _SOLVED
    status[~finite] = Status.DIVERGED
    return status


def counted(numbers: NDArray[np.float64] | None, status: NDArray[np.uint8]) -> NDArray[np.float64]:
    """float64, shape (S,): the numbers of seeds that did not fail and have a finite one, else NaN.

    Args:
        numbers: shape (S,); None if there are none.
        status: shape (S,), a `Status` for each.
    """
    if numbers is None:
        return np.full(status.shape, np.nan)
    return np.where(np.isfinite(numbers) & (status < Status.DIVERGED), numbers, np.nan)


def _equal_width(*outcomes: Outcome) -> list[NDArray[np.bool_]]:
    """Their predictions, those of crashed blocks (which have none) padded to the others' width."""
    widths = {o.predictions.shape[1] for o in outcomes if (o.status != Status.CRASHED).any()}
    if len(widths) > 1:
        raise InputError(f"blocks judged on different rows cannot be merged: {sorted(widths)}")
    width = max(widths, default=0)
    return [
        o.predictions if o.predictions.shape[1] == width else np.zeros((o.n, width), dtype=np.bool_)
        for o in outcomes
    ]


def wilson(
    successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval for a success probability.

    Args:
        successes: counts k, any shape.
        n: seeds trained, broadcast against `successes`; 0 gives the interval (0, 1).
        confidence: two-sided level in (0, 1).

    Returns:
        (low, high), float64, of the broadcast shape.

    Source:
        Wilson (1927), JASA 22, 209-212; no continuity correction. The closed form is written out
        because the report of a search starts in a second and importing statsmodels takes two; a
        test holds it against statsmodels' `proportion_confint(method="wilson")`.
    """
    from scipy.special import ndtri  # slow to import, and not needed to train

    k, m = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    z = float(ndtri(0.5 + confidence / 2))
    empty = m == 0
    m = np.where(empty, 1.0, m)
    rate = k / m
    scale = 1 + z**2 / m
    middle = (rate + z**2 / (2 * m)) / scale
    half = z / scale * np.sqrt(rate * (1 - rate) / m + z**2 / (4 * m**2))
    # At 0 of n and n of n one end is exact; rounding must not move it off.
    low = np.where(empty | (k == 0), 0.0, np.maximum(middle - half, 0.0))
    high = np.where(empty | (k == m), 1.0, np.minimum(middle + half, 1.0))
    return low, high


def rate_of(k: int, n: int) -> str:
    """K / n in percent, in the decimals that its 95 % Wilson interval supports."""
    low, high = wilson(k, n)
    return measured(k / n, float(low), float(high))
