"""A training that seems to ignore its seed is noticed, whatever trains it; others are not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from listening import sentences

import xortune as xt
from xortune.core.seeds import BY_CHANCE, REPEATED, IgnoredSeed, repeats, rows_of

SPACE = {
    "name": "still",
    "success": "accuracy >= 0.5",
    "parameters": {"width": {"low": 0.1, "high": 0.9}},
    "search": {"trials": 6, "seed": 3},
    "seeds": {"ladder": [4]},
}


def ignores(config, seed):  # a number beside that a clock gives
    return {"accuracy": config["width"], "seconds": seed * 0.01}


def uses(config, seed):
    return {"accuracy": config["width"] + 0.01 * (seed % 7 == 3)}


def looked(*parts, several=True):
    """What is said of `(key, numbers)`, one after the other, and at the end."""
    told = []
    look = IgnoredSeed((), told.append, several=several)
    for key, numbers in parts:
        look.see(key, {"accuracy": np.array(numbers)})
    return told, look.sentence


@given(
    st.dictionaries(st.text(), st.floats(0.01, 0.99), min_size=1, max_size=5),
    st.lists(st.integers(1, 4), min_size=1, max_size=30),
)
def test_it_is_said_once_and_only_if_enough_seeds_repeat_another(numbers, sizes):
    keys = list(numbers)
    parts = [
        (keys[at % len(keys)], [numbers[keys[at % len(keys)]]] * n) for at, n in enumerate(sizes)
    ]
    several = len(numbers) > 1
    told, sentence = looked(*parts, several=several)
    seen = {key: sum(len(some) for name, some in parts if name == key) for key, _ in parts}
    repeated = [key for key, n in seen.items() if n > 1]
    more = sum(seen[key] - 1 for key in repeated)
    values = {numbers[key] for key in repeated}
    by_chance = repeats(math.lcm(*(rows_of(numbers[key]) for key in seen))) ** more
    is_enough = more >= REPEATED and by_chance <= BY_CHANCE
    assert bool(sentence) == (is_enough and len(values) > several)
    assert len(told) >= bool(sentence)
    assert len(told) <= 1


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4), st.integers(0, 3))
def test_one_seed_that_differs_ends_it(numbers, place):
    parts = [(str(at), [number] * 9) for at, number in enumerate(numbers)]
    at = place % len(parts)
    parts[at] = (str(at), [*parts[at][1], parts[at][1][0] / 2])
    assert looked(*reversed(parts))[1] == ""


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    "parts",
    [
        [("a", [1.0] * 50)],  # whole numbers: many a training ends there
        [("a", [500.0] * 50), ("b", [9.0] * 50)],
        [("a", [np.nan] * 50)],  # all crashed
        [("a", [0.52] * 20 + [np.nan])],  # one did not
        [("a", [])],
        [],
    ],
)
def test_what_says_nothing(parts, several):
    assert looked(*parts, several=several) == ([], "")


def test_one_number_of_several_configurations_says_nothing():
    """Of networks that learn nothing the accuracy is the share of one class."""
    parts = [("a", [0.52] * 20), ("b", [0.52] * 20)]
    assert looked(*parts) == ([], "")
    assert looked(*parts, ("c", [0.6] * 2))[1] != ""


def test_only_the_numbers_that_count_are_looked_at():
    still, moving = np.full(20, 0.3127), np.arange(20.0)
    for names, is_said in ((["accuracy"], True), (["seconds"], False), ([], False)):
        look = IgnoredSeed(names, several=False)
        look.see("a", {"accuracy": still, "seconds": moving})
        assert bool(look.sentence) == is_said


@pytest.mark.parametrize(
    ("numbers", "seeds"),
    [
        ([0.0, 0.5], 151),  # of two values: halves
        ([0.25, 0.75, 1.0], 76),  # an accuracy on four rows
        ([0.9, 0.1], 31),
        ([29 / 30], 11),  # one wrong of 30 rows
        ([0.87], 8),  # of 100 rows
        ([0.873124], 8),
    ],
)
def test_of_a_number_with_few_values_many_equal_seeds_are_expected(numbers, seeds):
    """Of two that disagree about one row in a hundred so many are equal with 5 % at most."""
    whole = [("whole", [number]) for number in numbers if number.is_integer()]
    fractions = [number for number in numbers if not number.is_integer()]
    each = -(-seeds // len(fractions))
    few = [(str(at), [number] * each) for at, number in enumerate(fractions)]
    more = [(str(at), [number] * (each + 1)) for at, number in enumerate(fractions)]
    several = len(fractions) > 1
    assert looked(*whole, *few, several=several)[1] == ""
    assert looked(*whole, *more, several=several)[1] != ""


def test_two_seeds_repeat_a_number_as_simulated():
    rng = np.random.default_rng(0)
    for rows in (2, 10, 100, 1000):
        for_it, against = rng.poisson(0.005 * rows, (2, 100_000))
        assert repeats(rows) == pytest.approx((for_it == against).mean(), abs=0.005)


IGNORES = "does the training use its seed?"


def test_a_search_of_a_binary_number_is_not_asked_about_its_seed(tmp_path):
    """Three configurations of which each solves all its seeds, or none: as good as any search's."""

    def train(config, seed):
        return {"accuracy": 0.5 + 0.25 * (config["width"] > 0.4)}

    told = []
    given = {"train": train, "workers": 0, "verbose": 0, "listener": sentences(told.append)}
    run = xt.search(SPACE, output=tmp_path / "run", **given)
    values = set(run.seeds.accuracy)
    assert values == {0.5, 0.75}
    assert not any(IGNORES in text for text in told)
    assert IGNORES not in (run.path / "report.md").read_text()


@pytest.mark.parametrize(("train", "times"), [(ignores, 1), (uses, 0)])
def test_a_search_says_it_once_and_so_does_its_report(tmp_path, train, times):
    told = []
    given = {"train": train, "workers": 0, "verbose": 0, "listener": sentences(told.append)}
    run = xt.search(SPACE, output=tmp_path / "run", **given)
    assert sum(IGNORES in text for text in told) == times
    report = (run.path / "report.md").read_text()
    assert report.count(IGNORES) == times
    if times:
        assert "in each of 6 (24 seeds)" in report


@pytest.mark.parametrize("train", [ignores, uses])
def test_evaluate_gate_and_compare_say_it(train):
    rule = {"success": "accuracy >= 0.5", "train": train, "workers": 0, "verbose": 0}
    calls = (
        lambda **more: xt.evaluate({"width": 0.7127}, range(20), **rule, **more),
        lambda **more: xt.gate({"width": 0.7127}, min_rate=0.9, **rule, **more),
        lambda **more: xt.compare({"width": 0.7127}, {"width": 0.6}, seeds=12, **rule, **more),
        lambda **more: xt.compare(
            {"width": 0.7127}, {"width": 0.6}, sequential=True, max_seeds=12, **rule, **more
        ),
    )
    for call in calls:
        told = []
        call(listener=sentences(told.append))
        assert sum(IGNORES in text for text in told) == (train is ignores)


def test_a_certificate_says_it(tmp_path):
    xt.search(SPACE, output=tmp_path / "run", train=ignores, workers=0, verbose=0)
    told = []
    given = {"seeds": 20, "train": ignores, "workers": 0, "verbose": 0}
    xt.certify(tmp_path / "run", **given, listener=sentences(told.append))
    assert sum(IGNORES in text for text in told) == 1
