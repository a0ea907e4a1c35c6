"""What happens in a process of the pool: a template forks workers, and each trains what it is sent.

The template imports the installed packages that the user's code imports, such as torch, and none
of the user's own code. A fork of it begins in milliseconds and shares that memory, where a new
interpreter imports torch for seconds and holds it a second time. So 16 workers come up as fast as
one. Where another thread runs after these imports, a fork could wait for it for ever: then each
worker is a new interpreter.

Each worker leads a session. When it ends, the template kills what is left of that session. When the
driver ends, in whatever way, the template kills all workers. On Linux it also kills what they have
started in sessions of their own: the template adopts what has lost its parent.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial, reduce
from multiprocessing.connection import Connection
from typing import Any, ClassVar

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.forks import end_fork_of, ending_forks
from xortune.core.outcome import Outcome
from xortune.core.system import (
    WORKER_VARIABLE,
    adopt_orphans,
    children,
    end_with_parent,
    has_ended,
    is_of_worker,
    kill_group,
    kill_session_of,
    mark_worker,
    session_of,
    threads_besides,
)
from xortune.core.trainer import (
    Block,
    OutOfTime,
    Postponed,
    Reported,
    Trainer,
    Unfinished,
    Void,
)
from xortune.runs.evaluation import EncodedOutcome, encode_outcome
from xortune.trainers.function import form_of_source
from xortune.trainers.limits import ending_at, time_is_over, use_threads
from xortune.trainers.reports import Reports, cancelling_if, hearing_reports
from xortune.trainers.verdicts import one_line
from xortune.training.jobs import AGAIN, BEGUN, DONE, RAISED, REPORTED, TRAINED, block_id

# -------------------------------------------------------------------------------------------------
# The template.

_NO_WORKING_FOLDER = """
import sys
sys.path[:] = filter(None, sys.path)
"""
"""A file of the working folder may have the name of one of Python's own modules, such as
`types.py`. Python puts that folder, as an empty text, before them for a program of its `-c`."""

PROGRAM = f"""{_NO_WORKING_FOLDER}
import json
asked = json.loads(sys.argv[2])
sys.path[:] = asked["path"]
from xortune.training.worker import main
main(int(sys.argv[1]), asked["imports"], asked["engine"])
"""

FRESH = f"""{_NO_WORKING_FOLDER}
import json
sys.path[:] = json.loads(sys.argv[2])
from multiprocessing.connection import Connection
from xortune.training.worker import serve
serve(Connection(int(sys.argv[1])))
"""

REQUEST, REPORT = struct.Struct("!cI"), struct.Struct("!cIi")
START, KILL = b"s", b"k"
"""What the driver asks of the template, with the number of a worker. `START` brings the worker's
end of its connection."""

STARTED, ENDED = b"p", b"x"
"""What the template reports of a worker: its process id, its exit code."""

GRACE_SECONDS = 1.0
"""Time for a worker to end by itself and run the exit handlers of the user's code."""


def main(control: int, imports: Sequence[str], engine: bool) -> None:
    """Be the template, and in each fork a worker."""
    signal.signal(signal.SIGINT, partial(_pass_on_to, os.getppid()))
    for name in imports:
        with suppress(BaseException):  # the worker imports it again and says why it cannot
            importlib.import_module(name)
    if imports and (torch := sys.modules.get("torch")) is not None:
        with suppress(Exception):  # the first optimizer of a process imports for a second
            torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    if engine:
        _load_engine()
    connection = _WorkerTemplate(socket.socket(fileno=control)).serve()
    if connection is not None:
        serve(connection)


class _WorkerTemplate:
    """Starts workers for the driver, and says when they have ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control, self._forks = control, _may_fork()
        self._numbers: dict[int, int] = {}  # of the workers that live, by process id
        # Workers that are no forks: an object that nobody has waited for may not be dropped.
        self._popened: dict[int, subprocess.Popen[bytes]] = {}
        self._woken, self._wakes = os.pipe()
        for end in (self._woken, self._wakes):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        adopt_orphans()

    def serve(self) -> Connection | None:
        """Serve until the driver ends; a worker returns its connection."""
        control = self._control.fileno()
        while True:
            ready, _, _ = select.select([control, self._woken], [], [])
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            self._note_ended()
            self._wait_for_orphans()
            if control not in ready:
                continue
            try:
                request, files, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
            except ConnectionResetError:  # the driver has ended with reports that it did not read
                break
            if not request:
                break
            what, number = REQUEST.unpack(request)
            if what == KILL:
                for pid in [pid for pid, one in self._numbers.items() if one == number]:
                    _kill(pid)
            elif not (pid := self._start(files[0], number)):
                return Connection(files[0])
            else:
                os.close(files[0])
                self._numbers[pid] = number
                self._report(STARTED, pid, pid)
        self._end_all()
        return None

    def _start(self, connection: int, number: int) -> int:
        """Start a worker; its process id, or 0 in the worker."""
        mark = {WORKER_VARIABLE: self._mark(number)}
        if not self._forks:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", FRESH, str(connection), json.dumps(sys.path)],
                env={**os.environ, **mark},
                pass_fds=[connection],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._popened[process.pid] = process
            return process.pid
        if pid := os.fork():
            return pid
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(mark)
        os.close(self._woken)
        os.close(self._wakes)
        self._control.close()
        _begin_worker()
        return 0

    def _report(self, what: bytes, pid: int, value: int) -> None:
        with suppress(OSError):  # the driver has ended, which the next `select` tells
            self._control.sendall(REPORT.pack(what, self._numbers[pid], value))

    def _note_ended(self) -> None:
        """Report each worker that has ended, and kill what it has started."""
        for pid in filter(has_ended, list(self._numbers)):  # nobody else has waited for them
            kill_group(pid, session=True)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if (process := self._popened.pop(pid, None)) is not None:
                process.returncode = code
            mark = self._mark(self._numbers[pid])
            self._kill_children(partial(is_of_worker, mark=mark))
            self._report(ENDED, pid, code)
            del self._numbers[pid]

    def _mark(self, number: int) -> str:
        """By which all that a worker starts is recognized."""
        return f"xt{os.getpid()}-{number}"

    def _wait_for_orphans(self) -> None:
        """Wait for what was adopted and has ended."""
        with suppress(ChildProcessError, AttributeError):  # without `waitid` nothing is adopted
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            while (ended := os.waitid(os.P_ALL, 0, options)) is not None:
                if ended.si_pid in self._numbers:
                    break  # its end is to be reported first
                os.waitpid(ended.si_pid, 0)

    def _kill_children(self, is_meant: Callable[[int], bool]) -> None:
        """Kill children that are no workers, and their own, which then are children of this."""
        deadline = time.monotonic() + GRACE_SECONDS
        mine = os.getpid()
        while found := [p for p in children(mine) if p not in self._numbers and is_meant(p)]:
            for child in found:
                kill_session_of(child)
            if time.monotonic() > deadline:  # one that the system cannot end now
                break
            time.sleep(0.001)
            self._wait_for_orphans()

    def _end_all(self) -> None:
        """Give the workers `GRACE_SECONDS` to end, kill the others, and what all have started."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self._numbers:
            if time.monotonic() > deadline:
                for pid in self._numbers:
                    _kill(pid)
            self._note_ended()
            time.sleep(0.01)
        self._kill_children(lambda _: True)


def _load_engine() -> None:
    """Load the compiled engine of the built-in network, or compile it once for all workers."""
    from xortune.core.config import Config
    from xortune.core.task import Task
    from xortune.trainers.network import NetworkTrainer

    config = Config(
        activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.1, hidden_dim=2, epochs=1
    )
    with suppress(Exception):  # a worker meets it again and says it
        NetworkTrainer(Task.named("xor")).prepare([Block(config.point, 0, 1)])


def _pass_on_to(driver: int, *_: object) -> None:
    """A training has interrupted its parent: that is the driver, as it sees it."""
    if os.getppid() == driver:
        os.kill(driver, signal.SIGINT)


def _may_fork() -> bool:
    """Whether this process has no other thread; False where the system does not say."""
    return threads_besides() == 0


def _begin_worker() -> None:
    """Lead a session, and draw other random numbers than the template's other forks."""
    os.setsid()
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # the generator that users' code may draw from
    if (torch := sys.modules.get("torch")) is not None:
        torch.seed()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # it may not lead its session yet
    kill_group(pid, session=True)


# -------------------------------------------------------------------------------------------------
# Training: what has ended is given out at once, whoever trains.

PIECE_SECONDS = 0.25
"""Results of short seeds are collected for about so long."""


@dataclass(frozen=True)
class Piece:
    """A part of a batch that has been trained.

    Attributes:
        parts: (index of a block in the batch, the part of it).
        results: an outcome or an error for each part.
        seconds: of all parts.
    """

    parts: tuple[tuple[int, Block], ...]
    results: Sequence[Outcome | EncodedOutcome | TrainingError]
    seconds: float


def pieces(
    trainer: Trainer,
    blocks: Sequence[Block],
    *,
    until: float | None = None,
    begin: Callable[[int, Block], bool] = lambda _, __: True,
) -> Iterator[Piece]:
    """Train blocks where this is called, and yield each piece when it has ended.

    The built-in network and a `TorchTraining` train a batch as one piece. A function or a command
    that trains one seed after the other gives a piece after each seed, or after `PIECE_SECONDS` of
    short ones.

    After a seed that could not be tried the rest is postponed: when it is tried again, or whether
    such seeds are too many and end it all, is the driver's to say.

    Args:
        trainer: what trains.
        blocks: what is trained.
        until: `time.time` from which on no training begins.
        begin: called with the index and the part of a block before it trains; False if the result
            is not wanted any more. A batch that trains as one trains all the same.

    Raises:
        Exception: what a trainer itself raises; a seed that raises is a crashed seed.
    """
    left = list(enumerate(blocks))
    if left and trainer.traits.trains_as_one:
        started = time.perf_counter()
        begin(0, blocks[0])
        with ending_at(until):
            results = [OutOfTime() for _ in blocks] if time_is_over() else _train(trainer, blocks)
        yield Piece(tuple(left), results, time.perf_counter() - started)
        return
    while left:
        index, block = left.pop(0)
        for piece in _parts_of_block(trainer, index, block, until, begin):
            if not isinstance(piece.results[-1], Void):
                yield piece
                continue
            results = [*piece.results, *(Postponed() for _ in left)]
            yield Piece((*piece.parts, *left), results, piece.seconds)
            left = []


def _parts_of_block(
    trainer: Trainer,
    index: int,
    block: Block,
    until: float | None,
    begin: Callable[[int, Block], bool],
) -> Iterator[Piece]:
    """Yield the pieces of a block; what ends in an error is the last one."""
    singly = trainer.traits.sends_singly
    size = block.count if trainer.traits.takes_many_seeds else 1
    at, kept, seconds = block.first, list[Outcome](), 0.0
    while (left := block.seeds.stop - at) > 0:
        part = block.part(at, min(size, left))
        is_wanted, started = begin(index, part), time.perf_counter()
        with ending_at(until):
            if time_is_over():
                result: Any = OutOfTime()
            else:
                [result] = _train(trainer, [part]) if is_wanted else [Unfinished()]
        taken, has_failed = time.perf_counter() - started, isinstance(result, TrainingError)
        if kept and (has_failed or not _are_alike(kept[-1], result)):
            yield _merged(index, block, at, kept, seconds)
            kept, seconds = [], 0.0
        if has_failed:
            yield Piece(((index, block.part(at, left)),), [result], taken)
            return
        kept.append(result)
        at, seconds = at + part.count, seconds + taken
        if not singly:
            size = max(1, int(PIECE_SECONDS * part.count / max(taken, 1e-9)))
        if seconds >= PIECE_SECONDS or singly or at == block.seeds.stop:
            yield _merged(index, block, at, kept, seconds)
            kept, seconds = [], 0.0


def _merged(index: int, block: Block, at: int, kept: list[Outcome], seconds: float) -> Piece:
    """The piece of the seeds of a block before `at` that have these outcomes."""
    outcome = reduce(Outcome.merge, kept)
    done = block.part(at - outcome.n, outcome.n)
    return Piece(((index, done),), [outcome], seconds)


def _are_alike(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes go into one line of the journal: same names, and no curves."""
    names = one.details.values.keys() == other.details.values.keys()
    return names and not (one.details.curves or other.details.curves)


def _train(trainer: Trainer, blocks: Sequence[Block]) -> list[Any]:
    """Train here. A child that the user's code forked, and that returned from it, ends here."""
    with ending_forks():
        return trainer.train(blocks)


def encoded(
    block: Block, result: Outcome | EncodedOutcome | TrainingError
) -> EncodedOutcome | TrainingError:
    """The result of a block, with its outcome encoded if it is not yet."""
    if isinstance(result, Outcome):
        return encode_outcome(block, result)
    if isinstance(result, Unfinished) and isinstance(result.outcome, Outcome):
        first = block.part(block.first, result.outcome.n)
        result.outcome = encode_outcome(first, result.outcome)
    return result


# -------------------------------------------------------------------------------------------------
# A batch, as a worker trains it, and what it says of it on the way.

REPORT_SECONDS = 1.0
"""Minimum time between two reports of a training that its worker passes on."""


class BatchWorker(ABC):
    """Trains batches for a driver, and says what becomes of each.

    A subclass is the far end of a transport. What is said is what `Batch.hear` takes.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._block: Block | None = None  # whose seeds train now
        # `time.monotonic` of the last begin or report, and of the last begin or question.
        self._spoke = self._asked = 0.0

    report_seconds: ClassVar[float] = REPORT_SECONDS
    look_seconds: ClassVar[float] = 0.0
    """Minimum time between two questions whether a block is wanted."""

    @abstractmethod
    def say(self, what: str, *content: Any) -> None:
        """Say something, at the latest with the next question whether a block is wanted."""

    @abstractmethod
    def wants(self, block: Block) -> bool:
        """Whether the results of a block are wanted."""

    def train(
        self,
        trainer: Trainer,
        blocks: Sequence[Block],
        *,
        until: float | None,
        again: Sequence[Block] = (),
        is_encoded: bool = True,
        silent: bool = False,
    ) -> None:
        """Train a batch, and say what comes of it.

        `(BEGUN, index, part)` before and `(TRAINED, parts, results, seconds, stacking)` after each
        piece. In between `(REPORTED, reported)`, the last report of what trains. Then the blocks of
        `again`, each after `(BEGUN, None, block)`, and `(AGAIN, outcome, seconds)`, what came of
        the last one. At the end `(DONE,)`.
        """

        def begin(index: int, part: Block) -> bool:
            self._block, self._spoke, self._asked = blocks[index], *[time.monotonic()] * 2
            self.say(BEGUN, index, part)
            return self.wants(blocks[index])

        def begin_again(block: Block) -> None:
            self._block = None
            self.say(BEGUN, None, block)
            self.wants(block)

        cancels = trainer.traits.users_code
        before = _apart() if cancels else set[int]()
        output = no_output() if silent else nullcontext()
        cancelling = cancelling_if(self._is_cancelled if cancels else None)
        with cancelling, hearing_reports(self._hear), output:
            for piece in pieces(trainer, blocks, until=until, begin=begin):
                if cancels:
                    _end_apart(before)
                results = piece.results
                if is_encoded:
                    pairs = zip(piece.parts, results, strict=True)
                    results = [encoded(part, result) for (_, part), result in pairs]
                stacking = trainer.stacking(piece.parts[0][1])
                self.say(TRAINED, piece.parts, results, piece.seconds, stacking)
        if again and (found := outcome_again(trainer, again, until, begin_again)) is not None:
            self.say(AGAIN, *found)
        self.say(DONE)

    def _is_cancelled(self, _: Block) -> bool:
        """Whether the results of the block whose seeds train now are not wanted any more."""
        now = time.monotonic()
        if self._block is None or os.getpid() != self._process:  # a fork of the user's code
            return False
        if now - self._asked < self.look_seconds:
            return False
        self._asked = now
        return not self.wants(self._block)

    def _hear(self, block: Block, reports: Reports) -> None:
        """Pass on the last report of what trains."""
        now = time.monotonic()
        if now - self._spoke >= self.report_seconds and os.getpid() == self._process:
            self._spoke = now
            self.say(REPORTED, Reported(block, reports.count, reports.medians))


def raised(error: BaseException) -> tuple[str, Exception, str]:
    """What a worker says of an exception of its trainer, with the traceback."""
    sent = error if isinstance(error, InputError) else TrainingError(one_line(error_text(error)))
    return RAISED, sent, traceback.format_exc()


@contextmanager
def no_output() -> Iterator[None]:
    """What is printed within is not shown."""
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # its close may fail
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        with suppress(OSError):  # the user's code has closed 1 or 2, which it then may be
            nowhere.close()


def _apart() -> set[int]:
    """What this worker has started in other sessions than its own, and where its parent has ended.

    What only a child of the worker has started there is the child's to end.
    """
    session, mark = os.getsid(0), os.environ.get(WORKER_VARIABLE, "")
    orphans = (child for child in children(os.getppid()) if is_of_worker(child, mark))
    mine = (*children(os.getpid()), *orphans)
    return {process for process in mine if session_of(process) not in (None, session)}


def _end_apart(before: set[int]) -> None:
    """End what trainings have started in other sessions, but for what was there before them."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := _apart() - before) and time.monotonic() < deadline:
        for process in left:
            kill_session_of(process)
        time.sleep(0.001)


def outcome_again(
    trainer: Trainer,
    blocks: Sequence[Block],
    until: float | None,
    begin: Callable[[Block], None] = lambda _: None,
) -> tuple[Outcome, float] | None:
    """Train the blocks of `Batches.again_after`, in this order.

    Returns:
        The outcome of the last one, which trains a second time, and the seconds of all; None if it
        has none.
    """
    started, result = time.perf_counter(), None
    for block in blocks:
        begin(block)
        with ending_at(until), no_output():
            if time_is_over():
                return None
            try:
                [result] = _train(trainer.knowing({}), [block])
            except Exception:  # a trainer's own, which its other blocks meet too
                return None
    if not isinstance(result, Outcome):
        return None
    return result, time.perf_counter() - started


# -------------------------------------------------------------------------------------------------
# A worker of the pool.

CONNECTION_CLOSED = 89
"""Exit code of a worker whose function has closed the connection to the driver."""

TRAINER, TRAIN, CANCEL, CALL = "trainer", "train", "cancel", "call"
"""Requests: a trainer to keep, and blocks for it to prepare; a batch; blocks whose results are not
wanted any more; a question."""

FORM, STACKING, READY = "form", "stacking", "ready"
"""Questions: how a function is called; how the trainer stacks a block; an answer once all that was
sent before is done."""

ANSWER = "answer"
"""What a worker sends beside what it says of a batch: see `serve`."""


class _PoolWorker(BatchWorker):
    """A worker at the end of a connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._cancelled: set[tuple[str, int]] = set()

    def say(self, what: str, *content: Any) -> None:
        end_fork_of(self._process)
        try:
            self._connection.send((what, *content))
        except OSError:
            os._exit(CONNECTION_CLOSED)

    def next_request(self) -> tuple[Any, ...] | None:
        """The next request; None if the driver has ended."""
        while not self._waiting:
            if not self._receive():
                return None
        return self._waiting.popleft()

    def wants(self, block: Block) -> bool:
        try:
            while self._connection.poll():
                if not self._receive():
                    break
        except OSError:
            os._exit(CONNECTION_CLOSED)
        return block_id(block) not in self._cancelled

    def _receive(self) -> bool:
        try:
            what, *content = self._connection.recv()
        except EOFError:
            return False
        except OSError:
            os._exit(CONNECTION_CLOSED)
        if what == CANCEL:
            self._cancelled.update(content[0])
        else:
            self._waiting.append((what, *content))
        return True


def serve(connection: Connection) -> None:
    """Do what the driver requests until it requests nothing more.

    `(TRAINER, pickled)`, of a trainer and blocks, is not answered: what goes wrong there is said of
    the next batch. `(TRAIN, blocks, options)`: answered by what `BatchWorker.train` says, which
    takes the options. `(CALL, question, argument)`: by `(ANSWER, value)`. What is raised instead is
    `(RAISED, error, traceback)`.
    """
    end_with_parent()  # Ray kills what its own worker has started: the template, not its forks
    mark_worker()
    worker = _PoolWorker(connection)
    trainer: Any = None
    refusal: BaseException | None = None  # why the trainer could not be received
    recursion_limit = sys.getrecursionlimit()
    while (request := worker.next_request()) is not None:
        what, *content = request
        try:
            if what == TRAINER:
                refusal = None
                trainer, blocks = pickle.loads(content[0])  # noqa: S301  # from our driver
                if trainer.traits.runs_programs:  # whose parent this process is
                    signal.signal(signal.SIGINT, partial(_pass_on_to, os.getppid()))
                use_threads(trainer.traits.threads)
                trainer.prepare(blocks)
            elif what == CALL:
                worker.say(ANSWER, _answer(trainer, *content))
            elif refusal is not None:
                raise refusal
            else:
                worker.train(trainer, content[0], **content[1])
        except BaseException as error:  # also SystemExit: the driver has to learn of it
            if what == TRAINER:
                refusal = error
            else:
                worker.say(*raised(error))
        sys.setrecursionlimit(recursion_limit)  # the user's code may have changed it


def _answer(trainer: Any, question: str, argument: Any) -> Any:
    if question == FORM:
        return form_of_source(argument)
    return trainer.stacking(argument) if question == STACKING else None
