"""The fresh seeds of a comparison: the same for all configs, kept in its directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xortune.core.errors import TrainingError
from xortune.core.files import writing
from xortune.core.outcome import NO_DETAILS, Details, Outcome
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.core.trainer import Block, has, missing_seeds
from xortune.driver.audits import audit_stacks, lacks_audits, stacked_lines
from xortune.driver.batches import Batches
from xortune.driver.certify import count_of_void, estimate_of_seeds
from xortune.driver.cluster import THIS_MACHINE, Cluster, slots_here
from xortune.driver.executors import pool_or_here
from xortune.driver.fresh_seeds import FreshSeeds
from xortune.driver.loop import Executor, Record, run
from xortune.driver.retries import MAX_VOID, retrying
from xortune.runs.evaluation import Evaluation, SeedsToTrain
from xortune.runs.journal import held_journal, read
from xortune.runs.lock import held
from xortune.runs.manifest import fingerprint_of, identity_of
from xortune.runs.results import ConfigResults
from xortune.trainers.network import NetworkTrainer

if TYPE_CHECKING:
    from xortune.core.trainer import Trainer


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
    on_fault: Callable[[], None] | None = None,
) -> list[Outcome]:
    """Train each config under the first n seeds of comparisons, except those trained before.

    The journals are in `directory`. Equal configs train once. `void` has seeds, by the key of their
    config, that this call does not try again; those that turn out void are added. `on_estimate` is
    called with an estimate of the time, if it is long; `on_seeds` with the seeds done and all
    seeds, at first and after each block; `on_fault` if results of stacks were recorded, here or in
    an earlier call, and are replaced because they were shown wrong.

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
            own = {name: config for name, config in configs.items() if name[0] == fingerprint}

            def on_news(news: tuple[int, int], before: int = done) -> None:
                if on_seeds is not None:
                    on_seeds((before + news[0], total))

            with held_journal(place, fingerprint, on_message=on_message) as journal:
                begin = partial(Record, journal, on_fault=on_message, max_void=max_void)
                record, is_right = _train(trainer, executor, place, tasks, begin(), on_news=on_news)
                if not is_right:
                    left = _lacking(own, journals, seeds, void or ()).get(fingerprint, [])
                    record, _ = _train(trainer, executor, place, left, begin(), on_news=on_news)
                    if on_fault is not None:
                        on_fault()
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


def _train(
    trainer: Trainer,
    executor: Executor,
    place: Path,
    tasks: Sequence[SeedsToTrain],
    record: Record,
    *,
    on_news: Callable[[Any], None],
) -> tuple[Record, bool]:
    """Train seeds of one trainer; False if recorded results of stacks were shown wrong."""
    fresh = FreshSeeds(tasks)
    if not has(trainer, "stacks_seeds"):
        run(Batches(fresh, trainer, record, slots=executor.slots), executor, record, on_news)
        return record, True
    made = fingerprint_of(identity_of(trainer.describe()))
    known = read(place).lines.audit(made)
    batches = Batches(fresh, trainer, record, slots=executor.slots, audit=known)
    run(batches, executor, record, on_news)
    if record.ends is None:
        lines = partial(_stacked_lines, place, made)
        audit_stacks(batches, lines, trainer, executor, record)
    return record, not batches.begins_again


def _stacked_lines(place: Path, made: str) -> list[Evaluation]:
    return stacked_lines(read(place), made)


def _lacking(
    configs: Mapping[ConfigOfTrainer, WantedSeeds],
    journals: Mapping[str, Path],
    seeds: range,
    void: Collection[tuple[str, int]],
) -> dict[str, list[SeedsToTrain]]:
    """By the fingerprint of a trainer, the seeds of its configs that its journal lacks.

    A trainer that lacks none, and no audit of them, is left out. `void` has seeds that are not
    tried again.
    """
    known = {fingerprint: read(path) for fingerprint, path in journals.items() if path.exists()}
    lacking: dict[str, list[SeedsToTrain]] = {}
    for (fingerprint, key), config in configs.items():
        lines = known[fingerprint].of_keys([key]) if fingerprint in known else ()
        done = [line.block for line in lines if line.final]
        done += [Block(config.point, seed, 1) for of, seed in void if of == key]
        if parts := tuple(missing_seeds(seeds, done)):
            lacking.setdefault(fingerprint, []).append(SeedsToTrain(config.point, parts))
        elif fingerprint in known and lacks_audits(known[fingerprint].lines.audit(fingerprint)):
            lacking.setdefault(fingerprint, [])  # it was killed before it had audited enough
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
    known = sum_known(seconds) if seconds else None
    return estimate_of_seeds("compare", len(seconds), n, known, slots_of(pool)) if known else None


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


def slots_of(pool: Cluster) -> int:
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
        details = Details(values, failed, output=output, audit=details.audit)
    return Outcome(
        seeds=outcome.seeds[kept],
        epochs=outcome.epochs,
        status=outcome.status[kept],
        solved_epoch=outcome.solved_epoch[kept],
        final_loss=outcome.final_loss[kept],
        predictions=outcome.predictions[kept],
        details=details,
    )


def sum_known(seconds: Sequence[float | None]) -> float | None:
    """The sum; None if one of them is not known."""
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
