"""Colours are told apart and seen, whoever looks and on whatever ground."""

import itertools
from typing import get_args

import numpy as np
import pytest
from matplotlib.colors import LinearSegmentedColormap, to_hex

from xortune.reports.drawing.model import COLOURS, SCALES, Role
from xortune.reports.drawing.plotly import GREY
from xortune.reports.page import asset

# Machado, Oliveira and Fernandes (2009), IEEE TVCG 15(6): colour vision without one kind of cone,
# as a matrix on linear RGB.
VISION = {
    "all": np.eye(3),
    "no red": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "no green": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "no blue": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip


def linear(colour: str) -> np.ndarray:
    """Linear RGB of #rrggbb."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    """CIE L*a*b* (D65) of what is seen."""
    seen = np.clip(VISION[vision] @ linear(colour), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast of two colours, from 1 to 21."""
    luminances = [float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)]
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def along(scale: str) -> list[str]:
    """Its colours at a hundred places."""
    colours = LinearSegmentedColormap.from_list(scale, list(SCALES[scale]), N=512)
    return [to_hex(colours(place / 100)) for place in range(101)]


@pytest.mark.parametrize("ground", ["#ffffff", "#15181c"])
def test_every_mark_is_seen(ground):
    assert ground in asset("assets/page.css"), "the grounds of the page"
    assert set(COLOURS) == set(get_args(Role))
    for colour in (*COLOURS.values(), *along("lines"), GREY):
        assert contrast(colour, ground) >= 3, colour


@pytest.mark.parametrize("vision", VISION)
def test_roles_are_told_apart_and_a_higher_rate_is_lighter(vision):
    pairs = [*itertools.combinations("abcdef", 2), ("a", "best"), ("b", "best"), ("a", "muted")]
    for one, other in pairs:
        seen = lab(COLOURS[one], vision) - lab(COLOURS[other], vision)
        assert np.linalg.norm(seen) > 10, (one, other)
    lightness = [lab(colour, vision)[0] for colour in along("rate")]
    assert all(a < b for a, b in itertools.pairwise(lightness[::5]))


def test_a_surface_has_an_edge_at_one_half():
    colours = along("class")
    assert np.linalg.norm(lab(colours[49], "all") - lab(colours[51], "all")) > 15
