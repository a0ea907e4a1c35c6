"""Python processes that begin with everything imported: imports of torch and Ray take seconds.

A template process imports them once and forks. What it forks becomes a child of this process, so a
`Python` is a `subprocess.Popen` in all respects. Its reports have no pictures. Where the imports,
the streams of a new interpreter or its environment at import are what is tested, start a process
with `subprocess`; and where Ray is to be started, whose core keeps the token of the process that
imported it.
"""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from functools import cache
from itertools import pairwise
from pathlib import Path

HEAVY = (
    *("numba", "scipy.stats", "torch", "pandas", "pyarrow.parquet", "optuna", "ray.tune", "pytest"),
    *("xortune.driver.search", "xortune.training.ray_executor", "xortune.cli.shared"),
)
SUBREAPER = 36  # of linux/prctl.h: orphans of a process below become its children
COLLAPSE = 25  # of linux/mman.h, madvise(2): small pages become huge ones, now
HUGE = 1 << 21  # bytes of a huge page
ONE_BY_ONE = threading.Lock()


class Python(subprocess.Popen):
    """`Python(["-m", "xortune", "status", run], stdout=PIPE)`: forked, not started."""

    def _execute_child(self, *given):
        words, _, _, _, numbers, cwd, env, _, _, _, *pipes = given[:16]
        if sys.platform != "linux":  # elsewhere no orphan is adopted
            super()._execute_child([sys.executable, *words], *given[1:])
            return
        asked = {
            "words": [os.fspath(word) for word in words],
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "session": bool(given[21]),
            "numbers": [0, 1, 2, *numbers],
        }
        theirs = (pipes[0], pipes[3], pipes[5])
        fds = [number if fd < 0 else fd for number, fd in enumerate(theirs)]
        self.pid = fork(json.dumps(asked).encode(), [*fds, *numbers])
        self._child_created = True
        self._close_pipe_fds(*pipes)


def run(args, *, check=True, timeout=300, **options):
    """As `subprocess.run`, forked; what it prints is captured as text."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    with Python(args, **given) as process:
        try:
            out, told = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    assert not check or process.returncode == 0, f"{args}\n{out}\n{told}"
    return subprocess.CompletedProcess(args, process.returncode, out, told)


@cache
def template(owner: int) -> socket.socket:
    """The connection to the template of this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def fork(asked: bytes, fds: list[int]) -> int:
    """The number of a new process."""
    prctl = ctypes.CDLL(None).prctl
    with ONE_BY_ONE:
        place = template(os.getpid())
        prctl(SUBREAPER, 1)
        try:
            socket.send_fds(place, [asked], fds)
            return int(place.recv(100))
        finally:
            prctl(SUBREAPER, 0)


# -------------------------------------------------------------------------------------------------
# The template.


def serve(place: socket.socket) -> dict | None:
    """Fork for each request, whose process gets it returned; None at the end."""
    while True:
        text, fds, _, _ = socket.recv_fds(place, 1 << 20, 32)
        if not text:
            return None
        told, tells = os.pipe()
        if not (between := os.fork()):  # it ends at once, and so the next is an orphan
            if pid := os.fork():
                os.write(tells, str(pid).encode())
                os._exit(0)
            place.detach()
            asked = json.loads(text)
            apart = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for fd in fds]
            for number, fd in zip(asked["numbers"], apart, strict=True):
                os.dup2(fd, number)
            return asked
        os.waitpid(between, 0)
        place.send(os.read(told, 100))
        for fd in (told, tells, *fds):
            os.close(fd)


def become(asked: dict) -> list[str]:
    """Be as a new process would be; its arguments."""
    if asked["session"]:
        os.setsid()
    numbers = sorted(asked["numbers"])
    for one, other in pairwise([*numbers, 4096]):
        if one + 1 < other:  # an empty range is one without end, to close_range(2)
            os.closerange(one + 1, other)
    os.chdir(asked["cwd"])
    before = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    os.environ.clear()
    os.environ.update(asked["env"])
    after = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:] = [*after, *(p for p in sys.path[1:] if p not in before)]
    sys.stdin = sys.__stdin__ = open(0)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    return asked["words"]


def program(how: str, *rest: str) -> None:
    """Run `-c TEXT`, `-m MODULE` or `FILE` with its arguments, as the interpreter does."""
    module = sys.modules["__main__"] = type(sys)("__main__")
    module.__builtins__ = __builtins__
    if how == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    text = rest[0] if how == "-c" else Path(how).read_text(encoding="utf-8")
    sys.argv = ["-c", *rest[1:]] if how == "-c" else [how, *rest]
    sys.path.insert(0, "" if how == "-c" else str(Path(how).resolve().parent))
    if how != "-c":
        module.__file__ = how
    exec(compile(text, "<string>" if how == "-c" else how, "exec"), module.__dict__)


def exit_code_of(asked: dict) -> int:
    """Of its program, which is run."""
    try:
        program(*become(asked))
    except SystemExit as error:
        if isinstance(error.code, int | None):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
    return 0


def freeze() -> None:
    """Let no search for garbage go through what is there now.

    Searches ask whether something is frozen. To count it would take them longer than a small run.
    """
    gc.freeze()
    gc.get_freeze_count = lambda: 1


def collapse() -> None:
    """Few huge pages in place of 100,000 small ones: a fork copies the table of pages.

    It takes a third of the time then. A kernel that cannot do it says so, and nothing changes.
    """
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, may, _, _, inode, *name = line.split(maxsplit=5)
        if may == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            begin, end = (int(address, 16) for address in where.split("-"))
            begin, end = -(-begin // HUGE) * HUGE, end // HUGE * HUGE
            if begin < end:
                madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), COLLAPSE)


def sketch() -> None:
    """Reports have no pictures and their templates are there: both take longer than a search.

    And nothing waits for the disk, as in `_sketches` of conftest.py.
    """
    document = importlib.import_module("xortune.reports.document")
    document.in_markdown().get_template("run.md.jinja")
    importlib.import_module("xortune.reports.files").svg = lambda plot: f"<svg>{plot.name}</svg>\n"
    importlib.import_module("xortune.deciding.importance").RESAMPLES = 3
    os.fsync = lambda _: None


def complete() -> None:
    """Nothing that a process begins or ends with takes longer than a small search."""
    torch = sys.modules["torch"]
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)  # the first imports for a second
    importlib.import_module("xortune.training.worker")._load_engine()
    sys.modules["ray"].shutdown()  # as at the end of each process: it imports too
    for one in weakref.finalize._registry:
        one.atexit = False  # torch takes back each of its operators


def main() -> None:
    for name in HEAVY:
        importlib.import_module(name)
    complete()
    sketch()
    freeze()
    if sys.platform == "linux":
        collapse()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    code = exit_code_of(asked) if asked else 0
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:  # as the interpreter says it
        print(f"Exception ignored in: {sys.stdout}\n{error}", file=sys.stderr)
        code = 120
    os._exit(code)  # to take everything apart takes a second


if __name__ == "__main__":
    main()
