"""What xortune asks of the operating system; where it is not Linux and has no /proc, plainly.

The process that kills what a dead worker leaves runs this file alone: import only the standard
library here.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# -------------------------------------------------------------------------------------------------
# Cores, memory, threads, file systems.

PROC = Path("/proc")

CGROUP = Path("/sys/fs/cgroup/memory.max")


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Free memory in bytes, or all memory where no more is known; None if nothing is."""
    free: int | None = None
    with contextlib.suppress(OSError, ValueError):
        line = re.search(r"MemAvailable:\s*(\d+) kB", (PROC / "meminfo").read_text("ascii"))
        if line is not None:
            free = 1024 * int(line[1])
    if free is None and hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # of a container; "max" is no number
        limit = int(CGROUP.read_text("ascii"))
        free = limit if free is None else min(free, limit)
    return free


HARMLESS_THREADS = {"jemalloc_bg_thd"}
"""Threads of packages that know what to do when their process forks."""


def threads_besides() -> int | None:
    """How many threads run beside this one that know of no forks; None if the system says none."""
    try:
        tasks = list((PROC / "self" / "task").iterdir())
        names = [(task / "comm").read_text().strip() for task in tasks]
    except OSError:
        return None
    return sum(name not in HARMLESS_THREADS for name in names) - 1


def file_system_of(directory: Path) -> str | None:
    """The kind of the file system of a directory, such as ext4; None where that is not known."""
    try:
        lines = (PROC / "self" / "mountinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    longest, kind = 0, None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])
        if directory.is_relative_to(point) and len(point) > longest:
            longest, kind = len(point), after.split()[0]
    return kind


def open_nameless(folder: Path) -> int | None:
    """A new file without a name, which vanishes with its writer; None where there is no such."""
    if hasattr(os, "O_TMPFILE") and (PROC / "self" / "fd").is_dir():
        with contextlib.suppress(OSError):
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    return None


def name_file(fd: int, path: Path) -> None:
    """Give the file of `open_nameless` a name."""
    # Only with a `src_dir_fd` does os.link follow the link in /proc to the file.
    os.link(PROC / "self" / "fd" / str(fd), path, src_dir_fd=fd)


# -------------------------------------------------------------------------------------------------
# Processes: which have ended, which belong to a session, and their end.

MARK_VARIABLE = "XORTUNE_COMMAND"
"""The environment variable by which the commands of a worker are recognized."""

WORKER_VARIABLE = "XORTUNE_WORKER"
"""The environment variable by which all that a worker has started is recognized."""

SESSION_SEARCHES = 20
"""Maximum number of searches for members of a session, which may start others meanwhile."""


def has_ended(child: int) -> bool:
    """Whether a child has ended; nobody has waited for it then, so that it keeps its number."""
    if hasattr(os, "waitid"):
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, child, options) is not None
    return dict(_listed("pid=,stat=")).get(child, "Z").startswith("Z")


def wait_until_ended(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code of a child that ends within these seconds; None if it does not.

    The kernel says at once that it has ended; `Popen.wait` looks up to 50 ms later.
    """
    if child.poll() is None and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            end = os.pidfd_open(child.pid)
            try:
                select.select([end], [], [], seconds)
                seconds = 0.0
            except ValueError:  # so many files are open that select refuses its number
                pass
            finally:
                os.close(end)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(seconds)
    return None


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends; elsewhere than on Linux it cannot."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of linux/prctl.h


def adopt_orphans() -> None:
    """Let what descends from this process become its child when its own parent ends.

    Elsewhere than on Linux it becomes a child of the first process.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def mark_worker() -> None:
    """Name this process by its mark, which its forks have too, while no environment is theirs."""
    if sys.platform == "linux" and (mark := os.environ.get(WORKER_VARIABLE)) is not None:
        import ctypes

        ctypes.CDLL(None).prctl(15, mark.encode())  # PR_SET_NAME of linux/prctl.h


def is_of_worker(process: int, mark: str) -> bool:
    """Whether a worker with a mark of up to 15 characters has started a process, or its parent."""
    with contextlib.suppress(OSError):  # it has just ended
        if (PROC / str(process) / "comm").read_text().strip() == mark:
            return True
    return has_mark(process, f"{WORKER_VARIABLE}={mark}")


def children(parent: int) -> list[int]:
    """The living children of a process; none where there is no /proc."""
    if not PROC.is_dir():
        return []
    try:
        tasks = list((PROC / str(parent) / "task").iterdir())
        found = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:  # a kernel without this file, or a thread that has just ended
        found = _numbers()
    stats = ((process, _stat(process)) for process in found)
    return [p for p, stat in stats if stat and stat.parent == parent and stat.lives]


def kill_session_of(process: int) -> None:
    """Kill a process, with all of its session if it leads one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)
    if session_of(process) == process:
        kill_group(process, session=True)


def kill_group(leader: int, *, session: bool) -> None:
    """Kill a process group.

    Args:
        leader: the process that leads the group and its session. It runs, or nobody has waited for
            it: else its number may belong to another process.
        session: kill the other process groups of the session too, as `timeout` and shells make.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(SESSION_SEARCHES if session else 0):
        found = members(leader)
        if not found:
            break
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)


def members(session: int) -> list[int]:
    """The living processes of a session."""
    if not PROC.is_dir():
        living = (pid for pid, state in _listed("pid=,stat=") if not state.startswith("Z"))
        return [pid for pid in living if session_of(pid) == session]
    stats = ((process, _stat(process)) for process in _numbers())
    return [p for p, stat in stats if stat and stat.session == session and stat.lives]


class _Stat(NamedTuple):
    lives: bool
    parent: int
    session: int


def _stat(process: int) -> _Stat | None:
    """What /proc says of a process; None if it has just ended."""
    try:
        # After the name, which may hold anything: state, parent, group, session.
        content = (PROC / str(process) / "stat").read_bytes()
        state, parent, _, session, *_ = content.rpartition(b")")[2].split()
    except (OSError, ValueError):
        return None
    return _Stat(state not in (b"Z", b"X"), int(parent), int(session))


def marked(mark: str) -> list[int]:
    """The session leaders with this mark in their environment."""
    if not PROC.is_dir():
        # With e, ps writes the environment after the command, where the user may see it.
        found = [pid for pid, words in _listed("pid=,command=", "axeww") if mark in words.split()]
    else:
        found = [process for process in _numbers() if has_mark(process, mark)]
    return [process for process in found if session_of(process) == process]


def has_mark(process: int, mark: str) -> bool:
    """Whether a process has a mark in its environment, by /proc."""
    try:
        return mark.encode() in (PROC / str(process) / "environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended, or is somebody else's
        return False


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208


def session_of(process: int) -> int | None:
    """The session of a process; None if it has ended."""
    try:
        return os.getsid(process)
    except OSError:  # it has just ended, or is somebody else's
        return None


def _listed(columns: str, all_of: str = "ax") -> Iterator[tuple[int, str]]:
    """The number of each process and another column, by ps, which each Unix has."""
    words = ["ps", all_of, "-o", columns]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    for line in done.stdout.splitlines():
        number, _, rest = line.strip().partition(" ")
        if number.isdigit():
            yield int(number), rest.strip()


def reap() -> None:
    """Wait until stdin is closed; then kill the commands that the file, our stdout, lists."""
    if os.fork():
        os._exit(0)  # Ray kills a worker's children with it, and so this must not be one
    while os.read(0, 1):
        pass
    line, _, _ = os.pread(1, 65536, 0).decode().partition("\n")
    for word in line.split():
        for leader in [int(word)] if word.isdigit() else marked(f"{MARK_VARIABLE}={word}"):
            kill_group(leader, session=True)


if __name__ == "__main__":
    reap()
    sys.exit()
