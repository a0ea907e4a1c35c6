"""How often is what is printed about a success rate, or a number, wrong?

`gate`: the line of a gate, by exact enumeration of all ways in which its seeds can end, at true
rates on both sides of the rate that is asked for: near it a line is wrong most often.

`project`: the bounds of 20 certificates of five finalists. The run is deleted in between; each
certificate has another number of seeds, and so other seeds. The ledger is a real one, the
probabilities are exact.

`interval`: Wilson's interval, by exact enumeration.

`numbers`: gates and planned certificates of a statistic of numbers, by simulation: each cell has
2,000 of them, where a wrong answer is likeliest, just beyond the truth.

    python benchmarks/promises.py gate          seconds
    python benchmarks/promises.py project       seconds
    python benchmarks/promises.py interval      a quarter of a minute
    python benchmarks/promises.py numbers       two minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from xortune.certificates.fresh import CertifyRequest, tasks_of
from xortune.certificates.gate import SequentialTest
from xortune.core.numbers import IQM, MEAN, Statistic, quantile
from xortune.core.outcome import Outcome, wilson
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer
from xortune.runs.certificate import lower_bound, risk_of
from xortune.runs.evaluation import Evaluation, Purpose
from xortune.runs.journal import Journal
from xortune.runs.run import Run, create, load_run
from xortune.runs.store import JOURNAL
from xortune.stats.anytime import anytime_interval
from xortune.stats.statistic_bounds import Answer, StatisticTest, statistic_bounds

# -------------------------------------------------------------------------------------------------
# The gate.

GATES = ((0.9, 100), (0.95, 200), (0.95, 500), (0.99, 1000))
"""`--min-rate` and `--max-seeds`."""

CLOSE = 1e-6
"""How far "just below" and "just above" lie from the rate that is asked for."""

ELSEWHERE = 99
"""Number of other true rates, evenly from 0.01 to 0.99."""


def ends_of(
    test: SequentialTest, rates: NDArray[np.float64]
) -> Iterator[tuple[Answer, int, int, NDArray[np.float64]]]:
    """Every end of a gate: its answer, k, n, and its probability at each of the true rates."""
    going = np.ones((1, len(rates)))  # by k
    for n in range(1, test.max_seeds + 1):
        reached = np.zeros((n + 1, len(rates)))
        reached[1:] += going * rates
        reached[:-1] += going * (1 - rates)
        k = np.arange(n + 1)
        proven, refuted = test.proves(k, n), test.refutes(k, n)
        over = proven | refuted | test.gives_up(k, n)
        for one in np.flatnonzero(over & (reached > 0).any(axis=1)).tolist():
            answer: Answer = "proven" if proven[one] else "refuted" if refuted[one] else "undecided"
            yield answer, one, n, reached[one].copy()
        reached[over] = 0
        going = reached


def gate_errors(
    min_rate: float, max_seeds: int, rates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each true rate the probability that the printed line is wrong, and that `bound` is."""
    test = SequentialTest(min_rate, max_seeds, 0.95, 0)
    line, bounds = np.zeros(len(rates)), np.zeros(len(rates))
    for answer, k, n, chance in ends_of(test, rates):
        bound = test.bound(answer, k, n)
        if answer == "proven":  # "at least"
            wrong, beyond = rates < min_rate, bound is not None and rates < bound
        elif answer == "refuted":  # "below"
            wrong, beyond = rates >= min_rate, bound is not None and rates > bound
        else:
            low, high = anytime_interval(k, n, confidence=test.confidence)
            wrong, beyond = (rates < low) | (rates > high), np.False_
        line += chance * wrong
        bounds += chance * beyond
    return line, bounds


def print_gates() -> None:
    """A line for each gate: how often its line is wrong, and its bound."""
    columns = ("at it", "just below", "just above", "worst elsewhere", "bound")
    print(" | ".join(("| `--min-rate`, `--max-seeds`", *columns)) + " |")
    print("| :-- | --: | --: | --: | --: | --: |")
    for min_rate, max_seeds in GATES:
        near = [min_rate, min_rate - CLOSE, min_rate + CLOSE]
        others = np.linspace(0.01, 0.99, ELSEWHERE)
        rates = np.array([*near, *others[np.abs(others - min_rate) > CLOSE]])
        line, bounds = gate_errors(min_rate, max_seeds, rates)
        shown = [*line[:3], line[3:].max(), bounds.max()]
        cells = " | ".join(f"{100 * one:.2f} %" for one in shown)
        print(f"| {min_rate:g}, {max_seeds:,} | {cells} |")


# -------------------------------------------------------------------------------------------------
# The certificates of a project.

SPACE = """
name: project
epochs: 30
parameters:
  activation: Tanh
  loss: MSELoss
  optimizer: Adam
  lr: {low: 0.01, high: 0.1}
  hidden_dim: 3
search: {sampler: random, trials: 5}
seeds: {ladder: [8]}
"""

FINALISTS, CERTIFICATES = 5, 20
"""Of each certificate; of each project."""

SEEDS, MORE_SEEDS = 300, 10
"""Of the first certificate; by how many each further one has more."""

TRUE_RATES = (0.9, 0.97, 0.99)
"""Of all finalists of a project: so each bound may be wrong."""

RIGHT = (0, 1, 1, 0)
"""Predictions of XOR."""


class NoTrainer(Trainer):
    """A trainer that is only asked what it is."""

    def check(self, point: Point) -> Point:
        """The point."""
        return point

    def cost(self, block: Block) -> float:
        """No time, whatever the block is."""
        return 0.0 * block.count

    def describe(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def train(self, blocks: Sequence[Block]) -> list[Outcome]:  # noqa: ARG002
        """Never called."""
        raise AssertionError("no seed is trained here")


def searched(folder: Path) -> Run:
    """A run of five configurations that solved all of their eight seeds."""
    fixed = {"activation": "Tanh", "loss": "MSELoss", "optimizer": "Adam", "hidden_dim": 3}
    points = [Point({**fixed, "lr": 0.01 * (i + 1), "epochs": 30}) for i in range(FINALISTS)]
    solved = Outcome.judge(
        Task.xor(),
        seeds=np.arange(8),
        epochs=30,
        predictions=np.array([RIGHT] * 8, np.bool_),
        finite=np.ones(8, np.bool_),
        solved_epoch=np.full(8, 30, np.int32),
        final_loss=np.zeros(8, np.float32),
    )
    path = create(folder / "run", space_text=SPACE, manifest={"trainer": "network", "task": "xor"})
    with Journal(path / JOURNAL) as journal:
        for i, point in enumerate(points):
            journal.append(Evaluation(i, Block(point, 0, 8), solved, None, True, 0.0, ""))
    return load_run(path)


def attempts() -> Iterator[Purpose]:
    """The purpose of a finalist in each certificate of a project, whose ledger is a real one."""
    with TemporaryDirectory() as folder:
        run = searched(Path(folder))  # it never has a line of a certificate: as if deleted
        for number in range(CERTIFICATES):
            request = CertifyRequest(FINALISTS, SEEDS + MORE_SEEDS * number)
            purpose = tasks_of(run, NoTrainer(), request, accept=False)[0].purpose
            assert purpose is not None
            yield purpose


def wrong_bound(purpose: Purpose, number: int, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each true rate the probability that a finalist's bound is above it.

    Args:
        purpose: of the certificate.
        number: of the attempt, which says its share of the risk.
        rates: ascending.
    """
    alpha = risk_of(number, purpose.confidence, purpose.finalists)
    n = purpose.seeds
    bounds = [lower_bound(k, n, alpha=alpha, bound="clopper-pearson") for k in range(n + 1)]
    most = np.searchsorted(bounds, rates, side="right") - 1  # the most that leave it right
    return np.asarray(binom.sf(most, n, rates))


def print_project() -> None:
    """A line for each true rate: how probable it is that a bound of a project is wrong."""
    others = np.linspace(0.5, 0.9999, ELSEWHERE)
    rates = np.sort(np.concatenate([TRUE_RATES, others]))
    first = np.ones(len(rates))  # that no bound is wrong
    all_right, alone = first.copy(), first.copy()
    for at, purpose in enumerate(attempts()):
        all_right *= (1 - wrong_bound(purpose, purpose.number, rates)) ** FINALISTS
        alone *= (1 - wrong_bound(purpose, 1, rates)) ** FINALISTS
        if not at:
            first = all_right.copy()
    print("| true rate | in the first certificate | in any | in any without the ledger |")
    print("| --: | --: | --: | --: |")
    columns = [100 * (1 - right) for right in (first, all_right, alone)]
    for rate in TRUE_RATES:
        cells = " | ".join(f"{one[rates == rate][0]:.1f} %" for one in columns)
        print(f"| {rate:g} | {cells} |")
    cells = " | ".join(f"{one.max():.1f} %" for one in columns)
    print(f"| worst | {cells} |")


# -------------------------------------------------------------------------------------------------
# Wilson's interval.

BLOCK_SIZES = (8, 20, 32, 128, 512, 1000)
"""Numbers of seeds."""

RATES_SHOWN = (0.5, 0.9, 0.99, 0.999)
"""True rates; each is averaged over rates near it, as many as failures differ by a tenth."""

NEAR, STEPS = 1.1, 201
"""Failure rates from 1 / 1.1 to 1.1 times that of a shown rate, and how many of them."""


def missed(n: int, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each true rate the probability that Wilson's interval of n seeds does not contain it."""
    k = np.arange(n + 1)
    low, high = (ends[:, None] for ends in wilson(k, n))
    outside = (low > rates) | (high < rates)
    return np.asarray((binom.pmf(k[:, None], n, rates) * outside).sum(axis=0))


def print_intervals() -> None:
    """A line for each number of seeds: how often the interval misses, near rates and at worst."""
    heads = [f"near {rate:g}" for rate in RATES_SHOWN]
    print(f"| seeds | {' | '.join(heads)} | mean of all rates | worst |")
    print("| --: " * (len(heads) + 3) + "|")
    for n in BLOCK_SIZES:
        near = [
            missed(n, 1 - np.geomspace((1 - rate) / NEAR, (1 - rate) * NEAR, STEPS)).mean()
            for rate in RATES_SHOWN
        ]
        # The worst rates lie just outside of an interval's end.
        ends = np.concatenate(wilson(np.arange(n + 1), n))
        worst = missed(n, np.concatenate([ends - CLOSE, ends + CLOSE]).clip(CLOSE, 1 - CLOSE)).max()
        mean = missed(n, (np.arange(2000) + 0.5) / 2000).mean()
        cells = " | ".join(f"{100 * share:.1f} %" for share in (*near, mean, worst))
        print(f"| {n:,} | {cells} |", flush=True)


# -------------------------------------------------------------------------------------------------
# Statistics of numbers.

SERIES, GATED, CERTIFIED, LIMITS = 2000, 200, 100, (0.0, 500.0)
"""Gates for each cell; seeds of a gate, and of a planned certificate; limits of the numbers."""

LOW, MIDDLE, HIGH, SCALE = 40.0, 250.0, 440.0, 10.0


def _clipped_normal(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(norm(300, 120).ppf(share)).clip(*LIMITS)


def _bimodal(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(share < 0.3, LOW * share, HIGH + LOW * share)


def _discrete(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.0, MIDDLE, LIMITS[1]])[np.searchsorted([0.2, 0.55], share)]


def _heavy_tailed(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pareto's of index 1.1, cut off at the upper limit."""
    return np.minimum(SCALE * (1 - share) ** (-1 / 1.1), LIMITS[1])


def _crashing(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """One seed in twenty fails, the others are normal."""
    return np.where(share < 0.05, np.nan, _clipped_normal(share))


SHAPES = {
    "normal, cut off": _clipped_normal,
    "30 % near 0, 70 % near 450": _bimodal,
    "0, 250 or 500": _discrete,
    "heavy tail": _heavy_tailed,
    "normal, 5 % fail": _crashing,
}
"""Quantile functions of numbers within the limits; NaN: the seed failed."""

MEDIAN, DECILE = quantile(50, "median"), quantile(10)


def _truth(quantiles: Callable[..., NDArray[np.float64]], statistic: Statistic) -> float:
    grid = quantiles((np.arange(1_000_000) + 0.5) / 1_000_000)
    # A failed seed counts as the worse limit, or is worse than any number, which here is the same.
    return statistic.estimate(np.sort(np.where(np.isnan(grid), LIMITS[0], grid)))


def print_numbers() -> None:
    """A line for each shape and statistic: how often gates and certificates are wrong."""
    rng = np.random.default_rng(0)
    print("| numbers | statistic | gate proves | gate refutes | seeds | planned: low | high |")
    print("| :-- | :-- | --: | --: | --: | --: | --: |")
    asked = ((MEAN, LIMITS), (IQM, LIMITS), (IQM, None), (MEDIAN, None), (DECILE, None))
    for (name, quantiles), (statistic, limits) in product(SHAPES.items(), (*asked, (MEAN, None))):
        if quantiles is _crashing and statistic is MEAN and limits is None:
            continue  # the mean is worse than any number
        truth, wrong, seeds = _truth(quantiles, statistic), np.zeros(4), 0
        # "At least" is false just above the truth, and true just below.
        rules = [
            StatisticTest(statistic, goal, True, GATED, 0.05, limits)
            for goal in (truth + CLOSE, truth - CLOSE)
        ]
        for _ in range(SERIES):
            numbers = quantiles(rng.random(GATED))
            (above, n), (below, _) = (rule.decide(numbers) for rule in rules)
            options = {"alpha": 0.05, "anytime": False, "limits": limits}
            found = statistic_bounds(numbers[:CERTIFIED], statistic, **options)
            missed_ = (found.low > truth + CLOSE, found.high < truth - CLOSE)
            wrong += (above == "proven", below == "refuted", *missed_)
            seeds += n
        cells = [f"{100 * share:.1f} %" for share in wrong / SERIES]
        cells.insert(2, f"{seeds / SERIES:.0f}")
        known = "" if limits is None else ", with limits"
        print(f"| {name} | {statistic.heading}{known} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    prints = {"gate": print_gates, "project": print_project, "interval": print_intervals}
    prints |= {"numbers": print_numbers}
    parser.add_argument("what", choices=[*prints])
    prints[parser.parse_args().what]()


if __name__ == "__main__":
    main()
