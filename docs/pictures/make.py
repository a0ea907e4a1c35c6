"""Draws the pictures of docs/ that no committed report has, with xortune's own functions.

    python docs/pictures/make.py

Nothing in them is made up or simulated but what is called an example: shares of series are computed
exactly, seed after seed. A test draws them again and compares.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from numpy.typing import NDArray
from scipy.stats import binom

from xortune.certificates.plan import gate_seeds
from xortune.core.numbers import IQM, summary
from xortune.core.outcome import Status, wilson
from xortune.racing.grants import best_race
from xortune.racing.race import RaceRule
from xortune.racing.top_two import Aim
from xortune.reports.drawing.matplotlib import STYLE
from xortune.reports.drawing.model import COLOURS
from xortune.runs.run import load_run
from xortune.spaces.model import race_rungs
from xortune.stats.anytime import anytime_evidence_above, anytime_evidence_below, anytime_interval
from xortune.stats.planning import seeds_for_lower_bound
from xortune.stats.proportions import clopper_pearson_lower, holm, mcnemar_two_sided

HERE = Path(__file__).resolve().parent

DRAWN = STYLE | {"svg.fonttype": "none", "font.family": ["DejaVu Sans", "sans-serif"]}
"""As the figures of reports, with text as text: a tenth of the bytes."""

Floats = NDArray[np.float64]
Missed = Callable[[Floats, int], NDArray[np.bool_]]
"""Whether the interval after k of n successes, k of shape (n + 1,), does not hold the truth."""

RATE = 0.9
"""The true rate of what is looked at."""

FIRST, LAST = 10, 500
"""The looks: after each of so many seeds."""

CONFIGS, SEEDS = 200, 100
"""A search, all of whose configurations have a true rate of `RATE`."""

PAIRED = (24, 9)
"""Seeds that only A solved, and only B."""

FAMILY = (0.0004, 0.0021, 0.0038, 0.012, 0.021, 0.034, 0.041, 0.048, 0.22, 0.61)
"""p-values of ten comparisons."""

RACED = (0.62, 0.14, 0.9, 0.3, 0.78, 0.54, 0.99, 0.06, 0.38, 0.86, 0.22, 0.7, 0.94, 0.46)
"""True rates of the configurations of a race, in the order in which they are proposed."""

INK, GREY = "#1f2328", COLOURS["neutral"]
A, B, C = COLOURS["other"], COLOURS["failed"], COLOURS["proven"]


def wilson_misses(rate: float) -> Missed:
    """Of Wilson's 95 % interval."""

    def missed(k: Floats, n: int) -> NDArray[np.bool_]:
        low, high = wilson(k, n)
        return np.asarray((low > rate) | (high < rate))

    return missed


def anytime_misses(rate: float, *, alpha: float = 0.05) -> Missed:
    """Of the anytime-valid interval, by its evidence: quicker than its bounds, and the same."""
    level = np.log(2 / alpha)

    def missed(k: Floats, n: int) -> NDArray[np.bool_]:
        above = anytime_evidence_above(k, n, rate) > level
        return np.asarray(above | (anytime_evidence_below(k, n, rate) > level))

    return missed


def share_missed(missed: Missed, *, rate: float = RATE, every: bool = True) -> Floats:
    """The share of all series of seeds in which the truth has been missed, exactly.

    Args:
        missed: the interval.
        rate: the true rate.
        every: at any look so far; else at this one alone.

    Returns:
        For each number of seeds from `FIRST` to `LAST`, shape (LAST - FIRST + 1,).
    """
    hit = binom.pmf(np.arange(FIRST + 1), FIRST, rate)  # those that have not missed yet, by k
    found = []
    for n in range(FIRST, LAST + 1):
        k = np.arange(n + 1, dtype=np.float64)
        out = missed(k, n)
        if every:
            hit = np.where(out, 0.0, hit)
            found.append(1 - hit.sum())
        else:
            found.append(binom.pmf(k, n, rate)[out].sum())
        hit = np.append(hit * (1 - rate), 0.0) + np.insert(hit * rate, 0, 0.0)
    return np.array(found)


def best_of(configs: int = CONFIGS, n: int = SEEDS, rate: float = RATE) -> Floats:
    """The probability of each best count of so many equal configurations, shape (n + 1,)."""
    below = binom.cdf(np.arange(n + 1), n, rate) ** configs
    return np.diff(below, prepend=0.0)


def looking() -> Figure:
    """How often the truth has been missed at some look."""
    figure, axes = _panel()
    seeds = np.arange(FIRST, LAST + 1)
    once = share_missed(wilson_misses(RATE), every=False)
    axes.plot(seeds, share_missed(wilson_misses(RATE)), color=B)
    axes.plot(seeds, once, color=GREY, linewidth=0.8)
    axes.plot(seeds, share_missed(anytime_misses(RATE)), color=A)
    axes.axhline(0.05, color=INK, linewidth=0.8, linestyle="--")
    axes.text(LAST + 6, 0.375, "Wilson, after\nevery seed", color=B, va="center")
    axes.text(LAST + 6, 0.076, "Wilson, once,\nafter so many", color=GREY, va="center")
    axes.text(LAST + 6, 0.012, "anytime-valid,\nafter every seed", color=A, va="center")
    axes.set(xlim=(0, LAST), ylim=(0, None), xlabel="seeds")
    axes.set_title(f"Series in which the interval has missed the truth, {_percent(RATE)}")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure


def bounds() -> Figure:
    """One series, and both intervals around its rate."""
    figure, axes = _panel()
    seeds = np.unique(np.geomspace(FIRST, 2 * LAST, 200).round().astype(int))
    k = np.cumsum(np.random.default_rng(0).random(seeds[-1]) < RATE)[seeds - 1]
    low, high = anytime_interval(k, seeds)
    axes.fill_between(seeds, low, high, color=A, alpha=0.25, linewidth=0)
    narrow, wide = wilson(k, seeds)
    axes.fill_between(seeds, narrow, wide, color=B, alpha=0.45, linewidth=0)
    axes.plot(seeds, k / seeds, color=INK, linewidth=1)
    axes.axhline(RATE, color=INK, linewidth=0.8, linestyle="--")
    axes.text(60, 0.62, "Wilson's 95 %", color=B)
    axes.text(60, 0.57, "anytime-valid 95 %, wider", color=A)
    axes.text(1040, RATE, "the truth", color=INK, va="center")
    axes.set(xscale="log", xlim=(FIRST, seeds[-1]), ylim=(0.5, 1), xlabel="seeds")
    axes.set_xticks([10, 20, 50, 100, 200, 500, 1000])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seed, _: f"{seed:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("An example: solved seeds of those so far")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure


def race(seed: int = 2) -> list[tuple[int, NDArray[np.bool_]]]:
    """An example: who gets the next seeds of a race, and which of them succeed, until it ends."""
    rungs, rng = race_rungs(512), np.random.default_rng(seed)
    grants, steps = best_race(RaceRule(rungs), Aim()), list[tuple[int, NDArray[np.bool_]]]()
    counts, proposed = np.zeros((len(RACED), 2), int), 0
    while True:
        name = grants.next({}, last=proposed == len(RACED))
        if name is None and proposed == len(RACED):
            return steps
        if name is None:
            name, proposed = proposed, proposed + 1
            grants.enter(name)
        one = int(str(name))
        more = next(rung for rung in rungs if rung > counts[one, 1]) - counts[one, 1]
        solved = rng.random(more) < RACED[one]
        counts[one] += solved.sum(), more
        steps.append((one, solved))
        grants.see(one, *counts[one].tolist())


def seeds_flow() -> Figure:
    """Which configuration gets each seed of a race."""
    figure, axes = _panel()
    steps, row_of, at = race(), np.argsort(np.argsort(RACED)), 0
    marks: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for one, solved in steps:
        for seed in solved.tolist():
            marks[seed] += [(at, row_of[one]), (at + 1, row_of[one]), (np.nan, np.nan)]
            at += 1
    for solves, colour in ((True, A), (False, B)):
        axes.plot(*np.array(marks[solves]).T, color=colour, linewidth=5, solid_capstyle="butt")
    for one, row in enumerate(row_of.tolist()):
        own = np.concatenate([solved for of, solved in steps if of == one])
        axes.text(at * 1.01, row, f"{own.sum()} of {own.size}", color=INK, va="center", fontsize=7)
    begun = [of for of, _ in steps].index(len(RACED) - 1)
    last = sum(solved.size for _, solved in steps[: begun + 1])
    axes.axvline(last, color=INK, linewidth=0.8, linestyle="--")
    axes.text(last + 1.5, 4.5, "all are proposed", color=INK)
    axes.text(0.4 * at, 3.5, "a seed that succeeded", color=A)
    axes.text(0.4 * at, 2.3, "a seed that failed", color=B)
    axes.set_yticks(row_of, [_percent(rate) for rate in RACED], fontsize=7)
    axes.set(xlim=(0, at), xlabel="seeds of the search, in their order")
    axes.set_title("An example: seeds flow to the configurations that may be the best")
    return figure


def winners_curse() -> Figure:
    """The count of one configuration, and that of the best of many such."""
    figure, axes = _panel()
    counts = np.arange(78, SEEDS + 1)
    best = best_of()
    axes.bar(counts, binom.pmf(counts, SEEDS, RATE), width=0.9, color=A)
    axes.bar(counts, best[counts], width=0.9, color=B, alpha=0.75)
    axes.text(79, 0.1, "one configuration", color=A)
    axes.text(89.2, 0.3, f"the best of {CONFIGS}", color=B, ha="right")
    axes.set(xlim=(77, 101), xlabel=f"solved of {SEEDS} seeds")
    axes.set_title(
        f"All are truly {_percent(RATE)}, and the winner shows {best @ np.arange(best.size):.0f}"
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure


def clopper() -> Figure:
    """What is proven of a rate after n seeds, by the failures among them."""
    figure, axes = _panel()
    seeds = np.arange(20, 1201, 4)
    claim = 0.99
    for line, (failures, colour) in enumerate(((0, A), (1, C), (3, B))):
        low = clopper_pearson_lower(seeds - failures, seeds)
        axes.plot(seeds, low, color=colour)
        needed = seeds_for_lower_bound(claim, failures=failures)
        axes.plot(needed, claim, "o", color=colour, markersize=4)
        words = f"{failures or 'none'} may fail: {needed} seeds for {_percent(claim)}"
        axes.text(560, 0.972 - 0.005 * line, words, color=colour)
    axes.axhline(claim, color=INK, linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, seeds[-1]), ylim=(0.95, 1), xlabel="seeds, as many as were planned")
    axes.set_title("Clopper and Pearson's lower bound, 95 %")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure


def mcnemar() -> Figure:
    """The seeds that tell two configurations apart, and what chance makes of them."""
    figure, axes = _panel()
    wins, losses = PAIRED
    total = wins + losses
    counts = np.arange(total + 1)
    mass = binom.pmf(counts, total, 0.5)
    extreme = mass <= mass[wins] * (1 + 1e-9)
    axes.bar(counts, mass, width=0.9, color=[B if out else A for out in extreme])
    axes.annotate(
        f"seen: {wins} of {total}", (wins, mass[wins]), (wins + 0.5, 0.05),
        arrowprops={"arrowstyle": "->", "color": INK}, color=INK,
    )  # fmt: skip
    axes.set(xlabel=f"of {total} seeds that only one of the two solves, those that A solves")
    axes.set_title(
        f"If A and B are equally good: as uneven as seen or more, "
        f"p = {float(mcnemar_two_sided(wins, losses)):.3f}"
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure


def holm_steps() -> Figure:
    """Which of a family of p-values hold together."""
    figure, axes = _panel()
    p, rank = np.array(FAMILY), np.arange(1, len(FAMILY) + 1)
    kept = holm(p) < 0.05
    steps = 0.05 / (p.size - rank + 1)
    axes.step(rank, steps, where="mid", color=INK, linewidth=1)
    axes.axhline(0.05, color=GREY, linewidth=0.8, linestyle="--")
    axes.plot(rank[kept], p[kept], "o", color=A)
    axes.plot(rank[~kept], p[~kept], "o", color=B, markerfacecolor="none")
    axes.text(1, 0.058, "0.05, for one comparison alone", color=GREY)
    axes.text(5.4, 0.004, "Holm: 0.05 / (comparisons left)", color=INK)
    axes.set(yscale="log", ylim=(2e-4, 1), xlabel="comparisons, the smallest p first")
    axes.set_xticks(rank)
    axes.set_title(
        f"{int((p < 0.05).sum())} of {p.size} have p < 0.05; {int(kept.sum())} hold together"
    )
    return figure


def gate() -> Figure:
    """The wealth of a gate's bet, for three series of seeds."""
    figure, axes = _panel()
    claim, seeds = 0.95, np.arange(1, 201)
    all_solved = np.ones(seeds.size)
    one_failed = all_solved.copy()
    one_failed[29] = 0
    often = np.tile([1.0] * 6 + [0.0], seeds.size // 7 + 1)[: seeds.size]
    for series, colour, words, place in (
        (all_solved, A, f"none fails: {gate_seeds(claim)} seeds", (6, 25)),
        (one_failed, C, "one fails, the 30th", (96, 3)),
        (often, B, "every seventh fails", (38, 0.02)),
    ):
        k = np.cumsum(series)
        wealth = np.exp(anytime_evidence_above(k, seeds, claim))
        end = int(np.argmax(wealth >= 20)) if (wealth >= 20).any() else seeds.size - 1
        axes.plot(seeds[: end + 1], wealth[: end + 1], color=colour)
        axes.text(*place, words, color=colour)
    axes.axhline(20, color=INK, linewidth=0.8, linestyle="--")
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set(yscale="log", xlim=(0, 160), ylim=(0.005, 60), xlabel="seeds")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda money, _: f"{money:g}"))
    axes.set_title(f"What a stake of 1 has become that bets on a rate above {_percent(claim)}")
    return figure


def numbers() -> Figure:
    """All seeds of two algorithms of docs/numbers.md, and their interquartile means."""
    figure, axes = _panel()
    for row, (name, base) in enumerate({"PPO": 178, "SAC-X": 155}.items()):
        returns = np.array(
            [np.random.default_rng([seed, len(name)]).normal(base, 9) for seed in range(10)]
        )
        axes.plot(returns, np.full(returns.size, row), "o", color=GREY, alpha=0.6, markersize=4)
        low, high = IQM.interval(returns) or (np.nan, np.nan)
        axes.hlines(row, low, high, color=A, linewidth=2)
        axes.plot(summary(returns)["iqm"], row, "D", color=A, markersize=6)
    axes.set_yticks([0, 1], ["PPO", "SAC-X"])
    axes.set(ylim=(1.5, -0.5), xlabel="return")
    axes.text(164, 0.5, "a dot is a seed; the bar is the 95 % interval of the IQM", color=INK)
    axes.set_title("An example: every seed, and the interquartile means (IQM)")
    return figure


def imported() -> Figure:
    """The six configurations that docs/import-export.md imports, as their report has them."""
    figure, axes = _panel()
    rows = []
    for rate in (0.7, 0.9, 0.98):
        for width in (8, 16):
            luck = [random.Random(seed * width).random() for seed in range(100)]  # noqa: S311
            k = sum(round(0.99 - 0.4 * (one > rate) * one, 3) >= 0.9 for one in luck)
            rows.append((k, f"lr {rate:g}, width {width}"))
    rows.sort(reverse=True)
    for row, (k, _) in enumerate(rows):
        axes.hlines(row, *wilson(k, 100), color=A, linewidth=2)
        axes.plot(k / 100, row, "o", color=A)
    axes.set_yticks(range(len(rows)), [f"{k}/100 · {name}" for k, name in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_title("The success rates of the imported configurations, 95 % intervals")
    return figure


def logged() -> Figure:
    """What a tracker is told of two configurations of the committed search for parity."""
    figure, axes = _panel()
    run = load_run(HERE.parents[1] / "reports" / "parity3")
    best, *others = (one for one in run.results if one.outcome.n >= 16)
    worst = min(others, key=lambda one: one.outcome.rate)
    blocks = run.evaluations
    configs, counts, solved = map(blocks.column, ("config", "count", Status.SOLVED.label))
    for result, colour in zip((best, worst), (A, B), strict=True):
        own = configs == blocks.lines.keys.index(result.key)
        n, k = counts[own].cumsum(), solved[own].cumsum()
        low, high = wilson(k, n)
        axes.fill_between(n, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(n, k / n, color=colour, marker="o", markersize=3)
        axes.text(n[-1] * 1.06, k[-1] / n[-1], result.key[:6], color=colour, va="center")
    axes.set(xscale="log", xlabel="n, the step of a tracker", ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seeds, _: f"{seeds:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_title("An example: rate, low and high of two configurations as seeds come")
    return figure


def workers(seed: int = 1) -> Figure:
    """Who trains when: an example of four workers, one of which joins later."""
    figure, axes = _panel()
    rng, free = np.random.default_rng(seed), [0.0, 0.0, 0.0, 14.0]
    for block in range(36):
        worker = int(np.argmin(free))
        took = float(rng.gamma(4, 0.8))
        axes.barh(worker, took, left=free[worker], color=GREY if block < 14 else A, height=0.7,
                  edgecolor="white")  # fmt: skip
        free[worker] += took
    axes.axvline(14, color=INK, linewidth=0.8, linestyle="--")
    axes.text(13.6, 3, "a node joins", color=INK, ha="right", va="center")
    axes.set_yticks(range(4), [f"worker {one}" for one in range(1, 5)])
    axes.set(ylim=(3.6, -0.6), xlim=(0, max(free)), xlabel="seconds")
    axes.set_title("An example: first seeds (grey), then more seeds of the best (blue)")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "looking": looking,
    "bounds": bounds,
    "seeds-flow": seeds_flow,
    "winners-curse": winners_curse,
    "clopper-pearson": clopper,
    "mcnemar": mcnemar,
    "holm": holm_steps,
    "gate": gate,
    "numbers": numbers,
    "imported": imported,
    "logged": logged,
    "workers": workers,
}
"""The name of each file, and what draws it."""


def drawn(name: str) -> str:
    """The picture as SVG, the same for the same matplotlib."""
    out = io.StringIO()
    with mpl.rc_context(DRAWN):
        PICTURES[name]().savefig(out, format="svg", metadata={"Date": None})
    # Matplotlib ends lines with blanks, which some tools would strip from a committed file.
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def main() -> None:
    """Write all of them beside this file."""
    for name in PICTURES:
        (HERE / f"{name}.svg").write_text(drawn(name), encoding="utf-8")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _panel() -> tuple[Figure, mpl.axes.Axes]:
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    return figure, figure.subplots()


if __name__ == "__main__":
    main()
