"""Failures: what the unsolved seeds ended as, of single configs and of all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xortune.core.formats import count, percent
from xortune.core.outcome import Outcome, Status
from xortune.reports.figures.labels import LONGEST, described, finished, listed
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
    kinds = _kinds(whole)
    counts = results.counts
    seeds, unsolved = int(counts.n.sum()), np.flatnonzero(counts.k < counts.n).tolist()
    of_all = f"all {count(len(results), 'configuration')}"
    together = _Row("all", of_all, "", seeds, _of_all(whole, kinds))
    panels = [
        Panel(
            Axis("share of the unsolved seeds", "rate", (0, 1)),
            Axis("unsolved", "category", categories=(together.beside,)),
            _bars([together], kinds, of=together.found.total()),
            of_all,
        )
    ]
    if shown := [results[place] for place in unsolved[:top]]:
        names = varying(run)
        counted = max(
            len(f"{r.outcome.n - r.outcome.successes:,} of {r.outcome.n:,}") for r in shown
        )
        axis, labels = listed(run, shown, LONGEST - 3 - counted)
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
    digits = (
        " A pattern has one digit for each judged row of the task, 1 where the output is above "
        "one half."
    )
    return Plot(
        name="failures",
        title=_title(whole, seeds),
        alt=_alt(together, kinds),
        note=(
            f"Beside each bar: its unsolved seeds of n. {len(unsolved):,} of "
            f"{count(len(results), 'configuration')} have one; these are counts, and shares of few "
            f"seeds are rough.{digits if whole.patterns else ''}"
        ),
        panels=tuple(panels),
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
                reach = (start / size, ends[place] / size)
                text = f"{row.text}: {told}"
                marks.append(
                    Mark(amount / size, float(place), x_ends=reach, text=text, key=row.key)
                )
        if marks:
            # It is named once, where all seeds are.
            series.append(Series(name if of else "", tuple(marks), "bars", role))
    return tuple(series)


def _title(whole: Failures, seeds: int) -> str:
    failed = {status: n for status, n in whole.counts.items() if status != Status.SOLVED}
    total = sum(failed.values())
    if not total:
        return f"All {count(seeds, 'seed')} were solved"
    most = max(failed, key=failed.__getitem__)
    ended = {
        Status.WRONG_PATTERN: "learned a wrong pattern"
        if whole.patterns
        else "ended without success",
        Status.ALL_ZERO: "output 0 for every row",
        Status.ALL_ONE: "output 1 for every row",
        Status.DIVERGED: "diverged",
        Status.CRASHED: "crashed",
    }[most]
    share = "all" if failed[most] == total else percent(failed[most] / total)
    what = "No seed was" if total == seeds else f"{percent(total / seeds)} of all seeds were not"
    return f"{what} solved; {share} of them {ended}"


def _alt(row: _Row, kinds: Kinds) -> str:
    if not row.found.total():
        return f"No seed failed: all {count(row.n, 'seed')} were solved."
    parts = [f"{kinds[kind][0]} {n:,}" for kind, n in row.found.most_common() if n]
    seeds = count(row.n, "seed")
    return f"Of {seeds} of all configurations, unsolved: {row.found.total():,}; {', '.join(parts)}."
