"""Methods that need neither Ray nor SMAC."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
import scipy.stats
from numpy.typing import NDArray

from quality.trace import Tracer

FULL = 100
"""Seeds of a config, where a method does not decide it."""


def flat(tracer: Tracer) -> None:
    """Optuna's TPE with its defaults; each config is trained under the same 100 seeds."""
    same_seeds(tracer, FULL, optuna.samplers.TPESampler(seed=tracer.repetition))


def same_seeds(tracer: Tracer, seeds: int, sampler: optuna.samplers.BaseSampler) -> None:
    """What a sampler proposes; each config is trained under the same seeds."""
    study = study_of(sampler, optuna.pruners.NopPruner())
    best = -1
    while not tracer.over:
        trial = study.ask()
        point = tracer.bench.suggest(trial)
        solved = tracer.train(point, range(seeds)).successes
        study.tell(trial, solved / seeds)
        if solved > best:
            best = solved
            tracer.answer(point, solved, seeds)


def wilcoxon(tracer: Tracer) -> None:
    """Optuna's TPE and WilcoxonPruner, as its documentation shows it.

    Up to 100 seeds in an order shuffled for each trial, a look after each; a pruned trial counts
    with its mean. The p-values of the test are remembered, since the outcomes are 0 and 1 and come
    again and again: each looks at all permutations and takes up to half a second.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=tracer.repetition)
        study = study_of(sampler, optuna.pruners.WilcoxonPruner())
    with patch("scipy.stats.wilcoxon", _Remembered(scipy.stats.wilcoxon)):
        _prune(tracer, study)


def _prune(tracer: Tracer, study: optuna.Study) -> None:
    rng = np.random.default_rng(tracer.repetition)
    best = -1.0
    while not tracer.over:
        trial = study.ask()
        point = tracer.bench.suggest(trial)
        k = n = 0
        for seed in rng.permutation(FULL).tolist():
            solved = tracer.train(point, [seed]).successes
            k, n = k + solved, n + 1
            trial.report(float(solved), seed)
            if trial.should_prune():
                break
        study.tell(trial, k / n)
        if k / n > best:
            best = k / n
            tracer.answer(point, k, n)


class _Remembered:
    """scipy's test, whose answer for the same differences in another order is the same."""

    def __init__(self, test: Callable[..., Any]) -> None:
        self._test, self._answers = test, dict[bytes, Any]()

    def __call__(self, differences: NDArray[np.float64], **options: Any) -> Any:
        ordered = np.sort(differences)
        key = ordered.tobytes()
        if key not in self._answers:
            self._answers[key] = self._test(ordered, **options)
        return self._answers[key]


def study_of(
    sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> optuna.Study:
    """A study that maximizes, and says nothing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
