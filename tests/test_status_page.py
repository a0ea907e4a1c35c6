"""`xortune status --html`: who is let in, what the server says, and how the command ends."""

import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from drivers import state
from forked import Python
from hand_made import append, done, solved
from pages import Parsed, runs_only_its_own
from statuses import point, run, xortune

import xortune as xt
from xortune.core.errors import InputError
from xortune.reports.live import live_server
from xortune.reports.progress import status_json

__all__ = ["run"]  # the fixture


@contextmanager
def served(path, **more):
    with live_server(path, **more) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield server
        finally:
            server.shutdown()


def get(server, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def data(server):
    answer, body = get(server, f"/{server.token}/data")
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.status, json.loads(body)


def next_look(server, now=None):
    """What the server says at its first look after that of a time, or its error."""
    for _ in range(600):  # the machine may be busy, and looks are rarer then
        code, found = data(server)
        if code != 200 or found["status"]["now"] != now:
            return code, found
        time.sleep(0.05)
    raise AssertionError("no look in 30 s")


def test_only_who_has_the_token_sees_anything(run):
    with served(run.path) as server, served(run.path) as other:
        assert len(server.token) == 32
        assert server.token != other.token
        for path in (
            "/",
            "/data",
            f"/{other.token}/",
            f"/{other.token}/data",
            "//",
            "/%00/",
            "/%C3%A9/",
        ):
            answer, body = get(server, path)
            assert answer.status == 403
            assert server.token.encode() not in body
        assert get(server, f"/{server.token}/other")[0].status == 404
        assert get(server, f"/{server.token}/", "POST")[0].status == 501
        answer, _ = get(server, f"/{server.token}")
        assert (answer.status, answer.headers["Location"]) == (308, f"/{server.token}/")


def test_it_listens_on_this_machine_alone_unless_asked(run):
    with live_server(run.path) as server:
        assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
        assert server.server_address[0] == "127.0.0.1"
        assert server.loopback
        with pytest.raises(InputError, match="cannot listen at port"):
            live_server(run.path, port=server.server_port)
    with live_server(run.path, host="0.0.0.0") as server:
        assert not server.loopback
        assert f"//{socket.gethostname()}:" in server.url


def test_the_policy_lets_the_page_run_its_own_scripts_and_ask_its_own_server(run):
    with served(run.path, interval=0.5) as server:
        answer, body = get(server, f"/{server.token}/")
    parsed = Parsed(body.decode())
    policy = answer.headers["Content-Security-Policy"]
    rules = runs_only_its_own(parsed, policy)
    assert rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert {a.get("href", "#")[0] for a in parsed.all("a")} == {"#"}
    assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == (
        "no-store",
        "no-referrer",
    )
    assert [tag for tag, _ in parsed.headings] == ["h1", *["h2"] * 5]
    own = parsed.raw[-1][2]
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|outerHTML", own)


def test_the_data_is_what_status_says_and_what_tables_and_figures_need(run):
    before = state(run.path)
    with served(run.path) as server:
        code, found = data(server)
        assert code == 200
        expected = json.loads(json.dumps(status_json(xt.status(run.path))))
        ours = found["status"]
        assert ours.keys() == expected.keys()
        moving = {"now", "driver"}
        assert {k: v for k, v in ours.items() if k not in moving} == {
            k: v for k, v in expected.items() if k not in moving
        }
        best = run.results[0]
        assert (
            f"Best so far: 8 of 8 seeds solved (67–100 %), configuration {best.key}."
            in found["sentence"]
        )
        assert "8/8" in found["configs"]["rows"][0]
        assert dict(map(tuple, found["rows"]))["progress"] == "4 of 10 proposals, 40.0 %"
        drawn = {figure["name"]: figure for figure in found["figures"]}
        assert drawn.keys() >= {"history", "seeds-so-far", "failures"}
        assert drawn["history"]["title"] == "The best so far over the seeds spent"
        assert drawn["seeds-so-far"]["alt"].startswith("Of 32 seeds 100.0 % went to the 4 of 4")
        bars = {trace["name"]: trace["y"] for trace in drawn["seeds-so-far"]["data"]}
        assert bars == {"solved": [22 / 32], "not solved": [10 / 32]}
    assert state(run.path) == before


def test_it_grows_with_the_journal_and_tells_what_is_wrong(run, tmp_path):
    with served(run.path) as server:
        _, before = data(server)
        append(run.path, done(4, point(4), solved(0, 16, 16)))
        _, after = next_look(server, before["status"]["now"])
        assert (before["status"]["done"], after["status"]["done"]) == (4, 5)
        assert after["version"] == before["version"] + 1
        assert "16 of 16 seeds solved" in after["sentence"]
        _, same = next_look(server, after["status"]["now"])
        assert same["version"] == after["version"]  # nothing is drawn again
        run.path.rename(tmp_path / "moved")
        code, found = next_look(server, same["status"]["now"])
        assert (code, "is not a directory" in found["error"]) == (503, True)
        (tmp_path / "moved").rename(run.path)
        assert data(server)[0] == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--html", "--json"], "--html: cannot be given with --json"),
        (["--html", "--watch"], "--html: cannot be given with --watch"),
        (["--port", "80"], "add --html"),
        (["--html", "--port", "70000"], "0 to 65535"),
        (["--html", "--interval", "0"], "--interval"),
        (["--html", "--host", "no such host"], "--host"),
    ],
)
def test_what_cannot_be_is_refused(run, words, told):
    result = xortune(run.path, *words)
    assert (result.exit_code, told in result.output) == (2, True), result.output


def test_ctrl_c_ends_the_page_and_that_is_no_failure(run):
    process = Python(
        ["-m", "xortune", "status", str(run.path), "--html"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == "Open this address in a browser. Ctrl-C ends the page; the run goes on.\n"
