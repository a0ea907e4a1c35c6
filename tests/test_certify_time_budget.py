"""A search whose time has run out starts no long certificate, and says so."""

import json
import shlex
from types import SimpleNamespace

import pytest
from certified import searched
from commands import xortune
from test_certify_search import search

from xortune.core.seeds import CERTIFY
from xortune.reports.tables import left_out
from xortune.runs.run import load_run

__all__ = ["search", "searched"]  # the fixtures


@pytest.fixture
def took(monkeypatch):
    """How long the search takes by `xt.search`'s clock: the fake session takes no time."""
    clock = {"now": 0.0, "each": 0.0}

    def monotonic():
        clock["now"] += clock["each"]
        return clock["now"]

    monkeypatch.setattr("xortune.driver.search.time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr("xortune.trainers.network.usable_cores", lambda: 2)

    def set_to(seconds):
        clock["each"] = seconds

    return set_to


def test_a_search_whose_time_is_over_is_not_certified_and_says_so(search, took):
    took(12.0)
    result = search("--time-budget", "12s")
    assert result.exit_code == 0
    run = load_run(search.path)
    assert run.certificate is None
    assert not run.checks
    command = f"xortune certify {search.path} --seeds 20"
    left = run.manifest["not_certified"]
    assert left["command"] == command
    # The searched blocks took 0.5 s for 8 seeds; two configs are to get 20, on two cores. That is
    # more than a tenth of 12 s.
    assert left["seconds"] == pytest.approx(1.25)
    lines = result.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Not certified"))
    assert lines[at].startswith("Not certified: the time budget had run out. This takes about ")
    assert lines[at + 1].strip() == command
    assert "certifying" not in result.stderr
    report = (search.path / "report.md").read_text()
    answer = report.split("## The answer")[1].split("\n## ")[0]
    assert "**Not certified: the time budget had run out. This takes about 1.2 s:**" in answer
    assert f"```sh\n{command}\n```" in answer
    values = json.loads(xortune("report", search.path, "--json").stdout)
    assert values["not_certified"] == left
    assert values["certificate"] is None
    # The command does what the search would have done; and then nothing is left to say.
    assert xortune(*shlex.split(command)[1:]).exit_code == 0
    done = load_run(search.path)
    assert done.certificate.best.first in CERTIFY
    assert [f.n for f in done.certificate.finalists] == [20] * 2
    assert "Not certified" not in xortune("report", search.path).stdout
    assert "Not certified" not in (search.path / "report.md").read_text()


@pytest.mark.parametrize(
    ("noted", "shown"),
    [
        ({"why": "a", "command": "b"}, ("Not certified: a. This does it:", "b")),
        (
            {"why": "a", "command": "b\nc", "seconds": 90},
            ("Not certified: a. This takes about 1.5 min:", r"b\nc"),
        ),
        (None, None),
    ],
)
def test_what_a_report_makes_of_the_entry(noted, shown):
    assert left_out({"not_certified": noted}) == shown


@pytest.mark.parametrize(
    ("seconds", "budget"), [(11.9, "12s"), pytest.param(13.0, "13s", id="a tenth is left for it")]
)
def test_a_search_that_ends_in_time_is_certified(search, took, seconds, budget):
    took(seconds)
    result = search("--time-budget", budget)
    assert result.exit_code == 0
    assert "Not certified" not in result.stdout
    run = load_run(search.path)
    assert "not_certified" not in run.manifest
    assert [f.n for f in run.certificate.finalists] == [20, 20]


def test_resuming_with_time_certifies_and_says_no_more(search, took):
    took(12.0)
    search("--time-budget", "12s")
    took(1.0)
    result = search("--time-budget", "12s", "--resume")
    assert "Not certified" not in result.stdout
    assert load_run(search.path).certificate.best.n == 20
    took(12.0)  # certified already: nothing is left out
    assert "Not certified" not in search("--time-budget", "12s", "--resume").stdout
