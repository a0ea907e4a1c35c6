"""All figures of a run: their values, their order, and runs that are strange."""

from __future__ import annotations

import json
import math

import pytest
from hand_made import CONFIG, done, failed, solved, write_run
from success_runs import (
    EPOCHS,
    GOLDEN,
    HIDDEN,
    OURS,
    RATE,
    as_golden,
    figures,
    fixed,
    in_front,
    keeps_to_the_rules,
    ours,
)

from xortune.reports.figures.all import figures_of

HOSTILE = "<b onclick='x()'>\n\t\"&|`$\\{}%\U0001f389\u202e\ud800" + "x" * 200


@pytest.fixture(scope="module")
def plots(tmp_path_factory):
    return figures(tmp_path_factory.mktemp("golden"))


def test_golden(plots):
    # To renew it after a wanted change: run success_runs.py, and read the diff.
    found, kept = as_golden(plots), json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(found) == list(kept)
    for name, plot in found.items():
        assert plot == kept[name], name


def test_their_order(plots):
    assert [plot.name for plot in plots] == list(OURS)


def test_they_keep_to_the_rules(plots):
    for plot in plots:
        keeps_to_the_rules(plot)


def test_the_same_run_gives_the_same_figures(tmp_path):
    assert ours(fixed(tmp_path / "one")) == ours(fixed(tmp_path / "two"))


def test_a_run_without_a_finished_config_has_none(tmp_path):
    assert figures_of(write_run(tmp_path / "empty", [])) == ()
    lines = [failed(0, CONFIG, 0, 8, final=False)]
    assert figures_of(write_run(tmp_path / "tried", lines)) == ()


def one(k, n=8):
    return [done(0, CONFIG, solved(0, k, n))]


def many(k, n=8):
    return [done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, k, n)) for i in range(4)]


def hostile():
    lines = [
        done(i, {HOSTILE: HOSTILE + str(i), "n\nm": i, "huge": 10**300}, solved(0, i, 8))
        for i in range(5)
    ]
    return [*lines, done(5, {HOSTILE: 1e-300, "\ud800": None, "b": True}, solved(0, 2, 8))]


ALWAYS, SUCCESS, FAILURE = ["ranking"], "success-by-epoch", "failures"


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (one(3), [*ALWAYS, SUCCESS, FAILURE]),
        (one(8), [*ALWAYS, SUCCESS]),
        (one(0), [*ALWAYS, FAILURE]),
        ([failed(0, CONFIG, 0, 8)], [*ALWAYS, FAILURE]),
        (many(8), [*ALWAYS, SUCCESS, "history"]),
        (many(0), [*ALWAYS, FAILURE]),
        (hostile(), [*ALWAYS, SUCCESS, FAILURE, "history"]),
        (
            [*many(8), done(9, CONFIG | {"lr": 1.0}, solved(0, 1, 2, epochs=7, epoch=7))],
            [*ALWAYS, SUCCESS, "seeds-spent", FAILURE, "history"],
        ),
    ],
)
def test_runs_that_are_strange(tmp_path, lines, names):
    plots = ours(write_run(tmp_path / "run", lines, trainer="own", ladder=[2, 8]))
    assert [plot.name for plot in plots] == names
    for plot in plots:
        keeps_to_the_rules(plot)


def test_a_loss_that_is_nan_changes_nothing(tmp_path):
    lines = many(5)
    before = ours(write_run(tmp_path / "before", lines))
    for line in lines:
        line.outcome.final_loss.flags.writeable = True
        line.outcome.final_loss[:] = math.nan
    assert ours(write_run(tmp_path / "after", lines)) == before


def test_a_front_of_which_nothing_is_known_is_left_out(tmp_path):
    rows = [(3, 0, 16, 1), (4, 0, 16, 1)]
    nothing = ours(in_front(tmp_path / "nothing", rows, (RATE, EPOCHS)))
    assert [plot.name for plot in nothing] == [*ALWAYS, FAILURE]
    known = ours(in_front(tmp_path / "known", rows, (RATE, HIDDEN)))
    assert [plot.name for plot in known] == [*ALWAYS, FAILURE, "front"]
    keeps_to_the_rules(known[-1])
