"""The page that follows a run, in a browser: what it shows changes while the run grows."""

import threading

import numpy as np
import pytest
from browsing import FOLLOWED, NO_BROWSER, complaints_of_axe, fits, labels_stand_free
from hand_made import CONFIG, RIGHT, WRONG, ZERO, append, done, failed, outcome, solved, write_run
from playwright.sync_api import expect

from xortune.reports.live import live_server
from xortune.runs.lock import held

pytestmark = NO_BROWSER


def at(place):
    return CONFIG | {"lr": 0.01 + place / 1000, "hidden_dim": 2 + place % 3}


@pytest.fixture
def server_of():
    servers = []

    def begun(run):
        servers.append(live_server(run.path, interval=0.2))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,)).start()
        return servers[-1]

    yield begun
    for server in servers:
        end(server)


def end(server):
    server.shutdown()
    server.server_close()


def test_what_it_shows_changes_while_the_run_grows(show, server_of, tmp_path):
    hostile = CONFIG | {"activation": "<img src=x onerror=alert(1)>"}
    run = write_run(tmp_path / "run", [], name="grows", trials=4, complete=False)
    server = server_of(run)
    shown = show(None, url=server.url)
    sentence = shown.locator("#sentence")
    expect(sentence).to_contain_text("No configuration has a result yet")
    expect(shown.get_by_text("There is nothing to draw yet.")).to_have_count(2)
    append(run.path, done(0, at(0), solved(0, 5, 8)), failed(1, at(1), 0, 8, error="too hot"))
    expect(sentence).to_contain_text("Best so far: 5 of 8 seeds solved")
    expect(shown).to_have_title("2/4 grows")
    expect(shown.locator("#rows")).to_contain_text("too hot")
    expect(shown.locator("#configs tbody tr")).to_have_count(2)
    spent = shown.locator("#figure-seeds-so-far .plot")
    expect(spent.locator(".main-svg").first).to_be_visible()
    expect(spent).to_have_attribute(
        "aria-label",
        "Of 16 seeds 100.0 % went to the 2 of 2 configurations that have the most, 8 each.",
    )
    append(run.path, done(2, at(2), solved(0, 16, 16)), done(3, hostile, solved(0, 9, 16)))
    expect(sentence).to_contain_text("Best so far: 16 of 16 seeds solved")
    expect(shown.locator("#progress")).to_have_js_property("value", 4)
    expect(spent).to_have_attribute(
        "aria-label",
        "Of 48 seeds 66.7 % went to the 2 of 4 configurations that have the most, 16 each.",
    )
    best = "() => document.querySelector('#figure-history .drawn').data.at(-1).x.at(-1)"
    assert shown.evaluate(best) == 48
    expect(shown.locator("#configs")).to_contain_text("<img src=x onerror=alert(1)>")
    assert shown.locator("main img").count() == 0


def test_it_says_that_the_run_has_ended_and_that_the_server_is_gone(show, server_of, tmp_path):
    run = write_run(tmp_path / "run", [done(0, at(0), solved(0, 5, 8))], name="ends", trials=1)
    server = server_of(run)
    with held(run.path):
        shown = show(None, url=server.url)
        sentence = shown.locator("#sentence")
        expect(sentence).to_have_text(
            f"Running. Best so far: 5 of 8 seeds solved (30–87 %), "
            f"configuration {run.results[0].key}."
        )
    run.noted(complete=True)
    expect(sentence).to_contain_text("The run has ended. Best so far: 5 of 8")
    end(server)
    expect(sentence).to_contain_text("Lost the server")
    expect(sentence).to_contain_text("What stands below was so at")
    expect(shown.locator("#configs tbody tr")).to_have_count(1)  # it stays


def test_it_is_accessible_and_fits(show, server_of, tmp_path):
    evaluations = [failed(0, at(0), 0, 8, error="too hot " * 30)]
    for place in range(1, 14):
        rows = [RIGHT] * place + [WRONG, ZERO, WRONG]
        evaluations.append(done(place, at(place), outcome(0, rows, epoch=int(np.exp2(place % 9)))))
    run = write_run(
        tmp_path / "run",
        evaluations,
        name="a_run_with_a_long_name" * 4,
        trials=40,
        trainer="network",
        task="xor",
        note="with the new augmentation",
        tags=["baseline"],
    )
    shown = show(None, url=server_of(run).url, theme="dark", bypass_csp=True)
    expect(shown.locator(".drawn .main-svg").first).to_be_visible()
    assert shown.locator("figure:visible").count() == 4
    shown.locator("details.data summary").first.click()
    assert complaints_of_axe(shown) == []
    for width in (1440, 400):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.wait_for_function(FOLLOWED.replace('".plot"', '"figure:not([hidden]) .plot"'))
        fits(shown, width)
        labels_stand_free(shown)
