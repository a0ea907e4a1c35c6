import numpy as np
import pytest
from hand_made import RIGHT, WRONG, done, outcome, solved

from xortune.reports.tables import best_subset as tied_set
from xortune.runs.run import Run


def results(tmp_path, *outcomes):
    found = [done(i, {"p": i}, result) for i, result in enumerate(outcomes)]
    return Run(tmp_path, {}, tuple(found)).results


def names(tied):
    return [member.point["p"] for member in tied.members]


def test_nothing_and_one(tmp_path):
    nothing = tied_set(results(tmp_path), 0)
    assert (nothing.compared, names(nothing)) == (0, [])
    one = tied_set(results(tmp_path, solved(0, 1, 2)), 2)
    assert (one.full, one.compared, one.stopped, names(one)) == (2, 1, 0, [0])


def test_stopped_early_is_not_tied(tmp_path):
    tied = tied_set(results(tmp_path, solved(0, 100, 128), solved(0, 8, 8)), 128)
    assert (tied.compared, tied.stopped, names(tied)) == (1, 1, [0])


def test_none_got_the_full_seeds(tmp_path):
    tied = tied_set(results(tmp_path, solved(0, 8, 8)), 128)
    assert (tied.compared, tied.stopped, names(tied)) == (0, 1, [])


@pytest.mark.parametrize(("lost", "stays"), [(4, True), (5, False)])
def test_the_level_of_two(tmp_path, lost, stays):
    # The best wins every discordant seed: p = 2**-lost, and 2**-5 < 0.05 < 2**-4.
    tied = tied_set(results(tmp_path, solved(0, 32, 32), solved(0, 32 - lost, 32)), 32)
    assert names(tied) == ([0, 1] if stays else [0])


@pytest.mark.parametrize(("lost", "stays"), [(6, True), (7, False)])
def test_the_level_is_divided_among_the_others(tmp_path, lost, stays):
    # Five others: 0.05 / 5 = 0.01 lies between 2**-7 and 2**-6.
    others = [solved(0, 32 - lost, 32)] * 5
    assert len(tied_set(results(tmp_path, solved(0, 32, 32), *others), 32).members) == (
        6 if stays else 1
    )


def test_only_shared_seeds_count(tmp_path):
    # The second failed only where the first was never trained.
    first = outcome(0, [RIGHT] * 32)
    second = outcome(16, [RIGHT] * 16 + [WRONG] * 16)
    assert names(tied_set(results(tmp_path, first, second), 32)) == [0, 1]


def test_the_truly_best_is_kept_in_19_of_20_runs(tmp_path):
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(200):
        # All are equally good, so any one may be called the truly best: here the first.
        found = [outcome(0, np.where(rng.random((40, 1)) < 0.8, RIGHT, WRONG)) for _ in range(6)]
        kept += 0 in names(tied_set(results(tmp_path, *found), 40))
    assert kept >= 190
