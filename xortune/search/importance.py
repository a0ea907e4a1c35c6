"""How much each parameter matters, by Optuna's measure; stored in the run for the reports."""

from __future__ import annotations

import math

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from xortune.run import Run
from xortune.space import Choice, Fixed, Range, SearchSpace

__all__ = ["importance"]

MIN_CONFIGS = 10
"""Fewer say nothing: the measure compares the better tenth with the rest."""

MAX_CONFIGS = 4000
"""More take Optuna many seconds and change little; then every n-th of the ranking stands for it."""


def importance(run: Run, space: SearchSpace) -> dict[str, float]:
    """Each searched parameter's share of the importance, largest first; {} if it cannot be told.

    Only parameters that are active in every config can be compared. Configs are equally weighted.

    Source: Watanabe, Bansal, Hutter (2023), PED-ANOVA, IJCAI 2023, eq. 16, as in Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searched = {p.name: distribution(p) for p in space.parameters if not isinstance(p, Fixed)}
    always = {p.name for p in space.parameters if not p.when}
    study = optuna.create_study(direction="maximize")
    for result in run.results[:: 1 + len(run.results) // MAX_CONFIGS]:  # every so many in the order
        values = {name: result.point[name] for name in searched if name in result.point}
        study.add_trial(
            optuna.trial.create_trial(
                params=values,
                distributions={name: searched[name] for name in values},
                value=result.outcome.rate,
            )
        )
    rates = {result.outcome.rate for result in run.results}
    names = [name for name in searched if name in always]
    if len(run.results) < MIN_CONFIGS or len(rates) < 2 or not names:
        return {}
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=names
    )
    return {name: float(share) for name, share in shares.items() if math.isfinite(share)}


def distribution(parameter: Choice | Range) -> BaseDistribution:
    """Optuna's name for a parameter that is searched."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if parameter.integer:
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), parameter.log, step)
    return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
