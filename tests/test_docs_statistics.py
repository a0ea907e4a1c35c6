"""docs/statistics.md: what its pictures show, and the figures in its prose."""

import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from xortune.core.counts import wilson
from xortune.racing.race import race_lower, race_upper
from xortune.stats.anytime import anytime_evidence_above, anytime_interval
from xortune.stats.exact import clopper_pearson
from xortune.stats.planning import rate_that_passes, seeds_for_lower_bound

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "statistics.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())

_spec = importlib.util.spec_from_file_location("make_pictures", DOCS / "pictures" / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

NUMBER = re.compile(r"-?\d+\.?\d*")


def same_picture(one, other):
    """To 0.02 points where one matplotlib drew both; else what is written in it."""
    words = [re.findall(r"<text.*?>(.*?)</text>", svg) for svg in (one, other)]
    if words[0] != words[1]:
        return False
    if f"Matplotlib v{mpl.__version__}," not in one:
        return True
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    found = [np.array([float(number) for number in NUMBER.findall(svg)]) for svg in (one, other)]
    return bool(np.allclose(*found, rtol=0, atol=0.02))


@pytest.mark.parametrize("name", make.PICTURES)
def test_a_picture_is_what_is_drawn(name):
    committed = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    assert same_picture(committed, make.drawn(name)), "python docs/pictures/make.py"
    assert len(committed) < 36_000


def test_a_picture_that_is_another_is_noticed():
    one = (DOCS / "pictures" / "gate.svg").read_text(encoding="utf-8")
    assert not same_picture(one, one.replace("20", "30"))
    assert not same_picture(one, (DOCS / "pictures" / "holm.svg").read_text(encoding="utf-8"))


def test_every_picture_is_shown_with_its_words():
    shown = re.findall(r"^!\[(.{60,})\]\(pictures/([\w-]+)\.svg\)$", PAGE, re.MULTILINE)
    assert sorted(name for _, name in shown) == sorted(make.PICTURES)
    files = {path.stem for path in (DOCS / "pictures").glob("*.svg")}
    assert files == set(make.PICTURES)


def test_how_often_the_truth_is_missed():
    every = make.share_missed(make.wilson_misses(make.RATE))
    once = make.share_missed(make.wilson_misses(make.RATE), every=False)
    ours = make.share_missed(make.anytime_misses(make.RATE))
    at = {n: round(100 * every[n - make.FIRST]) for n in (100, 500)}
    assert f"at some look in {at[100]} % of all series, by 500 in {at[500]} %" in FLAT
    assert f"has missed it in {100 * ours[-1]:.1f} %, and will in 5 % at most" in FLAT
    assert f"in {at[500]} % of series by 500 seeds" in FLAT
    assert 0.02 < once.mean() < 0.08
    assert (np.diff(every) >= -1e-12).all()
    assert once[0] == pytest.approx(every[0])  # the first look is one look


def test_the_share_is_that_of_a_simulation():
    rng = np.random.default_rng(1)
    k = np.cumsum(rng.random((4000, make.LAST)) < make.RATE, axis=1)[:, make.FIRST - 1 :]
    low, high = wilson(k, np.arange(make.FIRST, make.LAST + 1))
    ever = ((low > make.RATE) | (high < make.RATE)).any(axis=1).mean()
    assert ever == pytest.approx(make.share_missed(make.wilson_misses(make.RATE))[-1], abs=0.025)


def test_the_quick_test_of_a_miss_is_that_of_the_bounds():
    missed = make.anytime_misses(0.9)
    for n in (10, 60, 200):
        k = np.arange(n + 1)
        low, high = anytime_interval(k, n)
        assert (missed(k.astype(float), n) == ((low > 0.9) | (high < 0.9))).all()


def test_the_example_is_as_told():
    seeds = np.arange(make.FIRST, 1001)
    k = np.cumsum(np.random.default_rng(0).random(1000) < make.RATE)[make.FIRST - 1 :]
    low, high = wilson(k, seeds)
    missed = seeds[(low > make.RATE) | (high < make.RATE)]
    assert f"below the truth between {missed[0]} and {missed[-1]} seeds" in FLAT
    assert (high < make.RATE)[missed[0] - make.FIRST]
    low, high = anytime_interval(k, seeds)
    assert ((low <= make.RATE) & (high >= make.RATE)).all()
    low, high = anytime_interval(90, 100)
    narrow, wide = wilson(90, 100)
    assert f"some {float((high - low) / (wide - narrow)):.1f} times as wide" in FLAT


def test_the_numbers_of_the_prose():
    assert "around 97" in FLAT
    assert round(float(make.best_of() @ np.arange(make.SEEDS + 1))) == 97
    needed = [seeds_for_lower_bound(0.99, failures=failures) for failures in (0, 1, 3)]
    assert needed == [299, 473, 773]
    low, _ = clopper_pearson(299, 299, side="lower")
    assert low >= 0.99
    assert rate_that_passes(299, 0, chance=0.05) == pytest.approx(0.99, abs=1e-4)
    one = np.ones(200)
    one[29] = 0
    wealth = np.exp(anytime_evidence_above(np.cumsum(one), np.arange(1, 201), 0.95))
    assert f"If the 30th fails it is 20 after {1 + int(np.argmax(wealth >= 20))}" in FLAT
    assert f"{wilson(8, 8)[0]:.3f}" == "0.676"  # less than three quarters


def test_bounds_of_a_race_are_wider_than_those_of_one():
    assert race_lower(95, 100, 1) < anytime_interval(95, 100)[0]
    assert race_upper(95, 100, 1) > anytime_interval(95, 100)[1]
