"""Where versions changed within a run, the race and the sampler see seeds of one version only."""

from dataclasses import dataclass, field
from functools import cache

import pytest
from fakes import Scripted, anywhere, at, ranges, space_of
from hand_made import solved
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.outcome import wilson
from xortune.driver.decisions import Count, ProvenanceGroups
from xortune.racing.grants import FrontGrants, Grants
from xortune.racing.race import Race, RaceRule
from xortune.runs.evaluation import Evaluations
from xortune.runs.results import ConfigResults, by_version
from xortune.spaces.model import rungs_up_to

A, B, C = "a" * 8, "b" * 8, "c" * 8
RUNGS = rungs_up_to(32)
RATES = (1.0, 0.9, 0.5, 1.0, 0.0, 0.8)


@dataclass
class Heard(Scripted):
    """Notes what the race sees, too."""

    raced: dict[str, tuple[int, int]] = field(default_factory=dict)

    def listen(self, queue):
        if (race := queue._race) is None:
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
        block = job.block
        rate = max(block.point["y"] + shift, 0.0)
        k = sum(int((s + 1) * rate) > int(s * rate) for s in block.seeds)
        return solved(block.first, k, block.count)

    return train


def session(points, ladder, fingerprint, known=(), **more):
    proposer = Heard(list(points))
    found = anywhere(
        space=space_of(trials=len(points), ladder=ladder),
        proposer=proposer,
        known=known,
        fingerprint=fingerprint,
        train=as_made_by(fingerprint),
        on_queue=proposer.listen,
        **more,
    )
    return found, proposer


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


@pytest.mark.parametrize("ladder", [RUNGS, (4,)])
@given(data=st.data(), repeated=st.booleans(), window=st.sampled_from([1, 5]))
@settings(max_examples=12)
def test_the_race_and_the_sampler_see_what_the_table_has(ladder, data, repeated, window):
    points, lines = begun(repeated, ladder, window)
    known = lines[: data.draw(st.integers(0, len(lines)), label="of A")]
    second, _ = session(points, ladder, B, known, window=window, workers=window)
    cut = data.draw(st.integers(0, len(second.evaluations)), label="of B")
    both = [*known, *second.evaluations[:cut]]
    fingerprint = data.draw(st.sampled_from([A, B, C]), label="third")
    third, proposer = session(points, ladder, fingerprint, both, window=window, workers=window)
    every = [*both, *third.evaluations]
    table = counts(every)
    assert {e.fingerprint for e in third.evaluations} <= {fingerprint}
    if len(ladder) > 1:
        assert proposer.raced == table
    told = dict.fromkeys(range(len(points)))
    for number, seen in proposer.told:
        assert told[number] is None, "told twice"
        told[number] = seen.point.key
        assert (seen.successes, seen.n) in prefixes(every, seen.point.key), "pooled"
    assert None not in told.values()
    last = third.progress[-1] if third.progress else second.progress[-1]
    assert (last.done, last.total) == (len(points), len(points)), "the budget is exact"
    for blocks in ranges(every).values():  # no seed twice, none left out
        end = 0
        for _, first, count in blocks:
            assert first == end
            end += count
    if third.progress:
        assert last.best == max(table.values(), key=lambda c: (float(wilson(*c)[0]), c[1]))
    if fingerprint == B:  # what goes on as it was goes on as if it had not been interrupted
        assert ranges(every) == ranges([*known, *second.evaluations])


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
        parts.append((fingerprint, first, Count(min(k, n), n)))
        first += n
    order.shuffle(shuffled := list(parts))
    apart, halves = ProvenanceGroups(), (ProvenanceGroups(), ProvenanceGroups())
    for index, part in enumerate(shuffled):
        apart.add(*part)
        halves[index % 2].add(*part)
    joined = ProvenanceGroups()
    changes = [joined.join(half) for half in halves]
    assert changes[0] is False
    if not parts:
        assert apart.parts == {}
        return
    seeds = {one: sum(c.n for other, _, c in parts if other == one) for one, _, _ in parts}
    most = max(seeds, key=seeds.__getitem__)  # the first of equal ones: that of the lowest seed
    for found in (apart, joined):
        assert found.fingerprint == most
        assert found.counted.n == seeds[most]
        assert found.counted.successes == sum(c.successes for m, _, c in parts if m == most)
        assert found.superseded == sum(seeds.values()) - seeds[most]
        assert {m: c.n for m, (_, c) in found.parts.items()} == seeds
    assert changes[1] == (bool(halves[0].parts) and halves[0].fingerprint != most)


# What a race forgets


def test_what_was_proven_of_a_version_is_not_proven_of_the_next():
    race = Race(RaceRule((8, 64)))
    for name, k in (("x", 64), ("y", 60), ("z", 8)):
        race.see(name, k, 64)
    assert race.leader == "x"
    before = race.proven
    numbers = {name: race.enter(name) for name in "xyz"}
    alone = Race(RaceRule((8, 64)))
    for name in "xyz":
        alone.enter(name)
    for name, k in (("y", 60), ("z", 8)):
        alone.see(name, k, 64)
    race.forget("x", [("y", 60, 64), ("z", 8, 64)])
    assert race.leader == "y"
    assert race.proven == alone.proven < before
    assert race.is_stopped("z", 8, 64)
    assert [race.enter(name) for name in "yz"] == [numbers["y"], numbers["z"]]
    assert race.enter("x") == 4, "another number, and so a share of alpha of its own"
    race.see("x", 64, 64)
    assert race.leader == "x"
    assert race.proven < before, "the share of number 4 is less"


@pytest.mark.parametrize("kind", [Grants, FrontGrants])
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
    assert grants.next(busy=("y",)) == "z"
    grants.forget("z")
    assert grants.next(busy=("y",)) is None
    see("x", 60, 64)
    assert grants.enter("x") == 4
    assert grants.leader == "x"
    assert grants.next(busy=()) == "x"
    grants.forget("x")
    grants.forget("y")
    assert grants.next(busy=()) is None
    assert grants.proven == 0
    assert grants.leader is None
