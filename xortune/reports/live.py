"""A web server on this machine whose page follows a run while it runs; it writes nothing."""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, error_text
from xortune.core.formats import count, plain
from xortune.core.outcome import wilson
from xortune.core.trainer import PROVEN_WORSE, is_failure
from xortune.reports.document import PRINTED_CONFIGS, Table, table_of, texts
from xortune.reports.drawing.model import Plot
from xortune.reports.figures import FIGURES, distributions, history, seeds
from xortune.reports.page import PLOTLY, as_json, assembled, blocks, figure_html
from xortune.reports.progress import status_json, status_rows
from xortune.reports.run import config_table
from xortune.runs.columns import NOTE, Form
from xortune.runs.run import Run
from xortune.runs.status import RunStatus, Watcher, refuse_interval

# -------------------------------------------------------------------------------------------------
# The data of the page: the values of `xortune status --json`, the best configurations, figures.

Figure = Callable[[Run], Plot | None]

CONFIGS, FAILURES = "Leading configurations", "Failures"

HISTORY: Figure = partial(history.optimization_history, running=True)

SECTIONS: dict[str, tuple[str, tuple[Figure, ...]]] = {
    "Curves": (
        "There is nothing to draw yet.",
        (HISTORY, distributions.success_by_epoch, distributions.learning_curves),
    ),
    "Where the seeds go": ("There is nothing to draw yet.", (seeds.seeds_so_far,)),
    FAILURES: (
        "No seed is known to have crashed, diverged or learned something else.",
        (seeds.failures,),
    ),
}
"""The figures of each section of the page, and what it says if they have nothing to show."""


def _sections(run: Run) -> dict[str, str]:
    """The HTML of the sections that change only with the journal, by their ids."""
    parts = {_id(CONFIGS): "<p>No configuration has a result yet.</p>"}
    if run.results:
        table, standing = config_table(run, PRINTED_CONFIGS), _standing(run)
        rows = [
            replace(row, values={**row.values, NOTE: note})
            for row, note in zip(table.rows, standing.tolist(), strict=False)
        ]
        more = f", the first {len(rows)} of {table.total:,}" if table.total > len(rows) else ""
        racing = int((standing == IN_THE_RACE).sum())
        caption = f"Configurations so far, best first{more}; {racing:,} in the race"
        shown = replace(table, rows=tuple(rows)).table(Form.LIVE, caption)
        parts[_id(CONFIGS)] = _table(shown)
    # A figure of a report has something to show in the same cases.
    is_shown = {figure.make: figure.is_shown for figure in FIGURES}
    is_shown[HISTORY] = is_shown[history.optimization_history]
    for heading, (nothing, figures) in SECTIONS.items():
        plots = [
            figure(run)
            for figure in figures
            if run.results and (figure not in is_shown or is_shown[figure](run, run.results.counts))
        ]
        drawn = (figure_html(plot, has_links=False) for plot in plots if plot is not None)
        parts[_id(heading)] = "".join(drawn) or f"<p>{nothing}</p>"
    if (failed := _last_failures(run)).rows:
        caption = f"The last failures, the newest first: {len(failed.rows)}"
        parts[_id(FAILURES)] = _table(replace(failed, caption=caption)) + parts[_id(FAILURES)]
    return parts


IN_THE_RACE = "in the race"


def _standing(run: Run) -> NDArray[np.object_]:
    """Of each of `Run.results` whether it is in the race, shape (C,)."""
    counts = run.results.counts
    low, high = wilson(counts.k, counts.n)
    notes = np.full(counts.n.shape, IN_THE_RACE, np.object_)
    notes[high < low[0]] = "behind"
    notes[np.isin(run.results.keys, run.evaluations.with_error(PROVEN_WORSE).keys)] = "proven worse"
    notes[counts.n >= run.full_seeds] = "all seeds"
    return notes


LAST_FAILURES, LOOKED_AT = 5, 2_000  # rows; lines of the journal, from its end


def _last_failures(run: Run) -> Table:
    """The last seeds that crashed or diverged with a reason, and attempts without an outcome."""
    lines, rows = run.evaluations, []
    for at in range(len(lines) - 1, max(len(lines) - LOOKED_AT, 0) - 1, -1):
        one = lines[at]
        found = {} if one.outcome is None else one.outcome.details.failed
        told = [(f"seed {seed}", reason) for seed, reason in found.items()]
        if one.error is not None and is_failure(one.error):
            told.append((f"{count(one.block.count, 'seed')} from {one.block.first}", one.error))
        when = "–" if one.at is None else f"{datetime.fromtimestamp(one.at, UTC):%H:%M:%S UTC}"
        rows += [(when, one.block.point.key, seeds, reason[:200]) for seeds, reason in told]
        if len(rows) >= LAST_FAILURES:
            break
    return table_of(texts("when", "configuration", "seeds", "reason"), rows[:LAST_FAILURES])


def _table(table: Table) -> str:
    return str(blocks().data_table(table, table.caption, has_heads=True))


def _id(heading: str) -> str:
    """The id of a section."""
    return heading.lower().replace(" ", "-")


STATES = {
    "running": "Running",
    "finished": "The run has ended",
    "stopped": "The run has ended early; --resume continues it",
}


def _sentence(status: RunStatus) -> str:
    """The best and the state in one line. Screen readers read it aloud whenever it changes."""
    state = "Starting" if status.is_starting else STATES[status.state]
    if (best := status.best) is None:
        return f"{state}. No configuration has a result yet."
    if not best.ruled:
        return f"{state}. Best so far: {best.text}, configuration {best.key}."
    return f"{state}. Best so far: {best.words}, configuration {best.key}."


class _LiveRun:
    """Reads a run for all browsers that have the page open."""

    PAUSE = 4
    """The pause after a look, as a multiple of its time: training needs the machine."""

    def __init__(self, run: Path) -> None:
        self._watcher, self._lock = Watcher(run), threading.Lock()
        self._data, self._next = b"", 0.0
        self._state: tuple[object, ...] = ()
        self._sections: dict[str, str] = {}
        self._version = 0
        self.name = plain(self._watcher.look().name)

    def data(self) -> bytes:
        """The present state of the run as JSON."""
        with self._lock:
            began = time.monotonic()
            if began >= self._next:
                self._data = self._look()
                seconds = time.monotonic() - began
                self._next = began + seconds + max(self.PAUSE * seconds, 0.2)
            return self._data

    def _look(self) -> bytes:
        status, run = self._watcher.look_closely()
        state = (len(run.evaluations), status.written, run.manifest, status.certificate)
        if state != self._state:
            self._sections, self._state = _sections(run), state
            self._version += 1
        (_, state_text), *rows = status_rows(status)
        about = "The run at this moment"
        now = table_of(texts("what", "now"), [("state", state_text), *rows], about)
        values = {
            "status": status_json(status),
            "sentence": plain(_sentence(status)),
            "rows": _table(now),
            "version": self._version,
            "sections": self._sections,
        }
        return as_json(values).encode()


# -------------------------------------------------------------------------------------------------
# The server.

LOOPBACK, LOCALHOST = "127.0.0.1", "localhost"


class LiveServer(ThreadingHTTPServer):
    """Serves a page that follows a run: call `serve_forever` in a `with` block.

    The address has a token of 192 random bits; without it the page is refused. So is a request for
    another host: a page of the internet whose name is changed to this machine's address asks for
    its own name.

    Args:
        run: its directory.
        host: the address to listen at; only this machine reaches the default.
        port: the port to listen at; 0 is any free one.
        interval: seconds between two updates of the page.

    Attributes:
        url: of the page, with the token.
        loopback: whether only this machine can reach it.

    Raises:
        InputError: there is no run or it is damaged, the interval is not above 0, or this machine
            cannot listen at the host or the port.
    """

    daemon_threads = True
    request_queue_size = 64  # a page requests a dozen files at once; the default of 5 resets some

    def __init__(
        self, run: Path, *, host: str = LOOPBACK, port: int = 0, interval: float = 2.0
    ) -> None:
        refuse_interval(interval)
        self.follower = _LiveRun(run)
        self.token = secrets.token_urlsafe(24)
        now = blocks().now(round(1000 * interval))
        bodies = {"Where it stands": now}
        bodies |= {heading: blocks().part(_id(heading)) for heading in (CONFIGS, *SECTIONS)}
        html, policy = assembled(
            ["assets/page.js", PLOTLY, "assets/figures.js", "assets/live.js"],
            "style-src-attr 'unsafe-inline'; connect-src 'self'; ",
            live=True,
            title=f"xortune: {self.follower.name}",
            subtitle="This page follows the run. Nothing is written into it.",
            sections=[
                {"id": _id(heading), "heading": heading, "body": body}
                for heading, body in bodies.items()
            ],
        )
        self.policy = f"{policy}; frame-ancestors 'none'"  # of no effect in the page itself
        self.page = html.encode()
        if not 0 <= port < 2**16:
            raise InputError(f"{port}", field="port", allowed="0 to 65535")
        try:
            self.address_family, *_, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except (OSError, UnicodeError):
            raise InputError(
                f"{host!r} is not an address of this machine",
                field="host",
                allowed="127.0.0.1, 0.0.0.0",
            ) from None
        try:
            super().__init__((str(address[0]), int(address[1])), _Handler)
        except OSError as error:
            raise InputError(
                f"cannot listen at port {port} of {host} ({error.strerror})",
                field="port",
                fix="give another --port, or none; or another --host",
            ) from None
        listening = ipaddress.ip_address(str(self.server_address[0]))
        self.loopback = listening.is_loopback
        shown = socket.gethostname() if listening.is_unspecified else host
        self._names = {name.lower() for name in (LOCALHOST, shown, str(listening))}
        self._any_address = listening.is_unspecified
        shown = f"[{shown}]" if ":" in shown else shown
        self.url = f"http://{shown}:{self.server_port}/{self.token}/"

    def server_bind(self) -> None:
        """Bind without a lookup of this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])

    def is_asked(self, host: str) -> bool:
        """Whether the value of a header Host names this server; its port is not looked at.

        A port that is forwarded, as by `ssh -L`, has another number.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            if name in self._names:
                return True
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that closes the connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests for the page and for its data."""

    server: LiveServer
    server_version, sys_version = "xortune", ""
    timeout = 30

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.is_asked(hosts[0]):
            self._send(421, b"421: this address is not the one that xortune printed\n")
            return
        token, slash, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._send(403, b"403: the address lacks the token that xortune printed\n")
        elif not slash:
            self._send(308, b"", Location=f"/{token}/")
        elif name == "":
            policy = {"Content-Security-Policy": self.server.policy}
            self._send(200, self.server.page, "text/html", **policy)
        elif name == "data":
            self._send(*self._data(), "application/json")
        else:
            self._send(404, b"404: nothing is here\n")

    def _data(self) -> tuple[int, bytes]:
        try:
            return 200, self.server.follower.data()
        except InputError as error:  # the run was moved, or its files are damaged
            return 503, json.dumps({"error": plain(str(error))}).encode()
        except Exception as error:  # the page shows it; the next look may succeed
            return 500, json.dumps({"error": plain(error_text(error))}).encode()

    def _send(self, code: int, body: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(code)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",
            **headers,
        }
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Do nothing: each line would print the token to the terminal."""
