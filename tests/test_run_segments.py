"""The journal as segments, and the lease that keeps two drivers apart: on file://, without Ray."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import xortune
from drivers import claim_of, fast, space, trained, wait_until, without_ray
from hand_made import CONFIG, done, solved
from hypothesis import given
from hypothesis import strategies as st

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.runs import lock as run_lock
from xortune.runs import store as run_store
from xortune.runs.journal import Journal
from xortune.runs.lock import held, holder, this_process
from xortune.runs.manifest import update_manifest
from xortune.runs.run import JOURNAL
from xortune.runs.store import (
    Listed,
    Segment,
    Store,
    driver_directory,
    segments_in,
    store_of,
    update_copy,
)

__all__ = ["fast", "space"]  # the fixtures


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("XORTUNE_CACHE", str(tmp_path / "cache"))
    return f"file://{tmp_path}/store/run"


@pytest.fixture
def directory(url):
    return driver_directory(url)


@pytest.fixture
def store(directory):
    return store_of(directory)


def names_alone(segments):
    """A store that has nothing but names."""
    there = {one.name.partition("/")[2]: Listed(one.size, 0.0) for one in segments}
    return SimpleNamespace(place=str, names={"evaluations": there}.__getitem__)


def line(number):
    return done(number, Point(CONFIG), solved(4 * number, 3, 4))


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.randoms(),
)
def test_what_a_driver_wrote_after_it_had_lost_its_run_is_no_journal(counts, strays, random):
    """Each driver writes some; some write one more after the next has begun to write."""
    journal, late, number = [], [], 0
    for epoch, count in enumerate(counts, 1):
        for _ in range(count):
            number += 1
            journal.append(Segment(number, epoch, f"{epoch:08x}", size=10))
        if strays[epoch - 1] and epoch < len(counts):
            late.append(Segment(number + 1, epoch, f"{epoch:08x}", size=10))
    shuffled = journal + late
    random.shuffle(shuffled)
    assert segments_in(names_alone(shuffled)) == journal


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_segment_is_told(missing):
    segments = [Segment(number, 1, "0a1b2c3d") for number in (1, 2, 3)]
    del segments[missing]
    with pytest.raises(InputError, match=f"segment {missing + 1} is missing"):
        segments_in(names_alone(segments))


def test_names_that_are_no_segments_are_not_looked_at(store):
    store.put("evaluations/..%2F..%2Fetc.jsonl", b"{}\n")
    store.put("evaluations/000001-0001-0a1b2c3d.jsonl.7.tmp", b"{}\n")
    assert segments_in(store) == []


def test_a_damaged_segment_is_told_by_its_url(store, url, tmp_path):
    store.put(Segment(1, 1, "0a1b2c3d").name, b"1\n2")
    with pytest.raises(InputError, match="does not end with a whole line") as caught:
        update_copy(store, tmp_path / "copy", driver=False)
    assert str(caught.value).startswith(f"{url}/evaluations/000001-0001-0a1b2c3d.jsonl")


def test_lines_are_settled_together_and_few_segments_hold_many(directory, monkeypatch):
    with held(directory), Journal.open(directory / JOURNAL) as journal:
        journal.append(line(0))
        wait_until(lambda: journal.settled == 1)
        for number in range(1, 300):
            journal.append(line(number))
        assert journal.settled < 300
        assert journal.sync() == 300
    found = segments_in(store_of(directory))
    assert 2 <= len(found) <= 4
    assert sum(one.size for one in found) == (directory / JOURNAL).stat().st_size


def test_nothing_is_settled_while_the_store_fails_and_all_is_when_it_is_back(
    directory, monkeypatch
):
    monkeypatch.setattr(run_store, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(run_store, "LONGEST_PAUSE", 0.05)
    down, tried, put = threading.Event(), threading.Event(), Store._put

    def failing(self, path, data):
        if down.is_set():
            tried.set()
            raise OSError("AWS Error NETWORK_CONNECTION: Could not connect to server")
        put(self, path, data)

    monkeypatch.setattr(Store, "_put", failing)
    with held(directory), Journal.open(directory / JOURNAL) as journal:
        down.set()
        journal.append(line(0))
        assert tried.wait(20)
        journal.append(line(1))
        assert journal.settled == 0
        down.clear()
        assert journal.sync() == 2
    assert sum(one.size for one in segments_in(store_of(directory))) > 0


def test_a_store_that_stays_away_ends_the_search_and_nothing_is_lost(
    url, directory, space, undisturbed, monkeypatch
):
    without_ray(monkeypatch.setattr, 0.06)
    monkeypatch.setattr(run_store, "PATIENCE", 0.3)
    monkeypatch.setattr(run_store, "LEAST_SECONDS", 0.05)
    put = Store._put

    def failing(self, path, data):
        if "/000003-" in path:
            raise OSError("AWS Error NETWORK_CONNECTION: Could not connect to server")
        put(self, path, data)

    monkeypatch.setattr(Store, "_put", failing)
    ran = xortune("search", space, "--output", url)
    assert ran.exit_code == 2
    journal = directory.resolve() / JOURNAL
    assert "Could not connect to server" in ran.stderr
    assert f"the later lines in {journal}" in ran.stderr
    assert "AWS_ENDPOINT_URL" in ran.stderr
    kept = journal.read_bytes()
    found = segments_in(store_of(directory))
    assert len(found) == 2
    assert kept.startswith(b"".join(store_of(directory).get(one.name) for one in found))
    monkeypatch.setattr(Store, "_put", put)
    without_ray(monkeypatch.setattr)
    run = xt.search(space, output=url, resume=True)
    assert (run.path / JOURNAL).read_bytes().startswith(kept)
    assert trained(run) == trained(undisturbed)


def test_who_was_overtaken_announces_nothing_more(directory):
    store = store_of(directory)
    with held(directory):
        journal = Journal.open(directory / JOURNAL)
        journal.append(line(0))
        assert journal.sync() == 1
        [claim] = [name for name in store.names("lock") if name.endswith(".json")]
        store.delete(f"lock/{claim}")  # as its successor does
        journal.append(line(1))
        with pytest.raises(InputError, match="no longer holds its run"):
            journal.sync()
        assert journal.settled == 1
        with pytest.raises(InputError, match="no longer holds its run"):
            journal.append(line(2))
        with pytest.raises(InputError, match="no longer holds its run"):
            update_manifest(directory, name="stale")
        with pytest.raises(InputError, match="no longer holds its run"):
            journal.close()
    assert "manifest.json" not in store.names()


def test_of_many_that_claim_at_once_one_has_the_run(directory, monkeypatch, tmp_path):
    """Each on a machine of its own, that is with a working copy of its own."""
    count = 5
    meeting, put = threading.Barrier(count), Store.put

    def together(self, name, data, **more):
        if name.endswith(".json"):  # nobody sees a claim before it makes its own
            meeting.wait(20)
        put(self, name, data, **more)
        if name.endswith(".json"):
            meeting.wait(20)

    monkeypatch.setattr(Store, "put", together)

    def take():
        return run_lock._taken(store_of(directory), this_process(), pytest.fail)[0]

    with ThreadPoolExecutor(count) as pool:
        claims = [pool.submit(take) for _ in range(count)]
    refused = [str(claim.exception()) for claim in claims if claim.exception()]
    assert len(refused) == count - 1
    assert all("another search holds this run" in told for told in refused)
    [lease] = [claim.result() for claim in claims if not claim.exception()]
    lease.check()
    assert holder(directory) == (lease.owner, "elsewhere")
    lease.release()
    assert holder(directory) is None


def test_a_driver_elsewhere_is_believed_while_its_heart_beats(directory, store, fast, monkeypatch):
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", 1.0)
    there = replace(this_process(), host="elsewhere", pid=4711)
    name = f"lock/0007-{there.owner}"
    store.put(f"{name}.json", there.as_bytes())
    assert holder(directory) == (there, "elsewhere")
    said = []
    over = threading.Event()

    def beat():
        beats = 0
        while not over.wait(0.05):
            beats += 1
            store.put(f"{name}.beat", replace(there, beats=beats).as_bytes())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        refused = pytest.raises(InputError, match="pid 4711 on elsewhere")
        with refused, held(directory, on_message=said.append):
            pass
    finally:
        over.set()
        thread.join()
    assert "waiting for its heartbeat for at most 1 s" in said[0]
    assert [one for one in store.names("lock") if one.endswith(".json")] == [f"{name[5:]}.json"]

    said.clear()
    with held(directory, on_message=said.append):
        assert "taken over from pid 4711 on elsewhere" in said[-1]
        assert all(one.startswith("0008-") for one in store.names("lock"))
    assert store.names("lock") == {}


def test_of_a_driver_that_was_killed_here_nobody_waits_for_the_heart(directory, store):
    """Its claim in the working copy, which is on a disk of this machine, says that it is gone."""
    dead = claim_of(Path(os.fspath(directory)))
    store.put(f"lock/0003-{dead.owner}.json", dead.as_bytes())
    assert holder(directory) == (dead, "gone")
    said, began = [], time.monotonic()
    with held(directory, on_message=said.append):
        assert time.monotonic() - began < run_lock.LEASE_SECONDS / 2
    assert [sentence for sentence in said if "waiting" in sentence] == []
    assert store.names("lock") == {}
    assert not (directory.resolve() / "lock").exists()


def test_a_claim_that_is_none_is_told(store, url, directory):
    store.put(f"lock/0001-{'a' * 32}.json", json.dumps({"owner": "me"}).encode())
    with (
        pytest.raises(InputError, match="is not the lock of a run") as caught,
        held(directory),
    ):
        pass
    assert str(caught.value).startswith(f"{url}/lock/0001-")


def test_epochs_rise_over_drivers_that_wrote_nothing_but_claims(store, directory):
    store.put(Segment(1, 3, "0a1b2c3d").name, b"1\n")
    with held(directory):
        assert all(one.startswith("0004-") for one in store.names("lock"))


def test_reading_touches_nothing_in_the_store(url, space, tmp_path, monkeypatch):
    without_ray(monkeypatch.setattr)
    xt.search(space, output=url)
    folder = tmp_path / "store"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(Store, "put", lambda *_, **__: pytest.fail("put"))
    assert len(run_store.reader_directory(url).name) == 3
    assert len(xt.load_run(url).evaluations) == 12
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
