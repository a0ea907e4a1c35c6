"""The trainer of a space or a run, and the check of a user's own trainer before a search."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xortune.core.errors import InputError, TrainingError
from xortune.core.formats import duration
from xortune.core.outcome import Outcome, Status
from xortune.core.plugins import installed
from xortune.core.trainer import Block, Stacking, Trainer, is_void
from xortune.integrations.export import task_of
from xortune.runs.manifest import UNKNOWN, is_imported, last_identity
from xortune.runs.sessions import changed_trainer
from xortune.spaces.grid import probes
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import (
    check_built_in,
    check_numbers,
    check_reported,
    with_function,
)
from xortune.trainers.command import command_trainer
from xortune.trainers.function import CustomTrainer, form_of, form_of_source
from xortune.trainers.network import NetworkTrainer, engine_described
from xortune.trainers.source import given_source, named_source
from xortune.trainers.verdicts import KnownSeeds, judged_names
from xortune.training.processes import (
    ProcessEnded,
    form_in_process,
    prepare_processes,
    stacking_in_process,
    train_in_process,
)

if TYPE_CHECKING:
    from xortune.core.point import Point
    from xortune.runs.run import Run


PAIRS, PAIRS_SECONDS = 8, 2.0
"""Maximum number of seed pairs that the check trains together and alone, and the seconds after
which no further pair begins."""

LONG_SEED = 60.0
"""Seconds of a seed above which the check trains no seed a second time, unless it is asked to."""

AGAIN_SECONDS = 1.0
"""A check of short seeds trains up to `PAIRS` of them a second time, for so many seconds."""

TRIED_CONFIGS = 3
"""Maximum number of configs that the check tries: one may raise and the next may not."""


def with_train(space: SearchSpace, train: Callable[..., Any] | None) -> SearchSpace:
    """The space for a search with `train`, a function from Python, or without one.

    Raises:
        InputError: the space has a key that does not go with its kind of trainer.
    """
    if train is not None:
        return with_function(space)
    if space.trainer is None:
        check_built_in(space)
    return space


# -------------------------------------------------------------------------------------------------
# The kinds of trainers: which one a space asks for, and how it is made.


@dataclass(frozen=True)
class Wanted:
    """What is asked of the trainer of a space.

    Attributes:
        space: names the task or the trainer; `space.trainer` is the text that the file has there.
        train: a function given from Python; then the space names no trainer.
        engine: of the built-in network.
        gpus: for each training; fractions share one.
        threads: of each training.
        here: whether this process trains; if not, workers import the user's code and it does not.
    """

    space: SearchSpace
    train: Callable[..., Any] | None = None
    engine: str = "auto"
    gpus: float = 0.0
    threads: int = 1
    here: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of trainers.

    One more is found by the text of `trainer:` in a space file, such as `https://host/train`:

        Kind(
            "http",
            "asks an address for each seed",
            matches=lambda wanted: (wanted.space.trainer or "").startswith("https://"),
            make=lambda wanted: Asks(wanted.space.trainer, wanted.space.rule),
        )

    A package adds it as an entry point of the group `xortune.trainers`; see `core.plugins`.

    Attributes:
        name: for lists of kinds.
        about: what trains, in a few words.
        matches: whether a space asks for it. Of all kinds that match the last one is taken.
        make: makes a trainer that can be described. Nothing of the user's code is imported yet: a
            resumed search first compares what the trainer says of itself.
        load: makes it ready to train.
    """

    name: str
    about: str
    matches: Callable[[Wanted], bool]
    make: Callable[[Wanted], Trainer]
    load: Callable[[Wanted, Any], Trainer] = lambda _, trainer: trainer


def _network(wanted: Wanted) -> Trainer:
    space = wanted.space
    assert space.task is not None
    trainer = NetworkTrainer(space.task, wanted.engine, wanted.gpus)
    trainer.describe()  # refuses an engine that is not available
    return trainer


def _command(wanted: Wanted) -> Trainer:
    space = wanted.space
    assert space.command is not None
    try:
        trainer = command_trainer(space.command, space.folder)
    except InputError as error:
        raise error.at(space.at("trainer", "files")) from None
    return replace(trainer, threads=wanted.threads, success=space.rule, on=space.pruned_by)


def _function(wanted: Wanted) -> CustomTrainer:
    """The trainer of a function before it is imported."""
    space = wanted.space
    if wanted.train is not None:
        source, limit = given_source(wanted.train), None
    else:
        try:
            source, limit = named_source(str(space.trainer), space.folder), space.timeout
        except InputError as error:
            raise error.at(space.at("trainer")) from None
    rule, threads, on = space.rule, wanted.threads, space.pruned_by
    return CustomTrainer(source, success=rule, limit=limit, threads=threads, on=on)


def _loaded(wanted: Wanted, trainer: CustomTrainer) -> CustomTrainer:
    """The trainer with the call form of its function.

    If this process does not train, a worker imports the function. It is kept for what trains next.
    """
    source, space = trainer.source, wanted.space
    try:
        if wanted.train is not None:
            form = form_of(wanted.train, source.label)
        elif wanted.here:
            form = form_of_source(source)
        else:
            form = form_in_process(trainer)
        return replace(trainer, form=form, folder=str(Path.cwd()))
    except ProcessEnded as error:
        raise InputError(
            f"the import of {source.label} {error}", place=space.at("trainer")
        ) from None
    except InputError as error:
        placed = error if space.trainer is None else error.at(space.at("trainer"))
        raise placed from error.__cause__


KINDS = (
    Kind("function", "a function or class of yours is called", lambda _: True, _function, _loaded),
    Kind(
        "network",
        "the built-in network learns a task",
        lambda wanted: wanted.train is None and wanted.space.trainer is None,
        _network,
    ),
    Kind(
        "command",
        "a command runs for each seed",
        lambda wanted: wanted.train is None and wanted.space.command is not None,
        _command,
    ),
)
"""xortune's own kinds of trainers; the first one takes all that no other takes."""


# -------------------------------------------------------------------------------------------------
# The trainer of a space or a run.


def trainer_for(
    space: SearchSpace,
    train: Callable[..., Any] | None,
    engine: str,
    gpus: float,
    threads: int = 1,
    *,
    here: bool = False,
) -> Trainer:
    """The trainer of a space of `with_train`; imports the user's function, if there is one.

    A function that the space names is imported in a worker, or with `here` in this process.

    Raises:
        InputError: the function cannot be loaded or called, or the engine is not available.
    """
    if engine != "auto" and (train is not None or space.trainer is not None):
        raise InputError(
            f"{engine!r} with a trainer of your own",
            field="engine",
            allowed="an engine only for the built-in network",
            fix="leave it out",
        )
    trainer = _ready(Wanted(space, train, engine, gpus, threads, here))
    if not trainer.traits.is_watchable:
        check_reported(space, None)
    return trainer


def _ready(wanted: Wanted, check: Callable[[Trainer], None] = lambda _: None) -> Trainer:
    """The trainer that is wanted. `check` looks at it before the user's code is imported."""
    kinds = installed("xortune.trainers", Kind, KINDS)
    kind = next(kind for kind in reversed(kinds) if kind.matches(wanted))
    trainer = kind.make(wanted)
    check(trainer)
    return kind.load(wanted, trainer)


def refuse_large(space: SearchSpace, trainer: Trainer) -> None:
    """Raise an InputError if a network of the space needs more memory than this machine has."""
    for point in chain(probes(space), space.start):
        try:
            trainer.refuse_beyond_memory(point)
        except InputError as error:
            key = ("task",) if error.field == "task" else ("parameters", "hidden_dim")
            raise error.at(space.at(*key)) from None


def trainer_of(
    run: Run,
    engine: str | None,
    gpus: float,
    *,
    train: Callable[..., Any] | None = None,
    accept: bool = False,
    here: bool = False,
) -> Trainer:
    """The trainer of a run's search, or the same with another engine.

    `train` is the user's function, if the run's space does not name it. With `accept` it may have
    changed since the search. `here` is as in `trainer_for`.

    Raises:
        InputError: the task has changed, the engine is not available, or the user's function
            cannot be loaded or has changed.
    """
    if run.is_network:
        space = replace(run.asked, task=task_of(run))
        engine = engine or engine_described(last_identity(run.manifest))
        return _ready(Wanted(space, None, engine, gpus if engine == "cuda" else 0.0))
    space, imported = run.asked, is_imported(run.manifest)
    if train is None and space.trainer is None:
        what = f"trained by a function given from Python ({run.manifest.get('trainer')})"
        how = "give it again"
        if imported:
            what, how = "imported, and nothing says what trains its configurations", "name it"
        raise InputError(
            f"the run was {what}",
            place=str(run.path),
            fix=f"{how}: train=f in Python, --trainer ./train.py:run at the command line",
        )
    if train is not None and space.trainer is None:
        space = with_function(space)

    def refuse_changed(trainer: Trainer) -> None:
        changed = changed_trainer(run.manifest, trainer.describe())
        if changed and not accept and not imported:  # whose trainer is not known
            shown = ", ".join(f"{name}: {before} -> {now}" for name, before, now in changed)
            raise InputError(
                f"the training here is not the one that trained the run ({shown})",
                place=str(run.path),
                fix="restore the function, or accept the change with --accept-versions",
            )

    threads = threads_of(run.manifest) or 1
    return _ready(Wanted(space, train, threads=threads, here=here), refuse_changed)


def threads_of(manifest: Mapping[str, Any]) -> int | None:
    """The number of threads of a run's trainings; None if its manifest has no valid one."""
    threads = str(manifest.get("threads", ""))
    return int(threads) if threads.isdecimal() and int(threads) > 0 else None


def functions_named(texts: Sequence[str]) -> list[Callable[..., Any]]:
    """The functions named ``module:function`` or ``path.py:function``, from the working folder.

    Raises:
        InputError: one of them names none, or cannot be imported.
    """
    return [named_source(text, Path()).function() for text in texts]


def exceptions_named(texts: Sequence[str]) -> list[type[BaseException]]:
    """The exceptions named ``ConnectionError``, ``module:Class`` or ``path.py:Class``.

    Raises:
        InputError: one of them names none, or its module cannot be imported.
    """
    found: list[type[BaseException]] = []
    for text in texts:
        try:
            where, dot, name = text.rpartition(".")
            named = f"{where}:{name}" if dot and ":" not in text else text
            [one] = functions_named([named]) if ":" in named else [getattr(builtins, text, None)]
        except InputError as error:
            raise error.at("retry") from error.__cause__
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise InputError(
                f"{text!r} names no exception",
                field="retry",
                allowed="one of Python's own, such as ConnectionError, or openai:RateLimitError, "
                "or ./train.py:Busy",
                fix="write the module or the file, a colon, and the name of the class",
            )
        found.append(one)
    return found


# -------------------------------------------------------------------------------------------------
# The check before a search: one seed trains, and trains again.


@dataclass(frozen=True)
class Check:
    """The result of training one seed before a search.

    Attributes:
        sentence: for the user.
        seconds: of the training.
        note: how a `TorchTraining` trains its seeds.
        known: the outcomes of the seeds that were trained, if the search counts them.
        took: the seconds of each of these.
        stacking: how a `TorchTraining` trains in stacks.
        twice: both results of a seed that was trained twice, in a sentence, if they differ; empty
            if they do not; None if none was.
        first: the seed that trains a second time during the search, and its outcome; None if none
            does.
        names: of the numbers that count.
    """

    sentence: str
    seconds: float
    note: str = ""
    known: KnownSeeds = field(default_factory=dict)
    took: Mapping[tuple[str, int], float] = field(default_factory=dict)
    stacking: Stacking | None = None
    twice: str | None = None
    first: tuple[Block, Outcome] | None = None
    names: frozenset[str | None] = frozenset()


def noted_seeds(twice: str | None) -> dict[str, Any]:
    """The manifest's entries: does a seed determine its result? `twice` as of `Check`."""
    if twice is None:
        return {"deterministic": UNKNOWN}
    return {"deterministic": not twice} | ({"twice": twice} if twice else {})


def check_by_training(
    space: SearchSpace,
    trainer: Trainer,
    points: Sequence[Point] = (),
    *,
    counts: bool = False,
    most: float | None = None,
    processes: int = 0,
    longest: float = 0.0,
    later: bool = False,
    begins_early: bool = False,
) -> Check | None:
    """Train one seed with a user's function or command, before a search starts.

    If it raises, two more configs and seeds are tried: a seed may fail. A seed of up to `longest`
    seconds trains a second time, after another seed: its result may depend on more than the seed.

    Args:
        space: the space to search.
        trainer: of the space.
        points: the configs to try, such as the first proposals; if not given, the space's extremes.
        counts: whether the search counts the seed. A function that takes many seeds at once trains
            it again: its call takes as long without this seed.
        most: time limit of a function's call, in seconds; None for any time.
        processes: the number of workers that will train. Some are started meanwhile.
        longest: most seconds of a seed that trains twice; see `LONG_SEED`.
        later: whether a seed that is not short trains the second time during the search.
        begins_early: whether the other workers begin with the seeds of `points` if the check takes
            long. The search then takes over what they train.

    Returns:
        The check; None for the built-in network, which needs none.

    Raises:
        InputError: the result cannot be judged, or each try raised. The message ends with the
            traceback, or with the command's output.
    """
    if space.task is not None:
        return None

    name = trainer.describe()["trainer"]
    points = points or list(islice(chain(space.start, probes(space)), TRIED_CONFIGS))
    counts = counts and not trainer.traits.takes_many_seeds
    early: list[Block] = []
    trains_early = begins_early and processes > 1 and not trainer.traits.takes_many_seeds
    if trainer.traits.own_process or trains_early:
        prepare_processes(trainer, Block(points[0], 0, 1), processes)
    if trains_early:
        firsts = (
            Block(point, seed, 1) for point in points for seed in range(space.seeds.ladder[0])
        )
        early = list(islice(firsts, 1, processes))
    reason, trace, is_untried = "", "", False
    for seed in range(TRIED_CONFIGS):
        block = Block(points[seed % len(points)], seed, 1)
        began = time.perf_counter()
        result = train_one(trainer, block, most, next_blocks=() if seed else early)
        seconds = time.perf_counter() - began
        if isinstance(result, TrainingError):  # no outcome at all, not even a crashed seed
            reason, trace = f"seed {seed} with {_shown(block.point)} {result}", ""
            is_untried = is_void(str(result))
            continue
        if result.status[0] != Status.CRASHED:
            numbers = {name: float(array[0]) for name, array in result.details.values.items()}
            check_numbers(space, numbers, diverged=result.status[0] == Status.DIVERGED)
            if result.details.curves:
                check_reported(space, result.details.curves[0].points().names)
            key = block.point.key, seed
            twice, known, took = None, {key: result}, {key: seconds}
            has_alone = trainer.traits.stacks_seeds or not trainer.traits.takes_many_seeds
            later = later and has_alone and not _is_short(trainer, seconds)
            if seconds <= longest and not later:
                found = _trained_twice(space, trainer, block, result, seconds, most=most)
                twice, known, took = found[0], {**known, **found[1]}, {**took, **found[2]}
            # Where a seed does not determine its result, those beside it cannot be blamed.
            if not twice and trainer.traits.mixes_seeds:
                _check_pairs(space, trainer, block, result, points, most=most)
            return Check(
                _sentence(block.point, seed, result, seconds, counts=counts),
                seconds,
                result.details.note,
                known=known if counts else {},
                took=took if counts else {},
                stacking=stacking_in_process(trainer, block, most),
                twice=twice,
                first=(block, result) if later and seconds <= longest else None,
                names=frozenset(counting(space)),
            )
        reason, trace = result.details.failed[seed], result.details.traceback or ""
        if not trace:
            raise InputError(f"check, seed {seed}: {reason}", place=name)
    below = f"see below, or start nevertheless with --no-check\n{trace}"
    counts_as = "is void, in no count" if is_untried else "counts as crashed"
    only = f"start nevertheless with --no-check: in a search only such a seed {counts_as}"
    raise InputError(
        f"check: {reason}",
        place=name,
        allowed=f"{'a function' if space.command is None else 'a command'} that trains at least "
        "one of three configs and seeds",
        fix=below if trace else only,
    )


def counting(space: SearchSpace) -> set[str]:
    """The names of the numbers that a space's rule judges or an objective summarises."""
    ruled = () if space.success is None else space.success.names
    return {name for name in (*ruled, *(one.number for one in space.objectives)) if name}


def train_later(trainer: Trainer, check: Check) -> Outcome | None:
    """The second outcome of a check's seed, if no worker trained it while the search went on."""
    assert check.first is not None
    block, result = check.first[0], None
    for one in (Block(block.point, block.seeds.stop, 1), block):
        result = train_one(trainer.knowing({}), one, silent=True)
    return result if isinstance(result, Outcome) else None


def _is_short(trainer: Trainer, seconds: float) -> bool:
    """Whether so many short seeds can train twice that equal results prove something."""
    return (2 * PAIRS - 1) * seconds <= AGAIN_SECONDS and not trainer.traits.stacks_seeds


def _trained_twice(
    space: SearchSpace,
    trainer: Trainer,
    block: Block,
    outcome: Outcome,
    seconds: float,
    *,
    most: float | None,
) -> tuple[str | None, KnownSeeds, Mapping[tuple[str, int], float]]:
    """Train a seed a second time, after another one; short seeds are several that train twice.

    Equal results prove little, and of a verdict nearly nothing. `outcome` is that of `block`, which
    took `seconds`.

    Returns:
        `Check.twice`; the outcomes of the other seeds that did not fail; the seconds of each.
    """
    point, names = block.point, counting(space)
    is_short = _is_short(trainer, seconds)
    others = range(block.first + 1, block.first + (PAIRS if is_short else 2))
    results, took = {block.first: outcome}, dict[int, float]()
    for seed in others:
        began = time.perf_counter()
        other = train_one(trainer, Block(point, seed, 1), most, silent=True)
        if isinstance(other, Outcome) and not other.details.failed:
            results[seed], took[seed] = other, time.perf_counter() - began
    twice: str | None = None
    for seed, result in results.items() if is_short else [(block.first, outcome)]:
        again = train_one(trainer, Block(point, seed, 1), most, silent=True)
        if isinstance(again, TrainingError):
            break  # a seed that ends its process is another problem
        if twice := differing(result, again, names):
            break
    known = {(point.key, seed): results[seed] for seed in took}
    return twice, known, {(point.key, seed): seconds for seed, seconds in took.items()}


def differing(first: Outcome, again: Outcome, names: Collection[str | None]) -> str:
    """Both results of a seed, in a sentence, if they differ; empty if they do not.

    A status is compared exactly and numbers to 0.1 %, since a sum is rounded by the order of its
    terms, which a GPU does not keep.

    Args:
        first: the result of the seed, and of others after it.
        again: the second result of the seed.
        names: of the numbers that count.
    """
    if (results := two_apart(first, again, names)) is None:
        return ""
    both = ", and ".join(results)
    return f"seed {again.seeds[0]} gave {both} the second time: its seed does not determine it"


def two_apart(
    first: Outcome, again: Outcome, names: Collection[str | None], place: int = 0
) -> tuple[str, str] | None:
    """Both results of a seed if they differ, as `differing`: `accuracy 0.9` and `0.1`, say.

    `place` is that of the seed in `first`; `again` is of the seed alone.
    """
    one, other = _counted(first, place, names), _counted(again, 0, names)
    for name, value in one.items():
        found = other.get(name, other[""])  # a seed that failed has no number
        if isinstance(value, float) and isinstance(found, float):
            same = bool(np.isclose(value, found, rtol=1e-3, atol=1e-6, equal_nan=True))
        else:
            same = value == found
        if not same:
            return f"{name}{_shown_result(value)}", _shown_result(found)
    return None


def _counted(outcome: Outcome, place: int, names: Collection[str | None]) -> dict[str, float | str]:
    """The numbers of a seed by their names, and its status under the empty name."""
    values = outcome.details.values
    numbers = {f"{name} ": float(values[name][place]) for name in values if name in names}
    return {**numbers, "": Status(outcome.status[place]).ending.result}


def _shown_result(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else value


def _check_pairs(
    space: SearchSpace,
    trainer: Trainer,
    block: Block,
    outcome: Outcome,
    points: Sequence[Point],
    *,
    most: float | None,
) -> None:
    """Check the independence of two seeds, with more pairs until the two of one differ.

    Equal results prove little. `outcome` is that of `block`, a seed trained alone.

    Raises:
        InputError: a result differs.
    """
    names = counting(space)
    began = time.perf_counter()
    for pair in range(PAIRS):
        point = points[pair % len(points)] if pair else block.point
        both = train_one(trainer, Block(point, block.first + 2 * pair, 2), most)
        if isinstance(both, TrainingError):
            return  # a seed that ends its process is another problem
        known, otherwise = None if pair else outcome, "start nevertheless with --no-check"
        differ = check_independence(
            trainer, both, point, names, known=known, most=most, otherwise=otherwise
        )
        if differ or time.perf_counter() - began > PAIRS_SECONDS:
            return


def check_independence(
    trainer: Trainer,
    together: Outcome,
    point: Point,
    names: Collection[str | None] | None = None,
    *,
    otherwise: str = "train one seed in a call, f(config, seed)",
    known: Outcome | None = None,
    most: float | None = None,
) -> bool:
    """Check that seeds trained in one call have the results that they have when trained alone.

    It trains the first seed alone, and one with another result, or some if there is none, and
    compares both as `differing`.

    Args:
        trainer: trains the seeds.
        together: the outcome of one call.
        point: its config.
        names: of the numbers that count; None for those of the trainer's own rule.
        otherwise: the fix, beside to mend the function.
        known: the outcome of the first seed, alone; trained here if not given.
        most: time limit of a call, in seconds; None for any time.

    Returns:
        Whether two of the seeds differ in a number, so that the check proves something.

    Raises:
        InputError: a result differs.
    """
    names = judged_names(trainer, together.details.values) if names is None else names
    began, seeds = time.perf_counter(), together.seeds.tolist()
    results = [_counted(together, place, names) for place in range(together.n)]
    other = next((place for place, result in enumerate(results) if result != results[0]), None)
    for place in range(min(together.n, PAIRS)) if other is None else (0, other):
        single: Outcome | TrainingError | None = None if place else known
        single = single or train_one(trainer, Block(point, seeds[place], 1), most)
        if isinstance(single, TrainingError):
            break  # a seed that ends its process is another problem
        if apart := two_apart(together, single, names, place):
            called = f"{seeds[0]} {'and' if together.n == 2 else 'to'} {seeds[-1]}"
            raise InputError(
                f"check with {_shown(point)}: called for seeds {called} at once, seed "
                f"{seeds[place]} gave {apart[0]}, and called for alone {apart[1]}",
                place=trainer.describe()["trainer"],
                allowed="results of a seed that do not depend on the seeds beside it",
                fix="draw the numbers of each seed from a generator that it alone has made, as "
                f"in [np.random.default_rng(s) for s in seeds]; or {otherwise}",
            )
        if time.perf_counter() - began > PAIRS_SECONDS:
            break
    return other is not None and len(results[0]) > 1


def train_again(trainer: Trainer, outcome: Outcome, point: Point) -> str | None:
    """Train the first seed of an outcome a second time, in a worker, after other seeds.

    Where seeds train together it trains twice alone: sums over other seeds are rounded otherwise.

    Returns:
        As `Check.twice`.
    """
    block, first = Block(point, int(outcome.seeds[0]), 1), outcome
    if trainer.traits.takes_many_seeds:
        alone = train_one(trainer, block, silent=True)
        if isinstance(alone, TrainingError):
            return None
        first = alone
    again = train_one(trainer, block, silent=True)
    if isinstance(again, TrainingError):
        return None
    return differing(first, again, judged_names(trainer, first.details.values))


def train_one(
    trainer: Trainer,
    block: Block,
    most: float | None = None,
    *,
    silent: bool = False,
    next_blocks: Sequence[Block] = (),
) -> Outcome | TrainingError:
    """Train a block. A user's function runs in a worker, except under a debugger.

    With `silent` nobody sees what it prints there: the check trains many a seed again. For
    `next_blocks` see `processes.train_in_process`; with some also a command runs from a worker.
    """
    if trainer.traits.own_process or next_blocks:
        return train_in_process(trainer, block, most, silent=silent, next_blocks=next_blocks)
    return trainer.train([block])[0]


def _shown(point: Point) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in point.items()) or "{}"


def _sentence(point: Point, seed: int, outcome: Outcome, seconds: float, *, counts: bool) -> str:
    numbers = ", ".join(f"{name} {array[0]:g}" for name, array in outcome.details.values.items())
    status = Status(outcome.status[0])
    if outcome.details.ruled:
        solved, failed = "a success", "no success"
    else:
        solved, failed = "", "failed"
    verdict = {Status.SOLVED: solved, Status.DIVERGED: "diverged"}.get(status, failed)
    result = ": ".join(filter(None, [numbers, verdict]))
    counted = "counted" if counts else "not counted"
    return (
        f"check of seed {seed} with {_shown(point)}: {result}, in {duration(seconds)} ({counted})"
    )
