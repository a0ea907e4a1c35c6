from itertools import pairwise

from xortune.core import seeds as owners
from xortune.core.outcome import MAX_SEED
from xortune.core.seeds import GATE, HAND, SEARCH
from xortune.reports.tables import FRESH_SEED
from xortune.spaces.model import MAX_SEEDS


def test_the_ranges_are_disjoint_and_use_up_all_seeds():
    every = [value for value in vars(owners).values() if isinstance(value, range)]
    ranges = sorted(every, key=lambda seeds: seeds.start)
    assert ranges[0].start == 0
    assert ranges[-1].stop == MAX_SEED + 1
    for lower, upper in pairwise(ranges):
        assert lower.stop == upper.start
        assert len(lower) > 10**8
    assert all(seeds.step == 1 for seeds in ranges)


def test_the_search_and_the_hints_keep_to_theirs():
    assert (SEARCH.start, SEARCH.stop) == (0, MAX_SEEDS)
    assert HAND.start == FRESH_SEED == 2**30
    assert GATE.start > 2**30
