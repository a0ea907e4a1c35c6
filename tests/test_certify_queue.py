"""The blocks of a certificate: how they are split, in which order they go, what may be missing."""

import json
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from certified import BASE, POINTS, SEARCHED, Chancy, Counting, run, searched_run
from hand_made import append, failed
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.certificates.fresh import CertifyRequest, tasks_of
from xortune.core.point import Point
from xortune.driver import certify as module
from xortune.driver import loop
from xortune.driver.batches import Batches
from xortune.driver.certify import certify_run, train_locally
from xortune.driver.cluster import Cluster
from xortune.driver.executors import LocalExecutor
from xortune.driver.loop import FreshSeeds, Record
from xortune.driver.loop import run as run_loop
from xortune.runs.journal import Journal
from xortune.runs.store import JOURNAL

__all__ = ["run"]  # the fixture


# Any of the seeds may be missing.

CALLS = (
    CertifyRequest(top=3, seeds=100),
    CertifyRequest(top=2, seeds=60, neighbourhood=0.2, by="neighbourhood"),
    CertifyRequest(top=2, seeds=70, neighbourhood=0.2, extendable=True),
)


@settings(max_examples=15)
@given(st.sampled_from(CALLS), st.data())
def test_whichever_blocks_had_finished_the_same_call_gives_the_same_certificate(call, data):
    with tempfile.TemporaryDirectory() as name:
        # Another attempt before it, and one finalist in whose neighbourhood is another.
        near = Point({**BASE, "lr": 0.03, "hidden_dim": 4})
        points, counts = [*POINTS, near], [*SEARCHED, 8]
        run = searched_run(Path(name) / "run", points=points, counts=counts, seconds=0.5)
        trainer = Chancy(seconds=1e-7)
        certify_run(run.path, trainer, CertifyRequest(top=1, seeds=30, neighbourhood=0.2))
        before = (run.path / JOURNAL).read_text().splitlines(keepends=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "BLOCK_SECONDS", 16e-7)
            whole = certify_run(run.path, trainer, call)
        made = (run.path / JOURNAL).read_text().splitlines(keepends=True)[len(before) :]
        kept = data.draw(st.lists(st.sampled_from(range(len(made))), unique=True, min_size=1))
        (run.path / JOURNAL).write_text("".join([*before, *(made[i] for i in kept)]))
        trained_before = sum(json.loads(made[i])["count"] for i in kept)
        told = []
        again = certify_run(
            run.path, trainer, call, on_progress=lambda *counts: told.append(counts)
        )
        if total := sum(json.loads(line)["count"] for line in made) - trained_before:
            assert again == whole
            assert told[-1] == (total, total)
        else:  # it was complete: another attempt
            assert len(again.attempts) == len(whole.attempts) + 1


# Where it is trained.


@pytest.fixture
def places(monkeypatch):
    """Where the blocks of each call would have been trained: `here`, or on which cluster."""
    seen = []

    def here(*arguments):
        seen.append("here")
        train_locally(*arguments)

    @contextmanager
    def on_ray(trainer, cluster, *_, **__):
        seen.append(cluster)
        yield LocalExecutor(trainer)

    monkeypatch.setattr(module, "train_locally", here)
    monkeypatch.setattr(module, "on_ray", on_ray)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr(module, "connected", lambda _: nullcontext())
    monkeypatch.setattr(module, "slots", lambda *_: 2)
    return seen


def test_what_takes_less_than_ray_to_start_is_trained_here(run, places, monkeypatch):
    monkeypatch.setattr(module, "RAY_SECONDS", 5.0)
    for trainer, cluster, place in (
        (Counting(seconds=9.9 / 300), Cluster(), "here"),  # on two cores
        (Counting(seconds=10.1 / 300), Cluster(), Cluster()),
        (Counting(seconds=10.1 / 300), None, "here"),
        (Counting(seconds=1e-9), Cluster("auto"), Cluster("auto")),
        (Counting(seconds=1e-9), Cluster(trial_timeout=9.0), Cluster(trial_timeout=9.0)),
    ):
        certify_run(run.path, trainer, CertifyRequest(top=3, seeds=100), cluster=cluster)
        assert places.pop() == place


def test_what_the_search_measured_or_lost_counts(tmp_path, places):
    """A block that it lost may kill this process too, where that is a user's code."""
    run = searched_run(tmp_path / "slow", points=POINTS[:1], counts=[8], seconds=0.5)
    trainer = Counting(seconds=1e-3)
    certify_run(run.path, trainer, CertifyRequest(top=1, seeds=240), cluster=Cluster())
    certify_run(run.path, trainer, CertifyRequest(top=1, seeds=270), cluster=Cluster())
    append(run.path, failed(1, POINTS[1], 0, 8, final=False))
    for theirs in (False, True):
        trainer.users_code = theirs
        certify_run(run.path, trainer, CertifyRequest(top=1, seeds=20), cluster=Cluster())
    assert places == ["here", Cluster()] * 2


def test_an_interrupt_keeps_what_has_finished(run):
    class Interrupted(LocalExecutor):
        def wait(self, batches):
            super().wait(batches)
            raise KeyboardInterrupt

    trainer = Counting()
    fresh = FreshSeeds(tasks_of(run, trainer, CertifyRequest(top=1, seeds=100)), trainer)
    with Journal.open(run.path / JOURNAL) as journal:
        record = Record(journal, fresh)
        batches = Batches(fresh, trainer, record, most=1)
        with pytest.raises(KeyboardInterrupt):
            run_loop(batches, Interrupted(trainer), record)
    assert [line.final for line in fresh.lines] == [True]
