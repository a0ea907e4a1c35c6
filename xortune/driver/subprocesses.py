"""Subprocesses that train with a user's function, so that it cannot harm this process.

The function may end its process, start threads and children, close descriptors, or hang in C.
So no command calls it, nor imports its module, in the process that writes the results.
"""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import reduce
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, OutOfTime, Stacking, Trainer, Unfinished, has
from xortune.driver.process import cloudpickle
from xortune.runs.evaluation import EncodedOutcome, encode_outcome
from xortune.trainers.command import signal_of
from xortune.trainers.function import CallForm, CustomTrainer, OnRaise, form_of_source
from xortune.trainers.limits import THREADS, current_deadline, ending_at, time_is_over, use_threads
from xortune.trainers.reaper import REAPER, kill_group
from xortune.trainers.source import AnySource, FunctionObject
from xortune.trainers.verdicts import one_line

SOCKET_CLOSED = 89
"""Exit code of a subprocess whose function has closed the socket for its answers."""

POLL_SECONDS = 0.1
"""Time between two checks that the subprocess lives: its children may hold its socket open."""

GRACE_SECONDS = 1.0
"""Time for a subprocess to end by itself and run the function's exit handlers."""

NO_RAY = {"RAY_RUNTIME_ENV_HOOK": "xortune.driver.ray_executor.refuse"}
"""Ray calls this before it starts. A Ray started by a function would listen on every address."""

PROGRAM = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from xortune.driver.subprocesses import serve
serve(connection)
"""


class ProcessEnded(TrainingError):
    """The subprocess ended, or was killed, before it answered."""


class CallTimedOut(ProcessEnded):
    """The subprocess was killed at its time limit."""


class _RemoteTraceback(Exception):
    """The traceback of an exception in the subprocess, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class TrainingProcess:
    """A subprocess that trains with a user's function, which it imports, or the built-in network.

    Args:
        trainer: decides the function, if there is one, and the threads of torch.

    Raises:
        InputError: the function cannot be sent.
    """

    def __init__(self, trainer: Trainer) -> None:
        (self.source, self.threads), self.owner = _environment(trainer), os.getpid()
        self._sent: Trainer | None = None
        self._has_unread_answer = False
        self._connection, theirs = Pipe()
        with theirs:
            self._process = REAPER.popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
                {**os.environ, THREADS: str(self.threads), **NO_RAY},
                stdout=_stderr(),  # stdout is for the command's own results
                pass_fds=(theirs.fileno(),),
            )
        self.pid, self.alive = self._process.pid, True
        self._send(sys.path)

    def form(self) -> CallForm:
        """How the function is called; its module is imported for that.

        Raises:
            InputError: it cannot be imported, or not be called with a config and a seed.
            ProcessEnded: its import ended the subprocess.
        """
        form: CallForm = self._request("form", self.source)
        return form

    def begin(self, trainer: Trainer, block: Block) -> None:
        """Start to prepare for `trainer` and to try how `block` trains, without waiting."""
        self._send(("trainer", _pickled(trainer), block))
        self._sent, self._has_unread_answer = trainer, True

    def prepare(self, trainer: Trainer) -> None:
        """Import the function's module, and do what else takes time before the first call.

        Raises:
            InputError: the function cannot be sent.
            ProcessEnded: the import ended the subprocess.
        """
        if trainer is not self._sent:
            self._request("trainer", trainer)
            self._sent = trainer

    def train(
        self,
        trainer: Trainer,
        blocks: Sequence[Block],
        *,
        limit: float | None = None,
    ) -> list[Any]:
        """One result for each block; the subprocess is killed after `limit` seconds, if given.

        All blocks are one request, as messages would take longer than short trainings. Those of the
        built-in network are encoded, which makes the message small.

        Raises:
            ProcessEnded: a seed ended the subprocess.
            CallTimedOut: it was killed at the limit.
        """
        self.prepare(trainer)
        results: list[Any] = self._request("train", (tuple(blocks), current_deadline()), limit)
        return results

    def stacking(
        self, trainer: Trainer, block: Block, *, limit: float | None = None
    ) -> Stacking | None:
        """How the block's config trains in stacks; arguments as those of `train`.

        Raises:
            ProcessEnded: finding out ended the subprocess.
        """
        self.prepare(trainer)
        stacking: Stacking | None = self._request("stacking", block, limit)
        return stacking

    def close(self, *, grace: float = GRACE_SECONDS) -> None:
        """End the subprocess with all that it has started, after `grace` seconds at most."""
        if not self.alive:
            return
        self.alive = False
        self._connection.close()
        self._ends_within(grace)
        # The pid is not reused before `wait`, so this kills no other process.
        kill_group(self.pid, session=True)
        REAPER.forget(self.pid)
        self._process.wait()

    def _request(self, what: str, argument: Any, limit: float | None = None) -> Any:
        try:
            if self._has_unread_answer:
                self._receive(limit)
                self._has_unread_answer = False
            self._send((what, _pickled(argument)))
            answer, *trace = self._receive(limit)
        except BaseException:  # also Ctrl-C: nobody will read the answer
            self.close(grace=0)
            raise
        if trace:
            raise answer from _RemoteTraceback(*trace)
        return answer

    def _send(self, request: Any) -> None:
        with suppress(OSError):  # `_receive` raises the reason
            self._connection.send(request)

    def _receive(self, limit: float | None) -> tuple[Any, ...]:
        """The answer, or an error and its traceback."""
        deadline = math.inf if limit is None else time.monotonic() + limit
        while not self._connection.poll(min(POLL_SECONDS, max(0.0, deadline - time.monotonic()))):
            if self._ends_within(0):
                raise ProcessEnded(self._reason())
            if time.monotonic() >= deadline:
                raise CallTimedOut(f"took longer than {limit:g} s")
        try:
            answer: tuple[Any, ...] = self._connection.recv()
        except (EOFError, OSError):
            raise ProcessEnded(self._reason()) from None
        return answer

    def _reason(self) -> str:
        code = self._process.wait() if self._ends_within(GRACE_SECONDS) else SOCKET_CLOSED
        if code == SOCKET_CLOSED:
            return "closed files of its process that it had not opened"
        return f"ended its process ({f'exit code {code}' if code >= 0 else signal_of(code)})"

    def _ends_within(self, seconds: float) -> bool:
        """Whether it ends so soon. Its pid stays reserved until `wait`."""
        deadline = time.monotonic() + seconds
        while self._process.returncode is None:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True


def _stderr() -> int:
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def _pickled(argument: Any) -> bytes:
    source = getattr(argument, "source", argument)  # of a trainer
    if not isinstance(source, FunctionObject):
        return pickle.dumps(argument)
    try:
        pickled: bytes = cloudpickle().dumps(argument)
    except Exception as error:
        raise InputError(
            f"{source.label} cannot be sent to a worker ({type(error).__name__}: {error})",
            field="train",
            allowed="a function that can be pickled together with everything it uses",
            fix="create locks, files and connections inside the function",
        ) from None
    return pickled


def refuse_unsendable(trainer: Trainer) -> None:
    """Raise an InputError if the trainer is a function that cannot be sent to a worker."""
    if _environment(trainer)[0] is not None:
        _pickled(trainer)


def serve(connection: Connection) -> None:
    """Answer requests until there are no more: the main loop of the subprocess."""
    recursion_limit = sys.getrecursionlimit()
    trainer: Any = None
    while True:
        try:
            what, pickled, *blocks_to_try = connection.recv()
        except EOFError:
            return
        except OSError:
            os._exit(SOCKET_CLOSED)
        answer: tuple[Any, ...]
        try:
            argument = pickle.loads(pickled)  # noqa: S301  # from our parent
            if what == "form":
                answer = (form_of_source(argument),)
            elif what == "trainer":
                trainer = argument
                use_threads(argument.threads)
                trainer.prepare(blocks_to_try)
                answer = (None,)
            elif what == "stacking":
                answer = (trainer.stacking(argument),)
            else:
                blocks, deadline = argument
                with ending_at(deadline):
                    results = train_in_time(trainer, blocks)
                sends = not has(trainer, "users_code")
                answer = (list(map(encoded, blocks, results)) if sends else results,)
        except BaseException as error:  # also SystemExit: the parent has to learn of it
            reason = one_line(error_text(error))
            sent = error if isinstance(error, InputError) else TrainingError(reason)
            answer = sent, traceback.format_exc()
        sys.setrecursionlimit(recursion_limit)  # the function may have changed it
        try:
            connection.send(answer)
        except OSError:
            os._exit(SOCKET_CLOSED)


def encoded(
    block: Block, result: Outcome | EncodedOutcome | TrainingError
) -> EncodedOutcome | TrainingError:
    """The result of a block, with its outcome encoded if it is not yet."""
    if isinstance(result, Outcome):
        return encode_outcome(block, result)
    if isinstance(result, Unfinished) and isinstance(result.outcome, Outcome):
        first = Block(block.point, block.first, result.outcome.n)
        return type(result)(encode_outcome(first, result.outcome))
    return result


def train_in_time(trainer: Trainer, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
    """Train blocks in this process. No call begins once the time of `ending_at` is over.

    A user's code gets one block in a call, unless it stacks them.
    """
    one_call = has(trainer, "stacks_seeds") or not has(trainer, "users_code")
    results: list[Outcome | TrainingError] = []
    for part in [blocks] if one_call else [[block] for block in blocks]:
        results += [OutOfTime() for _ in part] if time_is_over() else trainer.train(part)
    return results


# -------------------------------------------------------------------------------------------------
# Each thread keeps one subprocess.

_kept: dict[int, TrainingProcess] = {}
"""By thread number, so that one thread can end the subprocess of another."""

_spares: list[TrainingProcess] = []
"""For threads that have none yet; the last one is taken first."""

SPARES = 3
"""Maximum number of subprocesses started before there is work for them."""


def process_for(trainer: Trainer) -> TrainingProcess:
    """The subprocess of the current thread, for a trainer. It is kept until `end_process`.

    Raises:
        InputError: the trainer's function cannot be sent.
    """
    thread = threading.get_ident()
    kept = _kept.get(thread)
    if kept is None or not _fits(kept, trainer):
        end_process(thread)
        kept = _kept[thread] = _spare(trainer) or TrainingProcess(trainer)
    return kept


def _environment(trainer: Trainer) -> tuple[AnySource | None, int]:
    """What a subprocess is made for: the source of a function, and the threads of torch."""
    return getattr(trainer, "source", None), getattr(trainer, "threads", 1)


def _is_usable(process: TrainingProcess) -> bool:
    return process.alive and process.owner == os.getpid()  # not of the process this is a fork of


def _fits(process: TrainingProcess, trainer: Trainer) -> bool:
    return _is_usable(process) and (process.source, process.threads) == _environment(trainer)


def _spare(trainer: Trainer) -> TrainingProcess | None:
    while _spares:
        with suppress(IndexError):  # another thread was faster
            spare = _spares.pop()
            if _fits(spare, trainer):
                return spare
            if _is_usable(spare):
                spare.close(grace=0)
    return None


def start_spares(trainer: Trainer, block: Block, count: int) -> None:
    """Start subprocesses until there are `count` spares; each tries how the block trains."""
    for _ in range(min(count, SPARES) - len(_spares)):
        _spares.append(TrainingProcess(trainer))
        _spares[-1].begin(trainer, block)


def spares_are_ready() -> bool:
    """Whether each spare has tried its block, or has ended."""
    connections = [spare._connection for spare in _spares]
    return len(wait(connections, timeout=0)) == len(connections)


def keep_as_spare() -> None:
    """Make this thread's subprocess a spare."""
    if (kept := _kept.pop(threading.get_ident(), None)) is not None:
        _spares.append(kept)


def end_process(thread: int | None = None) -> None:
    """End the subprocess of a thread; without a thread, that of this one and all spares."""
    kept = _kept.pop(threading.get_ident() if thread is None else thread, None)
    if kept is not None and kept.owner == os.getpid():
        kept.close()
    while thread is None and _spares:
        if (spare := _spares.pop()).owner == os.getpid():
            spare.close(grace=0)  # it may be importing


def kill_process_of(thread: int) -> None:
    """Kill the subprocess of another thread; the block it trains has no outcome."""
    if (kept := _kept.get(thread)) is not None and kept.alive:
        kill_group(kept.pid, session=True)


@contextmanager
def ending_process() -> Iterator[None]:
    """End this thread's subprocess, and all spares, on exit."""
    try:
        yield
    finally:
        end_process()


# -------------------------------------------------------------------------------------------------
# Blocks that are trained in a subprocess.


def train_in_subprocess(
    trainer: Trainer,
    blocks: Sequence[Block],
    *,
    most: float | None = None,
) -> list[Any]:
    """One result for each block, trained in this thread's subprocess.

    If seeds have a time limit and the function does not report, each seed is one call, and the
    subprocess is killed when its time is over: nothing else can stop it. Otherwise `most` limits
    the seconds for all blocks.

    Raises:
        InputError: the function cannot be sent.
        ProcessEnded: a seed ended the subprocess. If seeds have a limit, that seed crashed.
    """
    if (limit := killed_after(trainer)) is not None:
        return [_train_with_limit(trainer, block, limit) for block in blocks]
    return process_for(trainer).train(trainer, blocks, limit=most)


def stacking_in_subprocess(
    trainer: Trainer, block: Block, *, most: float | None = None
) -> Stacking | None:
    """How the config of a `TorchTraining` trains in stacks; None for other trainers."""
    if has(trainer, "stacks_seeds") and has(trainer, "own_process"):
        with suppress(ProcessEnded):
            return process_for(trainer).stacking(trainer, block, limit=most)
    return None


def _train_with_limit(trainer: Trainer, block: Block, limit: float) -> Outcome | TrainingError:
    results: list[Outcome | TrainingError] = []
    for part in [block] if has(trainer, "takes_many_seeds") else _singles(block):
        if time_is_over():
            whole = merged_outcome(results) if results else None
            return whole if isinstance(whole, TrainingError) else OutOfTime(whole)
        results.append(_call_with_limit(trainer, part, limit))
    return merged_outcome(results)


def _singles(block: Block) -> list[Block]:
    return [Block(block.point, seed, 1) for seed in block.seeds]


def in_this_process(trainer: Trainer, on_raise: OnRaise = lambda _: None) -> Trainer:
    """The trainer for training in this process, where a debugger can follow it.

    If it is a user's function, `on_raise` gets the exceptions of its seeds.

    Raises:
        InputError: its seeds have a time limit that only killing their process enforces.
    """
    if (limit := killed_after(trainer)) is not None:
        raise InputError(
            f"{limit:g} s, but the function reports nothing while it trains",
            field="timeout",
            allowed="with --workers 0 only a function that yields or takes `report`",
            fix="leave --workers out: then a seed that takes longer is stopped with its process",
        )
    return replace(trainer, on_raise=on_raise) if isinstance(trainer, CustomTrainer) else trainer


def killed_after(trainer: Trainer) -> float | None:
    """The time limit of a trainer's seeds, if only killing their process enforces it."""
    limit: float | None = getattr(trainer, "killed_after", None)
    return limit


def _call_with_limit(trainer: Trainer, block: Block, limit: float) -> Outcome | TrainingError:
    """Train a block in one call; its seeds have crashed if the call takes too long."""
    n = block.count
    try:
        result: Outcome | TrainingError
        [result] = process_for(trainer).train(trainer, [block], limit=limit * n)
    except CallTimedOut:
        each = f" for each of {n} seeds" if n > 1 else ""
        return Outcome.crashed(block.seeds, 0, f"took longer than {limit:g} s{each}")
    except ProcessEnded as error:
        if n == 1:
            return Outcome.crashed(block.seeds, 0, str(error))
    else:
        return result
    return merged_outcome([_call_with_limit(trainer, one, limit) for one in _singles(block)])


def merged_outcome(results: Sequence[Outcome | TrainingError]) -> Outcome | TrainingError:
    """The outcomes of parts of a block as one outcome; or the first error."""
    outcomes = []
    for result in results:
        if isinstance(result, TrainingError):
            return result
        outcomes.append(result)
    return reduce(Outcome.merge, outcomes)
