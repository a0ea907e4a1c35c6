"""The verb `certify`, its command, and the report."""

import json

import pytest
from certified import (
    KEYS,
    POINTS,
    SPACE,
    Counting,
    certify,
    run,
)
from commands import xortune
from hand_made import done, failed, solved, write_run

import xortune as xt
from xortune.runs.journal import Journal
from xortune.runs.run import JOURNAL, load_run

__all__ = ["run"]  # the fixture


def test_the_verb_trains_the_network_and_its_counts_can_be_repeated(run):
    told = []
    found = xt.certify(
        run, top=2, seeds=40, on_progress=lambda done, total: told.append((done, total))
    )
    assert isinstance(found, xt.Certificate)
    assert xt.load_run(run.path).certificate == found == run.certificate
    assert told[-1] == (80, 80)
    for finalist in found.finalists:
        seeds = range(finalist.first, finalist.first + finalist.n)
        same = xt.evaluate(xt.Config.from_point(finalist.point), seeds)
        assert (same.successes, same.n) == (finalist.k, finalist.n)
    assert (
        "## The winners on seeds that the search never saw" in (run.path / "report.md").read_text()
    )


def test_the_verb_refuses_what_it_cannot_train(tmp_path, run):
    other = write_run(tmp_path / "other", [], space_text=SPACE, trainer="function")
    with pytest.raises(xt.InputError, match="give it again"):
        xt.certify(other)
    changed = write_run(
        tmp_path / "changed",
        [done(0, POINTS[0], solved(0, 8, 8, epochs=30))],
        space_text=SPACE,
        trainer="network",
        task_fingerprint="another",
    )
    with pytest.raises(xt.InputError, match="no longer what the run learned"):
        xt.certify(changed.path)
    assert xt.certify(run, trainer=Counting(), top=1, seeds=10).best.k == 10


def test_the_command_shows_the_certificate_that_it_writes(run, monkeypatch):
    """What it shows is golden/certified.80.txt."""
    monkeypatch.setattr(
        "xortune.driver.certify.trainer_of", lambda *_, **__: Counting({KEYS[1]: 5})
    )
    result = xortune("certify", run.path, "--top", 2, "--seeds", 100)
    assert result.exit_code == 0, result.output
    assert str(xt.load_run(run.path).certificate) in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-1] == str(run.path / "certificate.json")
    result = xortune("certify", run.path, "--top", 1, "--seeds", 50, "--json")
    values = json.loads(result.stdout)
    assert [a["attempt"] for a in values["attempts"]] == [1, 2]
    assert values == json.loads((run.path / "certificate.json").read_text())
    result = xortune("certify", run.path, "--top", 1, "--seeds", 50, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seeds", "0"), "--seeds: 0 is out of range"),
        (("--seeds", 2**30), "--seeds: 1073741824"),
        (("--top", "0"), "--top: 0"),
        (("--confidence", "2"), "--confidence: 2"),
        (("--extend",), "--extend: the run has no attempt"),
        (("--extend", "--neighbourhood", "0.2"), "--neighbourhood: neighbours can only"),
        (("--neighbourhood", "-1"), "--neighbourhood: -1"),
        (("--extend", "--top", "5"), "--top: 5; allowed: at the beginning of an attempt"),
        (("--extend", "--confidence", "0.9"), "--confidence: 0.9; allowed: at the beginning"),
        (("--extend", "--extendable"), "--extendable: True; allowed: at the beginning"),
    ],
)
def test_the_command_refuses(run, words, message):
    result = xortune("certify", run.path, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]
    assert not load_run(run.path).checks


def test_an_interrupted_command_exits_3_and_one_without_an_outcome_4(run, monkeypatch):
    trainer = Counting(stop_after=1)
    monkeypatch.setattr("xortune.driver.certify.trainer_of", lambda *_, **__: trainer)
    result = xortune("certify", run.path, "--top", 1, "--seeds", 100)
    assert result.exit_code == 3
    assert "the same command continues" in result.stderr
    trainer = Counting(broken={1, 2, 3})
    result = xortune("certify", run.path, "--top", 1, "--seeds", 100)
    assert result.exit_code == 4
    assert "50/100" in result.stdout


def test_an_unfinished_certificate_is_told_as_that(run):
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=1))
    xt.write_report(load_run(run.path))
    text = (run.path / "report.md").read_text()
    assert f"Attempt 1: {KEYS[1]} 50/50, unfinished." in text
    assert xortune("gate", run.path, "--min-rate", 0.5).exit_code == 2


def test_a_line_that_failed_shows_in_the_counts(tmp_path, run):
    lost = failed(1, POINTS[1], 8, 4)
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(lost)
    found = certify(run, top=1)
    assert found.best.search_n == 8  # 8 of 12 no longer leads
