"""Compares a run with the published part of the thread's sweep, cell by cell.

    python examples/thread/published.py runs/published_sweep published.tsv

The table is the reader's: a text with tabs, one row for each cell, and a header with `COLUMNS`. The
run is one of search_spaces/published_sweep.yaml, or of a part that has all cells of the table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import ALPHA, holm
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import hypergeom

import xortune as xt

COLUMNS = {
    "Activation": "activation",
    "Criterion": "loss",
    "Optimizer": "optimizer",
    "HiddenDim": "hidden_dim",
    "LearnRate": "lr",
    "Epochs": "epochs",
    "PercentCorrect": "theirs",
}
CELL = [name for name in COLUMNS.values() if name != "theirs"]
TRAINING = [name for name in CELL if name != "epochs"]
"""Cells that share these are one training, looked at after several epochs."""
SEEDS = 100
"""Of each cell of the table, so that its percentages are counts."""
DRAWS = 2000
"""Simulated tables without a difference."""
PART = 64
"""Trainings that are drawn in one go, for the memory."""
SHOWN = 10
TIE = 1 + 1e-7
"""Probabilities within this factor are equal up to rounding, as in scipy's `fisher_exact`."""

Numbers = NDArray[np.float64]


def cells_of(run: xt.Run, path: Path) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The cells that run and table have in common, sorted by `CELL`.

    Returns:
        Their frame, with `k` of `n` seeds solved by the run and `theirs` of `SEEDS` in the table;
        and which seeds the run solved: shape (trainings, epochs, seeds).
    """
    table = pd.read_csv(path, sep="\t")
    if lacking := set(COLUMNS) - set(table):
        sys.exit(f"error: {path}: lacks {', '.join(sorted(lacking))}")
    table = table[list(COLUMNS)].rename(columns=COLUMNS)
    mine = run.table.reset_index(names="place")[["place", *CELL, "k", "n"]]
    cells = mine.merge(table, on=CELL).sort_values(CELL, ignore_index=True)
    trainings, epochs = len(cells[TRAINING].drop_duplicates()), cells["epochs"].nunique()
    if not len(cells) == len(table) == trainings * epochs or cells.duplicated(CELL).any():
        sys.exit(
            f"error: {path}: {len(cells)} of {len(table)} cells are in {run.path}; allowed: a run "
            "that has each once, and a table that has each training after the same epochs"
        )
    outcomes = [run.results[place].outcome for place in cells["place"]]
    if any(not np.array_equal(one.seeds, outcomes[0].seeds) for one in outcomes):
        sys.exit(f"error: {run.path}: its cells have different seeds; allowed: the same for all")
    solved = np.array([one.solved for one in outcomes])
    return cells.drop(columns="place"), solved.reshape(trainings, epochs, -1)


def fisher(k: NDArray[np.int64], theirs: NDArray[np.int64], n: int) -> tuple[Numbers, Numbers]:
    """Fisher's exact test of k of n seeds beside theirs of `SEEDS`, two-sided.

    Given the solved seeds of both together, the test's distribution is known without an estimate of
    any rate. Source: Fisher, J. R. Stat. Soc. 98 (1935) 39-82.

    Returns:
        p, in the shape of k; and the probability that p < ALPHA although nothing differs, with k
        the smaller and with k the larger share: shape (2, *k.shape).
    """
    p, tails = np.empty(k.shape), np.empty((2, *k.shape))
    for both in np.unique(k + theirs).tolist():
        these = k + theirs == both
        possible = np.arange(max(0, both - SEEDS), min(both, n) + 1)
        mass = hypergeom.pmf(possible, n + SEEDS, both, n)
        each = np.array([mass[mass <= one * TIE].sum() for one in mass])
        p[these] = np.minimum(each[k[these] - possible[0]], 1.0)
        fewer = possible * SEEDS < (both - possible) * n
        tails[0, these] = mass[(each < ALPHA) & fewer].sum()
        tails[1, these] = mass[(each < ALPHA) & ~fewer].sum()
    return p, tails


def looks_fresh(k: NDArray[np.int64], theirs: NDArray[np.int64], n: int) -> bool:
    """Whether each of the table's cells seems to have seeds of its own.

    A solved seed mostly stays solved. So counts of the same seeds hardly ever fall with the epochs,
    while counts of fresh seeds do. This compares the falls in the table with those in the run and
    with those expected of fresh seeds.

    Args:
        k: solved by the run, shape (trainings, epochs).
        theirs: solved in the table, of `SEEDS`.
        n: seeds of the run.
    """

    def falls(rates: Numbers) -> float:
        return float(np.maximum(-np.diff(rates), 0.0).sum())

    pooled = (k + theirs) / (n + SEEDS)
    variance = pooled * (1 - pooled) / SEEDS
    spread = np.sqrt(np.maximum(variance[:, :-1] + variance[:, 1:], 1e-300))
    rise = np.diff(pooled)
    z = rise / spread  # next: the expected fall of a normal variable
    expected = spread * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) - rise * ndtr(-z)
    return falls(theirs / SEEDS) > (falls(k / n) + float(expected.sum())) / 2


def chance_range(solved: NDArray[np.bool_], tails: Numbers, *, fresh: bool) -> tuple[int, int]:
    """The range of the number of cells with p < ALPHA if nothing differs.

    The cells depend on each other: all share the run's seeds, and a training gives a cell at
    several epochs. This simulates tables. In each, a cell has p < ALPHA with exactly the
    probability of `fisher`. The dependence between cells is that of a Gaussian copula with the
    correlations of the run's seeds:

    - within a training at several epochs, after adding half a seed that is always solved and half a
      seed that never is, so that a cell without failures has a correlation too;
    - between trainings, reduced: the correlations of n seeds scatter by 1 / sqrt(n) even if the
      true ones are 0, which adds up over many cells. That part is subtracted.

    The table's cells are taken to depend on each other as the run's do, unless they are `fresh`.

    Args:
        solved: which seeds the run solved, shape (trainings, epochs, seeds).
        tails: see `fisher`, shape (2, trainings, epochs).
        fresh: whether each of the table's cells has seeds of its own.

    Returns:
        (low, high): the range whose probability is as near to 95 % as integers allow.
    """
    able = tails.any(axis=(0, 2))  # another training has no cell that could have p < ALPHA
    if not able.any():
        return 0, 0
    solved, tails = solved[able], tails[:, able]
    trainings, epochs, n = solved.shape
    low, high = ndtri(tails) * np.array([1, -1])[:, None, None]  # p < ALPHA beyond them
    both = standardized(solved, np.ones(n))
    share = between_trainings(both, curvature(low) + curvature(high))
    shared = np.where(both.any(axis=2), share, 0.0)[..., None]
    mine = np.sqrt(SEEDS / (n + SEEDS))  # the run's share of the noise
    ends = np.broadcast_to([0.0, 1.0], (trainings, epochs, 2))
    weights = np.append(np.ones(n), [0.5, 0.5])
    own = standardized(np.concatenate([solved, ends], axis=2), weights)
    rng = np.random.default_rng(0)
    common = rng.standard_normal((2, 1, n, DRAWS))
    below = np.zeros(DRAWS, np.int64)  # cells of each simulated table
    for first in range(0, trainings, PART):
        part = slice(first, first + PART)
        values, vectors = np.linalg.eigh(own[part] @ own[part].swapaxes(1, 2))
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        noise = rng.standard_normal((2, *low[part].shape, DRAWS))
        drawn = shared[part] * (both[part] @ common)
        drawn += np.sqrt(1 - shared[part] ** 2) * (root @ noise)
        if fresh:
            drawn[1] = noise[1]
        z = mine * drawn[0] + np.sqrt(1 - mine**2) * drawn[1]
        below += ((z < low[part][..., None]) | (z > high[part][..., None])).sum(axis=(0, 1))
    return central_range(np.bincount(below) / DRAWS, ALPHA)


def standardized(solved: NDArray[Any], weights: Numbers) -> Numbers:
    """Rows of mean 0 and length 1, whose products are correlations; 0 for constant rows."""
    mean = (solved * weights).sum(axis=-1, keepdims=True) / weights.sum()
    deviation = (solved - mean) * np.sqrt(weights)
    length = np.sqrt((deviation**2).sum(axis=-1, keepdims=True))
    return np.asarray(deviation / np.where(length > 1e-9, length, np.inf))


def curvature(z: Numbers) -> Numbers:
    """How strongly a squared correlation makes events beyond z and -z depend on another."""
    finite = np.where(np.isfinite(z), np.abs(z), 0.0)
    return np.asarray(finite * np.exp(-(finite**2) / 2))


def between_trainings(both: Numbers, weights: Numbers) -> float:
    """The share of a cell's deviation that different trainings have in common, 0 to 1.

    It sums the squared correlations of all pairs of cells of different trainings, as products of
    matrices of seeds, and subtracts those that n seeds show by chance.
    """
    n = both.shape[2]

    def sums(x: Numbers) -> Numbers:
        return np.array([((x.T @ x) ** 2).sum(), ((x**2).sum(axis=0) ** 2).sum()])

    weighted = both * np.sqrt(weights)[..., None]
    seen, by_chance = sums(weighted.reshape(-1, n)) - sum(map(sums, weighted))
    if len(both) < 2 or seen <= 0 or n < 2:
        return 0.0
    return float(np.clip((seen - by_chance * n / (n - 1)) / seen, 0.0, 1.0) ** 0.25)


def central_range(mass: Numbers, outside: float) -> tuple[int, int]:
    """The ends of a distribution of 0, 1, ... after dropping tails of about `outside`."""
    low, high, dropped = 0, mass.size - 1, 0.0
    while low < high:
        rarer = min(mass[low], mass[high])
        if dropped + rarer / 2 > outside:  # dropping it would miss `outside` by more
            break
        dropped += rarer
        low, high = (low + 1, high) if mass[low] < mass[high] else (low, high - 1)
    return low, high


def told(cells: pd.DataFrame, solved: NDArray[np.bool_]) -> str:
    """The answer. The cells get their `p` and, corrected by Holm over all of them, `p_holm`."""
    trainings, epochs, n = solved.shape
    k, theirs = (cells[name].to_numpy().reshape(trainings, epochs) for name in ("k", "theirs"))
    p, tails = fisher(k, theirs, n)
    cells["p"], cells["p_holm"] = p.ravel(), holm(p.ravel())
    fresh = looks_fresh(k, theirs, n)
    low, high = chance_range(solved, tails, fresh=fresh)
    below, differ = int((p < ALPHA).sum()), cells[cells["p_holm"] < ALPHA]
    where = "above" if below > high else "below" if below < low else "within"
    lines = [
        f"{len(differ):,} of {len(cells):,} cells differ beyond chance (Holm {100 * ALPHA:g} %).",
        f"{below:,} have p < {ALPHA:g}. Chance alone gives about {tails.sum():.1f}, 95 % range "
        f"{low:,} to {high:,}: the run's cells share seeds, the table's seem "
        f"{'not to' if fresh else 'to as well'}. So their number is {where} this range.",
    ]
    alike = [name for name in CELL if differ[name].nunique() == 1 < cells[name].nunique()]
    if len(differ) > 1 and alike:
        shared = ", ".join(f"{name} {differ[name].iloc[0]}" for name in alike)
        lines.append(f"All that differ have {shared}.")
    first = cells.sort_values("p", kind="stable").head(max(SHOWN, len(differ)))
    return "\n".join([*lines, "", first.to_string(index=False, float_format="{:.3g}".format)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="the directory of a run")
    parser.add_argument("table", type=Path, help="the published table")
    asked = parser.parse_args()
    try:
        print(told(*cells_of(xt.load_run(asked.run), asked.table)))
    except (xt.InputError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
