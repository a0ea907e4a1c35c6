"""The tables of a run as frames: one row per config, one row per config and seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.evaluation_stack import stacked
from xortune.frames_values import (
    More,
    config_columns,
    more_of,
    objective_columns,
    seed_columns,
)
from xortune.objective_numbers import summed_only
from xortune.outcome import Status
from xortune.space_model import Objective
from xortune.stats import wilson

if TYPE_CHECKING:
    import pyarrow as pa

    from xortune.outcome import Outcome
    from xortune.run import ConfigResult

__all__ = [
    "CONFIG_COLUMNS",
    "FRONT",
    "PART",
    "array_of",
    "column_names",
    "config_table",
    "seed_frame",
    "seed_table",
    "seed_tables",
    "status_counts",
]

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
    trainer of the user's own told: see `xortune.frames_values`.

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
