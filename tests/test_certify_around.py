"""Neighbours of finalists as a part of an attempt: their seeds, and when they are measured."""

from __future__ import annotations

import json

import pytest
from certified import (
    BASE,
    SPACE,
    Counting,
    certify,
    disjoint,
    run,
)
from hand_made import done, solved, write_run

from xortune.core.point import Point
from xortune.core.seeds import NEIGHBOURS
from xortune.runs.run import load_run

__all__ = ["run"]  # the fixture


def test_neighbours_have_seeds_of_their_own(run):
    cliff = Point({**BASE, "lr": 0.03, "hidden_dim": 2})
    found = certify(run, Counting(fails={cliff.key: 10}), top=2, neighbourhood=0.2)
    best, second = sorted(found.finalists, key=lambda f: f.rank)
    assert {n.parameter for n in best.neighbours} == {"lr", "hidden_dim"}
    assert [n.value for n in best.neighbours if n.parameter == "hidden_dim"] == [2, 4]
    [first] = {n.first for n in best.neighbours}
    assert first in NEIGHBOURS
    assert {n.first for n in second.neighbours} == {first + 100}
    assert {n.n for f in found.finalists for n in f.neighbours} == {100}
    worst = best.worst_neighbour
    assert (worst.key, worst.parameter, worst.value, worst.k) == (cliff.key, "hidden_dim", 2, 80)
    assert (best.k, best.n) == (100, 100)
    assert load_run(run.path).certificate == found
    values = json.loads((run.path / "certificate.json").read_text())
    shown = next(f for f in values["finalists"] if f["key"] == best.key)
    assert shown["worst_neighbour_rate"] == 0.8
    assert len(shown["neighbourhood"]) == 4
    assert disjoint(run.path)


def test_finalists_that_are_neighbours_of_each_other_do_not_clash(tmp_path):
    units = [Point({**BASE, "hidden_dim": h}) for h in (3, 4, 5)]
    lines = [done(i, p, solved(0, 8, 8, epochs=30)) for i, p in enumerate(units)]
    run = write_run(tmp_path / "near", lines, space_text=SPACE, trainer="network")
    found = certify(run, neighbourhood=0.2)
    assert all(len(f.neighbours) == 4 for f in found.finalists)
    assert load_run(run.path).certificate == found  # the journal can be read


def test_a_neighbourhood_is_measured_later_without_another_attempt(run):
    first = certify(run)
    trainer = Counting(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        certify(run, trainer, neighbourhood=0.2)
    found = certify(run, neighbourhood=0.2)
    assert len(found.attempts) == 1
    assert {n.n for f in found.finalists for n in f.neighbours} == {100}
    assert [f.lower_bound for f in found.finalists] == [f.lower_bound for f in first.finalists]
    assert len(certify(run, neighbourhood=0.2).attempts) == 2
