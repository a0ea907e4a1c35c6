"""Pages as they are used in a browser: sorted, filtered, linked to, copied from, printed."""

import pytest
import yaml
from browsing import NO_BROWSER, column, rows
from hand_made import CONFIG, done, solved, write_run
from pages import many
from playwright.sync_api import expect

import xortune as xt
from xortune.reports.analysis import FRESH_SEED, FRESH_SEEDS, evaluate_command
from xortune.reports.page import page
from xortune.reports.run import run_document

pytestmark = NO_BROWSER


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    return run_document(many(tmp_path_factory.mktemp("use") / "r", 60))


def values_of(document, name):
    """Of each row the value of a parameter, in the order of the rows."""
    at = document.configs.parameters.index(name)
    return [row.sort[at] for row in document.configs.rows]


def test_without_scripts_all_text_and_the_first_rows_are_there(show, sixty):
    shown = show(sixty, java_script_enabled=False)
    assert rows(shown).count() == 25
    text = shown.locator("main").inner_text()
    assert sixty.plots[0].alt in text
    assert "The first 25 of 60 configurations" in text
    assert shown.get_by_role("button").count() == 0


def test_a_page_is_used(show, sixty):
    """Figures, the theme, sorting, filtering and pages, one after the other on one page."""
    shown = show(sixty)
    # Figures are drawn when they come near, and before printing.
    far = shown.locator("#figure-failures .plot")
    assert far.locator(".main-svg").count() == 0
    assert "Of 480 seeds" in far.inner_text()
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert far.locator(".main-svg").count() > 0
    assert far.evaluate("(one) => one.offsetHeight") > 300
    # The theme is remembered.
    button = shown.get_by_role("button", name="Dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(ground) == "rgb(255, 255, 255)"
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    for _ in range(2):
        expect(button).to_have_attribute("aria-pressed", "true")
        assert shown.evaluate(ground) == "rgb(21, 24, 28)"
        shown.reload()
    # Sorting.
    names = [head.strip() for head in shown.locator(".configs thead th").all_inner_texts()]
    head = shown.locator(".configs").get_by_role("columnheader", name="lr")
    assert head.get_attribute("aria-sort") == "none"
    at = sixty.configs.parameters.index("lr")
    for order, turned in (("ascending", False), ("descending", True)):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        wanted = sorted(sixty.configs.rows, key=lambda row: row.sort[at], reverse=turned)
        assert column(shown, names.index("lr")) == [row.values[at] for row in wanted[:25]]
    # A third has a momentum: the others come last, in their order, from either end.
    shown.locator(".pages select").select_option("100")
    without = [str(i) for i, one in enumerate(values_of(sixty, "momentum"), 1) if one is None]
    for _ in range(2):
        shown.locator(".configs").get_by_role("button", name="momentum").click()
        found = column(shown, names.index("momentum"))
        assert "" not in found[:20]
        assert found[20:] == [""] * 40
        assert column(shown, 0)[20:] == without
    shown.reload()
    # Filtering and pages.
    search, status = shown.get_by_role("searchbox"), shown.locator(".pages p")
    assert status.inner_text() == "1–25 of 60"
    shown.get_by_role("button", name="Next").click()
    assert column(shown, 0) == [str(place) for place in range(26, 51)]
    assert status.inner_text() == "26–50 of 60"
    search.fill("tanh lr<0.01 n<=8")
    named = [*zip(*(values_of(sixty, n) for n in ("activation", "optimizer", "lr")), strict=True)]
    wanted = [str(i) for i, (one, _, lr) in enumerate(named, 1) if one == "Tanh" and lr < 0.01]
    assert wanted
    assert column(shown, 0) == wanted
    search.fill("optimizer=SGD")
    assert status.inner_text() == "1–20 of 20 that match, of 60"
    shown.locator(".filters").get_by_label("activation").select_option("null")
    found = [str(i) for i, (*both, _) in enumerate(named, 1) if both == [None, "SGD"]]
    assert column(shown, 0) == found
    search.fill("nothing like this")
    assert rows(shown).count() == 0
    assert status.inner_text() == "None of 60 configurations matches"


def test_a_link_leads_to_its_row_wherever_it_is(show, sixty):
    key = sixty.configs.rows[41].key
    shown = show(sixty, f"#{key}")
    assert shown.evaluate("document.activeElement.id") == key
    assert shown.locator(".recipes").count() == 1
    assert shown.locator(f"[id='{key}']").is_visible()
    shown.get_by_role("searchbox").fill("nothing like this")
    other = sixty.configs.rows[7].key
    shown.evaluate(f"location.hash = '{other}'")
    shown.locator(f"[id='{other}'].at").wait_for()
    assert shown.get_by_role("searchbox").input_value() == ""
    assert shown.evaluate("document.activeElement.id") == other


def test_a_config_is_copied_as_python_yaml_and_command(show, tmp_path):
    points = [
        CONFIG | {"lr": 1e-05, "activation": None, "zero_grad": False},
        CONFIG | {"optimizer": "SGD", "momentum": 0.5},
        CONFIG | {"optimizer": "SGD", "momentum": 0.0, "lr": 1.0},
    ]
    lines = [done(at, point, solved(0, 8 - at, 8)) for at, point in enumerate(points)]
    run = write_run(tmp_path / "r", lines, trainer="network", task="parity-2")
    shown = show(run_document(run), permissions=["clipboard-read", "clipboard-write"])
    for point, button in zip(points, shown.locator(".open").all(), strict=True):
        button.click()
        texts = []
        for copy in shown.locator(".recipes .copy").all():
            copy.click()
            shown.get_by_text("Copied", exact=True).first.wait_for()
            texts.append(shown.evaluate("navigator.clipboard.readText()"))
        python, as_yaml, command = texts
        config = xt.Config(**point)
        assert eval(python, {"xt": xt}) == config
        assert xt.Config(**yaml.safe_load(as_yaml)) == config
        assert command == evaluate_command(config, "parity-2", first=FRESH_SEED, seeds=FRESH_SEEDS)
        button.click()
        assert shown.locator(".recipes").count() == 0


def test_a_config_of_a_user_is_copied_as_a_dict_and_yaml(show, tmp_path):
    point = {"on": "yes", "a b": 'it\'s "so" <b>', "x": True, "n": None, "f": 2e-07, "é": "ü: 1"}
    lines = [done(at, point | {"x": at < 1}, solved(0, 2 - at, 2)) for at in range(2)]
    shown = show(run_document(write_run(tmp_path / "r", lines, trainer="./train.py:run")))
    shown.locator(".open").first.click()
    python, as_yaml = shown.locator(".recipes code").all_text_contents()
    assert eval(python) == point
    assert yaml.safe_load(as_yaml) == point


def seconds_of(browser):
    """What all pages have taken of a processor so far."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(one["cpuTime"] for one in found if one["type"] == "renderer")


@pytest.mark.long
def test_a_page_of_ten_times_the_configs_takes_little_more_to_open_and_to_sort(
    show, browser, tmp_path
):
    text = page(run_document(many(tmp_path, 2_000)))
    small = page(run_document(many(tmp_path / "small", 200)))
    times = [seconds_of(browser)]
    for each in (small, text):
        shown = show(None, text=each)
        rows(shown).first.wait_for()
        times.append(seconds_of(browser))  # of a processor, whatever else it does
    of_few, of_all = times[1] - times[0], times[2] - times[1]
    assert of_all < 2 * of_few, "ten times the rows are not ten times the work"
    assert shown.locator(".pages p").inner_text() == "1–25 of 2,000"
    assert shown.locator(".plot").count() >= 7
    shown.get_by_role("button", name="solved").click()
    assert rows(shown).count() == 25
