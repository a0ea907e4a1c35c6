"""What the tests of a run's sessions share: a search without training, another version of torch."""

import dataclasses

import pytest
from hand_made import CONFIG, TINY_SPACE, done, solved
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.core.point import Point
from xortune.driver import search as api
from xortune.driver import session as session_module
from xortune.runs.journal import Journal
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.run import JOURNAL, create, load_run
from xortune.runs.sessions import continue_run, first_manifest
from xortune.trainers.network import NetworkTrainer

SPACE = TINY_SPACE
WIDER = SPACE.replace("high: 0.1", "high: 0.5").replace("[Tanh, ReLU]", "[Tanh, ReLU, ELU]")
POINT = {**CONFIG, "epochs": 30, "hidden_dim": 3}
A, B = "a" * 8, "b" * 8


@pytest.fixture
def search(tmp_path, monkeypatch):
    """`search(text, **more)`; instead of Ray one more evaluation is written, signed."""

    def session(space, trainer, directory, *, resume, listener, **_):
        lines = ()
        if (directory / JOURNAL).exists():
            run = load_run(directory)
            continue_run(
                space,
                trainer,
                run,
                say=listener.message,
                extend=resume.extend,
                accept_versions=resume.accept_versions,
                command=resume.command,
            )
            lines = run.evaluations
        else:
            manifest = first_manifest(space, trainer, resume.command)
            create(directory, space_text=space.text, manifest=manifest)
        made = made_id(identity_of(trainer.describe()))
        point = trainer.check(Point({**POINT, "lr": 0.01 + len(lines) / 1000}))
        with Journal.open(directory / JOURNAL) as journal:
            line = done(len(lines), point, solved(0, 3, 4, epochs=30))
            journal.append(dataclasses.replace(line, made=made))
        return True

    monkeypatch.setattr(session_module, "search_session", session)
    monkeypatch.chdir(tmp_path)
    write_report = api.write_report
    monkeypatch.setattr(api, "write_report", lambda *_: None)  # which takes most of the time

    def search(text=SPACE, *, report=False, **more):
        if report:
            monkeypatch.setattr(api, "write_report", write_report)
        (tmp_path / "space.yaml").write_text(text)
        return xt.search(tmp_path / "space.yaml", output=tmp_path / "run", **more)

    return search


@pytest.fixture
def other_torch(monkeypatch):
    real = NetworkTrainer.describe
    monkeypatch.setattr(NetworkTrainer, "describe", lambda self: real(self) | {"torch": "9.8.7"})


def files(run):
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def by(made, evaluation):
    return dataclasses.replace(evaluation, made=made)
