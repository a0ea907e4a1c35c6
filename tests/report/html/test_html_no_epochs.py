"""Where nobody counts epochs, as with a function of the user's, no page or table speaks of them."""

from __future__ import annotations

import numpy as np
from browsing import NO_BROWSER, column, rows
from hand_made import done, solved, write_run

from xortune.core.outcome import Outcome, Status
from xortune.reports.document import markdown_text
from xortune.reports.run import run_document, table_tex


def own_run(path, *, rate=0.5):
    """Of 30 configs, with no epochs and no patterns, as a function of the user's has none."""
    return write_run(
        path,
        [done(at, {"depth": at}, plain(round(rate * (at % 11)), 10)) for at in range(30)],
        trainer="./train.py:run",
    )


def plain(k, n):
    status = np.where(np.arange(n) < k, int(Status.SOLVED), int(Status.WRONG_PATTERN))
    return Outcome(
        seeds=np.arange(n),
        epochs=0,
        status=status.astype(np.uint8),
        solved_epoch=np.zeros(n, np.int32),
        final_loss=np.full(n, np.nan, np.float32),
        predictions=np.zeros((n, 0), np.bool_),
    )


def test_in_no_document(tmp_path):
    run = own_run(tmp_path / "run")
    text = markdown_text(run_document(run))
    assert "epoch" not in text
    assert "all zero" not in text
    head = next(line for line in text.splitlines() if "solved | rate" in line)
    assert "| 95 % interval | depth |" in head
    assert "poch" not in table_tex(run)


def test_where_nothing_is_solved_more_epochs_are_no_advice(tmp_path):
    text = markdown_text(run_document(own_run(tmp_path / "run", rate=0.0)))
    assert "a larger or another search space is the next thing to try" in text
    assert "epoch" not in text


def test_a_network_has_them_still(tmp_path):
    network = {"activation": "Tanh", "loss": "MSELoss", "optimizer": "Adam", "lr": 0.1}
    points = [{**network, "hidden_dim": width, "epochs": 9} for width in (2, 3)]
    lines = [done(at, point, solved(0, 2, 4)) for at, point in enumerate(points)]
    text = markdown_text(run_document(write_run(tmp_path / "run", lines, trainer="network")))
    assert "| 95 % interval | epochs to solve |" in text
    assert "then the epochs to solve, then the key" in text


@NO_BROWSER
def test_the_table_of_a_page_is_sorted_and_filtered_without_that_column(show, tmp_path):
    shown = show(run_document(own_run(tmp_path / "run")))
    heads = shown.locator(".configs thead th").all_inner_texts()
    assert "epochs to solve" not in [head.strip() for head in heads]
    assert rows(shown).first.locator(":scope > *").count() == len(heads)
    at = [head.strip() for head in heads].index("depth")
    shown.get_by_role("columnheader", name="depth").get_by_role("button").press("Enter")
    assert column(shown, at) == [str(depth) for depth in range(25)]
    shown.get_by_role("searchbox").fill("depth<3")
    assert column(shown, at) == ["0", "1", "2"]
