"""Bounds of any statistic: how often they are wrong, by simulation and by enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xortune.core.errors import InputError
from xortune.core.numbers import IQM, MEAN, quantile
from xortune.stats.statistic_bounds import StatisticTest, _last_look, statistic_bounds

MEDIAN, Q10 = quantile(50, "median"), quantile(10)
INF = math.inf


def shapes():
    """Inverse distribution functions: as samples of them, and their quantiles, are known."""
    three = np.array([0.0, 1.0, 5.0])
    return {
        "normal": stats.norm.ppf,
        "lognormal": lambda u: np.exp(stats.norm.ppf(u)),
        "bimodal": lambda u: np.where(u < 0.3, u, 10 + u),
        "binary": lambda u: np.where(u <= 0.26, 0.0, 1.0),
        "three": lambda u: three[np.searchsorted([0.2, 0.7], u)],
        "right": lambda u: -np.log1p(-u),
        "left": np.log,
        "heavy": stats.t(2).ppf,
        "uniform": lambda u: u,
        "crashing": lambda u: np.where(u < 0.2, -INF, stats.norm.ppf(np.maximum(u, 0.2))),
    }


def truth_of(ppf, statistic, limits=None):
    if statistic.share is not None:
        return float(ppf(np.array([statistic.share]))[0])
    trim = statistic.trim
    u = trim + (1 - 2 * trim) * (np.arange(200_000) + 0.5) / 200_000
    return float(np.mean(ppf(u) if limits is None else np.clip(ppf(u), *limits)))


CASES = [
    pytest.param(name, ppf, statistic, id=f"{name} {statistic.name}")
    for name, ppf in shapes().items()
    for statistic in (IQM, MEDIAN, Q10)
]


def wrong(truth, found):
    return np.array([found.low > truth + 1e-9, found.high < truth - 1e-9])


@pytest.mark.parametrize(("name", "ppf", "statistic"), CASES)
@pytest.mark.parametrize("n", [5, 10, 30, 100])
def test_bounds_for_a_planned_number_of_seeds_are_rarely_wrong(name, ppf, statistic, n):
    rng, series, truth = np.random.default_rng(n), 200, truth_of(ppf, statistic)
    seen = sum(
        wrong(truth, statistic_bounds(ppf(rng.random(n)), statistic, alpha=0.1, anytime=False))
        for _ in range(series)
    )
    # Of a promise that is kept to the last digit more are seen in one test of 10,000.
    assert seen.max() <= stats.binom(series, 0.1).ppf(1 - 1e-4)


@pytest.mark.parametrize(("name", "ppf", "statistic"), CASES)
def test_bounds_at_every_look_are_rarely_ever_wrong(name, ppf, statistic):
    rng, series, truth = np.random.default_rng(1), 60, truth_of(ppf, statistic)
    ever = np.zeros(2)
    for _ in range(series):
        numbers = ppf(rng.random(100))
        looks = (numbers[:n] for n in (5, 10, 30, 60, 80, 100))
        ever += np.any(
            [
                wrong(truth, statistic_bounds(look, statistic, alpha=0.1, anytime=True))
                for look in looks
            ],
            axis=0,
        )
    assert ever.max() <= stats.binom(series, 0.1).ppf(1 - 1e-4)


@pytest.mark.parametrize("anytime", [False, True])
@pytest.mark.parametrize("statistic", [MEAN, IQM])
@pytest.mark.parametrize("name", ["binary", "three", "uniform", "right"])
def test_with_limits_bounds_are_rarely_wrong_and_never_open(name, statistic, anytime):
    ppf, limits, rng = shapes()[name], (0.0, 6.0), np.random.default_rng(3)
    truth, series, seen = truth_of(ppf, statistic, limits), 100, np.zeros(2)
    for n in (5, 30, 100):
        for _ in range(series):
            numbers = np.clip(ppf(rng.random(n)), *limits)
            found = statistic_bounds(numbers, statistic, alpha=0.1, anytime=anytime, limits=limits)
            assert found.exact
            assert limits[0] <= found.low <= found.high <= limits[1]
            seen += wrong(truth, found)
    assert seen.max() <= stats.binom(3 * series, 0.1).ppf(1 - 1e-4)


@pytest.mark.parametrize("statistic", [IQM, MEDIAN, MEAN])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.74, 0.76, 0.9])
def test_of_binary_numbers_the_risk_is_kept_by_enumeration(statistic, rate):
    """All 2**8 series, so that nothing is left to chance; bounds may depend on the order."""
    truth = truth_of(lambda u: np.where(u <= 1 - rate, 0.0, 1.0), statistic)
    for alpha, anytime in ((0.02, False), (0.1, False), (0.1, True)):
        risks = np.zeros(2)
        for series in itertools.product((0.0, 1.0), repeat=8):
            found = statistic_bounds(
                series, statistic, alpha=alpha, anytime=anytime, limits=(0.0, 1.0)
            )
            chance = rate ** sum(series) * (1 - rate) ** (8 - sum(series))
            risks += chance * wrong(truth, found)
        assert risks.max() <= alpha


def test_the_interquartile_mean_is_bounded_on_both_sides_from_28_seeds_on():
    def found(n):
        return statistic_bounds(np.arange(float(n)), IQM, alpha=0.025, anytime=False)

    assert (found(27).low, found(27).high) == (-INF, INF)
    assert 0 < found(28).low < 13.5 < found(28).high < 27


def test_the_shares_of_all_looks_add_up_to_no_more_than_the_risk():
    looks = {}
    for n in range(1, 20_000):
        used, risk = _last_look(n, 0.25, 0.05, is_limited=True)
        assert used <= n
        looks[used] = risk
    del looks[0]
    assert 0.5 * 0.05 < sum(looks.values()) <= 0.05
    assert max(b / a for a, b in itertools.pairwise(looks)) < 1.3


def test_a_failed_seed_is_worse_than_any_number():
    numbers = np.r_[np.linspace(0, 1, 99), math.nan]
    low = statistic_bounds(numbers, IQM, alpha=0.05, anytime=False)
    high = statistic_bounds(numbers, IQM, alpha=0.05, anytime=False, maximize=False)
    assert low.low < high.low
    assert low.high < high.high
    with_limits = statistic_bounds(numbers, MEAN, alpha=0.05, anytime=False, limits=(0, 1))
    as_zero = statistic_bounds(
        np.r_[numbers[:-1], 0.0], MEAN, alpha=0.05, anytime=False, limits=(0, 1)
    )
    assert with_limits == as_zero
    without = statistic_bounds(numbers, MEAN, alpha=0.05, anytime=False)
    assert (without.low, without.high, without.exact) == (-INF, -INF, False)


def test_of_a_mean_without_limits_nothing_is_proven():
    numbers = np.random.default_rng(0).normal(size=30)
    planned = statistic_bounds(numbers, MEAN, alpha=0.025, anytime=False)
    ends = stats.t(29, numbers.mean(), numbers.std(ddof=1) / math.sqrt(30)).interval(0.95)
    assert (planned.low, planned.high) == pytest.approx(ends)
    assert not planned.exact
    assert "approximate" in planned.method
    always = statistic_bounds(numbers, MEAN, alpha=0.025, anytime=True)
    assert (always.low, always.high) == (-INF, INF)
    assert "without limits" in always.method


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="a seed has the number 2"):
        statistic_bounds([2.0], IQM, alpha=0.05, anytime=False, limits=(0, 1))
    with pytest.raises(InputError, match="alpha"):
        statistic_bounds([2.0], IQM, alpha=1.0, anytime=False)


samples = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=1, max_size=80)
statistics = st.sampled_from([IQM, MEDIAN, Q10])


@settings(max_examples=60, deadline=None)
@given(samples, statistics, st.booleans(), st.data())
def test_a_larger_number_lowers_no_bound(numbers, statistic, anytime, data):
    at = data.draw(st.integers(0, len(numbers) - 1))
    more = [*numbers[:at], numbers[at] + data.draw(st.floats(0, 50)), *numbers[at + 1 :]]
    one, other = (
        statistic_bounds(x, statistic, alpha=0.1, anytime=anytime, limits=(-200, 200))
        for x in (numbers, more)
    )
    assert other.low >= one.low - 1e-9
    assert other.high >= one.high - 1e-9


@settings(max_examples=60, deadline=None)
@given(samples, st.sampled_from([IQM, MEDIAN, Q10, MEAN]), st.booleans())
def test_bounds_follow_a_change_of_scale_and_of_sign(numbers, statistic, anytime):
    given_ = {"alpha": 0.1, "anytime": anytime}
    found = statistic_bounds(numbers, statistic, limits=(-200, 200), **given_)
    scaled = statistic_bounds(np.array(numbers) * 3 + 1, statistic, limits=(-599, 601), **given_)
    assert (scaled.low, scaled.high) == pytest.approx(
        (found.low * 3 + 1, found.high * 3 + 1), abs=1e-4
    )
    opposite = quantile(90) if statistic is Q10 else statistic
    turned = statistic_bounds(-np.array(numbers), opposite, limits=(-200, 200), **given_)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-4)
    assert found.low <= found.high


# -------------------------------------------------------------------------------------------------
# Claims that are tested seed after seed.

UNIT = (0.0, 1.0)


@pytest.mark.parametrize(
    ("statistic", "limits"), [(MEAN, UNIT), (IQM, UNIT), (MEDIAN, None), (Q10, None)]
)
@pytest.mark.parametrize("maximize", [True, False])
def test_a_claim_is_wrongly_proven_or_refuted_with_at_most_its_risk_by_enumeration(
    statistic, limits, maximize
):
    """All 2**8 series of binary numbers; a goal between them is the edge of a quantile."""
    for rate, alpha in itertools.product((0.3, 0.5, 0.8, 0.9), (0.05, 0.3)):
        truth = truth_of(lambda u, r=rate: np.where(u <= 1 - r, 0.0, 1.0), statistic)
        goals = [truth - 1e-6, truth + 1e-6] if statistic.share is None else [0.5]
        for goal in goals:
            rule = StatisticTest(statistic, goal, maximize, 8, alpha, limits)
            wrong = {"proven": 0.0, "refuted": 0.0, "undecided": 0.0}
            for series in itertools.product((0.0, 1.0), repeat=8):
                chance = rate ** sum(series) * (1 - rate) ** (8 - sum(series))
                wrong[rule.decide(np.array(series))[0]] += chance
            is_true = truth >= goal if maximize else truth <= goal
            assert wrong["refuted" if is_true else "proven"] <= alpha + 1e-9


@pytest.mark.parametrize("name", ["normal", "bimodal", "three", "heavy", "crashing"])
@pytest.mark.parametrize(("statistic", "limits"), [(MEAN, (-3, 12)), (IQM, None), (MEDIAN, None)])
def test_gates_of_many_shapes_are_rarely_wrong_at_the_edge(name, statistic, limits):
    ppf, rng, series = shapes()[name], np.random.default_rng(2), 120

    def drawn(u):
        return ppf(u) if limits is None else np.clip(ppf(u), *limits)

    truth = truth_of(ppf, statistic, limits)
    above, below = (
        StatisticTest(statistic, truth + apart, True, 100, 0.1, limits) for apart in (1e-6, -1e-6)
    )
    wrong = np.zeros(2)
    for _ in range(series):
        numbers = drawn(rng.random(100))
        wrong += above.decide(numbers)[0] == "proven", below.decide(numbers)[0] == "refuted"
    assert wrong.max() <= stats.binom(series, 0.1).ppf(1 - 1e-4)


@settings(max_examples=60, deadline=None)
@given(samples, st.sampled_from([IQM, MEDIAN, Q10, MEAN]), st.booleans(), st.data())
def test_an_answer_depends_on_no_later_seed_and_has_a_mirror(numbers, statistic, limited, data):
    limits = (-200.0, 200.0) if limited else None
    goal = data.draw(st.integers(-90, 90)) + 0.5
    rule = StatisticTest(statistic, goal, True, 80, 0.1, limits)
    answer, n = rule.decide(numbers)
    for cut in range(n):
        assert rule.decide(numbers[:cut])[0] is None
    assert rule.decide(numbers[:n]) == (answer, n)
    if answer is None:
        assert n == len(numbers)
        more = rule.further(numbers)
        assert 1 <= more <= 80 - n
        # Fewer seeds prove nothing, however good they are.
        best = np.r_[numbers, np.full(more - 1, 200.0)]
        assert rule.decide(best)[0] != "proven"
    opposite = quantile(90) if statistic is Q10 else statistic
    turned = StatisticTest(opposite, -goal, False, 80, 0.1, limits)
    assert turned.decide(-np.array(numbers)) == (answer, n)
    failing = np.r_[numbers, np.full(80 - len(numbers), math.nan)]
    if answer is None:
        assert rule.decide(failing)[0] != "proven"


def test_the_fewest_seeds_that_can_prove_a_claim():
    def least(statistic, limits=None, goal=0.5):
        return StatisticTest(statistic, goal, True, 1, 0.05, limits).least

    # None of 59 seeds is below the 5 % quantile; a mean of 0.5 is doubled by each bet at most.
    assert (least(MEDIAN), least(quantile(5))) == (5, 59)
    assert 5 <= least(MEAN, UNIT) <= 8
    assert least(IQM) == 23
    assert least(IQM, UNIT) <= 23
    assert StatisticTest(MEAN, 0.0, True, 200, 0.05).method.startswith("Student's t at 5 looks")
