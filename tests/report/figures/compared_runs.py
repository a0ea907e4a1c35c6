"""The comparisons that the tests of their figures share."""

from dataclasses import replace

import numpy as np
from compared import contestant, seeds_of
from reported import published

from xortune.comparisons.runs import compare_runs
from xortune.core.outcome import Details
from xortune.core.success import parse_success
from xortune.reports.figures.comparisons import (
    agreement,
    cell_differences,
    differences,
    numbers_profile,
    profile,
    wins,
)


def networks():
    """c0 and c1 solve more seeds than c2, c0 sooner than c1; of c2 half are not solved."""
    entries = [(45, 10), (43, 100), (20, 100)]
    return compare_runs(
        [
            contestant(f"c{i}", seeds_of("+" * k + "-" * (50 - k), epoch=epoch))
            for i, (k, epoch) in enumerate(entries)
        ]
    )


def told(accuracy, *, first=0, rule="accuracy >= 0.9", **more):
    """The outcome of a trainer of one's own that told these numbers, and its rule."""
    values = {name: np.array(v, float) for name, v in {"accuracy": accuracy, **more}.items()}
    good = values["accuracy"] >= 0.9
    found = seeds_of("".join("+" if one else "-" for one in good), first=first, epochs=0)
    found = replace(found, solved_epoch=np.zeros(found.n, np.int32), details=Details(values=values))
    return {"found": found, "rule": None if rule is None else parse_success(rule)}


def numbers(rule="accuracy >= 0.9"):
    """Three trainers: the first crashed once, the second is worse, the third has other seeds."""
    at = np.arange(20)
    return compare_runs(
        [
            contestant("wide", **told([*(0.81 + 0.01 * at[1:]), np.nan], loss=at, rule=rule)),
            contestant("narrow", **told(0.76 + 0.01 * at, loss=2 * at, rule=rule)),
            contestant("other", **told(0.8 + 0.01 * at, loss=at**2, first=100, rule=rule)),
        ]
    )


def figures(folder):
    """Each figure of a comparison."""
    network, table = networks(), published(folder)
    return [
        differences(network),
        wins(network),
        profile(network),
        numbers_profile(numbers()),
        agreement(table),
        cell_differences(table),
    ]
