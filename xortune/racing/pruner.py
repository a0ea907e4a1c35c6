"""The race for anybody's Optuna program in which one trial is one configuration."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial

from xortune.racing.race import RaceRule, best_lower, checked_counts, is_worse


class SeedRacePruner(optuna.pruners.BasePruner):
    """Prunes trials whose success rate over seeds is proven lower than another's.

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

    After any number of seeds, as often as one likes, a trial is pruned when its upper bound lies
    under the lower bound of another. With probability at least 1 - alpha every trial that is ever
    pruned really has a lower success rate than that other one, however many trials there are and
    however often they report: see `racing.race`. What the objective returns, and the direction of
    the study, play no part.

    The promise assumes that which trial comes next says nothing of how its seeds will end; see
    docs/racing.md.

    Everything follows from what the study holds: it works with `n_jobs`, with several processes
    on one storage, and in a study that is continued.

    Args:
        alpha: the probability, at most, that any trial is pruned wrongly, in (0, 1).

    Raises:
        InputError: an alpha that is none; from `trial.should_prune`, reports that are no cumulative
            counts.
    """

    def __init__(self, *, alpha: float = 0.05) -> None:
        self._alpha = RaceRule((1,), alpha=alpha).alpha
        self._forget()

    def __getstate__(self) -> dict[str, float]:
        """The setting; what is remembered can be read again."""
        return {"_alpha": self._alpha}

    def __setstate__(self, state: dict[str, float]) -> None:
        self._alpha = state["_alpha"]
        self._forget()

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is proven worse than another."""
        looks = _looks(trial)
        if not looks:
            return False
        k, n = looks[-1]
        return is_worse(k, n, trial.number + 1, self._bar(study, trial), alpha=self._alpha)

    def _forget(self) -> None:
        # Of finished trials, which do not change: which were read, and their highest lower bound.
        self._read: WeakKeyDictionary[optuna.study.Study, tuple[set[int], float]] = (
            WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def _bar(self, study: optuna.study.Study, trial: FrozenTrial) -> float:
        """The highest lower bound of the other trials, over all that they reported."""
        trials = study.get_trials(deepcopy=False)
        with self._lock:
            read, bar = self._read.setdefault(study, (set(), 0.0))
            for other in trials:
                if other.state.is_finished() and other.number not in read:
                    bar = self._raised(other, bar)
                    read.add(other.number)
            self._read[study] = read, bar
        for other in trials:
            if not other.state.is_finished() and other.number != trial.number:
                bar = self._raised(other, bar)
        return bar

    def _raised(self, trial: FrozenTrial, bar: float) -> float:
        for k, n in _looks(trial):
            bar = best_lower(k, n, trial.number + 1, bar, alpha=self._alpha)
        return bar


def _looks(trial: FrozenTrial) -> list[tuple[int, int]]:
    """What a trial reported, as counts, in the order of its seeds."""
    found: list[tuple[int, int]] = []
    last = 0, 0
    for n, successes in sorted(trial.intermediate_values.items()):
        last = checked_counts(successes, n, last, place=f"trial {trial.number}")
        if n:
            found.append(last)
    return found
