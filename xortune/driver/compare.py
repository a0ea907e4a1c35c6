"""The verb `compare`: runs, configs or outcomes with each other."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

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
from xortune.comparisons.runs import Contestant, Reused, RunComparison, compare_runs
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
    with_kind,
)
from xortune.core.formats import capitalized, count
from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import COMPARE, IgnoredSeed
from xortune.core.task import Task, TaskSpec
from xortune.core.trainer import Block, Exceptions, Outages, Waits
from xortune.driver.certify import (
    count_of_void,
    estimate,
    seconds_of_seed,
)
from xortune.driver.evaluate import single_config
from xortune.driver.shared_seeds import (
    ConfigOfTrainer,
    Earlier,
    Kept,
    Look,
    Void,
    WantedSeeds,
    earlier_seeds,
    kept_for,
    later_seeds,
    note,
    other_looks,
    outcomes_in,
    refuse_changed,
    refuse_void,
    reused_of,
    slots_of,
    sum_known,
    train_shared,
    without_void,
)
from xortune.driver.trainer import (
    check_independence,
    train_again,
    train_one,
    trainer_of,
)
from xortune.driver.voice import Listen, Voice
from xortune.driver.workplace import who_trains
from xortune.reports.files import comparison_directory
from xortune.runs.lock import held
from xortune.runs.manifest import identity_of
from xortune.runs.run import Run
from xortune.runs.store import url_of
from xortune.stats.betting import checked_limits
from xortune.stats.sequential import MAX_SEEDS_OF_BOUNDARY, PairedAnswer, seeds_to_tell_apart
from xortune.trainers.network import NetworkTrainer, is_compiled
from xortune.trainers.verdicts import judged_names
from xortune.training.processes import ending_processes
from xortune.training.resources import Cluster, Workers

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
    retry: Exceptions
    retry_wait: Waits | None
    max_void: float | None
    reuse: bool
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
    retry: Exceptions = (),
    retry_wait: Waits | None = None,
    max_void: float | None = None,
    reuse: bool = False,
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
        output: the directory that keeps the trained seeds, so that the same call continues there
            after an interruption; runs/compare-A-B if not given. Seeds of a comparison that has
            ended are not used again, unless `reuse` asks for them.
        alpha: the level of all tests together.
        workers: as in `search`; 0 trains in this process, for a debugger.
        retry: as of `evaluate`. A seed that is void for one is left out for all; a call with
            `reuse` tries it again. With `sequential` a seed that waits for its next try for more
            than a second in all counts behind all others, if these decide nothing.
        retry_wait: as of `evaluate`.
        max_void: the share of all seeds of the comparison that may be void; 0.05 if not given.
        reuse: use the seeds that the last comparison of these in `output` has trained, and train
            only what it lacks. The answer says how many are old, and from when. The first old seed
            of each is tried again; if its result is another one, that is an InputError.
        listener: called with each event: `SeedsDone`, or a `Message`.
        verbose: as in `search`.

    Raises:
        InputError: an argument is not usable; the tasks or trainers differ; seeds are missing
            and may not, or cannot, be trained; or the first seed of those from before, tried again,
            has another result.
        TrainingError: more seeds are void than `max_void` allows, or that seed cannot be tried. Its
            `outcome` has the outcome of each contestant so far, None where there is none.
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
    outages = Outages.of(retry, retry_wait, max_void)
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
                *(candidate, learned, own, engine),
                success=success,
                by=by,
                pool=pool,
                outages=outages,
            )
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
    asked = None if by is None else (by, limits or _limits_of(candidates))
    if not to_train:
        refuse_given("only where seeds are trained", reuse=reuse)
        return _compared(_contestants(candidates, wanted, [], []), asked, alpha, margin)
    directory = _local(output or comparison_directory([one.label for one in candidates]))
    look = Look(seeds or FRESH_SEEDS) if most is None else Look(most, sequential=True)
    _announce_compiling(to_train, voice)
    with ending_processes(), voice.drawing("training") as shown:
        _check_independence(candidates, wanted)
        return _by_training(
            candidates,
            wanted,
            directory,
            look,
            reuse=reuse,
            pool=pool,
            outages=outages,
            voice=shown,
            alpha=alpha,
            margin=margin,
            by=asked,
        )


def _by_training(
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds | None],
    directory: Path,
    look: Look,
    *,
    reuse: bool,
    pool: Cluster,
    outages: Outages,
    voice: Voice,
    alpha: float,
    margin: float | None,
    by: tuple[str, tuple[float, float] | None] | None,
) -> RunComparison | SequentialComparison | NumberComparison:
    """Train what lacks seeds, compare, and note in the directory that there is an answer."""
    to_train = [config for config in wanted if config is not None]
    with held(directory, on_message=voice.warn):
        kept = kept_for(directory, to_train, look, reuse=reuse)
        comparison: RunComparison | SequentialComparison | NumberComparison
        try:
            earlier = _earlier(kept, candidates, wanted, look, reuse=reuse, pool=pool, voice=voice)
            training = _SharedTraining(kept, to_train, look, earlier, reuse, pool, outages, voice)
            if look.sequential:
                comparison = _sequential(candidates, training, alpha=alpha, by=by)
            else:
                contestants = _trained(candidates, wanted, training)
                own = [one.outcome.seeds for one in contestants if one.origin == "trained"]
                comparison = _compared(contestants, by, alpha, margin)
                comparison = replace(comparison, reused=training.reused(own))
        except TrainingError as error:
            found = iter(outcomes_in(kept, to_train, look.seeds))
            error.outcome = tuple(
                one.known and one.known.outcome if config is None else next(found)
                for one, config in zip(candidates, wanted, strict=True)
            )
            raise
        note(kept, to_train, look, "ended")
        return comparison


def _compared(
    contestants: Sequence[Contestant],
    by: tuple[str, tuple[float, float] | None] | None,
    alpha: float,
    margin: float | None,
) -> RunComparison | NumberComparison:
    """Compare success rates, or `by` a number, which has these limits."""
    if by is None:
        return compare_runs(contestants, alpha=alpha, margin=margin)
    found = [contestant.outcome for contestant in contestants]
    rules = [contestant.rule for contestant in contestants]
    measure = measure_of(by[0], found, rules, by[1])
    return compare_numbers(contestants, measure, alpha=alpha, margin=margin)


@dataclass(frozen=True)
class _SharedTraining:
    """What a comparison trains.

    Attributes:
        kept: where its seeds are.
        wanted: the configs that are trained.
        look: how many seeds.
        earlier: the seeds that were there before, whose first ones were tried again.
        reuse: whether they were asked for.
        pool: who trains.
        outages: what becomes of seeds that cannot be tried.
        voice: of progress.
    """

    kept: Kept
    wanted: Sequence[WantedSeeds]
    look: Look
    earlier: Mapping[ConfigOfTrainer, Earlier]
    reuse: bool
    pool: Cluster
    outages: Outages
    voice: Voice

    def checked(self, candidates: Sequence[Candidate], outcomes: list[Outcome]) -> list[Outcome]:
        """Train the first seed of each function a second time, and note that in its outcome.

        The search of a run has done so, and so has `_earlier`. What trains in this process is
        followed by a debugger or changes what is around it, and trains once.
        """
        trained = [one for one in candidates if not one.is_given]
        noted = []
        for one, config, outcome in zip(trained, self.wanted, outcomes, strict=True):
            twice = None
            if one.run is None and config.trainer.traits.users_code and self.pool.workers != 0:
                known = config.name in self.earlier
                twice = "" if known else train_again(config.trainer, outcome, config.point)
            details = outcome.details if twice is None else replace(outcome.details, twice=twice)
            noted.append(replace(outcome, details=details))
        return noted

    def reused(self, seeds: Sequence[NDArray[np.int64]]) -> Reused | None:
        """How many of the seeds that count, of each config, were there before; None: not asked."""
        return reused_of(self.wanted, self.earlier, seeds) if self.reuse else None

    def notes(self, outcomes: Sequence[Outcome], void: Void) -> list[tuple[str, ...]]:
        """Of each config: seeds that could not be tried, and that it seems to ignore its seed.

        The latter is also said, once of each training.
        """
        notes, told = [], set[str]()  # fingerprints of trainers
        for config, outcome in zip(self.wanted, outcomes, strict=True):
            untried = void.get(config.fingerprint, {}).items()
            count = count_of_void([why for (key, _), why in untried if key == config.point.key])
            look = IgnoredSeed(judged_names(config.trainer), several=False)
            look.see(config.point.key, outcome.details.values)
            if look.sentence and config.fingerprint not in told:
                told.add(config.fingerprint)
                self.voice.warn(look.sentence)
            left_out = f"{count}; left out for all" if count else ""
            notes.append(tuple(filter(None, (left_out, look.sentence))))
        return notes


def _earlier(
    kept: Kept,
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds | None],
    look: Look,
    *,
    reuse: bool,
    pool: Cluster,
    voice: Voice,
) -> Mapping[ConfigOfTrainer, Earlier]:
    """The seeds that were trained before; the first of each is tried again.

    Raises:
        InputError: it has another result now; then the same call does not go on with these seeds.
        TrainingError: it cannot be tried now.
    """
    pairs = zip(candidates, wanted, strict=True)
    labels = {config.name: one.label for one, config in pairs if config is not None}
    to_train = [config for config in wanted if config is not None]
    earlier = earlier_seeds(kept, to_train, look.seeds)
    if earlier:
        many = sum(len(one.seeds) for one in earlier.values())
        voice.inform(f"{many:,} seeds were trained before: the first of each is tried again")
    try:
        refuse_changed(labels, to_train, earlier, pool, reuse=reuse)
    except InputError:
        note(kept, to_train, look, "given up")
        raise
    return earlier


def _trained(
    candidates: Sequence[Candidate], wanted: Sequence[WantedSeeds | None], training: _SharedTraining
) -> list[Contestant]:
    """All contestants, after what lacks seeds has trained them."""
    voice, void = training.voice, Void()
    found = train_shared(
        training.kept,
        training.wanted,
        training.look.seeds,
        pool=training.pool,
        outages=training.outages,
        void=void,
        voice=voice,
    )
    outcomes = training.checked(candidates, without_void(found))
    notes = training.notes(outcomes, void)
    if len(outcomes) == len(candidates):
        _refuse_all_crashed(candidates, outcomes, training)
    looks = other_looks(training.kept, training.wanted, training.look)
    return _contestants(candidates, wanted, outcomes, [(*looks, *own) for own in notes])


def _contestants(
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds | None],
    outcomes: Iterable[Outcome],
    notes: Iterable[tuple[str, ...]],
) -> list[Contestant]:
    """Each candidate with its seeds: those that it had, or the outcome of those trained now."""
    contestants, trained = [], zip(outcomes, notes, strict=True)
    for candidate, config in zip(candidates, wanted, strict=True):
        contestant = candidate.known
        if config is not None:
            identity = identity_of(config.trainer.describe())
            outcome, own = next(trained)
            contestant = trained_contestant(candidate, outcome, identity, own)
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


def _sequential(  # noqa: PLR0915  # one loop
    candidates: Sequence[Candidate],
    training: _SharedTraining,
    *,
    alpha: float,
    by: tuple[str, tuple[float, float] | None] | None,
) -> SequentialComparison:
    """Train all under the same seeds, until one is left; what is proven worse gets no more.

    `by` is the number and its limits, if one is compared.
    """
    wanted, most, voice = training.wanted, training.look.seeds, training.voice
    labels = [candidate.label for candidate in candidates]
    points = [config.point for config in wanted]
    rules = [rule_of_trainer(identity_of(config.trainer.describe())) for config in wanted]
    shared: dict[str, Any] = {"first_seed": COMPARE.start, "max_seeds": most, "alpha": alpha}
    known: dict[int, Outcome] = {}
    looked: dict[tuple[int, int], PairedAnswer] = {}
    void, later = Void(), later_seeds(training.kept, wanted)
    dropped: frozenset[int] = frozenset()
    seconds = sum_known([config.seconds for config in wanted])  # of work for one seed of each
    slots = slots_of(training.pool)
    n, is_over, is_last, is_announced = 0, False, False, False
    faults: list[None] = []  # one for each time that recorded results are replaced
    while not (is_over or is_last):  # with void seeds, fewer than `most` have results in the end
        if seconds is not None and not is_announced:
            is_announced = True
            what = f"compare: at most {len(wanted)} x {most:,} seeds"
            if sentence := estimate(what, seconds * (most - n), seconds * (most - n), slots):
                voice.inform(sentence)
        before, started = n, time.perf_counter()
        trained = sum(one.n for one in known.values())
        is_last = n == most  # then those count that were put off
        n = min(most, n + max(LEAST_ROUND, n // SHARE_OF_ROUND))
        left = [place for place in range(len(wanted)) if place not in dropped]
        going = [wanted[place] for place in left]
        found = train_shared(
            training.kept,
            going,
            n,
            planned=most * len(wanted),
            pool=training.pool,
            outages=training.outages,
            void=void,
            later=later,
            settles=is_last,
            voice=voice,
            tells=False,
            on_fault=lambda: faults.append(None),
        )
        if faults:  # earlier looks used them
            n, is_last, dropped = 0, False, frozenset()
            for one in (faults, known, looked, later.waiting):
                one.clear()
            continue
        known |= dict(zip(left, found, strict=True))
        if sum(one.n for one in known.values()) == trained:  # a service is down
            refuse_void(void, trained + sum(map(len, void.values())), training.outages.max_void)
        late = later.seeds | {seed for untried in void.values() for _, seed in untried}
        is_last |= n == most and not late
        outcomes = [known[place] for place in range(len(wanted))]
        if not is_last and any(late.issuperset(outcome.seeds.tolist()) for outcome in outcomes):
            continue  # none counts yet
        outcomes = without_void(outcomes, late, left if is_last else ())
        if (
            n > before > 0 and seconds is None
        ):  # the first round also starts processes, and compiles
            seconds = slots * (time.perf_counter() - started) / (n - before)
        _refuse_all_crashed(candidates, outcomes, training)
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
    tried = sum(one.n for one in known.values()) + sum(map(len, void.values()))
    refuse_void(void, tried, training.outages.max_void)
    for place, config in enumerate(wanted):
        has_result = set(known[place].seeds.tolist())
        for (key, seed), why in later.why.get(config.fingerprint, {}).items():
            if key == config.point.key and seed not in has_result:
                void.setdefault(config.fingerprint, {})[key, seed] = why
    looks = other_looks(training.kept, wanted, training.look)
    outcomes = training.checked(candidates, outcomes)
    told = zip(labels, training.notes(outcomes, void), strict=True)
    ends = zip(outcomes, comparison.seeds, strict=True)
    reused = training.reused([outcome.seeds[:end] for outcome, end in ends])
    notes = [
        *([capitalized(str(reused))] if reused else []),
        *(f"All were {look}" for look in looks),
        *_of_chance(candidates, outcomes),
        *(f"{label}: {note}" for label, own in told for note in own),
    ]
    return replace(comparison, notes=tuple(notes), reused=reused)


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


def _trainers(
    train: bool | Function | Sequence[Function], trainer: Trainer | Function | None, several: int
) -> Sequence[Trainer | Function | None]:
    """The user's trainer or function for each of `several` entries; None if there is none."""
    if isinstance(train, bool):
        return [trainer] * several
    if trainer is not None:
        raise InputError(
            "given together with trainer", field="train", allowed="one of them", fix="leave one out"
        )
    if callable(train):
        train = [train] * several
    allowed = "a function, or a list with one for each"
    if isinstance(train, str | bytes | Mapping) or not isinstance(train, Iterable):
        fix = "give the function itself, not its name" if isinstance(train, str) else None
        raise InputError(with_kind(train), field="train", allowed=allowed, fix=fix)
    functions = list(train)
    if len(functions) != several:
        raise InputError(
            f"{count(len(functions), 'function')} for {count(several, 'configuration')}",
            field="train",
            allowed=allowed,
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
    outages: Outages,
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
        used = single_config(point, trainer, success, pool.each.cpus, numbers=numbers)[1]
    used = who_trains(used, pool, outages).trainer.for_worker()
    used = used.on_all_cores() if here else used
    used.describe()  # refuses an engine that is not available
    seconds = None if run is None else seconds_of_seed(run, point.key)
    return WantedSeeds(point, used, seconds)


def _check_independence(
    candidates: Sequence[Candidate], wanted: Sequence[WantedSeeds | None]
) -> None:
    """Refuse a function whose result for a seed depends on the seeds beside it.

    The search of a run has checked its own.
    """
    for candidate, config in zip(candidates, wanted, strict=True):
        if config is None or candidate.run is not None:
            continue
        trainer, point = config.trainer, config.point
        if trainer.traits.mixes_seeds:
            both = train_one(trainer, Block(point, COMPARE.start, 2))
            if isinstance(both, Outcome):
                check_independence(trainer, both, point)


def _refuse_all_crashed(
    candidates: Sequence[Candidate], outcomes: Sequence[Outcome], training: _SharedTraining
) -> None:
    """Raise an InputError if all candidates are dicts and all their seeds have crashed.

    No search has called their function before: it is probably broken, or what it needs is missing.
    Then the same call trains all seeds anew.
    """
    dicts = not any(candidate.run or candidate.task for candidate in candidates)
    if dicts and all((outcome.status == Status.CRASHED).all() for outcome in outcomes):
        note(training.kept, training.wanted, training.look, "given up")
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
    if any(config.trainer.traits.is_compiled for config in wanted) and not is_compiled():
        voice.warn("the fused engine is compiled at its first use: some 15 seconds, once")
