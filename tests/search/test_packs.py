"""Packs: sized by what was measured, halved when they kill their worker."""

from dataclasses import dataclass, field

import pytest
from fakes import Scripted, batches_of, failed, points, received, space_of, trained
from hypothesis import given
from hypothesis import strategies as st

from xortune.driver.batches import (
    LEAST_SECONDS,
    MOST_SECONDS,
    blocks_in_batch,
    most_in_flight,
)
from xortune.driver.decisions import SearchDecisions
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.journal import Journal, read


@dataclass
class Timed:
    """A trainer that says what a block costs; in truth it takes `factor` times as long."""

    seconds: float = 0.001
    factor: float = 3.0
    costs: dict = field(default_factory=dict)

    def check(self, point):
        return point

    def cost(self, block):
        return self.costs.get(block.point.key, self.seconds)


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "evaluations.jsonl") as journal:
        yield journal


def packs_of(journal, trainer, count, *, slots=2, most=None):
    proposer = Scripted(points(count))
    decisions = SearchDecisions(space_of(trials=count), trainer, proposer, max_in_flight=None)
    return batches_of(decisions, trainer, journal, slots=slots, most=most)


def trained_seconds(packs, trainer, workers=2):
    """Let `workers` train all packs, one after another; seconds of work in each."""
    seconds, under_way = [], []
    while True:
        while len(under_way) < workers and (jobs := packs.next()):
            under_way.append(jobs)
        if not under_way:
            return seconds
        jobs = under_way.pop(0)
        took = trainer.factor * sum(trainer.cost(job.block) for job in jobs)
        seconds.append(took)
        results = [pack(job.block, trained(job.block)) for job in jobs]
        received(packs, jobs, results, seconds=took)


def test_packs_are_small_then_large_then_small(journal):
    trainer = Timed()
    seconds = trained_seconds(packs_of(journal, trainer, 10_000), trainer)
    assert sum(seconds) == pytest.approx(30)
    assert seconds[0] == pytest.approx(trainer.factor * LEAST_SECONDS, rel=0.05), "a measurement"
    assert max(seconds) == pytest.approx(MOST_SECONDS, rel=0.05)
    assert seconds[-1] < 1.1 * LEAST_SECONDS, "no slot waits long for another at the end"
    middle = seconds[2:-1]
    assert middle == sorted(middle, reverse=True)
    assert min(middle) > 0.95 * LEAST_SECONDS, "what Ray takes for a trial stays small beside it"


def test_one_slow_pack_is_not_taken_for_the_rule(journal):
    trainer = Timed()
    packs = packs_of(journal, trainer, 20_000)
    for factor in (3, 30):
        jobs = packs.next()
        took = factor * trainer.seconds * len(jobs)
        results = [pack(job.block, trained(job.block)) for job in jobs]
        received(packs, jobs, results, seconds=took)
    expected = MOST_SECONDS / (trainer.seconds * (0.7 * 3 + 0.3 * 30))
    assert len(packs.next()) == pytest.approx(expected, abs=1)


def test_what_takes_longer_than_a_pack_is_one_alone(journal):
    trainer = Timed(seconds=5.0)
    packs = packs_of(journal, trainer, 6)
    assert [len(packs.next()) for _ in range(6)] == [1] * 6
    assert packs.next() == ()


def test_everything_is_trained_once_and_journaled(journal, tmp_path):
    trainer = Timed()
    packs = packs_of(journal, trainer, 500)
    trained_seconds(packs, trainer)
    assert packs.finished
    journal.close()
    evaluations = read(tmp_path / "evaluations.jsonl")[0]
    assert sorted(e.proposal for e in evaluations) == list(range(500))
    for evaluation in evaluations:
        expected = trained(evaluation.block)
        assert evaluation.outcome.successes == expected.successes
        assert evaluation.seconds == pytest.approx(0.003)


def test_seconds_are_shared_out_by_cost(journal, tmp_path):
    proposed = points(2)
    trainer = Timed(costs={proposed[0].key: 0.03, proposed[1].key: 0.01})
    packs = packs_of(journal, trainer, 2)
    jobs = packs.next()
    received(packs, jobs, [trained(job.block) for job in jobs], seconds=8.0)
    journal.close()
    evaluations = read(tmp_path / "evaluations.jsonl")[0]
    assert [e.seconds for e in evaluations] == pytest.approx([6.0, 2.0])


@given(deadly=st.sets(st.integers(0, 19), max_size=4))
def test_a_pack_that_dies_is_halved_until_the_deadly_block_is_alone(deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    trainer = Timed()
    with Journal.open(path) as journal:
        packs = packs_of(journal, trainer, 20)
        while jobs := packs.next():
            if deadly & {job.proposal for job in jobs}:
                failed(packs, jobs)
            else:
                received(packs, jobs, [trained(j.block) for j in jobs], seconds=1.0)
        assert packs.finished
    evaluations = read(path)[0]
    assert sorted(e.proposal for e in evaluations if e.final) == list(range(20))
    assert {e.proposal for e in evaluations if e.outcome is None} == deadly
    tries = [e.proposal for e in evaluations]
    assert all(tries.count(n) == (3 if n in deadly else 1) for n in range(20))


def test_a_batch_of_a_learning_sampler_leaves_it_something_to_learn():
    assert most_in_flight(60.0, slots=2, proposals=1000) == 6
    assert most_in_flight(0.002, slots=2, proposals=200) == 25
    assert most_in_flight(0.002, slots=2, proposals=20) == 6
    assert most_in_flight(0.1, slots=2, proposals=10_000) == 22
    assert blocks_in_batch(6, slots=2) == 1
    assert blocks_in_batch(22, slots=2) == 5
    for slots in (1, 2, 7):
        window = most_in_flight(0.01, slots=slots, proposals=10_000)
        assert 2 * slots * blocks_in_batch(window, slots=slots) < window, "one pack runs, one waits"


def test_a_learning_sampler_gets_packs_of_its_batch(journal):
    packs = packs_of(journal, Timed(), 10, most=4)
    assert [len(packs.next()) for _ in range(3)] == [4, 4, 2]
