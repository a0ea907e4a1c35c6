"""Wrong lines in own trainers: how they are called, what they report, what is looked for."""

from __future__ import annotations

from mutated.mutation import Mutation

__all__ = ["MUTATIONS"]

CALL = "tests/engine/test_custom_call.py"
NUMBERS = "tests/test_objective_numbers.py"
RACE = "tests/test_race_numbers.py"
GIVEN_UP = "tests/search/test_given_up.py"

MUTATIONS = [
    Mutation("engine/custom_call.py", "while len(_states) > KEPT", "while False", CALL),
    Mutation("engine/custom_call.py", "_states.pop((self._func", "{}.pop((self._func", CALL),
    Mutation("engine/custom_call.py", "        self.reports.check()\n", "", CALL),
    Mutation("engine/custom_call.py", "if returned is None else returned", "or returned", CALL),
    Mutation("engine/custom_call.py", "self._config.copy(), seeds, **given", "{}, seeds", CALL),
    Mutation("engine/custom_call.py", "_states.move_to_end(name)", "pass", CALL),
    Mutation("engine/custom.py", "**call.reports.numbers, **told", "**told", CALL),
    Mutation("engine/custom.py", "numbers[:place] for name", "numbers for name", GIVEN_UP),
    Mutation("objective_numbers.py", "& (status < Status.DIVERGED)", "", NUMBERS),
    Mutation("objective_numbers.py", "-math.inf if objective.maximize else", "", NUMBERS),
    Mutation("objective_numbers.py", "BEYOND * (1 + share)", "BEYOND", NUMBERS),
    Mutation("objective_numbers.py", "share * max(1.0", "0 * max(1.0", NUMBERS),
    Mutation("objective_numbers.py", "np.sort(np.where", "(np.where", NUMBERS),
    Mutation("stats_values.py", "np.isfinite(sides[0]) & ", "", NUMBERS),
    Mutation("stats_values.py", " & np.isfinite(sides[1])", "", NUMBERS),
    Mutation("stats_values.py", "ends.min() if bad < 0 else ends.max()", "ends.min()", NUMBERS),
    Mutation("run_results.py", "-sum(rung <= len(numbers) for rung in rungs)", "0", NUMBERS),
    Mutation("run_results.py", "-value if objective.maximize else value", "-value", NUMBERS),
    Mutation("race_numbers.py", "math.ceil(len(came) / share) if last", "0 if last", RACE),
    Mutation("race_numbers.py", "not math.isfinite(member[0]) or ", "", RACE),
    Mutation("race_numbers.py", "bisect_left(came, member) >= most", "False", RACE),
    Mutation("race_numbers.py", "_remove(self._wait[place - 1], number)", "pass", RACE),
    Mutation("race_numbers.py", "not before < rung <= n", "rung > n", RACE),
    Mutation(
        "search/blocks.py", "        if key in self._over:\n            return\n", "", GIVEN_UP
    ),
    Mutation("search/blocks.py", "or step.newcomer or", "or", GIVEN_UP),
    Mutation("search/blocks.py", " or evaluation.error == NOT_FINISHED", "", GIVEN_UP),
    Mutation("search/steps.py", "if not evaluation.final:", "if False:", GIVEN_UP),
    Mutation("status_journal.py", "if evaluation.error == NOT_FINISHED", "if False", GIVEN_UP),
]
