"""Runs in a store, on file:// and without Ray: the URL, the journal as segments, the lease."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count as numbers
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
from xortune.runs.store import (
    JOURNAL,
    Segment,
    Store,
    StoredPath,
    copy_of,
    driver_directory,
    segments_in,
    store_of,
    update_copy,
    url_of,
)

__all__ = ["fast", "space"]  # the fixtures


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XORTUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/store/run"


@pytest.fixture
def directory(url):
    return driver_directory(url)


@pytest.fixture
def store(directory):
    return store_of(directory)


# Outputs that are URLs: what is one, where its working copy is, and how that shows.


def test_what_is_a_url():
    for url in ("s3://bucket/a/run", "s3://b/run?endpoint_override=host:5000", "file:///tmp/run"):
        assert url_of(url) == url_of(Path(url)) == url
    assert url_of("GS://bucket/run") == "gs://bucket/run"
    for path in ("runs/xor", "/tmp/s3://x", "C:/runs/xor", "C:\\runs\\xor", "", "a:b/c"):
        assert url_of(path) is None


def test_a_stored_path_opens_in_the_copy_and_shows_as_the_url(tmp_path):
    root = copy_of("s3://bucket/folder/run?scheme=http", "driver")
    assert str(root) == "s3://bucket/folder/run?scheme=http"
    assert f"{root / 'table.csv'}" == "s3://bucket/folder/run/table.csv"
    assert isinstance(root / "ray" / "x", StoredPath)
    assert url_of(root / "x") == str(root)
    root.mkdir(parents=True)
    (root / "table.csv").write_text("a")
    place = Path(os.fspath(root / "table.csv"))
    assert place.is_relative_to(tmp_path / "cache")
    assert place.read_text() == "a"
    assert (root.name, root.resolve()) == ("run", place.parent)
    assert not isinstance(root.resolve(), StoredPath)
    assert "://" not in str(root.parent)


def test_each_run_and_each_use_has_its_own_copy():
    urls = ["s3://bucket/a/run", "s3://bucket/b/run", "gs://bucket/a/run", "s3://bucket/a/run?x=1"]
    copies = {os.fspath(copy_of(url, use)) for url in urls for use in ("driver", "reader")}
    assert len(copies) == 8
    assert os.fspath(copy_of("s3://bucket/a/run/", "driver")) in copies


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/../run", "s3://"])
def test_a_run_needs_a_name(url):
    with pytest.raises(InputError, match="names no run in a store"):
        copy_of(url, "reader")


def test_a_password_is_refused_and_not_repeated():
    told = r"^(?!.*very-secret).*s3://bucket/run.*AWS_SECRET_ACCESS_KEY"
    with pytest.raises(InputError, match=told):
        copy_of("s3://key:very-secret@bucket/run", "driver")


# The journal as segments.


def names_alone(segments):
    """A store that has nothing but names."""
    there = {
        one.name.partition("/")[2]: SimpleNamespace(size=one.size, mtime_ns=0) for one in segments
    }
    return SimpleNamespace(place=str, names={"evaluations": there}.__getitem__)


def line(number):
    return done(number, Point(CONFIG), solved(4 * number, 3, 4))


DRIVERS = st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=5)


@given(DRIVERS, st.randoms())
def test_what_a_driver_wrote_after_it_had_lost_its_run_is_no_journal(drivers, random):
    """Each driver writes some; some write one more after the next has begun to write."""
    journal, late = [], []
    for epoch, (count, strays) in enumerate(drivers, 1):
        first = len(journal) + 1
        names = [(number, epoch, f"{epoch:08x}") for number in range(first, first + count + 1)]
        *written, more = (Segment(*name, size=10) for name in names)
        journal += written
        if strays and epoch < len(drivers):
            late.append(more)
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
    told = f"^{url}/evaluations/000001-0001-0a1b2c3d.jsonl.*does not end with a whole line"
    with pytest.raises(InputError, match=told):
        update_copy(store, tmp_path / "copy", driver=False)


def test_lines_are_settled_together_and_few_segments_hold_many(directory):
    with held(directory), Journal(directory / JOURNAL) as journal:
        journal.append(line(0))
        wait_until(lambda: journal.settled == 1)
        for number in range(1, 300):
            journal.append(line(number))
        assert journal.settled < 300
        assert journal.sync() == 300
    found = segments_in(store_of(directory))
    assert 2 <= len(found) <= 4
    assert sum(one.size for one in found) == (directory / JOURNAL).stat().st_size


def failing(monkeypatch, is_down):
    """What is written to a path for which that is true fails."""

    def put(self, path, data, put=Store._put):
        if is_down(path):
            raise OSError("AWS Error NETWORK_CONNECTION: Could not connect to server")
        put(self, path, data)

    monkeypatch.setattr(Store, "_put", put)


def test_nothing_is_settled_while_the_store_fails_and_all_is_when_it_is_back(
    directory, monkeypatch
):
    monkeypatch.setattr(run_store, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(run_store, "LONGEST_PAUSE", 0.05)
    down, tried = threading.Event(), threading.Event()

    def is_down(_):
        if down.is_set():
            tried.set()
        return down.is_set()

    failing(monkeypatch, is_down)
    with held(directory), Journal(directory / JOURNAL) as journal:
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
    monkeypatch.setattr(run_store, "RETRY_SECONDS", 0.3)
    monkeypatch.setattr(run_store, "LEAST_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        failing(patch, lambda path: "/000003-" in path)
        ran = xortune("search", space, "--output", url)
    assert ran.exit_code == 2
    journal = directory.resolve() / JOURNAL
    words = ("Could not connect to server", f"the later lines in {journal}", "AWS_ENDPOINT_URL")
    assert [word for word in words if word not in ran.stderr] == []
    kept = journal.read_bytes()
    found = segments_in(store_of(directory))
    assert len(found) == 2
    assert kept.startswith(b"".join(store_of(directory).get(one.name) for one in found))
    without_ray(monkeypatch.setattr)
    run = xt.search(space, output=url, resume=True)
    assert (run.path / JOURNAL).read_bytes().startswith(kept)
    assert trained(run) == trained(undisturbed)


def test_who_was_overtaken_announces_nothing_more(directory):
    store = store_of(directory)
    with held(directory):
        journal = Journal(directory / JOURNAL)
        journal.append(line(0))
        assert journal.sync() == 1
        [claim] = [name for name in store.names("lock") if name.endswith(".json")]
        store.delete(f"lock/{claim}")  # as its successor does
        journal.append(line(1))
        more = partial(journal.append, line(2))
        for announce in (journal.sync, more, partial(update_manifest, directory), journal.close):
            with pytest.raises(InputError, match="no longer holds its run"):
                announce()
            assert journal.settled == 1
    assert "manifest.json" not in store.names()


def test_of_many_that_claim_at_once_one_has_the_run(directory, monkeypatch):
    """Each on a machine of its own, that is with a working copy of its own."""
    meeting, put = threading.Barrier(5), Store.put

    def together(self, name, data, **more):
        if name.endswith(".json"):  # nobody sees a claim before it makes its own
            meeting.wait(20)
        put(self, name, data, **more)
        if name.endswith(".json"):
            meeting.wait(20)

    monkeypatch.setattr(Store, "put", together)

    def take():
        return run_lock._taken(store_of(directory), this_process(), pytest.fail)[0]

    with ThreadPoolExecutor(5) as pool:
        claims = [pool.submit(take) for _ in range(5)]
    [lease] = [claim.result() for claim in claims if not claim.exception()]
    refused = [str(claim.exception()) for claim in claims if claim.exception()]
    assert all("another search holds this run" in told for told in refused)
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
    said, over = [], threading.Event()

    def beat():
        for beats in numbers(1):
            if over.wait(0.05):
                return
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
    told = f"^{url}/lock/0001-.*is not the lock of a run"
    with pytest.raises(InputError, match=told), held(directory):
        pass


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
