"""The fresh seeds of a comparison: the same for all configs, kept in its directory."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.comparison import Reused
from xortune.comparisons.contestants import in_order
from xortune.core.errors import InputError, TrainingError
from xortune.core.files import writing
from xortune.core.formats import date
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.core.trainer import (
    VOID,
    Block,
    Outages,
    exceeds,
    is_void,
    missing_seeds,
)
from xortune.driver.audits import lacks_audits
from xortune.driver.certify import count_of_void, estimate_of_seeds
from xortune.driver.fresh_seeds import FreshSeeds, passing_over
from xortune.driver.trainer import two_apart
from xortune.driver.voice import SILENT, Voice
from xortune.driver.workplace import Workplace
from xortune.runs.evaluation import Evaluations, SeedsToTrain
from xortune.runs.journal import held_journal, read
from xortune.runs.manifest import fingerprint_of, identity_of
from xortune.runs.results import ConfigResults
from xortune.trainers.verdicts import judged_names
from xortune.training.batches import Untried
from xortune.training.executors import AskedExecutor, executor_here
from xortune.training.jobs import too_many_void
from xortune.training.resources import THIS_MACHINE, Cluster
from xortune.training.slots import slots_here

if TYPE_CHECKING:
    from xortune.core.trainer import Trainer


# -------------------------------------------------------------------------------------------------
# Which comparisons were made in a directory, and where each one's seeds are.
#
# To add seeds because a comparison gave no answer, and to look again, is a second chance to be
# wrong. What was trained for a comparison that has ended says what the training did then: files
# that it reads, and services that it asks, may have changed since. So each comparison trains its
# seeds into journals of its own, unless earlier ones are asked for. One that was interrupted goes
# on in its journals.

LOG = "looks.jsonl"

What: TypeAlias = Literal["begun", "ended", "given up"]
"""That a comparison has begun to train, has an answer, or does not go on with its seeds."""


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


@dataclass(frozen=True)
class _Noted:
    """A line of the log; `number` is that of the journals."""

    configs: frozenset[str]
    look: Look
    number: int
    what: What


@dataclass(frozen=True)
class Kept:
    """Where a comparison keeps its seeds.

    Attributes:
        directory: of the comparison.
        number: of its journals.
    """

    directory: Path
    number: int = 1

    def journal(self, fingerprint: str) -> Path:
        """The journal of the seeds that a trainer of this fingerprint has trained."""
        number = "" if self.number == 1 else f"-{self.number}"
        return self.directory / f"trained-{fingerprint}{number}.jsonl"


def kept_for(directory: Path, wanted: Sequence[WantedSeeds], look: Look, *, reuse: bool) -> Kept:
    """Where a comparison that begins keeps its seeds. Hold the directory.

    With `reuse` where the last one of some of these configs has, if possible one with an answer.
    Else where the same comparison has that was interrupted, or in new journals.
    """
    configs, log = _named(wanted), _log(directory)
    files = (path.stem.split("-") for path in directory.glob("trained-*-*.jsonl"))
    numbers = [int(number) for *_, number in files if number.isdecimal()]
    numbers += [1] * any(directory.glob("trained-*.jsonl"))
    last = max([0, *numbers, *(entry.number for entry in log)])
    if reuse:
        own = [entry for entry in log if configs & entry.configs]
        ended = [entry.number for entry in own if entry.what == "ended"]
        return Kept(directory, [max(last, 1), *(entry.number for entry in own), *ended][-1])
    over = {entry.number for entry in log if entry.what != "begun"}
    same = [entry.number for entry in log if (entry.configs, entry.look) == (configs, look)]
    if going_on := [number for number in same if number not in over]:
        return Kept(directory, going_on[-1])
    kept = Kept(directory, last + 1)
    note(kept, wanted, look, "begun")
    return kept


def note(kept: Kept, wanted: Sequence[WantedSeeds], look: Look, what: What) -> None:
    """Note what became of a comparison, unless that is there already."""
    entry = _Noted(_named(wanted), look, kept.number, what)
    if entry not in _log(kept.directory):
        _write(kept, entry)


def other_looks(kept: Kept, wanted: Sequence[WantedSeeds], look: Look) -> tuple[str, ...]:
    """A note on other looks at two of these configs, if there were any."""
    configs, log = _named(wanted), _log(kept.directory)
    ended = [entry for entry in log if entry.what == "ended"]
    earlier = {entry.look for entry in ended if len(configs & entry.configs) > 1}
    others = sorted(earlier - {look}, key=attrgetter("seeds"))
    if not others:
        return ()
    *first, final = map(str, others)
    seeds = f"{', '.join(first)} and {final}" if first else final
    return (
        f"compared before, with {seeds} seeds: each look has its own chance to "
        "be wrong, so together they err more often than one; only --sequential counts all its "
        "looks",
    )


def _named(wanted: Sequence[WantedSeeds]) -> frozenset[str]:
    return frozenset(f"{one.fingerprint} {one.point.key}" for one in wanted)


def _log(directory: Path) -> list[_Noted]:
    """The lines of a directory's log, the oldest first; none without one."""
    path, found = directory / LOG, []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError, TypeError):  # cut off by a kill, or edited
            entry = json.loads(line)
            look = Look(int(entry["seeds"]), bool(entry["sequential"]))
            number, what = int(entry["number"]), entry["what"]
            found.append(_Noted(frozenset(entry["configs"]), look, number, what))
    return found


def _write(kept: Kept, entry: _Noted) -> None:
    line = {"configs": sorted(entry.configs), **asdict(entry.look)}
    line |= {"number": entry.number, "what": entry.what}
    path = kept.directory / LOG
    with writing(path), path.open("a+b") as file:
        if file.tell():  # a kill may have cut the last line off
            file.seek(-1, os.SEEK_END)
            file.write(b"" if file.read() == b"\n" else b"\n")
        file.write(json.dumps(line).encode() + b"\n")


# -------------------------------------------------------------------------------------------------
# Fresh seeds for a comparison: the same for all configs.
#
# A journal for each engine and its versions keeps them.


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

    @property
    def fingerprint(self) -> str:
        """Of the trainer; see `runs.manifest.fingerprint_of`."""
        return fingerprint_of(identity_of(self.trainer.describe()))

    @property
    def name(self) -> ConfigOfTrainer:
        """What tells it from others."""
        return self.fingerprint, self.point.key


ConfigOfTrainer: TypeAlias = tuple[str, str]
"""The fingerprint of a trainer, and the key of a config that it trains."""


Void: TypeAlias = dict[str, dict[tuple[str, int], str]]
"""Why seeds could not be tried, by the fingerprint of a trainer, the key of a config and seed."""


@dataclass(frozen=True)
class Later:
    """The seeds that a comparison which looks again and again goes on without.

    Those that wait for their next try for long count behind all others, with what they come to
    then. The journals have a line of each from then on: so the places follow from them.

    Attributes:
        why: why they could not be tried, also of those that have a result since.
        waiting: by the fingerprint of a trainer, those that are tried again.
    """

    why: Void = field(default_factory=dict)
    waiting: dict[str, Untried] = field(default_factory=dict)

    @property
    def seeds(self) -> set[int]:
        """All of them, whichever config they are of."""
        return {seed for untried in self.why.values() for _, seed in untried}

    def tried_again(
        self, fingerprint: str, configs: Iterable[ConfigOfTrainer], outages: Outages
    ) -> Untried:
        """Those of a trainer that are tried again, of these configs only."""
        untried = self.waiting.setdefault(fingerprint, Untried(outages))
        untried.keep({key for _, key in configs})
        return untried


def later_seeds(kept: Kept, wanted: Sequence[WantedSeeds]) -> Later:
    """Those of the journals."""
    later = Later()
    for fingerprint, lines in _known(kept, wanted).items():
        own = lines.of_keys([one.point.key for one in wanted if one.fingerprint == fingerprint])
        later.why[fingerprint] = {
            (line.block.point.key, seed): str(line.error).removeprefix(VOID)
            for line in own.untried
            for seed in line.block.seeds
        }
    return later


@dataclass(frozen=True)
class SharedTraining:
    """Trains configs under the same seeds, except those trained before; equal configs train once.

    Attributes:
        kept: where its seeds are.
        wanted: the configs.
        look: how many seeds of each. A sequential one has an estimate and a progress of its own.
        pool: who trains.
        outages: what becomes of seeds that cannot be tried.
        voice: tells an estimate of the time, if it is long, and the seeds done and all seeds.
        void: seeds that could not be tried, and are not tried again.
        later: the seeds that a sequential look goes on without; None if it waits for all.
        replaced: has an entry for each time that results of stacks, recorded here or in an earlier
            call, were shown wrong and replaced.
    """

    kept: Kept
    wanted: Sequence[WantedSeeds]
    look: Look
    pool: Cluster = THIS_MACHINE
    outages: Outages = field(default_factory=Outages)
    voice: Voice = SILENT
    void: Void = field(default_factory=dict)
    later: Later | None = None
    replaced: list[str] = field(default_factory=list)

    @property
    def planned(self) -> int:
        """All seeds, a share of which may be void."""
        return self.look.seeds * len({config.name for config in self.wanted})

    def train(self, n: int, wanted: Sequence[WantedSeeds], *, settles: bool) -> list[Outcome]:
        """Train these configs under the first n seeds of comparisons.

        It does not wait for the seeds in `later`, unless it `settles` them or a config has no
        others; it adds more.

        Returns:
            One outcome for each config, of these seeds but the void ones, ascending. Seeds of a
            block that finally has no outcome count as crashed.

        Raises:
            InputError: the seeds of a network need more memory than there is.
            TrainingError: more seeds are void than `max_void` allows, or all of a config.
        """
        for config in wanted:
            config.trainer.refuse_beyond_memory(config.point, n)
        configs = {config.name: config for config in wanted}
        lacking = self._lacking(configs, n)
        if settles and self.later is not None:
            waiting = {name: list[SeedsToTrain]() for name in self.later.waiting}
            lacking = waiting | lacking
        if not self.look.sequential and (text := _time_of(configs, lacking, n, self.pool)):
            self.voice.inform(text)
        done = len(configs) * n - sum(task.count for tasks in lacking.values() for task in tasks)
        for fingerprint, tasks in lacking.items():
            own = {name: config for name, config in configs.items() if name[0] == fingerprint}
            if own:
                self._train(own, tasks, n, done, settles=settles)
                done += sum(task.count for task in tasks)
        self.refuse_void()
        outcomes = outcomes_in(self.kept, wanted, n)
        if None in outcomes and self.later is not None and not settles:
            return self.train(n, wanted, settles=True)
        for config, outcome in zip(wanted, outcomes, strict=True):
            if outcome is None:
                key, untried = config.point.key, self.void[config.fingerprint].items()
                why = next(why for (of, _), why in untried if of == key)
                raise TrainingError(f"no seed of config {key} could be tried: {why}")
        return [outcome for outcome in outcomes if outcome is not None]

    def _train(
        self,
        configs: Mapping[ConfigOfTrainer, WantedSeeds],
        tasks: list[SeedsToTrain],
        n: int,
        done: int,
        *,
        settles: bool,
    ) -> None:
        """Train tasks of one trainer, which has these configs; `done` seeds have results."""
        fingerprint, trainer = next((one.fingerprint, one.trainer) for one in configs.values())
        path = self.kept.journal(fingerprint)
        executor = executor_here(AskedExecutor(trainer, self.pool))
        put_off, why = None, None
        if self.later is not None:
            put_off = self.later.tried_again(fingerprint, configs, self.outages)
            why = None if settles else self.later.why.setdefault(fingerprint, {})

        def on_news(news: tuple[int, int]) -> None:
            if not self.look.sequential:
                self.voice.seeds((done + news[0], self.planned))

        untried = self.void.setdefault(fingerprint, {})
        known = set(untried)
        with held_journal(path, fingerprint, on_message=self.voice.warn) as journal:
            place = Workplace(
                *(trainer, executor, self.voice, self.outages, self.pool.each.limit, journal, path)
            )
            begins_again = True
            while begins_again:
                record = place.record(
                    before=max(0, done - sum(map(len, self.void.values()))),
                    planned=self.planned,
                    void=untried,
                )
                is_stacked = trainer.traits.stacks_seeds
                audit = read(path).lines.audit(fingerprint) if is_stacked else None
                fresh = FreshSeeds(tasks, passed_over=len(put_off.jobs) if put_off else 0)
                passing: dict[str, Any] = {}
                if why is not None:
                    passing = {"rests": fresh.rests, **passing_over(fresh, journal, why)}
                batches = place.batches(fresh, record, audit=audit, untried=put_off, **passing)
                place.train(batches, record, on_news)
                if begins_again := batches.begins_again:
                    tasks = self._lacking(configs, n).get(fingerprint, [])
                    self.replaced.append(fingerprint)
        if record.ends is not None:
            raise TrainingError(record.ends.reason)
        if new := [why for seed, why in untried.items() if seed not in known]:
            self.voice.warn(count_of_void(new))

    def refuse_void(self, results: int | None = None) -> None:
        """Raise a TrainingError if too many are void: of all planned seeds, or of those tried.

        `results` are the seeds that have one.
        """
        reasons = [why for untried in self.void.values() for why in untried.values()]
        tried = self.planned if results is None else results + len(reasons)
        if exceeds(len(reasons), tried, self.outages.max_void):
            most = self.outages.max_void
            raise TrainingError(too_many_void(len(reasons), tried, most, reasons[-1]))

    def _lacking(
        self, configs: Mapping[ConfigOfTrainer, WantedSeeds], n: int
    ) -> dict[str, list[SeedsToTrain]]:
        """By the fingerprint of a trainer, the seeds of its configs that its journal lacks.

        A trainer that lacks none, and no audit of them, is left out; so are void seeds, and those
        that wait.
        """
        seeds, known = range(COMPARE.start, COMPARE.start + n), _known(self.kept, configs.values())
        waiting = {} if self.later is None else self.later.waiting
        lacking: dict[str, list[SeedsToTrain]] = {}
        for (fingerprint, key), config in configs.items():
            lines = known[fingerprint].of_keys([key]) if fingerprint in known else ()
            done = [line.block for line in lines if line.final]
            untried = self.void.get(fingerprint, {})
            done += [Block(config.point, seed, 1) for of, seed in untried if of == key]
            if fingerprint in waiting:
                jobs = waiting[fingerprint].jobs
                done += [job.block for job in jobs if job.block.point.key == key]
            if parts := tuple(missing_seeds(seeds, done)):
                lacking.setdefault(fingerprint, []).append(SeedsToTrain(config.point, parts))
            elif fingerprint in known and lacks_audits(known[fingerprint].lines.audit(fingerprint)):
                lacking.setdefault(fingerprint, [])  # killed before it had audited enough
        return lacking


def outcomes_in(kept: Kept, wanted: Sequence[WantedSeeds], n: int) -> tuple[Outcome | None, ...]:
    """What each config has of the first n seeds in the journals; None where it has none."""
    seeds = range(COMPARE.start, COMPARE.start + n)
    found = {
        (fingerprint, result.key): result.outcome
        for fingerprint, lines in _known(kept, wanted).items()
        for result in ConfigResults(lines)
    }
    own = [found.get(config.name) for config in wanted]
    return tuple(
        None if one is None or one.seeds.min() >= seeds.stop else restricted(one, seeds)
        for one in own
    )


def _known(kept: Kept, wanted: Iterable[WantedSeeds]) -> dict[str, Evaluations]:
    """The journals of these trainers that are there, by their fingerprints."""
    journals = {
        fingerprint: kept.journal(fingerprint)
        for fingerprint in {config.fingerprint for config in wanted}
    }
    return {fingerprint: read(path) for fingerprint, path in journals.items() if path.exists()}


# -------------------------------------------------------------------------------------------------


# Seeds that were trained before this call.


@dataclass(frozen=True)
class Earlier:
    """The seeds of a config that were trained before.

    Attributes:
        seeds: int64, shape (S,).
        times: float64, shape (S,): when, in seconds since 1970; negative if it is not known.
        first: the outcome of the smallest of them.
    """

    seeds: NDArray[np.int64]
    times: NDArray[np.float64]
    first: Outcome


def earlier_seeds(
    kept: Kept, wanted: Sequence[WantedSeeds], n: int
) -> dict[ConfigOfTrainer, Earlier]:
    """What the journals have of the first n seeds of comparisons; configs without are left out."""
    known, found = _known(kept, wanted), {}
    for config in wanted:
        if config.fingerprint not in known:
            continue
        lines = known[config.fingerprint].of_keys([config.point.key])
        lines = lines.where(lines.column("final") > 0)
        sizes = lines.column("count")
        seeds = np.concatenate(
            [
                np.empty(0, np.int64),
                *map(np.arange, firsts := lines.column("first"), firsts + sizes),
            ]
        )
        times = np.repeat(lines.column("at"), sizes)
        kept_seeds = seeds < COMPARE.start + n
        if kept_seeds.any():
            seeds, times = seeds[kept_seeds], times[kept_seeds]
            line = lines[int(np.argmin(firsts))]
            outcome = line.outcome
            if outcome is None:
                outcome = Outcome.crashed(line.block.seeds, 0, str(line.error))
            assert isinstance(outcome, Outcome)  # as it is read from a journal
            first = int(seeds.min())
            found[config.name] = Earlier(seeds, times, restricted(outcome, range(first, first + 1)))
    return found


def refuse_changed(
    labels: Mapping[ConfigOfTrainer, str],
    wanted: Sequence[WantedSeeds],
    earlier: Mapping[ConfigOfTrainer, Earlier],
    pool: Cluster,
    *,
    reuse: bool,
) -> None:
    """Try the first of the earlier seeds of each config again.

    Raises:
        InputError: one has another result now.
        TrainingError: one cannot be tried now.
    """
    for config in {one.name: one for one in wanted if one.name in earlier}.values():
        before, trainer = earlier[config.name], config.trainer
        seed = int(before.first.seeds[0])
        executor = executor_here(AskedExecutor(trainer, pool, encodes=False))
        place = Workplace(trainer, executor, outages=Outages(max_void=1.0))
        fresh = FreshSeeds([SeedsToTrain(config.point, (range(seed, seed + 1),))])
        record = place.record()
        place.run(place.batches(fresh, record), record)
        line, label = fresh.lines[-1], labels[config.name]
        if is_void(line.error):
            why = str(line.error).removeprefix(VOID)
            raise TrainingError(f"{label}: seed {seed} could not be tried again: {why}")
        now = line.outcome
        if now is None:
            now = Outcome.crashed(line.block.seeds, 0, str(line.error))
        assert isinstance(now, Outcome)
        names = judged_names(trainer, before.first.details.values)
        if results := two_apart(before.first, now, names):
            when = before.times[before.seeds == seed][0]
            on = "" if when < 0 else f" on {date(when)}"
            raise InputError(
                f"seed {seed} of {label} gave {results[0]}{on} and gives {results[1]} now: what "
                "the training depends on has changed, or its seed does not determine its result",
                field="reuse" if reuse else None,
                allowed="earlier seeds that would give the same now",
                fix="start without --reuse: all seeds train anew"
                if reuse
                else "start again: the same call now trains all seeds anew",
            )


def reused_of(
    wanted: Sequence[WantedSeeds],
    earlier: Mapping[ConfigOfTrainer, Earlier],
    seeds: Sequence[NDArray[np.int64]],
) -> Reused:
    """How many of the seeds that count, of each config, were trained before, and when."""
    counted = {one.name: own for one, own in zip(wanted, seeds, strict=True)}
    times = [before.times[np.isin(before.seeds, counted[name])] for name, before in earlier.items()]
    when = np.concatenate([np.empty(0), *times])
    known = when[when >= 0]
    ends = (float(known.min()), float(known.max())) if known.size else (None, None)
    return Reused(when.size, sum(map(len, counted.values())), *ends)


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


def without_void(
    outcomes: Sequence[Outcome], late: Collection[int] = (), last: Sequence[int] = ()
) -> list[Outcome]:
    """The outcomes without the seeds that are void for one of them: pairs need both.

    Each has the seeds from the first of comparisons on, in their order, up to its last one. Those
    in `late` are left out too. The outcomes at the places in `last` have them behind all others, if
    all of these have them.

    Raises:
        TrainingError: none is left.
    """
    void = set(late)
    for outcome in outcomes:
        seeds = outcome.seeds.tolist()
        void |= set(range(COMPARE.start, max(seeds, default=0) + 1)) - set(seeds)
    if not void:
        return list(outcomes)
    own = [np.sort(outcome.seeds) for outcome in outcomes]
    back = reduce(np.intersect1d, [own[place] for place in last], np.array(sorted(late), np.int64))
    counted = [
        np.concatenate([seeds[~np.isin(seeds, list(void))], back if place in last else back[:0]])
        for place, seeds in enumerate(own)
    ]
    if not all(seeds.size for seeds in counted):
        raise TrainingError("each seed is void for one of the configurations: no two can be paired")
    return [in_order(outcome, seeds) for outcome, seeds in zip(outcomes, counted, strict=True)]


def slots_of(pool: Cluster) -> int:
    """How many processes train at once."""
    return 1 if pool.workers == 0 else slots_here(pool)


def restricted(outcome: Outcome, seeds: range) -> Outcome:
    """The outcome restricted to these seeds, ascending."""
    inside = (outcome.seeds >= seeds.start) & (outcome.seeds < seeds.stop)
    return in_order(outcome, np.sort(outcome.seeds[inside]))


def sum_known(seconds: Sequence[float | None]) -> float | None:
    """The sum; None if one of them is not known."""
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
