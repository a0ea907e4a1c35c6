"""Pages in a browser: they fit, are whole, and axe finds nothing; what is hostile runs nothing."""

import figure_runs
import pytest
from browsing import FOLLOWED, complaints_of_axe, drawn, fits, labels_stand_free
from reported import COMPARISONS, RUNS, document_of

LONG = pytest.mark.long


def document_called(name, folder):
    """Ours: a report and comparisons, of networks and of told numbers."""
    ours = {"report": figure_runs.raced}
    ours["network"] = lambda _: figure_runs.networks()
    ours["numbers"] = lambda _: figure_runs.numbers()
    return document_of({**ours, **RUNS, **COMPARISONS}[name](folder))


def shown_at_each_width(shown, *widths, labels=True):
    drawn(shown)
    for width in widths:
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
        if labels:
            labels_stand_free(shown)


@pytest.mark.parametrize(
    ("name", "theme"),
    [
        ("report", "light"),
        pytest.param("numbers", "dark", marks=LONG),
        pytest.param("network", "light", marks=LONG),
    ],
)
def test_a_page_fits_is_whole_and_accessible(show, tmp_path, name, theme):
    # axe is a script that the page's policy would not run. A drawn figure is an image to it, whose
    # thousands of parts it would all look at: so it goes first.
    shown = show(document_called(name, tmp_path / "d"), theme=theme, bypass_csp=True)
    if name == "report":
        shown.locator(".open").first.click()
    shown.locator("details.data summary").first.click()
    assert complaints_of_axe(shown) == []
    shown.emulate_media(color_scheme="light" if theme == "dark" else "dark")
    assert complaints_of_axe(shown, "color-contrast") == [], "all else does not depend on colours"
    shown_at_each_width(shown, 850, 360)


HOSTILE = [name for name in (*RUNS, *COMPARISONS) if name != "names"]


@pytest.mark.parametrize("name", ["names", *(pytest.param(name, marks=LONG) for name in HOSTILE)])
def test_a_hostile_page_fits_and_runs_nothing(show, tmp_path, name):
    shown = show(document_called(name, tmp_path / "d"), theme="dark", width=390)
    if name in RUNS:
        assert not shown.get_by_role("link", name="Do it again").is_visible()
        shown.get_by_text("Contents").click()
        assert shown.get_by_role("link", name="Do it again").is_visible()
    shown_at_each_width(shown, 390, labels=False)
    assert shown.locator("main img, main iframe").count() == 0
