"""The verb `evaluate`: one configuration under many seeds, by the network or a user's training."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import fields
from threading import get_ident
from typing import Any, TypeAlias

import numpy as np

from xortune.core.config import Config
from xortune.core.errors import InputError, TrainingError, refuse_given
from xortune.core.outcome import Failure, Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import checked_seeds
from xortune.core.success import parse_success
from xortune.core.task import Task, TaskSpec
from xortune.core.trainer import Block, Trainer, has
from xortune.driver.subprocesses import (
    end_process,
    in_this_process,
    merged_outcome,
    refuse_unsendable,
    train_isolating_crashes,
)
from xortune.driver.voice import Voice
from xortune.trainers.function import custom_trainer, form_of
from xortune.trainers.limits import ending_at, threads_for
from xortune.trainers.network import evaluate_config, usable_cores
from xortune.trainers.reaper import REAPER, kill_group
from xortune.trainers.source import given_source

# -------------------------------------------------------------------------------------------------
# The trainer of a configuration without a space.

Training: TypeAlias = Callable[..., Any] | str | Mapping[str, Any]
"""A function or a class; or what a space file may call `trainer`: a function's name, a command."""


def single_config(
    config: Mapping[str, Any], train: Training, success: str | None
) -> tuple[Point, Trainer]:
    """A configuration as a point, and its trainer.

    Raises:
        InputError: the configuration, the rule or the training is not usable.
    """
    point, threads = Point(config), threads_for(1.0)
    if callable(train):
        rule = None if success is None else parse_success(success)
        source = given_source(train)
        form = form_of(train, source.label)
        return point, custom_trainer(source, rule, form=form, threads=threads)

    # A space of one point checks all that a file may say. (Slow to import.)
    from xortune.driver.trainer import trainer_for
    from xortune.spaces.space import load_space

    if isinstance(train, str):
        train = {"command" if {" ", "{"} & set(train) else "function": train}
    if not isinstance(train, Mapping):
        raise InputError(
            f"a {type(train).__name__}",
            field="train",
            allowed="a function, a class, './train.py:run', or a command with {seed} in it",
        )
    rules: dict[str, Any] = {} if success is None else {"success": success}
    if "command" in train:
        train, rules = {**rules, **train}, {}
    space = {
        "name": "one",
        "trainer": dict(train),
        **rules,
        "parameters": {name: {"value": value} for name, value in point.as_dict().items()},
        "search": {"sampler": "random", "trials": 1},
    }
    try:
        trainer = trainer_for(load_space(space), None, "auto", 0.0, threads)
    except InputError as error:
        place = (error.place or "").removeprefix("<space>").removeprefix(": ")
        raise error.at(place.removeprefix("parameters.") or "train") from error.__cause__
    return point, trainer


# -------------------------------------------------------------------------------------------------
# The seeds of a user's training: in this process, or in several at once.

BLOCK_SECONDS, GROWTH = 1.0, 8
"""Target length of a part of a block, and the maximum growth from one part to the next."""

FIRST_MANY, MANY = 16, 64
"""Number of seeds of the first part, and minimum of the later ones, if a call takes many seeds."""

START_SECONDS = 20.0
"""Longer work is shared by several processes, each of which has to import its modules."""

SLOW = 0.1
"""Seconds of a seed. Callers train slower seeds in groups of one for each worker."""


class TrainingPool:
    """Trains by a user's function, class or command, here or in several processes.

    Args:
        trainer: of the user.
        ahead: expected number of seeds.
        workers: number of processes; 0 for this process. None begins with one process, and uses
            one for each core if the seeds take long.
        here: whether None begins with this process.
        fail_fast: whether the first failed seed ends the training.
        on_failure: called with the first seed that fails.

    Raises:
        InputError: workers below 0, or a function that cannot be sent to them.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        ahead: int,
        workers: int | None = None,
        here: bool = False,
        fail_fast: bool = False,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> None:
        if workers is not None and workers < 0:
            raise InputError(f"{workers}", field="workers", allowed="0 (this process) or more")
        if workers:
            refuse_unsendable(trainer)
        self._trainer, self._left, self._workers = trainer, ahead, workers or 1
        self._may_grow = workers is None and usable_cores() > 1
        is_here = here if workers is None else workers == 0
        self._trainer_here = in_this_process(trainer, self._note) if is_here else trainer
        self._takes_many = has(trainer, "takes_many_seeds")
        self._fail_fast, self._on_failure = fail_fast, on_failure
        self._failure: Failure | None = None
        self._exception: BaseException | None = None
        self._seconds: float | None = None  # of a seed, a moving average
        self._size, self._is_first = FIRST_MANY if self._takes_many else 1, True
        self._pool: ThreadPoolExecutor | None = None
        self._threads: set[int] = set()
        self._processes_before = REAPER.living

    def __enter__(self) -> TrainingPool:
        if self._workers > 1:
            self._pool = ThreadPoolExecutor(self._workers)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True, wait=kind is None)
            for thread in self._threads:
                end_process(thread)
        end_process()

    @property
    def at_once(self) -> int | None:
        """How many seeds to train at a time; None for any number, if they are fast."""
        if self._takes_many or (self._seconds is not None and self._seconds < SLOW):
            return None
        return self._workers

    def train(
        self, blocks: Sequence[Block], on_part: Callable[[Outcome], None] | None = None
    ) -> list[Outcome | TrainingError]:
        """One outcome for each block.

        Raises:
            InputError: a result of the training cannot be judged.
            TrainingError: a seed failed, and `fail_fast` was given. Its cause is the seed's
                exception, if it trained in this process.
        """
        waiting = deque(enumerate(blocks))
        results: dict[int, dict[int, Outcome | TrainingError]] = defaultdict(dict)
        running: dict[Future[tuple[Outcome | TrainingError, float]], tuple[int, Block]] = {}
        try:
            while waiting or running:
                self._grow()
                while waiting and len(running) < self._workers:
                    place, part = self._next_part(waiting)
                    running[self._start(part)] = place, part
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result, seconds = future.result()
                    place, part = running.pop(future)
                    results[place][part.first] = result
                    self._learn(result, part, seconds)
                    if on_part is not None and isinstance(result, Outcome):
                        on_part(result)
        except BaseException:
            self._kill(running)
            raise
        return [
            merged_outcome([part for _, part in sorted(results[place].items())])
            for place in range(len(blocks))
        ]

    def _grow(self) -> None:
        """Use a process for each core, if the seeds ahead take long."""
        if not self._may_grow or (self._left * (self._seconds or 0.0)) < START_SECONDS:
            return
        self._may_grow = False
        with suppress(InputError):  # a function that cannot be sent continues here
            refuse_unsendable(self._trainer)
            self._workers = usable_cores()
            self._pool = ThreadPoolExecutor(self._workers)

    def _next_part(self, waiting: deque[tuple[int, Block]]) -> tuple[int, Block]:
        place, block = waiting.popleft()
        size = min(self._size, math.ceil(max(self._left, block.count) / self._workers))
        if block.count > size:
            rest = Block(block.point, block.first + size, block.count - size)
            waiting.appendleft((place, rest))
            block = Block(block.point, block.first, size)
        return place, block

    def _start(self, part: Block) -> Future[tuple[Outcome | TrainingError, float]]:
        if self._pool is not None:
            return self._pool.submit(self._train, part)
        future: Future[tuple[Outcome | TrainingError, float]] = Future()
        future.set_result(self._train(part))
        return future

    def _train(self, part: Block) -> tuple[Outcome | TrainingError, float]:
        began, trainer = time.perf_counter(), self._trainer_here
        if self._pool is not None:
            self._threads.add(get_ident())
            trainer = self._trainer
        if has(trainer, "own_process"):
            result = train_isolating_crashes(trainer, part)
        else:
            [result] = trainer.train([part])
        return result, time.perf_counter() - began

    def _note(self, error: BaseException) -> None:
        if self._exception is None:
            self._exception = error

    def _learn(self, result: Outcome | TrainingError, part: Block, seconds: float) -> None:
        """Update the time of a seed and the size of the next part; handle failed seeds."""
        self._left -= part.count
        each = seconds / part.count
        self._seconds = each if self._seconds is None else 0.5 * self._seconds + 0.5 * each
        target = round(BLOCK_SECONDS / max(self._seconds, 1e-9))
        self._size = max(1, MANY * self._takes_many, min(target, GROWTH * part.count))
        if isinstance(result, TrainingError):
            return
        details, is_first = result.details, self._is_first
        self._is_first = False
        if is_first and details.traceback is None and (result.status == Status.CRASHED).all():
            [reason, *_] = details.failed.values()
            if reason.startswith("returned "):  # all other seeds would do the same
                raise InputError(reason, place=self._trainer.describe()["trainer"])
        if self._failure is None and details.failed:
            self._failure = details.first_failure(part.point.as_dict())
            assert self._failure is not None
            if self._on_failure is not None and not self._fail_fast:
                self._on_failure(self._failure)
        if self._failure is not None and self._fail_fast:
            raise TrainingError(f"{self._failure}") from self._exception

    def _kill(self, running: Mapping[Future[Any], object]) -> None:
        """End the work of other threads, with the processes that they have started."""
        with ending_at(0.0):  # no training begins
            while any(not (future.cancel() or future.done()) for future in running):
                for leader in REAPER.living - self._processes_before:
                    kill_group(leader, session=True)
                time.sleep(0.01)


# -------------------------------------------------------------------------------------------------
# The verb.


def evaluate(
    config: Config | Mapping[str, Any],
    seeds: Iterable[int],
    *,
    train: Training | None = None,
    success: str | None = None,
    task: TaskSpec | None = None,
    engine: str = "auto",
    checkpoints: Sequence[int] = (),
    workers: int | None = None,
    fail_fast: bool = False,
    on_seeds: Callable[[int, int], None] | None = None,
    verbose: int = 1,
) -> Outcome:
    """Train one config under each of the seeds, and count those that succeed.

    Args:
        config: a `Config` of the built-in network; with `train` a dict of parameters.
        seeds: whole numbers in [0, 2**32), each once.
        train: what trains instead of the built-in network: a function of your own, f(config, seed);
            a class, such as an `xt.TorchTraining`; or what a space file may call `trainer`:
            "./train.py:run", "python train.py --lr={lr} --seed={seed}", {"command": ...}.
        success: with `train`: the rule that says which numbers are a success, such as
            "accuracy >= 0.9".
        task: for the network: a `Task`, or a name for `Task.named`; xor if not given.
        engine: for the network: `auto` (the fused engine if it covers the config, else the
            reference engine), `fused` (compiled; on all cores this process may use), `reference`
            (stacked torch on one core) or `cuda` (stacked torch on a GPU).
        checkpoints: for the network: earlier epochs at which to record an outcome too; see
            `Outcome.at`.
        workers: with `train`: how many processes train at once. 0 calls the function in this
            process, one seed after the other, for a debugger. If not given, one process begins
            (this one, unless a file names the function), and as many as there are cores continue if
            the seeds take more than some seconds.
        fail_fast: with `train`: end at the first seed that fails.
        on_seeds: with `train`: called with (k, n): how many of the seeds so far are solved.
        verbose: with `train`: 0 shows nothing; 1 shows the progress on a terminal or in a notebook,
            and the first failure; 2 shows each step in a line.

    Raises:
        InputError: an argument is not usable, or the training returns something that no rule can
            judge.
        TrainingError: a seed failed, and `fail_fast` was given. If the seed trained in this
            process, the cause is its exception.
    """
    if train is None:
        refuse_given(
            "only with train=", success=success, workers=workers or None, fail_fast=fail_fast
        )
        network = network_config(config)
        listed = seeds if isinstance(seeds, Sequence) else list(seeds)
        learned = task if isinstance(task, Task) else Task.named(task or "xor")
        learned.refuse_constant()
        cores = usable_cores()
        return evaluate_config(network, learned, listed, checkpoints, engine, threads=cores)
    refuse_built_in(task=task, engine=engine, checkpoints=checkpoints or None)
    chosen = checked_seeds(seeds)
    point, trainer = single_config(own_config(config, "config"), train, success)
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    solved = done = 0
    voice = Voice(verbose)
    pool = TrainingPool(
        trainer,
        ahead=len(chosen),
        workers=workers,
        here=callable(train),
        fail_fast=fail_fast,
        on_failure=voice.fail,
    )
    with voice.counting(on_seeds, len(chosen), "evaluating") as show, pool:

        def on_part(part: Outcome) -> None:
            nonlocal solved, done
            solved, done = solved + part.successes, done + part.n
            if show is not None:
                show(solved, done)

        results = pool.train([Block(point, int(run[0]), len(run)) for run in runs], on_part)
    if isinstance(whole := merged_outcome(results), TrainingError):
        raise whole
    return whole


def network_config(config: object, field: str = "config") -> Config:
    """The argument as a config of the built-in network, or an InputError."""
    if isinstance(config, Config):
        return config
    fix = "give train=f, if a function of your own trains it"
    if not isinstance(config, Mapping):
        raise InputError(f"a {type(config).__name__}", field=field, allowed="a xortune.Config")
    try:
        return Config.from_point(config)
    except InputError as error:
        if error.field in config and error.field in {known.name for known in fields(Config)}:
            raise  # a value is wrong; otherwise a name is missing or unknown
        raise InputError(
            f"{error.field} {error.problem}",
            field=field,
            allowed="a config of the built-in network",
            fix=fix,
        ) from None


def own_config(config: object, field: str) -> Mapping[str, Any]:
    """The parameters of a config for a user's training, or an InputError if there are none."""
    if isinstance(config, Config):
        return config.point
    if isinstance(config, Mapping) and config:
        return config
    what = "an empty dict" if isinstance(config, Mapping) else f"a {type(config).__name__}"
    raise InputError(what, field=field, allowed='parameters by their names: {"lr": 0.1}')


def refuse_built_in(*, engine: str | None, **given: object) -> None:
    """Raise an InputError if an argument is given that only the built-in network has."""
    given["engine"] = None if engine == "auto" else engine
    refuse_given("only for the built-in network", **given)
