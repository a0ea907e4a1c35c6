"""The timeline of a search: which worker trained what, and when it was idle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xortune.core.formats import count, duration, percent, plain
from xortune.reports.analysis import busy_sentence
from xortune.reports.drawing.model import Axis, Mark, Panel, Plot, Role, Series
from xortune.reports.figures.common import plot_of
from xortune.runs.manifest import busy_share, is_imported
from xortune.runs.run import Run

LEAST_SECONDS = 60
"""The journal notes to a second when a result came: a shorter search has no timeline."""

MOST_WORKERS = 24

MERGED = 1 / 400
"""Two bars with a gap that is a smaller share of the search cannot be told apart."""

KINDS: tuple[tuple[str, Role], ...] = (
    ("first seeds of a configuration", "a"),
    ("more seeds of a configuration", "c"),
    ("without an outcome", "b"),
)
"""What a worker trained, and the role of its bars."""


@dataclass
class _Bar:
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
    when, seconds = blocks.column("at"), np.array(blocks.seconds)
    if is_imported(run.manifest) or not len(when) or when.min() < 0 or not seconds.any():
        return None
    codes, worker_of = np.unique(blocks.column("worker"), return_inverse=True)
    ends = when.astype(np.float64)
    following = np.full(len(codes), np.inf)
    for at in range(len(ends) - 1, -1, -1):
        worker = worker_of[at]
        ends[at] = min(ends[at], following[worker])
        following[worker] = ends[at] - seconds[at]
    starts = ends - seconds
    begin, total = float(starts.min()), float(ends.max() - starts.min())
    if total < LEAST_SECONDS:
        return None
    busy = np.bincount(worker_of, weights=seconds)
    shown = np.argsort(-busy, kind="stable")[:MOST_WORKERS]
    row_of = {int(worker): row for row, worker in enumerate(shown)}
    kinds = np.where(blocks.column("first") > 0, 1, 0)
    kinds[blocks.column("outcome") == 0] = 2
    bars: dict[int, _Bar] = {}  # the last one of each row
    done: list[_Bar] = []
    counts = blocks.column("count")
    for at in np.argsort(starts, kind="stable").tolist():
        if (row := row_of.get(int(worker_of[at]))) is None:
            continue
        start, end, kind = starts[at] - begin, ends[at] - begin, int(kinds[at])
        last = bars.get(row)
        if last is None or last.kind != kind or start - last.end > MERGED * total:
            last = bars[row] = _Bar(row, kind, float(start), float(end), 0.0, 0, 0)
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
    share = busy_share(run.manifest)
    return plot_of(
        "timeline",
        Panel(
            Axis("seconds from the start", limits=(0.0, total)),
            Axis("worker", "category", categories=categories),
            layers,
        ),
        busy=busy_sentence(*(share or (len(codes), float(busy.sum() / (len(codes) * total))))),
        total=duration(total),
        workers=len(codes),
        shown=len(shown),
        blocks=len(ends),
        seeds=int(counts.sum()),
    )


def _mark(bar: _Bar) -> Mark:
    text = (
        f"{count(bar.seeds, 'seed')} in {count(bar.blocks, 'block')}, "
        f"{duration(bar.seconds)} of training from {duration(bar.start)} to {duration(bar.end)}"
    )
    return Mark(bar.end, float(bar.worker), x_ends=(bar.start, bar.end), text=text)
