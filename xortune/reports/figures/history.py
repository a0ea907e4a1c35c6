"""The history of a search: how good its best was after so many seeds."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, number
from xortune.core.outcome import wilson
from xortune.reports.figures.labels import MOST, described, finished, plot_of, sampled
from xortune.reports.plot import RATES, Axis, Layer, Mark, Panel, Plot, Rule, Series
from xortune.reports.tables import lower, varying
from xortune.runs.certificate import Certificate
from xortune.runs.evaluation import PART
from xortune.runs.manifest import CERTIFIED, sessions_of
from xortune.runs.results import by_version
from xortune.runs.run import Run


def optimization_history(run: Run, *, running: bool = False) -> Plot:
    """The best so far, by the lower end of its interval, against what had been spent.

    Cost is seeds, or seeds times the epochs that each was trained for where configs differ in
    these. Blocks that finally produced nothing are in it, as seeds not solved. Of a search that
    still runs nothing is said of its end.
    """
    results, certificate = finished(run), run.certificate
    varies = bool(np.ptp(results.counts.epochs))
    unit = "seed-epochs" if varies else "seeds"
    looks, keys = _looks(run, weighted=varies), run.evaluations.lines.keys
    line, leaders = _best_so_far(keys, looks)
    dots, drawn = _dots(run, keys, looks, leaders)
    layers: list[Layer] = [*dots, line]
    layers += [] if certificate is None else _certificate(run, keys, certificate, looks)
    total, end = line.marks[-1].x, line.marks[-1].y
    last = max((i for i, mark in enumerate(line.marks) if abs(mark.y - end) > 0.01), default=-1)
    x = Axis(f"{unit} spent", limits=(-0.01 * total, 1.01 * total), whole=True)
    return plot_of(
        "history",
        Panel(x, Axis("success rate", "rate", RATES), tuple(layers)),
        running=running,
        best=results[0].outcome,
        sizes=results.counts.n.tolist(),
        drawn=drawn,
        spent=f"{_amount(line.marks[last + 1].x)} of {_amount(total)} {unit}",
        certified=certificate.best if certificate and len(layers) > len(dots) + 1 else None,
        confidence=certificate and certificate.confidence,
    )


def history_so_far(run: Run) -> Plot:
    """`optimization_history` of a search that still runs."""
    return optimization_history(run, running=True)


@dataclass(frozen=True)
class _Looks:
    """The B blocks that count, in the order in which their results came.

    Attributes:
        config: int64, shape (B,): the place of its config among the keys of the journal's lines.
        k, n: int64, shape (B,): seeds of its config by then, solved and in all.
        cost: float64, shape (B,): of all blocks by then.
        first, last: int64, shape (C,): of each config its first block and its last.
    """

    config: NDArray[np.int64]
    k: NDArray[np.int64]
    n: NDArray[np.int64]
    cost: NDArray[np.float64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def _looks(run: Run, *, weighted: bool) -> _Looks:
    blocks, _ = by_version(run.evaluations)
    config, n = blocks.column("config"), blocks.column("count")
    cost = n.astype(np.float64)
    if weighted:
        epochs = np.zeros(len(blocks.lines.keys))
        epochs[run.results.configs] = run.results.counts.epochs
        cost *= epochs[config]
    order = np.argsort(config, kind="stable")
    sizes = np.unique(config, return_counts=True)[1]
    ends = sizes.cumsum()

    def by_then(values: NDArray[np.integer]) -> NDArray[np.int64]:
        total = values[order].cumsum()
        total -= np.repeat(np.append(0, total[ends[:-1] - 1]), sizes)
        found = np.empty(len(order), np.int64)
        found[order] = total
        return found

    k, n = by_then(blocks.solved), by_then(n)
    return _Looks(config, k, n, cost.cumsum(), order[ends - sizes], order[ends - 1])


def _best_so_far(keys: Sequence[str], looks: _Looks) -> tuple[Series, set[int]]:
    """The highest lower end after each block, and the places of all configs that ever had it."""
    parts = range(0, len(looks.k), PART)  # of all at once, what is computed between is much memory
    lows = np.concatenate([wilson(looks.k[i : i + PART], looks.n[i : i + PART])[0] for i in parts])
    final = np.zeros(len(lows), np.bool_)
    final[looks.last] = True
    latest, stays = array("d", bytes(8 * len(keys))), -math.inf
    heap: list[tuple[float, int]] = []  # minus the lower end, and the look at which it was so
    steps: list[tuple[int, int]] = []  # from which look on which other one is the best
    # Memory views give one number after the other: there may be millions.
    rows = zip(looks.config.data, lows.data, final.data, strict=True)
    for place, (config, low, last) in enumerate(rows):
        latest[config] = low
        if low > stays:  # else one that will not change is as good
            heapq.heappush(heap, (-low, place))
            stays = low if last else stays
        while latest[looks.config[heap[0][1]]] != -heap[0][0]:  # it has had more seeds since
            heapq.heappop(heap)
        if not steps or heap[0][1] != steps[-1][1]:
            steps.append((place, heap[0][1]))
    leaders = {int(looks.config[best]) for _, best in steps}
    steps = [steps[at] for at in sampled(len(steps))]
    steps.append((len(lows) - 1, steps[-1][1]))  # it lasts to the end
    marks = (
        Mark(
            float(looks.cost[place]),
            float(lows[best]),
            text=f"{keys[looks.config[best]]}: {looks.k[best]:,} of {looks.n[best]:,} seeds "
            "solved by then",
        )
        for place, best in steps
    )
    label = "best so far, lower end of its interval"
    return Series(label, tuple(marks), "steps", "best"), leaders


def _dots(
    run: Run, keys: Sequence[str], looks: _Looks, leaders: set[int]
) -> tuple[list[Series], int]:
    """Each config where its first seeds came in, those with all seeds and the others apart.

    At most so many are drawn as are told apart: it says how many.
    """
    first = np.sort(looks.first)
    order, began = looks.config[first], looks.cost[first]
    places = np.zeros(len(keys), np.int64)
    places[run.results.configs] = np.arange(len(run.results))
    # Many configs may have led for a moment.
    led = sorted(leaders, key=keys.__getitem__)[:MOST]
    kept = sorted({*sampled(len(order)), *np.flatnonzero(np.isin(order, led)).tolist()})
    full, names = run.full_seeds, varying(run)
    marks: dict[bool, list[Mark]] = {False: [], True: []}
    for at in kept:
        r = run.results[int(places[order[at]])]
        k, n = r.outcome.successes, r.outcome.n
        text = f"{described(r, names)}: {k:,} of {n:,}"
        marks[n >= full].append(Mark(float(began[at]), r.outcome.rate, text=text, key=r.key))
    fewer = Series("fewer seeds", tuple(marks[False]), role="muted", marker="ring")
    whole = Series(f"all {count(full, 'seed')}", tuple(marks[True]))
    return [one for one in (fewer, whole) if one.marks], len(kept)


def _certificate(
    run: Run, keys: Sequence[str], certificate: Certificate, looks: _Looks
) -> list[Layer]:
    """The first finalist on fresh seeds, and where in the search.

    A journal does not say when the certificate was made. But if one session searched, that was at
    its end; if several did, not before each finalist had the counts of which the certificate knows.
    """
    if not certificate.finalists:
        return []
    at, when = float(looks.cost[-1]), "certificate"
    sessions = sessions_of(run.manifest)
    if sum(session.get("what") != CERTIFIED for session in sessions) > 1:
        counts = {(found.key, found.search_k, found.search_n) for found in certificate.finalists}
        rows = zip(looks.config, looks.k, looks.n, looks.cost, strict=True)
        had = [float(cost) for config, k, n, cost in rows if (keys[config], k, n) in counts]
        if len(had) < len(counts):
            return []  # it was made of other counts than these
        at, when = max(had), "certificate, not before"
    best = certificate.best
    bound = best.rate if best.lower_bound is None else best.lower_bound
    text = f"{best.key}: {best.k:,} of {best.n:,} fresh seeds, at least {lower(best)}"
    mark = Mark(at, best.rate, y_ends=(bound, best.rate), text=text, key=best.key)
    label = f"certified, on {count(best.n, 'fresh seed')}"
    return [Rule("x", at, when), Series(label, (mark,), role="b", marker="diamond")]


def _amount(cost: float) -> str:
    return f"{round(cost):,}" if cost < 1e7 else number(cost)
