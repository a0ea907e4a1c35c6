"""The verb and the command `certify`, and the certificate at the end of a search."""

import itertools
import json
import shlex
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from certified import KEYS, POINTS, SPACE, Counting, run, searched_run
from commands import refused, xortune
from hand_made import write_run
from listening import counts, sentences

import xortune as xt
from xortune.core.seeds import CERTIFY
from xortune.core.task import Task
from xortune.driver import session as session_module
from xortune.runs.manifest import fingerprint_of, identity_of
from xortune.runs.run import holds_run, load_run
from xortune.runs.sessions import first_manifest
from xortune.trainers import network
from xortune.trainers.network import NetworkTrainer
from xortune.training.executors import LocalExecutor

__all__ = ["run"]  # the fixture


def certified_of(path):
    return json.loads((path / "certificate.json").read_text())


def test_the_verb_trains_the_network_and_its_counts_can_be_repeated(run):
    told = []
    hears = counts(lambda *counts: told.append(counts))
    found = xt.certify(run, top=2, seeds=40, listener=hears)
    assert isinstance(found, xt.Certificate)
    assert xt.load_run(run.path).certificate == found == run.certificate
    assert told[-1] == (80, 80)
    for finalist in found.finalists:
        seeds = range(finalist.first, finalist.first + finalist.n)
        same = xt.evaluate(xt.Config.from_point(finalist.point), seeds)
        assert (same.successes, same.n) == (finalist.k, finalist.n)
    report = (run.path / "report.md").read_text()
    assert "## The winners on seeds that the search never saw" in report


def test_the_verb_refuses_what_it_cannot_train(tmp_path, run):
    other = write_run(tmp_path / "other", [], space_text=SPACE, trainer="function")
    with pytest.raises(xt.InputError, match="give it again"):
        xt.certify(other)
    changed = searched_run(tmp_path / "changed", task_fingerprint="another")
    with pytest.raises(xt.InputError, match="no longer what the run learned"):
        xt.certify(changed.path)
    assert xt.certify(run, trainer=Counting(), top=1, seeds=10).best.k == 10


@pytest.fixture
def by(monkeypatch):
    """`by(trainer)` certifies."""
    name = "xortune.driver.certify.trainer_of"
    return lambda trainer: monkeypatch.setattr(name, lambda *_, **__: trainer)


def test_the_command_shows_the_certificate_that_it_writes(run, by):
    """What it shows is golden/certified.80.txt."""
    by(Counting({KEYS[1]: 5}))
    result = xortune("certify", run.path, "--top", 2, "--seeds", 100)
    assert result.exit_code == 0, result.output
    assert str(xt.load_run(run.path).certificate) in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-1] == str(run.path / "certificate.json")
    words = ("certify", run.path, "--top", 1, "--seeds", 50)
    values = json.loads(xortune(*words, "--json").stdout)
    assert [a["attempt"] for a in values["attempts"]] == [1, 2]
    assert values == certified_of(run.path)
    result = xortune(*words, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seeds", "0"), "--seeds: 0 is out of range"),
        (("--seeds", 2**30), "--seeds: 1073741824"),
        (("--top", "0"), "--top: 0"),
        (("--confidence", "2"), "--confidence: 2"),
        (("--extend",), "--extend: the run has no attempt"),
        (("--extend", "--neighbourhood", "0.2"), "--neighbourhood: 0.2; allowed: only at the beg"),
        (("--neighbourhood", "-1"), "--neighbourhood: -1"),
        (("--extend", "--top", "5"), "--top: 5; allowed: only at the beginning of an attempt"),
        (("--extend", "--confidence", "0.9"), "--confidence: 0.9; allowed: only at the beginning"),
        (("--extend", "--extendable"), "--extendable: True; allowed: only at the beginning"),
        (("--by", "neighbourhood"), "--by: 'neighbourhood' needs measured neighbours"),
        (("--by", "neighborhood", "--neighbourhood", "0.2"), "did you mean 'neighbourhood'?"),
        (("--address", "127.0.0.1:9"), "--address: '127.0.0.1:9' cannot be reached"),
    ],
)
def test_the_command_refuses(run, words, message):
    refused(xortune("certify", run.path, *words), message)
    assert not load_run(run.path).checks


def test_an_interrupted_command_exits_3_and_one_without_an_outcome_4(run, by):
    for trainer, code in ((Counting(stop_after=1), 3), (Counting(broken={1, 2, 3}), 4)):
        by(trainer)
        result = xortune("certify", run.path, "--top", 1, "--seeds", 100, "--workers", 0)
        assert result.exit_code == code
        assert ("the same command continues" in result.stderr) == (code == 3)
    assert "50/100" in result.stdout


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """`xt.search` for 20 fresh seeds: the journal gets three configs, of which two solve any."""
    real = session_module.search_session

    def session(space, trainer, directory, *, resume, **rest):
        if not holds_run(directory):
            manifest = first_manifest(space, trainer, resume.command)
            found = {"points": POINTS[:3], "counts": (8, 7, 0), "seconds": 0.5}
            searched_run(directory, **found, text=space.text, **manifest)
        rest["executor"] = LocalExecutor(trainer)
        return session.complete and real(space, trainer, directory, resume=resume, **rest)

    session.complete = True
    monkeypatch.setattr(session_module, "search_session", session)

    def search(**more):
        return xt.search(search.space, output=tmp_path / "searched", **more)

    search.session, search.space = session, tmp_path / "space.yaml"
    search.space.write_text(SPACE.replace("[8]}", "[8], certify: 20}").replace("s: 5", "s: 3"))
    return search


@pytest.fixture
def search(searched, tmp_path, monkeypatch):
    """The command for the same."""
    monkeypatch.setenv("COLUMNS", "100")

    def command(*words):
        return xortune("search", searched.space, "--output", command.path, *words)

    command.path = tmp_path / "asks"
    return command


def test_a_search_certifies_if_its_space_says_so(searched, search):
    told = []
    run = searched(listener=counts(lambda *counts: told.append(counts)))
    assert (told[0], told[-1]) == ((0, 40), (40, 40))  # two of three finalists solve any
    assert told == sorted(told)
    found = run.certificate
    assert sorted(f.key for f in found.finalists) == sorted(KEYS[:2])
    first = found.best.first
    assert first in CERTIFY
    assert {(f.n, f.first) for f in found.finalists} == {(20, first)}
    same = xt.evaluate(xt.Config.from_point(found.best.point), range(first, first + 20))
    assert same.successes == found.best.k
    shown = " ".join(xortune("report", run.path).stdout.split())
    assert "in certificates.jsonl hold together with confidence 0.95" in shown
    assert searched(resume=True).certificate == found, "no other attempt is spent"
    result = search()
    assert "certifying: 40/40 fresh seeds" in result.stderr
    assert str(load_run(search.path).certificate) in " ".join(result.stdout.split())
    again = search("--resume", "--json")
    assert again.stderr == ""
    assert json.loads(again.stdout)["certificate"] == certified_of(search.path)


def test_an_interrupted_search_is_not_certified_and_an_interrupted_certificate_goes_on(
    searched, monkeypatch
):
    searched.session.complete = False
    with pytest.raises(KeyboardInterrupt):
        searched()
    searched.session.complete = True
    real, is_stopped = network.evaluate_config, iter([False, True, False])

    def stopped(*arguments, **more):
        if next(is_stopped):
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(network, "evaluate_config", stopped)
    monkeypatch.setattr("xortune.training.batches.BATCH_SECONDS", 1e-9)  # a block in each
    monkeypatch.setattr("xortune.training.batches.LEAST_AT_ONCE", 20)
    with pytest.raises(KeyboardInterrupt):
        searched(resume=True)
    run = searched(resume=True)
    assert run.certificate.latest.number == 1
    assert not [*is_stopped]


def test_a_search_whose_time_is_over_is_not_certified_and_says_so(search, monkeypatch):
    clock = itertools.count(12.0, 12.0)  # the fake session takes no time
    patched = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("xortune.driver.session.time", patched)
    monkeypatch.setattr(network, "usable_cores", lambda: 2)
    result = search("--time-budget", "12s")
    assert result.exit_code == 0
    run, report = load_run(search.path), search.path / "report.md"
    assert (run.certificate, len(run.checks)) == (None, 0)
    # The searched blocks took 0.5 s for 8 seeds; two configs are to get 20, on two cores. That is
    # more than a tenth of 12 s.
    command = f"xortune certify {search.path} --seeds 20"
    left = run.manifest["not_certified"]
    assert (left["command"], left["seconds"]) == (command, pytest.approx(1.25))
    said = "Not certified: the time budget had run out. This takes about 1.2"
    [line, following] = result.stdout[result.stdout.index("Not certified") :].splitlines()[:2]
    assert line.startswith(said)
    assert following.strip() == command
    assert "certifying" not in result.stderr
    answer = report.read_text().split("## The answer")[1].split("\n## ")[0]
    assert f"**{said} s:**" in answer
    assert f"```sh\n{command}\n```" in answer
    values = json.loads(xortune("report", search.path, "--json").stdout)
    assert (values["not_certified"], values["certificate"]) == (left, None)
    # The command does what the search would have done; and then nothing is left to say.
    assert xortune(*shlex.split(command)[1:]).exit_code == 0
    found = load_run(search.path).certificate
    assert found.best.first in CERTIFY
    assert [f.n for f in found.finalists] == [20] * 2
    assert "Not certified" not in xortune("report", search.path).stdout + report.read_text()


# The engine of the search certifies, unless another is asked for.


def searched_by(path, engine, **more):
    """A run of one config, as `xt.search(engine=...)` would describe it."""
    described = NetworkTrainer(Task.xor(), engine, **more).describe()
    fingerprint = fingerprint_of(identity := identity_of(described))
    session = {"number": 1, "made": fingerprint, "space": "space.yaml", "versions": {"ray": "1.0"}}
    noted = {"made": {fingerprint: identity}, "sessions": [session], "git_commit": "of the search"}
    noted["versions"] = {"ray": "1.0", "torch": "0.1"}
    return searched_run(path / "run", points=POINTS[:1], counts=[8], **described, **noted)


@pytest.mark.parametrize("engine", ["auto", "fused", "reference"])
def test_the_engine_of_the_search_certifies(tmp_path, engine):
    run, told = searched_by(tmp_path, engine), []
    xt.certify(run, top=1, seeds=20, listener=sentences(told.append))
    checks = load_run(run.path).checks
    assert {check.fingerprint for check in checks} == set(run.manifest["made"])
    assert told == []
    made = certified_of(run.path)["run"]
    assert made["engine"] == run.manifest["engine"]
    assert ("engine_fallback" in made) == (engine == "auto")


def test_another_engine_if_it_is_asked_for_and_the_certificate_names_it(tmp_path):
    run = searched_by(tmp_path, "reference")
    result = xortune("certify", run.path, "--top", 1, "--seeds", 20, "--engine", "fused")
    assert result.exit_code == 0
    assert "the search was made with other versions (engine: reference -> fused)" in result.stderr
    before = certified_of(run.path)
    made = before["run"]
    torch = version("torch").partition("+")[0]
    assert (made["engine"], made["torch"]) == ("fused", torch)
    # Of the session that certified, not of the one that searched.
    assert made["versions"]["ray"] == version("ray")
    assert made.get("git_commit") != "of the search"
    # All of it follows from journal and manifest.
    (run.path / "certificate.json").unlink()
    assert xortune("report", run.path).exit_code == 0
    assert certified_of(run.path) == before
    identity = identity_of(NetworkTrainer(Task.xor(), "fused").describe())
    assert before["attempts"][0]["made"] == [fingerprint_of(identity)]


def test_an_engine_that_is_not_here_is_refused_before_anything_is_spent(tmp_path, monkeypatch):
    run = searched_by(tmp_path, "cuda", gpus=1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ("certify", run.path, "--top", 1, "--seeds", 20)
    result = xortune(*words)
    assert result.exit_code == 2
    for word in ("engine", "no CUDA device", "--engine auto", "--address"):
        assert word in " ".join(result.stderr.split())
    assert not load_run(run.path).checks
    refused(xortune(*words, "--engine", "fusd"), "auto, fused, reference, cuda")
    assert xortune(*words, "--engine", "auto").exit_code == 0
