"""Comparisons by a number of the seeds: verdicts, intervals, margins, figures, the command line."""

import json
import math
import re
import shlex
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import yaml
from commands import _somewhere, xortune  # noqa: F401  # every test has a folder
from compared import in_step
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.comparisons.measures import SIGN, Measure
from xortune.core.numbers import statistic_named
from xortune.stats import numbers as stats_of_numbers
from xortune.stats.anytime import anytime_quantiles
from xortune.stats.proportions import paired_margin_p, unpaired_margin_p

TRAIN = """
import numpy as np
def train(config, seed):
    noise = np.random.default_rng([seed, config["base"]])
    if config["base"] == 130 and seed % 5 == 0:
        raise ValueError("diverged")
    return {"return": float(noise.normal(config["base"], 9)), "loss": float(noise.random())}
"""


def difference(first, second, statistic, **how):
    return stats_of_numbers.difference(first, second, statistic_named(statistic), **how)


def solves(good, _, seed):
    return bool(good[seed])


scope = {}
exec(TRAIN, scope)
train = scope["train"]


def outcome(base, seeds=10, first=0):
    seeds = range(first, first + seeds)
    return xt.evaluate({"base": base}, seeds, train=train, workers=0, verbose=0)


PPO, SAC, BAD = outcome(175), outcome(150), outcome(130)


@pytest.mark.parametrize("by", ["return_mean", "return_iqm", "return_median"])
def test_the_better_algorithm_is_named_with_the_interval_of_the_difference(by):
    found = xt.compare(PPO, SAC, by=by, labels=["PPO", "SAC"])
    [pair] = found.pairs
    assert (found.best, pair.differs, pair.shared, found.first_is_worse) == (0, True, True, False)
    assert 0 < pair.low < pair.difference < pair.high
    assert str(found).startswith(f"PPO has a better {by} than SAC: 1")
    assert "larger is better" in str(found)
    back = xt.compare(SAC, PPO, by=by, labels=["SAC", "PPO"])
    assert (back.best, back.first_is_worse) == (1, True)
    assert str(back).startswith(f"PPO has a better {by} than SAC: 1")
    assert back.pairs[0].high == pytest.approx(-pair.low)
    alike = xt.compare(PPO, outcome(175, first=50), by=by)
    assert (alike.best, alike.pairs[0].shared) == (None, False)
    assert alike.pairs[0].low <= 0 <= alike.pairs[0].high
    assert "are indistinguishable" in str(alike)


def test_means_are_those_of_scipy_where_labels_agree():
    rng = np.random.default_rng(2)
    one, other = rng.normal(3, 1, 60), rng.normal(0, 2, 50)
    found = difference(one, other, "mean", shared=False, alpha=0.05)
    welch = scipy.stats.ttest_ind(one, other, equal_var=False)
    assert found.p == pytest.approx(welch.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(welch.confidence_interval()))
    trimmed = scipy.stats.ttest_ind(one, other, equal_var=False, trim=0.25)
    found = difference(one, other, "iqm", shared=False, alpha=0.05)
    assert trimmed.pvalue <= found.p <= 10 * trimmed.pvalue  # resampled intervals are not Yuen's
    paired = scipy.stats.ttest_rel(one[:50], other)
    found = difference(one[:50], other, "mean", shared=True, alpha=0.05)
    assert found.p == pytest.approx(paired.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(paired.confidence_interval()))


@pytest.mark.parametrize(("statistic", "shared"), list(product(["mean", "iqm"], [False, True])))
def test_tied_numbers_of_few_seeds_are_wrongly_told_apart_as_rarely_as_promised(statistic, shared):
    """A number that is 0, 1 or 2, under four seeds each."""
    chance, wrong = {0.0: 0.2, 1.0: 0.6, 2.0: 0.2}, 0.0
    rng = np.random.default_rng(0)
    drawn = rng.choice(3, (300, 8), p=list(chance.values())).astype(float)
    for row in drawn:
        found = difference(row[:4], row[4:], statistic, shared=shared, alpha=0.05)
        wrong += found.p < 0.05
    assert wrong <= 22  # 15 expected at most, and two standard deviations


def test_interquartile_means_of_many_tied_numbers_too():
    """Yuen's test alone calls 7 % of them different."""
    first, second = np.random.default_rng(2).normal(size=(2, 400, 50)).round()
    yuen = scipy.stats.ttest_ind(first, second, axis=1, equal_var=False, trim=0.25).pvalue < 0.05
    pairs = zip(first[yuen], second[yuen], strict=True)
    found = [difference(*pair, "iqm", shared=False, alpha=0.05).p < 0.05 for pair in pairs]
    assert sum(found) <= 24 < yuen.sum()  # 20 expected at most, and a standard deviation


def test_yuen_s_interval_of_few_seeds_is_widened_at_least_as_far_as_it_fails_to_cover():
    one, other = np.random.default_rng(0).normal(size=(2, 8)) * [[1], [2]] + [[9], [0]]
    found = difference(one, other, "iqm", shared=False, alpha=0.05)
    plain = scipy.stats.ttest_ind(one, other, equal_var=False, trim=0.25).confidence_interval()
    assert 1.09 <= (found.high - found.low) / (plain.high - plain.low) <= 1.25


def test_a_median_is_told_apart_from_seven_seeds_on():
    for n, could in ((6, False), (7, True)):
        found = difference(
            np.arange(n) + 99.0, np.arange(n) * 1.0, "median", shared=False, alpha=0.05
        )
        assert (found.p < 0.05) == could == math.isfinite(found.low)
    few = xt.compare(outcome(175, 6), outcome(150, 6), by="return_median")
    assert "so few seeds could prove no difference" in str(few)


def test_a_failed_seed_is_worse_than_any_number():
    found = xt.compare(PPO, BAD, by="return_iqm", labels=["PPO", "bad"])
    assert (found.best, found.pairs[0].probability.value > 0.95) == (0, True)
    mean = xt.compare(PPO, BAD, by="return_mean", labels=["PPO", "bad"])
    assert (mean.best, mean.pairs[0].p) == (None, 1)
    assert "failed seeds decide it" in str(mean)
    limited = xt.compare(PPO, BAD, by="return_mean", bounds=[0, 250])
    assert limited.pairs[0].value_b == pytest.approx(np.nan_to_num(BAD.numbers()).mean())
    losses = xt.compare(PPO, SAC, by="loss_mean")
    assert losses.measure.better == "smaller"


def test_several_are_compared_as_one_family_and_drawn(tmp_path):
    found = xt.compare([PPO, SAC, BAD], by="return_iqm", labels=["PPO", "SAC", "bad"])
    assert found.lines[0].startswith("PPO has a better return_iqm than each of the others. (10 ")
    assert all(pair.p_holm >= pair.p for pair in found.pairs)
    files = xt.write_comparison(found, tmp_path, formats=["md", "html", "csv", "tex"])
    page = files[0].read_text()
    for name in ("number-strips", "intervals", "improvement", "number-profile"):
        assert f"comparison-figures/{name}.svg" in page
        assert (tmp_path / f"comparison-figures/{name}.svg").exists()
    assert "return\\_iqm" in files[3].read_text()
    assert "solved" not in page
    for plot in (xt.plot_strips, xt.plot_intervals, xt.plot_improvement, xt.plot_number_profile):
        assert plot(found, backend="matplotlib") is not None
        assert plot({"PPO": PPO, "SAC": SAC}, number="loss").data
    assert xt.plot_strips(PPO).data
    with pytest.raises(xt.InputError, match="nothing to compare it with"):
        xt.plot_improvement(PPO)


@pytest.mark.parametrize("by", ["return_mean", "return_iqm", "return_median"])
def test_where_every_seed_of_one_crashed_the_comparison_is_written(by, tmp_path):
    def crashes(config, seed):
        raise ValueError("diverged")

    dead = xt.evaluate({}, range(10), train=crashes, workers=0, verbose=0)
    found = xt.compare(PPO, dead, by=by, labels=["PPO", "dead"])
    page = xt.write_comparison(found, tmp_path, formats=["md"])[0].read_text()
    assert "| dead | 10 | 10 | failed |" in page


def changing(before, then, at, seeds):
    """An outcome whose number changes at a seed."""

    def training(config, seed):
        return {"score": before if seed < at else then}

    return xt.evaluate({}, seeds, train=training, workers=0, verbose=0)


@pytest.mark.parametrize("bounds", [None, [0, 1]])
def test_of_seeds_that_overlap_in_part_all_shown_is_of_those_compared(bounds):
    pair = changing(0.1, 0.9, 50, range(100)), changing(0.8, 0.3, 100, range(50, 150))
    found = xt.compare(pair, by="score_mean", labels=["a", "b"], bounds=bounds)
    [row] = found.table.itertuples()
    assert (row.n_a, row.value_a, row.value_b) == (50, pytest.approx(0.9), pytest.approx(0.8))
    assert row.low_a <= row.value_a <= row.high_a
    assert row.low_b <= row.value_b <= row.high_b
    shown = [str(estimate) for estimate in found.estimates(found.pairs[0])]
    assert f"a has a better score_mean than b: {shown[0]} against {shown[1]}, diff" in str(found)


def test_who_is_better_is_said_by_the_seeds_that_are_tested():
    pair = changing(0.5, 0.5, 0, range(40)), changing(1.0, 0.0, 190, range(150, 1150))
    found = xt.compare(pair, by="score_mean", labels=["a", "b"], bounds=[0, 1])
    [tested] = found.pairs
    assert (tested.n_a, tested.n_b, tested.difference) == (40, 40, pytest.approx(-0.5))
    assert (found.best, tested.value_b) == (1, 1.0)


def test_not_worse_by_more_than_a_margin():
    found = xt.compare(SAC, PPO, by="return_mean", margin=60, labels=["SAC", "PPO"])
    assert found.not_worse(found.pairs[0])
    assert not found.first_is_worse
    assert "SAC is not worse than PPO by more than 60 (one-sided p" in str(found)
    close = xt.compare(SAC, PPO, by="return_mean", margin=5)
    assert (close.not_worse(close.pairs[0]), close.first_is_worse) == (False, True)
    bounded = xt.compare(PPO, SAC, by="return_mean", margin=150, bounds=[100, 220])
    assert bounded.not_worse(bounded.pairs[0])


def test_margins_of_rates_are_tango_s_and_miettinen_and_nurminen_s():
    # Tango (1998), table 4: 43 of 44 and 1 discordant seed each way: Z = 1.709 at a margin of 0.1.
    assert paired_margin_p(0, 1, 44, 0.1) == pytest.approx(scipy.stats.norm.sf(1.709), abs=2e-4)
    for k1, n1, k2, n2 in ((18, 20, 17, 25), (40, 50, 45, 50), (50, 50, 49, 50)):
        rate = np.linspace(1e-6, 0.9 - 1e-6, 400_001)  # of the first; the other's is larger by 0.1
        mine = scipy.special.xlogy(k1, rate) + scipy.special.xlog1py(n1 - k1, -rate)
        other = rate + 0.1
        theirs = scipy.special.xlogy(k2, other) + scipy.special.xlog1py(n2 - k2, -other)
        likely = (mine + theirs).argmax()
        p, q = rate[likely], other[likely]
        error = (p * (1 - p) / n1 + q * (1 - q) / n2) * (n1 + n2) / (n1 + n2 - 1)
        score = (k1 / n1 - k2 / n2 + 0.1) / error**0.5
        oracle = scipy.stats.norm.sf(score)
        assert unpaired_margin_p(k1, n1, k2, n2, 0.1) == pytest.approx(oracle, abs=1e-5)
    rng = np.random.default_rng(4)
    rates = [
        xt.evaluate({}, range(200), train=partial(solves, good), workers=0, verbose=0)
        for good in rng.random((2, 200)) < 0.97
    ]
    found = xt.compare(*rates, margin=0.08, labels=["new", "old"])
    assert found.not_worse(found.pairs[0])
    assert "new is not worse than old by more than 8 points" in str(found)
    assert bool(found.table.not_worse[0])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"by": "return"},
            "by: 'return' is no statistic of a number.*with sequential also the name",
        ),
        ({"by": "height_mean"}, "there is no number 'height'"),
        ({"bounds": [0, 1]}, "bounds: .*only with by="),
        ({"by": "return_mean", "bounds": [1, 0]}, "bounds: .*two numbers"),
        ({"by": "return_mean", "bounds": [0, 1]}, "bounds: a seed has the number"),
        ({"by": "return_mean", "margin": -1}, "margin: -1 is out of range"),
        ({"margin": 1.5}, "margin: 1.5 is out of range"),
    ],
)
def test_what_means_nothing_is_refused(more, words):
    with pytest.raises(xt.InputError, match=words):
        xt.compare(PPO, SAC, **more)


def test_means_with_limits_are_compared_until_one_is_left_and_the_rest_is_dropped():
    three = [{"base": base} for base in (170, 120, 165)]
    more = {"train": train, "workers": 0, "verbose": 0, "output": "o", "sequential": True}
    found = xt.compare(three, by="return_mean", bounds=[80, 220], max_seeds=300, **more)
    assert found.contestants[1].outcome.n < found.n
    assert 1 in found.dropped
    assert found.best in (0, None)
    assert "was dropped after" in str(found) or found.pairs[2].ahead == 2
    again = xt.compare(three[:2], by="return_median", max_seeds=300, **more)
    assert (again.best, again.n < 100) == (0, True)
    assert again.pairs[0].low > 0
    with pytest.raises(xt.InputError, match="looked at after every seed"):
        xt.compare(three[:2], by="return_iqm", **more)


def test_each_look_at_quantiles_is_computed_once(monkeypatch):
    looks = []

    def looked(numbers, share, *, alpha, first):
        low, high = anytime_quantiles(numbers, share, alpha=alpha, first=first)
        looks.extend(range(first, first + low.size))
        return low, high

    monkeypatch.setattr("xortune.comparisons.measures.anytime_quantiles", looked)
    more = {"train": train, "workers": 0, "verbose": 0, "output": "o", "sequential": True}
    found = xt.compare([{"base": 170}, {"base": 171}], by="return_median", max_seeds=90, **more)
    assert (found.n, sorted(looks)) == (90, sorted(2 * list(range(1, 91))))


def test_an_answer_about_quantiles_is_the_same_whether_it_grows_or_not():
    rng = np.random.default_rng(4)
    seeds = rng.normal([[0.9], [0.0], [0.7]], size=(3, 400))
    looked, dropped, n = {}, {}, 0
    while n < 400:
        n += 8
        own = [one[: dropped.get(place, n)] for place, one in enumerate(seeds)]
        measure = Measure("x", "median", "larger")
        found, _ = in_step(own, 400, measure, looked=looked)
        assert found.pairs == in_step(own, 400, measure)[0].pairs
        dropped |= dict.fromkeys(found.dropped - dropped.keys(), n)
    assert dropped


def signs(*numbers, better="larger", most):
    return in_step(numbers, most, Measure("x", SIGN, better))[0]


def test_numbers_without_limits_are_compared_by_the_seeds_under_which_one_is_better():
    """At every look, whatever the numbers are: here without a mean, many tied, some failed."""
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(200):
        luck = rng.standard_cauchy(80)  # of a seed, for both
        pair = luck + np.where(rng.random((2, 80)) < 0.5, 0.0, rng.standard_cauchy((2, 80)))
        pair[rng.random((2, 80)) < 0.1] = -np.inf
        found = signs(*pair, most=80)
        wrong += found.pairs[0].ahead is not None
        assert found.pairs[0].low <= 0 <= found.pairs[0].high or found.dropped
    assert wrong <= 17  # 10 expected at most, and 2.2 standard deviations
    better = [luck + 1e-3, luck]
    for direction, best in (("larger", 0), ("smaller", 1)):
        assert signs(*better, better=direction, most=80).best == best
    three = {"train": train, "workers": 0, "verbose": 0, "output": "o", "max_seeds": 200}
    pair = [{"base": base} for base in (180, 170)]
    found = xt.compare(pair, by="return", sequential=True, labels=["a", "b"], **three)
    assert (found.best, found.first_is_worse, found.n < 40) == (0, False, True)
    assert str(found).startswith(
        f"a has a better return than b under more seeds, proven by seed {found.n}"
    )
    [both] = found.pairs
    assert (both.wins + both.losses, both.value_a) == (found.n, both.wins / found.n)
    assert both.low >= 0
    page = xt.write_comparison(found, "out", formats=["md"])[0].read_text()
    assert "the seeds under which A has a better return" in " ".join(page.split())
    assert "solved" not in page


@pytest.mark.parametrize(("rule", "best"), [("drift <= 0.5", "a"), ("drift >= 0.5", "b")])
def test_the_rule_for_success_says_which_number_is_better_seed_after_seed_too(tmp_path, rule, best):
    def drift(config, seed):
        return {"drift": config["height"] + np.random.default_rng(seed).random() / 10}

    for how in ({"sequential": True, "by": "drift"}, {"seeds": 40, "by": "drift_mean"}):
        found = xt.compare(
            [{"height": 0.2}, {"height": 0.7}],
            train=drift,
            success=rule,
            labels=["a", "b"],
            bounds=(0, 1),
            workers=0,
            verbose=0,
            output=tmp_path,
            **how,
        )
        assert str(found).startswith(f"{best} has a better drift")


def test_what_is_beaten_is_dropped_and_the_family_s_error_is_kept():
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(150):
        wrong += bool(in_step(rng.random((4, 60)) < 0.8, 60)[0].dropped)
    assert wrong <= 14  # 7.5 expected at most, and 2.4 standard deviations
    rates = np.array([0.97, 0.9, 0.4, 0.3])
    found, _ = in_step([rng.random(60) < rate for rate in rates], 60)
    seeds = [one.outcome.n for one in found.contestants]
    assert seeds[2] < seeds[0]
    assert seeds[3] < seeds[0]
    assert {2, 3} <= found.dropped
    for pair in found.pairs:
        assert pair.n_a == min(seeds[pair.a], seeds[pair.b])


@pytest.mark.parametrize("file", ["train.py", "queue.py"])  # the second as a module of Python
def test_two_files_of_parameters_at_the_command_line(file):
    Path(file).write_text(TRAIN)
    for name, base in (("ppo", 175), ("sac", 150)):
        Path(f"{name}.yaml").write_text(f"base: {base}\n")
    words = (
        "compare",
        "ppo.yaml",
        "sac.yaml",
        "--trainer",
        f"./{file}:train",
        "--by",
        "return_iqm",
    )
    words += ("--seeds", 10, "--output", "out", "--workers", 0)
    result = xortune(*words, code=0)
    assert "ppo has a better return_iqm than sac: " in " ".join(result.stdout.split())
    assert "solved" not in result.stdout
    found = json.loads(xortune(*words, "--margin", 5, "--json", code=0).stdout)
    assert (found["by"], found["better"], found["pairs"][0]["not_worse"]) == (
        *("return_iqm", "larger"),
        True,
    )
    assert [one["label"] for one in found["contestants"]] == ["ppo", "sac"]
    worse = ("compare", "sac.yaml", "ppo.yaml", *words[3:], "--fail-if-worse")
    assert xortune(*worse).exit_code == 1


def test_a_rule_for_success_at_the_command_line_judges_what_files_of_parameters_return():
    Path("train.py").write_text(TRAIN)
    for name, base in (("ppo", 175), ("sac", 150)):
        Path(f"{name}.yaml").write_text(f"base: {base}\n")
    words = ("compare", "ppo.yaml", "sac.yaml", "--trainer", "./train.py:train", "--seeds", 10)
    words += ("--success", "return >= 160", "--output", "out", "--workers", 0)
    assert "ppo solves more seeds than sac" in " ".join(xortune(*words, code=0).stdout.split())


def test_a_mean_is_proven_refuted_or_given_up():
    def score(config, seed):
        if config.get("fails") and seed % 3 == 0:
            raise ValueError("no luck")
        return {"score": float(np.random.default_rng(seed).beta(9, 1)), "other": 2.0}

    more = {"train": score, "workers": 0, "verbose": 0}
    proven = xt.gate({}, min_mean=0.8, of="score", bounds=[0, 1], **more)
    assert (proven.answer, proven.passed, proven.n < 80) == ("proven", True, True)
    assert proven.low < proven.value < proven.high
    assert proven.line.startswith("proven: mean of score 0.")
    refuted = xt.gate({}, min_mean=0.97, of="score", **more)
    assert (refuted.answer, refuted.n < 40) == ("refuted", True)
    lost = xt.gate({"fails": 1}, min_mean=0.62, max_seeds=100, **more)
    assert lost.answer in ("undecided", "refuted")
    assert "failed (seed" in lost.line
    close = xt.gate({}, min_mean=0.9, max_seeds=100, **more)
    assert (close.answer, close.n < 100) == ("undecided", True)
    assert "0.9 cannot be proven any more with 100 seeds" in close.line
    for wrong, words in (
        ({"min_mean": 0.5, "of": "height"}, "there is no number 'height'"),
        ({"min_mean": 0.5, "of": "other"}, "a seed has the number 2"),
        ({"min_mean": 2}, "min_mean: 2 is out of range"),
        ({"min_mean": 5e-324}, "min_mean: 5e-324 is out of range"),
        ({"min_mean": 1.0, "bounds": [-1e17, 1.5]}, "min_mean: 1.0 is out of range"),
        ({"min_mean": 0.0, "bounds": [-1e308, 1e308]}, "bounds: .*two numbers"),
        ({"min_mean": 0.8, "max_seeds": 5}, "5 seeds cannot prove a mean of 0.8"),
        ({"min_mean": 0.8, "min_rate": 0.5}, "both min_rate and min_mean"),
        ({}, "nothing to prove"),
        ({"min_rate": 0.5, "of": "score"}, "only with a number to prove"),
    ):
        with pytest.raises(xt.InputError, match=words):
            xt.gate({}, **wrong, **more)


def test_a_race_of_means_stops_what_the_bounds_prove_worse(tmp_path):
    def score(config, seed):
        noise = np.random.default_rng([seed, int(1000 * config["q"])])
        return float(np.clip(noise.normal(config["q"], 0.1), 0, 1))

    space = {
        "name": "n",
        "parameters": {"q": {"choice": [0.3, 0.5, 0.9]}},
        "objectives": [{"name": "value_mean", "direction": "maximize"}],
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [8, 16, 32, 64, 128]},
    }
    stops = {}
    for bounds in (None, [0, 1]):
        given = space if bounds is None else space | {"bounds": bounds}
        run = xt.search(
            given, train=score, output=tmp_path / str(bounds is None), workers=0, verbose=0
        )
        assert run.best["q"] == 0.9
        stops[bounds is None] = run
    assert stops[False].asked.bounds == (0, 1)
    assert stops[False].results.counts.n.sum() <= stops[True].results.counts.n.sum()
    with pytest.raises(xt.InputError, match="bounds: \\[1, 0\\]"):
        xt.search(space | {"bounds": [1, 0]}, train=score, output=tmp_path / "x", verbose=0)
    with pytest.raises(xt.InputError, match="no objective is one"):
        xt.search(
            {**space, "bounds": [0, 1], "objectives": ["success_rate"]},
            train=score,
            output=tmp_path / "x",
            verbose=0,
        )


AGENTS = """
name: agents
trainer: {function: ./train.py:train}
objectives: [return_mean]
parameters: {base: {choice: [150, 160, 175, 130]}}
search: {sampler: grid}
seeds: {ladder: [4, 8]}
"""


def test_a_search_for_a_number_speaks_of_the_number_alone():
    """What no rule asks for is no success, anywhere: the line, status, the table, the report."""
    Path("train.py").write_text(TRAIN)
    Path("agents.yaml").write_text(AGENTS)
    result = xortune(
        "search", "agents.yaml", "--output", "run", "--workers", 0, code=0, traceback=True
    )
    said = result.stdout + result.stderr
    assert "best return_mean 17" in said
    run = xt.load_run("run")
    assert run.best["base"] == 175
    status = xortune("status", "run", code=0).stdout
    assert "return_mean 17" in status
    assert "8/8 finished" in status
    report = Path("run/report.md").read_text()
    assert "figures/intervals.svg" in report
    for text in (said, status, report, repr(xt.status("run")), xt.status("run")._repr_html_()):
        assert not [word for word in ("solved", "success") if word in text.lower()]
    assert "best return_mean 17" in repr(run)
    notebook = run._repr_html_()
    for column in ("n", "return_mean", "return_mean_low", "return_mean_high"):
        assert f"<th>{column}</th>" in notebook
    words = r"\b(solved?|solves|success\w*|rates?|wilson)\b"
    for text in (repr(run), notebook, Path("run/table.tex").read_text()):
        assert not re.search(words, text, re.IGNORECASE)


PRINTS = """
name: prints
trainer:
  command: echo 'score {x}{seed}'
  metric: {regex: 'score (.*)', name: score}
  timeout: 1m
objectives: [score_mean]
parameters: {x: {choice: [1, 2]}}
search: {sampler: grid}
seeds: {ladder: [2]}
"""


@pytest.mark.parametrize("space", [AGENTS, PRINTS])
def test_what_a_search_for_a_number_suggests_certifies_it_on_fresh_seeds(space):
    Path("train.py").write_text(TRAIN)
    Path("space.yaml").write_text(space)
    words = ("search", "space.yaml", "--output", "my run", "--workers", 0)
    said = xortune(*words, code=0, traceback=True).stdout
    (command,) = [line for line in said.splitlines() if line.startswith("  xortune certify ")]
    few = ["12" if word == "1000" else word for word in shlex.split(command)[1:]]
    found = json.loads(xortune(*few, "--workers", 0, "--json", code=0).stdout)
    best, [objective] = xt.load_run("my run").best_params, xt.load_run("my run").objectives
    assert {one["n"] for one in found["finalists"]} == {12}
    assert best in [one["config"] for one in found["finalists"]]
    assert math.isfinite(found["finalists"][0][objective.name]["value"])
    assert xortune("export", "my run", "--output", "best.yaml", code=0)
    assert "On fresh seeds from" in Path("best.yaml").read_text()
    assert yaml.safe_load(Path("best.yaml").read_text()) == found["finalists"][0]["config"]


def numbered(*numbers, apart=False):
    """Outcomes with these numbers, of shared seeds or of their own."""

    def training(config, seed):
        return {"x": float(numbers[config["place"]][seed % 1000])}

    return [
        xt.evaluate(
            {"place": place},
            range(1000 * place * apart, 1000 * place * apart + len(own)),
            train=training,
            workers=0,
            verbose=0,
        )
        for place, own in enumerate(numbers)
    ]


SAMPLES = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=9)


@settings(max_examples=60, deadline=None)
@given(SAMPLES, SAMPLES, st.sampled_from(["mean", "iqm", "median", "q25"]), st.booleans())
def test_an_interval_of_a_difference_is_that_of_its_test(one, other, statistic, shared):
    first, second = (np.array(x) + np.arange(len(x)) / 64 for x in (one, other))
    if shared:
        first, second = first[: second.size], second[: first.size]
    for alpha in (0.05, 0.2):
        found = difference(first, second, statistic, shared=shared, alpha=alpha)
        assert (found.p < alpha) == (not found.low <= 0 <= found.high)
        assert math.isnan(found.value) or found.low <= found.value <= found.high
        back = difference(second, first, statistic, shared=shared, alpha=alpha)
        assert (back.p, back.low, back.high) == pytest.approx((found.p, -found.high, -found.low))


def test_the_interval_beside_a_p_of_rearranged_labels_is_of_rearranged_labels():
    """Welch's interval of these is 97.8 to 102.2, beside a p of 0.029 that is not Welch's."""
    first, second = np.arange(4) + 100.0, np.arange(4) + 0.0
    found = difference(first, second, "mean", shared=False, alpha=0.05)
    assert found.p == pytest.approx(2 / math.comb(8, 4))
    assert (found.low, found.high) == pytest.approx((97, 103), abs=0.01)
    said = str(xt.compare(numbered(first, second, apart=True), by="x_mean"))
    assert "no difference of so few seeds has a smaller p, however large" in said
    three = difference(first[:3], second[:3], "mean", shared=False, alpha=0.05)
    assert (three.p, three.low, three.high) == (0.1, -math.inf, math.inf)  # nothing can be refuted


def test_of_several_no_interval_without_0_stands_beside_a_p_that_proves_nothing():
    rng = np.random.default_rng(3)
    for _ in range(20):
        found = xt.compare(numbered(*rng.normal([[0], [0.9], [0.4]], size=(3, 10))), by="x_mean")
        for pair in found.pairs:
            assert pair.differs == (not pair.low <= 0 <= pair.high)


@pytest.mark.parametrize("n", [10, 30])
def test_an_interquartile_mean_with_a_gap_at_a_quartile_is_rarely_called_different(n):
    """70 % near 1, so 0.9; and numbers near 0.9. Yuen's test alone calls a third different."""
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(100):
        gap = (rng.random(n) < 0.7) + 0.03 * rng.normal(size=n)
        found = difference(gap, rng.normal(0.9, 0.03, n), "iqm", shared=False, alpha=0.05)
        wrong += found.p < 0.05
    assert wrong <= 9  # 5 expected, and two standard deviations


def test_a_mean_without_limits_says_what_it_needs():
    falls = numbered([1.0, 1.01, 0.98, 1.02, 0.99], [0.1, 0.12, 0.11, 0.09, 0.13])
    said = str(xt.compare(falls, by="x_mean"))
    assert "what happens under 45.1 % of seeds is missed by 5 seeds in one case of 20" in said
    assert "rare seeds" not in str(xt.compare(falls, by="x_mean", bounds=[0, 2]))
    assert "rare seeds" not in str(xt.compare(falls, by="x_iqm"))


def test_p_of_a_margin_is_one_sided():
    """As Tango's score test, of which one direction is asked."""
    good = np.random.default_rng(4).random((2, 200)) < 0.97
    rates = [
        xt.evaluate({}, range(200), train=partial(solves, one), workers=0, verbose=0)
        for one in good
    ]
    found = xt.compare(*rates, margin=0.08, labels=["new", "old"])
    [pair] = found.pairs
    assert pair.p_margin == paired_margin_p(pair.wins, pair.losses, 200, 0.08)
    assert f"(one-sided p = {pair.p_margin:.3g}" in str(found) or pair.p_margin < 0.001
    one, other = np.random.default_rng(0).normal([[1.0], [0.8]], 1.0, size=(2, 60))
    welch = scipy.stats.ttest_ind(one + 0.3, other, equal_var=False, alternative="greater")
    [pair] = xt.compare(numbered(one, other, apart=True), by="x_mean", margin=0.3).pairs
    assert pair.p_margin == pytest.approx(welch.pvalue)
    [pair] = xt.compare(numbered(one, other, apart=True), by="x_median", margin=3).pairs
    two_sided = difference(one + 3, other, "median", shared=False, alpha=0.05).p
    assert pair.p_margin == pytest.approx(two_sided / 2)


def test_of_means_with_limits_no_order_of_seeds_decides():
    """Better under the first half and as much worse under the second: no difference."""
    first = np.array([1.0] * 40 + [0.0] * 40)
    found = xt.compare(numbered(first, 1 - first), by="x_mean", bounds=[0, 1])
    [pair] = found.pairs
    assert (pair.difference, pair.differs, pair.low <= 0 <= pair.high) == (0, False, True)
    assert pair.p == 1
    estimate = found.estimate(0)
    assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(st.sampled_from([-1.0, -0.001, 0.0, 0.001, 1.0]), min_size=1, max_size=60))
def test_an_interval_at_every_look_has_its_estimate(apart):
    measure = Measure("x", "mean", "larger", (-1.0, 1.0))
    numbers = np.array(apart), np.zeros(len(apart))
    for asked in (measure, Measure("x", SIGN, "larger")):
        [pair] = in_step(numbers, 100, asked)[0].pairs
        assert pair.low <= pair.difference <= pair.high
        assert (pair.ahead is None) == (pair.low <= 0 <= pair.high) or pair.low * pair.high == 0
