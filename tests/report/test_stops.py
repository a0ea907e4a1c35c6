"""Why configs got no more seeds: held against races whose end is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hand_made import done, failed, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xortune.core.point import Point
from xortune.racing.front import FrontGrants
from xortune.racing.grants import Grants, seeds_at_first
from xortune.racing.objectives import Seen, speed
from xortune.racing.race import Race, RaceRule
from xortune.reports.figures import seeds as stops
from xortune.reports.figures.seeds import Stop, _enter, _worse, stops_of

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)

RUNGS = (4, 8, 32, 128)
SPACE = """
name: raced
epochs: 1000
parameters:
  activation: Tanh
  loss: MSELoss
  optimizer: Adam
  lr: {low: 0.01, high: 0.1, log: true}
  hidden_dim: {low: 2, high: 90}
search: {sampler: random, trials: 20}
seeds: {ladder: [4, 8, 32, 128]}
"""
FRONT = SPACE + "objectives: [success_rate, hidden_dim]\n"

RATES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.97, 1.0]), st.integers(1, 900)),
    min_size=2,
    max_size=14,
)


class Raced:
    """A race by hand: who gets seeds is what `grants` says, and every block is a journal's line."""

    def __init__(self, rates, grants, climbs=None):
        self.rates, self.grants, self.lines, self.had = rates, grants, [], {}
        for number in range(len(rates)):
            grants.enter(number)
            rung = RUNGS[0]
            while rung is not None:
                rung = seeds_at_first(RUNGS, *self.train(number, rung))
        while climbs is None or climbs > 0:
            number = grants.next((), last=True)
            if number is None:
                break
            self.train(number, next(r for r in RUNGS if r > self.had[number][1]))
            climbs = None if climbs is None else climbs - 1
        self.going = set()
        while (number := grants.next(self.going)) is not None:
            self.going.add(number)

    def train(self, number, rung):
        rate, epoch = self.rates[number]
        k, n = self.had.get(number, (0, 0))
        if rate > 1:  # so many seeds are solved, and then no more
            gained = max(0, min(rung, rate) - n)
        else:
            gained = sum(int((s + 1) * rate) > int(s * rate) for s in range(n, rung))
        more = solved(n, gained, rung - n, epoch=epoch)
        self.lines.append(done(number, self.point(number), more))
        self.had[number] = k + gained, rung
        seeds = [line.outcome for line in self.lines if line.proposal == number]
        spent = sum(outcome.epochs_spent for outcome in seeds)
        self.grants.see(number, k + gained, rung, **self.more(number, spent, rung))
        return k + gained, rung

    def point(self, number):
        return {
            "activation": "Tanh",
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": 0.01,
            "hidden_dim": 2 + number,
            "epochs": 1000,
            "zero_grad": True,
        }

    def more(self, number, spent, n):
        if isinstance(self.grants, FrontGrants):
            return {"costs": (2.0 + number,)}
        return {"speed": speed(Seen(self.point(number), 0, n, spent))}

    def run(self, path, space=SPACE, **more):
        manifest = {"trainer": "network", "ladder": list(RUNGS), "task": "xor"}
        return write_run(path, self.lines, space_text=space, **manifest | more)


def found(run):
    """The reason for each config, by its number."""
    pairs = zip(run.results, stops_of(run), strict=True)
    return {int(result.point["hidden_dim"]) - 2: stop for result, stop in pairs}


@ANY
@given(RATES, st.none() | st.integers(0, 12))
def test_a_race_for_the_rate(tmp_path_factory, rates, climbs):
    rule = RaceRule(RUNGS)
    raced = Raced(rates, Grants(rule), climbs)
    race = Race(rule)
    for number in range(len(rates)):
        race.enter(number)
    counts = {}
    for line in raced.lines:
        k, n = counts.get(line.proposal, (0, 0))
        counts[line.proposal] = k + line.outcome.successes, n + line.outcome.n
        race.see(line.proposal, *counts[line.proposal])
    for number, stop in found(raced.run(tmp_path_factory.mktemp("raced") / "run")).items():
        k, n = raced.had[number]
        if n == RUNGS[-1]:
            assert stop == Stop.FULL
        elif not k:
            assert stop == Stop.UNSOLVED
        elif race.is_stopped(number, k, n):
            assert stop == Stop.WORSE
        elif number in raced.going:
            assert stop == Stop.ENDED
        else:
            assert stop == (Stop.QUICKER if k == n else Stop.AHEAD)
    if climbs is None:
        assert raced.going == set()  # it went on to its end


@pytest.mark.parametrize("leader", [[(512, 512)], [(64, 64), (64, 128)], [(3, 8)]])
def test_who_is_proven_worse_is_said_by_the_race(leader):
    # Every count up to 40 seeds, of configs that entered early and late; the leader among them.
    counts = [(k, n) for n in range(1, 41) for k in range(n + 1)] + [leader[-1]]
    shorts = [
        SimpleNamespace(key=number, outcome=SimpleNamespace(successes=k, n=n))
        for number, (k, n) in enumerate(counts, 1)
    ]
    race = Race(RaceRule(RUNGS))
    for short in shorts:
        race.enter(short.key)
    for k, n in leader:
        race.see(len(counts), k, n)
    lost = _worse(race, shorts, {short.key: short.key for short in shorts})
    assert lost == [race.is_stopped(at, *found) for at, found in enumerate(counts, 1)]
    assert any(lost) == (leader[0] != (3, 8))
    assert not all(lost)


def test_configs_enter_in_the_order_of_their_proposals(tmp_path):
    points = [Raced.point(None, number) for number in range(3)]
    lines = [
        done(proposal, points[number], solved(first, 4, 4))
        for proposal, number, first in [(2, 0, 0), (0, 1, 0), (5, 2, 0), (1, 2, 4)]
    ]
    numbers = _enter(write_run(tmp_path / "run", lines), Race(RaceRule(RUNGS)))
    assert [numbers[Point(point).key] for point in points] == [3, 1, 2]


@ANY
@given(RATES, st.none() | st.integers(0, 12))
def test_a_race_for_a_front(tmp_path_factory, rates, climbs):
    raced = Raced(rates, FrontGrants(RaceRule(RUNGS)), climbs)
    objectives = [
        {"name": "success_rate", "direction": "maximize"},
        {"name": "hidden_dim", "direction": "minimize"},
    ]
    run = raced.run(tmp_path_factory.mktemp("front") / "run", FRONT, objectives=objectives)
    for number, stop in found(run).items():
        k, n = raced.had[number]
        if n == RUNGS[-1]:
            assert stop == Stop.FULL
        elif not k:
            assert stop == Stop.UNSOLVED
        else:
            assert stop == (Stop.ENDED if number in raced.going else Stop.DOMINATED)


KINDS = [(1.0, 20), (0.0, 20), (0.3, 20), (0.5, 20)]


def test_a_race_with_most_reasons(tmp_path):
    others = [(1.0, 500), (0.9, 20), (8, 1), (0.0, 1)]
    raced = Raced([(1.0, 20)] * 5 + others, Grants(RaceRule(RUNGS)))
    reasons = found(raced.run(tmp_path / "run"))
    assert [reasons[number] for number in range(5)] == [Stop.FULL] * 5
    assert [reasons[number] for number in range(5, 9)] == [
        *(Stop.QUICKER, Stop.AHEAD, Stop.WORSE, Stop.UNSOLVED)
    ]


@pytest.mark.parametrize(
    ("space", "more"),
    [("name: unreadable\n", {}), (SPACE, {"ladder": [4, 8, 128]}), (SPACE, {"ladder": None})],
)
def test_without_the_rule_nothing_is_said(tmp_path, space, more):
    raced = Raced(KINDS, Grants(RaceRule(RUNGS)))
    assert set(found(raced.run(tmp_path / "run", space, **more)).values()) == {
        Stop.FULL,
        Stop.EARLY,
    }


def test_seeds_of_several_versions_tell_nothing(tmp_path):
    raced = Raced(KINDS, Grants(RaceRule(RUNGS)))
    raced.lines.append(replace(done(1, raced.point(1), solved(4, 2, 2)), made="1" * 8))
    run = raced.run(tmp_path / "run")
    assert run.set_aside
    assert found(run)[1] == Stop.EARLY


def test_without_a_race_only_the_end_of_the_search_can_stop_one(tmp_path):
    lines = [
        done(0, Raced.point(None, 0), solved(0, 4, 4)),
        done(1, Raced.point(None, 1), solved(0, 1, 2)),
        failed(1, Raced.point(None, 1), 2, 2, final=False),
    ]
    space = SPACE.replace("[4, 8, 32, 128]", "[4]")
    run = write_run(tmp_path / "run", lines, space_text=space, trainer="network", ladder=[4])
    assert found(run) == {0: Stop.FULL, 1: Stop.ENDED}


def test_what_would_take_too_long_is_not_told(tmp_path, monkeypatch):
    monkeypatch.setattr(stops, "MOST_OPEN", 1)
    raced = Raced([(1.0, 20)] * 4, Grants(RaceRule(RUNGS)), climbs=0)
    assert set(found(raced.run(tmp_path / "run")).values()) == {Stop.EARLY}
