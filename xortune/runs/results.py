"""What a run's configurations came to: counts by provenance, tables, the Pareto front."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.counts import wilson
from xortune.core.errors import InputError
from xortune.core.outcome import NO_DETAILS, Outcome, Status
from xortune.core.point import Point
from xortune.racing.objectives import (
    Numbers,
    estimates,
    front,
    numbers_in,
    seen_of,
    summed,
    summed_interval,
    summed_only,
    ties_of,
)
from xortune.runs.evaluation import MAX_EPOCHS, Evaluation, stacked
from xortune.spaces.model import MEASURED, SUCCESS_RATE, Objective, is_number
from xortune.stats.numbers import STATISTICS, finite, named_statistic, summary

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


# -------------------------------------------------------------------------------------------------
# Seeds of one config that may be counted together: those that one version made.
#
# What makes a block (engine, versions, trainer; see `runs.sessions`) may change within a run.
# Seeds that two versions made are no sample of one rate, so each version's are counted by
# themselves, and one version's are the config's: those of the version with the most seeds, and of
# equal ones of the one with the lowest seed. That depends on no order in which blocks came.


@dataclass(slots=True)
class Count:
    """Results of a config, or of a part of its seeds.

    Attributes:
        successes: seeds solved.
        n: seeds; crashed ones are failures.
        timed: epochs spent by all seeds with an outcome.
        crashed: seeds without one.
        budget: epochs that a seed may take; 0 as long as there is no outcome.
        numbers: of each seed those that are looked for, NaN where it failed: one tuple for each.
    """

    successes: int = 0
    n: int = 0
    timed: int = 0
    crashed: int = 0
    budget: int = 0
    numbers: tuple[tuple[float, ...], ...] = ()

    def add(self, more: Count) -> None:
        """Take in more seeds."""
        self.successes += more.successes
        self.n += more.n
        self.timed += more.timed
        self.crashed += more.crashed
        self.budget = max(self.budget, more.budget)
        if more.numbers:
            pairs = zip(self.numbers, more.numbers, strict=True)
            self.numbers = tuple(a + b for a, b in pairs) if self.numbers else more.numbers

    @property
    def spent(self) -> int:
        """Epochs of all seeds, those not solved at the full budget."""
        return self.timed + self.crashed * self.budget


@dataclass(slots=True)
class ProvenanceGroups:
    """Counts of a config, those of each version by themselves.

    Attributes:
        made: digest of the version that counts.
        first: its lowest seed.
        counted: what counts.
        others: lowest seed and count of each other version; None as long as there is none.
    """

    made: str = ""
    first: int = 0
    counted: Count = field(default_factory=Count)
    others: dict[str, tuple[int, Count]] | None = None

    def add(self, made: str, first: int, more: Count) -> None:
        """Take in seeds, of which `first` is the lowest, that one version made."""
        if not self.counted.n:
            self.made, self.first = made, first
        if made == self.made:
            self.first = min(self.first, first)
            self.counted.add(more)
            return
        others = self.others = self.others or {}
        lowest, count = others.get(made, (first, Count()))
        lowest = min(lowest, first)
        count.add(more)
        if (count.n, -lowest) <= (self.counted.n, -self.first):
            others[made] = lowest, count
            return
        others.pop(made, None)
        others[self.made] = self.first, self.counted
        self.made, self.first, self.counted = made, lowest, count

    def join(self, more: ProvenanceGroups) -> bool:
        """Take in all of another; whether another version counts from here on."""
        before = self.made if self.counted.n else None
        for made, first, count in more.parts():
            self.add(made, first, count)
        return before is not None and before != self.made

    def parts(self) -> Iterator[tuple[str, int, Count]]:
        """Version, lowest seed and count of each, the one that counts first."""
        if self.counted.n:
            yield self.made, self.first, self.counted
        for made, (first, count) in (self.others or {}).items():
            yield made, first, count

    @property
    def aside(self) -> int:
        """Seeds that do not count."""
        return sum(count.n for _, count in (self.others or {}).values())


def by_provenance(
    evaluations: Sequence[Evaluation], first: str
) -> tuple[dict[str, list[Evaluation]], tuple[Evaluation, ...]]:
    """For each config's key its final blocks that count, and the final blocks that do not.

    Args:
        evaluations: of the search.
        first: what lines without a digest stand for; see `runs.sessions.first_made`.
    """
    blocks: dict[str, list[Evaluation]] = {}
    made: set[str | None] = set()
    for evaluation in evaluations:
        if evaluation.final:
            blocks.setdefault(evaluation.block.point.key, []).append(evaluation)
            made.add(evaluation.made)
    if len(made) < 2:
        return blocks, ()
    aside: list[Evaluation] = []
    for key, found in blocks.items():
        apart = ProvenanceGroups()
        for e in found:
            apart.add(e.made or first, e.block.first, Count(n=e.block.count))
        aside += [e for e in found if (e.made or first) != apart.made]
        blocks[key] = [e for e in found if (e.made or first) == apart.made]
    return blocks, tuple(aside)


def aside_rows(aside: Iterable[Evaluation], first: str) -> Iterator[dict[str, Any]]:
    """For the manifest: of each config what is not counted, by what made it."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for evaluation in aside:
        key, made = evaluation.block.point.key, evaluation.made or first
        row = rows.setdefault((key, made), {"key": key, "made": made, "k": 0, "n": 0})
        row["n"] += evaluation.block.count
        row["k"] += 0 if evaluation.outcome is None else evaluation.outcome.successes
    return iter(rows.values())


# -------------------------------------------------------------------------------------------------
# The ladder of seeds that a run's configurations climb.


def rungs_of(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """The ladder that a run's manifest notes; none if it does not."""
    ladder = manifest.get("ladder")
    if not isinstance(ladder, Sequence):
        return ()
    return tuple(rung for rung in ladder if isinstance(rung, int))


# -------------------------------------------------------------------------------------------------
# Numbers and reasons of seeds as columns: of a trainer of the user's own; others have none.

REASON = "reason"


@dataclass(frozen=True)
class More:
    """What some outcomes have beside what all have.

    Attributes:
        names: of their numbers, in the order in which they are met.
        reasons: whether a seed has a reason why it failed.
    """

    names: tuple[str, ...] = ()
    reasons: bool = False


NOTHING_MORE = More()


def more_of(outcomes: Sequence[Outcome]) -> More:
    """What they have."""
    detailed = [o.details for o in outcomes if o.details is not NO_DETAILS]
    if not detailed:
        return NOTHING_MORE
    names = {name: None for details in detailed for name in details.values}
    return More(tuple(names), any(details.failed for details in detailed))


def seed_columns(
    outcomes: Sequence[Outcome], more: More, taken: Collection[str]
) -> dict[str, NDArray[Any] | list[str | None]]:
    """A float64 column for each number (NaN where a seed has none), then `reason` (or None).

    Args:
        outcomes: whose seeds they are, in this order.
        more: what to make; a table that is made in parts has the same columns in each.
        taken: names of other columns; a number of that name is `value_NAME`.
    """
    columns: dict[str, NDArray[Any] | list[str | None]] = {}
    for name in more.names:
        parts = [o.details.values.get(name, np.full(o.n, np.nan)) for o in outcomes]
        column = _free(name, {*taken, *columns, REASON})
        columns[column] = np.concatenate([np.empty(0), *parts])
    if more.reasons:
        columns[REASON] = [
            reason for o in outcomes for reason in map(o.details.failed.get, o.seeds.tolist())
        ]
    return columns


def config_columns(outcomes: Sequence[Outcome], taken: Collection[str]) -> dict[str, NDArray[Any]]:
    """For each number NAME_n, the seeds that have it, and NAME_mean and so on; see `STATISTICS`.

    Args:
        outcomes: of the configs, in this order.
        taken: names of other columns.
    """
    columns: dict[str, NDArray[Any]] = {}
    for name in more_of(outcomes).names:
        known = [finite(o.details.values.get(name, np.empty(0))) for o in outcomes]
        found = [summary(numbers) for numbers in known]
        endings = ("n", *STATISTICS)
        base = name
        while any(f"{base}_{ending}" in {*taken, *columns} for ending in endings):
            base = f"value_{base}"
        columns[f"{base}_n"] = np.array([numbers.size for numbers in known], np.int64)
        for ending in STATISTICS:
            columns[f"{base}_{ending}"] = np.array([one[ending] for one in found])
    return columns


def objective_columns(
    outcomes: Sequence[Outcome], objective: Objective, taken: Collection[str]
) -> dict[str, NDArray[Any]]:
    """`objective`, of all seeds, with `objective_low` and `objective_high`, its 95 % interval.

    Empty where failed seeds decide it, and an end of the interval also where the seeds are too few
    for one; see `numbers.interval_of_all`.

    Args:
        outcomes: of the configs, in this order.
        objective: one with a number.
        taken: names of other columns.
    """
    rows = np.full((len(outcomes), 3), np.nan)
    for row, outcome in zip(rows, outcomes, strict=True):
        numbers = numbers_in(outcome, objective.number or "")
        row[0] = summed(objective, numbers)
        row[1:] = summed_interval(objective, numbers) or (np.nan, np.nan)
    rows[np.isinf(rows)] = np.nan
    base = "objective"
    while any(f"{base}{ending}" in taken for ending in ("", "_low", "_high")):
        base = f"value_{base}"
    return {f"{base}{ending}": rows[:, i] for i, ending in enumerate(("", "_low", "_high"))}


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"value_{name}"
    return name


# -------------------------------------------------------------------------------------------------
# The tables of a run as frames: one row per config, one row per config and seed.

PART, SEED_ROWS = 10_000, 1 << 20
"""Configs, and rows of seeds, of which arrays are in memory at once."""

FAILURES = tuple(status for status in Status if status != Status.SOLVED)

CONFIG_COLUMNS = (
    *("key", "k", "n", "rate", "low", "high", "epochs_to_solve", "trials"),
    *(status.label for status in FAILURES),
)
"""What follows the parameters in table.csv; the last ones count the seeds that failed so."""


FRONT = "front"
"""The last column, where there are several objectives."""


def column_names(parameters: Sequence[str], *, several: bool = False) -> dict[str, str]:
    """The column of each parameter: its name, or `param_NAME` where that is a column of ours.

    Args:
        parameters: their names.
        several: whether there is a column `FRONT`.
    """
    ours = (*CONFIG_COLUMNS, FRONT) if several else CONFIG_COLUMNS
    taken = set(ours) | set(parameters)
    names = {}
    for name in parameters:
        column = name
        if name in ours:
            column = f"param_{name}"
            while column in taken:
                column = f"param_{column}"
            taken.add(column)
        names[name] = _text(column)
    return names


def config_table(
    results: Sequence[ConfigResult],
    parameters: Sequence[str],
    front: NDArray[np.bool_] | None = None,
    objectives: Sequence[Objective] = (),
) -> pd.DataFrame:
    """One row for each config, in the order given.

    Columns: the parameters (empty where a config does not have one, or has null), then
    `CONFIG_COLUMNS`. `low` and `high` are the 95 % Wilson interval of `rate` = k / n;
    `epochs_to_solve` is ERT, empty without a success. Where there are several objectives, the last
    column is `FRONT`: whether the config is on the Pareto front (see `Run.front`). Where a number
    of a user's own trainer was looked for, its columns come last: see `objective_columns`.
    """
    import pandas as pd

    outcomes = [result.outcome for result in results]
    k = np.array([outcome.successes for outcome in outcomes], dtype=np.int64)
    n = np.array([outcome.n for outcome in outcomes], dtype=np.int64)
    low, high = wilson(k, n)
    given = [result.point.as_dict() for result in results]
    columns: dict[str, Any] = {
        column: _column([point.get(name) for point in given])
        for name, column in column_names(parameters, several=front is not None).items()
    }
    columns |= {
        "key": _column([result.key for result in results]),
        "k": k,
        "n": n,
        "rate": k / n,
        "low": low,
        "high": high,
        "epochs_to_solve": epochs_to_solve(outcomes),
        "trials": np.array([result.trials for result in results], dtype=np.int64),
    }
    counts = status_counts(outcomes)
    columns |= {status.label: counts[:, status] for status in FAILURES}
    told = config_columns(outcomes, {*columns, FRONT})
    columns |= {_text(name): numbers for name, numbers in told.items()}
    if (looked_for := summed_only(objectives)) is not None:
        columns |= objective_columns(outcomes, looked_for, columns)
    if front is not None:
        columns[FRONT] = front
    return pd.DataFrame(columns)


def epochs_to_solve(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """float64, shape (C,): `Outcome.epochs_to_solve` of each, NaN without a success."""
    found = [_epochs_to_solve(part) for part in _parts(outcomes)]
    return np.concatenate([np.empty(0), *found])


def _epochs_to_solve(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    stack = stacked(outcomes)
    if stack is None:
        status, epochs = (_join_of(outcomes, name) for name in ("status", "solved_epoch"))
        starts, n = _rows(outcomes)
        solved = status == int(Status.SOLVED)
        k = np.add.reduceat(solved, starts, dtype=np.int64)
        spent = np.add.reduceat(np.where(solved, epochs, 0), starts, dtype=np.int64)
    else:
        solved = stack.status == int(Status.SOLVED)
        k, n = solved.sum(axis=1), np.full(len(outcomes), solved.shape[1])
        spent = np.where(solved, stack.solved_epoch, 0).sum(axis=1, dtype=np.int64)
    spent += np.array([o.epochs for o in outcomes], dtype=np.int64) * (n - k)
    counted = np.array([o.epochs > 0 for o in outcomes])  # else nobody counts epochs
    return np.where((k > 0) & counted, spent / np.maximum(k, 1), np.nan)


def _parts(outcomes: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    """Some at a time: what is made of all of their seeds at once is not to fill the memory."""
    return (outcomes[at : at + PART] for at in range(0, len(outcomes), PART))


def _rows(outcomes: Sequence[Outcome]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the seeds of each begin among those of all, and how many they are."""
    sizes = np.array([o.n for o in outcomes], dtype=np.int64)
    return np.cumsum(sizes) - sizes, sizes


def status_counts(outcomes: Sequence[Outcome]) -> NDArray[np.int64]:
    """int64, shape (C, statuses): how many seeds of each outcome ended in each `Status`."""
    found = [_status_counts(part) for part in _parts(outcomes)]
    return np.concatenate([np.empty((0, len(Status)), np.int64), *found])


def _status_counts(outcomes: Sequence[Outcome]) -> NDArray[np.int64]:
    kinds = len(Status)
    stack = stacked(outcomes)
    if stack is not None:
        return np.stack([(stack.status == kind).sum(axis=1) for kind in range(kinds)], axis=1)
    rows = np.repeat(np.arange(len(outcomes)), [o.n for o in outcomes])
    cells = rows * kinds + _join_of(outcomes, "status")
    return np.bincount(cells, minlength=len(outcomes) * kinds).reshape(-1, kinds)


def array_of(outcome: Outcome, name: str) -> NDArray[Any]:
    """An array of an outcome by its name; one that was not made yet is not kept with it.

    Where a million outcomes are looked at once, what they keep would be most of the memory.
    """
    found = None if name in outcome.__dict__ else getattr(type(outcome), name, None)
    made = found.func(outcome) if isinstance(found, cached_property) else getattr(outcome, name)
    array: NDArray[Any] = made
    return array


def seed_table(results: Sequence[ConfigResult], more: More | None = None) -> pa.Table:
    """One row for each config (in the order given) and seed (ascending), as an Arrow table.

    Columns: `key` and `status` and `pattern` (strings, dictionary-encoded), `seed` (int64),
    `solved` (bool), `solved_epoch` (int32, null where not solved), `final_loss` (float32, NaN if
    diverged or crashed). `pattern` is one 0 or 1 for each judged row, null if crashed. Then what a
    trainer of the user's own told: see `runs.results`.

    Args:
        results: of the configs.
        more: the columns that come last; None for those that these results have.
    """
    import pyarrow as pa

    outcomes = [result.outcome for result in results]
    stack = stacked(outcomes)
    if stack is not None:
        status, epochs, losses = (
            a.ravel() for a in (stack.status, stack.solved_epoch, stack.final_loss)
        )
        codes, patterns = _codes(stack.bits.reshape(status.size, -1), stack.width)
    else:
        status, epochs, losses = (
            _join_of(outcomes, name) for name in ("status", "solved_epoch", "final_loss")
        )
        codes, patterns = _patterns([array_of(o, "predictions") for o in outcomes])
    solved = status == Status.SOLVED
    sizes = np.array([o.n for o in outcomes], dtype=np.int64)
    keys = np.repeat(np.arange(len(outcomes), dtype=np.int32), sizes)
    labels = pa.array([s.label for s in Status], pa.string())
    crashed = status == Status.CRASHED
    columns: dict[str, Any] = {
        "key": pa.DictionaryArray.from_arrays(
            pa.array(keys), pa.array([r.key for r in results], pa.string())
        ),
        "seed": pa.array(_join([o.seeds for o in outcomes], np.int64), pa.int64()),
        "solved": pa.array(solved),
        "status": pa.DictionaryArray.from_arrays(pa.array(status.astype(np.int8)), labels),
        "solved_epoch": pa.array(epochs, mask=~solved | (epochs == 0)),
        "final_loss": pa.array(losses),
        "pattern": pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=crashed), pa.array(patterns, pa.string())
        ),
    }
    found = seed_columns(outcomes, more_of(outcomes) if more is None else more, columns)
    for name, told in found.items():
        if isinstance(told, list):
            reasons = [None if reason is None else _text(reason) for reason in told]
            columns[name] = pa.array(reasons, pa.string()).dictionary_encode()
        else:
            columns[_text(name)] = told
    return pa.table(columns)


def seed_tables(results: Sequence[ConfigResult], rows: int = SEED_ROWS) -> Iterator[pa.Table]:
    """`seed_table` in parts of at most so many rows, but of one config at least.

    Each part has dictionaries of its own. There is one part at least.
    """
    more = more_of([result.outcome for result in results])
    start = count = 0
    for stop, result in enumerate(results):
        if count and count + result.outcome.n > rows:
            yield seed_table(results[start:stop], more)
            start, count = stop, 0
        count += result.outcome.n
    yield seed_table(results[start:], more)


def seed_frame(table: pa.Table) -> pd.DataFrame:
    """`seed_table` in pandas; strings are categories, `solved_epoch` is nullable."""
    import pandas as pd

    frame: pd.DataFrame = table.drop_columns(["solved_epoch"]).to_pandas()
    epochs = table["solved_epoch"].to_pandas(
        types_mapper={table.schema.field("solved_epoch").type: pd.Int32Dtype()}.get
    )
    frame.insert(table.schema.get_field_index("solved_epoch"), "solved_epoch", epochs)
    return frame


def _join_of(outcomes: Sequence[Outcome], name: str) -> Any:
    kinds = {"status": np.uint8, "solved_epoch": np.int32, "final_loss": np.float32}
    return _join([array_of(outcome, name) for outcome in outcomes], kinds[name])


def _join(arrays: list[Any], dtype: Any) -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def _patterns(predictions: list[Any]) -> tuple[Any, list[str]]:
    """A code for each seed and the pattern of each code, without a loop over the seeds."""
    shapes = np.array([p.shape for p in predictions], dtype=np.int64).reshape(-1, 2)
    widths = np.repeat(shapes[:, 1], shapes[:, 0])
    codes = np.zeros(widths.shape, dtype=np.int32)
    patterns: list[str] = []
    for width in sorted({p.shape[1] for p in predictions}):
        rows = np.concatenate([p for p in predictions if p.shape[1] == width])
        inverse, found = _codes(np.packbits(rows, axis=1), width)
        codes[widths == width] = inverse + len(patterns)
        patterns += found
    return codes, patterns


def _codes(packed: NDArray[np.uint8], width: int) -> tuple[Any, list[str]]:
    """A code for each row of packed bits, and the pattern of each code."""
    if width == 0:
        return np.zeros(packed.shape[0], np.int32), [""]
    packed = np.ascontiguousarray(packed)
    if packed.shape[1] == 1:  # 256 patterns at most: to count is quicker than to sort
        present = np.bincount(packed[:, 0], minlength=256) > 0
        unique = np.flatnonzero(present).astype(np.uint8)
        inverse = (np.cumsum(present, dtype=np.int32) - np.int32(1))[packed[:, 0]]
    else:
        whole = packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
        unique, inverse = np.unique(whole, return_inverse=True)
    bits = np.unpackbits(unique.view(np.uint8).reshape(len(unique), -1), axis=1, count=width)
    found = [(row + np.uint8(ord("0"))).tobytes().decode() for row in bits]
    return inverse.astype(np.int32, copy=False), found


def _column(values: list[Any]) -> Any:
    """The narrowest type that holds all values exactly; mixed ones become text."""
    import pandas as pd

    present = [value for value in values if value is not None]
    missing = len(present) < len(values)
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return pd.array(values, dtype="boolean") if missing else np.array(values, dtype=np.bool_)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in present):
        return pd.array(values, dtype="Int64") if missing else np.array(values, dtype=np.int64)
    if kinds and kinds <= {int, float} and all(_exact(value) for value in present):
        return np.array(values, dtype=np.float64)
    texts = [
        None if v is None else _text(v) if isinstance(v, str) else json.dumps(v) for v in values
    ]
    return pd.Series(texts) if present else pd.Series(texts, dtype=object)


def _exact(value: float) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _text(text: str) -> str:
    # A lone surrogate is a legal value and no legal UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


# -------------------------------------------------------------------------------------------------
# What a run's configurations came to: all blocks of each that may be counted together, as one.

Criterion: TypeAlias = Callable[[Sequence[int]], Sequence[Any]]
"""From places of configurations to a value for each; the lower value comes first."""


@dataclass(frozen=True)
class ConfigResult:
    """One configuration and all that it was trained for.

    Attributes:
        point: in its trainer's normal form.
        key: its stable key.
        outcome: all completed blocks as one, seeds ascending; the seeds of a block that finally
            produced nothing are in it as crashed, so that they count as not solved. All are made by
            the same engine, versions and trainer: see `Run.set_aside`.
        trials: how many distinct proposals led to it.
    """

    point: Point
    key: str
    outcome: Outcome
    trials: int


def results_of(
    blocks: Mapping[str, list[Evaluation]],
    aside: Sequence[Evaluation],
    *,
    rungs: tuple[int, ...],
    place: str,
    objectives: Sequence[Objective] = (),
    reasons: bool = False,
) -> tuple[ConfigResult, ...]:
    """One result for each config, in the order of `Run.results`.

    Args:
        blocks: for each config's key those that count; see `runs.results.by_provenance`.
        aside: those that do not.
        rungs: of the run's ladder.
        place: the journal, for messages.
        objectives: what was looked for.
        reasons: whether seeds of a block that produced nothing say why, as seeds that failed do.

    Raises:
        InputError: blocks of one config that cannot be one outcome, such as different epochs.
    """
    import numpy as np

    others: dict[str, list[Evaluation]] = {}
    for evaluation in aside:
        others.setdefault(evaluation.block.point.key, []).append(evaluation)
    results = []
    for key, found in blocks.items():
        outcome = _merged(key, found, place, reasons=reasons)
        point = found[0].block.point
        trials = len({e.proposal for e in [*found, *others.get(key, ())]})
        results.append(ConfigResult(point, key, outcome, trials))
    outcomes = [result.outcome for result in results]
    values = [
        criterion(range(len(results)))
        for criterion in criteria(
            [result.key for result in results],
            [outcome.successes for outcome in outcomes],
            [outcome.n for outcome in outcomes],
            lambda name, i: numbers_in(outcomes[i], name),
            lambda places: np.nan_to_num(
                epochs_to_solve([outcomes[i] for i in places]), nan=np.inf
            ).tolist(),
            objectives=objectives,
            rungs=rungs,
        )
    ]
    order = sorted(range(len(results)), key=lambda i: tuple(value[i] for value in values))
    return tuple(results[i] for i in order)


def criteria(
    keys: Sequence[str],
    k: Sequence[int],
    n: Sequence[int],
    numbers: Callable[[str, int], Numbers],
    epochs_to_solve: Criterion,
    *,
    objectives: Sequence[Objective],
    rungs: Sequence[int],
) -> list[Criterion]:
    """What decides which configuration comes first, for the table and for a status alike.

    A later criterion decides where all earlier ones are equal.

    Args:
        keys: of C configurations.
        k: seeds solved of each.
        n: seeds of each.
        numbers: from a name and the place of a configuration to that number of each of its seeds.
        epochs_to_solve: infinite without a success.
        objectives: what was looked for.
        rungs: of the run's ladder.
    """
    counts = sorted(set(zip(k, n, strict=True)))
    ends = wilson([k for k, _ in counts], [n for _, n in counts])[0].tolist()
    low = dict(zip(counts, ends, strict=True))
    found: list[Criterion] = []
    if (objective := summed_only(objectives)) is not None:
        found.append(
            lambda places: [
                _worth(objective, numbers(objective.number or "", i), rungs) for i in places
            ]
        )
    found.append(lambda places: [-low[k[i], n[i]] for i in places])
    if (ties := ties_of(objectives)) is not None:
        found.append(lambda places: [_cost(ties, numbers(ties.number or "", i)) for i in places])
    found.append(epochs_to_solve)
    found.append(lambda places: [keys[i] for i in places])
    return found


def first_of(count: int, criteria: Sequence[Criterion]) -> int:
    """The place of the configuration that comes first, of at least one.

    A criterion is asked only about those that all earlier ones leave.
    """
    left: Sequence[int] = range(count)
    for criterion in criteria:
        if len(left) > 1:
            values = criterion(left)
            least = min(values)
            left = [i for i, value in zip(left, values, strict=True) if value == least]
    return left[0]


def _worth(objective: Objective, numbers: Numbers, rungs: Sequence[int]) -> tuple[int, float]:
    """Those on a higher rung first, then by what was looked for; less is better.

    A few lucky seeds are no match for many: what was measured of the same seeds is compared.
    """
    return -sum(rung <= len(numbers) for rung in rungs), _cost(objective, numbers)


def _cost(objective: Objective, numbers: Numbers) -> float:
    """What was looked for; less is better."""
    value = summed(objective, numbers)
    return -value if objective.maximize else value


def outcomes_of(found: Sequence[Evaluation], *, reasons: bool = False) -> Iterator[Outcome]:
    """What each line of one config came to; the seeds of a block that produced nothing crashed."""
    known = [e.outcome.epochs for e in found if e.outcome is not None]
    budget = found[0].block.point.get("epochs")
    epochs = known[0] if known else 0
    if not known and isinstance(budget, int) and 0 <= budget <= MAX_EPOCHS:
        epochs = budget
    for evaluation in found:
        if evaluation.outcome is None:
            yield Outcome.crashed(
                evaluation.block.seeds, epochs, evaluation.error if reasons else None
            )
        else:
            assert isinstance(evaluation.outcome, Outcome)  # it was read from a journal
            yield evaluation.outcome


def _merged(key: str, found: list[Evaluation], place: str, *, reasons: bool) -> Outcome:
    merged: Outcome | None = None
    try:
        in_order = sorted(found, key=lambda e: e.block.first)
        for outcome in outcomes_of(in_order, reasons=reasons):
            part = replace(outcome, checkpoints=()) if outcome.checkpoints else outcome
            merged = part if merged is None else merged.merge(part)
    except InputError as error:
        raise error.at(f"{place}: config {key}") from None
    assert merged is not None
    return merged


# -------------------------------------------------------------------------------------------------
# The Pareto front of a run: what its manifest says was looked for, and who is not dominated.

DIRECTIONS = {"maximize": True, "minimize": False}


def noted_objectives(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """Objectives as a manifest notes them."""
    words = {more: word for word, more in DIRECTIONS.items()}
    more = ("number", "statistic", "failed")
    return [
        {"name": o.name, "direction": words[o.maximize]}
        | {name: told for name in more if (told := getattr(o, name)) is not None}
        | ({} if o.ties is None else {"ties": noted_objectives([o.ties])[0]})
        for o in objectives
    ]


def objectives_in(manifest: Mapping[str, Any], place: str) -> tuple[Objective, ...]:
    """What a run looked for; the success rate where the manifest says nothing.

    Raises:
        InputError: an entry `objectives` that is damaged.
    """
    noted = manifest.get("objectives")
    if noted is None:
        return (Objective(SUCCESS_RATE, maximize=True),)
    try:
        return tuple(_noted(one) for one in noted)
    except (TypeError, KeyError, ValueError, AttributeError):
        raise InputError(
            f"{noted!r} is not what a search notes",
            field="objectives",
            place=place,
            allowed="a list of {name: .., direction: maximize or minimize}, of numbers with more",
        ) from None


def _noted(one: Mapping[str, Any]) -> Objective:
    name, maximize, failed = str(one["name"]), DIRECTIONS[one["direction"]], one.get("failed")
    if "number" not in one:
        ties = one.get("ties")
        return Objective(name, maximize, ties=None if ties is None else _noted(ties))
    told = named_statistic(name)
    if told != (one["number"], one["statistic"]) or not (failed is None or is_number(failed)):
        raise ValueError(name)
    return Objective(name, maximize, *told, failed=failed)


def full_seeds(results: Sequence[ConfigResult], manifest: Mapping[str, Any]) -> int:
    """The last rung of the ladder; the largest n there is, if the manifest does not say."""
    ladder = manifest.get("ladder")
    if isinstance(ladder, Sequence) and ladder and isinstance(ladder[-1], int):
        return ladder[-1]
    return max((result.outcome.n for result in results), default=0)


def front_of(
    results: Sequence[ConfigResult], objectives: Sequence[Objective], full: int
) -> NDArray[np.bool_]:
    """Who is on the front: not dominated in point estimates, among those with the full seeds.

    The estimates are k / n, ERT and the parameters' values. Intervals decide nothing here: nearly
    all of them overlap, and nobody would be dominated. Who got fewer seeds is not compared: it was
    stopped, and its few seeds may have been lucky.

    Args:
        results: C of them.
        objectives: what was looked for.
        full: seeds that a config must have had.

    Returns:
        bool, shape (C,).

    Raises:
        InputError: an objective that is no number in some config.
    """
    for objective in objectives:
        if objective.name not in MEASURED and objective.number is None:
            other = next((r for r in results if not is_number(r.point.get(objective.name))), None)
            if other is not None:
                raise InputError(
                    f"config {other.key} has no number of that name", field=objective.name
                )
    compared = [i for i, result in enumerate(results) if result.outcome.n >= full]
    values = [_estimates(results[i], objectives) for i in compared]
    found = np.zeros(len(results), np.bool_)
    if compared:
        found[compared] = front(values, objectives)
    return found


def _estimates(result: ConfigResult, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return estimates(objectives, seen_of(result.point, result.outcome, objectives))
