"""Pages in a browser: what they do, how they look to a machine, and what axe finds in them."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hand_made import CONFIG, RIGHT, WRONG, ZERO, done, outcome, solved, write_run
from hostile import COMPARISONS, RUNS
from html_documents import PARAMETERS, every_block, network_table, row

sys.path.append(str(Path(__file__).parents[1] / "figures"))  # whose comparisons are shown here too

import compared_runs

import xortune as xt
from xortune.report.comparison_document import comparison_document
from xortune.report.document import ConfigTable, Document, Section, said
from xortune.report.html.page import page
from xortune.report.run_document import run_document
from xortune.report.script import evaluate_command
from xortune.report.tables import FRESH_SEED, FRESH_SEEDS
from xortune.run import Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt-get install chromium"
)

WIDTHS = 1440, 1024, 390
LABEL = "a label of two hundred signs " * 7

# Of each thing with text: whether it is cut off with no way to scroll to the rest.
CUT = """() => [...document.querySelectorAll("h1, h2, h3, p, li, td, th, button, figcaption, a")]
  .filter((one) => {
    const style = getComputedStyle(one);
    const hides = style.overflowX === "hidden" || style.textOverflow === "ellipsis";
    const cell = one.matches("th, td"); // which would lie over the next one
    return (hides || cell) && !one.classList.contains("heard")
      && one.scrollWidth > one.clientWidth + 1;
  }).map((one) => one.textContent.slice(0, 80))"""
# Whether the figures have become as wide as the page.
FOLLOWED = """() => [...document.querySelectorAll(".plot")].every(
  (one) => Math.abs(one.querySelector(".main-svg").clientWidth - one.clientWidth) < 2)"""
# Labels of figures that are cut off or lie over each other, but for those that lean.
COLLIDE = r"""() => [...document.querySelectorAll(".plot")].flatMap((place) => {
  const own = place.getBoundingClientRect();
  const labels = [...place.querySelectorAll(".main-svg text")].map((one) => ({
    text: one.textContent, box: one.getBoundingClientRect(),
    leans: /rotate\(-35/.test(one.getAttribute("transform")),
  })).filter(({ box, text }) => box.width && text.trim());
  const cut = labels.filter(({ box }) => box.left < own.left - 2 || box.right > own.right + 2
    || box.top < own.top - 2 || box.bottom > own.bottom + 2);
  const over = labels.flatMap((a, at) => labels.slice(at + 1).filter((b) => !(a.leans || b.leans)
    && Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 2
    && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 3)
    .map((b) => `${a.text} over ${b.text}`));
  return [...cut.map((one) => `${one.text} is cut`), ...over]
    .map((one) => `${place.parentElement.id}: ${one}`);
})"""
# What lies outside the page, and is in no region that scrolls.
OUTSIDE = """() => [...document.querySelectorAll("main *, header *, nav *")]
  .filter((one) => !one.closest(".scroll, pre, .heard, svg") && one.getClientRects().length
    && one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a document, and fails where the page complains of anything."""
    contexts, complaints = [], []

    def opened(document, hash_="", *, width=1440, theme="light", text=None, **more):
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(page(document) if text is None else text, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, **more
        )
        contexts.append(context)
        shown = context.new_page()
        shown.set_default_timeout(30_000)
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on(
            "request", lambda r: r.url.startswith(("file:", "data:")) or complaints.append(r.url)
        )
        shown.goto(f"{path.as_uri()}{hash_}", timeout=60_000)  # other tests may run beside this
        return shown

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []  # Plotly's warnings are some


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


def rows(shown):
    return shown.locator(".configs tbody tr:not(.recipes)")


def column(shown, at):
    """The texts of a column of the rows that are shown, counted from 0."""
    return [
        text.strip()
        for text in rows(shown).locator(f":scope > :nth-child({at + 1})").all_inner_texts()
    ]


def drawn(shown):
    """Waits until all figures are drawn, as they are when one scrolls through the page."""
    for figure in shown.locator(".plot").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
    shown.evaluate("scrollTo(0, 0)")


def complaints_of_axe(shown, **rules):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(shown, options={"resultTypes": ["violations"], "rules": rules})
    return [(one["id"], one["nodes"][0]["html"]) for one in found.response["violations"]]


def fits(shown, width):
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(CUT) == []
    assert shown.evaluate(OUTSIDE) == []


def labels_stand_free(shown):
    from playwright.sync_api import TimeoutError as Late

    with suppress(Late):  # margins follow the labels when these are drawn
        shown.wait_for_function(f"() => ({COLLIDE})().length === 0", timeout=3_000)
    assert shown.evaluate(COLLIDE) == []


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_report_fits_is_whole_and_accessible(show, report, theme):
    # axe is a script that the page's policy would not run. A drawn figure is an image to it, whose
    # thousands of parts it would all look at: so it goes first.
    shown = show(report, theme=theme, bypass_csp=True)
    shown.locator(".open").first.click()
    shown.locator("details.data summary").first.click()
    assert complaints_of_axe(shown) == []
    drawn(shown)
    turned = shown.locator("#figure-parallel-coordinate .ytick").filter(has_text="success rate")
    for width in (1440, 1150, 850, 700, 360, 1024) if theme == "light" else WIDTHS:
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
        labels_stand_free(shown)
        if width in (1440, 360):
            assert turned.count() == (width == 360), "its axes lie below each other"


@pytest.mark.parametrize("width", [1024, 390])
def test_a_report_opens_on_a_tablet_and_a_telephone(show, report, width):
    shown = show(report, width=width, theme="dark", bypass_csp=True)
    assert not shown.get_by_role("link", name="Do it again").is_visible()
    shown.get_by_text("Contents").click()
    assert shown.get_by_role("link", name="Do it again").is_visible()
    # Colours do not depend on the width, and looking at them takes longest.
    assert complaints_of_axe(shown, **{"color-contrast": {"enabled": width == 1024}}) == []
    drawn(shown)
    shown.wait_for_function(FOLLOWED)
    fits(shown, width)
    labels_stand_free(shown)


@pytest.mark.parametrize("width", [1440, pytest.param(1024, marks=pytest.mark.long), 390])
def test_hostile_labels_fit_and_run_nothing(show, width):
    label = f"<img src=x onerror=alert(1)> \"'&{LABEL}🎲{'long' * 50}"
    document = every_block(label)
    odd = tuple(row({"a": f"{label}{at}"}, names=("a",), fixed=()) for at in range(3))
    odd_section = Section("odd", "Odd", (ConfigTable(("a",), odd, (("b<", label),)),))
    shown = show(replace(document, sections=(*document.sections, odd_section)), width=width)
    drawn(shown)
    fits(shown, width)
    assert shown.locator("main img").count() == 0


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
        *((name, "light") for name in PAGES),
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
        "names compared",
        *(
            pytest.param(name, marks=SLOW)
            for name in [*RUNS, *COMPARISONS]
            if name not in {"names", "names compared"}
        ),
    ],
)
def test_a_hostile_page_fits_and_runs_nothing(show, tmp_path, name):
    shown = show(document_named(name, tmp_path / "d"), theme="dark")
    drawn(shown)
    for width in WIDTHS:
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
    assert shown.locator("main img, main iframe").count() == 0


def test_figures_are_drawn_when_they_come_near_and_before_printing(show):
    document = every_block()
    far = Section("far", "Far", tuple(said(f"line {at}") for at in range(200)))
    first, *others = document.sections
    shown = show(replace(document, sections=(far, first, *others)))
    assert shown.locator(".main-svg").count() == 0
    assert "What is found about plain." in shown.locator(".plot").inner_text()
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator(".main-svg").count() > 0
    assert shown.locator(".plot").evaluate("(one) => one.offsetHeight") > 300


def test_without_scripts_all_text_and_the_first_rows_are_there(show):
    shown = show(every_block(), java_script_enabled=False)
    assert rows(shown).count() == 25
    text = shown.locator("main").inner_text()
    assert "What is found about plain." in text
    assert "The first 25 of 30 configurations" in text
    assert shown.get_by_role("button").count() == 0


def test_the_theme_is_chosen_and_remembered(show):
    shown = show(every_block())
    button = shown.get_by_role("button", name="Dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(ground) == "rgb(255, 255, 255)"
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert shown.evaluate(ground) == "rgb(21, 24, 28)"
    shown.reload()
    assert shown.evaluate(ground) == "rgb(21, 24, 28)"
    assert button.get_attribute("aria-pressed") == "true"


def test_sorting(show):
    table = network_table(60)
    shown = show(Document("t", "", (Section("configs", "Configs", (table,)),)))
    head = shown.get_by_role("columnheader", name="lr")
    assert head.get_attribute("aria-sort") == "none"
    texts = {one.values[3]: one.sort[3] for one in table.rows}
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    found = [texts[text] for text in column(shown, 9)]
    assert found == sorted(one.sort[3] for one in table.rows)[:25]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    found = [texts[text] for text in column(shown, 9)]
    assert found == sorted((one.sort[3] for one in table.rows), reverse=True)[:25]
    # Half have no momentum: they come last, in their order, from either end.
    shown.locator(".pages select").select_option("100")
    momentum = shown.get_by_role("button", name="momentum")
    for _ in range(2):
        momentum.click()
        found = column(shown, 10)
        assert "" not in found[:30]
        assert found[30:] == [""] * 30
        assert column(shown, 0)[30:] == [str(place) for place in range(2, 61, 2)]


def test_filtering_and_pages(show):
    table = network_table(60)
    shown = show(Document("t", "", (Section("configs", "Configs", (table,)),)))
    search, status = shown.get_by_role("searchbox"), shown.locator(".pages p")
    assert status.inner_text() == "1–25 of 60"
    shown.get_by_role("button", name="Next").click()
    assert column(shown, 0) == [str(place) for place in range(26, 51)]
    assert status.inner_text() == "26–50 of 60"
    search.fill("tanh lr<0.01 n<=8")
    wanted = [
        place
        for place, one in enumerate(table.rows, 1)
        if one.sort[0] == "Tanh" and one.sort[3] < 0.01 and one.n <= 8
    ]
    assert wanted
    assert column(shown, 0) == [str(place) for place in wanted]
    search.fill("optimizer=SGD")
    assert status.inner_text() == "1–25 of 30 that match, of 60"
    shown.get_by_label("activation").select_option("null")
    wanted = [at for at, one in enumerate(table.rows, 1) if one.values[0] == "null" and at % 2]
    assert column(shown, 0) == [str(place) for place in wanted]
    search.fill("nothing like this")
    assert rows(shown).count() == 0
    assert status.inner_text() == "None of 60 configurations matches"


def test_a_link_leads_to_its_row_wherever_it_is(show):
    table = network_table(60)
    key = table.rows[41].key
    shown = show(Document("t", "", (Section("configs", "Configs", (table,)),)), f"#{key}")
    assert shown.evaluate("document.activeElement.id") == key
    assert shown.locator(".recipes").count() == 1
    assert shown.locator(f"[id='{key}']").is_visible()
    shown.get_by_role("searchbox").fill("nothing like this")
    other = table.rows[7].key
    shown.evaluate(f"location.hash = '{other}'")
    shown.locator(f"[id='{other}'].at").wait_for()
    assert shown.get_by_role("searchbox").input_value() == ""
    assert shown.evaluate("document.activeElement.id") == other


def test_a_config_is_copied_as_python_yaml_and_command(show):
    grants = ["clipboard-read", "clipboard-write"]
    tiny = CONFIG | {"lr": 1e-05, "activation": None, "zero_grad": False}
    sgd = CONFIG | {"optimizer": "SGD", "momentum": 0.5}
    still = CONFIG | {"optimizer": "SGD", "momentum": 0.0, "lr": 1.0}
    names = (*PARAMETERS, "zero_grad")
    fixed = (("epochs", 1000),)
    given = [
        row({k: v for k, v in one.items() if k != "epochs"}, names=names, fixed=fixed)
        for one in (tiny, sgd, still)
    ]
    table = ConfigTable(names, tuple(given), fixed, task="parity-2")
    document = Document("t", "", (Section("configs", "Configs", (table,)),))
    shown = show(document, permissions=grants)
    for point, button in zip((tiny, sgd, still), shown.locator(".open").all(), strict=True):
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


def test_a_config_of_a_user_is_copied_as_a_dict_and_yaml(show):
    point = {"on": "yes", "a b": 'it\'s "so" <b>', "x": True, "n": None, "f": 2e-07, "é": "ü: 1"}
    names = ("on", "a b", "x", "n")
    fixed = (("f", 2e-07), ("é", "ü: 1"))
    table = ConfigTable(
        names, (row({n: point[n] for n in names}, names=names, fixed=fixed),), fixed
    )
    shown = show(Document("t", "", (Section("configs", "Configs", (table,)),)))
    shown.locator(".open").click()
    python, as_yaml = shown.locator(".recipes code").all_text_contents()
    assert eval(python) == point
    assert yaml.safe_load(as_yaml) == point


def many(path, configs):
    """A run of so many configs, in memory, with all figures that a search has."""
    draw = np.random.default_rng(0)
    outcomes = [solved(0, k, 8) for k in range(9)]
    lines = []
    for at in range(configs):
        hidden = int(draw.integers(2, 20))
        point = CONFIG | {
            "lr": float(10 ** draw.uniform(-4, 0)),
            "optimizer": ("SGD", "Adam", "RMSprop")[at % 3],
            "activation": ("ReLU", "Tanh", "ELU", "Sigmoid")[at % 4],
            "hidden_dim": hidden,
        }
        lines.append(done(at, point, outcomes[min(8, int(draw.integers(9)) * hidden // 8)]))
    importance = {"hidden_dim": 0.5, "lr": 0.3, "optimizer": 0.1, "activation": 0.1}
    manifest = {"name": "many", "trainer": "network", "task": "xor", "importance": importance}
    return Run(path, manifest, tuple(lines))


def seconds_of(browser):
    """What all pages have taken of a processor so far."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(one["cpuTime"] for one in found if one["type"] == "renderer")


def test_a_page_of_ten_thousand_configs_opens_and_sorts_at_once(show, browser, tmp_path):
    text = page(run_document(many(tmp_path, 10_000)))
    assert len(text.encode()) < 5_000_000
    before = seconds_of(browser)
    shown = show(None, text=text)
    rows(shown).first.wait_for()
    # Of a processor: how long it waits for one depends on what else it does.
    assert seconds_of(browser) - before < 2
    assert shown.locator(".pages p").inner_text() == "1–25 of 10,000"
    assert shown.locator(".plot").count() >= 7
    shown.get_by_role("button", name="trials").click()
    assert rows(shown).count() == 25
