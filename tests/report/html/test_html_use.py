"""Pages as they are used in a browser: sorted, filtered, linked to, copied from, printed.

And the page that follows a run, which changes while the run grows.
"""

import threading

import pytest
import yaml
from browsing import FOLLOWED, complaints_of_axe, drawn, fits, labels_stand_free
from hand_made import CONFIG, RIGHT, WRONG, ZERO, append, done, failed, outcome, solved, write_run
from pages import many
from playwright.sync_api import expect

import xortune as xt
from xortune.core.formats import value
from xortune.core.point import Point
from xortune.reports.live import LiveServer
from xortune.reports.page import page
from xortune.reports.run import run_document
from xortune.reports.scripts import evaluate_command
from xortune.runs.columns import MISSING
from xortune.runs.lock import held


def rows(shown):
    return shown.locator(".configs tbody tr:not(.recipes)")


def column(shown, at):
    """The texts of a column of the rows that are shown, counted from 0."""
    cells = rows(shown).locator(f":scope > :nth-child({at + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def without_figures(run):
    """Its report, but for what takes most of the time of opening a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xortune.reports.run.figures_of", lambda _: ())
        return run_document(run)


@pytest.fixture(scope="module")
def of_sixty(tmp_path_factory):
    """A run of as many configurations."""
    return many(tmp_path_factory.mktemp("use") / "r", 60)


@pytest.fixture(scope="module")
def sixty(of_sixty):
    return run_document(of_sixty)


@pytest.fixture(scope="module")
def bare(of_sixty):
    return without_figures(of_sixty)


def values_of(document, name):
    """Of each row the value of a parameter, in the order of the rows."""
    return [row[name] for row in document.configs.rows]


def test_without_scripts_all_text_and_the_first_rows_are_there(show, sixty):
    shown = show(sixty, java_script_enabled=False)
    assert rows(shown).count() == 10
    text = shown.locator("main").inner_text()
    assert sixty.plots[0].alt in text
    assert "The first 10 of 60 configurations" in text
    assert shown.get_by_role("button").count() == 0


def test_figures_that_nobody_has_scrolled_to_are_drawn_too(show, sixty):
    shown = show(sixty)
    unfolded = [one for one in shown.locator(".plot").all() if one.is_visible()]
    assert len(unfolded) > 2
    for figure in unfolded:
        figure.locator(".main-svg").first.wait_for()
    assert shown.evaluate("scrollY") == 0


def test_without_a_rule_for_success_the_table_says_who_finished_and_no_rate(
    show, of_sixty, monkeypatch
):
    monkeypatch.setattr("xortune.reports.run.has_rule", lambda _: False)
    unruled = without_figures(of_sixty)
    shown = show(unruled)
    heads = [text.strip() for text in shown.locator(".configs thead th").all_inner_texts()]
    assert heads[:4] == ["#", "key", "epochs to solve", "finished"]
    assert "rate" not in heads
    shown.get_by_role("button", name="finished").click()  # each head sorts its own column
    most = max(row["k"] for row in unruled.configs.rows)
    assert column(shown, 3)[0].split("/")[0] == str(most)


def test_a_report_is_so_short_that_people_finish_it(show, sixty):
    shown = show(sixty)
    for width, most in ((1440, 6_500), (390, 12_000)):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
        assert shown.evaluate("document.documentElement.scrollHeight") <= most
    assert shown.locator("details.fold").count() > 5
    assert shown.locator("details.fold[open]").count() == 0
    # On a telephone a caption takes one line.
    heights = "(all) => all.filter((one) => one.checkVisibility()).map((one) => one.clientHeight)"
    lines = shown.locator(".data > summary").evaluate_all(heights)
    assert lines
    assert max(lines) < 40, lines


def test_a_page_is_used(show, sixty):
    """Figures, the theme, sorting, filtering and pages, one after the other on one page."""
    shown = show(sixty)
    # What is folded is drawn when it is opened, and before printing.
    far = shown.locator("details.fold .plot").first
    assert far.locator(".main-svg").count() == 0
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator("main details:not([open])").count() == 0, "paper has nothing to open"
    assert far.locator(".main-svg").count() > 0
    assert far.evaluate("(one) => one.offsetHeight") > 100
    # The theme is remembered.
    button = shown.get_by_role("button", name="Dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(ground) == "rgb(255, 255, 255)"
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    for is_again in (False, True):
        if is_again:
            shown.reload()
        expect(button).to_have_attribute("aria-pressed", "true")
        assert shown.evaluate(ground) == "rgb(21, 24, 28)"
    # Filtering and pages.
    search, status = shown.get_by_role("searchbox"), shown.locator(".pages p")
    assert status.inner_text() == "1–10 of 60"
    shown.get_by_role("button", name="Next").click()
    assert column(shown, 0) == [str(place) for place in range(11, 21)]
    assert status.inner_text() == "11–20 of 60"
    search.fill("tanh lr<0.01 n<=8")
    named = [*zip(*(values_of(sixty, n) for n in ("activation", "optimizer", "lr")), strict=True)]
    wanted = [str(i) for i, (one, _, lr) in enumerate(named, 1) if one == "Tanh" and lr < 0.01]
    assert wanted
    assert column(shown, 0) == wanted
    search.fill("optimizer=SGD")
    assert status.inner_text() == "1–10 of 20 that match, of 60"
    shown.locator(".filters").get_by_label("activation").select_option("null")
    found = [str(i) for i, (*both, _) in enumerate(named, 1) if both == [None, "SGD"]]
    assert column(shown, 0) == found
    search.fill("nothing like this")
    assert rows(shown).count() == 0
    assert status.inner_text() == "None of 60 configurations matches"
    search.fill("")
    shown.locator(".filters").get_by_label("activation").select_option("")
    assert status.inner_text() == "1–10 of 60"
    # Sorting.
    names = [head.strip() for head in shown.locator(".configs thead th").all_inner_texts()]
    head = shown.locator(".configs").get_by_role("columnheader", name="lr")
    assert head.get_attribute("aria-sort") == "none"
    for order, turned in (("ascending", False), ("descending", True)):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        wanted = sorted(values_of(sixty, "lr"), reverse=turned)
        assert column(shown, names.index("lr")) == [value(lr) for lr in wanted[:10]]
    # A third has a momentum: the others come last, in their order, from either end.
    shown.locator(".pages select").select_option("100")
    without = [str(i) for i, one in enumerate(values_of(sixty, "momentum"), 1) if one is MISSING]
    for _ in range(2):
        shown.locator(".configs").get_by_role("button", name="momentum").click()
        found = column(shown, names.index("momentum"))
        assert "" not in found[:20]
        assert found[20:] == [""] * 40
        assert column(shown, 0)[20:] == without


def test_a_link_leads_to_its_row_wherever_it_is(show, bare):
    key = bare.configs.rows[41]["key"]
    shown = show(bare, f"#{key}")
    assert shown.evaluate("document.activeElement.id") == key
    assert shown.locator(".recipes").count() == 1
    assert shown.locator(f"[id='{key}']").is_visible()
    shown.get_by_role("searchbox").fill("nothing like this")
    other = bare.configs.rows[7]["key"]
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
    shown = show(without_figures(run), permissions=["clipboard-read", "clipboard-write"])
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
        assert command == evaluate_command(config, "parity-2")
        button.click()
        assert shown.locator(".recipes").count() == 0


def test_a_config_of_a_user_is_copied_as_a_dict_and_yaml(show, tmp_path):
    point = {
        "on": "yes",
        "a b": 'it\'s "so" <b>',
        "x": True,
        "n": None,
        "f": 2e-07,
        "é": "ü: 1",
        "none": "",
    }
    lines = [done(at, point | {"x": at < 1}, solved(0, 2 - at, 2)) for at in range(2)]
    run = write_run(tmp_path / "r", lines, trainer="./train.py:run")
    shown = show(without_figures(run))
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
    pages = [page(run_document(many(tmp_path / str(count), count))) for count in (200, 2_000)]
    times = [seconds_of(browser)]
    for each in pages:
        shown = show(None, text=each)
        rows(shown).first.wait_for()
        times.append(seconds_of(browser))  # of a processor, whatever else it does
    of_few, of_all = times[1] - times[0], times[2] - times[1]
    assert of_all < 2 * of_few, "ten times the rows are not ten times the work"
    assert shown.locator(".pages p").inner_text() == "1–10 of 2,000"
    assert shown.locator(".plot").count() >= 7
    shown.get_by_role("button", name="solved").click()
    assert rows(shown).count() == 10


# The page that follows a run.


def at(place):
    return CONFIG | {"lr": 0.01 + place / 1000, "hidden_dim": 2 + place % 3}


@pytest.fixture
def server_of():
    servers = []

    def begun(run):
        servers.append(LiveServer(run.path, interval=0.2))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,)).start()
        return servers[-1]

    yield begun
    for server in servers:
        end(server)


def end(server):
    server.shutdown()
    server.server_close()


def test_what_it_shows_changes_while_the_run_grows_until_it_and_the_server_end(
    show, server_of, tmp_path
):
    hostile = CONFIG | {"activation": "<img src=x onerror=alert(1)>"}
    run = write_run(tmp_path / "run", [], name="grows", trials=4, ladder=[8], complete=False)
    server = server_of(run)
    shown = show(None, url=server.url)
    sentence = shown.locator("#sentence")
    expect(sentence).to_contain_text("No configuration has a result yet")
    expect(shown.get_by_text("There is nothing to draw yet.")).to_have_count(2)
    append(run.path, done(0, at(0), solved(0, 5, 8)), failed(1, at(1), 0, 8, error="too hot"))
    expect(sentence).to_contain_text("Best so far: 5 of 8 seeds solved")
    expect(shown).to_have_title("16/32 grows")
    expect(shown.locator("#rows-now")).to_contain_text("too hot")
    expect(shown.locator("#leading-configurations tbody tr")).to_have_count(2)
    expect(shown.locator("#leading-configurations caption")).to_contain_text("in the race")
    last = shown.locator("#failures table").first
    expect(last.locator("caption")).to_have_text("The last failures, the newest first: 1")
    expect(last).to_contain_text("too hot")
    spent = shown.locator("#figure-seeds-so-far .plot")
    spent.scroll_into_view_if_needed()  # it is drawn when it comes near
    expect(spent.locator(".main-svg").first).to_be_visible()
    said = "{} % went to the 2 of {} configurations that have the most, {} each."
    expect(spent).to_have_attribute("aria-label", said.format("Of 16 seeds 100.0", 2, 8))
    # What somebody has hidden, opened and focused stays so.
    hidden = "() => document.querySelector('#figure-seeds-so-far .drawn')._fullData[0].visible"
    shown.locator("#figure-seeds-so-far .legendtoggle").first.click()
    shown.wait_for_function(f"() => ({hidden})() === 'legendonly'")
    shown.locator("#figure-seeds-so-far summary").click()
    append(run.path, done(2, at(2), solved(0, 16, 16)), done(3, hostile, solved(0, 9, 16)))
    expect(sentence).to_contain_text("Best so far: 16 of 16 seeds solved")
    expect(shown.locator("#progress")).to_have_js_property("value", 48)
    expect(spent).to_have_attribute("aria-label", said.format("Of 48 seeds 66.7", 4, 16))
    assert shown.evaluate(hidden) == "legendonly"
    assert shown.evaluate("document.activeElement.localName") == "summary"
    expect(shown.locator("#figure-seeds-so-far .data table")).to_be_visible()
    line = ".data.find((one) => one.name?.startsWith('best'))"  # over seeds, not over seconds
    best = f"() => document.querySelector('#figure-history .drawn'){line}.x.at(-1)"
    assert shown.evaluate(best) == 48
    expect(shown.locator("#leading-configurations")).to_contain_text("<img src=x onerror=alert(1)>")
    assert shown.locator("main img").count() == 0
    count = "16 of 16 seeds solved (100 %, 95 % interval 80–100 %)"
    best = f"{count}, configuration {Point(at(2)).key}."
    with held(run.path):
        expect(sentence).to_have_text(f"Running. Best so far: {best}")
    run.noted(complete=True)
    expect(sentence).to_contain_text("The run has ended. Best so far: 16 of 16")
    end(server)
    expect(sentence).to_contain_text("Lost the server")
    expect(sentence).to_contain_text("What stands below was so at")
    expect(shown.locator("#leading-configurations tbody tr")).to_have_count(4)  # it stays


def test_it_is_accessible_and_fits(show, server_of, tmp_path):
    evaluations = [failed(0, at(0), 0, 8, error="too hot " * 30)]
    for place in range(1, 14):
        found = outcome(0, [RIGHT] * place + [WRONG, ZERO, WRONG], epoch=2 ** (place % 9))
        evaluations.append(done(place, at(place), found))
    noted = {"note": "with the new augmentation", "tags": ["baseline"], "trials": 40}
    name = "a_run_with_a_long_name" * 4
    run = write_run(tmp_path / "run", evaluations, name=name, trainer="network", **noted)
    shown = show(None, url=server_of(run).url, theme="dark", bypass_csp=True)
    expect(shown.locator(".drawn .main-svg").first).to_be_visible()
    assert shown.locator("figure:visible").count() == 4
    shown.locator("details.data summary").first.click()
    assert complaints_of_axe(shown) == []
    drawn(shown)
    for width in (1440, 400):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED)
        fits(shown, width)
        labels_stand_free(shown)
