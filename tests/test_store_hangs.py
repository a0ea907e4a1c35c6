"""A store that takes connections and never answers: nothing waits longer than it is told to."""

import signal
import socket
import time

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from drivers import SPACE
from object_store import KEYS

from xortune.core.errors import InputError
from xortune.runs import store as run_store
from xortune.runs.store import Store


@pytest.fixture
def silent(monkeypatch):
    """The query of a URL that leads to such a store."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"?endpoint_override=127.0.0.1:{server.getsockname()[1]}&scheme=http"


def test_a_search_is_refused_in_a_sentence(tmp_path, silent):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    began = time.monotonic()
    output = f"s3://runs/run{silent}"
    refused(xortune("search", tmp_path / "tiny.yaml", "--quiet", "--output", output), "s3://runs")
    assert time.monotonic() - began < 40


def test_patience_ends_when_it_is_told_to(silent, monkeypatch):
    monkeypatch.setattr(run_store, "ANSWER_SECONDS", 0.3)
    store = Store(f"s3://runs/run{silent}")
    for patience in (0.0, 1.0, 0.0):
        began = time.monotonic()
        with pytest.raises(InputError, match="does not answer"):
            store.put("name", b"what", patience=patience)
        assert time.monotonic() - began < patience + 2


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
    assert time.monotonic() - began < 3
