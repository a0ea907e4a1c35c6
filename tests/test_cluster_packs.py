"""Packs on a cluster: what is late, lost or never begun, and a number of slots that changes."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hand_made import solved
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.point import Point
from xortune.driver.batches import LOSSES, Batches
from xortune.driver.decisions import SearchDecisions
from xortune.driver.jobs import ATTEMPTS, Done, WorkerFailure
from xortune.driver.loop import Record
from xortune.runs.journal import Journal, read
from xortune.spaces.space import parse_space

SPACE = """
name: fake
parameters: {{x: {{low: 0, high: {last}}}}}
search: {{sampler: grid}}
seeds: {{ladder: [4]}}
"""
GONE = "the node has left"


@dataclass
class Costly:
    seconds: float = 0.01

    def check(self, point):
        return point

    def cost(self, block):  # noqa: ARG002
        return self.seconds


@dataclass
class InOrder:
    count: int

    def propose(self, number):
        return Point({"x": number}) if number < self.count else None

    def learn(self, *_):
        pass


def packs_of(journal, count, *, slots=2, limit=None, trainer=None):
    trainer = trainer or Costly()
    space = parse_space(SPACE.format(last=count - 1))
    decisions = SearchDecisions(space, trainer, InOrder(count), max_in_flight=None)
    return Batches(decisions, trainer, Record(journal, decisions), slots=slots, limit=limit)


def received(packs, jobs, results, *, seconds):
    packs.receive(Done(tuple(jobs), results, seconds, "a:1"))


def failed(packs, jobs, reason, *, kind, seconds=0.0):
    packs.receive(Done(tuple(jobs), WorkerFailure(kind, reason), seconds))


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "evaluations.jsonl") as journal:
        yield journal


def outcomes(jobs):
    return [solved(job.block.first, 1, job.block.count) for job in jobs]


def numbers(jobs):
    return [job.proposal for job in jobs]


@given(
    fates=st.lists(st.sampled_from(["done", "node", "stopped", "batch", "late"]), max_size=60),
    workers=st.integers(1, 4),
)
def test_whatever_becomes_of_packs_each_block_is_journaled_once(fates, workers, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    fate = iter(fates)
    with Journal.open(path) as journal:
        packs = packs_of(journal, 12)
        under_way = []
        while True:
            while len(under_way) < workers and (jobs := packs.next()):
                under_way.append(jobs)
            if not under_way:
                break
            jobs = under_way.pop(0)
            match next(fate, "done"):
                case "done":
                    received(packs, jobs, outcomes(jobs), seconds=1.0)
                case kind:
                    failed(packs, jobs, "it died", kind=kind, seconds=1.0)
        assert packs.finished
    evaluations = read(path)[0]
    assert sorted(e.proposal for e in evaluations if e.final) == list(range(12))
    for proposal, tries in Counter(e.proposal for e in evaluations).items():
        assert tries <= ATTEMPTS, proposal


def test_a_lost_machine_is_not_held_against_its_blocks_until_it_repeats(journal, tmp_path):
    packs = packs_of(journal, 3)
    for _ in range(LOSSES):
        jobs = packs.next()
        assert numbers(jobs) == [0, 1, 2], "the same pack again, whole"
        failed(packs, jobs, GONE, kind="node")
    failed(packs, packs.next(), GONE, kind="node")
    assert numbers(packs.next()) == [0], "halved, as if it had died by itself"
    assert numbers(packs.next()) == [1, 2]
    assert not read(tmp_path / "evaluations.jsonl")[0], "nothing of it is an attempt"


def test_a_block_that_brings_every_machine_down_is_given_up(journal, tmp_path):
    packs = packs_of(journal, 1)
    tries = 0
    while jobs := packs.next():
        failed(packs, jobs, GONE, kind="node")
        tries += 1
    assert tries == LOSSES + ATTEMPTS
    assert packs.finished
    journal.close()
    evaluations = read(tmp_path / "evaluations.jsonl")[0]
    assert [(e.final, e.error) for e in evaluations][-1] == (True, "the node has left")
    assert len(evaluations) == ATTEMPTS


def test_a_pack_that_is_late_is_halved_and_those_to_come_are_smaller(journal):
    packs = packs_of(journal, 200)
    jobs = packs.next()
    assert len(jobs) == 40
    failed(packs, jobs, "took longer than 10 s", kind="late", seconds=10.0)
    assert [numbers(packs.next()), numbers(packs.next())] == [
        numbers(jobs[:20]),
        numbers(jobs[20:]),
    ]
    # 0.01 seconds by the estimate take at least 0.25.
    assert len(packs.next()) == pytest.approx(4.0 / 0.25, abs=1)
