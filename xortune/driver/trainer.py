"""Which trainer a space or a run asks for, and the check of a user's own one before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xortune.core.errors import InputError, TrainingError
from xortune.core.formats import duration
from xortune.core.outcome import Outcome, Status
from xortune.core.trainer import Block, Stacking, Trainer
from xortune.driver.subprocesses import (
    ProcessEnded,
    process_for,
    stacking_in_subprocess,
    start_spares,
    train_in_subprocess,
)
from xortune.integrations.export import task_of
from xortune.runs.manifest import is_imported, last_identity
from xortune.runs.sessions import changed_trainer
from xortune.spaces.grid import probes
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import check_built_in, check_numbers, with_own
from xortune.trainers.command import CommandTrainer, command_trainer
from xortune.trainers.function import CustomTrainer, custom_trainer, form_asked, form_of
from xortune.trainers.network import NetworkTrainer, engine_described, usable_cores
from xortune.trainers.source import given_source, named_source
from xortune.trainers.verdicts import KnownSeeds

if TYPE_CHECKING:
    from xortune.core.point import Point
    from xortune.runs.run import Run


PAIRS, PAIRS_SECONDS = 8, 2.0
"""So many pairs of seeds are called for together and each alone, where a pair tells little and all
of it takes no longer than so many seconds; else one pair."""

TRIES = 3
"""So many configs the check calls the function for at most: one may raise and the next may not."""


def with_train(space: SearchSpace, train: Callable[..., Any] | None) -> SearchSpace:
    """The space as it is searched with a function from Python, if there is one.

    Raises:
        InputError: the space says what does not go with it.
    """
    if train is not None:
        return with_own(space)
    if space.trainer is None:
        check_built_in(space)
    return space


def trainer_for(
    space: SearchSpace,
    train: Callable[..., Any] | None,
    engine: str,
    gpus: float,
    threads: int = 1,
    *,
    here: bool = False,
) -> Trainer:
    """What trains a space of `with_train`; a user's own function is loaded for that.

    Args:
        space: what is searched.
        train: the user's own function, if it was given.
        engine: of the built-in network.
        gpus: for each trial.
        threads: of a trainer of the user's own.
        here: whether a function that is named is imported in this process.

    Raises:
        InputError: the function cannot be loaded or called, or there is no such engine.
    """
    if train is not None or space.trainer is not None:
        if engine != "auto":
            raise InputError(
                f"{engine!r} with a trainer of your own",
                field="engine",
                allowed="an engine only for the built-in network",
                fix="leave it out",
            )
        return _loaded(space, _unread(space, train, threads), train, here=here)
    assert space.task is not None
    trainer = NetworkTrainer(space.task, engine, gpus)
    trainer.describe()  # refuses an engine that is not there
    return trainer


def refuse_large(space: SearchSpace, trainer: Trainer) -> None:
    """Refuse a space with a network that this machine has not the memory for.

    Raises:
        InputError: one of its values, or of its start, makes such a network.
    """
    if not isinstance(trainer, NetworkTrainer):
        return
    for point in chain(probes(space), space.start):
        try:
            trainer.refuse_beyond_memory(point)
        except InputError as error:
            key = ("task",) if error.field == "task" else ("parameters", "hidden_dim")
            raise error.at(space.at(*key)) from None


def _unread(
    space: SearchSpace, train: Callable[..., Any] | None, threads: int
) -> CustomTrainer | CommandTrainer:
    """The trainer before its function is imported: it can be described, and no more."""
    if train is not None:
        return CustomTrainer(given_source(train), success=space.success, threads=threads)
    assert space.trainer is not None
    if space.command is not None:
        try:
            trainer = command_trainer(space.command, space.success, space.folder)
        except InputError as error:
            raise error.at(space.at("trainer", "files")) from None
        return replace(trainer, threads=threads)
    try:
        source = named_source(space.trainer, space.folder)
    except InputError as error:
        raise error.at(space.at("trainer")) from None
    return CustomTrainer(source, success=space.success, limit=space.timeout, threads=threads)


def _loaded(
    space: SearchSpace,
    trainer: CustomTrainer | CommandTrainer,
    train: Callable[..., Any] | None,
    *,
    here: bool,
) -> CustomTrainer | CommandTrainer:
    """The trainer with what its function takes: seen in a process of its own, if not loaded here.

    That process is kept for the check, or for the certificate: see `subprocesses.end_process`.
    """
    if isinstance(trainer, CommandTrainer):
        return trainer
    source, threads = trainer.source, trainer.threads
    try:
        if train is not None:
            form = form_of(train, source.label)
        elif here:
            form = form_asked(source)
        else:
            form = process_for(source, threads).form()
        limit = trainer.limit
        return custom_trainer(source, trainer.success, limit=limit, form=form, threads=threads)
    except ProcessEnded as error:
        raise InputError(
            f"the import of {source.label} {error}", place=space.at("trainer")
        ) from None
    except InputError as error:
        told = error if space.trainer is None else error.at(space.at("trainer"))
        raise told from error.__cause__


def _own_of_run(
    run: Run, train: Callable[..., Any] | None, *, accept: bool, here: bool
) -> CustomTrainer | CommandTrainer:
    """The user's own trainer of a run, as its space names it or as it is given."""
    space = run.asked
    if train is None and space.trainer is None:
        what = f"trained by a function given from Python ({run.manifest.get('trainer')})"
        how = "give it again"
        if is_imported(run.manifest):
            what, how = "imported, and nothing says what trains its configurations", "name it"
        raise InputError(
            f"the run was {what}",
            place=str(run.path),
            fix=f"{how}: train=f in Python, --trainer ./train.py:run at the command line",
        )
    if train is not None and space.trainer is None:
        space = with_own(space)
    threads = threads_of(run.manifest) or 1
    trainer = _unread(space, train, threads)  # what is not the run's is not even imported
    changed = changed_trainer(run.manifest, trainer.describe())
    if changed and not accept and not is_imported(run.manifest):  # of which nobody knows
        shown = ", ".join(f"{name}: {before} -> {now}" for name, before, now in changed)
        raise InputError(
            f"the training here is not the one that trained the run ({shown})",
            place=str(run.path),
            fix="restore the function, or accept the change with --accept-versions",
        )
    return _loaded(space, trainer, train, here=here)


def with_cores(trainer: Trainer, *, gpus: float = 0.0) -> tuple[Trainer, Trainer]:
    """The trainer for a worker, which has one core, and the one for this process, with all."""
    if not isinstance(trainer, NetworkTrainer):
        return trainer, trainer
    worker = replace(trainer, threads=1, gpus=trainer.gpus or gpus)
    return worker, replace(worker, threads=usable_cores())


def trainer_of(
    run: Run,
    engine: str | None,
    gpus: float,
    *,
    train: Callable[..., Any] | None = None,
    accept: bool = False,
    here: bool = False,
) -> Trainer:
    """What trained the search, or the same with another engine.

    Args:
        run: the search.
        engine: of the built-in network; that of the search if not given.
        gpus: of each trial.
        train: the user's own function, where the run's space does not name it.
        accept: whether such a function may be another than that of the search.
        here: as of `trainer_for`.

    Raises:
        InputError: its task is no longer the run's, such an engine is not there, or the user's own
            function cannot be loaded or has changed.
    """
    if not run.is_network:
        return _own_of_run(run, train, accept=accept, here=here)
    if engine is None:
        engine = engine_described(last_identity(run.manifest))
    trainer = NetworkTrainer(task_of(run), engine, gpus if engine == "cuda" else 0)
    try:
        trainer.describe()  # refuses an engine that is not there
    except InputError as error:
        if engine != "cuda":
            raise
        raise InputError(
            error.problem,
            field="engine",
            fix="certify on a machine with a GPU, name a cluster with --address and "
            "--gpus-per-trial, or train by another engine than the search: --engine auto",
        ) from None
    return trainer


def threads_of(manifest: Mapping[str, Any]) -> int | None:
    """How many threads a run's trainings have; None where its manifest does not say."""
    found = str(manifest.get("threads", ""))
    return int(found) if found.isdecimal() and int(found) > 0 else None


def functions_named(texts: Sequence[str]) -> list[Callable[..., Any]]:
    """The functions that ``module:function`` or ``path.py:function`` name, from the working folder.

    Raises:
        InputError: one of them names none, or cannot be imported.
    """
    return [named_source(text, Path()).function() for text in texts]


def called_with(trainer: Trainer) -> str | None:
    """What a user's own function is called with, or the files that go with a command, in words.

    None for the built-in network.
    """
    if isinstance(trainer, CommandTrainer):
        return ", ".join(path for path, _ in trainer.kept.files) or "none"
    if not isinstance(trainer, CustomTrainer):
        return None
    return trainer.form.words


@dataclass(frozen=True)
class Check:
    """What came of a call before anything starts.

    Attributes:
        sentence: for the user.
        seconds: that the call took.
        note: how seeds are trained, of a `TorchTraining`.
        known: the seed, where the search need not train it again.
        stacking: what is known of stacks, of a `TorchTraining`.
    """

    sentence: str
    seconds: float
    note: str = ""
    known: KnownSeeds = field(default_factory=dict)
    stacking: Stacking | None = None


def check_by_training(
    space: SearchSpace,
    trainer: Trainer,
    points: Sequence[Point] = (),
    *,
    counts: bool = False,
    most: float | None = None,
    processes: int = 0,
) -> Check | None:
    """Call a user's own function, or command, once before anything starts; what came of it.

    If it raises, it is called for two more configs and seeds: a seed may fail.

    Args:
        space: what is searched.
        trainer: of the space.
        points: what to call it for, the first proposals of the search say; its extremes if not
            given.
        counts: whether the search takes the seed as it is. That of a function which is called for
            many seeds at once is not kept: the call takes as long without it.
        most: seconds after which a call of a function is ended; None for any time.
        processes: how many will train: all but the one that is called here are begun meanwhile.

    Returns:
        What came of it; None for the built-in network, of which all is known.

    Raises:
        InputError: it returned what cannot be judged, or raised each time; the message ends with
            the traceback, or with what the command printed.
    """
    if space.task is not None:
        return None

    called = trainer.describe()["trainer"]
    points = points or list(islice(chain(space.start, probes(space)), TRIES))
    if isinstance(trainer, CustomTrainer) and (trainer.form.many or trainer.form.stacked):
        counts = False
    reason = raised = ""
    if isinstance(trainer, CustomTrainer) and trainer.on_raise is None:
        with suppress(ProcessEnded):  # the call says so
            process = process_for(trainer.source, trainer.threads)
            start_spares(trainer, Block(points[0], 0, 1), processes - 1)
            process.prepare(trainer)
    for seed in range(TRIES):
        block = Block(points[seed % len(points)], seed, 1)
        began = time.perf_counter()
        result = _tried(trainer, block, most)
        seconds = time.perf_counter() - began
        if isinstance(result, TrainingError):  # it did not even fail as seeds do
            reason, raised = f"seed {seed} with {_shown(block.point)} {result}", ""
            continue
        if result.status[0] != Status.CRASHED:
            check_numbers(space, result.details.values)
            if isinstance(trainer, CustomTrainer) and trainer.form.many:
                _check_alike(space, trainer, block, result, points, most=most)
            sentence = _told(block.point, seed, result, seconds, counts=counts)
            known = {(block.point.key, seed): result} if counts else {}
            stacking = None
            if isinstance(trainer, CustomTrainer):
                stacking = stacking_in_subprocess(trainer, block, most=most)
            return Check(sentence, seconds, result.details.note, known, stacking)
        reason, raised = result.details.failed[seed], result.details.traceback or ""
        if not raised:
            raise InputError(f"check, seed {seed}: {reason}", place=called)
    below = f"see below, or start nevertheless with --no-check\n{raised}"
    only = "start nevertheless with --no-check: in a search only such a seed counts as crashed"
    raise InputError(
        f"check: {reason}",
        place=called,
        allowed=f"{'a function' if space.command is None else 'a command'} that trains at least "
        "one of three configs and seeds",
        fix=below if raised else only,
    )


def _check_alike(
    space: SearchSpace,
    trainer: Trainer,
    block: Block,
    alone: Outcome,
    points: Sequence[Point],
    *,
    most: float | None,
) -> None:
    """See that seeds which are trained at once come to what each of them comes to alone.

    Compared is what is counted: whether a seed succeeds, to the letter, and the numbers that are
    judged or looked for to one part in a thousand, since sums in another order are rounded
    otherwise. Seeds that come to the same tell little, and verdicts not much more: then others are
    tried, if that takes no time.

    Raises:
        InputError: they do not.
    """
    names = {objective.number for objective in space.objectives} - {None}
    names |= {space.success.name} if space.success is not None else set()
    known = {(block.point, block.first): alone}
    began = time.perf_counter()
    for pair in range(PAIRS):
        point = points[pair % len(points)] if pair else block.point
        seeds = [block.first + 2 * pair, block.first + 2 * pair + 1]
        both = _tried(trainer, Block(point, seeds[0], 2), most)
        told = []
        for place, seed in enumerate(seeds):
            one = known.get((point, seed)) or _tried(trainer, Block(point, seed, 1), most)
            if isinstance(both, TrainingError) or isinstance(one, TrainingError):
                return  # a seed that ends its process is not what is looked for
            at_once, by_itself = _counted(both, place, names), _counted(one, 0, names)
            told.append(by_itself)
            for name, found in by_itself.items():
                if not _close(at_once.get(name), found):
                    raise InputError(
                        f"check with {_shown(point)}: called for seeds {seeds[0]} and {seeds[1]} "
                        f"at once, seed {seed} comes to {name}{at_once.get(name)}, and called for "
                        f"alone to {name}{found}",
                        place=trainer.describe()["trainer"],
                        allowed="results of a seed that do not depend on the seeds beside it",
                        fix="draw the numbers of each seed from a generator that it alone has "
                        "made, as in [np.random.default_rng(s) for s in seeds]; or start "
                        "nevertheless with --no-check",
                    )
        numbers = len(told[0]) > 1
        if (numbers and told[0] != told[1]) or time.perf_counter() - began > PAIRS_SECONDS:
            return


def _counted(outcome: Outcome, place: int, names: Collection[str | None]) -> dict[str, float | str]:
    """What is counted of a seed: its numbers by their names, then how it ended."""
    values = outcome.details.values
    numbers = {f"{name} ": float(values[name][place]) for name in values if name in names}
    return {**numbers, "": Status(outcome.status[place]).label}


def _close(one: float | str | None, other: float | str) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-3, atol=1e-6, equal_nan=True))
    return one == other


def _tried(trainer: Trainer, block: Block, most: float | None) -> Outcome | TrainingError:
    """What comes of a block; a function is called in a process of its own, but for a debugger."""
    if not isinstance(trainer, CustomTrainer) or trainer.on_raise is not None:
        return trainer.train([block])[0]
    try:
        found: Outcome | TrainingError = train_in_subprocess(trainer, [block], most=most)[0]
    except ProcessEnded as error:
        return error
    return found


def _shown(point: Point) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in point.items())


def _told(point: Point, seed: int, outcome: Outcome, seconds: float, *, counts: bool) -> str:
    numbers = ", ".join(f"{name} {array[0]:g}" for name, array in outcome.details.values.items())
    status = Status(outcome.status[0])
    verdict = {Status.SOLVED: "a success", Status.DIVERGED: "diverged"}.get(status, "no success")
    came = f"{numbers}: {verdict}" if numbers else verdict
    kept = "counted" if counts else "not counted"
    return f"check of seed {seed} with {_shown(point)}: {came}, in {duration(seconds)} ({kept})"
