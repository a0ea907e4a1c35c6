"""Who gets which seeds: the same search whatever the workers' speed, and results as they come."""

import math
import zlib
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from fakes import DEAD, LADDER, Plain, Queue, Scripted, at, by_rate, ranges, run, space_of, spent
from hand_made import TINY_SPACE
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import sentences
from scipy.stats import beta

import xortune as xt
from xortune.core.outcome import Details, wilson
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.deciding.in_flight import WIDENS, in_flight_at
from xortune.racing.grants import PROMOTION_SHARE, best_race, proof_race, race_of
from xortune.racing.objectives import SeedSummary, speed
from xortune.racing.posterior import (
    LEARNING_STEPS,
    POINTS,
    PRIOR_SHAPE,
    PRIOR_WEIGHT,
    Group,
    rates,
)
from xortune.racing.race import RaceRule
from xortune.racing.statement import Aim, statement_of
from xortune.racing.top_two import LITTLE_GAIN, LOOKS, NEGLIGIBLE_GAIN
from xortune.runs.evaluation import Evaluations
from xortune.runs.results import ConfigResults
from xortune.spaces.model import Objective, StopSettings, rungs_up_to
from xortune.spaces.space import parse_space


def test_equal_trainings_share_their_seeds():
    class Rounds(Plain):
        def check(self, point):
            return Point({"y": round(point["y"], 1)})

    proposed = [Point({"y": 0.11}), Point({"y": 0.12}), Point({"y": 0.2})]
    queue = Queue(space_of(trials=3), Scripted(proposed), trainer=Rounds(), window=None)
    assert [queue.next_job().block.first for _ in range(3)] == [0, 10, 0]


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


@pytest.mark.parametrize(("window", "workers"), [(0, 1), (30, 8)])
def test_where_many_always_solve_not_all_of_them_get_all_seeds(window, workers):
    rates = [(1.0, 0.1, 0.5, 0.7, 1.0, 0.9)[i % 6] for i in range(60)]
    space = space_of(trials=len(rates), ladder=rungs_up_to(256, 1))
    session = run(space, Scripted(at(*rates)), window=window, workers=workers)
    seeds = spent(session.evaluations)
    most = max(seeds.values())
    assert {p["y"] for p in at(*rates) if seeds[p.key] == most} == {1.0}
    assert sum(seeds.values()) < 3300, "of 15,360"


SOME = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]), min_size=1, max_size=14)


@given(
    data=st.data(),
    rates=SOME,
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
        return DEAD if crashed else by_rate(job.block)

    patient, hasty = Scripted(chosen), Scripted(chosen)
    given = {"window": window, "min_in_flight": least and min(least, window), "train": fails}
    one = run(space, patient, workers=1, **given)
    pick = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    other = run(space, hasty, workers=workers, pick=pick, **given)
    assert hasty.events == patient.events
    learned = [event[1] for event in hasty.events if event[0] == "learn"]
    assert learned == list(range(len(rates)))
    assert ranges(one.evaluations) == ranges(other.evaluations)
    one.assert_in_order()
    for session in (one, other):
        last = session.progress[-1]
        assert (last.done, last.total, last.fresh) == (len(rates), len(rates), len(rates))
        assert all(p.done <= p.total for p in session.progress)
        finals = [e for e in session.evaluations if e.final]
        assert len(session.progress) == len(finals), "each line is news"
        assert last.seeds_done == sum(e.block.count for e in finals)
        for progress in session.progress:
            least, most = progress.seeds_expected
            assert progress.seeds_done <= least <= most
            assert last.seeds_done <= most, "no more than was expected"
        lost = {e.proposal for e in session.evaluations if e.final and e.outcome is None}
        assert last.failed == len(lost)


@given(rates=SOME, ladder=st.sampled_from([LADDER, DOUBLING]))
@settings(max_examples=20)
def test_whom_the_race_calls_gets_the_seeds(rates, ladder):
    """With nothing in flight beside it: newcomers and `proof_race`, by hand."""
    points, blocks, new, climbed = at(*rates), [], 0, 0
    space = proving(space_of(trials=len(rates), ladder=ladder))
    session = run(space, Scripted(points), window=0, workers=1)
    grants, counts = proof_race(RaceRule(ladder)), {}

    def train(number):
        n = counts.get(number, 0)
        end = counts[number] = next(rung for rung in ladder if rung > n)
        blocks.append((number, n, end - n))
        outcomes = [by_rate(Block(points[number], b[1], b[2])) for b in blocks if b[0] == number]
        k, share = sum(o.successes for o in outcomes), sum(o.epochs_spent for o in outcomes) / end
        grants.see(number, k, end, speed=speed(SeedSummary(0, 1, share)))
        return end - n, k == end and any(end < rung <= 8 for rung in ladder)

    waiting = list(range(len(rates)))
    while True:
        name = grants.next({}) if climbed < PROMOTION_SHARE * (new + climbed) else None
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
            name = grants.next({}, last=True)
            if name is None:
                break
            climbed += train(name)[0]
    assert [(e.proposal, e.block.first, e.block.count) for e in session.evaluations] == blocks


def test_nobody_waits_for_a_straggler():
    # Proposal 0's first block does not come back; others go on until 88 seeds are beside it.
    space = proving(space_of(trials=30, ladder=LADDER))
    queue = Queue(space, Scripted(at(*[1.0] * 30)), window=88)
    slow, handed = queue.next_job(), 0
    while (job := queue.next_job()) is not None:
        queue.receive(job)
        handed += 1
    assert handed == 11
    queue.receive(slow)
    climbing = queue.next_job()
    assert (climbing.proposal, climbing.promoted, climbing.block.first) == (0, True, 8)


def test_a_search_ends_when_a_rate_is_proven():
    space = replace(space_of(trials=50, ladder=rungs_up_to(256)), stop=StopSettings(0.9))
    points = at(*[0.5, 0.3, 1.0, *[0.2] * 47])
    session = run(space, Scripted(points), window=3)
    key, rate = session.queue.proven
    assert key == points[2].key
    assert rate >= 0.9
    seeds = spent(session.evaluations)
    assert seeds[key] == 128, "the first rung with which it is proven"
    assert sum(seeds.values()) < 300
    # And what is recalled has ended too.
    again = run(space, Scripted(points), window=3, known=session.evaluations)
    assert not again.evaluations
    assert again.queue.proven == session.queue.proven


# -------------------------------------------------------------------------------------------------
# Seeds go where they are worth most: held against sums over every way that they may end.

RUNGS = rungs_up_to(64, 1)


class Written:
    """The rule of `racing.top_two`, each configuration by itself, every sum written out."""

    def __init__(self, rungs, aim):
        self.rungs, self.aim, self.at, self.rates = rungs, aim, {}, rates()
        edges = np.sin(np.arange(POINTS + 1) / POINTS * np.pi / 2) ** 2
        self.first = np.diff(beta.cdf(edges, *PRIOR_SHAPE))

    def likelihood(self, k, n):
        return self.rates**k * (1 - self.rates) ** (n - k)

    def learn(self):
        self.prior = self.first
        for _ in range(LEARNING_STEPS):
            total = PRIOR_WEIGHT * self.first
            total = total + sum(map(self.belief, self.at.values()))
            self.prior = total / sum(total)

    def belief(self, at):
        one = self.prior * self.likelihood(*at)
        return one / sum(one)

    def beats(self, at, other):
        """P(rate > the other's + epsilon), over all pairs of rates."""
        above = self.rates[:, None] > self.rates + self.aim.epsilon
        return float(self.belief(at) @ above @ self.belief(other))

    def worth(self, belief, step, gain):
        """The best mean gain for each seed, over all m from the step on."""
        found = 0.0
        for m in (m for m in LOOKS if m >= min(step, LOOKS[-1])):
            js = range(m + 1)
            ends = (belief * comb(m, j) * self.likelihood(j, m) * gain for j in js)
            found = max(found, sum(max(0.0, float(sum(end))) for end in ends) / m)
        return found

    def step(self, name):
        n = self.at[name][1]
        return next(rung for rung in self.rungs if rung > n) - n

    def believed(self, training):
        """The rule with the seeds in training as if they had come at the rate so far."""
        told = Written(self.rungs, self.aim)
        for name, (k, n) in self.at.items():
            more = training.get(name, 0)
            told.at[name] = k + round(more * k / n), n + more
        return told

    def next(self):
        """Whom the rule may name, with equal counts several; None: a new one."""
        self.learn()
        means = {name: float(sum(self.belief(at) * self.rates)) for name, at in self.at.items()}
        leader = max(means, key=means.__getitem__)
        free = [m for m, (_, n) in self.at.items() if n < self.rungs[-1]]
        scores = {
            name: self.beats(one, self.at[leader]) / self.step(name)
            for name, one in self.at.items()
            if name != leader and one[1] < self.rungs[-1]
        }
        fewest = self.at[max(scores, key=scores.__getitem__)][1] if scores else math.inf
        challengers = [name for name in free if name != leader]
        if leader in free and (self.at[leader][1] <= fewest or not challengers):
            chosen = leader
        elif challengers:
            chosen = max(challengers, key=scores.__getitem__)
        else:
            return {None}
        second = max((m for name, m in means.items() if name != leader), default=0.0)
        over, under = self.rates - means[leader], second - self.rates
        worth = {
            name: self.worth(
                self.belief(self.at[name]), self.step(name), under if name == leader else over
            )
            for name in free
        }
        worth[None] = self.worth(self.prior, self.rungs[0], over)
        may = {None, chosen}
        if max(worth[name] for name in may) < LITTLE_GAIN:
            may = worth.keys() if leader in free else {None}
        if max(worth[name] for name in may) < NEGLIGIBLE_GAIN:
            return {None}
        best = pytest.approx(max(worth[name] for name in may), rel=1e-6, abs=1e-15)
        named = {name for name in may if worth[name] == best}
        equal = {self.at[name] for name in named if name is not None}
        return named | {name for name in free if self.at[name] in equal}

    def belief_of_the_statement(self):
        """P(nobody is better than the first by more than epsilon), the lower of two."""
        self.learn()
        with_learned = self.chance()
        edges = np.sin(np.arange(POINTS + 1) / POINTS * np.pi / 2) ** 2
        self.prior = np.diff(edges)  # all rates are equally likely
        return min(with_learned, self.chance())

    def chance(self):
        answer = max(self.at, key=lambda name: float(wilson(*self.at[name])[0]))
        total = 0.0
        for rate, belief in zip(self.rates, self.belief(self.at[answer]), strict=True):
            within = self.rates <= rate + self.aim.epsilon
            others = (self.belief(one) for name, one in self.at.items() if name != answer)
            total += belief * math.prod(one[within].sum() for one in others)
        return total


SEEN = st.tuples(st.integers(0, 5), st.sampled_from(RUNGS), st.integers(0, 4))


@given(
    st.lists(st.tuples(SEEN, st.sets(st.integers(0, 5), max_size=3)), min_size=1, max_size=4),
    st.sampled_from([RUNGS, (8, 32, 64)]),
)
@settings(max_examples=5)
def test_the_next_seeds_go_where_the_rule_says(events, rungs):
    aim = Aim(0.05, 0.2)
    grants, plain = best_race(RaceRule(rungs, alpha=1e-9), aim), Written(rungs, aim)
    assert grants.next({}) is None, "somebody has to be first"
    for (name, n, failures), busy in events:
        k = max(0, n - failures)
        grants.see(name, k, n)
        plain.at[name] = k, n
        training = {m: plain.step(m) for m in busy & set(plain.at) if plain.at[m][1] < rungs[-1]}
        training |= dict.fromkeys(busy - set(plain.at), 1)  # new ones, of which nothing is known
        named = plain.believed(training).next()
        # Of equals one that waits comes first.
        assert grants.next(training) in ((named - set(training)) or named)
        found = statement_of([Group(*at, 1, 0) for at in plain.at.values()], aim)
        assert found.belief == pytest.approx(plain.belief_of_the_statement(), abs=1e-9)
        assert grants.next({}, last=True, left=0) is None
        if len(plain.at) == 1:
            assert found.belief == pytest.approx(1), "of one configuration it says nothing"
        elif found.is_believed:
            assert grants.next({}, last=True) is None
            assert (found.rivals, found.seeds) == (0, 0)
        else:
            assert found.rivals >= 1
            assert found.seeds > 0


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        # Not the challenger, which has 4 of 4, but one of which more may be expected.
        ([(60, 64), (4, 4), (252, 256), (32, 32), (124, 128), (256, 256)], 3),
        # The leader, 128 of 128: it may be worse than it looks.
        ([(63, 64), (128, 128), (4, 8), (508, 512)], 1),
        # The leader has all its seeds: a new one.
        ([(511, 512), (8, 8), (4, 4)], None),
    ],
)
def test_where_little_is_left_to_gain_seeds_go_where_they_are_worth_most(counts, named):
    rungs = rungs_up_to(512, 1)
    grants, plain = best_race(RaceRule(rungs, alpha=1e-9), Aim()), Written(rungs, Aim())
    for name, (k, n) in enumerate(counts):
        grants.see(name, k, n)
        plain.at[name] = k, n
    assert {grants.next({})} == plain.next() == {named}


def test_what_cannot_be_better_at_all_is_no_rival_at_the_end():
    near, hopeless = [Group(53, 64, 2, 4), Group(830, 1024, 2, 4)], Group(0, 4096, 2, 4)
    found, plain = (statement_of(groups, Aim(0.001, 0.5)) for groups in ([*near, hopeless], near))
    assert (found.rivals, plain.rivals) == (3, 3)
    assert found.belief == pytest.approx(plain.belief, abs=0.02)


def test_where_all_but_solve_everything_more_than_a_seed_is_missing():
    """A rate within epsilon of 1 leaves no room above; it is the answer's own that is not known."""
    found = statement_of([Group(64, 64, 1, 4), Group(63, 64, 4, 4)], Aim(0.01, 0.1))
    assert found.belief < 0.85, "the learned prior says 0.85"
    assert 150 < found.seeds < 900  # the learned prior takes 250, in the median of 6 searches


def test_one_without_a_failure_goes_on_before_a_worse_one():
    grants = best_race(RaceRule(rungs_up_to(512, 1)), Aim())
    for name, k, n in (("leader", 64, 64), ("worse", 57, 64), ("flawless", 2, 2), ("fails", 0, 8)):
        grants.see(name, k, n)
    assert grants.next({}, last=True) == "flawless"


def test_where_everything_fails_a_search_ends_early():
    session = run(space_of(trials=30, ladder=rungs_up_to(512, 1)), Scripted(at(*[0.0] * 30)))
    assert sum(spent(session.evaluations).values()) <= 30 * 32


def test_after_the_last_proposal_seeds_are_limited():
    rates, ladder = [0.9] * 40, rungs_up_to(64, 1)
    space = space_of(trials=len(rates), ladder=ladder)
    limited = replace(space, seeds=replace(space.seeds, finalists=2))
    seeds = [
        sum(spent(run(one, Scripted(at(*rates)), window=1, workers=1).evaluations).values())
        for one in (limited, replace(space, seeds=replace(space.seeds, finalists=None)))
    ]
    assert seeds[0] < 40 * 8 + 3 * 64
    assert seeds[1] > 2 * seeds[0]


def test_equals_with_one_count_come_in_their_turn_and_who_is_worse_is_out():
    grants = best_race(RaceRule(RUNGS, alpha=0.05), Aim())
    for name, pace in (("slow", 0.4), ("quick", 0.6)):
        grants.see(name, 4, 4, speed=pace)
    grants.see("never", 0, 8)
    first = grants.next({})
    assert {first, grants.next({first: 60})} == {"slow", "quick"}
    grants.see("quick", 64, 64)
    assert grants.is_stopped("never")
    assert grants.next({"slow": 60}) in (None, "quick")


@pytest.mark.parametrize(
    ("more", "rungs", "weighs"),
    [
        ("", (1, 2, 3, 4, 6, 8), True),
        ("stop: {proven_rate: 0.2}", (2, 4, 8), False),
        ("objectives: [success_rate, width]", (2, 4, 8), False),
    ],
)
def test_seeds_are_weighed_where_the_best_rate_is_all_that_is_wanted(more, rungs, weighs):
    space = parse_space(
        "{name: x, epochs: 9, parameters: {width: {low: 2, high: 9}}, search: {trials: 3}, "
        f"seeds: {{race: {{max: 8}}}}, {more}}}"
    )
    assert space.seeds.ladder == rungs
    assert race_of(space).kind.weighs is weighs


def test_a_search_finds_the_one_that_always_solves_in_few_seeds():
    rates = [*([0.0, 0.3, 0.1, 0.6, 0.2] * 8)[:37], 1.0, 0.9, 0.1]
    proposer = Scripted(at(*rates))
    session = run(space_of(trials=40, ladder=RUNGS), proposer, window=1, workers=1)
    told = {event[1]: event[2] for event in proposer.events if event[0] == "learn"}
    assert sorted(told) == list(range(40)), "the sampler hears of each"
    best = at(*rates)[37].key
    seeds = spent(session.evaluations)
    assert seeds[best] == max(seeds.values()) >= 16
    before = [e for e in session.evaluations if e.proposal < 37]
    assert sum(e.block.count for e in before) < 37 * 4


def test_who_failed_its_first_seed_is_not_lost_once_the_last_one_is_proposed():
    rates = [0.4, 0.1, 0.3] * 4 + [0.9]  # spread evenly: each fails its first seed
    proposer = Scripted(at(*rates))
    session = run(space_of(trials=13, ladder=RUNGS), proposer, window=1, workers=1)
    seeds = spent(session.evaluations)
    assert seeds[at(*rates)[-1].key] == max(seeds.values()) > 4


# -------------------------------------------------------------------------------------------------
# Results as they come: nobody waits, and the seeds of a config stay in their order.


def hasty(trials):
    space = space_of(trials=trials, ladder=RUNGS)
    return replace(space, search=replace(space.search, as_they_come=True))


def test_as_they_come_a_straggler_holds_up_nothing():
    queue = Queue(hasty(30), Scripted(at(*[0.1] * 30)), window=2)
    queue.next_job()  # never comes back
    for _ in range(20):
        queue.receive(queue.next_job())


def test_as_they_come_a_search_that_learns_nothing_goes_on_too():
    space = space_of(trials=9)
    space = replace(space, search=replace(space.search, as_they_come=True))
    session = run(space, Scripted(at(*[0.5] * 9)), window=None, workers=3, pick=lambda n: n - 1)
    assert sorted(session.proposed) == list(range(9))


@given(
    data=st.data(),
    rates=st.lists(st.sampled_from([0.0, 0.3, 0.8, 1.0]), min_size=1, max_size=8),
    window=st.integers(1, 6),
)
@settings(max_examples=10, deadline=None)
def test_all_is_trained_in_order_and_a_resumed_search_goes_on(data, rates, window):
    points = at(*rates) * 2  # each is proposed again, perhaps while it is under way
    space, pick = hasty(len(points)), lambda n: data.draw(st.integers(0, n - 1))
    session = run(space, Scripted(points), window=window, workers=4, pick=pick)
    session.assert_in_order()
    assert session.progress[-1].done == len(points)
    known = session.evaluations[: data.draw(st.integers(0, len(session.evaluations)))]
    rest = run(space, Scripted(points), window=window, workers=1, known=known)
    both = ranges([*known, *rest.evaluations])
    for blocks in both.values():
        seeds = [seed for _, first, count in blocks for seed in range(first, first + count)]
        assert len(seeds) == len(set(seeds)), "nothing is trained twice"
    assert set(both) == {point.key for point in points}


def test_a_search_says_that_its_seed_does_not_repeat_it_and_a_finished_one_is_done(tmp_path):
    text = TINY_SPACE.replace("trials: 3", "trials: 6, as_they_come: true")
    asked = parse_space(text.replace("ladder: [4]", "race: {max: 8}"))
    words: list[str] = []
    run = xt.search(asked, output=tmp_path / "run", listener=sentences(words.append))
    assert any("as they come" in word and "seed" in word for word in words)
    assert run.manifest["as_they_come"] is True
    assert run.manifest["window_least"] == 0, "trainings of milliseconds leave nothing unseen"
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
            return DEAD
        block = job.block
        steps = np.array([zlib.crc32(f"{block.point.key} {s}".encode()) % 99 for s in block.seeds])
        return replace(by_rate(job.block), details=Details(values={"steps": steps.astype(float)}))

    known = []
    for _ in range(2):
        window = 4 if races else None
        session = run(space, Scripted(chosen), window=window, train=train, known=known)
        results = ConfigResults(
            Evaluations.of([*known, *session.evaluations]), objectives=objectives, rungs=ladder
        )
        first = results[0].outcome
        best = session.progress[-1].best
        if first.successes or goal:  # by keys, which the progress does not know, if none solved any
            assert best == first.count
        known = [e for e in session.evaluations if e.proposal < cut]
