"""docs/comparison.md: each figure is one of benchmarks/README.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
FOUND = " ".join(BENCHMARKS.partition("### Finding what works")[2].split())
TABLE = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+ \| [\d.]+) \|$", PAGE, re.MULTILINE))


def row(space, method):
    """The cells of a method's row in the table of a space, by their heads."""
    table = BENCHMARKS.partition(f"\n#### {space}\n")[2].partition("\nMedian")[0]
    lines = [line.strip("|").split("|") for line in table.strip().splitlines()]
    head = [cell.strip() for cell in lines[0]]
    [cells] = [line for line in lines if line[0].strip() == method]
    return dict(zip(head, (cell.strip() for cell in cells), strict=True))


def test_all_spaces_are_there():
    assert TABLE.keys() == set(re.findall(r"^#### (\S+)$", BENCHMARKS, re.MULTILINE))


@pytest.mark.parametrize("space", TABLE)
def test_the_mean_rates_are_the_benchmarks(space):
    ours, theirs = TABLE[space].split(" | ")
    assert re.search(rf"\b{space} {ours} and {theirs}\b", FOUND)


def test_the_claims_are_the_benchmarks():
    flat = " ".join(PAGE.split())
    for space, method, told in (
        ("xor", "repeater", "0.7"),
        ("synthetic", "repeater", "13.1"),
        ("xor", "xortune", "0.0"),
        ("synthetic", "xortune", "2.5"),
    ):
        assert row(space, method)["claim"].startswith(f"+{told},")
    assert "by 0.7 points on xor and by 13.1 on the synthetic space" in flat
    assert "xortune's count by 0.0 and 2.5" in flat
    for method, seeds in (("xortune", 25), ("repeater", 20), ("flat", 200)):
        assert row("xor", method)["at the target"].startswith(f"{seeds / 100:g} (")
        assert str(seeds) in flat.partition("Budget to a true 0.99")[2].partition("SMAC3")[0]
    assert row("xor", "repeater")["at the target"].endswith("(18/20)")
    for space, told in (("xor", "0.93"), ("parity-3", "0.92"), ("wide", "0.91")):
        assert f"{float(row(space, 'smac')['true rate at the end']):.2f}" == told
        assert f"{told} on {space}" in flat
    assert row("xor", "smac")["budget"] == "3"


@pytest.mark.parametrize(
    "words",
    [
        "88.7 and 92.6",
        "9 to 11 s",
        "90 s or more for 1,000",
        "4 of 20 and 11 of 20",
    ],
)
def test_the_other_figures_are_the_benchmarks(words):
    assert words in FOUND
    assert words in " ".join(PAGE.split())


def test_the_wall_times_are_the_benchmarks():
    flat = " ".join(PAGE.split())
    for method, cells in (
        ("xortune, with its tables, figures and page", ("0.29", "3.5")),
        ("Ray's Repeater", ("5.7", "16.6")),
    ):
        [line] = re.findall(rf"^\| {re.escape(method)} \|.*\(.*$", BENCHMARKS, re.MULTILINE)
        for cell, told in zip(line.split("|")[2:4], cells, strict=True):
            assert cell.split()[0] == told
            assert f"{told} s" in flat


def test_repeater_had_as_many_seeds_as_told():
    source = (ROOT / "benchmarks" / "quality" / "methods_ray.py").read_text(encoding="utf-8")
    [seeds] = re.findall(r"^REPEAT = (\d+)$", source, re.MULTILINE)
    assert f"{seeds} seeds each" in PAGE
