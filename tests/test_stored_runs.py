"""The same run, whether its output is a path, file:// or s3://, also where the server hangs."""

import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import mkdtemp

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from drivers import QUICK, drivers, space, trained, wait_for_lines, wait_until, without_ray
from listening import progress, sentences

import xortune as xt
from xortune.core.errors import InputError
from xortune.driver import session
from xortune.runs import lock as run_lock
from xortune.runs import status as run_status
from xortune.runs import store as run_store
from xortune.runs.run import load_run
from xortune.runs.status import status
from xortune.runs.store import JOURNAL, Store, StoredPath, driver_directory, segments_in, store_of

__all__ = ["drivers", "space"]


# An object store: a server that speaks S3, as a process of its own.

KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def process():
    """A server with an empty bucket `runs`: its address, 127.0.0.1:5000; and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"

    def is_there():
        try:
            ask(address, "runs", "PUT")
        except (OSError, HTTPException):
            return False
        return True

    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with Popen(words, stdout=DEVNULL, stderr=DEVNULL, env=os.environ | KEYS) as process:
        try:
            wait_until(is_there, process)
            yield address, process
        finally:
            process.kill()


def ask(address, path, method="GET", data=None):
    request = urllib.request.Request(f"http://{address}/{path}", data=data, method=method)
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where working copies are; another machine has another one."""

    def elsewhere():
        folder = mkdtemp(dir=tmp_path)
        monkeypatch.setenv("XORTUNE_CACHE", folder)
        return folder

    elsewhere()
    return elsewhere


@pytest.fixture
def s3(process, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return process[0]


@pytest.fixture
def output_of(request, tmp_path, cache):
    """Names an output of a kind."""

    def name(kind):
        if kind == "path":
            return str(tmp_path / "run")
        if kind == "file":
            return f"file://{tmp_path}/store/run"
        address = request.getfixturevalue("s3")
        folder = request.node.name.partition("[")[0]
        return f"s3://runs/{folder}/run?endpoint_override={address}&scheme=http"

    return name


HURRIED = "store.HURRY_SECONDS, store.GRACE_SECONDS = 0.3, 1.0"
LONG = pytest.mark.long  # what repeats what another path or kind of store shows


@pytest.fixture(params=[pytest.param("path", marks=LONG), pytest.param("file", marks=LONG), "s3"])
def output(request, output_of):
    return output_of(request.param)


@pytest.fixture(params=["file", pytest.param("s3", marks=LONG)])
def stored_output(request, output_of):
    return output_of(request.param)


@pytest.fixture
def in_process(monkeypatch):
    without_ray(monkeypatch.setattr)


def steady(journal):
    """The lines of a journal, without what no two runs have in common."""
    own = dict.fromkeys(("seconds", "time", "worker", "at"))
    return [json.loads(line) | own for line in journal.splitlines()]


def objects(output):
    """All that a store holds of a run: names and contents."""
    store = store_of(driver_directory(output))
    folders = ("", "evaluations/", "figures/", "lock/")
    names = [f"{folder}{name}" for folder in folders for name in store.names(folder.strip("/"))]
    return {name: store.get(name) for name in names}


def claims(output):
    """Who claims a run, but for heartbeats."""
    names = store_of(driver_directory(output)).names("lock")
    return [name for name in names if name.endswith(".json")]


def journal_of(output):
    """What is settled of a run's journal."""
    if "://" in output:
        store = store_of(driver_directory(output))
        return b"".join(store.get(one.name) for one in segments_in(store))
    place = Path(output) / JOURNAL
    return place.read_bytes() if place.exists() else b""


@pytest.mark.usefixtures("in_process")
def test_a_run_is_the_same_wherever_it_goes(output, space, tmp_path, cache):
    here = xt.search(space, output=tmp_path / "here")
    run = xt.search(space, output=output)
    assert str(run.path) == output
    journal = (run.path / JOURNAL).read_bytes()
    assert steady(journal) == steady((here.path / JOURNAL).read_bytes())
    assert run.table.equals(here.table)
    if "://" in output:
        assert isinstance(run.path, StoredPath)
        assert journal_of(output) == journal
        held = objects(output)
        assert not any(name.startswith("lock/") for name in held)
        for name in (
            *("space.yaml", "manifest.json", "table.csv", "table.parquet", "seeds.parquet"),
            *("report.html", "report.md", "table.tex", "figures/ranking.svg"),
        ):
            assert held[name] == (run.path / name).read_bytes()
    cache()
    again = xt.load_run(output)
    assert str(again.path) == output
    assert again.table.equals(here.table)
    assert (status(output).state, status(output).done) == ("finished", 12)
    with pytest.raises(InputError, match="already holds a run"):
        xt.search(space, output=output)

    if "://" in output:
        store_of(again.path).put("figures/front.svg", b"of a report that was made before")
    expected = xt.certify(here, top=2, seeds=20)
    assert xt.certify(output, top=2, seeds=20) == expected
    cache()
    assert xt.load_run(output).certificate == expected
    for command, *options in (["report"], ["status"], ["gate", "--min-rate", 0.001], ["export"]):
        ran = xortune(command, output, *options)
        assert ran.exit_code == 0, (command, ran.output)
    if "://" in output:
        assert "figures/front.svg" not in objects(output), "this report does not show it"
        assert "figures/ranking.svg" in objects(output)
    # There is no ledger of certificates in a store.
    shown = ran.stdout.replace("confidence 0.95, this run only", "confidence 0.95")
    assert xortune("export", here.path).stdout == shown
    assert json.loads(xortune("report", output, "--json").stdout)["run"] == output
    assert len(xt.search(space, output=output, resume=True, trials=15).evaluations) == 15


def test_killed_and_continued_on_another_machine(
    output, space, cache, drivers, undisturbed, monkeypatch
):
    first = drivers("search", space, "--output", output, pause=0.15)
    wait_for_lines(first, output, 3, read=lambda: journal_of(output))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = journal_of(output)
    kept = kept[: kept.rfind(b"\n") + 1]
    assert 3 <= kept.count(b"\n") < 12
    cache()
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(run_status, "LEASE_SECONDS", 1.0)
    while status(output).state == "running":  # its last heartbeat is young
        time.sleep(0.1)
    seen = status(output)
    assert (seen.state, seen.done) == ("stopped", kept.count(b"\n"))
    assert seen.driver.pid == first.pid
    without_ray(monkeypatch.setattr)
    said = []
    run = xt.search(space, output=output, resume=True, listener=sentences(said.append))
    assert any(f"taken over from pid {first.pid}" in sentence for sentence in said)
    assert (run.path / JOURNAL).read_bytes().startswith(kept)
    assert trained(run) == trained(undisturbed)
    assert run.table.equals(undisturbed.table)
    cache()
    assert trained(load_run(output)) == trained(undisturbed)


@pytest.mark.usefixtures("in_process")
def test_lines_that_the_store_lacks_come_there_from_the_same_machine(
    stored_output, space, undisturbed
):
    output = stored_output
    xt.search(space, output=output, trials=5)
    settled = journal_of(output)
    following = (undisturbed.path / JOURNAL).read_bytes().splitlines(keepends=True)[5:7]
    with (driver_directory(output) / JOURNAL).open("ab") as file:  # as a killed driver leaves it
        file.write(b"".join(following) + following[0][:30])
    assert len(load_run(output).evaluations) == 5
    said, seen = [], []

    def told(event):
        sentences(said.append)(event)
        progress(seen.append)(event)

    run = xt.search(space, output=output, resume=True, listener=told)
    assert seen[-1].fresh == 5
    assert any("torn (30 bytes)" in sentence for sentence in said)
    assert journal_of(output).startswith(settled + b"".join(following))
    assert trained(run) == trained(undisturbed)


@pytest.mark.usefixtures("in_process")
def test_lines_of_one_who_was_overtaken_are_dropped(
    stored_output, space, cache, undisturbed, monkeypatch
):
    output, mine = stored_output, cache()
    xt.search(space, output=output, trials=5)
    journal = driver_directory(output) / JOURNAL
    last = journal.read_bytes().splitlines(keepends=True)[-1]
    cache()
    there = xt.search(space, output=output, resume=True, trials=9)
    settled = journal_of(output)
    assert settled == (there.path / JOURNAL).read_bytes()
    monkeypatch.setenv("XORTUNE_CACHE", mine)
    with journal.open("ab") as file:
        file.write(last)
    said = []
    run = xt.search(space, output=output, resume=True, listener=sentences(said.append))
    assert any(f"{len(last)} bytes" in sentence and "dropped" in sentence for sentence in said)
    assert (run.path / JOURNAL).read_bytes().startswith(settled)
    assert trained(run) == trained(undisturbed)


def test_a_second_driver_is_told_who_is_there_and_changes_nothing(
    stored_output, space, cache, drivers
):
    output = stored_output
    first = drivers("search", space, "--output", output, pause=1.0, patch=QUICK)
    wait_for_lines(first, output, 1, read=lambda: journal_of(output))
    cache()
    before = claims(output)
    assert status(output).state == "running"
    search = ["search", space, "--output", output]
    for command in (search, [*search, "--resume"], ["certify", output]):
        ran = xortune(*command)
        assert ran.exit_code == 2
        assert f"another search holds this run: pid {first.pid} on " in ran.stderr
        assert f"{output.partition('?')[0]}/lock" in ran.stderr
    assert claims(output) == before
    assert first.poll() is None


def test_ctrl_c_while_the_store_hangs_ends_soon_and_nothing_is_lost(
    s3, process, space, cache, drivers, undisturbed, monkeypatch
):
    output = f"s3://runs/hangs/run?endpoint_override={s3}&scheme=http"
    first = drivers("search", space, "--output", output, pause=0.1, patch=HURRIED)
    wait_for_lines(first, output, 2, read=lambda: journal_of(output))
    process[1].send_signal(signal.SIGSTOP)
    try:
        journal = driver_directory(output).resolve() / JOURNAL
        wait_until(lambda: journal.read_bytes().count(b"\n") >= 8, first)
        began = time.monotonic()
        first.send_signal(signal.SIGINT)
        _, told = first.communicate(timeout=100)
    finally:
        process[1].send_signal(signal.SIGCONT)
    assert first.returncode == 3, told
    assert "Traceback" not in told
    [sentence] = [line for line in told.splitlines() if line.startswith("interrupted: ")]
    assert "lines are not there yet" in sentence
    assert f"{journal} has them: --resume on this machine sends them" in sentence
    assert time.monotonic() - began < run_store.ANSWER_SECONDS / 2
    kept, said = journal.read_bytes(), []
    without_ray(monkeypatch.setattr)
    run = xt.search(space, output=output, resume=True, listener=sentences(said.append))
    assert not [sentence for sentence in said if "waiting" in sentence]
    assert journal_of(output).startswith(kept)
    assert trained(run) == trained(undisturbed)


@pytest.mark.usefixtures("in_process", "cache")
def test_a_run_that_was_removed_from_the_store_is_not_the_next_one(output_of, space, tmp_path):
    output = output_of("file")
    xt.search(space, output=output, seed=1)
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(InputError, match="holds no run"):
        xt.load_run(output)
    run = xt.search(space, output=output, seed=2)
    assert len(run.evaluations) == 12
    assert trained(run) == trained(xt.search(space, output=tmp_path / "other", seed=2))


@pytest.mark.usefixtures("in_process", "cache")
def test_what_is_wrong_is_told_before_anything_is_trained(space, monkeypatch, s3):
    monkeypatch.setattr(session, "executor_for", lambda *_, **__: pytest.fail("it trains"))
    there = f"?endpoint_override={s3}&scheme=http"
    for output, what, fix in (
        (f"s3://nowhere/run{there}", "no bucket nowhere", "create it"),
        ("s3://runs/run?endpoint_override=127.0.0.1:9&scheme=http", "connect", "AWS_ENDPOINT_URL"),
        ("zz://runs/run", "cannot be used", "zz"),
        (f"s3://runs{there}", "names no run", "add a name"),
    ):
        ran = xortune("search", space, "--output", output)
        assert (ran.exit_code, what in ran.stderr, fix in ran.stderr) == (2, True, True), ran.output
    ask(s3, "moto-api/reset-auth", "POST", b"0")  # from here on it looks at the keys
    try:
        ran = xortune("search", space, "--output", f"s3://runs/a/run{there}")
    finally:
        ask(s3, "moto-api/reset-auth", "POST", b"100000")
    assert (ran.exit_code, "AWS_ACCESS_KEY_ID" in ran.stderr) == (2, True)


@pytest.fixture
def silent(monkeypatch):
    """The query of a URL that leads to such a store."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"?endpoint_override=127.0.0.1:{server.getsockname()[1]}&scheme=http"


def test_a_search_is_refused_in_a_sentence(space, silent, monkeypatch):
    monkeypatch.setattr(run_store, "ANSWER_SECONDS", 0.5)
    began = time.monotonic()
    output = f"s3://runs/run{silent}"
    refused(xortune("search", space, "--quiet", "--output", output), "s3://runs")
    assert time.monotonic() - began < 30


def test_patience_ends_when_it_is_told_to(silent, monkeypatch):
    monkeypatch.setattr(run_store, "ANSWER_SECONDS", 0.3)
    store = Store(f"s3://runs/run{silent}")
    for patience in (0.0, 0.6, 0.0):
        began = time.monotonic()
        with pytest.raises(InputError, match="does not answer"):
            store.put("name", b"what", patience=patience)
        assert time.monotonic() - began < patience + 20


def test_signals_are_heard_meanwhile(silent):
    def interrupted(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            Store(f"s3://runs/run{silent}").names()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < run_store.ANSWER_SECONDS / 2
