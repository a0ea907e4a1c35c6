"""The verb `compare`: runs, configs or outcomes with each other, or a run with a table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, overload

import numpy as np

from xortune import __version__
from xortune.certificates.fresh import SeedsToTrain, missing
from xortune.comparisons.contestants import (
    RULE,
    Candidate,
    Compared,
    Named,
    entries_of,
    only_run,
    refuse_different_tasks,
    refuse_different_trainers,
    trained_by,
    trained_contestant,
)
from xortune.comparisons.reference import compare_published
from xortune.comparisons.runs import Contestant, RunComparison, compare_runs
from xortune.comparisons.sequential import SequentialComparison, compared_in_step
from xortune.core.config import Config
from xortune.core.errors import InputError, refuse_given
from xortune.core.outcome import NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.core.task import Task, TaskSpec
from xortune.driver.certify import (
    FreshSeeds,
    estimate,
    estimate_of_seeds,
    seconds_of_seed,
    train_locally,
)
from xortune.driver.evaluate import single_config
from xortune.driver.loop import Record
from xortune.driver.subprocesses import ending_process, in_this_process
from xortune.driver.trainer import trainer_of, with_cores
from xortune.driver.voice import Voice
from xortune.reports.files import comparison_directory
from xortune.runs.journal import Journal, read
from xortune.runs.lock import held
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.results import ConfigResults
from xortune.runs.run import Run
from xortune.runs.store import url_of
from xortune.stats.sequential import LONGEST
from xortune.trainers.network import NetworkTrainer, is_compiled

if TYPE_CHECKING:
    from xortune.comparisons.reference import Comparison
    from xortune.core.point import Value
    from xortune.core.trainer import Trainer


Function: TypeAlias = Callable[..., Any]
"""A training function of the user's own."""


SEEDS = 1000
"""Fresh seeds for each config that has none."""


class _Options(TypedDict, total=False):
    """What the overloads share that compare by seeds."""

    labels: Sequence[str] | None
    train: bool | Function | Sequence[Function]
    success: str | None
    different_tasks: bool
    task: TaskSpec
    trainer: Trainer | Callable[..., Any] | None
    engine: str | None
    output: str | os.PathLike[str] | None
    alpha: float
    on_progress: Callable[[int, int], None] | None
    on_word: Callable[[str], None] | None
    workers: int | None
    verbose: int


@overload
def compare(
    runs: Named | Sequence[Named],
    *,
    reference: str | os.PathLike[str],
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, Value] | None = None,
    reference_seeds: int | None = None,
    alpha: float = 0.05,
) -> Comparison: ...


@overload
def compare(
    runs: Sequence[Compared],
    *,
    sequential: Literal[True],
    max_seeds: int | None = None,
    **options: Unpack[_Options],
) -> SequentialComparison: ...


@overload
def compare(
    runs: Sequence[Compared],
    *,
    reference: None = None,
    seeds: int | None = None,
    **options: Unpack[_Options],
) -> RunComparison: ...


@overload
def compare(
    runs: Sequence[Compared],
    *,
    seeds: int | None = None,
    sequential: bool,
    max_seeds: int | None = None,
    **options: Unpack[_Options],
) -> RunComparison | SequentialComparison: ...


def compare(
    runs: Compared | Sequence[Compared],
    *,
    reference: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, Value] | None = None,
    reference_seeds: int | None = None,
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
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    workers: int | None = None,
    verbose: int = 1,
) -> Comparison | RunComparison | SequentialComparison:
    """Say which of several runs, configs or outcomes solves more seeds; or test a published table.

    A run takes part with the first config in its search's order, and with the seeds of its
    certificate, which had no part in choosing it. If a run has no such seeds, all configs first
    train on the same fresh seeds: the counts of a search would repeat the winner's curse. Two with
    shared seeds are compared seed by seed (exact McNemar test), others as independent samples
    (Boschloo's), all pairs at one level (Holm).

    Args:
        runs: two or more of: a run, its directory, `DIRECTORY#KEY` for another config of it, a
            `Config`, a dict of parameters for the function `train`, an `Outcome` (of seeds that did
            not choose it). With `reference`, one run.
        reference: a CSV or TSV file of published success counts: one row for each cell, with its
            parameters and a count of solved seeds or a percentage. Each cell is tested against the
            run's config with the same parameters.
        columns: with a reference: which column is which parameter, or `k`, `n`, `percent` or
            `rate`, if its name does not say so: {"lr": "LearnRate"}.
        where: with a reference: compare only configs with these values, which the table does not
            state: {"lr": 1.0}.
        reference_seeds: with a reference: how many seeds each cell has, if no column says so; 100
            if not given.
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
            the function returns True or False.
        different_tasks: compare runs of different tasks or trainers too.
        task: what a `Config` learns.
        trainer: any `core.trainer.Trainer`, or a function as `train`.
        engine: of the built-in network; that of each search if not given.
        output: the directory that keeps the trained seeds, so that the same call, or one for more
            seeds, continues there; runs/compare-A-B if not given.
        alpha: the level of the tests: each alone (with a reference), or all together.
        on_progress: called with the seeds done and all seeds.
        on_word: called with a sentence that the user should read.
        workers: 0 calls functions of your own in this process, for a debugger; otherwise they have
            a process of their own.
        verbose: as in `search`.

    Raises:
        InputError: an argument or the table is not usable or not clear; the tasks or trainers
            differ; or seeds are missing and may not, or cannot, be trained.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    if isinstance(runs, Run | str | os.PathLike | Config | Outcome | Mapping):
        runs = [runs]
    several = list(runs)
    if reference is not None:
        refuse_given(
            "only without --reference",
            labels=labels,
            seeds=seeds,
            sequential=sequential,
            max_seeds=max_seeds,
            success=success,
            train=None if train is True else train,
            different_tasks=different_tasks,
            trainer=trainer,
            engine=engine,
            output=output,
            workers=workers,
        )
        return compare_published(
            only_run(several),
            Path(reference),
            columns=columns,
            where=where,
            reference_seeds=reference_seeds,
            alpha=alpha,
        )
    refuse_given(
        "only with --reference", columns=columns, where=where, reference_seeds=reference_seeds
    )
    if len(several) < 2:
        raise InputError(
            "one run, and nothing to compare it with" if several else "no runs",
            field="runs",
            allowed="two runs or more, or one and a table of published counts",
            fix="name another run, or give --reference TABLE",
        )

    _check(alpha, seeds, train=train is not False)
    most = _most_seeds(max_seeds, seeds, train=train is not False, sequential=sequential)
    if workers not in (None, 0):
        raise InputError(f"{workers}", field="workers", allowed="0: this process")
    trainers = _trainers(train, trainer, len(several))
    entries = entries_of(several, labels, task)
    candidates = [entry for entry in entries if not isinstance(entry, Contestant)]
    if not different_tasks:
        refuse_different_tasks(candidates)
    bare = [one for one in candidates if one.certified is None]
    if train is False and bare:
        raise _lacking(bare[0])
    to_train: dict[int, WantedSeeds] = {}
    if seeds is not None or bare or sequential:  # then all are trained, under the same
        to_train = {
            place: _wanted(entry, task, own, engine, success, here=workers == 0)
            for place, (entry, own) in enumerate(zip(entries, trainers, strict=True))
            if not isinstance(entry, Contestant)
        }
    if not different_tasks:
        identities = [
            to_train[place].trainer.describe() if place in to_train else _identity(entry)
            for place, entry in enumerate(entries)
        ]
        labelled = [entry.label for entry in entries]
        refuse_different_trainers(list(zip(labelled, identities, strict=True)))
    voice = Voice(verbose, on_word)
    found: dict[int, Contestant] = {}
    if most is not None:
        _refuse_trained(entries, to_train)
    if to_train:
        directory = _local(output or comparison_directory([entry.label for entry in entries]))
        with ending_process(), voice.certifying(on_progress, "training") as show:
            if most is not None:
                return _in_step(
                    entries, to_train, directory, most=most, alpha=alpha, voice=voice, show=show
                )
            seeds = seeds or SEEDS
            found = _trained(entries, to_train, directory, seeds=seeds, voice=voice, show=show)
    contestants = []
    for place, entry in enumerate(entries):
        one = entry if isinstance(entry, Contestant) else found.get(place) or entry.certified
        assert one is not None  # what has no certified seeds was trained
        contestants.append(one)
    return compare_runs(contestants, alpha=alpha)


def _check(alpha: float, seeds: int | None, *, train: bool) -> None:
    """Refuse what is out of range before anything is trained."""
    if not 0 < alpha < 1:
        raise InputError(f"{alpha} is out of range", field="alpha", allowed="between 0 and 1")
    if seeds is not None and not 1 <= seeds <= len(COMPARE):
        raise InputError(
            f"{seeds} is out of range", field="seeds", allowed=f"1 to {len(COMPARE):,}"
        )
    if seeds is not None and not train:
        raise InputError(
            f"{seeds:,} seeds are asked for, but training is refused",
            field="seeds",
            fix="leave one of the two out",
        )


def _most_seeds(
    given: int | None, seeds: int | None, *, train: bool, sequential: bool
) -> int | None:
    """After how many seeds a comparison ends that trains them one after the other, if it does."""
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
    most = SEEDS if given is None else given
    if not 1 <= most <= LONGEST:
        raise InputError(f"{most} is out of range", field="max_seeds", allowed=f"1 to {LONGEST:,}")
    return most


LEAST_ROUND, SHARE_OF_ROUND = 8, 50
"""At least so many seeds of each are trained before the next look, or one in so many of those so
far: fewer would be spent on looking. Those beyond the seed that decides do not count."""


def _refuse_trained(
    entries: Sequence[Candidate | Contestant], to_train: Mapping[int, WantedSeeds]
) -> None:
    for place, entry in enumerate(entries):
        if place not in to_train:
            raise InputError(
                f"{entry.label} already has its seeds",
                field="sequential",
                allowed="what can be trained: runs, configs, dicts",
                fix="leave --sequential out",
            )


def _in_step(
    entries: Sequence[Candidate | Contestant],
    to_train: Mapping[int, WantedSeeds],
    directory: Path,
    *,
    most: int,
    alpha: float,
    voice: Voice,
    show: Callable[[int, int], None] | None,
) -> SequentialComparison:
    """Train all under the same seeds, until one is proven better than each other."""
    wanted = [to_train[place] for place in range(len(entries))]
    _tell_of_compiling(wanted, voice)
    known = [one.seconds for one in wanted]
    seconds = None if None in known else sum(one or 0.0 for one in known)  # of a seed of each
    n, over, told = 0, False, False
    while not over:
        if seconds is not None and not told:
            told = True
            what = f"compare: at most {len(wanted)} x {most:,} seeds"
            if text := estimate(what, seconds * (most - n), seconds * (most - n), 1):
                voice.inform(text)
        before, started = n, time.perf_counter()
        n = min(most, n + max(LEAST_ROUND, n // SHARE_OF_ROUND))
        outcomes = train_shared(directory, wanted, n, say=voice.warn)
        if before and seconds is None:  # the first round starts processes, and compiles
            seconds = (time.perf_counter() - started) / (n - before)
        _refuse_all_crashed(entries, outcomes)
        comparison, over = compared_in_step(
            [outcome.solved for outcome in outcomes],
            [entry.label for entry in entries],
            [one.point for one in wanted],
            first_seed=COMPARE.start,
            max_seeds=most,
            alpha=alpha,
        )
        if show is not None:
            show(comparison.n, most)
    return comparison


def _trainers(
    train: bool | Function | Sequence[Function], trainer: Trainer | Function | None, count: int
) -> Sequence[Trainer | Function | None]:
    """What trains each of what is compared, where it has to be trained and was given."""
    if isinstance(train, bool):
        return [trainer] * count
    if trainer is not None:
        raise InputError(
            "given together with trainer", field="train", allowed="one of them", fix="leave one out"
        )
    given = [train] * count if callable(train) else list(train)
    if len(given) != count or not all(map(callable, given)):
        raise InputError(
            f"{len(given)} functions for {count} configurations",
            field="train",
            allowed="a function, or a list with one for each",
        )
    return given


def _lacking(candidate: Candidate) -> InputError:
    """Why something would have to be trained."""
    run = candidate.run
    certify = f"`xortune certify {run.path}`, or " if run is not None else ""
    return InputError(
        f"{candidate.label} has only the seeds by which it was chosen",
        place=str(run.path) if run is not None else None,
        allowed="certified configs, where training is refused",
        fix=f"{certify}allow training",
    )


def _identity(entry: Candidate | Contestant) -> Mapping[str, str]:
    """What is known of what trained the seeds that something has."""
    if not isinstance(entry, Contestant):
        return entry.identity
    return {"success": entry.facts[RULE]} if RULE in entry.facts else {}


def _wanted(
    candidate: Candidate,
    task: TaskSpec,
    trainer: Trainer | Callable[..., Any] | None,
    engine: str | None,
    success: str | None,
    *,
    here: bool,
) -> WantedSeeds:
    if trainer is not None and not callable(trainer):
        found = trainer
    elif candidate.run is None and candidate.task is None:
        found = _of_function(candidate, trainer, success)
    elif candidate.run is None:
        learned = task if isinstance(task, Task) else Task.named(task)
        found = NetworkTrainer(learned, engine or "auto")
    else:
        with ending_process():
            found = trainer_of(candidate.run, engine, 0.0, train=trainer, here=here)
    if here:
        found = in_this_process(found, lambda _: None)
    found = with_cores(found)[1]
    found.describe()  # refuses an engine that is not there
    run = candidate.run
    seconds = None if run is None else seconds_of_seed(run, candidate.point.key)
    return WantedSeeds(candidate.point, found, seconds)


def _of_function(candidate: Candidate, train: Function | None, success: str | None) -> Trainer:
    """What trains a dict: the user's function."""
    if train is None:
        raise InputError(
            f"{candidate.label} is a dict, and no function was given to train it",
            field="train",
            allowed="a function of a configuration and a seed",
            fix="give it as train=, or a xortune.Config for the built-in network",
        )
    return single_config(candidate.point, train, success)[1]


def _refuse_all_crashed(
    entries: Sequence[Candidate | Contestant], outcomes: Sequence[Outcome]
) -> None:
    """Refuse a function that no seed of any dict has come through: nobody has called it before."""
    dicts = all(isinstance(one, Candidate) and not (one.run or one.task) for one in entries)
    if dicts and all((outcome.status == Status.CRASHED).all() for outcome in outcomes):
        reason = next(iter(outcomes[0].details.failed.values()), "no reason is known")
        raise InputError(
            f"all {outcomes[0].n} seeds of every configuration crashed: {reason}",
            field="train",
            allowed="a function that works for at least one seed",
            fix='if it returns numbers, say what a success is: success="accuracy >= 0.9"',
        )


def _local(directory: str | os.PathLike[str]) -> Path:
    """The directory, which must be one of this machine."""
    if url_of(directory) is not None:
        raise InputError(
            "is a URL, but a comparison keeps its seeds on this machine",
            place=str(directory),
            fix="give a directory with --output",
        )
    return Path(directory)


def _tell_of_compiling(wanted: Iterable[WantedSeeds], voice: Voice) -> None:
    trainers = [one.trainer for one in wanted]
    engines = {one.engine for one in trainers if isinstance(one, NetworkTrainer)}
    if engines & {"auto", "fused"} and not is_compiled():
        # The wait would look like a hang.
        voice.warn("the fused engine is compiled at its first use: some 15 seconds, once")


def _trained(
    entries: Sequence[Candidate | Contestant],
    to_train: Mapping[int, WantedSeeds],
    directory: Path,
    *,
    seeds: int,
    voice: Voice,
    show: Callable[[int, int], None] | None,
) -> dict[int, Contestant]:
    """The entries that are to be trained, by their places, with the seeds that they lacked."""
    wanted = list(to_train.values())
    for one in wanted:
        if isinstance(one.trainer, NetworkTrainer):
            one.trainer.refuse_beyond_memory(one.point, seeds)
    _tell_of_compiling(wanted, voice)
    outcomes = train_shared(
        directory, wanted, seeds, say=voice.warn, say_estimate=voice.inform, show=show
    )
    if len(to_train) == len(entries):
        _refuse_all_crashed(entries, outcomes)
    found = {}
    for (place, one), outcome in zip(to_train.items(), outcomes, strict=True):
        entry, identity = entries[place], identity_of(one.trainer.describe())
        assert not isinstance(entry, Contestant)
        made = trained_by({**identity, "versions": {"xortune": __version__}})
        found[place] = trained_contestant(entry, outcome, made, identity)
    return found


# -------------------------------------------------------------------------------------------------
# Fresh seeds for a comparison: the same for all configs, trained in this process.
#
# They go into a journal of their own, one for each engine with its versions, so that a comparison
# that was interrupted, or asks for more seeds, goes on where the last one stopped.


@dataclass(frozen=True)
class WantedSeeds:
    """A config that lacks seeds, and what trains it."""

    point: Point
    trainer: Trainer
    seconds: float | None = None
    """Of a seed, as its run measured it."""

    @property
    def made(self) -> str:
        """Digest of what trains it; see `runs.manifest.made_id`."""
        return made_id(identity_of(self.trainer.describe()))


def train_shared(
    directory: Path,
    wanted: Sequence[WantedSeeds],
    n: int,
    *,
    say: Callable[[str], None] | None = None,
    say_estimate: Callable[[str], None] | None = None,
    show: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Train each config under the first n seeds of comparisons, but those of an earlier call.

    Args:
        directory: where the journals are, or will be.
        wanted: what lacks seeds; one that is wanted twice is trained once.
        n: seeds of each.
        say: called with a sentence for the user.
        say_estimate: called with what it will take, if that is long.
        show: called with the seeds done and all seeds, at first and after each block; not if there
            is nothing to do.

    Returns:
        One outcome for each, of just these seeds in their order. Seeds of a block that finally
        produced nothing are in it as crashed.

    Raises:
        InputError: the directory cannot be written, or somebody else writes to it.
        KeyboardInterrupt: the user interrupted; an equal call goes on.
    """
    seeds = range(COMPARE.start, COMPARE.start + n)
    trainers = {one.made: one.trainer for one in wanted}
    configs = {(one.made, one.point.key): one for one in wanted}
    journals = {made: directory / f"trained-{made}.jsonl" for made in trainers}
    with held(directory, say=say) as lock:
        lacking: dict[str, list[SeedsToTrain]] = {made: [] for made in trainers}
        took: list[float | None] = []  # seconds of what is lacking
        had = {made: read(path) for made, path in journals.items() if path.exists()}
        for (made, key), one in configs.items():
            lines = had[made].of_keys([key]) if made in had else ()
            if parts := missing(seeds, lines):
                task = SeedsToTrain(one.point, parts)
                lacking[made].append(task)
                took.append(None if one.seconds is None else task.count * one.seconds)
        seconds = [each for each in took if each is not None]
        told = None
        if seconds and len(seconds) == len(took):
            told = estimate_of_seeds("compare", len(took), n, sum(seconds), 1)
        if told is not None and say_estimate is not None:
            say_estimate(told)
        total = len(configs) * n
        done = total - sum(task.count for tasks in lacking.values() for task in tasks)
        for made, tasks in lacking.items():
            if not tasks:
                continue
            fresh = FreshSeeds(tasks, trainers[made])

            def tell(news: tuple[int, int], before: int = done) -> None:
                if show is not None:
                    show(before + news[0], total)

            with Journal.open(journals[made], made=made, lock=lock, say=say) as journal:
                train_locally(fresh, trainers[made], Record(journal, fresh, tell))
            done += sum(task.count for task in tasks)
        found = {
            (made, result.key): result.outcome
            for made, path in journals.items()
            for result in ConfigResults(read(path))
        }
    return [_only(found[one.made, one.point.key], seeds) for one in wanted]


def _only(outcome: Outcome, seeds: range) -> Outcome:
    """The part of an outcome that is of these seeds, ascending."""
    kept = np.flatnonzero((outcome.seeds >= seeds.start) & (outcome.seeds < seeds.stop))
    kept = kept[np.argsort(outcome.seeds[kept])]
    details = outcome.details
    if details is not NO_DETAILS:
        values = {name: numbers[kept] for name, numbers in details.values.items()}
        failed = {seed: why for seed, why in details.failed.items() if seed in seeds}
        details = Details(values, failed, output=details.output)
    return Outcome(
        seeds=outcome.seeds[kept],
        epochs=outcome.epochs,
        status=outcome.status[kept],
        solved_epoch=outcome.solved_epoch[kept],
        final_loss=outcome.final_loss[kept],
        predictions=outcome.predictions[kept],
        details=details,
    )
