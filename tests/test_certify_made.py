"""What made a certificate: the engine of its search, unless another is asked for."""

import json
from importlib.metadata import version

import pytest
from certified import POINTS, SPACE, Counting, certify, run
from commands import xortune
from hand_made import done, solved, write_run
from test_run_certificate import A, check

import xortune as xt
from xortune.core.task import Task
from xortune.runs.certificate import (
    certificate_json,
    certificate_of,
    read_certificate,
    write_certificate,
)
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.run import load_run
from xortune.trainers.network import NetworkTrainer, engine_described

__all__ = ["run"]  # the fixture


def searched_by(path, engine, **more):
    """A run of one config, as `xt.search(engine=...)` would describe it."""
    described = NetworkTrainer(Task.xor(), engine, **more).describe()
    identity = identity_of(described)
    made = made_id(identity)
    session = {"number": 1, "made": made, "space": "space.yaml", "versions": {"ray": "1.0"}}
    return write_run(
        path / "run",
        [done(0, POINTS[0], solved(0, 8, 8, epochs=30))],
        space_text=SPACE,
        name="tiny",
        **described,
        made={made: identity},
        sessions=[session],
        versions={"ray": "1.0", "torch": "0.1"},
        git_commit="of the search",
    )


def certified_of(path):
    return json.loads((path / "certificate.json").read_text())


def test_cuda_is_known_by_its_description_and_nothing_is_auto():
    described = NetworkTrainer(Task.xor(), "cuda", gpus=1).describe()
    assert engine_described(described) == "cuda"
    assert engine_described({}) == "auto"


@pytest.mark.parametrize("engine", ["auto", "fused", "reference"])
def test_the_engine_of_the_search_certifies(tmp_path, engine):
    run = searched_by(tmp_path, engine)
    told = []
    xt.certify(run, top=1, seeds=20, on_word=told.append)
    done = load_run(run.path)
    assert {check.made for check in done.checks} == set(run.manifest["made"])
    assert told == []
    made = certified_of(run.path)["run"]
    assert made["engine"] == run.manifest["engine"]
    assert ("engine_fallback" in made) == (engine == "auto")


def test_another_engine_if_it_is_asked_for_and_the_certificate_names_it(tmp_path):
    run = searched_by(tmp_path, "reference")
    result = xortune("certify", run.path, "--top", 1, "--seeds", 20, "--engine", "fused")
    assert result.exit_code == 0
    assert "the search was made with other versions (engine: reference -> fused)" in result.stderr
    made = certified_of(run.path)["run"]
    assert made["engine"] == "fused"
    assert made["torch"] == version("torch").partition("+")[0]
    # Of the session that certified, not of the one that searched.
    assert made["versions"]["ray"] == version("ray")
    assert made.get("git_commit") != "of the search"
    # All of it follows from journal and manifest.
    before = certified_of(run.path)
    (run.path / "certificate.json").unlink()
    assert xortune("report", run.path).exit_code == 0
    assert certified_of(run.path) == before
    assert before["attempts"][0]["made"] == [made_id(identity_of(_described("fused")))]


def _described(engine):
    return NetworkTrainer(Task.xor(), engine).describe()


def test_an_engine_that_is_not_here_is_refused_before_anything_is_spent(tmp_path, monkeypatch):
    import torch

    run = searched_by(tmp_path, "cuda", gpus=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = xortune("certify", run.path, "--top", 1, "--seeds", 20)
    assert result.exit_code == 2
    for word in ("engine", "no CUDA device", "--engine auto", "--address"):
        assert word in " ".join(result.stderr.split())
    assert not load_run(run.path).checks
    refused = xortune("certify", run.path, "--top", 1, "--seeds", 20, "--engine", "fusd")
    assert refused.exit_code == 2
    assert "auto, fused, reference, cuda" in refused.stderr
    chosen = xortune("certify", run.path, "--top", 1, "--seeds", 20, "--engine", "auto")
    assert chosen.exit_code == 0


# Two attempts, each by another.

OLD, NEW = "0" * 8, "1" * 8
MANIFEST = {
    "name": "x",
    "task": "xor",
    "engine": "fused",
    "versions": {"torch": "1", "ray": "1"},
    "git_commit": "a",
    "made": {
        OLD: {"engine": "fused", "torch": "1", "task_fingerprint": "f"},
        NEW: {"engine": "reference", "torch": "2", "task_fingerprint": "f"},
    },
    "sessions": [
        {"number": 1, "made": OLD, "versions": {"torch": "1", "ray": "1"}, "git_commit": "a"},
        {
            "number": 2,
            "what": "certify",
            "attempt": 2,
            "made": NEW,
            "versions": {"torch": "2", "ray": "2"},
            "git_commit": "b",
        },
        {"number": 3, "made": NEW, "versions": {"torch": "2", "ray": "3"}, "git_commit": "c"},
    ],
}


def by(made, attempt, count=100, key=A):
    from dataclasses import replace

    line = check(key, solved(2**30 + 2**29, count, count), attempt=attempt, finalists=1)
    return replace(line, made=made)


def test_what_is_told_is_of_the_attempt_that_counts():
    found = certificate_of([by(OLD, 1), by(NEW, 2)])
    values = certificate_json(found, MANIFEST)
    assert values["run"] == {
        "name": "x",
        "task": "xor",
        "engine": "reference",
        "torch": "2",
        "task_fingerprint": "f",
        "versions": {"torch": "2", "ray": "2"},
        "git_commit": "b",
    }
    assert [attempt["made"] for attempt in values["attempts"]] == [[OLD], [NEW]]
    first = certificate_json(certificate_of([by(OLD, 1), by(NEW, 2, count=60)]), MANIFEST)["run"]
    assert (first["engine"], first["versions"]["ray"], first["git_commit"]) == ("fused", "1", "a")


def test_what_nobody_knows_is_not_told():
    sessions = [*MANIFEST["sessions"][::2], {"number": 4, "made": NEW, "versions": {"torch": "2"}}]
    values = certificate_json(certificate_of([by(NEW, 2)]), {**MANIFEST, "sessions": sessions})
    # Either of two sessions may have made it: with one torch, and who knows which Ray.
    assert values["run"]["versions"] == {"torch": "2"}
    assert "git_commit" not in values["run"]


def test_what_made_it_is_read_back_and_a_file_without_it_too(tmp_path):
    found = certificate_of([by(OLD, 1), by(NEW, 2)])
    write_certificate(tmp_path, found, MANIFEST)
    path = tmp_path / "certificate.json"
    assert read_certificate(path) == found
    values = json.loads(path.read_text())
    for attempt in values["attempts"]:
        del attempt["made"]
    path.write_text(json.dumps(values))
    assert {attempt.made for attempt in read_certificate(path).attempts} == {()}
    values["attempts"][0]["made"] = [3]
    path.write_text(json.dumps(values))
    with pytest.raises(xt.InputError, match=r"made\.0: is not a certificate"):
        read_certificate(path)


def test_a_certificate_knows_what_made_it_before_its_journal_is_read_again(run):
    found = certify(run, Counting(), top=1)
    assert found == load_run(run.path).certificate
    assert [attempt.made for attempt in found.attempts] == [(made_id({}),)]
