"""Who gets which seeds: the same search whatever the workers' speed, and results as they come."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from fakes import (
    LADDER,
    Plain,
    Queue,
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
from hand_made import TINY_SPACE
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.core.outcome import Details
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.driver.decisions import WIDENS, in_flight_at
from xortune.racing.grants import PROMOTION_SHARE, Grants
from xortune.racing.objectives import ConfigCounts, speed
from xortune.racing.race import RaceRule
from xortune.runs.evaluation import Evaluations
from xortune.runs.journal import Journal
from xortune.runs.results import ConfigResults
from xortune.spaces.model import Objective, StopSettings, rungs_up_to
from xortune.spaces.space import parse_space


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "evaluations.jsonl"


def test_equal_trainings_share_their_seeds(journal):
    class Rounds(Plain):
        def check(self, point):
            return Point({"y": round(point["y"], 1)})

    proposed = [Point({"y": 0.11}), Point({"y": 0.12}), Point({"y": 0.2})]
    with Journal.open(journal) as open_journal:
        queue = Queue(space_of(trials=3), Rounds(), Scripted(proposed), open_journal, window=None)
        jobs = [queue.next_job() for _ in range(3)]
    assert [job.block.first for job in jobs] == [0, 10, 0]


@given(least=st.integers(1, 40), more=st.integers(0, 60), steps=st.integers(1, 400))
def test_a_window_widens_and_nothing_that_was_known_is_forgotten(least, more, steps):
    most = least + more
    widths = [in_flight_at(step, most, least) for step in range(steps)]
    assert widths == sorted(widths)
    assert all(least <= width <= most for width in widths)
    known = [step - width for step, width in enumerate(widths)]
    assert known == sorted(known)
    assert in_flight_at(0, most, least) == least
    assert in_flight_at(WIDENS * most, most, least) == most
    assert in_flight_at(0, most, None) == most


# -------------------------------------------------------------------------------------------------
# The race.

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
        n = counts.get(number, 0)
        end = next(rung for rung in ladder if rung > n)
        blocks.append((number, n, end - n))
        k = sum(goes(seed, rates[number]) for seed in range(end))
        counts[number] = end
        outcomes = [by_rate(Block(points[number], b[1], b[2])) for b in blocks if b[0] == number]
        share = sum(o.epochs_spent for o in outcomes) / end
        grants.see(number, k, end, speed=speed(ConfigCounts(points[number], 0, 1, share)))
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


# -------------------------------------------------------------------------------------------------
# Results as they come: nobody waits, and the seeds of a config stay in their order.


def hasty(trials):
    space = space_of(trials=trials, ladder=rungs_up_to(64, 1))
    return replace(space, search=replace(space.search, as_they_come=True))


def test_as_they_come_a_straggler_holds_up_nothing(tmp_path):
    with queue_in(tmp_path, hasty(30), Scripted(at(*[0.1] * 30)), window=2) as queue:
        queue.next_job()  # never comes back
        for _ in range(20):
            job = queue.next_job()
            queue.receive(job, by_rate(job.block), seconds=0.1, worker="")


@given(
    data=st.data(),
    rates=st.lists(st.sampled_from([0.0, 0.3, 0.8, 1.0]), min_size=1, max_size=8),
    window=st.integers(1, 6),
)
@settings(max_examples=10, deadline=None)
def test_all_is_trained_in_order_and_a_resumed_search_goes_on(data, rates, window):
    points = at(*rates) * 2  # each is proposed again, perhaps while it is under way
    given = {"space": hasty(len(points)), "proposer": Scripted(points), "window": window}
    session = anywhere(workers=4, pick=lambda n: data.draw(st.integers(0, n - 1)), **given)
    for blocks in ranges(session.evaluations).values():
        ends = [0, *(first + count for _, first, count in blocks)]
        assert [first for _, first, _ in blocks] == ends[:-1]
    assert session.progress[-1].done == len(points)
    cut = data.draw(st.integers(0, len(session.evaluations)))
    given["proposer"] = Scripted(points)
    rest = anywhere(workers=1, known=session.evaluations[:cut], **given)
    both = spent([*session.evaluations[:cut], *rest.evaluations])
    for blocks in ranges([*session.evaluations[:cut], *rest.evaluations]).values():
        seeds = [seed for _, first, count in blocks for seed in range(first, first + count)]
        assert len(seeds) == len(set(seeds)), "nothing is trained twice"
    assert set(both) == {point.key for point in points}


def test_a_search_says_that_its_seed_does_not_repeat_it_and_a_finished_one_is_done(tmp_path):
    text = TINY_SPACE.replace("trials: 3", "trials: 6, as_they_come: true")
    asked = parse_space(text.replace("ladder: [4]", "race: {max: 8}"))
    words: list[str] = []
    run = xt.search(asked, output=tmp_path / "run", on_word=words.append)
    assert any("as they come" in word and "seed" in word for word in words)
    assert run.manifest["as_they_come"] is True
    assert run.manifest["window_least"] == 1, "trainings of milliseconds leave nothing unseen"
    lines = len(run.evaluations)
    again = xt.search(asked, output=tmp_path / "run", resume=True)
    assert len(again.evaluations) == lines


@given(
    rates=st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=4, max_size=24),
    goal=st.sampled_from([None, "minimize", "maximize"]),
    races=st.booleans(),
    cut=st.integers(0, 10),
)
def test_the_progress_names_the_first_of_the_table(rates, goal, races, cut):
    """Also where configs are proposed again, a trainer's number decides, or a search is resumed."""
    ladder = LADDER if races else (8,)
    objectives = [Objective("success_rate", maximize=True)]
    if goal:
        objectives = [Objective("steps_q50", goal == "maximize", "steps", "q50")]
    space = replace(space_of(trials=len(rates), ladder=ladder), objectives=tuple(objectives))
    chosen = [Point({**point, "v": i % 2 / 10}) for i, point in enumerate(at(*rates))]

    def train(job):
        if job.block.point["y"] == 0.5 and job.block.first:
            return dead(job.block)
        block = job.block
        steps = np.array([zlib.crc32(f"{block.point.key} {s}".encode()) % 99 for s in block.seeds])
        return replace(by_rate(job.block), details=Details(values={"steps": steps.astype(float)}))

    known = []
    for _ in range(2):
        session = anywhere(
            space=space,
            proposer=Scripted(chosen),
            window=4 if races else None,
            train=train,
            known=known,
        )
        results = ConfigResults(
            Evaluations.of([*known, *session.evaluations]), objectives=objectives, rungs=ladder
        )
        first = results[0].outcome
        best = session.progress[-1].best
        if first.successes or goal:  # by keys, which the progress does not know, if none solved any
            assert best == (first.successes, first.n)
        known = [e for e in session.evaluations if e.proposal < cut]
