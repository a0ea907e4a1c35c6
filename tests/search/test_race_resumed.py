"""A search that was killed goes on as if it had not been; no seed is trained twice."""

import re
from dataclasses import dataclass, field, replace
from functools import cache, partial

import pytest
from fakes import LADDER, Scripted, at, by_rate, ranges, run, space_of, spent
from hand_made import solved
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.outcome import SeedCount, wilson
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.deciding.configs import ResultsByVersion
from xortune.deciding.propose import proposer_for
from xortune.racing.front import front_race
from xortune.racing.grants import proof_race, raced
from xortune.racing.objectives import SeedSummary
from xortune.racing.race import Race, RaceRule
from xortune.runs.evaluation import Evaluation, Evaluations
from xortune.runs.results import ConfigResults, by_version
from xortune.runs.sessions import differences
from xortune.spaces.grid import budget, grid
from xortune.spaces.model import rungs_up_to
from xortune.spaces.samplers import SAMPLERS, only_ranges, sampler_named
from xortune.spaces.space import parse_space

LADDERS = {"one": (8,), "ladder": LADDER, "race": rungs_up_to(64)}
GRID = """
name: fake
parameters: {x: {choice: [a, b]}, y: {low: 0.0, high: 1.0, step: 0.25}, v: 0.0}
search: {sampler: grid}
start: [{x: b, y: 0.5}]
"""
RANGES = """
name: fake
parameters: {y: {low: 0.0, high: 1.0}, v: {low: -3.0, high: 2.0}}
search: {sampler: SAMPLER, trials: 16}
"""


def asked(sampler, kind):
    takes_ranges = only_ranges in sampler_named(sampler).needs
    if sampler == "grid" or takes_ranges:
        text = RANGES.replace("SAMPLER", sampler) if takes_ranges else GRID
        return parse_space(f"{text}seeds: {{ladder: {list(LADDERS[kind])}}}\n")
    return space_of(sampler, trials=16, ladder=LADDERS[kind])


@cache
def whole(sampler, kind, window):
    space = asked(sampler, kind)
    # Several are under way and come back in another order, so that a cut leaves holes.
    pick = lambda n: n - 1 if n % 2 else 0  # noqa: E731
    return run(space, proposer_for(space), window=window, workers=4, pick=pick)


@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("sampler", [one.name for one in SAMPLERS if one.name != "gp"])  # slow
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_a_killed_search_goes_on_as_if_it_had_not_been(sampler, kind, data):
    window = data.draw(st.sampled_from([1, 7]), label="window")
    before = whole(sampler, kind, window)
    lines = before.evaluations
    known = lines[: data.draw(st.integers(0, len(lines)), label="lines")]
    if data.draw(st.booleans(), label="holes"):
        torn = data.draw(st.sets(st.integers(0, max(0, len(known) - 1)), max_size=5))
        known = [e for i, e in enumerate(known) if i not in torn]
    space, workers = asked(sampler, kind), data.draw(st.integers(1, 5))
    pick = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    given = {"window": window, "known": known, "workers": workers, "pick": pick}
    after = run(space, proposer_for(space), **given)
    assert ranges([*known, *after.evaluations]) == ranges(lines)
    assert len(known) + len(after.evaluations) == len(lines)
    if after.progress:
        last = after.progress[-1]
        assert last.done == last.total == before.progress[-1].done
        assert last.best == before.progress[-1].best
        assert last.fresh <= last.done


@pytest.mark.parametrize("window", [1, 7])
def test_a_resumed_race_takes_its_decisions_from_the_journal(window, monkeypatch):
    known, weigh, weighed = whole("random", "race", window).evaluations, Race.next, []

    def weighing(race, busy, *, last=False, **more):
        weighed.append(last)
        return weigh(race, busy, last=last, **more)

    monkeypatch.setattr(Race, "next", weighing)
    space = asked("random", "race")
    again = run(space, proposer_for(space), window=window, known=known)
    assert (len(again.evaluations), len(known) > 40) == (0, True)
    assert weighed.count(False) == 1  # for the last trial; what follows is decided anew


ONE = space_of(trials=1, ladder=LADDER)


def test_parts_of_a_block_are_taken_in_and_only_the_rest_is_trained():
    # A climb that was shared out over workers, of which one had not finished.
    [point] = at(1.0)
    blocks = [Block(point, *part) for part in ((0, 8), (13, 4), (20, 4), (50, 30))]
    known = [Evaluation(0, block, by_rate(block), None, True, 0.1, "w") for block in blocks]
    rest = run(ONE, Scripted([point]), known=known, window=3)
    missing = [(8, 5), (17, 3), (24, 26)]
    assert [(e.block.first, e.block.count) for e in rest.evaluations] == missing


def test_crashed_seeds_are_remembered():
    [point] = at(1.0)
    crashed = Evaluation(0, Block(point, 0, 8), None, "died", True, 0.1, "w")
    for known, seeds in ((crashed, 0), (replace(crashed, final=False), 80)):
        rest = run(ONE, Scripted([point]), known=[known], window=1)
        assert spent(rest.evaluations)[point.key] == seeds


# -------------------------------------------------------------------------------------------------
# A search that is extended: what was proposed stays, what comes next visits what is new.

BEFORE = """
name: fake
parameters:
  x: {{choice: [a, b]}}
  y: {{low: 0.1, high: 1.0, log: true}}
  z: {{low: 1, high: 5, when: {{x: [a]}}}}
  v: {{low: 0.0, high: 1.0, step: 0.1}}
  w: 7
search: {{sampler: {sampler}, trials: {trials}, seed: 3}}
seeds: {{ladder: {ladder}}}
"""
WIDER = [
    ("x: {choice: [a, b]}", "x: {choice: [a, c, b]}"),
    ("low: 0.1", "low: 0.001"),
    ("high: 5, when: {x: [a]}", "high: 9, when: {x: [a, c]}"),
    ("high: 1.0, step", "high: 1.5, step"),
    ("w: 7", "w: {choice: [7, 8]}"),
]


def extended(sampler, trials, changes=(), ladder=(10,)):
    text = BEFORE.format(sampler=sampler, trials=trials, ladder=list(ladder))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    if sampler == "cmaes":  # it takes no choices and no conditions
        text = re.sub(r"  x: .*\n|, when: \{.*?\}", "", text).replace("{choice: [7, 8]}", "7")
    return parse_space(text)


def searched(space, *, known=(), earlier=(), **more):
    """A search of its own: of a run's known evaluations, or from the beginning."""
    window = 2 if sampler_named(space.search.sampler).learns or raced(space) else None
    given = {"known": known, "window": window, "workers": 1, **more}
    return run(space, proposer_for(space, earlier), **given)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsgaii", "cmaes"])
def test_proposals_after_an_extension_visit_what_is_new(sampler):
    old, new = extended(sampler, 15), extended(sampler, 45, WIDER)
    assert all(one.refusal is None for one in differences(old, new))
    first = searched(old)
    rest = searched(new, known=first.evaluations, earlier=[old])
    assert sorted(rest.proposed) == list(range(15, 45)), "nothing is trained twice"
    assert (rest.progress[-1].done, rest.progress[-1].fresh) == (45, 30)
    points = [block.point for block in rest.proposed.values()]
    assert any(point["y"] < 0.1 for point in points)
    if sampler != "cmaes":  # which stays near what is good: the CPU's bits decide how near
        assert any(point["v"] > 1.0 for point in points)
        assert any(point["x"] == "c" for point in points)
        assert any(point["w"] == 8 for point in points)
        assert all(("z" in point) == (point["x"] in ("a", "c")) for point in points)
        assert any(point.get("z", 0) > 5 for point in points)
    assert len({point.key for point in points}) > 20


@pytest.mark.parametrize(
    ("sampler", "ladder"),
    [("random", (10,)), ("tpe", (4, 10)), ("nsgaii", (10,)), ("cmaes", (4, 10))],
)
def test_an_extended_search_that_is_killed_goes_on_as_if_it_had_not_been(sampler, ladder):
    old, new = extended(sampler, 8, (), ladder), extended(sampler, 24, WIDER, ladder)
    first = searched(old).evaluations
    rest = searched(new, known=first, earlier=[old]).evaluations
    for kept in (1, 5, 11):
        again = searched(new, known=[*first, *rest[:kept]], earlier=[old]).evaluations
        blocks = {(e.proposal, e.block) for e in again}
        assert blocks == {(e.proposal, e.block) for e in rest[kept:]}


def test_what_is_told_of_the_first_space_still_counts():
    """TPE goes where the first space was good; had that been forgotten, it would go nowhere."""

    def train(solves, job):
        k = 5 if solves is None else 10 * (job.block.point["x"] == solves)
        return solved(job.block.first, k, job.block.count)

    old, new = extended("tpe", 30), extended("tpe", 60, WIDER)
    proposed = {}
    for name in "ab":
        first = searched(old, train=partial(train, name)).evaluations
        rest = searched(new, known=first, earlier=[old], train=partial(train, None))
        proposed[name] = [block.point["x"] for block in rest.proposed.values()]
        assert "c" in proposed[name]
    assert proposed["a"].count("a") > proposed["b"].count("a") + 5
    assert proposed["b"].count("b") > proposed["a"].count("b") + 5


START = "start:\n  - {{x: b, y: 0.5, v: 0.3}}\n"
ADDED = (
    "  - {{x: b, y: 0.25, v: 0.4}}\n  - {{x: b, y: 0.5, v: 0.3}}\n  - {{x: b, y: 1.0, v: 0.0}}\n"
)


@pytest.mark.parametrize(("sampler", "lost"), [("random", ()), ("tpe", (2, 5))])
def test_what_is_added_to_start_comes_next_and_once(sampler, lost):
    def space(start, trials):
        text = BEFORE + start
        return parse_space(text.format(sampler=sampler, trials=trials, ladder=[10]))

    old, new = space(START, 8), space(START + ADDED, 14)
    known = [e for e in searched(old).evaluations if e.proposal not in lost]
    rest = searched(new, known=known, earlier=[old])
    numbers = [*lost, 8, 9][:2]
    # The second of those that were added was the first one already.
    assert [rest.proposed[n].point["y"] for n in numbers] == [0.25, 1.0]
    whole = [*known, *rest.evaluations]
    assert sorted(e.proposal for e in whole) == list(range(14))
    asked = [e.block.point for e in whole if e.block.point in new.start]
    assert len(asked) == 3
    for kept in (1, 2, 3):  # and so it stays
        again = searched(new, known=[*known, *rest.evaluations[:kept]], earlier=[old])
        assert again.proposed == {e.proposal: e.block for e in rest.evaluations[kept:]}


SMALL_GRID = """
name: g
parameters:
  x: {choice: [a, b]}
  z: {low: 1, high: 3, when: {x: [a]}}
  v: {low: 0.5, high: 1.0, step: 0.25}
search: {sampler: grid}
seeds: {ladder: [4]}
start: [{x: b, v: 1.0}]
"""
LARGER = SMALL_GRID.replace("[a, b]", "[c, b, a]").replace("low: 1, high: 3", "low: 0, high: 4")
LARGER = LARGER.replace("low: 0.5", "low: 0.0")
LARGEST = LARGER.replace("1.0}]", "1.0}, {x: c, v: 0.0}]").replace("high: 4", "high: 6")


def test_a_grid_that_grows_keeps_its_numbers_and_misses_nothing():
    spaces = [parse_space(text) for text in (SMALL_GRID, LARGER, LARGEST)]
    known, before = [], []
    for index, space in enumerate(spaces):
        session = searched(space, known=known, earlier=spaces[:index])
        assert sorted(session.proposed) == list(range(len(before), budget(space)))
        known = [*known, *session.evaluations]
        before = sorted(known, key=lambda e: e.proposal)
        found = [e.block.point for e in before]
        assert len(set(found)) == len(found) == budget(space)
        assert set(found) == {*grid(space), *space.start}


def costs(point):
    """A second, or ten, of which nothing is known before a seed of the point is trained."""
    each = 10.0 if point["x"] == "a" else 1.0
    return SeedSummary(1, 1, timed_blocks=((each, 1),))


@pytest.mark.parametrize("seeds", ["{ladder: [4]}", "{race: {max: 4}, price: seconds}"])
@given(lost=st.sets(st.integers(0, 11)))
def test_a_grid_that_grows_fills_what_a_kill_left_open(seeds, lost):
    old, new = (parse_space(text.replace("{ladder: [4]}", seeds)) for text in (SMALL_GRID, LARGER))
    first, whole = proposer_for(old), []
    for number in range(budget(old)):
        whole.append(first.propose(number))
        first.see(whole[-1], costs(whole[-1]))
    lost = {number for number in lost if number < len(whole)}
    proposer = proposer_for(new, [old])
    found = []
    for number in range(budget(new)):
        if number < len(whole) and number not in lost:
            proposer.replay(number, whole[number])
            found.append(whole[number])
        else:
            found.append(proposer.propose(number))
        proposer.see(found[-1], costs(found[-1]))
    assert found[: len(whole)] == whole
    assert {p.key for p in found} == {p.key for p in grid(new)}
    assert proposer.propose(budget(new)) is None


# -------------------------------------------------------------------------------------------------
# Where versions changed within a run, the race and the sampler see seeds of one version only.

A, B, C = "a" * 8, "b" * 8, "c" * 8
RATES = (1.0, 0.9, 0.5, 1.0, 0.0, 0.8)


@dataclass
class Heard(Scripted):
    """Notes what the race sees, too."""

    raced: dict[str, tuple[int, int]] = field(default_factory=dict)

    def listen(self, queue):
        if (race := queue.decisions.contest.race) is None:
            return
        see = race.see

        def listening(key, successes, n, **more):
            self.raced[key] = successes, n
            see(key, successes, n, **more)

        race.see = listening


def as_made_by(fingerprint):
    """Each version has rates of its own: pooled ones would be nobody's."""
    shift = {A: 0.0, B: -0.15, C: -0.3}[fingerprint]

    def train(job):
        point = {**job.block.point, "y": max(job.block.point["y"] + shift, 0.0)}
        return by_rate(replace(job.block, point=Point(point)))

    return train


def session(points, ladder, fingerprint, **more):
    proposer, space = Heard(list(points)), space_of(trials=len(points), ladder=ladder)
    more |= {"fingerprint": fingerprint, "train": as_made_by(fingerprint)}
    return run(space, proposer, on_queue=proposer.listen, **more), proposer


def counts(lines):
    """Successes and seeds of each config, as its table has them."""
    counted, _ = by_version(Evaluations.of(lines))
    found = ConfigResults(counted)
    return dict(zip(found.keys, zip(found.counts.k, found.counts.n, strict=True), strict=True))


@cache
def begun(repeated, ladder, window):
    points = [p for p in at(*RATES) for _ in range(2 if repeated else 1)]
    found, _ = session(points, ladder, A, window=window, workers=window, pick=lambda n: n - 1)
    return points, found.evaluations


@pytest.mark.parametrize("ladder", [rungs_up_to(32), (4,)])
@given(data=st.data(), repeated=st.booleans(), window=st.sampled_from([1, 5]))
@settings(max_examples=12)
def test_the_race_and_the_sampler_see_what_the_table_has(ladder, data, repeated, window):
    points, lines = begun(repeated, ladder, window)
    known = lines[: data.draw(st.integers(0, len(lines)), label="of A")]
    given = {"window": window, "workers": window}
    second, _ = session(points, ladder, B, known=known, **given)
    cut = data.draw(st.integers(0, len(second.evaluations)), label="of B")
    both = [*known, *second.evaluations[:cut]]
    fingerprint = data.draw(st.sampled_from([A, B, C]), label="third")
    third, proposer = session(points, ladder, fingerprint, known=both, **given)
    every = [*both, *third.evaluations]
    table = counts(every)
    assert {e.fingerprint for e in third.evaluations} <= {fingerprint}
    if len(ladder) > 1:
        assert proposer.raced == table
    told = dict.fromkeys(range(len(points)))
    ways = {point.key: prefixes(every, point.key) for point in points}
    for number, point, seen in proposer.told:
        assert told[number] is None, "told twice"
        told[number] = point.key
        assert (seen.k, seen.n) in ways[point.key], "pooled"
    assert None not in told.values()
    last = third.progress[-1] if third.progress else second.progress[-1]
    assert (last.done, last.total) == (len(points), len(points)), "the budget is exact"
    third.assert_in_order(both)
    if third.progress:
        first = max(table.values(), key=lambda c: (float(wilson(*c)[0]), c[1]))
        assert last.best == SeedCount(*first)
    if fingerprint == B:  # what goes on as it was goes on as if it had not been interrupted
        assert ranges(every) == ranges([*known, *second.evaluations])


def test_seeds_of_another_version_do_not_count_toward_a_rung():
    [point] = at(1.0)
    block = Block(point, 0, 8)
    known = replace(Evaluation(0, block, by_rate(block), None, True, 0.1, "w"), fingerprint=A)
    rest = run(ONE, Scripted([point]), known=[known], fingerprint=B, window=0)
    blocks = [(e.block.first, e.block.count) for e in rest.evaluations]
    assert blocks == [(8, 16), (24, 8), (32, 56)], "16, 24 and 80 of its own"


def prefixes(lines, key):
    """What the counts of a config were after each of its blocks, those of lower seeds first."""
    found = sorted((e for e in lines if e.block.point.key == key), key=lambda e: e.block.first)
    return [counts(found[: n + 1])[key] for n in range(len(found))]


PARTS = st.lists(
    st.tuples(st.sampled_from([A, B, C]), st.integers(1, 3), st.integers(0, 3)), max_size=12
)


@given(given=PARTS, order=st.randoms(use_true_random=False))
def test_which_version_counts_depends_on_no_order(given, order):
    parts, first = [], 0
    for fingerprint, n, k in given:
        parts.append((fingerprint, first, SeedSummary(min(k, n), n)))
        first += n
    order.shuffle(shuffled := list(parts))
    apart, halves = ResultsByVersion(), (ResultsByVersion(), ResultsByVersion())
    for index, part in enumerate(shuffled):
        apart.add(*part)
        halves[index % 2].add(*part)
    joined = ResultsByVersion()
    changes = [joined.join(half) for half in halves]
    assert changes[0] is False
    if not parts:
        assert apart.parts == {}
        return
    seeds = {one: sum(c.n for other, _, c in parts if other == one) for one, _, _ in parts}
    most = max(seeds, key=seeds.__getitem__)  # the first of equal ones: that of the lowest seed
    solved = sum(c.k for m, _, c in parts if m == most)
    for found in (apart, joined):
        assert found.fingerprint == most
        assert (found.counted.n, found.counted.k) == (seeds[most], solved)
        assert found.superseded == sum(seeds.values()) - seeds[most]
        assert {m: c.n for m, (_, c) in found.parts.items()} == seeds
    assert changes[1] == (bool(halves[0].parts) and halves[0].fingerprint != most)


# What a race forgets


def test_what_was_proven_of_a_version_is_not_proven_of_the_next():
    race, alone = Race(RaceRule((8, 64))), Race(RaceRule((8, 64)))
    others = [("y", 60, 64), ("z", 8, 64)]
    for name, k, n in (("x", 64, 64), *others):
        race.see(name, k, n)
        alone.enter(name)
    for seen in others:
        alone.see(*seen)
    assert race.leader == "x"
    before = race.proven
    race.forget("x")
    assert race.leader == "y"
    assert race.proven == alone.proven < before
    assert race.is_stopped("z")
    numbers = {name: race.enter(name) for name in "xyz"}
    assert numbers == {"x": 4, "y": 2, "z": 3}, "another number: a share of alpha of its own"
    race.see("x", 64, 64)
    assert race.leader == "x"
    assert race.proven < before, "the share of number 4 is less"


@pytest.mark.parametrize("kind", [proof_race, lambda rule: front_race(rule, 1)])
def test_who_is_forgotten_neither_climbs_nor_stops_anybody(kind):
    grants = kind(RaceRule((8, 64, 512), finalists=None))

    def see(name, k, n):
        grants.see(name, k, n, speed=0.5, costs=(1.0,))

    for name in "xyz":
        grants.enter(name)
    see("x", 512, 512)
    see("y", 3, 8)
    assert grants.leader == "x"
    grants.forget("x")
    assert grants.leader == "y"
    see("z", 7, 64)  # far worse than x was, and not than y is
    assert grants.next(busy={"y": 504}) == "z"
    grants.forget("z")
    assert grants.next(busy={"y": 504}) is None
    see("x", 60, 64)
    assert grants.enter("x") == 4
    assert grants.leader == "x"
    assert grants.next(busy={}) == "x"
    grants.forget("x")
    grants.forget("y")
    assert grants.next(busy={}) is None
    assert grants.proven == 0
    assert grants.leader is None
