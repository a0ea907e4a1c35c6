"""A process of its own for a user's function: whatever that does, this process lives on.

The function may end its process, start threads and children, close descriptors, or hang in C.
So no command calls it, nor imports its module, in the process that writes the results.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import reduce
from typing import Any, TypeAlias

from xortune.core.errors import InputError, TrainingError, named
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, OutOfTime, Stacking, Trainer, Unfinished
from xortune.driver.process import cloudpickle
from xortune.runs.evaluation import EncodedOutcome, encode_outcome
from xortune.trainers.command import signal_of
from xortune.trainers.function import CallForm, CustomTrainer, OnRaise, form_asked
from xortune.trainers.limits import THREADS, ending_at, time_ends, time_is_over, use_threads
from xortune.trainers.network import NetworkTrainer
from xortune.trainers.reaper import REAPER, kill_group
from xortune.trainers.source import FunctionSource, Given
from xortune.trainers.verdicts import one_line

Apart: TypeAlias = CustomTrainer | NetworkTrainer
"""What may train in a process of its own."""

CLOSED = 89
"""The exit code of a process whose function has closed the socket for its answers."""

HEADER = 8
"""Bytes before each answer, which say its length."""

LOOK = 0.1
"""Seconds between two looks whether the process lives: its children may hold its socket open."""

GRACE = 1.0
"""Seconds that it has to end by itself, with what the function registered for that."""

NO_RAY = {"RAY_RUNTIME_ENV_HOOK": "xortune.driver.ray_executor.refuse"}
"""Ray calls this before it starts. One that a function starts would listen on every address."""

BEGIN = """
import pickle, socket, sys
ours = socket.socket(fileno=int(sys.argv[1]))
asked = ours.makefile("rb")
sys.path[:] = pickle.load(asked)
from xortune.driver.subprocesses import serve
serve(asked, ours)
"""


class ProcessEnded(TrainingError):
    """The process ended, or was ended, before it had an answer."""


class CallTimedOut(ProcessEnded):
    """It was killed at its time limit."""


class _Account(Exception):
    """The traceback of what was raised in the other process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class TrainingProcess:
    """A process that imports a user's function, and trains with it.

    Args:
        source: of the function.
        threads: that torch has there.

    Raises:
        InputError: the function cannot be sent.
    """

    def __init__(self, source: FunctionSource | Given | None, threads: int) -> None:
        self.source, self.threads, self.owner = source, threads, os.getpid()
        self._sent: Apart | None = None
        self._begun = False  # something whose answer nobody has read
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = REAPER.popen(
                [sys.executable, "-c", BEGIN, str(theirs.fileno())],
                {**os.environ, THREADS: str(threads), **NO_RAY},
                stdout=_stderr(),  # stdout is for our results
                pass_fds=(theirs.fileno(),),
            )
        self.pid, self.alive = self._process.pid, True
        self._send(pickle.dumps(sys.path))

    def form(self) -> CallForm:
        """What the function takes; its module is imported for that.

        Raises:
            InputError: it cannot be imported, or not be called with a config and a seed.
            ProcessEnded: its import ended the process.
        """
        form: CallForm = self._answer("form", self.source)
        return form

    def begin(self, trainer: Apart, block: Block) -> None:
        """Have it prepare a `TorchTraining`, and try how this trains, while its caller goes on."""
        self._send(pickle.dumps(("trainer", _pickled(trainer), block)))
        self._sent, self._begun = trainer, True

    def prepare(self, trainer: Apart) -> None:
        """Import the function's module, and what else takes time before the first call.

        Raises:
            InputError: the function cannot be sent.
            ProcessEnded: the import ended the process.
        """
        if trainer is not self._sent:
            self._answer("trainer", trainer)
            self._sent = trainer

    def train(
        self,
        trainer: Apart,
        blocks: Sequence[Block],
        *,
        limit: float | None = None,
        encodes: bool = False,
    ) -> list[Any]:
        """What comes of blocks; the process is killed after `limit` seconds, if there is a limit.

        Each is trained by itself, and all are one request: short ones would take longer on the way.
        With `encodes` outcomes are encoded there: they are small on their way then.

        Raises:
            ProcessEnded: a seed ended the process.
            CallTimedOut: it was killed at the limit.
        """
        self.prepare(trainer)
        found: list[Any] = self._answer("train", (tuple(blocks), time_ends(), encodes), limit)
        return found

    def stacking(
        self, trainer: CustomTrainer, block: Block, *, limit: float | None = None
    ) -> Stacking | None:
        """What that process knows of stacks; the arguments are as those of `train`.

        Raises:
            ProcessEnded: looking for it ended the process.
        """
        self.prepare(trainer)
        found: Stacking | None = self._answer("stacking", block, limit)
        return found

    def close(self, *, grace: float = GRACE) -> None:
        """End it, with all that it has started."""
        if not self.alive:
            return
        self.alive = False
        self._socket.close()
        self._ends_within(grace)
        # Its number stays its own until it is waited for, so nobody else is killed.
        kill_group(self.pid, session=True)
        REAPER.forget(self.pid)
        self._process.wait()

    def _answer(self, what: str, given: Any, limit: float | None = None) -> Any:
        try:
            if self._begun:
                self._received(limit)
                self._begun = False
            self._send(pickle.dumps((what, _pickled(given))))
            answer, *account = pickle.loads(self._received(limit))  # noqa: S301  # of our own process
        except BaseException:  # Ctrl-C too: what it is at is of no use
            self.close(grace=0)
            raise
        if account:
            raise answer from _Account(*account)
        return answer

    def _send(self, request: bytes) -> None:
        self._socket.settimeout(None)
        with suppress(OSError):  # who reads the answer sees why
            self._socket.sendall(request)

    def _received(self, limit: float | None) -> bytes:
        over = None if limit is None else time.monotonic() + limit
        got = bytearray()
        while len(got) < HEADER or len(got) < HEADER + int.from_bytes(got[:HEADER]):
            left = LOOK if over is None else over - time.monotonic()
            self._socket.settimeout(min(LOOK, max(left, 0.001)))
            try:
                if not (chunk := self._socket.recv(1 << 20)):
                    raise ProcessEnded(self._why())
            except TimeoutError:
                if self._ends_within(0):
                    raise ProcessEnded(self._why()) from None
                if left <= 0:
                    raise CallTimedOut(f"took longer than {limit:g} s") from None
            except ConnectionError:
                raise ProcessEnded(self._why()) from None
            else:
                got += chunk
        return bytes(got[HEADER:])

    def _why(self) -> str:
        code = self._process.wait() if self._ends_within(GRACE) else CLOSED
        if code == CLOSED:
            return "closed files of its process that it had not opened"
        return f"ended its process ({f'exit code {code}' if code >= 0 else signal_of(code)})"

    def _ends_within(self, seconds: float) -> bool:
        """Whether it ends so soon, without waiting for it: its number stays its own."""
        over = time.monotonic() + seconds
        while self._process.returncode is None:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            if time.monotonic() >= over:
                return False
            time.sleep(0.01)
        return True


def _stderr() -> int:
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def _pickled(given: Any) -> bytes:
    source = given.source if isinstance(given, CustomTrainer) else given
    if not isinstance(source, Given):
        return pickle.dumps(given)
    try:
        pickled: bytes = cloudpickle().dumps(given)
    except Exception as error:
        raise InputError(
            f"{source.label} cannot be sent to a worker ({type(error).__name__}: {error})",
            field="train",
            allowed="a function that can be pickled together with everything it uses",
            fix="create locks, files and connections inside the function",
        ) from None
    return pickled


def refuse_unsendable(trainer: Trainer) -> None:
    """Return if a trainer can be sent to a worker.

    Raises:
        InputError: it is a function that cannot.
    """
    if isinstance(trainer, CustomTrainer):
        _pickled(trainer)


def serve(asked: Any, ours: socket.socket) -> None:
    """What runs in the other process: it answers until nobody asks any more."""
    depth = sys.getrecursionlimit()
    trainer: Apart | None = None
    while True:
        try:
            # From the process that began this one.
            what, given, *tried = pickle.load(asked)  # noqa: S301
        except EOFError:
            return
        except (OSError, ValueError):
            os._exit(CLOSED)
        answer: tuple[Any, ...]
        try:
            found = pickle.loads(given)  # noqa: S301
            if what == "form":
                answer = (form_asked(found),)
            elif what == "trainer":
                trainer = found
                use_threads(found.threads)
                _prepare(found, tried)
                answer = (None,)
            elif what == "stacking":
                answer = (trainer.stacking(found) if isinstance(trainer, CustomTrainer) else None,)
            else:
                assert trainer is not None
                blocks, until, encodes = found
                with ending_at(until):
                    results = _trained(trainer, blocks)
                answer = (list(map(encoded, blocks, results)) if encodes else results,)
        except BaseException as error:  # whatever it is, ours must hear of it
            told = error if isinstance(error, InputError) else TrainingError(one_line(named(error)))
            answer = told, traceback.format_exc()
        sys.setrecursionlimit(depth)  # the function may have changed it
        packed = pickle.dumps(answer)
        try:
            ours.sendall(len(packed).to_bytes(HEADER) + packed)
        except OSError:
            os._exit(CLOSED)


def _prepare(trainer: Apart, tried: Sequence[Block]) -> None:
    """Import a function, or load the network's compiled engine, before the first is asked for."""
    if isinstance(trainer, NetworkTrainer):
        trainer.train(tried)
        gc.freeze()  # modules are no garbage: looking through them took a tenth of the Python here
        return
    with suppress(Exception):  # the first call says so
        trainer.source.function()
    for block in tried:
        trainer.stacking(block)


def encoded(
    block: Block, result: Outcome | EncodedOutcome | TrainingError
) -> EncodedOutcome | TrainingError:
    """What came of a block, with its outcome encoded, if it is not."""
    if isinstance(result, Outcome):
        return encode_outcome(block, result)
    if isinstance(result, Unfinished) and isinstance(result.outcome, Outcome):
        first = Block(block.point, block.first, result.outcome.n)
        return type(result)(encode_outcome(first, result.outcome))
    return result


def _trained(trainer: Apart, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
    if isinstance(trainer, NetworkTrainer) or trainer.form.stacked:
        return trainer.train(blocks)
    return [OutOfTime() if time_is_over() else trainer.train([block])[0] for block in blocks]


# -------------------------------------------------------------------------------------------------
# The process that each thread keeps.

_kept: dict[int, TrainingProcess] = {}
"""By the number of the thread: for who ends the process of another thread."""

_spares: list[TrainingProcess] = []
"""For threads that have none yet; the last one is taken first."""

SPARES = 3
"""So many are begun before there is something for them, at most."""


def process_for(source: FunctionSource | Given | None, threads: int = 1) -> TrainingProcess:
    """The process of a function; it is kept until another one is asked for, or `end_process`.

    Raises:
        InputError: the function cannot be sent.
    """
    kept = _kept.get(threading.get_ident())
    own = kept is not None and kept.owner == os.getpid()  # not of one that this was forked from
    if (
        kept is None
        or not own
        or not kept.alive
        or (kept.source, kept.threads) != (source, threads)
    ):
        end_process(threading.get_ident())
        kept = _spare(source, threads) or TrainingProcess(source, threads)
        _kept[threading.get_ident()] = kept
    return kept


def _spare(source: FunctionSource | Given | None, threads: int) -> TrainingProcess | None:
    while _spares:
        with suppress(IndexError):  # another thread was faster
            one = _spares.pop()
            if one.alive and one.owner == os.getpid():
                if (one.source, one.threads) == (source, threads):
                    return one
                one.close(grace=0)
    return None


def start_spares(trainer: Apart, block: Block, count: int) -> None:
    """Have so many processes for threads to come; each tries how the block's config trains."""
    source = trainer.source if isinstance(trainer, CustomTrainer) else None
    for _ in range(min(count, SPARES) - len(_spares)):
        _spares.append(TrainingProcess(source, trainer.threads))
        _spares[-1].begin(trainer, block)


def spares_are_ready() -> bool:
    """Whether each has tried what it was given, or has ended."""
    sockets = [one._socket for one in _spares]
    return len(select.select(sockets, [], [], 0)[0]) == len(sockets)


def keep_as_spare() -> None:
    """Leave the process that this thread keeps to the next one that asks."""
    if (kept := _kept.pop(threading.get_ident(), None)) is not None:
        _spares.append(kept)


def end_process(thread: int | None = None) -> None:
    """End the process that a thread keeps; without a thread this one's, and those of nobody."""
    kept = _kept.pop(threading.get_ident() if thread is None else thread, None)
    if kept is not None and kept.owner == os.getpid():
        kept.close()
    while thread is None and _spares:
        if (one := _spares.pop()).owner == os.getpid():
            one.close(grace=0)  # it may be importing


def kill_process_of(thread: int) -> None:
    """End the process that another thread keeps; a block that is trained in it has no outcome."""
    if (kept := _kept.get(thread)) is not None and kept.alive:
        kill_group(kept.pid, session=True)


@contextmanager
def ending_process() -> Iterator[None]:
    """The process that is kept meanwhile ends with this."""
    try:
        yield
    finally:
        end_process()


# -------------------------------------------------------------------------------------------------
# Blocks that are trained in it.


def train_in_subprocess(
    trainer: Apart,
    blocks: Sequence[Block],
    *,
    most: float | None = None,
    encodes: bool = False,
) -> list[Any]:
    """What comes of blocks, trained in the process of the trainer's function.

    Where seeds have a time and their function does not report, each is called for alone, and the
    process is killed when the time is over: nobody else could look at it.

    Args:
        trainer: of a user's function.
        blocks: what is trained.
        most: seconds for all of them, where seeds have no such time; None for any time.
        encodes: whether outcomes may be encoded already.

    Raises:
        InputError: the function cannot be sent.
        ProcessEnded: a seed ended the process; not where seeds have such a time.
    """
    if isinstance(trainer, CustomTrainer) and kills_late(trainer):
        return [_killed_late(trainer, block) for block in blocks]
    source = trainer.source if isinstance(trainer, CustomTrainer) else None
    process = process_for(source, trainer.threads)
    return process.train(trainer, blocks, limit=most, encodes=encodes)


def stacking_in_subprocess(
    trainer: CustomTrainer, block: Block, *, most: float | None = None
) -> Stacking | None:
    """What this thread's process of a `TorchTraining` knows of stacks."""
    if trainer.form.stacked and trainer.on_raise is None:
        with suppress(ProcessEnded):
            process = process_for(trainer.source, trainer.threads)
            return process.stacking(trainer, block, limit=most)
    return None


def _killed_late(trainer: CustomTrainer, block: Block) -> Outcome | TrainingError:
    if time_is_over():
        return OutOfTime()
    if trainer.form.many or trainer.form.stacked:
        return _in_time(trainer, block)
    found: list[Outcome | TrainingError] = []
    for seed in block.seeds:
        if time_is_over():
            whole = merged_outcome(found) if found else None
            return whole if isinstance(whole, TrainingError) else OutOfTime(whole)
        found.append(_in_time(trainer, Block(block.point, seed, 1)))
    return merged_outcome(found)


def train_isolating_crashes(trainer: CustomTrainer, block: Block) -> Outcome | TrainingError:
    """As `train_in_subprocess`, but a seed that ends its process has crashed, and the others go on.

    Raises:
        InputError: the function cannot be sent.
    """
    found: Outcome | TrainingError
    try:
        [found] = train_in_subprocess(trainer, [block])
    except ProcessEnded as error:
        if time_is_over():  # it was ended, and is no seed's failure
            return OutOfTime()
        if block.count == 1:
            return Outcome.crashed(block.seeds, 0, str(error))
    else:
        return found
    half = block.count // 2
    parts = (
        Block(block.point, block.first, half),
        Block(block.point, block.first + half, block.count - half),
    )
    return merged_outcome([train_isolating_crashes(trainer, part) for part in parts])


def in_this_process(trainer: Trainer, on_raise: OnRaise) -> Trainer:
    """The trainer as it trains in the process of the user, who may debug it.

    Of a user's function `on_raise` is called with what a seed raises.

    Raises:
        InputError: its seeds have a time that only the end of their process enforces.
    """
    if not isinstance(trainer, CustomTrainer):
        return trainer
    if kills_late(trainer):
        raise InputError(
            f"{trainer.limit:g} s, but the function reports nothing while it trains",
            field="timeout",
            allowed="with --workers 0 only a function that yields or takes `report`",
            fix="leave --workers out: then a seed that takes longer is stopped with its process",
        )
    return replace(trainer, on_raise=on_raise)


def kills_late(trainer: Trainer) -> bool:
    """Whether its seeds have a time that only the end of their process enforces."""
    return isinstance(trainer, CustomTrainer) and trainer.limit is not None and not trainer.reports


def _in_time(trainer: CustomTrainer, block: Block) -> Outcome | TrainingError:
    """What comes of seeds that are called for at once; crashed, if they take too long."""
    n = block.count
    assert trainer.limit is not None
    try:
        process = process_for(trainer.source, trainer.threads)
        found: Outcome | TrainingError
        [found] = process.train(trainer, [block], limit=trainer.limit * n)
    except CallTimedOut:
        each = f" for each of {n} seeds" if n > 1 else ""
        return Outcome.crashed(block.seeds, 0, f"took longer than {trainer.limit:g} s{each}")
    except ProcessEnded as error:
        if n == 1:
            return Outcome.crashed(block.seeds, 0, str(error))
    else:
        return found
    return merged_outcome([_in_time(trainer, Block(block.point, seed, 1)) for seed in block.seeds])


def merged_outcome(found: Sequence[Outcome | TrainingError]) -> Outcome | TrainingError:
    """The outcomes of seeds, one after the other, as one; or the first error."""
    for one in found:
        if isinstance(one, TrainingError):
            return one
    return reduce(Outcome.merge, (one for one in found if isinstance(one, Outcome)))
