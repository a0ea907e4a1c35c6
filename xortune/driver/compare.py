"""The verb `compare`: runs, configs or outcomes with each other."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, overload

from xortune.comparisons.contestants import (
    Candidate,
    Compared,
    candidates_of,
    refuse_different_tasks,
    refuse_different_trainers,
    rule_of_trainer,
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
    check_count,
    check_number,
    check_share,
    check_type,
    refuse_given,
)
from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import COMPARE, IgnoredSeed
from xortune.core.task import Task, TaskSpec
from xortune.core.trainer import Block, has
from xortune.driver.certify import (
    estimate,
    seconds_of_seed,
)
from xortune.driver.cluster import Cluster, Workers
from xortune.driver.evaluate import single_config
from xortune.driver.processes import ending_processes, in_this_process
from xortune.driver.retries import checked_max_void
from xortune.driver.shared_seeds import (
    Look,
    WantedSeeds,
    earlier_looks,
    slots_of,
    sum_known,
    train_shared,
    without_void,
)
from xortune.driver.trainer import (
    check_call,
    train_again,
    train_one,
    trainer_of,
    worker_and_local_trainer,
)
from xortune.driver.voice import Listen, Voice
from xortune.reports.files import comparison_directory
from xortune.runs.manifest import identity_of
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
            else _seeds_of(
                candidate, learned, own, engine, success=success, by=by, pool=pool
            ).retried(retry)
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
                    by=None if by is None else (by, limits or _limits_of(candidates)),
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
    measure = measure_of(by, found, rules, limits or _limits_of(candidates))
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
            raise _refused(f"{seeds:,} seeds are asked for", "seeds")


def _refused(asked: str, field: str) -> InputError:
    return InputError(
        f"{asked}, but training is refused", field=field, fix="leave one of the two out"
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
        raise _refused("it trains seeds", "sequential")
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


LEAST_ROUND, SHARE_OF_ROUND = 8, 50
"""A sequential comparison tests after each round of 8 seeds, or of 1/50 of the seeds so far if that
is more: tests take time. Seeds beyond the one that decides do not count."""


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
    rules = [rule_of_trainer(identity_of(config.trainer.describe())) for config in wanted]
    shared: dict[str, Any] = {"first_seed": COMPARE.start, "max_seeds": most, "alpha": alpha}
    known: dict[int, Outcome] = {}
    looked: dict[tuple[int, int], PairedAnswer] = {}
    void: set[tuple[str, int]] = set()
    dropped: frozenset[int] = frozenset()
    seconds = sum_known([config.seconds for config in wanted])  # of work for one seed of each
    slots = slots_of(pool)
    n, is_over, is_announced = 0, False, False
    faults: list[None] = []  # one for each time that recorded results are replaced
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
        told: dict[str, Any] = {"on_message": voice.warn, "on_fault": lambda: faults.append(None)}
        found = train_shared(directory, going, n, pool=pool, max_void=max_void, void=void, **told)
        if faults:  # earlier looks used them
            n, dropped = 0, frozenset()
            for one in (faults, known, looked):
                one.clear()
            continue
        known |= dict(zip(left, found, strict=True))
        outcomes = without_void([known[place] for place in range(len(wanted))])
        if before and seconds is None:  # the first round also starts processes, and compiles
            seconds = slots * (time.perf_counter() - started) / (n - before)
        _refuse_all_crashed(candidates, outcomes)
        measure = None
        if by is not None:
            measure = measure_of(by[0], outcomes, rules, by[1], sequential=True)
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


def _limits_of(candidates: Sequence[Candidate]) -> tuple[float, float] | None:
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


def _seeds_of(
    candidate: Candidate,
    task: Task,
    trainer: Trainer | Callable[..., Any] | None,
    engine: str | None,
    *,
    success: str | None,
    by: str | None,
    pool: Cluster,
) -> WantedSeeds:
    run, point, here = candidate.run, candidate.point, pool.workers == 0
    assert point is not None  # an outcome is not trained
    used: Trainer
    if trainer is not None and not callable(trainer):
        used = trainer
    elif run is not None:
        with ending_processes():
            used = trainer_of(run, engine, 0.0, train=trainer, here=here)
    elif candidate.task is not None:
        used = NetworkTrainer(task, engine or "auto")
    elif trainer is None:
        raise InputError(
            f"{candidate.label} is a dict, and no function was given to train it",
            field="train",
            allowed="a function of a configuration and a seed",
            fix="give it as train=, or a xortune.Config for the built-in network",
        )
    else:
        numbers = by is not None
        used = single_config(point, trainer, success, pool.cpus_per_trial, numbers=numbers)[1]
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
    trained = [(one, config) for one, config in zip(candidates, wanted, strict=True) if config]
    noted = []
    for (one, config), outcome in zip(trained, outcomes, strict=True):
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
