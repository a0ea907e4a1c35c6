"""What enters a comparison: which config, by which seeds, and what must be said of it."""

from dataclasses import replace

import numpy as np
import pytest
from certified import Counting
from commands import _somewhere  # noqa: F401  # every test has a folder
from compared import FIRST, certified_run, purpose
from hand_made import CONFIG, done, solved, write_run

import xortune as xt
from xortune.comparisons.contestants import candidate_of, known_facts
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.core.success import parse_success
from xortune.driver.compare import WantedSeeds, train_shared
from xortune.driver.subprocesses import ending_process
from xortune.runs.journal import Journal
from xortune.runs.run import JOURNAL, load_run
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import FunctionObject


def refused(*runs, about=(), **more):
    with pytest.raises(InputError) as caught:
        xt.compare(list(runs), **more)
    for word in about:
        assert word in str(caught.value)
    return caught.value


def test_certified_runs_enter_by_their_certified_seeds_with_the_searchs_first(tmp_path):
    """Not with the luckiest of the certificate."""
    run = certified_run(tmp_path / "a", [97, 99])
    certified_run(tmp_path / "b", [80])
    found = xt.compare(["a", tmp_path / "b"])
    first, second = found.contestants
    assert (first.label, second.label) == ("a", "b")
    assert (first.outcome.successes, first.outcome.n) == (97, 100)
    assert first.outcome.seeds.tolist() == list(range(FIRST, FIRST + 100))
    assert first.key == run.results[0].key
    [note] = first.notes
    assert run.results[1].key in note
    assert "puts" in note
    assert (second.outcome.successes, second.origin) == (80, "certificate")
    [pair] = found.pairs
    assert (pair.shared, pair.wins, pair.losses, pair.n_a) == (True, 17, 0, 100)
    assert not (tmp_path / "runs").exists(), "nothing was trained, and nothing is kept"


def test_another_config_by_its_key(tmp_path):
    run = certified_run(tmp_path / "a", [90, 99])
    key = run.results[1].key
    found = xt.compare(["a", f"a#{key}"])
    assert [one.label for one in found.contestants] == ["a", f"a#{key[:8]}"]
    second = found.contestants[1]
    assert (second.key, second.outcome.successes) == (key, 99)
    assert "2 finalists" in second.notes[0]
    short = xt.compare(["a", f"a#{key[:5]}"]).contestants[1]
    assert short.key == key
    about = ["a: no configuration has the key 'zz'", "table.csv"]
    refused("a", "a#zz", about=about)
    refused("a", "a#", about=["no configuration has the key ''"])


def test_the_last_complete_attempt_counts(tmp_path):
    run = certified_run(tmp_path / "a", [90])
    point = run.results[0].point
    again, begun = (purpose(point, 1, 1, 40, attempt=attempt) for attempt in (2, 3))
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(replace(done(0, point, solved(3000, 10, 40)), purpose=again))
        journal.append(replace(done(0, point, solved(4000, 10, 20)), purpose=begun))
    certified = candidate_of(load_run(run.path), None, "a").certified
    assert certified.outcome.seeds.tolist() == list(range(3000, 3040))
    assert "attempt 2 to certify" in certified.notes[0]
    assert "p is too small" in certified.notes[0]


def test_other_tasks_are_refused_unless_one_says_so(tmp_path):
    certified_run(tmp_path / "a", [90])
    certified_run(tmp_path / "b", [50], task="parity-3", task_fingerprint="f2")
    refused("a", "b", about=["a learned xor and b parity-3", "different_tasks=True"])
    found = xt.compare(["a", "b"], different_tasks=True)
    assert found.pairs[0].differs
    certified_run(tmp_path / "c", [50], task_fingerprint="f3")
    refused("a", "c", about=["a learned xor and c xor of other data"])


def test_what_differs_between_the_runs(tmp_path):
    versions = {"torch": "2.12.0", "optuna": "5.0.0"}
    certified_run(tmp_path / "a", [90], sampler="tpe", versions=versions, started="2026-01-02")
    versions = {"torch": "2.13.0", "optuna": "5.0.0"}
    certified_run(tmp_path / "b", [90], sampler="gp", versions=versions, engine="fused")
    found = xt.compare(["a", "b"])
    apart, same = known_facts(found.contestants)
    assert apart["sampler"] == ("tpe", "gp")
    assert apart["torch"] == ("2.12.0", "2.13.0")
    assert apart["searched"] == ("2026-01-02", "")
    assert apart["fresh seeds trained by"] == ("torch 2.12.0", "fused, torch 2.13.0")
    assert same["optuna"] == "5.0.0"
    assert same["task"] == "xor"
    assert "optuna" not in apart


def test_what_lacks_seeds_is_trained_with_all_others_under_the_same(tmp_path):
    run = certified_run(tmp_path / "a", [90])
    bare = certified_run(tmp_path / "b", [None], searched=[7])
    key = run.results[0].key
    assert key == bare.results[0].key, "so it is trained once"
    trainer = Counting({key: 10}, seconds=1 / 30)
    told = []
    found = xt.compare(
        ["a", "b"], trainer=trainer, seeds=50, on_progress=lambda *step: told.append(step)
    )
    for one in found.contestants:
        assert one.origin == "trained"
        assert one.outcome.seeds.tolist() == list(range(COMPARE.start, COMPARE.start + 50))
        assert one.facts["search counts"] in ("8/8", "7/8")
    assert [block.count for block in trainer.blocks] == [30, 20]
    assert told == [(0, 50), (30, 50), (50, 50)]
    assert found.pairs[0].p == 1


def test_what_was_trained_is_kept_and_more_seeds_go_on_there(tmp_path):
    run = certified_run(tmp_path / "a", [None, None])
    second = f"a#{run.results[1].key}"
    trainer = Counting(seconds=1 / 30)
    for seeds, trained in ((40, 80), (40, 80), (70, 140), (40, 140)):  # fewer are a part of them
        found = xt.compare(["a", second], trainer=trainer, seeds=seeds)
        assert sum(block.count for block in trainer.blocks) == trained
        expected = range(COMPARE.start, COMPARE.start + seeds)
        assert found.contestants[0].outcome.seeds.tolist() == list(expected)
    [kept] = (tmp_path / "runs").glob("compare-a-a-*/trained-*.jsonl")
    assert len(kept.read_text().splitlines()) == 6
    xt.compare(["a", second], trainer=trainer, seeds=40, output="elsewhere")
    assert sum(block.count for block in trainer.blocks) == 220


def test_nothing_is_trained_where_that_is_refused(tmp_path):
    certified_run(tmp_path / "a", [90])
    certified_run(tmp_path / "b", [None])
    about = ["b has only the seeds by which it was chosen", "xortune certify"]
    refused("a", "b", train=False, about=about)
    assert refused("a", "b", train=False, seeds=5).field == "seeds"
    assert refused("a", "b", seeds=0).field == "seeds"
    # The config that a longer search would put first has no certificate.
    run = load_run(tmp_path / "a")
    better = Point({**CONFIG, "lr": 0.5})
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(7, better, solved(0, 30, 30)))
    refused("a", "a", train=False, about=["a has only the seeds"])


def test_outcomes_and_configs(tmp_path):
    one, other = solved(0, 30, 40), solved(0, 10, 40)
    found = xt.compare([one, other], labels=["new", "old"])
    assert found.pairs[0].shared
    assert found.pairs[0].differs
    assert [one.origin for one in found.contestants] == ["given", "given"]
    assert [one.label for one in xt.compare([one, other]).contestants] == ["outcome", "outcome (2)"]
    config = xt.Config.from_point(Point(CONFIG))
    found = xt.compare([config, one], trainer=Counting(), seeds=20)
    assert found.contestants[0].label == f"config {config.key[:8]}"
    assert found.contestants[0].outcome.seeds[0] == COMPARE.start
    assert not found.pairs[0].shared


def test_what_is_no_contestant(tmp_path):
    certified_run(tmp_path / "a", [90])
    refused(about=["no runs"])
    refused("a", about=["one run, and nothing to compare it with", "reference='TABLE'"])
    refused("a", 7, about=["a int"])
    refused("a", "nowhere", about=["nowhere: is not a directory"])
    refused("a", "a", columns={"k": "K"}, about=["columns", "only with reference"])
    refused("a", reference="t.csv", seeds=3, about=["seeds", "only without reference"])
    assert refused("a", "a", alpha=0.0).field == "alpha"
    assert refused("a", "a", alpha=1.0).field == "alpha"
    write_run(tmp_path / "empty", [], trainer="network")
    refused("a", "empty", about=["empty: no configuration is finished yet"])


def test_what_is_trained_otherwise_than_in_the_search_is_told_of(tmp_path):
    """Two versions of a library are not compared by training both with the one that is here."""
    made = {"11111111": {"engine": "fused", "torch": "2.12.0", "trainer": "network"}}
    session = {"number": 1, "made": "11111111", "space": "space.yaml", "changes": []}
    certified_run(tmp_path / "a", [None], made=made, sessions=[session])

    class Newer(Counting):
        def describe(self):
            return {"engine": "fused", "torch": "2.13.0", "trainer": "network"}

    [one, _] = xt.compare(["a", "a"], trainer=Newer(), seeds=20).contestants
    assert "(torch: 2.12.0 -> 2.13.0)" in one.notes[0]
    made["11111111"]["torch"] = "2.13.0"
    certified_run(tmp_path / "b", [None], made=made, sessions=[session])
    assert xt.compare(["b", "b"], trainer=Newer(), seeds=20).contestants[0].notes == ()


def told(config, seed):
    if seed % 5 == 0:
        raise ValueError("unlucky")
    return {"score": seed % 7 / config["of"]}


def test_seeds_that_are_trained_have_their_numbers_and_reasons(tmp_path):
    """All that were trained, and a part of them, for which nothing is trained again."""
    trainer = custom_trainer(FunctionObject("f", told, "d"), parse_success("score >= 0.5"))
    wanted = [WantedSeeds(Point({"of": 7}), trainer)]
    for n in (30, 8):
        with ending_process():
            [found] = train_shared(tmp_path, wanted, n)
        seeds = range(COMPARE.start, COMPARE.start + n)
        assert found.seeds.tolist() == list(seeds)
        scores = [seed % 7 / 7 if seed % 5 else np.nan for seed in seeds]
        np.testing.assert_array_equal(found.details.values["score"], scores)
        unlucky = [seed for seed in seeds if seed % 5 == 0]
        assert found.details.failed == dict.fromkeys(unlucky, "ValueError: unlucky")


def test_runs_of_one_name_are_told_apart(tmp_path):
    for parent in ("new", "old"):
        certified_run(tmp_path / parent / "xor", [90], name="xor")
    for runs, given, labels in (
        (["new/xor", "old/xor", "new/xor"], None, ["xor", "old/xor", "xor (2)"]),
        (["new/xor", "old/xor"], None, ["new/xor", "old/xor"]),
        (["new/xor", "old/xor"], ["today", "then"], ["today", "then"]),
    ):
        assert [c.label for c in xt.compare(runs, labels=given).contestants] == labels
    assert refused("new/xor", "old/xor", labels=["one"]).field == "labels"
