"""The columns of a run's configurations, each declared once for all tables that show it.

`COLUMNS` has those that every run has. Whoever adds one adds a `Column` there: files, reports,
pages, terminals and trackers show it.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import estimated, interval, measured, number, span, value
from xortune.core.numbers import finite, known_statistics, summary
from xortune.core.outcome import Outcome, SeedCount, Status, wilson
from xortune.core.point import as_float
from xortune.racing.objectives import (
    constrained,
    numbers_in,
    only_statistic,
    statistic_interval,
    statistic_value,
    timed_objective,
)
from xortune.runs.results import (
    ConfigResults,
    Counts,
    Score,
    as_utf8,
    free_name,
    number_names,
)
from xortune.spaces.model import EPOCHS_TO_SOLVE, Objective

if TYPE_CHECKING:
    import pandas as pd

# -------------------------------------------------------------------------------------------------
# What a column is.

MISSING = object()
"""The value of a parameter that is inactive."""

NUMERIC = {int, float, type(None), type(MISSING)}
"""The types of values in a column of numbers."""

Values: TypeAlias = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """What columns are computed from: C configurations, best first, or for trackers C outcomes.

    Attributes:
        counts: of the C rows.
        results: of the configurations; None for trackers.
        steps: the outcomes for trackers.
    """

    counts: Counts
    results: ConfigResults | None = None
    steps: Sequence[Outcome] = ()
    _summaries: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, results: ConfigResults) -> Rows:
        """All these configurations."""
        return cls(results.counts, results)

    @property
    def configs(self) -> ConfigResults:
        """The configurations, of which trackers have none."""
        assert self.results is not None
        return self.results

    @cached_property
    def outcomes(self) -> Sequence[Outcome]:
        """The outcome of each row."""
        return self.steps if self.results is None else [one.outcome for one in self.results]

    def numbers(self, name: str) -> list[NDArray[np.float64]]:
        """The finite numbers of a user's own trainer, of each row."""
        return [finite(one.details.values.get(name, np.empty(0))) for one in self.outcomes]

    def statistic(self, name: str, ending: str) -> NDArray[np.float64]:
        """float64, shape (C,): a statistic of these numbers; NaN without any."""
        if name not in self._summaries:  # all statistics of a number cost as much as one
            self._summaries[name] = [summary(numbers) for numbers in self.numbers(name)]
        return np.array([values[ending] for values in self._summaries[name]])


@dataclass(frozen=True)
class ConfigRow:
    """One configuration in a table of text.

    Attributes:
        values: by the names of columns; `row[NAME]` is one of them.
        results: of all rows.
        place: of this one among them, from 0.
    """

    values: Mapping[str, Any]
    results: ConfigResults
    place: int

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def outcome(self) -> Outcome:
        """The seeds of the configuration."""
        return self.results[self.place].outcome


class Form(enum.Enum):
    """A table that shows configurations, or the filters of one.

    CSV: also table.parquet and `run.table`. REPORT: report.md. PAGE: report.html, and FILTERS those
    of its table. LIVE: the page that follows a run. LATEX: table.tex.
    """

    CSV = enum.auto()
    TRACKERS = enum.auto()
    NOTEBOOK = enum.auto()
    REPORT = enum.auto()
    PAGE = enum.auto()
    FILTERS = enum.auto()
    LIVE = enum.auto()
    LATEX = enum.auto()
    TERMINAL = enum.auto()


READERS = frozenset({Form.REPORT, Form.PAGE, Form.LIVE, Form.LATEX, Form.TERMINAL})
"""Tables of text, which have headings and no column that says nothing."""

FILES = frozenset({Form.CSV, Form.NOTEBOOK})

DATA = FILES | {Form.TRACKERS, Form.FILTERS}
"""Where a count is that no table of text has."""

EVERYWHERE = frozenset(Form)


class Part(enum.Enum):
    """Columns that are beside each other; `ORDER` has the order of the parts."""

    PLACE = enum.auto()
    KEY = enum.auto()
    PARAMETERS = enum.auto()
    COUNTS = enum.auto()
    OBJECTIVE = enum.auto()
    MEDIAN = enum.auto()
    NUMBERS = enum.auto()
    FINISHED = enum.auto()
    REMARKS = enum.auto()


_MEASURED = (Part.COUNTS, Part.OBJECTIVE, Part.MEDIAN, Part.NUMBERS, Part.FINISHED)
# Counts come first where a wide table is cut off right.
_COUNTS_FIRST = (Part.PLACE, *_MEASURED, Part.PARAMETERS, Part.REMARKS, Part.KEY)

ORDER: Mapping[Form, Sequence[Part]] = {
    Form.REPORT: _COUNTS_FIRST,
    Form.LIVE: _COUNTS_FIRST,
    Form.TERMINAL: _COUNTS_FIRST,
    Form.PAGE: (Part.PLACE, Part.KEY, *_MEASURED, Part.PARAMETERS, Part.REMARKS),
    Form.LATEX: (Part.PLACE, Part.PARAMETERS, *_MEASURED, Part.REMARKS, Part.KEY),
}
"""The order of the parts in tables of text; files have the order of `columns_of`."""


def _is_known(one: Any) -> bool:
    return one is not None and one != "" and not (isinstance(one, float) and math.isnan(one))


def any_known(values: Iterable[Any]) -> bool:
    """Whether any value is not missing: neither None nor NaN nor empty."""
    return any(map(_is_known, values))


def _always(_: Iterable[Any]) -> bool:
    return True


def _text(given: Any) -> str:
    """A value as text; a dash if it is missing."""
    if not _is_known(given):
        return "–"
    return number(given) if isinstance(given, float) else value(given)


@dataclass(frozen=True)
class Column:
    """A column of configurations.

        Column("longest", "longest", lambda rows: [o.solved_epoch.max() for o in rows.outcomes])

    Attributes:
        name: in table.csv, for trackers, and for filters of the page; no other column has it.
        heading: of tables of text.
        value: computes the values of C rows, shape (C,).
        text: of a row, for tables of text; the default is the value, or a dash.
        falling: whether the page sorts it with the largest first.
        where: the tables that have it.
        part: of the columns, by which tables of text are ordered.
        headings: other headings than `heading`, where there is little room.
        needed: whether tables of text and notebooks have the column, by the values of their rows.
        has_bar: whether the interval from `low` to `high` is drawn beside it.
    """

    name: str
    heading: str
    value: Callable[[Rows], Values]
    text: Callable[[ConfigRow], str] | None = None
    falling: bool = False
    where: frozenset[Form] = EVERYWHERE
    part: Part = Part.NUMBERS
    headings: Mapping[Form, str] = field(default_factory=dict)
    needed: Callable[[Iterable[Any]], bool] = any_known
    has_bar: bool = False

    def of(self, rows: Rows) -> list[Any]:
        """The values of rows as objects of Python."""
        values = self.value(rows)
        found: list[Any] = values.tolist() if isinstance(values, np.ndarray) else [*values]
        return found

    def cell(self, row: ConfigRow) -> str:
        """The text of a row."""
        return _text(row[self.name]) if self.text is None else self.text(row)

    def head(self, form: Form) -> str:
        """The heading in a table."""
        return self.headings.get(form, self.heading)


# -------------------------------------------------------------------------------------------------
# The columns of every run, in the order of table.csv.

FAILURES = tuple(status for status in Status if status != Status.SOLVED)

FRONT = "front"
"""The last column: whether a configuration is on the Pareto front."""

NOTE = "(note)"


def _ends(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return wilson(rows.counts.k, rows.counts.n)


def _failed(status: Status) -> Column:
    return Column(
        status.label,
        status.label,
        lambda rows: rows.counts.status[:, status].astype(np.int64),
        falling=True,
        where=DATA,
        needed=any,
    )


_SHORT_EPOCHS = dict.fromkeys((Form.LATEX, Form.TERMINAL), "epochs")

COLUMNS: tuple[Column, ...] = (
    Column(
        "#",
        "#",
        lambda rows: range(1, len(rows.counts.n) + 1),
        where=READERS,
        part=Part.PLACE,
        headings=dict.fromkeys((Form.LATEX, Form.TERMINAL), ""),
    ),
    Column(
        "key",
        "key",
        lambda rows: rows.configs.keys,
        where=EVERYWHERE - {Form.LATEX, Form.TRACKERS},
        part=Part.KEY,
    ),
    Column(
        "k",
        "solved",
        lambda rows: rows.counts.k,
        lambda row: SeedCount(row["k"], row["n"]).text,
        falling=True,
        part=Part.COUNTS,
    ),
    Column("n", "n", lambda rows: rows.counts.n, where=DATA),
    Column(
        "rate",
        "rate",
        lambda rows: rows.counts.rate,
        lambda row: measured(row["rate"], row["low"], row["high"]),
        falling=True,
        where=EVERYWHERE - {Form.TERMINAL},
        part=Part.COUNTS,
    ),
    Column(
        "low",
        "95 % interval",
        lambda rows: _ends(rows)[0],
        lambda row: interval(row["low"], row["high"]),
        falling=True,
        part=Part.COUNTS,
        headings={Form.LATEX: "interval", Form.TERMINAL: "95 % CI"},
        has_bar=True,
    ),
    Column("high", "high", lambda rows: _ends(rows)[1], where=DATA),
    Column(
        EPOCHS_TO_SOLVE,
        "epochs to solve",
        lambda rows: rows.counts.epochs_to_solve,
        lambda row: number(round(row[EPOCHS_TO_SOLVE])) if _is_known(row[EPOCHS_TO_SOLVE]) else "–",
        part=Part.OBJECTIVE,
        headings=_SHORT_EPOCHS,
    ),
    Column(
        "trials",
        "trials",
        lambda rows: rows.configs.trials,
        falling=True,
        where=FILES | {Form.REPORT, Form.PAGE, Form.LIVE, Form.FILTERS},
        part=Part.REMARKS,
        needed=lambda values: any(one != 1 for one in values),
    ),
    *map(_failed, FAILURES),
)
"""The columns that every run has. Parameters come before them in files, the others after them."""


# -------------------------------------------------------------------------------------------------
# The columns of one run.


def column_names(parameters: Sequence[str], ours: Collection[str] = ()) -> dict[str, str]:
    """The column of each parameter: its name, or `param_NAME` if the name is taken.

    The names of `COLUMNS` are taken, and `ours`.
    """
    ours = {*(column.name for column in COLUMNS), *ours}
    taken = {*ours, *parameters}
    names = {}
    for name in parameters:
        column = free_name(f"param_{name}", taken, "param_") if name in ours else name
        taken.add(column)
        names[name] = as_utf8(column)
    return names


def columns_of(
    parameters: Sequence[str],
    objectives: Sequence[Objective],
    numbers: Iterable[str],
    *,
    score: Score | None = None,
    front: NDArray[np.bool_] | None = None,
    ruled: bool = True,
) -> tuple[Column, ...]:
    """The columns of a run, in the order of table.csv.

    `parameters` come first, then `COLUMNS`. For each of the `numbers` of a user's own trainer
    follow NAME_n, the number of seeds that have it, and NAME_mean and so on: see
    `known_statistics`. If such a number is the objective, `objective` has it with the ends of its
    95 % interval; seconds have none. With several objectives `FRONT` says whether the configuration
    is on the Pareto front.

    Args:
        parameters: their names.
        objectives: of the search.
        numbers: names of the numbers of a user's own trainer.
        score: the number that tables of text show.
        front: of all configurations; None with one objective.
        ruled: False where no rule asked which numbers are a success: seeds only finish, and tables
            of text show no rates of that.
    """
    shown = only_statistic(objectives) or timed_objective(objectives)
    fixed = [one if ruled else _without_rule(one) for one in COLUMNS]
    if shown is not None:
        fixed = [
            replace(one, where=one.where - READERS) if one.name == EPOCHS_TO_SOLVE else one
            for one in fixed
        ]
    names = column_names(parameters, () if front is None else (FRONT,))
    columns = [*(_parameter(*pair) for pair in names.items()), *fixed]
    taken = {*(one.name for one in columns), FRONT}
    for name in numbers:
        columns += (own := _statistics(name, taken, score))
        taken.update(one.name for one in own)
    columns += _objective(objectives, taken)
    if front is not None:
        found = front
        columns.append(Column(FRONT, FRONT, lambda rows: found[: len(rows.counts.n)], where=FILES))
    return tuple(columns)


def _without_rule(column: Column) -> Column:
    if column.name == "k":
        return replace(column, heading="finished", part=Part.FINISHED)
    if column.part is not Part.COUNTS:
        return column
    return replace(column, where=column.where - READERS - {Form.NOTEBOOK})


def _parameter(name: str, column: str) -> Column:
    def text(row: ConfigRow) -> str:
        return "" if row[column] is MISSING else value(row[column])

    return Column(
        column,
        name,
        lambda rows: rows.configs.values(name, MISSING),
        text,
        where=EVERYWHERE - {Form.TRACKERS},
        part=Part.PARAMETERS,
        needed=_always,
    )


def _statistics(name: str, taken: Collection[str], score: Score | None) -> list[Column]:
    """The columns of a number. Tables of text have those of the score, terminals in one column."""
    endings = [one.name for one in known_statistics()]
    base = free_name(name, taken, endings=[f"_{ending}" for ending in ("n", *endings)])
    data = frozenset({Form.CSV, Form.TRACKERS})

    def sizes(rows: Rows) -> Values:
        return np.array([one.size for one in rows.numbers(name)], np.int64)

    found = {"n": Column(as_utf8(f"{base}_n"), f"{name}_n", sizes, where=data)}
    for ending in endings:
        column, value = (
            as_utf8(f"{base}_{ending}"),
            partial(Rows.statistic, name=name, ending=ending),
        )
        found[ending] = Column(column, f"{name}_{ending}", value, where=data)
    if score is None or score.name != name:
        return [*found.values()]
    shown = [found[ending] for ending in ("median", score.worst)]

    def text(row: ConfigRow) -> str:
        return "{} ({})".format(*(one.cell(row) for one in shown))

    for ending, part in (("median", Part.MEDIAN), (score.worst, Part.NUMBERS)):
        where = data | {Form.NOTEBOOK} | READERS - {Form.TERMINAL}
        found[ending] = replace(found[ending], where=where, part=part)
    head = f"{name} ({score.worst})"
    brief = replace(shown[0], name=f"{base} ({score.worst})", heading=head, text=text)
    return [*found.values(), replace(brief, where=frozenset({Form.TERMINAL}))]


SHOWN_INTERVALS = 10
"""Configurations whose text has the interval of the objective, which takes time."""


def _objective(objectives: Sequence[Objective], taken: Collection[str]) -> list[Column]:
    """The objective, if it is a number or seconds, and the ends of its interval."""
    required = constrained(objectives)
    objective = required if required and required.number else only_statistic(objectives)
    if objective is None:
        if (timed := timed_objective(objectives)) is None:
            return []
        seconds = timed
        return [
            Column(
                free_name("objective", taken),
                seconds.name,
                lambda rows: rows.configs.measured(seconds),
                where=FILES | READERS,
                part=Part.OBJECTIVE,
            )
        ]
    summed = objective
    endings = ("", "_low", "_high")
    base = free_name("objective", taken, endings=endings)

    def ends(at: int) -> Callable[[Rows], Values]:
        def computed(rows: Rows) -> Values:
            found = (statistic_interval(summed, _numbers(summed, one)) for one in rows.outcomes)
            return np.array([np.nan if pair is None else pair[at] for pair in found])

        return computed

    def text(row: ConfigRow) -> str:
        if row.place < SHOWN_INTERVALS:
            return worth(summed, row.outcome)
        return _number_or_failed(row[base])

    return [
        Column(
            base,
            summed.name,
            lambda rows: np.array(
                [statistic_value(summed, _numbers(summed, one)) for one in rows.outcomes]
            ),
            text,
            where=FILES | (READERS if required is None else frozenset()),
            part=Part.OBJECTIVE,
        ),
        *(
            Column(
                base + ending,
                summed.name + ending,
                ends(at),
                where=FILES if required is None else frozenset({Form.CSV}),
                part=Part.OBJECTIVE,
            )
            for at, ending in enumerate(endings[1:])
        ),
    ]


def _numbers(objective: Objective, outcome: Outcome) -> NDArray[np.float64]:
    return numbers_in(outcome, objective.number or "")


def worth(objective: Objective, outcome: Outcome) -> str:
    """The value of a config for the number that is the objective, with its interval."""
    values = _numbers(objective, outcome)
    ends = statistic_interval(objective, values)
    mean = statistic_value(objective, values)
    if ends is None or np.isinf(ends).all():
        return _number_or_failed(mean)
    if np.isfinite([mean, *ends]).all():
        return f"{estimated(mean, *ends)} [{span(*ends)}]"
    failed = objective.failed is None and bool(np.isnan(np.asarray(values, np.float64)).any())
    worst = -np.inf if objective.maximize else np.inf
    low, high = (
        "failed" if end == worst and failed else shown
        for end, shown in zip(ends, span(*ends).split(" to "), strict=True)
    )
    shown = estimated(mean, *ends) if np.isfinite(mean) else "failed"
    return f"{shown} [{low} to {high}]"


def _number_or_failed(amount: float) -> str:
    """The number; `failed` if failed seeds make it infinite."""
    return number(amount) if np.isfinite(amount) else "failed"


# -------------------------------------------------------------------------------------------------
# The columns as data: table.csv and notebooks, trackers.


def config_table(results: ConfigResults, columns: Iterable[Column]) -> pd.DataFrame:
    """One row for each configuration, in the order given; see `columns_of` for the columns.

    A parameter is empty where a configuration lacks it, or has null, and so is a number that is not
    finite.
    """
    import pandas as pd

    rows = Rows.of(results)
    table = {one.name: _column(one.value(rows)) for one in columns if Form.CSV in one.where}
    return pd.DataFrame(table, copy=False)  # a copy would double the memory


def tracked(outcomes: Sequence[Outcome]) -> dict[str, NDArray[Any]]:
    """The columns for trackers of some outcomes, each of shape (C,)."""
    rows = Rows(Counts.of(outcomes), steps=outcomes)
    columns = columns_of((), (), number_names(outcomes))
    return {one.name: np.asarray(one.value(rows)) for one in columns if Form.TRACKERS in one.where}


def _column(values: Values) -> Any:
    """The narrowest type that holds all values exactly; mixed ones become text."""
    import pandas as pd

    if isinstance(values, np.ndarray):
        return (
            np.where(np.isinf(values), np.nan, values) if values.dtype == float else values.copy()
        )
    values = [None if one is MISSING else one for one in values]
    kinds = set(map(type, values)) - {type(None)}
    present = [value for value in values if value is not None]
    missing = len(present) < len(values)
    if kinds == {bool}:
        return pd.array(values, dtype="boolean") if missing else np.array(values, dtype=np.bool_)
    if kinds == {int} and min(present) >= -(2**63) and max(present) < 2**63:
        return pd.array(values, dtype="Int64") if missing else np.array(values, dtype=np.int64)
    if kinds == {float} or (
        kinds and kinds <= {int, float} and all(as_float(v) == v for v in present)
    ):
        return np.array(values, dtype=np.float64)
    if kinds != {str} or not all(map(str.isascii, present)):
        values = [
            None if v is None else as_utf8(v) if isinstance(v, str) else json.dumps(v)
            for v in values
        ]
    return pd.Series(values) if kinds else pd.Series(values, dtype=object)
