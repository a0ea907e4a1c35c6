"""Whole searches, by their own proposals: xortune's, Optuna's TPE, Ray's Repeater around it.

What xortune's search decides follows from its seed and its limits, not from who trains or how fast
(`xortune.deciding.decisions`), and Ray's Repeater is asked and told by whoever runs its trials. So
both are driven here one training after the other, without a cluster.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import optuna

from quality.spaces import SpaceTrainer
from quality.trace import Standing, Tracer
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.in_flight import least_in_flight, most_in_flight
from xortune.deciding.propose import proposer_for
from xortune.driver.session import SHORT_BLOCK_SECONDS, longest_first_block
from xortune.training.batches import Batches, blocks_in_batch
from xortune.training.jobs import Done, Job
from xortune.training.loop import NoJournal, Record

SLOTS = 2
"""Trials that would run at once."""

REPEAT = 10
"""Seeds of each config in Repeater: what its documentation shows."""

PROPOSALS = 50
"""xortune is given so many proposals for each 100 seeds of the budget, and ends with the budget."""


def tpe(tracer: Tracer, seeds: int) -> None:
    """Optuna's TPE with its defaults; each config is trained under the same seeds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=tracer.repetition)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    best = -1
    while not tracer.over:
        trial = study.ask()
        point = tracer.bench.suggest(trial)
        solved = tracer.train(point, range(seeds)).successes
        study.tell(trial, solved / seeds)
        if solved > best:
            best = solved
            tracer.answer(point, solved, seeds)


def repeater(tracer: Tracer) -> None:
    """Ray's Repeater around its OptunaSearch: Tune asks for a trial while another one runs."""
    from ray.tune.search.optuna import OptunaSearch
    from ray.tune.search.repeater import TRIAL_INDEX, Repeater

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    best = -1

    class Listened(OptunaSearch):  # type: ignore[misc]
        """Takes down the best config so far."""

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            nonlocal best
            super().on_trial_complete(trial_id, result, error)
            solved = round(REPEAT * (result or {})["solved"])
            if solved > best:
                best = solved
                tracer.answer(proposed[trial_id], solved, REPEAT)

        def suggest(self, trial_id: str) -> dict[str, Any] | None:
            proposed[trial_id] = dict(found := super().suggest(trial_id))
            return found

    proposed: dict[str, dict[str, Any]] = {}
    searcher = Repeater(
        Listened(tracer.bench.suggest, metric="solved", mode="max", seed=tracer.repetition),
        repeat=REPEAT,
    )
    under_way: deque[tuple[str, dict[str, Any]]] = deque()

    def finish() -> None:
        name, config = under_way.popleft()
        solved = tracer.train(config, [config.pop(TRIAL_INDEX)]).successes
        searcher.on_trial_complete(name, {"solved": float(solved)})

    for number in range(tracer.budget // tracer.bench.epochs // REPEAT * REPEAT):
        name = f"trial {number}"
        under_way.append((name, searcher.suggest(name)))
        if len(under_way) > SLOTS:
            finish()
    while under_way:
        finish()


def xortune(tracer: Tracer, sampler: str = "auto") -> None:
    """The queue that xt.search has, with the window that it would have on two cores."""
    trainer = SpaceTrainer(tracer.bench, tracer.repetition)
    trials = PROPOSALS * tracer.budget // (100 * tracer.bench.epochs)
    space = tracer.bench.space
    space = replace(
        space,
        search=replace(space.search, trials=trials, seed=tracer.repetition, sampler=sampler),
    )
    seconds = longest_first_block(space, trainer)
    most = space.seeds.ladder[0] * most_in_flight(seconds, slots=SLOTS, proposals=trials)
    standing = Standing()
    decisions = SearchDecisions(
        space,
        trainer,
        proposer_for(space),
        max_in_flight=most,
        min_in_flight=0 if seconds <= SHORT_BLOCK_SECONDS else least_in_flight(SLOTS),
    )
    batches = Batches(decisions, trainer, Record(NoJournal()), most=1)
    packs: deque[list[Job]] = deque()
    size = blocks_in_batch(most, slots=SLOTS)
    while not tracer.over:
        while len(packs) < SLOTS and (pack := _taken(batches.next, size)):
            packs.append(pack)
        if not packs:
            break
        for job in packs.popleft():
            outcome = trainer.train([job.block])[0]
            batches.receive(Done((job,), [outcome], 0.001, "direct"))
            tracer.spend(job.block.count)
            standing.add(job.block.point, outcome)
            tracer.answer(*standing.best)


racing = partial(xortune, sampler="random")


def _taken(next_batch: Callable[[], tuple[Job, ...]], most: int) -> list[Job]:
    jobs: list[Job] = []
    while len(jobs) < most and (batch := next_batch()):
        jobs += batch
    return jobs
