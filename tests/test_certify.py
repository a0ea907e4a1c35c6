"""Attempts to certify: what is trained, under which seeds, in which order, and what may go on."""

import json
import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import listening
import pytest
from certified import (
    BASE,
    HERE,
    KEYS,
    POINTS,
    SEARCHED,
    SPACE,
    Chancy,
    Counting,
    certify,
    run,
    searched_run,
    size_by_estimate,
)
from commands import xortune
from hand_made import RIGHT, WRONG, append, done, outcome, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.certificates.fresh import CertifyRequest
from xortune.core.point import Point
from xortune.core.seeds import CERTIFY, NEIGHBOURS, SEARCH
from xortune.core.trainer import Traits
from xortune.driver import certify as module
from xortune.driver import workplace
from xortune.driver.voice import Voice
from xortune.reports.run import certified_lines
from xortune.runs.certificate import LEDGER, certificate_of, lower_bound, risk_of, share_of
from xortune.runs.run import load_run
from xortune.runs.store import JOURNAL
from xortune.stats.proportions import clopper_pearson_lower
from xortune.stats.sequential import boundary
from xortune.training import batches
from xortune.training.executors import LocalExecutor, Pool
from xortune.training.resources import Cluster, Resources

__all__ = ["run"]  # the fixture


def disjoint(path):
    """Whether no seed of a search is one of its certificate."""
    run = load_run(path)
    blocks = ((a.block.seeds, b.block.seeds) for a in run.evaluations for b in run.checks)
    return all(a.stop <= b.start or b.stop <= a.start for a, b in blocks)


def test_the_finalists_of_the_search_are_trained_on_fresh_seeds(run):
    trainer = Counting(fails={KEYS[1]: 1})
    found = certify(run, trainer)
    by_rank = sorted(found.finalists, key=lambda f: f.rank)
    assert [(f.key, f.search.k, f.search.n, f.k, f.n) for f in by_rank] == [
        *((KEYS[1], 8, 8, 98, 100), (KEYS[2], 7, 8, 100, 100), (KEYS[0], 6, 8, 100, 100))
    ]
    [first] = {f.first for f in by_rank}
    assert first in CERTIFY
    # Four fifths of 5 % for the first attempt, a third of that for each of three finalists.
    for f in by_rank:
        low = clopper_pearson_lower(f.k, f.n, confidence=1 - 0.04 / 3)
        assert f.lower_bound == pytest.approx(float(low))
    assert found.best.key == KEYS[2]
    # In turn, so that the record of an attempt begins with all of its finalists.
    blocks = [(f.key, start, 50) for start in (first, first + 50) for f in by_rank]
    assert [(b.point.key, b.first, b.count) for b in trainer.blocks] == blocks
    lines = load_run(run.path).checks
    assert [(c.block.point.key, c.block.first, c.block.count) for c in lines] == blocks


@pytest.mark.parametrize("lines", [[], [done(0, POINTS[0], solved(0, 0, 8, epochs=30))]])
def test_nothing_to_certify_is_bad_input(tmp_path, lines):
    run = write_run(tmp_path / "none", lines, space_text=SPACE, trainer="network")
    with pytest.raises(xt.InputError, match="no configuration"):
        certify(run)
    assert not (run.path / "certificate.json").exists()


def test_a_search_that_went_on_has_other_finalists_and_another_attempt(run):
    certify(run)
    better = Point({**BASE, "lr": 0.07})
    append(run.path, done(5, better, solved(0, 80, 80, epochs=30)))
    found = certify(run)
    assert found.latest.number == 2
    assert better.key in {f.key for f in found.finalists}


def test_a_block_that_breaks_once_is_tried_again_and_one_that_breaks_thrice_failed(run):
    found = certify(run, Counting(broken={2}), top=1)
    assert (found.best.k, found.best.n) == (100, 100)
    tries = [(line.final, line.error) for line in load_run(run.path).checks]
    assert tries == [(True, None), (False, "it broke"), (True, None)]
    [again] = certify(run, Counting(broken={1, 2, 3}), top=1).latest.finalists
    assert (again.k, again.n) == (50, 100)


def test_seeds_that_the_journal_has_are_never_taken_again(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = load_run(tmp_path / "copy")
    first = certify(copy, extendable=True, top=1).best.first
    # By hand, in the certificates' own range: a search's line, among those that would be drawn.
    append(run.path, done(0, POINTS[0], solved(first + 70, 8, 8, epochs=30)))
    found = certify(run, extendable=True, top=1)
    assert found.best.first != first
    assert disjoint(run.path)
    append(copy.path, done(1, POINTS[1], solved(first + 150, 8, 8, epochs=30)))
    with pytest.raises(xt.InputError, match=f"(?s){JOURNAL}.*are not fresh: config {KEYS[1]}"):
        certify(copy, extend=True, top=1)
    assert certify(copy, top=1).latest.number == 2
    assert disjoint(copy.path)
    # Among those that the neighbours of the second finalist would get.
    near, again = (searched_run(tmp_path / name) for name in ("near", "again"))
    found = certify(near, top=2, neighbourhood=0.2).best.neighbours[0]
    append(again.path, done(3, POINTS[3], solved(found.first + 150, 0, 8, epochs=30)))
    assert certify(again, top=2, neighbourhood=0.2).best.neighbours[0].first != found.first
    append(run.path, done(0, POINTS[0], solved(CERTIFY.stop - 60, 8, 8, epochs=30)))
    with pytest.raises(xt.InputError, match="fresh seeds are asked for, and 52 are left"):
        certify(run, seeds=len(CERTIFY))


def test_another_run_has_other_seeds_and_the_same_question_the_same_answer(run, tmp_path):
    first = searched_run(tmp_path / "first")
    found = certify(first, Counting(fails={KEYS[1]: 1}))
    seeds = range(found.best.first, found.best.first + 100)
    shutil.rmtree(first.path)
    again = certify(searched_run(tmp_path / "first"), Counting(fails={KEYS[1]: 1}))
    assert again == found, "who deletes it and does the same again learns nothing"
    others = [
        *(({}, {"top": 1}), ({}, {"seeds": 120}), ({}, {"confidence": 0.9})),
        *(({}, {"extendable": True}), ({"seed": 1}, {})),
        ({"text": SPACE.replace("trials: 5", "trials: 6")}, {}),
        ({"counts": (8, 6, 7, 0, 5)}, {}),
    ]
    begins = {found.best.first}
    for number, (search, asked) in enumerate(others):
        other = certify(searched_run(tmp_path / str(number), **search), **asked)
        begins.add(other.best.first)
        assert other.best.first + other.best.n <= seeds.start or other.best.first >= seeds.stop
    assert len(begins) == len(others) + 1
    values = json.loads((tmp_path / "first" / "certificate.json").read_text())
    assert "attempts of this account hold together" in values["promise"]
    assert "those of other and of deleted runs included" in values["covers"]


# The ledger: one account of risk for all runs of a training and the number that is judged.


def shares(certificate):
    return [(one.number, one.spent, round(one.share, 12)) for one in certificate.attempts]


def test_the_first_attempt_keeps_most_of_the_risk(tmp_path):
    [share, second, third] = [share_of(number) for number in (1, 2, 3)]
    assert (share, second) == (0.8, pytest.approx(0.15))
    assert 0.02 < third < 0.04
    for n, proven in ((320, False), (321, True)):
        found = certify(searched_run(tmp_path / str(n)), top=1, seeds=n)
        assert (found.best.k, found.latest.share) == (n, 0.8 if n == 320 else second)
        alone = lower_bound(n, n, alpha=risk_of(1, 0.95, 1), bound="clopper-pearson")
        assert (alone >= 0.99) == proven


def test_deleting_a_run_gives_no_new_account(tmp_path):
    """Nor does another run of the same space, another name, or another trainer."""
    places = []
    for number, (name, more) in enumerate(
        [
            ("run", {}),
            ("run", {"seeds": 110}),
            ("run", {"seeds": 120}),
            ("other", {"seeds": 130}),
        ],
        1,
    ):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        found = certify(searched_run(tmp_path / name), **more)
        places.append(shares(found))
        assert found.scope == ""
        assert found.best.confidence == pytest.approx(1 - risk_of(number, 0.95, 3))
    assert places == [[(1, n, round(share_of(n), 12))] for n in (1, 2, 3, 4)]
    lines = (tmp_path / LEDGER).read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == ["run", "run", "run", "other"]


OWN = """\
name: own
trainer: train.py:run
success: accuracy >= 0.9
parameters: {lr: {low: 0.01, high: 0.1}}
search: {trials: 5}
seeds: {ladder: [8]}
"""


@dataclass
class Sourced(Counting):
    """A user's function, whose source is part of what it is."""

    trainer: str = "run"
    source: str = "a"

    def describe(self):
        return {"trainer": self.trainer, "source": self.source}


OF_OWN = {"trainer": "./train.py:run", "task": None, "points": [Point({"lr": 0.4})], "counts": [8]}


def certified_own(path, text=OWN, *, rule="accuracy >= 0.5", trainer="./train.py:run", source="a"):
    """An attempt to certify a run of a user's function."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run = searched_run(path, text=text, success=rule, **OF_OWN | {"trainer": trainer})
    return certify(run, Sourced(trainer=trainer, source=source), top=1).latest


CHOICES = OWN.replace("{low: 0.01, high: 0.1}", "{choice: [0.1, 0.4]}")
ONE = OWN.replace("{lr: {low: 0.01, high: 0.1}}", "{lr: 0.4, seen: {choice: [1, 2]}}")


@pytest.mark.parametrize(
    ("text", "other", "more"),
    [
        (CHOICES, CHOICES.replace("0.1, 0.4", "0.4, 0.1"), {}),
        (CHOICES, CHOICES.replace("0.4", "0.40001"), {}),
        (ONE, ONE.replace("0.4", "0.40001"), {}),
        (OWN, OWN.replace("{lr:", "{width: 5, lr:"), {}),
        (OWN, OWN.replace("{lr:", "{momentum: {low: 0, high: 1}, lr:"), {}),
        (OWN, OWN.replace("high: 0.1", "high: 0.2"), {}),
        (OWN, "# Again.\n" + OWN.replace("name: own", "name: renamed"), {}),
        (OWN, OWN, {"rule": "accuracy > 0.4999"}),
        (OWN, OWN, {"rule": "accuracy >= 0.9"}),
        (OWN, OWN, {"rule": "accuracy != 0"}),
        (OWN, OWN, {"source": "b"}),
        (OWN, OWN, {"trainer": "./sub/train.py:run", "source": "b"}),
        (OWN, OWN, {"trainer": "../a folder/train.py:run", "source": "b"}),
        (OWN, OWN, {"trainer": "package.train:run", "source": "b"}),
        (OWN, OWN, {"trainer": "./copy.py:run"}),
    ],
)
def test_no_other_wording_opens_another_account(tmp_path, text, other, more):
    first = certified_own(tmp_path / "one", text)
    second = certified_own(tmp_path / "two", other, **more)
    assert (first.spent, second.spent, second.share) == (1, 2, pytest.approx(0.15))
    assert first.account == second.account == "train:run / accuracy"
    assert second.beside == ()


def test_a_function_of_the_script_that_runs_has_the_name_of_its_file(tmp_path, monkeypatch):
    first = certified_own(tmp_path / "one")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/somewhere/train.py", raising=False)
    second = certified_own(tmp_path / "two", trainer="__main__:run", source="b")
    assert (second.account, second.spent) == (first.account, 2)


@pytest.mark.parametrize(
    "other",
    [
        "python train.py --lr {lr} --width 5 --seed {seed}",
        "python train.py --lr {lr} --width {width} --seed {seed}",
        "python train.py lr={lr} seed={seed}",
    ],
)
def test_the_options_of_a_command_open_no_account(tmp_path, other):
    first = certified_own(tmp_path / "1", trainer="python train.py --lr {lr} --seed {seed}")
    second = certified_own(tmp_path / "2", trainer=other, source="b")
    assert (first.account, second.spent) == ("python train.py / accuracy", 2)


def test_a_new_account_beside_one_of_the_same_trainer_says_so_and_names_both(tmp_path):
    recall, path = OWN.replace("accuracy", "recall"), tmp_path / "two"
    first = certified_own(tmp_path / "one")
    assert first.beside == ()
    assert certified_own(path, recall, rule="recall >= 0.5").spent == 1
    both = ('"train:run / recall"', 'stands beside "train:run / accuracy" of the same training')
    found = load_run(path).certificate
    values = json.loads((path / "certificate.json").read_text())
    xt.write_report(load_run(path))
    shown = {
        "terminal": xortune("report", path).stdout,
        "json": values["covers"],
        "md": (path / "report.md").read_text(),
        "print": str(found),
        "paragraph": xt.export(path, format="paragraph"),
    }
    for text in shown.values():
        assert all(name in " ".join(text.split()).replace("&quot;", '"') for name in both)
    [attempt] = values["attempts"]
    assert attempt["account"] == "train:run / recall"
    assert attempt["beside"] == ["train:run / accuracy"]
    # An attempt in the old one now stands beside the new one; another training beside neither.
    again = certified_own(tmp_path / "three")
    assert (again.spent, again.beside) == (2, ("train:run / recall",))
    other = certified_own(tmp_path / "four", trainer="other.py:run", source="b")
    assert (other.spent, other.beside) == (1, ())


def test_the_network_has_an_account_for_each_task(tmp_path):
    found = certify(searched_run(tmp_path / "one")).latest
    assert (found.account, found.spent) == ("network / xor", 1)
    given = {"text": SPACE.replace("name: tiny", "name: tiny\ntask: parity-3"), "task": "parity-3"}
    other = certify(searched_run(tmp_path / "two", **given)).latest
    assert (other.account, other.spent) == ("network / parity-3", 1)
    assert other.beside == ("network / xor",)


def test_one_training_known_by_the_name_of_one_account_and_the_files_of_another(tmp_path):
    certified_own(tmp_path / "1")
    for name in ("2", "3"):
        certified_own(tmp_path / name, trainer="other.py:run", source="b")
    found = certified_own(tmp_path / "4", source="b")
    assert (found.account, found.spent) == ("train:run / accuracy", 3)


# A project is a folder with all below it.


@pytest.mark.parametrize("mark", [".git", "pyproject.toml", None])
@pytest.mark.parametrize(
    "places", [("runs/one", "runs/sub/two"), ("runs/sub/two", "runs/one"), ("a/one", "b/c/two")]
)
def test_a_project_has_one_ledger_wherever_its_runs_are(tmp_path, monkeypatch, mark, places):
    if mark is None:
        monkeypatch.chdir(tmp_path)
    else:
        (tmp_path / mark).mkdir()
    assert [certified_own(tmp_path / place).spent for place in places] == [1, 2]
    lines = (tmp_path / LEDGER).read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == list(places)
    assert [*tmp_path.rglob(LEDGER)] == [tmp_path / LEDGER]


@pytest.mark.parametrize("places", [("one", "sub/two"), ("sub/two", "one")])
def test_a_subfolder_shares_an_account_where_nothing_marks_the_project(tmp_path, places):
    assert [certified_own(tmp_path / place).spent for place in places] == [1, 2]


def test_a_project_within_another_counts_the_attempts_above_it(tmp_path):
    certified_own(tmp_path / "one")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "pyproject.toml").touch()
    assert certified_own(tmp_path / "sub" / "runs" / "two").spent == 2
    assert (tmp_path / "sub" / LEDGER).exists()


def test_the_folder_of_all_projects_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    certified_own(tmp_path / "a" / "one")
    assert certified_own(tmp_path / "b" / "two").spent == 1
    assert not (tmp_path / LEDGER).exists()


def test_the_same_question_again_costs_nothing_only_where_its_answer_is_the_same(tmp_path):
    """A function may give other results under the same seeds: then a second look is another."""
    spent = {}
    for trainer, more in (("network", {}), ("run", {}), ("run", {"deterministic": True})):
        for _ in range(2):
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            run = searched_run(tmp_path / "run", trainer=trainer, **more)
            spent.setdefault((trainer, *more), []).append(certify(run).latest.spent)
        (tmp_path / LEDGER).unlink()
    assert list(spent.values()) == [[1, 1], [1, 2], [1, 1]]


def test_without_a_ledger_the_sentence_says_so(tmp_path):
    folder = tmp_path / "runs"
    (folder / LEDGER).mkdir(parents=True)  # it cannot be written, by root neither
    run = searched_run(folder / "run")
    found = certify(run, top=1)
    again = certify(run, top=1, seeds=120)
    assert shares(again) == [(1, 1, 0.8), (2, 2, 0.15)]
    for text in (str(found), xortune("report", run.path).stdout):
        assert "confidence 0.95 (this run only)" in " ".join(text.split())
    assert "(confidence 0.95, this run only, " in xt.gate(run.path, min_rate=0.5).line
    assert "with 95 % confidence (this run only)" in (run.path / "report.md").read_text()
    assert "to certify this run hold" in " ".join(xt.export(run.path, format="paragraph").split())
    assert (
        "no certificates.jsonl could be written in" in (run.path / "certificate.json").read_text()
    )
    # Once there is one, it goes on from what this run has spent.
    (folder / LEDGER).rmdir()
    assert shares(certify(run, top=1, seeds=130))[-1] == (3, 3, round(share_of(3), 12))
    assert "(this run only)" in str(load_run(run.path).certificate)


def test_an_interrupted_attempt_goes_on_with_its_share(tmp_path, monkeypatch):
    size_by_estimate(monkeypatch)
    run = searched_run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=1), top=1)
    certify(searched_run(tmp_path / "other"), top=1, seeds=120)
    found = certify(run, top=1)
    assert shares(found) == [(1, 1, 0.8)]
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 2


def test_a_torn_line_is_an_attempt_that_never_began_and_another_text_is_refused(tmp_path):
    run = searched_run(tmp_path / "run")
    certify(run)
    whole = (tmp_path / LEDGER).read_text()
    (tmp_path / LEDGER).write_text(whole + whole[:30])
    assert certify(run).latest.spent == 2
    assert (tmp_path / LEDGER).read_text().startswith(whole)
    (tmp_path / LEDGER).write_text(whole + "{}\n")
    trainer = Counting()
    with pytest.raises(xt.InputError, match=f"{LEDGER}:2: is not a line of a ledger"):
        certify(run, trainer)
    assert trainer.blocks == []


def test_what_is_left_of_the_risk_must_be_able_to_prove_the_rate(tmp_path):
    certify(searched_run(tmp_path / "one"), top=1)
    run = searched_run(tmp_path / "two")
    with pytest.raises(xt.InputError, match=r"321 seeds .* in attempt 2 of this"):
        certify(run, top=1, seeds=321, min_rate=0.99)
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 1


CLIFF = Point({**BASE, "lr": 0.03, "hidden_dim": 2})
"""A neighbour of the search's first, KEYS[1]."""

EDGE = {CLIFF.key: 25, KEYS[2]: 2}
"""KEYS[1] solves all its seeds, but lies beside the cliff; KEYS[2] fails two, and has none."""

AROUND = {"neighbourhood": 0.2, "by": "neighbourhood"}


def test_neighbours_have_seeds_of_their_own(run):
    found = certify(run, Counting(fails={CLIFF.key: 10}), top=2, neighbourhood=0.2)
    best, second = sorted(found.finalists, key=lambda f: f.rank)
    assert {n.parameter for n in best.neighbours} == {"lr", "hidden_dim"}
    assert [n.value for n in best.neighbours if n.parameter == "hidden_dim"] == [2, 4]
    [first] = {n.first for n in best.neighbours}
    assert first in NEIGHBOURS
    assert {(n.first, n.n) for n in best.neighbours} == {(first, 100)}
    assert {(n.first, n.n) for n in second.neighbours} == {(first + 100, 100)}
    worst = best.worst_neighbour
    assert (worst.key, worst.parameter, worst.value, worst.k) == (CLIFF.key, "hidden_dim", 2, 80)
    assert (best.k, best.n) == (100, 100)
    assert load_run(run.path).certificate == found
    values = json.loads((run.path / "certificate.json").read_text())
    [shown] = [f for f in values["finalists"] if f["key"] == best.key]
    assert (shown["worst_neighbour_rate"], len(shown["neighbourhood"])) == (0.8, 4)


def test_the_worst_around_orders_the_finalists(run):
    found = certify(run, Counting(EDGE), top=2, **AROUND)
    assert [f.key for f in found.finalists] == [KEYS[2], KEYS[1]]
    assert found.latest.by == "neighbourhood"
    plateau, edge = found.finalists
    assert plateau.lower_bound < edge.lower_bound  # by themselves it is the other way round
    alpha = risk_of(1, 0.95, 2)
    # Its own two failures are the worst of the plateau, the cliff's 25 (in each block) of the edge.
    for result, k in ((plateau, 96), (edge, 50)):
        expected = lower_bound(k, 100, alpha=alpha, bound="clopper-pearson")
        assert result.neighbourhood_bound == pytest.approx(expected)
    assert plateau.neighbourhood_bound == plateau.lower_bound
    run = load_run(run.path)
    assert run.certificate == found == certificate_of(run.checks)
    # Gate and export take the first of that order.
    bound = plateau.lower_bound
    assert xt.gate(run, min_rate=round(bound - 1e-4, 4)).passed
    assert not xt.gate(run, min_rate=round(bound + 1e-4, 4)).passed
    assert f"# Config {KEYS[2]}," in xt.export(run)
    said = f"{KEYS[2]} is the certificate's first; the search's first was {KEYS[1]}"
    assert said in xortune("export", run.path).stderr


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
    assert [f.key for f in found.finalists] == [KEYS[2], KEYS[1]]


def test_nothing_to_move_gives_no_order(tmp_path):
    fixed = SPACE.replace("{low: 0.01, high: 0.1, log: true}", "0.03")
    fixed = fixed.replace("{low: 2, high: 9}", "3")
    line = done(0, POINTS[1], solved(0, 8, 8, epochs=30))
    bare = write_run(tmp_path / "bare", [line], space_text=fixed)
    trainer = Counting()
    with pytest.raises(xt.InputError, match="no finalist has a setting that can be moved"):
        certify(bare, trainer, **AROUND)
    assert trainer.blocks == []


def test_the_order_is_recorded_and_shown(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("xortune.driver.certify.trainer_of", lambda *_, **__: Counting(EDGE))
    found = xt.certify(run, top=2, seeds=100, **AROUND)
    values = json.loads((run.path / "certificate.json").read_text())
    assert values["by"] == values["attempts"][0]["by"] == "neighbourhood"
    assert [(f["key"], f["neighbourhood_lower_bound"]) for f in values["finalists"]] == [
        (f.key, f.neighbourhood_bound) for f in found.finalists
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


def test_a_later_attempt_takes_nothing_back_of_the_neighbours_or_of_the_bound(run):
    small = certify(run, Counting(EDGE), top=2, seeds=60, **AROUND).finalists
    # A larger bound of its own, without neighbours, keeps those that were measured.
    found = certify(run, Counting(EDGE), top=2, seeds=400)
    for one in small:
        later = found.finalist(one.key)
        assert (later.attempt, later.n) == (2, 400)
        assert later.neighbours == one.neighbours
        assert later.neighbourhood_bound == one.neighbourhood_bound
    assert any("all at least" in line for line in certified_lines(found))
    # So do neighbours that are measured by an attempt with a smaller bound of its own.
    trainer = Counting({KEYS[1]: 4, KEYS[2]: 4})
    again = certify(run, trainer, top=2, seeds=300, **AROUND)
    for one in found.finalists:
        later = again.finalist(one.key)
        assert (later.lower_bound, later.attempt) == (one.lower_bound, 2)
        assert later.neighbourhood_bound > one.neighbourhood_bound
        assert {near.n for near in later.neighbours} == {300}


def test_what_is_complete_is_not_trained_again_for_another_order(run):
    certify(run, Counting(EDGE), top=2, neighbourhood=0.2)
    trainer = Counting()
    with pytest.raises(xt.InputError, match="attempt 1 has all of this already") as caught:
        certify(run, trainer, top=2, **AROUND)
    assert caught.value.field == "by"
    assert "another finalist with key" in str(caught.value)
    assert trainer.blocks == []
    assert load_run(run.path).certificate.latest.by == "own"


# Whatever is done to a run, in whatever order, and stopped wherever: fresh stays fresh.

CALL = st.fixed_dictionaries(
    {
        "top": st.integers(1, 3),
        "seeds": st.sampled_from([40, 100]),
        "extendable": st.booleans(),
        "extend": st.booleans(),
        "neighbourhood": st.sampled_from([None, None, 0.2]),
        "by": st.sampled_from(["own", "own", "neighbourhood"]),
        "stop_after": st.sampled_from([None, None, 0, 1, 3, 7]),
    }
)


@settings(max_examples=20)
@given(st.lists(CALL, min_size=1, max_size=6))
def test_fresh_seeds_stay_fresh_and_nothing_is_forgotten(calls):
    with tempfile.TemporaryDirectory() as name:
        run, before = searched_run(Path(name) / "run"), None
        for call in calls:
            trainer = Counting(stop_after=call["stop_after"])
            with suppress(xt.InputError, KeyboardInterrupt):
                certify(run, trainer, **{k: v for k, v in call.items() if k != "stop_after"})
            before = _checked(run.path, before)


def _checked(path, before):
    """The certificate, after what was before; the seeds of all lines are as they have to be."""
    lines = [json.loads(line) for line in (path / JOURNAL).read_text().splitlines()]
    spans, attempts = defaultdict(list), defaultdict(set)
    for line in lines:
        first, stop = line["first"], line["first"] + line["count"]
        purpose = line.get("purpose", {"kind": "search"})
        owners = {"search": SEARCH, "certify": CERTIFY, "neighbourhood": NEIGHBOURS}
        owner = owners[purpose["kind"]]
        assert owner.start <= first < stop <= owner.stop
        spans[line["key"]].append((first, stop))
        if owner is CERTIFY:
            attempts[purpose["attempt"]].update(range(first, stop))
    # No config meets a seed twice, and no attempt meets the seeds of another.
    for found in spans.values():
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(found)))
    assert sorted(attempts) == list(range(1, len(attempts) + 1))
    assert sum(map(len, attempts.values())) == len(set().union(*attempts.values()))
    after = certificate_of(load_run(path).checks)
    assert after == load_run(path).certificate
    if before is not None:
        # What was complete stays as it was, but for seeds added to the last and for neighbours.
        for old, new in zip(before.attempts[:-1], after.attempts, strict=False):
            assert [(f.key, f.k, f.n, f.lower_bound) for f in old.finalists] == [
                (f.key, f.k, f.n, f.lower_bound) for f in new.finalists
            ]
        assert len(after.attempts) - len(before.attempts) in {0, 1}
    return after


# Any of the seeds may be missing.

CALLS = (
    {},
    {"top": 2, "seeds": 60, **AROUND},
    {"top": 2, "seeds": 70, "neighbourhood": 0.2, "extendable": True},
)


@settings(max_examples=15)
@given(st.sampled_from(CALLS), st.data())
def test_whichever_blocks_had_finished_the_same_call_gives_the_same_certificate(call, data):
    with tempfile.TemporaryDirectory() as name:
        # Another attempt before it, and one finalist in whose neighbourhood is another.
        near = Point({**BASE, "lr": 0.03, "hidden_dim": 4})
        points, searched = [*POINTS, near], [*SEARCHED, 8]
        run = searched_run(Path(name) / "run", points=points, counts=searched, seconds=0.5)
        trainer, journal = Chancy(seconds=1e-7), run.path / JOURNAL
        certify(run, trainer, top=1, seeds=30, neighbourhood=0.2)
        before = journal.read_text().splitlines(keepends=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batches, "BATCH_SECONDS", 1e-9)
            whole = certify(run, trainer, **call)
        made = journal.read_text().splitlines(keepends=True)[len(before) :]
        sizes = [json.loads(line)["count"] for line in made]
        kept = data.draw(st.lists(st.sampled_from(range(len(made))), unique=True, min_size=1))
        journal.write_text("".join([*before, *(made[i] for i in kept)]))
        told = []
        hears = listening.counts(lambda *counts: told.append(counts))
        again = certify(run, trainer, listener=hears, **call)
        if total := sum(sizes) - sum(sizes[i] for i in kept):
            assert again == whole
            assert told[-1] == (total, total)
        else:  # it was complete: another attempt
            assert len(again.attempts) == len(whole.attempts) + 1


def test_an_interrupt_keeps_what_has_finished(run, monkeypatch):
    wait = LocalExecutor.wait

    def interrupted(self):
        wait(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        certify(run, top=1)
    assert [line.final for line in load_run(run.path).checks] == [True]


# Where it is trained.


@pytest.mark.parametrize(
    ("cluster", "place"),
    [
        (Cluster(workers=0), LocalExecutor),
        (Cluster(workers=2), Pool),
        (Cluster(each=Resources(timeout=9.0)), Pool),
    ],
)
def test_who_trains_is_what_was_asked_for(run, cluster, place, monkeypatch):
    seen, loop = [], workplace.run

    def noted(batches, executor, *rest):
        seen.append(type(executor))
        loop(batches, executor, *rest)

    monkeypatch.setattr(workplace, "run", noted)
    found = certify(run, Counting(), cluster=cluster)
    assert seen == [place]
    assert [one.n for one in found.finalists] == [100] * 3


class Slow(Counting):
    """A user's code."""

    traits = Traits(users_code=True)


def test_the_search_has_measured_the_seeds(tmp_path):
    run = searched_run(tmp_path / "slow", points=POINTS[:1], counts=[8], seconds=8.0)
    trainer, said = Slow(), []
    voice = Voice(0, said.append)
    request = CertifyRequest(top=1, seeds=240)
    module.certify_run(run.path, trainer, request, cluster=HERE, voice=voice)
    assert [event.text for event in said if isinstance(event, xt.Message)] == [
        "certify: 1 x 240 seeds, about 4.0 min on 1 worker"
    ]
    assert trainer.blocks[0].count == 1, "a second a seed: each is sent alone"


def test_the_estimate_is_by_the_middle_block_of_the_search(tmp_path):
    took = (9.0, 1.0, 1.0, 0.1)  # the first block compiles, and a crash is quick
    lines = [
        replace(done(0, POINTS[0], solved(first, 1, 1, epochs=30)), seconds=seconds)
        for first, seconds in enumerate(took)
    ]
    run = write_run(tmp_path / "slow", lines, space_text=SPACE, trainer="network", task="xor")
    said = []
    request = CertifyRequest(top=1, seeds=240)
    module.certify_run(run.path, Slow(), request, cluster=HERE, voice=Voice(0, said.append))
    assert said[0].text == "certify: 1 x 240 seeds, about 4.0 min on 1 worker"


# -------------------------------------------------------------------------------------------------
# An attempt that proves one rate, finalist after finalist, with as few seeds as it takes.

ORDER = [KEYS[i] for i in (1, 2, 0, 4)]
"""The finalists in the search's order: 8, 7, 6 and 5 of 8."""


@dataclass
class Failing(Counting):
    """Fails the seeds of a finalist that lie so far behind its first one."""

    at: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first: int | None = None

    def train(self, blocks):
        [block] = blocks
        super().train(blocks)
        self.first = block.first if self.first is None else self.first
        wrong = {self.first + one for one in self.at.get(block.point.key, ())}
        rows = [WRONG if seed in wrong else RIGHT for seed in block.seeds]
        return [outcome(block.first, rows)]


def test_where_no_seed_fails_the_first_finalist_is_enough(run):
    found = certify(run, top=1, seeds=1000, min_rate=0.99)
    [best] = found.finalists
    least = boundary(0.99, 1000, 0.04).first(0)
    assert (best.key, best.k, best.n, best.lower_bound) == (ORDER[0], least, least, 0.99)
    assert 321 <= least <= 380  # 0.99 ** 321 <= 0.04
    assert best.first in CERTIFY
    attempt, run = found.latest, load_run(run.path)
    assert (attempt.bound, attempt.min_rate, attempt.confidence) == ("sequence", 0.99, 0.96)
    assert run.certificate == found
    assert xt.status(run.path).certificate.state == "complete"
    assert xt.gate(run, min_rate=0.99).passed
    # Asked again: another attempt, with less of the risk and other seeds.
    again = certify(run, top=1, seeds=1000, min_rate=0.99)
    assert again.latest.number == 2
    assert again.best.n > least
    assert again.best.first != best.first


@pytest.mark.parametrize("block", [1 / 7, 1 / 50, 1 / 2000])
def test_it_goes_on_while_each_is_proven_and_ends_with_one_that_is_not(run, block):
    rule = boundary(0.9, 200, 0.04)
    most = int(rule.allowed[-1])
    fails = {ORDER[0]: (3,), ORDER[1]: tuple(range(5, 6 + most))}
    found = certify(run, Failing(at=fails, seconds=block), top=4, seeds=200, min_rate=0.9)
    first, second = found.finalists  # the third is never begun
    assert [first.key, second.key] == ORDER[:2]
    assert (first.n, first.k) == (rule.first(1), rule.first(1) - 1)
    assert first.lower_bound == 0.9
    assert (second.n, second.k) == (6 + most, 5)  # not even all that are left would prove it
    assert 0 <= second.lower_bound < 0.9
    assert found.latest.complete
    run = load_run(run.path)
    assert {line.block.point.key for line in run.checks} == set(ORDER[:2])
    assert run.certificate == found
    assert not xt.gate(run, min_rate=0.9, key=second.key).passed


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_one_that_was_interrupted_ends_as_it_would_have(run, stop):
    trainer = Failing(at={ORDER[0]: (3, 40)}, seconds=1 / 16, stop_after=stop)
    with pytest.raises(KeyboardInterrupt):
        certify(run, trainer, seeds=200, min_rate=0.9)
    run, trainer.stop_after = load_run(run.path), None
    assert run.certificate.latest is None
    assert xt.status(run.path).certificate.state == "begun"
    found = certify(run, trainer, seeds=200, min_rate=0.9)
    rule = boundary(0.9, 200, 0.04)
    assert [one.n for one in found.finalists] == [rule.first(2), rule.first(0), rule.first(0)]
    assert len(found.attempts) == 1


def walks(rule, rate, given_up):
    """[(proven, n, probability)] of one finalist, by enumeration over (n, failures)."""
    going = {0: 1.0}
    ends = []
    for n in range(1, rule.seeds + 1):
        after: dict[int, float] = {}
        for failures, chance in going.items():
            for more, share in ((0, rate), (1, 1 - rate)):
                after[failures + more] = after.get(failures + more, 0.0) + chance * share
        ends += [(True, n, after.pop(f)) for f in list(after) if f <= rule.allowed[n]]
        ends += [(False, n, after.pop(f)) for f in list(after) if f > given_up]
        going = after
    assert not going
    return ends


@pytest.mark.parametrize("rates", [(0.9, 0.9, 0.9), (0.95, 0.9, 0.8), (0.999, 0.7, 0.99), (0.88,)])
def test_all_that_a_sequence_says_is_wrong_as_rarely_as_promised(rates):
    rule = boundary(0.9, 120, 0.025)
    wrong, reached = 0.0, 1.0
    for rate in rates:
        ends = walks(rule, rate, int(rule.allowed[-1]))
        assert sum(chance for *_, chance in ends) == pytest.approx(1)
        bounds = [(0.9 if proven else rule.bound_given_up(n), chance) for proven, n, chance in ends]
        missed = sum(chance for bound, chance in bounds if bound > rate + 1e-12)
        wrong += reached * missed
        proven = sum(chance for won, _, chance in ends if won)
        reached *= proven if rate >= 0.9 else 0.0  # a wrong one is counted already
    assert wrong <= 0.025 + 1e-9


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"min_rate": 1.0}, "min_rate"),
        ({"min_rate": 0.99, "seeds": 300}, "seeds"),
        ({"min_rate": 0.9, "seeds": 20_001}, "seeds"),
        ({"min_rate": 0.9, "extendable": True}, "extendable"),
        ({"min_rate": 0.9, "neighbourhood": 0.2}, "neighbourhood"),
    ],
)
def test_what_does_not_go_with_a_rate_is_refused(run, more, field):
    with pytest.raises(xt.InputError) as caught:
        certify(run, **more)
    assert caught.value.field == field
    assert "purpose" not in (run.path / "evaluations.jsonl").read_text()


def test_the_command_says_what_was_proven(tmp_path):
    point = Point({**BASE, "lr": 0.05, "hidden_dim": 8, "epochs": 300})
    out = searched_run(tmp_path / "run", points=[point], counts=[8]).path
    result = xortune("certify", out, "--min-rate", 0.8, "--seeds", 200)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "it tests the rate 0.8 for one finalist after the other" in said
    found = json.loads(xortune("certify", out, "--min-rate", 0.8, "--json").stdout)
    assert (found["bound"], found["attempts"][0]["min_rate"]) == ("sequence", 0.8)
    [finalist] = found["finalists"]
    assert finalist["lower_bound"] == 0.8
    assert finalist["confidence"] == pytest.approx(1 - 0.05 * 0.15)
    assert "proves min_rate" in found["promise"]
