"""Blocks that are trained before anybody has decided upon them: decisions do not notice."""

import random
from collections import deque

import pytest
from fakes import Plain, space_of
from hand_made import solved

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import Stacking
from xortune.driver.batches import ATTEMPTS, Ahead, Batches, Done, WorkerFailure
from xortune.driver.decisions import SearchDecisions
from xortune.driver.loop import FirstFailure, Record, run
from xortune.driver.propose import ANYWHERE, LEARNING, STARTUP, proposer_for
from xortune.racing.objectives import ConfigCounts
from xortune.runs.evaluation import encode_outcome
from xortune.runs.journal import Journal, read
from xortune.spaces.space import parse_space

STACKING = Stacking(frozenset({"x"}), 24)
LADDER = (1, 2, 4, 8, 16)
FINITE = """
name: finite
parameters: {a: {choice: [1, 2.5, b, true, null]}, b: {low: 1, high: 3}}
search: {sampler: SAMPLER}
seeds: {ladder: [4, 8]}
"""


def outcome(block):
    """Each seed succeeds at the rate that the point names as y; those of x = b raise at times."""
    if block.point["x"] == "b" and block.first == 1:
        return Outcome.crashed(block.seeds, 0, "it raised")
    draws = [random.Random(f"{block.point.key} {seed}").random() for seed in block.seeds]
    return solved(block.first, sum(draw < block.point["y"] for draw in draws), block.count)


class Workers:
    """An executor whose batches come back in any order; `fails` says which of them do not."""

    brief, slots = False, 2

    def __init__(self, seed=0, fails=lambda _: None, most=10_000, stacking=STACKING):
        self.done, self.submitted, self.sizes = deque(), [], []
        self.company = []  # of each batch, whether something was trained ahead in it
        self._draw, self._fails, self._left = random.Random(seed), fails, most
        self._stacking = stacking

    def takes(self, batches):  # noqa: ARG002
        return len(self.submitted) < 3 * self.slots

    def submit(self, jobs, seconds_left):  # noqa: ARG002
        assert len({job.block.point["x"] for job in jobs}) == 1 or not any(j.ahead for j in jobs)
        self.submitted.append(jobs)
        self.sizes.append(sum(job.block.count for job in jobs))
        self.company.append(any(job.ahead for job in jobs))

    def wait(self, batches):  # noqa: ARG002
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        at = self._draw.randrange(min(self.slots, len(self.submitted)))
        jobs = self.submitted.pop(at)
        failure = self._fails(jobs)
        results = failure or [encode_outcome(job.block, outcome(job.block)) for job in jobs]
        self.done.append(Done(jobs, results, 1.0, "worker:1", self._stacking))

    def stop(self):
        pass


class Search:
    """A search of 30 configurations, to its end or an interruption."""

    def __init__(self, path, workers, *, ahead, sampler="random", trials=30):
        space = space_of(sampler=sampler, trials=trials, ladder=LADDER)
        known = read(path) if path.exists() else ()
        proposer = proposer_for(space)
        self.interrupted, self.failures = False, []
        with Journal.open(path) as journal:
            decisions = SearchDecisions(
                space, Plain(), proposer, max_in_flight=7, min_in_flight=6, known=known
            )
            record = Record(journal, decisions, first_failure=FirstFailure(self.failures.append))
            self.ahead = Ahead(decisions) if ahead else None  # which learns of stacks
            self.batches = Batches(
                *(decisions, Plain(), record), slots=2, max_in_flight=7, ahead=self.ahead
            )
            try:
                run(self.batches, workers, record)
                assert self.batches.finished
            except KeyboardInterrupt:
                self.interrupted = True
        self.lines, self.workers = read(path), workers

    @property
    def results(self):
        """What each proposal came to, k of n: into which blocks its seeds are cut is no matter."""
        found = {}
        for line in self.lines:
            if line.final:
                k, n = found.get((line.proposal, line.block.point), (0, 0))
                found[line.proposal, line.block.point] = (
                    k + line.outcome.successes,
                    n + line.outcome.n,
                )
        return found


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("seed", range(2))
def test_the_journal_is_the_same_in_fewer_batches(sampler, seed, tmp_path):
    alone = Search(tmp_path / "alone", Workers(), ahead=False, sampler=sampler)
    ahead = Search(tmp_path / "ahead", Workers(seed), ahead=True, sampler=sampler)
    assert ahead.results == alone.results
    assert ahead.failures == alone.failures != []
    decided = sum(n for _, n in alone.results.values())
    # What nobody decided upon is in no line.
    assert ahead.ahead.trained > ahead.ahead.used > decided / 4
    assert max(ahead.workers.sizes) <= STACKING.width
    assert len(ahead.workers.sizes) < len(alone.workers.sizes) * (0.4 if sampler == "random" else 1)


def test_an_interrupted_search_goes_on_to_the_same_journal(tmp_path):
    whole = Search(tmp_path / "whole", Workers(), ahead=True)
    begun = Search(tmp_path / "parts", Workers(most=5), ahead=True)
    assert begun.interrupted
    assert 0 < len(begun.results) < len(whole.results)
    assert Search(tmp_path / "parts", Workers(5), ahead=True).results == whole.results


@pytest.mark.parametrize("kind", ["batch", "late", "node"])
def test_company_that_kills_a_worker_is_not_trained_ahead_again(kind, tmp_path):
    deaths = []

    def fails(jobs):
        if any(job.ahead for job in jobs) and len(deaths) < 2:
            deaths.append(len(workers.sizes))
            return WorkerFailure(kind, "it died")
        return None

    workers = Workers(fails=fails)

    alone = Search(tmp_path / "alone", Workers(), ahead=False)
    found = Search(tmp_path / "ahead", workers, ahead=True)
    assert found.results == alone.results  # nobody is blamed
    assert all(line.final for line in found.lines)
    assert any(workers.company[deaths[0] :]) == (kind == "node")


def test_what_has_no_outcome_ahead_is_trained_when_it_is_decided(tmp_path):
    tries = []

    class Dying(Workers):
        def wait(self, batches):
            super().wait(batches)
            done = self.done.pop()
            bad = [
                TrainingError("no outcome") if j.block.first == 2 else r
                for j, r in zip(done.jobs, done.results, strict=True)
            ]
            tries.extend(j.attempt for j in done.jobs if j.block.first == 2 and not j.ahead)
            self.done.append(Done(done.jobs, bad, 1.0, "worker:1", STACKING))

    found = Search(tmp_path / "dying", Dying(), ahead=True)
    gone = [line for line in found.lines if line.block.first == 2]
    assert gone
    assert all(line.error == "no outcome" for line in gone)
    assert sum(line.final for line in gone) == tries.count(1) == tries.count(ATTEMPTS)


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe", "nsgaii"])
def test_what_is_foreseen_is_what_is_proposed(sampler):
    trials = "" if sampler == "grid" else ", trials: 14"
    proposer = proposer_for(parse_space(FINITE.replace("SAMPLER", sampler + trials)))
    foreseen = {}
    for number in range(14):
        for later in range(number, 14):
            if (point := proposer.foresee(later)) is not None:
                assert foreseen.setdefault(later, point) == point
        point = proposer.propose(number)
        assert foreseen.get(number, point) == point
        proposer.learn(number, ConfigCounts(point, number * 7 % 11, 11, 100 * number))
    drawn = {n for n in range(14) if sampler == "tpe" and (n < STARTUP or n % ANYWHERE == 0)}
    assert set(foreseen) == (drawn if sampler in LEARNING else set(range(14)))
