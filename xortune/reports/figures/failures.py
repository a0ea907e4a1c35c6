"""Failures: what the unsolved seeds ended as, of single configs and of all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xortune.core.formats import count, percent
from xortune.core.outcome import Outcome, Status
from xortune.reports.figures.labels import LONGEST, clipped, described, finished, listed
from xortune.reports.plot import Axis, Bars, Panel, Plot, Role
from xortune.reports.tables import Failures, failures_of, varying
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run

PATTERNS: tuple[Role, ...] = ("a", "c", "d")
"""So many of the most frequent wrong patterns are told apart."""

OTHERS: dict[Status, Role] = {
    Status.ALL_ZERO: "e",
    Status.ALL_ONE: "f",
    Status.DIVERGED: "b",
    Status.CRASHED: "best",  # what is left to be told apart
}

LONGEST_PATTERN = 16

NO_SUCCESS = "no success"
"""What a seed came to that was trained to its end, where nobody knows of patterns."""

Kind = str | Status
"""A wrong pattern, or a status; `WRONG_PATTERN` stands for all other patterns."""


@dataclass(frozen=True)
class _Row:
    """One bar.

    Attributes:
        label: beside it.
        text: in full.
        key: of its config; empty for all.
        n: seeds.
        found: how many ended as what.
    """

    label: str
    text: str
    key: str
    n: int
    found: Counter[Kind]

    @property
    def failed(self) -> int:
        return self.found.total()


def failures(run: Run, top: int = 20) -> Plot:
    """What the unsolved seeds ended as: of all configs, and of the first ones that have any.

    Args:
        run: with one finished config at least.
        top: how many configs.

    Raises:
        InputError: no config is finished.
    """
    results = finished(run)
    whole = failures_of(results, len(PATTERNS))
    patterns = [pattern for pattern, _ in whole.patterns]
    counts = results.counts
    unsolved = np.flatnonzero(counts.k < counts.n)
    seeds, of_all = int(counts.n.sum()), count(len(results), "configuration")
    together = _Row("all", f"all {of_all}", "", seeds, _of_all(whole))
    panels = [
        Panel(
            Axis("share of the unsolved seeds", "rate", (0, 1)),
            Axis("unsolved", "category", categories=(_beside(together),)),
            _layers([together], patterns, of_failed=True),
            f"all {of_all}",
        )
    ]
    if unsolved.size:
        shown = [results[place] for place in unsolved[: max(top, 1)].tolist()]
        panels.append(_each(run, shown, patterns))
    return Plot(
        name="failures",
        title=_title(whole, seeds),
        alt=_alt(together, patterns),
        note=_note(len(results), len(unsolved), patterns),
        panels=tuple(panels),
    )


def _each(run: Run, shown: Sequence[ConfigResult], patterns: Sequence[str]) -> Panel:
    """A bar for each config, as long as the share of its seeds that are unsolved."""
    names = varying(run)
    longest = max(len(f"{r.outcome.n - r.outcome.successes:,} of {r.outcome.n:,}") for r in shown)
    axis, labels = listed(run, shown, LONGEST - 3 - longest)
    rows = [
        _Row(label, described(r, names), r.key, r.outcome.n, _of_one(r.outcome, patterns))
        for label, r in zip(labels, shown, strict=True)
    ]
    return Panel(
        Axis("share of its seeds", "rate"),
        Axis(f"{axis} · unsolved", "category", categories=tuple(map(_beside, rows))),
        _layers(rows, patterns, of_failed=False),
        f"the first {count(len(shown), 'configuration')} with an unsolved seed",
    )


def _beside(row: _Row) -> str:
    return f"{row.label} · {row.failed:,} of {row.n:,}"


def _layers(rows: Sequence[_Row], patterns: Sequence[str], *, of_failed: bool) -> tuple[Bars, ...]:
    """The parts of all bars, as shares of the unsolved seeds or of all seeds of each."""
    before: list[Kind] = []
    bars = []
    for kind, role in _kinds(patterns):
        if any(row.found[kind] for row in rows):
            name = _name(kind, patterns)
            bars.append(_bars(kind, name, role, rows, tuple(before), of_failed=of_failed))
        before.append(kind)
    return tuple(bars) or (Bars("", at=(0.0,), length=(0.0,), across=True),)


def _kinds(patterns: Sequence[str]) -> list[tuple[Kind, Role]]:
    """In the order in which they lie in a bar."""
    other: list[tuple[Kind, Role]] = [(Status.WRONG_PATTERN, "muted")]
    return [*zip(patterns, PATTERNS, strict=False), *other, *OTHERS.items()]


def _of_all(whole: Failures) -> Counter[Kind]:
    known = dict(whole.patterns)
    found: Counter[Kind] = Counter({status: whole.counts[status] for status in OTHERS})
    found.update(known)
    found[Status.WRONG_PATTERN] = whole.counts[Status.WRONG_PATTERN] - sum(known.values())
    return found


def _of_one(outcome: Outcome, patterns: Sequence[str]) -> Counter[Kind]:
    found: Counter[Kind] = Counter()
    for status, pattern in zip(outcome.status.tolist(), outcome.patterns, strict=True):
        if status != Status.SOLVED:
            named = status == Status.WRONG_PATTERN and pattern in patterns
            found[pattern if named else Status(status)] += 1
    return found


def _bars(
    kind: Kind,
    name: str,
    role: Role,
    rows: Sequence[_Row],
    before: Sequence[Kind],
    *,
    of_failed: bool,
) -> Bars:
    """One kind in all bars, each after those before it."""
    places = [place for place, row in enumerate(rows) if row.found[kind]]
    own = [rows[place] for place in places]
    wholes = [row.failed if of_failed else row.n for row in own]
    starts = [sum(row.found[other] for other in before) for row in own]
    return Bars(
        name if of_failed else "",  # it is named once
        at=tuple(map(float, places)),
        length=tuple(row.found[kind] / whole for row, whole in zip(own, wholes, strict=True)),
        base=tuple(start / whole for start, whole in zip(starts, wholes, strict=True)),
        role=role,
        across=True,
        texts=tuple(
            f"{row.text}: {row.found[kind]:,} of {count(row.failed, 'unsolved seed')}: {name}"
            for row in own
        ),
        keys=tuple(row.key for row in own),
    )


def _name(kind: Kind, patterns: Sequence[str]) -> str:
    if isinstance(kind, str):
        return f"wrong pattern {clipped(kind, LONGEST_PATTERN)}"
    return {
        Status.WRONG_PATTERN: "another wrong pattern" if patterns else NO_SUCCESS,
        Status.ALL_ZERO: "all 0",
        Status.ALL_ONE: "all 1",
        Status.DIVERGED: "diverged",
        Status.CRASHED: "crashed",
    }[kind]


def _title(whole: Failures, seeds: int) -> str:
    failed = {status: n for status, n in whole.counts.items() if status != Status.SOLVED}
    total = sum(failed.values())
    if not total:
        return f"All {count(seeds, 'seed')} were solved"
    most = max(failed, key=lambda status: failed[status])
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


def _alt(row: _Row, patterns: Sequence[str]) -> str:
    if not row.failed:
        return f"No seed failed: all {count(row.n, 'seed')} were solved."
    parts = [f"{_name(kind, patterns)} {n:,}" for kind, n in row.found.most_common() if n]
    seeds = count(row.n, "seed")
    return f"Of {seeds} of all configurations, unsolved: {row.failed:,}; {', '.join(parts)}."


def _note(configs: int, unsolved: int, patterns: Sequence[str]) -> str:
    digits = (
        " A pattern has one digit for each judged row of the task, 1 where the output is above "
        "one half."
    )
    return (
        f"Beside each bar: its unsolved seeds of n. {unsolved:,} of "
        f"{count(configs, 'configuration')} have one; these are counts, and shares of few seeds "
        f"are rough.{digits if patterns else ''}"
    )
