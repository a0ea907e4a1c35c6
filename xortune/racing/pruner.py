"""The race as a pruner, for Optuna programs in which one trial is one configuration."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial

from xortune.core.errors import InputError
from xortune.core.outcome import NO_SEEDS, SeedCount
from xortune.racing.plugged_in import (
    FUTILITY,
    best_count,
    checked_count,
    checked_futility,
    is_futile,
)
from xortune.racing.race import RaceRule, best_lower, is_worse

_Known: TypeAlias = tuple[float, SeedCount | None]
"""The highest lower bound of some trials, and the count of the best one, if there is any."""


class SeedRacePruner(optuna.pruners.BasePruner):
    """Prunes trials that are proven worse than another or have little left to gain.

    A trial is one configuration. Its objective trains it under some more seeds and reports how many
    of all its seeds so far succeeded, with the number of seeds as the step::

        def objective(trial):
            config = ...
            successes = 0
            for seed in range(200):
                successes += works(config, seed)
                trial.report(successes, step=seed + 1)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return successes / 200

        study = optuna.create_study(direction="maximize", pruner=xortune.SeedRacePruner())

    After any report, a trial is pruned when its upper bound lies below the lower bound of another.
    With probability at least 1 - alpha every trial that is ever pruned so really has a lower
    success rate than that other one, however many trials there are and however often they report:
    see `racing.race`. What the objective returns and the direction of the study do not matter.

    By default a trial is also pruned when more seeds are hardly worth their cost: by the counts so
    far, its expected gain over the best other trial is less than `futility`. This saves about half
    of the seeds and promises nothing: it may end a trial that is better, and often ends one that is
    equally good. With `futility=None` a trial is only pruned once it is proven worse.

    The promise assumes that the choice of a trial says nothing about how its seeds will end; see
    docs/racing.md.

    All decisions follow from the study's contents, so the pruner works with `n_jobs`, with several
    processes on one storage, and in a study that is continued.

    Args:
        alpha: the greatest probability that any trial is wrongly called worse, in (0, 1).
        futility: the least expected gain in success rate that is worth more seeds, in (0, 1), or
            None.

    Raises:
        InputError: alpha or futility is out of range; from `trial.should_prune`, the reports of
            this trial are not cumulative counts. No other trial is compared with it then.
    """

    def __init__(self, *, alpha: float = 0.05, futility: float | None = FUTILITY) -> None:
        self._alpha = RaceRule((1,), alpha=alpha).alpha
        self._futility = checked_futility(futility)
        # Finished trials do not change: the numbers of those read, and their result.
        self._read: WeakKeyDictionary[optuna.study.Study, tuple[set[int], _Known]] = (
            WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings alone: the rest can be read from the study again."""
        return partial(type(self), alpha=self._alpha, futility=self._futility), ()

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is proven worse than another or has little left to gain."""
        looks = _looks(trial)
        if not looks:
            return False
        count = looks[-1]
        bar, best = self._others(study, trial)
        worse = is_worse(count.k, count.n, trial.number + 1, bar, alpha=self._alpha)
        return worse or is_futile(count, best, self._futility)

    def _others(self, study: optuna.study.Study, trial: FrozenTrial) -> _Known:
        """The highest lower bound of the other trials, over all reports, and the best count."""
        trials = study.get_trials(deepcopy=False)
        with self._lock:
            read, known = self._read.setdefault(study, (set(), (0.0, None)))
            for other in trials:
                if other.state.is_finished() and other.number not in read:
                    known = self._with(other, known)
                    read.add(other.number)
            self._read[study] = read, known
        for other in trials:
            if not other.state.is_finished() and other.number != trial.number:
                known = self._with(other, known)
        return known

    def _with(self, trial: FrozenTrial, known: _Known) -> _Known:
        bar, best = known
        try:
            looks = _looks(trial)
        except InputError:  # its own `should_prune` has said so; a study goes on without it
            return known
        for count in looks:
            bar = best_lower(count.k, count.n, trial.number + 1, bar, alpha=self._alpha)
        return bar, best_count([*([] if best is None else [best]), *looks[-1:]])


def _looks(trial: FrozenTrial) -> list[SeedCount]:
    """A trial's reports as counts, in the order of its seeds."""
    looks: list[SeedCount] = []
    last = NO_SEEDS
    for n, successes in sorted(trial.intermediate_values.items()):
        last = checked_count(successes, n, last, place=f"trial {trial.number}")
        if n:
            looks.append(last)
    return looks
