"""Who holds a run: what the lock's file says of its owner, and whether that process still lives."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from xortune.core.errors import InputError
from xortune.core.files import open_regular, without_passwords

Life: TypeAlias = Literal["alive", "gone", "copied", "elsewhere"]
"""One whose lock is `copied` holds another run; of one `elsewhere` only its heartbeat tells."""

MOST_BYTES = 10_000
SPARE = 16
"""A heartbeat must not make the file longer: it is written in place."""


@dataclass(frozen=True)
class Owner:
    """A process that holds a run.

    Attributes:
        owner: 32 hexadecimal digits, another for each time that a lock is taken.
        pid: its process id.
        host: the name of its machine.
        machine: what identifies an installation of an operating system; else of its hardware.
        boot_id: what identifies a start of that machine; empty if unknown.
        pid_namespace: where its process id means something; empty if unknown.
        process_start: when the kernel started the process, in ticks since the boot; 0 if unknown.
        command: its command line.
        since: when it took the lock; ISO 8601, UTC.
        heartbeat: when it last renewed the lock, in seconds since 1970 by its own clock, which is
            never compared with another machine's.
        beats: how often it has.
    """

    owner: str
    pid: int
    host: str
    machine: str
    boot_id: str
    pid_namespace: str
    process_start: int
    command: str
    since: str
    heartbeat: float
    beats: int

    def __str__(self) -> str:
        command = f" ({_printable(self.command)})" if self.command else ""
        return f"pid {self.pid} on {_printable(self.host)} since {_clock(self.since)}{command}"

    def as_bytes(self) -> bytes:
        """The file; as long after another heartbeat as before."""
        fields = asdict(self)
        steady = {**fields, "heartbeat": 0.0, "beats": 0}
        length = len(json.dumps(steady)) + len("1234567890.123") + SPARE
        return (json.dumps(fields).ljust(length) + "\n").encode("ascii")


def this_process() -> Owner:
    """The owner of a lock that this process takes now."""
    name, *rest = sys.argv or [""]
    now = time.time()
    return Owner(
        owner=uuid.uuid4().hex,
        pid=os.getpid(),
        host=socket.gethostname(),
        machine=_first_line("/etc/machine-id") or f"{uuid.getnode():012x}",
        boot_id=_first_line("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_pid_namespace(),
        process_start=_started(os.getpid()) or 0,
        command=shlex.join([os.path.basename(name) or "python", *without_passwords(rest)])[:500],  # noqa: PTH119
        since=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        heartbeat=round(now, 3),
        beats=0,
    )


def read_owner(place: Path) -> Owner | None:
    """Who holds the lock of that file; None if there is no such file.

    Raises:
        InputError: it cannot be read, or is no lock.
    """
    for patience in range(20):  # a heartbeat may be half written, at this very moment
        try:
            with open_regular(place) as file:
                text = file.read(MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", place=str(place)) from None
        owner = parse_owner(text)
        if owner is not None:
            return owner
        time.sleep(0.002 * patience)
    raise InputError(
        "is no lock of a run",
        place=str(place),
        allowed="what a search writes there while it runs",
        fix="if no search of this run is running, on any machine, remove the file",
    )


def life_of(owner: Owner, lock: Path | None = None) -> Life:
    """Whether the owner's process lives, as far as this machine can tell.

    A process is known by its id and its start together, since ids are used again; and an id says
    nothing outside the namespace (container) that it was given in. Cloned machines and containers
    have one name and one machine-id: so one that was started at another time, as this one may have
    been, counts as another one.

    Args:
        owner: of the lock.
        lock: the file, which a living owner has open; None where there is no file.
    """
    here = this_process()
    places = ("host", "machine", "boot_id", "pid_namespace")
    if any(getattr(owner, name) != getattr(here, name) for name in places):
        return "elsewhere"
    if not here.boot_id and sys.platform == "linux":  # a sandbox, of which there may be many
        return "elsewhere"
    life = _life_by_id(owner.pid)
    if life != "alive":
        return life
    started = _started(owner.pid)
    # Unreadable (hidepid): there is such a process, and it may be this one.
    if started is not None and started != owner.process_start:
        return "gone"
    return "alive" if lock is None or _has_open(owner.pid, lock) else "copied"


def _has_open(pid: int, lock: Path) -> bool:
    """Whether a process has a file open; true where that cannot be seen."""
    try:
        wanted = lock.stat().st_ino
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with suppress(FileNotFoundError):  # closed since
                if os.stat(f"/proc/{pid}/fd/{name}").st_ino == wanted:  # noqa: PTH116
                    return True
    except OSError:
        return True
    return False


def _life_by_id(pid: int) -> Life:
    if os.name != "posix":  # there, signal 0 would end it
        return "elsewhere"
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return "gone"
    except PermissionError:  # somebody else's
        return "alive"
    return "alive"


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since the boot; -1 of one that has ended (a zombie)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # its name may hold anything
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # it leads to no file
    except OSError:
        return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def parse_owner(text: bytes) -> Owner | None:
    """What `Owner.as_bytes` wrote; None if it is something else."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kinds: dict[str, Any] = {"pid": int, "process_start": int, "beats": int, "heartbeat": float}
    names = list(Owner.__dataclass_fields__)
    if not isinstance(fields, dict) or list(fields) != names:
        return None
    if any(type(fields[name]) is not kinds.get(name, str) for name in names):
        return None
    # It becomes part of a file's name; signals to 0 and below go to groups of processes.
    if not re.fullmatch("[0-9a-f]{32}", fields["owner"]) or fields["pid"] <= 0:
        return None
    return Owner(**fields)


def _printable(text: str) -> str:
    # The file may be somebody else's: nothing in it may steer the terminal.
    return "".join(sign if sign.isprintable() else "?" for sign in text[:500])


def _clock(since: str) -> str:
    try:
        moment = datetime.fromisoformat(since).astimezone()
    except (ValueError, OverflowError):
        return _printable(since)[:40]
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
