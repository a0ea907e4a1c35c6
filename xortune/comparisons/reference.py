"""A run compared with a published table: read it, match its rows, test which cells differ."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from xortune.core.errors import InputError, check_count, check_type, refuse_unknown
from xortune.core.formats import as_html
from xortune.core.outcome import Outcome, wilson
from xortune.core.point import Point, Value
from xortune.core.tables import ResultsTable, number_of, read_table
from xortune.runs.results import CONFIG_COLUMNS, column_names, config_table
from xortune.runs.run import Run
from xortune.stats.proportions import fisher_tails, fisher_two_sided, holm, unpaired_difference

# -------------------------------------------------------------------------------------------------
# Reading a published table of success counts: recognise its columns, check its values.

Floats: TypeAlias = NDArray[np.float64]

DEFAULT_SEEDS = 100  # seeds of every cell if neither the table nor the user gives their number

COUNTS = ("k", "n", "percent", "rate")
"""What `columns` may name besides parameters: solved seeds, seeds, and k / n in either unit."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "activation": ("activationfunction", "act", "nonlinearity"),
    "loss": ("criterion", "lossfunction", "lossfn", "objective"),
    "optimizer": ("optimiser", "optim", "opt"),
    "lr": ("learnrate", "learningrate", "stepsize"),
    "momentum": (),
    "hidden_dim": ("hidden", "hiddensize", "hiddenunits", "hiddendimension", "nhidden"),
    "epochs": ("epoch", "numepochs", "nepochs"),
    "zero_grad": (),
    "k": ("successes", "correct", "solved", "numcorrect", "numsolved"),
    "n": ("seeds", "trials", "runs", "numseeds", "nseeds"),
    "percent": ("percentcorrect", "percentsolved", "successpercent", "pct"),
    "rate": ("accuracy", "successrate", "solvedrate"),
}
"""Other names in tables, in lower case and without underscores, besides the name itself."""


@dataclass(frozen=True, eq=False)
class Published:
    """A published table.

    Attributes:
        path: the file.
        columns: the column of each parameter that the table has, and of `k`, `n`, `percent` or
            `rate`.
        assumptions: sentences about what the table does not say and was assumed.
        unused: the other columns.
        values: the rows' values of each parameter of `columns`, in `normal` form.
        k: solved seeds, shape (rows,).
        n: seeds, shape (rows,).
        lines: the line of the file on which each row begins.
    """

    path: Path
    columns: Mapping[str, str]
    assumptions: tuple[str, ...]
    unused: tuple[str, ...]
    values: Mapping[str, tuple[Value, ...]]
    k: NDArray[np.int64]
    n: NDArray[np.int64]
    lines: tuple[int, ...]


def read_published(
    path: str | os.PathLike[str],
    parameters: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    seeds: int | None = None,
) -> Published:
    """Read a CSV or TSV file with a header and one row for each cell.

    Args:
        path: UTF-8 text; the delimiter (tab, comma, semicolon, bar) is recognised in the header.
        parameters: names that columns may stand for.
        columns: from a parameter or count (`k`, `n`, `percent`, or `rate`, a fraction or in
            percent) to its column; others are recognised by their names, whatever the case and
            underscores.
        seeds: n of every row; by default the table's own column, else `DEFAULT_SEEDS`, which is
            noted as an assumption.

    Raises:
        InputError: the file cannot be read, or a column or value is not as expected.
    """
    table = read_table(path)
    column_of = _columns(table, parameters, columns or {}, seeds)
    n, assumed_n = _seeds(table, column_of, seeds)
    k, assumed_k = _successes(table, column_of, n)
    mapped = [name for name in parameters if name in column_of]
    values = {name: tuple(table.columns[column_of[name]].read(normal, object)) for name in mapped}
    _refuse_duplicates(table, values)
    return Published(
        path=Path(path),
        columns={name: column_of[name] for name in (*mapped, *COUNTS) if name in column_of},
        assumptions=(*assumed_n, *assumed_k),
        unused=tuple(name for name in table.columns if name not in column_of.values()),
        values=values,
        k=k,
        n=n,
        lines=tuple(table.places),
    )


def normal(value: Any) -> Any:
    """Return a value of a table or a run in a form in which equal values compare equal.

    A text of a finite number becomes a number, so that `1.0` equals `1`; `true` and `false` become
    words in lower case; an empty text, `none` and `null` become None. Case does not matter.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    text = value.strip()
    word = text.lower()
    if word in ("", "none", "null"):
        return None
    if word in ("true", "false"):
        return word
    number = number_of(text)
    if number is None or not math.isfinite(number):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d{1,4000}", text) else number


def _columns(
    table: ResultsTable, parameters: Sequence[str], requested: Mapping[str, str], seeds: int | None
) -> dict[str, str]:
    """Return the column of each parameter and count that the table has, as requested or by name."""
    check_type("columns", requested, Mapping, "a dict of parameters and their columns")
    column_of: dict[str, str] = {}
    names = (*parameters, *COUNTS)
    for name, column in requested.items():
        place = f"--column {name}={column}"
        refuse_unknown(name, names, f"unknown parameter {name!r}", place=place)
        problem = f"{table.source} has no column {column!r}"
        refuse_unknown(column, table.columns, problem, place=place)
        if column in column_of.values():
            problem = f"column {column!r} stands for something else already"
            raise InputError(problem, place=place, fix="map each column once")
        column_of[name] = column
    solved = ("k", "percent", "rate")
    for name in dict.fromkeys(names):
        if name in column_of or (name == "n" and seeds is not None):
            continue
        if name in solved and any(count in column_of for count in solved):
            continue
        if guess := _guessed(table, name, column_of):
            column_of[name] = guess
    if not any(count in column_of for count in solved):
        raise InputError(
            "no column is known to hold the solved seeds",
            place=f"{table.source}:1",
            allowed="a count (k), or a percentage (percent)",
            fix=f"name it: --column k=NAME or --column percent=NAME, of {', '.join(table.columns)}",
        )
    if not any(name in column_of for name in parameters):
        raise InputError(
            "no column is known to be a parameter of the run",
            place=f"{table.source}:1",
            allowed=", ".join(parameters),
            fix=f"name it: --column {parameters[0] if parameters else 'lr'}=NAME",
        )
    return column_of


def _guessed(table: ResultsTable, name: str, column_of: Mapping[str, str]) -> str | None:
    """Return the column with this name or, if there is none, with a synonym of it."""
    free = [column for column in table.columns if column not in column_of.values()]
    own = [column for column in free if _plain(column) == _plain(name)]
    likely = own or [column for column in free if _plain(column) in SYNONYMS.get(name, ())]
    if len(likely) > 1:
        raise InputError(
            f"{' and '.join(likely)} may both be {name}",
            place=f"{table.source}:1",
            fix=f"say which: --column {name}={likely[0]}",
        )
    return likely[0] if likely else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("%", "percent"))


def _seeds(
    table: ResultsTable, column_of: Mapping[str, str], seeds: int | None
) -> tuple[NDArray[np.int64], list[str]]:
    if seeds is not None:
        check_count("reference_seeds", seeds)
        if "n" in column_of:
            raise InputError(
                f"the seeds are given twice: {seeds}, and by column {column_of['n']!r}",
                place="--reference-seeds",
                fix="leave out one of --reference-seeds and --column n=...",
            )
        return np.full(len(table.places), seeds, np.int64), []
    if "n" not in column_of:
        assumed = f"n = {DEFAULT_SEEDS} seeds for each cell (--reference-seeds says otherwise)"
        return np.full(len(table.places), DEFAULT_SEEDS, np.int64), [assumed]
    numbers = _numbers(table, column_of["n"])
    bad = (numbers < 1) | ~_whole(numbers)
    table.refuse(bad, column_of["n"], str, "a whole number, 1 or more")
    return numbers.astype(np.int64), []


def _numbers(table: ResultsTable, column: str) -> Floats:
    numbers = table.columns[column].numbers
    table.refuse(
        ~np.isfinite(numbers),
        column,
        lambda cell: "a missing value" if cell is None else f"{cell!r} is not a number",
        "a finite number",
    )
    return numbers


def _successes(
    table: ResultsTable, column_of: Mapping[str, str], n: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    if "k" in column_of:
        numbers = _numbers(table, column_of["k"])
        bad = (numbers < 0) | (numbers > n) | ~_whole(numbers)
        allowed = "a whole number, 0 or more and at most the number of seeds"
        table.refuse(
            bad, column_of["k"], lambda cell: f"{cell} of {n[bad.argmax()]} seeds", allowed
        )
        return numbers.astype(np.int64), []
    column = column_of.get("percent") or column_of["rate"]
    numbers, whole, assumed = _numbers(table, column), 100.0, []
    if "percent" not in column_of:
        # A percentage of at most 1 would be less than one of 100 seeds: such values are fractions.
        assumed = [f"{column} is a percentage"]
        if numbers.max() <= 1:
            whole = 1.0
            assumed = [f"{column} is a fraction (--column percent={column} says otherwise)"]
    k = numbers * n / whole
    bad = (numbers < 0) | (numbers > whole) | (np.abs(k - np.rint(k)) > 1e-6)
    allowed = f"0 to {whole:g}, and a whole number of seeds"
    table.refuse(bad, column, lambda cell: f"{cell} of {n[bad.argmax()]} seeds", allowed)
    return np.rint(k).astype(np.int64), assumed


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.less(numbers, 2**53) & np.equal(numbers, np.rint(numbers))


def _refuse_duplicates(table: ResultsTable, values: Mapping[str, tuple[Value, ...]]) -> None:
    first: dict[tuple[Value, ...], int] = {}
    for row, cell in enumerate(zip(*values.values(), strict=True)):
        before = first.setdefault(cell, row)
        if before != row:
            shown = ", ".join(f"{name} {v}" for name, v in zip(values, cell, strict=True))
            lines = table.places
            raise InputError(
                f"lines {lines[before]} and {lines[row]} are both {shown}",
                place=f"{table.source}:{lines[row]}",
                fix="leave one out, or map the column that tells them apart: --column NAME=COLUMN",
            )


# -------------------------------------------------------------------------------------------------
# Matching the rows of a published table with the configs of a run.

MOST_LISTED = 8  # values in a message
ABSENT = object()  # the value of a parameter that a config does not have: Adam's momentum


@dataclass(frozen=True, eq=False)
class Matching:
    """Which configs of the run (by position) are which rows of the table (by position).

    Attributes:
        configs, rows: of the same cells, shape (cells,).
        only_configs, only_rows: the unmatched ones, ascending.
        where: the restriction, its values in normal form.
        fixed: parameters that the table does not have, and their value in all `configs`.
    """

    configs: NDArray[np.int64]
    rows: NDArray[np.int64]
    only_configs: NDArray[np.int64]
    only_rows: NDArray[np.int64]
    where: Mapping[str, Value]
    fixed: Mapping[str, Value]


def match_cells(
    points: Mapping[str, Point],
    names: Mapping[str, str],
    published: Published,
    where: Mapping[str, Value],
    run: Path,
) -> Matching:
    """Match the rows of a table with configs; see `compare_published`."""
    mine = pd.DataFrame(
        {
            column: [normal(point.get(name, ABSENT)) for point in points.values()]
            for name, column in names.items()
        },
        dtype=object,
    )
    theirs = pd.DataFrame(published.values, dtype=object)
    restriction = _restriction(where, mine, run)
    chosen = mine[_within(restriction, mine)]
    in_table = {name: value for name, value in restriction.items() if name in theirs}
    rows = theirs[_within(in_table, theirs)]
    if rows.empty:
        raise InputError(
            "no row is within " + ", ".join(f"{n}={_shown(v)}" for n, v in in_table.items()),
            place=str(published.path),
            allowed="; ".join(f"{name}: {_listed(theirs[name])}" for name in in_table),
        )
    cells = {}
    for name, values in published.values.items():
        # A table leaves a parameter empty that a config does not have, or writes 0.
        absent = None if None in values else 0
        cells[name] = [absent if value is ABSENT else value for value in chosen[name]]
    joined = pd.DataFrame(cells, dtype=object).assign(config=chosen.index)
    joined = joined.merge(rows.assign(row=rows.index), on=list(theirs))
    if joined.empty:
        raise _nothing_in_common(published, run, rows, chosen)
    return Matching(
        configs=joined["config"].to_numpy(),
        rows=joined["row"].to_numpy(),
        only_configs=np.setdiff1d(chosen.index, joined["config"]),
        only_rows=np.setdiff1d(rows.index, joined["row"]),
        where=restriction,
        fixed=_fixed(mine.drop(columns=list(theirs)), joined, published),
    )


def _restriction(where: Mapping[str, Value], mine: pd.DataFrame, run: Path) -> dict[str, Value]:
    """Return the restriction in normal form; refuse values that no config of the run has."""
    restriction = {}
    for name, value in where.items():
        place = f"--where {name}={_shown(value)}"
        refuse_unknown(name, map(str, mine), f"unknown parameter {name!r}", place=place)
        restriction[name] = requested = normal(value)
        known = set(mine[name])
        if requested not in known and not (requested is None and ABSENT in known):
            raise InputError(
                f"no config of {run} has it", place=place, allowed=f"{name}: {_listed(known)}"
            )
    return restriction


def _within(restriction: Mapping[str, Value], values: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows have the values of the restriction, or lack the parameter."""
    within = np.ones(len(values), dtype=bool)
    for name, value in restriction.items():
        within &= [cell == value or cell is ABSENT for cell in values[name]]
    return within


def _nothing_in_common(
    published: Published, run: Path, rows: pd.DataFrame, configs: pd.DataFrame
) -> InputError:
    reasons = [
        f"{name} is {_listed(rows[name])} in the table and {_listed(configs[name])} in the run"
        for name in rows
        if not set(rows[name]) & set(configs[name])
    ]
    return InputError(
        f"no row is a config of {run}" + (f": {'; '.join(reasons)}" if reasons else ""),
        place=str(published.path),
        fix="compare it with a run that has the table's cells, or check --column and --where",
    )


def _fixed(unsaid: pd.DataFrame, joined: pd.DataFrame, published: Published) -> dict[str, Value]:
    """Return the values of parameters that the table lacks; refuse matched configs that differ."""
    twice = joined["row"].duplicated(keep=False).to_numpy()
    fixed = {}
    for name in map(str, unsaid):
        matching = unsaid[name].iloc[joined["config"]]
        values = {value for value in matching if value is not ABSENT}
        # Of several configs for one cell, some may lack a parameter that another one has.
        lacking = bool(values) and any(value is ABSENT for value in matching[twice])
        if len(values) > 1 or lacking:
            example = "none" if lacking else _listed(sorted(values, key=_order)[:1])
            raise InputError(
                f"the table has no column for {name}, and the run's configs for its cells have "
                f"{_listed(values | {None} if lacking else values)}",
                place=str(published.path),
                fix=f"say which are meant, such as --where {name}={example}, or name the column: "
                f"--column {name}=NAME",
            )
        fixed[name] = next(iter(values), None)
    if twice.any():  # such as True and "true", which are equal in a table
        line = published.lines[int(joined["row"][twice].iloc[0])]
        raise InputError(
            "several configs of the run match this cell",
            place=f"{published.path}:{line}",
            fix="leave the cell out of the table",
        )
    return fixed


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _shown(value: Any) -> str:
    return "none" if value is None or value is ABSENT else str(value)


def _listed(values: Iterable[Any]) -> str:
    known = sorted({value for value in values if value is not ABSENT}, key=_order)
    more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    return (", ".join(map(_shown, known[:MOST_LISTED])) + more) or "none"


# -------------------------------------------------------------------------------------------------
# How many cells have p < alpha by chance, in a table without any difference. The cells depend on
# each other: all configs share the run's seeds, and a training gives a cell at several epochs.

DRAWS = 2000  # simulated tables without a difference


def solved_seeds(outcomes: Sequence[Outcome]) -> NDArray[np.float32]:
    """Return shape (cells, seeds): 1 for a solved seed, 0 for another, NaN for an untrained one."""
    seeds = np.unique(np.concatenate([outcome.seeds for outcome in outcomes]))
    solved = np.full((len(outcomes), seeds.size), np.nan, np.float32)
    for row, outcome in zip(solved, outcomes, strict=True):
        row[np.searchsorted(seeds, outcome.seeds)] = outcome.solved
    return solved


def looks_fresh(cells: pd.DataFrame, trainings: NDArray[np.int64], epochs: Floats) -> bool:
    """Return whether each of the table's cells seems to have seeds of its own.

    A solved seed mostly stays solved. So counts of the same seeds hardly ever fall with the epochs,
    while counts of fresh seeds do. This compares the falls in the table with those in the run and
    with those expected of fresh seeds.
    """
    order = np.lexsort((epochs, trainings))
    same = np.diff(trainings[order]) == 0
    names = ("k", "n", "reference_k", "reference_n")
    k, n, their_k, their_n = (cells[name].to_numpy(float)[order] for name in names)

    def falls(rates: Floats) -> float:
        return float(np.maximum(rates[:-1] - rates[1:], 0.0)[same].sum())

    pooled = (k + their_k) / (n + their_n)
    variance = pooled * (1 - pooled) / their_n
    spread = np.sqrt(np.maximum(variance[:-1] + variance[1:], 1e-300))
    rise = np.diff(pooled)
    z = rise / spread  # next: the expected fall of a normal variable
    expected = spread * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) - rise * ndtr(-z)
    return falls(their_k / their_n) > (falls(k / n) + float(expected[same].sum())) / 2


def chance_range(
    solved: NDArray[np.floating[Any]],
    their_n: Floats,
    tails: Floats,
    trainings: NDArray[np.int64],
    *,
    fresh: bool,
) -> tuple[int, int]:
    """Return the range of the number of cells with p < alpha if nothing differs.

    It simulates tables. In each, a cell has p < alpha with exactly the probability that Fisher's
    test gives it (`fisher_tails`). The dependence between cells is that of a Gaussian copula with
    the correlations of the run's seeds:

    - within a training at several epochs, after adding half a seed that is always solved and half a
      seed that never is, so that a cell without failures has a correlation too;
    - between trainings, reduced: the correlations of n seeds scatter by 1 / sqrt(n) even if the
      true ones are 0, which adds up over many cells. That part is subtracted.

    The table's cells are taken to depend on each other as the run's do, unless they are `fresh`.

    Args:
        solved: see `solved_seeds`.
        their_n: seeds of the table's cells, shape (cells,).
        tails: see `fisher_tails`, shape (2, cells).
        trainings: equal for cells of one training, shape (cells,).
        fresh: whether each of the table's cells has seeds of its own.

    Returns:
        (low, high): the range whose probability is as near to 95 % as integers allow.
    """
    cells = np.flatnonzero(tails.sum(axis=0) > 0)
    cells = cells[np.argsort(trainings[cells], kind="stable")]
    if not cells.size:
        return 0, 0
    parts = np.split(np.arange(cells.size), np.flatnonzero(np.diff(trainings[cells])) + 1)
    solved, n = solved[cells], np.isfinite(solved[cells]).sum(axis=1)
    low, high = ndtri(tails[:, cells]) * [[1], [-1]]  # p < alpha beyond them
    both = _standardized(solved, np.ones(solved.shape[1]))
    share = _shared_between_trainings(both, _curvature(low) + _curvature(high), parts, n.mean())
    shared = np.where(both.any(axis=1), share, 0.0)[:, None]
    if both.shape[0] < both.shape[1]:  # fewer cells than seeds: a smaller root is equivalent
        both = _root(both @ both.T)
    mine = np.sqrt(their_n[cells] / (n + their_n[cells]))[:, None]  # the run's share of the noise
    ends = np.array([0.0, 1.0])
    weights = np.append(np.ones(solved.shape[1]), [0.5, 0.5])
    rng = np.random.default_rng(0)
    common = rng.standard_normal((2, 1, both.shape[1], DRAWS))
    below_alpha = np.zeros(DRAWS, np.int64)  # cells of each simulated table
    for part in _batches(parts):
        s, m = shared[part], mine[part]
        added = np.broadcast_to(ends, (*part.shape, 2))
        own = _standardized(np.concatenate([solved[part], added], axis=-1), weights)
        root = _root(own @ own.swapaxes(-1, -2))
        noise = rng.standard_normal((2, *part.shape, DRAWS))
        drawn = s * (both[part] @ common) + np.sqrt(1 - s**2) * (root @ noise)
        if fresh:
            drawn[1] = noise[1]
        z = m * drawn[0] + np.sqrt(1 - m**2) * drawn[1]
        below_alpha += ((z < low[part][..., None]) | (z > high[part][..., None])).sum(axis=(0, 1))
    return _central_range(np.bincount(below_alpha) / DRAWS, 0.05)


def _batches(parts: Sequence[NDArray[np.intp]]) -> Iterator[NDArray[np.intp]]:
    """Stack parts of the same size, a few hundred cells at a time: shape (parts, size)."""
    for size in sorted({part.size for part in parts}):
        same = np.array([part for part in parts if part.size == size])
        yield from np.array_split(same, -(-same.size // 500))


def _standardized(solved: NDArray[Any], weights: Floats) -> Floats:
    """Return rows of mean 0 and length 1, whose products are correlations; 0 for constant rows."""
    weights = np.where(np.isnan(solved), 0.0, weights)
    solved = np.nan_to_num(solved)
    mean = (solved * weights).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)
    deviation = (solved - mean) * np.sqrt(weights)
    length = np.sqrt((deviation**2).sum(axis=-1, keepdims=True))
    return np.asarray(deviation / np.where(length > 1e-9, length, np.inf))


def _root(correlations: Floats) -> Floats:
    """Return a matrix that gives independent normal numbers these correlations."""
    values, vectors = np.linalg.eigh(correlations)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


def _curvature(z: Floats) -> Floats:
    """Return how strongly a squared correlation makes events beyond z and -z depend on another."""
    finite = np.where(np.isfinite(z), np.abs(z), 0.0)
    return np.asarray(finite * np.exp(-(finite**2) / 2))


def _shared_between_trainings(
    both: Floats, weights: Floats, parts: Sequence[NDArray[np.intp]], n: float
) -> float:
    """Return the share of a cell's deviation that different trainings have in common, 0 to 1.

    It sums the squared correlations of all pairs of cells of different trainings, as products of
    matrices of seeds, and subtracts those that n seeds show by chance.
    """

    def sums(part: Any) -> NDArray[np.float64]:
        x = both[part] * np.sqrt(weights[part])[:, None]
        product = x @ x.T if x.shape[0] < x.shape[1] else x.T @ x
        return np.array([(product**2).sum(), ((x**2).sum(axis=0) ** 2).sum()])

    seen, by_chance = sums(slice(None)) - sum(sums(part) for part in parts)
    if len(parts) < 2 or seen <= 0 or n < 2:
        return 0.0
    return float(np.clip((seen - by_chance * n / (n - 1)) / seen, 0.0, 1.0) ** 0.25)


def _central_range(mass: Floats, outside: float) -> tuple[int, int]:
    """Return the ends of a distribution of 0, 1, ... after dropping tails of about `outside`."""
    low, high, dropped = 0, mass.size - 1, 0.0
    while low < high:
        rarer = min(mass[low], mass[high])
        if dropped + rarer / 2 > outside:  # dropping it would miss `outside` by more
            break
        dropped += rarer
        low, high = (low + 1, high) if mass[low] < mass[high] else (low, high - 1)
    return low, high


# -------------------------------------------------------------------------------------------------
# The comparison: which cells differ by more than chance, and which values they share.

CELL_COLUMNS = (
    *("key", "k", "n", "rate", "low", "high"),
    *("reference_k", "reference_n", "reference_rate", "reference_low", "reference_high"),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "differs"),
)
"""The columns behind the parameters in comparison.csv."""

GROUP_COLUMNS = (
    *("parameter", "value", "cells", "below_alpha", "expected", "differ", "mean_difference"),
)


@dataclass(frozen=True)
class Summary:
    """How often run and table differ, and how often they would differ by chance.

    Attributes:
        cells: number of cells compared.
        alpha: the level of each test alone, and of all tests together (Holm).
        below_alpha: cells with p < alpha.
        expected: expected cells with p < alpha if no cell differed: the sum of the exact
            probabilities, given each cell's seeds and its successes in run and table together.
        expected_low, expected_high: the range of their number in about 95 % of such tables; see
            `chance_range`.
        trainings: number of trainings; cells of one training differ in `epochs` only.
        reference_fresh: whether each of the table's cells seems to have seeds of its own; see
            `looks_fresh`.
        differ: cells that differ beyond chance: p_holm < alpha.
        smallest_p: of all cells.
    """

    cells: int
    alpha: float
    below_alpha: int
    expected: float
    expected_low: int
    expected_high: int
    trainings: int
    reference_fresh: bool
    differ: int
    smallest_p: float

    @property
    def share(self) -> float:
        """Cells with p < alpha, as a fraction of all."""
        return self.below_alpha / self.cells


@dataclass(frozen=True, eq=False)
class Comparison:
    """A run compared with a published table.

    Attributes:
        run: the run's directory.
        reference: the table as it was read, its columns and assumptions.
        where: the restriction of the run, and of the table where it has the parameter.
        parameters: the columns of all parameters.
        fixed: parameters that the table does not have, and their value in all configs compared.
        cells: one row for each cell compared, smallest p first: `parameters`, `CELL_COLUMNS`.
        only_reference: lines of the table for which the run has no config.
        only_run: keys of the configs for which the table has no row.
        groups: one row for each value of each parameter that has several, with `GROUP_COLUMNS`;
            `mean_difference` is the mean of rate - reference_rate.
        summary: the answer.
    """

    run: Path
    reference: Published
    where: Mapping[str, Value]
    parameters: tuple[str, ...]
    fixed: Mapping[str, Value]
    cells: pd.DataFrame
    only_reference: tuple[int, ...]
    only_run: tuple[str, ...]
    groups: pd.DataFrame
    summary: Summary

    def __repr__(self) -> str:
        summary = self.summary
        return (
            f"Comparison({summary.cells:,} cells of {self.run} beside {self.reference.path}, "
            f"{summary.differ:,} differ)"
        )

    def __str__(self) -> str:
        summary = self.summary
        return (
            f"{summary.cells:,} cells of {self.run} beside {self.reference.path}: "
            f"{summary.differ:,} differ (Fisher's exact test, Holm's correction at "
            f"{summary.alpha:g}); {summary.below_alpha:,} have p < {summary.alpha:g}, by chance "
            f"alone it would be {summary.expected:.1f}."
        )

    def _repr_html_(self) -> str:
        """Show the answer and the cells with the smallest p in a notebook."""
        return as_html(str(self), self.cells)

    @property
    def differing(self) -> pd.DataFrame:
        """The rows of `cells` that differ beyond chance."""
        return self.cells[self.cells["differs"]]


def compare_published(
    run: Run,
    path: str | Path,
    *,
    columns: Mapping[str, str] | None,
    where: Mapping[str, Value] | None,
    reference_seeds: int | None,
    alpha: float,
) -> Comparison:
    """Test each cell of a published table against the config of the run with the same values.

    The arguments are those of `driver.compare.compare`. `where` may also name parameters that the
    table lacks; configs without such a parameter (Adam has no momentum) are kept.

    Raises:
        InputError: what `read_published` refuses, an unknown parameter or value, several configs
            for one cell, or no config for any cell.
    """
    final = run.evaluations.where(run.evaluations.column("final") > 0)
    configs = dict.fromkeys(final.column("config").tolist())
    points = {final.lines.keys[config]: final.lines.point(config) for config in configs}
    if not points:
        raise InputError("no configuration is finished yet", place=str(run.path))
    names = column_names(run.parameters, {*CONFIG_COLUMNS, *CELL_COLUMNS})
    published = read_published(path, list(names.values()), columns=columns, seeds=reference_seeds)
    matching = match_cells(points, names, published, where or {}, run.path)
    keys = list(points)
    matched = [keys[config] for config in matching.configs.tolist()]
    part = replace(run, evaluations=run.evaluations.of_keys(matched))  # computes no other results
    place_of = {key: place for place, key in enumerate(part.results.keys)}
    results = part.results.chosen(np.array([place_of[key] for key in matched]))
    table = config_table(results, run.parameters)
    table = table.set_axis([*names.values(), *table.columns[len(names) :]], axis=1)
    cells, tails = _tested(table, published, matching.rows, alpha)
    cells = cells[[*names.values(), *CELL_COLUMNS]]
    seeds = solved_seeds([part.results[place_of[key]].outcome for key in cells["key"]])
    return Comparison(
        run=run.path,
        reference=published,
        where=matching.where,
        parameters=tuple(names.values()),
        fixed=matching.fixed,
        cells=cells,
        only_reference=tuple(published.lines[row] for row in matching.only_rows.tolist()),
        only_run=tuple(keys[config] for config in matching.only_configs.tolist()),
        groups=_groups(cells, tails.sum(axis=0), list(published.values), alpha),
        summary=_summary(cells, tails, seeds, names, alpha),
    )


def _tested(
    table: pd.DataFrame, published: Published, row: NDArray[np.int64], alpha: float
) -> tuple[pd.DataFrame, Floats]:
    """Return the cells, smallest p first, and the `fisher_tails` of each."""
    k, n = table["k"].to_numpy(), table["n"].to_numpy()
    reference_k, reference_n = published.k[row], published.n[row]
    low, high = wilson(reference_k, reference_n)
    least, most = unpaired_difference(k, n, reference_k, reference_n)
    p = fisher_two_sided(k, n, reference_k, reference_n)
    adjusted = holm(p)
    tested = table.assign(
        reference_k=reference_k,
        reference_n=reference_n,
        reference_rate=reference_k / reference_n,
        reference_low=low,
        reference_high=high,
        difference=k / n - reference_k / reference_n,
        difference_low=least,
        difference_high=most,
        p=p,
        p_holm=adjusted,
        differs=adjusted < alpha,
    )
    order = np.lexsort((table["key"].to_numpy().astype(str), p))
    tails = fisher_tails(k + reference_k, n, reference_n, alpha=alpha)
    return tested.iloc[order].reset_index(drop=True), tails[:, order]


def _summary(
    cells: pd.DataFrame,
    tails: Floats,
    seeds: NDArray[np.float32],
    names: Mapping[str, str],
    alpha: float,
) -> Summary:
    trainings = np.zeros(len(cells), np.int64)  # equal for cells that differ only in the epochs
    if others := [column for name, column in names.items() if name != "epochs"]:
        groups = cells.groupby(others, dropna=False, sort=False)
        trainings = np.asarray(groups.ngroup(), np.int64)
    epochs = cells[names["epochs"]].to_numpy(float) if "epochs" in names else np.zeros(len(cells))
    fresh = looks_fresh(cells, trainings, epochs)
    their_n = cells["reference_n"].to_numpy()
    low, high = chance_range(seeds, their_n, tails, trainings, fresh=fresh)
    return Summary(
        cells=len(cells),
        alpha=alpha,
        below_alpha=int((cells["p"] < alpha).sum()),
        expected=float(tails.sum()),
        expected_low=low,
        expected_high=high,
        trainings=int(np.unique(trainings).size),
        reference_fresh=fresh,
        differ=int(cells["differs"].sum()),
        smallest_p=float(cells["p"].min()),
    )


def _groups(
    cells: pd.DataFrame, probability: Floats, parameters: Sequence[str], alpha: float
) -> pd.DataFrame:
    """Return a row for each value of each parameter, the largest share of p < alpha first."""
    counted = cells[["differs", "difference"]].assign(
        below_alpha=cells["p"] < alpha, expected=probability
    )
    parts = []
    for name in parameters:
        if cells[name].nunique(dropna=False) < 2:
            continue
        grouped = counted.groupby(cells[name], dropna=False, sort=True)
        part = grouped.agg(
            cells=("differs", "size"),
            below_alpha=("below_alpha", "sum"),
            expected=("expected", "sum"),
            differ=("differs", "sum"),
            mean_difference=("difference", "mean"),
        )
        part = part.iloc[np.argsort(-part["below_alpha"] / part["cells"], kind="stable")]
        part = part.reset_index(names="value").astype({"value": object})
        parts.append(part.assign(parameter=name)[list(GROUP_COLUMNS)])
    if not parts:
        return pd.DataFrame(columns=list(GROUP_COLUMNS))
    return pd.concat(parts, ignore_index=True)
