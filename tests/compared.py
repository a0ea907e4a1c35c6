"""What the tests of comparisons share: contestants made by hand, Holm by another library."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, solved, write_run
from statsmodels.stats.multitest import multipletests

from xortune.comparisons.comparison import compare_all, compare_in_step
from xortune.comparisons.contestants import Contestant
from xortune.comparisons.measures import SUCCESS
from xortune.core.outcome import Details
from xortune.core.point import Point
from xortune.runs.evaluation import Purpose
from xortune.runs.manifest import NOBODY

FIRST = 2000
"""Of certified seeds; those of searches are lower."""


def seeds_of(pattern, *, first=0, epoch=300, epochs=1000):
    """The outcome of seeds from `first` on, one for each sign: + is solved."""
    rows = [RIGHT if sign == "+" else WRONG for sign in pattern]
    return outcome(first, rows, epoch=epoch, epochs=epochs)


def contestant(label, found, **more):
    return Contestant(label, "", None, found, "given", **more)


def paired(both, wins, losses, neither, labels=("A", "B")):
    """Two contestants on shared seeds, with so many of each kind."""
    one = "+" * both + "+" * wins + "-" * losses + "-" * neither
    other = "+" * both + "-" * wins + "+" * losses + "-" * neither
    return compare_all(
        [contestant(label, seeds_of(p)) for label, p in zip(labels, (one, other), strict=True)]
    )


def unpaired(k1, n1, k2, n2, labels=("A", "B")):
    """Two contestants on other seeds."""
    return compare_all(
        [contestant(labels[0], solved(0, k1, n1)), contestant(labels[1], solved(n1, k2, n2))]
    )


def in_step(seeds, most, measure=SUCCESS, **more):
    """Contestants a, b, ... compared seed after seed: which seeds each solves, or its numbers x."""
    contestants = []
    for label, row in zip("abcdef", seeds, strict=False):
        found = seeds_of("+" if one else "-" for one in row)
        if measure is not SUCCESS:
            found = replace(found, details=Details({"x": np.asarray(row, float)}))
        contestants.append(contestant(label, found))
    return compare_in_step(contestants, measure, max_seeds=most, alpha=0.05, **more)


def purpose(point, rank, finalists, seeds, **more):
    given = {"attempt": 1, "search_k": 8, "search_n": 8, "moved": None, "by": "own"}
    given |= {"neighbours": 0, "first": None, "confidence": 0.95, "extendable": False}
    place = {"finalist": point.key, "rank": rank, "finalists": finalists, "seeds": seeds}
    return Purpose(kind="certify", **place, **given | more)


def certified_run(path, counts, *, searched=None, first=FIRST, n=100, **manifest):
    """A run whose configs differ in lr, the first of them the best; `counts` are certified."""
    points = [Point({**CONFIG, "lr": round(0.01 * (i + 1), 2)}) for i in range(len(counts))]
    searched = searched or [8] * len(counts)
    lines = [
        done(i, point, solved(0, k, 8, epoch=10 * (i + 1)))
        for i, (point, k) in enumerate(zip(points, searched, strict=True))
    ]
    certified = [
        (i, p, k) for i, (p, k) in enumerate(zip(points, counts, strict=True)) if k is not None
    ]
    for rank, (i, point, k) in enumerate(certified, 1):
        for start in (0, n // 2):  # two blocks
            rows = [RIGHT if seed < k else WRONG for seed in range(start, start + n // 2)]
            line = done(i, point, outcome(first + start, rows))
            lines.append(replace(line, purpose=purpose(point, rank, len(certified), n)))
    given = {"trainer": "network", "task": "xor", "task_fingerprint": "f1", "name": path.name}
    told = {name: manifest[name] for name in ("started", "versions") if name in manifest}
    given["sessions"] = [{"number": 1, "made": NOBODY, **told}]
    given["made"] = {NOBODY: {n: manifest[n] for n in ("engine",) if n in manifest}}
    return write_run(path, lines, **{**given, **manifest})


def holm_of_statsmodels(p):
    """Adjusted p-values. It looks for garbage, which takes half a second where tests have run."""
    with patch("gc.collect"):
        return multipletests(p, method="holm")[1]
