"""Which config of a run is which row of a published table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.errors import InputError, nearest
from xortune.point import Point, Value
from xortune.published import Published, normal

__all__ = ["Matching", "match_cells"]


class _Absent:
    """A parameter that a config does not have, such as the momentum of Adam."""


ABSENT = _Absent()


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
    """Match the rows of a table with configs; see `comparison.compare_published`.

    Args:
        points: of the configs, by key.
        names: of the parameters: as in points, as in the table's `values` and in `where`.
        published: the table.
        where: the restriction.
        run: for messages.

    Raises:
        InputError: an unknown parameter or value, several configs for one row, or none for any.
    """
    mine = {
        column: [_of_run(point.get(name, ABSENT)) for point in points.values()]
        for name, column in names.items()
    }
    theirs = published.values
    wanted = _wanted(where, mine, run)
    chosen = _chosen(wanted, mine, len(points))
    rows = _chosen({n: v for n, v in wanted.items() if n in theirs}, theirs, len(published.k))
    if not rows.size:
        raise InputError(
            "no row is within "
            + ", ".join(f"{n}={_shown(v)}" for n, v in wanted.items() if n in theirs),
            place=str(published.path),
            allowed="; ".join(f"{n}: {_listed(theirs[n])}" for n in wanted if n in theirs),
        )
    joined = _joined(mine, chosen, theirs, rows)
    if joined.empty:
        both = {
            name: ({values[row] for row in rows}, {mine[name][config] for config in chosen})
            for name, values in theirs.items()
        }
        raise _nothing_in_common(published, run, both)
    unsaid = {name: mine[name] for name in mine if name not in theirs}
    return Matching(
        configs=joined["config"].to_numpy(),
        rows=joined["row"].to_numpy(),
        only_configs=np.setdiff1d(chosen, joined["config"]),
        only_rows=np.setdiff1d(rows, joined["row"]),
        where=wanted,
        fixed=_fixed(unsaid, joined, published),
    )


def _of_run(value: Any) -> Any:
    return value if value is ABSENT else normal(value)


def _wanted(
    where: Mapping[str, Value], mine: Mapping[str, Sequence[Any]], run: Path
) -> dict[str, Value]:
    """The restriction in normal form; each part of it must be something that the run has."""
    wanted = {}
    for name, value in where.items():
        place = f"--where {name}={_shown(value)}"
        if name not in mine:
            raise InputError(
                f"unknown parameter {name!r}",
                place=place,
                allowed=", ".join(mine),
                fix=nearest(name, mine),
            )
        wanted[name] = normal(value)
        if wanted[name] not in mine[name] and not (wanted[name] is None and ABSENT in mine[name]):
            found = _listed(mine[name])
            raise InputError(f"no config of {run} has it", place=place, allowed=f"{name}: {found}")
    return wanted


def _chosen(
    wanted: Mapping[str, Value], values: Mapping[str, Sequence[Any]], count: int
) -> NDArray[np.int64]:
    chosen = np.ones(count, dtype=bool)
    for name, value in wanted.items():
        chosen &= [found == value or found is ABSENT for found in values[name]]
    return np.flatnonzero(chosen)


def _joined(
    mine: Mapping[str, Sequence[Any]],
    chosen: NDArray[np.int64],
    theirs: Mapping[str, Sequence[Any]],
    rows: NDArray[np.int64],
) -> pd.DataFrame:
    """Columns `config` and `row`: positions in the run and in the table of the same cell."""
    left, right = {}, {}
    for name, values in theirs.items():
        codes: dict[Any, int] = {}  # equal values of both sides get one code; 1 and 1.0 are equal
        # What a config does not have, a table leaves empty, or calls 0.
        idle = 0 if _has_zero_only(values, mine[name]) else None
        right[name] = _coded(values, codes)[rows]
        left[name] = _coded([idle if v is ABSENT else v for v in mine[name]], codes)[chosen]
    return pd.DataFrame(left | {"config": chosen}).merge(
        pd.DataFrame(right | {"row": rows}), on=list(theirs)
    )[["config", "row"]]


def _has_zero_only(theirs: Sequence[Any], mine: Sequence[Any]) -> bool:
    return None not in theirs and any(value is ABSENT for value in mine)


def _coded(values: Sequence[Any], codes: dict[Any, int]) -> NDArray[np.int64]:
    return np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.int64)


def _nothing_in_common(
    published: Published, run: Path, both: Mapping[str, tuple[set[Any], set[Any]]]
) -> InputError:
    reasons = [
        f"{name} is {_listed(of_table)} in the table and {_listed(of_run)} in the run"
        for name, (of_table, of_run) in both.items()
        if not of_run & of_table
    ]
    return InputError(
        f"no row is a config of {run}" + (f": {'; '.join(reasons)}" if reasons else ""),
        place=str(published.path),
        fix="compare it with a run that has the table's cells, or check --column and --where",
    )


def _fixed(
    unsaid: Mapping[str, Sequence[Any]], joined: pd.DataFrame, published: Published
) -> dict[str, Value]:
    """What the table leaves unsaid must not differ between the configs it is compared with."""
    configs = joined["config"].tolist()
    twice = joined["row"].duplicated(keep=False)
    fixed = {}
    for name, values in unsaid.items():
        matching = [values[config] for config in configs]
        found = {value for value in matching if value is not ABSENT}
        # Where one cell has several configs, one of them may lack what another one has.
        doubtful = [value for value, again in zip(matching, twice, strict=True) if again]
        lacking = bool(found) and ABSENT in doubtful
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
            "several configs of the run are this cell",
            place=f"{published.path}:{line}",
            fix="leave the cell out of the table",
        )
    return fixed


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _shown(value: Any) -> str:
    return "none" if value is None or value is ABSENT else str(value)


def _listed(values: Iterable[Any], most: int = 8) -> str:
    found = sorted({value for value in values if value is not ABSENT}, key=_order)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return (", ".join(_shown(value) for value in found[:most]) + more) or "none"
