"""Which configurations may be the best, as far as is known: for rates and numbers alike."""

import json
from dataclasses import replace

import numpy as np
import pytest
from commands import xortune
from figure_runs import scored
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, solved

import xortune as xt
from xortune.runs.best import best_subset
from xortune.runs.run import Run
from xortune.spaces.model import Objective


def results(tmp_path, outcomes, **manifest):
    lines = [done(i, CONFIG | {"id": i}, one) for i, one in enumerate(outcomes)]
    return Run(tmp_path, manifest, tuple(lines)).results


def counted(tmp_path, counts, rungs=()):
    """How many others have too few seeds, and the ids of the members, of successes of seeds."""
    found = best_subset(results(tmp_path, [solved(0, *one) for one in counts]), rungs)
    return found.too_few, sorted(member.point["id"] for member in found.members)


def of_numbers(name, maximize=True, failed=None):
    number, _, statistic = name.rpartition("_")
    return Objective(name, maximize, number=number, statistic=statistic, failed=failed)


def numbered(tmp_path, numbers, name="score_iqm", *, rungs=(), maximize=True, limits=None, **more):
    objective = of_numbers(name, maximize, **more)
    found = results(
        tmp_path,
        [scored(one, statuses=np.where(np.isnan(one), 5, 0)) for one in numbers],
        objectives=[
            {"name": name, "direction": "maximize" if maximize else "minimize"}
            | {"number": objective.number, "statistic": objective.statistic}
            | more
        ],
        ladder=[*rungs],
    )
    subset = best_subset(found, rungs, objective, limits)
    return subset.too_few, sorted(member.point["id"] for member in subset.members)


def test_a_configuration_with_few_seeds_is_not_told_apart_and_counted(tmp_path):
    """Of 4 pairs all are better by chance in 1 of 16 cases, of 8 in 1 of 256."""
    assert counted(tmp_path, [(128, 128), (0, 4)]) == (1, [0])
    assert counted(tmp_path, [(128, 128), (0, 8)]) == (0, [0])
    assert counted(tmp_path, [(128, 128), (8, 8)]) == (0, [0, 1])


@pytest.mark.parametrize(
    ("others", "lost", "stay"), [(1, 4, True), (1, 5, False), (5, 6, True), (5, 7, False)]
)
def test_the_level_is_divided_among_the_others(tmp_path, others, lost, stay):
    """The best wins every discordant seed, so p = 2**-lost, held against 0.05 / others."""
    rows = [(32, 32), *[(32 - lost, 32)] * others]
    assert counted(tmp_path, rows)[1] == ([*range(1 + others)] if stay else [0])


def test_the_level_is_divided_among_the_looks_of_a_race_that_may_tell(tmp_path):
    rows = [(32, 32), (27, 32)]  # p = 1/32
    assert counted(tmp_path, rows, (4, 32))[1] == [0]  # no 4 seeds tell, so one look counts
    assert counted(tmp_path, rows, (8, 32))[1] == [0, 1]
    assert counted(tmp_path, [(32, 32), (26, 32)], (8, 32))[1] == [0]


def test_only_shared_seeds_up_to_a_rung_count(tmp_path):
    # The second failed only where the first was never trained.
    both = [solved(0, 32, 32), outcome(16, [RIGHT] * 16 + [WRONG] * 16)]
    assert len(best_subset(results(tmp_path, both)).members) == 2
    later = [solved(0, 32, 32), outcome(0, [RIGHT] * 16 + [WRONG] * 8)]
    assert len(best_subset(results(tmp_path, later)).members) == 1
    assert len(best_subset(results(tmp_path, later), (16, 32)).members) == 2


NOISE = np.random.default_rng(0).normal(size=64)
HARD = 5 * np.random.default_rng(1).normal(size=64)  # of seeds that all share


@pytest.mark.parametrize("name", ["score_iqm", "score_mean", "score_median"])
@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_are_told_apart_by_pairs_in_either_direction(tmp_path, name, sign):
    better, worse, alike = HARD + NOISE, HARD - 4 + NOISE[::-1], HARD + NOISE[::-1] - 0.1
    if name == "score_median":  # by order statistics of each
        better, worse, alike = NOISE + 4, NOISE[::-1], NOISE[::-1] + 3.9
    given = [sign * one for one in (better, worse, alike, better[:4] - 9)]
    few, members = numbered(tmp_path, given, name, maximize=sign > 0, rungs=(4, 64))
    assert few == 1
    assert members == [0, 2]


def test_a_failed_seed_is_worse_than_any_number(tmp_path):
    whole, lost = NOISE + 9, NOISE[::-1] + 9.1
    some = np.where(np.arange(64) < 4, np.nan, lost)
    most = np.where(np.arange(64) < 40, np.nan, lost)
    assert numbered(tmp_path, [whole, some], "score_mean") == (0, [0])
    assert numbered(tmp_path, [whole, some], "score_iqm") == (0, [0, 1])
    assert numbered(tmp_path, [whole, most], "score_iqm") == (0, [0])
    assert numbered(tmp_path, [whole, most], "score_median") == (0, [0])
    assert numbered(tmp_path, [whole, some], "score_mean", failed=8.0) == (0, [0, 1])


def test_means_of_numbers_with_limits_are_compared_by_bets_at_any_look(tmp_path):
    good, bad = np.full(64, 0.9), np.full(64, 0.2)
    at = {"limits": (0.0, 1.0), "rungs": (4, 8, 16, 64)}
    assert numbered(tmp_path, [good, bad], "score_mean", **at) == (0, [0])
    assert numbered(tmp_path, [good, good - 0.01], "score_mean", **at) == (0, [0, 1])
    failed = np.where(np.arange(64) < 40, np.nan, 0.95)
    assert numbered(tmp_path, [good, failed], "score_mean", **at) == (0, [0])


def test_many_pairs_are_told_apart_at_levels_that_no_rearrangement_reaches(tmp_path):
    """With 300 others and ties p would have to be below 1 / 6,000."""
    best, others = np.round(NOISE + 5, 1), [np.round(NOISE[::-1] + i / 900, 1) for i in range(300)]
    assert numbered(tmp_path, [best, *others]) == (0, [0])


@pytest.mark.parametrize("name", ["score_iqm", "score_mean"])
def test_of_equal_configurations_a_given_one_stays(tmp_path, name):
    """Bimodal and tied numbers, a race whose results say who gets the seeds."""
    rng, lost = np.random.default_rng(3), 0
    for _ in range(40):
        all_numbers = np.where(rng.random((10, 64)) < 0.7, 1.0, 0.0)
        middle = np.array([np.mean(np.sort(one[:16])[4:12]) for one in all_numbers])
        seeds = np.where(middle >= np.sort(middle)[-2], 64, 16)
        given = [one[:n] for one, n in zip(all_numbers, seeds, strict=True)]
        few, members = numbered(tmp_path, given, name, rungs=(4, 16, 64))
        lost += few == 0 and 0 not in members
    assert lost <= 4


def search(tmp_path, **more):
    def train(config, seed):
        return {"return": [10.0, 10.2, 3.0][config["arm"]] + np.sin(seed * (config["arm"] + 1))}

    space = {
        "name": "arms",
        "parameters": {"arm": {"low": 0, "high": 2}},
        "search": {"sampler": "grid"},
        "objectives": ["return_iqm"],
        "seeds": {"ladder": [32]},
    }
    return xt.search(space | more, train=train, output=tmp_path / "run", workers=0, verbose=0)


def test_report_terminal_json_and_python_say_the_same(tmp_path):
    run = search(tmp_path)
    subset = run.indistinguishable
    assert (subset.total, subset.size, subset.told_apart, subset.too_few) == (3, 2, 1, 0)
    assert str(subset) == (
        "As good as the best, as far as is known: 2 of 3 configurations (arm 1; arm 0); "
        "with 95 % confidence the best of all is among them."
    )
    assert str(subset) in (run.path / "report.md").read_text(encoding="utf-8")
    assert str(subset) in " ".join(xortune("report", run.path).output.split())
    shown = json.loads(xortune("report", run.path, "--json").output)["indistinguishable"]
    assert (shown["size"], shown["of"], shown["text"]) == (2, 3, str(subset))
    assert run.table["key"][:2].tolist() == shown["keys"]


@pytest.mark.parametrize(
    ("total", "members", "few", "text"),
    [
        (2, 2, 0, "The other is not told apart from the best."),
        (2, 1, 1, "The other is not told apart from the best; it has too few seeds for that."),
        (2, 1, 0, "The other is told apart from the best: with 95 % confidence the best of all is "
         "this one."),
        (9, 1, 8, "The 8 others are not told apart from the best; all have too few seeds for "
         "that."),
        (9, 3, 6, "The 8 others are not told apart from the best; 6 of them have too few seeds "
         "for that."),
        (1000, 8, 300, "As good as the best, as far as is known: 308 of 1,000 configurations, 300 "
         "of them with too few seeds to tell; with 95 % confidence the best of all is among them."),
    ],
)  # fmt: skip
def test_the_sentence_counts(tmp_path, total, members, few, text):
    found = results(tmp_path, [solved(0, 9, 9)] * members)
    subset = best_subset(results(tmp_path, [solved(0, 9, 9)] * 2))
    assert str(replace(subset, total=total, members=found, too_few=few)) == text
