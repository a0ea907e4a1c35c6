"""The processes of this machine that train, as the driver sees them.

A user's code may end its process, start threads and children, close descriptors, or hang in C. So
no command calls it, nor imports its module, in the process that writes the results. Nor can the
process pools of Python and of other packages do this: `multiprocessing` and `pebble` import the
main module of the user's program in each worker, which so needs a guard around its first line;
`concurrent.futures` and `loky` give up all workers when one dies.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial, reduce
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, TypeAlias

import cloudpickle

from xortune.core.errors import InputError, TrainingError
from xortune.core.forks import ending_forks
from xortune.core.outcome import Outcome
from xortune.core.system import kill_group, wait_until_ended
from xortune.core.trainer import Block, Stacking, Trainer
from xortune.trainers.call_form import CallForm
from xortune.trainers.command import signal_of
from xortune.trainers.function import CustomTrainer, OnRaise
from xortune.trainers.limits import THREADS, keeping_descriptors
from xortune.trainers.source import AnySource, packages_of
from xortune.training.batches import BATCH_SECONDS
from xortune.training.jobs import BEGUN, DONE, RAISED, TRAINED, block_id, timed_out
from xortune.training.process import raise_lost_interrupt
from xortune.training.worker import (
    ANSWER,
    CALL,
    CANCEL,
    CONNECTION_CLOSED,
    ENDED,
    FORM,
    KILL,
    PROGRAM,
    READY,
    REPORT,
    REQUEST,
    STACKING,
    START,
    STARTED,
    TRAIN,
    TRAINER,
)

NO_RAY = {"RAY_RUNTIME_ENV_HOOK": "xortune.training.ray_worker.refuse"}
"""Ray calls this before it starts. A Ray started by a function would listen on every address."""

EARLY_SECONDS = BATCH_SECONDS
"""Where the check's seed takes longer, the other workers begin with the search. Its seeds are sent
one by one then, so that what they begin with is what the search asks for."""

END_SECONDS = 20.0
"""Time for the template to end the workers and itself; then the driver kills all of them."""


class ProcessEnded(TrainingError):
    """The process ended, or was killed, before it answered."""


class CallTimedOut(ProcessEnded):
    """The process was killed at its time limit."""


class _RemoteTraceback(Exception):
    """The traceback of an exception in a worker, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Processes:
    """A template and the workers that it has forked; see `training.worker`.

    Args:
        trainer: decides what the template imports, and the threads of torch.
        imports: whether the template imports the packages of the user's code.
    """

    def __init__(self, trainer: Trainer, *, imports: bool = True) -> None:
        self.owner = os.getpid()
        source, threads = _environment(trainer)
        self._pickled: tuple[Trainer, bytes] | None = None  # the last one, for the next workers
        packages = packages_of(source) if source is not None and imports else ()
        asked = {
            "path": sys.path,
            "imports": packages,
            "engine": trainer.traits.is_compiled,
        }
        self.control, theirs = socket.socketpair()
        with theirs:
            self._template = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", PROGRAM, str(theirs.fileno()), json.dumps(asked)],
                env={**os.environ, THREADS: str(threads), **NO_RAY},
                stdin=subprocess.DEVNULL,
                stdout=_stderr(),  # stdout is for the command's own results
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.workers: dict[int, Worker] = {}
        # Those that train seeds of a search while its check goes on.
        self.early: dict[tuple[str, int], Worker] = {}
        self._started, self._is_ending = 0, False

    @property
    def is_usable(self) -> bool:
        """Whether it can start workers: it is of this process, and its template lives."""
        is_mine = self.owner == os.getpid() and not self._is_ending
        return is_mine and self._template.poll() is None

    def start(self) -> Worker:
        """Start a worker; what is sent to it waits until it is there."""
        self._started += 1
        ours, theirs = Pipe()
        worker = Worker(self, self._started, ours)
        self.workers[worker.number] = worker
        with theirs, suppress(OSError):  # of a template that has ended; the worker has then too
            request = REQUEST.pack(START, worker.number)
            socket.send_fds(self.control, [request], [theirs.fileno()])
        return worker

    def take(self) -> Worker:
        """A worker that has nothing to do."""
        idle = (worker for worker in self.workers.values() if worker.is_idle)
        return next(idle, None) or self.start()

    def begin_early(self, trainer: Trainer, blocks: Sequence[Block]) -> None:
        """Have idle workers train single seeds that a search will ask for; see `take_early`."""
        idle = [worker for worker in self.workers.values() if worker.is_idle]
        for worker, block in zip(idle, blocks, strict=False):
            worker.train(trainer, [block], None, encodes=True)
            self.early[block_id(block)] = worker

    def take_early(self, blocks: Sequence[Block]) -> Worker | None:
        """The worker that already trains a batch; None if none does.

        One of those whose seed nobody has asked for ends then, as its batch needs a worker.
        """
        if not self.early:
            return None
        name = block_id(blocks[0])
        if len(blocks) == blocks[0].count == 1 and name in self.early:
            return self.early.pop(name)
        if not any(worker.is_idle for worker in self.workers.values()):
            self.early.popitem()[1].kill()
        return None

    def pickled(self, trainer: Trainer, blocks: tuple[Block, ...]) -> bytes:
        """A trainer with blocks to prepare, pickled once for all workers where there are none."""
        if blocks:
            return pickled(trainer, blocks)
        if self._pickled is None or self._pickled[0] is not trainer:
            self._pickled = trainer, pickled(trainer)
        return self._pickled[1]

    def kill(self, worker: Worker) -> None:
        """Kill a worker and all that it has started; `listen` tells its end."""
        with suppress(OSError):
            self.control.sendall(REQUEST.pack(KILL, worker.number))

    def listen(self, seconds: float = 0.0) -> None:
        """Note what the template reports of its workers, and wait so long for a first report."""
        while wait([self.control], seconds):
            seconds = 0.0
            try:
                report = self.control.recv(REPORT.size, socket.MSG_WAITALL)
            except OSError:
                report = b""
            if len(report) < REPORT.size:
                self._lose_template()
                return
            what, number, value = REPORT.unpack(report)
            if (worker := self.workers.get(number)) is None:
                continue
            if what == STARTED:
                worker.pid = value
            elif what == ENDED:
                worker.code = value
                del self.workers[number]

    def _lose_template(self) -> None:
        """The template has ended, perhaps by what it imported: its workers end too."""
        for worker in self.workers.values():
            if worker.pid is not None:
                kill_group(worker.pid, session=True)
            worker.code = self._template.wait()
        self.workers.clear()

    def let_go(self) -> None:
        """Have the workers and the template end, without waiting: they may take a second."""
        if self.owner != os.getpid() or self._is_ending:
            return
        self.listen()  # the process ids of workers, should the template not end them
        for worker in list(self.workers.values()):
            if not worker.is_idle:
                self.kill(worker)
            worker.connection.close()
        self.control.close()
        self._is_ending = True

    def close(self) -> None:
        """End the workers, which may run the exit handlers of the user's code, and the template."""
        if self.owner != os.getpid():
            return
        self.let_go()
        code = wait_until_ended(self._template, END_SECONDS)
        if code is None:
            self._template.kill()
        if code != 0:
            self._lose_template()
        self.workers.clear()


class Worker:
    """A process that trains.

    Attributes:
        number: of the worker among those of its template.
        connection: to it.
        pid: its process id, once it is known.
        code: its exit code, once it has ended.
        is_idle: whether it may be given something to do.
    """

    def __init__(self, processes: Processes, number: int, connection: Connection) -> None:
        self.processes, self.number, self.connection = processes, number, connection
        self.pid: int | None = None
        self.code: int | None = None
        self.is_idle = True
        self._sent: Trainer | None = None

    def prepare(self, trainer: Trainer, blocks: Sequence[Block] = ()) -> None:
        """Send the trainer, unless it has it, without waiting.

        The worker imports the user's code, and tries how `blocks` of a `TorchTraining` train.

        Raises:
            InputError: the function cannot be sent.
        """
        if trainer is not self._sent:
            self._send(TRAINER, self.processes.pickled(trainer, tuple(blocks)))
            self._sent = trainer

    def train(
        self,
        trainer: Trainer,
        blocks: Sequence[Block],
        until: float | None,
        *,
        encodes: bool,
        silent: bool = False,
        again: Sequence[Block] = (),
    ) -> None:
        """Send a batch, without waiting; with `silent` nobody sees what it prints.

        After the batch the worker trains the blocks of `again`; see `Batches.again_after`.
        """
        self.prepare(trainer)
        self.is_idle = False
        options = {"until": until, "again": again, "is_encoded": encodes, "silent": silent}
        self._send(TRAIN, tuple(blocks), options)

    def cancel(self, blocks: Sequence[tuple[str, int]]) -> None:
        """Tell it which blocks are not wanted any more."""
        self._send(CANCEL, blocks)

    def ask(self, question: str, argument: Any, limit: float | None = None) -> Any:
        """The answer to a question.

        Raises:
            InputError, TrainingError: what is asked raised it.
            ProcessEnded: the worker has ended.
            CallTimedOut: it was killed after `limit` seconds.
        """
        self.is_idle = False
        self._send(CALL, question, argument)
        deadline = math.inf if limit is None else time.monotonic() + limit
        [*_, answer] = self._messages(ANSWER, deadline, limit)
        return answer[1]

    def results(
        self,
        trainer: Trainer,
        blocks: Sequence[Block],
        limit: float | None = None,
        *,
        silent: bool = False,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """One result for each block, of one seed or of a single call; raises what `ask` raises.

        `meanwhile` is called after `EARLY_SECONDS`, unless the results are there.
        """
        self.train(trainer, blocks, None, encodes=False, silent=silent)
        messages = self._messages(DONE, math.inf, limit, meanwhile)
        return [result for what, *said in messages if what == TRAINED for result in said[1]]

    def _messages(
        self,
        end: str,
        deadline: float,
        limit: float | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """What the worker says, up to `end`; `limit` counts again from where a training begins.

        After Ctrl-C nobody reads the rest: as the worker is not idle, `let_go` kills it.
        """
        early = math.inf if meanwhile is None else time.monotonic() + EARLY_SECONDS
        what = ""
        while what != end:
            raise_lost_interrupt()
            left = max(0.0, min(deadline, early) - time.monotonic())
            wait([self.connection, self.processes.control], min(left, 1.0))
            if (message := self.read()) is None:
                self.processes.listen()
                if self.code is not None:
                    raise ProcessEnded(self.reason)
                if meanwhile is not None and time.monotonic() >= early:
                    meanwhile()
                    early = math.inf
                if time.monotonic() >= deadline:
                    self.kill()
                    raise CallTimedOut(f"took longer than {limit:g} s")
                continue
            what = message[0]
            if what == RAISED:
                self.is_idle = True
                raise message[1] from _RemoteTraceback(message[2])
            if what == BEGUN and limit is not None:
                deadline = time.monotonic() + limit
            yield message
        self.is_idle = True

    def read(self) -> tuple[Any, ...] | None:
        """A message that has arrived; None if there is none."""
        try:
            if self.connection.poll():
                message: tuple[Any, ...] = self.connection.recv()
                return message
        except (EOFError, OSError):  # it has closed its end: it has ended, or will
            if self.code is None:
                self.processes.listen(0.05)
        return None

    def kill(self) -> None:
        """Kill it and all that it has started, and wait until it has ended."""
        self.is_idle = False
        self.processes.kill(self)
        while self.code is None and self.processes.is_usable:
            self.processes.listen(1.0)
        self.connection.close()

    @property
    def reason(self) -> str:
        """Why it has ended."""
        if self.code == CONNECTION_CLOSED:
            return "closed files of its process that it had not opened"
        code = self.code or 0
        return f"ended its process ({f'exit code {code}' if code >= 0 else signal_of(code)})"

    def _send(self, *request: Any) -> None:
        with suppress(OSError):  # reading tells that it has ended
            self.connection.send(request)


def _stderr() -> int:
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def pickled(trainer: Trainer, blocks: tuple[Block, ...] = ()) -> bytes:
    """A trainer and blocks as bytes; a function from Python together with what it uses.

    Raises:
        InputError: the function cannot be pickled.
    """
    try:
        content: bytes = cloudpickle.dumps((trainer, blocks))
    except Exception as error:
        label = trainer.describe()["trainer"]
        raise InputError(
            f"{label} cannot be sent to a worker ({type(error).__name__}: {error})",
            field="train",
            allowed="a function that can be pickled together with everything it uses",
            fix="create locks, files and connections inside the function, or give workers=0, which "
            "calls it in this process",
        ) from None
    return content


# -------------------------------------------------------------------------------------------------
# The processes of this thread: the check of a training begins them, the search goes on with them.

_kept = threading.local()
"""Its `processes`: those of this thread by what they are made for."""

Environment: TypeAlias = tuple[AnySource | None, int]
"""What processes are made for: the source of a function, and the threads of torch."""


def _environment(trainer: Trainer) -> Environment:
    return trainer.traits.source, trainer.traits.threads


def processes_for(trainer: Trainer) -> Processes:
    """The processes of this thread for a trainer; they are kept until `end_processes`."""
    kept: dict[Environment, Processes] = vars(_kept).setdefault("processes", {})
    environment = _environment(trainer)
    known = kept.get(environment)
    if known is None or not known.is_usable:
        # A template that has ended may have imported what ended it.
        has_died = known is not None and known.owner == os.getpid()
        if known is not None:
            known.close()
        known = kept[environment] = Processes(trainer, imports=not has_died)
    return known


def let_processes_go() -> None:
    """Have the processes of this thread end, while it goes on with other work."""
    for processes in vars(_kept).get("processes", {}).values():
        processes.let_go()


def end_processes() -> None:
    """End the processes of this thread, and wait until they have."""
    kept: dict[Environment, Processes] = vars(_kept).pop("processes", {})
    for processes in kept.values():
        processes.close()


@contextmanager
def ending_processes() -> Iterator[None]:
    """End this thread's processes on exit; a fork of this process that comes there ends itself.

    What trains in this process begins with the descriptors 0, 1 and 2 as they are now.
    """
    try:
        with keeping_descriptors(), ending_forks():
            yield
    finally:
        end_processes()


# -------------------------------------------------------------------------------------------------
# One call: the check of a training.


def form_in_process(trainer: CustomTrainer) -> CallForm:
    """How a function is called; a worker imports its module.

    Raises:
        InputError: it cannot be imported, or not be called with a config and a seed.
        ProcessEnded: its import ended the worker.
    """
    form: CallForm = processes_for(trainer).take().ask(FORM, trainer.source)
    return form


PREPARED = 4
"""Maximum number of workers that try how seeds train in stacks while the first one is checked: that
takes seconds of a core."""


def prepare_processes(trainer: Trainer, block: Block, count: int) -> None:
    """Have `count` workers import the user's code, or up to `PREPARED` try how a block stacks.

    It returns when the first one has done so.
    """
    processes = processes_for(trainer)
    stacks = trainer.traits.stacks_seeds
    others = range(min(count, PREPARED if stacks else count) - 1)
    workers = [processes.take()] + [processes.start() for _ in others]
    for worker in workers:
        worker.prepare(trainer, [block] if stacks else ())
    with suppress(ProcessEnded):  # the call raises it again
        workers[0].ask(READY, None)


def train_in_process(
    trainer: Trainer,
    block: Block,
    most: float | None = None,
    *,
    silent: bool = False,
    next_blocks: Sequence[Block] = (),
) -> Outcome | TrainingError:
    """The result of a block that a worker trains in one call, in `most` seconds.

    A seed alone that exceeds its own time limit has crashed; several together are an error.
    With `silent` nobody sees what it prints. If it takes long, the other workers begin with
    `next_blocks`, of one seed each.

    Raises:
        InputError: the function cannot be sent.
    """
    limit = trainer.traits.killed_after
    given = most if limit is None else limit * block.count
    try:
        processes = processes_for(trainer)
        worker = processes.take()
        meanwhile = partial(processes.begin_early, trainer, next_blocks) if next_blocks else None
        results = worker.results(trainer, [block], given, silent=silent, meanwhile=meanwhile)
    except CallTimedOut as error:
        return error if limit is None or block.count > 1 else timed_out(block, limit)
    except ProcessEnded as error:
        return error
    failed = (result for result in results if isinstance(result, TrainingError))
    return next(failed, None) or reduce(Outcome.merge, results)


def stacking_in_process(
    trainer: Trainer, block: Block, most: float | None = None
) -> Stacking | None:
    """How the config of a `TorchTraining` trains in stacks; None for other trainers."""
    stacking: Stacking | None = None
    if trainer.traits.stacks_seeds and trainer.traits.own_process:
        with suppress(ProcessEnded):
            worker = processes_for(trainer).take()
            worker.prepare(trainer)
            stacking = worker.ask(STACKING, block, most)
    return stacking


def in_this_process(trainer: Trainer, on_raise: OnRaise = lambda _: None) -> Trainer:
    """The trainer for training in this process, where a debugger can follow it.

    If it is a user's function, `on_raise` gets the exceptions of its seeds.

    Raises:
        InputError: its seeds have a time limit that only killing their process enforces.
    """
    if (limit := trainer.traits.killed_after) is not None:
        raise InputError(
            f"{limit:g} s, but the function reports nothing while it trains",
            field="timeout",
            allowed="with --workers 0 only a function that yields or takes `report`",
            fix="leave --workers out: then a seed that takes longer is stopped with its process",
        )
    return trainer.debugged(on_raise)
