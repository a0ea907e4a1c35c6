"""A seed that kills its worker costs itself, and no other seed of its block."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from fakes import Scripted, points, space_of
from hand_made import solved
from hypothesis import given
from hypothesis import strategies as st

from xortune.certificates.fresh import CertificateTask as Task
from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.driver.batches import Batches as Packs
from xortune.driver.blocks import BlockQueue
from xortune.driver.certifying import CheckQueue
from xortune.driver.jobs import ATTEMPTS, HOPELESS, PARTS, Job, split
from xortune.driver.jobs import CrashBisector as Narrow
from xortune.runs.evaluation import Purpose
from xortune.runs.journal import Journal, read

DEAD = TrainingError("the worker died")


@dataclass
class Own:
    """The code of a user, by what Packs know of it."""

    users_code: bool = True
    seconds: float = 0.01

    def check(self, point):
        return point

    def cost(self, block):
        return self.seconds * block.count


def trained(packs, deadly, *, seconds=0.01, limit=None):
    """Train all packs, of which those with a deadly seed die; how many did."""
    deaths = 0
    while jobs := packs.next():
        took = seconds * sum(job.block.count for job in jobs)
        if limit is not None and took > limit:
            packs.late(jobs, TrainingError("took longer"), seconds=limit)
            deaths += 1
        elif any(deadly & set(job.block.seeds) for job in jobs):
            packs.crashed(jobs, DEAD)
            deaths += 1
        else:
            found = [solved(j.block.first, j.block.count, j.block.count) for j in jobs]
            packs.receive(jobs, found, seconds=took, worker="a:1")
    assert packs.finished
    return deaths


def fates(path):
    """Which seeds of each config came to nothing; each has exactly one final line."""
    final = [e for e in read(path)[0] if e.final]
    seeds = Counter((e.block.point.key, seed) for e in final for seed in e.block.seeds)
    assert set(seeds.values()) <= {1}
    return {seed for e in final if e.outcome is None for seed in e.block.seeds}, len(seeds)


@given(count=st.integers(1, 60), deadly=st.sets(st.integers(0, 59), max_size=4))
def test_only_the_deadly_seeds_of_a_block_are_lost(count, deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    deadly = {seed for seed in deadly if seed < count}
    space = space_of(trials=2, ladder=(count,))
    with Journal.open(path) as journal:
        queue = BlockQueue(space, Own(), Scripted(points(2)), journal, window=None)
        deaths = trained(Packs(queue, Own(), 2, None), deadly)
    lost = deadly if len(deadly) < count or count < HOPELESS else set(range(count))
    assert fates(path) == (lost, 2 * count)
    if deadly and count <= PARTS:
        # The pack of both, each of them twice, and then each deadly seed once.
        assert deaths == 1 + 2 * (ATTEMPTS - 1 + len(deadly))


@given(count=st.integers(1, 40), deadly=st.sets(st.integers(0, 39), max_size=3))
def test_so_it_is_with_the_seeds_of_a_certificate(count, deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    first = 1000
    deadly = {first + seed for seed in deadly if seed < count}
    task = _task(range(first, first + count))
    with Journal.open(path) as journal:
        queue = CheckQueue([task], Own(), journal, slots=2)
        trained(Packs(queue, Own(), 2, None), deadly)
        assert queue.finished
    assert fates(path) == (deadly, count)


def _task(seeds):
    point = Point({"x": 1})
    planned = {"finalists": 1, "seeds": len(seeds), "confidence": 0.95, "extendable": False}
    purpose = Purpose("certify", 1, point.key, 1, **planned, search_k=5, search_n=8)
    return Task(point, 0, purpose, (seeds,))


def test_a_config_that_always_kills_is_given_up(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    space = space_of(trials=1, ladder=(500,))
    with Journal.open(path) as journal:
        queue = BlockQueue(space, Own(), Scripted(points(1)), journal, window=None)
        deaths = trained(Packs(queue, Own(), 2, None), set(range(500)))
    assert fates(path) == (set(range(500)), 500)
    assert deaths == ATTEMPTS - 1 + HOPELESS


def test_the_blocks_of_other_trainers_are_not_taken_apart(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    space = space_of(trials=1, ladder=(20,))
    with Journal.open(path) as journal:
        queue = BlockQueue(space, Own(), Scripted(points(1)), journal, window=None)
        deaths = trained(Packs(queue, Own(users_code=False), 2, None), {3})
    assert fates(path) == (set(range(20)), 20)
    assert deaths == ATTEMPTS


@pytest.mark.parametrize("ladder", [(8,), (8, 100)])
def test_seeds_that_are_in_time_one_by_one_are_no_failures(tmp_path, ladder):
    """A block of them is late; the next blocks are split before they are."""
    path = tmp_path / "evaluations.jsonl"
    space = space_of(trials=6, ladder=ladder)
    with Journal.open(path) as journal:
        window = None if len(ladder) == 1 else 6
        queue = BlockQueue(space, Own(), Scripted(points(6)), journal, window=window)
        packs = Packs(queue, Own(), 2, None, limit=4.0)
        deaths = trained(packs, set(), seconds=1.0, limit=4.0)
    assert fates(path)[0] == set()
    assert 0 < deaths <= 10


def test_a_block_in_parts_is_all_of_its_seeds_in_order():
    job = Job(3, Block(Point({"x": 1}), 10, 37), attempt=ATTEMPTS, step=5)
    parts = Narrow().parts(job)
    assert len(parts) == PARTS
    assert [seed for part in parts for seed in part.block.seeds] == list(range(10, 47))
    assert {(part.proposal, part.attempt, part.step) for part in parts} == {(3, ATTEMPTS, 5)}
    assert max(p.block.count for p in parts) - min(p.block.count for p in parts) <= 1
    assert split(job, 1) == [job]


def test_what_has_come_through_is_not_given_up():
    narrow = Narrow()
    jobs = [Job(0, Block(Point({"x": 1}), seed, 1), attempt=ATTEMPTS) for seed in range(9)]
    for job in jobs[:HOPELESS]:
        assert narrow.hopeless(job) is None
        assert narrow.died(job, DEAD) == []
    assert narrow.hopeless(jobs[8]) is DEAD
    assert narrow.hopeless(Job(0, jobs[8].block)) is None, "not its last try"
    narrow.came(jobs[0])
    assert narrow.hopeless(jobs[8]) is None
