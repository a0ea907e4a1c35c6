"""A run beside a published table: which cells differ by more than chance, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.comparison_cells import match_cells
from xortune.errors import InputError
from xortune.frames import column_names, config_table
from xortune.point import Value
from xortune.published import Published, read_published
from xortune.run import ConfigResult, Run
from xortune.stats import count_range, fisher_size, fisher_two_sided, holm, wilson
from xortune.stats_difference import unpaired_difference

__all__ = ["CELL_COLUMNS", "GROUP_COLUMNS", "Comparison", "Summary", "compare_published"]

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
        expected_low, expected_high: in 95 % of such tables, or more, the number is in this range.
            Cells of one training, which differ in `epochs` only, may depend on each other in any
            way; those of different trainings are taken to be independent.
        trainings: how many trainings the cells are of.
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

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, and the cells of the smallest p."""
        from xortune.table_html import as_html

        told = self.summary
        return as_html(
            f"{told.cells:,} cells of {self.run} beside {self.reference.path}: {told.differ:,} "
            f"differ (Fisher's exact test, Holm's correction at {told.alpha:g}); "
            f"{told.below_alpha:,} have p < {told.alpha:g}, by chance alone it would be "
            f"{told.expected:.1f}.",
            self.cells,
        )

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
        path: the table; see `published.read_published`, also for `columns`.
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
    points = {e.block.point.key: e.block.point for e in run.evaluations if e.final}
    if not points:
        raise InputError("no configuration is finished yet", place=str(run.path))
    names = _names(run)
    published = read_published(path, list(names.values()), columns=columns, seeds=reference_seeds)
    found = match_cells(points, names, published, where or {}, run.path)
    keys = list(points)
    results = _results(run, [keys[config] for config in found.configs.tolist()])
    table = config_table(results, run.parameters).rename(columns=_renamed(run, names))
    cells, probability = _tested(table, published, found.rows, alpha)
    cells = cells[[*names.values(), *CELL_COLUMNS]]
    return Comparison(
        run=run.path,
        reference=published,
        where=found.where,
        parameters=tuple(names.values()),
        fixed=found.fixed,
        cells=cells,
        only_reference=tuple(published.lines[row] for row in found.only_rows.tolist()),
        only_run=tuple(keys[config] for config in found.only_configs.tolist()),
        groups=_groups(cells, probability, list(published.values), alpha),
        summary=_summary(cells, probability, _trainings(cells, names), alpha),
    )


def _names(run: Run) -> dict[str, str]:
    """The column of each parameter: its name, unless a column of ours has that name."""
    names = column_names(run.parameters)
    taken = {*CELL_COLUMNS, *names.values()}
    for name, column in names.items():
        if column in CELL_COLUMNS:
            free = f"param_{column}"
            while free in taken:
                free = f"param_{free}"
            taken.add(free)
            names[name] = free
    return names


def _renamed(run: Run, names: Mapping[str, str]) -> dict[str, str]:
    """From the columns that `config_table` gives to parameters, to ours."""
    before = column_names(run.parameters)
    return {before[name]: column for name, column in names.items() if before[name] != column}


def _results(run: Run, keys: Sequence[str]) -> list[ConfigResult]:
    """The results of some configs, in the order given; those of the others are not computed."""
    wanted = set(keys)
    part = replace(
        run, evaluations=tuple(e for e in run.evaluations if e.block.point.key in wanted)
    )
    found = {result.key: result for result in part.results}
    return [found[key] for key in keys]


def _tested(
    table: pd.DataFrame, published: Published, row: NDArray[np.int64], alpha: float
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The cells in order, and the probability of p < alpha of each if it does not differ."""
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
    probability = fisher_size(k + reference_k, n, reference_n, alpha=alpha)
    order = np.lexsort((table["key"].to_numpy().astype(str), p))
    return tested.iloc[order].reset_index(drop=True), probability[order]


def _trainings(cells: pd.DataFrame, names: Mapping[str, str]) -> NDArray[np.int64]:
    """Int64, shape (cells,): equal for cells that differ in nothing but the epochs."""
    others = [column for name, column in names.items() if name != "epochs"]
    if not others:
        return np.zeros(len(cells), np.int64)
    found = cells.groupby(others, dropna=False, sort=False).ngroup()
    return np.asarray(found, np.int64)


def _summary(
    cells: pd.DataFrame,
    probability: NDArray[np.float64],
    trainings: NDArray[np.int64],
    alpha: float,
) -> Summary:
    low, high = count_range(probability, trainings)
    return Summary(
        cells=len(cells),
        alpha=alpha,
        below_alpha=int((cells["p"] < alpha).sum()),
        expected=float(probability.sum()),
        expected_low=low,
        expected_high=high,
        trainings=int(np.unique(trainings).size),
        differ=int(cells["differs"].sum()),
        smallest_p=float(cells["p"].min()),
    )


def _groups(
    cells: pd.DataFrame, probability: NDArray[np.float64], parameters: Sequence[str], alpha: float
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
