"""A run beside a published table: reads it, matches rows, tests which cells differ."""

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

from xortune.core.errors import InputError, refuse_unknown
from xortune.core.files import MAX_BYTES, csv_rows
from xortune.core.formats import as_html
from xortune.core.outcome import Outcome, wilson
from xortune.core.point import Point, Value
from xortune.runs.results import CONFIG_COLUMNS, ConfigResult, column_names, config_table
from xortune.runs.run import Run
from xortune.stats.proportions import fisher_tails, fisher_two_sided, holm, unpaired_difference

# -------------------------------------------------------------------------------------------------
# A table of success counts that somebody published: read, its columns recognised, checked.

Floats: TypeAlias = NDArray[np.float64]

DEFAULT_SEEDS = 100  # seeds of every cell where neither the table nor the user says how many

COUNTS = ("k", "n", "percent", "rate")
"""What `columns` may name beside parameters: solved seeds, seeds, and k / n in either unit."""

DELIMITERS = ("\t", ",", ";", "|")

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
"""How tables call them, in small letters and without underscores; the own name always counts."""


@dataclass(frozen=True, eq=False)
class Published:
    """A published table.

    Attributes:
        path: where it was read.
        columns: for each parameter that the table has, and for `k`, `n`, `percent` or `rate`, the
            name of its column.
        assumptions: what the table does not say and was assumed, as sentences.
        unused: the other columns.
        values: for each parameter of `columns` the rows' values, as `normal` makes them.
        k: solved seeds, shape (rows,).
        n: seeds, shape (rows,).
        lines: the line of the file on which each row ends.
    """

    path: Path
    columns: Mapping[str, str]
    assumptions: tuple[str, ...]
    unused: tuple[str, ...]
    values: Mapping[str, tuple[Value, ...]]
    k: NDArray[np.int64]
    n: NDArray[np.int64]
    lines: tuple[int, ...]


@dataclass(frozen=True)
class _Text:
    """The file as text: one row for each cell, by the line on which it begins."""

    place: str
    rows: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """The names in the header."""
        return list(map(str, self.rows.columns))

    def numbers(self, column: str) -> Floats:
        """A column of numbers."""
        found = [normal(cell) for cell in self.rows[column]]
        bad = np.array([not isinstance(value, int | float) for value in found], np.bool_)
        self.refuse_first(column, bad, "a finite number", "{!r} is not a number")
        within = (max(min(value, 1e300), -1e300) for value in found)  # an int may be beyond floats
        return np.fromiter(within, np.float64, len(found))

    def refuse_first(
        self,
        column: str,
        bad: NDArray[np.bool_],
        allowed: str,
        problem: str = "{}",
        n: NDArray[np.int64] | None = None,
    ) -> None:
        """Refuse the first value that is bad, if one is."""
        for row in np.flatnonzero(bad)[:1].tolist():
            cell = self.rows[column].iloc[row].strip()
            told = problem.format(cell) if n is None else f"{cell} of {n[row]} seeds"
            raise InputError(
                told if cell else "a missing value",
                place=f"{self.place}:{self.rows.index[row]}: {column}",
                allowed=allowed,
            )


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
        parameters: the names that the table's columns may stand for.
        columns: which column (value) is which parameter or count (key: a parameter, `k`, `n`,
            `percent`, or `rate`, a fraction or in percent); the others are guessed from their
            names, whatever the case and underscores.
        seeds: n of every row; else the table's own column, else `DEFAULT_SEEDS`, as an assumption.
    """
    text = _read(path)
    found = _mapping(text, parameters, columns or {}, seeds)
    n, assumed_n = _seeds(text, found, seeds)
    k, assumed_k = _successes(text, found, n)
    mapped = [name for name in parameters if name in found]
    values = {name: tuple(normal(cell) for cell in text.rows[found[name]]) for name in mapped}
    _refuse_duplicates(text, values)
    return Published(
        path=Path(path),
        columns={name: found[name] for name in (*mapped, *COUNTS) if name in found},
        assumptions=(*assumed_n, *assumed_k),
        unused=tuple(name for name in text.columns if name not in found.values()),
        values=values,
        k=k,
        n=n,
        lines=tuple(text.rows.index),
    )


def normal(value: Any) -> Any:
    """A value of a table or a run so that equal ones compare equal.

    A text that is a finite number becomes one (`1.0` and `1` are equal then), `true` and `false`
    stay words, an empty text, `none` and `null` become None, whatever their case.
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
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, flags=re.ASCII):
        return text
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d{1,4000}", text) else number


def _read(path: str | os.PathLike[str]) -> _Text:
    (_, header), *rows = csv_rows(path, DELIMITERS, most=MAX_BYTES)
    lines, cells = zip(*rows, strict=True)
    frame = pd.DataFrame(list(cells), index=lines, columns=header, dtype=object)
    return _Text(os.fspath(path), frame)


def _mapping(
    text: _Text, parameters: Sequence[str], asked: Mapping[str, str], seeds: int | None
) -> dict[str, str]:
    """The column of each parameter and count that the table has, as asked or by its name."""
    found: dict[str, str] = {}
    names = (*parameters, *COUNTS)
    for name, column in asked.items():
        place = f"--column {name}={column}"
        refuse_unknown(name, names, f"unknown parameter {name!r}", place=place)
        problem = f"{text.place} has no column {column!r}"
        refuse_unknown(column, text.columns, problem, place=place)
        if column in found.values():
            problem = f"column {column!r} stands for something else already"
            raise InputError(problem, place=place, fix="map each column once")
        found[name] = column
    for name in dict.fromkeys(names):
        if name in found or (name == "n" and seeds is not None):
            continue
        if name in ("k", "percent", "rate") and any(c in found for c in ("k", "percent", "rate")):
            continue
        if guess := _guessed(text, name, found):
            found[name] = guess
    if not any(count in found for count in ("k", "percent", "rate")):
        raise InputError(
            "no column is known to hold the solved seeds",
            place=f"{text.place}:1",
            allowed="a count (k), or a percentage (percent)",
            fix=f"name it: --column k=NAME or --column percent=NAME, of {', '.join(text.columns)}",
        )
    if not any(name in found for name in parameters):
        raise InputError(
            "no column is known to be a parameter of the run",
            place=f"{text.place}:1",
            allowed=", ".join(parameters),
            fix=f"name it: --column {parameters[0] if parameters else 'lr'}=NAME",
        )
    return found


def _guessed(text: _Text, name: str, found: Mapping[str, str]) -> str | None:
    """The column that goes by the name or, if none does, by a synonym of it."""
    free = [column for column in text.columns if column not in found.values()]
    own = [column for column in free if _plain(column) == _plain(name)]
    likely = own or [column for column in free if _plain(column) in SYNONYMS.get(name, ())]
    if len(likely) > 1:
        raise InputError(
            f"{' and '.join(likely)} may both be {name}",
            place=f"{text.place}:1",
            fix=f"say which: --column {name}={likely[0]}",
        )
    return likely[0] if likely else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("%", "percent"))


def _seeds(
    text: _Text, found: Mapping[str, str], seeds: int | None
) -> tuple[NDArray[np.int64], list[str]]:
    if seeds is not None:
        if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds < 2**53:
            raise InputError(f"{seeds!r} seeds", place="--reference-seeds", allowed="1 or more")
        if "n" in found:
            raise InputError(
                f"the seeds are given twice: {seeds}, and by column {found['n']!r}",
                place="--reference-seeds",
                fix="leave out one of --reference-seeds and --column n=...",
            )
        return np.full(len(text.rows), seeds, np.int64), []
    if "n" not in found:
        told = f"n = {DEFAULT_SEEDS} seeds for each cell (--reference-seeds says otherwise)"
        return np.full(len(text.rows), DEFAULT_SEEDS, np.int64), [told]
    numbers = text.numbers(found["n"])
    text.refuse_first(found["n"], (numbers < 1) | ~_whole(numbers), "a whole number, 1 or more")
    return numbers.astype(np.int64), []


def _successes(
    text: _Text, found: Mapping[str, str], n: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    if "k" in found:
        numbers = text.numbers(found["k"])
        allowed = "a whole number, 0 or more and at most the number of seeds"
        bad = (numbers < 0) | (numbers > n) | ~_whole(numbers)
        text.refuse_first(found["k"], bad, allowed, n=n)
        return numbers.astype(np.int64), []
    column = found.get("percent") or found["rate"]
    numbers, whole, assumed = text.numbers(column), 100.0, []
    if "percent" not in found:
        # 0.9 as a percentage of 100 seeds is no count, as a fraction it is: the values tell.
        unit = "a fraction" if numbers.max() <= 1 else "a percentage"
        whole = 1.0 if numbers.max() <= 1 else 100.0
        assumed = [f"{column} is {unit} (--column percent={column} says otherwise)"]
        if whole == 100.0:
            assumed = [f"{column} is {unit}"]
    k = numbers * n / whole
    bad = (numbers < 0) | (numbers > whole) | (np.abs(k - np.rint(k)) > 1e-6)
    allowed = f"0 to {whole:g}, and a whole number of seeds"
    text.refuse_first(column, bad, allowed, n=n)
    return np.rint(k).astype(np.int64), assumed


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.less(numbers, 2**53) & np.equal(numbers, np.rint(numbers))


def _refuse_duplicates(text: _Text, values: Mapping[str, tuple[Value, ...]]) -> None:
    first: dict[tuple[Value, ...], int] = {}
    for row, cell in enumerate(zip(*values.values(), strict=True)):
        before = first.setdefault(cell, row)
        if before != row:
            shown = ", ".join(f"{name} {v}" for name, v in zip(values, cell, strict=True))
            lines = text.rows.index
            raise InputError(
                f"lines {lines[before]} and {lines[row]} are both {shown}",
                place=f"{text.place}:{lines[row]}",
                fix="leave one out, or map the column that tells them apart: --column NAME=COLUMN",
            )


# -------------------------------------------------------------------------------------------------
# Which config of a run is which row of a published table.


MOST_LISTED = 8  # values in a message


ABSENT = object()  # a parameter that a config does not have, such as the momentum of Adam


@dataclass(frozen=True, eq=False)
class Matching:
    """Positions of configs (in the run) and of rows (in the table), and what holds for all.

    Attributes:
        configs, rows: those that are the same cell, shape (cells,).
        only_configs, only_rows: those that are left, ascending.
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
    given = points.values()
    mine = pd.DataFrame(
        {column: [normal(p.get(name, ABSENT)) for p in given] for name, column in names.items()},
        dtype=object,
    )
    theirs = pd.DataFrame(published.values, dtype=object)
    wanted = _wanted(where, mine, run)
    chosen = mine[_within(wanted, mine)]
    rows = theirs[_within({n: v for n, v in wanted.items() if n in theirs}, theirs)]
    if rows.empty:
        raise InputError(
            "no row is within "
            + ", ".join(f"{n}={_shown(v)}" for n, v in wanted.items() if n in theirs),
            place=str(published.path),
            allowed="; ".join(f"{n}: {_listed(theirs[n])}" for n in wanted if n in theirs),
        )
    left = {}
    for name, values in published.values.items():
        # What a config does not have, a table leaves empty, or calls 0.
        idle = None if None in values else 0
        left[name] = [idle if value is ABSENT else value for value in chosen[name]]
    joined = pd.DataFrame(left, dtype=object).assign(config=chosen.index)
    joined = joined.merge(rows.assign(row=rows.index), on=list(theirs))
    if joined.empty:
        raise _nothing_in_common(published, run, rows, chosen)
    return Matching(
        configs=joined["config"].to_numpy(),
        rows=joined["row"].to_numpy(),
        only_configs=np.setdiff1d(chosen.index, joined["config"]),
        only_rows=np.setdiff1d(rows.index, joined["row"]),
        where=wanted,
        fixed=_fixed(mine.drop(columns=list(theirs)), joined, published),
    )


def _wanted(where: Mapping[str, Value], mine: pd.DataFrame, run: Path) -> dict[str, Value]:
    """The restriction in normal form; each part of it must be something that the run has."""
    wanted = {}
    for name, value in where.items():
        place = f"--where {name}={_shown(value)}"
        refuse_unknown(name, map(str, mine), f"unknown parameter {name!r}", place=place)
        wanted[name] = normal(value)
        found = set(mine[name])
        if wanted[name] not in found and not (wanted[name] is None and ABSENT in found):
            raise InputError(
                f"no config of {run} has it", place=place, allowed=f"{name}: {_listed(found)}"
            )
    return wanted


def _within(wanted: Mapping[str, Value], values: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have the values that are wanted, or have no such parameter."""
    within = np.ones(len(values), dtype=bool)
    for name, value in wanted.items():
        within &= [found == value or found is ABSENT for found in values[name]]
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
    """What the table leaves unsaid must not differ between the configs it is compared with."""
    twice = joined["row"].duplicated(keep=False).to_numpy()
    fixed = {}
    for name in map(str, unsaid):
        matching = unsaid[name].iloc[joined["config"]]
        found = {value for value in matching if value is not ABSENT}
        # Where one cell has several configs, one of them may lack what another one has.
        lacking = bool(found) and any(value is ABSENT for value in matching[twice])
        if len(found) > 1 or lacking:
            example = "none" if lacking else _listed(sorted(found, key=_order)[:1])
            raise InputError(
                f"the table has no column for {name}, and the run's configs for its cells have "
                f"{_listed(found | {None} if lacking else found)}",
                place=str(published.path),
                fix=f"say which are meant, such as --where {name}={example}, or name the column: "
                f"--column {name}=NAME",
            )
        fixed[name] = next(iter(found), None)
    if twice.any():  # such as True and "true", which a table cannot tell apart
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
    found = sorted({value for value in values if value is not ABSENT}, key=_order)
    more = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    return (", ".join(_shown(value) for value in found[:MOST_LISTED]) + more) or "none"


# -------------------------------------------------------------------------------------------------
# How many cells of a table without any difference have p < alpha. They are no independent events:
# the run trains all configs on the same seeds, and looks at one training after several epochs.

DRAWS = 2000  # tables without a difference that are drawn for the range


def solved_seeds(outcomes: Sequence[Outcome]) -> NDArray[np.float32]:
    """Shape (cells, seeds): 1 where a seed is solved, 0 where not, NaN where it is not trained."""
    seeds = np.unique(np.concatenate([outcome.seeds for outcome in outcomes]))
    solved = np.full((len(outcomes), seeds.size), np.nan, np.float32)
    for row, outcome in zip(solved, outcomes, strict=True):
        row[np.searchsorted(seeds, outcome.seeds)] = outcome.solved
    return solved


def looks_fresh(cells: pd.DataFrame, trainings: NDArray[np.int64], epochs: Floats) -> bool:
    """Whether each of the table's cells seems to have seeds of its own.

    A seed that is solved mostly stays solved, so that counts of the same seeds hardly ever fall
    with the epochs; those of other seeds each time do. The falls of the table are compared with
    those of the run, and with those to expect of fresh seeds.
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
    z = rise / spread  # below: the mean fall of a normal variable
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
    """How many cells have p < alpha where nothing differs.

    Tables are drawn. In each, a cell has p < alpha with exactly the probability that Fisher's test
    gives it (`fisher_tails`); what cells have in common is normal (a Gaussian copula) and has the
    correlations of the run's seeds:

    - of one training at several epochs, with half a seed added that is always solved and half a
      seed that never is, so that a cell without failures has a correlation, too;
    - of different trainings, made smaller: correlations of n seeds scatter by 1 / sqrt(n) even
      where there are none, which adds up over many cells. That part is subtracted.

    The table's cells are taken to depend on each other as the run's do, unless they are `fresh`.

    Returns:
        (low, high): the range whose probability is as near 95 % as whole numbers allow.
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
    if both.shape[0] < both.shape[1]:  # fewer cells than seeds: the same correlations, and less
        both = _root(both @ both.T)
    mine = np.sqrt(their_n[cells] / (n + their_n[cells]))[:, None]  # share of the difference
    ends = np.array([0.0, 1.0])
    weights = np.append(np.ones(solved.shape[1]), [0.5, 0.5])
    rng = np.random.default_rng(0)
    common = rng.standard_normal((2, 1, both.shape[1], DRAWS))
    found = np.zeros(DRAWS, np.int64)
    for part in _alike(parts):
        s, m = shared[part], mine[part]
        added = np.broadcast_to(ends, (*part.shape, 2))
        own = _standardized(np.concatenate([solved[part], added], axis=-1), weights)
        root = _root(own @ own.swapaxes(-1, -2))
        noise = rng.standard_normal((2, *part.shape, DRAWS))
        drawn = s * (both[part] @ common) + np.sqrt(1 - s**2) * (root @ noise)
        if fresh:
            drawn[1] = noise[1]
        z = m * drawn[0] + np.sqrt(1 - m**2) * drawn[1]
        found += ((z < low[part][..., None]) | (z > high[part][..., None])).sum(axis=(0, 1))
    return _middle(np.bincount(found) / DRAWS, 0.05)


def _alike(parts: Sequence[NDArray[np.intp]]) -> Iterator[NDArray[np.intp]]:
    """Those of one size as one array of two dimensions, a few hundred cells at a time."""
    for size in sorted({part.size for part in parts}):
        same = np.array([part for part in parts if part.size == size])
        yield from np.array_split(same, -(-same.size // 500))


def _standardized(solved: NDArray[Any], weights: Floats) -> Floats:
    """Rows of mean 0 and length 1, whose products are correlations; 0 where all is the same."""
    weights = np.where(np.isnan(solved), 0.0, weights)
    solved = np.nan_to_num(solved)
    mean = (solved * weights).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)
    apart = (solved - mean) * np.sqrt(weights)
    length = np.sqrt((apart**2).sum(axis=-1, keepdims=True))
    return np.asarray(apart / np.where(length > 1e-9, length, np.inf))


def _root(correlations: Floats) -> Floats:
    """What, multiplied by normal numbers, gives some with these correlations."""
    values, vectors = np.linalg.eigh(correlations)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


def _curvature(z: Floats) -> Floats:
    """How strongly the events beyond z and -z depend on each other by a squared correlation."""
    finite = np.where(np.isfinite(z), np.abs(z), 0.0)
    return np.asarray(finite * np.exp(-(finite**2) / 2))


def _shared_between_trainings(
    both: Floats, weights: Floats, parts: Sequence[NDArray[np.intp]], n: float
) -> float:
    """Which share of a cell's deviation trainings have in common, from 0 to 1.

    The squared correlations of all pairs of cells of different trainings are summed, as products of
    matrices of seeds; those that n seeds show by chance are subtracted.
    """

    def sums(part: Any) -> NDArray[np.float64]:
        x = both[part] * np.sqrt(weights[part])[:, None]
        product = x @ x.T if x.shape[0] < x.shape[1] else x.T @ x
        return np.array([(product**2).sum(), ((x**2).sum(axis=0) ** 2).sum()])

    seen, by_chance = sums(slice(None)) - sum(sums(part) for part in parts)
    if len(parts) < 2 or seen <= 0 or n < 2:
        return 0.0
    return float(np.clip((seen - by_chance * n / (n - 1)) / seen, 0.0, 1.0) ** 0.25)


def _middle(mass: Floats, outside: float) -> tuple[int, int]:
    """The ends of a distribution of 0, 1, ... without its rarer ends, about `outside` in all."""
    low, high, dropped = 0, mass.size - 1, 0.0
    while low < high:
        rarer = min(mass[low], mass[high])
        if dropped + rarer / 2 > outside:  # with it, more is too much than is lacking now
            break
        dropped += rarer
        low, high = (low + 1, high) if mass[low] < mass[high] else (low, high - 1)
    return low, high


# -------------------------------------------------------------------------------------------------
# A run beside a published table: which cells differ by more than chance, and what they share.

CELL_COLUMNS = (
    *("key", "k", "n", "rate", "low", "high"),
    *("reference_k", "reference_n", "reference_rate", "reference_low", "reference_high"),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "differs"),
)
"""What follows the parameters in comparison.csv."""

GROUP_COLUMNS = (
    *("parameter", "value", "cells", "below_alpha", "expected", "differ", "mean_difference"),
)


@dataclass(frozen=True)
class Summary:
    """How often run and table differ, and how often they would by chance.

    Attributes:
        cells: how many were compared.
        alpha: the level; of each test alone, and of all of them together (Holm).
        below_alpha: cells with p < alpha.
        expected: how many there would be if no cell differed: the sum of the exact probabilities,
            given each cell's seeds and its successes in run and table together.
        expected_low, expected_high: the number is in this range in about 95 % of such tables; see
            `chance_range`.
        trainings: how many trainings the cells are of; those of one differ in `epochs` only.
        reference_fresh: whether the table's cells of one training look as if each had seeds of its
            own; see `looks_fresh`.
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
    """A run beside a published table.

    Attributes:
        run: the run's directory.
        reference: the table as it was read, its columns and assumptions.
        where: to what the run (and the table, where it has the parameter) was restricted.
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
        told = self.summary
        return (
            f"Comparison({told.cells:,} cells of {self.run} beside {self.reference.path}, "
            f"{told.differ:,} differ)"
        )

    def __str__(self) -> str:
        told = self.summary
        return (
            f"{told.cells:,} cells of {self.run} beside {self.reference.path}: {told.differ:,} "
            f"differ (Fisher's exact test, Holm's correction at {told.alpha:g}); "
            f"{told.below_alpha:,} have p < {told.alpha:g}, by chance alone it would be "
            f"{told.expected:.1f}."
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, and the cells of the smallest p."""
        return as_html(str(self), self.cells)

    @property
    def differing(self) -> pd.DataFrame:
        """The rows of `cells` that differ beyond chance."""
        return self.cells[self.cells["differs"]]


def compare_published(
    run: Run,
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, Value] | None = None,
    reference_seeds: int | None = None,
    alpha: float = 0.05,
) -> Comparison:
    """Test each cell of a published table against the config of the run that it stands for.

    Args:
        run: with at least one finished config.
        path: the table; see `read_published`, also for `columns`.
        columns: which column is which parameter or count, where the name does not say.
        where: compares only configs with these values, and says what the table leaves unsaid.
            Configs that do not have such a parameter at all (the momentum of Adam) are kept.
        reference_seeds: seeds of each of the table's cells.
        alpha: the level of the tests.

    Raises:
        InputError: what `read_published` refuses, an unknown parameter or value, several configs
            for one cell, or none for any.
    """
    if not 0 < alpha < 1:
        raise InputError(f"{alpha} is out of range", field="alpha", allowed="between 0 and 1")
    final = run.evaluations.where(run.evaluations.column("final") > 0)
    configs = dict.fromkeys(final.column("config").tolist())
    points = {final.lines.keys[config]: final.lines.point(config) for config in configs}
    if not points:
        raise InputError("no configuration is finished yet", place=str(run.path))
    names = column_names(run.parameters, {*CONFIG_COLUMNS, *CELL_COLUMNS})
    published = read_published(path, list(names.values()), columns=columns, seeds=reference_seeds)
    found = match_cells(points, names, published, where or {}, run.path)
    keys = list(points)
    results = _results(run, [keys[config] for config in found.configs.tolist()])
    table = config_table(results, run.parameters)
    table = table.set_axis([*names.values(), *table.columns[len(names) :]], axis=1)
    cells, tails = _tested(table, published, found.rows, alpha)
    cells = cells[[*names.values(), *CELL_COLUMNS]]
    outcomes = {result.key: result.outcome for result in results}
    seeds = solved_seeds([outcomes[key] for key in cells["key"]])
    return Comparison(
        run=run.path,
        reference=published,
        where=found.where,
        parameters=tuple(names.values()),
        fixed=found.fixed,
        cells=cells,
        only_reference=tuple(published.lines[row] for row in found.only_rows.tolist()),
        only_run=tuple(keys[config] for config in found.only_configs.tolist()),
        groups=_groups(cells, tails.sum(axis=0), list(published.values), alpha),
        summary=_summary(cells, tails, seeds, names, alpha),
    )


def _results(run: Run, keys: Sequence[str]) -> list[ConfigResult]:
    """The results of some configs, in the order given; those of the others are not computed."""
    part = replace(run, evaluations=run.evaluations.of_keys(keys))
    found = {result.key: result for result in part.results}
    return [found[key] for key in keys]


def _tested(
    table: pd.DataFrame, published: Published, row: NDArray[np.int64], alpha: float
) -> tuple[pd.DataFrame, Floats]:
    """The cells in order, and the `fisher_tails` of each."""
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


def _trainings(cells: pd.DataFrame, names: Mapping[str, str]) -> NDArray[np.int64]:
    """Int64, shape (cells,): equal for cells that differ in nothing but the epochs."""
    others = [column for name, column in names.items() if name != "epochs"]
    if not others:
        return np.zeros(len(cells), np.int64)
    found = cells.groupby(others, dropna=False, sort=False).ngroup()
    return np.asarray(found, np.int64)


def _summary(
    cells: pd.DataFrame,
    tails: Floats,
    seeds: NDArray[np.float32],
    names: Mapping[str, str],
    alpha: float,
) -> Summary:
    trainings = _trainings(cells, names)
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
    """The values of each parameter, that with the largest share of p < alpha first."""
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
