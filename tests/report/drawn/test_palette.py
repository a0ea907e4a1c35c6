"""Colours are told apart and seen, whoever looks and on whatever ground."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.reports.drawing.style import COLOURS, GROUNDS, LINES, RULE, SCALES, at, contrast, on
from xortune.reports.plot import Role

# Machado, Oliveira and Fernandes (2009), IEEE TVCG 15(6): colour vision without one kind of cone,
# as a matrix on linear RGB.
VISION = {
    "all": np.eye(3),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no blue": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def lab(colour: str, vision: str) -> np.ndarray:
    """CIE L*a*b* (D65) of what is seen."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(VISION[vision] @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_wcags():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # as WebAIM's checker
    assert contrast("#ff0000", "#0000ff") == pytest.approx(2.15, abs=0.005)


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_every_mark_is_seen_and_text_is_read(ground):
    assert set(COLOURS) == set(get_args(Role))
    lines = [at(LINES, place / 100) for place in range(101)]
    for colour in (*COLOURS.values(), *lines, RULE):
        assert contrast(colour, ground.paper) >= 3, colour
    assert contrast(ground.ink, ground.paper) >= 7
    assert contrast(ground.ink, ground.raised) >= 7


@pytest.mark.parametrize("vision", VISION)
def test_roles_are_told_apart(vision):
    for one, other in itertools.combinations("abcdef", 2):
        seen = lab(COLOURS[one], vision) - lab(COLOURS[other], vision)
        assert np.linalg.norm(seen) > 10, (one, other)
    for one, other in (("solved", "failed"), ("a", "best"), ("b", "best"), ("a", "muted")):
        seen = lab(COLOURS[one], vision) - lab(COLOURS[other], vision)
        assert np.linalg.norm(seen) > 10, (one, other)


@pytest.mark.parametrize("scale", [*SCALES.values(), LINES])
def test_text_on_any_colour_of_a_scale_is_read(scale):
    for place in range(101):
        colour = at(scale, place / 100)
        assert contrast(on(colour), colour) >= 4.5


@pytest.mark.parametrize("vision", VISION)
def test_a_higher_rate_is_lighter(vision):
    lightness = [lab(at(SCALES["rate"], place / 20), vision)[0] for place in range(21)]
    assert all(a < b for a, b in itertools.pairwise(lightness))


def test_places_of_a_scale():
    assert at(SCALES["difference"], 0.0) == "#a63603"
    assert at(SCALES["difference"], 0.5) == "#f4f4f4"
    assert at(SCALES["difference"], 1.0) == "#08518c"
    assert at(((0.0, "#000000"), (1.0, "#ff8000")), 0.5) == "#804000"
    below, above = at(SCALES["class"], 0.499), at(SCALES["class"], 0.5)
    assert np.linalg.norm(lab(below, "all") - lab(above, "all")) > 15, "an edge at one half"


@given(st.floats(0, 1), st.sampled_from([*SCALES.values(), LINES]))
def test_the_colour_of_a_place_lies_between_its_neighbours(place, scale):
    found = [int(at(scale, place)[i : i + 2], 16) for i in (1, 3, 5)]
    around = [
        (first, second)
        for (low, first), (high, second) in itertools.pairwise(scale)
        if low <= place <= high and low < high
    ]
    assert any(
        all(
            min(a, b) <= channel <= max(a, b)
            for channel, a, b in zip(
                found,
                [int(first[i : i + 2], 16) for i in (1, 3, 5)],
                [int(second[i : i + 2], 16) for i in (1, 3, 5)],
                strict=True,
            )
        )
        for first, second in around
    )
