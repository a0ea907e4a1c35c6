"""SMAC3 with its own intensifier, which decides how many seeds a config gets."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
from ConfigSpace import (
    Categorical,
    Configuration,
    ConfigurationSpace,
    Float,
    InCondition,
    Integer,
)
from smac import HyperparameterOptimizationFacade as Facade
from smac import Scenario
from smac.model.random_forest import RandomForest
from smac.runhistory import TrialValue

from quality.methods import FULL
from quality.spaces import BenchSpace
from quality.trace import Tracer
from xortune.core.point import Value
from xortune.spaces.model import Choice, Fixed, Range


def smac(tracer: Tracer) -> None:
    """SMAC3's facade for hyperparameters: random forest, expected improvement, intensifier.

    The intensifier may give a config up to 100 seeds (its default of 3 could prove nothing). Two
    settings spare SMAC3 most of its time and change no result: by ask and tell, no file of all
    trials is written after each one, and no tree of its forest has room for more than 20,000 leaves
    (for 2**20, its default, scikit-learn takes 0.1 s for each tree).
    """
    # scikit-learn says again and again that a process of a process gets no processes.
    warnings.filterwarnings("ignore", "Loky-backed parallel loops", UserWarning)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            config_space(tracer.bench),
            output_directory=Path(folder),
            deterministic=False,
            n_trials=tracer.budget // tracer.bench.epochs,
            seed=tracer.repetition,
        )
        facade = Facade(
            scenario,
            model=RandomForest(  # what get_model makes, but for the leaves
                scenario.configspace,
                log_y=True,
                n_trees=10,
                ratio_features=1.0,
                min_samples_split=2,
                min_samples_leaf=1,
                bootstrapping=True,
                max_leaf_nodes=20_000,
                seed=scenario.seed,
            ),
            intensifier=Facade.get_intensifier(scenario, max_config_calls=FULL),
            overwrite=True,
            logging_level=False,
        )
        while not tracer.over:
            trial = facade.ask()
            point = point_of(tracer.bench, trial.config)
            assert trial.seed is not None
            cost = 1.0 - tracer.train(point, [trial.seed]).successes
            facade.tell(trial, TrialValue(cost=cost), save=False)
            best = facade.intensifier.get_incumbent()
            if best is not None:
                n = len(facade.runhistory.get_trials(best))
                k = round(n * (1 - facade.runhistory.get_cost(best)))
                tracer.answer(point_of(tracer.bench, best), k, n)


def config_space(bench: BenchSpace) -> ConfigurationSpace:
    """The space in SMAC's words; a choice is the number of its value."""
    space = ConfigurationSpace(seed=0)
    for p in bench.space.parameters:
        if isinstance(p, Choice):
            space.add(Categorical(p.name, [str(i) for i in range(len(p.values))]))
        elif isinstance(p, Range) and p.integer:
            space.add(Integer(p.name, (int(p.low), int(p.high)), log=p.log))
        elif isinstance(p, Range):
            space.add(Float(p.name, (p.low, p.high), log=p.log))
    for p in bench.space.parameters:
        for name, values in p.when:
            choices = next(c.values for c in bench.space.parameters if c.name == name)
            allowed = [str(choices.index(value)) for value in values]
            space.add(InCondition(space[p.name], space[name], allowed))
    return space


def point_of(bench: BenchSpace, config: Configuration) -> dict[str, Value]:
    """What a configuration of SMAC means."""
    values = dict(config)
    point: dict[str, Value] = {}
    for p in bench.space.parameters:
        if isinstance(p, Fixed):
            point[p.name] = p.value
        elif p.name in values:
            value = values[p.name]
            if isinstance(p, Choice):
                point[p.name] = p.values[int(value)]
            else:
                point[p.name] = int(value) if p.integer else float(np.clip(value, p.low, p.high))
    return point
