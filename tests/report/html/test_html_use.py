"""Pages as they are used in a browser: sorted, filtered, linked to, copied from, printed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import yaml
from browsing import NO_BROWSER, column, rows
from hand_made import CONFIG, done, solved
from html_documents import PARAMETERS, every_block, network_table, row

import xortune as xt
from xortune.reports.document import ConfigTable, Document, Section, said
from xortune.reports.html.page import page
from xortune.reports.run import run_document
from xortune.reports.tables import FRESH_SEED, FRESH_SEEDS, evaluate_command
from xortune.runs.run import Run

pytestmark = NO_BROWSER


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
