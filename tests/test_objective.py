"""What a sampler is told of a config, and the front, held against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.point import Point
from xortune.racing.objectives import (
    Seen,
    costs,
    epochs_told,
    estimates,
    expected,
    front,
    only_rate,
    speed,
    told,
)
from xortune.spaces.model import Objective

RATE, EPOCHS = Objective("success_rate", maximize=True), Objective("epochs_to_solve")
HIDDEN = Objective("hidden_dim")
POINT = Point({"hidden_dim": 5, "lr": 0.1})
BUDGETS = st.integers(0, 2**31 - 1)


@st.composite
def seen(draw, n=None, k=None, most=100_000):
    """Counts and the epochs that they may have taken."""
    n = draw(st.integers(1, most)) if n is None else n
    k = draw(st.integers(0, n)) if k is None else k
    budget = draw(BUDGETS)
    return Seen(POINT, k, n, draw(st.integers((n - k) * budget, n * budget)))


@given(one=seen())
def test_what_is_told_is_finite(one):
    numbers = (*told((RATE,), one), *told((RATE, EPOCHS, HIDDEN), one))
    assert len(numbers) == 4
    assert all(math.isfinite(number) for number in numbers)
    assert 0 < expected(one.successes, one.n) < 1
    assert 0 < speed(one) < 1


@given(data=st.data(), n=st.integers(1, 100_000))
def test_more_successes_are_worth_more_and_speed_never_outweighs_a_seed(data, n):
    fewer = data.draw(st.integers(0, n - 1))
    more = data.draw(st.integers(fewer + 1, n))
    low, high = data.draw(seen(n=n, k=fewer)), data.draw(seen(n=n, k=more))
    assert told((RATE,), low)[0] < told((RATE,), high)[0]
    assert expected(low.successes, low.n) < expected(high.successes, high.n)


@given(n=st.integers(1, 4096), pair=st.lists(st.integers(1, 100_000), min_size=2, max_size=2))
def test_among_those_that_always_solve_the_sooner_is_worth_more(n, pair):
    (a, b) = sorted(pair)
    sooner, later = Seen(POINT, n, n, a * n), Seen(POINT, n, n, b * n)
    assert (told((RATE,), sooner)[0] > told((RATE,), later)[0]) == (a < b)
    assert (epochs_told(sooner) < epochs_told(later)) == (a < b)


def test_worth_by_hand():
    assert told((RATE,), Seen(POINT, 2, 4, 4 * (2**31 - 1)))[0] == pytest.approx(3.001 / 6)
    assert told((RATE,), Seen(POINT, 4, 4, 0))[0] == pytest.approx(5.999 / 6)
    hundred = Seen(POINT, 4, 4, 400)
    assert speed(hundred) == pytest.approx(1 - math.log(101) / math.log(2**31 + 1))
    assert [round(speed(Seen(POINT, 1, 1, n)), 2) for n in (10, 100, 1000)] == [0.89, 0.79, 0.68]


def test_no_success_is_told_as_more_epochs_than_any_success_of_as_many_seeds():
    never = Seen(POINT, 0, 8, 8 * 1000)
    assert math.exp(epochs_told(never)) == pytest.approx(9 * 1000)
    for k in range(1, 9):
        latest = Seen(POINT, k, 8, 8 * 1000)
        assert epochs_told(latest) < epochs_told(never)


def test_each_objective_has_its_number_in_its_place():
    one = Seen(POINT, 6, 8, 2400)
    assert told((HIDDEN, EPOCHS, RATE), one) == (
        5.0,
        epochs_told(one),
        expected(one.successes, one.n),
    )
    assert told((RATE,), one) == ((7 + speed(one)) / 10,)
    assert told((EPOCHS,), one) == (epochs_told(one),)
    assert only_rate((RATE,))
    assert not only_rate((EPOCHS,))
    assert not only_rate((RATE, HIDDEN))


def test_estimates_and_costs():
    one = Seen(POINT, 6, 8, 2400)
    assert estimates((RATE, HIDDEN, EPOCHS), one) == (0.75, 5.0, 400.0)
    assert costs((RATE, HIDDEN, EPOCHS), one) == (5.0, 400.0)
    assert costs((RATE, Objective("hidden_dim", maximize=True)), one) == (-5.0,)
    assert costs((RATE, EPOCHS), Seen(POINT, 0, 8, 8000)) == (math.inf,)


def on_it(rows, objectives):
    """The front by its definition."""

    def better(a, b, maximize):
        return a > b if maximize else a < b

    def dominates(a, b):
        pairs = [(x, y, o.maximize) for x, y, o in zip(a, b, objectives, strict=True)]
        return not any(better(y, x, m) for x, y, m in pairs) and any(
            better(x, y, m) for x, y, m in pairs
        )

    return [not any(dominates(other, row) for other in rows) for row in rows]


TABLES = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(
            st.lists(
                st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, math.inf]),
                min_size=width,
                max_size=width,
            ),
            max_size=30,
        ),
        st.lists(st.booleans(), min_size=width, max_size=width),
    )
)


@given(table=TABLES)
def test_the_front_is_that_of_its_definition(table):
    rows, directions = table
    objectives = [Objective(f"o{i}", maximize=d) for i, d in enumerate(directions)]
    found = front(rows, objectives)
    assert found.dtype == np.bool_
    assert found.tolist() == on_it(rows, objectives)
