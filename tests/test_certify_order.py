"""Finalists in the order of their neighbourhoods: what is compared, kept, shown and refused."""

import json

import numpy as np
import pytest
from certified import BASE, KEYS, POINTS, SPACE, Counting, certify, run
from commands import xortune
from hand_made import done, solved, write_run

import xortune as xt
from xortune.core.point import Point
from xortune.runs.certificate import certificate_of, lower_bound, read_certificate, risk_of
from xortune.runs.run import load_run

__all__ = ["run"]  # the fixture

CLIFF = Point({**BASE, "lr": 0.03, "hidden_dim": 2})
"""A neighbour of the search's first, KEYS[1]."""

EDGE = {CLIFF.key: 25, KEYS[2]: 2}
"""KEYS[1] solves all its seeds, but lies beside the cliff; KEYS[2] fails two, and has none."""

AROUND = {"neighbourhood": 0.2, "by": "neighbourhood"}


def order(found):
    return [f.key for f in found.finalists]


def test_the_worst_around_orders_the_finalists(run):
    found = certify(run, Counting(EDGE), top=2, **AROUND)
    assert order(found) == [KEYS[2], KEYS[1]]
    assert found.latest.by == "neighbourhood"
    plateau, edge = found.finalists
    assert plateau.lower_bound < edge.lower_bound  # by themselves it is the other way round
    alpha = risk_of(1, 0.95, 2)
    # Its own two failures are the worst of the plateau, the cliff's 25 (in each block) of the edge.
    for result, k in ((plateau, 96), (edge, 50)):
        expected = lower_bound(k, 100, alpha=alpha, bound="clopper-pearson")
        assert result.neighbourhood_bound == pytest.approx(expected)
    assert plateau.neighbourhood_bound == plateau.lower_bound
    assert load_run(run.path).certificate == found == certificate_of(load_run(run.path).checks)


def test_by_itself_the_own_bound_orders_them(run):
    found = certify(run, Counting(EDGE), top=2, neighbourhood=0.2)
    assert order(found) == [KEYS[1], KEYS[2]]
    assert found.latest.by == "own"
    assert found.best.neighbourhood_bound < found.finalists[1].neighbourhood_bound


def test_gate_and_export_take_the_first_of_that_order(run):
    certify(run, Counting(EDGE), top=2, **AROUND)
    bound = load_run(run.path).certificate.best.lower_bound
    verdict = xt.gate(load_run(run.path), min_rate=round(bound - 1e-4, 4))
    assert verdict.passed
    assert not xt.gate(load_run(run.path), min_rate=round(bound + 1e-4, 4)).passed
    assert f"# Config {KEYS[2]}," in xt.export(load_run(run.path))
    result = xortune("export", run.path)
    assert f"{KEYS[2]} is the certificate's first; the search's first was {KEYS[1]}" in (
        result.stderr
    )


def test_the_lowest_bound_needs_no_split_over_the_neighbours():
    # Five finalists, each and its eight neighbours with one rate: the hardest case for the lowest.
    rng = np.random.default_rng(2)
    alpha = risk_of(1, 0.95, 5)
    bounds = np.array(
        [lower_bound(k, 100, alpha=alpha, bound="clopper-pearson") for k in range(101)]
    )
    counts = rng.binomial(100, 0.8, size=(4000, 5, 9))
    wrong = (bounds[counts].min(axis=2) > 0.8).any(axis=1).mean()
    assert wrong <= 0.025
    # One low neighbour among eight plateaus: the bound is as near as that of the neighbour alone.
    counts = rng.binomial(100, [0.8] + 8 * [0.999], size=(4000, 5, 9))
    wrong = (bounds[counts].min(axis=2) > 0.8).any(axis=1).mean()
    assert 0.005 < wrong <= 0.025 + 3 * (0.025 / 4000) ** 0.5
    pooled = (bounds[counts.mean(axis=2).astype(int)] > 0.8).any(axis=1).mean()
    assert pooled > 0.99  # what a mean over the neighbours says of the worst


def test_an_interrupted_one_is_not_complete_until_all_neighbours_are(run):
    with pytest.raises(KeyboardInterrupt):
        # Blocks of all seeds: after the finalists and one neighbour the others have not begun.
        certify(run, Counting(EDGE, stop_after=3, seconds=1e-6), top=2, **AROUND)
    part = load_run(run.path).certificate
    assert part.latest is None
    assert {f.n for f in part.attempts[0].finalists} == {100}
    assert [f.neighbourhood_bound for f in part.attempts[0].finalists] == [None, None]
    with pytest.raises(xt.InputError, match="no attempt to certify is finished"):
        assert part.best
    found = certify(run, Counting({CLIFF.key: 25}, seconds=1e-6), top=2, **AROUND)
    assert len(found.attempts) == 1
    assert order(found) == [KEYS[2], KEYS[1]]


def test_neighbours_may_come_to_order_an_attempt_later(run):
    first = certify(run, Counting(EDGE), top=2)
    assert order(first) == [KEYS[1], KEYS[2]]
    found = certify(run, Counting(EDGE), top=2, **AROUND)
    assert len(found.attempts) == 1
    assert order(found) == [KEYS[2], KEYS[1]]
    by_key = {f.key: f.lower_bound for f in first.finalists}
    assert {f.key: f.lower_bound for f in found.finalists} == by_key
    # What they order stays so: another order is another attempt, as is the same once more.
    assert certify(run, Counting(EDGE), top=2).latest.number == 2
    assert certify(run, Counting(EDGE), top=2, **AROUND).attempts[1].by == "neighbourhood"


def test_what_is_complete_is_not_trained_again_for_another_order(run):
    certify(run, Counting(EDGE), top=2, neighbourhood=0.2)
    trainer = Counting()
    with pytest.raises(xt.InputError, match="attempt 1 has all of this already") as caught:
        certify(run, trainer, top=2, **AROUND)
    assert caught.value.field == "by"
    assert "another finalist with key" in str(caught.value)
    assert trainer.blocks == []
    assert load_run(run.path).certificate.latest.by == "own"


def test_neighbours_of_an_earlier_fraction_count_too(run):
    certify(run, Counting(EDGE), top=2, neighbourhood=0.2)
    found = certify(run, Counting(EDGE), top=2, neighbourhood=0.5, by="neighbourhood")
    assert len(found.attempts) == 1
    assert len(found.finalist(KEYS[1]).neighbours) == 6
    assert order(found) == [KEYS[2], KEYS[1]]


def test_an_extension_keeps_the_order(run):
    certify(run, Counting(EDGE), top=2, extendable=True)
    certify(run, Counting(EDGE), top=2, extendable=True, **AROUND)
    found = certify(run, Counting(EDGE), seeds=50, extend=True)
    assert [a.by for a in found.attempts] == ["neighbourhood"]
    assert order(found) == [KEYS[2], KEYS[1]]
    assert {f.n for f in found.finalists} == {150}
    assert {n.n for f in found.finalists for n in f.neighbours} == {100}
    again = load_run(run.path).certificate
    assert again == found == certificate_of(load_run(run.path).checks)


def test_nothing_to_move_gives_no_order(tmp_path):
    fixed = SPACE.replace("lr: {low: 0.01, high: 0.1, log: true}", "lr: 0.03")
    fixed = fixed.replace("hidden_dim: {low: 2, high: 9}", "hidden_dim: 3")
    bare = write_run(
        tmp_path / "bare", [done(0, POINTS[1], solved(0, 8, 8, epochs=30))], space_text=fixed
    )
    trainer = Counting()
    with pytest.raises(xt.InputError, match="no finalist has a setting that can be moved"):
        certify(bare, trainer, **AROUND)
    assert trainer.blocks == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--by", "neighbourhood"), "--by: 'neighbourhood' needs measured neighbours"),
        (("--by", "neighborhood", "--neighbourhood", "0.2"), "did you mean 'neighbourhood'?"),
        (("--extend", "--by", "own"), "--by: 'own'; allowed: at the beginning of an attempt"),
    ],
)
def test_the_command_refuses(run, words, message):
    result = xortune("certify", run.path, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]
    assert not load_run(run.path).checks


def test_the_order_is_recorded_and_shown(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("xortune.driver.certify.trainer_of", lambda *_, **__: Counting(EDGE))
    found = xt.certify(run, top=2, seeds=100, **AROUND)
    values = json.loads((run.path / "certificate.json").read_text())
    assert values["by"] == values["attempts"][0]["by"] == "neighbourhood"
    assert [f["key"] for f in values["finalists"]] == [KEYS[2], KEYS[1]]
    assert [f["neighbourhood_lower_bound"] for f in values["finalists"]] == [
        f.neighbourhood_bound for f in found.finalists
    ]
    shown = " ".join(xortune("report", run.path).stdout.split())
    report = " ".join((run.path / "report.md").read_text().split())
    edge = int(found.finalists[1].neighbourhood_bound * 1e4) / 100
    for text in (shown, report):
        assert "They order the finalists." in text
        assert f"all at least {edge:.2f} %" in text
    assert report.index("96/100") < report.index("| 100/100 100.0 %")
    # A later attempt without --by is in the order of the bounds themselves again.
    result = xortune("certify", run.path, "--top", 2, "--seeds", 60, "--neighbourhood", 0.2)
    assert "They order" not in result.stdout
    assert "all at least" in result.stdout


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda v: v.update(by="worst"), "by"),
        (
            lambda v: v["finalists"][0].update(neighbourhood_lower_bound=None),
            "has no lower bound",
        ),
        (lambda v: v["finalists"][0].update(neighbourhood_lower_bound="1"), "a valid number"),
    ],
)
def test_a_damaged_certificate_is_refused(run, change, word):
    certify(run, Counting(EDGE), top=2, **AROUND)
    file = run.path / "certificate.json"
    values = json.loads(file.read_text())
    change(values["attempts"][0])
    file.write_text(json.dumps(values))
    with pytest.raises(xt.InputError, match=word):
        read_certificate(file)
