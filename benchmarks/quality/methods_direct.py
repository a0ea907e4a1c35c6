"""Methods that run in Ray Tune, without it: the same searchers and decisions, one after the other.

What xortune's search decides follows from its seed and its limits, not from who trains or how fast
(`xortune.deciding.decisions`), and Ray's Repeater is asked and told by whoever runs its trials. So
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
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.in_flight import least_in_flight, most_in_flight
from xortune.deciding.propose import proposer_for
from xortune.driver.session import SHORT_BLOCK_SECONDS, longest_first_block
from xortune.runs.evaluation import Evaluation
from xortune.training.batches import Batches, blocks_in_batch
from xortune.training.jobs import Done, Job
from xortune.training.loop import Record

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
    space = tracer.bench.space
    space = replace(
        space,
        search=replace(space.search, trials=trials, seed=tracer.repetition, sampler=sampler),
    )
    seconds = longest_first_block(space, trainer)
    most = space.seeds.ladder[0] * most_in_flight(seconds, slots=SLOTS, proposals=trials)
    journal, standing = _Memory(), Standing()
    decisions = SearchDecisions(
        space,
        trainer,
        proposer_for(space),
        max_in_flight=most,
        min_in_flight=0 if seconds <= SHORT_BLOCK_SECONDS else least_in_flight(SLOTS),
    )
    batches = Batches(decisions, trainer, Record(journal), most=1)
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


def _taken(next_batch: Callable[[], tuple[Job, ...]], most: int) -> list[Job]:
    jobs: list[Job] = []
    while len(jobs) < most and (batch := next_batch()):
        jobs += batch
    return jobs


class _Memory:
    """A journal that is always on the disk, since it has none."""

    def __init__(self) -> None:
        self.settled = 0

    @property
    def appended(self) -> int:
        return self.settled

    def append(self, _: Evaluation) -> int:
        self.settled += 1
        return self.settled

    def sync(self) -> None:
        """Nothing waits."""
