"""The race in xortune's own search: who gets which seeds, whatever the workers' speed."""

from dataclasses import replace

import pytest
from fakes import (
    LADDER,
    Scripted,
    anywhere,
    at,
    by_rate,
    dead,
    queue_in,
    ranges,
    space_of,
    spent,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.racing.grants import PROMOTION_SHARE, Grants
from xortune.racing.race import RaceRule
from xortune.spaces.model import StopSettings, rungs_up_to
from xortune.spaces.space import parse_space

DOUBLING = rungs_up_to(64)


def proving(space):
    """The space of a search for a proof that it never finds: it does not weigh its seeds."""
    return replace(space, stop=StopSettings(0.999999))


def goes(seed, rate):
    return int((seed + 1) * rate) > int(seed * rate)


@pytest.mark.parametrize(("window", "workers"), [(1, 1), (30, 8)])
def test_in_the_end_as_many_as_the_finalists_are_full_and_climb_side_by_side(window, workers):
    rates = [(1.0, 0.1, 0.5, 0.7, 1.0, 0.9)[i % 6] for i in range(60)]
    ladder, most = rungs_up_to(256), 3
    space = space_of(trials=len(rates), ladder=ladder)
    space = replace(space, seeds=replace(space.seeds, finalists=most))
    counts = []
    session = anywhere(
        space=space,
        proposer=Scripted(at(*rates)),
        window=window,
        workers=workers,
        on_turn=lambda queue, under_way: counts.append(
            (queue.left, len({job.block.point.key for job in under_way}))
        ),
    )
    seeds = spent(session.evaluations)
    full = [p["y"] for p in at(*rates) if seeds[p.key] == 256]
    assert set(full) == {1.0}
    assert most <= len(full) <= (most if window == 1 else 2 * most)
    assert sum(seeds.values()) < 3000, "of 15,360"
    at_last = [busy for left, busy in counts if not left]
    # Newcomers that are still under way do not count.
    assert max(at_last[window:], default=0) <= most


RATES = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]), min_size=1, max_size=14)


@given(
    data=st.data(),
    rates=RATES,
    ladder=st.sampled_from([LADDER, DOUBLING, (10,)]),
    how=st.tuples(st.integers(1, 9), st.none() | st.integers(1, 6), st.integers(1, 8)),
    crashes=st.sets(st.tuples(st.integers(0, 8), st.integers(1, 3)), max_size=8),
)
@settings(max_examples=15)
def test_the_order_of_results_changes_nothing(data, rates, ladder, how, crashes):
    window, least, workers = how
    chosen = [point for point in at(*rates) for _ in range(2)][: len(rates)]  # each twice
    space = space_of(trials=len(rates), ladder=ladder)

    def fails(job):
        crashed = (job.proposal, job.attempt) in crashes and job.block.first < 8
        return dead(job.block) if crashed else by_rate(job.block)

    def race(proposer, **how):
        return anywhere(
            space=space,
            proposer=proposer,
            window=window,
            least=least and min(least, window),
            train=fails,
            **how,
        )

    patient, hasty = Scripted(chosen), Scripted(chosen)
    one = race(patient, workers=1)
    pick = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    other = race(hasty, workers=workers, pick=pick)
    assert hasty.events == patient.events
    learned = [event[1] for event in hasty.events if event[0] == "learn"]
    assert learned == list(range(len(rates)))
    found = ranges(one.evaluations)
    assert ranges(other.evaluations) == found
    for blocks in found.values():  # from 0 on, nothing twice
        ends = [0, *(first + count for _, first, count in blocks)]
        assert [first for _, first, _ in blocks] == ends[:-1]
    for session in (one, other):
        last = session.progress[-1]
        assert (last.done, last.total, last.fresh) == (len(rates), len(rates), len(rates))
        assert all(p.done <= p.total for p in session.progress)
        assert last.failed == len({e.proposal for e in session.evaluations if lost(e)})


def lost(evaluation):
    return evaluation.final and evaluation.outcome is None


@given(rates=RATES, ladder=st.sampled_from([LADDER, DOUBLING]))
@settings(max_examples=20)
def test_whom_the_race_calls_gets_the_seeds(rates, ladder):
    """With a window of one: newcomers and `Grants`, by hand."""
    points, blocks, new, climbed = at(*rates), [], 0, 0
    space = proving(space_of(trials=len(rates), ladder=ladder))
    session = anywhere(space=space, proposer=Scripted(points), window=1, workers=1)
    grants = Grants(RaceRule(ladder))
    counts = {}

    def train(number):
        nonlocal counts
        n = counts.get(number, 0)
        end = next(rung for rung in ladder if rung > n)
        blocks.append((number, n, end - n))
        k = sum(goes(seed, rates[number]) for seed in range(end))
        counts[number] = end
        outcomes = [by_rate(Block(points[number], b[1], b[2])) for b in blocks if b[0] == number]
        share = sum(o.epochs_spent for o in outcomes) / end
        grants.see(number, k, end, speed=speed_of(share))
        return end - n, k == end and any(end < rung <= 8 for rung in ladder)

    waiting = list(range(len(rates)))
    while True:
        name = grants.next(()) if climbed < PROMOTION_SHARE * (new + climbed) else None
        if name is not None:
            climbed += train(name)[0]
        elif waiting:
            number = waiting.pop(0)
            grants.enter(number)
            more = True
            while more:
                seeds, more = train(number)
                new += seeds
        else:
            name = grants.next((), last=True)
            if name is None:
                break
            climbed += train(name)[0]
    assert [(e.proposal, e.block.first, e.block.count) for e in session.evaluations] == blocks


def speed_of(epochs):
    from xortune.racing.objectives import ConfigCounts, speed

    return speed(ConfigCounts(Point({"y": 0.0}), 0, 1, epochs))


def test_nobody_waits_for_a_straggler(tmp_path):
    # Proposal 0's first block does not come back; others go on until the window is full.
    space = proving(space_of(trials=30, ladder=LADDER))
    with queue_in(tmp_path, space, Scripted(at(*[1.0] * 30)), window=12) as queue:
        slow = queue.next_job()
        handed = 0
        while (job := queue.next_job()) is not None:
            queue.receive(job, by_rate(job.block), seconds=0.1, worker="")
            handed += 1
        assert handed == 11
        queue.receive(slow, by_rate(slow.block), seconds=9.0, worker="")
        climbing = queue.next_job()
        assert (climbing.proposal, climbing.promoted, climbing.block.first) == (0, True, 8)


def test_a_search_ends_when_a_rate_is_proven():
    space = parse_space(
        "name: p\nparameters: {y: {low: 0.0, high: 1.0}}\nsearch: {sampler: random, trials: 50}\n"
        "seeds: {race: {max: 256}}\nstop: {proven_rate: 0.9}\n"
    )
    points = at(*[0.5, 0.3, 1.0, *[0.2] * 47])
    session = anywhere(space=space, proposer=Scripted(points), window=3)
    key, rate = session.queue.proven
    assert key == points[2].key
    assert rate >= 0.9
    seeds = spent(session.evaluations)
    assert seeds[key] == 128, "the first rung with which it is proven"
    assert sum(seeds.values()) < 300
    # And what is recalled has ended too.
    again = anywhere(space=space, proposer=Scripted(points), window=3, known=session.evaluations)
    assert not again.evaluations
    assert again.queue.proven == session.queue.proven
