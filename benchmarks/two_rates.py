"""How many seeds it takes to tell two success rates apart, one seed after the other.

xortune's `compare --sequential` beside STEP (arXiv 2503.10966) and AdaStop (arXiv 2306.10882), on
the same drawn seeds. Each is asked whether the better one is better, wrong with probability 0.05 at
most: STEP as it is published (one-sided 0.05, its own policies), xortune with 0.1 for both sides,
which is 0.05 for the better one; AdaStop, which has no one-sided test, with 0.1, in ten batches.
Who has not answered after N seeds has spent N.

STEP's package may not be used commercially, and xortune does not depend on it. To measure:

    python -m venv other && other/bin/pip install sequentialized-barnard-tests adastop
    python benchmarks/two_rates.py --packages other/lib/python3.*/site-packages     minutes
    python benchmarks/two_rates.py --quick                                  xortune alone, seconds
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.stats.sequential import paired_answer

PAIRS = (
    *((0.98, 0.9), (0.1, 0.05), (0.15, 0.05), (0.25, 0.05), (0.2, 0.1), (0.3, 0.1)),
    *((0.4, 0.3), (0.5, 0.3), (0.6, 0.3), (0.6, 0.5), (0.7, 0.5), (0.8, 0.5)),
    *((0.8, 0.7), (0.9, 0.7), (0.9, 0.8), (0.95, 0.85), (0.95, 0.9)),
    *((0.5, 0.5), (0.9, 0.9)),
)
"""The rates of the better and of the other; at last two that are equal."""

SEEDS, ALPHA = (200, 500), 0.05
BATCHES, PERMUTATIONS, OF_ADASTOP = 10, 1000, 40
"""AdaStop takes a second for one comparison: so few of them, for the first pair and 200 seeds only;
batches of 50 seeds end it with an error (it counts all permutations)."""

Solved = NDArray[np.bool_]
Test = Callable[[Solved, Solved], tuple[bool, int]]
"""Whether the first is proven better, and after how many seeds it ended."""


@dataclass(frozen=True)
class Found:
    """The mean number of seeds, and the share in which the better one was proven."""

    seeds: float
    proven: float


def ours(first: Solved, second: Solved) -> tuple[bool, int]:
    """As `compare --sequential` decides."""
    answer = paired_answer(first, second, seeds=len(first), alpha=2 * ALPHA)
    return answer.ahead == 1, answer.n


def step_of(seeds: int) -> Test:
    """STEP with the policy that its package has for so many seeds."""
    from sequentialized_barnard_tests import Decision, Hypothesis, StepTest

    with contextlib.redirect_stdout(io.StringIO()):
        test = StepTest(Hypothesis.P0LessThanP1, seeds, ALPHA, random_seed=None)

    def run(first: Solved, second: Solved) -> tuple[bool, int]:
        test.reset()
        for n, (better, other) in enumerate(zip(first, second, strict=True), 1):
            if test.step(int(other), int(better)).decision == Decision.AcceptAlternative:
                return True, n
        return False, seeds

    return run


def adastop_of(seeds: int) -> Test:
    """AdaStop in ten batches."""
    from adastop import MultipleAgentsComparator

    def run(first: Solved, second: Solved) -> tuple[bool, int]:
        size = seeds // BATCHES
        test = MultipleAgentsComparator(
            n=size, K=BATCHES, B=PERMUTATIONS, alpha=2 * ALPHA, seed=int(first.sum())
        )
        for batch in range(BATCHES):
            part = slice((batch + 1) * size)
            values = {"first": first[part].astype(float), "second": second[part].astype(float)}
            test.partial_compare(values, verbose=False)
            if test.is_finished:
                break
        better = any(one == "larger" for one in test.decisions.values())
        return better, (batch + 1) * size

    return run


def measured(test: Test, pairs: tuple[Solved, Solved], count: int) -> Found:
    """The first so many of some drawn pairs."""
    ended = [test(a, b) for a, b in zip(*(one[:count] for one in pairs), strict=True)]
    proven, seeds = zip(*ended, strict=True)
    return Found(float(np.mean(seeds)), float(np.mean(proven)))


def lower_bound(better: float, other: float) -> float:
    """ln(1 / alpha) / information: seeds that a test of power 1 takes in the mean at least.

    The information is that of one seed of both against the two equal rates that are hardest to
    tell from them.
    """
    if better == other:
        return float("nan")
    middle = (better + other) / 2
    information = sum(
        p * np.log(p / middle) + (1 - p) * np.log((1 - p) / (1 - middle)) for p in (better, other)
    )
    return float(np.log(1 / ALPHA) / information)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", help="folder with sequentialized_barnard_tests and adastop")
    parser.add_argument("--quick", action="store_true", help="xortune alone, 100 comparisons each")
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="N")
    asked = parser.parse_args()
    if asked.packages:
        sys.path.append(asked.packages)
    repeats = 100 if asked.quick else asked.repeats
    others = bool(asked.packages) and not asked.quick
    print("| rates | N | at least | xortune: seeds | proven | STEP: seeds | proven | ratio |")
    print("| :-- | --: | --: | --: | --: | --: | --: | --: |")
    for seeds in asked.seeds:
        step = step_of(seeds) if others else None
        for better, other in PAIRS:
            rng = np.random.default_rng([seeds, round(1000 * better), round(1000 * other)])
            drawn = tuple(rng.random((repeats, seeds)) < rate for rate in (better, other))
            own = measured(ours, drawn, repeats)
            least = lower_bound(better, other)
            shown = "–" if np.isnan(least) else f"{least:.0f}"
            row = f"| {better:g}, {other:g} | {seeds} | {shown} |"
            row += f" {own.seeds:.1f} | {own.proven:.3f} |"
            if step is not None:
                that = measured(step, drawn, repeats)
                row += f" {that.seeds:.1f} | {that.proven:.3f} | {own.seeds / that.seeds:.2f} |"
            print(row, flush=True)
            if others and (better, other, seeds) == (*PAIRS[0], SEEDS[0]):
                ada = measured(adastop_of(seeds), drawn, OF_ADASTOP)
                few = measured(ours, drawn, OF_ADASTOP)
                print(
                    f"AdaStop, {OF_ADASTOP} comparisons: {ada.seeds:.1f} seeds, proven "
                    f"{ada.proven:.3f}; xortune on the same: {few.seeds:.1f}, {few.proven:.3f}",
                    file=sys.stderr,
                    flush=True,
                )


if __name__ == "__main__":
    main()
