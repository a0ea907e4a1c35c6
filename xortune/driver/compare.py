"""The verb `compare`: runs, configs or outcomes with each other, or a run with a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from xortune import __version__
from xortune.comparisons.contestants import (
    RULE,
    Compared,
    Named,
    certified_contestant,
    entries_of,
    only_run,
    refuse_different_tasks,
    refuse_different_trainers,
    trained_by,
    trained_contestant,
)
from xortune.comparisons.reference import compare_published
from xortune.comparisons.runs import Contestant, RunComparison, compare_runs
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.core.task import Task, TaskSpec
from xortune.driver.certify import (
    FreshSeeds,
    SeedsToTrain,
    told_seeds,
    train_here,
    trainer_of,
    with_cores,
)
from xortune.driver.loop import Record
from xortune.driver.own_process import let_go_after
from xortune.reports.files import comparison_directory
from xortune.runs.journal import read
from xortune.runs.lock import held
from xortune.runs.results import ConfigResults
from xortune.runs.run import Run
from xortune.runs.sessions import SignedJournal, identity_of, made_id
from xortune.runs.store import url_of
from xortune.trainers.network import NetworkTrainer, is_compiled

if TYPE_CHECKING:
    from xortune.comparisons.contestants import Candidate
    from xortune.comparisons.reference import Comparison
    from xortune.core.point import Value
    from xortune.core.trainer import Trainer


Function: TypeAlias = Callable[..., Any]
"""A training function of the user's own."""


SEEDS = 1000
"""Fresh seeds for each config that has none."""


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
    reference: None = None,
    labels: Sequence[str] | None = None,
    seeds: int | None = None,
    train: bool | Function | Sequence[Function] = True,
    different_tasks: bool = False,
    task: TaskSpec = "xor",
    trainer: Trainer | Callable[..., Any] | None = None,
    engine: str | None = None,
    output: str | os.PathLike[str] | None = None,
    alpha: float = 0.05,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
) -> RunComparison: ...


def compare(
    runs: Compared | Sequence[Compared],
    *,
    reference: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, Value] | None = None,
    reference_seeds: int | None = None,
    labels: Sequence[str] | None = None,
    seeds: int | None = None,
    train: bool | Function | Sequence[Function] = True,
    different_tasks: bool = False,
    task: TaskSpec = "xor",
    trainer: Trainer | Callable[..., Any] | None = None,
    engine: str | None = None,
    output: str | os.PathLike[str] | None = None,
    alpha: float = 0.05,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
) -> Comparison | RunComparison:
    """Tell which of several runs, configs or outcomes solves more seeds; or test a published table.

    Of a run the first config in the search's order is compared, by the seeds of its certificate,
    which had no part in choosing it. Where one of the runs has no such seeds, all are trained on
    fresh ones first, the same for all: counts of a search would repeat the winner's curse. Two with
    shared seeds are compared seed by seed (exact McNemar test), others as independent samples
    (Boschloo's), all pairs at one level (Holm).

    Args:
        runs: two or more of: a run, its directory, `DIRECTORY#KEY` for another config of it, a
            `Config`, an `Outcome` (of seeds that did not choose it). With `reference` one run.
        reference: a CSV or TSV file of published success counts: one row for each cell, with its
            parameters and a count of solved seeds or a percentage. Each is tested against the
            config of the run that it stands for.
        columns: with a reference: which column is which parameter, or `k`, `n`, `percent` or
            `rate`, where its name does not say: {"lr": "LearnRate"}.
        where: with a reference: compares only configs with these values: {"lr": 1.0}. It says what
            the table leaves unsaid.
        reference_seeds: with a reference: seeds behind each of its cells, if it has no column for
            them; 100 are assumed.
        labels: what they are called, one for each; names of directories if not given.
        seeds: fresh seeds for each; if given they are trained even where there is a certificate.
            1,000 if not given and a certificate is lacking.
        train: False refuses instead of training. Or the function of your own that trains the runs
            whose space does not name it, where certified counts are lacking; or a list with one for
            each.
        different_tasks: compares runs of different tasks or trainers, too.
        task: what a `Config` learns.
        trainer: any `core.trainer.Trainer`, or a function as `train`.
        engine: of the built-in network; that of each search if not given.
        output: the directory in which what is trained is kept, so that an equal call, or one for
            more seeds, goes on there; runs/compare-A-B if not given.
        alpha: the level of the tests, each alone (with a reference) and all together.
        on_progress: called with the seeds done and all seeds.
        on_word: called with a sentence that the user should read.

    Raises:
        InputError: an argument or the table is not usable, or not clear; different tasks or
            trainers; or seeds are lacking and may not, or cannot, be trained.
        KeyboardInterrupt: the user interrupted; an equal call goes on.
    """
    several = [runs] if isinstance(runs, Run | str | os.PathLike | Config | Outcome) else list(runs)
    if reference is not None:
        _refuse(
            "without a reference",
            labels=labels,
            seeds=seeds,
            train=None if train is True else train,
            different_tasks=different_tasks or None,
            trainer=trainer,
            engine=engine,
            output=output,
        )
        return compare_published(
            only_run(several),
            Path(reference),
            columns=columns,
            where=where,
            reference_seeds=reference_seeds,
            alpha=alpha,
        )
    _refuse("with a reference", columns=columns, where=where, reference_seeds=reference_seeds)
    if len(several) < 2:
        raise InputError(
            "one run, and nothing to compare it with" if several else "no runs",
            field="runs",
            allowed="two runs or more, or one and a table of published counts",
            fix="name another run, or give --reference TABLE",
        )

    if not 0 < alpha < 1:  # before anything is trained
        raise InputError(f"{alpha} is out of range", field="alpha", allowed="between 0 and 1")
    trainers = _trainers(train, trainer, len(several))
    _refuse_seeds(seeds, train=train is not False)
    entries = entries_of(several, labels, task)
    candidates = [entry for entry in entries if not isinstance(entry, Contestant)]
    if not different_tasks:
        refuse_different_tasks(candidates)
    if seeds is None and all(one.certified is not None for one in candidates):
        if not different_tasks:
            refuse_different_trainers([(one.label, _identity(one)) for one in entries])
        found = [certified_contestant(one) for one in candidates]
    else:
        if train is False:
            raise _lacking(candidates)
        wanted = [
            _wanted(one, task, own, engine)
            for one, own in zip(entries, trainers, strict=True)
            if not isinstance(one, Contestant)
        ]
        if not different_tasks:
            trained = iter(wanted)
            refuse_different_trainers(
                [
                    (
                        one.label,
                        _identity(one)
                        if isinstance(one, Contestant)
                        else next(trained).trainer.describe(),
                    )
                    for one in entries
                ]
            )
        directory = output or comparison_directory([entry.label for entry in entries])
        if url_of(directory) is not None:
            raise InputError(
                "is a URL, and what is trained is kept on this machine",
                place=str(directory),
                fix="give a directory with --output",
            )
        _tell_of_compiling(wanted, on_word)
        for one in wanted:
            if isinstance(one.trainer, NetworkTrainer):
                one.trainer.refuse_beyond_memory(one.point, seeds or SEEDS)
        _refuse_outside(seeds)
        found = _trained(
            candidates,
            wanted,
            seeds or SEEDS,
            Path(directory),
            on_progress=on_progress,
            on_message=on_word,
        )
    fresh = iter(found)
    return compare_runs(
        [entry if isinstance(entry, Contestant) else next(fresh) for entry in entries], alpha=alpha
    )


def _refuse(allowed: str, **options: object) -> None:
    for name, given in options.items():
        if given is not None:
            raise InputError(f"{given!r}", field=name, allowed=allowed, fix="leave it out")


def _trainers(
    train: bool | Function | Sequence[Function], trainer: Trainer | Function | None, count: int
) -> Sequence[Trainer | Function | None]:
    """What trains each of what is compared, where it has to be trained and was given."""
    if isinstance(train, bool):
        return [trainer] * count
    if trainer is not None:
        raise InputError(
            "given, and so is trainer", field="train", allowed="one of them", fix="leave one out"
        )
    given = [train] * count if callable(train) else list(train)
    if len(given) != count or not all(map(callable, given)):
        raise InputError(
            f"{len(given)} of them for {count} to compare",
            field="train",
            allowed="a function, or a list with one for each",
        )
    return given


def _refuse_seeds(seeds: int | None, *, train: bool) -> None:
    if seeds is None:
        return
    if seeds < 1:
        _refuse_outside(seeds)
    if not train:
        raise InputError(
            f"{seeds:,} seeds are asked for, and training is refused",
            field="seeds",
            fix="leave one of the two out",
        )


def _refuse_outside(seeds: int | None) -> None:
    if seeds is not None and not 1 <= seeds <= len(COMPARE):
        raise InputError(
            f"{seeds} is out of range", field="seeds", allowed=f"1 to {len(COMPARE):,}"
        )


def _lacking(candidates: Sequence[Candidate]) -> InputError:
    """Why something would have to be trained."""
    one = next(found for found in candidates if found.certified is None)
    certify = f"`xortune certify {one.run.path}`, or " if one.run is not None else ""
    return InputError(
        f"{one.label} has no seeds but those that it was chosen by",
        place=str(one.run.path) if one.run is not None else None,
        allowed="certified configs, if nothing may be trained",
        fix=f"{certify}let fresh seeds be trained",
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
) -> WantedSeeds:
    if trainer is not None and not callable(trainer):
        found = trainer
    elif candidate.run is None:
        learned = task if isinstance(task, Task) else Task.named(task)
        found = NetworkTrainer(learned, engine or "auto")
    else:
        with let_go_after():
            found = trainer_of(candidate.run, engine, 0.0, train=trainer)
    found = with_cores(found)[1]
    found.describe()  # refuses an engine that is not there
    return WantedSeeds(candidate.point, found)


def _tell_of_compiling(
    wanted: Sequence[WantedSeeds], on_word: Callable[[str], None] | None
) -> None:
    """Say so where the engine will be compiled first: the wait would look like a hang."""
    engines = {w.trainer.engine for w in wanted if isinstance(w.trainer, NetworkTrainer)}
    if on_word is not None and engines & {"auto", "fused"} and not is_compiled():
        on_word("the fused engine is compiled at its first use: some 15 seconds, once")


def _trained(
    candidates: Sequence[Candidate],
    wanted: Sequence[WantedSeeds],
    seeds: int,
    directory: Path,
    *,
    on_progress: Callable[[int, int], None] | None,
    on_message: Callable[[str], None] | None,
) -> list[Contestant]:
    shared = range(COMPARE.start, COMPARE.start + seeds)
    outcomes = train_shared(
        directory, wanted, shared, on_progress=on_progress, on_message=on_message
    )
    found = []
    for candidate, outcome, one in zip(candidates, outcomes, wanted, strict=True):
        identity = identity_of(one.trainer.describe())
        made = trained_by({**identity, "versions": {"xortune": __version__}})
        found.append(trained_contestant(candidate, outcome, made, identity))
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

    @property
    def made(self) -> str:
        """Digest of what trains it; see `sessions.made_id`."""
        return made_id(identity_of(self.trainer.describe()))


def train_shared(
    directory: Path,
    wanted: Sequence[WantedSeeds],
    seeds: range,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Train each config under all the seeds, without those that the directory has already.

    Args:
        directory: where the journals are, or will be.
        wanted: what lacks seeds; one that is wanted twice is trained once.
        seeds: the same for all.
        on_progress: called with the seeds done and all seeds, at first and after each block; not
            if there is nothing to do.
        on_message: called with a sentence for the user.

    Returns:
        One outcome for each, of just these seeds in their order. Seeds of a block that finally
        produced nothing are in it as crashed.

    Raises:
        InputError: the directory cannot be written, or somebody else writes to it.
        KeyboardInterrupt: the user interrupted; an equal call goes on.
    """
    with held(directory, say=on_message) as lock:
        known = {one.made: _outcomes(directory, one.made) for one in wanted}
        lacking: dict[str, dict[str, SeedsToTrain]] = {}
        for one in wanted:
            parts = _missing(seeds, known[one.made].get(one.point.key))
            if parts:
                to_train = SeedsToTrain(one.point, parts)
                lacking.setdefault(one.made, {})[one.point.key] = to_train
        total = len({(one.made, one.point.key) for one in wanted}) * len(seeds)
        trainers = {one.made: one.trainer for one in wanted}
        done = total - sum(one.count for own in lacking.values() for one in own.values())
        for made, own in lacking.items():
            place = directory / _journal(made)
            fresh = FreshSeeds(list(own.values()), trainers[made])
            before = done

            def tell(now: int, _: int, before: int = before) -> None:
                if on_progress is not None:
                    on_progress(before + now, total)

            with SignedJournal.signing(place, made, lock=lock, say=on_message) as journal:
                train_here(fresh, trainers[made], Record(journal, fresh, told_seeds(tell)))
            done += sum(one.count for one in own.values())
        found = {made: _outcomes(directory, made) for made in known}
    return [_only(found[one.made][one.point.key], seeds) for one in wanted]


def _journal(made: str) -> str:
    return f"trained-{made}.jsonl"


def _outcomes(directory: Path, made: str) -> dict[str, Outcome]:
    """What the directory has of each config, by its key."""
    place = directory / _journal(made)
    if not place.exists():
        return {}
    return {result.key: result.outcome for result in ConfigResults(read(place)[0])}


def _missing(seeds: range, have: Outcome | None) -> tuple[range, ...]:
    """What is left of the seeds, as ascending parts without gaps."""
    wanted = np.array(seeds)
    left = wanted if have is None else np.setdiff1d(wanted, have.seeds)
    parts = np.split(left, np.flatnonzero(np.diff(left) > 1) + 1)
    return tuple(range(int(part[0]), int(part[-1]) + 1) for part in parts if part.size)


def _only(outcome: Outcome, seeds: range) -> Outcome:
    """The part of an outcome that is of these seeds, ascending."""
    kept = np.flatnonzero((outcome.seeds >= seeds.start) & (outcome.seeds < seeds.stop))
    kept = kept[np.argsort(outcome.seeds[kept])]
    return Outcome(
        seeds=outcome.seeds[kept],
        epochs=outcome.epochs,
        status=outcome.status[kept],
        solved_epoch=outcome.solved_epoch[kept],
        final_loss=outcome.final_loss[kept],
        predictions=outcome.predictions[kept],
    )
