"""What it saves to drop what is beaten from a sequential comparison of many, and how often it errs.

    python benchmarks/many_rates.py [--repetitions 200]

The same drawn seeds twice: as `compare --sequential` does, where what is proven worse than another
gets no more seeds; and with all going on until one is proven better than each of the others. Both
have the same tests, and an equal share of 5 % for each pair.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.comparison import compare_in_step
from xortune.comparisons.contestants import Contestant
from xortune.core.outcome import Outcome, Status
from xortune.stats.sequential import paired_answer

ALPHA, SEEDS = 0.05, 1000
RATES = {
    "4: 0.98, others 0.9": (0.98, *[0.9] * 3),
    "4: 0.99, 0.95, 0.7, 0.5": (0.99, 0.95, 0.7, 0.5),
    "8: 0.98, others 0.9": (0.98, *[0.9] * 7),
    "8: 0.98, 0.95, others 0.7": (0.98, 0.95, *[0.7] * 6),
    "8: 0.98, 0.97, others 0.5": (0.98, 0.97, *[0.5] * 6),
    "8: 0.98, 0.9, 0.8, ..., 0.3": (0.98, *np.arange(0.9, 0.25, -0.1)),
    "16: 0.98, 0.95, others 0.7": (0.98, 0.95, *[0.7] * 14),
    "8, all 0.9": (0.9,) * 8,
}
"""Rates of each, the best first."""


def contestant(label: str, solved: NDArray[np.bool_]) -> Contestant:
    """What solves these seeds."""
    status = np.where(solved, Status.SOLVED, Status.WRONG_PATTERN).astype(np.uint8)
    epoch, loss = solved.astype(np.int32), np.zeros(solved.size, np.float32)
    judged = np.zeros((solved.size, 0), np.bool_)
    outcome = Outcome(np.arange(solved.size), 1, status, epoch, loss, judged)
    return Contestant(label, "", None, outcome, "given")


def together(solved: list[NDArray[np.bool_]]) -> int:
    """The seeds of all together, if none is dropped before one has beaten each of the others."""
    last = dict.fromkeys(range(len(solved)), 0)
    for a, b in combinations(last, 2):
        share = ALPHA / (len(solved) * (len(solved) - 1) / 2)
        found = paired_answer(solved[a], solved[b], seeds=SEEDS, alpha=share)
        for place, sign in ((a, 1), (b, -1)):
            last[place] = max(last[place], found.n if found.ahead == sign else SEEDS)
    return len(solved) * min(last.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions, rng = parser.parse_args().repetitions, np.random.default_rng(0)
    print("| rates | seeds, all go on | beaten ones dropped | times fewer | best found | wrong |")
    for name, rates in RATES.items():
        all_go_on, dropping, found_best, wrong = 0, 0, 0, 0
        for _ in range(repetitions):
            solved = [rng.random(SEEDS) < rate for rate in rates]
            those = [contestant(str(i), one) for i, one in enumerate(solved)]
            found, _ = compare_in_step(those, max_seeds=SEEDS, alpha=ALPHA)
            all_go_on += together(solved)
            dropping += sum(one.outcome.n for one in found.contestants)
            found_best += found.best == 0
            ahead = [(p.ahead, p.b if p.ahead == p.a else p.a) for p in found.pairs if p.decided_at]
            wrong += any(rates[better] <= rates[worse] for better, worse in ahead)
        cells = [all_go_on / repetitions, dropping / repetitions]
        print(
            f"| {name} | {cells[0]:,.0f} | {cells[1]:,.0f} | {cells[0] / cells[1]:.1f} "
            f"| {100 * found_best / repetitions:.0f} % | {100 * wrong / repetitions:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
