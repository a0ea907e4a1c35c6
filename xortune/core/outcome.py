"""Outcome: the results of a block of seeds, one entry per seed; Wilson's interval of counts."""

from __future__ import annotations

import enum
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.audit import Audit
from xortune.core.errors import InputError, refuse_unknown
from xortune.core.formats import as_html, count, interval, measured, plain
from xortune.core.seeds import checked_seeds
from xortune.core.task import Task

if TYPE_CHECKING:
    from xortune.core.numbers import Summary


@dataclass(frozen=True)
class Failure:
    """A failed seed, or a block without an outcome.

    Attributes:
        config: of the block.
        seed: the failed seed, or the first one of the block.
        reason: on one line.
        traceback: of the exception; None if none was raised.
        raised: the seed of the traceback if it is another one: the first failure returned no
            number, say, and a later seed raised.
    """

    config: Mapping[str, object]
    seed: int
    reason: str
    traceback: str | None = None
    raised: int | None = None

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        where = f"the first failure: seed {self.seed} of {values or '{}'}"
        if self.raised is None or self.raised == self.seed:
            return f"{where}\n{self.traceback or self.reason}"
        return f"{where}\n{self.reason}\nand of seed {self.raised}\n{self.traceback}"


NO_NUMBER = np.uint32(0x7FC0_07A2).view(np.float32)
"""What a report has in place of a number that it lacks: a NaN that no training reports.

As R's NA it is a NaN with bits of its own, so that a reported NaN can be told from it.
"""


def has_number(values: ArrayLike) -> NDArray[np.bool_]:
    """Where values, of any shape, are numbers that were reported, a NaN among them."""
    with np.errstate(over="ignore"):  # beyond float32
        single = np.ascontiguousarray(values, np.float32)
    return np.asarray(single.view(np.uint32) != NO_NUMBER.view(np.uint32))


@dataclass(frozen=True, eq=False)
class Curves:
    """Numbers that seeds reported during training, thinned: P points of M numbers.

    Attributes:
        names: of the numbers.
        seed: int64, shape (P,): the seed of each point.
        report: int64, shape (P,): the index of the report among those of its seed, from 1.
        values: float32, shape (P, M): `NO_NUMBER` where a report lacks the number.
    """

    names: tuple[str, ...]
    seed: NDArray[np.int64]
    report: NDArray[np.int64]
    values: NDArray[np.float32]

    def points(self) -> Curves:
        """These curves."""
        return self


class KeptCurves(Protocol):
    """Curves, or packed curves of a journal that are unpacked on demand."""

    def points(self) -> Curves:
        """Return the curves."""


@dataclass(frozen=True, eq=False)
class Details:
    """Numbers, failures and outputs of the seeds of an outcome.

    Attributes:
        values: by name, float64 of shape (S,): NaN where a seed has no such number.
        failed: the reason by seed, for seeds whose training failed. A seed that was trained to the
            end without success is not among them.
        traceback: of the first failure that raised; not kept in a run.
        output: by seed, the end of what some failed seeds printed.
        raised: the seed of the traceback; None: the first of `failed`.
        note: a sentence on how the seeds were trained, or empty; not kept in a run's journal.
        ruled: False where no rule asked which numbers are a success; not kept in a run's journal.
        curves: numbers that seeds reported during training; each seed is in one part.
        twice: two results of a seed that was trained a second time, in a sentence, if they differ;
            empty if they do not; None if none was. Not kept in a run's journal.
        void: by seed, why seeds that are in no count could not be tried; not kept there either.
        audit: of seeds that trained as one model; None where a trainer never stacks seeds.
        pruned: by seed, the report at which a search prunes it; see `core.pruning`. Such a seed has
            ended there, or it was trained on, and its status says what became of it.
    """

    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    traceback: str | None = None
    output: Mapping[int, str] = field(default_factory=dict)
    raised: int | None = None
    note: str = ""
    curves: tuple[KeptCurves, ...] = ()
    twice: str | None = None
    void: Mapping[int, str] = field(default_factory=dict)
    ruled: bool = True
    audit: Audit | None = None
    pruned: Mapping[int, int] = field(default_factory=dict)

    def first_failure(self, config: Mapping[str, object]) -> Failure | None:
        """The failed seed with the smallest number; None if none failed."""
        if not self.failed:
            return None
        seed, reason = min(self.failed.items())
        return Failure(config, seed, reason, self.traceback, self.raised)


NO_DETAILS = Details()


def joined(first: Details, n: int, second: Details, m: int) -> Details:
    """The details of n seeds followed by those of m other seeds."""
    if first is NO_DETAILS and second is NO_DETAILS:
        return NO_DETAILS
    missing = {size: np.full(size, np.nan) for size in (n, m)}
    values = {
        name: np.concatenate(
            [first.values.get(name, missing[n]), second.values.get(name, missing[m])]
        )
        for name in {**first.values, **second.values}
    }
    # ChainMap instead of a dict: outputs of a journal are unpacked on demand.
    output: Mapping[int, str] = {}
    if first.output or second.output:
        output = ChainMap(second.output, first.output)  # type: ignore[arg-type]  # read only
    raised = first if first.traceback else second
    failed = {**first.failed, **second.failed}
    return Details(
        *(values, failed, raised.traceback, output, raised.raised, second.note or first.note),
        curves=first.curves + second.curves,
        ruled=first.ruled and second.ruled,
        audit=first.audit + second.audit
        if first.audit and second.audit
        else first.audit or second.audit,
        pruned={**first.pruned, **second.pruned},
    )


@dataclass(frozen=True)
class Ending:
    """What tables, figures and sentences say of a status.

    Attributes:
        sentence: what such a seed did, after "10 % of them".
        colour: in figures and pages. It has a contrast of 3 to 1 on light and dark, and is distinct
            from the others. Empty: figures give its parts others.
        bar: its name in a figure; the status's own words if not given.
        unread: its name and sentence where no predictions are known, as of a user's training; empty
            if they are the same.
        result: of a training that ended so, after "gave".
        has_numbers: whether it has results that can be judged and summed up.
        is_told: when a table has a row for it though no seed ended so: always, where predictions
            are known, or never.
    """

    sentence: str = ""
    colour: str = ""
    bar: str = ""
    unread: tuple[str, str] | tuple[()] = ()
    result: str = "no success"
    has_numbers: bool = True
    is_told: Literal["always", "with patterns", "never"] = "always"


class Status(enum.IntEnum):
    """How training under one seed ended. All but SOLVED count as not solved.

    A new one is added at the end: its number stands in journals, its name in files and tables.

    Attributes:
        ending: what is said of it.
    """

    ending: Ending

    def __new__(cls, code: int, ending: Ending = Ending()) -> Status:  # frozen
        """A member: its number, and what is said of it; `Status(4)` finds one by the number."""
        status = int.__new__(cls, code)
        status._value_, status.ending = code, ending
        return status

    SOLVED = 0, Ending("were solved", "#489ac7", result="a success")
    WRONG_PATTERN = (
        1,
        Ending(
            "learned a wrong pattern",
            "",
            "another wrong pattern",
            ("no success", "ended without success"),
        ),
    )
    ALL_ZERO = 2, Ending("output 0 for every row", "#8d6cef", "all 0", is_told="with patterns")
    ALL_ONE = 3, Ending("output 1 for every row", "#ff47a3", "all 1", is_told="with patterns")
    DIVERGED = 4, Ending("diverged", "#b927b9", result="no finite number", has_numbers=False)
    CRASHED = 5, Ending("crashed", "#8a5c2e", result="an exception", has_numbers=False)
    PRUNED = (
        6,
        Ending("were pruned", "#ad932e", has_numbers=False, is_told="never"),
    )  # a search has ended it by what it reported

    @property
    def label(self) -> str:
        """The word for it in files and tables: `solved`, `wrong_pattern`, ..."""
        return self.name.lower()

    def words(self, *, patterns: bool = True) -> str:
        """The words for it in a report: `wrong pattern`, or where none is known `no success`."""
        unread = self.ending.unread
        return unread[0] if unread and not patterns else self.label.replace("_", " ")

    def bar(self, *, patterns: bool = True) -> str:
        """Its name in a figure."""
        return (patterns and self.ending.bar) or self.words(patterns=patterns)

    def sentence(self, *, patterns: bool = True) -> str:
        """What such a seed did: `learned a wrong pattern`, `ended without success`."""
        unread = self.ending.unread
        return unread[1] if unread and not patterns else self.ending.sentence

    def is_told(self, found: int, *, patterns: bool) -> bool:
        """Whether a table has a row for it, if so many seeds ended so."""
        when = self.ending.is_told
        return bool(found) or when == "always" or (patterns and when == "with patterns")


_HAVE_NUMBERS = np.array([status.ending.has_numbers for status in Status])


def have_numbers(status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool, shape (S,): which seeds have results that can be judged and summed up."""
    return np.asarray(_HAVE_NUMBERS[status])


@dataclass(frozen=True, slots=True)
class SeedCount:
    """K of n seeds, counted. What says more about them is a subclass.

    Attributes:
        k: seeds solved.
        n: seeds, failed ones included.
    """

    k: int
    n: int

    @property
    def rate(self) -> float:
        """K / n."""
        return self.k / self.n

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's (low, high) for the success probability; see `wilson`."""
        low, high = wilson(self.k, self.n, confidence=confidence)
        return float(low), float(high)

    @property
    def text(self) -> str:
        """`63/64`: in a table, or where there is little room."""
        return f"{self.k:,}/{self.n:,}"

    @property
    def words(self) -> str:
        """`63 of 64 seeds solved (98.4 %, 95 % interval 91.7–99.8 %)`: in a sentence."""
        ends, seeds = interval(*self.interval()), count(self.n, "seed")
        return f"{self.k:,} of {seeds} solved ({self.rate_text}, 95 % interval {ends})"

    @property
    def rate_text(self) -> str:
        """The rate in percent, with the decimals that its 95 % Wilson interval supports."""
        return measured(self.rate, *self.interval())


NO_SEEDS = SeedCount(0, 0)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One configuration, trained under S seeds.

    Attributes:
        seeds: int64, shape (S,): the seeds, each once.
        epochs: the budget: epochs that every seed was trained for; 0 where none are counted.
        status: uint8, shape (S,): a `Status` for each seed.
        solved_epoch: int32, shape (S,): the first epoch (1 is the state after the first step) from
            which the seed stays solved to the end; 0 where it is not solved at the end.
        final_loss: float32, shape (S,): the training loss of the final weights; NaN if crashed.
        predictions: bool, shape (S, M): whether each judged row's output is above 0.5.
        checkpoints: the same seeds after fewer epochs, in ascending order.
        details: numbers of each seed and reasons of failures, from a user's own trainer.

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
        """The number of seeds, failed ones included."""
        return int(self.seeds.shape[0])

    @property
    def deterministic(self) -> bool | None:
        """Whether a seed that was trained twice had one result; None if none was."""
        return None if self.details.twice is None else not self.details.twice

    @property
    def count(self) -> SeedCount:
        """K of n."""
        return SeedCount(self.successes, self.n)

    @property
    def rate(self) -> float:
        """K / n."""
        return self.count.rate

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's (low, high) for the success probability; see `wilson`."""
        return self.count.interval(confidence)

    @property
    def epochs_spent(self) -> int:
        """Epochs until each seed was solved for good, unsolved ones at the full budget, summed."""
        solved = self.solved
        return int(self.solved_epoch[solved].sum(dtype=np.int64)) + self.epochs * int(
            np.count_nonzero(~solved)
        )

    @property
    def epochs_to_solve(self) -> float | None:
        """Expected running time (ERT): `epochs_spent` over successes.

        None without a success, and where no epochs are counted.

        Source: Hansen et al. (2021), COCO, Optimization Methods and Software 36(1), section 5.
        """
        return self.epochs_spent / self.successes if self.successes and self.epochs else None

    @property
    def counts(self) -> dict[Status, int]:
        """The number of seeds with each status, zeros included; the sum is n."""
        numbers = np.bincount(self.status, minlength=len(Status)).tolist()
        return dict(zip(Status, numbers, strict=True))

    @property
    def endings(self) -> dict[Status, int]:
        """As `counts`, without statuses that the training cannot end with."""
        has_patterns = self.epochs > 0
        return {s: n for s, n in self.counts.items() if s.is_told(n, patterns=has_patterns)}

    @property
    def first_crash(self) -> tuple[int, str] | None:
        """The first seed that crashed, and why; None if none did."""
        crashed = self.seeds[np.equal(self.status, _CRASHED)]
        if not crashed.size:
            return None
        seed = int(crashed.min())
        return seed, self.details.failed.get(seed, "")

    @property
    def patterns(self) -> list[str]:
        """Each seed's predictions as text, one 0 or 1 for each judged row; "" if crashed."""
        rows = self.predictions.astype(np.uint8) + np.uint8(ord("0"))
        return [
            "" if status == Status.CRASHED else row.tobytes().decode()
            for status, row in zip(self.status, rows, strict=True)
        ]

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the numbers that at least one seed has."""
        values = self.details.values
        return tuple(name for name in values if np.isfinite(values[name]).any())

    def numbers(self, name: str | None = None) -> NDArray[np.float64]:
        """float64, shape (S,): a number of each seed, by default the first; NaN of a failed seed.

        Raises:
            InputError: no seed has a number of that name.
        """
        names = self.number_names
        if not names:
            raise InputError(
                "no seed has a number",
                field="number",
                allowed="outcomes of a training that returns a number, or a dict of them",
            )
        if name is None:
            name = names[0]
        refuse_unknown(name, names, f"there is no number {name!r}", field="number")
        return valid_numbers(self.details.values[name], self.status)

    def summary(self, number: str | None = None) -> Summary:
        """A number of the seeds, summed up: mean, IQM, median, quantiles, each with its interval.

        Args:
            number: its name; the first that the training returned if not given.

        Raises:
            InputError: no seed has a number of that name.
        """
        from xortune.core.numbers import summed  # slow to import, and not needed to train

        values = self.numbers(number)
        return summed(number or self.number_names[0], values)

    def at(self, epochs: int) -> Outcome:
        """The outcome at an earlier checkpoint of the same training.

        Raises:
            InputError: there is no checkpoint at these epochs.
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
        """The outcome of both blocks of seeds of one configuration.

        Raises:
            InputError: a seed is in both, or the epochs, checkpoints or judged rows differ.
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

    @property
    def failed_text(self) -> str:
        """How many seeds failed, and why the first did, where no rule asked; empty if none did."""
        lost = self.n - self.successes
        seed, reason = min(self.details.failed.items(), default=(0, ""))
        return crash_text(lost, (seed, reason) if reason else None, "failed")

    def __repr__(self) -> str:
        crashes = crash_text(self.counts[Status.CRASHED], self.first_crash)
        found = "" if self.details.audit is None else self.details.audit.sentence(self.n)
        audit = f"; {found}" if found else ""
        if not self.details.ruled:
            numbers = "".join(
                f"; {self.summary(name)}" for name in self.number_names[:MOST_NUMBERS]
            )
            return f"Outcome({count(self.n, 'seed')}{self.failed_text}{numbers}{audit})"
        low, high = self.interval()
        epochs = f", {self.epochs} epochs" if self.epochs else ""
        void = f", {len(self.details.void)} void" if self.details.void else ""
        return (
            f"Outcome({self.successes}/{self.n} solved{crashes}{void}, 95 % interval {low:.4f} to "
            f"{high:.4f}{epochs}{audit})"
        )

    def _repr_html_(self) -> str:
        own = {} if self.details.ruled else {Status.SOLVED: "finished"}
        known = {s: s.label if self.epochs else s.words(patterns=False) for s in Status}
        found = [(own.get(s, known[s]), count) for s, count in self.counts.items() if count]
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
        """The outcome of seeds whose status follows from the task's rule.

        The arguments are the attributes, except `finite`: bool, shape (S,), whether all weights and
        outputs are finite. `solved_epoch` is ignored where a seed is not solved at the end.
        """
        status = status_of(task, predictions, finite)
        start = np.where(status == _SOLVED, solved_epoch, 0).astype(np.int32)
        return cls(seeds, epochs, status, start, final_loss, predictions, checkpoints)

    @classmethod
    def unchecked(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        epochs: int,
        checkpoints: tuple[Outcome, ...] = (),
        details: Details = NO_DETAILS,
    ) -> Outcome:
        """An outcome of five valid arrays, by name, which become read-only."""
        for array in arrays.values():
            array.flags.writeable = False
        outcome = cls.__new__(cls)
        outcome.__dict__.update(arrays, epochs=epochs, checkpoints=checkpoints, details=details)
        return outcome

    @classmethod
    def crashed(cls, seeds: Iterable[int], epochs: int, reason: str | None = None) -> Outcome:
        """The outcome of seeds whose training produced nothing: not solved, with a reason."""
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


_SOLVED, _CRASHED = int(Status.SOLVED), int(Status.CRASHED)

MOST_NUMBERS = 5
"""Maximum number of a training's numbers in a line of results."""

MAX_REASON = 100
"""Maximum number of characters of a reason in a line of results."""


def own_endings(counts: Mapping[Status, int]) -> dict[Status, int]:
    """The counts without statuses that a training of the user's own cannot have.

    Only a search prunes seeds, so that `pruned` is there if some were.
    """
    return {s: n for s, n in counts.items() if s.is_told(n, patterns=False)}


def crash_text(crashed: int, first: tuple[int, str] | None, verb: str = "crashed") -> str:
    """`, 3 crashed (seed 7: ValueError: ...)`, with the first of them; empty if none crashed."""
    if not crashed or first is None:
        return f", {crashed} {verb}" if crashed else ""
    seed, reason = first
    reason = plain(reason)
    shown = reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 3]}..."
    return f", {crashed} {verb} (seed {seed}: {shown})" if shown else f", {crashed} {verb}"


def status_of(
    task: Task, predictions: NDArray[np.bool_], finite: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """uint8, shape (..., S): the `Status` of each seed by the task's rule.

    Args:
        task: has M judged rows.
        predictions: bool, shape (..., S, M): output above 0.5.
        finite: bool, shape (..., S): all weights and outputs are finite.
    """
    right = (predictions == (task.judged_targets[:, 0] > 0.5)).sum(axis=-1)
    status = np.full(finite.shape, Status.WRONG_PATTERN, dtype=np.uint8)
    status[predictions.all(axis=-1)] = Status.ALL_ONE
    status[~predictions.any(axis=-1)] = Status.ALL_ZERO
    status[right >= task.rows_needed] = _SOLVED
    status[~finite] = Status.DIVERGED
    return status


def valid_numbers(
    numbers: NDArray[np.float64] | None, status: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """float64, shape (S,): the finite numbers of seeds that did not fail, else NaN.

    Args:
        numbers: shape (S,); None if there are none.
        status: shape (S,), a `Status` for each seed.
    """
    if numbers is None:
        return np.full(status.shape, np.nan)
    return np.where(np.isfinite(numbers) & have_numbers(status), numbers, np.nan)


def _equal_width(*outcomes: Outcome) -> list[NDArray[np.bool_]]:
    """The predictions, padded to one width where a crashed block has none."""
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
        n: seeds, broadcast against `successes`; 0 gives the interval (0, 1).
        confidence: two-sided level in (0, 1).

    Returns:
        (low, high), float64, of the broadcast shape.

    Source:
        Wilson (1927), JASA 22, 209-212; no continuity correction. A test compares it with
        statsmodels' `proportion_confint(method="wilson")`, whose import takes two seconds.
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
    # At 0 of n and n of n one end is exact; rounding must not move it.
    low = np.where(empty | (k == 0), 0.0, np.maximum(middle - half, 0.0))
    high = np.where(empty | (k == m), 1.0, np.minimum(middle + half, 1.0))
    return low, high
