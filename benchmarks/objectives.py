"""What a search for the success rate should tell Optuna: several numbers tried on real searches.

The search as it is (Optuna's TPE, the race, the fused engine) in this process on one core, without
Ray: the queue hands out blocks, they are trained here, the sampler is told when the queue says so.
Only the number differs. Each repetition has a search seed and training seeds of its own, the same
for all candidates.

    python benchmarks/objectives.py [--spaces xor narrow] [--candidates pooled shrunken]
        [--repetitions 20] [--trials 100] [--sampler tpe] [--output FILE]

A finished search is one line of FILE; the same command again does what is missing, and prints the
tables of README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import machine

if __name__ == "__main__":
    machine.stay_on(machine.cores()[-1])

import numpy as np
from numpy.typing import NDArray
from quality.spaces import SPACES, BenchSpace, SpaceTrainer
from quality.trace import Standing, Tracer

from xortune.core.outcome import Outcome, wilson
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.driver.batches import Batches, Done, most_in_flight
from xortune.driver.decisions import SearchDecisions
from xortune.driver.loop import NoJournal, Record
from xortune.driver.propose import OptunaProposer
from xortune.racing.objectives import SeedSummary, speed
from xortune.spaces.grid import probes
from xortune.spaces.model import SearchSpace
from xortune.stats.anytime import anytime_lower

OTHERS = range(3_300_000_000, 3_300_010_000)
"""Seeds that no search has seen; the true rate of a winner is that on all of them, ..."""

FEWER = 2000
"""... that of what was first for a while on so many."""

TARGET = 0.99
FIRST = "pooled"
"""With which epochs to solve are compared."""

RESAMPLES = 4000


@cache
def _wilson(k: int, n: int) -> float:
    return float(wilson(k, n)[0])


@cache
def _anytime(k: int, n: int) -> float:
    return float(anytime_lower(k, n, alpha=0.05))


TIE = 1e-6
"""Of a tie-break: no two different counts are so close in any of these numbers."""


def ert(seen: SeedSummary) -> float:
    """Minus the logarithm of the epochs to solve, with one success more."""
    return -math.log(max(seen.spent, 1) / (seen.k + 1))


CANDIDATES: dict[str, tuple[str, Callable[[SeedSummary], float]]] = {
    "pooled": ("k/n", lambda s: s.k / s.n),
    "pooled, speed": (
        "k/n; of equal ones the sooner",
        lambda s: s.k / s.n + TIE * speed(s),
    ),
    "Wilson": ("lower end, 95 %", lambda s: _wilson(s.k, s.n)),
    "Wilson, speed": (
        "the same; of equal ones the sooner",
        lambda s: _wilson(s.k, s.n) + TIE * speed(s),
    ),
    "anytime, speed": (
        "anytime lower bound, 95 %; of equal ones the sooner",
        lambda s: _anytime(s.k, s.n) + TIE * speed(s),
    ),
    "shrunken": ("(k + 1) / (n + 2)", lambda s: (s.k + 1) / (s.n + 2)),
    "shrunken, speed": (
        "the same; of equal ones the sooner",
        lambda s: (s.k + 1) / (s.n + 2) + TIE * speed(s),
    ),
    "shrunken + speed": (
        "(k + 1 + s) / (n + 2), s in (0, 1) for speed",
        lambda s: (s.k + 1 + speed(s)) / (s.n + 2),
    ),
    "logarithm": (
        "-ln((n - k + 1 - s) / (n + 2)): the same order, spread out near 1",
        lambda s: -math.log((s.n - s.k + 1 - speed(s)) / (s.n + 2)),
    ),
    "epochs": ("-ln ERT alone, one success more", ert),
}
"""What is told; larger is better. TPE looks at the order alone, a GP at the sizes too."""


def search(space: SearchSpace, tracer: Tracer, told: Callable[[SeedSummary], float]) -> None:
    """One search to its end; the tracer counts and takes down who is first."""
    trainer, trials = SpaceTrainer(tracer.bench, tracer.repetition), space.search.trials
    assert trials is not None
    ladder = space.seeds.ladder
    longest = max(trainer.cost(Block(point, 0, ladder[0])) for point in probes(space))
    most = space.seeds.ladder[0] * most_in_flight(longest, slots=1, proposals=trials)
    proposer = OptunaProposer(space, values_of=lambda _, __, seen: (told(seen),))
    decisions = SearchDecisions(space, trainer, proposer, max_in_flight=most)
    batches = Batches(decisions, trainer, Record(NoJournal()), most=1)
    standing = Standing()
    while jobs := batches.next():
        (job,) = jobs
        (outcome,) = trainer.train([job.block])
        assert isinstance(outcome, Outcome)
        tracer.spend(job.block.count)
        standing.add(job.block.point, outcome)
        tracer.answer(*standing.best)
        batches.receive(Done(jobs, [outcome]))
    assert batches.finished


def measured(job: tuple[str, str, int, int, str], truth: Truth) -> dict[str, Any]:
    """One search, and the truth of what it found."""
    name, candidate, repetition, trials, sampler = job
    bench = SPACES[name]
    settings = dataclasses.replace(
        bench.space.search, trials=trials, seed=repetition, sampler=sampler
    )
    tracer = Tracer(bench, repetition, 10**18)
    search(dataclasses.replace(bench.space, search=settings), tracer, CANDIDATES[candidate][1])
    reached = math.inf
    for step in reversed(tracer.steps):
        if truth.rate(bench, tracer.points[step.config], FEWER) < TARGET:
            break
        reached = step.spent
    winner = tracer.points[tracer.steps[-1].config]
    outcome = bench.train(winner, OTHERS)
    return {
        "space": name,
        "candidate": candidate,
        "repetition": repetition,
        "trials": trials,
        "sampler": sampler,
        "rate": outcome.rate,
        "epochs": outcome.epochs_to_solve or math.inf,
        "spent": tracer.spent,
        "target": reached,
    }


class Truth:
    """Rates on other seeds, measured once for each training."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def rate(self, bench: BenchSpace, point: Point, seeds: int) -> float:
        """On so many of them."""
        key = f"{bench.name} {bench.trained_key(point)}"
        if key not in self._known:
            self._known[key] = bench.train(point, OTHERS[:seeds]).rate
        return self._known[key]


def tables(found: Sequence[dict[str, Any]]) -> str:
    """A Markdown table for each space: means, medians, and the geometric mean of ratios."""
    parts = []
    for space in dict.fromkeys(row["space"] for row in found):
        rows = []
        for candidate in dict.fromkeys(row["candidate"] for row in found):
            mine = [r for r in found if (r["space"], r["candidate"]) == (space, candidate)]
            if not mine:
                continue
            unit = 100 * SPACES[space].epochs
            ends = [r["target"] / unit for r in mine]
            rows.append(
                [
                    f"{candidate}: {CANDIDATES[candidate][0]}",
                    _interval([r["rate"] for r in mine], np.mean, "{:.4f}"),
                    _interval([r["epochs"] for r in mine], np.median, "{:.3g}"),
                    _interval(_ratios(found, space, candidate), _geometric, "{:.2f}"),
                    _interval(ends, np.median, "{:.3g}")
                    + f", {sum(map(math.isfinite, ends))}/{len(ends)}",
                    _interval([r["spent"] / unit for r in mine], np.mean, "{:.3g}"),
                ]
            )
        header = [space, "true rate, mean", "epochs to solve, median", f"to {FIRST}"]
        header += [f"at {TARGET}, median, how many", "spent, mean"]
        parts.append(machine.table(header, rows))
    return "\n\n".join(parts)


def _ratios(found: Sequence[dict[str, Any]], space: str, candidate: str) -> list[float]:
    """The winners' epochs to solve over those of `FIRST`, repetition by repetition."""
    epochs = {(r["candidate"], r["repetition"]): r["epochs"] for r in found if r["space"] == space}
    shared = [i for name, i in epochs if name == candidate and (FIRST, i) in epochs]
    return [epochs[candidate, i] / epochs[FIRST, i] for i in shared] or [math.nan]


def _geometric(values: NDArray[np.float64], axis: int = 0) -> Any:
    return np.exp(np.mean(np.log(values), axis=axis))


def _interval(values: Sequence[float], middle: Callable[..., Any], form: str) -> str:
    """A mean or median and its 95 % bootstrap interval (percentiles, over the repetitions)."""
    array, rng = np.asarray(values, np.float64), np.random.default_rng(0)
    drawn = array[rng.integers(len(array), size=(RESAMPLES, len(array)))]
    with np.errstate(invalid="ignore"):
        spread = np.sort(middle(drawn, axis=1))
    low, high = spread[round(0.025 * RESAMPLES)], spread[round(0.975 * RESAMPLES)]
    texts = [form.format(value).replace("inf", "∞") for value in (middle(array), low, high)]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [name for name, bench in SPACES.items() if not bench.synthetic]
    parser.add_argument("--spaces", nargs="+", choices=known, default=["xor", "parity-3", "narrow"])
    parser.add_argument(
        "--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES)
    )
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--sampler", choices=["tpe", "gp"], default="tpe")
    parser.add_argument("--output", type=Path, default=Path("runs/objectives.jsonl"))
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    found = []
    if args.output.exists():
        found = [json.loads(line) for line in args.output.read_text(encoding="utf-8").splitlines()]
        asked = args.trials, args.sampler
        found = [row for row in found if (row["trials"], row["sampler"]) == asked]
    done = {(row["space"], row["candidate"], row["repetition"]) for row in found}
    truth = Truth()
    for repetition in range(args.repetitions):
        for space in args.spaces:
            for candidate in args.candidates:
                if (space, candidate, repetition) in done:
                    continue
                job = space, candidate, repetition, args.trials, args.sampler
                row = measured(job, truth)
                found.append(row)
                with args.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    print(machine.description(), "", tables(found), sep="\n")


if __name__ == "__main__":
    main()
