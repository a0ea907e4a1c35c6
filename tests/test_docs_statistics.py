"""docs/statistics.md: what its pictures show, and the figures in its prose."""

import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from xortune.core.outcome import wilson
from xortune.stats.anytime import anytime_evidence_above
from xortune.stats.planning import rate_that_passes, seeds_for_lower_bound
from xortune.stats.proportions import clopper_pearson_lower

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


def test_every_picture_is_shown_with_its_words():
    shown = re.findall(r"^!\[(.{60,})\]\(pictures/([\w-]+)\.svg\)$", PAGE, re.MULTILINE)
    assert sorted(name for _, name in shown) == sorted(make.PICTURES)
    files = {path.stem for path in (DOCS / "pictures").glob("*.svg")}
    assert files == set(make.PICTURES)


def test_the_numbers_of_the_prose():
    assert "around 97" in FLAT
    assert round(float(make.best_of() @ np.arange(make.SEEDS + 1))) == 97
    needed = [seeds_for_lower_bound(0.99, failures=failures) for failures in (0, 1, 3)]
    assert needed == [299, 473, 773]
    low = clopper_pearson_lower(299, 299)
    assert low >= 0.99
    assert rate_that_passes(299, 0, chance=0.05) == pytest.approx(0.99, abs=1e-4)
    one = np.ones(200)
    one[29] = 0
    wealth = np.exp(anytime_evidence_above(np.cumsum(one), np.arange(1, 201), 0.95))
    assert f"If the 30th fails it is 20 after {1 + int(np.argmax(wealth >= 20))}" in FLAT
    assert f"{wilson(8, 8)[0]:.3f}" == "0.676"  # less than three quarters
