"""Certificates are sessions too, and no attempt is of two versions."""

import pytest
from hand_made import done, solved, write_run
from sessions import POINT, SPACE, other_torch, search

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.driver.loop import LocalExecutor
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.run import JOURNAL, load_run
from xortune.trainers.network import NetworkTrainer

__all__ = ["other_torch", "search"]  # the fixtures


@pytest.fixture
def certified(tmp_path):
    """A hand-made run, and `certify(**more)` for it."""
    points = [{**POINT, "lr": lr} for lr in (0.02, 0.05)]
    points = [NetworkTrainer(Task.xor()).check(Point(p)) for p in points]
    lines = [done(i, p, solved(0, 8, 8, epochs=30)) for i, p in enumerate(points)]
    trainer = NetworkTrainer(Task.xor())
    identity = identity_of(trainer.describe())
    sessions = [{"number": 1, "made": made_id(identity)}]
    made = {made_id(identity): identity}
    manifest = {**trainer.describe(), "trials": 2, "sessions": sessions, "made": made}
    run = write_run(tmp_path / "run", lines, space_text=SPACE, **manifest)

    def certify(**more):
        xt.certify(run.path, **({"top": 2, "seeds": 32} | more))
        return load_run(run.path)

    certify.path = run.path
    return certify


def interrupted(certify, **more):
    """Stopped before its second block."""
    train, blocks = LocalExecutor.wait, []

    def stop(executor, batches):
        if blocks:
            raise KeyboardInterrupt
        blocks.append(train(executor, batches))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalExecutor, "wait", stop)
        with pytest.raises(KeyboardInterrupt):
            certify(**more)
    run = load_run(certify.path)
    assert len(run.checks) == 1
    assert [a.complete for a in run.certificate.attempts] == [False]


def test_a_certificate_is_a_session_of_its_own(certified):
    run = certified(command=["xortune", "certify"])
    assert [session.get("what") for session in run.manifest["sessions"]] == [None, "certify"]
    assert run.manifest["sessions"][1]["command"] == ["xortune", "certify"]
    assert {check.made for check in run.checks} == {run.manifest["sessions"][1]["made"]}


def test_an_attempt_is_never_finished_by_another_version(certified, request):
    interrupted(certified)
    request.getfixturevalue("other_torch")
    lines = (certified.path / JOURNAL).read_bytes()
    with pytest.raises(InputError, match=r"attempt 1 was begun by another.*accept_versions=True"):
        certified()
    assert (certified.path / JOURNAL).read_bytes() == lines
    said = []
    run = certified(accept_versions=True, on_word=said.append)
    assert [a.complete for a in run.certificate.attempts] == [False, True]
    assert {f.n for f in run.certificate.finalists} == {32}
    for attempt in (1, 2):
        made = {check.made for check in run.checks if check.purpose.attempt == attempt}
        assert len(made) == 1
    assert "9.8.7" in said[0]


def test_an_attempt_is_continued_by_what_began_it(certified):
    interrupted(certified)
    run = certified()
    assert [a.complete for a in run.certificate.attempts] == [True]


def test_an_attempt_is_never_extended_by_another_version(certified, request):
    certified(extendable=True)
    request.getfixturevalue("other_torch")
    with pytest.raises(InputError, match="attempt 1 was made by another engine"):
        certified(extend=True, top=None)
    run = certified()  # a new one may be begun
    assert [a.number for a in run.certificate.attempts] == [1, 2]


def test_a_search_is_compared_with_the_last_search(search, other_torch, monkeypatch):
    run = search()
    with monkeypatch.context() as patch:
        real = NetworkTrainer.describe
        patch.setattr(NetworkTrainer, "describe", lambda self: real(self) | {"device": "other"})
        xt.certify(run.path, top=1, seeds=8)
    run = search(resume=True)
    assert [session.get("what") for session in run.manifest["sessions"]] == [None, "certify", None]
