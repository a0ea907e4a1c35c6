"""The history of a search: its best config against what was spent, and its workers over time."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, duration, lower_percent, number, percent, plain
from xortune.core.outcome import wilson
from xortune.racing.objectives import numbers_in, statistic_value
from xortune.reports.analysis import busy_sentence, report_of
from xortune.reports.drawing.model import RATES, Axis, Guide, Layer, Mark, Panel, Plot, Role, Series
from xortune.reports.figures.common import DRAWN_POINTS, HUGE, described, finished, plot_of, sampled
from xortune.runs.certificate import Certificate
from xortune.runs.manifest import CERTIFIED, is_imported, sessions_of
from xortune.runs.results import by_version
from xortune.runs.run import Run
from xortune.runs.status import busy_share


def optimization_history(run: Run, *, running: bool = False) -> Plot:
    """The best so far, by the lower end of its interval, against the cost.

    The cost is seeds, or seeds times epochs if configs differ in their epochs. It includes blocks
    without an outcome, whose seeds count as not solved. While the search is `running`, the text
    does not mention its end.
    """
    results, certificate = finished(run), run.certificate
    weighted = bool(np.ptp(results.counts.epochs))
    unit = "seed-epochs" if weighted else "seeds"
    looks, keys = _looks(run, weighted=weighted), run.evaluations.lines.keys
    steps, leaders = _best_so_far(keys, looks)
    line = _line(keys, looks, steps, looks.cost)
    dots, drawn = _dots(run, keys, looks, leaders)
    layers: list[Layer] = [*dots, line]
    layers += [] if certificate is None else _certificate(run, keys, certificate, looks)
    total, end = line.marks[-1].x, line.marks[-1].y
    last = max((i for i, mark in enumerate(line.marks) if abs(mark.y - end) > 0.01), default=-1)
    x = Axis(f"{unit} spent", limits=(-0.01 * total, 1.01 * total), whole=True)
    y = Axis("success rate", "rate", RATES)
    panels = [Panel(x, y, tuple(layers))]
    if looks.seconds.any():
        seconds = Axis("seconds of training, over all workers", limits=(0, looks.seconds[-1]))
        panels.append(Panel(seconds, y, (_line(keys, looks, steps, looks.seconds),)))
    return plot_of(
        "history",
        *panels,
        columns=len(panels),
        running=running,
        best=results[0].outcome,
        sizes=results.counts.n.tolist(),
        drawn=drawn,
        spent=f"{_amount(line.marks[last + 1].x)} of {_amount(total)} {unit}",
        certified=certificate.best if certificate and len(layers) > len(dots) + 1 else None,
        confidence=certificate and f"{number(certificate.confidence)}{certificate.scope}",
    )


def number_history(run: Run) -> Plot | None:
    """The number that orders the configs, of the best so far, against the seeds spent.

    None if success rates order them, or if no config has the number.
    """
    objective = report_of(run).looked_for
    if objective is None:
        return None
    results = finished(run)
    looks, keys = _looks(run, weighted=False), run.evaluations.lines.keys
    place = np.zeros(len(keys), np.int64)
    place[results.configs] = np.arange(len(results))
    ends = np.sort(looks.last)  # the config of each is done
    places, costs = place[looks.config[ends]], looks.cost[ends]
    best = np.minimum.accumulate(places)
    leads = np.flatnonzero(places == best)
    kept = sorted({*leads[sampled(len(leads))].tolist(), *sampled(len(places)).tolist()})
    amounts = {
        at: statistic_value(objective, numbers_in(results[at].outcome, objective.number or ""))
        for at in places[kept].tolist()
    }
    dots, line = [], []
    for at in kept:
        amount, cost, result = amounts[int(places[at])], float(costs[at]), results[int(places[at])]
        if abs(amount) < HUGE:
            text = f"{described(run, result)}: {number(amount)}"
            dots.append(Mark(cost, amount, text=text, key=result.key))
            line += [Mark(cost, amount, text=text)] if places[at] == best[at] else []
    if not line:
        return None
    total = float(looks.cost[-1])
    line.append(line[-1]._replace(x=total))
    better = "more" if objective.maximize else "less"
    return plot_of(
        "number-history",
        Panel(
            Axis("seeds spent", limits=(-0.01 * total, 1.01 * total), whole=True),
            Axis(f"{plain(objective.name)} ({better} is better)"),
            (
                Series("a configuration", tuple(dots), marker="ring", role="neutral"),
                Series("best so far", tuple(line), "steps", "best"),
            ),
        ),
        name=plain(objective.name),
        begun=number(line[0].y),
        ended=number(line[-1].y),
        first=count(round(line[0].x), "seed"),
        seeds=round(total),
        sizes=results.counts.n.tolist(),
        drawn=len(kept),
    )


LINES_AT_ONCE = 100_000
"""Lines whose intervals are computed at a time, which bounds the memory."""


@dataclass(frozen=True)
class _Looks:
    """The B counted blocks of C configs, in the order of their results.

    Attributes:
        config: int64, shape (B,): index of the block's config in the keys of the journal's lines.
        k, n: int64, shape (B,): seeds of that config up to this block, solved and in all.
        cost: float64, shape (B,): cost of all blocks up to this one.
        seconds: float64, shape (B,): the time that all blocks up to this one were trained.
        first, last: int64, shape (C,): the first and the last block of each config.
    """

    config: NDArray[np.int64]
    k: NDArray[np.int64]
    n: NDArray[np.int64]
    cost: NDArray[np.float64]
    seconds: NDArray[np.float64]
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

    def cumulated(values: NDArray[np.integer]) -> NDArray[np.int64]:
        """The sum over the blocks of the same config up to each block."""
        total = values[order].cumsum()
        total -= np.repeat(np.append(0, total[ends[:-1] - 1]), sizes)
        sums = np.empty(len(order), np.int64)
        sums[order] = total
        return sums

    k, n = cumulated(blocks.solved), cumulated(n)
    seconds = np.array(blocks.seconds).cumsum()
    return _Looks(config, k, n, cost.cumsum(), seconds, order[ends - sizes], order[ends - 1])


def _best_so_far(
    keys: Sequence[str], looks: _Looks
) -> tuple[list[tuple[int, int, float]], set[int]]:
    """The highest lower end after each block, and the indices of all configs that ever had it.

    It is given where it changes, and at the end: the look, the look at the best, its lower end.
    """
    parts = range(0, len(looks.k), LINES_AT_ONCE)  # bounds the memory of intermediate arrays
    lows = np.concatenate(
        [wilson(looks.k[i : i + LINES_AT_ONCE], looks.n[i : i + LINES_AT_ONCE])[0] for i in parts]
    )
    is_last = np.zeros(len(lows), np.bool_)
    is_last[looks.last] = True
    # The highest lower end of a config that gets no more seeds: nothing below it can lead again.
    latest, settled = array("d", bytes(8 * len(keys))), -math.inf
    heap: list[tuple[float, int]] = []  # the negative lower end, and its look
    steps: list[tuple[int, int]] = []  # the look at which the best changes, and the best's own look
    # Memory views yield one number at a time: there may be millions.
    rows = zip(looks.config.data, lows.data, is_last.data, strict=True)
    for look, (config, low, last) in enumerate(rows):
        latest[config] = low
        if low > settled:
            heapq.heappush(heap, (-low, look))
            settled = low if last else settled
        while latest[looks.config[heap[0][1]]] != -heap[0][0]:  # outdated: it got more seeds
            heapq.heappop(heap)
        if not steps or heap[0][1] != steps[-1][1]:
            steps.append((look, heap[0][1]))
    leaders = {int(looks.config[best]) for _, best in steps}
    steps = [steps[at] for at in sampled(len(steps))]
    steps.append((len(lows) - 1, steps[-1][1]))  # the last best stays to the end
    return [(look, best, float(lows[best])) for look, best in steps], leaders


def _line(
    keys: Sequence[str],
    looks: _Looks,
    steps: Sequence[tuple[int, int, float]],
    spent: NDArray[np.float64],
) -> Series:
    """The best so far, against what was spent up to each look."""
    marks = (
        Mark(
            float(spent[look]),
            low,
            text=f"{keys[looks.config[best]]}: {looks.k[best]:,} of {looks.n[best]:,} seeds "
            "solved by then",
        )
        for look, best, low in steps
    )
    return Series("best so far, lower end of its interval", tuple(marks), "steps", "best")


def _dots(
    run: Run, keys: Sequence[str], looks: _Looks, leaders: set[int]
) -> tuple[list[Series], int]:
    """Configs at the cost of their first seeds, in a series with fewer and one with all seeds.

    Returns:
        The series; and how many configs they show: the leaders, and a sample of the others.
    """
    first = np.sort(looks.first)
    order, costs = looks.config[first], looks.cost[first]
    places = np.zeros(len(keys), np.int64)
    places[run.results.configs] = np.arange(len(run.results))
    shown_leaders = sorted(leaders, key=keys.__getitem__)[:DRAWN_POINTS]
    kept = sorted({*sampled(len(order)), *np.flatnonzero(np.isin(order, shown_leaders)).tolist()})
    full = run.full_seeds
    marks: dict[bool, list[Mark]] = {False: [], True: []}
    for at in kept:
        r = run.results[int(places[order[at]])]
        text = f"{described(run, r)}: {r.outcome.count.words}"
        marks[r.outcome.n >= full].append(
            Mark(float(costs[at]), r.outcome.rate, text=text, key=r.key)
        )
    fewer = Series("fewer seeds", tuple(marks[False]), role="neutral", marker="ring")
    whole = Series(f"all {count(full, 'seed')}", tuple(marks[True]))
    return [series for series in (fewer, whole) if series.marks], len(kept)


def _certificate(
    run: Run, keys: Sequence[str], certificate: Certificate, looks: _Looks
) -> list[Layer]:
    """The first finalist on fresh seeds, at the cost at which it was certified.

    The journal does not record when that was. If one session searched, it was at its end; if
    several did, it was not before each finalist had the counts that the certificate names.
    """
    if not certificate.finalists:
        return []
    at, when = float(looks.cost[-1]), "certificate"
    sessions = sessions_of(run.manifest)
    if sum(session.get("what") != CERTIFIED for session in sessions) > 1:
        counts = {(f.key, f.search.k, f.search.n) for f in certificate.finalists}
        rows = zip(looks.config, looks.k, looks.n, looks.cost, strict=True)
        costs = [float(cost) for config, k, n, cost in rows if (keys[config], k, n) in counts]
        if len(costs) < len(counts):
            return []  # the certificate follows from other counts
        at, when = max(costs), "certificate, not before"
    best = certificate.best
    bound = best.rate if best.lower_bound is None else best.lower_bound
    at_least = lower_percent(best.lower_bound)
    text = f"{best.key}: {best.k:,} of {best.n:,} fresh seeds, at least {at_least}"
    mark = Mark(at, best.rate, y_ends=(bound, best.rate), text=text, key=best.key)
    label = f"certified, on {count(best.n, 'fresh seed')}"
    return [Guide("x", at, when), Series(label, (mark,), role="proven", marker="diamond")]


def _amount(cost: float) -> str:
    return f"{round(cost):,}" if cost < 1e7 else number(cost)


# -------------------------------------------------------------------------------------------------
# The timeline: which worker trained what, and when it was idle.

LEAST_STEPS = 60
"""The journal notes to a millisecond when a result came, an older one to a second: a search of
fewer of these has no timeline."""

MOST_WORKERS = 24

MERGED = 1 / 400
"""Two bars with a gap that is a smaller share of the search cannot be told apart."""

KINDS: tuple[tuple[str, Role], ...] = (
    ("first seeds of a configuration", "neutral"),
    ("more seeds of a configuration", "other"),
    ("without an outcome", "void"),
)
"""What a worker trained, and the role of its bars."""


@dataclass
class _Stretch:
    """Blocks of one kind that a worker trained without a gap.

    Attributes:
        start, end: seconds from the start of the search.
    """

    worker: int
    kind: int
    start: float
    end: float
    seconds: float
    blocks: int
    seeds: int


def timeline(run: Run) -> Plot | None:
    """A row for each worker, with a bar where it trained.

    A block ends when its result came, or when the next one of its worker begins, and begins as long
    before as its training took: the results of a batch come together. None where the journal does
    not note the time, or the search was short.
    """
    blocks = run.evaluations
    when, seconds = blocks.times, np.array(blocks.seconds)
    if is_imported(run.manifest) or not len(when) or when.min() < 0 or not seconds.any():
        return None
    codes, worker_of = np.unique(blocks.column("worker"), return_inverse=True)
    ends = when.copy()
    following = np.full(len(codes), np.inf)
    for at in range(len(ends) - 1, -1, -1):
        worker = worker_of[at]
        ends[at] = min(ends[at], following[worker])
        following[worker] = ends[at] - seconds[at]
    starts = ends - seconds
    begin, total = float(starts.min()), float(ends.max() - starts.min())
    step = 0.001 if (when % 1).any() else 1.0
    if total < LEAST_STEPS * step:
        return None
    busy = np.bincount(worker_of, weights=seconds)
    shown = np.argsort(-busy, kind="stable")[:MOST_WORKERS]
    row_of = {int(worker): row for row, worker in enumerate(shown)}
    kinds = np.where(blocks.column("first") > 0, 1, 0)
    kinds[blocks.column("outcome") == 0] = 2
    bars: dict[int, _Stretch] = {}  # the last one of each row
    done: list[_Stretch] = []
    counts = blocks.column("count")
    for at in np.argsort(starts, kind="stable").tolist():
        if (row := row_of.get(int(worker_of[at]))) is None:
            continue
        start, end, kind = starts[at] - begin, ends[at] - begin, int(kinds[at])
        last = bars.get(row)
        if last is None or last.kind != kind or start - last.end > MERGED * total:
            last = bars[row] = _Stretch(row, kind, float(start), float(end), 0.0, 0, 0)
            done.append(last)
        last.end = max(last.end, float(end))
        last.seconds += float(seconds[at])
        last.blocks += 1
        last.seeds += int(counts[at])
    layers = tuple(
        Series(label, tuple(_mark(bar) for bar in done if bar.kind == kind), "bars", role)
        for kind, (label, role) in enumerate(KINDS)
        if any(bar.kind == kind for bar in done)
    )
    names = [plain(blocks.lines.names[int(codes[worker])]) for worker in shown]
    categories = tuple(
        f"{name or 'a worker'} · {percent(busy[worker] / total)}"
        for name, worker in zip(names, shown, strict=True)
    )
    # A process that took the place of another one, in this session or the next, is no more worker.
    share = busy_share(run) or ((len(codes),) * 2, float(busy.sum() / (len(codes) * total)))
    return plot_of(
        "timeline",
        Panel(
            Axis("seconds from the start", limits=(0.0, total)),
            Axis("process of a worker", "category", categories=categories),
            layers,
        ),
        busy=busy_sentence(*share),
        total=duration(total),
        step="millisecond" if step < 1 else "second",
        processes=len(codes),
        replaced=len(codes) > share[0][1],
        shown=len(shown),
        blocks=len(ends),
        seeds=int(counts.sum()),
    )


def _mark(bar: _Stretch) -> Mark:
    text = (
        f"{count(bar.seeds, 'seed')} in {count(bar.blocks, 'block')}, "
        f"{duration(bar.seconds)} of training from {duration(bar.start)} to {duration(bar.end)}"
    )
    return Mark(bar.end, float(bar.worker), x_ends=(bar.start, bar.end), text=text)
