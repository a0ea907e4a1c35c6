"""Failures: what the unsolved seeds ended as, of single configs and of all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xortune.core.formats import count
from xortune.core.outcome import Outcome, Status
from xortune.reports.figures.labels import LONGEST, described, finished, listed, plot_of
from xortune.reports.plot import Axis, Mark, Panel, Plot, Role, Series, shortened
from xortune.reports.tables import Failures, report_of, varying
from xortune.runs.run import Run

PATTERNS: tuple[Role, ...] = ("a", "c", "d")
"""So many of the most frequent wrong patterns are told apart."""

OTHERS: dict[Status, tuple[str, Role]] = {
    Status.ALL_ZERO: ("all 0", "e"),
    Status.ALL_ONE: ("all 1", "f"),
    Status.DIVERGED: ("diverged", "b"),
    Status.CRASHED: ("crashed", "best"),  # what is left to be told apart
}

Kind = str | Status
"""A wrong pattern, or a status; `WRONG_PATTERN` stands for all other patterns."""

Kinds = Mapping[Kind, tuple[str, Role]]
"""The name and the role of each, in the order in which they lie in a bar."""


@dataclass(frozen=True)
class _Row:
    """One bar: how many of n seeds ended as what, of one config or, without a key, of all."""

    label: str
    text: str
    key: str
    n: int
    found: Counter[Kind]

    @property
    def beside(self) -> str:
        """The label and the count."""
        return f"{self.label} · {self.found.total():,} of {self.n:,}"


def failures(run: Run, top: int = 20) -> Plot:
    """What the unsolved seeds ended as: of all configs, and of the first ones that have any."""
    results, whole = finished(run), report_of(run).failures
    kinds, counts = _kinds(whole), results.counts
    unsolved = np.flatnonzero(counts.k < counts.n).tolist()
    of_all = f"all {count(len(results), 'configuration')}"
    together = _Row("all", of_all, "", int(counts.n.sum()), _of_all(whole, kinds))
    found = together.found
    panels = [
        Panel(
            Axis("share of the unsolved seeds", "rate", (0, 1)),
            Axis("unsolved", "category", categories=(together.beside,)),
            _bars([together], kinds, of=found.total()),
            of_all,
        )
    ]
    if shown := [results[place] for place in unsolved[:top]]:
        names = varying(run)
        counted = [f"{r.outcome.n - r.outcome.successes:,} of {r.outcome.n:,}" for r in shown]
        axis, labels = listed(run, shown, LONGEST - 3 - max(map(len, counted)))
        rows = [
            _Row(label, described(r, names), r.key, r.outcome.n, _of_one(r.outcome, kinds))
            for label, r in zip(labels, shown, strict=True)
        ]
        panels.append(
            Panel(
                Axis("share of its seeds", "rate"),
                Axis(f"{axis} · unsolved", "category", categories=tuple(r.beside for r in rows)),
                _bars(rows, kinds),
                f"the first {count(len(shown), 'configuration')} with an unsolved seed",
            )
        )
    ends = {status: often for status, often in whole.counts.items() if status != Status.SOLVED}
    return plot_of(
        "failures",
        *panels,
        seeds=together.n,
        unsolved=found.total(),
        most=max(ends.items(), key=lambda end: end[1]),
        kinds=[(kinds[kind][0], often) for kind, often in found.most_common() if often],
        failed=len(unsolved),
        configs=len(results),
        patterns=bool(whole.patterns),
    )


def _kinds(whole: Failures) -> Kinds:
    patterns = [pattern for pattern, _ in whole.patterns[: len(PATTERNS)]]
    named = [f"wrong pattern {shortened(pattern, 16)}" for pattern in patterns]
    kinds: dict[Kind, tuple[str, Role]] = {
        pattern: (name, role)
        for pattern, name, role in zip(patterns, named, PATTERNS, strict=False)
    }
    # Where nobody knows of patterns, a seed that was trained to its end had no success.
    other = "another wrong pattern" if patterns else "no success"
    return kinds | {Status.WRONG_PATTERN: (other, "muted")} | OTHERS


def _of_all(whole: Failures, kinds: Kinds) -> Counter[Kind]:
    found: Counter[Kind] = Counter({kind: whole.counts[kind] for kind in OTHERS})
    found.update({pattern: often for pattern, often in whole.patterns if pattern in kinds})
    rest = sum(n for status, n in whole.counts.items() if status != Status.SOLVED) - found.total()
    return found + Counter({Status.WRONG_PATTERN: rest})


def _of_one(outcome: Outcome, kinds: Kinds) -> Counter[Kind]:
    pairs = zip(map(Status, outcome.status.tolist()), outcome.patterns, strict=True)
    return Counter(
        pattern if status == Status.WRONG_PATTERN and pattern in kinds else status
        for status, pattern in pairs
        if status != Status.SOLVED
    )


def _bars(rows: Sequence[_Row], kinds: Kinds, of: int = 0) -> tuple[Series, ...]:
    """The parts of all bars, as shares of the seeds of each, or of so many."""
    ends = [0] * len(rows)
    series = []
    for kind, (name, role) in kinds.items():
        marks = []
        for place, row in enumerate(rows):
            if amount := row.found[kind]:
                start, ends[place] = ends[place], ends[place] + amount
                size = of or row.n
                told = f"{amount:,} of {count(row.found.total(), 'unsolved seed')}: {name}"
                reach, text = (start / size, ends[place] / size), f"{row.text}: {told}"
                marks.append(Mark(amount / size, float(place), reach, text=text, key=row.key))
        if marks:
            # It is named once, where all seeds are.
            series.append(Series(name if of else "", tuple(marks), "bars", role))
    return tuple(series)
