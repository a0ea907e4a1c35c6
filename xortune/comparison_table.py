"""comparison.csv: one row for each pair of what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from xortune.stats import wilson

if TYPE_CHECKING:
    from xortune.comparison_numbers import Numbers, Summed
    from xortune.comparison_runs import Pair, RunComparison
    from xortune.comparison_speed import Improvement, Middle

__all__ = ["NUMBER_ENDINGS", "PAIR_COLUMNS", "number_columns", "pair_table"]

_SOONER = ("sooner", "sooner_low", "sooner_high")
_SUMMED = ("n", "iqm", "iqm_low", "iqm_high")

PAIR_COLUMNS = (
    *("a", "b", "key_a", "key_b", "seeds"),
    *("k_a", "n_a", "rate_a", "low_a", "high_a", "k_b", "n_b", "rate_b", "low_b", "high_b"),
    *("only_a", "only_b", "difference", "low", "high", "p", "p_holm", "differs", "more_seeds"),
    *_SOONER,
    *(f"epochs_{ending}_{side}" for side in "ab" for ending in _SUMMED[1:]),
)
"""The columns of comparison.csv, one row for each pair. epochs_iqm is the interquartile mean."""

NUMBER_ENDINGS = (
    *(f"{ending}_{side}" for side in "ab" for ending in _SUMMED),
    *("wins", "wins_low", "wins_high"),
)
"""Of each number NAME that trainers told: NAME_n_a, the seeds of A that have it, NAME_iqm_a, and so
on; NAME_wins, how probable it is that it is better (larger, if no rule says) for A than for B."""


def pair_table(comparison: RunComparison) -> pd.DataFrame:
    """One row for each pair, with `PAIR_COLUMNS` and `number_columns`; rates as fractions."""
    pairs = zip(comparison.pairs, comparison.sooner, strict=True)
    rows = [_row(comparison, pair, sooner) for pair, sooner in pairs]
    whole = dict.fromkeys(("only_a", "only_b", "more_seeds"), "Int64")
    # NaN where there is no such number, also if there is none in any row.
    real = dict.fromkeys(
        (*_SOONER, *(name for name in PAIR_COLUMNS if name.startswith("epochs_"))), "float64"
    )
    table = pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype(whole | real)
    more = number_columns(comparison, tuple(table.columns))
    return pd.concat([table, more], axis=1) if more.shape[1] else table


def number_columns(comparison: RunComparison, taken: Sequence[str] = PAIR_COLUMNS) -> pd.DataFrame:
    """Of each number its `NUMBER_ENDINGS`, one row for each pair; nothing if nobody told any.

    Args:
        comparison: of all.
        taken: names of other columns; a number whose columns would be called so is `value_NAME`.
    """
    columns: dict[str, list[float]] = {}
    for numbers in comparison.numbers:
        name = numbers.name
        while any(f"{name}_{ending}" in {*taken, *columns} for ending in NUMBER_ENDINGS):
            name = f"value_{name}"
        rows = [_told(numbers, place, pair) for place, pair in enumerate(comparison.pairs)]
        for at, ending in enumerate(NUMBER_ENDINGS):
            columns[f"{name}_{ending}"] = [row[at] for row in rows]
    counts = {name: "Int64" for name in columns if name.endswith(("_n_a", "_n_b"))}
    return pd.DataFrame(columns, dtype=np.float64).astype(counts)


def _row(comparison: RunComparison, pair: Pair, sooner: Improvement | None) -> dict[str, object]:
    first, second = comparison.contestants[pair.a], comparison.contestants[pair.b]
    low, high = wilson([pair.k_a, pair.k_b], [pair.n_a, pair.n_b])
    middles = (("a", comparison.middles[pair.a]), ("b", comparison.middles[pair.b]))
    return {
        "a": first.label,
        "b": second.label,
        "key_a": first.key,
        "key_b": second.key,
        "seeds": "shared" if pair.shared else "unshared",
        "k_a": pair.k_a,
        "n_a": pair.n_a,
        "rate_a": pair.k_a / pair.n_a,
        "low_a": float(low[0]),
        "high_a": float(high[0]),
        "k_b": pair.k_b,
        "n_b": pair.n_b,
        "rate_b": pair.k_b / pair.n_b,
        "low_b": float(low[1]),
        "high_b": float(high[1]),
        "only_a": pair.wins,
        "only_b": pair.losses,
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "p": pair.p,
        "p_holm": pair.p_holm,
        "differs": pair.differs,
        "more_seeds": pair.more_seeds,
        **dict(zip(_SOONER, _ends(sooner), strict=True)),
        **{name: amount for side, one in middles for name, amount in _epochs(side, one).items()},
    }


def _epochs(side: str, one: Middle) -> dict[str, float | None]:
    return {
        f"epochs_iqm_{side}": one.epochs,
        f"epochs_iqm_low_{side}": one.low,
        f"epochs_iqm_high_{side}": one.high,
    }


def _told(numbers: Numbers, place: int, pair: Pair) -> list[float]:
    """The cells of a number in the row of a pair, in the order of `NUMBER_ENDINGS`."""
    cells = [*_summed(numbers.of[pair.a]), *_summed(numbers.of[pair.b])]
    found = (*cells, *_ends(numbers.wins[place]))
    return [np.nan if cell is None else float(cell) for cell in found]


def _ends(win: Improvement | None) -> tuple[float | None, ...]:
    return (None,) * 3 if win is None else (win.probability, win.low, win.high)


def _summed(found: Summed | None) -> tuple[float | None, ...]:
    return (
        (None,) * len(_SUMMED)
        if found is None
        else (found.known, found.middle, found.low, found.high)
    )
