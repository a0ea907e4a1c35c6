"""The history of a search: how good its best was after so many seeds."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from xortune.core.counts import rate_of, wilson
from xortune.core.formats import count, number
from xortune.reports.figures.labels import MOST, between, counted, described, finished, sampled
from xortune.reports.plot import RATES, Axis, Layer, Mark, Plot, Rule, Series
from xortune.reports.tables import lower, varying
from xortune.runs.certificate import Certificate
from xortune.runs.manifest import CERTIFIED, MANIFEST, sessions_in
from xortune.runs.results import ConfigResult, ConfigResults, by_version, full_seeds
from xortune.runs.run import Run


def optimization_history(run: Run) -> Plot:
    """The best so far, by the lower end of its interval, against what had been spent.

    Cost is seeds, or seeds times the epochs that each was trained for where configs differ in
    these. Blocks that finally produced nothing are in it, as seeds not solved.
    """
    results, certificate = finished(run), run.certificate
    varies = bool(np.ptp(results.counts.epochs))
    unit = "seed-epochs" if varies else "seeds"
    looks = _looks(run, weighted=varies)
    line, leaders = _best_so_far(looks)
    dots, note = _dots(run, looks, leaders)
    layers: list[Layer] = [*dots, line]
    came = "" if certificate is None else _certificate(run, certificate, looks, layers)
    total, end = line.marks[-1].x, line.marks[-1].y
    last = max((i for i, mark in enumerate(line.marks) if abs(mark.y - end) > 0.01), default=-1)
    spent = f"{_amount(line.marks[last + 1].x)} of {_amount(total)} {unit}"
    return Plot.single(
        name="history",
        title=f"The best so far is within 1 point of its end after {spent}",
        alt=(
            f"In the end the best has {counted(results[0].outcome)}. The lower end of the best so "
            f"far stays within 1 point of that from {spent} on.{came}"
        ),
        note=_note(results, "in the end") + note,
        x=Axis(f"{unit} spent", limits=(-0.01 * total, 1.01 * total), whole=True),
        y=Axis("success rate", "rate", RATES),
        layers=layers,
    )


def history_so_far(run: Run) -> Plot:
    """`optimization_history` of a search that still runs: it has no end yet."""
    results, plot = finished(run), optimization_history(run)
    spent = count(int(results.counts.n.sum()), "seed")
    return replace(
        plot,
        title="The best so far over the seeds spent",
        alt=f"After {spent} the best has {counted(results[0].outcome)}.",
        note=_note(results, "by now"),
    )


def _note(results: ConfigResults, when: str) -> str:
    return (
        f"n = {between(results.counts.n.tolist())} seeds each. Line: the lower end of the best's "
        "95 % Wilson interval, which falls when it fails on new seeds; as the highest of "
        f"{count(len(results), 'interval')} it is optimistic. Dots: each configuration's rate "
        f"{when}, where its first seeds came in."
    )


def _looks(run: Run, *, weighted: bool) -> pd.DataFrame:
    """A row for each block that counts, in the order in which their results came.

    Its columns: `key` of its config, `k` and `n` of that by then, and the `cost` of all by then.
    """
    blocks, _ = by_version(run.evaluations)
    keys = pd.Categorical.from_codes(blocks.column("config"), pd.Index(blocks.lines.keys))
    looks = pd.DataFrame({"key": keys, "k": blocks.solved, "n": blocks.column("count")})
    cost = looks["n"].to_numpy(np.float64)
    if weighted:
        epochs = pd.Series(run.results.counts.epochs, run.results.keys)
        cost = cost * epochs.loc[looks["key"]].to_numpy()
    looks[["k", "n"]] = looks.groupby("key", observed=True)[["k", "n"]].cumsum()
    return looks.assign(cost=cost.cumsum())


def _best_so_far(looks: pd.DataFrame) -> tuple[Series, set[str]]:
    """The highest lower end after each block, and the keys of all that ever had it."""
    lows = wilson(looks["k"].to_numpy(), looks["n"].to_numpy())[0].tolist()
    keys, configs = looks["key"].cat.categories, looks["key"].cat.codes.tolist()
    latest: dict[int, float] = {}
    heap: list[tuple[float, int]] = []  # minus the lower end, and the look at which it was so
    steps: list[tuple[int, int]] = []  # from which look on which other one is the best
    for place, (config, low) in enumerate(zip(configs, lows, strict=True)):
        latest[config] = low
        heapq.heappush(heap, (-low, place))
        while latest[configs[heap[0][1]]] != -heap[0][0]:  # it has had more seeds since
            heapq.heappop(heap)
        if not steps or heap[0][1] != steps[-1][1]:
            steps.append((place, heap[0][1]))
    leaders = {keys[configs[best]] for _, best in steps}
    steps = [steps[at] for at in sampled(len(steps))]
    steps.append((len(configs) - 1, steps[-1][1]))  # it lasts to the end
    places, best = zip(*steps, strict=True)
    marks = (
        Mark(cost, lows[at], text=f"{look.key}: {look.k:,} of {look.n:,} seeds solved by then")
        for cost, at, look in zip(
            looks["cost"].iloc[[*places]].tolist(),
            best,
            looks.iloc[[*best]].itertuples(),
            strict=True,
        )
    )
    label = "best so far, lower end of its interval"
    return Series(label, tuple(marks), "steps", "best"), leaders


def _dots(run: Run, looks: pd.DataFrame, leaders: set[str]) -> tuple[list[Series], str]:
    """Each config where its first seeds came in, those with all seeds and the others apart."""
    first = looks.drop_duplicates("key")
    began = dict(zip(first["key"], first["cost"].tolist(), strict=True))
    places = {key: place for place, key in enumerate(run.results.keys)}
    order = [*began]
    # Many configs may have led for a moment, and more than these are not told apart.
    kept = {order[at] for at in sampled(len(order))} | set(sorted(leaders)[:MOST])
    note = ""
    if len(kept) < len(order):
        note = (
            f" Of {len(order):,} configurations {len(kept):,} are drawn: those that led, and "
            "others evenly spaced in this order."
        )
    full, names = full_seeds(run.results, run.manifest), varying(run)
    shown = [run.results[places[key]] for key in order if key in kept]

    def series(label: str, found: Sequence[ConfigResult]) -> Series:
        marks = (
            Mark(
                began[r.key],
                r.outcome.rate,
                text=f"{described(r, names)}: {r.outcome.successes:,} of {r.outcome.n:,}",
                key=r.key,
            )
            for r in found
        )
        return Series(label, tuple(marks))

    fewer = series("fewer seeds", [r for r in shown if r.outcome.n < full])
    whole = series(f"all {count(full, 'seed')}", [r for r in shown if r.outcome.n >= full])
    found = [replace(fewer, role="muted", marker="ring"), whole]
    return [one for one in found if one.marks], note


def _certificate(
    run: Run, certificate: Certificate, looks: pd.DataFrame, layers: list[Layer]
) -> str:
    """Add the first finalist on fresh seeds; where in the search, and what it comes to.

    A journal does not say when the certificate was made. But if one session searched, that was at
    its end; if several did, not before each finalist had the counts of which the certificate knows.
    """
    if not certificate.finalists:
        return ""
    at, when = float(looks["cost"].iloc[-1]), "certificate"
    sessions = sessions_in(run.manifest, str(run.path / MANIFEST))
    if sum(session.get("what") != CERTIFIED for session in sessions) > 1:
        counts = {(found.key, found.search_k, found.search_n) for found in certificate.finalists}
        rows = zip(looks["key"], looks["k"], looks["n"], strict=True)
        had = looks["cost"][[row in counts for row in rows]]
        if len(had) < len(counts):
            return ""  # it was made of other counts than these
        at, when = float(had.max()), "certificate, not before"
    best = certificate.best
    bound = best.rate if best.lower_bound is None else best.lower_bound
    text = f"{best.key}: {best.k:,} of {best.n:,} fresh seeds, at least {lower(best)}"
    mark = Mark(at, best.rate, y_ends=(bound, best.rate), text=text, key=best.key)
    label = f"certified, on {count(best.n, 'fresh seed')}"
    layers += [Rule("x", at, when), Series(label, (mark,), role="b", marker="diamond")]
    return (
        f" Of {count(best.n, 'fresh seed')} the first finalist solved {best.k:,}, "
        f"{rate_of(best.k, best.n)}: at least {lower(best)} with confidence "
        f"{number(certificate.confidence)}."
    )


def _amount(cost: float) -> str:
    return f"{round(cost):,}" if cost < 1e7 else number(cost)
