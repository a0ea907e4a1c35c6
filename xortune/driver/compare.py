"""The verb `compare`: runs, configs or outcomes with each other."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, overload

import numpy as np

from xortune.comparisons.contestants import (
    Candidate,
    Compared,
    candidates_of,
    refuse_different_tasks,
    refuse_different_trainers,
    trained_contestant,
)
from xortune.comparisons.numbers import (
    NumberComparison,
    compare_numbers,
    measure_of,
    parse_measure,
)
from xortune.comparisons.runs import Contestant, RunComparison, compare_runs
from xortune.comparisons.sequential import (
    SequentialComparison,
    check_sequential,
    compared_in_step,
)
from xortune.core.config import Config
from xortune.core.errors import (
    InputError,
    TrainingError,
    check_count,
    check_number,
    check_share,
    check_type,
    refuse_given,
)
from xortune.core.files import writing
from xortune.core.outcome import NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import COMPARE, IgnoredSeed
from xortune.core.success import Success
from xortune.core.task import Task, TaskSpec
from xortune.core.trainer import Block, has, missing_seeds
from xortune.driver.batches import Batches
from xortune.driver.certify import (
    count_of_void,
    estimate,
    estimate_of_seeds,
    seconds_of_seed,
)
from xortune.driver.cluster import THIS_MACHINE, Cluster, Workers, slots_here
from xortune.driver.evaluate import single_config
from xortune.driver.executors import pool_or_here
from xortune.driver.fresh_seeds import FreshSeeds
from xortune.driver.loop import Record, run
from xortune.driver.processes import ending_processes, in_this_process
from xortune.driver.trainer import (
    check_call,
    train_again,
    train_one,
    trainer_of,
    worker_and_local_trainer,
)
from xortune.driver.voice import Listen, Voice
from xortune.driver.void import MAX_VOID, checked_max_void, retrying
from xortune.reports.files import comparison_directory
from xortune.runs.evaluation import SeedsToTrain
from xortune.runs.journal import held_journal, read
from xortune.runs.lock import held
from xortune.runs.manifest import fingerprint_of, identity_of
from xortune.runs.results import ConfigResults
from xortune.runs.run import Run
from xortune.runs.store import url_of
from xortune.stats.betting import checked_limits
from xortune.stats.sequential import MAX_SEEDS_OF_BOUNDARY, PairedAnswer, seeds_to_tell_apart
from xortune.trainers.network import NetworkTrainer, is_compiled
from xortune.trainers.verdicts import judged_names

if TYPE_CHECKING:
    from xortune.core.trainer import Trainer


Function: TypeAlias = Callable[..., Any]
"""A training function of the user's own."""


FRESH_SEEDS = 1000
"""Fresh seeds for each config that has none."""


class _Options(TypedDict, total=False):
    """The options that the overloads share if they compare by seeds."""

    labels: Sequence[str] | None
    train: bool | Function | Sequence[Function]
    success: str | None
    different_tasks: bool
    task: TaskSpec
    trainer: Trainer | Callable[..., Any] | None
    engine: str | None
    output: str | os.PathLike[str] | None
    alpha: float
    margin: float | None
    bounds: Sequence[float] | None
    workers: int | Workers | None
    retry: type[BaseException] | Sequence[type[BaseException]]
    max_void: float | None
    listener: Listen | None
    verbose: int


@overload
def compare(
    runs: Compared | Sequence[Compared],
    *more: Compared,
    by: str,
    seeds: int | None = None,
    **options: Unpack[_Options],
) -> NumberComparison: ...


@overload
def compare(
    runs: Compared | Sequence[Compared],
    *more: Compared,
    sequential: Literal[True],
    max_seeds: int | None = None,
    by: str | None = None,
    **options: Unpack[_Options],
) -> SequentialComparison: ...


@overload
def compare(
    runs: Compared | Sequence[Compared],
    *more: Compared,
    seeds: int | None = None,
    **options: Unpack[_Options],
) -> RunComparison: ...


@overload
def compare(
    runs: Compared | Sequence[Compared],
    *more: Compared,
    seeds: int | None = None,
    sequential: bool,
    max_seeds: int | None = None,
    by: str | None = None,
    **options: Unpack[_Options],
) -> RunComparison | SequentialComparison | NumberComparison: ...


def compare(
    runs: Compared | Sequence[Compared],
    *more: Compared,
    by: str | None = None,
    margin: float | None = None,
    bounds: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    seeds: int | None = None,
    sequential: bool = False,
    max_seeds: int | None = None,
    train: bool | Function | Sequence[Function] = True,
    success: str | None = None,
    different_tasks: bool = False,
    task: TaskSpec = "xor",
    trainer: Trainer | Callable[..., Any] | None = None,
    engine: str | None = None,
    output: str | os.PathLike[str] | None = None,
    alpha: float = 0.05,
    workers: int | Workers | None = None,
    retry: type[BaseException] | Sequence[type[BaseException]] = (),
    max_void: float | None = None,
    listener: Listen | None = None,
    verbose: int = 1,
) -> RunComparison | SequentialComparison | NumberComparison:
    """Say which of several runs, configs or outcomes solves more seeds, or has better numbers.

    A run takes part with the first config in its search's order, and with the seeds of its
    certificate, which had no part in choosing it. If a run has no such seeds, all configs first
    train on the same fresh seeds: the counts of a search would repeat the winner's curse. Two with
    shared seeds are compared seed by seed (exact McNemar test), others as independent samples
    (Boschloo's), all pairs at one level (Holm).

    Args:
        runs: two or more of: a run, its directory, `DIRECTORY#KEY` for another config of it, a
            `Config`, a dict of parameters for the function `train`, an `Outcome` (of seeds that did
            not choose it).
        more: further ones: `compare(a, b)` is `compare([a, b])`.
        by: compare a number of the seeds in place of the success rate: its name with _mean, _iqm,
            _median or _q01 to _q99, such as "return_iqm". No rule for success is needed. With
            `sequential` also the name alone, "return": which is better under more seeds.
        margin: also say which of every two is not worse than the other by more than this: a share
            of seeds, or with `by` a difference of numbers.
        bounds: with `by` of a mean: the least and the greatest number that a seed can have, [0, 1];
            those of the spaces if not given. With them the answer is exact, whatever the
            distribution, and may be `sequential`.
        labels: a name for each; names of directories if not given.
        seeds: fresh seeds for each; if given, they train even if there are certificates. 1,000 if
            not given and a certificate is missing.
        sequential: train all under the same seeds, one after the other, until one is proven better
            than each of the others. The probability of a wrong answer is at most `alpha`, although
            there is a look after each seed (`stats.sequential`).
        max_seeds: with `sequential`: the most seeds, fixed beforehand; 1,000 if not given, at most
            20,000.
        train: False refuses instead of training. Or the function of your own that trains runs whose
            space does not name it and that have no certificate; or a list with one for each.
        success: for dicts: what is a success, as in a space file: "accuracy >= 0.9"; not needed if
            the function returns True or False. For outcomes: the rule by which their seeds
            succeeded, so that the number that it judges is shown first, with its direction.
        different_tasks: compare runs of different tasks or trainers too.
        task: what a `Config` learns.
        trainer: any `core.trainer.Trainer`, or a function as `train`.
        engine: of the built-in network; that of each search if not given.
        output: the directory that keeps the trained seeds, so that the same call, or one for more
            seeds, continues there; runs/compare-A-B if not given.
        alpha: the level of all tests together.
        workers: as in `search`; 0 trains in this process, for a debugger.
        retry: as of `evaluate`. A seed that is void for one is left out for all; the same call
            tries it again.
        max_void: the share of seeds that may be void; 0.05 if not given.
        listener: called with each event: `SeedsDone`, or a `Message`.
        verbose: as in `search`.

    Raises:
        InputError: an argument is not usable; the tasks or trainers differ; or seeds are missing
            and may not, or cannot, be trained.
        TrainingError: more seeds are void than `max_void` allows.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    if isinstance(runs, Run | str | os.PathLike | Config | Outcome | Mapping):
        runs = [runs]
    check_type("runs", runs, Iterable, "runs, their directories, or configurations")
    several = [*runs, *more]
    limits = _checked_limits(by, margin, bounds, sequential=sequential)
    check_share("alpha", alpha)
    _check(len(several), seeds, train=train is not False)
    pool, voice = Cluster.pool(workers), Voice(verbose, listener)
    here, share = pool.workers == 0, checked_max_void(max_void)
    most = _most_seeds(sequential, max_seeds, seeds, len(several), alpha, train=train is not False)
    trainers = _trainers(train, trainer, len(several))
    learned = Task.named(task)
    candidates = candidates_of(several, labels, learned, success)
    _refuse_unused(candidates, train, trainers)
    _refuse_same(candidates, trainers)
    if not different_tasks:
        refuse_different_tasks(candidates)
    lacking = [candidate for candidate in candidates if candidate.known is None]
    if train is False and lacking:
        raise _lacks_seeds(lacking[0])
    wanted: list[WantedSeeds | None] = [None] * len(candidates)
    if seeds is not None or lacking or sequential:  # then all train under the same seeds
        wanted = [
            None
            if candidate.is_given
            else _wanted(candidate, learned, own, engine, (success, by), pool=pool).retried(retry)
            for candidate, own in zip(candidates, trainers, strict=True)
        ]
    if not different_tasks:
        refuse_different_trainers(
            [
                (one.label, one.identity if config is None else config.trainer.describe())
                for one, config in zip(candidates, wanted, strict=True)
            ]
        )
    if most is not None:
        _refuse_outcomes(candidates)
    to_train = [config for config in wanted if config is not None]
    outcomes: list[Outcome] = []
    if to_train:
        directory = _local(output or comparison_directory([one.label for one in candidates]))
        _announce_compiling(to_train, voice)
        with ending_processes(), voice.drawing("training") as shown:
            _check_independence(candidates, wanted, success)
            if most is not None:
                return _sequential(
                    candidates,
                    to_train,
                    directory,
                    most=most,
                    alpha=alpha,
                    by=None if by is None else (by, limits or limits_of(candidates)),
                    pool=pool,
                    max_void=share,
                    voice=shown,
                )
            trained_seeds = train_shared(
                directory,
                to_train,
                seeds or FRESH_SEEDS,
                pool=pool,
                max_void=share,
                on_message=voice.warn,
                on_estimate=voice.inform,
                on_seeds=shown.seeds,
            )
            outcomes = _trained_again(candidates, wanted, without_void(trained_seeds), here=here)
            _warn_if_ignored(to_train, outcomes, voice)
    if len(outcomes) == len(candidates):
        _refuse_all_crashed(candidates, outcomes)
    looks = earlier_looks(directory, to_train, Look(seeds or FRESH_SEEDS)) if to_train else ()
    contestants = _contestants(candidates, wanted, outcomes, looks)
    if by is None:
        return compare_runs(contestants, alpha=alpha, margin=margin)
    found = [contestant.outcome for contestant in contestants]
    rules = [contestant.rule for contestant in contestants]
    measure = measure_of(by, found, rules, limits or limits_of(candidates))
    return compare_numbers(contestants, measure, alpha=alpha, margin=margin)


def _contestants(
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds | None],
    outcomes: Iterable[Outcome],
    looks: tuple[str, ...],
) -> list[Contestant]:
    """Each candidate with its seeds: those that it had, or the outcome of those trained now."""
    contestants, trained = [], iter(outcomes)
    for candidate, config in zip(candidates, wanted, strict=True):
        contestant = candidate.known
        if config is not None:
            identity = identity_of(config.trainer.describe())
            contestant = trained_contestant(candidate, next(trained), identity, looks)
        assert contestant is not None  # those that lack seeds are trained
        contestants.append(contestant)
    return contestants


def _checked_limits(
    by: str | None, margin: float | None, bounds: object, *, sequential: bool
) -> tuple[float, float] | None:
    """The limits of the number; an InputError for what is out of range or means nothing."""
    limits = None if bounds is None else checked_limits(bounds)
    if by is None:
        refuse_given("only with by=: the name of a number", bounds=bounds)
    else:
        parse_measure(by, sequential=sequential)
    if margin is None:
        return limits
    if sequential:
        raise InputError(
            "with sequential", field="margin", allowed="one of them", fix="leave one out"
        )
    allowed = "above 0 and below 1" if by is None else "above 0"
    check_number("margin", margin, lambda d: 0 < d < (1 if by is None else math.inf), allowed)
    return limits


def _check(runs: int, seeds: int | None, *, train: bool) -> None:
    """Raise an InputError for an argument that is out of range or contradicts another."""
    if runs < 2:
        raise InputError(
            "one run, and nothing to compare it with" if runs else "no runs",
            field="runs",
            allowed="two runs or more",
            fix="name another run",
        )
    if seeds is not None:
        check_count("seeds", seeds, most=len(COMPARE))
        if not train:
            raise InputError(
                f"{seeds:,} seeds are asked for, but training is refused",
                field="seeds",
                fix="leave one of the two out",
            )


def _most_seeds(
    sequential: bool,
    given: int | None,
    seeds: int | None,
    count: int,
    alpha: float,
    *,
    train: bool,
) -> int | None:
    """The most seeds of a sequential comparison of `count` configurations; None for another."""
    if not sequential:
        refuse_given("only with --sequential", max_seeds=given)
        return None
    refuse_given("only without --sequential; with it, --max-seeds is the limit", seeds=seeds)
    if not train:
        raise InputError(
            "it trains seeds, but training is refused",
            field="sequential",
            fix="leave one of the two out",
        )
    most = FRESH_SEEDS if given is None else given
    check_count("max_seeds", most, most=MAX_SEEDS_OF_BOUNDARY)
    least = seeds_to_tell_apart(alpha / math.comb(count, 2))
    if most < least:
        raise InputError(
            f"{most} seeds cannot prove anything, even if one configuration solves all of them "
            "and the others none",
            field="max_seeds",
            allowed=f"{least} or more",
            fix=f"give {least} or more",
        )
    return most


LEAST_ROUND, SHARE_OF_ROUND = 8, 50
"""A sequential comparison tests after each round of 8 seeds, or of 1/50 of the seeds so far if that
is more: tests take time. Seeds beyond the one that decides do not count."""


def _refuse_same(
    candidates: Sequence[Candidate], trainers: Sequence[Trainer | Function | None]
) -> None:
    """Refuse a configuration that is given twice: it would have the same seeds twice.

    Two runs may have found the same one; one may be trained by two functions.
    """
    for (one, first), (other, second) in combinations(zip(candidates, trainers, strict=True), 2):
        if one.point is None or one.point != other.point or first != second:
            continue
        if one.run is None or other.run is None:
            if (one.run, one.task) == (other.run, other.task):
                raise _same(one.point, "", "give different parameters, or two functions")
            continue
        if (place := one.run.path.resolve()) == other.run.path.resolve():
            key = next((key for key in one.run.results.keys if key != one.point.key), None)
            fix = "name another run"
            if key is not None:
                fix += f", or another configuration of it: {one.run.path}#{key}"
            raise _same(one.point, f" of {place.name}", fix)


def _same(point: Point, of: str, fix: str) -> InputError:
    return InputError(
        f"both are the same configuration, {point.key}{of}",
        field="runs",
        allowed="different configurations",
        fix=fix,
    )


def _refuse_outcomes(candidates: Sequence[Candidate]) -> None:
    for candidate in candidates:
        if candidate.is_given:
            raise InputError(
                f"{candidate.label} already has its seeds",
                field="sequential",
                allowed="what can be trained: runs, configs, dicts",
                fix="leave --sequential out",
            )


def _sequential(
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds],
    directory: Path,
    *,
    most: int,
    alpha: float,
    by: tuple[str, tuple[float, float] | None] | None,
    pool: Cluster,
    max_void: float,
    voice: Voice,
) -> SequentialComparison:
    """Train all under the same seeds, until one is left; what is proven worse gets no more.

    `by` is the number and its limits, if one is compared.
    """
    labels = [candidate.label for candidate in candidates]
    points = [config.point for config in wanted]
    shared: dict[str, Any] = {"first_seed": COMPARE.start, "max_seeds": most, "alpha": alpha}
    known: dict[int, Outcome] = {}
    looked: dict[tuple[int, int], PairedAnswer] = {}
    void: set[tuple[str, int]] = set()
    dropped: frozenset[int] = frozenset()
    seconds = _sum_known([config.seconds for config in wanted])  # of work for one seed of each
    slots = _slots(pool)
    n, is_over, is_announced = 0, False, False
    while not is_over and n < most:  # with void seeds, fewer than `most` have results in the end
        if seconds is not None and not is_announced:
            is_announced = True
            what = f"compare: at most {len(wanted)} x {most:,} seeds"
            if sentence := estimate(what, seconds * (most - n), seconds * (most - n), slots):
                voice.inform(sentence)
        before, started = n, time.perf_counter()
        n = min(most, n + max(LEAST_ROUND, n // SHARE_OF_ROUND))
        left = [place for place in range(len(wanted)) if place not in dropped]
        going = [wanted[place] for place in left]
        found = train_shared(
            directory, going, n, pool=pool, max_void=max_void, void=void, on_message=voice.warn
        )
        known |= dict(zip(left, found, strict=True))
        outcomes = without_void([known[place] for place in range(len(wanted))])
        if before and seconds is None:  # the first round also starts processes, and compiles
            seconds = slots * (time.perf_counter() - started) / (n - before)
        _refuse_all_crashed(candidates, outcomes)
        measure = None
        if by is not None:
            measure = measure_of(by[0], outcomes, _rules(candidates), by[1], sequential=True)
            check_sequential(measure)
        seeds = [one.solved if measure is None else measure.of(one) for one in outcomes]
        comparison, is_over = compared_in_step(
            seeds, labels, points, measure, looked=looked, **shared
        )
        dropped = comparison.dropped
        voice.seeds((comparison.n, most))
    earlier = earlier_looks(directory, wanted, Look(most, sequential=True))
    outcomes = _trained_again(candidates, wanted, outcomes, here=pool.workers == 0)
    _warn_if_ignored(wanted, outcomes, voice)
    notes = (*(f"All were {look}" for look in earlier), *_of_chance(candidates, outcomes))
    return replace(comparison, notes=notes)


def limits_of(candidates: Sequence[Candidate]) -> tuple[float, float] | None:
    """The limits that the spaces of runs give their number; None if none does.

    Raises:
        InputError: they differ.
    """
    given = {run.asked.bounds for candidate in candidates if (run := candidate.run) is not None}
    known = given - {None}
    if len(known) > 1:
        shown = " and ".join(f"[{low:g}, {high:g}]" for low, high in sorted(filter(None, known)))
        raise InputError(
            f"the spaces have different bounds, {shown}",
            field="bounds",
            allowed="the same for all",
            fix="give bounds, those that hold for all",
        )
    return known.pop() if known else None


def _rules(candidates: Sequence[Candidate]) -> list[Success | None]:
    """The rule by which each run's seeds succeed."""
    return [None if one.run is None else one.run.asked.success for one in candidates]


def _of_chance(candidates: Sequence[Candidate], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A note for each whose seeds do not determine their results; the proof holds all the same."""
    for candidate, outcome in zip(candidates, outcomes, strict=True):
        if twice := outcome.details.twice or candidate.twice:
            yield f"{candidate.label}: {twice}; the same comparison may end otherwise"


def _warn_if_ignored(
    wanted: Sequence[WantedSeeds], outcomes: Sequence[Outcome], voice: Voice
) -> None:
    """Say once of each training that it seems to ignore its seed."""
    told: set[str] = set()  # fingerprints of trainers
    for config, outcome in zip(wanted, outcomes, strict=True):
        look = IgnoredSeed(judged_names(config.trainer), several=False)
        look.see(config.point.key, outcome.details.values)
        if look.sentence and config.fingerprint not in told:
            told.add(config.fingerprint)
            voice.warn(look.sentence)


def _trainers(
    train: bool | Function | Sequence[Function], trainer: Trainer | Function | None, count: int
) -> Sequence[Trainer | Function | None]:
    """The user's trainer or function for each of `count` entries; None if there is none."""
    if isinstance(train, bool):
        return [trainer] * count
    if trainer is not None:
        raise InputError(
            "given together with trainer", field="train", allowed="one of them", fix="leave one out"
        )
    if callable(train):
        train = [train] * count
    check_type("train", train, Iterable, "a function, or a list with one for each")
    functions, allowed = list(train), "a function, or a list with one for each"
    if len(functions) != count:
        raise InputError(
            f"{len(functions)} functions for {count} configurations", field="train", allowed=allowed
        )
    for place, function in enumerate(functions):
        check_type(f"train[{place}]", function, Callable, "a function")  # type: ignore[arg-type]
    return functions


def _refuse_unused(
    candidates: Sequence[Candidate], train: object, trainers: Sequence[Trainer | Function | None]
) -> None:
    """Refuse functions for configs of the built-in network, which trains these by itself."""
    networks = [one.run is None and one.task is not None for one in candidates]
    unused = [
        one.label
        for one, is_network, trainer in zip(candidates, networks, trainers, strict=True)
        if is_network and callable(trainer)
    ]
    # One function may be for the others.
    if unused and (not callable(train) or all(networks)):
        raise InputError(
            f"a function for {unused[0]}, a Config, which the built-in network trains",
            field="train",
            allowed="functions for dicts of parameters",
            fix="give its parameters in a dict, as dict(config.point)",
        )


def _lacks_seeds(candidate: Candidate) -> InputError:
    run = candidate.run
    certify = f"`xortune certify {run.path}`, or " if run is not None else ""
    return InputError(
        f"{candidate.label} has only the seeds by which it was chosen",
        place=str(run.path) if run is not None else None,
        allowed="certified configs, where training is refused",
        fix=f"{certify}allow training",
    )


def _wanted(
    candidate: Candidate,
    task: Task,
    trainer: Trainer | Callable[..., Any] | None,
    engine: str | None,
    asked: tuple[str | None, str | None],
    *,
    pool: Cluster,
) -> WantedSeeds:
    run, point, used, here = candidate.run, candidate.point, trainer, pool.workers == 0
    assert point is not None  # an outcome is not trained
    if run is not None and (used is None or callable(used)):
        with ending_processes():
            used = trainer_of(run, engine, 0.0, train=used, here=here)
    elif candidate.task is not None and (used is None or callable(used)):
        used = NetworkTrainer(task, engine or "auto")
    elif used is None:
        raise InputError(
            f"{candidate.label} is a dict, and no function was given to train it",
            field="train",
            allowed="a function of a configuration and a seed",
            fix="give it as train=, or a xortune.Config for the built-in network",
        )
    elif callable(used):
        success, by = asked
        numbers = by is not None
        used = single_config(point, used, success, pool.cpus_per_trial, numbers=numbers)[1]
    if here:
        used = in_this_process(used)
    used = worker_and_local_trainer(used)[1 if here else 0]
    used.describe()  # refuses an engine that is not available
    seconds = None if run is None else seconds_of_seed(run, point.key)
    return WantedSeeds(point, used, seconds)


def _check_independence(
    candidates: Sequence[Candidate], wanted: Sequence[WantedSeeds | None], success: str | None
) -> None:
    """Refuse a function whose result for a seed depends on the seeds beside it.

    The search of a run has checked its own.
    """
    for candidate, config in zip(candidates, wanted, strict=True):
        if config is None or candidate.run is not None:
            continue
        trainer, point = config.trainer, config.point
        if has(trainer, "takes_many_seeds") and not has(trainer, "stacks_seeds"):
            both = train_one(trainer, Block(point, COMPARE.start, 2))
            if isinstance(both, Outcome):
                check_call(trainer, both, point, success)


def _trained_again(
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds | None],
    outcomes: Sequence[Outcome],
    *,
    here: bool,
) -> list[Outcome]:
    """Train the first seed of each function a second time, and note that in its outcome.

    The search of a run has done so. What trains `here`, in this process, is followed by a debugger
    or changes what is around it, and trains once.
    """
    lacking = [(one, config) for one, config in zip(candidates, wanted, strict=True) if config]
    noted = []
    for (one, config), outcome in zip(lacking, outcomes, strict=True):
        twice = None
        if one.run is None and has(config.trainer, "users_code") and not here:
            twice = train_again(config.trainer, outcome, config.point)
        details = outcome.details if twice is None else replace(outcome.details, twice=twice)
        noted.append(replace(outcome, details=details))
    return noted


def _refuse_all_crashed(candidates: Sequence[Candidate], outcomes: Sequence[Outcome]) -> None:
    """Raise an InputError if all candidates are dicts and all their seeds have crashed.

    No search has called their function before: it is probably broken.
    """
    dicts = not any(candidate.run or candidate.task for candidate in candidates)
    if dicts and all((outcome.status == Status.CRASHED).all() for outcome in outcomes):
        reason = next(iter(outcomes[0].details.failed.values()), "no reason is known")
        raise InputError(
            f"all {outcomes[0].n} seeds of every configuration crashed: {reason}",
            field="train",
            allowed="a function that works for at least one seed",
            fix='if it returns numbers, say what a success is: success="accuracy >= 0.9"',
        )


def _local(directory: str | os.PathLike[str]) -> Path:
    """The directory as a path; raises an InputError for a URL."""
    if url_of(directory) is not None:
        raise InputError(
            "is a URL, but a comparison keeps its seeds on this machine",
            place=str(directory),
            fix="give a directory with --output",
        )
    return Path(directory)


def _announce_compiling(wanted: Iterable[WantedSeeds], voice: Voice) -> None:
    """Explain the wait, which would look like a hang."""
    trainers = [config.trainer for config in wanted]
    engines = {trainer.engine for trainer in trainers if isinstance(trainer, NetworkTrainer)}
    if engines & {"auto", "fused"} and not is_compiled():
        voice.warn("the fused engine is compiled at its first use: some 15 seconds, once")


def _sum_known(seconds: Sequence[float | None]) -> float | None:
    """The sum; None if one of them is not known."""
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None


# -------------------------------------------------------------------------------------------------
# Looks: which comparisons of the same configs were made in a directory. To add seeds because a
# comparison gave no answer, and to look again, is a second chance to be wrong.

LOOKS = "looks.jsonl"


@dataclass(frozen=True)
class Look:
    """A comparison that was made.

    Attributes:
        seeds: of each config; the most of them in a sequential comparison.
        sequential: whether it was one.
    """

    seeds: int
    sequential: bool = False

    def __str__(self) -> str:
        return f"{'at most ' if self.sequential else ''}{self.seeds:,}"


def earlier_looks(directory: Path, wanted: Sequence[WantedSeeds], look: Look) -> tuple[str, ...]:
    """Note this look in the directory, and return a note on other looks at two of these configs."""
    path, configs = directory / LOOKS, {f"{one.fingerprint} {one.point.key}" for one in wanted}
    earlier: set[Look] = set()
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError, TypeError):  # cut off by a kill, or edited
            entry = json.loads(line)
            if len(configs & set(entry["configs"])) > 1:
                earlier.add(Look(int(entry["seeds"]), bool(entry["sequential"])))
    if look not in earlier:
        with writing(path), path.open("a+b") as file:
            if file.tell():  # a kill may have cut the last line off
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read() == b"\n" else b"\n")
            file.write(json.dumps({"configs": sorted(configs), **asdict(look)}).encode() + b"\n")
    others = sorted(earlier - {look}, key=attrgetter("seeds"))
    if not others:
        return ()
    *first, last = map(str, others)
    seeds = f"{', '.join(first)} and {last}" if first else last
    return (
        f"compared before, with {seeds} seeds: each look has its own chance to "
        "be wrong, so together they err more often than one; only --sequential counts all its "
        "looks",
    )


# -------------------------------------------------------------------------------------------------
# Fresh seeds for a comparison: the same for all configs.
#
# A journal for each engine and its versions keeps them. A comparison that was interrupted, or one
# for more seeds, continues there.


@dataclass(frozen=True)
class WantedSeeds:
    """A config that lacks seeds.

    Attributes:
        point: the config.
        trainer: trains it.
        seconds: of one seed, if its run has measured that.
    """

    point: Point
    trainer: Trainer
    seconds: float | None = None

    def retried(self, retry: object) -> WantedSeeds:
        """The same, with seeds tried again that raise these exceptions."""
        return replace(self, trainer=retrying(self.trainer, retry))

    @property
    def fingerprint(self) -> str:
        """Of the trainer; see `runs.manifest.fingerprint_of`."""
        return fingerprint_of(identity_of(self.trainer.describe()))


ConfigOfTrainer: TypeAlias = tuple[str, str]
"""The fingerprint of a trainer, and the key of a config that it trains."""


def train_shared(
    directory: Path,
    wanted: Sequence[WantedSeeds],
    n: int,
    *,
    pool: Cluster = THIS_MACHINE,
    max_void: float = MAX_VOID,
    void: set[tuple[str, int]] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_estimate: Callable[[str], None] | None = None,
    on_seeds: Callable[[tuple[int, int]], None] | None = None,
) -> list[Outcome]:
    """Train each config under the first n seeds of comparisons, except those trained before.

    The journals are in `directory`. Equal configs train once. `void` has seeds, by the key of their
    config, that this call does not try again; those that turn out void are added. `on_estimate` is
    called with an estimate of the time, if it is long; `on_seeds` with the seeds done and all
    seeds, at first and after each block.

    Returns:
        One outcome for each config, of these seeds but the void ones, ascending. Seeds of a block
        that finally has no outcome count as crashed.

    Raises:
        InputError: the seeds of a network need more memory than there is.
        TrainingError: more seeds are void than `max_void` allows, or all of a config.
    """
    for config in wanted:
        if isinstance(config.trainer, NetworkTrainer):
            config.trainer.refuse_beyond_memory(config.point, n)
    seeds = range(COMPARE.start, COMPARE.start + n)
    configs = {(config.fingerprint, config.point.key): config for config in wanted}
    trainers = {config.fingerprint: config.trainer for config in wanted}
    journals = {fingerprint: directory / f"trained-{fingerprint}.jsonl" for fingerprint in trainers}
    with held(directory, on_message=on_message):
        lacking = _lacking(configs, journals, seeds, void or ())
        sentence = _time_of(configs, lacking, n, pool)
        if sentence and on_estimate is not None:
            on_estimate(sentence)
        total = len(configs) * n
        done = total - sum(task.count for tasks in lacking.values() for task in tasks)
        why: dict[str, str] = {}  # by the key of a config, why a seed of it could not be tried
        for fingerprint, tasks in lacking.items():
            trainer, place = trainers[fingerprint], journals[fingerprint]
            executor = pool_or_here(trainer, pool)

            def on_news(news: tuple[int, int], before: int = done) -> None:
                if on_seeds is not None:
                    on_seeds((before + news[0], total))

            with held_journal(place, fingerprint, on_message=on_message) as journal:
                record = Record(journal, max_void=max_void)
                batches = Batches(FreshSeeds(tasks), trainer, record, slots=executor.slots)
                run(batches, executor, record, on_news)
            if record.ends is not None:
                raise TrainingError(record.ends.reason)
            why |= {key: reason for (key, _), reason in record.void.items()}
            if void is not None:
                void.update(record.void)
            if record.void and on_message is not None:
                on_message(count_of_void(record.void.values()))
            done += sum(task.count for task in tasks)
        outcomes = {
            (fingerprint, result.key): result.outcome
            for fingerprint, path in journals.items()
            for result in ConfigResults(read(path))
        }
    for fingerprint, key in configs:
        if (fingerprint, key) not in outcomes:
            raise TrainingError(f"no seed of config {key} could be tried: {why[key]}")
    return [_restricted(outcomes[c.fingerprint, c.point.key], seeds) for c in wanted]


def _lacking(
    configs: Mapping[ConfigOfTrainer, WantedSeeds],
    journals: Mapping[str, Path],
    seeds: range,
    void: Collection[tuple[str, int]],
) -> dict[str, list[SeedsToTrain]]:
    """By the fingerprint of a trainer, the seeds of its configs that its journal lacks.

    A trainer that lacks none is left out. `void` has seeds that are not tried again.
    """
    known = {fingerprint: read(path) for fingerprint, path in journals.items() if path.exists()}
    lacking: dict[str, list[SeedsToTrain]] = {}
    for (fingerprint, key), config in configs.items():
        lines = known[fingerprint].of_keys([key]) if fingerprint in known else ()
        done = [line.block for line in lines if line.final]
        done += [Block(config.point, seed, 1) for of, seed in void if of == key]
        if parts := tuple(missing_seeds(seeds, done)):
            lacking.setdefault(fingerprint, []).append(SeedsToTrain(config.point, parts))
    return lacking


def _time_of(
    configs: Mapping[ConfigOfTrainer, WantedSeeds],
    lacking: Mapping[str, Sequence[SeedsToTrain]],
    n: int,
    pool: Cluster,
) -> str | None:
    """How long the lacking seeds take; None if that is not known, or soon over."""
    seconds = [
        None
        if (each := configs[fingerprint, task.point.key].seconds) is None
        else task.count * each
        for fingerprint, tasks in lacking.items()
        for task in tasks
    ]
    known = _sum_known(seconds) if seconds else None
    return estimate_of_seeds("compare", len(seconds), n, known, _slots(pool)) if known else None


def without_void(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes without the seeds that are void for one of them: pairs need both.

    Each has the seeds from the first of comparisons on, in their order, up to its last one.

    Raises:
        TrainingError: none is left.
    """
    void = set[int]()
    for outcome in outcomes:
        seeds = outcome.seeds.tolist()
        void |= set(range(COMPARE.start, max(seeds, default=0) + 1)) - set(seeds)
    if not void:
        return list(outcomes)
    if any(void.issuperset(outcome.seeds.tolist()) for outcome in outcomes):
        raise TrainingError("each seed is void for one of the configurations: no two can be paired")
    return [_restricted(outcome, COMPARE, void) for outcome in outcomes]


def _slots(pool: Cluster) -> int:
    """How many processes train at once."""
    return 1 if pool.workers == 0 else slots_here(pool)


def _restricted(outcome: Outcome, seeds: range, void: Collection[int] = ()) -> Outcome:
    """The outcome restricted to these seeds but the void ones, ascending."""
    inside = (outcome.seeds >= seeds.start) & (outcome.seeds < seeds.stop)
    kept = np.flatnonzero(inside & ~np.isin(outcome.seeds, list(void)))
    kept = kept[np.argsort(outcome.seeds[kept])]
    details = outcome.details
    if details is not NO_DETAILS:
        values = {name: numbers[kept] for name, numbers in details.values.items()}
        among = set(outcome.seeds[kept].tolist())
        failed, output = (
            {seed: text for seed, text in texts.items() if seed in among}
            for texts in (details.failed, details.output)
        )
        details = Details(values, failed, output=output)
    return Outcome(
        seeds=outcome.seeds[kept],
        epochs=outcome.epochs,
        status=outcome.status[kept],
        solved_epoch=outcome.solved_epoch[kept],
        final_loss=outcome.final_loss[kept],
        predictions=outcome.predictions[kept],
        details=details,
    )
