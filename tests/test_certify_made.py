"""What made a certificate: the engine of its search, unless another is asked for."""

import json
from importlib.metadata import version

import pytest
from certified import POINTS, SPACE, run
from commands import xortune
from hand_made import done, solved, write_run

import xortune as xt
from xortune.core.task import Task
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.run import load_run
from xortune.trainers.network import NetworkTrainer

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
