"""Runs two by two: who enters and by which seeds, what is tested, how soon that is sure."""

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from unittest.mock import Mock, call

import numpy as np
import pytest
from certified import Counting, size_by_estimate
from commands import _somewhere, xortune  # noqa: F401  # every test has a folder
from compared import (
    FIRST,
    certified_run,
    contestant,
    holm_of_statsmodels,
    in_step,
    paired,
    purpose,
    seeds_of,
    unpaired,
)
from hand_made import CONFIG, append, done, outcome, solved, write_run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from listening import counts
from scipy.stats import boschloo_exact, mannwhitneyu, trim_mean
from statsmodels.stats.contingency_tables import mcnemar

import xortune as xt
from xortune.comparisons.comparison import compare_all
from xortune.comparisons.contestants import candidate_of, known_facts
from xortune.comparisons.measures import EPOCHS
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.core.success import parse_success
from xortune.driver.shared_seeds import Kept, Look, SharedTraining, WantedSeeds
from xortune.runs.run import load_run
from xortune.stats.planning import rough_independent_seeds, shared_seeds
from xortune.stats.proportions import paired_difference, unpaired_difference
from xortune.stats.sequential import fair_losses_allowed, paired_answer
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import FunctionObject
from xortune.training.processes import ending_processes

# Who enters.


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
    assert (first.label, first.outcome.successes, first.key) == ("a", 97, run.results[0].key)
    assert first.outcome.seeds.tolist() == list(range(FIRST, FIRST + 100))
    [note] = first.notes
    assert f"puts {run.results[1].key}" in note, note
    assert (second.label, second.outcome.successes, second.origin) == ("b", 80, "certificate")
    [pair] = found.pairs
    assert (pair.shared, pair.wins, pair.losses, pair.n_a) == (True, 17, 0, 100)
    assert not (tmp_path / "runs").exists(), "nothing was trained, and nothing is kept"


def test_another_config_by_its_key(tmp_path):
    run = certified_run(tmp_path / "a", [90, 99])
    key = run.results[1].key
    first, second = xt.compare(["a", f"a#{key}"]).contestants
    assert (first.label, second.label) == ("a", f"a#{key[:8]}")
    assert (second.key, second.outcome.successes) == (key, 99)
    assert "2 finalists" in second.notes[0]
    assert xt.compare(["a", f"a#{key[:5]}"]).contestants[1].key == key
    refused("a", "a#zz", about=["a: no configuration has the key 'zz'", "table.csv"])
    refused("a", "a#", about=["no configuration has the key ''"])


def test_the_last_complete_attempt_counts(tmp_path):
    run = certified_run(tmp_path / "a", [90])
    point = run.results[0].point
    again, begun = (purpose(point, 1, 1, 40, attempt=attempt) for attempt in (2, 3))
    append(run.path, replace(done(0, point, solved(3000, 10, 40)), purpose=again))
    append(run.path, replace(done(0, point, solved(4000, 10, 20)), purpose=begun))
    certified = candidate_of(load_run(run.path), None, "a").known
    assert certified.outcome.seeds.tolist() == list(range(3000, 3040))
    assert "attempt 2 to certify" in certified.notes[0]
    assert "p is too small" in certified.notes[0]


def test_other_tasks_are_refused_unless_one_says_so(tmp_path):
    certified_run(tmp_path / "a", [90])
    certified_run(tmp_path / "b", [50], task="parity-3", task_fingerprint="f2")
    refused("a", "b", about=["a learned xor and b parity-3", "different_tasks=True"])
    assert xt.compare(["a", "b"], different_tasks=True).pairs[0].differs
    certified_run(tmp_path / "c", [50], task_fingerprint="f3")
    refused("a", "c", about=["a learned xor and c xor of other data"])


def test_what_differs_between_the_runs(tmp_path):
    versions = {"torch": "2.12.0", "optuna": "5.0.0"}
    certified_run(tmp_path / "a", [90], sampler="tpe", versions=versions, started="2026-01-02")
    versions = versions | {"torch": "2.13.0"}
    certified_run(tmp_path / "b", [90], sampler="gp", versions=versions, engine="fused")
    apart, same = known_facts(xt.compare(["a", "b"]).contestants)
    assert apart == apart | {
        "sampler": ("tpe", "gp"),
        "torch": ("2.12.0", "2.13.0"),
        "searched": ("2026-01-02", ""),
        "fresh seeds trained by": ("torch 2.12.0", "fused, torch 2.13.0"),
    }
    assert (same["optuna"], same["task"], "optuna" in apart) == ("5.0.0", "xor", False)


def test_what_lacks_seeds_is_trained_with_all_others_under_the_same(tmp_path, monkeypatch):
    size_by_estimate(monkeypatch)
    run = certified_run(tmp_path / "a", [90])
    bare = certified_run(tmp_path / "b", [None], searched=[7])
    key = run.results[0].key
    assert key == bare.results[0].key, "so it is trained once"
    trainer, told = Counting({key: 10}, seconds=1 / 30), Mock()
    found = xt.compare(["a", "b"], trainer=trainer, seeds=50, listener=counts(told), workers=0)
    for one in found.contestants:
        assert one.origin == "trained"
        assert one.outcome.seeds.tolist() == list(range(COMPARE.start, COMPARE.start + 50))
        assert one.facts["search counts"] in ("8/8", "7/8")
    assert [block.count for block in trainer.blocks] == [30, 20]
    assert told.call_args_list == [call(0, 50), call(30, 50), call(50, 50)]
    assert found.pairs[0].p == 1


def test_what_was_trained_is_kept_and_more_seeds_go_on_there_where_asked_for(tmp_path, monkeypatch):
    size_by_estimate(monkeypatch)
    run = certified_run(tmp_path / "a", [None, None])
    second = f"a#{run.results[1].key}"
    trainer, here = Counting(seconds=1 / 30), {"workers": 0}
    # Fewer are a part of them; the first seed of each is tried again.
    for seeds, trained, reuse in (
        (40, 80, False),
        (40, 82, True),
        (70, 144, True),
        (40, 146, True),
    ):
        found = xt.compare(["a", second], trainer=trainer, seeds=seeds, reuse=reuse, **here)
        assert sum(block.count for block in trainer.blocks) == trained
        expected = range(COMPARE.start, COMPARE.start + seeds)
        assert found.contestants[0].outcome.seeds.tolist() == list(expected)
    [kept] = (tmp_path / "runs").glob("compare-a-a-*/trained-*.jsonl")
    assert len(kept.read_text().splitlines()) == 6
    xt.compare(["a", second], trainer=trainer, seeds=40, output="elsewhere", **here)
    assert sum(block.count for block in trainer.blocks) == 226


def test_a_second_look_at_more_seeds_is_said():
    """It is a second chance to be wrong; the same comparison again is not, nor an interruption."""
    pair, more = [{"x": 1}, {"x": 2}], {"train": lucky, "output": "out", "workers": 0}
    for _ in range(2):
        first = xt.compare(pair, seeds=20, **more)
        assert not any(one.notes for one in first.contestants)
    said = str(xt.compare(pair, seeds=9, train=uneven, workers=0))
    assert "more seeds would tell them apart" in said
    assert "a second look is a second chance to be wrong; --sequential counts its looks" in said
    again = xt.compare(pair, seeds=30, **more)
    for one in again.contestants:
        assert "compared before, with 20 seeds: " in one.notes[0]
    page = Path(xt.write_comparison(again, "out")[0]).read_text()
    assert "compared before, with 20 seeds" in page
    step = {"sequential": True, "max_seeds": 24, **more}
    assert str(xt.compare(pair, **step)) == str(xt.compare(pair, **step))
    found = xt.compare(pair, **step)
    assert "with 20 and 30 seeds: " in found.notes[0]
    page = Path(xt.write_comparison(found, "out")[0]).read_text()
    assert "compared before, with 20 and 30 seeds" in page
    [other] = xt.compare([*pair[:1], {"x": 0}], seeds=40, **more).contestants[1:]
    assert not other.notes


def test_a_look_that_a_kill_cut_off_hides_no_later_one():
    pair, more = [{"x": 1}, {"x": 2}], {"train": lucky, "output": "out", "workers": 0}
    xt.compare(pair, seeds=20, **more)
    looks = Path("out/looks.jsonl")
    looks.write_bytes(looks.read_bytes()[:-9])
    xt.compare(pair, seeds=25, **more)
    [note] = xt.compare(pair, seeds=30, **more).contestants[0].notes
    assert "compared before, with 25 seeds: " in note


def test_a_run_whose_name_has_no_room_for_a_key_is_compared():
    name = "x" * 240
    certified_run(Path(name), [90, 95])
    key = load_run(name).results[1].key
    assert xt.compare(name, f"{name}#{key}").contestants[1].key == key


def uneven(config, seed):
    return seed % 2 == 0 if config["x"] == 1 else seed % 3 > 0


def test_nothing_is_trained_where_that_is_refused(tmp_path):
    certified_run(tmp_path / "a", [90])
    certified_run(tmp_path / "b", [None])
    about = ["b has only the seeds by which it was chosen", "xortune certify"]
    refused("a", "b", train=False, about=about)
    for more in {"train": False, "seeds": 5}, {"seeds": 0}:
        assert refused("a", "b", **more).field == "seeds"
    # The config that a longer search would put first has no certificate.
    run = load_run(tmp_path / "a")
    better = Point({**CONFIG, "lr": 0.5})
    append(run.path, done(7, better, solved(0, 30, 30)))
    refused("a", "b", train=False, about=["a has only the seeds"])


def test_a_configuration_is_not_compared_with_itself(tmp_path):
    run = certified_run(tmp_path / "a", [90, None])
    first, second = run.results.keys
    same = f"both are the same configuration, {first} of a;"
    fix = f"name another run, or another configuration of it: {run.path}#{second}"
    a = run.path
    for runs in ([a, "a"], [a, f"a#{first[:6]}"], [run, f"a#{second}", "a"]):
        refused(*runs, about=[same, fix], trainer=Counting(), seeds=2)
    config = xt.Config.from_point(Point(CONFIG))
    refused(config, config, about=["both are the same", "different parameters"])
    parameters = {"x": 1}
    refused(parameters, parameters, about=["both are the same"], train=lambda _, seed: seed > 0)
    # Two functions, or two runs, may have the same one.
    two = [lambda _, seed: seed % 2 == 0, lambda _, seed: seed % 3 == 0]
    assert xt.compare(parameters, parameters, train=two, seeds=20, workers=0).pairs[0].n_a == 20
    certified_run(tmp_path / "b", [90])
    assert xt.compare("a", "b").pairs[0].n_a == 100


def test_outcomes_and_configs():
    one, other = solved(0, 30, 40), solved(0, 10, 40)
    found = xt.compare([one, other])
    assert (found.pairs[0].shared, found.pairs[0].differs) == (True, True)
    given_ = [(one.label, one.origin) for one in found.contestants]
    assert given_ == [("outcome", "given"), ("outcome (2)", "given")]
    config = xt.Config.from_point(Point(CONFIG))
    found = xt.compare([config, one], trainer=Counting(), seeds=20)
    first = found.contestants[0]
    assert (first.label, first.outcome.seeds[0]) == (f"config {config.key[:8]}", COMPARE.start)
    assert not found.pairs[0].shared


def test_what_is_no_contestant(tmp_path):
    certified_run(tmp_path / "a", [90])
    refused(about=["no runs"])
    refused("a", about=["one run, and nothing to compare it with", "two runs or more"])
    refused("a", 7, about=["an int"])
    refused("a", "nowhere", about=["nowhere: is not a directory"])
    assert {refused("a", "a", alpha=alpha).field for alpha in (0.0, 1.0)} == {"alpha"}
    write_run(tmp_path / "empty", [], trainer="network")
    refused("a", "empty", about=["empty: no configuration is finished yet"])


def test_what_is_trained_otherwise_than_in_the_search_is_told_of(tmp_path):
    """Two versions of a library are not compared by training both with the one that is here."""
    older = {"engine": "fused", "torch": "2.12.0", "trainer": "network"}
    newer = older | {"torch": "2.13.0"}
    trainer = Counting()
    trainer.describe = lambda: newer
    session = {"number": 1, "made": "11111111", "space": "space.yaml", "changes": []}
    notes = []
    for name, by in ("a", older), ("b", newer):
        runs = [name, f"{name}-again"]
        for run in runs:
            certified_run(tmp_path / run, [None], made={"11111111": by}, sessions=[session])
        notes.append(xt.compare(runs, trainer=trainer, seeds=20).contestants[0].notes)
    assert "(torch: 2.12.0 -> 2.13.0)" in notes[0][0]
    assert notes[1] == ()


def told(config, seed):
    if seed % 5 == 0:
        raise ValueError("unlucky")
    return {"score": seed % 7 / config["of"]}


def test_seeds_that_are_trained_have_their_numbers_and_reasons(tmp_path):
    """All that were trained, and a part of them, for which nothing is trained again."""
    trainer = custom_trainer(FunctionObject("f", told, "d"), parse_success("score >= 0.5"))
    wanted = [WantedSeeds(Point({"of": 7}), trainer)]
    for n in (30, 8):
        with ending_processes():
            [found] = SharedTraining(Kept(tmp_path), wanted, Look(n)).train(n, wanted, settles=True)
        seeds = range(COMPARE.start, COMPARE.start + n)
        assert found.seeds.tolist() == list(seeds)
        scores = [seed % 7 / 7 if seed % 5 else np.nan for seed in seeds]
        np.testing.assert_array_equal(found.details.values["score"], scores)
        unlucky = [seed for seed in seeds if seed % 5 == 0]
        assert found.details.failed == dict.fromkeys(unlucky, "ValueError: unlucky")


def test_runs_of_one_name_are_told_apart(tmp_path):
    for parent in ("new", "old"):
        certified_run(tmp_path / parent / "xor", [90], name="xor")
    two = ["new/xor", "old/xor"]
    for runs, asked, labels in (
        (two, None, two),
        (two, ["today", "then"], ["today", "then"]),
    ):
        assert [c.label for c in xt.compare(runs, labels=asked).contestants] == labels
    assert refused(*two, labels=["one"]).field == "labels"


# What is tested.

patterns = st.lists(st.sampled_from("+-"), min_size=12, max_size=12).map("".join)


def test_shared_seeds_are_compared_one_by_one():
    [pair] = paired(40, 9, 1, 10).pairs
    assert pair.shared
    assert (pair.k_a, pair.n_a, pair.k_b, pair.n_b) == (49, 60, 41, 60)
    assert (pair.wins, pair.losses) == (9, 1)
    assert pair.p_holm == pair.p == pytest.approx(mcnemar([[40, 9], [1, 10]], exact=True).pvalue)
    assert (pair.low, pair.high) == paired_difference(9, 1, 60, alpha=0.05)
    assert pair.difference == pytest.approx(8 / 60)
    assert (pair.differs, pair.ahead, pair.more_seeds) == (True, 0, None)


def test_other_seeds_are_independent_samples():
    [pair] = unpaired(30, 40, 12, 35).pairs
    assert (pair.shared, pair.wins, pair.losses) == (False, None, None)
    assert pair.p == pytest.approx(boschloo_exact([[30, 12], [10, 23]]).pvalue, rel=1e-4)
    assert (pair.low, pair.high) == unpaired_difference(30, 40, 12, 35, alpha=0.05)
    assert (pair.differs, pair.ahead) == (True, 0)


@example("+" * 12, "-" * 12, 6)  # as many shared seeds as others
@given(patterns, patterns, st.integers(-15, 15))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_seed_that_both_have_is_ever_two(first, second, shift):
    """Whatever the overlap: pairs are of the same seeds, and samples have none in common."""
    one, other = seeds_of(first, first=20), seeds_of(second, first=20 + shift)
    found = compare_all([contestant("a", one), contestant("b", other)])
    [pair] = found.pairs
    common = len(set(one.seeds) & set(other.seeds))
    assert found.unused(pair) == (12 - pair.n_a, 12 - pair.n_b)
    if pair.shared:
        assert pair.n_a == pair.n_b == common
        assert pair.k_a - pair.k_b == pair.wins - pair.losses
    else:
        assert pair.n_a == pair.n_b == 12 - common
    assert pair.shared == (common >= 12 - common)
    # Backwards all signs change and nothing else.
    [back] = compare_all([contestant("b", other), contestant("a", one)]).pairs
    assert (back.k_b, back.n_b, back.k_a, back.n_a) == (pair.k_a, pair.n_a, pair.k_b, pair.n_b)
    assert back.p == pytest.approx(pair.p, rel=1e-6)
    turned = (-pair.difference, -pair.high, -pair.low)
    assert (back.difference, back.low, back.high) == pytest.approx(turned)
    assert back.more_seeds == pair.more_seeds


def three(counts=(95, 80, 60)):
    return compare_all([contestant(f"c{i}", solved(0, k, 100)) for i, k in enumerate(counts)])


@given(st.tuples(*[st.integers(0, 30)] * 4).filter(any))
@example((30, 5, 0, 30))  # p = 0.06, and the score test alone would tell them apart
def test_a_verdict_and_its_interval_say_the_same(counts):
    """Also of configurations that are compared seed after seed."""
    [pair] = paired(*counts).pairs
    assert pair.low <= pair.difference <= pair.high
    assert pair.low >= 0 or pair.high <= 0 if pair.differs else pair.low <= 0 <= pair.high
    both, wins, losses, neither = counts
    one = np.repeat([True, True, False, False], [both, wins, losses, neither])
    other = np.repeat([True, False, True, False], [both, wins, losses, neither])
    order = np.random.default_rng(0).permutation(len(one))
    found, _ = in_step([one[order], other[order]], max(10, len(one)))
    [pair] = found.pairs
    decided = pair.ahead is not None
    assert pair.low >= 0 or pair.high <= 0 if decided else pair.low <= 0 <= pair.high


def test_holm_is_over_all_pairs():
    found = three((92, 86, 80))
    holm = holm_of_statsmodels([pair.p for pair in found.pairs])
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(holm)
    assert [(pair.a, pair.b) for pair in found.pairs] == list(combinations(range(3), 2))
    assert [pair.differs for pair in found.pairs] == [False, True, False]
    loose = three((90, 86, 83))
    assert loose.pairs[0].p == 0.125
    assert [pair.differs for pair in loose.pairs] == [False, True, False]
    strict = compare_all(loose.contestants, alpha=0.04)
    assert not any(pair.differs for pair in strict.pairs)
    # Where Holm's tests end: the level is divided by the number of those that are not told apart.
    assert [one.confidence for one in (found, strict)] == pytest.approx([0.975, 1 - 0.04 / 3])
    for one in (found, loose, strict):
        assert [pair.low > 0 for pair in one.pairs] == [pair.differs for pair in one.pairs]
        wins = [(pair.wins, pair.losses, 100) for pair in one.pairs]
        [middle] = [paired_difference(*wins[1], alpha=1 - one.confidence, apart=one is not strict)]
        assert (one.pairs[1].low, one.pairs[1].high) == middle


def test_how_many_more_seeds_would_tell_them_apart():
    [pair] = paired(800, 25, 15, 160).pairs
    needed = shared_seeds(0.825, 0.815, discordance=0.04)
    assert pair.more_seeds == needed - 1000
    [pair] = unpaired(80, 100, 70, 90).pairs
    assert pair.more_seeds == rough_independent_seeds(0.8, 7 / 9) - 90
    # Of three pairs each at a third of the level, the first of Holm's steps.
    needed = shared_seeds(0.9, 0.86, alpha=0.05 / 3, discordance=0.04)
    assert three((90, 86, 83)).pairs[0].more_seeds == needed - 100


def test_sooner_is_mann_and_whitneys_statistic():
    rng = np.random.default_rng(3)
    first, second = (ragged(rng, 0, 60) for _ in range(2))
    [sooner] = compare_all([contestant("a", first), contestant("b", second)]).epochs.wins
    u = mannwhitneyu(EPOCHS.of(second), EPOCHS.of(first)).statistic
    assert sooner.value == pytest.approx(u / 3600)
    assert 0 < sooner.low < sooner.value < sooner.high < 1
    [back] = compare_all([contestant("b", second), contestant("a", first)]).epochs.wins
    assert back == pytest.approx((1 - sooner.value, 1 - sooner.high, 1 - sooner.low))


@pytest.mark.parametrize("seeds", [3, 10])
def test_an_interval_of_few_seeds_has_width_and_covers(seeds):
    """Also where all seeds of one are sooner, and all take equally long."""
    epochs = np.arange(1, 2 * seeds + 1)
    alike = np.full(seeds, 7)
    for first, second in ((epochs[:seeds], epochs[seeds:]), (alike, alike), (alike, alike + 1)):
        for shift in (0, seeds):  # shared seeds, and others
            [win] = compared(first, second, shift).epochs.wins
            assert win.low < win.value - 0.1 or win.value < 0.5
            assert win.high > win.value + 0.1 or win.value > 0.5
    rng = np.random.default_rng(1)
    for scale in (1, 4):  # whose epochs scatter four times as much
        sooner = 0
        for _ in range(200):
            first = rng.integers(500 - 100 * scale, 500 + 100 * scale, seeds)
            [win] = compared(first, rng.integers(400, 600, seeds), seeds).epochs.wins
            sooner += win.low <= 0.5 <= win.high
        assert sooner >= 0.93 * 200


def test_seeds_that_are_hard_for_both_say_more():
    """Of shared seeds only the difference counts, but an interval has width."""
    epochs = np.random.default_rng(4).integers(1, 1000, 200)
    [same] = compared(epochs, epochs, 0).epochs.wins
    [apart] = compared(epochs, epochs, 200).epochs.wins
    assert same.value == apart.value == 0.5
    assert 0.001 < same.high - same.low < 0.3 * (apart.high - apart.low)


def compared(first, second, shift):
    """A comparison of seeds that are solved after these epochs; B's seeds begin at `shift`."""
    contestants = []
    for label, start, epochs in (("a", 0, first), ("b", shift, second)):
        found = solved(start, len(epochs), len(epochs))
        found = replace(found, solved_epoch=np.asarray(epochs, np.int32))
        contestants.append(contestant(label, found))
    return compare_all(contestants)


def ragged(rng, first, count, share=0.9):
    """Seeds solved at epochs all over, some not."""
    found = outcome(first, [(0, 1, 1, int(flip)) for flip in rng.random(count) > share])
    epochs = np.where(found.solved, rng.integers(1, 1000, count), 0).astype(np.int32)
    return replace(found, solved_epoch=epochs)


def test_the_middle_half_of_the_epochs():
    def middle_of(found):
        summary = compare_all([contestant("a", found), contestant("b", found)]).epochs.of[0]
        return tuple(one if math.isfinite(one) else None for one in summary)

    found = ragged(np.random.default_rng(7), 0, 100)
    middle, low, high = middle_of(found)
    assert middle == pytest.approx(trim_mean(EPOCHS.of(found), 0.25))
    assert low < middle < high
    assert middle_of(ragged(np.random.default_rng(7), 0, 100, share=0.6)) == (None, None, None)
    assert middle_of(solved(0, 76, 100)) == (300, 300, None)
    assert middle_of(solved(0, 90, 100)) == (300, 300, 300)
    assert middle_of(solved(0, 4, 4)) == (300, None, None)


# Seed by seed until one is proven better, at a level that is kept.


def proven(seeds, alpha, rates):
    """How probable it is that the first, and the second, is proven better: by enumeration.

    `rates` are the probabilities that only the first, and only the second, solves a seed.
    """
    shares = {(1, 0): rates[0], (0, 1): rates[1], (1, 1): 1 - sum(rates)}
    found = Counter()
    for history in product(shares, repeat=seeds):
        one, other = np.array(history, bool).T
        ahead = paired_answer(one, other, seeds=seeds, alpha=alpha).ahead
        found[ahead] += math.prod(shares[step] for step in history)
    return found[1], found[-1]


@pytest.mark.parametrize("differ", [0.2, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_two_that_are_equal_are_told_apart_as_rarely_as_promised(differ, alpha):
    first, second = proven(7, alpha, (differ / 2, differ / 2))
    assert first <= alpha / 2 + 1e-12
    assert second == pytest.approx(first)


@pytest.mark.parametrize("at", [(1, 401), (1, 401, 2), (300, 401), (20, 401, 20)])
def test_of_fair_tosses_alpha_is_spent_whenever_they_come(at):
    seeds, alpha = 400, 0.025
    allowed = fair_losses_allowed(np.arange(*at), seeds, alpha)
    going, spent = np.array([1.0]), 0.0  # how probable each number of losses is
    for most in allowed[:-1]:
        going = np.convolve(going, [0.5, 0.5])
        spent += going[: most + 1].sum()
        going[: most + 1] = 0.0
    spent += going[: allowed[-1] + 1].sum()
    assert 0.6 * alpha < spent <= alpha * (1 + 1e-6)
    assert (np.diff(allowed) >= 0).all()


def drawn(rates, count, seeds, seed):
    rng = np.random.default_rng(seed)
    return [rng.random((count, seeds)) < rate for rate in rates]


def test_the_answer_does_not_depend_on_how_many_seeds_are_looked_at_once():
    good, bad = (one[0] for one in drawn((0.97, 0.8), 1, 300, 5))
    whole, over = in_step([good, bad], 300)
    assert (whole.best, over) == (0, True)
    answer = paired_answer(good, bad, seeds=300, alpha=0.05)
    assert whole.n == whole.pairs[0].decided_at == answer.n < 300
    for n in range(1, 300):
        part, over = in_step([good[:n], bad[:n]], 300)
        assert over == (n >= whole.n)
        assert part.pairs == whole.pairs if over else part.best is None


def test_the_intervals_hold_when_they_are_looked_at():
    rates, wrong = (0.95, 0.85), 0
    for a, b in zip(*drawn(rates, 200, 200, 3), strict=True):
        found, _ = in_step([a, b], 200)
        [pair] = found.pairs
        wrong += not pair.low <= 0.1 <= pair.high
        assert pair.low <= pair.difference <= pair.high
        assert pair.ahead is None or (pair.low >= 0 if pair.ahead == 0 else pair.high <= 0)
    assert wrong <= 12  # 5 % of 200, and a little


def test_of_several_the_family_s_error_is_kept_and_the_best_ends_it():
    wrong = 0
    for three in zip(*drawn((0.8, 0.8, 0.8), 200, 60, 4), strict=True):
        found, _ = in_step(list(three), 60)
        wrong += any(pair.ahead is not None for pair in found.pairs)
    assert wrong <= 18  # 10 expected at most, three standard deviations above
    best, middle, worst = (one[0] for one in drawn((0.99, 0.75, 0.5), 1, 400, 6))
    found, over = in_step([middle, worst, best], 400)
    assert (found.best, found.first_is_worse, over) == (2, True, True)
    decisive = [pair for pair in found.pairs if 2 in (pair.a, pair.b)]
    assert found.n == max(pair.decided_at for pair in decisive)
    assert len(found.pairs) == len(found.lines) == 3
    for pair in decisive:  # a third of alpha for each
        two = ([middle, worst, best][one] for one in (pair.a, pair.b))
        assert pair.decided_at == paired_answer(*two, seeds=400, alpha=0.05 / 3).n


def lucky(config, seed):
    x = config["x"]
    return bool(np.random.default_rng([seed, x]).random() < (0.5, 0.97, 0.97)[x])


def test_dicts_of_a_function_in_as_few_seeds_as_the_answer_needs():
    pair = [{"x": 0, "widths": [8, 4]}, {"x": 1, "widths": [8, 4]}]
    asked = {"sequential": True, "train": accuracy, "success": "accuracy >= 0.5", "output": "1"}
    found = xt.compare(pair, labels=["a", "b"], **asked)
    assert (found.best, found.max_seeds) == (1, 1000)
    assert found.n < 60
    assert found.first_seed == COMPARE.start
    seeds = range(COMPARE.start, COMPARE.start + found.n)
    solved_of = [one.outcome.successes for one in found.contestants]
    assert solved_of == [sum(lucky(one, seed) for seed in seeds) for one in pair]
    assert "b solves more seeds than a, proven by seed" in found.lines[0]
    assert str(found) == str(xt.compare(pair, labels=["a", "b"], **asked))
    for journal in Path("1").glob("trained-*.jsonl"):  # each call trained its own
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        assert 2 * found.n <= sum(line["count"] for line in lines) <= 2 * (found.n + 8)
    asked = {"sequential": True, "max_seeds": 24, "train": lucky}
    alike = xt.compare([{"x": 1}, {"x": 2}], output="2", **asked)
    assert (alike.best, alike.n) == (None, 24)
    assert " after 24 seeds of each, all that were allowed" in alike.lines[0]
    planned = xt.compare(pair, seeds=100, train=lucky, output="3")
    assert planned.pairs[0].ahead == 1


def accuracy(config, seed):
    return {"accuracy": 0.9 if lucky(config, seed) else 0.1}


def returns(config, seed):
    """An agent's return after each of three episodes."""
    rng = np.random.default_rng([seed, config["x"]])
    for step in range(3):
        yield {"step": step, "return": rng.normal(150 + 10 * config["x"], 20), "size": 7}


def test_a_comparison_in_python_keeps_its_rule():
    """The judged number comes first; constants and what counts a seed's progress do not come."""
    found = xt.compare(
        [{"x": 0}, {"x": 2}], train=returns, success="return <= 150", seeds=20, output="1"
    )
    [judged] = found.numbers
    assert (judged.name, judged.better) == ("return", "smaller")
    assert not [name for name in found.table if name.startswith(("reports", "step", "size"))]
    assert "return: smaller is better" in xt.plot_numbers(found).layout.title.text
    page = Path(xt.write_comparison(found, "1")[0]).read_text()
    assert "smaller is better" in page
    assert "the rule says what is better" in page
    assert "rule for success" in page
    assert "every judged row on" not in page
    outcomes = [one.outcome for one in found.contestants]
    again = xt.compare(outcomes, labels=["a", "b"], success="return <= 150")
    assert [(one.of, one.wins) for one in again.numbers] == [(judged.of, judged.wins)]
    [unjudged] = xt.compare(outcomes, labels=["a", "b"]).numbers
    assert (unjudged.name, unjudged.better) == ("return", "")
    with pytest.raises(InputError, match="is not a rule"):
        xt.compare(outcomes, labels=["a", "b"], success="return")


def test_a_function_that_no_seed_comes_through_is_refused():
    about = ["all 8 seeds of every configuration crashed: ", " a success is"]
    for more in {"sequential": True}, {"seeds": 8}:
        refused({"x": 0}, {"x": 1}, about=about, train=accuracy, **more)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"sequential": True, "seeds": 5}, "seeds"),
        ({"sequential": True, "train": False}, "sequential"),
        ({"sequential": True, "max_seeds": 0}, "max_seeds"),
        ({"sequential": True, "max_seeds": 20_001}, "max_seeds"),
        ({"sequential": True, "max_seeds": 5}, "max_seeds"),
        ({"max_seeds": 10}, "max_seeds"),
        ({"sequential": True}, "train"),
        ({"sequential": True, "labels": ["a", "a"]}, "labels"),
        ({"labels": ["a", "a"]}, "labels"),
    ],
)
def test_what_does_not_go_together_is_refused(more, field):
    assert refused({"x": 0}, {"x": 1}, **more).field == field


def test_as_few_seeds_as_can_prove_anything():
    """Six for two configurations: of five, 5/5 against 0/5 would be indistinguishable."""
    one, other, third = {"x": 0}, {"x": 1}, {"x": 2}
    more = {"sequential": True, "train": lambda config, seed: config["x"] == 0 * seed}
    found = xt.compare([one, other], max_seeds=6, output="1", **more)
    solved_of = [one.outcome.successes for one in found.contestants]
    assert (found.best, solved_of, found.n) == (0, [6, 0], 6)
    about = ["max_seeds", "6 seeds cannot prove anything", "7 or more"]
    refused(one, other, third, about=about, max_seeds=6, **more)
    refused(one, other, about=["8 or more"], max_seeds=7, alpha=0.01, **more)


def test_the_command_ends_as_soon_as_it_knows():
    space = """
name: {name}
epochs: {epochs}
parameters: {{activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.05, hidden_dim: 6}}
search: {{sampler: grid}}
seeds: {{ladder: [8]}}
"""
    for name, epochs in (("good", 300), ("hasty", 20)):
        Path(f"{name}.yaml").write_text(space.format(name=name, epochs=epochs))
        xt.search(f"{name}.yaml", output=name)
    words = ["compare", "hasty", "good", "--sequential", "--max-seeds", 200, "--output", "out"]
    result = xortune(*words, code=0)
    said = " ".join(result.stdout.split())
    assert "good solves more seeds than hasty, proven by seed" in said
    assert "at most 200; looked at after each, wrong with probability 0.05 at most." in said
    result = xortune(*words, "--json", "--fail-if-worse")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["best"], found["max_seeds"]) == (1, "good", 200)
    assert found["pairs"][0]["ahead"] == "good"
    assert found["contestants"][0]["n"] == found["n"] < 40
    assert found["files"] == [f"out/comparison.{ending}" for ending in ("md", "html", "csv")]
    report = Path("out/comparison.md").read_text()
    assert "- good solves more seeds than hasty, proven by seed" in report
    assert f"| hasty | good | 0 | {found['pairs'][0]['losses']} |" in report
    assert "hasty,good," in Path("out/comparison.csv").read_text()
    words[-1] = "trained_here"
    here = json.loads(xortune(*words, "--json", "--workers", 0, code=0).stdout)
    assert here == found | {"files": here["files"]}, "whoever trains"


def test_a_function_for_configs_of_the_network_is_refused_where_no_dict_could_have_it():
    first, second = (
        xt.Config(activation="Tanh", loss="MSELoss", optimizer="SGD", lr=lr, hidden_dim=2, epochs=9)
        for lr in (0.1, 0.2)
    )
    given = {"seeds": 8, "workers": 0, "verbose": 0, "different_tasks": True}
    for configs, train in (((first, second), lucky), ((first, {"x": 1}), [lucky, lucky])):
        with pytest.raises(xt.InputError, match=r"train: a function for .* a Config, which"):
            xt.compare(configs, train=train, **given)
    found = xt.compare(first, {"x": 1}, train=lucky, **given)
    assert [one.outcome.n for one in found.contestants] == [8, 8]
