"""How often is what is printed about a success rate wrong? The answers of a gate.

By exact enumeration of all ways in which seeds can end, at true rates on both sides of the rate
that is asked for: what is said can only be wrong near it.

    python benchmarks/promises.py gate          seconds
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xortune.certificates.gate import Answer, SequentialTest
from xortune.stats.anytime import anytime_interval

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
        over = proven | refuted | (n == test.max_seeds)
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


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["gate"])
    parser.parse_args()
    print_gates()


if __name__ == "__main__":
    main()
