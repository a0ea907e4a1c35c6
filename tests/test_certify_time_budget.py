"""A search whose time has run out starts no certificate, and says so."""

from __future__ import annotations

import json
import shlex
from types import SimpleNamespace

import pytest
from test_certify import searched, xortune
from test_certify_search import search

from xortune.engine.network import usable_cores
from xortune.run import load_run
from xortune.seed_ranges import CERTIFY

__all__ = ["search", "searched"]  # the fixtures


@pytest.fixture
def took(monkeypatch):
    """How long the search takes by `xt.search`'s clock: the fake session takes no time."""
    clock = {"now": 0.0, "each": 0.0}

    def monotonic():
        clock["now"] += clock["each"]
        return clock["now"]

    monkeypatch.setattr("xortune.api.time", SimpleNamespace(monotonic=monotonic))

    def set_to(seconds):
        clock["each"] = seconds

    return set_to


def test_a_search_whose_time_is_over_is_not_certified_and_says_so(search, took):
    took(60.0)
    result = search("--time-budget", "1m")
    assert result.exit_code == 0
    run = load_run(search.path)
    assert run.certificate is None
    assert run.checks == ()
    command = f"xortune certify {search.path} --seeds 20"
    left = run.manifest["not_certified"]
    assert left["command"] == command
    # The searched blocks took 0.5 s for 8 seeds; two configs are to get 20.
    assert left["seconds"] == pytest.approx(2 * 20 * 0.5 / 8 / usable_cores())
    lines = result.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Not certified"))
    assert lines[at].startswith("Not certified: the time budget had run out. In about ")
    assert lines[at + 1].strip() == command
    assert "certifying" not in result.stderr
    values = json.loads(xortune("report", search.path, "--json").stdout)
    assert values["not_certified"] == left
    assert values["certificate"] is None
    # The command does what the search would have done; and then nothing is left to say.
    assert xortune(*shlex.split(command)[1:]).exit_code == 0
    done = load_run(search.path)
    assert [(f.first, f.n) for f in done.certificate.finalists] == [(CERTIFY.start, 20)] * 2
    assert "Not certified" not in xortune("report", search.path).stdout


def test_a_search_that_ends_in_time_is_certified(search, took):
    took(59.0)
    assert search("--time-budget", "1m").exit_code == 0
    assert load_run(search.path).certificate.latest.number == 1
    assert "not_certified" not in load_run(search.path).manifest


def test_resuming_with_time_certifies_and_says_no_more(search, took):
    took(60.0)
    search("--time-budget", "1m")
    took(1.0)
    result = search("--time-budget", "1m", "--resume")
    assert "Not certified" not in result.stdout
    assert load_run(search.path).certificate.best.n == 20
    took(60.0)  # certified already: nothing is left out
    assert "Not certified" not in search("--time-budget", "1m", "--resume").stdout


def test_without_a_budget_time_never_is_over(searched, took):
    took(1e9)
    assert searched().certificate is not None


def test_without_the_wish_nothing_is_left_out(searched, took):
    took(60.0)
    assert "not_certified" not in searched(certify="", time_budget="1m").manifest


def test_it_is_told_beforehand():
    text = " ".join(xortune("search", "--help").stdout.replace("│", " ").split())
    assert "no certificate either" in text
