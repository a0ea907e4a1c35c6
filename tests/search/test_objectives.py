"""Several objectives in the search itself: reproducible, resumable, and not stopped too soon."""

from dataclasses import replace

import pandas as pd
import pytest
from drivers import without_ray
from fakes import DEAD, Scripted, run, spent
from hand_made import solved

import xortune as xt
from xortune.core.point import Point
from xortune.deciding.propose import proposer_for
from xortune.racing.objectives import sampler_values
from xortune.runs.run import load_run
from xortune.spaces.space import parse_space

SPACE = """
name: several
epochs: 1000
parameters:
  x: {choice: [a, b]}
  y: {low: 0.0, high: 1.0}
  h: {low: 2, high: 20}
  z: {low: 1, high: 9, when: {x: a}}
search: {sampler: SAMPLER, trials: 70, seed: 5}
seeds: {ladder: [8, 32]}
objectives: [success_rate, epochs_to_solve, h]
"""
NETWORK = """
name: tiny
epochs: 50
parameters:
  activation: Tanh
  loss: BCELoss
  optimizer: {choice: [SGD, Adam]}
  lr: {low: 0.05, high: 1.0, log: true}
  hidden_dim: {low: 2, high: 6}
search: {sampler: nsgaii, trials: 8, seed: 7}
seeds: {ladder: [8, 24]}
objectives: [success_rate, {name: hidden_dim, direction: minimize}]
"""


def space_of(sampler, trials=70):
    space = parse_space(SPACE.replace("SAMPLER", sampler))
    return replace(space, search=replace(space.search, trials=trials))


def train(job):
    """Better with h, sooner with y."""
    point, block = job.block.point, job.block
    k = round(block.count * min(1.0, 0.3 + point["h"] / 20))
    return solved(block.first, k, block.count, epoch=1 + int(900 * (1 - point["y"])))


def told_to(proposer):
    return [(t.params, t.values) for t in proposer._model._study.trials]


@pytest.mark.parametrize(
    ("sampler", "trials", "cut"),
    [
        ("tpe", 30, 23),
        ("nsgaii", 60, 54),
        ("gp", 11, 10),
    ],  # 54: of the second population; 10: the first that is no random one
)
def test_who_is_resumed_proposes_and_tells_the_same(sampler, trials, cut):
    space = space_of(sampler, trials)
    whole, again, rest = (proposer_for(space) for _ in range(3))
    first = run(space, whole, window=4, workers=1, train=train)
    other = run(space, again, window=4, pick=lambda n: n - 1, train=train)
    assert told_to(again) == told_to(whole)
    assert other.proposed == first.proposed
    known = [e for e in first.evaluations if e.proposal < cut]
    run(space, rest, window=4, workers=2, known=known, train=train)
    assert [params for params, _ in told_to(rest)] == [params for params, _ in told_to(whole)]
    counted = [v for _, v in told_to(whole) if v is not None]
    assert [v for _, v in told_to(rest) if v is not None] == counted
    assert {len(v) for v in counted} == {3}


def test_all_seeds_count_the_crashed_ones_at_the_full_budget():
    """What is told is counts and epochs, whatever came first."""
    space = replace(space_of("random", 2), seeds=replace(space_of("random").seeds, ladder=(8,)))
    proposer = Scripted([Point({"x": "b", "y": 0.5, "h": 3, "epochs": 1000})] * 2)
    results = (DEAD, solved(8, 8, 8, epoch=100))
    run(space, proposer, window=1, train=lambda job: results[job.proposal])
    [(_, point, _), _] = proposer.told
    found = [seen for *_, seen in proposer.told]
    assert [(s.k, s.n, s.spent) for s in found] == [(0, 8, 8000), (8, 16, 8800)]
    assert all(len(sampler_values(space.objectives, point, seen)) == 3 for seen in found)


def test_a_cheap_config_is_not_stopped_for_a_better_dear_one():
    """With the success rate alone it is."""
    points = [Point({"x": "b", "y": 0.5, "h": h}) for h in (20, 14, 6, 7)]
    space, seeds = space_of("random", len(points)), []
    space = replace(space, seeds=replace(space.seeds, ladder=(8, 32, 128)))
    for objectives in (space.objectives, space.objectives[:1]):
        session = run(
            replace(space, objectives=objectives), Scripted(points), window=1, train=train
        )
        seeds.append([spent(session.evaluations)[point.key] for point in points])
    several, alone = seeds
    assert several[2:] == [128, 128]
    assert alone[2] < 128


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    (folder / "tiny.yaml").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch.setattr)
        return xt.search(folder / "tiny.yaml", output=folder / "whole")


def test_a_search_has_a_front(searched):
    table = pd.read_csv(searched.path / "table.csv")
    assert table.columns[-1] == "front"
    full = table[table["n"] >= 24]
    for row in full.itertuples():
        as_good = full[(full["rate"] >= row.rate) & (full["hidden_dim"] <= row.hidden_dim)]
        better = (as_good["rate"] > row.rate) | (as_good["hidden_dim"] < row.hidden_dim)
        assert row.front == (not better.any())
    assert not table[table["n"] < 24]["front"].any()
    assert full["front"].any()
    assert pd.read_parquet(searched.path / "table.parquet")["front"].dtype == bool
    assert "## The Pareto front" in (searched.path / "report.md").read_text()
    assert load_run(searched.path).objectives == searched.asked.objectives
    assert searched.best == xt.Config.from_point(searched.results[0].point)


def test_a_search_that_is_resumed_ends_the_same(searched, tmp_path, monkeypatch):
    file = tmp_path / "tiny.yaml"
    file.write_text(NETWORK)
    without_ray(monkeypatch.setattr)
    xt.search(file, output=tmp_path / "part", trials=5)
    rest = xt.search(file, output=tmp_path / "part", trials=8, resume=True)
    pd.testing.assert_frame_equal(rest.table, searched.table)
