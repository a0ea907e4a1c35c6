"""Methods that run in Ray Tune, without it: the same searchers and decisions, one after the other.

What xortune's search decides follows from its seed and its window, not from who trains or how
fast (`xortune.driver.blocks`), and Ray's Repeater is asked and told by whoever runs its trials. So
the budget that they take to an answer needs no cluster, and a repetition a tenth of the time. Wall
times of these mean nothing: `summary` leaves them out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna

from quality.methods_ray import PROPOSALS, REPEAT, Counted, OneSeed
from quality.spaces import SpaceTrainer
from quality.trace import Standing, Tracer
from xortune.driver.batches import batch_of, least_window, window_of
from xortune.driver.blocks import BlockQueue
from xortune.driver.jobs import Job
from xortune.driver.propose import proposer_for
from xortune.driver.session import longest_first_block
from xortune.runs.evaluation import Evaluation

SLOTS = 2
"""Trials that would run at once."""


def repeater(tracer: Tracer) -> None:
    """Ray's Repeater around its OptunaSearch: Tune asks for a trial while another one runs."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searcher = Counted(tracer)
    under_way: deque[tuple[str, dict[str, Any]]] = deque()
    for number in range(tracer.budget // tracer.bench.epochs // REPEAT * REPEAT):
        name = f"trial {number}"
        under_way.append((name, searcher.suggest(name)))
        if len(under_way) > SLOTS:
            _finish(searcher, *under_way.popleft())
    while under_way:
        _finish(searcher, *under_way.popleft())


def _finish(searcher: Counted, name: str, config: dict[str, Any]) -> None:
    trial = OneSeed.__new__(OneSeed)  # what Ray adds to it is for Ray
    trial.setup(config)
    searcher.on_trial_complete(name, trial.step())


def xortune(tracer: Tracer) -> None:
    """The queue that xt.search has, with the window that it would have on two cores."""
    _search(tracer, "tpe")


def racing(tracer: Tracer) -> None:
    """Random configs in xortune's race."""
    _search(tracer, "random")


def _search(tracer: Tracer, sampler: str) -> None:
    trainer = SpaceTrainer(tracer.bench, tracer.repetition)
    trials = PROPOSALS * tracer.budget // (100 * tracer.bench.epochs)
    space = tracer.bench.space
    space = replace(
        space,
        search=replace(space.search, trials=trials, seed=tracer.repetition, sampler=sampler),
    )
    window = window_of(longest_first_block(space, trainer), slots=SLOTS, proposals=trials)
    journal, standing = _Memory(), Standing()
    queue = BlockQueue(
        space,
        trainer,
        proposer_for(space),
        journal,
        window=window,
        least=least_window(SLOTS),
    )
    packs: deque[list[Job]] = deque()
    size = batch_of(window, slots=SLOTS)
    while not tracer.over and not queue.finished:
        while len(packs) < SLOTS and (pack := _taken(queue.next_job, size)):
            packs.append(pack)
        for job in packs.popleft():
            outcome = trainer.train([job.block])[0]
            queue.receive(job, outcome, seconds=0.001, worker="direct")
            tracer.spend(job.block.count)
            standing.add(job.block.point, outcome)
            tracer.answer(*standing.best)


def _taken(next_job: Callable[[], Job | None], most: int) -> list[Job]:
    jobs: list[Job] = []
    while len(jobs) < most and (job := next_job()) is not None:
        jobs.append(job)
    return jobs


class _Memory:
    """A journal that is always on the disk, since it has none."""

    def __init__(self) -> None:
        self.settled = 0

    def append(self, _: Evaluation) -> int:
        self.settled += 1
        return self.settled

    def sync(self) -> None:
        """Nothing waits."""
