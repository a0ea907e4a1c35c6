"""A seed that kills its worker costs itself, and no other seed of its block."""

from collections import Counter
from dataclasses import dataclass

import pytest
from fakes import Scripted, batches_of, failed, points, received, space_of
from hand_made import solved
from hypothesis import given
from hypothesis import strategies as st

from xortune.certificates.fresh import SeedsToTrain
from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.driver.batches import ATTEMPTS, HOPELESS, MAX_PARTS
from xortune.driver.certify import FreshSeeds
from xortune.driver.decisions import SearchDecisions
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


def packs_of(space, journal, trainer=None, *, most=None, **more):
    trainer, proposer = trainer or Own(), Scripted(points(space.search.trials))
    decisions = SearchDecisions(space, trainer, proposer, max_in_flight=most)
    return batches_of(decisions, trainer, journal, slots=2, **more)


def trained(packs, deadly, *, seconds=0.01, limit=None):
    """Train all packs, of which those with a deadly seed die; how many did."""
    deaths = 0
    while jobs := packs.next():
        took = seconds * sum(job.block.count for job in jobs)
        if limit is not None and took > limit:
            failed(packs, jobs, "took longer", kind="late", seconds=limit)
            deaths += 1
        elif any(deadly & set(job.block.seeds) for job in jobs):
            failed(packs, jobs, str(DEAD))
            deaths += 1
        else:
            found = [solved(j.block.first, j.block.count, j.block.count) for j in jobs]
            received(packs, jobs, found, seconds=took)
    assert packs.finished
    return deaths


def fates(path):
    """Which seeds of each config came to nothing; each has exactly one final line."""
    final = [e for e in read(path) if e.final]
    seeds = Counter((e.block.point.key, seed) for e in final for seed in e.block.seeds)
    assert set(seeds.values()) <= {1}
    return {seed for e in final if e.outcome is None for seed in e.block.seeds}, len(seeds)


@given(count=st.integers(1, 60), deadly=st.sets(st.integers(0, 59), max_size=4))
def test_only_the_deadly_seeds_of_a_block_are_lost(count, deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    deadly = {seed for seed in deadly if seed < count}
    space = space_of(trials=2, ladder=(count,))
    with Journal.open(path) as journal:
        deaths = trained(packs_of(space, journal), deadly)
    lost = deadly if len(deadly) < count or count < HOPELESS else set(range(count))
    assert fates(path) == (lost, 2 * count)
    if deadly and count <= MAX_PARTS:
        # The pack of both, each of them twice, and then each deadly seed once.
        assert deaths == 1 + 2 * (ATTEMPTS - 1 + len(deadly))


@given(count=st.integers(1, 40), deadly=st.sets(st.integers(0, 39), max_size=3))
def test_so_it_is_with_the_seeds_of_a_certificate(count, deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    first = 1000
    deadly = {first + seed for seed in deadly if seed < count}
    wanted = SeedsToTrain(Point({"x": 1}), (range(first, first + count),))
    with Journal.open(path) as journal:
        fresh = FreshSeeds([wanted], Own(), slots=2)
        trained(batches_of(fresh, Own(), journal, slots=2), deadly)
    assert fates(path) == (deadly, count)


def test_the_blocks_of_other_trainers_are_not_taken_apart(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    space = space_of(trials=1, ladder=(20,))
    with Journal.open(path) as journal:
        deaths = trained(packs_of(space, journal, Own(users_code=False)), {3})
    assert fates(path) == (set(range(20)), 20)
    assert deaths == ATTEMPTS


@pytest.mark.parametrize("ladder", [(8,), (8, 100)])
def test_seeds_that_are_in_time_one_by_one_are_no_failures(tmp_path, ladder):
    """A block of them is late; the next blocks are split before they are."""
    path = tmp_path / "evaluations.jsonl"
    space = space_of(trials=6, ladder=ladder)
    with Journal.open(path) as journal:
        most = None if len(ladder) == 1 else 6
        packs = packs_of(space, journal, most=most, limit=4.0)
        deaths = trained(packs, set(), seconds=1.0, limit=4.0)
    assert fates(path)[0] == set()
    assert 0 < deaths <= 10


def test_a_config_that_always_kills_is_given_up(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    space = space_of(trials=1, ladder=(500,))
    with Journal.open(path) as journal:
        deaths = trained(packs_of(space, journal), set(range(500)))
    assert fates(path) == (set(range(500)), 500)
    assert deaths == ATTEMPTS - 1 + HOPELESS
