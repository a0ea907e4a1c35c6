"""Trials of a race that report in any order, and what the bounds of the race say of them."""

import numpy as np
from hypothesis import strategies as st

from xortune.racing.race import race_lower, race_upper


def works(rate, number, seed):
    """Whether training with this true rate succeeds under a seed."""
    return np.random.default_rng([number, seed]).random() < rate


def looks(data, alpha, over):
    """Of four trials: number, successes, seeds, and whether it is proven worse than another.

    Args:
        over: numbers of trials that report no more; the caller adds to it.
    """
    rates = data.draw(st.permutations([0.0, 0.5, 0.9, 1.0]))
    order = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=20))
    counts, proven = dict.fromkeys(range(4), (0, 0)), [0.0] * 4
    for number, more in order:
        if number in over:
            continue
        k, n = counts[number]
        k += sum(works(rates[number], number, seed) for seed in range(n, n + more))
        n += more
        counts[number] = k, n
        proven[number] = max(proven[number], float(race_lower(k, n, number + 1, alpha=alpha)))
        bar = max(proven[other] for other in range(4) if other != number)
        yield number, k, n, race_upper(k, n, number + 1, alpha=alpha) < bar
