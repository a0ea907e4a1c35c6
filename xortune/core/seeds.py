"""Which seeds are whose: disjoint ranges, so that "fresh" is true by construction.

torch's CPU generator tells 2**32 seeds apart, 0 to 2**32 - 1. A search draws from the first quarter
and each use that must not see a search's seeds, or another's, has a range of its own above that.
"""

from __future__ import annotations

QUARTER = 2**30

SEARCH = range(QUARTER)
"""What a search trains its configs under."""

HAND = range(QUARTER, QUARTER + QUARTER // 8)
"""For checks by hand, as reports suggest them: `xortune evaluate ... --first-seed 1073741824`."""

MARK = range(HAND.stop, QUARTER + QUARTER // 4)
"""Tests that are marked with `@pytest.mark.seeds`: the same seeds each time, as those of gates, and
none that a search chose by. Below 2**31, which every library takes for a seed."""

COMPARE = range(MARK.stop, QUARTER + QUARTER // 2)
"""Comparisons of configs that lack seeds: the same for all, so that they can be paired."""

CERTIFY = range(COMPARE.stop, 2 * QUARTER)
"""Certificates: the finalists of a search, one attempt after the other."""

NEIGHBOURS = range(2 * QUARTER, 3 * QUARTER)
"""The neighbours of a finalist: its settings, moved a little."""

GATE = range(3 * QUARTER, 3 * QUARTER + QUARTER // 2)
"""Gates: the same seeds each time, so that a gate's answer changes with the training only."""

THREAD = range(GATE.stop, 4 * QUARTER)
"""For the sweep's best cells in examples/thread, which measures what a forum thread claimed."""
