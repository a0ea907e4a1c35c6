"""The certificate at the end of a search: shown while it is made, and told of."""

import json

import pytest
from certified import KEYS, SPACE, searched
from commands import xortune

import xortune as xt
from xortune.core.errors import TrainingError
from xortune.core.seeds import CERTIFY
from xortune.runs.run import load_run
from xortune.trainers.network import NetworkTrainer

__all__ = ["searched"]  # the fixture: a search without Ray, of three configs


@pytest.fixture
def search(searched, tmp_path, monkeypatch):
    """The command, for a space that asks for 20 fresh seeds; two of three configs solve any."""
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "asks.yaml").write_text(SPACE.replace("[8]}", "[8], certify: 20}"))

    def command(*words):
        return xortune("search", tmp_path / "asks.yaml", "--output", tmp_path / "asks", *words)

    command.path = tmp_path / "asks"
    return command


def test_progress_is_told(searched):
    told = []
    searched(on_certify=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 40)  # 2 finalists x 20 seeds
    assert told[-1] == (40, 40)
    assert told == sorted(told)


def test_the_command_shows_progress_and_the_certificate(search):
    result = search()
    assert result.exit_code == 0, result.output
    assert "certifying: 40/40 fresh seeds" in result.stderr
    assert str(load_run(search.path).certificate) in " ".join(result.stdout.split())


def test_quiet_and_json_show_no_progress(search):
    result = search("--quiet")
    assert (result.exit_code, result.output) == (0, "")
    result = search("--resume", "--json")
    assert result.stderr == ""
    values = json.loads(result.stdout)
    assert values["certificate"] == json.loads((search.path / "certificate.json").read_text())
    assert values["certificate"]["finalists"][0]["n"] == 20


def test_json_without_a_certificate_says_null(search, tmp_path):
    (tmp_path / "asks.yaml").write_text(SPACE)
    assert json.loads(search("--json").stdout)["certificate"] is None


def test_a_block_of_the_certificate_without_outcome_exits_with_4(search, monkeypatch):
    real = NetworkTrainer.train

    def broken(self, blocks):
        fresh = [block.first >= CERTIFY.start for block in blocks]
        mine = [block.point.key == KEYS[0] for block in blocks]
        return [TrainingError("it broke")] if all(fresh + mine) else real(self, blocks)

    monkeypatch.setattr(NetworkTrainer, "train", broken)
    result = search()
    assert result.exit_code == 4
    assert "0/20 0 %" in result.stdout
    monkeypatch.setattr(NetworkTrainer, "train", real)
    assert search("--resume", "--quiet").exit_code == 4  # it is still in the run


def test_a_search_certifies_if_its_space_says_so(searched):
    run = searched()
    found = run.certificate
    assert sorted(f.key for f in found.finalists) == sorted(KEYS[:2])
    first = found.best.first
    assert first in CERTIFY
    assert {(f.n, f.first) for f in found.finalists} == {(20, first)}
    same = xt.evaluate(xt.Config.from_point(found.best.point), range(first, first + 20))
    assert same.successes == found.best.k
    assert "The winners on seeds" in (run.path / "report.md").read_text()
    assert run.manifest["finished"]
    assert "hold together with confidence 0.95" in xortune("report", run.path).stdout


def test_resuming_a_finished_search_spends_no_other_attempt(searched):
    first = searched().certificate
    run = searched(resume=True)
    assert run.certificate == first
    assert len(load_run(run.path).checks) == 2


def test_a_search_without_the_wish_certifies_nothing(searched):
    run = searched(certify="")
    assert run.certificate is None
    assert not run.checks


def test_an_interrupted_search_is_not_certified_and_an_interrupted_certificate_goes_on(
    searched, monkeypatch
):
    searched.session.complete = False
    with pytest.raises(KeyboardInterrupt):
        searched()
    searched.session.complete = True
    from xortune.trainers import network

    real, calls = network.evaluate_config, []

    def stopped(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(network, "evaluate_config", stopped)
    with pytest.raises(KeyboardInterrupt):
        searched(resume=True)
    run = searched(resume=True)
    assert run.certificate.latest.number == 1
    assert len(calls) == 3
