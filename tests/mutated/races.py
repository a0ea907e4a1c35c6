"""Wrong lines in the race: its bounds, its decisions, its way through the search."""

from __future__ import annotations

from mutated.mutation import Mutation

ANYTIME = "tests/test_stats_anytime.py"
RACE = "tests/test_race.py"
NEXT = "tests/test_race_next.py"
FRONT = "tests/test_race_front.py"
RACING = "tests/search/test_race_in_search.py"
RESUMED = "tests/search/test_race_resumed.py"
STOPS = "tests/search/test_race_stops.py"
RACE_PACKS = "tests/search/test_race_packs.py"
BLOCKS = "tests/search/test_blocks.py"
PRUNER = "tests/search/test_race_pruner.py"
APART = "tests/search/test_versions_apart.py"

MUTATIONS = [
    # The race: its bounds, its decisions, its way through the search, its adapters.
    Mutation(
        "stats_anytime.py",
        '_SHAPES = {"jeffreys": 0.5',
        '_SHAPES = {"jeffreys": 0.6',
        ANYTIME,
    ),
    Mutation(
        "stats_anytime.py",
        "half = (1 - confidence) / 2",
        "half = 1 - confidence",
        ANYTIME,
    ),
    Mutation(
        "stats_anytime.py",
        "log = log - np.log(betainc(shape, shape, expit(-u)))",
        "log = log - np.log(betainc(shape, shape, 0.5))",
        ANYTIME,
    ),
    Mutation(
        "stats_anytime.py",
        "return anytime_above(w, w + other, 0.5)",
        "return anytime_above(w, w + other, 0.45)",
        ANYTIME,
    ),
    Mutation(
        "race.py",
        "EVEN + i - 1), np.log(EVEN + i)",
        "EVEN + i), np.log(EVEN + i + 1)",
        RACE,
    ),
    Mutation(
        "race.py",
        "alpha=alpha * race_share(number) / 2)\n\n\ndef race_upper",
        "alpha=alpha * race_share(number))\n\n\ndef race_upper",
        RACE,
    ),
    Mutation(
        "race.py",
        "return math.log(alpha * float(race_share(number)) / 2)",
        "return math.log(alpha * float(race_share(number)))",
        RACE,
    ),
    Mutation(
        "race.py",
        "other = self._next if self._bar.name == name else self._bar",
        "other = self._bar",
        RACE,
    ),
    Mutation(
        "race.py",
        "self._bar, self._next = found, self._bar",
        "self._bar = found",
        RACE,
    ),
    Mutation(
        "race.py",
        "least = self._bar.lower if first else self._next.lower",
        "least = self._bar.lower",
        RACE,
    ),
    Mutation("race.py", "if n < self.rule.rungs[-1]", "if n <= self.rule.rungs[-1]", RACE),
    Mutation("race.py", "self.see(name, successes, n)\n        if", "if", RACE),
    Mutation("race_next.py", "(successes + 1 + speed) / (n + 2)", "(successes + speed) / n", NEXT),
    Mutation("race_next.py", "if successes < n:\n        return None", "", NEXT),
    Mutation("race_next.py", "n < rung <= FIRST", "n < rung", NEXT),
    Mutation("race_next.py", "member[0] + AS_QUICK", "member[0]", NEXT),
    Mutation("race_next.py", "slowest) if flawless else", "slowest) if True else", NEXT),
    Mutation("race_next.py", "_low(k, seeds) < hoped", "k / seeds < hoped", NEXT),
    Mutation("race_next.py", "if ahead >= self._most", "if ahead > self._most", NEXT),
    Mutation("race_next.py", "len(busy) >= self._most:", "len(busy) > self._most:", NEXT),
    Mutation("race_next.py", "last and successes == n", "successes == n", NEXT),
    Mutation("race_next.py", "self._stopped.add(number)", "pass", NEXT),
    Mutation("race_next.py", "_remove(self._all, before, number)", "pass", NEXT),
    Mutation("race_next.py", "and successes and number", "and number", NEXT),
    Mutation("race_next.py", "-first[0]), -first[1]", "-first[0]), first[1]", NEXT),
    Mutation("race_front.py", "self._costs <= self._costs[row]", "self._costs > -np.inf", FRONT),
    Mutation("race_front.py", "rivals[row] = False", "pass", FRONT),
    Mutation("race_front.py", "self._out[row] |= worse", "pass", FRONT),
    Mutation("race_front.py", "ahead.sum() >= self", "ahead.sum() > self", FRONT),
    Mutation("race_front.py", "self._low >= hoped[row]", "self._k >= 1", FRONT),
    Mutation(
        "race.py",
        "0 <= more <= added",
        "more <= added",
        PRUNER,
    ),
    Mutation(
        "search/steps.py",
        "start = max(start, block.first + block.count)",
        "start = block.first + block.count",
        RACING,
    ),
    Mutation("search/steps.py", "epochs_spent(outcome) if self.timed else 0", "0", RACING),
    Mutation(
        "search/steps.py",
        "known[:] = [e for e in known if e.block.first >= end]",
        "known.clear()",
        RESUMED,
    ),
    Mutation(
        "search/steps.py", "end = max(end, evaluation.block.first", "end = max(end, 0", RESUMED
    ),
    Mutation("search/steps.py", "found = Count(n=seeds,", "found = Count(n=0,", BLOCKS),
    Mutation("search/blocks.py", "< VERIFY * all_seeds", "< VERIFY", RACING),
    Mutation("search/steps.py", "(step - BLIND) // WIDENS", "step // WIDENS", BLOCKS),
    Mutation(
        "search/blocks.py",
        "self._taken <= step - window_at(step, most, self._least)",
        "self._steps.get(self._taken) and not self._steps[self._taken].missing",
        RACING,
    ),
    Mutation("search/steps.py", "> counting), rungs[0])", "> counting), rungs[-1])", RACING),
    Mutation("search/steps.py", "self.granted - self.seen.aside", "self.granted", APART),
    Mutation("search/blocks.py", "self._race.forget(key)", "pass", APART),
    Mutation("run_apart.py", "if made == self.made:", "if True:", APART),
    Mutation("run_apart.py", "(count.n, -lowest) <=", "(count.n, 0) <=", APART),
    Mutation("search/blocks.py", "self._busy.add(key)", "pass", RACING),
    Mutation("search/blocks.py", "last=self._all_made)", "last=False)", RACING),
    Mutation("search/blocks.py", "self._news[0][0] <= self", "0 <= self", STOPS),
    Mutation(
        "search/blocks.py",
        "        if self._news:\n            self._journal.sync()\n",
        "        if self._news:\n            pass\n",
        STOPS,
    ),
    Mutation("search/blocks.py", "self._ready.clear()", "pass", STOPS),
    Mutation("search/blocks.py", "if not final and not self.over:", "if not final:", STOPS),
    Mutation("search/blocks.py", "self._held_back or any(", "any(", STOPS),
    Mutation(
        "search/blocks.py",
        "        if self._stopped:\n            return False\n        if self._newcomers",
        "        if self._newcomers",
        STOPS,
    ),
    Mutation("search/blocks.py", "self._proven = True\n            self.stop()", "pass", RACING),
    Mutation("search/blocks.py", "standing.seen.join(step.gained)", "False", RACING),
    Mutation("search/blocks.py", "if evaluation.final:\n", "if True:\n", BLOCKS),
    Mutation(
        "search/blocks.py",
        "if (known := self._points.pop(number, None)) is not None:",
        "if (known := None) is not None:",
        RESUMED,
    ),
    Mutation(
        "search/packs.py",
        "if idle > parts and not self._queue.open",
        "if False",
        RACE_PACKS,
    ),
    Mutation(
        "search/packs.py",
        "parts = int(seconds / min(self._cap, max(MOST_SECONDS, share)))",
        "parts = 0",
        RACE_PACKS,
    ),
    Mutation(
        "search/packs.py",
        "if not job.climbs or seconds",
        "if seconds",
        RACE_PACKS,
    ),
    Mutation(
        "search/race_pruner.py",
        "other.number != trial.number:\n                bar",
        "True:\n                bar",
        PRUNER,
    ),
    Mutation(
        "search/race_pruner.py",
        "if n:\n            found",
        "if True:\n            found",
        PRUNER,
    ),
]
