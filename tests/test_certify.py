"""Attempts to certify: what is trained, under which seeds, and what may go on."""

import hashlib
import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from certified import (
    BASE,
    KEYS,
    POINTS,
    SEARCHED,
    SPACE,
    Counting,
    certify,
    disjoint,
    run,
    spans,
)
from hand_made import RIGHT, WRONG, done, outcome, solved, write_run

import xortune as xt
from xortune.core.point import Point
from xortune.core.seeds import CERTIFY
from xortune.runs.certificate import certificate_of, lower_bound, risk_of
from xortune.runs.journal import Journal, read
from xortune.runs.run import JOURNAL, load_run
from xortune.stats.exact import clopper_pearson

__all__ = ["run"]  # the fixture


def test_the_finalists_of_the_search_are_trained_on_fresh_seeds(run):
    trainer = Counting(fails={KEYS[1]: 1})
    found = certify(run, trainer)
    by_rank = sorted(found.finalists, key=lambda f: f.rank)
    assert [f.key for f in by_rank] == [KEYS[1], KEYS[2], KEYS[0]]  # 8, 7 and 6 of 8
    assert [(f.search_k, f.search_n) for f in by_rank] == [(8, 8), (7, 8), (6, 8)]
    assert [(f.k, f.n) for f in by_rank] == [(98, 100), (100, 100), (100, 100)]
    [first] = {f.first for f in by_rank}
    assert first in CERTIFY
    # Half of 5 % for the first attempt, a third of that for each of three finalists.
    for f in by_rank:
        low, _ = clopper_pearson(f.k, f.n, confidence=1 - 0.025 / 3, side="lower")
        assert f.lower_bound == pytest.approx(float(low))
    assert found.best.key == KEYS[2]
    assert disjoint(run.path)
    assert spans(run.path, searched=False) == {
        key: [(first, first + 50), (first + 50, first + 100)] for key in (KEYS[1], KEYS[2], KEYS[0])
    }
    # In turn, so that the record of an attempt begins with all of its finalists.
    assert [b.point.key for b in trainer.blocks[:3]] == [f.key for f in by_rank]


def test_the_journal_alone_gives_the_certificate_and_the_search_is_untouched(run):
    found = certify(run)
    again = load_run(run.path)
    assert certificate_of(again.checks) == found == again.certificate
    assert again.table.equals(run.table)
    assert again.seeds.equals(run.seeds)
    assert again.best == run.best
    lines, _ = read(run.path / JOURNAL)
    assert {line.proposal for line in lines} == {0, 1, 2, 3, 4}
    (run.path / "certificate.json").unlink()
    xt.write_report(load_run(run.path))
    assert load_run(run.path).certificate == found


@pytest.mark.parametrize("lines", [[], [done(0, POINTS[0], solved(0, 0, 8, epochs=30))]])
def test_nothing_to_certify_is_bad_input(tmp_path, lines):
    run = write_run(tmp_path / "none", lines, space_text=SPACE, trainer="network")
    with pytest.raises(xt.InputError, match="no configuration"):
        certify(run)
    assert not (run.path / "certificate.json").exists()


def test_another_attempt_takes_new_seeds_and_has_less_to_spend(run):
    first = certify(run)
    second = certify(run)
    assert [a.number for a in second.attempts] == [1, 2]
    assert second.attempts[0] == first.attempts[0]
    begins = [first.best.first, second.best.first]
    assert {f.first for f in second.finalists} == {begins[1]}
    assert second.best.lower_bound < first.best.lower_bound
    assert second.best.confidence == pytest.approx(1 - 0.0125 / 3)
    third = certify(run, top=1, seeds=200)
    [only] = third.finalists
    assert only.n == 200
    spent = [range(b, b + 100) for b in begins] + [range(only.first, only.first + 200)]
    assert len(set().union(*spent)) == 400
    assert all(seed in CERTIFY for seeds in spent for seed in seeds)
    assert only.confidence == pytest.approx(1 - 0.05 / 8)
    assert disjoint(run.path)
    values = json.loads((run.path / "certificate.json").read_text())
    assert [a["attempt"] for a in values["attempts"]] == [1, 2, 3]
    assert [e["attempt"] for e in values["finalists"][0]["earlier_attempts"]] == [1, 2]


def test_all_bounds_hold_together_after_a_search_over_equal_configs():
    # 200 configs of one rate; the five that look best get fresh seeds.
    rng = np.random.default_rng(1)
    wrong = naive = 0
    for _ in range(1000):
        searched = rng.binomial(100, 0.9, size=200)
        naive += float(clopper_pearson(searched.max(), 100, side="lower")[0]) > 0.9
        fresh = rng.binomial(300, 0.9, size=5)
        alpha = risk_of(1, 0.95, 5)
        wrong += any(
            lower_bound(int(k), 300, alpha=alpha, bound="clopper-pearson") > 0.9 for k in fresh
        )
    assert wrong <= 50  # 5 % is promised, half of it is spent here
    assert naive > 900  # the winner's own count is no evidence


def test_an_interrupted_attempt_goes_on_with_the_same_call(run):
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=4))
    unfinished = load_run(run.path).certificate
    assert unfinished.finalists == ()
    assert [f.n for f in unfinished.attempts[0].finalists] == [100, 50, 50]
    trainer = Counting()
    found = certify(run, trainer)
    assert len(trainer.blocks) == 2
    assert len(found.attempts) == 1
    assert {(f.first, f.n) for f in found.finalists} == {
        (unfinished.attempts[0].finalists[0].first, 100)
    }
    assert found == certificate_of(load_run(run.path).checks)


@pytest.mark.parametrize(
    "other", [{"top": 2}, {"seeds": 120}, {"confidence": 0.9}, {"extendable": True}]
)
def test_an_interrupted_attempt_that_is_not_asked_for_again_is_kept_and_has_spent(run, other):
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=2))
    found = certify(run, **({"top": 3, "seeds": 100} | other))
    assert [a.complete for a in found.attempts] == [False, True]
    assert found.latest.number == 2
    begun, other = (attempt.finalists[0] for attempt in found.attempts)
    assert abs(begun.first - other.first) >= 120, "seeds of its own"
    assert disjoint(run.path)


def test_a_search_that_went_on_has_other_finalists_and_another_attempt(run):
    certify(run)
    better = Point({**BASE, "lr": 0.07})
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(5, better, solved(0, 80, 80, epochs=30)))
    found = certify(run)
    assert found.latest.number == 2
    assert better.key in {f.key for f in found.finalists}


def test_a_block_that_breaks_once_is_tried_again_and_one_that_breaks_thrice_failed(run):
    found = certify(run, Counting(broken={2}), top=1)
    assert (found.best.k, found.best.n) == (100, 100)
    lines = load_run(run.path).checks
    assert [(c.final, c.error) for c in lines] == [(True, None), (False, "it broke"), (True, None)]
    found = certify(run, Counting(broken={1, 2, 3}), top=1)
    assert (found.best.k, found.best.n) == (50, 100)


def test_seeds_are_added_to_an_extendable_attempt_only(run):
    first = certify(run, extendable=True)
    assert first.attempts[0].bound == "anytime"
    found = certify(run, seeds=150, extend=True)
    assert len(found.attempts) == 1
    assert {(f.first, f.n) for f in found.finalists} == {(first.best.first, 250)}
    assert found.best.lower_bound > first.best.lower_bound
    assert found.best.confidence == first.best.confidence
    certify(run)  # a planned one
    with pytest.raises(xt.InputError, match=r"extend: attempt 2 was planned for 100 seeds"):
        certify(run, extend=True)


def test_what_cannot_be_extended(run):
    with pytest.raises(xt.InputError, match="no attempt to extend"):
        certify(run, extend=True)
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=4), extendable=True)
    with pytest.raises(xt.InputError, match="finish it first"):
        certify(run, extend=True)
    assert certify(run, extendable=True).latest.number == 1


def test_seeds_that_the_journal_has_are_never_taken_again(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = load_run(tmp_path / "copy")
    first = certify(copy, extendable=True, top=1).best.first
    # By hand, in the certificates' own range: a search's line, among those that would be drawn.
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(0, POINTS[0], solved(first + 70, 8, 8, epochs=30)))
    found = certify(run, extendable=True, top=1)
    assert found.best.first != first
    assert disjoint(run.path)
    with Journal.open(copy.path / JOURNAL) as journal:
        journal.append(done(1, POINTS[1], solved(first + 150, 8, 8, epochs=30)))
    with pytest.raises(xt.InputError, match="are not fresh") as caught:
        certify(copy, extend=True, top=1)
    assert JOURNAL in str(caught.value)
    assert KEYS[1] in str(caught.value)
    assert certify(copy, top=1).latest.number == 2
    assert disjoint(copy.path)


def test_when_no_fresh_seeds_are_left(run):
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(0, POINTS[0], solved(CERTIFY.stop - 60, 8, 8, epochs=30)))
    with pytest.raises(xt.InputError, match="fresh seeds are asked for, and 52 are left"):
        certify(run, seeds=len(CERTIFY))


def searched_anew(path, *, text=SPACE, seed=0, points=POINTS, counts=SEARCHED):
    """A run as `run` is, of this space, by this search."""
    lines = [
        done(i, point, solved(0, k, 8, epochs=30))
        for i, (point, k) in enumerate(zip(points, counts, strict=True))
    ]
    return write_run(path, lines, space_text=text, trainer="network", task="xor", seed=seed)


def test_another_run_has_other_seeds_and_the_same_question_the_same_answer(run, tmp_path):
    first = searched_anew(tmp_path / "first")
    found = certify(first, Counting(fails={KEYS[1]: 1}))
    seeds = range(found.best.first, found.best.first + 100)
    shutil.rmtree(first.path)
    again = certify(searched_anew(tmp_path / "first"), Counting(fails={KEYS[1]: 1}))
    assert again == found, "who deletes it and does the same again learns nothing"
    others = [
        ({}, {"top": 1}),
        ({}, {"seeds": 120}),
        ({}, {"confidence": 0.9}),
        ({}, {"extendable": True}),
        ({"seed": 1}, {}),
        ({"text": SPACE.replace("trials: 5", "trials: 6")}, {}),
        ({"counts": (8, 6, 7, 0, 5)}, {}),
    ]
    begins = {found.best.first}
    for number, (search, asked) in enumerate(others):
        other = certify(searched_anew(tmp_path / str(number), **search), **asked)
        begins.add(other.best.first)
        assert other.best.first + other.best.n <= seeds.start or other.best.first >= seeds.stop
    assert len(begins) == len(others) + 1
    values = json.loads((tmp_path / "first" / "certificate.json").read_text())
    assert "attempts of this run hold together" in values["promise"]
    assert "and no other" in values["covers"]


def chance(salt, key, seed):
    """Of a training its own number in [0, 1), the same each time."""
    text = f"{salt} {key} {seed}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64


@dataclass
class Equal(Counting):
    """Every config solves 80 % of all seeds, each its own ones."""

    salt: int = 0

    def train(self, blocks):
        [block] = blocks
        good = [chance(self.salt, block.point.key, seed) < 0.8 for seed in block.seeds]
        return [outcome(block.first, [RIGHT if one else WRONG for one in good], epochs=30)]


@pytest.mark.parametrize(
    ("configs", "runs"), [(20, 24), pytest.param(200, 200, marks=pytest.mark.long)]
)
def test_winners_of_a_certificate_are_proven_by_that_of_a_new_run_in_5_percent_at_most(
    configs, runs, run, tmp_path
):
    # All are of the asked rate, and all are certified; the best of them alone in a new run.
    points = [Point({**BASE, "lr": 0.01 + 0.0004 * i}) for i in range(configs)]
    proven = same = 0
    for salt in range(runs):
        first = searched_anew(tmp_path / f"a{salt}", points=points, counts=[8] * configs, seed=salt)
        best = certify(first, Equal(salt=salt), top=configs, seeds=60).best
        second = searched_anew(tmp_path / f"b{salt}", points=[best.point], counts=[8], seed=salt)
        found = certify(second, Equal(salt=salt), top=1, seeds=60).best
        proven += found.lower_bound > 0.8
        same += lower_bound(best.k, best.n, alpha=0.025, bound="clopper-pearson") > 0.8
        shutil.rmtree(first.path)
    print(f"proven {proven} of {runs}, by the first seeds {same}")
    assert proven <= runs * (0.025 + 3 * (0.025 * 0.975 / runs) ** 0.5)
    assert same > runs / 6, "which its first seeds, asked once more, would do"
