"""The race as a scheduler, for Ray Tune programs in which one trial is one configuration."""

from __future__ import annotations

from typing import Any

from ray.tune.result import AUTO_RESULT_KEYS, DONE, TRIAL_ID
from ray.tune.schedulers import FIFOScheduler

from xortune.core.errors import InputError, check_count
from xortune.core.outcome import NO_SEEDS, SeedCount
from xortune.racing.plugged_in import (
    FUTILITY,
    best_count,
    checked_count,
    checked_futility,
    is_futile,
)
from xortune.racing.race import LookResult, Race, RaceRule

NO_END = 2**62  # seeds


class SeedRaceScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Stops trials that are proven worse than another or have little left to gain.

    A trial is one configuration. Its trainable trains it under some more seeds, reports how many of
    all its seeds so far succeeded, and goes on::

        def train(config):
            successes = 0
            for seed in range(200):
                successes += works(config, seed)
                tune.report({"successes": successes, "n": seed + 1})

        tune.Tuner(train, param_space=..., tune_config=tune.TuneConfig(
            num_samples=100, scheduler=xortune.SeedRaceScheduler()))

    After any report, a trial is stopped when its upper bound lies below the lower bound of another.
    With probability at least 1 - alpha every trial that is ever stopped so really has a lower
    success rate than that other one, however many trials there are and however often they report:
    see `racing.race`. There is no metric and no mode to set.

    By default a trial is also stopped when more seeds are hardly worth their cost: by the counts so
    far, its expected gain over the best other trial is less than `futility`. This saves about half
    of the seeds and promises nothing: it may end a trial that is better, and often ends one that is
    equally good. With `futility=None` a trial is only stopped once it is proven worse.

    Reports may come in any order. A trial that fails keeps its reports; a trial that Tune runs
    again may begin anew, with another share of alpha.

    The promise assumes that the choice of a trial says nothing about how its seeds will end; see
    docs/racing.md.

    Args:
        alpha: the greatest probability that any trial is wrongly called worse, in (0, 1).
        futility: the least expected gain in success rate that is worth more seeds, in (0, 1), or
            None.
        max_seeds: a trial with so many seeds is stopped as finished.
        successes: the key of the count of successes in a report; `/` for a nested one.
        n: the key of the count of seeds.

    Raises:
        InputError: alpha, futility or max_seeds is out of range; while Tune runs, the reports are
            not cumulative counts.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        futility: float | None = FUTILITY,
        max_seeds: int | None = None,
        successes: str = "successes",
        n: str = "n",
    ) -> None:
        super().__init__()
        if max_seeds is not None:
            check_count("max_seeds", max_seeds)
        self._race = Race(RaceRule((max_seeds or NO_END,), alpha=alpha, finalists=None))
        self._keys, self._futility = (successes, n), checked_futility(futility)
        self._counts: dict[str, SeedCount] = {}  # the last of each trial
        self._last: dict[str, SeedCount] = {}
        self._stopped = 0
        self._refusal: InputError | None = None

    def set_search_properties(self, *_: object, **__: object) -> bool:
        """Accept and ignore a metric and a mode, which may be those of a search algorithm."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """Give a trial its number before any of its results is known."""
        # A trial that runs again may begin anew; the results of a restored trial are known.
        if trial.trial_id in self._last:
            self._race.enter_anew(trial.trial_id)
        else:
            self._race.enter(trial.trial_id)
        self._last.pop(trial.trial_id, None)
        if trial.last_result and all(key in trial.last_result for key in self._keys):
            self._look(trial, trial.last_result)
            self._last.pop(trial.trial_id, None)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep its reports, even if the trial is added again."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Stop or go on."""
        verdict = self._look(trial, result)
        if verdict == "continues" and (count := self._counts.get(trial.trial_id)):
            best = best_count(c for name, c in self._counts.items() if name != trial.trial_id)
            verdict = "stopped" if is_futile(count, best, self._futility) else verdict
        self._stopped += verdict == "stopped"
        return str(self.CONTINUE if verdict == "continues" else self.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Record the last report: Tune does not call `on_trial_result` with it."""
        if set(result) <= {*AUTO_RESULT_KEYS, DONE, TRIAL_ID}:
            return  # it ended without a report
        try:
            self._look(trial, result)
        except InputError as error:  # Tune would only log it here
            self._refusal = error

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial that has waited longest."""
        if self._refusal is not None:
            raise self._refusal
        return super().choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """One line for Tune's status."""
        return f"Seed race: {self._stopped} stopped, a rate of {self._race.proven:.3f} proven."

    def _look(self, trial: Any, result: dict[str, Any]) -> LookResult:
        place = f"trial {trial.trial_id}"
        missing = [key for key in self._keys if key not in result]
        if missing:
            raise InputError(
                f"reported no {' and no '.join(map(repr, missing))}",
                place=place,
                field=missing[0],
                allowed=f"reports with {self._keys[0]!r} and {self._keys[1]!r}, counted over all "
                "seeds so far",
                fix="report them, or give SeedRaceScheduler their names",
            )
        successes, seeds = (result[key] for key in self._keys)
        last = self._last.get(trial.trial_id, NO_SEEDS)
        count = self._last[trial.trial_id] = checked_count(successes, seeds, last, place=place)
        if not count.n:
            return "continues"
        self._counts[trial.trial_id] = count
        return self._race.look(trial.trial_id, count.k, count.n)
