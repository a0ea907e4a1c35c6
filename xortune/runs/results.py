"""Results of a run's configurations: counts, order, tables, the Pareto front."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.numbers import summary
from xortune.core.outcome import Outcome, Status, wilson
from xortune.core.point import Point, as_float
from xortune.core.success import Rule, larger_is_better
from xortune.racing.feasible import PROVEN, rate_bounds, rate_state, seeds_to_tell
from xortune.racing.objectives import (
    SeedSummary,
    constrained,
    estimates,
    front,
    only_statistic,
    statistic_value,
    summary_of,
    ties_of,
)
from xortune.runs.evaluation import MAX_EPOCHS, Evaluations, JournalLines, SeedArray
from xortune.spaces.model import (
    Objective,
    Requirement,
    is_number,
)

if TYPE_CHECKING:
    import pyarrow as pa


# -------------------------------------------------------------------------------------------------
# Only seeds of one version count together.
#
# A session may bring another engine, version or trainer (see `runs.manifest`), and seeds of two
# versions are no sample of one rate. A configuration's result has the seeds of one version, whom
# `counting_version` names; so it does not depend on the order of the lines.

Version = TypeVar("Version")


def counting_version(parts: Iterable[tuple[Version, int, int]]) -> Version:
    """Whose seeds count: the version with the most; among equal ones that with the lowest seed.

    Args:
        parts: versions of one configuration, at least one, each with its seeds and the lowest seed.
    """
    return min(parts, key=lambda part: (-part[1], part[2]))[0]


def by_version(evaluations: Evaluations) -> tuple[Evaluations, Evaluations]:
    """The final lines that count, and those that do not: another version has more seeds."""
    final = evaluations.where(evaluations.column("final") > 0)
    config, fingerprint = final.column("config"), final.column("fingerprint")
    if np.unique(fingerprint).size < 2:
        return final, final[:0]
    made, which = np.unique(np.stack([config, fingerprint]), axis=1, return_inverse=True)
    which = which.ravel()  # numpy 2.0.0 gives it the shape (1, N)
    n = np.bincount(which, final.column("count")).astype(np.int64)
    lowest = np.full(n.shape, np.iinfo(np.int64).max)
    np.minimum.at(lowest, which, final.column("first"))
    parts = zip(range(n.size), n.tolist(), lowest.tolist(), strict=True)
    of_configs = groupby(parts, key=lambda part: int(made[0, part[0]]))
    chosen = np.isin(which, [counting_version(versions) for _, versions in of_configs])
    return final.where(chosen), final.where(~chosen)


def superseded_rows(superseded: Evaluations) -> list[dict[str, Any]]:
    """For the manifest: what is not counted, by configuration and version."""
    rows: dict[tuple[str, str | None], dict[str, Any]] = {}
    for evaluation in superseded:
        key, fingerprint = evaluation.block.point.key, evaluation.fingerprint
        row = rows.setdefault((key, fingerprint), {"key": key, "made": fingerprint, "k": 0, "n": 0})
        row["n"] += evaluation.block.count
        row["k"] += 0 if evaluation.outcome is None else evaluation.outcome.successes
    return list(rows.values())


@dataclass(frozen=True)
class ConfigResult:
    """The result of one configuration.

    Attributes:
        point: in its trainer's normal form.
        key: its stable key.
        outcome: of all its seeds, ascending. Seeds of a block that finally produced no outcome
            count as crashed, so as not solved. One engine, version and trainer made all of them:
            see `Run.set_aside`.
        trials: number of proposals that led to it.
    """

    point: Point
    key: str
    outcome: Outcome
    trials: int


@dataclass(frozen=True)
class Counts:
    """Counts of C configurations, in columns.

    Attributes:
        status: int32, shape (C, statuses): number of seeds with each `Status`.
        epochs: int64, shape (C,): the budget.
        taken: int64, shape (C,): epochs until a seed was solved for good, summed over solved seeds.
    """

    status: NDArray[np.int32]
    epochs: NDArray[np.int64]
    taken: NDArray[np.int64]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Counts:
        """Count some outcomes."""
        rows = [[*o.counts.values(), o.epochs, o.epochs_spent] for o in outcomes]
        columns = np.array(rows, np.int64).reshape(-1, len(Status) + 2)
        status, epochs = columns[:, : len(Status)].astype(np.int32), columns[:, -2]
        unsolved = status[:, 1:].sum(axis=1)
        return cls(status, epochs, columns[:, -1] - epochs * unsolved)

    def at(self, places: NDArray[np.int64]) -> Counts:
        """The counts of some configurations."""
        return Counts(self.status[places], self.epochs[places], self.taken[places])

    @property
    def k(self) -> NDArray[np.int64]:
        """int64, shape (C,): seeds solved."""
        return self.status[:, Status.SOLVED].astype(np.int64)

    @cached_property
    def n(self) -> NDArray[np.int64]:
        """int64, shape (C,): seeds, failed ones included."""
        seeds: NDArray[np.int64] = self.status.sum(axis=1)
        return seeds

    @property
    def rate(self) -> NDArray[np.float64]:
        """float64, shape (C,): k / n."""
        return self.k / self.n

    @property
    def spent(self) -> NDArray[np.int64]:
        """int64, shape (C,): `Outcome.epochs_spent`."""
        return self.taken + self.epochs * (self.n - self.k)

    @cached_property
    def epochs_to_solve(self) -> NDArray[np.float64]:
        """float64, shape (C,): `Outcome.epochs_to_solve`; NaN without a success."""
        known = (self.k > 0) & (self.epochs > 0)  # a user's trainer may count no epochs
        return np.where(known, self.spent / np.maximum(self.k, 1), np.nan)


def criteria(
    objectives: Sequence[Objective],
    rungs: Sequence[int],
    *,
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    number: NDArray[np.int64],
    epochs_to_solve: NDArray[np.float64],
    costs: Callable[[Objective], NDArray[np.float64]],
) -> Iterator[NDArray[Any]]:
    """Who is first: the criteria of the order of C configurations, the lower value first.

    A later one decides between configurations that are equal in all earlier ones. Where a rate is
    required, those that are proven to reach it come first, by the objective; then those of which
    nothing is proven, and last those that are proven not to reach it, by their rate. Where failed
    seeds make the objective infinite, the median of its number decides.

    Args:
        objectives: of the search.
        rungs: of the run's ladder.
        k: shape (C,): seeds solved.
        n: shape (C,): seeds.
        number: shape (C,): the places of the configurations in the order in which they were first
            proposed, from 1, on which their shares of a race's risk depend.
        epochs_to_solve: shape (C,): NaN without a success.
        costs: computes an objective, shape (C,), so that less is better.
    """
    required = constrained(objectives)
    if required is not None and required.required is not None:
        state = rate_state(k, n, number, required.required)
        cost = costs(required)
        yield state
        yield np.where(state == PROVEN, cost, 0.0)
    if (objective := only_statistic(objectives)) is not None:
        # Higher rungs first: only numbers of equally many seeds are compared.
        yield -np.searchsorted(np.sort(np.array(rungs, np.int64)), n, "right")
        cost = costs(objective)
        yield cost
        yield (
            costs(replace(objective, statistic="median"))
            if np.isinf(cost).any()
            else np.zeros_like(cost)
        )
    yield -wilson(k, n)[0]
    if required is not None:
        yield cost
    if (ties := ties_of(objectives)) is not None:
        yield costs(ties)
    yield np.nan_to_num(epochs_to_solve, nan=np.inf)


@dataclass(frozen=True)
class _Columns:
    """The results of C configurations, in columns.

    Attributes:
        configs: int64, shape (C,): index of each in `JournalLines.keys`.
        starts: int64, shape (C,): its first line among the lines that count.
        sizes: int64, shape (C,): the number of its lines.
        trials: int64, shape (C,): number of proposals that led to it.
        numbers: int64, shape (C,): from 1, in the order of their first proposals.
        counts: of its seeds.
    """

    configs: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    trials: NDArray[np.int64]
    numbers: NDArray[np.int64]
    counts: Counts

    def at(self, places: NDArray[np.int64]) -> _Columns:
        """The results of some configurations."""
        return _Columns(
            self.configs[places],
            self.starts[places],
            self.sizes[places],
            self.trials[places],
            self.numbers[places],
            self.counts.at(places),
        )


class ConfigResults(Sequence[ConfigResult]):
    """The result of each configuration, best first; see `Run.results`.

    Numbers are in columns. The object of one configuration is made on demand.

    Args:
        evaluations: of the search.
        objectives: of the search.
        rungs: of the run's ladder.
        place: the journal, for messages.
        reasons: whether seeds of a block without an outcome get its error as their reason.

    Attributes:
        set_aside: final lines that do not count, because another version has more seeds.

    Raises:
        InputError: blocks of one config that cannot be one outcome, such as different epochs.
    """

    def __init__(
        self,
        evaluations: Evaluations,
        *,
        objectives: Sequence[Objective] = (),
        rungs: Sequence[int] = (),
        place: str = "",
        reasons: bool = False,
    ) -> None:
        self._reasons = reasons
        counted, self.set_aside = by_version(evaluations)
        # The lines that count: those of a configuration together, in the order of their seeds.
        counted = counted.where(np.lexsort((counted.column("first"), counted.column("config"))))
        self._lines, self._places = counted.lines, counted.places
        columns = _columns(counted, evaluations, place)
        keys = np.array([self._lines.keys[i] for i in columns.configs.tolist()], "S16")
        first_to_last = criteria(
            objectives,
            rungs,
            k=columns.counts.k,
            n=columns.counts.n,
            number=columns.numbers,
            epochs_to_solve=columns.counts.epochs_to_solve,
            costs=partial(self._costs, columns),
        )
        self._columns = columns.at(np.lexsort([keys, *list(first_to_last)[::-1]]))
        self._made: dict[int, ConfigResult] = {}

    def _costs(self, columns: _Columns, objective: Objective) -> NDArray[np.float64]:
        """float64, shape (C,): the objective, with the sign that makes less better."""
        values = self._measured(columns, objective)
        return -values if objective.maximize else values

    def measured(self, objective: Objective) -> NDArray[np.float64]:
        """float64, shape (C,): an objective of each configuration, by all its seeds."""
        return self._measured(self._columns, objective)

    def _measured(self, columns: _Columns, objective: Objective) -> NDArray[np.float64]:
        if objective.measured is not None:
            return np.array([objective.measured.estimate(seen) for seen in self._seen(columns)])
        if objective.number is None:
            points = (self._lines.points[config] for config in columns.configs.tolist())
            return np.array([as_float(point[objective.name]) for point in points])
        values = np.empty(len(columns.configs))
        for i, lines in enumerate(self._lines_of(columns)):
            numbers = [self._lines.numbers(line, objective.number) for line in lines]
            values[i] = statistic_value(objective, np.concatenate(numbers))
        return values

    def _seen(self, columns: _Columns) -> Iterator[SeedSummary]:
        """What measured objectives are made of, for each configuration."""
        sizes, seconds = self._lines.column("count"), self._lines.column("seconds")
        counted = (columns.counts.k, columns.counts.n, columns.counts.spent)
        counts = zip(*(column.tolist() for column in counted), strict=True)
        for (k, n, spent), lines in zip(counts, self._lines_of(columns), strict=True):
            blocks = zip(
                (seconds[lines] / sizes[lines]).tolist(), sizes[lines].tolist(), strict=True
            )
            yield SeedSummary(k, n, spent, timed_blocks=tuple(blocks))

    @property
    def seconds(self) -> NDArray[np.float64]:
        """float64, shape (C,): training time of each configuration."""
        seconds = self._lines.column("seconds")
        return np.array([seconds[lines].sum() for lines in self._lines_of(self._columns)])

    def rate_states(self, requirement: Requirement) -> NDArray[np.int64]:
        """int64, shape (C,): what the search has proven of a required rate; see `rate_state`."""
        return rate_state(self.counts.k, self.counts.n, self._columns.numbers, requirement)

    def rate_bounds(
        self, requirement: Requirement, at: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lower and upper bounds behind `rate_states` of configurations at these places."""
        k, n, number = self._counted(at)
        return rate_bounds(k, n, number, requirement)

    def seeds_to_tell(self, requirement: Requirement, at: int) -> int | None:
        """As `racing.feasible.seeds_to_tell`, of the configuration at a place."""
        k, n, number = (int(column) for column in self._counted(at))
        return seeds_to_tell(k, n, number, requirement)

    def _counted(self, at: Any) -> tuple[NDArray[np.int64], ...]:
        return self.counts.k[at], self.counts.n[at], self._columns.numbers[at]

    def _lines_of(self, columns: _Columns) -> Iterator[list[int]]:
        """The lines of each configuration."""
        for start, size in zip(columns.starts.tolist(), columns.sizes.tolist(), strict=True):
            yield self._places[start : start + size].tolist()

    @property
    def counts(self) -> Counts:
        """The counts of all configurations."""
        return self._columns.counts

    @property
    def configs(self) -> NDArray[np.int64]:
        """int64, shape (C,): index of each configuration in `JournalLines.keys`."""
        return self._columns.configs

    @property
    def trials(self) -> NDArray[np.int64]:
        """int64, shape (C,): number of proposals that led to each configuration."""
        return self._columns.trials

    @property
    def keys(self) -> list[str]:
        """The keys of all configurations."""
        return [self._lines.keys[config] for config in self.configs.tolist()]

    def values(self, name: str, missing: Any = None) -> list[Any]:
        """A parameter's value in each configuration; `missing` where it has none."""
        return [self._lines.points[config].get(name, missing) for config in self.configs.tolist()]

    @property
    def detailed(self) -> bool:
        """Whether any seed has details: numbers of its own, or a reason why it failed."""
        return bool(self._lines.details) or (self._reasons and bool(self._lines.errors))

    def seeds(self, places: NDArray[np.int64]) -> Seeds:
        """The seeds of some configurations, in columns."""
        chosen = self._columns.at(places)
        lines = [line for lines in self._lines_of(chosen) for line in lines]
        return Seeds(self._lines, lines, np.repeat(np.arange(len(places)), chosen.sizes))

    def chosen(self, places: NDArray[np.int64]) -> ConfigResults:
        """The results at some places."""
        chosen = copy.copy(self)
        chosen._columns, chosen._made = self._columns.at(places), {}
        return chosen

    def __len__(self) -> int:
        return len(self._columns.configs)

    @overload
    def __getitem__(self, place: int) -> ConfigResult: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[ConfigResult, ...]: ...
    def __getitem__(self, place: int | slice) -> ConfigResult | tuple[ConfigResult, ...]:
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        at = range(len(self))[place]
        if at in self._made:
            return self._made[at]
        one = self._columns.at(np.array([at]))
        [lines] = self._lines_of(one)
        point = self._lines.points[int(one.configs[0])]
        epochs = int(one.counts.epochs[0])
        outcome = self._lines.outcome(lines, epochs, reasons=self._reasons)
        result = ConfigResult(point, point.key, outcome, int(one.trials[0]))
        if len(self) <= KEPT_CONFIGS:
            self._made[at] = result
        return result


KEPT_CONFIGS = 20_000
"""Maximum number of configurations whose objects are kept: a million would fill the memory."""


def _columns(lines: Evaluations, evaluations: Evaluations, place: str) -> _Columns:
    """The results of all configurations, by their index in the lines' keys.

    Args:
        lines: that count, those of a configuration together.
        evaluations: all of the search.
        place: the journal, for messages.
    """
    import pandas as pd

    names = [status.label for status in Status]
    frame = pd.DataFrame(
        {
            n: lines.column(n)
            for n in ("config", "count", "epochs", "width", "epochs_solved", *names)
        }
    )
    # What must agree: the budgets that are known, and the rows that seeds were judged on.
    frame["width"] = frame["width"].where(frame["count"] > frame[Status.CRASHED.label])
    frame["epochs"] = frame["epochs"].where(frame["epochs"] >= 0)
    groups = frame.groupby("config")
    least, most = groups[["epochs", "width"]].min(), groups[["epochs", "width"]].max()
    for name, what in (("epochs", "of different epochs"), ("width", "judged on different rows")):
        for config in least.index[least[name] < most[name]]:
            raise InputError(
                f"blocks {what} cannot be merged: "
                f"{least[name][config]:.0f} and {most[name][config]:.0f}",
                place=f"{place}: config {lines.lines.keys[config]}",
            )
    budgets = most["epochs"].fillna(0).to_numpy().astype(np.int64)
    for at in np.flatnonzero(most["epochs"].isna()).tolist():  # no line has an outcome
        given = lines.lines.points[most.index[at]].get("epochs")
        budgets[at] = given if isinstance(given, int) and 0 <= given <= MAX_EPOCHS else 0
    sizes, sums = groups.size().to_numpy().astype(np.int64), groups[["epochs_solved", *names]].sum()
    final = evaluations.where(evaluations.column("final") > 0)
    proposals = pd.Series(final.column("proposal")).groupby(final.column("config"))
    counts = Counts(
        sums[names].to_numpy().astype(np.int32),
        budgets,
        sums["epochs_solved"].to_numpy().astype(np.int64),
    )
    return _Columns(
        most.index.to_numpy().astype(np.int64),
        np.cumsum(sizes) - sizes,
        sizes,
        proposals.nunique().to_numpy().astype(np.int64),
        proposals.min().rank(method="first").to_numpy().astype(np.int64),
        counts,
    )


class Seeds:
    """The seeds of some lines of a journal, in columns, one configuration after the other.

    Args:
        lines: of the journal.
        chosen: the indices of L lines.
        config: int64, shape (L,): to which configuration each belongs.

    Attributes:
        config: int64, shape (S,): the configuration of each seed.
        seed: int64, shape (S,): ascending within a configuration.
        status: uint8, shape (S,): a `Status` for each.
    """

    def __init__(
        self, lines: JournalLines, chosen: Sequence[int], config: NDArray[np.int64]
    ) -> None:
        self._arrays = [lines.seeds(line) for line in chosen]
        self._sizes = np.array([arrays.count for arrays in self._arrays], np.int64)
        first = lines.column("first")[np.array(chosen, np.int64)]
        before = np.cumsum(self._sizes) - self._sizes
        self.config = np.repeat(config, self._sizes)
        self.seed = np.arange(len(self.config)) + np.repeat(first - before, self._sizes)
        self.status: NDArray[np.uint8] = np.frombuffer(self._bytes("status"), "u1")

    def _bytes(self, array: SeedArray) -> bytes:
        return b"".join([arrays.bytes_of(array) for arrays in self._arrays])

    @property
    def solved_epoch(self) -> NDArray[np.int32]:
        """int32, shape (S,)."""
        return np.frombuffer(self._bytes("solved_epoch"), "<i4")

    @property
    def final_loss(self) -> NDArray[np.float32]:
        """float32, shape (S,)."""
        return np.frombuffer(self._bytes("final_loss"), "<f4")

    def patterns(self) -> tuple[NDArray[np.int32], list[str]]:
        """A code for each seed (any for a crashed one), and the pattern of each code."""
        widths = np.array([arrays.width for arrays in self._arrays], np.int64)
        codes, patterns = np.zeros(self.status.shape, np.int32), list[str]()
        for width in np.unique(widths).tolist():
            mine = widths == width
            bits = b"".join(
                [self._arrays[i].bytes_of("predictions") for i in np.flatnonzero(mine).tolist()]
            )
            own_codes, names = _codes(bits, width)
            codes[np.repeat(mine, self._sizes)] = own_codes + len(patterns)
            patterns += names
        return codes, patterns


def _codes(bits: bytes, width: int) -> tuple[Any, list[str]]:
    """A code for each row of packed bits, and the pattern of each code, in their order."""
    import pyarrow as pa

    if width == 0:
        return 0, [""]
    row = (width + 7) // 8
    rows = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(row), len(bits) // row, [None, pa.py_buffer(bits)]
    )
    encoded = rows.dictionary_encode()
    known = np.frombuffer(b"".join(encoded.dictionary.to_pylist()), np.uint8).reshape(-1, row)
    order = np.lexsort(known.T[::-1])
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    texts = np.unpackbits(known[order], axis=1, count=width) + np.uint8(ord("0"))
    return place[encoded.indices.to_numpy()], [text.tobytes().decode() for text in texts]


SEED_ROWS = 1 << 18
"""Rows of a table of seeds that are in memory at a time."""

REASON = "reason"
"""The last column: why a seed failed."""


def number_names(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """Names of the numbers in some outcomes, in the order of their first use."""
    return tuple({name: None for outcome in outcomes for name in outcome.details.values})


def reported(outcomes: Iterable[Outcome], name: str) -> NDArray[np.float64]:
    """float64, shape (S,): a number of all seeds that have it."""
    known = (outcome.details.values.get(name, np.empty(0)) for outcome in outcomes)
    return np.concatenate([np.empty(0), *known])


REPORTS = "reports"
"""The number of a seed's reports."""

STEPS = (
    *("step", "env_steps", "timesteps", "num_timesteps", "total_timesteps", "frames"),
    *("epoch", "iteration", "episode"),
)
"""Names of numbers that count the progress of a seed that reports."""


def measured_names(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """`number_names` without those that only count the progress of seeds: axes, not results."""
    names = number_names(outcomes)
    axes = (REPORTS, *STEPS) if REPORTS in names else ()
    return tuple(name for name in names if name not in axes)


def free_name(
    name: str, taken: Collection[str], prefix: str = "value_", endings: Sequence[str] = ("",)
) -> str:
    """Prefix a name until none of its endings makes a taken name."""
    while any(f"{name}{ending}" in taken for ending in endings):
        name = f"{prefix}{name}"
    return name


def seed_tables(results: ConfigResults, rows: int = SEED_ROWS) -> Iterator[pa.Table]:
    """One row for each configuration (best first) and seed (ascending), as Arrow tables.

    Columns: `key` and `status` and `pattern` (strings, dictionary-encoded), `seed` (int64),
    `solved` (bool), `solved_epoch` (int32, null where not solved), `final_loss` (float32, NaN if
    diverged or crashed). `pattern` is one 0 or 1 for each judged row, null if crashed. Then a
    float64 column for each number of a user's own trainer (NaN where a seed has none), and `reason`
    where any seed has one.

    Args:
        results: of the configurations.
        rows: at most so many in one table, but at least one configuration. There is at least one
            table; each has its own dictionaries.
    """
    import pyarrow as pa

    outcomes = [result.outcome for result in results] if results.detailed else []
    names, keys = number_names(outcomes), results.keys
    reasons = any(outcome.details.failed for outcome in outcomes)
    ends = np.cumsum(results.counts.n)
    start = 0
    while start < max(1, len(results)):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + rows, "right")))
        part = results.seeds(np.arange(start, min(stop, len(results))))
        columns = _seed_columns(part, keys[start:stop])
        for name in names:
            parts = [o.details.values.get(name, np.full(o.n, np.nan)) for o in outcomes[start:stop]]
            columns[as_utf8(free_name(name, {*columns, REASON}))] = np.concatenate(parts)
        if reasons:
            columns[REASON] = _reasons(outcomes[start:stop])
        yield pa.table(columns)
        start = stop


def _reasons(outcomes: Iterable[Outcome]) -> pa.Array:
    import pyarrow as pa

    reasons = [why for o in outcomes for why in map(o.details.failed.get, o.seeds.tolist())]
    texts = [None if why is None else as_utf8(why) for why in reasons]
    return pa.array(texts, pa.string()).dictionary_encode()


def _seed_columns(seeds: Seeds, keys: Sequence[str]) -> dict[str, Any]:
    import pyarrow as pa

    def named(codes: NDArray[Any], names: Sequence[str], **more: Any) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes, **more), pa.array(names, pa.string()))

    solved, crashed = seeds.status == Status.SOLVED, seeds.status == Status.CRASHED
    codes, patterns = seeds.patterns()
    epochs = seeds.solved_epoch
    return {
        "key": named(seeds.config.astype(np.int32), keys),
        "seed": pa.array(seeds.seed, pa.int64()),
        "solved": pa.array(solved),
        "status": named(seeds.status.astype(np.int8), [status.label for status in Status]),
        "solved_epoch": pa.array(epochs, pa.int32(), mask=~solved | (epochs == 0)),
        "final_loss": pa.array(seeds.final_loss, pa.float32()),
        "pattern": named(codes, patterns, mask=crashed),
    }


def as_utf8(text: str) -> str:
    """The text, with what UTF-8 cannot encode escaped."""
    # A value may have a lone surrogate, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Score:
    """The number of a user's own trainer that tables show beside k / n.

    Attributes:
        name: its name.
        maximize: whether more is better.
    """

    name: str
    maximize: bool

    @property
    def worst(self) -> str:
        """The statistic of unlucky seeds: the worse decile."""
        return "q10" if self.maximize else "q90"

    @property
    def columns(self) -> tuple[str, str]:
        """The columns of table.csv with the median and the worse decile."""
        return f"{self.name}_median", f"{self.name}_{self.worst}"

    def of(self, outcome: Outcome) -> tuple[float, float]:
        """Median and worse decile over the seeds with a finite number; NaN without any."""
        found = summary(outcome.details.values.get(self.name, np.empty(0)))
        return found["median"], found[self.worst]


def score_of(
    objectives: Sequence[Objective], outcomes: Sequence[Outcome], rule: Rule | None = None
) -> Score | None:
    """The number that a rule judges or an objective summarizes; otherwise the first of outcomes."""
    for objective in (ties_of(objectives), *objectives):
        if objective is not None and objective.number is not None:
            return Score(objective.number, objective.maximize)
    names = measured_names(outcomes)
    if not names:
        return None
    name = next((one for one in (rule.names if rule else ()) if one in names), names[0])
    return Score(name, larger_is_better(name, [rule], reported(outcomes, name)))


def front_of(
    results: ConfigResults, objectives: Sequence[Objective], full: int
) -> NDArray[np.bool_]:
    """The Pareto front: configurations that no other one dominates in point estimates.

    The estimates are k / n, ERT and the parameters' values. Intervals would leave nobody dominated:
    nearly all of them overlap. Only configurations with the full seeds are compared: a stopped one
    may have been lucky on its few seeds.

    Args:
        results: of C configurations.
        objectives: of the search.
        full: the full number of seeds.

    Returns:
        bool, shape (C,).
    """
    for objective in objectives:
        if objective.is_parameter:
            for key, value in zip(results.keys, results.values(objective.name), strict=True):
                if not is_number(value):
                    raise InputError(
                        f"config {key} has no number of that name", field=objective.name
                    )
    is_on_front = results.counts.n >= full
    if is_on_front.any():
        compared = (results[i] for i in np.flatnonzero(is_on_front).tolist())
        is_on_front[is_on_front] = front(
            [estimates(objectives, r.point, summary_of(r.outcome, objectives)) for r in compared],
            objectives,
        )
    return is_on_front
