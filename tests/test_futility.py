"""Trials that have little left to win: what is expected of them, and what that saves."""

from math import comb
from types import SimpleNamespace

import optuna
import pytest

import xortune as xt
from xortune.racing.race import FUTILITY, expected_gain, is_futile


def exact(k, n, bk, bn):
    """The integral of the two polynomials in x that these beta distributions have."""
    m, b = n + 1, bn + 1  # Pr(P > x): at most k of m below x; Pr(Q < x): more than bk of b
    return sum(
        comb(m, i) * comb(b, j) / ((m + b + 1) * comb(m + b, i + j))
        for i in range(k + 1)
        for j in range(bk + 1, b + 1)
    )


@pytest.mark.parametrize(
    "counts", [(0, 1, 1, 1), (1, 1, 60, 60), (6, 6, 60, 60), (3, 9, 200, 300), (0, 4, 5, 10)]
)
def test_the_expected_gain_is_the_integral(counts):
    assert expected_gain(*counts) == pytest.approx(exact(*counts), rel=1e-9)


def test_who_leads_is_never_futile():
    for other in (4_999, 5_000):  # two equal ones would stop each other
        assert not is_futile(5_000, 10_000, [(other, 10_000)], 0.005)
    assert is_futile(4_999, 10_000, [(5_000, 10_000), (1, 1_000)], 0.005)
    assert not is_futile(0, 9, [], 0.005)
    assert not is_futile(0, 60, [(60, 60)], None)


@pytest.mark.parametrize(("futility", "last"), [(FUTILITY, "STOP"), (None, "CONTINUE")])
def test_a_trial_is_stopped_when_it_has_little_to_win(futility, last):
    """Too early for a proof: of Ray, and of Optuna."""
    study = optuna.create_study(pruner=xt.SeedRacePruner(futility=futility))
    first, second = study.ask(), study.ask()
    first.report(20, step=20)
    second.report(1, step=4)
    assert not first.should_prune()
    assert second.should_prune() == (last == "STOP")
    scheduler = xt.SeedRaceScheduler(futility=futility)
    good, bad = (SimpleNamespace(trial_id=name, last_result=None) for name in ("good", "bad"))
    for trial in (good, bad):
        scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, good, {"successes": 20, "n": 20}) == "CONTINUE"
    assert scheduler.on_trial_result(None, bad, {"successes": 1, "n": 4}) == last


@pytest.mark.parametrize("plugin", [xt.SeedRacePruner, xt.SeedRaceScheduler])
@pytest.mark.parametrize("name", ["futility", "alpha"])
@pytest.mark.parametrize("value", [0, 1, -0.1])
def test_what_is_no_difference_of_rates_and_no_risk_is_refused(plugin, name, value):
    with pytest.raises(xt.InputError, match=name):
        plugin(**{name: value})
