"""Methods that run in Ray Tune: its own Repeater, and xortune."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import optuna

import xortune as xt
from quality.journal import Journal
from quality.spaces import SPACES, SpaceTrainer, shifted
from quality.trace import Tracer
from xortune.training.cluster import connected  # sets what Ray reads when it is imported
from xortune.training.resources import THIS_MACHINE

from ray import tune  # isort: skip
from ray.tune.search.optuna import OptunaSearch  # isort: skip
from ray.tune.search.repeater import TRIAL_INDEX, Repeater  # isort: skip

# Workers are to find these modules as well.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

REPEAT = 10
"""Seeds of each config in Repeater: what its documentation shows."""

PROPOSALS = 50
"""xortune is given so many proposals for each 100 seeds of the budget, and ends with the budget."""


class OneSeed(tune.Trainable):  # type: ignore[misc]
    """A trial: one config under one seed."""

    def setup(self, config: dict[str, Any]) -> None:
        self._config = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        point = dict(self._config)
        bench, repetition = SPACES[point.pop("bench")], point.pop("repetition")
        seeds = shifted([point.pop(TRIAL_INDEX)], repetition)
        return {"solved": float(bench.train(point, seeds).successes), "done": True}


def _proposed(name: str, repetition: int, trial: Any) -> dict[str, Any]:
    return {"bench": name, "repetition": repetition, **SPACES[name].suggest(trial)}


class Listened(OptunaSearch):  # type: ignore[misc]
    """OptunaSearch, whose best config so far is taken down."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__(
            space=partial(_proposed, tracer.bench.name, tracer.repetition),
            metric="solved",
            mode="max",
            seed=tracer.repetition,
        )
        self._tracer, self._proposed = tracer, dict[str, dict[str, Any]]()
        self._best = -1

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        config = super().suggest(trial_id)
        self._proposed[trial_id] = dict(config)
        return config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        super().on_trial_complete(trial_id, result, error)
        solved = round(REPEAT * result["solved"])
        if solved > self._best:
            self._best = solved
            point = self._proposed[trial_id]
            names = {p.name for p in self._tracer.bench.space.parameters}
            self._tracer.answer({k: v for k, v in point.items() if k in names}, solved, REPEAT)


class Counted(Repeater):  # type: ignore[misc]
    """Repeater, whose trials are counted."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__(Listened(tracer), repeat=REPEAT)
        self._tracer = tracer

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, **rest: Any
    ) -> None:
        self._tracer.spend(1)
        super().on_trial_complete(trial_id, result, **rest)


class _Over(tune.Stopper):  # type: ignore[misc]
    """Stops all when the tracer says so."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._tracer.over


def repeater(tracer: Tracer) -> None:
    """Ray's Repeater around its OptunaSearch (TPE): 10 seeds for each config, a trial each."""
    seeds = tracer.budget // tracer.bench.epochs
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, connected(THIS_MACHINE):
        tuner = tune.Tuner(
            OneSeed,
            tune_config=tune.TuneConfig(
                search_alg=Counted(tracer),
                num_samples=seeds // REPEAT * REPEAT,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="repeater",
                storage_path=folder,
                verbose=0,
                stop=_Over(tracer),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()


def xortune(tracer: Tracer) -> None:
    """xt.search; its journal tells what it has spent and what it would answer."""
    _search(tracer, "auto")


def parzen(tracer: Tracer) -> None:
    """TPE's proposals in xortune's race."""
    _search(tracer, "tpe")


def racing(tracer: Tracer) -> None:
    """Random configs in xortune's race."""
    _search(tracer, "random")


def _search(tracer: Tracer, sampler: str) -> None:
    trainer = SpaceTrainer(tracer.bench, tracer.repetition)
    trials = PROPOSALS * tracer.budget // (100 * tracer.bench.epochs)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "run", tracer)

        def look(_: object) -> None:
            journal.read()
            if tracer.over:
                raise KeyboardInterrupt

        # What xt.search takes from outside is a function. This is the built-in network, with other
        # seeds in each repetition, and stays one in all the rest.
        with patch("xortune.trainers.network.NetworkTrainer", lambda *_, **__: trainer):
            try:
                xt.search(
                    tracer.bench.space,
                    trials=trials,
                    seed=tracer.repetition,
                    sampler=sampler,
                    output=journal.run,
                    on_progress=look,
                )
            except KeyboardInterrupt:
                if not tracer.over:
                    raise
        journal.read()
        journal.agree()
