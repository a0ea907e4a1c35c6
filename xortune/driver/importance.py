"""How much each parameter matters, by Optuna's measure; stored in the run for the reports."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from xortune.driver.propose import distribution
from xortune.racing.objectives import expected
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.spaces.model import Fixed, SearchSpace

MIN_BETTER = 5
"""Configs in the better tenth, which the measure compares with all, and half of all at least: fewer
lie somewhere by chance."""

MAX_CONFIGS = 4000
"""More take Optuna many seconds and change little; then every n-th of the ranking stands for it."""

FEWEST, MOST, SECONDS = 30, 100, 1.0
"""Resamples: as many as take about so long, so far as these two let them."""

SIGMAS = 1.959963984540054  # of a normal distribution, 95 % lie within so many


@dataclass(frozen=True)
class Importance:
    """Each searched parameter's share of the importance.

    Attributes:
        shares: by name, largest first; they sum to 1. Empty if it cannot be told.
        intervals: for each of them its 95 % bootstrap interval over configs, (low, high).
        configs: how many configs it was computed from.
        better: how many of them are the better tenth, those as good as the last of it included.
            Below `needed`, and below 2 `needed` configs, nothing is told.
        needed: how many these have to be.
        resamples: how many times these were drawn anew.
    """

    shares: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    configs: int
    better: int
    resamples: int
    needed: int = MIN_BETTER

    def entries(self) -> dict[str, Any]:
        """What a manifest says of it."""
        about = asdict(self)
        return {"importance": about.pop("shares"), "importance_resampled": about}


def importance(run: Run, space: SearchSpace) -> Importance:
    """How much each parameter that is active in every config matters; configs weigh the same.

    What is better is said by `expected`, (k + 1) / (n + 2), so that 510 of 512 is more than 8 of 8.

    The interval is share +- 1.96 standard deviations of the share over resamples of the configs,
    cut off at 0 and 1. It says how far chance among the configs visited reaches, for a search that
    had gone on to visit such configs: not what a fair survey of the space would find.

    Source: Watanabe, Bansal, Hutter (2023), PED-ANOVA, IJCAI 2023, eq. 16, as in Optuna. Interval:
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, section 12.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searched = {p.name: distribution(p) for p in space.parameters if not isinstance(p, Fixed)}
    names = [p.name for p in space.parameters if p.name in searched and not p.when]
    results = run.results[:: 1 + len(run.results) // MAX_CONFIGS]  # every so many in the order
    rates = np.array([_rate(result) for result in results])
    better = 0  # what Optuna's measure takes for the better ones
    if rates.size:
        better = int((rates >= np.sort(rates)[-math.ceil(0.1 * rates.size)]).sum())
    nothing = Importance({}, {}, len(results), better, 0)
    few = better < MIN_BETTER or len(results) < 2 * MIN_BETTER
    if few or np.unique(rates).size < 2 or not names:
        return nothing
    study = _Drawn(results, searched)
    every = np.arange(len(results))
    shares = study.shares(every, names)
    if shares is None:
        return nothing
    # Seconds, as measured.
    each = len(names) * (3e-4 + 1.5e-6 * len(results)) + 4.5e-6 * len(results)
    count = min(MOST, max(FEWEST, int(SECONDS / each)))
    drawn = np.random.default_rng(0).choice(every, (count, len(results)))
    again = [found for rows in drawn if (found := study.shares(rows, names)) is not None]
    if len(again) < 2:
        return nothing
    intervals = {}
    for name, share in shares.items():
        spread = SIGMAS * float(np.std([found[name] for found in again], ddof=1))
        intervals[name] = (max(0.0, share - spread), min(1.0, share + spread))
    return Importance(shares, intervals, len(results), better, len(again))


def _rate(result: ConfigResult) -> float:
    return expected(result.outcome.successes, result.outcome.n)


class _Drawn(optuna.Study):
    """A study whose trials are configs of a run, drawn with replacement."""

    def __init__(
        self, results: Sequence[ConfigResult], searched: dict[str, BaseDistribution]
    ) -> None:
        # Copying 4,000 trials into a study, for each resample, would take minutes.
        storage = optuna.storages.InMemoryStorage()
        optuna.create_study(storage=storage, study_name="drawn", direction="maximize")
        super().__init__("drawn", storage)
        self._results, self._searched = results, searched
        self._numbers = itertools.count()
        self._made: list[list[FrozenTrial]] = [[] for _ in results]
        self._chosen: list[FrozenTrial] = []

    def shares(self, rows: NDArray[np.intp], names: list[str]) -> dict[str, float] | None:
        """Optuna's measure of these results, by their places; None where that says nothing."""
        self._chosen = []
        for row, times in enumerate(np.bincount(rows, minlength=len(self._made)).tolist()):
            made = self._made[row]
            made += [self._trial(self._results[row]) for _ in range(times - len(made))]
            self._chosen += made[:times]
        if len({trial.value for trial in self._chosen}) < 2:
            return None
        with warnings.catch_warnings():
            # An ExperimentalWarning is a UserWarning, too: Optuna gives one until 5.0.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # It compares the better configs with all: where many are equal, these may be the same.
            warnings.filterwarnings("error", "Target and region quantiles", UserWarning)
            try:
                found = optuna.importance.get_param_importances(
                    self, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=names
                )
            except UserWarning:
                return None
        shares = {name: float(share) for name, share in found.items()}
        return shares if all(map(math.isfinite, shares.values())) else None

    def get_trials(
        self,
        deepcopy: bool = True,  # noqa: ARG002
        states: Any = None,  # noqa: ARG002
    ) -> list[FrozenTrial]:
        """Those drawn last."""
        return self._chosen

    def _trial(self, result: ConfigResult) -> FrozenTrial:
        values = {name: result.point[name] for name in self._searched if name in result.point}
        number = next(self._numbers)  # the measure tells trials apart by it
        return FrozenTrial(
            number=number,
            state=TrialState.COMPLETE,
            value=_rate(result),
            datetime_start=None,
            datetime_complete=None,
            params=values,
            distributions={name: self._searched[name] for name in values},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=number,
        )
