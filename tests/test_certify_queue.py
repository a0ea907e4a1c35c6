"""The blocks of a certificate: how they are split, in which order they go, what may be missing."""

import json
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from certified import BASE, POINTS, SEARCHED, SPACE, Chancy, Counting, run, searched_run
from hand_made import done, failed, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.certificates.fresh import CertifyRequest, tasks_of
from xortune.core.point import Point
from xortune.driver import certify as module
from xortune.driver.batches import Batches, Done
from xortune.driver.certify import FreshSeeds, certify_run, seeds_callback, train_locally
from xortune.driver.cluster import Cluster
from xortune.driver.executors import LocalExecutor
from xortune.driver.loop import Record
from xortune.driver.loop import run as run_loop
from xortune.runs.journal import Journal
from xortune.runs.run import JOURNAL

__all__ = ["run"]  # the fixture


@pytest.fixture
def batches_of(run):
    """The fresh seeds of the first finalist, and their batches, into the run's journal."""
    with Journal.open(run.path / JOURNAL) as journal:

        def batches(tell=None):
            trainer = Counting()
            fresh = FreshSeeds(tasks_of(run, trainer, CertifyRequest(top=1, seeds=100)), trainer)
            record = Record(journal, fresh, seeds_callback(tell))
            return fresh, Batches(fresh, trainer, record, most=1)

        yield batches


def answer(batches, jobs):
    blocks = [job.block for job in jobs]
    results = [solved(b.first, b.count, b.count, epochs=30) for b in blocks]
    batches.receive(Done(jobs, results, 0.0, "host:1"))


def test_nothing_is_told_before_it_is_on_the_disk(batches_of, monkeypatch):
    told = []
    _, batches = batches_of(lambda *counts: told.append(counts))
    one, two = batches.next(), batches.next()
    batches._record.announce()
    monkeypatch.setattr(Journal, "settled", 0)
    answer(batches, one)
    assert told == [(0, 100)]
    monkeypatch.undo()
    answer(batches, two)
    batches._record.flush()
    assert told == [(0, 100), (50, 100), (100, 100)]


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
        whole = _certified_in_small_blocks(run.path, call)
        made = (run.path / JOURNAL).read_text().splitlines(keepends=True)[len(before) :]
        kept = data.draw(st.lists(st.sampled_from(range(len(made))), unique=True, min_size=1))
        (run.path / JOURNAL).write_text("".join([*before, *(made[i] for i in kept)]))
        trained_before = sum(json.loads(made[i])["count"] for i in kept)
        told = []
        again = certify_run(
            run.path, trainer, call, on_progress=lambda *counts: told.append(counts)
        )
        if trained_before < sum(json.loads(line)["count"] for line in made):
            assert again == whole
            total = sum(json.loads(line)["count"] for line in made) - trained_before
            assert told[-1] == (total, total)
        else:  # it was complete: another attempt
            assert len(again.attempts) == len(whole.attempts) + 1


def _certified_in_small_blocks(path, call):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_SECONDS", 16e-7)
        return certify_run(path, Chancy(seconds=1e-7), call)


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


def test_what_the_search_measured_counts(tmp_path, places):
    lines = [done(0, POINTS[0], solved(0, 8, 8, epochs=30))]  # 0.5 s
    slow = write_run(tmp_path / "slow", lines, space_text=SPACE, trainer="network")
    trainer = Counting(seconds=1e-3)
    certify_run(slow.path, trainer, CertifyRequest(top=1, seeds=240), cluster=Cluster())
    certify_run(slow.path, trainer, CertifyRequest(top=1, seeds=270), cluster=Cluster())
    assert places == ["here", Cluster()]


def test_what_may_kill_its_process_is_not_trained_here(tmp_path, places):
    """The search lost a block: by what it trained, or so it may be where that is a user's code."""
    lines = [
        done(0, POINTS[0], solved(0, 8, 8, epochs=30)),
        failed(1, POINTS[1], 0, 8, final=False),
    ]
    run = write_run(tmp_path / "deadly", lines, space_text=SPACE, trainer="network")
    for theirs, place in ((False, "here"), (True, Cluster())):
        trainer = Counting(seconds=1e-6)
        trainer.users_code = theirs
        certify_run(run.path, trainer, CertifyRequest(top=1, seeds=20), cluster=Cluster())
        assert places.pop() == place


def test_an_interrupt_keeps_what_has_finished(batches_of):
    class Interrupted(LocalExecutor):
        def wait(self, batches):
            super().wait(batches)
            raise KeyboardInterrupt

    fresh, batches = batches_of()
    with pytest.raises(KeyboardInterrupt):
        run_loop(batches, Interrupted(Counting()), batches._record)
    assert [line.final for line in fresh.lines] == [True]
