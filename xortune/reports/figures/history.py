"""The history of a search: how good its best was after so many seeds."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.counts import wilson
from xortune.core.formats import count, number
from xortune.reports.figures.labels import (
    MOST,
    RULE,
    counted,
    described,
    finished,
    shown_n,
    thinned,
)
from xortune.reports.plot import Axis, Layer, Line, Panel, Plot, Points, Rule
from xortune.reports.tables import lower, rate_of, varying
from xortune.runs.certificate import Certificate
from xortune.runs.results import ConfigResults, by_version, full_seeds
from xortune.runs.run import Run
from xortune.runs.sessions import CERTIFIED

MOST_STEPS = 2000
"""Of more changes of the best only so many are steps of the line, evenly chosen."""


@dataclass(frozen=True)
class _Course:
    """The blocks of a search that count, in the order in which their results came.

    Attributes:
        keys: of the config of each block, length (B,).
        cost: float64, shape (B,): what had been spent after it.
        k, n: int64, shape (B,): the counts of its config after it.
        unit: of the cost.
    """

    keys: list[str]
    cost: NDArray[np.float64]
    k: NDArray[np.int64]
    n: NDArray[np.int64]
    unit: str


def optimization_history(run: Run) -> Plot:
    """The best so far, by the lower end of its interval, against what had been spent.

    Cost is seeds, or seeds times the epochs that each was trained for where configs differ in
    these. Blocks are in the order in which their results came; those that finally produced nothing
    are in it, as seeds not solved.

    Args:
        run: with one finished config at least.

    Raises:
        InputError: no config is finished, or the run's certificate is damaged.
    """
    results, certificate = finished(run), run.certificate
    course = _course(run, results)
    line, leaders = _best_so_far(course)
    dots, note = _dots(run, results, course, leaders)
    layers: list[Layer] = [*dots, line]
    came = "" if certificate is None else _certificate(run, certificate, course, layers)
    best, total = results[0].outcome, float(course.cost[-1])
    final = counted(best.successes, best.n, *best.interval())
    spent = f"{_amount(_reached(line))} of {_amount(total)} {course.unit}"
    return Plot(
        name="history",
        title=f"The best so far is within 1 point of its end after {spent}",
        alt=(
            f"In the end the best has {final}. The lower end of the best so far stays within 1 "
            f"point of that from {spent} on.{came}"
        ),
        note=(
            f"n = {shown_n(results)} seeds each. Line: the lower end of the best's 95 % Wilson "
            "interval, which falls when it fails on new seeds; as the highest of "
            f"{count(len(results), 'interval')} it is optimistic. Dots: each configuration's rate "
            f"in the end, where its first seeds came in. {note}"
        ).rstrip(),
        panels=(
            Panel(
                Axis(f"{course.unit} spent", limits=(-0.01 * total, 1.01 * total), whole=True),
                Axis("success rate", "rate", (-0.02, 1.02)),
                tuple(layers),
            ),
        ),
    )


def _course(run: Run, results: ConfigResults) -> _Course:
    blocks, _ = by_version(run.evaluations)
    epochs = dict(zip(results.keys, results.counts.epochs.tolist(), strict=True))
    varies = len(set(epochs.values())) > 1
    seeds, keys = blocks.column("count"), blocks.key_of_each
    each = np.array([epochs[key] for key in keys], np.float64) if varies else np.ones(len(keys))
    order = np.argsort(config := blocks.column("config"), kind="stable")
    ks, ns = (_cumulated(found, config, order) for found in (blocks.solved, seeds))
    unit = "seed-epochs" if varies else "seeds"
    return _Course(keys, np.cumsum(seeds * each), ks, ns, unit)


def _cumulated(
    values: NDArray[Any], config: NDArray[np.int64], order: NDArray[np.intp]
) -> NDArray[np.int64]:
    """After each block, the sum over all blocks of its config so far; `order` sorts by config."""
    sums = np.cumsum(values[order], dtype=np.int64)
    first = np.searchsorted(config[order], config[order])  # of the same config
    before = np.where(first > 0, sums[first - 1], 0)
    found = np.empty_like(sums)
    found[order] = sums - before
    return found


def _best_so_far(course: _Course) -> tuple[Line, set[str]]:
    """The highest lower end after each block, and the keys of all that ever had it."""
    lows = wilson(course.k, course.n)[0].tolist()
    latest: dict[str, float] = {}
    heap: list[tuple[float, int]] = []  # minus the lower end, and the block after which it was so
    steps: list[tuple[int, int]] = []  # after which block which other one's config is the best
    for place, (key, low) in enumerate(zip(course.keys, lows, strict=True)):
        latest[key] = low
        heapq.heappush(heap, (-low, place))
        while latest[course.keys[heap[0][1]]] != -heap[0][0]:  # it has had more seeds since
            heapq.heappop(heap)
        if not steps or heap[0][1] != steps[-1][1]:
            steps.append((place, heap[0][1]))
    leaders = {course.keys[best] for _, best in steps}
    if len(steps) > MOST_STEPS:
        kept = np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int).tolist()
        steps = [steps[place] for place in kept]
    steps.append((len(lows) - 1, steps[-1][1]))  # it lasts to the end
    line = Line(
        "best so far, lower end of its interval",
        x=tuple(float(course.cost[place]) for place, _ in steps),
        y=tuple(lows[best] for _, best in steps),
        role="best",
        step=True,
        texts=tuple(
            f"{course.keys[best]}: {course.k[best]:,} of {course.n[best]:,} seeds solved by then"
            for _, best in steps
        ),
    )
    return line, leaders


def _dots(
    run: Run, results: ConfigResults, course: _Course, leaders: set[str]
) -> tuple[list[Points], str]:
    """Each config where its first seeds came in, those with all seeds and the others apart."""
    began: dict[str, float] = {}
    for key, cost in zip(course.keys, course.cost.tolist(), strict=True):
        began.setdefault(key, cost)
    place_of = {key: place for place, key in enumerate(results.keys)}
    order = [place_of[key] for key in began]
    kept = thinned(
        results.counts.rate[order].tolist(),
        [place for place, key in enumerate(began) if key in leaders][:MOST],
    )
    note = ""
    if len(kept) < len(order):
        note = (
            f"Of {len(order):,} configurations {len(kept):,} are drawn: all that ever led, and "
            f"{RULE.format(parts=MOST // 4)}."
        )
    full, names = full_seeds(results, run.manifest), varying(run)
    shown = [results[order[place]] for place in kept]
    parts = [
        ("fewer seeds", "muted", [r for r in shown if r.outcome.n < full]),
        (f"all {count(full, 'seed')}", "a", [r for r in shown if r.outcome.n >= full]),
    ]
    layers = []
    for label, role, found in parts:
        if found:
            texts = [
                f"{described(r, names)}: {r.outcome.successes:,} of {r.outcome.n:,}" for r in found
            ]
            layers.append(
                Points(
                    label,
                    x=tuple(began[r.key] for r in found),
                    y=tuple(r.outcome.rate for r in found),
                    role="a" if role == "a" else "muted",
                    marker="dot" if role == "a" else "ring",
                    texts=tuple(texts),
                    keys=tuple(r.key for r in found),
                )
            )
    return layers, note


def _certificate(run: Run, certificate: Certificate, course: _Course, layers: list[Layer]) -> str:
    """Add the first finalist on fresh seeds; where in the search, and what it comes to.

    A journal does not say when the certificate was made. But if one session searched, that was at
    its end; if several did, not before each finalist had the counts of which the certificate knows.
    """
    if not certificate.finalists:
        return ""
    at, when = float(course.cost[-1]), "certificate"
    if _searches(run) > 1:
        counts = {found.key: (found.search_k, found.search_n) for found in certificate.finalists}
        places = [
            place
            for place, (key, k, n) in enumerate(
                zip(course.keys, course.k.tolist(), course.n.tolist(), strict=True)
            )
            if counts.get(key) == (k, n)
        ]
        if len(places) < len(counts):
            return ""  # it was made of other counts than these
        at, when = float(course.cost[max(places)]), "certificate, not before"
    best = certificate.best
    layers.append(Rule("x", at, when))
    layers.append(
        Points(
            f"certified, on {count(best.n, 'fresh seed')}",
            x=(at,),
            y=(best.rate,),
            y_low=(best.rate if best.lower_bound is None else best.lower_bound,),
            y_high=(best.rate,),
            role="b",
            marker="diamond",
            texts=(f"{best.key}: {best.k:,} of {best.n:,} fresh seeds, at least {lower(best)}",),
            keys=(best.key,),
        )
    )
    rate, sure = rate_of(best.k, best.n), number(certificate.confidence)
    return (
        f" Of {count(best.n, 'fresh seed')} the first finalist solved {best.k:,}, {rate}: at least "
        f"{lower(best)} with confidence {sure}."
    )


def _searches(run: Run) -> int:
    """How many sessions searched; one in a run from before sessions were noted."""
    sessions = run.manifest.get("sessions")
    if not isinstance(sessions, list):
        return 1
    return sum(not isinstance(s, dict) or s.get("what") != CERTIFIED for s in sessions)


def _reached(line: Line) -> float:
    """The cost from which on the line stays within 0.01 of its end."""
    last = max((i for i, y in enumerate(line.y) if abs(y - line.y[-1]) > 0.01), default=-1)
    return line.x[last + 1]


def _amount(cost: float) -> str:
    return f"{round(cost):,}" if cost < 1e7 else number(cost)
