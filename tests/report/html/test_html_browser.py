"""Pages in a browser: what they do, how they look to a machine, and what axe finds in them."""

import sys
from pathlib import Path

import pytest
from browsing import FOLLOWED, NO_BROWSER, complaints_of_axe, drawn, fits, labels_stand_free
from hand_made import CONFIG, RIGHT, WRONG, ZERO, done, outcome, solved, write_run
from hostile import COMPARISONS, RUNS

sys.path.append(str(Path(__file__).parents[1] / "figures"))  # whose comparisons are shown here too

import compared_runs

from xortune.reports.comparison import comparison_document
from xortune.reports.run import run_document

pytestmark = NO_BROWSER

WIDTHS = 1440, 390


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a small run, as a search writes it."""
    other = CONFIG | {"optimizer": "SGD", "momentum": 0.9, "activation": None}
    evaluations = [done(0, CONFIG, solved(0, 15, 16)), done(1, other, solved(0, 9, 16))]
    for at in range(2, 12):
        point = CONFIG | {"lr": 0.011 * at, "hidden_dim": 2 + at % 5}
        evaluations.append(done(at, point, outcome(0, [RIGHT] * at + [WRONG, ZERO])))
    path = tmp_path_factory.mktemp("browser") / "run"
    run = write_run(path, evaluations, name="small", trainer="network", task="xor", ladder=[16])
    return run_document(run)


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_report_fits_is_whole_and_accessible(show, report, theme):
    # axe is a script that the page's policy would not run. A drawn figure is an image to it, whose
    # thousands of parts it would all look at: so it goes first.
    shown = show(report, theme=theme, bypass_csp=True)
    shown.locator(".open").first.click()
    shown.locator("details.data summary").first.click()
    assert complaints_of_axe(shown) == []
    drawn(shown)
    for width in (850, 360):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
        labels_stand_free(shown)


@pytest.mark.parametrize("width", [pytest.param(1024, marks=pytest.mark.long), 390])
def test_a_report_opens_on_a_tablet_and_a_telephone(show, report, width):
    shown = show(report, width=width, theme="dark", bypass_csp=True)
    assert not shown.get_by_role("link", name="Do it again").is_visible()
    shown.get_by_text("Contents").click()
    assert shown.get_by_role("link", name="Do it again").is_visible()
    assert complaints_of_axe(shown) == []
    drawn(shown)
    shown.wait_for_function(FOLLOWED)
    fits(shown, width)
    labels_stand_free(shown)


PAGES = ("network", "numbers", "published")
"""Comparisons: of three networks, of trainers that tell numbers, of a run with a table."""

SLOW = pytest.mark.long


def document_named(name, folder):
    """A comparison, or a run or a comparison that means to break its page."""
    made = {
        "network": lambda _: compared_runs.networks(),
        "numbers": lambda _: compared_runs.numbers(),
        "published": compared_runs.published,
        **RUNS,
        **COMPARISONS,
    }[name]
    folder.mkdir()
    found = made(folder / "r" if name in {*RUNS, *COMPARISONS} else folder)
    return run_document(found) if name in RUNS else comparison_document(found)


@pytest.mark.parametrize(
    ("name", "theme"),
    [
        *((name, "light") for name in PAGES[:2]),
        pytest.param(PAGES[2], "light", marks=SLOW),
        *(pytest.param(name, "dark", marks=SLOW) for name in PAGES),
    ],
)
def test_a_comparison_fits_is_whole_and_accessible(show, tmp_path, name, theme):
    shown = show(document_named(name, tmp_path / "d"), theme=theme, bypass_csp=True)
    assert complaints_of_axe(shown) == []
    drawn(shown)
    for width in WIDTHS:
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
        labels_stand_free(shown)


@pytest.mark.parametrize(
    "name",
    [
        "names",
        *(pytest.param(name, marks=SLOW) for name in [*RUNS, *COMPARISONS] if name != "names"),
    ],
)
def test_a_hostile_page_fits_and_runs_nothing(show, tmp_path, name):
    shown = show(document_named(name, tmp_path / "d"), theme="dark")
    drawn(shown)
    for width in (390, 1440):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
    assert shown.locator("main img, main iframe").count() == 0
