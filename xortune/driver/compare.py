"""The verb `compare`: runs, configs or outcomes with each other."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xortune.comparisons.comparison import Comparison, compare_all, compare_in_step
from xortune.comparisons.contestants import (
    Candidate,
    Compared,
    Contestant,
    candidates_of,
    refuse_different_tasks,
    refuse_different_trainers,
    trained_contestant,
)
from xortune.comparisons.measures import Measure, measure_of, parse_measure
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
from xortune.core.formats import count
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
    Look,
    SharedTraining,
    WantedSeeds,
    earlier_seeds,
    kept_for,
    later_seeds,
    note,
    other_looks,
    outcomes_in,
    refuse_changed,
    reused_of,
    slots_of,
    sum_known,
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
) -> Comparison:
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
            if one.is_given
            else _seeds_of(
                *(one, learned, own, engine),
                success=success,
                numbers=by is not None,
                pool=pool,
                outages=outages,
            )
            for one, own in zip(candidates, trainers, strict=True)
        ]
    entries = list(zip(candidates, wanted, strict=True))
    if not different_tasks:
        refuse_different_trainers(
            [
                (one.label, one.identity if config is None else config.trainer.describe())
                for one, config in entries
            ]
        )
    if sequential:
        _refuse_outcomes(candidates)
    to_train = [config for config in wanted if config is not None]
    if by is not None:
        limits = limits or _limits_of(candidates)
    terms = _Terms(by, limits, alpha, margin, most)
    if not to_train:
        refuse_given("only where seeds are trained", reuse=reuse)
        return terms.answer(_contestants(entries, [], []))
    directory = _local(output or comparison_directory([one.label for one in candidates]))
    look = Look(most or seeds or FRESH_SEEDS, sequential)
    _announce_compiling(to_train, voice)
    with (
        ending_processes(),
        voice.drawing("training") as shown,
        held(directory, on_message=shown.warn),
    ):
        _check_independence(entries)
        kept = kept_for(directory, to_train, look, reuse=reuse)
        later = later_seeds(kept, to_train) if sequential else None
        training = SharedTraining(kept, to_train, look, pool, outages, shown, later=later)
        comparison = _by_training(entries, training, terms, reuse=reuse)
        note(kept, to_train, look, "ended")
        return comparison


@dataclass(frozen=True)
class _Terms:
    """What is asked of contestants.

    Attributes:
        by: a number with its statistic; None for success rates.
        limits: of the number, if they are known.
        alpha: level of all tests together.
        margin: by how much one may be worse and counts as not worse; None: not asked.
        max_seeds: of a comparison seed after seed; None of another.
    """

    by: str | None
    limits: tuple[float, float] | None
    alpha: float
    margin: float | None
    max_seeds: int | None

    def measure(self, contestants: Sequence[Contestant]) -> Measure:
        """What is compared of them."""
        outcomes = [one.outcome for one in contestants]
        rules, sequential = [one.rule for one in contestants], self.max_seeds is not None
        return measure_of(self.by, outcomes, rules, self.limits, sequential=sequential)

    def answer(self, contestants: Sequence[Contestant]) -> Comparison:
        """Compare all their seeds."""
        measure = self.measure(contestants)
        return compare_all(contestants, measure, alpha=self.alpha, margin=self.margin)


_Entry: TypeAlias = tuple[Candidate, WantedSeeds | None]
"""What is compared, and the seeds that it lacks, if it does."""


def _by_training(
    entries: Sequence[_Entry], training: SharedTraining, terms: _Terms, *, reuse: bool
) -> Comparison:
    """Train what lacks seeds, and compare."""
    wanted, seeds, proven = training.wanted, training.look.seeds, None
    try:
        earlier = _earlier(entries, training, reuse=reuse)
        if training.look.sequential:
            proven = _until_proven(entries, training, terms)
            outcomes = [one.outcome for one in proven.contestants]
        else:
            outcomes = without_void(training.train(seeds, wanted, settles=True))
        outcomes = _trained_twice(entries, training, earlier, outcomes)
    except TrainingError as error:
        found = iter(outcomes_in(training.kept, wanted, seeds))
        error.outcome = tuple(
            one.known and one.known.outcome if config is None else next(found)
            for one, config in entries
        )
        raise
    notes = _notes(training, outcomes)
    if len(outcomes) == len(entries):
        _refuse_all_crashed(entries, outcomes, training)
    contestants = _contestants(entries, outcomes, notes)
    if proven is None:
        comparison = terms.answer(contestants)
    else:
        comparison = replace(proven, contestants=tuple(contestants))
    if not reuse:
        return comparison
    return replace(comparison, reused=reused_of(wanted, earlier, [one.seeds for one in outcomes]))


def _earlier(
    entries: Sequence[_Entry], training: SharedTraining, *, reuse: bool
) -> Mapping[ConfigOfTrainer, Earlier]:
    """The seeds that were trained before; the first of each is tried again.

    Raises:
        InputError: it has another result now; then the same call does not go on with these seeds.
        TrainingError: it cannot be tried now.
    """
    kept, wanted, look = training.kept, training.wanted, training.look
    labels = {config.name: one.label for one, config in entries if config is not None}
    earlier = earlier_seeds(kept, wanted, look.seeds)
    if earlier:
        many = sum(len(one.seeds) for one in earlier.values())
        training.voice.inform(
            f"{many:,} seeds were trained before: the first of each is tried again"
        )
    try:
        refuse_changed(labels, wanted, earlier, training.pool, reuse=reuse)
    except InputError:
        note(kept, wanted, look, "given up")
        raise
    return earlier


def _trained_twice(
    entries: Sequence[_Entry],
    training: SharedTraining,
    earlier: Collection[ConfigOfTrainer],
    outcomes: Iterable[Outcome],
) -> list[Outcome]:
    """Train the first seed of each function a second time, and note that in its outcome.

    The search of a run has done so, and so has `_earlier`. What trains in this process is followed
    by a debugger or changes what is around it, and trains once.
    """
    trained = [(one, config) for one, config in entries if config is not None]
    noted = []
    for (one, config), outcome in zip(trained, outcomes, strict=True):
        twice = None
        if one.run is None and config.trainer.traits.users_code and training.pool.workers != 0:
            known = config.name in earlier
            twice = "" if known else train_again(config.trainer, outcome, config.point)
        details = outcome.details if twice is None else replace(outcome.details, twice=twice)
        noted.append(replace(outcome, details=details))
    return noted


def _notes(training: SharedTraining, outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    """Of each config: other looks, seeds that could not be tried, and an ignored seed.

    The last is also said, once of each training.
    """
    looks = other_looks(training.kept, training.wanted, training.look)
    notes, told = [], set[str]()  # fingerprints of trainers
    for config, outcome in zip(training.wanted, outcomes, strict=True):
        untried = training.void.get(config.fingerprint, {}).items()
        count = count_of_void([why for (key, _), why in untried if key == config.point.key])
        look = IgnoredSeed(judged_names(config.trainer), several=False)
        look.see(config.point.key, outcome.details.values)
        if look.sentence and config.fingerprint not in told:
            told.add(config.fingerprint)
            training.voice.warn(look.sentence)
        left_out = f"{count}; left out for all" if count else ""
        notes.append((*looks, *filter(None, (left_out, look.sentence))))
    return notes


def _contestants(
    entries: Sequence[_Entry], outcomes: Iterable[Outcome], notes: Iterable[tuple[str, ...]]
) -> list[Contestant]:
    """Each candidate with its seeds: those that it had, or the outcome of those trained now."""
    contestants, trained = [], zip(outcomes, notes, strict=True)
    for candidate, config in entries:
        contestant = candidate.known
        if config is not None:
            identity = identity_of(config.trainer.describe())
            contestant = trained_contestant(candidate, *next(trained), identity)
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


def _until_proven(entries: Sequence[_Entry], training: SharedTraining, terms: _Terms) -> Comparison:
    """Train all under the same seeds, until one is left; what is proven worse gets no more."""
    wanted, most, voice, later = (
        training.wanted,
        training.look.seeds,
        training.voice,
        training.later,
    )
    assert later is not None
    known: dict[int, Outcome] = {}
    looked: dict[tuple[int, int], PairedAnswer] = {}
    dropped: frozenset[int] = frozenset()
    seconds = sum_known([config.seconds for config in wanted])  # of work for one seed of each
    slots = slots_of(training.pool)
    n, is_over, is_last, is_announced = 0, False, False, False
    contestants: list[Contestant] = []
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
        found = training.train(n, [wanted[place] for place in left], settles=is_last)
        if training.replaced:  # earlier looks used them
            n, is_last, dropped = 0, False, frozenset()
            for one in (training.replaced, known, looked, later.waiting):
                one.clear()
            continue
        known |= dict(zip(left, found, strict=True))
        if sum(one.n for one in known.values()) == trained:  # a service is down
            training.refuse_void(trained)
        untried = {seed for untried in training.void.values() for _, seed in untried}
        late = later.seeds | untried
        is_last |= n == most and not late
        outcomes = [known[place] for place in range(len(wanted))]
        if not is_last and any(late.issuperset(outcome.seeds.tolist()) for outcome in outcomes):
            continue  # none counts yet
        outcomes = without_void(outcomes, late, left if is_last else ())
        if n > before > 0 and seconds is None:  # the first round also starts processes, compiles
            seconds = slots * (time.perf_counter() - started) / (n - before)
        _refuse_all_crashed(entries, outcomes, training)
        contestants = contestants or _contestants(entries, outcomes, [()] * len(outcomes))
        contestants = [
            replace(one, outcome=outcome)
            for one, outcome in zip(contestants, outcomes, strict=True)
        ]
        comparison, is_over = compare_in_step(
            contestants,
            terms.measure(contestants),
            max_seeds=most,
            alpha=terms.alpha,
            looked=looked,
        )
        dropped = comparison.dropped
        voice.seeds((comparison.n, most))
    training.refuse_void(sum(one.n for one in known.values()))
    for place, config in enumerate(wanted):
        has_result = set(known[place].seeds.tolist())
        for (key, seed), why in later.why.get(config.fingerprint, {}).items():
            if key == config.point.key and seed not in has_result:
                training.void.setdefault(config.fingerprint, {})[key, seed] = why
    return comparison


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
    numbers: bool,
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
        used = single_config(point, trainer, success, pool.each.cpus, numbers=numbers)[1]
    used = who_trains(used, pool, outages).trainer.for_worker()
    used = used.on_all_cores() if here else used
    used.describe()  # refuses an engine that is not available
    seconds = None if run is None else seconds_of_seed(run, point.key)
    return WantedSeeds(point, used, seconds)


def _check_independence(entries: Sequence[_Entry]) -> None:
    """Refuse a function whose result for a seed depends on the seeds beside it.

    The search of a run has checked its own.
    """
    for candidate, config in entries:
        if config is None or candidate.run is not None:
            continue
        trainer, point = config.trainer, config.point
        if trainer.traits.mixes_seeds:
            both = train_one(trainer, Block(point, COMPARE.start, 2))
            if isinstance(both, Outcome):
                check_independence(trainer, both, point)


def _refuse_all_crashed(
    entries: Sequence[_Entry], outcomes: Sequence[Outcome], training: SharedTraining
) -> None:
    """Raise an InputError if all candidates are dicts and all their seeds have crashed.

    No search has called their function before: it is probably broken, or what it needs is missing.
    Then the same call trains all seeds anew.
    """
    dicts = not any(candidate.run or candidate.task for candidate, _ in entries)
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
